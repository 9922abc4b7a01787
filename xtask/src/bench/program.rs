//! The programs that are compared: how each is started, asked and made to tidy up its disk.

use std::{
    ffi::OsStr,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{
    http::{Client, escape},
    process::{Process, folder_bytes},
};
use crate::{debian, run::output};

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Prometheus,
    VictoriaMetrics,
    Vedette,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Prometheus, Self::VictoriaMetrics, Self::Vedette];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::VictoriaMetrics => "victoria-metrics",
            Self::Vedette => "vedette",
        }
    }

    /// Its name and version in the table.
    pub fn title(self) -> &'static str {
        match self {
            Self::Prometheus => "Prometheus 2.42",
            Self::VictoriaMetrics => "VictoriaMetrics 1.79",
            Self::Vedette => "Vedette",
        }
    }

    /// Its program file; those of Debian are fetched if they are not there.
    pub fn binary(self, vedette: &Path) -> Result<PathBuf> {
        Ok(match self {
            Self::Vedette => vedette.to_owned(),
            other => debian::package(other.name())?.join("usr/bin").join(other.name()),
        })
    }
}

/// A program that runs.
pub struct Program {
    kind: Kind,
    binary: PathBuf,
    folder: PathBuf,
    pub address: SocketAddr,
    pub process: Process,
}

/// What lies on disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk {
    /// Samples in immutable files, compacted as far as the program does.
    pub compacted_samples: u64,
    /// Bytes of these files, with their index.
    pub compacted_bytes: u64,
    /// Bytes of everything, write-ahead log included, before anything was asked for.
    pub all_bytes: u64,
}

/// Gathers nothing by itself.
const VEDETTE_CONFIG: &str = "collect: {figures: off, sensor: off}\nrules: {builtin: false}\ndetections: {builtin: false}\nmetrics: {retention_size: 100GiB}\n";

impl Program {
    /// Starts it over a folder; what lies there is used.
    pub fn start(kind: Kind, binary: &Path, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut command = Command::new(binary);
        let data = folder.join("data");
        match kind {
            Kind::Prometheus => {
                std::fs::write(folder.join("prometheus.yml"), "global: {}\n")?;
                command
                    .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
                    .arg(format!("--storage.tsdb.path={}", data.display()))
                    .arg(format!("--web.listen-address={address}"))
                    .args(["--web.enable-remote-write-receiver", "--web.enable-admin-api"])
                    .args(["--web.console.templates=/", "--web.console.libraries=/"]);
            }
            Kind::VictoriaMetrics => {
                command
                    .arg(format!("-storageDataPath={}", data.display()))
                    .arg(format!("-httpListenAddr={address}"))
                    // Its default ends connections after two minutes.
                    .args(["-http.connTimeout=10h", "-search.latencyOffset=0s", "-search.disableCache"]);
            }
            Kind::Vedette => {
                std::fs::write(folder.join("vedette.yml"), VEDETTE_CONFIG)?;
                command
                    .args(["up", "--listen", &address.to_string(), "--data-dir"])
                    .arg(&data)
                    .arg("--config")
                    .arg(folder.join("vedette.yml"));
            }
        }
        let process = Process::start(&mut command, &folder.join("log"))?;
        Ok(Self { kind, binary: binary.to_owned(), folder: folder.to_owned(), address, process })
    }

    /// Waits until it answers; gives how long that took.
    #[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
    pub fn wait_ready(&mut self, limit: Duration) -> Result<Duration> {
        let begun = Instant::now();
        let path = if self.kind == Kind::VictoriaMetrics { "/health" } else { "/-/ready" };
        loop {
            if Client::new(self.address).get(path).is_ok_and(|(status, _)| status == 200) {
                return Ok(begun.elapsed());
            }
            let what = self.kind.title();
            ensure!(!self.process.has_ended()?, "{what} ended; see {}", self.folder.join("log").display());
            ensure!(begun.elapsed() < limit, "{what} is not ready after {limit:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// `kill -9`, then a new start; gives when that began, and how long it took until it was ready
    /// again.
    #[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
    pub fn kill_and_restart(&mut self, limit: Duration) -> Result<(Instant, Duration)> {
        self.process.kill()?;
        *self = Self::start(self.kind, &self.binary, &self.folder)?;
        let begun = Instant::now();
        Ok((begun, self.wait_ready(limit)?))
    }

    /// The single value of an instant query.
    pub fn query(&self, expr: &str, time_ms: i64) -> Result<f64> {
        let target = format!("/api/v1/query?query={}&time={}", escape(expr), time_ms as f64 / 1000.0);
        let (status, body) = Client::new(self.address).get(&target)?;
        ensure!(status == 200, "{}: {expr}: {status} {body}", self.kind.title());
        let answer: Value = serde_json::from_str(&body)?;
        match answer["data"]["result"].as_array().map(Vec::as_slice) {
            Some([]) => Ok(0.0),
            Some([row]) => Ok(row["value"][1].as_str().context("no value")?.parse()?),
            _ => bail!("{expr} gave {body}"),
        }
    }

    /// All metric names in a range.
    pub fn metric_names(&self, from_ms: i64, to_ms: i64) -> Result<Vec<String>> {
        let target = format!("/api/v1/label/__name__/values?start={}&end={}", from_ms / 1000, to_ms / 1000);
        let (status, body) = Client::new(self.address).get(&target)?;
        ensure!(status == 200, "{}: names: {status} {body}", self.kind.title());
        let answer: Value = serde_json::from_str(&body)?;
        let names = answer["data"].as_array().context("no names")?;
        Ok(names.iter().filter_map(|n| n.as_str().map(str::to_owned)).collect())
    }

    /// What is on disk; asks for compaction where the program can be asked.
    pub fn disk(&mut self, samples: u64) -> Result<Disk> {
        let data = self.folder.join("data");
        let mut client = Client::new(self.address);
        Ok(match self.kind {
            Kind::Prometheus => {
                let all_bytes = folder_bytes(&data)?;
                let (status, body) = client.post("/api/v1/admin/tsdb/snapshot", "", &[])?;
                ensure!(status == 200, "snapshot: {status} {body}");
                let compacted_bytes = folder_bytes(&data.join("snapshots"))?;
                Disk { compacted_samples: samples, compacted_bytes, all_bytes }
            }
            Kind::VictoriaMetrics => {
                client.get("/internal/force_flush")?;
                let all_bytes = folder_bytes(&data)?;
                client.get("/internal/force_merge")?;
                self.wait_merged(&data)?;
                let compacted_bytes =
                    folder_bytes(&data.join("data"))? + folder_bytes(&data.join("indexdb"))?;
                Disk { compacted_samples: samples, compacted_bytes, all_bytes }
            }
            Kind::Vedette => {
                let metrics = data.join("metrics");
                let all_bytes = folder_bytes(&metrics)?;
                let compacted_samples = self.samples_in_segments()?;
                self.process.kill()?;
                let merge = [OsStr::new("tsdb"), "merge".as_ref(), "--data-dir".as_ref(), data.as_os_str()];
                output(Command::new(&self.binary).args(merge))?;
                let compacted_bytes = folder_bytes(&metrics.join("segments"))?;
                Disk { compacted_samples, compacted_bytes, all_bytes }
            }
        })
    }

    /// A forced merge runs behind the answer.
    fn wait_merged(&self, data: &Path) -> Result<()> {
        let mut client = Client::new(self.address);
        let mut before = (0, 0);
        loop {
            std::thread::sleep(Duration::from_secs(2));
            let (_, metrics) = client.get("/metrics")?;
            let active: u64 = metrics
                .lines()
                .filter(|l| l.starts_with("vm_active_merges") || l.starts_with("vm_active_force_merges"))
                .filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok())
                .sum();
            let now = (active, folder_bytes(data)?);
            if active == 0 && before == now {
                return Ok(());
            }
            before = now;
        }
    }

    /// From the status page, which is two seconds old at most.
    fn samples_in_segments(&self) -> Result<u64> {
        std::thread::sleep(Duration::from_secs(3));
        let (_, body) = Client::new(self.address).get("/api/vedette/v1/status")?;
        let status: Value = serde_json::from_str(&body)?;
        let parts = status["parts"].as_array().context("no parts")?;
        let part = parts.iter().find(|p| p["name"] == "tsdb").context("no part tsdb")?;
        let facts = part["facts"].as_array().context("no facts")?;
        let fact = facts.iter().find(|f| f["name"] == "samples in segments").context("no such fact")?;
        Ok(fact["value"].as_str().context("no text")?.parse()?)
    }
}
