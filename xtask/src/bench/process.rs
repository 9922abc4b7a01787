//! What a process costs, by the kernel's account.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};

/// Ticks of the kernel's accounting, which are 10 ms for every program.
const TICK: Duration = Duration::from_millis(10);

/// A program under test. It is killed when dropped.
pub struct Process(Child);

impl Process {
    /// Starts it, its messages in a file.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let log = fs::File::options().create(true).append(true).open(log)?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        Ok(Self(child.with_context(|| format!("cannot start {}", command.get_program().display()))?))
    }

    /// Ends it as a power failure of its own would.
    pub fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }

    /// User and system time so far: fields 14 and 15 of `/proc/PID/stat`.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let fields = stat.rsplit_once(')').context("a stat line")?.1;
        let ticks: u32 =
            fields.split_whitespace().skip(11).take(2).filter_map(|f| f.parse::<u32>().ok()).sum();
        Ok(TICK * ticks)
    }

    /// Reads of files so far, by the number of system calls.
    pub fn reads(&self) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/io", self.0.id()))?;
        let line = text.lines().find_map(|l| l.strip_prefix("syscr: ")).context("syscr")?;
        Ok(line.parse()?)
    }

    /// Resident bytes.
    pub fn resident(&self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// Resident bytes that no file backs.
    pub fn anonymous(&self) -> Result<u64> {
        self.status("RssAnon:")
    }

    /// Resident bytes that are pages of files: the program's own and those of its libraries.
    pub fn file(&self) -> Result<u64> {
        self.status("RssFile:")
    }

    /// The most bytes that were resident.
    pub fn peak(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    /// Lets the peak begin anew from what is resident now.
    pub fn reset_peak(&self) -> Result<()> {
        let file = format!("/proc/{}/clear_refs", self.0.id());
        fs::write(&file, "5").with_context(|| file)
    }

    fn status(&self, field: &str) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = text.lines().find(|l| l.starts_with(field)).with_context(|| field.to_owned())?;
        let kib: u64 = line.split_whitespace().nth(1).context("a figure")?.parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Bytes of all files below a folder, by their lengths.
pub fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { folder_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
