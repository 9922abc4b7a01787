//! Turns what the kernel told into events with identity: process, ancestry, container.
//!
//! A record from a cgroup that is not known yet waits a moment, as the first process of a new
//! container runs before the container has been found. What waits keeps its order.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use vedette_ebpf::{Header, KernelEvent, KernelFact};
use vedette_model::{Container, Event, Fact, Host, Process};
use vedette_sys::MonotonicTime;

use crate::process::{ProcessTable, Task};

/// How long an event waits for its container to be found.
const WAIT_MAX: Duration = Duration::from_millis(300);
/// Events that wait at most; beyond it they go on as they are.
const WAITING_MAX: usize = 20_000;
/// Cgroups known to belong to no container.
const HOST_CGROUPS_MAX: usize = 10_000;

/// What a cgroup belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A container.
    Container(Arc<Container>),
    /// The host itself.
    Host,
    /// Nobody that is known yet.
    Unknown,
}

/// Finds the owner of a cgroup, and paths of executables; the machine, or a table in tests.
pub trait Machine: Send {
    /// Who owns the cgroup of a record.
    fn owner(&self, header: &Header) -> Owner;

    /// The executable of a process that runs now.
    fn executable(&self, pid: u32) -> Option<String>;
}

/// Stamps records.
pub struct Stamper {
    host: Arc<Host>,
    machine: Box<dyn Machine>,
    processes: ProcessTable,
    waiting: VecDeque<Waiting>,
    /// Cgroups whose events waited in vain; they wait no more.
    host_cgroups: HashSet<(u64, u64)>,
}

struct Waiting {
    event: Event,
    /// The header, while the owner is unknown.
    unknown: Option<Header>,
    since: MonotonicTime,
}

impl Stamper {
    /// Stamps with this host's name, over this table.
    pub fn new(host: Arc<Host>, machine: Box<dyn Machine>, processes: ProcessTable) -> Self {
        Self { host, machine, processes, waiting: VecDeque::new(), host_cgroups: HashSet::new() }
    }

    /// Number of processes known.
    pub fn processes(&self) -> usize {
        self.processes.len()
    }

    /// Takes one record in. `boot_unix_ns` is the time of boot, so that record times can be told
    /// in Unix time.
    pub fn take(&mut self, record: &KernelEvent<'_>, boot_unix_ns: i64, now: MonotonicTime) {
        let header = &record.header;
        let time_ns = boot_unix_ns.saturating_add_unsigned(header.time_ns);
        let (process, fact) = self.fact(record);
        let owner = match self.machine.owner(header) {
            Owner::Unknown if self.host_cgroups.contains(&cgroups(header)) => Owner::Host,
            owner => owner,
        };
        let unknown = (owner == Owner::Unknown && self.waiting.len() < WAITING_MAX).then_some(*header);
        let container = match owner {
            Owner::Container(container) => Some(container),
            Owner::Host | Owner::Unknown => None,
        };
        let event =
            Event { id: 0, time_ns, host: self.host.clone(), container, process: Some(process), fact };
        self.waiting.push_back(Waiting { event, unknown, since: now });
    }

    /// Moves what need not wait any longer to `out`, in order; says whether that is all.
    pub fn ready(&mut self, now: MonotonicTime, out: &mut Vec<Event>) -> bool {
        while let Some(first) = self.waiting.front_mut() {
            if let Some(header) = first.unknown {
                match self.machine.owner(&header) {
                    Owner::Container(container) => first.event.container = Some(container),
                    Owner::Host => {}
                    Owner::Unknown if self.host_cgroups.contains(&cgroups(&header)) => {}
                    Owner::Unknown if now.since(first.since) < WAIT_MAX => return false,
                    Owner::Unknown => {
                        if self.host_cgroups.len() >= HOST_CGROUPS_MAX {
                            self.host_cgroups.clear();
                        }
                        self.host_cgroups.insert(cgroups(&header));
                    }
                }
            }
            out.extend(self.waiting.pop_front().map(|w| w.event));
        }
        true
    }

    fn fact(&mut self, record: &KernelEvent<'_>) -> (Arc<Process>, Fact) {
        let name = String::from_utf8_lossy(record.header.comm());
        let task = task(&record.header, &name);
        match &record.fact {
            KernelFact::Exec(exec) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                // The kernel gives the name as it was typed; where it leads, /proc knows.
                let executable = self.machine.executable(task.pid).unwrap_or_else(|| text(exec.filename));
                let args = exec.args.iter().map(text).collect();
                let process = self.processes.exec(task, executable, args, exec.args_truncated);
                let fact = Fact::Exec {
                    streams: exec.streams.clone(),
                    upper_layer: exec.upper_layer,
                    unlinked: exec.unlinked,
                };
                (process, fact)
            }
            KernelFact::Fork { child } => {
                let process = self.processes.get(task);
                let child = self.processes.fork(&process, child.pid, child.start_ns);
                (process, Fact::Fork { child })
            }
            KernelFact::Exit { code, signal } => {
                let process = self.processes.get(task);
                self.processes.exit(task.pid, task.start_ns);
                (process, Fact::Exit { code: *code, signal: *signal })
            }
            KernelFact::Connection(socket) => (self.processes.get(task), Fact::Connection(socket.clone())),
            KernelFact::Redirect { stream, target } => {
                (self.processes.get(task), Fact::StreamRedirect { stream: *stream, target: target.clone() })
            }
            KernelFact::PtyOpen { number } => (self.processes.get(task), Fact::PtyOpen { number: *number }),
        }
    }
}

fn cgroups(header: &Header) -> (u64, u64) {
    (header.cgroup_id, header.memory_cgroup_id)
}

fn task<'a>(header: &Header, name: &'a str) -> Task<'a> {
    Task {
        pid: header.process.pid,
        start_ns: header.process.start_ns,
        parent_pid: header.parent.pid,
        parent_start_ns: header.parent.start_ns,
        uid: header.uid,
        name,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use parking_lot::Mutex;
    use vedette_model::{ProcessKey, Socket, SocketDirection, Transport};

    use super::*;
    use crate::process::{ProcRecord, ProcSource};

    struct NoProc;

    impl ProcSource for NoProc {
        fn read(&self, _pid: u32) -> Option<ProcRecord> {
            None
        }
    }

    #[derive(Clone, Default)]
    struct FakeMachine(Arc<Mutex<HashMap<u64, Owner>>>);

    impl Machine for FakeMachine {
        fn owner(&self, header: &Header) -> Owner {
            self.0.lock().get(&header.cgroup_id).cloned().unwrap_or(Owner::Unknown)
        }

        fn executable(&self, _pid: u32) -> Option<String> {
            None
        }
    }

    fn record(pid: u32, cgroup_id: u64) -> KernelEvent<'static> {
        let header = Header {
            process: ProcessKey { pid, start_ns: 1 },
            tid: pid,
            parent: ProcessKey { pid: 0, start_ns: 0 },
            uid: 0,
            mount_ns: 0,
            pid_ns: 0,
            net_ns: 0,
            time_ns: 7,
            cgroup_id,
            memory_cgroup_id: 0,
            comm_bytes: *b"sh\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        };
        let any = std::net::IpAddr::from([127, 0, 0, 1]);
        let fact = KernelFact::Connection(Socket {
            transport: Transport::Tcp,
            direction: SocketDirection::Outbound,
            local: any,
            local_port: 1,
            peer: any,
            peer_port: 2,
        });
        KernelEvent { header, fact }
    }

    fn stamper() -> (Stamper, FakeMachine) {
        let machine = FakeMachine::default();
        machine.0.lock().insert(1, Owner::Host);
        let host = Arc::new(Host { name: "h".into(), id: String::new(), boot_id: String::new() });
        let table = ProcessTable::new(Box::new(NoProc), 100);
        (Stamper::new(host, Box::new(machine.clone()), table), machine)
    }

    fn at(ms: u64) -> MonotonicTime {
        MonotonicTime(ms * 1_000_000)
    }

    fn whose(events: &[Event]) -> Vec<&str> {
        events.iter().map(|e| e.container.as_ref().map_or("host", |c| c.name.as_str())).collect()
    }

    #[test]
    fn waits_for_a_new_container_and_keeps_the_order() {
        let (mut stamper, machine) = stamper();
        let mut out = Vec::new();
        for (pid, cgroup) in [(1, 1), (2, 9), (3, 1)] {
            stamper.take(&record(pid, cgroup), 1000, at(0));
        }
        stamper.ready(at(10), &mut out);
        assert_eq!(whose(&out), ["host"]);
        assert_eq!(out[0].time_ns, 1007);
        machine
            .0
            .lock()
            .insert(9, Owner::Container(Arc::new(Container { name: "web".into(), ..Container::default() })));
        stamper.ready(at(20), &mut out);
        assert_eq!(whose(&out), ["host", "web", "host"]);
    }

    #[test]
    fn an_unknown_cgroup_waits_once_and_not_for_ever() {
        let (mut stamper, _machine) = stamper();
        let mut out = Vec::new();
        stamper.take(&record(2, 9), 0, at(0));
        stamper.ready(at(299), &mut out);
        assert!(out.is_empty());
        stamper.ready(at(300), &mut out);
        stamper.take(&record(3, 9), 0, at(301));
        stamper.ready(at(301), &mut out);
        assert_eq!(whose(&out), ["host", "host"]);
    }
}
