use std::sync::Arc;

use proptest::prelude::*;
use vedette_model::{
    CUSTOM_BUCKETS_SCHEMA, HistogramCounts, NativeHistogram, ResetHint, SampleBuffer, Span, stale_nan,
};

use super::{super::tests::samples, histogram::ResetHeader, *};

fn chunks(samples: &SampleBuffer) -> Vec<(u8, Vec<u8>)> {
    runs(samples).map(|run| encode(samples, &run)).collect()
}

fn decoded(chunks: &[(u8, Vec<u8>)]) -> SampleBuffer {
    let (mut out, mut refused) = (SampleBuffer::default(), Refused::default());
    for (encoding, data) in chunks {
        decode(*encoding, data, &mut out, &mut refused).expect("what was encoded decodes");
    }
    assert_eq!(refused, Refused::default());
    out
}

/// What a reader is told of a sample, empty buckets and reset hints left aside: those are spread
/// over a chunk.
pub fn canonical(samples: &SampleBuffer) -> Vec<String> {
    (0..samples.len())
        .map(|i| match samples.histogram(i) {
            None => format!("{} float {:x}", samples.times_ms[i], samples.values[i].to_bits()),
            Some(h) if h.is_stale() => format!("{} stale histogram", samples.times_ms[i]),
            Some(h) => {
                let gauge = h.reset_hint == ResetHint::Gauge;
                let head = format!(
                    "{} schema {} zero {:x} sum {:x} bounds {:?} gauge {gauge}",
                    samples.times_ms[i],
                    h.schema,
                    h.zero_threshold.to_bits(),
                    h.sum.to_bits(),
                    h.custom_bounds
                );
                let (positive, negative) =
                    (layout::indexes(&h.positive_spans), layout::indexes(&h.negative_spans));
                match &h.counts {
                    HistogramCounts::Integer { count, zero_count, positive: p, negative: n } => {
                        let side = |indexes: Vec<i64>, counts: &[u64]| -> Vec<(i64, u64)> {
                            indexes.into_iter().zip(counts.iter().copied()).filter(|(_, c)| *c != 0).collect()
                        };
                        format!(
                            "{head} integer {count} {zero_count} {:?} {:?}",
                            side(positive, p),
                            side(negative, n)
                        )
                    }
                    HistogramCounts::Float { count, zero_count, positive: p, negative: n } => {
                        let side = |indexes: Vec<i64>, counts: &[f64]| -> Vec<(i64, u64)> {
                            let bits = counts.iter().map(|c| c.to_bits());
                            indexes.into_iter().zip(bits).filter(|(_, c)| *c != 0).collect()
                        };
                        format!(
                            "{head} float {:x} {:x} {:?} {:?}",
                            count.to_bits(),
                            zero_count.to_bits(),
                            side(positive, p),
                            side(negative, n)
                        )
                    }
                }
            }
        })
        .collect()
}

proptest! {
    #[test]
    fn samples_come_back(samples in samples(0..200)) {
        let chunks = chunks(&samples);
        prop_assert_eq!(canonical(&decoded(&chunks)), canonical(&samples));
    }

    #[test]
    fn changed_chunks_never_panic(
        samples in samples(1..30),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in any::<prop::sample::Index>(),
    ) {
        for (encoding, mut data) in chunks(&samples) {
            for (place, byte) in &changes {
                let i = place.index(data.len());
                data[i] = *byte;
            }
            data.truncate(cut.index(data.len()) + 1);
            let (mut out, mut refused) = (SampleBuffer::default(), Refused::default());
            for encoding in [encoding, XOR2, HISTOGRAM_START, FLOAT_HISTOGRAM_START] {
                let _ = decode(encoding, &data, &mut out, &mut refused);
            }
            prop_assert!(out.histograms.iter().all(|(_, h)| h.validate().is_ok()));
        }
    }

    #[test]
    fn garbage_never_panics(encoding in 0u8..9, data in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(encoding, &data, &mut SampleBuffer::default(), &mut Refused::default());
    }
}

fn histogram(schema: i8, positive: &[(i32, u64)], hint: ResetHint) -> NativeHistogram {
    let mut end = 0;
    let positive_spans = positive
        .iter()
        .map(|&(index, _)| {
            let offset = index - end;
            end = index + 1;
            Span { offset, length: 1 }
        })
        .collect();
    let counts: Vec<u64> = positive.iter().map(|(_, n)| *n).collect();
    NativeHistogram {
        reset_hint: hint,
        schema,
        zero_threshold: 0.5,
        sum: 1.5,
        positive_spans,
        negative_spans: Vec::new(),
        custom_bounds: Vec::new(),
        counts: HistogramCounts::Integer {
            count: counts.iter().sum(),
            zero_count: 0,
            positive: counts,
            negative: Vec::new(),
        },
    }
}

#[test]
fn histograms_share_a_chunk_until_something_sets_them_apart() {
    let plain = |buckets: &[(i32, u64)]| histogram(0, buckets, ResetHint::Unknown);
    let custom = |bounds: &[f64]| NativeHistogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        zero_threshold: 0.0,
        custom_bounds: bounds.to_vec(),
        ..histogram(0, &[(0, 3)], ResetHint::Unknown)
    };
    let gauge = histogram(0, &[(0, 1)], ResetHint::Gauge);
    use ResetHeader::{Gauge, NotReset, Reset, Unknown};
    for (what, second, expected) in [
        ("counts on", plain(&[(0, 3), (4, 1)]), vec![Unknown]),
        ("a bucket more before", plain(&[(-3, 1), (0, 2)]), vec![Unknown]),
        ("an empty bucket less", plain(&[(0, 2)]), vec![Unknown]),
        ("a bucket less", plain(&[(2, 9)]), vec![Unknown, Reset]),
        ("counts less", plain(&[(0, 1), (2, 5)]), vec![Unknown, Reset]),
        ("says that it was reset", histogram(0, &[(0, 9)], ResetHint::Reset), vec![Unknown, Reset]),
        ("another schema", histogram(1, &[(0, 9)], ResetHint::Unknown), vec![Unknown, Unknown]),
        ("own bounds", custom(&[1.0]), vec![Unknown, Unknown]),
        ("a gauge", gauge.clone(), vec![Unknown, Gauge]),
        ("ends", NativeHistogram::stale(), vec![Unknown]),
    ] {
        let mut samples = SampleBuffer::default();
        samples.push_histogram(1, Arc::new(plain(&[(0, 2), (1, 0)])));
        samples.push_histogram(2, Arc::new(second));
        let headers: Vec<_> = runs(&samples).map(|run| run.reset).collect();
        assert_eq!(headers, expected, "{what}");
    }
    let mut samples = SampleBuffer::default();
    for (time, h) in [
        plain(&[(0, 2)]),
        NativeHistogram::stale(),
        NativeHistogram::stale(),
        plain(&[(0, 3)]),
        gauge.clone(),
        gauge,
    ]
    .into_iter()
    .enumerate()
    {
        samples.push_histogram(time as i64, Arc::new(h));
    }
    samples.push(10, 1.0);
    samples.push(11, stale_nan());
    let cut: Vec<_> = runs(&samples).map(|run| (run.range, run.reset)).collect();
    assert_eq!(cut, [(0..3, Unknown), (3..4, Unknown), (4..6, Gauge), (6..8, Unknown)]);
    // Many histograms: the later chunks know that counting went on.
    let mut samples = SampleBuffer::default();
    for i in 0..300 {
        samples.push_histogram(i, Arc::new(plain(&[(0, i as u64)])));
    }
    let headers: Vec<_> = runs(&samples).map(|run| (run.range.len(), run.reset)).collect();
    assert_eq!(headers, [(120, Unknown), (120, NotReset), (60, NotReset)]);
}

#[test]
fn special_layouts_come_back() {
    let thresholds =
        [0.0, 0.001, 1.0, 1024.0, 2048.0, f64::from_bits(1), (2f64).powi(-243), (2f64).powi(-244), 2.9e-39];
    let mut samples = SampleBuffer::default();
    for (zero_threshold, i) in thresholds.into_iter().zip(0..) {
        samples.push_histogram(
            i,
            Arc::new(NativeHistogram {
                zero_threshold,
                ..histogram(-4, &[(i as i32 - 4, 1)], ResetHint::Unknown)
            }),
        );
    }
    for (bounds, i) in [vec![0.005, 0.25, 1.0, 33_554.43, 33_554.431], vec![-1.0, 0.0, 0.1 + 0.2], vec![]]
        .into_iter()
        .zip(20..)
    {
        samples.push_histogram(
            i,
            Arc::new(NativeHistogram {
                schema: CUSTOM_BUCKETS_SCHEMA,
                zero_threshold: 0.0,
                custom_bounds: bounds,
                ..histogram(0, &[(0, 7)], ResetHint::Unknown)
            }),
        );
    }
    assert_eq!(canonical(&decoded(&chunks(&samples))), canonical(&samples));
}

#[test]
fn a_chunk_that_would_need_much_memory_is_refused() {
    let mut writer = bits::BitWriter::default();
    writer.put(0xffff, 16);
    writer.put(0, 8);
    writer.put(0, 8);
    writer.put_varbit_int(0);
    writer.put_varbit_uint(1);
    writer.put_varbit_uint(90_000);
    writer.put_varbit_int(0);
    writer.put_varbit_uint(0);
    let mut data = writer.finish();
    data.resize(4 << 20, 0);
    assert_eq!(decode(HISTOGRAM, &data, &mut SampleBuffer::default(), &mut Refused::default()), None);
}
