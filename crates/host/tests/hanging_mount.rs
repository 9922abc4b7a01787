//! A mount that hangs as one does whose server is gone: a file system in user space whose server never
//! answers, in a mount namespace of its own, so that nobody else on the machine meets it.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::symlink,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use vedette_host::{Config, NodeReader};
use vedette_model::{Samples, status::Health};
use vedette_sys::ManualClock;

/// Holds the server's end of the file system, and with it the namespace. Once it is gone, the kernel answers
/// for it.
struct Mount(Child);

impl Mount {
    /// `None` where none can be made here.
    fn at(point: &Path) -> Option<Self> {
        let script = "exec 9<>/dev/fuse && \
             mount -i -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0 server:/gone \"$0\" && \
             echo mounted && exec sleep 600";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(point);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let mut line = String::new();
        let read = BufReader::new(child.stdout.take()?).read_line(&mut line);
        let mount = Self(child);
        (read.is_ok() && line == "mounted\n").then_some(mount)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn told(reader: &mut NodeReader) -> usize {
    let mut samples = Samples::default();
    reader.collect(1000, &mut samples);
    samples.rows.iter().map(|row| row.series.len()).sum()
}

#[test]
fn a_server_that_is_gone_holds_up_no_pass_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let point = folder.path().join("mount");
    std::fs::create_dir(&point).unwrap();
    let Some(mount) = Mount::at(&point) else {
        println!("SKIPPED: no file system in user space can be mounted here; that needs root and /dev/fuse");
        return;
    };
    let proc = folder.path().join("proc");
    std::fs::create_dir(&proc).unwrap();
    let process = format!("/proc/{}", mount.0.id());
    // The mounts are those of that process, and its root leads to them.
    symlink(&process, proc.join("1")).unwrap();
    std::fs::write(proc.join("loadavg"), "1.5 1 1 1/1 1\n").unwrap();
    let config = Config {
        proc_root: proc,
        sys_root: folder.path().join("sys"),
        root: format!("{process}/root").into(),
        filesystem_wait_ms: 1,
        filesystem_timeout_ms: 50,
        ..Config::default()
    };
    let mut reader = NodeReader::new(&config, Arc::new(ManualClock::at(0))).unwrap();
    let until = |reader: &mut NodeReader, what: &str, is_so: &dyn Fn(&NodeReader) -> bool| {
        for _ in 0..20_000 {
            // A pass that waited for the mount would not come back.
            assert!(told(reader) > 0);
            if is_so(reader) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("{what}: {:?}", reader.report());
    };
    let names = |reader: &NodeReader, word: &str| {
        let state = reader.report().state;
        let told = state.facts.iter().any(|(name, text)| name == "filesystem" && text.contains(word));
        told && state.health == Health::Degraded
    };
    let place = point.display().to_string();
    until(&mut reader, "the fault is visible", &|reader| names(reader, &place));
    // Its server's end is closed: the kernel refuses what was asked, and asks no more.
    drop(mount);
    until(&mut reader, "it is over", &|reader| !names(reader, &place));
}
