//! Compares what this machine gives with the tables of metrics that node_exporter and cAdvisor have.
//!
//! A case is a family of a collector that is on by default. It must be there with its name, type and
//! labels, or its collector must say why it is not on this machine. What neither is there nor has a
//! collector that failed is judged by where node_exporter takes it from: [`CONDITIONS`] tells of
//! each such family what this machine would have to have.
//!
//! `VEDETTE_CONFORMANCE_DIR` names the folder with the tables; without it, or empty, it is
//! `../shared/conformance/metrics` beside the project.

#![expect(clippy::unwrap_used, reason = "a test whose tables cannot be read has failed")]

mod cadvisor;
#[path = "../containers/mod.rs"]
mod containers;
#[path = "../reading/mod.rs"]
mod reading;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use vedette_host::Config;
use vedette_model::METRIC_NAME;

/// Families that a collector gives only where the machine has something to tell: how their names
/// begin, files of which one must be there and hold the text, and why they are not given else.
const CONDITIONS: [(&str, &str, &str, &str); 33] = [
    ("node_btrfs_", "/sys/fs/btrfs/*-*", "", "no Btrfs is mounted"),
    ("node_cooling_device_", "/sys/class/thermal/cooling_device*", "", "nothing is cooled"),
    (
        "node_cpu_core_throttles_",
        "/sys/devices/system/cpu/cpu*/thermal_throttle",
        "",
        "processors count no throttling",
    ),
    ("node_cpu_isolated", "/sys/devices/system/cpu/isolated", "", "no processor is isolated"),
    (
        "node_cpu_package_throttles_",
        "/sys/devices/system/cpu/cpu*/thermal_throttle",
        "",
        "processors count no throttling",
    ),
    ("node_disk_ata_", "/run/udev/data/b*", "E:ID_ATA=1", "udev knows of no ATA disk"),
    ("node_disk_device_mapper_info", "/sys/block/dm-*", "", "no device-mapper is in use"),
    ("node_disk_filesystem_info", "/run/udev/data/b*", "E:ID_FS_TYPE", "udev knows of no file system"),
    (
        "node_memory_HardwareCorrupted_bytes",
        "/proc/meminfo",
        "HardwareCorrupted",
        "the kernel does not tell it",
    ),
    ("node_network_speed_bytes", "/sys/class/net/*/speed", "", "no interface tells its speed"),
    ("node_power_supply_capacity", "/sys/class/power_supply/*/capacity", "", "no supply tells it"),
    ("node_power_supply_cyclecount", "/sys/class/power_supply/*/cycle_count", "", "no supply tells it"),
    ("node_power_supply_energy_full", "/sys/class/power_supply/*/energy_full", "", "no supply tells it"),
    (
        "node_power_supply_energy_full_design",
        "/sys/class/power_supply/*/energy_full_design",
        "",
        "no supply tells it",
    ),
    ("node_power_supply_energy_watthour", "/sys/class/power_supply/*/energy_now", "", "no supply tells it"),
    ("node_power_supply_info", "/sys/class/power_supply/*", "", "there is no supply that tells of itself"),
    ("node_power_supply_online", "/sys/class/power_supply/*/online", "", "no supply tells it"),
    ("node_power_supply_power_watt", "/sys/class/power_supply/*/power_now", "", "no supply tells it"),
    ("node_power_supply_present", "/sys/class/power_supply/*/present", "", "no supply tells it"),
    (
        "node_power_supply_voltage_min_design",
        "/sys/class/power_supply/*/voltage_min_design",
        "",
        "no supply tells it",
    ),
    ("node_power_supply_voltage_volt", "/sys/class/power_supply/*/voltage_now", "", "no supply tells it"),
    ("node_pressure_irq_", "/proc/pressure/irq", "", "the kernel does not tell it"),
    ("node_selinux_", "/sys/fs/selinux/enforce", "", "SELinux is off"),
    ("node_thermal_zone_temp", "/sys/class/thermal/thermal_zone*/temp", "", "there is no temperature zone"),
    ("node_watchdog_access_cs0", "/sys/class/watchdog/watchdog*/access_cs0", "", "no watchdog tells it"),
    ("node_watchdog_bootstatus", "/sys/class/watchdog/watchdog*/bootstatus", "", "no watchdog tells it"),
    ("node_watchdog_fw_version", "/sys/class/watchdog/watchdog*/fw_version", "", "no watchdog tells it"),
    ("node_watchdog_info", "/sys/class/watchdog/watchdog*", "", "there is no watchdog"),
    ("node_watchdog_nowayout", "/sys/class/watchdog/watchdog*/nowayout", "", "no watchdog tells it"),
    (
        "node_watchdog_pretimeout_seconds",
        "/sys/class/watchdog/watchdog*/pretimeout",
        "",
        "no watchdog tells it",
    ),
    ("node_watchdog_timeleft_seconds", "/sys/class/watchdog/watchdog*/timeleft", "", "no watchdog tells it"),
    ("node_watchdog_timeout_seconds", "/sys/class/watchdog/watchdog*/timeout", "", "no watchdog tells it"),
    ("node_xfs_", "/sys/fs/xfs/*/stats/stats", "", "no XFS is mounted"),
];

/// Families of which the table does not name the labels, as their lines were left out of what it
/// was made from.
const WITHOUT_LABELS: [&str; 6] = [
    "node_network_receive_bytes_total",
    "node_network_receive_packets_total",
    "node_network_transmit_bytes_total",
    "node_network_transmit_packets_total",
    "node_textfile_mtime_seconds",
    "node_time_zone_offset_seconds",
];

struct Row {
    name: String,
    kind: String,
    labels: BTreeSet<String>,
    collector: String,
}

fn main() -> ExitCode {
    let folder = match std::env::var_os("VEDETTE_CONFORMANCE_DIR").filter(|given| !given.is_empty()) {
        Some(given) => PathBuf::from(given),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/metrics"),
    };
    let path = folder.join("node_exporter.tsv");
    let Ok(table) = fs::read_to_string(&path) else {
        println!("SKIPPED metrics conformance: there is no {}", path.display());
        println!("0 passed, 0 failed, 1 skipped");
        return ExitCode::SUCCESS;
    };
    // One program that leaves samples, as on most machines.
    let text_files = tempfile::tempdir().unwrap();
    fs::write(text_files.path().join("left.prom"), "left_by_a_program 1\n").unwrap();
    let mut config = Config { devices_wait_ms: 60_000, filesystem_wait_ms: 60_000, ..Config::default() };
    config.collectors.textfile_folder = Some(text_files.path().to_owned());
    let reading = reading::read(&config).unwrap();
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (series, _) in &reading.samples {
        let names = series.iter().map(|(name, _)| name).filter(|name| *name != METRIC_NAME);
        labels.entry(series.metric_name()).or_default().extend(names);
    }
    let reasons: BTreeMap<&str, &str> =
        reading.report.state.facts.iter().map(|(name, reason)| (name.as_str(), reason.as_str())).collect();
    let (mut passed, mut failed) = (0, 0);
    let mut absent: BTreeMap<(String, String), usize> = BTreeMap::new();
    for row in table.lines().skip(1).filter_map(row) {
        let Some((kind, _)) = reading.families.get(&row.name) else {
            match reason(&row, &reasons) {
                Some(reason) => *absent.entry((row.collector, reason)).or_default() += 1,
                None => {
                    failed += 1;
                    println!("FAILED {}: it is not there, and {} gives no reason", row.name, row.collector);
                }
            }
            continue;
        };
        // An empty label is none: the table names all that node_exporter would give.
        let unknown: Vec<_> = (labels.get(row.name.as_str()).into_iter().flatten())
            .filter(|name| !row.labels.contains(**name) && !WITHOUT_LABELS.contains(&row.name.as_str()))
            .collect();
        if *kind != row.kind || !unknown.is_empty() {
            failed += 1;
            println!(
                "FAILED {}: it is a {kind} instead of a {}, with the labels {unknown:?} too many",
                row.name, row.kind
            );
        } else {
            passed += 1;
        }
    }
    let mut skipped: usize = absent.values().sum();
    for ((collector, reason), families) in absent {
        println!("SKIPPED {collector}: {families} families: {reason}");
    }
    if let Some([held, broken, left_out]) = cadvisor::compare(&folder) {
        (passed, failed, skipped) = (passed + held, failed + broken, skipped + left_out);
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed > 0 || passed == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// A family that node_exporter gives by default.
fn row(line: &str) -> Option<Row> {
    let mut words = line.split('\t');
    let (name, kind, labels) = (words.next()?, words.next()?, words.next()?);
    let (collector, by_default) = (words.nth(1)?, words.next()?);
    // Those of no collector are the exporter's own.
    (by_default == "yes" && collector != "-").then(|| Row {
        name: name.to_owned(),
        kind: if kind == "untyped" { "unknown" } else { kind }.to_owned(),
        labels: labels.split(',').filter(|label| !label.is_empty()).map(str::to_owned).collect(),
        collector: collector.to_owned(),
    })
}

/// Why this machine does not have the family.
fn reason(row: &Row, reasons: &BTreeMap<&str, &str>) -> Option<String> {
    if let Some(reason) = reasons.get(row.collector.as_str()) {
        return Some((*reason).to_owned());
    }
    let own = CONDITIONS.iter().filter(|(prefix, ..)| row.name.starts_with(prefix));
    let (_, pattern, text, reason) = own.max_by_key(|(prefix, ..)| prefix.len())?;
    let told = paths(pattern).iter().any(|path| path.is_dir() || holds(path, text));
    (!told).then(|| format!("{reason} ({pattern})"))
}

/// Whether a file has the text in it, or with no text anything at all; -1 is what the kernel says
/// when it does not know.
fn holds(path: &Path, text: &str) -> bool {
    let content = fs::read(path).unwrap_or_default();
    let content = String::from_utf8_lossy(&content);
    !matches!(content.trim(), "" | "-1") && content.contains(text)
}

/// Paths that fit a pattern, in which each part may hold one `*`.
fn paths(pattern: &str) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::from("/")];
    for part in pattern.trim_start_matches('/').split('/') {
        let Some((before, after)) = part.split_once('*') else {
            paths.iter_mut().for_each(|path| path.push(part));
            paths.retain(|path| path.exists());
            continue;
        };
        let listed = paths.iter().flat_map(|path| fs::read_dir(path).into_iter().flatten().flatten());
        let fits = listed.filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.strip_prefix(before).is_some_and(|rest| rest.ends_with(after))
        });
        paths = fits.map(|entry| entry.path()).collect();
    }
    paths
}
