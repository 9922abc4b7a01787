//! A small virtual machine: Debian's cloud kernel in a software emulator, with a root of its own in
//! memory. What this machine's kernel does not have is tested there: version 2 of cgroups alone, LVM.
//!
//! Everything that it consists of is unpacked below one folder, which `VEDETTE_GUEST` names. Scripts
//! reach it by a forwarded port on loopback, behind which a web server runs them; nothing outside of
//! this machine reaches it, nor it anything outside.

mod archive;

use std::{
    fs::{self, File},
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};

use self::archive::Archive;
use crate::{http, program::free_port, wait_for};

/// Its own files: the first program, and the door for scripts.
const INIT: &str = include_str!("guest/init.sh");
const DOOR: &str = include_str!("guest/door.sh");

/// Memory, also for all files. Little of it costs little to boot.
const MEMORY_MB: u32 = 1400;
/// What its first program says last.
const UP: &str = "virtual machine: up";
/// How long a script may take where the emulator gets little of the processor.
const SCRIPT: Duration = Duration::from_secs(240);
const BOOT: Duration = Duration::from_secs(180);

/// Kernel modules that are loaded, each after those that it needs.
const MODULES: [&str; 5] = ["virtio_pci", "virtio_net", "overlay", "dm-thin-pool", "loop"];

/// Programs of its tree, with the place that each gets.
const PROGRAMS: [(&str, &str); 3] =
    [("sbin/lvm", "sbin/lvm"), ("sbin/dmsetup", "sbin/dmsetup"), ("usr/sbin/pdata_tools", "sbin/thin_check")];

/// A running virtual machine. It ends when it is dropped.
pub struct Guest {
    child: Child,
    address: SocketAddr,
    console: PathBuf,
}

/// Where its parts are, if they are there.
pub fn tree() -> Option<PathBuf> {
    std::env::var_os("VEDETTE_GUEST").map(PathBuf::from).filter(|path| path.is_dir())
}

impl Guest {
    /// Boots it with these further files: place inside, and file of this machine. Programs bring
    /// their libraries.
    pub fn start(folder: &Path, files: &[(&str, PathBuf)]) -> Result<Self> {
        let tree = tree().context("VEDETTE_GUEST names no folder")?;
        let root = folder.join("root.cpio");
        write_root(&tree, &root, files)?;
        let console = folder.join("console.log");
        let log = File::create(&console)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let forward = format!("user,id=net,restrict=on,hostfwd=tcp:{address}-10.0.2.15:80");
        let mut emulator = Command::new(loader(&tree));
        emulator.arg("--library-path").arg(libraries(&tree)).arg(tree.join("usr/bin/qemu-system-x86_64"));
        for firmware in ["usr/share/qemu", "usr/share/seabios"] {
            emulator.arg("-L").arg(tree.join(firmware));
        }
        emulator.env("QEMU_MODULE_DIR", tree.join("usr/lib/x86_64-linux-gnu/qemu"));
        emulator.args(["-accel", "tcg", "-cpu", "max", "-m", &MEMORY_MB.to_string()]);
        emulator.args(["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"]);
        emulator.args(["-netdev", &forward, "-device", "virtio-net-pci,netdev=net,romfile="]);
        emulator.arg("-kernel").arg(kernel(&tree)?).arg("-initrd").arg(&root);
        emulator.args(["-append", "console=ttyS0 quiet panic=-1 rdinit=/init psi=1 mitigations=off"]);
        let child = emulator
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the emulator")?;
        let mut guest = Self { child, address, console };
        wait_for("the virtual machine", BOOT, || {
            if let Some(status) = guest.child.try_wait()? {
                return Ok(Some(Err(anyhow!("it ended ({status})"))));
            }
            // Before it is up, a connection would be taken for it and wait.
            Ok((guest.console().contains(UP) && guest.run("true").is_ok()).then_some(Ok(())))
        })
        .and_then(|ended| ended)
        .with_context(|| guest.console())?;
        Ok(guest)
    }

    /// Runs a script inside and gives what it printed; fails where the script does.
    pub fn run(&self, script: &str) -> Result<String> {
        let request = format!(
            "POST /cgi-bin/door HTTP/1.0\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{script}",
            script.len()
        );
        let text = http::request_within(self.address, &request, SCRIPT)?.text();
        let (printed, status) = text.rsplit_once("status ").context("the script did not end")?;
        ensure!(status.trim() == "0", "`{script}` ended with {}: {printed}", status.trim());
        Ok(printed.to_owned())
    }

    /// What came on its console.
    pub fn console(&self) -> String {
        fs::read(&self.console).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The root of the virtual machine, as an archive that its kernel unpacks.
fn write_root(tree: &Path, path: &Path, files: &[(&str, PathBuf)]) -> Result<()> {
    let mut archive = Archive::create(path)?;
    archive.file("init", 0o755, INIT.as_bytes())?;
    archive.file("www/cgi-bin/door", 0o755, DOOR.as_bytes())?;
    let release = modules_folder(tree)?;
    let mut order = Vec::new();
    for module in MODULES {
        add_module(&release, module, &mut order)?;
    }
    for path in &order {
        archive.copy(&format!("modules/{}", file_name(path)?), 0o644, path)?;
    }
    let names = order.iter().map(|p| Ok(file_name(p)? + "\n")).collect::<Result<String>>()?;
    archive.file("modules/order", 0o644, names.as_bytes())?;
    let own = PROGRAMS.map(|(from, to)| (to, tree.join(from)));
    let mut needed = vec![loader(tree)];
    for (to, from) in own.iter().chain(files) {
        let mode = fs::metadata(from).with_context(|| from.display().to_string())?.permissions().mode();
        archive.copy(to, mode & 0o777, from)?;
        if mode & 0o111 != 0 {
            needed.extend(libraries_of(tree, from)?);
        }
    }
    needed.sort();
    needed.dedup();
    for library in &needed {
        let name = file_name(library)?;
        let folder = if name.starts_with("ld-linux") { "lib64" } else { "lib/x86_64-linux-gnu" };
        archive.copy(&format!("{folder}/{name}"), 0o755, library)?;
    }
    archive.finish()
}

fn file_name(path: &Path) -> Result<String> {
    Ok(path.file_name().context("a path without a name")?.to_string_lossy().into_owned())
}

fn loader(tree: &Path) -> PathBuf {
    tree.join("lib64/ld-linux-x86-64.so.2")
}

fn libraries(tree: &Path) -> String {
    ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"].map(|f| tree.join(f).display().to_string()).join(":")
}

/// The libraries that a program loads; none of one that is linked statically.
fn libraries_of(tree: &Path, program: &Path) -> Result<Vec<PathBuf>> {
    let listed = Command::new(loader(tree))
        .arg("--library-path")
        .arg(libraries(tree))
        .arg("--list")
        .arg(program)
        .output()?;
    let text = String::from_utf8_lossy(&listed.stdout);
    if let Some(missing) = text.lines().find(|line| line.contains("not found")) {
        bail!("{}: {}", program.display(), missing.trim());
    }
    let path = |line: &str| Some(PathBuf::from(line.split_once("=> ")?.1.split_whitespace().next()?));
    Ok(text.lines().filter_map(path).filter(|p| p.is_absolute()).collect())
}

fn kernel(tree: &Path) -> Result<PathBuf> {
    let mut files = fs::read_dir(tree.join("boot"))?.filter_map(|e| Some(e.ok()?.path()));
    files
        .find(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("vmlinuz-")))
        .context("the tree holds no kernel")
}

fn modules_folder(tree: &Path) -> Result<PathBuf> {
    let mut folders = fs::read_dir(tree.join("lib/modules"))?.filter_map(|e| Some(e.ok()?.path()));
    folders.next().context("the kernel has no modules")
}

/// Adds a module behind those that it needs; what is built in has no file.
fn add_module(release: &Path, name: &str, order: &mut Vec<PathBuf>) -> Result<()> {
    let Some(path) = find_module(&release.join("kernel"), name)? else { return Ok(()) };
    if order.contains(&path) {
        return Ok(());
    }
    let bytes = fs::read(&path)?;
    // The module's own list: `depends=` and names between commas, ended by a zero.
    let mark = b"\0depends=";
    let at = bytes.windows(mark.len()).position(|w| w == mark).with_context(|| path.display().to_string())?;
    let list = bytes[at + mark.len()..].split(|&b| b == 0).next().unwrap_or_default();
    for needed in String::from_utf8_lossy(list).split(',').filter(|n| !n.is_empty()) {
        add_module(release, needed, order)?;
    }
    order.push(path);
    Ok(())
}

fn find_module(folder: &Path, name: &str) -> Result<Option<PathBuf>> {
    // A name is written with either dash in one place and in another.
    let plain = |text: &str| text.replace('-', "_");
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(found) = find_module(&path, name)? {
                return Ok(Some(found));
            }
        } else if file_name(&path)?.strip_suffix(".ko").is_some_and(|n| plain(n) == plain(name)) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// A copy of a program without what only debuggers read, where that can be taken out.
pub fn slim(program: &Path, folder: &Path) -> Result<PathBuf> {
    let to = folder.join(program.file_name().context("a program without a name")?);
    let stripped = Command::new("strip").arg("-o").arg(&to).arg(program).status();
    if stripped.is_ok_and(|s| s.success()) { Ok(to) } else { Ok(program.to_owned()) }
}

/// Bytes with what makes them a multiple of four.
fn padded(out: &mut impl Write, length: usize) -> std::io::Result<()> {
    out.write_all(&[0; 3][..length.wrapping_neg() % 4])
}
