use std::{collections::BTreeMap, path::Path};

use proptest::prelude::*;
use roaring::RoaringBitmap;
use vedette_model::{Labels, MatchOp, Matcher};
use vedette_sys::SimFs;

use super::{index_builder::IndexBuilder, *};
use crate::{
    chunk::{
        Effort,
        tests::{any_samples, told},
    },
    postings,
};

const WHOLE: TimeRange = TimeRange { start_ms: -1_000_000, end_ms: 9_000_000 };

fn any_labels() -> impl Strategy<Value = Labels> {
    proptest::collection::btree_map("[a-d]{1,2}", "[x-z]{0,2}", 0..5).prop_map(Labels::from_pairs)
}

fn block(n: u64) -> Block {
    let range = TimeRange { start_ms: n as i64 * 1000, end_ms: n as i64 * 7000 };
    Block { offset: n * 100, bytes: 100 - n % 2, range }
}

fn build<'a>(all: impl Iterator<Item = &'a Labels>) -> Vec<u8> {
    let mut builder = IndexBuilder::default();
    for (labels, n) in all.zip(0..) {
        builder.add(labels, block(n));
    }
    builder.finish(WHOLE).unwrap()
}

fn open_index(bytes: Vec<u8>) -> Option<Index> {
    let length = bytes.len();
    Index::new(Arc::new(bytes), 0..length, WHOLE)
}

fn labels_of(n: usize) -> Labels {
    let cpu = (n % 7).to_string();
    Labels::from_pairs([("__name__", format!("m{:03}", n / 40)), ("cpu", cpu), ("i", format!("{n:04}"))])
}

proptest! {
    #[test]
    fn an_index_finds_what_was_put_in(
        all in proptest::collection::btree_set(any_labels(), 0..60),
        other in any_labels(),
        value in proptest::sample::select(vec!["", "x", "xy", "x|yz|", "x.*", "[yz]+", ".+", ".*"]),
    ) {
        let index = open_index(build(all.iter())).expect("well-formed");
        prop_assert_eq!(index.len(), all.len());
        let mut walk = index.walk(0);
        for (labels, n) in all.iter().zip(0u32..) {
            prop_assert_eq!(&index.labels(n), labels);
            prop_assert_eq!(walk.advance(), Some(n));
            prop_assert_eq!(&walk.labels(), labels);
            let (found, put) = (index.block(n).expect("there"), block(u64::from(n)));
            prop_assert_eq!((found.offset, found.bytes), (put.offset, put.bytes));
            prop_assert!(found.range.start_ms <= put.range.start_ms && put.range.end_ms <= found.range.end_ms);
            prop_assert_eq!(index.find(labels), Some(n));
        }
        prop_assert_eq!(walk.advance(), None);
        prop_assert_eq!(index.find(&other).is_some(), all.contains(&other));
        for op in [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex] {
            let matcher = Matcher::new(op, "a", value).expect("valid");
            let wanted: RoaringBitmap = all
                .iter()
                .zip(0u32..)
                .filter(|(l, _)| matcher.matches(l.get("a").unwrap_or("")))
                .map(|(_, n)| n)
                .collect();
            prop_assert_eq!(postings::select(&index, &[matcher]), wanted);
        }
        let mut names = Vec::new();
        index.names(&mut |name| names.push(name.to_owned()));
        let mut wanted: Vec<String> = all.iter().flat_map(|l| l.iter().map(|(n, _)| n.to_owned())).collect();
        wanted.sort_unstable();
        wanted.dedup();
        prop_assert_eq!(names, wanted);
    }

    #[test]
    fn a_changed_index_never_panics(
        all in proptest::collection::btree_set(any_labels(), 1..40),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut bytes = build(all.iter());
        for (place, byte) in changes {
            let i = place.index(bytes.len());
            bytes[i] = byte;
        }
        let Some(index) = open_index(bytes) else { return Ok(()) };
        for n in 0..index.len().min(100) as u32 {
            let _ = (index.labels(n), index.block(n));
        }
        for labels in &all {
            let _ = index.find(labels);
        }
        let matcher = Matcher::new(MatchOp::Regex, "a", "x.*").expect("valid");
        let found = postings::select(&index, &[matcher, Matcher::equal("b", "")]);
        let _ = index.overlapping(found, TimeRange { start_ms: 3000, end_ms: 4000 });
    }

    #[test]
    fn garbage_is_no_index(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = open_index(bytes);
    }

    #[test]
    fn what_was_written_is_read(
        all in proptest::collection::btree_map(any_labels(), any_samples(), 1..12),
        small in any::<bool>(),
        range in (0i64..40, 0i64..40),
    ) {
        let effort = if small { Effort::Small } else { Effort::Fast };
        let (fs, path) = write(&all, effort);
        let segment = Segment::open(&fs, path, 7).unwrap();
        let base = 1_700_000_000_000;
        let part = TimeRange { start_ms: base + range.0 * 1000, end_ms: base + (range.0 + range.1) * 1000 };
        for ((labels, samples), n) in all.iter().zip(0..) {
            prop_assert_eq!(segment.index().find(labels), Some(n));
            let block = segment.index().block(n).unwrap();
            for range in [TimeRange::ALL, part] {
                let mut out = SampleBuffer::default();
                segment.read(block, range, &mut out).unwrap();
                let mut wanted = samples.clone();
                wanted.cut_to(range, 0);
                prop_assert_eq!(told(&out), told(&wanted));
            }
            let mut summaries = Vec::new();
            segment.summaries(block, TimeRange::ALL, &mut summaries).unwrap();
            for summary in summaries {
                let mut within = samples.clone();
                within.cut_to(summary.range, 0);
                let mut wanted = crate::chunk::summarize(&within.times_ms, &within.values);
                if !within.histograms.is_empty() || summary.special {
                    prop_assert!(summary.special);
                    prop_assert_eq!(summary.count, wanted.count);
                    continue;
                }
                if within.values.iter().all(|v| v.to_bits() == within.values[0].to_bits()) {
                    wanted.sum = within.values[0] * within.len() as f64;
                }
                prop_assert_eq!(format!("{summary:?}"), format!("{wanted:?}"));
            }
        }
    }
}

fn write(all: &BTreeMap<Labels, SampleBuffer>, effort: Effort) -> (SimFs, PathBuf) {
    let fs = SimFs::new(1);
    let folder = Path::new("segments");
    fs.create_dir_all(folder).unwrap();
    let mut writer = SegmentWriter::create(&fs, folder, 7, effort).unwrap();
    for (labels, samples) in all {
        writer.add_with_exemplars(labels, samples, &exemplars(labels)).unwrap();
    }
    let path = writer.finish(i64::MIN, i64::MAX, vec![3, 4]).unwrap();
    (fs, path)
}

fn exemplars(labels: &Labels) -> Vec<Exemplar> {
    let exemplar = |n: usize| Exemplar {
        labels: labels_of(n),
        value: n as f64 / 3.0,
        time_ms: 1_700_000_000_000 + n as i64,
    };
    (0..labels.len()).map(exemplar).collect()
}

#[test]
fn a_long_series_is_read_in_part() {
    let mut samples = SampleBuffer::default();
    for i in 0..20_000i64 {
        samples.push(i * 10 + i64::from(i % 50 == 3), (i as f64).sin());
    }
    let labels = Labels::from_pairs([("a", "b")]);
    let (fs, path) = write(&BTreeMap::from([(labels.clone(), samples.clone())]), Effort::Fast);
    assert_eq!(file_id(&path), Some(7));
    let segment = Segment::open(&fs, path, 7).unwrap();
    assert_eq!(segment.footer.sources, [3, 4]);
    assert_eq!((segment.footer.samples, segment.footer.series), (20_000, 1));
    let block = segment.index().block(0).unwrap();
    for (start_ms, end_ms) in [(0, 199_990), (55_555, 55_560), (199_990, 300_000), (-5, -1), (77, 79)] {
        let range = TimeRange { start_ms, end_ms };
        let mut out = SampleBuffer::default();
        segment.read(block, range, &mut out).unwrap();
        let wanted: Vec<i64> = samples.times_ms.iter().copied().filter(|t| range.contains(*t)).collect();
        assert_eq!(out.times_ms, wanted);
        assert!(out.times_ms.iter().zip(&out.values).all(|(t, v)| *v == ((t / 10) as f64).sin()));
    }
    let mut found = Vec::new();
    segment.exemplars(block, &mut found).unwrap();
    assert_eq!(found, exemplars(&labels));
    segment.release_if_idle();
    segment.release_if_idle();
    assert_eq!(segment.index().labels(0), labels);
}

#[test]
fn series_of_one_target_share_their_times() {
    let times: Vec<i64> = (0..480).map(|i| i * 15_000 + i * i % 37).collect();
    let size = |series: usize| {
        let mut all = BTreeMap::new();
        for n in 0..series {
            let mut samples = SampleBuffer::default();
            times.iter().for_each(|&t| samples.push(t, n as f64));
            all.insert(Labels::from_pairs([("n", format!("{n:05}"))]), samples);
        }
        let (fs, path) = write(&all, Effort::Small);
        fs.read(&path).unwrap().len()
    };
    let (one, many) = (size(1), size(1001));
    // Of these, an exemplar takes 45 bytes and the symbol 9; the times alone would take 360.
    assert!((many - one) / 1000 < 90, "{one} and {many} bytes");
}

#[test]
fn a_dull_series_costs_a_few_bytes_a_day() {
    let mut samples = SampleBuffer::default();
    for i in 0..5760 {
        samples.push(1_700_000_000_000 + i * 15_000, 1024.0);
    }
    let size = |series: usize| {
        let fs = SimFs::new(1);
        fs.create_dir_all(Path::new("s")).unwrap();
        let mut writer = SegmentWriter::create(&fs, Path::new("s"), 1, Effort::Small).unwrap();
        for n in 0..series {
            writer.add(&labels_of(n), &samples).unwrap();
        }
        let path = writer.finish(0, i64::MAX, Vec::new()).unwrap();
        fs.read(&path).unwrap().len()
    };
    // Of these, 17 are for the label that no two series share: its text, its place, its postings.
    assert!((size(3000) - size(1000)) / 2000 <= 20 + 17, "{}", (size(3000) - size(1000)) / 2000);
}

#[test]
fn every_flipped_bit_is_found() {
    let mut all = BTreeMap::new();
    for n in 0..17 {
        let mut samples = SampleBuffer::default();
        for i in 0..9i64 {
            samples.push(i * 1000 + i % 3, (i * n as i64) as f64);
        }
        all.insert(labels_of(n), samples);
    }
    let (fs, path) = write(&all, Effort::Small);
    let bytes = fs.read(&path).unwrap();
    for place in 0..bytes.len() {
        let fs = SimFs::new(1);
        fs.create_dir_all(Path::new("segments")).unwrap();
        let mut changed = bytes.clone();
        changed[place] ^= 1 << (place % 8);
        fs.put(&path, changed);
        let Ok(segment) = Segment::open(&fs, path.clone(), 7) else { continue };
        let read = |n| {
            let block = segment.index().block(n).unwrap();
            segment.read(block, TimeRange::ALL, &mut SampleBuffer::default())
        };
        assert!((0..17).any(|n| read(n).is_err()), "the change at {place} was not noticed");
        assert!(segment.damaged.load(Ordering::Relaxed));
    }
}

#[test]
fn offsets_beyond_the_index_give_no_text() {
    let mut bytes = build(std::iter::once(&Labels::from_pairs([("a", "b")])));
    // The offset of the second symbol, behind twelve numbers and the first.
    bytes[52..56].copy_from_slice(&u32::MAX.to_le_bytes());
    let index = open_index(bytes).unwrap();
    assert_eq!((index.symbol(0), index.symbol(1)), ("", ""));
}

#[test]
fn samples_beyond_the_range_of_the_footer_are_damage() {
    let mut samples = SampleBuffer::default();
    samples.push(1000, 1.0);
    samples.push(2000, 2.0);
    let (fs, path) = write(&BTreeMap::from([(labels_of(1), samples)]), Effort::Fast);
    let mut file = fs.read(&path).unwrap();
    let mut footer = Footer::read(&file).unwrap();
    file.truncate(file.len() - footer.encode().len());
    footer.range.end_ms = 1500;
    file.extend_from_slice(&footer.encode());
    fs.put(&path, file);
    let segment = Segment::open(&fs, path, 7).unwrap();
    let block = segment.index().block(0).unwrap();
    assert!(segment.read(block, TimeRange::ALL, &mut SampleBuffer::default()).is_err());
    assert!(segment.summaries(block, TimeRange::ALL, &mut Vec::new()).is_err());
}
