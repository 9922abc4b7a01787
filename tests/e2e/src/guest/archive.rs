//! The archive from which a kernel fills its first root: cpio in its "new ASCII" form.
//!
//! Each entry is a header of thirteen numbers in eight hexadecimal digits, a name and the bytes, both
//! filled up to a multiple of four. Folders come before what lies in them.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result};

use super::padded;

const FOLDER: u32 = 0o040_755;
const REGULAR: u32 = 0o100_000;
const END: &str = "TRAILER!!!";

/// An archive that is written.
pub struct Archive {
    out: BufWriter<File>,
    folders: BTreeSet<String>,
    entries: u32,
}

impl Archive {
    pub fn create(path: &Path) -> Result<Self> {
        Ok(Self { out: BufWriter::new(File::create(path)?), folders: BTreeSet::new(), entries: 0 })
    }

    /// A file with these bytes, and the folders that it lies in.
    pub fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        for (at, _) in path.match_indices('/') {
            if self.folders.insert(path[..at].to_owned()) {
                self.entry(&path[..at], FOLDER, &[])?;
            }
        }
        self.entry(path, REGULAR | mode, bytes)
    }

    /// A file as it is on this machine.
    pub fn copy(&mut self, path: &str, mode: u32, from: &Path) -> Result<()> {
        self.file(path, mode, &fs::read(from).with_context(|| from.display().to_string())?)
    }

    pub fn finish(mut self) -> Result<()> {
        self.entry(END, 0, &[])?;
        Ok(self.out.flush()?)
    }

    fn entry(&mut self, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        self.entries += 1;
        let length = u32::try_from(bytes.len()).context("a file is too long")?;
        // Number, mode, owner, group, links, time, length, four numbers of devices, length of the
        // name with its zero, check sum.
        let name_length = name.len() as u32 + 1;
        let numbers = [self.entries, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, name_length, 0];
        let header: String = numbers.iter().map(|n| format!("{n:08X}")).collect();
        write!(self.out, "070701{header}{name}\0")?;
        padded(&mut self.out, 6 + header.len() + name_length as usize)?;
        self.out.write_all(bytes)?;
        Ok(padded(&mut self.out, bytes.len())?)
    }
}
