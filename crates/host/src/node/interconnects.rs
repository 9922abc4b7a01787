//! Network hardware beside plain interfaces: bonds, InfiniBand, Fibre Channel.

use std::path::{Path, PathBuf};

use super::{
    Failure,
    attributes::{self, Attribute, SAME},
    background::Source,
};
use crate::{
    Config,
    file::{Buffer, names, read_text},
    parse,
    series::Family,
    sheet::Sheet,
};

/// Interfaces that are bundled into one.
pub(super) struct Bonds(PathBuf);

impl Bonds {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sys_root.join("class/net"))
    }
}

impl Source for Bonds {
    fn name(&self) -> &'static str {
        "bonding"
    }

    fn read(&mut self, sheet: &mut Sheet, _: &mut Buffer) -> Result<(), Failure> {
        let file = self.0.join("bonding_masters");
        let Some(masters) = read_text(&file) else {
            return Err(Failure::at(file)(rustix::io::Errno::NOENT));
        };
        for master in masters.split_ascii_whitespace() {
            let folder = self.0.join(master);
            let Some(slaves) = read_text(&folder.join("bonding/slaves")) else { continue };
            let (mut all, mut active) = (0u32, 0u32);
            for slave in slaves.split_ascii_whitespace() {
                // Older kernels name the link otherwise.
                let status = ["lower", "slave"].into_iter().find_map(|kind| {
                    read_text(&folder.join(format!("{kind}_{slave}/bonding_slave/mii_status")))
                });
                all += 1;
                active += u32::from(status.as_deref() == Some("up"));
            }
            sheet.put(
                Family::gauge("node_bonding_slaves", "Number of configured slaves per bonding interface."),
                &[("master", master)],
                all.into(),
            );
            sheet.put(
                Family::gauge("node_bonding_active", "Number of active slaves per bonding interface."),
                &[("master", master)],
                active.into(),
            );
        }
        Ok(())
    }
}

/// InfiniBand counts data in words of four bytes.
const WORDS: f64 = 0.25;
const PORT: [Attribute; 24] = [
    (
        "counters/link_downed",
        Family::counter(
            "node_infiniband_link_downed_total",
            "Number of times the link failed to recover from an error state and went down",
        ),
        SAME,
    ),
    (
        "counters/link_error_recovery",
        Family::counter(
            "node_infiniband_link_error_recovery_total",
            "Number of times the link successfully recovered from an error state",
        ),
        SAME,
    ),
    (
        "counters/multicast_rcv_packets",
        Family::counter(
            "node_infiniband_multicast_packets_received_total",
            "Number of multicast packets received (including errors)",
        ),
        SAME,
    ),
    (
        "counters/multicast_xmit_packets",
        Family::counter(
            "node_infiniband_multicast_packets_transmitted_total",
            "Number of multicast packets transmitted (including errors)",
        ),
        SAME,
    ),
    (
        "counters/port_rcv_constraint_errors",
        Family::counter(
            "node_infiniband_port_constraint_errors_received_total",
            "Number of packets received on the switch physical port that are discarded",
        ),
        SAME,
    ),
    (
        "counters/port_xmit_constraint_errors",
        Family::counter(
            "node_infiniband_port_constraint_errors_transmitted_total",
            "Number of packets not transmitted from the switch physical port",
        ),
        SAME,
    ),
    (
        "counters/port_rcv_data",
        Family::counter(
            "node_infiniband_port_data_received_bytes_total",
            "Number of data octets received on all links",
        ),
        WORDS,
    ),
    (
        "counters/port_xmit_data",
        Family::counter(
            "node_infiniband_port_data_transmitted_bytes_total",
            "Number of data octets transmitted on all links",
        ),
        WORDS,
    ),
    (
        "counters/port_rcv_discards",
        Family::counter(
            "node_infiniband_port_discards_received_total",
            "Number of inbound packets discarded by the port because the port is down or congested",
        ),
        SAME,
    ),
    (
        "counters/port_xmit_discards",
        Family::counter(
            "node_infiniband_port_discards_transmitted_total",
            "Number of outbound packets discarded by the port because the port is down or congested",
        ),
        SAME,
    ),
    (
        "counters/port_rcv_errors",
        Family::counter(
            "node_infiniband_port_errors_received_total",
            "Number of packets containing an error that were received on this port",
        ),
        SAME,
    ),
    (
        "counters/port_rcv_packets",
        Family::counter(
            "node_infiniband_port_packets_received_total",
            "Number of packets received on all VLs by this port (including errors)",
        ),
        SAME,
    ),
    (
        "counters/port_xmit_packets",
        Family::counter(
            "node_infiniband_port_packets_transmitted_total",
            "Number of packets transmitted on all VLs from this port (including errors)",
        ),
        SAME,
    ),
    (
        "counters/port_xmit_wait",
        Family::counter(
            "node_infiniband_port_transmit_wait_total",
            "Number of ticks during which the port had data to transmit but no data was sent during the entire tick",
        ),
        SAME,
    ),
    (
        "counters/unicast_rcv_packets",
        Family::counter(
            "node_infiniband_unicast_packets_received_total",
            "Number of unicast packets received (including errors)",
        ),
        SAME,
    ),
    (
        "counters/unicast_xmit_packets",
        Family::counter(
            "node_infiniband_unicast_packets_transmitted_total",
            "Number of unicast packets transmitted (including errors)",
        ),
        SAME,
    ),
    (
        "counters_ext/port_multicast_rcv_packets",
        Family::counter(
            "node_infiniband_legacy_multicast_packets_received_total",
            "Number of multicast packets received",
        ),
        SAME,
    ),
    (
        "counters_ext/port_multicast_xmit_packets",
        Family::counter(
            "node_infiniband_legacy_multicast_packets_transmitted_total",
            "Number of multicast packets transmitted",
        ),
        SAME,
    ),
    (
        "counters_ext/port_rcv_data_64",
        Family::counter(
            "node_infiniband_legacy_data_received_bytes_total",
            "Number of data octets received on all links",
        ),
        WORDS,
    ),
    (
        "counters_ext/port_xmit_data_64",
        Family::counter(
            "node_infiniband_legacy_data_transmitted_bytes_total",
            "Number of data octets transmitted on all links",
        ),
        WORDS,
    ),
    (
        "counters_ext/port_rcv_packets_64",
        Family::counter(
            "node_infiniband_legacy_packets_received_total",
            "Number of data packets received on all links",
        ),
        SAME,
    ),
    (
        "counters_ext/port_xmit_packets_64",
        Family::counter(
            "node_infiniband_legacy_packets_transmitted_total",
            "Number of data packets received on all links",
        ),
        SAME,
    ),
    (
        "counters_ext/port_unicast_rcv_packets",
        Family::counter(
            "node_infiniband_legacy_unicast_packets_received_total",
            "Number of unicast packets received",
        ),
        SAME,
    ),
    (
        "counters_ext/port_unicast_xmit_packets",
        Family::counter(
            "node_infiniband_legacy_unicast_packets_transmitted_total",
            "Number of unicast packets transmitted",
        ),
        SAME,
    ),
];

/// `/sys/class/infiniband`.
pub(super) struct InfiniBand(PathBuf);

impl InfiniBand {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sys_root.join("class/infiniband"))
    }
}

impl Source for InfiniBand {
    fn name(&self) -> &'static str {
        "infiniband"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        for device in names(&self.0).map_err(Failure::at(&self.0))? {
            let folder = self.0.join(&device);
            let text = |file: &str| read_text(&folder.join(file)).unwrap_or_default();
            let (board, firmware, adapter) = (text("board_id"), text("fw_ver"), text("hca_type"));
            let device = ("device", device.as_str());
            let labels = [
                device,
                ("board_id", board.as_str()),
                ("firmware_version", &firmware),
                ("hca_type", &adapter),
            ];
            sheet.put(
                Family::gauge(
                    "node_infiniband_info",
                    "Non-numeric data from /sys/class/infiniband/<device>, value is always 1.",
                ),
                &labels,
                1.0,
            );
            for port in names(&folder.join("ports")).unwrap_or_default() {
                put_port(sheet, buffer, &folder.join("ports").join(&port), &[device, ("port", &port)]);
            }
        }
        Ok(())
    }
}

fn put_port(sheet: &mut Sheet, buffer: &mut Buffer, folder: &Path, labels: &[(&str, &str)]) {
    // `4: ACTIVE`
    for (file, family) in [
        (
            "state",
            Family::gauge(
                "node_infiniband_state_id",
                "State of the InfiniBand port (0: no change, 1: down, 2: init, 3: armed, 4: active, 5: act defer)",
            ),
        ),
        (
            "phys_state",
            Family::gauge(
                "node_infiniband_physical_state_id",
                "Physical state of the InfiniBand port (0: no change, 1: sleep, 2: polling, 3: disable, 4: shift, 5: link up, 6: link error recover, 7: phytest)",
            ),
        ),
    ] {
        let text = read_text(&folder.join(file)).unwrap_or_default();
        if let Some(n) = text.split(':').next().and_then(|n| parse::number(n.as_bytes())) {
            sheet.put(family, labels, n);
        }
    }
    // `40 Gb/sec (4X QDR)`
    let rate = read_text(&folder.join("rate")).unwrap_or_default();
    if let Some(n) = rate.split_once(" Gb/sec").and_then(|(n, _)| parse::number(n.as_bytes())) {
        sheet.put(
            Family::gauge("node_infiniband_rate_bytes_per_second", "Maximum signal transfer rate"),
            labels,
            n * 1e9 / 8.0,
        );
    }
    attributes::put(sheet, buffer, folder, &PORT, labels);
}

/// Counters of a host adapter's port, which come in hexadecimal.
const FIBRE: [(&str, Family<'_>); 14] = [
    ("dumped_frames", Family::counter("node_fibrechannel_dumped_frames_total", "Number of dumped frames")),
    ("error_frames", Family::counter("node_fibrechannel_error_frames_total", "Number of errors in frames")),
    (
        "fcp_packet_aborts",
        Family::counter("node_fibrechannel_fcp_packet_aborts_total", "Number of aborted packets"),
    ),
    (
        "invalid_crc_count",
        Family::counter("node_fibrechannel_invalid_crc_total", "Invalid Cyclic Redundancy Check count"),
    ),
    (
        "invalid_tx_word_count",
        Family::counter(
            "node_fibrechannel_invalid_tx_words_total",
            "Number of invalid words transmitted by host port",
        ),
    ),
    (
        "link_failure_count",
        Family::counter(
            "node_fibrechannel_link_failure_total",
            "Number of times the host port link has failed",
        ),
    ),
    (
        "loss_of_signal_count",
        Family::counter("node_fibrechannel_loss_of_signal_total", "Number of times signal has been lost"),
    ),
    (
        "loss_of_sync_count",
        Family::counter(
            "node_fibrechannel_loss_of_sync_total",
            "Number of failures on either bit or transmission word boundaries",
        ),
    ),
    (
        "nos_count",
        Family::counter(
            "node_fibrechannel_nos_total",
            "Number Not_Operational Primitive Sequence received by host port",
        ),
    ),
    ("rx_frames", Family::counter("node_fibrechannel_rx_frames_total", "Number of frames received")),
    (
        "rx_words",
        Family::counter("node_fibrechannel_rx_words_total", "Number of words received by host port"),
    ),
    (
        "seconds_since_last_reset",
        Family::counter(
            "node_fibrechannel_seconds_since_last_reset_total",
            "Number of seconds since last host port reset",
        ),
    ),
    (
        "tx_frames",
        Family::counter("node_fibrechannel_tx_frames_total", "Number of frames transmitted by host port"),
    ),
    (
        "tx_words",
        Family::counter("node_fibrechannel_tx_words_total", "Number of words transmitted by host port"),
    ),
];
const FIBRE_TEXTS: [&str; 10] = [
    "speed",
    "port_state",
    "port_type",
    "symbolic_name",
    "supported_classes",
    "supported_speeds",
    "dev_loss_tmo",
    "port_name",
    "port_id",
    "fabric_name",
];

/// `/sys/class/fc_host`.
pub(super) struct FibreChannel(PathBuf);

impl FibreChannel {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.sys_root.join("class/fc_host"))
    }
}

impl Source for FibreChannel {
    fn name(&self) -> &'static str {
        "fibrechannel"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        for host in names(&self.0).map_err(Failure::at(&self.0))? {
            let folder = self.0.join(&host);
            let host = ("fc_host", host.as_str());
            let texts = FIBRE_TEXTS.map(|file| read_text(&folder.join(file)).unwrap_or_default());
            // Names and numbers of ports go without the sign that they are hexadecimal.
            let plain = texts.iter().map(|text| text.strip_prefix("0x").unwrap_or(text));
            let labels: Vec<_> = FIBRE_TEXTS.into_iter().zip(plain).chain([host]).collect();
            sheet.put(
                Family::gauge(
                    "node_fibrechannel_info",
                    "Non-numeric data from /sys/class/fc_host/<host>, value is always 1.",
                ),
                &labels,
                1.0,
            );
            for (file, family) in FIBRE {
                let path = folder.join("statistics").join(file);
                let n = crate::file::read_once(&path, buffer).ok().and_then(parse::hexadecimal);
                // All bits set stand for a counter that the adapter does not have.
                if let Some(n) = n.filter(|n| *n != u64::MAX) {
                    sheet.put(family, &[host], parse::value(n));
                }
            }
        }
        Ok(())
    }
}
