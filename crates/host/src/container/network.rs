//! Network counters of containers, one reading for each network namespace.
//!
//! The counters are those of the namespace, not of a container: where several share one, the
//! pod's network holder reports it, else the oldest; what runs in the machine's own namespace
//! reports nothing, as that would repeat the machine's traffic. A kept descriptor of `net/dev`
//! keeps the namespace alive, so it is closed with its container.

use std::{
    collections::{BTreeMap, HashMap},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{Live, files::BaseLabels};
use crate::{
    file::{Buffer, FileBudget, KeptFile},
    keyed::Keyed,
    parse,
    series::{Family, Pass, Series},
};

/// Columns of `net/dev` that are reported.
const COLUMNS: [(usize, Family<'_>); 8] = [
    (0, Family::counter("container_network_receive_bytes_total", "Cumulative count of bytes received")),
    (1, Family::counter("container_network_receive_packets_total", "Cumulative count of packets received")),
    (
        2,
        Family::counter(
            "container_network_receive_errors_total",
            "Cumulative count of errors encountered while receiving",
        ),
    ),
    (
        3,
        Family::counter(
            "container_network_receive_packets_dropped_total",
            "Cumulative count of packets dropped while receiving",
        ),
    ),
    (8, Family::counter("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted")),
    (
        9,
        Family::counter(
            "container_network_transmit_packets_total",
            "Cumulative count of packets transmitted",
        ),
    ),
    (
        10,
        Family::counter(
            "container_network_transmit_errors_total",
            "Cumulative count of errors encountered while transmitting",
        ),
    ),
    (
        11,
        Family::counter(
            "container_network_transmit_packets_dropped_total",
            "Cumulative count of packets dropped while transmitting",
        ),
    ),
];

/// Interfaces that are not a container's own.
const IGNORED_PREFIXES: [&[u8]; 3] = [b"lo", b"veth", b"docker"];

/// The counters of the interfaces of one namespace.
#[derive(Default)]
pub(super) struct Interfaces(Keyed<[Series; COLUMNS.len()]>);

/// What one container reports of its namespace.
struct Reported {
    namespace: u64,
    pid: u32,
    base: BaseLabels,
    file: KeptFile,
    interfaces: Interfaces,
}

pub(super) struct Networks {
    proc_root: PathBuf,
    budget: FileBudget,
    /// By the generation of the container that reports.
    reported: BTreeMap<u64, Reported>,
}

impl Networks {
    pub(super) fn new(proc_root: &Path, budget: FileBudget) -> Self {
        Self { proc_root: proc_root.to_owned(), budget, reported: BTreeMap::new() }
    }

    /// Decides anew which container reports which namespace.
    pub(super) fn assign(&mut self, live: &mut BTreeMap<u64, Live>, pass: &mut Pass<'_>) {
        let machine =
            namespace(&self.proc_root, 1).or_else(|| namespace(&self.proc_root, std::process::id()));
        // Namespace: holds the pod's network (first), age, process.
        let mut reporters: HashMap<u64, (bool, u64, u32)> = HashMap::new();
        for (generation, live) in live.iter().filter(|(_, l)| !l.gone) {
            let Some(pid) = live.pid else { continue };
            let Some(namespace) = live.namespace.filter(|n| Some(*n) != machine) else { continue };
            let candidate = (!live.known.facts.sandbox, *generation, pid);
            let best = reporters.entry(namespace).or_insert(candidate);
            *best = candidate.min(*best);
        }
        let chosen: BTreeMap<u64, (u64, u32)> = reporters
            .into_iter()
            .map(|(namespace, (_, generation, pid))| (generation, (namespace, pid)))
            .collect();
        let kept = |generation: &u64, r: &Reported| {
            chosen.get(generation) == Some(&(r.namespace, r.pid))
                && live.get(generation).is_some_and(|l| l.base == r.base)
        };
        for (_, reported) in self.reported.extract_if(.., |g, r| !kept(g, r)) {
            reported.retire(pass);
        }
        for (generation, (namespace, pid)) in chosen {
            let (proc_root, budget) = (&self.proc_root, &self.budget);
            if let Some(live) = live.get(&generation) {
                self.reported.entry(generation).or_insert_with(|| Reported {
                    namespace,
                    pid,
                    base: live.base.clone(),
                    file: KeptFile::new(proc_root.join(pid.to_string()).join("net/dev"), budget),
                    interfaces: Interfaces::default(),
                });
            }
        }
    }

    /// Reads all counters once.
    pub(super) fn read(&mut self, live: &mut BTreeMap<u64, Live>, pass: &mut Pass<'_>, buffer: &mut Buffer) {
        for (generation, reported) in &mut self.reported {
            let Some(live) = live.get(generation).filter(|l| !l.gone) else { continue };
            // A failure shows at the container's next turn, when its process is looked up again.
            let Ok(text) = reported.file.read(buffer) else { continue };
            reported.interfaces.put(text, pass, &live.base);
        }
    }

    /// Ends what a container reports.
    pub(super) fn end(&mut self, generation: u64, pass: &mut Pass<'_>) {
        if let Some(reported) = self.reported.remove(&generation) {
            reported.retire(pass);
        }
    }
}

/// The inode number of a process' network namespace.
pub(super) fn namespace(proc_root: &Path, pid: u32) -> Option<u64> {
    let path = proc_root.join(pid.to_string()).join("ns/net");
    std::fs::metadata(path).ok().map(|m| m.ino())
}

impl Reported {
    fn retire(mut self, pass: &mut Pass<'_>) {
        self.interfaces.retire(pass);
    }
}

impl Interfaces {
    /// Gives the counters that a `net/dev` tells.
    pub(super) fn put(&mut self, text: &[u8], pass: &mut Pass<'_>, base: &BaseLabels) {
        self.0.begin();
        for (name, counters) in parse::lines(text).filter_map(parse::net_device) {
            if IGNORED_PREFIXES.iter().any(|p| name.starts_with(p)) {
                continue;
            }
            let define = |interface: &str| {
                COLUMNS.map(|(_, family)| base.define(pass, family, &[("interface", interface)]))
            };
            if let Some(series) = self.0.entry(name, define) {
                for (series, (column, _)) in series.iter().zip(COLUMNS) {
                    pass.put(*series, parse::value(counters[column]));
                }
            }
        }
        self.0.end(|series| series.into_iter().for_each(|s| pass.retire(s)));
    }

    fn retire(&mut self, pass: &mut Pass<'_>) {
        self.0.begin();
        self.0.end(|series| series.into_iter().for_each(|s| pass.retire(s)));
    }
}
