//! A watch of one kind whose objects are told, whatever kind that is.

use std::sync::Arc;

use super::{Allowed, Gone, Head, Kind, Page, Rows, Stateful};
use crate::{Api, Health, Hub, SharedWatch, Shelf, What};

/// What stands above the rows of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FamilyWords<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it means.
    pub help: &'a str,
    /// What it counts as.
    pub kind: Kind,
}

/// A watch whose objects are told.
pub trait Watched: Send + Sync {
    /// How the watch is.
    fn health(&self) -> &Health;

    /// How many objects are known.
    fn objects(&self) -> usize;

    /// The objects as they are now. All rows begin with the label `cluster` where one is named.
    fn snapshot(&self, cluster: Option<&str>, allowed: &Allowed) -> Box<dyn Snapshot>;
}

/// Objects of one kind as they were at one moment.
pub trait Snapshot: Send + Sync {
    /// Writes the rows of a family, given by its place among those of the kind.
    fn write(&self, family: usize, page: &mut Page<'_>) -> Result<(), Gone>;
}

pub(super) fn families<O: Stateful>() -> Vec<FamilyWords<'static>> {
    O::FAMILIES
        .iter()
        .map(|family| FamilyWords { name: family.name, help: family.help, kind: family.kind })
        .collect()
}

pub(super) fn watch<O: Stateful>(hub: &Hub, api: &Arc<Api>) -> Arc<dyn Watched> {
    hub.watch::<O>(api, What::default())
}

impl<O: Stateful> Watched for SharedWatch<O> {
    fn health(&self) -> &Health {
        self.health()
    }

    fn objects(&self) -> usize {
        self.objects().len()
    }

    fn snapshot(&self, cluster: Option<&str>, allowed: &Allowed) -> Box<dyn Snapshot> {
        Box::new(Taken::of(&self.objects(), cluster, allowed))
    }
}

/// The objects of a shelf, and the heads of their rows. A change of the shelf makes a new object, so nothing is
/// copied, and nobody waits for whoever reads.
pub(super) struct Taken<O> {
    objects: Vec<Arc<O>>,
    heads: String,
    /// Where each head ends.
    ends: Vec<usize>,
    allowed: Allowed,
}

impl<O: Stateful> Taken<O> {
    pub(super) fn of(shelf: &Shelf<O>, cluster: Option<&str>, allowed: &Allowed) -> Self {
        let objects: Vec<Arc<O>> = shelf.iter().map(|(_, object, _)| object.clone()).collect();
        let mut head = Head::default();
        let ends = objects.iter().map(|object| {
            if let Some(cluster) = cluster {
                head.label("cluster", cluster);
            }
            object.head(&mut head);
            head.next()
        });
        let ends = ends.collect();
        Self { objects, heads: head.into_text(), ends, allowed: allowed.clone() }
    }
}

impl<O: Stateful> Snapshot for Taken<O> {
    fn write(&self, family: usize, page: &mut Page<'_>) -> Result<(), Gone> {
        let family = &O::FAMILIES[family];
        let mut begin = 0;
        for (object, end) in self.objects.iter().zip(&self.ends) {
            let head = &self.heads[begin..*end];
            begin = *end;
            (family.rows)(
                object,
                &mut Rows { page: page.text(), family: family.name, head, allowed: &self.allowed },
            );
            page.flush_if_full()?;
        }
        Ok(())
    }
}
