//! The layer table of ARCHITECTURE.md, held against what cargo knows, both ways.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run::{cargo, output, root};

/// One row: the crate's layer and the crates of ours that it uses.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    layer: u32,
    uses: BTreeSet<String>,
}

/// Fails when the table and the manifests differ, or when an arrow points up.
pub fn check() -> Result<()> {
    let text =
        std::fs::read_to_string(root().join("ARCHITECTURE.md")).context("cannot read ARCHITECTURE.md")?;
    let table = parse(&text)?;
    let metadata = output(&mut cargo(&["metadata", "--format-version=1", "--no-deps", "--locked"]))?;
    let manifests = uses(&serde_json::from_str(&metadata)?);
    let problems = compare(&table, &manifests);
    if !problems.is_empty() {
        bail!("ARCHITECTURE.md and the manifests differ:\n  {}", problems.join("\n  "));
    }
    Ok(())
}

/// Rows look like `| 2 | `promql` | `model` `sys` | … |`.
fn parse(text: &str) -> Result<BTreeMap<String, Row>> {
    let mut table = BTreeMap::new();
    for line in text.lines().filter(|l| l.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [layer, name, uses, ..] = cells.as_slice() else { continue };
        let (Ok(layer), Some(name)) = (layer.parse(), quoted(name).into_iter().next()) else { continue };
        table.insert(name, Row { layer, uses: quoted(uses).into_iter().collect() });
    }
    if table.is_empty() {
        bail!("ARCHITECTURE.md has no layer table");
    }
    Ok(table)
}

fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn uses(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let short = |name: &str| name.strip_prefix("vedette-").unwrap_or(name).to_owned();
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    packages
        .iter()
        .filter(|p| p["manifest_path"].as_str().is_some_and(|m| m.contains("/crates/")))
        .filter_map(|p| {
            let dependencies = p["dependencies"].as_array()?;
            let ours = dependencies
                .iter()
                .filter(|d| d["kind"].is_null())
                .filter_map(|d| d["name"].as_str()?.strip_prefix("vedette-"))
                .map(str::to_owned);
            Some((short(p["name"].as_str()?), ours.collect()))
        })
        .collect()
}

fn compare(table: &BTreeMap<String, Row>, manifests: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, uses) in manifests {
        let Some(row) = table.get(name) else {
            problems.push(format!("the crate {name} has no row in the table"));
            continue;
        };
        for more in uses.difference(&row.uses) {
            problems.push(format!("{name} uses {more}, which its row does not say"));
        }
        for less in row.uses.difference(uses) {
            problems.push(format!("the row of {name} says it uses {less}, but its manifest does not"));
        }
        for used in uses {
            match table.get(used) {
                Some(other) if other.layer > row.layer => {
                    problems.push(format!(
                        "{name} (layer {}) uses {used} of layer {} above it",
                        row.layer, other.layer
                    ));
                }
                Some(other) if other.layer == row.layer && row.layer == 3 => {
                    problems.push(format!(
                        "{name} names {used}: crates of layer 3 meet through traits of model only"
                    ));
                }
                _ => {}
            }
        }
    }
    problems.extend(
        table
            .keys()
            .filter(|n| !manifests.contains_key(*n))
            .map(|n| format!("the table names {n}, which is no crate")),
    );
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifests(pairs: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
        pairs.iter().map(|(n, u)| ((*n).to_owned(), u.iter().map(|x| (*x).to_owned()).collect())).collect()
    }

    const TABLE: &str = "| layer | crate | uses | knows |\n|---|---|---|---|\n| 0 | `model` | | words |\n| 3 | `api` | `model` | x |\n| 3 | `ruler` | | y |\n";

    #[test]
    fn a_true_table_passes_and_each_lie_is_named() {
        let table = parse(TABLE).expect("table");
        assert!(
            compare(&table, &manifests(&[("model", &[]), ("api", &["model"]), ("ruler", &[])])).is_empty()
        );
        for (lie, word) in [
            (manifests(&[("model", &[]), ("api", &["model"])]), "is no crate"),
            (manifests(&[("model", &[]), ("api", &[]), ("ruler", &[])]), "does not"),
            (manifests(&[("model", &["api"]), ("api", &["model"]), ("ruler", &[])]), "above it"),
            (manifests(&[("model", &[]), ("api", &["model", "ruler"]), ("ruler", &[])]), "layer 3"),
            (manifests(&[("model", &[]), ("api", &["model"]), ("ruler", &[]), ("x", &[])]), "no row"),
        ] {
            assert!(compare(&table, &lie).iter().any(|p| p.contains(word)), "{word}: {lie:?}");
        }
    }
}
