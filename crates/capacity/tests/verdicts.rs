//! What single features of nodes, pods and volumes mean when nodes fail, each in a cluster as small as it goes.

use serde_json::{Value, json};
use vedette_capacity::{
    Budget, Cluster, Exact, FailureMode, Judge, Options, Shortage, Snapshot, advise, survey,
};

fn node(name: &str, zone: &str, cpu: &str) -> Value {
    json!({"kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}},
        "status": {"allocatable": {"cpu": cpu, "memory": "16Gi", "pods": "20"}}})
}

/// A pod of a replica set of the name of its label.
fn pod(name: &str, app: &str, node: &str, cpu: &str, spec: Value) -> Value {
    let mut all =
        json!({"nodeName": node, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]});
    if let Value::Object(more) = spec {
        for (key, value) in more {
            all[key] = value;
        }
    }
    json!({"kind": "Pod", "metadata": {"name": name, "namespace": "shop", "labels": {"app": app},
        "ownerReferences": [{"kind": "ReplicaSet", "name": app, "uid": app, "controller": true}]}, "spec": all})
}

fn snapshot(objects: &[Value]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let list = json!({"kind": "List", "items": objects});
    snapshot.read(list.to_string().as_bytes(), "test").expect("objects");
    snapshot
}

#[derive(Debug, PartialEq, Eq)]
struct Told {
    placed: Vec<(String, String)>,
    pending: Vec<String>,
    stuck: Vec<String>,
    lost: Vec<String>,
    bound: Vec<String>,
}

fn fail_with(objects: &[Value], failed: &[&str], options: &Options) -> Told {
    let cluster = Cluster::new(&snapshot(objects), options).expect("a cluster");
    let nodes: Vec<u32> = failed.iter().map(|n| cluster.node(n).expect("a node")).collect();
    let replay = Judge::new(&cluster).replay(&nodes);
    let short = |p: &u32| cluster.pod_name(*p).trim_start_matches("shop/").to_owned();
    let named = |pods: &[u32]| pods.iter().map(short).collect::<Vec<_>>();
    Told {
        placed: replay
            .placed
            .iter()
            .map(|(p, n)| (short(p), cluster.node_names()[*n as usize].clone()))
            .collect(),
        pending: named(&replay.pending),
        stuck: named(&replay.stuck),
        lost: named(&replay.losses.lost),
        bound: named(&replay.losses.bound),
    }
}

fn fail(objects: &[Value], failed: &[&str]) -> Told {
    fail_with(objects, failed, &Options::default())
}

fn three() -> Vec<Value> {
    vec![node("a", "x", "4"), node("b", "y", "4"), node("c", "z", "4")]
}

fn with(more: &[Value]) -> Vec<Value> {
    three().into_iter().chain(more.iter().cloned()).collect()
}

#[test]
fn who_belongs_to_the_node_who_is_lost_and_who_stays_bound_is_told_apart() {
    let owned = |kind: &str, name: &str| {
        let mut pod = pod(name, name, "a", "100m", Value::Null);
        pod["metadata"]["ownerReferences"][0]["kind"] = kind.into();
        pod
    };
    let mut bare = pod("bare", "bare", "a", "100m", Value::Null);
    bare["metadata"]["ownerReferences"] = Value::Null;
    let mut mirror = bare.clone();
    mirror["metadata"]["name"] = "mirror".into();
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    let mut done = pod("done", "done", "a", "100m", Value::Null);
    done["status"] = json!({"phase": "Succeeded"});
    let bears = json!({"tolerations": [{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}]});
    let objects = with(&[
        owned("DaemonSet", "daemon"),
        owned("Node", "static"),
        owned("Job", "job"),
        owned("StatefulSet", "db"),
        bare,
        mirror,
        done,
        pod("stays", "stays", "a", "100m", bears),
    ]);
    let told = fail(&objects, &["a"]);
    let placed: Vec<&str> = told.placed.iter().map(|(p, _)| p.as_str()).collect();
    // A stateful set has one pod of each name: while the old one may still run on a node that does not answer, it
    // makes no other.
    assert_eq!(placed, ["job"]);
    assert_eq!(
        (told.lost, told.bound),
        (vec!["bare".to_owned()], ["db", "stays"].map(str::to_owned).to_vec())
    );
    // Somebody said that nothing runs there any more, which only `stays` does not bear.
    let options = Options { mode: FailureMode::OutOfService, ..Options::default() };
    let told = fail_with(&objects, &["a"], &options);
    let placed: Vec<&str> = told.placed.iter().map(|(p, _)| p.as_str()).collect();
    assert_eq!((placed, told.bound), (vec!["job", "db", "stays"], Vec::<String>::new()));
    let options = Options { bare_pods_return: true, mode: FailureMode::Deleted, ..Options::default() };
    assert_eq!(fail_with(&objects, &["a"], &options).placed.len(), 4, "all but the node's own come back");
}

#[test]
fn pods_that_bear_every_taint_stay_on_a_node_that_is_out_of_service() {
    let bears = json!({"tolerations": [{"operator": "Exists"}]});
    let objects = with(&[pod("stays", "stays", "a", "100m", bears)]);
    for (mode, bound) in
        [(FailureMode::Unreachable, 1), (FailureMode::OutOfService, 1), (FailureMode::Deleted, 0)]
    {
        let told = fail_with(&objects, &["a"], &Options { mode, ..Options::default() });
        assert_eq!((told.bound.len(), told.placed.len()), (bound, 1 - bound), "{mode:?}");
    }
}

#[test]
fn that_stateful_sets_wait_for_their_node_is_told_where_it_is_so() {
    let mut db = pod("db", "db", "a", "1", Value::Null);
    db["metadata"]["ownerReferences"][0]["kind"] = "StatefulSet".into();
    for (mode, told) in
        [(FailureMode::Unreachable, true), (FailureMode::OutOfService, false), (FailureMode::Deleted, false)]
    {
        let options = Options { mode, ..Options::default() };
        let cluster = Cluster::new(&snapshot(&with(std::slice::from_ref(&db))), &options).expect("a cluster");
        let says = cluster.notes().iter().any(|note| note.contains("1 pods of stateful sets"));
        assert_eq!(says, told, "{mode:?}: {:?}", cluster.notes());
    }
}

#[test]
fn a_dead_zone_counts_when_pods_are_spread_unless_its_node_is_gone_or_its_taint_is_honoured() {
    let spread = |policy: Value| {
        json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "nodeTaintsPolicy": policy,
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}}]})
    };
    let objects = |policy: Value| {
        let pods: Vec<Value> = ["a", "b", "c"]
            .iter()
            .map(|n| pod(&format!("web-{n}"), "web", n, "1", spread(policy.clone())))
            .collect();
        with(&pods)
    };
    assert_eq!(fail(&objects(Value::Null), &["a"]).pending, ["web-a"]);
    assert_eq!(fail(&objects("Honor".into()), &["a"]).pending, [""; 0]);
    let deleted = Options { mode: FailureMode::Deleted, ..Options::default() };
    assert_eq!(fail_with(&objects(Value::Null), &["a"], &deleted).pending, [""; 0]);
}

#[test]
fn terms_look_at_their_namespaces_and_at_the_labels_that_they_match_or_mismatch() {
    let term = |more: Value| {
        let mut term =
            json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}});
        for (key, value) in more.as_object().into_iter().flatten() {
            term[key] = value.clone();
        }
        json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
    };
    let other = |name: &str, node: &str, namespace: &str, hash: &str| {
        let mut pod = pod(name, "db", node, "100m", Value::Null);
        pod["metadata"]["namespace"] = namespace.into();
        pod["metadata"]["labels"]["hash"] = hash.into();
        pod
    };
    let namespaces = [
        json!({"kind": "Namespace", "metadata": {"name": "east", "labels": {"side": "e"}}}),
        json!({"kind": "Namespace", "metadata": {"name": "west", "labels": {"side": "w"}}}),
    ];
    for (more, node_of_new) in [
        (json!({}), "c"),
        (json!({"namespaces": ["east"]}), "b"),
        (json!({"namespaces": ["east", "shop"]}), ""),
        (json!({"namespaceSelector": {}}), ""),
        (json!({"namespaceSelector": {"matchLabels": {"side": "e"}}}), "b"),
        (json!({"namespaceSelector": {"matchLabels": {"side": "w"}}}), "b|c"),
        (json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "east"}}}), "b"),
        (json!({"matchLabelKeys": ["hash"]}), "b|c"),
        (json!({"mismatchLabelKeys": ["hash"]}), "c"),
        (json!({"matchLabelKeys": ["none"]}), "c"),
    ] {
        let mut new = pod("new", "new", "a", "100m", term(more.clone()));
        new["metadata"]["labels"]["hash"] = "2".into();
        let mut objects = with(&[new, other("db-1", "b", "shop", "1"), other("db-2", "c", "east", "1")]);
        objects.extend(namespaces.clone());
        let told = fail(&objects, &["a"]);
        match told.placed.iter().find(|(p, _)| p == "new") {
            Some((_, node)) => assert!(node_of_new.split('|').any(|n| n == node), "{more}: on {node}"),
            None => assert_eq!(node_of_new, "", "{more}: {told:?}"),
        }
    }
}

#[test]
fn pods_that_run_keep_others_away_from_them_too() {
    let far = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}]}}});
    let objects = with(&[pod("web", "web", "a", "1", Value::Null), pod("shy", "shy", "b", "1", far)]);
    assert_eq!(fail(&objects, &["a"]).placed, [("web".to_owned(), "c".to_owned())]);
    assert_eq!(fail(&objects, &["a", "c"]).pending, ["web"]);
}

#[test]
fn company_is_found_once_it_is_placed() {
    let near = json!({"priority": 10, "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}}]}}});
    let objects = with(&[pod("web", "web", "a", "1", near), pod("db", "db", "a", "1", Value::Null)]);
    let told = fail(&objects, &["a"]);
    assert_eq!(told.pending, [""; 0]);
    assert_eq!(told.placed[0].0, "db", "the first in the queue waits for its company");
    assert_eq!(told.placed[0].1, told.placed[1].1);
}

#[test]
fn priority_decides_who_gets_the_last_place() {
    let rank = |class: &str| json!({"priorityClassName": class});
    let mut objects = vec![node("a", "x", "4"), node("b", "y", "1")];
    objects.extend([
        pod("low", "low", "a", "1", rank("low")),
        pod("high", "high", "a", "1", rank("high")),
        json!({"kind": "PriorityClass", "metadata": {"name": "high"}, "value": 100}),
        json!({"kind": "PriorityClass", "metadata": {"name": "low"}, "value": -1, "globalDefault": true}),
    ]);
    assert_eq!(fail(&objects, &["a"]).pending, ["low"]);
    let arrival = Options { order: vedette_capacity::Order::Arrival, ..Options::default() };
    assert_eq!(fail_with(&objects, &["a"], &arrival).pending, ["high"]);
}

fn claim(name: &str, modes: &str, volume: &str, class: &str) -> Value {
    json!({"kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"volumeName": volume, "accessModes": [modes], "storageClassName": class}})
}

fn volume(name: &str, key: &str, values: &[&str]) -> Value {
    json!({"kind": "PersistentVolume", "metadata": {"name": name}, "spec": {"csi": {"driver": "disk", "volumeHandle": name},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": key, "operator": "In", "values": values}]}]}}}})
}

fn uses(claim: &str) -> Value {
    json!({"volumes": [{"persistentVolumeClaim": {"claimName": claim}}]})
}

#[test]
fn volumes_bind_their_pods_to_where_they_are_reached() {
    let zone = "topology.kubernetes.io/zone";
    let objects = with(&[
        pod("local", "local", "a", "1", uses("local")),
        pod("zonal", "zonal", "a", "1", uses("zonal")),
        pod("new", "new", "a", "1", uses("new")),
        pod("missing", "missing", "a", "1", uses("missing")),
        claim("local", "ReadWriteOnce", "v1", ""),
        claim("zonal", "ReadWriteOnce", "v2", ""),
        claim("new", "ReadWriteOnce", "", "late"),
        volume("v1", "kubernetes.io/hostname", &["a"]),
        volume("v2", zone, &["x", "z"]),
        json!({"kind": "StorageClass", "metadata": {"name": "late"}, "volumeBindingMode": "WaitForFirstConsumer",
            "allowedTopologies": [{"matchLabelExpressions": [{"key": zone, "values": ["y"]}]}]}),
    ]);
    let told = fail(&objects, &["a"]);
    assert_eq!(told.stuck, ["local"]);
    assert_eq!(told.pending, ["missing"]);
    let mut placed = told.placed;
    placed.sort();
    assert_eq!(placed, [("new", "b"), ("zonal", "c")].map(|(p, n)| (p.to_owned(), n.to_owned())));
}

#[test]
fn zones_on_volumes_limits_of_drivers_and_claims_for_one_pod_hold() {
    let labelled = |name: &str| {
        json!({"kind": "PersistentVolume", "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": "x__y"}},
            "spec": {"csi": {"driver": "disk", "volumeHandle": name}}})
    };
    let driver = json!({"kind": "CSINode", "metadata": {"name": "b"}, "spec": {"drivers": [{"name": "disk", "allocatable": {"count": 1}}]}});
    let two = |first: &str, second: &str| {
        let mut objects = with(&[
            pod("p", "p", "a", "1", uses(first)),
            pod("q", "q", "a", "1", uses(second)),
            claim("one", "ReadWriteMany", "v1", ""),
            claim("two", "ReadWriteMany", "v2", ""),
            claim("own", "ReadWriteOncePod", "v3", ""),
            labelled("v1"),
            labelled("v2"),
            labelled("v3"),
        ]);
        objects.push(driver.clone());
        fail(&objects, &["a"])
    };
    // Only b is left in the zones of the volumes, and it attaches one.
    assert_eq!(two("one", "two").pending, ["q"]);
    assert_eq!(two("one", "one").pending, [""; 0], "a volume that is attached takes no second place");
    assert_eq!(two("own", "own").pending, ["q"]);
}

#[test]
fn zones_of_volumes_by_their_old_label_are_those_of_nodes_by_the_new_one() {
    let labelled = |zone: &str| {
        json!({"kind": "PersistentVolume", "metadata": {"name": "v",
            "labels": {"failure-domain.beta.kubernetes.io/zone": zone}}})
    };
    for (zone, stuck) in [("x__y", 0), ("nowhere", 1)] {
        let objects = with(&[
            pod("p", "p", "a", "1", uses("one")),
            claim("one", "ReadWriteOnce", "v", ""),
            labelled(zone),
        ]);
        let told = fail(&objects, &["a"]);
        assert_eq!((told.stuck.len() + told.pending.len(), told.placed.len()), (stuck, 1 - stuck), "{zone}");
    }
}

#[test]
fn tolerations_that_compare_numbers_are_left_out_and_told() {
    let spec = json!({"tolerations": [{"key": "k", "operator": "Gt", "value": "1"}]});
    let objects = with(&[pod("p", "p", "a", "1", spec)]);
    let cluster = Cluster::new(&snapshot(&objects), &Options::default()).expect("it is judged all the same");
    assert!(cluster.notes().iter().any(|note| note.contains("Gt")), "{:?}", cluster.notes());
    assert_eq!(fail(&objects, &["a"]).placed.len(), 1);
}

fn node_affinity(kind: &str, terms: &Value) -> Value {
    json!({"affinity": {"nodeAffinity": {kind: terms}}})
}

#[test]
fn a_required_term_that_compares_with_no_number_selects_no_node_and_stops_nobody() {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let bad = json!({"matchExpressions": [{"key": "size", "operator": "Gt", "values": ["big"]}]});
    let good = json!({"matchExpressions":
        [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["z"]}]});
    for (terms, placed, pending) in
        [(json!([bad]), vec!["web"], vec!["odd"]), (json!([bad, good]), vec!["odd", "web"], vec![])]
    {
        let spec = node_affinity(required, &json!({"nodeSelectorTerms": terms}));
        let objects = with(&[pod("odd", "odd", "a", "1", spec), pod("web", "web", "a", "1", Value::Null)]);
        let told = fail(&objects, &["a"]);
        assert_eq!(told.placed.iter().map(|(p, _)| p.as_str()).collect::<Vec<_>>(), placed, "{terms}");
        assert_eq!(told.pending, pending, "{terms}");
        assert!(told.placed.iter().all(|(p, n)| p != "odd" || n == "c"), "{told:?}");
    }
    // Terms of volumes are read in the same way.
    let mut lost = volume("v", "size", &["big"]);
    lost["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0] = bad;
    let objects = with(&[
        pod("p", "p", "a", "1", uses("one")),
        pod("web", "web", "a", "1", Value::Null),
        claim("one", "ReadWriteOnce", "v", ""),
        lost,
    ]);
    let told = fail(&objects, &["a"]);
    assert_eq!((told.stuck, told.placed.len()), (vec!["p".to_owned()], 1));
}

/// The verdict of one pod beside others, and the notes.
fn verdict_of(objects: &[Value]) -> (Told, Option<Shortage>, Vec<String>) {
    let cluster = Cluster::new(&snapshot(objects), &Options::default()).expect("it is judged all the same");
    let verdict = Judge::new(&cluster).verdict(&[0], 1000);
    (fail(objects, &["a"]), verdict.shortage, cluster.notes().to_vec())
}

#[test]
fn a_preference_that_compares_with_no_number_keeps_its_pod_only_from_every_node() {
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    let term = |weight: u32| {
        json!([{"weight": weight, "preference":
            {"matchExpressions": [{"key": "size", "operator": "Lt", "values": ["1.5"]}]}}])
    };
    for (weight, pending) in [(1, vec!["odd"]), (0, vec![])] {
        let spec = node_affinity(preferred, &term(weight));
        let objects = with(&[pod("odd", "odd", "a", "1", spec), pod("web", "web", "a", "1", Value::Null)]);
        let (told, shortage, notes) = verdict_of(&objects);
        assert_eq!(told.pending, pending, "weight {weight}");
        assert_eq!(matches!(shortage, Some(Shortage::Never { .. })), weight > 0, "{shortage:?}");
        assert_eq!(notes.iter().any(|note| note.contains("shop/odd")), weight > 0, "{notes:?}");
    }
}

#[test]
fn resources_that_no_node_offers_keep_their_pod_only_from_every_node() {
    let mut requests = json!({"cpu": "1"});
    for i in 0..300 {
        requests[format!("example.com/r{i}")] = "1".into();
    }
    let spec = json!({"containers": [{"name": "c", "resources": {"requests": requests}}]});
    let objects = with(&[pod("odd", "odd", "a", "1", spec), pod("web", "web", "a", "1", Value::Null)]);
    let (told, shortage, notes) = verdict_of(&objects);
    assert_eq!((told.pending, told.placed.len()), (vec!["odd".to_owned()], 1));
    assert!(matches!(shortage, Some(Shortage::Never { reason, .. }) if reason.contains("example.com/r0")));
    assert!(notes.iter().any(|note| note.contains("example.com/r0")), "{notes:?}");
    // A daemon that asks for one is no news: it goes with its node.
    let mut daemon = pod(
        "odd",
        "odd",
        "a",
        "1",
        json!({"containers":
        [{"name": "c", "resources": {"requests": {"example.com/r0": "1"}}}]}),
    );
    daemon["metadata"]["ownerReferences"][0]["kind"] = "DaemonSet".into();
    assert_eq!(verdict_of(&with(&[daemon])).2, [""; 0]);
}

#[test]
fn volumes_that_are_made_with_their_pod_take_one_of_what_their_driver_attaches() {
    let ephemeral = |class: Value| {
        let volume = json!({"name": "scratch", "ephemeral":
            {"volumeClaimTemplate": {"spec": {"storageClassName": class, "accessModes": ["ReadWriteOnce"]}}}});
        json!({"volumes": [volume]})
    };
    let class = |name: &str, is_default: bool| {
        json!({"kind": "StorageClass", "provisioner": "disk", "volumeBindingMode": "WaitForFirstConsumer",
            "metadata": {"name": name, "annotations":
                {"storageclass.kubernetes.io/is-default-class": is_default.to_string()}},
            "allowedTopologies": [{"matchLabelExpressions":
                [{"key": "topology.kubernetes.io/zone", "values": ["y"]}]}]})
    };
    let attaches = |count: u32| {
        json!({"kind": "CSINode", "metadata": {"name": "b"},
            "spec": {"drivers": [{"name": "disk", "allocatable": {"count": count}}]}})
    };
    // One pod runs on b, in the only zone where the class makes volumes, and two come from a. The claim of one of
    // them is bound to a volume on a, which is of no use to the pod that is made anew.
    let told = |count: u32, wanted: &Value, is_default: bool| {
        fail(
            &with(&[
                pod("here", "here", "b", "100m", ephemeral(wanted.clone())),
                pod("p", "p", "a", "100m", ephemeral(wanted.clone())),
                pod("q", "q", "a", "100m", ephemeral(wanted.clone())),
                claim("p-scratch", "ReadWriteOncePod", "v", "late"),
                volume("v", "kubernetes.io/hostname", &["a"]),
                class("late", is_default),
                attaches(count),
            ]),
            &["a"],
        )
    };
    for wanted in [json!("late"), Value::Null] {
        for (count, pending) in [(1, vec!["p", "q"]), (2, vec!["q"]), (3, vec![])] {
            let told = told(count, &wanted, true);
            assert_eq!(told.pending, pending, "{count} by {wanted}");
            assert_eq!(told.stuck, [""; 0], "{count} by {wanted}");
            assert!(told.placed.iter().all(|(_, node)| node == "b"), "{:?}", told.placed);
        }
    }
    assert_eq!(
        told(1, &Value::Null, false).pending,
        [""; 0],
        "without a class nothing is known of the driver"
    );
}

#[test]
fn a_pod_with_volumes_of_both_sorts_needs_room_for_both() {
    let both = json!({"volumes": [{"persistentVolumeClaim": {"claimName": "one"}},
        {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": "late"}}}}]});
    for (count, pending) in [(1, 1), (2, 0)] {
        let objects = [
            node("a", "x", "4"),
            node("b", "y", "4"),
            pod("p", "p", "a", "100m", both.clone()),
            claim("one", "ReadWriteOnce", "v", ""),
            json!({"kind": "PersistentVolume", "metadata": {"name": "v"},
                "spec": {"csi": {"driver": "disk", "volumeHandle": "v"}}}),
            json!({"kind": "StorageClass", "metadata": {"name": "late"}, "provisioner": "disk"}),
            json!({"kind": "CSINode", "metadata": {"name": "b"},
                "spec": {"drivers": [{"name": "disk", "allocatable": {"count": count}}]}}),
        ];
        assert_eq!(fail(&objects, &["a"]).pending.len(), pending, "{count}");
    }
}

#[test]
fn requests_beyond_counting_are_refused() {
    let pods: Vec<Value> =
        (0..600).map(|i| pod(&format!("p{i}"), "p", "a", "99999999999999999", json!({}))).collect();
    let error = Cluster::new(&snapshot(&with(&pods)), &Options::default()).expect_err("too much");
    assert!(error.to_string().contains("more cpu than can be counted"), "{error}");
    assert!(Cluster::new(&snapshot(&with(&pods[..9])), &Options::default()).is_ok());
}

#[test]
fn host_ports_clash_by_address_and_protocol() {
    let port = |port: u16, ip: &str, protocol: &str| json!({"containers": [{"name": "c", "ports": [{"hostPort": port, "hostIP": ip, "protocol": protocol}]}]});
    for (first, second, clash) in [
        (port(80, "", ""), port(80, "", "TCP"), true),
        (port(80, "", ""), port(80, "10.0.0.1", ""), true),
        (port(80, "10.0.0.1", ""), port(80, "0.0.0.0", ""), true),
        (port(80, "10.0.0.1", ""), port(80, "10.0.0.2", ""), false),
        (port(80, "", "TCP"), port(80, "", "UDP"), false),
        (port(80, "", ""), port(81, "", ""), false),
    ] {
        let objects = [
            node("a", "x", "4"),
            node("b", "y", "4"),
            pod("p", "p", "a", "0", first.clone()),
            pod("q", "q", "b", "0", second.clone()),
        ];
        assert_eq!(fail(&objects, &["a"]).pending.len(), usize::from(clash), "{first} {second}");
    }
}

#[test]
fn pods_that_say_nothing_are_spread_by_default() {
    // By room alone both would go to c, which is emptier.
    let objects = [
        node("a", "x", "8"),
        node("b", "y", "8"),
        node("c", "z", "8"),
        pod("load", "load", "b", "1", Value::Null),
        pod("web-1", "web", "a", "100m", Value::Null),
        pod("web-2", "web", "a", "100m", Value::Null),
    ];
    let nodes = |options: &Options| {
        let mut nodes: Vec<String> =
            fail_with(&objects, &["a"], options).placed.into_iter().map(|(_, n)| n).collect();
        nodes.sort();
        nodes
    };
    assert_eq!(nodes(&Options::default()), ["b", "c"]);
    assert_eq!(nodes(&Options { default_spreading: false, ..Options::default() }), ["c", "c"]);
}

#[test]
fn by_default_pods_are_spread_over_hosts_with_the_weight_that_the_scheduler_gives() {
    // No node has a zone. b is nearly empty and runs the one pod of its set that is left; c is 55 % full. For room b
    // has 54 points more. For spreading it has fewer: by a skew of 3, (3 + 2 - 3) / 3 of 100 against 100, twice, which
    // is 68 fewer; by a skew of 5 it would be (5 + 4 - 5) / 5, 40 fewer, and b would win.
    let node = |name: &str| {
        json!({"kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {"allocatable": {"cpu": "10", "memory": "10Gi", "pods": "20"}}})
    };
    let asks = |cpu: &str, memory: &str| json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]});
    let objects = [
        node("a"),
        node("b"),
        node("c"),
        pod("load", "load", "c", "0", asks("5500m", "5632Mi")),
        pod("web-1", "web", "b", "0", asks("100m", "100Mi")),
        pod("web-2", "web", "a", "0", asks("100m", "100Mi")),
    ];
    assert_eq!(fail(&objects, &["a"]).placed, [("web-2".to_owned(), "c".to_owned())]);
    let plain = Options { default_spreading: false, ..Options::default() };
    assert_eq!(fail_with(&objects, &["a"], &plain).placed, [("web-2".to_owned(), "b".to_owned())]);
}

#[test]
fn a_selector_of_spreading_that_says_nothing_counts_nobody() {
    // Two in x and none in y: by a selector that says something the third has to go to y, which is full.
    for (selector, pending) in [(json!({}), 0), (json!({"matchLabels": {"app": "web"}}), 1)] {
        let spread = json!({"topologySpreadConstraints": [{"maxSkew": 1, "labelSelector": selector,
            "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}]});
        let objects = [
            node("a", "x", "4"),
            node("b", "x", "4"),
            node("c", "y", "4"),
            pod("full", "full", "c", "4", Value::Null),
            pod("web-1", "web", "a", "1", spread.clone()),
            pod("web-2", "web", "b", "1", spread.clone()),
        ];
        assert_eq!(fail(&objects, &["a"]).pending.len(), pending, "{spread}");
    }
}

#[test]
fn of_several_tolerations_the_first_tells_how_long() {
    let bears = |seconds: Option<u32>| {
        let mut first =
            json!({"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"});
        if let Some(seconds) = seconds {
            first["tolerationSeconds"] = seconds.into();
        }
        json!({"tolerations": [first, {"operator": "Exists"}]})
    };
    for (seconds, bound) in [(Some(60), 0), (None, 1)] {
        let objects = [node("a", "x", "4"), node("b", "x", "4"), pod("web", "web", "a", "1", bears(seconds))];
        assert_eq!(fail(&objects, &["a"]).bound.len(), bound, "{seconds:?}");
    }
}

#[test]
fn the_three_verdicts_tell_want_of_room_from_fragmentation() {
    // 3 CPUs are free in all, but 2 for one pod nowhere.
    let split = [
        node("a", "x", "4"),
        node("b", "y", "4"),
        node("c", "z", "4"),
        pod("p", "p", "a", "2", Value::Null),
        pod("q", "q", "b", "2500m", Value::Null),
        pod("r", "r", "c", "2500m", Value::Null),
    ];
    let cluster = Cluster::new(&snapshot(&split), &Options::default()).expect("a cluster");
    let verdict = Judge::new(&cluster).verdict(&[0], 1000);
    assert_eq!(verdict.shortage, Some(Shortage::Places { pod: "shop/p".into(), pods: 1, places: 0 }));
    assert_eq!(verdict.exact, Exact::Impossible);
    // The small pod comes first and takes the only place that the large one could have.
    let rank = |priority: i64| json!({"priority": priority, "containers": [{"name": "c", "resources": {"requests": {"memory": "1Gi"}}}]});
    let mut small = pod("small", "small", "a", "0", rank(5));
    small["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "1".into();
    let fragmented = [
        node("a", "x", "4"),
        node("b", "y", "2"),
        node("c", "z", "8"),
        small,
        pod("large", "large", "a", "2", Value::Null),
        pod("r", "r", "c", "6500m", Value::Null),
    ];
    let cluster = Cluster::new(&snapshot(&fragmented), &Options::default()).expect("a cluster");
    let verdict = Judge::new(&cluster).verdict(&[0], 1000);
    assert_eq!((verdict.shortage.clone(), verdict.replay.pending.len()), (None, 1));
    assert!(verdict.is_fragmentation(), "{verdict:?}");
    assert!(matches!(Judge::new(&cluster).exact(&[0], 0), Exact::Unknown), "no steps, no verdict");
}

#[test]
fn a_survey_finds_how_many_may_fail_and_what_to_add() {
    let objects: Vec<Value> = (0..5)
        .map(|n| node(&format!("n{n}"), if n < 3 { "x" } else { "y" }, "4"))
        .chain((0..10).map(|p| pod(&format!("p{p}"), "p", &format!("n{}", p % 5), "1", Value::Null)))
        .chain([json!({"kind": "PodDisruptionBudget", "metadata": {"name": "p", "namespace": "shop"},
            "spec": {"selector": {"matchLabels": {"app": "p"}}}, "status": {"disruptionsAllowed": 4}})])
        .collect();
    let snapshot = snapshot(&objects);
    let (options, budget) = (Options::default(), Budget::default());
    let found = survey(&Cluster::new(&snapshot, &options).expect("a cluster"), &budget);
    // 20 CPUs, 10 asked for: two of five may fail, three not.
    assert_eq!((found.survives, found.fails_at), (2, Some(3)));
    let tried: Vec<_> = found.curve.iter().map(|p| (p.failures, p.tried, p.survived, p.exact)).collect();
    assert_eq!(tried, [(1, 5, 5, true), (2, 10, 10, true), (3, 10, 0, true)]);
    let witness = found.witness.as_ref().expect("a witness");
    assert_eq!((witness.displaced, witness.pending.len(), witness.could_fit), (6, 2, Some(false)));
    assert_eq!(witness.budgets_broken, ["shop/p"]);
    assert_eq!(found.zones.iter().map(|z| z.failure.pending.len()).collect::<Vec<_>>(), [2, 0]);
    let advice = advise(&snapshot, &options, &found, &budget).expect("a cluster").expect("advice");
    assert_eq!((advice.nodes, advice.exact), (1, true));
    // A budget too small for all pairs gives an interval instead.
    let tight = Budget { attempts: 10, samples: 50, ..Budget::default() };
    let found = survey(&Cluster::new(&snapshot, &options).expect("a cluster"), &tight);
    assert_eq!((found.survives, found.fails_at), (1, Some(3)));
    assert!(!found.curve[1].exact && found.curve[1].share.0 > 0.9 && found.curve[1].share.1 >= 1.0 - 1e-9);
}

#[test]
fn all_single_nodes_that_may_not_fail_are_counted_though_not_all_are_told() {
    // Every node is full, so that none may fail.
    let objects: Vec<Value> = (0..120)
        .map(|n| node(&format!("n{n}"), "x", "1"))
        .chain((0..120).map(|p| pod(&format!("p{p}"), "p", &format!("n{p}"), "1", Value::Null)))
        .collect();
    let cluster = Cluster::new(&snapshot(&objects), &Options::default()).expect("a cluster");
    let found = survey(&cluster, &Budget { max_failures: 1, ..Budget::default() });
    assert_eq!((found.single_failures_found, found.single_failures.len()), (120, 100));
}
