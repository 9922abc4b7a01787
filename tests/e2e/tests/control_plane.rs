//! A real API server, scheduler and controller manager: what we tell of the cluster is what they say.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use vedette_e2e::{
    control_plane::{self, ControlPlane},
    http,
    program::Vedette,
    skip, wait_for,
};

/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(120);
const START: Duration = Duration::from_secs(30);
/// etcd's own default.
const QUOTA_BYTES: u64 = 2 << 30;
/// Filled in a moment.
const SMALL_QUOTA_BYTES: u64 = 16 << 20;

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
        .filter(|target| target["scrapePool"] == "pods")
        .map(|target| {
            let labels = &target["discoveredLabels"];
            (text(&labels["__meta_kubernetes_pod_name"]), text(&labels["__meta_kubernetes_pod_node_name"]))
        })
        .collect();
    pods.sort();
    Ok(pods)
}

/// Rows of the families that are compared, as the page has them.
fn told(vedette: &Vedette) -> Result<BTreeSet<String>> {
    let answer = http::get(vedette.address, "/metrics/kube-state")?;
    ensure!(answer.status == 200, "{}", answer.text());
    let text = answer.text();
    let is_compared = |line: &&str| FAMILIES.iter().any(|family| line.starts_with(&format!("{family}{{")));
    let one = |line: &str| {
        let (series, value) = line.rsplit_once(' ').context("a row without value")?;
        Ok(format!("{series} {}", value.parse::<f64>()?))
    };
    text.lines().filter(is_compared).map(one).collect()
}

/// What is compared, where every object gives one row or one for each of its states.
const FAMILIES: [&str; 7] = [
    "kube_pod_status_phase",
    "kube_pod_container_info",
    "kube_pod_owner",
    "kube_deployment_spec_replicas",
    "kube_deployment_status_replicas",
    "kube_replicaset_spec_replicas",
    "kube_node_status_capacity",
];

/// The same rows, made of what `kubectl get -o json` prints.
fn real(plane: &ControlPlane) -> Result<BTreeSet<String>> {
    let mut rows = BTreeSet::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for pod in plane.list("pods")? {
        let meta = &pod["metadata"];
        let head = format!(
            "namespace=\"{}\",pod=\"{}\",uid=\"{}\"",
            text(&meta["namespace"]),
            text(&meta["name"]),
            text(&meta["uid"])
        );
        for phase in ["Pending", "Succeeded", "Failed", "Unknown", "Running"] {
            let value = u8::from(pod["status"]["phase"] == phase);
            rows.insert(format!("kube_pod_status_phase{{{head},phase=\"{phase}\"}} {value}"));
        }
        for container in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
            let spec = pod["spec"]["containers"].as_array().into_iter().flatten();
            let spec = spec.into_iter().find(|spec| spec["name"] == container["name"]);
            rows.insert(format!(
                "kube_pod_container_info{{{head},container=\"{}\",image_spec=\"{}\",image=\"{}\",image_id=\"{}\",container_id=\"{}\"}} 1",
                text(&container["name"]),
                text(&spec.context("a container that is not wished")?["image"]),
                text(&container["image"]),
                text(&container["imageID"]),
                text(&container["containerID"])
            ));
        }
        for owner in meta["ownerReferences"].as_array().into_iter().flatten() {
            rows.insert(format!(
                "kube_pod_owner{{{head},owner_kind=\"{}\",owner_name=\"{}\",owner_is_controller=\"{}\"}} 1",
                text(&owner["kind"]),
                text(&owner["name"]),
                owner["controller"].as_bool().unwrap_or(false)
            ));
        }
    }
    for (kind, label) in [("deployments", "deployment"), ("replicasets", "replicaset")] {
        for object in plane.list(kind)? {
            let meta = &object["metadata"];
            let head =
                format!("{{namespace=\"{}\",{label}=\"{}\"}}", text(&meta["namespace"]), text(&meta["name"]));
            rows.insert(format!("kube_{label}_spec_replicas{head} {}", object["spec"]["replicas"]));
            if label == "deployment" {
                let replicas = object["status"]["replicas"].as_u64().unwrap_or(0);
                rows.insert(format!("kube_deployment_status_replicas{head} {replicas}"));
            }
        }
    }
    for node in plane.list("nodes")? {
        let name = text(&node["metadata"]["name"]);
        let capacity = &node["status"]["capacity"];
        let gibibytes: f64 = text(&capacity["memory"]).trim_end_matches("Gi").parse()?;
        for (resource, unit, value) in [
            ("cpu", "core", text(&capacity["cpu"])),
            ("pods", "integer", text(&capacity["pods"])),
            ("memory", "byte", (gibibytes * f64::from(1 << 30)).to_string()),
        ] {
            rows.insert(format!(
                "kube_node_status_capacity{{node=\"{name}\",resource=\"{resource}\",unit=\"{unit}\"}} {value}"
            ));
        }
    }
    Ok(rows)
}

/// How shops are told, as kube-state-metrics takes it.
const CUSTOM_STATE: &str = "kind: CustomResourceStateMetrics
spec:
  resources:
  - groupVersionKind: {group: example.org, version: v1, kind: Shop}
    labelsFromPath: {name: [metadata, name]}
    metrics:
    - {name: doors, help: Doors of a shop., each: {type: Gauge, gauge: {path: [spec, doors]}}}
";

/// What says to the API server that there are shops.
fn definition_of_shops() -> Value {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "shops.example.org"},
        "spec": {"group": "example.org", "scope": "Namespaced",
            "names": {"plural": "shops", "singular": "shop", "kind": "Shop"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema}}]}})
}

/// A kind that is defined while we watch is told, and follows what `kubectl` does.
fn shops_are_told(plane: &ControlPlane, vedette: &Vedette) -> Result<()> {
    let rows = || -> Result<Vec<String>> {
        let page = http::get(vedette.address, "/metrics/kube-state")?.text();
        let rows = page.lines().filter(|line| line.starts_with("kube_customresource_"));
        Ok(rows.map(str::to_owned).collect())
    };
    ensure!(rows()?.is_empty(), "nobody has defined shops");
    plane.apply(&definition_of_shops())?;
    for doors in [2, 3] {
        let shop = json!({"apiVersion": "example.org/v1", "kind": "Shop",
            "metadata": {"namespace": "default", "name": "corner"}, "spec": {"doors": doors}});
        let row = format!(
            "kube_customresource_doors{{customresource_group=\"example.org\",customresource_kind=\"Shop\",\
             customresource_version=\"v1\",name=\"corner\"}} {doors}"
        );
        // It takes a moment until the API server knows what it was told of.
        wait_for("the API server to take a shop", SOON, || plane.apply(&shop).map(Some))?;
        wait_for(&row, SOON, || {
            let rows = rows()?;
            ensure!(rows == [row.as_str()], "told is {rows:?}");
            Ok(Some(()))
        })?;
    }
    plane.kubectl(&["delete", "shop", "corner"])?;
    wait_for("a shop to be gone", SOON, || Ok(rows()?.is_empty().then_some(())))
}

fn agree(plane: &ControlPlane, vedette: &Vedette, count: usize) -> Result<()> {
    wait_for(&format!("{count} pods, known alike"), SOON, || {
        plane.act_as_kubelets()?;
        let (real, ours) = (placed(plane)?, discovered(vedette)?);
        ensure!(real == ours, "the API server says {real:?}, discovery {ours:?}");
        let (rows, page) = (self::real(plane)?, told(vedette)?);
        let (absent, wrong) =
            (rows.difference(&page).collect::<Vec<_>>(), page.difference(&rows).collect::<Vec<_>>());
        ensure!(rows == page, "rows that are absent: {absent:#?}, and wrong ones: {wrong:#?}");
        Ok((real.len() == count && real.iter().all(|(_, node)| !node.is_empty())).then_some(()))
    })
}

/// Somebody makes a workload that is not allowed, and somebody else changes it: both are named as the API server's
/// audit records name them.
fn who_made_it_is_told(plane: &ControlPlane, vedette: &Vedette, name: &str) -> Result<()> {
    let mut grave = deployment(name, 1);
    grave["spec"]["template"]["spec"]["hostPID"] = json!(true);
    // For one second managed fields and records would name two changes.
    plane.create_as("alice", &grave)?;
    std::thread::sleep(Duration::from_millis(1100));
    plane.kubectl(&["--as=bob", "--as-group=system:masters", "label", "deployment", name, "team=x"])?;
    let evidence = wait_for(&format!("who made and changed {name}"), SOON, || {
        let found = vedette.events(&format!("kind=finding&text={name}&limit=1000"))?;
        let finding = found.into_iter().find(|event| {
            let labels = &event["finding"]["labels"];
            labels["alertname"] == "pod-with-host-access" && labels["workload"] == name
        });
        let evidence = finding.map(|event| event["finding"]["evidence"].to_string());
        Ok(evidence.filter(|text| text.contains("was made by alice")))
    })?;
    ensure!(
        evidence.contains(&format!("Deployment {name} was made by alice, as the audit record of ")),
        "{evidence}"
    );
    ensure!(evidence.contains("asked for by admin, from 127.0.0.1, with "), "{evidence}");
    let changes = wait_for("the records", SOON, || {
        let found = vedette.events(&format!("kind=audit&text=deployments+{name}&limit=1000"))?;
        Ok(Some(found).filter(|found| found.len() >= 2))
    })?;
    let one = |event: &Value| {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        (text("vedette.k8s.audit.verb"), text("user.name"), event["http.response.status_code"].as_u64())
    };
    let mut people: Vec<_> =
        changes.iter().map(one).filter(|(_, user, _)| !user.starts_with("system:")).collect();
    people.sort();
    let expected = [("create", "alice", Some(201)), ("patch", "bob", Some(200))];
    ensure!(people == expected.map(|(verb, user, code)| (verb.into(), user.into(), code)), "{people:?}");
    plane.kubectl(&["delete", "deployment", name, "--wait=true"])?;
    wait_for("its pods to go", SOON, || {
        plane.act_as_kubelets()?;
        let pods = placed(plane)?;
        Ok((!pods.iter().any(|(pod, _)| pod.starts_with(name))).then_some(()))
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
    let config = format!(
        "prometheus_config: prometheus.yml\ncollect: {{figures: off, sensor: off}}\n\
         kubernetes: [{{name: real, kubeconfig_file: {}, state_metrics: {{custom_resources: [custom.yml]}}, \
         audit: {{webhook: on, log_file: {}}}, etcd: {{endpoints: ['http://{}']}}, \
         part_metrics: [{{parts: [apiserver, etcd], interval: 2s}}]}}]\n",
        file.display(),
        plane.audit_log().display(),
        plane.etcd_address()
    );
    std::fs::write(folder.path().join("custom.yml"), CUSTOM_STATE)?;
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(START)?;

    plane.apply(&deployment("web", 3))?;
    agree(&plane, &vedette, 3)?;
    plane.apply(&deployment("web", 5))?;
    agree(&plane, &vedette, 5)?;
    shops_are_told(&plane, &vedette)?;
    who_made_it_is_told(&plane, &vedette, "by-log")?;
    for (job, family) in [("apiserver", "apiserver_request_total"), ("etcd", "etcd_server_has_leader")] {
        let expr = format!("{family}{{job=\"{job}\",cluster=\"real\"}} > 0 and on (job) up == 1");
        wait_for(&expr, SOON, || Ok((!vedette.query(&expr)?.is_empty()).then_some(())))?;
    }

    // etcd hangs, then goes on: nothing that is known is lost.
    plane.freeze_etcd(true)?;
    std::thread::sleep(Duration::from_secs(3));
    ensure!(discovered(&vedette)?.len() == 5, "what is known stays");
    plane.freeze_etcd(false)?;

    // The API server ends while it is watched, and others change the cluster as soon as it is back.
    plane.stop_apiserver();
    std::thread::sleep(Duration::from_secs(2));
    ensure!(discovered(&vedette)?.len() == 5, "what is known stays");
    plane.send_audit_records(&format!("http://{}/api/vedette/v1/audit/real", vedette.address))?;
    plane.start_apiserver()?;
    plane.apply(&deployment("web", 2))?;
    plane.apply(&deployment("shop", 1))?;
    agree(&plane, &vedette, 3)?;
    who_made_it_is_told(&plane, &vedette, "by-webhook")?;
    plane.kubectl(&["delete", "deployment", "web", "shop"])?;
    agree(&plane, &vedette, 0)
}

/// How a part is, as the API tells it.
#[expect(clippy::disallowed_methods, reason = "the time of a finding is told, not judged")]
fn wait_part(vedette: &Vedette, name: &str, state: &str) -> Result<Value> {
    let start = Instant::now();
    let found = wait_for(&format!("{name} to be {state}"), SOON, || {
        let answer = vedette.get("/api/vedette/v1/clusters")?;
        let parts = answer["clusters"][0]["parts"].as_array().cloned().unwrap_or_default();
        let found: Vec<_> = parts.iter().filter(|part| part["part"] == name).cloned().collect();
        ensure!(!found.is_empty(), "there is no {name} among {parts:?}");
        // One that fails is enough; it is well when all are.
        let is_so = |part: &&Value| part["state"] == state;
        let all = state != "healthy" || found.iter().all(|part| is_so(&part));
        Ok(found.iter().find(is_so).filter(|_| all).cloned())
    })?;
    println!("{name} is {state} after {:.1} s: {}", start.elapsed().as_secs_f64(), found["evidence"]);
    Ok(found)
}

#[test]
fn failures_of_the_real_control_plane_are_found_and_told_until_they_are_mended() -> Result<()> {
    let Some(program) = control_plane::program() else {
        skip!("failures of a real control plane", "kubernetes is not built; the peers lane builds it");
    };
    let folder = tempfile::tempdir()?;
    let mut plane = ControlPlane::start(program, folder.path(), SMALL_QUOTA_BYTES)?;
    let config = format!(
        "collect: {{figures: off, sensor: off}}\nkubernetes:\n- name: real\n  kubeconfig_file: {}\n  \
         etcd: {{endpoints: ['http://{}']}}\n",
        plane.kubeconfig().display(),
        plane.etcd_address()
    );
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(START)?;
    let all = ["apiserver", "etcd", "scheduler", "controller-manager"];
    for name in all {
        wait_part(&vedette, name, "healthy")?;
    }

    plane.freeze_etcd(true)?;
    wait_part(&vedette, "etcd", "failed")?;
    plane.freeze_etcd(false)?;
    for name in all {
        wait_part(&vedette, name, "healthy")?;
    }
    plane.stop_etcd();
    wait_part(&vedette, "etcd", "failed")?;
    plane.start_etcd()?;
    for name in all {
        wait_part(&vedette, name, "healthy")?;
    }
    plane.stop_apiserver();
    wait_part(&vedette, "apiserver", "failed")?;
    plane.start_apiserver()?;
    for name in all {
        wait_part(&vedette, name, "healthy")?;
    }
    plane.stop_scheduler();
    wait_part(&vedette, "scheduler", "failed")?;

    // Its space runs out: it takes no more, and says so until a person makes room.
    let filler = "x".repeat(900_000);
    let full = (0..100).map(|count| {
        plane.create(&json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": "default", "name": format!("filler-{count}")}, "data": {"x": filler}}))
    });
    ensure!(full.into_iter().any(|created| created.is_err()), "etcd takes more than its quota");
    wait_part(&vedette, "etcd", "failed")?;
    // Its health may be asked before the figure that tells why is known.
    wait_for("the reason of etcd", SOON, || {
        let answer = vedette.get("/api/vedette/v1/clusters")?;
        let mut parts = answer["clusters"][0]["parts"].as_array().into_iter().flatten();
        Ok(parts.any(|part| part["part"] == "etcd" && part["cause"] == "no_space").then_some(()))
    })?;
    Ok(())
}
