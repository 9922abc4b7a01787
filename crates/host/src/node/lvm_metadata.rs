//! What LVM wrote at the beginning of a physical volume: the whole of its volume group, in text.
//!
//! A label in one of the first sectors leads to a header, that to an area of metadata, and that
//! to the text, which goes round in the area. All of it is foreign: offsets and lengths are bounded.

use std::{collections::BTreeSet, fs::File, io, os::unix::fs::FileExt, path::Path};

use crate::parse;

const SECTOR: usize = 512;
/// The label is in one of so many sectors.
const LABEL_SECTORS: usize = 4;
const AREA_MAGIC: &[u8; 16] = b" LVM2 x[5A%r0N*>";
/// A text beyond this is refused; thousands of volumes take less.
const TEXT_BYTES_MAX: u64 = 16 << 20;
/// Areas of one volume; LVM makes two at most.
const AREAS_MAX: usize = 8;

/// A volume group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct VolumeGroup {
    pub(super) name: String,
    pub(super) extent_bytes: u64,
    pub(super) extents: u64,
    pub(super) extents_used: u64,
    pub(super) physical_volumes: u64,
    pub(super) physical_volumes_missing: u64,
    pub(super) logical_volumes: u64,
}

/// Reads the volume group of a physical volume; `None` when the device is none.
pub(super) fn read(device: &Path) -> io::Result<Option<VolumeGroup>> {
    let file = File::open(device)?;
    let mut head = vec![0; LABEL_SECTORS * SECTOR];
    file.read_exact_at(&mut head, 0)?;
    for (offset, size) in metadata_areas(&head).unwrap_or_default() {
        let mut header = [0; SECTOR];
        file.read_exact_at(&mut header, offset)?;
        let Some((start, length)) = text_location(&header, size) else { continue };
        let mut text = vec![0; usize::try_from(length).map_err(|_| io::ErrorKind::InvalidData)?];
        // What does not fit before the end of the area goes on behind its header.
        let before = text.len().min(usize::try_from(size - start).unwrap_or(usize::MAX));
        let (first, rest) = text.split_at_mut(before);
        file.read_exact_at(first, offset.saturating_add(start))?;
        file.read_exact_at(rest, offset.saturating_add(SECTOR as u64))?;
        if let Some(group) = volume_group(&text) {
            return Ok(Some(group));
        }
    }
    Ok(None)
}

fn word64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Offsets and sizes of the areas of metadata that the label leads to.
fn metadata_areas(head: &[u8]) -> Option<Vec<(u64, u64)>> {
    let label = head
        .chunks_exact(SECTOR)
        .find(|sector| sector.starts_with(b"LABELONE") && &sector[24..32] == b"LVM2 001")?;
    let header = label.get(usize::try_from(word32(label, 20)?).ok()?..)?;
    // Behind id and size of the volume stand the areas of data, an empty one, those of metadata.
    let mut areas = (0..).map_while(|i| Some((word64(header, 40 + i * 16)?, word64(header, 48 + i * 16)?)));
    areas.by_ref().find(|(offset, _)| *offset == 0)?;
    Some(areas.take_while(|(offset, _)| *offset != 0).take(AREAS_MAX).collect())
}

/// Where in an area, whose header this is, the text begins and how long it is.
fn text_location(header: &[u8; SECTOR], area_bytes: u64) -> Option<(u64, u64)> {
    const IGNORED: u32 = 1;
    (&header[4..20] == AREA_MAGIC).then_some(())?;
    let (start, length) = (word64(header, 40)?, word64(header, 48)?);
    let ignored = word32(header, 60)? & IGNORED != 0;
    let fits = start >= SECTOR as u64 && start < area_bytes && length <= TEXT_BYTES_MAX;
    (!ignored && length > 0 && fits && length <= area_bytes - SECTOR as u64).then_some((start, length))
}

/// Reads the text. Extents are used by the segments that lie on physical volumes; others lie on
/// logical ones, which are counted themselves.
pub(super) fn volume_group(text: &[u8]) -> Option<VolumeGroup> {
    let mut group = VolumeGroup::default();
    let mut path: Vec<&str> = Vec::new();
    let mut segment_extents = 0;
    let mut physical: BTreeSet<&str> = BTreeSet::new();
    let mut lines = parse::lines(text).map(|line| std::str::from_utf8(line).unwrap_or("").trim());
    while let Some(line) = lines.next() {
        let line = line.split_once('#').map_or(line, |(before, _)| before.trim_end());
        if let Some(name) = line.strip_suffix('{') {
            path.push(name.trim());
            match path.as_slice() {
                [name] => group.name = (*name).to_owned(),
                [_, "physical_volumes", name] => {
                    physical.insert(name);
                    group.physical_volumes += 1;
                }
                [_, "logical_volumes", _] => group.logical_volumes += 1,
                _ => {}
            }
            continue;
        }
        if line == "}" {
            path.pop();
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let (key, value) = (key.trim(), value.trim());
        let number = || parse::unsigned(value.as_bytes());
        match (path.as_slice(), key) {
            ([_], "extent_size") => group.extent_bytes = number()?.checked_mul(SECTOR as u64)?,
            ([_, "physical_volumes", _], "pe_count") => {
                group.extents = group.extents.checked_add(number()?)?;
            }
            ([_, "physical_volumes", _], "flags") if value.contains("\"MISSING\"") => {
                group.physical_volumes_missing += 1;
            }
            ([_, "logical_volumes", _, _], "extent_count") => segment_extents = number()?,
            ([_, "logical_volumes", _, _], "stripes") => {
                // `stripes = ["pv0", 0]`, often over several lines.
                let first = if value == "[" { lines.next().unwrap_or_default() } else { value };
                let name = first.trim_start_matches('[').trim_start().split('"').nth(1).unwrap_or_default();
                if physical.contains(name) {
                    group.extents_used = group.extents_used.checked_add(segment_extents)?;
                }
            }
            _ => {}
        }
    }
    (path.is_empty() && group.extent_bytes > 0 && !physical.is_empty()).then_some(group)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A group of two physical volumes, one of them missing, with a thin pool and a volume in it.
    pub(crate) const TEXT: &str = "data {\nid = \"x\"\nseqno = 7\nextent_size = 8192\t\t# 4 Megabytes\n\
        physical_volumes {\n\npv0 {\ndevice = \"/dev/sdb\"\nflags = []\npe_count = 100\t# 400 Megabytes\n}\n\
        pv1 {\nflags = [\"MISSING\"]\npe_count = 50\n}\n}\n\
        logical_volumes {\npool {\nsegment_count = 1\nsegment1 {\nextent_count = 60\ntype = \"thin-pool\"\n\
        metadata = \"pool_tmeta\"\npool = \"pool_tdata\"\n}\n}\n\
        pool_tdata {\nsegment1 {\nextent_count = 60\ntype = \"striped\"\nstripes = [\n\"pv0\", 0\n]\n}\n}\n\
        pool_tmeta {\nsegment1 {\nextent_count = 1\ntype = \"striped\"\nstripes = [\"pv1\", 0]\n}\n}\n\
        on_top {\nsegment1 {\nextent_count = 5\ntype = \"striped\"\nstripes = [\n\"raid\", 0\n]\n}\n}\n\
        raid {\nsegment1 {\nextent_count = 9\ntype = \"raid1\"\nraids = [\n\"a\", \"b\"\n]\n}\n}\n}\n}\n\
        # Generated by LVM2\ncontents = \"Text Format Volume Group\"\n";

    /// A device as LVM leaves it, its text going round at the end of the area when `round`.
    pub(crate) fn device(text: &str, round: bool) -> Vec<u8> {
        let (area, area_bytes) = (4096usize, 8192usize);
        let start = if round { area_bytes - 100 } else { SECTOR };
        let mut out = vec![0; area + area_bytes];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(SECTOR, b"LABELONE");
        put(SECTOR + 20, &32u32.to_le_bytes());
        put(SECTOR + 24, b"LVM2 001");
        let header = SECTOR + 32;
        put(header + 40, &(1u64 << 20).to_le_bytes());
        put(header + 72, &(area as u64).to_le_bytes());
        put(header + 80, &(area_bytes as u64).to_le_bytes());
        put(area + 4, AREA_MAGIC);
        put(area + 40, &(start as u64).to_le_bytes());
        put(area + 48, &(text.len() as u64).to_le_bytes());
        let before = text.len().min(area_bytes - start);
        put(area + start, &text.as_bytes()[..before]);
        put(area + SECTOR, &text.as_bytes()[before..]);
        if !round {
            put(area + start, text.as_bytes());
        }
        out
    }

    #[test]
    fn a_group_is_read_from_its_device() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sdb");
        for round in [false, true] {
            std::fs::write(&path, device(TEXT, round)).unwrap();
            let group = read(&path).unwrap().unwrap();
            assert_eq!((group.name.as_str(), group.extent_bytes), ("data", 4 << 20));
            assert_eq!((group.extents, group.extents_used), (150, 61));
            assert_eq!((group.physical_volumes, group.physical_volumes_missing), (2, 1));
            assert_eq!(group.logical_volumes, 5);
        }
        std::fs::write(&path, vec![0; 4096]).unwrap();
        assert_eq!(read(&path).unwrap(), None, "no physical volume");
        std::fs::write(&path, [0; 100]).unwrap();
        assert!(read(&path).is_err(), "too short");
    }

    #[test]
    fn a_text_that_breaks_off_is_refused() {
        for length in [0, 10, TEXT.len() / 2] {
            assert_eq!(volume_group(&TEXT.as_bytes()[..length]), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn garbage_on_a_device_does_no_harm(
            at in 0..4096 + 8192usize,
            bytes in proptest::collection::vec(any::<u8>(), 1..64),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("sdb");
            let mut image = device(TEXT, true);
            for (slot, byte) in image[at..].iter_mut().zip(bytes) {
                *slot = byte;
            }
            std::fs::write(&path, image).unwrap();
            let _ = read(&path);
        }

        #[test]
        fn garbage_in_the_text_does_no_harm(text in "([a-z_=\\[\\]\"{}# 0-9]{0,12}\n){0,30}") {
            let _ = volume_group(text.as_bytes());
        }
    }
}
