//! Which nodes are away and were: told of each look at the cluster, it finds what began and what ended.
//!
//! What a look does not show is not made up: a reboot between two looks is kept without a length, and so is an
//! outage of which only the time tells at which the node was ready again; one that was under way when watching began
//! counts from then on only; and a node that joins has no outage before it was ready once.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::Outage;
use crate::cluster::MAX_NODES;

/// Outages that are kept; the oldest go first.
const MAX_OUTAGES: usize = 2000;
/// Owners of pods that one outage waits for.
const MAX_OWNERS: usize = 1000;
/// Kubernetes evicts after five minutes unless a pod says otherwise; by then there are new ones.
const EVICTED_AFTER_MS: i64 = 10 * 60_000;
/// Pods that do not run again after so long are not waited for any more.
const PODS_WAIT_MS_MAX: i64 = 7 * 86_400_000;

/// A node as a look at the cluster shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSeen {
    /// Its name.
    pub name: String,
    /// Nodes that fail alike.
    pub pool: String,
    /// Whether it is ready.
    pub ready: bool,
    /// It is not ready as nothing is heard of it, not because it says so.
    pub silent: bool,
    /// Since when that is so, by the cluster's clock.
    pub changed_ms: Option<i64>,
    /// When its kubelet was last heard of.
    pub heard_ms: Option<i64>,
    /// What tells one start of the machine from the next.
    pub boot_id: String,
}

/// A pod that somebody makes anew, neither finished nor being deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodSeen<'a> {
    /// Identity of what makes it anew.
    pub owner: &'a str,
    /// Its node, if it has one.
    pub node: &'a str,
    /// Whether it runs.
    pub running: bool,
}

/// An outage, and what else is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The outage.
    #[serde(flatten)]
    pub outage: Outage,
    /// The machine was started again meanwhile.
    #[serde(default)]
    pub rebooted: bool,
    /// That it was over was not seen: how long it took is not known.
    #[serde(default)]
    pub unseen: bool,
    /// How many pods ran on the node that somebody makes anew.
    #[serde(default)]
    pub pods: usize,
    /// When as many of each kind ran again, here or on other nodes.
    #[serde(default)]
    pub pods_again_ms: Option<i64>,
    /// How many pods of each owner ran before; empty once they run again.
    #[serde(default)]
    missing: BTreeMap<String, usize>,
}

/// A node as it was at the last look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    ready: bool,
    #[serde(default)]
    boot_id: String,
    #[serde(default)]
    silent: bool,
    /// Since when, by the cluster's clock; absent in files of before.
    #[serde(default)]
    changed_ms: Option<i64>,
}

impl Known {
    /// Whether it was otherwise since, although it is again as it was: it has been so since another time.
    fn was_otherwise(&self, now: &Self) -> bool {
        let later = self.changed_ms.zip(now.changed_ms).is_some_and(|(before, now)| now > before);
        later && (self.ready, self.silent) == (now.ready, now.silent)
    }
}

/// All outages of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Of the form in which it is kept.
    version: Version,
    /// Since when all outages are recorded.
    since_ms: Option<i64>,
    nodes: BTreeMap<String, Known>,
    outages: Vec<Recorded>,
}

/// The one form that there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
struct Version;

impl TryFrom<u32> for Version {
    type Error = String;

    fn try_from(version: u32) -> Result<Self, String> {
        if version == 1 { Ok(Self) } else { Err(format!("it is of version {version}; version 1 is known")) }
    }
}

impl From<Version> for u32 {
    fn from(_: Version) -> Self {
        1
    }
}

impl Ledger {
    /// Reads what [`Ledger::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// As it is kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("BUG: texts and numbers are JSON")
    }

    /// Since when outages are recorded, if they are.
    pub fn since_ms(&self) -> Option<i64> {
        self.since_ms
    }

    /// Outages, in the order in which they began to be known.
    pub fn outages(&self) -> &[Recorded] {
        &self.outages
    }

    /// Takes a whole look at the cluster; whether it is news that must be kept.
    pub fn observe(&mut self, now_ms: i64, nodes: &[NodeSeen], pods: &[PodSeen<'_>]) -> bool {
        let before = self.since_ms;
        let since = *self.since_ms.get_or_insert(now_ms);
        let mut news = before.is_none();
        for node in nodes.iter().take(MAX_NODES) {
            news |= self.look(now_ms, before, node, pods);
        }
        news |= self.note_gone(now_ms, nodes);
        news |= self.note_running(now_ms, nodes, pods);
        if self.outages.len() > MAX_OUTAGES {
            let too_many = self.outages.len() - MAX_OUTAGES;
            let last = self.outages.drain(..too_many).next_back();
            // From here on they are all there.
            self.since_ms = last.map(|recorded| recorded.outage.noticed_ms.max(since));
        }
        news
    }

    /// Looks at one node. `since_ms`: since when outages were recorded before this look, if they were.
    fn look(&mut self, now_ms: i64, since_ms: Option<i64>, node: &NodeSeen, pods: &[PodSeen<'_>]) -> bool {
        let now = Known {
            ready: node.ready,
            boot_id: node.boot_id.clone(),
            silent: node.silent,
            changed_ms: node.changed_ms,
        };
        let was = self.nodes.insert(node.name.clone(), now.clone());
        if was.as_ref() == Some(&now) {
            return false;
        }
        let earliest_ms = since_ms.unwrap_or(now_ms).min(now_ms);
        // A cluster's clock may be another than ours.
        let changed_ms = node.changed_ms.unwrap_or(now_ms).clamp(earliest_ms, now_ms);
        // Of nodes that are there when watching begins it is taken that they were ready once. One that comes later
        // joins, and is not away before it was there.
        let was_ready = was.as_ref().map_or(since_ms.is_none(), |was| was.ready);
        let is_other_boot = was.as_ref().is_some_and(|was| {
            !was.boot_id.is_empty() && !node.boot_id.is_empty() && was.boot_id != node.boot_id
        });
        let was_otherwise = was.as_ref().is_some_and(|was| was.was_otherwise(&now));
        let mut outage = Recorded {
            outage: Outage {
                pool: node.pool.clone(),
                node: node.name.clone(),
                began_ms: changed_ms,
                noticed_ms: changed_ms,
                ended_ms: None,
                gone_ms: None,
            },
            rebooted: is_other_boot,
            unseen: false,
            pods: 0,
            pods_again_ms: None,
            missing: BTreeMap::new(),
        };
        match (was_ready, node.ready) {
            (_, false) if was_ready || was_otherwise => {
                // It was ready in between, for nobody knows how long: when the one before ended is not known.
                if let Some(open) = self.open(&node.name) {
                    open.outage.ended_ms = Some(changed_ms.max(open.outage.noticed_ms));
                    open.unseen = true;
                }
                let heard_ms = node.heard_ms.unwrap_or(changed_ms);
                outage.outage.began_ms = heard_ms.clamp(earliest_ms.min(changed_ms), changed_ms);
                outage.pods = pods.iter().filter(|pod| pod.running && pod.node == node.name).count();
                outage.missing = missing(node, pods);
                self.outages.push(outage);
            }
            (false, true) => {
                if let Some(open) = self.open(&node.name) {
                    open.outage.ended_ms = Some(changed_ms.max(open.outage.noticed_ms));
                    open.rebooted |= is_other_boot;
                }
            }
            (false, false) if is_other_boot => {
                if let Some(open) = self.open(&node.name) {
                    open.rebooted = true;
                }
            }
            (true, true) if is_other_boot || was_otherwise => {
                outage.outage.ended_ms = Some(changed_ms);
                outage.unseen = true;
                self.outages.push(outage);
            }
            _ => {}
        }
        true
    }

    fn open(&mut self, node: &str) -> Option<&mut Recorded> {
        self.outages.iter_mut().rev().find(|o| o.outage.node == node && o.outage.is_open())
    }

    /// Nodes that are no longer there do not come back.
    fn note_gone(&mut self, now_ms: i64, nodes: &[NodeSeen]) -> bool {
        let there: HashSet<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        let before = self.nodes.len();
        self.nodes.retain(|name, _| there.contains(name.as_str()));
        let mut news = self.nodes.len() != before;
        for recorded in &mut self.outages {
            if recorded.outage.is_open() && !there.contains(recorded.outage.node.as_str()) {
                recorded.outage.gone_ms = Some(now_ms.max(recorded.outage.noticed_ms));
                news = true;
            }
        }
        news
    }

    /// Looks whether the pods that ran on nodes that failed run again.
    fn note_running(&mut self, now_ms: i64, nodes: &[NodeSeen], pods: &[PodSeen<'_>]) -> bool {
        if self.outages.iter().all(|recorded| recorded.missing.is_empty()) {
            return false;
        }
        let ready: HashMap<&str, bool> = nodes.iter().map(|node| (node.name.as_str(), node.ready)).collect();
        // Of each owner: how many run on nodes that are ready, and how many there are.
        let mut counts: HashMap<&str, (usize, usize)> = HashMap::new();
        for pod in pods {
            let count = counts.entry(pod.owner).or_default();
            count.0 += usize::from(pod.running && ready.get(pod.node) == Some(&true));
            count.1 += 1;
        }
        let mut news = false;
        for recorded in self.outages.iter_mut().filter(|recorded| !recorded.missing.is_empty()) {
            let age_ms = now_ms.saturating_sub(recorded.outage.noticed_ms);
            let run_again = recorded.missing.iter().all(|(owner, before)| {
                let (running, all) = counts.get(owner.as_str()).copied().unwrap_or_default();
                // Fewer may be wanted by now than before; new ones would be there after the eviction.
                running >= *before || running == all && age_ms > EVICTED_AFTER_MS
            });
            if run_again {
                recorded.pods_again_ms = Some(now_ms);
            }
            if run_again || age_ms > PODS_WAIT_MS_MAX {
                recorded.missing.clear();
                news = true;
            }
        }
        news
    }
}

/// How many pods run of each owner that has some on the node.
fn missing(node: &NodeSeen, pods: &[PodSeen<'_>]) -> BTreeMap<String, usize> {
    let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| pod.running && pod.node == node.name) {
        owners.insert(pod.owner, 0);
    }
    for pod in pods.iter().filter(|pod| pod.running) {
        if let Some(count) = owners.get_mut(pod.owner) {
            *count += 1;
        }
    }
    owners.into_iter().take(MAX_OWNERS).map(|(owner, count)| (owner.to_owned(), count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn node(name: &str, ready: bool, changed_ms: i64, boot: &str) -> NodeSeen {
        NodeSeen {
            name: name.into(),
            pool: "p".into(),
            ready,
            silent: !ready,
            changed_ms: Some(changed_ms),
            heard_ms: Some(changed_ms - 40_000),
            boot_id: boot.into(),
        }
    }

    fn pod<'a>(owner: &'a str, node: &'a str, running: bool) -> PodSeen<'a> {
        PodSeen { owner, node, running }
    }

    fn one(ledger: &Ledger) -> &Recorded {
        let [one] = ledger.outages() else { panic!("one outage: {ledger:?}") };
        one
    }

    #[test]
    fn an_outage_is_recorded_with_its_pods_and_kept_as_bytes() {
        let mut ledger = Ledger::default();
        let up = [node("a", true, 0, "1"), node("b", true, 0, "1")];
        let pods = [pod("web", "a", true), pod("web", "b", true), pod("db", "a", true)];
        assert!(ledger.observe(10 * MINUTE, &up, &pods), "that watching began is news");
        assert!(!ledger.observe(11 * MINUTE, &up, &pods), "nothing happened");
        assert!(ledger.outages().is_empty());

        let down = [node("a", false, 20 * MINUTE, "1"), node("b", true, 0, "1")];
        assert!(ledger.observe(20 * MINUTE + 500, &down, &pods));
        let outage = one(&ledger).outage.clone();
        assert_eq!((outage.began_ms, outage.noticed_ms), (20 * MINUTE - 40_000, 20 * MINUTE));
        assert_eq!((one(&ledger).pods, outage.ended_ms), (2, None));

        // Told again what was kept, it goes on where it was.
        let mut ledger = Ledger::from_bytes(&ledger.to_bytes()).expect("its own bytes");
        let moving = [pod("web", "b", false), pod("web", "b", true), pod("db", "b", true)];
        assert!(!ledger.observe(26 * MINUTE, &down, &moving), "one is still missing");
        let moved = [pod("web", "b", true), pod("web", "b", true), pod("db", "b", true)];
        assert!(ledger.observe(27 * MINUTE, &down, &moved));
        assert_eq!(one(&ledger).pods_again_ms, Some(27 * MINUTE));

        let back = [node("a", true, 30 * MINUTE, "2"), node("b", true, 0, "1")];
        assert!(ledger.observe(30 * MINUTE + 700, &back, &moved));
        let recorded = one(&ledger);
        assert_eq!((recorded.outage.ended_ms, recorded.rebooted), (Some(30 * MINUTE), true));
        assert_eq!(recorded.outage.length_ms(99 * MINUTE), 10 * MINUTE);
        assert!(!ledger.observe(31 * MINUTE, &back, &moved));
    }

    #[test]
    fn what_was_not_seen_is_not_made_up() {
        // Away since long before anybody watched.
        let mut ledger = Ledger::default();
        ledger.observe(1000 * MINUTE, &[node("a", false, 5 * MINUTE, "1")], &[]);
        let outage = &one(&ledger).outage;
        assert_eq!((outage.began_ms, outage.noticed_ms), (1000 * MINUTE, 1000 * MINUTE));
        // Taken out of the cluster: it did not come back.
        assert!(ledger.observe(1010 * MINUTE, &[node("b", true, 0, "1")], &[]));
        let outage = &one(&ledger).outage;
        assert_eq!((outage.ended_ms, outage.gone_ms, outage.is_open()), (None, Some(1010 * MINUTE), false));
        assert_eq!(outage.length_ms(5000 * MINUTE), 10 * MINUTE);
        // Rebooted between two looks.
        assert!(ledger.observe(1020 * MINUTE, &[node("b", true, 1015 * MINUTE, "2")], &[]));
        let recorded = ledger.outages().last().expect("a reboot");
        assert!(recorded.unseen && recorded.rebooted && !recorded.outage.is_open());
    }

    #[test]
    fn a_node_that_joins_has_no_outage_before_it_was_ready_once() {
        let mut ledger = Ledger::default();
        let a = node("a", true, 0, "1");
        ledger.observe(MINUTE, std::slice::from_ref(&a), &[]);
        for (at, since, ready) in [(2, 2, false), (3, 2, false), (4, 4, true)] {
            ledger.observe(at * MINUTE, &[a.clone(), node("b", ready, since * MINUTE, "1")], &[]);
            let is_known = ledger.nodes.get("b").map(|known| known.ready);
            assert_eq!((ledger.outages().len(), is_known), (0, Some(ready)), "{at}: {ledger:?}");
        }
        ledger.observe(9 * MINUTE, &[a, node("b", false, 9 * MINUTE, "1")], &[]);
        assert_eq!(one(&ledger).outage.noticed_ms, 9 * MINUTE);
    }

    #[test]
    fn what_happened_while_nobody_looked_is_told_by_the_time_of_the_last_change() {
        let kept = |ledger: &Ledger| Ledger::from_bytes(&ledger.to_bytes()).expect("its own bytes");
        let mut ledger = Ledger::default();
        ledger.observe(10 * MINUTE, &[node("a", true, 0, "1")], &[]);
        // Ready before and after, by the same start of the machine, but since another time.
        let mut ledger = kept(&ledger);
        assert!(ledger.observe(40 * MINUTE, &[node("a", true, 30 * MINUTE, "1")], &[]));
        let recorded = one(&ledger);
        assert_eq!((recorded.unseen, recorded.rebooted), (true, false));
        assert_eq!(recorded.outage.ended_ms, Some(30 * MINUTE));
        assert!(!ledger.observe(41 * MINUTE, &[node("a", true, 30 * MINUTE, "1")], &[]));
        // Away before and after, but ready in between.
        ledger.observe(50 * MINUTE, &[node("a", false, 50 * MINUTE, "1")], &[]);
        let mut ledger = kept(&ledger);
        assert!(ledger.observe(90 * MINUTE, &[node("a", false, 80 * MINUTE, "1")], &[]));
        let [_, before, now] = ledger.outages() else { panic!("three outages: {ledger:?}") };
        assert!(before.unseen && !before.outage.is_open(), "when it ended is not known: {before:?}");
        assert_eq!((now.unseen, now.outage.is_open(), now.outage.noticed_ms), (false, true, 80 * MINUTE));
        // From saying nothing to saying that it is not ready is no recovery.
        let says = NodeSeen { silent: false, ..node("a", false, 95 * MINUTE, "1") };
        ledger.observe(95 * MINUTE, &[says], &[]);
        assert_eq!(ledger.outages().len(), 3);
        ledger.observe(97 * MINUTE, &[node("a", true, 96 * MINUTE, "1")], &[]);
        assert_eq!(ledger.outages()[2].outage.length_ms(0), 16 * MINUTE);
    }

    #[test]
    fn a_file_of_before_is_read_and_tells_nothing_that_is_not_in_it() {
        let file = r#"{"version":1,"since_ms":60000,"nodes":{"a":{"ready":true,"boot_id":"1"},"b":{"ready":false}},
            "outages":[{"pool":"p","node":"b","began_ms":60000,"noticed_ms":60000,"ended_ms":null}]}"#;
        let mut ledger = Ledger::from_bytes(file.as_bytes()).expect("a file of before");
        let seen = [node("a", true, 30 * MINUTE, "1"), node("b", false, 31 * MINUTE, "")];
        assert!(ledger.observe(40 * MINUTE, &seen, &[]), "the times of change are news");
        assert!(one(&ledger).outage.is_open());
        assert!(!ledger.observe(41 * MINUTE, &seen, &[]));
    }

    #[test]
    fn pods_that_are_wanted_no_more_are_not_waited_for_for_ever() {
        let mut ledger = Ledger::default();
        let up = [node("a", true, 0, ""), node("b", true, 0, "")];
        let pods = [pod("web", "a", true), pod("web", "b", true)];
        ledger.observe(MINUTE, &up, &pods);
        let down = [node("a", false, 2 * MINUTE, ""), node("b", true, 0, "")];
        ledger.observe(2 * MINUTE, &down, &pods);
        let scaled = [pod("web", "b", true)];
        ledger.observe(3 * MINUTE, &down, &scaled);
        assert_eq!(one(&ledger).pods_again_ms, None, "its new pod may not be made yet");
        ledger.observe(13 * MINUTE, &down, &scaled);
        assert_eq!(one(&ledger).pods_again_ms, Some(13 * MINUTE));
        // One that never runs again.
        let mut ledger = Ledger::default();
        ledger.observe(MINUTE, &up, &pods);
        ledger.observe(2 * MINUTE, &down, &pods);
        ledger.observe(2 * MINUTE + PODS_WAIT_MS_MAX + 1, &down, &pods);
        assert!(one(&ledger).missing.is_empty());
        assert_eq!(one(&ledger).pods_again_ms, None);
    }

    #[test]
    fn the_oldest_outages_go_and_the_time_of_watching_with_them() {
        let mut ledger = Ledger::default();
        ledger.observe(0, &[node("a", true, 0, "")], &[]);
        let rounds = i64::try_from(MAX_OUTAGES).expect("small") + 10;
        for round in 1..=rounds {
            ledger.observe(round * 1000, &[node("a", false, round * 1000, "")], &[]);
            ledger.observe(round * 1000 + 500, &[node("a", true, round * 1000 + 500, "")], &[]);
        }
        assert_eq!(ledger.outages().len(), MAX_OUTAGES);
        assert_eq!(ledger.since_ms(), Some(10_000));
        assert_eq!(ledger.outages()[0].outage.noticed_ms, 11_000);
    }
}
