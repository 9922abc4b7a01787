//! The targets of one job, as discovery names them.
//!
//! A group replaces the one of the same source; the targets of all groups are made anew when any
//! changes, and only differences are told. Of equal targets one is scraped.

use std::{collections::BTreeMap, sync::Arc};

use vedette_config::prometheus::ScrapeJob;
use vedette_model::{Labels, TargetGroup};

use crate::{Target, TargetError, TargetId};

/// The targets of a job.
#[derive(Debug)]
pub struct Pool {
    job: ScrapeJob,
    /// By the discovery that they come from, and then by source.
    groups: BTreeMap<(usize, String), TargetGroup>,
    targets: BTreeMap<TargetId, Arc<Target>>,
    dropped: Vec<Dropped>,
    dropped_count: usize,
    over_limit: Option<String>,
}

/// What was discovered and is not scraped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Labels as discovered.
    pub discovered: Labels,
    /// Why; `None` where a rule dropped it.
    pub error: Option<TargetError>,
}

/// How the targets of a pool have changed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Change {
    /// Targets that are new.
    pub added: Vec<Arc<Target>>,
    /// Targets that are gone. Their series end.
    pub removed: Vec<TargetId>,
}

impl Pool {
    /// A pool without targets.
    pub fn new(job: ScrapeJob) -> Self {
        Self {
            job,
            groups: BTreeMap::new(),
            targets: BTreeMap::new(),
            dropped: Vec::new(),
            dropped_count: 0,
            over_limit: None,
        }
    }

    /// The job.
    pub fn job(&self) -> &ScrapeJob {
        &self.job
    }

    /// The targets, in order of their ids.
    pub fn targets(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.targets.values()
    }

    /// What was discovered and is not scraped: as many as the job wants to be remembered.
    pub fn dropped(&self) -> &[Dropped] {
        &self.dropped
    }

    /// How many were discovered and are not scraped.
    pub fn dropped_count(&self) -> usize {
        self.dropped_count
    }

    /// Why all scrapes fail: there are more targets than the job allows.
    pub fn over_limit(&self) -> Option<&str> {
        self.over_limit.as_deref()
    }

    /// Takes all groups that the job's discovery with this number knows now, and makes the targets of
    /// all groups anew.
    pub fn set_groups(&mut self, discovery: usize, groups: &[TargetGroup]) -> Change {
        self.groups.retain(|(number, _), _| *number != discovery);
        for (i, group) in groups.iter().enumerate() {
            // Sources of one discovery differ; if they do not, none is lost.
            let source = format!("{}\0{i}", group.source);
            self.groups.insert((discovery, source), group.clone());
        }
        self.synchronize()
    }

    fn synchronize(&mut self) -> Change {
        let mut targets = BTreeMap::new();
        let (mut dropped, mut dropped_count) = (Vec::new(), 0);
        let kept_max = match self.job.limits.dropped_targets {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        for found in self.groups.values().flat_map(TargetGroup::discovered) {
            let error = match Target::new(&self.job, &found) {
                Ok(Some(target)) => {
                    targets.entry(target.id).or_insert(target);
                    continue;
                }
                Ok(None) => None,
                Err(error) => Some(error),
            };
            dropped_count += 1;
            if dropped.len() < kept_max {
                dropped.push(Dropped { discovered: found, error });
            }
        }
        (self.dropped, self.dropped_count) = (dropped, dropped_count);
        let limit = self.job.limits.targets;
        self.over_limit = (limit > 0 && targets.len() as u64 > limit).then(|| {
            format!("there are {} targets, more than target_limit, which is {limit}", targets.len())
        });
        let removed: Vec<TargetId> =
            self.targets.keys().filter(|id| !targets.contains_key(id)).copied().collect();
        for id in &removed {
            self.targets.remove(id);
        }
        let mut added = Vec::new();
        for (id, target) in targets {
            match self.targets.get_mut(&id) {
                // The same target may have been found by other words.
                Some(known) if known.discovered != target.discovered => *known = Arc::new(target),
                Some(_) => {}
                None => {
                    let target = Arc::new(target);
                    added.push(Arc::clone(&target));
                    self.targets.insert(id, target);
                }
            }
        }
        Change { added, removed }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use vedette_config::prometheus::{Mode, Surroundings, parse};
    use vedette_model::ADDRESS_LABEL;
    use vedette_sys::SimFs;

    use super::*;

    /// A job with these further keys.
    pub(crate) fn job(keys: &str) -> ScrapeJob {
        let fs = SimFs::new(1);
        let surroundings = Surroundings { fs: &fs, env: &|_| None };
        let text = format!("scrape_configs:\n- job_name: test\n  {keys}\n");
        let config = parse(Path::new("p.yml"), &text, Mode::Server, surroundings);
        config.unwrap_or_else(|e| panic!("{e}\n{text}")).scrape_jobs.remove(0)
    }

    fn group(source: &str, addresses: &[&str]) -> TargetGroup {
        TargetGroup {
            source: source.into(),
            targets: addresses.iter().map(|a| Labels::from_pairs([(ADDRESS_LABEL, a)])).collect(),
            labels: Labels::from_pairs([("__meta_source", source)]),
        }
    }

    fn addresses(targets: &[Arc<Target>]) -> Vec<&str> {
        let mut all: Vec<&str> = targets.iter().filter_map(|t| t.labels.get("instance")).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn only_differences_are_told() {
        let mut pool = Pool::new(job("scrape_interval: 15s"));
        let change = pool.set_groups(0, &[group("a", &["x:1", "y:1"]), group("b", &["x:1"])]);
        assert_eq!((addresses(&change.added), change.removed.len()), (vec!["x:1", "y:1"], 0));
        // Another discovery has its own groups, of whatever source.
        let change = pool.set_groups(1, &[group("a", &["z:1"])]);
        assert_eq!((addresses(&change.added), change.removed.len()), (vec!["z:1"], 0));
        let gone = pool.targets().find(|t| t.labels.get("instance") == Some("y:1")).map(|t| t.id);
        let change = pool.set_groups(0, &[group("b", &["x:1"])]);
        assert_eq!((change.added.len(), change.removed), (0, vec![gone.expect("there")]));
        // What is told of it may change while it is the same.
        let x = pool.targets().find(|t| t.labels.get("instance") == Some("x:1")).expect("there");
        assert_eq!(x.discovered.get("__meta_source"), Some("b"));
        assert_eq!(pool.set_groups(1, &[]).removed.len(), 1);
        assert_eq!(pool.targets().count(), 1);
    }

    #[test]
    fn what_is_dropped_is_remembered_up_to_a_limit() {
        let mut pool = Pool::new(job(
            "keep_dropped_targets: 2\n  relabel_configs: [{source_labels: [__address__], regex: 'd.*', action: drop}]",
        ));
        pool.set_groups(0, &[group("a", &["d1", "a/b", "d2", "ok"])]);
        assert_eq!((pool.dropped_count(), pool.dropped().len(), pool.targets().count()), (3, 2, 1));
        assert_eq!(pool.dropped()[0].error, None);
        assert!(matches!(pool.dropped()[1].error, Some(TargetError::Address { .. })));
    }

    #[test]
    fn too_many_targets_are_told() {
        let mut pool = Pool::new(job("target_limit: 1"));
        pool.set_groups(0, &[group("a", &["a", "b"])]);
        assert!(pool.over_limit().is_some_and(|text| text.contains("target_limit")));
        pool.set_groups(0, &[group("a", &["a"])]);
        assert_eq!(pool.over_limit(), None);
    }
}
