//! Drives one receiver: reads the spool, sends, waits.
//!
//! A receiver has a thread of its own, on which it may wait for the disk and encode, so that a slow
//! one holds up nobody else. What is sent when is decided by a [`Queue`]: that of a receiver of remote
//! write, or that of an export.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::sync::watch;
use vedette_sys::{Clock, LogError, MonotonicTime};

use crate::{
    receiver::{Attempt, Outcome, Receiver},
    spool::{Spool, SpoolReader, Spooled},
};

/// Requests that are under way when the process is asked to end get so long.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two tries to read a spool that cannot be read.
const READ_RETRY: Duration = Duration::from_secs(1);

/// Makes requests.
pub trait Transport: Send + Sync {
    /// Makes one request. Ends by the receiver's timeout at the latest.
    fn send(&self, attempt: Attempt) -> BoxFuture<'static, Outcome>;
}

/// What waits for one receiver, and what becomes of it. Synchronous: records, time and answers are
/// handed in.
pub trait Queue {
    /// What is sent at once.
    type Attempt;
    /// What became of it.
    type Outcome: 'static;

    /// Whether there is room for another record.
    fn has_room(&self) -> bool;
    /// Takes a record of the spool.
    fn take(&mut self, record: &Spooled<'_>, now: MonotonicTime, now_ms: i64);
    /// What is to be sent now, with a number of its own.
    fn poll(&mut self, now: MonotonicTime, now_ms: i64) -> Option<(u64, Self::Attempt)>;
    /// When [`Queue::poll`] may have something to do although nothing else happens.
    fn deadline(&self) -> Option<MonotonicTime>;
    /// Takes what became of an attempt.
    fn answered(&mut self, id: u64, outcome: Self::Outcome, now: MonotonicTime);
    /// The record up to which nothing is needed any more.
    fn acknowledged(&mut self) -> u64;
    /// Shows what people should know.
    fn show(&self, view: &mut View);
}

impl Queue for Receiver {
    type Attempt = Attempt;
    type Outcome = Outcome;

    fn has_room(&self) -> bool {
        Self::has_room(self)
    }

    fn take(&mut self, record: &Spooled<'_>, now: MonotonicTime, now_ms: i64) {
        Self::take(self, record, now, now_ms);
    }

    fn poll(&mut self, now: MonotonicTime, now_ms: i64) -> Option<(u64, Attempt)> {
        Self::poll(self, now, now_ms).map(|attempt| (attempt.id, attempt))
    }

    fn deadline(&self) -> Option<MonotonicTime> {
        Self::deadline(self)
    }

    fn answered(&mut self, id: u64, outcome: Outcome, now: MonotonicTime) {
        Self::answered(self, id, outcome, now);
    }

    fn acknowledged(&mut self) -> u64 {
        Self::acknowledged(self)
    }

    fn show(&self, view: &mut View) {
        view.trouble = self.trouble().map(|t| (t.message.clone(), t.is_loss));
        view.fallback = self.fallback().map(str::to_owned);
    }
}

/// What a sender shows of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// What is wrong with the receiver, and whether samples were given up for it.
    pub trouble: Option<(String, bool)>,
    /// Why 1.0 is spoken although 2.0 is configured.
    pub fallback: Option<String>,
    /// Why the spool cannot be read.
    pub spool: Option<String>,
}

/// Begins to send.
pub type Begin<Q> = Box<dyn Fn(<Q as Queue>::Attempt) -> BoxFuture<'static, <Q as Queue>::Outcome> + Send>;

/// One receiver and what it needs.
pub struct Sender<Q: Queue> {
    /// Under this its cursor is kept.
    pub key: String,
    pub queue: Q,
    pub reader: SpoolReader,
    pub spool: Arc<Spool>,
    pub clock: Arc<dyn Clock>,
    pub begin: Begin<Q>,
    pub view: Arc<Mutex<View>>,
}

type UnderWay<Q> = FuturesUnordered<BoxFuture<'static, (u64, <Q as Queue>::Outcome)>>;

impl<Q: Queue> Sender<Q> {
    /// Runs until `stop` changes. What is not acknowledged then stays in the spool.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut under_way = UnderWay::<Q>::new();
        let mut changes = self.spool.changes();
        let mut read_again_at = MonotonicTime::default();
        while !*stop.borrow() {
            changes.mark_unchanged();
            let now = self.clock.monotonic();
            if now >= read_again_at && !self.fill() {
                let retry = u64::try_from(READ_RETRY.as_nanos()).unwrap_or(u64::MAX);
                read_again_at = MonotonicTime(now.0.saturating_add(retry));
            }
            self.begin_requests(&under_way);
            self.acknowledge();
            self.show();
            let now = self.clock.monotonic();
            let mut wait = self.queue.deadline().map(|deadline| deadline.since(now));
            if read_again_at > now {
                wait = Some(wait.map_or(READ_RETRY, |wait| wait.min(read_again_at.since(now))));
            }
            let sleep = tokio::time::sleep(wait.unwrap_or(Duration::from_secs(3600)));
            tokio::select! {
                Some((id, outcome)) = under_way.next(), if !under_way.is_empty() => {
                    self.queue.answered(id, outcome, self.clock.monotonic());
                }
                _ = changes.changed(), if self.queue.has_room() && read_again_at <= now => {}
                () = sleep => {}
                // Whoever could stop it is gone.
                changed = stop.changed() => if changed.is_err() { break },
            }
        }
        self.finish(under_way).await;
    }

    /// Reads as much as there is room for. `false` where the spool cannot be read now.
    fn fill(&mut self) -> bool {
        while self.queue.has_room() {
            let now = self.clock.monotonic();
            let now_ms = self.clock.unix_ms();
            match self.reader.read() {
                Ok(Some(record)) => self.queue.take(&record, now, now_ms),
                Ok(None) => break,
                Err(error) => {
                    self.view.lock().spool = Some(error_text(&error));
                    return false;
                }
            }
        }
        true
    }

    fn begin_requests(&mut self, under_way: &UnderWay<Q>) {
        while let Some((id, attempt)) = self.queue.poll(self.clock.monotonic(), self.clock.unix_ms()) {
            let answer = (self.begin)(attempt);
            under_way.push(Box::pin(async move { (id, answer.await) }));
        }
    }

    fn acknowledge(&mut self) {
        let acknowledged = self.queue.acknowledged();
        if let Err(error) = self.spool.acknowledge(&self.key, acknowledged) {
            // Samples would be sent twice after a restart, and none is lost.
            tracing::warn!(error = error_text(&error), receiver = self.key, "its cursor cannot be written");
        }
    }

    fn show(&self) {
        self.queue.show(&mut self.view.lock());
    }

    async fn finish(mut self, mut under_way: UnderWay<Q>) {
        let answers = async {
            while let Some((id, outcome)) = under_way.next().await {
                self.queue.answered(id, outcome, self.clock.monotonic());
            }
        };
        // Whoever does not answer now gets the same again after the next start.
        let _ = tokio::time::timeout(STOP_TIMEOUT, answers).await;
        self.acknowledge();
    }
}

/// An error with its cause.
pub fn error_text(error: &LogError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
