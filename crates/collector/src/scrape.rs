//! Scraping: asks each target at its time, reads its answer and hands its samples on.
//!
//! One thread begins scrapes and opens connections ([`clockwork`], [`fetch`]); lanes, as many as there are
//! processors, read the answers ([`answers`], [`lane`], [`reading`]) and hand one batch for each to the
//! sink. Which targets there are is told by discovery: [`Scraper::set_jobs`] and [`Scraper::set_groups`].
//!
//! What holds: a scrape never waits for another target, nor for the store; the memory for answers is
//! bounded; every sample that is not stored is counted, and the target says why.

mod answers;
mod body;
mod budget;
mod classic;
mod clockwork;
mod draft;
mod failure;
mod failure_log;
mod families;
mod fetch;
mod inbox;
mod lane;
mod metrics;
pub(crate) mod numbers;
mod outbox;
mod page;
mod plain;
mod pools;
mod reading;
mod resolution;
mod spec;
#[cfg(test)]
mod tests;

use std::{sync::Arc, thread::JoinHandle};

use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use vedette_config::prometheus::ScrapeJob;
use vedette_http_client::Options;
use vedette_model::{Labels, MetricMetadata, PoolState, TargetGroup, TargetReader};

use self::{
    answers::Answers,
    budget::Budget,
    clockwork::{Clockwork, Command},
    fetch::Shared,
    lane::{Lane, Spare},
    metrics::Metrics,
    outbox::Outbox,
    pools::Pools,
};
use crate::{Error, Surroundings};

#[cfg(fuzzing)]
pub use plain::fuzzing;

/// What is done with the times since when counters count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartTimes {
    /// Nothing: where they come as series called `_created`, they are stored as such.
    #[default]
    Ignored,
    /// A sample of 0 is stored at the time where counting began.
    ZeroSamples,
    /// They are stored with the samples.
    Stored,
}

/// What is done beyond the configuration of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// Since when counters count.
    pub start_times: StartTimes,
    /// Whether series get their type and unit as the labels `__type__` and `__unit__`.
    pub type_and_unit_labels: bool,
}

/// How targets are scraped.
#[derive(Debug, Clone)]
pub struct Config {
    /// What is done beyond the configuration of jobs.
    pub features: Features,
    /// The name that requests bear.
    pub user_agent: String,
    /// Threads that read answers.
    pub lanes: usize,
    /// Bytes of one answer where its job has no limit.
    pub body_bytes_max: u64,
    /// Bytes of all answers on their way together, but for small ones.
    pub bodies_bytes_max: u64,
    /// Series of the targets of one lane.
    pub lane_series_max: u32,
    /// Samples that a lane keeps while the sink refuses.
    pub waiting_samples_max: usize,
    /// Differs between servers that scrape the same targets, so that they do so at different times.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            features: Features::default(),
            user_agent: concat!("Vedette/", env!("CARGO_PKG_VERSION")).to_owned(),
            lanes: std::thread::available_parallelism().map_or(1, |n| n.get().min(8)),
            body_bytes_max: 256 << 20,
            bodies_bytes_max: 512 << 20,
            lane_series_max: 1 << 22,
            waiting_samples_max: 4 << 20,
            seed: 0,
        }
    }
}

/// The running scrapes. They end when this is stopped or dropped.
pub struct Scraper {
    pools: Mutex<Pools>,
    commands: Mutex<Option<UnboundedSender<Command>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Scraper {
    /// Starts without any job. `client` is what HTTP clients of jobs are made with.
    pub fn start(config: &Config, surroundings: &Surroundings, client: Options) -> Result<Self, Error> {
        let metrics = Arc::new(Metrics::default());
        surroundings.telemetry.register(metrics.clone());
        let spare = Arc::new(Spare::default());
        let lane_count = config.lanes.max(1);
        let mut threads = Vec::new();
        let mut lanes = Vec::new();
        let (commands, received) = unbounded_channel();
        for number in 0..lane_count {
            let origin = surroundings.origin(&format!("scrape-{number}"));
            let sink = Arc::clone(&surroundings.sink);
            let outbox = Outbox::new(sink, origin, config.waiting_samples_max, metrics.clone());
            let clock = Arc::clone(&surroundings.clock);
            let lane = Lane::new(outbox, clock, metrics.clone(), config, spare.clone());
            // Weak, as the lanes end after all that can give commands.
            let (answers, inbox) = Answers::new(lane, commands.downgrade()).map_err(Error::Thread)?;
            lanes.push(Arc::new(inbox));
            threads.push(spawn(&format!("scrape-{number}"), move || answers.run())?);
        }
        let clockwork = Clockwork::new(surroundings.clock.clone(), metrics.clone(), lanes, config.seed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(32)
            .build()
            .map_err(Error::Thread)?;
        threads.push(spawn("scrape-clock", move || {
            runtime.block_on(clockwork.run(received));
            // A name that nobody resolves must not hold up the end.
            runtime.shutdown_background();
        })?);
        let budget = Budget::new(config.bodies_bytes_max);
        let (user_agent, body_bytes_max) = (config.user_agent.clone(), config.body_bytes_max);
        let shared = Shared { user_agent, body_bytes_max, budget, spare, metrics };
        Ok(Self {
            pools: Mutex::new(Pools::new(lane_count, client, shared)),
            commands: Mutex::new(Some(commands)),
            threads: Mutex::new(threads),
        })
    }

    /// Puts these jobs in place of those that are known, by name. Targets that stay go on without a
    /// gap. On an error nothing changes.
    pub fn set_jobs(&self, jobs: Vec<ScrapeJob>) -> Result<(), vedette_http_client::Error> {
        let changes = self.pools.lock().set_jobs(jobs)?;
        self.command(changes);
        Ok(())
    }

    /// Takes all groups that a discovery of a job, named by its place in the job, knows now.
    pub fn set_groups(&self, job: &str, discovery: usize, groups: &[TargetGroup]) {
        let changes = self.pools.lock().set_groups(job, discovery, groups);
        self.command(changes);
    }

    /// Ends all scrapes. Series do not end with it, as they go on after a restart.
    pub fn stop(&self) {
        self.commands.lock().take();
        for thread in self.threads.lock().drain(..).rev() {
            if thread.join().is_err() {
                tracing::error!("a thread of scraping panicked");
            }
        }
    }

    fn command(&self, changes: Vec<Command>) {
        if let Some(commands) = &*self.commands.lock() {
            for command in changes {
                // Fails only when the thread has panicked, which is told at the end.
                let _ = commands.send(command);
            }
        }
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.stop();
    }
}

impl TargetReader for Scraper {
    fn pool_names(&self) -> Vec<String> {
        self.pools.lock().names()
    }

    fn pools(&self, only: Option<&str>) -> Vec<PoolState> {
        self.pools.lock().states(only)
    }

    fn target_metadata(&self, each: &mut dyn FnMut(&Labels, &MetricMetadata)) {
        for live in self.pools.lock().live() {
            let (target, families) = (live.spec().target.clone(), live.families.lock().clone());
            for family in families {
                each(&target.labels, &family);
            }
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(Error::Thread)
}
