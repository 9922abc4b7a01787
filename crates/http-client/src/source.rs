//! Texts that are written in the configuration or in files that may change while we run.
//!
//! A file is asked for its stamp each time it is needed and read again when that differs, so a
//! change is seen by the next request.

use std::{
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::Arc,
};

use parking_lot::Mutex;
use vedette_config::SecretSource;
use vedette_sys::Clock;

use crate::{Error, ErrorKind, error::io_text};

/// A secret or a list of certificates is never longer.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// A file may be written twice within one tick of the clock that stamps it. What was read this
/// soon after it was written is read again.
const STAMP_DOUBT_NS: i64 = 2_000_000_000;

/// A text and the last state of its file.
pub(crate) struct Source {
    from: SecretSource,
    clock: Arc<dyn Clock>,
    last: Mutex<Option<(Stamp, Arc<[u8]>)>>,
}

/// What tells two states of a file apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified_ns: i64,
    changed_ns: i64,
    /// Whether it was written so long ago that another write would have another stamp.
    is_settled: bool,
}

impl Source {
    pub(crate) fn new(from: &SecretSource, clock: Arc<dyn Clock>) -> Self {
        Self { from: from.clone(), clock, last: Mutex::new(None) }
    }

    /// The bytes. As long as they are equal it is the same allocation.
    pub(crate) fn bytes(&self) -> Result<Arc<[u8]>, Error> {
        let mut last = self.last.lock();
        match &self.from {
            SecretSource::Inline(secret) => {
                let stamp = Stamp::default_of_text();
                let (_, bytes) = last.get_or_insert_with(|| (stamp, Arc::from(secret.expose().as_bytes())));
                Ok(bytes.clone())
            }
            SecretSource::File(path) => {
                let cannot = |error: &io::Error| {
                    let text = format!("unable to read file {}: {}", path.display(), io_text(error));
                    Error::new(ErrorKind::Config, text)
                };
                let stamp = Stamp::of(path, self.clock.unix_ns()).map_err(|e| cannot(&e))?;
                if let Some((known, bytes)) = &*last
                    && *known == stamp
                    && stamp.is_settled
                {
                    return Ok(bytes.clone());
                }
                let read = read(path).map_err(|e| cannot(&e))?;
                let bytes = match &*last {
                    Some((_, known)) if **known == *read => known.clone(),
                    _ => Arc::from(read),
                };
                *last = Some((stamp, bytes.clone()));
                Ok(bytes)
            }
        }
    }

    /// The text without white space around it, as secrets in files are taken.
    pub(crate) fn text(&self) -> Result<String, Error> {
        let bytes = self.bytes()?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Error::new(ErrorKind::Config, format!("{} is not valid UTF-8", self.name())))?;
        Ok(match self.from {
            SecretSource::Inline(_) => text.to_owned(),
            SecretSource::File(_) => text.trim().to_owned(),
        })
    }

    /// Where it stands, for messages.
    pub(crate) fn name(&self) -> String {
        match &self.from {
            SecretSource::Inline(_) => "the text in the configuration".to_owned(),
            SecretSource::File(path) => path.display().to_string(),
        }
    }
}

impl Stamp {
    fn default_of_text() -> Self {
        Self { device: 0, inode: 0, length: 0, modified_ns: 0, changed_ns: 0, is_settled: true }
    }

    fn of(path: &Path, now_ns: i64) -> io::Result<Self> {
        let data = std::fs::metadata(path)?;
        if !data.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        if data.len() > FILE_BYTES_MAX {
            let reason = format!("it has {} bytes, more than {FILE_BYTES_MAX}", data.len());
            return Err(io::Error::other(reason));
        }
        let ns = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        let changed_ns = ns(data.ctime(), data.ctime_nsec());
        Ok(Self {
            device: data.dev(),
            inode: data.ino(),
            length: data.len(),
            modified_ns: ns(data.mtime(), data.mtime_nsec()),
            changed_ns,
            is_settled: now_ns.saturating_sub(changed_ns) > STAMP_DOUBT_NS,
        })
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use vedette_config::Secret;
    use vedette_sys::SystemClock;

    use super::*;

    #[test]
    fn a_file_is_read_again_when_it_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        let source = Source::new(&SecretSource::File(path.clone()), Arc::new(SystemClock));
        let error = source.text().expect_err("missing").to_string();
        assert!(error.contains("no such file") && error.contains("secret"), "{error}");
        // Of equal length and within one tick of the clock.
        for text in ["one", "two", "six"] {
            std::fs::write(&path, format!(" {text}\n")).expect("written");
            assert_eq!(source.text().expect("read"), text);
        }
        let before = source.bytes().expect("read");
        std::fs::write(&path, " six\n").expect("written");
        assert!(Arc::ptr_eq(&before, &source.bytes().expect("read")), "equal bytes are the same bytes");
    }

    #[test]
    fn what_is_no_file_of_text_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let source = Source::new(&SecretSource::File(folder.path().into()), Arc::new(SystemClock));
        assert!(source.text().expect_err("a folder").to_string().contains("not a regular file"));
        let path = folder.path().join("s");
        std::fs::write(&path, [0xff]).expect("written");
        let source = Source::new(&SecretSource::File(path), Arc::new(SystemClock));
        assert!(source.text().expect_err("no text").to_string().contains("UTF-8"));
        let inline = Source::new(&SecretSource::Inline(Secret::new(" a ")), Arc::new(SystemClock));
        assert_eq!(inline.text().expect("text"), " a ");
    }
}
