use serde_json::{Value, json};
use vedette_model::{FindingState, PodIdentity, WorkloadQuestion};

use super::*;
use crate::{
    identity::{Index, Limits},
    ledger::FINDINGS_MAX,
};

const NODE: &str = "n";

/// What the watches of a cluster tell.
struct Known {
    index: Index,
    there: Shelf<Pod>,
    version: u64,
}

impl Identify for Known {
    fn identify(&self, question: &WorkloadQuestion<'_>, limit: usize) -> Vec<PodIdentity> {
        self.index.identify(question, limit)
    }

    fn generation(&self) -> u64 {
        0
    }
}

fn id(number: u64) -> String {
    format!("{number:064}")
}

fn uid(number: u64) -> String {
    format!("{number:08x}-1111-2222-3333-444444444444")
}

/// A pod that says of containers how they are: `running`, `terminated`, `waiting`.
fn pod(number: u64, node: &str, containers: &[(u64, &str)]) -> Value {
    let status = |(number, state): &(u64, &str)| {
        json!({"name": format!("c{number}"), "containerID": format!("containerd://{}", id(*number)),
            "state": {*state: {}}})
    };
    let statuses: Vec<Value> = containers.iter().map(status).collect();
    json!({"metadata": {"namespace": "x", "name": format!("p{number}"), "uid": uid(number)},
        "spec": {"nodeName": node}, "status": {"phase": "Running", "containerStatuses": statuses}})
}

impl Known {
    fn new() -> Self {
        Self { index: Index::new("main".into(), Limits::default()), there: Shelf::default(), version: 0 }
    }

    fn put(&mut self, mut pod: Value, at_s: i64) {
        self.version += 1;
        pod["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let read = || serde_json::from_value::<Pod>(pod.clone()).expect("sound");
        self.index.put(&read(), self.version, at_s * 1000);
        self.there.put(read());
    }

    fn remove(&mut self, number: u64, at_s: i64) {
        self.index.remove(&uid(number), at_s * 1000, vedette_sys::MonotonicTime(0));
        self.there.remove(&format!("x/p{number}"));
    }
}

fn container(number: u64, cgroup: &str) -> Container {
    Container { id: id(number), name: id(number), cgroup: cgroup.into(), ..Container::default() }
}

/// Where a kubelet puts a container of a pod.
fn in_pod(pod: u64, number: u64) -> Container {
    container(number, &format!("/kubepods/burstable/pod{}/{}", uid(pod), id(number)))
}

/// As containerd tells of one whose label names a pod.
fn labelled(pod: u64, number: u64, name: &str, cgroup: &str) -> Container {
    let runtime = "containerd".to_owned();
    Container { name: name.into(), pod_uid: uid(pod), runtime, ..container(number, cgroup) }
}

/// As containerd tells of one that a kubelet made.
fn made(pod: u64, number: u64, name: &str) -> Container {
    labelled(pod, number, name, &in_pod(pod, number).cgroup)
}

/// Where it is judged.
struct World {
    known: Known,
    /// What the API server says when it is asked, if it answers. By default what the watches tell.
    server: Option<Vec<Value>>,
    answers: bool,
    may_judge: bool,
    kubelet_tells: bool,
    strays: Strays,
    asked: usize,
}

impl World {
    fn new() -> Self {
        Self {
            known: Known::new(),
            server: None,
            answers: true,
            may_judge: true,
            kubelet_tells: true,
            strays: Strays::default(),
            asked: 0,
        }
    }

    fn judge(&mut self, containers: &[Arc<Container>], asked: Option<&NodePods>, at_s: i64) -> Vec<Finding> {
        let mut out = Vec::new();
        let view = StrayView {
            cluster: "main",
            host: "n",
            node: NODE,
            containers,
            pods: Pods { who: &self.known, there: &self.known.there },
            asked,
            may_judge: self.may_judge,
            kubelet_tells: self.kubelet_tells,
            now_ns: at_s * 1_000_000_000,
        };
        self.strays.judge(&view, &mut out);
        out
    }

    /// What is told at a time: `+` begins or goes on, `-` is over, with the end of the id. The server is asked
    /// where that is wanted.
    fn told(&mut self, containers: &[Container], at_s: i64) -> String {
        let containers: Vec<Arc<Container>> = containers.iter().cloned().map(Arc::new).collect();
        let mut out = self.judge(&containers, None, at_s);
        if self.strays.due() > 0 {
            self.asked += 1;
            let pods = match &self.server {
                Some(pods) => {
                    pods.iter().map(|pod| serde_json::from_value(pod.clone()).expect("sound")).collect()
                }
                None => self.known.there.iter().map(|(_, pod, _)| Pod::clone(pod)).collect(),
            };
            let asked = NodePods::new("main".into(), pods, at_s * 1_000_000_000);
            if self.answers {
                out.extend(self.judge(&containers, Some(&asked), at_s));
            }
        }
        let one = |finding: &Finding| {
            let id = finding.labels.get("container_id").unwrap_or("?").trim_start_matches('0').to_owned();
            format!("{}{id}", if finding.state == FindingState::Firing { '+' } else { '-' })
        };
        out.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    /// What is told in each second of a time.
    fn told_in(&mut self, containers: &[Container], seconds: std::ops::Range<i64>) -> String {
        let told = seconds.map(|at_s| self.told(containers, at_s));
        told.filter(|told| !told.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn a_table_of_pods_and_containers() {
    let mut world = World::new();
    world.known.put(pod(1, NODE, &[(1, "running")]), 0);
    let all = [in_pod(1, 1), in_pod(2, 2), container(3, "/by-hand/3")];
    // Time, whether it may be judged, how many of the containers run, and what is told.
    for (at_s, may, count, expected) in [
        (0, false, 3, ""),
        // The grace begins when it may be judged, not before.
        (100, true, 3, ""),
        (105, true, 3, ""),
        (106, true, 3, "+2 +3"),
        (107, true, 3, ""),
        // Nobody knows: neither new nor over.
        (110, false, 1, ""),
        (406, false, 3, "+2 +3"),
        (407, true, 2, "-3"),
        // It begins anew, with its grace.
        (408, true, 3, ""),
        (413, true, 3, ""),
        (414, true, 3, "+3"),
    ] {
        world.may_judge = may;
        assert_eq!(world.told(&all[..count], at_s), expected, "at {at_s}");
    }
    // The pod becomes known late: it is over.
    world.known.put(pod(2, NODE, &[(2, "running")]), 415);
    assert_eq!(world.told(&all, 415), "-2");
    // A pod goes, and its container lives on for longer than one of a pod that was deleted by force may, and
    // then once more as long as one that is unknown.
    world.known.remove(1, 500);
    for (at_s, expected) in [(501, ""), (559, ""), (560, ""), (565, ""), (566, "+1")] {
        assert_eq!(world.told(&all, at_s), expected, "at {at_s}");
    }
    assert_eq!(world.strays.figures(), (2, 0));
}

#[test]
fn what_was_found_before_a_restart_is_not_told_again_but_ends() {
    let all = [container(3, "/by-hand/3")];
    let mut before = World::new();
    before.told(&all, 0);
    let running = [Arc::new(all[0].clone())];
    let asked = NodePods::new("main".into(), Vec::new(), 7_000_000_000);
    let out = before.judge(&running, Some(&asked), 7);
    let other = Finding { rule: "other".into(), fingerprint: 1, ..out[0].clone() };
    let mut after = World::new();
    after.strays.take_up([out[0].clone(), other]);
    assert_eq!(after.strays.figures(), (1, 0));
    assert_eq!(after.told(&all, 20), "");
    assert_eq!(after.told(&[], 30), "-3");
}

/// Who starts a container chooses its labels, its cgroup and its id. None of them makes it one of a pod.
#[test]
fn forged_labels_cgroups_and_ids_are_found() {
    let mut known = Known::new();
    known.put(pod(1, NODE, &[(1, "running"), (7, "terminated")]), 0);
    known.put(pod(2, "other", &[(2, "running")]), 0);
    let own = [made(1, 10, "POD"), made(1, 1, "app")];
    let hand = "/k8s.io/by-hand";
    for (what, forged, after_s) in [
        ("a label that names a pod", labelled(1, 9, "app", hand), 60),
        ("a label that names a pod of another node", labelled(2, 9, "app", hand), 6),
        ("a cgroup of a pod", in_pod(1, 9), 60),
        ("a cgroup of a pod, and a label", made(1, 9, "app"), 60),
        ("a cgroup of a pod of another node", in_pod(2, 9), 6),
        ("the id of a container of another node", container(2, hand), 6),
        ("the id of a container that has ended", container(7, hand), 60),
        ("the id of a container that runs", container(1, hand), 60),
        ("that it holds the network of a pod", labelled(1, 9, "POD", hand), 60),
        ("that it holds the network of a pod, in its cgroup", made(1, 9, "POD"), 60),
        ("a static pod that there is not", Container { pod_uid: "ab".repeat(16), ..container(9, hand) }, 120),
        ("a cgroup inside one of a pod", labelled(1, 9, "app", &format!("{}/sub/x", own[1].cgroup)), 60),
    ] {
        let mut world = World { known, ..World::new() };
        let all = [own[0].clone(), own[1].clone(), forged.clone()];
        // Those of the pod were there first, whichever has the smaller id.
        assert_eq!(world.told_in(&own, 0..100), "", "{what}");
        assert_eq!(world.told_in(&all, 100..100 + after_s), "", "{what}");
        let found = forged.id.trim_start_matches('0');
        assert_eq!(world.told(&all, 100 + after_s), format!("+{found}"), "{what}");
        // It lasts as long as it runs, and is over with it.
        assert_eq!(world.told_in(&all, 101 + after_s..200 + after_s), "", "{what}");
        assert_eq!(world.told(&own, 200 + after_s), format!("-{found}"), "{what}");
        known = world.known;
    }
}

#[test]
fn who_took_a_place_that_was_another_s_does_not_get_it_when_that_one_goes() {
    let mut world = World::new();
    world.known.put(pod(1, NODE, &[(2, "running")]), 0);
    let (app, forged) = (made(1, 2, "app"), labelled(1, 1, "POD", "/k8s.io/x"));
    let all = [made(1, 10, "POD"), app.clone(), forged.clone()];
    // Nobody knows who came first: the one where the kubelet puts it is believed.
    assert_eq!(world.told_in(&all, 0..100), "+1");
    let again = [made(1, 11, "POD"), app.clone(), forged.clone()];
    assert_eq!(world.told_in(&[app, forged], 100..110), "");
    assert_eq!(world.told_in(&again, 110..300), "", "the new one is none, and the finding lasts");
}

/// What a sound cluster does, with statuses that come late.
#[test]
fn a_sound_cluster_alarms_nobody() {
    let mut world = World::new();
    world.known.put(pod(1, NODE, &[(1, "running")]), 0);
    let network = made(1, 10, "POD");
    // It starts again and again, and its status lags by 50 seconds.
    let mut before = 1;
    for (round, next) in (2..9).enumerate() {
        let begin = 100 * round as i64;
        let all = [network.clone(), made(1, next, "app")];
        assert_eq!(world.told_in(&all, begin..begin + 50), "", "{next}");
        world.known.put(pod(1, NODE, &[(next, "running"), (before, "terminated")]), begin + 50);
        assert_eq!(world.told_in(&all, begin + 50..begin + 100), "", "{next}");
        before = next;
    }
    // Init and ephemeral containers are listed elsewhere.
    let mut value = pod(2, NODE, &[]);
    let status = |number| json!([{"name": "i", "containerID": format!("cri-o://{}", id(number)), "state": {"running": {}}}]);
    value["status"]["initContainerStatuses"] = status(20);
    value["status"]["ephemeralContainerStatuses"] = status(21);
    world.known.put(value, 1000);
    let pod_2 = [made(2, 20, "init"), made(2, 21, "debug"), made(2, 22, "POD")];
    assert_eq!(world.told_in(&pod_2, 1000..1200), "");
    // Where no runtime tells which holds the network, one of each pod may.
    let silent = [in_pod(2, 20), in_pod(2, 21), in_pod(2, 22)];
    assert_eq!(world.told_in(&silent, 1200..1400), "");
    let two = [in_pod(2, 20), in_pod(2, 21), in_pod(2, 22), in_pod(2, 23)];
    assert_eq!(world.told_in(&two, 1400..1600), "+23");
    assert_eq!(world.told(&[], 1600), "-23");
    // What runs inside a container, as Docker in a pod does.
    let inside = container(30, &format!("{}/docker/{}", in_pod(2, 20).cgroup, id(30)));
    assert_eq!(world.told_in(&[pod_2[0].clone(), inside], 1600..1800), "");
    // Kata has a second cgroup for the one that holds the network.
    let kata = labelled(2, 22, "POD", &format!("/kata_overhead/{}", id(22)));
    assert_eq!(world.told_in(&[pod_2[2].clone(), kata], 1600..1800), "");
    // A kubelet that does not reach its API server starts containers again and tells nobody.
    world.kubelet_tells = false;
    let restarted = [pod_2[0].clone(), pod_2[2].clone(), made(2, 24, "debug")];
    assert_eq!(world.told_in(&restarted, 1800..2400), "");
    world.kubelet_tells = true;
    assert_eq!(world.told_in(&restarted, 2400..2450), "");
    assert_eq!(world.told_in(&restarted, 2450..2500), "+24", "but if it never tells of it, it is none");
}

/// The label and the cgroup of a static pod have the digest of its file, and its mirror comes late.
#[test]
fn static_pods_are_waited_for() {
    let mut world = World::new();
    let hash = "0123456789abcdef".repeat(2);
    let of_static = |number: u64, name: &str| Container {
        pod_uid: hash.clone(),
        ..labelled(1, number, name, &format!("/kubepods/burstable/pod{hash}/{}", id(number)))
    };
    let all = [of_static(1, "etcd"), of_static(2, "POD")];
    assert_eq!(world.told_in(&all, 0..110), "");
    let mut mirror = pod(1, NODE, &[(1, "running")]);
    mirror["metadata"]["annotations"] =
        json!({"kubernetes.io/config.hash": hash, "kubernetes.io/config.mirror": hash});
    mirror["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": uid(9), "controller": true}]);
    world.known.put(mirror, 110);
    assert_eq!(world.told_in(&all, 110..400), "");
    // It is gone, and its kubelet does not make it anew.
    world.known.remove(1, 400);
    assert_eq!(world.told_in(&all, 400..580), "");
    assert_eq!(world.told(&all, 580), "+1 +2");
}

/// A watch whose peer is dead knows nothing of new pods, and nothing of that.
#[test]
fn nothing_begins_before_the_api_server_says_so() {
    let mut world = World::new();
    world.server = Some(vec![pod(1, NODE, &[(1, "running")])]);
    let all = [in_pod(1, 1), container(3, "/by-hand/3")];
    world.answers = false;
    assert_eq!(world.told_in(&all, 0..60), "", "it does not answer");
    assert_eq!(world.strays.due(), 2);
    world.answers = true;
    let asked = world.asked;
    assert_eq!(world.told_in(&all, 60..70), "+3", "the pod is there, whatever the watch knows");
    assert!(
        (2..=3).contains(&(world.asked - asked)),
        "after each grace, not each second: {}",
        world.asked - asked
    );
    assert_eq!(world.strays.figures(), (1, 0));
    // An answer from before a container came says nothing of it.
    let running: Vec<Arc<Container>> = [all[1].clone(), container(4, "/by-hand/4")].map(Arc::new).into();
    let old = NodePods::new("main".into(), Vec::new(), 102_000_000_000);
    assert!(world.judge(&running, None, 100).is_empty());
    assert!(world.judge(&running, Some(&old), 110).is_empty());
    assert_eq!(world.told(&[all[1].clone(), container(4, "/by-hand/4")], 111), "+4");
}

#[test]
fn what_is_too_much_is_counted_once() {
    let mut world = World::new();
    let count = FINDINGS_MAX as u64 + 3;
    let all: Vec<Container> =
        (1..=count).map(|number| container(number, &format!("/by-hand/{number}"))).collect();
    world.told_in(&all, 0..30);
    assert_eq!(world.strays.figures(), (FINDINGS_MAX, 3));
    // Nothing may be judged for a while: they are the same.
    world.may_judge = false;
    world.told(&all, 30);
    world.may_judge = true;
    world.told_in(&all, 31..60);
    assert_eq!(world.strays.figures(), (FINDINGS_MAX, 3));
}
