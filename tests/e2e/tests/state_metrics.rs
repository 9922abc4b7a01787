//! The state of the objects of a cluster as metrics, by the real program. The API server is that of the tests.

use std::{path::Path, time::Duration};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use vedette_e2e::{http, program::Vedette, wait_for};
use vedette_test_apiserver::ApiServer;

const START: Duration = Duration::from_secs(30);
/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(120);

const CLUSTER: &str = "collect: {figures: off, sensor: off}\nkubernetes: [{name: c, kubeconfig_file: kubeconfig, \
    state_metrics: {kinds: [pods, nodes, namespaces], labels: {pods: [app]}}}]\n";

fn write_kubeconfig(folder: &Path, server: &ApiServer) -> Result<()> {
    let kubeconfig = json!({"current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server.url()}}],
        "users": [{"name": "u", "user": {}}]});
    Ok(std::fs::write(folder.join("kubeconfig"), kubeconfig.to_string())?)
}

fn pod(name: &str, phase: &str) -> Value {
    json!({"metadata": {"namespace": "shop", "name": name, "uid": "u", "labels": {"app": "web", "own": "x"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}, "status": {"phase": phase}})
}

fn page(vedette: &Vedette, path: &str) -> Result<String> {
    let answer = http::get(vedette.address, path)?;
    ensure!(answer.status == 200, "{path}: {}", answer.status);
    Ok(answer.text())
}

fn wait_page(vedette: &Vedette, what: &str, holds: impl Fn(&str) -> bool) -> Result<()> {
    wait_for(what, SOON, || Ok(holds(&page(vedette, "/metrics/kube-state")?).then_some(())))
}

fn phase(name: &str, phase: &str) -> String {
    format!("kube_pod_status_phase{{namespace=\"shop\",pod=\"{name}\",uid=\"u\",phase=\"{phase}\"}} 1\n")
}

#[test]
fn rows_follow_the_objects_and_what_is_forbidden_is_named() -> Result<()> {
    let server = ApiServer::start();
    server.behave(|b| b.forbidden = vec![("list".into(), "nodes".into()), ("watch".into(), "nodes".into())]);
    server.put("/api/v1/pods", pod("a", "Pending"));
    server.put("/api/v1/namespaces", json!({"metadata": {"name": "shop"}, "status": {"phase": "Active"}}));
    let folder = tempfile::tempdir()?;
    write_kubeconfig(folder.path(), &server)?;
    let mut vedette = Vedette::start(folder.path(), Some(CLUSTER))?;
    vedette.wait_ready(START)?;

    wait_page(&vedette, "the pod", |page| page.contains(&phase("a", "Pending")))?;
    wait_page(&vedette, "the namespace", |page| {
        page.contains("kube_namespace_status_phase{namespace=\"shop\",phase=\"Active\"} 1\n")
    })?;
    let told = page(&vedette, "/metrics/kube-state")?;
    let labels = "kube_pod_labels{namespace=\"shop\",pod=\"a\",uid=\"u\",label_app=\"web\"} 1\n";
    ensure!(told.contains(labels), "only labels that are allowed are told: {told}");
    ensure!(told.contains("# TYPE kube_node_info gauge\n"), "a family without rows is named, too");
    ensure!(!told.contains("kube_node_info{"), "nodes may not be read");

    // Changes, what is new and what is gone.
    server.put("/api/v1/pods", pod("a", "Running"));
    server.put("/api/v1/pods", pod("b", "Failed"));
    wait_page(&vedette, "the changes", |page| {
        page.contains(&phase("a", "Running")) && page.contains(&phase("b", "Failed"))
    })?;
    server.remove("/api/v1/pods", "shop", "a");
    wait_page(&vedette, "the end of a pod", |page| {
        !page.contains("pod=\"a\"") && page.contains("pod=\"b\"")
    })?;

    // What is forbidden is named with the right that is missing, and is told as soon as it is granted.
    wait_for("the missing right", SOON, || {
        let part = vedette.part("cluster c")?;
        let message = part["message"].to_string();
        let is_named = message.contains("nodes") && message.contains("in all namespaces");
        Ok((is_named && part["health"] == "degraded").then_some(()))
    })?;
    let failures = "vedette_k8s_watch_failures_total{cluster=\"c\",resource=\"nodes\"} 0\n";
    let own = page(&vedette, "/metrics")?;
    ensure!(own.contains("vedette_k8s_watch_objects{cluster=\"c\",resource=\"pods\"} 1\n"), "{own}");
    ensure!(!own.contains(failures), "failures are counted: {own}");
    server.behave(|b| b.forbidden.clear());
    server.put("/api/v1/nodes", json!({"metadata": {"name": "n1"}, "spec": {"unschedulable": true}}));
    wait_page(&vedette, "the node", |page| page.contains("kube_node_spec_unschedulable{node=\"n1\"} 1\n"))?;
    wait_for("all well", SOON, || Ok((vedette.part("cluster c")?["health"] == "ok").then_some(())))?;

    // The server is away: what was known stays, and its age is told.
    server.behave(|b| b.fails_with = Some((503, 0)));
    server.compact();
    wait_for("the age of what is known", SOON, || {
        let own = page(&vedette, "/metrics")?;
        let age = "vedette_k8s_watch_age_seconds{cluster=\"c\",resource=\"pods\"} ";
        let told =
            own.lines().find_map(|line| line.strip_prefix(age)).and_then(|age| age.parse::<f64>().ok());
        Ok(told.filter(|age| *age > 0.0).map(drop))
    })?;
    ensure!(page(&vedette, "/metrics/kube-state")?.contains(&phase("b", "Failed")), "what was known stays");
    Ok(())
}

/// A job of the program's own file stores the page under the name that rules of others expect.
#[test]
fn a_job_stores_the_page() -> Result<()> {
    let server = ApiServer::start();
    server.put("/api/v1/pods", pod("a", "Running"));
    let folder = tempfile::tempdir()?;
    write_kubeconfig(folder.path(), &server)?;
    let job = "global: {scrape_interval: 1s}\nscrape_configs:\n\
        - {job_name: kube-state-metrics, metrics_path: /metrics/kube-state, honor_labels: true, \
        file_sd_configs: [{files: [own.json], refresh_interval: 1s}]}\n";
    std::fs::write(folder.path().join("prometheus.yml"), job)?;
    let config = format!("prometheus_config: prometheus.yml\n{CLUSTER}");
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(START)?;
    let own = json!([{"targets": [vedette.address.to_string()]}]);
    std::fs::write(folder.path().join("own.json"), own.to_string())?;
    let rows = |expr: &str| wait_for(expr, SOON, || Ok((vedette.query(expr)?.len() == 1).then_some(())));
    rows(
        "kube_pod_status_phase{job=\"kube-state-metrics\",namespace=\"shop\",pod=\"a\",phase=\"Running\"} == 1",
    )?;
    server.remove("/api/v1/pods", "shop", "a");
    rows("absent(kube_pod_info{job=\"kube-state-metrics\"})")
}
