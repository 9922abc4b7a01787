//! Which collectors there are, in the order in which they run.

use std::sync::Arc;

use vedette_sys::Clock;

use super::{
    Collector, EveryPass, background::Source, bcache, connections, courses::Courses, cpu, cpu_topology, disk,
    drbd, drives, etcd, filesystem, filesystem_drivers, hardware, interconnects, kernel, memory,
    memory_detail, network, network_class, nfs, nfs_mounts, nvme_wear, power, pressure, protocols, queues,
    routes, scheduling, sensors, sessions, software_raid, system, virtual_servers, volumes, zfs,
};
use crate::{Config, Error, file::FileBudget};

/// Collectors that run unless the configuration says otherwise. The last ones are our own.
pub(crate) const ON_BY_DEFAULT: [&str; 52] = [
    "arp",
    "bcache",
    "bcachefs",
    "bonding",
    "btrfs",
    "conntrack",
    "cpu",
    "cpufreq",
    "diskstats",
    "dmi",
    "dmmultipath",
    "edac",
    "entropy",
    "fibrechannel",
    "filefd",
    "filesystem",
    "hwmon",
    "infiniband",
    "ipvs",
    "kernel_hung",
    "loadavg",
    "mdadm",
    "meminfo",
    "netclass",
    "netdev",
    "netstat",
    "nfs",
    "nfsd",
    "nvme",
    "os",
    "powersupplyclass",
    "pressure",
    "rapl",
    "schedstat",
    "selinux",
    "sockstat",
    "softnet",
    "stat",
    "tapestats",
    "textfile",
    "thermal_zone",
    "time",
    "timex",
    "udp_queues",
    "uname",
    "vmstat",
    "watchdog",
    "xfs",
    "zfs",
    "etcd",
    "lvm",
    "nvme_wear",
];

/// Collectors that run only when the configuration says so.
pub(crate) const OFF_BY_DEFAULT: [&str; 21] = [
    "buddyinfo",
    "cgroups",
    "cpu_vulnerabilities",
    "drbd",
    "interrupts",
    "ksmd",
    "lnstat",
    "logind",
    "meminfo_numa",
    "mountstats",
    "network_route",
    "pcidevice",
    "processes",
    "qdisc",
    "slabinfo",
    "softirqs",
    "swap",
    "sysctl",
    "tcpstat",
    "xfrm",
    "zoneinfo",
];

/// What changes from second to second and is cheap to read.
pub(super) fn in_every_pass(
    config: &Config,
    budget: &FileBudget,
    courses: &Arc<Courses>,
) -> Result<Vec<Box<dyn Collector>>, Error> {
    let mut out: Vec<Box<dyn Collector>> = vec![
        Box::new(cpu::Stat::new(config, budget)),
        Box::new(cpu::LoadAverage::new(config, budget)),
        EveryPass::of(scheduling::SchedStat::new(config, budget)),
        Box::new(memory::MemInfo::new(config, budget)),
        Box::new(memory::VmStat::new(config, budget)),
        Box::new(pressure::PressureStall::new(config, budget)),
        Box::new(disk::DiskStats::new(config, budget)),
        Box::new(filesystem::FileSystems::new(config, courses.clone())?),
        Box::new(network::NetDev::new(config, budget)),
        Box::new(protocols::NetStat::new(config, budget)),
        Box::new(protocols::SockStat::new(config, budget)),
        EveryPass::of(connections::ConnectionTracker::new(config, budget)),
        EveryPass::of(connections::SoftNet::new(config, budget)),
        Box::new(kernel::FileDescriptors::new(config, budget)),
        Box::new(kernel::Entropy::new(config, budget)),
        Box::new(kernel::Time::new(config)),
        Box::new(kernel::Uname::default()),
    ];
    out.retain(|collector| runs(config, collector.name()));
    Ok(out)
}

/// What changes by the minute, may take long, or is off by default.
pub(super) fn in_background(
    config: &Config,
    clock: &Arc<dyn Clock>,
    courses: &Arc<Courses>,
) -> Vec<Box<dyn Source>> {
    let mut out: Vec<Box<dyn Source>> = vec![
        Box::new(connections::Arp::new(config)),
        Box::new(connections::UdpQueues::new(config)),
        Box::new(virtual_servers::VirtualServers::new(config)),
        Box::new(cpu_topology::Processors::new(config)),
        Box::new(cpu_topology::Frequencies::new(config)),
        Box::new(bcache::Bcache::new(config)),
        Box::new(drives::Multipath::new(config)),
        Box::new(drives::Nvme::new(config)),
        Box::new(software_raid::SoftwareRaid::new(config)),
        Box::new(drives::Tapes::new(config)),
        Box::new(filesystem_drivers::Bcachefs::new(config)),
        Box::new(filesystem_drivers::Btrfs::new(config)),
        Box::new(filesystem_drivers::Xfs::new(config)),
        Box::new(zfs::Zfs::new(config)),
        Box::new(hardware::FirmwareTables::new(config)),
        Box::new(hardware::MemoryErrors::new(config)),
        Box::new(interconnects::Bonds::new(config)),
        Box::new(interconnects::FibreChannel::new(config)),
        Box::new(interconnects::InfiniBand::new(config)),
        Box::new(network_class::NetClass::new(config)),
        Box::new(nfs::NfsClient::new(config)),
        Box::new(nfs::NfsServer::new(config)),
        Box::new(power::EnergyCounters::new(config)),
        Box::new(power::PowerSupplies::new(config)),
        Box::new(power::ThermalZones::new(config)),
        Box::new(power::Watchdogs::new(config)),
        Box::new(scheduling::HungTasks::new(config)),
        Box::new(sensors::Sensors::new(config)),
        Box::new(system::ClockDiscipline::default()),
        Box::new(system::OsRelease::new(config)),
        Box::new(system::SeLinux::new(config)),
        Box::new(system::TextFiles::new(config)),
        Box::new(volumes::Volumes::new(config, clock.clone(), courses.clone())),
        Box::new(etcd::Etcd::new(config, clock.clone(), courses.clone())),
        Box::new(nvme_wear::NvmeWear::new(config, clock.clone())),
        // Off by default.
        Box::new(connections::CacheStatistics::new(config)),
        Box::new(connections::TcpStates::new(config)),
        Box::new(connections::Transforms::new(config)),
        Box::new(cpu_topology::Vulnerabilities::new(config)),
        Box::new(hardware::PciDevices::new(config)),
        Box::new(memory_detail::FreeBlocks::new(config)),
        Box::new(memory_detail::NumaMemory::new(config)),
        Box::new(memory_detail::PageMerging::new(config)),
        Box::new(memory_detail::Slabs::new(config)),
        Box::new(memory_detail::SwapDevices::new(config)),
        Box::new(memory_detail::Zones::new(config)),
        Box::new(drbd::Drbd::new(config)),
        Box::new(nfs_mounts::MountStatistics::new(config)),
        Box::new(queues::QueueDisciplines),
        Box::new(routes::Routes),
        Box::new(sessions::Sessions::new(config)),
        Box::new(scheduling::ControlGroups::new(config)),
        Box::new(scheduling::Interrupts::new(config)),
        Box::new(scheduling::Processes::new(config)),
        Box::new(scheduling::SoftInterrupts::new(config)),
        Box::new(scheduling::Sysctl::new(config)),
    ];
    out.retain(|source| runs(config, source.name()));
    out
}

fn runs(config: &Config, name: &str) -> bool {
    config.collectors.runs(name, !OFF_BY_DEFAULT.contains(&name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_lists_name_what_there_is() {
        let mut config = Config::default();
        config.collectors.on = OFF_BY_DEFAULT.map(str::to_owned).to_vec();
        let clock: Arc<dyn Clock> = Arc::new(vedette_sys::SystemClock);
        let courses = Courses::open(None);
        let fast = in_every_pass(&config, &FileBudget::new(0), &courses).unwrap();
        let built: BTreeSet<&str> =
            (fast.iter().flat_map(|c| [Some(c.name()), c.reads_also_for()]).flatten())
                .chain(in_background(&config, &clock, &courses).iter().map(|s| s.name()))
                .collect();
        let listed: BTreeSet<&str> = ON_BY_DEFAULT.into_iter().chain(OFF_BY_DEFAULT).collect();
        assert_eq!(built, listed);
        config.collectors.on.clear();
        config.collectors.off = ON_BY_DEFAULT.map(str::to_owned).to_vec();
        assert!(in_background(&config, &clock, &courses).is_empty());
    }
}
