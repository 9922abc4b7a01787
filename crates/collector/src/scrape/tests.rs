//! Lanes against a store that remembers everything: what comes of answers of every kind.

mod hostile;
mod many;
mod pages;

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use parking_lot::{Condvar, Mutex};
use vedette_config::prometheus::{Mode, ScrapeJob, Surroundings as Files, parse};
use vedette_http_client::{Client, Options, ProxyEnvironment};
use vedette_model::{
    ADDRESS_LABEL, Batch, HistogramCounts, Labels, Origin, Payload, Rejected, Sink, TargetHealth, is_stale,
};
use vedette_scrape::Target;
use vedette_sys::{Clock, ManualClock, SimFs};

use super::{
    Config, Features, StartTimes,
    body::Body,
    budget::Budget,
    failure::Failure,
    fetch::{Fetcher, Shared},
    lane::{Lane, Scraped, Spare, Work},
    metrics::Metrics,
    outbox::Outbox,
    spec::{Live, Spec},
};

/// A sink that remembers all samples by the labels of their series.
#[derive(Default)]
pub(super) struct Store {
    state: Mutex<StoreState>,
    changed: Condvar,
}

#[derive(Default)]
struct StoreState {
    /// By sender.
    epochs: HashMap<String, u64>,
    names: HashMap<(String, u32), Labels>,
    floats: BTreeMap<(String, i64), f64>,
    starts: BTreeMap<(String, i64), i64>,
    histograms: BTreeMap<(String, i64), String>,
    exemplars: Vec<String>,
    metadata: Vec<String>,
    refusals: Vec<Rejected>,
    defined: usize,
}

impl Sink for Store {
    fn accept(&self, batch: &Batch) -> Result<(), Rejected> {
        let mut state = self.state.lock();
        let state = &mut *state;
        if let Some(refusal) = state.refusals.pop() {
            return Err(refusal);
        }
        let source = &batch.origin.source;
        if state.epochs.insert(source.clone(), batch.origin.epoch) != Some(batch.origin.epoch) {
            state.names.retain(|(of, _), _| of != source);
        }
        let Payload::Samples(samples) = &batch.payload else { panic!("only samples") };
        state.defined += samples.defined.len();
        for definition in &samples.defined {
            state.names.insert((source.clone(), definition.series), definition.labels.clone());
        }
        let name = |number: &u32| state.names.get(&(source.clone(), *number)).map(Labels::to_string);
        for row in &samples.rows {
            for (i, (number, value)) in row.series.iter().zip(&row.values).enumerate() {
                let key = (name(number).ok_or(Rejected::UnknownSeries(*number))?, row.time_ms);
                let last =
                    state.floats.range((key.0.clone(), i64::MIN)..).take_while(|(k, _)| k.0 == key.0).last();
                if row.newest_only && last.is_some_and(|(k, _)| k.1 >= key.1) {
                    continue;
                }
                state.floats.entry(key.clone()).or_insert(*value);
                if let Some(start_ms) = row.starts_ms.get(i).filter(|start| **start != 0) {
                    state.starts.insert(key, *start_ms);
                }
            }
        }
        for sample in &samples.histograms {
            let key = (name(&sample.series).ok_or(Rejected::UnknownSeries(sample.series))?, sample.time_ms);
            let h = &sample.histogram;
            let HistogramCounts::Integer { positive, .. } = &h.counts else { panic!("whole") };
            let text =
                format!("schema {} count {} bounds {:?} {positive:?}", h.schema, h.count(), h.custom_bounds);
            state.histograms.insert(key, text);
        }
        for sample in &samples.exemplars {
            let name = name(&sample.series).ok_or(Rejected::UnknownSeries(sample.series))?;
            let e = &sample.exemplar;
            state.exemplars.push(format!("{name} {} {} {}", e.labels, e.value, e.time_ms));
        }
        for number in &samples.released {
            state.names.remove(&(source.clone(), *number));
        }
        state
            .metadata
            .extend(samples.metadata.iter().map(|m| format!("{} {} {}", m.family, m.kind.as_str(), m.help)));
        self.changed.notify_all();
        Ok(())
    }
}

impl Store {
    /// Time and value of each sample of a series; `stale` for markers.
    pub(super) fn series(&self, name: &str) -> Vec<(i64, String)> {
        let state = self.state.lock();
        let of = state.floats.iter().filter(|((series, _), _)| series == name);
        of.map(|((_, time), v)| (*time, if is_stale(*v) { "stale".into() } else { v.to_string() })).collect()
    }

    /// The same of the series that do not tell of the scrape itself, at one time.
    fn at(&self, time_ms: i64) -> Vec<String> {
        let is_report = |series: &str| series.starts_with("scrape_") || series.starts_with("up{");
        let state = self.state.lock();
        let of = state.floats.iter().filter(|((series, time), _)| *time == time_ms && !is_report(series));
        let text = |v: f64| if is_stale(v) { "stale".into() } else { v.to_string() };
        of.map(|((series, _), v)| {
            format!("{} {}", series.replace("instance=\"h:1\", job=\"test\"", "_"), text(*v))
        })
        .collect()
    }

    fn refuse(&self, refusals: Vec<Rejected>) {
        self.state.lock().refusals = refusals;
    }
}

/// A job with these further keys.
pub(super) fn job(keys: &str) -> ScrapeJob {
    let fs = SimFs::new(1);
    let text = format!("scrape_configs:\n- job_name: test\n  {}\n", keys.replace('\n', "\n  "));
    let config = parse(Path::new("p.yml"), &text, Mode::Server, Files { fs: &fs, env: &|_| None });
    config.unwrap_or_else(|e| panic!("{e}\n{text}")).scrape_jobs.remove(0)
}

pub(super) fn options(clock: Arc<dyn Clock>) -> Options {
    let proxy_environment = ProxyEnvironment::default();
    Options { user_agent: "test".into(), unix_socket: None, proxy_environment, clock }
}

struct Rig {
    lane: Lane,
    live: Arc<Live>,
    shared: Shared,
    clock: ManualClock,
    store: Arc<Store>,
}

impl Rig {
    fn new(keys: &str) -> Self {
        Self::with(keys, Features::default())
    }

    fn with(keys: &str, features: Features) -> Self {
        let clock = ManualClock::at(1_700_000_000_000_000_000);
        let (store, metrics) = (Arc::new(Store::default()), Arc::new(Metrics::default()));
        let origin = Origin { tenant: "t".into(), cluster: "c".into(), source: "s".into(), epoch: 1 };
        let config = Config { features, body_bytes_max: 1 << 20, ..Config::default() };
        let outbox = Outbox::new(store.clone(), origin, 100, metrics.clone());
        let spare = Arc::new(Spare::default());
        let lane = Lane::new(outbox, Arc::new(clock.clone()), metrics.clone(), &config, spare.clone());
        let budget = Budget::new(64 << 20);
        let shared = Shared { user_agent: "test".into(), body_bytes_max: 1 << 20, budget, spare, metrics };
        let spec = spec(&job(keys), &shared, &clock);
        let live = Arc::new(Live::new(spec.target.id, 0, spec));
        Self { lane, live, shared, clock, store }
    }

    /// Gives the lane an answer of this time.
    fn answer(&mut self, time_ms: i64, content_type: &str, body: &[u8]) -> (TargetHealth, String) {
        let lease = self.shared.budget.lease("body_size_limit");
        let (bytes, content_type) = (body.to_vec(), content_type.to_owned());
        self.give(time_ms, Ok(Body { bytes, start: 0, content_type, encoding: String::new(), lease }))
    }

    fn give(&mut self, time_ms: i64, answer: Result<Body, Failure>) -> (TargetHealth, String) {
        self.clock.set(time_ms * 1_000_000);
        let (begun, begun_ns) = (self.clock.monotonic(), self.clock.unix_ns());
        let live = self.live.clone();
        self.lane.take(Work::Scraped(Scraped { live, time_ms, begun, begun_ns, answer }));
        let status = self.live.status.lock().clone();
        (status.health, status.error)
    }

    fn text(&mut self, time_ms: i64, body: &str) -> (TargetHealth, String) {
        self.answer(time_ms, "text/plain", body.as_bytes())
    }

    fn change_job(&mut self, keys: &str) {
        self.live.set_spec(spec(&job(keys), &self.shared, &self.clock));
    }

    fn report(&self, name: &str) -> Vec<String> {
        let series = format!("{name}{{instance=\"h:1\", job=\"test\"}}");
        self.store.series(&series).into_iter().map(|(_, value)| value).collect()
    }
}

fn spec(job: &ScrapeJob, shared: &Shared, clock: &ManualClock) -> Arc<Spec> {
    let found = Labels::from_pairs([(ADDRESS_LABEL, "h:1")]);
    let target = Arc::new(Target::new(job, &found).expect("usable").expect("kept"));
    let client = Client::new(&job.client, &options(Arc::new(clock.clone()))).expect("a client");
    let fetcher = Arc::new(Fetcher::new(job, client, shared));
    Arc::new(Spec::new(Arc::new(job.clone()), target, fetcher, None))
}

const OK: (TargetHealth, String) = (TargetHealth::Up, String::new());

#[test]
fn samples_and_the_report_are_stored_and_what_is_gone_ends() {
    let mut rig = Rig::new("extra_scrape_metrics: true");
    assert_eq!(rig.text(1000, "a 1\nb{x=\"y\"} 2\n"), OK);
    assert_eq!(rig.text(2000, "a 3\nc 4\n"), OK);
    assert_eq!(rig.text(3000, "a 5\nc 6\n"), OK);
    assert_eq!(rig.store.at(1000), ["a{_} 1", "b{_, x=\"y\"} 2"]);
    assert_eq!(rig.store.at(2000), ["a{_} 3", "b{_, x=\"y\"} stale", "c{_} 4"]);
    assert_eq!(rig.store.at(3000), ["a{_} 5", "c{_} 6"]);
    // An answer of other kind fails the scrape: everything ends, once.
    let (health, error) = rig.text(4000, "a 5\nb\n");
    assert_eq!((health, error.contains("line 2")), (TargetHealth::Down, true), "{error}");
    assert_eq!(rig.store.at(4000), ["a{_} stale", "c{_} stale"]);
    rig.give(5000, Err(Failure::Http("refused".into())));
    assert!(rig.store.at(5000).is_empty());
    assert_eq!(rig.text(6000, "a 7\nb{x=\"y\"} 8\n"), OK);
    assert_eq!(rig.store.at(6000), ["a{_} 7", "b{_, x=\"y\"} 8"]);
    assert_eq!(rig.report("up"), ["1", "1", "1", "0", "0", "1"]);
    assert_eq!(rig.report("scrape_samples_scraped"), ["2", "2", "2", "1", "0", "2"]);
    assert_eq!(rig.report("scrape_samples_post_metric_relabeling"), ["2", "2", "2", "1", "0", "2"]);
    // After a failure only what is back since the last success counts.
    assert_eq!(rig.report("scrape_series_added"), ["2", "1", "0", "0", "0", "1"]);
    assert_eq!(rig.report("scrape_body_size_bytes"), ["15", "8", "8", "6", "0", "15"]);
    assert_eq!(rig.report("scrape_timeout_seconds")[0], "10");
    // The target goes: all that is there ends, the report as well.
    rig.lane.take(Work::Ended { live: rig.live.clone(), time_ms: 7000 });
    assert_eq!(rig.store.at(7000), ["a{_} stale", "b{_, x=\"y\"} stale"]);
    assert_eq!(rig.report("up").last().map(String::as_str), Some("stale"));
    assert!(rig.store.state.lock().names.is_empty(), "all numbers are released");
}

#[test]
fn limits_fail_a_scrape_and_leave_nothing() {
    for (keys, body, word) in [
        ("sample_limit: 2", "a 1\nb 2\nc 3\n", "sample limit exceeded: 3"),
        ("label_limit: 3", "a{x=\"1\"} 1\nb{x=\"1\",y=\"2\"} 1\n", "label_limit"),
        ("label_name_length_limit: 8", "b{a_long_name=\"1\"} 1\n", "label_name_length_limit"),
        ("label_value_length_limit: 4", "b{x=\"12345\"} 1\n", "label_value_length_limit"),
        ("body_size_limit: 4B", "a 1\n", ""),
        ("metric_name_validation_scheme: legacy", "a 1\n{\"b.c\"} 1\n", "b.c"),
        ("metric_relabel_configs: [{regex: __name__, action: labeldrop}]", "a 1\n", "no metric name"),
        ("fallback_scrape_protocol: OpenMetricsText1.0.0", "a 1\n", ""),
        ("scrape_interval: 15s", "a{b=\"c\",b=\"d\"} 1\n", "twice"),
        ("scrape_interval: 15s", "a{b=\"\u{fffd}\"} 1\n", ""),
    ] {
        let mut rig = Rig::new(keys);
        let (health, error) = rig.text(1000, body);
        if word.is_empty() {
            assert_eq!(health, TargetHealth::Up, "{keys}: {error}");
            continue;
        }
        assert!(health == TargetHealth::Down && error.contains(word), "{keys}: {error}");
        assert!(rig.store.at(1000).is_empty());
        assert_eq!(rig.report("up"), ["0"]);
        // Only the report is known there.
        assert_eq!(rig.store.state.lock().names.len(), 5, "{keys}");
    }
    let mut rig = Rig::new("sample_limit: 2");
    rig.text(1000, "a 1\nb 2\nc 3\nd 4\n");
    assert_eq!(rig.report("scrape_samples_scraped"), ["4"]);
    assert_eq!(rig.report("scrape_samples_post_metric_relabeling"), ["4"]);
    assert_eq!(rig.text(2000, "a 1\nb 2\n"), OK);
}

#[test]
fn the_format_is_told_by_the_type_of_the_answer() {
    let mut rig = Rig::new("scrape_interval: 15s");
    let (_, error) = rig.answer(1000, "", b"a 1\n");
    assert!(error.contains("no Content-Type") && error.contains("fallback_scrape_protocol"), "{error}");
    let (_, error) = rig.answer(2000, "text/html", b"a 1\n");
    assert!(error.contains("text/html"), "{error}");
    let (_, error) = rig.answer(3000, "application/openmetrics-text; version=1.0.0", b"a 1\n");
    assert!(error.contains("# EOF"), "{error}");
    assert_eq!(rig.answer(4000, "application/openmetrics-text", b"a 1\n# EOF\n"), OK);
    rig.change_job("fallback_scrape_protocol: PrometheusText0.0.4");
    assert_eq!(rig.answer(5000, "", b"a 2\n"), OK);
    let (_, error) = rig.answer(6000, "text/plain", b"a{b=\"\xff\"} 1\n");
    assert!(error.contains("UTF-8"), "{error}");
}

#[test]
fn labels_and_times_of_the_target_are_honored_where_the_job_says() {
    let mut rig = Rig::new("honor_labels: true\nhonor_timestamps: true");
    rig.text(10_000, "a{job=\"own\"} 1 9000\nb 1\nc 1 700000000\n");
    assert_eq!(rig.store.at(9000), ["a{instance=\"h:1\", job=\"own\"} 1"]);
    // Ten minutes ahead is too far.
    assert!(rig.live.status.lock().error.contains("in the future"));
    // A series with times of its own does not end.
    let (_, error) = rig.text(20_000, "a{job=\"own\"} 2 8000\n");
    assert!(error.contains("before those of earlier samples"), "{error}");
    rig.text(30_000, "x 1\n");
    assert_eq!(rig.store.at(20_000), ["b{_} stale"]);
    assert_eq!(rig.store.at(30_000), ["x{_} 1"]);

    let mut rig = Rig::new("honor_timestamps: false");
    rig.text(10_000, "a{job=\"own\"} 1 9000\n");
    assert_eq!(rig.store.at(10_000), ["a{exported_job=\"own\", _} 1"]);

    let mut rig = Rig::new("track_timestamps_staleness: true");
    rig.text(10_000, "a 1 9000\n");
    rig.text(20_000, "b 1\n");
    assert_eq!(rig.store.at(20_000), ["a{_} stale", "b{_} 1"]);
}

#[test]
fn repeated_series_count_once_and_the_target_says_so() {
    let mut rig = Rig::new("scrape_interval: 15s");
    let (health, error) = rig.text(1000, "a 1\na 2\na{} 3\nb NaN\n");
    assert_eq!(health, TargetHealth::Up);
    assert!(error.contains("1 samples of series that were in the answer before"), "{error}");
    assert_eq!(rig.store.at(1000), ["a{_} 1", "b{_} NaN"]);
    assert_eq!(rig.report("scrape_samples_scraped"), ["4"]);
    assert_eq!(rig.report("scrape_samples_post_metric_relabeling"), ["4"]);
}

#[test]
fn rules_drop_series_and_a_changed_job_makes_them_anew() {
    let drop = |name: &str| {
        format!("metric_relabel_configs: [{{source_labels: [__name__], regex: {name}, action: drop}}]")
    };
    let mut rig = Rig::new(&drop("a"));
    rig.text(1000, "a 1\nb 1\n");
    rig.text(2000, "a 1\nb 1\n");
    assert_eq!(rig.store.at(2000), ["b{_} 1"]);
    assert_eq!(rig.report("scrape_samples_post_metric_relabeling"), ["1", "1"]);
    rig.change_job(&drop("b"));
    rig.text(3000, "a 1\nb 1\n");
    rig.text(4000, "a 1\nb 1\n");
    assert_eq!(rig.store.at(4000), ["a{_} 1"]);
    assert_eq!(rig.store.state.lock().names.len(), 6, "the numbers of before are released");
}

const OPENMETRICS: &str = "application/openmetrics-text";

#[test]
fn starts_exemplars_and_metadata_are_handed_on() {
    let body = |start: &str, value: u32| {
        format!(
            "# HELP a Of a.\n# TYPE a counter\na_total {value} # {{t=\"x\"}} 0.5 1.5\na_created {start}\n# EOF\n"
        )
    };
    let scrape = |features: Features| {
        let mut rig = Rig::with("scrape_interval: 15s", features);
        for (time_ms, start, value) in [(10_000, "3", 1), (20_000, "3", 2), (30_000, "25", 1)] {
            assert_eq!(rig.answer(time_ms, OPENMETRICS, body(start, value).as_bytes()), OK);
        }
        rig
    };
    let total = "a_total{instance=\"h:1\", job=\"test\"}";
    let rig = scrape(Features::default());
    assert_eq!(rig.store.at(10_000), ["a_created{_} 3", "a_total{_} 1"]);
    let state = rig.store.state.lock();
    // The same exemplar is sent once, and so is what is known of a family.
    assert_eq!(state.exemplars, [format!("{total} {{t=\"x\"}} 0.5 1500")]);
    assert_eq!(state.metadata, ["a counter Of a."]);
    assert_eq!(rig.live.families.lock().len(), 1);
    drop(state);

    let rig = scrape(Features { start_times: StartTimes::ZeroSamples, ..Features::default() });
    let times: Vec<_> = rig.store.series(total);
    let expected = [(3000, "0"), (10_000, "1"), (20_000, "2"), (25_000, "0"), (30_000, "1")];
    assert_eq!(times, expected.map(|(time, value)| (time, value.to_owned())));

    let rig = scrape(Features { start_times: StartTimes::Stored, type_and_unit_labels: true });
    let starts = rig.store.state.lock().starts.clone();
    let starts: Vec<_> = starts.into_iter().map(|((series, time), start)| (series, time, start)).collect();
    let typed = "a_total{__type__=\"counter\", instance=\"h:1\", job=\"test\"}".to_owned();
    assert_eq!(
        starts,
        [(typed.clone(), 10_000, 3000), (typed.clone(), 20_000, 3000), (typed, 30_000, 25_000)]
    );
    assert!(rig.store.at(10_000).iter().all(|series| !series.contains("_created")));
}

const CLASSIC: &str = "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 5\nh_sum 7\nh_count 5\n\
                       # TYPE g gauge\ng 1\n";

#[test]
fn classic_histograms_become_native_ones_where_the_job_says() {
    let mut rig = Rig::new("convert_classic_histograms_to_nhcb: true");
    assert_eq!(rig.text(1000, CLASSIC), OK);
    assert_eq!(rig.text(2000, CLASSIC), OK);
    assert_eq!(rig.store.at(2000), ["g{_} 1"]);
    let histograms = rig.store.state.lock().histograms.clone();
    let name = "h{instance=\"h:1\", job=\"test\"}";
    let text = "schema -53 count 5 bounds [1.0] [2, 3]".to_owned();
    assert_eq!(histograms.get(&(name.into(), 1000)), Some(&text));
    assert_eq!(histograms.get(&(name.into(), 2000)), Some(&text));
    assert_eq!(rig.report("scrape_samples_scraped"), ["2", "2"]);
    // When it is gone it ends.
    rig.text(3000, "g 1\n");
    assert_eq!(rig.store.at(3000), ["g{_} 1", "h{_} stale"]);
    let (health, error) = rig.text(4000, &CLASSIC.replace("le=\"+Inf\"} 5", "le=\"+Inf\"} 1"));
    assert!(health == TargetHealth::Up && error.contains("1 histograms are left out"), "{error}");

    let mut rig =
        Rig::new("convert_classic_histograms_to_nhcb: true\nalways_scrape_classic_histograms: true");
    rig.text(1000, CLASSIC);
    assert_eq!(rig.store.at(1000).len(), 5);
    assert_eq!(rig.store.state.lock().histograms.len(), 1);
}

/// A field of a message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
}

fn varint(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

/// A histogram of schema 3 with a positive span of two buckets (2 and 3 observations), and classic ones.
fn histogram_message() -> Vec<u8> {
    let bucket = |count: u8, bound: f64| {
        field(3, &[varint(1, count), [&[0x11][..], &bound.to_le_bytes()].concat()].concat())
    };
    let sum = [&[0x11][..], &7.5_f64.to_le_bytes()].concat();
    let span = field(12, &[varint(1, 2), varint(2, 2)].concat());
    let histogram =
        [varint(1, 5), sum, bucket(2, 1.0), bucket(5, f64::INFINITY), varint(5, 6), span, field(13, &[4, 2])]
            .concat();
    let metric = field(7, &histogram);
    let family = [field(1, b"h"), field(2, b"help"), varint(3, 4), field(4, &metric)].concat();
    [vec![family.len() as u8], family].concat()
}

#[test]
fn messages_are_read_with_native_histograms_where_the_job_says() {
    let scrape = |keys: &str| {
        let mut rig = Rig::new(keys);
        for time_ms in [1000, 2000] {
            let (health, error) =
                rig.answer(time_ms, "application/vnd.google.protobuf", &histogram_message());
            assert_eq!(health, TargetHealth::Up, "{keys}: {error}");
        }
        let classic = rig.store.at(2000).len();
        let native: Vec<String> = rig.store.state.lock().histograms.values().cloned().collect();
        (classic, native.into_iter().next())
    };
    let fine = "schema 3 count 5 bounds [] [2, 3]".to_owned();
    assert_eq!(scrape("scrape_interval: 15s"), (4, None));
    assert_eq!(scrape("scrape_native_histograms: true"), (0, Some(fine.clone())));
    let both = "scrape_native_histograms: true\nalways_scrape_classic_histograms: true";
    assert_eq!(scrape(both), (4, Some(fine)));
    let coarse = "scrape_native_histograms: true\nnative_histogram_bucket_limit: 1";
    assert!(scrape(coarse).1.is_some_and(|text| text.contains("[5]")));
    let coarse = "scrape_native_histograms: true\nnative_histogram_min_bucket_factor: 4";
    assert!(scrape(coarse).1.is_some_and(|text| text.starts_with("schema -1 ")));
    let converted = "convert_classic_histograms_to_nhcb: true";
    assert_eq!(scrape(converted).1.as_deref(), Some("schema -53 count 5 bounds [1.0] [2, 3]"));
}

#[test]
fn start_times_behind_a_converted_histogram_are_no_series() {
    let counter = |name: &str| format!("# TYPE {name} counter\n{name}_total 1\n{name}_created 1\n");
    let histogram = "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_sum 3\nh_created 1\n";
    let body = format!("{}{histogram}{}# EOF\n", counter("a"), counter("b"));
    let stored = |keys: &str, content_type: &str| {
        let mut rig = Rig::new(keys);
        assert_eq!(rig.answer(1000, content_type, body.as_bytes()), OK);
        assert_eq!(rig.report("scrape_samples_post_metric_relabeling"), rig.report("scrape_samples_scraped"));
        let series = rig.store.at(1000);
        series.iter().filter(|s| s.contains("_created")).map(|s| s[..1].to_owned()).collect::<Vec<_>>()
    };
    let converts = "convert_classic_histograms_to_nhcb: true";
    assert_eq!(stored(converts, "application/openmetrics-text"), ["a"]);
    let both = "convert_classic_histograms_to_nhcb: true\nalways_scrape_classic_histograms: true";
    assert_eq!(stored(both, "application/openmetrics-text"), ["a"]);
    // Where nothing is converted they are series, and in text they always are.
    assert_eq!(stored("scrape_interval: 15s", "application/openmetrics-text"), ["a", "b", "h"]);
    assert_eq!(stored(converts, "text/plain"), ["a", "b", "h"]);
}

#[test]
fn a_sink_that_forgot_the_series_gets_them_again_and_nothing_is_lost() {
    let mut rig = Rig::new("scrape_interval: 15s");
    rig.text(1000, "a 1\n");
    rig.store.refuse(vec![Rejected::UnknownSeries(0)]);
    assert_eq!(rig.text(2000, "a 2\n"), OK);
    assert_eq!(rig.text(3000, "a 3\n"), OK);
    let a = "a{instance=\"h:1\", job=\"test\"}";
    assert_eq!(rig.store.series(a).len(), 3);
    // The words of a failure are kept, too.
    rig.store.refuse(vec![Rejected::UnknownSeries(0)]);
    let (_, error) = rig.give(4000, Err(Failure::Http("refused".into())));
    assert_eq!(error, "refused");
}

#[test]
fn what_the_sink_refuses_for_now_comes_later_in_order_and_bounded() {
    let mut rig = Rig::new("scrape_interval: 15s");
    rig.text(1000, "a 1\n");
    rig.store.refuse(vec![Rejected::Retry("disk full".into()); 3]);
    for (time_ms, body) in [(2000, "a 2\nb 1\n"), (3000, "a 3\n"), (4000, "a 4\n")] {
        let (health, error) = rig.text(time_ms, body);
        assert!(health == TargetHealth::Up && error.contains("disk full"), "{error}");
    }
    assert_eq!(rig.text(5000, "a 5\n"), OK);
    let a = "a{instance=\"h:1\", job=\"test\"}";
    assert_eq!(rig.store.series(a).len(), 5);
    assert_eq!(rig.store.at(3000), ["a{_} 3", "b{_} stale"]);
    // For long: the oldest go, and are counted.
    rig.store.refuse(vec![Rejected::Retry("disk full".into()); 100]);
    for i in 0..100 {
        rig.text(6000 + i, &format!("a {i}\nc{i} 1\n"));
    }
    assert!(rig.shared.metrics.dropped_samples.get() > 500);
    rig.store.refuse(vec![]);
    rig.text(9000, "a 9\n");
    rig.text(9100, "a 9\n");
    assert_eq!(rig.store.at(9100), ["a{_} 9"]);
}
