//! Kubernetes clusters that are watched.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use vedette_k8s::{
    identity::Limits,
    state::{KINDS, Wanted},
};

use super::{Error, KubernetesCluster, StateMetrics, units::duration};

/// A cluster that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    /// What it is called.
    pub name: Arc<str>,
    /// A file of `kubectl`; the account of our pod where there is none.
    pub kubeconfig_file: Option<PathBuf>,
    /// A context of that file, if not the current one.
    pub context: Option<String>,
    /// Which of its objects are told as metrics.
    pub state: Wanted,
    /// How long and how many pods that are gone are known.
    pub gone_pods: Limits,
    /// Whether its events are stored.
    pub events: bool,
    /// What this machine is called in it; as the machine itself where nothing is given.
    pub node: Option<Arc<str>>,
    /// Whether containers of this machine that belong to no pod are found.
    pub stray_containers: bool,
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
        Ok(ClusterSettings {
            events: on("events", cluster.events.as_deref())?,
            node: cluster.node.as_deref().map(Arc::from),
            stray_containers: on("stray_containers", cluster.stray_containers.as_deref())?,
            gone_pods,
            name: cluster.name.into(),
            kubeconfig_file: cluster.kubeconfig_file.map(|file| folder.join(file)),
            context: cluster.context,
            state: state(&format!("{place}[{at}].state_metrics"), cluster.state_metrics)?,
        })
    };
    written.into_iter().enumerate().map(one).collect()
}

fn state(place: &str, written: StateMetrics) -> Result<Wanted, Error> {
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
    Ok(wanted)
}

/// As long as a label of DNS may be, so that it fits wherever names of clusters stand.
const NAME_BYTES_MAX: usize = 63;
