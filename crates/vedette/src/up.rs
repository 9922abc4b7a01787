//! `vedette up`: everything in one process. This file is the whole composition; whoever reads it
//! knows what the program is made of.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::sync::watch;
use vedette_alerting::Alerting;
use vedette_api::{
    App, BuildInfo, LatestSample, LatestSamples, RemoteWriter, RemoteWritten, SeriesAdmin, Server, Source,
};
use vedette_collector::{Collector, Latest, Surroundings};
use vedette_detection::Detector;
use vedette_eventdb::EventDb;
use vedette_host::Identity;
use vedette_ingest::{Ingest, WriteError};
use vedette_model::{
    Event, Finding, Host, Labels, Matcher, Origin, Severity, TimeRange,
    status::{Health, Part, StatusBoard},
    telemetry::Telemetry,
};
use vedette_promql::Engine;
use vedette_response::Responder;
use vedette_ruler::{Detect, DetectionStage, PartHealth, Parts, Ruler};
use vedette_sys::{Clock, Flush, FolderLock, Fs, Growth, MonotonicTime, RealFs, SystemClock};
use vedette_tsdb::Tsdb;

use crate::{
    config::{KeepSettings, MemoryLimit, ReceiverSettings, RollupSettings, Settings, Target},
    judgement::{self, RulerJudgement},
    memory,
    outlet::Outbox,
};

/// How often the stores flush, seal and clean up, and findings are looked through for what is over.
const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(500);
/// Between two accounts of the stores on the status board.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);
/// How long a loss at the door of the stores stands on the status board after it has ended.
const LOSS_SHOWN: Duration = Duration::from_secs(300);

/// What all parts share.
#[derive(Clone)]
struct House {
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    status: StatusBoard,
    telemetry: Telemetry,
    host: Arc<Host>,
}

impl House {
    fn origin(&self, source: &str) -> Origin {
        Origin {
            tenant: "default".into(),
            cluster: self.host.name.clone(),
            source: format!("{}/{source}", self.host.name),
            epoch: self.clock.unix_ns().unsigned_abs(),
        }
    }
}

/// The stores and the door into them.
struct Stores {
    series: Arc<Tsdb>,
    events: Arc<EventDb>,
    ingest: Arc<Ingest>,
}

/// Runs until a signal asks it to end.
pub fn run(settings: &Settings) -> Result<()> {
    vedette_host::raise_open_file_limit();
    let groups = judgement::rule_groups(settings)?;
    let detections = judgement::detections(settings)?;
    let host_config = host_config(settings);
    let identity = Identity::read(&host_config).context("cannot tell which machine this is")?;
    let house = House {
        fs: Arc::new(RealFs),
        clock: Arc::new(SystemClock),
        status: StatusBoard::default(),
        telemetry: Telemetry::default(),
        host: Arc::new(identity.host.clone()),
    };
    let data = &settings.data_dir;
    std::fs::create_dir_all(data).with_context(|| {
        format!("cannot make the data folder {}; name another with --data-dir", data.display())
    })?;
    let _lock = FolderLock::acquire(data)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let _entered = runtime.enter();

    let stores = open_stores(settings, &house)?;
    let responder = Arc::new(open_responder(settings, &house)?);
    let outbox = Arc::new(Outbox::new(responder.clone(), &house.host));
    let mut ruler = start_ruler(settings, &house, &stores, groups, outbox.clone())?;
    outbox.tell(Arc::new(ruler.handle()));
    let stage = detection_stage(detections, stores.ingest.clone(), &house, &ruler);
    let mut collector = Collector::start(
        &vedette_collector::Config {
            interval: settings.interval,
            host: host_config,
            figures: settings.figures,
            sensor: settings.sensor.then(vedette_ebpf::Config::default),
            ..vedette_collector::Config::default()
        },
        &Surroundings {
            sink: stage.clone(),
            clock: house.clock.clone(),
            status: house.status.clone(),
            telemetry: house.telemetry.clone(),
            host: house.host.clone(),
        },
    )?;
    let server = bind_server(settings, &house, &stores, &ruler, &collector, &identity)?;
    println!(
        "Vedette {} watches {}: http://{}",
        env!("CARGO_PKG_VERSION"),
        house.host.name,
        server.address()
    );

    let (stop, stopped) = watch::channel(false);
    let maintenance = spawn_maintenance(&stores, stage, &house, stopped.clone())?;
    let delivery = runtime.spawn({
        let (responder, stopped) = (responder.clone(), stopped.clone());
        async move { responder.run(ended(stopped)).await }
    });
    runtime.spawn(async move {
        signal().await;
        let _ = stop.send(true);
    });
    let served = runtime.block_on(server.run(ended(stopped)));

    // Facts first, then judgement, then the stores: what is under way is still written.
    collector.stop();
    ruler.stop();
    let _ = runtime.block_on(delivery);
    let _ = maintenance.join();
    stores.series.close().context("cannot close the metric store")?;
    stores.events.close().context("cannot close the event store")?;
    served.context("the server failed")
}

fn host_config(settings: &Settings) -> vedette_host::Config {
    let defaults = vedette_host::Config::default();
    vedette_host::Config {
        runtime_sockets: settings.runtime_sockets.clone().unwrap_or(defaults.runtime_sockets.clone()),
        ..defaults
    }
}

fn flush(keep: &KeepSettings) -> Flush {
    keep.flush_interval.map_or(Flush::Always, Flush::Interval)
}

fn rollup(settings: &RollupSettings) -> vedette_tsdb::Rollup {
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    vedette_tsdb::Rollup { step_ms: ms(settings.step), retention_ms: ms(settings.retention) }
}

fn open_stores(settings: &Settings, house: &House) -> Result<Stores> {
    let data = &settings.data_dir;
    let limits = &settings.limits;
    let metrics = vedette_tsdb::Config {
        flush: flush(&settings.metrics),
        retention_ms: i64::try_from(settings.metrics.retention.as_millis()).unwrap_or(i64::MAX),
        retention_rules: settings.retention_rules.clone(),
        retention_bytes: settings.metrics.retention_bytes,
        head_bytes_max: match limits.memory {
            MemoryLimit::Bytes(bytes) => bytes,
            MemoryLimit::Percent(percent) => memory::usable_bytes() / 100 * u64::from(percent),
        },
        series_max: limits.series,
        metric_series_max: limits.series_per_metric,
        target_series_max: limits.series_per_target,
        tenant_series_max: limits.series_per_tenant,
        tenant_label: limits.tenant_label.clone(),
        rollups: settings.rollups.iter().map(rollup).collect(),
        ..vedette_tsdb::Config::new(data.join("metrics"))
    };
    let (series, recovery) = Tsdb::open(metrics, house.fs.clone(), house.clock.clone())
        .with_context(|| format!("cannot open the metric store in {}", data.display()))?;
    tracing::info!(samples = recovery.samples, segments = recovery.segments, "metric store is open");
    for note in &recovery.notes {
        tracing::warn!(note, "metric store was repaired");
    }
    let events = vedette_eventdb::Config {
        flush: flush(&settings.events),
        retention: settings.events.retention,
        bytes_max: settings.events.retention_bytes,
        ..vedette_eventdb::Config::new(data.join("events"))
    };
    let (events, recovery) = EventDb::open(events, house.fs.clone(), house.clock.clone())
        .with_context(|| format!("cannot open the event store in {}", data.display()))?;
    tracing::info!(events = recovery.events, segments = recovery.segments, "event store is open");
    for damage in &recovery.damage {
        tracing::warn!(damage, "event store was repaired");
    }
    let (series, events) = (Arc::new(series), Arc::new(events));
    let ingest = Arc::new(Ingest::new(
        vedette_ingest::Config::default(),
        series.clone(),
        events.clone(),
        house.clock.clone(),
    ));
    house.telemetry.register(series.metrics());
    house.telemetry.register(events.clone());
    house.telemetry.register(ingest.clone());
    Ok(Stores { series, events, ingest })
}

fn response_config(settings: &Settings) -> vedette_response::Config {
    let target = |receiver: &ReceiverSettings| match &receiver.target {
        Target::Webhook { url, timeout } => {
            vedette_response::Target::Webhook { url: url.clone(), timeout: *timeout, redirects_max: 3 }
        }
        Target::File(path) => vedette_response::Target::file(settings.data_dir.join(path)),
    };
    let receivers = settings
        .receivers
        .iter()
        .map(|r| vedette_response::Receiver { name: r.name.clone(), target: target(r) })
        .collect();
    vedette_response::Config { receivers, ..vedette_response::Config::new(settings.data_dir.join("outbox")) }
}

fn open_responder(settings: &Settings, house: &House) -> Result<Responder> {
    let (responder, recovered) = Responder::open(
        response_config(settings),
        house.fs.clone(),
        house.clock.clone(),
        house.status.clone(),
        &house.telemetry,
    )?;
    if recovered.pending > 0 {
        tracing::info!(pending = recovered.pending, "notifications still wait for their receivers");
    }
    Ok(responder)
}

fn alerting_config(settings: &Settings) -> vedette_alerting::Config {
    let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    let at_least = |least: Severity| {
        [Severity::Info, Severity::Warning, Severity::Critical].into_iter().filter(|s| *s >= least).collect()
    };
    vedette_alerting::Config {
        external_url: format!("http://{}", settings.listen),
        receivers: settings
            .receivers
            .iter()
            .map(|r| vedette_alerting::Receiver {
                severities: at_least(r.severity),
                ..vedette_alerting::Receiver::all(&r.name)
            })
            .collect(),
        route: vedette_alerting::Route {
            group_wait_ms: ms(settings.group_wait),
            group_interval_ms: ms(settings.group_interval),
            repeat_interval_ms: ms(settings.repeat_interval),
            ..vedette_alerting::Route::default()
        },
        evaluation_interval_ms: ms(settings.evaluation_interval),
        ..vedette_alerting::Config::default()
    }
}

fn start_ruler(
    settings: &Settings,
    house: &House,
    stores: &Stores,
    groups: Vec<vedette_alerting::Group>,
    outlet: Arc<Outbox>,
) -> Result<Ruler> {
    let clock = house.clock.clone();
    let alerting = Alerting::new(alerting_config(settings), groups, Arc::new(move || clock.monotonic().0))?;
    let ruler = Ruler::start(
        &vedette_ruler::Config::new(settings.data_dir.join("ruler"), house.origin("ruler")),
        alerting,
        Parts {
            reader: stores.series.clone(),
            engine: Engine::default(),
            sink: stores.ingest.clone(),
            outlet,
            fs: house.fs.clone(),
            clock: house.clock.clone(),
            status: house.status.clone(),
        },
    )?;
    house.telemetry.register(ruler.handle().metrics());
    house.telemetry.register(Arc::new(PartHealth(house.status.clone())));
    Ok(ruler)
}

fn detection_stage(
    detections: vedette_detection::Detections,
    inner: Arc<Ingest>,
    house: &House,
    ruler: &Ruler,
) -> Arc<DetectionStage> {
    let rules = detections.rules().len();
    let detector = Detector::new(detections, &vedette_detection::Config::default());
    house.telemetry.register(detector.metrics());
    house.status.post("detection", Part::ok().fact("rules", rules));
    Arc::new(DetectionStage::new(
        Box::new(Detecting(detector)),
        inner,
        ruler.handle(),
        house.origin("detection"),
        house.host.clone(),
    ))
}

/// The detector, as the ruler drives it.
struct Detecting(Detector);

impl Detect for Detecting {
    fn observe(&mut self, event: &Event, findings: &mut Vec<Finding>) {
        self.0.observe(event, findings);
    }

    fn expire(&mut self, now_ns: i64, findings: &mut Vec<Finding>) {
        self.0.expire(now_ns, findings);
    }
}

fn bind_server(
    settings: &Settings,
    house: &House,
    stores: &Stores,
    ruler: &Ruler,
    collector: &Collector,
    identity: &Identity,
) -> Result<Server> {
    let index = collector.containers();
    let app = App {
        series: stores.series.clone(),
        writer: Arc::new(RemoteDoor(stores.ingest.clone())),
        admin: settings.admin_api.then(|| {
            let folder = settings.data_dir.join("snapshots");
            Arc::new(StoreAdmin { series: stores.series.clone(), fs: house.fs.clone(), folder }) as _
        }),
        engine: Arc::new(Engine::default()),
        events: stores.events.clone(),
        judgement: Arc::new(RulerJudgement(ruler.handle())),
        containers: Arc::new(move || index.all()),
        latest: Arc::new(LatestFigures(collector.latest())),
        status: house.status.clone(),
        telemetry: house.telemetry.clone(),
        host: house.host.clone(),
        kernel: identity.kernel_release.clone(),
        build: BuildInfo { version: env!("CARGO_PKG_VERSION").into(), revision: String::new() },
        ready: Arc::new(AtomicBool::new(true)),
        clock: house.clock.clone(),
    };
    let config = vedette_api::Config { listen: settings.listen, ..vedette_api::Config::default() };
    Ok(Server::bind(config, app)?)
}

/// The door, as remote-write senders find it.
struct RemoteDoor(Arc<Ingest>);

impl RemoteWriter for RemoteDoor {
    fn write(&self, body: &[u8]) -> RemoteWritten {
        match self.0.remote_write(body) {
            Ok(written) => written.refused.map_or(RemoteWritten::Stored, RemoteWritten::Refused),
            Err(WriteError::Malformed(text)) => RemoteWritten::Refused(text),
            Err(WriteError::TooLarge(text)) => RemoteWritten::TooLarge(text),
            Err(WriteError::Retry(text)) => RemoteWritten::Retry(text),
        }
    }
}

/// The metric store, as an administrator works on it.
struct StoreAdmin {
    series: Arc<Tsdb>,
    fs: Arc<dyn Fs>,
    /// Where snapshots are made: each is a data folder of its own.
    folder: PathBuf,
}

impl SeriesAdmin for StoreAdmin {
    fn delete(&self, matcher_sets: &[Vec<Matcher>], range: TimeRange) -> Result<(), String> {
        let deleted = self.series.delete_series(matcher_sets, range).map_err(|e| with_causes(&e))?;
        let selectors: Vec<String> = matcher_sets.iter().flatten().map(ToString::to_string).collect();
        tracing::info!(
            selectors = selectors.join(","),
            start_ms = range.start_ms,
            end_ms = range.end_ms,
            segments = deleted.segments,
            "series were deleted"
        );
        Ok(())
    }

    fn clean(&self) -> Result<(), String> {
        self.series.clean_deleted().map(drop).map_err(|e| with_causes(&e))
    }

    fn snapshot(&self, name: &str, skip_head: bool) -> Result<(), String> {
        let data = self.folder.join(name);
        let made = self.series.snapshot(&data.join("metrics"), skip_head);
        if made.is_err() {
            // A folder without a store in it would look like a snapshot.
            let _ = self.fs.remove_dir_all(&data);
        }
        let made = made.map_err(|e| with_causes(&e))?;
        tracing::info!(name, segments = made.segments, bytes = made.bytes, "a snapshot was made");
        Ok(())
    }
}

/// An error with its causes in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The collector's newest figures, for `/metrics/node` and `/metrics/cadvisor`.
struct LatestFigures(Latest);

impl LatestSamples for LatestFigures {
    fn latest(&self, source: Source) -> vedette_api::Latest {
        let dictionary = match source {
            Source::Node => self.0.node.lock(),
            Source::Containers => self.0.containers.lock(),
        };
        let scraped = |labels: &Labels| labels.drop(&["job", "instance", "metrics_path"]);
        vedette_api::Latest {
            metadata: dictionary.metadata().to_vec(),
            samples: dictionary
                .latest()
                .map(|(labels, time_ms, value)| LatestSample { labels: scraped(labels), value, time_ms })
                .collect(),
        }
    }
}

/// Stores flush, seal and clean up on a thread of their own.
fn spawn_maintenance(
    stores: &Stores,
    stage: Arc<DetectionStage>,
    house: &House,
    stopped: watch::Receiver<bool>,
) -> Result<std::thread::JoinHandle<()>> {
    let (series, events, ingest) = (stores.series.clone(), stores.events.clone(), stores.ingest.clone());
    let house = house.clone();
    let work = move || {
        let mut status_due = house.clock.monotonic();
        let mut losses = Growth::default();
        while !*stopped.borrow() {
            series.maintain();
            events.maintain();
            if let Err(rejected) = stage.expire(house.clock.unix_ns()) {
                tracing::debug!(%rejected, "findings that are over wait for the event store");
            }
            let now = house.clock.monotonic();
            if now >= status_due {
                status_due = MonotonicTime(now.0 + STATUS_INTERVAL.as_nanos() as u64);
                house.status.post("tsdb", series.stats().to_part());
                house.status.post("eventdb", eventdb_part(&events.stats()));
                let stats = ingest.stats();
                let losing = losses.is_recent(lost(&stats), now, LOSS_SHOWN);
                house.status.post("ingest", ingest_part(&stats, losing));
            }
            std::thread::sleep(MAINTENANCE_INTERVAL);
        }
    };
    std::thread::Builder::new().name("maintenance".into()).spawn(work).context("cannot start a thread")
}

fn eventdb_part(stats: &vedette_eventdb::Stats) -> Part {
    let part = match &stats.failure {
        None => Part::ok(),
        Some(failure) => Part::new(
            Health::Failed,
            failure.clone(),
            "Make room on the disk, or check that it can be written; storing goes on by itself.",
        ),
    };
    part.fact("events", stats.events)
        .fact("events in memory", stats.events_in_memory)
        .fact("segments", stats.segments)
        .fact("segment size", format!("{} KiB", stats.segment_bytes / 1024))
        .fact("write-ahead log", format!("{} KiB", stats.wal_bytes / 1024))
        .fact("live readers", stats.subscribers)
}

fn lost(stats: &vedette_ingest::Stats) -> u64 {
    stats.rejected_samples + stats.rejected_events + stats.missing_batches
}

fn ingest_part(stats: &vedette_ingest::Stats, losing: bool) -> Part {
    let part = if losing {
        Part::new(
            Health::Degraded,
            format!(
                "{} samples and {} events were refused, {} batches never came",
                stats.rejected_samples, stats.rejected_events, stats.missing_batches
            ),
            "See vedette_ingest_rejected_* for the reasons.",
        )
    } else {
        Part::ok()
    };
    part.fact("samples", stats.samples)
        .fact("events", stats.events)
        .fact("lost", lost(stats))
        .fact("senders", stats.origins)
        .fact("answered \"again later\"", stats.retries)
        .fact("repeats", stats.duplicate_batches)
}

async fn ended(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("cannot listen for signals; end the process with SIGKILL, nothing stored is lost");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Messages about itself go to standard error.
pub fn start_log(level: &str, json: bool) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(level)
        .with_context(|| format!("--log-level {level:?} is none of error, warn, info, debug, trace"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if json { builder.json().try_init() } else { builder.try_init() };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}

/// `vedette check config`: everything that `up` would refuse before it begins.
pub fn check(settings: &Settings) -> Result<String> {
    let groups = judgement::rule_groups(settings)?;
    let detections = judgement::detections(settings)?;
    vedette_api::Config { listen: settings.listen, ..vedette_api::Config::default() }.validate()?;
    alerting_config(settings).validate()?;
    response_config(settings).validate()?;
    let rules: usize = groups.iter().map(|g| g.rules.len()).sum();
    Ok(format!(
        "ok: {rules} rules, {} detections, {} receivers",
        detections.rules().len(),
        settings.receivers.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Overrides};

    #[test]
    fn what_up_would_refuse_is_refused_by_the_check() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("v.yml");
        for (text, expected) in [
            ("notify: {group_interval: 5s}\n", "ok: "),
            ("notify: {group_interval: 10ms}\n", "route.group_interval"),
            ("notify: {receivers: [{name: a, webhook: {url: 'http://'}}]}\n", "receivers[0].url"),
            ("listen: 0.0.0.0:9090\n", "authentication"),
        ] {
            std::fs::write(&file, text).expect("writes");
            let settings = config::load(Some(&file), Overrides::default()).expect(text);
            let said = check(&settings).unwrap_or_else(|error| format!("{error:#}"));
            assert!(said.contains(expected), "{text}: {said}");
        }
    }
}
