//! How the parts of one cluster are, from all that was seen of them.
//!
//! Synchronous, and the clock is handed in: what is asked of the network is asked elsewhere. As long as the
//! API server does not answer, nothing that it would tell grows old: those parts are held as they are, and
//! once it has failed, they are unknown.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::Duration,
};

use vedette_http_client::Certificate;
use vedette_model::cluster::PartState;
use vedette_sys::MonotonicTime;

use super::{
    causes::{DNS_NO_ENDPOINTS, LEASE_EXPIRED, UNASKED, WATCH_BARRED},
    certificates::Certificates,
    lease::{Lease, Renewals},
    node::{self, NodeKnown, NodeSeen},
    probe::Probe,
    track::{Seen, Track},
    workloads::{self, PodsByPart, Readiness},
};

mod told;

/// The API server.
pub const API_SERVER: &str = "apiserver";
/// Its store.
pub const ETCD: &str = "etcd";
/// What runs on each node.
pub const KUBELET: &str = "kubelet";
/// The addresses by which names are asked for.
pub const DNS: &str = "dns-service";

/// Leases of programs of which one leads: the lease, and the part.
pub const LEADERS: [(&str, &str); 3] = [
    ("kube-scheduler", "scheduler"),
    ("kube-controller-manager", "controller-manager"),
    ("cloud-controller-manager", "cloud-controller-manager"),
];

/// With these causes the API server answers what it is asked, as with none.
const ANSWERS: [&str; 4] = ["slow", "starting", "barred", "certificate_outlived"];
/// With these nobody can ask it anything, though it may be well.
const DARK: [&str; 3] = ["credentials", "client_certificate_expired", "client_certificate_refused"];
/// With these there was no answer until the question was given up.
const SILENT: [&str; 4] = ["no_answer", "endpoint_silent", "certificate_expired", "certificate_untrusted"];
/// What could not be relied on for so long is old.
const BLIND_MAX: Duration = Duration::from_secs(30);
/// A lease that could not be read for so long, likewise.
const UNSEEN_MAX: Duration = Duration::from_secs(30);
/// And a store that the answers do not name.
const UNTOLD_MAX: Duration = Duration::from_secs(10);
/// Of a large cluster no more instances are told; the nodes beyond are counted.
const INSTANCES_MAX: usize = 10_000;
/// What has had no pod for so long is taken for removed by intent.
const FORGOTTEN: Duration = Duration::from_secs(3_600);
/// Between two looks that are so far apart we slept, and renewals were not seen ...
const SLEPT: Duration = Duration::from_secs(5);
/// ... or so many times as far as they should be.
const SLEPT_INTERVALS: u32 = 3;

/// What the watches of a cluster show. What is `None` is not known yet; an error is why it cannot be.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// All nodes.
    pub nodes: Option<Result<Vec<NodeSeen>, String>>,
    /// The pods of what is in the table.
    pub pods: Option<Result<PodsByPart, String>>,
    /// How many addresses the service for names has that are ready; `None` where there is no such service.
    pub dns_addresses: Option<Result<Option<usize>, String>>,
    /// Parts of which pods were seen where they may not be any more, and why.
    pub barred: BTreeMap<&'static str, String>,
}

/// The judge of one cluster.
#[derive(Debug)]
pub struct Judge {
    /// The API server's address.
    address: Box<str>,
    tracks: BTreeMap<(&'static str, Box<str>), Track>,
    leaders: BTreeMap<&'static str, Renewals>,
    nodes: BTreeMap<Box<str>, NodeKnown>,
    /// Whether nodes were seen before, so that others are new.
    knows_nodes: bool,
    /// Workloads that were there, and when they last had a pod.
    workloads: BTreeMap<&'static str, MonotonicTime>,
    readiness: BTreeMap<&'static str, Readiness>,
    had_dns: bool,
    /// Whether the last answer of the server spoke of its store.
    is_store_told: bool,
    /// When one did.
    store_told: Option<MonotonicTime>,
    /// Whether what it would tell cannot be relied on just now.
    is_blind: bool,
    /// Since when, where that is so.
    blind_since: MonotonicTime,
    /// Whether it only begins to answer.
    is_starting: bool,
    /// When the question was asked that was asked last of those with an answer.
    asked: MonotonicTime,
    /// Between two looks that are so far apart we slept.
    slept: Duration,
    /// Whether something is told that was not before.
    is_changed: bool,
    /// When it was looked last.
    looked: Option<MonotonicTime>,
    left_out: BTreeSet<(&'static str, Box<str>)>,
    probe_seconds: BTreeMap<(&'static str, Box<str>), f64>,
    /// Instances that are asked themselves, whatever the API server tells of their part.
    endpoints: BTreeSet<(&'static str, Box<str>)>,
    certificates: Certificates,
}

impl Judge {
    /// Nothing was seen yet of the cluster whose API server has this address.
    pub fn new(address: &str) -> Self {
        Self {
            address: address.into(),
            tracks: BTreeMap::new(),
            leaders: BTreeMap::new(),
            nodes: BTreeMap::new(),
            knows_nodes: false,
            workloads: BTreeMap::new(),
            readiness: BTreeMap::new(),
            looked: None,
            had_dns: false,
            is_store_told: false,
            store_told: None,
            is_blind: true,
            blind_since: MonotonicTime(0),
            is_starting: false,
            asked: MonotonicTime(0),
            slept: SLEPT,
            is_changed: false,
            left_out: BTreeSet::new(),
            probe_seconds: BTreeMap::new(),
            endpoints: BTreeSet::new(),
            certificates: Certificates::default(),
        }
    }

    /// How far apart the looks are meant to be.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.slept = SLEPT.max(interval * SLEPT_INTERVALS);
        self
    }

    /// Takes what came of asking the API server how it is.
    pub fn probe(&mut self, probe: &Probe, unix_ms: i64) {
        let (began, now) = (probe.began, probe.ended);
        let address = self.address.clone();
        if let Some(found) = &probe.certificates {
            self.certificates.take(API_SERVER, &address, found.clone());
        }
        let seen = self.certificates.explain(API_SERVER, &address, probe.server(), unix_ms);
        let store = probe.store();
        // What was asked before another that is answered says how it was.
        if began >= self.asked {
            self.asked = began;
            // A server that answers tells what it knows; one whose store is away may tell what was.
            self.see(seen.cause.is_none_or(|cause| ANSWERS.contains(&cause.word)), began, now);
            self.is_starting = seen.cause.is_some_and(|cause| cause.word == "starting");
            self.is_store_told = store.is_some();
            self.store_told = if self.is_store_told { Some(now) } else { self.store_told };
        }
        self.probe_seconds.insert((API_SERVER, self.address.clone()), now.since(began).as_secs_f64());
        self.take(API_SERVER, &address, seen, began, probe.told_until(), unix_ms);
        if let Some(seen) = store {
            self.take(ETCD, &address, seen, began, began, unix_ms);
        }
    }

    /// While the server tells nothing that can be relied on, no lease grows older.
    fn see(&mut self, answers: bool, began: MonotonicTime, now: MonotonicTime) {
        let was_blind = std::mem::replace(&mut self.is_blind, !answers);
        if self.is_blind {
            self.blind_since = if was_blind { self.blind_since } else { began };
            self.renewals().for_each(|renewals| renewals.pause(began));
        } else if was_blind {
            self.renewals().for_each(|renewals| renewals.resume(now));
        }
    }

    /// Whether the API server answered when it was asked last, and was not just starting.
    pub(super) fn answers(&self) -> bool {
        !self.is_blind && !self.is_starting
    }

    /// Takes what a member of the store said of itself.
    pub fn member(
        &mut self,
        endpoint: &str,
        seen: Seen,
        began: MonotonicTime,
        now: MonotonicTime,
        unix_ms: i64,
    ) {
        self.instance(ETCD, endpoint, seen, began, now, unix_ms);
    }

    /// Takes what the health endpoint of an instance of a part said.
    pub fn endpoint(
        &mut self,
        part: &'static str,
        instance: &str,
        seen: Seen,
        began: MonotonicTime,
        now: MonotonicTime,
        unix_ms: i64,
    ) {
        self.endpoints.insert((part, instance.into()));
        self.instance(part, instance, seen, began, now, unix_ms);
    }

    /// Takes the certificates between us and a part that is asked itself: before what it said.
    pub fn certificates_of(&mut self, part: &'static str, instance: &str, found: Vec<Certificate>) {
        self.certificates.take(part, instance, found);
    }

    fn instance(
        &mut self,
        part: &'static str,
        instance: &str,
        seen: Seen,
        began: MonotonicTime,
        now: MonotonicTime,
        unix_ms: i64,
    ) {
        self.probe_seconds.insert((part, instance.into()), now.since(began).as_secs_f64());
        let seen = self.certificates.explain(part, instance, seen, unix_ms);
        let is_silent = seen.cause.is_some_and(|cause| SILENT.contains(&cause.word));
        self.take(part, instance, seen, began, if is_silent { now } else { began }, unix_ms);
    }

    /// Takes the lease of a part of which one instance leads. What is not there is no part of this cluster.
    pub fn leader(&mut self, part: &'static str, lease: Option<&Lease>, now: MonotonicTime) {
        match (self.leaders.entry(part), lease) {
            (Entry::Occupied(mut known), Some(lease)) => known.get_mut().take(lease, now),
            (Entry::Vacant(free), Some(lease)) => _ = free.insert(Renewals::first(lease, now)),
            (known, None) => {
                if let Entry::Occupied(known) = known {
                    known.remove();
                }
                // It may be told as one that may not be seen.
                self.tracks.remove(&(part, Box::default()));
            }
        }
    }

    /// The lease of a part could not be seen; `barred` says why, where it may not. A question that fails by itself
    /// is nothing, and many are told once the lease was not read for long.
    pub fn leader_unseen(
        &mut self,
        part: &'static str,
        barred: Option<&str>,
        now: MonotonicTime,
        unix_ms: i64,
    ) {
        // What is refused while nobody can ask is told of the server.
        if let Some(reason) = barred.filter(|_| !self.is_blind) {
            self.leaders.remove(part);
            self.barred(part, reason, now, unix_ms);
        }
    }

    /// Takes the lease of a node. Says whether there is such a node: one may come later than its lease.
    pub fn heartbeat(&mut self, node: &str, lease: &Lease, now: MonotonicTime) -> bool {
        let Some(known) = self.nodes.get_mut(node) else { return false };
        match &mut known.renewals {
            Some(renewals) => renewals.take(lease, now),
            none => *none = Some(Renewals::first(lease, now)),
        }
        true
    }

    /// Takes the lease of a node that was asked for by itself; `None` where it is not there.
    pub fn confirm(&mut self, node: &str, lease: Option<&Lease>, now: MonotonicTime) {
        let Some(renewals) = self.nodes.get_mut(node).and_then(|known| known.renewals.as_mut()) else {
            return;
        };
        if let Some(lease) = lease {
            renewals.take(lease, now);
        }
        renewals.confirm(now);
    }

    /// Nodes whose leases seem to be over. Before that is told, they are asked for once more by themselves:
    /// a watch may have died unseen.
    pub fn suspects(&self, now: MonotonicTime) -> Vec<Box<str>> {
        let is_suspect = |known: &NodeKnown| {
            known.renewals.as_ref().is_some_and(|renewals| renewals.is_over(now) && !renewals.is_confirmed())
        };
        self.nodes.iter().filter(|(_, known)| is_suspect(known)).map(|(name, _)| name.clone()).collect()
    }

    /// Looks at all that only the API server tells: to be called every second.
    pub fn look(&mut self, view: &View, now: MonotonicTime, unix_ms: i64) {
        if self.looked.replace(now).is_some_and(|before| now.since(before) > self.slept) {
            self.begin_again(now);
        }
        let address = self.address.clone();
        let server = self.tracks.get(&(API_SERVER, address)).map(|track| track.state());
        let Some((state, _, seen)) = server else { return };
        let is_refused =
            state == PartState::Unknown && seen.cause.is_some_and(|cause| DARK.contains(&cause.word));
        let is_long_blind = self.is_blind && now.since(self.blind_since) > BLIND_MAX;
        if state == PartState::Failed || is_refused || is_long_blind {
            let evidence = match &*seen.evidence {
                "" => "the API server does not answer as it should".to_owned(),
                told => told.to_owned(),
            };
            self.begin_again(now);
            let is_told =
                |key: &(&'static str, Box<str>)| is_told_by_server(key.0) && !self.endpoints.contains(key);
            let others: Vec<_> = self.tracks.keys().filter(|key| is_told(key)).cloned().collect();
            for (part, instance) in others {
                self.take(part, &instance, Seen::wrong(UNASKED, evidence.clone()), now, now, unix_ms);
            }
            // Its members may be asked themselves; what the server said of it is old, if it says no more.
            let address = self.address.clone();
            let is_known = self.tracks.contains_key(&(ETCD, address.clone()));
            if is_known && !self.is_store_told {
                self.take(ETCD, &address, Seen::wrong(UNASKED, evidence), now, now, unix_ms);
            }
            return;
        }
        // Its answers may be others than those that name it, as 403.
        let is_untold = self.store_told.is_some_and(|told| now.since(told) > UNTOLD_MAX.max(self.slept));
        if !self.is_store_told && is_untold {
            let address = self.address.clone();
            let unasked = Seen::wrong(UNASKED, "the answers of the API server do not name its store");
            self.take(ETCD, &address, unasked, now, now, unix_ms);
        }
        if self.is_blind {
            return;
        }
        self.look_at_leaders(now, unix_ms);
        self.look_at_nodes(view, now, unix_ms);
        self.look_at_workloads(view, now, unix_ms);
        self.look_at_dns(view, now, unix_ms);
    }

    fn look_at_leaders(&mut self, now: MonotonicTime, unix_ms: i64) {
        let unseen_max = UNSEEN_MAX.max(self.slept);
        let seen: Vec<_> =
            self.leaders.iter().map(|(part, renewals)| (*part, held(renewals, unseen_max, now))).collect();
        for (part, seen) in seen {
            self.take(part, "", seen, now, now, unix_ms);
        }
    }

    fn look_at_nodes(&mut self, view: &View, now: MonotonicTime, unix_ms: i64) {
        let nodes = match &view.nodes {
            None => return,
            Some(Err(reason)) => return self.barred(KUBELET, reason, now, unix_ms),
            Some(Ok(nodes)) => nodes,
        };
        self.unbarred(KUBELET);
        let names: BTreeSet<&str> = nodes.iter().map(|node| &*node.name).collect();
        self.nodes.retain(|name, _| names.contains(&**name));
        self.tracks.retain(|(part, name), _| *part != KUBELET || names.contains(&**name));
        self.left_out.retain(|(part, name)| *part != KUBELET || names.contains(&**name));
        for node in nodes {
            let joined = self.knows_nodes.then_some(now);
            let known = self.nodes.entry(node.name.clone());
            let known = known.or_insert(NodeKnown { renewals: None, joined });
            let seen = node::seen(node, known, now);
            self.take(KUBELET, &node.name, seen, now, now, unix_ms);
        }
        self.knows_nodes = true;
    }

    fn look_at_workloads(&mut self, view: &View, now: MonotonicTime, unix_ms: i64) {
        let pods = match &view.pods {
            None => return,
            Some(Err(reason)) => {
                for part in self.workloads.clone().into_keys() {
                    self.barred(part, reason, now, unix_ms);
                }
                return;
            }
            Some(Ok(pods)) => pods,
        };
        self.workloads.extend(pods.keys().chain(view.barred.keys()).map(|part| (*part, now)));
        for (part, last) in self.workloads.clone() {
            if now.since(last) > FORGOTTEN {
                self.workloads.remove(part);
                self.readiness.remove(part);
                self.tracks.remove(&(part, Box::default()));
                continue;
            }
            let pods = pods.get(part).map_or(&[][..], Vec::as_slice);
            if let Some(reason) = view.barred.get(part).filter(|_| pods.is_empty()) {
                self.barred(part, reason, now, unix_ms);
                continue;
            }
            let readiness = self.readiness.entry(part).or_default();
            readiness.take(pods, now);
            let is_node_well = |node: &str| {
                let track = self.tracks.get(&(KUBELET, node.into()));
                track.is_none_or(|track| track.state().0 != PartState::Failed)
            };
            let seen = workloads::seen(pods, readiness, now, is_node_well);
            self.take(part, "", seen, now, now, unix_ms);
        }
    }

    fn look_at_dns(&mut self, view: &View, now: MonotonicTime, unix_ms: i64) {
        let addresses = match &view.dns_addresses {
            Some(Ok(addresses)) => *addresses,
            Some(Err(reason)) if self.had_dns => return self.barred(DNS, reason, now, unix_ms),
            _ => return,
        };
        let seen = match addresses {
            None if !self.had_dns => return,
            None | Some(0) => {
                Seen::wrong(DNS_NO_ENDPOINTS, "the service kube-dns has no address that is ready")
            }
            Some(_) => Seen::good(),
        };
        self.had_dns = true;
        self.take(DNS, "", seen, now, now, unix_ms);
    }

    /// What tells of a part may not be seen.
    fn barred(&mut self, part: &'static str, reason: &str, now: MonotonicTime, unix_ms: i64) {
        let instances: Vec<Box<str>> = self
            .tracks
            .keys()
            .filter(|key| key.0 == part && !self.endpoints.contains(*key))
            .map(|(_, instance)| instance.clone())
            .collect();
        let all = if instances.is_empty() { vec![Box::default()] } else { instances };
        for instance in all {
            self.take(part, &instance, Seen::wrong(WATCH_BARRED, reason), now, now, unix_ms);
        }
    }

    /// The place of all instances, before any was known by its name.
    fn unbarred(&mut self, part: &'static str) {
        self.tracks.remove(&(part, Box::default()));
    }

    fn begin_again(&mut self, now: MonotonicTime) {
        self.renewals().for_each(|renewals| renewals.begin_again(now));
        self.readiness.values_mut().for_each(Readiness::begin_again);
    }

    fn renewals(&mut self) -> impl Iterator<Item = &mut Renewals> {
        let nodes = self.nodes.values_mut().filter_map(|known| known.renewals.as_mut());
        self.leaders.values_mut().chain(nodes)
    }

    fn take(
        &mut self,
        part: &'static str,
        instance: &str,
        seen: Seen,
        began: MonotonicTime,
        until: MonotonicTime,
        unix_ms: i64,
    ) {
        // Nodes alone may be many; they leave no other part out.
        let has_room = part != KUBELET || self.tracks.len() < INSTANCES_MAX;
        self.is_changed |= match self.tracks.entry((part, instance.into())) {
            Entry::Occupied(mut known) => known.get_mut().take(seen, began, until, unix_ms),
            Entry::Vacant(free) if has_room => {
                self.left_out.remove(free.key());
                free.insert(Track::new(unix_ms)).take(seen, began, until, unix_ms);
                true
            }
            Entry::Vacant(free) => self.left_out.insert(free.into_key()),
        };
    }
}

/// Whether a part cannot be told of without the API server. The store has members that are asked themselves.
fn is_told_by_server(part: &str) -> bool {
    part != API_SERVER && part != ETCD
}

/// What the lease of a leader says, if it was read within that time.
fn held(renewals: &Renewals, unseen_max: Duration, now: MonotonicTime) -> Seen {
    if renewals.unseen(now) > unseen_max {
        Seen::wrong(UNASKED, "its lease could not be read for some time")
    } else if renewals.was_over() {
        Seen::wrong(LEASE_EXPIRED, renewals.told())
    } else {
        Seen::good()
    }
}
