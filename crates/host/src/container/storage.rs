//! What containers have written: the size of their writable layers.
//!
//! Three sources, the cheapest first: a project quota on the layer, of which the kernel keeps
//! count; what the runtime has counted by itself; and a walk over the layer. Walks run on a thread
//! of their own at idle I/O priority, rest far longer than they work, and come the more seldom the
//! longer they take. How old a figure is, is told with it.

use std::{
    collections::{BTreeMap, HashMap},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;
use vedette_sys::{Clock, MonotonicTime, SystemClock};

use self::walk::Walk;
use super::files::BaseLabels;
use crate::{
    Config, Error,
    file::{Buffer, read_once},
    keyed::Keyed,
    parse,
    series::{Family, LazySeries, Pass},
};

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
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The thread that counts; it ends when this is dropped, after the files that it looks at.
pub(super) struct Storage {
    shared: Arc<Shared>,
    reported: BTreeMap<u64, Reported>,
    disks: Keyed<[LazySeries; 4]>,
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
        let storage = Self::new();
        let counter = Counter::new(config, storage.shared.clone());
        // Not joined: statfs on a layer whose disk is gone may not return.
        std::thread::Builder::new()
            .name("storage".into())
            .spawn(move || counter.run())
            .map_err(|source| Error::Io { what: "start counting the files of containers".into(), source })?;
        Ok(storage)
    }

    fn new() -> Self {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        Self { shared, reported: BTreeMap::new(), disks: Keyed::default() }
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

    /// How many layers could not be counted in the last round, and why.
    pub(super) fn failures(&self) -> Option<(usize, String)> {
        let state = self.shared.state.lock();
        (state.failed > 0).then(|| (state.failed, state.reason.clone()))
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
    shared: Arc<Shared>,
    /// When each layer is due.
    due: HashMap<u64, MonotonicTime>,
    buffer: Buffer,
}

impl Counter {
    fn new(config: &Config, shared: Arc<Shared>) -> Self {
        Self {
            proc_root: config.proc_root.clone(),
            root: config.root.clone(),
            shared,
            due: HashMap::new(),
            buffer: Buffer::new(),
        }
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
            let Ok(disk) = rustix::fs::statvfs(self.root.join(point)) else { continue };
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
        self.shared.state.lock().disks = disks;
    }

    /// Waits until some layer is due, until there are new ones, or for a moment.
    fn wait(&mut self) -> Option<Vec<Wanted>> {
        let mut state = self.shared.state.lock();
        let mut waited = false;
        loop {
            if state.over {
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
            match self.count(layer, clock) {
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
            if self.shared.state.lock().over {
                return;
            }
        }
        let mut state = self.shared.state.lock();
        (state.failed, state.reason) = (failed, reason);
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
        let stat = rustix::fs::stat(&folder).map_err(|e| failed("look at", e))?;
        let disk = rustix::fs::statvfs(&folder).map_err(|e| failed("ask the file system of", e))?;
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
        let whole = device.mount_point.and_then(|point| rustix::fs::statvfs(self.root.join(point)).ok());
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
        let mut walk = Walk::new(&folder).map_err(|e| failed("open", e))?;
        let finished = walk.run(clock, |rest| {
            let mut state = shared.state.lock();
            if !state.over {
                shared.changed.wait_while_for(&mut state, |state| !state.over, rest);
            }
            !state.over
        });
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

struct Device {
    name: Arc<str>,
    mount_point: Option<PathBuf>,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The folder in which an overlay keeps what was written, out of a process' mountinfo: that of the
/// file system which is its root. `None` where the root is no overlay or the folder is named in a
/// way that only means something to whoever mounted it.
fn upper_folder(text: &[u8]) -> Option<PathBuf> {
    // What is mounted last covers what was there before.
    let root = parse::lines(text).filter(|line| parse::words(line).nth(4) == Some(b"/")).last()?;
    let mut words = parse::words(root).skip_while(|word| *word != b"-").skip(1);
    let fstype = words.next()?;
    if fstype != b"overlay" && fstype != b"fuse.fuse-overlayfs" {
        return None;
    }
    let options = words.nth(1)?;
    let upper = options.split(|&b| b == b',').find_map(|option| option.strip_prefix(b"upperdir="))?;
    let upper = PathBuf::from(String::from_utf8(parse::unescape_mount(upper)).ok()?);
    let plain = upper.is_absolute() && upper.as_os_str().as_bytes().len() > 1;
    (plain && !upper.components().any(|part| part == std::path::Component::ParentDir)).then_some(upper)
}

/// Devices with a place where each is mounted; those of which only a part is mounted come with that.
fn mounted_disks(text: &[u8]) -> Vec<(Arc<str>, PathBuf)> {
    let mut disks: Vec<(Arc<str>, PathBuf)> = Vec::new();
    for line in parse::lines(text) {
        let Some(point) = parse::words(line).nth(4) else { continue };
        let Some(source) = parse::words(line).skip_while(|word| *word != b"-").nth(2) else { continue };
        let source = parse::unescape_mount(source);
        let Ok(point) = String::from_utf8(parse::unescape_mount(point)) else { continue };
        let device = String::from_utf8_lossy(&source);
        if device.starts_with("/dev/") && !disks.iter().any(|(known, _)| **known == *device) {
            disks.push((device.into(), point.trim_start_matches('/').into()));
        }
    }
    disks
}

/// The device of a file system and the mount point of its own root, by its number.
fn mount_of(text: &[u8], number: &[u8]) -> Option<Device> {
    let mut found: Option<(bool, Device)> = None;
    for line in parse::lines(text) {
        let mut words = parse::words(line);
        if words.nth(2) != Some(number) {
            continue;
        }
        let (Some(root), Some(point)) = (words.next(), words.next()) else { continue };
        let mut words = words.skip_while(|word| *word != b"-").skip(1);
        let (Some(fstype), source) = (words.next(), words.next().unwrap_or_default()) else { continue };
        let source = parse::unescape_mount(source);
        let name = if source.is_empty() || source == b"none" { fstype } else { &source };
        let is_whole = root == b"/";
        if found.as_ref().is_some_and(|(whole, _)| *whole || !is_whole) {
            continue;
        }
        let point = String::from_utf8(parse::unescape_mount(point)).ok();
        let mount_point = point
            .filter(|_| is_whole)
            .map(|p| Path::new(&p).strip_prefix("/").unwrap_or(Path::new("")).to_owned());
        found = Some((is_whole, Device { name: String::from_utf8_lossy(name).into(), mount_point }));
    }
    found.map(|(_, device)| device)
}

#[cfg(test)]
mod tests;
