//! The files that tell of queries: which run now, so that after a crash it is known which did, and
//! on demand all that ran.
//!
//! The file of those that run has slots of one size, each a line or spaces. A query takes one write
//! when it begins and one when it is over, neither of which waits for the disk: the file is for
//! the end of the process, not of the machine.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use vedette_api::QueryLog;

/// Bytes of a slot, its line break included.
const SLOT_BYTES: usize = 1024;

/// The most slots there may be.
const SLOTS_MAX: usize = 1024;

/// The files.
pub struct QueryFiles {
    active: File,
    log: Option<Mutex<File>>,
    interrupted: Vec<String>,
    failed: AtomicBool,
}

impl QueryFiles {
    /// Opens the files, and reads what ran when the process before ended.
    pub fn open(active: &Path, log: Option<&Path>) -> io::Result<Self> {
        let interrupted = fs::read(active).map_or_else(|_| Vec::new(), |bytes| interrupted(&bytes));
        for line in &interrupted {
            tracing::warn!(query = line, "this query ran when the process ended the last time");
        }
        let private = |options: &mut OpenOptions, path: &Path| {
            std::os::unix::fs::OpenOptionsExt::mode(options, 0o600).open(path)
        };
        let log = log.map(|path| private(OpenOptions::new().create(true).append(true), path)).transpose()?;
        Ok(Self {
            active: private(OpenOptions::new().create(true).write(true).truncate(true), active)?,
            log: log.map(Mutex::new),
            interrupted,
            failed: AtomicBool::new(false),
        })
    }

    fn put(&self, number: usize, line: &[u8]) {
        if number >= SLOTS_MAX {
            return;
        }
        let mut slot = [b' '; SLOT_BYTES];
        let length = line.len().min(SLOT_BYTES - 1);
        slot[..length].copy_from_slice(&line[..length]);
        slot[SLOT_BYTES - 1] = b'\n';
        self.judge(self.active.write_all_at(&slot, (number * SLOT_BYTES) as u64));
    }

    /// Tells of the first failure in a row: a full disk must not fill the log of messages too.
    fn judge(&self, result: io::Result<()>) {
        let failed = result.is_err();
        if !self.failed.swap(failed, Ordering::Relaxed)
            && let Err(error) = result
        {
            tracing::warn!(%error, "cannot write down which queries run; they go on");
        }
    }
}

/// What stands in the slots. Whatever the file holds, it is shown as text and bounded.
fn interrupted(bytes: &[u8]) -> Vec<String> {
    let slots = bytes.chunks(SLOT_BYTES).take(SLOTS_MAX);
    let texts = slots.map(|slot| String::from_utf8_lossy(slot).trim_matches([' ', '\n', '\0']).to_owned());
    texts.filter(|text| !text.is_empty()).collect()
}

impl QueryLog for QueryFiles {
    fn begun(&self, number: usize, line: &[u8]) {
        self.put(number, line);
    }

    fn ended(&self, number: usize) {
        self.put(number, b"");
    }

    fn wants_all(&self) -> bool {
        self.log.is_some()
    }

    fn log(&self, line: &[u8]) {
        if let Some(log) = &self.log {
            let line = [line, b"\n"].concat();
            self.judge(io::Write::write_all(&mut *log.lock().unwrap_or_else(PoisonError::into_inner), &line));
        }
    }

    fn interrupted(&self) -> Vec<String> {
        self.interrupted.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ran_at_the_end_is_known_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let (active, log) = (folder.path().join("active"), folder.path().join("log"));
        let files = QueryFiles::open(&active, Some(&log)).unwrap();
        assert!(files.wants_all() && files.interrupted().is_empty());
        files.begun(0, b"{\"query\":\"a\"}");
        files.begun(1, b"{\"query\":\"b\"}");
        files.begun(2, "ä".repeat(SLOT_BYTES).as_bytes());
        files.begun(usize::MAX, b"too many");
        files.ended(0);
        files.log(b"one");
        files.log(b"two");
        drop(files);
        let files = QueryFiles::open(&active, None).unwrap();
        assert!(!files.wants_all());
        let ran = files.interrupted();
        assert_eq!((ran.len(), ran[0].as_str()), (2, "{\"query\":\"b\"}"));
        assert!(ran[1].starts_with("ää"));
        assert_eq!(fs::read_to_string(&log).unwrap(), "one\ntwo\n");
        drop(files);
        assert!(QueryFiles::open(&active, None).unwrap().interrupted().is_empty(), "it is told of once");
        fs::write(&active, [0xFF; 5000]).unwrap();
        assert_eq!(QueryFiles::open(&active, None).unwrap().interrupted().len(), 5);
    }
}
