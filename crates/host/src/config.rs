//! What can be set, with defaults that work on an ordinary machine.

mod collectors;

use std::path::PathBuf;

pub use collectors::Collectors;
pub(crate) use collectors::fits_any;

use vedette_model::Directory;

use crate::{Error, SeriesNumbers};

/// Where facts are read from and which are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where procfs is mounted.
    pub proc_root: PathBuf,
    /// Where sysfs is mounted.
    pub sys_root: PathBuf,
    /// Where the cgroup tree is mounted: version 2, version 1 with a folder a controller, or both.
    pub cgroup_root: PathBuf,
    /// Prefix of mount points when the machine's root is mounted at another place, for example `/host`.
    pub root: PathBuf,
    /// Where `/etc/machine-id` is read, below `root`.
    pub machine_id: PathBuf,
    /// Types of file systems that are not reported.
    pub filesystem_types_excluded: Vec<String>,
    /// Mount points that are not reported: each with all below it, or only what is below it when
    /// it ends in `/`.
    pub mount_points_excluded: Vec<String>,
    /// How long a pass waits for statvfs before it takes the figures of the pass before.
    pub filesystem_wait_ms: u64,
    /// After how long a mount that does not answer is reported as failed.
    pub filesystem_timeout_ms: u64,
    /// Which collectors of the machine's facts run, and what they look at.
    pub collectors: Collectors,
    /// How long a pass that reads devices waits for them before it takes the figures of the
    /// reading before.
    pub devices_wait_ms: u64,
    /// After how long a device that does not answer is reported as failed.
    pub devices_timeout_ms: u64,
    /// How often facts that seldom change (mounts, limits, devices, sensors) are read again, and
    /// the cgroup tree is compared with what is known of it.
    /// Once in this time each container has its turn, in which facts are read that nobody watches by
    /// the second: limits, kinds of memory, pressure, disk traffic, processes, start.
    pub reconcile_interval_ms: u64,
    /// How long counts of OOM kills stay visible after the end of a container.
    pub tombstone_ms: u64,
    /// Unix sockets of container runtimes that speak CRI, containerd's own interface, or Docker's, as
    /// Podman does too. One that is not there is tried again; it costs nothing.
    pub runtime_sockets: Vec<PathBuf>,
    /// How long one answer of a runtime may take.
    pub runtime_timeout_ms: u64,
    /// How long a container waits for the runtime to tell its name before it is reported under
    /// the name of its cgroup.
    pub runtime_wait_ms: u64,
    /// Patterns of the labels of containers that `container_info` carries; `*` stands for any text.
    /// None by default, as labels may hold secrets and every one of them makes new series.
    pub container_labels: Vec<String>,
    /// Patterns of the variables in the environment of a container's first process that
    /// `container_info` carries.
    pub container_environment: Vec<String>,
    /// Whether the files that containers write are counted.
    pub container_storage: bool,
    /// Whether the states of containers' tasks are looked at.
    pub container_load: bool,
    /// Where the course of what fills is kept over a restart; nowhere by default. The folder is there.
    pub forecasts_file: Option<PathBuf>,
    /// How many files may be kept open; others are opened for each pass. 0 means half of this
    /// process' own limit.
    pub kept_files_max: usize,
    /// Gives series their numbers. Clones of a `Config` share it, so that the numbers of a node
    /// reader and of a container reader differ.
    pub series_numbers: SeriesNumbers,
    /// Who knows pods and workloads of containers beside the runtimes.
    pub directory: Directory,
}

impl Default for Config {
    fn default() -> Self {
        let words = |list: &[&str]| list.iter().map(|&w| w.to_owned()).collect();
        Self {
            proc_root: "/proc".into(),
            sys_root: "/sys".into(),
            cgroup_root: "/sys/fs/cgroup".into(),
            root: "/".into(),
            machine_id: "/etc/machine-id".into(),
            filesystem_types_excluded: words(&[
                "autofs",
                "binfmt_misc",
                "bpf",
                "cgroup",
                "cgroup2",
                "configfs",
                "debugfs",
                "devpts",
                "devtmpfs",
                "erofs",
                "fusectl",
                "hugetlbfs",
                "iso9660",
                "mqueue",
                "nsfs",
                "overlay",
                "proc",
                "procfs",
                "pstore",
                "rpc_pipefs",
                "securityfs",
                "selinuxfs",
                "squashfs",
                "sysfs",
                "tracefs",
            ]),
            mount_points_excluded: words(&[
                "/dev",
                "/proc",
                "/sys",
                "/run/credentials/",
                "/var/lib/docker/",
                "/var/lib/containers/storage/",
            ]),
            filesystem_wait_ms: 50,
            filesystem_timeout_ms: 5_000,
            collectors: Collectors::default(),
            devices_wait_ms: 50,
            devices_timeout_ms: 5_000,
            reconcile_interval_ms: 10_000,
            tombstone_ms: 300_000,
            runtime_sockets: vec![
                "/run/containerd/containerd.sock".into(),
                "/run/k3s/containerd/containerd.sock".into(),
                "/run/crio/crio.sock".into(),
                "/run/docker.sock".into(),
                "/run/podman/podman.sock".into(),
            ],
            runtime_timeout_ms: 5_000,
            runtime_wait_ms: 2_000,
            container_labels: Vec::new(),
            container_environment: Vec::new(),
            container_storage: true,
            container_load: true,
            forecasts_file: None,
            kept_files_max: 0,
            series_numbers: SeriesNumbers::default(),
            directory: Directory::default(),
        }
    }
}

impl Config {
    /// Refuses what cannot work.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        for (name, path) in
            [("proc_root", &self.proc_root), ("sys_root", &self.sys_root), ("cgroup_root", &self.cgroup_root)]
        {
            if !path.is_absolute() {
                return Err(Error::Config(format!("{name} is {path:?}, but must be an absolute path")));
            }
        }
        for (name, value) in [
            ("filesystem_timeout_ms", self.filesystem_timeout_ms),
            ("devices_timeout_ms", self.devices_timeout_ms),
            ("reconcile_interval_ms", self.reconcile_interval_ms),
            ("runtime_timeout_ms", self.runtime_timeout_ms),
        ] {
            if value == 0 {
                return Err(Error::Config(format!("{name} is 0, but must be at least 1")));
            }
        }
        self.collectors.validate()
    }
}
