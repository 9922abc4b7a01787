//! The section `scrape_configs`: jobs, each with its targets and how they are scraped.

use std::{path::PathBuf, time::Duration};

use vedette_model::{NameScheme, RelabelRule};

use crate::{
    HttpClient,
    discovery::{self, Discovery},
    fields::{Fields, Result},
    relabel,
};

use super::global::{Global, name_scheme};

/// A job.
#[derive(Debug, Clone, PartialEq)]
pub struct ScrapeJob {
    /// Its name, unique.
    pub name: String,
    /// Whether labels of the target go before ours of the same name.
    pub honor_labels: bool,
    /// Whether times that the target tells are taken.
    pub honor_timestamps: bool,
    /// Whether series with such times end when they are gone, too.
    pub track_timestamps_staleness: bool,
    /// Parameters of the URL.
    pub params: Vec<(String, Vec<String>)>,
    /// Time between two scrapes.
    pub scrape_interval: Duration,
    /// How long one may take; not longer than the interval.
    pub scrape_timeout: Duration,
    /// The formats that are asked for, the best first; not empty.
    pub scrape_protocols: Vec<ScrapeProtocol>,
    /// The format of targets that do not tell theirs.
    pub fallback_scrape_protocol: Option<ScrapeProtocol>,
    /// Whether native histograms are scraped.
    pub scrape_native_histograms: bool,
    /// Whether the classic form is scraped beside a native one.
    pub always_scrape_classic_histograms: bool,
    /// Whether classic histograms are turned into native ones with custom buckets.
    pub convert_classic_histograms_to_nhcb: bool,
    /// Whether each scrape has further series about itself.
    pub extra_scrape_metrics: bool,
    /// Where failed scrapes are logged.
    pub scrape_failure_log_file: Option<PathBuf>,
    /// The path of the URL.
    pub metrics_path: String,
    /// Its scheme.
    pub scheme: String,
    /// Whether a compressed answer is asked for.
    pub enable_compression: bool,
    /// Limits.
    pub limits: ScrapeLimits,
    /// Buckets of a native histogram; above, its resolution is lowered. 0 is no limit.
    pub native_histogram_bucket_limit: u64,
    /// The least factor between buckets of native histograms; finer ones are merged.
    pub native_histogram_min_bucket_factor: f64,
    /// Which names are taken.
    pub name_scheme: NameScheme,
    /// How names are asked for.
    pub escaping: EscapingScheme,
    /// Where the targets come from.
    pub discoveries: Vec<Discovery>,
    /// How they are reached.
    pub client: HttpClient,
    /// Rules for targets.
    pub relabel: Vec<RelabelRule>,
    /// Rules for series.
    pub metric_relabel: Vec<RelabelRule>,
    /// The file that the job stands in.
    pub file: String,
    /// The line where it begins.
    pub line: usize,
}

/// Limits of one scrape, 0 for none. A scrape beyond one fails as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScrapeLimits {
    /// Bytes of an answer, uncompressed.
    pub body_bytes: u64,
    /// Samples after relabelling.
    pub samples: u64,
    /// Targets of the job.
    pub targets: u64,
    /// Labels of a series.
    pub labels: u64,
    /// Bytes of a label name.
    pub label_name_bytes: u64,
    /// Bytes of a label value.
    pub label_value_bytes: u64,
    /// Dropped targets that are remembered to be shown.
    pub dropped_targets: u64,
}

impl ScrapeLimits {
    /// Reads limits; those that are not given or 0 are the default ones.
    pub(super) fn read(fields: &mut Fields<'_>, default: &Self) -> Result<Self> {
        let body_default = i64::try_from(default.body_bytes).unwrap_or(i64::MAX);
        let body = fields.size("body_size_limit", body_default)?;
        let body = if body == 0 { body_default } else { body };
        let mut count = |key: &str, default: u64| match fields.count(key, default)? {
            0 => Ok(default),
            given => Ok(given),
        };
        Ok(Self {
            body_bytes: u64::try_from(body).unwrap_or(0),
            samples: count("sample_limit", default.samples)?,
            targets: count("target_limit", default.targets)?,
            labels: count("label_limit", default.labels)?,
            label_name_bytes: count("label_name_length_limit", default.label_name_bytes)?,
            label_value_bytes: count("label_value_length_limit", default.label_value_bytes)?,
            dropped_targets: count("keep_dropped_targets", default.dropped_targets)?,
        })
    }
}

/// A format of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScrapeProtocol {
    /// Protocol Buffers, one message a family, each with its length before it.
    PrometheusProto,
    /// Prometheus text 0.0.4.
    PrometheusText004,
    /// Prometheus text 1.0.0.
    PrometheusText100,
    /// OpenMetrics 0.0.1.
    OpenMetricsText001,
    /// OpenMetrics 1.0.0.
    OpenMetricsText100,
}

const PROTOCOLS: [(&str, ScrapeProtocol); 5] = [
    ("OpenMetricsText0.0.1", ScrapeProtocol::OpenMetricsText001),
    ("OpenMetricsText1.0.0", ScrapeProtocol::OpenMetricsText100),
    ("PrometheusProto", ScrapeProtocol::PrometheusProto),
    ("PrometheusText0.0.4", ScrapeProtocol::PrometheusText004),
    ("PrometheusText1.0.0", ScrapeProtocol::PrometheusText100),
];

/// What targets are asked for where nobody says.
const TEXT_FIRST: [ScrapeProtocol; 4] = [
    ScrapeProtocol::OpenMetricsText100,
    ScrapeProtocol::OpenMetricsText001,
    ScrapeProtocol::PrometheusText100,
    ScrapeProtocol::PrometheusText004,
];

impl ScrapeProtocol {
    /// The word in configuration files.
    pub fn as_str(self) -> &'static str {
        PROTOCOLS.iter().find(|(_, protocol)| *protocol == self).map_or("", |(word, _)| word)
    }

    fn parse(fields: &Fields<'_>, key: &str, word: &str) -> Result<Self> {
        PROTOCOLS.iter().find(|(known, _)| *known == word).map(|(_, protocol)| *protocol).ok_or_else(|| {
            let words = PROTOCOLS.map(|(word, _)| word).join(" ");
            fields.refuse(key, format!("unknown scrape protocol {word}, supported: [{words}]"))
        })
    }
}

/// Reads a list of formats, where it is given.
pub(super) fn protocols(fields: &mut Fields<'_>) -> Result<Option<Vec<ScrapeProtocol>>> {
    const KEY: &str = "scrape_protocols";
    if !fields.has(KEY) {
        return Ok(None);
    }
    let words = fields.texts(KEY)?;
    if words.is_empty() {
        return Err(fields.refuse(KEY, "scrape_protocols cannot be empty; name one or remove the key"));
    }
    let mut protocols = Vec::with_capacity(words.len());
    for word in &words {
        let protocol = ScrapeProtocol::parse(fields, KEY, word)?;
        if protocols.contains(&protocol) {
            return Err(fields.refuse(KEY, format!("duplicated protocol {word} in scrape_protocols")));
        }
        protocols.push(protocol);
    }
    Ok(Some(protocols))
}

/// How a target is asked to write names that not everybody can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EscapingScheme {
    /// As they are.
    AllowUtf8,
    /// With underscores for what is not a letter of old.
    Underscores,
    /// So that the name can be had back, dots as `_dot_`.
    Dots,
    /// So that the name can be had back, by numbers.
    Values,
}

const ESCAPINGS: [(&str, EscapingScheme); 4] = [
    ("allow-utf-8", EscapingScheme::AllowUtf8),
    ("underscores", EscapingScheme::Underscores),
    ("dots", EscapingScheme::Dots),
    ("values", EscapingScheme::Values),
];

const ESCAPING: &str = "metric_name_escaping_scheme";

impl EscapingScheme {
    /// The word in configuration files and in `Accept` headers.
    pub fn as_str(self) -> &'static str {
        ESCAPINGS.iter().find(|(_, scheme)| *scheme == self).map_or("", |(word, _)| word)
    }

    /// What goes with a scheme of names.
    fn of(scheme: NameScheme) -> Self {
        match scheme {
            NameScheme::Utf8 => Self::AllowUtf8,
            NameScheme::Legacy => Self::Underscores,
        }
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Option<Self>> {
        let word = fields.text_or(ESCAPING, "")?;
        if word.is_empty() {
            return Ok(None);
        }
        match ESCAPINGS.iter().find(|(known, _)| *known == word) {
            Some((_, scheme)) => Ok(Some(*scheme)),
            None => {
                let words = ESCAPINGS.map(|(word, _)| word).join(", ");
                Err(fields.refuse(ESCAPING, format!("unknown escaping scheme {word:?}; use one of {words}")))
            }
        }
    }
}

impl ScrapeJob {
    pub(super) fn read(fields: &mut Fields<'_>, global: &Global) -> Result<Self> {
        let name = fields.text_or("job_name", "")?;
        let discoveries = discovery::read(fields)?;
        if name.is_empty() {
            return Err(fields.refuse("job_name", "job_name is empty; every job needs a name"));
        }
        let scrape_interval = fields.duration_set("scrape_interval", global.scrape_interval)?;
        let scrape_timeout =
            fields.duration_set("scrape_timeout", global.scrape_timeout.min(scrape_interval))?;
        if scrape_timeout > scrape_interval {
            let reason =
                format!("the scrape timeout of the job {name:?} is greater than its scrape interval");
            return Err(fields.refuse("scrape_timeout", reason));
        }
        let scrape_native_histograms =
            fields.flag("scrape_native_histograms", global.scrape_native_histograms)?;
        let is_local = !fields.text_is_empty("metric_name_validation_scheme");
        let scheme_of_names = name_scheme(fields, global.name_scheme)?;
        let escaping = escaping(fields, global, scheme_of_names, is_local)?;
        let scrape_protocols = protocols(fields)?
            .or_else(|| global.scrape_protocols.clone())
            .unwrap_or_else(|| by_default(scrape_native_histograms));
        let fallback = "fallback_scrape_protocol";
        let fallback_scrape_protocol = match fields.text_or(fallback, "")?.as_str() {
            "" => None,
            word => Some(ScrapeProtocol::parse(fields, fallback, word)?),
        };
        let relabel = relabel::rules(fields, "relabel_configs", "a target relabeling rule", scheme_of_names)?;
        if relabel.is_empty() {
            discovery::check_static_addresses(fields, &discoveries)?;
        }
        let (file, line) = (fields.source().file.to_owned(), fields.line());
        Ok(Self {
            name,
            honor_labels: fields.switch("honor_labels", false)?,
            honor_timestamps: fields.flag("honor_timestamps", true)?,
            track_timestamps_staleness: fields.flag("track_timestamps_staleness", false)?,
            params: fields.texts_map("params")?,
            scrape_interval,
            scrape_timeout,
            scrape_protocols,
            fallback_scrape_protocol,
            scrape_native_histograms,
            always_scrape_classic_histograms: fields
                .flag("always_scrape_classic_histograms", global.always_scrape_classic_histograms)?,
            convert_classic_histograms_to_nhcb: fields
                .flag("convert_classic_histograms_to_nhcb", global.convert_classic_histograms_to_nhcb)?,
            extra_scrape_metrics: fields.flag("extra_scrape_metrics", global.extra_scrape_metrics)?,
            scrape_failure_log_file: fields
                .path("scrape_failure_log_file")?
                .or_else(|| global.scrape_failure_log_file.clone()),
            metrics_path: fields.text_or("metrics_path", "/metrics")?,
            scheme: fields.text_or("scheme", "http")?,
            enable_compression: fields.flag("enable_compression", true)?,
            limits: ScrapeLimits::read(fields, &global.limits)?,
            native_histogram_bucket_limit: fields.count("native_histogram_bucket_limit", 0)?,
            native_histogram_min_bucket_factor: fields.float("native_histogram_min_bucket_factor", 0.0)?,
            name_scheme: scheme_of_names,
            escaping,
            discoveries,
            client: HttpClient::read(fields)?,
            relabel,
            metric_relabel: relabel::rules(
                fields,
                "metric_relabel_configs",
                "a metric relabeling rule",
                scheme_of_names,
            )?,
            file,
            line,
        })
    }
}

fn by_default(native_histograms: bool) -> Vec<ScrapeProtocol> {
    let first = native_histograms.then_some(ScrapeProtocol::PrometheusProto);
    first.into_iter().chain(TEXT_FIRST).collect()
}

fn escaping(
    fields: &mut Fields<'_>,
    global: &Global,
    scheme: NameScheme,
    is_local: bool,
) -> Result<EscapingScheme> {
    let by_global = || global.escaping.unwrap_or(EscapingScheme::of(global.name_scheme));
    let given = EscapingScheme::read(fields)?;
    let escaping = given.unwrap_or_else(|| if is_local { EscapingScheme::of(scheme) } else { by_global() });
    if escaping == EscapingScheme::AllowUtf8 && scheme != NameScheme::Utf8 {
        let reason = "utf8 metric names are asked for (allow-utf-8), but the validation scheme is not utf8; \
                      change metric_name_validation_scheme or metric_name_escaping_scheme";
        return Err(fields.refuse(ESCAPING, reason));
    }
    Ok(escaping)
}
