//! Pods as API servers tell them, judged over time.

use serde_json::{Value, json};
use vedette_model::{ApiRequest, FindingState};

use super::*;
use crate::{
    audit::Question,
    objects::{Authors, Deployment, Meta, ReplicaSet},
};

const SECOND: i64 = 1_000_000_000;

/// A cluster whose objects are put by hand.
struct Cluster {
    policy: Policy,
    pods: Shelf<Pod>,
    nodes: Shelf<Node>,
    makers: Known,
    records: Option<Records>,
    may_judge: bool,
    version: u64,
}

/// Changes of objects by name, and whether each made it.
#[derive(Default)]
struct Records(Vec<(&'static str, bool, ApiRequest)>);

impl AuditRecords for Records {
    fn find(&self, question: &Question) -> Option<ApiRequest> {
        let is_it = |(name, is_creation, _): &&(&str, bool, ApiRequest)| {
            (*name, *is_creation) == (&*question.name, question.is_creation)
        };
        self.0.iter().find(is_it).map(|(_, _, asked)| asked.clone())
    }
}

#[derive(Default)]
struct Known(Vec<(&'static str, Meta)>);

impl Makers for Known {
    fn find(&self, kind: &str, namespace: &str, name: &str) -> Made {
        let is_it = |(known, meta): &&(&str, Meta)| {
            *known == kind && (&*meta.namespace, &*meta.name) == (namespace, name)
        };
        match self.0.iter().find(is_it) {
            Some((_, meta)) => Made::Known(Box::new(Above::of(meta))),
            None if matches!(kind, "ReplicaSet" | "Deployment") => Made::Unknown,
            None => Made::Unwatched,
        }
    }
}

impl Cluster {
    fn new(rules: Rules) -> Self {
        Self {
            policy: Policy::new(rules),
            pods: Shelf::default(),
            nodes: Shelf::default(),
            makers: Known::default(),
            records: None,
            may_judge: true,
            version: 0,
        }
    }

    fn put(&mut self, mut pod: Value) {
        self.version += 1;
        pod["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.pods.put(serde_json::from_value(pod).expect("a pod"));
    }

    fn put_node(&mut self, name: &str, platform: (&str, &str), images: &[&[u8]]) {
        self.version += 1;
        let names = |image: &&[u8]| json!({"names": image.iter().map(|n| format!("r@{}", digest(*n))).collect::<Vec<_>>()});
        let node = json!({"metadata": {"name": name, "resourceVersion": self.version.to_string()}, "status": {
            "nodeInfo": {"containerRuntimeVersion": platform.0, "architecture": platform.1, "operatingSystem": "linux"},
            "images": images.iter().map(names).collect::<Vec<_>>()}});
        self.nodes.put(serde_json::from_value(node).expect("a node"));
    }

    fn look(&mut self, at_s: i64) -> Vec<Finding> {
        self.policy.gather(&self.pods);
        let mut out = Vec::new();
        let view = PolicyView {
            cluster: "main",
            nodes: &self.nodes,
            makers: &self.makers,
            records: self.records.as_ref().map(|records| records as &dyn AuditRecords),
            may_judge: self.may_judge,
            now_ns: at_s * SECOND,
        };
        self.policy.judge(&view, &mut out);
        out
    }

    /// What is told, in any order: sign, rule, severity and what it is of.
    fn told(&mut self, at_s: i64) -> Vec<String> {
        let one = |finding: Finding| {
            let sign = if finding.state == FindingState::Firing { '+' } else { '-' };
            let label = |name: &str| finding.labels.get(name).unwrap_or("").to_owned();
            let subject = ["workload_kind", "workload", "pod", "container", "image"].map(label);
            let subject: Vec<_> = subject.into_iter().filter(|part| !part.is_empty()).collect();
            format!("{sign}{} {} {}", finding.rule, finding.severity, subject.join(" "))
        };
        let mut told: Vec<String> = self.look(at_s).into_iter().map(one).collect();
        told.sort();
        told
    }
}

fn rules(registries: &[&str]) -> Rules {
    Rules {
        registries: registries.iter().map(|text| text.parse().expect("a registry")).collect(),
        privileged: Some(vec!["kube-system".into(), "storage-*".into()]),
        digests: true,
    }
}

fn digest(number: u8) -> String {
    format!("sha256:{number:02x}{}", "0".repeat(62))
}

fn managed(manager: &str, at: &str) -> Value {
    json!([{"manager": manager, "operation": "Update", "apiVersion": "v1", "time": at, "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:containers": {}}}},
        {"manager": "kubelet", "operation": "Update", "apiVersion": "v1", "time": at, "fieldsType": "FieldsV1",
            "fieldsV1": {"f:status": {}}, "subresource": "status"}])
}

const MADE: &str = "2026-11-21T00:47:52Z";

/// A pod of one container, as `kubectl run` makes it.
fn pod(name: &str, image: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-of-{name}"), "creationTimestamp": MADE,
            "managedFields": managed("kubectl-run", MADE)},
        "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": image, "imagePullPolicy": "IfNotPresent"}]},
        "status": {"phase": "Running"}})
}

fn of_replica_set(mut pod: Value, name: &str) -> Value {
    pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name,
        "uid": "u", "controller": true, "blockOwnerDeletion": true}]);
    pod["metadata"]["managedFields"] = managed("kube-controller-manager", MADE);
    pod
}

/// What the pod's container runs.
fn running(mut pod: Value, node: &str, image_id: &str) -> Value {
    let image = pod["spec"]["containers"][0]["image"].clone();
    pod["spec"]["nodeName"] = json!(node);
    pod["status"]["containerStatuses"] = json!([{"name": "app", "containerID": "containerd://c", "image": image,
        "imageID": image_id, "ready": true, "restartCount": 0, "state": {"running": {"startedAt": MADE}}}]);
    pod
}

fn meta(kind: &str, name: &str, owner: Option<(&str, &str)>, manager: &str, at: &str) -> Meta {
    let owners = owner.map(|(kind, name)| json!([{"kind": kind, "name": name, "controller": true}]));
    let object = json!({"metadata": {"name": name, "namespace": "shop", "ownerReferences": owners,
        "creationTimestamp": MADE, "managedFields": managed(manager, at)}});
    match kind {
        "ReplicaSet" => serde_json::from_value::<ReplicaSet>(object).expect("sound").meta().clone(),
        _ => serde_json::from_value::<Deployment>(object).expect("sound").meta().clone(),
    }
}

#[test]
fn a_table_of_images() {
    let other = |image: &str| vec![format!("+image-from-other-registry warning Pod p {image}")];
    for (image, expected) in [
        ("nginx", vec![]),
        ("docker.io/library/nginx:1.27", vec![]),
        ("ghcr.io/acme/app@sha256:0123", other("ghcr.io/acme/app@sha256:0123")),
        (&*format!("ghcr.io/acme/app@{}", digest(1)), vec![]),
        ("acme/app", other("docker.io/acme/app")),
        ("ghcr.io/acme-evil/app:v1", other("ghcr.io/acme-evil/app")),
        ("ghcr.io.evil.com/acme/app", other("ghcr.io.evil.com/acme/app")),
        ("ghcr.io/acme/../evil", other("ghcr.io/acme/../evil")),
        ("evil.com/a\u{1b}[2J\n", other("evil.com/a\u{fffd}[2J\u{fffd}")),
        ("", other("")),
    ] {
        let mut cluster = Cluster::new(rules(&["docker.io/library", "ghcr.io/acme"]));
        cluster.put(pod("p", image));
        let told: Vec<String> = cluster.told(0).iter().map(|line| line.trim_end().to_owned()).collect();
        let expected: Vec<String> = expected.iter().map(|line| line.trim_end().to_owned()).collect();
        assert_eq!(told, expected, "{image:?}");
        // Where nothing is written, all are allowed.
        let mut open = Cluster::new(rules(&[]));
        open.put(pod("p", image));
        assert_eq!(open.told(0), [] as [String; 0]);
    }
}

#[test]
fn every_kind_of_container_counts_and_each_image_once() {
    let mut cluster = Cluster::new(rules(&["docker.io/library"]));
    let mut all = pod("p", "nginx");
    let container = |name: &str, image: &str| json!({"name": name, "image": image});
    all["spec"]["initContainers"] = json!([container("i", "init.io/a:1"), container("j", "init.io/a:2")]);
    all["spec"]["ephemeralContainers"] = json!([container("e", "debug.io/b")]);
    all["spec"]["volumes"] =
        json!([{"name": "v", "image": {"reference": "volume.io/c", "pullPolicy": "Always"}}]);
    cluster.put(all);
    let of = |image: &str| format!("image-from-other-registry warning Pod p {image}");
    let begin = ["debug.io/b", "init.io/a", "volume.io/c"].map(|image| format!("+{}", of(image)));
    assert_eq!(cluster.told(0), begin);
    assert_eq!(cluster.told(10), [] as [String; 0]);
    // One image is changed: it is over, the others go on.
    let mut less = pod("p", "nginx");
    less["spec"]["initContainers"] = json!([container("i", "init.io/a:1")]);
    cluster.put(less);
    assert_eq!(cluster.told(11), ["debug.io/b", "volume.io/c"].map(|image| format!("-{}", of(image))));
    cluster.pods.remove("shop/p");
    assert_eq!(cluster.told(12), [format!("-{}", of("init.io/a"))]);
    assert!(cluster.policy.pods.is_empty() && cluster.policy.cases.iter().next().is_none());
}

#[test]
fn access_to_machines_is_judged_by_namespace() {
    let host_network = |namespace: &str| {
        let mut pod = pod("p", "nginx");
        pod["metadata"]["namespace"] = json!(namespace);
        pod["spec"]["hostNetwork"] = json!(true);
        pod
    };
    for (namespace, is_found) in [
        ("kube-system", false),
        ("storage-a", false),
        ("kube-system-2", true),
        ("storage", true),
        ("shop", true),
    ] {
        let mut cluster = Cluster::new(rules(&[]));
        cluster.put(host_network(namespace));
        let expected: Vec<String> =
            is_found.then(|| "+pod-with-host-access warning Pod p".to_owned()).into_iter().collect();
        assert_eq!(cluster.told(0), expected, "{namespace}");
        let mut off = Cluster::new(Rules { privileged: None, ..rules(&[]) });
        off.put(host_network(namespace));
        assert_eq!(off.told(0), [] as [String; 0]);
    }
    let mut cluster = Cluster::new(rules(&[]));
    cluster.put(host_network("shop"));
    assert_eq!(cluster.told(0).len(), 1);
    // A container with all privileges is put into it: that is told as worse.
    let mut worse = host_network("shop");
    worse["spec"]["ephemeralContainers"] =
        json!([{"name": "debugger", "image": "busybox", "securityContext": {"privileged": true}}]);
    cluster.put(worse);
    let expected = ["+pod-with-host-access critical Pod p", "-pod-with-host-access warning Pod p"];
    assert_eq!(cluster.told(6), expected);
}

#[test]
fn a_static_pod_is_known_as_one() {
    let mut cluster = Cluster::new(rules(&[]));
    let mut mirror = pod("etcd-n1", "etcd");
    mirror["metadata"]["annotations"] =
        json!({"kubernetes.io/config.mirror": "0123", "kubernetes.io/config.source": "file"});
    mirror["metadata"]["ownerReferences"] = json!([{"kind": "Node", "name": "n1", "controller": true}]);
    mirror["metadata"]["managedFields"] = managed("kubelet", MADE);
    mirror["spec"]["hostNetwork"] = json!(true);
    cluster.put(mirror);
    let found = cluster.look(0);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].labels.get("workload"), Some("etcd-n1"));
    assert!(found[0].evidence.iter().any(|line| line.contains("a file on the node n1")), "{found:?}");
}

/// Records come when they come, and a finding waits for none of them.
#[test]
fn people_are_told_when_audit_records_name_them() {
    let asked = |user: &str| ApiRequest { user: user.into(), ..ApiRequest::default() };
    let mut cluster = Cluster::new(rules(&["docker.io/library"]));
    cluster.records = Some(Records::default());
    cluster
        .makers
        .0
        .push(("ReplicaSet", meta("ReplicaSet", "web-1", Some(("Deployment", "web")), "kcm", MADE)));
    // Made by one, and changed by another.
    let mut made = meta("Deployment", "web", None, "kubectl-create", MADE);
    let changed = serde_json::from_value::<Meta>(json!({"name": "web", "managedFields": [
        {"manager": "kubectl-create", "operation": "Update", "time": MADE},
        {"manager": "kubectl-edit", "operation": "Update", "time": "2026-11-21T00:50:00Z"}]}));
    made.authors = changed.expect("sound").authors;
    cluster.makers.0.push(("Deployment", made));
    cluster.put(of_replica_set(pod("web-1-0", "evil.io/miner"), "web-1"));
    let found = cluster.look(100);
    let before = found[0].evidence.clone();
    assert!(!before.iter().any(|line| line.contains("audit")), "{before:?}");
    assert_eq!(cluster.told(104), [""; 0]);
    // What made the ReplicaSet and the pod are controllers: nobody asks for these.
    let records = cluster.records.as_mut().expect("there");
    for name in ["web-1", "web-1-0"] {
        records.0.push((name, true, asked("system:serviceaccount:kube-system:replicaset-controller")));
    }
    assert_eq!(cluster.told(110), [""; 0]);
    let alice = ApiRequest {
        impersonator: "admin".into(),
        user_pod: "runner-1".into(),
        client: "10.0.0.7".into(),
        user_agent: "kubectl/v1.36.0\n".into(),
        ..asked("alice")
    };
    cluster.records.as_mut().expect("there").0.push(("web", true, alice));
    let found = cluster.look(116);
    let line = "Deployment web was made by alice, as the audit record of 2026-11-21T00:47:52Z says, asked for by admin, \
                with the account of pod runner-1, from 10.0.0.7, with kubectl/v1.36.0\u{fffd}";
    assert_eq!((found.len(), &found[0].evidence[..before.len()]), (1, &before[..]));
    assert_eq!(found[0].evidence[before.len()..], [line]);
    assert_eq!((found[0].state, found[0].count), (FindingState::Firing, 2));
    cluster.records.as_mut().expect("there").0.push(("web", false, asked("bob")));
    let found = cluster.look(122);
    assert_eq!(
        found[0].evidence[before.len()..],
        [line, "Deployment web was changed by bob, as the audit record of 2026-11-21T00:50:00Z says"]
    );
    assert_eq!(cluster.told(128), [""; 0], "nothing is open");
}

#[test]
fn records_that_are_there_are_told_at_once() {
    let mut cluster = Cluster::new(rules(&["docker.io/library"]));
    let asked = ApiRequest { user: "alice".into(), ..ApiRequest::default() };
    cluster.records = Some(Records(vec![("lonely", true, asked)]));
    cluster.put(pod("lonely", "evil.io/miner"));
    let found = cluster.look(100);
    assert_eq!((found.len(), found[0].count), (1, 1));
    let last = found[0].evidence.last().expect("evidence");
    assert_eq!(last, "Pod lonely was made by alice, as the audit record of 2026-11-21T00:47:52Z says");
    // One that never comes is not waited for without end.
    cluster.put(pod("lost", "evil.io/miner"));
    assert_eq!(cluster.look(100).len(), 1);
    let asked = ApiRequest { user: "bob".into(), ..ApiRequest::default() };
    assert_eq!(cluster.told(401).len(), 2, "both are told again");
    cluster.records.as_mut().expect("there").0.push(("lost", true, asked));
    assert_eq!(cluster.told(410), [""; 0]);
}

#[test]
fn the_finding_is_of_the_workload_and_says_who_made_it() {
    let mut cluster = Cluster::new(rules(&["docker.io/library"]));
    for number in 0..3 {
        cluster.put(of_replica_set(pod(&format!("web-1-{number}"), "evil.io/miner"), "web-1"));
    }
    // What made the pods is not known yet: it is waited for, but not for long.
    assert_eq!(cluster.told(100), [] as [String; 0]);
    assert!(cluster.policy.is_waiting());
    cluster.makers.0.push((
        "ReplicaSet",
        meta("ReplicaSet", "web-1", Some(("Deployment", "web")), "kube-controller-manager", MADE),
    ));
    assert_eq!(cluster.told(101), [] as [String; 0]);
    cluster.makers.0.push(("Deployment", meta("Deployment", "web", None, "kubectl-create", MADE)));
    let found = cluster.look(102);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        found[0].evidence,
        [
            "the image evil.io/miner, read as evil.io/miner, is in no allowed registry",
            "seen first of pod web-1-0 on node n1",
            "Deployment web was made by kubectl-create (Update) at 2026-11-21T00:47:52Z",
            "ReplicaSet web-1 was made by kube-controller-manager (Update) at 2026-11-21T00:47:52Z",
            "Pod web-1-0 was made by kube-controller-manager (Update) at 2026-11-21T00:47:52Z",
            "it holds of 3 pods",
        ]
    );
    assert_eq!(
        found[0].title,
        "Deployment shop/web in main runs evil.io/miner, which is in no allowed registry"
    );
    assert!(!cluster.policy.is_waiting());
    // A new ReplicaSet of it is the same finding, which ends with the last of all its pods.
    cluster.makers.0.push((
        "ReplicaSet",
        meta("ReplicaSet", "web-2", Some(("Deployment", "web")), "kube-controller-manager", MADE),
    ));
    cluster.put(of_replica_set(pod("web-2-0", "evil.io/miner:2"), "web-2"));
    for number in 0..3 {
        cluster.pods.remove(&format!("shop/web-1-{number}"));
    }
    assert_eq!(cluster.told(110), [] as [String; 0]);
    cluster.pods.remove("shop/web-2-0");
    assert_eq!(cluster.told(111), ["-image-from-other-registry warning Deployment web evil.io/miner"]);
}

#[test]
fn an_owner_that_stays_unknown_is_told_as_such() {
    let mut cluster = Cluster::new(rules(&["docker.io/library"]));
    cluster.put(of_replica_set(pod("web-1-0", "evil.io/miner"), "web-1"));
    assert_eq!((cluster.look(0).len(), cluster.look(4).len()), (0, 0));
    let found = cluster.look(5);
    assert_eq!(found[0].labels.get("workload"), Some("web-1"));
    assert!(
        found[0]
            .evidence
            .iter()
            .any(|line| line.contains("web-1, which is named as the owner, is not known"))
    );
}

#[test]
fn a_maker_is_named_only_where_the_times_say_so() {
    let told = |entries: Value| {
        let meta: Meta = serde_json::from_value(
            json!({"name": "web", "creationTimestamp": MADE, "managedFields": entries}),
        )
        .expect("sound");
        let authors: Option<&Authors> = meta.authors.as_deref();
        origin::line("Deployment", &meta.name, authors, meta.created)
    };
    let entry = |manager: &str, operation: &str, time: &str| json!({"manager": manager, "operation": operation, "time": time});
    let later = "2026-11-22T00:00:00Z";
    for (entries, expected) in [
        (
            json!([entry("helm", "Update", MADE)]),
            "Deployment web was made by helm (Update) at 2026-11-21T00:47:52Z",
        ),
        (
            json!([entry("helm", "Update", MADE), entry("kubectl-edit", "Update", later)]),
            "Deployment web was made by helm (Update) at 2026-11-21T00:47:52Z, and changed last by \
             kubectl-edit (Update) at 2026-11-22T00:00:00Z",
        ),
        (
            json!([entry("argocd-controller", "Apply", later)]),
            "Deployment web, made at 2026-11-21T00:47:52Z; the first who is told to have written it is \
             argocd-controller (Apply) at 2026-11-22T00:00:00Z",
        ),
        (
            json!(null),
            "Deployment web, made at 2026-11-21T00:47:52Z: its managed fields say nothing of who wrote it",
        ),
        (
            json!([entry("a\nb", "Update", MADE)]),
            "Deployment web was made by a\u{fffd}b (Update) at 2026-11-21T00:47:52Z",
        ),
    ] {
        assert_eq!(told(entries.clone()), expected, "{entries}");
    }
}

#[test]
fn a_digest_that_differs_is_told_only_where_that_is_sure() {
    let pinned = |runs: &str| running(pod("p", &format!("r.io/app:v1@{}", digest(1))), "n1", runs);
    let found = || vec!["+image-digest-mismatch critical p app".to_owned()];
    let own = |images: &[&[u8]]| vec![("n1", images.iter().map(|image| image.to_vec()).collect::<Vec<_>>())];
    type Nodes = Vec<(&'static str, Vec<Vec<u8>>)>;
    let table: Vec<(String, Nodes, Vec<String>, usize)> = vec![
        // It runs what it names, by whatever repository.
        (format!("r.io/app@{}", digest(1)), own(&[]), vec![], 0),
        (format!("docker-pullable://other.io/app@{}", digest(1)), own(&[]), vec![], 0),
        // The id of an image is no digest of this kind.
        (digest(2), own(&[&[2]]), vec![], 1),
        (format!("docker://{}", digest(2)), own(&[&[2]]), vec![], 1),
        // The machine does not list what runs.
        (format!("r.io/app@{}", digest(2)), own(&[&[1], &[3]]), vec![], 1),
        (format!("r.io/app@{}", digest(2)), vec![], vec![], 1),
        // The list for all platforms and the manifest for this one name the same image.
        (format!("r.io/app@{}", digest(2)), own(&[&[2, 1]]), vec![], 0),
        (format!("r.io/app@{}", digest(2)), vec![("n1", vec![vec![2]]), ("n2", vec![vec![1, 2]])], vec![], 0),
        // The machine lists what runs, and that it is something else.
        (format!("r.io/app@{}", digest(2)), own(&[&[1], &[2, 3]]), found(), 0),
        (format!("r.io/app@{}", digest(2)), own(&[&[2]]), found(), 0),
    ];
    for (runs, nodes, expected, unknown) in table {
        let mut cluster = Cluster::new(rules(&[]));
        for (name, images) in &nodes {
            let images: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
            cluster.put_node(name, ("containerd://2.1.0", "amd64"), &images);
        }
        cluster.put(pinned(&runs));
        assert_eq!(cluster.told(0), [] as [String; 0], "{runs}");
        assert_eq!(cluster.told(119), [] as [String; 0], "{runs}");
        assert_eq!(cluster.told(124), expected, "{runs} {nodes:?}");
        assert_eq!(cluster.policy.figures().unknown_digests, unknown, "{runs} {nodes:?}");
        // A tag beside a digest means nothing, and what has no status is not judged.
        cluster.put(pod("p", &format!("r.io/app:v1@{}", digest(1))));
        assert_eq!(cluster.told(130).len(), expected.len(), "{runs}: its end");
    }
}

#[test]
fn a_tag_that_was_moved_is_told_once_for_machines_of_one_kind() {
    let by_tag = |name: &str, node: &str, number: u8| {
        running(pod(name, "r.io/app:v1"), node, &format!("r.io/app@{}", digest(number)))
    };
    let (containerd, crio) = (("containerd://2.1.0", "amd64"), ("cri-o://1.34.0", "amd64"));
    let arm = ("containerd://2.1.0", "arm64");
    let begin = "+image-tag-with-several-digests info r.io/app:v1".to_owned();
    type Node<'a> = (&'a str, (&'a str, &'a str), &'a [&'a [u8]]);
    let table: [(&str, [Node<'_>; 2], bool, usize); 6] = [
        ("different", [("n1", containerd, &[&[1]]), ("n2", containerd, &[&[2]])], true, 0),
        (
            "newer runtime",
            [("n1", containerd, &[&[1]]), ("n2", ("containerd://1.7.2", "amd64"), &[&[2]])],
            true,
            0,
        ),
        ("one image", [("n1", containerd, &[&[1, 2]]), ("n2", containerd, &[&[2]])], false, 0),
        ("not listed", [("n1", containerd, &[&[1]]), ("n2", containerd, &[&[9]])], false, 1),
        ("other runtime", [("n1", containerd, &[&[1]]), ("n2", crio, &[&[2]])], false, 0),
        ("other platform", [("n1", containerd, &[&[1]]), ("n2", arm, &[&[2]])], false, 0),
    ];
    for (name, nodes, is_found, unknown) in table {
        let mut cluster = Cluster::new(rules(&[]));
        for (node, platform, images) in nodes {
            cluster.put_node(node, platform, images);
        }
        cluster.put(by_tag("a", "n1", 1));
        cluster.put(by_tag("b", "n2", 2));
        cluster.put(by_tag("c", "n2", 2));
        let expected: Vec<String> = is_found.then(|| begin.clone()).into_iter().collect();
        assert_eq!((cluster.told(0), cluster.told(6)), (vec![], vec![]), "{name}");
        assert_eq!(cluster.told(130), expected, "{name}");
        assert_eq!(cluster.policy.figures().unknown_digests, unknown, "{name}");
        // The last of one digest goes: it is over.
        cluster.pods.remove("shop/a");
        let over: Vec<String> = expected.iter().map(|line| line.replace('+', "-")).collect();
        assert_eq!(cluster.told(140), over, "{name}");
        assert_eq!(cluster.policy.digests.contested(), 0, "{name}");
    }
}

#[test]
fn nothing_is_judged_while_the_pods_are_not_known() {
    let mut cluster = Cluster::new(rules(&["docker.io/library"]));
    let finding = "image-from-other-registry warning Pod p evil.io/miner";
    cluster.put(pod("p", "evil.io/miner"));
    cluster.may_judge = false;
    assert_eq!(cluster.told(0), [] as [String; 0]);
    cluster.may_judge = true;
    assert_eq!(cluster.told(1), [format!("+{finding}")]);
    cluster.may_judge = false;
    cluster.pods.remove("shop/p");
    assert_eq!(cluster.told(10), [] as [String; 0]);
    assert_eq!(cluster.told(301), [format!("+{finding}")], "it is told again while it lasts");
    cluster.may_judge = true;
    assert_eq!(cluster.told(302), [format!("-{finding}")]);
}

#[test]
fn what_was_found_before_a_restart_is_not_told_again_but_ends() {
    let mut before = Cluster::new(rules(&["docker.io/library"]));
    for name in ["p", "q"] {
        before.put(pod(name, "evil.io/miner"));
    }
    let findings = before.look(0);
    assert_eq!(findings.len(), 2);
    let mut after = Cluster::new(rules(&["docker.io/library"]));
    let other = Finding { rule: "other".into(), fingerprint: 1, ..findings[0].clone() };
    after.policy.take_up(findings.into_iter().chain([other]));
    after.put(pod("p", "evil.io/miner"));
    assert_eq!((after.told(100), after.told(105)), (vec![], vec![]));
    assert_eq!(after.told(106), ["-image-from-other-registry warning Pod q evil.io/miner"]);
    assert_eq!(after.policy.figures().findings[0], (Rule::Registry, 1));
}

#[test]
fn findings_are_bounded_and_the_others_counted() {
    let mut cluster = Cluster::new(rules(&["docker.io/library"]));
    for number in 0..600 {
        cluster.put(pod(&format!("p{number}"), "evil.io/miner"));
    }
    assert_eq!(cluster.look(0).len(), 500);
    assert_eq!(cluster.policy.figures().left_out, 100);
    // As others end, those that were left out are told.
    for number in 0..600 {
        cluster.pods.remove(&format!("shop/p{number}"));
    }
    cluster.put(pod("new", "evil.io/miner"));
    let told = cluster.told(10);
    assert_eq!(told.iter().filter(|line| line.starts_with('-')).count(), 500);
    assert_eq!(cluster.told(11), ["+image-from-other-registry warning Pod new evil.io/miner"]);
    assert_eq!(cluster.policy.figures().left_out, 0);
}
