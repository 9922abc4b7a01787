//! DRBD: disks that are mirrored over the network.

use std::path::PathBuf;

use super::{Failure, background::Source};
use crate::{
    Config,
    file::{Buffer, read_once},
    parse,
    series::Family,
    sheet::Sheet,
};

/// Numbers of a DRBD device, by the word before the colon, and how many bytes one of them is.
const DRBD: [(&str, Family<'_>, f64); 12] = [
    (
        "ns",
        Family::counter("node_drbd_network_sent_bytes_total", "Total number of bytes sent via the network."),
        1024.0,
    ),
    (
        "nr",
        Family::counter(
            "node_drbd_network_received_bytes_total",
            "Total number of bytes received via the network.",
        ),
        1.0,
    ),
    (
        "dw",
        Family::counter(
            "node_drbd_disk_written_bytes_total",
            "Net data written on local hard disk; in bytes.",
        ),
        1024.0,
    ),
    (
        "dr",
        Family::counter("node_drbd_disk_read_bytes_total", "Net data read from local hard disk; in bytes."),
        1024.0,
    ),
    (
        "al",
        Family::counter(
            "node_drbd_activitylog_writes_total",
            "Number of updates of the activity log area of the meta data.",
        ),
        1.0,
    ),
    (
        "bm",
        Family::counter(
            "node_drbd_bitmap_writes_total",
            "Number of updates of the bitmap area of the meta data.",
        ),
        1.0,
    ),
    (
        "lo",
        Family::gauge("node_drbd_local_pending", "Number of open requests to the local I/O sub-system."),
        1.0,
    ),
    (
        "pe",
        Family::gauge(
            "node_drbd_remote_pending",
            "Number of requests sent to the peer, but that have not yet been answered by the latter.",
        ),
        1.0,
    ),
    (
        "ua",
        Family::gauge(
            "node_drbd_remote_unacknowledged",
            "Number of requests received by the peer via the network connection, but that have not yet been answered.",
        ),
        1.0,
    ),
    (
        "ap",
        Family::gauge(
            "node_drbd_application_pending",
            "Number of block I/O requests forwarded to DRBD, but not yet answered by DRBD.",
        ),
        1.0,
    ),
    ("ep", Family::gauge("node_drbd_epochs", "Number of Epochs currently on the fly."), 1.0),
    (
        "oos",
        Family::gauge("node_drbd_out_of_sync_bytes", "Amount of data known to be out of sync; in bytes."),
        1024.0,
    ),
];

/// `/proc/drbd`: disks that are mirrored over the network, up to version 8.
pub(super) struct Drbd(PathBuf);

impl Drbd {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.proc_root.join("drbd"))
    }
}

impl Source for Drbd {
    fn name(&self) -> &'static str {
        "drbd"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let text = read_once(&self.0, buffer).map_err(Failure::at(&self.0))?;
        let mut device = None;
        for word in parse::lines(text).flat_map(parse::words) {
            let Some((key, value)) = parse::split_once(word, b':') else { continue };
            if value.is_empty() && parse::unsigned(key).is_some() {
                device = Some(format!("drbd{}", String::from_utf8_lossy(key)));
                continue;
            }
            let Some(device) = device.as_deref() else { continue };
            let device = ("device", device);
            let is = |text: &[u8], what: &[u8]| f64::from(u8::from(text == what));
            let pair = |what: &[u8]| {
                let (local, remote) = parse::split_once(value, b'/')?;
                Some([("local", is(local, what)), ("remote", is(remote, what))])
            };
            match key {
                b"ro" => {
                    for (node, n) in pair(b"Primary").into_iter().flatten() {
                        sheet.put(
                            Family::gauge(
                                "node_drbd_node_role_is_primary",
                                "Whether the role of the node is in the primary state.",
                            ),
                            &[device, ("node", node)],
                            n,
                        );
                    }
                }
                b"ds" => {
                    for (node, n) in pair(b"UpToDate").into_iter().flatten() {
                        sheet.put(
                            Family::gauge(
                                "node_drbd_disk_state_is_up_to_date",
                                "Whether the disk of the node is up to date.",
                            ),
                            &[device, ("node", node)],
                            n,
                        );
                    }
                }
                b"cs" => sheet.put(
                    Family::gauge("node_drbd_connected", "Whether DRBD is connected to the peer."),
                    &[device],
                    is(value, b"Connected"),
                ),
                _ => {
                    let known = DRBD.iter().find(|(name, ..)| name.as_bytes() == key);
                    if let (Some((_, family, bytes)), Some(n)) = (known, parse::number(value)) {
                        sheet.put(*family, &[device], n * bytes);
                    }
                }
            }
        }
        Ok(())
    }
}
