//! A real Docker daemon with a containerd of its own, all of it below one folder, without networks.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::{fs::symlink, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{
    containers::{layer, program, unavailable as no_containers},
    parts, wait_for,
};

/// Image of the test containers, as Docker names it.
pub const IMAGE: &str = "local/bb:1";

/// A daemon of our own. Its containers and itself end when it is dropped.
pub struct Docker {
    child: Child,
    folder: PathBuf,
    started: Vec<String>,
}

/// Why there can be none here, or `None`.
pub fn unavailable() -> Option<String> {
    let missing = || (!parts().join("usr/sbin/dockerd").is_file()).then(|| "there is no dockerd".to_owned());
    no_containers().or_else(missing)
}

impl Docker {
    /// Starts the daemon below `folder` and imports [`IMAGE`].
    pub fn start(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("daemon.json"), "{}")?;
        // Of the tree's own C library nothing may be used: the loader is the machine's.
        let libraries = folder.join("lib");
        fs::create_dir(&libraries)?;
        for (from, file) in [("lib", "libdevmapper.so.1.02.1"), ("usr/lib", "libseccomp.so.2")] {
            let library = fs::canonicalize(parts().join(from).join("x86_64-linux-gnu").join(file));
            if let Ok(library) = library {
                symlink(library, libraries.join(file))?;
            }
        }
        let log = File::create(folder.join("dockerd.log"))?;
        let option = |name: &str, file: &str| format!("--{name}={}", folder.join(file).display());
        let child = program("usr/sbin/dockerd")
            .env("LD_LIBRARY_PATH", libraries)
            .args([option("config-file", "daemon.json"), option("data-root", "root")])
            .args([option("exec-root", "exec"), option("pidfile", "pid")])
            .arg(format!("--host=unix://{}", folder.join("docker.sock").display()))
            // Without rights over networks and over the kernel's choice of whom to kill.
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--oom-score-adjust=0"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start dockerd")?;
        let mut docker = Self { child, folder: folder.to_owned(), started: Vec::new() };
        wait_for("dockerd", Duration::from_secs(60), || {
            ensure!(docker.child.try_wait()?.is_none(), "it ended");
            Ok(docker.ask("GET", "/version", "application/json", b"").is_ok().then_some(()))
        })
        .with_context(|| fs::read_to_string(folder.join("dockerd.log")).unwrap_or_default())?;
        let (repository, tag) = IMAGE.split_once(':').unwrap_or((IMAGE, "latest"));
        let path = format!("/images/create?fromSrc=-&repo={repository}&tag={tag}");
        docker.ask("POST", &path, "application/x-tar", &layer()?)?;
        Ok(docker)
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// Starts a container without network; gives its id.
    pub fn run(&mut self, name: &str, labels: &Value, shell: &str) -> Result<String> {
        let wanted = json!({
            "Image": IMAGE, "Cmd": ["/bin/sh", "-c", shell], "Labels": labels,
            "HostConfig": {"NetworkMode": "none"},
        });
        let path = format!("/containers/create?name={name}");
        let answer = self.ask("POST", &path, "application/json", wanted.to_string().as_bytes())?;
        let created: Value = serde_json::from_str(&answer)?;
        let id = created["Id"].as_str().context("an id")?.to_owned();
        self.started.push(id.clone());
        self.ask("POST", &format!("/containers/{id}/start"), "application/json", b"")?;
        Ok(id)
    }

    /// Ends and removes a container.
    pub fn remove(&self, id: &str) -> Result<()> {
        self.ask("DELETE", &format!("/containers/{id}?force=1"), "application/json", b"").map(drop)
    }

    fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<String> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        )?;
        stream.write_all(body)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer")?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        if !status.starts_with('2') {
            bail!("{method} {path}: {status} {body}");
        }
        Ok(body.to_owned())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        for id in &self.started {
            let _ = self.remove(id);
        }
        // SIGTERM lets it end its containerd and unmount what it mounted.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = wait_for("the end of dockerd", Duration::from_secs(15), || Ok(self.child.try_wait()?));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
