//! Facts that change by the minute, or whose reading may take long: devices, sensors, arrays,
//! file systems of the kernel's own.
//!
//! They are read at the slow interval, on a thread of their own, and repeated in the passes in
//! between, so that every pass tells of the same series. A device whose driver hangs holds up
//! neither the pass nor the other devices: its collector is reported as failed until it answers.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use rustix::io::Errno;
use vedette_sys::{Clock, MonotonicTime, SystemClock};

use super::{
    Failure, Pass,
    workers::{Task, Workers},
};
use crate::{Error, file::Buffer, series::Series, sheet::Sheet};

/// A collector that writes all its samples down in one go.
pub(super) trait Source: Send {
    /// The name that node_exporter gives it, or ours for what it does not have.
    fn name(&self) -> &'static str;

    /// Writes its samples down. On failure what was written stays.
    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure>;
}

/// All sources that are read in the background.
pub(super) struct Background {
    pub(super) seats: Vec<Seat>,
    workers: Workers<Desk>,
    wait: Duration,
    timeout: Duration,
}

/// What passes tell of one source.
pub(super) struct Seat {
    pub(super) name: &'static str,
    desk: Arc<Desk>,
    samples: Vec<(Series, f64)>,
    failure: Option<Failure>,
    /// How long the last reading took.
    pub(super) took: Duration,
}

/// Where a source is read.
struct Desk(Mutex<State>);

#[derive(Default)]
struct State {
    /// `None` while a thread reads.
    work: Option<Work>,
    running_since: Option<MonotonicTime>,
    /// How the last reading went, until a pass takes it up.
    fresh: Option<(Result<(), Failure>, Duration)>,
}

struct Work {
    source: Box<dyn Source>,
    sheet: Sheet,
}

impl Background {
    pub(super) fn start(
        sources: Vec<Box<dyn Source>>,
        wait: Duration,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let seat = |source: Box<dyn Source>| {
            let name = source.name();
            let work = Some(Work { source, sheet: Sheet::default() });
            let desk = Arc::new(Desk(Mutex::new(State { work, ..State::default() })));
            Seat { name, desk, samples: Vec::new(), failure: None, took: Duration::ZERO }
        };
        let seats: Vec<Seat> = sources.into_iter().map(seat).collect();
        let workers = Workers::start("devices")?;
        workers.set(seats.iter().map(|seat| seat.desk.clone()).collect());
        Ok(Self { seats, workers, wait, timeout })
    }

    /// Asks for a new reading.
    pub(super) fn ask(&self) {
        self.workers.ask(self.timeout);
    }

    /// Waits a moment for the reading that was asked for.
    pub(super) fn wait(&self) {
        self.workers.wait(self.wait);
    }

    /// Puts what is known of each source into the pass.
    pub(super) fn put(&mut self, pass: &mut Pass<'_>) {
        for seat in &mut self.seats {
            seat.put(pass, self.timeout);
        }
    }
}

impl Seat {
    fn put(&mut self, pass: &mut Pass<'_>, timeout: Duration) {
        let mut state = self.desk.0.lock();
        if let State { work: Some(work), fresh, .. } = &mut *state
            && let Some((result, took)) = fresh.take()
        {
            work.sheet.settle(pass);
            self.samples.clear();
            self.samples.extend(work.sheet.samples());
            self.failure = result.err();
            self.took = took;
        }
        let running_since = state.running_since;
        drop(state);
        if running_since.is_some_and(|since| SystemClock.monotonic().since(since) >= timeout) {
            self.failure = Some(Failure::at(self.name)(Errno::TIMEDOUT));
            return;
        }
        for (series, value) in &self.samples {
            pass.put(*series, *value);
        }
    }

    /// Why the last reading failed.
    pub(super) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }
}

impl Task for Desk {
    fn run(&self, buffer: &mut Buffer) {
        let begin = SystemClock.monotonic();
        let mut work = {
            let mut state = self.0.lock();
            let Some(work) = state.work.take() else { return };
            state.running_since = Some(begin);
            work
        };
        work.sheet.begin();
        let mut result = work.source.read(&mut work.sheet, buffer);
        if work.sheet.left_out() > 0 {
            result = result.and(Err(Failure::at(work.source.name())(Errno::OVERFLOW)));
        }
        let took = SystemClock.monotonic().since(begin);
        *self.0.lock() = State { work: Some(work), running_since: None, fresh: Some((result, took)) };
    }
}

#[cfg(test)]
mod tests;
