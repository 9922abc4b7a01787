use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};

fn node(name: &str, cpu: &str) -> String {
    format!(
        r#"{{"kind":"Node","metadata":{{"name":"{name}","labels":{{"kubernetes.io/hostname":"{name}"}}}},
            "status":{{"allocatable":{{"cpu":"{cpu}","memory":"8Gi","pods":"110"}}}}}}"#
    )
}

fn pod(name: &str, node: &str, cpu: &str) -> String {
    format!(
        r#"{{"kind":"Pod","metadata":{{"name":"{name}","namespace":"shop","ownerReferences":
            [{{"kind":"ReplicaSet","name":"web","uid":"u","controller":true}}]}},"spec":{{"nodeName":"{node}",
            "containers":[{{"name":"c","resources":{{"requests":{{"cpu":"{cpu}"}}}}}}]}}}}"#
    )
}

fn capacity(args: &[&str]) -> Capacity {
    let all = ["vedette", "capacity"].iter().chain(args);
    match Cli::try_parse_from(all).expect("arguments").command {
        Command::Capacity(args) => args,
        _ => panic!("another command"),
    }
}

fn status(dir: &Path, args: &[&str]) -> Result<u8> {
    let dir = dir.to_str().expect("a path");
    run(&capacity(&[&[dir], args].concat()))
}

#[test]
fn the_status_says_whether_so_many_nodes_may_fail() {
    let dir = tempfile::tempdir().expect("a folder");
    let list = |items: &[String]| format!(r#"{{"kind":"List","items":[{}]}}"#, items.join(","));
    let nodes: Vec<String> = ["a", "b", "c"].iter().map(|n| node(n, "2")).collect();
    fs::write(dir.path().join("nodes.json"), list(&nodes)).expect("nodes");
    fs::write(dir.path().join("pods.json"), list(&[pod("web-1", "a", "1500m"), pod("web-2", "b", "500m")]))
        .expect("pods");
    assert_eq!(status(dir.path(), &[]).expect("verdict"), CLEAN);
    assert_eq!(status(dir.path(), &["--survive", "2"]).expect("verdict"), CLEAN);
    assert_eq!(status(dir.path(), &["--survive", "3", "--format", "json"]).expect("verdict"), PROBLEMS);
    fs::write(dir.path().join("pods.json"), list(&[pod("web-1", "a", "1500m"), pod("web-2", "b", "1")]))
        .expect("pods");
    assert_eq!(status(dir.path(), &["--survive", "2"]).expect("verdict"), PROBLEMS);
    fs::write(dir.path().join("pods.json"), "{").expect("pods");
    let error = status(dir.path(), &[]).expect_err("no JSON");
    assert!(error.to_string().contains("pods.json"), "{error}");
}

#[test]
fn the_report_names_who_is_without_a_place_and_what_helps() {
    let mut snapshot = Snapshot::default();
    for object in [node("a", "2"), node("b", "2"), pod("web-1", "a", "1500m"), pod("web-2", "b", "1")] {
        snapshot.read(object.as_bytes(), "test").expect("an object");
    }
    let (options, budget) = (Options::default(), Budget::default());
    let cluster = Cluster::new(&snapshot, &options).expect("a cluster");
    let survey = survey(&cluster, &budget);
    let advice = advise(&snapshot, &options, &survey, &budget).expect("a cluster");
    let text = report(&survey, advice.as_ref());
    for words in [
        "Not every single node may fail.",
        "a fails",
        "shop/web-1",
        "cannot fit: room for 0 of 1 pods like shop/web-1",
        "With 1 node more like",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
}
