//! Who runs next: the clients that wait take turns, and of one client the first to come is first.
//!
//! Invariant: a free slot and a client that waits and may run are never there at the same time.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use hyper::HeaderMap;
use tokio::sync::oneshot;

use crate::Config;

/// Headers by which a proxy or a dashboard says for whom it asks. They are believed, as whoever
/// reaches this server may ask everything; a client that makes names up takes turns with itself.
const NAMING_HEADERS: [&str; 3] = ["x-forwarded-for", "x-grafana-user", "user-agent"];

/// The longest name of a client, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// Who asks: the address, and what the request says of its user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Client(Arc<str>);

impl Client {
    /// The client of a request.
    pub fn new(address: IpAddr, headers: &HeaderMap) -> Self {
        let mut name = address.to_string();
        for header in NAMING_HEADERS {
            let given = headers.get(header).and_then(|v| v.to_str().ok());
            if let Some(text) = given.filter(|text| !text.is_empty()) {
                name.push(' ');
                name.extend(text.chars().take(NAME_BYTES_MAX.saturating_sub(name.len())));
            }
        }
        Self(name.into())
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why there is no place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Too many wait.
    Full,
    /// Too many of this client wait.
    ClientFull,
}

/// Slots, and who waits for them.
pub struct Queue {
    slots_max: usize,
    slots_of_client_max: usize,
    waiting_max: usize,
    waiting_of_client_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    taken: usize,
    /// Slots that each client has; none with 0.
    taken_by: HashMap<Client, usize>,
    waiting: HashMap<Client, VecDeque<Waiter>>,
    /// The clients that wait, in the order of their turns.
    turns: VecDeque<Client>,
    waiting_count: usize,
    last_ticket: u64,
}

struct Waiter {
    ticket: u64,
    slot: oneshot::Sender<Slot>,
}

/// A slot, free again when this is dropped.
pub struct Slot {
    queue: Arc<Queue>,
    client: Client,
}

/// A place in the queue, given up when this is dropped.
pub struct Place {
    queue: Arc<Queue>,
    client: Client,
    ticket: u64,
    slot: oneshot::Receiver<Slot>,
}

impl Queue {
    pub fn new(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            slots_max: config.queries_max,
            slots_of_client_max: config.queries_of_client_max,
            waiting_max: config.queries_waiting_max,
            waiting_of_client_max: config.queries_waiting_of_client_max,
            state: Mutex::default(),
        })
    }

    /// A slot, if this client need not wait for it.
    pub fn free_slot(self: &Arc<Self>, client: &Client) -> Option<Slot> {
        self.take_free(&mut self.lock(), client)
    }

    /// A slot, or a place in the queue, which becomes a slot.
    pub fn slot(self: &Arc<Self>, client: &Client) -> Result<Result<Slot, Place>, Refusal> {
        let mut state = self.lock();
        if let Some(slot) = self.take_free(&mut state, client) {
            return Ok(Ok(slot));
        }
        let waits = state.waiting.contains_key(client);
        if state.waiting_count >= self.waiting_max {
            return Err(Refusal::Full);
        }
        if state.waiting.get(client).map_or(0, VecDeque::len) >= self.waiting_of_client_max {
            return Err(Refusal::ClientFull);
        }
        let (sender, receiver) = oneshot::channel();
        state.last_ticket += 1;
        let ticket = state.last_ticket;
        if !waits {
            state.turns.push_back(client.clone());
        }
        let waiter = Waiter { ticket, slot: sender };
        state.waiting.entry(client.clone()).or_default().push_back(waiter);
        state.waiting_count += 1;
        Ok(Err(Place { queue: Arc::clone(self), client: client.clone(), ticket, slot: receiver }))
    }

    fn take_free(self: &Arc<Self>, state: &mut State, client: &Client) -> Option<Slot> {
        let taken_by = state.taken_by.get(client).copied().unwrap_or(0);
        // A client that waits already is behind itself.
        let waits = state.waiting.contains_key(client);
        if state.taken >= self.slots_max || taken_by >= self.slots_of_client_max || waits {
            return None;
        }
        state.take(client);
        Some(Slot { queue: Arc::clone(self), client: client.clone() })
    }

    /// Gives free slots to those whose turn it is.
    fn hand_out(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let mut given = Vec::new();
        while state.taken < self.slots_max
            && let Some((client, waiter)) = state.next(self.slots_of_client_max)
        {
            state.take(&client);
            given.push((waiter, Slot { queue: Arc::clone(self), client }));
        }
        drop(state);
        // A slot that nobody waits for any longer comes back as it is dropped, outside the lock.
        for (waiter, slot) in given {
            drop(waiter.slot.send(slot));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, client: &Client) {
        self.taken += 1;
        *self.taken_by.entry(client.clone()).or_default() += 1;
    }

    /// The first that waits of the first client in turn that may have another slot.
    fn next(&mut self, of_client_max: usize) -> Option<(Client, Waiter)> {
        let may_run = |client: &Client| self.taken_by.get(client).copied().unwrap_or(0) < of_client_max;
        let at = self.turns.iter().position(may_run)?;
        let client = self.turns.remove(at)?;
        let queue = self.waiting.get_mut(&client)?;
        let waiter = queue.pop_front()?;
        self.waiting_count -= 1;
        if queue.is_empty() {
            self.waiting.remove(&client);
        } else {
            self.turns.push_back(client.clone());
        }
        Some((client, waiter))
    }

    fn leave(&mut self, client: &Client, ticket: u64) {
        let Some(queue) = self.waiting.get_mut(client) else { return };
        let Some(at) = queue.iter().position(|w| w.ticket == ticket) else { return };
        queue.remove(at);
        self.waiting_count -= 1;
        if queue.is_empty() {
            self.waiting.remove(client);
            self.turns.retain(|c| c != client);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.taken -= 1;
        if let Some(taken) = state.taken_by.get_mut(&self.client) {
            *taken -= 1;
            if *taken == 0 {
                state.taken_by.remove(&self.client);
            }
        }
        self.queue.hand_out(state);
    }
}

impl Future for Place {
    type Output = Slot;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Slot> {
        let slot = Pin::new(&mut self.slot).poll(cx);
        slot.map(|slot| slot.expect("BUG: a place in the queue was lost"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.lock().leave(&self.client, self.ticket);
    }
}

#[cfg(test)]
mod tests;
