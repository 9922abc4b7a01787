//! Compares names, types and labels of a container's families with the expositions that cAdvisor
//! keeps for its own tests. Environment, labels of containers, names of zones, metrics of
//! applications and times are left out.
//!
//! `VEDETTE_CONFORMANCE_DIR` names the folder with the expositions; without it, or empty, it is
//! `../shared/conformance/cadvisor` beside the project.

#[path = "../containers/mod.rs"]
mod containers;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Labels that the expositions' container and machine have of their own.
const BASE: [&str; 9] = [
    "id",
    "name",
    "image",
    "zone_name",
    "container_env_foo_env",
    "container_label_foo_label",
    "machine_id",
    "system_uuid",
    "boot_id",
];

/// Families that are not given here, and why: how their names begin.
const ABSENT: [(&str, &str); 26] = [
    ("container_blkio_device_usage_total", "the kernel counts no disk traffic of control groups"),
    ("container_fs_reads_bytes_total", "the kernel counts no disk traffic of control groups"),
    ("container_fs_writes_bytes_total", "the kernel counts no disk traffic of control groups"),
    ("container_cpu_schedstat_", "the kernel tells no times of tasks"),
    ("container_custom_app_metric_", "metrics of applications are scraped, not collected"),
    ("container_health_state", "only Docker checks health"),
    ("container_hugetlb_", "off by default"),
    ("container_llc_occupancy_bytes", "needs resource control of the processor"),
    ("container_memory_bandwidth_", "needs resource control of the processor"),
    ("container_memory_migrate", "off by default"),
    ("container_memory_numa_pages", "off by default"),
    ("container_memory_events_", "version 1 counts no such events"),
    ("container_memory_pgscan_total", "version 1 does not count it"),
    ("container_memory_pgsteal_total", "version 1 does not count it"),
    ("container_memory_workingset_refault_", "the kernel does not count it"),
    ("container_network_advance_tcp_stats_total", "off by default"),
    ("container_network_tcp", "off by default"),
    ("container_network_udp", "off by default"),
    ("container_perf_", "needs a list of events"),
    ("container_referenced_bytes", "off by default"),
    ("container_fs_io_cost_", "no disk is controlled by io.cost"),
    ("machine_cpu_cache_capacity_bytes", "off by default"),
    ("machine_dimm_", "no memory controller tells of modules"),
    ("machine_n", "off by default, or a library of the modules' maker alone tells it"),
    ("machine_thread_siblings_count", "off by default"),
    ("container_cpu_cfs_burst_", "the kernel knows no bursts"),
];

fn main() -> ExitCode {
    let folder = match std::env::var_os("VEDETTE_CONFORMANCE_DIR").filter(|given| !given.is_empty()) {
        Some(given) => PathBuf::from(given),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/cadvisor"),
    };
    let cases = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut cases: Vec<PathBuf> =
        cases.filter(|path| path.extension().is_some_and(|e| e == "prom")).collect();
    cases.sort_unstable();
    let own = containers::read();
    let (Some(own), false) = (own, cases.is_empty()) else {
        println!(
            "SKIPPED cadvisor conformance: no expositions in {}, or no cgroup can be made",
            folder.display()
        );
        println!("0 passed, 0 failed, 1 skipped");
        return ExitCode::SUCCESS;
    };
    let [mut passed, mut failed, mut skipped] = [0; 3];
    for case in cases {
        let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&case).unwrap_or_default();
        for (family, (kind, labels)) in families(&text) {
            let Some((own_kind, _, own_labels)) = own.get(&family) else {
                match ABSENT.iter().find(|(prefix, _)| family.starts_with(prefix)) {
                    Some(_) => skipped += 1,
                    None => {
                        failed += 1;
                        println!("FAILED {name} {family}: it is not there");
                    }
                }
                continue;
            };
            let missing: Vec<_> = labels.difference(own_labels).collect();
            let empty_here = family == "cadvisor_version_info";
            if *own_kind != kind || (!missing.is_empty() && !empty_here) {
                failed += 1;
                println!(
                    "FAILED {name} {family}: a {own_kind} instead of a {kind}, without the labels {missing:?}"
                );
            } else {
                passed += 1;
            }
        }
    }
    for (prefix, reason) in ABSENT.iter().filter(|(prefix, _)| !own.keys().any(|f| f.starts_with(prefix))) {
        println!("SKIPPED {prefix}*: {reason}");
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed > 0 || passed == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Type and own labels of each family of an exposition.
fn families(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut families: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            families.entry(name.to_owned()).or_default().0 = kind.to_owned();
        } else if let Some((name, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            let labels = labels.rsplit_once('}').map_or("", |(labels, _)| labels);
            let names = labels.split("\",").filter_map(|pair| pair.split_once("=\"")).map(|(name, _)| name);
            let own = names.filter(|name| !BASE.contains(name)).map(str::to_owned);
            families.entry(name.to_owned()).or_default().1.extend(own);
        }
    }
    families
}
