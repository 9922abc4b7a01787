//! File systems that do not answer.
//!
//! A call on a file system whose disk or server is gone never returns, and takes its thread along. The thread
//! is left to it, and another goes on with the rest, which asks that place no more until it has answered.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use vedette_sys::MonotonicTime;

/// How long one call may take. Counting waits behind everybody else who uses a disk, so this is long.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How many places may hold a thread each. Where there are more, nothing is counted until one answers.
const SILENT_MAX: usize = 8;

/// Who asks what, and what has not answered.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// The thread that counts. One with another number was left to what it waits for.
    thread: u64,
    /// What that thread waits for, and since when.
    asked: Option<(PathBuf, MonotonicTime)>,
    silent: BTreeSet<PathBuf>,
}

impl Silence {
    /// A thread asks something of a place; `false` where it is not to, as the place owes an answer.
    pub(super) fn ask(&mut self, thread: u64, place: &Path, now: MonotonicTime) -> bool {
        if self.silent.contains(place) {
            return false;
        }
        if self.is_current(thread) {
            self.asked = Some((place.to_owned(), now));
        }
        true
    }

    /// The place has answered.
    pub(super) fn answered(&mut self, thread: u64, place: &Path) {
        self.silent.remove(place);
        if self.is_current(thread) {
            self.asked = None;
        }
    }

    /// Whether this thread is the one that counts.
    pub(super) fn is_current(&self, thread: u64) -> bool {
        self.thread == thread
    }

    #[cfg(test)]
    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Leaves the thread to a place that has not answered for too long; gives the number of the thread that is
    /// to take over.
    pub(super) fn leave(&mut self, now: MonotonicTime) -> Option<u64> {
        let is_late = |(_, since): &mut (PathBuf, MonotonicTime)| now.since(*since) >= ANSWER_MAX;
        if self.silent.len() >= SILENT_MAX {
            return None;
        }
        let (place, _) = self.asked.take_if(is_late)?;
        self.silent.insert(place);
        self.thread += 1;
        Some(self.thread)
    }

    /// Nobody took over: the thread that was left goes on once the place answers.
    pub(super) fn stay(&mut self) {
        self.thread = self.thread.saturating_sub(1);
    }

    /// A place that owes an answer, and how many do.
    pub(super) fn places(&self) -> Option<(&Path, usize)> {
        Some((self.silent.first()?, self.silent.len()))
    }
}
