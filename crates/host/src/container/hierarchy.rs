//! Where the machine keeps its control groups: version 2, version 1, or both side by side.

use std::path::{Path, PathBuf};

/// Folders of the controllers. In a hybrid machine version 2 is there without most controllers,
/// yet it alone has pressure and exact processor time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Version 2.
    pub(crate) unified: Option<PathBuf>,
    /// Controllers of version 1.
    pub(crate) cpu: Option<PathBuf>,
    pub(crate) cpuacct: Option<PathBuf>,
    pub(crate) memory: Option<PathBuf>,
    pub(crate) pids: Option<PathBuf>,
    pub(crate) blkio: Option<PathBuf>,
}

impl Hierarchy {
    /// Looks at what is mounted at `root`.
    pub(crate) fn detect(root: &Path) -> Self {
        let is_unified = |folder: &Path| folder.join("cgroup.controllers").exists();
        if is_unified(root) {
            return Self { unified: Some(root.to_owned()), ..Self::default() };
        }
        let mut found = Self::default();
        let mut folders: Vec<PathBuf> =
            std::fs::read_dir(root).into_iter().flatten().flatten().map(|e| e.path()).collect();
        folders.sort_unstable();
        for folder in folders.into_iter().filter(|f| f.is_dir()) {
            if is_unified(&folder) {
                found.unified = Some(folder);
                continue;
            }
            // Controllers that are mounted together share a folder: `cpu,cpuacct`.
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            for controller in name.split(',') {
                let slot = match controller {
                    "cpu" => &mut found.cpu,
                    "cpuacct" => &mut found.cpuacct,
                    "memory" => &mut found.memory,
                    "pids" => &mut found.pids,
                    "blkio" => &mut found.blkio,
                    _ => continue,
                };
                slot.get_or_insert_with(|| folder.clone());
            }
        }
        found
    }

    /// The trees in which containers are looked for: version 2, whose inode numbers are the ids
    /// that the kernel calls cgroups by, and one of version 1, for runtimes that use that alone.
    pub(crate) fn trees(&self) -> Vec<&Path> {
        let version_1 = [&self.memory, &self.cpuacct, &self.cpu, &self.pids, &self.blkio];
        let version_1 = version_1.into_iter().find_map(Option::as_deref);
        self.unified.as_deref().into_iter().chain(version_1).collect()
    }

    /// `version 2`, `version 1` or `hybrid`, for people.
    pub(crate) fn describe(&self) -> &'static str {
        match (self.unified.is_some(), self.trees().len()) {
            (true, 1) => "version 2",
            (true, _) => "hybrid",
            (false, 1) => "version 1",
            (false, _) => "none",
        }
    }
}

/// Where `cgroup`, an absolute path in the tree, lies below `folder`.
pub(crate) fn below(folder: &Path, cgroup: &str) -> PathBuf {
    folder.join(cgroup.trim_start_matches('/'))
}
