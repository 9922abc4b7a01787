//! Small facts of the kernel: open files, entropy, clock, name and version.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{Collector, Failure, Tools};
use crate::{
    Config,
    file::{FileBudget, KeptFile, read_once, read_text},
    parse,
    series::{Family, LazySeries, Pass, Series},
};

const ALLOCATED: Family<'_> =
    Family::gauge("node_filefd_allocated", "File descriptor statistics: allocated.");
const MAXIMUM: Family<'_> = Family::gauge("node_filefd_maximum", "File descriptor statistics: maximum.");

pub(super) struct FileDescriptors {
    file: KeptFile,
    allocated: LazySeries,
    maximum: LazySeries,
}

impl FileDescriptors {
    pub(super) fn new(config: &Config, budget: &FileBudget) -> Self {
        let file = KeptFile::new(config.proc_root.join("sys/fs/file-nr"), budget);
        Self { file, allocated: LazySeries::default(), maximum: LazySeries::default() }
    }
}

impl Collector for FileDescriptors {
    fn name(&self) -> &'static str {
        "filefd"
    }

    fn collect(&mut self, pass: &mut Pass<'_>, tools: &mut Tools<'_>) -> Result<(), Failure> {
        let text = self.file.read(tools.buffer).map_err(Failure::at("/proc/sys/fs/file-nr"))?;
        let mut words = parse::words(text).map(parse::decimal);
        let (allocated, maximum) = (words.next().flatten(), words.nth(1).flatten());
        if let Some(n) = allocated {
            self.allocated.put(pass, ALLOCATED, &[], n);
        }
        if let Some(n) = maximum {
            self.maximum.put(pass, MAXIMUM, &[], n);
        }
        Ok(())
    }
}

const AVAILABLE: Family<'_> = Family::gauge("node_entropy_available_bits", "Bits of available entropy.");
const POOL: Family<'_> = Family::gauge("node_entropy_pool_size_bits", "Bits of entropy pool.");

pub(super) struct Entropy {
    files: [KeptFile; 2],
    series: [LazySeries; 2],
}

impl Entropy {
    pub(super) fn new(config: &Config, budget: &FileBudget) -> Self {
        let folder = config.proc_root.join("sys/kernel/random");
        let files = ["entropy_avail", "poolsize"].map(|name| KeptFile::new(folder.join(name), budget));
        Self { files, series: Default::default() }
    }
}

impl Collector for Entropy {
    fn name(&self) -> &'static str {
        "entropy"
    }

    fn collect(&mut self, pass: &mut Pass<'_>, tools: &mut Tools<'_>) -> Result<(), Failure> {
        for ((file, series), family) in self.files.iter_mut().zip(&mut self.series).zip([AVAILABLE, POOL]) {
            let text = file.read(tools.buffer).map_err(Failure::at("/proc/sys/kernel/random"))?;
            if let Some(bits) = parse::unsigned(text) {
                series.put(pass, family, &[], parse::value(bits));
            }
        }
        Ok(())
    }
}

const NOW: Family<'_> = Family::gauge("node_time_seconds", "System time in seconds since epoch (1970).");
const CURRENT: Family<'_> = Family::gauge(
    "node_time_clocksource_current_info",
    "Current clocksource read from '/sys/devices/system/clocksource'.",
);
const OFFERED: Family<'_> = Family::gauge(
    "node_time_clocksource_available_info",
    "Available clocksources read from '/sys/devices/system/clocksource'.",
);

const ZONE: Family<'_> =
    Family::gauge("node_time_zone_offset_seconds", "System time zone offset in seconds.");
/// A file of a time zone is shorter.
const ZONE_BYTES_MAX: usize = 64 << 10;

pub(super) struct Time {
    folder: PathBuf,
    zone_file: PathBuf,
    zone: Option<Zone>,
    now: LazySeries,
    current: Option<String>,
    sources: Vec<Series>,
}

struct Zone {
    name: String,
    offset: f64,
    series: Series,
}

impl Time {
    pub(super) fn new(config: &Config) -> Self {
        let folder = config.sys_root.join("devices/system/clocksource/clocksource0");
        Self {
            folder,
            zone_file: config.root.join("etc/localtime"),
            zone: None,
            now: LazySeries::default(),
            current: None,
            sources: Vec::new(),
        }
    }

    /// The zone's name and offset change when summer comes.
    fn read_zone(&mut self, pass: &mut Pass<'_>, tools: &mut Tools<'_>) {
        let data = read_once(&self.zone_file, tools.buffer).ok().filter(|data| data.len() <= ZONE_BYTES_MAX);
        let zone = data.and_then(|data| jiff::tz::TimeZone::tzif("localtime", data).ok());
        let zone = zone.unwrap_or(jiff::tz::TimeZone::UTC);
        let Ok(now) = jiff::Timestamp::from_millisecond(pass.time_ms) else { return };
        let info = zone.to_offset_info(now);
        let (name, offset) = (info.abbreviation(), f64::from(info.offset().seconds()));
        match &mut self.zone {
            Some(zone) if zone.name == name => zone.offset = offset,
            old => {
                if let Some(old) = old.take() {
                    pass.retire(old.series);
                }
                let series = pass.define(ZONE, &[("time_zone", name)]);
                *old = Some(Zone { name: name.to_owned(), offset, series });
            }
        }
    }

    /// The clock source changes when the kernel finds one unreliable.
    fn read_sources(&mut self, pass: &mut Pass<'_>) {
        let current = read_text(&self.folder.join("current_clocksource"));
        if current == self.current {
            return;
        }
        self.sources.drain(..).for_each(|s| pass.retire(s));
        if let Some(current) = &current {
            let offered = read_text(&self.folder.join("available_clocksource")).unwrap_or_default();
            for source in offered.split_ascii_whitespace() {
                self.sources.push(pass.define(OFFERED, &[("clocksource", source), ("device", "0")]));
            }
            self.sources.push(pass.define(CURRENT, &[("clocksource", current), ("device", "0")]));
        }
        self.current = current;
    }
}

impl Collector for Time {
    fn name(&self) -> &'static str {
        "time"
    }

    fn collect(&mut self, pass: &mut Pass<'_>, tools: &mut Tools<'_>) -> Result<(), Failure> {
        if tools.slow {
            self.read_sources(pass);
            self.read_zone(pass, tools);
        }
        self.now.put(pass, NOW, &[], parse::signed_value(pass.time_ms) / 1000.0);
        for series in &self.sources {
            pass.put(*series, 1.0);
        }
        if let Some(zone) = &self.zone {
            pass.put(zone.series, zone.offset);
        }
        Ok(())
    }
}

const UNAME: Family<'_> =
    Family::gauge("node_uname_info", "Labeled system information as provided by the uname system call.");

#[derive(Default)]
pub(super) struct Uname {
    known: Option<([String; 6], Series)>,
}

impl Collector for Uname {
    fn name(&self) -> &'static str {
        "uname"
    }

    fn collect(&mut self, pass: &mut Pass<'_>, tools: &mut Tools<'_>) -> Result<(), Failure> {
        // The host's name may change at any time.
        if tools.slow || self.known.is_none() {
            let uname = rustix::system::uname();
            let words = [
                uname.sysname(),
                uname.release(),
                uname.version(),
                uname.machine(),
                uname.nodename(),
                uname.domainname(),
            ]
            .map(|text| text.to_string_lossy().into_owned());
            if self.known.as_ref().is_none_or(|(known, _)| *known != words) {
                if let Some((_, old)) = self.known.take() {
                    pass.retire(old);
                }
                let names = ["sysname", "release", "version", "machine", "nodename", "domainname"];
                let labels: [(&str, &str); 6] = std::array::from_fn(|i| (names[i], words[i].as_str()));
                let series = pass.define(UNAME, &labels);
                self.known = Some((words, series));
            }
        }
        let (_, series) =
            self.known.as_ref().ok_or(Failure { place: Path::new("uname").into(), errno: Errno::NOSYS })?;
        pass.put(*series, 1.0);
        Ok(())
    }
}
