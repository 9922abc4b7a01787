//! The metrics that the parts of watched clusters tell themselves: scrape jobs made of a table.
//!
//! Invariant: the cluster's token is shown to nobody but its API server and to parts whose certificate is checked.
//! What is named here is the job and the labels by which the common rules and dashboards for Kubernetes look for a part.

use std::{path::Path, sync::Arc, time::Duration};

use serde_json::{Value, json};
use url::Url;
use vedette_config::{
    Auth, ClientTls, HttpClient,
    discovery::{AttachMetadata, Discovery, Kubernetes, Role},
    prometheus::{Mode, Surroundings, parse},
    show_duration,
};
use vedette_k8s::parts::SYSTEM_NAMESPACE;
use vedette_model::{
    ADDRESS_LABEL, Labels, TargetGroup,
    status::{Health, Part as StatusPart, StatusBoard},
};
use vedette_sys::RealFs;

use crate::{
    clusters::Connected,
    config::ClusterSettings,
    prometheus_file::{OWN_JOBS, OwnJob, Scraping},
};

/// A part of a cluster that tells metrics.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is called in the configuration.
    pub name: &'static str,
    /// The value of the label `job`.
    pub job: &'static str,
    /// The path of its metrics.
    pub path: &'static str,
    /// Where it is, and how it is reached.
    pub place: Place,
}

/// Where a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The API server, as the cluster is reached.
    Server,
    /// The members of etcd that the configuration names.
    Members,
    /// The kubelet of each node, at its address.
    Kubelets,
    /// Pods of `kube-system`, at their addresses.
    Pods {
        /// Their label.
        label: (&'static str, &'static str),
        /// The port.
        port: u16,
        /// Whether it is encrypted, and wants to know who asks.
        is_encrypted: bool,
    },
}

/// All parts that are known.
pub const PARTS: &[Part] = &[
    Part { name: "apiserver", job: "apiserver", path: METRICS, place: Place::Server },
    Part { name: "etcd", job: "etcd", path: METRICS, place: Place::Members },
    Part {
        name: "scheduler",
        job: "kube-scheduler",
        path: METRICS,
        place: encrypted("kube-scheduler", 10259),
    },
    Part {
        name: "controller-manager",
        job: "kube-controller-manager",
        path: METRICS,
        place: encrypted("kube-controller-manager", 10257),
    },
    Part { name: "kubelet", job: "kubelet", path: METRICS, place: Place::Kubelets },
    Part { name: "cadvisor", job: "kubelet", path: "/metrics/cadvisor", place: Place::Kubelets },
    Part { name: "coredns", job: "kube-dns", path: METRICS, place: open("kube-dns", 9153) },
    Part { name: "kube-proxy", job: "kube-proxy", path: METRICS, place: open("kube-proxy", 10249) },
];

const METRICS: &str = "/metrics";

/// A static pod of the control plane.
const fn encrypted(component: &'static str, port: u16) -> Place {
    Place::Pods { label: ("component", component), port, is_encrypted: true }
}

/// An addon, whose metrics are for all.
const fn open(app: &'static str, port: u16) -> Place {
    Place::Pods { label: ("k8s-app", app), port, is_encrypted: false }
}

impl Place {
    /// Whether the configuration says which certificates are trusted and shown there.
    pub fn takes_certificates(self) -> bool {
        matches!(self, Self::Kubelets | Self::Pods { is_encrypted: true, .. })
    }
}

/// A part that is scraped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartScrape {
    /// Which.
    pub part: &'static Part,
    /// Time between two scrapes.
    pub interval: Duration,
    /// Certificates, of places that take them; what is left out is as with the API server.
    pub tls: ClientTls,
}

/// How long it may take to know who we are.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at who we are: a credential program tells something new once in a while.
const CREDENTIALS_INTERVAL: Duration = Duration::from_secs(10);
/// A part that takes longer is as good as one that does not answer.
const SCRAPE_TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// Lets the parts of a cluster that can be asked be scraped, for as long as the process runs.
pub async fn keep(
    connected: Connected,
    settings: ClusterSettings,
    scraping: Arc<Scraping>,
    board: StatusBoard,
) {
    let name = format!("cluster {} part metrics", settings.name);
    let mut known = None;
    loop {
        match connected.api.http_client(CREDENTIALS_TIMEOUT).await {
            Ok(client) if known.as_ref() == Some(&client) => {}
            Ok(client) => {
                let server = &connected.api.connection().server;
                let set = jobs(&settings, server, &client)
                    .and_then(|jobs| scraping.set_own_jobs(&settings.name, jobs));
                known = set.is_ok().then_some(client);
                board.post(&name, account(&settings, set));
            }
            Err(error) => {
                let remedy =
                    "Renew the credentials that the message names; they are tried again every 10 seconds.";
                board.post(&name, StatusPart::new(Health::Failed, error.told(), remedy));
                known = None;
            }
        }
        tokio::time::sleep(CREDENTIALS_INTERVAL).await;
    }
}

fn account(settings: &ClusterSettings, set: Result<(), String>) -> StatusPart {
    let part = match set {
        Ok(()) => StatusPart::ok(),
        Err(error) => {
            let remedy = "Mend the files that the message names, or what kubernetes[].part_metrics says of them; files are \
                          read again every 10 seconds, the configuration at the next start.";
            StatusPart::new(Health::Failed, error, remedy)
        }
    };
    let names: Vec<&str> = settings.part_metrics.iter().map(|scrape| scrape.part.name).collect();
    part.fact("parts", names.join(", "))
}

/// A job for each part of the cluster that is to be scraped. `client`: how its API server, `server`, is asked now.
fn jobs(settings: &ClusterSettings, server: &Url, client: &HttpClient) -> Result<Vec<OwnJob>, String> {
    settings.part_metrics.iter().map(|scrape| job(settings, scrape, server, client)).collect()
}

fn job(
    settings: &ClusterSettings,
    scrape: &PartScrape,
    server: &Url,
    client: &HttpClient,
) -> Result<OwnJob, String> {
    let part = scrape.part;
    let name = format!("{OWN_JOBS}{}/{}", settings.name, part.name);
    let (scheme, mut rules) = match part.place {
        Place::Server | Place::Members => ("https", Vec::new()),
        Place::Kubelets => ("https", kubelet_rules(part)),
        Place::Pods { label, port, is_encrypted } => {
            (if is_encrypted { "https" } else { "http" }, pod_rules(label, port))
        }
    };
    rules.push(set("job", part.job));
    rules.push(set("cluster", &settings.name));
    let text = json!({"scrape_configs": [{
        "job_name": name,
        "scheme": scheme,
        "metrics_path": part.path,
        "scrape_interval": show_duration(scrape.interval),
        "scrape_timeout": show_duration(scrape.interval.min(SCRAPE_TIMEOUT_MAX)),
        // Figures of containers have times of their own; those of one that is gone end at once.
        "track_timestamps_staleness": true,
        "follow_redirects": false,
        "relabel_configs": rules,
    }]});
    // By the reader of such files, as all defaults are its own.
    let surroundings = Surroundings { fs: &RealFs, env: &|_| None };
    let read = parse(Path::new("kubernetes[].part_metrics"), &text.to_string(), Mode::Agent, surroundings);
    let mut config = read.map_err(|error| error.to_string())?;
    let yaml = config.job_to_yaml(&name).unwrap_or_default();
    let mut job = config.scrape_jobs.pop().ok_or_else(|| format!("{name} cannot be made"))?;
    let etcd = &settings.parts;
    job.client = match part.place {
        Place::Server => HttpClient { follow_redirects: false, ..client.clone() },
        Place::Members => HttpClient { follow_redirects: false, ..etcd.etcd_client.clone() },
        place if place.takes_certificates() => of_part(&scrape.tls, client),
        _ => HttpClient { follow_redirects: false, ..HttpClient::default() },
    };
    job.discoveries = vec![match part.place {
        Place::Server => listed(std::slice::from_ref(server), part.path),
        Place::Members => listed(&etcd.etcd_endpoints, part.path),
        Place::Kubelets => found(settings, Role::Node, &[]),
        Place::Pods { .. } => found(settings, Role::Pod, &[SYSTEM_NAMESPACE]),
    }];
    Ok(OwnJob { job, yaml })
}

/// How a part is asked that is no API server, as whom that one is asked. Whoever the kubeconfig asks to act as is left
/// out, as only API servers heed that, and so is its proxy.
fn of_part(tls: &ClientTls, client: &HttpClient) -> HttpClient {
    let is_checked = !tls.insecure_skip_verify;
    let auth = match &client.auth {
        // Whoever is not known might keep it.
        token @ Auth::Authorization { .. } if is_checked => token.clone(),
        _ => Auth::None,
    };
    let tls = ClientTls {
        ca: tls.ca.clone().or_else(|| client.tls.ca.clone().filter(|_| is_checked)),
        // The key of a certificate stays here, so that it may be shown to anybody.
        identity: tls.identity.clone().or_else(|| client.tls.identity.clone()),
        ..tls.clone()
    };
    HttpClient { auth, tls, follow_redirects: false, ..HttpClient::default() }
}

/// Servers that are known by their URLs.
fn listed(urls: &[Url], path: &str) -> Discovery {
    let target = |url: &Url| {
        let port = url.port_or_known_default().unwrap_or_default();
        // A server may stand below a path, as behind a proxy.
        let path = format!("{}{path}", url.path().trim_end_matches('/'));
        Labels::from_pairs([
            (ADDRESS_LABEL, format!("{}:{port}", url.host_str().unwrap_or_default()).as_str()),
            ("__scheme__", url.scheme()),
            ("__metrics_path__", path.as_str()),
        ])
    };
    Discovery::Static(TargetGroup { targets: urls.iter().map(target).collect(), ..TargetGroup::default() })
}

/// Objects of the cluster; its watches are shared with all others who look into it.
fn found(settings: &ClusterSettings, role: Role, namespaces: &[&str]) -> Discovery {
    Discovery::Kubernetes(Box::new(Kubernetes {
        api_server: None,
        role,
        kubeconfig_file: None,
        client: HttpClient::default(),
        known_cluster: Some(settings.name.to_string()),
        namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(),
        own_namespace: false,
        selectors: Vec::new(),
        attach_metadata: AttachMetadata::default(),
    }))
}

fn kubelet_rules(part: &Part) -> Vec<Value> {
    vec![
        // Discovery names the node there.
        copy(ADDRESS_LABEL, "(.*)", "instance", "$1"),
        copy("__meta_kubernetes_node_name", "(.*)", "node", "$1"),
        set("metrics_path", part.path),
    ]
}

/// One target for each pod, whichever ports its containers name.
fn pod_rules((key, value): (&str, &str), port: u16) -> Vec<Value> {
    let label =
        format!("__meta_kubernetes_pod_label_{}", key.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
    let ip = "__meta_kubernetes_pod_ip";
    vec![
        json!({"source_labels": [label], "regex": value, "action": "keep"}),
        // What has ended has an address that may be somebody else's by now.
        json!({"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Succeeded|Failed", "action": "drop"}),
        copy(ip, "([^:]+)", ADDRESS_LABEL, &format!("$1:{port}")),
        copy(ip, "(.*:.*)", ADDRESS_LABEL, &format!("[$1]:{port}")),
        copy("__meta_kubernetes_namespace", "(.*)", "namespace", "$1"),
        copy("__meta_kubernetes_pod_name", "(.*)", "pod", "$1"),
        copy("__meta_kubernetes_pod_node_name", "(.*)", "node", "$1"),
    ]
}

fn copy(from: &str, regex: &str, to: &str, replacement: &str) -> Value {
    json!({"source_labels": [from], "regex": regex, "target_label": to, "replacement": replacement})
}

fn set(label: &str, value: &str) -> Value {
    // A dollar begins the name of a group.
    json!({"target_label": label, "replacement": value.replace('$', "$$")})
}

#[cfg(test)]
mod tests;
