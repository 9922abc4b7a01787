//! Pods that nobody has allowed, found by the real program. The API server is that of the tests.

use std::{fs, path::Path, time::Duration};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use vedette_e2e::{http, program::Vedette, wait_for};
use vedette_test_apiserver::ApiServer;

const START: Duration = Duration::from_secs(30);
/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(120);

const PODS: &str = "/api/v1/pods";
const MADE: &str = "2026-11-21T00:47:52Z";
const REGISTRY: &str = "image-from-other-registry";
const ACCESS: &str = "pod-with-host-access";

fn meta(namespace: &str, name: &str, manager: &str, owner: Option<(&str, &str)>) -> Value {
    let owners = owner.map(|(kind, name)| json!([{"kind": kind, "name": name, "controller": true}]));
    json!({"namespace": namespace, "name": name, "uid": format!("uid-of-{name}"), "ownerReferences": owners,
        "creationTimestamp": MADE, "managedFields": [{"manager": manager, "operation": "Update", "time": MADE,
            "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}}]})
}

fn pod(number: u32) -> Value {
    let owner = Some(("ReplicaSet", "web-5d9c"));
    json!({"metadata": meta("shop", &format!("web-5d9c-{number}"), "kube-controller-manager", owner),
        "spec": {"nodeName": "n1", "hostPID": true, "containers": [{"name": "app", "image": "evil.io/miner:1"}]},
        "status": {"phase": "Running"}})
}

/// A cluster with a workload that breaks two rules, and a pod of the system that may have what it has.
fn cluster() -> ApiServer {
    let server = ApiServer::start();
    server.put("/api/v1/nodes", json!({"metadata": {"name": "n1"}}));
    let deployment = meta("shop", "web", "kubectl-create", None);
    server.put("/apis/apps/v1/deployments", json!({"metadata": deployment}));
    let replica_set = meta("shop", "web-5d9c", "kube-controller-manager", Some(("Deployment", "web")));
    server.put("/apis/apps/v1/replicasets", json!({"metadata": replica_set}));
    server.put(
        PODS,
        json!({"metadata": meta("kube-system", "proxy", "kube-controller-manager", None), "spec": {"nodeName": "n1",
            "hostNetwork": true, "containers": [{"name": "proxy", "image": "nginx", "securityContext": {"privileged": true}}]}}),
    );
    server
}

fn findings(vedette: &Vedette, state: &str) -> Result<Vec<Value>> {
    let events = vedette.events("kind=finding&limit=1000")?;
    let rule =
        |event: &Value| event["finding"]["labels"]["alertname"].as_str().unwrap_or_default().to_owned();
    let mut found: Vec<Value> = events
        .into_iter()
        .filter(|event| event["finding"]["state"] == state && [REGISTRY, ACCESS].contains(&&*rule(event)))
        .collect();
    found.sort_by_key(rule);
    Ok(found)
}

fn told(folder: &Path) -> usize {
    let text = fs::read_to_string(folder.join("data/notifications.jsonl")).unwrap_or_default();
    text.lines().filter(|line| line.contains(ACCESS) && line.contains("\"firing\"")).count()
}

/// A record of the creation of something, at [`MADE`], as an API server writes it.
fn record(id: &str, user: &str, group: &str, resource: &str, name: &str) -> Value {
    json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": id,
        "stage": "ResponseComplete", "verb": "create", "user": {"username": user}, "sourceIPs": ["10.0.0.7"],
        "objectRef": {"resource": resource, "apiGroup": group, "namespace": "shop", "name": name},
        "responseStatus": {"code": 201}, "stageTimestamp": "2026-11-21T00:47:52.300000Z"})
}

/// Sends records as the webhook of an API server does; the status of the answer.
fn post(vedette: &Vedette, cluster: &str, body: &str) -> Result<u16> {
    let address = vedette.address;
    let request = format!(
        "POST /api/vedette/v1/audit/{cluster} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Ok(http::request(address, &request)?.status)
}

fn wait_evidence(vedette: &Vedette, workload: &str, words: &str) -> Result<()> {
    wait_for(&format!("{words:?} about {workload}"), SOON, || {
        let found = findings(vedette, "firing")?;
        let mine = found.iter().filter(|event| event["finding"]["labels"]["workload"] == workload);
        let told: Vec<String> = mine.map(|event| event["finding"]["evidence"].to_string()).collect();
        Ok(told.iter().any(|text| text.contains(words)).then_some(()))
    })
}

#[test]
fn the_person_is_told_when_the_audit_record_comes() -> Result<()> {
    let server = cluster();
    let folder = tempfile::tempdir()?;
    let kubeconfig = json!({"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k"}}],
        "clusters": [{"name": "k", "cluster": {"server": server.url()}}]});
    fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string())?;
    let config = "kubernetes: [{name: main, kubeconfig_file: kubeconfig, audit: {webhook: on, log_file: audit.log}}]\n\
        collect: {figures: off, sensor: off}\n";
    let mut vedette = Vedette::start(folder.path(), Some(config))?;
    vedette.wait_ready(START)?;
    let trouble = wait_for("the log to be missed", SOON, || {
        Ok(vedette.part("audit main").ok().filter(|part| part["health"] == "degraded"))
    })?;
    ensure!(trouble["message"].to_string().contains("audit.log"), "{trouble}");
    server.put(PODS, pod(1));
    let mut lonely = pod(2);
    lonely["metadata"] = meta("shop", "lonely", "kubectl-run", None);
    server.put(PODS, lonely);
    for workload in ["web", "lonely"] {
        wait_evidence(&vedette, workload, "was made by kubectl")?;
    }
    // By the log, whose last line is not whole yet; then by the webhook.
    let alice = record("a", "alice", "apps", "deployments", "web").to_string();
    let log = folder.path().join("audit.log");
    fs::write(&log, format!("{alice}\n{}", &alice[..40]))?;
    wait_evidence(
        &vedette,
        "web",
        "Deployment web was made by alice, as the audit record of 2026-11-21T00:47:52Z",
    )?;
    let bob = record("b", "bob", "", "pods", "lonely");
    let list =
        json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [bob, {"stage": "Panic"}]});
    ensure!(post(&vedette, "main", &list.to_string())? == 204);
    ensure!(post(&vedette, "other", &list.to_string())? == 400);
    ensure!(post(&vedette, "main", "{}")? == 400);
    wait_evidence(&vedette, "lonely", "Pod lonely was made by bob")?;
    let people = |vedette: &Vedette| -> Result<Vec<String>> {
        let mut found = vedette.events("kind=audit&limit=1000")?;
        found.sort_by_key(|event| event["vedette.k8s.audit.id"].to_string());
        Ok(found.iter().map(|event| event["user.name"].as_str().unwrap_or_default().to_owned()).collect())
    };
    ensure!(people(&vedette)? == ["alice", "bob"], "{:?}", people(&vedette)?);
    let part = vedette.part("audit main")?;
    ensure!(part["health"] == "ok", "{part}");
    // After a restart nothing of the log is stored twice, and it is gone on with.
    vedette.terminate(START)?;
    let rest = record("c", "carol", "apps", "deployments", "web").to_string();
    fs::write(&log, format!("{alice}\n{rest}\n"))?;
    let mut vedette = Vedette::start(folder.path(), Some(config))?;
    vedette.wait_ready(START)?;
    wait_for("the rest of the log", SOON, || Ok((people(&vedette)?.len() == 3).then_some(())))?;
    ensure!(people(&vedette)? == ["alice", "bob", "carol"], "{:?}", people(&vedette)?);
    Ok(())
}

#[test]
fn a_workload_that_is_not_allowed_is_found_with_who_made_it_until_it_is_gone() -> Result<()> {
    let server = cluster();
    let folder = tempfile::tempdir()?;
    let kubeconfig = json!({"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k"}}],
        "clusters": [{"name": "k", "cluster": {"server": server.url()}}]});
    fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string())?;
    let config = "kubernetes: [{name: main, kubeconfig_file: kubeconfig, policy: {allowed_registries: [docker.io/library]}}]\n\
        collect: {figures: off, sensor: off}\n\
        notify: {group_wait: 1s, receivers: [{name: log, file: {path: notifications.jsonl}}]}\n";
    let mut vedette = Vedette::start(folder.path(), Some(config))?;
    vedette.wait_ready(START)?;
    let wait_judged = |vedette: &Vedette| {
        wait_for("a judgement", SOON, || {
            let part = vedette.part("policy main");
            Ok(part.is_ok_and(|part| part["health"] == "ok").then_some(()))
        })
    };
    wait_judged(&vedette)?;
    ensure!(findings(&vedette, "firing")?.is_empty(), "{:?}", findings(&vedette, "firing")?);
    server.put(PODS, pod(1));
    server.put(PODS, pod(2));
    let found = wait_for("two findings", SOON, || {
        Ok(Some(findings(&vedette, "firing")?).filter(|found| found.len() >= 2))
    })?;
    ensure!(found.len() == 2, "{found:?}");
    for (found, rule, severity) in [(&found[0], REGISTRY, "warning"), (&found[1], ACCESS, "critical")] {
        let labels = &found["finding"]["labels"];
        ensure!(labels["alertname"] == rule && labels["severity"] == severity, "{found}");
        ensure!(labels["workload_kind"] == "Deployment" && labels["workload"] == "web", "{found}");
        ensure!(labels["namespace"] == "shop" && labels["cluster"] == "main", "{found}");
        let evidence = found["finding"]["evidence"].to_string();
        ensure!(
            evidence.contains("Deployment web was made by kubectl-create (Update) at 2026-11-21"),
            "{found}"
        );
    }
    ensure!(found[0]["finding"]["labels"]["image"] == "evil.io/miner", "{}", found[0]);
    wait_for("the notification", SOON, || Ok((told(folder.path()) > 0).then_some(())))?;
    let row = format!("\nvedette_cluster_policy_findings{{cluster=\"main\",rule=\"{ACCESS}\"}} 1\n");
    let is_shown =
        |vedette: &Vedette| Ok(http::get(vedette.address, "/metrics")?.text().contains(&row).then_some(()));
    wait_for("the metric", SOON, || is_shown(&vedette))?;
    let before = told(folder.path());
    // A restart finds them again and does not tell of them again; then they end with the last pod.
    vedette.terminate(START)?;
    let mut vedette = Vedette::start(folder.path(), Some(config))?;
    vedette.wait_ready(START)?;
    wait_judged(&vedette)?;
    server.remove(PODS, "shop", "web-5d9c-1");
    wait_for("the metric after a restart", SOON, || is_shown(&vedette))?;
    ensure!(findings(&vedette, "resolved")?.is_empty(), "{:?}", findings(&vedette, "resolved")?);
    server.remove(PODS, "shop", "web-5d9c-2");
    wait_for("their end", SOON, || Ok((findings(&vedette, "resolved")?.len() == 2).then_some(())))?;
    ensure!(findings(&vedette, "firing")?.len() == 2, "{:?}", findings(&vedette, "firing")?);
    ensure!(told(folder.path()) == before, "they were told again");
    Ok(())
}
