use std::{collections::BTreeMap, sync::mpsc};

use vedette_model::{Samples, status::Health};
use vedette_sys::ManualClock;

use super::*;
use crate::node::NodeReader;

#[test]
fn what_lies_in_an_excluded_folder_is_excluded() {
    for (folder, mount_point, expected) in [
        ("/dev", "/dev", true),
        ("/dev", "/dev/shm", true),
        ("/dev", "/devices", false),
        ("/var/lib/docker/", "/var/lib/docker", false),
        ("/var/lib/docker/", "/var/lib/docker/overlay2/x", true),
        ("/sys", "/", false),
    ] {
        assert_eq!(covers(folder, mount_point), expected, "{folder} {mount_point}");
    }
}

#[test]
fn mountinfo_is_read_with_its_escapes_and_optional_fields() {
    let text = b"29 1 259:2 / / rw,relatime shared:1 master:2 - ext4 /dev/dm-2 errors=remount-ro\n\
        30 29 260:0 / /mnt/a\\040b ro - nfs4 server:/x rw\n\
        31 29 0:1 / /r rw - tmpfs none ro,size=1\n\
        nonsense\n32 1 7 / / rw - x\n";
    let mounts = parse_mounts(text);
    let told: Vec<_> =
        mounts.iter().map(|m| (m.mount_point.as_str(), m.fstype.as_str(), m.read_only)).collect();
    assert_eq!(told, [("/", "ext4", false), ("/mnt/a b", "nfs4", true), ("/r", "tmpfs", true)]);
    assert_eq!(mounts[0].major_minor, ("259".into(), "2".into()));
}

/// Lets the mount that hangs go when it is dropped.
static HOLD: Mutex<Option<mpsc::Receiver<()>>> = Mutex::new(None);

fn probe(path: &str, ask: Ask) -> Arc<Probe> {
    let state = Mutex::new(ProbeState { running_since: None, last: None });
    Arc::new(Probe { path: CString::new(path).unwrap(), ask, state })
}

#[test]
fn a_mount_that_hangs_holds_up_neither_the_pass_nor_the_others() {
    let (let_go, held) = mpsc::channel::<()>();
    *HOLD.lock() = Some(held);
    let hangs: Ask = |_| {
        let hold = HOLD.lock().take();
        let _ = hold.map(|hold| hold.recv());
        Ok([1.0; 5])
    };
    let workers = Workers::start("statvfs").unwrap();
    let probes = [probe("/hangs", hangs), probe("/works", |_| Ok([1.0; 5]))];
    workers.set(probes.to_vec());
    let works = || probes[1].state.lock().last.is_some();
    // The first thread hangs; with no time to wait, a pass comes back at once and makes another.
    for _ in 0..10_000 {
        workers.ask(Duration::ZERO);
        workers.wait(Duration::from_millis(5));
        if works() {
            break;
        }
    }
    assert!(works(), "the other mount was asked");
    let hanging = *probes[0].state.lock();
    assert!(hanging.running_since.is_some() && hanging.last.is_none());
    // Once the mount answers, it is asked as the others are.
    drop(let_go);
    for _ in 0..10_000_000 {
        std::thread::yield_now();
        workers.ask(Duration::from_secs(3600));
        workers.wait(Duration::from_millis(5));
        if probes[0].state.lock().last.is_some() {
            return;
        }
    }
    panic!("the mount that came back was not asked again");
}

/// Lets the mount of the machine below go.
static MACHINE: Mutex<Option<mpsc::Receiver<()>>> = Mutex::new(None);

/// The mount hangs for as long as the test wants: a pass that waited for it would never end.
#[test]
fn a_machine_with_a_mount_that_hangs_is_read_and_names_it() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("proc/1/mountinfo", "1 0 8:1 / /hangs rw - nfs4 s:/x rw\n2 0 8:2 / /works rw - ext4 /dev/b rw\n");
    write("proc/loadavg", "1.5 1 1 1/1 1\n");
    let config = Config {
        proc_root: root.path().join("proc"),
        sys_root: root.path().join("sys"),
        filesystem_wait_ms: 1,
        filesystem_timeout_ms: 20,
        ..Config::default()
    };
    let (let_go, held) = mpsc::channel::<()>();
    *MACHINE.lock() = Some(held);
    let mut reader = NodeReader::new(&config, Arc::new(ManualClock::at(0))).unwrap();
    let mut file_systems = FileSystems::new(&config, reader.courses.clone()).unwrap();
    file_systems.ask = |path| {
        let hold = path.to_bytes().ends_with(b"/hangs").then(|| MACHINE.lock().take()).flatten();
        let _ = hold.map(|hold| hold.recv());
        Ok([1.0; 5])
    };
    let slot = reader.slots.iter_mut().find(|slot| slot.collector.name() == "filesystem").unwrap();
    slot.collector = Box::new(file_systems);

    let mut labels: BTreeMap<u32, String> = BTreeMap::new();
    let mut pass = |reader: &mut NodeReader| {
        let mut samples = Samples::default();
        reader.collect(1000, &mut samples);
        labels.extend(samples.defined.iter().map(|d| (d.series, d.labels.to_string())));
        let row = &samples.rows[0];
        let told: BTreeMap<String, f64> =
            row.series.iter().map(|s| labels[s].clone()).zip(row.values.iter().copied()).collect();
        assert_eq!(told.get("node_load1"), Some(&1.5), "whatever hangs, the rest is told");
        told
    };
    let of = |point: &str, error: &str, family: &str| {
        let (device, fstype) = if point == "/hangs" { ("s:/x", "nfs4") } else { ("/dev/b", "ext4") };
        let error = if error.is_empty() { String::new() } else { format!(", device_error=\"{error}\"") };
        format!(
            "node_filesystem_{family}{{device=\"{device}\"{error}, fstype=\"{fstype}\", mountpoint=\"{point}\"}}"
        )
    };
    let success = |name: &str| format!("node_scrape_collector_success{{collector=\"{name}\"}}");
    let mut until = |reader: &mut NodeReader, is_so: &dyn Fn(&BTreeMap<String, f64>) -> bool| {
        let found = (0..60_000).map(|_| pass(reader)).find(|told| is_so(told));
        found.unwrap_or_else(|| panic!("{:?}", reader.report()))
    };
    let told = until(&mut reader, &|told| {
        let works = told.get(&of("/works", "", "size_bytes")) == Some(&1.0);
        works && told.get(&of("/hangs", TIMEOUT, "device_error")) == Some(&1.0)
    });
    assert!(!told.contains_key(&of("/hangs", "", "size_bytes")), "nobody knows it");
    assert_eq!((told[&success("filesystem")], told[&success("loadavg")]), (0.0, 1.0));
    let state = reader.report().state;
    assert_eq!(state.health, Health::Degraded);
    let told = state.facts.iter().any(|(name, text)| name == "filesystem" && text.contains("/hangs"));
    assert!(told, "{state:?}");

    drop(let_go);
    let told = until(&mut reader, &|told| told.contains_key(&of("/hangs", "", "size_bytes")));
    assert_eq!(told[&success("filesystem")], 1.0);
}
