//! Hands batches of one origin to the sink, in order, and keeps those that cannot be taken now.
//!
//! The queue is bounded: when the sink refuses for long, the oldest batch goes first, and every
//! one that goes is counted.

use std::{collections::VecDeque, sync::Arc};

use vedette_model::{Batch, Origin, Payload, Rejected, Samples, Sink};

use crate::{dictionary::Dictionary, metrics::SenderMetrics};

/// Sends the batches of one origin.
pub struct Sender {
    sink: Arc<dyn Sink>,
    origin: Origin,
    seq: u64,
    waiting: VecDeque<Payload>,
    waiting_max: usize,
    queued_told: usize,
    last_refusal: Option<String>,
}

impl Sender {
    /// A sender whose queue holds at most `waiting_max` batches.
    pub fn new(sink: Arc<dyn Sink>, origin: Origin, waiting_max: usize) -> Self {
        Self {
            sink,
            origin,
            seq: 0,
            waiting: VecDeque::new(),
            waiting_max,
            queued_told: 0,
            last_refusal: None,
        }
    }

    /// Why the sink does not take batches at the moment.
    pub fn refusal(&self) -> Option<&str> {
        self.last_refusal.as_deref()
    }

    /// Sends a payload after all that wait. Gives it back, for its memory to be used again, if
    /// it was taken.
    pub fn send(
        &mut self,
        payload: Payload,
        dictionary: Option<&Dictionary>,
        metrics: &SenderMetrics,
    ) -> Option<Payload> {
        self.waiting.push_back(payload);
        let taken = self.drain(dictionary, metrics);
        while self.waiting.len() > self.waiting_max {
            let dropped = self.waiting.pop_front();
            metrics.dropped_full.inc();
            metrics.dropped_events.add(dropped.as_ref().map_or(0, events));
        }
        self.tell_queued(metrics);
        taken.filter(|_| self.waiting.is_empty())
    }

    /// Sends again what waits, for senders that may have nothing new for long.
    pub fn retry(&mut self, dictionary: Option<&Dictionary>, metrics: &SenderMetrics) {
        if !self.waiting.is_empty() {
            self.drain(dictionary, metrics);
            self.tell_queued(metrics);
        }
    }

    /// Sends what waits until the sink refuses. Gives the last payload back if it was taken.
    fn drain(&mut self, dictionary: Option<&Dictionary>, metrics: &SenderMetrics) -> Option<Payload> {
        let mut taken = None;
        while let Some(payload) = self.waiting.pop_front() {
            match self.try_send(payload, dictionary) {
                Ok(payload) => {
                    self.last_refusal = None;
                    taken = Some(payload);
                }
                Err((payload, Rejected::Invalid(reason))) => {
                    tracing::error!(reason, origin = %self.origin.source, "batch refused for good");
                    metrics.dropped_invalid.inc();
                    metrics.dropped_events.add(events(&payload));
                }
                Err((payload, rejected)) => {
                    self.last_refusal = Some(rejected.to_string());
                    self.waiting.push_front(payload);
                    break;
                }
            }
        }
        taken
    }

    /// Several senders share the metrics, so each tells what its own queue grew by.
    fn tell_queued(&mut self, metrics: &SenderMetrics) {
        #[expect(clippy::cast_precision_loss, reason = "queues are short")]
        metrics.queued.add(self.waiting.len() as f64 - self.queued_told as f64);
        self.queued_told = self.waiting.len();
    }

    #[expect(clippy::result_large_err, reason = "a refused payload is moved back once, not copied")]
    fn try_send(
        &mut self,
        payload: Payload,
        dictionary: Option<&Dictionary>,
    ) -> Result<Payload, (Payload, Rejected)> {
        match (self.hand_over(payload), dictionary) {
            (Err((payload, Rejected::UnknownSeries(_))), Some(dictionary)) => {
                let mut definitions = Samples::default();
                dictionary.define_all(&mut definitions);
                match self.hand_over(Payload::Samples(definitions)) {
                    // Its series has been retired since, and the batch that defined it was given up:
                    // waiting cannot help, and would hold up all that comes after it.
                    Ok(_) => self.hand_over(payload).map_err(|(payload, rejected)| match rejected {
                        unknown @ Rejected::UnknownSeries(_) => {
                            (payload, Rejected::Invalid(unknown.to_string()))
                        }
                        other => (payload, other),
                    }),
                    Err((_, rejected)) => Err((payload, rejected)),
                }
            }
            (result, _) => result,
        }
    }

    /// A batch that was refused keeps its number: sent again, it is still the same batch.
    #[expect(clippy::result_large_err, reason = "a refused payload is moved back once, not copied")]
    fn hand_over(&mut self, payload: Payload) -> Result<Payload, (Payload, Rejected)> {
        let batch = Batch { origin: self.origin.clone(), seq: self.seq + 1, payload };
        match self.sink.accept(&batch) {
            Ok(()) => {
                self.seq += 1;
                Ok(batch.payload)
            }
            Err(rejected) => Err((batch.payload, rejected)),
        }
    }
}

fn events(payload: &Payload) -> u64 {
    match payload {
        Payload::Events(events) => events.len() as u64,
        Payload::Samples(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use vedette_model::{Labels, Row, SeriesDefinition};

    use super::*;

    #[derive(Default)]
    struct FakeSink {
        answers: Mutex<VecDeque<Rejected>>,
        seen: Mutex<Vec<(u64, String)>>,
        /// Batches of this time use a series that is not known.
        unknown_ms: Mutex<Option<i64>>,
    }

    impl Sink for FakeSink {
        fn accept(&self, batch: &Batch) -> Result<(), Rejected> {
            if let Some(answer) = self.answers.lock().pop_front() {
                return Err(answer);
            }
            let Payload::Samples(samples) = &batch.payload else { return Ok(()) };
            if samples.rows.iter().any(|row| Some(row.time_ms) == *self.unknown_ms.lock()) {
                return Err(Rejected::UnknownSeries(0));
            }
            let text = samples.rows.iter().map(|r| r.time_ms.to_string()).collect::<Vec<_>>().join(",");
            self.seen.lock().push((batch.seq, format!("{}d {text}", samples.defined.len())));
            Ok(())
        }
    }

    fn sender(sink: &Arc<FakeSink>) -> Sender {
        let origin = Origin { tenant: "default".into(), cluster: "c".into(), source: "s".into(), epoch: 1 };
        Sender::new(sink.clone(), origin, 3)
    }

    fn row(time_ms: i64) -> Payload {
        Payload::Samples(Samples { rows: vec![Row { time_ms, ..Row::default() }], ..Samples::default() })
    }

    #[test]
    fn keeps_order_while_the_sink_refuses() {
        let (sink, metrics) = (Arc::new(FakeSink::default()), SenderMetrics::default());
        let mut sender = sender(&sink);
        sink.answers
            .lock()
            .extend([Rejected::Retry("disk full".into()), Rejected::Retry("disk full".into())]);
        assert!(sender.send(row(1), None, &metrics).is_none());
        assert_eq!(sender.refusal(), Some("disk full"));
        assert!(sender.send(row(2), None, &metrics).is_none());
        assert!(sender.send(row(3), None, &metrics).is_some());
        assert_eq!(sender.refusal(), None);
        let seen = sink.seen.lock();
        assert_eq!(*seen, [(1, "0d 1".to_owned()), (2, "0d 2".to_owned()), (3, "0d 3".to_owned())]);
    }

    #[test]
    fn what_waits_is_sent_again_without_anything_new_and_all_queues_are_counted() {
        let (sink, metrics) = (Arc::new(FakeSink::default()), SenderMetrics::default());
        let (mut first, mut second) = (sender(&sink), sender(&sink));
        sink.answers.lock().extend((0..3).map(|_| Rejected::Retry("no".into())));
        first.send(row(1), None, &metrics);
        first.send(row(2), None, &metrics);
        second.send(row(3), None, &metrics);
        assert_eq!(metrics.queued.get(), 3.0);
        first.retry(None, &metrics);
        assert_eq!((first.refusal(), metrics.queued.get()), (None, 1.0));
        assert_eq!(sink.seen.lock().len(), 2);
    }

    #[test]
    fn a_batch_whose_series_nobody_can_define_any_more_does_not_hold_up_the_rest() {
        let (sink, metrics) = (Arc::new(FakeSink::default()), SenderMetrics::default());
        let mut sender = sender(&sink);
        let dictionary = Dictionary::new(&[]);
        sink.answers.lock().push_back(Rejected::Retry("no".into()));
        sender.send(row(1), Some(&dictionary), &metrics);
        *sink.unknown_ms.lock() = Some(1);
        assert!(sender.send(row(2), Some(&dictionary), &metrics).is_some());
        assert_eq!(metrics.dropped_invalid.get(), 1);
        assert_eq!(*sink.seen.lock(), [(1, "0d ".to_owned()), (2, "0d 2".to_owned())]);
    }

    #[test]
    fn a_full_queue_drops_the_oldest_and_counts_it() {
        let (sink, metrics) = (Arc::new(FakeSink::default()), SenderMetrics::default());
        let mut sender = sender(&sink);
        sink.answers.lock().extend((0..5).map(|_| Rejected::Retry("no".into())));
        for time in 1..=5 {
            sender.send(row(time), None, &metrics);
        }
        assert_eq!(metrics.dropped_full.get(), 2);
        sender.send(row(6), None, &metrics);
        let times: Vec<_> = sink.seen.lock().iter().map(|(_, t)| t.clone()).collect();
        assert_eq!(times, ["0d 3", "0d 4", "0d 5", "0d 6"]);
    }

    #[test]
    fn defines_all_again_for_a_sink_that_forgot_and_gives_up_what_is_wrong() {
        let (sink, metrics) = (Arc::new(FakeSink::default()), SenderMetrics::default());
        let mut sender = sender(&sink);
        let mut dictionary = Dictionary::new(&[]);
        let defined = vec![SeriesDefinition { series: 0, labels: Labels::from_pairs([("__name__", "a")]) }];
        dictionary.note(&mut Samples { defined, ..Samples::default() });
        sink.answers.lock().push_back(Rejected::UnknownSeries(0));
        assert!(sender.send(row(1), Some(&dictionary), &metrics).is_some());
        sink.answers.lock().push_back(Rejected::Invalid("no name".into()));
        assert!(sender.send(row(2), Some(&dictionary), &metrics).is_none());
        assert_eq!(metrics.dropped_invalid.get(), 1);
        assert_eq!(*sink.seen.lock(), [(1, "1d ".to_owned()), (2, "0d 1".to_owned())]);
    }
}
