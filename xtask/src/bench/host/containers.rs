//! Containers made for the measurement: in all trees of control groups of this machine, named as a kubelet
//! names them, each with a process that sleeps.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

const ROOT: &str = "/sys/fs/cgroup";
/// What the name of each of ours begins with.
const MARK: u32 = 0xbe7c;

/// They are removed when this is dropped.
pub struct Containers {
    trees: Vec<PathBuf>,
    made: Vec<(String, Child)>,
}

impl Containers {
    /// So many of them; `None` where none can be made.
    pub fn make(count: usize) -> Result<Option<Self>> {
        let root = Path::new(ROOT);
        let trees = if root.join("cgroup.controllers").exists() {
            vec![root.to_owned()]
        } else {
            let entries = fs::read_dir(root).with_context(|| ROOT)?;
            entries.flatten().map(|e| e.path()).filter(|p| p.join("cgroup.procs").exists()).collect()
        };
        let mut containers = Self { trees, made: Vec::new() };
        for number in 0..count {
            if !containers.add(number)? {
                return Ok(None);
            }
        }
        Ok(Some(containers))
    }

    fn add(&mut self, number: usize) -> Result<bool> {
        let id = format!("{MARK:032x}{:016x}{number:016x}", std::process::id());
        let process =
            Command::new("sleep").arg("86400").stdin(Stdio::null()).spawn().context("cannot start sleep")?;
        let pid = process.id().to_string();
        self.made.push((id.clone(), process));
        let mut held = false;
        for tree in &self.trees {
            let folder = tree.join(&id);
            held |= fs::create_dir(&folder).is_ok() && fs::write(folder.join("cgroup.procs"), &pid).is_ok();
        }
        Ok(held)
    }

    /// Ends all but the first so many.
    pub fn keep(&mut self, count: usize) {
        let ended = self.made.split_off(count.min(self.made.len()));
        for (id, mut process) in ended {
            let _ = process.kill();
            let _ = process.wait();
            for tree in &self.trees {
                let _ = fs::remove_dir(tree.join(&id));
            }
        }
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        self.keep(0);
    }
}
