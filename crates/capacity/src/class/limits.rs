//! What kinds of pods may cost together: how much is kept of each node for each of them, and how often conditions
//! are held against nodes.

use super::Compiler;
use crate::{Error, cluster::MAX_CELLS};

/// Room and scores of nodes by kind of pod, two bytes each.
const MAX_FITS: usize = 1 << 29;
/// Nodes in all sets, a bit each.
const MAX_MEMBERS: usize = 1 << 33;
/// Comparisons of a label or taint of a node with a condition of a kind of pod.
const MAX_COMPARED: usize = 1 << 33;

impl Compiler<'_, '_> {
    /// Counts the comparisons of all nodes with conditions of so many entries, before they are done.
    pub(super) fn compare(&mut self, entries: usize) -> Result<(), String> {
        self.compared = self.compared.saturating_add(self.words_of_nodes.saturating_mul(entries));
        if self.compared > MAX_COMPARED {
            return Err(format!(
                "with its conditions there are more than {MAX_COMPARED} comparisons of conditions with nodes; \
                 judge a part of the cluster"
            ));
        }
        Ok(())
    }

    /// The number of the topology of a label.
    pub(super) fn topology(&mut self, key: &str) -> Result<u32, String> {
        let id = self.cluster.topology(key);
        let pairs = self.cluster.topologies.len().saturating_mul(self.snapshot.nodes.len());
        if pairs > MAX_CELLS {
            return Err(format!(
                "with its topologyKey {key:?} there are more than {MAX_CELLS} pairs of a node and such a label; \
                 judge a part of the cluster"
            ));
        }
        Ok(id)
    }

    /// What is kept of each node for each kind of pod stays within bounds.
    pub(super) fn check_size(&self) -> Result<(), Error> {
        let (nodes, cluster) = (self.snapshot.nodes.len(), &*self.cluster);
        let sizes = [
            ("pairs of a node and a preference", cluster.preferences.len().saturating_mul(nodes), MAX_CELLS),
            ("pairs of a node and a kind of pod", cluster.shapes.len().saturating_mul(nodes), MAX_FITS),
            // Sets are of bits.
            (
                "pairs of a node and a set of nodes",
                cluster.sets.sets.len().saturating_mul(nodes),
                MAX_MEMBERS,
            ),
        ];
        match sizes.into_iter().find(|(_, found, limit)| found > limit) {
            Some((what, found, limit)) => Err(Error::TooLarge { what, found, limit }),
            None => Ok(()),
        }
    }
}
