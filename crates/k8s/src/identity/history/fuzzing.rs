//! The door for the fuzz target to records of the history, and good beginnings.

use super::record::{Gone, HistoryRecord, PodRecord};

/// A record, or what is none. What is read can be written, and is then the same.
pub fn record(bytes: &[u8]) {
    if let Some(record) = HistoryRecord::decode(bytes) {
        let written = record.encode().expect("what was read is short enough");
        assert_eq!(HistoryRecord::decode(&written), Some(record));
    }
}

/// One of each kind.
pub fn records() -> Vec<Vec<u8>> {
    let pod = PodRecord {
        uid: "1-2".into(),
        alias: Some([7; 16]),
        namespace: "shop",
        name: "web",
        node: "n1",
        service_account: "default",
        owner: Some(("ReplicaSet", "web-5d9c")),
        above: Some(("Deployment", "web")),
        since_ms: 1_700_000_000_000,
        gone: Some(Gone { at_ms: 1_700_000_000_001, unseen: true }),
        addresses: vec![([10, 0, 0, 1].into(), 1, 2), ([0_u16; 8].into(), 3, 4)],
        containers: vec![("c".into(), "app", "image"), ("ab".repeat(32).into(), "", "")],
    };
    let short = PodRecord {
        uid: "00000001-1111-2222-3333-444444444444".into(),
        alias: None,
        owner: None,
        above: None,
        gone: None,
        addresses: Vec::new(),
        containers: Vec::new(),
        ..pod.clone()
    };
    let all = [
        HistoryRecord::Pod(pod),
        HistoryRecord::Pod(short),
        HistoryRecord::Known(1),
        HistoryRecord::Forgotten("1-2".into()),
        HistoryRecord::Compacted(1),
    ];
    all.into_iter().filter_map(|record| record.encode()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_are_records() {
        let records = records();
        assert_eq!(records.len(), 5);
        for bytes in records {
            assert!(HistoryRecord::decode(&bytes).is_some());
            record(&bytes);
        }
    }
}
