//! What parts of a cluster tell of its objects, each event once for each count of it.
//!
//! A list after a trouble, or after a restart, tells what was told before: of every event that the cluster
//! still has, the count is known that was passed on last. Nothing else of events is kept.

use std::{collections::VecDeque, sync::Arc};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use vedette_model::KubernetesEvent;

use crate::{
    Api, Health, Hub, Sink, What,
    identity::text::{Uid, uid},
    objects::{ClusterEvent, Meta, Object as _},
};

/// Events that wait to be fetched, and their bytes; of more, the newest are lost and counted. Most have less
/// than 1 KiB; texts of the longest that are taken would make one of 36 KiB.
const WAITING_MAX: usize = 20_000;
const WAITING_BYTES_MAX: usize = 32 << 20;
/// Events whose counts are known; a cluster forgets its events after an hour.
const KNOWN_MAX: usize = 500_000;
/// Texts that are longer are cut; an API server allows 1 kB.
const TEXT_BYTES_MAX: usize = 4096;

/// The events of one cluster, on their way.
pub struct EventFeed {
    cluster: Arc<str>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: HashMap<Uid, Known>,
    /// The number of the list under way or, after it, of the last.
    list: u64,
    waiting: VecDeque<FedEvent>,
    /// What those that wait take in memory.
    waiting_bytes: usize,
    lost: u64,
}

struct Known {
    count: u64,
    list: u64,
}

/// An event, and when it happened last, in nanoseconds since 1970, if that was told.
pub type FedEvent = (KubernetesEvent, Option<i64>);

/// The watch behind a feed. Dropped, it ends.
pub struct FeedWatch {
    /// How it is.
    pub health: Arc<Health>,
    task: JoinHandle<()>,
}

impl Drop for FeedWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl EventFeed {
    /// Uids and counts of events were passed on before.
    pub fn new<'a>(cluster: Arc<str>, before: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        let mut state = State::default();
        for (id, count) in before {
            let known = state.known.entry(uid(id)).or_insert(Known { count, list: 0 });
            known.count = known.count.max(count);
        }
        Self { cluster, state: Mutex::new(state) }
    }

    /// Begins to watch.
    pub fn watch(self: &Arc<Self>, hub: &Hub, api: &Arc<Api>) -> FeedWatch {
        let (health, task) = hub.feed::<ClusterEvent, Self>(api, What::default(), self.clone());
        FeedWatch { health, task }
    }

    /// The next events, at most so many, and how many were lost since the last time.
    pub fn take(&self, events_max: usize) -> (Vec<FedEvent>, u64) {
        let mut state = self.state.lock();
        let count = state.waiting.len().min(events_max);
        let taken: Vec<FedEvent> = state.waiting.drain(..count).collect();
        state.waiting_bytes -= taken.iter().map(bytes).sum::<usize>();
        (taken, std::mem::take(&mut state.lost))
    }

    /// How many events the cluster has, and how many wait.
    pub fn figures(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.known.len(), state.waiting.len())
    }

    fn told(&self, event: &ClusterEvent) -> KubernetesEvent {
        let object = &event.involved_object;
        KubernetesEvent {
            cluster: self.cluster.to_string(),
            uid: cut(&event.meta().uid),
            kind: cut(&event.kind),
            reason: cut(&event.reason),
            note: cut(&event.message),
            count: event.count(),
            first_ns: event.first_ns().unwrap_or_default(),
            reporter: cut(event.reporter()),
            object_kind: cut(&object.kind),
            object_name: cut(&object.name),
            namespace: cut(&object.namespace),
            object_uid: cut(&object.uid),
            workload: Default::default(),
        }
    }
}

fn cut(text: &str) -> String {
    start(text).to_owned()
}

fn start(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

/// By which an event is known, also after a restart, when only what was kept of its uid is there.
fn known_by(meta: &Meta) -> Uid {
    uid(start(&meta.uid))
}

/// What an event that waits takes in memory.
fn bytes((event, _): &FedEvent) -> usize {
    let KubernetesEvent { cluster, uid, kind, reason, note, reporter, .. } = event;
    let KubernetesEvent { object_kind, object_name, namespace, object_uid, .. } = event;
    let texts = [cluster, uid, kind, reason, note, reporter, object_kind, object_name, namespace, object_uid];
    size_of::<FedEvent>() + texts.iter().map(|text| text.len()).sum::<usize>()
}

impl Sink<ClusterEvent> for EventFeed {
    fn begin(&self) {
        self.state.lock().list += 1;
    }

    fn put(&self, event: ClusterEvent) {
        let mut state = self.state.lock();
        let State { known, list, waiting, waiting_bytes, lost } = &mut *state;
        let (id, count, list) = (known_by(event.meta()), event.count(), *list);
        if let Some(known) = known.get_mut(&id) {
            known.list = list;
            if known.count >= count {
                return;
            }
        } else if known.len() >= KNOWN_MAX {
            *lost += 1;
            return;
        }
        let fed = (self.told(&event), event.last_ns());
        let size = bytes(&fed);
        if waiting.len() >= WAITING_MAX || *waiting_bytes + size > WAITING_BYTES_MAX {
            // Its count stays what it was, so that another list tells it again.
            *lost += 1;
            return;
        }
        known.insert(id, Known { count, list });
        *waiting_bytes += size;
        waiting.push_back(fed);
    }

    fn remove(&self, meta: &Meta) {
        self.state.lock().known.remove(&known_by(meta));
    }

    fn finish(&self) {
        let mut state = self.state.lock();
        let list = state.list;
        state.known.retain(|_, known| known.list == list);
    }

    fn settle(&self) {}
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event_with(id: &str, count: u64, message: &str) -> ClusterEvent {
        let value = json!({"metadata": {"name": "n", "uid": id}, "reason": "R", "count": count, "message": message,
            "lastTimestamp": "1970-01-01T00:00:05Z"});
        serde_json::from_value(value).expect("sound")
    }

    fn event(id: &str, count: u64) -> ClusterEvent {
        event_with(id, count, &"é".repeat(3000))
    }

    fn taken(feed: &EventFeed) -> Vec<(String, u64)> {
        let (events, lost) = feed.take(100);
        assert_eq!(lost, 0);
        assert!(events.iter().all(|(event, at)| event.note.len() == 4096 && *at == Some(5_000_000_000)));
        events.into_iter().map(|(event, _)| (event.uid, event.count)).collect()
    }

    fn told(id: &str, count: u64) -> (String, u64) {
        (id.to_owned(), count)
    }

    #[test]
    fn each_count_is_told_once_over_lists_and_restarts() {
        let feed = EventFeed::new("main".into(), [("a", 2), ("a", 4), ("old", 1)]);
        feed.begin();
        [event("a", 4), event("b", 1), event("c", 2)].into_iter().for_each(|event| feed.put(event));
        feed.finish();
        assert_eq!(taken(&feed), [told("b", 1), told("c", 2)]);
        feed.put(event("b", 2));
        feed.put(event("b", 2));
        assert_eq!(taken(&feed), [told("b", 2)]);
        // The same again after a trouble, and one that happened meanwhile; one is gone.
        feed.begin();
        [event("a", 5), event("b", 2)].into_iter().for_each(|event| feed.put(event));
        feed.finish();
        assert_eq!(taken(&feed), [told("a", 5)]);
        assert_eq!(feed.figures(), (2, 0));
        feed.remove(event("b", 2).meta());
        assert_eq!(feed.figures(), (1, 0));
    }

    #[test]
    fn what_nobody_fetches_is_lost_and_counted_until_it_is_told_again() {
        let feed = EventFeed::new("main".into(), []);
        (0..=WAITING_MAX).for_each(|n| feed.put(event_with(&n.to_string(), 1, "short")));
        let (events, lost) = feed.take(WAITING_MAX + 1);
        assert_eq!((events.len(), lost), (WAITING_MAX, 1));
        feed.put(event(&WAITING_MAX.to_string(), 1));
        assert_eq!(taken(&feed), [told(&WAITING_MAX.to_string(), 1)]);
    }

    /// Every text as long as it comes: far fewer wait, and those that are fetched make room.
    #[test]
    fn what_waits_is_bounded_by_its_bytes_also() {
        let long = "x".repeat(2 * TEXT_BYTES_MAX);
        let event = |number: usize| -> ClusterEvent {
            let value = json!({"metadata": {"name": "n", "uid": format!("{number}-{long}")}, "reason": long,
                "message": long, "type": long, "source": {"component": long}, "involvedObject":
                {"kind": long, "namespace": long, "name": long, "uid": long}});
            serde_json::from_value(value).expect("sound")
        };
        let feed = EventFeed::new("main".into(), []);
        (0..1000).for_each(|number| feed.put(event(number)));
        let (known, waiting) = feed.figures();
        // Nine texts of 4 KiB each, and a little beside them.
        let most = WAITING_BYTES_MAX / (9 * TEXT_BYTES_MAX);
        assert!(waiting == known && (most * 9 / 10..=most).contains(&waiting), "{waiting} of {most}");
        let (events, lost) = feed.take(1000);
        assert_eq!((events.len(), lost), (waiting, (1000 - waiting) as u64));
        // What was lost finds room when it is told again, and what was fetched is known by what was kept of it.
        (waiting - 1..=waiting).for_each(|number| feed.put(event(number)));
        let (more, lost) = feed.take(1000);
        assert_eq!((more.len(), lost), (1, 0));
        let after = EventFeed::new("main".into(), events.iter().map(|(event, _)| (&*event.uid, event.count)));
        after.put(event(0));
        assert!(after.take(1000).0.is_empty());
    }
}
