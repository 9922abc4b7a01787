use proptest::prelude::*;

use super::*;

#[test]
fn limits_are_read_in_both_versions() {
    for (text, first, second) in [
        ("max\n", None, None),
        ("67108864\n", Some(67_108_864), None),
        ("9223372036854771712\n", None, None),
        ("-1\n", None, None),
        ("20000 100000\n", Some(20_000), Some(100_000)),
        ("max 100000\n", None, Some(100_000)),
    ] {
        assert_eq!(Limit::parse(text.as_bytes()), Some(Limit { first, second }), "{text:?}");
    }
    assert_eq!(Limit::parse(b"\n"), None);
    assert_eq!((shares_of_weight(1), shares_of_weight(100), shares_of_weight(10_000)), (2, 2597, 262_144));
    assert_eq!(shares_of_weight(u64::MAX), 262_144);
}

proptest! {
    #[test]
    fn garbage_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut put = |_: Slot, value: f64| assert!(value.is_finite());
        cpu_stat(&bytes, true, &mut put);
        cfs_stat_1(&bytes, true, &mut put);
        memory_stat(&bytes, &mut put);
        memory_stat_1(&bytes, &mut put);
        pressure(&bytes, Slot::CpuUsage, Slot::CpuUsage, &mut put);
        let _ = (oom_kills(&bytes), Limit::parse(&bytes).map(Limit::bytes));
    }
}
