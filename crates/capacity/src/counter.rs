//! Which pods are counted where: one counter for each selector, topology and set of nodes that some
//! constraint looks at, so that a constraint is a look at one number.

use std::collections::HashMap;

use crate::{
    Error,
    cluster::Cluster,
    select::{LabelSet, Names, Selector},
};

/// All nodes of the topology are counted.
pub(crate) const ALL_NODES: u32 = u32::MAX;

/// Limit of comparisons of a class of pods with a selector.
const MAX_COMPARISONS: usize = 1 << 31;

/// The same of what a selector has with what a class has.
const MAX_LOOKS: usize = 1 << 33;

/// Namespaces of a selector of pods.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Namespaces {
    All,
    These(Vec<u32>),
}

/// Pods of some namespaces with some labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Part {
    pub namespaces: Namespaces,
    pub selector: Selector,
}

/// Which pods are counted: those that all parts select.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Matcher {
    pub parts: Vec<Part>,
    /// Only pods of this owner.
    pub owner: Option<u32>,
    /// Pods that are being deleted do not count.
    pub only_staying: bool,
}

/// A class of pods as matchers see it.
#[derive(Debug)]
pub(crate) struct Subject {
    pub namespace: u32,
    pub labels: LabelSet,
    pub owner: Option<u32>,
    pub leaving: bool,
}

impl Matcher {
    /// How much there is to compare with.
    fn size(&self) -> usize {
        let of = |part: &Part| {
            let namespaces = match &part.namespaces {
                Namespaces::All => 0,
                Namespaces::These(list) => list.len(),
            };
            namespaces + part.selector.size()
        };
        self.parts.iter().map(of).sum()
    }

    pub fn selects(&self, pod: &Subject, names: &Names) -> bool {
        !(self.only_staying && pod.leaving)
            && self.owner.is_none_or(|o| pod.owner == Some(o))
            && self.parts.iter().all(|part| {
                let named = match &part.namespaces {
                    Namespaces::All => true,
                    Namespaces::These(list) => list.contains(&pod.namespace),
                };
                named && part.selector.selects(&pod.labels, names)
            })
    }
}

/// What a counter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum What {
    /// Pods that the matcher selects.
    Selected(u32),
    /// Pods that must not be near those that the matcher selects.
    Repelling(u32),
    /// Points that pods give to nodes near them, for pods that the matcher selects.
    Wishing(u32),
}

/// One counter: a number for each place of a topology.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Counter {
    pub what: What,
    pub topology: u32,
    /// The set of nodes whose pods count, or [`ALL_NODES`].
    pub eligible: u32,
    /// Nodes that do not answer are none of the places any more.
    pub drops_failed: bool,
    /// Where its numbers begin.
    pub offset: usize,
}

/// All counters while the classes of pods are read.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    matchers: Vec<Matcher>,
    matcher_ids: HashMap<Matcher, u32>,
    counters: Vec<Counter>,
    counter_ids: HashMap<Counter, u32>,
    pub subjects: Vec<Subject>,
}

impl Counters {
    pub fn matcher(&mut self, matcher: Matcher) -> u32 {
        if let Some(id) = self.matcher_ids.get(&matcher) {
            return *id;
        }
        let id = number(self.matchers.len());
        self.matchers.push(matcher.clone());
        self.matcher_ids.insert(matcher, id);
        id
    }

    pub fn selects(&self, matcher: u32, pod: &Subject, names: &Names) -> bool {
        self.matchers[matcher as usize].selects(pod, names)
    }

    pub fn counter(&mut self, what: What, topology: u32, eligible: u32, drops_failed: bool) -> u32 {
        let counter = Counter { what, topology, eligible, drops_failed, offset: 0 };
        if let Some(id) = self.counter_ids.get(&counter) {
            return *id;
        }
        let id = number(self.counters.len());
        self.counters.push(counter.clone());
        self.counter_ids.insert(counter, id);
        id
    }

    /// Says of each class which counters count it and which look at it, and gives the counters their places.
    pub fn link(mut self, cluster: &mut Cluster) -> Result<(), Error> {
        let comparisons = self.matchers.len().saturating_mul(self.subjects.len());
        if comparisons > MAX_COMPARISONS {
            return Err(Error::TooLarge {
                what: "pairs of a selector and a kind of pod",
                found: comparisons,
                limit: MAX_COMPARISONS,
            });
        }
        let conditions = self.matchers.iter().map(Matcher::size).fold(0, usize::saturating_add);
        let labels = self.subjects.iter().map(|s| s.labels.len() + 1).fold(0, usize::saturating_add);
        let looks = conditions.saturating_mul(labels);
        if looks > MAX_LOOKS {
            return Err(Error::TooLarge {
                what: "pairs of a condition on pods and a label of a kind of pod",
                found: looks,
                limit: MAX_LOOKS,
            });
        }
        let mut of_matcher = vec![Vec::new(); self.matchers.len()];
        for (id, counter) in self.counters.iter_mut().enumerate() {
            counter.offset = cluster.cells;
            let places = cluster.topologies[counter.topology as usize].values.len();
            cluster.cells = cluster.cells.saturating_add(places);
            let (What::Selected(m) | What::Repelling(m) | What::Wishing(m)) = counter.what;
            of_matcher[m as usize].push(number(id));
        }
        for (class, subject) in cluster.classes.iter_mut().zip(&self.subjects) {
            for (matcher, counters) in self.matchers.iter().zip(&of_matcher) {
                if !matcher.selects(subject, &cluster.names) {
                    continue;
                }
                for &id in counters {
                    match self.counters[id as usize].what {
                        What::Selected(_) => class.adds.push((id, 1)),
                        What::Repelling(_) => class.repelled.push(id),
                        What::Wishing(_) => class.wishes.push((id, 1)),
                    }
                }
            }
        }
        cluster.counters = self.counters;
        Ok(())
    }
}

fn number(len: usize) -> u32 {
    u32::try_from(len).expect("BUG: more selectors than a snapshot can hold")
}
