//! Rule files: what is taken, what is refused, where and why.

use std::{fs, path::PathBuf};

use crate::{Level, check, format_duration_ms, load, parse_duration_ms};

fn shared(path: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance").join(path);
    if !folder.exists() {
        println!("SKIPPED rule files: ../shared/conformance/{path} is not there");
        return None;
    }
    Some(folder)
}

#[test]
fn problems_name_place_and_remedy() {
    for (text, expected) in [
        ("groups:\n- name: g\n  rulez: []\n", "f:3:3: unknown field `rulez`"),
        (
            "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up ==\n",
            "f:5:11: could not parse expression: 1:",
        ),
        (
            "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    annotations:\n      s: 'x {{ $nope }}'\n",
            "f:7:10: annotation \"s\": template: s:1:5: undefined variable \"$nope\"",
        ),
        (
            "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    for: 5x\n",
            "f:6:10: \"5x\" is not a duration",
        ),
        ("groups:\n- name: g\n- name: g\n", "f:3:9: groupname: \"g\" is repeated"),
        ("groups:\n- name: g\n  rules:\n  - record: a\n    alert: b\n    expr: up\n", "f:5:12: only one of"),
        ("groups:\n- name: g\n  rules:\n  - expr: up\n", "f:4:5: one of 'record' or 'alert'"),
        (
            "groups:\n- name: g\n  rules:\n  - record: a\n    expr: up\n    for: 1m\n",
            "f:6:10: invalid field 'for'",
        ),
        ("groups:\n- name: g\n  rules:\n  - record: 'a{b=\"c\"}'\n    expr: up\n", "f:4:13: braces present"),
        (
            "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    labels: {__name__: x}\n",
            "f:6:24: invalid label name",
        ),
        ("groups: [", "f:"),
    ] {
        let problems = check(&[("f".into(), text.into())]);
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        assert!(first.starts_with(expected), "{text}\n got {first}\nwant {expected}");
        assert!(load("f", text).is_err());
    }
}

#[test]
fn every_field_is_read() {
    let text = "
groups:
- name: g
  interval: 15s
  limit: 10
  query_offset: 30s
  labels: {team: a, n: 5}
  rules:
  - record: job:up
    expr: sum by (job) (up)
    labels: {team: b}
  - alert: Down
    expr: up == 0
    for: 1m30s
    keep_firing_for: 5m
    labels: {severity: critical}
    annotations: {summary: '{{ $labels.job }} is down'}
";
    let groups = load("f", text).unwrap();
    let group = &groups[0];
    assert_eq!((group.interval_ms, group.limit, group.query_offset_ms), (Some(15_000), 10, 30_000));
    assert_eq!(group.rules[0].labels.to_string(), r#"{n="5", team="b"}"#);
    let crate::RuleKind::Alert(alert) = &group.rules[1].kind else { panic!() };
    assert_eq!((alert.for_ms, alert.keep_firing_for_ms), (90_000, 300_000));
}

#[test]
fn duplicate_rules_are_a_warning() {
    let text = "groups:\n- name: g\n  rules:\n  - {record: a, expr: up}\n  - {record: a, expr: up * 2}\n";
    let problems = check(&[("f".into(), text.into())]);
    assert_eq!(problems.len(), 1);
    assert_eq!((problems[0].level, problems[0].line), (Level::Warning, 5));
    assert!(load("f", text).is_ok());
}

#[test]
fn foreign_fixtures_have_their_outcomes() {
    let Some(folder) = shared("rules/rulefmt") else { return };
    let expectations: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(folder.join("expectations.json")).unwrap()).unwrap();
    let (mut passed, mut skipped) = (0, 0);
    for case in expectations.as_array().unwrap() {
        let file = case["file"].as_str().unwrap();
        // Names are checked by today's rules only, which allow all of UTF-8.
        if file.starts_with("legacy_validation") && file.contains("bad") {
            skipped += 1;
            continue;
        }
        let result = load(file, &fs::read_to_string(folder.join(file)).unwrap());
        assert_eq!(result.is_ok(), case["outcome"] == "ok", "{file}: {:?}", result.err());
        passed += 1;
    }
    eprintln!("{passed} passed, 0 failed, {skipped} skipped");
}

#[test]
fn community_rule_files_load() {
    let Some(folder) = shared("rules/awesome-prometheus-alerts") else { return };
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        load("f", &text).unwrap_or_else(|e| panic!("{}: {e:?}", path.display()));
        count += 1;
    }
    eprintln!("{count} passed, 0 failed, 0 skipped");
}

#[test]
fn durations_read_back() {
    for (text, ms) in [
        ("0", 0),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("1d", 86_400_000),
        ("1w", 604_800_000),
        ("15ms", 15),
    ] {
        assert_eq!(parse_duration_ms(text), Ok(ms));
        assert_eq!(parse_duration_ms(&format_duration_ms(ms)), Ok(ms));
    }
    for text in ["", "5", "m", "1m1h", "1m2m", "-5m", "1.5h", "99999999999999999y", "5mm"] {
        assert!(parse_duration_ms(text).is_err(), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(groups|rules|alert|expr|: |\n|  |- |\\{|\\}|\\{\\{|\\$|&a|\\*a|[a-z0-9\\[\\]'\"]){0,40}") {
        let _ = check(&[("f".into(), text.clone())]);
        let rule = format!("groups:\n- name: g\n  rules:\n  - alert: a\n    expr: {text}\n    annotations: {{s: {text}}}\n");
        let _ = check(&[("f".into(), rule)]);
    }
}
