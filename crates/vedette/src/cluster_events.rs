//! Events of clusters on their way into the store: what is stored already is not stored again.

use std::{sync::Arc, time::Duration};

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
/// How far back it is looked for what is stored: API servers forget events after an hour where nobody says
/// otherwise.
const STORED_NS: i64 = 26 * 3_600_000_000_000;
/// Events that are looked through at most.
const STORED_MAX: usize = 300_000;
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
        let (keeping, name) = (keeping.clone(), name.clone());
        tokio::task::spawn_blocking(move || stored(&keeping, &name))
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

/// Uids and counts of the events of a cluster that are stored.
fn stored(keeping: &Keeping, cluster: &str) -> Vec<(String, u64)> {
    let from = keeping.clock.unix_ns().saturating_sub(STORED_NS);
    let mut search = Search {
        range_ns: (from, i64::MAX),
        kinds: vec![EventKind::Kubernetes],
        limit: PAGE,
        ..Search::default()
    };
    let mut stored = Vec::new();
    loop {
        let found = match keeping.store.search(&search) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, cluster, "events that are stored cannot be read; some may be stored again");
                return stored;
            }
        };
        for event in found.events {
            if let Fact::Kubernetes(told) = event.fact
                && told.cluster == cluster
            {
                stored.push((told.uid, told.count));
            }
        }
        if found.next.is_none() || stored.len() >= STORED_MAX {
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
        let state = watch.health.state();
        let trouble = state.trouble.map(|trouble| trouble.told(watch.health.resource(), state.is_whole));
        let part = match (trouble, &self.refusal) {
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
