//! Runs the commands of a script and compares answers.

use std::sync::Arc;

use vedette_model::{Labels, is_stale};
use vedette_promql::{
    Annotation, Cancel, Engine, EngineConfig, Expr, ExprKind, Limits, QueryError, QueryOutput, Sample,
    Series, Value, ast::At, memory::MemoryReader, parse,
};

use crate::{
    histogram,
    script::{Command, CommandKind, Eval, Expect, Loaded, Point, Text, Time},
};

/// Values may differ by this share of themselves.
const TOLERANCE: f64 = 1e-6;

/// Runs a script; gives the numbers of passed and failed cases.
pub fn run(name: &str, commands: &[Command]) -> (usize, usize) {
    let engine = Engine::new(EngineConfig::default());
    let mut store = MemoryReader::new();
    let (mut passed, mut failed) = (0, 0);
    for command in commands {
        match &command.kind {
            CommandKind::Clear => store.clear(),
            CommandKind::Load { step_ms, series } => {
                for Loaded { labels, points, starts_ms } in series {
                    for (i, point) in points.iter().enumerate() {
                        let time = step_ms * i as i64;
                        let value = match point {
                            Point::Gap => continue,
                            Point::Value(v) => Ok(*v),
                            Point::Histogram(h, _) => Err(Arc::new(h.to_native())),
                        };
                        let start = starts_ms.get(i).copied().flatten().map_or(0, |offset| time + offset);
                        store.push_since(labels, time, start, value);
                    }
                }
            }
            CommandKind::Eval(eval) => match (Case { engine: &engine, store: &store, eval }).check() {
                Ok(()) => passed += 1,
                Err(e) => {
                    failed += 1;
                    println!("FAILED {name}:{}: {}\n    {e}", command.line, eval.query);
                }
            },
        }
    }
    (passed, failed)
}

struct Case<'c> {
    engine: &'c Engine,
    store: &'c MemoryReader,
    eval: &'c Eval,
}

type Check = Result<(), String>;

impl Case<'_> {
    fn check(&self) -> Check {
        let result = parse(&self.eval.query).map_err(QueryError::from).and_then(|expr| {
            let output = self.evaluate(&expr, self.eval.time)?;
            Ok((expr, output))
        });
        let fail = self.eval.expect.iter().find_map(|e| if let Expect::Fail(t) = e { Some(t) } else { None });
        match (result, fail) {
            (Err(e), Some(text)) => {
                if matches!(e, QueryError::Unsupported { .. }) {
                    return Err(e.to_string());
                }
                // Messages of the scripts carry no position.
                let message = e.to_string();
                let bare = message.split_once("parse error: ").map_or(&message[..], |(_, m)| m);
                if matches(text, bare) {
                    Ok(())
                } else {
                    Err(format!("failed as it should, but with: {message}"))
                }
            }
            (Err(e), None) => Err(format!("error: {e}")),
            (Ok(_), Some(_)) => Err("should have failed".to_owned()),
            (Ok((expr, output)), None) => {
                self.check_annotations(&output)?;
                self.check_value(&output)?;
                self.check_as_range(&expr)?;
                self.check_pinned(&expr)
            }
        }
    }

    fn evaluate(&self, expr: &Expr, time: Time) -> Result<QueryOutput, QueryError> {
        let (limits, cancel) = (Limits::default(), Cancel::new());
        match time {
            Time::Instant(at) => self.engine.instant(self.store, expr, at, &limits, &cancel),
            Time::Range(from, to, step) => {
                self.engine.range(self.store, expr, (from, to, step), &limits, &cancel)
            }
        }
    }

    fn check_annotations(&self, output: &QueryOutput) -> Check {
        let expect = &self.eval.expect;
        let warns: Vec<&Text> =
            expect.iter().filter_map(|e| if let Expect::Warn(t) = e { Some(t) } else { None }).collect();
        let infos: Vec<&Text> =
            expect.iter().filter_map(|e| if let Expect::Info(t) = e { Some(t) } else { None }).collect();
        let none = |kind: fn(&Expect) -> bool| expect.iter().any(kind);
        compare_annotations(&warns, &output.warnings, none(|e| matches!(e, Expect::NoWarn)))?;
        compare_annotations(&infos, &output.infos, none(|e| matches!(e, Expect::NoInfo)))
    }

    fn check_value(&self, output: &QueryOutput) -> Check {
        let eval = self.eval;
        match (&output.value, eval.time) {
            (Value::Scalar { value, .. }, _) => match eval.scalar {
                Some(expected) => same("scalar", expected, *value),
                None => Err(format!("got the scalar {value}")),
            },
            (Value::String { value, .. }, _) => match &eval.text {
                Some(expected) if expected == value => Ok(()),
                expected => Err(format!("expected text {expected:?}, got {value:?}")),
            },
            (Value::Vector(samples), _) => {
                let got: Vec<_> = samples.iter().map(of_sample).collect();
                self.check_vector(&got, eval.ordered)
            }
            (Value::Matrix(series), time) => {
                let (from, step) = match (eval.range_vector, time) {
                    (Some((from, _, step)), _) => (from, step),
                    (None, Time::Range(from, _, step)) => (from, step),
                    (None, Time::Instant(_)) => return Err("got a range vector".to_owned()),
                };
                let mut left: Vec<_> = self.eval.series.iter().collect();
                let scalar;
                if let Some(value) = eval.scalar {
                    scalar = (Labels::empty(), vec![Point::Value(value)]);
                    left.push(&scalar);
                }
                for got in series {
                    let Some(place) = left.iter().position(|(labels, _)| *labels == got.labels) else {
                        return Err(format!("unexpected series {} {:?}", got.labels, got.points));
                    };
                    let (labels, points) = left.swap_remove(place);
                    let expected: Vec<(i64, Point)> = (points.iter().enumerate())
                        .map(|(i, p)| (from + step * i as i64, p.clone()))
                        .filter(|(_, p)| *p != Point::Gap)
                        .collect();
                    let got = all_points(got);
                    if expected.len() != got.len() {
                        return Err(format!("{labels}: expected {expected:?}, got {got:?}"));
                    }
                    for ((time, expected), (got_time, got)) in expected.iter().zip(&got) {
                        if time != got_time {
                            return Err(format!(
                                "{labels}: expected a point at {time}, got one at {got_time}"
                            ));
                        }
                        same_point(labels, expected, got)?;
                    }
                }
                left.retain(|(_, points)| points.iter().any(|p| *p != Point::Gap));
                match left.first() {
                    Some((labels, _)) => Err(format!("series {labels} is missing")),
                    None => Ok(()),
                }
            }
        }
    }

    fn check_vector(&self, got: &[(Labels, Point)], ordered: bool) -> Check {
        let mut left: Vec<_> = self.eval.series.iter().collect();
        let scalar;
        if let Some(value) = self.eval.scalar {
            scalar = (Labels::empty(), vec![Point::Value(value)]);
            left.push(&scalar);
        }
        for (labels, value) in got {
            let Some(place) = left.iter().position(|(l, _)| l == labels) else {
                return Err(format!("unexpected sample {labels} {value:?}"));
            };
            if ordered && place != 0 {
                return Err(format!("{labels} comes too early"));
            }
            let (labels, points) = left.remove(place);
            same_point(labels, points.first().unwrap_or(&Point::Gap), value)?;
        }
        match left.first() {
            Some((labels, points)) => Err(format!("sample {labels} {points:?} is missing")),
            None => Ok(()),
        }
    }

    fn comparable_elsewhere(&self, expr: &Expr) -> bool {
        let bounds = ["start()", "end()", "range()", "step()"];
        matches!(expr.value_type(), vedette_promql::ValueType::Vector | vedette_promql::ValueType::Scalar)
            && !self.eval.ordered
            && !bounds.iter().any(|b| self.eval.query.to_ascii_lowercase().contains(b))
    }

    /// The same answer comes out of a range query around the time.
    fn check_as_range(&self, expr: &Expr) -> Check {
        let Time::Instant(at) = self.eval.time else { return Ok(()) };
        if !self.comparable_elsewhere(expr) {
            return Ok(());
        }
        let output = match self.evaluate(expr, Time::Range(at - 60_000, at + 60_000, 60_000)) {
            Ok(output) => output,
            // At the times around something may fail that does not at this time.
            Err(QueryError::Execution(_)) => return Ok(()),
            Err(e) => return Err(format!("as a range query: {e}")),
        };
        let Value::Matrix(series) = output.value else { return Err("no matrix".to_owned()) };
        if !series.is_sorted_by(|a, b| a.labels < b.labels) {
            return Err("series are not sorted".to_owned());
        }
        let got: Vec<(Labels, Point)> = (series.iter())
            .filter_map(|s| {
                let point = all_points(s).into_iter().find(|(time, _)| *time == at)?.1;
                Some((s.labels.clone(), point))
            })
            .collect();
        self.check_vector(&got, false).map_err(|e| format!("as a range query: {e}"))
    }

    /// The same answer comes out at other times, with selectors fixed to the time by `@`.
    fn check_pinned(&self, expr: &Expr) -> Check {
        let Time::Instant(at) = self.eval.time else { return Ok(()) };
        if !self.comparable_elsewhere(expr) || depends_on_time(expr) {
            return Ok(());
        }
        let mut pinned = expr.clone();
        pin(&mut pinned, at);
        for other in [at - 100_000, at + 1, at + 7_200_000] {
            let output = self.evaluate(&pinned, Time::Instant(other)).map_err(|e| format!("with @: {e}"))?;
            let got = match output.value {
                Value::Vector(samples) => samples.iter().map(of_sample).collect(),
                Value::Scalar { value, .. } => vec![(Labels::empty(), Point::Value(value))],
                _ => return Ok(()),
            };
            self.check_vector(&got, false).map_err(|e| format!("as {pinned} at {other}: {e}"))?;
        }
        Ok(())
    }
}

fn depends_on_time(expr: &Expr) -> bool {
    let mut depends = false;
    expr.walk(&mut |e| {
        if let ExprKind::Call(call) = &e.kind {
            let name = call.function.name;
            depends |= matches!(name, "time" | "timestamp" | "predict_linear" | "start_timestamp" | "info");
            depends |= call.args.is_empty() && name != "pi";
        }
    });
    depends
}

/// Fixes all selectors and subqueries that are not inside another subquery.
fn pin(expr: &mut Expr, at: i64) {
    match &mut expr.kind {
        ExprKind::Vector(v) => _ = v.shift.at.get_or_insert(At::Time(at)),
        ExprKind::Matrix(m) => _ = m.selector.shift.at.get_or_insert(At::Time(at)),
        ExprKind::Subquery(s) => _ = s.shift.at.get_or_insert(At::Time(at)),
        ExprKind::Paren(e) | ExprKind::Unary(_, e) => pin(e, at),
        ExprKind::Binary(b) => {
            pin(&mut b.lhs, at);
            pin(&mut b.rhs, at);
        }
        ExprKind::Aggregate(a) => {
            pin(&mut a.expr, at);
            if let Some(p) = &mut a.parameter {
                pin(p, at);
            }
        }
        ExprKind::Call(c) => c.args.iter_mut().for_each(|a| pin(a, at)),
        ExprKind::Number(_) | ExprKind::String(_) => {}
    }
}

fn compare_annotations(expected: &[&Text], got: &[Annotation], none: bool) -> Check {
    if none && !got.is_empty() {
        return Err(format!("expected none, got {}", got[0]));
    }
    if expected.is_empty() {
        return Ok(());
    }
    let texts: Vec<String> = got.iter().map(ToString::to_string).collect();
    if let Some(text) = texts.iter().find(|t| !expected.iter().any(|e| matches(e, t))) {
        return Err(format!("unexpected: {text}"));
    }
    match expected.iter().find(|e| !texts.iter().any(|t| matches(e, t))) {
        Some(missing) => Err(format!("missing: {missing:?}")),
        None => Ok(()),
    }
}

fn matches(expected: &Text, got: &str) -> bool {
    match expected {
        Text::Any => true,
        Text::Exact(text) => text == got,
        Text::Regex(pattern) => regex::Regex::new(pattern).is_ok_and(|r| r.is_match(got)),
    }
}

fn of_sample(sample: &Sample) -> (Labels, Point) {
    let point = match &sample.histogram {
        Some(histogram) => Point::Histogram(Arc::clone(histogram), false),
        None => Point::Value(sample.value),
    };
    (sample.labels.clone(), point)
}

/// Floats and histograms in order of time.
fn all_points(series: &Series) -> Vec<(i64, Point)> {
    let floats = series.points.iter().map(|p| (p.time_ms, Point::Value(p.value)));
    let histograms = series.histograms.iter().map(|(t, h)| (*t, Point::Histogram(Arc::clone(h), false)));
    let mut all: Vec<_> = floats.chain(histograms).collect();
    all.sort_by_key(|(time, _)| *time);
    all
}

fn same_point(labels: &Labels, expected: &Point, got: &Point) -> Check {
    match (expected, got) {
        (Point::Value(expected), Point::Value(got)) => same(&labels.to_string(), *expected, *got),
        (Point::Histogram(expected, hint_told), Point::Histogram(got, _)) => {
            match histogram::differs(expected, *hint_told, got) {
                Some(why) => Err(format!("{labels}: {why}")),
                None => Ok(()),
            }
        }
        _ => Err(format!("{labels}: expected {expected:?}, got {got:?}")),
    }
}

fn same(what: &str, expected: f64, got: f64) -> Check {
    if is_stale(got) {
        return Err(format!("{what}: got a staleness marker"));
    }
    let equal = expected == got
        || (expected.is_nan() && got.is_nan())
        || (expected - got).abs() <= TOLERANCE * expected.abs().max(got.abs())
        || (expected - got).abs() < 1e-300;
    if equal { Ok(()) } else { Err(format!("{what}: expected {expected}, got {got}")) }
}
