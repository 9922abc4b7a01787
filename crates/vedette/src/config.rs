//! Vedette's own configuration file: YAML, every key optional, unknown keys refused.
//!
//! What a person writes ([`File`]) is turned into what the program runs with ([`Settings`]) in
//! one place, where everything is checked; an error names file, line and what to do.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

/// The configuration file. Durations are written like `15s`, `5m`, `2h`, `7d`; sizes like
/// `512MiB`, `2GiB`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Address and port of the web app and all APIs. Default `127.0.0.1:9090`. Only loopback
    /// addresses are taken, as there is no authentication yet.
    pub listen: Option<String>,
    /// Folder for all data. Default `/var/lib/vedette` for root, else `~/.local/share/vedette`.
    pub data_dir: Option<PathBuf>,
    /// How facts are gathered.
    pub collect: Collect,
    /// How metrics are kept.
    pub metrics: KeepMetrics,
    /// How events are kept.
    pub events: Keep,
    /// Recording and alerting rules.
    pub rules: Rules,
    /// Detections.
    pub detections: Detections,
    /// Who is told.
    pub notify: Notify,
}

/// How facts are gathered.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Collect {
    /// Time between two readings of host and containers. Default `1s`.
    pub interval: Option<String>,
    /// Sockets of container runtimes. Default: the usual places of containerd and CRI-O.
    pub runtime_sockets: Option<Vec<PathBuf>>,
    /// `auto` reads figures of host, containers and Vedette itself, `off` does not: then only what
    /// others send is kept. Default `auto`.
    pub figures: Option<String>,
    /// `auto` loads the kernel sensor where kernel and rights allow it, `off` does not. Default `auto`.
    pub sensor: Option<String>,
}

/// How long and how many metrics are kept, when they are safe from a power failure, and who may
/// remove them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeepMetrics {
    /// Age after which samples are removed. Default `15d`.
    pub retention: Option<String>,
    /// Size above which the oldest data is removed; rollups take a quarter of it at most. Default `10GiB`.
    pub retention_size: Option<String>,
    /// What a power failure may cost at most; `always` syncs before anything is acknowledged. Default `1s`.
    pub flush_interval: Option<String>,
    /// Series that are kept for another time; the first rule that fits a series counts.
    pub retention_rules: Vec<RetentionRule>,
    /// Rows that stand for the samples of a step and stay longer than they; `[]` keeps none. Default
    /// `[{step: 5m, retention: 90d}, {step: 1h, retention: 2y}]`.
    pub rollups: Option<Vec<RollupKeep>>,
    /// Whether series can be deleted and snapshots made over HTTP, as with Prometheus'
    /// `--web.enable-admin-api`. Default false.
    pub admin_api: bool,
    /// How many series may take samples at the same time. Beyond a limit new series are refused, counted and
    /// named on the status page, while those that are there go on.
    pub limits: Limits,
}

/// What new series may take. A number of 0 means no limit.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory of all series, their index and their latest samples, as a size or as a share of the memory
    /// that this process may use. Default `25%`.
    pub memory: Option<String>,
    /// All series. Default 10,000,000.
    pub series: Option<usize>,
    /// Series of one metric name. Default 0.
    pub series_per_metric: usize,
    /// Series of one target, with the same `job` and `instance`. Default 0.
    pub series_per_target: usize,
    /// Series of one tenant, with the same value of `tenant_label`. Default 0.
    pub series_per_tenant: usize,
    /// The label that names the tenant. Default `tenant`.
    pub tenant_label: Option<String>,
}

/// A rule: which series, and how long.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    /// The series, for example `{job="node"}`.
    pub selector: String,
    /// Age after which their samples are removed, shorter or longer than `retention`; at least `10m`.
    pub keep: String,
}

impl KeepMetrics {
    /// What every store is told.
    fn keep(&self) -> Keep {
        Keep {
            retention: self.retention.clone(),
            retention_size: self.retention_size.clone(),
            flush_interval: self.flush_interval.clone(),
        }
    }
}

/// How long and how much is kept, and when it is safe from a power failure.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// Age after which data is removed. Default `7d`.
    pub retention: Option<String>,
    /// Size above which the oldest data is removed. Default `2GiB`.
    pub retention_size: Option<String>,
    /// What a power failure may cost at most; `always` syncs before anything is acknowledged. Default `1s`.
    pub flush_interval: Option<String>,
}

/// Rows for the samples of each step, made from samples that are older than a day.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollupKeep {
    /// Length of a step, in whole seconds.
    pub step: String,
    /// Age after which rows are removed.
    pub retention: String,
}

/// Recording and alerting rules.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Whether Vedette's own rules run. Default true.
    pub builtin: bool,
    /// Further rule files in Prometheus' format, relative to this file.
    pub files: Vec<PathBuf>,
    /// Time between evaluations for groups that name none. Default `5s`.
    pub evaluation_interval: Option<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { builtin: true, files: Vec::new(), evaluation_interval: None }
    }
}

/// Detections.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Detections {
    /// Whether Vedette's own detections run. Default true.
    pub builtin: bool,
    /// Further detection files (`*.md`), relative to this file.
    pub files: Vec<PathBuf>,
}

impl Default for Detections {
    fn default() -> Self {
        Self { builtin: true, files: Vec::new() }
    }
}

/// Who is told.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Notify {
    /// Where notifications go.
    pub receivers: Vec<Receiver>,
    /// How long a first notification waits for more alerts of its group. Default `5s`.
    pub group_wait: Option<String>,
    /// How long changes of a group that was told are collected. Default `30s`.
    pub group_interval: Option<String>,
    /// After how long a group that still fires is told again. Default `4h`.
    pub repeat_interval: Option<String>,
}

/// One receiver: a name and exactly one of the kinds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receiver {
    /// The name shown on the status page.
    pub name: String,
    /// The least severity that is told: `info`, `warning`, `critical`. Default `info`.
    #[serde(default)]
    pub severity: Option<String>,
    /// An HTTP endpoint that takes Alertmanager's webhook format.
    #[serde(default)]
    pub webhook: Option<Webhook>,
    /// A file to which one JSON object a line is appended.
    #[serde(default)]
    pub file: Option<FileReceiver>,
}

/// An HTTP endpoint.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// `http://` or `https://`.
    pub url: String,
    /// How long one attempt may take. Default `10s`.
    #[serde(default)]
    pub timeout: Option<String>,
}

/// A file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileReceiver {
    /// Its path, relative to the data folder.
    pub path: PathBuf,
}

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
    /// Where to listen.
    pub listen: SocketAddr,
    /// Folder for all data.
    pub data_dir: PathBuf,
    /// Between two readings.
    pub interval: Duration,
    /// Sockets of container runtimes, if named.
    pub runtime_sockets: Option<Vec<PathBuf>>,
    /// Whether figures of host, containers and Vedette itself are read.
    pub figures: bool,
    /// Whether the kernel sensor is tried.
    pub sensor: bool,
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
    /// Own rules.
    pub builtin_rules: bool,
    /// Further rule files.
    pub rule_files: Vec<PathBuf>,
    /// For groups that name none.
    pub evaluation_interval: Duration,
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

/// What the command line says; it wins over the file.
#[derive(Debug, Default)]
pub struct Overrides {
    /// `--listen`
    pub listen: Option<String>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
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
    resolve(&name, folder, parse(&name, &text)?, overrides)
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
    Ok(Settings {
        listen: address(&at("listen"), &listen)?,
        data_dir: overrides.data_dir.or(file.data_dir).unwrap_or_else(default_data_dir),
        interval,
        runtime_sockets: file.collect.runtime_sockets,
        figures: auto_or_off(&at("collect.figures"), file.collect.figures.as_deref())?,
        sensor: auto_or_off(&at("collect.sensor"), file.collect.sensor.as_deref())?,
        metrics: keep(&at("metrics"), &file.metrics.keep(), "15d", "10GiB")?,
        retention_rules: retention_rules(&at("metrics.retention_rules"), &file.metrics.retention_rules)?,
        admin_api: file.metrics.admin_api,
        limits: limits(&at("metrics.limits"), file.metrics.limits)?,
        rollups: rollups(&at("metrics.rollups"), file.metrics.rollups.as_deref())?,
        events: keep(&at("events"), &file.events, "7d", "2GiB")?,
        builtin_rules: file.rules.builtin,
        rule_files: file.rules.files.iter().map(below).collect(),
        evaluation_interval: duration(
            &at("rules.evaluation_interval"),
            file.rules.evaluation_interval.as_deref(),
            "5s",
        )?,
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
    let memory = written.memory.as_deref().unwrap_or("25%");
    let memory = match memory.strip_suffix('%') {
        Some(number) => {
            let percent = number.trim().parse().ok().filter(|p| (1..=90).contains(p));
            MemoryLimit::Percent(percent.ok_or_else(|| Error::Value {
                place: at("memory"),
                reason: format!("{memory:?} is no share; write 1% to 90%, or a size such as 512MiB"),
            })?)
        }
        None => MemoryLimit::Bytes(bytes(&at("memory"), memory)?),
    };
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

fn duration(place: &str, text: Option<&str>, default: &str) -> Result<Duration, Error> {
    let text = text.unwrap_or(default);
    parse_duration(text).filter(|d| !d.is_zero()).ok_or_else(|| Error::Value {
        place: place.to_owned(),
        reason: format!("{text:?} is no duration; write for example 500ms, 15s, 5m, 2h30m, 7d"),
    })
}

/// `1h30m` and the like, units `ms s m h d w y` from large to small as in Prometheus.
pub fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let (mut total, mut rest, mut next) = (0u64, text, 0);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_length = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = UNITS.iter().position(|(u, _)| *u == &rest[..unit_length])?;
        if unit < next {
            return None;
        }
        next = unit + 1;
        total = total.checked_add(number.checked_mul(UNITS[unit].1)?)?;
        rest = &rest[unit_length..];
    }
    Some(Duration::from_millis(total))
}

fn bytes(place: &str, text: &str) -> Result<u64, Error> {
    parse_bytes(text).filter(|b| *b > 0).ok_or_else(|| Error::Value {
        place: place.to_owned(),
        reason: format!("{text:?} is no size; write for example 512MiB, 10GiB"),
    })
}

/// `10GiB` and the like; `KB`, `MB`, … mean powers of 1024 too, as in Prometheus' flags.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let shift = match text[digits..].trim().trim_end_matches('B').trim_end_matches('i') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests;
