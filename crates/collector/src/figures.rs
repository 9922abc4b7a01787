//! Reads figures of host, containers and Vedette itself at every interval.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use vedette_host::{ContainerChange, ContainerIndex, ContainerReader, NodeReader};
use vedette_model::{
    Container, Event, Fact, Payload, Samples,
    status::{Health, Part},
};

use crate::{
    Config, Surroundings, dictionary::Dictionary, metrics::Metrics, own::OwnMetrics, sender::Sender,
    stop::Stop, usage::UsageHistory,
};

/// Between two accounts on the status board.
const STATUS_INTERVAL_MS: i64 = 2_000;

/// The newest figures of host and containers, for expositions.
#[derive(Clone)]
pub struct Latest {
    /// Of the host.
    pub node: Arc<Mutex<Dictionary>>,
    /// Of containers.
    pub containers: Arc<Mutex<Dictionary>>,
    /// What containers used in each minute.
    pub usage: Arc<Mutex<UsageHistory>>,
}

/// One stream of samples: its dictionary, its sender and the memory of its last batch.
struct Stream {
    dictionary: Arc<Mutex<Dictionary>>,
    sender: Sender,
    spare: Samples,
}

impl Stream {
    fn new(
        source: &str,
        dictionary: Arc<Mutex<Dictionary>>,
        surroundings: &Surroundings,
        waiting_max: usize,
    ) -> Self {
        let sender = Sender::new(surroundings.sink.clone(), surroundings.origin(source), waiting_max);
        Self { dictionary, sender, spare: Samples::default() }
    }

    fn pass(&mut self, metrics: &Metrics, collect: impl FnOnce(&mut Samples)) {
        let mut samples = std::mem::take(&mut self.spare);
        collect(&mut samples);
        // Readers use the rows of earlier passes again; one that this pass had no use for is none.
        samples.rows.retain(|row| !row.series.is_empty());
        let mut dictionary = self.dictionary.lock();
        dictionary.note(&mut samples);
        let sent = self.sender.send(Payload::Samples(samples), Some(&dictionary), &metrics.samples);
        if let Some(Payload::Samples(mut samples)) = sent {
            for row in &mut samples.rows {
                row.series.clear();
                row.values.clear();
            }
            samples.defined.clear();
            samples.retired.clear();
            samples.metadata.clear();
            self.spare = samples;
        }
    }
}

/// The thread's state.
pub struct Figures {
    interval: Duration,
    surroundings: Surroundings,
    metrics: Arc<Metrics>,
    node: NodeReader,
    containers: ContainerReader,
    own: OwnMetrics,
    streams: [Stream; 3],
    usage: Arc<Mutex<UsageHistory>>,
    events: Sender,
    status_due_ms: i64,
}

impl Figures {
    /// Opens the readers.
    pub fn new(
        config: &Config,
        surroundings: Surroundings,
        latest: &Latest,
        metrics: Arc<Metrics>,
    ) -> Result<Self, vedette_host::Error> {
        let node = NodeReader::new(&config.host, surroundings.clock.clone())?;
        let containers = ContainerReader::new(&config.host, surroundings.clock.clone())?;
        surroundings.telemetry.register(node.metrics());
        for source in containers.metrics() {
            surroundings.telemetry.register(source);
        }
        let own = Dictionary::new(&[("job", "vedette"), ("instance", &surroundings.host.name)]);
        let stream = |source: &str, dictionary: &Arc<Mutex<Dictionary>>| {
            Stream::new(source, dictionary.clone(), &surroundings, config.waiting_samples_max)
        };
        let streams = [
            stream("node", &latest.node),
            stream("containers", &latest.containers),
            stream("self", &Arc::new(Mutex::new(own))),
        ];
        let events = Sender::new(
            surroundings.sink.clone(),
            surroundings.origin("container-events"),
            config.waiting_events_max,
        );
        Ok(Self {
            interval: config.interval,
            metrics,
            node,
            containers,
            own: OwnMetrics::default(),
            streams,
            usage: latest.usage.clone(),
            events,
            status_due_ms: 0,
            surroundings,
        })
    }

    /// Which container a cgroup belongs to.
    pub fn container_index(&self) -> ContainerIndex {
        self.containers.index()
    }

    /// Reads until told to stop. Readings lie on whole multiples of the interval, so that series
    /// of all sources share their times.
    pub fn run(mut self, stop: &Stop) {
        let interval_ms = i64::try_from(self.interval.as_millis()).unwrap_or(i64::MAX).max(1);
        let mut due_ms = self.surroundings.clock.unix_ms();
        loop {
            self.pass(due_ms);
            let now_ms = self.surroundings.clock.unix_ms();
            let next_ms = (due_ms.div_euclid(interval_ms) + 1) * interval_ms;
            due_ms = if next_ms < now_ms || next_ms > now_ms + interval_ms {
                // Late, or the machine's clock was set.
                let late = (now_ms - next_ms).div_euclid(interval_ms).max(0);
                self.metrics.passes_skipped.add(late.unsigned_abs());
                (now_ms.div_euclid(interval_ms) + 1) * interval_ms
            } else {
                next_ms
            };
            let wait = Duration::from_millis((due_ms - now_ms).max(0).unsigned_abs());
            if stop.wait(wait) {
                return;
            }
        }
    }

    fn pass(&mut self, time_ms: i64) {
        let start = self.surroundings.clock.monotonic();
        let [node, containers, own] = &mut self.streams;
        node.pass(&self.metrics, |samples| self.node.collect(time_ms, samples));
        let mut changes = Vec::new();
        containers.pass(&self.metrics, |samples| self.containers.collect(time_ms, samples, &mut changes));
        self.usage.lock().note(time_ms, &containers.dictionary.lock());
        own.pass(&self.metrics, |samples| self.own.collect(&self.surroundings.telemetry, time_ms, samples));
        if changes.is_empty() {
            self.events.retry(None, &self.metrics.events);
        } else {
            let events = changes.into_iter().map(|change| self.event(change)).collect();
            self.events.send(Payload::Events(events), None, &self.metrics.events);
        }
        self.metrics.passes.inc();
        self.metrics.pass_seconds.set(self.surroundings.clock.monotonic().since(start).as_secs_f64());
        if time_ms >= self.status_due_ms || time_ms + STATUS_INTERVAL_MS < self.status_due_ms {
            self.status_due_ms = time_ms + STATUS_INTERVAL_MS;
            self.post_status();
        }
    }

    fn event(&self, change: ContainerChange) -> Event {
        let (container, fact): (Arc<Container>, Fact) = match change {
            ContainerChange::Started(container) => (container, Fact::ContainerStart),
            ContainerChange::Stopped(container) => (container, Fact::ContainerStop),
            ContainerChange::OomKill { container, count } => (container, Fact::OomKill { count }),
        };
        Event {
            id: 0,
            time_ns: self.surroundings.clock.unix_ns(),
            host: self.surroundings.host.clone(),
            container: Some(container),
            process: None,
            fact,
        }
    }

    fn post_status(&self) {
        let board = &self.surroundings.status;
        self.node.report().post(board);
        for report in self.containers.reports() {
            report.post(board);
        }
        let series: usize = self.streams.iter().map(|s| s.dictionary.lock().series()).sum();
        let refusal = self.streams.iter().find_map(|s| s.sender.refusal()).or_else(|| self.events.refusal());
        let part = match refusal {
            None => Part::ok(),
            Some(reason) => Part::new(
                Health::Degraded,
                format!("the stores do not take readings: {reason}"),
                "Readings wait in memory and are stored once the cause is gone; see tsdb and eventdb.",
            ),
        };
        let seconds = self.metrics.pass_seconds.get();
        board.post(
            "collector",
            part.fact("series", series)
                .fact("interval", format!("{:?}", self.interval))
                .fact("last pass", format!("{:.1} ms", seconds * 1000.0))
                .fact("passes left out", self.metrics.passes_skipped.get())
                .fact("readings dropped", self.metrics.samples.dropped_full.get()),
        );
    }
}
