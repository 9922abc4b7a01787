//! Who is meant by a question, and what is told of a pod.

use std::net::IpAddr;

use vedette_model::{PodContainer, PodIdentity, Workload, WorkloadQuestion};

use super::{Held, Index, OPEN, Slot, cgroup, text};

impl Index {
    /// The pods that are meant, those that are there first, then the last that went.
    pub fn identify(&self, question: &WorkloadQuestion<'_>, limit: usize) -> Vec<PodIdentity> {
        let one = match question {
            WorkloadQuestion::Container(id) => self.by_container.get(&text::container_id(id)).copied(),
            WorkloadQuestion::PodUid(uid) => self.by_uid.get(&text::uid(uid)).copied(),
            WorkloadQuestion::Cgroup(path) => cgroup::names(path).find_map(|name| match name {
                cgroup::Name::Pod(uid) => self.by_uid.get(&text::uid(uid)).copied(),
                cgroup::Name::Container(id) => self.by_container.get(&text::container_id(id)).copied(),
            }),
            WorkloadQuestion::Address(address, at_ms) => self.had(*address, *at_ms),
            WorkloadQuestion::ServiceAccount(namespace, name) => {
                return self.acting_as(namespace, name, limit);
            }
        };
        one.into_iter().take(limit).map(|slot| self.told(slot)).collect()
    }

    /// Who had an address; of several the one that got it last.
    fn had(&self, address: IpAddr, at_ms: i64) -> Option<Slot> {
        let before = self.by_address.range((address, i64::MIN)..=(address, at_ms)).rev();
        before.into_iter().find(|(_, (until_ms, _))| at_ms < *until_ms).map(|(_, (_, slot))| *slot)
    }

    fn acting_as(&self, namespace: &str, name: &str, limit: usize) -> Vec<PodIdentity> {
        let (Some(namespace), Some(name)) = (self.texts.find(namespace), self.texts.find(name)) else {
            return Vec::new();
        };
        let acts = |slot: &Slot| {
            let record = self.record(*slot);
            (record.namespace, record.service_account) == (namespace, name)
        };
        let live = self.live().filter(acts);
        let gone = self.gone.iter().rev().map(|(slot, _)| *slot).filter(acts);
        live.chain(gone).take(limit).map(|slot| self.told(slot)).collect()
    }

    fn told(&self, slot: Slot) -> PodIdentity {
        let record = self.record(slot);
        let text = |number| self.texts.get(number).to_owned();
        let container = |held: &Held| PodContainer {
            id: self.container_text(slot, &held.id),
            name: text(held.name),
            image: text(held.image),
        };
        let workload = match record.owner {
            Some(owner) => self.owners.workload(owner, &self.texts),
            None => Workload { kind: "Pod".into(), name: record.name.to_string() },
        };
        PodIdentity {
            cluster: self.cluster.clone(),
            namespace: text(record.namespace),
            name: record.name.to_string(),
            uid: self.uid_text(slot, &record.uid),
            node: text(record.node),
            service_account: text(record.service_account),
            workload,
            addresses: record.addresses.iter().map(|(address, _)| *address).collect(),
            containers: record.containers.iter().map(container).collect(),
            since_ms: record.since_ms,
            gone_ms: Some(record.gone_ms).filter(|gone_ms| *gone_ms != OPEN),
            gone_unseen: record.gone_unseen,
        }
    }
}
