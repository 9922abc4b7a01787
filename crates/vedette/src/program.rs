//! What `vedette up` says over HTTP of how it was started, and how it is told to end.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::sync::watch;
use vedette_api::{Alertmanagers, Job, Program, Reload};
use vedette_ingest::DeltaHandling;
use vedette_model::{Labels, TargetReader};

use crate::{
    config::{KeepSettings, MemoryLimit, ReceiverSettings, Settings, Target},
    prometheus_file::{OwnJob, PrometheusFile},
    up::prometheus::Prometheus,
};

/// A running Vedette. Its own configuration is read once, `prometheus.yml` again when it changes.
pub struct Own {
    settings: Settings,
    prometheus: Option<Arc<Prometheus>>,
    started_ns: i64,
    stop: watch::Sender<bool>,
}

impl Own {
    /// Sends to `stop` when it is asked to end.
    pub fn new(
        settings: &Settings,
        started_ns: i64,
        stop: watch::Sender<bool>,
        prometheus: Option<Arc<Prometheus>>,
    ) -> Self {
        Self { settings: settings.clone(), prometheus, started_ns, stop }
    }

    /// How the targets of scrape jobs are, where there can be any.
    pub fn targets(&self) -> Option<Arc<dyn TargetReader>> {
        self.prometheus.as_ref().map(|prometheus| prometheus.scraper.clone() as _)
    }

    /// The labels that name this server to others, as `prometheus.yml` has them now.
    pub fn external_labels(&self) -> Labels {
        let of_file =
            |file: &PrometheusFile| file.with_config(|config| config.global.external_labels.clone());
        self.file().map_or_else(Labels::empty, of_file)
    }

    /// `prometheus.yml`, where there is one.
    fn file(&self) -> Option<&PrometheusFile> {
        self.prometheus.as_ref()?.file.as_deref()
    }
}

impl Program for Own {
    fn config_yaml(&self) -> String {
        if let Some(file) = self.file() {
            return file.to_yaml();
        }
        serde_saphyr::to_string(&shown(&self.settings)).expect("BUG: JSON values are YAML")
    }

    fn flags(&self) -> Vec<(String, String)> {
        let s = &self.settings;
        let path =
            |file: &Option<PathBuf>| file.as_ref().map_or_else(String::new, |f| f.display().to_string());
        // By Prometheus' names its own file is the one that it was started with.
        let config_file = if s.prometheus_config.is_some() { &s.prometheus_config } else { &s.file };
        let spool = if s.agent { s.data_dir.join("remote").display().to_string() } else { String::new() };
        let prefix = if s.route_prefix.is_empty() { "/" } else { &s.route_prefix };
        let mut flags = vec![
            ("agent", s.agent.to_string()),
            ("config.file", path(config_file)),
            ("query.lookback-delta", time(s.query.lookback)),
            ("query.max-concurrency", s.query.concurrency.to_string()),
            ("query.max-samples", s.query.samples.to_string()),
            ("query.timeout", time(s.query.timeout)),
            ("storage.tsdb.path", s.data_dir.join("metrics").display().to_string()),
            ("storage.tsdb.retention.size", size(s.metrics.retention_bytes)),
            ("storage.tsdb.retention.time", time(s.metrics.retention)),
            ("web.config.file", path(&s.web_config)),
            ("web.cors.origin", s.origins.text().unwrap_or_default().to_owned()),
            ("web.enable-admin-api", s.admin_api.to_string()),
            ("web.enable-lifecycle", s.lifecycle.to_string()),
            ("web.external-url", crate::up::external_url(s)),
            ("web.listen-address", s.listen.to_string()),
            ("web.route-prefix", prefix.to_owned()),
        ];
        if s.agent {
            flags.retain(|(name, _)| !name.starts_with("query.") && !name.starts_with("storage.tsdb."));
            flags.push(("storage.agent.path", spool));
        }
        flags.sort_unstable();
        flags.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn last_reload(&self) -> Reload {
        let Some(file) = self.file() else {
            return Reload { succeeded: true, time_ns: self.started_ns, error: String::new() };
        };
        let last = file.last();
        Reload { succeeded: last.error.is_empty(), time_ns: last.success_unix_ns, error: last.error }
    }

    fn job(&self, name: &str) -> Option<Job> {
        let prometheus = self.prometheus.as_ref()?;
        let problems = || prometheus.discovery.problems(name);
        if let Some(OwnJob { job, yaml }) = prometheus.scraping.own_job(name) {
            return Some(Job { rules: job.relabel, yaml, problems: problems() });
        }
        self.file()?.with_config(|config| {
            let job = config.scrape_jobs.iter().find(|job| job.name == name)?;
            let yaml = config.job_to_yaml(name).unwrap_or_default();
            Some(Job { rules: job.relabel.clone(), yaml, problems: problems() })
        })
    }

    fn alertmanagers(&self) -> Alertmanagers {
        let Some(prometheus) = &self.prometheus else { return Alertmanagers::default() };
        let addresses = prometheus.alertmanagers.addresses();
        Alertmanagers { active: addresses.active, dropped: addresses.dropped }
    }

    fn reload(&self) -> Result<(), String> {
        match self.file() {
            Some(file) => file.reload(),
            None => {
                Err("there is no prometheus.yml to read again; Vedette's own configuration is read when it \
                         starts"
                    .to_owned())
            }
        }
    }

    fn quit(&self) {
        tracing::info!("ends because it was asked to over HTTP");
        self.stop.send_replace(true);
    }

    fn retention(&self) -> String {
        let keep = &self.settings.metrics;
        format!("{} or {}", time(keep.retention), size(keep.retention_bytes))
    }
}

/// The configuration by its keys, with all defaults. The addresses of receivers are left out but for
/// their hosts: who has such an address can send to it.
fn shown(s: &Settings) -> Value {
    let rollup =
        |r: &crate::config::RollupSettings| json!({"step": time(r.step), "retention": time(r.retention)});
    let rule = |r: &vedette_tsdb::RetentionRule| {
        let matchers: Vec<String> = r.matchers.iter().map(ToString::to_string).collect();
        let keep = Duration::from_millis(r.retention_ms.unsigned_abs());
        json!({"selector": format!("{{{}}}", matchers.join(",")), "keep": time(keep)})
    };
    let word = |on: bool| if on { "auto" } else { "off" };
    let mut metrics = keep(&s.metrics);
    metrics.extend([
        ("retention_rules", s.retention_rules.iter().map(rule).collect()),
        ("rollups", s.rollups.iter().map(rollup).collect()),
        ("admin_api", s.admin_api.into()),
        (
            "limits",
            json!({
                "memory": memory(s.limits.memory),
                "series": s.limits.series,
                "series_per_metric": s.limits.series_per_metric,
                "series_per_target": s.limits.series_per_target,
                "series_per_tenant": s.limits.series_per_tenant,
                "tenant_label": s.limits.tenant_label,
            }),
        ),
    ]);
    let query = &s.query;
    json!({
        "listen": s.listen.to_string(),
        "web_config": s.web_config,
        "external_url": s.external_url,
        "cors_origin": s.origins.text(),
        "lifecycle_api": s.lifecycle,
        "data_dir": s.data_dir,
        "collect": {
            "interval": time(s.interval),
            "runtime_sockets": s.runtime_sockets,
            "figures": word(s.figures),
            "sensor": word(s.sensor),
        },
        "metrics": metrics,
        "events": keep(&s.events),
        "receive": {
            "graphite": { "listen": s.graphite.map(|address| address.to_string()) },
            "otlp": { "delta": delta(s.otlp_delta) },
        },
        "query": {
            "timeout": time(query.timeout),
            "max_concurrency": query.concurrency,
            "max_concurrency_per_client": query.concurrency_per_client,
            "threads": query.threads,
            "max_waiting": query.waiting,
            "max_waiting_per_client": query.waiting_per_client,
            "max_samples": query.samples,
            "memory": size(query.memory),
            "total_memory": memory(query.total_memory),
            "max_answer_size": size(query.answer_size as u64),
            "lookback_delta": time(query.lookback),
            "cache": if query.cache == 0 { "off".to_owned() } else { size(query.cache as u64) },
            "slow": time(query.slow),
            "log_file": query.log_file,
        },
        "rules": {
            "builtin": s.builtin_rules,
            "files": s.rule_files,
            "evaluation_interval": time(s.evaluation_interval),
            "query_timeout": time(s.rule_query_timeout),
        },
        "detections": { "builtin": s.builtin_detections, "files": s.detection_files },
        "notify": {
            "receivers": s.receivers.iter().map(receiver).collect::<Vec<_>>(),
            "group_wait": time(s.group_wait),
            "group_interval": time(s.group_interval),
            "repeat_interval": time(s.repeat_interval),
        },
    })
}

fn delta(handling: DeltaHandling) -> &'static str {
    match handling {
        DeltaHandling::Refused => "refuse",
        DeltaHandling::Stored => "store",
        DeltaHandling::Converted => "convert",
    }
}

fn keep(keep: &KeepSettings) -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        ("retention", time(keep.retention).into()),
        ("retention_size", size(keep.retention_bytes).into()),
        ("flush_interval", keep.flush_interval.map_or_else(|| "always".to_owned(), time).into()),
    ])
}

fn receiver(receiver: &ReceiverSettings) -> Value {
    let (name, severity) = (&receiver.name, receiver.severity.as_str());
    match &receiver.target {
        Target::File(path) => json!({"name": name, "severity": severity, "file": {"path": path}}),
        Target::Webhook { url, timeout } => {
            let host = url.find("://").map_or(0, |at| at + 3);
            let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
            // A user and password stand before the host.
            let begin = url[host..end].rfind('@').map_or(host, |at| host + at + 1);
            let url = format!("{}{}/<secret>", &url[..host], &url[begin..end]);
            json!({"name": name, "severity": severity, "webhook": {"url": url, "timeout": time(*timeout)}})
        }
    }
}

/// The largest units first, as a person writes it.
fn time(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, ms) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        if left >= ms {
            text += &format!("{}{unit}", left / ms);
            left %= ms;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// In the largest unit of which it is a whole number.
fn size(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let fits = |(_, shift): &&(&str, u32)| bytes > 0 && bytes.trailing_zeros() >= *shift;
    match units.iter().find(fits) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes}B"),
    }
}

fn memory(limit: MemoryLimit) -> String {
    match limit {
        MemoryLimit::Bytes(bytes) => size(bytes),
        MemoryLimit::Percent(percent) => format!("{percent}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Overrides};

    #[test]
    fn what_is_shown_is_a_configuration_that_means_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("v.yml");
        let text = "receive: {otlp: {delta: convert}, graphite: {listen: ':2003'}}\n\
            external_url: https://h/p\ncors_origin: a.*\ncollect: {interval: 1500ms, sensor: off}\nlifecycle_api: true\nquery: {cache: off, total_memory: 1536KiB}\n\
            metrics: {retention: 36h, retention_rules: [{selector: '{job=\"x\"}', keep: 90d}], limits: {memory: 10%}}\n\
            notify: {receivers: [{name: f, file: {path: a.jsonl}}]}\n";
        std::fs::write(&file, text).expect("writes");
        let load = || config::load(Some(&file), Overrides::default()).expect("sound");
        let settings = load();
        let own = Own::new(&settings, 0, watch::Sender::new(false), None);
        std::fs::write(&file, own.config_yaml()).expect("writes");
        assert_eq!(load(), settings, "{}", own.config_yaml());
        assert_eq!(own.retention(), "1d12h or 10GiB");
        assert!(own.flags().contains(&("web.enable-lifecycle".into(), "true".into())));
    }

    #[test]
    fn addresses_of_receivers_are_not_shown() {
        let target = Target::Webhook {
            url: "https://user:pass@hooks.example:1/services/T0/secret?token=x".into(),
            timeout: Duration::from_secs(1),
        };
        let severity = vedette_model::Severity::Info;
        let text = receiver(&ReceiverSettings { name: "r".into(), severity, target }).to_string();
        assert!(text.contains("https://hooks.example:1/<secret>"), "{text}");
        assert!(!text.contains("pass") && !text.contains("token") && !text.contains("T0"), "{text}");
    }
}
