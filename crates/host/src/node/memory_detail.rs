//! Memory in more detail than `meminfo`: by NUMA node, zone, slab, block size; merging of equal
//! pages; swap devices.

use std::path::PathBuf;

use rustix::io::Errno;

use super::{
    Failure,
    attributes::{self, Attribute, SAME},
    background::Source,
    memory::memory_field,
};
use crate::{
    Config,
    file::{Buffer, names, read_number, read_once},
    parse,
    series::Family,
    sheet::Sheet,
};

/// `/sys/devices/system/node/node*`: memory of each NUMA node.
pub(super) struct NumaMemory(PathBuf);

impl NumaMemory {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sys_root.join("devices/system/node"))
    }
}

impl Source for NumaMemory {
    fn name(&self) -> &'static str {
        "meminfo_numa"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        for folder in names(&self.0).map_err(Failure::at(&self.0))? {
            let Some(node) = folder.strip_prefix("node") else { continue };
            if parse::unsigned(node.as_bytes()).is_none() {
                continue;
            }
            let labels = [("node", node)];
            let path = self.0.join(&folder);
            let text = read_once(&path.join("meminfo"), buffer).map_err(Failure::at(path.join("meminfo")))?;
            for line in parse::lines(text) {
                // `Node 0 MemTotal:  1 kB`
                let mut words = parse::words(line).skip(2);
                let Some(name) = words.next() else { continue };
                let Some(n) = words.next().and_then(parse::number) else { continue };
                let kilobytes = words.next() == Some(b"kB");
                let name = String::from_utf8_lossy(name.strip_suffix(b":").unwrap_or(name));
                let field = memory_field(&name, false);
                let family = format!("node_memory_numa_{field}");
                let help = format!("Memory information field {field}.");
                let n = if kilobytes { n * 1024.0 } else { n };
                sheet.put(Family::gauge(&family, &help), &labels, n);
            }
            let text =
                read_once(&path.join("numastat"), buffer).map_err(Failure::at(path.join("numastat")))?;
            for (name, n) in parse::fields(text) {
                let name = String::from_utf8_lossy(name);
                let family = format!("node_memory_numa_{name}_total");
                let help = format!("Memory information field {name}_total.");
                sheet.put(Family::counter(&family, &help), &labels, parse::value(n));
            }
        }
        Ok(())
    }
}

/// `/proc/buddyinfo`: free blocks of memory by size, which tells fragmentation.
pub(super) struct FreeBlocks(PathBuf);

impl FreeBlocks {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.proc_root.join("buddyinfo"))
    }
}

impl Source for FreeBlocks {
    fn name(&self) -> &'static str {
        "buddyinfo"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let text = read_once(&self.0, buffer).map_err(Failure::at(&self.0))?;
        for line in parse::lines(text) {
            let Some((node, zone, rest)) = zone_of(line) else { continue };
            for (size, n) in rest.filter_map(parse::number).enumerate() {
                let size = size.to_string();
                let labels = [("node", node), ("zone", zone), ("size", &size)];
                sheet.put(
                    Family::gauge("node_buddyinfo_blocks", "Count of free blocks according to size."),
                    &labels,
                    n,
                );
            }
        }
        Ok(())
    }
}

/// `Node 0, zone   Normal  …`
fn zone_of(line: &[u8]) -> Option<(&str, &str, impl Iterator<Item = &[u8]>)> {
    let rest = line.strip_prefix(b"Node ")?;
    let (node, rest) = parse::split_once(rest, b',')?;
    let mut words = parse::words(rest);
    (words.next() == Some(b"zone")).then_some(())?;
    let zone = words.next()?;
    Some((std::str::from_utf8(node).ok()?, std::str::from_utf8(zone).ok()?, words))
}

/// Lines of a zone, by the words that begin them.
const ZONE: [(&str, Family<'_>); 32] = [
    ("nr_free_pages", Family::gauge("node_zoneinfo_nr_free_pages", "Total number of free pages in the zone")),
    ("min", Family::gauge("node_zoneinfo_min_pages", "Zone watermark pages_min")),
    ("low", Family::gauge("node_zoneinfo_low_pages", "Zone watermark pages_low")),
    ("high", Family::gauge("node_zoneinfo_high_pages", "Zone watermark pages_high")),
    (
        "spanned",
        Family::gauge("node_zoneinfo_spanned_pages", "Total pages spanned by the zone, including holes"),
    ),
    ("present", Family::gauge("node_zoneinfo_present_pages", "Physical pages existing within the zone")),
    ("managed", Family::gauge("node_zoneinfo_managed_pages", "Present pages managed by the buddy system")),
    (
        "nr_active_anon",
        Family::gauge("node_zoneinfo_nr_active_anon_pages", "Number of anonymous pages recently more used"),
    ),
    (
        "nr_inactive_anon",
        Family::gauge("node_zoneinfo_nr_inactive_anon_pages", "Number of anonymous pages recently less used"),
    ),
    (
        "nr_isolated_anon",
        Family::gauge("node_zoneinfo_nr_isolated_anon_pages", "Temporary isolated pages from anon lru"),
    ),
    (
        "nr_anon_pages",
        Family::gauge(
            "node_zoneinfo_nr_anon_pages",
            "Number of anonymous pages currently used by the system",
        ),
    ),
    (
        "nr_anon_transparent_hugepages",
        Family::gauge(
            "node_zoneinfo_nr_anon_transparent_hugepages",
            "Number of anonymous transparent huge pages currently used by the system",
        ),
    ),
    (
        "nr_active_file",
        Family::gauge("node_zoneinfo_nr_active_file_pages", "Number of active pages with file-backing"),
    ),
    (
        "nr_inactive_file",
        Family::gauge("node_zoneinfo_nr_inactive_file_pages", "Number of inactive pages with file-backing"),
    ),
    (
        "nr_isolated_file",
        Family::gauge("node_zoneinfo_nr_isolated_file_pages", "Temporary isolated pages from file lru"),
    ),
    ("nr_file_pages", Family::gauge("node_zoneinfo_nr_file_pages", "Number of file pages")),
    (
        "nr_slab_reclaimable",
        Family::gauge("node_zoneinfo_nr_slab_reclaimable_pages", "Number of reclaimable slab pages"),
    ),
    (
        "nr_slab_unreclaimable",
        Family::gauge("node_zoneinfo_nr_slab_unreclaimable_pages", "Number of unreclaimable slab pages"),
    ),
    ("nr_kernel_stack", Family::gauge("node_zoneinfo_nr_kernel_stacks", "Number of kernel stacks")),
    ("nr_mapped", Family::gauge("node_zoneinfo_nr_mapped_pages", "Number of mapped pages")),
    ("nr_dirty", Family::gauge("node_zoneinfo_nr_dirty_pages", "Number of dirty pages")),
    ("nr_writeback", Family::gauge("node_zoneinfo_nr_writeback_pages", "Number of writeback pages")),
    ("nr_unevictable", Family::gauge("node_zoneinfo_nr_unevictable_pages", "Number of unevictable pages")),
    (
        "nr_shmem",
        Family::gauge("node_zoneinfo_nr_shmem_pages", "Number of shmem pages (included tmpfs/GEM pages)"),
    ),
    ("nr_dirtied", Family::counter("node_zoneinfo_nr_dirtied_total", "Page dirtyings since bootup")),
    ("nr_written", Family::counter("node_zoneinfo_nr_written_total", "Page writings since bootup")),
    ("numa_hit", Family::counter("node_zoneinfo_numa_hit_total", "Allocated in intended node")),
    ("numa_miss", Family::counter("node_zoneinfo_numa_miss_total", "Allocated in non intended node")),
    ("numa_foreign", Family::counter("node_zoneinfo_numa_foreign_total", "Was intended here, hit elsewhere")),
    (
        "numa_interleave",
        Family::counter("node_zoneinfo_numa_interleave_total", "Interleaver preferred this zone"),
    ),
    ("numa_local", Family::counter("node_zoneinfo_numa_local_total", "Allocation from local node")),
    ("numa_other", Family::counter("node_zoneinfo_numa_other_total", "Allocation from other node")),
];

/// `/proc/zoneinfo`: pages and watermarks of each zone.
pub(super) struct Zones(PathBuf);

impl Zones {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.proc_root.join("zoneinfo"))
    }
}

impl Source for Zones {
    fn name(&self) -> &'static str {
        "zoneinfo"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let text = read_once(&self.0, buffer).map_err(Failure::at(&self.0))?;
        let mut labels = None;
        for line in parse::lines(text) {
            if let Some((node, zone, _)) = zone_of(line) {
                labels = Some([("node", node), ("zone", zone)]);
                continue;
            }
            let Some(labels) = labels else { continue };
            let line = parse::trim(line);
            if let Some(rest) = line.strip_prefix(b"protection:") {
                let numbers = rest.split(|b| b"(), ".contains(b)).filter_map(parse::number);
                for (i, n) in numbers.enumerate() {
                    let name = format!("node_zoneinfo_protection_{i}");
                    let help = format!("Protection array {i}. field");
                    sheet.put(Family::gauge(&name, &help), &labels, n);
                }
                continue;
            }
            let Some(last) = line.iter().rposition(u8::is_ascii_whitespace) else { continue };
            let (key, n) = (parse::trim(&line[..last]), parse::number(&line[last..]));
            let family = ZONE.iter().find(|(name, _)| name.as_bytes() == key);
            if let (Some((_, family)), Some(n)) = (family, n) {
                sheet.put(*family, &labels, n);
            }
        }
        Ok(())
    }
}

/// Columns of a cache's line after its name.
const SLAB: [Family<'_>; 5] = [
    Family::gauge(
        "node_slabinfo_active_objects",
        "The number of objects that are currently active (i.e., in use).",
    ),
    Family::gauge(
        "node_slabinfo_objects",
        "The total number of allocated objects (i.e., objects that are both in use and not in use).",
    ),
    Family::gauge("node_slabinfo_object_size_bytes", "The size of objects in this slab, in bytes."),
    Family::gauge("node_slabinfo_objects_per_slab", "The number of objects stored in each slab."),
    Family::gauge("node_slabinfo_pages_per_slab", "The number of pages allocated for each slab."),
];

/// `/proc/slabinfo`: the kernel's own caches of objects.
pub(super) struct Slabs(PathBuf);

impl Slabs {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.proc_root.join("slabinfo"))
    }
}

impl Source for Slabs {
    fn name(&self) -> &'static str {
        "slabinfo"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let text = read_once(&self.0, buffer).map_err(Failure::at(&self.0))?;
        for line in parse::lines(text).filter(|line| !line.starts_with(b"#") && line.contains(&b':')) {
            let mut words = parse::words(line);
            let Some(name) = words.next().filter(|word| *word != b"slabinfo") else { continue };
            let name = String::from_utf8_lossy(name);
            for (word, family) in words.zip(SLAB) {
                if let Some(n) = parse::number(word) {
                    sheet.put(family, &[("slab", &name)], n);
                }
            }
        }
        Ok(())
    }
}

/// Settings and figures of the merging of equal pages.
const MERGING: [Attribute; 10] = [
    (
        "full_scans",
        Family::counter(
            "node_ksmd_full_scans_total",
            "How many times all mergeable areas have been scanned.",
        ),
        SAME,
    ),
    (
        "general_profit",
        Family::gauge(
            "node_ksmd_general_profit_bytes",
            "How effective is KSM. ksm_saved_pages * sizeof(page) - (all_rmap_items) * sizeof(rmap_item)",
        ),
        SAME,
    ),
    (
        "merge_across_nodes",
        Family::gauge(
            "node_ksmd_merge_across_nodes",
            "Specifies if pages from different NUMA nodes can be merged.",
        ),
        SAME,
    ),
    ("pages_shared", Family::gauge("node_ksmd_pages_shared", "How many shared pages are being used."), SAME),
    (
        "pages_sharing",
        Family::gauge("node_ksmd_pages_sharing", "How many more sites are sharing them i.e. how much saved."),
        SAME,
    ),
    (
        "pages_to_scan",
        Family::gauge("node_ksmd_pages_to_scan", "How many pages to scan before ksmd goes to sleep."),
        SAME,
    ),
    (
        "pages_unshared",
        Family::gauge(
            "node_ksmd_pages_unshared",
            "How many pages unique but repeatedly checked for merging.",
        ),
        SAME,
    ),
    (
        "pages_volatile",
        Family::gauge("node_ksmd_pages_volatile", "How many pages changing too fast to be placed in a tree."),
        SAME,
    ),
    ("run", Family::gauge("node_ksmd_run", "The status of ksmd. stopped = 0, running = 1"), SAME),
    (
        "sleep_millisecs",
        Family::gauge("node_ksmd_sleep_seconds", "How many seconds ksmd should sleep before next scan."),
        attributes::MILLI,
    ),
];

/// `/sys/kernel/mm/ksm`.
pub(super) struct PageMerging(PathBuf);

impl PageMerging {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sys_root.join("kernel/mm/ksm"))
    }
}

impl Source for PageMerging {
    fn name(&self) -> &'static str {
        "ksmd"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        if read_number(&self.0.join("run"), buffer).is_none() {
            return Err(Failure::at(&self.0)(Errno::NOENT));
        }
        attributes::put(sheet, buffer, &self.0, &MERGING, &[]);
        Ok(())
    }
}

/// Columns after a device's type. The kernel counts in kilobytes.
const SWAP: [(Family<'_>, f64); 3] = [
    (Family::gauge("node_swap_size_bytes", "Size of the swap device in bytes."), 1024.0),
    (Family::gauge("node_swap_used_bytes", "Used bytes of the swap device."), 1024.0),
    (Family::gauge("node_swap_priority", "Priority of the swap device."), 1.0),
];

/// `/proc/swaps`: where memory is swapped to.
pub(super) struct SwapDevices(PathBuf);

impl SwapDevices {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.proc_root.join("swaps"))
    }
}

impl Source for SwapDevices {
    fn name(&self) -> &'static str {
        "swap"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let text = read_once(&self.0, buffer).map_err(Failure::at(&self.0))?;
        for line in parse::lines(text).skip(1) {
            let mut words = parse::words(line);
            let (Some(device), Some(kind)) = (words.next(), words.next()) else { continue };
            let device = parse::unescape_mount(device);
            let (device, kind) = (String::from_utf8_lossy(&device), String::from_utf8_lossy(kind));
            for (word, (family, bytes)) in words.zip(SWAP) {
                if let Some(n) = parse::number(word) {
                    sheet.put(family, &[("device", &device), ("swap_type", &kind)], n * bytes);
                }
            }
        }
        Ok(())
    }
}
