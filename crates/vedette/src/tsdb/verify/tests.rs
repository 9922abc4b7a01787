use std::fs;

use vedette_model::{Labels, MetricReader, SampleBuffer, Select, TimeRange};
use vedette_sys::{Clock, ManualClock};
use vedette_tsdb::{Config, RefRow};

use super::*;
use crate::tsdb::repair;

/// A data folder whose store has sealed segments and a log.
fn data_folder() -> (tempfile::TempDir, u64) {
    let data = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(1_700_000_000_000_000_000);
    let config = Config { shards: 1, ..Config::new(data.path().join("metrics")) };
    let (store, _) = Tsdb::open(config, Arc::new(RealFs), Arc::new(clock.clone())).unwrap();
    for minute in 0..30 {
        clock.advance(std::time::Duration::from_secs(60));
        let series: Vec<_> = (0..200)
            .map(|n| store.series(&Labels::from_pairs([("__name__", "m"), ("n", &n.to_string())])).unwrap())
            .collect();
        let values: Vec<f64> = (0..200).map(|n| f64::from(minute * 200 + n).sin()).collect();
        store.append(&[RefRow::new(clock.unix_ms(), &series, &values)]).unwrap();
        store.maintain();
    }
    assert!(store.stats().segments >= 2);
    store.close().unwrap();
    (data, 6000)
}

fn count(data: &Path) -> u64 {
    let clock = ManualClock::at(1_700_001_800_000_000_000);
    let config = Config::new(data.join("metrics"));
    let (store, recovery) = Tsdb::open(config, Arc::new(RealFs), Arc::new(clock)).unwrap();
    assert_eq!(recovery.notes, Vec::<String>::new());
    let select =
        Select { matchers: Vec::new(), range: TimeRange::ALL, hints: Default::default(), series_max: 0 };
    let set = store.select(&select).unwrap();
    let mut out = SampleBuffer::default();
    let read = |i| {
        out.clear();
        set.read(i, TimeRange::ALL, &mut out).unwrap();
        out.len() as u64
    };
    (0..set.len()).map(read).sum()
}

fn segments(data: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data.join("metrics/segments")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn damage_is_found_and_repaired() {
    let (data, samples) = data_folder();
    let data = data.path();
    assert_eq!(run(data).unwrap(), CLEAN);
    assert_eq!(repair::run(data, false).unwrap(), CLEAN);
    let victim = segments(data)[0].clone();
    let mut bytes = fs::read(&victim).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle] ^= 4;
    fs::write(&victim, &bytes).unwrap();
    assert_eq!(run(data).unwrap(), PROBLEMS);
    assert_eq!(fs::read(&victim).unwrap(), bytes, "verifying changes nothing");
    assert_eq!(repair::run(data, false).unwrap(), CLEAN, "a flipped bit costs nothing");
    assert_eq!(run(data).unwrap(), CLEAN);
    assert_eq!(count(data), samples);
    assert!(segments(data).iter().any(|p| p.extension().is_some_and(|e| e == "repaired")));
    assert_eq!(repair::run(data, true).unwrap(), CLEAN);
    assert!(segments(data).iter().all(|p| p.extension().is_some_and(|e| e == "segment")));
    assert_eq!(count(data), samples);
    // What cannot be saved is told, and the others stay.
    let victim = segments(data)[0].clone();
    let bytes = fs::read(&victim).unwrap();
    fs::write(&victim, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(run(data).unwrap(), PROBLEMS);
    assert_eq!(repair::run(data, false).unwrap(), PROBLEMS);
    let left = count(data);
    assert!(left < samples && left > 0, "{left}");
}

#[test]
fn a_folder_in_use_is_left_alone() {
    let (data, _) = data_folder();
    let _lock = FolderLock::acquire(data.path()).unwrap();
    for refused in [run(data.path()).unwrap_err(), repair::run(data.path(), false).unwrap_err()] {
        assert!(refused.to_string().contains("is in use by process"), "{refused}");
    }
}
