//! Compares the families of state metrics with the table of those that kube-state-metrics has.
//!
//! A case is a family that is on by default there. Of objects that exercise it, which stand beside this file in one
//! file a kind, it must come out with its name, its type and its labels. Families of kinds that are not told, and
//! such as one has to ask for, are named with the reason.
//!
//! `VEDETTE_CONFORMANCE_DIR` names the folder with the table; without it, or empty, it is
//! `../shared/conformance/metrics` beside the project.

#![expect(clippy::unwrap_used, reason = "a test whose files cannot be read has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::Value;
use vedette_k8s::state::{Allowed, Format, KINDS, StateKind};

/// Labels that the table does not name, as the documentation it was made from forgets them or has another name.
const FORGOTTEN: [(&str, &str); 6] = [
    ("kube_endpointslice_endpoints", "endpoint_nodename"),
    ("kube_lease_owner", "namespace"),
    ("kube_lease_renew_time", "namespace"),
    ("kube_persistentvolumeclaim_status_condition", "condition"),
    ("kube_persistentvolumeclaim_status_condition", "namespace"),
    ("kube_pod_runtimeclass_name_info", "runtimeclass_name"),
];

/// Those other names.
const MISNAMED: [(&str, &str); 2] =
    [("kube_endpointslice_endpoints", "nodename"), ("kube_persistentvolumeclaim_status_condition", "type")];

struct Row<'a> {
    name: &'a str,
    kind: &'a str,
    labels: BTreeSet<&'a str>,
    resource: &'a str,
    is_default: bool,
}

/// What came out of a family.
#[derive(Default)]
struct Told {
    kind: String,
    labels: BTreeSet<String>,
    rows: usize,
}

fn main() -> ExitCode {
    let folder = match std::env::var_os("VEDETTE_CONFORMANCE_DIR").filter(|given| !given.is_empty()) {
        Some(given) => PathBuf::from(given),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/metrics"),
    };
    let path = folder.join("kube_state_metrics.tsv");
    let Ok(table) = fs::read_to_string(&path) else {
        println!("SKIPPED kube_state_metrics: there is no {}", path.display());
        println!("0 passed, 0 failed, 1 skipped");
        return ExitCode::SUCCESS;
    };
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    for kind in KINDS {
        read(kind, &mut told);
    }
    let (mut passed, mut failed) = (0, 0);
    let mut absent: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut known = BTreeSet::new();
    for row in table.lines().skip(1).filter_map(row) {
        known.insert(row.name);
        let Some(found) = told.get(row.name) else {
            let has_kind = told.keys().any(|name| of_resource(name, row.resource));
            match (row.is_default, has_kind) {
                (false, _) => {
                    *absent.entry((row.resource, "one has to ask the peer for it")).or_default() += 1;
                }
                (true, false) => *absent.entry((row.resource, "such objects are not told")).or_default() += 1,
                (true, true) => {
                    failed += 1;
                    println!("FAILED {}: it is not there, though others of its resource are", row.name);
                }
            }
            continue;
        };
        match differs(&row, found) {
            None => passed += 1,
            Some(how) => {
                failed += 1;
                println!("FAILED {}: {how}", row.name);
            }
        }
    }
    for name in told.keys().filter(|name| !known.contains(name.as_str())) {
        failed += 1;
        println!("FAILED {name}: the peer has no such family");
    }
    let skipped: usize = absent.values().sum();
    for ((resource, reason), families) in absent {
        println!("SKIPPED {resource}: {families} families: {reason}");
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed > 0 || passed == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// `kube_pod_info` is of `pod`, `kube_poddisruptionbudget_labels` is not.
fn of_resource(family: &str, resource: &str) -> bool {
    family
        .strip_prefix("kube_")
        .and_then(|rest| rest.strip_prefix(resource))
        .is_some_and(|rest| rest.starts_with('_'))
}

fn row(line: &str) -> Option<Row<'_>> {
    let columns: Vec<&str> = line.split('\t').collect();
    let &[name, kind, labels, _unit, _stability, _opt_in, resource, default_on] = &columns[..] else {
        return None;
    };
    Some(Row {
        name,
        kind,
        labels: labels.split(',').filter(|label| !label.is_empty()).collect(),
        resource,
        is_default: default_on == "yes",
    })
}

/// How a family differs from what the table says.
fn differs(row: &Row<'_>, found: &Told) -> Option<String> {
    if found.kind != row.kind {
        return Some(format!("it is a {} instead of a {}", found.kind, row.kind));
    }
    if found.rows == 0 {
        return Some("no object exercises it".to_owned());
    }
    // Objects choose the names; `label_POD_LABEL` and the like stand for them, where the table has one.
    let chosen = match row.name {
        name if name.ends_with("_labels") => "label_",
        name if name.ends_with("_annotations") => "annotation_",
        name if name.ends_with("_metadata") => "metadata_",
        _ => "",
    };
    let is_chosen = |label: &str| !chosen.is_empty() && label.starts_with(chosen);
    let stands_for = |wanted: &str| wanted.contains(char::is_uppercase);
    let is_forgotten = |label: &str| FORGOTTEN.contains(&(row.name, label));
    let fits = |label: &str| row.labels.contains(label) || is_chosen(label) || is_forgotten(label);
    let surplus: Vec<_> = found.labels.iter().filter(|label| !fits(label)).collect();
    let is_told = |wanted: &str| {
        found.labels.contains(wanted)
            || MISNAMED.contains(&(row.name, wanted))
            || stands_for(wanted) && found.labels.iter().any(|label| is_chosen(label))
    };
    let missing: Vec<_> = row.labels.iter().filter(|wanted| !is_told(wanted)).collect();
    (!surplus.is_empty() || !missing.is_empty())
        .then(|| format!("labels too many {surplus:?}, missing {missing:?}"))
}

/// Tells the objects of a kind, with all their labels and annotations.
fn read(kind: &StateKind, told: &mut BTreeMap<String, Told>) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/kube_state")
        .join(format!("{}.json", kind.resource.plural));
    let objects: Vec<Value> = match fs::read_to_string(&file) {
        Ok(text) => serde_json::from_str(&text).unwrap(),
        Err(_) => Vec::new(),
    };
    let objects: Vec<String> = objects.iter().map(Value::to_string).collect();
    let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
    let all = || vec![Box::from("*")];
    let page = kind.page(&objects, &Allowed { labels: all(), annotations: all() }, Format::Text).unwrap();
    for line in page.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let before = told.insert(name.to_owned(), Told { kind: kind.to_owned(), ..Told::default() });
            assert!(before.is_none(), "{name} is there twice");
        } else if !line.starts_with('#') {
            let (name, rest) = line.split_once('{').unwrap();
            let family = told.get_mut(name).unwrap();
            family.rows += 1;
            family.labels.extend(names(rest));
        }
    }
}

/// The names of the labels of a row.
fn names(labels: &str) -> Vec<String> {
    let (mut names, mut name, mut in_value, mut escaped) = (Vec::new(), String::new(), false, false);
    for c in labels.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_value => escaped = true,
            '"' => {
                in_value = !in_value;
                name.clear();
            }
            _ if in_value => {}
            '=' => names.push(std::mem::take(&mut name)),
            ',' => name.clear(),
            '}' => break,
            c => name.push(c),
        }
    }
    names
}
