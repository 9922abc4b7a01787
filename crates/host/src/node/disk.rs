//! `/proc/diskstats`: requests, bytes and time of each block device.

use super::{
    Collector, Failure, Tools,
    disk_info::{self, DiskInfo},
};
use crate::{
    Config,
    config::fits_any,
    file::{FileBudget, KeptFile},
    keyed::Keyed,
    parse,
    series::{Family, Pass, Series},
};

/// Columns after the device's name, in the kernel's order, and what one unit of each is worth.
/// Older kernels lack discards, then flushes.
const COLUMNS: [(Family<'_>, f64); 17] = [
    (
        Family::counter(
            "node_disk_reads_completed_total",
            "The total number of reads completed successfully.",
        ),
        1.0,
    ),
    (Family::counter("node_disk_reads_merged_total", "The total number of reads merged."), 1.0),
    (
        Family::counter("node_disk_read_bytes_total", "The total number of bytes read successfully."),
        SECTOR_BYTES,
    ),
    (
        Family::counter(
            "node_disk_read_time_seconds_total",
            "The total number of seconds spent by all reads.",
        ),
        MILLISECOND,
    ),
    (
        Family::counter(
            "node_disk_writes_completed_total",
            "The total number of writes completed successfully.",
        ),
        1.0,
    ),
    (Family::counter("node_disk_writes_merged_total", "The number of writes merged."), 1.0),
    (
        Family::counter("node_disk_written_bytes_total", "The total number of bytes written successfully."),
        SECTOR_BYTES,
    ),
    (
        Family::counter(
            "node_disk_write_time_seconds_total",
            "This is the total number of seconds spent by all writes.",
        ),
        MILLISECOND,
    ),
    (Family::gauge("node_disk_io_now", "The number of I/Os currently in progress."), 1.0),
    (Family::counter("node_disk_io_time_seconds_total", "Total seconds spent doing I/Os."), MILLISECOND),
    (
        Family::counter(
            "node_disk_io_time_weighted_seconds_total",
            "The weighted # of seconds spent doing I/Os.",
        ),
        MILLISECOND,
    ),
    (
        Family::counter(
            "node_disk_discards_completed_total",
            "The total number of discards completed successfully.",
        ),
        1.0,
    ),
    (Family::counter("node_disk_discards_merged_total", "The total number of discards merged."), 1.0),
    (
        Family::counter(
            "node_disk_discarded_sectors_total",
            "The total number of sectors discarded successfully.",
        ),
        1.0,
    ),
    (
        Family::counter(
            "node_disk_discard_time_seconds_total",
            "This is the total number of seconds spent by all discards.",
        ),
        MILLISECOND,
    ),
    (
        Family::counter(
            "node_disk_flush_requests_total",
            "The total number of flush requests completed successfully",
        ),
        1.0,
    ),
    (
        Family::counter(
            "node_disk_flush_requests_time_seconds_total",
            "This is the total number of seconds spent by all flush requests.",
        ),
        MILLISECOND,
    ),
];

/// The kernel counts in sectors of this size, whatever the device's own is.
const SECTOR_BYTES: f64 = 512.0;
/// Marks a column of milliseconds.
const MILLISECOND: f64 = 0.001;

pub(super) struct DiskStats {
    file: KeptFile,
    devices: Keyed<Option<Device>>,
    excluded: Vec<String>,
    info: DiskInfo,
}

/// `None` in the list above stands for a device that is left out.
struct Device(Vec<Series>);

impl DiskStats {
    pub(super) fn new(config: &Config, budget: &FileBudget) -> Self {
        Self {
            file: KeptFile::new(config.proc_root.join("diskstats"), budget),
            devices: Keyed::default(),
            excluded: config.collectors.diskstats_excluded.clone(),
            info: DiskInfo::new(config),
        }
    }
}

/// Whether node_exporter leaves the device out by default: memory disks, loop devices, floppies
/// and partitions.
fn is_excluded(name: &str) -> bool {
    let digits = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
    let numbered = |prefix: &str| name.strip_prefix(prefix).is_some_and(digits);
    if ["ram", "zram", "loop", "fd"].into_iter().any(numbered) {
        return true;
    }
    let letter_then_digits = |rest: &str| {
        let mut chars = rest.chars();
        chars.next().is_some_and(|c| c.is_ascii_lowercase()) && digits(chars.as_str())
    };
    if ["hd", "sd", "vd", "xvd"].into_iter().any(|p| name.strip_prefix(p).is_some_and(letter_then_digits)) {
        return true;
    }
    // nvme<n>n<n>p<n>
    name.strip_prefix("nvme")
        .and_then(|rest| rest.split_once('n'))
        .and_then(|(controller, rest)| Some((controller, rest.split_once('p')?)))
        .is_some_and(|(controller, (space, part))| [controller, space, part].into_iter().all(digits))
}

/// The device of a line, unless it is left out.
fn named(line: &[u8]) -> Option<disk_info::Device> {
    let mut words = parse::words(line).map(|word| String::from_utf8_lossy(word).into_owned());
    let (major, minor, name) = (words.next()?, words.next()?, words.next()?);
    (!is_excluded(&name)).then_some(disk_info::Device { major, minor, name })
}

impl Collector for DiskStats {
    fn name(&self) -> &'static str {
        "diskstats"
    }

    fn collect(&mut self, pass: &mut Pass<'_>, tools: &mut Tools<'_>) -> Result<(), Failure> {
        let text = self.file.read(tools.buffer).map_err(Failure::at("/proc/diskstats"))?;
        self.devices.begin();
        let excluded = &self.excluded;
        for line in parse::lines(text) {
            let mut words = parse::words(line).skip(2);
            let Some(name) = words.next() else { continue };
            let numbers = words.clone().take(COLUMNS.len()).map_while(parse::unsigned);
            let define = |device: &str| {
                let define = |(family, _): &(Family<'_>, f64)| pass.define(*family, &[("device", device)]);
                let columns = numbers.clone().count();
                let left_out = is_excluded(device) || fits_any(excluded, device);
                (!left_out).then(|| Device(COLUMNS[..columns].iter().map(define).collect()))
            };
            let Some(Some(Device(series))) = self.devices.entry(name, define) else { continue };
            for ((series, n), (_, unit)) in series.iter().zip(numbers).zip(COLUMNS) {
                let n = parse::value(n);
                // Division by a thousand is exact where multiplication by a thousandth is not.
                pass.put(*series, if unit == MILLISECOND { n / 1000.0 } else { n * unit });
            }
        }
        self.devices.end(|device| {
            for series in device.into_iter().flat_map(|d| d.0) {
                pass.retire(series);
            }
        });
        if tools.slow {
            let mut devices: Vec<_> = parse::lines(text).filter_map(named).collect();
            devices.retain(|device| !fits_any(&self.excluded, &device.name));
            self.info.read(&devices, pass);
        }
        self.info.put(pass);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::is_excluded;

    #[test]
    fn partitions_and_memory_disks_are_left_out() {
        for name in ["sda1", "xvdb12", "ram0", "zram0", "loop7", "fd0", "nvme0n1p2", "vdc3"] {
            assert!(is_excluded(name), "{name}");
        }
        for name in ["sda", "nvme0n1", "mmcblk0p1", "dm-0", "sr0", "sdaa1", "md127", "fd", "nvmen1p1", ""] {
            assert!(!is_excluded(name), "{name}");
        }
    }
}
