use proptest::prelude::*;
use vedette_model::{Exemplar, Labels, NativeHistogram, Origin, Row, SeriesDefinition};
use vedette_sys::{ManualClock, SimFs};

use super::{
    record::{Entries, Entry, Writer},
    *,
};

#[derive(Debug, Clone, PartialEq)]
enum Said {
    Definition(u32, Labels),
    Sample(u32, i64, i64, u64),
    Histogram(u32, i64, i64, NativeHistogram),
    Exemplar(u32, Exemplar),
}

fn read(body: &[u8]) -> Result<Vec<Said>, record::Malformed> {
    let mut said = Vec::new();
    for entry in Entries::new(body) {
        match entry? {
            Entry::Definition { number, labels, .. } => {
                said.push(Said::Definition(number, Labels::from_pairs(labels)));
            }
            Entry::Row(row) => {
                let time_ms = row.time_ms;
                for sample in row {
                    let (number, start_ms, value) = sample?;
                    said.push(Said::Sample(number, time_ms, start_ms, value.to_bits()));
                }
            }
            Entry::Histogram { number, start_ms, message } => {
                let Ok((time_ms, Ok(histogram))) = message.decode() else { return Err(record::Malformed) };
                said.push(Said::Histogram(number, time_ms, start_ms.start_ms(time_ms), histogram));
            }
            Entry::Exemplar { number, time_ms, value, labels } => {
                let labels = Labels::from_pairs(labels);
                said.push(Said::Exemplar(number, Exemplar { labels, value, time_ms }));
            }
        }
    }
    Ok(said)
}

fn labels() -> impl Strategy<Value = Labels> {
    prop::collection::vec(("[a-z]{1,4}", "\\PC{1,200}"), 0..5).prop_map(Labels::from_pairs)
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        definitions in prop::collection::vec((any::<u32>(), labels()), 0..4),
        rows in prop::collection::vec((any::<i64>(), prop::collection::vec((any::<u32>(), any::<u64>(), any::<i32>()), 1..40)), 0..4),
        exemplar in labels(),
        seq in any::<u64>(),
    ) {
        let mut writer = Writer::default();
        writer.begin();
        let mut expected = Vec::new();
        for (number, labels) in &definitions {
            writer.define(*number, labels);
            expected.push(Said::Definition(*number, labels.clone()));
        }
        for (i, (time_ms, samples)) in rows.iter().enumerate() {
            let numbers: Vec<u32> = samples.iter().map(|s| s.0).collect();
            let values: Vec<f64> = samples.iter().map(|s| f64::from_bits(s.1)).collect();
            let starts: Vec<i64> = samples.iter().map(|s| i64::from(s.2)).collect();
            let starts = if i % 2 == 0 { starts } else { Vec::new() };
            writer.row(*time_ms, &numbers, &values, &starts);
            for (i, (number, value)) in numbers.iter().zip(&values).enumerate() {
                let start = starts.get(i).copied().unwrap_or(0);
                expected.push(Said::Sample(*number, *time_ms, start, value.to_bits()));
            }
        }
        let histogram = NativeHistogram { sum: 2.0, ..NativeHistogram::stale() };
        writer.histogram(7, 1000, 990, &histogram);
        expected.push(Said::Histogram(7, 1000, 990, histogram));
        let exemplar = Exemplar { labels: exemplar, value: 0.5, time_ms: -5 };
        writer.exemplar(8, &exemplar);
        expected.push(Said::Exemplar(8, exemplar));
        let points = rows.iter().map(|r| r.1.len()).sum::<usize>() + 2;
        let (header, bytes) = writer.finish(seq, 77, &mut snap::raw::Encoder::new());
        prop_assert_eq!((header.seq, header.points as usize, header.spooled_ms), (seq, points, 77));
        let bytes = bytes.to_vec();
        prop_assert_eq!(record::header(&bytes), Some(header));
        let mut body = Vec::new();
        record::body(&bytes, &mut snap::raw::Decoder::new(), &mut body).unwrap();
        prop_assert_eq!(read(&body).unwrap(), expected);
    }

    #[test]
    fn garbage_is_refused_or_read_but_never_more(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
        if record::header(&bytes).is_some() {
            let _ = record::body(&bytes, &mut snap::raw::Decoder::new(), &mut Vec::new());
        }
    }

    #[test]
    fn broken_records_are_refused_or_read(at in 0_usize..200, bit in 0_u8..8) {
        let mut writer = Writer::default();
        writer.begin();
        writer.define(1, &Labels::from_pairs([("__name__", "up"), ("job", "a")]));
        writer.row(5, &[1, 2, 3], &[1.0, 2.0, 3.0], &[0, 1, 2]);
        writer.histogram(1, 5, 0, &NativeHistogram::stale());
        let mut bytes = writer.finish(1, 2, &mut snap::raw::Encoder::new()).1.to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let mut body = Vec::new();
        if record::header(&bytes).is_some()
            && record::body(&bytes, &mut snap::raw::Decoder::new(), &mut body).is_ok()
        {
            let _ = read(&body);
        }
        bytes.truncate(at);
        let _ = record::header(&bytes);
    }
}

fn spool(fs: &SimFs, clock: &ManualClock, keys: &[&str]) -> (Arc<Spool>, Vec<Arc<Losses>>) {
    let losses: Vec<Arc<Losses>> = keys.iter().map(|_| Arc::default()).collect();
    let receivers: Vec<_> = keys.iter().map(|k| (*k).to_owned()).zip(losses.iter().cloned()).collect();
    let config = SpoolConfig { bytes_max: 64 << 10, ..SpoolConfig::new("/spool") };
    let (spool, _) = Spool::open(config, Arc::new(fs.clone()), Arc::new(clock.clone()), &receivers).unwrap();
    (spool, losses)
}

fn batch(seq: u64, epoch: u64, samples: Samples) -> Batch {
    let origin = Origin { tenant: "t".into(), cluster: "c".into(), source: "s".into(), epoch };
    Batch { origin, seq, payload: Payload::Samples(samples) }
}

fn row(defined: bool, time_ms: i64) -> Samples {
    let labels = Labels::from_pairs([("__name__", "up")]);
    let defined = if defined { vec![SeriesDefinition { series: 3, labels }] } else { Vec::new() };
    let row = Row { time_ms, series: vec![3], values: vec![1.0], ..Row::default() };
    Samples { defined, rows: vec![row], ..Samples::default() }
}

/// Times of the samples that come next.
fn times(reader: &mut SpoolReader) -> Vec<i64> {
    let mut times = Vec::new();
    while let Some(record) = reader.read().unwrap() {
        for entry in record.entries() {
            if let Entry::Row(row) = entry.unwrap()
                && !record.definitions_only
            {
                times.push(row.time_ms);
            }
        }
    }
    times
}

#[test]
fn each_receiver_reads_at_its_own_pace_and_goes_on_there_after_a_restart() {
    let (fs, clock) = (SimFs::new(1), ManualClock::at(0));
    let (spool_1, _) = spool(&fs, &clock, &["a", "b"]);
    spool_1.accept(&batch(1, 1, row(true, 10))).unwrap();
    let (mut a, mut b) = (spool_1.reader("a"), spool_1.reader("b"));
    assert_eq!(times(&mut a), [10]);
    spool_1.accept(&batch(2, 1, row(false, 20))).unwrap();
    assert_eq!((times(&mut a), times(&mut b)), (vec![20], vec![10, 20]));
    spool_1.acknowledge("a", 2).unwrap();
    spool_1.acknowledge("b", 1).unwrap();
    assert_eq!((spool_1.waiting("a").0, spool_1.waiting("b").0), (0, 1));
    drop((a, b, spool_1));
    fs.restart();
    // `c` is new: it does not get what came before it. `a` is no more.
    let (spool_2, _) = spool(&fs, &clock, &["b", "c"]);
    spool_2.accept(&batch(1, 2, row(true, 30))).unwrap();
    assert_eq!((times(&mut spool_2.reader("b")), times(&mut spool_2.reader("c"))), (vec![20, 30], vec![30]));
    assert!(times(&mut spool_2.reader("a")).is_empty());
}

#[test]
fn a_series_that_is_not_defined_is_asked_for_and_a_batch_is_taken_once() {
    let (fs, clock) = (SimFs::new(1), ManualClock::at(0));
    let (spool, _) = spool(&fs, &clock, &["a"]);
    assert_eq!(spool.accept(&batch(1, 1, row(false, 10))), Err(Rejected::UnknownSeries(3)));
    let mut samples = row(true, 10);
    samples.rows[0].values.push(2.0);
    assert!(matches!(spool.accept(&batch(1, 1, samples)), Err(Rejected::Invalid(_))));
    // What was refused has defined nothing.
    assert_eq!(spool.accept(&batch(1, 1, row(false, 10))), Err(Rejected::UnknownSeries(3)));
    fs.fail_at(fs.operations() + 1);
    assert!(matches!(spool.accept(&batch(1, 1, row(true, 10))), Err(Rejected::Retry(_))));
    spool.accept(&batch(1, 1, row(true, 10))).unwrap();
    spool.accept(&batch(1, 1, row(true, 10))).unwrap();
    assert_eq!(times(&mut spool.reader("a")), [10]);
    // The sender has started anew, and knows that it must define.
    assert_eq!(spool.accept(&batch(1, 2, row(false, 20))), Err(Rejected::UnknownSeries(3)));
}

#[test]
fn a_marker_that_is_not_the_newest_does_not_end_a_series() {
    let (fs, clock) = (SimFs::new(1), ManualClock::at(0));
    let (spool, _) = spool(&fs, &clock, &["a"]);
    spool.accept(&batch(1, 1, row(true, 10))).unwrap();
    for (seq, time_ms) in [(2, 10), (3, 20)] {
        let mut marker = row(false, time_ms);
        marker.rows[0].newest_only = true;
        spool.accept(&batch(seq, 1, marker)).unwrap();
    }
    assert_eq!(times(&mut spool.reader("a")), [10, 20]);
}

#[test]
fn damage_costs_what_is_damaged_and_is_counted() {
    let (fs, clock) = (SimFs::new(1), ManualClock::at(0));
    let (spool, losses) = spool(&fs, &clock, &["a"]);
    let mut taken = 0;
    while fs.files().iter().filter(|f| f.starts_with("/spool/log")).count() < 4 {
        taken += 1;
        spool.accept(&batch(taken, 1, row(taken == 1, i64::try_from(taken).unwrap()))).unwrap();
    }
    let second = fs.files().into_iter().filter(|f| f.starts_with("/spool/log")).nth(1).unwrap();
    fs.flip_bit(&second, 2000, 3).unwrap();
    let read = times(&mut spool.reader("a"));
    let lost = losses[0].damaged.get();
    assert!(lost > 10 && lost < taken / 2, "{lost} of {taken}");
    assert_eq!(read.len() as u64 + lost, taken);
    assert!(read.is_sorted());
    assert_eq!(read.last().copied(), i64::try_from(taken).ok());
}
