//! Device-mapper and LVM: volume groups, thin pools, snapshots, RAID volumes, and when they will
//! be full.
//!
//! Nothing of LVM's tools is needed: the device-mapper is asked itself, and volume groups are read
//! where LVM keeps them, on their physical volumes. node_exporter has none of this; the families
//! are our own.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::io::Errno;
use vedette_sys::{Clock, MapperTarget};

use super::{Failure, background::Source, courses::Courses, lvm_metadata};
use crate::{
    Config,
    file::{Buffer, names, read_number, read_text},
    parse,
    series::Family,
    sheet::Sheet,
};

const SUSPENDED: Family<'_> =
    Family::gauge("node_device_mapper_suspended", "Whether the device-mapper device holds up all requests.");
const GROUP_SIZE: Family<'_> =
    Family::gauge("node_lvm_volume_group_size_bytes", "Size of the LVM volume group.");
const GROUP_FREE: Family<'_> =
    Family::gauge("node_lvm_volume_group_free_bytes", "Bytes of the LVM volume group that no volume takes.");
const GROUP_DISKS: Family<'_> =
    Family::gauge("node_lvm_volume_group_physical_volumes", "Physical volumes of the LVM volume group.");
const GROUP_MISSING: Family<'_> = Family::gauge(
    "node_lvm_volume_group_physical_volumes_missing",
    "Physical volumes of the LVM volume group that LVM did not find.",
);
const GROUP_VOLUMES: Family<'_> = Family::gauge(
    "node_lvm_volume_group_logical_volumes",
    "Logical volumes of the LVM volume group, those that LVM keeps for itself included.",
);
const GROUP_HOURS: Family<'_> = Family::gauge(
    "node_lvm_volume_group_until_full_hours",
    "Hours until volumes take all of the LVM volume group, by the median rate of the last day; +Inf when they do not grow.",
);
const POOL_SIZE: Family<'_> =
    Family::gauge("node_lvm_thin_pool_size_bytes", "Size of the thin pool, of its data and of its metadata.");
const POOL_USED: Family<'_> = Family::gauge(
    "node_lvm_thin_pool_used_bytes",
    "Bytes used of the thin pool, of its data and of its metadata.",
);
const POOL_DATA: Family<'_> =
    Family::gauge("node_lvm_thin_pool_data_percent", "Part of the thin pool's data that is used.");
const POOL_METADATA: Family<'_> =
    Family::gauge("node_lvm_thin_pool_metadata_percent", "Part of the thin pool's metadata that is used.");
const POOL_STATE: Family<'_> =
    Family::gauge("node_lvm_thin_pool_state", "State of the thin pool: 1 for that which it is in.");
const POOL_CHECK: Family<'_> = Family::gauge(
    "node_lvm_thin_pool_needs_check",
    "Whether the thin pool's metadata must be checked before it is used again.",
);
const POOL_HOURS: Family<'_> = Family::gauge(
    "node_lvm_thin_pool_until_full_hours",
    "Hours until the thin pool's data or metadata is full, by the median rate of the last day; +Inf when it does not fill.",
);
const POOL_STATES: [&str; 5] = ["rw", "ro", "out_of_data_space", "fail", "error"];
const SNAPSHOT_USED: Family<'_> =
    Family::gauge("node_lvm_snapshot_used_percent", "Part of the snapshot's room for changes that is used.");
const SNAPSHOT_VALID: Family<'_> =
    Family::gauge("node_lvm_snapshot_valid", "Whether the snapshot still holds what it should.");
const RAID_DISKS: Family<'_> = Family::gauge(
    "node_lvm_raid_disks",
    "Disks of the RAID volume by state: in sync, being synchronised, failed.",
);
const RAID_SYNCED: Family<'_> =
    Family::gauge("node_lvm_raid_synced_percent", "Part of the RAID volume that is in sync.");

/// A block of a thin pool's metadata.
const METADATA_BLOCK_BYTES: u64 = 4096;
const SECTOR_BYTES: u64 = 512;

/// Asks for a device's targets; in a test something else than the kernel answers.
type Ask = Box<dyn Fn(&str, bool) -> std::io::Result<Vec<MapperTarget>> + Send>;

/// `/sys/block/dm-*`, the device-mapper and physical volumes.
pub(super) struct Volumes {
    block: PathBuf,
    devices: PathBuf,
    ask: Ask,
    clock: Arc<dyn Clock>,
    courses: Arc<Courses>,
}

/// A device of the device-mapper.
struct Mapped {
    device: String,
    name: String,
    uuid: String,
}

impl Volumes {
    pub(super) fn new(config: &Config, clock: Arc<dyn Clock>, courses: Arc<Courses>) -> Self {
        let devices = config.root.join("dev");
        let control = devices.join("mapper/control");
        Self {
            block: config.sys_root.join("block"),
            devices,
            ask: Box::new(move |name, table| vedette_sys::mapper_targets(&control, name, table)),
            clock,
            courses,
        }
    }

    /// Hours until what grows under this key is full.
    fn hours(&self, key: &str, used: f64, free: f64) -> Option<f64> {
        let seconds = parse::signed_value(self.clock.unix_ms()) / 1000.0;
        Some(self.courses.observe(key, seconds, used)?.hours(free))
    }

    fn put_targets(&mut self, sheet: &mut Sheet, mapped: &Mapped) -> Result<(), Errno> {
        let (group, volume) = volume_names(&mapped.name);
        let labels = [("device", mapped.device.as_str()), ("vg", group.as_str()), ("lv", volume.as_str())];
        for target in (self.ask)(&mapped.name, false).map_err(|e| errno(&e))? {
            match target.kind.as_str() {
                "thin-pool" => self.put_pool(sheet, mapped, &labels, &target.text)?,
                "snapshot" => put_snapshot(sheet, &labels, &target.text),
                "raid" => put_raid(sheet, &labels, &target.text),
                _ => {}
            }
        }
        Ok(())
    }

    fn put_pool(
        &mut self,
        sheet: &mut Sheet,
        mapped: &Mapped,
        labels: &[(&str, &str); 3],
        text: &str,
    ) -> Result<(), Errno> {
        let pool = pool_status(text);
        for state in POOL_STATES {
            let labels = [labels[0], labels[1], labels[2], ("state", state)];
            sheet.put(POOL_STATE, &labels, f64::from(u8::from(pool.state == state)));
        }
        sheet.put(POOL_CHECK, labels, f64::from(u8::from(pool.needs_check)));
        let Some([metadata, data]) = pool.blocks else { return Ok(()) };
        let table = (self.ask)(&mapped.name, true).map_err(|e| errno(&e))?;
        let block_bytes =
            table.iter().find(|t| t.kind == "thin-pool").and_then(|t| pool_block_bytes(&t.text));
        let parts = [
            ("data", data, block_bytes.unwrap_or(0), POOL_DATA),
            ("metadata", metadata, METADATA_BLOCK_BYTES, POOL_METADATA),
        ];
        for (part, (used, all), block_bytes, percent) in parts {
            let bytes = |blocks: u64| parse::value(blocks) * parse::value(block_bytes);
            if all > 0 {
                sheet.put(percent, labels, parse::value(used) * 100.0 / parse::value(all));
            }
            let of_part = [labels[0], labels[1], labels[2], ("part", part)];
            if block_bytes > 0 {
                sheet.put(POOL_SIZE, &of_part, bytes(all));
                sheet.put(POOL_USED, &of_part, bytes(used));
            }
            let key = format!("lvm {} {part}", mapped.uuid);
            let free = parse::value(all.saturating_sub(used));
            if let Some(hours) = self.hours(&key, parse::value(used), free) {
                sheet.put(POOL_HOURS, &of_part, hours);
            }
        }
        Ok(())
    }

    fn put_group(&mut self, sheet: &mut Sheet, group: &lvm_metadata::VolumeGroup) {
        let labels = [("vg", group.name.as_str())];
        let bytes = |extents: u64| parse::value(extents) * parse::value(group.extent_bytes);
        let free = bytes(group.extents.saturating_sub(group.extents_used));
        sheet.put(GROUP_SIZE, &labels, bytes(group.extents));
        sheet.put(GROUP_FREE, &labels, free);
        sheet.put(GROUP_DISKS, &labels, parse::value(group.physical_volumes));
        sheet.put(GROUP_MISSING, &labels, parse::value(group.physical_volumes_missing));
        sheet.put(GROUP_VOLUMES, &labels, parse::value(group.logical_volumes));
        let key = format!("vg {}", group.name);
        if let Some(hours) = self.hours(&key, bytes(group.extents_used), free) {
            sheet.put(GROUP_HOURS, &labels, hours);
        }
    }
}

impl Source for Volumes {
    fn name(&self) -> &'static str {
        "lvm"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let mapped = mapped_devices(&self.block);
        if mapped.is_empty() {
            return Err(Failure::at(self.block.join("dm-*"))(Errno::NOENT));
        }
        let mut failed = Ok(());
        let mut disks = BTreeSet::new();
        for mapped in &mapped {
            let suspended = read_number(&self.block.join(&mapped.device).join("dm/suspended"), buffer);
            if let Some(suspended) = suspended {
                let labels = [("device", mapped.device.as_str()), ("name", &mapped.name)];
                sheet.put(SUSPENDED, &labels, suspended);
            }
            if let Err(errno) = self.put_targets(sheet, mapped) {
                failed = Err(Failure::at(self.devices.join("mapper").join(&mapped.name))(errno));
            }
            if mapped.uuid.starts_with("LVM-") {
                add_disks(&self.block, &mapped.device, &mut disks, 0);
            }
        }
        let mut told = BTreeSet::new();
        for disk in disks {
            let path = self.devices.join(disk.replace('!', "/"));
            match lvm_metadata::read(&path) {
                Ok(Some(group)) if told.insert(group.name.clone()) => self.put_group(sheet, &group),
                Ok(_) => {}
                Err(e) => failed = Err(Failure::at(path)(errno(&e))),
            }
        }
        failed
    }
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn mapped_devices(block: &Path) -> Vec<Mapped> {
    let mapped = |device: String| {
        let folder = block.join(&device).join("dm");
        let name = read_text(&folder.join("name"))?;
        Some(Mapped { device, name, uuid: read_text(&folder.join("uuid")).unwrap_or_default() })
    };
    names(block).unwrap_or_default().into_iter().filter(|n| n.starts_with("dm-")).filter_map(mapped).collect()
}

/// Adds the disks that a device of LVM lies on: what is below it and not LVM's own.
fn add_disks(block: &Path, device: &str, disks: &mut BTreeSet<String>, depth: u32) {
    const DEPTH_MAX: u32 = 8;
    for below in names(&block.join(device).join("slaves")).unwrap_or_default() {
        let uuid = read_text(&block.join(&below).join("dm/uuid")).unwrap_or_default();
        if !uuid.starts_with("LVM-") {
            disks.insert(below);
        } else if depth < DEPTH_MAX {
            add_disks(block, &below, disks, depth + 1);
        }
    }
}

/// Group and volume out of a name such as `my--group-pool-tpool`, in which `--` stands for a dash
/// of the name itself and what follows the volume is a layer of LVM's own.
fn volume_names(name: &str) -> (String, String) {
    let mut parts = vec![String::new()];
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '-' && chars.next_if_eq(&'-').is_none() {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    let mut parts = parts.into_iter();
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

#[derive(Debug, PartialEq, Eq)]
struct PoolStatus {
    state: &'static str,
    needs_check: bool,
    /// Used and all blocks of the metadata and of the data.
    blocks: Option<[(u64, u64); 2]>,
}

/// `<transaction> <used>/<all> <used>/<all> <held root> rw …`, or one word.
fn pool_status(text: &str) -> PoolStatus {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let has = |word: &str| words.contains(&word);
    let pair = |word: &&str| {
        let (used, all) = word.split_once('/')?;
        Some((parse::unsigned(used.as_bytes())?, parse::unsigned(all.as_bytes())?))
    };
    let blocks = match words.as_slice() {
        [_, metadata, data, ..] => pair(metadata).zip(pair(data)).map(|(metadata, data)| [metadata, data]),
        _ => None,
    };
    let state = match words.first() {
        Some(&"Fail") => "fail",
        Some(&"Error") => "error",
        _ if has("out_of_data_space") => "out_of_data_space",
        _ if has("ro") => "ro",
        _ if has("rw") => "rw",
        _ => "error",
    };
    PoolStatus { state, needs_check: has("needs_check"), blocks }
}

/// `<metadata device> <data device> <sectors a block> …`
fn pool_block_bytes(table: &str) -> Option<u64> {
    parse::unsigned(table.split_ascii_whitespace().nth(2)?.as_bytes())?.checked_mul(SECTOR_BYTES)
}

/// `<used>/<all> <metadata>`, or one word of what went wrong.
fn put_snapshot(sheet: &mut Sheet, labels: &[(&str, &str); 3], text: &str) {
    let number = |text: &str| parse::unsigned(text.as_bytes()).map(parse::value);
    let room = text.split_ascii_whitespace().next().and_then(|word| word.split_once('/'));
    let room = room.and_then(|(used, all)| Some((number(used)?, number(all)?)));
    sheet.put(SNAPSHOT_VALID, labels, f64::from(u8::from(room.is_some())));
    if let Some((used, all)) = room.filter(|(_, all)| *all > 0.0) {
        sheet.put(SNAPSHOT_USED, labels, used * 100.0 / all);
    }
}

/// `<level> <disks> <a letter a disk> <synced>/<all> …`: `A` in sync, `a` not yet, `D` failed.
fn put_raid(sheet: &mut Sheet, labels: &[(&str, &str); 3], text: &str) {
    let mut words = text.split_ascii_whitespace().skip(2);
    let health = words.next().unwrap_or_default();
    for (state, letter) in [("in_sync", 'A'), ("synchronising", 'a'), ("failed", 'D')] {
        let disks = health.chars().filter(|c| *c == letter).count() as u64;
        let labels = [labels[0], labels[1], labels[2], ("state", state)];
        sheet.put(RAID_DISKS, &labels, parse::value(disks));
    }
    let synced = words.next().and_then(|word| word.split_once('/'));
    if let Some((synced, all)) = synced
        && let (Some(synced), Some(all)) =
            (parse::unsigned(synced.as_bytes()), parse::unsigned(all.as_bytes()))
        && all > 0
    {
        sheet.put(RAID_SYNCED, labels, parse::value(synced) * 100.0 / parse::value(all));
    }
}

#[cfg(test)]
mod tests;
