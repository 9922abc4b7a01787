//! The real server with real stores on a port of its own, asked over TCP. Expected bodies are
//! those of Prometheus' documentation and follow from its rules for numbers and text.

mod admin;
mod agent;
mod cadvisor;
mod cors;
mod federate;
mod grafana;
mod http;
mod own_api;
mod pages;
mod parse_query;
mod parsing;
mod peers;
mod prometheus_api;
mod promtool;
mod pushing;
mod queries;
mod reference;
mod remote_read;
mod remote_write;
mod resistance;
mod result_cache;
mod server_state;
mod shape;
mod targets;
mod web;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio::{sync::oneshot, task::JoinHandle};
use vedette_eventdb::EventDb;
use vedette_ingest::{Ingest, WriteError};
use vedette_model::{
    Ancestor, ChangeMark, Changes, ChunkSummary, Container, Directory, DroppedTarget, Event, Exemplar, Fact,
    Finding, FindingState, Host, LabelQuery, Labels, METRIC_NAME, MachineFacts, Matcher, MetricKind,
    MetricMetadata, MetricReader, MinuteUsage, NameScheme, PoolState, Process, ProcessFigures, ProcessKey,
    ReadError, RelabelAction, RelabelConfig, RelabelRule, SampleBuffer, Select, SeriesSet, Severity, Spread,
    TargetHealth, TargetReader, TargetState, TimeRange,
    status::{Health, Part, StatusBoard},
    telemetry::Telemetry,
};
use vedette_promql::{Engine, EngineConfig};
use vedette_sys::{ManualClock, RealFs};
use vedette_tsdb::{ExemplarSample, RefRow, Tsdb};
use vedette_wire::{
    exposition::Format,
    prometheus::{Alert, AlertState, AlertingRule, Rule, RuleGroup, RuleHealth},
};

use crate::{
    Alertmanagers, App, BuildInfo, Config, Counts, InfluxPrecision, Job, Judgement, LatestSample,
    LatestSamples, Program, Protocol, Reload, RemoteWriter, RemoteWritten, SeriesAdmin, SeriesCourse, Server,
    Source,
};

/// The clock of all tests: 2023-11-14T22:13:20Z.
const NOW_MS: i64 = 1_700_000_000_000;

struct Running {
    address: SocketAddr,
    events: Option<Arc<EventDb>>,
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
    test_app_at(NOW_MS)
}

/// The same at another time; what is too old or too new then is not stored.
fn test_app_at(now_ms: i64) -> (App, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(ManualClock::at(now_ms * 1_000_000));
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
        storage: series.clone(),
        targets: Some(Arc::new(FixedTargets)),
        program: Arc::new(FixedProgram::default()),
        web: None,
        external_labels: Arc::new(|| Labels::from_pairs([("replica", "a"), ("job", "ours")])),
        series: Arc::new(SlowSeries(series)),
        engine: Arc::new(Engine::new(EngineConfig::default())),
        query_log: None,
        events: Some(events),
        judgement: Arc::new(FixedJudgement),
        containers: Arc::new(|| {
            vec![Arc::new(Container { id: "abc".into(), name: "c1".into(), ..Container::default() })]
        }),
        directory: Directory::default(),
        clusters: Arc::new(Vec::new),
        latest: Arc::new(FixedLatest),
        kube_state: Arc::new(FixedState),
        capacity: Arc::new(|| vedette_wire::vedette::CapacityAnswer { now_unix_ms: 5, clusters: Vec::new() }),
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
    let exemplar =
        Exemplar { labels: Labels::from_pairs([("trace_id", "abc")]), value: 0.5, time_ms: NOW_MS - 1500 };
    series.append_exemplars(&[ExemplarSample { reference: refs[2], exemplar: &exemplar }]).expect("appends");
    series.put_metadata(&[
        metadata("requests_total", MetricKind::Counter, "Requests."),
        metadata("up", MetricKind::Gauge, "Whether it is up."),
    ]);
}

fn metadata(family: &str, kind: MetricKind, help: &str) -> MetricMetadata {
    MetricMetadata { family: family.into(), kind, unit: String::new(), help: help.into() }
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
    fn write(&self, protocol: &Protocol, body: &[u8]) -> RemoteWritten {
        let written = match protocol {
            Protocol::RemoteWrite => self.0.receiver().remote_write(body),
            Protocol::RemoteWriteV2 => self.0.receiver().remote_write_v2(body),
            Protocol::OtlpProtobuf => self.0.receiver().otlp(body, false),
            Protocol::OtlpJson => self.0.receiver().otlp(body, true),
            Protocol::InfluxLines { precision, database } => {
                let each = match precision {
                    InfluxPrecision::Guess => None,
                    InfluxPrecision::Nanoseconds(each) => Some(*each),
                };
                self.0.receiver().influx_lines(body, each, database)
            }
            // What of it is stored is tried in composition; here the body says what becomes of it.
            Protocol::Audit { cluster } => {
                return match body {
                    b"good" => RemoteWritten::Stored(Counts::default()),
                    b"later" => RemoteWritten::Retry(format!("{cluster} waits")),
                    _ => RemoteWritten::Refused(Counts::default(), format!("{cluster} is not watched")),
                };
            }
        };
        match written {
            Ok(written) => {
                let counts = Counts {
                    samples: written.samples - written.histograms,
                    histograms: written.histograms,
                    exemplars: written.exemplars,
                    refused_samples: written.refused_samples,
                };
                match written.refused {
                    None => RemoteWritten::Stored(counts),
                    Some(text) => RemoteWritten::Refused(counts, text),
                }
            }
            Err(WriteError::Malformed(text)) => RemoteWritten::Refused(Counts::default(), text),
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

    fn changes(&self, since: Option<ChangeMark>) -> Option<Changes> {
        self.0.changes(since)
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

    fn exemplars(&self, query: &LabelQuery) -> Result<Vec<(Labels, Vec<Exemplar>)>, ReadError> {
        self.0.exemplars(query)
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

/// Two pools: what `FixedProgram` configures.
struct FixedTargets;

fn target(pool: &str, instance: &str, health: TargetHealth) -> TargetState {
    let discovered = [("__address__", instance), ("__scheme__", "http"), ("job", pool)];
    TargetState {
        pool: pool.into(),
        discovered: Labels::from_pairs(discovered),
        labels: Labels::from_pairs([("instance", instance), ("job", pool)]),
        url: format!("http://{instance}/metrics"),
        interval: Duration::from_secs(90),
        timeout: Duration::from_secs(10),
        health,
        last_error: if health == TargetHealth::Down { "connection refused".into() } else { String::new() },
        last_scrape_ns: if health == TargetHealth::Unknown { 0 } else { NOW_MS * 1_000_000 },
        last_duration: Duration::from_millis(6),
    }
}

impl TargetReader for FixedTargets {
    fn pool_names(&self) -> Vec<String> {
        vec!["dead".into(), "node".into()]
    }

    fn pools(&self, only: Option<&str>) -> Vec<PoolState> {
        let dropped = DroppedTarget {
            pool: "dead".into(),
            discovered: Labels::from_pairs([("__address__", "dropped:3"), ("job", "dead")]),
            error: None,
        };
        let all = [
            PoolState {
                pool: "dead".into(),
                targets: vec![
                    target("dead", "127.0.0.1:1", TargetHealth::Down),
                    target("dead", "127.0.0.1:2", TargetHealth::Unknown),
                ],
                dropped: vec![dropped],
                dropped_count: 1,
            },
            PoolState {
                pool: "node".into(),
                targets: vec![target("node", "localhost:9100", TargetHealth::Up)],
                ..PoolState::default()
            },
        ];
        all.into_iter().filter(|pool| only.is_none_or(|only| only == pool.pool)).collect()
    }

    fn target_metadata(&self, each: &mut dyn FnMut(&Labels, &MetricMetadata)) {
        for (instance, job) in [("localhost:9100", "node"), ("localhost:9101", "node")] {
            let labels = Labels::from_pairs([("instance", instance), ("job", job)]);
            for (family, kind) in [("up_seconds", MetricKind::Gauge), ("x_total", MetricKind::Counter)] {
                each(&labels, &metadata(family, kind, "H."));
            }
        }
    }
}

/// What is asked of it, and what it answers to `reload`.
#[derive(Default)]
pub(crate) struct FixedProgram {
    pub reload_error: Option<String>,
    pub quit: Arc<AtomicBool>,
}

impl Program for FixedProgram {
    fn config_yaml(&self) -> String {
        "global: {}\n".into()
    }

    fn flags(&self) -> Vec<(String, String)> {
        vec![("web.listen-address".into(), "x".into()), ("config.file".into(), "p.yml".into())]
    }

    fn last_reload(&self) -> Reload {
        let error = self.reload_error.clone().unwrap_or_default();
        Reload { succeeded: error.is_empty(), time_ns: NOW_MS * 1_000_000, error }
    }

    fn job(&self, name: &str) -> Option<Job> {
        let rule = |config| RelabelRule::new(config, NameScheme::Utf8).expect("sound");
        let rules = vec![
            rule(RelabelConfig {
                source_labels: vec!["__address__".into()],
                regex: Some("dropped.*".into()),
                action: RelabelAction::Drop,
                ..RelabelConfig::default()
            }),
            rule(RelabelConfig {
                target_label: "env".into(),
                replacement: Some("prod".into()),
                ..RelabelConfig::default()
            }),
        ];
        let problems = vec!["ec2_sd_configs is not run here".to_owned()];
        (name == "dead").then(|| Job { rules, yaml: "job_name: dead\n".into(), problems })
    }

    fn alertmanagers(&self) -> Alertmanagers {
        Alertmanagers {
            active: vec!["http://127.0.0.1:39093/api/v2/alerts".into()],
            dropped: vec!["https://b.example:2/am/api/v2/alerts".into()],
        }
    }

    fn reload(&self) -> Result<(), String> {
        self.reload_error.clone().map_or(Ok(()), Err)
    }

    fn quit(&self) {
        self.quit.store(true, std::sync::atomic::Ordering::Release);
    }

    fn retention(&self) -> String {
        "15d".into()
    }
}

struct FixedLatest;

impl LatestSamples for FixedLatest {
    fn visit(&self, source: Source, each: &mut dyn FnMut(LatestSample<'_>)) {
        let mut tell = |family: &str, kind: Option<MetricKind>, value, labels: &[(&str, &str)]| {
            let (unit, help) = (String::new(), "H.".to_owned());
            let metadata = kind.map(|kind| MetricMetadata { family: family.into(), kind, unit, help });
            let all = labels.iter().copied().chain([("job", "j"), ("instance", "i"), ("metrics_path", "/m")]);
            let (name, own) = (labels[0].1, &labels[1..]);
            let mut text = Vec::new();
            vedette_wire::exposition::push_series(&mut text, name, own.iter().copied());
            let (text, labels) = (&*text, &Labels::from_pairs(all));
            each(LatestSample { family, metadata: metadata.as_ref(), labels, text, value, time_ms: NOW_MS });
        };
        let (gauge, counter, summary) = (MetricKind::Gauge, MetricKind::Counter, MetricKind::Summary);
        match source {
            Source::Node => {
                let cpu = "node_cpu_seconds_total";
                tell(cpu, Some(counter), 1.0, &[("__name__", cpu), ("cpu", "0")]);
                tell(cpu, Some(counter), 2e6, &[("__name__", cpu), ("cpu", "1")]);
                tell("node_load1", Some(gauge), 0.75, &[("__name__", "node_load1")]);
                tell("node_unknown_count", None, 5.0, &[("__name__", "node_unknown_count")]);
                tell("node_wait", Some(summary), 3.0, &[("__name__", "node_wait_count")]);
                tell("node_wait", Some(summary), 4.0, &[("__name__", "node_wait_sum")]);
            }
            Source::Containers => {
                let name = "container_cpu_usage_seconds_total";
                tell(name, None, 7.0, &[("__name__", name), ("id", "/a")]);
            }
        }
    }

    fn courses(&self, wanted: &dyn Fn(&Labels) -> bool) -> Vec<SeriesCourse> {
        cadvisor::courses().into_iter().filter(|course| wanted(&course.labels)).collect()
    }

    fn minutes(&self, cgroup: &str) -> Vec<MinuteUsage> {
        cadvisor::minutes(cgroup)
    }

    fn machine(&self) -> MachineFacts {
        MachineFacts { cores: 2, memory_bytes: 4096, boot_id: "b".into(), ..MachineFacts::default() }
    }

    fn processes(&self, cgroup: &str) -> Vec<ProcessFigures> {
        vec![ProcessFigures {
            pid: 42,
            cgroup: cgroup.into(),
            cpu_seconds: 3_661.0,
            state: 'S',
            ..ProcessFigures::default()
        }]
    }
}

/// A page in two pieces, of which the first is large enough to be sent by itself.
struct FixedState;

impl crate::KubeState for FixedState {
    fn write(&self, format: Format, take: &mut dyn FnMut(&mut Vec<u8>) -> bool) -> bool {
        let line = if format == Format::OpenMetrics { b"kube_open 1\n" } else { b"kube_text 1\n" };
        take(&mut line.repeat(20_000)) && take(&mut line.to_vec())
    }
}
