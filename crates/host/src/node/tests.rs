use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
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
        root: root.to_owned(),
        // A busy machine may start the threads late.
        devices_wait_ms: 60_000,
        ..Config::default()
    }
}

/// What a source writes down, by series.
pub(super) fn told(source: &mut dyn Source) -> Result<BTreeMap<String, f64>, Failure> {
    let mut sheet = Sheet::default();
    sheet.begin();
    source.read(&mut sheet, &mut Buffer::new())?;
    Ok(on(&mut sheet))
}

/// What is on a sheet, by series.
pub(super) fn on(sheet: &mut Sheet) -> BTreeMap<String, f64> {
    let mut samples = Samples::default();
    let mut table = SeriesTable::new(crate::SeriesNumbers::default());
    let mut pass = table.pass(1, &mut samples);
    sheet.settle(&mut pass);
    sheet.samples().for_each(|(series, value)| pass.put(series, value));
    Receiver::default().take(&samples)
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
fn hours_until_a_file_system_is_full_are_told_once_its_course_is_known() {
    let root = tempfile::tempdir().unwrap();
    write(
        root.path(),
        "proc/1/mountinfo",
        "29 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 29 8:2 / /proc/1 rw - ext4 /dev/sda2 ro\n",
    );
    let config =
        Config { filesystem_wait_ms: 60_000, mount_points_excluded: Vec::new(), ..config(root.path()) };
    let clock = ManualClock::at(0);
    let mut reader = NodeReader::new(&config, Arc::new(clock.clone())).unwrap();
    let mut receiver = Receiver::default();
    for minute in 0..12 {
        clock.advance(Duration::from_secs(60));
        let samples = pass(&mut reader, &mut receiver, minute * 60_000);
        let labels = |device: &str, point: &str| {
            format!("{{device=\"{device}\", fstype=\"ext4\", mountpoint=\"{point}\"}}")
        };
        let hours = |labels: String| samples.get(&format!("node_filesystem_until_full_hours{labels}"));
        let known = hours(labels("/dev/sda1", "/"));
        assert_eq!(known.is_some(), minute >= 7, "after {minute} minutes");
        assert!(known.is_none_or(|hours| *hours >= 0.0));
        assert_eq!(hours(labels("/dev/sda2", "/proc/1")), None, "nobody can write to it");
    }
    write(root.path(), "proc/1/mountinfo", "29 1 8:1 / /proc rw - ext4 /dev/sda1 rw\n");
    clock.advance(Duration::from_secs(60));
    pass(&mut reader, &mut receiver, 12 * 60_000);
    assert!(!receiver.labels.values().any(|l| l.contains("until_full")), "gone with its mount");
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

mod devices;
