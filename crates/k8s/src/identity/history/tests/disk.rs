//! Disks that crash, lose power, are damaged and are full, and files of later releases.

use std::path::Path;

use super::*;

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
    let mut grown = web(2002);
    grown["spec"]["containers"][0]["image"] = "i".repeat(3000).into();
    grown["status"]["containerStatuses"][0]["containerID"] = id(2003).into();
    let before = history.figures().left_out;
    for value in [long, longer, web(2002), grown] {
        index.write().put(&pod(value), 1, 2000);
        keep(&index, &mut history, 2000);
    }
    assert_eq!(history.figures().left_out, before + 3);
    assert_eq!(index.read().stats().gone, 990, "all are known");
    let (again, _) = open_with(&fs, Memory::default(), limits, 2001).expect("opens");
    assert!((2000..2003).all(|number| found(&index, number).is_some() && found(&again, number).is_none()));
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
