use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

proptest! {
    /// A label set behaves like an ordered map without empty values.
    #[test]
    fn behaves_like_an_ordered_map(pairs in proptest::collection::vec(("\\PC{0,20}", "\\PC{0,300}"), 0..12)) {
        let labels = Labels::from_pairs(pairs.iter().map(|(n, v)| (n, v)));
        let mut map = BTreeMap::new();
        for (n, v) in &pairs {
            if v.is_empty() { map.remove(n.as_str()); } else { map.insert(n.as_str(), v.as_str()); }
        }
        prop_assert_eq!(labels.iter().collect::<Vec<_>>(), map.iter().map(|(n, v)| (*n, *v)).collect::<Vec<_>>());
        for (n, _) in &pairs {
            prop_assert_eq!(labels.get(n), map.get(n.as_str()).copied());
        }
        prop_assert_eq!(labels.to_builder().build(), labels);
    }

    #[test]
    fn order_is_pairwise(a in proptest::collection::btree_map("[a-c]{1,3}", "[a-c]{1,3}", 0..4),
                         b in proptest::collection::btree_map("[a-c]{1,3}", "[a-c]{1,3}", 0..4)) {
        prop_assert_eq!(Labels::from_pairs(&a).cmp(&Labels::from_pairs(&b)), a.iter().cmp(b.iter()));
    }
}

#[test]
fn long_values_survive_and_longer_ones_are_cut_at_a_character() {
    for length in [0xD7FF, 0xD800, 0xDFFF, 0xE000, 0xFFFF, 0x1_0000, MAX_LABEL_BYTES] {
        let value = "x".repeat(length);
        assert_eq!(
            Labels::from_pairs([("a", &value), ("b", &"y".to_owned())]).get("a"),
            Some(value.as_str())
        );
    }
    let long = "é".repeat(MAX_LABEL_BYTES);
    assert_eq!(Labels::from_pairs([("a", &long)]).get("a").map(str::len), Some(MAX_LABEL_BYTES));
}

#[test]
fn prints_as_prometheus_does() {
    for (pairs, text) in [
        (vec![], "{}"),
        (vec![("__name__", "up")], "up"),
        (vec![("__name__", "up"), ("job", "a\"b\\c\nd")], r#"up{job="a\"b\\c\nd"}"#),
        (
            vec![("__name__", "http.requests"), ("service.name", "x")],
            r#"{"http.requests", "service.name"="x"}"#,
        ),
        (vec![("a", "1"), ("b", "2")], r#"{a="1", b="2"}"#),
    ] {
        assert_eq!(Labels::from_pairs(pairs).to_string(), text);
    }
}

#[test]
fn keep_drop_and_without_name_select_labels() {
    let labels = Labels::from_pairs([("__name__", "m"), ("a", "1"), ("b", "2")]);
    assert_eq!(labels.keep(&["a", "x"]).to_string(), r#"{a="1"}"#);
    assert_eq!(labels.drop(&["a"]).to_string(), r#"m{b="2"}"#);
    assert_eq!(labels.without_name().to_string(), r#"{a="1", b="2"}"#);
}
