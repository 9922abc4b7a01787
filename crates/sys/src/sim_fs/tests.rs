use super::*;

fn folder() -> PathBuf {
    PathBuf::from("/data")
}

fn sim(seed: u64) -> SimFs {
    let fs = SimFs::new(seed);
    fs.create_dir_all(&folder()).unwrap();
    fs
}

#[test]
fn behaves_like_the_real_file_system() {
    let temp = tempfile::tempdir().unwrap();
    let cases: [(Box<dyn Fs>, PathBuf); 2] = [
        (Box::new(crate::RealFs), temp.path().join("data/x")),
        (Box::new(SimFs::new(1)), PathBuf::from("/data/x")),
    ];
    for (fs, root) in cases {
        assert!(fs.open_append(&root.join("a")).is_err());
        fs.create_dir_all(&root).unwrap();
        let mut a = fs.open_append(&root.join("a")).unwrap();
        a.append(b"hello ").unwrap();
        a.append(b"world").unwrap();
        let mut buffer = [0; 5];
        a.read_exact_at(&mut buffer, 6).unwrap();
        assert_eq!(&buffer, b"world");
        assert_eq!(a.read_exact_at(&mut buffer, 7).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        a.truncate(5).unwrap();
        a.append(b"!").unwrap();
        a.sync().unwrap();
        assert_eq!(a.len().unwrap(), 6);
        fs.open_append(&root.join("b")).unwrap();
        assert_eq!(fs.list(&root).unwrap(), [root.join("a"), root.join("b")]);
        fs.rename(&root.join("a"), &root.join("b")).unwrap();
        fs.sync_dir(&root).unwrap();
        assert_eq!(fs.list(&root).unwrap(), [root.join("b")]);
        assert_eq!(fs.read(&root.join("b")).unwrap(), b"hello!");
        assert_eq!(fs.open_read(&root.join("b")).unwrap().len().unwrap(), 6);
        assert!(fs.exists(&root.join("b")) && !fs.exists(&root.join("a")));
        fs.link(&root.join("b"), &root.join("c")).unwrap();
        let taken = fs.link(&root.join("b"), &root.join("c")).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        fs.remove(&root.join("b")).unwrap();
        assert_eq!(fs.read(&root.join("c")).unwrap(), b"hello!");
        fs.create_dir_all(&root.join("tmp/below")).unwrap();
        fs.link(&root.join("c"), &root.join("tmp/below/c")).unwrap();
        fs.sync_dir(&root.join("tmp/below")).unwrap();
        fs.rename(&root.join("tmp"), &root.join("final")).unwrap();
        assert_eq!(fs.list(&root).unwrap(), [root.join("c"), root.join("final")]);
        assert_eq!(fs.list(&root.join("final")).unwrap(), [root.join("final/below")]);
        assert_eq!(fs.read(&root.join("final/below/c")).unwrap(), b"hello!");
        assert!(!fs.exists(&root.join("tmp")));
        fs.remove_dir_all(&root.join("final")).unwrap();
        assert_eq!(fs.list(&root).unwrap(), [root.join("c")]);
        for missing in [
            fs.remove(&root.join("b")),
            fs.read(&root.join("b")).map(drop),
            fs.open_read(&root.join("b")).map(drop),
            fs.rename(&root.join("b"), &root.join("a")),
            fs.link(&root.join("b"), &root.join("a")),
            fs.remove_dir_all(&root.join("final")),
            fs.list(&root.join("none")).map(drop),
        ] {
            assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
        }
        assert!(fs.free_bytes(&root).unwrap() > 0);
    }
}

#[test]
fn power_loss_keeps_what_was_synced_and_some_prefix_of_the_rest() {
    let mut lost = 0;
    let mut zeroed = 0;
    for seed in 0..100 {
        let fs = sim(seed);
        let path = folder().join("a");
        let mut a = fs.open_append(&path).unwrap();
        fs.sync_dir(&folder()).unwrap();
        a.append(b"synced").unwrap();
        a.sync().unwrap();
        a.append(b"-unsynced").unwrap();
        fs.open_append(&folder().join("unsynced-name")).unwrap();
        fs.power_loss();
        assert!(a.append(b"x").is_err(), "a file of the time before");
        let data = fs.read(&path).unwrap();
        assert!(data.starts_with(b"synced") && data.len() <= 15);
        zeroed += u32::from(data.contains(&0));
        lost += u32::from(!fs.exists(&folder().join("unsynced-name")));
    }
    assert!((20..80).contains(&lost), "{lost}");
    assert!((10..80).contains(&zeroed), "{zeroed}");
}

#[test]
fn a_crash_stops_everything_until_the_restart() {
    let fs = sim(3);
    let mut a = fs.open_append(&folder().join("a")).unwrap();
    fs.crash_at(4);
    a.append(b"one").unwrap();
    assert!(a.append(b"twotwo").is_err());
    assert!(fs.crashed() && a.append(b"x").is_err() && fs.read(&folder().join("a")).is_err());
    fs.restart();
    let data = fs.read(&folder().join("a")).unwrap();
    assert!(b"onetwotwo".starts_with(&data[..]) && data.len() >= 3);
}

#[test]
fn a_full_disk_takes_what_fits() {
    let fs = sim(4);
    fs.set_capacity(Some(5));
    let mut a = fs.open_append(&folder().join("a")).unwrap();
    assert_eq!(a.append(b"1234567").unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(a.len().unwrap(), 5);
    assert_eq!(fs.free_bytes(&folder()).unwrap(), 0);
    fs.set_capacity(None);
    a.append(b"67").unwrap();
    fs.fail_at(fs.operations() + 1);
    assert_eq!(a.sync().unwrap_err().raw_os_error(), Some(5));
    a.sync().unwrap();
}

#[test]
fn a_rename_may_fail_when_the_name_is_there_and_is_lost_or_kept_as_a_whole() {
    let mut kept = 0;
    for seed in 0..100 {
        let fs = sim(seed);
        let (from, to) = (folder().join("a.tmp"), folder().join("a"));
        fs.open_append(&from).unwrap();
        fs.sync_dir(&folder()).unwrap();
        // The second operation of a rename is the sync of the folder.
        fs.fail_at(fs.operations() + 2);
        assert_eq!(fs.rename(&from, &to).unwrap_err().raw_os_error(), Some(5));
        assert!(fs.exists(&to) && !fs.exists(&from));
        let synced = fs.fork(seed + 1000);
        synced.sync_dir(&folder()).unwrap();
        synced.power_loss();
        assert!(synced.exists(&to) && !synced.exists(&from));
        fs.power_loss();
        assert!(fs.exists(&to) != fs.exists(&from), "both names, or none");
        kept += u32::from(fs.exists(&to));
    }
    assert!((20..80).contains(&kept), "{kept}");
}

#[test]
fn unsynced_sectors_are_lost_in_any_order_and_unsynced_names_too() {
    let (mut holes, mut reordered) = (0, 0);
    for seed in 0..300 {
        let fs = sim(seed);
        let path = folder().join("a");
        let mut a = fs.open_append(&path).unwrap();
        fs.sync_dir(&folder()).unwrap();
        a.append(&[1; 4 * SECTOR_BYTES]).unwrap();
        fs.open_append(&folder().join("first")).unwrap();
        fs.open_append(&folder().join("second")).unwrap();
        fs.power_loss();
        let data = fs.read(&path).unwrap();
        holes += u32::from(data.windows(2).any(|w| w == [0, 1]));
        reordered += u32::from(!fs.exists(&folder().join("first")) && fs.exists(&folder().join("second")));
    }
    assert!(holes > 10 && reordered > 10, "{holes} {reordered}");
}

#[test]
fn what_a_failed_sync_forgot_is_seen_until_the_power_is_lost() {
    let mut forgotten = 0;
    for seed in 0..100 {
        let fs = sim(seed);
        fs.forget_unsynced();
        let path = folder().join("a");
        let mut a = fs.open_append(&path).unwrap();
        fs.sync_dir(&folder()).unwrap();
        a.append(b"first ").unwrap();
        fs.fail_at(fs.operations() + 1);
        a.sync().unwrap_err();
        a.append(b"second").unwrap();
        a.sync().unwrap();
        assert_eq!(fs.read(&path).unwrap(), b"first second");
        fs.power_loss();
        let data = fs.read(&path).unwrap();
        assert!(data == b"first second" || data == b"\0\0\0\0\0\0second", "{data:?}");
        forgotten += u32::from(data[0] == 0);
    }
    assert!((20..80).contains(&forgotten), "{forgotten}");
}

#[test]
fn a_lying_sync_does_nothing() {
    let fs = sim(5);
    fs.lie_one_in(Some(1));
    let path = folder().join("a");
    let mut a = fs.open_append(&path).unwrap();
    a.append(&[1; 100]).unwrap();
    a.sync().unwrap();
    fs.sync_dir(&folder()).unwrap();
    let lost = (0..50).filter(|&seed| {
        let fs = fs.fork(seed);
        fs.power_loss();
        !fs.exists(&path)
    });
    assert!(lost.count() > 5);
    fs.lie_one_in(None);
    a.sync().unwrap();
    fs.sync_dir(&folder()).unwrap();
    fs.power_loss();
    assert_eq!(fs.read(&path).unwrap(), [1; 100]);
}

#[test]
fn a_read_fails_on_command_and_a_fork_goes_its_own_way() {
    let fs = sim(6);
    let path = folder().join("a");
    let mut a = fs.open_append(&path).unwrap();
    a.append(b"one").unwrap();
    let before = fs.reads();
    fs.fail_read_at(before + 2);
    fs.read(&path).unwrap();
    assert_eq!(fs.list(&folder()).unwrap_err().raw_os_error(), Some(5));
    assert_eq!(fs.list(&folder()).unwrap().len(), 1);
    assert_eq!(fs.reads(), before + 3);
    let fork = fs.fork(7);
    a.append(b"two").unwrap();
    assert_eq!(fork.read(&path).unwrap(), b"one");
    assert_eq!((fork.files(), fork.used_bytes()), (vec![path.clone()], 3));
}
