//! Which cgroups are containers, and whose: joins the cgroup tree with what the runtimes tell.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    path::PathBuf,
    sync::Arc,
};

use parking_lot::RwLock;
use vedette_model::{Container, Directory, Identify as _, Workload, WorkloadQuestion};

use super::tree::TreeChange;
use crate::runtime::{RuntimeContainer, RuntimeUpdate};

/// Ended containers that the index still finds, as their last events arrive later.
const GONE_MAX: usize = 256;
/// After how many answers of the runtime a cgroup that only looks like a container is dropped.
const PROVISIONAL_ANSWERS: u8 = 3;
/// Changes that nobody has fetched; beyond it the reader has stopped and they are of no use.
const CHANGES_MAX: usize = 100_000;

/// What is known of a container beside its identity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    /// The `name` label: the runtime's own name, which of a pod's container is its id.
    pub(crate) runtime_name: String,
    /// The name in the pod, or an empty string.
    pub(crate) pod_container: String,
    pub(crate) pod_uid: String,
    /// How often the pod's container was made before, as the runtime counts.
    pub(crate) attempt: Option<u32>,
    /// It only holds the pod's network.
    pub(crate) sandbox: bool,
    pub(crate) pid: Option<u32>,
    /// Labels that the configuration lets through, under the names that their series have.
    pub(crate) labels: Vec<(String, String)>,
    /// A runtime has told of it.
    pub(crate) identified: bool,
}

/// A container from its start to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// Names this life of the container; growing.
    pub(crate) generation: u64,
    pub(crate) container: Arc<Container>,
    pub(crate) facts: Facts,
}

/// What happened since the reader looked last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Started(Known),
    /// A runtime told more of it.
    Identified(Known),
    Stopped(u64),
}

struct Entry {
    known: Known,
    /// Answers of the runtime after which it is dropped if none has confirmed it.
    answers_left: Option<u8>,
}

/// What one runtime told last, by what a cgroup is looked up with.
struct Told {
    update: RuntimeUpdate,
    by_id: HashMap<String, usize>,
    by_root: HashMap<String, usize>,
}

impl Told {
    fn new(update: RuntimeUpdate) -> Self {
        let (mut by_id, mut by_root) = (HashMap::new(), HashMap::new());
        // The first of several that claim the same is believed.
        for (place, container) in update.containers.iter().enumerate() {
            by_id.entry(container.id.clone()).or_insert(place);
            if let Some(root) = root_of(container) {
                by_root.entry(root.to_owned()).or_insert(place);
            }
        }
        Self { update, by_id, by_root }
    }

    fn of(&self, path: &str) -> Option<&RuntimeContainer> {
        let place = match hex_id(last_part(path)) {
            Some(id) => self.by_id.get(id),
            None => self.by_root.get(path),
        };
        self.update.containers.get(*place?)
    }
}

#[derive(Default)]
pub(crate) struct Registry {
    cgroups: BTreeMap<String, u64>,
    containers: BTreeMap<String, Entry>,
    told: BTreeMap<PathBuf, Told>,
    index: ContainerIndex,
    changes: Vec<Change>,
    generation: u64,
    /// Knows pods and workloads of containers, also of such that no runtime tells of.
    directory: Directory,
    /// What the directory was when all containers were looked up in it.
    directory_seen: u64,
}

impl Registry {
    /// Asks these for what runtimes do not tell.
    pub(crate) fn ask(&mut self, directory: Directory) {
        self.directory = directory;
    }

    /// Looks all containers up whose workload is not known, if there is news of any.
    pub(crate) fn look_up(&mut self) {
        let generation = self.directory.generation();
        if std::mem::replace(&mut self.directory_seen, generation) == generation {
            return;
        }
        let unknown = self.containers.values().filter(|entry| entry.known.container.workload.kind.is_empty());
        let paths: Vec<String> = unknown.map(|entry| entry.known.container.cgroup.clone()).collect();
        for path in paths {
            let Some(entry) = self.containers.get_mut(&path) else { continue };
            let mut container = (*entry.known.container).clone();
            if !add_workload(&self.directory, &mut container, &mut entry.known.facts) {
                continue;
            }
            entry.known.container = Arc::new(container);
            let known = entry.known.clone();
            let id = self.cgroups.get(&path).copied().unwrap_or(0);
            self.index.put(&known.container, id);
            self.index_inside(&path);
            self.tell(Change::Identified(known));
        }
    }

    pub(crate) fn index(&self) -> ContainerIndex {
        self.index.clone()
    }

    /// What happened since the last call.
    pub(crate) fn take_changes(&mut self, out: &mut Vec<Change>) {
        out.append(&mut self.changes);
    }

    /// Whether some runtime answered, so that waiting for names makes sense.
    pub(crate) fn has_runtime(&self) -> bool {
        !self.told.is_empty()
    }

    pub(crate) fn containers(&self) -> usize {
        self.containers.len()
    }

    /// Whether the cgroup is that of a container, and not one inside it or around it.
    pub(crate) fn is_container(&self, path: &str) -> bool {
        self.containers.contains_key(path)
    }

    /// Takes what happened in the tree. Tells whether the runtimes should be asked, because there
    /// is a container that none has told of yet.
    pub(crate) fn tree_changes(&mut self, changes: Vec<TreeChange>) -> bool {
        let mut ask = false;
        for change in changes {
            match change {
                TreeChange::Added { path, id } => {
                    self.cgroups.insert(path.clone(), id);
                    if !self.containers.contains_key(&path) {
                        self.identify(&path);
                    }
                    match self.containers.get(&path) {
                        Some(entry) => {
                            ask |= !entry.known.facts.identified;
                            self.index.put(&entry.known.container, id);
                        }
                        None => self.index_nested(&path, id),
                    }
                }
                TreeChange::Removed { path } => {
                    let id = self.cgroups.remove(&path).unwrap_or(0);
                    if self.containers.contains_key(&path) {
                        self.stop(&path);
                    } else {
                        self.index.forget_cgroup(id);
                    }
                }
                TreeChange::MemoryEvent { .. } | TreeChange::Populated { .. } => {}
            }
        }
        ask
    }

    /// Takes the answer of one runtime, in place of what it said before.
    pub(crate) fn runtime_update(&mut self, socket: PathBuf, update: RuntimeUpdate) {
        self.told.insert(socket, Told::new(update));
        let mut paths: Vec<String> = self.containers.keys().cloned().collect();
        let told = self.told.values().flat_map(|told| told.by_root.keys());
        let new = |path: &&String| self.cgroups.contains_key(*path) && !self.containers.contains_key(*path);
        paths.extend(told.filter(new).cloned());
        for path in paths {
            self.identify(&path);
            if let Some(entry) = self.containers.get_mut(&path)
                && let Some(left) = &mut entry.answers_left
            {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.stop(&path);
                }
            }
        }
    }

    /// What is told of a cgroup, by the runtime that knows most: Docker tells names of containers of
    /// which the containerd below it knows but the ids.
    fn told_of(&self, path: &str) -> Option<&RuntimeContainer> {
        let mut best: Option<&RuntimeContainer> = None;
        for told in self.told.values().filter_map(|told| told.of(path)) {
            if best.is_none_or(|best| knows(told) > knows(best)) {
                best = Some(told);
            }
        }
        best
    }

    /// Finds out whether the cgroup is a container, and tells what is new.
    fn identify(&mut self, path: &str) {
        let told = self.told_of(path);
        let hex = hex_id(last_part(path));
        let looks = || {
            // `ctr run` and its like: /<namespace>/<name>.
            let namespaces = self.told.values().flat_map(|told| &told.update.namespaces);
            let (parent, name) = path.rsplit_once('/')?;
            let known = namespaces.into_iter().any(|n| parent.strip_prefix('/') == Some(n.as_str()));
            (known && !name.is_empty()).then_some(name)
        };
        let (mut container, mut facts, provisional) = match (told, hex, looks()) {
            (Some(told), ..) => (told.container(path), told.facts(), false),
            (None, Some(id), _) => {
                (anonymous(path, id), Facts { runtime_name: id.into(), ..Facts::default() }, false)
            }
            (None, None, Some(name)) => {
                (anonymous(path, name), Facts { runtime_name: name.into(), ..Facts::default() }, true)
            }
            (None, None, None) => return,
        };
        add_workload(&self.directory, &mut container, &mut facts);
        let id = self.cgroups.get(path).copied().unwrap_or(0);
        match self.containers.get_mut(path) {
            Some(entry) => {
                // A runtime that forgets a container before its cgroup goes does not undo its name.
                // What was once known of its workload stays known, too.
                keep_workload(&mut container, &mut facts, &entry.known);
                if !facts.identified || (*entry.known.container == container && entry.known.facts == facts) {
                    return;
                }
                entry.known = Known { container: Arc::new(container), facts, ..entry.known };
                entry.answers_left = None;
                let known = entry.known.clone();
                self.tell(Change::Identified(known.clone()));
                self.index.put(&known.container, id);
                self.index_inside(path);
            }
            None => {
                self.generation += 1;
                let known = Known { generation: self.generation, container: Arc::new(container), facts };
                let answers_left = provisional.then_some(PROVISIONAL_ANSWERS);
                self.containers.insert(path.to_owned(), Entry { known: known.clone(), answers_left });
                self.index.put(&known.container, id);
                self.index_inside(path);
                self.tell(Change::Started(known));
            }
        }
    }

    fn stop(&mut self, path: &str) {
        if let Some(entry) = self.containers.remove(path) {
            self.index.end(&entry.known.container);
            self.tell(Change::Stopped(entry.known.generation));
        }
    }

    fn tell(&mut self, change: Change) {
        if self.changes.len() < CHANGES_MAX {
            self.changes.push(change);
        }
    }

    /// A cgroup that a container made inside its own belongs to it.
    fn index_nested(&self, path: &str, id: u64) {
        let holder = ancestors(path).skip(1).find_map(|p| self.containers.get(p));
        if let Some(entry) = holder {
            self.index.put_nested(&entry.known.container, id);
        }
    }

    fn index_inside(&self, path: &str) {
        let inside = format!("{path}/");
        let from = self.cgroups.range(inside.clone()..);
        for (nested, id) in from.take_while(|(p, _)| p.starts_with(&inside)) {
            if !self.containers.contains_key(nested) {
                self.index_nested(nested, *id);
            }
        }
    }
}

impl RuntimeContainer {
    fn container(&self, path: &str) -> Container {
        let name = match (self.pod_container.as_str(), self.name.as_str()) {
            ("", "") => &self.id,
            ("", name) => name,
            (name, _) => name,
        };
        Container {
            id: self.id.clone(),
            name: name.to_owned(),
            image: self.image.clone(),
            pod: self.pod.clone(),
            namespace: self.namespace.clone(),
            pod_uid: self.pod_uid.clone(),
            workload: Workload::default(),
            cgroup: path.to_owned(),
            runtime: self.runtime.clone(),
        }
    }

    fn facts(&self) -> Facts {
        Facts {
            runtime_name: if self.name.is_empty() { self.id.clone() } else { self.name.clone() },
            pod_container: self.pod_container.clone(),
            pod_uid: self.pod_uid.clone(),
            attempt: self.attempt,
            sandbox: self.sandbox,
            pid: self.pid,
            labels: self.labels.clone(),
            identified: true,
        }
    }
}

/// The cgroup of a container that a runtime told of: that of its first process, unless this
/// moved into a cgroup of its own below the one named after the container.
fn root_of(told: &RuntimeContainer) -> Option<&str> {
    let path = told.cgroup.as_deref().filter(|p| *p != "/")?;
    Some(ancestors(path).find(|p| last_part(p).contains(told.id.as_str())).unwrap_or(path))
}

/// How much is told of a container beside its id.
fn knows(told: &RuntimeContainer) -> usize {
    [&told.name, &told.image, &told.pod, &told.pod_container].iter().filter(|text| !text.is_empty()).count()
}

/// Adds what the directory knows and the container lacks; whether it knows it. What a runtime told stays.
fn add_workload(directory: &Directory, container: &mut Container, facts: &mut Facts) -> bool {
    if directory.is_empty() {
        return false;
    }
    let by_id = directory.identify(&WorkloadQuestion::Container(&container.id), 1).pop();
    let by_path = || directory.identify(&WorkloadQuestion::Cgroup(&container.cgroup), 1).pop();
    let Some(pod) = by_id.or_else(by_path) else { return false };
    if container.pod.is_empty() {
        (container.pod, container.namespace) = (pod.name, pod.namespace);
    }
    if container.pod_uid.is_empty() {
        container.pod_uid.clone_from(&pod.uid);
        facts.pod_uid = pod.uid;
    }
    if let Some(known) = pod.containers.into_iter().find(|known| known.id == container.id) {
        if facts.pod_container.is_empty() {
            facts.pod_container.clone_from(&known.name);
        }
        if container.name == container.id {
            container.name = known.name;
        }
        if container.image.is_empty() {
            container.image = known.image;
        }
    }
    container.workload = pod.workload;
    true
}

/// Keeps what the directory knew before, if it has forgotten.
fn keep_workload(container: &mut Container, facts: &mut Facts, known: &Known) {
    let before = &known.container;
    if !container.workload.kind.is_empty() || before.workload.kind.is_empty() {
        return;
    }
    container.workload.clone_from(&before.workload);
    container.pod_uid.clone_from(&before.pod_uid);
    if container.pod.is_empty() {
        container.pod.clone_from(&before.pod);
        container.namespace.clone_from(&before.namespace);
        facts.pod_container.clone_from(&known.facts.pod_container);
        facts.pod_uid.clone_from(&known.facts.pod_uid);
    }
}

fn anonymous(path: &str, id: &str) -> Container {
    Container { id: id.to_owned(), name: id.to_owned(), cgroup: path.to_owned(), ..Container::default() }
}

pub(super) fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The path itself, then its parents, the root left out.
pub(super) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |p| p.rsplit_once('/').map(|(parent, _)| parent))
        .filter(|p| !p.is_empty())
}

/// The 64 hexadecimal digits by which runtimes name containers, alone or within a name such as
/// `cri-containerd-<id>.scope`. A monitor's own cgroup (`crio-conmon-<id>.scope`) is no container.
pub(crate) fn hex_id(name: &str) -> Option<&str> {
    const DIGITS: usize = 64;
    if name.contains("conmon") {
        return None;
    }
    let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    let mut start = 0;
    for (i, byte) in name.bytes().chain([b'.']).enumerate() {
        if !is_digit(byte) {
            if i - start == DIGITS {
                return name.get(start..i);
            }
            start = i + 1;
        }
    }
    None
}

/// Finds the container of a cgroup. Cloning shares it; it may be asked from any thread.
///
/// A container that ended is still found for a while, as events of its last moments arrive later.
#[derive(Clone, Default)]
pub struct ContainerIndex(Arc<RwLock<Maps>>);

#[derive(Default)]
struct Maps {
    by_path: HashMap<String, Arc<Container>>,
    by_cgroup_id: HashMap<u64, Arc<Container>>,
    by_container_id: HashMap<String, Arc<Container>>,
    /// Cgroup ids of each path, those of nested cgroups included.
    ids: HashMap<String, Vec<u64>>,
    live: BTreeMap<String, Arc<Container>>,
    /// Ended containers and their cgroup ids. The path may have a new life by now.
    gone: VecDeque<(Arc<Container>, Vec<u64>)>,
}

impl ContainerIndex {
    /// The container to which a cgroup belongs, by the id that the kernel gives it in version 2
    /// (`bpf_get_current_cgroup_id`).
    pub fn by_cgroup_id(&self, id: u64) -> Option<Arc<Container>> {
        self.0.read().by_cgroup_id.get(&id).cloned()
    }

    /// The container to which a cgroup belongs, by its path as `/proc/<pid>/cgroup` tells it.
    pub fn by_pid_cgroup_path(&self, path: &str) -> Option<Arc<Container>> {
        let maps = self.0.read();
        ancestors(path).find_map(|p| maps.by_path.get(p)).cloned()
    }

    /// The container of that full id.
    pub fn by_container_id(&self, id: &str) -> Option<Arc<Container>> {
        self.0.read().by_container_id.get(id).cloned()
    }

    /// All containers that run, in order of their cgroups' paths.
    pub fn all(&self) -> Vec<Arc<Container>> {
        self.0.read().live.values().cloned().collect()
    }

    fn put(&self, container: &Arc<Container>, id: u64) {
        let mut maps = self.0.write();
        let path = &container.cgroup;
        maps.by_path.insert(path.clone(), container.clone());
        maps.by_container_id.insert(container.id.clone(), container.clone());
        maps.live.insert(path.clone(), container.clone());
        maps.put_id(container, id);
    }

    fn put_nested(&self, container: &Arc<Container>, id: u64) {
        self.0.write().put_id(container, id);
    }

    fn forget_cgroup(&self, id: u64) {
        let mut maps = self.0.write();
        if let Some(container) = maps.by_cgroup_id.remove(&id)
            && let Some(ids) = maps.ids.get_mut(&container.cgroup)
        {
            ids.retain(|i| *i != id);
        }
    }

    fn end(&self, container: &Arc<Container>) {
        let mut maps = self.0.write();
        maps.live.remove(&container.cgroup);
        let ids = maps.ids.remove(&container.cgroup).unwrap_or_default();
        maps.gone.push_back((container.clone(), ids));
        if maps.gone.len() > GONE_MAX
            && let Some((oldest, ids)) = maps.gone.pop_front()
        {
            maps.remove(&oldest, &ids);
        }
    }
}

impl Maps {
    fn put_id(&mut self, container: &Arc<Container>, id: u64) {
        if id == 0 {
            return;
        }
        self.by_cgroup_id.insert(id, container.clone());
        let ids = self.ids.entry(container.cgroup.clone()).or_default();
        if !ids.contains(&id) {
            ids.push(id);
        }
    }

    /// Forgets a container that ended, but no later life under its path or id.
    fn remove(&mut self, container: &Arc<Container>, ids: &[u64]) {
        let is_it = |found: Option<&Arc<Container>>| found.is_some_and(|c| Arc::ptr_eq(c, container));
        if is_it(self.by_path.get(&container.cgroup)) {
            self.by_path.remove(&container.cgroup);
        }
        if is_it(self.by_container_id.get(&container.id)) {
            self.by_container_id.remove(&container.id);
        }
        for id in ids {
            if self.by_cgroup_id.get(id).is_some_and(|c| c.cgroup == container.cgroup) {
                self.by_cgroup_id.remove(id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
