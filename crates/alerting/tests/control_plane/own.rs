//! Families that Vedette itself uses: in rules that ship, in what it asks of parts, in what it advises.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

use crate::{
    Score,
    table::{self, Family},
    uses::OF_TARGETS,
};

/// Folders of the project, and the endings of files in which families may be named.
const PLACES: [(&str, &[&str]); 4] =
    [("crates", &["rs"]), ("ui/src", &["ts", "svelte"]), ("content", &["yml"]), ("docs", &["md"])];

/// What families of parts begin with, and what tells them from other words that do.
const WORDS: &str = concat!(
    r"\b(?:aggregator|apiserver|authentication|authorization|coredns|etcd|kubelet|kubeproxy|leader_election",
    r"|rest_client|scheduler|volume_manager|workqueue)_[a-z0-9_]*",
    r"(?:_bucket|_bytes|_count|_info|_leader|_objects|_ratio|_seconds|_sum|_total)\b",
);

/// An expression that groups what it asks for by labels.
const GROUPED: &str = r"by \(([a-z_, ]+)\) \((?:rate|increase)\(([a-z0-9_]+)[\[{]";

/// Judges each family that is named anywhere in the project.
pub fn judge(table: &[Family], project: &Path, score: &mut Score) {
    let words = Regex::new(WORDS).unwrap();
    let grouped = Regex::new(GROUPED).unwrap();
    // Where each is named, and the labels that it is grouped by.
    let mut named: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    for (folder, endings) in PLACES {
        let mut files = Vec::new();
        walk(&project.join(folder), endings, &mut files);
        for path in files {
            let text = fs::read_to_string(&path).unwrap();
            let place = path.strip_prefix(project).unwrap_or(&path).display().to_string();
            for found in words.find_iter(&text) {
                named.entry(found.as_str().to_owned()).or_insert_with(|| (place.clone(), BTreeSet::new()));
            }
            for found in grouped.captures_iter(&text) {
                if let Some((_, labels)) = named.get_mut(&found[2]) {
                    labels.extend(found[1].split(',').map(|label| label.trim().to_owned()));
                }
            }
        }
    }
    if named.is_empty() {
        let folder = project.display();
        score.note("own", "all", Err(format!("no family of a part is named anywhere below {folder}")));
    }
    for (name, (place, labels)) in named {
        let result = match table::of_series(table, &name) {
            None => Err(format!("{place} names it, but no part has it")),
            Some(family) => {
                let is_unknown = |label: &&String| {
                    !family.labels.contains(*label) && !OF_TARGETS.contains(&label.as_str())
                };
                let unknown: Vec<_> = labels.iter().filter(is_unknown).collect();
                if unknown.is_empty() {
                    Ok(())
                } else {
                    Err(format!("{place} asks for the labels {unknown:?}"))
                }
            }
        };
        score.note("own", &name, result);
    }
}

fn walk(folder: &Path, endings: &[&str], files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        // Tests name what is wrong on purpose.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if name != "tests" && name != "node_modules" {
                walk(&path, endings, files);
            }
        } else if endings.iter().any(|ending| path.extension().is_some_and(|own| own == *ending)) {
            files.push(path);
        }
    }
}
