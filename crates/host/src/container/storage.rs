//! What containers have written: the size of their writable layers.
//!
//! Three sources, the cheapest first: a project quota on the layer, of which the kernel keeps
//! count; what the runtime has counted by itself; and a walk over the layer. Walks run on a thread
//! of their own at idle I/O priority, rest far longer than they work, and come the more seldom the
//! longer they take. How old a figure is, is told with it. A disk that does not answer holds up what lies on
//! it and nothing else.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use rustix::{fs::StatVfs, io::Errno};
use vedette_sys::{Clock, MonotonicTime, SystemClock};

use self::{
    mounts::{Device, mount_of, mounted_disks, upper_folder},
    silence::Silence,
    walk::Walk,
};
use super::files::BaseLabels;
use crate::{
    Config, Error,
    file::{Buffer, read_once},
    keyed::Keyed,
    parse,
    series::{Family, LazySeries, Pass},
};

mod mounts;
mod silence;
mod walk;

/// Time between two counts of one layer, unless counting takes long.
const INTERVAL: Duration = Duration::from_secs(60);
/// Time until a layer of which nothing was known is looked for again.
const UNKNOWN_INTERVAL: Duration = Duration::from_secs(5);
/// A layer is counted again after it was left alone for so many times as long as counting took.
const REST_FACTOR: u32 = 5;
/// Between two looks at the machine's disks, and how many are looked at.
const DISKS_INTERVAL: Duration = Duration::from_secs(10);
const DISKS_MAX: usize = 256;
/// What a runtime told is used for so long.
const TOLD_AGE_MAX: Duration = Duration::from_secs(120);
/// More layers than this are not counted.
const LAYERS_MAX: usize = 10_000;

const USAGE: Family<'_> = Family::gauge(
    "container_fs_usage_bytes",
    "Number of bytes that are consumed by the container on this filesystem.",
);
const LIMIT: Family<'_> = Family::gauge(
    "container_fs_limit_bytes",
    "Number of bytes that can be consumed by the container on this filesystem.",
);
const INODES: Family<'_> = Family::gauge("container_fs_inodes_total", "Number of Inodes");
const INODES_FREE: Family<'_> = Family::gauge("container_fs_inodes_free", "Number of available Inodes");
const INODES_USED: Family<'_> =
    Family::gauge("container_fs_inodes_used", "Number of inodes that the container's own files take.");
const AGE: Family<'_> = Family::gauge(
    "container_fs_usage_age_seconds",
    "How long ago the usage of the container's file system was counted.",
);
const PARTIAL: Family<'_> = Family::gauge(
    "container_fs_usage_partial",
    "1 if the container has more files than are counted, so that it uses more than is told.",
);

/// A layer whose size is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Of which life of a container.
    pub(super) generation: u64,
    /// Its full id, by which a runtime tells of it.
    pub(super) container_id: String,
    /// A process whose root is the layer.
    pub(super) pid: u32,
}

/// What a runtime has counted by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) bytes: u64,
    pub(crate) inodes: Option<u64>,
    pub(crate) at: MonotonicTime,
}

/// Where a figure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Quota,
    Runtime,
    Walk,
}

impl Source {
    fn as_str(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Runtime => "runtime",
            Self::Walk => "walk",
        }
    }
}

/// A layer's size and what it lies on.
#[derive(Debug, Clone, PartialEq)]
struct Usage {
    device: Arc<str>,
    bytes: u64,
    inodes_used: Option<u64>,
    limit_bytes: u64,
    inodes: u64,
    inodes_free: u64,
    at: MonotonicTime,
    from: Source,
    partial: bool,
}

#[derive(Default)]
struct State {
    wanted: Vec<Wanted>,
    told: HashMap<String, Layer>,
    counted: HashMap<u64, Usage>,
    /// The machine's own file systems.
    disks: Vec<Usage>,
    over: bool,
    /// How many layers could not be counted, and why the last one could not.
    failed: usize,
    reason: String,
    silence: Silence,
}

/// How a file system is asked for its size: statvfs, or what stands for it in a test.
type Ask = fn(&Path) -> Result<StatVfs, Errno>;

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The thread that counts; it ends when this is dropped, after the files that it looks at.
pub(super) struct Storage {
    shared: Arc<Shared>,
    /// What another thread begins with, should a disk hold this one up; `None` where none counts.
    places: Option<Places>,
    reported: BTreeMap<u64, Reported>,
    disks: Keyed<[LazySeries; 4]>,
}

/// Where to look, and how.
#[derive(Clone)]
struct Places {
    proc_root: PathBuf,
    root: PathBuf,
    ask: Ask,
}

/// A family, labels beside those of the container, and the value where there is one.
type Figure<'a> = (Family<'static>, &'a [(&'a str, &'a str)], Option<f64>);

/// The series of one container.
struct Reported {
    base: BaseLabels,
    device: Arc<str>,
    from: Source,
    series: [LazySeries; 7],
}

impl Storage {
    pub(super) fn start(config: &Config) -> Result<Self, Error> {
        Self::start_at(Places::of(config))
            .map_err(|source| Error::Io { what: "start counting the files of containers".into(), source })
    }

    fn start_at(places: Places) -> std::io::Result<Self> {
        let mut storage = Self::new();
        storage.spawn(&places, 0)?;
        storage.places = Some(places);
        Ok(storage)
    }

    fn new() -> Self {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        Self { shared, places: None, reported: BTreeMap::new(), disks: Keyed::default() }
    }

    fn spawn(&self, places: &Places, thread: u64) -> std::io::Result<()> {
        let counter = Counter::new(places.clone(), self.shared.clone(), thread);
        // Not joined: statvfs on a layer whose disk is gone may not return.
        std::thread::Builder::new().name("storage".into()).spawn(move || counter.run()).map(drop)
    }

    /// Leaves the thread to a disk that does not answer any more, and makes another for the rest.
    pub(super) fn look_after(&self, now: MonotonicTime) {
        let Some(places) = &self.places else { return };
        let Some(thread) = self.shared.state.lock().silence.leave(now) else { return };
        if let Err(error) = self.spawn(places, thread) {
            self.shared.state.lock().silence.stay();
            tracing::error!(%error, "files of containers are not counted any more: no thread can be made");
        }
    }

    /// One that counts nothing, for a reader without threads.
    pub(super) fn idle() -> Self {
        Self::new()
    }

    /// Says which layers there are; counts of others are dropped.
    pub(super) fn want(&self, wanted: impl Iterator<Item = Wanted>) {
        let mut state = self.shared.state.lock();
        let before = state.wanted.len();
        state.wanted.clear();
        state.wanted.extend(wanted.take(LAYERS_MAX));
        let State { wanted, counted, .. } = &mut *state;
        if counted.len() > wanted.len() {
            let there: std::collections::HashSet<u64> = wanted.iter().map(|w| w.generation).collect();
            counted.retain(|generation, _| there.contains(generation));
        }
        if state.wanted.len() > before {
            self.shared.changed.notify_all();
        }
    }

    /// Takes what a runtime has counted, beside what others have.
    pub(super) fn told(&self, told: HashMap<String, Layer>) {
        let mut state = self.shared.state.lock();
        state.told.extend(told);
        let newest = state.told.values().map(|layer| layer.at).max().unwrap_or(MonotonicTime(0));
        state.told.retain(|_, layer| newest.since(layer.at) <= TOLD_AGE_MAX);
    }

    /// What could not be counted in the last round, and why.
    pub(super) fn failure(&self) -> Option<String> {
        let state = self.shared.state.lock();
        if let Some((place, count)) = state.silence.places() {
            let more = if count > 1 { format!(", as {} more do not", count - 1) } else { String::new() };
            let place = place.display();
            return Some(format!("{place} does not answer{more}; what lies there is not counted"));
        }
        let State { failed, reason, .. } = &*state;
        (*failed > 0).then(|| format!("the files of {failed} containers cannot be counted: {reason}"))
    }

    /// Gives the figures of one container.
    pub(super) fn put(
        &mut self,
        generation: u64,
        base: &BaseLabels,
        now: MonotonicTime,
        pass: &mut Pass<'_>,
    ) {
        let state = self.shared.state.lock();
        let Some(usage) = state.counted.get(&generation) else { return };
        let fits = |r: &Reported| r.base == *base && r.device == usage.device && r.from == usage.from;
        if self.reported.get(&generation).is_some_and(|r| !fits(r))
            && let Some(old) = self.reported.remove(&generation)
        {
            old.retire(pass);
        }
        let reported = self.reported.entry(generation).or_insert_with(|| Reported {
            base: base.clone(),
            device: usage.device.clone(),
            from: usage.from,
            series: Default::default(),
        });
        let device = ("device", &*usage.device);
        let age = now.since(usage.at).as_secs_f64();
        let source = [device, ("source", usage.from.as_str())];
        let figures: [Figure<'_>; 7] = [
            (USAGE, &[device], Some(parse::value(usage.bytes))),
            (LIMIT, &[device], Some(parse::value(usage.limit_bytes))),
            (INODES, &[device], Some(parse::value(usage.inodes))),
            (INODES_FREE, &[device], Some(parse::value(usage.inodes_free))),
            (INODES_USED, &[device], usage.inodes_used.map(parse::value)),
            (AGE, &source, Some(age)),
            (PARTIAL, &[device], usage.partial.then_some(1.0)),
        ];
        for (series, (family, extra, value)) in reported.series.iter_mut().zip(figures) {
            match value {
                Some(value) => series.put_slow_with(pass, value, |pass| base.define(pass, family, extra)),
                None => series.retire(pass),
            }
        }
    }

    /// Gives the figures of the machine's own file systems.
    pub(super) fn put_disks(&mut self, base: &BaseLabels, pass: &mut Pass<'_>) {
        let state = self.shared.state.lock();
        self.disks.begin();
        for disk in &state.disks {
            let Some(series) = self.disks.entry(disk.device.as_bytes(), |_| Default::default()) else {
                continue;
            };
            let figures = [
                (USAGE, disk.bytes),
                (LIMIT, disk.limit_bytes),
                (INODES, disk.inodes),
                (INODES_FREE, disk.inodes_free),
            ];
            for (series, (family, n)) in series.iter_mut().zip(figures) {
                let define = |pass: &mut Pass<'_>| base.define(pass, family, &[("device", &disk.device)]);
                series.put_slow_with(pass, parse::value(n), define);
            }
        }
        self.disks.end(|series| series.into_iter().for_each(|mut s| s.retire(pass)));
    }

    /// Ends what a container reports.
    pub(super) fn end(&mut self, generation: u64, pass: &mut Pass<'_>) {
        if let Some(reported) = self.reported.remove(&generation) {
            reported.retire(pass);
        }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.shared.state.lock().over = true;
        self.shared.changed.notify_all();
    }
}

impl Reported {
    fn retire(mut self, pass: &mut Pass<'_>) {
        self.series.iter_mut().for_each(|series| series.retire(pass));
    }
}

/// What the thread works with.
struct Counter {
    proc_root: PathBuf,
    root: PathBuf,
    ask: Ask,
    shared: Arc<Shared>,
    /// Its number among those that have counted.
    thread: u64,
    /// When each layer is due.
    due: HashMap<u64, MonotonicTime>,
    buffer: Buffer,
}

impl Places {
    fn of(config: &Config) -> Self {
        let ask = |path: &Path| rustix::fs::statvfs(path);
        Self { proc_root: config.proc_root.clone(), root: config.root.clone(), ask }
    }
}

impl Counter {
    fn new(Places { proc_root, root, ask }: Places, shared: Arc<Shared>, thread: u64) -> Self {
        Self { proc_root, root, ask, shared, thread, due: HashMap::new(), buffer: Buffer::new() }
    }

    fn run(mut self) {
        self.count_disks(&SystemClock);
        // Where the kernel refuses, walks go on at the ordinary priority, resting as long.
        let _ = vedette_sys::idle_io_priority();
        let mut counted = SystemClock.monotonic();
        while let Some(wanted) = self.wait() {
            self.round(&wanted, &SystemClock);
            if SystemClock.monotonic().since(counted) >= DISKS_INTERVAL {
                counted = SystemClock.monotonic();
                self.count_disks(&SystemClock);
            }
        }
    }

    /// Asks for the size of each disk that has a file system mounted.
    fn count_disks(&mut self, clock: &dyn Clock) {
        let paths = ["1/mountinfo", "self/mountinfo"].map(|f| self.proc_root.join(f));
        let mounted = paths.iter().find_map(|p| read_once(p, &mut self.buffer).ok().map(mounted_disks));
        let mut disks: Vec<Usage> = Vec::new();
        for (device, point) in mounted.unwrap_or_default().into_iter().take(DISKS_MAX) {
            let point = self.root.join(point);
            let Ok(disk) = self.waiting(&point, || (self.ask)(&point)) else { continue };
            let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
            disks.push(Usage {
                device,
                bytes: bytes(disk.f_blocks.saturating_sub(disk.f_bfree)),
                inodes_used: None,
                limit_bytes: bytes(disk.f_blocks),
                inodes: disk.f_files,
                inodes_free: disk.f_ffree,
                at: clock.monotonic(),
                from: Source::Quota,
                partial: false,
            });
        }
        let mut state = self.shared.state.lock();
        if state.silence.is_current(self.thread) {
            state.disks = disks;
        }
    }

    /// Does what may wait for a place for ever, unless another thread does already.
    fn waiting<T>(&self, place: &Path, work: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
        if !self.shared.state.lock().silence.ask(self.thread, place, SystemClock.monotonic()) {
            return Err(Errno::TIMEDOUT);
        }
        let done = work();
        self.shared.state.lock().silence.answered(self.thread, place);
        done
    }

    /// Waits until some layer is due, until there are new ones, or for a moment.
    fn wait(&mut self) -> Option<Vec<Wanted>> {
        let mut state = self.shared.state.lock();
        let mut waited = false;
        loop {
            if state.over || !state.silence.is_current(self.thread) {
                return None;
            }
            let now = SystemClock.monotonic();
            let due = |w: &&Wanted| self.due.get(&w.generation).is_none_or(|due| *due <= now);
            if waited || state.wanted.iter().any(|w| due(&w)) {
                return Some(state.wanted.clone());
            }
            self.shared.changed.wait_for(&mut state, DISKS_INTERVAL);
            waited = true;
        }
    }

    /// Counts what is due.
    fn round(&mut self, wanted: &[Wanted], clock: &dyn Clock) {
        let there: std::collections::HashSet<u64> = wanted.iter().map(|w| w.generation).collect();
        self.due.retain(|generation, _| there.contains(generation));
        let (mut failed, mut reason) = (0, String::new());
        for layer in wanted {
            let begin = clock.monotonic();
            if self.due.get(&layer.generation).is_some_and(|due| *due > begin) {
                continue;
            }
            let mut interval = INTERVAL;
            let counted = self.count(layer, clock);
            if self.is_over() {
                return;
            }
            match counted {
                Ok(Some(usage)) => {
                    self.shared.state.lock().counted.insert(layer.generation, usage);
                }
                // Over, it has no layer of its own, or the runtime has not told of it yet.
                Ok(None) => interval = UNKNOWN_INTERVAL,
                Err(error) => {
                    failed += 1;
                    reason = error;
                }
            }
            let end = clock.monotonic();
            let rest = interval.max(end.since(begin) * REST_FACTOR);
            self.due.insert(layer.generation, MonotonicTime(end.0.saturating_add(nanos(rest))));
        }
        let mut state = self.shared.state.lock();
        (state.failed, state.reason) = (failed, reason);
    }

    /// Nobody waits for what it counts any more, or another counts in its place.
    fn is_over(&self) -> bool {
        let state = self.shared.state.lock();
        state.over || !state.silence.is_current(self.thread)
    }

    fn count(&mut self, layer: &Wanted, clock: &dyn Clock) -> Result<Option<Usage>, String> {
        let path = self.proc_root.join(layer.pid.to_string()).join("mountinfo");
        let upper = match read_once(&path, &mut self.buffer) {
            Ok(text) => upper_folder(text),
            Err(Errno::NOENT | Errno::SRCH) => return Ok(None),
            Err(errno) => return Err(format!("cannot read {}: {errno}", path.display())),
        };
        let told = self.shared.state.lock().told.get(&layer.container_id).copied();
        let now = clock.monotonic();
        let told = told.filter(|told| now.since(told.at) <= TOLD_AGE_MAX);
        let folder = match (upper, told) {
            (Some(upper), _) => self.root.join(upper.strip_prefix("/").unwrap_or(&upper)),
            // The runtime keeps it in a way of its own, and counts it: it lies where the root does.
            (None, Some(_)) => self.proc_root.join(layer.pid.to_string()).join("root"),
            (None, None) => return Ok(None),
        };
        let failed = |what: &str, errno: Errno| format!("cannot {what} {}: {errno}", folder.display());
        let stat = self.waiting(&folder, || rustix::fs::stat(&folder)).map_err(|e| failed("look at", e))?;
        let disk = self.waiting(&folder, || (self.ask)(&folder));
        let disk = disk.map_err(|e| failed("ask the file system of", e))?;
        let device = self.device_of(stat.st_dev);
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        let mut usage = Usage {
            device: device.name,
            bytes: 0,
            inodes_used: None,
            limit_bytes: bytes(disk.f_blocks),
            inodes: disk.f_files,
            inodes_free: disk.f_ffree,
            at: now,
            from: Source::Quota,
            partial: false,
        };
        // Below a folder that a project quota limits, the kernel gives the quota for the size of the
        // file system, and what the project has left for what is free.
        let whole = device.mount_point.and_then(|point| {
            let point = self.root.join(point);
            self.waiting(&point, || (self.ask)(&point)).ok()
        });
        if whole.is_some_and(|whole| whole.f_blocks > disk.f_blocks) {
            usage.bytes = bytes(disk.f_blocks.saturating_sub(disk.f_bfree));
            usage.inodes_used = Some(disk.f_files.saturating_sub(disk.f_ffree));
            return Ok(Some(usage));
        }
        if let Some(told) = told {
            usage.from = Source::Runtime;
            (usage.bytes, usage.inodes_used, usage.at) = (told.bytes, told.inodes, told.at);
            return Ok(Some(usage));
        }
        let shared = self.shared.clone();
        let mut walk = self.waiting(&folder, || Walk::new(&folder)).map_err(|e| failed("open", e))?;
        // A walk is asked anew of its place at every stretch of work, and owes no answer while it rests.
        let walked = self.waiting(&folder, || {
            Ok(walk.run(clock, |rest| {
                let mut state = shared.state.lock();
                state.silence.answered(self.thread, &folder);
                if !state.over {
                    shared.changed.wait_while_for(&mut state, |state| !state.over, rest);
                }
                let goes_on = !state.over && state.silence.is_current(self.thread);
                goes_on && state.silence.ask(self.thread, &folder, SystemClock.monotonic())
            }))
        });
        let finished = walked.map_err(|e| failed("walk over", e))?;
        usage.from = Source::Walk;
        (usage.bytes, usage.inodes_used, usage.partial) = (walk.bytes, Some(walk.inodes), walk.partial);
        usage.at = clock.monotonic();
        Ok(finished.then_some(usage))
    }

    /// The device that a file system lies on, and where it is mounted as a whole.
    fn device_of(&mut self, device: u64) -> Device {
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let paths = ["1/mountinfo", "self/mountinfo"].map(|f| self.proc_root.join(f));
        let text = paths.iter().find_map(|p| read_once(p, &mut self.buffer).ok().map(<[u8]>::to_vec));
        mount_of(&text.unwrap_or_default(), format!("{major}:{minor}").as_bytes())
            .unwrap_or_else(|| Device { name: format!("{major}:{minor}").into(), mount_point: None })
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
