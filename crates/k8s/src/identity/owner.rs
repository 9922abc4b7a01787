//! Who made pods, and who made those: a ReplicaSet stands for its Deployment, a Job for its CronJob.

use hashbrown::HashMap;
use vedette_model::Workload;

use super::text::{Text, Texts};
use crate::objects::Owner;

/// One who made pods.
pub(super) type OwnerId = u32;

/// Kind and name.
pub(super) type Named<'a> = (&'a str, &'a str);

/// All who made pods that are remembered.
#[derive(Default)]
pub(super) struct Owners {
    known: HashMap<(Text, Text, Text), OwnerId>,
    slots: Vec<Slot>,
    free: Vec<OwnerId>,
}

struct Slot {
    /// Namespace, kind and name.
    key: (Text, Text, Text),
    /// Kind and name of who made it, once that is known. It is remembered when both are gone.
    above: Option<(Text, Text)>,
    /// Whether that is to be asked.
    is_open: bool,
    uses: u32,
}

impl Owners {
    /// Takes one up; whoever does, lets it go again.
    pub(super) fn hold(&mut self, texts: &mut Texts, namespace: &str, owner: &Owner) -> OwnerId {
        let key = (texts.hold(namespace), texts.hold(&owner.kind), texts.hold(&owner.name));
        let may_have_owner = matches!(&*owner.kind, "ReplicaSet" | "Job");
        if let Some(known) = self.known.get(&key) {
            let slot = &mut self.slots[*known as usize];
            slot.uses += 1;
            // One that nobody made may have been taken over since.
            slot.is_open = may_have_owner && slot.above.is_none();
            release_key(texts, key);
            return *known;
        }
        let slot = Slot { key, above: None, is_open: may_have_owner, uses: 1 };
        let number = match self.free.pop() {
            Some(free) => {
                self.slots[free as usize] = slot;
                free
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as OwnerId
            }
        };
        self.known.insert(key, number);
        number
    }

    /// Lets one go.
    pub(super) fn release(&mut self, texts: &mut Texts, number: OwnerId) {
        let slot = &mut self.slots[number as usize];
        slot.uses -= 1;
        if slot.uses > 0 {
            return;
        }
        self.known.remove(&slot.key);
        release_key(texts, slot.key);
        if let Some((kind, name)) = slot.above.take() {
            texts.release(kind);
            texts.release(name);
        }
        self.free.push(number);
    }

    /// Asks by kind, namespace and name for those of which it is not known; of which it now is, in their order.
    /// `None` is asked again, `Some(None)` only when there is another pod.
    pub(super) fn resolve(
        &mut self,
        texts: &mut Texts,
        who: impl Fn(&str, &str, &str) -> Option<Option<Owner>>,
    ) -> Vec<OwnerId> {
        let mut resolved = Vec::new();
        for (number, slot) in self.slots.iter_mut().enumerate() {
            if slot.uses == 0 || !slot.is_open {
                continue;
            }
            let (namespace, kind, name) = slot.key;
            let Some(above) = who(texts.get(kind), texts.get(namespace), texts.get(name)) else { continue };
            slot.is_open = false;
            if let Some(above) = above {
                slot.above = Some((texts.hold(&above.kind), texts.hold(&above.name)));
                resolved.push(number as OwnerId);
            }
        }
        resolved
    }

    /// Takes over who made one, where that is not known.
    pub(super) fn take_over(&mut self, texts: &mut Texts, number: OwnerId, (kind, name): (&str, &str)) {
        let slot = &mut self.slots[number as usize];
        slot.is_open = false;
        slot.above.get_or_insert_with(|| (texts.hold(kind), texts.hold(name)));
    }

    /// Kind and name of one, and of who made it, once that is known.
    pub(super) fn told<'a>(&self, number: OwnerId, texts: &'a Texts) -> (Named<'a>, Option<Named<'a>>) {
        let slot = &self.slots[number as usize];
        let named = |(kind, name)| (texts.get(kind), texts.get(name));
        (named((slot.key.1, slot.key.2)), slot.above.map(named))
    }

    /// What a person made.
    pub(super) fn workload(&self, number: OwnerId, texts: &Texts) -> Workload {
        let slot = &self.slots[number as usize];
        let (kind, name) = slot.above.unwrap_or((slot.key.1, slot.key.2));
        Workload { kind: texts.get(kind).to_owned(), name: texts.get(name).to_owned() }
    }
}

fn release_key(texts: &mut Texts, (namespace, kind, name): (Text, Text, Text)) {
    for text in [namespace, kind, name] {
        texts.release(text);
    }
}
