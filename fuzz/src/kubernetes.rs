//! Targets for what an API server tells of custom resources, and for the files that say what is told of them.

use std::sync::LazyLock;

use vedette_k8s::state::{
    Format,
    custom::{self, CustomResource},
};
use vedette_wire::exposition::{Dialect, Entry, TextParser};

/// One metric for each way in which an object makes rows.
const FILE: &str = r#"
kind: CustomResourceStateMetrics
spec:
  resources:
    - groupVersionKind: {group: g, version: v1, kind: K}
      labelsFromPath: {name: [metadata, name], "*": [metadata, labels], "a_*": [metadata, annotations]}
      metrics:
        - {name: gauge, each: {type: Gauge, gauge: {path: [spec], valueFrom: [n], labelFromKey: key,
            nilIsZero: true, labelsFromPath: {"*": []}}}}
        - {name: list, each: {type: Gauge, gauge: {path: [list, "-1"], labelsFromPath: {v: []}}}}
        - {name: found, each: {type: Gauge, gauge: {path: [list, "[k=v]", "n=1"]}}}
        - {name: state, each: {type: StateSet, stateSet: {path: [list], valueFrom: [k], labelName: s, list: [v, w]}}}
        - {name: info, each: {type: Info, info: {path: [spec], labelFromKey: key, labelsFromPath: {v: []}}}}
"#;

static RESOURCE: LazyLock<CustomResource> = LazyLock::new(|| {
    let mut all = custom::read("f", FILE).and_then(|file| file.check("")).expect("a file");
    all.remove(0)
});

pub fn custom_resource_seeds() -> Vec<Vec<u8>> {
    [
        r#"{"metadata": {"name": "a", "labels": {"x/y": "1", "x.y": "2"}}, "spec": {"n": "39%", "m": {"n": "5m0s"}}}"#,
        r#"{"metadata": {"name": "a"}, "list": [{"k": "v", "n": 1}, "2019-10-22T16:29:31Z", "512Gi", "-1h2.5s"]}"#,
        r#"{"metadata": {"name": "a"}, "spec": [[1, "Inf"], {"n": null}, true, {"cluster": "c"}]}"#,
    ]
    .map(|seed| seed.as_bytes().to_vec())
    .into()
}

/// Whatever an object has, its page can be read, and each row has each label once.
pub fn custom_resource(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok((page, _)) = custom::page(&RESOURCE, Some("c"), &[text], Format::Text) else { return };
    let mut parser = TextParser::new(page.as_bytes(), Dialect::Text);
    while let Some(entry) = parser.next() {
        match entry {
            Ok(Entry::Sample(sample)) => {
                let labels = sample.series.labels().unwrap_or_else(|e| panic!("{e:?} in {page} of {text:?}"));
                assert_eq!(labels.get("cluster"), Some("c"), "{page} of {text:?}");
            }
            Ok(_) => {}
            Err(error) => panic!("{error:?} in {page} of {text:?}"),
        }
    }
}

pub fn custom_config_seeds() -> Vec<Vec<u8>> {
    vec![FILE.as_bytes().to_vec()]
}

/// What is refused says where and why.
pub fn custom_config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = custom::read("f", text).and_then(|file| file.check("f: ")).and_then(custom::together)
    {
        assert!(error.place.starts_with('f') && !error.reason.is_empty(), "{error}");
    }
}
