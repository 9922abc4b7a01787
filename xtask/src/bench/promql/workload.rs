//! The queries: lists that stand beside the project and are read in place, each turned into
//! requests over the data that was loaded.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::data::Spans;
use crate::{
    bench::{http::escape, program::Kind},
    run::root,
};

/// A minute and a second in milliseconds.
const SECOND_MS: i64 = 1_000;
const HOUR_MS: i64 = 3_600 * SECOND_MS;
/// How long before the end of the data most queries are asked, as their list demands.
const BEFORE_END_MS: i64 = 120 * SECOND_MS;
/// How long after the beginning of the data the first window ends. Before, counters that begin
/// near zero are extrapolated otherwise by Prometheus 3 than by 2.
const NODE_RUN_UP_MS: i64 = 600 * SECOND_MS;
const ENGINE_RUN_UP_MS: i64 = 120 * SECOND_MS;
/// Step of the lists whose data comes every ten seconds.
const TEN_SECONDS_MS: i64 = 10 * SECOND_MS;

/// One query as it is asked.
#[derive(Debug, Clone)]
pub struct Case {
    /// Which list it comes from.
    pub list: &'static str,
    /// Its name in the table, unique.
    pub name: String,
    pub expr: String,
    pub when: When,
    /// Whether it is something that only newer versions of the language have.
    pub new: bool,
}

/// When it is evaluated, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub enum When {
    At(i64),
    Range { start: i64, end: i64, step: i64 },
}

impl Case {
    /// The path and parameters of the request. Caches are off for all, as each understands it.
    pub fn target(&self, kind: Kind) -> String {
        request(&self.dialect(kind), self.when) + "&nocache=1"
    }

    /// The expression as a program knows it.
    fn dialect(&self, kind: Kind) -> String {
        match kind {
            Kind::Vedette => self.expr.clone(),
            // Its old name.
            Kind::Prometheus | Kind::VictoriaMetrics => {
                self.expr.replace("double_exponential_smoothing(", "holt_winters(")
            }
        }
    }
}

/// The path and parameters of any query.
pub fn request(expr: &str, when: When) -> String {
    let seconds = |ms: i64| ms as f64 / 1000.0;
    match when {
        When::At(time) => format!("/api/v1/query?query={}&time={}", escape(expr), seconds(time)),
        When::Range { start, end, step } => format!(
            "/api/v1/query_range?query={}&start={}&end={}&step={}",
            escape(expr),
            seconds(start),
            seconds(end),
            seconds(step)
        ),
    }
}

/// The names of the lists, in the order of the table.
pub const LISTS: [&str; 5] = ["side-by-side", "alerts", "prombench", "engine", "join"];

#[derive(Deserialize)]
struct SideBySide {
    queries: Vec<SideBySideQuery>,
}

#[derive(Deserialize)]
struct SideBySideQuery {
    name: String,
    range_h: f64,
    step: i64,
    q: String,
}

#[derive(Deserialize)]
struct Alerts {
    groups: Vec<AlertGroup>,
}

#[derive(Deserialize)]
struct AlertGroup {
    rules: Vec<AlertRule>,
}

#[derive(Deserialize)]
struct AlertRule {
    alert: String,
    expr: String,
}

#[derive(Deserialize)]
struct Prombench {
    querier: PrombenchQuerier,
}

#[derive(Deserialize)]
struct PrombenchQuerier {
    groups: Vec<PrombenchGroup>,
}

#[derive(Deserialize)]
struct PrombenchGroup {
    name: String,
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    start: String,
    #[serde(default)]
    end: String,
    #[serde(default)]
    step: String,
    queries: Vec<PrombenchQuery>,
}

#[derive(Deserialize)]
struct PrombenchQuery {
    expr: String,
}

#[derive(Deserialize)]
struct Engine {
    queries: Vec<EngineQuery>,
    join_benchmark: Join,
}

#[derive(Deserialize)]
struct EngineQuery {
    q: String,
    steps: Option<i64>,
    #[serde(default)]
    flags: String,
}

#[derive(Deserialize)]
struct Join {
    steps: i64,
    queries: Vec<String>,
}

/// What the lists say before it is known over which times they can be asked.
pub struct Lists {
    side: SideBySide,
    alerts: Alerts,
    prombench: Prombench,
    engine: Engine,
}

fn folder() -> PathBuf {
    root().join("../shared/bench/metrics")
}

/// Reads the lists, or gives the name of what is absent.
pub fn lists() -> Result<Result<Lists, String>> {
    let folder = folder();
    let files =
        ["side-by-side-queries", "prometheus-benchmark-alerts", "prombench-queries", "promql-engine-bench"]
            .map(|name| folder.join(name).with_extension("yaml"));
    if let Some(absent) = files.iter().find(|f| !f.is_file()) {
        return Ok(Err(format!("{} is absent", absent.display())));
    }
    let [side, alerts, prombench, engine] = &files;
    Ok(Ok(Lists {
        side: read(side)?,
        alerts: read(alerts)?,
        prombench: read(prombench)?,
        engine: read(engine)?,
    }))
}

fn read<T: for<'a> Deserialize<'a>>(file: &Path) -> Result<T> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    serde_saphyr::from_str(&text).with_context(|| file.display().to_string())
}

impl Lists {
    /// All names of metrics of a machine that the queries use.
    pub fn node_metrics(&self) -> Vec<String> {
        let alerts = self.alerts.groups.iter().flat_map(|g| &g.rules).map(|r| &r.expr);
        let side = self.side.queries.iter().map(|q| &q.q);
        let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        let mut names: Vec<String> = alerts
            .chain(side)
            .flat_map(|text| text.split(word))
            .filter(|name| name.starts_with("node_"))
            .map(str::to_owned)
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The queries of the lists that are wanted, as they are asked over the data.
    pub fn cases(&self, wanted: &[String], spans: &Spans) -> Result<Vec<Case>> {
        let mut cases = Vec::new();
        for list in LISTS.into_iter().filter(|l| wanted.is_empty() || wanted.iter().any(|w| w == l)) {
            match list {
                "side-by-side" => self.side_by_side(list, spans, &mut cases),
                "alerts" => self.alerts(list, spans, &mut cases),
                "prombench" => self.prombench(list, spans, &mut cases)?,
                "engine" => self.engine(list, spans, &mut cases),
                _ => self.join(list, spans, &mut cases),
            }
        }
        Ok(cases)
    }

    fn side_by_side(&self, list: &'static str, spans: &Spans, cases: &mut Vec<Case>) {
        let end = spans.end_ms - BEFORE_END_MS;
        cases.extend(self.side.queries.iter().map(|q| {
            let step = q.step * SECOND_MS;
            let start = end - (q.range_h * HOUR_MS as f64) as i64;
            let when = if step == 0 {
                When::At(end)
            } else {
                range(start.max(spans.node_first_ms + NODE_RUN_UP_MS), end, step)
            };
            Case { list, name: q.name.clone(), expr: q.q.clone(), when, new: false }
        }));
    }

    fn alerts(&self, list: &'static str, spans: &Spans, cases: &mut Vec<Case>) {
        let when = When::At(spans.end_ms - BEFORE_END_MS);
        cases.extend(self.alerts.groups.iter().flat_map(|g| &g.rules).map(|rule| Case {
            list,
            name: rule.alert.clone(),
            expr: rule.expr.clone(),
            when,
            new: false,
        }));
    }

    fn prombench(&self, list: &'static str, spans: &Spans, cases: &mut Vec<Case>) -> Result<()> {
        let now = spans.end_ms - BEFORE_END_MS;
        for group in &self.prombench.querier.groups {
            let when = if group.r#type == "range" {
                let [start, end, step] = [&group.start, &group.end, &group.step].map(|t| duration_ms(t));
                let end = now - end?;
                range((now - start?).max(spans.node_first_ms + NODE_RUN_UP_MS).min(end), end, step?)
            } else {
                When::At(now)
            };
            for (number, query) in group.queries.iter().enumerate() {
                let name = format!("{} {}", group.name, number + 1);
                cases.push(Case { list, name, expr: query.expr.clone(), when, new: false });
            }
        }
        Ok(())
    }

    fn engine(&self, list: &'static str, spans: &Spans, cases: &mut Vec<Case>) {
        let end = spans.end_ms;
        for query in &self.engine.queries {
            let sizes: &[&str] = if query.q.contains("_X") { &["_one", "_hundred"] } else { &[""] };
            for size in sizes {
                let expr = query.q.replace("_X", size);
                let both = [1, 1000];
                let steps = query.steps.as_ref().map_or(&both[..], std::slice::from_ref);
                for &steps in steps {
                    let start =
                        (end - (steps - 1) * TEN_SECONDS_MS).max(spans.engine_first_ms + ENGINE_RUN_UP_MS);
                    let when = if steps == 1 { When::At(end) } else { range(start, end, TEN_SECONDS_MS) };
                    let name = format!("{expr}, {steps} steps");
                    cases.push(Case { list, name, expr: expr.clone(), when, new: !query.flags.is_empty() });
                }
            }
        }
    }

    fn join(&self, list: &'static str, spans: &Spans, cases: &mut Vec<Case>) {
        let end = spans.end_ms;
        let start = (end - (self.engine.join_benchmark.steps - 1) * TEN_SECONDS_MS)
            .max(spans.join_first_ms + ENGINE_RUN_UP_MS);
        cases.extend(self.engine.join_benchmark.queries.iter().map(|expr| Case {
            list,
            name: expr.clone(),
            expr: expr.clone(),
            when: range(start, end, TEN_SECONDS_MS),
            new: false,
        }));
    }
}

/// A range whose start is whole steps before its end.
fn range(start: i64, end: i64, step: i64) -> When {
    When::Range { start: end - (end - start) / step * step, end, step }
}

/// `2h`, `15s`.
fn duration_ms(text: &str) -> Result<i64> {
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let unit = match unit {
        "h" => HOUR_MS,
        "m" => 60 * SECOND_MS,
        "s" => SECOND_MS,
        _ => anyhow::bail!("no duration: {text:?}"),
    };
    Ok(number.parse::<i64>()? * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_end_where_they_should_and_begin_at_a_step() {
        let When::Range { start, end, step } = range(1_001, 10_000, 300) else { panic!("a range") };
        assert_eq!((start, end, step), (1_300, 10_000, 300));
        assert_eq!(duration_ms("15s").expect("valid"), 15_000);
        assert!(duration_ms("15").is_err());
    }

    #[test]
    fn every_list_gives_queries_with_names_of_their_own() {
        let lists = match lists().expect("readable lists") {
            Ok(lists) => lists,
            Err(absent) => return println!("SKIPPED the lists of queries: {absent}"),
        };
        let spans = Spans { end_ms: 1_000_000_000, node_first_ms: 0, engine_first_ms: 0, join_first_ms: 0 };
        let cases = lists.cases(&[], &spans).expect("cases");
        for list in LISTS {
            assert!(cases.iter().any(|c| c.list == list), "{list}");
        }
        let mut names: Vec<_> = cases.iter().map(|c| (c.list, &c.name)).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), cases.len(), "names are unique");
        assert!(cases.iter().all(|c| !c.expr.contains("_X")));
    }
}
