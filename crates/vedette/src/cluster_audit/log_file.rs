//! A log that others write, line by line: followed over rotation, and from where it was left over restarts.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use vedette_k8s::audit::RECORD_BYTES_MAX;

/// Bytes of one reading.
const BLOCK_BYTES: usize = 1 << 20;
/// A buffer that a long line needed is given back above this.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// Files of before a restart that are read at most.
const EARLIER_MAX: usize = 100;

/// The log, and how far it was read.
pub(super) struct LogFile {
    path: PathBuf,
    /// Files that were rotated away while the program did not run, the oldest first.
    earlier: VecDeque<PathBuf>,
    open: Option<Open>,
    block: Vec<u8>,
    /// The beginning of a line whose end is not there yet.
    rest: Vec<u8>,
    /// Whether the end of a line that is too long is still to come.
    skips: bool,
    too_long: u64,
}

struct Open {
    file: File,
    /// What tells the file from others: device and inode. None for those of before the start.
    id: Option<(u64, u64)>,
    offset: u64,
    /// Whether there was another file in its place when it was looked at last.
    is_replaced: bool,
}

impl LogFile {
    /// The log of that path. What was written since a time (since 1970) is looked for in rotated files, too; without a
    /// time, the log is read from the beginning of the file that is there.
    pub(super) fn new(path: PathBuf, since: Option<Duration>) -> Self {
        let earlier = since.map_or_else(VecDeque::new, |since| earlier(&path, since));
        let block = vec![0; BLOCK_BYTES];
        Self { path, earlier, open: None, block, rest: Vec::new(), skips: false, too_long: 0 }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Lines that were too long since the last question.
    pub(super) fn take_too_long(&mut self) -> u64 {
        std::mem::take(&mut self.too_long)
    }

    /// Reads some lines on. Whether there may be more.
    pub(super) fn read(&mut self, mut on_line: impl FnMut(&[u8])) -> io::Result<bool> {
        if self.open.is_none() {
            self.open = Some(self.next_file()?);
        }
        let Some(open) = &mut self.open else { return Ok(false) };
        let mut block = std::mem::take(&mut self.block);
        let read = open.file.read(&mut block);
        if let Ok(count) = read {
            open.offset += count as u64;
            self.take(&block[..count], &mut on_line);
        }
        self.block = block;
        if read? > 0 {
            return Ok(true);
        }
        self.at_end(&mut on_line)
    }

    /// Nothing more is there now. Whether another file is to be read.
    fn at_end(&mut self, on_line: &mut impl FnMut(&[u8])) -> io::Result<bool> {
        let Some(open) = &mut self.open else { return Ok(false) };
        // Of an earlier file all is read. Of one that was replaced the writer may have written more before that.
        let is_over = open.id.is_none() || open.is_replaced;
        if is_over {
            if !self.rest.is_empty() && !self.skips {
                on_line(&self.rest);
            }
            (self.open, self.skips) = (None, false);
            self.rest.clear();
            return Ok(true);
        }
        match std::fs::metadata(&self.path) {
            Ok(now) if Some((now.dev(), now.ino())) != open.id => {
                open.is_replaced = true;
                Ok(true)
            }
            // Somebody cut it: it begins anew.
            Ok(now) if now.len() < open.offset => {
                open.file.seek(SeekFrom::Start(0))?;
                open.offset = 0;
                (self.skips, self.rest) = (false, Vec::new());
                Ok(true)
            }
            Ok(_) => Ok(false),
            // Moved away, and the new one is not there yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn next_file(&mut self) -> io::Result<Open> {
        while let Some(path) = self.earlier.pop_front() {
            match File::open(&path) {
                Ok(file) => return Ok(Open { file, id: None, offset: 0, is_replaced: false }),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "an earlier audit log is left out");
                }
            }
        }
        // Asked before it is opened, as that waits for whoever writes to a pipe.
        if !std::fs::metadata(&self.path)?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let file = File::open(&self.path)?;
        let told = file.metadata()?;
        Ok(Open { file, id: Some((told.dev(), told.ino())), offset: 0, is_replaced: false })
    }

    fn take(&mut self, block: &[u8], on_line: &mut impl FnMut(&[u8])) {
        for piece in block.split_inclusive(|byte| *byte == b'\n') {
            let is_end = piece.ends_with(b"\n");
            if self.skips {
                self.skips = !is_end;
            } else if self.rest.len() + piece.len() > RECORD_BYTES_MAX {
                self.too_long += 1;
                self.skips = !is_end;
                self.rest = Vec::new();
            } else if !is_end {
                self.rest.extend_from_slice(piece);
            } else if self.rest.is_empty() {
                hand_on(piece, on_line);
            } else {
                self.rest.extend_from_slice(piece);
                hand_on(&self.rest, on_line);
                self.rest.clear();
                self.rest.shrink_to(KEPT_BYTES_MAX);
            }
        }
    }
}

fn hand_on(line: &[u8], on_line: &mut impl FnMut(&[u8])) {
    let line = line.trim_ascii();
    if !line.is_empty() {
        on_line(line);
    }
}

/// Files beside a log that an API server (`audit-TIME.log`) or `logrotate` (`audit.log.1`, `audit.log-DATE`) made of it
/// and that were written to since a time.
fn earlier(path: &Path, since: Duration) -> VecDeque<PathBuf> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return VecDeque::new();
    };
    let (stem, ending) = name.rsplit_once('.').map_or((name, ""), |(stem, ending)| (stem, ending));
    let is_of_log = |other: &str| {
        let by_server = other.strip_prefix(stem).and_then(|rest| rest.strip_suffix(ending));
        let by_logrotate = other.strip_prefix(name);
        by_server.is_some_and(|rest| rest.starts_with('-'))
            || by_logrotate.is_some_and(|rest| rest.starts_with(['.', '-']) && !rest.ends_with(".gz"))
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut found: Vec<(Duration, PathBuf)> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            if !is_of_log(entry.file_name().to_str()?) {
                return None;
            }
            let told = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            let written = told.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            (written >= since).then(|| (written, entry.path()))
        })
        .collect();
    found.sort();
    let left_out = found.len().saturating_sub(EARLIER_MAX);
    found.into_iter().skip(left_out).map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests;
