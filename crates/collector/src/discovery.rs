//! Discovery at work: every source of targets is asked when it is due, by a task of its own, and what
//! it says is handed on.
//!
//! A source that fails keeps its last good targets and says so on the status page and in a metric.
//! Sources that are equal are asked once, and go on over a reload of the configuration with what they
//! know. Kinds that are not run are named, with the way that is open to them.

mod consul;
pub mod dns;
mod docker;
mod file;
mod http;
mod metrics;
mod source;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};

use parking_lot::Mutex;
use tokio::{runtime::Handle, task::JoinHandle};
use vedette_config::discovery::{Discovery as Kind, Kubernetes};
use vedette_http_client::Options;
use vedette_model::{
    TargetGroup,
    status::{Health, Part, StatusBoard},
    telemetry::Telemetry,
};
use vedette_sys::{Clock, Fs, MonotonicTime};

use metrics::Metrics;
use source::Source;

/// Takes what is discovered. Called from many threads, one call for a source at a time.
pub trait TargetSink: Send + Sync {
    /// All groups that the discovery with this number, among those of a set, knows now.
    fn set_groups(&self, set: &str, discovery: usize, groups: &[TargetGroup]);
}

/// Discoveries that belong together, as those of a scrape job.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscoverySet {
    /// The name of the job.
    pub name: String,
    /// Its discoveries, in their order.
    pub discoveries: Vec<Kind>,
}

/// Gives targets of clusters, which are known elsewhere.
pub trait ClusterTargets: Send + Sync {
    /// What one entry of `kubernetes_sd_configs` asks for. Nothing is asked yet.
    fn source(&self, config: &Kubernetes) -> Box<dyn ClusterSource>;
}

/// Targets of one cluster.
pub trait ClusterSource: Send {
    /// Tells targets until nobody wants to know, which `tell` says by `false`.
    fn run(self: Box<Self>, tell: ClusterTell) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Takes all groups that are known now, if that is news, and how asking went.
pub type ClusterTell = Box<dyn Fn(Option<Vec<TargetGroup>>, Result<(), String>) -> bool + Send + Sync>;

/// What discovery needs from whoever composes it.
#[derive(Clone)]
pub struct DiscoveryParts {
    /// Takes the targets.
    pub sink: Arc<dyn TargetSink>,
    /// Where sources are asked.
    pub runtime: Handle,
    /// How servers are asked; the socket is left out.
    pub http: Options,
    /// Who knows clusters; without them `kubernetes_sd_configs` is not run.
    pub clusters: Option<Arc<dyn ClusterTargets>>,
    /// Files.
    pub fs: Arc<dyn Fs>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where it says how it is.
    pub status: StatusBoard,
    /// All own metrics.
    pub telemetry: Telemetry,
}

/// How one source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceState {
    /// The kind, as `dns`.
    pub kind: &'static str,
    /// The sets that use it, with the number of the discovery in each.
    pub users: Vec<(String, usize)>,
    /// Whether it is run at all.
    pub is_run: bool,
    /// What went wrong the last time, if anything did; the targets are those of the time before.
    pub error: Option<String>,
    /// How often it went wrong.
    pub failures: u64,
    /// When it went well last.
    pub last_success: Option<MonotonicTime>,
    /// Targets that it knows.
    pub targets: usize,
}

/// Discovery. Dropped, it ends.
pub struct Discovery {
    inner: Arc<Inner>,
}

struct Inner {
    parts: DiscoveryParts,
    state: Mutex<State>,
    metrics: Metrics,
}

#[derive(Default)]
struct State {
    sources: BTreeMap<u64, Running>,
    next: u64,
}

/// A source and those who use it.
struct Running {
    config: Kind,
    users: Vec<(String, usize)>,
    groups: Vec<TargetGroup>,
    /// Whether anything was said yet: before that nobody is told that there is nothing.
    has_answered: bool,
    error: Option<String>,
    failures: u64,
    last_success: Option<MonotonicTime>,
    task: Option<JoinHandle<()>>,
}

/// By which a source tells what it found.
#[derive(Clone)]
struct Reporter {
    inner: std::sync::Weak<Inner>,
    source: u64,
}

/// Why discoveries cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("{kind}_sd_configs of {set:?}: {reason}")]
pub struct DiscoveryError {
    /// The set.
    pub set: String,
    /// The kind.
    pub kind: &'static str,
    /// What is wrong.
    pub reason: String,
}

/// Sets whose sources are made, so that running them cannot fail.
pub struct PreparedSets(Vec<PreparedSet>);

/// The name of a set, and its discoveries with the sources of those that are asked.
type PreparedSet = (String, Vec<(Kind, Option<Source>)>);

impl Discovery {
    /// Discovery of nothing yet.
    pub fn new(parts: DiscoveryParts) -> Self {
        let inner = Arc::new(Inner { parts, state: Mutex::default(), metrics: Metrics::default() });
        inner.parts.telemetry.register(Arc::new(metrics::Figures(Arc::downgrade(&inner))));
        Self { inner }
    }

    /// Makes what a new configuration needs, and refuses what cannot work, while the old one runs on.
    pub fn prepare(&self, sets: Vec<DiscoverySet>) -> Result<PreparedSets, DiscoveryError> {
        let mut prepared = Vec::new();
        for set in sets {
            let mut sources = Vec::new();
            for config in set.discoveries {
                let source = Source::new(&config, &self.inner.parts).map_err(|reason| DiscoveryError {
                    set: set.name.clone(),
                    kind: config.kind(),
                    reason,
                })?;
                sources.push((config, source));
            }
            prepared.push((set.name, sources));
        }
        Ok(PreparedSets(prepared))
    }

    /// Runs these sets and no others. Sources that were there before go on with what they know.
    pub fn run(&self, PreparedSets(sets): PreparedSets) {
        let inner = &self.inner;
        let mut state = inner.state.lock();
        let mut before = std::mem::take(&mut state.sources);
        for running in before.values_mut() {
            running.users.clear();
        }
        for (name, sources) in sets {
            // The lists of a set are one source, under the number of the first: who takes targets looks at
            // all that a set has whenever one of its sources speaks.
            let mut lists: Option<Running> = None;
            for (number, (config, source)) in sources.into_iter().enumerate() {
                let user = (name.clone(), number);
                if let Kind::Static(group) = &config {
                    let group = static_group(group, number);
                    lists.get_or_insert_with(|| Running::new(config, user)).groups.push(group);
                    continue;
                }
                if let Some(running) = state.sources.values_mut().find(|running| running.config == config) {
                    running.users.push(user);
                    continue;
                }
                let known = before.iter().find(|(_, running)| running.config == config).map(|(id, _)| *id);
                if let Some((id, mut running)) = known.and_then(|id| before.remove_entry(&id)) {
                    running.users.push(user);
                    state.sources.insert(id, running);
                    continue;
                }
                let id = state.next;
                state.next += 1;
                let mut running = Running::new(config, user);
                if let Some(source) = source {
                    let reporter = Reporter { inner: Arc::downgrade(inner), source: id };
                    running.task = Some(inner.parts.runtime.spawn(source.run(reporter)));
                }
                state.sources.insert(id, running);
            }
            if let Some(mut lists) = lists {
                lists.has_answered = true;
                lists.last_success = Some(inner.parts.clock.monotonic());
                let id = state.next;
                state.next += 1;
                state.sources.insert(id, lists);
            }
        }
        for gone in before.into_values() {
            if let Some(task) = gone.task {
                task.abort();
            }
        }
        for running in state.sources.values().filter(|running| running.has_answered) {
            running.tell(&*inner.parts.sink);
        }
        drop(state);
        inner.post();
    }

    /// How all sources are.
    pub fn states(&self) -> Vec<SourceState> {
        self.inner.states()
    }

    /// What people should know of the sources of a set: kinds that are not run, and those that fail.
    pub fn problems(&self, set: &str) -> Vec<String> {
        let states = self.states();
        let own = states.iter().filter(|state| state.users.iter().any(|(name, _)| name == set));
        own.filter_map(SourceState::problem).collect()
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        for running in self.inner.state.lock().sources.values() {
            if let Some(task) = &running.task {
                task.abort();
            }
        }
    }
}

impl SourceState {
    /// What is wrong with it and what to do, if anything is.
    pub fn problem(&self) -> Option<String> {
        let kind = self.kind;
        if !self.is_run {
            return Some(format!(
                "{kind}_sd_configs is not run; let a program that asks there serve its targets, and name it in \
                 http_sd_configs"
            ));
        }
        let error = self.error.as_ref()?;
        let kept = if self.targets > 0 { "; its last good targets are kept" } else { "" };
        Some(format!("{kind}_sd_configs fails: {error}{kept}"))
    }
}

impl Running {
    fn new(config: Kind, user: (String, usize)) -> Self {
        Self {
            config,
            users: vec![user],
            groups: Vec::new(),
            has_answered: false,
            error: None,
            failures: 0,
            last_success: None,
            task: None,
        }
    }

    fn tell(&self, sink: &dyn TargetSink) {
        for (set, number) in &self.users {
            sink.set_groups(set, *number, &self.groups);
        }
    }

    fn is_run(&self) -> bool {
        self.task.is_some() || matches!(self.config, Kind::Static(_))
    }
}

/// Static groups are told apart by their place in the list.
fn static_group(group: &TargetGroup, number: usize) -> TargetGroup {
    TargetGroup { source: number.to_string(), ..group.clone() }
}

impl Inner {
    fn states(&self) -> Vec<SourceState> {
        let state = self.state.lock();
        let targets = |groups: &[TargetGroup]| groups.iter().map(|group| group.targets.len()).sum();
        let each = state.sources.values().map(|running| SourceState {
            kind: running.config.kind(),
            users: running.users.clone(),
            is_run: running.is_run(),
            error: running.error.clone(),
            failures: running.failures,
            last_success: running.last_success,
            targets: targets(&running.groups),
        });
        each.collect()
    }

    /// Says on the status page how discovery is.
    fn post(&self) {
        let states = self.states();
        let run = states.iter().filter(|state| state.is_run).count();
        let failing = states.iter().filter(|state| state.error.is_some()).count();
        let problems: Vec<(String, String)> = states
            .iter()
            .filter_map(|state| {
                let jobs: Vec<&str> = state.users.iter().map(|(set, _)| set.as_str()).collect();
                Some((jobs.join(", "), state.problem()?))
            })
            .collect();
        let part = if problems.is_empty() {
            Part::ok()
        } else {
            let message = match (failing, states.len() - run) {
                (0, not_run) => format!("{not_run} kinds of discovery are not run"),
                (failing, 0) => {
                    format!("{failing} sources of targets fail; their last good targets are kept")
                }
                (failing, not_run) => format!(
                    "{failing} sources of targets fail, their last good targets are kept; {not_run} kinds of \
                     discovery are not run"
                ),
            };
            Part::new(Health::Degraded, message, "See what is said of each job below.")
        };
        let targets: usize = states.iter().map(|state| state.targets).sum();
        let mut part = part.fact("sources", run).fact("targets", targets);
        for (jobs, problem) in problems {
            part = part.fact(format!("job {jobs}"), problem);
        }
        self.parts.status.post("discovery", part);
    }
}

impl Reporter {
    /// Tells how asking went. `groups` are all that are known now, or `None` where nothing new is known.
    /// `false` where nobody is interested any more.
    fn tell(&self, groups: Option<Vec<TargetGroup>>, outcome: Result<(), String>) -> bool {
        let Some(inner) = self.inner.upgrade() else { return false };
        let mut state = inner.state.lock();
        let Some(running) = state.sources.get_mut(&self.source) else { return false };
        let was_failing = running.error.is_some();
        let kind = running.config.kind();
        inner.metrics.count(kind, outcome.is_err());
        match outcome {
            Ok(()) => {
                running.error = None;
                running.last_success = Some(inner.parts.clock.monotonic());
            }
            Err(error) => {
                running.failures += 1;
                if running.error.as_ref() != Some(&error) {
                    tracing::warn!(kind, error, "a source of targets fails; its last good targets are kept");
                }
                running.error = Some(error);
            }
        }
        // A new source that fails knows nothing; what a source of before has found is not its own.
        let groups = groups.or_else(|| (!running.has_answered).then(Vec::new));
        let changed = match groups {
            Some(groups) if !running.has_answered || groups != running.groups => {
                running.groups = groups;
                running.has_answered = true;
                true
            }
            _ => false,
        };
        if changed {
            // Under the lock, so that answers arrive in the order in which they were given.
            running.tell(&*inner.parts.sink);
        }
        let says_more = changed || was_failing || running.error.is_some();
        drop(state);
        if says_more {
            inner.post();
        }
        true
    }
}
