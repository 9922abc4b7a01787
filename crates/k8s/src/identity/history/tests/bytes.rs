//! Records of any content, and bytes that are none.

use proptest::prelude::*;

use super::{
    super::record::{Gone, PodRecord},
    *,
};

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
