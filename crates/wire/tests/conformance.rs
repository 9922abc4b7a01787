//! Reads the expositions of a folder and holds all series against what Prometheus' own parsers make
//! of the same bodies.
//!
//! `VEDETTE_CONFORMANCE_SUITE` is `exposition` or `expositions`, `VEDETTE_CONFORMANCE_DIR` the
//! folder, `VEDETTE_PEERS` that of the reference program, built from `tests/peers/expositions`. Without
//! them the folders beside the project and below `target` are used, where they are. Bodies in text are
//! compared as messages of Protocol Buffers too, and with small faults in them. The last line counts.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use vedette_model::HistogramCounts;
use vedette_wire::exposition::{
    Dialect, Entry, MetricMessage, ProtobufEntry, ProtobufParser, Sample, TextParser,
};

const SUITES: [&str; 2] = ["exposition", "expositions"];

/// Bodies of a few lines, in which every fault has room.
const SMALL: [(&str, &str); 2] = [
    (
        TEXT,
        "# HELP a help \\n \\\\ x\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\",x=\"y\\\"z\"} 2 1000\n\
         #comment\n\na_sum 1.5e+07\n{\"b.c\",d=\"e\"} NaN\n{\"f\"=\"g\",\"h\"} -Inf\nb { i = \"j\" , } 7\t\n",
    ),
    (
        OPENMETRICS,
        "# HELP a_s help \\n \\\\ \\\"x\n# TYPE a_s counter\n# UNIT a_s s\na_s_total{b=\"c\"} 1 # {d=\"e\"} 0.5 1.5\n\
         a_s_created{b=\"c\"} 10\na_s_total 2 3.25\na_s_created 11.5\n# TYPE q summary\nq{quantile=\"0.50\"} 1\n\
         q_count 1\nq_created 5\n{\"x.y\",z=\"\"} 1 # {} 2\n# EOF\n",
    ),
];

const TEXT: &str = "text/plain";
const OPENMETRICS: &str = "application/openmetrics-text";
const PROTOBUF: &str = "application/vnd.google.protobuf";

/// Faults that are tried in each small body.
const FAULTS: usize = 400;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let wanted = std::env::var("VEDETTE_CONFORMANCE_SUITE").ok();
    let folder = std::env::var_os("VEDETTE_CONFORMANCE_DIR").filter(|d| !d.is_empty()).map(PathBuf::from);
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let peers = std::env::var_os("VEDETTE_PEERS").map_or_else(|| target.join("peers/go"), PathBuf::from);
    let reference = peers.join("expositions");
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    if !reference.is_file() {
        println!("SKIPPED expositions: there is no {}; the peers lane builds it", reference.display());
        println!("0 passed, 0 failed, 1 skipped");
        return ExitCode::SUCCESS;
    }
    let mut count = |name: &str, outcome: Result<(), String>| match outcome {
        Ok(()) => passed += 1,
        Err(why) => {
            failed += 1;
            println!("FAILED {name}: {why}");
        }
    };
    for suite in SUITES.iter().filter(|s| wanted.as_deref().is_none_or(|w| w == **s)) {
        let folder = folder.clone().filter(|_| wanted.is_some());
        let folder = folder.unwrap_or_else(|| root.join("../shared/conformance").join(suite));
        let Ok(cases) = std::fs::read_to_string(folder.join("cases.tsv")) else {
            println!("there are no cases at {}: the suite is skipped", folder.display());
            skipped += 1;
            continue;
        };
        for line in cases.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            let mut cells = line.split('\t');
            let (name, format) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
            let content_type = if format == "openmetrics" { OPENMETRICS } else { TEXT };
            count(&format!("{suite}/{name}"), case(&reference, &folder.join(name), content_type));
        }
    }
    if wanted.is_none() {
        for (content_type, body) in SMALL {
            let whole = compare(&reference, content_type, body.as_bytes());
            count(&format!("small body of {content_type}"), whole);
            count(&format!("faults in {content_type}"), faults(&reference, content_type, body));
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn case(reference: &Path, path: &Path, content_type: &str) -> Result<(), String> {
    let body = if path.extension().is_some_and(|e| e == "gz") {
        Command::new("gzip").arg("-dc").arg(path).output().map_err(|e| e.to_string())?.stdout
    } else {
        std::fs::read(path).map_err(|e| e.to_string())?
    };
    compare(reference, content_type, &body)?;
    if content_type == TEXT {
        let messages = run(reference, &["protobuf"], &body)?;
        compare(reference, PROTOBUF, &messages).map_err(|why| format!("as messages: {why}"))?;
    }
    Ok(())
}

/// One byte more, less or other at a time, at places that a fixed sequence names.
fn faults(reference: &Path, content_type: &str, body: &str) -> Result<(), String> {
    const BYTES: &[u8] = b"\"\\{}=, \n#_a1.e-+\xff";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    for _ in 0..FAULTS {
        let mut bytes = body.as_bytes().to_vec();
        for _ in 0..=next(2) {
            let at = next(bytes.len());
            match next(3) {
                0 => drop(bytes.remove(at)),
                1 => bytes.insert(at, BYTES[next(BYTES.len())]),
                _ => bytes[at] = BYTES[next(BYTES.len())],
            }
        }
        // Prometheus takes a blank before a name for a part of it, which is not worth being equal.
        if bytes.first() == Some(&b' ') || bytes.windows(2).any(|w| w == b"\n ") {
            continue;
        }
        // To which family a start belongs is told by metadata there, by names here.
        compare_with(reference, content_type, &bytes, false)
            .map_err(|why| format!("{why}\nof {:?}", String::from_utf8_lossy(&bytes)))?;
    }
    Ok(())
}

fn compare(reference: &Path, content_type: &str, body: &[u8]) -> Result<(), String> {
    compare_with(reference, content_type, body, false)?;
    compare_with(reference, content_type, body, true)
}

fn compare_with(reference: &Path, content_type: &str, body: &[u8], starts: bool) -> Result<(), String> {
    {
        let arguments = ["read", content_type, "starts"];
        let expected = run(reference, &arguments[..if starts { 3 } else { 2 }], body)?;
        let expected = String::from_utf8(expected).map_err(|e| e.to_string())?;
        let found = match content_type {
            PROTOBUF => messages(body, starts),
            OPENMETRICS => text(body, Dialect::OpenMetrics, starts),
            _ => text(body, Dialect::Text, starts),
        };
        differ(&expected, &found)
    }
}

/// The first line in which the two differ. Where both refuse a body nothing of it is kept, so neither
/// the words nor what came before count.
fn differ(expected: &str, found: &str) -> Result<(), String> {
    let is_refused = |text: &str| text.lines().last().is_some_and(|line| line.starts_with('!'));
    if is_refused(expected) && is_refused(found) {
        return Ok(());
    }
    let (mut expected, mut found) = (expected.lines(), found.lines());
    for number in 1.. {
        match (expected.next(), found.next()) {
            (None, None) => return Ok(()),
            (Some(a), Some(b)) if a == b => {}
            (a, b) => {
                return Err(format!(
                    "line {number}: Prometheus makes {:?}, we make {:?}",
                    plain(a),
                    plain(b)
                ));
            }
        }
    }
    Ok(())
}

/// A line with its hexadecimal texts as texts.
fn plain(line: Option<&str>) -> String {
    let Some(line) = line else { return "nothing".into() };
    let word = |word: &str| {
        let bytes: Option<Vec<u8>> =
            (0..word.len() / 2).map(|i| u8::from_str_radix(word.get(2 * i..2 * i + 2)?, 16).ok()).collect();
        match bytes {
            Some(bytes) if word.len() != 16 && !word.is_empty() && word.len().is_multiple_of(2) => {
                String::from_utf8_lossy(&bytes).into_owned()
            }
            _ => word.to_owned(),
        }
    };
    line.split_inclusive(|c: char| !c.is_ascii_hexdigit())
        .map(|part| {
            let end = part.len() - usize::from(!part.ends_with(|c: char| c.is_ascii_hexdigit()));
            format!("{}{}", word(&part[..end]), &part[end..])
        })
        .collect()
}

fn run(reference: &Path, arguments: &[&str], body: &[u8]) -> Result<Vec<u8>, String> {
    let mut child = Command::new(reference)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot start {}: {e}", reference.display()))?;
    let mut stdin = child.stdin.take().ok_or("BUG: standard input is piped")?;
    // It reads all before it writes anything.
    stdin.write_all(body).map_err(|e| e.to_string())?;
    drop(stdin);
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    if output.status.success() { Ok(output.stdout) } else { Err("the reference program failed".into()) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn labels_in_hex<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: String = labels
        .into_iter()
        .map(|(name, value)| format!("{}={},", hex(name.as_bytes()), hex(value.as_bytes())))
        .collect();
    format!("{{{pairs}}}")
}

fn time_text(time_ms: Option<i64>) -> String {
    time_ms.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

fn text(body: &[u8], dialect: Dialect, starts: bool) -> String {
    let mut parser = TextParser::new(body, dialect);
    let mut out = String::new();
    while let Some(entry) = parser.next() {
        let line = match entry {
            Ok(Entry::Type { family, kind }) => {
                format!("# type {} {}", hex(family.as_bytes()), kind.as_str())
            }
            Ok(Entry::Help { family, help }) => {
                format!("# help {} {}", hex(family.as_bytes()), hex(help.as_bytes()))
            }
            Ok(Entry::Unit { family, unit }) => {
                format!("# unit {} {}", hex(family.as_bytes()), hex(unit.as_bytes()))
            }
            Ok(Entry::Sample(sample)) if starts && dialect == Dialect::OpenMetrics && sample.is_start() => {
                continue;
            }
            Ok(Entry::Sample(sample)) => match sample_text(&mut parser, &sample, starts) {
                Ok(line) => line,
                Err(error) => return format!("{out}! {error}\n"),
            },
            Err(error) => return format!("{out}! {error}\n"),
        };
        out.push_str(&line);
        out.push('\n');
    }
    out
}

fn sample_text(parser: &mut TextParser<'_>, sample: &Sample<'_>, starts: bool) -> Result<String, String> {
    let labels = sample.series.labels().map_err(|e| e.to_string())?;
    let mut line =
        format!("{} {:016x} {}", labels_in_hex(&labels), sample.value.to_bits(), time_text(sample.time_ms));
    if starts {
        let _ = write!(line, " since {}", parser.start_ms(sample).unwrap_or(0));
    }
    if let Some(exemplar) = sample.exemplar {
        let labels = exemplar.labels();
        let (labels, value, time) = (labels_in_hex(&labels), exemplar.value.to_bits(), exemplar.time_ms);
        let _ = write!(line, " exemplar {labels} {value:016x} {} {}", time.is_some(), time.unwrap_or(0));
    }
    Ok(line)
}

fn messages(body: &[u8], starts: bool) -> String {
    let mut out = String::new();
    match read_messages(body, starts, &mut out) {
        Ok(()) => out,
        Err(error) => format!("{out}! {error}\n"),
    }
}

fn read_messages(body: &[u8], starts: bool, out: &mut String) -> Result<(), String> {
    let mut family = None;
    for entry in ProtobufParser::new(body) {
        match entry.map_err(|e| e.to_string())? {
            ProtobufEntry::Family(next) => {
                // In this order, and only with metrics, which these bodies have.
                let name = hex(next.name.as_bytes());
                let _ = writeln!(out, "# help {name} {}", hex(next.help.as_bytes()));
                if !next.unit.is_empty() {
                    let _ = writeln!(out, "# unit {name} {}", hex(next.unit.as_bytes()));
                }
                let _ = writeln!(out, "# type {name} {}", next.kind.as_str());
                family = Some(next.name);
            }
            ProtobufEntry::Metric(metric) => {
                metric_text(&metric, family.unwrap_or_default(), starts, out).map_err(|e| e.to_string())?;
            }
        }
    }
    Ok(())
}

fn metric_text(
    metric: &MetricMessage<'_>,
    family: &str,
    starts: bool,
    out: &mut String,
) -> Result<(), vedette_wire::remote_write::DecodeError> {
    let since = if starts { format!(" since {}", metric.start_ms()?.unwrap_or(0)) } else { String::new() };
    let time = time_text(metric.time_ms);
    if metric.is_native()?
        && let Ok(histogram) = metric.native()?
    {
        let HistogramCounts::Integer { count, .. } = histogram.counts else { return Ok(()) };
        let mut pairs = metric.pairs(family, vedette_wire::exposition::Part::Value)?;
        pairs.sort();
        let labels = labels_in_hex(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        let (count, sum) = ((count as f64).to_bits(), histogram.sum.to_bits());
        let _ =
            writeln!(out, "{labels} histogram({} {count:016x} {sum:016x}) {time}{since}", histogram.schema);
    }
    for point in metric.points() {
        let point = point?;
        let mut pairs = metric.pairs(family, point.part)?;
        pairs.retain(|(_, value)| !value.is_empty());
        pairs.sort();
        let labels = labels_in_hex(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        let _ = writeln!(out, "{labels} {:016x} {time}{since}", point.value.to_bits());
    }
    Ok(())
}
