//! The evaluator against a naive model, limits, cancellation, garbage.

use proptest::prelude::*;
use vedette_model::{Labels, is_stale, stale_nan};
use vedette_promql::{
    Cancel, DEPTH_MAX, Engine, EngineConfig, Limits, QueryError, QueryOutput, Value, memory::MemoryReader,
    parse,
};

fn instant(store: &MemoryReader, query: &str, time_ms: i64) -> Result<QueryOutput, QueryError> {
    let engine = Engine::new(EngineConfig::default());
    engine.instant(store, &parse(query)?, time_ms, &Limits::default(), &Cancel::new())
}

fn range(store: &MemoryReader, query: &str, times: (i64, i64, i64)) -> Result<QueryOutput, QueryError> {
    let engine = Engine::new(EngineConfig::default());
    engine.range(store, &parse(query)?, times, &Limits::default(), &Cancel::new())
}

type Samples = Vec<(i64, f64)>;

/// What the documentation says of each function, written down sample by sample.
mod naive {
    use super::Samples;

    pub fn window(samples: &Samples, end: i64, range: i64) -> Samples {
        samples
            .iter()
            .copied()
            .filter(|(t, v)| *t > end - range && *t <= end && !super::is_stale(*v))
            .collect()
    }

    pub fn newest(samples: &Samples, at: i64, lookback: i64) -> Option<f64> {
        let (time, value) = *samples.iter().rfind(|(t, _)| *t <= at)?;
        (time > at - lookback && !super::is_stale(value)).then_some(value)
    }

    pub fn function(name: &str, w: &Samples, end: i64, range: i64) -> Option<f64> {
        let values: Vec<f64> = w.iter().map(|(_, v)| *v).collect();
        let n = values.len() as f64;
        let (first, last) = (*w.first()?, *w.last()?);
        let pairs = || values.windows(2);
        let mean = values.iter().sum::<f64>() / n;
        Some(match name {
            "count_over_time" => n,
            "present_over_time" => 1.0,
            "sum_over_time" => values.iter().sum(),
            "avg_over_time" => mean,
            "min_over_time" => values.iter().copied().fold(f64::NAN, f64::min),
            "max_over_time" => values.iter().copied().fold(f64::NAN, f64::max),
            "first_over_time" => first.1,
            "last_over_time" => last.1,
            "stdvar_over_time" => values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n,
            "stddev_over_time" => (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt(),
            "changes" => pairs().filter(|p| p[0] != p[1]).count() as f64,
            "resets" => pairs().filter(|p| p[1] < p[0]).count() as f64,
            "ts_of_last_over_time" => last.0 as f64 / 1000.0,
            "ts_of_first_over_time" => first.0 as f64 / 1000.0,
            "ts_of_max_over_time" => {
                let max = values.iter().copied().fold(f64::NAN, f64::max);
                w.iter().rfind(|(_, v)| *v == max)?.0 as f64 / 1000.0
            }
            "idelta" | "irate" => {
                let [.., before, last] = &w[..] else { return None };
                let seconds = (last.0 - before.0) as f64 / 1000.0;
                match name {
                    "idelta" => last.1 - before.1,
                    _ if last.1 < before.1 => last.1 / seconds,
                    _ => (last.1 - before.1) / seconds,
                }
            }
            "rate" | "increase" | "delta" => {
                if w.len() < 2 {
                    return None;
                }
                let counter = name != "delta";
                let lost: f64 = pairs().filter(|p| counter && p[1] < p[0]).map(|p| p[0]).sum();
                let growth = last.1 - first.1 + lost;
                // In seconds, as whether a gap is 1.1 averages long can depend on the last bit.
                let seconds = |ms: i64| ms as f64 / 1000.0;
                let sampled = seconds(last.0 - first.0);
                let average = sampled / (n - 1.0);
                let stretch = |gap: f64| if gap >= 1.1 * average { average / 2.0 } else { gap };
                let mut to_start = stretch(seconds(first.0 - (end - range)));
                if counter && growth > 0.0 && first.1 >= 0.0 {
                    to_start = to_start.min(sampled * first.1 / growth);
                }
                let to_end = stretch(seconds(end - last.0));
                let whole = growth * (sampled + to_start + to_end) / sampled;
                if name == "rate" { whole / (range as f64 / 1000.0) } else { whole }
            }
            "quantile_over_time" => {
                let mut sorted = values.clone();
                sorted.sort_by(f64::total_cmp);
                let rank = 0.7 * (n - 1.0);
                let (low, part) = (rank.floor() as usize, rank.fract());
                let high = (low + 1).min(sorted.len() - 1);
                sorted[low] * (1.0 - part) + sorted[high] * part
            }
            "double_exponential_smoothing" => {
                let (mut level, mut slope) = (first.1, values.get(1)? - first.1);
                for (i, v) in values.iter().enumerate().skip(1) {
                    let next = 0.3 * v + 0.7 * (level + slope);
                    // The slope that the first two samples have is the first.
                    if i + 1 < values.len() {
                        slope = 0.6 * (next - level) + 0.4 * slope;
                    }
                    level = next;
                }
                level
            }
            other => panic!("no model of {other}"),
        })
    }
}

const FUNCTIONS: &[&str] = &[
    "count_over_time",
    "present_over_time",
    "sum_over_time",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "first_over_time",
    "last_over_time",
    "stdvar_over_time",
    "stddev_over_time",
    "changes",
    "resets",
    "ts_of_last_over_time",
    "ts_of_first_over_time",
    "ts_of_max_over_time",
    "idelta",
    "irate",
    "rate",
    "increase",
    "delta",
    "quantile_over_time",
    "double_exponential_smoothing",
];

fn same(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0) || a.to_bits() == b.to_bits()
}

/// Times mostly in whole seconds, so that samples often stand exactly at a window's end.
fn time(range: std::ops::Range<i64>) -> impl Strategy<Value = i64> {
    let seconds = (range.start / 1000)..(range.end / 1000);
    prop_oneof![5 => seconds.prop_map(|s| s * 1000), 1 => range].prop_filter("not zero", |t| *t != 0)
}

/// Samples at uneven distances, with resets, repeats and staleness markers.
fn samples() -> impl Strategy<Value = Samples> {
    prop::collection::vec(
        (time(1..40_000), prop_oneof![6 => (0u32..50).prop_map(f64::from), 1 => Just(stale_nan())]),
        0..60,
    )
    .prop_map(|steps| {
        let mut time = 0;
        steps
            .into_iter()
            .map(|(gap, v)| {
                time += gap;
                (time, v)
            })
            .collect()
    })
}

fn store(series: &[Samples]) -> MemoryReader {
    let mut store = MemoryReader::new();
    for (i, samples) in series.iter().enumerate() {
        let labels = Labels::from_pairs([
            ("__name__", "m_total"),
            ("i", &i.to_string()),
            ("odd", &(i % 2).to_string()),
        ]);
        for (t, v) in samples {
            store.push_labels(&labels, *t, *v);
        }
    }
    store
}

/// Compares a range query's answer with `expected(series, time)`.
fn compare(
    output: &QueryOutput,
    series: usize,
    times: (i64, i64, i64),
    expected: impl Fn(usize, i64) -> Option<f64>,
) -> Result<(), TestCaseError> {
    let Value::Matrix(got) = &output.value else { panic!("a matrix") };
    for i in 0..series {
        let found = got.iter().find(|s| s.labels.get("i") == Some(&i.to_string()));
        let mut points = found.map_or(&[][..], |s| &s.points[..]).iter().peekable();
        let mut time = times.0;
        while time <= times.1 {
            let got = points.next_if(|p| p.time_ms == time).map(|p| p.value);
            let want = expected(i, time);
            let equal = match (got, want) {
                (Some(g), Some(w)) => same(g, w),
                (None, None) => true,
                _ => false,
            };
            prop_assert!(equal, "series {i} at {time}: got {got:?}, want {want:?}");
            time += times.2;
        }
        prop_assert!(points.next().is_none(), "a point at a time that was not asked for");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn functions_over_ranges_agree_with_the_model(
        series in prop::collection::vec(samples(), 1..4),
        start in time(0..300_000),
        step in time(1..90_000),
        window in time(1..400_000),
        offset in time(-60_000..60_000),
    ) {
        let store = store(&series);
        let times = (start, start + 12 * step, step);
        for function in FUNCTIONS {
            let range_text = format!("m_total[{window}ms] offset {offset}ms");
            let query = match *function {
                "quantile_over_time" => format!("quantile_over_time(0.7, {range_text})"),
                "double_exponential_smoothing" => format!("double_exponential_smoothing({range_text}, 0.3, 0.6)"),
                f => format!("{f}({range_text})"),
            };
            let output = range(&store, &query, times).expect(&query);
            compare(&output, series.len(), times, |i, time| {
                let end = time - offset;
                naive::function(function, &naive::window(&series[i], end, window), end, window)
            })
            .map_err(|e| TestCaseError::fail(format!("{query}: {e}")))?;
        }
    }

    #[test]
    fn selectors_and_subqueries_agree_with_the_model(
        series in prop::collection::vec(samples(), 1..4),
        start in time(0..300_000),
        step in time(1..90_000),
        window in time(10_000..400_000),
        inner in time(5_000..60_000),
    ) {
        let store = store(&series);
        let times = (start, start + 9 * step, step);
        let lookback = EngineConfig::default().lookback_ms;
        let output = range(&store, "m_total", times).expect("evaluates");
        compare(&output, series.len(), times, |i, t| naive::newest(&series[i], t, lookback))?;
        let query = format!("rate(m_total[{window}ms:{inner}ms])");
        let output = range(&store, &query, times).expect("evaluates");
        compare(&output, series.len(), times, |i, time| {
            let from = (time - window).div_euclid(inner) + 1;
            let points: Samples = (from..=time.div_euclid(inner))
                .filter_map(|k| Some((k * inner, naive::newest(&series[i], k * inner, lookback)?)))
                .collect();
            naive::function("rate", &points, time, window)
        })
        .map_err(|e| TestCaseError::fail(format!("{query}: {e}")))?;
    }

    #[test]
    fn aggregations_and_matches_agree_with_the_model(
        series in prop::collection::vec(samples(), 1..6),
        start in time(0..300_000),
        step in time(1..90_000),
    ) {
        let store = store(&series);
        let times = (start, start + 9 * step, step);
        let lookback = EngineConfig::default().lookback_ms;
        let values = |odd: usize, t: i64| -> Vec<f64> {
            (odd..series.len()).step_by(2).filter_map(|i| naive::newest(&series[i], t, lookback)).collect()
        };
        for op in ["sum", "avg", "min", "max", "count", "group", "stdvar"] {
            let output = range(&store, &format!("{op} by (odd) (m_total)"), times).expect("evaluates");
            let Value::Matrix(got) = output.value else { panic!("a matrix") };
            for odd in 0..2 {
                let points: Vec<(i64, f64)> = (got.iter().filter(|s| s.labels.get("odd") == Some(&odd.to_string())))
                    .flat_map(|s| s.points.iter().map(|p| (p.time_ms, p.value)))
                    .collect();
                let mut want = Vec::new();
                for k in 0..10 {
                    let t = start + k * step;
                    let v = values(odd, t);
                    let n = v.len() as f64;
                    let mean = v.iter().sum::<f64>() / n;
                    if v.is_empty() {
                        continue;
                    }
                    want.push((t, match op {
                        "sum" => v.iter().sum(),
                        "avg" => mean,
                        "min" => v.iter().copied().fold(f64::NAN, f64::min),
                        "max" => v.iter().copied().fold(f64::NAN, f64::max),
                        "count" => n,
                        "group" => 1.0,
                        _ => v.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n,
                    }));
                }
                prop_assert_eq!(points.len(), want.len());
                for (g, w) in points.iter().zip(&want) {
                    prop_assert!(g.0 == w.0 && same(g.1, w.1), "{op} {odd}: got {g:?}, want {w:?}");
                }
            }
        }
        let output = range(&store, "m_total - on (i) (m_total offset 30s > 20)", times).expect("evaluates");
        compare(&output, series.len(), times, |i, t| {
            let right = naive::newest(&series[i], t - 30_000, lookback).filter(|v| *v > 20.0)?;
            Some(naive::newest(&series[i], t, lookback)? - right)
        })?;
        let output = range(&store, "m_total > 25 or m_total < 10 unless m_total == 3", times).expect("evaluates");
        compare(&output, series.len(), times, |i, t| {
            naive::newest(&series[i], t, lookback).filter(|v| *v > 25.0 || (*v < 10.0 && *v != 3.0))
        })?;
    }

    /// What goes through many times together, or holds only the few that have something, gives the
    /// same as one time after the other.
    #[test]
    fn ranges_are_as_their_times(
        series in prop::collection::vec(samples(), 1..6),
        start in time(0..300_000),
        step in time(1..20_000),
    ) {
        let store = store(&series);
        let times = (start, start + 69 * step, step);
        for query in [
            "topk(2, m_total)",
            "bottomk by (odd) (1, m_total)",
            "topk(scalar(count(m_total) or vector(3)) - 2, m_total)",
            "count_values by (odd) ('v', m_total)",
            "count_values without (i) ('odd', m_total % 2)",
            "double_exponential_smoothing(m_total[1m], 0.3, 0.6)",
            "m_total and m_total{i='9',odd='1'}",
            "m_total{i='9',odd='1'} and m_total",
            "m_total unless m_total{i='9',odd='1'}",
            "m_total{i='9',odd='1'} unless m_total",
            "m_total or m_total{i='9',odd='1'}",
            "m_total{i='9',odd='1'} or m_total",
            "m_total - on (i) m_total{i='9',odd='1'}",
            "m_total{i='9',odd='1'} - on (i) (m_total > 10)",
            "m_total + fill_right(1) m_total{i='9',odd='1'}",
        ] {
            let Value::Matrix(wide) = range(&store, query, times).expect(query).value else { panic!("a matrix") };
            let mut points = 0;
            for k in 0..70 {
                let time_ms = start + k * step;
                let Value::Vector(at) = instant(&store, query, time_ms).expect(query).value else { panic!("a vector") };
                for sample in &at {
                    let found = wide.iter().find(|s| s.labels == sample.labels);
                    let found = found.and_then(|s| s.points.iter().find(|p| p.time_ms == time_ms));
                    prop_assert_eq!(found.map(|p| p.value.to_bits()), Some(sample.value.to_bits()), "{} at {}", query, time_ms);
                }
                points += at.len();
            }
            prop_assert_eq!(wide.iter().map(|s| s.points.len()).sum::<usize>(), points, "{}", query);
        }
    }

    /// Whatever is asked in whatever order: an answer or an error, never a panic; and the same
    /// answer at one time as within a range.
    #[test]
    fn any_tree_of_functions_is_answered(choices in prop::collection::vec(0usize..64, 1..12), time in -1000i64..400_000) {
        let series = [vec![(0, 1.0), (10_000, f64::NAN), (20_000, 4.0), (31_000, f64::INFINITY), (47_000, 0.5)]];
        let mut store = store(&series);
        store.push(&[("__name__", "h_bucket"), ("le", "1")], 0, 3.0);
        store.push(&[("__name__", "h_bucket"), ("le", "+Inf")], 0, 2.0);
        store.push(&[("__name__", "h_bucket"), ("le", "x")], 0, 2.0);
        let query = tree(&mut choices.into_iter());
        if let Ok(output) = instant(&store, &query, time)
            && let Value::Vector(samples) = output.value
            && let Ok(wide) = range(&store, &query, (time - 7000, time + 7000, 7000))
            && let Value::Matrix(wide) = wide.value
        {
            for sample in samples {
                let found = wide.iter().find(|s| s.labels == sample.labels).and_then(|s| s.points.iter().find(|p| p.time_ms == time));
                prop_assert!(found.is_some_and(|p| same(p.value, sample.value) || (p.value.is_nan() && sample.value.is_nan())), "{query}: {sample:?} {found:?}");
            }
        }
    }
}

/// Makes a vector expression of numbers.
fn tree(choices: &mut impl Iterator<Item = usize>) -> String {
    let Some(choice) = choices.next() else { return "m_total".to_owned() };
    let mut next = || tree(choices);
    match choice % 26 {
        0 => "h_bucket".to_owned(),
        1 => "{__name__=~\".+\"}".to_owned(),
        2 => format!("abs({})", next()),
        3 => format!("sum by (i) ({})", next()),
        4 => format!("topk(scalar(m_total), {})", next()),
        5 => format!("{} + {}", next(), next()),
        6 => format!("{} or {}", next(), next()),
        7 => format!("({} > bool on (i) group_left {})", next(), next()),
        8 => format!("histogram_quantile(0.9, {})", next()),
        9 => format!("rate(({})[30s:7s])", next()),
        10 => format!("quantile_over_time(2, ({})[30s:7s] offset -5s)", next()),
        11 => format!("label_replace({}, 'i', '$1$9', 'odd', '(.*)')", next()),
        12 => format!("count_values('i', {})", next()),
        13 => format!("absent({})", next()),
        14 => format!("predict_linear(({})[1m:9s] @ 20, 60)", next()),
        15 => format!("round({}, 0)", next()),
        16 => format!("clamp({}, NaN, 3)", next()),
        17 => format!("histogram_fraction(-Inf, 0.5, {})", next()),
        18 => format!("year({})", next()),
        19 => format!("limit_ratio(-0.5, {})", next()),
        20 => format!("double_exponential_smoothing(({})[1m:5s], 0.5, 0.5)", next()),
        21 => format!("quantile(0.5, {})", next()),
        22 => format!("-{} ^ 2", next()),
        23 => format!("info({})", next()),
        24 => format!("{} * fill(2) {}", next(), next()),
        _ => format!("avg without (le) ({}) % scalar({})", next(), next()),
    }
}

fn some_series(count: usize, samples: i64) -> MemoryReader {
    let all: Vec<Samples> =
        (0..count).map(|_| (0..samples).map(|t| (t * 1000, t as f64)).collect()).collect();
    store(&all)
}

#[test]
fn limits_are_kept() {
    let store = some_series(50, 100);
    let engine = Engine::new(EngineConfig::default());
    let run = |query: &str, limits: Limits, times| {
        engine.range(&store, &parse(query).expect("valid"), times, &limits, &Cancel::new())
    };
    let few = Limits { samples_max: 1000, ..Limits::default() };
    let wide = (0, 99_000, 1000);
    assert!(matches!(run("m_total", few, wide), Err(QueryError::TooManySamples)));
    // Series that are summed up are not held.
    assert!(run("sum(m_total)", few, wide).is_ok());
    assert!(matches!(run("sum(sum_over_time(m_total[1y:1ms]))", few, wide), Err(QueryError::TooManySamples)));
    // What an operator has used up no longer counts.
    let some = Limits { samples_max: 22_000, ..Limits::default() };
    let chain = format!("m_total{}", " and m_total".repeat(20));
    assert!(run(&chain, some, wide).is_ok());
    assert!(run(&format!("{}m_total{}", "topk(1, ".repeat(20), ")".repeat(20)), some, wide).is_ok());
    let error = run("m_total", Limits::default(), (0, 11_001_000, 1000)).expect_err("too many steps");
    assert!(
        error.to_string().starts_with("exceeded maximum resolution of 11,000 points per timeseries"),
        "{error}"
    );
    assert_eq!(error.error_type(), "bad_data");
    assert!(run("m_total", Limits::default(), (0, 11_000_000, 1000)).is_ok());
    let narrow = Limits { series_max: 10, ..Limits::default() };
    assert!(matches!(run("m_total", narrow, wide), Err(QueryError::Storage(_))));
    for times in [(0, -1, 1), (0, 1, 0), (0, 1, -1), (i64::MIN, i64::MAX, 1), (0, i64::MAX, 1)] {
        assert!(matches!(run("m_total", Limits::default(), times), Err(QueryError::Invalid(_))), "{times:?}");
    }
}

#[test]
fn queries_are_stopped() {
    let store = some_series(3, 10);
    let engine = Engine::new(EngineConfig::default());
    let expr = parse("sum(m_total)").expect("valid");
    let canceled = Cancel::new();
    canceled.cancel();
    let result = engine.instant(&store, &expr, 0, &Limits::default(), &canceled);
    assert!(matches!(result, Err(QueryError::Canceled)));
    let result = engine.instant(&store, &expr, 0, &Limits::default(), &Cancel::with_deadline(|| true));
    assert!(matches!(result, Err(QueryError::Timeout)));
}

#[test]
fn extreme_times_and_durations_do_not_overflow() {
    let store = some_series(1, 10);
    for query in [
        "m_total @ 1e15",
        "m_total @ -1e15",
        "m_total offset 290y",
        "m_total offset -290y",
        "rate(m_total[290y])",
        "rate(m_total[290y] offset -290y @ 1e15)",
        "m_total offset (290y * 290y)",
        "rate(m_total[1 / 0])",
        "rate(m_total[1 % 0])",
        "rate(m_total[step()])",
        "rate(m_total[9223372036])",
        "sum_over_time(m_total[290y:290y])",
        "year(m_total * 1e300)",
        "predict_linear(m_total[1m], 1e300)",
    ] {
        for time in [0, 5_000, -5_000, i64::MAX / 8, i64::MIN / 8] {
            // An answer or an error.
            let _ = instant(&store, query, time);
        }
    }
    let error = instant(&store, "rate(m_total[1 / 0])", 0).expect_err("division by zero");
    assert!(error.to_string().contains("division by zero"), "{error}");
}

/// The deepest trees are evaluated on a thread with Rust's usual stack.
#[test]
fn the_deepest_expressions_fit_a_small_stack() {
    let run = || {
        let store = some_series(2, 10);
        let depth = DEPTH_MAX as usize - 10;
        for query in [
            format!("{}m_total{}", "(".repeat(depth), ")".repeat(depth)),
            format!("{}m_total{}", "abs(".repeat(depth), ")".repeat(depth)),
            format!("{}m_total{}", "sum by (i) (".repeat(depth), ")".repeat(depth)),
            format!("{}m_total{}", "label_replace(".repeat(depth), ",'a','','b','')".repeat(depth)),
            format!("{}m_total{}", "sum_over_time(".repeat(depth / 2), "[1s:1s])".repeat(depth / 2)),
            format!("m_total{}", " or m_total".repeat(depth)),
            format!("m_total{}", " + m_total".repeat(depth)),
            format!("m_total{}", " ^ on (i) m_total".repeat(depth)),
            format!("{}m_total{}", "topk(1, ".repeat(depth), ")".repeat(depth)),
            format!("1{}", " + 1".repeat(depth)),
        ] {
            instant(&store, &query, 5000).unwrap_or_else(|e| panic!("{}: {e}", &query[..40]));
        }
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).expect("spawns");
    thread.join().expect("no overflow");
}

#[test]
fn annotations_name_text_and_place() {
    let mut store = MemoryReader::new();
    for t in 0..10 {
        store.push(&[("__name__", "queue_length")], t * 1000, t as f64);
    }
    let output = instant(&store, "sum(\n  rate(queue_length[5s])\n)", 9000).expect("evaluates");
    let infos: Vec<String> = output.infos.iter().map(ToString::to_string).collect();
    assert_eq!(
        infos,
        [
            "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"queue_length\" (2:8)"
        ]
    );
    assert!(output.warnings.is_empty());
    assert_eq!((output.stats.series_selected, output.stats.samples_read), (1, 5));
}

/// A chain of operators is evaluated whatever its length, on a stack that would not bear recursion.
#[test]
fn long_chains_of_operators_are_evaluated() {
    let run = || {
        let mut store = MemoryReader::new();
        for (job, value) in [("a", 1.0), ("b", 2.0)] {
            (0..10).for_each(|i| store.push(&[("__name__", "x"), ("job", job)], i * 60_000, value));
        }
        let values = |query: &str| -> Vec<Vec<f64>> {
            let Value::Vector(samples) = instant(&store, query, 60_000).expect("evaluates").value else {
                panic!("a vector")
            };
            let Value::Matrix(series) =
                range(&store, query, (60_000, 120_000, 60_000)).expect("evaluates").value
            else {
                panic!("a matrix")
            };
            assert_eq!(samples.len(), series.len());
            series.iter().map(|s| s.points.iter().map(|p| p.value).collect()).collect()
        };
        let chain = |first: &str, link: &str| format!("{first}{}", link.repeat(5_000));
        assert_eq!(values(&chain("x", " + x")), [[5_001.0; 2], [10_002.0; 2]]);
        assert_eq!(values(&chain("x", " + 1 - 2")), [[-4_999.0; 2], [-4_998.0; 2]]);
        assert_eq!(values(&chain("2", " + 3 * x")), [[15_002.0; 2], [30_002.0; 2]]);
        assert_eq!(values(&chain("x", " or x")), [[1.0; 2], [2.0; 2]]);
        assert_eq!(values(&format!("vector({})", chain("0", " + 1"))), [[5_000.0; 2]]);
        // Chains on the right side of chains, and within what is evaluated at other times.
        let inner = format!("x{}", " + 0".repeat(30));
        let outer = format!("x{}", format!(" + last_over_time(({inner})[2m:1m])").repeat(30));
        assert_eq!(values(&outer), [[31.0; 2], [62.0; 2]]);
        assert_eq!(
            values(&format!("({inner}) * on (job) ({inner}){}", " - 0".repeat(20))),
            [[1.0; 2], [4.0; 2]]
        );
    };
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(run).expect("spawns");
    thread.join().expect("no overflow");
}
