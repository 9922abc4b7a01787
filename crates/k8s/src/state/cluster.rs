//! The state of all clusters that are watched.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::RwLock;

use super::{Allowed, Format, Gone, KINDS, Page, Watched};
use crate::{Api, Hub};

/// The watches of a cluster whose objects are told.
pub struct ClusterState {
    name: Arc<str>,
    /// As [`KINDS`] has them; none where a kind is not wanted.
    watches: Vec<Option<Arc<dyn Watched>>>,
    allowed: Vec<Allowed>,
}

impl ClusterState {
    /// Begins to watch, or joins who does. What is allowed is given by the word of a resource in paths, as `pods`.
    pub fn watch(name: Arc<str>, hub: &Hub, api: &Arc<Api>, allowed: &HashMap<String, Allowed>) -> Self {
        let watches = KINDS.iter().map(|kind| kind.is_default.then(|| (kind.watch)(hub, api))).collect();
        let of = |plural: &str| allowed.get(plural).cloned().unwrap_or_default();
        Self { name, watches, allowed: KINDS.iter().map(|kind| of(kind.resource.plural)).collect() }
    }

    /// What it is called.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its watches, one a kind.
    pub fn watches(&self) -> impl Iterator<Item = &Arc<dyn Watched>> {
        self.watches.iter().flatten()
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

    /// Writes the page of the clusters. Rows name their cluster if `names_cluster`.
    ///
    /// # Errors
    /// `take` wants no more.
    pub fn write(
        &self,
        clusters: &[Arc<ClusterState>],
        names_cluster: bool,
        format: Format,
        take: &mut dyn FnMut(&mut String) -> Result<(), Gone>,
    ) -> Result<(), Gone> {
        let mut page = Page::new(format, take);
        for (at, kind) in KINDS.iter().enumerate() {
            let taken: Vec<_> = clusters
                .iter()
                .filter_map(|cluster| {
                    let name = names_cluster.then_some(&*cluster.name);
                    Some(cluster.watches[at].as_ref()?.snapshot(name, &cluster.allowed[at]))
                })
                .collect();
            if taken.is_empty() {
                continue;
            }
            for (family, words) in (kind.families)().iter().enumerate() {
                page.family(words);
                for snapshot in &taken {
                    snapshot.write(family, &mut page)?;
                }
            }
        }
        page.finish()
    }
}
