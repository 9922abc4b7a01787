use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use proptest::prelude::*;
use vedette_model::{
    CUSTOM_BUCKETS_SCHEMA, ChunkSummary, Hints, HistogramCounts, LabelQuery, Labels, Matcher, MetricMetadata,
    MetricReader, NativeHistogram, ReadError, ResetHint, SampleBuffer, Select, SeriesSet, Span, TimeRange,
    stale_nan,
};
use vedette_sys::{ManualClock, RealFs};

use super::{block::Block, encoding::tests::canonical, *};
use crate::{Config, Tsdb};

/// Samples of one series: floats of every sort, and stretches of histograms that count on,
/// begin anew, change their buckets and end.
pub fn samples(count: std::ops::Range<usize>) -> impl Strategy<Value = SampleBuffer> {
    let value = prop_oneof![
        4 => (0i64..1000).prop_map(|n| n as f64 / 10.0),
        1 => any::<f64>(),
        1 => Just(stale_nan()),
        2 => Just(1.0),
    ];
    let step = prop_oneof![4 => Just(15_000i64), 2 => 14_990i64..15_010, 1 => 1i64..20_000_000];
    let kinds = proptest::collection::vec((0u8..8, 1usize..30, any::<u64>()), 1..8);
    (proptest::collection::vec((step, value), count), kinds, -1_000_000_000i64..1_000_000_000).prop_map(
        |(rows, kinds, start)| {
            let mut out = SampleBuffer::default();
            let mut time = start;
            let mut kinds = kinds.into_iter().cycle();
            let (mut kind, mut left, mut seed) = kinds.next().unwrap_or((0, 1, 0));
            for (step, value) in rows {
                time += step;
                if left == 0 {
                    (kind, left, seed) = kinds.next().unwrap_or((0, 1, 0));
                }
                left -= 1;
                match kind {
                    0..=2 => out.push(time, value),
                    3 => out.push_histogram(time, Arc::new(NativeHistogram::stale())),
                    kind => out.push_histogram(time, Arc::new(any_histogram(kind, seed, left as u64, value))),
                }
            }
            out
        },
    )
}

/// The `left`-th but last histogram of a stretch; `seed` says what the stretch is like.
fn any_histogram(kind: u8, seed: u64, left: u64, sum: f64) -> NativeHistogram {
    let grown = 30 - left;
    let custom = kind == 6;
    // Buckets appear as counting goes on; some stay empty.
    let buckets = 1 + (seed % 5) + grown / 7;
    let counts: Vec<u64> =
        (0..buckets).map(|b| if b % 3 == 2 { 0 } else { grown * (seed % 100 + b) }).collect();
    let gap = (seed >> 8 & 3) as i32;
    let spans = vec![
        Span { offset: if custom { 0 } else { i32::from((seed >> 16) as i8) }, length: 1 },
        Span { offset: if custom { 0 } else { gap }, length: buckets as u32 - 1 },
    ];
    let negative_counts = if custom || seed & 64 == 0 { Vec::new() } else { vec![grown] };
    let negative_spans = vec![Span { offset: -3, length: 1 }; negative_counts.len()];
    let zero_count = if custom { 0 } else { grown };
    let whole = |n: &[u64]| n.iter().map(|&n| n as f64 / 3.0).collect::<Vec<_>>();
    let count = zero_count + counts.iter().chain(&negative_counts).sum::<u64>();
    NativeHistogram {
        reset_hint: if seed & 256 != 0 { ResetHint::Gauge } else { ResetHint::Unknown },
        schema: if custom { CUSTOM_BUCKETS_SCHEMA } else { (seed % 13) as i8 - 4 },
        zero_threshold: if custom { 0.0 } else { [0.0, 0.001, 2f64.powi(-128)][seed as usize % 3] },
        sum: if sum.is_nan() { 0.25 } else { sum },
        positive_spans: spans,
        negative_spans,
        custom_bounds: if custom { (0..20).map(|i| f64::from(i) * 0.25 - 1.0).collect() } else { Vec::new() },
        counts: if kind == 5 {
            HistogramCounts::Float {
                count: count as f64 / 3.0,
                zero_count: zero_count as f64 / 3.0,
                positive: whole(&counts),
                negative: whole(&negative_counts),
            }
        } else {
            HistogramCounts::Integer { count, zero_count, positive: counts, negative: negative_counts }
        },
    }
}

/// A store that is a sorted vector.
#[derive(Debug, Clone, Default)]
struct Model(Vec<(Labels, SampleBuffer)>);

impl MetricReader for Model {
    fn select(&self, select: &Select) -> Result<Box<dyn SeriesSet>, ReadError> {
        let satisfies =
            |labels: &Labels| select.matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or("")));
        Ok(Box::new(Self(self.0.iter().filter(|(labels, _)| satisfies(labels)).cloned().collect())))
    }

    fn label_names(&self, _: &LabelQuery) -> Result<Vec<String>, ReadError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &LabelQuery) -> Result<Vec<String>, ReadError> {
        Ok(Vec::new())
    }

    fn series(&self, _: &LabelQuery) -> Result<Vec<Labels>, ReadError> {
        Ok(Vec::new())
    }

    fn metadata(&self, _: Option<&str>, _: usize) -> Vec<MetricMetadata> {
        Vec::new()
    }
}

impl SeriesSet for Model {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn labels(&self, series: usize) -> Labels {
        self.0[series].0.clone()
    }

    fn summaries(&self, _: usize, _: TimeRange, _: &mut Vec<ChunkSummary>) {}

    fn read(&self, series: usize, range: TimeRange, out: &mut SampleBuffer) -> Result<(), ReadError> {
        let start = out.len();
        out.extend_from(&self.0[series].1);
        out.cut_to(range, start);
        Ok(())
    }
}

fn models() -> impl Strategy<Value = Model> {
    let labels = proptest::collection::btree_map("[a-c]{1,2}|é.x", "[x-z\"\\n]{1,3}", 1..4);
    proptest::collection::btree_map(labels, samples(1..60), 0..6).prop_map(|all| {
        let mut all: Vec<_> =
            all.into_iter().map(|(labels, samples)| (Labels::from_pairs(labels), samples)).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Model(all)
    })
}

fn rows(all: impl IntoIterator<Item = (Labels, SampleBuffer)>) -> Vec<String> {
    let with_samples = all.into_iter().filter(|(_, samples)| !samples.is_empty());
    with_samples.flat_map(|(l, s)| canonical(&s).into_iter().map(move |text| format!("{l} {text}"))).collect()
}

/// Everything in blocks, of which each is later than those before.
fn read_blocks(folders: &[PathBuf]) -> Result<Vec<(Labels, SampleBuffer)>, BlockError> {
    let mut all = std::collections::BTreeMap::<Labels, SampleBuffer>::new();
    for folder in folders {
        let block = Block::open(folder)?;
        let mut reader = block.reader()?;
        while let Some(series) = reader.next()? {
            let mut samples = SampleBuffer::default();
            reader.read(&series, TimeRange::ALL, &mut samples, &mut Refused::default())?;
            all.entry(series.labels).or_default().extend_from(&samples);
        }
    }
    Ok(all.into_iter().collect())
}

fn export_all(model: &Model, folder: &Path, options: &ExportOptions) -> ExportReport {
    let times = || model.0.iter().flat_map(|(_, s)| s.times_ms.iter().copied());
    let range = TimeRange { start_ms: times().min().unwrap_or(0), end_ms: times().max().unwrap_or(0) };
    export(model, &[], range, folder, options, &mut |_| {}).unwrap()
}

fn options(block_span_ms: i64) -> ExportOptions {
    ExportOptions { block_span_ms, chunk_file_bytes_max: 2000, now_ms: 1_700_000_000_000 }
}

/// Later than every sample.
const NOW_MS: i64 = 2_500_000_000_000;

fn open_store(folder: &Path) -> Tsdb {
    let config = Config { retention_ms: i64::MAX / 4, ..Config::new(folder) };
    Tsdb::open(config, Arc::new(RealFs), Arc::new(ManualClock::at(NOW_MS * 1_000_000))).unwrap().0
}

fn read_store(store: &Tsdb) -> Vec<(Labels, SampleBuffer)> {
    let select =
        Select { matchers: Vec::new(), range: TimeRange::ALL, hints: Hints::default(), series_max: 0 };
    let set = store.select(&select).unwrap();
    (0..set.len())
        .map(|i| {
            let mut samples = SampleBuffer::default();
            set.read(i, TimeRange::ALL, &mut samples).unwrap();
            (set.labels(i), samples)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_is_exported_is_read_back(model in models(), day in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let report = export_all(&model, folder.path(), &options(if day { 86_400_000 } else { 7_200_000 }));
        let blocks: Vec<PathBuf> = report.blocks.iter().map(|(path, _)| path.clone()).collect();
        prop_assert_eq!(rows(read_blocks(&blocks).unwrap()), rows(model.0.clone()));
        let counted: u64 = report.blocks.iter().map(|(_, meta)| meta.stats.num_samples).sum();
        prop_assert_eq!((counted, report.samples), (report.samples, model.0.iter().map(|(_, s)| s.len() as u64).sum()));
        for (path, meta) in &report.blocks {
            prop_assert_eq!(&Meta::read(path).unwrap(), meta);
        }
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        prop_assert_eq!(left, blocks.len());
    }

    #[test]
    fn damage_is_told_and_never_panics(
        model in models(),
        file in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        bit in 0u32..8,
        cut in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let report = export_all(&model, folder.path(), &options(86_400_000));
        let Some((block, _)) = report.blocks.first() else { return Ok(()) };
        let mut files = vec![block.join("index"), block.join("meta.json"), block.join("tombstones")];
        files.extend(std::fs::read_dir(block.join("chunks")).unwrap().map(|e| e.unwrap().path()));
        let path = &files[file.index(files.len())];
        let before = read_blocks(std::slice::from_ref(block)).map(rows).unwrap();
        let mut bytes = std::fs::read(path).unwrap();
        let i = place.index(bytes.len());
        if cut {
            bytes.truncate(i);
        } else {
            bytes[i] ^= 1 << bit;
        }
        std::fs::write(path, bytes).unwrap();
        match read_blocks(std::slice::from_ref(block)) {
            Err(error) => prop_assert!(!error.to_string().is_empty()),
            // Padding, postings and figures in meta.json do not change what is read.
            Ok(after) => prop_assert_eq!(rows(after), before),
        }
    }

    #[test]
    fn a_block_of_garbage_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let folder = tempfile::tempdir().unwrap();
        let block = folder.path().join("block");
        std::fs::create_dir_all(block.join("chunks")).unwrap();
        std::fs::write(block.join("meta.json"), r#"{"version":1}"#).unwrap();
        std::fs::write(block.join("index"), &bytes).unwrap();
        std::fs::write(block.join("chunks/000001"), &bytes).unwrap();
        prop_assert!(read_blocks(&[block]).is_err());
    }
}

fn floats(times: std::ops::Range<i64>, step_ms: i64, value: f64) -> SampleBuffer {
    let mut out = SampleBuffer::default();
    times.for_each(|i| out.push(i * step_ms, value + i as f64));
    out
}

fn labels(text: &str) -> Labels {
    Labels::from_pairs([("__name__", text)])
}

#[test]
fn blocks_that_overlap_are_merged_and_the_store_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let model = |value| {
        Model(vec![(labels("a"), floats(0..5000, 60_000, value)), (labels("b"), floats(0..3, 7, value))])
    };
    export_all(&model(0.0), &first, &options(86_400_000));
    let mut other = model(0.5);
    other.0[0].1.cut_to(TimeRange { start_ms: 100_000_000, end_ms: 200_000_000 }, 0);
    export_all(&other, &second, &options(7_200_000));
    let store = folder.path().join("store");
    let report = import(&store, std::slice::from_ref(&first), NOW_MS, &mut |_| {}).unwrap();
    assert_eq!((report.blocks, report.segments.len(), report.samples), (4, 4, 5003));
    assert_eq!(report.range, Some(TimeRange { start_ms: 0, end_ms: 4999 * 60_000 }));
    assert_eq!(rows(read_store(&open_store(&store))), rows(model(0.0).0));
    // Both at once: samples of the same time come from the block that begins earlier.
    let both = folder.path().join("both");
    import(&both, &[second, first], NOW_MS, &mut |_| {}).unwrap();
    let expected = rows(model(0.0).0);
    let read = rows(read_store(&open_store(&both)));
    assert_eq!(read.len(), expected.len());
}

#[test]
fn an_import_that_fails_leaves_the_store_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (blocks, store) = (folder.path().join("blocks"), folder.path().join("store"));
    let model = Model(vec![(labels("a"), floats(0..5000, 60_000, 0.0))]);
    let report = export_all(&model, &blocks, &options(86_400_000));
    let chunks = report.blocks[2].0.join("chunks/000001");
    let mut bytes = std::fs::read(&chunks).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&chunks, bytes).unwrap();
    let error = import(&store, &[blocks], NOW_MS, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("chunks/000001") && error.contains("checksum"), "{error}");
    assert_eq!(std::fs::read_dir(store.join("segments")).unwrap().count(), 0);
    let error = import(&store, std::slice::from_ref(&store), NOW_MS, &mut |_| {}).unwrap_err();
    assert!(matches!(error, BlockError::NoBlock { .. }), "{error}");
}

#[test]
fn what_is_not_sealed_yet_is_not_hidden_by_an_import() {
    let folder = tempfile::tempdir().unwrap();
    let (blocks, store) = (folder.path().join("blocks"), folder.path().join("store"));
    let model = Model(vec![(labels("a"), floats(0..600, 60_000, 0.0))]);
    export_all(&model, &blocks, &options(7_200_000));
    let minute = 60_000;
    for (time_ms, taken) in [(300 * minute, false), (700 * minute, true)] {
        let _ = std::fs::remove_dir_all(&store);
        let config = Config { retention_ms: i64::MAX / 4, ..Config::new(&store) };
        let clock = Arc::new(ManualClock::at(NOW_MS * 1_000_000));
        let (live, _) = Tsdb::open(config, Arc::new(RealFs), clock).unwrap();
        let reference = live.series(&labels("b")).unwrap();
        live.append(&[crate::RefRow::new(time_ms, &[reference], &[7.0])]).unwrap();
        live.close().unwrap();
        drop(live);
        let result = import(&store, std::slice::from_ref(&blocks), NOW_MS, &mut |_| {});
        assert_eq!(result.is_ok(), taken, "{result:?}");
        let read = read_store(&open_store(&store));
        assert!(read.iter().any(|(l, s)| *l == labels("b") && s.times_ms == [time_ms]), "{read:?}");
        assert_eq!(read.len(), if taken { 2 } else { 1 });
    }
    let error = import(&store, &[blocks], 5 * minute, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("future"), "{error}");
}

#[test]
fn blocks_that_others_replace_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model(vec![(labels("a"), floats(0..10, 60_000, 0.0))]);
    let old = export_all(&model, folder.path(), &options(86_400_000)).blocks.remove(0);
    let (new, mut meta) = export_all(&model, folder.path(), &options(86_400_000)).blocks.remove(0);
    meta.compaction.parents = vec![Parent { ulid: old.1.ulid, ..Parent::default() }];
    std::fs::write(new.join("meta.json"), serde_json::to_vec(&meta).unwrap()).unwrap();
    std::fs::rename(folder.path().join(&meta.ulid), folder.path().join("X")).unwrap();
    std::fs::create_dir_all(folder.path().join("Y.tmp-for-deletion")).unwrap();
    let found = block::find(&[folder.path().to_owned()]).unwrap();
    assert_eq!(found.iter().map(|(path, _)| path.file_name().unwrap()).collect::<Vec<_>>(), ["X"]);
}

#[test]
fn selectors_are_joined() {
    let model = Model(["a", "b", "c", "d"].map(|n| (labels(n), floats(0..2, 5, 0.0))).to_vec());
    let set = |pattern: &str| vec![Matcher::new(vedette_model::MatchOp::Regex, "__name__", pattern).unwrap()];
    let selected = Selected::find(&model, &[set("c|b"), set("a|b")], TimeRange::ALL).unwrap();
    let names: Vec<String> = (0..selected.len()).map(|i| selected.labels(i).to_string()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(Selected::find(&model, &[], TimeRange::ALL).unwrap().len(), 4);
}

/// Prometheus' own packages write blocks and print what they read; we must read the same, bit by
/// bit. The peers lane builds the program and names it.
#[test]
fn blocks_of_prometheus_read_as_it_reads_them() {
    let Some(program) = std::env::var_os("VEDETTE_PEERS").map(|p| PathBuf::from(p).join("blocks")) else {
        // The fast lane; in the lane of the peers the absence of the program is a counted skip.
        return;
    };
    let run = |args: &[&str]| {
        let out = Command::new(&program).args(args).output().expect("the program was built");
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("text")
    };
    for (encodings, deletes) in [("plain", false), ("st", false), ("plain", true)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().expect("text");
        run(&["write", path, encodings]);
        let mut expected: Vec<String> = run(&["show", path]).lines().map(str::to_owned).collect();
        if deletes {
            run(&["delete", path, "1700000600000", "1700000900000"]);
            expected.retain(|line| {
                !line.contains(r#"shape="decimal""#)
                    || !(1_700_000_600_000..=1_700_000_900_000).contains(&time(line))
            });
        }
        let blocks = block::find(&[folder.path().to_owned()]).unwrap();
        let mut shown = Vec::new();
        for (folder, _) in &blocks {
            let block = Block::open(folder).unwrap();
            let mut reader = block.reader().unwrap();
            while let Some(series) = reader.next().unwrap() {
                let mut samples = SampleBuffer::default();
                reader.read(&series, TimeRange::ALL, &mut samples, &mut Refused::default()).unwrap();
                shown.extend((0..samples.len()).map(|i| show(&series.labels, &samples, i)));
            }
        }
        for (ours, theirs) in shown.iter().zip(&expected) {
            assert_eq!(ours, theirs, "{encodings}");
        }
        assert_eq!(shown.len(), expected.len());
    }
}

fn time(line: &str) -> i64 {
    line.split_once("} ")
        .and_then(|(_, rest)| rest.split(' ').next())
        .and_then(|t| t.parse().ok())
        .expect("a time")
}

/// One sample as the program prints it.
fn show(labels: &Labels, samples: &SampleBuffer, i: usize) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(n, v)| {
            let value = v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            if n.contains('.') { format!("{n:?}=\"{value}\"") } else { format!("{n}=\"{value}\"") }
        })
        .collect();
    let head = format!("{{{}}} {} start {}", pairs.join(", "), samples.times_ms[i], samples.start_ms(i));
    let Some(h) = samples.histogram(i) else {
        return format!("{head} float {:x}", samples.values[i].to_bits());
    };
    let hint = match h.reset_hint {
        ResetHint::Unknown => 0,
        ResetHint::Reset => 1,
        ResetHint::NotReset => 2,
        ResetHint::Gauge => 3,
    };
    let spans = |spans: &[Span]| {
        let texts: Vec<String> = spans.iter().map(|s| format!("{{{} {}}}", s.offset, s.length)).collect();
        format!("[{}]", texts.join(" "))
    };
    let list = |numbers: Vec<String>| format!("[{}]", numbers.join(" "));
    let (kind, zero, count, positive, negative) = match &h.counts {
        HistogramCounts::Integer { count, zero_count, positive, negative } => {
            let deltas = |counts: &[u64]| {
                let mut before = 0;
                list(
                    counts
                        .iter()
                        .map(|&n| (n as i64 - std::mem::replace(&mut before, n as i64)).to_string())
                        .collect(),
                )
            };
            ("integer", zero_count.to_string(), count.to_string(), deltas(positive), deltas(negative))
        }
        HistogramCounts::Float { count, zero_count, positive, negative } => {
            let floats = |counts: &[f64]| list(counts.iter().map(|n| go_float(*n)).collect());
            ("floating", go_float(*zero_count), go_float(*count), floats(positive), floats(negative))
        }
    };
    let bounds = list(h.custom_bounds.iter().map(|n| go_float(*n)).collect());
    format!(
        "{head} {kind} hint {hint} schema {} zero {:x}/{zero} sum {:x} count {count} positive {} {positive} negative {} {negative} bounds {bounds}",
        h.schema,
        h.zero_threshold.to_bits(),
        h.sum.to_bits(),
        spans(&h.positive_spans),
        spans(&h.negative_spans)
    )
}

/// A float as Go's `%v` prints it.
fn go_float(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-4..1e6).contains(&size) {
        return value.to_string();
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').expect("an exponent");
    let exponent: i32 = exponent.parse().expect("a number");
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}
