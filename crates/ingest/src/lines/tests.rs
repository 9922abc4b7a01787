use std::collections::BTreeMap;

use crate::{
    Config,
    intake::{WriteError, Written},
    remote_write::tests::{START_MS, rig, rig_with},
};

fn map(rows: &[(&str, &[(i64, f64)])]) -> BTreeMap<String, Vec<(i64, f64)>> {
    rows.iter().map(|(labels, samples)| ((*labels).to_owned(), samples.to_vec())).collect()
}

#[test]
fn fields_of_measurements_are_metrics() {
    let rig = rig();
    let lines = format!(
        "cpu,host=a usage=1.5,count=3i,name=\"x\",quoted=\"7\" {0}000000\n\
         cpu,host=a usage=2.5 {1}000000\n,host=b alone=t\nmy-odd.name f=1 {0}000000\n",
        START_MS - 5,
        START_MS - 1
    );
    let written = rig.ingest.receiver().influx_lines(lines.as_bytes(), Some(1), "telegraf").unwrap();
    assert_eq!(written, Written { samples: 6, ..Written::default() });
    assert_eq!(
        rig.stored(),
        map(&[
            (r#"alone{db="telegraf", host="b"}"#, &[(0, 1.0)]),
            (r#"cpu_count{db="telegraf", host="a"}"#, &[(-5, 3.0)]),
            (r#"cpu_quoted{db="telegraf", host="a"}"#, &[(-5, 7.0)]),
            (r#"cpu_usage{db="telegraf", host="a"}"#, &[(-5, 1.5), (-1, 2.5)]),
            (r#"{"my-odd.name_f", db="telegraf"}"#, &[(-5, 1.0)]),
        ])
    );
    assert_eq!(rig.metric("vedette_ingest_text_fields_total", ""), 1.0);
}

#[test]
fn times_have_a_unit_or_are_guessed() {
    for (time, each) in [
        (START_MS * 1_000_000, None),
        (START_MS * 1_000, None),
        (START_MS, None),
        (START_MS / 1_000, None),
        (START_MS * 1_000_000, Some(1)),
        (START_MS / 1_000, Some(1_000_000_000)),
        (0, Some(1)),
    ] {
        let rig = rig();
        let line = format!("m f=1 {time}");
        rig.ingest.receiver().influx_lines(line.as_bytes(), each, "").unwrap();
        assert_eq!(rig.stored(), map(&[("m_f", &[(0, 1.0)])]), "{time} {each:?}");
    }
}

#[test]
fn bad_lines_are_told_and_the_others_stored() {
    let rig = rig();
    let written = rig.ingest.receiver().influx_lines(b"a f=1\nb\nc f=x\nd f=2\n", None, "").unwrap();
    assert_eq!(written.samples, 2);
    assert_eq!(written.refused.unwrap(), "2 other parts were refused; the first: line 2: it has no fields");
    let error = rig.ingest.receiver().influx_lines(b"a f=1\xff", None, "").unwrap_err();
    assert!(matches!(&error, WriteError::Malformed(text) if text.contains("UTF-8")), "{error}");
    let small = rig_with(Config { message_bytes_max: 100, ..Config::default() });
    let many = format!("m,tag={} a=1,b=2,c=3\n", "x".repeat(40));
    assert!(matches!(
        small.ingest.receiver().influx_lines(many.as_bytes(), None, ""),
        Err(WriteError::TooLarge(_))
    ));
}

#[test]
fn paths_are_metrics() {
    let rig = rig();
    let seconds = START_MS / 1000;
    let lines = format!("servers.a.load 1.5 {seconds}\nload;host=a 2 -1\nbad\né 3 {seconds}.5\n\n");
    let mut lines = lines.into_bytes();
    lines.extend(b"\xff 1 1\n");
    let written = rig.ingest.receiver().graphite_lines(&lines).unwrap();
    assert_eq!(written.samples, 3);
    assert!(
        written.refused.unwrap().contains("2 other parts were refused; the first: line 3: it has no value")
    );
    let expected = map(&[
        (r#"load{host="a"}"#, &[(0, 2.0)]),
        (r#"{"servers.a.load"}"#, &[(0, 1.5)]),
        (r#"{"é"}"#, &[(500, 3.0)]),
    ]);
    assert_eq!(rig.stored(), expected);
}
