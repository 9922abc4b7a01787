//! `/proc/net/dev`: bytes, packets and errors of each network interface. One count more, which
//! hardly ever moves, stands in sysfs and is read at the slow interval.

use std::path::{Path, PathBuf};

use super::{Collector, Failure, Tools};
use crate::{
    Config,
    config::fits_any,
    file::{Buffer, FileBudget, KeptFile, read_number},
    keyed::Keyed,
    parse,
    series::{Family, Pass, Series},
};

/// Columns in the kernel's order.
const COLUMNS: [Family<'_>; 16] = [
    Family::counter("node_network_receive_bytes_total", "Network device statistic receive_bytes."),
    Family::counter("node_network_receive_packets_total", "Network device statistic receive_packets."),
    Family::counter("node_network_receive_errs_total", "Network device statistic receive_errs."),
    Family::counter("node_network_receive_drop_total", "Network device statistic receive_drop."),
    Family::counter("node_network_receive_fifo_total", "Network device statistic receive_fifo."),
    Family::counter("node_network_receive_frame_total", "Network device statistic receive_frame."),
    Family::counter("node_network_receive_compressed_total", "Network device statistic receive_compressed."),
    Family::counter("node_network_receive_multicast_total", "Network device statistic receive_multicast."),
    Family::counter("node_network_transmit_bytes_total", "Network device statistic transmit_bytes."),
    Family::counter("node_network_transmit_packets_total", "Network device statistic transmit_packets."),
    Family::counter("node_network_transmit_errs_total", "Network device statistic transmit_errs."),
    Family::counter("node_network_transmit_drop_total", "Network device statistic transmit_drop."),
    Family::counter("node_network_transmit_fifo_total", "Network device statistic transmit_fifo."),
    Family::counter("node_network_transmit_colls_total", "Network device statistic transmit_colls."),
    Family::counter("node_network_transmit_carrier_total", "Network device statistic transmit_carrier."),
    Family::counter(
        "node_network_transmit_compressed_total",
        "Network device statistic transmit_compressed.",
    ),
];

const NO_HANDLER: Family<'_> =
    Family::counter("node_network_receive_nohandler_total", "Network device statistic receive_nohandler.");

pub(super) struct NetDev {
    file: KeptFile,
    class: PathBuf,
    excluded: Vec<String>,
    /// `None` stands for a device that is left out.
    devices: Keyed<Option<Device>>,
}

struct Device {
    name: String,
    series: [Series; 16],
    no_handler: Option<(f64, Series)>,
}

impl NetDev {
    pub(super) fn new(config: &Config, budget: &FileBudget) -> Self {
        Self {
            file: KeptFile::new(config.proc_root.join("net/dev"), budget),
            class: config.sys_root.join("class/net"),
            excluded: config.collectors.netdev_excluded.clone(),
            devices: Keyed::default(),
        }
    }
}

impl Device {
    fn define(pass: &mut Pass<'_>, name: &str) -> Self {
        let series = COLUMNS.map(|family: Family<'_>| pass.define(family, &[("device", name)]));
        Self { name: name.to_owned(), series, no_handler: None }
    }

    fn read_no_handler(&mut self, class: &Path, pass: &mut Pass<'_>, buffer: &mut Buffer) {
        // The name of an interface holds no slash; one of dots alone would lead elsewhere.
        if self.name.starts_with('.') {
            return;
        }
        let Some(n) = read_number(&class.join(&self.name).join("statistics/rx_nohandler"), buffer) else {
            return;
        };
        let series = match self.no_handler {
            Some((_, series)) => series,
            None => pass.define(NO_HANDLER, &[("device", &self.name)]),
        };
        self.no_handler = Some((n, series));
    }

    fn retire(self, pass: &mut Pass<'_>) {
        for series in self.series.into_iter().chain(self.no_handler.map(|(_, series)| series)) {
            pass.retire(series);
        }
    }
}

impl Collector for NetDev {
    fn name(&self) -> &'static str {
        "netdev"
    }

    fn collect(&mut self, pass: &mut Pass<'_>, tools: &mut Tools<'_>) -> Result<(), Failure> {
        let text = self.file.read(tools.buffer).map_err(Failure::at("/proc/net/dev"))?;
        self.devices.begin();
        for (name, counters) in parse::lines(text).filter_map(parse::net_device) {
            let excluded = &self.excluded;
            let define = |name: &str| (!fits_any(excluded, name)).then(|| Device::define(pass, name));
            if let Some(Some(device)) = self.devices.entry(name, define) {
                for (series, n) in device.series.iter().zip(counters) {
                    pass.put(*series, parse::value(n));
                }
            }
        }
        self.devices.end(|device| device.into_iter().for_each(|device| device.retire(pass)));
        for device in self.devices.iter_mut().filter_map(|(_, device)| device.as_mut()) {
            if tools.slow {
                device.read_no_handler(&self.class, pass, tools.buffer);
            }
            if let Some((n, series)) = device.no_handler {
                pass.put(series, n);
            }
        }
        Ok(())
    }
}
