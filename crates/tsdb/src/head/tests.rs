use proptest::prelude::*;
use vedette_model::{MatchOp, Matcher};

use super::*;
use crate::{
    postings,
    wal::{PairList, Told, values::Coded},
};

fn labels(name: &str, a: &str, b: &str) -> Labels {
    Labels::from_pairs([("__name__", name), ("a", a), ("b", b)])
}

/// The series as it is when a log defines it.
fn find_or_create(shard: &Shard, labels: &Labels) -> SeriesRef {
    let mut list = PairList::default();
    let pairs: Vec<u32> = labels.iter().map(|(name, value)| list.push(name, value)).collect();
    let defined = Defined { hash: labels.stable_hash(), pairs: &pairs, list: &list };
    let mut known = KnownPairs::default();
    known.reserve(list.len());
    let reference = shard.define().find_or_create(&defined, &mut known);
    shard.fill_sets();
    reference
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
        let shard = Shard::default();
        let mut model: Vec<Labels> =
            keys.into_iter().map(|(n, a, b)| labels(NAMES[n], VALUES[a], VALUES[b])).collect();
        for l in &model {
            let made = find_or_create(&shard, l);
            prop_assert_eq!(shard.find(l.stable_hash(), l), Some(made));
            prop_assert_eq!(find_or_create(&shard, l), made);
        }
        // What is not asked to stay goes.
        let mut gone = Vec::new();
        for place in retired {
            if !model.is_empty() {
                gone.push(model.swap_remove(place.index(model.len())));
            }
        }
        retire_all_but(&shard, 1, &model);
        prop_assert_eq!(shard.index().slots().len() as usize, model.len());
        for l in &gone {
            prop_assert_eq!(shard.find(l.stable_hash(), l), None);
        }
        model.retain(|l| matchers.iter().all(|m| m.matches(l.get(&m.name).unwrap_or(""))));
        model.sort();
        let index = shard.index();
        let numbers = postings::select(&index, &matchers);
        let mut found: Vec<Labels> = numbers.iter().map(|slot| index.labels(slot)).collect();
        found.sort();
        prop_assert_eq!(found, model);
    }

    #[test]
    fn series_of_all_shards_come_in_the_order_of_their_labels(
        keys in proptest::collection::btree_set((0usize..3, 0usize..4, 0usize..4), 0..40),
        shards in 1usize..5,
    ) {
        let head = Head::new(shards);
        let mut model: Vec<Labels> =
            keys.into_iter().map(|(n, a, b)| labels(NAMES[n], VALUES[a], VALUES[b])).collect();
        for l in &model {
            find_or_create(head.shard_of(l.stable_hash()), l);
        }
        model.sort();
        let ordered = head.ordered();
        let found: Vec<Labels> =
            ordered.iter().map(|o| head.shards()[usize::from(o.shard)].index().labels(o.slot)).collect();
        prop_assert_eq!(found, model);
    }
}

/// Retires the series that have none of these labels.
fn retire_all_but(shard: &Shard, time_ms: i64, staying: &[Labels]) {
    assert_eq!(shard.retire(), 0, "a new series is spared once");
    for l in staying {
        let reference = shard.find(l.stable_hash(), l).expect("there");
        let rules = Rules { sealed_until_ms: i64::MIN, late_from_ms: None, span_start_ms: 0, epoch: 0 };
        let told = Told { series: reference, bits: 1, base: 1, coded: Coded::SAME, start_ms: 0 };
        assert!(shard.samples.write().replay(time_ms, &told, &rules));
    }
    shard.retire();
}

#[test]
fn labels_of_retired_series_are_forgotten_and_their_slots_used_again() {
    let shard = Shard::default();
    let add = |l: &Labels| find_or_create(&shard, l);
    let (first, second) = (labels("up", "x", "y"), labels("down", "x", "y"));
    add(&first);
    retire_all_but(&shard, 1, std::slice::from_ref(&first));
    let texts = |shard: &Shard| {
        let index = shard.index();
        let mut texts: Vec<String> =
            index.registry.pairs.iter().map(|(_, n, v)| format!("{n}={v}")).collect();
        texts.sort();
        texts
    };
    let before = texts(&shard);
    let reference = add(&labels("up", "a long value of a label", "y"));
    assert!(texts(&shard).len() > before.len());
    retire_all_but(&shard, 2, std::slice::from_ref(&first));
    assert_eq!(texts(&shard), before);
    assert_ne!(add(&labels("up", "x", "z")).slot(), reference.slot(), "a segment of the log has it");
    shard.reuse_slots();
    let again = add(&second);
    assert_eq!(again.slot(), reference.slot());
    assert_ne!(again, reference);
}
