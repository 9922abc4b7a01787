//! What it costs to find out how many nodes may fail: `cargo xtask bench capacity [--small]`.

use std::time::Duration;

use serde_json::{Value, json};
use vedette_capacity::{Budget, Cluster, Judge, Options, Snapshot, survey};
use vedette_sys::{Clock, SystemClock};

/// Most that each may take on the machine on which goals are judged.
const GOAL: Duration = Duration::from_secs(2);
const PODS_OF_DEPLOYMENT: usize = 10;

fn main() {
    let small = std::env::args().any(|a| a == "--small");
    let shrink = if small { 20 } else { 1 };
    println!("{:<44} {:>10} {:>10} {:>12}", "", "SECONDS", "GOAL", "SETS");
    let large = measure("make objects up", || objects(1000 / shrink, 30));
    let mut snapshot = Snapshot::default();
    let text = large.to_string();
    measure(&format!("read {} MiB of objects", text.len() >> 20), || snapshot.read(text.as_bytes(), "bench"))
        .expect("objects");
    let cluster = measure("make the cluster ready", || Cluster::new(&snapshot, &Options::default()))
        .expect("a cluster");
    let (pods, kinds) = cluster.size();
    println!("{} nodes, {pods} pods of {kinds} kinds", cluster.node_names().len());
    let mut survived = 0;
    let clock = SystemClock;
    let start = clock.monotonic();
    let mut judge = Judge::new(&cluster);
    let nodes = u32::try_from(cluster.node_names().len()).expect("few nodes");
    for node in 0..nodes {
        survived += usize::from(judge.replay(&[node]).pending.is_empty());
    }
    tell("k = 1, each node fails", clock.monotonic().since(start), Some(GOAL), f64::from(nodes));
    println!("{survived} of {nodes} are survived");

    let mut snapshot = Snapshot::default();
    snapshot
        .read(objects(if small { 30 } else { 100 }, 30).to_string().as_bytes(), "bench")
        .expect("objects");
    let start = clock.monotonic();
    let cluster = Cluster::new(&snapshot, &Options::default()).expect("a cluster");
    let budget = Budget { max_failures: 2, ..Budget::default() };
    let survey = survey(&cluster, &budget);
    let pairs = survey.curve.last().expect("a curve").clone();
    tell("k = 2, all pairs of nodes, zones, witness", clock.monotonic().since(start), Some(GOAL), pairs.sets);
    println!(
        "{} of {} pairs are survived{}",
        pairs.survived,
        pairs.tried,
        if pairs.exact { "" } else { ", of a sample: the budget was too small" }
    );
    assert!(pairs.exact, "all pairs of 100 nodes are within the usual budget");
}

fn measure<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = SystemClock.monotonic();
    let made = work();
    tell(what, SystemClock.monotonic().since(start), None, 0.0);
    made
}

fn tell(what: &str, took: Duration, goal: Option<Duration>, sets: f64) {
    let goal = goal.map_or(String::new(), |g| format!("{:.1}", g.as_secs_f64()));
    let sets = if sets > 0.0 { format!("{sets:.0}") } else { String::new() };
    println!("{what:<44} {:>10.3} {goal:>10} {sets:>12}", took.as_secs_f64());
}

/// A cluster of three zones, used to about two thirds; kinds of constraints as real clusters mix them.
fn objects(nodes: usize, pods_of_node: usize) -> Value {
    let mut items: Vec<Value> = (0..nodes).map(node).collect();
    let deployments = nodes * pods_of_node / PODS_OF_DEPLOYMENT;
    let mut seed = 7u64;
    let mut below = |n: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % n
    };
    let mut load = vec![0; nodes];
    for d in 0..deployments {
        let labels = json!({"app": format!("d{d}")});
        let mut spec = json!({"containers": [{"name": "c", "resources": {"requests":
            {"cpu": format!("{}m", 100 + 50 * below(11)), "memory": format!("{}Mi", 256 * (1 + below(8)))}}}]});
        match below(10) {
            0 | 1 => {
                spec["topologySpreadConstraints"] = json!([{"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
                    "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": labels}}]);
            }
            2 => {
                spec["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                    [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels}}]}});
            }
            3 => spec["nodeSelector"] = json!({"disk": "ssd"}),
            _ => {}
        }
        let ssd = spec["nodeSelector"].is_object();
        // Each pod goes to the emptier of two nodes, the zones by turns.
        let mut used = Vec::new();
        for i in 0..PODS_OF_DEPLOYMENT {
            let fits = |n: usize| n % 3 == i % 3 && (!ssd || n.is_multiple_of(2)) && !used.contains(&n);
            let mut pick = || std::iter::repeat_with(|| below(nodes)).find(|n| fits(*n)).expect("a node");
            let (a, b) = (pick(), pick());
            let node = if load[a] <= load[b] { a } else { b };
            load[node] += 1;
            used.push(node);
            let mut spec = spec.clone();
            spec["nodeName"] = format!("n{node}").into();
            items.push(json!({"kind": "Pod", "metadata": {"name": format!("d{d}-{i}"), "namespace": "default", "labels": labels,
                "ownerReferences": [{"kind": "ReplicaSet", "name": format!("d{d}"), "uid": format!("u{d}"), "controller": true}]},
                "spec": spec}));
        }
    }
    json!({"kind": "List", "items": items})
}

fn node(n: usize) -> Value {
    json!({"kind": "Node", "metadata": {"name": format!("n{n}"), "labels": {"kubernetes.io/hostname": format!("n{n}"),
        "topology.kubernetes.io/zone": format!("z{}", n % 3), "disk": if n.is_multiple_of(2) { "ssd" } else { "hdd" }}},
        "status": {"allocatable": {"cpu": "16", "memory": "64Gi", "pods": "110"}}})
}
