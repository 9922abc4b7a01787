//! How many nodes of a cluster may fail, by the real program. The API server is that of the tests.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use vedette_e2e::{binary, program::Vedette, wait_for};
use vedette_test_apiserver::ApiServer;

const START: Duration = Duration::from_secs(60);
/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(180);

const CONFIG: &str = "collect: {sensor: off}\n\
    kubernetes: [{name: k, kubeconfig_file: kubeconfig, capacity: {interval: 1s, pool_labels: [pool]}}]\n";

fn kubeconfig(folder: &Path, server: &ApiServer) -> Result<()> {
    let text = json!({"current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server.url()}}],
        "users": [{"name": "u", "user": {}}]});
    Ok(std::fs::write(folder.join("kubeconfig"), text.to_string())?)
}

fn node(name: &str, is_ready: bool) -> Value {
    let status = if is_ready { "True" } else { "Unknown" };
    json!({"kind": "Node", "metadata": {"name": name, "labels": {"pool": "blue"}}, "status": {
        "allocatable": {"cpu": "2", "memory": "8Gi", "pods": "10"},
        "conditions": [{"type": "Ready", "status": status}]}})
}

/// A pod that asks for one CPU.
fn pod(name: &str, node: &str) -> Value {
    json!({"kind": "Pod", "metadata": {"namespace": "shop", "name": name, "ownerReferences":
            [{"kind": "ReplicaSet", "name": "r", "uid": "r", "controller": true}]},
        "spec": {"nodeName": node, "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
        "status": {"phase": "Running"}})
}

/// Two nodes with two CPUs each, one of which is taken: either may fail.
fn cluster() -> ApiServer {
    let server = ApiServer::start();
    for (node_name, pod_name) in [("n1", "a"), ("n2", "b")] {
        server.put("/api/v1/nodes", node(node_name, true));
        server.put("/api/v1/pods", pod(pod_name, node_name));
    }
    server
}

fn wait_value(vedette: &Vedette, expr: &str, wanted: f64) -> Result<()> {
    wait_for(&format!("{expr} to be {wanted}"), SOON, || {
        let rows = vedette.query(expr)?;
        Ok((rows.len() == 1 && rows[0].1 == wanted).then_some(()))
    })
}

fn wait_pending(vedette: &Vedette, wanted: usize) -> Result<()> {
    let expr = "ALERTS{alertname=\"ClusterCapacityLost\",cluster=\"k\"}";
    wait_for(&format!("{wanted} alerts"), SOON, || Ok((vedette.query(expr)?.len() == wanted).then_some(())))
}

/// What the API tells of the one cluster.
fn told(vedette: &Vedette) -> Result<Value> {
    let answer = vedette.get("/api/vedette/v1/capacity")?;
    answer["clusters"].get(0).cloned().with_context(|| format!("one cluster: {answer}"))
}

#[test]
fn a_pod_that_takes_the_room_for_a_failure_is_seen_and_its_end_too() -> Result<()> {
    let server = cluster();
    server.behave(|b| {
        b.forbidden = vec![("list".into(), "csinodes".into()), ("watch".into(), "csinodes".into())];
    });
    let folder = tempfile::tempdir()?;
    kubeconfig(folder.path(), &server)?;
    let mut vedette = Vedette::start(folder.path(), Some(CONFIG))?;
    vedette.wait_ready(START)?;
    let survivable = "vedette_capacity_survivable_nodes{cluster=\"k\"}";
    wait_value(&vedette, survivable, 1.0)?;
    wait_value(
        &vedette,
        "vedette_capacity_incomplete{cluster=\"k\",resource=\"csinodes.storage.k8s.io\"}",
        1.0,
    )?;
    let cluster = told(&vedette)?;
    ensure!(
        cluster["incomplete"].to_string().contains("may not watch csinodes"),
        "the right is named: {cluster}"
    );
    wait_pending(&vedette, 0)?;

    // n1 is full now, and n2 has room for one of its two pods.
    server.put("/api/v1/pods", pod("c", "n1"));
    wait_value(&vedette, survivable, 0.0)?;
    wait_value(&vedette, "vedette_capacity_survivable_nodes_max{cluster=\"k\"}", 0.0)?;
    wait_value(&vedette, "vedette_capacity_witness_pods{cluster=\"k\",fate=\"pending\"}", 1.0)?;
    wait_pending(&vedette, 1)?;
    let judged = told(&vedette)?["judged"].clone();
    ensure!(judged["witness"]["nodes"] == json!(["n1"]), "{judged}");
    ensure!(judged["witness"]["pending"]["count"] == 1 && judged["fails_at"] == 1, "{judged}");
    ensure!(judged["advice"]["nodes"] == 1, "one more node helps: {judged}");

    server.remove("/api/v1/pods", "shop", "c");
    wait_value(&vedette, survivable, 1.0)?;
    wait_pending(&vedette, 0)?;
    wait_value(&vedette, "vedette_capacity_age_seconds{cluster=\"k\"}", 0.0)?;
    // Whatever is known stays, and is said to be old.
    server.behave(|b| b.fails_with = Some((503, 0)));
    wait_for("the age", SOON, || {
        let cluster = told(&vedette)?;
        let is_old = cluster["age_seconds"].as_f64() > Some(0.5) && cluster["judged"]["survives"] == 1;
        Ok((is_old && cluster["trouble"].to_string().contains("503")).then_some(()))
    })
}

#[test]
fn an_outage_is_recorded_and_kept_over_a_restart() -> Result<()> {
    let server = cluster();
    let folder = tempfile::tempdir()?;
    kubeconfig(folder.path(), &server)?;
    let mut vedette = Vedette::start(folder.path(), Some(CONFIG))?;
    vedette.wait_ready(START)?;
    wait_value(&vedette, "vedette_capacity_nodes{cluster=\"k\"}", 2.0)?;
    server.put("/api/v1/nodes", node("n1", false));
    let open = "vedette_capacity_node_outages{cluster=\"k\",pool=\"blue\",state=\"open\"}";
    wait_value(&vedette, open, 1.0)?;
    let outage = told(&vedette)?["outages"]["recent"][0].clone();
    ensure!(outage["node"] == "n1" && outage["pods"] == 1 && outage["ended_unix_ms"].is_null(), "{outage}");
    vedette.kill()?;

    // Its pod runs elsewhere meanwhile, and the node comes back while nobody looks.
    server.put("/api/v1/pods", pod("a", "n2"));
    server.put("/api/v1/nodes", node("n1", true));
    let mut vedette = Vedette::start(folder.path(), Some(CONFIG))?;
    vedette.wait_ready(START)?;
    wait_value(&vedette, "vedette_capacity_node_outages{cluster=\"k\",pool=\"blue\",state=\"over\"}", 1.0)?;
    wait_value(
        &vedette,
        "count(vedette_capacity_mean_to_recover_seconds{cluster=\"k\",pool=\"blue\"} > 0)",
        1.0,
    )?;
    let outages = told(&vedette)?["outages"].clone();
    ensure!(outages["count"] == 1, "{outages}");
    let kept = &outages["recent"][0];
    ensure!(kept["noticed_unix_ms"] == outage["noticed_unix_ms"], "the same as before: {outages}");
    ensure!(!kept["ended_unix_ms"].is_null() && !kept["pods_again_unix_ms"].is_null(), "{outages}");
    Ok(())
}

#[test]
fn the_command_asks_the_api_server() -> Result<()> {
    let server = cluster();
    server.behave(|b| b.page_objects_max = Some(1));
    let folder = tempfile::tempdir()?;
    kubeconfig(folder.path(), &server)?;
    let run = || {
        let mut command = Command::new(binary());
        command.args(["capacity", "-o", "json", "--kubeconfig"]).arg(folder.path().join("kubeconfig"));
        command.output()
    };
    let out = run()?;
    let told: Value = serde_json::from_slice(&out.stdout).with_context(|| format!("{out:?}"))?;
    ensure!(out.status.code() == Some(0) && told["survey"]["survives"] == 1, "{told}");
    ensure!(told["survey"]["pods"] == 2 && told["survey"]["nodes"] == 2, "each page was read: {told}");
    ensure!(out.stderr.is_empty(), "no terminal, no progress: {out:?}");

    server.put("/api/v1/pods", pod("c", "n1"));
    server.behave(|b| b.forbidden = vec![("list".into(), "persistentvolumes".into())]);
    let out = run()?;
    ensure!(out.status.code() == Some(1), "not any node may fail: {out:?}");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    ensure!(said.contains("may not list persistentvolumes in all namespaces"), "{said}");

    server.behave(|b| b.forbidden = vec![("list".into(), "pods".into())]);
    let out = run()?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    ensure!(out.status.code() == Some(2) && said.contains("may not list pods"), "{out:?}");
    Ok(())
}
