//! Threads for what may never come back: statvfs on a mount whose server is gone, an attribute
//! whose driver hangs.
//!
//! One thread goes through all tasks, round by round, when it is asked to. A task that holds it up
//! is left to it: a new thread goes on with the others. So at most one thread is lost for each
//! task that hangs, and it ends when its task comes back.

use std::{sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};
use vedette_sys::{Clock, MonotonicTime, SystemClock};

use crate::{Error, file::Buffer};

/// What a thread does in each round.
pub(super) trait Task: Send + Sync + 'static {
    /// Does it, unless another thread is still at it.
    fn run(&self, buffer: &mut Buffer);
}

/// The thread that works, replaced when a task holds it up.
pub(super) struct Workers<T: Task> {
    name: &'static str,
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    round: Mutex<Round<T>>,
    changed: Condvar,
}

struct Round<T> {
    tasks: Arc<[Arc<T>]>,
    /// Rounds asked for.
    wanted: u64,
    /// Rounds gone through.
    done: u64,
    /// The thread of another number is one that a task held up: it ends when it comes back.
    worker: u64,
    /// Since when the thread is at one and the same task.
    busy_since: Option<MonotonicTime>,
    over: bool,
}

impl<T: Task> Workers<T> {
    pub(super) fn start(name: &'static str) -> Result<Self, Error> {
        let round =
            Round { tasks: Vec::new().into(), wanted: 0, done: 0, worker: 0, busy_since: None, over: false };
        let workers =
            Self { name, shared: Arc::new(Shared { round: Mutex::new(round), changed: Condvar::new() }) };
        workers
            .spawn(0)
            .map_err(|source| Error::Io { what: format!("start the thread {name:?}"), source })?;
        Ok(workers)
    }

    pub(super) fn set(&self, tasks: Vec<Arc<T>>) {
        self.shared.round.lock().tasks = tasks.into();
    }

    /// Asks for a round, unless one is under way. A thread that one task has held up for `timeout`
    /// is left to it and replaced.
    pub(super) fn ask(&self, timeout: Duration) {
        let mut round = self.shared.round.lock();
        let now = SystemClock.monotonic();
        if round.busy_since.is_some_and(|since| now.since(since) >= timeout) {
            round.busy_since = None;
            round.worker += 1;
            if self.spawn(round.worker).is_err() {
                // No thread can be made now: take the old one back and try again in the next pass.
                round.worker -= 1;
            }
        }
        if round.wanted == round.done {
            round.wanted += 1;
            self.shared.changed.notify_all();
        }
    }

    /// Returns when the round is done or `wait` is over.
    pub(super) fn wait(&self, wait: Duration) {
        let mut round = self.shared.round.lock();
        let wanted = round.wanted;
        self.shared.changed.wait_while_for(&mut round, |r| r.done < wanted, wait);
    }

    fn spawn(&self, worker: u64) -> std::io::Result<()> {
        let shared = self.shared.clone();
        // Not joined: it may hang in the kernel for as long as a task does.
        std::thread::Builder::new().name(self.name.into()).spawn(move || shared.work(worker)).map(drop)
    }
}

impl<T: Task> Drop for Workers<T> {
    fn drop(&mut self) {
        self.shared.round.lock().over = true;
        self.shared.changed.notify_all();
    }
}

impl<T: Task> Shared<T> {
    fn work(&self, worker: u64) {
        let mut buffer = Buffer::new();
        loop {
            let mut round = self.round.lock();
            self.changed.wait_while(&mut round, |r| !r.over && r.worker == worker && r.wanted == r.done);
            let (wanted, tasks) = (round.wanted, round.tasks.clone());
            drop(round);
            for task in tasks.iter() {
                if !self.begin(worker) {
                    return;
                }
                task.run(&mut buffer);
            }
            let mut round = self.round.lock();
            if round.over || round.worker != worker {
                return;
            }
            round.busy_since = None;
            round.done = round.done.max(wanted);
            self.changed.notify_all();
        }
    }

    /// Tells whether this thread is still the one that works.
    fn begin(&self, worker: u64) -> bool {
        let mut round = self.round.lock();
        let current = round.worker == worker && !round.over;
        if current {
            round.busy_since = Some(SystemClock.monotonic());
        }
        current
    }
}
