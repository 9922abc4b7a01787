//! The way to the blocking threads: so many at a time, the rest in queues, and everyone gone at its
//! deadline or when its client leaves.
//!
//! Each client has a queue of its own, and the clients that wait take turns; none may have all
//! slots. So a few that ask for much do not make the others wait for long. A query that was quick
//! when it was asked last is tried at once, where its request was read, and only if it takes longer
//! this time it goes that way. The slot is held by the thread that works, not by the request that
//! waits for it, so a query that was given up on still counts until it has really ended.

mod queue;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use vedette_promql::{Cancel, MemoryBudget, MemoryPool, Threads};
use vedette_sys::Clock;

pub use self::queue::Client;
use self::queue::{Queue, Refusal, Slot};
use crate::{
    Config,
    metrics::Metrics,
    quick::{Key, Quick},
};

/// How long a query that was quick may hold up others that were read by the same thread.
const AT_ONCE_MAX: Duration = Duration::from_millis(10);
/// A query asks very often whether it is overdue; the clock is asked once in so many times.
const ASKED_PER_LOOK: u32 = 64;

/// Lets queries run.
pub struct Gate {
    queue: Arc<Queue>,
    timeout_max: Duration,
    memory_bytes_max: u64,
    memory: Arc<MemoryPool>,
    threads: Arc<Threads>,
    metrics: Arc<Metrics>,
    quick: Arc<Quick>,
    clock: Arc<dyn Clock>,
}

/// What work is given when it is its turn.
pub struct Turn {
    /// Tells it to stop, and counts its memory.
    pub cancel: Cancel,
    /// What it may hold.
    pub memory: Arc<MemoryBudget>,
    /// How long it waited.
    pub waited: Duration,
    /// Set when the work is tried and took too long: its result is thrown away, and it comes again.
    given_up: Option<Arc<AtomicBool>>,
}

impl Turn {
    /// Whether the work is to be done again, so that nothing is to be told of this time.
    pub fn is_given_up(&self) -> bool {
        self.is_tried() && self.is_overdue()
    }

    /// Whether the work may have to be done again.
    pub fn is_tried(&self) -> bool {
        self.given_up.is_some()
    }

    fn is_overdue(&self) -> bool {
        self.given_up.as_ref().is_some_and(|given_up| given_up.load(Ordering::Relaxed))
    }
}

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Too many wait already.
    Full,
    /// This client has too many that wait already.
    ClientFull,
    /// Its turn did not come in time.
    TimedOutWaiting,
    /// It did not end in time.
    TimedOutRunning,
    /// The thread ended without a result.
    Died,
}

/// Stops the query when the request is dropped, which is what the server does when a client leaves.
struct StopOnDrop {
    cancel: Cancel,
    metrics: Option<Arc<Metrics>>,
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(metrics) = &self.metrics {
            metrics.queries_canceled.inc();
        }
    }
}

impl Gate {
    /// A gate with the limits of `config`.
    pub fn new(config: &Config, metrics: Arc<Metrics>, clock: Arc<dyn Clock>) -> Self {
        Self {
            queue: Queue::new(config),
            timeout_max: config.query_timeout,
            memory_bytes_max: config.query_memory_bytes_max,
            memory: MemoryPool::new(config.queries_memory_bytes_max),
            threads: Threads::new(config.query_threads),
            metrics,
            quick: Arc::default(),
            clock,
        }
    }

    /// Memory that queries have taken.
    pub fn memory_bytes(&self) -> u64 {
        self.memory.bytes()
    }

    /// As [`Gate::run`], for a query that may come again.
    pub async fn run_query<T: Send + 'static>(
        &self,
        client: &Client,
        key: Key,
        timeout: Option<Duration>,
        work: impl Fn(&Turn) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        if self.quick.is_quick(key)
            && let Some(slot) = self.queue.free_slot(client)
            && let Some(result) = self.at_once(slot, key, timeout, &work)
        {
            return result;
        }
        let (quick, clock) = (self.quick.clone(), self.clock.clone());
        let timed = move |turn: &Turn| {
            let begun = clock.monotonic();
            let result = work(turn);
            // One that was stopped says nothing of how long it takes.
            if turn.cancel.check().is_ok() {
                quick.note(key, clock.monotonic().since(begun));
            }
            result
        };
        self.run(client, timeout, timed).await
    }

    /// Runs `work` here and now; `None` if it has not ended soon enough.
    fn at_once<T>(
        &self,
        _slot: Slot,
        key: Key,
        timeout: Option<Duration>,
        work: &impl Fn(&Turn) -> T,
    ) -> Option<Result<T, Refused>> {
        let _running = self.metrics.queries_running.enter();
        let limit = timeout.unwrap_or(AT_ONCE_MAX).min(AT_ONCE_MAX);
        let (clock, begun) = (self.clock.clone(), self.clock.monotonic());
        let (asked, overdue) = (AtomicU32::new(0), Arc::new(AtomicBool::new(false)));
        let noted = overdue.clone();
        let cancel = Cancel::with_deadline(move || {
            if asked.fetch_add(1, Ordering::Relaxed) % ASKED_PER_LOOK == ASKED_PER_LOOK - 1
                && clock.monotonic().since(begun) > limit
            {
                noted.store(true, Ordering::Relaxed);
            }
            noted.load(Ordering::Relaxed)
        });
        let memory = MemoryBudget::new(self.memory_bytes_max, &self.memory);
        let turn = Turn {
            cancel: cancel.with_memory(Arc::clone(&memory)),
            memory,
            waited: Duration::ZERO,
            given_up: Some(overdue.clone()),
        };
        let result = catch_unwind(AssertUnwindSafe(|| work(&turn)));
        self.quick.note(key, self.clock.monotonic().since(begun));
        (!overdue.load(Ordering::Relaxed)).then(|| result.map_err(|_| Refused::Died))
    }

    /// Runs `work` on a blocking thread when its client's turn comes; `timeout` shortens the time
    /// that waiting and running may take together.
    pub async fn run<T: Send + 'static>(
        &self,
        client: &Client,
        timeout: Option<Duration>,
        work: impl FnOnce(&Turn) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let timeout = timeout.map_or(self.timeout_max, |t| t.min(self.timeout_max));
        let begun = self.clock.monotonic();
        let deadline = tokio::time::sleep(timeout);
        tokio::pin!(deadline);
        let slot = match self.queue.slot(client) {
            Ok(Ok(slot)) => slot,
            Ok(Err(turn)) => {
                let _waiting = self.metrics.queries_waiting.enter();
                tokio::select! {
                    slot = turn => slot,
                    () = &mut deadline => {
                        self.metrics.queries_timed_out.inc();
                        return Err(Refused::TimedOutWaiting);
                    }
                }
            }
            Err(refusal) => {
                self.metrics.queries_refused.inc();
                return Err(match refusal {
                    Refusal::Full => Refused::Full,
                    Refusal::ClientFull => Refused::ClientFull,
                });
            }
        };
        let memory = MemoryBudget::new(self.memory_bytes_max, &self.memory);
        let cancel = Cancel::new().with_memory(Arc::clone(&memory)).with_threads(Arc::clone(&self.threads));
        let mut guard = StopOnDrop { cancel: cancel.clone(), metrics: Some(self.metrics.clone()) };
        let waited = self.clock.monotonic().since(begun);
        let running = self.metrics.queries_running.enter();
        let thread = tokio::task::spawn_blocking(move || {
            let result = work(&Turn { cancel, memory, waited, given_up: None });
            drop((slot, running));
            result
        });
        let result = tokio::select! {
            result = thread => result.map_err(|_| Refused::Died),
            () = &mut deadline => {
                self.metrics.queries_timed_out.inc();
                Err(Refused::TimedOutRunning)
            }
        };
        guard.metrics = None;
        result
    }
}
