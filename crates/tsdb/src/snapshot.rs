//! Snapshots: a folder that opens as a store and answers as this one did at one moment.
//!
//! What is sealed never changes, and neither does a file of the log that was ended: so a snapshot
//! is made of further names of the same files. It takes no room until the store lets go of them,
//! and no time. Where the file system cannot give a file a second name it is copied.
//!
//! Invariants: the folder has its name only when it is complete and synced; nothing is sealed,
//! merged, deleted or removed meanwhile, and appends wait for no more than the end of the logs.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use vedette_sys::Fs;

use crate::{Error, Store, deletions::Deletions, store::io_error};

/// Bytes copied between two writes.
const COPY_BYTES: usize = 1 << 20;

/// What a snapshot is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshotted {
    /// Segments.
    pub segments: u64,
    /// Files of rollups.
    pub rollups: u64,
    /// Files of the write-ahead log.
    pub log_files: u64,
    /// Size of all files.
    pub bytes: u64,
    /// How much of that had to be copied.
    pub bytes_copied: u64,
}

impl Store {
    /// Makes a snapshot in `folder`, which is not there yet. With `skip_head` what is not sealed
    /// is left out: the last ten minutes or so, samples that came late, and the metadata.
    pub fn snapshot(&self, folder: &Path, skip_head: bool) -> Result<Snapshotted, Error> {
        let name = folder.file_name().and_then(|n| n.to_str());
        let (Some(parent), Some(name)) = (folder.parent(), name) else {
            let reason = format!("{} is no name for a snapshot; give a folder", folder.display());
            return Err(Error::Invalid { reason });
        };
        let _maintenance = self.maintenance.lock();
        if self.fs.exists(folder) {
            let reason = format!("{} is there already; give another name to the snapshot", folder.display());
            return Err(Error::Invalid { reason });
        }
        let temporary = parent.join(format!("{name}.tmp"));
        if self.fs.exists(&temporary) {
            // A crash kept an earlier one from being complete.
            self.fs.remove_dir_all(&temporary).map_err(|e| io_error("remove", &temporary, e))?;
        }
        let made = self.fill_snapshot(&temporary, skip_head).and_then(|made| {
            let renamed = self.fs.rename(&temporary, folder);
            renamed.map(|()| made).map_err(|e| io_error("name the snapshot", folder, e))
        });
        if made.is_err() {
            // What cannot be removed now is removed before the next snapshot of this name.
            let _ = self.fs.remove_dir_all(&temporary);
        }
        made
    }

    fn fill_snapshot(&self, folder: &Path, skip_head: bool) -> Result<Snapshotted, Error> {
        let mut files =
            Files { fs: &*self.fs, made: Snapshotted::default(), folders: vec![folder.to_owned()] };
        let segments = folder.join("segments");
        files.make_folder(&segments)?;
        let logs = if skip_head { Vec::new() } else { self.end_logs_to_link()? };
        let mut deletions = Deletions::clone(&self.deletions.read());
        for segment in Arc::clone(&self.segments.read()).iter() {
            files.take(&segment.path, &segments)?;
            files.made.segments += 1;
        }
        let rollups = folder.join("rollups");
        files.make_folder(&rollups)?;
        for file in Arc::clone(&self.rollups.read()).iter() {
            files.take(&file.path, &rollups)?;
            files.made.rollups += 1;
        }
        let wal = folder.join("wal");
        let linked: Vec<u32> = logs.iter().map(|(number, _)| *number).collect();
        if !logs.is_empty() {
            files.make_folder(&wal)?;
        }
        for (number, paths) in logs {
            let log = wal.join(number.to_string());
            files.make_folder(&log)?;
            for path in paths {
                files.take(&path, &log)?;
                files.made.log_files += 1;
            }
        }
        // A log that the snapshot has not begins anew, with numbers that it had already.
        deletions.list.iter_mut().for_each(|d| d.logs.retain(|(log, _)| linked.contains(log)));
        deletions
            .save(&*self.fs, folder)
            .map_err(|e| io_error("write the list of deletions in", folder, e))?;
        files.sync_folders()?;
        Ok(files.made)
    }

    /// Ends the files of all logs at one moment. Gives those that there are by then.
    fn end_logs_to_link(&self) -> Result<Vec<(u32, Vec<PathBuf>)>, Error> {
        let mut appenders = self.lock_appenders();
        let ended = self.end_logs(&mut appenders)?;
        let files_of = |(number, _last): (u32, u64)| {
            let folder = self.config.folder.join("wal").join(number.to_string());
            let files = self.fs.list(&folder).map_err(|e| io_error("list", &folder, e))?;
            Ok((number, files.into_iter().filter(|p| p.extension().is_some_and(|e| e == "log")).collect()))
        };
        ended.into_iter().map(files_of).collect()
    }
}

/// Files that are gathered in a snapshot.
struct Files<'a> {
    fs: &'a dyn Fs,
    made: Snapshotted,
    folders: Vec<PathBuf>,
}

impl Files<'_> {
    fn make_folder(&mut self, folder: &Path) -> Result<(), Error> {
        self.fs.create_dir_all(folder).map_err(|e| io_error("make", folder, e))?;
        self.folders.push(folder.to_owned());
        Ok(())
    }

    /// Gives a file a name in a folder of the snapshot too, or copies it there.
    fn take(&mut self, path: &Path, folder: &Path) -> Result<(), Error> {
        let Some(name) = path.file_name() else { return Ok(()) };
        let target = folder.join(name);
        let bytes = if self.fs.link(path, &target).is_ok() {
            self.fs.open_read(path).and_then(|file| file.len())
        } else {
            let copied = self.copy(path, &target);
            self.made.bytes_copied += copied.as_ref().copied().unwrap_or(0);
            copied
        };
        self.made.bytes += bytes.map_err(|e| io_error("copy into the snapshot", path, e))?;
        Ok(())
    }

    fn copy(&self, path: &Path, target: &Path) -> io::Result<u64> {
        let from = self.fs.open_read(path)?;
        let length = from.len()?;
        let mut to = self.fs.open_append(target)?;
        to.truncate(0)?;
        let mut buffer = vec![0; COPY_BYTES.min(usize::try_from(length).unwrap_or(COPY_BYTES))];
        let mut at = 0;
        while at < length {
            let part = buffer.len().min(usize::try_from(length - at).unwrap_or(COPY_BYTES));
            from.read_exact_at(&mut buffer[..part], at)?;
            to.append(&buffer[..part])?;
            at += part as u64;
        }
        to.sync()?;
        Ok(length)
    }

    /// Makes all names survive a loss of power, those deepest down first.
    fn sync_folders(&self) -> Result<(), Error> {
        for folder in self.folders.iter().rev() {
            self.fs.sync_dir(folder).map_err(|e| io_error("sync", folder, e))?;
        }
        Ok(())
    }
}
