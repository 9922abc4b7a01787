//! What a container reads from each block device and writes to it.

use super::files::BaseLabels;
use crate::{
    keyed::Keyed,
    parse,
    series::{Family, LazySeries, Pass},
};

const READ_BYTES: Family<'_> =
    Family::counter("container_fs_reads_bytes_total", "Cumulative count of bytes read");
const WRITTEN_BYTES: Family<'_> =
    Family::counter("container_fs_writes_bytes_total", "Cumulative count of bytes written");
const READS: Family<'_> = Family::counter("container_fs_reads_total", "Cumulative count of reads completed");
const WRITES: Family<'_> =
    Family::counter("container_fs_writes_total", "Cumulative count of writes completed");

/// What `blkio` and `io.stat` say of a device: the key of version 2, the family, the operation of the
/// family that has all of them, and what divides the number.
const DEVICE: [(&[u8], Family<'_>, Option<&str>, f64); 8] = [
    (b"rbytes", READ_BYTES, Some("Read"), 1.0),
    (b"wbytes", WRITTEN_BYTES, Some("Write"), 1.0),
    (b"rios", READS, None, 1.0),
    (b"wios", WRITES, None, 1.0),
    (b"cost.usage", COST_USAGE, None, 1e6),
    (b"cost.wait", COST_WAIT, None, 1e6),
    (b"cost.indebt", COST_INDEBT, None, 1e6),
    (b"cost.indelay", COST_INDELAY, None, 1e6),
];
const DEVICE_USAGE: Family<'_> =
    Family::counter("container_blkio_device_usage_total", "Blkio Device bytes usage");
const COST_USAGE: Family<'_> =
    Family::counter("container_fs_io_cost_usage_seconds_total", "Cumulative IOCost usage in seconds");
const COST_WAIT: Family<'_> =
    Family::counter("container_fs_io_cost_wait_seconds_total", "Cumulative IOCost wait in seconds");
const COST_INDEBT: Family<'_> =
    Family::counter("container_fs_io_cost_indebt_seconds_total", "Cumulative IOCost debt in seconds");
const COST_INDELAY: Family<'_> =
    Family::counter("container_fs_io_cost_indelay_seconds_total", "Cumulative IOCost delay in seconds");

/// A container's block device.
pub(super) struct Device {
    name: String,
    major: String,
    minor: String,
    series: [LazySeries; DEVICE.len()],
    usage: [LazySeries; DEVICE.len()],
}

/// `254:0 rbytes=1 wbytes=2 rios=3 wios=4 …`, a line a device.
pub(super) fn io_stat(text: &[u8], devices: &mut Keyed<Device>, pass: &mut Pass<'_>, base: &BaseLabels) {
    for line in parse::lines(text) {
        let mut words = parse::words(line);
        let Some(key) = words.next() else { continue };
        let Some(device) = devices.entry(key, Device::new) else { continue };
        for word in words {
            let Some((name, n)) = parse::split_once(word, b'=') else { continue };
            let Some(n) = parse::unsigned(n) else { continue };
            device.put(name, n, pass, base);
        }
    }
}

/// `254:0 Read 4096`, a line a device and direction.
pub(super) fn blkio(
    text: &[u8],
    bytes: bool,
    devices: &mut Keyed<Device>,
    pass: &mut Pass<'_>,
    base: &BaseLabels,
) {
    for line in parse::lines(text) {
        let mut words = parse::words(line);
        let (Some(key), Some(operation), Some(n)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let name: &[u8] = match (operation, bytes) {
            (b"Read", true) => b"rbytes",
            (b"Write", true) => b"wbytes",
            (b"Read", false) => b"rios",
            (b"Write", false) => b"wios",
            _ => continue,
        };
        if let (Some(n), Some(device)) = (parse::unsigned(n), devices.entry_again(key, Device::new)) {
            device.put(name, n, pass, base);
        }
    }
}

impl Device {
    pub(super) fn new(major_minor: &str) -> Self {
        // The link leads to the device's folder, which is named after it.
        let link = std::fs::read_link(format!("/sys/dev/block/{major_minor}")).ok();
        let name =
            link.as_deref().and_then(|l| l.file_name()).map(|n| format!("/dev/{}", n.to_string_lossy()));
        let (major, minor) = major_minor.split_once(':').unwrap_or((major_minor, ""));
        Self {
            name: name.unwrap_or_else(|| major_minor.to_owned()),
            major: major.to_owned(),
            minor: minor.to_owned(),
            series: Default::default(),
            usage: Default::default(),
        }
    }

    fn put(&mut self, name: &[u8], n: u64, pass: &mut Pass<'_>, base: &BaseLabels) {
        let Some(place) = DEVICE.iter().position(|(key, ..)| *key == name) else { return };
        let (_, family, operation, divisor) = DEVICE[place];
        let (device, major, minor) = (self.name.as_str(), self.major.as_str(), self.minor.as_str());
        let define = |pass: &mut Pass<'_>| base.define(pass, family, &[("device", device)]);
        self.series[place].put_slow_with(pass, parse::value(n) / divisor, define);
        if let Some(operation) = operation {
            let labels = [("device", device), ("major", major), ("minor", minor), ("operation", operation)];
            let define = |pass: &mut Pass<'_>| base.define(pass, DEVICE_USAGE, &labels);
            self.usage[place].put_slow_with(pass, parse::value(n), define);
        }
    }

    pub(super) fn retire(mut self, pass: &mut Pass<'_>) {
        self.series.iter_mut().chain(&mut self.usage).for_each(|series| series.retire(pass));
    }
}
