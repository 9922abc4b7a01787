//! `/sys/class/net`: attributes of network interfaces.
//!
//! Two dozen small files an interface, some of which make the kernel ask the driver: they are
//! read at the slow interval and repeated in between.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{Collector, Failure, Tools};
use crate::{
    Config,
    file::{Buffer, read_once, read_text},
    keyed::Keyed,
    parse,
    series::{Family, LazySeries, Pass, Series},
};

const fn property(name: &'static str, help: &'static str) -> Family<'static> {
    Family::gauge(name, help)
}

/// File of each attribute, its family, and what one unit of it is worth.
const ATTRIBUTES: [(&str, Family<'_>, f64); 19] = [
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
    (
        "statistics/rx_nohandler",
        Family::counter(
            "node_network_receive_nohandler_total",
            "Network device statistic receive_nohandler.",
        ),
        1.0,
    ),
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
    devices: Keyed<Device>,
    absent: bool,
}

struct Device {
    name: String,
    values: [Option<f64>; ATTRIBUTES.len()],
    series: [LazySeries; ATTRIBUTES.len()],
    info: Option<([String; INFO_LABELS.len()], Series)>,
}

impl NetClass {
    pub(super) fn new(config: &Config) -> Self {
        Self { folder: config.sys_root.join("class/net"), devices: Keyed::default(), absent: false }
    }

    fn read_devices(&mut self, pass: &mut Pass<'_>, buffer: &mut Buffer) {
        let listed = std::fs::read_dir(&self.folder);
        self.absent = listed.is_err();
        let mut names: Vec<_> = listed.into_iter().flatten().flatten().map(|e| e.file_name()).collect();
        names.sort_unstable();
        self.devices.begin();
        for name in names {
            let folder = self.folder.join(&name);
            // A bonding driver keeps a plain file among the interfaces.
            if !folder.is_dir() {
                continue;
            }
            if let Some(device) = self.devices.entry(name.as_encoded_bytes(), Device::new) {
                device.read(&folder, pass, buffer);
            }
        }
        self.devices.end(|device| device.retire(pass));
    }
}

impl Device {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            values: [None; ATTRIBUTES.len()],
            series: Default::default(),
            info: None,
        }
    }

    fn read(&mut self, folder: &Path, pass: &mut Pass<'_>, buffer: &mut Buffer) {
        for ((value, series), (file, _, unit)) in self.values.iter_mut().zip(&mut self.series).zip(ATTRIBUTES)
        {
            let text = read_once(&folder.join(file), buffer).unwrap_or_default();
            *value = match file {
                UP_FILE => (!text.is_empty()).then(|| f64::from(u8::from(parse::trim(text) == b"up"))),
                // A link that is down has the speed -1.
                "speed" => parse::signed(text).filter(|n| *n >= 0).map(|n| parse::signed_value(n) * unit),
                _ => parse::integer(text).map(|n| parse::signed_value(n) * unit),
            };
            if value.is_none() {
                series.retire(pass);
            }
        }
        let words = INFO_LABELS.map(|(label, file)| {
            let text = read_text(&folder.join(file)).unwrap_or_default();
            match label {
                "adminstate" if text.is_empty() => text,
                "adminstate" if parse::integer(text.as_bytes()).is_some_and(|f| f & FLAG_UP != 0) => {
                    "up".into()
                }
                "adminstate" => "down".into(),
                _ => text,
            }
        });
        if self.info.as_ref().is_none_or(|(known, _)| *known != words) {
            if let Some((_, old)) = self.info.take() {
                pass.retire(old);
            }
            let own = INFO_LABELS.iter().zip(&words).map(|((label, _), word)| (*label, word.as_str()));
            let labels: Vec<_> = own.chain([("device", self.name.as_str())]).collect();
            let series = pass.define(INFO, &labels);
            self.info = Some((words, series));
        }
    }

    fn put(&mut self, pass: &mut Pass<'_>) {
        for ((series, value), (_, family, _)) in self.series.iter_mut().zip(self.values).zip(ATTRIBUTES) {
            if let Some(value) = value {
                series.put(pass, family, &[("device", &self.name)], value);
            }
        }
        if let Some((_, series)) = &self.info {
            pass.put(*series, 1.0);
        }
    }

    fn retire(mut self, pass: &mut Pass<'_>) {
        self.series.iter_mut().for_each(|s| s.retire(pass));
        if let Some((_, series)) = self.info {
            pass.retire(series);
        }
    }
}

impl Collector for NetClass {
    fn name(&self) -> &'static str {
        "netclass"
    }

    fn collect(&mut self, pass: &mut Pass<'_>, tools: &mut Tools<'_>) -> Result<(), Failure> {
        if tools.slow {
            self.read_devices(pass, tools.buffer);
        }
        if self.absent {
            return Err(Failure::at(&self.folder)(Errno::NOENT));
        }
        for (_, device) in self.devices.iter_mut() {
            device.put(pass);
        }
        Ok(())
    }
}
