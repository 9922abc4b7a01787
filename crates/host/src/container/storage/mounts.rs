//! What mountinfo tells of layers and disks.

use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::parse;

/// What a file system lies on.
pub(super) struct Device {
    pub(super) name: Arc<str>,
    pub(super) mount_point: Option<PathBuf>,
}

/// The folder in which an overlay keeps what was written, out of a process' mountinfo: that of the
/// file system which is its root. `None` where the root is no overlay or the folder is named in a
/// way that only means something to whoever mounted it.
pub(super) fn upper_folder(text: &[u8]) -> Option<PathBuf> {
    // What is mounted last covers what was there before.
    let root = parse::lines(text).filter(|line| parse::words(line).nth(4) == Some(b"/")).last()?;
    let mut words = parse::words(root).skip_while(|word| *word != b"-").skip(1);
    let fstype = words.next()?;
    if fstype != b"overlay" && fstype != b"fuse.fuse-overlayfs" {
        return None;
    }
    let options = words.nth(1)?;
    let upper = options.split(|&b| b == b',').find_map(|option| option.strip_prefix(b"upperdir="))?;
    let upper = PathBuf::from(String::from_utf8(parse::unescape_mount(upper)).ok()?);
    let plain = upper.is_absolute() && upper.as_os_str().as_bytes().len() > 1;
    (plain && !upper.components().any(|part| part == std::path::Component::ParentDir)).then_some(upper)
}

/// Devices with a place where each is mounted; those of which only a part is mounted come with that.
pub(super) fn mounted_disks(text: &[u8]) -> Vec<(Arc<str>, PathBuf)> {
    let mut disks: Vec<(Arc<str>, PathBuf)> = Vec::new();
    for line in parse::lines(text) {
        let Some(point) = parse::words(line).nth(4) else { continue };
        let Some(source) = parse::words(line).skip_while(|word| *word != b"-").nth(2) else { continue };
        let source = parse::unescape_mount(source);
        let Ok(point) = String::from_utf8(parse::unescape_mount(point)) else { continue };
        let device = String::from_utf8_lossy(&source);
        if device.starts_with("/dev/") && !disks.iter().any(|(known, _)| **known == *device) {
            disks.push((device.into(), point.trim_start_matches('/').into()));
        }
    }
    disks
}

/// The device of a file system and the mount point of its own root, by its number.
pub(super) fn mount_of(text: &[u8], number: &[u8]) -> Option<Device> {
    let mut found: Option<(bool, Device)> = None;
    for line in parse::lines(text) {
        let mut words = parse::words(line);
        if words.nth(2) != Some(number) {
            continue;
        }
        let (Some(root), Some(point)) = (words.next(), words.next()) else { continue };
        let mut words = words.skip_while(|word| *word != b"-").skip(1);
        let (Some(fstype), source) = (words.next(), words.next().unwrap_or_default()) else { continue };
        let source = parse::unescape_mount(source);
        let name = if source.is_empty() || source == b"none" { fstype } else { &source };
        let is_whole = root == b"/";
        if found.as_ref().is_some_and(|(whole, _)| *whole || !is_whole) {
            continue;
        }
        let point = String::from_utf8(parse::unescape_mount(point)).ok();
        let mount_point = point
            .filter(|_| is_whole)
            .map(|p| Path::new(&p).strip_prefix("/").unwrap_or(Path::new("")).to_owned());
        found = Some((is_whole, Device { name: String::from_utf8_lossy(name).into(), mount_point }));
    }
    found.map(|(_, device)| device)
}
