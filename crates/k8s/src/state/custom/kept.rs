//! What is kept of the objects of one custom resource: their rows, and no object.
//!
//! All resources of a cluster share one budget of bytes. An object whose rows do not fit has none until it changes
//! or is listed again, and is counted.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Value, value::RawValue};

use super::{
    CustomFamily,
    lost::{Loss, Lost},
    metric,
    rows::ObjectRows,
};
use crate::{
    Sink,
    objects::{Listed, Meta},
};

/// An API server takes no object that is longer; read, it has some thirty times as many bytes for a moment.
const OBJECT_BYTES_MAX: usize = 3 << 20;
/// What an object takes beside its rows and its name.
const SLOT_BYTES: usize = 128;

/// An object as it came, not yet looked at.
pub(super) struct CustomObject {
    meta: Meta,
    text: Box<RawValue>,
}

impl<'de> Deserialize<'de> for CustomObject {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Named {
            metadata: Meta,
        }
        let text = Box::<RawValue>::deserialize(from)?;
        let Named { metadata } = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(Self { meta: metadata, text })
    }
}

impl Listed for CustomObject {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// Bytes that the rows of all custom resources of a cluster may take.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Budget {
    pub(super) fn of(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max })
    }

    /// What is taken.
    pub(super) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let more = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.max);
        self.used.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
    }
}

/// The rows of all objects of one resource.
pub(super) struct Kept {
    families: Arc<[CustomFamily]>,
    budget: Arc<Budget>,
    lost: Lost,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    slots: BTreeMap<Box<str>, Slot>,
    /// The number of the list under way or, after it, of the last.
    list: u64,
}

struct Slot {
    rows: Arc<ObjectRows>,
    bytes: usize,
    /// The last list that named it.
    list: u64,
}

impl Kept {
    pub(super) fn new(families: Arc<[CustomFamily]>, budget: Arc<Budget>) -> Self {
        let lost = Lost::new(families.len());
        Self { families, budget, lost, state: Mutex::default() }
    }

    pub(super) fn families(&self) -> &Arc<[CustomFamily]> {
        &self.families
    }

    pub(super) fn lost(&self) -> &Lost {
        &self.lost
    }

    /// How many objects have rows.
    pub(super) fn len(&self) -> usize {
        self.state.lock().slots.len()
    }

    /// The rows of all objects, in the order of their names.
    pub(super) fn rows(&self) -> Vec<Arc<ObjectRows>> {
        self.state.lock().slots.values().map(|slot| slot.rows.clone()).collect()
    }

    fn rows_of(&self, object: &CustomObject, key: &str) -> Option<ObjectRows> {
        let text = object.text.get();
        if text.len() > OBJECT_BYTES_MAX {
            self.lost.add(Loss::ObjectSize);
            return None;
        }
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            self.lost.add(Loss::Unreadable);
            return None;
        };
        Some(metric::rows(&self.families, &value, key, &self.lost))
    }
}

impl Sink<CustomObject> for Kept {
    fn begin(&self) {
        self.state.lock().list += 1;
    }

    fn put(&self, object: CustomObject) {
        let key = object.meta.key();
        let rows = self.rows_of(&object, &key);
        drop(object);
        let mut state = self.state.lock();
        if let Some(before) = state.slots.remove(&key) {
            self.budget.give_back(before.bytes);
        }
        let Some(rows) = rows else { return };
        let bytes = SLOT_BYTES + key.len() + rows.bytes();
        if !self.budget.take(bytes) {
            self.lost.add(Loss::Memory);
            return;
        }
        let list = state.list;
        state.slots.insert(key, Slot { rows: Arc::new(rows), bytes, list });
    }

    fn remove(&self, meta: &Meta) {
        if let Some(slot) = self.state.lock().slots.remove(&meta.key()) {
            self.budget.give_back(slot.bytes);
        }
    }

    fn finish(&self) {
        let mut state = self.state.lock();
        let list = state.list;
        state.slots.retain(|_, slot| {
            let stays = slot.list == list;
            if !stays {
                self.budget.give_back(slot.bytes);
            }
            stays
        });
    }

    /// Nobody waits for changes: the page is read when somebody wants it.
    fn settle(&self) {}
}

impl Drop for Kept {
    fn drop(&mut self) {
        let slots = &self.state.get_mut().slots;
        self.budget.give_back(slots.values().map(|slot| slot.bytes).sum());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::state::custom;

    fn families() -> Arc<[CustomFamily]> {
        let text = "
            spec: {resources: [{groupVersionKind: {group: g, version: v1, kind: Foo}, metrics: [
                {name: n, each: {type: Gauge, gauge: {path: [spec, n]}}}]}]}";
        let mut all = custom::read("f", text).and_then(|file| file.check("")).expect("a file");
        all.remove(0).families
    }

    fn object(name: &str, spec: &Value) -> CustomObject {
        let text = json!({"metadata": {"namespace": "s", "name": name}, "spec": spec}).to_string();
        serde_json::from_str(&text).expect("an object")
    }

    fn told(kept: &Kept) -> Vec<String> {
        kept.rows().iter().flat_map(|rows| rows.of(0).map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn rows_follow_the_objects_and_the_budget_follows_the_rows() {
        let budget = Budget::of(1 << 20);
        let kept = Kept::new(families(), budget.clone());
        kept.begin();
        kept.put(object("a", &json!({"n": 1})));
        kept.put(object("b", &json!({"n": 2})));
        kept.finish();
        assert_eq!(told(&kept), ["} 1\n", "} 2\n"]);
        let two = budget.used();
        kept.put(object("a", &json!({"n": 3})));
        assert_eq!((told(&kept), budget.used()), (vec!["} 3\n".to_owned(), "} 2\n".to_owned()], two));
        // A list that breaks takes nothing away; one that ends does.
        kept.begin();
        kept.put(object("b", &json!({"n": 4})));
        assert_eq!(told(&kept), ["} 3\n", "} 4\n"]);
        kept.finish();
        assert_eq!((told(&kept), kept.len(), budget.used()), (vec!["} 4\n".to_owned()], 1, two / 2));
        kept.remove(object("b", &json!({})).meta());
        assert_eq!((kept.len(), budget.used()), (0, 0));
        kept.put(object("c", &json!({"n": 5})));
        drop(kept);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let kept = Kept::new(families(), Budget::of(500));
        for name in ["a", "b", "c", "d"] {
            kept.put(object(name, &json!({"n": 1})));
        }
        assert!((1..4).contains(&kept.len()), "{}", kept.len());
        assert_eq!(kept.lost().of(Loss::Memory), 4 - kept.len() as u64);
        // What was told of an object before is not told of what it has become.
        kept.put(object("a", &json!({"n": "x".repeat(OBJECT_BYTES_MAX)})));
        assert_eq!(kept.lost().of(Loss::ObjectSize), 1);
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let deep = format!(r#"{{"metadata": {{"name": "deep"}}, "spec": {deep}}}"#);
        kept.put(serde_json::from_str(&deep).expect("an object"));
        assert_eq!(kept.lost().of(Loss::Unreadable), 1);
        kept.put(object("b", &json!({"n": "many"})));
        assert_eq!(kept.lost().of(Loss::Value), 1);
    }
}
