use std::fs;

use proptest::prelude::*;
use vedette_model::Samples;
use vedette_sys::ManualClock;

use super::*;
use crate::{SeriesNumbers, series::SeriesTable};

/// What `du` would say: blocks of all that is there, each file once.
fn counted_naively(folder: &Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    fn go(path: &Path, seen: &mut std::collections::BTreeSet<u64>, sum: &mut (u64, u64)) {
        let meta = fs::symlink_metadata(path).unwrap();
        if !seen.insert(meta.ino()) {
            return;
        }
        sum.0 += meta.blocks() * 512;
        sum.1 += 1;
        if meta.is_dir() {
            fs::read_dir(path).unwrap().for_each(|entry| go(&entry.unwrap().path(), seen, sum));
        }
    }
    let mut sum = (0, 0);
    go(folder, &mut Default::default(), &mut sum);
    sum
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever lies in a layer, the walk counts what a naive one does.
    #[test]
    fn a_walk_counts_each_file_once(
        files in proptest::collection::vec((0u8..4, 0u8..4, 0usize..20_000, 0u8..3), 0..40),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("big"), vec![1; 1 << 20]).unwrap();
        for (i, (a, b, bytes, kind)) in files.iter().enumerate() {
            let inner = folder.path().join(format!("d{a}/e{b}"));
            fs::create_dir_all(&inner).unwrap();
            let path = inner.join(i.to_string());
            match kind {
                0 => fs::write(&path, vec![7; *bytes]).unwrap(),
                1 => {
                    fs::write(&path, vec![7; *bytes]).unwrap();
                    fs::hard_link(&path, folder.path().join(format!("link{i}"))).unwrap();
                }
                _ => std::os::unix::fs::symlink(outside.path(), &path).unwrap(),
            }
        }
        let mut walk = Walk::new(folder.path()).unwrap();
        prop_assert!(walk.run(&ManualClock::at(0), |_| true));
        prop_assert_eq!((walk.bytes, walk.inodes), counted_naively(folder.path()));
        prop_assert!(!walk.partial);
    }

    #[test]
    fn no_mountinfo_does_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = upper_folder(&bytes);
        let _ = mount_of(&bytes, b"8:1");
    }
}

#[test]
fn a_walk_ends_at_its_bound_and_rests_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    (0..300).for_each(|i| fs::write(folder.path().join(i.to_string()), "x").unwrap());
    let mut walk = Walk::new(folder.path()).unwrap().with_entries_max(100);
    assert!(walk.run(&ManualClock::at(0), |_| true));
    assert!(walk.partial && walk.inodes == 101, "{}", walk.inodes);
    /// Each look at it takes a millisecond.
    struct Slow(ManualClock);
    impl Clock for Slow {
        fn unix_ns(&self) -> i64 {
            self.0.unix_ns()
        }
        fn monotonic(&self) -> MonotonicTime {
            self.0.advance(Duration::from_millis(1));
            self.0.monotonic()
        }
    }
    let slow = Slow(ManualClock::at(0));
    let mut rests = Vec::new();
    let mut walk = Walk::new(folder.path()).unwrap();
    assert!(walk.run(&slow, |rest| {
        rests.push(rest);
        true
    }));
    assert!(!rests.is_empty() && rests.iter().all(|rest| *rest >= Duration::from_millis(100)), "{rests:?}");
    let mut walk = Walk::new(folder.path()).unwrap();
    assert!(!walk.run(&slow, |_| false), "told to stop");
}

#[test]
fn the_upper_folder_of_the_root_is_found_and_nonsense_is_not_followed() {
    let line = |point: &str, fstype: &str, options: &str| {
        format!("9 1 0:40 / {point} rw - {fstype} overlay {options}\n")
    };
    let of = |text: &str| upper_folder(text.as_bytes());
    let plain = line("/", "overlay", "rw,lowerdir=/l,upperdir=/var/snapshots/1/fs,workdir=/w");
    assert_eq!(of(&plain), Some("/var/snapshots/1/fs".into()));
    assert_eq!(of(&line("/x", "overlay", "rw,upperdir=/u")), None, "not the root");
    assert_eq!(of(&line("/", "ext4", "rw,upperdir=/u")), None);
    assert_eq!(of(&line("/", "overlay", "rw,upperdir=relative/fs")), None);
    assert_eq!(of(&line("/", "overlay", "rw,upperdir=/a/../../etc")), None);
    assert_eq!(of(&line("/", "overlay", "rw,upperdir=/")), None);
    let covered = plain + &line("/", "overlay", "rw,upperdir=/second");
    assert_eq!(of(&covered), Some("/second".into()), "what is mounted last is seen");
    assert_eq!(of(&line("/", "overlay", "rw,upperdir=/with\\040blank")), Some("/with blank".into()));
}

#[test]
fn a_device_is_named_as_it_is_mounted_whole() {
    let text = b"1 1 8:1 /sub /a rw - ext4 /dev/sda1 rw\n2 1 8:1 / /b rw shared:1 - ext4 /dev/sda1 rw\n3 1 0:9 / /t rw - tmpfs none rw\n";
    let device = mount_of(text, b"8:1").unwrap();
    assert_eq!((&*device.name, device.mount_point), ("/dev/sda1", Some("b".into())));
    assert_eq!(&*mount_of(text, b"0:9").unwrap().name, "tmpfs");
    assert!(mount_of(text, b"9:9").is_none());
}

/// A machine with one container whose layer is a folder.
fn machine() -> (tempfile::TempDir, Storage, Counter, Wanted) {
    let root = tempfile::tempdir().unwrap();
    let layer = root.path().join("layer");
    fs::create_dir_all(&layer).unwrap();
    fs::write(layer.join("f"), vec![1; 100_000]).unwrap();
    fs::create_dir_all(root.path().join("proc/42")).unwrap();
    fs::write(
        root.path().join("proc/42/mountinfo"),
        format!("9 1 0:40 / / rw - overlay overlay rw,upperdir={}\n", layer.display()),
    )
    .unwrap();
    let config = Config { proc_root: root.path().join("proc"), ..Config::default() };
    let storage = Storage::idle();
    let counter = Counter::new(Places::of(&config), storage.shared.clone(), 0);
    let wanted = Wanted { generation: 1, container_id: "c".into(), pid: 42 };
    (root, storage, counter, wanted)
}

fn told(storage: &mut Storage, now: MonotonicTime) -> Vec<(String, f64)> {
    let (mut table, mut samples) = (SeriesTable::new(SeriesNumbers::default()), Samples::default());
    let mut pass = table.pass(1000, &mut samples);
    storage.put(1, &BaseLabels { id: "/c".into(), ..BaseLabels::default() }, now, &mut pass);
    storage.end(1, &mut pass);
    let labels = samples.defined.iter().map(|d| d.labels.to_string());
    labels.zip(samples.rows.iter().flat_map(|row| row.values.clone())).collect()
}

#[test]
fn a_layer_is_walked_when_it_is_due_and_a_runtime_that_counts_spares_the_walk() {
    let (root, mut storage, mut counter, wanted) = machine();
    let clock = ManualClock::at(0);
    storage.want(std::iter::once(wanted.clone()));
    counter.round(std::slice::from_ref(&wanted), &clock);
    let (bytes, inodes) = counted_naively(&root.path().join("layer"));
    clock.advance(Duration::from_secs(7));
    let figures = told(&mut storage, clock.monotonic());
    let get = |name: &str| figures.iter().find(|(labels, _)| labels.starts_with(name)).map(|(_, v)| *v);
    assert_eq!(get("container_fs_usage_bytes"), Some(bytes as f64));
    assert_eq!(get("container_fs_inodes_used"), Some(inodes as f64));
    assert_eq!(get("container_fs_usage_age_seconds"), Some(7.0));
    assert!(figures.iter().any(|(labels, _)| labels.contains("source=\"walk\"")));
    assert!(get("container_fs_limit_bytes").unwrap() > 0.0);
    // Not due: what was written since is not known yet.
    fs::write(root.path().join("layer/g"), vec![1; 500_000]).unwrap();
    counter.round(std::slice::from_ref(&wanted), &clock);
    assert_eq!(told(&mut storage, clock.monotonic())[0].1, bytes as f64);
    clock.advance(Duration::from_secs(60));
    storage.told(HashMap::from([(
        "c".to_owned(),
        Layer { bytes: 123, inodes: Some(4), at: clock.monotonic() },
    )]));
    counter.round(std::slice::from_ref(&wanted), &clock);
    let figures = told(&mut storage, clock.monotonic());
    assert_eq!(figures[0].1, 123.0);
    // What it told is old: back to the walk.
    clock.advance(Duration::from_secs(200));
    counter.round(std::slice::from_ref(&wanted), &clock);
    let now = told(&mut storage, clock.monotonic())[0].1;
    assert_eq!(now, counted_naively(&root.path().join("layer")).0 as f64);
}

#[test]
fn a_layer_that_cannot_be_counted_is_told_and_one_that_is_gone_is_forgotten() {
    let (root, mut storage, mut counter, wanted) = machine();
    let clock = ManualClock::at(0);
    fs::remove_dir_all(root.path().join("layer")).unwrap();
    storage.want(std::iter::once(wanted.clone()));
    counter.round(std::slice::from_ref(&wanted), &clock);
    let failure = storage.failure().unwrap();
    assert!(failure.contains("of 1 containers") && failure.contains("layer"), "{failure}");
    assert_eq!(told(&mut storage, clock.monotonic()), []);
    fs::remove_dir_all(root.path().join("proc/42")).unwrap();
    clock.advance(Duration::from_secs(100));
    counter.round(std::slice::from_ref(&wanted), &clock);
    assert_eq!(storage.failure(), None, "it ended: nothing is wrong");
    counter.round(&[], &clock);
    assert!(counter.due.is_empty());
}

/// Lets the disk that hangs go when it is dropped.
static HOLD: Mutex<Option<std::sync::mpsc::Receiver<()>>> = Mutex::new(None);

#[test]
fn a_disk_that_hangs_holds_up_no_other_and_is_named_until_it_answers() {
    let root = tempfile::tempdir().unwrap();
    let layer = |pid: u32, name: &str| {
        let folder = root.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        let process = root.path().join(format!("proc/{pid}"));
        fs::create_dir_all(&process).unwrap();
        let text = format!("9 1 0:40 / / rw - overlay overlay rw,upperdir={}\n", folder.display());
        fs::write(process.join("mountinfo"), text).unwrap();
        Wanted { generation: pid.into(), container_id: name.into(), pid }
    };
    let wanted = [layer(1, "hangs"), layer(2, "works")];
    let (let_go, held) = std::sync::mpsc::channel::<()>();
    *HOLD.lock() = Some(held);
    let ask: Ask = |path| {
        let hold = path.ends_with("hangs").then(|| HOLD.lock().take()).flatten();
        let _ = hold.map(|hold| hold.recv());
        rustix::fs::statvfs(path)
    };
    let storage =
        Storage::start_at(Places { proc_root: root.path().join("proc"), root: "/".into(), ask }).unwrap();
    storage.want(wanted.into_iter());
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        for _ in 0..60_000 {
            if is_so() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("{what}: {:?}", storage.failure());
    };
    let counted = |generation: u64| storage.shared.state.lock().counted.contains_key(&generation);
    until("the disk is asked", &|| HOLD.lock().is_none());
    storage.look_after(SystemClock.monotonic());
    assert_eq!(storage.failure(), None, "it may still answer in time");
    let late = MonotonicTime(SystemClock.monotonic().0 + nanos(silence::ANSWER_MAX));
    storage.look_after(late);
    until("the other is counted", &|| counted(2));
    assert!(!counted(1));
    let failure = storage.failure().unwrap();
    assert!(failure.contains("hangs does not answer;"), "{failure}");
    // The thread that was left to it has nothing to tell any more, and ends.
    drop(let_go);
    until("the disk answers", &|| storage.failure().is_none_or(|f| !f.contains("does not answer")));
    assert!(storage.shared.state.lock().silence.is_current(1), "one other thread was enough");
}

#[test]
fn no_more_places_hold_a_thread_than_there_may_be() {
    let mut silence = Silence::default();
    let late = |thread: u64| MonotonicTime((thread + 1) * nanos(silence::ANSWER_MAX));
    for thread in 0..8 {
        let place = PathBuf::from(format!("/{thread}"));
        assert!(silence.ask(thread, &place, MonotonicTime(0)) && silence.leave(MonotonicTime(1)).is_none());
        assert_eq!(silence.leave(late(thread)), Some(thread + 1));
        assert!(!silence.ask(thread + 1, &place, late(thread)), "it owes an answer");
    }
    assert!(silence.ask(8, Path::new("/8"), MonotonicTime(0)));
    assert_eq!(silence.leave(late(9)), None);
    assert_eq!(silence.places(), Some((Path::new("/0"), 8)));
    silence.answered(3, Path::new("/3"));
    assert_eq!(silence.leave(late(9)), Some(9));
}

#[test]
fn a_thread_that_nobody_follows_goes_on_itself() {
    let mut silence = Silence::default();
    let place = Path::new("/a");
    assert!(silence.ask(0, place, MonotonicTime(0)));
    assert_eq!(silence.leave(MonotonicTime(nanos(silence::ANSWER_MAX))), Some(1));
    assert!(!silence.is_current(0));
    silence.stay();
    assert!(silence.is_current(0));
    silence.answered(0, place);
    assert_eq!(silence.places(), None);
}

#[test]
fn what_a_project_quota_counts_is_not_walked() {
    // Of the whole disk and of the layer below a quota: sizes in blocks of 4 KiB, and inodes.
    let ask: Ask = |path| {
        let mut told = rustix::fs::statvfs("/")?;
        let (blocks, free) = if path.ends_with("layer") { (100, 40) } else { (1000, 900) };
        (told.f_frsize, told.f_blocks, told.f_bfree) = (4096, blocks, free);
        (told.f_files, told.f_ffree) = (50, 20);
        Ok(told)
    };
    let everywhere: Ask = |_| rustix::fs::statvfs("/");
    for (ask, source) in [(ask, "quota"), (everywhere, "walk")] {
        let (root, mut storage, _, wanted) = machine();
        let proc_root = root.path().join("proc");
        let device = rustix::fs::stat(root.path()).unwrap().st_dev;
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        fs::create_dir_all(proc_root.join("1")).unwrap();
        let mounted = format!("1 1 {major}:{minor} / / rw - xfs /dev/vdq rw\n");
        fs::write(proc_root.join("1/mountinfo"), mounted).unwrap();
        let places = Places { proc_root, root: "/".into(), ask };
        let mut counter = Counter::new(places, storage.shared.clone(), 0);
        let clock = ManualClock::at(0);
        storage.want(std::iter::once(wanted.clone()));
        counter.round(std::slice::from_ref(&wanted), &clock);
        let figures = told(&mut storage, clock.monotonic());
        let get = |name: &str| figures.iter().find(|(labels, _)| labels.starts_with(name)).map(|(_, v)| *v);
        let has = |text: &str| figures.iter().any(|(labels, _)| labels.contains(text));
        assert!(has(&format!("source=\"{source}\"")) && has("device=\"/dev/vdq\""), "{figures:?}");
        if source == "quota" {
            assert_eq!(get("container_fs_usage_bytes"), Some(60.0 * 4096.0));
            assert_eq!(get("container_fs_limit_bytes"), Some(100.0 * 4096.0));
            assert_eq!(get("container_fs_inodes_used"), Some(30.0));
        }
    }
}

#[test]
fn figures_go_on_under_the_names_that_a_container_gets() {
    let (_root, mut storage, mut counter, wanted) = machine();
    let clock = ManualClock::at(0);
    storage.want(std::iter::once(wanted.clone()));
    counter.round(std::slice::from_ref(&wanted), &clock);
    let mut table = SeriesTable::new(SeriesNumbers::default());
    let mut before = Vec::new();
    for name in ["", "web"] {
        let base = BaseLabels { id: "/c".into(), name: name.into(), ..BaseLabels::default() };
        for is_first in [true, false] {
            let mut samples = Samples::default();
            storage.put(1, &base, clock.monotonic(), &mut table.pass(1000, &mut samples));
            let defined: Vec<u32> = samples.defined.iter().map(|d| d.series).collect();
            if is_first {
                assert!(defined.len() > 4, "{samples:?}");
                assert!(samples.defined.iter().all(|d| d.labels.get("name").unwrap_or("") == name));
                assert_eq!(samples.retired, before);
                before = defined;
            } else {
                assert_eq!((defined, samples.retired), (vec![], vec![]));
            }
        }
    }
}

/// A clock on which every look at it takes a second.
#[derive(Default)]
struct Slow(std::sync::atomic::AtomicU64);

impl Clock for Slow {
    fn unix_ns(&self) -> i64 {
        0
    }

    fn monotonic(&self) -> MonotonicTime {
        let seconds = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        MonotonicTime(seconds * nanos(Duration::from_secs(1)))
    }
}

#[test]
fn a_walk_that_rests_owes_no_answer() {
    let (root, storage, mut counter, wanted) = machine();
    (0..200).for_each(|i| fs::write(root.path().join(format!("layer/{i}")), "x").unwrap());
    let walking = std::thread::spawn(move || counter.count(&wanted, &Slow::default()));
    // It works for a second, as its clock says, and then rests for fifty times as long. Between one place and
    // the next none is asked for a moment, either.
    let mut at_rest = 0;
    for _ in 0..4_000 {
        std::thread::sleep(Duration::from_millis(5));
        at_rest = if storage.shared.state.lock().silence.is_asked() { 0 } else { at_rest + 1 };
        if at_rest == 50 {
            break;
        }
    }
    assert!(at_rest == 50 && !walking.is_finished(), "it rests");
    let shared = storage.shared.clone();
    drop(storage);
    assert_eq!(walking.join().unwrap(), Ok(None), "it ends with the one who waits for it");
    assert!(shared.state.lock().counted.is_empty());
}
