//! Pods as the history keeps them: what it does not have yet, and how they are taken over from it.

use std::{borrow::Cow, net::IpAddr};

use vedette_sys::MonotonicTime;

use super::{ADDRESSES_MAX, CONTAINERS_MAX, Held, Index, OPEN, Record, Slot, UNTOLD, text};
use crate::{
    identity::history::record::{Gone, PodRecord},
    objects::Owner,
};

impl Index {
    /// Pods that the history does not have as they are.
    pub(in crate::identity) fn changed(&self) -> Vec<Slot> {
        let is_changed = |(at, record): (usize, &Option<Record>)| {
            record.as_ref().is_some_and(|record| record.is_changed).then_some(at as Slot)
        };
        self.pods.iter().enumerate().filter_map(is_changed).collect()
    }

    /// Pods that the history still has, and nobody else.
    pub(in crate::identity) fn forgotten_uids(&self) -> &[String] {
        &self.forgotten_uids
    }

    /// All pods, those first of which most will be asked: that are there, and that went last.
    pub(in crate::identity) fn newest_first(&self) -> Vec<Slot> {
        self.live().chain(self.gone.iter().rev().map(|(slot, _)| *slot)).collect()
    }

    /// The history has a pod as it is, by a record of so many bytes, or, where there are none, does not keep it.
    /// Whether it had it before.
    pub(in crate::identity) fn mark_kept(&mut self, slot: Slot, bytes: u32) -> bool {
        let Self { pods, kept_bytes, .. } = self;
        let Some(record) = pods.get_mut(slot as usize).and_then(Option::as_mut) else { return false };
        record.is_changed = false;
        let before = std::mem::replace(&mut record.kept_bytes, bytes);
        *kept_bytes = *kept_bytes - u64::from(before) + u64::from(bytes);
        before > 0
    }

    /// The history knows of the first so many that are forgotten.
    pub(in crate::identity) fn drop_forgotten(&mut self, count: usize) {
        self.forgotten_uids.drain(..count);
    }

    /// What the newest records of all pods take in the history.
    pub(in crate::identity) fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    /// A pod, for the history.
    pub(in crate::identity) fn record_of(&self, slot: Slot) -> Option<PodRecord<'_>> {
        let record = self.pods.get(slot as usize)?.as_ref()?;
        let text = |number| self.texts.get(number);
        let until = |key| self.by_address.get(key).map_or(OPEN, |(until_ms, _)| *until_ms);
        let (owner, above) = record.owner.map(|owner| self.owners.told(owner, &self.texts)).unzip();
        let container = |held: &Held| {
            (Cow::Owned(self.container_text(slot, &held.id)), text(held.name), text(held.image))
        };
        Some(PodRecord {
            uid: self.uid_text(slot, &record.uid).into(),
            alias: record.alias.as_deref().copied(),
            namespace: text(record.namespace),
            name: &record.name,
            node: text(record.node),
            service_account: text(record.service_account),
            owner,
            above: above.flatten(),
            since_ms: record.since_ms,
            gone: (record.gone_ms != OPEN)
                .then_some(Gone { at_ms: record.gone_ms, unseen: record.gone_unseen }),
            addresses: record.addresses.iter().map(|key| (key.0, key.1, until(key))).collect(),
            containers: record.containers.iter().map(container).collect(),
        })
    }

    /// Until when those that are taken over as being there are known to have been there.
    pub(in crate::identity) fn set_known_until(&mut self, known_ms: i64) {
        self.known_ms = known_ms;
    }

    /// Takes a pod over from the history, where its record has so many bytes; not one whose time is over.
    pub(in crate::identity) fn take_over(
        &mut self,
        told: &PodRecord<'_>,
        kept_bytes: u32,
        (now_ms, now): (i64, MonotonicTime),
    ) {
        let uid = text::uid(&told.uid);
        let due = told.gone.map(|gone| self.due(gone.at_ms, now_ms, now));
        if self.of_uid(&uid).is_some() || due.is_some_and(|due| due < now) {
            return;
        }
        let alias = told.alias.filter(|alias| self.may_be_called(told.namespace, told.name, alias));
        let texts = &mut self.texts;
        let owner = told.owner.map(|(kind, name)| {
            let owner = Owner { kind: kind.into(), name: name.into() };
            self.owners.hold(texts, told.namespace, &owner)
        });
        if let (Some(owner), Some(above)) = (owner, told.above) {
            self.owners.take_over(texts, owner, above);
        }
        let record = Record {
            uid,
            alias: alias.map(Box::new),
            name: told.name.into(),
            namespace: texts.hold(told.namespace),
            node: texts.hold(told.node),
            service_account: texts.hold(told.service_account),
            owner,
            version: UNTOLD,
            since_ms: told.since_ms,
            gone_ms: told.gone.map_or(OPEN, |gone| gone.at_ms),
            gone_unseen: told.gone.is_some_and(|gone| gone.unseen),
            is_changed: false,
            kept_bytes,
            addresses: Box::default(),
            containers: Box::default(),
        };
        let slot = self.place(record, &told.uid);
        match due {
            Some(due) => {
                let place = self.gone.partition_point(|(_, other)| *other <= due);
                self.gone.insert(place, (slot, due));
            }
            None => self.live += 1,
        }
        self.take_over_containers(slot, told);
        self.take_over_addresses(slot, told);
    }

    fn take_over_containers(&mut self, slot: Slot, told: &PodRecord<'_>) {
        let mut all = Vec::new();
        for (id_text, name, image) in last(&told.containers, CONTAINERS_MAX) {
            let id = text::container_id(id_text);
            let is_new = self.by_container.insert(id, slot) != Some(slot);
            if !is_new {
                continue;
            }
            if !text::is_plain_container_id(id_text) {
                self.odd.entry(slot).or_default().containers.push((id, (**id_text).into()));
            }
            all.push(Held { id, name: self.texts.hold(name), image: self.texts.hold(image) });
        }
        self.record_mut(slot).containers = all.into_boxed_slice();
    }

    fn take_over_addresses(&mut self, slot: Slot, told: &PodRecord<'_>) {
        let end_ms = told.gone.map_or(OPEN, |gone| gone.at_ms);
        let mut all: Vec<(IpAddr, i64)> = Vec::new();
        for (address, from_ms, until_ms) in last(&told.addresses, ADDRESSES_MAX) {
            let mut key = (*address, *from_ms);
            // What stands in two records, as one of them was lost, is the first's.
            while self.by_address.contains_key(&key) && key.1 < OPEN {
                key.1 += 1;
            }
            if key.1 < OPEN {
                let until_ms = if *until_ms == OPEN { end_ms } else { *until_ms };
                self.by_address.insert(key, (until_ms.max(key.1), slot));
                all.push(key);
            }
        }
        self.record_mut(slot).addresses = all.into_boxed_slice();
    }
}

fn last<T>(all: &[T], count: usize) -> &[T] {
    &all[all.len().saturating_sub(count)..]
}
