//! Pods by all that names them, as they are and as they were.
//!
//! Deterministic and synchronous: pods and the time are handed in. A pod that is gone stays found until its
//! time is over, or until there are too many of them; then the one that went first is forgotten. An address
//! is answered by time: each pod has it from when it was seen with it until it was seen without.

mod answers;
mod kept;

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::Arc,
};

use hashbrown::HashMap;
use vedette_sys::MonotonicTime;

use super::{
    cgroup,
    owner::{OwnerId, Owners},
    text::{self, ContainerId, Text, Texts, Uid},
};
use crate::objects::{Object as _, Owner, Pod};

/// How much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a pod that is gone is found.
    pub gone_kept_ms: i64,
    /// How many that are gone are found.
    pub gone_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { gone_kept_ms: 15 * 24 * 3_600_000, gone_max: 100_000 }
    }
}

/// Containers of one pod that are remembered, those of before included; a pod that starts again and again
/// has many.
const CONTAINERS_MAX: usize = 32;
/// Addresses likewise.
const ADDRESSES_MAX: usize = 8;
/// The time of what is not over.
pub(super) const OPEN: i64 = i64::MAX;
/// The version of what no watch has told of since it was taken over, or since it went.
const UNTOLD: u64 = 0;

/// Where a pod stands in the index.
pub(super) type Slot = u32;

/// What is known, and what had to be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Pods that are there.
    pub live: usize,
    /// Pods that are gone and still found.
    pub gone: usize,
    /// Pods that were forgotten before their time, as there were too many.
    pub forgotten: u64,
    /// Containers and addresses of before that were forgotten, as a pod had too many.
    pub parts_forgotten: u64,
    /// Texts that are kept.
    pub texts: usize,
}

/// The index.
pub struct Index {
    cluster: Arc<str>,
    limits: Limits,
    texts: Texts,
    owners: Owners,
    pods: Vec<Option<Record>>,
    free: Vec<Slot>,
    live: usize,
    by_uid: HashMap<Uid, Slot>,
    by_container: HashMap<ContainerId, Slot>,
    /// By address and the time from which it was the pod's: until when, and whose.
    by_address: BTreeMap<(IpAddr, i64), (i64, Slot)>,
    /// Pods that are gone and when their time is over, the first to go first. The clock by which they are told may
    /// be set.
    gone: VecDeque<(Slot, MonotonicTime)>,
    /// Uids and ids that are no digits; there are none but in tests and strange clusters.
    odd: HashMap<Slot, Odd>,
    forgotten: u64,
    parts_forgotten: u64,
    /// Until when those that were taken over are known to have been there.
    known_ms: i64,
    /// What the newest records of all pods take in the history.
    kept_bytes: u64,
    /// Uids of pods that are forgotten here and not yet in the history.
    forgotten_uids: Vec<String>,
}

#[derive(Default)]
struct Odd {
    uid: Option<Box<str>>,
    containers: Vec<(ContainerId, Box<str>)>,
}

struct Record {
    uid: Uid,
    /// By which cgroups name it, where that is another.
    alias: Option<Box<Uid>>,
    name: Box<str>,
    namespace: Text,
    node: Text,
    service_account: Text,
    owner: Option<OwnerId>,
    version: u64,
    since_ms: i64,
    gone_ms: i64,
    /// Nobody saw it go.
    gone_unseen: bool,
    /// The history has it otherwise, or not at all.
    is_changed: bool,
    /// What its newest record takes in the history; nothing where there is none.
    kept_bytes: u32,
    addresses: Box<[(IpAddr, i64)]>,
    containers: Box<[Held]>,
}

#[derive(Clone)]
struct Held {
    id: ContainerId,
    name: Text,
    image: Text,
}

impl Index {
    /// Knows nothing yet.
    pub fn new(cluster: Arc<str>, limits: Limits) -> Self {
        Self {
            cluster,
            limits,
            texts: Texts::default(),
            owners: Owners::default(),
            pods: Vec::new(),
            free: Vec::new(),
            live: 0,
            by_uid: HashMap::new(),
            by_container: HashMap::new(),
            by_address: BTreeMap::new(),
            gone: VecDeque::new(),
            odd: HashMap::new(),
            forgotten: 0,
            parts_forgotten: 0,
            known_ms: i64::MIN,
            kept_bytes: 0,
            forgotten_uids: Vec::new(),
        }
    }

    /// One that knows nothing yet, of the same cluster.
    pub(super) fn anew(&self) -> Self {
        Self::new(self.cluster.clone(), self.limits)
    }

    /// Takes a pod as it is now. `version` tells this state of it from others.
    pub fn put(&mut self, pod: &Pod, version: u64, now_ms: i64) {
        let meta = pod.meta();
        let uid = text::uid(&meta.uid);
        let known = self.of_uid(&uid);
        let slot = known.unwrap_or_else(|| self.add(pod, uid, now_ms));
        self.update(slot, pod, now_ms);
        self.take_containers(slot, pod);
        self.take_addresses(slot, pod, now_ms, known.is_none());
        self.record_mut(slot).version = version;
    }

    /// A pod is no longer there. When one went of which no watch has told since it was taken over, nobody knows: it
    /// counts as gone since it was last known to be there, so that nothing of after is told with its name.
    pub(super) fn end(&mut self, slot: Slot, now_ms: i64, now: MonotonicTime) {
        let known_ms = self.known_ms;
        let Some(record) = self.pods.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        if record.gone_ms != OPEN {
            return;
        }
        record.gone_unseen = record.version == UNTOLD;
        let gone_ms = if record.gone_unseen { known_ms.max(record.since_ms).min(now_ms) } else { now_ms };
        record.gone_ms = gone_ms;
        record.is_changed = true;
        // If it comes again, it is told as if it were new.
        record.version = UNTOLD;
        self.live -= 1;
        let due = self.due(gone_ms, now_ms, now);
        let place = self.gone.partition_point(|(_, other)| *other <= due);
        self.gone.insert(place, (slot, due));
        self.close_addresses(slot, gone_ms, &[]);
    }

    /// A pod of that uid is no longer there.
    pub fn remove(&mut self, uid: &str, now_ms: i64, now: MonotonicTime) {
        if let Some(slot) = self.of_uid(&text::uid(uid)) {
            self.end(slot, now_ms, now);
        }
    }

    /// Forgets what went too long ago, or is too much.
    pub fn forget(&mut self, now: MonotonicTime) {
        while let Some((first, due)) = self.gone.front().copied() {
            let is_over = now > due;
            if !is_over && self.gone.len() <= self.limits.gone_max {
                return;
            }
            self.forgotten += u64::from(!is_over);
            self.gone.pop_front();
            self.erase(first);
        }
    }

    /// When the time of a pod that went is over, which is in the past for one that went too long ago.
    fn due(&self, gone_ms: i64, now_ms: i64, now: MonotonicTime) -> MonotonicTime {
        // The clock may have been set back since.
        let age_ms = now_ms.saturating_sub(gone_ms).max(0);
        let left_ms = self.limits.gone_kept_ms.max(0).saturating_sub(age_ms);
        let left_ns = left_ms.unsigned_abs().saturating_mul(1_000_000);
        let due = if left_ms < 0 { now.0.saturating_sub(left_ns) } else { now.0.saturating_add(left_ns) };
        MonotonicTime(due)
    }

    /// Asks who made the ReplicaSets and Jobs of which that is not known yet, by kind, namespace and name: `None`
    /// where that cannot be told yet, `Some(None)` where no other object did.
    /// Says whether that is now known of any.
    pub fn resolve(&mut self, who: impl Fn(&str, &str, &str) -> Option<Option<Owner>>) -> bool {
        let resolved = self.owners.resolve(&mut self.texts, who);
        if resolved.is_empty() {
            return false;
        }
        for record in self.pods.iter_mut().flatten() {
            record.is_changed |= record.owner.is_some_and(|owner| resolved.binary_search(&owner).is_ok());
        }
        true
    }

    /// Which state of a pod is known, and where it stands.
    pub(super) fn known(&self, uid: &str) -> Option<(Slot, u64)> {
        let slot = self.of_uid(&text::uid(uid))?;
        Some((slot, self.record(slot).version))
    }

    /// The pod of this uid: not one that cgroups name so.
    fn of_uid(&self, uid: &Uid) -> Option<Slot> {
        self.by_uid.get(uid).copied().filter(|slot| self.record(*slot).uid == *uid)
    }

    /// Where all that are there stand.
    pub(super) fn live(&self) -> impl Iterator<Item = Slot> {
        let is_live = |(at, record): (usize, &Option<Record>)| {
            let is_live = record.as_ref().is_some_and(|record| record.gone_ms == OPEN);
            is_live.then_some(at as Slot)
        };
        self.pods.iter().enumerate().filter_map(is_live)
    }

    /// What is known, and what had to be forgotten.
    pub fn stats(&self) -> Stats {
        Stats {
            live: self.live,
            gone: self.gone.len(),
            forgotten: self.forgotten,
            parts_forgotten: self.parts_forgotten,
            texts: self.texts.len(),
        }
    }

    fn uid_text(&self, slot: Slot, uid: &Uid) -> String {
        let odd = self.odd.get(&slot).and_then(|odd| odd.uid.as_deref());
        odd.map_or_else(|| text::uid_text(uid), str::to_owned)
    }

    fn container_text(&self, slot: Slot, id: &ContainerId) -> String {
        let mut odd = self.odd.get(&slot).into_iter().flat_map(|odd| &odd.containers);
        odd.find(|(other, _)| other == id)
            .map_or_else(|| text::container_text(id), |(_, text)| text.to_string())
    }

    fn add(&mut self, pod: &Pod, uid: Uid, now_ms: i64) -> Slot {
        let meta = pod.meta();
        let since_ms = meta.created.map_or(now_ms, |seconds| seconds.saturating_mul(1000).min(now_ms));
        let owner = meta.controller.as_deref();
        let alias = alias(pod).filter(|alias| self.may_be_called(&meta.namespace, &meta.name, alias));
        let texts = &mut self.texts;
        let record = Record {
            uid,
            alias: alias.map(Box::new),
            name: meta.name.clone(),
            namespace: texts.hold(&meta.namespace),
            node: texts.hold(pod.node_name()),
            service_account: texts.hold(pod.service_account()),
            owner: owner.map(|owner| self.owners.hold(texts, &meta.namespace, owner)),
            version: UNTOLD,
            since_ms,
            gone_ms: OPEN,
            gone_unseen: false,
            is_changed: true,
            kept_bytes: 0,
            addresses: Box::default(),
            containers: Box::default(),
        };
        self.live += 1;
        self.place(record, &meta.uid)
    }

    /// Gives a pod its place, where it is found by its uid.
    fn place(&mut self, record: Record, uid_text: &str) -> Slot {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.pods.push(None);
                (self.pods.len() - 1) as Slot
            }
        };
        self.by_uid.insert(record.uid, slot);
        if let Some(alias) = &record.alias {
            self.by_uid.insert(**alias, slot);
        }
        if !text::is_plain_uid(uid_text) {
            self.odd.entry(slot).or_default().uid = Some(uid_text.into());
        }
        self.kept_bytes += u64::from(record.kept_bytes);
        self.pods[slot as usize] = Some(record);
        slot
    }

    /// Whether cgroups of that name may be taken for those of a pod: whoever may make pods chooses their annotations,
    /// and shall not be taken for another.
    fn may_be_called(&self, namespace: &str, name: &str, alias: &Uid) -> bool {
        let Some(slot) = self.by_uid.get(alias) else { return true };
        let known = self.record(*slot);
        // A static pod that is told anew has the same.
        let is_same = *known.name == *name && self.texts.get(known.namespace) == namespace;
        known.uid != *alias && (is_same || known.gone_ms != OPEN)
    }

    /// What may change of a pod: it is placed, and it may come again where only the watch lost sight of it.
    fn update(&mut self, slot: Slot, pod: &Pod, now_ms: i64) {
        let node = self.texts.hold(pod.node_name());
        let record = self.record_mut(slot);
        let node_before = std::mem::replace(&mut record.node, node);
        let was_gone = std::mem::replace(&mut record.gone_ms, OPEN) != OPEN;
        record.gone_unseen = false;
        record.is_changed |= was_gone || node_before != node;
        self.texts.release(node_before);
        if was_gone {
            self.gone.retain(|(gone, _)| *gone != slot);
            self.live += 1;
            tracing::debug!(pod = &*pod.meta().key(), now_ms, "a pod that was gone is there again");
        }
    }

    fn take_containers(&mut self, slot: Slot, pod: &Pod) {
        let image_of = |name: &str| {
            let found = pod.containers().find(|(container, _)| &*container.name == name);
            found.map_or("", |(container, _)| &*container.image)
        };
        let mut new = Vec::new();
        for status in pod.statuses().filter(|status| !status.container_id.is_empty()) {
            let id = text::container_id(&status.container_id);
            if self.by_container.get(&id) == Some(&slot) {
                continue;
            }
            let held = Held {
                id,
                name: self.texts.hold(&status.name),
                image: self.texts.hold(image_of(&status.name)),
            };
            self.by_container.insert(id, slot);
            let bare = text::bare_id(&status.container_id);
            if !text::is_plain_container_id(bare) {
                self.odd.entry(slot).or_default().containers.push((id, bare.into()));
            }
            new.push(held);
        }
        if new.is_empty() {
            return;
        }
        let record = self.record_mut(slot);
        record.is_changed = true;
        let mut all = std::mem::take(&mut record.containers).into_vec();
        all.append(&mut new);
        let too_many = all.len().saturating_sub(CONTAINERS_MAX);
        let forgotten: Vec<Held> = all.drain(..too_many).collect();
        record.containers = all.into_boxed_slice();
        self.parts_forgotten += forgotten.len() as u64;
        forgotten.iter().for_each(|held| self.release_container(slot, held));
    }

    fn take_addresses(&mut self, slot: Slot, pod: &Pod, now_ms: i64, is_new: bool) {
        // The addresses of a machine are nobody's, and those of a pod that has ended may be another's.
        let has_ended = matches!(pod.phase(), "Succeeded" | "Failed");
        let has_own = !pod.is_on_host_network() && !has_ended;
        let ips = pod.ips().filter(|_| has_own);
        let now: Vec<IpAddr> = ips.filter_map(|ip| ip.parse().ok()).collect();
        self.close_addresses(slot, now_ms, &now);
        for address in now {
            if self.has_open(slot, address) {
                continue;
            }
            // What was there before us had its addresses from its beginning.
            let mut from_ms = if is_new { self.record(slot).since_ms } else { now_ms };
            while self.by_address.contains_key(&(address, from_ms)) {
                from_ms += 1;
            }
            self.by_address.insert((address, from_ms), (OPEN, slot));
            let record = self.record_mut(slot);
            record.is_changed = true;
            let mut all = std::mem::take(&mut record.addresses).into_vec();
            all.push((address, from_ms));
            let forgotten = (all.len() > ADDRESSES_MAX).then(|| all.remove(0));
            record.addresses = all.into_boxed_slice();
            if let Some(forgotten) = forgotten {
                self.by_address.remove(&forgotten);
                self.parts_forgotten += 1;
            }
        }
    }

    fn has_open(&self, slot: Slot, address: IpAddr) -> bool {
        let mut all = self.record(slot).addresses.iter().filter(|(known, _)| *known == address);
        all.any(|key| self.by_address.get(key).is_some_and(|(until_ms, _)| *until_ms == OPEN))
    }

    /// Ends what a pod has, but for those that it keeps.
    fn close_addresses(&mut self, slot: Slot, now_ms: i64, kept: &[IpAddr]) {
        let Self { pods, by_address, .. } = self;
        let Some(record) = &mut pods[slot as usize] else { return };
        for key in record.addresses.iter().filter(|(address, _)| !kept.contains(address)) {
            if let Some((until_ms, _)) = by_address.get_mut(key)
                && *until_ms == OPEN
            {
                // The clock may have been set back since.
                *until_ms = now_ms.max(key.1);
                record.is_changed = true;
            }
        }
    }

    fn release_container(&mut self, slot: Slot, held: &Held) {
        if self.by_container.get(&held.id) == Some(&slot) {
            self.by_container.remove(&held.id);
        }
        if let Some(odd) = self.odd.get_mut(&slot) {
            odd.containers.retain(|(id, _)| *id != held.id);
        }
        self.texts.release(held.name);
        self.texts.release(held.image);
    }

    fn erase(&mut self, slot: Slot) {
        let Some(record) = self.pods[slot as usize].take() else { return };
        if record.kept_bytes > 0 {
            self.kept_bytes -= u64::from(record.kept_bytes);
            self.forgotten_uids.push(self.uid_text(slot, &record.uid));
        }
        for held in &record.containers {
            self.release_container(slot, held);
        }
        for key in &record.addresses {
            self.by_address.remove(key);
        }
        for uid in std::iter::once(&record.uid).chain(record.alias.as_deref()) {
            if self.by_uid.get(uid) == Some(&slot) {
                self.by_uid.remove(uid);
            }
        }
        for text in [record.namespace, record.node, record.service_account] {
            self.texts.release(text);
        }
        if let Some(owner) = record.owner {
            self.owners.release(&mut self.texts, owner);
        }
        self.odd.remove(&slot);
        self.free.push(slot);
    }

    fn record(&self, slot: Slot) -> &Record {
        self.pods[slot as usize].as_ref().expect("BUG: what is indexed is there")
    }

    fn record_mut(&mut self, slot: Slot) -> &mut Record {
        self.pods[slot as usize].as_mut().expect("BUG: what is indexed is there")
    }
}

/// How the cgroups of a pod are called, where not after its uid: kubelets call those of static pods after the digest
/// of their file, and tell such pods as mirrors that go with their node.
fn alias(pod: &Pod) -> Option<Uid> {
    let meta = pod.meta();
    let mirrored = meta.annotations.get("kubernetes.io/config.mirror")?;
    let is_of_node = meta.controller.as_ref().is_some_and(|owner| &*owner.kind == "Node");
    let hash = meta.annotations.get("kubernetes.io/config.hash").filter(|hash| *hash == mirrored)?;
    let alias = text::uid(hash);
    (is_of_node && alias != text::uid(&meta.uid)).then_some(alias)
}
