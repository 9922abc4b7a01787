//! The index against a list that is gone through from end to end.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::{Value, json};
use vedette_model::{PodIdentity, WorkloadQuestion};
use vedette_sys::Random;

use super::*;
use crate::objects::{Owner, Pod};

fn pod(value: Value) -> Pod {
    serde_json::from_value(value).expect("a sound pod")
}

fn uid(number: u64) -> String {
    format!("{number:08x}-1111-2222-3333-444444444444")
}

fn id(number: u64) -> String {
    format!("{number:064x}")
}

fn one(index: &Index, question: &WorkloadQuestion<'_>) -> Option<PodIdentity> {
    let mut all = index.identify(question, 10);
    assert!(all.len() < 2, "{question:?}: {all:?}");
    all.pop()
}

fn name_of(found: Option<PodIdentity>) -> Option<String> {
    found.map(|found| found.name)
}

fn web(number: u64) -> Value {
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
    };
    for question in &questions {
        assert_eq!(one(&index, question), Some(expected("ReplicaSet", "web-5d9c")), "{question:?}");
    }
    // Who made the ReplicaSet may be known later, and stays known when it is gone.
    assert!(!index.resolve(|_, _, _| None));
    assert!(index.resolve(|kind, namespace, name| {
        assert_eq!((kind, namespace, name), ("ReplicaSet", "shop", "web-5d9c"));
        Some(Owner { kind: "Deployment".into(), name: "web".into() })
    }));
    assert!(!index.resolve(|_, _, _| panic!("it is known")));
    index.remove(&uid(7), 9_000);
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
                    index.remove(&uid(number), now);
                }
                _ => {
                    index.forget(now);
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
            index.remove(&uid(number), 100_000);
        }
        index.forget(1_000_000);
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

fn put(index: &mut Index, number: u64, address: Option<u64>, phase: &str, version: i64, now: i64) {
    let ip = address.map_or(String::new(), |address| format!("10.0.0.{address}"));
    let value = json!({"metadata": {"namespace": format!("n{}", number % 3), "name": format!("p{number}"),
            "uid": uid(number), "ownerReferences": [{"kind": "Job", "name": format!("j{}", number / 4),
            "controller": true}]},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": phase, "podIP": ip, "containerStatuses": [{"name": "c",
            "containerID": format!("containerd://{}", id(number))}]}});
    index.put(&pod(value), version.unsigned_abs(), now);
}
