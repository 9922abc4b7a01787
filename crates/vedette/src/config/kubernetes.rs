//! Kubernetes clusters that are watched.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use vedette_config::{ClientTls, HttpClient, SecretSource};
use vedette_k8s::parts;

use super::{Error, EtcdMembers, KubernetesCluster, duration};

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
        Ok(ClusterSettings {
            name: cluster.name.as_str().into(),
            kubeconfig_file: cluster.kubeconfig_file.as_ref().map(|file| folder.join(file)),
            context: cluster.context.clone(),
            parts: how_asked(&format!("{place}[{at}]"), folder, cluster)?,
        })
    };
    written.into_iter().enumerate().map(one).collect()
}

/// As long as a label of DNS may be, so that it fits wherever names of clusters stand.
const NAME_BYTES_MAX: usize = 63;

/// Between two questions about health.
const PROBE_INTERVAL: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// Members of a store; a majority of more than seven is slow.
const ENDPOINTS_MAX: usize = 15;

/// How the parts of a cluster are asked.
fn how_asked(place: &str, folder: &Path, cluster: KubernetesCluster) -> Result<parts::Config, Error> {
    let refuse =
        |key: &str, reason: &str| Error::Value { place: format!("{place}.{key}"), reason: reason.into() };
    let interval = duration(&format!("{place}.probe_interval"), cluster.probe_interval.as_deref(), "1s")?;
    if !(PROBE_INTERVAL.0..=PROBE_INTERVAL.1).contains(&interval) {
        return Err(refuse("probe_interval", "use 500ms to 1m"));
    }
    let timeout = match cluster.probe_timeout.as_deref() {
        None => interval * 2,
        text => duration(&format!("{place}.probe_timeout"), text, "2s")?,
    };
    if timeout.is_zero() || timeout > interval * 3 {
        return Err(refuse("probe_timeout", "use at most three times the probe_interval"));
    }
    let EtcdMembers { endpoints, ca_file, cert_file, key_file, server_name } = cluster.etcd;
    if endpoints.len() > ENDPOINTS_MAX {
        return Err(refuse("etcd.endpoints", "name at most 15"));
    }
    let url = |text: &String| {
        let url: Option<url::Url> = text.parse().ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.ok_or_else(|| refuse("etcd.endpoints", "write addresses of servers, as https://10.0.0.1:2379"))
    };
    let file = |path: PathBuf| SecretSource::File(folder.join(path));
    let identity = match (cert_file, key_file) {
        (Some(cert), Some(key)) => Some((file(cert), file(key))),
        (None, None) => None,
        (Some(_), None) => return Err(refuse("etcd.key_file", "a certificate needs its key; name it")),
        (None, Some(_)) => return Err(refuse("etcd.cert_file", "a key needs its certificate; name it")),
    };
    let tls = ClientTls {
        ca: ca_file.map(file),
        identity,
        server_name: server_name.unwrap_or_default(),
        ..ClientTls::default()
    };
    Ok(parts::Config {
        interval,
        timeout,
        etcd_endpoints: endpoints.iter().map(url).collect::<Result<_, _>>()?,
        etcd_client: HttpClient { tls, ..HttpClient::default() },
    })
}
