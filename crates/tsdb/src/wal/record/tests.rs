use proptest::prelude::*;

use super::*;

#[derive(Default, Debug, PartialEq)]
struct Seen {
    series: Vec<Labels>,
    samples: Vec<(i64, u64, u64)>,
    metadata: Vec<MetricMetadata>,
}

impl Replay for Seen {
    fn series(&mut self, labels: &Labels) -> Option<SeriesRef> {
        self.series.push(labels.clone());
        // Another number than the writer's, as after a restart.
        Some(SeriesRef(labels.get("n")?.parse::<u64>().ok()? + 1000))
    }

    fn row(&mut self, time_ms: i64, series: &[Option<SeriesRef>], values: &[f64]) {
        for (reference, value) in series.iter().zip(values) {
            if let Some(reference) = reference {
                self.samples.push((time_ms, reference.0 - 1000, value.to_bits()));
            }
        }
    }

    fn metadata(&mut self, metadata: MetricMetadata) {
        self.metadata.push(metadata);
    }
}

fn labels(n: u64) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("n", &n.to_string())])
}

fn definitions(numbers: std::ops::Range<u64>) -> Vec<u8> {
    let all: Vec<_> = numbers.map(|n| (SeriesRef(n), labels(n))).collect();
    let mut out = Vec::new();
    put_series(all.iter().map(|(r, l)| (*r, l)), &mut out);
    out
}

fn records<'a>(bytes: &'a [u8], ends: &[usize]) -> Vec<&'a [u8]> {
    let mut start = 0;
    ends.iter().map(|&end| &bytes[std::mem::replace(&mut start, end)..end]).collect()
}

proptest! {
    #[test]
    fn rows_come_back(
        rows in proptest::collection::vec(
            (any::<i64>(), 0usize..4, proptest::collection::vec(any::<f64>(), 5)), 1..150)
    ) {
        let layouts: [&[u64]; 4] = [&[1, 2, 3], &[3, 2, 1, 0], &[4], &[1, 4, 3]];
        let mut encoder = RowEncoder::default();
        let (mut bytes, mut ends, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        for (time, layout, values) in &rows {
            let series: Vec<SeriesRef> = layouts[*layout].iter().map(|&n| SeriesRef(n)).collect();
            encoder.put(*time, &series, &values[..series.len()], &mut bytes, &mut ends);
            expected.extend(series.iter().zip(values).map(|(s, v)| (*time, s.0, v.to_bits())));
        }
        let (mut decoder, mut seen) = (Decoder::default(), Seen::default());
        prop_assert_eq!(decoder.read(1, &compress(definitions(0..5)), &mut seen), Some(()));
        for record in records(&bytes, &ends) {
            prop_assert_eq!(decoder.read(1, record, &mut seen), Some(()));
        }
        prop_assert_eq!(seen.samples, expected);
    }

    #[test]
    fn a_lost_record_never_makes_wrong_samples(
        lost in 0usize..200,
        values in proptest::collection::vec(any::<f64>(), 200),
    ) {
        let mut encoder = RowEncoder::default();
        let (mut bytes, mut ends, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        for (time, value) in values.iter().enumerate() {
            encoder.put(time as i64, &[SeriesRef(1)], &[*value], &mut bytes, &mut ends);
            expected.push((time as i64, 1, value.to_bits()));
        }
        let (mut decoder, mut seen) = (Decoder::default(), Seen::default());
        decoder.read(1, &definitions(0..5), &mut seen);
        for (i, record) in records(&bytes, &ends).into_iter().enumerate() {
            if i != lost {
                let _ = decoder.read(1, record, &mut seen);
            }
        }
        prop_assert!(seen.samples.iter().all(|s| expected.contains(s)));
        if lost > 0 {
            prop_assert!(seen.samples.len() >= 200 - KEY_ROW_EVERY as usize, "{}", seen.samples.len());
        }
    }

    #[test]
    fn garbage_never_panics(
        mut bytes in proptest::collection::vec(any::<u8>(), 1..200),
        kind in 0u8..7,
    ) {
        bytes[0] = kind;
        let (mut decoder, mut seen) = (Decoder::default(), Seen::default());
        decoder.read(1, &definitions(0..5), &mut seen);
        let _ = decoder.read(1, &bytes, &mut seen);
    }
}

#[test]
fn metadata_comes_back_and_another_segment_forgets_series() {
    let metadata = MetricMetadata {
        family: "up".to_owned(),
        kind: MetricKind::StateSet,
        unit: "seconds".to_owned(),
        help: "Whether it is up.".repeat(20),
    };
    let mut record = Vec::new();
    put_metadata([&metadata].into_iter(), &mut record);
    let (mut decoder, mut seen) = (Decoder::default(), Seen::default());
    let small = compress(record.clone());
    assert!(small.len() < record.len());
    assert_eq!(decoder.read(1, &small, &mut seen), Some(()));
    assert_eq!(seen.metadata, [metadata]);
    decoder.read(1, &definitions(0..5), &mut seen);
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    RowEncoder::default().put(1, &[SeriesRef(1)], &[1.0], &mut bytes, &mut ends);
    for record in records(&bytes, &ends) {
        let _ = decoder.read(2, record, &mut seen);
    }
    assert_eq!(seen.samples, []);
}

#[test]
fn layouts_are_forgotten_before_they_are_too_many() {
    let mut encoder = RowEncoder::default();
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    let rows = LAYOUTS_MAX as u64 * 2 + 5;
    for n in 0..rows {
        encoder.put(n as i64, &[SeriesRef(n % 5), SeriesRef(n)], &[1.0, n as f64], &mut bytes, &mut ends);
    }
    assert!(encoder.layouts.len() <= LAYOUTS_MAX);
    let (mut decoder, mut seen) = (Decoder::default(), Seen::default());
    decoder.read(1, &definitions(0..rows), &mut seen);
    for record in records(&bytes, &ends) {
        assert_eq!(decoder.read(1, record, &mut seen), Some(()));
    }
    assert_eq!(seen.samples.len() as u64, rows * 2);
}
