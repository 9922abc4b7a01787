//! The state of all clusters that are watched.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;

use super::{
    Allowed, Format, Gone, KINDS, StateKind, Take, Watched,
    custom::{self, CustomResource, CustomStates},
    page,
};
use crate::{Api, Hub};

/// The watches of a cluster whose objects are told.
pub struct ClusterState {
    name: Arc<str>,
    /// As [`KINDS`] has them; none where a kind is not wanted.
    watches: Vec<Option<Arc<dyn Watched>>>,
    allowed: Vec<Allowed>,
    custom: Option<CustomStates>,
}

/// Which objects of a cluster are told, and with what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Kinds by their words in paths, as `pods`; those that are told by default where there are none.
    pub kinds: Option<Vec<String>>,
    /// Labels and annotations, by kind.
    pub allowed: BTreeMap<String, Allowed>,
    /// Custom resources.
    pub custom: Arc<[CustomResource]>,
}

impl Wanted {
    /// Whether there is nothing to tell.
    pub fn is_nothing(&self) -> bool {
        self.kinds.as_ref().is_some_and(Vec::is_empty) && self.custom.is_empty()
    }

    fn has(&self, kind: &StateKind) -> bool {
        match &self.kinds {
            Some(kinds) => kinds.iter().any(|name| name == kind.resource.plural),
            None => kind.is_default,
        }
    }
}

impl ClusterState {
    /// Begins to watch, or joins who does.
    pub fn watch(name: Arc<str>, hub: &Hub, api: &Arc<Api>, wanted: &Wanted) -> Self {
        let watch = |kind: &StateKind| wanted.has(kind).then(|| (kind.watch)(hub, api));
        let of = |plural: &str| wanted.allowed.get(plural).cloned().unwrap_or_default();
        Self {
            name,
            watches: KINDS.iter().map(watch).collect(),
            allowed: KINDS.iter().map(|kind| of(kind.resource.plural)).collect(),
            custom: (!wanted.custom.is_empty()).then(|| CustomStates::watch(hub, api, wanted.custom.clone())),
        }
    }

    /// What it is called.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its watches, one a kind.
    pub fn watches(&self) -> impl Iterator<Item = Arc<dyn Watched>> {
        let custom = self.custom.iter().flat_map(CustomStates::watches);
        self.watches.iter().flatten().cloned().chain(custom.map(|watch| watch as Arc<dyn Watched>))
    }

    /// Its custom resources, if any are wanted.
    pub fn custom(&self) -> Option<&CustomStates> {
        self.custom.as_ref()
    }
}

/// All clusters.
#[derive(Default)]
pub struct States(RwLock<Vec<Arc<ClusterState>>>);

impl States {
    /// Adds a cluster.
    pub fn add(&self, cluster: Arc<ClusterState>) {
        let mut all = self.0.write();
        all.push(cluster);
        all.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// All clusters, by name.
    pub fn clusters(&self) -> Vec<Arc<ClusterState>> {
        self.0.read().clone()
    }

    /// Writes the page. Rows name their cluster if `names_cluster`. `take` is given pieces of whole lines.
    ///
    /// # Errors
    /// `take` wants no more.
    pub fn write(&self, names_cluster: bool, format: Format, take: &mut Take<'_>) -> Result<(), Gone> {
        write_page(&self.clusters(), names_cluster, format, take)
    }
}

/// Writes the page of these clusters, as [`States::write`] does of all.
///
/// # Errors
/// `take` wants no more.
pub fn write_page(
    clusters: &[Arc<ClusterState>],
    names_cluster: bool,
    format: Format,
    take: &mut Take<'_>,
) -> Result<(), Gone> {
    let objects = clusters.iter().flat_map(|cluster| cluster.watches()).map(|watch| watch.objects()).sum();
    let parts = KINDS.iter().enumerate().flat_map(|(at, kind)| {
        let taken: Vec<_> = clusters
            .iter()
            .filter_map(|cluster| {
                let name = names_cluster.then_some(&*cluster.name);
                Some(cluster.watches[at].as_ref()?.snapshot(name, &cluster.allowed[at]))
            })
            .collect();
        let families = if taken.is_empty() { Vec::new() } else { (kind.families)() };
        page::parts(families, taken)
    });
    let custom: Vec<_> = clusters
        .iter()
        .flat_map(|cluster| {
            let name = names_cluster.then_some(&*cluster.name);
            let watches = cluster.custom.as_ref().map(CustomStates::watches);
            watches.into_iter().flatten().map(move |watch| (watch, name))
        })
        .collect();
    let parts = parts.chain(std::iter::once_with(|| custom::parts(&custom)).flatten());
    page::write(parts, format, page::helpers(objects), take)
}
