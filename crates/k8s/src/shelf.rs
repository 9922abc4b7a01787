//! The objects of one kind that are there now.
//!
//! A new list does not empty it: objects are marked as they come, and those that the whole list did not
//! name go when it ends. So what is known is never less than what was, and never held twice.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use crate::objects::Object;

/// Objects by namespace and name.
#[derive(Debug)]
pub struct Shelf<O> {
    slots: BTreeMap<Box<str>, Slot<O>>,
    /// The number of the list under way or, after it, of the last.
    list: u64,
    next_version: u64,
}

#[derive(Debug)]
struct Slot<O> {
    object: Arc<O>,
    /// Tells this state of the object from all others that were ever here.
    version: u64,
    /// The last list that named it.
    list: u64,
}

impl<O> Default for Shelf<O> {
    fn default() -> Self {
        Self { slots: BTreeMap::new(), list: 0, next_version: 1 }
    }
}

impl<O: Object> Shelf<O> {
    /// A new list begins. One that did not end is forgotten.
    pub fn begin(&mut self) {
        self.list += 1;
    }

    /// Takes an object; whether it is another than before.
    pub fn put(&mut self, object: O) -> bool {
        let (list, version) = (self.list, self.next_version);
        match self.slots.entry(object.meta().key()) {
            Entry::Occupied(mut there) => {
                let slot = there.get_mut();
                slot.list = list;
                let (old, new) = (slot.object.meta(), object.meta());
                if !new.resource_version.is_empty()
                    && (&old.uid, &old.resource_version) == (&new.uid, &new.resource_version)
                {
                    return false;
                }
                (slot.object, slot.version) = (Arc::new(object), version);
            }
            Entry::Vacant(free) => {
                free.insert(Slot { object: Arc::new(object), version, list });
            }
        }
        self.next_version += 1;
        true
    }

    /// An object is gone; whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        self.slots.remove(key).is_some()
    }

    /// The list is whole: what it did not name is gone; whether that is anything.
    pub fn finish(&mut self) -> bool {
        let (before, list) = (self.slots.len(), self.list);
        self.slots.retain(|_, slot| slot.list == list);
        self.slots.len() != before
    }

    /// An object and what tells its state from all others.
    pub fn get(&self, key: &str) -> Option<(&Arc<O>, u64)> {
        self.slots.get(key).map(|slot| (&slot.object, slot.version))
    }

    /// All objects, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<O>, u64)> {
        self.slots.iter().map(|(key, slot)| (&**key, &slot.object, slot.version))
    }

    /// All objects as they are now, in the order of their keys.
    pub fn to_vec(&self) -> Vec<Arc<O>> {
        self.slots.values().map(|slot| slot.object.clone()).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;
    use vedette_sys::Random;

    use super::*;
    use crate::objects::Namespace;

    fn object(name: u64, version: u64) -> Namespace {
        let meta = json!({"metadata": {"name": name.to_string(), "uid": "u", "resourceVersion": version.to_string()}});
        serde_json::from_value(meta).expect("sound")
    }

    /// Lists that end, lists that break, and events: always what the cluster had, or what it had before.
    #[test]
    fn a_list_changes_what_is_known_and_never_empties_it() {
        let mut random = Random::new(7);
        let mut shelf: Shelf<Namespace> = Shelf::default();
        let mut known: BTreeMap<String, u64> = BTreeMap::new();
        let mut cluster: BTreeMap<u64, u64> = BTreeMap::new();
        for version in 1..3000 {
            let name = random.below(12);
            match random.below(8) {
                0..4 => {
                    cluster.insert(name, version);
                    known.insert(name.to_string(), version);
                    assert!(shelf.put(object(name, version)), "it is new");
                    assert!(!shelf.put(object(name, version)), "it is the same");
                }
                4 | 5 => {
                    cluster.remove(&name);
                    assert_eq!(shelf.remove(&name.to_string()), known.remove(&name.to_string()).is_some());
                }
                // Changes that no event told.
                6 => {
                    cluster.remove(&name);
                    cluster.insert(random.below(12), version);
                }
                _ => {
                    shelf.begin();
                    let told = random.below(cluster.len() as u64 * 2 + 1) as usize;
                    for (name, version) in cluster.iter().take(told) {
                        shelf.put(object(*name, *version));
                        known.insert(name.to_string(), *version);
                    }
                    if told >= cluster.len() {
                        shelf.finish();
                        known = cluster.iter().map(|(name, version)| (name.to_string(), *version)).collect();
                    }
                }
            }
            let have: BTreeMap<String, u64> = shelf
                .iter()
                .map(|(key, object, _)| {
                    (key.to_owned(), object.meta().resource_version.parse().expect("a number"))
                })
                .collect();
            assert_eq!(have, known, "{version}");
        }
        let mut versions: Vec<u64> = shelf.iter().map(|(_, _, version)| version).collect();
        versions.sort_unstable();
        versions.dedup();
        assert_eq!(versions.len(), shelf.len());
    }
}
