//! Templates of scrape targets: the series of real pages, read in place.
//!
//! Only names, labels, types and first values are taken; what becomes of the values is simulated
//! (see [`super::load`]).

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::run::{output, root};

/// One series of a page.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Names and values, `__name__` among them.
    pub labels: Vec<(String, String)>,
    /// Whether the page calls its family a counter, or it counts by its name.
    pub counter: bool,
    /// The value on the page.
    pub value: f64,
}

/// The families of node_exporter that its default collectors make on an ordinary machine.
const NODE_FAMILIES: &[&str] = &[
    "node_arp_",
    "node_boot_",
    "node_context_",
    "node_cpu_",
    "node_disk_",
    "node_edac_",
    "node_entropy_",
    "node_filefd_",
    "node_filesystem_",
    "node_forks_",
    "node_hwmon_",
    "node_intr_",
    "node_load",
    "node_memory_",
    "node_netstat_",
    "node_network_",
    "node_nf_",
    "node_pressure_",
    "node_procs_",
    "node_schedstat_",
    "node_scrape_",
    "node_sockstat_",
    "node_softnet_",
    "node_time_",
    "node_udp_",
    "node_vmstat_",
    "node_xfs_",
];

const NODE_PAGES: &str = "node_exporter/fixtures-v1.12.tar.gz";
const NODE_PAGE: &str = "collector/fixtures/e2e-output.txt";

fn conformance() -> PathBuf {
    root().join("../shared/conformance")
}

/// All series of node_exporter's page, or the name of what is absent.
pub fn node_page() -> Result<Result<Vec<Series>, String>> {
    let node = conformance().join(NODE_PAGES);
    if !node.is_file() {
        return Ok(Err(format!("{} is absent", node.display())));
    }
    Ok(Ok(parse(&tar_entry(&node, NODE_PAGE)?)?))
}

/// The lines of node_exporter's page about families that an ordinary machine has, or the name of what
/// is absent.
pub fn node_text() -> Result<Result<String, String>> {
    let node = conformance().join(NODE_PAGES);
    if !node.is_file() {
        return Ok(Err(format!("{} is absent", node.display())));
    }
    let page = tar_entry(&node, NODE_PAGE)?;
    let is_default = |line: &&str| {
        let name = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
        NODE_FAMILIES.iter().any(|family| name.starts_with(family))
    };
    Ok(Ok(page.lines().filter(is_default).fold(String::new(), |text, line| text + line + "\n")))
}

/// Whether an ordinary machine has it.
pub fn is_default(series: &Series) -> bool {
    NODE_FAMILIES.iter().any(|f| name(series).starts_with(f))
}

/// The pages, or the name of what is absent.
pub fn templates(series_max: usize) -> Result<Result<[Vec<Series>; 2], String>> {
    let node = conformance().join(NODE_PAGES);
    let cadvisor = conformance().join("expositions/cadvisor-0.56-100-containers.prom.gz");
    for file in [&node, &cadvisor] {
        if !file.is_file() {
            return Ok(Err(format!("{} is absent", file.display())));
        }
    }
    let page = tar_entry(&node, NODE_PAGE)?;
    let mut nodes = parse(&page)?;
    nodes.retain(is_default);
    nodes.truncate(series_max);
    let page = output(Command::new("gzip").arg("-dc").arg(&cadvisor))?;
    Ok(Ok([nodes, containers(&parse(&page)?, series_max)]))
}

fn tar_entry(archive: &Path, entry: &str) -> Result<String> {
    output(Command::new("tar").arg("-xzOf").arg(archive).arg(entry))
}

/// Whole containers until there are enough series: a target has all families of few containers,
/// while the page lists few families of all.
fn containers(page: &[Series], series_max: usize) -> Vec<Series> {
    let id = |s: &Series| s.labels.iter().find(|(n, _)| n == "id").map_or("", |(_, v)| v).to_owned();
    let mut ids: Vec<String> = page.iter().map(id).collect();
    ids.sort();
    ids.dedup();
    let mut taken = Vec::new();
    for wanted in ids {
        taken.extend(page.iter().filter(|s| id(s) == wanted).cloned());
        if taken.len() >= series_max {
            break;
        }
    }
    taken.truncate(series_max);
    taken
}

/// The metric name.
pub fn name(series: &Series) -> &str {
    series.labels.iter().find(|(n, _)| n == "__name__").map_or("", |(_, v)| v)
}

/// Reads an exposition in the text format.
pub fn parse(page: &str) -> Result<Vec<Series>> {
    let mut counters = Vec::new();
    let mut series = Vec::new();
    for line in page.lines().filter(|l| !l.is_empty()) {
        if let Some(comment) = line.strip_prefix('#') {
            let words: Vec<&str> = comment.split_whitespace().collect();
            if let ["TYPE", family, "counter" | "histogram" | "summary"] = words[..] {
                counters.push(family.to_owned());
            }
            continue;
        }
        let (labels, value) = sample(line).with_context(|| format!("no sample: {line}"))?;
        let name = labels.first().map_or("", |(_, v)| v.as_str());
        let counter = counters.iter().rev().take(4).any(|f| name.starts_with(f.as_str()))
            && !labels.iter().any(|(n, _)| n == "quantile");
        let counter = counter || name.ends_with("_total");
        series.push(Series { counter, labels, value });
    }
    ensure!(!series.is_empty(), "a page without samples");
    Ok(series)
}

fn sample(line: &str) -> Option<(Vec<(String, String)>, f64)> {
    let end = line.find(['{', ' '])?;
    let mut labels = vec![("__name__".to_owned(), line[..end].to_owned())];
    let mut rest = &line[end..];
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            rest = rest.trim_start_matches(',');
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (name, text) = rest.split_once("=\"")?;
            let (value, after) = quoted(text)?;
            labels.push((name.to_owned(), value));
            rest = after;
        }
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((labels, value))
}

/// The text up to the closing quote, and what stands behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read() {
        let page = "# HELP a A.\n# TYPE a counter\na 1\na{x=\"1\",y=\"q\\\"\\n\"} 2.5e+06 1700000000000\n# TYPE b gauge\nb{} NaN\nb_total 3\n";
        let series = parse(page).expect("a page");
        let names: Vec<_> = series.iter().map(|s| (name(s), s.counter)).collect();
        assert_eq!(names, [("a", true), ("a", true), ("b", false), ("b_total", true)]);
        assert_eq!(series[1].labels[2], ("y".to_owned(), "q\"\n".to_owned()));
        assert_eq!(series[1].value, 2.5e6);
        assert!(parse("a{x=\"1\n").is_err());
    }
}
