//! `/proc/net/dev`: bytes, packets and errors of each network interface.

use super::{Collector, Failure, Tools};
use crate::{
    Config,
    file::{FileBudget, KeptFile},
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

pub(super) struct NetDev {
    file: KeptFile,
    devices: Keyed<[Series; 16]>,
}

impl NetDev {
    pub(super) fn new(config: &Config, budget: &FileBudget) -> Self {
        Self { file: KeptFile::new(config.proc_root.join("net/dev"), budget), devices: Keyed::default() }
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
            let define =
                |device: &str| COLUMNS.map(|family: Family<'_>| pass.define(family, &[("device", device)]));
            if let Some(series) = self.devices.entry(name, define) {
                for (series, n) in series.iter().zip(counters) {
                    pass.put(*series, parse::value(n));
                }
            }
        }
        self.devices.end(|series| series.into_iter().for_each(|s| pass.retire(s)));
        Ok(())
    }
}
