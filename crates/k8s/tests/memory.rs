//! What pods take, while they are listed, when they are kept, and when they are listed again. 30,000 of
//! them give the same figures, and take their time without optimization.

use serde_json::json;
use vedette_k8s::{
    Error, ListReader, Shelf,
    objects::Pod,
    policy::{Made, Makers, Policy, PolicyView, Rules},
};
use vedette_test_allocator::Counting;

const PODS: usize = 1_000;
/// Measured: 1,953, of which 720 are only for state metrics; as JSON they have 2,299.
const BYTES_A_POD_MAX: usize = 2_400;
/// What is kept of a pod that was judged and is as it should be, beside the pod itself.
const JUDGED_BYTES_A_POD_MAX: usize = 200;
/// The peak of a list over what is kept when it ends; the goal is 1.3.
const PEAK_RATIO_MAX: f64 = 1.2;

#[global_allocator]
static ALLOCATOR: Counting = Counting::new();

/// A pod as a deployment makes it, with what an API server adds.
fn pod(number: usize, version: usize) -> String {
    let name = format!("web-{}-6f7d8c9b5d-{number:05x}", number / 30);
    let env: Vec<_> =
        (0..8).map(|i| json!({"name": format!("VARIABLE_{i}"), "value": "some value"})).collect();
    let fields = json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {"f:containers":
        {"k:{\"name\":\"app\"}": {".": {}, "f:env": {}, "f:image": {}, "f:ports": {}}}}});
    let managed = json!({"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": fields,
        "time": "2026-11-21T00:47:52Z"});
    json!({
        "metadata": {"name": name, "namespace": format!("team-{}", number % 40),
            "uid": format!("{number:08x}-1111-2222-3333-444444444444"), "resourceVersion": version.to_string(),
            "creationTimestamp": "2026-11-21T00:47:52Z", "managedFields": [managed, managed],
            "labels": {"app": "web", "pod-template-hash": "6f7d8c9b5d", "app.kubernetes.io/part-of": "shop"},
            "annotations": {"prometheus.io/scrape": "true"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-6f7d8c9b5d",
                "uid": "u", "controller": true, "blockOwnerDeletion": true}]},
        "spec": {"nodeName": format!("node-{}", number % 1000), "serviceAccountName": "default",
            "containers": [{"name": "app", "image": "registry.example.com/shop/web:1.2.3", "env": env,
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}],
            "volumes": [{"name": "token", "projected": {"defaultMode": 420}}]},
        "status": {"phase": "Running", "podIP": format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255),
            "hostIP": "10.255.0.1",
            "conditions": (["Ready", "Initialized", "ContainersReady", "PodScheduled"].map(|kind|
                json!({"type": kind, "status": "True", "lastTransitionTime": "2026-11-21T00:47:52Z"}))),
            "containerStatuses": [{"name": "app", "containerID": format!("containerd://{number:064x}"),
                "image": "registry.example.com/shop/web:1.2.3", "ready": true, "restartCount": 0,
                "imageID": format!("registry.example.com/shop/web@sha256:{:064x}", 7),
                "state": {"running": {"startedAt": "2026-11-21T00:47:52Z"}}}]}
    })
    .to_string()
}

/// Lists all pods into the shelf, in pieces as a network gives them. Gives the length of the list.
fn list(shelf: &mut Shelf<Pod>, version: usize) -> usize {
    let mut reader = ListReader::new();
    let mut length = 0;
    shelf.begin();
    let mut take = |piece: &str| {
        for piece in piece.as_bytes().chunks(16_000) {
            length += piece.len();
            let taken = reader.take(piece, |item| {
                let pod = serde_json::from_slice(item).map_err(|error| Error::Answer(error.to_string()))?;
                shelf.put(pod);
                Ok(())
            });
            taken.expect("a sound list");
        }
    };
    take("{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[");
    for number in 0..PODS {
        take(if number == 0 { "" } else { "," });
        take(&pod(number, version));
    }
    take("]}");
    shelf.finish();
    length
}

/// Knows nothing of what made pods.
struct Nobody;

impl Makers for Nobody {
    fn find(&self, _: &str, _: &str, _: &str) -> Made {
        Made::Unwatched
    }
}

/// Judges all pods, which are as they should be.
fn judge(policy: &mut Policy, shelf: &Shelf<Pod>) -> usize {
    policy.gather(shelf);
    let mut findings = Vec::new();
    let nodes = Shelf::default();
    let view = PolicyView {
        cluster: "main",
        nodes: &nodes,
        makers: &Nobody,
        records: None,
        may_judge: true,
        now_ns: 0,
    };
    policy.judge(&view, &mut findings);
    findings.len()
}

#[test]
fn a_list_takes_hardly_more_than_what_it_leaves() {
    let before = ALLOCATOR.used();
    let mut shelf = Shelf::default();
    for version in [1, 2] {
        ALLOCATOR.begin();
        let length = list(&mut shelf, version);
        let (kept, peak) = (ALLOCATOR.used() - before, ALLOCATOR.peak() - before);
        println!(
            "list {version}: {} bytes of JSON a pod, {} kept, peak {:.3} of what is kept",
            length / PODS,
            kept / PODS,
            peak as f64 / kept as f64
        );
        assert_eq!(shelf.len(), PODS);
        assert!(kept / PODS < BYTES_A_POD_MAX, "{} bytes a pod", kept / PODS);
        assert!((peak as f64) < kept as f64 * PEAK_RATIO_MAX, "peak {peak}, kept {kept}");
    }
    let before = ALLOCATOR.used();
    let registries = vec!["registry.example.com/shop".parse().expect("a registry")];
    let mut policy = Policy::new(Rules { registries, privileged: Some(Vec::new()), digests: true });
    assert_eq!(judge(&mut policy, &shelf), 0);
    let kept = (ALLOCATOR.used() - before) / PODS;
    println!("judged: {kept} bytes a pod");
    assert!(kept < JUDGED_BYTES_A_POD_MAX, "{kept} bytes a pod");
}
