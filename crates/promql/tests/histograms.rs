//! Queries over series of floats and native histograms, sound and hostile ones: nothing panics, and
//! a range query answers at each of its times what an instant query answers there.

use std::{collections::BTreeMap, sync::Arc};

use proptest::{collection::vec, prelude::*};
use vedette_model::{HistogramCounts, Labels, NativeHistogram, ResetHint, Span, stale_nan};
use vedette_promql::{
    Cancel, Engine, FUNCTIONS, Limits, QueryError, QueryOutput, Value, ValueType, memory::MemoryReader, parse,
};

const STEP_MS: i64 = 30_000;
const STEPS: i64 = 12;

#[derive(Debug, Clone)]
enum Point {
    Gap,
    Stale,
    Float(f64),
    Histogram(Box<NativeHistogram>),
}

fn histogram() -> impl Strategy<Value = NativeHistogram> {
    let hint = prop_oneof![
        4 => Just(ResetHint::Unknown),
        1 => Just(ResetHint::Gauge),
        1 => Just(ResetHint::Reset),
        1 => Just(ResetHint::NotReset)
    ];
    let schema = prop_oneof![3 => 0..2i8, 1 => Just(-53i8), 1 => -4..=8i8];
    let counts = vec(prop_oneof![8 => (0..20u32).prop_map(f64::from), 1 => any::<f64>()], 3);
    (hint, schema, -3..3i32, counts, prop_oneof![Just(0.0), Just(1.0), Just(f64::NAN)], 0..3u8).prop_map(
        |(reset_hint, schema, offset, positive, sum, threshold)| {
            let custom = schema == -53;
            NativeHistogram {
                reset_hint,
                schema,
                zero_threshold: if custom { 0.0 } else { f64::from(threshold) / 4.0 },
                sum,
                positive_spans: vec![Span { offset: if custom { 0 } else { offset }, length: 3 }],
                custom_bounds: if custom { vec![1.0, 2.0 + f64::from(threshold)] } else { Vec::new() },
                counts: HistogramCounts::Float {
                    count: positive.iter().sum(),
                    zero_count: 0.0,
                    positive,
                    negative: Vec::new(),
                },
                ..NativeHistogram::stale()
            }
        },
    )
}

fn point() -> impl Strategy<Value = Point> {
    prop_oneof![
        1 => Just(Point::Gap),
        1 => Just(Point::Stale),
        3 => prop_oneof![(0..9u8).prop_map(f64::from), any::<f64>()].prop_map(Point::Float),
        5 => histogram().prop_map(|h| Point::Histogram(Box::new(h))),
    ]
}

fn series() -> impl Strategy<Value = Vec<(Point, i64)>> {
    let start = prop_oneof![4 => Just(0), 1 => -90_000..1000i64];
    vec((point(), start), STEPS as usize)
}

/// Queries that use each function, aggregation and operator.
fn queries() -> Vec<String> {
    let mut queries = Vec::new();
    for function in FUNCTIONS {
        let args: Vec<&str> = (function.args.iter().enumerate())
            .map(|(i, kind)| match kind {
                ValueType::Matrix => "m[2m]",
                ValueType::Vector => "m",
                ValueType::Scalar => ["0.5", "0.3", "0.7"][i % 3],
                ValueType::String => "\"l\"",
            })
            .collect();
        let unfit = ["sort", "info", "label_replace", "start", "end", "step", "range"];
        if !unfit.iter().any(|u| function.name.starts_with(u)) {
            queries.push(format!("{}({})", function.name, args.join(", ")));
        }
    }
    for function in ["rate", "increase", "delta", "changes", "resets"] {
        queries.push(format!("{function}(m[1m] anchored)"));
    }
    for function in ["rate", "increase", "delta"] {
        queries.push(format!("histogram_count({function}(m[75s] smoothed))"));
        queries.push(format!("{function}(m[2m:20s] offset -30s)"));
        queries.push(format!("{function}(m[2m] @ 200)"));
    }
    for op in ["+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<=", "</", ">/"] {
        queries.push(format!("m {op} on (s) m"));
        queries.push(format!("m {op} on (s) fill (3) (m > 2)"));
        queries.push(format!("m {op} 2 or -3 {op} m"));
    }
    for op in
        ["sum", "avg", "count", "min", "max", "group", "stddev", "topk(1, ", "quantile(0.5, ", "limitk(1, "]
    {
        let open = if op.contains('(') { "" } else { "(" };
        queries.push(format!("{op}{open}m)"));
    }
    for query in [
        "m smoothed",
        "-m",
        "count_values(\"v\", m)",
        "m == bool m",
        "m and m > 3",
        "m unless m > 3",
        "histogram_count(sum(m))",
        "avg(rate(m[2m]))",
        "label_replace(m, \"a\", \"b\", \"s\", \".*\")",
        "sort_by_label(m, \"s\")",
    ] {
        queries.push(query.to_owned());
    }
    queries
}

/// Samples by labels, as text in which NaN equals NaN; what a histogram says of the one before it
/// depends on what is read, and is left out.
type Answer = BTreeMap<String, String>;

fn text(value: f64, histogram: Option<&vedette_promql::Histogram>) -> String {
    match histogram {
        None => format!("{value:?}"),
        Some(h) => format!("{} {} {:?} {h}", h.schema, h.zero_threshold, h.custom_bounds()),
    }
}

fn at(output: &QueryOutput, time_ms: i64) -> Answer {
    match &output.value {
        Value::Vector(samples) => {
            (samples.iter()).map(|s| (s.labels.to_string(), text(s.value, s.histogram.as_deref()))).collect()
        }
        Value::Scalar { value, .. } => Answer::from([("{}".to_owned(), text(*value, None))]),
        Value::Matrix(series) => {
            let mut answer = Answer::new();
            for s in series {
                let floats = s.points.iter().filter(|p| p.time_ms == time_ms).map(|p| text(p.value, None));
                let histograms =
                    s.histograms.iter().filter(|(t, _)| *t == time_ms).map(|(_, h)| text(0.0, Some(h)));
                for sample in floats.chain(histograms) {
                    assert_eq!(answer.insert(s.labels.to_string(), sample), None, "two samples at one time");
                }
            }
            answer
        }
        Value::String { .. } => Answer::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_range_query_is_many_instant_queries(a in series(), b in series()) {
        let mut store = MemoryReader::new();
        for (name, points) in [("a", a), ("b", b)] {
            let labels = Labels::from_pairs([("__name__", "m"), ("s", name)]);
            for (i, (point, start)) in points.into_iter().enumerate() {
                let time = i as i64 * STEP_MS;
                let start = if start == 0 { 0 } else { time + start };
                let value = match point {
                    Point::Gap => continue,
                    Point::Stale => Ok(stale_nan()),
                    Point::Float(v) => Ok(v),
                    Point::Histogram(h) => Err(Arc::new(*h)),
                };
                store.push_since(&labels, time, start, value);
            }
        }
        let (engine, limits, cancel) = (Engine::default(), Limits::default(), Cancel::new());
        let (end, step) = (STEPS * STEP_MS, 45_000);
        for query in queries() {
            let expr = parse(&query).unwrap_or_else(|e| panic!("{query}: {e}"));
            let range = engine.range(&store, &expr, (0, end, step), &limits, &cancel);
            let mut failed = false;
            for time in (0..=end).step_by(step as usize) {
                match (engine.instant(&store, &expr, time, &limits, &cancel), &range) {
                    (Ok(instant), Ok(range)) => {
                        prop_assert_eq!(at(&instant, time), at(range, time), "{} at {}", query, time);
                    }
                    (Ok(_), Err(_)) => {}
                    (Err(QueryError::Execution(_)), _) => failed = true,
                    (Err(error), _) => prop_assert!(false, "{query} at {time}: {error}"),
                }
            }
            prop_assert_eq!(range.is_err(), failed, "{}: {:?}", query, range.err());
        }
    }
}
