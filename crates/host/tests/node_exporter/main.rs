//! Reads the trees of /proc and /sys that node_exporter keeps for its own tests, and compares what
//! comes out with what node_exporter gave: series, values, types and help texts.
//!
//! A case is a collector. `VEDETTE_CONFORMANCE_DIR` names the folder with the archive; without it,
//! or empty, it is `../shared/conformance/node_exporter` beside the project.

#![expect(clippy::unwrap_used, reason = "a test whose files cannot be made has failed")]

#[path = "../reading/mod.rs"]
mod reading;
mod ttar;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use reading::{Family, Reading};
use vedette_host::{Collectors, Config};
use vedette_model::{Labels, METRIC_NAME};

/// Collectors of the recording that are not compared, and why.
const SKIPPED: [(&str, &str); 2] = [
    ("qdisc", "it asks the kernel itself; the recorded answers are in a form of node_exporter's own"),
    ("wifi", "it is off by default and of no use to a cluster: not built"),
];

/// Collectors that are off by default and that a cluster has no use for, or has it better elsewhere; the
/// reference of the machine's metrics has the reason of each.
const NOT_BUILT: [&str; 6] = ["ethtool", "perf", "runit", "supervisord", "systemd", "wifi"];

/// What node_exporter calls a collector, where the families are not called so.
const COLLECTORS: [(&str, &str); 33] = [
    ("node_boot_time_", "stat"),
    ("node_context_switches_", "stat"),
    ("node_cooling_", "thermal_zone"),
    ("node_cpu_scaling_", "cpufreq"),
    ("node_cpu_vulnerabilities_", "cpu_vulnerabilities"),
    ("node_disk_", "diskstats"),
    ("node_forks_", "stat"),
    ("node_intr_", "stat"),
    ("node_kernel_hung_", "kernel_hung"),
    ("node_load", "loadavg"),
    ("node_md_", "mdadm"),
    ("node_memory_", "meminfo"),
    ("node_memory_numa_", "meminfo_numa"),
    ("node_network_", "netclass"),
    ("node_network_receive_", "netdev"),
    ("node_network_transmit_", "netdev"),
    ("node_network_transmit_queue_length", "netclass"),
    ("node_nf_conntrack_", "conntrack"),
    ("node_power_supply_", "powersupplyclass"),
    ("node_procs_", "stat"),
    ("node_softirqs_total", "stat"),
    ("node_tape_", "tapestats"),
    ("node_thermal_zone_", "thermal_zone"),
    ("node_udp_queues", "udp_queues"),
    ("testmetric", "textfile"),
    ("node_cpu_", "cpu"),
    ("node_edac_", "edac"),
    ("node_nfs_", "nfs"),
    ("node_nfsd_", "nfsd"),
    ("node_bcache_", "bcache"),
    ("node_bcachefs_", "bcachefs"),
    ("node_softirqs_functions_", "softirqs"),
    ("node_os_", "os"),
];

/// Lines that depend on the machine that made the recording.
const EXEMPT: [&str; 12] = [
    "go_",
    "node_exporter_build_info",
    "node_scrape_collector_duration_seconds",
    "process_",
    "node_textfile_mtime_seconds",
    "node_time_zone",
    "node_time_seconds",
    "node_network_receive_bytes_total",
    "node_network_transmit_bytes_total",
    "node_network_receive_packets_total",
    "node_network_transmit_packets_total",
    "promhttp_",
];

/// Values are compared to this part of themselves: the recording shows some to seventeen digits,
/// of which the last depends on the order of the calculation.
const PRECISION: f64 = 1e-15;

/// How many differences of a collector are shown.
const SHOWN_MAX: usize = 5;

fn main() -> ExitCode {
    let folder = match std::env::var_os("VEDETTE_CONFORMANCE_DIR").filter(|given| !given.is_empty()) {
        Some(given) => PathBuf::from(given),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/node_exporter"),
    };
    let archive = fs::read_dir(&folder).ok().and_then(|entries| {
        let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        paths.find(|path| path.to_string_lossy().ends_with(".tar.gz"))
    });
    let Some(archive) = archive else {
        println!("SKIPPED node_exporter conformance: there is no archive in {}", folder.display());
        println!("0 passed, 0 failed, 1 skipped");
        return ExitCode::SUCCESS;
    };
    let root = tempfile::tempdir().unwrap();
    let fixtures = unpack(&archive, root.path());
    let expected = Recording::read(&fs::read_to_string(fixtures.join("e2e-output.txt")).unwrap());
    let config = config(&fixtures, &expected);
    let reading = reading::read(&config).unwrap();
    let told = told(&reading, root.path());
    let (mut passed, mut failed) = (0, 0);
    for collector in &expected.collectors {
        if let Some((_, reason)) = SKIPPED.iter().find(|(name, _)| name == collector) {
            println!("SKIPPED {collector}: {reason}");
            continue;
        }
        let (compared, differences) = compare(collector, &expected, &told, &reading);
        if differences.is_empty() {
            passed += 1;
            let off = if config.collectors.on.contains(collector) { " (off by default)" } else { "" };
            println!("{collector}{off}: {compared} samples as expected");
            continue;
        }
        failed += 1;
        println!("FAILED {collector}: {} of {compared} samples and texts differ", differences.len());
        for difference in differences.iter().take(SHOWN_MAX) {
            println!("    {difference}");
        }
    }
    println!(
        "off by default and not in the recording: logind, network_route, swap, tcpstat; not built: {}",
        NOT_BUILT.join(", ")
    );
    println!("{passed} passed, {failed} failed, {} skipped", SKIPPED.len());
    if failed > 0 || passed == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Unpacks everything below `root`; the trees lie in the folder that it gives.
fn unpack(archive: &Path, root: &Path) -> PathBuf {
    let status = Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(root).status();
    assert!(status.unwrap().success(), "tar cannot unpack {}", archive.display());
    let fixtures = root.join("collector/fixtures");
    for archive in ["sys.ttar", "udev.ttar"] {
        ttar::unpack(&fs::read(fixtures.join(archive)).unwrap(), &fixtures).unwrap();
    }
    // The counters of interfaces were asked of the machine that made the recording, of which only
    // the loopback was shown: an idle one.
    let zeros = ["0"; 16].join(" ");
    fs::write(fixtures.join("proc/net/dev"), format!("Inter-|\n face |\n    lo: {zeros}\n")).unwrap();
    let statistics = fixtures.join("sys/class/net/lo/statistics");
    fs::create_dir_all(&statistics).unwrap();
    fs::write(statistics.join("rx_nohandler"), "0\n").unwrap();
    fixtures
}

/// The options that the recording was made with.
fn config(fixtures: &Path, expected: &Recording) -> Config {
    let words = |list: &[&str]| list.iter().map(|&w| w.to_owned()).collect::<Vec<_>>();
    let off_by_default = |name: &&String| Collectors::off_by_default().contains(&name.as_str());
    let collectors = Collectors {
        on: expected.collectors.iter().filter(off_by_default).cloned().collect(),
        off: words(&["selinux", "filesystem", "timex", "uname", "etcd", "lvm", "nvme_wear"]),
        udev_data: Some(fixtures.join("udev/data")),
        textfile_folder: Some(fixtures.join("textfile/two_metric_files")),
        cpu_info: true,
        cpu_flags: words(&["aes", "avx", "avx2", "constant_tsc"]),
        cpu_bugs: words(&["cpu_meltdown", "spectre_*", "mds"]),
        softirqs: true,
        arp_excluded: words(&["nope"]),
        netclass_excluded: words(&["dmz", "int", "lo"]),
        netdev_excluded: Vec::new(),
        diskstats_excluded: Vec::new(),
        netclass_unknown_speed_excluded: true,
        hwmon_chips: words(&[
            "*applesmc*",
            "*asus_nb_wmi*",
            "*coretemp*",
            "*hwmon4*",
            "*ieee80211*",
            "*nct6779*",
        ]),
        bcache_priority_stats: true,
        sysctl: words(&["fs.file-nr", "fs.file-nr:total,current,max", "kernel.threads-max"]),
        sysctl_info: words(&["kernel.seccomp.actions_avail"]),
    };
    Config {
        proc_root: fixtures.join("proc"),
        sys_root: fixtures.join("sys"),
        cgroup_root: fixtures.join("sys/fs/cgroup"),
        root: fixtures.to_owned(),
        devices_wait_ms: 60_000,
        collectors,
        ..Config::default()
    }
}

/// What node_exporter gave.
struct Recording {
    collectors: Vec<String>,
    families: BTreeMap<String, Family>,
    samples: BTreeMap<String, f64>,
}

impl Recording {
    fn read(text: &str) -> Self {
        let (mut families, mut samples) = (BTreeMap::<String, Family>::new(), BTreeMap::new());
        let mut collectors = Vec::new();
        for line in text.lines() {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
                let help = help.replace("\\n", "\n").replace("\\\\", "\\");
                families.entry(name.to_owned()).or_default().1 = help;
            } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
                let kind = if kind == "untyped" { "unknown" } else { kind };
                families.entry(name.to_owned()).or_default().0 = kind.to_owned();
            } else if let Some((series, value)) = line.rsplit_once(' ') {
                let (name, labels) = series_labels(series);
                if name == "node_scrape_collector_success" {
                    collectors.extend(labels.get("collector").map(str::to_owned));
                } else {
                    samples.insert(labels.to_string(), value.parse().unwrap());
                }
            }
        }
        Self { collectors, families, samples }
    }
}

/// Name and labels of a series as an exposition shows it.
fn series_labels(series: &str) -> (&str, Labels) {
    let (name, rest) = series.split_once('{').unwrap_or((series, ""));
    let mut pairs = vec![(METRIC_NAME.to_owned(), name.to_owned())];
    let mut rest = rest.trim_end_matches('}');
    while let Some((label, tail)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut chars = tail.char_indices();
        let mut end = tail.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => value.push(match chars.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, c)) => c,
                    None => '\\',
                }),
                c => value.push(c),
            }
        }
        pairs.push((label.trim_start_matches(',').to_owned(), value));
        rest = &tail[end..];
    }
    (name, Labels::from_pairs(pairs))
}

/// Our samples by series, with paths as they were where the recording was made.
fn told(reading: &Reading, root: &Path) -> BTreeMap<String, f64> {
    let root = format!("{}/", root.display());
    let mut out = BTreeMap::new();
    for (labels, value) in &reading.samples {
        let before = out.insert(labels.to_string().replace(&root, ""), *value);
        assert_eq!(before, None, "{labels} is given twice");
    }
    out
}

/// The collector that a family belongs to.
fn collector_of<'a>(family: &'a str, collectors: &'a [String]) -> Option<&'a str> {
    let named = COLLECTORS.iter().filter(|(prefix, _)| family.starts_with(prefix));
    if let Some((_, collector)) = named.max_by_key(|(prefix, _)| prefix.len()) {
        return Some(collector);
    }
    let rest = family.strip_prefix("node_")?;
    let own = collectors.iter().filter(|c| rest == c.as_str() || rest.starts_with(&format!("{c}_")));
    own.max_by_key(|c| c.len()).map(String::as_str)
}

/// How many samples were compared, and what differs.
fn compare(
    collector: &str,
    expected: &Recording,
    told: &BTreeMap<String, f64>,
    reading: &Reading,
) -> (usize, Vec<String>) {
    let of_collector = |series: &str| {
        let name = series.split('{').next().unwrap_or_default();
        let exempt = EXEMPT.iter().any(|prefix| name.starts_with(prefix));
        !exempt && collector_of(name, &expected.collectors) == Some(collector)
    };
    let mut differences = Vec::new();
    let success = format!("node_scrape_collector_success{{collector=\"{collector}\"}}");
    if told.get(&success) != Some(&1.0) {
        let facts = reading.report.state.facts.iter().filter(|(name, _)| name == collector);
        let reasons: Vec<String> = facts.map(|(_, reason)| reason.clone()).collect();
        differences.push(format!("it failed: {}", reasons.join("; ")));
    }
    let (mut compared, mut families) = (0, BTreeSet::new());
    for (series, value) in expected.samples.iter().filter(|(series, _)| of_collector(series)) {
        compared += 1;
        families.insert(series.split('{').next().unwrap_or_default());
        match told.get(series) {
            Some(own) if (own - value).abs() <= value.abs() * PRECISION => {}
            Some(own) => differences.push(format!("{series} is {own} instead of {value}")),
            None => differences.push(format!("{series} {value} is missing")),
        }
    }
    for (series, value) in told.iter().filter(|(series, _)| of_collector(series)) {
        if !expected.samples.contains_key(series) {
            differences.push(format!("{series} {value} is not expected"));
        }
    }
    let root = |help: &str| {
        help.find("collector/fixtures").map_or(help.to_owned(), |at| {
            let before = help[..at].rfind(' ').map_or(0, |space| space + 1);
            format!("{}{}", &help[..before], &help[at..])
        })
    };
    for name in families {
        let (kind, help) = &expected.families[name];
        if let Some((own_kind, own_help)) = reading.families.get(name) {
            if own_kind != kind {
                differences.push(format!("{name} is a {own_kind} instead of a {kind}"));
            }
            if root(own_help) != *help {
                differences.push(format!("the help of {name} is {own_help:?} instead of {help:?}"));
            }
        }
    }
    (compared, differences)
}
