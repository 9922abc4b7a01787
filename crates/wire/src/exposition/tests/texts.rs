//! The text formats.

use proptest::prelude::*;
use vedette_model::{Labels, METRIC_NAME, MetricKind};

use crate::exposition::{Dialect, Entry, Format, ParseError, Sample, TextParser, Writer};

/// All that an answer says, in lines that can be compared.
fn read(body: &str, dialect: Dialect) -> Result<Vec<String>, ParseError> {
    read_bytes(body.as_bytes(), dialect)
}

fn read_bytes(body: &[u8], dialect: Dialect) -> Result<Vec<String>, ParseError> {
    let mut parser = TextParser::new(body, dialect);
    let mut lines = Vec::new();
    while let Some(entry) = parser.next() {
        lines.push(match entry? {
            Entry::Sample(sample) => line(&sample)?,
            Entry::Type { family, kind } => format!("type {family} {}", kind.as_str()),
            Entry::Help { family, help } => format!("help {family} {help:?}"),
            Entry::Unit { family, unit } => format!("unit {family} {unit}"),
        });
    }
    assert!(parser.next().is_none(), "an end is an end");
    Ok(lines)
}

fn line(sample: &Sample<'_>) -> Result<String, ParseError> {
    let mut line = format!("{} {}", sample.series.labels()?, sample.value);
    if let Some(time_ms) = sample.time_ms {
        line.push_str(&format!(" @{time_ms}"));
    }
    if let Some(exemplar) = sample.exemplar {
        line.push_str(&format!(" # {} {} {:?}", exemplar.labels(), exemplar.value, exemplar.time_ms));
    }
    Ok(line)
}

fn text(body: &str) -> Vec<String> {
    read(body, Dialect::Text).unwrap_or_else(|e| panic!("{e}\n{body}"))
}

fn openmetrics(body: &str) -> Vec<String> {
    read(&format!("{body}# EOF\n"), Dialect::OpenMetrics).unwrap_or_else(|e| panic!("{e}\n{body}"))
}

#[test]
fn text_is_read() {
    let body = "# HELP a one\\ntwo \\\\ \\\"\n# TYPE a counter\na 1\na{x=\"y\"}2\n \ta { x = \"y\" , z=\"\" , } \t3\t1000 \n\
                #comment\n# just words\n# HELPless\n# UNIT a x\n\n\
                {\"a.b\"} 4\n{\"a.b\", \"c d\"=\"e\", f=\"g\\\"h\\\\i\\nj\\k\"} NaN\nb{a=\"1\" c=\"2\"} +Inf\n\
                c{l=\"two\nlines\"} -0.5\nd:e_9 1e3";
    assert_eq!(
        text(body),
        [
            "help a \"one\\ntwo \\\\ \\\\\\\"\"",
            "type a counter",
            "a 1",
            "a{x=\"y\"} 2",
            "a{x=\"y\"} 3 @1000",
            "{\"a.b\"} 4",
            "{\"a.b\", \"c d\"=\"e\", f=\"g\\\"h\\\\i\\nj\\\\k\"} NaN",
            "b{a=\"1\", c=\"2\"} inf",
            "c{l=\"two\\nlines\"} -0.5",
            "d:e_9 1000",
        ]
    );
    assert_eq!(text(""), [""; 0]);
    assert_eq!(text("# TYPE \"a.b\" untyped\n# HELP x\n"), ["type a.b unknown", "help x \"\""]);
}

#[test]
fn openmetrics_is_read() {
    let body = "# TYPE a_seconds counter\n# UNIT a_seconds seconds\n# HELP a_seconds say \\\"x\\\"\n\
                a_seconds_total{x=\"y\"} 1 2.5 # {id=\"7\"} 0.5 1.25\na_seconds_total 2 # {} 1\n\
                a_seconds_created 100.5\n# TYPE g gaugehistogram\n# UNIT g \n{\"q.r\",s=\"t\",} 1 -1\n";
    assert_eq!(
        openmetrics(body),
        [
            "type a_seconds counter",
            "unit a_seconds seconds",
            "help a_seconds \"say \\\"x\\\"\"",
            "a_seconds_total{x=\"y\"} 1 @2500 # {id=\"7\"} 0.5 Some(1250)",
            "a_seconds_total 2 # {} 1 None",
            "a_seconds_created 100.5",
            "type g gaugehistogram",
            "unit g ",
            "{\"q.r\", s=\"t\"} 1 @-1000",
        ]
    );
    assert_eq!(read("# EOF", Dialect::OpenMetrics).expect("without a line break, too"), [""; 0]);
}

#[test]
fn bounds_and_quantiles_have_one_form() {
    let body = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"1e6\",quantile=\"1\"} 1\n\
                h_bucket{le=\"+Inf\"} 1\nh_bucket{le=\"x\"} 1\n# TYPE s summary\ns{quantile=\"0\"} 1\n\
                # TYPE g gauge\ng{le=\"1\"} 1\n";
    assert_eq!(
        text(body).into_iter().filter(|l| !l.starts_with("type")).collect::<Vec<_>>(),
        [
            "h_bucket{le=\"1.0\"} 1",
            "h_bucket{le=\"1e+06\", quantile=\"1\"} 1",
            "h_bucket{le=\"+Inf\"} 1",
            "h_bucket{le=\"x\"} 1",
            "s{quantile=\"0.0\"} 1",
            "g{le=\"1\"} 1",
        ]
    );
}

#[test]
fn what_prometheus_refuses_is_refused_with_its_line() {
    for (body, line, words) in [
        ("a 1\nb", 2, "value"),
        ("a\n", 1, "value"),
        ("a 1\n\nb x\n", 3, "no number"),
        ("a 1_0\n", 1, "no number"),
        ("a 0x1p3\n", 1, "no number"),
        ("a 1e999\n", 1, "no number"),
        ("a 1 2 3\n", 1, "follows"),
        ("a 1 -5\n", 1, "time"),
        ("a 1 1.5\n", 1, "follows"),
        ("a 1 99999999999999999999\n", 1, "range"),
        ("9a 1\n", 1, "begins"),
        ("-a 1\n", 1, "begins"),
        ("a-b 1\n", 1, "no number"),
        ("{} 1\n", 1, "name"),
        ("{x=\"y\"} 1\n", 1, "name"),
        ("{\"\"} 1\n", 1, "empty"),
        ("a{\"b\"} 1\n", 1, "already"),
        ("{\"a\",\"b\"} 1\n", 1, "already"),
        ("a{b} 1\n", 1, "'='"),
        ("a{b=c} 1\n", 1, "quotes"),
        ("a{b=\"c} 1\n", 1, "missing"),
        ("a{b=\"c\" 1\n", 1, "missing"),
        ("a{b=\"c\",,} 1\n", 1, "label name"),
        ("a{,} 1\n", 1, "label name"),
        ("a{9=\"c\"} 1\n", 1, "label name"),
        ("a{b:c=\"c\"} 1\n", 1, "'='"),
        ("a{\"\"=\"c\"} 1\n", 1, "empty"),
        ("a{b=\"1\",b=\"2\"} 1\n", 1, "twice"),
        ("a{__name__=\"b\"} 1\n", 1, "twice"),
        ("a{b=\"1\"}{c=\"2\"} 1\n", 1, "value"),
        ("# TYPE a\n", 1, "type"),
        ("# TYPE a info\n", 1, "type"),
        ("# TYPE 9 gauge\n", 1, "metric name"),
        ("# HELP \n", 1, "metric name"),
        ("a\u{0} 1\n", 1, "no number"),
        ("a{b=\"\\\n\"} 1\n", 1, "missing"),
    ] {
        let error = read(body, Dialect::Text).expect_err(body);
        assert!(error.line == line && error.reason.contains(words), "{body:?}: {error}");
        assert!(error.at <= body.len(), "{body:?}: {error:?}");
    }
    for body in [&b"a{b=\"\xff\"} 1\n"[..], b"{\"\xff\"} 1\n", b"# HELP a \xff\n"] {
        let error = read_bytes(body, Dialect::Text).expect_err("no UTF-8");
        assert!(error.reason.contains("UTF-8"), "{error}");
    }
}

#[test]
fn openmetrics_is_stricter() {
    for (body, line, words) in [
        ("a 1\n", 2, "# EOF"),
        ("a 1", 1, "# EOF"),
        ("", 1, "# EOF"),
        ("# EOF\na 1\n", 2, "follows"),
        ("# EOF\n\n", 2, "follows"),
        ("\n# EOF\n", 1, "begins"),
        (" a 1\n# EOF\n", 1, "begins"),
        ("# words\n# EOF\n", 1, "comment"),
        ("#EOF\n", 1, "comment"),
        ("a  1\n# EOF\n", 1, "value"),
        ("a\t1\n# EOF\n", 1, "value"),
        ("a 1 \n# EOF\n", 1, "time"),
        ("a 1 2 \n# EOF\n", 1, "follows"),
        ("a 1 Inf\n# EOF\n", 1, "no time"),
        ("a {b=\"c\"} 1\n# EOF\n", 1, "no number"),
        ("a{b=\"c\" d=\"e\"} 1\n# EOF\n", 1, "','"),
        ("a{ b=\"c\"} 1\n# EOF\n", 1, "label name"),
        ("a{b=\"c\nd\"} 1\n# EOF\n", 1, "line break"),
        ("a 1 # {b=\"c\"}\n# EOF\n", 1, "exemplar"),
        ("a 1 # {b=\"c\" 1\n# EOF\n", 1, "missing"),
        ("a 1 # {\"b\"} 1\n# EOF\n", 1, "no value"),
        ("a 1 # {b=\"c\"} 1 2 3\n# EOF\n", 1, "follows"),
        ("a 1 #{b=\"c\"} 1\n# EOF\n", 1, "no number"),
        ("# TYPE a untyped\n# EOF\n", 1, "type"),
        ("# TYPE a\n# EOF\n", 1, "blank"),
        ("# UNIT a b\n# EOF\n", 1, "unit"),
        ("# UNIT ab b\n# EOF\n", 1, "unit"),
        ("# HELP a b", 1, "# EOF"),
    ] {
        let error = read(body, Dialect::OpenMetrics).expect_err(body);
        assert!(error.line == line && error.reason.contains(words), "{body:?}: {error}");
    }
}

#[test]
fn a_guess_changes_nothing() {
    let body = "a 1\na{b=\"c\"} 2\na {b=\"c\"} 3\na_b 4\na\t5\na{b=\"c\"}\t6\n";
    let plain = text(body);
    for guess in ["a", "a{b=\"c\"}", "a_", "a ", "", "zzz", "a{b=\"c\"} 2\n"] {
        // Only what once was a series may be guessed.
        let is_series = text(body).iter().any(|l| l.split(' ').next() == Some(guess));
        if !is_series && !guess.is_empty() && guess != "zzz" {
            continue;
        }
        let mut parser = TextParser::new(body.as_bytes(), Dialect::Text);
        let mut lines = Vec::new();
        while let Some(entry) = parser.next_expecting(guess.as_bytes()) {
            let Entry::Sample(sample) = entry.expect("sound") else { panic!("no sample") };
            lines.push(line(&sample).expect("sound"));
        }
        assert_eq!(lines, plain, "{guess:?}");
    }
}

#[test]
fn the_start_of_a_counter_comes_behind_it() {
    let body = "# TYPE a counter\na_total{x=\"1\"} 1\na_created{x=\"1\"} 10\na_total{x=\"2\"} 1\na_total{x=\"3\"} 1\n\
                a_created{x=\"3\"} 30.5\n# TYPE h histogram\nh_bucket{y=\"1\",le=\"1\"} 1\nh_bucket{y=\"1\",le=\"+Inf\"} 1\n\
                h_count{y=\"1\"} 1\nh_sum{y=\"1\"} 1\nh_created{y=\"1\"} 40\n# TYPE g gauge\ng 1\ng_created 50\n# EOF\n";
    let mut parser = TextParser::new(body.as_bytes(), Dialect::OpenMetrics);
    let mut starts = Vec::new();
    while let Some(entry) = parser.next() {
        if let Entry::Sample(sample) = entry.expect("sound") {
            starts.push((parser.start_ms(&sample), sample.is_start()));
        }
    }
    let some = |ms| (Some(ms), false);
    assert_eq!(
        starts,
        [
            some(10_000),
            (Some(10_000), true),
            (None, false),
            some(30_500),
            (Some(30_500), true),
            some(40_000),
            some(40_000),
            some(40_000),
            some(40_000),
            (Some(40_000), true),
            (None, false),
            (None, false),
        ]
    );
}

#[test]
fn starts_of_quoted_names_are_known_too() {
    let body = "# TYPE \"a.b\" counter\n{\"a.b_total\",x=\"1\"} 1\n{\"a.b_created\",x=\"1\"} 10\n# EOF\n";
    let mut parser = TextParser::new(body.as_bytes(), Dialect::OpenMetrics);
    let mut starts = Vec::new();
    while let Some(entry) = parser.next() {
        if let Entry::Sample(sample) = entry.expect("sound") {
            starts.push((parser.start_ms(&sample), sample.is_start()));
        }
    }
    assert_eq!(starts, [(Some(10_000), false), (Some(10_000), true)]);
}

fn name() -> impl Strategy<Value = String> {
    "[a-z_:][a-z0-9_]{0,8}|[a-z]{1,3}[.é \"\\\\\n][a-z]{0,3}"
}

fn labels() -> impl Strategy<Value = Vec<(String, String)>> {
    let label = "[a-z_][a-z0-9_]{0,5}|[a-z]{1,3}[.é -][a-z]{0,3}";
    proptest::collection::btree_map(label, "[a-z\"\\\\\né]{1,5}", 0..4)
        .prop_map(|map| map.into_iter().collect())
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        samples in proptest::collection::vec((name(), labels(), any::<f64>(), proptest::option::of(0..1i64 << 40)), 0..8),
        is_text in any::<bool>(),
    ) {
        let (format, dialect) = if is_text {
            (Format::Text, Dialect::Text)
        } else {
            (Format::OpenMetrics, Dialect::OpenMetrics)
        };
        let mut writer = Writer::new(format);
        writer.family("family", MetricKind::Gauge, "", "help \\ \"x\"\nmore");
        let mut expected = Vec::new();
        for (name, labels, value, time_ms) in &samples {
            writer.sample(name, labels.iter().map(|(n, v)| (n.as_str(), v.as_str())), *value, *time_ms);
            let all = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain([(METRIC_NAME, name.as_str())]);
            expected.push((Labels::from_pairs(all), value.to_bits(), *time_ms));
        }
        let body = writer.finish();
        let mut parser = TextParser::new(&body, dialect);
        let mut found = Vec::new();
        while let Some(entry) = parser.next() {
            let entry = entry.unwrap_or_else(|e| panic!("{e}\n{}", String::from_utf8_lossy(&body)));
            match entry {
                Entry::Sample(s) => {
                    let labels = s.series.labels().unwrap_or_else(|e| panic!("{e}"));
                    found.push((labels, s.value.to_bits(), s.time_ms));
                }
                Entry::Help { help, .. } => prop_assert_eq!(help, "help \\ \"x\"\nmore"),
                _ => {}
            }
        }
        // Seconds are floats, and what is beyond a millisecond is cut.
        for ((_, _, found), (_, _, expected)) in found.iter_mut().zip(&expected) {
            if !is_text && *found == expected.map(|t| t - 1) {
                *found = *expected;
            }
        }
        // All NaN are one.
        for (_, bits, _) in expected.iter_mut().chain(&mut found) {
            if f64::from_bits(*bits).is_nan() {
                *bits = f64::NAN.to_bits();
            }
        }
        prop_assert_eq!(found, expected);
    }

    /// Whatever the bytes are, reading ends, and a guess makes no difference.
    #[test]
    fn garbage_is_read_to_an_end(
        bytes in proptest::collection::vec(
            proptest::sample::select(&b"a_{}=\",\\ \n\t#1.eE-+TYPEHLUNIT\xff\0"[..]), 0..60),
    ) {
        for dialect in [Dialect::Text, Dialect::OpenMetrics] {
            let mut parser = TextParser::new(&bytes, dialect);
            let mut entries = 0;
            while let Some(entry) = parser.next() {
                if let Ok(Entry::Sample(sample)) = &entry {
                    let _ = (sample.series.labels(), sample.exemplar.map(|e| e.labels()), parser.start_ms(sample));
                }
                entries += 1;
                prop_assert!(entries <= bytes.len() + 1);
            }
        }
    }
}
