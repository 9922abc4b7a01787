use std::sync::Arc;

use proptest::prelude::*;
use vedette_model::{
    CUSTOM_BUCKETS_SCHEMA, Exemplar, HistogramCounts, Labels, MetricKind, MetricMetadata, NativeHistogram,
    ResetHint, Span,
};

use super::*;

/// Everything that a request says, in a form that can be compared.
#[derive(Debug, Clone, PartialEq, Default)]
struct Said {
    series: Vec<(Pairs, Vec<Saying>)>,
    metadata: Vec<MetricMetadata>,
}

type Pairs = Vec<(String, String)>;

/// Values by their bits, as NaN equals nothing.
#[derive(Debug, Clone, PartialEq)]
enum Saying {
    Sample(i64, u64),
    Histogram(i64, Arc<NativeHistogram>),
    Exemplar(i64, u64, Vec<(String, String)>),
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn read(message: &[u8]) -> Result<Said, DecodeError> {
    let mut said = Said::default();
    for item in Request::new(message) {
        match item? {
            Item::Metadata(metadata) => said.metadata.push(metadata),
            Item::Series(series) => {
                let labels: Result<Vec<_>, _> = series.labels().map(|l| l.map(owned)).collect();
                let again: Result<Vec<_>, _> =
                    LabelPairs::in_bytes(series.label_bytes()).map(|l| l.map(owned)).collect();
                assert_eq!(labels.is_ok(), again.is_ok());
                let points: Result<Vec<_>, DecodeError> = series
                    .points()
                    .map(|point| {
                        Ok(match point? {
                            Point::Sample { time_ms, value } => Saying::Sample(time_ms, value.to_bits()),
                            Point::Histogram(h) => {
                                let (time_ms, histogram) = h.decode()?;
                                let none = NativeHistogram::stale();
                                Saying::Histogram(time_ms, Arc::new(histogram.unwrap_or(none)))
                            }
                            Point::Exemplar(e) => {
                                let labels: Result<Vec<_>, _> = e.labels().map(|l| l.map(owned)).collect();
                                Saying::Exemplar(e.time_ms, e.value.to_bits(), labels?)
                            }
                        })
                    })
                    .collect();
                said.series.push((labels?, points?));
            }
        }
    }
    Ok(said)
}

fn write(said: &Said) -> Vec<u8> {
    let mut encoder = Encoder::default();
    for (labels, points) in &said.series {
        encoder.begin_series(labels.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        for point in points {
            match point {
                Saying::Sample(time_ms, bits) => encoder.sample(*time_ms, f64::from_bits(*bits)),
                Saying::Histogram(time_ms, histogram) => encoder.histogram(*time_ms, histogram),
                Saying::Exemplar(time_ms, bits, labels) => encoder.exemplar(&Exemplar {
                    labels: Labels::from_pairs(labels.iter().map(|(n, v)| (n, v))),
                    value: f64::from_bits(*bits),
                    time_ms: *time_ms,
                }),
            };
        }
        encoder.end_series();
    }
    for metadata in &said.metadata {
        encoder.metadata(metadata);
    }
    encoder.message().to_vec()
}

/// `up{job="x"}` with one sample, as the documentation of the format says it is written.
const UP: &[u8] = &[
    0x0a, 40, // field 1, the series
    0x0a, 14, 0x0a, 8, b'_', b'_', b'n', b'a', b'm', b'e', b'_', b'_', 0x12, 2, b'u', b'p', //
    0x0a, 8, 0x0a, 3, b'j', b'o', b'b', 0x12, 1, b'x', //
    0x12, 12, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 0xe8, 0x07, // 1.0 at 1000
];

#[test]
fn a_message_made_by_hand_is_read() {
    let said = read(UP).unwrap();
    let labels = vec![owned(("__name__", "up")), owned(("job", "x"))];
    assert_eq!(said.series, [(labels, vec![Saying::Sample(1000, 1.0_f64.to_bits())])]);
    assert_eq!(write(&said), UP);
    let Some(Ok(Item::Series(series))) = Request::new(UP).next() else { panic!() };
    assert_eq!(series.label_bytes(), &UP[2..28]);
    assert_eq!(series.position(), 2);
}

#[test]
fn fields_in_another_order_and_unknown_ones_are_taken() {
    // Time before value, a sample before the labels, an unknown field of each kind.
    let sample = [0x10, 5, 0x09, 0, 0, 0, 0, 0, 0, 0, 0x40];
    let label = [0x12, 1, b'v', 0x0a, 1, b'n'];
    let mut series = vec![0x12, sample.len() as u8];
    series.extend(sample);
    series.extend([0x0a, label.len() as u8]);
    series.extend(label);
    series.extend([0x38, 1, 0x39, 0, 0, 0, 0, 0, 0, 0, 0, 0x3a, 1, 0, 0x3d, 0, 0, 0, 0]);
    series.extend([0x12, 0]);
    let mut message = vec![0x52, 2, 1, 2, 0x0a, series.len() as u8];
    message.extend(&series);
    let said = read(&message).unwrap();
    let points = vec![Saying::Sample(5, 2.0_f64.to_bits()), Saying::Sample(0, 0)];
    assert_eq!(said.series, [(vec![owned(("n", "v"))], points)]);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (message, reason, at) in [
        (&[0x0a][..], "a number is cut off", 1),
        (&[0x0a, 5, 0], "a field is longer than what holds it", 2),
        (&[0x0a, 2, 0x0a, 1], "a field is longer than what holds it", 4),
        (&[0x0a, 2, 0x12, 1], "a field is longer than what holds it", 4),
        (&[0x0b, 0], "a field has a kind that is not known", 0),
        (&[0x02, 0], "a field has no valid number", 0),
        (&[0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], "a number is too long", 1),
        (&[0x0a, 5, 0x0a, 3, 0x0a, 1, 0xff], "a text is not valid UTF-8", 6),
        (&[0x0a, 4, 0x12, 2, 0x08, 1], "a field of a sample has the wrong kind", 4),
        (&[0x0a, 3, 0x12, 1, 0x09], "a number is cut off", 5),
        (&[0x0a, 4, 0x0a, 2, 0x08, 1], "a field of a label has the wrong kind", 4),
        (&[0x0a, 4, 0x1a, 2, 0x10, 1], "a field of an exemplar has the wrong kind", 4),
        (&[0x0a, 4, 0x22, 2, 0x10, 1], "a field of a histogram has the wrong kind", 4),
        (&[0x1a, 2, 0x12, 9], "a field is longer than what holds it", 4),
    ] {
        assert_eq!(read(message), Err(DecodeError { reason, at }), "{message:?}");
    }
}

#[test]
fn a_histogram_without_counts_is_the_empty_one() {
    let message = [0x0a, 4, 0x22, 2, 0x78, 7];
    let empty = NativeHistogram { sum: 0.0, ..NativeHistogram::stale() };
    assert_eq!(read(&message).unwrap().series[0].1, [Saying::Histogram(7, Arc::new(empty))]);
}

#[test]
fn differences_below_zero_and_wild_schemas_spoil_the_histogram_only() {
    let below = [0x62, 2, 0x02, 0x05]; // deltas +1, -3
    let wild = [0x20, 0xa0, 0x1f]; // schema 2000
    for histogram in [&below[..], &wild] {
        let mut message = vec![0x0a, histogram.len() as u8 + 2, 0x22, histogram.len() as u8];
        message.extend(histogram);
        let Some(Ok(Item::Series(series))) = Request::new(&message).next() else { panic!() };
        let Some(Ok(Point::Histogram(h))) = series.points().next() else { panic!() };
        assert!(h.decode().unwrap().1.is_err());
    }
}

fn any_labels() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::btree_map("[a-z_ü]{1,12}", "\\PC{1,40}", 0..8).prop_map(|m| m.into_iter().collect())
}

fn any_counts(buckets: usize) -> impl Strategy<Value = HistogramCounts> {
    let integers = prop::collection::vec(any::<u64>(), buckets);
    let floats = prop::collection::vec(-1e9..1e9, buckets);
    prop_oneof![
        (any::<u64>(), any::<u64>(), integers).prop_map(|(count, zero_count, positive)| {
            // A difference of two counts must fit a signed number.
            let positive: Vec<u64> = positive.into_iter().map(|n| n >> 1).collect();
            HistogramCounts::Integer { count, zero_count, negative: positive.clone(), positive }
        }),
        (0.0..1e9, 0.0..1e9, floats).prop_map(|(count, zero_count, positive)| HistogramCounts::Float {
            count,
            zero_count,
            negative: positive.clone(),
            positive
        }),
    ]
}

fn any_histogram() -> impl Strategy<Value = Arc<NativeHistogram>> {
    let hint = prop::sample::select(vec![
        ResetHint::Unknown,
        ResetHint::Reset,
        ResetHint::NotReset,
        ResetHint::Gauge,
    ]);
    let spans = prop::collection::vec((any::<i32>(), any::<u32>()), 0..4);
    let schema = prop::sample::select(vec![CUSTOM_BUCKETS_SCHEMA, -4, 0, 3, 8]);
    let bounds = prop::collection::vec(-1e3..1e3, 0..4);
    (hint, schema, any::<u32>(), spans, bounds, (0..5_usize).prop_flat_map(any_counts)).prop_map(
        |(reset_hint, schema, number, spans, custom_bounds, counts)| {
            let spans: Vec<Span> =
                spans.into_iter().map(|(offset, length)| Span { offset, length }).collect();
            Arc::new(NativeHistogram {
                reset_hint,
                schema,
                zero_threshold: f64::from(number) / 7.0,
                sum: f64::from(number),
                positive_spans: spans.clone(),
                negative_spans: spans,
                custom_bounds,
                counts,
            })
        },
    )
}

fn any_point() -> impl Strategy<Value = Saying> {
    prop_oneof![
        5 => (any::<i64>(), any::<u64>()).prop_map(|(t, v)| Saying::Sample(t, v)),
        1 => (any::<i64>(), any_histogram()).prop_map(|(t, h)| Saying::Histogram(t, h)),
        1 => (any::<i64>(), any::<u64>(), any_labels()).prop_map(|(t, v, l)| Saying::Exemplar(t, v, l)),
    ]
}

fn any_said() -> impl Strategy<Value = Said> {
    let kinds = vec![
        MetricKind::Counter,
        MetricKind::Gauge,
        MetricKind::Histogram,
        MetricKind::Summary,
        MetricKind::Info,
        MetricKind::StateSet,
        MetricKind::Unknown,
    ];
    let metadata = (prop::sample::select(kinds), "[a-z]{0,9}", "\\PC{0,20}", "[a-z]{0,9}")
        .prop_map(|(kind, family, help, unit)| MetricMetadata { family, kind, unit, help });
    let series = (any_labels(), prop::collection::vec(any_point(), 0..4));
    (prop::collection::vec(series, 0..5), prop::collection::vec(metadata, 0..3))
        .prop_map(|(series, metadata)| Said { series, metadata })
}

fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (any_said(), changes).prop_map(|(said, changes)| {
        let mut message = write(&said);
        for (place, byte) in changes {
            if !message.is_empty() {
                let place = place.index(message.len());
                message[place] = byte;
            }
        }
        message
    })
}

/// Labels, and samples at ordinary times.
fn plain_message() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![Just(0.0), any::<f64>()];
    let samples = prop::collection::vec((1_600_000_000_000..1_800_000_000_000_i64, value), 1..3);
    prop::collection::vec((any_labels(), samples), 1..5).prop_map(|series| {
        let points = |samples: Vec<(i64, f64)>| {
            samples.into_iter().map(|(t, v)| Saying::Sample(t, v.to_bits())).collect()
        };
        let series = series.into_iter().map(|(labels, samples)| (labels, points(samples))).collect();
        write(&Said { series, metadata: Vec::new() })
    })
}

#[test]
fn a_label_that_looks_like_a_sample_is_found_out() {
    // The value ends with the bytes of a sample; so the guess cuts it in two.
    let mut value = b"x".to_vec();
    value.extend([0x12, 7, 0x10, 1, 1, 1, 1, 1, 1]);
    let value = String::from_utf8(value).unwrap();
    let mut encoder = Encoder::default();
    encoder.begin_series([("n", value.as_str())]).end_series();
    let Some(Ok(Item::Series(guess))) = Request::guessing(encoder.message()).next() else { panic!() };
    assert!(!SeriesMessage::has_whole_labels(guess.label_bytes()));
    let Some(Ok(Item::Series(series))) = Request::new(encoder.message()).next() else { panic!() };
    assert!(SeriesMessage::has_whole_labels(series.label_bytes()));
    assert_eq!(series.points().count(), 0);
}

proptest! {
    #[test]
    fn a_guess_with_whole_labels_is_true(message in prop_oneof![any_message(), plain_message()]) {
        for (guess, full) in Request::guessing(&message).zip(Request::new(&message)) {
            let (Ok(Item::Series(guess)), Ok(Item::Series(full))) = (guess, full) else { break };
            if SeriesMessage::has_whole_labels(guess.label_bytes()) {
                prop_assert_eq!(guess.label_bytes(), full.label_bytes());
                prop_assert_eq!(guess.position(), full.position());
                prop_assert_eq!(format!("{:?}", guess.points()), format!("{:?}", full.points()));
            }
        }
    }

    #[test]
    fn what_was_written_is_read(said in any_said()) {
        prop_assert_eq!(read(&write(&said)), Ok(said));
    }

    #[test]
    fn garbage_is_refused_or_read_but_never_more(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }

    #[test]
    fn broken_messages_are_refused_or_read(
        said in any_said(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut message = write(&said);
        if !message.is_empty() {
            for (place, byte) in changes {
                let place = place.index(message.len());
                message[place] = byte;
            }
            message.truncate(cut.index(message.len()) + 1);
        }
        if let Err(error) = read(&message) {
            prop_assert!(error.at <= message.len(), "{}", error);
        }
    }
}
