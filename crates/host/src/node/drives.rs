//! Block devices and the drives behind them: multipath, NVMe, tapes.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{
    Failure,
    attributes::{self, Attribute, NANO, SAME, SECTORS},
    background::Source,
};
use crate::{
    Config,
    file::{Buffer, names, read_number, read_text},
    parse,
    series::Family,
    sheet::Sheet,
};

/// `/sys/block/dm-*`: disks that are reached over several paths.
pub(super) struct Multipath(PathBuf);

impl Multipath {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sys_root.join("block"))
    }
}

impl Source for Multipath {
    fn name(&self) -> &'static str {
        "dmmultipath"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let mut found = Err(Failure::at(self.0.join("dm-*"))(Errno::NOENT));
        for sysfs_name in names(&self.0).map_err(Failure::at(&self.0))? {
            let folder = self.0.join(&sysfs_name);
            let Some(uuid) = read_text(&folder.join("dm/uuid")).filter(|u| u.starts_with("mpath-")) else {
                continue;
            };
            found = Ok(());
            let name = read_text(&folder.join("dm/name")).unwrap_or_default();
            let device = ("device", name.as_str());
            let labels = [device, ("sysfs_name", sysfs_name.as_str())];
            sheet.put(
                Family::gauge(
                    "node_dmmultipath_device_info",
                    "Non-numeric information about a DM-multipath device.",
                ),
                &[labels[0], labels[1], ("uuid", &uuid)],
                1.0,
            );
            if let Some(suspended) = read_number(&folder.join("dm/suspended"), buffer) {
                let active = f64::from(u8::from(suspended == 0.0));
                sheet.put(
                    Family::gauge(
                        "node_dmmultipath_device_active",
                        "Whether the multipath device-mapper device is active (1) or suspended (0).",
                    ),
                    &labels,
                    active,
                );
            }
            if let Some(n) = read_number(&folder.join("size"), buffer) {
                sheet.put(
                    Family::gauge(
                        "node_dmmultipath_device_size_bytes",
                        "Size of the multipath device in bytes, read from /sys/block/<dm>/size.",
                    ),
                    &labels,
                    n / SECTORS,
                );
            }
            let (mut all, mut active) = (0u32, 0u32);
            for path in names(&folder.join("slaves")).unwrap_or_default() {
                let state = self.0.join(&path).join("device/state");
                let state = read_text(&state).unwrap_or_else(|| "unknown".into());
                all += 1;
                active += u32::from(matches!(state.as_str(), "running" | "live"));
                let labels = [device, ("path", path.as_str()), ("state", &state)];
                sheet.put(Family::gauge("node_dmmultipath_path_state", "Reports the underlying device state for a multipath path, as read from /sys/block/<dev>/device/state."), &labels, 1.0);
            }
            sheet.put(
                Family::gauge("node_dmmultipath_device_paths", "Number of paths for a multipath device."),
                &labels,
                all.into(),
            );
            sheet.put(
                Family::gauge(
                    "node_dmmultipath_device_paths_active",
                    "Number of paths in active state (SCSI running or NVMe live) for a multipath device.",
                ),
                &labels,
                active.into(),
            );
            sheet.put(
                Family::gauge(
                    "node_dmmultipath_device_paths_failed",
                    "Number of paths not in active state for a multipath device.",
                ),
                &labels,
                (all - active).into(),
            );
        }
        found
    }
}

/// `/sys/class/nvme`: controllers and their name spaces.
pub(super) struct Nvme(PathBuf);

impl Nvme {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sys_root.join("class/nvme"))
    }
}

impl Source for Nvme {
    fn name(&self) -> &'static str {
        "nvme"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        for device in names(&self.0).map_err(Failure::at(&self.0))? {
            let folder = self.0.join(&device);
            let files = ["firmware_rev", "model", "serial", "state", "cntlid"];
            let texts = files.map(|file| read_text(&folder.join(file)).unwrap_or_default());
            let names_of = ["firmware_revision", "model", "serial", "state", "cntlid"];
            let labels: Vec<_> = names_of
                .into_iter()
                .zip(texts.iter().map(String::as_str))
                .chain([("device", device.as_str())])
                .collect();
            sheet.put(
                Family::gauge(
                    "node_nvme_info",
                    "Non-numeric data from /sys/class/nvme/<device>, value is always 1.",
                ),
                &labels,
                1.0,
            );
            for space in names(&folder).unwrap_or_default() {
                if let Some(number) = namespace_number(&space) {
                    put_namespace(sheet, buffer, &folder.join(&space), &device, number);
                }
            }
        }
        Ok(())
    }
}

fn put_namespace(sheet: &mut Sheet, buffer: &mut Buffer, folder: &Path, device: &str, number: &str) {
    let labels = [("device", device), ("nsid", number)];
    let state = read_text(&folder.join("ana_state")).unwrap_or_else(|| "unknown".into());
    let info = [labels[0], labels[1], ("ana_state", state.as_str())];
    sheet.put(
        Family::gauge("node_nvme_namespace_info", "Information about NVMe namespaces. Value is always 1"),
        &info,
        1.0,
    );
    let Some(block) = read_number(&folder.join("queue/logical_block_size"), buffer) else { return };
    sheet.put(Family::gauge("node_nvme_namespace_logical_block_size_bytes", "Logical block size of the NVMe namespace in bytes. Usually 4Kb. Available in /sys/class/nvme/<device>/<namespace>/queue/logical_block_size"), &labels, block);
    if let Some(blocks) = read_number(&folder.join("size"), buffer) {
        sheet.put(
            Family::gauge(
                "node_nvme_namespace_size_bytes",
                "Size of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/size",
            ),
            &labels,
            blocks * block,
        );
        sheet.put(Family::gauge("node_nvme_namespace_capacity_bytes", "Capacity of the NVMe namespace in bytes. Computed as namespace_size * namespace_logical_block_size"), &labels, blocks * block);
    }
    if let Some(blocks) = read_number(&folder.join("nuse"), buffer) {
        sheet.put(Family::gauge("node_nvme_namespace_used_bytes", "Used space of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/nuse"), &labels, blocks * block);
    }
}

/// `1` of `nvme0n1` and `nvme0c1n1`.
fn namespace_number(name: &str) -> Option<&str> {
    let (rest, number) = name.strip_prefix("nvme")?.rsplit_once('n')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let controller = rest.split_once('c').map_or_else(|| digits(rest), |(a, b)| digits(a) && digits(b));
    (controller && digits(number)).then_some(number)
}

const TAPE: [Attribute; 10] = [
    (
        "in_flight",
        Family::gauge("node_tape_io_now", "The number of I/Os currently outstanding to this device."),
        SAME,
    ),
    (
        "io_ns",
        Family::counter(
            "node_tape_io_time_seconds_total",
            "The amount of time spent waiting for all I/O to complete (including read and write). This includes tape movement commands such as seeking between file or set marks and implicit tape movement such as when rewind on close tape devices are used.",
        ),
        NANO,
    ),
    (
        "other_cnt",
        Family::counter(
            "node_tape_io_others_total",
            "The number of I/Os issued to the tape drive other than read or write commands. The time taken to complete these commands uses the following calculation io_time_seconds_total-read_time_seconds_total-write_time_seconds_total",
        ),
        SAME,
    ),
    (
        "read_byte_cnt",
        Family::counter("node_tape_read_bytes_total", "The number of bytes read from the tape drive."),
        SAME,
    ),
    (
        "read_cnt",
        Family::counter(
            "node_tape_reads_completed_total",
            "The number of read requests issued to the tape drive.",
        ),
        SAME,
    ),
    (
        "read_ns",
        Family::counter(
            "node_tape_read_time_seconds_total",
            "The amount of time spent waiting for read requests to complete.",
        ),
        NANO,
    ),
    (
        "resid_cnt",
        Family::counter(
            "node_tape_residual_total",
            "The number of times during a read or write we found the residual amount to be non-zero. This should mean that a program is issuing a read larger thean the block size on tape. For write not all data made it to tape.",
        ),
        SAME,
    ),
    (
        "write_byte_cnt",
        Family::counter("node_tape_written_bytes_total", "The number of bytes written to the tape drive."),
        SAME,
    ),
    (
        "write_cnt",
        Family::counter(
            "node_tape_writes_completed_total",
            "The number of write requests issued to the tape drive.",
        ),
        SAME,
    ),
    (
        "write_ns",
        Family::counter(
            "node_tape_write_time_seconds_total",
            "The amount of time spent waiting for write requests to complete.",
        ),
        NANO,
    ),
];

/// `/sys/class/scsi_tape`. Each drive has several names; those of other modes are left out.
pub(super) struct Tapes(PathBuf);

impl Tapes {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sys_root.join("class/scsi_tape"))
    }
}

impl Source for Tapes {
    fn name(&self) -> &'static str {
        "tapestats"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        for device in names(&self.0).map_err(Failure::at(&self.0))? {
            if device.strip_prefix("st").is_some_and(|n| parse::unsigned(n.as_bytes()).is_some()) {
                let folder = self.0.join(&device).join("stats");
                attributes::put(sheet, buffer, &folder, &TAPE, &[("device", &device)]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_spaces_are_told_from_other_folders() {
        for (name, expected) in [
            ("nvme0n1", Some("1")),
            ("nvme10c2n34", Some("34")),
            ("nvme0", None),
            ("nvmen1", None),
            ("hwmon3", None),
            ("nvme0n1p1", None),
        ] {
            assert_eq!(namespace_number(name), expected, "{name}");
        }
    }
}
