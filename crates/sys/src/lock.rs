//! One process a data folder. The kernel drops the lock when the process ends, however it ends.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

/// Why a folder cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process uses the folder.
    #[error("{} is in use by {holder}; stop it, or use another data folder", folder.display())]
    Held {
        /// The folder.
        folder: PathBuf,
        /// `process 12`, or `another process` if its number cannot be read.
        holder: String,
    },
    /// The machine refused.
    #[error("cannot lock {}; check that the folder can be written", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Holds a folder for this process until dropped.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Locks `folder` (which is made if it is not there) through the file `LOCK` in it, and
    /// writes this process' number there. The file stays: removing it would let two processes
    /// hold locks on two files of the same name.
    pub fn acquire(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join("LOCK");
        let io_error = |source| LockError::Io { path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(io_error)?;
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(io_error)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LockError::Held { folder: folder.to_owned(), holder: holder(&mut file) });
            }
            Err(errno) => return Err(io_error(errno.into())),
        }
        file.set_len(0)
            .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()))
            .map_err(io_error)?;
        Ok(Self { _file: file })
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(32).read_to_string(&mut text).map(|_| text.trim().parse::<u32>()) {
        Ok(Ok(pid)) => format!("process {pid}"),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        let lock = FolderLock::acquire(&inner).unwrap();
        let error = FolderLock::acquire(&inner).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, LockError::Held { .. }));
        assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        assert!(text.contains("stop it"), "{text}");
        drop(lock);
        FolderLock::acquire(&inner).unwrap();
        std::fs::write(inner.join("LOCK"), "garbage that is longer than any process number \u{1F600}")
            .unwrap();
        let _lock = FolderLock::acquire(&inner).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let error = FolderLock::acquire(&folder.path().join("file/below")).unwrap_err();
        assert!(matches!(error, LockError::Io { .. }));
        assert!(error.to_string().contains("file/below/LOCK"), "{error}");
    }
}
