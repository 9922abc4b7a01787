//! Which cgroups there are, kept up to date by inotify and by comparing from time to time.
//!
//! The invariant: after [`Tree::reconcile`], what was told by `Added` and not taken back by
//! `Removed` is exactly what the folders hold. A cgroup counts for as long as any of the watched
//! trees has it, since runtimes fill and clear them one after the other.

use std::{
    collections::{BTreeMap, HashMap},
    mem::MaybeUninit,
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

use rustix::{
    fd::OwnedFd,
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};

use super::hierarchy::{Hierarchy, below};

/// More cgroups than this are not looked at.
const CGROUPS_MAX: usize = 50_000;
/// Deeper cgroups are not looked at.
const DEPTH_MAX: usize = 32;
/// At most two trees are watched.
const TREES: usize = 2;

/// A difference to what was told before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TreeChange {
    /// A cgroup is there, or its id (0 without version 2) has become known.
    Added { path: String, id: u64 },
    /// It is gone.
    Removed { path: String },
    /// The kernel changed its `memory.events`, perhaps by killing a process.
    MemoryEvent { path: String },
    /// Its `cgroup.events` changed: it has its first process, or its last has ended.
    Populated { path: String },
}

#[derive(Debug, Default)]
struct Node {
    id: u64,
    /// Comparison in which each tree had it last; 0 for never.
    seen: [u64; TREES],
}

#[derive(Debug)]
pub(crate) struct Tree {
    folders: Vec<PathBuf>,
    /// Whether the first folder is version 2.
    has_ids: bool,
    inotify: Option<OwnedFd>,
    watches: HashMap<i32, (usize, String)>,
    nodes: BTreeMap<String, Node>,
    /// Number of the last comparison.
    comparison: u64,
    /// Why new cgroups are seen only by comparing.
    unwatched: Option<Errno>,
}

impl Tree {
    pub(crate) fn new(hierarchy: &Hierarchy) -> Self {
        let (inotify, unwatched) = match inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK) {
            Ok(fd) => (Some(fd), None),
            Err(errno) => (None, Some(errno)),
        };
        Self {
            folders: hierarchy.trees().into_iter().map(PathBuf::from).collect(),
            has_ids: hierarchy.unified.is_some(),
            inotify,
            watches: HashMap::new(),
            nodes: BTreeMap::new(),
            comparison: 0,
            unwatched,
        }
    }

    /// The descriptor that becomes readable when something changed.
    pub(crate) fn inotify(&self) -> Option<&OwnedFd> {
        self.inotify.as_ref()
    }

    /// Why new cgroups are seen only by comparing, if so.
    pub(crate) fn unwatched(&self) -> Option<Errno> {
        self.unwatched
    }

    /// Compares everything with the folders.
    pub(crate) fn reconcile(&mut self, changes: &mut Vec<TreeChange>) {
        self.comparison += 1;
        if self.inotify.is_some() {
            // All watches are asked for again, so a refusal that is over is over.
            self.unwatched = None;
        }
        for tree in 0..self.folders.len() {
            self.scan(tree, "/".to_owned(), changes);
        }
        let comparison = self.comparison;
        self.nodes.retain(|path, node| {
            node.seen.iter_mut().filter(|seen| **seen != comparison).for_each(|seen| *seen = 0);
            let stays = node.seen != [0; TREES];
            if !stays {
                changes.push(TreeChange::Removed { path: path.clone() });
            }
            stays
        });
        let nodes = &self.nodes;
        self.watches.retain(|_, (_, path)| path == "/" || nodes.contains_key(path));
    }

    /// Takes what the kernel has told since. Never blocks.
    pub(crate) fn drain(&mut self, changes: &mut Vec<TreeChange>) {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 16 << 10];
        let mut told = Vec::new();
        let mut lost = false;
        if let Some(fd) = &self.inotify {
            let mut reader = inotify::Reader::new(fd, &mut buffer);
            while let Ok(event) = reader.next() {
                let name = event.file_name().map(|n| n.to_string_lossy().into_owned());
                lost |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                told.push((event.wd(), event.events(), name));
            }
        }
        if lost {
            return self.reconcile(changes);
        }
        for (watch, events, name) in told {
            self.event(watch, events, name, changes);
        }
    }

    fn event(&mut self, watch: i32, events: ReadFlags, name: Option<String>, changes: &mut Vec<TreeChange>) {
        if events.contains(ReadFlags::IGNORED) {
            self.watches.remove(&watch);
            return;
        }
        let Some((tree, parent)) = self.watches.get(&watch) else { return };
        let (tree, Some(name)) = (*tree, name) else { return };
        if events.contains(ReadFlags::ISDIR) {
            let path = child(parent, &name);
            if events.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
                self.scan(tree, path, changes);
            } else if events.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
                self.forget(tree, &path, changes);
            }
        } else if name == "memory.events" {
            changes.push(TreeChange::MemoryEvent { path: parent.clone() });
        } else if name == "cgroup.events" {
            changes.push(TreeChange::Populated { path: parent.clone() });
        }
    }

    /// Takes in a cgroup and those in it.
    fn scan(&mut self, tree: usize, from: String, changes: &mut Vec<TreeChange>) {
        let mut open = vec![from];
        while let Some(path) = open.pop() {
            let folder = below(&self.folders[tree], &path);
            // Watched before it is listed, so that nothing slips in between.
            self.watch(tree, &folder, &path);
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            if path != "/" {
                let ids = self.has_ids && tree == 0;
                let id = if ids { std::fs::metadata(&folder).map_or(0, |m| m.ino()) } else { 0 };
                self.add(tree, &path, id, changes);
            }
            if path.matches('/').count() >= DEPTH_MAX || self.nodes.len() >= CGROUPS_MAX {
                continue;
            }
            for entry in entries.flatten() {
                // systemd's mount units hold no process.
                let name = entry.file_name();
                let Some(name) = name.to_str().filter(|n| !n.ends_with(".mount")) else { continue };
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    open.push(child(&path, name));
                }
            }
        }
    }

    fn watch(&mut self, tree: usize, folder: &std::path::Path, path: &str) {
        let Some(fd) = &self.inotify else { return };
        let mut flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ONLYDIR;
        if self.has_ids && tree == 0 {
            // The kernel tells changes of `memory.events` as writing.
            flags |= WatchFlags::MODIFY;
        }
        match inotify::add_watch(fd, folder, flags) {
            Ok(watch) => {
                // Comparing comes by often; the path is copied only the first time.
                if self.watches.get(&watch).is_none_or(|(t, p)| *t != tree || p != path) {
                    self.watches.insert(watch, (tree, path.to_owned()));
                }
            }
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => self.unwatched = Some(errno),
        }
    }

    fn add(&mut self, tree: usize, path: &str, id: u64, changes: &mut Vec<TreeChange>) {
        let comparison = self.comparison.max(1);
        if let Some(node) = self.nodes.get_mut(path) {
            node.seen[tree] = comparison;
            if id == 0 || node.id == id {
                return;
            }
            // Gone and made again since, or only now found in version 2.
            if node.id != 0 {
                changes.push(TreeChange::Removed { path: path.to_owned() });
            }
            node.id = id;
        } else {
            let mut node = Node { id, ..Node::default() };
            node.seen[tree] = comparison;
            self.nodes.insert(path.to_owned(), node);
        }
        changes.push(TreeChange::Added { path: path.to_owned(), id });
    }

    /// Takes a cgroup, and those in it, out of one tree.
    fn forget(&mut self, tree: usize, path: &str, changes: &mut Vec<TreeChange>) {
        let inside = format!("{path}/");
        let affected: Vec<String> = std::iter::once(path.to_owned())
            .chain(
                self.nodes
                    .range(inside.clone()..)
                    .map(|(p, _)| p.clone())
                    .take_while(|p| p.starts_with(&inside)),
            )
            .collect();
        for path in affected {
            let Some(node) = self.nodes.get_mut(&path) else { continue };
            node.seen[tree] = 0;
            if node.seen == [0; TREES] {
                self.nodes.remove(&path);
                changes.push(TreeChange::Removed { path });
            }
        }
    }
}

fn child(parent: &str, name: &str) -> String {
    if parent == "/" { format!("/{name}") } else { format!("{parent}/{name}") }
}

#[cfg(test)]
mod tests;
