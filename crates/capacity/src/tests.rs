use proptest::prelude::*;

use crate::{
    Cluster, Exact, FailureMode, Fate, Judge, Options, Snapshot,
    naive::{Dice, Naive, random},
    state::{Losses, State},
    survey::{wilson, with_more},
};

fn options(seed: u64) -> Options {
    let modes = [FailureMode::Deleted, FailureMode::Unreachable, FailureMode::OutOfService];
    let mode = modes[(seed % 3) as usize];
    Options { mode, ..Options::default() }
}

fn some_nodes(dice: &mut Dice, nodes: usize, most: u64) -> Vec<u32> {
    let mut set: Vec<u32> = (0..1 + dice.below(most)).map(|_| dice.below(nodes as u64) as u32).collect();
    set.sort_unstable();
    set.dedup();
    set
}

/// The cluster after the failure, as the plain model sees it, and the displaced pods.
fn after<'a>(snapshot: &'a Snapshot, cluster: &Cluster, failed: &[u32]) -> (Naive<'a>, Vec<usize>) {
    let mut naive = Naive {
        snapshot,
        mode: cluster.options.mode,
        failed: (0..snapshot.nodes.len()).map(|n| failed.contains(&(n as u32))).collect(),
        placed: Vec::new(),
    };
    let mut displaced = Vec::new();
    for (p, pod) in cluster.pods.iter().enumerate() {
        let down = failed.contains(&pod.node);
        if down && pod.fate == Fate::Displaced {
            displaced.push(p);
        } else if !down || cluster.options.mode.keeps_node() {
            naive.placed.push((p, pod.node as usize));
        }
    }
    (naive, displaced)
}

#[test]
fn the_replay_follows_the_plain_filters_step_by_step() {
    let (mut placed, mut refused) = (0, 0);
    for seed in 0..400 {
        let snapshot = random(seed, 7, 6, 26);
        let cluster = Cluster::new(&snapshot, &options(seed)).expect("a cluster");
        let mut judge = Judge::new(&cluster);
        let mut dice = Dice(seed ^ 77);
        for _ in 0..3 {
            let failed = some_nodes(&mut dice, 7, 3);
            let (mut naive, displaced) = after(&snapshot, &cluster, &failed);
            let replay = judge.replay(&failed);
            assert_eq!(
                replay.losses.displaced,
                displaced.iter().map(|p| *p as u32).collect::<Vec<_>>(),
                "seed {seed}"
            );
            for (pod, node) in &replay.placed {
                assert!(
                    naive.admits(*pod as usize, *node as usize),
                    "seed {seed}: pod {pod} on {node} after {failed:?}"
                );
                naive.placed.push((*pod as usize, *node as usize));
            }
            for pod in &replay.pending {
                let fits = (0..7).find(|n| naive.admits(*pod as usize, *n));
                assert_eq!(fits, None, "seed {seed}: pod {pod} waits after {failed:?}");
            }
            placed += replay.placed.len();
            refused += replay.pending.len();
        }
    }
    assert!(placed > 1000 && refused > 500, "{placed} placed, {refused} refused: too few to say anything");
}

#[test]
fn every_node_is_admitted_or_refused_as_by_the_plain_filters() {
    for seed in 0..200 {
        let snapshot = random(seed + 10_000, 6, 6, 20);
        let cluster = Cluster::new(&snapshot, &options(seed)).expect("a cluster");
        let mut judge = Judge::new(&cluster);
        let failed = some_nodes(&mut Dice(seed), 6, 2);
        let (naive, displaced) = after(&snapshot, &cluster, &failed);
        let mut losses = Losses::default();
        for node in &failed {
            judge.scheduler.state.fail(*node, &mut losses);
        }
        for p in displaced {
            for n in 0..6 {
                let class = cluster.pods[p].class;
                assert_eq!(
                    judge.scheduler.admits(class, n),
                    naive.admits(p, n as usize),
                    "seed {seed}: pod {p} on {n} after {failed:?}"
                );
            }
        }
        judge.scheduler.state.restore();
    }
}

#[test]
fn a_state_is_afterwards_what_it_was() {
    for seed in 0..100 {
        let snapshot = random(seed, 6, 5, 20);
        let cluster = Cluster::new(&snapshot, &options(seed)).expect("a cluster");
        let mut judge = Judge::new(&cluster);
        let fresh = State::new(&cluster);
        let mut dice = Dice(seed);
        for _ in 0..4 {
            let failed = some_nodes(&mut dice, 6, 4);
            let first = judge.verdict(&failed, 10_000);
            let state = &judge.scheduler.state;
            assert_eq!(state.room, fresh.room, "seed {seed} {failed:?}");
            assert_eq!(
                (&state.counts, &state.totals, &state.places),
                (&fresh.counts, &fresh.totals, &fresh.places)
            );
            assert!(state.changed.is_empty() && state.down == fresh.down);
            assert_eq!(judge.verdict(&failed, 10_000), first, "equal questions have equal answers");
        }
    }
}

/// Whether the pods can have places in any order, by trying everything.
fn brute_force(naive: &mut Naive<'_>, left: &mut Vec<usize>) -> bool {
    if left.is_empty() {
        return true;
    }
    for i in 0..left.len() {
        let p = left.swap_remove(i);
        for n in 0..naive.snapshot.nodes.len() {
            if naive.admits(p, n) {
                naive.placed.push((p, n));
                if brute_force(naive, left) {
                    return true;
                }
                naive.placed.pop();
            }
        }
        left.push(p);
        let last = left.len() - 1;
        left.swap(i, last);
    }
    false
}

#[test]
fn the_search_finds_what_trying_everything_finds_and_sums_never_refuse_it() {
    let (mut fits, mut not, mut proved, mut fragmented) = (0, 0, 0, 0);
    for seed in 0..700 {
        let snapshot = random(seed + 50_000, 4, 4, 11);
        let cluster = Cluster::new(&snapshot, &options(seed)).expect("a cluster");
        let mut judge = Judge::new(&cluster);
        let failed = some_nodes(&mut Dice(seed), 4, 2);
        let (mut naive, mut displaced) = after(&snapshot, &cluster, &failed);
        if displaced.len() > 4 {
            continue;
        }
        let truth = brute_force(&mut naive, &mut displaced);
        let exact = judge.exact(&failed, 1 << 40);
        assert_eq!(matches!(exact, Exact::Fits(_)), truth, "seed {seed} {failed:?}: {exact:?}");
        assert_ne!(exact, Exact::Unknown);
        let shortage = judge.shortage(&failed);
        assert!(shortage.is_none() || !truth, "seed {seed} {failed:?}: {shortage:?}");
        let replay = judge.replay(&failed);
        assert!(
            !replay.pending.is_empty() || truth,
            "seed {seed} {failed:?}: what the scheduler places fits"
        );
        fits += usize::from(truth);
        not += usize::from(!truth);
        proved += usize::from(shortage.is_some());
        fragmented += usize::from(truth && !replay.pending.is_empty());
    }
    assert!(
        fits > 50 && not > 50 && proved > 30 && fragmented > 0,
        "{fits} fit, {not} do not, {proved} proved, {fragmented} fragmented: too few to say anything"
    );
}

#[test]
fn shares_have_the_interval_of_the_textbook() {
    let near = |(low, high): (f64, f64), wanted: (f64, f64)| {
        assert!(
            (low - wanted.0).abs() < 5e-4 && (high - wanted.1).abs() < 5e-4,
            "({low}, {high}) is not {wanted:?}"
        );
    };
    near(wilson(5, 10), (0.2366, 0.7634));
    near(wilson(0, 10), (0.0, 0.2775));
    near(wilson(81, 263), (0.2553, 0.3662));
    near(wilson(0, 0), (0.0, 1.0));
}

#[test]
fn errors_name_the_object_and_what_is_wrong() {
    let judge = |objects: &str| {
        let mut snapshot = Snapshot::default();
        snapshot.read(format!(r#"{{"items":[{objects}]}}"#).as_bytes(), "cluster.json")?;
        Cluster::new(&snapshot, &Options::default())
    };
    let node = r#"{"kind":"Node","metadata":{"name":"a"},"status":{"allocatable":{"cpu":"1"}}}"#;
    let pod = |spec: &str| {
        format!(
            r#"{node},{{"kind":"Pod","metadata":{{"name":"p","ownerReferences":[{{"kind":"Job","controller":true}}]}},
            "spec":{{"nodeName":"a",{spec}}}}}"#
        )
    };
    for (objects, words) in [
        (String::new(), "no nodes"),
        ("7".into(), "cluster.json"),
        (r#"{"kind":"Node","metadata":7}"#.into(), "item 0 (Node)"),
        (format!("{node},{node}"), "node \"a\" is in the snapshot twice"),
        (pod(r#""containers":[{"resources":{"requests":{"cpu":"-1"}}}]"#), "pod default/p: cpu \"-1\""),
        (pod(r#""tolerations":[{"operator":"Near"}]"#), "\"Near\" is no operator"),
        (
            pod(r#""affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{}]}}"#),
            "no topologyKey",
        ),
        (pod(r#""topologySpreadConstraints":[{"topologyKey":"z"}]"#), "maxSkew"),
        (
            pod(
                r#""affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":
                [{"matchExpressions":[{"key":"k","operator":"Gt","values":["1","2"]}]}]}}}"#,
            ),
            "one value",
        ),
    ] {
        let error = judge(&objects).expect_err("an error").to_string();
        assert!(error.contains(words), "{error:?} does not say {words:?}");
    }
}

proptest! {
    #[test]
    fn foreign_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Snapshot::default().read(&bytes, "bytes");
    }

    /// Objects in which one place is changed give an error or a verdict.
    #[test]
    fn objects_with_a_fault_do_no_harm(seed in 0u64..40, at in any::<prop::sample::Index>(), with in "[0-9a-z\"{}\\[\\]:,.-]{0,3}") {
        let text = faulty_base(seed);
        let at = at.index(text.len());
        let at = (0..=at).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        let text = format!("{}{with}{}", &text[..at], text.get(at + 1..).unwrap_or_default());
        let mut snapshot = Snapshot::default();
        if snapshot.read(text.as_bytes(), "text").is_ok()
            && let Ok(cluster) = Cluster::new(&snapshot, &Options::default())
        {
            let mut judge = Judge::new(&cluster);
            for node in 0..cluster.node_names().len() as u32 {
                judge.verdict(&[node], 1000);
            }
        }
    }
}

/// Objects of every kind, as text.
fn faulty_base(seed: u64) -> String {
    let cpu = 1 + seed % 3;
    format!(
        r#"{{"kind":"List","items":[
        {{"kind":"Node","metadata":{{"name":"a","labels":{{"zone":"x","kubernetes.io/hostname":"a"}}}},"spec":{{"taints":[{{"key":"k","effect":"NoSchedule"}}]}},"status":{{"allocatable":{{"cpu":"{cpu}","memory":"1Gi","pods":"5"}}}}}},
        {{"kind":"Node","metadata":{{"name":"b","labels":{{"zone":"y","kubernetes.io/hostname":"b"}}}},"status":{{"allocatable":{{"cpu":"2","memory":"1Gi","pods":"5"}}}}}},
        {{"kind":"Pod","metadata":{{"name":"p","namespace":"s","labels":{{"app":"p"}},"ownerReferences":[{{"kind":"ReplicaSet","uid":"u","controller":true}}]}},
          "spec":{{"nodeName":"b","tolerations":[{{"operator":"Exists"}}],"containers":[{{"resources":{{"requests":{{"cpu":"500m","memory":"1Mi"}}}},"ports":[{{"hostPort":80}}]}}],
          "topologySpreadConstraints":[{{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule","labelSelector":{{"matchLabels":{{"app":"p"}}}}}}],
          "affinity":{{"podAntiAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":[{{"topologyKey":"zone","labelSelector":{{"matchLabels":{{"app":"p"}}}}}}]}}}},
          "volumes":[{{"persistentVolumeClaim":{{"claimName":"c"}}}}]}}}},
        {{"kind":"PersistentVolumeClaim","metadata":{{"name":"c","namespace":"s"}},"spec":{{"volumeName":"v","accessModes":["ReadWriteOncePod"]}}}},
        {{"kind":"PersistentVolume","metadata":{{"name":"v","labels":{{"topology.kubernetes.io/zone":"x__y"}}}},"spec":{{"csi":{{"driver":"d","volumeHandle":"h"}},"nodeAffinity":{{"required":{{"nodeSelectorTerms":[{{"matchExpressions":[{{"key":"zone","operator":"In","values":["y"]}}]}}]}}}}}}}},
        {{"kind":"CSINode","metadata":{{"name":"b"}},"spec":{{"drivers":[{{"name":"d","allocatable":{{"count":1}}}}]}}}},
        {{"kind":"PodDisruptionBudget","metadata":{{"name":"p","namespace":"s"}},"spec":{{"selector":{{"matchLabels":{{"app":"p"}}}}}}}}]}}"#
    )
}

#[test]
fn a_node_that_is_added_has_what_every_node_has() {
    let node = |name: &str| {
        serde_json::json!({"kind": "Node", "metadata": {"name": name},
            "status": {"allocatable": {"cpu": "4", "pods": "20"}}})
    };
    let pod = |name: &str, node: &str, cpu: &str, owner: &str| {
        serde_json::json!({"kind": "Pod", "metadata": {"name": name, "namespace": "n",
            "ownerReferences": [{"kind": owner, "name": name, "uid": name, "controller": true}]},
            "spec": {"nodeName": node, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}})
    };
    let objects = [
        node("a"),
        node("b"),
        pod("agent-a", "a", "3", "DaemonSet"),
        pod("agent-b", "b", "3", "DaemonSet"),
        pod("web-a", "a", "900m", "ReplicaSet"),
        pod("web-b", "b", "900m", "ReplicaSet"),
    ];
    let mut snapshot = Snapshot::default();
    let list = serde_json::json!({"kind": "List", "items": objects});
    snapshot.read(list.to_string().as_bytes(), "test").expect("objects");
    for (added, pending) in [(1, 1), (2, 0)] {
        let cluster = with_more(&snapshot, &Options::default(), 0, added).expect("a cluster");
        assert_eq!(Judge::new(&cluster).replay(&[0, 1]).pending.len(), pending, "{added} more");
    }
}

/// A snapshot of these objects.
fn dump(objects: &[serde_json::Value]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let list = serde_json::json!({"kind": "List", "items": objects}).to_string();
    snapshot.read(list.as_bytes(), "test").expect("objects");
    snapshot
}

fn plain_node(name: &str) -> serde_json::Value {
    serde_json::json!({"kind": "Node", "metadata": {"name": name, "labels": {"zone": "z"}},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": 10}}})
}

/// A driver that says it attaches fewer than no volumes attaches none, and one that says too many any.
#[test]
fn absurd_numbers_of_volumes_do_no_harm() {
    use serde_json::json;
    for (count, is_placed) in [(i64::MIN, false), (-1, false), (1, true), (i64::MAX, true)] {
        let driver = |name: &str| {
            json!({"kind": "CSINode", "metadata": {"name": name},
                "spec": {"drivers": [{"name": "d", "allocatable": {"count": count}}]}})
        };
        let owner = json!({"kind": "ReplicaSet", "name": "r", "uid": "u", "controller": true});
        let snapshot = dump(&[
            plain_node("a"),
            plain_node("b"),
            driver("a"),
            driver("b"),
            json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "s", "ownerReferences": [owner]},
                "spec": {"nodeName": "a", "volumes": [{"persistentVolumeClaim": {"claimName": "c"}}]}}),
            json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "s"},
                "spec": {"volumeName": "v"}}),
            json!({"kind": "PersistentVolume", "metadata": {"name": "v"},
                "spec": {"csi": {"driver": "d", "volumeHandle": "h"}}}),
        ]);
        let cluster = Cluster::new(&snapshot, &Options::default()).expect("a cluster");
        let replay = Judge::new(&cluster).replay(&[0]);
        assert_eq!(replay.placed.len(), usize::from(is_placed), "{count}");
    }
}

/// Counts are kept in 32 bits; what would not fit is refused before it is counted.
#[test]
fn points_beyond_counting_are_refused() {
    use serde_json::json;
    let term = json!({"weight": 100, "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {}}});
    let snapshot = dump(&[
        plain_node("a"),
        json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "s"}, "spec": {"nodeName": "a",
            "affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": vec![term; 100]}}}}),
    ]);
    let mut cluster = Cluster::new(&snapshot, &Options::default()).expect("a cluster");
    let (class, node, fate) = (cluster.pods[0].class, cluster.pods[0].node, cluster.pods[0].fate);
    let pods = |count: usize| (0..count).map(|_| crate::cluster::Slot { class, node, fate }).collect();
    cluster.pods = pods(100_000);
    cluster.check_counts().expect("a thousand million points can be counted");
    cluster.pods = pods(200_000);
    let error = cluster.check_counts().expect_err("two thousand million cannot").to_string();
    assert!(error.contains("points that pods give to nodes near them"), "{error}");
}

/// Each budget is held against each pod of its namespace.
#[test]
fn budgets_beyond_comparing_are_refused() {
    use serde_json::json;
    let mut objects = vec![plain_node("a")];
    for number in 0..8200 {
        let meta = json!({"name": format!("x{number}"), "namespace": "s"});
        objects.push(json!({"kind": "Pod", "metadata": meta, "spec": {"nodeName": "a"}}));
        objects.push(json!({"kind": "PodDisruptionBudget", "metadata": meta}));
    }
    let snapshot = dump(&objects);
    let error = Cluster::new(&snapshot, &Options::default()).expect_err("too many").to_string();
    assert!(error.contains("67240000 pairs of a disruption budget and a pod"), "{error}");
}

/// Conditions on nodes are counted before they are looked at, and the pod is named that has too many, of its own or
/// of its volume.
#[test]
fn conditions_beyond_comparing_are_refused_with_their_pod() {
    use serde_json::json;
    let labels: serde_json::Map<_, _> = (0..2000).map(|n| (format!("l{n}"), json!("v"))).collect();
    let node = |n: usize| json!({"kind": "Node", "metadata": {"name": format!("n{n}"), "labels": labels}});
    let term = json!({"matchExpressions": [{"key": "absent", "operator": "Exists"}]});
    let many = json!({"nodeSelectorTerms": vec![term; 9000]});
    let zones = vec!["z"; 18_000].join("__");
    let own = json!({"nodeName": "n0",
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": many}}});
    let of_volume = json!({"nodeName": "n0", "volumes": [{"persistentVolumeClaim": {"claimName": "c"}}]});
    for (spec, affinity, zone) in [
        (own, json!({}), "z"),
        (of_volume.clone(), json!({"required": many}), "z"),
        (of_volume, json!({}), zones.as_str()),
    ] {
        let owner = json!({"kind": "ReplicaSet", "name": "r", "uid": "u", "controller": true});
        let mut objects: Vec<_> = (0..250).map(node).collect();
        objects.extend([
            json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "s", "ownerReferences": [owner]},
                "spec": spec}),
            json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "s"},
                "spec": {"volumeName": "v"}}),
            json!({"kind": "PersistentVolume", "spec": {"nodeAffinity": affinity},
                "metadata": {"name": "v", "labels": {"topology.kubernetes.io/zone": zone}}}),
        ]);
        let error = Cluster::new(&dump(&objects), &Options::default()).expect_err("too many").to_string();
        assert!(error.starts_with("pod s/p: ") && error.contains("comparisons of conditions"), "{error}");
    }
}

/// Volumes of several drivers are counted by driver, in whatever order a pod names them, and each once.
#[test]
fn volumes_are_counted_by_driver() {
    use serde_json::json;
    for (limit, is_placed) in [(1, false), (2, true)] {
        let mut objects = vec![plain_node("a"), plain_node("b")];
        for node in ["a", "b"] {
            let driver = |name: &str, count: i64| json!({"name": name, "allocatable": {"count": count}});
            objects.push(json!({"kind": "CSINode", "metadata": {"name": node},
                "spec": {"drivers": [driver("d", limit), driver("e", 1)]}}));
        }
        for (name, driver) in [("d1", "d"), ("e1", "e"), ("d2", "d")] {
            objects
                .push(json!({"kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "s"},
                "spec": {"volumeName": name}}));
            objects.push(json!({"kind": "PersistentVolume", "metadata": {"name": name},
                "spec": {"csi": {"driver": driver, "volumeHandle": name}}}));
        }
        let volumes = ["d1", "e1", "d2", "e1"].map(|c| json!({"persistentVolumeClaim": {"claimName": c}}));
        let owner = json!({"kind": "ReplicaSet", "name": "r", "uid": "u", "controller": true});
        objects.push(
            json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "s", "ownerReferences": [owner]},
            "spec": {"nodeName": "a", "volumes": volumes}}),
        );
        let cluster = Cluster::new(&dump(&objects), &Options::default()).expect("a cluster");
        let replay = Judge::new(&cluster).replay(&[0]);
        assert_eq!(replay.placed.len(), usize::from(is_placed), "{limit}");
    }
}
