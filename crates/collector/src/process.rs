//! Which processes there are, and whose children they are.
//!
//! The table follows forks, execs and exits. A process that is not known (it began before the
//! sensor, or its fork was lost) is looked up in /proc. Ancestry is captured at fork, so it stays
//! true after a parent has ended and its children have been given to another.
//!
//! Start times are cut to clock ticks, as /proc tells no more: both sources then give one process
//! one key.

use std::{collections::HashMap, sync::Arc};

use vedette_model::{Ancestor, Process, ProcessKey};

/// Length of a clock tick in nanoseconds: the kernel tells user space start times in hundredths
/// of a second on every architecture (USER_HZ).
pub const TICK_NS: u64 = 10_000_000;

/// Ancestors kept for one process.
const ANCESTORS_MAX: usize = 16;

/// A process as a kernel record names it.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// Process id in the host's namespace.
    pub pid: u32,
    /// Start in nanoseconds since boot.
    pub start_ns: u64,
    /// Its parent's id.
    pub parent_pid: u32,
    /// Its parent's start.
    pub parent_start_ns: u64,
    /// Real user id.
    pub uid: u32,
    /// Command name.
    pub name: &'a str,
}

/// What /proc tells of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcRecord {
    /// Start in nanoseconds since boot, to the tick.
    pub start_ns: u64,
    /// Parent's id.
    pub parent_pid: u32,
    /// Real user id.
    pub uid: u32,
    /// Command name.
    pub name: String,
    /// Executable, or an empty string.
    pub executable: String,
    /// Arguments.
    pub args: Vec<String>,
    /// Whether `args` lacks a part.
    pub args_truncated: bool,
}

/// Looks processes up; /proc, or a map in tests.
pub trait ProcSource: Send {
    /// What is known of a process now.
    fn read(&self, pid: u32) -> Option<ProcRecord>;
}

/// The table.
pub struct ProcessTable {
    processes: HashMap<u32, Arc<Process>>,
    source: Box<dyn ProcSource>,
    processes_max: usize,
}

impl ProcessTable {
    /// An empty table of at most `processes_max` processes.
    pub fn new(source: Box<dyn ProcSource>, processes_max: usize) -> Self {
        Self { processes: HashMap::new(), source, processes_max }
    }

    /// Number of processes in the table.
    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// The process of a record.
    pub fn get(&mut self, task: Task<'_>) -> Arc<Process> {
        let key = key(task.pid, task.start_ns);
        if let Some(known) = self.processes.get(&task.pid).filter(|p| p.key == key) {
            return known.clone();
        }
        let ancestors = self.ancestors_of_child(task.parent_pid, Some(task.parent_start_ns));
        let record = self.source.read(task.pid).filter(|r| tick(r.start_ns) == key.start_ns);
        let process = match record {
            Some(record) => from_record(key, record, ancestors),
            None => Process {
                key,
                name: task.name.to_owned(),
                uid: task.uid,
                args_truncated: true,
                ancestors,
                ..Process::default()
            },
        };
        self.insert(process)
    }

    /// The process began to run another program.
    pub fn exec(&mut self, task: Task<'_>, executable: String, args: Vec<String>, cut: bool) -> Arc<Process> {
        let key = key(task.pid, task.start_ns);
        let known = self.processes.get(&task.pid).filter(|p| p.key == key).map(|p| p.ancestors.clone());
        let ancestors =
            known.unwrap_or_else(|| self.ancestors_of_child(task.parent_pid, Some(task.parent_start_ns)));
        self.insert(Process {
            key,
            name: task.name.to_owned(),
            executable,
            args,
            args_truncated: cut,
            uid: task.uid,
            ancestors,
        })
    }

    /// The process made another; the child runs the same program until it says otherwise.
    pub fn fork(&mut self, parent: &Process, child_pid: u32, child_start_ns: u64) -> ProcessKey {
        let child = key(child_pid, child_start_ns);
        self.insert(Process { key: child, ancestors: ancestry_below(parent), ..parent.clone() });
        child
    }

    /// The process ended.
    pub fn exit(&mut self, pid: u32, start_ns: u64) {
        let key = key(pid, start_ns);
        if self.processes.get(&pid).is_some_and(|p| p.key == key) {
            self.processes.remove(&pid);
        }
    }

    /// Takes a process in that was there before the sensor.
    pub fn scan(&mut self, pids: impl Iterator<Item = u32>) {
        for pid in pids {
            self.look_up(pid, 0);
        }
    }

    fn ancestors_of_child(&mut self, parent_pid: u32, start_ns: Option<u64>) -> Arc<[Ancestor]> {
        if parent_pid == 0 {
            return Arc::from([]);
        }
        let right = |p: &Arc<Process>| start_ns.is_none_or(|s| p.key.start_ns == tick(s));
        let known = self.processes.get(&parent_pid).filter(|p| right(p)).cloned();
        match known.or_else(|| self.look_up(parent_pid, 0).filter(right)) {
            Some(parent) => ancestry_below(&parent),
            None => Arc::from([Ancestor {
                key: key(parent_pid, start_ns.unwrap_or(0)),
                name: String::new(),
                executable: String::new(),
            }]),
        }
    }

    fn look_up(&mut self, pid: u32, depth: usize) -> Option<Arc<Process>> {
        let record = self.source.read(pid)?;
        let key = key(pid, record.start_ns);
        if let Some(known) = self.processes.get(&pid).filter(|p| p.key == key) {
            return Some(known.clone());
        }
        let parent = match record.parent_pid {
            0 => None,
            parent if depth < ANCESTORS_MAX => self.look_up(parent, depth + 1),
            _ => None,
        };
        let ancestors = parent.map_or_else(|| Arc::from([]), |p| ancestry_below(&p));
        Some(self.insert(from_record(key, record, ancestors)))
    }

    fn insert(&mut self, process: Process) -> Arc<Process> {
        let process = Arc::new(process);
        if self.processes.len() >= self.processes_max && !self.processes.contains_key(&process.key.pid) {
            self.forget_ended();
        }
        self.processes.insert(process.key.pid, process.clone());
        process
    }

    /// Exits can be lost; what /proc no longer has is dropped, and everything if that frees nothing.
    fn forget_ended(&mut self) {
        let source = &self.source;
        self.processes.retain(|pid, p| source.read(*pid).is_some_and(|r| tick(r.start_ns) == p.key.start_ns));
        if self.processes.len() >= self.processes_max {
            self.processes.clear();
        }
    }
}

fn tick(ns: u64) -> u64 {
    ns - ns % TICK_NS
}

fn key(pid: u32, start_ns: u64) -> ProcessKey {
    ProcessKey { pid, start_ns: tick(start_ns) }
}

fn from_record(key: ProcessKey, record: ProcRecord, ancestors: Arc<[Ancestor]>) -> Process {
    Process {
        key,
        name: record.name,
        executable: record.executable,
        args: record.args,
        args_truncated: record.args_truncated,
        uid: record.uid,
        ancestors,
    }
}

fn ancestry_below(parent: &Process) -> Arc<[Ancestor]> {
    let first =
        Ancestor { key: parent.key, name: parent.name.clone(), executable: parent.executable.clone() };
    std::iter::once(first).chain(parent.ancestors.iter().take(ANCESTORS_MAX - 1).cloned()).collect()
}

#[cfg(test)]
mod tests;
