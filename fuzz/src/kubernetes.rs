//! Targets for what an API server tells of custom resources and of who asked for what, and for the files that say what
//! is told of the former.

use std::sync::LazyLock;

use vedette_k8s::{
    audit::{self, Heard},
    state::{
        Format,
        custom::{self, CustomResource},
    },
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

pub fn audit_seeds() -> Vec<Vec<u8>> {
    let record = r#"{"kind": "Event", "auditID": "a", "stage": "ResponseComplete", "verb": "create",
        "user": {"username": "admin", "extra": {"authentication.kubernetes.io/pod-name": ["p"]}},
        "impersonatedUser": {"username": "alice"}, "sourceIPs": ["10.0.0.7"], "userAgent": "kubectl",
        "objectRef": {"resource": "pods", "namespace": "shop"}, "responseStatus": {"code": 201},
        "responseObject": {"metadata": {"name": "web-x7", "uid": "u"}}, "stageTimestamp": "2026-11-21T00:47:52.3Z"}"#;
    vec![record.into(), format!(r#"{{"kind": "EventList", "items": [{record}, null, {record}]}}"#).into()]
}

/// Of what is kept it is known who did what to what; a list is taken as its items are, one by one.
pub fn audit(bytes: &[u8]) {
    let Ok(heard) = audit::list("c", bytes) else { return };
    for (asked, _) in &heard.changes {
        assert!(
            (200..300).contains(&asked.code) && !asked.verb.is_empty() && !asked.resource.is_empty(),
            "{asked:?}"
        );
        let texts = [&asked.audit_id, &asked.user, &asked.impersonator, &asked.user_pod, &asked.client]
            .into_iter()
            .chain([&asked.user_agent, &asked.namespace, &asked.name, &asked.uid]);
        assert!(texts.map(String::len).max() <= Some(1024), "{asked:?}");
    }
    let items = serde_json::from_slice::<serde_json::Value>(bytes).ok();
    if let Some(items) = items.as_ref().and_then(|list| list["items"].as_array()) {
        let mut each = Heard::default();
        items.iter().for_each(|item| each.take("c", item.to_string().as_bytes()));
        let count = |heard: &Heard| heard.changes.len() as u64 + heard.others + heard.unreadable;
        assert_eq!((count(&each), count(&heard)), (items.len() as u64, items.len() as u64));
    }
}
