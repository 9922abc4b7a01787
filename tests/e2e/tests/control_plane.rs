//! A real API server, scheduler and controller manager: what we tell of the cluster is what they say.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use vedette_e2e::{
    control_plane::{self, ControlPlane},
    program::Vedette,
    skip, wait_for,
};

/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(120);
const START: Duration = Duration::from_secs(30);
/// etcd's own default.
const QUOTA_BYTES: u64 = 2 << 30;

fn deployment(name: &str, replicas: u32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "default", "name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [
                {"name": "c", "image": "example.org/image:1", "ports": [{"name": "http", "containerPort": 80}],
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]}}}})
}

/// Names of pods that have the label `app`, and the machine that each was placed on.
fn placed(plane: &ControlPlane) -> Result<Vec<(String, String)>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut pods: Vec<_> = (plane.list("pods")?.iter())
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .map(|pod| (text(&pod["metadata"]["name"]), text(&pod["spec"]["nodeName"])))
        .collect();
    pods.sort();
    Ok(pods)
}

/// What discovery says of pods: their names and machines.
fn discovered(vedette: &Vedette) -> Result<Vec<(String, String)>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut pods: Vec<_> = (vedette.targets()?.iter())
        .map(|target| {
            let labels = &target["discoveredLabels"];
            (text(&labels["__meta_kubernetes_pod_name"]), text(&labels["__meta_kubernetes_pod_node_name"]))
        })
        .collect();
    pods.sort();
    Ok(pods)
}

fn agree(plane: &ControlPlane, vedette: &Vedette, count: usize) -> Result<()> {
    wait_for(&format!("{count} pods, known alike"), SOON, || {
        plane.act_as_kubelets()?;
        let (real, ours) = (placed(plane)?, discovered(vedette)?);
        ensure!(real == ours, "the API server says {real:?}, discovery {ours:?}");
        Ok((real.len() == count && real.iter().all(|(_, node)| !node.is_empty())).then_some(()))
    })
}

#[test]
fn what_the_real_control_plane_says_is_what_we_know() -> Result<()> {
    let Some(program) = control_plane::program() else {
        skip!("real control plane", "kubernetes is not built; the peers lane builds it");
    };
    let folder = tempfile::tempdir()?;
    let mut plane = ControlPlane::start(program, folder.path(), QUOTA_BYTES)?;
    plane.add_node("n1", 4, 8)?;
    plane.add_node("n2", 4, 8)?;
    let file = plane.kubeconfig();
    let text = format!(
        "scrape_configs:\n- {{job_name: pods, scrape_interval: 1h, kubernetes_sd_configs: [{{role: pod, \
         kubeconfig_file: {}}}]}}\n",
        file.display()
    );
    std::fs::write(folder.path().join("prometheus.yml"), text)?;
    let config = "prometheus_config: prometheus.yml\ncollect: {figures: off, sensor: off}\n";
    let mut vedette = Vedette::start(folder.path(), Some(config))?;
    vedette.wait_ready(START)?;

    plane.apply(&deployment("web", 3))?;
    agree(&plane, &vedette, 3)?;
    plane.apply(&deployment("web", 5))?;
    agree(&plane, &vedette, 5)?;

    // etcd hangs, then goes on: nothing that is known is lost.
    plane.freeze_etcd(true)?;
    std::thread::sleep(Duration::from_secs(3));
    ensure!(discovered(&vedette)?.len() == 5, "what is known stays");
    plane.freeze_etcd(false)?;

    // The API server ends while it is watched, and others change the cluster as soon as it is back.
    plane.stop_apiserver();
    std::thread::sleep(Duration::from_secs(2));
    ensure!(discovered(&vedette)?.len() == 5, "what is known stays");
    plane.start_apiserver()?;
    plane.apply(&deployment("web", 2))?;
    plane.apply(&deployment("shop", 1))?;
    agree(&plane, &vedette, 3)?;
    plane.kubectl(&["delete", "deployment", "web", "shop"])?;
    agree(&plane, &vedette, 0)
}
