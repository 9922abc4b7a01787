//! Power and heat: temperature zones, cooling, supplies, energy counters, watchdogs.

use std::path::PathBuf;

use super::{
    Failure,
    attributes::{self, Attribute, MICRO, MILLI, SAME},
    background::Source,
};
use crate::{
    Config,
    file::{Buffer, names, read_number, read_text},
    parse,
    series::Family,
    sheet::Sheet,
};

const COOLING: [Attribute; 2] = [
    (
        "cur_state",
        Family::gauge("node_cooling_device_cur_state", "Current throttle state of the cooling device"),
        SAME,
    ),
    (
        "max_state",
        Family::gauge("node_cooling_device_max_state", "Maximum throttle state of the cooling device"),
        SAME,
    ),
];

/// `/sys/class/thermal`.
pub(super) struct ThermalZones(PathBuf);

impl ThermalZones {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sys_root.join("class/thermal"))
    }
}

impl Source for ThermalZones {
    fn name(&self) -> &'static str {
        "thermal_zone"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        for name in names(&self.0).map_err(Failure::at(&self.0))? {
            let folder = self.0.join(&name);
            let Some(kind) = read_text(&folder.join("type")) else { continue };
            if let Some(zone) = name.strip_prefix("thermal_zone") {
                // A zone that is switched off has no temperature.
                if let Some(n) = read_number(&folder.join("temp"), buffer) {
                    let labels = [("zone", zone), ("type", kind.as_str())];
                    sheet.put(
                        Family::gauge("node_thermal_zone_temp", "Zone temperature in Celsius"),
                        &labels,
                        n / MILLI,
                    );
                }
            } else if let Some(device) = name.strip_prefix("cooling_device") {
                attributes::put(sheet, buffer, &folder, &COOLING, &[("name", device), ("type", &kind)]);
            }
        }
        Ok(())
    }
}

/// Attributes of a supply: file, name of the family, units.
const SUPPLY: [(&str, &str, f64); 34] = [
    ("authentic", "authentic", SAME),
    ("calibrate", "calibrate", SAME),
    ("capacity", "capacity", SAME),
    ("capacity_alert_max", "capacity_alert_max", SAME),
    ("capacity_alert_min", "capacity_alert_min", SAME),
    ("cycle_count", "cyclecount", SAME),
    ("online", "online", SAME),
    ("present", "present", SAME),
    ("time_to_empty_now", "time_to_empty_seconds", SAME),
    ("time_to_full_now", "time_to_full_seconds", SAME),
    ("current_boot", "current_boot", MICRO),
    ("current_max", "current_max", MICRO),
    ("current_now", "current_ampere", MICRO),
    ("energy_empty", "energy_empty", MICRO),
    ("energy_empty_design", "energy_empty_design", MICRO),
    ("energy_full", "energy_full", MICRO),
    ("energy_full_design", "energy_full_design", MICRO),
    ("energy_now", "energy_watthour", MICRO),
    ("voltage_boot", "voltage_boot", MICRO),
    ("voltage_max", "voltage_max", MICRO),
    ("voltage_max_design", "voltage_max_design", MICRO),
    ("voltage_min", "voltage_min", MICRO),
    ("voltage_min_design", "voltage_min_design", MICRO),
    ("voltage_now", "voltage_volt", MICRO),
    ("voltage_ocv", "voltage_ocv", MICRO),
    ("charge_control_limit", "charge_control_limit", MICRO),
    ("charge_control_limit_max", "charge_control_limit_max", MICRO),
    ("charge_counter", "charge_counter", MICRO),
    ("charge_empty", "charge_empty", MICRO),
    ("charge_empty_design", "charge_empty_design", MICRO),
    ("charge_full", "charge_full", MICRO),
    ("charge_full_design", "charge_full_design", MICRO),
    ("charge_now", "charge_ampere", MICRO),
    ("power_now", "power_watt", MICRO),
];
/// Temperatures come in tenths of a degree.
const SUPPLY_TEMPERATURES: [(&str, &str); 7] = [
    ("temp", "temp_celsius"),
    ("temp_alert_max", "temp_alert_max_celsius"),
    ("temp_alert_min", "temp_alert_min_celsius"),
    ("temp_ambient", "temp_ambient_celsius"),
    ("temp_ambient_max", "temp_ambient_max_celsius"),
    ("temp_ambient_min", "temp_ambient_min_celsius"),
    ("temp_max", "temp_max_celsius"),
];
/// What is told of a supply in words. Those that it does not have are no labels.
const SUPPLY_TEXTS: [(&str, &str); 11] = [
    ("capacity_level", "capacity_level"),
    ("charge_type", "charge_type"),
    ("health", "health"),
    ("manufacturer", "manufacturer"),
    ("model_name", "model_name"),
    ("scope", "scope"),
    ("serial_number", "serial_number"),
    ("status", "status"),
    ("technology", "technology"),
    ("type", "type"),
    ("usb_type", "usb_type"),
];

/// `/sys/class/power_supply`: batteries, mains, uninterruptible supplies.
pub(super) struct PowerSupplies(PathBuf);

impl PowerSupplies {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sys_root.join("class/power_supply"))
    }
}

impl Source for PowerSupplies {
    fn name(&self) -> &'static str {
        "powersupplyclass"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        for supply in names(&self.0).map_err(Failure::at(&self.0))? {
            let folder = self.0.join(&supply);
            let labels = [("power_supply", supply.as_str())];
            let numbers =
                SUPPLY.into_iter().chain(SUPPLY_TEMPERATURES.map(|(file, name)| (file, name, 10.0)));
            for (file, name, units) in numbers {
                if let Some(n) = read_number(&folder.join(file), buffer) {
                    let help = format!("{name} value of /sys/class/power_supply/<power_supply>.");
                    sheet.put(Family::gauge(&format!("node_power_supply_{name}"), &help), &labels, n / units);
                }
            }
            let texts =
                SUPPLY_TEXTS.map(|(label, file)| (label, read_text(&folder.join(file)).unwrap_or_default()));
            let told = texts.iter().filter(|(_, text)| !text.is_empty());
            let labels: Vec<_> =
                labels.into_iter().chain(told.map(|(label, text)| (*label, text.as_str()))).collect();
            sheet.put(
                Family::gauge("node_power_supply_info", "info of /sys/class/power_supply/<power_supply>."),
                &labels,
                1.0,
            );
        }
        Ok(())
    }
}

/// `/sys/class/powercap`: energy that processors used, as they count it themselves.
pub(super) struct EnergyCounters(PathBuf);

impl EnergyCounters {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sys_root.join("class/powercap"))
    }
}

impl Source for EnergyCounters {
    fn name(&self) -> &'static str {
        "rapl"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let mut denied = Ok(());
        for name in names(&self.0).map_err(Failure::at(&self.0))? {
            let folder = self.0.join(&name);
            let Some(zone) = read_text(&folder.join("name")) else { continue };
            // `package-0` and `core`: what is counted, and which one of it.
            let (kind, index) = match zone.rsplit_once('-') {
                Some((kind, index)) if parse::unsigned(index.as_bytes()).is_some() => {
                    (kind.to_owned(), index)
                }
                _ => (zone.clone(), "0"),
            };
            let energy = folder.join("energy_uj");
            match crate::file::read_once(&energy, buffer) {
                Ok(text) => {
                    let Some(n) = parse::number(text) else { continue };
                    let kind = kind.replace('-', "_");
                    let family = format!("node_rapl_{kind}_joules_total");
                    let help = format!("Current RAPL {kind} value in joules");
                    let path = folder.to_string_lossy();
                    let labels = [("index", index), ("path", &path)];
                    sheet.put(Family::counter(&family, &help), &labels, n / MICRO);
                }
                // Only the administrator may read it, as it tells what others compute.
                Err(errno) => denied = Err(Failure::at(energy)(errno)),
            }
        }
        denied
    }
}

const WATCHDOG: [Attribute; 7] = [
    (
        "bootstatus",
        Family::gauge("node_watchdog_bootstatus", "Value of /sys/class/watchdog/<watchdog>/bootstatus"),
        SAME,
    ),
    (
        "fw_version",
        Family::gauge("node_watchdog_fw_version", "Value of /sys/class/watchdog/<watchdog>/fw_version"),
        SAME,
    ),
    (
        "nowayout",
        Family::gauge("node_watchdog_nowayout", "Value of /sys/class/watchdog/<watchdog>/nowayout"),
        SAME,
    ),
    (
        "timeleft",
        Family::gauge("node_watchdog_timeleft_seconds", "Value of /sys/class/watchdog/<watchdog>/timeleft"),
        SAME,
    ),
    (
        "timeout",
        Family::gauge("node_watchdog_timeout_seconds", "Value of /sys/class/watchdog/<watchdog>/timeout"),
        SAME,
    ),
    (
        "pretimeout",
        Family::gauge(
            "node_watchdog_pretimeout_seconds",
            "Value of /sys/class/watchdog/<watchdog>/pretimeout",
        ),
        SAME,
    ),
    (
        "access_cs0",
        Family::gauge("node_watchdog_access_cs0", "Value of /sys/class/watchdog/<watchdog>/access_cs0"),
        SAME,
    ),
];
const WATCHDOG_TEXTS: [&str; 5] = ["options", "identity", "state", "status", "pretimeout_governor"];

/// `/sys/class/watchdog`.
pub(super) struct Watchdogs(PathBuf);

impl Watchdogs {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sys_root.join("class/watchdog"))
    }
}

impl Source for Watchdogs {
    fn name(&self) -> &'static str {
        "watchdog"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        for name in names(&self.0).map_err(Failure::at(&self.0))? {
            let folder = self.0.join(&name);
            attributes::put(sheet, buffer, &folder, &WATCHDOG, &[("name", &name)]);
            let texts = WATCHDOG_TEXTS.map(|file| read_text(&folder.join(file)).unwrap_or_default());
            let told = WATCHDOG_TEXTS.into_iter().zip(texts.iter().map(String::as_str));
            let labels: Vec<_> = told.chain([("name", name.as_str())]).collect();
            sheet.put(
                Family::gauge("node_watchdog_info", "Info of /sys/class/watchdog/<watchdog>"),
                &labels,
                1.0,
            );
        }
        Ok(())
    }
}
