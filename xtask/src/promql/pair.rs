//! Prometheus and Vedette, started side by side with the same data.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    bench::{
        http::{Client, escape},
        process::Process,
    },
    debian, peers,
};

/// The kind of an error that is no answer of the API.
pub const NO_JSON: &str = "no JSON";

const START_LIMIT: Duration = Duration::from_secs(60);

/// Gathers nothing by itself and keeps samples of any age.
const VEDETTE_CONFIG: &str = "collect: {figures: off, sensor: off}\nrules: {builtin: false}\n\
     detections: {builtin: false}\nmetrics: {retention: 100y, rollups: []}\n";

/// What Vedette does always and Prometheus only when asked.
const FEATURES: &str = "promql-experimental-functions,promql-extended-range-selectors,promql-delayed-name-removal,\
     promql-binop-fill-modifiers,use-start-timestamps,st-storage,xor2-encoding,histograms-st-encoding";

/// Which Prometheus judges.
#[derive(Debug, Clone)]
pub enum Reference {
    /// The version whose language is Vedette's.
    Built(PathBuf),
    /// Debian's 2.42, whose windows are closed at both ends.
    Old(PathBuf),
}

impl Reference {
    /// The right version, or the one that stands in for it, with the reason on standard error.
    pub fn find() -> Result<Self> {
        match peers::programs() {
            Ok(folder) => Ok(Self::Built(folder.join("prometheus"))),
            Err(error) => {
                eprintln!("Prometheus 3.14 cannot be built here, so Debian's 2.42 judges: {error:#}");
                Ok(Self::Old(debian::package("prometheus")?.join("usr/bin/prometheus")))
            }
        }
    }

    /// Whether this is the old version.
    pub fn is_old(&self) -> bool {
        matches!(self, Self::Old(_))
    }
}

/// Both programs. They end when this is dropped.
pub struct Pair {
    theirs: Server,
    ours: Server,
}

struct Server {
    name: &'static str,
    address: SocketAddr,
    process: Process,
    log: PathBuf,
}

impl Pair {
    /// Starts both over an empty folder.
    pub fn start(reference: &Reference, vedette: &Path, folder: &Path) -> Result<Self> {
        if folder.exists() {
            std::fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        std::fs::create_dir_all(folder)?;
        let mut pair = Self { theirs: prometheus(reference, folder)?, ours: self::vedette(vedette, folder)? };
        pair.theirs.wait_ready()?;
        pair.ours.wait_ready()?;
        Ok(pair)
    }

    /// Sends both the same remote-write message.
    pub fn write(&self, message: &[u8]) -> Result<()> {
        let body = snap::raw::Encoder::new().compress_vec(message)?;
        for server in [&self.theirs, &self.ours] {
            let headers = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
                 X-Prometheus-Remote-Write-Version: 0.1.0\r\n";
            let (status, text) = Client::new(server.address).post("/api/v1/write", headers, &body)?;
            ensure!(status / 100 == 2, "{} refuses samples: {status} {text}", server.name);
        }
        Ok(())
    }

    /// A way to ask both, with connections of its own.
    pub fn connection(&self) -> Connection {
        Connection { theirs: Client::new(self.theirs.address), ours: Client::new(self.ours.address) }
    }
}

fn prometheus(reference: &Reference, folder: &Path) -> Result<Server> {
    let (binary, old) = match reference {
        Reference::Built(binary) => (binary, false),
        Reference::Old(binary) => (binary, true),
    };
    let config = folder.join("prometheus.yml");
    std::fs::write(&config, "global: {}\n")?;
    let address = free_address()?;
    let mut command = Command::new(binary);
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
        .arg(format!("--web.listen-address={address}"))
        .args(["--storage.tsdb.retention.time=100y", "--web.enable-remote-write-receiver"])
        .args(["--web.console.templates=/", "--web.console.libraries=/"])
        .arg(format!("--enable-feature={}", if old { "native-histograms" } else { FEATURES }));
    Server::start("Prometheus", &mut command, address, folder.join("prometheus.log"))
}

fn vedette(binary: &Path, folder: &Path) -> Result<Server> {
    let config = folder.join("vedette.yml");
    std::fs::write(&config, VEDETTE_CONFIG)?;
    let address = free_address()?;
    let mut command = Command::new(binary);
    command.args(["up", "--listen", &address.to_string(), "--data-dir"]).arg(folder.join("vedette"));
    command.arg("--config").arg(config);
    Server::start("Vedette", &mut command, address, folder.join("vedette.log"))
}

fn free_address() -> Result<SocketAddr> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

impl Server {
    fn start(name: &'static str, command: &mut Command, address: SocketAddr, log: PathBuf) -> Result<Self> {
        let process = Process::start(command, &log)?;
        Ok(Self { name, address, process, log })
    }

    #[expect(clippy::disallowed_methods, reason = "a foreign program starts in real time")]
    fn wait_ready(&mut self) -> Result<()> {
        let begun = std::time::Instant::now();
        while !Client::new(self.address).get("/-/ready").is_ok_and(|(status, _)| status == 200) {
            let log = self.log.display();
            ensure!(!self.process.has_ended()?, "{} ended; see {log}", self.name);
            ensure!(begun.elapsed() < START_LIMIT, "{} is not ready; see {log}", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// What is asked about a query, and for when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Not its value, but how it is written for people.
    Formatted,
    /// Not its value, but how it is understood.
    Parsed,
    /// Once.
    At { time_ms: i64 },
    /// At every step.
    Range { start_ms: i64, end_ms: i64, step_ms: i64 },
}

impl When {
    /// The request for a query.
    pub fn target(self, query: &str) -> String {
        let query = escape(query);
        match self {
            Self::Formatted => format!("/api/v1/format_query?query={query}"),
            Self::Parsed => format!("/api/v1/parse_query?query={query}"),
            Self::At { time_ms } => format!("/api/v1/query?query={query}&time={}", seconds(time_ms)),
            Self::Range { start_ms, end_ms, step_ms } => format!(
                "/api/v1/query_range?query={query}&start={}&end={}&step={}",
                seconds(start_ms),
                seconds(end_ms),
                seconds(step_ms)
            ),
        }
    }
}

/// Milliseconds as seconds with three decimals, which no float blurs.
pub fn seconds(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    match ms % 1000 {
        0 => format!("{sign}{}", ms / 1000),
        rest => format!("{sign}{}.{rest:03}", ms / 1000),
    }
}

/// Connections that stay open to both programs.
pub struct Connection {
    theirs: Client,
    ours: Client,
}

impl Connection {
    /// What Prometheus answers.
    pub fn ask_theirs(&mut self, query: &str, when: When) -> Result<Value> {
        ask(&mut self.theirs, &when.target(query)).context("Prometheus")
    }

    /// What Vedette answers.
    pub fn ask_ours(&mut self, query: &str, when: When) -> Result<Value> {
        ask(&mut self.ours, &when.target(query)).context("Vedette")
    }
}

/// Asks again when a connection was closed meanwhile. What is no JSON is an error of its own kind.
fn ask(client: &mut Client, target: &str) -> Result<Value> {
    let (_, body) = client.get(target).or_else(|_| client.get(target))?;
    Ok(serde_json::from_str(&body)
        .unwrap_or_else(|_| json!({"status": "error", "errorType": NO_JSON, "error": body})))
}
