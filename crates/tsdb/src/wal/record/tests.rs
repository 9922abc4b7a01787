use proptest::prelude::*;
use vedette_model::{Labels, NativeHistogram};

use super::{
    super::{
        definitions::Definitions,
        rows::{RowBuffer, RowEncoder},
        values,
        whole::{WholeBuffer, WholeValue},
    },
    *,
};
use crate::{
    chunk::tests::any_histogram,
    head::{LateValue, PairKey},
};

#[derive(Default, Debug, PartialEq)]
struct Seen {
    series: Vec<Labels>,
    samples: Vec<(i64, u64, u64)>,
    starts: Vec<i64>,
    late: Vec<(i64, u64, u64)>,
    /// Time, series, start and the rest as text; whether it was late.
    whole: Vec<(i64, u64, i64, String, bool)>,
    exemplars: Vec<(u64, Exemplar)>,
    metadata: Vec<MetricMetadata>,
}

impl Replay for Seen {
    fn series(&mut self, defined: &DefinedSeries<'_>, references: &mut Vec<SeriesRef>) {
        for series in defined.iter() {
            let labels = Labels::from_sorted(series.texts());
            // Another number than the writer's, as after a restart.
            let number = labels.get("n").and_then(|n| n.parse::<u64>().ok());
            references.push(number.map_or(LOST, |n| SeriesRef(n + 1000)));
            self.series.push(labels);
        }
    }

    fn row(&mut self, time_ms: i64, samples: &[Told]) {
        assert!(samples.iter().all(|told| values::decode(told.base, told.coded) == told.bits));
        self.starts.extend(samples.iter().map(|told| told.start_ms));
        self.samples.extend(samples.iter().map(|told| (time_ms, told.series.0 - 1000, told.bits)));
    }

    fn late(&mut self, series: SeriesRef, time_ms: i64, bits: u64) {
        self.late.push((time_ms, series.0 - 1000, bits));
    }

    fn whole(&mut self, series: SeriesRef, sample: WholeSample) {
        let WholeSample { time_ms, start_ms, value, is_late } = sample;
        self.whole.push((time_ms, series.0 - 1000, start_ms, format!("{value:?}"), is_late));
    }

    fn exemplar(&mut self, series: SeriesRef, exemplar: Exemplar) {
        self.exemplars.push((series.0 - 1000, exemplar));
    }

    fn metadata(&mut self, metadata: MetricMetadata) {
        self.metadata.push(metadata);
    }
}

/// Samples of each series, in the order in which they came.
fn by_series(mut samples: Vec<(i64, u64, u64)>) -> Vec<(i64, u64, u64)> {
    samples.sort_by_key(|sample| sample.1);
    samples
}

fn late(slot: u32, time_ms: i64, value: LateValue) -> LateSample {
    LateSample { slot, time_ms, value }
}

fn definitions(numbers: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    let mut definitions = Definitions::default();
    for n in numbers {
        let n_text = n.to_string();
        let name = (PairKey { id: 0, serial: 1 }, ("__name__", "m"));
        let own = (PairKey { id: n + 1, serial: n + 2 }, ("n", n_text.as_str()));
        definitions.define(n, u64::from(n), [name, own].into_iter());
    }
    definitions.records().map(<[u8]>::to_vec).collect()
}

fn reader(numbers: std::ops::Range<u32>) -> (Decoder, Seen) {
    let (mut decoder, mut seen) = (Decoder::default(), Seen::default());
    for record in definitions(numbers) {
        assert_eq!(decoder.read(1, &record, &mut seen), Some(()));
    }
    (decoder, seen)
}

/// Writes rows as an appender does, with the last values that the head would keep.
#[derive(Default)]
struct Writer {
    encoder: RowEncoder,
    /// Epoch, value and start of each.
    last: HashMap<u32, (u32, u64, i64)>,
    row: RowBuffer,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Writer {
    fn put(&mut self, time_ms: i64, samples: &[(u32, f64)]) {
        let samples: Vec<_> = samples.iter().map(|&(slot, value)| (slot, value, 0)).collect();
        self.put_started(time_ms, &samples);
    }

    fn put_started(&mut self, time_ms: i64, samples: &[(u32, f64, i64)]) {
        self.row.clear();
        let epoch = self.encoder.epoch();
        for &(slot, value, start_ms) in samples {
            let last = self.last.entry(slot).or_default();
            let known = last.0 == epoch;
            let (base, told_ms) = if known { (last.1, last.2) } else { (0, 0) };
            self.row.push(slot, base, known, values::encode(base, value.to_bits()));
            if start_ms != 0 || told_ms != 0 {
                self.row.push_start(slot, start_ms, told_ms);
            }
            *last = (epoch, value.to_bits(), start_ms);
        }
        self.encoder.put(time_ms, &self.row, &mut self.bytes, &mut self.ends);
    }

    fn records(&self) -> Vec<&[u8]> {
        let mut start = 0;
        self.ends.iter().map(|&end| &self.bytes[std::mem::replace(&mut start, end)..end]).collect()
    }
}

proptest! {
    #[test]
    fn rows_come_back(
        rows in proptest::collection::vec(
            (any::<i64>(), 0usize..4, proptest::collection::vec(any::<f64>(), 4), proptest::bool::weighted(0.1)),
            1..150)
    ) {
        let layouts: [&[u32]; 4] = [&[1, 2, 3], &[3, 2, 1, 0], &[4], &[1, 4, 3]];
        let (mut writer, mut expected) = (Writer::default(), Vec::new());
        for (time, layout, values, forget) in &rows {
            let samples: Vec<_> = layouts[*layout].iter().copied().zip(values.iter().copied()).collect();
            if *forget {
                writer.encoder.forget();
            }
            writer.put(*time, &samples);
            expected.extend(samples.iter().map(|(s, v)| (*time, u64::from(*s), v.to_bits())));
        }
        let (mut decoder, mut seen) = reader(0..5);
        for record in writer.records() {
            prop_assert_eq!(decoder.read(1, record, &mut seen), Some(()));
        }
        decoder.replay_rows(&mut seen);
        prop_assert_eq!(decoder.lost_rows(), 0);
        prop_assert_eq!(by_series(seen.samples), by_series(expected));
    }

    #[test]
    fn a_lost_record_never_makes_wrong_samples(
        lost in 0usize..300,
        values in proptest::collection::vec((any::<f64>(), any::<bool>(), 0i64..2), 300),
    ) {
        let (mut writer, mut expected, mut starts) = (Writer::default(), Vec::new(), Vec::new());
        for (time, (value, both, start_ms)) in values.iter().enumerate() {
            let samples = [(1, *value, *start_ms), (2, *value, 7)];
            let samples = if *both { &samples[..] } else { &samples[..1] };
            if time % 100 == 99 {
                writer.encoder.forget();
            }
            writer.put_started(time as i64, samples);
            expected.extend(samples.iter().map(|(s, v, _)| (time as i64, u64::from(*s), v.to_bits())));
            starts.extend(samples.iter().map(|s| s.2));
        }
        let (mut decoder, mut seen) = reader(0..5);
        for (i, record) in writer.records().into_iter().enumerate() {
            if i != lost {
                let _ = decoder.read(1, record, &mut seen);
            }
        }
        decoder.replay_rows(&mut seen);
        let place = |sample| expected.iter().position(|e| e == sample);
        for (sample, start_ms) in seen.samples.iter().zip(&seen.starts) {
            prop_assert_eq!(place(sample).map(|place| starts[place]), Some(*start_ms));
        }
        // What was lost is over with the epoch.
        let after = |samples: &[(i64, u64, u64)]| samples.iter().filter(|s| s.0 >= 200).count();
        if lost < 100 {
            prop_assert_eq!(after(&seen.samples), after(&expected));
        }
    }

    #[test]
    fn rows_that_wait_give_the_same_as_rows_replayed_at_once(
        rows in proptest::collection::vec(
            (0usize..6, 1i64..4, proptest::collection::vec(0u8..6, 5), 0i64..40, 0u8..40), 1..200),
        lost in proptest::option::of(0usize..300),
        damaged in proptest::option::of((0usize..300, any::<prop::sample::Index>(), any::<u8>())),
    ) {
        // Targets that are cut at changing places, and one that shares nothing.
        let lists: [&[u32]; 6] = [&[0, 1, 2, 3, 4], &[0, 1], &[2, 3, 4], &[5, 6, 7], &[4, 3], &[8]];
        let (mut writer, mut time) = (Writer::default(), 0);
        for (list, step, values, start, forget) in &rows {
            time += step;
            let value = |v: u8| f64::from(v.saturating_sub(3)) * 0.37;
            let started = |n: u32| if *start == 0 && n.is_multiple_of(2) { time } else { 0 };
            let series = lists[*list].iter().zip(values);
            let samples: Vec<_> = series.map(|(&n, &v)| (n, value(v), started(n))).collect();
            if *forget == 0 {
                writer.encoder.forget();
            }
            writer.put_started(time, &samples);
        }
        let mut records: Vec<Vec<u8>> = writer.records().into_iter().map(<[u8]>::to_vec).collect();
        if let Some((record, place, byte)) = damaged
            && let Some(record) = records.get_mut(record)
        {
            let place = place.index(record.len());
            record[place] ^= byte;
        }
        let [one_by_one, gathered] = [true, false].map(|at_once| {
            // The last series is not defined.
            let (mut decoder, mut seen) = reader(0..8);
            let mut dropped = 0;
            for record in records.iter().enumerate().filter(|(i, _)| Some(*i) != lost).map(|(_, r)| r) {
                dropped += u64::from(decoder.read(1, record, &mut seen).is_none());
                if at_once {
                    decoder.replay_rows(&mut seen);
                }
            }
            decoder.replay_rows(&mut seen);
            let starts = seen.samples.iter().zip(&seen.starts);
            let mut started: Vec<_> = starts.map(|(sample, start)| (*sample, *start)).collect();
            started.sort_by_key(|(sample, _)| sample.1);
            (started, dropped + decoder.lost_rows())
        });
        prop_assert_eq!(one_by_one, gathered);
    }

    #[test]
    fn segments_that_begin_alike_are_read_as_if_alone(
        segments in proptest::collection::vec(
            (proptest::collection::vec((0u8..3, 0u8..8), 1..5), proptest::option::of(0usize..12), 0usize..2),
            1..5),
    ) {
        // Batches of definitions, most of which say the same in each segment; some numbers name other
        // series in some, records are lost, and rows come early in some.
        let segments: Vec<Vec<Vec<u8>>> = segments.iter().map(|(batches, lost, rows)| {
            let (mut definitions, mut records) = (Definitions::default(), Vec::new());
            let mut writer = Writer::default();
            for (batch, (first, rare)) in batches.iter().enumerate() {
                for at in 0..6u32 {
                    let number = batch as u32 * 6 + at;
                    let named = number + 100 * u32::from(*first) * u32::from(*rare == 0);
                    let text = named.to_string();
                    let name = (PairKey { id: 0, serial: 1 }, ("__name__", "m"));
                    let own = (PairKey { id: named + 1, serial: named + 2 }, ("n", text.as_str()));
                    definitions.define(number, u64::from(named), [name, own].into_iter());
                }
                records.extend(definitions.records().map(<[u8]>::to_vec));
                definitions.clear();
                if *rows == 1 && *rare == 1 {
                    writer.put(batch as i64, &[(batch as u32 * 6, 0.5), (0, 1.5)]);
                    records.extend(writer.records().into_iter().map(<[u8]>::to_vec));
                    writer.bytes.clear();
                    writer.ends.clear();
                }
            }
            let all: Vec<_> = (0..batches.len() as u32 * 6).map(|number| (number, f64::from(number))).collect();
            writer.put(1000, &all);
            records.extend(writer.records().into_iter().map(<[u8]>::to_vec));
            if let Some(lost) = *lost && lost < records.len() {
                records.remove(lost);
            }
            records
        }).collect();
        let (mut all, mut together) = (Decoder::default(), Seen::default());
        for (number, records) in (1..).zip(&segments) {
            let (mut alone, mut seen) = (Decoder::default(), Seen::default());
            let read = |decoder: &mut Decoder, seen: &mut Seen| {
                let lost = decoder.lost_rows();
                let understood: Vec<_> = records.iter().map(|r| decoder.read(number, r, seen)).collect();
                decoder.replay_rows(seen);
                (understood, decoder.lost_rows() - lost)
            };
            let expected = read(&mut alone, &mut seen);
            together.samples.clear();
            prop_assert_eq!(read(&mut all, &mut together), expected);
            prop_assert_eq!(by_series(together.samples.clone()), by_series(seen.samples));
        }
    }

    #[test]
    fn late_samples_come_back(
        samples in proptest::collection::vec((0u32..5, any::<i64>(), any::<u64>()), 1..50)
    ) {
        let samples: Vec<_> =
            samples.into_iter().map(|(slot, time_ms, bits)| late(slot, time_ms, LateValue::float(bits, 0))).collect();
        let mut record = Vec::new();
        put_late(samples.iter(), &mut record);
        let (mut decoder, mut seen) = reader(0..5);
        prop_assert_eq!(decoder.read(1, &record, &mut seen), Some(()));
        let expected: Vec<_> = samples.iter().map(|s| (s.time_ms, u64::from(s.slot), s.value.bits)).collect();
        prop_assert_eq!(seen.late, expected);
    }

    #[test]
    fn what_is_told_whole_comes_back(
        samples in proptest::collection::vec(
            (0u32..5, any::<i64>(), prop_oneof![Just(0i64), any::<i64>()], any_histogram(), 0u8..4), 1..30),
        damage in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut whole = WholeBuffer::default();
        let (mut expected, mut exemplars) = (Vec::new(), Vec::new());
        for (slot, time_ms, start_ms, histogram, kind) in samples {
            let mut histogram = histogram;
            if histogram.validate().is_err() {
                histogram = NativeHistogram { sum: start_ms as f64, ..NativeHistogram::stale() };
            }
            let text = match kind {
                0 => {
                    whole.put_histogram(slot, time_ms, start_ms, &histogram);
                    format!("{:?}", WholeValue::Histogram(histogram.into()))
                }
                1 => {
                    whole.put_late(&late(slot, time_ms, LateValue::histogram(&histogram, start_ms)));
                    format!("{:?}", WholeValue::Histogram(histogram.into()))
                }
                2 => {
                    whole.put_late(&late(slot, time_ms, LateValue::float(7, start_ms)));
                    format!("{:?}", WholeValue::Float(7))
                }
                _ => {
                    let labels = Labels::from_pairs([("trace_id", start_ms.to_string())]);
                    let exemplar = Exemplar { labels, value: 1.5, time_ms };
                    whole.put_exemplar(slot, &exemplar);
                    exemplars.push((u64::from(slot), exemplar));
                    continue;
                }
            };
            expected.push((time_ms, u64::from(slot), start_ms, text, kind > 0));
        }
        let (mut bytes, mut ends) = (vec![9; 3], vec![3]);
        whole.write(&mut bytes, &mut ends);
        if let Some((place, byte)) = damage {
            let place = place.index(bytes.len());
            bytes[place] ^= byte;
        }
        let (mut decoder, mut seen) = reader(0..5);
        for record in ends.windows(2).map(|ends| &bytes[ends[0]..ends[1]]) {
            let read = decoder.read(1, record, &mut seen);
            prop_assert!(damage.is_some() || read.is_some());
        }
        if damage.is_none() {
            prop_assert_eq!(seen.whole, expected);
            prop_assert_eq!(seen.exemplars, exemplars);
        }
    }

    #[test]
    fn garbage_never_panics(
        mut bytes in proptest::collection::vec(any::<u8>(), 1..200),
        kind in 0u8..14,
    ) {
        bytes[0] = kind;
        let (mut decoder, mut seen) = reader(0..5);
        let _ = decoder.read(1, &bytes, &mut seen);
        let _ = decoder.read(1, &bytes, &mut seen);
        decoder.replay_rows(&mut seen);
    }

    #[test]
    fn damaged_rows_never_panic(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        values in proptest::collection::vec(any::<f64>(), 10),
    ) {
        let mut writer = Writer::default();
        for (time, value) in values.iter().enumerate() {
            writer.put(time as i64, &[(1, *value), (2, 5.0), (3, *value)]);
        }
        let (mut decoder, mut seen) = reader(0..5);
        let records: Vec<Vec<u8>> = writer.records().into_iter().map(<[u8]>::to_vec).collect();
        for mut record in records {
            let place = at.index(record.len());
            record[place] ^= byte;
            let _ = decoder.read(1, &record, &mut seen);
        }
        decoder.replay_rows(&mut seen);
    }
}

#[test]
fn metadata_comes_back_and_another_segment_forgets_series() {
    let metadata = MetricMetadata {
        family: "up".to_owned(),
        kind: MetricKind::StateSet,
        unit: "seconds".to_owned(),
        help: "Whether it is up.".repeat(2000),
    };
    let mut definitions = Definitions::default();
    definitions.tell([&metadata].into_iter());
    let record = definitions.records().next().unwrap().to_vec();
    assert_eq!(record[0], COMPRESSED);
    let (mut decoder, mut seen) = reader(0..5);
    assert_eq!(decoder.read(1, &record, &mut seen), Some(()));
    assert_eq!(seen.metadata, [metadata]);
    let mut writer = Writer::default();
    writer.put(1, &[(1, 1.0)]);
    for record in writer.records() {
        let _ = decoder.read(2, record, &mut seen);
    }
    decoder.replay_rows(&mut seen);
    assert_eq!(seen.samples, []);
}

#[test]
fn many_series_are_defined_in_several_compressed_records() {
    let records = definitions(0..200_000);
    assert!(records.len() > 1 && records.iter().map(Vec::len).sum::<usize>() < 1_500_000);
    let (_, seen) = reader(0..200_000);
    assert_eq!(seen.series.len(), 200_000);
}

#[test]
fn a_lost_record_of_pairs_takes_only_the_series_that_need_it() {
    let records = definitions(0..200_000);
    let lost = records.iter().position(|r| kind_of(r) == PAIRS).unwrap();
    let (mut decoder, mut seen) = (Decoder::default(), Seen::default());
    for record in records.iter().enumerate().filter(|(i, _)| *i != lost).map(|(_, r)| r) {
        assert_eq!(decoder.read(1, record, &mut seen), Some(()));
    }
    // The name of the metric stood in it, so all need it.
    assert_eq!(seen.series, []);

    let lost = records.iter().rposition(|r| kind_of(r) == PAIRS).unwrap();
    let (mut decoder, mut seen) = (Decoder::default(), Seen::default());
    for record in records.iter().enumerate().filter(|(i, _)| *i != lost).map(|(_, r)| r) {
        assert_eq!(decoder.read(1, record, &mut seen), Some(()));
    }
    let all = reader(0..200_000).1.series;
    assert!(seen.series.len() > 100_000 && seen.series.len() < all.len());
    assert_eq!(seen.series, all[..seen.series.len()]);
}

#[test]
fn a_checkpoint_that_is_told_again_after_half_of_it_replaces_that() {
    let mut definitions = Definitions::default();
    let (mut decoder, mut seen) = (Decoder::default(), Seen::default());
    for end in [10u32, 30] {
        definitions.begin_segment();
        for n in (0..end).rev() {
            let text = n.to_string();
            let key = PairKey { id: n, serial: 7 };
            definitions.define(n, 1, [(key, ("n", text.as_str()))].into_iter());
        }
        for record in definitions.records() {
            assert_eq!(decoder.read(1, record, &mut seen), Some(()));
        }
        let last: Vec<Labels> = (0..end).rev().map(|n| Labels::from_pairs([("n", n.to_string())])).collect();
        assert_eq!(seen.series[seen.series.len() - end as usize..], last);
    }
}

fn kind_of(record: &[u8]) -> u8 {
    if record[0] != COMPRESSED {
        return record[0];
    }
    let mut cursor = Cursor::new(&record[1..]);
    let length = cursor.varint().unwrap() as usize;
    zstd::bulk::decompress(cursor.take(cursor.remaining()).unwrap(), length).unwrap()[0]
}

#[test]
fn lists_that_do_not_come_again_get_no_layout() {
    let mut writer = Writer::default();
    for n in 0..20_000u32 {
        writer.put(i64::from(n), &[(n % 5, 1.0), (n + 5, f64::from(n))]);
        writer.put(i64::from(n), &[(1, f64::from(n)), (2, 1.0)]);
    }
    let layouts = writer.records().iter().filter(|r| r[0] == LAYOUT).count();
    assert!((1..100).contains(&layouts), "{layouts}");
    assert!(writer.encoder.heap_bytes() < 200_000);
    let (mut decoder, mut seen) = reader(0..20_005);
    for record in writer.records() {
        assert_eq!(decoder.read(1, record, &mut seen), Some(()));
    }
    decoder.replay_rows(&mut seen);
    assert_eq!(seen.samples.len(), 80_000);
}

#[test]
fn definitions_that_are_told_again_are_not_read_again() {
    let records = definitions(0..20_000);
    let (mut decoder, mut seen) = reader(0..20_000);
    let mut writer = Writer::default();
    writer.put(1, &[(1, 1.0), (19_999, 2.0)]);
    for segment in 2..5 {
        for record in records.iter().map(Vec::as_slice).chain(writer.records()) {
            assert_eq!(decoder.read(segment, record, &mut seen), Some(()));
        }
    }
    decoder.replay_rows(&mut seen);
    assert_eq!((seen.series.len(), seen.samples.len()), (20_000, 6));
}
