//! Unpacks the text archives in which node_exporter keeps trees of files.
//!
//! `Directory: P` is a folder; `Path: P` begins a file, `Lines: N` gives its lines and `SymlinkTo: T`
//! makes a link of it. In a file `NULLBYTE` stands for a byte of zero, and `EOF` at its end for a last
//! line without an end.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

pub fn unpack(archive: &[u8], to: &Path) -> io::Result<()> {
    let mut lines = archive.split(|b| *b == b'\n');
    let mut path = PathBuf::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    while let Some(line) = lines.next() {
        if let Some(folder) = line.strip_prefix(b"Directory: ") {
            fs::create_dir_all(to.join(text(folder)))?;
        } else if let Some(file) = line.strip_prefix(b"Path: ") {
            path = to.join(text(file));
            fs::create_dir_all(path.parent().unwrap_or(to))?;
        } else if let Some(target) = line.strip_prefix(b"SymlinkTo: ") {
            symlink(text(target), &path)?;
        } else if let Some(count) = line.strip_prefix(b"Lines: ") {
            let count = text(count).trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
            let mut content = Vec::new();
            for line in lines.by_ref().take(count) {
                content.extend_from_slice(line);
                content.push(b'\n');
            }
            let content = replace(&replace(&content, b"NULLBYTE", b"\0"), b"EOF\n", b"");
            fs::write(&path, content)?;
        }
    }
    Ok(())
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        if let Some(tail) = rest.strip_prefix(from) {
            out.extend_from_slice(to);
            rest = tail;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}
