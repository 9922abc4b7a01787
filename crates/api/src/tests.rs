//! The real server with real stores on a port of its own, asked over TCP. Expected bodies are
//! those of Prometheus' documentation and follow from its rules for numbers and text.

mod admin;
mod http;
mod own_api;
mod pages;
mod parsing;
mod prometheus_api;
mod promtool;
mod reference;
mod remote_write;
mod resistance;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio::{sync::oneshot, task::JoinHandle};
use vedette_eventdb::EventDb;
use vedette_ingest::{Ingest, WriteError};
use vedette_model::{
    Ancestor, ChunkSummary, Container, Event, Fact, Finding, FindingState, Host, LabelQuery, Labels,
    METRIC_NAME, Matcher, MetricKind, MetricMetadata, MetricReader, Process, ProcessKey, ReadError,
    SampleBuffer, Select, SeriesSet, Severity, TimeRange,
    status::{Health, Part, StatusBoard},
    telemetry::Telemetry,
};
use vedette_promql::{Engine, EngineConfig};
use vedette_sys::{ManualClock, RealFs};
use vedette_tsdb::{RefRow, Tsdb};
use vedette_wire::prometheus::{Alert, AlertState, AlertingRule, Rule, RuleGroup, RuleHealth};

use crate::{
    App, BuildInfo, Config, Judgement, Latest, LatestSample, LatestSamples, RemoteWriter, RemoteWritten,
    SeriesAdmin, Server, Source,
};

/// The clock of all tests: 2023-11-14T22:13:20Z.
const NOW_MS: i64 = 1_700_000_000_000;

struct Running {
    address: SocketAddr,
    events: Arc<EventDb>,
    ready: Arc<AtomicBool>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Running {
    async fn stop(mut self) {
        drop(self.stop.take());
        tokio::time::timeout(Duration::from_secs(20), self.server).await.expect("stops").expect("no panic");
    }
}

fn test_config() -> Config {
    Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Config::default() }
}

async fn start() -> Running {
    start_with(test_config()).await
}

async fn start_with(config: Config) -> Running {
    let (app, folder) = test_app();
    start_app(config, app, folder).await
}

async fn start_app(config: Config, app: App, folder: tempfile::TempDir) -> Running {
    let (events, ready) = (app.events.clone(), app.ready.clone());
    let server = Server::bind(config, app).expect("binds");
    let address = server.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        server.run(async { drop(stopped.await) }).await.expect("runs");
    });
    Running { address, events, ready, stop: Some(stop), server, _folder: folder }
}

fn test_app() -> (App, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(ManualClock::at(NOW_MS * 1_000_000));
    let fs = Arc::new(RealFs);
    let (series, _) =
        Tsdb::open(vedette_tsdb::Config::new(folder.path().join("tsdb")), fs.clone(), clock.clone())
            .expect("opens");
    let series = Arc::new(series);
    fill(&series);
    let (events, _) =
        EventDb::open(vedette_eventdb::Config::new(folder.path().join("events")), fs, clock.clone())
            .expect("opens");
    let events = Arc::new(events);
    events.append(&mut sample_events()).expect("appends");
    let status = StatusBoard::default();
    status.post("tsdb", Part::ok().fact("series", 3));
    status.post("sensor", Part::new(Health::Off, "no rights", "run as root"));
    let app = App {
        admin: Some(Arc::new(Admin(series.clone(), folder.path().join("snapshots")))),
        writer: Arc::new(Door(Ingest::new(
            vedette_ingest::Config::default(),
            series.clone(),
            events.clone(),
            clock.clone(),
        ))),
        series: Arc::new(SlowSeries(series)),
        engine: Arc::new(Engine::new(EngineConfig::default())),
        events,
        judgement: Arc::new(FixedJudgement),
        containers: Arc::new(|| {
            vec![Arc::new(Container { id: "abc".into(), name: "c1".into(), ..Container::default() })]
        }),
        latest: Arc::new(FixedLatest),
        status,
        telemetry: Telemetry::default(),
        host: host(),
        kernel: "6.1.0".into(),
        build: BuildInfo { version: "0.1.0".into(), revision: "r1".into() },
        ready: Arc::new(AtomicBool::new(true)),
        clock,
    };
    (app, folder)
}

fn host() -> Arc<Host> {
    Arc::new(Host { name: "node".into(), id: "m".into(), boot_id: "b".into() })
}

/// `up` for two targets and one odd series, every 15 s over the last 10 minutes.
fn fill(series: &Tsdb) {
    let labels = [
        Labels::from_pairs([("__name__", "up"), ("job", "prometheus"), ("instance", "localhost:9090")]),
        Labels::from_pairs([("__name__", "up"), ("job", "node"), ("instance", "localhost:9100")]),
        Labels::from_pairs([("__name__", "requests_total"), ("path", "<a>&\"b\"\n")]),
    ];
    let refs: Vec<_> = labels.iter().map(|l| series.series(l).expect("series")).collect();
    for step in 0..=40 {
        let time_ms = NOW_MS - 600_000 + step * 15_000;
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let values = [1.0, 0.0, step as f64];
        series.append(&[RefRow::new(time_ms, &refs, &values)]).expect("appends");
    }
    let metadata = |family: &str, kind, help: &str| MetricMetadata {
        family: family.into(),
        kind,
        unit: String::new(),
        help: help.into(),
    };
    series.put_metadata(&[
        metadata("requests_total", MetricKind::Counter, "Requests."),
        metadata("up", MetricKind::Gauge, "Whether it is up."),
    ]);
}

fn process(pid: u32, name: &str, parents: &[(u32, &str)]) -> Option<Arc<Process>> {
    let key = |pid: u32| ProcessKey { pid, start_ns: u64::from(pid) * 10 };
    Some(Arc::new(Process {
        key: key(pid),
        name: name.into(),
        executable: format!("/bin/{name}"),
        args: vec![name.into(), "-i".into()],
        ancestors: parents
            .iter()
            .map(|(pid, name)| Ancestor { key: key(*pid), name: (*name).into(), executable: String::new() })
            .collect(),
        ..Process::default()
    }))
}

/// `init` (1) made `bash` (12), which made `nc` (13), which ended; and a finding about it.
fn sample_events() -> Vec<Event> {
    let event = |second: i64, process, fact| Event {
        id: 0,
        time_ns: (NOW_MS - 60_000 + second * 1000) * 1_000_000,
        host: host(),
        container: None,
        process,
        fact,
    };
    let exec = || Fact::Exec { streams: Default::default(), upper_layer: false, unlinked: false };
    let bash = process(12, "bash", &[(1, "init")]);
    let nc = process(13, "nc", &[(12, "bash"), (1, "init")]);
    vec![
        event(1, bash.clone(), exec()),
        event(2, bash, Fact::Fork { child: ProcessKey { pid: 13, start_ns: 130 } }),
        event(3, nc.clone(), exec()),
        event(4, nc.clone(), Fact::Exit { code: 1, signal: false }),
        event(5, nc, Fact::Finding(Box::new(finding(Severity::Critical, FindingState::Firing)))),
        event(6, None, Fact::Loss { place: "bulk".into(), count: 3 }),
    ]
}

fn finding(severity: Severity, state: FindingState) -> Finding {
    Finding {
        fingerprint: 0xAB,
        rule: "reverse-shell".into(),
        severity,
        title: "A shell <leads> out".into(),
        description: "d".into(),
        labels: Labels::from_pairs([("alertname", "ReverseShell")]),
        first_ns: 1,
        last_ns: 2,
        count: 3,
        state,
        ancestry: vec!["nc(13)".into()],
        evidence: vec!["e".into()],
        event_ids: vec![3],
    }
}

struct FixedJudgement;

impl Judgement for FixedJudgement {
    fn rule_groups(&self) -> Vec<RuleGroup> {
        let rule = |name: &str, alerting| Rule {
            name: name.into(),
            query: "up > 0".into(),
            labels: Labels::from_pairs([("severity", "page")]),
            health: RuleHealth::Ok,
            last_error: String::new(),
            evaluation_seconds: 0.5,
            last_evaluation_ns: Some(NOW_MS * 1_000_000),
            alerting,
        };
        let alerting = AlertingRule {
            state: AlertState::Firing,
            hold_seconds: 60.0,
            keep_firing_seconds: 0.0,
            annotations: Labels::empty(),
            alerts: vec![Alert {
                labels: Labels::from_pairs([("alertname", "Up")]),
                annotations: Labels::empty(),
                state: AlertState::Firing,
                active_ns: Some(NOW_MS * 1_000_000),
                keep_firing_since_ns: None,
                value: 1.0,
            }],
        };
        vec![RuleGroup {
            name: "g".into(),
            file: "f.yaml".into(),
            rules: vec![rule("Up", Some(alerting)), rule("job:up:sum", None)],
            interval_seconds: 15.0,
            limit: 0,
            evaluation_seconds: 0.5,
            last_evaluation_ns: Some(NOW_MS * 1_000_000),
        }]
    }

    fn findings(&self) -> Vec<Finding> {
        vec![
            finding(Severity::Critical, FindingState::Resolved),
            finding(Severity::Warning, FindingState::Firing),
            finding(Severity::Critical, FindingState::Firing),
        ]
    }
}

/// The real store.
struct Admin(Arc<Tsdb>, std::path::PathBuf);

impl SeriesAdmin for Admin {
    fn delete(&self, matcher_sets: &[Vec<Matcher>], range: TimeRange) -> Result<(), String> {
        self.0.delete_series(matcher_sets, range).map(drop).map_err(|e| e.to_string())
    }

    fn clean(&self) -> Result<(), String> {
        self.0.clean_deleted().map(drop).map_err(|e| e.to_string())
    }

    fn snapshot(&self, name: &str, skip_head: bool) -> Result<(), String> {
        self.0.snapshot(&self.1.join(name), skip_head).map(drop).map_err(|e| e.to_string())
    }
}

/// The real door; what is stored by way of it can be queried.
struct Door(Ingest);

impl RemoteWriter for Door {
    fn write(&self, body: &[u8]) -> RemoteWritten {
        match self.0.remote_write(body) {
            Ok(written) => written.refused.map_or(RemoteWritten::Stored, RemoteWritten::Refused),
            Err(WriteError::Malformed(text)) => RemoteWritten::Refused(text),
            Err(WriteError::TooLarge(text)) => RemoteWritten::TooLarge(text),
            Err(WriteError::Retry(text)) => RemoteWritten::Retry(text),
        }
    }
}

/// The store, and beside it a hundred thousand series called `slow` that take their time.
struct SlowSeries(Arc<Tsdb>);

impl MetricReader for SlowSeries {
    fn select(&self, select: &Select) -> Result<Box<dyn SeriesSet>, ReadError> {
        let is_slow = |m: &Matcher| m.name == METRIC_NAME && m.value == "slow";
        if select.matchers.iter().any(is_slow) { Ok(Box::new(Slow)) } else { self.0.select(select) }
    }

    fn label_names(&self, query: &LabelQuery) -> Result<Vec<String>, ReadError> {
        self.0.label_names(query)
    }

    fn label_values(&self, name: &str, query: &LabelQuery) -> Result<Vec<String>, ReadError> {
        self.0.label_values(name, query)
    }

    fn series(&self, query: &LabelQuery) -> Result<Vec<Labels>, ReadError> {
        MetricReader::series(self.0.as_ref(), query)
    }

    fn metadata(&self, family: Option<&str>, limit: usize) -> Vec<MetricMetadata> {
        self.0.metadata(family, limit)
    }
}

struct Slow;

impl SeriesSet for Slow {
    fn len(&self) -> usize {
        100_000
    }

    fn labels(&self, series: usize) -> Labels {
        Labels::from_pairs([(METRIC_NAME, "slow"), ("n", &series.to_string())])
    }

    fn summaries(&self, _: usize, _: TimeRange, _: &mut Vec<ChunkSummary>) {}

    fn read(&self, _: usize, _: TimeRange, _: &mut SampleBuffer) -> Result<(), ReadError> {
        // Work that takes time, not a wait for something to happen.
        std::thread::sleep(Duration::from_millis(2));
        Ok(())
    }
}

struct FixedLatest;

impl LatestSamples for FixedLatest {
    fn latest(&self, source: Source) -> Latest {
        let sample = |value, labels: &[(&str, &str)]| LatestSample {
            labels: Labels::from_pairs(labels.iter().copied()),
            value,
            time_ms: NOW_MS,
        };
        let metadata = |family: &str, kind| MetricMetadata {
            family: family.into(),
            kind,
            unit: String::new(),
            help: "H.".into(),
        };
        match source {
            Source::Node => Latest {
                metadata: vec![
                    metadata("node_load1", MetricKind::Gauge),
                    metadata("node_cpu_seconds_total", MetricKind::Counter),
                    metadata("node_wait", MetricKind::Summary),
                ],
                samples: vec![
                    sample(0.75, &[("__name__", "node_load1")]),
                    sample(2e6, &[("__name__", "node_cpu_seconds_total"), ("cpu", "1")]),
                    sample(4.0, &[("__name__", "node_wait_sum")]),
                    sample(1.0, &[("__name__", "node_cpu_seconds_total"), ("cpu", "0")]),
                    sample(3.0, &[("__name__", "node_wait_count")]),
                    sample(5.0, &[("__name__", "node_unknown_count")]),
                ],
            },
            Source::Containers => Latest {
                metadata: Vec::new(),
                samples: vec![sample(
                    7.0,
                    &[("__name__", "container_cpu_usage_seconds_total"), ("id", "/a")],
                )],
            },
        }
    }
}
