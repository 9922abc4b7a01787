use proptest::prelude::*;

use super::*;
use crate::{RealFs, SimFs};

const FOLDER: &str = "/log";

fn config(flush: Flush) -> LogConfig {
    LogConfig { segment_bytes_max: 200, record_bytes_max: 1000, flush }
}

const LAZY: Flush = Flush::Interval(Duration::from_secs(1));

fn open(fs: &SimFs, flush: Flush) -> Result<(RecordLog, Recovery, Vec<Vec<u8>>), LogError> {
    let mut records = Vec::new();
    let (log, recovery) =
        RecordLog::open(Arc::new(fs.clone()), Path::new(FOLDER), config(flush), &mut |_, r| {
            records.push(r.to_vec());
        })?;
    assert_eq!(recovery.records, records.len() as u64);
    Ok((log, recovery, records))
}

/// Records that differ, of sizes that make several segments.
fn record(n: u32, size: usize) -> Vec<u8> {
    let mut bytes = n.to_le_bytes().to_vec();
    bytes.resize(4 + size, b'x');
    bytes
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    AppendAll(Vec<usize>),
    Sync,
    StartSegment,
    RemoveBefore(u64),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0_usize..90).prop_map(Step::Append),
        2 => prop::collection::vec(0_usize..60, 0..4).prop_map(Step::AppendAll),
        1 => Just(Step::Sync),
        1 => Just(Step::StartSegment),
        1 => (0_u64..4).prop_map(Step::RemoveBefore),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..25)
}

/// What a run of steps was told.
#[derive(Default)]
struct Told {
    /// Every record in order, with its segment if that is known and whether it was acknowledged.
    records: Vec<(Vec<u8>, bool)>,
    acknowledged: usize,
    synced: usize,
    /// Records before this one may have been removed.
    removed: usize,
}

fn run(fs: &SimFs, flush: Flush, script: &[Step]) -> Told {
    let mut told = Told::default();
    let mut segments: Vec<u64> = Vec::new();
    let Ok((mut log, ..)) = open(fs, flush) else { return told };
    for step in script {
        let sizes = match step {
            Step::Append(size) => vec![*size],
            Step::AppendAll(sizes) => sizes.clone(),
            _ => Vec::new(),
        };
        let first = told.records.len() as u32;
        let new: Vec<_> = (first..).zip(&sizes).map(|(n, s)| record(n, *s)).collect();
        let result = match step {
            Step::Append(_) => log.append(&new[0]).map(Some),
            Step::AppendAll(_) => log.append_all(new.iter().map(Vec::as_slice)).map(Some),
            Step::Sync => log.sync().map(|()| None),
            Step::StartSegment => log.start_segment().map(|_| None),
            Step::RemoveBefore(back) => {
                let segment = log.number_max.saturating_sub(*back);
                told.removed = told.removed.max(segments.partition_point(|s| *s < segment));
                log.remove_before(segment).map(|()| None)
            }
            Step::Reopen => match open(fs, flush) {
                Ok((reopened, _, found)) => {
                    let all: Vec<_> = told.records.iter().map(|r| r.0.clone()).collect();
                    assert!(all[told.removed..].iter().all(|r| found.contains(r)));
                    log = reopened;
                    Ok(None)
                }
                Err(error) => Err(error),
            },
        };
        let acknowledged = result.is_ok();
        if acknowledged || fs.crashed() {
            for record in new {
                told.records.push((record, acknowledged));
                segments.push(result.as_ref().ok().copied().flatten().unwrap_or(u64::MAX));
            }
        }
        if acknowledged {
            told.acknowledged = told.records.len();
            if flush == Flush::Always || matches!(step, Step::Sync) {
                told.synced = told.acknowledged;
            }
        }
        if fs.crashed() {
            break;
        }
    }
    told
}

/// `found` must be written records in their order; gaps only below `removed` and from `certain` on.
fn check(told: &Told, found: &[Vec<u8>], certain: usize) {
    let mut next = 0;
    for record in found {
        let at = told.records[next..].iter().position(|r| r.0 == *record);
        let at = next + at.expect("a record that was not written, twice, or out of order");
        assert!(next >= certain || (next..at).all(|i| i < told.removed || i >= certain), "lost {next}..{at}");
        next = at + 1;
    }
    assert!((next..certain).all(|i| i < told.removed), "lost from {next} below {certain}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The process is killed at every single operation of a script.
    #[test]
    fn acknowledged_records_survive_a_kill_at_any_write(script in steps(), seed: u64) {
        let whole = SimFs::new(seed);
        run(&whole, LAZY, &script);
        for crash in 1..=whole.operations() {
            let fs = SimFs::new(seed);
            fs.crash_at(crash);
            let told = run(&fs, LAZY, &script);
            prop_assert!(fs.crashed());
            fs.restart();
            let (mut log, recovery, found) = open(&fs, LAZY).unwrap();
            prop_assert_eq!(recovery.damage, None);
            check(&told, &found, told.acknowledged);
            log.append(b"after").unwrap();
            let (.., again) = open(&fs, LAZY).unwrap();
            prop_assert_eq!(again.len(), found.len() + 1);
            prop_assert_eq!(&again[found.len()][..], b"after");
        }
    }

    /// The power fails at every single operation of a script.
    #[test]
    fn synced_records_survive_a_loss_of_power(script in steps(), seed: u64, always: bool) {
        let flush = if always { Flush::Always } else { LAZY };
        let whole = SimFs::new(seed);
        run(&whole, flush, &script);
        for crash in 1..=whole.operations() {
            let fs = SimFs::new(seed);
            fs.crash_at(crash);
            let told = run(&fs, flush, &script);
            fs.power_loss();
            let (mut log, _, found) = open(&fs, flush).unwrap();
            check(&told, &found, told.synced);
            log.append(b"after").unwrap();
            let (.., again) = open(&fs, flush).unwrap();
            prop_assert_eq!(again.len(), found.len() + 1);
        }
    }

    /// A failing append leaves no trace, whichever operation fails, and the log stays usable.
    #[test]
    fn errors_leave_no_trace(script in steps(), seed: u64, always: bool) {
        let flush = if always { Flush::Always } else { LAZY };
        let whole = SimFs::new(seed);
        run(&whole, flush, &script);
        for at in 1..=whole.operations() {
            let fs = SimFs::new(seed);
            fs.fail_at(at);
            let told = run(&fs, flush, &script);
            let (.., found) = open(&fs, flush).unwrap();
            check(&told, &found, told.acknowledged);
        }
    }

    #[test]
    fn a_full_disk_loses_nothing_acknowledged(script in steps(), seed: u64, room in 0_u64..600) {
        let fs = SimFs::new(seed);
        fs.set_capacity(Some(room));
        let told = run(&fs, LAZY, &script);
        fs.set_capacity(None);
        let (mut log, recovery, found) = open(&fs, LAZY).unwrap();
        prop_assert_eq!(recovery.damage, None);
        check(&told, &found, told.acknowledged);
        log.append(b"after").unwrap();
    }

    /// One flipped bit costs at most one record, and brings none that was not written.
    #[test]
    fn a_flipped_bit_costs_one_record(script in steps(), seed: u64, at: prop::sample::Index, bit in 0_u8..8) {
        let fs = SimFs::new(seed);
        run(&fs, LAZY, &script);
        let (.., written) = open(&fs, LAZY).unwrap();
        let files = fs.list(Path::new(FOLDER)).unwrap();
        prop_assume!(!files.is_empty());
        let path = &files[at.index(files.len())];
        let length = fs.read(path).unwrap().len();
        let offset = at.index(length);
        fs.flip_bit(path, offset, bit).unwrap();
        let (mut log, recovery, found) = open(&fs, LAZY).unwrap();
        let mut rest = written.iter();
        for record in &found {
            prop_assert!(rest.any(|w| w == record));
        }
        prop_assert!(found.len() + 1 >= written.len());
        if offset >= frame::HEADER_BYTES {
            prop_assert!(found.len() < written.len());
            prop_assert!(recovery.dropped_bytes > 0);
        }
        log.append(b"after").unwrap();
        let (_, recovery, again) = open(&fs, LAZY).unwrap();
        prop_assert_eq!(again.len(), found.len() + 1);
        prop_assert_eq!(recovery.damage, None, "repaired, so reported once");
    }

    #[test]
    fn any_bytes_are_read_without_panic(
        data in prop::collection::vec(any::<u8>(), 0..400),
        good_header: bool,
        lengths in prop::collection::vec((0_usize..400, 0_u32..100), 0..5),
    ) {
        let mut bytes = if good_header { frame::header(Salt(1)).to_vec() } else { Vec::new() };
        bytes.extend(data);
        for (at, length) in lengths {
            if at + 4 < bytes.len() {
                bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
            }
        }
        let fs = SimFs::new(0);
        fs.create_dir_all(Path::new(FOLDER)).unwrap();
        fs.put(&segment_path(Path::new(FOLDER), 1), bytes.clone());
        fs.put(&segment_path(Path::new(FOLDER), 2), bytes);
        match open(&fs, LAZY) {
            Ok((_, _, found)) => prop_assert!(found.is_empty()),
            Err(error) => prop_assert!(matches!(error, LogError::Newer { .. }), "{error}"),
        }
    }
}

/// Content that looks like a frame must not become a record when reading resumes after damage.
#[test]
fn content_cannot_pass_for_a_frame() {
    for seed in 0..50 {
        let fs = SimFs::new(seed);
        let (mut log, ..) = open(&fs, LAZY).unwrap();
        let mut forged = Vec::new();
        for salt in 0..5 {
            frame::encode(Salt(salt), b"forged", &mut forged);
        }
        log.append(&forged).unwrap();
        log.append(b"next").unwrap();
        fs.flip_bit(&segment_path(Path::new(FOLDER), 1), frame::HEADER_BYTES, 0).unwrap();
        let (_, recovery, found) = open(&fs, LAZY).unwrap();
        assert_eq!(found, [b"next"]);
        let damage = recovery.damage.unwrap();
        assert!(damage.contains("/log/0000000001.log are damaged, from offset 32"), "{damage}");
        assert!(damage.contains("kept as /log/0000000001.log.damaged"), "{damage}");
        assert!(fs.exists(Path::new("/log/0000000001.log.damaged")));
    }
}

#[test]
fn damage_on_a_full_disk_is_reported_and_the_rest_is_read() {
    let fs = SimFs::new(1);
    let (mut log, ..) = open(&fs, LAZY).unwrap();
    log.append_all([&b"one"[..], b"two", b"three"]).unwrap();
    fs.flip_bit(&segment_path(Path::new(FOLDER), 1), frame::HEADER_BYTES + 8, 0).unwrap();
    fs.set_capacity(Some(40));
    let (_, recovery, found) = open(&fs, LAZY).unwrap();
    assert_eq!(found, [&b"two"[..], b"three"]);
    assert!(recovery.damage.unwrap().contains("cannot be repaired"));
    fs.set_capacity(None);
    let (_, recovery, found) = open(&fs, LAZY).unwrap();
    assert_eq!(found, [&b"two"[..], b"three"]);
    assert!(recovery.damage.unwrap().contains("kept as"));
    assert_eq!(open(&fs, LAZY).unwrap().1.damage, None);
}

#[test]
fn a_lost_header_costs_the_segment_and_its_number_is_not_used_again() {
    let fs = SimFs::new(1);
    let (mut log, ..) = open(&fs, LAZY).unwrap();
    log.append(b"one").unwrap();
    log.start_segment().unwrap();
    log.append(b"two").unwrap();
    for offset in [3, 20] {
        fs.flip_bit(&segment_path(Path::new(FOLDER), 2), offset, 5).unwrap();
    }
    let (mut log, recovery, found) = open(&fs, LAZY).unwrap();
    assert_eq!(found, [b"one"]);
    assert!(recovery.damage.unwrap().contains("header of /log/0000000002.log"));
    assert_eq!(log.append(b"three").unwrap(), 3);
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let fs = SimFs::new(1);
    fs.create_dir_all(Path::new(FOLDER)).unwrap();
    let mut header = frame::header(Salt(1));
    header[7] = 9;
    let checksum = crc32fast::hash(&header[..12]);
    header[12..16].copy_from_slice(&checksum.to_le_bytes());
    fs.put(&segment_path(Path::new(FOLDER), 1), header.to_vec());
    let error = open(&fs, LAZY).err().unwrap();
    assert!(error.to_string().contains("format version 9"), "{error}");
    assert_eq!(fs.read(&segment_path(Path::new(FOLDER), 1)).unwrap(), header);
}

#[test]
fn limits_segments_and_numbers() {
    let fs = SimFs::new(1);
    let (mut log, ..) = open(&fs, LAZY).unwrap();
    assert_eq!((log.bytes(), log.segments()), (0, 0));
    let error = log.append(&[0; 1001]).unwrap_err();
    assert!(matches!(error, LogError::TooLarge { bytes: 1001, max: 1000 }) && !error.is_full());
    let segments: Vec<_> = (0..6).map(|n| log.append(&record(n, 80)).unwrap()).collect();
    assert_eq!(segments, [1, 1, 2, 2, 3, 3]);
    assert_eq!(log.start_segment().unwrap(), 4);
    log.remove_before(100).unwrap();
    assert_eq!((log.segments(), log.bytes()), (1, 32));
    let (mut log, _, found) = open(&fs, LAZY).unwrap();
    assert!(found.is_empty());
    log.remove_before(100).unwrap();
    assert_eq!(log.append(b"x").unwrap(), 5);
    fs.set_capacity(Some(0));
    assert!(log.append(b"y").unwrap_err().is_full());
}

#[test]
fn works_on_the_real_file_system() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/log");
    let mut found = Vec::new();
    for n in 0..3_u32 {
        found.clear();
        let (mut log, recovery) =
            RecordLog::open(Arc::new(RealFs), &path, config(Flush::Always), &mut |s, r| {
                found.push((s, r.to_vec()));
            })
            .unwrap();
        assert_eq!(recovery.records, u64::from(n) * 2);
        log.append_all([&b"a"[..], b""]).unwrap();
        log.sync().unwrap();
    }
    assert_eq!(found, [(1, b"a".to_vec()), (1, vec![]), (2, b"a".to_vec()), (2, vec![])]);
}

/// Reads what a log holds beside the log itself.
fn read_beside(fs: &SimFs, log: &RecordLog) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    for (number, end) in log.extents() {
        let mut reader = SegmentReader::open(fs, Path::new(FOLDER), &config(LAZY), number).unwrap();
        while let Some(record) = reader.next(end).unwrap() {
            records.push(record.to_vec());
        }
    }
    records
}

#[test]
fn a_reader_follows_the_log_and_sees_whole_records_only() {
    let fs = SimFs::new(3);
    let (mut log, ..) = open(&fs, LAZY).unwrap();
    log.append(&record(0, 20)).unwrap();
    let number = log.extents().next().unwrap().0;
    let end = |log: &RecordLog| log.extents().next().unwrap().1;
    let mut reader = SegmentReader::open(&fs, Path::new(FOLDER), &config(LAZY), number).unwrap();
    assert_eq!(reader.next(end(&log)).unwrap(), Some(&record(0, 20)[..]));
    assert_eq!(reader.next(end(&log)).unwrap(), None);
    // A failed append is nothing that a reader may see.
    fs.fail_at(fs.operations() + 1);
    assert!(log.append(&record(1, 20)).is_err());
    assert_eq!(reader.next(end(&log)).unwrap(), None);
    log.append(&record(2, 20)).unwrap();
    fs.fail_read_at(fs.reads() + 1);
    assert!(reader.next(end(&log)).is_err());
    assert_eq!(reader.next(end(&log)).unwrap(), Some(&record(2, 20)[..]));
    log.append_all([&record(3, 0)[..], &record(4, 900)[..]]).unwrap();
    for n in 5..9 {
        log.append(&record(n, 70)).unwrap();
    }
    assert!(log.segments() > 1);
    let expected: Vec<_> = [(0, 20), (2, 20), (3, 0), (4, 900), (5, 70), (6, 70), (7, 70), (8, 70)]
        .map(|(n, s)| record(n, s))
        .into();
    assert_eq!(read_beside(&fs, &log), expected);
    // Damage is told, and nothing behind it is made up.
    fs.flip_bit(&Path::new(FOLDER).join("0000000001.log"), 32 + 8 + 3, 1).unwrap();
    let mut reader = SegmentReader::open(&fs, Path::new(FOLDER), &config(LAZY), 1).unwrap();
    let Err(LogError::Io { source, .. }) = reader.next(end(&log)) else { panic!("damage was read") };
    assert_eq!(source.kind(), io::ErrorKind::InvalidData);
}
