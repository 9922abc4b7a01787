//! Kubernetes clusters that are watched.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use vedette_capacity::FailureMode;
use vedette_config::{ClientTls, HttpClient, SecretSource};
use vedette_k8s::{
    identity::Limits,
    parts, policy,
    state::{KINDS, Wanted},
};

use super::{
    ClusterCapacity, ClusterPolicy, Error, EtcdMembers, KubernetesCluster, PartProbe, StateMetrics, Switch,
    custom_resources, part_metrics, units::duration,
};
use crate::part_metrics::PartScrape;

/// A cluster that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    /// What it is called.
    pub name: Arc<str>,
    /// A file of `kubectl`; the account of our pod where there is none.
    pub kubeconfig_file: Option<PathBuf>,
    /// A context of that file, if not the current one.
    pub context: Option<String>,
    /// How its parts are asked.
    pub parts: parts::Config,
    /// Which of its parts are scraped, and how.
    pub part_metrics: Vec<PartScrape>,
    /// Which of its objects are told as metrics.
    pub state: Wanted,
    /// Between two readings of these metrics for the store; nothing is stored where there is none.
    pub state_interval: Option<Duration>,
    /// How long and how many pods that are gone are known.
    pub gone_pods: Limits,
    /// Whether its events are stored.
    pub events: bool,
    /// How its audit records come, if they do.
    pub audit: Option<AuditSettings>,
    /// What this machine is called in it; as the machine itself where nothing is given.
    pub node: Option<Arc<str>>,
    /// Whether containers of this machine that belong to no pod are found.
    pub stray_containers: bool,
    /// How it is judged how many of its nodes may fail, if it is.
    pub capacity: Option<CapacitySettings>,
    /// Which of its pods are allowed, if any rule is on.
    pub policy: Option<policy::Rules>,
}

/// How audit records of a cluster come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// Whether its API server may send them.
    pub webhook: bool,
    /// The log that it writes, if that can be read here.
    pub log_file: Option<PathBuf>,
}

/// How many nodes of a cluster may fail is judged so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapacitySettings {
    /// How many nodes must be able to fail at once.
    pub survive: usize,
    /// How many failures at once are looked at; at least as many as must be survived.
    pub max_failures: usize,
    /// What becomes of failed nodes.
    pub failed: FailureMode,
    /// Labels of nodes that fail together.
    pub zone_labels: Vec<String>,
    /// Labels that name the pool of a node.
    pub pool_labels: Vec<String>,
    /// Whether pods without an owner are made anew.
    pub bare_pods_return: bool,
    /// Least time between two judgements.
    pub interval: Duration,
    /// How many times the usual work may be done.
    pub effort: u64,
}

/// Checks what is written.
pub(super) fn settings(
    place: &str,
    folder: &Path,
    written: Vec<KubernetesCluster>,
) -> Result<Vec<ClusterSettings>, Error> {
    let mut names = HashSet::new();
    let one = |(at, cluster): (usize, KubernetesCluster)| {
        let refuse =
            |key: &str, reason: String| Error::Value { place: format!("{place}[{at}].{key}"), reason };
        if cluster.name.is_empty() || cluster.name.len() > NAME_BYTES_MAX || cluster.name.contains('/') {
            let reason = format!("give it a name of 1 to {NAME_BYTES_MAX} bytes without a slash");
            return Err(refuse("name", reason));
        }
        if !names.insert(cluster.name.clone()) {
            return Err(refuse("name", format!("there are two clusters {:?}", cluster.name)));
        }
        if cluster.context.is_some() && cluster.kubeconfig_file.is_none() {
            return Err(refuse("context", "is of use only with a kubeconfig_file".into()));
        }
        let mut gone_pods = Limits::default();
        let kept =
            duration(&format!("{place}[{at}].gone_pods_kept"), cluster.gone_pods_kept.as_deref(), "15d")?;
        gone_pods.gone_kept_ms = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        if let Some(max) = cluster.gone_pods_max {
            gone_pods.gone_max = max;
        }
        let on = |key: &str, written: Option<&str>| match written {
            None | Some("on") => Ok(true),
            Some("off") => Ok(false),
            Some(other) => Err(refuse(key, format!("{other:?} is neither on nor off"))),
        };
        let state_place = format!("{place}[{at}].state_metrics");
        let has_etcd = !cluster.etcd.endpoints.is_empty();
        Ok(ClusterSettings {
            parts: parts::Config {
                endpoints: endpoints(&format!("{place}[{at}].probes"), folder, cluster.probes)?,
                ..how_asked(
                    &format!("{place}[{at}]"),
                    folder,
                    cluster.probe_interval.as_deref(),
                    cluster.probe_timeout.as_deref(),
                    cluster.etcd,
                )?
            },
            part_metrics: part_metrics::all(
                &format!("{place}[{at}].part_metrics"),
                folder,
                cluster.part_metrics,
                has_etcd,
            )?,
            events: on("events", cluster.events.as_deref())?,
            audit: {
                let webhook =
                    cluster.audit.webhook.is_some() && on("audit.webhook", cluster.audit.webhook.as_deref())?;
                let log_file = cluster.audit.log_file.map(|file| folder.join(file));
                (webhook || log_file.is_some()).then_some(AuditSettings { webhook, log_file })
            },
            node: cluster.node.as_deref().map(Arc::from),
            stray_containers: on("stray_containers", cluster.stray_containers.as_deref())?,
            gone_pods,
            name: cluster.name.into(),
            kubeconfig_file: cluster.kubeconfig_file.map(|file| folder.join(file)),
            context: cluster.context,
            state_interval: state_interval(&state_place, cluster.state_metrics.interval.as_deref())?,
            state: state(&state_place, folder, cluster.state_metrics)?,
            capacity: match cluster.capacity {
                Switch::Off => None,
                Switch::On(written) => Some(capacity(&format!("{place}[{at}].capacity"), written)?),
            },
            policy: match cluster.policy {
                Switch::Off => None,
                Switch::On(written) => {
                    let rules = rules(&format!("{place}[{at}].policy"), written)?;
                    policy::Rule::ALL.iter().any(|rule| rules.has(*rule)).then_some(rules)
                }
            },
        })
    };
    written.into_iter().enumerate().map(one).collect()
}

fn state(place: &str, folder: &Path, written: StateMetrics) -> Result<Wanted, Error> {
    let known = |key: &str, kind: &str| {
        if KINDS.iter().any(|known| known.resource.plural == kind) {
            return Ok(());
        }
        let all: Vec<_> = KINDS.iter().map(|known| known.resource.plural).collect();
        let reason = format!("{kind:?} is no kind whose state is told; there are {}", all.join(", "));
        Err(Error::Value { place: format!("{place}.{key}"), reason })
    };
    let mut wanted = Wanted::default();
    if let Some(kinds) = written.kinds {
        kinds.iter().try_for_each(|kind| known("kinds", kind))?;
        wanted.kinds = Some(kinds);
    }
    let boxed = |names: Vec<String>| names.into_iter().map(String::into_boxed_str).collect::<Vec<_>>();
    for (kind, names) in written.labels {
        known("labels", &kind)?;
        wanted.allowed.entry(kind).or_default().labels = boxed(names);
    }
    for (kind, names) in written.annotations {
        known("annotations", &kind)?;
        wanted.allowed.entry(kind).or_default().annotations = boxed(names);
    }
    wanted.custom =
        custom_resources::all(&format!("{place}.custom_resources"), folder, written.custom_resources)?;
    Ok(wanted)
}

/// How often the state is stored, if it is.
fn state_interval(place: &str, written: Option<&str>) -> Result<Option<Duration>, Error> {
    if written == Some("off") {
        return Ok(None);
    }
    let place = format!("{place}.interval");
    let interval = duration(&place, written, "30s")?;
    if (STATE_INTERVAL.0..=STATE_INTERVAL.1).contains(&interval) {
        return Ok(Some(interval));
    }
    let reason = "use 1s to 2m, or off: queries take a series without a sample for five minutes as gone";
    Err(Error::Value { place, reason: reason.into() })
}

fn capacity(place: &str, written: ClusterCapacity) -> Result<CapacitySettings, Error> {
    let at = |key: &str| format!("{place}.{key}");
    let within = |key: &str, value: u64, limit: u64| match value {
        value if (1..=limit).contains(&value) => Ok(value),
        _ => Err(Error::Value { place: at(key), reason: format!("use 1 to {limit}") }),
    };
    let count = |key: &str, value: Option<usize>, default: usize| {
        let value = u64::try_from(value.unwrap_or(default)).unwrap_or(u64::MAX);
        within(key, value, FAILURES_MAX).map(|value| usize::try_from(value).unwrap_or(usize::MAX))
    };
    let survive = count("survive", written.survive, 1)?;
    let failed = match written.failed.as_deref() {
        None | Some("unreachable") => FailureMode::Unreachable,
        Some("out-of-service") => FailureMode::OutOfService,
        Some("deleted") => FailureMode::Deleted,
        Some(other) => {
            let reason = format!("{other:?} is none of `unreachable`, `out-of-service` and `deleted`");
            return Err(Error::Value { place: at("failed"), reason });
        }
    };
    let labels = |key: &str, labels: Option<Vec<String>>, default: &[&str]| match labels {
        Some(labels) if labels.len() > LABELS_MAX || labels.iter().any(String::is_empty) => {
            let reason = format!("name at most {LABELS_MAX} labels, none of them empty");
            Err(Error::Value { place: at(key), reason })
        }
        Some(labels) => Ok(labels),
        None => Ok(default.iter().map(|label| (*label).to_owned()).collect()),
    };
    let interval = duration(&at("interval"), written.interval.as_deref(), "30s")?;
    if interval < INTERVAL_MIN {
        return Err(Error::Value { place: at("interval"), reason: "use at least 1s".into() });
    }
    Ok(CapacitySettings {
        survive,
        max_failures: count("max_failures", written.max_failures, 3)?.max(survive),
        failed,
        zone_labels: labels("zone_labels", written.zone_labels, &["topology.kubernetes.io/zone"])?,
        pool_labels: labels("pool_labels", written.pool_labels, &POOL_LABELS)?,
        bare_pods_return: written.bare_pods_return,
        interval,
        effort: within("effort", written.effort.unwrap_or(1), 1000)?,
    })
}

fn rules(place: &str, written: ClusterPolicy) -> Result<policy::Rules, Error> {
    let refuse = |key: &str, reason: String| Error::Value { place: format!("{place}.{key}"), reason };
    if written.allowed_registries.len() > PATTERNS_MAX {
        return Err(refuse("allowed_registries", format!("name at most {PATTERNS_MAX}")));
    }
    let registry = |(at, text): (usize, &String)| {
        text.parse::<policy::AllowedRegistry>().map_err(|reason| {
            refuse(&format!("allowed_registries[{at}]"), format!("{text:?} is no registry: {reason}"))
        })
    };
    let registries = written.allowed_registries.iter().enumerate().map(registry).collect::<Result<_, _>>()?;
    let privileged = match written.privileged {
        Switch::Off => None,
        Switch::On(keys) => {
            let namespaces = keys.allowed_namespaces.unwrap_or_else(|| vec!["kube-system".to_owned()]);
            // As long as a label of DNS, as names of namespaces are.
            let is_sound = |name: &String| {
                let is_letter = |byte: u8| {
                    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'*')
                };
                !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_letter)
            };
            if namespaces.len() > PATTERNS_MAX || !namespaces.iter().all(is_sound) {
                let reason = format!(
                    "name at most {PATTERNS_MAX} namespaces, of small letters, digits, - and * for any letters"
                );
                return Err(refuse("privileged.allowed_namespaces", reason));
            }
            Some(namespaces.into_iter().map(String::into_boxed_str).collect())
        }
    };
    let digests = match written.image_digests.as_deref() {
        None | Some("on") => true,
        Some("off") => false,
        Some(other) => return Err(refuse("image_digests", format!("{other:?} is neither on nor off"))),
    };
    Ok(policy::Rules { registries, privileged, digests })
}

/// Registries or namespaces that are allowed.
const PATTERNS_MAX: usize = 256;
/// Nodes that fail at once: the number of sets grows with its power.
const FAILURES_MAX: u64 = 10;
const LABELS_MAX: usize = 16;
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Labels by which clouds and tools say which nodes are alike.
const POOL_LABELS: [&str; 7] = [
    "cloud.google.com/gke-nodepool",
    "eks.amazonaws.com/nodegroup",
    "kubernetes.azure.com/agentpool",
    "karpenter.sh/nodepool",
    "node.cluster.x-k8s.io/nodepool",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
];

/// As long as a label of DNS may be, so that it fits wherever names of clusters stand.
const NAME_BYTES_MAX: usize = 63;

/// Between two readings of state metrics for the store.
pub(super) const STATE_INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));
/// Between two questions about health.
const PROBE_INTERVAL: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// Members of a store; a majority of more than seven is slow.
const ENDPOINTS_MAX: usize = 15;

/// How the parts of a cluster are asked.
fn how_asked(
    place: &str,
    folder: &Path,
    interval: Option<&str>,
    timeout: Option<&str>,
    etcd: EtcdMembers,
) -> Result<parts::Config, Error> {
    let refuse =
        |key: &str, reason: &str| Error::Value { place: format!("{place}.{key}"), reason: reason.into() };
    let interval = duration(&format!("{place}.probe_interval"), interval, "1s")?;
    if !(PROBE_INTERVAL.0..=PROBE_INTERVAL.1).contains(&interval) {
        return Err(refuse("probe_interval", "use 500ms to 1m"));
    }
    let timeout = match timeout {
        None => interval * 2,
        text => duration(&format!("{place}.probe_timeout"), text, "2s")?,
    };
    if timeout.is_zero() || timeout > interval * 3 {
        return Err(refuse("probe_timeout", "use at most three times the probe_interval"));
    }
    let EtcdMembers { endpoints, ca_file, cert_file, key_file, server_name } = etcd;
    if endpoints.len() > ENDPOINTS_MAX {
        return Err(refuse("etcd.endpoints", "name at most 15"));
    }
    let url = |text: &String| {
        let url: Option<url::Url> = text.parse().ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.ok_or_else(|| refuse("etcd.endpoints", "write addresses of servers, as https://10.0.0.1:2379"))
    };
    let identity = identity(&format!("{place}.etcd"), folder, cert_file, key_file)?;
    let tls = ClientTls {
        ca: ca_file.map(|path| SecretSource::File(folder.join(path))),
        identity,
        server_name: server_name.unwrap_or_default(),
        ..ClientTls::default()
    };
    Ok(parts::Config {
        interval,
        timeout,
        etcd_endpoints: endpoints.iter().map(url).collect::<Result<_, _>>()?,
        etcd_client: HttpClient { tls, ..HttpClient::default() },
        endpoints: Vec::new(),
    })
}

/// A certificate and its key, both or neither.
pub(super) fn identity(
    place: &str,
    folder: &Path,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
) -> Result<Option<(SecretSource, SecretSource)>, Error> {
    let refuse =
        |key: &str, reason: &str| Error::Value { place: format!("{place}.{key}"), reason: reason.into() };
    let file = |path: PathBuf| SecretSource::File(folder.join(path));
    match (cert_file, key_file) {
        (Some(cert), Some(key)) => Ok(Some((file(cert), file(key)))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(refuse("key_file", "a certificate needs its key; name it")),
        (None, Some(_)) => Err(refuse("cert_file", "a key needs its certificate; name it")),
    }
}

/// Health endpoints of a cluster; each is asked at every interval.
const PROBES_MAX: usize = 100;

fn endpoints(place: &str, folder: &Path, written: Vec<PartProbe>) -> Result<Vec<parts::Endpoints>, Error> {
    let mut known = HashSet::new();
    let one = |(at, probe): (usize, PartProbe)| {
        let refuse = |key: &str, reason: &str| Error::Value {
            place: format!("{place}[{at}].{key}"),
            reason: reason.into(),
        };
        let PartProbe { part, endpoints, ca_file, server_name, insecure_skip_verify, use_cluster_token } =
            probe;
        let part = parts::ENDPOINT_PARTS.into_iter().find(|known| *known == part);
        let part =
            part.ok_or_else(|| refuse("part", &format!("name one of {}", parts::ENDPOINT_PARTS.join(", "))))?;
        if endpoints.is_empty() {
            return Err(refuse("endpoints", "name at least one"));
        }
        if insecure_skip_verify && ca_file.is_some() {
            return Err(refuse("insecure_skip_verify", "contradicts ca_file; remove one"));
        }
        if insecure_skip_verify && use_cluster_token {
            let reason = "the cluster's token is shown to nobody whose certificate is not checked; name a ca_file, or \
                          leave one of the two out";
            return Err(refuse("use_cluster_token", reason));
        }
        let mut urls = Vec::new();
        for text in &endpoints {
            let url: Option<url::Url> = text.parse().ok();
            let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            let url = url.ok_or_else(|| {
                refuse("endpoints", "write addresses of servers, as https://10.0.0.1:10259")
            })?;
            if use_cluster_token && url.scheme() != "https" {
                return Err(refuse("endpoints", "a token is shown only where it is encrypted; write https"));
            }
            if !known.insert((part, url.host_str().map(str::to_owned), url.port_or_known_default())) {
                return Err(refuse(
                    "endpoints",
                    &format!("{} is named twice", vedette_config::without_password(&url)),
                ));
            }
            urls.push(url);
        }
        if known.len() > PROBES_MAX {
            return Err(refuse("endpoints", &format!("name at most {PROBES_MAX} in all")));
        }
        let tls = ClientTls {
            ca: ca_file.map(|file| SecretSource::File(folder.join(file))),
            server_name: server_name.unwrap_or_default(),
            insecure_skip_verify,
            ..ClientTls::default()
        };
        let client = HttpClient { tls, follow_redirects: false, ..HttpClient::default() };
        Ok(parts::Endpoints { part, urls, client, use_cluster_token })
    };
    written.into_iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests;
