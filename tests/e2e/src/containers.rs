//! A real containerd with images made on the spot, all of it below one folder.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{is_root, parts, wait_for};

/// Image of the test containers: busybox and bash, both static.
pub const IMAGE: &str = "docker.io/local/bb:1";

/// A containerd of our own. Its containers and itself end when it is dropped.
pub struct Containerd {
    child: Child,
    folder: PathBuf,
    /// Runtimes keep containers of one namespace and name in one place on a machine, whichever
    /// containerd started them, so each has a namespace of its own.
    namespace: String,
    started: Vec<String>,
}

/// Gives each containerd of this process a number.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Why there can be no containers here, or `None`.
pub fn unavailable() -> Option<String> {
    if !is_root() {
        return Some("containers need root".into());
    }
    let missing: Vec<_> = ["usr/bin/containerd", "usr/sbin/runc", "bin/busybox", "bin/bash-static"]
        .into_iter()
        .filter(|p| !parts().join(p).is_file())
        .collect();
    (!missing.is_empty()).then(|| format!("{} lacks {}", parts().display(), missing.join(", ")))
}

impl Containerd {
    /// Starts containerd below `folder` and imports [`IMAGE`].
    pub fn start(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let config = format!(
            "version = 2\nroot = \"{0}/root\"\nstate = \"{0}/state\"\ndisabled_plugins = [\"io.containerd.internal.v1.opt\"]\n[grpc]\n  address = \"{0}/containerd.sock\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\n  restrict_oom_score_adj = true\n  sandbox_image = \"{IMAGE}\"\n",
            folder.display()
        );
        fs::write(folder.join("config.toml"), config)?;
        let namespace = format!("vedette-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let child = spawn(folder)?;
        let mut containerd = Self { child, folder: folder.to_owned(), namespace, started: Vec::new() };
        containerd.wait_ready()?;
        let image = folder.join("image.tar");
        write_image(&image)?;
        containerd.ctr(&["images", "import", &image.to_string_lossy()])?;
        Ok(containerd)
    }

    fn wait_ready(&mut self) -> Result<()> {
        wait_for("containerd", Duration::from_secs(60), || Ok(self.ctr(&["version"]).is_ok().then_some(())))
            .with_context(|| fs::read_to_string(self.folder.join("containerd.log")).unwrap_or_default())
    }

    /// Ends containerd at once; its containers live on.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again after [`Containerd::kill`].
    pub fn restart(&mut self) -> Result<()> {
        self.child = spawn(&self.folder)?;
        self.wait_ready()
    }

    /// The cgroup of a container, as it stands behind the root of each hierarchy.
    pub fn cgroup(&self, name: &str) -> String {
        format!("/{}/{name}", self.namespace)
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("containerd.sock")
    }

    /// Starts a container in the host's network, so that it reaches loopback.
    pub fn run(&mut self, name: &str, options: &[&str], shell: &str) -> Result<()> {
        let mut args = vec!["run", "-d", "--net-host"];
        args.extend(options);
        args.extend([IMAGE, name, "/bin/sh", "-c", shell]);
        self.ctr(&args)?;
        self.started.push(name.to_owned());
        Ok(())
    }

    /// Gives all containers together a share of the processors above that of everything else, so
    /// that a test of what they use does not depend on what else the machine does. What has no such
    /// file goes on as it was. Until the value is dropped.
    pub fn preferred(&self) -> Preferred {
        let files = [
            (format!("/sys/fs/cgroup/cpu/{}/cpu.shares", self.namespace), "262144"),
            (format!("/sys/fs/cgroup/{}/cpu.weight", self.namespace), "10000"),
        ];
        let before = |(file, most): (String, &str)| {
            let before = fs::read_to_string(&file).ok()?;
            fs::write(&file, most).ok().map(|()| (file, before))
        };
        Preferred(files.into_iter().filter_map(before).collect())
    }

    /// Starts a command in a container and does not wait for it.
    pub fn exec(&self, container: &str, id: &str, command: &[&str]) -> Result<Child> {
        let mut ctr = self.ctr_command();
        ctr.args(["tasks", "exec", "--exec-id", id, container]).args(command);
        Ok(ctr.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }

    /// Ends and removes a container.
    pub fn remove(&self, name: &str) {
        let _ = self.ctr(&["tasks", "kill", "-s", "SIGKILL", name]);
        let _ = wait_for("the end of a task", Duration::from_secs(10), || {
            let _ = self.ctr(&["tasks", "delete", name]);
            Ok(self.ctr(&["containers", "delete", name]).is_ok().then_some(()))
        });
    }

    fn ctr_command(&self) -> Command {
        let mut command = program("usr/bin/ctr");
        command.arg("--address").arg(self.socket()).args(["--namespace", &self.namespace]);
        command
    }

    fn ctr(&self, args: &[&str]) -> Result<Output> {
        let out = self.ctr_command().args(args).output()?;
        if !out.status.success() {
            bail!("ctr {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr).trim());
        }
        Ok(out)
    }
}

/// See [`Containerd::preferred`]: files, and what was in them.
pub struct Preferred(Vec<(String, String)>);

impl Drop for Preferred {
    fn drop(&mut self) {
        for (file, before) in &self.0 {
            let _ = fs::write(file, before);
        }
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        for name in &self.started {
            self.remove(name);
        }
        // SIGTERM lets containerd unmount what it mounted.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = wait_for("the end of containerd", Duration::from_secs(10), || Ok(self.child.try_wait()?));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path) -> Result<Child> {
    let log = File::options().create(true).append(true).open(folder.join("containerd.log"))?;
    program("usr/bin/containerd")
        .arg("-c")
        .arg(folder.join("config.toml"))
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start containerd")
}

/// A program of the unpacked tree, with the tree's programs and libraries found first.
pub fn program(path: &str) -> Command {
    let root = parts();
    let mut command = Command::new(root.join(path));
    let system = std::env::var("PATH").unwrap_or_default();
    let folders = ["usr/bin", "usr/sbin", "bin"].map(|f| root.join(f).display().to_string()).join(":");
    command.env("PATH", format!("{folders}:{system}"));
    command.env("LD_LIBRARY_PATH", root.join("usr/lib/x86_64-linux-gnu"));
    command
}

/// Writes [`IMAGE`] as an OCI image layout with one layer.
pub fn write_image(path: &Path) -> Result<()> {
    let layer = layer()?;
    let digest = |bytes: &[u8]| format!("{:x}", Sha256::digest(bytes));
    let layer_digest = digest(&layer);
    let config = serde_json::to_vec(&json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }, "os": "linux",
        "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin:/usr/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                   "digest": format!("sha256:{}", digest(&config)), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": format!("sha256:{layer_digest}"), "size": layer.len()}],
    }))?;
    let index = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
                       "digest": format!("sha256:{}", digest(&manifest)), "size": manifest.len(),
                       "annotations": {"io.containerd.image.name": IMAGE, "org.opencontainers.image.ref.name": IMAGE}}],
    }))?;
    let mut archive = tar::Builder::new(File::create(path)?);
    file(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
    file(&mut archive, "index.json", &index, 0o644)?;
    for blob in [&config, &manifest, &layer] {
        file(&mut archive, &format!("blobs/sha256/{}", digest(blob)), blob, 0o644)?;
    }
    archive.finish()?;
    Ok(())
}

/// The files of [`IMAGE`], as a tar archive.
pub(crate) fn layer() -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for folder in ["bin", "dev", "etc", "lib", "lib64", "proc", "root", "run", "sys", "tmp", "usr", "var"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        archive.append_data(&mut header, folder, std::io::empty())?;
    }
    file(&mut archive, "bin/busybox", &fs::read(parts().join("bin/busybox"))?, 0o755)?;
    file(&mut archive, "bin/bash", &fs::read(parts().join("bin/bash-static"))?, 0o755)?;
    file(&mut archive, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", 0o644)?;
    let applets = Command::new(parts().join("bin/busybox")).arg("--list").output()?;
    for applet in String::from_utf8_lossy(&applets.stdout).lines().filter(|a| *a != "busybox") {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        archive.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    Ok(archive.into_inner()?)
}

fn file(archive: &mut tar::Builder<impl std::io::Write>, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    archive.append_data(&mut header, path, bytes)?;
    Ok(())
}
