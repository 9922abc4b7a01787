//! The targets of the metric store: its log, its segments, its chunks, the blocks of Prometheus and
//! the requests of remote write.
//!
//! Checksums are put right before a decoder sees the bytes, or fuzzing would end at them. What the
//! inputs begin with is made here, not kept in files.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use vedette_model::{Hints, LabelQuery, Labels, Matcher, MetricReader, SampleBuffer, Select, TimeRange};
use vedette_sys::{Flush, Fs as _, LogConfig, ManualClock, RecordLog, SimFs};
use vedette_tsdb::{Config, RefRow, Tsdb, fuzzing, prometheus};
use vedette_wire::remote_write::{Encoder, Item, LabelPairs, Point, Request, SeriesMessage};

const START_MS: i64 = 1_700_000_000_000;

/// Requests that become larger are refused, as by the receiver.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

fn open(fs: &SimFs, clock: &ManualClock) -> Option<Tsdb> {
    let config = Config {
        segment_span_ms: 10_000,
        compaction_spans_ms: vec![100_000],
        shards: 1,
        ..Config::new("data")
    };
    Tsdb::open(config, Arc::new(fs.clone()), Arc::new(clock.clone())).ok().map(|(store, _)| store)
}

/// Asks a store for all it has.
fn ask(store: &Tsdb) {
    let matchers = vec![Matcher::equal("__name__", "fuzz")];
    let ranges = [TimeRange::ALL, TimeRange { start_ms: START_MS + 20_000, end_ms: START_MS + 100_000 }];
    for (matchers, range) in [Vec::new(), matchers].into_iter().zip(ranges) {
        let select = Select { matchers, range, hints: Hints::default(), series_max: 0 };
        let Ok(set) = store.select(&select) else { continue };
        let (mut samples, mut summaries) = (SampleBuffer::default(), Vec::new());
        for i in 0..set.len() {
            samples.clear();
            summaries.clear();
            let _ = set.labels(i);
            if set.read(i, range, &mut samples).is_ok() {
                assert!(samples.times_ms.is_sorted_by(|a, b| a < b), "times do not grow");
                assert!(samples.times_ms.iter().all(|&t| range.contains(t)), "times beyond the range");
                assert_eq!(samples.times_ms.len(), samples.values.len());
            }
            set.summaries(i, range, &mut summaries);
        }
    }
    let query = LabelQuery { matcher_sets: Vec::new(), range: TimeRange::ALL, limit: 0 };
    let _ = store.label_names(&query);
    let _ = store.label_values("n", &query);
    let _ = MetricReader::series(store, &query);
    let _ = store.exemplars(&query);
    let _ = store.metadata(None, 0);
}

/// Whatever the records of a log are, the store opens, answers, takes samples and seals.
pub fn wal(bytes: &[u8]) {
    let fs = SimFs::new(1);
    let clock = ManualClock::at((START_MS + 60_000) * 1_000_000);
    {
        let mut log = log_of_shard(&fs, &mut |_| {});
        let mut rest = bytes;
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let (record, after) = after.split_at(usize::from(u16::from_le_bytes(*length)).min(after.len()));
            log.append(record).expect("a simulated disk takes a record");
            rest = after;
        }
    }
    let Some(store) = open(&fs, &clock) else { return };
    ask(&store);
    let reference = store.series(&Labels::from_pairs([("__name__", "mine")])).expect("there is room");
    for _ in 0..3 {
        clock.advance(Duration::from_secs(20));
        let time_ms = vedette_sys::Clock::unix_ms(&clock);
        let _ = store.append(&[RefRow::new(time_ms, &[reference], &[1.0])]);
        store.maintain();
    }
    ask(&store);
}

fn log_of_shard(fs: &SimFs, each: &mut dyn FnMut(&[u8])) -> RecordLog {
    let config = LogConfig { segment_bytes_max: u64::MAX, record_bytes_max: 1 << 20, flush: Flush::Always };
    fs.create_dir_all(Path::new("data/wal/0")).expect("a simulated disk takes a folder");
    RecordLog::open(Arc::new(fs.clone()), Path::new("data/wal/0"), config, &mut |_, record| each(record))
        .expect("a sound log opens")
        .0
}

/// The records of logs as the store writes them.
pub fn wal_seeds() -> Vec<Vec<u8>> {
    let fs = SimFs::new(1);
    let clock = ManualClock::at(START_MS * 1_000_000);
    let store = open(&fs, &clock).expect("an empty store opens");
    let mut refs = Vec::new();
    for n in 0..5 {
        let labels = Labels::from_pairs([("__name__", "fuzz"), ("n", &n.to_string())]);
        refs.push(store.series(&labels).expect("there is room"));
    }
    for i in 0..6 {
        clock.advance(Duration::from_millis(900));
        let now = START_MS + (i + 1) * 900;
        let values: Vec<f64> = (0..5).map(|n| (i * n) as f64 / 4.0).collect();
        let count = if i == 3 { 2 } else { 5 };
        store.append(&[RefRow::new(now, &refs[..count], &values[..count])]).expect("there is room");
        store.append(&[RefRow::new(now - 450, &refs[..1], &[0.1])]).expect("there is room");
    }
    store.put_metadata(&[vedette_model::MetricMetadata {
        family: "fuzz".into(),
        kind: vedette_model::MetricKind::Gauge,
        unit: "s".into(),
        help: "help".into(),
    }]);
    store.maintain();
    drop(store);
    let mut all = Vec::new();
    let mut each = Vec::new();
    log_of_shard(&fs, &mut |record| {
        let length = u16::try_from(record.len()).expect("records of the seed are short");
        let framed = [&length.to_le_bytes()[..], record].concat();
        all.extend_from_slice(&framed);
        each.push(framed);
    });
    each.push(all);
    each
}

/// Whatever a segment with right checksums holds, the store opens, answers, and merges it.
pub fn segment(bytes: &[u8]) {
    static SOUND: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let sound = SOUND.get_or_init(fuzzing::segments);
    let mut file = bytes.to_vec();
    put_segment_right(&mut file);
    let fs = SimFs::new(1);
    let clock = ManualClock::at((START_MS + 1_000_000) * 1_000_000);
    let folder = Path::new("data/segments");
    fs.create_dir_all(folder).expect("a simulated disk takes a folder");
    fs.put(&folder.join("0000000000000001.segment"), sound[0].clone());
    fs.put(&folder.join("0000000000000002.segment"), file);
    let Some(store) = open(&fs, &clock) else { return };
    ask(&store);
    // Merging costs more than all else.
    if bytes.len().is_multiple_of(4) {
        let _ = store.merge_all();
        store.maintain();
        ask(&store);
    }
}

/// Makes header, footer, index and pages of a segment have the checksums they should have.
fn put_segment_right(file: &mut [u8]) {
    const HEADER: usize = 24;
    const FOOTER: usize = 96;
    const PAGE: usize = 4096;
    let Some(footer_at) = file.len().checked_sub(FOOTER).filter(|&at| at >= HEADER) else { return };
    file[..8].copy_from_slice(b"VDTSDBSG");
    file[8..12].copy_from_slice(&2u32.to_le_bytes());
    let crc = crc32fast::hash(&file[..12]);
    file[12..16].copy_from_slice(&crc.to_le_bytes());
    let word = |file: &[u8], at: usize| u64::from_le_bytes(std::array::from_fn(|i| file[at + i]));
    let sources = u32::from_le_bytes(std::array::from_fn(|i| file[footer_at + 76 + i])) as usize;
    let Some(end) = footer_at.checked_sub(sources.saturating_mul(8)).filter(|&at| at >= HEADER) else {
        return;
    };
    let data = (word(file, footer_at) as usize).clamp(HEADER, end);
    file[footer_at..footer_at + 8].copy_from_slice(&(data as u64).to_le_bytes());
    file[footer_at + 8..footer_at + 16].copy_from_slice(&((end - data) as u64).to_le_bytes());
    for page in 0..data.div_ceil(PAGE) {
        let sum = crc32fast::hash(&file[page * PAGE..data.min((page + 1) * PAGE)]);
        let at = data + page * 4;
        if at + 4 <= end {
            file[at..at + 4].copy_from_slice(&sum.to_le_bytes());
        }
    }
    let crc = crc32fast::hash(&file[data..end]);
    file[footer_at + 72..footer_at + 76].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32fast::hash(&file[end..footer_at + 84]);
    file[footer_at + 84..footer_at + 88].copy_from_slice(&crc.to_le_bytes());
    file[footer_at + 88..].copy_from_slice(b"VDTSDBEN");
}

/// The first byte says which: a chunk as it is, samples to be written, a chunk of Prometheus.
pub fn chunk(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0, rest)) => fuzzing::chunk(rest),
        Some((1, rest)) => fuzzing::chunk_of_samples(rest),
        Some((encoding, rest)) => fuzzing::block_chunk(encoding.wrapping_sub(1), rest),
        None => {}
    }
}

/// Chunks of all kinds.
pub fn chunk_seeds() -> Vec<Vec<u8>> {
    let own = fuzzing::chunks().into_iter().map(|chunk| [&[0][..], &chunk].concat());
    let foreign = fuzzing::block_chunks().into_iter().map(|mut chunk| {
        chunk[0] += 1;
        chunk
    });
    let samples = (0..40u8).flat_map(|i| [i, i.wrapping_mul(77), i, 0, 0, 0, 0, 0, 0]);
    own.chain(foreign).chain([[1].into_iter().chain(samples).collect()]).collect()
}

/// The files of a block.
const FILES: [&str; 4] = ["index", "chunks/000001", "tombstones", "meta.json"];

/// Whatever one file of a block of Prometheus is, reading the block ends with samples or an error.
/// The first byte says which file.
pub fn block(bytes: &[u8]) {
    static FOLDERS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let folders = FOLDERS.get_or_init(|| {
        let root = std::env::temp_dir().join(format!("vedette-fuzz-block-{}", std::process::id()));
        (0..FILES.len()).map(|i| make_block(&root.join(i.to_string()))).collect()
    });
    let Some((&which, rest)) = bytes.split_first() else { return };
    let which = usize::from(which) % FILES.len();
    let mut file = rest.to_vec();
    match which {
        0 => put_index_right(&mut file),
        1 => put_chunks_right(&mut file),
        2 => put_last_right(&mut file, 5),
        _ => {}
    }
    std::fs::write(folders[which].join(FILES[which]), file).expect("there is room for a small file");
    fuzzing::block(&folders[which]);
}

/// The files of a sound block.
pub fn block_seeds() -> Vec<Vec<u8>> {
    let root = std::env::temp_dir().join(format!("vedette-fuzz-seed-{}", std::process::id()));
    let folder = make_block(&root);
    let file = |(i, name): (usize, &&str)| {
        let content = std::fs::read(folder.join(name)).expect("the block has this file");
        [&[i as u8][..], &content].concat()
    };
    let mut seeds: Vec<Vec<u8>> = FILES.iter().enumerate().map(file).collect();
    let _ = std::fs::remove_dir_all(&root);
    // Series 1 and 2: zigzag times.
    seeds.push([&[2][..], &0x0130_ba30u32.to_be_bytes(), &[1, 1, 2, 8, 2, 1, 200, 1], &[0; 4]].concat());
    seeds
}

/// Exports a small block and gives its folder.
fn make_block(folder: &Path) -> PathBuf {
    let fs = SimFs::new(1);
    let clock = ManualClock::at((START_MS + 1_000_000) * 1_000_000);
    let segments = Path::new("data/segments");
    fs.create_dir_all(segments).expect("a simulated disk takes a folder");
    fs.put(&segments.join("0000000000000001.segment"), fuzzing::segments().swap_remove(0));
    let store = open(&fs, &clock).expect("a sound store opens");
    let mut options = prometheus::ExportOptions::new(START_MS);
    options.block_span_ms = 86_400_000;
    let range = TimeRange { start_ms: START_MS, end_ms: START_MS + 4_000_000 };
    let _ = std::fs::remove_dir_all(folder);
    let report = prometheus::export(&store, &[], range, folder, &options, &mut |_| {});
    report.expect("there is room for a block").blocks.swap_remove(0).0
}

/// Makes the last four bytes the checksum of those before, from `start` on.
fn put_last_right(file: &mut [u8], start: usize) {
    let Some(end) = file.len().checked_sub(4).filter(|&end| end >= start) else { return };
    let crc = fuzzing::crc32c(&file[start..end]);
    file[end..].copy_from_slice(&crc.to_be_bytes());
}

/// Puts the checksum behind `start..end` right.
fn put_right(file: &mut [u8], start: usize, end: usize) {
    if let Some(part) = end.checked_add(4).and_then(|behind| file.get_mut(start..behind)) {
        put_last_right(part, 0);
    }
}

fn put_index_right(file: &mut [u8]) {
    let Some(contents) = file.len().checked_sub(52) else { return };
    put_last_right(file, contents);
    let section = |file: &[u8], n: usize| {
        let at = contents + n * 8;
        usize::try_from(u64::from_be_bytes(std::array::from_fn(|i| file[at + i]))).unwrap_or(usize::MAX)
    };
    let (symbols, series) = (section(file, 0), section(file, 1));
    if let Some(length) = file.get(symbols..).and_then(|rest| rest.first_chunk::<4>()) {
        let start = symbols + 4;
        put_right(file, start, start + u32::from_be_bytes(*length) as usize);
    }
    let mut at = series;
    while let Some((length, bytes)) = file.get(at..).and_then(varint) {
        let (start, end) = (at + bytes, (at + bytes).saturating_add(length));
        if end > contents {
            break;
        }
        put_right(file, start, end);
        at = (end + 4).next_multiple_of(16);
    }
}

fn put_chunks_right(file: &mut [u8]) {
    let mut at = 8;
    while let Some((length, bytes)) = file.get(at..).and_then(varint) {
        let (start, end) = (at + bytes, (at + bytes + 1).saturating_add(length));
        if end > file.len() {
            break;
        }
        put_right(file, start, end);
        at = end + 4;
    }
}

/// A varint and how many bytes it takes.
fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0usize;
    for (i, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

/// A body in Snappy's format, and the same bytes as the message in it. Reading with a guess gives
/// what reading without one gives, wherever the guess is known to be true.
pub fn remote_write(bytes: &[u8]) {
    if snap::raw::decompress_len(bytes).is_ok_and(|length| length <= MESSAGE_BYTES_MAX)
        && let Ok(message) = snap::raw::Decoder::new().decompress_vec(bytes)
    {
        message_of(&message);
    }
    message_of(bytes);
}

fn message_of(message: &[u8]) {
    let mut plain = Vec::new();
    for item in Request::new(message) {
        match item {
            Ok(Item::Series(series)) => plain.push(read_series(series)),
            Ok(Item::Metadata(_)) => {}
            Err(error) => {
                assert!(error.at <= message.len(), "{error}");
                return;
            }
        }
    }
    let guessed = Request::guessing(message).filter_map(|item| match item {
        Ok(Item::Series(series)) => Some(series),
        _ => None,
    });
    for (plain, guessed) in plain.iter().zip(guessed) {
        if SeriesMessage::has_whole_labels(guessed.label_bytes()) {
            assert_eq!(*plain, read_series(guessed));
        }
    }
}

/// Labels and points of a series, as text that can be compared.
fn read_series(series: SeriesMessage<'_>) -> String {
    let labels: Vec<_> = series.labels().collect();
    let same: Vec<_> = LabelPairs::in_bytes(series.label_bytes()).map(|pair| pair.is_ok()).collect();
    assert_eq!(labels.iter().map(Result::is_ok).collect::<Vec<_>>(), same);
    let points: Vec<String> = series
        .points()
        .map(|point| match point {
            Ok(Point::Sample { time_ms, value }) => format!("{time_ms} {:x}", value.to_bits()),
            Ok(Point::Histogram(histogram)) => match histogram.decode() {
                Ok((time_ms, Ok(histogram))) => {
                    let _ = histogram.validate();
                    format!("{time_ms} {:x}", histogram.sum.to_bits())
                }
                Ok((time_ms, Err(_))) => format!("{time_ms} no histogram"),
                Err(error) => error.reason.to_owned(),
            },
            Ok(Point::Exemplar(exemplar)) => {
                format!("{} {} labels", exemplar.time_ms, exemplar.labels().filter(Result::is_ok).count())
            }
            Err(error) => error.reason.to_owned(),
        })
        .collect();
    let labels: Vec<_> = labels.into_iter().flatten().collect();
    format!("{labels:?} {points:?}")
}

/// A message with all it can hold, as it is and compressed.
pub fn remote_write_seeds() -> Vec<Vec<u8>> {
    let mut encoder = Encoder::default();
    for n in ["1", "22"] {
        encoder.begin_series([("__name__", "fuzz"), ("n", n)]);
        encoder.sample(START_MS, 1.5).sample(START_MS + 1, 0.0);
        encoder.histogram(START_MS, &vedette_model::NativeHistogram::stale());
        encoder.exemplar(&vedette_model::Exemplar {
            labels: Labels::from_pairs([("trace_id", "1")]),
            value: 1.0,
            time_ms: START_MS,
        });
        encoder.end_series();
    }
    encoder.metadata(&vedette_model::MetricMetadata {
        family: "fuzz".into(),
        kind: vedette_model::MetricKind::Counter,
        unit: "s".into(),
        help: "help".into(),
    });
    let message = encoder.message().to_vec();
    let body = snap::raw::Encoder::new().compress_vec(&message).expect("a short message is compressed");
    vec![message, body]
}
