use proptest::prelude::*;

use super::*;

#[test]
fn one_field_is_found_by_its_whole_name() {
    let text = b"active_file 1\ninactive_file 2\ninactive_file_x 3\nbad x\n";
    assert_eq!(field(text, b"inactive_file"), Some(2));
    assert_eq!(field(text, b"file"), None);
    assert_eq!(field(text, b"bad"), None);
}

#[test]
fn numbers_are_read_and_what_is_none_is_refused() {
    for (text, expected) in [
        ("0", Some(0)),
        (" 42\n", Some(42)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("", None),
        ("-1", None),
        ("4x", None),
        ("max", None),
    ] {
        assert_eq!(unsigned(text.as_bytes()), expected, "{text:?}");
    }
    assert_eq!(signed(b"-1\n"), Some(-1));
    assert_eq!(signed(b"-9223372036854775808"), Some(i64::MIN));
    assert_eq!(signed(b"- 1"), None);
    assert_eq!(integer(b"0x1003\n"), Some(4099));
    assert_eq!(decimal(b"0.21"), Some(0.21));
    assert_eq!(decimal(b"inf"), None);
}

#[test]
fn pressure_is_told_in_seconds() {
    let text = b"some avg10=0.19 avg60=2.39 avg300=1.39 total=14027916\nfull avg10=0.00 total=5\n";
    assert_eq!(pressure(text), Pressure { some: Some(14.027916), full: Some(0.000005) });
    assert_eq!(pressure(b"some total=\nfull"), Pressure::default());
}

#[test]
fn the_cgroup_of_version_2_is_preferred_unless_it_is_the_root() {
    for (text, expected) in [
        ("0::/default/c1\n", Some("/default/c1")),
        ("9:name=systemd:/a\n4:memory:/m\n0::/u\n", Some("/u")),
        ("9:name=systemd:/\n4:memory:/docker/x\n0::/\n", Some("/docker/x")),
        ("4:memory:/with:colon\n", Some("/with:colon")),
        ("0::/\n", Some("/")),
        ("", None),
        ("nonsense\n", None),
    ] {
        assert_eq!(cgroup_path(text.as_bytes()), expected, "{text:?}");
    }
}

#[test]
fn a_process_name_with_brackets_does_not_move_the_fields() {
    let fields: Vec<String> = (3..=52).map(|n| n.to_string()).collect();
    let stat = format!("1 (a b) c) {}", fields.join(" "));
    assert_eq!(process_start_ticks(stat.as_bytes()), Some(22));
}

#[test]
fn interfaces_are_told_from_headings() {
    let line = b"  eth0: 430493051   19080    0    0    0     0          0         0  1318210   13420    0    0    0     0       0          0";
    let (name, counters) = net_device(line).unwrap();
    assert_eq!((name, counters[0], counters[8]), (&b"eth0"[..], 430493051, 1318210));
    assert_eq!(net_device(b" face |bytes    packets errs"), None);
    assert_eq!(net_device(b"eth0: 1 2 3"), None, "too short");
}

#[test]
fn mount_points_are_unescaped() {
    assert_eq!(unescape_mount(br"/a\040b\011c\134"), b"/a b\tc\\");
    assert_eq!(unescape_mount(br"/a\9\04"), br"/a\9\04");
}

proptest! {
    #[test]
    fn garbage_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = (unsigned(&bytes), signed(&bytes), integer(&bytes), decimal(&bytes), pressure(&bytes));
        let _ = (net_device(&bytes), cgroup_path(&bytes), process_start_ticks(&bytes));
        prop_assert!(unescape_mount(&bytes).len() <= bytes.len());
        for (key, _) in fields(&bytes) {
            prop_assert!(!key.contains(&b'\n'));
        }
    }

    #[test]
    fn every_number_comes_back(n: u64, i: i64) {
        prop_assert_eq!(unsigned(n.to_string().as_bytes()), Some(n));
        prop_assert_eq!(signed(i.to_string().as_bytes()), Some(i));
    }
}
