//! Prometheus itself is asked the same as we are: statuses, types and shapes of the answers agree.
//!
//! Prometheus 3.14 is there where the reference programs were built; Debian's stands in for the
//! addresses that it has.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::process::{Child, Command};

use super::{grafana, http, shape::Shape, start};

/// The configuration of the Prometheus that is asked: it scrapes itself, and two that are not there.
const CONFIG: &str = r#"global: {scrape_interval: 1s}
alerting:
  alertmanagers:
  - static_configs: [{targets: ['127.0.0.1:1', 'dropped.example:2']}]
    relabel_configs: [{source_labels: [__address__], regex: 'dropped.*', action: drop}]
rule_files: [rules.yml]
scrape_configs:
- job_name: node
  static_configs: [{targets: ['OWN']}]
- job_name: dead
  static_configs: [{targets: ['127.0.0.1:1', 'dropped:3']}]
  relabel_configs:
  - {source_labels: [__address__], regex: 'dropped.*', action: drop}
  - {target_label: env, replacement: prod}
"#;

const RULES: &str = "groups:\n- name: g\n  interval: 1s\n  rules:\n  - {alert: Up, expr: 'vector(1)', labels: {severity: page}, annotations: {a: b}}\n  - {record: 'job:up:sum', expr: 'sum(up)'}\n";

/// What is asked: method, path, whether the members of the data are data themselves.
const QUESTIONS: &[(&str, &str, bool)] = &[
    ("GET", "/api/v1/targets", false),
    ("GET", "/api/v1/targets?state=active", false),
    ("GET", "/api/v1/targets?state=dropped", false),
    ("GET", "/api/v1/targets?state=none", false),
    ("GET", "/api/v1/targets?scrapePool=nope", false),
    ("GET", "/api/v1/targets/metadata?limit=1", false),
    ("GET", "/api/v1/targets/metadata?metric=nope", false),
    ("GET", "/api/v1/targets/metadata?limit=x", false),
    ("GET", "/api/v1/targets/metadata?match_target=a%7B", false),
    ("GET", "/api/v1/targets/relabel_steps", false),
    ("GET", "/api/v1/targets/relabel_steps?scrapePool=dead", false),
    ("GET", "/api/v1/targets/relabel_steps?scrapePool=dead&labels=x", false),
    ("GET", "/api/v1/targets/relabel_steps?scrapePool=nope&labels=%7B%7D", false),
    ("GET", "/api/v1/targets/relabel_steps?scrapePool=dead&labels=%7B%22__address__%22:%22a:1%22%7D", false),
    (
        "GET",
        "/api/v1/targets/relabel_steps?scrapePool=dead&labels=%7B%22__address__%22:%22dropped%22%7D",
        false,
    ),
    ("GET", "/api/v1/scrape_pools", false),
    ("GET", "/api/v1/alertmanagers", false),
    ("GET", "/api/v1/metadata?limit=2", true),
    ("GET", "/api/v1/metadata?limit=0", true),
    ("GET", "/api/v1/metadata?limit=x", false),
    ("GET", "/api/v1/metadata?metric=nope", true),
    ("GET", "/api/v1/rules", false),
    ("GET", "/api/v1/rules?type=x", false),
    ("GET", "/api/v1/alerts", false),
    ("GET", "/api/v1/query_exemplars?query=up", false),
    ("GET", "/api/v1/query_exemplars", false),
    ("GET", "/api/v1/query_exemplars?query=up%7B", false),
    ("GET", "/api/v1/query_exemplars?query=up&start=5&end=1", false),
    ("POST", "/api/v1/query_exemplars?query=up", false),
    ("GET", "/api/v1/status/config", false),
    ("GET", "/api/v1/status/flags", true),
    ("GET", "/api/v1/status/runtimeinfo", false),
    ("GET", "/api/v1/status/buildinfo", false),
    ("GET", "/api/v1/status/tsdb", false),
    ("GET", "/api/v1/status/tsdb?limit=1", false),
    ("GET", "/api/v1/status/tsdb?limit=0", false),
    ("GET", "/api/v1/status/tsdb?limit=x", false),
    ("GET", "/api/v1/status/tsdb?limit=10001", false),
    ("GET", "/api/v1/status/tsdb/blocks", false),
    ("GET", "/api/v1/status/walreplay", false),
    ("GET", "/api/v1/features", true),
    ("GET", "/api/v1/notifications", false),
    ("GET", "/api/v1/search/label_values", false),
    ("GET", "/api/v1/search/metric_names?limit=x", false),
    ("GET", "/api/v1/search/metric_names?sort_by=score", false),
    ("GET", "/api/v1/search/metric_names?fuzz_alg=x", false),
    ("GET", "/api/v1/search/metric_names?sort_dir=asc", false),
    ("GET", "/api/v1/search/metric_names?fuzz_threshold=101", false),
    ("GET", "/api/v1/search/metric_names?case_sensitive=x", false),
    ("GET", "/api/v1/openapi.yaml", false),
    ("GET", "/api/v1/series", false),
    ("GET", "/api/v1/series?match[]=up&limit=x", false),
    ("GET", "/api/v1/series?match[]=up&limit=-1", false),
    ("GET", "/api/v1/series?match[]=%7B%7D", false),
    ("GET", "/api/v1/labels?start=x", false),
    ("GET", "/api/v1/labels?limit=1", false),
    ("GET", "/api/v1/label/U__a_/values?limit=1", false),
    ("GET", "/api/v1/query?query=", false),
    ("GET", "/api/v1/query?query=up&time=x", false),
    ("GET", "/api/v1/query?query=up&timeout=x", false),
    ("GET", "/api/v1/query?query=sum(up)&limit=x", false),
    ("GET", "/api/v1/query?query=count_values(%22%22,up)", false),
    ("GET", "/api/v1/query?query=label_replace(up,%22a%22,%22%22,%22b%22,%22(%22)", false),
    ("GET", "/api/v1/query_range?query=up&start=1&end=0&step=1", false),
    ("GET", "/api/v1/query_range?query=up&start=0&end=1&step=0", false),
    ("GET", "/api/v1/query_range?query=up&start=0&end=20000&step=1", false),
    ("GET", "/api/v1/format_query?query=a%2Bb", false),
    ("GET", "/api/v1/format_query?query=a%2B", false),
    ("GET", "/api/v1/parse_query?query=sum(a)", false),
    ("POST", "/api/v1/admin/tsdb/delete_series", false),
    ("GET", "/api/v1/admin/tsdb/delete_series", false),
    ("DELETE", "/api/v1/query", false),
    ("POST", "/api/v1/metadata", false),
    ("GET", "/api/v1/write", false),
    ("OPTIONS", "/api/v1/query", false),
    ("GET", "/api/v1/nosuch", false),
    ("GET", "/version", false),
    ("GET", "/-/healthy", false),
    ("GET", "/-/ready", false),
    ("GET", "/-/reload", false),
    ("POST", "/-/reload", false),
    ("POST", "/-/quit", false),
];

/// A Prometheus that ends with the test.
struct Prometheus {
    address: SocketAddr,
    _process: Child,
    _folder: tempfile::TempDir,
}

/// Where the reference programs are, if they were built.
pub fn reference(name: &str) -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target")), PathBuf::from);
    let folder = std::env::var_os("VEDETTE_PEERS").map_or_else(|| target.join("peers/go"), PathBuf::from);
    Some(folder.join(name)).filter(|path| path.is_file())
}

async fn prometheus(program: &Path) -> Prometheus {
    let folder = tempfile::tempdir().expect("a folder");
    // Free a moment ago, which is as good as it gets: Prometheus does not tell its port.
    let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).expect("writes");
    write("prometheus.yml", CONFIG.replace("OWN", &address.to_string()));
    write("rules.yml", RULES.to_owned());
    let process = Command::new(program)
        .current_dir(folder.path())
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.enable-admin-api"])
        .args(["--enable-feature=exemplar-storage,search-api"])
        .arg(format!("--web.listen-address={address}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("starts");
    let ready = async {
        // Until it has scraped, and its rule has fired.
        loop {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                let alerts = http::get(address, "/api/v1/alerts").await;
                let found = http::get(address, "/api/v1/metadata?limit=1").await;
                if alerts.body.contains("firing") && found.body.contains("help") {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(4 * http::PATIENCE, ready).await.expect("Prometheus scrapes itself");
    Prometheus { address, _process: process, _folder: folder }
}

async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> http::Reply {
    let length = if method == "POST" {
        format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n", body.len())
    } else {
        String::new()
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{length}{headers}\r\n{body}"
    );
    http::raw(address, request.as_bytes()).await.expect("an answer")
}

/// The body without what chunks or a compressed form would add to it.
fn json(reply: &http::Reply) -> Option<serde_json::Value> {
    let text = if reply.header("transfer-encoding") == Some("chunked") {
        reply.body.split("\r\n").skip(1).step_by(2).collect::<String>()
    } else {
        reply.body.clone()
    };
    serde_json::from_str(&text).ok()
}

fn compare(question: &str, map: bool, ours: &http::Reply, theirs: &http::Reply, found: &mut Vec<String>) {
    let mut differ = |what: &str, ours: &dyn std::fmt::Debug, theirs: &dyn std::fmt::Debug| {
        found.push(format!("{question}: {what} {ours:?}, theirs {theirs:?}"));
    };
    if ours.status != theirs.status {
        return differ("status", &(ours.status, &ours.body), &(theirs.status, &theirs.body));
    }
    let kind = |reply: &http::Reply| reply.header("content-type").map(str::to_owned);
    let same_kind = kind(ours) == kind(theirs) || question.ends_with("/version");
    if !same_kind {
        differ("content type", &kind(ours), &kind(theirs));
    }
    if ours.header("allow") != theirs.header("allow") && !question.contains("/-/") {
        differ("allow", &ours.header("allow"), &theirs.header("allow"));
    }
    let (Some(ours), Some(theirs)) = (json(ours), json(theirs)) else { return };
    if ours["errorType"] != theirs["errorType"] {
        differ("error type", &ours, &theirs);
    }
    let mut misfits = Vec::new();
    let shape = |value: &serde_json::Value| {
        if map { Shape::of(&value["data"], true) } else { Shape::of(value, false) }
    };
    Shape::misfits(&shape(&ours), &shape(&theirs), "", &mut misfits);
    found.extend(misfits.iter().map(|misfit| format!("{question}: {misfit}")));
}

#[tokio::test]
async fn answers_have_the_shape_of_prometheus() {
    let Some(program) = reference("prometheus") else {
        println!(
            "SKIPPED answers beside Prometheus 3.14: target/peers/go/prometheus is not there; the peers lane builds it"
        );
        return;
    };
    let (ours, theirs) = (start().await, prometheus(&program).await);
    let mut found = Vec::new();
    for (method, path, map) in QUESTIONS {
        let own = ask(ours.address, method, path, "", "").await;
        let other = ask(theirs.address, method, path, "", "").await;
        compare(&format!("{method} {path}"), *map, &own, &other, &mut found);
    }
    for (method, path, body) in grafana::REQUESTS {
        let own = ask(ours.address, method, path, grafana::HEADERS, body).await;
        // It would compress, which the comparison does not read.
        let headers = grafana::HEADERS.replace("Accept-Encoding: gzip\r\n", "");
        let other = ask(theirs.address, method, path, &headers, body).await;
        let map = path.starts_with("/api/v1/metadata");
        compare(&format!("{method} {path} {body}"), map, &own, &other, &mut found);
    }
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
    ours.stop().await;
}
