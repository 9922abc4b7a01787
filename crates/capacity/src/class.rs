//! Classes of pods: what pods of one template have in common, compiled to numbers and sets of nodes.

mod limits;

use std::collections::{HashMap, HashSet};

use crate::{
    Error, Snapshot,
    cluster::{Cluster, FIRST_RESOURCES, FailureMode, Fate, Options, PODS, pod_name, stays_when_failed},
    counter::{ALL_NODES, Counters, Matcher, Namespaces, Part, Subject, What},
    nodes::NodeSet,
    objects::{
        Entries, LabelSelector, Labels, Node, NodeSelector, Pod, PodTerm, PreferredNodes, Spread, Taint,
        Toleration,
    },
    requests::{self, Which},
    select::{self, Condition, LabelSet, NodeConditions, NodeView, Selector, at, tolerated},
    template::Template,
    volumes::Volumes,
};

/// Prefix of the resource that volumes attached by a driver are.
pub(crate) const ATTACHED: &str = "attached volumes of ";

/// Host ports that are told apart.
const MAX_PORTS: usize = 4096;
/// Weight of a required term of a pod near, in the scores of nodes for pods that it selects.
const REQUIRED_WEIGHT: i32 = 1;
/// Labels by which pods that say nothing are spread, and the skew that is given to each.
const DEFAULT_SPREADING: [(&str, i32); 2] =
    [("kubernetes.io/hostname", 3), ("topology.kubernetes.io/zone", 5)];
/// The label of a node's name.
pub(crate) const HOSTNAME: &str = "kubernetes.io/hostname";

/// What decides whether a node has room, apart from other pods' wishes. Classes share shapes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    /// Resources and amounts, none of them zero.
    pub asks: Vec<(u16, i64)>,
    /// CPU and memory with the scheduler's assumptions.
    pub assumed: [i64; 2],
    /// The nodes that it may run on.
    pub nodes: u32,
    pub ports: Vec<u32>,
}

/// A constraint of spreading that must hold.
#[derive(Debug)]
pub(crate) struct HardSpread {
    pub counter: u32,
    pub max_skew: i64,
    pub min_places: i64,
    pub counts_itself: bool,
}

/// A constraint of spreading that should hold.
#[derive(Debug)]
pub(crate) struct SoftSpread {
    pub counter: u32,
    pub max_skew: i32,
    pub is_host: bool,
}

/// Pods that no judgement tells apart.
#[derive(Debug)]
pub(crate) struct Class {
    pub priority: i64,
    pub shape: u32,
    /// What the running pods hold.
    pub held: Vec<(u16, i64)>,
    /// The scheduler may place them on a node that does not answer.
    pub bears_failed: bool,
    /// They stay bound to a failed node.
    pub stays: bool,
    /// Counters that must be zero at the node.
    pub anti: Vec<u32>,
    /// Counters of pods that repel these; must be zero as well.
    pub repelled: Vec<u32>,
    /// Counters that must not be zero at the node.
    pub near: Vec<u32>,
    /// The first of a group may stand alone.
    pub near_itself: bool,
    pub spread: Vec<HardSpread>,
    pub soft: Vec<SoftSpread>,
    /// Nodes that have all labels of the soft constraints, unless those are the scheduler's own.
    pub soft_nodes: Option<u32>,
    /// Counters whose numbers are points, and their weights.
    pub wishes: Vec<(u32, i32)>,
    /// Counters that count these pods, and by how much.
    pub adds: Vec<(u32, i32)>,
    /// Points of nodes that they prefer.
    pub preferred: Option<u32>,
    /// Taints of nodes that they would rather not have.
    pub penalties: Option<u32>,
    /// Volumes and the resource that each takes one of, where it is not attached yet, in the order of resources.
    pub attaches: Vec<(u32, u16)>,
    /// Claims that one pod at a time may use.
    pub exclusive: Vec<u32>,
    /// The nodes that reach their volumes; absent: all.
    pub reached: Option<u32>,
    /// Why they can be placed nowhere at all.
    pub never: Option<String>,
}

/// How much of each resource, by its number.
type Amounts = Vec<(u16, i64)>;

/// What the tolerations of a class make of the nodes.
#[derive(Debug, Clone, Copy)]
struct Tolerance {
    /// Nodes whose taints are borne.
    nodes: u32,
    penalties: Option<u32>,
    bears_failed: bool,
}

/// What a class prefers of the nodes.
#[derive(Debug, Clone, Copy)]
struct Preference {
    points: Option<u32>,
    is_readable: bool,
}

/// Turns templates into classes.
pub(crate) struct Compiler<'s, 'c> {
    snapshot: &'s Snapshot,
    options: &'c Options,
    cluster: &'c mut Cluster,
    counters: &'c mut Counters,
    volumes: Volumes<'s>,
    priorities: HashMap<&'s str, i64>,
    default_priority: i64,
    namespaces: Vec<(u32, LabelSet)>,
    taint_groups: Vec<&'s [Taint]>,
    taint_group_of: Vec<usize>,
    schedulable: NodeSet,
    shapes: HashMap<Shape, u32>,
    ports: HashMap<(String, String, i64), u32>,
    by_selector: HashMap<(&'s Labels, Option<&'s NodeSelector>), u32>,
    by_tolerations: HashMap<&'s [Toleration], Tolerance>,
    by_preference: HashMap<&'s [PreferredNodes], Preference>,
    /// Resources that some node offers.
    offered: HashSet<&'s str>,
    /// Kinds of pods that no node can ever take, by themselves, and the first of them with the reason.
    hopeless: (usize, String),
    /// Some tolerations compare numbers.
    compares: bool,
    /// Labels and taints of all nodes, each with one more.
    words_of_nodes: usize,
    /// Comparisons of them with conditions so far.
    compared: usize,
}

impl<'s, 'c> Compiler<'s, 'c> {
    pub fn new(
        snapshot: &'s Snapshot,
        options: &'c Options,
        cluster: &'c mut Cluster,
        counters: &'c mut Counters,
    ) -> Result<Self, Error> {
        let mut default_priority = 0;
        let mut priorities = HashMap::from([
            ("system-node-critical", 2_000_001_000),
            ("system-cluster-critical", 2_000_000_000),
        ]);
        for class in &snapshot.priority_classes {
            priorities.insert(class.metadata.name.as_str(), class.value);
            if class.global_default {
                default_priority = class.value;
            }
        }
        let namespaces = snapshot
            .namespaces
            .iter()
            .map(|n| {
                let mut labels = n.metadata.labels.clone();
                labels.insert("kubernetes.io/metadata.name".into(), n.metadata.name.clone());
                (cluster.names.id(&n.metadata.name), cluster.names.labels(&labels, |_| true))
            })
            .collect();
        let mut groups: HashMap<&[Taint], usize> = HashMap::new();
        let mut taint_groups = Vec::new();
        let taint_group_of = snapshot
            .nodes
            .iter()
            .map(|node| {
                *groups.entry(&node.spec.taints).or_insert_with(|| {
                    taint_groups.push(node.spec.taints.as_slice());
                    taint_groups.len() - 1
                })
            })
            .collect();
        let volumes = Volumes::new(snapshot)?;
        let offered = snapshot.nodes.iter().flat_map(|n| n.status.allocatable.keys());
        let words = |node: &Node| 1 + node.metadata.labels.len() + node.spec.taints.len();
        let words_of_nodes = snapshot.nodes.iter().map(words).sum();
        let schedulable = NodeSet::of(snapshot.nodes.len(), |n| !snapshot.nodes[n].spec.unschedulable);
        Ok(Self {
            snapshot,
            options,
            cluster,
            counters,
            volumes,
            priorities,
            default_priority,
            namespaces,
            taint_groups,
            taint_group_of,
            schedulable,
            shapes: HashMap::new(),
            ports: HashMap::new(),
            by_selector: HashMap::new(),
            by_tolerations: HashMap::new(),
            by_preference: HashMap::new(),
            offered: offered.map(String::as_str).collect(),
            hopeless: (0, String::new()),
            compares: false,
            words_of_nodes,
            compared: 0,
        })
    }

    /// Makes one class.
    pub fn compile(&mut self, template: &Template<'s>) -> Result<(), Error> {
        let pod = template.pod;
        let object = || format!("pod {}", pod_name(pod));
        let (mut asks, missing) = self.amounts(requests::of(pod, Which::Asked, &object)?)?;
        let (mut held, _) = self.amounts(requests::of(pod, Which::Held, &object)?)?;
        let assumed = requests::of(pod, Which::Assumed, &object)?;
        let assumed = ["cpu", "memory"].map(|r| assumed.get(r).copied().unwrap_or(0));
        let ports = self.ports(pod)?;
        let moves = template.fate == Fate::Displaced;
        let namespace = if pod.metadata.namespace.is_empty() { "default" } else { &pod.metadata.namespace };
        let subject = Subject {
            namespace: self.cluster.names.id(namespace),
            labels: template.labels.clone(),
            owner: template.owner().map(|uid| self.cluster.names.id(uid)),
            leaving: pod.metadata.deletion_timestamp.is_some(),
        };
        let mut class = Class {
            priority: pod
                .spec
                .priority
                .or_else(|| self.priorities.get(pod.spec.priority_class_name.as_str()).copied())
                .unwrap_or(self.default_priority),
            shape: 0,
            held: Vec::new(),
            bears_failed: false,
            stays: stays_when_failed(&pod.spec, self.options.mode)
                || self.options.mode == FailureMode::Unreachable && template.keeps_its_place(),
            anti: Vec::new(),
            repelled: Vec::new(),
            near: Vec::new(),
            near_itself: false,
            spread: Vec::new(),
            soft: Vec::new(),
            soft_nodes: None,
            wishes: Vec::new(),
            adds: Vec::new(),
            preferred: None,
            penalties: None,
            attaches: Vec::new(),
            exclusive: Vec::new(),
            reached: None,
            never: None,
        };
        let mut nodes = self.schedulable.clone();
        self.compare(self.volumes.conditions(pod)).map_err(at(object))?;
        let found = self.volumes.of(pod, self.cluster, self.snapshot)?;
        for list in [&mut asks, &mut held] {
            list.extend(&found.made_with_it);
            list.sort_unstable();
        }
        class.held = held;
        class.attaches = found.attaches;
        class.exclusive = found.exclusive;
        if moves {
            let tolerance = self.tolerance(&pod.spec.tolerations).map_err(at(object))?;
            if tolerated(&unschedulable(), &pod.spec.tolerations) {
                nodes = NodeSet::of(self.snapshot.nodes.len(), |_| true);
            }
            let chosen = self.chosen(pod).map_err(at(object))?;
            nodes.keep(&self.cluster.sets.sets[tolerance.nodes as usize]);
            nodes.keep(&self.cluster.sets.sets[chosen as usize]);
            if let Some(reached) = &found.nodes {
                nodes.keep(reached);
                class.reached = Some(self.cluster.sets.id(reached.clone()));
            }
            class.bears_failed = tolerance.bears_failed;
            class.penalties = tolerance.penalties;
            let preference =
                self.preferred(&pod.spec.affinity.node_affinity.preferred).map_err(at(object))?;
            class.preferred = preference.points;
            class.never = found.never.or_else(|| self.hopeless(pod, missing, preference));
            self.spread(&mut class, template, &subject, chosen, tolerance).map_err(at(object))?;
        }
        self.affinity(&mut class, pod, &subject).map_err(at(object))?;
        let shape = Shape { asks, assumed, nodes: self.cluster.sets.id(nodes), ports };
        class.shape = *self.shapes.entry(shape.clone()).or_insert_with(|| {
            self.cluster.shapes.push(shape);
            u32::try_from(self.cluster.shapes.len() - 1).expect("BUG: more shapes than pods")
        });
        self.cluster.classes.push(class);
        self.counters.subjects.push(subject);
        self.check_size()
    }

    /// What can be said only when all classes are there.
    pub fn finish(self) {
        if self.compares {
            self.cluster.notes.push(
                "tolerations that compare numbers (Lt, Gt) are not judged: pods are taken not to bear those taints"
                    .into(),
            );
        }
        let (kinds, first) = &self.hopeless;
        if *kinds > 0 {
            self.cluster.notes.push(format!(
                "{kinds} kinds of pods have no other place, whatever is free, as {first}; mend what they ask for"
            ));
        }
        let mut all: Vec<(u32, &(String, String, i64))> =
            self.ports.iter().map(|(port, id)| (*id, port)).collect();
        all.sort_unstable();
        let mut by_number: HashMap<(&str, i64), Vec<(u32, &str)>> = HashMap::new();
        for (id, (ip, protocol, port)) in &all {
            by_number.entry((protocol, *port)).or_default().push((*id, ip));
        }
        self.cluster.port_conflicts = all
            .iter()
            .map(|(_, (ip, protocol, port))| {
                let same = &by_number[&(protocol.as_str(), *port)];
                same.iter()
                    .filter(|(_, other)| *other == ip || *other == ANY_IP || ip == ANY_IP)
                    .map(|(id, _)| *id)
                    .collect()
            })
            .collect();
        self.cluster.exclusive_claims = self.volumes.exclusive_claims();
        self.cluster.notes.extend(self.volumes.note());
    }

    /// Resources by number, and the first that no node offers. Such have no number, or any pod could use them up.
    fn amounts<'n>(&mut self, needs: requests::Needs<'n>) -> Result<(Amounts, Option<&'n str>), Error> {
        let mut list = vec![(PODS, 1)];
        let mut missing = None;
        for (name, amount) in needs.into_iter().filter(|(name, amount)| *amount > 0 && *name != "pods") {
            if FIRST_RESOURCES.contains(&name) || self.offered.contains(name) {
                list.push((self.cluster.resource(name)?, amount));
            } else {
                missing.get_or_insert(name);
            }
        }
        Ok((list, missing))
    }

    /// Why no node can ever take the pod, if it is for what it says itself. One such pod is no reason to judge none.
    fn hopeless(&mut self, pod: &Pod, missing: Option<&str>, preference: Preference) -> Option<String> {
        let reason = match missing {
            Some(resource) => format!("it asks for {resource:?}, which no node offers"),
            // The scheduler fails the whole attempt when it comes to score nodes. With one node left it does not
            // score, which is not counted upon here.
            None if !preference.is_readable => {
                "a preference of its node affinity compares with what is no whole number".to_owned()
            }
            None => return None,
        };
        let (kinds, first) = &mut self.hopeless;
        if *kinds == 0 {
            *first = format!("{}: {reason}", pod_name(pod));
        }
        *kinds += 1;
        Some(reason)
    }

    fn ports(&mut self, pod: &Pod) -> Result<Vec<u32>, Error> {
        let sidecars = pod.spec.init_containers.iter().filter(|c| c.restart_policy == "Always");
        let mut ids = Vec::new();
        for port in pod.spec.containers.iter().chain(sidecars).flat_map(|c| &c.ports) {
            let number = match port.host_port {
                0 if pod.spec.host_network => port.container_port,
                number => number,
            };
            if number <= 0 {
                continue;
            }
            let or = |text: &str, default: &str| {
                if text.is_empty() { default.to_owned() } else { text.to_owned() }
            };
            let next = u32::try_from(self.ports.len()).expect("BUG: more ports than the limit");
            let key = (or(&port.host_ip, ANY_IP), or(&port.protocol, "TCP"), number);
            ids.push(*self.ports.entry(key).or_insert(next));
        }
        if self.ports.len() > MAX_PORTS {
            return Err(Error::TooLarge { what: "host ports", found: self.ports.len(), limit: MAX_PORTS });
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    fn view(&self, node: usize) -> NodeView<'_> {
        let names = &self.cluster.names;
        NodeView { labels: &self.cluster.node_labels[node], name: names.find(&self.cluster.node_names[node]) }
    }

    /// The nodes that its node selector and its required affinity choose.
    fn chosen(&mut self, pod: &'s Pod) -> Result<u32, String> {
        let required = pod.spec.affinity.node_affinity.required.as_ref();
        let key = (&pod.spec.node_selector, required);
        if let Some(id) = self.by_selector.get(&key) {
            return Ok(*id);
        }
        self.compare(pod.spec.node_selector.entries() + required.map_or(0, Entries::entries))?;
        let names = &mut self.cluster.names;
        let labels = names.labels(&pod.spec.node_selector, |_| true);
        let terms = required.map(|r| select::node_terms(r, names)).transpose()?;
        let set = NodeSet::of(self.snapshot.nodes.len(), |n| {
            let node = self.view(n);
            labels.iter().all(|l| node.labels.contains(l))
                && terms.as_ref().is_none_or(|t| t.iter().any(|t| t.selects(&node, &self.cluster.names)))
        });
        let id = self.cluster.sets.id(set);
        self.by_selector.insert(key, id);
        Ok(id)
    }

    fn tolerance(&mut self, tolerations: &'s [Toleration]) -> Result<Tolerance, String> {
        if let Some(tolerance) = self.by_tolerations.get(tolerations) {
            return Ok(*tolerance);
        }
        self.compare(tolerations.len())?;
        for toleration in tolerations {
            match toleration.operator.as_str() {
                "" | "Equal" | "Exists" => {}
                // They compare numbers, which no taint of these is judged by: without them a pod has fewer nodes.
                "Lt" | "Gt" => self.compares = true,
                bad => return Err(format!("{bad:?} is no operator of a toleration")),
            }
        }
        let borne = |group: &&[Taint]| {
            let hard = |t: &&Taint| t.effect == "NoSchedule" || t.effect == "NoExecute";
            group.iter().filter(hard).all(|t| tolerated(t, tolerations))
        };
        let borne: Vec<bool> = self.taint_groups.iter().map(borne).collect();
        let unwanted = |group: &&[Taint]| {
            let count =
                group.iter().filter(|t| t.effect == "PreferNoSchedule" && !tolerated(t, tolerations)).count();
            i32::try_from(count).unwrap_or(i32::MAX)
        };
        let unwanted: Vec<i32> = self.taint_groups.iter().map(unwanted).collect();
        let penalties: Vec<i32> = self.taint_group_of.iter().map(|g| unwanted[*g]).collect();
        let set = NodeSet::of(self.snapshot.nodes.len(), |n| borne[self.taint_group_of[n]]);
        let tolerance = Tolerance {
            nodes: self.cluster.sets.id(set),
            penalties: self.points(penalties),
            bears_failed: self.options.mode.taints().iter().all(|taint| tolerated(taint, tolerations)),
        };
        self.by_tolerations.insert(tolerations, tolerance);
        Ok(tolerance)
    }

    fn preferred(&mut self, preferred: &'s [PreferredNodes]) -> Result<Preference, String> {
        if let Some(preference) = self.by_preference.get(preferred) {
            return Ok(*preference);
        }
        self.compare(preferred.iter().map(Entries::entries).sum())?;
        let mut terms = Vec::new();
        for p in preferred {
            terms.push((weight(p.weight)?, NodeConditions::read(&p.preference, &mut self.cluster.names)?));
        }
        // What has no weight is not read.
        let is_readable = terms.iter().all(|(weight, term)| *weight == 0 || term.is_readable());
        let points = (0..self.snapshot.nodes.len()).map(|n| {
            let node = self.view(n);
            terms.iter().filter(|(_, t)| t.selects(&node, &self.cluster.names)).map(|(w, _)| *w).sum()
        });
        let points = points.collect();
        let preference = Preference { points: self.points(points), is_readable };
        self.by_preference.insert(preferred, preference);
        Ok(preference)
    }

    /// Keeps points of nodes, unless all are zero.
    fn points(&mut self, points: Vec<i32>) -> Option<u32> {
        points.iter().any(|p| *p != 0).then(|| {
            self.cluster.preferences.push(points);
            u32::try_from(self.cluster.preferences.len() - 1).expect("BUG: more preferences than pods")
        })
    }

    fn affinity(&mut self, class: &mut Class, pod: &'s Pod, subject: &Subject) -> Result<(), String> {
        let affinity = &pod.spec.affinity;
        let mut together = Vec::new();
        for term in &affinity.pod_affinity.required {
            let part = self.part(term, pod, subject)?;
            let wishing = self.single(part.clone());
            self.wish(class, wishing, term, REQUIRED_WEIGHT)?;
            together.push(part);
        }
        if !together.is_empty() {
            // A pod is near only if all terms select it.
            let all = self.counters.matcher(Matcher { parts: together, owner: None, only_staying: false });
            class.near_itself = self.counters.selects(all, subject, &self.cluster.names);
            for term in &affinity.pod_affinity.required {
                let topology = self.topology(&term.topology_key)?;
                class.near.push(self.counters.counter(What::Selected(all), topology, ALL_NODES, false));
            }
        }
        for term in &affinity.pod_anti_affinity.required {
            let part = self.part(term, pod, subject)?;
            let matcher = self.single(part);
            let topology = self.topology(&term.topology_key)?;
            class.anti.push(self.counters.counter(What::Selected(matcher), topology, ALL_NODES, false));
            class.adds.push((self.counters.counter(What::Repelling(matcher), topology, ALL_NODES, false), 1));
        }
        for (list, sign) in [(&affinity.pod_affinity, 1), (&affinity.pod_anti_affinity, -1)] {
            for preferred in &list.preferred {
                let term = &preferred.pod_affinity_term;
                let weight = sign * weight(preferred.weight)?;
                let part = self.part(term, pod, subject)?;
                let matcher = self.single(part);
                let topology = self.topology(&term.topology_key)?;
                let counter = self.counters.counter(What::Selected(matcher), topology, ALL_NODES, false);
                class.wishes.push((counter, weight));
                self.wish(class, matcher, term, weight)?;
            }
        }
        Ok(())
    }

    fn wish(&mut self, class: &mut Class, matcher: u32, term: &PodTerm, weight: i32) -> Result<(), String> {
        let topology = self.topology(&term.topology_key)?;
        let counter = self.counters.counter(What::Wishing(matcher), topology, ALL_NODES, false);
        class.adds.push((counter, weight));
        Ok(())
    }

    fn single(&mut self, part: Part) -> u32 {
        self.counters.matcher(Matcher { parts: vec![part], owner: None, only_staying: false })
    }

    fn part(&mut self, term: &PodTerm, pod: &Pod, subject: &Subject) -> Result<Part, String> {
        if term.topology_key.is_empty() {
            return Err("a term of pod affinity has no topologyKey".into());
        }
        let names = &mut self.cluster.names;
        let mut selector = Selector::read(term.label_selector.as_ref(), names)?;
        if let Some(conditions) = &mut selector.conditions {
            for (keys, like) in [(&term.match_label_keys, true), (&term.mismatch_label_keys, false)] {
                for (key, value) in keys.iter().filter_map(|k| Some((k, pod.metadata.labels.get(k)?))) {
                    let (key, value) = (names.id(key), names.id(value));
                    let make = if like { Condition::one_of } else { Condition::none_of };
                    conditions.push(make(key, vec![value]));
                }
            }
        }
        let mut list: Vec<u32> = term.namespaces.iter().map(|n| names.id(n)).collect();
        let namespaces = match &term.namespace_selector {
            Some(s) if *s == LabelSelector::default() => Namespaces::All,
            Some(s) => {
                let selector = Selector::read(Some(s), names)?;
                let selected = self.namespaces.iter().filter(|(_, labels)| selector.selects(labels, names));
                list.extend(selected.map(|(id, _)| *id));
                list.sort_unstable();
                list.dedup();
                Namespaces::These(list)
            }
            None if list.is_empty() => Namespaces::These(vec![subject.namespace]),
            None => Namespaces::These(list),
        };
        Ok(Part { namespaces, selector })
    }

    fn spread(
        &mut self,
        class: &mut Class,
        template: &Template<'s>,
        subject: &Subject,
        chosen: u32,
        tolerance: Tolerance,
    ) -> Result<(), String> {
        let all = &template.pod.spec.topology_spread_constraints;
        let mut topologies = Vec::new();
        for constraint in all {
            if constraint.topology_key.is_empty() || constraint.max_skew < 1 {
                return Err(
                    "a topologySpreadConstraint needs a topologyKey and a maxSkew of at least 1".into()
                );
            }
            topologies.push(self.topology(&constraint.topology_key)?);
        }
        for hard in [true, false] {
            let is_hard = |c: &Spread| match c.when_unsatisfiable.as_str() {
                "DoNotSchedule" | "" => Ok(true),
                "ScheduleAnyway" => Ok(false),
                other => Err(format!("{other:?} is no value of whenUnsatisfiable")),
            };
            let mut these = Vec::new();
            for (constraint, topology) in all.iter().zip(&topologies) {
                if is_hard(constraint)? == hard {
                    these.push((constraint, *topology));
                }
            }
            if these.is_empty() {
                continue;
            }
            // Only nodes that have all the labels count.
            let topology_list = &self.cluster.topologies;
            let whole = NodeSet::of(self.snapshot.nodes.len(), |n| {
                these.iter().all(|(_, t)| topology_list[*t as usize].place[n] != crate::nodes::NOWHERE)
            });
            if !hard {
                class.soft_nodes = Some(self.cluster.sets.id(whole.clone()));
            }
            for (constraint, topology) in these {
                let (matcher, counted) = self.spread_matchers(constraint, template.pod, subject)?;
                let mut eligible = whole.clone();
                if honors(constraint.node_affinity_policy.as_ref(), true)? {
                    eligible.keep(&self.cluster.sets.sets[chosen as usize]);
                }
                let taints = honors(constraint.node_taints_policy.as_ref(), false)?;
                if taints {
                    eligible.keep(&self.cluster.sets.sets[tolerance.nodes as usize]);
                }
                let eligible = self.cluster.sets.id(eligible);
                let drops = taints && !tolerance.bears_failed;
                let counter = self.counters.counter(What::Selected(counted), topology, eligible, drops);
                if hard {
                    class.spread.push(HardSpread {
                        counter,
                        max_skew: constraint.max_skew.min(i32::MAX.into()),
                        min_places: constraint.min_domains.unwrap_or(1),
                        counts_itself: self.counters.selects(matcher, subject, &self.cluster.names),
                    });
                } else {
                    class.soft.push(SoftSpread {
                        counter,
                        max_skew: i32::try_from(constraint.max_skew).unwrap_or(i32::MAX),
                        is_host: constraint.topology_key == HOSTNAME,
                    });
                }
            }
        }
        if let (true, true, Some(owner)) = (all.is_empty(), self.options.default_spreading, subject.owner) {
            let matcher =
                self.counters.matcher(Matcher { parts: Vec::new(), owner: Some(owner), only_staying: true });
            for (key, max_skew) in DEFAULT_SPREADING {
                let topology = self.topology(key)?;
                let counter = self.counters.counter(What::Selected(matcher), topology, chosen, false);
                class.soft.push(SoftSpread { counter, max_skew, is_host: key == HOSTNAME });
            }
        }
        Ok(())
    }

    /// Which pods a constraint means, and which of them are counted: none where it selects all, as the
    /// scheduler takes such a selector for one that says nothing.
    fn spread_matchers(
        &mut self,
        constraint: &Spread,
        pod: &Pod,
        subject: &Subject,
    ) -> Result<(u32, u32), String> {
        let names = &mut self.cluster.names;
        let mut selector = Selector::read(constraint.label_selector.as_ref(), names)?;
        if let Some(conditions) = &mut selector.conditions {
            for key in &constraint.match_label_keys {
                if let Some(value) = pod.metadata.labels.get(key) {
                    let (key, value) = (names.id(key), names.id(value));
                    conditions.push(Condition::one_of(key, vec![value]));
                }
            }
        }
        let mut matcher = |selector| {
            let part = Part { namespaces: Namespaces::These(vec![subject.namespace]), selector };
            self.counters.matcher(Matcher { parts: vec![part], owner: None, only_staying: true })
        };
        let meant = matcher(selector.clone());
        if selector.conditions.as_ref().is_some_and(Vec::is_empty) {
            selector.conditions = None;
        }
        Ok((meant, matcher(selector)))
    }
}

/// The address that stands for all of a node.
const ANY_IP: &str = "0.0.0.0";

fn unschedulable() -> Taint {
    Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        value: String::new(),
        effect: "NoSchedule".into(),
    }
}

fn honors(policy: Option<&String>, default: bool) -> Result<bool, String> {
    match policy.map(String::as_str) {
        None => Ok(default),
        Some("Honor") => Ok(true),
        Some("Ignore") => Ok(false),
        Some(other) => Err(format!("{other:?} is no policy of a topologySpreadConstraint")),
    }
}

fn weight(weight: i64) -> Result<i32, String> {
    match i32::try_from(weight) {
        Ok(weight @ 0..=100) => Ok(weight),
        _ => Err(format!("the weight of a preference is 1 to 100, not {weight}")),
    }
}
