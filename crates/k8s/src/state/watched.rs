//! A watch of one kind whose objects are told, whatever kind that is.

use std::{borrow::Cow, ops::Range, sync::Arc};

use super::{Allowed, Head, Kind, Rows, Stateful};
use crate::{Api, Health, Hub, SharedWatch, What};

/// What stands above the rows of a family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilyWords {
    /// Its name.
    pub name: Cow<'static, str>,
    /// What it means.
    pub help: Cow<'static, str>,
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
    /// How many there are.
    fn objects(&self) -> usize;

    /// Appends the rows of a family, given by its place among those of the kind, of some of the objects.
    fn write(&self, family: usize, objects: Range<usize>, page: &mut String);
}

pub(super) fn families<O: Stateful>() -> Vec<FamilyWords> {
    O::FAMILIES
        .iter()
        .map(|family| FamilyWords { name: family.name.into(), help: family.help.into(), kind: family.kind })
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
        // Whoever holds the objects holds the watch up, so heads are made without them.
        let objects = self.objects().to_vec();
        Box::new(Taken::of(objects, cluster, allowed))
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
    pub(super) fn of(objects: Vec<Arc<O>>, cluster: Option<&str>, allowed: &Allowed) -> Self {
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
    fn objects(&self) -> usize {
        self.objects.len()
    }

    fn write(&self, family: usize, objects: Range<usize>, page: &mut String) {
        let family = &O::FAMILIES[family];
        let mut begin = objects.start.checked_sub(1).map_or(0, |before| self.ends[before]);
        for (object, end) in self.objects[objects.clone()].iter().zip(&self.ends[objects]) {
            let head = &self.heads[begin..*end];
            begin = *end;
            (family.rows)(object, &mut Rows { page, family: family.name, head, allowed: &self.allowed });
        }
    }
}
