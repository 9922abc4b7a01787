//! The watches of the custom resources of a cluster: the API server is asked which kinds it has, and each that is
//! wanted is watched. What it does not have is named, and looked for again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tokio::{task::JoinHandle, time::sleep};

use super::{
    CustomResource, LOSSES,
    found::{self, Served},
    kept::{Budget, Kept},
    page::Taken,
};
use crate::{
    Api, Error, Health, Hub, What,
    hub::Starter,
    objects::Resource,
    state::{Allowed, Head, Snapshot, Watched},
};

/// Bytes that the rows of the custom resources of a cluster may take: half a million of a usual length.
const BYTES_MAX: usize = 128 << 20;
/// Kinds that are watched; a `*` may stand for many.
const WATCHES_MAX: usize = 256;
/// How long an answer about kinds may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Where all is found that is named, it is looked again so many times less often.
const RARELY: u32 = 10;

/// The custom resources of a cluster. Dropped, their watches end.
pub struct CustomStates {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What is known of them.
struct Shared {
    watches: RwLock<BTreeMap<Key, Arc<CustomWatch>>>,
    looked: Mutex<Looked>,
    budget: Arc<Budget>,
}

/// A resource by its place in the configuration, and what it is in this cluster.
type Key = (usize, Served);

/// What came of the last look.
#[derive(Debug, Default)]
struct Looked {
    missing: Vec<String>,
    troubles: Vec<String>,
    left_out: usize,
}

/// The objects of one kind. Dropped, the watch ends.
pub struct CustomWatch {
    kept: Arc<Kept>,
    health: Arc<Health>,
    /// The labels that all rows begin with.
    head: Box<str>,
    task: JoinHandle<()>,
}

impl CustomStates {
    /// Begins to look for these resources and to watch them.
    pub fn watch(hub: &Hub, api: &Arc<Api>, resources: Arc<[CustomResource]>) -> Self {
        Self::within(BYTES_MAX, hub, api, resources)
    }

    /// With another limit of memory.
    fn within(bytes_max: usize, hub: &Hub, api: &Arc<Api>, resources: Arc<[CustomResource]>) -> Self {
        let (watches, looked) = (RwLock::default(), Mutex::default());
        let shared = Arc::new(Shared { watches, looked, budget: Budget::of(bytes_max) });
        let starter = hub.starter();
        let seeker = Seeker { shared: shared.clone(), api: api.clone(), starter: starter.clone(), resources };
        Self { shared, task: starter.runtime.spawn(seeker.run()) }
    }

    /// The watches, by the order of the configuration.
    pub fn watches(&self) -> Vec<Arc<CustomWatch>> {
        self.shared.watches.read().values().cloned().collect()
    }

    /// What is named and the API server does not have.
    pub fn missing(&self) -> Vec<String> {
        self.shared.looked.lock().missing.clone()
    }

    /// Why it is not known what the API server has.
    pub fn troubles(&self) -> Vec<String> {
        self.shared.looked.lock().troubles.clone()
    }

    /// Kinds that are not watched, as they are too many.
    pub fn left_out(&self) -> usize {
        self.shared.looked.lock().left_out
    }

    /// Bytes that all rows take.
    pub fn bytes(&self) -> usize {
        self.shared.budget.used()
    }
}

impl Drop for CustomStates {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl CustomWatch {
    /// What was left out, by reason.
    pub fn lost(&self) -> impl Iterator<Item = (&'static str, u64)> {
        LOSSES.into_iter().map(|(loss, name)| (name, self.kept.lost().of(loss)))
    }

    /// The rows as they are now.
    pub(super) fn taken(&self, cluster: Option<&str>) -> Taken {
        Taken::of(&self.kept, &self.head, cluster)
    }
}

impl Drop for CustomWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watched for CustomWatch {
    fn health(&self) -> &Health {
        &self.health
    }

    fn objects(&self) -> usize {
        self.kept.len()
    }

    /// Labels are those of the configuration of the resource.
    fn snapshot(&self, cluster: Option<&str>, _: &Allowed) -> Box<dyn Snapshot> {
        Box::new(self.taken(cluster))
    }
}

/// Looks for what is wanted.
struct Seeker {
    shared: Arc<Shared>,
    api: Arc<Api>,
    starter: Starter,
    resources: Arc<[CustomResource]>,
}

impl Seeker {
    async fn run(self) {
        loop {
            let is_settled = self.look().await;
            let pause = self.starter.timing.retry_max;
            sleep(if is_settled { pause * RARELY } else { pause }).await;
        }
    }

    /// Watches what is there and no longer what is not. Whether nothing more is to be expected.
    async fn look(&self) -> bool {
        let mut looked = Looked::default();
        let mut wanted: BTreeSet<Key> = BTreeSet::new();
        let mut unknown: BTreeSet<usize> = BTreeSet::new();
        wanted.extend(self.resources.iter().enumerate().filter_map(|(at, all)| Some((at, stated(all)?))));
        for (group, members) in self.groups() {
            let kinds = match self.kinds(group, &members).await {
                Ok(kinds) => kinds,
                Err(error) => {
                    looked.troubles.push(format!("kinds of {group}: {}", error.told()));
                    unknown.extend(members);
                    continue;
                }
            };
            for at in members {
                let resource = &self.resources[at];
                let before = wanted.len();
                wanted
                    .extend(kinds.iter().filter(|kind| fits(resource, kind)).map(|kind| (at, kind.clone())));
                if wanted.len() == before {
                    looked.missing.push(resource.told());
                }
            }
        }
        looked.left_out = self.keep(wanted, &unknown);
        let is_wild = self.resources.iter().any(|all| all.version.is_none() || all.kind.is_none());
        let is_settled = !is_wild && looked.missing.is_empty() && looked.troubles.is_empty();
        *self.shared.looked.lock() = looked;
        is_settled
    }

    /// The resources of each group of which something has to be asked.
    fn groups(&self) -> BTreeMap<&str, Vec<usize>> {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, resource) in self.resources.iter().enumerate().filter(|(_, all)| stated(all).is_none()) {
            groups.entry(&resource.group).or_default().push(at);
        }
        groups
    }

    /// Asks for no version that nobody wants.
    async fn kinds(&self, group: &str, members: &[usize]) -> Result<Vec<Served>, Error> {
        let versions: Option<BTreeSet<Box<str>>> =
            members.iter().map(|at| self.resources[*at].version.clone()).collect();
        let versions: Option<Vec<Box<str>>> = versions.map(|versions| versions.into_iter().collect());
        found::kinds(&self.api, group, versions.as_deref(), ANSWER_TIMEOUT).await
    }

    /// Begins and ends watches. Those of which it is `unknown` whether they are still there stay. How many there is
    /// no room for.
    fn keep(&self, wanted: BTreeSet<Key>, unknown: &BTreeSet<usize>) -> usize {
        let mut watches = self.shared.watches.write();
        watches.retain(|key, _| wanted.contains(key) || unknown.contains(&key.0));
        let mut left_out = 0;
        for key in wanted {
            if watches.contains_key(&key) {
                continue;
            }
            if watches.len() >= WATCHES_MAX {
                left_out += 1;
                continue;
            }
            let watch = self.begin(&self.resources[key.0], &key.1);
            watches.insert(key, Arc::new(watch));
        }
        left_out
    }

    fn begin(&self, resource: &CustomResource, served: &Served) -> CustomWatch {
        let place = Resource {
            group: (&*resource.group).into(),
            version: (&*served.version).into(),
            plural: (&*served.plural).into(),
            is_namespaced: true,
            is_metadata_only: false,
        };
        let kept = Arc::new(Kept::new(resource.families.clone(), self.shared.budget.clone()));
        let (health, task) = self.starter.start(&self.api, place, What::default(), kept.clone());
        CustomWatch { kept, health, head: head(resource, served), task }
    }
}

/// The labels that all rows of a kind have.
pub(super) fn head(resource: &CustomResource, served: &Served) -> Box<str> {
    let mut head = Head::default();
    head.label("customresource_group", &resource.group)
        .label("customresource_kind", &served.kind)
        .label("customresource_version", &served.version);
    head.into_text().into()
}

/// What a resource is, where the configuration leaves nothing to ask for.
fn stated(resource: &CustomResource) -> Option<Served> {
    let CustomResource { version, kind, plural, .. } = resource;
    Some(Served { version: version.clone()?, kind: kind.clone()?, plural: plural.clone()? })
}

fn fits(resource: &CustomResource, served: &Served) -> bool {
    let is = |wanted: &Option<Box<str>>, word: &str| wanted.as_deref().is_none_or(|wanted| wanted == word);
    is(&resource.version, &served.version)
        && is(&resource.kind, &served.kind)
        && is(&resource.plural, &served.plural)
}
