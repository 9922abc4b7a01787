//! A snapshot made ready for judging: strings are numbers, pods of one template are one class, and what
//! never changes while nodes fail is worked out once.
//!
//! Nothing here changes after it is built; what does is [`crate::state::State`].

use std::collections::{HashMap, HashSet};

use crate::{
    Error, Snapshot,
    class::{self, Class, Shape},
    counter::{Counter, Counters},
    nodes::{NodeSets, Topology},
    objects::{DisruptionBudget, Node, Pod, PodSpec, Taint},
    quantity::CAP,
    requests,
    select::{LabelSet, Names, Selector, at, tolerates},
    template,
};

/// Nodes that are judged at once.
pub const MAX_NODES: usize = 20_000;
/// Pods that are judged at once.
pub const MAX_PODS: usize = 500_000;
/// Numbers in all counts of pods by place.
pub(crate) const MAX_CELLS: usize = 1 << 27;
/// Pairs of a budget and a pod of its namespace.
const MAX_BUDGET_PAIRS: usize = 1 << 26;
/// What is counted in one place: pods, and the points that pods give to nodes near them. Counts are `i32`.
const MAX_COUNT: i64 = 1 << 30;

/// Resources that are told apart.
const MAX_RESOURCES: usize = 256;

/// What all pods may hold and ask for together of one resource.
const MAX_SUM: i128 = 1 << 61;

/// No node.
pub(crate) const NO_NODE: u32 = u32::MAX;

/// Where CPU, memory, local storage and the number of pods stand among the resources.
pub(crate) const FIRST_RESOURCES: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pods"];
/// Where the number of pods stands.
pub(crate) const PODS: u16 = 3;

/// What becomes of the object of a failed node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailureMode {
    /// It stays, tainted as unreachable: its zone and host still count when pods are spread.
    #[default]
    Unreachable,
    /// It stays and somebody has said by the taint `node.kubernetes.io/out-of-service` that nothing runs there any
    /// more: its pods are removed by force, so that those of stateful sets are made anew as well.
    OutOfService,
    /// It is gone, as after a cloud has taken the machine back.
    Deleted,
}

impl FailureMode {
    /// Whether the node's object stays.
    pub(crate) fn keeps_node(self) -> bool {
        self != Self::Deleted
    }

    /// The taints of a failed node, as long as its object stays.
    pub(crate) fn taints(self) -> Vec<Taint> {
        let taint = |key: &str, value: &str, effect: &str| Taint {
            key: key.into(),
            value: value.into(),
            effect: effect.into(),
        };
        let mut taints =
            ["NoSchedule", "NoExecute"].map(|e| taint("node.kubernetes.io/unreachable", "", e)).to_vec();
        if self == Self::OutOfService {
            taints.push(taint("node.kubernetes.io/out-of-service", "nodeshutdown", "NoExecute"));
        }
        taints
    }
}

/// In which order the scheduler comes to displaced pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// By priority, then in the order of the snapshot: when all are made anew at once.
    #[default]
    Priority,
    /// In the order of the snapshot: when one is placed before the next is made.
    Arrival,
}

/// How a cluster is judged.
#[derive(Debug, Clone)]
pub struct Options {
    /// What becomes of the objects of failed nodes.
    pub mode: FailureMode,
    /// In which order displaced pods are placed.
    pub order: Order,
    /// Labels of nodes whose values may fail together.
    pub zone_keys: Vec<String>,
    /// Pods without an owner count as made anew by somebody, instead of as lost.
    pub bare_pods_return: bool,
    /// The scheduler's own soft spreading over hosts and zones, for pods that say nothing.
    pub default_spreading: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: FailureMode::Unreachable,
            order: Order::Priority,
            zone_keys: vec!["topology.kubernetes.io/zone".into()],
            bare_pods_return: false,
            default_spreading: true,
        }
    }
}

/// What becomes of a pod whose node fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Its owner makes it anew, and it needs a place.
    Displaced,
    /// One of a daemon set: it belongs to its node.
    Daemon,
    /// The kubelet's own.
    Static,
    /// It has no owner: it is lost.
    Bare,
    /// It was being deleted anyway.
    Leaving,
}

/// A pod that runs.
#[derive(Debug)]
pub(crate) struct Slot {
    pub class: u32,
    pub node: u32,
    pub fate: Fate,
}

/// A budget of disruptions.
#[derive(Debug)]
pub(crate) struct Budget {
    pub name: String,
    pub allowed: i64,
    /// The pods that it is for.
    pub pods: Vec<u32>,
}

/// A cluster, ready to be judged.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) options: Options,
    pub(crate) names: Names,
    pub(crate) node_names: Vec<String>,
    pub(crate) node_labels: Vec<LabelSet>,
    /// Nodes that were ready, so that their failure is news.
    pub(crate) ready: Vec<bool>,
    pub(crate) resources: Vec<String>,
    /// What each node has: all nodes of the first resource, then of the second, …
    pub(crate) allocatable: Vec<i64>,
    pub(crate) topologies: Vec<Topology>,
    pub(crate) counters: Vec<Counter>,
    pub(crate) cells: usize,
    pub(crate) sets: NodeSets,
    pub(crate) classes: Vec<Class>,
    pub(crate) shapes: Vec<Shape>,
    /// Points of nodes, by what classes prefer.
    pub(crate) preferences: Vec<Vec<i32>>,
    pub(crate) port_conflicts: Vec<Vec<u32>>,
    pub(crate) exclusive_claims: usize,
    pub(crate) pods: Vec<Slot>,
    pub(crate) pod_names: Vec<String>,
    /// The pods of each node, in the snapshot's order.
    pub(crate) pods_of_node: Vec<Vec<u32>>,
    pub(crate) budgets: Vec<Budget>,
    pub(crate) pending: Vec<String>,
    pub(crate) gated: Vec<String>,
    pub(crate) notes: Vec<String>,
}

impl Cluster {
    /// Makes a snapshot ready.
    pub fn new(snapshot: &Snapshot, options: &Options) -> Result<Self, Error> {
        if snapshot.nodes.is_empty() {
            return Err(Error::NoNodes);
        }
        for (what, found, limit) in
            [("nodes", snapshot.nodes.len(), MAX_NODES), ("pods", snapshot.pods.len(), MAX_PODS)]
        {
            if found > limit {
                return Err(Error::TooLarge { what, found, limit });
            }
        }
        let mut names = Names::default();
        let node_names: Vec<String> = snapshot.nodes.iter().map(|n| n.metadata.name.clone()).collect();
        let mut index = HashMap::new();
        for (i, name) in node_names.iter().enumerate() {
            names.id(name);
            if index.insert(name.as_str(), i).is_some() {
                return Err(Error::Twice { object: format!("node {name:?}") });
            }
        }
        let node_labels = snapshot.nodes.iter().map(|n| names.labels(&n.metadata.labels, |_| true)).collect();
        let mut cluster = Self {
            options: options.clone(),
            names,
            node_labels,
            ready: snapshot.nodes.iter().map(Node::is_ready).collect(),
            resources: FIRST_RESOURCES.map(str::to_owned).to_vec(),
            allocatable: Vec::new(),
            topologies: Vec::new(),
            counters: Vec::new(),
            cells: 0,
            sets: NodeSets::default(),
            classes: Vec::new(),
            shapes: Vec::new(),
            preferences: Vec::new(),
            port_conflicts: Vec::new(),
            exclusive_claims: 0,
            pods: Vec::new(),
            pod_names: Vec::new(),
            pods_of_node: vec![Vec::new(); node_names.len()],
            budgets: Vec::new(),
            pending: Vec::new(),
            gated: Vec::new(),
            notes: Vec::new(),
            node_names: node_names.clone(),
        };
        let (templates, template_of) = cluster.place_pods(snapshot, &index)?;
        let mut counters = Counters::default();
        let mut compiler = class::Compiler::new(snapshot, options, &mut cluster, &mut counters)?;
        for template in &templates {
            compiler.compile(template)?;
        }
        compiler.finish();
        counters.link(&mut cluster)?;
        cluster.read_allocatable(snapshot)?;
        for (slot, template) in cluster.pods.iter_mut().zip(template_of) {
            slot.class = template;
        }
        cluster.check_sums()?;
        cluster.read_budgets(snapshot)?;
        if cluster.cells > MAX_CELLS {
            return Err(Error::TooLarge {
                what: "counts of pods by place",
                found: cluster.cells,
                limit: MAX_CELLS,
            });
        }
        Ok(cluster)
    }

    /// Names of the nodes, in the snapshot's order.
    pub fn node_names(&self) -> &[String] {
        &self.node_names
    }

    /// What the reader should know of this snapshot.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How many pods run, and how many kinds of them there are.
    pub fn size(&self) -> (usize, usize) {
        (self.pods.len(), self.classes.len())
    }

    /// Namespace and name of a pod.
    pub fn pod_name(&self, pod: u32) -> &str {
        &self.pod_names[pod as usize]
    }

    /// The rank of a pod.
    pub fn priority(&self, pod: u32) -> i64 {
        self.classes[self.pods[pod as usize].class as usize].priority
    }

    /// The number of a node.
    pub fn node(&self, name: &str) -> Result<u32, Error> {
        let place = self.node_names.iter().position(|n| n == name);
        let place = place.ok_or_else(|| Error::NoSuchNode { name: name.to_owned() })?;
        Ok(u32::try_from(place).expect("BUG: more nodes than the limit"))
    }

    /// Sorts pods into those that run and those that wait, and gives the templates of the first with the
    /// template of each.
    fn place_pods<'s>(
        &mut self,
        snapshot: &'s Snapshot,
        index: &HashMap<&str, usize>,
    ) -> Result<(Vec<template::Template<'s>>, Vec<u32>), Error> {
        let keys = template::selected_keys(snapshot);
        let mut names_seen = HashSet::with_capacity(snapshot.pods.len());
        let mut ids: HashMap<template::Template<'s>, u32> = HashMap::new();
        let mut templates = Vec::new();
        let mut template_of = Vec::new();
        let (mut elsewhere, mut kept) = (0, 0);
        for pod in &snapshot.pods {
            let (namespace, name) = (pod.metadata.namespace.as_str(), pod.metadata.name.as_str());
            if !names_seen.insert((namespace, name)) {
                return Err(Error::Twice { object: format!("pod {}", pod_name(pod)) });
            }
            if matches!(pod.status.phase.as_str(), "Succeeded" | "Failed") {
                continue;
            }
            if pod.spec.node_name.is_empty() {
                if pod.spec.scheduling_gates.is_empty() { &mut self.pending } else { &mut self.gated }
                    .push(pod_name(pod));
                continue;
            }
            let Some(&node) = index.get(pod.spec.node_name.as_str()) else {
                elsewhere += 1;
                continue;
            };
            let fate = fate(pod, &self.options);
            let labels = self.names.labels(&pod.metadata.labels, |k| keys.contains(k));
            let template = template::Template::new(pod, labels, fate);
            kept += usize::from(fate == Fate::Displaced && template.keeps_its_place());
            let id = *ids.entry(template.clone()).or_insert_with(|| {
                templates.push(template);
                u32::try_from(templates.len() - 1).expect("BUG: more templates than pods")
            });
            template_of.push(id);
            let number = u32::try_from(self.pods.len()).expect("BUG: more pods than the limit");
            self.pods_of_node[node].push(number);
            let node = u32::try_from(node).expect("BUG: more nodes than the limit");
            self.pods.push(Slot { class: id, node, fate });
            self.pod_names.push(pod_name(pod));
        }
        if elsewhere > 0 {
            self.notes.push(format!(
                "{elsewhere} pods run on nodes that are not in the snapshot; they are left out"
            ));
        }
        if kept > 0 && self.options.mode == FailureMode::Unreachable {
            self.notes.push(format!(
                "{kept} pods of stateful sets are not made anew while the object of their failed node stays: they are \
                 down until it answers, is deleted or is tainted as out of service, and are told as bound to it, not \
                 as without a place"
            ));
        }
        Ok((templates, template_of))
    }

    /// The number of a resource, given when it is new.
    pub(crate) fn resource(&mut self, name: &str) -> Result<u16, Error> {
        let found = self.resources.iter().position(|r| r == name).unwrap_or(self.resources.len());
        if found == MAX_RESOURCES {
            return Err(Error::TooLarge { what: "resources", found: found + 1, limit: MAX_RESOURCES });
        }
        if found == self.resources.len() {
            self.resources.push(name.to_owned());
        }
        Ok(u16::try_from(found).expect("BUG: fewer resources than the limit"))
    }

    /// The number of the topology of a label, given when it is new.
    pub(crate) fn topology(&mut self, key: &str) -> u32 {
        let key = self.names.id(key);
        let found = self.topologies.iter().position(|t| t.key == key).unwrap_or_else(|| {
            self.topologies.push(Topology::new(key, &self.node_labels));
            self.topologies.len() - 1
        });
        u32::try_from(found).expect("BUG: more topologies than labels")
    }

    /// What nodes have of the resources that pods ask for. Volumes that a driver attaches are such a
    /// resource; a driver that says no number attaches any.
    fn read_allocatable(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        let nodes = snapshot.nodes.len();
        let drivers: HashMap<&str, _> =
            snapshot.csi_nodes.iter().map(|c| (c.metadata.name.as_str(), &c.spec.drivers)).collect();
        let mut allocatable = vec![0; nodes * self.resources.len()];
        for (n, node) in snapshot.nodes.iter().enumerate() {
            let amounts =
                requests::amounts(&node.status.allocatable, || format!("node {:?}", node.metadata.name))?;
            for (r, resource) in self.resources.iter().enumerate() {
                allocatable[r * nodes + n] = match resource.strip_prefix(class::ATTACHED) {
                    None => amounts.get(resource.as_str()).copied().unwrap_or(0),
                    Some(driver) => drivers
                        .get(node.metadata.name.as_str())
                        .and_then(|list| list.iter().find(|d| d.name == driver))
                        .and_then(|d| d.allocatable.as_ref()?.count)
                        .map_or(CAP, |count| count.clamp(0, CAP)),
                };
            }
        }
        self.allocatable = allocatable;
        Ok(())
    }

    /// Sums over all pods must stay far from the limits of the numbers in which room is counted.
    fn check_sums(&self) -> Result<(), Error> {
        let mut sums = vec![0i128; self.resources.len()];
        for pod in &self.pods {
            let class = &self.classes[pod.class as usize];
            let asks = &self.shapes[class.shape as usize].asks;
            for (resource, amount) in class.held.iter().chain(asks) {
                sums[usize::from(*resource)] += i128::from(*amount);
            }
        }
        if let Some(resource) = sums.iter().position(|sum| *sum > MAX_SUM) {
            return Err(Error::Sum { resource: self.resources[resource].clone() });
        }
        self.check_counts()
    }

    /// As if all pods were in one place.
    pub(crate) fn check_counts(&self) -> Result<(), Error> {
        let mut pods_of = vec![0i64; self.classes.len()];
        for pod in &self.pods {
            pods_of[pod.class as usize] += 1;
        }
        let mut counts = vec![0i64; self.counters.len()];
        for (class, pods) in self.classes.iter().zip(pods_of) {
            for (counter, by) in &class.adds {
                let count = &mut counts[*counter as usize];
                *count = count.saturating_add(pods * i64::from(by.unsigned_abs()));
            }
        }
        let most = counts.into_iter().max().unwrap_or(0);
        if most > MAX_COUNT {
            return Err(Error::TooLarge {
                what: "points that pods give to nodes near them",
                found: usize::try_from(most).unwrap_or(usize::MAX),
                limit: MAX_COUNT as usize,
            });
        }
        Ok(())
    }

    fn read_budgets(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        let mut pods_of = HashMap::new();
        let number: HashMap<&str, u32> = self.pod_names.iter().map(String::as_str).zip(0..).collect();
        for pod in &snapshot.pods {
            if let Some(id) = number.get(pod_name(pod).as_str()) {
                pods_of.entry(pod.metadata.namespace.as_str()).or_insert_with(Vec::new).push((*id, pod));
            }
        }
        let of =
            |budget: &DisruptionBudget| pods_of.get(budget.metadata.namespace.as_str()).map_or(0, Vec::len);
        let pairs = snapshot.budgets.iter().fold(0usize, |sum, budget| sum.saturating_add(of(budget)));
        if pairs > MAX_BUDGET_PAIRS {
            return Err(Error::TooLarge {
                what: "pairs of a disruption budget and a pod",
                found: pairs,
                limit: MAX_BUDGET_PAIRS,
            });
        }
        let mut budgets = Vec::new();
        for budget in &snapshot.budgets {
            let name = format!("{}/{}", budget.metadata.namespace, budget.metadata.name);
            let selector = Selector::read(budget.spec.selector.as_ref(), &mut self.names)
                .map_err(at(|| format!("budget {name}")))?;
            let mut pods = Vec::new();
            for (id, pod) in pods_of.get(budget.metadata.namespace.as_str()).into_iter().flatten() {
                let labels = self.names.labels(&pod.metadata.labels, |_| true);
                if selector.selects(&labels, &self.names) {
                    pods.push(*id);
                }
            }
            budgets.push(Budget { name, allowed: budget.status.disruptions_allowed, pods });
        }
        self.budgets = budgets;
        Ok(())
    }
}

/// Namespace and name.
pub(crate) fn pod_name(pod: &Pod) -> String {
    let namespace = if pod.metadata.namespace.is_empty() { "default" } else { &pod.metadata.namespace };
    format!("{namespace}/{}", pod.metadata.name)
}

fn fate(pod: &Pod, options: &Options) -> Fate {
    let controller = pod.metadata.owner_references.iter().find(|o| o.controller);
    let annotations = &pod.metadata.annotations;
    if annotations.contains_key("kubernetes.io/config.mirror") || controller.is_some_and(|o| o.kind == "Node")
    {
        Fate::Static
    } else if controller.is_some_and(|o| o.kind == "DaemonSet") {
        Fate::Daemon
    } else if pod.metadata.deletion_timestamp.is_some() {
        Fate::Leaving
    } else if controller.is_none() && !options.bare_pods_return {
        Fate::Bare
    } else {
        Fate::Displaced
    }
}

/// Whether each node of a kind has one of these.
pub(crate) fn goes_with_its_node(pod: &Pod, options: &Options) -> bool {
    matches!(fate(pod, options), Fate::Daemon | Fate::Static)
}

/// Whether a pod stays bound to a failed node whose object stays: it bears its taints for ever.
pub(crate) fn stays_when_failed(pod: &PodSpec, mode: FailureMode) -> bool {
    let evicts = |taint: &&Taint| taint.effect == "NoExecute";
    mode.taints().iter().filter(evicts).all(|taint| {
        // Of several that tolerate it the first counts.
        let first = pod.tolerations.iter().find(|t| tolerates(t, taint));
        first.is_some_and(|t| t.toleration_seconds.is_none())
    })
}
