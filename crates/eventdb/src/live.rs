//! Appended events as they come, for readers of the live view.
//!
//! A reader that is too slow loses the oldest events that wait for it, and is told how many;
//! it never holds up the writer.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use vedette_model::Event;

use crate::entry::Entry;

/// Receives every event appended after it was made, until it is dropped.
pub struct Subscription(Arc<Queue>);

/// What waiting for an event gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// The next event.
    Event(Arc<Event>),
    /// None came in time.
    Timeout,
    /// The store is gone: none will come.
    Closed,
}

struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    events_max: usize,
}

#[derive(Default)]
struct State {
    events: VecDeque<Arc<Event>>,
    missed: u64,
    closed: bool,
}

impl Subscription {
    /// The next event, if one waits.
    pub fn try_recv(&self) -> Option<Arc<Event>> {
        self.0.state.lock().events.pop_front()
    }

    /// The next event; waits for it at most `timeout`.
    pub fn recv_timeout(&self, timeout: Duration) -> Received {
        let mut state = self.0.state.lock();
        let wait = |state: &mut State| state.events.is_empty() && !state.closed;
        self.0.changed.wait_while_for(&mut state, wait, timeout);
        match state.events.pop_front() {
            Some(event) => Received::Event(event),
            None if state.closed => Received::Closed,
            None => Received::Timeout,
        }
    }

    /// How many events were dropped since the last call because this reader was too slow.
    pub fn take_missed(&self) -> u64 {
        std::mem::take(&mut self.0.state.lock().missed)
    }
}

/// All subscribers of a store.
#[derive(Default)]
pub(crate) struct Subscribers(Mutex<Vec<Weak<Queue>>>);

impl Subscribers {
    pub(crate) fn subscribe(&self, events_max: usize) -> Subscription {
        let queue = Arc::new(Queue { state: Mutex::default(), changed: Condvar::new(), events_max });
        self.0.lock().push(Arc::downgrade(&queue));
        Subscription(queue)
    }

    /// Hands events to everybody; gives how many were dropped.
    pub(crate) fn publish(&self, events: &[Arc<Entry>]) -> u64 {
        let mut dropped = 0;
        self.0.lock().retain(|queue| {
            let Some(queue) = queue.upgrade() else { return false };
            let mut state = queue.state.lock();
            for event in events.iter().map(|e| &e.event) {
                if state.events.len() >= queue.events_max {
                    state.events.pop_front();
                    state.missed += 1;
                    dropped += 1;
                }
                state.events.push_back(event.clone());
            }
            drop(state);
            queue.changed.notify_all();
            true
        });
        dropped
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().iter().filter(|q| q.strong_count() > 0).count()
    }

    pub(crate) fn close(&self) {
        for queue in self.0.lock().drain(..).filter_map(|q| q.upgrade()) {
            queue.state.lock().closed = true;
            queue.changed.notify_all();
        }
    }
}
