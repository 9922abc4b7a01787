//! The watches that one entry needs: of the objects that are targets, and of those that are told with
//! them.

use std::sync::Arc;

use tokio::sync::watch;
use vedette_config::discovery::{Kubernetes, Role};

use crate::{
    Api, Hub, SharedWatch, WatchState, What,
    objects::{
        EndpointSlice, Endpoints, Ingress, Job, Namespace, Node, Object, Pod, ReplicaSet, Resource, Service,
    },
};

type Watched<O> = Option<Arc<SharedWatch<O>>>;

/// All watches of an entry.
pub(super) struct Sources {
    pub(super) nodes: Watched<Node>,
    pub(super) namespaces: Watched<Namespace>,
    pub(super) scopes: Vec<Scope>,
    role: Role,
    /// Whether nodes choose which pods are targets, so that without them nothing can be told.
    nodes_choose: bool,
}

/// The watches of one namespace, or of all.
#[derive(Default)]
pub(super) struct Scope {
    pub(super) pods: Watched<Pod>,
    pub(super) services: Watched<Service>,
    pub(super) endpoints: Watched<Endpoints>,
    pub(super) slices: Watched<EndpointSlice>,
    pub(super) ingresses: Watched<Ingress>,
    pub(super) replica_sets: Watched<ReplicaSet>,
    pub(super) jobs: Watched<Job>,
}

/// How all watches are.
pub(super) struct States {
    pub(super) may_tell: bool,
    pub(super) trouble: Result<(), String>,
}

impl Sources {
    pub(super) fn open(
        hub: &Hub,
        api: &Arc<Api>,
        config: &Kubernetes,
        namespaces: &[Option<Box<str>>],
    ) -> Self {
        let role = config.role;
        let attach = config.attach_metadata;
        let of = |wanted: Role, namespace: &Option<Box<str>>| {
            let selector = config.selectors.iter().find(|selector| selector.role == wanted);
            What {
                namespace: namespace.clone(),
                labels: selector.map(|s| s.label.as_str()).unwrap_or_default().into(),
                fields: selector.map(|s| s.field.as_str()).unwrap_or_default().into(),
            }
        };
        let has_pods = matches!(role, Role::Pod | Role::Endpoints | Role::EndpointSlice);
        let is_behind_service = matches!(role, Role::Endpoints | Role::EndpointSlice);
        let scope = |namespace: &Option<Box<str>>| {
            let plain = || What { namespace: namespace.clone(), ..What::default() };
            let jobs = has_pods && attach.cronjob;
            Scope {
                pods: has_pods.then(|| hub.watch(api, of(Role::Pod, namespace))),
                services: (role == Role::Service || is_behind_service)
                    .then(|| hub.watch(api, of(Role::Service, namespace))),
                endpoints: (role == Role::Endpoints).then(|| hub.watch(api, of(Role::Endpoints, namespace))),
                slices: (role == Role::EndpointSlice)
                    .then(|| hub.watch(api, of(Role::EndpointSlice, namespace))),
                ingresses: (role == Role::Ingress).then(|| hub.watch(api, of(Role::Ingress, namespace))),
                replica_sets: (has_pods && attach.deployment).then(|| hub.watch(api, plain())),
                jobs: jobs.then(|| hub.watch(api, plain())),
            }
        };
        let has_nodes = role == Role::Node || has_pods && attach.node;
        let has_namespaces = role != Role::Node && attach.namespace;
        Self {
            nodes: has_nodes.then(|| hub.watch(api, of(Role::Node, &None))),
            namespaces: has_namespaces.then(|| hub.watch(api, What::default())),
            scopes: namespaces.iter().map(scope).collect(),
            role,
            nodes_choose: role == Role::Pod && config.selectors.iter().any(|s| s.role == Role::Node),
        }
    }

    /// By which changes are told.
    pub(super) fn receivers(&self) -> Vec<watch::Receiver<u64>> {
        let mut all = Vec::new();
        push(&mut all, &self.nodes);
        push(&mut all, &self.namespaces);
        for scope in &self.scopes {
            push(&mut all, &scope.pods);
            push(&mut all, &scope.services);
            push(&mut all, &scope.endpoints);
            push(&mut all, &scope.slices);
            push(&mut all, &scope.ingresses);
            push(&mut all, &scope.replica_sets);
            push(&mut all, &scope.jobs);
        }
        all
    }

    /// Whether targets can be told, and what goes wrong.
    pub(super) fn states(&self) -> States {
        let mut all = Vec::new();
        state(&mut all, &self.nodes, self.role == Role::Node || self.nodes_choose);
        state(&mut all, &self.namespaces, false);
        for scope in &self.scopes {
            state(&mut all, &scope.pods, self.role == Role::Pod);
            state(&mut all, &scope.services, self.role == Role::Service);
            state(&mut all, &scope.endpoints, true);
            state(&mut all, &scope.slices, true);
            state(&mut all, &scope.ingresses, true);
            state(&mut all, &scope.replica_sets, false);
            state(&mut all, &scope.jobs, false);
        }
        let is_ready = |(is_needed, _, state): &(bool, Resource, WatchState)| {
            let is_forbidden = state.trouble.as_ref().is_some_and(|trouble| trouble.missing.is_some());
            state.is_whole || !is_needed && is_forbidden
        };
        let troubles: Vec<String> = all
            .iter()
            .filter_map(|(_, resource, state)| Some(state.trouble.as_ref()?.told(resource, state.is_whole)))
            .collect();
        States {
            may_tell: all.iter().all(is_ready),
            trouble: if troubles.is_empty() { Ok(()) } else { Err(troubles.join("; ")) },
        }
    }

    /// Whether a pod on a node that is not known is no target.
    pub(super) fn nodes_decide(&self) -> bool {
        self.nodes.as_ref().is_some_and(|nodes| nodes.health().state().is_whole)
    }
}

fn push<O>(all: &mut Vec<watch::Receiver<u64>>, watched: &Watched<O>) {
    all.extend(watched.as_ref().map(|watched| watched.changes()));
}

fn state<O: Object>(all: &mut Vec<(bool, Resource, WatchState)>, watched: &Watched<O>, is_needed: bool) {
    all.extend(watched.as_ref().map(|watched| (is_needed, O::RESOURCE, watched.health().state())));
}
