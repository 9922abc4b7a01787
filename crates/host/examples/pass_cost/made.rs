//! Containers made for the measurement: cgroups with a sleeping process each, in all trees of this
//! machine, in the form that a kubelet gives them.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use vedette_host::ContainerReader;
use vedette_model::Samples;
use vedette_sys::{Clock, SystemClock};

/// Containers whose coming and going is timed.
const TIMED: usize = 50;
/// How often the index is asked.
const LOOK: Duration = Duration::from_micros(500);
const PATIENCE: Duration = Duration::from_secs(5);

/// The containers; they are removed at the end.
pub struct Made {
    trees: Vec<PathBuf>,
    containers: Vec<(String, Child)>,
    next: usize,
}

impl Made {
    /// Makes some; `None` where no cgroup can be made.
    pub fn new(cgroup_root: &Path, count: usize) -> Option<Self> {
        let trees = if cgroup_root.join("cgroup.controllers").exists() {
            vec![cgroup_root.to_owned()]
        } else {
            fs::read_dir(cgroup_root).ok()?.flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect()
        };
        let mut made = Self { trees, containers: Vec::new(), next: 0 };
        for _ in 0..count {
            made.add()?;
        }
        Some(made)
    }

    /// One more; gives its id.
    pub fn add(&mut self) -> Option<String> {
        self.next += 1;
        let id = format!("{:032x}{:032x}", 0xbe7c, self.next + (std::process::id() as usize) * 100_000);
        let process = Command::new("sleep").arg("3600").spawn().ok()?;
        let pid = process.id().to_string();
        let mut held = false;
        for tree in &self.trees {
            let folder = tree.join(&id);
            if fs::create_dir(&folder).is_ok() {
                held |= fs::write(folder.join("cgroup.procs"), &pid).is_ok();
            }
        }
        self.containers.push((id.clone(), process));
        held.then_some(id)
    }

    /// Ends the one that was made last.
    fn remove_last(&mut self) {
        if let Some((id, mut process)) = self.containers.pop() {
            let _ = process.kill();
            let _ = process.wait();
            for tree in &self.trees {
                let _ = fs::remove_dir(tree.join(&id));
            }
        }
    }

    /// How long it takes until a container that comes is known, and until one that goes is not.
    pub fn time(&mut self, reader: &mut ContainerReader, out: &mut dyn Write) -> std::io::Result<()> {
        let (clock, index) = (SystemClock, reader.index());
        let (mut seen, mut gone) = (Vec::new(), Vec::new());
        for _ in 0..TIMED {
            let begin = clock.monotonic();
            let Some(id) = self.add() else { break };
            while index.by_container_id(&id).is_none() && clock.monotonic().since(begin) < PATIENCE {
                std::thread::sleep(LOOK);
            }
            seen.push(clock.monotonic().since(begin));
            let begin = clock.monotonic();
            self.remove_last();
            while index.all().iter().any(|c| c.id == id) && clock.monotonic().since(begin) < PATIENCE {
                std::thread::sleep(LOOK);
            }
            gone.push(clock.monotonic().since(begin));
        }
        reader.collect(clock.unix_ms(), &mut Samples::default(), &mut Vec::new());
        for (what, mut times, goal_ms) in [("seen", seen, 200), ("gone", gone, 1000)] {
            times.sort_unstable();
            let at =
                |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
            writeln!(
                out,
                "{} containers {what}: median {:?}, p99 {:?} (goal {goal_ms} ms)",
                times.len(),
                at(50).copied().unwrap_or_default(),
                at(99).copied().unwrap_or_default(),
            )?;
        }
        Ok(())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        while !self.containers.is_empty() {
            self.remove_last();
        }
    }
}
