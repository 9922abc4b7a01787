//! Tables of the network stack: neighbours, tracked connections, packet backlogs, sockets.

use std::{collections::BTreeMap, path::PathBuf};

use super::{Failure, background::Source};
use crate::{
    Config,
    config::fits_any,
    file::{Buffer, FileBudget, KeptFile, names, read_once},
    parse,
    series::Family,
    sheet::Sheet,
};

/// `/proc/net/arp`: how many neighbours each interface knows.
pub(super) struct Arp {
    file: PathBuf,
    excluded: Vec<String>,
}

impl Arp {
    pub(super) fn new(config: &Config) -> Self {
        Self { file: config.proc_root.join("net/arp"), excluded: config.collectors.arp_excluded.clone() }
    }
}

impl Source for Arp {
    fn name(&self) -> &'static str {
        "arp"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let text = read_once(&self.file, buffer).map_err(Failure::at(&self.file))?;
        let mut entries: BTreeMap<&[u8], u32> = BTreeMap::new();
        for device in parse::lines(text).skip(1).filter_map(|line| parse::words(line).nth(5)) {
            *entries.entry(device).or_default() += 1;
        }
        for (device, entries) in entries {
            let device = String::from_utf8_lossy(device);
            if !fits_any(&self.excluded, &device) {
                sheet.put(
                    Family::gauge("node_arp_entries", "ARP entries by device"),
                    &[("device", &device)],
                    entries.into(),
                );
            }
        }
        Ok(())
    }
}

/// Columns of the connection tracker's statistics.
const TRACKER: [(&str, Family<'_>); 8] = [
    (
        "found",
        Family::gauge("node_nf_conntrack_stat_found", "Number of searched entries which were successful."),
    ),
    (
        "invalid",
        Family::gauge("node_nf_conntrack_stat_invalid", "Number of packets seen which can not be tracked."),
    ),
    (
        "ignore",
        Family::gauge(
            "node_nf_conntrack_stat_ignore",
            "Number of packets seen which are already connected to a conntrack entry.",
        ),
    ),
    ("insert", Family::gauge("node_nf_conntrack_stat_insert", "Number of entries inserted into the list.")),
    (
        "insert_failed",
        Family::gauge(
            "node_nf_conntrack_stat_insert_failed",
            "Number of entries for which list insertion was attempted but failed.",
        ),
    ),
    (
        "drop",
        Family::gauge("node_nf_conntrack_stat_drop", "Number of packets dropped due to conntrack failure."),
    ),
    (
        "early_drop",
        Family::gauge(
            "node_nf_conntrack_stat_early_drop",
            "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
        ),
    ),
    (
        "search_restart",
        Family::gauge(
            "node_nf_conntrack_stat_search_restart",
            "Number of conntrack table lookups which had to be restarted due to hashtable resizes.",
        ),
    ),
];

/// The table of tracked connections: its size and what became of packets.
pub(super) struct ConnectionTracker {
    entries: KeptFile,
    limit: KeptFile,
    statistics: KeptFile,
}

impl ConnectionTracker {
    pub(super) fn new(config: &Config, budget: &FileBudget) -> Self {
        let file = |name: &str| KeptFile::new(config.proc_root.join(name), budget);
        Self {
            entries: file("sys/net/netfilter/nf_conntrack_count"),
            limit: file("sys/net/netfilter/nf_conntrack_max"),
            statistics: file("net/stat/nf_conntrack"),
        }
    }
}

impl Source for ConnectionTracker {
    fn name(&self) -> &'static str {
        "conntrack"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        for (file, family) in [
            (
                &mut self.entries,
                Family::gauge(
                    "node_nf_conntrack_entries",
                    "Number of currently allocated flow entries for connection tracking.",
                ),
            ),
            (
                &mut self.limit,
                Family::gauge(
                    "node_nf_conntrack_entries_limit",
                    "Maximum size of connection tracking table.",
                ),
            ),
        ] {
            let text = file.read(buffer).map_err(Failure::at("/proc/sys/net/netfilter"))?;
            if let Some(n) = parse::number(text) {
                sheet.put(family, &[], n);
            }
        }
        // One line of numbers a processor. Kernels without statistics have no such file.
        let Ok(text) = self.statistics.read(buffer) else { return Ok(()) };
        let mut lines = parse::lines(text);
        let heading = lines.next().unwrap_or_default();
        let mut sums = [0u64; TRACKER.len()];
        let mut known = [false; TRACKER.len()];
        for line in lines {
            for (name, word) in parse::words(heading).zip(parse::words(line)) {
                if let Some(i) = TRACKER.iter().position(|(n, _)| n.as_bytes() == name) {
                    sums[i] = sums[i].saturating_add(parse::hexadecimal(word).unwrap_or(0));
                    known[i] = true;
                }
            }
        }
        for ((sum, _), (_, family)) in sums.iter().zip(known).filter(|(_, known)| *known).zip(TRACKER) {
            sheet.put(family, &[], parse::value(*sum));
        }
        Ok(())
    }
}

/// Columns of a processor's line.
const BACKLOG: [(usize, Family<'_>); 7] = [
    (0, Family::counter("node_softnet_processed_total", "Number of processed packets")),
    (1, Family::counter("node_softnet_dropped_total", "Number of dropped packets")),
    (
        2,
        Family::counter(
            "node_softnet_times_squeezed_total",
            "Number of times processing packets ran out of quota",
        ),
    ),
    (
        8,
        Family::counter(
            "node_softnet_cpu_collision_total",
            "Number of collision occur while obtaining device lock while transmitting",
        ),
    ),
    (9, Family::counter("node_softnet_received_rps_total", "Number of times cpu woken up received_rps")),
    (
        10,
        Family::counter("node_softnet_flow_limit_count_total", "Number of times flow limit has been reached"),
    ),
    (11, Family::gauge("node_softnet_backlog_len", "Softnet backlog status")),
];
/// Column of the processor's number, on newer kernels.
const BACKLOG_CPU: usize = 12;

/// `/proc/net/softnet_stat`: what became of packets between driver and protocol.
pub(super) struct SoftNet {
    file: KeptFile,
    /// Names of processors, so that none is made anew.
    cpus: Vec<String>,
}

impl SoftNet {
    pub(super) fn new(config: &Config, budget: &FileBudget) -> Self {
        Self { file: KeptFile::new(config.proc_root.join("net/softnet_stat"), budget), cpus: Vec::new() }
    }
}

impl Source for SoftNet {
    fn name(&self) -> &'static str {
        "softnet"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        /// Beyond the processors of the largest machines.
        const CPUS_MAX: usize = 8192;
        let text = self.file.read(buffer).map_err(Failure::at("/proc/net/softnet_stat"))?;
        for (line_number, line) in parse::lines(text).enumerate() {
            let mut columns = [0u64; BACKLOG_CPU + 1];
            let mut found = 0;
            for (column, word) in columns.iter_mut().zip(parse::words(line)) {
                let Some(n) = parse::hexadecimal(word) else { break };
                *column = n;
                found += 1;
            }
            let cpu = if found > BACKLOG_CPU { columns[BACKLOG_CPU] } else { line_number as u64 };
            let Ok(cpu) = usize::try_from(cpu) else { continue };
            if found == 0 || cpu >= CPUS_MAX {
                continue;
            }
            while self.cpus.len() <= cpu {
                self.cpus.push(self.cpus.len().to_string());
            }
            for (column, family) in BACKLOG {
                sheet.put(family, &[("cpu", &self.cpus[cpu])], parse::value(columns[column]));
            }
        }
        Ok(())
    }
}

/// `/proc/net/udp` and `udp6`: bytes that wait in the queues of all sockets.
pub(super) struct UdpQueues {
    files: [(&'static str, PathBuf); 2],
}

impl UdpQueues {
    pub(super) fn new(config: &Config) -> Self {
        let file = |name: &str| config.proc_root.join("net").join(name);
        Self { files: [("v4", file("udp")), ("v6", file("udp6"))] }
    }
}

impl Source for UdpQueues {
    fn name(&self) -> &'static str {
        "udp_queues"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let mut found = Err(Failure::at(&self.files[0].1)(rustix::io::Errno::NOENT));
        for (version, file) in &self.files {
            let Ok(text) = read_once(file, buffer) else { continue };
            let (mut sent, mut received) = (0u64, 0u64);
            for queues in parse::lines(text).skip(1).filter_map(|line| parse::words(line).nth(4)) {
                if let Some((tx, rx)) = parse::split_once(queues, b':') {
                    sent = sent.saturating_add(parse::hexadecimal(tx).unwrap_or(0));
                    received = received.saturating_add(parse::hexadecimal(rx).unwrap_or(0));
                }
            }
            for (queue, bytes) in [("tx", sent), ("rx", received)] {
                sheet.put(
                    Family::gauge(
                        "node_udp_queues",
                        "Number of allocated memory in the kernel for UDP datagrams in bytes.",
                    ),
                    &[("queue", queue), ("ip", version)],
                    parse::value(bytes),
                );
            }
            found = Ok(());
        }
        found
    }
}

/// Counters of `xfrm_stat`, by which the kernel tells of IPsec.
const TRANSFORMS: [(&str, Family<'_>); 28] = [
    ("XfrmInError", Family::counter("node_xfrm_in_error_packets_total", "All errors not matched by other")),
    ("XfrmInBufferError", Family::counter("node_xfrm_in_buffer_error_packets_total", "No buffer is left")),
    ("XfrmInHdrError", Family::counter("node_xfrm_in_hdr_error_packets_total", "Header error")),
    (
        "XfrmInNoStates",
        Family::counter(
            "node_xfrm_in_no_states_packets_total",
            "No state is found i.e. Either inbound SPI, address, or IPsec protocol at SA is wrong",
        ),
    ),
    (
        "XfrmInStateProtoError",
        Family::counter(
            "node_xfrm_in_state_proto_error_packets_total",
            "Transformation protocol specific error e.g. SA key is wrong",
        ),
    ),
    (
        "XfrmInStateModeError",
        Family::counter("node_xfrm_in_state_mode_error_packets_total", "Transformation mode specific error"),
    ),
    (
        "XfrmInStateSeqError",
        Family::counter(
            "node_xfrm_in_state_seq_error_packets_total",
            "Sequence error i.e. Sequence number is out of window",
        ),
    ),
    ("XfrmInStateExpired", Family::counter("node_xfrm_in_state_expired_packets_total", "State is expired")),
    (
        "XfrmInStateMismatch",
        Family::counter(
            "node_xfrm_in_state_mismatch_packets_total",
            "State has mismatch option e.g. UDP encapsulation type is mismatch",
        ),
    ),
    ("XfrmInStateInvalid", Family::counter("node_xfrm_in_state_invalid_packets_total", "State is invalid")),
    (
        "XfrmInTmplMismatch",
        Family::counter(
            "node_xfrm_in_tmpl_mismatch_packets_total",
            "No matching template for states e.g. Inbound SAs are correct but SP rule is wrong",
        ),
    ),
    (
        "XfrmInNoPols",
        Family::counter(
            "node_xfrm_in_no_pols_packets_total",
            "No policy is found for states e.g. Inbound SAs are correct but no SP is found",
        ),
    ),
    ("XfrmInPolBlock", Family::counter("node_xfrm_in_pol_block_packets_total", "Policy discards")),
    ("XfrmInPolError", Family::counter("node_xfrm_in_pol_error_packets_total", "Policy error")),
    (
        "XfrmOutError",
        Family::counter("node_xfrm_out_error_packets_total", "All errors which is not matched others"),
    ),
    (
        "XfrmOutBundleGenError",
        Family::counter("node_xfrm_out_bundle_gen_error_packets_total", "Bundle generation error"),
    ),
    (
        "XfrmOutBundleCheckError",
        Family::counter("node_xfrm_out_bundle_check_error_packets_total", "Bundle check error"),
    ),
    ("XfrmOutNoStates", Family::counter("node_xfrm_out_no_states_packets_total", "No state is found")),
    (
        "XfrmOutStateProtoError",
        Family::counter(
            "node_xfrm_out_state_proto_error_packets_total",
            "Transformation protocol specific error",
        ),
    ),
    (
        "XfrmOutStateModeError",
        Family::counter("node_xfrm_out_state_mode_error_packets_total", "Transformation mode specific error"),
    ),
    (
        "XfrmOutStateSeqError",
        Family::counter(
            "node_xfrm_out_state_seq_error_packets_total",
            "Sequence error i.e. Sequence number overflow",
        ),
    ),
    ("XfrmOutStateExpired", Family::counter("node_xfrm_out_state_expired_packets_total", "State is expired")),
    ("XfrmOutPolBlock", Family::counter("node_xfrm_out_pol_block_packets_total", "Policy discards")),
    ("XfrmOutPolDead", Family::counter("node_xfrm_out_pol_dead_packets_total", "Policy is dead")),
    ("XfrmOutPolError", Family::counter("node_xfrm_out_pol_error_packets_total", "Policy error")),
    (
        "XfrmFwdHdrError",
        Family::counter(
            "node_xfrm_fwd_hdr_error_packets_total",
            "Forward routing of a packet is not allowed",
        ),
    ),
    (
        "XfrmOutStateInvalid",
        Family::counter("node_xfrm_out_state_invalid_packets_total", "State is invalid, perhaps expired"),
    ),
    (
        "XfrmAcquireError",
        Family::counter(
            "node_xfrm_acquire_error_packets_total",
            "State hasn’t been fully acquired before use",
        ),
    ),
];

/// `/proc/net/xfrm_stat`.
pub(super) struct Transforms {
    file: PathBuf,
}

impl Transforms {
    pub(super) fn new(config: &Config) -> Self {
        Self { file: config.proc_root.join("net/xfrm_stat") }
    }
}

impl Source for Transforms {
    fn name(&self) -> &'static str {
        "xfrm"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let text = read_once(&self.file, buffer).map_err(Failure::at(&self.file))?;
        for line in parse::lines(text) {
            let mut words = parse::words(line);
            let Some(name) = words.next() else { continue };
            if let Some((_, family)) = TRANSFORMS.iter().find(|(n, _)| n.as_bytes() == name)
                && let Some(n) = words.next().and_then(parse::unsigned)
            {
                sheet.put(*family, &[], parse::value(n));
            }
        }
        Ok(())
    }
}

/// `/proc/net/stat`: caches of the network stack, a file each, a line a processor.
pub(super) struct CacheStatistics {
    folder: PathBuf,
}

impl CacheStatistics {
    pub(super) fn new(config: &Config) -> Self {
        Self { folder: config.proc_root.join("net/stat") }
    }
}

impl Source for CacheStatistics {
    fn name(&self) -> &'static str {
        "lnstat"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        for cache in names(&self.folder).map_err(Failure::at(&self.folder))? {
            let Ok(text) = read_once(&self.folder.join(&cache), buffer) else { continue };
            let mut lines = parse::lines(text);
            let heading = lines.next().unwrap_or_default();
            for (cpu, line) in lines.enumerate() {
                let cpu = cpu.to_string();
                for (column, word) in parse::words(heading).zip(parse::words(line)) {
                    let Some(n) = parse::hexadecimal(word) else { continue };
                    let name = format!("node_lnstat_{}_total", String::from_utf8_lossy(column));
                    let labels = [("subsystem", cache.as_str()), ("cpu", &cpu)];
                    sheet.put(Family::counter(&name, "linux network cache stats"), &labels, parse::value(n));
                }
            }
        }
        Ok(())
    }
}

const TCP_STATES: Family<'_> = Family::gauge("node_tcp_connection_states", "Number of connection states.");
/// Names of the kernel's numbers, from 1 on.
const TCP_STATE_NAMES: [&str; 12] = [
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
    "new_syn_recv",
];

/// `/proc/net/tcp` and `tcp6`: sockets by state, and what waits in their queues.
pub(super) struct TcpStates {
    files: [PathBuf; 2],
}

impl TcpStates {
    pub(super) fn new(config: &Config) -> Self {
        Self { files: ["tcp", "tcp6"].map(|name| config.proc_root.join("net").join(name)) }
    }
}

impl Source for TcpStates {
    fn name(&self) -> &'static str {
        "tcpstat"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let mut states = [0u32; TCP_STATE_NAMES.len()];
        let mut queued = [0u64; 2];
        for (i, file) in self.files.iter().enumerate() {
            let text = match read_once(file, buffer) {
                Ok(text) => text,
                // A kernel without IPv6.
                Err(_) if i > 0 => continue,
                Err(errno) => return Err(Failure::at(file)(errno)),
            };
            for line in parse::lines(text).skip(1) {
                let mut words = parse::words(line).skip(3);
                let state = words.next().and_then(parse::hexadecimal).and_then(|n| n.checked_sub(1));
                let Some(count) = state.and_then(|n| states.get_mut(usize::try_from(n).ok()?)) else {
                    continue;
                };
                *count += 1;
                if let Some((tx, rx)) = words.next().and_then(|queues| parse::split_once(queues, b':')) {
                    for (sum, word) in queued.iter_mut().zip([tx, rx]) {
                        *sum = sum.saturating_add(parse::hexadecimal(word).unwrap_or(0));
                    }
                }
            }
        }
        for (state, count) in TCP_STATE_NAMES.into_iter().zip(states).filter(|(_, count)| *count > 0) {
            sheet.put(TCP_STATES, &[("state", state)], count.into());
        }
        for (state, bytes) in ["tx_queued_bytes", "rx_queued_bytes"].into_iter().zip(queued) {
            sheet.put(TCP_STATES, &[("state", state)], parse::value(bytes));
        }
        Ok(())
    }
}
