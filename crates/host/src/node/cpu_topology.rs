//! What is known of the processors beside their time: model, frequency, throttling, isolation,
//! weaknesses.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    Failure,
    attributes::{self, Attribute},
    background::Source,
};
use crate::{
    Config,
    config::fits_any,
    file::{Buffer, names, read_number, read_once, read_text},
    parse,
    series::Family,
    sheet::Sheet,
};

/// More processors than any machine has: a list of them beyond is nonsense.
const CPUS_MAX: u64 = 65_536;

/// `/sys/devices/system/cpu` and `/proc/cpuinfo`.
pub(super) struct Processors {
    cpuinfo: PathBuf,
    folder: PathBuf,
    info: bool,
    flags: Vec<String>,
    bugs: Vec<String>,
}

impl Processors {
    pub(super) fn new(config: &Config) -> Self {
        let options = &config.collectors;
        Self {
            cpuinfo: config.proc_root.join("cpuinfo"),
            folder: config.sys_root.join("devices/system/cpu"),
            info: options.cpu_info,
            flags: options.cpu_flags.clone(),
            bugs: options.cpu_bugs.clone(),
        }
    }

    fn put_info(&self, sheet: &mut Sheet, text: &[u8]) {
        let mut first = true;
        for block in processors(text) {
            let get = |key: &str| block.get(key).map_or("", String::as_str);
            if self.info {
                let labels = [
                    ("package", get("physical id")),
                    ("core", get("core id")),
                    ("cpu", get("processor")),
                    ("vendor", get("vendor_id")),
                    ("family", get("cpu family")),
                    ("model", get("model")),
                    ("model_name", get("model name")),
                    ("microcode", get("microcode")),
                    ("stepping", get("stepping")),
                    ("cachesize", get("cache size")),
                ];
                sheet.put(
                    Family::gauge("node_cpu_info", "CPU information from /proc/cpuinfo."),
                    &labels,
                    1.0,
                );
                if let Some(megahertz) = parse::number(get("cpu MHz").as_bytes()) {
                    let labels = [
                        ("package", get("physical id")),
                        ("core", get("core id")),
                        ("cpu", get("processor")),
                    ];
                    sheet.put(
                        Family::gauge(
                            "node_cpu_frequency_hertz",
                            "CPU frequency in hertz from /proc/cpuinfo.",
                        ),
                        &labels,
                        megahertz * 1e6,
                    );
                }
            }
            if std::mem::take(&mut first) {
                for flag in get("flags").split(' ').filter(|flag| fits_any(&self.flags, flag)) {
                    sheet.put(Family::gauge("node_cpu_flag_info", "The `flags` field of CPU information from /proc/cpuinfo taken from the first core."), &[("flag", flag)], 1.0);
                }
                for bug in get("bugs").split(' ').filter(|bug| fits_any(&self.bugs, bug)) {
                    sheet.put(Family::gauge("node_cpu_bug_info", "The `bugs` field of CPU information from /proc/cpuinfo taken from the first core."), &[("bug", bug)], 1.0);
                }
            }
        }
    }

    /// How often processors were slowed down for heat. Threads of a core count together, as do
    /// cores of a package.
    fn put_throttles(&self, sheet: &mut Sheet, buffer: &mut Buffer) {
        let (mut cores, mut packages) = (BTreeMap::new(), BTreeMap::new());
        for name in numbered(&self.folder, "cpu") {
            let folder = self.folder.join(name);
            let topology = folder.join("topology");
            let Some(package) = read_text(&topology.join("physical_package_id")) else { continue };
            let throttle = folder.join("thermal_throttle");
            if let Some(core) = read_text(&topology.join("core_id"))
                && let Some(n) = read_number(&throttle.join("core_throttle_count"), buffer)
            {
                cores.entry((package.clone(), core)).or_insert(n);
            }
            if let Some(n) = read_number(&throttle.join("package_throttle_count"), buffer) {
                packages.entry(package).or_insert(n);
            }
        }
        for ((package, core), n) in &cores {
            sheet.put(
                Family::counter(
                    "node_cpu_core_throttles_total",
                    "Number of times this CPU core has been throttled.",
                ),
                &[("package", package), ("core", core)],
                *n,
            );
        }
        for (package, n) in &packages {
            sheet.put(
                Family::counter(
                    "node_cpu_package_throttles_total",
                    "Number of times this CPU package has been throttled.",
                ),
                &[("package", package)],
                *n,
            );
        }
    }
}

impl Source for Processors {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        if self.info || !self.flags.is_empty() || !self.bugs.is_empty() {
            let text = read_once(&self.cpuinfo, buffer).map_err(Failure::at(&self.cpuinfo))?;
            self.put_info(sheet, text);
        }
        for cpu in read_text(&self.folder.join("isolated")).iter().flat_map(|text| cpu_list(text)) {
            sheet.put(
                Family::gauge(
                    "node_cpu_isolated",
                    "Whether each core is isolated, information from /sys/devices/system/cpu/isolated.",
                ),
                &[("cpu", &cpu.to_string())],
                1.0,
            );
        }
        for name in numbered(&self.folder, "cpu") {
            // The first processor can often not be switched off, and has no such file then.
            if let Some(n) = read_number(&self.folder.join(&name).join("online"), buffer) {
                let family = Family::gauge("node_cpu_online", "CPUs that are online and being scheduled.");
                sheet.put(family, &[("cpu", name.trim_start_matches("cpu"))], n);
            }
        }
        self.put_throttles(sheet, buffer);
        Ok(())
    }
}

/// Folders `cpu0`, `cpu1`, …
fn numbered(folder: &Path, prefix: &str) -> Vec<String> {
    let mut names = names(folder).unwrap_or_default();
    names.retain(|name| name.strip_prefix(prefix).is_some_and(|n| parse::unsigned(n.as_bytes()).is_some()));
    names
}

/// Blocks of `key : value` lines.
fn processors(text: &[u8]) -> impl Iterator<Item = BTreeMap<String, String>> {
    let mut lines = text.split(|b| *b == b'\n');
    std::iter::from_fn(move || {
        let mut block = BTreeMap::new();
        for line in lines.by_ref() {
            let Some((key, value)) = parse::split_once(line, b':') else {
                if block.contains_key("processor") {
                    return Some(block);
                }
                continue;
            };
            let text = |bytes| String::from_utf8_lossy(parse::trim(bytes)).into_owned();
            block.insert(text(key), text(value));
        }
        block.contains_key("processor").then_some(block)
    })
}

/// `0-2,5` as its members.
fn cpu_list(text: &str) -> Vec<u64> {
    let mut out = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| parse::unsigned(text.as_bytes()).filter(|n| *n < CPUS_MAX);
        if let (Some(first), Some(last)) = (number(first), number(last)) {
            out.extend(first..=last);
        }
        if out.len() as u64 > CPUS_MAX {
            break;
        }
    }
    out
}

/// The kernel counts in kilohertz.
const KILOHERTZ: f64 = 1e-3;
const FREQUENCIES: [Attribute; 6] = [
    (
        "cpuinfo_cur_freq",
        Family::gauge("node_cpu_frequency_hertz", "Current CPU thread frequency in hertz."),
        KILOHERTZ,
    ),
    (
        "cpuinfo_min_freq",
        Family::gauge("node_cpu_frequency_min_hertz", "Minimum CPU thread frequency in hertz."),
        KILOHERTZ,
    ),
    (
        "cpuinfo_max_freq",
        Family::gauge("node_cpu_frequency_max_hertz", "Maximum CPU thread frequency in hertz."),
        KILOHERTZ,
    ),
    (
        "scaling_cur_freq",
        Family::gauge("node_cpu_scaling_frequency_hertz", "Current scaled CPU thread frequency in hertz."),
        KILOHERTZ,
    ),
    (
        "scaling_min_freq",
        Family::gauge(
            "node_cpu_scaling_frequency_min_hertz",
            "Minimum scaled CPU thread frequency in hertz.",
        ),
        KILOHERTZ,
    ),
    (
        "scaling_max_freq",
        Family::gauge(
            "node_cpu_scaling_frequency_max_hertz",
            "Maximum scaled CPU thread frequency in hertz.",
        ),
        KILOHERTZ,
    ),
];

/// Frequencies of processors and who governs them.
pub(super) struct Frequencies(PathBuf);

impl Frequencies {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sys_root.join("devices/system/cpu"))
    }
}

impl Source for Frequencies {
    fn name(&self) -> &'static str {
        "cpufreq"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let mut found = Err(Failure::at(self.0.join("cpu0/cpufreq"))(rustix::io::Errno::NOENT));
        for name in numbered(&self.0, "cpu") {
            let folder = self.0.join(&name).join("cpufreq");
            let Some(governor) = read_text(&folder.join("scaling_governor")) else { continue };
            let cpu = ("cpu", name.trim_start_matches("cpu"));
            attributes::put(sheet, buffer, &folder, &FREQUENCIES, &[cpu]);
            let offered = read_text(&folder.join("scaling_available_governors")).unwrap_or_default();
            for name in offered.split_ascii_whitespace() {
                let chosen = f64::from(u8::from(name == governor));
                sheet.put(
                    Family::gauge("node_cpu_scaling_governor", "Current enabled CPU frequency governor."),
                    &[cpu, ("governor", name)],
                    chosen,
                );
            }
            found = Ok(());
        }
        found
    }
}

/// What the kernel says of the weaknesses of this processor.
pub(super) struct Vulnerabilities(PathBuf);

impl Vulnerabilities {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sys_root.join("devices/system/cpu/vulnerabilities"))
    }
}

impl Source for Vulnerabilities {
    fn name(&self) -> &'static str {
        "cpu_vulnerabilities"
    }

    fn read(&mut self, sheet: &mut Sheet, _: &mut Buffer) -> Result<(), Failure> {
        for name in names(&self.0).map_err(Failure::at(&self.0))? {
            let Some(text) = read_text(&self.0.join(&name)) else { continue };
            let lower = text.to_lowercase();
            let (state, mitigation) = match (lower.as_str(), text.split_once(':')) {
                (text, _) if text.starts_with("not affected") => ("not affected", ""),
                (text, _) if text.starts_with("vulnerable") => ("vulnerable", ""),
                (text, Some((_, rest))) if text.starts_with("mitigation") => ("mitigation", rest.trim()),
                _ => ("unknown", ""),
            };
            let labels = [("codename", name.as_str()), ("state", state), ("mitigation", mitigation)];
            sheet.put(Family::gauge("node_cpu_vulnerabilities_info", "Details of each CPU vulnerability reported by sysfs. The value of the series is an int encoded state of the vulnerability. The same state is stored as a string in the label"), &labels, 1.0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_read_and_bounded() {
        assert_eq!(cpu_list("1,3-5,9\n"), [1, 3, 4, 5, 9]);
        assert_eq!(cpu_list(""), [0u64; 0]);
        assert_eq!(cpu_list("5-3,x,1-"), [0u64; 0]);
        assert!(cpu_list("0-18446744073709551615").is_empty());
    }
}
