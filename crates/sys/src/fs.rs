//! Files, as the stores need them: append, read at a place, sync, rename, list, lock.

use std::{
    fs::OpenOptions,
    io,
    ops::Deref,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::map::Mapped;

/// An open file.
pub trait File: Send + Sync {
    /// Writes all of `bytes` at the end. When this returns, the bytes have been handed to the
    /// kernel by write(2) and survive the end of this process.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Fills `buffer` from `offset`; fails with `UnexpectedEof` if the file is shorter.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Makes everything written so far survive a loss of power.
    fn sync(&self) -> io::Result<()>;

    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no byte.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file to `length` bytes.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// The bytes of a file that is never written again, read where they are.
pub trait Map: Deref<Target = [u8]> + Send + Sync {
    /// Lets go of the memory behind the bytes; they are read anew when they are looked at next.
    fn release(&self) {}
}

/// A copy in memory is a map too.
impl Map for Vec<u8> {}

/// A file system.
pub trait Fs: Send + Sync {
    /// Opens a file for appending and reading; creates it if it is not there.
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Opens a file for reading.
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The whole content of a file that nobody writes to or cuts any more, without copying it if
    /// the file system can do that. The bytes stay when the file is removed.
    fn map(&self, path: &Path) -> io::Result<Arc<dyn Map>> {
        Ok(Arc::new(self.read(path)?))
    }

    /// Moves a file over another, at once, and syncs the folder. A folder may be moved too, to a
    /// name that is free.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file another name beside the one that it has, of which it is the same file. Fails
    /// where the file system cannot do that; folders are not synced.
    fn link(&self, path: &Path, other: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder and all below it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Makes a folder and those above it; those it makes survive a loss of power.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Names of the entries of a folder, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// Makes entries of a folder survive a loss of power.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Whether a file or folder is there.
    fn exists(&self, path: &Path) -> bool;

    /// Bytes free to this process on the file system that holds `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// The machine's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFs;

impl File for std::fs::File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(self, bytes)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

impl Fs for RealFs {
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(OpenOptions::new().create(true).read(true).append(true).open(path)?))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(OpenOptions::new().read(true).open(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn map(&self, path: &Path) -> io::Result<Arc<dyn Map>> {
        Ok(Arc::new(Mapped::open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)?;
        to.parent().map_or(Ok(()), |folder| self.sync_dir(folder))
    }

    fn link(&self, path: &Path, other: &Path) -> io::Result<()> {
        std::fs::hard_link(path, other)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let missing: Vec<&Path> =
            path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).collect();
        std::fs::create_dir_all(path)?;
        for parent in missing.iter().filter_map(|folder| folder.parent()) {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            match self.sync_dir(parent) {
                // Whoever may write in a folder need not be allowed to open it.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                synced => synced?,
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut names = std::fs::read_dir(path)?.map(|e| Ok(e?.path())).collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::File::open(path)?.sync_all()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}
