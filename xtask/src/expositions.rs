//! Expositions through the whole loop: Prometheus and Vedette scrape the same bodies, and what either
//! has stored is compared by labels, values and histograms.
//!
//! Each body is scraped by several jobs: plainly, with classic histograms as native ones, and (bodies in
//! text) as messages of Protocol Buffers, which the reference program makes. Times that a body tells are
//! left out, as Prometheus refuses those of long ago. Files of the folder that are no cases are served as
//! text: what Prometheus refuses must be refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    bench::{
        http::{Client, escape},
        process::Process,
    },
    run::target,
};

const TEXT: &str = "text/plain; version=0.0.4";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0";
const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// Name and further keys of each job.
const JOBS: [(&str, &str); 3] = [
    ("plain", "extra_scrape_metrics: true"),
    ("converted", "convert_classic_histograms_to_nhcb: true"),
    ("both", "convert_classic_histograms_to_nhcb: true, always_scrape_classic_histograms: true"),
];
/// How long the programs may take until all bodies are there.
const LIMIT: Duration = Duration::from_secs(60);

/// A body that is served.
struct Body {
    name: String,
    content_type: &'static str,
    bytes: Vec<u8>,
    /// Whether it must be taken, not only treated alike.
    is_case: bool,
}

/// Values by labels.
type Stored = BTreeMap<String, String>;

/// Compares all bodies of a suite's folder. Gives how many are the same and how many are not.
pub fn compare(suite: &str, dir: &Path, peers: &Path, vedette: &Path) -> Result<(usize, usize)> {
    let bodies = Arc::new(bodies(dir, &peers.join("expositions"))?);
    let address = serve(Arc::clone(&bodies))?;
    let folder = target().join("conformance").join(suite);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, config(&bodies, address))?;
    let ports = [port()?, port()?];
    let mut theirs = Command::new(peers.join("prometheus"));
    theirs
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("theirs").display()))
        .arg(format!("--web.listen-address={}", ports[0]));
    let mut ours = Command::new(vedette);
    ours.args(["server", "--listen", &ports[1].to_string(), "--prometheus-config"])
        .arg(&file)
        .arg("--data-dir")
        .arg(folder.join("ours"));
    let mut programs = [
        Process::start(&mut theirs, &folder.join("theirs.log"))?,
        Process::start(&mut ours, &folder.join("ours.log"))?,
    ];
    let (mut passed, mut failed) = (0, 0);
    let end = Deadline::new();
    for (job, _) in JOBS {
        for (number, body) in bodies.iter().enumerate() {
            let query = format!("{{job=\"{job}\", instance=\"{number}\"}}");
            // The first scrapes of a busy machine may fail, and the two programs begin at other times.
            let difference = loop {
                let mut stored = Vec::new();
                for (port, program) in ports.iter().zip(&mut programs) {
                    stored.push(stored_series(*port, program, &query).with_context(|| body.name.clone())?);
                }
                let difference = difference(body, &stored[0], &stored[1]);
                if difference.is_none() || end.is_over() {
                    break difference;
                }
                pause();
            };
            match difference {
                None => passed += 1,
                Some(difference) => {
                    failed += 1;
                    println!("FAILED {job} {}: {difference}", body.name);
                }
            }
        }
    }
    Ok((passed, failed))
}

/// Until when programs may differ.
struct Deadline(std::time::Instant);

#[expect(clippy::disallowed_methods, reason = "programs take real time")]
impl Deadline {
    fn new() -> Self {
        Self(std::time::Instant::now())
    }

    fn is_over(&self) -> bool {
        self.0.elapsed() > LIMIT
    }
}

fn pause() {
    std::thread::sleep(Duration::from_millis(200));
}

/// How what is stored of a body differs, if it does.
fn difference(body: &Body, theirs: &Stored, ours: &Stored) -> Option<String> {
    if let Some((labels, value)) = theirs.iter().find(|(labels, value)| ours.get(*labels) != Some(value)) {
        let ours = ours.get(labels).map_or("nothing", String::as_str);
        return Some(format!("{labels}: Prometheus stores {value}, we {ours}"));
    }
    if let Some(labels) = ours.keys().find(|labels| !theirs.contains_key(*labels)) {
        return Some(format!("{labels}: Prometheus stores nothing"));
    }
    let is_up =
        theirs.iter().any(|(labels, value)| labels.contains("\"__name__\":\"up\"") && value == "\"1\"");
    if theirs.is_empty() || (body.is_case && !is_up) {
        return Some("Prometheus does not take it".to_owned());
    }
    None
}

fn bodies(dir: &Path, reference: &Path) -> Result<Vec<Body>> {
    let cases = dir.join("cases.tsv");
    let cases = std::fs::read_to_string(&cases).with_context(|| cases.display().to_string())?;
    let mut bodies = Vec::new();
    let mut others = BTreeSet::new();
    for entry in std::fs::read_dir(dir)? {
        others.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    others.retain(|name| name != "cases.tsv" && !name.ends_with(".md"));
    for line in cases.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let mut cells = line.split('\t');
        let (name, format) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        others.remove(name);
        let bytes = bytes_of(&dir.join(name))?;
        let content_type = if format == "openmetrics" { OPENMETRICS } else { TEXT };
        if content_type == TEXT {
            let name = format!("{name} as messages");
            let bytes = messages(reference, &bytes)?;
            bodies.push(Body { name, content_type: PROTOBUF, bytes, is_case: true });
        }
        bodies.push(Body { name: name.to_owned(), content_type, bytes, is_case: true });
    }
    for name in others {
        let bytes = bytes_of(&dir.join(&name))?;
        bodies.push(Body { name, content_type: TEXT, bytes, is_case: false });
    }
    Ok(bodies)
}

fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_some_and(|extension| extension == "gz") {
        return Ok(Command::new("gzip").arg("-dc").arg(path).output()?.stdout);
    }
    std::fs::read(path).with_context(|| path.display().to_string())
}

fn messages(reference: &Path, text: &[u8]) -> Result<Vec<u8>> {
    let mut child =
        Command::new(reference).arg("protobuf").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    // It reads all before it writes anything.
    child.stdin.take().context("standard input is piped")?.write_all(text)?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "the reference program failed");
    Ok(output.stdout)
}

/// Serves the body of each number as the path, to every connection one after the other.
fn serve(bodies: Arc<Vec<Body>>) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let bodies = Arc::clone(&bodies);
            std::thread::spawn(move || answer(stream, &bodies));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream, bodies: &[Body]) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let number: usize = line.split(' ').nth(1)?.trim_start_matches('/').parse().ok()?;
        while line.trim_end() != "" {
            line.clear();
            reader.read_line(&mut line).ok()?;
        }
        let Body { content_type, bytes, .. } = bodies.get(number)?;
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            bytes.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(bytes)).ok()?;
    }
}

fn config(bodies: &[Body], address: SocketAddr) -> String {
    let mut text = String::from("global: {scrape_interval: 2s, scrape_timeout: 2s}\nscrape_configs:\n");
    for (job, keys) in JOBS {
        text.push_str(&format!("- {{job_name: {job}, honor_timestamps: false, {keys}, static_configs: ["));
        for number in 0..bodies.len() {
            text.push_str(&format!(
                "{{targets: ['{address}'], labels: {{__metrics_path__: '/{number}', instance: '{number}'}}}}, "
            ));
        }
        text.push_str("]}\n");
    }
    text
}

fn port() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The series of a target by their labels, when it was scraped.
fn stored_series(address: SocketAddr, program: &mut Process, query: &str) -> Result<Stored> {
    let end = Deadline::new();
    loop {
        let target = format!("/api/v1/query?query={}", escape(query));
        if let Ok((200, body)) = Client::new(address).get(&target) {
            let answer: Value = serde_json::from_str(&body)?;
            let rows = answer["data"]["result"].as_array().cloned().unwrap_or_default();
            let stored: Stored = rows.iter().filter_map(series).collect();
            if stored.keys().any(|labels| labels.contains("\"__name__\":\"up\"")) {
                return Ok(stored);
            }
        }
        ensure!(!program.has_ended()?, "the program at {address} ended");
        ensure!(!end.is_over(), "{query} is not scraped at {address} after {LIMIT:?}");
        pause();
    }
}

/// Labels and value of a row; not of what differs each time.
fn series(row: &Value) -> Option<(String, String)> {
    let mut labels: Vec<_> = row["metric"].as_object()?.iter().collect();
    labels.sort_by_key(|(name, _)| name.as_str());
    let volatile = ["scrape_duration_seconds", "scrape_series_added"];
    if labels.iter().any(|(name, value)| *name == "__name__" && volatile.iter().any(|v| *value == v)) {
        return None;
    }
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
    let value = row.get("value").or(row.get("histogram"))?;
    Some((labels.join(","), value[1].to_string()))
}
