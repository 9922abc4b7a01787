//! What file systems of the kernel tell of themselves: XFS, Btrfs, bcachefs.

use std::path::{Path, PathBuf};

use super::{
    Failure,
    attributes::{self, Attribute, SAME},
    background::Source,
};
use crate::{
    Config,
    file::{Buffer, names, read_number, read_once, read_text},
    parse,
    series::Family,
    sheet::Sheet,
};

/// Lines of an XFS file system's statistics and what their numbers are.
const XFS: [(&str, &[Family<'_>]); 8] = [
    (
        "extent_alloc",
        &[
            Family::counter(
                "node_xfs_extent_allocation_extents_allocated_total",
                "Number of extents allocated for a filesystem.",
            ),
            Family::counter(
                "node_xfs_extent_allocation_blocks_allocated_total",
                "Number of blocks allocated for a filesystem.",
            ),
            Family::counter(
                "node_xfs_extent_allocation_extents_freed_total",
                "Number of extents freed for a filesystem.",
            ),
            Family::counter(
                "node_xfs_extent_allocation_blocks_freed_total",
                "Number of blocks freed for a filesystem.",
            ),
        ],
    ),
    (
        "abt",
        &[
            Family::counter(
                "node_xfs_allocation_btree_lookups_total",
                "Number of allocation B-tree lookups for a filesystem.",
            ),
            Family::counter(
                "node_xfs_allocation_btree_compares_total",
                "Number of allocation B-tree compares for a filesystem.",
            ),
            Family::counter(
                "node_xfs_allocation_btree_records_inserted_total",
                "Number of allocation B-tree records inserted for a filesystem.",
            ),
            Family::counter(
                "node_xfs_allocation_btree_records_deleted_total",
                "Number of allocation B-tree records deleted for a filesystem.",
            ),
        ],
    ),
    (
        "blk_map",
        &[
            Family::counter(
                "node_xfs_block_mapping_reads_total",
                "Number of block map for read operations for a filesystem.",
            ),
            Family::counter(
                "node_xfs_block_mapping_writes_total",
                "Number of block map for write operations for a filesystem.",
            ),
            Family::counter(
                "node_xfs_block_mapping_unmaps_total",
                "Number of block unmaps (deletes) for a filesystem.",
            ),
            Family::counter(
                "node_xfs_block_mapping_extent_list_insertions_total",
                "Number of extent list insertions for a filesystem.",
            ),
            Family::counter(
                "node_xfs_block_mapping_extent_list_deletions_total",
                "Number of extent list deletions for a filesystem.",
            ),
            Family::counter(
                "node_xfs_block_mapping_extent_list_lookups_total",
                "Number of extent list lookups for a filesystem.",
            ),
            Family::counter(
                "node_xfs_block_mapping_extent_list_compares_total",
                "Number of extent list compares for a filesystem.",
            ),
        ],
    ),
    (
        "bmbt",
        &[
            Family::counter(
                "node_xfs_block_map_btree_lookups_total",
                "Number of block map B-tree lookups for a filesystem.",
            ),
            Family::counter(
                "node_xfs_block_map_btree_compares_total",
                "Number of block map B-tree compares for a filesystem.",
            ),
            Family::counter(
                "node_xfs_block_map_btree_records_inserted_total",
                "Number of block map B-tree records inserted for a filesystem.",
            ),
            Family::counter(
                "node_xfs_block_map_btree_records_deleted_total",
                "Number of block map B-tree records deleted for a filesystem.",
            ),
        ],
    ),
    (
        "dir",
        &[
            Family::counter(
                "node_xfs_directory_operation_lookup_total",
                "Number of file name directory lookups which miss the operating systems directory name lookup cache.",
            ),
            Family::counter(
                "node_xfs_directory_operation_create_total",
                "Number of times a new directory entry was created for a filesystem.",
            ),
            Family::counter(
                "node_xfs_directory_operation_remove_total",
                "Number of times an existing directory entry was created for a filesystem.",
            ),
            Family::counter(
                "node_xfs_directory_operation_getdents_total",
                "Number of times the directory getdents operation was performed for a filesystem.",
            ),
        ],
    ),
    (
        "ig",
        &[
            Family::counter(
                "node_xfs_inode_operation_attempts_total",
                "Number of times the OS looked for an XFS inode in the inode cache.",
            ),
            Family::counter(
                "node_xfs_inode_operation_found_total",
                "Number of times the OS looked for and found an XFS inode in the inode cache.",
            ),
            Family::counter(
                "node_xfs_inode_operation_recycled_total",
                "Number of times the OS found an XFS inode in the cache, but could not use it as it was being recycled.",
            ),
            Family::counter(
                "node_xfs_inode_operation_missed_total",
                "Number of times the OS looked for an XFS inode in the cache, but did not find it.",
            ),
            Family::counter(
                "node_xfs_inode_operation_duplicates_total",
                "Number of times the OS tried to add a missing XFS inode to the inode cache, but found it had already been added by another process.",
            ),
            Family::counter(
                "node_xfs_inode_operation_reclaims_total",
                "Number of times the OS reclaimed an XFS inode from the inode cache to free memory for another purpose.",
            ),
            Family::counter(
                "node_xfs_inode_operation_attribute_changes_total",
                "Number of times the OS explicitly changed the attributes of an XFS inode.",
            ),
        ],
    ),
    (
        "rw",
        &[
            Family::counter(
                "node_xfs_write_calls_total",
                "Number of write(2) system calls made to files in a filesystem.",
            ),
            Family::counter(
                "node_xfs_read_calls_total",
                "Number of read(2) system calls made to files in a filesystem.",
            ),
        ],
    ),
    (
        "vnodes",
        &[
            Family::counter(
                "node_xfs_vnode_active_total",
                "Number of vnodes not on free lists for a filesystem.",
            ),
            Family::counter(
                "node_xfs_vnode_allocate_total",
                "Number of times vn_alloc called for a filesystem.",
            ),
            Family::counter("node_xfs_vnode_get_total", "Number of times vn_get called for a filesystem."),
            Family::counter("node_xfs_vnode_hold_total", "Number of times vn_hold called for a filesystem."),
            Family::counter(
                "node_xfs_vnode_release_total",
                "Number of times vn_rele called for a filesystem.",
            ),
            Family::counter(
                "node_xfs_vnode_reclaim_total",
                "Number of times vn_reclaim called for a filesystem.",
            ),
            Family::counter(
                "node_xfs_vnode_remove_total",
                "Number of times vn_remove called for a filesystem.",
            ),
        ],
    ),
];

/// `/sys/fs/xfs`.
pub(super) struct Xfs(PathBuf);

impl Xfs {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sys_root.join("fs/xfs"))
    }
}

impl Source for Xfs {
    fn name(&self) -> &'static str {
        "xfs"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        for device in names(&self.0).map_err(Failure::at(&self.0))? {
            // Beside the devices lies a folder with the sum of all.
            if device == "stats" {
                continue;
            }
            let Ok(text) = read_once(&self.0.join(&device).join("stats/stats"), buffer) else { continue };
            for line in parse::lines(text) {
                let mut words = parse::words(line);
                let name = words.next().unwrap_or_default();
                let families = XFS.iter().find(|(n, _)| n.as_bytes() == name).map_or(&[][..], |(_, f)| f);
                for (family, word) in families.iter().zip(words) {
                    if let Some(n) = parse::number(word) {
                        sheet.put(*family, &[("device", &device)], n);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Times of commits, which the kernel counts in milliseconds.
const COMMITS: [(&str, Family<'_>, f64); 4] = [
    (
        "commits",
        Family::counter("node_btrfs_commits_total", "The total number of commits that have occurred."),
        SAME,
    ),
    (
        "last_commit_ms",
        Family::gauge("node_btrfs_last_commit_seconds", "Duration of the most recent commit, in seconds."),
        attributes::MILLI,
    ),
    (
        "max_commit_ms",
        Family::gauge("node_btrfs_max_commit_seconds", "Duration of the slowest commit, in seconds."),
        attributes::MILLI,
    ),
    (
        "total_commit_ms",
        Family::counter("node_btrfs_commit_seconds_total", "Sum of the duration of all commits, in seconds."),
        attributes::MILLI,
    ),
];

/// `/sys/fs/btrfs`.
pub(super) struct Btrfs(PathBuf);

impl Btrfs {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sys_root.join("fs/btrfs"))
    }
}

impl Source for Btrfs {
    fn name(&self) -> &'static str {
        "btrfs"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        for uuid in names(&self.0).map_err(Failure::at(&self.0))? {
            let folder = self.0.join(&uuid);
            if folder.join("allocation").is_dir() {
                put_btrfs(sheet, buffer, &folder, &uuid);
            }
        }
        Ok(())
    }
}

fn put_btrfs(sheet: &mut Sheet, buffer: &mut Buffer, folder: &Path, uuid: &str) {
    let uuid = ("uuid", uuid);
    let label = read_text(&folder.join("label")).unwrap_or_default();
    sheet.put(Family::gauge("node_btrfs_info", "Filesystem information"), &[("label", &label), uuid], 1.0);
    if let Some(n) = read_number(&folder.join("allocation/global_rsv_size"), buffer) {
        sheet.put(Family::gauge("node_btrfs_global_rsv_size_bytes", "Size of global reserve."), &[uuid], n);
    }
    let commits = read_once(&folder.join("commit_stats"), buffer).unwrap_or_default();
    for (key, family, units) in COMMITS {
        let n = parse::field(commits, key.as_bytes()).unwrap_or(0);
        sheet.put(family, &[uuid], parse::value(n) / units);
    }
    let devices = names(&folder.join("devices")).unwrap_or_default();
    for device in &devices {
        if let Some(n) = read_number(&folder.join("devices").join(device).join("size"), buffer) {
            sheet.put(
                Family::gauge(
                    "node_btrfs_device_size_bytes",
                    "Size of a device that is part of the filesystem.",
                ),
                &[("device", device), uuid],
                n / attributes::SECTORS,
            );
        }
    }
    for kind in ["data", "metadata", "system"] {
        let space = folder.join("allocation").join(kind);
        let kind = ("block_group_type", kind);
        if let Some(n) = read_number(&space.join("bytes_reserved"), buffer) {
            sheet.put(
                Family::gauge("node_btrfs_reserved_bytes", "Amount of space reserved for a data type"),
                &[kind, uuid],
                n,
            );
        }
        for mode in names(&space).unwrap_or_default() {
            let Some(copies) = btrfs_copies(&mode, devices.len()) else { continue };
            let labels = [kind, ("mode", mode.as_str()), uuid];
            let numbers = [
                (
                    "used_bytes",
                    Family::gauge("node_btrfs_used_bytes", "Amount of used space by a layout/data type"),
                    SAME,
                ),
                (
                    "total_bytes",
                    Family::gauge(
                        "node_btrfs_size_bytes",
                        "Amount of space allocated for a layout/data type",
                    ),
                    SAME,
                ),
            ];
            attributes::put(sheet, buffer, &space.join(&mode), &numbers, &labels);
            sheet.put(
                Family::gauge("node_btrfs_allocation_ratio", "Data allocation ratio for a layout/data type"),
                &labels,
                copies,
            );
        }
    }
}

/// How many bytes on disk one byte of data takes in a layout over so many devices.
fn btrfs_copies(mode: &str, devices: usize) -> Option<f64> {
    let devices = parse::value(devices as u64);
    match mode {
        "single" | "raid0" => Some(1.0),
        "dup" | "raid1" | "raid10" => Some(2.0),
        "raid1c3" => Some(3.0),
        "raid1c4" => Some(4.0),
        "raid5" if devices > 1.0 => Some(devices / (devices - 1.0)),
        "raid6" if devices > 2.0 => Some(devices / (devices - 2.0)),
        _ => None,
    }
}

/// Attributes of a device of a bcachefs file system.
const BCACHEFS_DEVICE: [Attribute; 2] = [
    ("nbuckets", Family::gauge("node_bcachefs_device_buckets", "Total number of buckets."), SAME),
    ("durability", Family::gauge("node_bcachefs_device_durability", "Device durability setting."), SAME),
];

/// `/sys/fs/bcachefs`.
pub(super) struct Bcachefs(PathBuf);

impl Bcachefs {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sys_root.join("fs/bcachefs"))
    }
}

impl Source for Bcachefs {
    fn name(&self) -> &'static str {
        "bcachefs"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        for uuid in names(&self.0).map_err(Failure::at(&self.0))? {
            let folder = self.0.join(&uuid);
            if folder.is_dir() {
                put_bcachefs(sheet, buffer, &folder, ("uuid", &uuid));
            }
        }
        Ok(())
    }
}

fn put_bcachefs(sheet: &mut Sheet, buffer: &mut Buffer, folder: &Path, uuid: (&str, &str)) {
    sheet.put(Family::gauge("node_bcachefs_info", "Filesystem information."), &[uuid], 1.0);
    if let Some(n) = read_once(&folder.join("btree_cache_size"), buffer).ok().and_then(binary_size) {
        sheet.put(
            Family::gauge("node_bcachefs_btree_cache_size_bytes", "Btree cache memory usage in bytes."),
            &[uuid],
            n,
        );
    }
    for counter in names(&folder.join("counters")).unwrap_or_default() {
        let Ok(text) = read_once(&folder.join("counters").join(&counter), buffer) else { continue };
        let since = |line: &[u8]| binary_size(line.strip_prefix(b"since filesystem creation:")?);
        if let Some(n) = parse::lines(text).find_map(since) {
            let help = format!("Bcachefs counter {counter} since filesystem creation.");
            sheet.put(Family::counter(&format!("node_bcachefs_{counter}_total"), &help), &[uuid], n);
        }
    }
    let text = read_once(&folder.join("btree_write_stats"), buffer).unwrap_or_default();
    for line in parse::lines(text) {
        // `initial:  3298401  100k`
        let Some((kind, rest)) = parse::split_once(line, b':') else { continue };
        let kind = String::from_utf8_lossy(parse::trim(kind));
        let labels = [("type", &*kind), uuid];
        let mut words = parse::words(rest);
        if let (Some(n), Some(size)) =
            (words.next().and_then(parse::number), words.next().and_then(binary_size))
        {
            sheet.put(
                Family::counter("node_bcachefs_btree_writes_total", "Number of btree writes by type."),
                &labels,
                n,
            );
            sheet.put(
                Family::gauge(
                    "node_bcachefs_btree_write_average_size_bytes",
                    "Average btree write size by type.",
                ),
                &labels,
                size,
            );
        }
    }
    let text = read_once(&folder.join("compression_stats"), buffer).unwrap_or_default();
    for line in parse::lines(text).skip(1) {
        let mut words = parse::words(line);
        let Some(kind) = words.next() else { continue };
        let kind = String::from_utf8_lossy(kind);
        let families = [
            Family::gauge("node_bcachefs_compression_compressed_bytes", "Compressed size by algorithm."),
            Family::gauge("node_bcachefs_compression_uncompressed_bytes", "Uncompressed size by algorithm."),
        ];
        for (word, family) in words.zip(families) {
            if let Some(n) = binary_size(word) {
                sheet.put(family, &[("algorithm", &kind), uuid], n);
            }
        }
    }
    let text = read_once(&folder.join("errors"), buffer).unwrap_or_default();
    for line in parse::lines(text) {
        let mut words = parse::words(line);
        if let (Some(kind), Some(n)) = (words.next(), words.next().and_then(parse::number)) {
            let kind = String::from_utf8_lossy(kind);
            sheet.put(
                Family::counter("node_bcachefs_errors_total", "Error count by error type."),
                &[("error_type", &kind), uuid],
                n,
            );
        }
    }
    for name in names(folder).unwrap_or_default() {
        if let Some(device) = name.strip_prefix("dev-") {
            put_bcachefs_device(sheet, buffer, &folder.join(&name), ("device", device), uuid);
        }
    }
}

fn put_bcachefs_device(
    sheet: &mut Sheet,
    buffer: &mut Buffer,
    folder: &Path,
    device: (&str, &str),
    uuid: (&str, &str),
) {
    let text = |file: &str| read_text(&folder.join(file)).unwrap_or_default();
    let (label, state) = (text("label"), text("state"));
    let labels = [device, ("label", label.as_str()), ("state", &state), uuid];
    sheet.put(Family::gauge("node_bcachefs_device_info", "Device information."), &labels, 1.0);
    attributes::put(sheet, buffer, folder, &BCACHEFS_DEVICE, &[device, uuid]);
    if let Some(n) = read_once(&folder.join("bucket_size"), buffer).ok().and_then(binary_size) {
        sheet.put(
            Family::gauge("node_bcachefs_device_bucket_size_bytes", "Bucket size in bytes."),
            &[device, uuid],
            n,
        );
    }
    let mut operation: Option<String> = None;
    for line in parse::lines(read_once(&folder.join("io_done"), buffer).unwrap_or_default()) {
        let Some((key, n)) = parse::split_once(line, b':') else { continue };
        let key = String::from_utf8_lossy(parse::trim(key)).into_owned();
        match (parse::number(n), &operation) {
            (Some(n), Some(operation)) => {
                let labels = [device, ("operation", operation.as_str()), ("data_type", &*key), uuid];
                sheet.put(
                    Family::counter(
                        "node_bcachefs_device_io_done_bytes_total",
                        "IO bytes by operation type and data type.",
                    ),
                    &labels,
                    n,
                );
            }
            (None, _) => operation = Some(key),
            (Some(_), None) => {}
        }
    }
    // Under one heading since the file system was made, under the next since the counts were set
    // back.
    let text = read_once(&folder.join("io_errors"), buffer).unwrap_or_default();
    for (key, n) in parse::lines(text).skip(1).map_while(|line| parse::split_once(line, b':')) {
        if let Some(n) = parse::number(n) {
            let key = String::from_utf8_lossy(parse::trim(key));
            let labels = [device, ("type", &*key), uuid];
            sheet.put(
                Family::counter("node_bcachefs_device_io_errors_total", "IO errors by error type."),
                &labels,
                n,
            );
        }
    }
}

/// `28.2k` in whole bytes, in units of 1024.
fn binary_size(text: &[u8]) -> Option<f64> {
    let text = parse::trim(text);
    let (digits, unit) = match text.split_last()? {
        (unit, digits) if unit.is_ascii_alphabetic() => (digits, unit.to_ascii_lowercase()),
        _ => (text, b'b'),
    };
    let power = b"bkmgtpe".iter().position(|u| *u == unit)?;
    Some((parse::number(digits)? * 1024f64.powi(i32::try_from(power).ok()?)).floor())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_units_of_1024() {
        for (text, expected) in [
            ("28.2k", Some(28_876.0)),
            ("2.00M\n", Some(2_097_152.0)),
            ("720", Some(720.0)),
            ("0", Some(0.0)),
            ("k", None),
            ("", None),
            ("1x", None),
        ] {
            assert_eq!(binary_size(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn a_byte_takes_more_the_fewer_devices_share_its_parity() {
        assert_eq!(btrfs_copies("raid5", 4), Some(4.0 / 3.0));
        assert_eq!(btrfs_copies("raid6", 4), Some(2.0));
        assert_eq!(btrfs_copies("raid5", 1), None);
        assert_eq!(btrfs_copies("flags", 1), None);
    }
}
