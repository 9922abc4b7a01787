//! What the machine is made of: firmware tables, memory controllers, PCI devices.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{
    Failure,
    attributes::{self, Attribute, SAME},
    background::Source,
};
use crate::{
    Config,
    file::{Buffer, names, read_number, read_text},
    parse,
    series::Family,
    sheet::Sheet,
};

/// Files of the firmware's tables, which are labels of the same name but for the last.
const FIRMWARE: [(&str, &str); 20] = [
    ("bios_date", "bios_date"),
    ("bios_release", "bios_release"),
    ("bios_vendor", "bios_vendor"),
    ("bios_version", "bios_version"),
    ("board_asset_tag", "board_asset_tag"),
    ("board_name", "board_name"),
    ("board_serial", "board_serial"),
    ("board_vendor", "board_vendor"),
    ("board_version", "board_version"),
    ("chassis_asset_tag", "chassis_asset_tag"),
    ("chassis_serial", "chassis_serial"),
    ("chassis_vendor", "chassis_vendor"),
    ("chassis_version", "chassis_version"),
    ("product_family", "product_family"),
    ("product_name", "product_name"),
    ("product_serial", "product_serial"),
    ("product_sku", "product_sku"),
    ("product_uuid", "product_uuid"),
    ("product_version", "product_version"),
    ("system_vendor", "sys_vendor"),
];

/// `/sys/class/dmi/id`: what the firmware says of the machine.
pub(super) struct FirmwareTables(PathBuf);

impl FirmwareTables {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sys_root.join("class/dmi/id"))
    }
}

impl Source for FirmwareTables {
    fn name(&self) -> &'static str {
        "dmi"
    }

    fn read(&mut self, sheet: &mut Sheet, _: &mut Buffer) -> Result<(), Failure> {
        if !self.0.is_dir() {
            return Err(Failure::at(&self.0)(Errno::NOENT));
        }
        // Serial numbers can be read by the administrator only.
        let texts = FIRMWARE.map(|(label, file)| (label, read_text(&self.0.join(file)).unwrap_or_default()));
        let labels: Vec<_> = texts.iter().map(|(label, text)| (*label, text.as_str())).collect();
        sheet.put(Family::gauge("node_dmi_info", "A metric with a constant '1' value labeled by bios_date, bios_release, bios_vendor, bios_version, board_asset_tag, board_name, board_serial, board_vendor, board_version, chassis_asset_tag, chassis_serial, chassis_vendor, chassis_version, product_family, product_name, product_serial, product_sku, product_uuid, product_version, system_vendor if provided by DMI."), &labels, 1.0);
        Ok(())
    }
}

/// `/sys/devices/system/edac/mc`: errors that memory controllers found.
pub(super) struct MemoryErrors(PathBuf);

impl MemoryErrors {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sys_root.join("devices/system/edac/mc"))
    }
}

impl Source for MemoryErrors {
    fn name(&self) -> &'static str {
        "edac"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        for name in names(&self.0).map_err(Failure::at(&self.0))? {
            if let Some(controller) = number_after(&name, "mc") {
                put_controller(sheet, buffer, &self.0.join(&name), ("controller", controller));
            }
        }
        Ok(())
    }
}

fn put_controller(sheet: &mut Sheet, buffer: &mut Buffer, folder: &Path, controller: (&str, &str)) {
    const OF_ROW: [Attribute; 2] = [
        (
            "ce_count",
            Family::counter(
                "node_edac_csrow_correctable_errors_total",
                "Total correctable memory errors for this csrow.",
            ),
            SAME,
        ),
        (
            "ue_count",
            Family::counter(
                "node_edac_csrow_uncorrectable_errors_total",
                "Total uncorrectable memory errors for this csrow.",
            ),
            SAME,
        ),
    ];
    const OF_NO_ROW: [Attribute; 2] =
        [("ce_noinfo_count", OF_ROW[0].1, SAME), ("ue_noinfo_count", OF_ROW[1].1, SAME)];
    const OF_ALL: [Attribute; 2] = [
        (
            "ce_count",
            Family::counter("node_edac_correctable_errors_total", "Total correctable memory errors."),
            SAME,
        ),
        (
            "ue_count",
            Family::counter("node_edac_uncorrectable_errors_total", "Total uncorrectable memory errors."),
            SAME,
        ),
    ];
    attributes::put(sheet, buffer, folder, &OF_ALL, &[controller]);
    attributes::put(sheet, buffer, folder, &OF_NO_ROW, &[controller, ("csrow", "unknown")]);
    for name in names(folder).unwrap_or_default() {
        let Some(row) = number_after(&name, "csrow") else { continue };
        let labels = [controller, ("csrow", row)];
        let folder = folder.join(&name);
        attributes::put(sheet, buffer, &folder, &OF_ROW, &labels);
        for file in names(&folder).unwrap_or_default() {
            let counted = |end| file.strip_suffix(end).and_then(|name| number_after(name, "ch"));
            let (channel, family) = match (counted("_ce_count"), counted("_ue_count")) {
                (Some(channel), _) => (
                    channel,
                    Family::counter(
                        "node_edac_channel_correctable_errors_total",
                        "Total correctable memory errors for this channel.",
                    ),
                ),
                (_, Some(channel)) => (
                    channel,
                    Family::counter(
                        "node_edac_channel_uncorrectable_errors_total",
                        "Total uncorrectable memory errors for this channel.",
                    ),
                ),
                _ => continue,
            };
            let label = read_text(&folder.join(format!("ch{channel}_dimm_label")));
            let label = label.map_or_else(|| "unknown".to_owned(), |label| module_label(&label));
            if let Some(n) = read_number(&folder.join(&file), buffer) {
                let labels = [labels[0], labels[1], ("channel", channel), ("dimm_label", &label)];
                sheet.put(family, &labels, n);
            }
        }
    }
}

/// `mc#0csrow#1channel#0` as `mc0_csrow1_channel0`.
fn module_label(label: &str) -> String {
    label.replace('#', "").replace("csrow", "_csrow").replace("channel", "_channel")
}

fn number_after<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    name.strip_prefix(prefix).filter(|n| parse::unsigned(n.as_bytes()).is_some())
}

/// Numbers of a PCI device.
const PCI: [Attribute; 7] = [
    (
        "current_link_width",
        Family::gauge("node_pcidevice_current_link_width", "Value of current link's width (number of lanes)"),
        SAME,
    ),
    (
        "max_link_width",
        Family::gauge("node_pcidevice_max_link_width", "Value of maximum link's width (number of lanes)"),
        SAME,
    ),
    (
        "d3cold_allowed",
        Family::gauge(
            "node_pcidevice_d3cold_allowed",
            "Whether the PCIe device supports D3cold power state (0/1).",
        ),
        SAME,
    ),
    (
        "sriov_drivers_autoprobe",
        Family::gauge(
            "node_pcidevice_sriov_drivers_autoprobe",
            "Whether SR-IOV drivers autoprobe is enabled for the device (0/1).",
        ),
        SAME,
    ),
    (
        "sriov_numvfs",
        Family::gauge(
            "node_pcidevice_sriov_numvfs",
            "Number of Virtual Functions (VFs) currently enabled for SR-IOV.",
        ),
        SAME,
    ),
    (
        "sriov_totalvfs",
        Family::gauge(
            "node_pcidevice_sriov_totalvfs",
            "Total number of Virtual Functions (VFs) supported by the device.",
        ),
        SAME,
    ),
    (
        "sriov_vf_total_msix",
        Family::gauge(
            "node_pcidevice_sriov_vf_total_msix",
            "Total number of MSI-X vectors for Virtual Functions.",
        ),
        SAME,
    ),
];
const PCI_SPEEDS: [(&str, Family<'_>); 2] = [
    (
        "current_link_speed",
        Family::gauge(
            "node_pcidevice_current_link_transfers_per_second",
            "Value of current link's transfers per second (T/s)",
        ),
    ),
    (
        "max_link_speed",
        Family::gauge(
            "node_pcidevice_max_link_transfers_per_second",
            "Value of maximum link's transfers per second (T/s)",
        ),
    ),
];
const PCI_POWER_STATES: [&str; 7] = ["D0", "D1", "D2", "D3hot", "D3cold", "unknown", "error"];

/// `/sys/bus/pci/devices`.
pub(super) struct PciDevices(PathBuf);

impl PciDevices {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sys_root.join("bus/pci/devices"))
    }
}

/// Segment, bus, device and function out of `0000:00:02.1`.
fn pci_location(name: &str) -> Option<[&str; 4]> {
    let (rest, function) = name.rsplit_once('.')?;
    let mut parts = rest.split(':');
    let location = [parts.next()?, parts.next()?, parts.next()?, function];
    let hexadecimal = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_hexdigit());
    (parts.next().is_none() && location.iter().all(hexadecimal)).then_some(location)
}

impl Source for PciDevices {
    fn name(&self) -> &'static str {
        "pcidevice"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        for name in names(&self.0).map_err(Failure::at(&self.0))? {
            let Some([segment, bus, device, function]) = pci_location(&name) else { continue };
            let labels = [("segment", segment), ("bus", bus), ("device", device), ("function", function)];
            let folder = self.0.join(&name);
            put_pci_info(sheet, &folder, &labels);
            attributes::put(sheet, buffer, &folder, &PCI, &labels);
            for (file, family) in PCI_SPEEDS {
                // `8.0 GT/s PCIe`
                let text = read_text(&folder.join(file)).unwrap_or_default();
                let number = text.split_once(" GT/s").and_then(|(n, _)| parse::number(n.as_bytes()));
                if let Some(n) = number {
                    sheet.put(family, &labels, n * 1e9);
                }
            }
            if let Some(node) = read_number(&folder.join("numa_node"), buffer).filter(|n| *n >= 0.0) {
                sheet.put(
                    Family::gauge(
                        "node_pcidevice_numa_node",
                        "NUMA node number for the PCI device. -1 indicates unknown or not available.",
                    ),
                    &labels,
                    node,
                );
            }
            if let Some(now) = read_text(&folder.join("power_state")) {
                for state in PCI_POWER_STATES {
                    let is = f64::from(u8::from(now == state));
                    let labels: Vec<_> = labels.into_iter().chain([("state", state)]).collect();
                    sheet.put(
                        Family::gauge(
                            "node_pcidevice_power_state",
                            "PCIe device power state, one of: D0, D1, D2, D3hot, D3cold, unknown or error.",
                        ),
                        &labels,
                        is,
                    );
                }
            }
        }
        Ok(())
    }
}

fn put_pci_info(sheet: &mut Sheet, folder: &Path, labels: &[(&str, &str); 4]) {
    let real = folder.canonicalize().ok();
    let parent = real.as_deref().and_then(Path::parent).and_then(Path::file_name).and_then(|n| n.to_str());
    let parent = parent.and_then(pci_location).unwrap_or(["*"; 4]);
    let files = ["class", "vendor", "device", "subsystem_vendor", "subsystem_device", "revision"];
    let texts = files.map(|file| read_text(&folder.join(file)).unwrap_or_default());
    let own =
        ["class_id", "vendor_id", "device_id", "subsystem_vendor_id", "subsystem_device_id", "revision"];
    let of_parent = ["parent_segment", "parent_bus", "parent_device", "parent_function"];
    let labels: Vec<(&str, &str)> = (labels.iter().copied())
        .chain(of_parent.into_iter().zip(parent))
        .chain(own.into_iter().zip(texts.iter().map(String::as_str)))
        .collect();
    sheet.put(
        Family::gauge(
            "node_pcidevice_info",
            "Non-numeric data from /sys/bus/pci/devices/<location>, value is always 1.",
        ),
        &labels,
        1.0,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_of_pci_devices_are_taken_apart() {
        assert_eq!(pci_location("0000:0a:02.1"), Some(["0000", "0a", "02", "1"]));
        for name in ["pci0000:00", "0000:00:02", "0000:00:00:02.1", "x:0:0.1", ":::."] {
            assert_eq!(pci_location(name), None, "{name}");
        }
    }
}
