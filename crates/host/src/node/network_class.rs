//! `/sys/class/net`: attributes of network interfaces.
//!
//! Two dozen small files an interface, some of which make the kernel ask the driver, which may
//! keep it waiting.

use std::path::{Path, PathBuf};

use super::{Failure, background::Source};
use crate::{
    Config,
    config::fits_any,
    file::{Buffer, names, read_once, read_text},
    parse,
    series::Family,
    sheet::Sheet,
};

const fn property(name: &'static str, help: &'static str) -> Family<'static> {
    Family::gauge(name, help)
}

/// File of each attribute, its family, and what one unit of it is worth.
const ATTRIBUTES: [(&str, Family<'_>, f64); 18] = [
    (
        "addr_assign_type",
        property("node_network_address_assign_type", "Network device property: address_assign_type"),
        1.0,
    ),
    ("carrier", property("node_network_carrier", "Network device property: carrier"), 1.0),
    (
        "carrier_changes",
        Family::counter(
            "node_network_carrier_changes_total",
            "Network device property: carrier_changes_total",
        ),
        1.0,
    ),
    (
        "carrier_up_count",
        Family::counter(
            "node_network_carrier_up_changes_total",
            "Network device property: carrier_up_changes_total",
        ),
        1.0,
    ),
    (
        "carrier_down_count",
        Family::counter(
            "node_network_carrier_down_changes_total",
            "Network device property: carrier_down_changes_total",
        ),
        1.0,
    ),
    ("dev_id", property("node_network_device_id", "Network device property: device_id"), 1.0),
    ("dormant", property("node_network_dormant", "Network device property: dormant"), 1.0),
    ("flags", property("node_network_flags", "Network device property: flags"), 1.0),
    ("ifindex", property("node_network_iface_id", "Network device property: iface_id"), 1.0),
    ("iflink", property("node_network_iface_link", "Network device property: iface_link"), 1.0),
    ("link_mode", property("node_network_iface_link_mode", "Network device property: iface_link_mode"), 1.0),
    ("mtu", property("node_network_mtu_bytes", "Network device property: mtu_bytes"), 1.0),
    (
        "name_assign_type",
        property("node_network_name_assign_type", "Network device property: name_assign_type"),
        1.0,
    ),
    ("netdev_group", property("node_network_net_dev_group", "Network device property: net_dev_group"), 1.0),
    ("speed", property("node_network_speed_bytes", "Network device property: speed_bytes"), MEGABIT_BYTES),
    (
        "tx_queue_len",
        property("node_network_transmit_queue_length", "Network device property: transmit_queue_length"),
        1.0,
    ),
    ("type", property("node_network_protocol_type", "Network device property: protocol_type"), 1.0),
    (UP_FILE, property("node_network_up", "Value is 1 if operstate is 'up', 0 otherwise."), 1.0),
];
const UP_FILE: &str = "operstate";
const MEGABIT_BYTES: f64 = 1_000_000.0 / 8.0;
/// The interface is set up by the administrator (`IFF_UP`).
const FLAG_UP: i64 = 1;

const INFO: Family<'_> =
    Family::gauge("node_network_info", "Non-numeric data from /sys/class/net/<iface>, value is always 1.");
/// Labels of the info series beside the device, and their files.
const INFO_LABELS: [(&str, &str); 6] = [
    ("address", "address"),
    ("broadcast", "broadcast"),
    ("duplex", "duplex"),
    ("operstate", "operstate"),
    ("ifalias", "ifalias"),
    ("adminstate", "flags"),
];

pub(super) struct NetClass {
    folder: PathBuf,
    excluded: Vec<String>,
    unknown_speed_excluded: bool,
}

impl NetClass {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            folder: config.sys_root.join("class/net"),
            excluded: config.collectors.netclass_excluded.clone(),
            unknown_speed_excluded: config.collectors.netclass_unknown_speed_excluded,
        }
    }
}

impl Source for NetClass {
    fn name(&self) -> &'static str {
        "netclass"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        for device in names(&self.folder).map_err(Failure::at(&self.folder))? {
            let folder = self.folder.join(&device);
            // A bonding driver keeps a plain file among the interfaces.
            if folder.is_dir() && !fits_any(&self.excluded, &device) {
                put_device(sheet, buffer, &folder, ("device", &device), self.unknown_speed_excluded);
            }
        }
        Ok(())
    }
}

fn put_device(
    sheet: &mut Sheet,
    buffer: &mut Buffer,
    folder: &Path,
    device: (&str, &str),
    unknown_speed_excluded: bool,
) {
    for (file, family, unit) in ATTRIBUTES {
        let text = read_once(&folder.join(file), buffer).unwrap_or_default();
        let value = match file {
            UP_FILE => (!text.is_empty()).then(|| f64::from(u8::from(parse::trim(text) == b"up"))),
            // A link that is down has the speed -1.
            "speed" if unknown_speed_excluded => {
                parse::signed(text).filter(|n| *n >= 0).map(|n| parse::signed_value(n) * unit)
            }
            _ => parse::integer(text).map(|n| parse::signed_value(n) * unit),
        };
        if let Some(value) = value {
            sheet.put(family, &[device], value);
        }
    }
    let words = INFO_LABELS.map(|(label, file)| {
        let text = read_text(&folder.join(file)).unwrap_or_default();
        match (label, parse::integer(text.as_bytes())) {
            ("adminstate", Some(flags)) => if flags & FLAG_UP != 0 { "up" } else { "down" }.to_owned(),
            _ => text,
        }
    });
    let own = INFO_LABELS.iter().zip(&words).map(|((label, _), word)| (*label, word.as_str()));
    let labels: Vec<_> = own.chain([device]).collect();
    sheet.put(INFO, &labels, 1.0);
}
