//! Custom resources whose state is told by configuration: what rows they make (`cases.yaml`), which files are refused
//! (`refused.yaml`), and watches against the API server of our tests.

#![expect(clippy::unwrap_used, reason = "a test whose files cannot be read has failed")]

mod watch;

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use vedette_k8s::state::{
    Format,
    custom::{self, CustomResource},
};

/// The object of the documentation.
const FOO: &str = "
    apiVersion: myteam.io/v1
    kind: Foo
    metadata:
      annotations: {bar: baz, qux: quxx}
      labels: {foo: bar}
      name: foo
    spec:
      version: v1.2.3
      order: [{id: 1, value: true}, {id: 3, value: false}]
      replicas: 1
      refs: [my_other_foo, foo_2, foo_with_extensions]
    status:
      phase: Pending
      active: {type-a: 1, type-b: 3}
      conditions: [{name: a, value: 45}, {name: b, value: 66}]
      sub: {type-a: {active: 1, ready: 2}, type-b: {active: 3, ready: 4}}
      uptime: 43.21";

const HEAD: &str =
    r#"customresource_group="myteam.io",customresource_kind="Foo",customresource_version="v1""#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    cluster: Option<String>,
    #[serde(default)]
    resource: String,
    metrics: String,
    objects: Option<Vec<Value>>,
    rows: Vec<String>,
    #[serde(default)]
    lost: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    file: Option<String>,
    resource: Option<Value>,
    metric: Option<Value>,
    place: String,
    words: String,
}

fn data<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/custom_state").join(name);
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The only resource of a file.
fn resource(text: &str) -> CustomResource {
    let mut all = custom::read("f.yaml", text).and_then(|file| file.check("f.yaml: ")).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("      {line}\n")).collect()
}

#[test]
fn objects_make_the_rows_of_the_documentation() {
    let foo: Value = serde_saphyr::from_str(FOO).unwrap();
    for case in data::<Case>("cases.yaml") {
        let text = format!(
            "kind: CustomResourceStateMetrics\nspec:\n  resources:\n    - groupVersionKind: \
             {{group: myteam.io, version: v1, kind: Foo}}\n{}      metrics:\n{}",
            indented(&case.resource),
            indented(&case.metrics)
        );
        let objects = case.objects.unwrap_or_else(|| vec![foo.clone()]);
        let objects: Vec<String> = objects.iter().map(Value::to_string).collect();
        let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
        let told = custom::page(&resource(&text), case.cluster.as_deref(), &objects, Format::Text);
        let (page, lost) = told.unwrap();
        let rows: Vec<String> = page
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                assert!(line.contains(HEAD), "{}: {line}", case.name);
                line.replacen(&format!("{HEAD},"), "", 1)
                    .replacen(&format!(",{HEAD}"), "", 1)
                    .replacen(HEAD, "", 1)
            })
            .collect();
        // Families come by their names, the rows of each in their order.
        let mut expected = case.rows;
        expected.sort_by(|a, b| a.split('{').next().cmp(&b.split('{').next()));
        assert_eq!(rows, expected, "{}", case.name);
        let lost: BTreeMap<String, u64> =
            lost.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
        assert_eq!(lost, case.lost, "{}", case.name);
    }
}

#[test]
fn families_are_named_once_with_what_they_mean() {
    let resource = resource(
        "spec: {resources: [{groupVersionKind: {group: g, version: v1, kind: K}, metrics: [
            {name: b, help: 'a \"b\" \\ c', each: {type: Info, info: {}}},
            {name: b, help: other, commonLabels: {x: y}, each: {type: Info, info: {}}},
            {name: a, each: {type: StateSet, stateSet: {labelName: s, path: [p], list: [x]}}}]}]}",
    );
    for (format, help, end) in
        [(Format::Text, r#"a "b" \\ c"#, ""), (Format::OpenMetrics, r#"a \"b\" \\ c"#, "# EOF\n")]
    {
        let object = json!({"metadata": {"name": "n"}}).to_string();
        let (page, _) = custom::page(&resource, None, &[&object], format).unwrap();
        let head = r#"customresource_group="g",customresource_kind="K",customresource_version="v1""#;
        let expected = format!(
            "# HELP kube_customresource_a \n# TYPE kube_customresource_a gauge\n\
             # HELP kube_customresource_b {help}\n# TYPE kube_customresource_b gauge\n\
             kube_customresource_b{{{head}}} 1\nkube_customresource_b{{{head},x=\"y\"}} 1\n{end}"
        );
        assert_eq!(page, expected);
    }
}

#[test]
fn what_cannot_be_used_is_refused_at_its_place() {
    for case in data::<Refused>("refused.yaml") {
        let gvk = json!({"group": "g", "version": "v1", "kind": "K"});
        let of_metric = |metric| json!({"groupVersionKind": gvk, "metrics": [metric]});
        let text = case.file.unwrap_or_else(|| {
            let resource = case.resource.unwrap_or_else(|| of_metric(case.metric.unwrap()));
            json!({"spec": {"resources": [resource]}}).to_string()
        });
        let error = custom::read("f.yaml", &text).and_then(|file| file.check("f.yaml: "));
        let error = error.expect_err(&text);
        assert!(
            error.place.starts_with("f.yaml:") && error.place.contains(&case.place),
            "{error} for {text}"
        );
        assert!(error.reason.contains(&case.words), "{error} for {text}");
    }
}

#[test]
fn the_same_kind_is_written_once_in_all_files() {
    let of = |place: &str, version: &str, kind: &str| {
        let text = format!(
            "spec: {{resources: [{{groupVersionKind: {{group: g, version: {version:?}, kind: {kind:?}}}, \
             metrics: [{{name: n, each: {{type: Info, info: {{}}}}}}]}}]}}"
        );
        custom::read(place, &text).and_then(|file| file.check(&format!("{place}: "))).unwrap()
    };
    let both =
        |a: Vec<CustomResource>, b: Vec<CustomResource>| custom::together(a.into_iter().chain(b).collect());
    for (a, b) in [(("v1", "K"), ("v2", "K")), (("*", "K"), ("v2", "K")), (("*", "*"), ("v1", "*"))] {
        let error = both(of("a.yaml", a.0, a.1), of("b.yaml", b.0, b.1)).unwrap_err().to_string();
        assert!(
            error.starts_with("b.yaml: spec.resources[0]: ") && error.contains("a.yaml: spec.resources[0]"),
            "{error}"
        );
    }
    assert_eq!(both(of("a.yaml", "v1", "K"), of("b.yaml", "v1", "L")).unwrap().len(), 2);
    let many = (0..257).flat_map(|number| of("a.yaml", "v1", &format!("K{number}"))).collect();
    assert!(custom::together(many).unwrap_err().reason.contains("at most 256"));
}

#[test]
fn bounds_hold_whatever_an_object_has() {
    let resource = resource(
        "spec: {resources: [{groupVersionKind: {group: g, version: v1, kind: K}, metrics: [
            {name: n, each: {type: Gauge, gauge: {path: [many], labelsFromPath: {'*': [labels], v: [v]}, \
             valueFrom: [n]}}}]}]}",
    );
    // Each row has 64 labels of 1024 bytes, so that the fifth goes beyond 256 KiB.
    let labels: BTreeMap<String, String> = (0..100).map(|n| (format!("l{n}"), "x".repeat(1100))).collect();
    let large: Vec<Value> = (0..20).map(|n| json!({"n": n, "v": n.to_string(), "labels": labels})).collect();
    let large = json!({"metadata": {"name": "a"}, "many": large}).to_string();
    let (page, lost) = custom::page(&resource, None, &[&large], Format::Text).unwrap();
    assert_eq!(page.lines().filter(|line| !line.starts_with('#')).count(), 5);
    // Of each row 36 labels beyond 64, and one for which there is no room beside `v`.
    assert_eq!(lost, [("rows", 15), ("labels", 5 * 37), ("label_text", 5 * 63)]);
    let plain: Vec<Value> = (0..2000).map(|n| json!({"n": n, "v": n.to_string()})).collect();
    let plain = json!({"metadata": {"name": "a"}, "many": plain}).to_string();
    let (page, lost) = custom::page(&resource, None, &[&plain], Format::Text).unwrap();
    assert_eq!(
        (page.lines().filter(|line| !line.starts_with('#')).count(), lost),
        (1000, vec![("rows", 1000)])
    );
    let long = json!({"metadata": {"name": "a"}, "text": "x".repeat(3 << 20)}).to_string();
    let (_, lost) = custom::page(&resource, None, &[&long], Format::Text).unwrap();
    assert_eq!(lost, [("object_size", 1)]);
    assert!(custom::page(&resource, None, &["{}"], Format::Text).is_err(), "an object has a name");
}
