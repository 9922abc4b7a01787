//! Doors for the fuzz targets to decoders that nobody else calls by themselves, and good inputs to
//! begin with. Built only with `--cfg fuzzing`.

use std::{path::Path, sync::Arc};

use vedette_model::{
    CUSTOM_BUCKETS_SCHEMA, Exemplar, HistogramCounts, Labels, NativeHistogram, ResetHint, SampleBuffer, Span,
    TimeRange, stale_nan,
};
use vedette_sys::{Fs, SimFs};

use crate::{
    chunk::{self, Effort, Encoder},
    prometheus::{
        block::Block,
        encoding::{self, Refused},
    },
    segment::{Kind, SegmentWriter, file_name},
};

pub use crate::prometheus::crc32c::crc32c;

const START_MS: i64 = 1_700_000_000_000;

/// Reads a chunk of the head. What is read can be written, and read again as the same.
pub fn chunk(bytes: &[u8]) {
    let mut samples = SampleBuffer::default();
    if chunk::columns::decode(bytes, &mut samples).is_none() {
        assert!(samples.is_empty(), "a chunk that is damaged left samples");
        return;
    }
    let grows = samples.times_ms.is_sorted_by(|a, b| a < b);
    let valid = samples.histograms.iter().all(|(_, h)| h.validate().is_ok());
    if grows && valid && !samples.is_empty() {
        round_trip(&samples);
    }
}

/// Writes and reads samples that the bytes tell of: 9 bytes each.
pub fn chunk_of_samples(bytes: &[u8]) {
    let mut samples = SampleBuffer::default();
    let mut time_ms = START_MS;
    let (mut value, mut step_ms) = (0u64, 1i64);
    for sample in bytes.chunks_exact(9).take(chunk::SAMPLES_MAX) {
        let operand = u64::from_le_bytes([
            sample[1], sample[2], sample[3], sample[4], sample[5], sample[6], sample[7], sample[8],
        ]);
        match sample[0] % 8 {
            0 => value = operand,
            1 => value = ((operand % 100_000) as f64 / 100.0).to_bits(),
            2 => value = (f64::from_bits(value) + (operand % 1000) as f64).to_bits(),
            3 => step_ms = 1 + (operand % 100_000) as i64,
            4 => step_ms = 1 + (operand >> 8) as i64 % (i64::MAX / 4),
            5 => value = stale_nan().to_bits(),
            _ => {}
        }
        let Some(next) = time_ms.checked_add(step_ms) else { break };
        time_ms = next;
        samples.push(time_ms, f64::from_bits(value));
        if sample[0] >= 0xc0 {
            samples.set_last_start(operand as i64 >> 8);
        }
    }
    if !samples.is_empty() {
        round_trip(&samples);
    }
}

fn round_trip(samples: &SampleBuffer) {
    for effort in [Effort::Fast, Effort::Small] {
        let mut bytes = Vec::new();
        Encoder::default().encode_samples(samples, 0..samples.len(), effort, &mut bytes);
        let mut again = SampleBuffer::default();
        chunk::columns::decode(&bytes, &mut again).expect("what was encoded decodes");
        assert_eq!(again.times_ms, samples.times_ms);
        let bits = |b: &SampleBuffer| b.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&again), bits(samples));
        assert_eq!(again.histograms.len(), samples.histograms.len());
        assert!((0..samples.len()).all(|i| again.start_ms(i) == samples.start_ms(i)));
    }
}

/// Reads a chunk as Prometheus writes it.
pub fn block_chunk(encoding: u8, data: &[u8]) {
    let mut samples = SampleBuffer::default();
    let _ = encoding::decode(encoding, data, &mut samples, &mut Refused::default());
}

/// Reads all of a block of Prometheus.
pub fn block(folder: &Path) {
    let Ok(block) = Block::open(folder) else { return };
    let Ok(mut reader) = block.reader() else { return };
    let mut samples = SampleBuffer::default();
    while let Ok(Some(series)) = reader.next() {
        if reader.read(&series, TimeRange::ALL, &mut samples, &mut Refused::default()).is_ok() {
            assert!(samples.times_ms.is_sorted_by(|a, b| a < b), "times do not grow");
        }
    }
}

/// Good chunks of the head.
pub fn chunks() -> Vec<Vec<u8>> {
    let encode = |samples: &SampleBuffer, effort| {
        let mut bytes = Vec::new();
        Encoder::default().encode_samples(samples, 0..samples.len(), effort, &mut bytes);
        bytes
    };
    let all = all_samples();
    all.iter().flat_map(|s| [encode(s, Effort::Fast), encode(s, Effort::Small)]).collect()
}

/// Good chunks as Prometheus writes them, each with its encoding before it.
pub fn block_chunks() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for samples in all_samples() {
        for run in encoding::runs(&samples) {
            let (encoding, data) = encoding::encode(&samples, &run);
            out.push([&[encoding][..], &data].concat());
        }
    }
    out
}

/// Good segments.
pub fn segments() -> Vec<Vec<u8>> {
    let write = |(id, effort): (u64, Effort)| {
        let fs = SimFs::new(1);
        let folder = Path::new("segments");
        let make = || -> std::io::Result<Vec<u8>> {
            fs.create_dir_all(folder)?;
            let mut writer = SegmentWriter::create(&fs, folder, id, effort)?;
            for (n, samples) in all_samples().iter().enumerate() {
                let labels = Labels::from_pairs([
                    ("__name__", "fuzz"),
                    ("n", &format!("{n}")),
                    ("x", ["", "y"][n % 2]),
                ]);
                let exemplar = Exemplar {
                    labels: Labels::from_pairs([("trace_id", "1")]),
                    value: 1.5,
                    time_ms: START_MS,
                };
                writer.add_with_exemplars(&labels, samples, &vec![exemplar; n % 2])?;
            }
            writer.finish(START_MS - 1_000_000, START_MS + 100_000_000, Vec::new())?;
            fs.read(&folder.join(file_name(id, Kind::Samples)))
        };
        make().expect("a simulated disk takes a segment")
    };
    [(1, Effort::Fast), (2, Effort::Small)].map(write).to_vec()
}

/// Samples of every kind.
fn all_samples() -> Vec<SampleBuffer> {
    let floats = |count: i64, step: &dyn Fn(i64) -> i64, value: &dyn Fn(i64) -> f64| {
        let mut out = SampleBuffer::default();
        let mut time_ms = START_MS;
        for i in 0..count {
            time_ms += step(i);
            out.push(time_ms, value(i));
        }
        out
    };
    let regular = |_| 15_000;
    let mut all = vec![
        floats(20, &regular, &|_| 1.0),
        floats(40, &regular, &|i| (i * i) as f64),
        floats(300, &regular, &|i| (i % 17) as f64 / 100.0),
        floats(30, &|i| 15_000 + i % 3, &|i| (i as f64).sin()),
        floats(9, &|i| 1 + i * 1000, &|i| if i == 4 { stale_nan() } else { -(i as f64) }),
        floats(1, &regular, &|_| f64::NEG_INFINITY),
    ];
    let mut with_starts = floats(6, &regular, &|i| i as f64);
    with_starts.starts_ms = vec![0, 5, 5, 5, START_MS, START_MS];
    all.push(with_starts);
    for kind in 0..3u64 {
        let mut out = SampleBuffer::default();
        for i in 1..12u64 {
            let histogram = if i == 8 { NativeHistogram::stale() } else { histogram(kind, i) };
            out.push_histogram(START_MS + i as i64 * 15_000, Arc::new(histogram));
        }
        out.push(START_MS + 200_000, 1.0);
        all.push(out);
    }
    all
}

fn histogram(kind: u64, i: u64) -> NativeHistogram {
    let custom = kind == 2;
    let positive: Vec<u64> = [1, 2, 0, 4].map(|n| n * i).to_vec();
    let negative: Vec<u64> = if custom { Vec::new() } else { vec![i, 0] };
    let zero = if custom { 0 } else { i };
    let count: u64 = positive.iter().chain(&negative).sum::<u64>() + zero;
    let floats = |counts: &[u64]| counts.iter().map(|&n| n as f64).collect();
    NativeHistogram {
        reset_hint: if i == 1 { ResetHint::Reset } else { ResetHint::Unknown },
        schema: if custom { CUSTOM_BUCKETS_SCHEMA } else { 2 },
        zero_threshold: if custom { 0.0 } else { 1e-128 },
        sum: i as f64 * 1.25,
        positive_spans: if custom {
            vec![Span { offset: 0, length: 4 }]
        } else {
            vec![Span { offset: -1, length: 3 }, Span { offset: 2, length: 1 }]
        },
        negative_spans: if custom { Vec::new() } else { vec![Span { offset: 0, length: 2 }] },
        custom_bounds: if custom { vec![0.5, 1.0, 2.5] } else { Vec::new() },
        counts: if kind == 1 {
            HistogramCounts::Float {
                count: count as f64,
                zero_count: zero as f64,
                positive: floats(&positive),
                negative: floats(&negative),
            }
        } else {
            HistogramCounts::Integer { count, zero_count: zero, positive, negative }
        },
    }
}
