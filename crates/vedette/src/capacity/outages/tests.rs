use std::path::Path;

use serde_json::json;
use vedette_sys::RealFs;

use super::*;

const POOLS: [&str; 2] = ["absent", "pool"];

fn machine(name: &str, is_ready: bool, changed: &str) -> Arc<Machine> {
    let status = if is_ready { "True" } else { "Unknown" };
    let node = json!({"metadata": {"name": name, "labels": {"pool": "blue"}}, "status": {"conditions":
        [{"type": "Ready", "status": status, "lastTransitionTime": changed, "lastHeartbeatTime": changed}]}});
    Arc::new(serde_json::from_str(&node.to_string()).expect("a node"))
}

fn pod(name: &str, node: &str, kind: &str) -> Arc<Pod> {
    let pod = json!({"metadata": {"name": name, "namespace": "s", "ownerReferences":
        [{"kind": kind, "name": "o", "uid": kind, "controller": true}]},
        "spec": {"nodeName": node}, "status": {"phase": "Running"}});
    Arc::new(serde_json::from_str(&pod.to_string()).expect("a pod"))
}

fn open(file: &Path) -> (Outages, Option<String>) {
    Outages::open(Arc::new(RealFs), file.to_owned())
}

#[tokio::test]
async fn outages_survive_a_restart_and_become_figures() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("below/k.outages");
    let labels = POOLS.map(str::to_owned);
    let (mut outages, problem) = open(&file);
    assert_eq!(problem, None);
    let pods = [pod("a", "n1", "ReplicaSet"), pod("b", "n1", "DaemonSet")];
    let up = [machine("n1", true, "1970-01-01T00:00:00Z"), machine("n2", true, "1970-01-01T00:00:00Z")];
    outages.observe(1_000_000, &up, &labels, &pods);
    assert!(outages.keep().await.expect("written"));
    let down = [machine("n1", false, "1970-01-01T00:20:00Z"), up[1].clone()];
    outages.observe(1_200_000, &down, &labels, &pods);
    assert!(outages.keep().await.expect("written"));
    drop(outages);

    let (mut outages, problem) = open(&file);
    assert_eq!(problem, None);
    let back = [machine("n1", true, "1970-01-01T00:25:00Z"), up[1].clone()];
    outages.observe(1_600_000, &back, &labels, &pods);
    assert!(outages.keep().await.expect("written"));
    outages.observe(1_700_000, &back, &labels, &pods);
    assert!(!outages.keep().await.expect("nothing to write"));
    let [recorded] = outages.ledger().outages() else { panic!("one outage") };
    assert_eq!(recorded.outage.length_ms(0), 300_000);
    assert_eq!(recorded.pods, 1, "that of the daemon set stays with its node");
    assert_eq!(recorded.outage.pool, "blue");

    let figures = outages.figures(2_000_000, &back, &labels, None);
    let [pool] = &figures.pools[..] else { panic!("one pool") };
    assert_eq!((pool.times.nodes, pool.times.outages, pool.times.open), (2, 1, 0));
    assert_eq!(pool.times.mean_to_recover_ms, Some(300_000.0));
    // Away for 300 s of the 2000 s that two nodes were watched: a mean of 1700 s between failures.
    assert_eq!(pool.times.mean_between_failures_ms, Some(1_700_000.0));
    let down = 300.0 / 2000.0;
    let wanted = [(1.0 - down) * (1.0 - down), 2.0 * down * (1.0 - down), down * down];
    assert_eq!(figures.down_at_once.len(), 3);
    for (chance, wanted) in figures.down_at_once.iter().zip(wanted) {
        assert!((chance - wanted).abs() < 1e-12, "{chance} is not {wanted}");
    }
}

#[tokio::test]
async fn what_cannot_be_written_is_written_as_soon_as_it_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let below = folder.path().join("below");
    let file = below.join("k.outages");
    std::fs::write(&below, "in the way").expect("writes");
    let (mut outages, _) = open(&file);
    let labels = POOLS.map(str::to_owned);
    let up = [machine("n1", true, "1970-01-01T00:00:00Z")];
    outages.observe(1_000_000, &up, &labels, &[]);
    assert!(outages.keep().await.is_err(), "a file is where its folder should be");
    // Nothing new, but still something to keep.
    outages.observe(1_015_000, &up, &labels, &[]);
    assert!(outages.keep().await.is_err());
    std::fs::remove_file(&below).expect("removes");
    outages.observe(1_030_000, &up, &labels, &[]);
    assert!(outages.keep().await.expect("written"));
    assert!(!outages.keep().await.expect("nothing to write"));
    let (again, problem) = open(&file);
    assert_eq!((again.ledger(), problem), (outages.ledger(), None));
}

#[test]
fn outages_that_nobody_saw_count_as_failures() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut outages, _) = open(&folder.path().join("k.outages"));
    let labels = POOLS.map(str::to_owned);
    let figures = |outages: &Outages, now_ms: i64| {
        let figures = outages.figures(now_ms, &[machine("n1", true, "1970-01-01T00:00:00Z")], &labels, None);
        let [pool] = &figures.pools[..] else { panic!("one pool") };
        let PoolTimes { outages, mean_to_recover_ms, mean_between_failures_ms, .. } = pool.times;
        ((outages, mean_to_recover_ms, mean_between_failures_ms), figures.down_at_once.is_empty())
    };
    outages.observe(1_000_000, &[machine("n1", true, "1970-01-01T00:00:00Z")], &labels, &[]);
    // Ready again since another time: away for an unknown time meanwhile.
    outages.observe(2_000_000, &[machine("n1", true, "1970-01-01T00:25:00Z")], &labels, &[]);
    assert_eq!(figures(&outages, 2_000_000), ((1, None, Some(1_000_000.0)), true));
    outages.observe(2_000_000, &[machine("n1", false, "1970-01-01T00:33:20Z")], &labels, &[]);
    outages.observe(2_400_000, &[machine("n1", true, "1970-01-01T00:40:00Z")], &labels, &[]);
    // 2000 s watched, 400 s of them away, two failures.
    assert_eq!(figures(&outages, 3_000_000), ((2, Some(400_000.0), Some(800_000.0)), false));
}

#[test]
fn a_file_that_cannot_be_read_is_put_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("k.outages");
    for text in ["{", "{\"version\": 99, \"since_ms\": null, \"nodes\": {}, \"outages\": []}"] {
        std::fs::write(&file, text).expect("writes");
        let (outages, problem) = open(&file);
        let problem = problem.expect("a problem");
        assert!(problem.contains("k.damaged"), "{problem}");
        assert!(outages.ledger().outages().is_empty());
        assert_eq!(std::fs::read_to_string(file.with_extension("damaged")).expect("kept"), text);
        assert!(!file.exists());
    }
}
