//! Renderings of Alertmanager's templates by Go itself. The data and functions below are what
//! those templates are given.

use std::{any::Any, fs, path::PathBuf};

use super::*;

/// A `map[string]string` with the methods that Alertmanager gives it.
#[derive(Debug)]
struct LabelMap(Value);

/// A list of names and values with methods.
#[derive(Debug)]
struct Pairs(Value);

#[derive(Debug)]
struct Alerts(Value);

#[derive(Debug)]
struct Record(&'static str, Vec<(&'static str, Value)>);

fn pairs(map: &Value, without: &[Value]) -> Value {
    let removed = |name: &str| without.iter().any(|v| v.as_str() == Some(name));
    let entries = &map.as_map().unwrap().entries;
    let mut names: Vec<&str> = entries.keys().map(|k| &**k).filter(|k| !removed(k)).collect();
    // The alert's name stands first.
    names.sort_by_key(|n| (*n != "alertname", *n));
    let list = names.iter().map(|n| {
        Value::object(Record("template.Pair", vec![("Name", (*n).into()), ("Value", entries[*n].clone())]))
    });
    Value::object(Pairs(Value::list(list)))
}

impl Object for LabelMap {
    fn type_name(&self) -> &str {
        "template.KV"
    }
    fn underlying(&self) -> Option<&Value> {
        Some(&self.0)
    }
    fn call(&self, method: &str, args: &[Value]) -> Option<Result<Value, String>> {
        Some(Ok(match method {
            "SortedPairs" => pairs(&self.0, &[]),
            "Remove" => {
                let names = args[0].as_list().unwrap().to_vec();
                let kept = self
                    .0
                    .as_map()
                    .unwrap()
                    .entries
                    .iter()
                    .filter(|(k, _)| !names.iter().any(|n| n.as_str() == Some(k)));
                let kept: Vec<(&str, &str)> = kept.map(|(k, v)| (&**k, v.as_str().unwrap())).collect();
                Value::object(LabelMap(Value::string_map(kept)))
            }
            "Names" | "Values" => return pairs(&self.0, &[]).downcast::<Pairs>().unwrap().call(method, args),
            _ => return None,
        }))
    }
}

impl Object for Pairs {
    fn type_name(&self) -> &str {
        "template.Pairs"
    }
    fn underlying(&self) -> Option<&Value> {
        Some(&self.0)
    }
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
    fn call(&self, method: &str, _args: &[Value]) -> Option<Result<Value, String>> {
        let field = match method {
            "Names" => "Name",
            "Values" => "Value",
            _ => return None,
        };
        let get = |v: &Value| match v {
            Value::Object(o) => o.field(field).unwrap(),
            _ => Value::Nil,
        };
        Some(Ok(Value::list(self.0.as_list().unwrap().iter().map(get))))
    }
}

impl Object for Alerts {
    fn type_name(&self) -> &str {
        "template.Alerts"
    }
    fn underlying(&self) -> Option<&Value> {
        Some(&self.0)
    }
    fn call(&self, method: &str, _args: &[Value]) -> Option<Result<Value, String>> {
        let status = match method {
            "Firing" => "firing",
            "Resolved" => "resolved",
            _ => return None,
        };
        let keep =
            |v: &&Value| matches!(v, Value::Object(o) if o.field("Status").unwrap().as_str() == Some(status));
        let kept: Vec<Value> = self.0.as_list().unwrap().iter().filter(keep).cloned().collect();
        Some(Ok(Value::list(kept)))
    }
}

impl Object for Record {
    fn type_name(&self) -> &str {
        self.0
    }
    fn field(&self, name: &str) -> Option<Value> {
        self.1.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone())
    }
    fn fields(&self) -> Vec<(&str, Value)> {
        self.1.iter().map(|(n, v)| (*n, v.clone())).collect()
    }
}

struct NotificationFunctions;

impl Functions for NotificationFunctions {
    fn signature(&self, name: &str) -> Option<Signature> {
        Some(match name {
            "toUpper" | "toLower" => Signature::fixed(&[Param::Str]),
            "join" | "tz" => Signature::fixed(&[Param::Str, Param::Any]),
            _ => return None,
        })
    }

    fn call(&self, name: &str, args: &[Value]) -> Result<Value, String> {
        let text = args[0].as_str().unwrap();
        Ok(match name {
            "toUpper" => text.to_uppercase().into(),
            "toLower" => text.to_lowercase().into(),
            "join" => {
                let items: Vec<&str> =
                    args[1].as_list().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
                items.join(text).into()
            }
            _ => Value::object(args[1].downcast::<time::Time>().unwrap().in_zone(text)?),
        })
    }
}

fn label_map(json: &serde_json::Value) -> Value {
    let pairs = json.as_object().into_iter().flatten().map(|(k, v)| (k.as_str(), v.as_str().unwrap()));
    Value::object(LabelMap(Value::string_map(pairs)))
}

fn instant(json: &serde_json::Value) -> Value {
    let timestamp: jiff::Timestamp = json.as_str().unwrap().parse().unwrap();
    Value::object(time::Time::from_unix_ns(timestamp.as_nanosecond()))
}

fn data(json: &serde_json::Value) -> Value {
    let text = |key: &'static str| (key, json[key].as_str().unwrap().into());
    let labels = |key: &'static str| (key, label_map(&json[key]));
    let alerts = json["Alerts"].as_array().unwrap().iter().map(|alert| {
        let text = |key: &'static str| (key, alert[key].as_str().unwrap().into());
        Value::object(Record(
            "template.Alert",
            vec![
                text("Status"),
                ("Labels", label_map(&alert["Labels"])),
                ("Annotations", label_map(&alert["Annotations"])),
                ("StartsAt", instant(&alert["StartsAt"])),
                ("EndsAt", instant(&alert["EndsAt"])),
                text("GeneratorURL"),
                text("Fingerprint"),
            ],
        ))
    });
    Value::object(Record(
        "template.Data",
        vec![
            text("Receiver"),
            text("Status"),
            text("NotificationReason"),
            labels("GroupLabels"),
            labels("CommonLabels"),
            labels("CommonAnnotations"),
            labels("RouteLabels"),
            text("ExternalURL"),
            ("Alerts", Value::object(Alerts(Value::list(alerts)))),
        ],
    ))
}

#[test]
fn alertmanager_templates_render_as_in_go() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/alertmanager");
    let Ok(golden) = fs::read_to_string(folder.join("golden/template_golden.json")) else {
        println!("SKIPPED golden renderings: ../shared/conformance/alertmanager is not there");
        return;
    };
    let golden: serde_json::Value = serde_json::from_str(&golden).unwrap();
    let mut base = Template::new();
    for file in ["default.tmpl", "email.tmpl"] {
        let text = fs::read_to_string(folder.join("templates").join(file)).unwrap();
        base.add(file, &text, &NotificationFunctions).unwrap();
    }
    let (mut passed, mut skipped, mut failures) = (0, 0, Vec::new());
    for case in golden["cases"].as_array().unwrap() {
        if case["engine"] != "alertmanager-notification" {
            continue;
        }
        // Contextual HTML escaping is the work of html/template, which is another language.
        if case["mode"] == "html" {
            skipped += 1;
            continue;
        }
        let mut set = base.clone();
        set.add("case", case["template"].as_str().unwrap(), &NotificationFunctions).unwrap();
        let data = data(&golden[case["data_ref"].as_str().unwrap()]);
        match set.execute("case", &data, &NotificationFunctions, &Limits::default()) {
            Ok(out) if out == case["output"].as_str().unwrap() => passed += 1,
            other => failures.push(format!("{}: {other:?}\n    want {}", case["id"], case["output"])),
        }
    }
    eprintln!("{passed} passed, {} failed, {skipped} skipped", failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
