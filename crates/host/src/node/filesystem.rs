//! Size and free space of mounted file systems.
//!
//! statvfs on a mount whose server is gone never returns. It therefore runs on a thread of its
//! own: a pass waits for it a moment at most, and a mount that does not answer is reported as
//! failed.

use std::{ffi::CString, os::unix::ffi::OsStrExt, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rustix::io::Errno;
use vedette_sys::{Clock, MonotonicTime, SystemClock};

use super::{
    Collector, Failure, Tools,
    courses::Courses,
    forecast::Rate,
    workers::{Task, Workers},
};
use crate::{
    Config, Error,
    file::{Buffer, read_once},
    parse,
    series::{Family, LazySeries, Pass, Series},
};

/// More mounts than this are left out.
const MOUNTS_MAX: usize = 4096;
/// What a mount that does not answer is called, as node_exporter calls it.
const TIMEOUT: &str = "mountpoint timeout";

const FAMILIES: [Family<'_>; 8] = [
    Family::gauge("node_filesystem_size_bytes", "Filesystem size in bytes."),
    Family::gauge("node_filesystem_free_bytes", "Filesystem free space in bytes."),
    Family::gauge("node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes."),
    Family::gauge("node_filesystem_files", "Filesystem total file nodes."),
    Family::gauge("node_filesystem_files_free", "Filesystem total free file nodes."),
    Family::gauge("node_filesystem_readonly", "Filesystem read-only status."),
    Family::gauge(
        "node_filesystem_device_error",
        "Whether an error occurred while getting statistics for the given device.",
    ),
    Family::gauge("node_filesystem_mount_info", "Filesystem mount information."),
];
/// What node_exporter does not tell.
const HOURS: Family<'_> = Family::gauge(
    "node_filesystem_until_full_hours",
    "Hours until there is no space for ordinary users any more, by the median rate of the last day; +Inf when it does not fill.",
);
const READONLY: usize = 5;
const DEVICE_ERROR: usize = 6;
const MOUNT_INFO: usize = 7;

/// What mountinfo says of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    device: String,
    mount_point: String,
    fstype: String,
    major_minor: (String, String),
    read_only: bool,
}

/// What statvfs says of it: size, free, available, files and free files.
type Figures = [f64; 5];

/// A mount and how its last statvfs went.
struct Probe {
    path: CString,
    ask: Ask,
    state: Mutex<ProbeState>,
}

/// How a mount is asked: statvfs, or what stands for it in a test.
type Ask = fn(&CString) -> Result<Figures, Errno>;

#[derive(Debug, Clone, Copy)]
struct ProbeState {
    /// When the statvfs that runs now began.
    running_since: Option<MonotonicTime>,
    last: Option<Result<Figures, Errno>>,
}

/// The labels that depend on whether the mount answers.
struct Reported {
    error: Option<String>,
    series: [Series; FAMILIES.len()],
}

struct Entry {
    mount: Mount,
    probe: Arc<Probe>,
    reported: Option<Reported>,
    /// At what rate it fills, as far as that is known.
    rate: Option<Rate>,
    hours: LazySeries,
}

pub(super) struct FileSystems {
    mount_info: [PathBuf; 2],
    root: PathBuf,
    ask: Ask,
    types_excluded: Vec<String>,
    points_excluded: Vec<String>,
    wait: Duration,
    timeout: Duration,
    entries: Vec<Entry>,
    courses: Arc<Courses>,
    workers: Workers<Probe>,
}

impl FileSystems {
    pub(super) fn new(config: &Config, courses: Arc<Courses>) -> Result<Self, Error> {
        Ok(Self {
            // Process 1 sees the machine's mounts, this one perhaps only those of its container.
            mount_info: ["1/mountinfo", "self/mountinfo"].map(|f| config.proc_root.join(f)),
            root: config.root.clone(),
            ask: statvfs,
            types_excluded: config.filesystem_types_excluded.clone(),
            points_excluded: config.mount_points_excluded.clone(),
            wait: Duration::from_millis(config.filesystem_wait_ms),
            timeout: Duration::from_millis(config.filesystem_timeout_ms),
            entries: Vec::new(),
            courses,
            workers: Workers::start("statvfs")?,
        })
    }

    fn is_reported(&self, mount: &Mount) -> bool {
        !self.types_excluded.contains(&mount.fstype)
            && !self.points_excluded.iter().any(|folder| covers(folder, &mount.mount_point))
    }

    /// Compares the mounts with those known.
    fn update(&mut self, mounts: Vec<Mount>, pass: &mut Pass<'_>) {
        let mut old = std::mem::take(&mut self.entries);
        for mount in mounts {
            let same = |m: &Mount| m.mount_point == mount.mount_point && m.device == mount.device;
            if self.entries.iter().any(|e| same(&e.mount)) {
                continue;
            }
            if let Some(i) = old.iter().position(|e| e.mount == mount) {
                self.entries.push(old.swap_remove(i));
                continue;
            }
            let below = self.root.join(mount.mount_point.trim_start_matches('/'));
            let Ok(path) = CString::new(below.as_os_str().as_bytes()) else { continue };
            let state = Mutex::new(ProbeState { running_since: None, last: None });
            self.entries.push(Entry {
                mount,
                probe: Arc::new(Probe { path, ask: self.ask, state }),
                reported: None,
                rate: None,
                hours: LazySeries::default(),
            });
        }
        for entry in old {
            entry.retire(pass);
        }
        self.workers.set(self.entries.iter().map(|e| e.probe.clone()).collect());
    }
}

/// Whether a mount point is the folder or lies in it; a folder that ends in `/` is not in itself.
fn covers(folder: &str, mount_point: &str) -> bool {
    match mount_point.strip_prefix(folder) {
        Some(rest) if folder.ends_with('/') => !rest.is_empty(),
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

impl Collector for FileSystems {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn collect(&mut self, pass: &mut Pass<'_>, tools: &mut Tools<'_>) -> Result<(), Failure> {
        if tools.slow {
            let read = self.mount_info.iter().find_map(|p| read_once(p, tools.buffer).ok().map(parse_mounts));
            let mut mounts = read.ok_or_else(|| Failure::at(&self.mount_info[0])(Errno::NOENT))?;
            mounts.retain(|m| self.is_reported(m));
            self.update(mounts, pass);
        }
        self.workers.ask(self.timeout);
        self.workers.wait(self.wait);
        let now = SystemClock.monotonic();
        let mut result = Ok(());
        for entry in &mut self.entries {
            let state = *entry.probe.state.lock();
            let hangs = state.running_since.is_some_and(|since| now.since(since) >= self.timeout);
            match state.last {
                _ if hangs => {
                    entry.put_error(pass, TIMEOUT);
                    result = Err(Failure::at(&entry.mount.mount_point)(Errno::TIMEDOUT));
                }
                Some(Ok(figures)) => {
                    entry.put(pass, figures);
                    if tools.slow {
                        entry.observe(parse::signed_value(pass.time_ms) / 1000.0, figures, &self.courses);
                    }
                    entry.put_hours(pass, figures);
                }
                Some(Err(errno)) => entry.put_errno(pass, errno),
                None => {}
            }
        }
        result
    }
}

impl Task for Probe {
    fn run(&self, _: &mut Buffer) {
        {
            let mut state = self.state.lock();
            if state.running_since.is_some() {
                return;
            }
            state.running_since = Some(SystemClock.monotonic());
        }
        let answer = (self.ask)(&self.path);
        *self.state.lock() = ProbeState { running_since: None, last: Some(answer) };
    }
}

impl Entry {
    fn put(&mut self, pass: &mut Pass<'_>, figures: Figures) {
        let read_only = self.mount.read_only;
        let series = self.series(pass, "");
        for (series, figure) in series.iter().zip(figures) {
            pass.put(*series, figure);
        }
        pass.put(series[READONLY], f64::from(u8::from(read_only)));
        pass.put(series[DEVICE_ERROR], 0.0);
        pass.put(series[MOUNT_INFO], 1.0);
    }

    /// A file system that nobody can write to does not fill.
    fn observe(&mut self, seconds: f64, [size, free, ..]: Figures, courses: &Courses) {
        if !self.mount.read_only && size > 0.0 {
            let key = format!("fs {} {}", self.mount.device, self.mount.mount_point);
            self.rate = courses.observe(&key, seconds, size - free);
        }
    }

    fn put_hours(&mut self, pass: &mut Pass<'_>, [_, _, available, ..]: Figures) {
        if let Some(rate) = self.rate {
            let Mount { device, mount_point, fstype, .. } = &self.mount;
            let labels = [("device", device.as_str()), ("mountpoint", mount_point), ("fstype", fstype)];
            self.hours.put(pass, HOURS, &labels, rate.hours(available));
        }
    }

    fn put_error(&mut self, pass: &mut Pass<'_>, error: &str) {
        let read_only = self.mount.read_only;
        let series = self.series(pass, error);
        pass.put(series[READONLY], f64::from(u8::from(read_only)));
        pass.put(series[DEVICE_ERROR], 1.0);
    }

    fn put_errno(&mut self, pass: &mut Pass<'_>, errno: Errno) {
        // The text is made anew in each pass, but only of a mount that is broken.
        self.put_error(pass, &std::io::Error::from(errno).to_string());
    }

    /// The series under the present error, defined anew when the error changed.
    fn series(&mut self, pass: &mut Pass<'_>, error: &str) -> [Series; FAMILIES.len()] {
        if let Some(reported) = &self.reported
            && reported.error.as_deref().unwrap_or("") == error
        {
            return reported.series;
        }
        if let Some(old) = self.reported.take() {
            old.series.into_iter().for_each(|s| pass.retire(s));
        }
        let Mount { device, mount_point, fstype, major_minor: (major, minor), .. } = &self.mount;
        let labels = [
            ("device", device.as_str()),
            ("mountpoint", mount_point),
            ("fstype", fstype),
            ("device_error", error),
        ];
        let info =
            [("device", device.as_str()), ("mountpoint", mount_point), ("major", major), ("minor", minor)];
        let series =
            std::array::from_fn(|i| pass.define(FAMILIES[i], if i == MOUNT_INFO { &info } else { &labels }));
        let error = (!error.is_empty()).then(|| error.to_owned());
        self.reported = Some(Reported { error, series });
        series
    }

    fn retire(mut self, pass: &mut Pass<'_>) {
        self.hours.retire(pass);
        for series in self.reported.into_iter().flat_map(|r| r.series) {
            pass.retire(series);
        }
    }
}

/// Reads mountinfo; lines that make no sense are left out.
fn parse_mounts(text: &[u8]) -> Vec<Mount> {
    let mount = |line| {
        let mut words = parse::words(line);
        let numbers = std::str::from_utf8(words.nth(2)?).ok()?;
        let (major, minor) = numbers.split_once(':')?;
        let mount_point = parse::unescape_mount(words.nth(1)?);
        let options = words.next()?;
        let mut words = words.skip_while(|w| *w != b"-").skip(1);
        let fstype = words.next()?;
        let device = parse::unescape_mount(words.next().unwrap_or_default());
        let super_options = words.next().unwrap_or_default();
        let has_ro = |options: &[u8]| options.split(|&b| b == b',').any(|o| o == b"ro");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(Mount {
            device: text(&device),
            mount_point: text(&mount_point),
            fstype: text(fstype),
            major_minor: (major.to_owned(), minor.to_owned()),
            read_only: has_ro(options) || has_ro(super_options),
        })
    };
    parse::lines(text).filter_map(mount).take(MOUNTS_MAX).collect()
}

fn statvfs(path: &CString) -> Result<Figures, Errno> {
    let stat = rustix::fs::statvfs(path.as_c_str())?;
    let bytes = |blocks: u64| parse::value(blocks) * parse::value(stat.f_frsize);
    Ok([
        bytes(stat.f_blocks),
        bytes(stat.f_bfree),
        bytes(stat.f_bavail),
        parse::value(stat.f_files),
        parse::value(stat.f_ffree),
    ])
}

#[cfg(test)]
mod tests;
