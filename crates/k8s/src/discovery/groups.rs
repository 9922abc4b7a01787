//! The groups of targets of all objects. One that depends on nothing that has changed is not built again.

use std::cell::RefCell;

use hashbrown::HashMap;
use parking_lot::RwLockReadGuard;
use vedette_config::discovery::{AttachMetadata, Kubernetes, Role};
use vedette_model::TargetGroup;

use super::{
    labels,
    sources::{Scope, Sources},
};
use crate::{
    SharedWatch, Shelf,
    objects::{Job, Namespace, Node, Object, Pod, ReplicaSet, Service, key},
};

/// What was built, by the source of each group.
pub(super) struct Groups {
    role: Role,
    attach: AttachMetadata,
    built: HashMap<Box<str>, Built>,
    /// Tells what the last pass has seen from what is gone.
    pass: u64,
}

struct Built {
    /// The state of the object itself.
    version: u64,
    nodes_decide: bool,
    depends_on: Box<[Dependency]>,
    /// `None` where the object is no target, so that not even an empty group is told.
    group: Option<TargetGroup>,
    pass: u64,
}

/// An object that was looked at, and its state then; 0 if it was not there.
struct Dependency(Table, Box<str>, u64);

#[derive(Clone, Copy)]
enum Table {
    Nodes,
    Namespaces,
    Pods,
    Services,
    ReplicaSets,
    Jobs,
}

type Guard<'a, O> = Option<RwLockReadGuard<'a, Shelf<O>>>;

/// All objects as they are now, and which were looked at.
pub(super) struct View<'a> {
    pub(super) attach: AttachMetadata,
    /// Whether pods on nodes that are not known are no targets.
    pub(super) nodes_decide: bool,
    nodes: &'a Guard<'a, Node>,
    namespaces: &'a Guard<'a, Namespace>,
    pods: Guard<'a, Pod>,
    services: Guard<'a, Service>,
    replica_sets: Guard<'a, ReplicaSet>,
    jobs: Guard<'a, Job>,
    looked_at: RefCell<Vec<Dependency>>,
}

impl Groups {
    pub(super) fn new(config: &Kubernetes) -> Self {
        Self { role: config.role, attach: config.attach_metadata, built: HashMap::new(), pass: 0 }
    }

    /// The groups of all objects that are there now.
    pub(super) fn build(&mut self, sources: &Sources) -> Vec<TargetGroup> {
        self.pass += 1;
        let mut all = Vec::new();
        let nodes = lock(sources.nodes.as_deref());
        let namespaces = lock(sources.namespaces.as_deref());
        for scope in &sources.scopes {
            let view = View {
                attach: self.attach,
                nodes_decide: self.attach.node && sources.nodes_decide(),
                nodes: &nodes,
                namespaces: &namespaces,
                // In one order for all roles, or builders and writers that wait block each other for ever.
                replica_sets: lock(scope.replica_sets.as_deref()),
                jobs: lock(scope.jobs.as_deref()),
                // The objects that are targets are locked where they are walked over.
                pods: lock(scope.pods.as_deref().filter(|_| self.role != Role::Pod)),
                services: lock(scope.services.as_deref().filter(|_| self.role != Role::Service)),
                looked_at: RefCell::default(),
            };
            self.build_scope(scope, &view, &mut all);
        }
        let pass = self.pass;
        self.built.retain(|_, built| built.pass == pass);
        all
    }

    fn build_scope(&mut self, scope: &Scope, view: &View<'_>, all: &mut Vec<TargetGroup>) {
        match self.role {
            Role::Node => {
                if let Some(nodes) = view.nodes {
                    self.walk(nodes, "node", view, all, |node, _| labels::node(node));
                }
            }
            Role::Pod => self.walk_all(scope.pods.as_deref(), "pod", view, all, labels::pod),
            Role::Service => self.walk_all(scope.services.as_deref(), "svc", view, all, labels::service),
            Role::Endpoints => {
                self.walk_all(scope.endpoints.as_deref(), "endpoints", view, all, labels::endpoints);
            }
            Role::EndpointSlice => {
                self.walk_all(scope.slices.as_deref(), "endpointslice", view, all, labels::endpoint_slice);
            }
            Role::Ingress => self.walk_all(scope.ingresses.as_deref(), "ingress", view, all, labels::ingress),
        }
    }

    fn walk_all<O: Object>(
        &mut self,
        watched: Option<&SharedWatch<O>>,
        kind: &str,
        view: &View<'_>,
        all: &mut Vec<TargetGroup>,
        build: impl Fn(&O, &View<'_>) -> TargetGroup,
    ) {
        if let Some(watched) = watched {
            let objects = watched.objects();
            self.walk(&objects, kind, view, all, |object, view| Some(build(object, view)));
        }
    }

    fn walk<O: Object>(
        &mut self,
        objects: &Shelf<O>,
        kind: &str,
        view: &View<'_>,
        all: &mut Vec<TargetGroup>,
        build: impl Fn(&O, &View<'_>) -> Option<TargetGroup>,
    ) {
        for (key, object, version) in objects.iter() {
            let source = [kind, "/", key].concat();
            if let Some(built) = self.built.get_mut(&*source)
                && built.version == version
                && built.nodes_decide == view.nodes_decide
                && built
                    .depends_on
                    .iter()
                    .all(|Dependency(table, key, version)| view.version(*table, key) == *version)
            {
                built.pass = self.pass;
                all.extend(built.group.clone());
                continue;
            }
            let mut group = build(object, view);
            if let Some(group) = &mut group {
                group.source.clone_from(&source);
            }
            all.extend(group.clone());
            let depends_on = view.looked_at.take().into_boxed_slice();
            let nodes_decide = view.nodes_decide;
            let built = Built { version, nodes_decide, depends_on, group, pass: self.pass };
            self.built.insert(source.into_boxed_str(), built);
        }
    }
}

impl View<'_> {
    /// The node of this name, where nodes are told.
    pub(super) fn node(&self, name: &str) -> Option<&Node> {
        self.find(self.nodes, Table::Nodes, name.into())
    }

    /// The namespace of this name, where namespaces are told.
    pub(super) fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.find(self.namespaces, Table::Namespaces, name.into())
    }

    pub(super) fn pod(&self, namespace: &str, name: &str) -> Option<&Pod> {
        self.find(&self.pods, Table::Pods, key(namespace, name))
    }

    pub(super) fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.find(&self.services, Table::Services, key(namespace, name))
    }

    pub(super) fn replica_set(&self, namespace: &str, name: &str) -> Option<&ReplicaSet> {
        self.find(&self.replica_sets, Table::ReplicaSets, key(namespace, name))
    }

    pub(super) fn job(&self, namespace: &str, name: &str) -> Option<&Job> {
        self.find(&self.jobs, Table::Jobs, key(namespace, name))
    }

    fn find<'a, O: Object>(&'a self, shelf: &'a Guard<'_, O>, table: Table, key: Box<str>) -> Option<&'a O> {
        let found = shelf.as_ref()?.get(&key);
        let version = found.map_or(0, |(_, version)| version);
        self.looked_at.borrow_mut().push(Dependency(table, key, version));
        found.map(|(object, _)| &**object)
    }

    fn version(&self, table: Table, key: &str) -> u64 {
        match table {
            Table::Nodes => version(self.nodes, key),
            Table::Namespaces => version(self.namespaces, key),
            Table::Pods => version(&self.pods, key),
            Table::Services => version(&self.services, key),
            Table::ReplicaSets => version(&self.replica_sets, key),
            Table::Jobs => version(&self.jobs, key),
        }
    }
}

fn lock<O>(watched: Option<&SharedWatch<O>>) -> Guard<'_, O> {
    watched.map(SharedWatch::objects)
}

fn version<O: Object>(shelf: &Guard<'_, O>, key: &str) -> u64 {
    shelf.as_ref().and_then(|shelf| shelf.get(key)).map_or(0, |(_, version)| version)
}
