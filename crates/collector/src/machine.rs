//! Asks this machine whose cgroup a record came from.

use std::{fs, path::PathBuf};

use vedette_ebpf::Header;
use vedette_host::ContainerIndex;

use crate::{
    proc_reader::ProcReader,
    stamp::{Machine, Owner},
};

/// Places in the cgroup tree where the host's own services and users live.
const HOST_CGROUPS: [&str; 4] = ["/system.slice/", "/user.slice/", "/init.scope", "/session"];

/// The containers that were found, and /proc.
pub struct LocalMachine {
    containers: ContainerIndex,
    proc_root: PathBuf,
    reader: ProcReader,
}

impl LocalMachine {
    /// Asks this index, and the processes below `proc_root`.
    pub fn new(containers: ContainerIndex, proc_root: PathBuf) -> Self {
        Self { containers, reader: ProcReader::new(&proc_root), proc_root }
    }
}

impl Machine for LocalMachine {
    fn owner(&self, header: &Header) -> Owner {
        if let Some(container) = self.containers.by_cgroup_id(header.cgroup_id) {
            return Owner::Container(container);
        }
        // Where containers live in version 1 hierarchies only, the kernel's id says nothing.
        let Some(path) = self.reader.cgroup(header.process.pid) else { return Owner::Unknown };
        match self.containers.by_pid_cgroup_path(&path) {
            Some(container) => Owner::Container(container),
            None if path == "/" || HOST_CGROUPS.iter().any(|p| path.starts_with(p)) => Owner::Host,
            None => Owner::Unknown,
        }
    }

    fn executable(&self, pid: u32) -> Option<String> {
        let path = fs::read_link(self.proc_root.join(pid.to_string()).join("exe")).ok()?;
        Some(path.to_string_lossy().into_owned())
    }
}
