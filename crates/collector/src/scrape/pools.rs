//! The jobs and their targets, and what changes with them.

use std::{collections::BTreeMap, sync::Arc};

use vedette_config::prometheus::ScrapeJob;
use vedette_http_client::{Client, Error, Options};
use vedette_model::{DroppedTarget, PoolState, TargetGroup, TargetState};
use vedette_scrape::{Pool, Target, TargetId};

use super::{
    clockwork::Command,
    fetch::{Fetcher, Shared},
    spec::{Live, Spec},
};

/// All jobs, by name.
pub(crate) struct Pools {
    lanes: usize,
    client: Options,
    shared: Shared,
    jobs: BTreeMap<String, Job>,
}

struct Job {
    config: Arc<ScrapeJob>,
    fetcher: Arc<Fetcher>,
    pool: Pool,
    /// What each discovery found last, by its place in the job.
    groups: BTreeMap<usize, Vec<TargetGroup>>,
    live: BTreeMap<TargetId, Arc<Live>>,
}

impl Pools {
    pub(crate) fn new(lanes: usize, client: Options, shared: Shared) -> Self {
        Self { lanes, client, shared, jobs: BTreeMap::new() }
    }

    /// See [`super::Scraper::set_jobs`].
    pub(crate) fn set_jobs(&mut self, jobs: Vec<ScrapeJob>) -> Result<Vec<Command>, Error> {
        // First whatever can fail.
        let mut made = Vec::with_capacity(jobs.len());
        for job in jobs {
            let is_known = self.jobs.get(&job.name).is_some_and(|known| *known.config == job);
            let client = if is_known { None } else { Some(Client::new(&job.client, &self.client)?) };
            made.push((job, client));
        }
        let mut before = std::mem::take(&mut self.jobs);
        let mut commands = Vec::new();
        for (config, client) in made {
            let old = before.remove(&config.name);
            let name = config.name.clone();
            let job = match (client, old) {
                (None, Some(same)) => same,
                (client, old) => {
                    let Some(client) = client else { continue };
                    self.change_job(config, client, old, &mut commands)
                }
            };
            self.jobs.insert(name, job);
        }
        for job in before.into_values() {
            commands.extend(job.live.into_keys().map(Command::Remove));
        }
        Ok(commands)
    }

    /// See [`super::Scraper::set_groups`].
    pub(crate) fn set_groups(&mut self, job: &str, discovery: usize, groups: &[TargetGroup]) -> Vec<Command> {
        let mut commands = Vec::new();
        if let Some(job) = self.jobs.get_mut(job) {
            job.groups.insert(discovery, groups.to_vec());
            job.pool.set_groups(discovery, groups);
            job.follow(self.lanes, &mut commands);
        }
        commands
    }

    /// The names of all jobs.
    pub(crate) fn names(&self) -> Vec<String> {
        self.jobs.keys().cloned().collect()
    }

    /// The targets of one job, or of all.
    pub(crate) fn states(&self, only: Option<&str>) -> Vec<PoolState> {
        let wanted = self.jobs.iter().filter(|(name, _)| only.is_none_or(|only| only == *name));
        wanted.map(|(name, job)| job.state(name)).collect()
    }

    /// All targets.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Arc<Live>> {
        self.jobs.values().flat_map(|job| job.live.values())
    }

    fn change_job(
        &self,
        config: ScrapeJob,
        client: Client,
        old: Option<Job>,
        commands: &mut Vec<Command>,
    ) -> Job {
        let fetcher = Arc::new(Fetcher::new(&config, client, &self.shared));
        let mut job = Job {
            pool: Pool::new(config.clone()),
            config: Arc::new(config),
            fetcher,
            groups: BTreeMap::new(),
            live: BTreeMap::new(),
        };
        if let Some(old) = old {
            // What was found stays until discovery says something else.
            if old.config.discoveries == job.config.discoveries {
                job.groups = old.groups;
            }
            job.live = old.live;
        }
        for (discovery, groups) in &job.groups {
            job.pool.set_groups(*discovery, groups);
        }
        job.follow(self.lanes, commands);
        job
    }
}

impl Job {
    /// Brings what is scraped in line with the targets of the pool.
    fn follow(&mut self, lanes: usize, commands: &mut Vec<Command>) {
        let pool_error = self.pool.over_limit().map(str::to_owned);
        let mut before = std::mem::take(&mut self.live);
        for target in self.pool.targets() {
            let id = target.id.in_job(&self.config.name);
            let spec = |target: &Arc<Target>| {
                let (job, fetcher) = (Arc::clone(&self.config), Arc::clone(&self.fetcher));
                Arc::new(Spec::new(job, Arc::clone(target), fetcher, pool_error.clone()))
            };
            let live = match before.remove(&id) {
                Some(live) => {
                    let known = live.spec();
                    if !Arc::ptr_eq(&known.job, &self.config)
                        || !Arc::ptr_eq(&known.target, target)
                        || known.pool_error != pool_error
                    {
                        live.set_spec(spec(target));
                    }
                    live
                }
                None => {
                    let lane = usize::try_from(id.number() % lanes as u64).unwrap_or(0);
                    let live = Arc::new(Live::new(id, lane, spec(target)));
                    commands.push(Command::Add(Arc::clone(&live)));
                    live
                }
            };
            self.live.insert(id, live);
        }
        commands.extend(before.into_keys().map(Command::Remove));
    }

    fn state(&self, name: &str) -> PoolState {
        let target = |live: &Arc<Live>| {
            let (spec, status) = (live.spec(), live.status.lock().clone());
            TargetState {
                pool: name.to_owned(),
                discovered: spec.target.discovered.clone(),
                labels: spec.target.labels.clone(),
                url: spec.target.url.to_string(),
                interval: spec.target.interval,
                timeout: spec.target.timeout,
                health: status.health,
                last_error: status.error,
                last_scrape_ns: status.scraped_ns,
                last_duration: status.duration,
            }
        };
        let dropped = self.pool.dropped().iter().map(|dropped| DroppedTarget {
            pool: name.to_owned(),
            discovered: dropped.discovered.clone(),
            error: dropped.error.as_ref().map(ToString::to_string),
        });
        PoolState {
            pool: name.to_owned(),
            targets: self.live.values().map(target).collect(),
            dropped: dropped.collect(),
            dropped_count: self.pool.dropped_count(),
        }
    }
}
