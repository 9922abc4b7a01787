//! Wear of NVMe disks, as they tell it themselves in their log page of health.
//!
//! node_exporter leaves this to other programs; the families are our own. A disk is asked once a
//! minute, as some wake from their sleep to answer.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::io::Errno;
use vedette_sys::{Clock, MonotonicTime};

use super::{Failure, background::Source};
use crate::{
    Config,
    file::{Buffer, names},
    parse,
    series::Family,
    sheet::Sheet,
};

const INTERVAL: Duration = Duration::from_secs(60);
const PAGE_BYTES: usize = 512;

/// Where a number stands in the page, in how many bytes, and how many of the family's units it is.
const NUMBERS: [(usize, usize, Family<'_>, f64); 11] = [
    (
        0,
        1,
        Family::gauge(
            "node_nvme_critical_warning",
            "Bits of what the disk warns of: 1 spare low, 2 temperature, 4 unreliable, 8 read-only, 16 backup of memory.",
        ),
        1.0,
    ),
    (
        3,
        1,
        Family::gauge("node_nvme_available_spare_percent", "Part of the spare capacity that is left."),
        1.0,
    ),
    (
        4,
        1,
        Family::gauge(
            "node_nvme_available_spare_threshold_percent",
            "Part of the spare capacity below which the disk warns.",
        ),
        1.0,
    ),
    (
        5,
        1,
        Family::gauge(
            "node_nvme_wear_percent",
            "Part of the disk's life that its maker thinks is used; may exceed 100.",
        ),
        1.0,
    ),
    (32, 16, Family::counter("node_nvme_data_read_bytes_total", "Bytes read by the host."), DATA_UNIT_BYTES),
    (
        48,
        16,
        Family::counter("node_nvme_data_written_bytes_total", "Bytes written by the host."),
        DATA_UNIT_BYTES,
    ),
    (112, 16, Family::counter("node_nvme_power_cycles_total", "How often the disk was switched on."), 1.0),
    (128, 16, Family::counter("node_nvme_power_on_seconds_total", "How long the disk was on."), 3600.0),
    (
        144,
        16,
        Family::counter("node_nvme_unsafe_shutdowns_total", "How often power went without a word before."),
        1.0,
    ),
    (
        160,
        16,
        Family::counter(
            "node_nvme_media_errors_total",
            "How often data could not be read or written without an error.",
        ),
        1.0,
    ),
    (
        176,
        16,
        Family::counter("node_nvme_error_log_entries_total", "Entries of the disk's log of errors."),
        1.0,
    ),
];
/// Data is counted in thousands of 512 bytes.
const DATA_UNIT_BYTES: f64 = 512_000.0;

type Ask = Box<dyn Fn(&Path) -> std::io::Result<[u8; PAGE_BYTES]> + Send>;

/// All NVMe controllers.
pub(super) struct NvmeWear {
    class: PathBuf,
    devices: PathBuf,
    ask: Ask,
    clock: Arc<dyn Clock>,
    asked: Option<MonotonicTime>,
    pages: BTreeMap<String, [u8; PAGE_BYTES]>,
    failure: Option<Failure>,
}

impl NvmeWear {
    pub(super) fn new(config: &Config, clock: Arc<dyn Clock>) -> Self {
        Self {
            class: config.sys_root.join("class/nvme"),
            devices: config.root.join("dev"),
            ask: Box::new(vedette_sys::nvme_health_log),
            clock,
            asked: None,
            pages: BTreeMap::new(),
            failure: None,
        }
    }

    fn ask_all(&mut self) {
        self.pages.clear();
        self.failure = None;
        let listed = match names(&self.class) {
            Ok(listed) if !listed.is_empty() => listed,
            listed => {
                let errno = listed.err().unwrap_or(Errno::NOENT);
                self.failure = Some(Failure::at(&self.class)(errno));
                return;
            }
        };
        for name in listed {
            let path = self.devices.join(&name);
            match (self.ask)(&path) {
                Ok(page) => {
                    self.pages.insert(name, page);
                }
                Err(error) => {
                    let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                    self.failure = Some(Failure::at(path)(errno));
                }
            }
        }
    }
}

impl Source for NvmeWear {
    fn name(&self) -> &'static str {
        "nvme_wear"
    }

    fn read(&mut self, sheet: &mut Sheet, _: &mut Buffer) -> Result<(), Failure> {
        let now = self.clock.monotonic();
        if self.asked.is_none_or(|asked| now.since(asked) >= INTERVAL) {
            self.asked = Some(now);
            self.ask_all();
        }
        for (device, page) in &self.pages {
            for (at, bytes, family, unit) in NUMBERS {
                sheet.put(family, &[("device", device)], number(&page[at..at + bytes]) * unit);
            }
        }
        self.failure.clone().map_or(Ok(()), Err)
    }
}

/// A number of up to sixteen bytes, the least one first.
fn number(bytes: &[u8]) -> f64 {
    bytes.iter().rev().fold(0.0, |n, byte| n * 256.0 + parse::value(u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use vedette_sys::ManualClock;

    use super::*;
    use crate::node::tests::told;

    #[test]
    fn a_disk_tells_of_its_wear_once_a_minute() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("class/nvme/nvme0")).unwrap();
        let config = Config { sys_root: root.path().into(), ..Config::default() };
        let clock = ManualClock::at(0);
        let mut source = NvmeWear::new(&config, Arc::new(clock.clone()));
        let asked = Arc::new(std::sync::atomic::AtomicU8::new(0));
        let counted = asked.clone();
        source.ask = Box::new(move |path| {
            assert!(path.ends_with("dev/nvme0"), "{path:?}");
            let mut page = [0; PAGE_BYTES];
            page[5] = 90 + counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            page[48..50].copy_from_slice(&[2, 1]);
            Ok(page)
        });
        let first = told(&mut source).unwrap();
        assert_eq!(first["node_nvme_wear_percent{device=\"nvme0\"}"], 90.0);
        assert_eq!(first["node_nvme_data_written_bytes_total{device=\"nvme0\"}"], 258.0 * 512_000.0);
        clock.advance(Duration::from_secs(59));
        assert_eq!(told(&mut source).unwrap(), first);
        clock.advance(Duration::from_secs(1));
        assert_eq!(told(&mut source).unwrap()["node_nvme_wear_percent{device=\"nvme0\"}"], 91.0);
        source.ask = Box::new(|_| Err(std::io::ErrorKind::PermissionDenied.into()));
        clock.advance(INTERVAL);
        assert!(told(&mut source).is_err());
    }
}
