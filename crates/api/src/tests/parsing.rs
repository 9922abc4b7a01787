//! Times, durations and parameters.

use crate::{
    request::{Params, decode},
    time::{FIRST_MS, LAST_MS, parse_duration_ms, parse_time_ms},
};

#[test]
fn times_are_unix_seconds_or_rfc3339() {
    for (text, expected) in [
        ("0", Some(0)),
        ("1435781430.781", Some(1_435_781_430_781)),
        ("-1.5", Some(-1500)),
        ("1e3", Some(1_000_000)),
        ("2015-07-01T20:10:30.781Z", Some(1_435_781_430_781)),
        ("2015-07-01T22:10:30.781+02:00", Some(1_435_781_430_781)),
        ("-292273086-05-16T16:47:06Z", Some(FIRST_MS)),
        ("+292277025-08-18T07:12:54.999999999Z", Some(LAST_MS)),
        ("-9223309901257974", Some(FIRST_MS)),
        ("", None),
        ("NaN", None),
        ("+Inf", None),
        ("1e300", None),
        ("2015-07-01", None),
        ("2015-02-30T00:00:00Z", None),
        ("now", None),
    ] {
        assert_eq!(parse_time_ms(text).ok(), expected, "{text:?}");
    }
}

#[test]
fn durations_are_seconds_or_units() {
    for (text, expected) in [
        ("15", Some(15_000)),
        ("0.5", Some(500)),
        ("-1", Some(-1000)),
        ("1h30m", Some(5_400_000)),
        ("1y2w3d4h5m6s7ms", Some(((365 + 14 + 3) * 86_400 + 4 * 3600 + 5 * 60 + 6) * 1000 + 7)),
        ("0", Some(0)),
        ("5ms", Some(5)),
        ("", None),
        ("m", None),
        ("1", Some(1000)),
        ("1m1h", None),
        ("1m1m", None),
        ("1x", None),
        ("1m ", None),
        ("99999999999y", None),
        ("1e300", None),
        ("NaN", None),
        ("1ms5", None),
    ] {
        assert_eq!(parse_duration_ms(text).ok(), expected, "{text:?}");
    }
}

#[test]
fn parameters_are_decoded() {
    let mut params = Params::default();
    params.extend_from_encoded("a=1&a=2&b=x+y%26%3d&&c&=d&e=%zz%4");
    assert_eq!(params.all("a").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!((params.first("b"), params.first("c"), params.first("")), ("x y&=", "", "d"));
    assert_eq!((params.first("e"), params.first("none"), params.given("c")), ("%zz%4", "", None));
    assert_eq!(decode("a+b%2Fc", false), "a+b/c");
    assert_eq!(decode("%ff%fe", true), "\u{fffd}\u{fffd}");
}
