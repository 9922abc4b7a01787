//! The history against a list that is gone through from end to end.

mod bytes;
mod disk;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde_json::json;
use vedette_model::{PodIdentity, WorkloadQuestion};
use vedette_sys::{Random, SimFs};

use super::*;
use crate::{
    identity::{
        index::Limits as Memory,
        tests::{at, id, name_of, one, pod, put, uid, web},
    },
    objects::Owner,
};

const FOLDER: &str = "/data/workloads/main.pods";

/// Small enough that files end and are compacted.
const SMALL: Limits = Limits {
    record_bytes_max: 2000,
    segment_bytes_max: 700,
    compact_bytes_min: 3000,
    kept_bytes_max: 1 << 20,
    beat: Duration::ZERO,
};

fn place(fs: &SimFs) -> Place {
    Place { fs: Arc::new(fs.clone()), folder: FOLDER.into() }
}

fn open_with(
    fs: &SimFs,
    memory: Memory,
    limits: Limits,
    now_ms: i64,
) -> Result<(RwLock<Index>, History), LogError> {
    let mut index = Index::new("main".into(), memory);
    let history = History::open(place(fs), limits, &mut index, (now_ms, at(now_ms)))?;
    Ok((RwLock::new(index), history))
}

fn open(fs: &SimFs, now_ms: i64) -> (RwLock<Index>, History) {
    open_with(fs, Memory::default(), SMALL, now_ms).expect("opens")
}

/// Writes what there is, which is all of the cluster.
fn keep(index: &RwLock<Index>, history: &mut History, now_ms: i64) {
    history.keep(index, true, (now_ms, at(now_ms)));
    assert_eq!(history.problem(), None);
}

/// As the first list that is whole does with those that it does not name.
fn end_all_but(index: &RwLock<Index>, there: &[u64], now_ms: i64) {
    let there: BTreeSet<String> = there.iter().map(|number| uid(*number)).collect();
    let mut index = index.write();
    let is_gone = |slot: &Slot| index.record_of(*slot).is_some_and(|pod| !there.contains(&*pod.uid));
    let gone: Vec<Slot> = index.live().filter(is_gone).collect();
    gone.into_iter().for_each(|slot| index.end(slot, now_ms, at(now_ms)));
}

/// All pods of an index by uid, as bytes.
fn states(index: &Index) -> BTreeMap<String, Vec<u8>> {
    let state = |slot| {
        let pod = index.record_of(slot)?;
        Some((pod.uid.to_string(), HistoryRecord::Pod(pod).encode()?))
    };
    index.newest_first().into_iter().filter_map(state).collect()
}

fn found(index: &RwLock<Index>, number: u64) -> Option<PodIdentity> {
    one(&index.read(), &WorkloadQuestion::Container(&id(number)))
}

#[test]
fn what_was_known_is_known_after_a_restart_by_all_that_names_it() {
    let fs = SimFs::new(1);
    let (index, mut history) = open(&fs, 1_000);
    let odd = json!({"metadata": {"namespace": "x", "name": "odd", "uid": "odd uid"}, "spec": {}, "status":
        {"containerStatuses": [{"name": "c", "containerID": "odd://c1"}]}});
    let hash = "0f".repeat(16);
    let mirror = json!({"metadata": {"namespace": "kube-system", "name": "etcd-n1", "uid": uid(3),
            "annotations": {"kubernetes.io/config.mirror": hash, "kubernetes.io/config.hash": hash},
            "ownerReferences": [{"kind": "Node", "name": "n1", "controller": true}]},
        "spec": {"nodeName": "n1", "hostNetwork": true}, "status": {"phase": "Running"}});
    {
        let mut index = index.write();
        for value in [web(7), odd, mirror] {
            index.put(&pod(value), 1, 5_000);
        }
        assert!(index.resolve(|_, _, _| Some(Some(Owner { kind: "Deployment".into(), name: "web".into() }))));
        index.remove(&uid(7), 9_000, at(9_000));
    }
    keep(&index, &mut history, 9_500);
    let questions = [
        WorkloadQuestion::Container(&id(7)),
        WorkloadQuestion::PodUid(&uid(7)),
        WorkloadQuestion::Address([10, 0, 0, 7].into(), 6_000),
        WorkloadQuestion::Address("fd00::7".parse().expect("an address"), 1_000),
        WorkloadQuestion::Address([10, 0, 0, 7].into(), 9_000),
        WorkloadQuestion::ServiceAccount("shop", "web"),
        WorkloadQuestion::PodUid("odd uid"),
        WorkloadQuestion::Container("c1"),
        WorkloadQuestion::PodUid(&hash),
        WorkloadQuestion::PodUid(&uid(3)),
    ];
    let (again, _) = open(&fs, 20_000);
    for question in &questions {
        let before = index.read().identify(question, 10);
        assert_eq!(before, again.read().identify(question, 10), "{question:?}");
    }
    let web = found(&again, 7).expect("it is known");
    assert_eq!((&*web.workload.kind, web.gone_ms, web.gone_unseen), ("Deployment", Some(9_000), false));
    assert_eq!(again.read().stats(), index.read().stats());
    // Fifteen days after it went it is over, however long ago the start was.
    let over_ms = 9_000 + Memory::default().gone_kept_ms;
    for (now_ms, is_known) in [(over_ms, true), (over_ms + 1, false)] {
        let (index, _) = open(&fs, now_ms);
        assert_eq!(found(&index, 7).is_some(), is_known, "{now_ms}");
    }
}

#[test]
fn a_pod_that_went_while_nobody_looked_is_gone_since_it_was_last_known() {
    let fs = SimFs::new(1);
    let (index, mut history) = open(&fs, 1_000);
    for number in [1, 2] {
        put(&mut index.write(), number, Some(number), "Running", 1, 1_000);
    }
    keep(&index, &mut history, 2_000);
    // Nothing is heard of the cluster from here on. A pod that comes late is known since it came.
    put(&mut index.write(), 3, Some(3), "Running", 1, 4_000);
    history.keep(&index, false, (5_000, at(5_000)));
    let (index, mut history) = open(&fs, 60_000);
    for number in 1..=3 {
        assert_eq!(found(&index, number).map(|pod| pod.gone_ms), Some(None), "until a list is whole");
    }
    put(&mut index.write(), 1, Some(1), "Running", 1, 61_000);
    end_all_but(&index, &[1], 62_000);
    let gone = |index: &RwLock<Index>, number| {
        found(index, number).map(|pod| (pod.gone_ms, pod.gone_unseen)).expect("it is known")
    };
    let had = |index: &RwLock<Index>, number: u8, at_ms| {
        name_of(one(&index.read(), &WorkloadQuestion::Address([10, 0, 0, number].into(), at_ms)))
    };
    let check = |index: &RwLock<Index>| {
        assert_eq!(gone(index, 1), (None, false));
        assert_eq!(gone(index, 2), (Some(2_000), true));
        assert_eq!(gone(index, 3), (Some(4_000), true));
        // Whose the address was after that, nobody knows.
        assert_eq!((had(index, 2, 1_999), had(index, 2, 2_000)), (Some("p2".into()), None));
        assert_eq!(had(index, 1, 30_000), Some("p1".into()));
    };
    check(&index);
    keep(&index, &mut history, 63_000);
    let (index, mut history) = open(&fs, 70_000);
    check(&index);
    // One that is seen to go is told so, and one that comes again is there.
    put(&mut index.write(), 1, Some(1), "Running", 1, 71_000);
    put(&mut index.write(), 2, Some(2), "Running", 1, 72_000);
    end_all_but(&index, &[2], 73_000);
    keep(&index, &mut history, 74_000);
    let (index, _) = open(&fs, 80_000);
    assert_eq!((gone(&index, 1), gone(&index, 2)), ((Some(73_000), false), (None, false)));
}

/// A pod of the list that is gone through.
#[derive(Debug, Clone)]
struct Told {
    since: i64,
    /// Address, from when, until when.
    had: Vec<(u64, i64, i64)>,
    gone: Option<(i64, bool)>,
}

impl Told {
    fn new(address: Option<u64>, now: i64) -> Self {
        let had = address.map(|address| (address, now, i64::MAX)).into_iter().collect();
        Self { since: now, had, gone: None }
    }

    fn address(&self) -> Option<u64> {
        self.had.last().filter(|(.., until)| *until == i64::MAX).map(|(address, ..)| *address)
    }

    /// What it has now, and no longer what it had.
    fn has(&mut self, address: Option<u64>, now: i64) {
        if self.address() == address {
            return;
        }
        self.close(now);
        self.had.extend(address.map(|address| (address, now, i64::MAX)));
        self.had.drain(..self.had.len().saturating_sub(8));
    }

    fn close(&mut self, now: i64) {
        let open = self.had.iter_mut().filter(|(.., until)| *until == i64::MAX);
        open.for_each(|had| had.2 = now.max(had.1));
    }

    fn end(&mut self, at: i64, unseen: bool) {
        self.gone = Some((at, unseen));
        self.close(at);
    }
}

const KEPT_MS: i64 = 600;
const GONE_MAX: usize = 6;

type Model = BTreeMap<u64, Told>;

/// Pods that are forgotten before their time.
fn forget(model: &mut Model, now: i64) -> u64 {
    model.retain(|_, told| told.gone.is_none_or(|(gone, _)| now - gone <= KEPT_MS));
    let mut gone: Vec<(i64, u64)> = model.iter().filter_map(|(n, told)| Some((told.gone?.0, *n))).collect();
    gone.sort_unstable();
    let too_many = gone.len().saturating_sub(GONE_MAX);
    gone[..too_many].iter().for_each(|(_, number)| drop(model.remove(number)));
    too_many as u64
}

fn live(model: &Model) -> Vec<u64> {
    model.iter().filter(|(_, told)| told.gone.is_none()).map(|(number, _)| *number).collect()
}

fn tell(index: &RwLock<Index>, number: u64, address: Option<u64>, now: i64) {
    let phase = if address.is_none() { "Succeeded" } else { "Running" };
    put(&mut index.write(), number, address.or(Some(1)), phase, now, now);
}

fn check(index: &RwLock<Index>, model: &Model, (next, now): (u64, i64), random: &mut Random, place: &str) {
    let index = index.read();
    for number in 0..=next {
        let expected = model.get(&number).map(|told| (told.since, told.gone));
        let found = one(&index, &WorkloadQuestion::Container(&id(number)));
        let found = found.map(|pod| (pod.since_ms, pod.gone_ms.map(|gone_ms| (gone_ms, pod.gone_unseen))));
        assert_eq!(found, expected, "{place}: pod {number}");
    }
    for address in 0..5 {
        let time = random.below(now as u64 + 20) as i64;
        let had = model.iter().flat_map(|(number, told)| told.had.iter().map(move |had| (number, had)));
        let expected = had
            .filter(|(_, (a, from, until))| *a == address && (*from..*until).contains(&time))
            .max_by_key(|(_, (_, from, _))| *from)
            .map(|(number, _)| format!("p{number}"));
        let ip = IpAddr::from([10, 0, 0, address as u8]);
        let found = one(&index, &WorkloadQuestion::Address(ip, time));
        assert_eq!(name_of(found), expected, "{place}: address {address} at {time}");
    }
}

/// Pods come, change, go and are forgotten, while the program is killed again and again: whoever asks gets what a
/// list gives of all that ever was and was kept.
#[test]
fn over_restarts_history_is_what_a_list_of_all_that_was_kept_gives() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let fs = SimFs::new(seed);
        let memory = Memory { gone_kept_ms: KEPT_MS, gone_max: GONE_MAX };
        let (mut index, mut history) = open_with(&fs, memory, SMALL, 0).expect("opens");
        let (mut model, mut forgotten) = (Model::new(), 0);
        // What is on disk, and until when it is known that pods are there.
        let mut kept = (Model::new(), i64::MIN);
        let (mut next, mut now) = (0_u64, 0_i64);
        for step in 0..400 {
            now += 10;
            let address = Some(random.below(6)).filter(|address| *address < 5);
            let there = live(&model);
            let any = there.get(random.below(there.len().max(1) as u64) as usize).copied();
            match (random.below(12), any) {
                (0..3, _) => {
                    next += 1;
                    model.insert(next, Told::new(address, now));
                    tell(&index, next, address, now);
                }
                (3 | 4, Some(number)) => {
                    model.get_mut(&number).expect("there").has(address, now);
                    tell(&index, number, address, now);
                }
                (5 | 6, Some(number)) => {
                    model.get_mut(&number).expect("there").end(now, false);
                    index.write().remove(&uid(number), now, at(now));
                }
                (7, _) => {
                    index.write().forget(at(now));
                    forgotten += forget(&mut model, now);
                }
                (8..11, _) => {
                    let is_whole = random.below(3) > 0;
                    history.keep(&index, is_whole, (now, at(now)));
                    assert_eq!(history.problem(), None);
                    kept = (model.clone(), if is_whole { now } else { kept.1 });
                    let (bytes, live) = (history.figures().bytes, index.read().kept_bytes());
                    let is_small = bytes < SMALL.compact_bytes_min || bytes <= 2 * live;
                    assert!(is_small, "{bytes} bytes, of which {live} count");
                }
                (_, _) => {
                    let cluster: Vec<(u64, Option<u64>)> =
                        there.iter().map(|number| (*number, model[number].address())).collect();
                    model = kept.0.clone();
                    fs.restart();
                    (index, history) = open_with(&fs, memory, SMALL, now).expect("opens");
                    assert_eq!(history.figures().lost_bytes, 0);
                    forgotten = forget(&mut model, now);
                    check(&index, &model, (next, now), &mut random, &format!("seed {seed}, start {step}"));
                    for (number, address) in &cluster {
                        now += 10;
                        model.entry(*number).or_insert_with(|| Told::new(*address, now)).has(*address, now);
                        tell(&index, *number, *address, now);
                    }
                    now += 10;
                    let there: Vec<u64> = cluster.iter().map(|(number, _)| *number).collect();
                    end_all_but(&index, &there, now);
                    let is_gone =
                        |(number, told): &(&u64, &mut Told)| told.gone.is_none() && !there.contains(*number);
                    let gone = model.iter_mut().filter(is_gone);
                    gone.for_each(|(_, told)| told.end(kept.1.max(told.since), true));
                }
            }
            check(&index, &model, (next, now), &mut random, &format!("seed {seed}, step {step}"));
            let (stats, there) = (index.read().stats(), live(&model).len());
            let expected = (there, model.len() - there, forgotten);
            assert_eq!((stats.live, stats.gone, stats.forgotten), expected, "seed {seed}, step {step}");
        }
    }
}
