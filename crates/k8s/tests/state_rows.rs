//! Objects of all kinds and the rows that kube-state-metrics' documentation has for them: `kube_state/PLURAL.json`
//! has the objects, `PLURAL.rows` the rows. Pods, nodes and namespaces are tested elsewhere.

use std::{fs, path::Path};

use serde_json::{Value, json};
use vedette_k8s::state::{Allowed, Format, KINDS, StateKind};
use vedette_sys::Random;

/// The kinds that have a file of rows, with their objects and rows.
fn kinds() -> Vec<(&'static StateKind, Vec<Value>, Vec<String>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kube_state");
    let read = |kind: &StateKind, ending: &str| {
        fs::read_to_string(folder.join(format!("{}.{ending}", kind.resource.plural)))
    };
    KINDS
        .iter()
        .filter_map(|kind| {
            let rows = read(kind, "rows").ok()?;
            let objects = serde_json::from_str(&read(kind, "json").expect("its objects")).expect("objects");
            let is_row = |line: &&str| !line.is_empty() && !line.starts_with('#');
            Some((kind, objects, rows.lines().filter(is_row).map(str::to_owned).collect()))
        })
        .collect()
}

/// The rows of an object, in alphabetical order, or why it cannot be read.
fn rows(kind: &StateKind, object: &Value, allowed: &Allowed) -> Result<Vec<String>, serde_json::Error> {
    let page = kind.page(&[&object.to_string()], allowed, Format::Text)?;
    let mut rows: Vec<String> =
        page.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    rows.sort();
    Ok(rows)
}

/// A label and an annotation that all objects have, which have others, too.
fn allowed() -> Allowed {
    Allowed { labels: vec!["app".into()], annotations: vec!["team".into()] }
}

#[test]
fn every_object_has_its_rows() {
    let kinds = kinds();
    assert_eq!(kinds.len() + 3, KINDS.len(), "all but pods, nodes and namespaces");
    for (kind, objects, mut wanted) in kinds {
        if kind.resource.plural == "cronjobs" && jiff::tz::db().is_definitively_empty() {
            println!("SKIPPED cron jobs: this machine has no list of time zones");
            continue;
        }
        let told = objects.iter().map(|object| rows(kind, object, &allowed()).expect("it can be read"));
        let mut told: Vec<String> = told.flatten().collect();
        told.sort();
        wanted.sort();
        assert_eq!(told, wanted, "{}", kind.resource.plural);
    }
}

#[test]
fn no_row_tells_labels_and_annotations_that_nobody_asked_for() {
    for (kind, objects, _) in kinds() {
        for object in objects {
            let rows = rows(kind, &object, &Allowed::default()).expect("it can be read");
            let is_chosen = |row: &String| row.contains("_labels{") || row.contains("_annotations{");
            assert_eq!(rows.iter().find(|row| is_chosen(row)), None);
        }
    }
}

/// kube-state-metrics watches the same kinds by default.
#[test]
fn kinds_are_on_by_default_if_the_table_says_so() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/conformance/metrics/kube_state_metrics.tsv");
    let Ok(table) = fs::read_to_string(path) else {
        println!("SKIPPED what is on by default: ../shared/conformance/metrics is not there");
        return;
    };
    for kind in KINDS {
        for family in (kind.families)() {
            let mut rows = table.lines().map(|line| line.split('\t').collect::<Vec<_>>());
            let row = rows.find(|row| row[0] == family.name);
            let row = row.unwrap_or_else(|| panic!("{} is not in the table", family.name));
            assert_eq!(row[7], if kind.is_default { "yes" } else { "no" }, "{}", family.name);
        }
    }
}

/// No field but the name is needed, and all may be null.
#[test]
fn fields_may_be_missing_or_null_one_by_one() {
    for (kind, objects, _) in kinds() {
        for object in objects {
            let mut paths = Vec::new();
            collect(&object, &mut Vec::new(), &mut paths);
            for path in paths {
                for is_null in [true, false] {
                    let mut spoiled = object.clone();
                    let (last, above) = path.split_last().expect("a field");
                    let place = above.iter().fold(&mut spoiled, |place, step| match step.parse::<usize>() {
                        Ok(at) => &mut place[at],
                        Err(_) => &mut place[step.as_str()],
                    });
                    if is_null {
                        place[last.as_str()] = Value::Null;
                    } else {
                        place.as_object_mut().expect("an object").remove(last);
                    }
                    let is_needed = path == ["metadata"] || path == ["metadata", "name"];
                    let is_read = rows(kind, &spoiled, &allowed()).is_ok();
                    assert_eq!(is_read, !is_needed, "{} without {path:?}", kind.resource.plural);
                }
            }
        }
    }
}

/// The paths of all fields.
fn collect(value: &Value, path: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    let steps: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(values) => {
            values.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
        }
        _ => return,
    };
    for (step, inner) in steps {
        path.push(step);
        if value.is_object() {
            paths.push(path.clone());
        }
        collect(inner, path, paths);
        path.pop();
    }
}

/// Whatever is missing, null or of another type, an object is read or refused.
#[test]
fn objects_may_be_spoiled_anywhere() {
    let mut random = Random::new(11);
    let (mut read, mut refused) = (0, 0);
    for (kind, objects, _) in kinds() {
        for whole in objects {
            for _ in 0..200 {
                let mut object = whole.clone();
                for _ in 0..=random.below(4) {
                    spoil(&mut object, &mut random);
                }
                match rows(kind, &object, &allowed()) {
                    Ok(_) => read += 1,
                    Err(_) => refused += 1,
                }
            }
        }
    }
    assert!(read > 1000 && refused > 1000, "{read} read, {refused} refused");
}

/// Takes out a part, or makes something else of it, somewhere.
fn spoil(value: &mut Value, random: &mut Random) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let at = random.below(fields.len() as u64) as usize;
            let name = fields.keys().nth(at).cloned().expect("a field");
            match random.below(6) {
                0 => drop(fields.remove(&name)),
                1 => drop(fields.insert(name, Value::Null)),
                _ => spoil(&mut fields[&name], random),
            }
        }
        Value::Array(values) if !values.is_empty() => {
            let at = random.below(values.len() as u64) as usize;
            spoil(&mut values[at], random);
        }
        other => {
            let kinds =
                [json!(null), json!(-1), json!(1e300), json!(u64::MAX), json!("ä%"), json!([]), json!({})];
            *other = kinds[random.below(kinds.len() as u64) as usize].clone();
        }
    }
}
