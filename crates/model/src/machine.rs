//! What a machine is made of, and what its processes do.

/// A machine's hardware and the software that it runs. What is not known is zero or empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MachineFacts {
    /// Logical processors, their cores and sockets.
    pub cores: u64,
    /// Physical cores.
    pub physical_cores: u64,
    /// Sockets.
    pub sockets: u64,
    /// Highest frequency of a processor, in kHz.
    pub frequency_khz: u64,
    /// Who made the processors, as they say.
    pub vendor: String,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Swap in bytes.
    pub swap_bytes: u64,
    /// Id of the installation.
    pub machine_id: String,
    /// Id of the hardware.
    pub system_uuid: String,
    /// Id of this boot.
    pub boot_id: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Name of the distribution.
    pub os: String,
    /// Block devices.
    pub disks: Vec<DiskFacts>,
    /// Network interfaces.
    pub networks: Vec<NetworkFacts>,
}

/// A block device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DiskFacts {
    /// Name, for example `sda`.
    pub name: String,
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// Size in bytes.
    pub size_bytes: u64,
    /// The scheduler in force, or an empty string.
    pub scheduler: String,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkFacts {
    /// Name.
    pub name: String,
    /// Hardware address.
    pub address: String,
    /// Speed in megabits per second, negative where the driver does not know.
    pub speed_mbits: i64,
    /// Largest packet in bytes.
    pub mtu: i64,
}

/// A process as it is at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ProcessFigures {
    /// Its user, by name where the machine has one.
    pub user: String,
    /// Its id.
    pub pid: u32,
    /// Who made it.
    pub parent_pid: u32,
    /// When it began, in seconds since the Unix epoch.
    pub start_seconds: f64,
    /// Processor time that it has used, in seconds.
    pub cpu_seconds: f64,
    /// The part of its life that it was on a processor, in percent of one.
    pub cpu_percent: f64,
    /// Its share of the machine's memory in percent.
    pub memory_percent: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Address space.
    pub virtual_bytes: u64,
    /// State as the kernel writes it, for example `S`.
    pub state: char,
    /// Path of its cgroup.
    pub cgroup: String,
    /// Command without arguments.
    pub command: String,
    /// Open files.
    pub open_files: u64,
    /// Processor on which it ran last.
    pub processor: u64,
}
