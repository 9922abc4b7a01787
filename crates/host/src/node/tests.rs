use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use vedette_model::{MetricKind, is_stale};
use vedette_sys::ManualClock;

use super::*;

/// What a receiver of the passes would hold.
#[derive(Default)]
struct Receiver {
    labels: BTreeMap<u32, String>,
    kinds: BTreeMap<String, MetricKind>,
}

impl Receiver {
    /// Takes a pass and gives its samples by their series' text.
    fn take(&mut self, samples: &Samples) -> BTreeMap<String, f64> {
        for definition in &samples.defined {
            let text = definition.labels.to_string();
            assert!(!self.labels.values().any(|l| *l == text), "{text} is defined twice");
            let before = self.labels.insert(definition.series, text);
            assert_eq!(before, None, "a number is given to two series at once");
        }
        for family in &samples.metadata {
            self.kinds.insert(family.family.clone(), family.kind);
        }
        let mut out = BTreeMap::new();
        for row in &samples.rows {
            for (series, value) in row.series.iter().zip(&row.values) {
                assert!(!is_stale(*value));
                assert_eq!(
                    out.insert(self.labels[series].clone(), *value),
                    None,
                    "two samples of one series"
                );
            }
        }
        for retired in &samples.retired {
            self.labels.remove(retired).expect("a retired series was defined");
        }
        out
    }
}

fn config(root: &Path) -> Config {
    Config {
        proc_root: root.join("proc"),
        sys_root: root.join("sys"),
        cgroup_root: root.join("sys/fs/cgroup"),
        ..Config::default()
    }
}

fn pass(reader: &mut NodeReader, receiver: &mut Receiver, time_ms: i64) -> BTreeMap<String, f64> {
    let mut samples = Samples::default();
    reader.collect(time_ms, &mut samples);
    receiver.take(&samples)
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn devices_that_come_and_go_begin_and_end_their_series() {
    let root = tempfile::tempdir().unwrap();
    let net = |devices: &[&str]| {
        let lines = devices.iter().map(|d| format!("  {d}: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"));
        let text = format!("Inter-|\n face |bytes\n{}", lines.collect::<String>());
        write(root.path(), "proc/net/dev", &text);
    };
    net(&["lo", "eth0"]);
    let clock = ManualClock::at(0);
    let mut reader = NodeReader::new(&config(root.path()), Arc::new(clock)).unwrap();
    let mut receiver = Receiver::default();
    let series = |device: &str| format!("node_network_transmit_bytes_total{{device=\"{device}\"}}");
    assert_eq!(pass(&mut reader, &mut receiver, 1000)[&series("eth0")], 9.0);
    net(&["lo", "wg0"]);
    let second = pass(&mut reader, &mut receiver, 2000);
    assert!(second.contains_key(&series("wg0")) && !second.contains_key(&series("eth0")));
    assert!(!receiver.labels.values().any(|l| l.contains("eth0")), "retired");
    net(&["lo", "eth0"]);
    assert!(pass(&mut reader, &mut receiver, 3000).contains_key(&series("eth0")));
}

#[test]
fn processor_time_never_goes_back_except_when_the_processor_comes_back() {
    let root = tempfile::tempdir().unwrap();
    let mut reader = NodeReader::new(&config(root.path()), Arc::new(ManualClock::at(0))).unwrap();
    let mut receiver = Receiver::default();
    let mut idle_and_wait = |idle: u64, wait: u64, time: i64| {
        write(root.path(), "proc/stat", &format!("cpu0 1 2 3 {idle} {wait} 0 0 0 0 0\n"));
        let samples = pass(&mut reader, &mut receiver, time);
        ["idle", "iowait"].map(|m| samples[&format!("node_cpu_seconds_total{{cpu=\"0\", mode=\"{m}\"}}")])
    };
    assert_eq!(idle_and_wait(1000, 500, 1), [10.0, 5.0]);
    assert_eq!(idle_and_wait(990, 400, 2), [10.0, 5.0], "a small step back is the kernel's rounding");
    assert_eq!(idle_and_wait(1010, 501, 3), [10.1, 5.01]);
    assert_eq!(idle_and_wait(100, 50, 4), [1.0, 0.5], "a processor that came back begins anew");
}

#[test]
fn two_readers_share_numbers_and_a_row() {
    let config = Config { runtime_sockets: Vec::new(), ..Config::default() };
    let clock = Arc::new(ManualClock::at(0));
    let (mut a, mut b) =
        (NodeReader::new(&config, clock.clone()).unwrap(), NodeReader::new(&config, clock).unwrap());
    let mut samples = Samples::default();
    a.collect(5, &mut samples);
    b.collect(5, &mut samples);
    assert_eq!(samples.rows.len(), 1);
    let numbers: BTreeSet<u32> = samples.rows[0].series.iter().copied().collect();
    assert_eq!(numbers.len(), samples.rows[0].series.len());
}

#[test]
fn this_machine_is_read() {
    // A busy machine may start the thread for file systems late.
    let config = Config { filesystem_wait_ms: 60_000, ..Config::default() };
    let mut reader = NodeReader::new(&config, Arc::new(vedette_sys::SystemClock)).unwrap();
    let mut receiver = Receiver::default();
    let samples = pass(&mut reader, &mut receiver, 1000);
    assert!(samples["node_memory_MemTotal_bytes"] > 0.0);
    assert!(samples.keys().any(|k| k.starts_with("node_cpu_seconds_total")));
    assert!(samples.keys().any(|k| k.starts_with("node_uname_info")));
    assert!(samples.keys().any(|k| k.starts_with("node_filesystem_size_bytes")), "{:?}", reader.report());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn garbage_in_any_file_does_no_harm(
        texts in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                "([a-zA-Z0-9:()= .-]{0,12}[ :\n]){0,40}".prop_map(String::into_bytes),
            ],
            13,
        ),
    ) {
        let root = tempfile::tempdir().unwrap();
        let files = [
            "stat", "loadavg", "meminfo", "vmstat", "pressure/cpu", "diskstats", "1/mountinfo", "net/dev",
            "net/netstat", "net/snmp", "net/snmp6", "net/sockstat", "sys/fs/file-nr",
        ];
        for (file, text) in files.into_iter().zip(&texts) {
            let path = root.path().join("proc").join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut reader = NodeReader::new(&config(root.path()), Arc::new(ManualClock::at(0))).unwrap();
        let mut samples = Samples::default();
        reader.collect(1, &mut samples);
        reader.collect(2, &mut samples);
        prop_assert_eq!(samples.rows.len(), 2);
    }
}

/// Unpacks the text archive in which the fixtures keep sysfs.
fn unpack_ttar(archive: &str, to: &Path) {
    let mut lines = archive.lines();
    let mut path = PathBuf::new();
    while let Some(line) = lines.next() {
        if let Some(folder) = line.strip_prefix("Directory: ") {
            std::fs::create_dir_all(to.join(folder)).unwrap();
        } else if let Some(file) = line.strip_prefix("Path: ") {
            path = to.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        } else if let Some(target) = line.strip_prefix("SymlinkTo: ") {
            let _ = std::os::unix::fs::symlink(target, &path);
        } else if let Some(count) = line.strip_prefix("Lines: ") {
            let text: Vec<&str> = lines.by_ref().take(count.parse().unwrap()).collect();
            let text = text.join("\n").replace("NULLBYTE", "\0") + "\n";
            std::fs::write(&path, text.replace("EOF\n", "")).unwrap();
        }
    }
}

/// Families of the collectors that are compared with node_exporter's own fixture.
const COMPARED: [&str; 16] = [
    "node_boot_time_seconds",
    "node_context_switches_total",
    "node_cpu_seconds_total",
    "node_cpu_guest_seconds_total",
    "node_entropy_",
    "node_filefd_",
    "node_forks_total",
    "node_intr_total",
    "node_load",
    "node_memory_",
    "node_netstat_",
    "node_network_",
    "node_pressure_",
    "node_procs_",
    "node_sockstat_",
    "node_vmstat_",
];

#[test]
fn the_fixtures_of_node_exporter_give_its_output() {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/node_exporter");
    let archive = suite.join("fixtures-v1.12.tar.gz");
    if !archive.exists() {
        println!("SKIPPED node_exporter fixtures: {} is not there", archive.display());
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let unpacked =
        std::process::Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(root.path()).status();
    assert!(unpacked.unwrap().success());
    let fixtures = root.path().join("collector/fixtures");
    unpack_ttar(&std::fs::read_to_string(fixtures.join("sys.ttar")).unwrap(), &fixtures);

    // The output was made with the option to ignore these two.
    for ignored in ["dmz", "int"] {
        std::fs::remove_dir_all(fixtures.join("sys/class/net").join(ignored)).unwrap();
    }
    let mut reader = NodeReader::new(&config(&fixtures), Arc::new(ManualClock::at(0))).unwrap();
    let mut receiver = Receiver::default();
    let ours = pass(&mut reader, &mut receiver, 1000);
    let text = std::fs::read_to_string(fixtures.join("e2e-output.txt")).unwrap();
    // Counters of the network come from the machine that made the output, its other disks' facts
    // from udev, and memory by NUMA node from a collector that is off by default.
    let disk =
        |name: &str| name.starts_with("node_disk_") && !["_info", "_ata_"].iter().any(|w| name.contains(w));
    let compared = |name: &str| {
        (disk(name) || COMPARED.iter().any(|c| name.starts_with(c)))
            && !name.starts_with("node_memory_numa_")
            && !["node_network_receive_", "node_network_transmit_"]
                .iter()
                .any(|p| name.starts_with(p) && name != "node_network_transmit_queue_length")
    };
    let kinds: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|l| l.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| (name, if kind == "untyped" { "unknown" } else { kind }))
        .collect();
    let mut failures = Vec::new();
    let mut passed = 0;
    let mut expected = BTreeSet::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        if !compared(name) {
            continue;
        }
        let series = canonical(series);
        let value: f64 = value.parse().unwrap();
        let kind = receiver.kinds.get(name).map(|k| k.as_str());
        match ours.get(&series) {
            Some(own) if (own - value).abs() <= value.abs() * 1e-12 && kind == kinds.get(name).copied() => {
                passed += 1;
            }
            other => failures.push(format!("{series}: {other:?} ({kind:?}) instead of {value}")),
        }
        expected.insert(series);
    }
    for (series, value) in ours.iter().filter(|(s, _)| compared(s.split('{').next().unwrap())) {
        if !expected.contains(series) && !series.contains("receive_nohandler") {
            failures.push(format!("{series} {value} is not expected"));
        }
    }
    println!("{passed} passed, {} failed, 0 skipped", failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(passed > 400, "only {passed} compared");
}

/// A series of the exposition as our labels show it: sorted, without empty values.
fn canonical(series: &str) -> String {
    let Some((name, labels)) = series.split_once('{') else { return series.to_owned() };
    let pairs = labels.trim_end_matches('}').split("\",").filter_map(|pair| {
        let (name, value) = pair.split_once("=\"")?;
        Some((name.to_owned(), value.trim_end_matches('"').to_owned()))
    });
    let labels = vedette_model::Labels::from_pairs(pairs.chain([("__name__".to_owned(), name.to_owned())]));
    labels.to_string()
}
