//! Lists of targets as files and web servers give them to discovery, in YAML or JSON.

use std::path::Path;

use vedette_model::{ADDRESS_LABEL, Labels, NameScheme, TargetGroup};

use crate::{
    Error,
    fields::{Fields, Result, Source},
    yaml::{self, FILE_BYTES_MAX, Node, Place, Value},
};

/// Reads a list of groups in YAML; `name` is used in errors. Their sources are left empty.
pub fn parse_yaml(name: &str, text: &str) -> Result<Vec<TargetGroup>> {
    let node = yaml::read(name, text)?;
    groups(Source { file: name, folder: Path::new("") }, &node)
}

/// Reads a list of groups in JSON; `name` is used in errors. Their sources are left empty.
pub fn parse_json(name: &str, text: &str) -> Result<Vec<TargetGroup>> {
    let source = Source { file: name, folder: Path::new("") };
    if text.len() > FILE_BYTES_MAX {
        let reason = format!("the file has {} bytes, more than {FILE_BYTES_MAX}", text.len());
        return Err(source.refuse(Place { line: 1, column: 1 }, "", reason));
    }
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        let place = Place { line: error.line().max(1), column: error.column().max(1) };
        let text = error.to_string();
        let reason = text.split(" at line ").next().unwrap_or(&text).to_owned();
        source.refuse(place, "", reason)
    })?;
    let node = from_json(value).map_err(|NoText { kind, path }| {
        let reason = format!("here is {kind}; addresses and labels are texts, write it in quotes");
        source.refuse(Place { line: 1, column: 1 }, &path, reason)
    })?;
    groups(source, &node)
}

/// What is no text in a list of targets, and where.
struct NoText {
    kind: &'static str,
    path: String,
}

/// JSON has no places; its paths tell them well enough. It has kinds of values, and all of a list of
/// targets are texts: whoever gives a number has another list in mind.
fn from_json(value: serde_json::Value) -> std::result::Result<Node, NoText> {
    use serde_json::Value as Json;
    let wrong = |kind| Err(NoText { kind, path: String::new() });
    let within = |outer: &str, inner: NoText| NoText { path: format!("{outer}{}", inner.path), ..inner };
    let value = match value {
        Json::Null => Value::Null,
        Json::Bool(_) => return wrong("a truth value"),
        Json::Number(_) => return wrong("a number"),
        Json::String(text) => Value::Text(text),
        Json::Array(items) => {
            let item = |(i, item)| from_json(item).map_err(|inner| within(&format!("[{i}]"), inner));
            Value::List(items.into_iter().enumerate().map(item).collect::<std::result::Result<_, _>>()?)
        }
        Json::Object(pairs) => {
            let pair = |(key, value): (String, Json)| {
                let value = from_json(value).map_err(|inner| within(&format!(".{key}"), inner))?;
                Ok((Node { place: Place { line: 1, column: 1 }, value: Value::Text(key) }, value))
            };
            Value::Map(pairs.into_iter().map(pair).collect::<std::result::Result<_, _>>()?)
        }
    };
    Ok(Node { place: Place { line: 1, column: 1 }, value })
}

fn groups(source: Source<'_>, node: &Node) -> Result<Vec<TargetGroup>> {
    let items = match &node.value {
        Value::Null => return Ok(Vec::new()),
        Value::List(items) => items,
        other => {
            let reason = format!("here is {}; write a list of target groups", other.kind());
            return Err(source.refuse(node.place, "", reason));
        }
    };
    let mut groups = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let path = format!("[{i}]");
        if matches!(item.value, Value::Null) {
            let reason = "a target group is null; give it targets or remove it";
            return Err(source.refuse(item.place, &path, reason));
        }
        let mut fields = Fields::of(source, &path, item)?;
        groups.push(group(&mut fields)?);
        fields.finish("a target group")?;
    }
    Ok(groups)
}

/// Reads one group.
pub(crate) fn group(fields: &mut Fields<'_>) -> Result<TargetGroup> {
    let addresses = fields.texts("targets")?;
    let pairs = fields.label_map("labels", NameScheme::Utf8)?;
    Ok(TargetGroup {
        source: String::new(),
        targets: addresses.iter().map(|address| Labels::from_pairs([(ADDRESS_LABEL, address)])).collect(),
        labels: Labels::from_pairs(pairs),
    })
}

/// Reads whatever the name says: `.json`, `.yml` or `.yaml`.
pub fn parse(name: &str, text: &str) -> std::result::Result<Vec<TargetGroup>, Error> {
    let is_json = Path::new(name).extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
    if is_json { parse_json(name, text) } else { parse_yaml(name, text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_from_both_forms() {
        let expected = vec![
            TargetGroup {
                source: String::new(),
                targets: vec![Labels::from_pairs([(ADDRESS_LABEL, "a:1")])],
                labels: Labels::from_pairs([("foo", "bar"), ("n", "1")]),
            },
            TargetGroup::default(),
        ];
        let yaml = "- targets: ['a:1']\n  labels: {foo: bar, n: 1}\n- targets: []\n";
        let json = r#"[{"targets": ["a:1"], "labels": {"foo": "bar", "n": "1"}}, {"targets": []}]"#;
        assert_eq!(parse("t.yml", yaml).expect("sound"), expected);
        assert_eq!(parse("t.json", json).expect("sound"), expected);
        assert_eq!(parse("t.yaml", "").expect("nothing"), []);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, text, words) in [
            ("t.yml", "- targets: ['a:1']\n-\n", &["t.yml:2", "[1]", "null"][..]),
            ("t.json", "[null]", &["[0]", "null"]),
            ("t.yml", "- target: ['a:1']", &["t.yml:1:3", "target"]),
            ("t.yml", "targets: []", &["list of target groups"]),
            ("t.json", "[{\n\"targets\": 1", &["t.json:2"]),
            ("t.json", r#"[{"targets": ["a:1", 9100]}]"#, &["[0].targets[1]", "a number"]),
            ("t.json", r#"[{"targets": [], "labels": {"a": true}}]"#, &["[0].labels.a", "a truth value"]),
            ("t.yml", "- targets: [a]\n  labels: {'': x}", &["t.yml:2", "label name"]),
        ] {
            let error = parse(name, text).expect_err(text).to_string();
            for word in words {
                assert!(error.contains(word), "{error} lacks {word}");
            }
        }
    }
}
