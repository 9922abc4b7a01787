use std::sync::Arc;

use proptest::prelude::*;
use vedette_model::{
    CUSTOM_BUCKETS_SCHEMA, HistogramCounts, NativeHistogram, ResetHint, STALE_NAN_BITS, Span, stale_nan,
};

use super::{columns::decode, *};

impl Encoder {
    fn encode(&mut self, times_ms: &[i64], values: &[f64], effort: Effort, out: &mut Vec<u8>) {
        let mut samples = SampleBuffer::default();
        times_ms.iter().zip(values).for_each(|(&time, &value)| samples.push(time, value));
        self.encode_samples(&samples, 0..times_ms.len(), effort, out);
    }
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        Just(stale_nan()),
        Just(f64::from_bits(0x7ff8_0000_0000_0001)),
        Just(f64::from_bits(0xfff8_dead_beef_0001)),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(-0.0),
        Just(0.0),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE),
        Just(9_007_199_254_740_993.0),
        (-1000i64..1000).prop_map(|v| v as f64),
        (-100_000i64..100_000).prop_map(|v| v as f64 / 100.0),
    ]
}

/// Value columns as sources really write them, with oddities strewn in.
fn any_values() -> impl Strategy<Value = Vec<f64>> {
    let shape = prop_oneof![
        proptest::collection::vec(any_value(), 1..300),
        (any_value(), 1usize..300).prop_map(|(v, n)| vec![v; n]),
        (any::<i32>(), any::<i16>(), 1usize..300).prop_map(|(start, step, n)| {
            (0..n).map(|i| f64::from(start) + i as f64 * f64::from(step)).collect()
        }),
        (0u32..9, proptest::collection::vec(0i64..5000, 1..300)).prop_map(|(e, steps)| {
            let mut sum = 0i64;
            steps
                .into_iter()
                .map(|s| {
                    sum += s;
                    sum as f64 / 10f64.powi(e as i32)
                })
                .collect()
        }),
        proptest::collection::vec((0i64..100_000).prop_map(|v| (v * 4096) as f64), 1..300),
    ];
    (shape, proptest::collection::vec((any::<prop::sample::Index>(), any_value()), 0..4)).prop_map(
        |(mut values, odd)| {
            for (place, value) in odd {
                let i = place.index(values.len());
                values[i] = value;
            }
            values
        },
    )
}

fn times_for(n: usize, regular: bool, start: i64, seed: &[u32]) -> Vec<i64> {
    let mut time = start;
    (0..n)
        .map(|i| {
            let now = time;
            let jitter = if regular { 0 } else { i64::from(seed[i % seed.len()]) };
            time = time.saturating_add(1000 + jitter);
            now
        })
        .collect()
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn any_spans(buckets: usize) -> Vec<Span> {
    match buckets {
        0 => Vec::new(),
        1 => vec![Span { offset: -3, length: 1 }],
        n => vec![Span { offset: -3, length: 1 }, Span { offset: 2, length: n as u32 - 1 }],
    }
}

/// Histograms of a few layouts, among them staleness markers and odd floats.
pub fn any_histogram() -> impl Strategy<Value = NativeHistogram> {
    let parts = (-4i8..9, 0usize..4, 0usize..4, any_value(), any::<bool>(), any::<bool>(), 0u8..4);
    (parts, proptest::collection::vec(any::<u32>(), 10)).prop_map(|(parts, counts)| {
        let (schema, positive, negative, sum, float, custom, hint) = parts;
        let hints = [ResetHint::Unknown, ResetHint::Reset, ResetHint::NotReset, ResetHint::Gauge];
        let buckets = |from: usize, n: usize| counts[from..from + n].to_vec();
        let (positives, negatives) = (buckets(0, positive), buckets(4, negative));
        let counts = if float {
            let floats = |of: &[u32]| of.iter().map(|&c| f64::from(c) / 8.0).collect();
            HistogramCounts::Float {
                count: f64::from(counts[8]),
                zero_count: -0.0,
                positive: floats(&positives),
                negative: floats(&negatives),
            }
        } else {
            let whole = |of: &[u32]| of.iter().map(|&c| u64::from(c) << 31).collect();
            HistogramCounts::Integer {
                count: u64::from(counts[8]) << 32,
                zero_count: u64::from(counts[9]),
                positive: whole(&positives),
                negative: whole(&negatives),
            }
        };
        NativeHistogram {
            reset_hint: hints[usize::from(hint)],
            schema: if custom { CUSTOM_BUCKETS_SCHEMA } else { schema / 4 },
            zero_threshold: if custom { 0.0 } else { 1e-128 },
            sum,
            positive_spans: any_spans(positive),
            negative_spans: any_spans(negative),
            custom_bounds: if custom { vec![0.5, 1.0, 2.5] } else { Vec::new() },
            counts,
        }
    })
}

/// Samples of all kinds, one after the other.
pub fn any_samples() -> impl Strategy<Value = SampleBuffer> {
    let sample = prop_oneof![
        3 => any_value().prop_map(|v| (v, None)),
        2 => any_histogram().prop_map(|h| (h.sum, Some(Arc::new(h)))),
    ];
    let repeated = (sample, 1usize..6, 0i64..3);
    (proptest::collection::vec(repeated, 1..20), 1i64..3).prop_map(|(runs, jitter)| {
        let mut out = SampleBuffer::default();
        let mut time = 1_700_000_000_000;
        for (i, ((value, histogram), times, start)) in runs.into_iter().enumerate() {
            for n in 0..times {
                time += 1000 + (n as i64 * i as i64) % jitter;
                match &histogram {
                    Some(h) => out.push_histogram(time, Arc::clone(h)),
                    None => out.push(time, value),
                }
                if start > 0 {
                    out.set_last_start(time - start);
                }
            }
        }
        out
    })
}

/// Equal bit by bit; NaN differs from itself.
pub fn told(samples: &SampleBuffer) -> Vec<String> {
    let row = |i: usize| {
        let (time, bits) = (samples.times_ms[i], samples.values[i].to_bits());
        format!("{time} {bits:x} {} {:?}", samples.start_ms(i), samples.histogram(i))
    };
    (0..samples.len()).map(row).collect()
}

proptest! {
    #[test]
    fn samples_of_all_kinds_come_back(samples in any_samples(), small in any::<bool>(), cut in any::<prop::sample::Index>()) {
        let effort = if small { Effort::Small } else { Effort::Fast };
        let cut = cut.index(samples.len());
        let mut out = SampleBuffer::default();
        for range in [0..cut, cut..samples.len()].into_iter().filter(|r| !r.is_empty()) {
            let mut chunk = Vec::new();
            Encoder::default().encode_samples(&samples, range, effort, &mut chunk);
            prop_assert_eq!(decode(&chunk, &mut out), Some(()));
        }
        prop_assert_eq!(told(&out), told(&samples));
    }

    #[test]
    fn changed_samples_of_all_kinds_never_panic(
        samples in any_samples(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut chunk = Vec::new();
        Encoder::default().encode_samples(&samples, 0..samples.len(), Effort::Small, &mut chunk);
        for (place, byte) in changes {
            let i = place.index(chunk.len());
            chunk[i] = byte;
        }
        let mut out = SampleBuffer::default();
        if decode(&chunk, &mut out).is_none() {
            prop_assert!(out.is_empty());
        }
    }

    #[test]
    fn samples_come_back_bit_by_bit(
        values in any_values(),
        regular in any::<bool>(),
        start in prop_oneof![Just(i64::MIN), -5i64..5, Just(1_700_000_000_000i64)],
        seed in proptest::collection::vec(0u32..2000, 1..50),
        small in any::<bool>(),
    ) {
        let times = times_for(values.len(), regular, start, &seed);
        let effort = if small { Effort::Small } else { Effort::Fast };
        let mut chunk = Vec::new();
        let mut encoder = Encoder::default();
        encoder.encode(&times, &values, effort, &mut chunk);
        let mut out = SampleBuffer::default();
        out.push(-7, 7.0);
        prop_assert_eq!(decode(&chunk, &mut out), Some(()));
        prop_assert_eq!(&out.times_ms[1..], &times[..]);
        prop_assert_eq!(bits(&out.values[1..]), bits(&values));
        prop_assert_eq!(out.times_ms[0], -7);
    }

    #[test]
    fn a_part_of_the_values_is_what_all_of_them_have_there(
        values in any_values(),
        small in any::<bool>(),
        ends in any::<[prop::sample::Index; 2]>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let effort = if small { Effort::Small } else { Effort::Fast };
        let (mut encoded, mut scratch) = (Vec::new(), values::Scratch::default());
        values::encode(&values, effort, &mut scratch, &mut encoded);
        let [a, b] = ends.map(|end| end.index(values.len() + 1));
        let part = a.min(b)..a.max(b);
        let some = |encoded: &[u8], scratch: &mut values::Scratch| {
            let mut out = vec![-1.0];
            let mut cursor = crate::bytes::Cursor::new(encoded);
            let done = values::decode_some(&mut cursor, values.len(), part.clone(), scratch, &mut out);
            done.map(|()| out)
        };
        let out = some(&encoded, &mut scratch).expect("it is sound");
        prop_assert_eq!(out[0], -1.0);
        prop_assert_eq!(bits(&out[1..]), bits(&values[part.clone()]));
        for (place, byte) in changes {
            let i = place.index(encoded.len());
            encoded[i] = byte;
        }
        if let Some(out) = some(&encoded, &mut scratch) {
            prop_assert_eq!(out.len(), part.len() + 1);
        }
    }

    #[test]
    fn any_growing_times_come_back(times in proptest::collection::btree_set(any::<i64>(), 1..200)) {
        let times: Vec<i64> = times.into_iter().collect();
        let values = vec![1.5; times.len()];
        let mut chunk = Vec::new();
        Encoder::default().encode(&times, &values, Effort::Fast, &mut chunk);
        let mut out = SampleBuffer::default();
        prop_assert_eq!(decode(&chunk, &mut out), Some(()));
        prop_assert_eq!(out.times_ms, times);
    }

    #[test]
    fn garbage_is_refused_or_read_but_never_panics(
        bytes in proptest::collection::vec(any::<u8>(), 0..200)
    ) {
        let mut out = SampleBuffer::default();
        if decode(&bytes, &mut out).is_none() {
            prop_assert!(out.is_empty());
        }
    }

    #[test]
    fn a_changed_chunk_never_panics(
        values in any_values(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        small in any::<bool>(),
    ) {
        let times = times_for(values.len(), true, 0, &[0]);
        let effort = if small { Effort::Small } else { Effort::Fast };
        let mut chunk = Vec::new();
        Encoder::default().encode(&times, &values, effort, &mut chunk);
        for (place, byte) in changes {
            let i = place.index(chunk.len());
            chunk[i] = byte;
        }
        let mut out = SampleBuffer::default();
        if decode(&chunk, &mut out).is_some() {
            prop_assert_eq!(out.times_ms.len(), out.values.len());
            prop_assert!(out.times_ms.windows(2).all(|w| w[0] < w[1]));
        } else {
            prop_assert!(out.is_empty());
        }
    }
}

#[test]
fn the_whole_range_of_time_fits_one_chunk() {
    for times in [vec![i64::MIN, i64::MAX], vec![i64::MIN, -1, 0, i64::MAX], vec![i64::MAX]] {
        let mut chunk = Vec::new();
        Encoder::default().encode(&times, &vec![1.0; times.len()], Effort::Fast, &mut chunk);
        let mut out = SampleBuffer::default();
        decode(&chunk, &mut out).expect("decodes");
        assert_eq!(out.times_ms, times);
    }
}

#[test]
fn ordinary_series_are_small() {
    let times: Vec<i64> = (0..600).map(|i| i * 1000).collect();
    let cases: [(&str, Vec<f64>, usize); 5] = [
        ("constant", vec![42.5; 600], 20),
        ("steady counter", (0..600).map(|i| f64::from(i) * 15.0).collect(), 24),
        (
            "steady counter that ends",
            (0..600).map(|i| if i == 599 { stale_nan() } else { f64::from(i) }).collect(),
            60,
        ),
        ("seconds in hundredths", (0..600).map(|i| f64::from(i * 97 + i % 3) / 100.0).collect(), 260),
        ("pages of memory", (0..600).map(|i| f64::from(i * 7919 % 16) * 4096.0).collect(), 340),
    ];
    for (name, values, bytes_max) in cases {
        let mut chunk = Vec::new();
        Encoder::default().encode(&times, &values, Effort::Fast, &mut chunk);
        assert!(chunk.len() <= bytes_max, "{name}: {} bytes", chunk.len());
    }
}

#[test]
fn summaries_leave_staleness_markers_out() {
    let values = [1.0, 5.0, 2.0, f64::from_bits(STALE_NAN_BITS), 3.0];
    let s = summarize(&[1, 2, 3, 4, 9], &values);
    assert_eq!((s.range.start_ms, s.range.end_ms, s.count, s.resets), (1, 9, 4, 1));
    assert_eq!((s.sum, s.min, s.max, s.first, s.last), (11.0, 1.0, 5.0, 1.0, 3.0));
    assert!(s.special);
    let s = summarize(&[1, 2, 3], &[1e100, 1.0, -1e100]);
    assert_eq!((s.sum, s.special), (1.0, false));
    let s = summarize(&[1], &[stale_nan()]);
    assert_eq!((s.count, s.special), (0, true));
}
