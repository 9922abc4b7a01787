//! The thread that finds containers: waits for the kernel and for the runtimes, never for the
//! reader, and the reader never for it.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rustix::fd::OwnedFd;
use tokio::{
    io::unix::AsyncFd,
    sync::{Notify, mpsc, oneshot},
    task::JoinSet,
};

use super::{
    files::oom_kills,
    hierarchy::{Hierarchy, below},
    last::LastFigures,
    registry::Registry,
    storage::Layer,
    tree::{Tree, TreeChange},
};
use crate::{
    Config, Error,
    file::{Buffer, read_once},
    metrics::DiscoveryMetrics,
    runtime::{Asker, SocketState, Told, ask_on},
};

/// Messages of the runtimes that wait to be taken.
const TOLD_MAX: usize = 256;
/// Containers of which the kernel or a runtime told OOM kills that the reader has not fetched.
const OOMS_MAX: usize = 10_000;
/// Ended containers whose last figures the reader has not fetched.
const LAST_MAX: usize = 10_000;

/// How often it is seen whether somebody knows more of containers.
const LOOK_UP_INTERVAL: Duration = Duration::from_millis(500);

/// Passes that found nobody whose the figures are.
type Passes = u8;

/// What the thread and the reader share.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) registry: Mutex<Registry>,
    pub(crate) sockets: Mutex<BTreeMap<PathBuf, SocketState>>,
    pub(crate) ooms: Mutex<Ooms>,
    /// Last figures of containers whose last process has ended, by cgroup.
    pub(crate) last: Mutex<HashMap<String, (LastFigures, Passes)>>,
    /// What runtimes have counted of writable layers, by container id, since it was fetched.
    pub(crate) layers: Mutex<Option<HashMap<String, Layer>>>,
    pub(crate) unwatched: Mutex<Option<String>>,
    pub(crate) metrics: Arc<DiscoveryMetrics>,
}

/// OOM kills that were told the moment they happened, as the files go with the container.
#[derive(Debug, Default)]
pub(crate) struct Ooms {
    /// The count in the file, by cgroup.
    pub(crate) by_cgroup: HashMap<String, u64>,
    /// How many the runtime told of, by container id.
    pub(crate) by_container: HashMap<String, u64>,
}

/// The thread; it ends when this is dropped.
pub(crate) struct Discovery {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Discovery {
    pub(crate) fn start(
        config: &Config,
        hierarchy: &Hierarchy,
        tree: Tree,
        shared: Arc<Shared>,
    ) -> Result<Self, Error> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |source| Error::Io { what, source }
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed("set up the discovery of containers"))?;
        let (stop, stopped) = oneshot::channel();
        let (config, hierarchy) = (config.clone(), hierarchy.clone());
        let watcher = Watcher { config, hierarchy, tree, shared, tellers: HashMap::new() };
        let thread = std::thread::Builder::new()
            .name("containers".into())
            .spawn(move || runtime.block_on(watcher.run(stopped)))
            .map_err(failed("start the discovery of containers"))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by its own message.
            let _ = thread.join();
        }
    }
}

struct Watcher {
    config: Config,
    hierarchy: Hierarchy,
    tree: Tree,
    shared: Arc<Shared>,
    /// Which socket tells of a container's OOM kills.
    tellers: HashMap<String, PathBuf>,
}

impl Watcher {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut pokes = Vec::new();
        let (tell, mut told) = mpsc::channel(TOLD_MAX);
        let mut tasks = JoinSet::new();
        let timeout = Duration::from_millis(self.config.runtime_timeout_ms);
        let interval = Duration::from_millis(self.config.reconcile_interval_ms);
        for socket in &self.config.runtime_sockets {
            let poke = Arc::new(Notify::new());
            pokes.push(poke.clone());
            let asker = Asker {
                proc_root: self.config.proc_root.clone(),
                timeout,
                interval,
                retry: interval / 2,
                labels: self.config.container_labels.clone().into(),
            };
            tasks.spawn(ask_on(socket.clone(), asker, poke, tell.clone()));
        }
        // A second descriptor of the same queue, for waiting only.
        let waited = self.tree.inotify().and_then(|fd| fd.try_clone().ok());
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an owned descriptor keeps what that asks for"
        )]
        let readable = waited.and_then(|fd| AsyncFd::new(fd).ok());
        let mut look_up = tokio::time::interval(LOOK_UP_INTERVAL);
        look_up.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut compare = tokio::time::interval(Duration::from_millis(self.config.reconcile_interval_ms));
        compare.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut stopped => return,
                () = wait_readable(readable.as_ref()) => {
                    let mut changes = Vec::new();
                    self.tree.drain(&mut changes);
                    self.take(changes, &pokes);
                }
                _ = compare.tick() => {
                    let mut changes = Vec::new();
                    self.tree.reconcile(&mut changes);
                    *self.shared.unwatched.lock() = self.tree.unwatched().map(|e| e.to_string());
                    self.take(changes, &pokes);
                }
                _ = look_up.tick() => self.shared.registry.lock().look_up(),
                Some(told) = told.recv() => self.hear(told),
            }
        }
    }

    fn take(&self, changes: Vec<TreeChange>, pokes: &[Arc<Notify>]) {
        for change in &changes {
            match change {
                TreeChange::MemoryEvent { path } => self.count_oom_kills(path),
                TreeChange::Populated { path } => self.take_last(path),
                TreeChange::Added { .. } | TreeChange::Removed { .. } => {}
            }
        }
        let mut registry = self.shared.registry.lock();
        if registry.tree_changes(changes) {
            pokes.iter().for_each(|p| p.notify_one());
        }
        self.shared.metrics.containers.set(crate::parse::value(registry.containers() as u64));
    }

    /// Reads the count while the cgroup is still there.
    fn count_oom_kills(&self, path: &str) {
        let Some(unified) = &self.hierarchy.unified else { return };
        let mut buffer = Buffer::new();
        let file = below(unified, path).join("memory.events");
        let count = read_once(&file, &mut buffer).ok().and_then(oom_kills);
        let mut ooms = self.shared.ooms.lock();
        if let Some(count) = count.filter(|n| *n > 0)
            && ooms.by_cgroup.len() < OOMS_MAX
        {
            ooms.by_cgroup.insert(path.to_owned(), count);
        }
    }

    /// Takes the last figures of a container if its last process has ended.
    fn take_last(&self, path: &str) {
        if !self.shared.registry.lock().is_container(path) {
            return;
        }
        let Some(figures) = LastFigures::read(&self.hierarchy, path, &mut Buffer::new()) else { return };
        let mut last = self.shared.last.lock();
        if last.len() < LAST_MAX {
            last.insert(path.to_owned(), (figures, 0));
        }
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Exit { container_id } => {
                let container = self.shared.registry.lock().index().by_container_id(&container_id);
                if let Some(container) = container {
                    self.take_last(&container.cgroup);
                }
            }
            Told::Layers(layers) => self.shared.layers.lock().get_or_insert_default().extend(layers),
            Told::Update { socket, update } => {
                let mut registry = self.shared.registry.lock();
                registry.runtime_update(socket, update);
                self.shared.metrics.containers.set(crate::parse::value(registry.containers() as u64));
            }
            Told::OomKill { socket, container_id } => {
                // Docker and the containerd below it tell of the same kill: the first is believed.
                if self.tellers.len() >= OOMS_MAX {
                    self.tellers.clear();
                }
                if *self.tellers.entry(container_id.clone()).or_insert_with(|| socket.clone()) != socket {
                    return;
                }
                let mut ooms = self.shared.ooms.lock();
                if ooms.by_container.len() < OOMS_MAX {
                    *ooms.by_container.entry(container_id).or_default() += 1;
                }
            }
            Told::State { socket, state } => {
                let mut sockets = self.shared.sockets.lock();
                let before = sockets.insert(socket.clone(), state.clone());
                let answering = sockets.values().filter(|s| matches!(s, SocketState::Answers(_))).count();
                self.shared.metrics.runtimes.set(crate::parse::value(answering as u64));
                if before.as_ref() == Some(&state) {
                    return;
                }
                if !matches!(state, SocketState::Answers(_)) {
                    // Another runtime that knows the container may tell of its kills from now on.
                    self.tellers.retain(|_, teller| *teller != socket);
                }
                match state {
                    SocketState::Answers(version) => {
                        tracing::info!(socket = %socket.display(), version, "container runtime answers");
                    }
                    SocketState::Fails(reason) => {
                        self.shared.metrics.runtime_errors.inc();
                        tracing::warn!(socket = %socket.display(), reason, "container runtime does not answer");
                    }
                    SocketState::Absent => {}
                }
            }
        }
    }
}

/// Waits until the kernel has something to tell; for ever where it cannot.
async fn wait_readable(fd: Option<&AsyncFd<OwnedFd>>) {
    match fd {
        None => std::future::pending().await,
        Some(fd) => match fd.readable().await {
            // All is read before the next wait, so the mark can be taken off at once.
            Ok(mut guard) => guard.clear_ready(),
            Err(_) => std::future::pending().await,
        },
    }
}
