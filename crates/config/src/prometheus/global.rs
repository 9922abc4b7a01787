//! The section `global`: what holds for all jobs that do not say otherwise.

use std::{path::PathBuf, time::Duration};

use vedette_model::{Labels, NameScheme};

use crate::{
    fields::{Fields, Result},
    shown::Shown,
};

use super::{
    expand::expand,
    scrape::{EscapingScheme, ScrapeLimits, ScrapeProtocol, protocols},
};

/// What holds for all.
#[derive(Debug, Clone, PartialEq)]
pub struct Global {
    /// Time between two scrapes of a target.
    pub scrape_interval: Duration,
    /// How long one may take.
    pub scrape_timeout: Duration,
    /// The formats that targets are asked for, the best first, where they are given.
    pub scrape_protocols: Option<Vec<ScrapeProtocol>>,
    /// Time between two evaluations of rules.
    pub evaluation_interval: Duration,
    /// How far back rules look.
    pub rule_query_offset: Duration,
    /// Where queries are logged.
    pub query_log_file: Option<PathBuf>,
    /// Where failed scrapes are logged.
    pub scrape_failure_log_file: Option<PathBuf>,
    /// Labels of whatever leaves this server.
    pub external_labels: Labels,
    /// Limits of a scrape.
    pub limits: ScrapeLimits,
    /// Which names are taken.
    pub name_scheme: NameScheme,
    /// How names are asked for, where it is given.
    pub escaping: Option<EscapingScheme>,
    /// Whether native histograms are scraped.
    pub scrape_native_histograms: bool,
    /// Whether classic histograms are turned into native ones with custom buckets.
    pub convert_classic_histograms_to_nhcb: bool,
    /// Whether the classic form is scraped beside a native one.
    pub always_scrape_classic_histograms: bool,
    /// Whether each scrape has further series about itself.
    pub extra_scrape_metrics: bool,
}

impl Global {
    pub(super) fn read(fields: &mut Fields<'_>, env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        const MINUTE: Duration = Duration::from_secs(60);
        const TEN_SECONDS: Duration = Duration::from_secs(10);
        let name_scheme = name_scheme(fields, NameScheme::Utf8)?;
        let scrape_interval = fields.duration_set("scrape_interval", MINUTE)?;
        let scrape_timeout = fields.duration_set("scrape_timeout", TEN_SECONDS.min(scrape_interval))?;
        if scrape_timeout > scrape_interval {
            let reason = "the global scrape timeout is greater than the scrape interval";
            return Err(fields.refuse("scrape_timeout", reason));
        }
        let limits = ScrapeLimits::default();
        Ok(Self {
            scrape_interval,
            scrape_timeout,
            scrape_protocols: protocols(fields)?,
            evaluation_interval: fields.duration_set("evaluation_interval", MINUTE)?,
            rule_query_offset: fields.duration("rule_query_offset", Duration::ZERO)?,
            query_log_file: fields.path("query_log_file")?,
            scrape_failure_log_file: fields.path("scrape_failure_log_file")?,
            external_labels: external_labels(fields, name_scheme, env)?,
            limits: ScrapeLimits::read(fields, &limits)?,
            name_scheme,
            escaping: EscapingScheme::read(fields)?,
            scrape_native_histograms: fields.flag("scrape_native_histograms", false)?,
            convert_classic_histograms_to_nhcb: fields.flag("convert_classic_histograms_to_nhcb", false)?,
            always_scrape_classic_histograms: fields.flag("always_scrape_classic_histograms", false)?,
            extra_scrape_metrics: fields.flag("extra_scrape_metrics", false)?,
        })
    }
}

/// Reads the scheme by which names are checked.
pub(super) fn name_scheme(fields: &mut Fields<'_>, default: NameScheme) -> Result<NameScheme> {
    const KEY: &str = "metric_name_validation_scheme";
    match fields.text_or(KEY, default.as_str())?.as_str() {
        "" => Ok(default),
        "utf8" => Ok(NameScheme::Utf8),
        "legacy" => Ok(NameScheme::Legacy),
        other => Err(fields.refuse(KEY, format!("unknown scheme {other:?}; use utf8 or legacy"))),
    }
}

fn external_labels(
    fields: &mut Fields<'_>,
    scheme: NameScheme,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Labels> {
    const KEY: &str = "external_labels";
    let mut labels = fields.label_map(KEY, scheme)?;
    for (_, value) in &mut labels {
        *value = expand(value, env);
    }
    if !labels.is_empty() {
        let pairs = labels.iter().map(|(name, value)| (name.clone(), Shown::Text(value.clone())));
        let pairs = Shown::Map(pairs.collect());
        fields.replace_shown(KEY, pairs);
    }
    Ok(Labels::from_pairs(labels))
}
