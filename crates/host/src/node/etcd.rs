//! etcd's database: its size, and the quota beyond which etcd takes no more writes.
//!
//! node_exporter has none of this, and etcd itself tells it only to those who hold its certificates;
//! the families are our own. Nothing is asked of etcd: its process tells where its data lie and what
//! it was started with, and the size that it holds against the quota stands at the beginning of the
//! file, in one of two pages which it writes in turn.

use std::{
    fs::File,
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use vedette_sys::Clock;

use super::{Failure, background::Source, courses::Courses};
use crate::{
    Config,
    file::{Buffer, names, read_once, read_short},
    parse,
    series::Family,
    sheet::Sheet,
};

const SIZE: Family<'_> =
    Family::gauge("node_etcd_database_size_bytes", "Size of etcd's database that counts against its quota.");
const QUOTA: Family<'_> = Family::gauge(
    "node_etcd_database_quota_bytes",
    "Size of the database from which on this etcd takes no more writes.",
);
const HOURS: Family<'_> = Family::gauge(
    "node_etcd_database_until_full_hours",
    "Hours until etcd's database reaches its quota, by the median rate of the last day; +Inf when it does not grow.",
);

/// How etcd's process is called.
const PROCESS: &[u8] = b"etcd";
/// Readings between two looks at all processes, which are many.
const LOOK_EVERY: u32 = 6;
const MEMBERS_MAX: usize = 16;
/// What etcd takes where nothing else is said.
const QUOTA_DEFAULT_BYTES: i64 = 2 << 30;
const FILE_SETTINGS_BYTES_MAX: u64 = 1 << 20;
/// Longer names and paths are cut: they become labels.
const SETTING_CHARS_MAX: usize = 512;

/// Of a page of the database: where its description begins, what it begins with, and its length up
/// to its check sum.
const META_AT: u64 = 16;
const META_MAGIC: u32 = 0xed0c_daed;
const META_VERSION: u32 = 2;
const META_SUMMED_BYTES: usize = 56;
const META_BYTES: usize = META_SUMMED_BYTES + 8;
const PAGE_BYTES_MAX: u32 = 1 << 20;

/// The members of etcd that run here.
pub(super) struct Etcd {
    proc_root: PathBuf,
    clock: Arc<dyn Clock>,
    courses: Arc<Courses>,
    reading: u32,
    processes: Vec<String>,
}

/// How a member was started.
#[derive(Debug, Default, PartialEq)]
struct Member {
    name: String,
    folder: Option<String>,
    quota: Option<i64>,
    file: Option<String>,
}

impl Etcd {
    pub(super) fn new(config: &Config, clock: Arc<dyn Clock>, courses: Arc<Courses>) -> Self {
        Self { proc_root: config.proc_root.clone(), clock, courses, reading: 0, processes: Vec::new() }
    }

    fn is_etcd(&self, process: &str, buffer: &mut Buffer) -> bool {
        let comm = self.proc_root.join(process).join("comm");
        read_short(&comm, buffer).is_ok_and(|name| parse::trim(name) == PROCESS)
    }

    fn look(&mut self, buffer: &mut Buffer) -> Result<(), Errno> {
        let mut processes = names(&self.proc_root)?;
        processes.retain(|name| name.bytes().all(|b| b.is_ascii_digit()) && self.is_etcd(name, buffer));
        processes.truncate(MEMBERS_MAX);
        self.processes = processes;
        Ok(())
    }

    fn put(&self, sheet: &mut Sheet, process: &str, buffer: &mut Buffer) -> Result<(), Failure> {
        let process = self.proc_root.join(process);
        let mut member = Member::default();
        let environment = process.join("environ");
        read_once(&environment, buffer)
            .map(|text| member.by_environment(text))
            .map_err(Failure::at(environment))?;
        let arguments = process.join("cmdline");
        read_once(&arguments, buffer)
            .map(|text| member.by_arguments(text))
            .map_err(Failure::at(arguments))?;
        if let Some(file) = &member.file {
            let file = inside(&process, file);
            // It stands in place of all arguments.
            member = Member::default();
            member.by_file(&read_settings(&file).map_err(|e| Failure::at(&file)(errno(&e)))?);
        }
        if member.name.is_empty() {
            "default".clone_into(&mut member.name);
        }
        let folder = member.folder.clone().unwrap_or_else(|| format!("{}.etcd", member.name));
        let database = inside(&process, &folder).join("member/snap/db");
        let size = size(&database).map_err(|e| Failure::at(&database)(errno(&e)))?;
        let labels = [("name", member.name.as_str()), ("folder", folder.as_str())];
        sheet.put(SIZE, &labels, parse::value(size));
        let quota = match member.quota.unwrap_or(0) {
            0 => QUOTA_DEFAULT_BYTES,
            quota => quota,
        };
        // A negative one is none.
        let Ok(quota) = u64::try_from(quota) else { return Ok(()) };
        sheet.put(QUOTA, &labels, parse::value(quota));
        let seconds = parse::signed_value(self.clock.unix_ms()) / 1000.0;
        let key = format!("etcd {} {folder}", member.name);
        if let Some(rate) = self.courses.observe(&key, seconds, parse::value(size)) {
            sheet.put(HOURS, &labels, rate.hours(parse::value(quota.saturating_sub(size))));
        }
        Ok(())
    }
}

impl Source for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        if self.reading.is_multiple_of(LOOK_EVERY) {
            self.look(buffer).map_err(Failure::at(&self.proc_root))?;
        }
        self.reading = self.reading.wrapping_add(1);
        let mut result = Err(Failure::at("a process called etcd")(Errno::NOENT));
        for process in &self.processes {
            // Its number may be another's by now.
            if self.is_etcd(process, buffer) {
                let told = self.put(sheet, process, buffer);
                result = match result {
                    Err(before) if !before.is_absent() => Err(before),
                    _ => told,
                };
            }
        }
        result
    }
}

impl Member {
    fn set(&mut self, key: &str, value: &str) {
        let value = value.trim().trim_matches(['"', '\'']);
        let value: String = value.chars().take(SETTING_CHARS_MAX).collect();
        match key {
            "name" => self.name = value,
            "data-dir" => self.folder = Some(value).filter(|v| !v.is_empty()),
            "quota-backend-bytes" => self.quota = value.parse().ok(),
            "config-file" => self.file = Some(value).filter(|v| !v.is_empty()),
            _ => {}
        }
    }

    /// `ETCD_DATA_DIR=…`, each ended by a zero.
    fn by_environment(&mut self, text: &[u8]) {
        for entry in text.split(|&b| b == 0) {
            let entry = String::from_utf8_lossy(entry);
            if let Some((key, value)) = entry.strip_prefix("ETCD_").and_then(|e| e.split_once('=')) {
                self.set(&key.to_ascii_lowercase().replace('_', "-"), value);
            }
        }
    }

    /// `--data-dir=…` or `--data-dir …`, with one dash or two.
    fn by_arguments(&mut self, text: &[u8]) {
        let mut words = text.split(|&b| b == 0).map(String::from_utf8_lossy);
        while let Some(word) = words.next() {
            let Some(argument) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else { continue };
            match argument.split_once('=') {
                Some((key, value)) => self.set(key, value),
                None if matches!(argument, "name" | "data-dir" | "quota-backend-bytes" | "config-file") => {
                    self.set(argument, &words.next().unwrap_or_default());
                }
                None => {}
            }
        }
    }

    /// The keys of a file in YAML that stand at its left edge, as etcd's do.
    fn by_file(&mut self, text: &str) {
        for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
            let value = value.split(" #").next().unwrap_or_default();
            self.set(key, value);
        }
    }
}

/// A path as the process has it: below its root, or from the folder in which it runs.
fn inside(process: &Path, path: &str) -> PathBuf {
    match path.strip_prefix('/') {
        Some(path) => process.join("root").join(path),
        None => process.join("cwd").join(path),
    }
}

/// Opens a file, and nothing that only looks like one: any process may call itself etcd and name a pipe,
/// on which we would wait, or a device that never ends.
fn open(file: &Path) -> std::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(file, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(Errno::INVAL.into()) }
}

fn read_settings(file: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    open(file)?.take(FILE_SETTINGS_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_SETTINGS_BYTES_MAX {
        return Err(Errno::FBIG.into());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// What one of the two pages says of the database.
#[derive(Debug, PartialEq)]
struct Meta {
    page_bytes: u32,
    /// Pages up to the last one in use, which is what etcd calls the size.
    pages: u64,
    transaction: u64,
}

/// Bytes of the database by the newer of the two pages that is whole.
fn size(database: &Path) -> std::io::Result<u64> {
    let file = open(database)?;
    let read = |at: u64| {
        let mut bytes = [0; META_BYTES];
        file.read_exact_at(&mut bytes, at + META_AT).ok()?;
        meta(&bytes)
    };
    let first = read(0);
    // The second page is found by the first; where that is torn, at the usual length of a page.
    let second = read(u64::from(first.as_ref().map_or(4096, |m| m.page_bytes)));
    let newest = first.into_iter().chain(second).max_by_key(|m| m.transaction);
    let meta = newest.ok_or(Errno::BADMSG)?;
    Ok(meta.pages.saturating_mul(u64::from(meta.page_bytes)))
}

fn meta(bytes: &[u8; META_BYTES]) -> Option<Meta> {
    let word = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    let is_whole = word(0)? == META_MAGIC
        && word(4)? == META_VERSION
        && long(META_SUMMED_BYTES)? == fnv_1a(&bytes[..META_SUMMED_BYTES]);
    let page_bytes = word(8)?;
    (is_whole && page_bytes.is_power_of_two() && page_bytes <= PAGE_BYTES_MAX).then_some(Meta {
        page_bytes,
        pages: long(40)?,
        transaction: long(48)?,
    })
}

fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &b| (sum ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests;
