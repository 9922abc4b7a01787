//! What a target tells of its families, from scrape to scrape.
//!
//! It mostly tells the same in the same order. So the families are kept in that order, and a line that
//! says again what is known costs a comparison; what is the same for several targets is kept
//! once.

use std::{collections::HashSet, sync::Arc};

use hashbrown::HashTable;
use vedette_model::{MetricKind, MetricMetadata};
use xxhash_rust::xxh3::xxh3_64;

/// Descriptions of families, each once.
#[derive(Debug, Default)]
pub(crate) struct Descriptions {
    all: HashSet<Arc<MetricMetadata>>,
    /// How many there were when those that nobody uses were last removed.
    swept: usize,
}

impl Descriptions {
    fn shared(&mut self, description: MetricMetadata) -> Arc<MetricMetadata> {
        if let Some(known) = self.all.get(&description) {
            return Arc::clone(known);
        }
        if self.all.len() > 2 * self.swept + 1000 {
            self.all.retain(|known| Arc::strong_count(known) > 1);
            self.swept = self.all.len();
        }
        let description = Arc::new(description);
        self.all.insert(Arc::clone(&description));
        description
    }
}

/// What is told of a family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Told<'a> {
    Kind(MetricKind),
    Help(&'a str),
    Unit(&'a str),
}

impl Told<'_> {
    fn is_in(self, description: &MetricMetadata) -> bool {
        match self {
            Self::Kind(kind) => description.kind == kind,
            Self::Help(help) => description.help == help,
            Self::Unit(unit) => description.unit == unit,
        }
    }

    fn put(self, description: &mut MetricMetadata) {
        match self {
            Self::Kind(kind) => description.kind = kind,
            Self::Help(help) => help.clone_into(&mut description.help),
            Self::Unit(unit) => unit.clone_into(&mut description.unit),
        }
    }
}

/// The families of a target.
#[derive(Debug, Default)]
pub(crate) struct Families {
    families: Vec<Arc<MetricMetadata>>,
    index: HashTable<u32>,
    /// The one that was told of last.
    at: usize,
    /// How often another family than the one before was told of in this scrape.
    told: usize,
    /// Those that are new or have changed in this scrape.
    changed: Vec<u32>,
}

impl Families {
    /// Begins a scrape.
    pub(crate) fn begin(&mut self) {
        // Families that come and go must not fill the memory.
        if self.families.len() > 2 * self.told + 1000 {
            *self = Self::default();
        }
        (self.at, self.told) = (0, 0);
        self.changed.clear();
    }

    /// Takes what is told of a family.
    pub(crate) fn tell(&mut self, family: &str, told: Told<'_>, descriptions: &mut Descriptions) {
        let is = |at: usize| self.families.get(at).is_some_and(|known| known.family == family);
        let at = if is(self.at) {
            self.at
        } else if is(self.at + 1) {
            self.at + 1
        } else {
            self.find(family)
        };
        self.told += usize::from(at != self.at);
        self.at = at;
        let known = &self.families[at];
        if told.is_in(known) {
            return;
        }
        let mut description = MetricMetadata::clone(known);
        told.put(&mut description);
        self.families[at] = descriptions.shared(description);
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        if self.changed.last() != Some(&at) {
            self.changed.push(at);
        }
    }

    /// The unit of the family that was told of last.
    pub(crate) fn unit(&self) -> &str {
        self.families.get(self.at).map_or("", |known| &known.unit)
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Arc<MetricMetadata>] {
        &self.families
    }

    /// What is new in this scrape.
    pub(crate) fn changed(&self) -> impl Iterator<Item = &Arc<MetricMetadata>> {
        self.changed.iter().filter_map(|at| self.families.get(*at as usize))
    }

    /// The place of a family, which is made if there is none.
    fn find(&mut self, family: &str) -> usize {
        let families = &self.families;
        let hash = xxh3_64(family.as_bytes());
        if let Some(at) = self.index.find(hash, |at| families[*at as usize].family == family) {
            return *at as usize;
        }
        let at = families.len();
        let of = |at: &u32| xxh3_64(families[*at as usize].family.as_bytes());
        self.index.insert_unique(hash, u32::try_from(at).unwrap_or(u32::MAX), of);
        self.families.push(Arc::new(MetricMetadata {
            family: family.to_owned(),
            kind: MetricKind::Unknown,
            unit: String::new(),
            help: String::new(),
        }));
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(
        families: &mut Families,
        descriptions: &mut Descriptions,
        told: &[(&str, Told<'_>)],
    ) -> Vec<String> {
        families.begin();
        for (family, told) in told {
            families.tell(family, *told, descriptions);
        }
        families
            .changed()
            .map(|known| format!("{} {} {}", known.family, known.kind.as_str(), known.help))
            .collect()
    }

    #[test]
    fn only_what_is_new_is_told_on() {
        let (mut families, mut descriptions) = (Families::default(), Descriptions::default());
        let page = [
            ("a", Told::Help("of a")),
            ("a", Told::Kind(MetricKind::Gauge)),
            ("b", Told::Kind(MetricKind::Counter)),
        ];
        assert_eq!(scrape(&mut families, &mut descriptions, &page), ["a gauge of a", "b counter "]);
        assert!(scrape(&mut families, &mut descriptions, &page).is_empty());
        let other = [("c", Told::Unit("s")), ("b", Told::Help("of b")), ("a", Told::Kind(MetricKind::Gauge))];
        assert_eq!(scrape(&mut families, &mut descriptions, &other), ["c unknown ", "b counter of b"]);
        assert_eq!(families.all().len(), 3);
    }

    #[test]
    fn equal_descriptions_are_kept_once_and_churn_is_forgotten() {
        let mut descriptions = Descriptions::default();
        let (mut one, mut two) = (Families::default(), Families::default());
        for families in [&mut one, &mut two] {
            scrape(
                families,
                &mut descriptions,
                &[("a", Told::Help("h")), ("a", Told::Kind(MetricKind::Gauge))],
            );
        }
        assert!(Arc::ptr_eq(&one.all()[0], &two.all()[0]));
        for i in 0..5000 {
            scrape(&mut one, &mut descriptions, &[(&format!("f{i}"), Told::Help("h"))]);
        }
        assert!(one.all().len() <= 1002, "{}", one.all().len());
        assert!(descriptions.all.len() < 4000, "{}", descriptions.all.len());
    }
}
