//! Keeps the index at what the watches of a cluster tell.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use tokio::time::{sleep, timeout};
use vedette_model::{
    Identify, PodIdentity, WorkloadQuestion,
    status::{self, Part, StatusBoard},
};
use vedette_sys::MonotonicTime;

use super::{
    Index, Limits, Place, Stats,
    history::{self, History, with_causes},
};
use crate::{
    Api, Health, Hub, SharedWatch, Shelf, What,
    objects::{Job, Object as _, Owner, Pod, ReplicaSet, key},
};

/// Looking at all pods takes at most this part of the time.
const REST_FACTOR: u32 = 19;
/// Between two looks, however quick they are, and however slow.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// What is gone is forgotten, and the status told, even when nothing changes.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// Pods that are taken while nobody can ask.
const CHUNK: usize = 256;

/// The workloads of one cluster.
pub struct Identities {
    index: RwLock<Index>,
    generation: AtomicU64,
}

struct Watches {
    pods: Arc<SharedWatch<Pod>>,
    replica_sets: Arc<SharedWatch<ReplicaSet>>,
    jobs: Arc<SharedWatch<Job>>,
}

/// What one look hands to the next.
#[derive(Default)]
struct Following {
    /// By place in the index: the look in which a pod was seen last.
    seen: Vec<u32>,
    look: u32,
    history: Option<History>,
    /// Why there is no history, if there was to be one.
    problem: Option<String>,
}

impl Identities {
    /// Knows nothing yet.
    pub fn new(cluster: Arc<str>, limits: Limits) -> Self {
        Self { index: RwLock::new(Index::new(cluster, limits)), generation: AtomicU64::new(0) }
    }

    /// What is known, and what had to be forgotten.
    pub fn stats(&self) -> Stats {
        self.index.read().stats()
    }

    /// Follows the watches of a cluster for as long as somebody else holds the index, and tells how it is
    /// under this name. What is known is taken up from `history` and kept there, if there is one.
    pub async fn follow(
        self: Arc<Self>,
        hub: Arc<Hub>,
        api: Arc<Api>,
        status: StatusBoard,
        part: String,
        history: Option<Place>,
    ) {
        let watches = Watches {
            pods: hub.watch(&api, What::default()),
            replica_sets: hub.watch(&api, What::default()),
            jobs: hub.watch(&api, What::default()),
        };
        let watches = Arc::new(watches);
        let mut changes = (watches.pods.changes(), watches.replica_sets.changes(), watches.jobs.changes());
        let begun = (hub.clock().unix_ms(), hub.clock().monotonic());
        let this = self.clone();
        // The runtime ends.
        let Ok(mut following) = tokio::task::spawn_blocking(move || this.begin(history, begun)).await else {
            return;
        };
        while Arc::strong_count(&self) > 1 {
            for receiver in [&mut changes.0, &mut changes.1, &mut changes.2] {
                receiver.mark_unchanged();
            }
            let begin = hub.clock().monotonic();
            let now_ms = hub.clock().unix_ms();
            let looked = tokio::task::spawn_blocking({
                let (this, watches) = (self.clone(), watches.clone());
                move || {
                    this.look(&watches, &mut following, (now_ms, begin));
                    following
                }
            });
            let Ok(back) = looked.await else { return };
            following = back;
            status.post(&part, self.part(&watches, &following));
            let rest = hub.clock().monotonic().since(begin).saturating_mul(REST_FACTOR);
            let any = async {
                tokio::select! {
                    _ = changes.0.changed() => {}
                    _ = changes.1.changed() => {}
                    _ = changes.2.changed() => {}
                }
            };
            let _ = timeout(IDLE_MAX, any).await;
            sleep(rest.clamp(PAUSE, PAUSE_MAX)).await;
        }
    }

    /// Takes up what was kept. Whoever asks meanwhile is not kept waiting.
    fn begin(&self, place: Option<Place>, now: (i64, MonotonicTime)) -> Following {
        let mut following = Following::default();
        let Some(place) = place else { return following };
        let mut index = self.index.read().anew();
        match History::open(place, history::Limits::default(), &mut index, now) {
            Ok(history) => following.history = Some(history),
            Err(error) => following.problem = Some(with_causes(&error)),
        }
        *self.index.write() = index;
        self.generation.fetch_add(1, Ordering::Release);
        following
    }

    /// Takes what is another than before.
    fn look(&self, watches: &Watches, following: &mut Following, (now_ms, now): (i64, MonotonicTime)) {
        following.look = following.look.wrapping_add(1);
        let Following { seen, look, history, .. } = following;
        let look = *look;
        let state = watches.pods.health().state();
        let is_whole = state.is_whole;
        let mut changed: Vec<(Arc<Pod>, u64)> = Vec::new();
        {
            let (pods, index) = (watches.pods.objects(), self.index.read());
            for (_, pod, version) in pods.iter() {
                match index.known(&pod.meta().uid) {
                    Some((slot, known)) => {
                        mark(seen, slot, look);
                        if known != version {
                            changed.push((pod.clone(), version));
                        }
                    }
                    None => changed.push((pod.clone(), version)),
                }
            }
        }
        for chunk in changed.chunks(CHUNK) {
            let mut index = self.index.write();
            for (pod, version) in chunk {
                index.put(pod, *version, now_ms);
                if let Some((slot, _)) = index.known(&pod.meta().uid) {
                    mark(seen, slot, look);
                }
            }
        }
        // Before the first list is whole, what it has not named yet is not gone.
        let is_seen = |slot: &u32| seen.get(*slot as usize) == Some(&look);
        let gone: Vec<u32> = if is_whole {
            self.index.read().live().filter(|slot| !is_seen(slot)).collect()
        } else {
            Vec::new()
        };
        let mut index = self.index.write();
        gone.iter().for_each(|slot| index.end(*slot, now_ms, now));
        index.forget(now);
        let (replica_sets, jobs) = (watches.replica_sets.objects(), watches.jobs.objects());
        let is_resolved = index.resolve(|kind, namespace, name| match kind {
            "ReplicaSet" => above(&replica_sets, namespace, name),
            _ => above(&jobs, namespace, name),
        });
        drop(index);
        if is_resolved || !changed.is_empty() || !gone.is_empty() {
            self.generation.fetch_add(1, Ordering::Release);
        }
        if let Some(history) = history {
            // While nothing is heard of the cluster, pods may go without being seen.
            let is_known = is_whole && state.trouble.is_none();
            history.keep(&self.index, is_known, (now_ms, now));
        }
    }

    fn part(&self, watches: &Watches, following: &Following) -> Part {
        let troubles = [watches.pods.health(), watches.replica_sets.health(), watches.jobs.health()];
        let mut troubles: Vec<String> = troubles.into_iter().filter_map(Health::told).collect();
        let mut remedies = Vec::new();
        if !troubles.is_empty() {
            remedies.push(
                "Give the account the rights to list and watch pods, replicasets.apps and jobs.batch, \
                and see that the API server is reached.",
            );
        }
        let history = following.history.as_ref();
        if let Some(problem) = following.problem.as_deref() {
            troubles.push(format!("pods of before are not known, and none are kept: {problem}"));
            remedies.push("See to the file, then start again.");
        } else if let Some(problem) = history.and_then(History::problem) {
            troubles.push(format!("pods are not kept over a restart: {problem}"));
            remedies.push("See to the disk of the data folder; writing is tried again every minute.");
        }
        let mut part = if troubles.is_empty() {
            Part::ok()
        } else {
            Part::new(status::Health::Degraded, troubles.join("; "), remedies.join(" "))
        };
        let stats = self.stats();
        part = part
            .fact("pods", stats.live)
            .fact("pods that are gone", stats.gone)
            .fact("forgotten before their time", stats.forgotten + stats.parts_forgotten);
        if let Some(history) = history {
            let figures = history.figures();
            part = part
                .fact("bytes on disk", figures.bytes)
                .fact("bytes lost on disk", figures.lost_bytes)
                .fact("pods left out on disk", figures.left_out);
        }
        part
    }
}

fn mark(seen: &mut Vec<u32>, slot: u32, look: u32) {
    let place = slot as usize;
    if seen.len() <= place {
        seen.resize(place + 1, look.wrapping_sub(1));
    }
    seen[place] = look;
}

/// Who made an object, if somebody did; `None` where it is not known, or not yet.
fn above<O: crate::objects::Object>(shelf: &Shelf<O>, namespace: &str, name: &str) -> Option<Option<Owner>> {
    Some(shelf.get(&key(namespace, name))?.0.meta().controller.as_deref().cloned())
}

impl Identify for Identities {
    fn identify(&self, question: &WorkloadQuestion<'_>, limit: usize) -> Vec<PodIdentity> {
        self.index.read().identify(question, limit)
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}
