//! Compares two answers of Prometheus' HTTP API.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// How exactly answers must agree.
#[derive(Debug, Clone, Copy)]
pub struct Strictness {
    /// Largest difference of two numbers, relative to the larger one.
    pub tolerance: f64,
    /// Whether texts of errors, warnings and infos count.
    pub texts: bool,
    /// What the order of an instant vector must be.
    pub order: Order,
}

/// The order of an instant vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It has no meaning.
    Any,
    /// By value; elements of the same value may change places.
    Values,
    /// By labels.
    Labels,
}

/// In what two answers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// One is an error.
    Outcome,
    /// The kind of error.
    ErrorType,
    /// The text of an error.
    ErrorText,
    /// Scalar, string, vector or matrix.
    ResultType,
    /// Which series there are.
    Labels,
    /// The times of points.
    Times,
    /// The numbers.
    Values,
    /// The order of elements.
    Order,
    /// Warnings and infos.
    Annotations,
    /// The query, formatted or parsed.
    Tree,
}

/// The first difference found.
#[derive(Debug, Clone)]
pub struct Difference {
    pub aspect: Aspect,
    pub theirs: String,
    pub ours: String,
}

impl Difference {
    fn new(aspect: Aspect, theirs: &dyn ToString, ours: &dyn ToString) -> Self {
        Self { aspect, theirs: theirs.to_string(), ours: ours.to_string() }
    }
}

/// Looks for a difference, the gravest first.
pub fn compare(theirs: &Value, ours: &Value, strictness: Strictness) -> Result<(), Difference> {
    let outcome = |answer: &Value| match answer["status"] == "success" {
        true => "success".to_owned(),
        false => format!("{}: {}", text(&answer["errorType"]), text(&answer["error"])),
    };
    if theirs["status"] != ours["status"] {
        return Err(Difference::new(Aspect::Outcome, &outcome(theirs), &outcome(ours)));
    }
    if theirs["status"] != "success" {
        if theirs["errorType"] != ours["errorType"] {
            return Err(Difference::new(Aspect::ErrorType, &outcome(theirs), &outcome(ours)));
        }
        let texts = [theirs, ours].map(|answer| without_labels(text(&answer["error"])));
        if strictness.texts && texts[0] != texts[1] {
            return Err(Difference::new(Aspect::ErrorText, &outcome(theirs), &outcome(ours)));
        }
        return Ok(());
    }
    let (left, right) = (&theirs["data"], &ours["data"]);
    if left.get("resultType").is_none() {
        return tree("", left, right);
    }
    if left["resultType"] != right["resultType"] {
        return Err(Difference::new(Aspect::ResultType, &left["resultType"], &right["resultType"]));
    }
    let (result_left, result_right) = (&left["result"], &right["result"]);
    match text(&left["resultType"]) {
        "scalar" => point(result_left, result_right, strictness.tolerance)?,
        "string" if result_left != result_right => {
            return Err(Difference::new(Aspect::Values, &result_left, &result_right));
        }
        "string" => {}
        kind => elements(kind, result_left, result_right, strictness)?,
    }
    if strictness.texts {
        annotations(theirs, ours)?;
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Which of several series an error names first is chance.
fn without_labels(text: &str) -> String {
    let (mut out, mut depth) = (String::new(), 0_u32);
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

/// An element's labels as text that is the same for the same labels.
fn labels(element: &Value) -> String {
    let pairs: BTreeMap<_, _> = element["metric"].as_object().into_iter().flatten().collect();
    serde_json::to_string(&pairs).unwrap_or_default()
}

fn elements(kind: &str, theirs: &Value, ours: &Value, strictness: Strictness) -> Result<(), Difference> {
    let (theirs, ours) = (list(theirs), list(ours));
    let by_labels = |elements: &[Value]| -> Vec<(String, usize)> {
        let mut order: Vec<_> = elements.iter().enumerate().map(|(i, e)| (labels(e), i)).collect();
        order.sort();
        order
    };
    let (left, right) = (by_labels(theirs), by_labels(ours));
    let names = |side: &[(String, usize)], other: &[(String, usize)]| {
        let missing: Vec<&str> = side
            .iter()
            .filter(|(n, _)| !other.iter().any(|(o, _)| o == n))
            .map(|(n, _)| n.as_str())
            .collect();
        format!("{} series, these only here: {}", side.len(), missing.join(" "))
    };
    if !left.iter().map(|(n, _)| n).eq(right.iter().map(|(n, _)| n)) {
        return Err(Difference::new(Aspect::Labels, &names(&left, &right), &names(&right, &left)));
    }
    for ((name, i), (_, j)) in left.iter().zip(&right) {
        element(&theirs[*i], &ours[*j], strictness.tolerance).map_err(|difference| Difference {
            theirs: format!("{name} {}", difference.theirs),
            ours: format!("{name} {}", difference.ours),
            ..difference
        })?;
    }
    let sequence = |elements: &[Value]| -> String {
        let key = |e: &Value| match strictness.order {
            Order::Values => text(&e["value"][1]).to_owned(),
            _ => labels(e),
        };
        elements.iter().map(key).collect::<Vec<_>>().join(" ")
    };
    // Elements of a vector have an order only if the query asks for one.
    if kind == "matrix" || strictness.order != Order::Any {
        let strictness_order = if kind == "matrix" { Order::Labels } else { strictness.order };
        let exact = strictness_order == Order::Labels;
        let same = if exact {
            theirs.iter().map(labels).eq(ours.iter().map(labels))
        } else {
            theirs
                .iter()
                .zip(ours)
                .all(|(a, b)| histogram_or_number(&a["value"][1], &b["value"][1], strictness.tolerance))
        };
        if !same {
            return Err(Difference::new(Aspect::Order, &sequence(theirs), &sequence(ours)));
        }
    }
    Ok(())
}

/// One series, or one element of a vector.
fn element(theirs: &Value, ours: &Value, tolerance: f64) -> Result<(), Difference> {
    for (one, many) in [("value", "values"), ("histogram", "histograms")] {
        if theirs[one].is_array() || ours[one].is_array() {
            point(&theirs[one], &ours[one], tolerance)?;
        }
        let (left, right) = (list(&theirs[many]), list(&ours[many]));
        if !left.iter().map(|p| &p[0]).eq(right.iter().map(|p| &p[0])) {
            let times = |points: &[Value]| {
                let times: Vec<String> = points.iter().map(|p| p[0].to_string()).collect();
                format!("{} {many} at {}", times.len(), times.join(" "))
            };
            return Err(Difference::new(Aspect::Times, &times(left), &times(right)));
        }
        for (left, right) in left.iter().zip(right) {
            point(left, right, tolerance)?;
        }
    }
    Ok(())
}

/// Time and number, or time and histogram.
fn point(theirs: &Value, ours: &Value, tolerance: f64) -> Result<(), Difference> {
    if theirs[0] != ours[0] {
        return Err(Difference::new(Aspect::Times, &theirs, &ours));
    }
    if !histogram_or_number(&theirs[1], &ours[1], tolerance) {
        return Err(Difference::new(Aspect::Values, &theirs, &ours));
    }
    Ok(())
}

fn histogram_or_number(theirs: &Value, ours: &Value, tolerance: f64) -> bool {
    if !theirs.is_object() || !ours.is_object() {
        return number(theirs, ours, tolerance);
    }
    let (left, right) = (list(&theirs["buckets"]), list(&ours["buckets"]));
    number(&theirs["count"], &ours["count"], tolerance)
        && number(&theirs["sum"], &ours["sum"], tolerance)
        && left.len() == right.len()
        && left.iter().zip(right).all(|(left, right)| {
            left[0] == right[0] && (1..4).all(|i| number(&left[i], &right[i], tolerance))
        })
}

/// Numbers stand in strings.
fn number(theirs: &Value, ours: &Value, tolerance: f64) -> bool {
    let (Some(left), Some(right)) = (theirs.as_str(), ours.as_str()) else { return theirs == ours };
    let (Ok(a), Ok(b)) = (left.parse::<f64>(), right.parse::<f64>()) else { return left == right };
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= tolerance * a.abs().max(b.abs()).min(f64::MAX)
}

/// The first place where what is no result differs.
fn tree(path: &str, theirs: &Value, ours: &Value) -> Result<(), Difference> {
    match (theirs, ours) {
        (Value::Object(left), Value::Object(right)) if left.keys().all(|key| right.contains_key(key)) => {
            if let Some(key) = right.keys().find(|key| !left.contains_key(*key)) {
                return Err(Difference::new(Aspect::Tree, &format!("{path} without {key}"), &ours));
            }
            left.iter().try_for_each(|(key, value)| tree(&format!("{path}/{key}"), value, &right[key]))
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => left
            .iter()
            .zip(right)
            .enumerate()
            .try_for_each(|(i, (left, right))| tree(&format!("{path}/{i}"), left, right)),
        _ if theirs == ours => Ok(()),
        _ => Err(Difference::new(Aspect::Tree, &format!("{path} {theirs}"), &format!("{path} {ours}"))),
    }
}

/// Without how many samples were repaired: Prometheus counts them again with every step.
fn without_count(note: &str) -> String {
    match (note.find(", over "), note.find(" samples from ")) {
        (Some(start), Some(end)) if start < end => note[..start].to_owned() + &note[end..],
        _ => note.to_owned(),
    }
}

fn annotations(theirs: &Value, ours: &Value) -> Result<(), Difference> {
    for kind in ["warnings", "infos"] {
        let sets = [theirs, ours].map(|answer| -> BTreeSet<String> {
            list(&answer[kind]).iter().map(|note| without_count(text(note))).collect()
        });
        // Of more than ten, Prometheus tells any ten, and how many more there are.
        let mut few = sets[0].clone();
        few.retain(|note| !note.ends_with(" annotations omitted"));
        let more = sets[0].iter().find_map(|note| note.strip_suffix(" annotations omitted"));
        let more = more.and_then(|note| note.split(' ').next()?.parse::<usize>().ok());
        if more.is_some_and(|more| few.is_subset(&sets[1]) && few.len() + more == sets[1].len()) {
            continue;
        }
        if sets[0] != sets[1] {
            let show = |set: &BTreeSet<String>| format!("{kind} {set:?}");
            return Err(Difference::new(Aspect::Annotations, &show(&sets[0]), &show(&sets[1])));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EXACT: Strictness = Strictness { tolerance: 1e-9, texts: true, order: Order::Any };

    fn vector(elements: &Value) -> Value {
        json!({"status": "success", "data": {"resultType": "vector", "result": elements}})
    }

    fn aspect(theirs: &Value, ours: &Value) -> Option<Aspect> {
        compare(theirs, ours, EXACT).err().map(|d| d.aspect)
    }

    #[test]
    fn every_aspect_is_seen() {
        let one = vector(&json!([{"metric": {"a": "1", "b": "2"}, "value": [1.5, "0.1"]}]));
        let turned =
            vector(&json!([{"metric": {"b": "2", "a": "1"}, "value": [1.5, "0.10000000000000001"]}]));
        assert_eq!(aspect(&one, &turned), None);
        for (aspect_seen, other) in [
            (Aspect::Labels, vector(&json!([]))),
            (Aspect::Labels, vector(&json!([{"metric": {"a": "1"}, "value": [1.5, "0.1"]}]))),
            (Aspect::Times, vector(&json!([{"metric": {"a": "1", "b": "2"}, "value": [1.6, "0.1"]}]))),
            (Aspect::Values, vector(&json!([{"metric": {"a": "1", "b": "2"}, "value": [1.5, "0.1000001"]}]))),
            (Aspect::Values, vector(&json!([{"metric": {"a": "1", "b": "2"}, "value": [1.5, "NaN"]}]))),
            (
                Aspect::ResultType,
                json!({"status": "success", "data": {"resultType": "matrix", "result": []}}),
            ),
            (Aspect::Outcome, json!({"status": "error", "errorType": "execution", "error": "no"})),
        ] {
            assert_eq!(aspect(&one, &other), Some(aspect_seen), "{other}");
            assert_eq!(aspect(&other, &one), Some(aspect_seen), "{other}");
        }
        let tree = |expr: &Value| json!({"status": "success", "data": expr});
        let sum = tree(&json!({"op": "sum", "expr": {"grouping": ["a"]}}));
        assert_eq!(aspect(&sum, &sum), None);
        for other in [json!({"op": "sum", "expr": {"grouping": ["b"]}}), json!({"op": "sum"}), json!("sum")] {
            assert_eq!(aspect(&sum, &tree(&other)), Some(Aspect::Tree), "{other}");
            assert_eq!(aspect(&tree(&other), &sum), Some(Aspect::Tree), "{other}");
        }
        let mut warned = one.clone();
        warned["warnings"] = json!(["mind (1:2)"]);
        assert_eq!(aspect(&one, &warned), Some(Aspect::Annotations));
    }

    #[test]
    fn order_counts_where_it_is_asked_for() {
        let make = |elements: &[(&str, &str)]| {
            vector(&elements.iter().map(|(l, v)| json!({"metric": {"a": l}, "value": [1, v]})).collect())
        };
        let (one, other) =
            (make(&[("x", "1"), ("y", "1"), ("z", "2")]), make(&[("y", "1"), ("x", "1"), ("z", "2")]));
        assert_eq!(aspect(&one, &other), None);
        let with = |order| compare(&one, &other, Strictness { order, ..EXACT }).err().map(|d| d.aspect);
        assert_eq!(with(Order::Values), None);
        assert_eq!(with(Order::Labels), Some(Aspect::Order));
    }

    #[test]
    fn errors_that_name_other_series_are_the_same() {
        let error = |text: &str| json!({"status": "error", "errorType": "execution", "error": text});
        let one = error("found {a=\"1\"} twice: [{b=\"1\"}, {b=\"2\"}]");
        assert_eq!(aspect(&one, &error("found {a=\"2\"} twice: [{b=\"3\"}, {b=\"4\"}]")), None);
        assert_eq!(aspect(&one, &error("found {} once: [, ]")), Some(Aspect::ErrorText));
    }
}
