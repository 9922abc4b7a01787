use std::path::Path;

use proptest::prelude::*;
use vedette_model::{Labels, Matcher};
use vedette_sys::{Fs, SimFs};

use super::*;
use crate::deletions::Deletion;

/// Samples of each series: what counts for each time.
type Model = BTreeMap<Labels, BTreeMap<i64, f64>>;

fn labels(n: u8) -> Labels {
    let more = ["a", "b", ""][usize::from(n % 3)];
    Labels::from_pairs([
        ("__name__", format!("m{}", n / 4)),
        ("group", more.to_owned()),
        ("n", n.to_string()),
    ])
}

fn any_segment() -> impl Strategy<Value = BTreeMap<u8, BTreeMap<i64, u8>>> {
    let samples = proptest::collection::btree_map(0i64..60, any::<u8>(), 1..20);
    let shift = prop_oneof![Just(0i64), Just(40), Just(100)];
    (proptest::collection::btree_map(0u8..12, samples, 1..8), shift).prop_map(|(mut all, shift)| {
        for samples in all.values_mut() {
            *samples = std::mem::take(samples).into_iter().map(|(t, v)| (t + shift, v)).collect();
        }
        all
    })
}

fn write(fs: &SimFs, id: u64, rank: u64, all: &BTreeMap<Labels, BTreeMap<i64, f64>>) -> Arc<Segment> {
    let mut writer = SegmentWriter::create(fs, Path::new("s"), id, Effort::Fast).unwrap();
    writer.set_rank(rank);
    for (labels, samples) in all {
        let mut buffer = SampleBuffer::default();
        samples.iter().for_each(|(&t, &v)| buffer.push(t, v));
        let exemplar = Exemplar { labels: labels.clone(), value: 1.0, time_ms: id as i64 };
        writer.add_with_exemplars(labels, &buffer, &[exemplar]).unwrap();
    }
    let path = writer.finish(i64::MIN, i64::MAX, Vec::new()).unwrap();
    Arc::new(Segment::open(fs, path, id).unwrap())
}

proptest! {
    #[test]
    fn merging_overlapping_segments_is_as_into_a_map(
        segments in proptest::collection::vec(any_segment(), 1..6),
        order in Just([3u64, 1, 4, 2, 5]).prop_shuffle(),
    ) {
        let fs = SimFs::new(1);
        fs.create_dir_all(Path::new("s")).unwrap();
        let mut model = Model::new();
        let mut by_rank: Vec<(u64, Arc<Segment>, Model)> = Vec::new();
        for ((all, &rank), id) in segments.iter().zip(&order).zip(10..) {
            let all: Model = all
                .iter()
                .map(|(&n, s)| (labels(n), s.iter().map(|(&t, &v)| (t, f64::from(v))).collect()))
                .collect();
            by_rank.push((rank, write(&fs, id, rank, &all), all));
        }
        let group: Vec<Arc<Segment>> = by_rank.iter().map(|(_, s, _)| Arc::clone(s)).collect();
        by_rank.sort_by_key(|(rank, ..)| *rank);
        for (_, _, all) in by_rank.iter().rev() {
            for (labels, samples) in all {
                model.entry(labels.clone()).or_default().extend(samples);
            }
        }
        let deletions = Deletions::default();
        let (mut merge, texts) = Merge::new(&group, LeftOut { deletions: &deletions, retention: Retention::all() });
        let mut writer = SegmentWriter::create(&fs, Path::new("s"), 99, Effort::Small).unwrap();
        writer.set_symbols(texts);
        while merge.next().unwrap() {
            let holders = group.iter().filter(|s| {
                merge.exemplars.iter().any(|e| e.time_ms == s.id as i64)
            });
            prop_assert_eq!(holders.count(), merge.exemplars.len());
            writer.add_pairs(&merge.labels, &merge.samples, &merge.exemplars).unwrap();
        }
        let path = writer.finish(i64::MIN, i64::MAX, Vec::new()).unwrap();
        let merged = Segment::open(&fs, path, 99).unwrap();
        prop_assert_eq!(merged.index().len(), model.len());
        for ((labels, samples), number) in model.iter().zip(0..) {
            prop_assert_eq!(merged.index().find(labels), Some(number));
            let mut out = SampleBuffer::default();
            merged.read(merged.index().block(number).unwrap(), TimeRange::ALL, &mut out).unwrap();
            let found: BTreeMap<i64, f64> = out.times_ms.iter().copied().zip(out.values).collect();
            prop_assert_eq!(&found, samples);
            // Exemplars tell whose series it was.
            let mut exemplars = Vec::new();
            merged.exemplars(merged.index().block(number).unwrap(), &mut exemplars).unwrap();
            prop_assert!(exemplars.iter().all(|e| e.labels == *labels));
            prop_assert!(!exemplars.is_empty());
        }
    }
}

#[test]
fn what_is_deleted_of_a_segment_is_not_merged() {
    let fs = SimFs::new(1);
    fs.create_dir_all(Path::new("s")).unwrap();
    let segment = |id: u64| {
        let samples: BTreeMap<i64, f64> = (0..20).map(|t| (t, (id * 100) as f64 + t as f64)).collect();
        write(&fs, id, id, &(0..6).map(|n| (labels(n), samples.clone())).collect())
    };
    let deletions = Deletions {
        list: vec![Deletion {
            matchers: vec![Matcher::equal("group", "a")],
            range: TimeRange { start_ms: 5, end_ms: 10 },
            segments_before: 11,
            logs: Vec::new(),
        }],
    };
    // Both have an exemplar at the time that is their number.
    let group = [segment(10), segment(11)];
    let (mut merge, _) = Merge::new(&group, LeftOut { deletions: &deletions, retention: Retention::all() });
    let mut series = 0;
    while merge.next().unwrap() {
        let deleted = merge.exemplars[0].labels.get("group") == Some("a");
        let times: Vec<i64> = merge.exemplars.iter().map(|e| e.time_ms).collect();
        assert_eq!(times, if deleted { vec![11] } else { vec![10, 11] });
        for (&time, &value) in merge.samples.times_ms.iter().zip(&merge.samples.values) {
            let from = if deleted && (5..=10).contains(&time) { 1100 } else { 1000 };
            assert_eq!(value, (from + time) as f64);
        }
        assert_eq!(merge.samples.len(), 20);
        series += u64::from(deleted);
    }
    assert_eq!(series, 2);
}

#[test]
fn what_comes_late_waits_until_it_is_worth_a_merge() {
    let fs = SimFs::new(1);
    fs.create_dir_all(Path::new("s")).unwrap();
    let segment = |id: u64, series: u8, samples: i64| {
        let one: BTreeMap<i64, f64> = (0..samples).map(|t| (t, (t * t) as f64)).collect();
        write(&fs, id, id, &(0..series).map(|n| (labels(n), one.clone())).collect())
    };
    let large = segment(1, 200, 600);
    assert!(!is_worth_merging(&[Arc::clone(&large)]));
    let mut group = vec![large, segment(2, 1, 2)];
    assert!(!is_worth_merging(&group));
    group.extend((3..10).map(|id| segment(id, 1, 2)));
    assert!(is_worth_merging(&group));
    assert!(is_worth_merging(&[segment(20, 3, 9), segment(21, 3, 9)]));
    let windows = windows(&group, i64::MAX / 2);
    assert!(windows.is_empty(), "segments from one end of time to the other fit no window");
}
