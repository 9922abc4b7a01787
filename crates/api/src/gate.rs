//! The way to the blocking threads: so many at a time, the rest in a queue that serves in the
//! order of arrival, and everyone gone at its deadline or when its client leaves.
//!
//! The slot is held by the thread that works, not by the request that waits for it, so a query
//! that was given up on still counts until it has really ended.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use vedette_promql::Cancel;

use crate::{Config, metrics::Metrics};

/// Lets queries run.
pub struct Gate {
    slots: Arc<Semaphore>,
    waiting_max: usize,
    timeout_max: Duration,
    metrics: Arc<Metrics>,
}

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Too many wait already.
    Full,
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
    pub fn new(config: &Config, metrics: Arc<Metrics>) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(config.queries_max)),
            waiting_max: config.queries_waiting_max,
            timeout_max: config.query_timeout,
            metrics,
        }
    }

    /// Runs `work` on a blocking thread when its turn comes; `timeout` shortens the time that
    /// waiting and running may take together.
    pub async fn run<T: Send + 'static>(
        &self,
        timeout: Option<Duration>,
        work: impl FnOnce(&Cancel) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let timeout = timeout.map_or(self.timeout_max, |t| t.min(self.timeout_max));
        let deadline = tokio::time::sleep(timeout);
        tokio::pin!(deadline);
        let slot = match self.slots.clone().try_acquire_owned() {
            Ok(slot) => slot,
            Err(_) => {
                if self.metrics.queries_waiting.get() >= i64::try_from(self.waiting_max).unwrap_or(i64::MAX) {
                    self.metrics.queries_refused.inc();
                    return Err(Refused::Full);
                }
                let _waiting = self.metrics.queries_waiting.enter();
                tokio::select! {
                    slot = self.slots.clone().acquire_owned() => slot.expect("BUG: the semaphore is never closed"),
                    () = &mut deadline => {
                        self.metrics.queries_timed_out.inc();
                        return Err(Refused::TimedOutWaiting);
                    }
                }
            }
        };
        let mut guard = StopOnDrop { cancel: Cancel::new(), metrics: Some(self.metrics.clone()) };
        let cancel = guard.cancel.clone();
        let running = self.metrics.queries_running.enter();
        let thread = tokio::task::spawn_blocking(move || {
            let result = work(&cancel);
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
