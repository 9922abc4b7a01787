//! Programs of others: started with a log of their own, killed when dropped.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{http, program::free_port, wait_for};

/// A program of others that listens somewhere.
pub struct Peer {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    log: PathBuf,
}

impl Peer {
    /// An address where nobody listens yet.
    pub fn free_address() -> Result<SocketAddr> {
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)))
    }

    /// Starts a program that was told to listen at `address`. Its log goes to `name` in `folder`.
    pub fn start(command: &mut Command, folder: &Path, name: &str, address: SocketAddr) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, address, log })
    }

    /// Starts a Prometheus that scrapes nothing and takes remote write.
    pub fn receiver(binary: &Path, folder: &Path, address: SocketAddr) -> Result<Self> {
        let file = folder.join("receiver.yml");
        std::fs::write(&file, "scrape_configs: []\n")?;
        let mut command = Command::new(binary);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("receiver").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--web.enable-remote-write-receiver", "--web.console.templates=/"])
            .arg("--web.console.libraries=/");
        Self::start(&mut command, folder, "receiver", address)
    }

    /// Waits until it answers this path.
    pub fn wait_ready(&mut self, path: &str, limit: Duration) -> Result<()> {
        let address = self.address;
        wait_for("a program of others", limit, || {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended ({status}): {}", std::fs::read_to_string(&self.log).unwrap_or_default());
            }
            Ok(http::get(address, path).is_ok_and(|a| a.status == 200).then_some(()))
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}:\n{}", self.log.display(), std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}
