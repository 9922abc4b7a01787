//! bcache: disks that cache other disks.

use std::path::{Path, PathBuf};

use super::{
    Failure,
    attributes::{Attribute, NANO, SAME},
    background::Source,
};
use crate::{
    Config,
    file::{Buffer, names, read_number, read_once},
    parse,
    series::Family,
    sheet::Sheet,
};

const CACHE_SET: [Attribute; 9] = [
    (
        "average_key_size",
        Family::gauge("node_bcache_average_key_size_sectors", "Average data per key in the btree (sectors)."),
        SAME,
    ),
    (
        "btree_cache_size",
        Family::gauge(
            "node_bcache_btree_cache_size_bytes",
            "Amount of memory currently used by the btree cache.",
        ),
        SAME,
    ),
    (
        "cache_available_percent",
        Family::gauge(
            "node_bcache_cache_available_percent",
            "Percentage of cache device without dirty data, usable for writeback (may contain clean cached data).",
        ),
        SAME,
    ),
    ("congested", Family::gauge("node_bcache_congested", "Congestion."), SAME),
    (
        "root_usage_percent",
        Family::gauge(
            "node_bcache_root_usage_percent",
            "Percentage of the root btree node in use (tree depth increases if too high).",
        ),
        SAME,
    ),
    ("tree_depth", Family::gauge("node_bcache_tree_depth", "Depth of the btree."), SAME),
    (
        "internal/active_journal_entries",
        Family::gauge(
            "node_bcache_active_journal_entries",
            "Number of journal entries that are newer than the index.",
        ),
        SAME,
    ),
    ("internal/btree_nodes", Family::gauge("node_bcache_btree_nodes", "Total nodes in the btree."), SAME),
    (
        "internal/cache_read_races",
        Family::counter(
            "node_bcache_cache_read_races_total",
            "Counts instances where while data was being read from the cache, the bucket was reused and invalidated - i.e. where the pointer was stale after the read completed.",
        ),
        SAME,
    ),
];
const BACKING: [Attribute; 8] = [
    (
        "dirty_data",
        Family::gauge(
            "node_bcache_dirty_data_bytes",
            "Amount of dirty data for this backing device in the cache.",
        ),
        SAME,
    ),
    (
        "stats_total/bypassed",
        Family::counter(
            "node_bcache_bypassed_bytes_total",
            "Amount of IO (both reads and writes) that has bypassed the cache.",
        ),
        SAME,
    ),
    (
        "stats_total/cache_bypass_hits",
        Family::counter("node_bcache_cache_bypass_hits_total", "Hits for IO intended to skip the cache."),
        SAME,
    ),
    (
        "stats_total/cache_bypass_misses",
        Family::counter("node_bcache_cache_bypass_misses_total", "Misses for IO intended to skip the cache."),
        SAME,
    ),
    (
        "stats_total/cache_hits",
        Family::counter(
            "node_bcache_cache_hits_total",
            "Hits counted per individual IO as bcache sees them.",
        ),
        SAME,
    ),
    (
        "stats_total/cache_miss_collisions",
        Family::counter(
            "node_bcache_cache_miss_collisions_total",
            "Instances where data insertion from cache miss raced with write (data already present).",
        ),
        SAME,
    ),
    (
        "stats_total/cache_misses",
        Family::counter(
            "node_bcache_cache_misses_total",
            "Misses counted per individual IO as bcache sees them.",
        ),
        SAME,
    ),
    (
        "stats_total/cache_readaheads",
        Family::counter("node_bcache_cache_readaheads_total", "Count of times readahead occurred."),
        SAME,
    ),
];
const CACHE: [Attribute; 3] = [
    (
        "io_errors",
        Family::gauge(
            "node_bcache_io_errors",
            "Number of errors that have occurred, decayed by io_error_halflife.",
        ),
        SAME,
    ),
    (
        "metadata_written",
        Family::counter(
            "node_bcache_metadata_written_bytes_total",
            "Sum of all non data writes (btree writes and all other metadata).",
        ),
        SAME,
    ),
    (
        "written",
        Family::counter(
            "node_bcache_written_bytes_total",
            "Sum of all data that has been written to the cache.",
        ),
        SAME,
    ),
];
/// Lines of `writeback_rate_debug`.
const WRITEBACK: [(&str, Family<'_>); 5] = [
    (
        "rate",
        Family::gauge(
            "node_bcache_writeback_rate",
            "Current writeback rate for this backing device in bytes.",
        ),
    ),
    (
        "target",
        Family::gauge(
            "node_bcache_dirty_target_bytes",
            "Current dirty data target threshold for this backing device in bytes.",
        ),
    ),
    (
        "proportional",
        Family::gauge(
            "node_bcache_writeback_rate_proportional_term",
            "Current result of proportional controller, part of writeback rate",
        ),
    ),
    (
        "integral",
        Family::gauge(
            "node_bcache_writeback_rate_integral_term",
            "Current result of integral controller, part of writeback rate",
        ),
    ),
    (
        "change",
        Family::gauge(
            "node_bcache_writeback_change",
            "Last writeback rate change step for this backing device.",
        ),
    ),
];

/// `/sys/fs/bcache`: disks that cache other disks.
pub(super) struct Bcache {
    folder: PathBuf,
    priority_stats: bool,
}

impl Bcache {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            folder: config.sys_root.join("fs/bcache"),
            priority_stats: config.collectors.bcache_priority_stats,
        }
    }
}

impl Source for Bcache {
    fn name(&self) -> &'static str {
        "bcache"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        for uuid in names(&self.folder).map_err(Failure::at(&self.folder))? {
            let folder = self.folder.join(&uuid);
            let uuid = ("uuid", uuid.as_str());
            put_rounded(sheet, buffer, &folder, &CACHE_SET, &[uuid]);
            // Its name says microseconds, but its numbers are nanoseconds.
            let duration = folder.join("internal/btree_read_average_duration_us");
            if let Some(n) = read_number(&duration, buffer) {
                sheet.put(
                    Family::gauge(
                        "node_bcache_btree_read_average_duration_seconds",
                        "Average btree read duration.",
                    ),
                    &[uuid],
                    n / NANO,
                );
            }
            for device in names(&folder).unwrap_or_default() {
                let folder = folder.join(&device);
                if device.starts_with("bdev") {
                    let labels = [("backing_device", device.as_str()), uuid];
                    put_rounded(sheet, buffer, &folder, &BACKING, &labels);
                    put_writeback(sheet, buffer, &folder, &labels);
                } else if device
                    .strip_prefix("cache")
                    .is_some_and(|n| parse::unsigned(n.as_bytes()).is_some())
                {
                    let labels = [("cache_device", device.as_str()), uuid];
                    put_rounded(sheet, buffer, &folder, &CACHE, &labels);
                    if self.priority_stats {
                        put_priorities(sheet, buffer, &folder, &labels);
                    }
                }
            }
        }
        Ok(())
    }
}

/// As [`attributes::put`], for files in which numbers may be rounded.
fn put_rounded(
    sheet: &mut Sheet,
    buffer: &mut Buffer,
    folder: &Path,
    attributes: &[Attribute],
    labels: &[(&str, &str)],
) {
    for (file, family, _) in attributes {
        if let Some(n) = read_once(&folder.join(file), buffer).ok().and_then(rounded_size) {
            sheet.put(*family, labels, n);
        }
    }
}

fn put_writeback(sheet: &mut Sheet, buffer: &mut Buffer, folder: &Path, labels: &[(&str, &str)]) {
    let Ok(text) = read_once(&folder.join("writeback_rate_debug"), buffer) else { return };
    for line in parse::lines(text) {
        let Some((key, size)) = parse::split_once(line, b':') else { continue };
        let size = parse::trim(size);
        let size = size.strip_suffix(b"/sec").unwrap_or(size);
        let family = WRITEBACK.iter().find(|(name, _)| name.as_bytes() == key);
        if let (Some((_, family)), Some(n)) = (family, rounded_size(size)) {
            sheet.put(*family, labels, n);
        }
    }
}

fn put_priorities(sheet: &mut Sheet, buffer: &mut Buffer, folder: &Path, labels: &[(&str, &str)]) {
    let Ok(text) = read_once(&folder.join("priority_stats"), buffer) else { return };
    for line in parse::lines(text) {
        let Some((key, percent)) = parse::split_once(line, b':') else { continue };
        let family = match key {
            b"Unused" => Family::gauge(
                "node_bcache_priority_stats_unused_percent",
                "The percentage of the cache that doesn't contain any data.",
            ),
            b"Metadata" => {
                Family::gauge("node_bcache_priority_stats_metadata_percent", "Bcache's metadata overhead.")
            }
            _ => continue,
        };
        if let Some(n) = parse::trim(percent).strip_suffix(b"%").and_then(parse::number) {
            sheet.put(family, labels, n);
        }
    }
}

/// A number as bcache writes it: `1.1M` is 1 · 1024² + 100 · 1024, as the digit behind the point
/// counts hundreds of the 1024 parts.
fn rounded_size(text: &[u8]) -> Option<f64> {
    let text = parse::trim(text);
    let (digits, unit) = match text.split_last()? {
        (unit, digits) if unit.is_ascii_alphabetic() => (digits, *unit),
        _ => return parse::number(text),
    };
    let power = b"kMGTPEZY".iter().position(|u| *u == unit)?;
    let scale = 1024f64.powi(i32::try_from(power).ok()?);
    let (whole, part) = parse::split_once(digits, b'.').unwrap_or((digits, b"0"));
    let (whole, part) = (parse::signed(whole)?, parse::unsigned(part)?);
    let sign = if digits.starts_with(b"-") { -1.0 } else { 1.0 };
    Some((parse::signed_value(whole) * 1024.0 + sign * parse::value(part) * 100.0) * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_bcache_rounded_are_read() {
        for (text, expected) in [
            ("0", Some(0.0)),
            ("1.1M", Some(1_150_976.0)),
            ("427.5k", Some(437_748.0)),
            ("-1.5k", Some(-1524.0)),
            ("k", None),
            ("1.1.1k", None),
        ] {
            assert_eq!(rounded_size(text.as_bytes()), expected, "{text}");
        }
    }
}
