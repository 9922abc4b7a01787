use std::{fs, time::Duration};

use proptest::prelude::*;
use vedette_sys::ManualClock;

use super::*;
use crate::node::tests::told;

/// A page that says how many pages are in use.
fn page(pages: u64, transaction: u64) -> Vec<u8> {
    let mut bytes = vec![0; META_BYTES];
    bytes[..4].copy_from_slice(&META_MAGIC.to_ne_bytes());
    bytes[4..8].copy_from_slice(&META_VERSION.to_ne_bytes());
    bytes[8..12].copy_from_slice(&4096u32.to_ne_bytes());
    bytes[40..48].copy_from_slice(&pages.to_ne_bytes());
    bytes[48..56].copy_from_slice(&transaction.to_ne_bytes());
    let sum = fnv_1a(&bytes[..META_SUMMED_BYTES]);
    bytes[56..].copy_from_slice(&sum.to_ne_bytes());
    let mut page = vec![0; META_AT as usize];
    page.extend(bytes);
    page.resize(4096, 0);
    page
}

fn database(first: &[u8], second: &[u8]) -> Vec<u8> {
    [first, second, &[0; 8192]].concat()
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn process(proc_root: &Path, pid: u32, arguments: &str, environment: &str) -> PathBuf {
    let folder = proc_root.join(pid.to_string());
    write(&folder.join("comm"), "etcd\n");
    write(&folder.join("cmdline"), arguments.replace(' ', "\0") + "\0");
    write(&folder.join("environ"), environment.replace(' ', "\0"));
    folder
}

#[test]
fn the_database_is_held_against_its_quota_and_when_it_will_be_full_is_told() {
    let root = tempfile::tempdir().unwrap();
    let folder = process(root.path(), 7, "etcd --name m1 --data-dir=/data --quota-backend-bytes 8192000", "");
    write(&root.path().join("8/comm"), "etcdctl\n");
    let clock = ManualClock::at(1_000_000_000_000_000_000);
    let config = Config { proc_root: root.path().to_owned(), ..Config::default() };
    let mut etcd = Etcd::new(&config, Arc::new(clock.clone()), Courses::open(None));
    let labels = "{folder=\"/data\", name=\"m1\"}";
    for minute in 0..10 {
        // A page each second, written into the two places in turn.
        let (old, new) = (page(1, minute), page(100 + minute * 60, minute + 1));
        let pages = if minute % 2 == 0 { [new, old] } else { [old, new] };
        write(&folder.join("root/data/member/snap/db"), database(&pages[0], &pages[1]));
        let samples = told(&mut etcd).unwrap();
        let of = |name: &str| samples.get(&format!("node_etcd_database_{name}{labels}")).copied();
        let used = (100 + minute * 60) * 4096;
        assert_eq!(of("size_bytes"), Some(used as f64));
        assert_eq!(of("quota_bytes"), Some(8_192_000.0));
        match of("until_full_hours") {
            None => assert!(minute < 7),
            Some(hours) => {
                assert!((hours - (8_192_000 - used) as f64 / 4096.0 / 3600.0).abs() < 1e-9, "{hours}");
            }
        }
        clock.advance(Duration::from_secs(60));
    }
}

#[test]
fn where_data_lie_is_told_by_arguments_environment_or_file() {
    let root = tempfile::tempdir().unwrap();
    let of = |arguments: &str, environment: &str, at: &str| {
        let folder = process(root.path(), 7, arguments, environment);
        write(
            &folder.join("root/etc/etcd.yml"),
            "name: 'f'\ndata-dir: /by-file # here\nquota-backend-bytes: -1\n",
        );
        write(&folder.join(at).join("member/snap/db"), database(&page(9, 1), &page(8, 0)));
        let config = Config { proc_root: root.path().to_owned(), ..Config::default() };
        let samples =
            told(&mut Etcd::new(&config, Arc::new(ManualClock::at(1)), Courses::open(None))).unwrap();
        fs::remove_dir_all(folder).unwrap();
        samples.into_iter().map(|(series, value)| format!("{series} {value}")).collect::<Vec<_>>()
    };
    let expected = |folder: &str, name: &str, quota: &str| {
        vec![
            format!("node_etcd_database_quota_bytes{{folder=\"{folder}\", name=\"{name}\"}} {quota}"),
            format!("node_etcd_database_size_bytes{{folder=\"{folder}\", name=\"{name}\"}} 36864"),
        ]
    };
    assert_eq!(of("etcd", "", "cwd/default.etcd"), expected("default.etcd", "default", "2147483648"));
    let environment = "HOME=/ ETCD_DATA_DIR=/e ETCD_QUOTA_BACKEND_BYTES=5000 ETCD_NAME=n";
    assert_eq!(of("etcd", environment, "root/e"), expected("/e", "n", "5000"));
    assert_eq!(
        of("etcd -data-dir /a --quota-backend-bytes=0", environment, "root/a"),
        expected("/a", "n", "2147483648")
    );
    assert_eq!(
        of("etcd --config-file /etc/etcd.yml --name x", environment, "root/by-file"),
        ["node_etcd_database_size_bytes{folder=\"/by-file\", name=\"f\"} 36864"],
        "no quota is no series"
    );
}

#[test]
fn a_machine_without_etcd_is_not_broken_and_a_broken_database_is_told() {
    let root = tempfile::tempdir().unwrap();
    let config = Config { proc_root: root.path().to_owned(), ..Config::default() };
    let etcd = || Etcd::new(&config, Arc::new(ManualClock::at(1)), Courses::open(None));
    assert!(told(&mut etcd()).unwrap_err().is_absent());
    let folder = process(root.path(), 7, "etcd --data-dir /d", "");
    let failure = told(&mut etcd()).unwrap_err();
    assert!(failure.place.ends_with("7/root/d/member/snap/db"), "{failure:?}");
    let mut torn = page(5, 3);
    torn[60] ^= 1;
    let database_file = folder.join("root/d/member/snap/db");
    write(&database_file, database(&torn, &torn));
    assert_eq!(told(&mut etcd()).unwrap_err().errno, Errno::BADMSG);
    write(&database_file, database(&torn, &page(5, 2)));
    assert_eq!(told(&mut etcd()).unwrap().values().copied().fold(0.0, f64::min), 0.0);
    assert_eq!(size(&database_file).unwrap(), 5 * 4096, "the page that is whole counts");
}

proptest! {
    #[test]
    fn garbage_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
        if let Some(bytes) = bytes.first_chunk() {
            let _ = meta(bytes);
        }
        let mut member = Member::default();
        member.by_environment(&bytes);
        member.by_arguments(&bytes);
        member.by_arguments(text.as_bytes());
        member.by_file(&text);
    }
}
