//! `/proc/net/rpc`: what clients and servers of NFS did, by procedure.

use std::path::PathBuf;

use super::{Failure, background::Source};
use crate::{
    Config,
    file::{Buffer, read_once},
    parse,
    series::Family,
    sheet::Sheet,
};

/// Procedures in the order in which the kernel counts them. Versions 2 and 3 are the same for
/// clients and servers.
const VERSION_2: [&str; 18] = [
    "Null", "GetAttr", "SetAttr", "Root", "Lookup", "ReadLink", "Read", "WrCache", "Write", "Create",
    "Remove", "Rename", "Link", "SymLink", "MkDir", "RmDir", "ReadDir", "FsStat",
];
const VERSION_3: [&str; 22] = [
    "Null",
    "GetAttr",
    "SetAttr",
    "Lookup",
    "Access",
    "ReadLink",
    "Read",
    "Write",
    "Create",
    "MkDir",
    "SymLink",
    "MkNod",
    "Remove",
    "RmDir",
    "Rename",
    "Link",
    "ReadDir",
    "ReadDirPlus",
    "FsStat",
    "FsInfo",
    "PathConf",
    "Commit",
];
const VERSION_4_CLIENT: [&str; 59] = [
    "Null",
    "Read",
    "Write",
    "Commit",
    "Open",
    "OpenConfirm",
    "OpenNoattr",
    "OpenDowngrade",
    "Close",
    "Setattr",
    "FsInfo",
    "Renew",
    "SetClientID",
    "SetClientIDConfirm",
    "Lock",
    "Lockt",
    "Locku",
    "Access",
    "Getattr",
    "Lookup",
    "LookupRoot",
    "Remove",
    "Rename",
    "Link",
    "Symlink",
    "Create",
    "Pathconf",
    "StatFs",
    "ReadLink",
    "ReadDir",
    "ServerCaps",
    "DelegReturn",
    "GetACL",
    "SetACL",
    "FsLocations",
    "ReleaseLockowner",
    "Secinfo",
    "FsidPresent",
    "ExchangeID",
    "CreateSession",
    "DestroySession",
    "Sequence",
    "GetLeaseTime",
    "ReclaimComplete",
    "GetDeviceInfo",
    "LayoutGet",
    "LayoutCommit",
    "LayoutReturn",
    "SecinfoNoName",
    "TestStateID",
    "FreeStateID",
    "GetDeviceList",
    "BindConnToSession",
    "DestroyClientID",
    "Seek",
    "Allocate",
    "DeAllocate",
    "LayoutStats",
    "Clone",
];
/// Operations of version 4 by number; the first three are none.
const VERSION_4_SERVER: [&str; 40] = [
    "",
    "",
    "",
    "Access",
    "Close",
    "Commit",
    "Create",
    "DelegPurge",
    "DelegReturn",
    "GetAttr",
    "GetFH",
    "Link",
    "Lock",
    "Lockt",
    "Locku",
    "Lookup",
    "LookupRoot",
    "Nverify",
    "Open",
    "OpenAttr",
    "OpenConfirm",
    "OpenDgrd",
    "PutFH",
    "",
    "",
    "Read",
    "ReadDir",
    "ReadLink",
    "Remove",
    "Rename",
    "Renew",
    "RestoreFH",
    "SaveFH",
    "SecInfo",
    "SetAttr",
    "SetClientID",
    "SetClientIDConfirm",
    "Verify",
    "Write",
    "RelLockOwner",
];

/// Numbers of a line after its name; what is none is 0.
pub(super) fn numbers(rest: &[u8]) -> Vec<f64> {
    parse::words(rest).map(|word| parse::number(word).unwrap_or(0.0)).collect()
}

fn put_procedures(sheet: &mut Sheet, family: Family<'_>, version: &str, procedures: &[&str], counts: &[f64]) {
    for (i, method) in procedures.iter().enumerate().filter(|(_, method)| !method.is_empty()) {
        let n = counts.get(i).copied().unwrap_or(0.0);
        sheet.put(family, &[("proto", version), ("method", method)], n);
    }
}

/// `/proc/net/rpc/nfs`.
pub(super) struct NfsClient(PathBuf);

impl NfsClient {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.proc_root.join("net/rpc/nfs"))
    }
}

impl Source for NfsClient {
    fn name(&self) -> &'static str {
        "nfs"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let text = read_once(&self.0, buffer).map_err(Failure::at(&self.0))?;
        for line in parse::lines(text) {
            let Some((name, rest)) = parse::split_once(line, b' ') else { continue };
            let n = numbers(rest);
            let requests = Family::counter("node_nfs_requests_total", "Number of NFS procedures invoked.");
            // The first number of a line of procedures tells how many follow.
            let counts = n.get(1..).unwrap_or_default();
            match (name, n.as_slice()) {
                (b"net", [_, udp, tcp, connections, ..]) => {
                    sheet.put(
                        Family::counter(
                            "node_nfs_packets_total",
                            "Total NFSd network packets (sent+received) by protocol type.",
                        ),
                        &[("protocol", "udp")],
                        *udp,
                    );
                    sheet.put(
                        Family::counter(
                            "node_nfs_packets_total",
                            "Total NFSd network packets (sent+received) by protocol type.",
                        ),
                        &[("protocol", "tcp")],
                        *tcp,
                    );
                    sheet.put(
                        Family::counter(
                            "node_nfs_connections_total",
                            "Total number of NFSd TCP connections.",
                        ),
                        &[],
                        *connections,
                    );
                }
                (b"rpc", [calls, retransmissions, refreshes, ..]) => {
                    sheet.put(
                        Family::counter("node_nfs_rpcs_total", "Total number of RPCs performed."),
                        &[],
                        *calls,
                    );
                    sheet.put(
                        Family::counter(
                            "node_nfs_rpc_retransmissions_total",
                            "Number of RPC transmissions performed.",
                        ),
                        &[],
                        *retransmissions,
                    );
                    sheet.put(
                        Family::counter(
                            "node_nfs_rpc_authentication_refreshes_total",
                            "Number of RPC authentication refreshes performed.",
                        ),
                        &[],
                        *refreshes,
                    );
                }
                (b"proc2", _) => put_procedures(sheet, requests, "2", &VERSION_2, counts),
                (b"proc3", _) => put_procedures(sheet, requests, "3", &VERSION_3, counts),
                (b"proc4", _) => put_procedures(sheet, requests, "4", &VERSION_4_CLIENT, counts),
                _ => {}
            }
        }
        Ok(())
    }
}

/// `/proc/net/rpc/nfsd`.
pub(super) struct NfsServer(PathBuf);

impl NfsServer {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.proc_root.join("net/rpc/nfsd"))
    }
}

impl Source for NfsServer {
    fn name(&self) -> &'static str {
        "nfsd"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let text = read_once(&self.0, buffer).map_err(Failure::at(&self.0))?;
        for line in parse::lines(text) {
            let Some((name, rest)) = parse::split_once(line, b' ') else { continue };
            put_server_line(sheet, name, &numbers(rest));
        }
        Ok(())
    }
}

fn put_server_line(sheet: &mut Sheet, name: &[u8], n: &[f64]) {
    let requests =
        Family::counter("node_nfsd_requests_total", "Total number NFSd Requests by method and protocol.");
    let counts = n.get(1..).unwrap_or_default();
    match (name, n) {
        (b"rc", [hits, misses, no_cache, ..]) => {
            sheet.put(
                Family::counter(
                    "node_nfsd_reply_cache_hits_total",
                    "Total number of NFSd Reply Cache hits (client lost server response).",
                ),
                &[],
                *hits,
            );
            sheet.put(
                Family::counter(
                    "node_nfsd_reply_cache_misses_total",
                    "Total number of NFSd Reply Cache an operation that requires caching (idempotent).",
                ),
                &[],
                *misses,
            );
            sheet.put(
                Family::counter(
                    "node_nfsd_reply_cache_nocache_total",
                    "Total number of NFSd Reply Cache non-idempotent operations (rename/delete/…).",
                ),
                &[],
                *no_cache,
            );
        }
        (b"fh", [stale, ..]) => sheet.put(
            Family::counter("node_nfsd_file_handles_stale_total", "Total number of NFSd stale file handles"),
            &[],
            *stale,
        ),
        (b"io", [read, written, ..]) => {
            sheet.put(
                Family::counter("node_nfsd_disk_bytes_read_total", "Total NFSd bytes read."),
                &[],
                *read,
            );
            sheet.put(
                Family::counter("node_nfsd_disk_bytes_written_total", "Total NFSd bytes written."),
                &[],
                *written,
            );
        }
        (b"th", [threads, ..]) => sheet.put(
            Family::gauge(
                "node_nfsd_server_threads",
                "Total number of NFSd kernel threads that are running.",
            ),
            &[],
            *threads,
        ),
        (b"ra", [size, .., not_found]) => {
            sheet.put(
                Family::gauge(
                    "node_nfsd_read_ahead_cache_size_blocks",
                    "How large the read ahead cache is in blocks.",
                ),
                &[],
                *size,
            );
            sheet.put(
                Family::counter(
                    "node_nfsd_read_ahead_cache_not_found_total",
                    "Total number of NFSd read ahead cache not found.",
                ),
                &[],
                *not_found,
            );
        }
        (b"net", [_, udp, tcp, connections, ..]) => {
            sheet.put(
                Family::counter(
                    "node_nfsd_packets_total",
                    "Total NFSd network packets (sent+received) by protocol type.",
                ),
                &[("proto", "udp")],
                *udp,
            );
            sheet.put(
                Family::counter(
                    "node_nfsd_packets_total",
                    "Total NFSd network packets (sent+received) by protocol type.",
                ),
                &[("proto", "tcp")],
                *tcp,
            );
            sheet.put(
                Family::counter("node_nfsd_connections_total", "Total number of NFSd TCP connections."),
                &[],
                *connections,
            );
        }
        (b"rpc", [calls, _, format, authentication, client, ..]) => {
            sheet.put(
                Family::counter("node_nfsd_server_rpcs_total", "Total number of NFSd RPCs."),
                &[],
                *calls,
            );
            for (error, n) in [("fmt", format), ("auth", authentication), ("cInt", client)] {
                sheet.put(
                    Family::counter(
                        "node_nfsd_rpc_errors_total",
                        "Total number of NFSd RPC errors by error type.",
                    ),
                    &[("error", error)],
                    *n,
                );
            }
        }
        (b"proc2", _) => {
            put_procedures(sheet, requests, "2", &VERSION_2[1..], counts.get(1..).unwrap_or_default());
        }
        (b"proc3", _) => {
            put_procedures(sheet, requests, "3", &VERSION_3[1..], counts.get(1..).unwrap_or_default());
        }
        (b"proc4ops", _) => put_procedures(sheet, requests, "4", &VERSION_4_SERVER, counts),
        (b"wdeleg_getattr", [n, ..]) => {
            sheet.put(requests, &[("proto", "4"), ("method", "WdelegGetattr")], *n);
        }
        _ => {}
    }
}
