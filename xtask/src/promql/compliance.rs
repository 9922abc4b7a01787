//! `cargo xtask conformance promql-compliance`: the queries of Prometheus' compliance tester,
//! answered by Prometheus and by Vedette over the same data, compared as the tester does.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::{
    answer::{Difference, Order, Strictness, compare},
    demo,
    pair::{Pair, Reference, When},
};
use crate::run::target;

/// The file with the queries.
const QUERIES: &str = "promql-test-queries.yml";

/// As the tester compares: texts and the order of elements do not count.
const STRICTNESS: Strictness = Strictness { tolerance: 1e-5, texts: false, order: Order::Any };

/// Ten minutes in steps of ten seconds, with enough data before and after for every window and
/// offset.
const WHEN: When = When::Range {
    start_ms: demo::FIRST_MS + 75 * 60_000,
    end_ms: demo::FIRST_MS + 85 * 60_000,
    step_ms: 10_000,
};

/// What a placeholder of a query can stand for.
const VARIANTS: &[(&str, &[&str])] = &[
    ("range", &["1s", "15s", "1m", "5m", "15m", "1h"]),
    ("offset", &["1m", "5m", "10m"]),
    ("simpleAggrOp", &["sum", "avg", "max", "min", "count", "stddev", "stdvar"]),
    ("simpleTimeAggrOp", &["sum", "avg", "max", "min", "count", "stddev", "stdvar", "absent", "last"]),
    ("topBottomOp", &["topk", "bottomk"]),
    ("quantile", &["-0.5", "0.1", "0.5", "0.75", "0.95", "0.90", "0.99", "1", "1.5"]),
    ("arithBinOp", &["+", "-", "*", "/", "%", "^"]),
    ("compBinOp", &["==", "!=", "<", ">", "<=", ">="]),
    ("binOp", &["+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">="]),
    ("simpleMathFunc", &["abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "round"]),
    ("extrapolatedRateFunc", &["delta", "rate", "increase"]),
    ("clampFunc", &["clamp_min", "clamp_max"]),
    ("instantRateFunc", &["idelta", "irate"]),
    ("dateFunc", &["day_of_month", "day_of_week", "days_in_month", "hour", "minute", "month", "year"]),
];

/// Queries on which 2.42 rightly differs from the 3.14 that Vedette follows, by their beginning.
const OF_OLD: &[(&str, &str)] = &[
    ("label_replace(demo_num_cpus, \"~invalid\"", "since 3.0 a label name may have any characters"),
    ("label_join(demo_num_cpus, \"~invalid\"", "since 3.0 a label name may have any characters"),
    ("max_over_time((time() - max(", "since 3.0 a subquery leaves out its window's first moment"),
    (
        "avg_over_time(rate(demo_cpu_usage_seconds_total[1m])[2m:10s])",
        "since 3.0 a subquery leaves out its window's first moment",
    ),
];

#[derive(Debug, Deserialize)]
struct File {
    test_cases: Vec<Template>,
}

#[derive(Debug, Deserialize)]
struct Template {
    query: String,
    #[serde(default)]
    variant_args: Vec<String>,
    #[serde(default)]
    should_fail: bool,
}

/// A query, and whether it must be refused.
#[derive(Debug, PartialEq, Eq)]
struct Case {
    query: String,
    should_fail: bool,
}

/// Asks all queries of the file in `dir` and counts.
pub fn compliance(dir: &Path, vedette: &Path) -> Result<()> {
    let path = dir.join(QUERIES);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let cases = cases(&text).with_context(|| path.display().to_string())?;
    let reference = match Reference::find() {
        Ok(reference) => reference,
        Err(error) => {
            println!("SKIPPED promql-compliance: no Prometheus: {error:#}");
            println!("0 passed, 0 failed, {} skipped", cases.len());
            return Ok(());
        }
    };
    let pair = Pair::start(&reference, vedette, &target().join("peers/promql-compliance"))?;
    demo::load(&pair, reference.is_old())?;
    let mut connection = pair.connection();
    let (mut passed, mut failed) = (0, 0);
    for case in &cases {
        let theirs = connection.ask_theirs(&case.query, WHEN)?;
        let ours = connection.ask_ours(&case.query, WHEN)?;
        let refused = [&theirs, &ours].map(|answer| answer["status"] != "success");
        ensure!(case.should_fail || !refused[0], "Prometheus refuses {}: {theirs}", case.query);
        if case.should_fail && !refused[0] {
            // The file is older than label names of any characters.
            println!("no longer refused by Prometheus, so compared: {}", case.query);
        }
        let explained = || {
            let explained = OF_OLD.iter().find(|(start, _)| case.query.starts_with(start));
            explained.filter(|_| reference.is_old())
        };
        match compare(&theirs, &ours, STRICTNESS) {
            Ok(()) => passed += 1,
            // How a query is refused is not compared here.
            Err(_) if refused == [true, true] => passed += 1,
            Err(difference) => match explained() {
                Some((_, reason)) => {
                    println!("explained: {}: {reason}", case.query);
                    passed += 1;
                }
                None => {
                    failed += 1;
                    print_difference(&case.query, &difference);
                }
            },
        }
    }
    println!("{passed} passed, {failed} failed, 0 skipped");
    if failed > 0 {
        bail!("{failed} of {} queries are answered otherwise than by Prometheus", cases.len());
    }
    Ok(())
}

fn print_difference(query: &str, difference: &Difference) {
    println!("FAILED {query}: {:?}", difference.aspect);
    println!("  Prometheus: {:.400}", difference.theirs);
    println!("  Vedette:    {:.400}", difference.ours);
}

/// Every template with every combination of what its placeholders stand for.
fn cases(text: &str) -> Result<Vec<Case>> {
    let file: File = serde_saphyr::from_str(text)?;
    let mut cases = Vec::new();
    for template in file.test_cases {
        let mut queries = vec![template.query];
        for arg in &template.variant_args {
            let (_, values) = VARIANTS
                .iter()
                .find(|(name, _)| name == arg)
                .with_context(|| format!("no variants of {arg}"))?;
            let place = format!("{{{{.{arg}}}}}");
            queries =
                queries.iter().flat_map(|q| values.iter().map(|value| q.replace(&place, value))).collect();
        }
        cases.extend(queries.into_iter().map(|query| Case { query, should_fail: template.should_fail }));
    }
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_become_all_their_queries() {
        let text = "test_cases:\n  # A comment\n  - query: '42'\n  - query: '{{.topBottomOp}}(x[{{.range}}])'\n    \
            variant_args: ['topBottomOp', 'range']\n  - query: -1 ^ 2\n    should_fail: true\n";
        let cases = cases(text).expect("valid");
        assert_eq!(cases.len(), 1 + 2 * 6 + 1);
        assert_eq!(cases[2].query, "topk(x[15s])");
        assert_eq!(cases[13], Case { query: "-1 ^ 2".into(), should_fail: true });
        assert!(super::cases("test_cases: [{query: '{{.x}}', variant_args: [x]}]").is_err());
    }
}
