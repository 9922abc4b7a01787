//! Labels whose values stand in an object.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Value, value::Map};

use super::{
    lost::{Loss, Lost},
    path::Path,
};

/// Labels that tell of which resource a row is; nothing else may be called so.
pub(super) const RESERVED: [&str; 3] =
    ["customresource_group", "customresource_kind", "customresource_version"];

/// Labels of a row beside those.
const LABELS_MAX: usize = 64;
/// Values of labels that are longer are cut.
const VALUE_BYTES_MAX: usize = 1024;
/// Names of labels that are longer are cut, where an object chooses them.
const NAME_BYTES_MAX: usize = 256;

/// Where the values of labels stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct LabelPaths {
    /// Objects of which each field is a label, with what their names begin with; earlier ones win.
    whole: Box<[(Box<str>, Path)]>,
    /// Single labels; they win over those.
    single: Box<[(Box<str>, Path)]>,
}

impl LabelPaths {
    /// Of names as they are written, each with its path. With a `*` all fields are meant, and what stands before it is
    /// what names begin with; of these the highest name comes first.
    pub(super) fn of(written: BTreeMap<String, Path>) -> Self {
        let (mut whole, mut single) = (Vec::new(), Vec::new());
        for (name, path) in written {
            match name.split_once('*') {
                Some((prefix, _)) => whole.push((prefix.into(), path)),
                None => single.push((name.into(), path)),
            }
        }
        Self { whole: whole.into(), single: single.into() }
    }

    /// Adds what is found, but changes no label that is there; what is not there is no label.
    pub(super) fn add(&self, value: &Value, labels: &mut Labels, lost: &Lost) {
        for (name, path) in &self.single {
            if let Some(found) = path.get(value) {
                labels.add(name, &text(found), lost);
            }
        }
        for (prefix, path) in &self.whole {
            if let Some(Value::Object(fields)) = path.get(value) {
                add_all(prefix, fields, labels, lost);
            }
        }
    }
}

/// Each field of an object as a label. Of fields whose names come to the same, the first by its name is told.
fn add_all(prefix: &str, fields: &Map<String, Value>, labels: &mut Labels, lost: &Lost) {
    let mut names: Vec<&String> = fields.keys().collect();
    names.sort_unstable();
    let mut told: Vec<String> = Vec::new();
    for name in names {
        let value = &fields[name];
        if value.is_null() {
            continue;
        }
        let named = label_name(prefix, name);
        if told.len() >= LABELS_MAX || told.contains(&named) {
            lost.add(Loss::Labels);
            continue;
        }
        labels.add(&named, &text(value), lost);
        told.push(named);
    }
}

/// A name that a label may have; letters are left as they are.
fn label_name(prefix: &str, name: &str) -> String {
    let mut made = prefix.to_owned();
    if prefix.is_empty() && name.starts_with(|c: char| c.is_ascii_digit()) {
        made.push('_');
    }
    made.extend(name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(NAME_BYTES_MAX));
    if made.is_empty() {
        made.push('_');
    }
    made
}

/// A value as that of a label; of what is no single value, its JSON.
fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => text.into(),
        // As programs in Go write what is whole.
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => {
                format!("{float:.0}").into()
            }
            _ => number.to_string().into(),
        },
        other => other.to_string().into(),
    }
}

/// The labels of a row.
#[derive(Debug, Clone, Default)]
pub(super) struct Labels(BTreeMap<Box<str>, Box<str>>);

impl Labels {
    /// Adds a label, unless there is one of its name: who comes first wins, and has room before others.
    pub(super) fn add(&mut self, name: &str, value: &str, lost: &Lost) {
        if RESERVED.contains(&name) || self.0.contains_key(name) {
            return;
        }
        if self.0.len() >= LABELS_MAX {
            lost.add(Loss::Labels);
            return;
        }
        let shown = &value[..value.floor_char_boundary(VALUE_BYTES_MAX)];
        if shown.len() < value.len() {
            lost.add(Loss::LabelText);
        }
        self.0.insert(name.into(), shown.into());
    }

    /// Adds all of others.
    pub(super) fn add_all(&mut self, others: &Self, lost: &Lost) {
        others.iter().for_each(|(name, value)| self.add(name, value, lost));
    }

    /// Names and values, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(written: &[(&str, &[&str])]) -> LabelPaths {
        let path = |steps: &[&str]| {
            Path::of(&steps.iter().map(|step| (*step).to_owned()).collect::<Vec<_>>()).expect("a path")
        };
        LabelPaths::of(written.iter().map(|(name, steps)| ((*name).to_owned(), path(steps))).collect())
    }

    fn told(paths: &LabelPaths, value: &Value) -> (Vec<String>, [u64; 2]) {
        let (mut labels, lost) = (Labels::default(), Lost::new(0));
        paths.add(value, &mut labels, &lost);
        let told = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (told, [lost.of(Loss::Labels), lost.of(Loss::LabelText)])
    }

    #[test]
    fn the_more_special_wins() {
        let object = json!({"a": {"x": "1", "y": "2"}, "b": {"x": "3", "z/Z.1": 4, "1": true, "n": null},
            "one": 1.0, "list": [1, {"k": "v"}]});
        for (written, expected) in [
            (&[("*", &["a"][..]), ("**", &["b"])][..], &["_1=true", "x=1", "y=2", "z_Z_1=4"][..]),
            (&[("*", &["b"]), ("**", &["a"])], &["_1=true", "x=3", "y=2", "z_Z_1=4"]),
            (&[("*", &["a"]), ("x", &["one"])], &["x=1", "y=2"]),
            (&[("p_*", &["a"]), ("q_*what", &["a"])], &["p_x=1", "p_y=2", "q_x=1", "q_y=2"]),
            (&[("all", &["list"]), ("gone", &["nothing"])], &[r#"all=[1,{"k":"v"}]"#]),
            (&[("*", &["one"]), ("customresource_kind", &["one"])], &[]),
        ] {
            assert_eq!(
                told(&paths(written), &object),
                (expected.iter().map(|l| (*l).into()).collect(), [0, 0])
            );
        }
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let same = json!({"a": {"x-1": "first", "x.1": "second"}});
        assert_eq!(told(&paths(&[("*", &["a"])]), &same), (vec!["x_1=first".to_owned()], [1, 0]));
        let long = json!({"a": "ä".repeat(600)});
        let (labels, lost) = told(&paths(&[("a", &["a"])]), &long);
        assert_eq!((labels, lost), (vec![format!("a={}", "ä".repeat(512))], [0, 1]));
        let many: Map<String, Value> = (0..70).map(|number| (format!("l{number}"), json!("v"))).collect();
        // Those that are named have room before the others.
        let (labels, lost) = told(&paths(&[("*", &[]), ("z", &["l69"])]), &Value::Object(many));
        assert_eq!(
            (labels.len(), labels.last().map(String::as_str), lost),
            (LABELS_MAX, Some("z=v"), [7, 0])
        );
    }
}
