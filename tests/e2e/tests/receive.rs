//! Programs of others write to ours, read from it and federate from it: Prometheus 3 and Debian's, and a
//! program with OpenTelemetry.

use std::{
    collections::BTreeMap,
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vedette_e2e::{
    http, parts,
    program::{Vedette, free_port},
    skip, wait_for,
};

/// How long a program of others may take for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// Nothing of this machine, so that only what others send is there.
const QUIET: &str = "collect: {figures: off, sensor: off}\nrules: {builtin: false}\n";

/// A program of others; it is killed when dropped.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Prometheus 3, as it was built here.
fn newest() -> Option<PathBuf> {
    let built = PathBuf::from(std::env::var_os("VEDETTE_PEERS")?).join("prometheus");
    built.is_file().then_some(built)
}

/// Debian's Prometheus 2.
fn debian() -> Option<PathBuf> {
    Some(parts().join("usr/bin/prometheus")).filter(|binary| binary.is_file())
}

/// A Prometheus with this configuration, in which `ADDRESS` is its own address.
fn prometheus(binary: &Path, folder: &Path, name: &str, config: &str) -> Result<(Peer, SocketAddr)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let file = folder.join(format!("{name}.yml"));
    std::fs::write(&file, config.replace("ADDRESS", &address.to_string()))?;
    let log = std::fs::File::create(folder.join(format!("{name}.log")))?;
    let child = Command::new(binary)
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join(name).display()))
        .arg(format!("--web.listen-address={address}"))
        .args(["--web.console.templates=/", "--web.console.libraries=/"])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let peer = Peer(child);
    wait_for(&format!("{name} to be ready"), PATIENCE, || {
        Ok((http::get(address, "/-/ready")?.status == 200).then_some(()))
    })?;
    Ok((peer, address))
}

/// The vector of an instant query: values, or histograms as text, by label sets.
fn vector(address: SocketAddr, expr: &str, time: f64) -> Result<BTreeMap<String, String>> {
    let target = format!("/api/v1/query?query={}&time={time}", http::escape(expr));
    let answer = http::get(address, &target)?.json()?;
    let rows = answer["data"]["result"].as_array().with_context(|| format!("no vector: {answer}"))?;
    Ok(rows
        .iter()
        .map(|row| {
            let labels: BTreeMap<_, _> = row["metric"].as_object().into_iter().flatten().collect();
            let value = match &row["histogram"] {
                Value::Null => row["value"][1].to_string(),
                histogram => histogram[1].to_string(),
            };
            (serde_json::to_string(&labels).unwrap_or_default(), value)
        })
        .collect())
}

/// Both have the same answer, and one that is not empty.
fn same(what: &str, expr: &str, time: f64, theirs: SocketAddr, ours: SocketAddr) -> Result<usize> {
    let (expected, found) = (vector(ours, expr, time)?, vector(theirs, expr, time)?);
    ensure!(!expected.is_empty(), "{what}: {expr}: nothing is there at {time}");
    let different = expected.iter().find(|(labels, value)| found.get(*labels) != Some(*value));
    ensure!(
        expected == found,
        "{what}: {expr} at {time}: {} rows of ours, {} of theirs; different: {different:?}, theirs {:?}",
        expected.len(),
        found.len(),
        different.and_then(|(labels, _)| found.get(labels))
    );
    Ok(expected.len())
}

/// A Prometheus 3 that sends by remote write 2.0 what it scrapes of itself, native histograms too; others
/// read and federate that from Vedette.
#[test]
fn what_prometheus_writes_others_read_and_federate() -> Result<()> {
    let Some(binary) = newest() else {
        skip!("remote write 2.0 by Prometheus 3", "it is not built");
    };
    let folder = tempfile::tempdir()?;
    let mut vedette = Vedette::start(folder.path(), Some(QUIET))?;
    vedette.wait_ready(PATIENCE)?;
    let ours = vedette.address;
    let sender = format!(
        "global: {{scrape_interval: 1s, scrape_native_histograms: true, external_labels: {{from: sender}}}}\n\
         scrape_configs:\n- job_name: itself\n  static_configs: [{{targets: [ADDRESS]}}]\n\
         remote_write:\n- url: http://{ours}/api/v1/write\n  protobuf_message: io.prometheus.write.v2.Request\n  \
         send_exemplars: true\n  send_native_histograms: true\n  queue_config: {{batch_send_deadline: 100ms}}\n"
    );
    let (peer, theirs) = prometheus(&binary, folder.path(), "sender", &sender)?;
    let time: f64 = wait_for("twenty scrapes", PATIENCE, || {
        // Queries make observations, so that the histogram has some.
        http::get(theirs, "/api/v1/query?query=up")?;
        let newest = "max(timestamp(prometheus_tsdb_head_series)) and on() count_over_time(up[1m]) > 20";
        Ok(vedette.query(newest)?.first().map(|row| row.1.floor() - 3.0))
    })?;
    // The external label came with the samples, and the sender's own store is without it.
    let without = |expr: &str| format!("label_replace({expr}, \"from\", \"\", \"\", \"\")");
    for expr in [
        "up",
        "{job=\"itself\"}",
        "count by (__name__) ({job=\"itself\"})",
        "rate(prometheus_http_requests_total[10s])",
        "histogram_count(prometheus_http_request_duration_seconds)",
        "histogram_sum(prometheus_http_request_duration_seconds)",
    ] {
        let expected: BTreeMap<_, _> = vector(theirs, expr, time)?;
        let found = vector(ours, &without(expr), time)?;
        ensure!(!expected.is_empty(), "{expr}: the sender has nothing at {time}");
        ensure!(
            expected.len() == found.len(),
            "{expr}: {} rows, and {} of ours",
            expected.len(),
            found.len()
        );
        let different = expected.iter().find(|(labels, value)| found.get(*labels) != Some(*value));
        ensure!(different.is_none(), "{expr} at {time}: {different:?} of {found:?}");
    }
    let metrics = http::get(theirs, "/metrics")?.text();
    for failed in [
        "prometheus_remote_storage_samples_failed_total",
        "prometheus_remote_storage_histograms_failed_total",
    ] {
        let mut lines = metrics.lines().filter(|l| l.starts_with(failed)).peekable();
        ensure!(lines.peek().is_some() && lines.all(|l| l.ends_with(" 0")), "{failed}: {metrics}");
    }
    drop(peer);
    for (name, binary) in [("reader3", newest()), ("reader2", debian())] {
        match binary {
            Some(binary) => read_from(&binary, name, folder.path(), ours, time)?,
            None => println!("SKIPPED remote read by {name}: it is not there"),
        }
    }
    Ok(())
}

/// A Prometheus without series of its own answers from ours.
fn read_from(binary: &Path, name: &str, folder: &Path, ours: SocketAddr, time: f64) -> Result<()> {
    let config = format!("remote_read:\n- url: http://{ours}/api/v1/read\n  read_recent: true\n");
    let (_peer, theirs) = prometheus(binary, folder, name, &config)?;
    for expr in [
        "up",
        "{job=\"itself\"}",
        "count by (__name__) ({job=\"itself\"})",
        "{__name__=~\"go_.*\", job!=\"other\", instance!~\"x.*\"}",
        "count_over_time(go_goroutines[10s])",
        "sum by (handler) (rate(prometheus_http_requests_total[15s]))",
    ] {
        // Some metrics of Prometheus are native histograms, which Debian's version leaves out.
        let floats = "{job=\"itself\", __name__!~\"prometheus_.*|net_.*\"}";
        let expr = if name == "reader2" { expr.replace("{job=\"itself\"}", floats) } else { expr.to_owned() };
        same(name, &expr, time, theirs, ours)?;
    }
    if name == "reader3" {
        same(name, "histogram_count(prometheus_http_request_duration_seconds)", time, theirs, ours)?;
        same(name, "prometheus_http_request_duration_seconds", time, theirs, ours)?;
    }
    Ok(())
}

/// A Prometheus scrapes `/federate`: text is what Debian's version takes, messages with native histograms
/// what version 3 takes.
#[test]
#[expect(clippy::disallowed_methods, reason = "other programs live by the clock of the machine")]
fn prometheus_federates_from_us() -> Result<()> {
    let versions = [("federating3", newest()), ("federating2", debian())];
    if versions.iter().all(|(_, binary)| binary.is_none()) {
        skip!("federation", "there is no Prometheus");
    }
    let folder = tempfile::tempdir()?;
    let mut vedette =
        Vedette::start(folder.path(), Some("collect: {sensor: off}\nrules: {builtin: false}\n"))?;
    vedette.wait_ready(PATIENCE)?;
    let ours = vedette.address;
    // A native histogram, pushed by OTLP.
    let now_ns = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map(|d| d.as_nanos());
    let push = || -> Result<()> {
        let body = format!(
            r#"{{"resourceMetrics":[{{"resource":{{"attributes":[
                {{"key":"service.name","value":{{"stringValue":"shop"}}}},
                {{"key":"service.instance.id","value":{{"stringValue":"i1"}}}}]}},
                "scopeMetrics":[{{"metrics":[{{"name":"wait","unit":"s","exponentialHistogram":{{
                "aggregationTemporality":2,"dataPoints":[{{"timeUnixNano":"{}","count":6,"sum":7.5,"scale":3,
                "zeroCount":1,"positive":{{"offset":4,"bucketCounts":[2,0,3]}}}}]}}}}]}}]}}]}}"#,
            now_ns()?
        );
        post(ours, "/api/v1/otlp/v1/metrics", "application/json", body.as_bytes())
    };
    for (name, binary) in versions {
        let Some(binary) = binary else {
            println!("SKIPPED federation by {name}: it is not there");
            continue;
        };
        let native = if name == "federating3" { ", scrape_native_histograms: true" } else { "" };
        let config = format!(
            "global: {{scrape_interval: 1s{native}}}\nscrape_configs:\n- job_name: federate\n  honor_labels: true\n  \
             metrics_path: /federate\n  params: {{'match[]': ['{{job=\"node-exporter\"}}', wait_seconds]}}\n  \
             static_configs: [{{targets: ['{ours}']}}]\n"
        );
        push()?;
        let (_peer, theirs) = prometheus(&binary, folder.path(), name, &config)?;
        let time: f64 = wait_for("ten scrapes", PATIENCE, || {
            push()?;
            let counted = vector(theirs, "count_over_time(node_load1[1m]) > 10", unix_seconds()?)?;
            Ok((!counted.is_empty()).then_some(unix_seconds()? - 3.0))
        })?;
        let time = time.floor();
        // A value that changes with each reading differs between one scrape and the next.
        let count =
            same(name, "group by (__name__, instance, job) ({job=\"node-exporter\"})", time, theirs, ours)?;
        ensure!(count > 100, "only {count} metrics came");
        same(name, "node_memory_MemTotal_bytes", time, theirs, ours)?;
        same(name, "node_uname_info", time, theirs, ours)?;
        if name == "federating3" {
            same(name, "histogram_count(wait_seconds)", time, theirs, ours)?;
            same(name, "histogram_sum(wait_seconds)", time, theirs, ours)?;
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "other programs live by the clock of the machine")]
fn unix_seconds() -> Result<f64> {
    Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64())
}

fn post(address: SocketAddr, path: &str, content_type: &str, body: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 20"), "{path}: {answer}");
    Ok(())
}

/// A program with OpenTelemetry's own library and exporter.
const OTEL_PROGRAM: &str = r#"
import sys
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

exporter = OTLPMetricExporter(endpoint=sys.argv[1], compression=Compression.Gzip)
reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3600000)
provider = MeterProvider(
    metric_readers=[reader],
    resource=Resource({"service.name": "shop", "service.instance.id": "i1", "host.name": "h"}),
    views=[View(instrument_name="native.wait", aggregation=ExponentialBucketHistogramAggregation())],
)
meter = provider.get_meter("lib", "1.0")
requests = meter.create_counter("http.requests", unit="{request}", description="Requests.")
requests.add(3, {"http.method": "GET"})
requests.add(4, {"http.method": "POST"})
meter.create_up_down_counter("queue.length").add(-2)
meter.create_observable_gauge("disk.free", unit="By", callbacks=[lambda options: [Observation(12.5)]])
wait = meter.create_histogram("wait", unit="s")
native_wait = meter.create_histogram("native.wait", unit="ms")
for value in (0.3, 7, 30):
    wait.record(value)
    native_wait.record(value)
ok = provider.force_flush(60000)
provider.shutdown()
sys.exit(0 if ok else 1)
"#;

#[test]
fn a_program_with_opentelemetry_is_understood() -> Result<()> {
    let Some(packages) = std::env::var_os("VEDETTE_OTEL").filter(|packages| Path::new(packages).is_dir())
    else {
        skip!("a program with OpenTelemetry", "its libraries are not installed");
    };
    let folder = tempfile::tempdir()?;
    let mut vedette = Vedette::start(folder.path(), Some(QUIET))?;
    vedette.wait_ready(PATIENCE)?;
    let program = folder.path().join("program.py");
    std::fs::write(&program, OTEL_PROGRAM)?;
    let url = format!("http://{}/api/v1/otlp/v1/metrics", vedette.address);
    let out = Command::new("python3").arg(&program).arg(url).env("PYTHONPATH", packages).output()?;
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    ensure!(out.status.success() && !text.contains("Failed"), "the program says: {text}");
    let time = unix_seconds()?;
    let target = r#""instance":"i1","job":"shop""#;
    for (expr, expected) in [
        (
            "http_requests_total",
            vec![("\"http_method\":\"GET\"", "\"3\""), ("\"http_method\":\"POST\"", "\"4\"")],
        ),
        ("queue_length", vec![("", "\"-2\"")]),
        ("disk_free_bytes", vec![("", "\"12.5\"")]),
        ("wait_seconds_count", vec![("", "\"3\"")]),
        ("wait_seconds_bucket{le=\"10\"}", vec![("", "\"2\"")]),
        ("histogram_count(native_wait_milliseconds)", vec![("", "\"3\"")]),
        ("target_info", vec![("\"host_name\":\"h\"", "\"1\"")]),
    ] {
        let found = vector(vedette.address, expr, time)?;
        ensure!(found.len() == expected.len(), "{expr}: {found:?}");
        for ((labels, value), (label, wanted)) in found.iter().zip(expected) {
            ensure!(
                labels.contains(target) && labels.contains(label) && value == wanted,
                "{expr}: {found:?}"
            );
        }
    }
    let metadata = vedette.get("/api/v1/metadata?metric=http_requests_total")?;
    ensure!(metadata["data"]["http_requests_total"][0]["help"] == "Requests.", "{metadata}");
    Ok(())
}

#[test]
fn lines_of_graphite_are_taken_where_that_is_wanted() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let config = format!("{QUIET}receive: {{graphite: {{listen: 127.0.0.1:{port}}}}}\n");
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(PATIENCE)?;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let time = unix_seconds()?.floor();
    write!(stream, "servers.a.load 1.5 {time}\nload;host=a 2 {time}")?;
    drop(stream);
    wait_for("both lines", PATIENCE, || {
        let first = vector(vedette.address, "{\"servers.a.load\"}", time)?;
        let second = vector(vedette.address, "load{host=\"a\"}", time)?;
        Ok((first.len() + second.len() == 2).then_some(()))
    })
}
