//! The three verdicts on a set of failed nodes.

use crate::{
    bound::{self, Shortage},
    cluster::Cluster,
    exact::{self, Exact},
    schedule::{Replay, Scheduler},
    state::{Losses, State},
};

/// All that is known of one set of failed nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What the scheduler would do.
    pub replay: Replay,
    /// Why not all displaced pods can have a place, if sums show it.
    pub shortage: Option<Shortage>,
    /// Whether they could have one.
    pub exact: Exact,
}

impl Verdict {
    /// The scheduler leaves pods without a node although all could have one.
    pub fn is_fragmentation(&self) -> bool {
        !self.replay.pending.is_empty() && matches!(self.exact, Exact::Fits(_))
    }
}

/// Judges sets of failed nodes of one cluster, one after the other.
#[derive(Debug)]
pub struct Judge<'c> {
    pub(crate) scheduler: Scheduler<'c>,
}

impl<'c> Judge<'c> {
    /// A judge of this cluster.
    pub fn new(cluster: &'c Cluster) -> Self {
        Self { scheduler: Scheduler::new(State::new(cluster)) }
    }

    /// The cluster.
    pub fn cluster(&self) -> &'c Cluster {
        self.scheduler.state.cluster
    }

    /// What the scheduler would do when these nodes fail at once.
    pub fn replay(&mut self, failed: &[u32]) -> Replay {
        self.scheduler.replay(failed)
    }

    /// Whether sums show that not all displaced pods can have a place when these nodes fail.
    pub fn shortage(&mut self, failed: &[u32]) -> Option<Shortage> {
        self.after(failed, |scheduler, displaced| {
            let groups = bound::groups(scheduler, displaced);
            bound::shortage(scheduler, &groups)
        })
    }

    /// Whether all displaced pods could have a place when these nodes fail, as far as so many steps tell.
    pub fn exact(&mut self, failed: &[u32], budget_steps: u64) -> Exact {
        self.after(failed, |scheduler, displaced| {
            let groups = bound::groups(scheduler, displaced);
            exact::search(scheduler, groups, budget_steps)
        })
    }

    /// All three verdicts. The search is made only where the others leave the question open.
    pub fn verdict(&mut self, failed: &[u32], budget_steps: u64) -> Verdict {
        let replay = self.replay(failed);
        let pods = &self.cluster().pods;
        if replay.pending.is_empty() {
            let placed = replay.placed.iter().map(|(pod, node)| (pods[*pod as usize].class, *node)).collect();
            return Verdict { replay, shortage: None, exact: Exact::Fits(placed) };
        }
        match self.shortage(failed) {
            Some(shortage) => Verdict { replay, shortage: Some(shortage), exact: Exact::Impossible },
            None => Verdict { replay, shortage: None, exact: self.exact(failed, budget_steps) },
        }
    }

    fn after<T>(&mut self, failed: &[u32], ask: impl FnOnce(&mut Scheduler<'c>, &[u32]) -> T) -> T {
        let mut losses = Losses::default();
        for node in failed {
            self.scheduler.state.fail(*node, &mut losses);
        }
        let answer = ask(&mut self.scheduler, &losses.displaced);
        self.scheduler.state.restore();
        answer
    }
}
