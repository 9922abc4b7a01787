//! Paths into an object, as `[status, conditions, "[type=Ready]", status]`.

use serde_json::Value;

/// A way from a value to one inside it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Path(Box<[Step]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// A field of an object, an element of a list by its place, or with `name=value` that field if it has this value.
    Named(Box<str>),
    /// `[name=value]`: the first element of a list that has a field with this value.
    Lookup { name: Box<str>, value: Box<str> },
}

/// JSON is read no deeper than 128; nobody looks for anything below this.
const STEPS_MAX: usize = 32;
/// As long as the longest name of a label or annotation, which is a prefix of 253, a slash and 63.
const STEP_BYTES_MAX: usize = 317;

impl Path {
    /// Reads the steps as they are written; what is wrong is told with the remedy.
    pub(super) fn of(steps: &[String]) -> Result<Self, String> {
        if steps.len() > STEPS_MAX {
            return Err(format!("a path of {} steps is too deep; use at most {STEPS_MAX}", steps.len()));
        }
        steps.iter().map(|step| Step::of(step)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether it leads nowhere but to where it begins.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is there. What is null is not.
    pub(super) fn get<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        let found = self.0.iter().try_fold(value, |value, step| step.get(value))?;
        (!found.is_null()).then_some(found)
    }
}

/// As it is written in files, for messages.
impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[")?;
        for (at, step) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { ", " })?;
            match step {
                Step::Named(name) => f.write_str(name)?,
                Step::Lookup { name, value } => write!(f, "\"[{name}={value}]\"")?,
            }
        }
        f.write_str("]")
    }
}

impl Step {
    fn of(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > STEP_BYTES_MAX {
            return Err(format!("the step {text:?} of a path must have 1 to {STEP_BYTES_MAX} bytes"));
        }
        let Some(lookup) = text.strip_prefix('[') else { return Ok(Self::Named(text.into())) };
        match lookup.strip_suffix(']').and_then(|lookup| lookup.split_once('=')) {
            Some((name, value)) if !name.is_empty() => {
                Ok(Self::Lookup { name: name.into(), value: value.into() })
            }
            _ => Err(format!("{text:?} is no lookup in a list; write \"[name=value]\"")),
        }
    }

    fn get<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        match (self, value) {
            (Self::Named(name), Value::Object(fields)) => fields.get(&**name).or_else(|| {
                let (name, wanted) = name.split_once('=')?;
                fields.get(name).filter(|value| is(value, wanted))
            }),
            (Self::Named(place), Value::Array(elements)) => {
                let place: i64 = place.parse().ok()?;
                let place =
                    if place < 0 { place.checked_add_unsigned(elements.len() as u64)? } else { place };
                elements.get(usize::try_from(place).ok()?)
            }
            (Self::Lookup { name, value }, Value::Array(elements)) => {
                let fits = |element: &&Value| element.get(&**name).is_some_and(|found| is(found, value));
                elements.iter().find(fits)
            }
            _ => None,
        }
    }
}

/// Whether a value is what somebody wrote: numbers and truth values are compared as such.
fn is(value: &Value, written: &str) -> bool {
    match value {
        Value::String(text) => text == written,
        Value::Number(number) => written.parse::<f64>().is_ok_and(|wanted| number.as_f64() == Some(wanted)),
        Value::Bool(truth) => written.parse::<bool>().is_ok_and(|wanted| *truth == wanted),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(steps: &[&str]) -> Result<Path, String> {
        Path::of(&steps.iter().map(|step| (*step).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn paths_lead_to_what_is_there() {
        // The object and the paths of the documentation, and some that lead nowhere.
        let object = json!({
            "metadata": {"name": "foo", "labels": {"a.b/c": "dotted", "x=y": "literal"}},
            "spec": {"replicas": 1, "gone": null, "order": [{"id": 1, "value": true}, {"id": 3, "value": false}],
                "matrix": [[1, 2], [3, 4]]},
            "status": {"conditions": [{"name": "a", "value": 45}, {"name": "b", "value": 66},
                {"name": "b", "value": 67}, {"on": true, "value": "x=y"}, 5, null]},
        });
        for (steps, expected) in [
            (&["spec", "replicas"][..], json!(1)),
            (&["spec", "order", "0", "value"], json!(true)),
            (&["spec", "order", "-1", "id"], json!(3)),
            (&["spec", "matrix", "1", "0"], json!(3)),
            (&["status", "conditions", "[name=a]", "value"], json!(45)),
            (&["status", "conditions", "[value=66]", "name"], json!("b")),
            (&["status", "conditions", "[value=66.0]", "name"], json!("b")),
            (&["status", "conditions", "[name=b]", "value"], json!(66)),
            (&["status", "conditions", "[on=true]", "value"], json!("x=y")),
            (&["status", "conditions", "[value=x=y]", "on"], json!(true)),
            (&["metadata", "name=foo"], json!("foo")),
            (&["metadata", "name=bar"], json!(null)),
            (&["metadata", "labels", "a.b/c"], json!("dotted")),
            (&["metadata", "labels", "x=y"], json!("literal")),
            (&["spec", "gone"], json!(null)),
            (&["spec", "gone", "deeper"], json!(null)),
            (&["spec", "order", "2"], json!(null)),
            (&["spec", "order", "-3"], json!(null)),
            (&["spec", "order", "-9223372036854775808"], json!(null)),
            (&["spec", "order", "id"], json!(null)),
            (&["spec", "replicas", "0"], json!(null)),
            (&["spec", "[id=1]"], json!(null)),
            (&["status", "conditions", "[name=c]"], json!(null)),
            (&["status", "conditions", "[on=yes]"], json!(null)),
        ] {
            let found = path(steps).expect("a path").get(&object).cloned().unwrap_or_default();
            assert_eq!(found, expected, "{steps:?}");
        }
        assert_eq!(path(&[]).expect("a path").get(&object), Some(&object));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for (steps, words) in [
            (&["a", ""][..], "1 to 317 bytes"),
            (&["[name]"], "write \"[name=value]\""),
            (&["[name=a"], "write \"[name=value]\""),
            (&["[=a]"], "write \"[name=value]\""),
            (&["a"; 33], "at most 32"),
            (&[&*"a".repeat(318)], "1 to 317 bytes"),
        ] {
            let error = path(steps).expect_err("no path");
            assert!(error.contains(words), "{error}");
        }
        let shown = path(&["a", "[b=c]", "0"]).expect("a path").to_string();
        assert_eq!(shown, "[a, \"[b=c]\", 0]");
    }
}
