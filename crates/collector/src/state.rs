//! The state of clusters, stored as if it had been scraped: the page of each is read at every interval, while it is
//! written, and its rows are handed on in batches.
//!
//! Rows bear the labels that a scrape of kube-state-metrics with `honor_labels` would give them. A row that the page
//! no longer has ends. What holds: neither the page nor its rows stand in memory as a whole ([`known`] keeps 16
//! bytes of each); each cluster has a thread of its own, which waits for a store that takes nothing for half an
//! interval and then leaves the round out; every row that is not handed on is counted with the reason. What comes
//! into the store another way is not stored twice ([`Elsewhere`]).

mod known;
mod metrics;
#[cfg(test)]
mod tests;
mod writer;

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use vedette_model::status::{Health, Part};

use self::{
    metrics::{Metrics, Told},
    writer::{Ended, Round, Writer},
};
use crate::{Error, Surroundings, stop::Stop};

/// The job that rows are told of: rules and dashboards for kube-state-metrics select by it.
pub const JOB: &str = "kube-state-metrics";

/// Rows of one cluster that are stored; more are counted and left out. 100,000 pods have some four millions.
const SERIES_MAX: u32 = 4 << 20;
/// Between two attempts to hand on what the store did not take.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// How writing a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageEnd {
    /// All of it was written.
    Whole,
    /// Whoever took it wanted no more.
    Cut,
    /// There is none yet, as nothing is known of the cluster.
    NotYet,
}

/// The state of the objects of a cluster.
pub trait StatePage: Send + Sync {
    /// Writes what is known at this moment in Prometheus' text format. `take` is given pieces of whole lines, and
    /// says whether it wants more.
    fn write(&self, take: &mut dyn FnMut(&str) -> bool) -> PageEnd;
}

/// Whether the same rows come into the store another way, as by a job that scrapes the page of this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Elsewhere {
    /// They do not.
    No,
    /// This may bring them. They are stored, and it is told.
    Perhaps(String),
    /// This brings them. They are not stored here, and what was is ended.
    Yes(String),
}

/// A cluster whose state is stored.
pub struct StateSource {
    /// What it is called: the label `instance` of its rows.
    pub cluster: Arc<str>,
    /// Whether rows bear the label `cluster` as well, as there are several clusters.
    pub names_cluster: bool,
    /// Between two readings.
    pub interval: Duration,
    /// What is read.
    pub page: Arc<dyn StatePage>,
    /// Asked before each reading.
    pub elsewhere: Arc<dyn Fn() -> Elsewhere + Send + Sync>,
}

/// Stores the state of clusters. It ends when stopped or dropped; no series ends with it, as they go on after a
/// restart.
pub struct StateKeeper {
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

impl StateKeeper {
    /// Starts a thread for each cluster.
    ///
    /// # Errors
    /// The machine refuses a thread.
    pub fn start(sources: Vec<StateSource>, surroundings: &Surroundings) -> Result<Self, Error> {
        let mut keeper = Self { stop: Arc::new(Stop::default()), threads: Vec::new() };
        if sources.is_empty() {
            return Ok(keeper);
        }
        let metrics = Arc::new(Metrics::new(sources.iter().map(|source| source.cluster.clone())));
        surroundings.telemetry.register(metrics.clone());
        for (at, source) in sources.into_iter().enumerate() {
            let course = Course::new(source, surroundings.clone(), metrics.clone(), at);
            let (stop, name) = (keeper.stop.clone(), format!("state-{at}"));
            let thread = std::thread::Builder::new().name(name).spawn(move || course.run(&stop));
            keeper.threads.push(thread.map_err(Error::Thread)?);
        }
        Ok(keeper)
    }

    /// Ends storing. A round under way is left where it is.
    pub fn stop(&mut self) {
        self.stop.set();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that stores the state of a cluster panicked");
            }
        }
    }
}

impl Drop for StateKeeper {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The thread of one cluster.
struct Course {
    source: StateSource,
    surroundings: Surroundings,
    writer: Writer,
    metrics: Arc<Metrics>,
    /// The place of the cluster in the metrics.
    at: usize,
}

impl Course {
    fn new(source: StateSource, surroundings: Surroundings, metrics: Arc<Metrics>, at: usize) -> Self {
        let origin = surroundings.origin(&format!("state/{}", source.cluster));
        let named = source.names_cluster.then_some(("cluster", &*source.cluster));
        let labels = [("job", JOB), ("instance", &*source.cluster)].into_iter().chain(named);
        let writer = Writer::new(surroundings.sink.clone(), origin, labels, SERIES_MAX);
        Self { writer, source, surroundings, metrics, at }
    }

    /// Reads until told to stop, at whole multiples of the interval, as all own readings.
    fn run(mut self, stop: &Stop) {
        let interval_ms = i64::try_from(self.source.interval.as_millis()).unwrap_or(i64::MAX).max(1);
        let next_after = |ms: i64| ms.div_euclid(interval_ms).saturating_add(1).saturating_mul(interval_ms);
        let clock = self.surroundings.clock.clone();
        let mut due_ms = next_after(clock.unix_ms());
        loop {
            let mut now_ms = clock.unix_ms();
            // Waiting may end early. A clock that was set back is not waited for.
            while now_ms < due_ms && due_ms - now_ms <= interval_ms {
                if stop.wait(Duration::from_millis((due_ms - now_ms).unsigned_abs())) {
                    return;
                }
                now_ms = clock.unix_ms();
            }
            let time_ms = if (0..interval_ms).contains(&(now_ms - due_ms)) { due_ms } else { now_ms };
            self.round(time_ms, stop);
            if stop.is_set() {
                return;
            }
            let (planned, possible) = (next_after(time_ms), next_after(clock.unix_ms()));
            let late = possible.saturating_sub(planned).div_euclid(interval_ms).max(0);
            self.metrics.of(self.at).skipped.add(late.unsigned_abs());
            due_ms = possible;
        }
    }

    fn round(&mut self, time_ms: i64, stop: &Stop) {
        let begin = self.surroundings.clock.monotonic();
        let patience = self.source.interval / 2;
        let clock = self.surroundings.clock.clone();
        let mut wait = || !stop.wait(RETRY_PAUSE) && clock.monotonic().since(begin) < patience;
        let seconds = || clock.monotonic().since(begin).as_secs_f64();
        let elsewhere = (self.source.elsewhere)();
        let round = match elsewhere {
            Elsewhere::Yes(_) => self.writer.end_all(time_ms, &mut wait),
            _ => self.writer.round(&*self.source.page, time_ms, &seconds, &mut wait, &|| stop.is_set()),
        };
        if round.ended == Ended::Stopped {
            return;
        }
        let told = self.metrics.of(self.at);
        told.note(&round, seconds());
        let (name, interval) = (&self.source.cluster, self.source.interval);
        let part = part(&round, told, interval, &elsewhere);
        self.surroundings.status.post(&format!("state metrics {name}"), part);
    }
}

/// How the last round went.
fn part(round: &Round, told: &Told, interval: Duration, elsewhere: &Elsewhere) -> Part {
    if let (Ended::Elsewhere, Elsewhere::Yes(who)) = (round.ended, elsewhere) {
        return Part::ok().fact("stored by", who).fact("series that ended in the last round", round.gone);
    }
    let part = match (&round.ended, &round.refusal) {
        (Ended::NotYet, _) => {
            return Part::new(
                Health::Degraded,
                "nothing is stored yet, as the cluster is not connected",
                "See the part of the cluster.",
            );
        }
        (Ended::Failed, refusal) => Part::new(
            Health::Failed,
            format!("the last round was left out: {}", refusal.as_deref().unwrap_or("it came to no end")),
            "The next round is stored once the cause is gone; see tsdb.",
        ),
        (_, Some(refusal)) => {
            Part::new(Health::Degraded, format!("rows are refused: {refusal}"), "See the reason.")
        }
        _ if round.refused() > 0 => Part::new(
            Health::Degraded,
            format!("{} rows of the last round were refused", round.refused()),
            "vedette_state_metrics_refused_rows_total tells the reasons; state_metrics.kinds leaves kinds out.",
        ),
        _ => match elsewhere {
            Elsewhere::Perhaps(who) => Part::new(
                Health::Degraded,
                format!("rows may be stored twice: {who} may scrape the page of this program"),
                "If it does, remove that job or set state_metrics.interval to off; else name its target by address.",
            ),
            _ => Part::ok(),
        },
    };
    part.fact("rows", round.rows)
        .fact("rows refused in the last round", round.refused())
        .fact("rows refused", told.refused())
        .fact("series that ended in the last round", round.gone)
        .fact("interval", format!("{interval:?}"))
        .fact("last round", format!("{:.1} ms", told.seconds.get() * 1000.0))
        .fact("rounds left out", told.skipped.get() + told.failed.get())
}
