//! What the index of workloads takes for 30,000 pods that are there, and for as many that are gone.

use serde_json::json;
use vedette_k8s::{
    identity::{Index, Limits},
    objects::{Owner, Pod},
};
use vedette_model::WorkloadQuestion;
use vedette_sys::MonotonicTime;
use vedette_test_allocator::Counting;

const PODS: usize = 30_000;
/// Measured: 644, of pods with two containers each.
const BYTES_A_POD_MAX: usize = 800;

#[global_allocator]
static ALLOCATOR: Counting = Counting::new();

fn uid(number: usize) -> String {
    format!("{number:08x}-1111-2222-3333-444444444444")
}

/// A pod of two containers as a deployment makes it.
fn pod(number: usize) -> Pod {
    let name = format!("web-{}-6f7d8c9b5d-{number:05x}", number / 30);
    let status =
        |name: &str, id: usize| json!({"name": name, "containerID": format!("containerd://{id:064x}")});
    let value = json!({
        "metadata": {"name": name, "namespace": format!("team-{}", number % 40), "uid": uid(number),
            "ownerReferences": [{"kind": "ReplicaSet", "name": format!("web-{}-6f7d8c9b5d", number / 30),
                "controller": true}]},
        "spec": {"nodeName": format!("node-{}", number % 1000), "serviceAccountName": "default",
            "containers": [{"name": "app", "image": "registry.example.com/shop/web:1.2.3"},
                {"name": "proxy", "image": "registry.example.com/mesh/proxy:4.5"}]},
        "status": {"phase": "Running",
            "podIP": format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255),
            "containerStatuses": [status("app", number * 2 + 1), status("proxy", number * 2 + 2)]}});
    serde_json::from_value(value).expect("a sound pod")
}

#[test]
fn tens_of_thousands_of_pods_stay_small() {
    let before = ALLOCATOR.used();
    let mut index = Index::new("main".into(), Limits::default());
    let kept = || ALLOCATOR.used() - before;
    for number in 0..PODS {
        index.put(&pod(number), number as u64 + 1, number as i64);
    }
    index.resolve(|_, _, name| {
        Some(Some(Owner { kind: "Deployment".into(), name: name[..name.len() - 11].into() }))
    });
    println!("{PODS} pods: {} bytes each", kept() / PODS);
    assert!(kept() / PODS < BYTES_A_POD_MAX, "{} bytes a pod", kept() / PODS);
    for number in 0..PODS {
        index.remove(&uid(number), 1_000_000, MonotonicTime(0));
        index.put(&pod(PODS + number), (PODS + number) as u64 + 1, 1_000_001);
    }
    println!("and as many that are gone: {} bytes each", kept() / PODS / 2);
    assert!(kept() / PODS / 2 < BYTES_A_POD_MAX, "{} bytes a pod", kept() / PODS / 2);
    let stats = index.stats();
    assert_eq!((stats.live, stats.gone, stats.forgotten), (PODS, PODS, 0));
    let found = index.identify(&WorkloadQuestion::Address([10, 0, 0, 7].into(), 500_000), 2);
    assert_eq!((found.len(), &*found[0].workload.kind, &*found[0].workload.name), (1, "Deployment", "web-0"));
}
