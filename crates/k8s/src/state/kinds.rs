//! The kinds of objects whose state is told, in the order of the page: one line each.

use std::sync::Arc;

use super::{Allowed, FamilyWords, Snapshot, Stateful, Watched, watched};
use crate::{
    Api, Hub, Shelf,
    objects::{Namespace, Node, Pod, Resource},
};

/// All kinds.
pub const KINDS: &[StateKind] = &[kind::<Namespace>(), kind::<Node>(), kind::<Pod>()];

/// A kind of objects whose state is told.
pub struct StateKind {
    /// What is watched.
    pub resource: Resource,
    /// Whether it is watched without being asked for.
    pub is_default: bool,
    /// Its families, in the order of the page.
    pub families: fn() -> Vec<FamilyWords>,
    /// Begins to watch the objects of a cluster, or joins who does.
    pub watch: fn(&Hub, &Arc<Api>) -> Arc<dyn Watched>,
    /// Objects of this kind, each in JSON, instead of those of a watch.
    pub read: fn(&[&str], &Allowed) -> Result<Box<dyn Snapshot>, serde_json::Error>,
}

const fn kind<O: Stateful>() -> StateKind {
    StateKind {
        resource: O::RESOURCE,
        is_default: true,
        families: watched::families::<O>,
        watch: watched::watch::<O>,
        read: read::<O>,
    }
}

/// One that is watched only where somebody asks for it.
#[expect(dead_code, reason = "the kinds that are rarely wanted come with their families")]
const fn optional<O: Stateful>() -> StateKind {
    StateKind { is_default: false, ..kind::<O>() }
}

fn read<O: Stateful>(texts: &[&str], allowed: &Allowed) -> Result<Box<dyn Snapshot>, serde_json::Error> {
    let mut shelf: Shelf<O> = Shelf::default();
    for text in texts {
        shelf.put(serde_json::from_str(text)?);
    }
    Ok(Box::new(watched::Taken::of(&shelf, None, allowed)))
}
