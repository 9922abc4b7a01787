//! The scheduler's filters once more, from the objects themselves and as plainly as possible, and random
//! clusters to hold the fast ones against.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    FailureMode, Snapshot,
    objects::{LabelSelector, Labels, Node, Pod, PodTerm, Taint},
    quantity,
    schedule::mix,
    select::tolerated,
};

/// A cluster and where its pods are.
pub(crate) struct Naive<'a> {
    pub snapshot: &'a Snapshot,
    pub mode: FailureMode,
    pub failed: Vec<bool>,
    /// Pods and their nodes, by place in the snapshot.
    pub placed: Vec<(usize, usize)>,
}

fn amount(pod: &Pod, resource: &str) -> i64 {
    let of = |c: &crate::objects::Container| {
        let decimals = if resource == "cpu" { 3 } else { 0 };
        c.resources.requests.get(resource).map_or(0, |q| quantity::parse(&q.0, decimals).expect("an amount"))
    };
    pod.spec.containers.iter().map(of).sum()
}

fn selects(selector: Option<&LabelSelector>, labels: &Labels) -> bool {
    selector.is_some_and(|s| s.match_labels.iter().all(|(k, v)| labels.get(k) == Some(v)))
}

impl Naive<'_> {
    fn node(&self, n: usize) -> &Node {
        &self.snapshot.nodes[n]
    }

    fn pod(&self, p: usize) -> &Pod {
        &self.snapshot.pods[p]
    }

    fn nodes(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.snapshot.nodes.len()).filter(|n| self.mode.keeps_node() || !self.failed[*n])
    }

    fn taints_borne(&self, p: usize, n: usize) -> bool {
        let mut taints: Vec<Taint> = self.node(n).spec.taints.clone();
        if self.failed[n] {
            taints.extend(self.mode.taints());
        }
        let hard = |t: &&Taint| t.effect != "PreferNoSchedule";
        taints.iter().filter(hard).all(|t| tolerated(t, &self.pod(p).spec.tolerations))
    }

    fn node_chosen(&self, p: usize, n: usize) -> bool {
        self.pod(p).spec.node_selector.iter().all(|(k, v)| self.node(n).metadata.labels.get(k) == Some(v))
    }

    fn near(&self, n: usize, m: usize, key: &str) -> bool {
        let value = |n: usize| self.node(n).metadata.labels.get(key);
        value(n).is_some() && value(n) == value(m)
    }

    fn term_selects(&self, term: &PodTerm, p: usize) -> bool {
        selects(term.label_selector.as_ref(), &self.pod(p).metadata.labels)
    }

    /// Whether the scheduler may place the pod on the node.
    pub fn admits(&self, p: usize, n: usize) -> bool {
        let pod = self.pod(p);
        if self.failed[n] && !self.mode.keeps_node() || !self.taints_borne(p, n) || !self.node_chosen(p, n) {
            return false;
        }
        let here = || self.placed.iter().filter(|(_, m)| *m == n).map(|(q, _)| *q);
        let has = |resource: &str| {
            let decimals = if resource == "cpu" { 3 } else { 0 };
            quantity::parse(&self.node(n).status.allocatable[resource].0, decimals).expect("an amount")
        };
        if i64::try_from(here().count()).expect("few pods") + 1 > has("pods") {
            return false;
        }
        for resource in ["cpu", "memory"] {
            let asked = amount(pod, resource);
            let used: i64 = here().map(|q| amount(self.pod(q), resource)).sum();
            if asked > 0 && used + asked > has(resource) {
                return false;
            }
        }
        let ports = |p: usize| self.pod(p).spec.containers.iter().flat_map(|c| &c.ports);
        let clash = |q: usize| {
            ports(p).any(|a| {
                ports(q).any(|b| {
                    let any = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
                    a.host_port == b.host_port
                        && a.protocol == b.protocol
                        && (a.host_ip == b.host_ip || any(&a.host_ip) || any(&b.host_ip))
                })
            })
        };
        if here().any(clash) {
            return false;
        }
        let affinity = &pod.spec.affinity;
        for (q, m) in &self.placed {
            let repels = |term: &PodTerm, other: usize| {
                self.term_selects(term, other) && self.near(n, *m, &term.topology_key)
            };
            if affinity.pod_anti_affinity.required.iter().any(|t| repels(t, *q))
                || self.pod(*q).spec.affinity.pod_anti_affinity.required.iter().any(|t| repels(t, p))
            {
                return false;
            }
        }
        let terms = &affinity.pod_affinity.required;
        let company = |q: usize| terms.iter().all(|t| self.term_selects(t, q));
        let with_label = |m: usize, t: &PodTerm| self.node(m).metadata.labels.contains_key(&t.topology_key);
        let nobody = !self.placed.iter().any(|(q, m)| company(*q) && terms.iter().any(|t| with_label(*m, t)));
        for t in terms {
            let near = self.placed.iter().any(|(q, m)| company(*q) && self.near(n, *m, &t.topology_key));
            let first = nobody && company(p) && with_label(n, t);
            if !(near || first) {
                return false;
            }
        }
        self.spread_holds(p, n)
    }

    fn spread_holds(&self, p: usize, n: usize) -> bool {
        let pod = self.pod(p);
        let hard = || {
            pod.spec.topology_spread_constraints.iter().filter(|c| c.when_unsatisfiable == "DoNotSchedule")
        };
        for c in hard() {
            let labels = &self.node(n).metadata.labels;
            let Some(here) = labels.get(&c.topology_key) else { return false };
            let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
            for m in self.nodes() {
                let labels = &self.node(m).metadata.labels;
                let counts_node = hard().all(|c| labels.contains_key(&c.topology_key))
                    && (c.node_affinity_policy.as_deref() == Some("Ignore") || self.node_chosen(p, m))
                    && (c.node_taints_policy.as_deref() != Some("Honor") || self.taints_borne(p, m));
                if counts_node {
                    // One that selects all is taken for one that says nothing.
                    let says_something = c
                        .label_selector
                        .as_ref()
                        .is_some_and(|s| !s.match_labels.is_empty() || !s.match_expressions.is_empty());
                    let selected = |q: usize| {
                        says_something && selects(c.label_selector.as_ref(), &self.pod(q).metadata.labels)
                    };
                    let pods = self.placed.iter().filter(|(q, at)| *at == m && selected(*q)).count();
                    *counts.entry(&labels[&c.topology_key]).or_default() +=
                        i64::try_from(pods).expect("few pods");
                }
            }
            let enough = i64::try_from(counts.len()).expect("few places") >= c.min_domains.unwrap_or(1);
            let fewest = if enough { counts.values().copied().min().unwrap_or(0) } else { 0 };
            let itself = i64::from(selects(c.label_selector.as_ref(), &pod.metadata.labels));
            if counts.get(here.as_str()).unwrap_or(&0) + itself - fewest > c.max_skew {
                return false;
            }
        }
        true
    }
}

/// Numbers from a seed.
pub(crate) struct Dice(pub u64);

impl Dice {
    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = mix(self.0);
        (self.0 >> 11) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A random cluster in which every pod is where the scheduler may have put it.
pub(crate) fn random(seed: u64, nodes: usize, kinds: usize, pods: usize) -> Snapshot {
    let mut dice = Dice(seed);
    let mut items = Vec::new();
    for n in 0..nodes {
        let disk = ["ssd", "hdd"][dice.below(2) as usize];
        let mut labels = serde_json::json!({"kubernetes.io/hostname": format!("n{n}"), "disk": disk});
        if !dice.one_in(8) {
            labels["zone"] = format!("z{}", dice.below(3)).into();
        }
        let effect = ["NoSchedule", "NoExecute", "PreferNoSchedule"][dice.below(3) as usize];
        let taints = if dice.one_in(5) {
            serde_json::json!([{"key": "db", "value": "x", "effect": effect}])
        } else {
            serde_json::Value::Null
        };
        items.push(serde_json::json!({"kind": "Node", "metadata": {"name": format!("n{n}"), "labels": labels}, "spec": {"taints": taints},
            "status": {"allocatable": {"cpu": (2 + dice.below(3)).to_string(), "memory": "8Gi", "pods": (2 + dice.below(6)).to_string()}}}));
    }
    let mut specs = Vec::new();
    for k in 0..kinds {
        let select = |dice: &mut Dice| serde_json::json!({"matchLabels": {"app": format!("d{}", if dice.one_in(3) { dice.below(kinds as u64) as usize } else { k })}});
        let key = |dice: &mut Dice| ["kubernetes.io/hostname", "zone"][dice.below(2) as usize];
        let mut spec = serde_json::json!({"priority": dice.below(3), "containers": [{"name": "c", "resources": {"requests":
            {"cpu": format!("{}m", 100 * dice.below(16)), "memory": format!("{}Mi", 256 * dice.below(10))}}}]});
        if dice.one_in(4) {
            let ip = ["", "10.0.0.1", "10.0.0.2"][dice.below(3) as usize];
            spec["containers"][0]["ports"] =
                serde_json::json!([{"hostPort": 8000 + dice.below(2), "hostIP": ip}]);
        }
        if dice.one_in(4) {
            spec["nodeSelector"] = serde_json::json!({"disk": "ssd"});
        }
        if dice.one_in(3) {
            spec["tolerations"] = serde_json::json!([{"key": "db", "operator": "Exists"}]);
        } else if dice.one_in(12) {
            spec["tolerations"] = serde_json::json!([{"operator": "Exists", "tolerationSeconds": 5}]);
        }
        for (name, rare) in [("podAntiAffinity", 4), ("podAffinity", 4)] {
            if dice.one_in(rare) {
                let terms: Vec<_> = (0..1 + dice.below(2))
                    .map(|_| serde_json::json!({"labelSelector": select(&mut dice), "topologyKey": key(&mut dice)}))
                    .collect();
                spec["affinity"][name] =
                    serde_json::json!({"requiredDuringSchedulingIgnoredDuringExecution": terms});
            }
        }
        if dice.one_in(3) {
            let spreads: Vec<_> = (0..1 + dice.below(2))
                .map(|_| {
                    serde_json::json!({"maxSkew": 1 + dice.below(2), "topologyKey": key(&mut dice), "labelSelector": select(&mut dice),
                        "whenUnsatisfiable": if dice.one_in(4) { "ScheduleAnyway" } else { "DoNotSchedule" },
                        "minDomains": if dice.one_in(4) { Some(1 + dice.below(4)) } else { None },
                        "nodeTaintsPolicy": if dice.one_in(2) { Some("Honor") } else { None },
                        "nodeAffinityPolicy": if dice.one_in(4) { Some("Ignore") } else { None }})
                })
                .collect();
            spec["topologySpreadConstraints"] = spreads.into();
        }
        specs.push(spec);
    }
    let mut snapshot = Snapshot::default();
    for p in 0..pods {
        let k = dice.below(kinds as u64) as usize;
        let daemon = dice.one_in(10);
        let kind = if daemon { "DaemonSet" } else { "ReplicaSet" };
        items.push(serde_json::json!({"kind": "Pod", "metadata": {"name": format!("p{p}"), "namespace": "default", "labels": {"app": format!("d{k}")},
            "ownerReferences": [{"kind": kind, "name": "o", "uid": format!("u{k}"), "controller": true}]}, "spec": specs[k]}));
    }
    snapshot.read(serde_json::json!({"items": items}).to_string().as_bytes(), "random").expect("objects");
    // Pods are placed one after the other, on any node that admits them; what fits nowhere is left out.
    let mut placed = Vec::new();
    for p in 0..pods {
        let naive = Naive {
            snapshot: &snapshot,
            mode: FailureMode::Unreachable,
            failed: vec![false; nodes],
            placed: placed.clone(),
        };
        let fits: Vec<usize> = (0..nodes).filter(|n| naive.admits(p, *n)).collect();
        if !fits.is_empty() {
            placed.push((p, fits[dice.below(fits.len() as u64) as usize]));
        }
    }
    for (p, n) in &placed {
        Arc::make_mut(&mut snapshot.pods[*p]).spec.node_name = format!("n{n}");
    }
    snapshot.pods.retain(|p| !p.spec.node_name.is_empty());
    snapshot
}
