//! Files mapped into memory, for reading only.
#![allow(unsafe_code, reason = "a mapping is memory that the kernel fills; each block says why it is sound")]

use std::{fs::File, io, ops::Deref, path::Path, ptr};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

use crate::Map;

/// A mapped file. An empty file has no mapping, as the kernel refuses one of no bytes.
pub(crate) struct Mapped {
    address: *mut core::ffi::c_void,
    length: usize,
}

// SAFETY: the mapping is only read, and belongs to this value until it is dropped.
unsafe impl Send for Mapped {}
// SAFETY: as above; reading from several threads is what shared memory is for.
unsafe impl Sync for Mapped {}

impl Mapped {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if length == 0 {
            return Ok(Self { address: ptr::null_mut(), length });
        }
        // SAFETY: a fresh mapping at a place of the kernel's choice overlaps no other memory.
        let address = unsafe { mmap(ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, &file, 0)? };
        Ok(Self { address, length })
    }
}

impl Map for Mapped {
    fn release(&self) {
        if self.length > 0 {
            // SAFETY: address and length are those of our mapping. Of pages that are only read
            // from a file nothing is lost when the kernel drops them. Should it refuse, they stay.
            let _ = unsafe { madvise(self.address, self.length, Advice::LinuxDontNeed) };
        }
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: the mapping has this length, is readable and lives as long as `self`. The owner
        // of the file promises that nobody writes to it or cuts it (`Fs::map`).
        unsafe { std::slice::from_raw_parts(self.address.cast::<u8>(), self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: no slice of the mapping outlives `self`.
            let _ = unsafe { munmap(self.address, self.length) };
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Fs, RealFs};

    #[test]
    fn a_mapped_file_is_read_in_place_and_outlives_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"seven\0bytes").unwrap();
        let map = RealFs.map(&path).unwrap();
        assert_eq!(&map[..], b"seven\0bytes");
        map.release();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(&map[..5], b"seven");
        std::fs::write(&path, b"").unwrap();
        assert!(RealFs.map(&path).unwrap().is_empty());
        assert!(RealFs.map(&folder.path().join("none")).is_err());
    }
}
