//! One watch for all who want the same objects of the same cluster.

use std::{
    any::{Any, TypeId},
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Weak},
    task::Poll,
};

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};
use vedette_http_client::Options;
use vedette_sys::Clock;

use crate::{
    Api, Connection, Health, Shelf, Sink, Timing, What,
    api::SharedApi,
    objects::{AnyResource, Listed, Meta, Object, Resource},
    watch::Watch,
};

/// All clusters and watches that are in use.
pub struct Hub {
    runtime: Handle,
    options: Options,
    timing: Timing,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    clusters: Vec<(Connection, Weak<Api>)>,
    /// By the place of the cluster in memory, which is its own as long as a watch of it lives, and by what is
    /// made of the objects: the same resource may be read in several ways.
    watches: HashMap<(usize, TypeId, Resource, What), Weak<dyn Any + Send + Sync>>,
}

/// The objects of one kind, kept as they are. Dropped by the last who wants them, it ends.
pub struct SharedWatch<O> {
    shelf: Arc<Kept<O>>,
    health: Arc<Health>,
    task: JoinHandle<()>,
    /// The cluster must stay where it is as long as the watch is found by its place.
    _api: SharedApi,
}

/// Starts watches, each for one alone.
#[derive(Clone)]
pub(crate) struct Starter {
    pub(crate) runtime: Handle,
    clock: Arc<dyn Clock>,
    pub(crate) timing: Timing,
}

impl Starter {
    /// Begins to watch; the task never ends by itself.
    pub(crate) fn start<O: Listed, S: Sink<O> + 'static>(
        &self,
        api: &SharedApi,
        resource: AnyResource,
        what: What,
        sink: Arc<S>,
    ) -> (Arc<Health>, JoinHandle<()>) {
        let health = Arc::new(Health::new(resource));
        let clock = self.clock.clone();
        let watch = Watch::new(api.clone(), what, sink, health.clone(), clock, self.timing);
        (health, self.runtime.spawn(watch.run()))
    }
}

struct Kept<O> {
    shelf: RwLock<Shelf<O>>,
    /// Grows with every change, once for many that come together.
    changes: watch::Sender<u64>,
}

impl Hub {
    /// No cluster yet.
    pub fn new(runtime: Handle, options: Options, timing: Timing) -> Self {
        Self { runtime, options, timing, inner: Mutex::default() }
    }

    /// Time.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.options.clock
    }

    /// The cluster that is reached so.
    pub fn cluster(&self, connection: Connection) -> Arc<Api> {
        let mut inner = self.inner.lock();
        inner.clusters.retain(|(_, api)| api.strong_count() > 0);
        let known = inner.clusters.iter().find(|(known, _)| *known == connection);
        if let Some(api) = known.and_then(|(_, api)| api.upgrade()) {
            return api;
        }
        let api = Arc::new(Api::new(connection.clone(), self.options.clone()));
        inner.clusters.push((connection, Arc::downgrade(&api)));
        api
    }

    /// The watch of these objects, which begins if nobody wanted them before.
    pub fn watch<O: Object>(&self, api: &Arc<Api>, what: What) -> Arc<SharedWatch<O>> {
        let place = Arc::as_ptr(api).addr();
        let mut inner = self.inner.lock();
        inner.watches.retain(|_, watch| watch.strong_count() > 0);
        let key = (place, TypeId::of::<O>(), O::RESOURCE, what.clone());
        let known = inner.watches.get(&key).and_then(Weak::upgrade);
        if let Some(known) = known.and_then(|known| known.downcast::<SharedWatch<O>>().ok()) {
            return known;
        }
        let shelf = Arc::new(Kept { shelf: RwLock::default(), changes: watch::channel(0).0 });
        let (health, task) = self.starter().start::<O, _>(api, O::RESOURCE.any(), what, shelf.clone());
        let shared = Arc::new(SharedWatch { shelf, health, task, _api: api.clone() });
        let weak: Weak<SharedWatch<O>> = Arc::downgrade(&shared);
        inner.watches.insert(key, weak);
        shared
    }

    /// The watch of these objects, if somebody wants them already.
    pub fn known<O: Object>(&self, api: &Arc<Api>, what: What) -> Option<Arc<SharedWatch<O>>> {
        let key = (Arc::as_ptr(api).addr(), TypeId::of::<O>(), O::RESOURCE, what);
        let known = self.inner.lock().watches.get(&key).and_then(Weak::upgrade)?;
        known.downcast().ok()
    }

    /// A watch for one alone, who keeps what it tells.
    pub(crate) fn feed<O: Object, S: Sink<O> + 'static>(
        &self,
        api: &Arc<Api>,
        what: What,
        sink: Arc<S>,
    ) -> (Arc<Health>, JoinHandle<()>) {
        self.starter().start::<O, S>(api, O::RESOURCE.any(), what, sink)
    }

    /// For whoever learns only later what there is to watch.
    pub(crate) fn starter(&self) -> Starter {
        let (runtime, clock) = (self.runtime.clone(), self.options.clock.clone());
        Starter { runtime, clock, timing: self.timing }
    }

    /// How many watches run.
    pub fn watches(&self) -> usize {
        self.inner.lock().watches.values().filter(|watch| watch.strong_count() > 0).count()
    }
}

impl<O> SharedWatch<O> {
    /// The objects as they are. Whoever reads holds the watch up.
    pub fn objects(&self) -> RwLockReadGuard<'_, Shelf<O>> {
        self.shelf.shelf.read()
    }

    /// How the watch is.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Tells of changes, of the objects or of how the watch is.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shelf.changes.subscribe()
    }
}

impl<O> Drop for SharedWatch<O> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<O: Object> Sink<O> for Kept<O> {
    fn begin(&self) {
        self.shelf.write().begin();
    }

    fn put(&self, object: O) {
        self.shelf.write().put(object);
    }

    fn remove(&self, meta: &Meta) {
        self.shelf.write().remove(&meta.key());
    }

    fn finish(&self) {
        self.shelf.write().finish();
    }

    fn settle(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }
}

/// Waits until one of several watches tells of a change.
pub async fn any_change(receivers: &mut [watch::Receiver<u64>]) {
    let mut waits: Vec<Pin<Box<_>>> =
        receivers.iter_mut().map(|receiver| Box::pin(receiver.changed())).collect();
    poll_fn(|context| {
        let is_ready = waits.iter_mut().any(|wait| wait.as_mut().poll(context).is_ready());
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
