//! Events of clusters on their way into the store: what is stored already is not stored again.

use std::{collections::HashMap, sync::Arc, time::Duration};

use vedette_eventdb::{EventDb, Search};
use vedette_k8s::{EventFeed, FedEvent, FeedWatch};
use vedette_model::{
    Batch, Directory, Event, EventKind, Fact, Host, Identify as _, Origin, Payload, Rejected, Sink,
    WorkloadQuestion,
    status::{Health, Part, StatusBoard},
};
use vedette_sys::Clock;

use crate::clusters::Connected;

/// Between two batches.
const PAUSE: Duration = Duration::from_millis(500);
/// Events of one batch; with the pause, 1,000 a second at most.
const BATCH_EVENTS_MAX: usize = 500;
/// Events of Kubernetes that are looked through at most for what is stored, the newest first. How long a cluster
/// keeps its events is not told, so that all that the store has are looked at up to this.
const STORED_MAX: usize = 1_000_000;
/// Events of one answer of the store.
const PAGE: usize = 1000;

/// Where events go.
#[derive(Clone)]
pub struct Keeping {
    /// Takes them, judging them on the way.
    pub sink: Arc<dyn Sink>,
    /// Has what was stored before.
    pub store: Arc<EventDb>,
    /// This machine.
    pub host: Arc<Host>,
    /// Who sends.
    pub origin: Origin,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where it is said how it goes.
    pub status: StatusBoard,
    /// Knows workloads.
    pub directory: Directory,
}

/// Keeps the events of a cluster until the program ends.
pub async fn keep(connected: Connected, keeping: Keeping) {
    let Connected { name, hub, api } = connected;
    let stored = {
        let (store, name) = (keeping.store.clone(), name.clone());
        tokio::task::spawn_blocking(move || stored(&store, &name, STORED_MAX))
    };
    let Ok(stored) = stored.await else { return };
    let feed = Arc::new(EventFeed::new(name.clone(), stored.iter().map(|(uid, count)| (&**uid, *count))));
    drop(stored);
    let watch = feed.watch(&hub, &api);
    let part = format!("events {name}");
    let mut sender = Sender { keeping, seq: 0, waiting: Vec::new(), sent: 0, lost: 0, refusal: None };
    loop {
        tokio::time::sleep(PAUSE).await;
        let feed_taken = feed.clone();
        let sent = tokio::task::spawn_blocking(move || {
            sender.turn(&feed_taken);
            sender
        });
        let Ok(back) = sent.await else { return };
        sender = back;
        sender.keeping.status.post(&part, sender.part(&feed, &watch));
    }
}

/// Uids of the events of a cluster that are stored, each with its greatest count, of at most so many events.
fn stored(store: &EventDb, cluster: &str, events_max: usize) -> HashMap<String, u64> {
    let mut search = Search { kinds: vec![EventKind::Kubernetes], limit: PAGE, ..Search::default() };
    let mut stored = HashMap::new();
    let mut looked_at = 0;
    loop {
        let found = match store.search(&search) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, cluster, "events that are stored cannot be read; some may be stored again");
                return stored;
            }
        };
        looked_at += found.events.len();
        for event in found.events {
            if let Fact::Kubernetes(told) = event.fact
                && told.cluster == cluster
            {
                let count = stored.entry(told.uid).or_insert(told.count);
                *count = told.count.max(*count);
            }
        }
        if found.next.is_none() {
            return stored;
        }
        if looked_at >= events_max {
            tracing::warn!(
                looked_at,
                cluster,
                "older events of the store are not looked at; some may be stored again"
            );
            return stored;
        }
        search.before = found.next;
    }
}

struct Sender {
    keeping: Keeping,
    seq: u64,
    /// What the store did not take yet.
    waiting: Vec<Event>,
    sent: u64,
    lost: u64,
    refusal: Option<String>,
}

impl Sender {
    fn turn(&mut self, feed: &EventFeed) {
        if self.waiting.is_empty() {
            let (events, lost) = feed.take(BATCH_EVENTS_MAX);
            self.waiting = events.into_iter().map(|fed| self.event(fed)).collect();
            self.lost += lost;
            if lost > 0 {
                let fact = Fact::Loss { place: "events of Kubernetes".into(), count: lost };
                self.waiting.push(self.stamped(fact, None));
            }
        }
        if self.waiting.is_empty() {
            return;
        }
        let events = std::mem::take(&mut self.waiting);
        let count = events.len() as u64;
        let payload = Payload::Events(events);
        let batch = Batch { origin: self.keeping.origin.clone(), seq: self.seq + 1, payload };
        let taken = self.keeping.sink.accept(&batch);
        self.refusal = taken.as_ref().err().map(ToString::to_string);
        match taken {
            Ok(()) => {
                self.seq += 1;
                self.sent += count;
            }
            Err(Rejected::Retry(_)) => {
                let Payload::Events(events) = batch.payload else { return };
                self.waiting = events;
            }
            // Its number goes to the next, as what is left out counts as a batch that never came.
            Err(rejected) => {
                tracing::error!(%rejected, "events of a cluster were refused for good");
                self.lost += count;
            }
        }
    }

    fn event(&self, (mut told, last_ns): FedEvent) -> Event {
        if told.object_kind == "Pod" && !told.object_uid.is_empty() {
            let pod = self.keeping.directory.identify(&WorkloadQuestion::PodUid(&told.object_uid), 1).pop();
            told.workload = pod.map(|pod| pod.workload).unwrap_or_default();
        }
        self.stamped(Fact::Kubernetes(Box::new(told)), last_ns)
    }

    /// Clocks of other machines may go before ours, but nothing is stored that is still to come.
    fn stamped(&self, fact: Fact, last_ns: Option<i64>) -> Event {
        let now_ns = self.keeping.clock.unix_ns();
        let time_ns = last_ns.unwrap_or(now_ns).clamp(0, now_ns.max(0));
        let host = self.keeping.host.clone();
        Event { id: 0, time_ns, host, container: None, process: None, fact }
    }

    fn part(&self, feed: &EventFeed, watch: &FeedWatch) -> Part {
        let part = match (watch.health.told(), &self.refusal) {
            (Some(trouble), _) => Part::new(
                Health::Degraded,
                trouble,
                "Give the account the rights to list and watch events, and see that the API server is reached.",
            ),
            (None, Some(refusal)) => Part::new(
                Health::Degraded,
                format!("the event store does not take events: {refusal}"),
                "They wait in memory up to a bound; see eventdb.",
            ),
            (None, None) => Part::ok(),
        };
        let (known, waiting) = feed.figures();
        part.fact("events in the cluster", known)
            .fact("stored", self.sent)
            .fact("waiting", waiting + self.waiting.len())
            .fact("lost", self.lost)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use vedette_model::KubernetesEvent;
    use vedette_sys::{ManualClock, SimFs};

    use super::*;

    const DAY_NS: i64 = 86_400_000_000_000;

    fn event(cluster: &str, uid: &str, count: u64, time_ns: i64) -> Event {
        let host = Arc::new(Host { name: "h".into(), id: String::new(), boot_id: String::new() });
        let told =
            KubernetesEvent { cluster: cluster.into(), uid: uid.into(), count, ..KubernetesEvent::default() };
        let fact = Fact::Kubernetes(Box::new(told));
        Event { id: 0, time_ns, host, container: None, process: None, fact }
    }

    /// A cluster may be told to keep its events for days: what the store has of them is known, however old.
    #[test]
    fn what_is_stored_is_known_as_far_back_as_the_store_goes() {
        let now_ns = 20_000 * DAY_NS;
        let config = vedette_eventdb::Config {
            catalogue: vedette_eventdb::CataloguePlace::Memory,
            ..vedette_eventdb::Config::new(Path::new("/events"))
        };
        let clock = Arc::new(ManualClock::at(now_ns));
        let (store, _) = EventDb::open(config, Arc::new(SimFs::new(1)), clock).expect("a store");
        // More than one answer of the store has.
        let mut events = vec![event("main", "old", 3, now_ns - 6 * DAY_NS), event("other", "x", 1, now_ns)];
        events.extend((0..PAGE).map(|n| event("main", &format!("e{n}"), 1, now_ns - 2 * DAY_NS)));
        events.push(event("main", "old", 2, now_ns));
        store.append(&mut events).expect("stored");
        let known = stored(&store, "main", STORED_MAX);
        assert_eq!((known.len(), known.get("old"), known.get("x")), (PAGE + 1, Some(&3), None));
        // The newest come first, and there is an end to looking.
        let known = stored(&store, "main", PAGE);
        assert_eq!((known.len(), known.get("old")), (PAGE, Some(&2)));
    }
}
