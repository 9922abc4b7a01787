//! Containers and their series, named as cAdvisor names them, with the six labels of the kubelet:
//! id, name, image, pod, namespace, container.

mod discovery;
mod files;
mod hierarchy;
mod network;
mod registry;
mod restarts;
mod slots;
mod tree;
mod turns;

use std::{collections::BTreeMap, sync::Arc};

use vedette_model::{
    Container, Samples,
    status::{Health, Part},
    telemetry::MetricSource,
};
use vedette_sys::{Clock, MonotonicTime};

use self::{
    discovery::{Discovery, Shared},
    files::{BaseLabels, Files},
    hierarchy::Hierarchy,
    network::Networks,
    registry::{Change, Known},
    restarts::Restarts,
    slots::Slot,
    tree::Tree,
    turns::Turns,
};
pub use registry::ContainerIndex;

use crate::{
    Config, Error, Report,
    file::{Buffer, FileBudget, read_once},
    metrics::ReaderMetrics,
    parse,
    runtime::SocketState,
    series::{Family, LazySeries, Pass, SeriesTable},
};

const OOM_EVENTS: Family<'_> =
    Family::counter("container_oom_events_total", "Count of out of memory events observed for the container");
const INFO: Family<'_> = Family::gauge(
    "container_info",
    "Which container this is, and which runtime answers for it; the value is always 1.",
);
const MACHINE_CORES: Family<'_> = Family::gauge("machine_cpu_cores", "Number of logical CPU cores.");
const MACHINE_MEMORY: Family<'_> =
    Family::gauge("machine_memory_bytes", "Amount of memory installed on the machine.");

/// Processes of a container that are looked at to find its first.
const PROCESSES_LOOKED_AT: usize = 16;
/// Ended containers whose OOM kills are still shown.
const TOMBSTONES_MAX: usize = 1000;
/// How long after its end a container's OOM kill may still be told.
const LAST_WORDS_MS: u64 = 10_000;

/// What happened to containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerChange {
    /// It is there, or was there when the reader started.
    Started(Arc<Container>),
    /// It is gone.
    Stopped(Arc<Container>),
    /// The kernel killed processes of it for want of memory.
    OomKill {
        /// Whose.
        container: Arc<Container>,
        /// How many since the last such change.
        count: u64,
    },
}

/// Finds the containers of this machine and reads their series.
pub struct ContainerReader {
    hierarchy: Hierarchy,
    shared: Arc<Shared>,
    reader: Reader,
    series: SeriesTable,
    index: ContainerIndex,
    /// Last, so that it still has what it uses while it ends.
    _discovery: Option<Discovery>,
}

/// The part that a pass works with, apart from the table of series.
struct Reader {
    config: Config,
    clock: Arc<dyn Clock>,
    budget: FileBudget,
    buffer: Buffer,
    boot_time_seconds: f64,
    changes: Vec<Change>,
    /// Seen, but not yet told, as a runtime may still tell the name.
    waiting: Vec<Waiting>,
    live: BTreeMap<u64, Live>,
    tombstones: Vec<Tombstone>,
    /// Cgroups of the containers that ended in this pass.
    ended: Vec<String>,
    networks: Networks,
    restarts: Restarts,
    machine: [LazySeries; 2],
    machine_figures: Option<[f64; 2]>,
    turns: Turns,
    first_pass_done: bool,
    metrics: Arc<ReaderMetrics>,
}

struct Waiting {
    known: Known,
    since: MonotonicTime,
    oom: Oom,
    stopped: bool,
}

/// A container that is read.
struct Live {
    known: Known,
    base: BaseLabels,
    files: Files,
    info: LazySeries,
    oom: Oom,
    gone: bool,
    /// Its first process and when it began.
    pid: Option<u32>,
    start_time: Option<f64>,
    /// The network namespace of that process.
    namespace: Option<u64>,
    /// There is something new among its slow facts, which are therefore told out of turn.
    fresh: bool,
    /// Passes for which facts of its processes are looked up again, as a runtime first puts a
    /// process of its own into the cgroup and only then sets it up.
    young: u8,
}

/// Counts OOM kills over all that tells of them.
#[derive(Default)]
struct Oom {
    series: LazySeries,
    /// Of an earlier life under the same name, whose series goes on.
    before: u64,
    /// What the file said.
    file: u64,
    /// What the runtime told.
    told: u64,
    /// What has been passed on as changes.
    passed_on: u64,
    /// The container was there before the reader: what its file says at first is old.
    old: bool,
    /// The series of a container that is not old begins at zero, so that a kill in its first
    /// second is an increase.
    begun: bool,
}

/// The count of OOM kills of a container that ended.
struct Tombstone {
    known: Known,
    base: BaseLabels,
    oom: Oom,
    ended: MonotonicTime,
}

impl ContainerReader {
    /// Looks for containers once, then starts the thread that goes on looking.
    pub fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let (mut reader, tree) = Self::prepare(config, clock)?;
        reader._discovery = Some(Discovery::start(config, &reader.hierarchy, tree, reader.shared.clone())?);
        Ok(reader)
    }

    fn prepare(config: &Config, clock: Arc<dyn Clock>) -> Result<(Self, Tree), Error> {
        config.validate()?;
        let hierarchy = Hierarchy::detect(&config.cgroup_root);
        if hierarchy.trees().is_empty() {
            return Err(Error::Unavailable {
                what: format!("there is no cgroup tree at {}", config.cgroup_root.display()),
                remedy: "mount it there, or name the place where it is mounted",
            });
        }
        let mut tree = Tree::new(&hierarchy);
        let shared = Arc::new(Shared::default());
        let mut changes = Vec::new();
        tree.reconcile(&mut changes);
        let index = {
            let mut registry = shared.registry.lock();
            registry.tree_changes(changes);
            registry.index()
        };
        let reader = Self {
            shared,
            reader: Reader::new(config, clock),
            series: SeriesTable::new(config.series_numbers.clone()),
            index,
            hierarchy,
            _discovery: None,
        };
        Ok((reader, tree))
    }

    /// Finds the container of a cgroup; may be asked from any thread.
    pub fn index(&self) -> ContainerIndex {
        self.index.clone()
    }

    /// Reads what is watched by the second (processor, memory, threads, OOM kills, network) of all
    /// containers, and all else of those whose turn it is, which comes once in the configured
    /// interval for reconciling, and of those of which something is new.
    ///
    /// The former go into the first row of `samples` that has this time, the latter into a row of
    /// their own, so that the former always has the same series in the same order. Empty rows
    /// are used before new ones are made: a caller that clears the rows of the last pass and
    /// hands them in again spares their memory. What happened since the last pass is added
    /// to `changes`.
    pub fn collect(&mut self, time_ms: i64, samples: &mut Samples, changes: &mut Vec<ContainerChange>) {
        let begin = self.reader.clock.monotonic();
        let mut pass = self.series.pass(time_ms, samples);
        self.reader.collect(begin, &self.hierarchy, &self.shared, &mut pass, changes);
        let took = self.reader.clock.monotonic().since(begin);
        self.reader.metrics.pass_done(took, self.series.len());
    }

    /// How the reader and each container runtime stand.
    pub fn reports(&self) -> Vec<Report> {
        let unwatched = self.shared.unwatched.lock().clone();
        let state = match unwatched {
            None => Part::ok(),
            Some(reason) => Part::new(
                Health::Degraded,
                format!("new containers are seen late, as inotify refused: {reason}"),
                "raise fs.inotify.max_user_watches and fs.inotify.max_user_instances",
            ),
        };
        let state = state
            .fact("cgroups", self.hierarchy.describe())
            .fact("containers", self.reader.live.len())
            .fact("series", self.series.len());
        let mut reports = vec![Report { part: "collector.container".to_owned(), state }];
        for (socket, state) in self.shared.sockets.lock().iter() {
            let state = match state {
                SocketState::Absent => Part::new(Health::Off, "not on this machine", ""),
                SocketState::Answers(version) => Part::ok().fact("version", version),
                SocketState::Fails(reason) => Part::new(
                    Health::Degraded,
                    format!("it does not answer: {reason}; containers are named by their cgroups"),
                    "see whether the runtime runs, and whether this process may use its socket",
                ),
            };
            reports.push(Report { part: format!("runtime.{}", socket.display()), state });
        }
        reports
    }

    /// The metrics of the reader and of the discovery.
    pub fn metrics(&self) -> Vec<Arc<dyn MetricSource>> {
        vec![self.reader.metrics.clone(), self.shared.metrics.clone()]
    }
}

impl Reader {
    fn new(config: &Config, clock: Arc<dyn Clock>) -> Self {
        let mut buffer = Buffer::new();
        let stat = read_once(&config.proc_root.join("stat"), &mut buffer).unwrap_or_default();
        let boot = parse::fields(stat).find(|(key, _)| *key == b"btime").map_or(0, |(_, n)| n);
        let budget = FileBudget::new(config.kept_files_max);
        Self {
            boot_time_seconds: parse::value(boot),
            networks: Networks::new(&config.proc_root, budget.clone()),
            restarts: Restarts::default(),
            config: config.clone(),
            clock,
            budget,
            buffer,
            changes: Vec::new(),
            waiting: Vec::new(),
            live: BTreeMap::new(),
            tombstones: Vec::new(),
            ended: Vec::new(),
            machine: Default::default(),
            machine_figures: None,
            turns: Turns::new(config.reconcile_interval_ms),
            first_pass_done: false,
            metrics: Arc::new(ReaderMetrics::new("container")),
        }
    }

    fn collect(
        &mut self,
        now: MonotonicTime,
        hierarchy: &Hierarchy,
        shared: &Shared,
        pass: &mut Pass<'_>,
        out: &mut Vec<ContainerChange>,
    ) {
        self.turns.begin(pass.time_ms);
        let has_runtime = {
            let mut registry = shared.registry.lock();
            registry.take_changes(&mut self.changes);
            registry.has_runtime()
        };
        self.ended.clear();
        let mut changed = self.take_changes(now, pass, out);
        self.hear_ooms(shared);
        changed |= self.start_waiting(now, has_runtime, hierarchy, pass, out);
        self.refresh(hierarchy);
        changed |= self.find_processes(hierarchy);
        if changed {
            self.networks.assign(&mut self.live, pass);
        }
        self.read(pass, out);
        self.networks.read(&mut self.live, pass, &mut self.buffer);
        self.put_tombstones(now, pass, out);
        let turn = self.turns.has(0);
        self.restarts.put(now, pass, turn);
        if turn {
            self.put_machine(pass);
        }
        self.first_pass_done = true;
    }

    /// Takes what the discovery found. Tells whether the containers or their names changed.
    fn take_changes(
        &mut self,
        now: MonotonicTime,
        pass: &mut Pass<'_>,
        out: &mut Vec<ContainerChange>,
    ) -> bool {
        let mut changed = false;
        let mut changes = std::mem::take(&mut self.changes);
        for change in changes.drain(..) {
            match change {
                Change::Started(known) => {
                    let oom = Oom { old: !self.first_pass_done, ..Oom::default() };
                    self.waiting.push(Waiting { known, since: now, oom, stopped: false });
                }
                Change::Identified(known) => {
                    if let Some(waiting) =
                        self.waiting.iter_mut().find(|w| w.known.generation == known.generation)
                    {
                        waiting.known = known;
                    } else if let Some(live) = self.live.get_mut(&known.generation) {
                        live.identify(known, pass);
                        changed = true;
                        self.restarts.identified(&live.known);
                    }
                }
                Change::Stopped(generation) => {
                    if let Some(w) = self.waiting.iter_mut().find(|w| w.known.generation == generation) {
                        w.stopped = true;
                    } else if let Some(live) = self.live.get_mut(&generation) {
                        live.gone = true;
                    }
                }
            }
        }
        self.changes = changes;
        // What a pass found gone, or was told to be gone, ends at the beginning of the next, when
        // all that told of its last moments has been heard.
        let gone: Vec<u64> = self.live.iter().filter(|(_, l)| l.gone).map(|(g, _)| *g).collect();
        for generation in gone {
            if let Some(live) = self.live.remove(&generation) {
                changed = true;
                self.end(live, now, pass, out);
            }
        }
        changed
    }

    /// Begins to read the containers whose names are known, or have been waited for long enough.
    fn start_waiting(
        &mut self,
        now: MonotonicTime,
        has_runtime: bool,
        hierarchy: &Hierarchy,
        pass: &mut Pass<'_>,
        out: &mut Vec<ContainerChange>,
    ) -> bool {
        let wait = u128::from(self.config.runtime_wait_ms);
        let mut started = false;
        for waiting in std::mem::take(&mut self.waiting) {
            let path = &waiting.known.container.cgroup;
            // Where the series of its last life end in this pass, those of the new one must not have
            // a sample at the same time.
            let held =
                self.ended.contains(path) || self.live.values().any(|l| l.known.container.cgroup == *path);
            let nameless = !waiting.known.facts.identified && !waiting.stopped;
            // At the start, no runtime can have answered yet.
            let may_come = has_runtime || (!self.first_pass_done && !self.config.runtime_sockets.is_empty());
            if held || (nameless && may_come && now.since(waiting.since).as_millis() < wait) {
                self.waiting.push(waiting);
                continue;
            }
            started = true;
            out.push(ContainerChange::Started(waiting.known.container.clone()));
            let mut live = self.make_live(waiting.known, waiting.oom, hierarchy);
            self.restarts.started(&live.known);
            if waiting.stopped {
                live.gone = true;
                self.end(live, now, pass, out);
            } else {
                self.live.insert(live.known.generation, live);
            }
        }
        started
    }

    fn make_live(&mut self, known: Known, mut oom: Oom, hierarchy: &Hierarchy) -> Live {
        let base = BaseLabels::of(&known);
        if let Some(i) = self.tombstones.iter().position(|t| t.base == base) {
            let old = self.tombstones.swap_remove(i).oom;
            oom.before = old.total();
            oom.passed_on = old.passed_on;
            oom.begun = old.begun;
            oom.series = old.series;
        }
        let mut files = Files::new(hierarchy, &known.container.cgroup, &self.budget);
        files.refresh(hierarchy, &known.container.cgroup, &mut self.buffer);
        Live {
            pid: known.facts.pid,
            known,
            base,
            files,
            info: LazySeries::default(),
            oom,
            gone: false,
            start_time: None,
            namespace: None,
            fresh: true,
            young: 5,
        }
    }

    fn end(
        &mut self,
        mut live: Live,
        now: MonotonicTime,
        pass: &mut Pass<'_>,
        out: &mut Vec<ContainerChange>,
    ) {
        live.files.retire(pass);
        live.info.retire(pass);
        self.networks.end(live.known.generation, pass);
        self.restarts.stopped(&live.known, now);
        live.oom.tell(&live.known.container, out);
        out.push(ContainerChange::Stopped(live.known.container.clone()));
        self.ended.push(live.known.container.cgroup.clone());
        if self.tombstones.len() >= TOMBSTONES_MAX {
            self.tombstones.remove(0).oom.series.retire(pass);
        }
        self.tombstones.push(Tombstone { known: live.known, base: live.base, oom: live.oom, ended: now });
    }

    /// Takes the OOM kills that were told the moment they happened.
    fn hear_ooms(&mut self, shared: &Shared) {
        let mut told = shared.ooms.lock();
        if told.by_cgroup.is_empty() && told.by_container.is_empty() {
            return;
        }
        let live = self.live.values_mut().map(|l| (&l.known, &mut l.oom));
        let waiting = self.waiting.iter_mut().map(|w| (&w.known, &mut w.oom));
        let dead = self.tombstones.iter_mut().map(|t| (&t.known, &mut t.oom));
        // The dead come last: what is told under a name is told of the living one.
        for (known, oom) in live.chain(waiting).chain(dead) {
            if let Some(count) = told.by_cgroup.remove(&known.container.cgroup) {
                oom.file = oom.file.max(count);
            }
            if let Some(count) = told.by_container.remove(&known.container.id) {
                oom.told += count;
            }
        }
        // Of none that we know.
        told.by_cgroup.clear();
        told.by_container.clear();
    }

    fn refresh(&mut self, hierarchy: &Hierarchy) {
        for (_, live) in self.live.iter_mut().filter(|(number, _)| self.turns.has(**number)) {
            live.files.refresh(hierarchy, &live.known.container.cgroup, &mut self.buffer);
        }
        if !self.turns.has(0) {
            return;
        }
        let processors = std::thread::available_parallelism().map_or(0, |n| n.get() as u64);
        let text = read_once(&self.config.proc_root.join("meminfo"), &mut self.buffer).unwrap_or_default();
        let memory = parse::lines(text)
            .find_map(|line| line.strip_prefix(b"MemTotal:"))
            .and_then(|rest| parse::words(rest).next().and_then(parse::unsigned));
        self.machine_figures = memory.map(|kb| [parse::value(processors), parse::value(kb) * 1024.0]);
    }

    /// Finds the first process of containers that are young or have their turn. Tells whether
    /// one has another process or network than before.
    fn find_processes(&mut self, hierarchy: &Hierarchy) -> bool {
        let mut changed = false;
        let turns = &self.turns;
        for (_, live) in self.live.iter_mut().filter(|(number, l)| l.young > 0 || turns.has(**number)) {
            live.young = live.young.saturating_sub(1);
            let before = (live.pid, live.namespace, live.start_time);
            let told = live.known.facts.pid;
            let found =
                first_process(&self.config, hierarchy, &live.known.container.cgroup, told, &mut self.buffer);
            if let Some((pid, ticks)) = found {
                live.pid = Some(pid);
                live.start_time = Some(self.boot_time_seconds + parse::ticks(ticks));
            }
            live.namespace = live.pid.and_then(|pid| network::namespace(&self.config.proc_root, pid));
            if before != (live.pid, live.namespace, live.start_time) {
                live.fresh = true;
                changed = true;
            }
        }
        changed
    }

    fn read(&mut self, pass: &mut Pass<'_>, out: &mut Vec<ContainerChange>) {
        let seen = parse::value(u64::try_from(pass.time_ms.div_euclid(1000)).unwrap_or(0));
        for (number, live) in &mut self.live {
            let turn = std::mem::take(&mut live.fresh) || self.turns.has(*number);
            let reading = live.files.read(pass, &live.base, &mut self.buffer, turn);
            live.gone |= reading.gone;
            if let Some(count) = reading.oom_kills {
                live.oom.file = live.oom.file.max(count);
            }
            if std::mem::take(&mut live.oom.old) {
                live.oom.passed_on = live.oom.total();
                live.oom.begun = true;
            }
            live.oom.tell(&live.known.container, out);
            live.oom.put(pass, &live.base);
            if live.gone || !turn {
                continue;
            }
            live.files.put(pass, &live.base, Slot::LastSeen, seen);
            if let Some(start) = live.start_time {
                live.files.put(pass, &live.base, Slot::StartTime, start);
            }
            let (base, runtime) = (&live.base, live.known.container.runtime.as_str());
            live.info.put_slow_with(pass, 1.0, |pass| base.define(pass, INFO, &[("runtime", runtime)]));
        }
    }

    fn put_tombstones(&mut self, now: MonotonicTime, pass: &mut Pass<'_>, out: &mut Vec<ContainerChange>) {
        let tombstone_ms = self.config.tombstone_ms;
        self.tombstones.retain_mut(|tombstone| {
            tombstone.oom.tell(&tombstone.known.container, out);
            // One that counts nothing stays only for what may still be told of its end.
            let kept_ms =
                if tombstone.oom.total() > 0 { tombstone_ms } else { tombstone_ms.min(LAST_WORDS_MS) };
            let stays = now.since(tombstone.ended).as_millis() < u128::from(kept_ms);
            if stays {
                tombstone.oom.put(pass, &tombstone.base);
            } else {
                tombstone.oom.series.retire(pass);
            }
            stays
        });
    }

    fn put_machine(&mut self, pass: &mut Pass<'_>) {
        let Some(figures) = self.machine_figures else { return };
        for ((series, family), figure) in
            self.machine.iter_mut().zip([MACHINE_CORES, MACHINE_MEMORY]).zip(figures)
        {
            series.put_slow_with(pass, figure, |pass| pass.define(family, &[]));
        }
    }
}

impl Live {
    /// A runtime told its name: the series go on under the new labels.
    fn identify(&mut self, known: Known, pass: &mut Pass<'_>) {
        let base = BaseLabels::of(&known);
        let runtime_changed = known.container.runtime != self.known.container.runtime;
        if base != self.base {
            self.files.retire(pass);
            self.oom.series.retire(pass);
            self.base = base;
        }
        if runtime_changed || !self.info.is_defined() || known.container != self.known.container {
            self.info.retire(pass);
        }
        self.pid = known.facts.pid.or(self.pid);
        self.young = self.young.max(1);
        self.fresh = true;
        self.known = known;
    }
}

impl BaseLabels {
    fn of(known: &Known) -> Self {
        let container = &known.container;
        Self {
            id: container.cgroup.clone(),
            name: known.facts.runtime_name.clone(),
            image: container.image.clone(),
            pod: container.pod.clone(),
            namespace: container.namespace.clone(),
            container: known.facts.pod_container.clone(),
        }
    }
}

impl Oom {
    /// The file and the runtime count the same kills; neither sees all of them.
    fn total(&self) -> u64 {
        self.before + self.file.max(self.told)
    }

    fn tell(&mut self, container: &Arc<Container>, out: &mut Vec<ContainerChange>) {
        let total = self.total();
        let news = total.saturating_sub(self.passed_on);
        if news > 0 {
            out.push(ContainerChange::OomKill { container: container.clone(), count: news });
        }
        self.passed_on = self.passed_on.max(total);
    }

    fn put(&mut self, pass: &mut Pass<'_>, base: &BaseLabels) {
        let count = if std::mem::replace(&mut self.begun, true) { self.total() } else { self.before };
        self.series.put_with(pass, parse::value(count), |pass| base.define(pass, OOM_EVENTS, &[]));
    }
}

/// The first process of a cgroup and its start in clock ticks since boot: the one that the
/// runtime told, else the oldest of the first few that are listed.
fn first_process(
    config: &Config,
    hierarchy: &Hierarchy,
    cgroup: &str,
    told: Option<u32>,
    buffer: &mut Buffer,
) -> Option<(u32, u64)> {
    let start = |pid: u32, buffer: &mut Buffer| {
        let path = config.proc_root.join(pid.to_string()).join("stat");
        parse::process_start_ticks(read_once(&path, buffer).ok()?)
    };
    if let Some(pid) = told
        && let Some(ticks) = start(pid, buffer)
    {
        return Some((pid, ticks));
    }
    let listed = hierarchy.trees().into_iter().find_map(|tree| {
        let path = hierarchy::below(tree, cgroup).join("cgroup.procs");
        let text = read_once(&path, buffer).ok()?;
        let pids = parse::lines(text).filter_map(parse::unsigned).filter_map(|n| u32::try_from(n).ok());
        let mut first = [0; PROCESSES_LOOKED_AT];
        let count = first.iter_mut().zip(pids).map(|(slot, pid)| *slot = pid).count();
        (count > 0).then_some((first, count))
    });
    let (pids, count) = listed?;
    pids[..count].iter().filter_map(|pid| Some((*pid, start(*pid, buffer)?))).min_by_key(|(_, ticks)| *ticks)
}

#[cfg(test)]
mod tests;
