//! The stage before the stores in which events pass the detectors.
//!
//! Invariants: no event is lost or changed, whatever a detector does; a batch that is sent again
//! because the store could not take it is not judged again, whoever else sends meanwhile.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use parking_lot::Mutex;
use vedette_model::{Batch, Event, Fact, Finding, Host, Origin, Payload, Rejected, Sink};

use crate::ruler::RulerHandle;

/// Findings from the passing of time that wait for the store; of more, the oldest are left out
/// of the store, but not of the alerts.
const EXPIRED_MAX: usize = 10_000;
/// Senders whose judged batch is kept until it comes again, and events of all these batches together, but for
/// the last that came; of more, the oldest is forgotten and would be judged again.
const RETRIED_MAX: usize = 256;
const RETRIED_EVENTS_MAX: usize = 50_000;

/// Looks at events and finds.
pub trait Detect: Send {
    /// Looks at one event; appends what it means.
    fn observe(&mut self, event: &Event, findings: &mut Vec<Finding>);

    /// Appends what the passing of time means: repeats, and findings that are over.
    fn expire(&mut self, now_ns: i64, findings: &mut Vec<Finding>);
}

/// Passes batches on to the stores, event batches with the findings they gave.
pub struct DetectionStage {
    inner: Arc<dyn Sink>,
    ruler: RulerHandle,
    /// The sender of findings that come from the passing of time, and the machine they are about.
    origin: Origin,
    host: Arc<Host>,
    state: Mutex<State>,
}

struct State {
    detector: Box<dyn Detect>,
    /// Findings from the passing of time that the store did not take yet, and batches of them.
    expired: Vec<Event>,
    seq: u64,
    /// Batches that the store did not take yet, one of each sender, the oldest first.
    retried: VecDeque<Retried>,
}

/// A judged batch that is expected to come again.
struct Retried {
    /// As it goes on: its own events, then the findings.
    batch: Batch,
    /// How many events it came with.
    events: usize,
}

impl Retried {
    /// Whether it is this batch. A sender that gives a batch up uses its number for the next one,
    /// so the number alone does not tell.
    fn is(&self, batch: &Batch, events: &[Event]) -> bool {
        let Payload::Events(judged) = &self.batch.payload else { return false };
        let same_number = (&self.batch.origin, self.batch.seq) == (&batch.origin, batch.seq);
        same_number && self.events == events.len() && judged.get(..self.events) == Some(events)
    }

    /// Events that are held, findings included.
    fn held(&self) -> usize {
        if let Payload::Events(events) = &self.batch.payload { events.len() } else { 0 }
    }
}

impl State {
    /// Takes out what a sender's last batch was judged to be, if this is that batch. Whatever else it sends,
    /// it has given that batch up.
    fn take_retried(&mut self, batch: &Batch, events: &[Event]) -> Option<Batch> {
        let at = self.retried.iter().position(|retried| retried.batch.origin == batch.origin)?;
        let retried = self.retried.remove(at).filter(|retried| retried.is(batch, events))?;
        Some(retried.batch)
    }

    fn keep_retried(&mut self, retried: Retried) {
        self.retried.push_back(retried);
        let mut held: usize = self.retried.iter().map(Retried::held).sum();
        while self.retried.len() > 1 && (self.retried.len() > RETRIED_MAX || held > RETRIED_EVENTS_MAX) {
            let oldest = self.retried.pop_front();
            held -= oldest.map_or(0, |oldest| oldest.held());
        }
    }
}

impl DetectionStage {
    /// A stage before `inner` whose findings are told to the ruler.
    pub fn new(
        detector: Box<dyn Detect>,
        inner: Arc<dyn Sink>,
        ruler: RulerHandle,
        origin: Origin,
        host: Arc<Host>,
    ) -> Self {
        let state = State { detector, expired: Vec::new(), seq: 0, retried: VecDeque::new() };
        Self { inner, ruler, origin, host, state: Mutex::new(state) }
    }

    /// Lets time pass: called about once a second. What the store does not take is kept for the
    /// next call.
    pub fn expire(&self, now_ns: i64) -> Result<(), Rejected> {
        let mut state = self.state.lock();
        let mut findings = Vec::new();
        let detector = &mut state.detector;
        if catch_unwind(AssertUnwindSafe(|| detector.expire(now_ns, &mut findings))).is_err() {
            self.ruler.metrics().detection_panics.inc();
        }
        self.tell(&mut state, now_ns, findings)
    }

    /// Takes findings of others, who judge by something else than events. They go the same way.
    pub fn report(&self, now_ns: i64, findings: Vec<Finding>) -> Result<(), Rejected> {
        self.tell(&mut self.state.lock(), now_ns, findings)
    }

    fn tell(&self, state: &mut State, now_ns: i64, findings: Vec<Finding>) -> Result<(), Rejected> {
        for finding in findings {
            self.ruler.observe_finding(finding.clone());
            let fact = Fact::Finding(Box::new(finding));
            let host = self.host.clone();
            state.expired.push(Event { id: 0, time_ns: now_ns, host, container: None, process: None, fact });
        }
        if state.expired.is_empty() {
            return Ok(());
        }
        let payload = Payload::Events(std::mem::take(&mut state.expired));
        let batch = Batch { origin: self.origin.clone(), seq: state.seq + 1, payload };
        let result = self.inner.accept(&batch);
        // A batch that was not taken leaves its number to the next one: a number that is left
        // out counts as a batch that never came.
        let Payload::Events(mut events) = batch.payload else { return result };
        let keep = match &result {
            Ok(()) => {
                state.seq += 1;
                return result;
            }
            // Sent again together with what comes until then.
            Err(Rejected::Retry(_)) => EXPIRED_MAX,
            Err(_) => 0,
        };
        let lost = events.len().saturating_sub(keep);
        self.ruler.metrics().findings_dropped.add(lost as u64);
        events.drain(..lost);
        state.expired = events;
        result
    }

    /// The batch with the findings of its events, or `None` if there are none.
    fn judge(&self, state: &mut State, batch: &Batch, events: &[Event]) -> Option<Batch> {
        let metrics = self.ruler.metrics();
        metrics.detection_events.add(events.len() as u64);
        let mut findings = Vec::new();
        let mut found: Vec<Event> = Vec::new();
        for event in events {
            // A finding is a judgement already.
            if matches!(event.fact, Fact::Finding(_)) {
                continue;
            }
            let judged = catch_unwind(AssertUnwindSafe(|| state.detector.observe(event, &mut findings)));
            if judged.is_err() {
                metrics.detection_panics.inc();
            }
            for finding in findings.drain(..) {
                self.ruler.observe_finding(finding.clone());
                found.push(Event { id: 0, fact: Fact::Finding(Box::new(finding)), ..event.clone() });
            }
        }
        if found.is_empty() {
            return None;
        }
        let all = events.iter().cloned().chain(found).collect();
        Some(Batch { payload: Payload::Events(all), origin: batch.origin.clone(), seq: batch.seq })
    }
}

impl Sink for DetectionStage {
    fn accept(&self, batch: &Batch) -> Result<(), Rejected> {
        let Payload::Events(events) = &batch.payload else {
            return self.inner.accept(batch);
        };
        let mut state = self.state.lock();
        let known = state.take_retried(batch, events);
        let judged = known.or_else(|| self.judge(&mut state, batch, events));
        let result = self.inner.accept(judged.as_ref().unwrap_or(batch));
        if matches!(result, Err(Rejected::Retry(_))) {
            let batch = judged.unwrap_or_else(|| batch.clone());
            state.keep_retried(Retried { batch, events: events.len() });
        }
        result
    }
}
