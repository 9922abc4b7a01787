//! Capacity of the clusters that are watched: judged again when something changed that matters, and shown.
//!
//! Judging stands still for nobody: it has a thread of its own, which rests many times as long as it worked, and
//! ends soon when nobody wants its answer any more. What is shown says how old it is and what it leaves out.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, sleep_until},
};
use vedette_api::CapacityReader;
use vedette_capacity::{
    Advice, Budget, Cluster, Options, Snapshot, Survey, advise_until, objects::Pod, survey_until,
};
use vedette_k8s::{Api, Hub, SharedWatch, WatchState, What, any_change};
use vedette_model::status::{Health, Part, StatusBoard};
use vedette_sys::{Clock, Fs, MonotonicTime};

use super::{
    answer,
    objects::{Kept, Kind, Machine, for_each_kind},
    outages::{Figures, Outages, objects},
};
use crate::{clusters::Connected, config::CapacitySettings};

/// Changes that come together are looked at together.
const PAUSE: Duration = Duration::from_secs(1);
/// Looks are this far apart at most, as pods may be missing for long and times go on.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// After work of some length there is a rest of so many times that length.
const REST_FACTOR: u32 = 19;

/// What is shown of all clusters; cloning shares it.
#[derive(Clone)]
pub struct Board(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    clusters: RwLock<BTreeMap<Arc<str>, Shown>>,
}

/// What is shown of a cluster.
#[derive(Clone)]
pub struct Shown {
    /// How many nodes must be able to fail.
    pub wanted: usize,
    /// What keeps the judgement from being made, or from being of the cluster as it is.
    pub trouble: Vec<String>,
    /// Resources without which it was made, by name, and why.
    pub incomplete: Vec<(String, String)>,
    /// Whether the cluster is as it was judged.
    pub agrees: bool,
    /// When it last was; before the first judgement, since when it is watched.
    pub agreed: MonotonicTime,
    /// The newest judgement.
    pub judged: Option<Arc<Judged>>,
    /// How many were made.
    pub judgements: u64,
    /// What outages say.
    pub figures: Figures,
    /// Outages, as they are recorded.
    pub ledger: Arc<vedette_capacity::outage::Ledger>,
    /// The nodes that there are.
    pub nodes: usize,
}

/// A judgement.
pub struct Judged {
    /// How many nodes may fail.
    pub survey: Survey,
    /// What to add.
    pub advice: Option<Advice>,
    /// When the objects were so.
    pub at_unix_ms: i64,
    /// How long it took.
    pub took: Duration,
    /// Of which objects.
    print: u64,
}

impl Board {
    /// No cluster yet.
    pub fn new(clock: &Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { clock: clock.clone(), clusters: RwLock::default() }))
    }

    /// As the API asks it.
    pub fn reader(&self) -> CapacityReader {
        let board = self.clone();
        Arc::new(move || answer::answer(&board))
    }

    /// Time.
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// What is known of all clusters.
    pub fn shown(&self) -> Vec<(Arc<str>, Shown)> {
        self.0.clusters.read().iter().map(|(name, shown)| (name.clone(), shown.clone())).collect()
    }

    fn change(&self, name: &Arc<str>, change: impl FnOnce(&mut Shown)) {
        if let Some(shown) = self.0.clusters.write().get_mut(name) {
            change(shown);
        }
    }
}

impl Shown {
    /// For how long the cluster has not been as it was judged.
    pub fn age(&self, now: MonotonicTime) -> Duration {
        if self.agrees { Duration::ZERO } else { now.since(self.agreed) }
    }
}

/// Where the outages of a cluster are kept.
pub fn outages_file(folder: &Path, cluster: &str) -> PathBuf {
    // Names of clusters have no slash.
    folder.join(format!("{cluster}.outages"))
}

/// Judges one cluster.
pub struct Watcher {
    settings: CapacitySettings,
    status: StatusBoard,
    fs: Arc<dyn Fs>,
    file: PathBuf,
    board: Board,
}

/// What a thread that judges gives: nothing where it was stopped.
type Answer = Result<Option<Judged>, String>;

/// Lets the thread end when its answer is not wanted any more.
struct Judging {
    /// Of which objects.
    print: u64,
    /// When the cluster was so.
    begun: MonotonicTime,
    answer: oneshot::Receiver<Answer>,
    stop: Arc<AtomicBool>,
}

impl Drop for Judging {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Watcher {
    /// Outages are kept in `file`.
    pub fn new(
        settings: CapacitySettings,
        status: StatusBoard,
        fs: Arc<dyn Fs>,
        file: PathBuf,
        board: &Board,
    ) -> Self {
        Self { settings, status, fs, file, board: board.clone() }
    }

    /// Never ends by itself.
    pub async fn run(self, connected: Connected) {
        let Connected { name, hub, api } = connected;
        let Self { settings, status, fs, file, board } = self;
        let (mut outages, mut problem) = Outages::open(fs, file);
        if let Some(problem) = &problem {
            tracing::warn!(cluster = &*name, problem, "outages of nodes");
        }
        let first = Shown::new(settings.survive, board.clock().monotonic(), &outages);
        board.0.clusters.write().insert(name.clone(), first);
        let watches = Watches::open(&hub, &api);
        let mut receivers = watches.receivers();
        let mut judging: Option<Judging> = None;
        let mut failure: Option<(u64, String)> = None;
        let mut due = Instant::now();
        loop {
            for receiver in &mut receivers {
                receiver.mark_unchanged();
            }
            let state = watches.state();
            let print = watches.print();
            if state.is_ready {
                let (machines, pods) =
                    (objects(&watches.machines.objects()), objects(&watches.pods.objects()));
                let now_ms = board.clock().unix_ms();
                let labels = &settings.pool_labels;
                outages.observe(now_ms, &machines, labels, &pods);
                match outages.keep().await {
                    Ok(false) => {}
                    Ok(true) => problem = None,
                    Err(error) => problem = Some(format!("outages of nodes cannot be written: {error}")),
                }
                let judged = board.0.clusters.read().get(&name).and_then(|shown| shown.judged.clone());
                let survey = judged.as_ref().map(|judged| &judged.survey);
                let figures = outages.figures(now_ms, &machines, labels, survey);
                board.change(&name, |shown| {
                    shown.figures = figures;
                    if shown.ledger.as_ref() != outages.ledger() {
                        shown.ledger = Arc::new(outages.ledger().clone());
                    }
                    shown.nodes = machines.len();
                });
                let is_news = judged.as_ref().is_none_or(|judged| judged.print != print)
                    && failure.as_ref().is_none_or(|(of, _)| *of != print);
                if is_news && judging.is_none() && Instant::now() >= due {
                    let at_unix_ms = board.clock().unix_ms();
                    judging = Some(judge(watches.snapshot(), &settings, &board, print, at_unix_ms));
                }
            }
            let failed = failure.as_ref().map(|(_, text)| text.clone());
            board.change(&name, |shown| {
                shown.agrees = state.trouble.is_empty()
                    && shown.judged.as_ref().is_some_and(|judged| judged.print == print);
                if shown.agrees {
                    shown.agreed = board.clock().monotonic();
                }
                shown.incomplete.clone_from(&state.incomplete);
                shown.trouble.clone_from(&state.trouble);
                shown.trouble.extend(failed.into_iter().chain(problem.clone()));
            });
            post(&status, &board, &name);
            let waits = async {
                tokio::select! {
                    () = any_change(&mut receivers) => {}
                    () = sleep(LOOK_EVERY) => {}
                    // A change that came too early is judged when the rest is over.
                    () = sleep_until(due), if due > Instant::now() => {}
                }
                sleep(PAUSE).await;
            };
            match &mut judging {
                None => waits.await,
                Some(running) => tokio::select! {
                    () = waits => {}
                    answer = &mut running.answer => {
                        let (print, begun) = (running.print, running.begun);
                        judging = None;
                        let answer = answer.unwrap_or_else(|_| Err("BUG: judging the capacity panicked".into()));
                        let took = match answer {
                            Ok(Some(judged)) => {
                                failure = None;
                                let took = judged.took;
                                board.change(&name, |shown| {
                                    shown.judged = Some(Arc::new(judged));
                                    shown.judgements += 1;
                                    shown.agreed = begun;
                                });
                                took
                            }
                            // Nobody but the end of the program stops it.
                            Ok(None) => continue,
                            Err(text) => {
                                tracing::warn!(cluster = &*name, error = text, "capacity cannot be judged");
                                failure = Some((print, text));
                                Duration::ZERO
                            }
                        };
                        due = Instant::now() + settings.interval.max(took.saturating_mul(REST_FACTOR));
                    }
                },
            }
        }
    }
}

impl Shown {
    fn new(wanted: usize, now: MonotonicTime, outages: &Outages) -> Self {
        Self {
            wanted,
            trouble: Vec::new(),
            incomplete: Vec::new(),
            agrees: false,
            agreed: now,
            judged: None,
            judgements: 0,
            figures: Figures::default(),
            ledger: Arc::new(outages.ledger().clone()),
            nodes: 0,
        }
    }
}

/// Begins to judge, on a thread of its own.
fn judge(
    snapshot: Snapshot,
    settings: &CapacitySettings,
    board: &Board,
    print: u64,
    at_unix_ms: i64,
) -> Judging {
    let (sender, answer) = oneshot::channel();
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, settings, clock) = (stop.clone(), settings.clone(), board.0.clock.clone());
    let begun = clock.monotonic();
    let work = move || {
        let judged = verdict(&snapshot, &settings, &stopped).map(|verdict| {
            let (survey, advice) = verdict?;
            Some(Judged { survey, advice, at_unix_ms, took: clock.monotonic().since(begun), print })
        });
        // Whoever asked may be gone.
        let _ = sender.send(judged);
    };
    // Where there is no thread the sender is gone, too, which is told as what it is: nothing was judged.
    let _ = std::thread::Builder::new().name("capacity".into()).spawn(work);
    Judging { print, begun, answer, stop }
}

fn verdict(
    snapshot: &Snapshot,
    settings: &CapacitySettings,
    stop: &AtomicBool,
) -> Result<Option<(Survey, Option<Advice>)>, String> {
    let options = Options {
        mode: settings.failed,
        zone_keys: settings.zone_labels.clone(),
        bare_pods_return: settings.bare_pods_return,
        ..Options::default()
    };
    let default = Budget::default();
    let budget = Budget {
        max_failures: settings.max_failures,
        attempts: default.attempts.saturating_mul(settings.effort),
        samples: default.samples.saturating_mul(usize::try_from(settings.effort).unwrap_or(usize::MAX)),
        exact_steps: default.exact_steps.saturating_mul(settings.effort),
    };
    let cluster = Cluster::new(snapshot, &options).map_err(|error| super::told(&error))?;
    let Some(survey) = survey_until(&cluster, &budget, stop) else { return Ok(None) };
    drop(cluster);
    let advice =
        advise_until(snapshot, &options, &survey, &budget, stop).map_err(|error| super::told(&error))?;
    Ok((!stop.load(Ordering::Relaxed)).then_some((survey, advice)))
}

/// All watches of a cluster.
struct Watches {
    machines: Arc<SharedWatch<Kept<Machine>>>,
    pods: Arc<SharedWatch<Kept<Pod>>>,
    all: Vec<Arc<dyn Watched>>,
}

/// How the watches are.
struct State {
    is_ready: bool,
    trouble: Vec<String>,
    incomplete: Vec<(String, String)>,
}

impl Watches {
    fn open(hub: &Hub, api: &Arc<Api>) -> Self {
        let mut all: Vec<Arc<dyn Watched>> = Vec::new();
        macro_rules! open_all {
            ($($kind:ty),*) => {{ $( all.push(hub.watch::<Kept<$kind>>(api, What::default())); )* }};
        }
        for_each_kind!(open_all);
        Self { machines: hub.watch(api, What::default()), pods: hub.watch(api, What::default()), all }
    }

    fn receivers(&self) -> Vec<watch::Receiver<u64>> {
        self.all.iter().map(|watched| watched.receiver()).collect()
    }

    fn state(&self) -> State {
        let mut state = State { is_ready: true, trouble: Vec::new(), incomplete: Vec::new() };
        for watched in &self.all {
            let now = watched.state();
            let Some(trouble) = &now.trouble else {
                state.is_ready &= now.is_whole;
                continue;
            };
            let told = trouble.told(watched.health().resource(), now.is_whole);
            // A cluster that does not have the resource tells so, as one does that forbids it.
            let is_missing = trouble.missing.is_some() || trouble.is_not_found;
            if is_missing && !now.is_whole && !watched.is_needed() {
                state.incomplete.push((watched.health().resource().name(), told));
            } else {
                state.is_ready &= now.is_whole;
                state.trouble.push(told);
            }
        }
        state
    }

    fn print(&self) -> u64 {
        self.all.iter().fold(0, |print, watched| print.rotate_left(5).wrapping_add(watched.print()))
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for watched in &self.all {
            watched.add(&mut snapshot);
        }
        snapshot
    }
}

/// A watch of any kind.
trait Watched: Send + Sync {
    fn receiver(&self) -> watch::Receiver<u64>;
    fn health(&self) -> &vedette_k8s::Health;
    fn is_needed(&self) -> bool;
    fn print(&self) -> u64;
    fn add(&self, snapshot: &mut Snapshot);

    fn state(&self) -> WatchState {
        self.health().state()
    }
}

impl<K: Kind> Watched for SharedWatch<Kept<K>> {
    fn receiver(&self) -> watch::Receiver<u64> {
        self.changes()
    }

    fn health(&self) -> &vedette_k8s::Health {
        SharedWatch::health(self)
    }

    fn is_needed(&self) -> bool {
        K::IS_NEEDED
    }

    fn print(&self) -> u64 {
        // The order of objects is that of their names, and these are part of each print.
        self.objects().iter().fold(0, |print: u64, (_, kept, _)| print.wrapping_mul(PRIME) ^ kept.print)
    }

    fn add(&self, snapshot: &mut Snapshot) {
        for (_, kept, _) in self.objects().iter() {
            kept.object.clone().add(snapshot);
        }
    }
}

const PRIME: u64 = 0x0000_0100_0000_01b3;

fn post(status: &StatusBoard, board: &Board, name: &Arc<str>) {
    let Some(shown) = board.0.clusters.read().get(name).cloned() else { return };
    let part = if !shown.trouble.is_empty() {
        let remedy =
            "What was judged before is kept, with its age. Mend what is named; it goes on by itself.";
        Part::new(Health::Degraded, shown.trouble.join("; "), remedy)
    } else if !shown.incomplete.is_empty() {
        let why: Vec<&str> = shown.incomplete.iter().map(|(_, why)| &**why).collect();
        let remedy = "What these objects say is not judged. Grant the right to list and watch them.";
        Part::new(Health::Degraded, why.join("; "), remedy)
    } else {
        Part::ok()
    };
    let mut part = part.fact("nodes", shown.nodes).fact("judgements", shown.judgements);
    if let Some(judged) = &shown.judged {
        part = part
            .fact("may fail", format!("any {}", judged.survey.survives))
            .fact("judged in", format!("{:.3} s", judged.took.as_secs_f64()))
            .fact("pods", judged.survey.pods);
    }
    status.post(&format!("capacity {name}"), part.fact("outages", shown.ledger.outages().len()));
}
