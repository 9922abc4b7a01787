//! NFS by mount: what was asked for, how long it took, how the connection does.

use std::path::PathBuf;

use super::{Failure, background::Source, nfs::numbers};
use crate::{
    Config,
    file::{Buffer, read_once},
    parse,
    series::Family,
    sheet::Sheet,
};

/// Numbers of the lines `events:` and `bytes:`. The one without a family is no longer counted.
const MOUNT_EVENTS: [Option<Family<'_>>; 27] = [
    Some(Family::counter(
        "node_mountstats_nfs_event_inode_revalidate_total",
        "Number of times cached inode attributes are re-validated from the server.",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_dnode_revalidate_total",
        "Number of times cached dentry nodes are re-validated from the server.",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_data_invalidate_total",
        "Number of times an inode cache is cleared.",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_attribute_invalidate_total",
        "Number of times cached inode attributes are invalidated.",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_vfs_open_total",
        "Number of times cached inode attributes are invalidated.",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_vfs_lookup_total",
        "Number of times a directory lookup has occurred.",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_vfs_access_total",
        "Number of times permissions have been checked.",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_vfs_update_page_total",
        "Number of updates (and potential writes) to pages.",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_vfs_read_page_total",
        "Number of pages read directly via mmap()'d files.",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_vfs_read_pages_total",
        "Number of times a group of pages have been read.",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_vfs_write_page_total",
        "Number of pages written directly via mmap()'d files.",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_vfs_write_pages_total",
        "Number of times a group of pages have been written.",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_vfs_getdents_total",
        "Number of times directory entries have been read with getdents().",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_vfs_setattr_total",
        "Number of times directory entries have been read with getdents().",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_vfs_flush_total",
        "Number of pending writes that have been forcefully flushed to the server.",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_vfs_fsync_total",
        "Number of times fsync() has been called on directories and files.",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_vfs_lock_total",
        "Number of times locking has been attempted on a file.",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_vfs_file_release_total",
        "Number of times files have been closed and released.",
    )),
    None,
    Some(Family::counter(
        "node_mountstats_nfs_event_truncation_total",
        "Number of times files have been truncated.",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_write_extension_total",
        "Number of times a file has been grown due to writes beyond its existing end.",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_silly_rename_total",
        "Number of times a file was removed while still open by another process.",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_short_read_total",
        "Number of times the NFS server gave less data than expected while reading.",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_short_write_total",
        "Number of times the NFS server wrote less data than expected while writing.",
    )),
    Some(Family::counter(
        "node_mountstats_nfs_event_jukebox_delay_total",
        "Number of times the NFS server indicated EJUKEBOX; retrieving data from offline storage.",
    )),
    Some(Family::counter("node_mountstats_nfs_event_pnfs_read_total", "Number of NFS v4.1+ pNFS reads.")),
    Some(Family::counter("node_mountstats_nfs_event_pnfs_write_total", "Number of NFS v4.1+ pNFS writes.")),
];
const MOUNT_BYTES: [Family<'_>; 8] = [
    Family::counter("node_mountstats_nfs_read_bytes_total", "Number of bytes read using the read() syscall."),
    Family::counter(
        "node_mountstats_nfs_write_bytes_total",
        "Number of bytes written using the write() syscall.",
    ),
    Family::counter(
        "node_mountstats_nfs_direct_read_bytes_total",
        "Number of bytes read using the read() syscall in O_DIRECT mode.",
    ),
    Family::counter(
        "node_mountstats_nfs_direct_write_bytes_total",
        "Number of bytes written using the write() syscall in O_DIRECT mode.",
    ),
    Family::counter(
        "node_mountstats_nfs_total_read_bytes_total",
        "Number of bytes read from the NFS server, in total.",
    ),
    Family::counter(
        "node_mountstats_nfs_total_write_bytes_total",
        "Number of bytes written to the NFS server, in total.",
    ),
    Family::counter(
        "node_mountstats_nfs_read_pages_total",
        "Number of pages read directly via mmap()'d files.",
    ),
    Family::counter(
        "node_mountstats_nfs_write_pages_total",
        "Number of pages written directly via mmap()'d files.",
    ),
];
/// Numbers of an operation and how many of their units make one.
const MOUNT_OPERATION: [(Family<'_>, f64); 8] = [
    (
        Family::counter(
            "node_mountstats_nfs_operations_requests_total",
            "Number of requests performed for a given operation.",
        ),
        1.0,
    ),
    (
        Family::counter(
            "node_mountstats_nfs_operations_transmissions_total",
            "Number of times an actual RPC request has been transmitted for a given operation.",
        ),
        1.0,
    ),
    (
        Family::counter(
            "node_mountstats_nfs_operations_major_timeouts_total",
            "Number of times a request has had a major timeout for a given operation.",
        ),
        1.0,
    ),
    (
        Family::counter(
            "node_mountstats_nfs_operations_sent_bytes_total",
            "Number of bytes sent for a given operation, including RPC headers and payload.",
        ),
        1.0,
    ),
    (
        Family::counter(
            "node_mountstats_nfs_operations_received_bytes_total",
            "Number of bytes received for a given operation, including RPC headers and payload.",
        ),
        1.0,
    ),
    (
        Family::counter(
            "node_mountstats_nfs_operations_queue_time_seconds_total",
            "Duration all requests spent queued for transmission for a given operation before they were sent, in seconds.",
        ),
        1e3,
    ),
    (
        Family::counter(
            "node_mountstats_nfs_operations_response_time_seconds_total",
            "Duration all requests took to get a reply back after a request for a given operation was transmitted, in seconds.",
        ),
        1e3,
    ),
    (
        Family::counter(
            "node_mountstats_nfs_operations_request_time_seconds_total",
            "Duration all requests took from when a request was enqueued to when it was completely handled for a given operation, in seconds.",
        ),
        1e3,
    ),
];
/// Numbers of a transport, by place for TCP. UDP lacks those of connecting and idling.
const MOUNT_TRANSPORT: [(usize, Family<'_>); 10] = [
    (
        1,
        Family::counter(
            "node_mountstats_nfs_transport_bind_total",
            "Number of times the client has had to establish a connection from scratch to the NFS server.",
        ),
    ),
    (
        2,
        Family::counter(
            "node_mountstats_nfs_transport_connect_total",
            "Number of times the client has made a TCP connection to the NFS server.",
        ),
    ),
    (
        4,
        Family::gauge(
            "node_mountstats_nfs_transport_idle_time_seconds",
            "Duration since the NFS mount last saw any RPC traffic, in seconds.",
        ),
    ),
    (
        5,
        Family::counter(
            "node_mountstats_nfs_transport_sends_total",
            "Number of RPC requests for this mount sent to the NFS server.",
        ),
    ),
    (
        6,
        Family::counter(
            "node_mountstats_nfs_transport_receives_total",
            "Number of RPC responses for this mount received from the NFS server.",
        ),
    ),
    (
        7,
        Family::counter(
            "node_mountstats_nfs_transport_bad_transaction_ids_total",
            "Number of times the NFS server sent a response with a transaction ID unknown to this client.",
        ),
    ),
    (
        9,
        Family::counter(
            "node_mountstats_nfs_transport_backlog_queue_total",
            "Total number of items added to the RPC backlog queue.",
        ),
    ),
    (
        10,
        Family::gauge(
            "node_mountstats_nfs_transport_maximum_rpc_slots",
            "Maximum number of simultaneously active RPC requests ever used.",
        ),
    ),
    (
        11,
        Family::counter(
            "node_mountstats_nfs_transport_sending_queue_total",
            "Total number of items added to the RPC transmission sending queue.",
        ),
    ),
    (
        12,
        Family::counter(
            "node_mountstats_nfs_transport_pending_queue_total",
            "Total number of items added to the RPC transmission pending queue.",
        ),
    ),
];
/// Times wrap here, as the kernel's differences may be negative.
const TIME_MODULUS: u64 = 1 << 53;

/// `/proc/self/mountstats`: NFS mounts.
pub(super) struct MountStatistics(PathBuf);

impl MountStatistics {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.proc_root.join("self/mountstats"))
    }
}

/// What is told of one mount, line by line.
struct NfsMount<'a> {
    export: &'a str,
    mount_point: String,
    lines: Vec<&'a [u8]>,
}

impl Source for MountStatistics {
    fn name(&self) -> &'static str {
        "mountstats"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let text = read_once(&self.0, buffer).map_err(Failure::at(&self.0))?;
        // What is mounted at several places has its statistics once.
        let mut told: Vec<(&str, String, String)> = Vec::new();
        for mount in nfs_mounts(text) {
            let option = |name: &str| mount.option(name).map(|v| String::from_utf8_lossy(v).into_owned());
            let host = || mount.export.split(':').next().unwrap_or_default().to_owned();
            let address = option("mountaddr").or_else(|| option("addr")).unwrap_or_else(host);
            let Some(protocol) = option("proto") else { continue };
            let labels =
                [("export", mount.export), ("protocol", protocol.as_str()), ("mountaddr", address.as_str())];
            let info = [labels[0], labels[1], labels[2], ("mountpoint", mount.mount_point.as_str())];
            sheet.put(
                Family::gauge("node_mountstats_nfs_mountpoint_info", "Info metric for an NFS mountpoint."),
                &info,
                1.0,
            );
            if !told.iter().any(|(e, p, a)| *e == mount.export && *p == protocol && *a == address) {
                mount.put(sheet, &labels);
                told.push((mount.export, protocol.clone(), address.clone()));
            }
        }
        Ok(())
    }
}

fn nfs_mounts(text: &[u8]) -> Vec<NfsMount<'_>> {
    let mut out: Vec<NfsMount<'_>> = Vec::new();
    let mut open = false;
    for line in parse::lines(text) {
        if let Some(rest) = line.strip_prefix(b"device ") {
            let words: Vec<&[u8]> = parse::words(rest).collect();
            open = false;
            if let [export, b"mounted", b"on", mount_point, b"with", b"fstype", b"nfs" | b"nfs4", ..] =
                words.as_slice()
                && let Ok(export) = std::str::from_utf8(export)
            {
                let mount_point = parse::unescape_mount(mount_point);
                let mount_point = String::from_utf8_lossy(&mount_point).into_owned();
                out.push(NfsMount { export, mount_point, lines: Vec::new() });
                open = true;
            }
        } else if let Some(mount) = out.last_mut().filter(|_| open) {
            mount.lines.push(parse::trim(line));
        }
    }
    out
}

impl NfsMount<'_> {
    fn option(&self, name: &str) -> Option<&[u8]> {
        let options = self.lines.iter().find_map(|line| line.strip_prefix(b"opts:"))?;
        let mut options = parse::trim(options).split(|b| *b == b',');
        options.find_map(|o| o.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }

    fn put(&self, sheet: &mut Sheet, labels: &[(&str, &str); 3]) {
        let mut operations = false;
        let mut transports = 0u32;
        for line in &self.lines {
            let Some((key, rest)) = parse::split_once(line, b':') else {
                operations |= *line == b"per-op statistics";
                continue;
            };
            match key {
                b"age" => {
                    if let Some(n) = parse::number(rest) {
                        sheet.put(
                            Family::counter(
                                "node_mountstats_nfs_age_seconds_total",
                                "The age of the NFS mount in seconds.",
                            ),
                            labels,
                            n,
                        );
                    }
                }
                b"events" => {
                    for (family, n) in MOUNT_EVENTS.into_iter().zip(numbers(rest)) {
                        family.into_iter().for_each(|family| sheet.put(family, labels, n));
                    }
                }
                b"bytes" => {
                    for (family, n) in MOUNT_BYTES.into_iter().zip(numbers(rest)) {
                        sheet.put(family, labels, n);
                    }
                }
                b"xprt" => {
                    put_transport(sheet, labels, transports, rest);
                    transports += 1;
                }
                _ if operations => put_operation(sheet, labels, key, rest),
                _ => {}
            }
        }
    }
}

fn put_transport(sheet: &mut Sheet, labels: &[(&str, &str); 3], number: u32, rest: &[u8]) {
    let mut words = parse::words(rest);
    let protocol = words.next().unwrap_or_default();
    let mut n: Vec<f64> = words.map(|word| parse::number(word).unwrap_or(0.0)).collect();
    match protocol {
        b"tcp" | b"rdma" => {}
        // Port and bind, then what TCP has after connecting and idling.
        b"udp" if n.len() >= 2 => {
            n.splice(2..2, [0.0; 3]);
        }
        _ => return,
    }
    let number = number.to_string();
    let labels = [labels[0], labels[1], labels[2], ("transport", number.as_str())];
    for (place, family) in MOUNT_TRANSPORT {
        if let Some(n) = n.get(place) {
            sheet.put(family, &labels, *n);
        }
    }
}

fn put_operation(sheet: &mut Sheet, labels: &[(&str, &str); 3], operation: &[u8], rest: &[u8]) {
    let operation = String::from_utf8_lossy(operation);
    let labels = [labels[0], labels[1], labels[2], ("operation", &*operation)];
    for (word, (family, units)) in parse::words(rest).zip(MOUNT_OPERATION) {
        let Some(n) = parse::unsigned(word) else { continue };
        let n = if units == 1.0 { n } else { n % TIME_MODULUS };
        sheet.put(family, &labels, parse::value(n) / units);
    }
}
