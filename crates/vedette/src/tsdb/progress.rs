//! One line at the terminal that says how far a long task is; nothing where stderr is a file.

use std::io::{IsTerminal, Write};

use vedette_sys::{Clock, MonotonicTime, SystemClock};
use vedette_tsdb::prometheus::Progress;

/// Nanoseconds between two changes of the line.
const INTERVAL_NS: u64 = 200_000_000;

/// The line.
pub struct Line {
    what: &'static str,
    terminal: bool,
    shown: Option<MonotonicTime>,
}

impl Line {
    pub fn new(what: &'static str) -> Self {
        Self { what, terminal: std::io::stderr().is_terminal(), shown: None }
    }

    pub fn show(&mut self, progress: Progress) {
        let now = SystemClock.monotonic();
        if !self.terminal || self.shown.is_some_and(|at| now.0 < at.0 + INTERVAL_NS) {
            return;
        }
        self.shown = Some(now);
        let percent = (progress.fraction * 100.0).clamp(0.0, 100.0);
        // A terminal that is gone is no reason to stop.
        let _ =
            write!(std::io::stderr(), "\r\x1b[K{} {percent:.0} %, {} samples", self.what, progress.samples);
    }

    /// Removes the line.
    pub fn end(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.end();
    }
}
