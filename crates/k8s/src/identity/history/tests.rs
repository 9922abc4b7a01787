//! The history against a list that is gone through from end to end, on disks that fail, tear and lie about nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
};

use proptest::prelude::*;
use serde_json::json;
use vedette_model::{PodIdentity, WorkloadQuestion};
use vedette_sys::{Random, SimFs};

use super::{
    record::{Gone, PodRecord},
    *,
};
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

/// What a run was told of each pod by its uid: all states in which it was when it was written, the last of which that
/// was written and that was synced.
#[derive(Default)]
struct Run {
    states: BTreeMap<String, Vec<Option<Vec<u8>>>>,
    written: BTreeMap<String, usize>,
    synced: BTreeMap<String, usize>,
    now: i64,
}

impl Run {
    fn takes(&mut self, states: &BTreeMap<String, Vec<u8>>) {
        for uid in states.keys() {
            self.states.entry(uid.clone()).or_insert_with(|| vec![None]);
        }
        for (uid, all) in &mut self.states {
            let state = states.get(uid).cloned();
            if all.last() != Some(&state) {
                all.push(state);
            }
        }
    }

    fn newest(&self) -> BTreeMap<String, usize> {
        self.states.iter().map(|(uid, all)| (uid.clone(), all.len() - 1)).collect()
    }

    /// Every pod is as it was at some time since then.
    fn check(&self, found: &BTreeMap<String, Vec<u8>>, certain: &BTreeMap<String, usize>, place: &str) {
        for (uid, all) in &self.states {
            let since = certain.get(uid).copied().unwrap_or(0);
            let state = found.get(uid);
            let is_one = all[since..].iter().any(|one| one.as_ref() == state);
            let is_over =
                || state.is_none() && all[since..].iter().flatten().any(|one| is_over(one, self.now));
            assert!(is_one || is_over(), "{place}: {uid} is {state:?}, none of {:?}", &all[since..]);
        }
        assert!(found.keys().all(|uid| self.states.contains_key(uid)), "{place}");
    }
}

const CRASH_KEPT_MS: i64 = 100;

fn is_over(state: &[u8], now: i64) -> bool {
    let Some(HistoryRecord::Pod(pod)) = HistoryRecord::decode(state) else { return false };
    pod.gone.is_some_and(|gone| now - gone.at_ms > CRASH_KEPT_MS)
}

const CRASH_MEMORY: Memory = Memory { gone_kept_ms: CRASH_KEPT_MS, gone_max: 1000 };
const CRASH_LIMITS: Limits = Limits { compact_bytes_min: 1500, beat: Duration::from_millis(60), ..SMALL };

/// A fixed course, until the disk crashes.
fn run(fs: &SimFs, seed: u64) -> Run {
    let mut random = Random::new(seed);
    let mut run = Run::default();
    let Ok((index, mut history)) = open_with(fs, CRASH_MEMORY, CRASH_LIMITS, 0) else { return run };
    let mut next = 0_u64;
    for _ in 0..40 {
        run.now += 10;
        let now = run.now;
        for _ in 0..random.below(4) {
            let number = next.saturating_sub(random.below(4));
            if random.below(2) == 0 {
                index.write().remove(&uid(number), now, at(now));
            } else {
                next += 1;
                tell(&index, next, Some(random.below(5)), now);
            }
        }
        index.write().forget(at(now));
        run.takes(&states(&index.read()));
        history.keep(&index, true, (now, at(now)));
        if fs.crashed() {
            break;
        }
        assert_eq!(history.problem(), None);
        run.written = run.newest();
        if history.beaten == at(now) {
            run.synced = run.newest();
        }
    }
    run
}

#[test]
fn every_kill_and_every_loss_of_power_leaves_what_was_written_or_synced() {
    for seed in 0..2 {
        let whole = SimFs::new(seed);
        run(&whole, seed);
        assert!(!whole.files().contains(&Path::new(FOLDER).join("0000000001.log")), "it was compacted");
        for crash in 1..=whole.operations() {
            for is_power in [false, true] {
                let fs = SimFs::new(seed);
                fs.crash_at(crash);
                let run = run(&fs, seed);
                assert!(fs.crashed());
                let place = format!("seed {seed}, operation {crash}, power {is_power}");
                let certain = if is_power {
                    fs.power_loss();
                    &run.synced
                } else {
                    fs.restart();
                    &run.written
                };
                let reopen = || open_with(&fs, CRASH_MEMORY, CRASH_LIMITS, run.now).expect("opens");
                let (index, mut history) = reopen();
                let found = states(&index.read());
                run.check(&found, certain, &place);
                // It goes on from there.
                tell(&index, 1000, Some(1), run.now);
                keep(&index, &mut history, run.now);
                let all = states(&index.read());
                assert_eq!((states(&reopen().0.read()), all.len()), (all, found.len() + 1), "{place}");
            }
        }
    }
}

/// A file with ten pods, some of which are gone, and where the record of each ends.
fn some() -> (SimFs, PathBuf, Vec<u8>, Vec<(String, usize)>) {
    let fs = SimFs::new(1);
    let limits = Limits { segment_bytes_max: 1 << 20, ..SMALL };
    let (index, mut history) = open_with(&fs, Memory::default(), limits, 0).expect("opens");
    let mut ends: Vec<(String, usize)> = Vec::new();
    for number in 1..=10 {
        put(&mut index.write(), number, Some(number), "Running", 1, 10);
        if number % 3 == 0 {
            index.write().remove(&uid(number), 20, at(20));
        }
        history.append_changes(&index).expect("written");
        ends.push((uid(number), history.figures().bytes as usize));
    }
    let path = Path::new(FOLDER).join("0000000001.log");
    let bytes = fs.read(&path).expect("a file");
    assert_eq!(ends.last().map(|(_, end)| *end), Some(bytes.len()));
    (fs, path, bytes, ends)
}

#[test]
fn a_damaged_byte_costs_one_pod_and_none_becomes_another() {
    let (fs, path, bytes, _) = some();
    let whole = states(&open(&fs.fork(1), 30).0.read());
    assert_eq!(whole.len(), 10);
    for offset in 0..bytes.len() {
        let fs = fs.fork(offset as u64);
        fs.flip_bit(&path, offset, (offset % 8) as u8).expect("it is there");
        let (index, history) = open(&fs, 30);
        let found = states(&index.read());
        let lost = whole.len() - found.len();
        assert!(found.iter().all(|(uid, state)| whole.get(uid) == Some(state)), "byte {offset}");
        let most = usize::from(offset >= 32);
        assert!(lost <= most && (history.figures().lost_bytes > 0) == (lost > 0), "byte {offset}: {lost}");
    }
}

#[test]
fn a_file_that_ends_early_has_all_before() {
    let (fs, path, bytes, ends) = some();
    for length in 0..=bytes.len() {
        let fs = fs.fork(length as u64);
        fs.put(&path, bytes[..length].to_vec());
        let found = states(&open(&fs, 30).0.read());
        let expected = ends.iter().filter(|(_, end)| *end <= length).map(|(uid, _)| uid);
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{length} bytes");
    }
}

#[test]
fn what_is_too_much_is_left_out_the_first_to_go_first_and_the_log_stays_small() {
    let fs = SimFs::new(1);
    let limits = Limits { kept_bytes_max: 20_000, ..SMALL };
    let (index, mut history) = open_with(&fs, Memory::default(), limits, 0).expect("opens");
    for number in 1..=1000_u64 {
        let now = number as i64;
        put(&mut index.write(), number, None, "Running", 1, now);
        if number > 10 {
            index.write().remove(&uid(number - 10), now, at(now));
        }
        keep(&index, &mut history, now);
        assert!(history.figures().bytes < 50_000, "{}", history.figures().bytes);
    }
    // A pod that is told with a text of any length is known, and not kept.
    let mut long = web(2000);
    long["metadata"]["name"] = "n".repeat(3000).into();
    let mut longer = web(2001);
    longer["metadata"]["name"] = "n".repeat(70_000).into();
    let before = history.figures().left_out;
    for value in [long, longer] {
        index.write().put(&pod(value), 1, 2000);
        keep(&index, &mut history, 2000);
    }
    assert_eq!(history.figures().left_out, before + 2);
    assert_eq!(index.read().stats().gone, 990, "all are known");
    let (again, _) = open_with(&fs, Memory::default(), limits, 2001).expect("opens");
    let missing: Vec<u64> = (1..=1000).filter(|number| found(&again, *number).is_none()).collect();
    assert!(before >= 500 && missing.len() >= 500, "{before} left out, {} missing", missing.len());
    assert!(missing.iter().enumerate().all(|(at, number)| at as u64 + 1 == *number), "{missing:?}");
}

#[test]
fn what_cannot_be_written_is_told_and_written_later() {
    let fs = SimFs::new(1);
    let (index, mut history) = open(&fs, 0);
    put(&mut index.write(), 1, Some(1), "Running", 1, 0);
    keep(&index, &mut history, 0);
    fs.set_capacity(Some(fs.used_bytes() + 10));
    put(&mut index.write(), 2, Some(2), "Running", 1, 10);
    index.write().remove(&uid(1), 10, at(10));
    history.keep(&index, true, (10, at(10)));
    let problem = history.problem().expect("it is told").to_owned();
    assert!(problem.contains("main.pods"), "{problem}");
    fs.set_capacity(None);
    // A disk that fails is not asked all the time.
    history.keep(&index, true, (20, at(20)));
    assert_eq!(history.problem(), Some(&*problem));
    keep(&index, &mut history, 60_010);
    assert_eq!(states(&open(&fs, 60_010).0.read()), states(&index.read()));
    // Nor is it filled by compactions that cannot end.
    let live = index.read().kept_bytes();
    for now in (70_000..90_000).step_by(100) {
        keep(&index, &mut history, now);
        if history.figures().bytes + 100 > SMALL.compact_bytes_min {
            break;
        }
    }
    fs.set_capacity(Some(fs.used_bytes() + live + 200));
    for now in (100_000..1_000_000).step_by(60_000) {
        history.keep(&index, true, (now, at(now)));
    }
    assert!(history.problem().is_some_and(|problem| problem.contains("compact")), "{:?}", history.problem());
    fs.set_capacity(None);
    keep(&index, &mut history, 1_100_000);
    assert!(history.figures().bytes < live + 200, "{}", history.figures().bytes);
    assert_eq!(states(&open(&fs, 1_100_000).0.read()), states(&index.read()));
}

#[test]
fn a_file_of_a_later_release_is_refused_and_stays() {
    let (fs, path, mut bytes, _) = some();
    for copy in [0, 16] {
        bytes[copy + 7] = 2;
        let checksum = crc32(&bytes[copy..copy + 12]);
        bytes[copy + 12..copy + 16].copy_from_slice(&checksum.to_le_bytes());
    }
    fs.put(&path, bytes.clone());
    let refused = open_with(&fs, Memory::default(), SMALL, 30).err().expect("it is refused");
    assert!(refused.to_string().contains("version 2"), "{refused}");
    assert_eq!(fs.read(&path).expect("it is there"), bytes);
}

/// By its definition, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z0-9.-]{1,20}", "\\PC{0,10}"]
}

fn ids(digits: usize) -> impl Strategy<Value = String> {
    prop_oneof![proptest::string::string_regex(&format!("[0-9a-f]{{{digits}}}")).expect("sound"), names()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_record_is_read_as_it_was_written(
        uid in ids(32),
        alias: Option<[u8; 16]>,
        names in [names(), names(), names(), names()],
        owners in prop::collection::vec((names(), names()), 0..3),
        since_ms: i64,
        gone: Option<(i64, bool)>,
        addresses in prop::collection::vec(any::<(IpAddr, i64, i64)>(), 0..9),
        containers in prop::collection::vec((ids(64), names(), names()), 0..33),
        cut: prop::sample::Index,
    ) {
        let named = |at: usize| owners.get(at).map(|(kind, name)| (kind.as_str(), name.as_str()));
        let written = PodRecord {
            uid: uid.as_str().into(),
            alias,
            namespace: &names[0],
            name: &names[1],
            node: &names[2],
            service_account: &names[3],
            owner: named(0),
            above: named(1),
            since_ms,
            gone: gone.map(|(at_ms, unseen)| Gone { at_ms, unseen }),
            addresses,
            containers: containers.iter().map(|(id, name, image)| (id.into(), &**name, &**image)).collect(),
        };
        for record in [
            HistoryRecord::Pod(written),
            HistoryRecord::Known(since_ms),
            HistoryRecord::Compacted(since_ms.unsigned_abs()),
            HistoryRecord::Forgotten(uid.as_str().into()),
        ] {
            let bytes = record.encode().expect("short enough");
            prop_assert_eq!(HistoryRecord::decode(&bytes), Some(record));
            let cut = cut.index(bytes.len());
            prop_assert_eq!(HistoryRecord::decode(&bytes[..cut]), None, "{} bytes", cut);
        }
    }

    /// Records that are no pods, and pods whose times and lists no index ever had.
    #[test]
    fn any_bytes_are_read_or_refused(mut records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90), 1..9)) {
        let fs = SimFs::new(1);
        let limits = Limits { beat: Duration::ZERO, ..Limits::default() };
        let (_, mut history) = open_with(&fs, Memory::default(), limits, 0).expect("opens");
        let sound = HistoryRecord::Pod(PodRecord {
            uid: "odd".into(),
            alias: Some([7; 16]),
            namespace: "", name: "p", node: "", service_account: "",
            owner: Some(("Job", "j")), above: None,
            since_ms: i64::MAX,
            gone: Some(Gone { at_ms: i64::MIN, unseen: true }),
            addresses: vec![([10, 0, 0, 1].into(), i64::MAX, i64::MIN), ([10, 0, 0, 1].into(), i64::MAX - 1, 0)],
            containers: vec![("c".into(), "", ""), ("c".into(), "", "")],
        }).encode().expect("short enough");
        for (at, record) in records.iter_mut().enumerate() {
            // Most are near what is sound.
            if at % 2 == 0 {
                let end = record.len().min(sound.len());
                let mut near = sound.clone();
                let place = record.first().map_or(0, |byte| usize::from(*byte) % near.len());
                near[place] = record.get(end / 2).copied().unwrap_or(0);
                *record = near;
            }
        }
        history.log.append_all(records.iter().map(Vec::as_slice)).expect("written");
        for now in [i64::MIN, 0, 1, i64::MAX] {
            let mut index = Index::new("main".into(), Memory::default());
            let mut history =
                History::open(place(&fs), limits, &mut index, (now, MonotonicTime(1))).expect("opens");
            for slot in index.live().collect::<Vec<_>>() {
                index.end(slot, now, MonotonicTime(1));
            }
            let index = RwLock::new(index);
            history.keep(&index, true, (now, MonotonicTime(1)));
            index.write().forget(MonotonicTime(u64::MAX));
            let stats = index.read().stats();
            prop_assert_eq!((stats.live, stats.gone, stats.texts), (0, 0, 0));
        }
    }
}
