//! Vedette's own configuration file: YAML, every key optional, unknown keys refused.
//!
//! What a person writes ([`File`]) is turned into what the program runs with ([`Settings`]) in
//! one place, where everything is checked; an error names file, line and what to do.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::memory;

mod collectors;
mod custom_resources;
mod export;
mod kubernetes;
mod part_metrics;
mod query;
mod scrape;
mod units;
mod web;
mod written;

pub use collectors::Collectors;
pub use custom_resources::CustomResources;
pub use export::Export;
pub use kubernetes::{CapacitySettings, ClusterSettings};
pub use query::QuerySettings;
pub use units::parse_duration;
pub use written::*;

use units::{bytes, duration};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// The file.
        file: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is no valid configuration.
    #[error("{file}:{line}:{column}: {reason}")]
    Syntax {
        /// The file.
        file: String,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A value cannot be used.
    #[error("{place}: {reason}")]
    Value {
        /// File and key.
        place: String,
        /// What is wrong and what would be right.
        reason: String,
    },
}

/// What one store keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepSettings {
    /// Age limit.
    pub retention: Duration,
    /// Size limit in bytes.
    pub retention_bytes: u64,
    /// `None` means before every acknowledgement.
    pub flush_interval: Option<Duration>,
}

/// What new series of the metric store may take; 0 means no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitSettings {
    /// In bytes.
    pub memory: MemoryLimit,
    /// All series.
    pub series: usize,
    /// Of one metric name.
    pub series_per_metric: usize,
    /// Of one target.
    pub series_per_target: usize,
    /// Of one tenant.
    pub series_per_tenant: usize,
    /// The label that names the tenant.
    pub tenant_label: String,
}

/// A limit of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryLimit {
    /// In bytes.
    Bytes(u64),
    /// In percent of what the process may use.
    Percent(u8),
}

impl MemoryLimit {
    /// The limit in bytes; a share of nothing known is no limit.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => memory::usable_bytes() / 100 * u64::from(percent),
        }
    }
}

/// Checked rollup settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollupSettings {
    /// Length of a step.
    pub step: Duration,
    /// Age limit.
    pub retention: Duration,
}

/// Where a receiver delivers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An HTTP endpoint.
    Webhook {
        /// Its URL.
        url: String,
        /// Limit of one attempt.
        timeout: Duration,
    },
    /// A file.
    File(PathBuf),
}

/// A checked receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverSettings {
    /// Unique name.
    pub name: String,
    /// Least severity.
    pub severity: vedette_model::Severity,
    /// Where to.
    pub target: Target,
}

/// What the program runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// Whether samples are sent on and not kept.
    pub agent: bool,
    /// Where to listen.
    pub listen: SocketAddr,
    /// `prometheus.yml`, if one is put to work.
    pub prometheus_config: Option<PathBuf>,
    /// Encryption, users and headers of the web server.
    pub web_config: Option<PathBuf>,
    /// Where others find this server, without a slash at the end; if somebody says.
    pub external_url: Option<String>,
    /// The path under which all addresses are there as well; empty for none.
    pub route_prefix: String,
    /// Which pages of other origins may read.
    pub origins: vedette_api::Origins,
    /// Whether the program can be told over HTTP to end.
    pub lifecycle: bool,
    /// Folder for all data.
    pub data_dir: PathBuf,
    /// Between two readings.
    pub interval: Duration,
    /// Sockets of container runtimes, if named.
    pub runtime_sockets: Option<Vec<PathBuf>>,
    /// How figures of host and containers are read.
    pub host: vedette_host::Config,
    /// Clusters that are watched.
    pub kubernetes: Vec<ClusterSettings>,
    /// Whether figures of host, containers and Vedette itself are read.
    pub figures: bool,
    /// Whether the kernel sensor is tried.
    pub sensor: bool,
    /// What is done with scraped series.
    pub scrape: vedette_collector::scrape::Features,
    /// Metrics.
    pub metrics: KeepSettings,
    /// Series that are kept for another time than `metrics` says.
    pub retention_rules: Vec<vedette_tsdb::RetentionRule>,
    /// Whether series can be deleted and snapshots made over HTTP.
    pub admin_api: bool,
    /// What new series may take.
    pub limits: LimitSettings,
    /// Rollups of metrics.
    pub rollups: Vec<RollupSettings>,
    /// Events.
    pub events: KeepSettings,
    /// Where lines of Graphite are taken, if anywhere.
    pub graphite: Option<SocketAddr>,
    /// What is done with points of OpenTelemetry that count since the point before.
    pub otlp_delta: vedette_ingest::DeltaHandling,
    /// What is exported, and where to.
    pub export: Option<vedette_remote::ExportConfig>,
    /// PromQL.
    pub query: QuerySettings,
    /// Own rules.
    pub builtin_rules: bool,
    /// Further rule files.
    pub rule_files: Vec<PathBuf>,
    /// For groups that name none.
    pub evaluation_interval: Duration,
    /// Limit of one rule's query.
    pub rule_query_timeout: Duration,
    /// Own detections.
    pub builtin_detections: bool,
    /// Further detections.
    pub detection_files: Vec<PathBuf>,
    /// Receivers.
    pub receivers: Vec<ReceiverSettings>,
    /// See [`Notify`].
    pub group_wait: Duration,
    /// See [`Notify`].
    pub group_interval: Duration,
    /// See [`Notify`].
    pub repeat_interval: Duration,
}

impl Settings {
    /// Whether anything may be scraped: by `prometheus.yml`, or of the parts of clusters.
    pub fn scrapes(&self) -> bool {
        self.prometheus_config.is_some() || self.kubernetes.iter().any(|one| !one.part_metrics.is_empty())
    }
}

/// What this process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// All in one on this machine.
    #[default]
    Up,
    /// Keeps and judges what comes from elsewhere, and gathers nothing of this machine.
    Server,
    /// Gathers figures of this machine, scrapes and sends on.
    Agent,
}

/// What the command line says; it wins over the file.
#[derive(Debug, Default)]
pub struct Overrides {
    /// The verb.
    pub role: Role,
    /// `--prometheus-config`
    pub prometheus_config: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--web-config`
    pub web_config: Option<PathBuf>,
    /// `--external-url`
    pub external_url: Option<String>,
    /// `--route-prefix`
    pub route_prefix: Option<String>,
    /// `--cors-origin`
    pub cors_origin: Option<String>,
}

/// The shortest interval between two readings.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The metric store keeps samples that long in memory.
const RETENTION_MIN: Duration = Duration::from_secs(600);

/// The metric store cannot number more.
const SERIES_MAX: usize = 1 << 30;
/// A configuration file is text for people; a larger one is a mistake.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads and checks a configuration; without a file the defaults hold.
pub fn load(file: Option<&Path>, overrides: Overrides) -> Result<Settings, Error> {
    let Some(path) = file else {
        return resolve("command line", Path::new("."), File::default(), overrides);
    };
    let name = path.display().to_string();
    let read = |source| Error::Read { file: name.clone(), source };
    let length = std::fs::metadata(path).map_err(read)?.len();
    if length > FILE_BYTES_MAX {
        let reason = format!("the file has {length} bytes, more than {FILE_BYTES_MAX}; name the right file");
        return Err(Error::Value { place: name, reason });
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let settings = resolve(&name, folder, parse(&name, &text)?, overrides)?;
    Ok(Settings { file: Some(path.to_owned()), ..settings })
}

/// Parses the text of a configuration file; `name` is used in errors.
pub fn parse(name: &str, text: &str) -> Result<File, Error> {
    if text.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#')) {
        return Ok(File::default());
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((0, 0), |l| (l.line(), l.column()));
        let reason = plain(&error.without_snippet().to_string());
        Error::Syntax { file: name.to_owned(), line, column, reason }
    })
}

/// The parser's words, without the place that stands before them anyway.
fn plain(text: &str) -> String {
    let line = text.lines().find(|l| !l.trim().is_empty()).unwrap_or(text).trim();
    let line = line.trim_start_matches("error: ");
    line.split(" at line ").next().unwrap_or(line).to_owned()
}

fn resolve(name: &str, folder: &Path, file: File, overrides: Overrides) -> Result<Settings, Error> {
    let at = |key: &str| format!("{name}: {key}");
    let listen = overrides.listen.or(file.listen).unwrap_or_else(|| "127.0.0.1:9090".into());
    let below = |p: &PathBuf| folder.join(p);
    let interval = duration(&at("collect.interval"), file.collect.interval.as_deref(), "1s")?;
    if interval < INTERVAL_MIN {
        return Err(Error::Value { place: at("collect.interval"), reason: "use at least 100ms".into() });
    }
    let is_server = overrides.role != Role::Up;
    let agent = overrides.role == Role::Agent;
    let prometheus_config = overrides.prometheus_config.or(file.prometheus_config.as_ref().map(below));
    let data_dir = overrides.data_dir.or(file.data_dir).unwrap_or_else(default_data_dir);
    let export = export::settings(name, folder, &data_dir, file.export)?;
    if agent && prometheus_config.is_none() && export.is_none() {
        let reason = "an agent has nothing to do without it or a sink under `export`; name the file with \
                      --prometheus-config";
        return Err(Error::Value { place: at("prometheus_config"), reason: reason.into() });
    }
    let external_url = overrides.external_url.or(file.external_url);
    let external_url = external_url.map(|url| web::external_url(&at("external_url"), &url)).transpose()?;
    Ok(Settings {
        file: None,
        route_prefix: web::route_prefix(overrides.route_prefix.as_deref(), external_url.as_deref()),
        external_url,
        origins: web::origins(&at("cors_origin"), overrides.cors_origin.or(file.cors_origin).as_deref())?,
        agent,
        listen: address(&at("listen"), &listen)?,
        prometheus_config,
        web_config: overrides.web_config.or(file.web_config.as_ref().map(below)),
        lifecycle: file.lifecycle_api,
        data_dir,
        export,
        interval,
        runtime_sockets: file.collect.runtime_sockets,
        host: collectors::settings(&at("collectors"), file.collectors)?,
        kubernetes: kubernetes::settings(&at("kubernetes"), folder, file.kubernetes)?,
        figures: auto_or_off(&at("collect.figures"), file.collect.figures.as_deref())?
            && overrides.role != Role::Server,
        sensor: auto_or_off(&at("collect.sensor"), file.collect.sensor.as_deref())? && !is_server,
        scrape: scrape::features(&at("scrape"), &file.scrape)?,
        metrics: keep(&at("metrics"), &file.metrics.keep(), "15d", "10GiB")?,
        retention_rules: retention_rules(&at("metrics.retention_rules"), &file.metrics.retention_rules)?,
        admin_api: file.metrics.admin_api,
        limits: limits(&at("metrics.limits"), file.metrics.limits)?,
        rollups: rollups(&at("metrics.rollups"), file.metrics.rollups.as_deref())?,
        events: keep(&at("events"), &file.events, "7d", "2GiB")?,
        graphite: graphite(&at("receive.graphite.listen"), file.receive.graphite.listen.as_deref())?,
        otlp_delta: delta(&at("receive.otlp.delta"), file.receive.otlp.delta.as_deref())?,
        query: query::settings(&at("query"), file.query)?,
        builtin_rules: file.rules.builtin.unwrap_or(!is_server),
        rule_files: file.rules.files.iter().map(below).collect(),
        evaluation_interval: duration(
            &at("rules.evaluation_interval"),
            file.rules.evaluation_interval.as_deref(),
            "5s",
        )?,
        rule_query_timeout: duration(&at("rules.query_timeout"), file.rules.query_timeout.as_deref(), "10s")?,
        builtin_detections: file.detections.builtin,
        detection_files: file.detections.files.iter().map(below).collect(),
        receivers: receivers(name, file.notify.receivers)?,
        group_wait: duration(&at("notify.group_wait"), file.notify.group_wait.as_deref(), "5s")?,
        group_interval: duration(&at("notify.group_interval"), file.notify.group_interval.as_deref(), "30s")?,
        repeat_interval: duration(
            &at("notify.repeat_interval"),
            file.notify.repeat_interval.as_deref(),
            "4h",
        )?,
    })
}

fn graphite(place: &str, text: Option<&str>) -> Result<Option<SocketAddr>, Error> {
    let Some(text) = text else { return Ok(None) };
    let address = address(place, text)?;
    if !address.ip().is_loopback() {
        let reason = format!(
            "{address} is not a loopback address; whoever reaches it could write anything, because the protocol has \
             no authentication. Listen on 127.0.0.1:{port} or [::1]:{port}",
            port = address.port()
        );
        return Err(Error::Value { place: place.to_owned(), reason });
    }
    Ok(Some(address))
}

fn delta(place: &str, text: Option<&str>) -> Result<vedette_ingest::DeltaHandling, Error> {
    match text {
        None | Some("refuse") => Ok(vedette_ingest::DeltaHandling::Refused),
        Some("store") => Ok(vedette_ingest::DeltaHandling::Stored),
        Some("convert") => Ok(vedette_ingest::DeltaHandling::Converted),
        Some(other) => {
            let reason = format!("{other:?} is none of refuse, store and convert");
            Err(Error::Value { place: place.to_owned(), reason })
        }
    }
}

fn auto_or_off(place: &str, text: Option<&str>) -> Result<bool, Error> {
    match text {
        None | Some("auto") => Ok(true),
        Some("off") => Ok(false),
        Some(other) => {
            let reason = format!("{other:?} is neither `auto` nor `off`");
            Err(Error::Value { place: place.to_owned(), reason })
        }
    }
}

fn address(place: &str, text: &str) -> Result<SocketAddr, Error> {
    let full = if text.starts_with(':') {
        format!("127.0.0.1{text}")
    } else {
        text.replace("localhost", "127.0.0.1")
    };
    full.parse().map_err(|_| Error::Value {
        place: place.to_owned(),
        reason: format!("{text:?} is no address with a port; write for example 127.0.0.1:9090"),
    })
}

/// Where data is when nobody says.
pub fn default_data_dir() -> PathBuf {
    if std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0) {
        return "/var/lib/vedette".into();
    }
    let home = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")));
    home.map_or_else(|| "vedette-data".into(), |h| h.join("vedette"))
}

fn keep(place: &str, keep: &Keep, age: &str, size: &str) -> Result<KeepSettings, Error> {
    Ok(KeepSettings {
        retention: duration(&format!("{place}.retention"), keep.retention.as_deref(), age)?,
        retention_bytes: bytes(
            &format!("{place}.retention_size"),
            keep.retention_size.as_deref().unwrap_or(size),
        )?,
        flush_interval: match keep.flush_interval.as_deref() {
            Some("always") => None,
            other => Some(duration(&format!("{place}.flush_interval"), other, "1s")?),
        },
    })
}

fn retention_rules(
    place: &str,
    written: &[RetentionRule],
) -> Result<Vec<vedette_tsdb::RetentionRule>, Error> {
    let checked = |(i, rule): (usize, &RetentionRule)| {
        let place = |key: &str| format!("{place}[{i}].{key}");
        let matchers = vedette_promql::parse_selector(&rule.selector).map_err(|error| Error::Value {
            place: place("selector"),
            reason: format!(
                "{:?} is no selector ({error}); write for example {{job=\"node\"}}",
                rule.selector
            ),
        })?;
        let keep = duration(&place("keep"), Some(&rule.keep), "")?;
        if keep < RETENTION_MIN {
            let reason = format!("{:?} is too short; the least is 10m", rule.keep);
            return Err(Error::Value { place: place("keep"), reason });
        }
        let retention_ms = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        Ok(vedette_tsdb::RetentionRule { matchers, retention_ms })
    };
    written.iter().enumerate().map(checked).collect()
}

fn limits(place: &str, written: Limits) -> Result<LimitSettings, Error> {
    let at = |key: &str| format!("{place}.{key}");
    let memory = memory_limit(&at("memory"), written.memory.as_deref().unwrap_or("25%"))?;
    let series = written.series.unwrap_or(10_000_000);
    if series > SERIES_MAX {
        let reason = format!("{series} is too many; the most are {SERIES_MAX}");
        return Err(Error::Value { place: at("series"), reason });
    }
    Ok(LimitSettings {
        memory,
        series: if series == 0 { SERIES_MAX } else { series },
        series_per_metric: written.series_per_metric,
        series_per_target: written.series_per_target,
        series_per_tenant: written.series_per_tenant,
        tenant_label: written.tenant_label.unwrap_or_else(|| "tenant".to_owned()),
    })
}

/// A size, or a share of what the process may use.
fn memory_limit(place: &str, text: &str) -> Result<MemoryLimit, Error> {
    let Some(number) = text.strip_suffix('%') else { return Ok(MemoryLimit::Bytes(bytes(place, text)?)) };
    let percent = number.trim().parse().ok().filter(|p| (1..=90).contains(p));
    Ok(MemoryLimit::Percent(percent.ok_or_else(|| Error::Value {
        place: place.to_owned(),
        reason: format!("{text:?} is no share; write 1% to 90%, or a size such as 512MiB"),
    })?))
}

fn rollups(place: &str, written: Option<&[RollupKeep]>) -> Result<Vec<RollupSettings>, Error> {
    let defaults = [("5m", "90d"), ("1h", "2y")];
    let default =
        |(step, retention): (&str, &str)| RollupKeep { step: step.into(), retention: retention.into() };
    let defaults: Vec<RollupKeep> = defaults.into_iter().map(default).collect();
    let mut checked: Vec<RollupSettings> = Vec::new();
    for rollup in written.unwrap_or(&defaults) {
        let step = duration(&format!("{place}.step"), Some(&rollup.step), "")?;
        let retention = duration(&format!("{place}.retention"), Some(&rollup.retention), "")?;
        let refuse =
            |reason: String| Err(Error::Value { place: format!("{place}[{:?}]", rollup.step), reason });
        if step.subsec_nanos() != 0 {
            return refuse("a step is whole seconds; write for example 5m".into());
        }
        if retention < step {
            return refuse(format!("the retention of {} is shorter than the step", rollup.retention));
        }
        if checked.iter().any(|c| c.step == step) {
            return refuse("the step is there twice; give one retention for each step".into());
        }
        checked.push(RollupSettings { step, retention });
    }
    if checked.len() > 8 {
        let reason = format!("{} rollups; give at most 8", checked.len());
        return Err(Error::Value { place: place.to_owned(), reason });
    }
    Ok(checked)
}

fn receivers(name: &str, written: Vec<Receiver>) -> Result<Vec<ReceiverSettings>, Error> {
    let mut checked: Vec<ReceiverSettings> = Vec::new();
    for receiver in written {
        let place = format!("{name}: notify.receivers[{:?}]", receiver.name);
        let refuse = |reason: String| Error::Value { place: place.clone(), reason };
        let usable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if receiver.name.is_empty() || !receiver.name.chars().all(usable) {
            return Err(refuse("a name has letters, digits, dot, dash and underscore only".into()));
        }
        if checked.iter().any(|c| c.name == receiver.name) {
            return Err(refuse("the name is used twice; names must differ".into()));
        }
        let severity = match receiver.severity.as_deref() {
            None => vedette_model::Severity::Info,
            Some(word) => vedette_model::Severity::parse(word)
                .ok_or_else(|| refuse(format!("severity {word:?} is none of info, warning, critical")))?,
        };
        let target = match (receiver.webhook, receiver.file) {
            (Some(webhook), None) => {
                if !webhook.url.starts_with("http://") && !webhook.url.starts_with("https://") {
                    return Err(refuse(format!(
                        "webhook.url {:?} begins with neither http:// nor https://",
                        webhook.url
                    )));
                }
                let timeout =
                    duration(&format!("{place}.webhook.timeout"), webhook.timeout.as_deref(), "10s")?;
                Target::Webhook { url: webhook.url, timeout }
            }
            (None, Some(file)) => Target::File(file.path),
            _ => return Err(refuse("give exactly one of `webhook` and `file`".into())),
        };
        checked.push(ReceiverSettings { name: receiver.name, severity, target });
    }
    Ok(checked)
}

#[cfg(test)]
mod tests;
