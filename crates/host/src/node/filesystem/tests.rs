use std::sync::mpsc;

use super::*;

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
