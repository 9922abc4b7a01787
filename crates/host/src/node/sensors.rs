//! `/sys/class/hwmon`: temperatures, fans, voltages and what else the machine's chips measure.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    Failure,
    attributes::{MICRO, MILLI, SAME},
    background::Source,
};
use crate::{
    Config,
    config::fits_any,
    file::{Buffer, names, read_once, read_text},
    parse,
    series::Family,
    sheet::Sheet,
};

/// Kinds of sensors.
const KINDS: [&str; 14] = [
    "vrm",
    "beep_enable",
    "update_interval",
    "in",
    "cpu",
    "fan",
    "pwm",
    "temp",
    "curr",
    "power",
    "energy",
    "humidity",
    "intrusion",
    "freq",
];

/// Sensors of a chip by name, such as `temp1`; of each its elements and what they say.
type Readings = BTreeMap<(String, &'static str), BTreeMap<String, String>>;

/// What chips measure.
pub(super) struct Sensors {
    folder: PathBuf,
    chips: Vec<String>,
}

impl Sensors {
    pub(super) fn new(config: &Config) -> Self {
        Self { folder: config.sys_root.join("class/hwmon"), chips: config.collectors.hwmon_chips.clone() }
    }
}

impl Source for Sensors {
    fn name(&self) -> &'static str {
        "hwmon"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        for name in names(&self.folder).map_err(Failure::at(&self.folder))? {
            let folder = self.folder.join(&name);
            let chip = chip_name(&folder).unwrap_or(name);
            if self.chips.is_empty() || fits_any(&self.chips, &chip) {
                put_chip(sheet, buffer, &folder, &chip);
            }
        }
        Ok(())
    }
}

/// A name that stays the same over restarts: of the device that the chip belongs to, and of the
/// chip itself where the device has several.
fn chip_name(folder: &Path) -> Option<String> {
    let own = || Some(clean(&read_text(&folder.join("name"))?)).filter(|name| !name.is_empty());
    let Ok(device) = folder.join("device").canonicalize() else { return own() };
    let part = |path: &Path| Some(clean(path.file_name()?.to_str()?)).filter(|name| !name.is_empty());
    let name = [device.parent().and_then(part), part(&device)].into_iter().flatten().collect::<Vec<_>>();
    if name.is_empty() {
        return own();
    }
    let several = names(&device.join("hwmon")).is_ok_and(|chips| chips.len() > 1);
    let own = several.then(own).flatten();
    Some(name.into_iter().chain(own).collect::<Vec<_>>().join("_"))
}

/// Text as a name of a metric may have it.
fn clean(text: &str) -> String {
    let lower = text.trim().to_lowercase();
    let fit = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == ':' { c } else { '_' };
    lower.chars().map(fit).collect::<String>().trim_matches('_').to_owned()
}

fn put_chip(sheet: &mut Sheet, buffer: &mut Buffer, folder: &Path, chip: &str) {
    if let Some(name) = read_text(&folder.join("name")).map(|name| clean(&name)).filter(|n| !n.is_empty()) {
        sheet.put(
            Family::gauge("node_hwmon_chip_names", "Annotation metric for human-readable chip names"),
            &[("chip", chip), ("chip_name", &name)],
            1.0,
        );
    }
    let mut readings = Readings::new();
    // Older drivers keep the files in the device's own folder.
    for folder in [folder.to_owned(), folder.join("device")] {
        read_sensors(&folder, &mut readings, buffer);
    }
    for ((sensor, kind), elements) in &readings {
        if let Some(label) = elements.get("label").filter(|label| !label.is_empty()) {
            let labels = [("chip", chip), ("sensor", sensor), ("label", label)];
            sheet.put(
                Family::gauge("node_hwmon_sensor_label", "Label for given chip and sensor"),
                &labels,
                1.0,
            );
        }
        for (element, text) in elements {
            if let Some(n) = parse::number(text.as_bytes()) {
                let sensor = match elements.get("label") {
                    Some(label) if *kind == "freq" && element == "input" => label,
                    _ => sensor,
                };
                let whole = elements.contains_key("");
                put_element(sheet, &[("chip", chip), ("sensor", sensor)], kind, element, whole, n);
            }
        }
    }
}

fn read_sensors(folder: &Path, readings: &mut Readings, buffer: &mut Buffer) {
    for name in names(folder).unwrap_or_default() {
        let Some((sensor, kind, element)) = explode(&name) else { continue };
        // Some elements can only be written; a folder may have such a name.
        let Ok(text) = read_once(&folder.join(&name), buffer) else { continue };
        let text = String::from_utf8_lossy(parse::trim(text)).into_owned();
        readings.entry((sensor.to_owned(), kind)).or_default().entry(element.to_owned()).or_insert(text);
    }
}

/// Sensor, its kind and element of a file's name: `temp1`, `temp` and `crit_alarm` of
/// `temp1_crit_alarm`.
fn explode(name: &str) -> Option<(&str, &'static str, &str)> {
    let digits = name.find(|c: char| c.is_ascii_digit()).unwrap_or(name.len());
    let rest = name[digits..].trim_start_matches(|c: char| c.is_ascii_digit());
    let kind = KINDS.into_iter().find(|kind| *kind == &name[..digits])?;
    let element = if rest.is_empty() { "" } else { rest.strip_prefix('_').filter(|e| !e.is_empty())? };
    Some((&name[..name.len() - rest.len()], kind, element))
}

/// Reports an element in the unit that its kind has. `whole` tells that the sensor has a value
/// beside its `input`.
fn put_element(sheet: &mut Sheet, labels: &[(&str, &str)], kind: &str, element: &str, whole: bool, n: f64) {
    let mut name = format!("node_hwmon_{kind}");
    if !(element.is_empty() || element == "input" && !whole) {
        name = format!("{name}_{}", clean(element));
    }
    let shown = if element.is_empty() { "input" } else { element };
    let (unit, help, units) = match (kind, element) {
        ("beep_enable", _) => {
            return put_fixed(sheet, labels, "node_hwmon_beep_enabled", "Hardware beep enabled", n);
        }
        ("vrm", _) => {
            let (name, help) = ("node_hwmon_voltage_regulator_version", "Hardware voltage regulator");
            return put_fixed(sheet, labels, name, help, n);
        }
        ("update_interval", _) => {
            let (name, help) = ("node_hwmon_update_interval_seconds", "Hardware monitor update interval");
            return put_fixed(sheet, labels, name, help, n / MILLI);
        }
        (_, "fault" | "alarm") => ("", format!("Hardware sensor {element} status ({kind})"), SAME),
        (_, "beep") => {
            name = format!("node_hwmon_{kind}_beep");
            ("_enabled", "Hardware monitor sensor has beeping enabled".to_owned(), SAME)
        }
        ("in" | "cpu", _) => ("_volts", format!("Hardware monitor for voltage ({shown})"), MILLI),
        ("temp", kind_of_sensor) if kind_of_sensor != "type" => {
            ("_celsius", format!("Hardware monitor for temperature ({shown})"), MILLI)
        }
        ("curr", _) => ("_amps", format!("Hardware monitor for current ({shown})"), MILLI),
        ("energy", _) => {
            let help = format!("Hardware monitor for joules used so far ({shown})");
            return sheet.put(Family::counter(&format!("{name}_joule_total"), &help), labels, n / MICRO);
        }
        ("power", "accuracy") => ("", "Hardware monitor power meter accuracy, as a ratio".to_owned(), MICRO),
        ("power", "average_interval" | "average_interval_min" | "average_interval_max") => {
            ("_seconds", format!("Hardware monitor power usage update interval ({shown})"), MILLI)
        }
        ("power", _) => ("_watt", format!("Hardware monitor for power usage in watts ({shown})"), MICRO),
        ("humidity", _) => {
            let help = "Hardware monitor for humidity, as a ratio (multiply with 100.0 to get the humidity as a percentage)";
            ("", format!("{help} ({shown})"), MILLI)
        }
        ("fan", "input" | "min" | "max" | "target") => {
            ("_rpm", format!("Hardware monitor for fan revolutions per minute ({shown})"), SAME)
        }
        ("freq", "input") => ("_freq_mhz", "Hardware monitor for GPU frequency in MHz".to_owned(), MICRO),
        (_, "label") => return,
        _ => ("", format!("Hardware monitor {kind} element {element}"), SAME),
    };
    sheet.put(Family::gauge(&format!("{name}{unit}"), &help), labels, n / units);
}

fn put_fixed(sheet: &mut Sheet, labels: &[(&str, &str)], name: &str, help: &str, n: f64) {
    sheet.put(Family::gauge(name, help), labels, n);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_taken_apart() {
        for (name, expected) in [
            ("temp1_crit_alarm", Some(("temp1", "temp", "crit_alarm"))),
            ("pwm1", Some(("pwm1", "pwm", ""))),
            ("in0_input", Some(("in0", "in", "input"))),
            ("intrusion0_alarm", Some(("intrusion0", "intrusion", "alarm"))),
            ("beep_enable", Some(("beep_enable", "beep_enable", ""))),
            ("name", None),
            ("temp1x", None),
            ("temp1_", None),
            ("power_state", None),
            ("9", None),
        ] {
            assert_eq!(explode(name), expected, "{name}");
        }
    }
}
