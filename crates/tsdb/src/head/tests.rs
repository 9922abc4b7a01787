use proptest::prelude::*;
use vedette_model::{MatchOp, Matcher};

use super::*;
use crate::postings;

fn labels(name: &str, a: &str, b: &str) -> Labels {
    Labels::from_pairs([("__name__", name), ("a", a), ("b", b)])
}

const NAMES: [&str; 3] = ["up", "down", "left_right"];
const VALUES: [&str; 4] = ["", "x", "y", "xy"];
const PATTERNS: [&str; 8] = ["", "x", "x|y", "x|", ".*", ".+", "x.*", "[^x]?"];

fn any_matcher() -> impl Strategy<Value = Matcher> {
    let op = prop_oneof![
        Just(MatchOp::Equal),
        Just(MatchOp::NotEqual),
        Just(MatchOp::Regex),
        Just(MatchOp::NotRegex)
    ];
    let name = prop_oneof![Just("__name__"), Just("a"), Just("b"), Just("absent")];
    let value = prop_oneof![proptest::sample::select(&PATTERNS[..]), proptest::sample::select(&NAMES[..])];
    (op, name, value).prop_map(|(op, name, value)| Matcher::new(op, name, value).expect("valid"))
}

proptest! {
    #[test]
    fn selection_equals_asking_every_series(
        keys in proptest::collection::btree_set((0usize..3, 0usize..4, 0usize..4), 0..30),
        retired in proptest::collection::vec(any::<prop::sample::Index>(), 0..5),
        matchers in proptest::collection::vec(any_matcher(), 0..4),
    ) {
        let head = Head::default();
        let mut model: Vec<Labels> =
            keys.into_iter().map(|(n, a, b)| labels(NAMES[n], VALUES[a], VALUES[b])).collect();
        for l in &model {
            prop_assert!(head.find_or_create(l, 1000).is_some_and(|(_, made)| made));
            prop_assert!(head.find_or_create(l, 1000).is_some_and(|(_, made)| !made));
        }
        for place in retired {
            if model.is_empty() {
                break;
            }
            let gone = model.swap_remove(place.index(model.len()));
            let reference = head.find(&gone).expect("there");
            prop_assert_eq!(head.retire(|s, _| s.reference == reference), 1);
            prop_assert_eq!(head.find(&gone), None);
            prop_assert!(head.index().get(reference).is_none());
        }
        model.retain(|l| matchers.iter().all(|m| m.matches(l.get(&m.name).unwrap_or(""))));
        model.sort();
        let index = head.index();
        let numbers = postings::select(&index, &matchers);
        let mut found: Vec<Labels> = index.numbered(&numbers).map(|s| index.labels(s)).collect();
        found.sort();
        prop_assert_eq!(found, model);
    }
}

#[test]
fn the_limit_refuses_new_series_only_and_symbols_are_forgotten() {
    let head = Head::default();
    let (first, second) = (labels("up", "x", "y"), labels("down", "x", "y"));
    let (reference, _) = head.find_or_create(&first, 1).expect("room");
    assert_eq!(head.find_or_create(&second, 1), None);
    assert_eq!(head.find_or_create(&first, 1), Some((reference, false)));
    let before = head.index().0.symbols.heap_bytes();
    head.find_or_create(&labels("up", "a long value of a label", "y"), 2).expect("room");
    assert!(head.index().0.symbols.heap_bytes() > before);
    assert_eq!(head.retire(|s, _| s.reference != reference), 1);
    assert_eq!(head.index().0.symbols.heap_bytes(), before);
    let (again, made) = head.find_or_create(&second, 2).expect("room");
    assert!(made && again != reference);
}
