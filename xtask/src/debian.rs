//! Programs from Debian's packages that tests run against.
//!
//! Most are unpacked below `target/peers/debian`, so that no package starts a daemon or changes
//! the machine. A program with many libraries (the browser) is installed, when this may be done.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::run::{check, output, target};

/// Packages that are unpacked, all together into one tree.
const UNPACKED: &[&str] = &[
    "containerd",
    "etcd-server",
    "runc",
    "docker.io",
    "libdevmapper1.02.1",
    "libseccomp2",
    "busybox-static",
    "bash-static",
    "python3-minimal",
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libc6",
    "zlib1g",
    "libexpat1",
    "prometheus",
    "prometheus-alertmanager",
    "prometheus-blackbox-exporter",
    "prometheus-node-exporter",
    "victoria-metrics",
    "influxdb",
    "redis-server",
    "redis-tools",
    "libjemalloc2",
    "liblzf1",
];

/// Programs that must be installed, with the package of each.
const INSTALLED: &[(&str, &str)] = &[("chromium", "chromium"), ("ip", "iproute2")];

/// What is there after [`prepare`].
pub struct Parts {
    /// Root of the unpacked tree.
    pub root: PathBuf,
    /// What could not be had, with the line that gets it.
    pub missing: Vec<String>,
}

/// Unpacks and installs what is not there yet.
pub fn prepare() -> Result<Parts> {
    let (root, mut missing) = unpacked(UNPACKED)?;
    let absent: Vec<&str> =
        INSTALLED.iter().filter(|(p, _)| !on_path(p)).map(|(_, package)| *package).collect();
    if !absent.is_empty() && install(&absent).is_err() {
        missing.push(format!("apt-get install -y --no-install-recommends {}", absent.join(" ")));
    }
    for line in &missing {
        eprintln!("missing for some tests; run as root: {line}");
    }
    Ok(Parts { root, missing })
}

/// Unpacks those packages that are not there yet. Gives the root of the tree, and the lines that
/// get what could not be had.
pub fn unpacked(packages: &[&str]) -> Result<(PathBuf, Vec<String>)> {
    unpacked_below(&target().join("peers/debian"), packages)
}

/// The same with a tree of one's own.
pub fn unpacked_below(root: &Path, packages: &[&str]) -> Result<(PathBuf, Vec<String>)> {
    fs::create_dir_all(root)?;
    let wanted: Vec<&str> = packages.iter().copied().filter(|p| !stamp(root, p).exists()).collect();
    let mut missing = Vec::new();
    if !wanted.is_empty()
        && let Err(error) = unpack(root, &wanted)
    {
        eprintln!("cannot unpack all of Debian's packages: {error:#}");
        let absent: Vec<&str> = wanted.into_iter().filter(|package| !stamp(root, package).exists()).collect();
        missing.push(format!("apt-get update && apt-get download {}", absent.join(" ")));
    }
    Ok((root.to_owned(), missing))
}

/// Unpacks one package, if it is not there yet; gives the root of the tree.
pub fn package(name: &str) -> Result<PathBuf> {
    let (root, missing) = unpacked(&[name])?;
    missing.is_empty().then_some(root).with_context(|| format!("needs Debian's package {name}"))
}

fn stamp(root: &Path, package: &str) -> PathBuf {
    root.join(format!(".unpacked-{package}"))
}

fn unpack(root: &Path, packages: &[&str]) -> Result<()> {
    let cache = root.join(".cache");
    fs::create_dir_all(&cache)?;
    let mut absent = Vec::new();
    for &package in packages {
        if download(&cache, package).is_err() {
            check(as_root()?.args(["apt-get", "update"]))?;
            if let Err(error) = download(&cache, package) {
                // The others are of use without it.
                absent.push(format!("{package}: {error:#}"));
                continue;
            }
        }
        let file = fs::read_dir(&cache)?
            .filter_map(|e| Some(e.ok()?.path()))
            .find(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&format!("{package}_"))))
            .with_context(|| format!("no package file of {package} came"))?;
        check(Command::new("dpkg").arg("-x").arg(&file).arg(root))?;
        fs::write(stamp(root, package), file.file_name().unwrap_or_default().as_encoded_bytes())?;
    }
    ensure!(absent.is_empty(), "{}", absent.join("; "));
    Ok(())
}

fn download(cache: &Path, package: &str) -> Result<()> {
    // As root apt drops its rights for a download, which needs a folder open to its own user.
    output(
        Command::new("apt-get")
            .args(["-o", "APT::Sandbox::User=root", "download", package])
            .current_dir(cache),
    )
    .map(drop)
}

fn install(packages: &[&str]) -> Result<()> {
    let run = || -> Result<()> {
        check(
            as_root()?
                .args(["apt-get", "install", "-y", "--no-install-recommends"])
                .args(packages)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
    };
    run().or_else(|_| {
        check(as_root()?.args(["apt-get", "update"]))?;
        run()
    })
}

/// `env`, with root's rights: as we are, or by sudo where it asks for no password.
fn as_root() -> Result<Command> {
    if output(Command::new("id").arg("-u"))?.trim() == "0" {
        return Ok(Command::new("env"));
    }
    output(Command::new("sudo").args(["-n", "true"])).context("neither root nor sudo without a password")?;
    let mut command = Command::new("sudo");
    command.args(["-n", "env"]);
    Ok(command)
}

fn on_path(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|p| p.join(program).is_file()))
        || ["/usr/sbin", "/sbin"].iter().any(|p| Path::new(p).join(program).is_file())
}
