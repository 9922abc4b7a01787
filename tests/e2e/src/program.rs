//! The program under test, started on a free port with a data folder of its own.

use std::{
    fs::File,
    io::Read,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{binary, http, wait_for};

/// A running Vedette. It is killed when dropped.
pub struct Vedette {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    log: PathBuf,
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

impl Vedette {
    /// Starts `vedette up` over `folder` (data, log and, if given, a configuration).
    pub fn start(folder: &Path, config: Option<&str>) -> Result<Self> {
        Self::start_by(Command::new(binary()), folder, config)
    }

    /// Starts the program in another role, such as `agent`.
    pub fn start_as(role: &str, folder: &Path, config: &str) -> Result<Self> {
        Self::start_role(Command::new(binary()), role, folder, Some(config))
    }

    /// The same with another command before the program's arguments, such as one that drops rights.
    pub fn start_by(command: Command, folder: &Path, config: Option<&str>) -> Result<Self> {
        Self::start_role(command, "up", folder, config)
    }

    fn start_role(mut command: Command, role: &str, folder: &Path, config: Option<&str>) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let log = folder.join("vedette.log");
        let file = File::options().create(true).append(true).open(&log)?;
        command.args([role, "--listen", &address.to_string(), "--data-dir"]).arg(folder.join("data"));
        if let Some(config) = config {
            std::fs::write(folder.join("vedette.yml"), config)?;
            command.arg("--config").arg(folder.join("vedette.yml"));
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", binary().display()))?;
        Ok(Self { child, address, log })
    }

    /// Waits until it is ready.
    pub fn wait_ready(&mut self, limit: Duration) -> Result<()> {
        let address = self.address;
        wait_for("readiness", limit, || {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended ({status}): {}", self.log());
            }
            Ok(http::get(address, "/-/ready").is_ok_and(|a| a.status == 200).then_some(()))
        })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote on standard output and error.
    pub fn log(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = File::open(&self.log) {
            let _ = file.read_to_string(&mut text);
        }
        text
    }

    /// Waits for its end.
    pub fn wait_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        wait_for("the program's end", limit, || Ok(self.child.try_wait()?))
    }

    /// Ends it as a power of its own would: SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end: SIGTERM.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        let status = Command::new("kill").arg(self.pid().to_string()).status()?;
        if !status.success() {
            bail!("cannot send SIGTERM");
        }
        self.wait_end(limit)
    }

    /// JSON of a GET that must succeed.
    pub fn get(&self, target: &str) -> Result<Value> {
        let answer = http::get(self.address, target)?;
        if answer.status != 200 {
            bail!("{target}: {} {}", answer.status, answer.text());
        }
        answer.json()
    }

    /// The vector that an instant query gives: metric and value.
    pub fn query(&self, expr: &str) -> Result<Vec<(Value, f64)>> {
        let answer = self.get(&format!("/api/v1/query?query={}", http::escape(expr)))?;
        let rows = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        rows.into_iter()
            .map(|row| {
                let value = row["value"][1].as_str().context("a sample without value")?.parse()?;
                Ok((row["metric"].clone(), value))
            })
            .collect()
    }

    /// The targets that are scraped, as the API tells of them.
    pub fn targets(&self) -> Result<Vec<Value>> {
        let answer = self.get("/api/v1/targets?state=active")?;
        Ok(answer["data"]["activeTargets"].as_array().cloned().unwrap_or_default())
    }

    /// Events found by a search.
    pub fn events(&self, filters: &str) -> Result<Vec<Value>> {
        let answer = self.get(&format!("/api/vedette/v1/events?{filters}"))?;
        Ok(answer["events"].as_array().cloned().unwrap_or_default())
    }

    /// What a part says of itself.
    pub fn part(&self, name: &str) -> Result<Value> {
        let status = self.get("/api/vedette/v1/status")?;
        let parts = status["parts"].as_array().cloned().unwrap_or_default();
        parts
            .into_iter()
            .find(|p| p["name"] == name)
            .with_context(|| format!("the status has no part {name}: {status}"))
    }

    /// Whether the kernel sensor is attached; if not, why.
    pub fn sensor(&self) -> Result<Result<(), String>> {
        let part = self.part("sensor")?;
        Ok(if part["health"] == "ok" { Ok(()) } else { Err(part["message"].to_string()) })
    }
}

impl Drop for Vedette {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("log of the program:\n{}", self.log());
        }
    }
}
