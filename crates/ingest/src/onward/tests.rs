//! What is pushed against a sink that knows only what batches tell it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use vedette_model::{NativeHistogram, is_stale};
use vedette_sys::ManualClock;
use vedette_wire::remote_write::Encoder;

use super::*;
use crate::{
    Config, Receiver, WriteError,
    remote_write::tests::{START_MS, compress, rig},
};

/// A sink that reads batches as a receiver must: by what they have defined so far.
#[derive(Default)]
struct Reading(Mutex<Read>);

#[derive(Default)]
struct Read {
    numbers: BTreeMap<u32, Labels>,
    samples: BTreeMap<String, Vec<(i64, f64, i64)>>,
    histograms: usize,
    exemplars: usize,
    families: Vec<String>,
    seqs: Vec<u64>,
    defined: usize,
    /// Refuses, as if the disk were full.
    is_full: bool,
}

impl Sink for Reading {
    fn accept(&self, batch: &Batch) -> Result<(), Rejected> {
        let mut read = self.0.lock();
        let Payload::Samples(samples) = &batch.payload else { panic!("samples") };
        if read.is_full {
            return Err(Rejected::Retry("full".to_owned()));
        }
        let mut numbers = read.numbers.clone();
        for definition in &samples.defined {
            numbers.insert(definition.series, definition.labels.clone());
        }
        let used = samples.rows.iter().flat_map(|row| &row.series).copied();
        let used = used.chain(samples.histograms.iter().map(|h| h.series));
        let used = used.chain(samples.exemplars.iter().map(|e| e.series));
        for number in used {
            if !numbers.contains_key(&number) {
                return Err(Rejected::UnknownSeries(number));
            }
        }
        assert!(read.seqs.last().is_none_or(|last| *last < batch.seq), "numbers of batches grow");
        read.seqs.push(batch.seq);
        read.defined += samples.defined.len();
        for row in &samples.rows {
            assert_eq!(row.series.len(), row.values.len());
            for (i, number) in row.series.iter().enumerate() {
                let start_ms = row.starts_ms.get(i).copied().unwrap_or(0);
                let value = if is_stale(row.values[i]) { -1.0 } else { row.values[i] };
                let name = numbers[number].to_string();
                read.samples.entry(name).or_default().push((row.time_ms - START_MS, value, start_ms));
            }
        }
        read.histograms += samples.histograms.len();
        read.exemplars += samples.exemplars.len();
        read.families.extend(samples.metadata.iter().map(|m| m.family.clone()));
        for number in &samples.released {
            numbers.remove(number);
        }
        read.numbers = numbers;
        Ok(())
    }
}

/// A request of samples by the metric's name.
fn request(samples: &[(&str, i64, f64)]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    for (name, time_ms, value) in samples {
        encoder.begin_series([("__name__", *name), ("job", "j")]);
        encoder.sample(START_MS + time_ms, *value);
        encoder.end_series();
    }
    compress(encoder.message())
}

fn name(metric: &str) -> String {
    Labels::from_pairs([("__name__", metric), ("job", "j")]).to_string()
}

fn agent() -> (Receiver, ManualClock) {
    let clock = ManualClock::at(START_MS * 1_000_000);
    (Receiver::without_store(Config::default(), Arc::new(clock.clone())), clock)
}

#[test]
fn what_is_stored_is_sent_on_as_soon_as_there_is_somebody() {
    let rig = rig();
    let receiver = rig.ingest.receiver();
    receiver.remote_write(&request(&[("a", 1, 1.0), ("b", 1, 2.0)])).unwrap();
    let sink = Arc::new(Reading::default());
    receiver.send_on("test", Some(sink.clone()));
    // The store knows these by number only, and the sink nothing of them.
    receiver.remote_write(&request(&[("a", 2, 3.0), ("b", 2, 4.0)])).unwrap();
    receiver.remote_write(&request(&[("a", 3, 5.0), ("c", 3, 6.0)])).unwrap();
    {
        let read = sink.0.lock();
        assert_eq!(read.samples[&name("a")], [(2, 3.0, 0), (3, 5.0, 0)]);
        assert_eq!(read.samples[&name("b")], [(2, 4.0, 0)]);
        assert_eq!(read.samples[&name("c")], [(3, 6.0, 0)]);
        assert_eq!((read.defined, read.seqs.len()), (3, 2), "each is defined once");
    }
    // One that lost everything is told again; one that has gone gets nothing.
    sink.0.lock().numbers.clear();
    receiver.remote_write(&request(&[("b", 4, 7.0)])).unwrap();
    assert_eq!(sink.0.lock().samples[&name("b")], [(2, 4.0, 0), (4, 7.0, 0)]);
    receiver.send_on("test", None);
    receiver.remote_write(&request(&[("b", 5, 8.0)])).unwrap();
    assert_eq!(sink.0.lock().samples[&name("b")].len(), 2);
    assert_eq!(rig.stored().len(), 3);
}

#[test]
fn a_sink_that_fails_holds_up_a_store_never_and_an_agent_always() {
    let rig = rig();
    let sink = Arc::new(Reading::default());
    rig.ingest.receiver().send_on("test", Some(sink.clone()));
    sink.0.lock().is_full = true;
    assert_eq!(rig.ingest.receiver().remote_write(&request(&[("a", 1, 1.0)])).unwrap().samples, 1);
    assert_eq!(rig.ingest.receiver().sizes(0).lost_onward, 1);

    let (agent, _) = agent();
    let other = Arc::new(Reading::default());
    other.0.lock().is_full = true;
    agent.send_on("test", Some(other.clone()));
    let refused = agent.remote_write(&request(&[("a", 1, 1.0)]));
    assert!(matches!(refused, Err(WriteError::Retry(_))), "{refused:?}");
    // What was defined by batches that were refused is defined again.
    for (receiver, sink) in [(&**rig.ingest.receiver(), sink), (&agent, other)] {
        sink.0.lock().is_full = false;
        receiver.remote_write(&request(&[("a", 2, 2.0)])).unwrap();
        assert_eq!(sink.0.lock().samples[&name("a")], [(2, 2.0, 0)]);
    }
}

#[test]
fn an_agent_hands_over_everything_and_forgets_what_is_silent() {
    let (agent, clock) = agent();
    let sink = Arc::new(Reading::default());
    agent.send_on("test", Some(sink.clone()));
    let mut encoder = Encoder::default();
    encoder.begin_series([("__name__", "h")]);
    encoder.histogram(START_MS, &NativeHistogram::stale());
    encoder.end_series();
    agent.remote_write(&compress(encoder.message())).unwrap();
    agent.graphite_lines(b"g 1 1700000000\n").unwrap();
    agent.influx_lines(b"m,t=x f=1 1700000000000\n", None, "").unwrap();
    let otlp = br#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}}]},
        "scopeMetrics":[{"metrics":[{"name":"o","unit":"","description":"d","gauge":{"dataPoints":[
        {"timeUnixNano":"1700000000000000000","asDouble":4}]}}]}]}]}"#;
    agent.otlp(otlp, true).unwrap();
    {
        let read = sink.0.lock();
        assert_eq!(read.histograms, 1);
        let names: Vec<_> = read.samples.keys().map(String::as_str).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(read.families.contains(&"o".to_owned()), "{:?}", read.families);
    }
    // After an hour of silence the numbers are given to others.
    clock.advance(std::time::Duration::from_secs(2 * 3600));
    agent.remote_write(&request(&[("a", 1, 1.0)])).unwrap();
    clock.advance(std::time::Duration::from_secs(3600));
    agent.remote_write(&request(&[("b", 2, 1.0)])).unwrap();
    agent.remote_write(&request(&[("c", 2, 1.0)])).unwrap();
    let numbers: Vec<u32> = sink.0.lock().numbers.keys().copied().collect();
    assert!(numbers.iter().all(|number| *number < 7), "{numbers:?}");
    agent.graphite_lines(b"g 2 1700000001\n").unwrap();
    assert_eq!(sink.0.lock().samples.values().map(Vec::len).sum::<usize>(), 7);
}

#[test]
fn what_counts_since_the_point_before_is_added_once_however_often_it_is_sent() {
    let (agent, _) = agent();
    let delta = crate::DeltaHandling::Converted;
    agent.set_otlp(crate::OtlpSettings { delta, ..crate::OtlpSettings::default() });
    let sink = Arc::new(Reading::default());
    agent.send_on("test", Some(sink.clone()));
    let request = |ms: i64, value: u32, count: u32| {
        let time = START_MS + ms;
        format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[
            {{"name":"n","sum":{{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[
                {{"timeUnixNano":"{time}000000","asDouble":{value}}}]}}}},
            {{"name":"w","histogram":{{"aggregationTemporality":1,"dataPoints":[{{"timeUnixNano":"{time}000000",
                "count":{count},"sum":1,"bucketCounts":[{count},0],"explicitBounds":[1]}}]}}}}]}}]}}]}}"#
        )
    };
    agent.otlp(request(1, 2, 3).as_bytes(), true).unwrap();
    sink.0.lock().is_full = true;
    for _ in 0..3 {
        let refused = agent.otlp(request(2, 5, 7).as_bytes(), true);
        assert!(matches!(refused, Err(WriteError::Retry(_))), "{refused:?}");
    }
    sink.0.lock().is_full = false;
    assert_eq!(agent.otlp(request(2, 5, 7).as_bytes(), true).unwrap().refused, None);
    let read = sink.0.lock();
    let values = |name: &str| {
        let all: Vec<f64> = read.samples[name].iter().map(|sample| sample.1).collect();
        all
    };
    assert_eq!(values("n_total"), [2.0, 7.0]);
    assert_eq!(values("w_count"), [3.0, 10.0]);
}

proptest! {
    /// Whatever is pushed, in whatever order and with sinks that forget: each sample arrives once,
    /// under its own labels.
    #[test]
    fn nothing_is_lost_or_mixed_up(
        pushes in prop::collection::vec(
            (prop::collection::vec((0..30_u32, 0..5_i64), 1..40), 0..8_u8, 0..90_u64),
            1..20,
        ),
    ) {
        let (agent, clock) = agent();
        let sink = Arc::new(Reading::default());
        agent.send_on("test", Some(sink.clone()));
        let mut expected: BTreeMap<String, Vec<(i64, f64, i64)>> = BTreeMap::new();
        let mut value = 0.0;
        for (samples, forgets, minutes) in pushes {
            if forgets == 0 {
                sink.0.lock().numbers.clear();
            }
            let names: Vec<String> = samples.iter().map(|(n, _)| format!("m{n}")).collect();
            let mut sent = Vec::new();
            for ((_, time_ms), metric) in samples.iter().zip(&names) {
                value += 1.0;
                sent.push((metric.as_str(), *time_ms, value));
                expected.entry(name(metric)).or_default().push((*time_ms, value, 0));
            }
            agent.remote_write(&request(&sent)).unwrap();
            clock.advance(std::time::Duration::from_secs(60 * minutes));
        }
        let mut read = std::mem::take(&mut sink.0.lock().samples);
        for samples in read.values_mut().chain(expected.values_mut()) {
            samples.sort_by(|a, b| a.1.total_cmp(&b.1));
        }
        prop_assert_eq!(read, expected);
    }
}
