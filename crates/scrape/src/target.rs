//! One target: from what discovery says to labels and a URL.
//!
//! The labels that begin with two underscores say how it is scraped: rules of the job can change
//! each of them, for each target. What begins with `__meta_` is gone afterwards.

use std::time::Duration;

use url::Url;
use vedette_config::{parse_duration, prometheus::ScrapeJob, show_duration};
use vedette_model::{ADDRESS_LABEL, Labels, LabelsBuilder, relabel};

const META: &str = "__meta_";
const PARAM: &str = "__param_";
const SCHEME: &str = "__scheme__";
const PATH: &str = "__metrics_path__";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const NATIVE: &str = "__scrape_native_histograms__";
const CLASSIC: &str = "__always_scrape_classic_histograms__";
const CONVERT: &str = "__convert_classic_histograms_to_nhcb__";

/// What tells targets of a job apart: labels and URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(u64);

impl TargetId {
    /// The number, equal on every machine and in every release.
    pub fn number(self) -> u64 {
        self.0
    }

    /// What tells the target apart from those of other jobs, too.
    pub fn in_job(self, job: &str) -> Self {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        hasher.update(&self.0.to_le_bytes());
        hasher.update(job.as_bytes());
        Self(hasher.digest())
    }
}

/// A target that is scraped.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// What tells it from others.
    pub id: TargetId,
    /// Labels before the rules of the job.
    pub discovered: Labels,
    /// Labels of its series: those after the rules that do not begin with two underscores.
    pub labels: Labels,
    /// What is asked.
    pub url: Url,
    /// Time between two scrapes.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// Whether native histograms are scraped.
    pub scrape_native_histograms: bool,
    /// Whether the classic form is scraped beside a native one.
    pub always_scrape_classic_histograms: bool,
    /// Whether classic histograms are turned into native ones with custom buckets.
    pub convert_classic_histograms_to_nhcb: bool,
}

/// Why what was discovered cannot be scraped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// There is no address.
    #[error("the target has no {ADDRESS_LABEL}; discovery or a rule must set it")]
    NoAddress,
    /// The address is none.
    #[error("{address:?} is not a valid hostname; {ADDRESS_LABEL} is host:port without scheme and path")]
    Address {
        /// What was found.
        address: String,
    },
    /// A label that says how the target is scraped has no usable value.
    #[error("the label {label} is {value:?}; {reason}")]
    Label {
        /// The label.
        label: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        reason: &'static str,
    },
}

impl Target {
    /// Makes a target of what was discovered, or `None` where a rule of the job drops it.
    pub fn new(job: &ScrapeJob, found: &Labels) -> Result<Option<Self>, TargetError> {
        let mut labels = discovered(job, found);
        let discovered = labels.build();
        if !relabel(&job.relabel, &mut labels) {
            return Ok(None);
        }
        let address = labels.get(ADDRESS_LABEL).unwrap_or_default().to_owned();
        if address.is_empty() {
            return Err(TargetError::NoAddress);
        }
        if address.contains('/') {
            return Err(TargetError::Address { address });
        }
        let interval = duration(&labels, INTERVAL)?;
        let timeout = duration(&labels, TIMEOUT)?;
        if timeout > interval {
            let value = labels.get(TIMEOUT).unwrap_or_default().to_owned();
            let reason = "it must not be greater than __scrape_interval__";
            return Err(TargetError::Label { label: TIMEOUT, value, reason });
        }
        if labels.get("instance").is_none() {
            labels.set("instance", &address);
        }
        labels.retain(|name, _| !name.starts_with(META));
        let url = url(job, &labels, &address)?;
        let native = flag(&labels, NATIVE)?;
        let classic = flag(&labels, CLASSIC)?;
        let convert = flag(&labels, CONVERT)?;
        let id = id(&labels.build(), &url);
        labels.retain(|name, _| !name.starts_with("__"));
        Ok(Some(Self {
            id,
            discovered,
            labels: labels.build(),
            url,
            interval,
            timeout,
            scrape_native_histograms: native,
            always_scrape_classic_histograms: classic,
            convert_classic_histograms_to_nhcb: convert,
        }))
    }
}

/// What was found, with what the job says of the scrape where nothing else does.
fn discovered(job: &ScrapeJob, found: &Labels) -> LabelsBuilder {
    let mut labels = found.to_builder();
    let (interval, timeout) = (show_duration(job.scrape_interval), show_duration(job.scrape_timeout));
    let truth = |flag: bool| if flag { "true" } else { "false" };
    for (name, value) in [
        ("job", job.name.as_str()),
        (INTERVAL, &interval),
        (TIMEOUT, &timeout),
        (PATH, &job.metrics_path),
        (SCHEME, &job.scheme),
        (NATIVE, truth(job.scrape_native_histograms)),
        (CLASSIC, truth(job.always_scrape_classic_histograms)),
        (CONVERT, truth(job.convert_classic_histograms_to_nhcb)),
    ] {
        if labels.get(name).is_none() {
            labels.set(name, value);
        }
    }
    for (name, values) in &job.params {
        let label = format!("{PARAM}{name}");
        if let Some(first) = values.first().filter(|_| labels.get(&label).is_none()) {
            labels.set(&label, first);
        }
    }
    labels
}

fn duration(labels: &LabelsBuilder, label: &'static str) -> Result<Duration, TargetError> {
    let value = labels.get(label).unwrap_or_default();
    parse_duration(value).filter(|d| !d.is_zero()).ok_or_else(|| TargetError::Label {
        label,
        value: value.to_owned(),
        reason: "write a duration above zero, for example 15s",
    })
}

fn flag(labels: &LabelsBuilder, label: &'static str) -> Result<bool, TargetError> {
    match labels.get(label).unwrap_or_default() {
        "" | "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        other => Err(TargetError::Label { label, value: other.to_owned(), reason: "write true or false" }),
    }
}

/// Scheme, address and path by labels; of each parameter the first value by its label, further ones as
/// the job has them. In order of the names.
fn url(job: &ScrapeJob, labels: &LabelsBuilder, address: &str) -> Result<Url, TargetError> {
    let scheme = labels.get(SCHEME).unwrap_or_default();
    if !matches!(scheme, "http" | "https") {
        let reason = "use http or https";
        return Err(TargetError::Label { label: SCHEME, value: scheme.to_owned(), reason });
    }
    let mut url = Url::parse(&format!("{scheme}://{address}"))
        .ok()
        .filter(|url| url.username().is_empty() && url.query().is_none() && url.fragment().is_none())
        .ok_or_else(|| TargetError::Address { address: address.to_owned() })?;
    url.set_path(labels.get(PATH).unwrap_or_default());
    let mut params: Vec<(&str, Vec<&str>)> = job
        .params
        .iter()
        .map(|(name, values)| (name.as_str(), values.iter().map(String::as_str).collect()))
        .collect();
    for (label, value) in labels.iter() {
        let Some(name) = label.strip_prefix(PARAM) else { continue };
        match params.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) if !values.is_empty() => values[0] = value,
            Some((_, values)) => values.push(value),
            None => params.push((name, vec![value])),
        }
    }
    params.sort();
    let pairs = params.iter().flat_map(|(name, values)| values.iter().map(move |value| (*name, *value)));
    if pairs.clone().next().is_some() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    Ok(url)
}

fn id(labels: &Labels, url: &Url) -> TargetId {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    hasher.update(labels.as_key().as_bytes());
    hasher.update(url.as_str().as_bytes());
    TargetId(hasher.digest())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::tests::job;

    fn found(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied())
    }

    fn target(job: &ScrapeJob, pairs: &[(&str, &str)]) -> Target {
        Target::new(job, &found(pairs)).expect("usable").expect("kept")
    }

    #[test]
    fn a_target_has_what_the_job_says() {
        let job =
            job("metrics_path: /m\n  scheme: https\n  params: {a: [x, y], b: []}\n  scrape_interval: 90s");
        let target = target(&job, &[("__address__", "h:1"), ("__meta_x", "1"), ("l", "v")]);
        assert_eq!(target.url.as_str(), "https://h:1/m?a=x&a=y");
        assert_eq!(target.labels, found(&[("instance", "h:1"), ("job", "test"), ("l", "v")]));
        assert_eq!((target.interval, target.timeout), (Duration::from_secs(90), Duration::from_secs(10)));
        assert_eq!(target.discovered.get("__meta_x"), Some("1"));
        assert_eq!(target.discovered.get("__scrape_interval__"), Some("1m30s"));
        assert!(!target.scrape_native_histograms);
    }

    #[test]
    fn labels_change_how_it_is_scraped() {
        let job = job(
            "params: {a: [x, y]}\n  relabel_configs:\n  - {source_labels: [__meta_i], target_label: __scrape_interval__}\n  \
             - {source_labels: [__meta_i], target_label: __scrape_timeout__}\n  \
             - {target_label: __param_a, replacement: 'z w'}\n  - {target_label: __param_c, replacement: q}\n  \
             - {target_label: instance, replacement: i}\n  - {target_label: __scrape_native_histograms__, replacement: '1'}\n  \
             - {target_label: __metrics_path__, replacement: p}\n  - {source_labels: [drop], regex: '1', action: drop}",
        );
        let target = target(&job, &[("__address__", "[::1]:9"), ("__meta_i", "5s"), ("job", "own")]);
        assert_eq!(target.url.as_str(), "http://[::1]:9/p?a=z+w&a=y&c=q");
        assert_eq!(target.labels, found(&[("instance", "i"), ("job", "own")]));
        assert_eq!((target.interval, target.timeout), (Duration::from_secs(5), Duration::from_secs(5)));
        assert!(target.scrape_native_histograms);
        assert_eq!(Target::new(&job, &found(&[("__address__", "a"), ("drop", "1")])), Ok(None));
    }

    #[test]
    fn what_cannot_be_scraped_is_named() {
        let plain = job("scrape_interval: 15s");
        for (pairs, word) in [
            (&[("x", "y")][..], "__address__"),
            (&[("__address__", "http://a")], "http://a"),
            (&[("__address__", "a b")], "a b"),
            (&[("__address__", "a:99999")], "a:99999"),
            (&[("__address__", "u@a")], "u@a"),
            (&[("__address__", "a?b")], "a?b"),
            (&[("__address__", "a"), ("__scheme__", "ftp")], "ftp"),
            (&[("__address__", "a"), ("__scrape_interval__", "0s")], "__scrape_interval__"),
            (&[("__address__", "a"), ("__scrape_timeout__", "x")], "__scrape_timeout__"),
            (&[("__address__", "a"), ("__scrape_timeout__", "20s")], "greater"),
            (&[("__address__", "a"), ("__scrape_native_histograms__", "maybe")], "maybe"),
        ] {
            let error = Target::new(&plain, &found(pairs)).expect_err(word).to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn the_id_is_of_labels_and_url() {
        let job = job("scrape_interval: 15s");
        let id = |pairs: &[(&str, &str)]| target(&job, pairs).id;
        let base = id(&[("__address__", "a:1")]);
        assert_eq!(base, id(&[("__address__", "a:1"), ("__meta_x", "gone")]));
        assert_ne!(base, id(&[("__address__", "a:2")]));
        assert_ne!(base, id(&[("__address__", "a:1"), ("l", "v")]));
        assert_ne!(base, id(&[("__address__", "a:1"), ("__metrics_path__", "/x")]));
    }
}
