//! The table of cAdvisor's families, beside what a container of this machine gives.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::containers;

/// Labels that all series of containers or of the machine may have.
const BASE: [&str; 9] =
    ["id", "name", "image", "pod", "namespace", "container", "machine_id", "system_uuid", "boot_id"];

const TRAFFIC: &str = "the kernel counts no traffic of control groups, as long as no limit is set";

/// Families that are there only where the machine has something to tell: how their names begin, the
/// files of which one must be there and hold the text, and why they are not given else.
const CONDITIONS: [(&str, &str, &str, &str); 14] = [
    (
        "container_blkio_device_usage_total",
        "/sys/fs/cgroup/blkio/blkio.throttle.io_service_bytes_recursive",
        ":",
        TRAFFIC,
    ),
    (
        "container_fs_reads_bytes_total",
        "/sys/fs/cgroup/blkio/blkio.throttle.io_service_bytes_recursive",
        ":",
        TRAFFIC,
    ),
    (
        "container_fs_writes_bytes_total",
        "/sys/fs/cgroup/blkio/blkio.throttle.io_service_bytes_recursive",
        ":",
        TRAFFIC,
    ),
    ("container_fs_io_cost_", "/sys/fs/cgroup/io.stat", "cost.usage", "no disk is controlled by io.cost"),
    ("container_health_state", "/run/docker.sock", "", "only Docker checks health, and there is none"),
    (
        "container_memory_events_",
        "/sys/fs/cgroup/system.slice/memory.events",
        "",
        "version 1 counts no such events",
    ),
    ("container_memory_pgscan_total", "/sys/fs/cgroup/memory.stat", "pgscan", "version 1 does not count it"),
    (
        "container_memory_pgsteal_total",
        "/sys/fs/cgroup/memory.stat",
        "pgsteal",
        "version 1 does not count it",
    ),
    (
        "container_memory_workingset_refault_",
        "/sys/fs/cgroup/memory/memory.stat",
        "total_workingset_refault",
        "the kernel does not count it",
    ),
    (
        "container_perf_",
        "/none",
        "",
        "counters of the processor are read only where a list of events is given",
    ),
    ("machine_dimm_", "/sys/devices/system/edac/mc/mc0", "", "no memory controller tells of modules"),
    ("machine_nvm_", "/none", "", "a library of the modules' maker alone tells it"),
    ("container_cpu_cfs_burst_", "/sys/fs/cgroup/cpu/cpu.stat", "nr_bursts", "the kernel knows no bursts"),
    (
        "container_memory_kernel_usage",
        "/sys/fs/cgroup/memory/memory.kmem.usage_in_bytes",
        "",
        "the kernel does not tell it",
    ),
];

/// How many families hold, fail and are not there for a reason.
pub fn compare(folder: &Path) -> Option<[usize; 3]> {
    let table = fs::read_to_string(folder.join("cadvisor.tsv")).ok()?;
    let Some(families) = containers::read() else {
        println!("SKIPPED cadvisor.tsv: no cgroup can be made here");
        return Some([0, 0, 1]);
    };
    let [mut passed, mut failed, mut skipped] = [0; 3];
    let mut absent: BTreeMap<&str, usize> = BTreeMap::new();
    for line in table.lines().skip(1) {
        let words: Vec<&str> = line.split('\t').collect();
        let [name, kind, extra, _, group, by_default, ..] = words[..] else { continue };
        let Some((own_kind, _, own_labels)) = families.get(name) else {
            if by_default != "yes" {
                *absent.entry("it is off by default in cAdvisor").or_default() += 1;
                skipped += 1;
                continue;
            }
            match reason(name) {
                Some(reason) => {
                    *absent.entry(reason).or_default() += 1;
                    skipped += 1;
                }
                None => {
                    failed += 1;
                    println!("FAILED {name}: it is not there, and {group} gives no reason");
                }
            }
            continue;
        };
        let known: BTreeSet<&str> = extra.split(',').chain(BASE).collect();
        let unknown: Vec<_> = own_labels.iter().filter(|label| !known.contains(label.as_str())).collect();
        let missing: Vec<_> =
            extra.split(',').filter(|l| !l.is_empty() && !own_labels.contains(*l)).collect();
        // What this machine has no word for is an empty label, which is none.
        let empty_here = name == "cadvisor_version_info";
        if own_kind != kind || !unknown.is_empty() || (!missing.is_empty() && !empty_here) {
            failed += 1;
            println!(
                "FAILED {name}: a {own_kind} instead of a {kind}, labels {unknown:?} too many, {missing:?} missing"
            );
        } else {
            passed += 1;
        }
    }
    for (reason, families) in absent {
        println!("SKIPPED cadvisor: {families} families: {reason}");
    }
    Some([passed, failed, skipped])
}

fn reason(name: &str) -> Option<&'static str> {
    let (_, path, text, reason) = CONDITIONS.iter().find(|(prefix, ..)| name.starts_with(prefix))?;
    let there = if text.is_empty() {
        Path::new(path).exists()
    } else {
        fs::read_to_string(path).is_ok_and(|content| content.contains(text))
    };
    (!there).then_some(reason)
}
