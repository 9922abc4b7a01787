//! The recorded verdicts of the real scheduler: `cargo xtask conformance nk [DIR]`.
//!
//! Each case holds a cluster and sets of nodes that failed in it, each with the pods that two runs left
//! without a node. Where the runs differ either is right. The last line counts cases.

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use vedette_capacity::{Cluster, Judge, Options, Order, Snapshot};

/// Priorities of the recordings' classes, which are named only.
const PRIORITIES: [(&str, i64); 2] = [("high", 1000), ("low", -10)];

fn main() {
    let given = std::env::var_os("VEDETTE_CONFORMANCE_DIR").map(PathBuf::from);
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/nk");
    let dir = given.unwrap_or(shared);
    let Ok(entries) = fs::read_dir(&dir) else {
        println!("SKIPPED verdicts of the scheduler: there are no cases at {}", dir.display());
        println!("0 passed, 0 failed, 1 skipped");
        return;
    };
    let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    files.retain(|f| f.to_string_lossy().ends_with(".json.gz") || f.extension().is_some_and(|e| e == "json"));
    files.sort();
    let (mut passed, mut failed) = (0, 0);
    let (mut sets, mut wrong_sets) = (0, 0);
    for file in &files {
        let (tried, wrong) = case(file);
        sets += tried;
        wrong_sets += wrong.len();
        for line in &wrong {
            println!("FAILED {}: {line}", file.display());
        }
        if wrong.is_empty() {
            passed += 1;
        } else {
            failed += 1;
        }
    }
    println!("{} of {sets} failure sets are judged as recorded", sets - wrong_sets);
    println!("{passed} passed, {failed} failed, 0 skipped");
    if failed > 0 {
        std::process::exit(1);
    }
}

fn case(file: &Path) -> (usize, Vec<String>) {
    let case = read(file);
    let cluster = cluster(&case);
    let mut judge = Judge::new(&cluster);
    let failures = case["failures"].as_array().expect("failures");
    let mut wrong = Vec::new();
    for failure in failures {
        let names: Vec<&str> =
            failure["failed"].as_array().expect("failed").iter().filter_map(Value::as_str).collect();
        let nodes: Vec<u32> = names.iter().map(|n| cluster.node(n).expect("a node")).collect();
        let replay = judge.replay(&nodes);
        let pending: BTreeSet<&str> = replay
            .pending
            .iter()
            .map(|p| cluster.pod_name(*p).strip_prefix("default/").expect("a name"))
            .collect();
        let runs = failure["runs"].as_array().expect("runs");
        let recorded: Vec<BTreeSet<&str>> = runs
            .iter()
            .map(|r| {
                r["pending"].as_object().map(|p| p.keys().map(String::as_str).collect()).unwrap_or_default()
            })
            .collect();
        let displaced = failure["displaced"].as_u64().expect("displaced");
        if replay.losses.displaced.len() as u64 != displaced {
            wrong.push(format!(
                "{names:?}: {} displaced, recorded {displaced}",
                replay.losses.displaced.len()
            ));
        } else if !recorded.contains(&pending) {
            wrong.push(format!("{names:?}: pending {pending:?}, recorded {recorded:?}"));
        }
    }
    (failures.len(), wrong)
}

fn read(file: &Path) -> Value {
    let bytes = fs::read(file).expect("a case");
    if file.extension().is_some_and(|e| e == "json") {
        return serde_json::from_slice(&bytes).expect("JSON");
    }
    let mut json = Vec::new();
    flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut json).expect("gzip");
    serde_json::from_slice(&json).expect("JSON")
}

/// The case as lists of objects, as `kubectl` writes them.
fn cluster(case: &Value) -> Cluster {
    let mut items = Vec::new();
    for node in case["nodes"].as_array().expect("nodes") {
        items.push(json!({
            "kind": "Node",
            "metadata": {"name": node["name"], "labels": node["labels"]},
            "spec": {"taints": node["taints"], "unschedulable": node["unschedulable"]},
            "status": {"allocatable": node["allocatable"]},
        }));
    }
    for pod in case["pods"].as_array().expect("pods") {
        let mut pod = pod.clone();
        pod["spec"]["nodeName"] = pod["assigned"].clone();
        items.push(pod);
    }
    for (name, value) in PRIORITIES {
        items.push(json!({"kind": "PriorityClass", "metadata": {"name": name}, "value": value}));
    }
    let mut snapshot = Snapshot::default();
    let list = json!({"kind": "List", "items": items});
    snapshot.read(list.to_string().as_bytes(), "the case").expect("objects");
    // Who recorded the cases made all pods anew one by one, though they had no owner.
    let options = Options { bare_pods_return: true, order: Order::Arrival, ..Options::default() };
    Cluster::new(&snapshot, &options).expect("a cluster")
}
