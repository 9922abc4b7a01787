//! Events as they come, for those who watch.
//!
//! Whoever stores events publishes them here afterwards. A reader that is too slow loses the
//! oldest and is told how many; it never slows down who publishes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::broadcast::{self, error::RecvError};
use vedette_model::Event;

/// Batches that a reader may lag behind.
const BATCHES_MAX: usize = 1024;

/// Where events are published; clones share it.
#[derive(Clone)]
pub struct LiveEvents(Arc<Inner>);

struct Inner {
    sender: broadcast::Sender<Published>,
    count: AtomicU64,
}

#[derive(Clone)]
struct Published {
    events: Arc<[Event]>,
    /// How many events were published before these.
    before: u64,
}

impl Default for LiveEvents {
    fn default() -> Self {
        Self(Arc::new(Inner { sender: broadcast::Sender::new(BATCHES_MAX), count: AtomicU64::new(0) }))
    }
}

impl LiveEvents {
    /// Shows events to all readers; costs next to nothing when there is none.
    pub fn publish(&self, events: &[Event]) {
        if events.is_empty() || self.0.sender.receiver_count() == 0 {
            return;
        }
        let before = self.0.count.fetch_add(events.len() as u64, Ordering::Relaxed);
        // Fails when the last reader has just left.
        let _ = self.0.sender.send(Published { events: events.into(), before });
    }

    /// Begins to read; gets what is published from now on.
    pub fn subscribe(&self) -> LiveReader {
        LiveReader { receiver: self.0.sender.subscribe(), next: None }
    }
}

/// One reader's place in the stream.
pub struct LiveReader {
    receiver: broadcast::Receiver<Published>,
    /// Number of the event that should come next, once one has come.
    next: Option<u64>,
}

impl LiveReader {
    /// The next events, and how many were lost before them. `None` when there will be none.
    pub async fn read(&mut self) -> Option<(Arc<[Event]>, u64)> {
        loop {
            match self.receiver.recv().await {
                Ok(published) => {
                    let lost = self.next.map_or(0, |next| published.before.saturating_sub(next));
                    self.next = Some(published.before + published.events.len() as u64);
                    return Some((published.events, lost));
                }
                Err(RecvError::Lagged(_)) => {
                    // The gap shows in the numbers of what comes next; a reader that had nothing
                    // yet counts from zero.
                    self.next.get_or_insert(0);
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
