//! The parts of a cluster by the real program: what fails is told with evidence and the next step, and is
//! healthy again when it is mended. The API server is that of the tests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use vedette_e2e::{program::Vedette, wait_for};
use vedette_test_apiserver::ApiServer;

const START: Duration = Duration::from_secs(30);
/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(120);

/// Like nothing else that a log says, names of kinds included.
const TOKEN: &str = "7f3b-token-of-c";

const CONFIG: &str = "kubernetes: [{name: c, kubeconfig_file: kubeconfig}]\ncollect: {sensor: off}\n";
const LEASES: &str = "/apis/coordination.k8s.io/v1/leases";

fn lease(namespace: &str, name: &str, seconds: i64, count: u64) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name},
        "spec": {"holderIdentity": "h", "leaseDurationSeconds": seconds,
            // By a clock that is far behind, and goes on.
            "renewTime": format!("2020-01-01T{:02}:{:02}:{:02}.000000Z", count / 3600, count / 60 % 60, count % 60)}})
}

fn node(ready: &str) -> Value {
    json!({"metadata": {"name": "n1"}, "status": {"conditions":
        [{"type": "Ready", "status": ready, "reason": "KubeletNotReady"}]}})
}

fn dns_pod(is_ready: bool) -> Value {
    let state =
        if is_ready { json!({"running": {}}) } else { json!({"waiting": {"reason": "CrashLoopBackOff"}}) };
    json!({"metadata": {"namespace": "kube-system", "name": "coredns-1", "labels": {"k8s-app": "kube-dns"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "coredns"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if is_ready { "True" } else { "False" }}],
            "containerStatuses": [{"name": "coredns", "restartCount": 3, "state": state}]}})
}

/// Renews the leases of a cluster that works.
struct Renewing {
    scheduler: Arc<AtomicBool>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Renewing {
    fn start(server: &ApiServer) -> Self {
        let (scheduler, end) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let (server, is_renewed, is_over) = (server.clone(), scheduler.clone(), end.clone());
        let thread = std::thread::spawn(move || {
            for count in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                if is_renewed.load(Ordering::Relaxed) {
                    server.put(LEASES, lease("kube-system", "kube-scheduler", 15, count));
                }
                server.put(LEASES, lease("kube-node-lease", "n1", 40, count));
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        Self { scheduler, end, thread: Some(thread) }
    }
}

impl Drop for Renewing {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn part(vedette: &Vedette, name: &str) -> Result<Option<Value>> {
    let answer = vedette.get("/api/vedette/v1/clusters")?;
    let parts = answer["clusters"][0]["parts"].as_array().context("no parts")?;
    Ok(parts.iter().find(|part| part["part"] == name).cloned())
}

fn wait_rows(vedette: &Vedette, expr: &str, count: usize) -> Result<()> {
    wait_for(&format!("{count} rows of {expr}"), SOON, || {
        Ok((vedette.query(expr)?.len() == count).then_some(()))
    })
}

fn wait_state(vedette: &Vedette, name: &str, state: &str) -> Result<Value> {
    wait_for(&format!("{name} {state}"), SOON, || {
        Ok(part(vedette, name)?.filter(|part| part["state"] == state))
    })
}

#[test]
fn what_fails_in_a_cluster_is_told_until_it_is_mended() -> Result<()> {
    let server = ApiServer::start();
    server.put("/api/v1/nodes", node("True"));
    server.put("/api/v1/pods", dns_pod(true));
    let renewing = Renewing::start(&server);
    let folder = tempfile::tempdir()?;
    let kubeconfig = json!({"current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server.url()}}],
        "users": [{"name": "u", "user": {"token": TOKEN}}]});
    std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string())?;
    let mut vedette = Vedette::start(folder.path(), Some(CONFIG))?;
    vedette.wait_ready(START)?;
    let all = ["apiserver", "etcd", "scheduler", "kubelet", "coredns"];
    for name in all {
        wait_state(&vedette, name, "healthy")?;
    }

    // The server says itself what fails, of its own and of its store.
    server.behave(|b| b.failing_checks = vec!["log".into()]);
    let told = wait_state(&vedette, "apiserver", "failed")?;
    ensure!(
        told["cause"] == "check_failed" && told["next_step"].as_str().is_some_and(|s| s.len() > 20),
        "{told}"
    );
    ensure!(told["evidence"].as_str().is_some_and(|text| text.contains("[-]log failed")), "{told}");
    wait_state(&vedette, "kubelet", "unknown")?;
    server.behave(|b| b.failing_checks = vec!["etcd".into()]);
    wait_state(&vedette, "etcd", "failed")?;
    wait_state(&vedette, "apiserver", "degraded")?;
    // Rules judge what is told, and name the evidence.
    wait_for("the alert", SOON, || {
        let findings = vedette.get("/api/v1/alerts")?.to_string();
        Ok((findings.contains("ClusterPartFailed")
            && findings.contains("/livez [-]etcd failed: reason withheld"))
        .then_some(()))
    })?;
    server.behave(|b| b.failing_checks.clear());
    for name in all {
        wait_state(&vedette, name, "healthy")?;
    }

    // A server that hangs is as good as none.
    server.behave(|b| b.hangs = true);
    ensure!(wait_state(&vedette, "apiserver", "failed")?["cause"] == "no_answer");
    wait_state(&vedette, "etcd", "unknown")?;
    server.behave(|b| b.hangs = false);
    for name in all {
        wait_state(&vedette, name, "healthy")?;
    }

    // What only objects tell.
    server.put("/api/v1/nodes", node("False"));
    let told = wait_state(&vedette, "kubelet", "failed")?;
    ensure!(told["instance"] == "n1" && told["evidence"] == "Ready is False: KubeletNotReady", "{told}");
    server.put("/api/v1/pods", dns_pod(false));
    let told = wait_state(&vedette, "coredns", "failed")?;
    ensure!(
        told["evidence"].as_str().is_some_and(|text| text.contains("CrashLoopBackOff, 3 restarts")),
        "{told}"
    );
    renewing.scheduler.store(false, Ordering::Relaxed);
    ensure!(wait_state(&vedette, "scheduler", "failed")?["cause"] == "lease_expired");
    let status = vedette.part("cluster c parts")?;
    ensure!(
        status["health"] == "degraded" && status["message"].to_string().contains("coredns failed"),
        "{status}"
    );
    // Each under its own name, as samples come a moment later.
    wait_rows(&vedette, "vedette_cluster_part_up{cluster=\"c\"} == 0", 3)?;
    wait_rows(&vedette, "vedette_cluster_part_up{part=\"kubelet\",instance=\"n1\"} == 0", 1)?;

    server.put("/api/v1/nodes", node("True"));
    server.put("/api/v1/pods", dns_pod(true));
    renewing.scheduler.store(true, Ordering::Relaxed);
    for name in all {
        wait_state(&vedette, name, "healthy")?;
    }
    wait_for("the problems to end", SOON, || {
        Ok(vedette.query("vedette_cluster_part_problem_info")?.is_empty().then_some(()))
    })?;
    ensure!(!vedette.log().contains(TOKEN), "no secret is logged: {}", vedette.log());
    Ok(())
}
