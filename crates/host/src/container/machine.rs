//! What cAdvisor tells of the machine beside its containers: processors, memory, versions.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::{
    Config,
    file::{Buffer, names, read_number, read_once, read_text},
    parse,
    series::{Family, Pass},
    sheet::Sheet,
};

const CORES: Family<'_> = Family::gauge("machine_cpu_cores", "Number of logical CPU cores.");
const PHYSICAL: Family<'_> = Family::gauge("machine_cpu_physical_cores", "Number of physical CPU cores.");
const SOCKETS: Family<'_> = Family::gauge("machine_cpu_sockets", "Number of CPU sockets.");
const BOOKS: Family<'_> = Family::gauge("machine_cpu_books", "Number of CPU books.");
const DRAWERS: Family<'_> = Family::gauge("machine_cpu_drawers", "Number of CPU drawers.");
const MEMORY: Family<'_> =
    Family::gauge("machine_memory_bytes", "Amount of memory installed on the machine.");
const SWAP: Family<'_> =
    Family::gauge("machine_swap_bytes", "Amount of swap memory available on the machine.");
const DIMMS: Family<'_> = Family::gauge(
    "machine_dimm_count",
    "Number of RAM DIMM (all types memory modules) value labeled by dimm type.",
);
const DIMM_BYTES: Family<'_> = Family::gauge(
    "machine_dimm_capacity_bytes",
    "Total RAM DIMM capacity (all types memory modules) value labeled by dimm type.",
);
const MACHINE_ERROR: Family<'_> = Family::gauge(
    "machine_scrape_error",
    "1 if there was an error while getting machine metrics, 0 otherwise.",
);
const CONTAINER_ERROR: Family<'_> = Family::gauge(
    "container_scrape_error",
    "1 if there was an error while getting container metrics, 0 otherwise",
);
const VERSION: Family<'_> = Family::gauge(
    "cadvisor_version_info",
    "A metric with a constant '1' value labeled by kernel version, OS version, docker version, cadvisor version & cadvisor revision.",
);

/// Counts of processors by what they share.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Processors {
    pub(crate) logical: usize,
    pub(crate) physical: usize,
    pub(crate) sockets: usize,
    books: usize,
    drawers: usize,
}

/// The machine's figures, read at its turn.
pub(super) struct Machine {
    proc_root: PathBuf,
    sys_root: PathBuf,
    names: Names,
    sheet: Sheet,
}

/// By what the machine and its software go.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    pub(crate) machine_id: String,
    pub(crate) system_uuid: String,
    pub(crate) boot_id: String,
    pub(crate) kernel: String,
    pub(crate) os: String,
}

impl Names {
    pub(crate) fn read(config: &Config) -> Self {
        let text = |path: PathBuf| read_text(&path).unwrap_or_default();
        let below_root = |path: &Path| config.root.join(path.strip_prefix("/").unwrap_or(path));
        Self {
            machine_id: text(below_root(&config.machine_id)),
            system_uuid: system_uuid(config),
            boot_id: text(config.proc_root.join("sys/kernel/random/boot_id")),
            kernel: text(config.proc_root.join("sys/kernel/osrelease")),
            os: os_version(&config.root),
        }
    }
}

impl Machine {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            names: Names::read(config),
            proc_root: config.proc_root.clone(),
            sys_root: config.sys_root.clone(),
            sheet: Sheet::default(),
        }
    }

    /// Reads and gives all figures; `containers_failed` says whether those of containers are whole.
    pub(super) fn put(&mut self, pass: &mut Pass<'_>, containers_failed: bool, buffer: &mut Buffer) {
        let Self { sheet, names: Names { machine_id, system_uuid, boot_id, kernel, os }, .. } = self;
        let own = [("machine_id", machine_id.as_str()), ("system_uuid", system_uuid), ("boot_id", boot_id)];
        let flag = |on: bool| f64::from(u8::from(on));
        sheet.begin();
        let version = [
            ("kernelVersion", kernel.as_str()),
            ("osVersion", os),
            ("dockerVersion", ""),
            ("cadvisorVersion", concat!("vedette-", env!("CARGO_PKG_VERSION"))),
            ("cadvisorRevision", ""),
        ];
        sheet.put(VERSION, &version, 1.0);
        sheet.put(CONTAINER_ERROR, &[], flag(containers_failed));
        let processors = processors(&self.sys_root);
        if let Some(count) = processors {
            for (family, n) in [
                (CORES, count.logical),
                (PHYSICAL, count.physical),
                (SOCKETS, count.sockets),
                (BOOKS, count.books),
                (DRAWERS, count.drawers),
            ] {
                sheet.put(family, &own, parse::value(n as u64));
            }
        }
        let memory = memory(&self.proc_root, buffer);
        if let Some((bytes, swap)) = memory {
            sheet.put(MEMORY, &own, bytes);
            sheet.put(SWAP, &own, swap);
        }
        for (kind, count, bytes) in dimms(&self.sys_root, buffer) {
            let labels = [own[0], own[1], own[2], ("type", &kind)];
            sheet.put(DIMMS, &labels, count);
            sheet.put(DIMM_BYTES, &labels, bytes);
        }
        sheet.put(MACHINE_ERROR, &[], flag(processors.is_none() || memory.is_none()));
        sheet.settle(pass);
        for (series, value) in sheet.samples() {
            pass.put_slow(series, value);
        }
    }
}

/// What the firmware calls the machine, else nothing.
fn system_uuid(config: &Config) -> String {
    let places = ["class/dmi/id/product_uuid", "firmware/devicetree/base/vm,uuid", "hypervisor/uuid"];
    places.iter().find_map(|place| read_text(&config.sys_root.join(place))).unwrap_or_default()
}

/// The name of the distribution, as it calls itself.
fn os_version(root: &Path) -> String {
    let text = ["etc/os-release", "usr/lib/os-release"].iter().find_map(|f| read_text(&root.join(f)));
    let text = text.unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches(['"', '\'']).to_owned())
}

pub(crate) fn processors(sys_root: &Path) -> Option<Processors> {
    let folder = sys_root.join("devices/system/cpu");
    let mut sets: [BTreeSet<(String, String)>; 4] = Default::default();
    let mut logical = 0;
    for name in names(&folder).ok()? {
        let is_processor =
            name.strip_prefix("cpu").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        let topology = folder.join(&name).join("topology");
        // One that is switched off has no topology.
        let Some(package) = read_text(&topology.join("physical_package_id")).filter(|_| is_processor) else {
            continue;
        };
        logical += 1;
        let part = |file: &str| read_text(&topology.join(file));
        sets[0].insert((package.clone(), part("core_id").unwrap_or_default()));
        sets[1].insert((package, String::new()));
        for (set, file) in sets[2..].iter_mut().zip(["book_id", "drawer_id"]) {
            // Only machines that have books say of which each is part.
            set.extend(part(file).filter(|id| id != "-1").map(|id| (id, String::new())));
        }
    }
    let [physical, sockets, books, drawers] = sets.map(|set| set.len());
    (logical > 0).then_some(Processors { logical, physical, sockets, books, drawers })
}

/// Memory and swap in bytes.
pub(crate) fn memory(proc_root: &Path, buffer: &mut Buffer) -> Option<(f64, f64)> {
    let text = read_once(&proc_root.join("meminfo"), buffer).ok()?;
    let bytes = |key: &[u8]| {
        let line = parse::lines(text).find_map(|line| line.strip_prefix(key))?;
        Some(parse::value(parse::words(line).next().and_then(parse::unsigned)?) * 1024.0)
    };
    Some((bytes(b"MemTotal:")?, bytes(b"SwapTotal:").unwrap_or(0.0)))
}

/// Memory modules by kind, with their number and size, as the memory controllers tell.
fn dimms(sys_root: &Path, buffer: &mut Buffer) -> Vec<(String, f64, f64)> {
    let folder = sys_root.join("devices/system/edac/mc");
    let mut kinds: std::collections::BTreeMap<String, (f64, f64)> = Default::default();
    for controller in names(&folder).unwrap_or_default() {
        let controller = folder.join(controller);
        for module in names(&controller).unwrap_or_default().iter().filter(|n| n.starts_with("dimm")) {
            let module = controller.join(module);
            let mib = read_number(&module.join("size"), buffer).unwrap_or(0.0);
            let Some(kind) = read_text(&module.join("dimm_mem_type")).filter(|_| mib > 0.0) else { continue };
            let sums = kinds.entry(kind).or_default();
            *sums = (sums.0 + 1.0, sums.1 + mib * 1_048_576.0);
        }
    }
    kinds.into_iter().map(|(kind, (count, bytes))| (kind, count, bytes)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn processors_and_modules_are_counted_by_what_they_share() {
        let sys = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = sys.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(processors(sys.path()), None);
        for (cpu, package, core) in [(0, 0, 0), (1, 0, 0), (2, 0, 1), (3, 1, 0)] {
            write(&format!("devices/system/cpu/cpu{cpu}/topology/physical_package_id"), &package.to_string());
            write(&format!("devices/system/cpu/cpu{cpu}/topology/core_id"), &core.to_string());
        }
        write("devices/system/cpu/cpu4/online", "0\n");
        write("devices/system/cpu/cpufreq/policy0", "x");
        let expected = Processors { logical: 4, physical: 3, sockets: 2, books: 0, drawers: 0 };
        assert_eq!(processors(sys.path()), Some(expected));
        for (module, kind) in [
            ("mc0/dimm0", "Unbuffered-DDR4"),
            ("mc0/dimm1", "Unbuffered-DDR4"),
            ("mc1/dimm0", "Registered-DDR5"),
        ] {
            write(&format!("devices/system/edac/mc/{module}/size"), "1024\n");
            write(&format!("devices/system/edac/mc/{module}/dimm_mem_type"), kind);
        }
        write("devices/system/edac/mc/mc1/dimm1/size", "0\n");
        write("devices/system/edac/mc/mc1/dimm1/dimm_mem_type", "Unknown");
        let gib = 1_073_741_824.0;
        let expected =
            [("Registered-DDR5".to_owned(), 1.0, gib), ("Unbuffered-DDR4".to_owned(), 2.0, 2.0 * gib)];
        assert_eq!(dimms(sys.path(), &mut Buffer::new()), expected);
    }
}
