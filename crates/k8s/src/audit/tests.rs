use serde_json::{Value, json};

use super::*;

const SECOND_NS: i64 = 1_000_000_000;

fn record(more: Value) -> Value {
    let mut record = json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata",
        "auditID": "a1", "stage": "ResponseComplete", "requestURI": "/apis/apps/v1/namespaces/shop/deployments",
        "verb": "create", "user": {"username": "alice", "groups": ["system:authenticated"]},
        "sourceIPs": ["10.0.0.7", "10.0.0.8"], "userAgent": "kubectl/v1.36.0",
        "objectRef": {"resource": "deployments", "namespace": "shop", "name": "web", "apiGroup": "apps",
            "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 201},
        "requestReceivedTimestamp": "2017-07-14T02:40:00.100000Z",
        "stageTimestamp": "2017-07-14T02:40:00.500000Z"});
    let Value::Object(more) = more else { panic!("an object") };
    record.as_object_mut().expect("an object").extend(more);
    record
}

fn asked() -> ApiRequest {
    ApiRequest {
        cluster: "c".into(),
        audit_id: "a1".into(),
        verb: "create".into(),
        code: 201,
        user: "alice".into(),
        client: "10.0.0.7".into(),
        user_agent: "kubectl/v1.36.0".into(),
        group: "apps".into(),
        resource: "deployments".into(),
        namespace: "shop".into(),
        name: "web".into(),
        ..ApiRequest::default()
    }
}

fn heard(record: &Value) -> Heard {
    let mut heard = Heard::default();
    heard.take("c", record.to_string().as_bytes());
    heard
}

#[test]
fn changes_of_what_runs_are_kept() {
    let change = |record: &Value| heard(record).changes.pop();
    let time = Some(1_500_000_000 * SECOND_NS + SECOND_NS / 2);
    assert_eq!(change(&record(json!({}))), Some((asked(), time)));
    for (more, expected) in [
        (
            json!({"impersonatedUser": {"username": "bob"}, "user": {"username": "admin"}}),
            ApiRequest { user: "bob".into(), impersonator: "admin".into(), ..asked() },
        ),
        (
            json!({"user": {"username": "system:serviceaccount:ci:deployer",
                "extra": {"authentication.kubernetes.io/pod-name": ["runner-1"], "other": ["x"]}}}),
            ApiRequest {
                user: "system:serviceaccount:ci:deployer".into(),
                user_pod: "runner-1".into(),
                ..asked()
            },
        ),
        // The server made the name.
        (
            json!({"objectRef": {"resource": "pods", "namespace": "shop"},
                "responseObject": {"kind": "Pod", "metadata": {"name": "web-x7", "uid": "u"}, "spec": {"x": [1]}}}),
            ApiRequest {
                group: String::new(),
                resource: "pods".into(),
                name: "web-x7".into(),
                uid: "u".into(),
                ..asked()
            },
        ),
        (
            json!({"verb": "delete", "responseStatus": {"code": 200}, "responseObject": {"kind": "Status",
                "metadata": {"name": "x", "uid": "y"}}}),
            ApiRequest { verb: "delete".into(), code: 200, ..asked() },
        ),
        (
            json!({"userAgent": "é".repeat(2000), "sourceIPs": null, "auditID": null}),
            ApiRequest {
                audit_id: String::new(),
                client: String::new(),
                user_agent: "é".repeat(512),
                ..asked()
            },
        ),
    ] {
        assert_eq!(change(&record(more.clone())), Some((expected, time)), "{more}");
    }
    assert_eq!(change(&record(json!({"stageTimestamp": "soon"}))), Some((asked(), None)));
}

#[test]
fn all_else_is_counted() {
    for more in [
        json!({"stage": "RequestReceived"}),
        json!({"stage": "Panic"}),
        json!({"verb": "get"}),
        json!({"responseStatus": {"code": 403}}),
        json!({"responseStatus": null}),
        json!({"objectRef": null}),
        json!({"objectRef": {"resource": "configmaps", "namespace": "shop", "name": "x"}}),
        json!({"objectRef": {"resource": "pods", "subresource": "status", "namespace": "shop", "name": "x"}}),
        // Of another group, as of an extension.
        json!({"objectRef": {"resource": "deployments", "apiGroup": "acme.io", "namespace": "shop", "name": "x"}}),
    ] {
        let expected = Heard { others: 1, ..Heard::default() };
        assert_eq!(heard(&record(more.clone())), expected, "{more}");
    }
    for broken in
        [json!(5), json!({"stage": 1}), json!({"user": "alice"}), json!({"responseStatus": {"code": -1}})]
    {
        assert_eq!(heard(&broken), Heard { unreadable: 1, ..Heard::default() }, "{broken}");
    }
}

#[test]
fn lists_are_taken_item_by_item() {
    let items = [record(json!({})), json!(5), record(json!({"verb": "list"})), record(json!({}))];
    let body = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": items});
    let told = list("c", body.to_string().as_bytes()).expect("a list");
    assert_eq!((told.changes.len(), told.others, told.unreadable), (2, 1, 1));
    for (body, changes) in [
        (record(json!({})), 1),
        (json!({"kind": "EventList", "items": null}), 0),
        (json!({"kind": "EventList", "items": []}), 0),
    ] {
        let told = list("c", body.to_string().as_bytes()).expect("a list");
        assert_eq!(told.changes.len(), changes, "{body}");
    }
    for (body, why) in [
        (
            r#"{"kind":"PodList","items":[]}"#,
            "\"PodList\" is neither an EventList nor an Event of audit.k8s.io",
        ),
        ("{}", "\"\" is neither"),
        ("[]", "not JSON as expected"),
        ("{\"kind\":\"EventList\",\"items\":[", "not JSON as expected"),
        ("", "not JSON as expected"),
    ] {
        let told = list("c", body.as_bytes()).expect_err("no list");
        assert!(told.starts_with(why), "{told}");
    }
}

#[test]
fn a_change_is_found_by_object_and_kind_of_change() {
    let question = |is_creation| {
        Question::new("Deployment", "shop", "web", "u", 1_500_000_000, is_creation).expect("it runs")
    };
    assert_eq!(Question::new("ConfigMap", "shop", "web", "u", 1_500_000_000, true), None);
    let applied = |code| ApiRequest { verb: "patch".into(), code, ..asked() };
    for (asked, is_creation, is_change) in [
        (asked(), true, true),
        (ApiRequest { uid: "u".into(), ..asked() }, true, true),
        (ApiRequest { uid: "v".into(), ..asked() }, false, false),
        (applied(201), true, true),
        (applied(200), false, true),
        (ApiRequest { verb: "update".into(), code: 200, ..asked() }, false, true),
        (ApiRequest { verb: "delete".into(), code: 200, ..asked() }, false, false),
        (ApiRequest { name: "other".into(), ..asked() }, false, false),
        (ApiRequest { namespace: "other".into(), ..asked() }, false, false),
        (ApiRequest { resource: "daemonsets".into(), ..asked() }, false, false),
        (ApiRequest { group: "extensions".into(), ..asked() }, false, false),
    ] {
        let found = (question(true).is_answered_by(&asked), question(false).is_answered_by(&asked));
        assert_eq!(found, (is_creation, is_change), "{asked:?}");
    }
}
