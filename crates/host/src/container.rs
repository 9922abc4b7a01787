//! Containers and their series, named as cAdvisor names them, with the six labels of the kubelet:
//! id, name, image, pod, namespace, container.

mod descriptors;
mod devices;
mod discovery;
mod files;
mod first_process;
mod groups;
mod hierarchy;
mod last;
mod load;
mod look;
pub(crate) mod machine;
mod network;
mod oom;
mod registry;
mod restarts;
mod root;
mod slots;
mod storage;
mod tree;
mod turns;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use vedette_model::{
    Container, Samples, Workload,
    status::{Health, Part},
    telemetry::MetricSource,
};
use vedette_sys::{Clock, MonotonicTime, SystemClock};

use self::{
    descriptors::Descriptors,
    discovery::{Discovery, Shared},
    files::{BaseLabels, Files},
    first_process::{environment, first_process},
    groups::{GROUPS_MAX, Groups},
    hierarchy::Hierarchy,
    last::LastFigures,
    load::{Load, Tasks},
    machine::Machine,
    network::Networks,
    oom::Oom,
    registry::{Change, Known},
    restarts::Restarts,
    root::Root,
    slots::Slot,
    storage::{Storage, Wanted},
    tree::Tree,
    turns::Turns,
};
pub use registry::ContainerIndex;
pub(crate) use registry::hex_id;
pub(crate) use storage::Layer;

use crate::{
    Config, Error, Report,
    file::{Buffer, FileBudget, read_once},
    metrics::ReaderMetrics,
    parse,
    runtime::SocketState,
    series::{Family, LazySeries, Pass, SeriesTable},
};

const INFO: Family<'_> = Family::gauge(
    "container_info",
    "Which container this is, and which runtime answers for it; the value is always 1.",
);
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
    groups: Groups,
    tombstones: Vec<Tombstone>,
    /// Cgroups of the containers that ended in this pass.
    ended: Vec<String>,
    networks: Networks,
    restarts: Restarts,
    machine: Machine,
    root: Root,
    tasks: Tasks,
    storage: Storage,
    turns: Turns,
    first_pass_done: bool,
    metrics: Arc<ReaderMetrics>,
}

struct Waiting {
    known: Known,
    since: MonotonicTime,
    oom: Oom,
    last: Option<LastFigures>,
    stopped: bool,
}

/// A container that is read.
struct Live {
    known: Known,
    base: BaseLabels,
    files: Files,
    info: LazySeries,
    load: Load,
    descriptors: Descriptors,
    oom: Oom,
    gone: bool,
    /// What it had used at its end, until a pass has told it.
    last: Option<LastFigures>,
    /// Variables of its environment that the configuration lets through.
    variables: Vec<(String, String)>,
    /// These have changed since `container_info` was told.
    relabelled: bool,
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
        if config.container_storage {
            reader.reader.storage = Storage::start(config)?;
        }
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
            registry.ask(config.directory.clone());
            registry.tree_changes(changes);
            registry.index()
        };
        let reader = Self {
            shared,
            reader: Reader::new(config, &hierarchy, clock),
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
        let state = match (unwatched, self.reader.groups.left_out()) {
            (None, 0) => Part::ok(),
            (Some(reason), _) => Part::new(
                Health::Degraded,
                format!("new containers are seen late, as inotify refused: {reason}"),
                "raise fs.inotify.max_user_watches and fs.inotify.max_user_instances",
            ),
            (None, left_out) => Part::new(
                Health::Degraded,
                format!(
                    "{left_out} control groups around containers have no rows of their own, as there are more than {GROUPS_MAX}"
                ),
                "let containers lie in fewer control groups; what is in them is told of the containers themselves",
            ),
        };
        let state = state
            .fact("cgroups", self.hierarchy.describe())
            .fact("containers", self.reader.live.len())
            .fact("groups left out", self.reader.groups.left_out())
            .fact("series", self.series.len());
        let mut reports = vec![Report { part: "collector.container".to_owned(), state }];
        if let Some(failure) = self.reader.storage.failure() {
            let state = Part::new(
                Health::Degraded,
                failure,
                "see whether the disk answers, and whether this process may read the folders of the container runtime",
            );
            reports.push(Report { part: "collector.container-files".to_owned(), state });
        }
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
        vec![self.reader.metrics.clone(), self.shared.metrics.clone(), self.reader.groups.metrics()]
    }
}

impl Reader {
    fn new(config: &Config, hierarchy: &Hierarchy, clock: Arc<dyn Clock>) -> Self {
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
            buffer,
            changes: Vec::new(),
            waiting: Vec::new(),
            live: BTreeMap::new(),
            groups: Groups::default(),
            tombstones: Vec::new(),
            ended: Vec::new(),
            machine: Machine::new(config),
            root: Root::new(config, hierarchy, &budget),
            tasks: Tasks::new(&config.proc_root),
            storage: Storage::idle(),
            budget,
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
        let mut changed = self.take_changes(now, shared, pass, out);
        self.hear_ooms(shared);
        if let Some(layers) = shared.layers.lock().take() {
            self.storage.told(layers);
        }
        self.storage.look_after(SystemClock.monotonic());
        changed |= self.start_waiting(now, has_runtime, hierarchy, pass, out);
        self.refresh(hierarchy);
        changed |= self.find_processes(hierarchy);
        if changed {
            self.networks.assign(&mut self.live, pass);
            let containers = self.live.values().filter(|live| !live.gone);
            let containers = containers.map(|live| &*live.known.container);
            self.groups.assign(containers, hierarchy, &self.budget, pass);
            self.want_layers();
        }
        let turn = self.turns.has(0);
        self.tasks.begin(turn, &mut self.buffer);
        self.read(now, hierarchy, pass, out);
        self.groups.read(&self.turns, hierarchy, pass, &mut self.buffer);
        self.root.read(pass, &mut self.buffer, turn);
        self.networks.read(&mut self.live, pass, &mut self.buffer);
        self.put_tombstones(now, pass, out);
        self.restarts.put(now, pass, turn);
        if turn {
            self.storage.put_disks(&self.root.base, pass);
            self.machine.put(pass, false, &mut self.buffer);
        }
        self.first_pass_done = true;
    }

    /// Takes what the discovery found. Tells whether the containers or their names changed.
    fn take_changes(
        &mut self,
        now: MonotonicTime,
        shared: &Shared,
        pass: &mut Pass<'_>,
        out: &mut Vec<ContainerChange>,
    ) -> bool {
        let mut changed = false;
        let mut changes = std::mem::take(&mut self.changes);
        for change in changes.drain(..) {
            match change {
                Change::Started(known) => {
                    let oom = Oom { old: !self.first_pass_done, ..Oom::default() };
                    self.waiting.push(Waiting { known, since: now, oom, last: None, stopped: false });
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
        self.hear_last(shared);
        // What a pass found gone, or was told to be gone, ends at the beginning of the next, when
        // all that told of its last moments has been heard.
        // One whose last figures are known stays for the pass that tells them.
        let over = |live: &Live| live.gone && live.last.is_none();
        let gone: Vec<u64> = self.live.iter().filter(|(_, l)| over(l)).map(|(g, _)| *g).collect();
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
        if self.waiting.is_empty() {
            return false;
        }
        // Where the series of its last life end in this pass, those of the new one must not have a
        // sample at the same time.
        let mut taken: HashSet<String> = self.ended.iter().cloned().collect();
        taken.extend(self.live.values().map(|live| live.known.container.cgroup.clone()));
        for waiting in std::mem::take(&mut self.waiting) {
            let held = taken.contains(&waiting.known.container.cgroup);
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
            taken.insert(live.known.container.cgroup.clone());
            (live.last, live.gone) = (waiting.last, waiting.stopped);
            if live.gone && live.last.is_none() {
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
            load: Load::default(),
            descriptors: Descriptors::default(),
            oom,
            gone: false,
            last: None,
            variables: Vec::new(),
            relabelled: false,
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
        live.load.retire(pass);
        live.descriptors.retire(pass);
        self.networks.end(live.known.generation, pass);
        self.storage.end(live.known.generation, pass);
        self.restarts.stopped(&live.known, now);
        live.oom.tell(&live.known.container, out);
        out.push(ContainerChange::Stopped(live.known.container.clone()));
        self.ended.push(live.known.container.cgroup.clone());
        if self.tombstones.len() >= TOMBSTONES_MAX {
            // Those that count nothing make room for those that do.
            let first = self.tombstones.iter().position(|t| t.oom.total() == 0).unwrap_or(0);
            self.tombstones.remove(first).oom.series.retire(pass);
        }
        self.tombstones.push(Tombstone { known: live.known, base: live.base, oom: live.oom, ended: now });
    }

    /// Takes the last figures of those whose last process has ended. Whose cgroup lives on, as another
    /// process may be put into it, goes on as before.
    fn hear_last(&mut self, shared: &Shared) {
        let mut told = shared.last.lock();
        if told.is_empty() {
            return;
        }
        let live = self.live.values_mut().map(|l| (&l.known, &mut l.last));
        let waiting = self.waiting.iter_mut().map(|w| (&w.known, &mut w.last));
        for (known, last) in live.chain(waiting) {
            if let Some((figures, _)) = told.remove(&known.container.cgroup) {
                *last = Some(figures);
            }
        }
        // The start may be among the changes that are taken next, and no later.
        told.retain(|_, (_, passes)| {
            *passes += 1;
            *passes < 2
        });
    }

    /// Says whose files are to be counted, and takes what runtimes have counted.
    fn want_layers(&mut self) {
        let wanted = self.live.iter().filter(|(_, live)| !live.gone && !live.known.facts.sandbox);
        self.storage.want(wanted.filter_map(|(generation, live)| {
            let container_id = live.known.container.id.clone();
            Some(Wanted { generation: *generation, container_id, pid: live.pid? })
        }));
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
            if before.0 != live.pid || live.young > 0 {
                let variables = live.pid.map(|pid| environment(&self.config, pid, &mut self.buffer));
                live.let_through(variables.unwrap_or_default());
            }
            live.namespace = live.pid.and_then(|pid| network::namespace(&self.config.proc_root, pid));
            if before != (live.pid, live.namespace, live.start_time) {
                live.fresh = true;
                changed = true;
            }
        }
        changed
    }

    fn read(
        &mut self,
        now: MonotonicTime,
        hierarchy: &Hierarchy,
        pass: &mut Pass<'_>,
        out: &mut Vec<ContainerChange>,
    ) {
        let seen = parse::value(u64::try_from(pass.time_ms.div_euclid(1000)).unwrap_or(0));
        let Self { live, turns, config, buffer, tasks, storage, .. } = self;
        for (number, live) in live {
            let turn = std::mem::take(&mut live.fresh) || turns.has(*number);
            let container = live.known.container.clone();
            let place = (hierarchy, container.cgroup.as_str());
            let reading = if live.gone {
                files::Reading::default()
            } else {
                live.files.read(pass, &live.base, buffer, turn)
            };
            live.gone |= reading.gone;
            // The last figures are told where the files tell nothing any more.
            let last = if live.gone { live.last.take() } else { None };
            if let Some(last) = last {
                last.put(&mut live.files, pass, &live.base);
            }
            if let Some(count) = reading.oom_kills.or(last.and_then(|last| last.oom_kills)) {
                live.oom.file = live.oom.file.max(count);
            }
            if std::mem::take(&mut live.oom.old) {
                live.oom.passed_on = live.oom.total();
                live.oom.begun = true;
            }
            live.oom.tell(&container, out);
            live.oom.put(pass, &live.base);
            if live.gone {
                if last.is_some() {
                    live.put_identity(pass, seen);
                }
                continue;
            }
            if config.container_load {
                live.load.look(now, place, reading.cpu, turn, tasks, buffer);
            }
            if !turn {
                continue;
            }
            live.put_identity(pass, seen);
            if config.container_load {
                live.load.put(pass, &live.base, tasks);
            }
            let first = (&*config.proc_root, live.pid);
            live.descriptors.put(pass, &live.base, place, first, (now, reading.cpu), buffer);
            storage.put(*number, &live.base, now, pass);
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
}

impl Live {
    /// When it was made and began, and which container it is.
    fn put_identity(&mut self, pass: &mut Pass<'_>, seen: f64) {
        self.files.put(pass, &self.base, Slot::LastSeen, seen);
        for (slot, time) in [(Slot::CreationTime, self.files.made), (Slot::StartTime, self.start_time)] {
            if let Some(time) = time {
                self.files.put(pass, &self.base, slot, time);
            }
        }
        if std::mem::take(&mut self.relabelled) {
            self.info.retire(pass);
        }
        let (base, variables) = (&self.base, &self.variables);
        let Known { container, facts, .. } = &self.known;
        self.info.put_slow_with(pass, 1.0, |pass| {
            let through = facts.labels.iter().chain(variables);
            let through = through.map(|(name, value)| (name.as_str(), value.as_str()));
            let extra: Vec<_> =
                [("runtime", container.runtime.as_str())].into_iter().chain(through).collect();
            base.define(pass, INFO, &extra)
        });
    }

    /// Notes the variables that are let through. They stay as they were when the process began, but a
    /// runtime sets them only after it has made the process.
    fn let_through(&mut self, variables: Vec<(String, String)>) {
        if self.variables != variables {
            self.variables = variables;
            self.fresh = true;
            self.relabelled = true;
        }
    }

    /// A runtime told its name: the series go on under the new labels.
    fn identify(&mut self, known: Known, pass: &mut Pass<'_>) {
        let base = BaseLabels::of(&known);
        let runtime_changed = known.container.runtime != self.known.container.runtime;
        if base != self.base {
            self.files.retire(pass);
            self.load.retire(pass);
            self.descriptors.retire(pass);
            self.oom.series.retire(pass);
            self.base = base;
        }
        // No series has the workload.
        let shown = |known: &Known| Container {
            workload: Workload::default(),
            pod_uid: String::new(),
            ..(*known.container).clone()
        };
        let facts_changed =
            shown(&known) != shown(&self.known) || known.facts.labels != self.known.facts.labels;
        if runtime_changed || facts_changed || !self.info.is_defined() {
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

#[cfg(test)]
mod tests;
