//! What becomes of a request by its answer.

use std::time::Duration;

use vedette_config::prometheus::WriteMessage;
use vedette_sys::MonotonicTime;

use super::{
    Receiver, backoff, later,
    request::{Request, State},
};

/// A status that says that the version is not spoken.
const UNSUPPORTED: u16 = 415;
const TOO_LARGE: u16 = 413;
const TOO_MANY: u16 = 429;

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There is an answer.
    Answer(Answer),
    /// There is none: no connection, or it took too long.
    Unreachable(String),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// How long the receiver asks to wait.
    pub retry_after: Option<Duration>,
    /// What it says it has stored, with version 2.0.
    pub written: Option<Written>,
    /// The beginning of what it says, for people.
    pub text: String,
}

/// What a receiver of version 2.0 says it has stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Samples.
    pub samples: u64,
    /// Histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
}

/// What is wrong with a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What it said, or why it could not be reached.
    pub message: String,
    /// Whether samples were given up for it.
    pub is_loss: bool,
    /// When that was.
    pub since: MonotonicTime,
}

impl Receiver {
    /// Takes the answer to an attempt.
    pub fn answered(&mut self, id: u64, outcome: Outcome, now: MonotonicTime) {
        let Some(at) = self.requests.iter().position(|request| request.id == id) else { return };
        if let State::UnderWay { since } = self.requests[at].state {
            self.metrics.send_ns.add(u64::try_from(now.since(since).as_nanos()).unwrap_or(u64::MAX));
        }
        match outcome {
            Outcome::Unreachable(text) => self.retry(at, None, text, now),
            Outcome::Answer(answer) => self.answer(at, &answer, now),
        }
    }

    fn answer(&mut self, at: usize, answer: &Answer, now: MonotonicTime) {
        let request = &self.requests[at];
        let is_v2 = request.message() == WriteMessage::V2;
        match answer.status {
            // A receiver of 1.0 that does not look at the type of the body finds no series in it and
            // is content.
            200..=299 if is_v2 && answer.written.is_none() => {
                let told = "it took a request of 2.0 and does not tell what it has stored, as 2.0 wants";
                self.fall_back(at, told.to_owned(), now);
            }
            200..=299 => self.taken(at, answer.written, now),
            UNSUPPORTED if is_v2 => self.fall_back(at, said(answer), now),
            TOO_LARGE if self.requests[at].points.len() > 1 => self.halve(at),
            TOO_MANY if !self.target.queue.retry_on_rate_limit => self.give_up(at, answer, now),
            TOO_MANY | 500..=599 => self.retry(at, answer.retry_after, said(answer), now),
            _ => self.give_up(at, answer, now),
        }
    }

    fn taken(&mut self, at: usize, written: Option<Written>, now: MonotonicTime) {
        let m = &self.metrics;
        m.requests_taken.inc();
        m.bytes.add(self.requests[at].body_bytes());
        if self.requests[at].is_metadata() {
            self.metadata_part_done(at, true, now);
            return;
        }
        let request = self.end_request(at);
        let written = self.count(&request, written);
        let missing = request.points.len() as u64 - written;
        if missing > 0 {
            self.metrics.refused.add(missing);
            let message = format!("it did not store {missing} of {} samples", request.points.len());
            self.trouble = Some(Trouble { message, is_loss: true, since: now });
        } else if self.trouble.as_ref().is_some_and(|trouble| !trouble.is_loss || is_over(trouble, now)) {
            self.trouble = None;
        }
        self.grow(now);
    }

    /// Counts what was stored of a request; gives how many points.
    #[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
    fn count(&self, request: &Request, written: Option<Written>) -> u64 {
        let [samples, histograms, exemplars] = request.counts();
        let m = &self.metrics;
        let told = written.unwrap_or(Written { samples, histograms, exemplars });
        let stored =
            [told.samples.min(samples), told.histograms.min(histograms), told.exemplars.min(exemplars)];
        m.samples.add(stored[0]);
        m.histograms.add(stored[1]);
        m.exemplars.add(stored[2]);
        if let Some(times) = Self::times(request) {
            m.highest_sent.set(m.highest_sent.get().max(times.end_ms as f64 / 1000.0));
        }
        stored.iter().sum()
    }

    /// Speaks 1.0 from now on, and sends the request again so.
    fn fall_back(&mut self, at: usize, told: String, now: MonotonicTime) {
        if self.message == WriteMessage::V2 {
            tracing::warn!(
                receiver = self.target.name,
                url = self.target.url,
                told,
                "the receiver does not speak remote write 2.0; 1.0 is spoken to it"
            );
            self.message = WriteMessage::V1;
            self.fallback = Some(told);
            self.tell();
        }
        let request = &mut self.requests[at];
        request.forget_body();
        // It is due at once.
        request.state = State::Waiting { until: now };
    }

    /// Sends the request in two, and later ones by half.
    fn halve(&mut self, at: usize) {
        let points = self.requests[at].points.len();
        self.points_max = (points / 2).clamp(1, self.points_max);
        tracing::warn!(
            receiver = self.target.name,
            points_max = self.points_max,
            "the receiver finds requests too large; they become smaller"
        );
        let mut request = self.requests.swap_remove(at);
        // Back to the front of their slots, which wait for the request: so the order stays.
        self.under_way -= points;
        self.queued += points;
        for point in request.points.drain(..).rev() {
            let slot = &mut self.slots[self.series.get(point.series).slot as usize];
            slot.since = slot.since.min(request.begun);
            slot.points.push_front(point);
        }
        for i in &request.slots {
            self.slots[*i].busy = false;
        }
        self.metrics.requests_refused.inc();
    }

    fn retry(&mut self, at: usize, retry_after: Option<Duration>, text: String, now: MonotonicTime) {
        let queue = &self.target.queue;
        let (min, max) = (queue.min_backoff, queue.max_backoff);
        let request = &mut self.requests[at];
        request.failures = request.failures.saturating_add(1);
        let wait = backoff::wait(request.failures, min, max, &mut self.random);
        let until = later(now, retry_after.map_or(wait, |asked| asked.max(wait)));
        request.state = State::Waiting { until };
        if retry_after.is_some() {
            self.silent_until = self.silent_until.max(until);
        }
        self.metrics.requests_failed.inc();
        self.metrics.retried.add(request.points.len() as u64);
        self.log_once(&text, "remote write failed and is tried again", now);
        let is_loss = self.trouble.as_ref().is_some_and(|t| t.is_loss && !is_over(t, now));
        let since = self.trouble.as_ref().filter(|t| !t.is_loss).map_or(now, |trouble| trouble.since);
        if !is_loss {
            self.trouble = Some(Trouble { message: text, is_loss: false, since });
        }
        self.shrink();
    }

    fn give_up(&mut self, at: usize, answer: &Answer, now: MonotonicTime) {
        self.metrics.requests_refused.inc();
        let text = said(answer);
        self.log_once(&text, "remote write was refused; its samples are given up", now);
        if self.requests[at].is_metadata() {
            self.metadata_part_done(at, false, now);
            return;
        }
        let request = self.end_request(at);
        // A receiver may have stored a part. One of 1.0 does not tell.
        let written = self.count_partial(&request, answer.written);
        let lost = request.points.len() as u64 - written;
        let counter =
            if answer.status == TOO_MANY { &self.metrics.rate_limited } else { &self.metrics.refused };
        counter.add(lost);
        self.trouble = Some(Trouble { message: text, is_loss: true, since: now });
        self.grow(now);
    }

    fn count_partial(&self, request: &Request, written: Option<Written>) -> u64 {
        written.map_or(0, |written| self.count(request, Some(written)))
    }

    fn metadata_part_done(&mut self, at: usize, is_taken: bool, now: MonotonicTime) {
        let families = self.requests[at].families as u64;
        if self.requests[at].next_part() {
            self.requests[at].state = State::Waiting { until: now };
            return;
        }
        self.requests.swap_remove(at);
        if is_taken {
            self.metrics.metadata.add(families);
        }
    }

    /// Logs what the receiver says, once in a while.
    fn log_once(&mut self, text: &str, what: &'static str, now: MonotonicTime) {
        if now < self.log_at {
            return;
        }
        self.log_at = later(now, LOG_INTERVAL);
        tracing::warn!(receiver = self.target.name, url = self.target.url, answer = text, "{what}");
    }
}

/// Between two messages of one receiver in the log.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// How long a loss stands on the status page.
const LOSS_SHOWN: Duration = Duration::from_secs(300);

fn is_over(trouble: &Trouble, now: MonotonicTime) -> bool {
    now.since(trouble.since) >= LOSS_SHOWN
}

fn said(answer: &Answer) -> String {
    let text = answer.text.trim();
    if text.is_empty() {
        format!("status {}", answer.status)
    } else {
        format!("status {}: {text}", answer.status)
    }
}
