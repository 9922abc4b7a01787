//! Kubernetes clusters that are watched.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use vedette_k8s::state::{KINDS, Wanted};

use super::{Error, KubernetesCluster, StateMetrics};

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
