//! Who writes what: parts are given out in order, what was written of them comes back in any, and is handed on
//! in order again.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

use super::{Format, Part, STRETCH};

/// Pieces that each thread may be ahead of whoever reads.
const AHEAD: usize = 3;
/// Buffers that are larger are not used again: one family of large rows must not be remembered in all of them.
const SPARE_BYTES_MAX: usize = 1 << 20;

/// What is shared by the threads that write a page.
pub(super) struct Desk<I> {
    state: Mutex<State<I>>,
    changed: Condvar,
}

struct State<I> {
    /// What nobody has; none when all is given out.
    parts: Option<I>,
    /// What was given out and not yet handed on: the text where it is written.
    pieces: VecDeque<Option<String>>,
    /// How many were handed on before those.
    handed_on: usize,
    ahead_max: usize,
    spare: Vec<String>,
    /// One of the threads has ended before the page.
    is_ended: bool,
}

/// Parts for a thread, and where their text belongs.
pub(super) struct Job {
    parts: Vec<Part>,
    number: usize,
    text: String,
}

/// What the thread does next that hands pieces on.
pub(super) enum Turn {
    HandOn(String),
    Write(Job),
    End,
}

impl<I: Iterator<Item = Part>> Desk<I> {
    pub(super) fn new(parts: I, threads: usize) -> Self {
        let state = State {
            parts: Some(parts),
            pieces: VecDeque::new(),
            handed_on: 0,
            ahead_max: AHEAD * threads,
            spare: Vec::new(),
            is_ended: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// What to do next for the thread that hands on; waits while that is nothing.
    pub(super) fn turn(&self) -> Turn {
        let mut state = self.state.lock();
        loop {
            if let Some(text) = state.pieces.front_mut().and_then(Option::take) {
                state.pieces.pop_front();
                state.handed_on += 1;
                self.changed.notify_all();
                return Turn::HandOn(text);
            }
            if let Some(job) = state.next_job() {
                return Turn::Write(job);
            }
            // A helper that ended too early has panicked; that goes on where threads are joined.
            if state.is_ended || state.pieces.is_empty() {
                return Turn::End;
            }
            self.changed.wait(&mut state);
        }
    }

    /// What to do next for a thread that helps; waits while that is nothing.
    pub(super) fn help(&self) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            if state.is_ended || state.parts.is_none() {
                return None;
            }
            if let Some(job) = state.next_job() {
                return Some(job);
            }
            if state.parts.is_some() {
                self.changed.wait(&mut state);
            }
        }
    }

    /// Writes, and puts what was written where it belongs.
    pub(super) fn write(&self, job: Job, format: Format) {
        let Job { parts, number, mut text } = job;
        for part in parts {
            part.write(format, &mut text);
        }
        let mut state = self.state.lock();
        let at = number - state.handed_on;
        state.pieces[at] = Some(text);
        drop(state);
        self.changed.notify_all();
    }

    /// Takes a buffer back that was handed on.
    pub(super) fn give_back(&self, mut text: String) {
        if text.capacity() <= SPARE_BYTES_MAX {
            text.clear();
            let mut state = self.state.lock();
            if state.spare.len() < state.ahead_max {
                state.spare.push(text);
            }
        }
    }
}

impl<I: Iterator<Item = Part>> State<I> {
    /// The next parts, enough to be worth the way; none while pieces wait, or when all is given out.
    fn next_job(&mut self) -> Option<Job> {
        if self.pieces.len() >= self.ahead_max {
            return None;
        }
        let from = self.parts.as_mut()?;
        let (mut parts, mut weight) = (Vec::new(), 0);
        while weight < STRETCH {
            let Some(part) = from.next() else {
                self.parts = None;
                break;
            };
            weight += part.weight();
            parts.push(part);
        }
        if parts.is_empty() {
            return None;
        }
        let number = self.handed_on + self.pieces.len();
        self.pieces.push_back(None);
        Some(Job { parts, number, text: self.spare.pop().unwrap_or_default() })
    }
}

/// Lets all threads end when one of them does, also by a panic.
pub(super) struct EndOnDrop<'a, I>(pub(super) &'a Desk<I>);

impl<I> Drop for EndOnDrop<'_, I> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        // A helper that finds nothing more to do has done its part.
        if state.parts.is_some() || std::thread::panicking() {
            state.is_ended = true;
        }
        drop(state);
        self.0.changed.notify_all();
    }
}
