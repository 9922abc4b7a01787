//! Passes over a container that was made for them: a cgroup in every tree of this machine, with one
//! process in it that does something.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::Arc,
};

use vedette_host::{Config, ContainerReader};
use vedette_model::{METRIC_NAME, Samples};
use vedette_sys::{Clock, SystemClock};

/// What passes told: type, help and label names by family.
pub type Families = BTreeMap<String, (String, String, BTreeSet<String>)>;

/// A cgroup that is removed at the end.
struct Made {
    folders: Vec<PathBuf>,
    process: Option<Child>,
}

impl Made {
    fn new(root: &Path) -> Option<Self> {
        let name = format!("{:064x}", 0xced0_0000_u64 + u64::from(std::process::id()));
        let trees: Vec<PathBuf> = if root.join("cgroup.controllers").exists() {
            vec![root.to_owned()]
        } else {
            fs::read_dir(root).ok()?.flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect()
        };
        let mut made = Self { folders: Vec::new(), process: None };
        for folder in trees.into_iter().map(|tree| tree.join(&name)) {
            if fs::create_dir(&folder).is_ok() {
                made.folders.push(folder);
            }
        }
        // It writes now and then, past the memory that others' writes are gathered in.
        let process = Command::new("sh").args(["-c", "while :; do dd if=/dev/zero of=/var/tmp/.vedette-$$ bs=4096 count=1 oflag=direct 2>/dev/null; rm -f /var/tmp/.vedette-$$; sleep 0.05; done"]).spawn();
        let process = made.process.insert(process.ok()?).id().to_string();
        let mut held = false;
        for folder in &made.folders {
            // A tree whose settings are missing takes no process.
            held |= fs::write(folder.join("cgroup.procs"), &process).is_ok();
            let _ = fs::write(folder.join("cpu.cfs_quota_us"), "90000");
            let _ = fs::write(folder.join("cpu.max"), "90000 100000");
        }
        held.then_some(made)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        for folder in &self.folders {
            // What the process began may take a moment to end.
            for _ in 0..200 {
                if fs::remove_dir(folder).is_ok() {
                    break;
                }
                let left = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
                let pids =
                    left.lines().filter_map(|l| l.parse().ok()).filter_map(rustix::process::Pid::from_raw);
                pids.for_each(|pid| _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL));
                std::thread::yield_now();
            }
        }
    }
}

/// All families of some passes; `None` where no cgroup can be made.
pub fn read() -> Option<Families> {
    let config = Config { runtime_sockets: Vec::new(), reconcile_interval_ms: 1000, ..Config::default() };
    let _made = Made::new(&config.cgroup_root)?;
    let clock = SystemClock;
    let mut reader = ContainerReader::new(&config, Arc::new(SystemClock)).ok()?;
    let mut families = Families::new();
    let begin = clock.monotonic();
    let (mut labels, mut pass) = (BTreeMap::new(), 0);
    // Threads of the reader bring some families; they are waited for by looking for the last of them.
    while clock.monotonic().since(begin).as_secs() < 20 {
        pass += 1000;
        let mut samples = Samples::default();
        reader.collect(pass, &mut samples, &mut Vec::new());
        for family in samples.metadata {
            let entry = families.entry(family.family).or_default();
            (entry.0, entry.1) = (family.kind.as_str().to_owned(), family.help);
        }
        for definition in samples.defined {
            labels.insert(definition.series, definition.labels);
        }
        for row in &samples.rows {
            for series in &row.series {
                let known = &labels[series];
                let names = known.iter().map(|(n, _)| n.to_owned()).filter(|n| n != METRIC_NAME);
                families.entry(known.metric_name().to_owned()).or_default().2.extend(names);
            }
        }
        let waited_for = ["container_fs_limit_bytes", "container_fs_writes_bytes_total"];
        if pass > 5000 && waited_for.iter().all(|family| families.contains_key(*family)) {
            break;
        }
        std::thread::yield_now();
    }
    Some(families)
}
