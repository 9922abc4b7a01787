//! The index against a list that is gone through from end to end.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::{Value, json};
use vedette_model::{PodIdentity, WorkloadQuestion};
use vedette_sys::{MonotonicTime, Random};

use super::*;
use crate::objects::{Owner, Pod};

pub(super) fn pod(value: Value) -> Pod {
    serde_json::from_value(value).expect("a sound pod")
}

/// A time by the clock that nobody sets, in milliseconds.
pub(super) fn at(ms: i64) -> MonotonicTime {
    MonotonicTime(ms.unsigned_abs() * 1_000_000)
}

pub(super) fn uid(number: u64) -> String {
    format!("{number:08x}-1111-2222-3333-444444444444")
}

pub(super) fn id(number: u64) -> String {
    format!("{number:064x}")
}

pub(super) fn one(index: &Index, question: &WorkloadQuestion<'_>) -> Option<PodIdentity> {
    let mut all = index.identify(question, 10);
    assert!(all.len() < 2, "{question:?}: {all:?}");
    all.pop()
}

pub(super) fn name_of(found: Option<PodIdentity>) -> Option<String> {
    found.map(|found| found.name)
}

pub(super) fn web(number: u64) -> Value {
    json!({"metadata": {"namespace": "shop", "name": format!("web-5d9c-{number}"), "uid": uid(number),
            "creationTimestamp": "1970-01-01T00:00:01Z", "ownerReferences":
                [{"kind": "ReplicaSet", "name": "web-5d9c", "controller": true}]},
        "spec": {"nodeName": "n1", "serviceAccountName": "web", "containers": [{"name": "app", "image": "web:1"}]},
        "status": {"phase": "Running", "podIP": "10.0.0.7", "podIPs": [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}],
            "containerStatuses": [{"name": "app", "containerID": format!("containerd://{}", id(number))}]}})
}

#[test]
fn a_pod_is_found_by_all_that_names_it_and_stands_for_its_workload() {
    let mut index = Index::new("main".into(), Limits::default());
    index.put(&pod(web(7)), 1, 5_000);
    let cgroup = format!("/kubepods/burstable/pod{}/{}", uid(7), id(7));
    let (seven, six): (IpAddr, IpAddr) = ([10, 0, 0, 7].into(), "fd00::7".parse().expect("an address"));
    let questions = [
        WorkloadQuestion::Container(&id(7)),
        WorkloadQuestion::Cgroup(&cgroup),
        WorkloadQuestion::PodUid(&uid(7)),
        WorkloadQuestion::Address(seven, 6_000),
        WorkloadQuestion::Address(six, 1_000),
        WorkloadQuestion::ServiceAccount("shop", "web"),
    ];
    let expected = |kind: &str, name: &str| PodIdentity {
        cluster: "main".into(),
        namespace: "shop".into(),
        name: "web-5d9c-7".into(),
        uid: uid(7),
        node: "n1".into(),
        service_account: "web".into(),
        workload: vedette_model::Workload { kind: kind.into(), name: name.into() },
        addresses: vec![seven, six],
        containers: vec![vedette_model::PodContainer {
            id: id(7),
            name: "app".into(),
            image: "web:1".into(),
        }],
        since_ms: 1_000,
        gone_ms: None,
        gone_unseen: false,
    };
    for question in &questions {
        assert_eq!(one(&index, question), Some(expected("ReplicaSet", "web-5d9c")), "{question:?}");
    }
    // Who made the ReplicaSet may be known later, and stays known when it is gone.
    assert!(!index.resolve(|_, _, _| None));
    assert!(index.resolve(|kind, namespace, name| {
        assert_eq!((kind, namespace, name), ("ReplicaSet", "shop", "web-5d9c"));
        Some(Some(Owner { kind: "Deployment".into(), name: "web".into() }))
    }));
    assert!(!index.resolve(|_, _, _| panic!("it is known")));
    index.remove(&uid(7), 9_000, at(9_000));
    for question in &questions {
        let gone = PodIdentity { gone_ms: Some(9_000), ..expected("Deployment", "web") };
        assert_eq!(one(&index, question), Some(gone), "{question:?}");
    }
    assert_eq!(one(&index, &WorkloadQuestion::Address(seven, 9_000)), None);
    assert_eq!(one(&index, &WorkloadQuestion::Address(seven, 999)), None);
    assert_eq!(one(&index, &WorkloadQuestion::Container(&id(8))), None);
    assert_eq!(one(&index, &WorkloadQuestion::ServiceAccount("shop", "other")), None);
}

#[test]
fn pods_without_owners_static_pods_and_pods_on_the_network_of_their_machine() {
    let mut index = Index::new("main".into(), Limits::default());
    let bare = json!({"metadata": {"namespace": "x", "name": "bare", "uid": "odd uid"}, "spec": {}, "status":
        {"containerStatuses": [{"name": "c", "containerID": "odd://c1"}]}});
    index.put(&pod(bare), 1, 5);
    let found = one(&index, &WorkloadQuestion::PodUid("odd uid")).expect("found");
    assert_eq!((&*found.workload.kind, &*found.workload.name, &*found.uid), ("Pod", "bare", "odd uid"));
    let found = one(&index, &WorkloadQuestion::Container("c1")).expect("found");
    assert_eq!(found.containers[0].id, "c1");

    let hash = "0123456789abcdef".repeat(2);
    let mirror = json!({"metadata": {"namespace": "kube-system", "name": "etcd-n1", "uid": uid(1),
            "annotations": {"kubernetes.io/config.hash": hash, "kubernetes.io/config.mirror": hash},
            "ownerReferences": [{"kind": "Node", "name": "n1", "controller": true}]},
        "spec": {"nodeName": "n1", "hostNetwork": true}, "status": {"phase": "Running", "podIP": "192.0.2.1"}});
    index.put(&pod(mirror), 2, 5);
    let cgroup = format!("/kubepods.slice/kubepods-pod{hash}.slice/cri-containerd-{}.scope", id(4));
    let found = one(&index, &WorkloadQuestion::Cgroup(&cgroup)).expect("found");
    assert_eq!((&*found.name, &*found.workload.kind, &*found.workload.name), ("etcd-n1", "Node", "n1"));
    assert!(found.addresses.is_empty());
    assert_eq!(one(&index, &WorkloadQuestion::Address([192, 0, 2, 1].into(), 10)), None);
    assert!(index.identify(&WorkloadQuestion::PodUid(&uid(1)), 0).is_empty());
}

/// A pod that says it is the mirror of a static one, whose cgroups are called so.
fn mirror(number: u64, name: &str, called: &str) -> Value {
    json!({"metadata": {"namespace": "kube-system", "name": name, "uid": uid(number),
            "annotations": {"kubernetes.io/config.hash": called, "kubernetes.io/config.mirror": called},
            "ownerReferences": [{"kind": "Node", "name": "n1", "controller": true}]},
        "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}})
}

#[test]
fn no_pod_is_taken_for_another_by_what_it_says_of_itself() {
    let named = |index: &Index, uid: &str| {
        let cgroup = format!("/kubepods/pod{uid}");
        let by_uid = name_of(one(index, &WorkloadQuestion::PodUid(uid)));
        assert_eq!(name_of(one(index, &WorkloadQuestion::Cgroup(&cgroup))), by_uid);
        by_uid
    };
    let victim = Some("web-5d9c-7".to_owned());
    // With what a kubelet would write, too.
    let mut plain = web(8);
    plain["metadata"]["annotations"] = json!({"kubernetes.io/config.hash": uid(7)});
    for forged in [plain, mirror(8, "forged", &uid(7))] {
        for is_first in [true, false] {
            let mut index = Index::new("main".into(), Limits::default());
            if is_first {
                index.put(&pod(forged.clone()), 1, 5_000);
            }
            index.put(&pod(web(7)), 2, 5_000);
            if !is_first {
                index.put(&pod(forged.clone()), 1, 5_000);
            }
            assert_eq!(named(&index, &uid(7)), victim);
            assert_eq!(index.stats().live, 2);
            // The other is known by its own, and goes by its own.
            assert_eq!(index.known(&uid(8)).map(|(_, version)| version), Some(1));
            assert_eq!(index.known(&uid(7)).map(|(_, version)| version), Some(2));
            index.remove(&uid(8), 9_000, at(9_000));
            assert_eq!((index.stats().live, index.stats().gone), (1, 1));
            assert_eq!(named(&index, &uid(7)), victim);
        }
    }
    // What is called so already stays so, while it is there.
    let hash = "0123456789abcdef".repeat(2);
    let mut index = Index::new("main".into(), Limits::default());
    index.put(&pod(mirror(1, "etcd-n1", &hash)), 1, 5);
    index.put(&pod(mirror(2, "forged", &hash)), 1, 6);
    assert_eq!(named(&index, &hash).as_deref(), Some("etcd-n1"));
    // It is told anew by its kubelet.
    index.put(&pod(mirror(3, "etcd-n1", &hash)), 1, 7);
    index.remove(&uid(1), 8, at(8));
    assert_eq!(one(&index, &WorkloadQuestion::PodUid(&hash)).map(|found| found.uid), Some(uid(3)));
    // Removing by what cgroups call it removes nothing.
    index.remove(&hash, 9, at(9));
    assert_eq!(index.stats().live, 2);
}

#[test]
fn what_is_gone_is_kept_for_its_time_however_the_clock_is_set() {
    let limits = Limits { gone_kept_ms: 400, gone_max: 100 };
    let mut index = Index::new("main".into(), limits);
    for number in [7, 8] {
        index.put(&pod(web(number)), 1, 5_000);
    }
    index.remove(&uid(7), 5_000, at(1_000));
    // A year later by the clock on the wall, and a moment by the other.
    index.remove(&uid(8), 31_536_000_000, at(1_100));
    let is_known = |index: &Index| [7, 8].map(|n| one(index, &WorkloadQuestion::PodUid(&uid(n))).is_some());
    index.forget(at(1_400));
    assert_eq!(is_known(&index), [true, true]);
    index.forget(at(1_450));
    assert_eq!(is_known(&index), [false, true]);
    // Back before it began: what it had, it had for no time, and nothing is upside down.
    index.put(&pod(web(9)), 1, 5_000);
    let mut other = web(9);
    other["status"]["podIPs"] = json!([{"ip": "10.0.0.9"}]);
    index.put(&pod(other), 2, 6_000);
    index.remove(&uid(9), 10, at(1_500));
    let nine = [10, 0, 0, 9].into();
    for at_ms in [5, 10, 5_999, 6_000, 7_000] {
        assert_eq!(one(&index, &WorkloadQuestion::Address(nine, at_ms)), None, "{at_ms}");
    }
}

#[test]
fn who_made_it_is_asked_until_it_is_known() {
    let mut index = Index::new("main".into(), Limits::default());
    index.put(&pod(web(7)), 1, 5_000);
    assert!(!index.resolve(|_, _, _| None), "the watch has not told of it yet");
    assert!(!index.resolve(|_, _, _| Some(None)), "nobody made it");
    assert!(!index.resolve(|_, _, _| panic!("it is known that nobody did")));
    // A Deployment takes it over, and makes another pod.
    index.put(&pod(web(8)), 2, 6_000);
    assert!(index.resolve(|_, _, _| Some(Some(Owner { kind: "Deployment".into(), name: "web".into() }))));
    let found = one(&index, &WorkloadQuestion::PodUid(&uid(7))).expect("found");
    assert_eq!((&*found.workload.kind, &*found.workload.name), ("Deployment", "web"));
    index.put(&pod(web(9)), 3, 7_000);
    assert!(!index.resolve(|_, _, _| panic!("it is known")));
}

#[test]
fn a_cluster_in_a_pod_is_that_pod() {
    let mut index = Index::new("main".into(), Limits::default());
    index.put(&pod(web(7)), 1, 5_000);
    let inner = format!("kubelet/kubepods/burstable/pod{}/{}", uid(99), id(98));
    let path = format!("/kubepods/burstable/pod{}/{}/{inner}", uid(7), id(7));
    assert_eq!(name_of(one(&index, &WorkloadQuestion::Cgroup(&path))).as_deref(), Some("web-5d9c-7"));
    // As the cluster within sees it, which knows nothing of what is around.
    let mut within = Index::new("kind".into(), Limits::default());
    within.put(&pod(web(99)), 1, 5_000);
    assert_eq!(name_of(one(&within, &WorkloadQuestion::Cgroup(&path))).as_deref(), Some("web-5d9c-99"));
    // Whoever is in a container cannot pass for another by a cgroup's name.
    index.put(&pod(web(99)), 2, 5_000);
    assert_eq!(name_of(one(&index, &WorkloadQuestion::Cgroup(&path))).as_deref(), Some("web-5d9c-7"));
}

#[test]
fn a_pod_that_starts_again_and_again_keeps_its_last_containers() {
    let mut index = Index::new("main".into(), Limits::default());
    for round in 1..=40 {
        let mut value = web(7);
        value["status"]["containerStatuses"][0]["containerID"] = json!(format!("containerd://{}", id(round)));
        index.put(&pod(value), round, 5_000);
    }
    assert_eq!(one(&index, &WorkloadQuestion::Container(&id(8))), None);
    for known in [9, 40] {
        assert_eq!(
            one(&index, &WorkloadQuestion::Container(&id(known))).map(|p| p.containers.len()),
            Some(32)
        );
    }
    assert_eq!(index.stats().parts_forgotten, 8);
}

/// A pod of the list that is gone through.
#[derive(Debug, Clone)]
struct Told {
    /// Address, from when, until when.
    had: Vec<(u64, i64, i64)>,
    gone: Option<i64>,
}

/// Pods come, change addresses, end, go and are forgotten, in any order; whoever asks for any time gets what
/// a list of all that ever was gives.
#[test]
fn history_is_what_a_list_of_all_that_was_gives() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let limits = Limits { gone_kept_ms: 400, gone_max: 6 };
        let mut index = Index::new("main".into(), limits);
        let mut model: BTreeMap<u64, Told> = BTreeMap::new();
        let (mut next, mut forgotten) = (0_u64, 0);
        for step in 1..400_i64 {
            let now = step * 10;
            match random.below(8) {
                // A new pod, with an address or not yet.
                0..3 => {
                    next += 1;
                    let address = random.below(6);
                    let had = if address < 5 { vec![(address, now, i64::MAX)] } else { Vec::new() };
                    model.insert(next, Told { had, gone: None });
                    put(&mut index, next, Some(address).filter(|a| *a < 5), "Running", step, now);
                }
                // One gets another address, or ends and loses it.
                3 | 4 => {
                    let live: Vec<u64> = live(&model);
                    let Some(number) = pick(&mut random, &live) else { continue };
                    let told = model.get_mut(&number).expect("there");
                    let address = Some(random.below(6)).filter(|a| *a < 5);
                    let same = told
                        .had
                        .last()
                        .is_some_and(|(a, _, until)| *until == i64::MAX && Some(*a) == address);
                    if !same {
                        told.had
                            .iter_mut()
                            .filter(|(.., until)| *until == i64::MAX)
                            .for_each(|had| had.2 = now);
                        told.had.extend(address.map(|address| (address, now, i64::MAX)));
                        told.had.drain(..told.had.len().saturating_sub(8));
                    }
                    let phase = if address.is_none() { "Succeeded" } else { "Running" };
                    put(&mut index, number, address.or(Some(1)), phase, step, now);
                }
                5 | 6 => {
                    let live: Vec<u64> = live(&model);
                    let Some(number) = pick(&mut random, &live) else { continue };
                    let told = model.get_mut(&number).expect("there");
                    told.gone = Some(now);
                    told.had.iter_mut().filter(|(.., until)| *until == i64::MAX).for_each(|had| had.2 = now);
                    index.remove(&uid(number), now, at(now));
                }
                _ => {
                    index.forget(at(now));
                    model.retain(|_, told| told.gone.is_none_or(|gone| now - gone <= 400));
                    let mut gone: Vec<(i64, u64)> =
                        model.iter().filter_map(|(n, told)| Some((told.gone?, *n))).collect();
                    gone.sort_unstable();
                    for (_, number) in &gone[..gone.len().saturating_sub(6)] {
                        model.remove(number);
                        forgotten += 1;
                    }
                }
            }
            let at = random.below(now as u64 + 20) as i64;
            for address in 0..5 {
                let had =
                    model.iter().flat_map(|(number, told)| told.had.iter().map(move |had| (number, had)));
                let expected = had
                    .filter(|(_, (a, from, until))| *a == address && (*from..*until).contains(&at))
                    .max_by_key(|(_, (_, from, _))| *from)
                    .map(|(number, _)| format!("p{number}"));
                let ip = IpAddr::from([10, 0, 0, address as u8]);
                let found = one(&index, &WorkloadQuestion::Address(ip, at));
                assert_eq!(name_of(found), expected, "seed {seed}, step {step}, address {address} at {at}");
            }
            let number = random.below(next + 2);
            let expected = model.get(&number).map(|told| (format!("p{number}"), told.gone));
            let found = one(&index, &WorkloadQuestion::Container(&id(number)));
            assert_eq!(found.map(|found| (found.name, found.gone_ms)), expected, "seed {seed}, step {step}");
        }
        let stats = index.stats();
        let gone = model.values().filter(|told| told.gone.is_some()).count();
        assert_eq!((stats.live, stats.gone, stats.forgotten), (model.len() - gone, gone, forgotten));
        // What is forgotten leaves nothing behind.
        for number in 0..=next {
            index.remove(&uid(number), 100_000, at(100_000));
        }
        index.forget(at(1_000_000));
        let stats = index.stats();
        assert_eq!((stats.live, stats.gone, stats.texts), (0, 0, 0));
    }
}

fn live(model: &BTreeMap<u64, Told>) -> Vec<u64> {
    model.iter().filter(|(_, told)| told.gone.is_none()).map(|(number, _)| *number).collect()
}

fn pick(random: &mut Random, from: &[u64]) -> Option<u64> {
    if from.is_empty() { None } else { Some(from[random.below(from.len() as u64) as usize]) }
}

pub(super) fn put(index: &mut Index, number: u64, address: Option<u64>, phase: &str, version: i64, now: i64) {
    let ip = address.map_or(String::new(), |address| format!("10.0.0.{address}"));
    let value = json!({"metadata": {"namespace": format!("n{}", number % 3), "name": format!("p{number}"),
            "uid": uid(number), "ownerReferences": [{"kind": "Job", "name": format!("j{}", number / 4),
            "controller": true}]},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": phase, "podIP": ip, "containerStatuses": [{"name": "c",
            "containerID": format!("containerd://{}", id(number))}]}});
    index.put(&pod(value), version.unsigned_abs(), now);
}
