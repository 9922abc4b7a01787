//! The objects of a cluster at one moment, and how they are read from JSON.
//!
//! A dump comes from anywhere. What it may cost is bounded: by the length of each object, by what its lists and
//! maps hold, and by how many objects there are.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    Error, MAX_NODES, MAX_PODS,
    objects::{
        Claim, CsiNode, DisruptionBudget, Entries, Namespace, Node, PersistentVolume, Pod, PriorityClass,
        StorageClass,
    },
};

/// The store behind an API server takes no object of more than 1.5 MiB, unless it is told to.
const OBJECT_BYTES_MAX: usize = 4 << 20;
/// Entries of all lists and maps of an object: of its labels, containers, terms, values and so on. The largest that
/// were seen have hundreds.
const OBJECT_ENTRIES_MAX: usize = 20_000;
/// The same of all objects: 60 for each of as many pods as are judged.
const ENTRIES_MAX: usize = 1 << 25;

/// The objects of a cluster at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Nodes.
    pub nodes: Vec<Node>,
    /// Pods. Whoever keeps them anyway shares them.
    pub pods: Vec<Arc<Pod>>,
    /// Disruption budgets.
    pub budgets: Vec<DisruptionBudget>,
    /// Claims.
    pub claims: Vec<Claim>,
    /// Volumes.
    pub volumes: Vec<PersistentVolume>,
    /// Drivers of nodes.
    pub csi_nodes: Vec<CsiNode>,
    /// Classes of volumes.
    pub storage_classes: Vec<StorageClass>,
    /// Namespaces.
    pub namespaces: Vec<Namespace>,
    /// Ranks.
    pub priority_classes: Vec<PriorityClass>,
    /// Entries of all lists and maps of what was read.
    entries: usize,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    kind: String,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    kind: Option<String>,
}

impl Snapshot {
    /// Adds what is in `json`: a list of objects, or one object. `source_name` is for messages.
    pub fn read(&mut self, json: &[u8], source_name: &str) -> Result<(), Error> {
        let failed = |source| Error::Json { source_name: source_name.to_owned(), source };
        let list: Envelope<'_> = serde_json::from_slice(json).map_err(failed)?;
        let Some(items) = list.items else {
            // `null` is how an empty list is written.
            if list.kind.ends_with("List") {
                return Ok(());
            }
            let object: &RawValue = serde_json::from_slice(json).map_err(failed)?;
            return self.add(&list.kind, object, 0, source_name);
        };
        // Items of a typed list need not say their kind.
        let of_list = list.kind.strip_suffix("List").unwrap_or_default().to_owned();
        for (index, item) in items.into_iter().enumerate() {
            let kind: Kind = serde_json::from_str(item.get()).map_err(failed)?;
            self.add(kind.kind.as_ref().unwrap_or(&of_list), item, index, source_name)?;
        }
        Ok(())
    }

    fn add(&mut self, kind: &str, item: &RawValue, index: usize, source_name: &str) -> Result<(), Error> {
        let absurd = |problem: String| Error::Absurd {
            source_name: source_name.to_owned(),
            index,
            kind: kind.to_owned(),
            problem,
        };
        let bytes = item.get().len();
        if bytes > OBJECT_BYTES_MAX {
            return Err(absurd(format!(
                "it has {bytes} bytes, of which {OBJECT_BYTES_MAX} at most are read"
            )));
        }
        let added = match kind {
            "Node" => push(&mut self.nodes, item),
            "Pod" => read(item).map(|(pod, entries)| {
                self.pods.push(Arc::new(pod));
                entries
            }),
            "PodDisruptionBudget" => push(&mut self.budgets, item),
            "PersistentVolumeClaim" => push(&mut self.claims, item),
            "PersistentVolume" => push(&mut self.volumes, item),
            "CSINode" => push(&mut self.csi_nodes, item),
            "StorageClass" => push(&mut self.storage_classes, item),
            "Namespace" => push(&mut self.namespaces, item),
            "PriorityClass" => push(&mut self.priority_classes, item),
            // What scheduling does not look at.
            _ => return Ok(()),
        };
        let entries = added.map_err(|source| Error::Object {
            source_name: source_name.to_owned(),
            index,
            kind: kind.to_owned(),
            source,
        })?;
        if entries > OBJECT_ENTRIES_MAX {
            let problem = format!(
                "its lists and maps have {entries} entries, of which {OBJECT_ENTRIES_MAX} at most are read"
            );
            return Err(absurd(problem));
        }
        self.entries += entries;
        self.check_counts()
    }

    /// There are not more objects than are judged at once.
    fn check_counts(&self) -> Result<(), Error> {
        let counts = [
            ("nodes", self.nodes.len(), MAX_NODES),
            ("pods", self.pods.len(), MAX_PODS),
            ("disruption budgets", self.budgets.len(), MAX_PODS),
            ("claims of volumes", self.claims.len(), MAX_PODS),
            ("volumes", self.volumes.len(), MAX_PODS),
            ("CSI nodes", self.csi_nodes.len(), MAX_NODES),
            ("classes of volumes", self.storage_classes.len(), MAX_PODS),
            ("namespaces", self.namespaces.len(), MAX_PODS),
            ("classes of priority", self.priority_classes.len(), MAX_PODS),
            ("entries of lists and maps", self.entries, ENTRIES_MAX),
        ];
        match counts.into_iter().find(|(_, found, limit)| found > limit) {
            Some((what, found, limit)) => Err(Error::TooLarge { what, found, limit }),
            None => Ok(()),
        }
    }
}

fn read<'a, T: Deserialize<'a> + Entries>(item: &'a RawValue) -> Result<(T, usize), serde_json::Error> {
    let object: T = serde_json::from_str(item.get())?;
    let entries = object.entries();
    Ok((object, entries))
}

fn push<'a, T: Deserialize<'a> + Entries>(
    list: &mut Vec<T>,
    item: &'a RawValue,
) -> Result<usize, serde_json::Error> {
    let (object, entries) = read(item)?;
    list.push(object);
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(texts: &[&str]) -> Result<Snapshot, String> {
        let mut snapshot = Snapshot::default();
        for text in texts {
            snapshot.read(text.as_bytes(), "dump.json").map_err(|error| error.to_string())?;
        }
        Ok(snapshot)
    }

    #[test]
    fn what_no_object_has_is_refused_with_its_place() {
        let many = vec!["{}"; OBJECT_ENTRIES_MAX + 1].join(",");
        let long = "x".repeat(OBJECT_BYTES_MAX);
        for (item, words) in [
            (
                format!(r#"{{"kind":"Pod","spec":{{"containers":[{many}]}}}}"#),
                "item 1 (Pod): its lists and maps have 20001 entries",
            ),
            (
                format!(
                    r#"{{"kind":"Pod","spec":{{"affinity":{{"podAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":
                    [{many}]}}}}}}}}"#
                ),
                "item 1 (Pod): its lists and maps have 20001 entries",
            ),
            (
                format!(r#"{{"kind":"Node","metadata":{{"name":"{long}"}}}}"#),
                "item 1 (Node): it has 4194342 bytes",
            ),
        ] {
            let list = format!(r#"{{"kind":"List","items":[{{"kind":"Node"}},{item}]}}"#);
            let error = read_all(&[&list]).expect_err("absurd");
            assert!(error.starts_with("dump.json: ") && error.contains(words), "{error}");
        }
        let fits = vec!["{}"; OBJECT_ENTRIES_MAX].join(",");
        let fits = format!(r#"{{"kind":"Pod","spec":{{"containers":[{fits}]}}}}"#);
        assert_eq!(read_all(&[&fits]).expect("just so").pods.len(), 1);
    }

    #[test]
    fn entries_are_counted_wherever_they_stand() {
        let pod = r#"{"kind":"Pod","metadata":{"labels":{"a":"1","b":"2"}},"spec":{"nodeSelector":{"c":"3"},
            "containers":[{"resources":{"requests":{"cpu":"1","memory":2}}},{}],
            "affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":
                [{"matchExpressions":[{"key":"k","operator":"In","values":["x","y","z"]}]}]}}}}}"#;
        // Labels, a selector, containers, amounts, a term, an expression, values.
        assert_eq!(read_all(&[pod]).expect("a pod").entries, 2 + 1 + 2 + 2 + 1 + 1 + 3);
    }

    #[test]
    fn more_objects_than_are_judged_are_not_read() {
        let list = format!(r#"{{"kind":"NodeList","items":[{}]}}"#, vec!["{}"; MAX_NODES].join(","));
        assert_eq!(read_all(&[&list]).expect("just so").nodes.len(), MAX_NODES);
        let error = read_all(&[&list, r#"{"kind":"Node"}"#]).expect_err("too many");
        assert!(error.contains("20001 nodes, of which 20000 at most"), "{error}");
    }

    /// Arrays in arrays in what is not looked at do not end the stack.
    #[test]
    fn depth_does_no_harm() {
        let deep = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        let pod = format!(r#"{{"kind":"Pod","spec":{{"unknown":{deep}}}}}"#);
        assert_eq!(read_all(&[&pod]).expect("a pod").pods.len(), 1);
        let pod = format!(r#"{{"kind":"Pod","spec":{{"containers":{deep}}}}}"#);
        let error = read_all(&[&pod]).expect_err("no containers");
        assert!(error.contains("item 0 (Pod) is not of the form of its kind"), "{error}");
    }
}
