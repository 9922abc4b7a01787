use proptest::prelude::*;
use vedette_sys::SimFs;

use super::*;

fn any_deletions() -> impl Strategy<Value = Deletions> {
    let op = proptest::sample::select(OPS.to_vec());
    let matcher = (op, "[a-z_]{1,8}", "[a-z0-9]{0,8}");
    let one = (
        proptest::collection::vec(matcher, 1..4),
        any::<(i64, i64)>(),
        any::<u64>(),
        proptest::collection::vec(any::<(u32, u64)>(), 0..4),
    );
    proptest::collection::vec(one, 0..5).prop_map(|all| Deletions {
        list: all
            .into_iter()
            .map(|(matchers, (start_ms, end_ms), segments_before, logs)| Deletion {
                matchers: matchers.into_iter().map(|(op, n, v)| Matcher::new(op, n, v).unwrap()).collect(),
                range: TimeRange { start_ms, end_ms },
                segments_before,
                logs,
            })
            .collect(),
    })
}

proptest! {
    #[test]
    fn the_list_comes_back(deletions in any_deletions()) {
        let fs = SimFs::new(1);
        fs.create_dir_all(Path::new("s")).unwrap();
        deletions.save(&fs, Path::new("s")).unwrap();
        let loaded = Deletions::load(&fs, Path::new("s")).unwrap();
        prop_assert_eq!(loaded.deletions, deletions);
        prop_assert_eq!(loaded.note, None);
    }

    #[test]
    fn changed_bytes_are_set_aside_and_told(deletions in any_deletions(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        prop_assume!(!deletions.is_empty());
        let fs = SimFs::new(1);
        fs.create_dir_all(Path::new("s")).unwrap();
        deletions.save(&fs, Path::new("s")).unwrap();
        let path = Path::new("s/deletions");
        let length = fs.read(path).unwrap().len();
        fs.flip_bit(path, at.index(length), bit).unwrap();
        let loaded = Deletions::load(&fs, Path::new("s")).unwrap();
        prop_assert!(loaded.note.unwrap().contains("s/deletions.damaged"));
        prop_assert!(loaded.deletions.is_empty() && !fs.exists(path));
        prop_assert!(fs.exists(Path::new("s/deletions.damaged")));
    }

    #[test]
    fn garbage_is_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let _ = decode_list(&mut Cursor::new(&bytes));
    }

    #[test]
    fn stretches_are_joined(ranges in proptest::collection::vec((0i64..40, 0i64..6), 0..6)) {
        let ranges: Vec<TimeRange> =
            ranges.into_iter().map(|(start_ms, n)| TimeRange { start_ms, end_ms: start_ms + n }).collect();
        let mask = joined(ranges.clone());
        prop_assert!(mask.windows(2).all(|w| w[0].end_ms + 1 < w[1].start_ms));
        for time in -1..50 {
            prop_assert_eq!(crate::mask::covers(&mask, time), ranges.iter().any(|r| r.contains(time)));
        }
    }
}

#[test]
fn a_later_format_is_refused_by_name_and_left_alone() {
    let fs = SimFs::new(1);
    fs.create_dir_all(Path::new("s")).unwrap();
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&2u32.to_le_bytes());
    put_crc(&mut bytes, 0);
    fs.put(Path::new("s/deletions"), bytes);
    let Err(error) = Deletions::load(&fs, Path::new("s")) else { panic!("it was read") };
    assert!(error.to_string().contains("s/deletions has format version 2"), "{error}");
    assert!(fs.exists(Path::new("s/deletions")));
}
