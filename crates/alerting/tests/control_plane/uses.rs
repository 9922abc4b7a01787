//! Rules and dashboards of others that use the families.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use regex::Regex;
use serde_json::Value;
use vedette_model::{Labels, METRIC_NAME, Matcher};
use vedette_promql::{
    Cancel, Engine, EngineConfig, Expr, Limits, QueryOutput, Value as Answer, ast::VectorSelector,
    memory::MemoryReader, parse,
};

use crate::{
    Score,
    table::{self, Family},
};

/// Files of rules, below the folder of the suites.
const RULES: [&str; 4] = [
    "rules/kubernetes-mixin/prometheus_alerts.yaml",
    "rules/kubernetes-mixin/prometheus_rules.yaml",
    "rules/etcd-mixin/etcd-prometheusRules.yaml",
    "rules/coredns-mixin/prometheus_alerts.yaml",
];

/// Labels that a series has from its target or from the page's own structure, whatever the family.
pub const OF_TARGETS: [&str; 12] = [
    METRIC_NAME,
    "job",
    "instance",
    "cluster",
    "namespace",
    "pod",
    "container",
    "node",
    "service",
    "metrics_path",
    "le",
    "quantile",
];

/// Stands for the variables of dashboards: in one of them for a job, which a second condition wants to be of etcd.
const ANYTHING: &str = "etcd";

/// Values that parts tell in labels, and names that users give jobs, queues and claims; what a condition asks for is
/// looked for among them.
const VALUES: [&str; 16] = [
    "x",
    "200",
    "301",
    "500",
    "429",
    "GET",
    "LIST",
    "POST",
    "resource",
    "cluster",
    "OK",
    "Unavailable",
    "unary",
    ANYTHING,
    "app_operation_queue",
    "prometheus-data-0",
];

/// What families begin with that cAdvisor tells by the same name, with more labels. Rules mean those, which are judged
/// by their own table.
const OF_CADVISOR: &str = "container_";

const NOW_MS: i64 = 7_200_000;
const STEP_MS: i64 = 30_000;

/// Where a family is used.
struct Use {
    place: String,
    expr: Expr,
}

/// Uses by the name of the family, and what could not be read.
type Uses = BTreeMap<String, Vec<Result<Use, String>>>;

/// Judges all families that somebody uses.
pub fn judge(table: &[Family], suites: &Path, score: &mut Score) {
    let mut uses = Uses::new();
    let mut is_complete = rules(table, suites, &mut uses, score);
    is_complete &= dashboards(table, &suites.join("dashboards"), &mut uses);
    for family in table.iter().filter(|family| !family.used_by.is_empty()) {
        match uses.get(&family.name) {
            Some(_) if family.name.starts_with(OF_CADVISOR) => {
                score.skip("used", "rules mean those of cAdvisor");
            }
            None if is_complete => score.skip("used", "no rule and no dashboard of the suites names them"),
            None => score.skip("used", "there are no rules or no dashboards beside the table"),
            Some(uses) => {
                let judged = uses.iter().try_for_each(|one| {
                    let one = one.as_ref().map_err(Clone::clone)?;
                    judge_use(table, family, one).map_err(|error| format!("{}: {error}", one.place))
                });
                score.note("used", &family.name, judged);
            }
        }
    }
}

/// Rules are read as those that are put to work. A file that is not there is told, as what it uses is not judged.
fn rules(table: &[Family], suites: &Path, uses: &mut Uses, score: &mut Score) -> bool {
    let mut is_complete = true;
    for file in RULES {
        let Ok(text) = fs::read_to_string(suites.join(file)) else {
            is_complete = false;
            continue;
        };
        match vedette_alerting::load(file, &text) {
            Ok(groups) => {
                for rule in groups.iter().flat_map(|group| &group.rules) {
                    note(table, &format!("{file} {}", rule.name), &rule.query, uses);
                }
            }
            Err(problems) => score.note("used", file, Err(format!("{problems:?}"))),
        }
    }
    is_complete
}

/// Queries of dashboards, with something in place of their variables.
fn dashboards(table: &[Family], folder: &Path, uses: &mut Uses) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    let ranges = Regex::new(r"\[[^\]]*\$[^\]]*\]").unwrap();
    let variables = Regex::new(r"\$\{?\w+(?::\w+)?\}?").unwrap();
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|ending| ending == "json")) {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let dashboard: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let mut queries = BTreeSet::new();
        collect(&dashboard, &mut queries);
        for query in queries {
            let query = ranges.replace_all(query, "[5m]");
            note(table, &format!("dashboards/{file}"), &variables.replace_all(&query, ANYTHING), uses);
        }
    }
    true
}

fn collect<'j>(json: &'j Value, queries: &mut BTreeSet<&'j str>) {
    match json {
        Value::Array(list) => list.iter().for_each(|json| collect(json, queries)),
        Value::Object(map) => {
            queries.extend(map.get("expr").and_then(Value::as_str));
            map.values().for_each(|json| collect(json, queries));
        }
        _ => {}
    }
}

/// Notes a query at each family that it uses.
fn note(table: &[Family], place: &str, query: &str, uses: &mut Uses) {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
    let families: BTreeSet<&str> = query
        .split(word)
        .filter_map(|word| table::of_series(table, word))
        .filter(|family| !family.used_by.is_empty())
        .map(|family| family.name.as_str())
        .collect();
    for family in families {
        let read = parse(query).map(|expr| Use { place: place.to_owned(), expr });
        let read = read.map_err(|error| format!("{place}: {query:?} is not read: {error}"));
        uses.entry(family.to_owned()).or_default().push(read);
    }
}

/// Each condition on the family can be met by what the table says, and the whole query can be answered.
fn judge_use(table: &[Family], family: &Family, one: &Use) -> Result<(), String> {
    let mut store = MemoryReader::new();
    let mut asked = Vec::new();
    for (selector, _) in one.expr.selectors() {
        let Some(name) = name(selector) else { continue };
        if table::of_series(table, name).is_none_or(|of| of.name != family.name) {
            continue;
        }
        let labels = labels(family, selector, name)?;
        for at in 0..=NOW_MS / STEP_MS {
            store.push_labels(&labels, at * STEP_MS, at as f64);
        }
        asked.push((selector, labels));
    }
    for (selector, labels) in asked {
        let query = written(&selector.matchers);
        let expr = parse(&query).map_err(|error| error.to_string())?;
        match answer(&store, &expr)?.value {
            Answer::Vector(found) if found.iter().any(|sample| sample.labels == labels) => {}
            _ => return Err(format!("{query} does not find {labels}")),
        }
    }
    answer(&store, &one.expr).map(drop)
}

fn answer(store: &MemoryReader, expr: &Expr) -> Result<QueryOutput, String> {
    let engine = Engine::new(EngineConfig::default());
    engine.instant(store, expr, NOW_MS, &Limits::default(), &Cancel::new()).map_err(|error| error.to_string())
}

/// Conditions as a query has them.
fn written<M: Borrow<Matcher>>(conditions: &[M]) -> String {
    let one = |matcher: &Matcher| format!("{}{}{:?}", matcher.name, matcher.op.as_str(), matcher.value);
    let all: Vec<String> = conditions.iter().map(|matcher| one(matcher.borrow())).collect();
    format!("{{{}}}", all.join(","))
}

fn name(selector: &VectorSelector) -> Option<&str> {
    selector.name.as_deref()
}

/// Labels of a series of the family that meets all conditions.
fn labels(family: &Family, selector: &VectorSelector, name: &str) -> Result<Labels, String> {
    let mut labels: BTreeMap<&str, String> = BTreeMap::new();
    let names = family.labels.iter().map(String::as_str);
    let asked = selector.matchers.iter().map(|matcher| matcher.name.as_str());
    for label in names.chain(asked) {
        if !family.labels.contains(label) && !OF_TARGETS.contains(&label) {
            return Err(format!("the table knows no label {label} of it"));
        }
        let conditions: Vec<&Matcher> =
            selector.matchers.iter().filter(|matcher| matcher.name == label).collect();
        let exact = conditions.iter().flat_map(|matcher| matcher.exact_values().unwrap_or_default());
        let mut values = exact.map(String::as_str).chain(VALUES).chain([""]);
        let value = values.find(|value| conditions.iter().all(|matcher| matcher.matches(value)));
        let value = value.ok_or_else(|| format!("no value of {label} meets {}", written(&conditions)));
        labels.insert(label, value?.to_owned());
    }
    labels.insert(METRIC_NAME, name.to_owned());
    Ok(Labels::from_pairs(labels))
}
