use std::{path::Path, sync::Arc, time::Duration};

use vedette_model::Labels;
use vedette_sys::{Clock, ManualClock, SimFs};

use crate::{Config, RefRow, Rollup, Tsdb};

/// Series of all sorts, of which one goes and another comes.
fn store() -> Tsdb {
    let clock = ManualClock::at(1_700_006_400_000 * 1_000_000);
    let config = Config {
        rollups: vec![Rollup { step_ms: 60_000, retention_ms: i64::MAX }],
        compaction_spans_ms: vec![1_200_000],
        ..Config::new(Path::new("data"))
    };
    let store = Tsdb::open(config, Arc::new(SimFs::new(1)), Arc::new(clock.clone())).unwrap().0;
    for i in 0..300i64 {
        clock.advance(Duration::from_secs(10));
        let mut rows = vec![
            ("steady", 1.0),
            ("linear", i as f64),
            ("square", (i * i) as f64),
            ("sine", (i as f64).sin()),
        ];
        rows.push(if i < 60 { ("old", 2.0) } else { ("new", 3.0) });
        rows.push((
            "noise",
            f64::from_bits(0x3ff0_0000_0000_0000 | (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 12),
        ));
        for (name, value) in rows {
            let refs = [store.series(&Labels::from_pairs([("__name__", name)])).unwrap()];
            // Times that are not regular take a column.
            let time_ms = clock.unix_ms() + if name == "square" { i % 3 } else { 0 };
            store.append(&[RefRow::new(time_ms, &refs, &[value])]).unwrap();
        }
        store.maintain();
    }
    store
}

#[test]
fn the_parts_add_up_to_the_files() {
    let store = store();
    let account = store.account().unwrap();
    let stats = store.stats();
    assert_eq!(account.parts.iter().map(|p| p.bytes).sum::<u64>(), stats.segment_bytes);
    assert_eq!(account.parts.iter().map(|p| p.samples).sum::<u64>(), stats.segment_samples);
    assert_eq!(account.segments.iter().map(|s| s.bytes).sum::<u64>(), stats.segment_bytes);
    let names: Vec<&str> = account.parts.iter().map(|p| p.name).collect();
    for wanted in ["constant", "decimals, linear", "time columns", "index", "heads and summaries"] {
        assert!(names.contains(&wanted), "{wanted:?} is not in {names:?}");
    }
    assert!(!names.contains(&"damaged"), "{names:?}");
    assert!(account.parts.is_sorted_by(|a, b| a.bytes >= b.bytes));
    let [rollup] = account.rollups[..] else { panic!("{:?}", account.rollups) };
    assert_eq!((rollup.step_ms, rollup.files, rollup.bytes), (60_000, stats.rollups, stats.rollup_bytes));
    assert!(rollup.rows > 5 * 20, "{rollup:?}");
}

#[test]
fn series_that_come_and_go_are_counted() {
    let account = store().account().unwrap();
    assert_eq!(account.segments[0].churn, None);
    let churn: Vec<_> = account.segments.iter().filter_map(|s| s.churn).collect();
    assert_eq!(churn.len(), account.segments.len() - 1);
    assert_eq!(
        churn.iter().map(|c| (c.appeared, c.disappeared)).filter(|c| *c != (0, 0)).count(),
        1,
        "{churn:?}"
    );
}
