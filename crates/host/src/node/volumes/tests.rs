use std::{collections::BTreeMap, io, time::Duration};

use proptest::prelude::*;
use vedette_sys::ManualClock;

use super::*;
use crate::node::{lvm_metadata::tests as image, tests::told};

fn write(root: &Path, path: &str, bytes: impl AsRef<[u8]>) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// A machine with a thin pool of LVM on one disk.
fn machine(root: &Path) -> Config {
    for (device, name, uuid) in [
        ("dm-0", "my--data-pool_tdata", "LVM-aaaa-tdata"),
        ("dm-1", "my--data-pool-tpool", "LVM-bbbb-tpool"),
        ("dm-2", "secret", "CRYPT-LUKS2-x"),
    ] {
        write(root, &format!("sys/block/{device}/dm/name"), format!("{name}\n"));
        write(root, &format!("sys/block/{device}/dm/uuid"), format!("{uuid}\n"));
        write(root, &format!("sys/block/{device}/dm/suspended"), "0\n");
    }
    write(root, "sys/block/dm-0/slaves/sdb/dev", "8:16\n");
    write(root, "sys/block/dm-1/slaves/dm-0/dev", "253:0\n");
    write(root, "sys/block/dm-2/slaves/sdc/dev", "8:32\n");
    write(root, "dev/sdb", image::device(image::TEXT, false));
    Config { sys_root: root.join("sys"), root: root.into(), ..Config::default() }
}

fn targets(name: &str, table: bool, pool: &str) -> io::Result<Vec<MapperTarget>> {
    let target = |kind: &str, text: &str| MapperTarget { kind: kind.into(), text: text.into() };
    Ok(vec![match (name, table) {
        ("my--data-pool-tpool", true) => target("thin-pool", "253:2 253:0 128 0 0"),
        ("my--data-pool-tpool", false) => target("thin-pool", pool),
        _ => target("linear", ""),
    }])
}

fn of(samples: &BTreeMap<String, f64>, name: &str) -> f64 {
    *samples.get(name).unwrap_or_else(|| panic!("{name} is not among {:#?}", samples.keys()))
}

#[test]
fn a_thin_pool_and_its_group_are_told_and_when_they_will_be_full() {
    let root = tempfile::tempdir().unwrap();
    let config = machine(root.path());
    let clock = ManualClock::at(0);
    let mut volumes = Volumes::new(&config, Arc::new(clock.clone()), Courses::open(None));
    for minute in 0..30 {
        // A block each second: the 10,000 of the data last another 8,200 seconds.
        let pool = format!("7 50/1000 {}/10000 - rw discard_passdown queue_if_no_space - 1024", minute * 60);
        volumes.ask = Box::new(move |name, table| targets(name, table, &pool));
        clock.advance(Duration::from_secs(60));
        let samples = told(&mut volumes).unwrap();
        let labels = "{device=\"dm-1\", lv=\"pool\", vg=\"my-data\"}";
        let part = |part| format!("{{device=\"dm-1\", lv=\"pool\", part=\"{part}\", vg=\"my-data\"}}");
        let used = f64::from(minute * 60);
        assert_eq!(of(&samples, &format!("node_lvm_thin_pool_data_percent{labels}")), used / 100.0);
        assert_eq!(of(&samples, &format!("node_lvm_thin_pool_metadata_percent{labels}")), 5.0);
        let bytes = of(&samples, &format!("node_lvm_thin_pool_used_bytes{}", part("data")));
        assert_eq!(bytes, used * 65_536.0);
        let size = of(&samples, &format!("node_lvm_thin_pool_size_bytes{}", part("metadata")));
        assert_eq!(size, 4_096_000.0);
        let hours = samples.get(&format!("node_lvm_thin_pool_until_full_hours{}", part("data")));
        let group_hours = samples.get("node_lvm_volume_group_until_full_hours{vg=\"data\"}");
        if minute < 7 {
            assert_eq!((hours, group_hours), (None, None));
        } else {
            assert!((hours.unwrap() - (10_000.0 - used) / 3600.0).abs() < 1e-9, "{hours:?}");
            assert_eq!(group_hours, Some(&f64::INFINITY));
        }
        assert_eq!(of(&samples, "node_lvm_volume_group_size_bytes{vg=\"data\"}"), 150.0 * 4_194_304.0);
        assert_eq!(of(&samples, "node_lvm_volume_group_free_bytes{vg=\"data\"}"), 89.0 * 4_194_304.0);
        assert_eq!(of(&samples, "node_lvm_volume_group_physical_volumes_missing{vg=\"data\"}"), 1.0);
    }
}

#[test]
fn what_cannot_be_asked_is_a_failure_and_the_rest_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let config = machine(root.path());
    let mut volumes = Volumes::new(&config, Arc::new(ManualClock::at(0)), Courses::open(None));
    volumes.ask = Box::new(|_, _| Err(io::Error::from(Errno::ACCESS)));
    let mut sheet = Sheet::default();
    sheet.begin();
    let failure = volumes.read(&mut sheet, &mut Buffer::new()).unwrap_err();
    assert_eq!(failure.errno, Errno::ACCESS);
    let config = Config { sys_root: root.path().join("none"), ..config };
    let none =
        told(&mut Volumes::new(&config, Arc::new(ManualClock::at(0)), Courses::open(None))).unwrap_err();
    assert!(none.is_absent(), "a machine without the device-mapper is not broken");
}

#[test]
fn states_of_pools_are_told_apart() {
    for (text, state, check, blocks) in [
        ("1 2/3 4/5 - rw no_discard_passdown queue_if_no_space - 1", "rw", false, Some([(2, 3), (4, 5)])),
        ("1 2/3 4/5 - ro x error_if_no_space needs_check 1", "ro", true, Some([(2, 3), (4, 5)])),
        ("1 2/3 5/5 - out_of_data_space x y - 1", "out_of_data_space", false, Some([(2, 3), (5, 5)])),
        ("Fail", "fail", false, None),
        ("Error", "error", false, None),
        ("", "error", false, None),
    ] {
        assert_eq!(pool_status(text), PoolStatus { state, needs_check: check, blocks }, "{text}");
    }
}

#[test]
fn names_with_dashes_are_taken_apart() {
    for (name, group, volume) in [
        ("my--vg-lv--1-tpool", "my-vg", "lv-1"),
        ("vg-lv", "vg", "lv"),
        ("crypt", "crypt", ""),
        ("a---b", "a-", "b"),
    ] {
        assert_eq!(volume_names(name), (group.to_owned(), volume.to_owned()), "{name}");
    }
}

#[test]
fn snapshots_and_raids_are_told() {
    let labels = [("device", "dm-1"), ("vg", "v"), ("lv", "l")];
    let mut sheet = Sheet::default();
    sheet.begin();
    put_snapshot(&mut sheet, &labels, "16/64 8");
    put_raid(&mut sheet, &labels, "raid1 2 AD 50/200 recover 0 0 -");
    let samples = crate::node::tests::on(&mut sheet);
    let labels = "device=\"dm-1\", lv=\"l\"";
    assert_eq!(of(&samples, &format!("node_lvm_snapshot_used_percent{{{labels}, vg=\"v\"}}")), 25.0);
    let failed = format!("node_lvm_raid_disks{{{labels}, state=\"failed\", vg=\"v\"}}");
    assert_eq!(of(&samples, &failed), 1.0);
    assert_eq!(of(&samples, &format!("node_lvm_raid_synced_percent{{{labels}, vg=\"v\"}}")), 25.0);
    let mut sheet = Sheet::default();
    sheet.begin();
    put_snapshot(&mut sheet, &[("device", "dm-1"), ("vg", "v"), ("lv", "l")], "Invalid");
    let samples = crate::node::tests::on(&mut sheet);
    assert_eq!(samples.values().copied().collect::<Vec<_>>(), [0.0]);
}

proptest! {
    #[test]
    fn garbage_from_the_device_mapper_does_no_harm(text in "[0-9/ a-zA-Z-]{0,40}", name in "[a-z-]{0,12}") {
        let _ = (pool_status(&text), pool_block_bytes(&text), volume_names(&name));
        let mut sheet = Sheet::default();
        sheet.begin();
        put_snapshot(&mut sheet, &[("device", "d"), ("vg", "v"), ("lv", "l")], &text);
        put_raid(&mut sheet, &[("device", "d"), ("vg", "v"), ("lv", "l")], &text);
    }
}
