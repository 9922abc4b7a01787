use std::path::Path;

use proptest::prelude::*;
use roaring::RoaringBitmap;
use vedette_model::{Labels, MatchOp, Matcher};
use vedette_sys::SimFs;

use super::*;
use crate::{chunk::Effort, postings, segment::index::IndexBuilder};

fn any_labels() -> impl Strategy<Value = Labels> {
    proptest::collection::btree_map("[a-d]{1,2}", "[x-z]{0,2}", 0..5).prop_map(Labels::from_pairs)
}

fn build(all: &std::collections::BTreeSet<Labels>) -> Vec<u8> {
    let mut builder = IndexBuilder::default();
    for (labels, n) in all.iter().zip(0..) {
        builder.add(labels, block(n));
    }
    builder.finish()
}

fn block(n: u64) -> Block {
    let range = TimeRange { start_ms: i64::MIN + n as i64, end_ms: i64::MAX - n as i64 };
    Block { offset: n * 100, directory_bytes: n, bytes: n * 2, range }
}

proptest! {
    #[test]
    fn an_index_finds_what_was_put_in(
        all in proptest::collection::btree_set(any_labels(), 0..30),
        other in any_labels(),
        value in proptest::sample::select(vec!["", "x", "xy", "x|yz|", "x.*", "[yz]+", ".+", ".*"]),
    ) {
        let index = Index::parse(build(&all)).expect("well-formed");
        prop_assert_eq!(index.len(), all.len());
        for (labels, n) in all.iter().zip(0u32..) {
            prop_assert_eq!(&index.labels(n), labels);
            prop_assert!(index.has_labels(n, labels));
            prop_assert_eq!(index.entry(n).hash, labels.stable_hash());
            prop_assert_eq!(index.entry(n).block, block(u64::from(n)));
            prop_assert_eq!(index.find(labels), Some(n));
        }
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
    }

    #[test]
    fn a_changed_index_is_refused_or_read_without_panic(
        all in proptest::collection::btree_set(any_labels(), 1..10),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut bytes = build(&all);
        for (place, byte) in changes {
            let i = place.index(bytes.len());
            bytes[i] = byte;
        }
        let Some(index) = Index::parse(bytes) else { return Ok(()) };
        for n in 0..index.len() as u32 {
            let _ = (index.labels(n), index.entry(n));
        }
        for labels in &all {
            let _ = index.find(labels);
        }
        let matcher = Matcher::new(MatchOp::Regex, "a", "x.*").expect("valid");
        let _ = postings::select(&index, &[matcher, Matcher::equal("b", "")]);
        index.names(&mut |name| index.values(name, &mut |_, _| {}));
    }

    #[test]
    fn garbage_is_no_index(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = Index::parse(bytes);
    }
}

#[test]
fn a_long_series_is_read_in_part() {
    let fs = SimFs::new(1);
    let folder = Path::new("segments");
    fs.create_dir_all(folder).unwrap();
    let mut writer = SegmentWriter::create(&fs, folder, 7, Effort::Fast).unwrap();
    let mut samples = SampleBuffer::default();
    // Noise, so that the block is larger than what is read at once.
    for i in 0..20_000i64 {
        samples.push(i * 10, (i as f64).sin());
    }
    let labels = Labels::from_pairs([("a", "b")]);
    writer.add(&labels, &samples).unwrap();
    let path = writer.finish(0, 200_000, vec![3, 4]).unwrap();
    assert_eq!(file_id(&path), Some(7));
    let segment = Segment::open(&fs, path, 7).unwrap();
    assert_eq!(segment.footer.sources, [3, 4]);
    assert_eq!((segment.footer.samples, segment.footer.series), (20_000, 1));
    let block = segment.index().unwrap().entry(0).block;
    assert!(block.bytes > WHOLE_BLOCK_BYTES_MAX);
    for (start_ms, end_ms) in [(0, 199_990), (55_555, 55_560), (199_990, 300_000), (-5, -1), (77, 79)] {
        let range = TimeRange { start_ms, end_ms };
        let mut out = SampleBuffer::default();
        segment.read(block, range, &mut out).unwrap();
        let wanted: Vec<i64> = samples.times_ms.iter().copied().filter(|t| range.contains(*t)).collect();
        assert_eq!(out.times_ms, wanted);
        assert!(out.times_ms.iter().zip(&out.values).all(|(t, v)| *v == ((t / 10) as f64).sin()));
    }
    segment.release_idle_index();
    assert!(segment.heap_bytes() > 0, "just used");
    segment.release_idle_index();
    assert_eq!(segment.heap_bytes(), 0);
    assert_eq!(segment.index().unwrap().labels(0), labels);
}
