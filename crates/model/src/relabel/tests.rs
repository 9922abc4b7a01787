//! Each action at work, each refusal, and what the explainer says.

use proptest::prelude::*;

use super::*;
use crate::Labels;

fn rule(action: RelabelAction) -> RelabelConfig {
    RelabelConfig { action, ..RelabelConfig::default() }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn from(labels: &[&str], mut config: RelabelConfig) -> RelabelConfig {
    config.source_labels = labels.iter().map(|l| (*l).to_owned()).collect();
    config
}

fn run(config: RelabelConfig, labels: &[(&str, &str)]) -> Option<Labels> {
    let rule = RelabelRule::new(config, NameScheme::Utf8).expect("a sound rule");
    let mut builder = Labels::from_pairs(labels.iter().copied()).to_builder();
    relabel(&[rule], &mut builder).then(|| builder.build())
}

fn labels(pairs: &[(&str, &str)]) -> Option<Labels> {
    Some(Labels::from_pairs(pairs.iter().copied()))
}

#[test]
fn replace_sets_the_target_where_the_pattern_matches_all_of_the_source() {
    let config = |regex: &str, target: &str, replacement: &str| RelabelConfig {
        regex: some(regex),
        target_label: target.into(),
        replacement: some(replacement),
        ..from(&["a", "b"], rule(RelabelAction::Replace))
    };
    let set = [("a", "foo"), ("b", "bar"), ("c", "old")];
    for (regex, target, replacement, expected) in [
        ("f(.*);(.*)r", "c", "ch${1}-ch${2}", Some("choo-chba")),
        ("f(.*);(.*)r", "c", "$1$$", Some("oo$")),
        ("f(?P<rest>.*);.*", "c", "${rest}!", Some("oo!")),
        ("f(.*);(.*)r", "c", "$1x", None),
        ("f(.*);(.*)r", "c", "$3", None),
        ("f(.*);(.*)r", "c", "", None),
        ("f(.*);(.*)r", "c", "$0", Some("foo;bar")),
        ("f(.*);(.*)r", "c", "$01", None),
        ("f(.*);(.*)r", "c", "${1", Some("${1")),
        ("f(.*);(.*)r", "c", "$-", Some("$-")),
        ("oo;ba", "c", "x", Some("old")),
        ("no", "c", "x", Some("old")),
    ] {
        let out = run(config(regex, target, replacement), &set).expect("kept");
        assert_eq!(out.get("c"), expected, "{regex} {replacement}");
    }
    let out = run(config("(f)oo;(.*)", "${2}_$1", "v"), &set).expect("kept");
    assert_eq!(out.get("bar_f"), Some("v"));
    // A name that no label can have changes nothing.
    assert_eq!(run(config("(x?)foo;bar", "$1", "v"), &set), labels(&set));
    let constant = RelabelConfig {
        target_label: "c".into(),
        replacement: some("static"),
        ..rule(RelabelAction::Replace)
    };
    assert_eq!(run(constant, &set).expect("kept").get("c"), Some("static"));
}

#[test]
fn keep_and_drop_and_their_equal_forms_decide() {
    let set = [("a", "x"), ("b", "x"), ("c", "y")];
    let by = |action, regex: &str| RelabelConfig { regex: some(regex), ..from(&["a"], rule(action)) };
    assert_eq!(run(by(RelabelAction::Keep, "x|z"), &set), labels(&set));
    assert_eq!(run(by(RelabelAction::Keep, "z"), &set), None);
    assert_eq!(run(by(RelabelAction::Drop, "x|z"), &set), None);
    assert_eq!(run(by(RelabelAction::Drop, "z"), &set), labels(&set));
    let equal =
        |action, target: &str| RelabelConfig { target_label: target.into(), ..from(&["a"], rule(action)) };
    assert_eq!(run(equal(RelabelAction::KeepEqual, "b"), &set), labels(&set));
    assert_eq!(run(equal(RelabelAction::KeepEqual, "c"), &set), None);
    assert_eq!(run(equal(RelabelAction::DropEqual, "b"), &set), None);
    assert_eq!(run(equal(RelabelAction::DropEqual, "missing"), &set), labels(&set));
}

/// The sums were made with `md5sum`, of the last sixteen digits the remainder.
#[test]
fn hashmod_is_the_end_of_the_md5_sum() {
    for (text, modulus, expected) in [
        // 900150983cd24fb0 d6963f7d28e17f72
        ("abc", 1000, 0xd696_3f7d_28e1_7f72_u64 % 1000),
        // d41d8cd98f00b204 e9800998ecf8427e
        ("", 8, 0xe980_0998_ecf8_427e_u64 % 8),
    ] {
        let config =
            RelabelConfig { modulus, target_label: "h".into(), ..from(&["a"], rule(RelabelAction::HashMod)) };
        let out = run(config, &[("a", text)]).expect("kept");
        assert_eq!(out.get("h"), Some(expected.to_string().as_str()), "{text}");
    }
}

#[test]
fn names_are_mapped_dropped_and_kept_by_pattern() {
    let set = [("__meta_x_a", "1"), ("__meta_x_b", "2"), ("a", "old")];
    let by = |action, regex: &str| RelabelConfig { regex: some(regex), ..rule(action) };
    let out = run(by(RelabelAction::LabelMap, "__meta_x_(.+)"), &set).expect("kept");
    assert_eq!((out.get("a"), out.get("b"), out.len()), (Some("1"), Some("2"), 4));
    assert_eq!(run(by(RelabelAction::LabelDrop, "__meta.*"), &set), labels(&[("a", "old")]));
    assert_eq!(run(by(RelabelAction::LabelKeep, "a"), &set), labels(&[("a", "old")]));
}

#[test]
fn case_is_changed_letter_by_letter() {
    let to = |action, text: &str| {
        let config = RelabelConfig { target_label: "t".into(), ..from(&["a"], rule(action)) };
        run(config, &[("a", text)]).and_then(|l| l.get("t").map(str::to_owned)).unwrap_or_default()
    };
    assert_eq!(to(RelabelAction::Lowercase, "AbC-ΑΣ"), "abc-ασ");
    assert_eq!(to(RelabelAction::Uppercase, "abc-ß-é"), "ABC-ß-É");
}

#[test]
fn what_cannot_work_is_refused_with_the_key() {
    use RelabelAction as A;
    let with_target = |action| RelabelConfig { target_label: "t".into(), ..rule(action) };
    let legacy = NameScheme::Legacy;
    let utf8 = NameScheme::Utf8;
    for (config, scheme, words) in [
        (rule(A::Replace), utf8, &["target_label", "replace"][..]),
        (with_target(A::HashMod), utf8, &["modulus", "hashmod"]),
        (RelabelConfig { modulus: 1, ..rule(A::HashMod) }, utf8, &["target_label"]),
        (RelabelConfig { regex: some("a("), ..with_target(A::Replace) }, utf8, &["a(", "parsing regexp"]),
        (RelabelConfig { regex: some("(.*)"), ..with_target(A::KeepEqual) }, utf8, &["regex", "keepequal"]),
        (RelabelConfig { separator: some(","), ..rule(A::LabelDrop) }, utf8, &["separator", "'regex'"]),
        (with_target(A::LabelKeep), utf8, &["target_label", "labelkeep"]),
        (RelabelConfig { replacement: some("x"), ..with_target(A::Lowercase) }, utf8, &["replacement"]),
        (RelabelConfig { target_label: "a-b".into(), ..rule(A::Replace) }, legacy, &["a-b", "legacy"]),
        (RelabelConfig { target_label: "a-$1".into(), ..rule(A::Replace) }, legacy, &["a-$1", "legacy"]),
        (RelabelConfig { replacement: some("${1}-"), ..rule(A::LabelMap) }, legacy, &["${1}-"]),
        (RelabelConfig { replacement: some(""), ..rule(A::LabelMap) }, utf8, &["replacement"]),
    ] {
        let error = RelabelRule::new(config.clone(), scheme).expect_err("refused").to_string();
        for word in words {
            assert!(error.contains(word), "{error} lacks {word}: {config:?}");
        }
    }
    for target in ["a_$1", "${1}_b9", "$1$2"] {
        let config = RelabelConfig { target_label: target.into(), ..rule(A::Replace) };
        RelabelRule::new(config, legacy).expect(target);
    }
    let default = RelabelConfig { separator: some(";"), replacement: some("$1"), ..rule(A::LabelDrop) };
    RelabelRule::new(default, utf8).expect("what is the default anyway does no harm");
}

#[test]
fn steps_tell_what_each_rule_did() {
    let rules: Vec<RelabelRule> = [
        RelabelConfig {
            target_label: "b".into(),
            regex: some("(.)"),
            ..from(&["a"], rule(RelabelAction::Replace))
        },
        RelabelConfig { regex: some("a"), ..rule(RelabelAction::LabelDrop) },
        RelabelConfig { regex: some("1"), ..from(&["b"], rule(RelabelAction::Drop)) },
        rule(RelabelAction::LabelMap),
    ]
    .into_iter()
    .map(|config| RelabelRule::new(config, NameScheme::Utf8).expect("sound"))
    .collect();
    let steps = relabel_steps(&rules, &Labels::from_pairs([("a", "1")]));
    let change = |name: &str, before: Option<&str>, after: Option<&str>| LabelChange {
        name: name.into(),
        before: before.map(str::to_owned),
        after: after.map(str::to_owned),
    };
    assert_eq!(steps.len(), 3, "no rule runs after the one that drops");
    assert_eq!(steps[0].changes, [change("b", None, Some("1"))]);
    assert_eq!(steps[1].changes, [change("a", Some("1"), None)]);
    assert_eq!(steps[1].labels, Labels::from_pairs([("b", "1")]));
    assert_eq!((steps[1].kept, steps[2].kept), (true, false));
    assert_eq!(steps[2].rule.action, RelabelAction::Drop);
    assert!(steps[2].changes.is_empty());
}

proptest! {
    /// Whatever the rules, running them gives what the steps end with, and leaves no empty name.
    #[test]
    fn running_and_explaining_agree(
        set in proptest::collection::btree_map("[abc]{1,2}", "[xyz$]{0,3}", 0..4),
        wishes in proptest::collection::vec(
            (0..11usize, "[abc]{1,2}", "([abc]{0,2}|\\(.\\*\\)|[xyz.]+)", "[abc$1{}]{0,4}", 0..4u64),
            0..5,
        ),
    ) {
        let rules: Vec<RelabelRule> = wishes
            .into_iter()
            .filter_map(|(action, source, regex, text, modulus)| {
                let config = RelabelConfig {
                    source_labels: vec![source],
                    regex: Some(regex),
                    modulus,
                    target_label: text.clone(),
                    replacement: Some(text),
                    action: RelabelAction::ALL[action],
                    separator: None,
                };
                RelabelRule::new(config, NameScheme::Utf8).ok()
            })
            .collect();
        let labels = Labels::from_pairs(&set);
        let mut builder = labels.to_builder();
        let kept = relabel(&rules, &mut builder);
        let steps = relabel_steps(&rules, &labels);
        prop_assert_eq!(kept, steps.iter().all(|s| s.kept));
        let end = steps.last().map_or_else(|| labels.clone(), |s| s.labels.clone());
        prop_assert!(end.iter().all(|(n, v)| !n.is_empty() && !v.is_empty()));
        prop_assert_eq!(builder.build(), end);
    }
}
