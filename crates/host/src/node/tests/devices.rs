//! A machine with one of each device, in files written for these tests.

use super::*;
use crate::node::collectors::{OFF_BY_DEFAULT, in_background};

/// Files and what they say. A path that ends in `/` is a folder.
const FILES: &[(&str, &str)] = &[
    (
        "proc/net/arp",
        "IP address HW type Flags HW address Mask Device\n10.0.0.1 0x1 0x2 aa:bb * eth0\n10.0.0.2 0x1 0x2 aa:bc * eth0\n",
    ),
    ("proc/net/udp", "  sl  local\n  1: 00000000:0035 00000000:0000 07 00000010:00000020 00:00000000\n"),
    ("proc/net/tcp", "  sl  local\n  0: 0100007F:0016 00000000:0000 0A 00000000:00000003 00:00000000\n"),
    ("proc/net/ip_vs_stats", "   Total\n   Conns\n  A B C D E\n\n Conns/s\n 1 2 3 4 5\n"),
    (
        "proc/net/ip_vs",
        "IP Virtual Server\nProt\n  ->\nTCP  0A000001:0050 rr\n  -> 0A000102:1F90 Masq 1 2 3\n",
    ),
    ("proc/net/xfrm_stat", "XfrmInError 3\nXfrmFuture 9\n"),
    ("proc/net/stat/rt_cache", "entries in_hit\n0000000a 000000ff\n0000000a 00000001\n"),
    ("proc/net/rpc/nfs", "net 7 4 3 2\nrpc 9 1 0\nproc3 22 5 6 7\n"),
    (
        "proc/net/rpc/nfsd",
        "rc 1 2 3\nfh 4 0 0 0 0\nio 10 20\nth 8 0\nra 32 0 9\nnet 5 2 3 1\nrpc 6 0 1 2 3\nproc4ops 40 0 0 0 11\nwdeleg_getattr 2\n",
    ),
    ("proc/sys/kernel/hung_task_detect_count", "2\n"),
    ("proc/sys/kernel/pid_max", "4194304\n"),
    ("proc/sys/kernel/threads-max", "1000\n"),
    ("proc/cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t3\t17\t1\n"),
    (
        "proc/interrupts",
        "  CPU0 CPU1\n 9: 3 4 IO-APIC 9-edge acpi\nLOC: 5 6 Local timer interrupts\nERR: 1\n",
    ),
    ("proc/softirqs", "  CPU0 CPU1\n TIMER: 7 8\n"),
    ("proc/buddyinfo", "Node 0, zone   Normal   4 3 2\n"),
    (
        "proc/zoneinfo",
        "Node 0, zone   Normal\n  pages free 5\n   min 6\n   protection: (0, 9)\n   nr_free_pages 5\n  pagesets\n   cpu: 0\n     high: 4\n",
    ),
    (
        "proc/slabinfo",
        "slabinfo - version: 2.1\n# name\ndentry 10 20 192 21 1 : tunables 0 0 0 : slabdata 1 1 0\n",
    ),
    ("proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 1024 12 -2\n"),
    (
        "proc/drbd",
        "version: 8.4\n 0: cs:Connected ro:Primary/Secondary ds:UpToDate/Failed C r-----\n    ns:4 nr:0 dw:0 dr:0 al:2 oos:3\n",
    ),
    (
        "proc/self/mountstats",
        "device s:/x mounted on /mnt with fstype nfs4 statvers=1.1\n opts: rw,proto=tcp,addr=10.0.0.9\n age: 60\n bytes: 1 2 3 4 5 6 7 8\n events: 1 2\n xprt: tcp 1 2 3 4 5 6 7 8 9 10 11 12 13\n per-op statistics\n READ: 1 2 3 4 5 6000 7000 8000\n",
    ),
    (
        "proc/mdstat",
        "Personalities : [raid1]\nmd0 : active raid1 sdb1[1] sda1[0](F)\n      100 blocks [2/1] [_U]\n      [==>] resync = 20% (20/100) finish=1min\n",
    ),
    ("proc/spl/kstat/zfs/arcstats", "1 1 0x01 2 3 4 5\nname type data\nhits 4 77\nc-max 4 78\n"),
    ("proc/spl/kstat/zfs/tank/state", "DEGRADED\n"),
    ("proc/spl/kstat/zfs/tank/io", "1 2 3\nnread reads\n5 6\n"),
    ("proc/spl/kstat/zfs/tank/objset-0x1", "1 2 3\nname type data\ndataset_name 7 tank/a b\nreads 4 9\n"),
    ("proc/12/stat", "12 (a b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 3 0\n"),
    ("sys/block/md0/md/raid_disks", "2\n"),
    ("sys/block/md0/md/degraded", "1\n"),
    ("sys/block/dm-3/dm/uuid", "mpath-36\n"),
    ("sys/block/dm-3/dm/name", "mpa\n"),
    ("sys/block/dm-3/dm/suspended", "0\n"),
    ("sys/block/dm-3/size", "8\n"),
    ("sys/block/dm-3/slaves/sdx/", ""),
    ("sys/block/sdx/device/state", "offline\n"),
    ("sys/bus/pci/devices/0000:01:00.0/vendor", "0x8086\n"),
    ("sys/bus/pci/devices/0000:01:00.0/max_link_speed", "16.0 GT/s PCIe\n"),
    ("sys/bus/pci/devices/0000:01:00.0/power_state", "D0\n"),
    ("sys/class/dmi/id/sys_vendor", "Maker\n"),
    ("sys/class/fc_host/host1/port_name", "0x5001\n"),
    ("sys/class/fc_host/host1/statistics/tx_frames", "0xff\n"),
    ("sys/class/fc_host/host1/statistics/rx_frames", "0xffffffffffffffff\n"),
    ("sys/class/hwmon/hwmon0/name", "k10temp\n"),
    ("sys/class/hwmon/hwmon0/temp1_input", "41500\n"),
    ("sys/class/hwmon/hwmon0/temp1_label", "Tctl\n"),
    ("sys/class/hwmon/hwmon0/fan1_input", "900\n"),
    ("sys/class/infiniband/mlx5_0/ports/1/state", "4: ACTIVE\n"),
    ("sys/class/infiniband/mlx5_0/ports/1/rate", "100 Gb/sec (4X EDR)\n"),
    ("sys/class/infiniband/mlx5_0/ports/1/counters/port_rcv_data", "5\n"),
    ("sys/class/net/bonding_masters", "bond0\n"),
    ("sys/class/net/bond0/bonding/slaves", "eth0 eth1\n"),
    ("sys/class/net/bond0/lower_eth0/bonding_slave/mii_status", "up\n"),
    ("sys/class/nvme/nvme0/state", "live\n"),
    ("sys/class/nvme/nvme0/nvme0n1/size", "100\n"),
    ("sys/class/nvme/nvme0/nvme0n1/queue/logical_block_size", "512\n"),
    ("sys/class/power_supply/BAT0/type", "Battery\n"),
    ("sys/class/power_supply/BAT0/energy_now", "5000000\n"),
    ("sys/class/power_supply/BAT0/temp", "301\n"),
    ("sys/class/powercap/intel-rapl:0/name", "package-1\n"),
    ("sys/class/powercap/intel-rapl:0/energy_uj", "2500000\n"),
    ("sys/class/scsi_tape/st0/stats/read_ns", "1500000000\n"),
    ("sys/class/scsi_tape/nst0/stats/read_ns", "1500000000\n"),
    ("sys/class/thermal/thermal_zone0/type", "x86_pkg_temp\n"),
    ("sys/class/thermal/thermal_zone0/temp", "52000\n"),
    ("sys/class/watchdog/watchdog0/timeleft", "30\n"),
    ("sys/devices/system/cpu/isolated", "2-3\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_available_governors", "performance powersave\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1800000\n"),
    ("sys/devices/system/cpu/cpu0/topology/physical_package_id", "0\n"),
    ("sys/devices/system/cpu/cpu0/topology/core_id", "0\n"),
    ("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "6\n"),
    ("sys/devices/system/cpu/vulnerabilities/mds", "Mitigation: Clear; SMT off\n"),
    ("sys/devices/system/edac/mc/mc0/ce_count", "4\n"),
    ("sys/devices/system/edac/mc/mc0/csrow0/ch0_ce_count", "3\n"),
    ("sys/devices/system/edac/mc/mc0/csrow0/ch0_dimm_label", "mc#0csrow#0channel#0\n"),
    ("sys/devices/system/node/node0/meminfo", "Node 0 MemTotal: 10 kB\nNode 0 HugePages_Total: 3\n"),
    ("sys/devices/system/node/node0/numastat", "numa_hit 12\n"),
    ("sys/fs/bcache/u-1/congested", "0\n"),
    ("sys/fs/bcache/u-1/bdev0/dirty_data", "1.5k\n"),
    ("sys/fs/bcache/u-1/bdev0/writeback_rate_debug", "rate: 2.0M/sec\nnext io: 1ms\n"),
    ("sys/fs/bcachefs/u-2/counters/fsync", "since mount: 1\nsince filesystem creation: 2.5k\n"),
    ("sys/fs/bcachefs/u-2/dev-0/io_done", "read:\nuser : 5\nwrite:\nuser : 6\n"),
    (
        "sys/fs/bcachefs/u-2/dev-0/io_errors",
        "IO errors since filesystem creation\n read: 3\nIO errors since 1 y ago\n read: 1\n",
    ),
    ("sys/fs/btrfs/u-3/allocation/data/raid1/total_bytes", "1000\n"),
    ("sys/fs/btrfs/u-3/commit_stats", "commits 5\nlast_commit_ms 20\n"),
    ("sys/fs/xfs/sda1/stats/stats", "rw 7 8\nunknown 1\n"),
    ("sys/fs/xfs/stats/stats", "rw 70 80\n"),
    ("sys/kernel/mm/ksm/run", "1\n"),
    ("sys/kernel/mm/ksm/sleep_millisecs", "20\n"),
    ("sys/fs/selinux/enforce", "1"),
    ("etc/selinux/config", "# comment\nSELINUX=permissive\n"),
    ("etc/os-release", "NAME=\"An OS\"\nID=an\nVERSION_ID='12.3.1'\n"),
    ("text/a.prom", "# TYPE left_total counter\nleft_total{by=\"me\"} 5\n"),
    ("text/ignored", "x\n"),
];

/// Series that these files make, and their values.
const SERIES: &[(&str, f64)] = &[
    ("node_arp_entries{device=\"eth0\"}", 2.0),
    ("node_udp_queues{ip=\"v4\", queue=\"rx\"}", 32.0),
    ("node_tcp_connection_states{state=\"listen\"}", 1.0),
    ("node_tcp_connection_states{state=\"rx_queued_bytes\"}", 3.0),
    ("node_ipvs_incoming_bytes_total", 13.0),
    (
        "node_ipvs_backend_connections_inactive{local_address=\"10.0.0.1\", local_port=\"80\", proto=\"TCP\", remote_address=\"10.0.1.2\", remote_port=\"8080\"}",
        3.0,
    ),
    ("node_xfrm_in_error_packets_total", 3.0),
    ("node_lnstat_in_hit_total{cpu=\"0\", subsystem=\"rt_cache\"}", 255.0),
    ("node_nfs_requests_total{method=\"SetAttr\", proto=\"3\"}", 7.0),
    ("node_nfsd_requests_total{method=\"Access\", proto=\"4\"}", 11.0),
    ("node_nfsd_rpc_errors_total{error=\"auth\"}", 2.0),
    ("node_kernel_hung_tasks_total", 2.0),
    ("node_cgroups_cgroups{subsys_name=\"cpu\"}", 17.0),
    ("node_interrupts_total{cpu=\"1\", info=\"Local timer interrupts\", type=\"LOC\"}", 6.0),
    ("node_interrupts_total{cpu=\"0\", devices=\"9-edge acpi\", info=\"IO-APIC\", type=\"9\"}", 3.0),
    ("node_softirqs_functions_total{cpu=\"1\", type=\"TIMER\"}", 8.0),
    ("node_buddyinfo_blocks{node=\"0\", size=\"2\", zone=\"Normal\"}", 2.0),
    ("node_zoneinfo_protection_1{node=\"0\", zone=\"Normal\"}", 9.0),
    ("node_zoneinfo_min_pages{node=\"0\", zone=\"Normal\"}", 6.0),
    ("node_slabinfo_object_size_bytes{slab=\"dentry\"}", 192.0),
    ("node_swap_used_bytes{device=\"/dev/sda2\", swap_type=\"partition\"}", 12_288.0),
    ("node_swap_priority{device=\"/dev/sda2\", swap_type=\"partition\"}", -2.0),
    ("node_drbd_disk_state_is_up_to_date{device=\"drbd0\", node=\"remote\"}", 0.0),
    ("node_drbd_out_of_sync_bytes{device=\"drbd0\"}", 3072.0),
    (
        "node_mountstats_nfs_operations_queue_time_seconds_total{export=\"s:/x\", mountaddr=\"10.0.0.9\", operation=\"READ\", protocol=\"tcp\"}",
        6.0,
    ),
    ("node_md_blocks_synced{device=\"md0\"}", 20.0),
    ("node_md_degraded{device=\"md0\"}", 1.0),
    ("node_zfs_arc_c_max", 78.0),
    ("node_zfs_zpool_state{state=\"degraded\", zpool=\"tank\"}", 1.0),
    ("node_zfs_zpool_dataset_reads{dataset=\"tank/a b\", zpool=\"tank\"}", 9.0),
    ("node_processes_threads", 3.0),
    ("node_dmmultipath_device_paths_failed{device=\"mpa\", sysfs_name=\"dm-3\"}", 1.0),
    ("node_dmmultipath_device_size_bytes{device=\"mpa\", sysfs_name=\"dm-3\"}", 4096.0),
    (
        "node_pcidevice_max_link_transfers_per_second{bus=\"01\", device=\"00\", function=\"0\", segment=\"0000\"}",
        16e9,
    ),
    ("node_dmi_info{system_vendor=\"Maker\"}", 1.0),
    ("node_fibrechannel_tx_frames_total{fc_host=\"host1\"}", 255.0),
    ("node_fibrechannel_info{fc_host=\"host1\", port_name=\"5001\"}", 1.0),
    ("node_hwmon_temp_celsius{chip=\"k10temp\", sensor=\"temp1\"}", 41.5),
    ("node_hwmon_sensor_label{chip=\"k10temp\", label=\"Tctl\", sensor=\"temp1\"}", 1.0),
    ("node_infiniband_port_data_received_bytes_total{device=\"mlx5_0\", port=\"1\"}", 20.0),
    ("node_infiniband_rate_bytes_per_second{device=\"mlx5_0\", port=\"1\"}", 12.5e9),
    ("node_bonding_active{master=\"bond0\"}", 1.0),
    ("node_bonding_slaves{master=\"bond0\"}", 2.0),
    ("node_nvme_namespace_size_bytes{device=\"nvme0\", nsid=\"1\"}", 51_200.0),
    ("node_power_supply_energy_watthour{power_supply=\"BAT0\"}", 5.0),
    ("node_power_supply_temp_celsius{power_supply=\"BAT0\"}", 30.1),
    ("node_tape_read_time_seconds_total{device=\"st0\"}", 1.5),
    ("node_thermal_zone_temp{type=\"x86_pkg_temp\", zone=\"0\"}", 52.0),
    ("node_watchdog_timeleft_seconds{name=\"watchdog0\"}", 30.0),
    ("node_cpu_isolated{cpu=\"3\"}", 1.0),
    ("node_cpu_scaling_frequency_hertz{cpu=\"0\"}", 1.8e9),
    ("node_cpu_core_throttles_total{core=\"0\", package=\"0\"}", 6.0),
    (
        "node_cpu_vulnerabilities_info{codename=\"mds\", mitigation=\"Clear; SMT off\", state=\"mitigation\"}",
        1.0,
    ),
    (
        "node_edac_channel_correctable_errors_total{channel=\"0\", controller=\"0\", csrow=\"0\", dimm_label=\"mc0_csrow0_channel0\"}",
        3.0,
    ),
    ("node_memory_numa_MemTotal{node=\"0\"}", 10_240.0),
    ("node_memory_numa_numa_hit_total{node=\"0\"}", 12.0),
    ("node_bcache_dirty_data_bytes{backing_device=\"bdev0\", uuid=\"u-1\"}", 1524.0),
    ("node_bcache_writeback_rate{backing_device=\"bdev0\", uuid=\"u-1\"}", 2_097_152.0),
    ("node_bcachefs_fsync_total{uuid=\"u-2\"}", 2560.0),
    (
        "node_bcachefs_device_io_done_bytes_total{data_type=\"user\", device=\"0\", operation=\"write\", uuid=\"u-2\"}",
        6.0,
    ),
    ("node_bcachefs_device_io_errors_total{device=\"0\", type=\"read\", uuid=\"u-2\"}", 3.0),
    ("node_btrfs_allocation_ratio{block_group_type=\"data\", mode=\"raid1\", uuid=\"u-3\"}", 2.0),
    ("node_btrfs_last_commit_seconds{uuid=\"u-3\"}", 0.02),
    ("node_xfs_read_calls_total{device=\"sda1\"}", 8.0),
    ("node_ksmd_sleep_seconds", 0.02),
    ("node_selinux_config_mode", 0.0),
    ("node_selinux_current_mode", 1.0),
    ("node_os_version{id=\"an\", name=\"An OS\"}", 12.3),
    ("left_total{by=\"me\"}", 5.0),
    ("node_textfile_scrape_error", 0.0),
    ("node_sysctl_kernel_threads_max", 1000.0),
];

/// Series that none of these files makes.
const NOT_TOLD: &[&str] = &[
    "node_fibrechannel_rx_frames_total{fc_host=\"host1\"}",
    "node_tape_read_time_seconds_total{device=\"nst0\"}",
    "node_xfs_read_calls_total{device=\"stats\"}",
    "node_interrupts_total{cpu=\"0\", type=\"ERR\"}",
    "node_zoneinfo_high_pages{node=\"0\", zone=\"Normal\"}",
];

fn machine(root: &Path) -> Config {
    for (path, text) in FILES {
        match path.strip_suffix('/') {
            Some(folder) => std::fs::create_dir_all(root.join(folder)).unwrap(),
            None => write(root, path, text),
        }
    }
    let mut config = config(root);
    config.collectors.on = OFF_BY_DEFAULT.map(str::to_owned).to_vec();
    config.collectors.textfile_folder = Some(root.join("text"));
    config.collectors.sysctl = vec!["kernel.threads-max".into()];
    config
}

/// What all sources tell, on one sheet.
fn told_by_all(config: &Config) -> BTreeMap<String, f64> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(0));
    let mut sheet = Sheet::default();
    sheet.begin();
    let mut buffer = Buffer::new();
    for mut source in in_background(config, &clock, &Courses::open(None)) {
        // Some ask the kernel itself, which a test's files are no matter to.
        let _ = source.read(&mut sheet, &mut buffer);
    }
    on(&mut sheet)
}

#[test]
fn each_device_is_told_of() {
    let root = tempfile::tempdir().unwrap();
    let told = told_by_all(&machine(root.path()));
    let wrong: Vec<_> = (SERIES.iter())
        .filter(|(series, value)| told.get(*series) != Some(value))
        .map(|(series, value)| format!("{series}: {:?} instead of {value}", told.get(*series)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}\nof {:#?}", told.keys());
    for series in NOT_TOLD {
        assert!(!told.contains_key(*series), "{series}");
    }
}

#[test]
fn what_a_reader_says_of_devices_that_are_not_there_costs_no_error() {
    let root = tempfile::tempdir().unwrap();
    let mut reader = NodeReader::new(&config(root.path()), Arc::new(ManualClock::at(0))).unwrap();
    let told = pass(&mut reader, &mut Receiver::default(), 1000);
    assert_eq!(told["node_scrape_collector_success{collector=\"zfs\"}"], 0.0);
    assert_eq!(told["node_scrape_collector_success{collector=\"textfile\"}"], 1.0);
    let report = reader.report();
    assert!(
        report.state.facts.iter().any(|(name, why)| name == "zfs" && why.starts_with("not on this machine"))
    );
}

/// A machine, and what its files hold now.
type Tree = (tempfile::TempDir, Config, Vec<Vec<u8>>);
static TREE: parking_lot::Mutex<Option<Tree>> = parking_lot::Mutex::new(None);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Files with some bytes changed, cut short, or full of something else.
    #[test]
    fn garbage_in_the_files_of_devices_does_no_harm(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), 0..64usize, any::<u8>()), 1..80),
        cuts in proptest::collection::vec((any::<proptest::sample::Index>(), 0..40usize), 0..12),
        texts in proptest::collection::vec(
            (any::<proptest::sample::Index>(), "([a-zA-Z0-9:()=./ \\-\\[\\]]{0,10}[ :\t\n]){0,20}"),
            0..12,
        ),
    ) {
        // One tree serves all cases: making so many files takes longer than reading them.
        let mut tree = TREE.lock();
        let (root, config, written) = tree.get_or_insert_with(|| {
            let root = tempfile::tempdir().unwrap();
            let config = machine(root.path());
            (root, config, FILES.iter().map(|(_, text)| text.as_bytes().to_vec()).collect())
        });
        let mut contents: Vec<Vec<u8>> = FILES.iter().map(|(_, text)| text.as_bytes().to_vec()).collect();
        for (file, at, byte) in changes {
            let text = &mut contents[file.index(FILES.len())];
            if !text.is_empty() {
                let at = at % text.len();
                text[at] = byte;
            }
        }
        for (file, length) in cuts {
            contents[file.index(FILES.len())].truncate(length);
        }
        for (file, text) in texts {
            contents[file.index(FILES.len())] = text.into_bytes();
        }
        for (((path, _), text), written) in FILES.iter().zip(contents).zip(written) {
            if !path.ends_with('/') && *written != text {
                std::fs::write(root.path().join(path), &text).unwrap();
                *written = text;
            }
        }
        told_by_all(config);
    }
}
