//! Objects as a cluster of some size has them: pods of deployments on nodes.

use serde_json::{Value, json};

/// Pods of a node.
pub const PODS_A_NODE: usize = 10;

/// What a pod is called.
pub fn name(number: usize) -> String {
    format!("web-{}-6f7d8c9b5d-{number:05x}", number / 30)
}

/// Where a pod lives.
pub fn namespace(number: usize) -> String {
    format!("team-{}", number % 40)
}

/// What tells a pod from one of the same name.
pub fn uid(number: usize) -> String {
    format!("{number:08x}-1111-2222-3333-444444444444")
}

/// A pod as a deployment makes it, of one container that has started again so many times.
pub fn pod(number: usize, restarts: usize) -> Value {
    let condition =
        |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-11-21T00:47:52Z"});
    json!({
        "metadata": {"name": name(number), "namespace": namespace(number),
            "uid": uid(number),
            "creationTimestamp": "2026-11-21T00:47:52Z",
            "labels": {"app": "web", "pod-template-hash": "6f7d8c9b5d", "app.kubernetes.io/part-of": "shop"},
            "annotations": {"prometheus.io/scrape": "true"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-6f7d8c9b5d", "controller": true}]},
        "spec": {"nodeName": format!("node-{}", number / PODS_A_NODE), "serviceAccountName": "default",
            "restartPolicy": "Always", "schedulerName": "default-scheduler",
            "containers": [{"name": "app", "image": "registry.example.com/shop/web:1.2.3",
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}}],
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute",
                    "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
                    "tolerationSeconds": 300}]},
        "status": {"phase": "Running", "qosClass": "Burstable", "startTime": "2026-11-21T00:47:52Z",
            "podIP": format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255), "hostIP": "10.255.0.1",
            "podIPs": [{"ip": format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255)}],
            "conditions": (["Ready", "Initialized", "ContainersReady", "PodScheduled"].map(condition)),
            "containerStatuses": [{"name": "app", "containerID": format!("containerd://{number:064x}"),
                "image": "registry.example.com/shop/web:1.2.3",
                "imageID": "registry.example.com/shop/web@sha256:0123456789abcdef0123456789abcdef0123456789abcdef",
                "ready": true, "restartCount": restarts, "state": {"running": {"startedAt": "2026-11-21T00:47:55Z"}}}]}
    })
}

/// A node that is well.
pub fn node(number: usize) -> Value {
    let condition = |kind: &str| {
        let status = if kind == "Ready" { "True" } else { "False" };
        json!({"type": kind, "status": status})
    };
    let amounts = json!({"cpu": "16", "memory": "64Gi", "pods": "110", "ephemeral-storage": "100Gi"});
    json!({"metadata": {"name": format!("node-{number}"), "creationTimestamp": "2026-11-21T00:47:52Z"},
        "status": {"capacity": amounts, "allocatable": amounts,
            "conditions": (["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"].map(condition)),
            "addresses": [{"type": "InternalIP", "address": "10.255.0.1"}]}})
}
