//! What sysfs and udev know of block devices: model, serial number, file system, device-mapper
//! names.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use crate::{
    Config,
    file::{Buffer, read_once, read_text},
    parse,
    series::{Family, Pass},
    sheet::Sheet,
};

/// What udev found out of an ATA disk.
const ATA: [(&str, Family<'_>); 3] = [
    ("ID_ATA_WRITE_CACHE", Family::gauge("node_disk_ata_write_cache", "ATA disk has a write cache.")),
    (
        "ID_ATA_WRITE_CACHE_ENABLED",
        Family::gauge("node_disk_ata_write_cache_enabled", "ATA disk has its write cache enabled."),
    ),
    (
        "ID_ATA_ROTATION_RATE_RPM",
        Family::gauge("node_disk_ata_rotation_rate_rpm", "ATA disk rotation rate in RPMs (0 for SSDs)."),
    ),
];

/// A block device as `/proc/diskstats` names it.
pub(super) struct Device {
    pub(super) major: String,
    pub(super) minor: String,
    pub(super) name: String,
}

/// Info series of all block devices.
pub(super) struct DiskInfo {
    udev: PathBuf,
    block: PathBuf,
    buffer: Buffer,
    sheet: Sheet,
}

impl DiskInfo {
    pub(super) fn new(config: &Config) -> Self {
        let udev = config.collectors.udev_data.clone();
        Self {
            udev: udev.unwrap_or_else(|| config.root.join("run/udev/data")),
            block: config.sys_root.join("block"),
            buffer: Buffer::new(),
            sheet: Sheet::default(),
        }
    }

    /// Reads anew what is known of the devices.
    pub(super) fn read(&mut self, devices: &[Device], pass: &mut Pass<'_>) {
        self.sheet.begin();
        for device in devices {
            self.read_device(device);
        }
        self.sheet.settle(pass);
    }

    /// Puts what was read last.
    pub(super) fn put(&self, pass: &mut Pass<'_>) {
        for (series, value) in self.sheet.samples() {
            pass.put(series, value);
        }
    }

    fn read_device(&mut self, Device { major, minor, name }: &Device) {
        let folder = self.block.join(name);
        let rotational = read_text(&folder.join("queue/rotational")).unwrap_or_else(|| "0".into());
        let known = read_once(&self.udev.join(format!("b{major}:{minor}")), &mut self.buffer)
            .map(properties)
            .unwrap_or_default();
        let get = |key: &str| known.get(key).map_or("", String::as_str);
        // The first is printed on the disk.
        let serials = [get("SCSI_IDENT_SERIAL"), get("ID_SERIAL_SHORT"), get("ID_SERIAL")];
        let labels = [
            ("device", name.as_str()),
            ("major", major),
            ("minor", minor),
            ("path", get("ID_PATH")),
            ("wwn", get("ID_WWN")),
            ("model", get("ID_MODEL")),
            ("serial", serials.into_iter().find(|s| !s.is_empty()).unwrap_or("")),
            ("revision", get("ID_REVISION")),
            ("rotational", &rotational),
        ];
        let device = ("device", name.as_str());
        self.sheet.put(Family::gauge("node_disk_info", "Info of /sys/block/<block_device>."), &labels, 1.0);
        let (mapped, uuid) = match get("DM_NAME") {
            "" => mapper_names(&folder).unwrap_or_default(),
            name => (name.to_owned(), get("DM_UUID").to_owned()),
        };
        if !mapped.is_empty() {
            let labels = [
                device,
                ("name", mapped.as_str()),
                ("uuid", &uuid),
                ("vg_name", get("DM_VG_NAME")),
                ("lv_name", get("DM_LV_NAME")),
                ("lv_layer", get("DM_LV_LAYER")),
            ];
            self.sheet.put(
                Family::gauge("node_disk_device_mapper_info", "Info about disk device mapper."),
                &labels,
                1.0,
            );
        }
        if !get("ID_FS_TYPE").is_empty() {
            let labels = [
                device,
                ("type", get("ID_FS_TYPE")),
                ("usage", get("ID_FS_USAGE")),
                ("uuid", get("ID_FS_UUID")),
                ("version", get("ID_FS_VERSION")),
            ];
            self.sheet.put(
                Family::gauge("node_disk_filesystem_info", "Info about disk filesystem."),
                &labels,
                1.0,
            );
        }
        if get("ID_ATA").is_empty() {
            return;
        }
        for (key, family) in ATA {
            if let Some(n) = parse::number(get(key).as_bytes()) {
                self.sheet.put(family, &[device], n);
            }
        }
    }
}

/// What the kernel itself tells, on machines without udev.
fn mapper_names(folder: &Path) -> Option<(String, String)> {
    Some((read_text(&folder.join("dm/name"))?, read_text(&folder.join("dm/uuid")).unwrap_or_default()))
}

/// Lines `E:KEY=value` of a device in udev's database.
fn properties(text: &[u8]) -> HashMap<String, String> {
    let property = |line: &[u8]| {
        let (key, value) = parse::split_once(line.strip_prefix(b"E:")?, b'=')?;
        Some((String::from_utf8_lossy(key).into_owned(), String::from_utf8_lossy(value).into_owned()))
    };
    parse::lines(text).filter_map(property).collect()
}
