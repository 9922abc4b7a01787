//! The kernel's load balancer, by which kube-proxy may serve.

use std::{collections::BTreeMap, path::PathBuf};

use super::{Failure, background::Source};
use crate::{
    Config,
    file::{Buffer, read_once},
    parse,
    series::Family,
    sheet::Sheet,
};

/// Numbers of the third line of `ip_vs_stats`.
const SERVER_TOTALS: [Family<'_>; 5] = [
    Family::counter("node_ipvs_connections_total", "The total number of connections made."),
    Family::counter("node_ipvs_incoming_packets_total", "The total number of incoming packets."),
    Family::counter("node_ipvs_outgoing_packets_total", "The total number of outgoing packets."),
    Family::counter("node_ipvs_incoming_bytes_total", "The total amount of incoming data."),
    Family::counter("node_ipvs_outgoing_bytes_total", "The total amount of outgoing data."),
];
const BACKEND: [Family<'_>; 3] = [
    Family::gauge("node_ipvs_backend_weight", "The current backend weight by local and remote address."),
    Family::gauge(
        "node_ipvs_backend_connections_active",
        "The current active connections by local and remote address.",
    ),
    Family::gauge(
        "node_ipvs_backend_connections_inactive",
        "The current inactive connections by local and remote address.",
    ),
];

/// `/proc/net/ip_vs`: the kernel's load balancer, by which kube-proxy may serve.
pub(super) struct VirtualServers {
    statistics: PathBuf,
    table: PathBuf,
}

/// Labels of a backend: where it is served, and itself.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Backend {
    local: Service,
    remote: (String, String),
}

#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Service {
    address: String,
    port: String,
    mark: String,
    proto: String,
}

impl VirtualServers {
    pub(super) fn new(config: &Config) -> Self {
        let file = |name: &str| config.proc_root.join("net").join(name);
        Self { statistics: file("ip_vs_stats"), table: file("ip_vs") }
    }
}

impl Source for VirtualServers {
    fn name(&self) -> &'static str {
        "ipvs"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let text = read_once(&self.statistics, buffer).map_err(Failure::at(&self.statistics))?;
        let numbers = parse::lines(text).nth(2).unwrap_or_default();
        for (word, family) in parse::words(numbers).zip(SERVER_TOTALS) {
            if let Some(n) = parse::hexadecimal(word) {
                sheet.put(family, &[], parse::value(n));
            }
        }
        let text = read_once(&self.table, buffer).map_err(Failure::at(&self.table))?;
        for (Backend { local, remote }, sums) in backends(text) {
            let labels = [
                ("local_address", local.address.as_str()),
                ("local_port", &local.port),
                ("remote_address", &remote.0),
                ("remote_port", &remote.1),
                ("proto", &local.proto),
                ("local_mark", &local.mark),
            ];
            for (family, sum) in BACKEND.into_iter().zip(sums) {
                sheet.put(family, &labels, parse::value(sum));
            }
        }
        Ok(())
    }
}

/// Weight, active and inactive connections of each backend. The same one may stand in several
/// lines, which are added up.
fn backends(text: &[u8]) -> BTreeMap<Backend, [u64; 3]> {
    let mut out: BTreeMap<Backend, [u64; 3]> = BTreeMap::new();
    let mut local = Service::default();
    for line in parse::lines(text) {
        let mut words = parse::words(line);
        match words.next() {
            Some(proto @ (b"TCP" | b"UDP" | b"SCTP")) => {
                let place = words.next().and_then(address_and_port).unwrap_or_default();
                local =
                    Service { proto: lossy(proto), address: place.0, port: place.1, ..Service::default() };
            }
            Some(b"FWM") => {
                let mark = words.next().map(lossy).unwrap_or_default();
                local = Service { proto: "FWM".into(), port: "0".into(), mark, ..Service::default() };
            }
            Some(b"->") if !local.proto.is_empty() => {
                let Some(remote) = words.next().and_then(address_and_port) else { continue };
                let mut numbers = words.skip(1).map(|w| parse::unsigned(w).unwrap_or(0));
                let sums = out.entry(Backend { local: local.clone(), remote }).or_default();
                for sum in sums {
                    *sum = sum.saturating_add(numbers.next().unwrap_or(0));
                }
            }
            _ => {}
        }
    }
    out
}

/// `C0A80016:0CEA` or `[2620:0000:…]:0050`.
fn address_and_port(text: &[u8]) -> Option<(String, String)> {
    let colon = text.iter().rposition(|b| *b == b':')?;
    let (address, port) = (&text[..colon], parse::hexadecimal(&text[colon + 1..])?);
    let port = u16::try_from(port).ok()?.to_string();
    let address = match address.strip_prefix(b"[") {
        Some(rest) => {
            let text = std::str::from_utf8(rest.strip_suffix(b"]")?).ok()?;
            text.parse::<std::net::Ipv6Addr>().ok()?.to_string()
        }
        None => {
            let bits = u32::try_from(parse::hexadecimal(address)?).ok()?;
            std::net::Ipv4Addr::from(bits).to_string()
        }
    };
    Some((address, port))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_of_one_service_are_told_apart_and_the_same_ones_added_up() {
        let text = b"IP Virtual Server version 1.2.1 (size=4096)\n\
            Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n\
            TCP  0A000001:0050 rr\n  -> 0A000102:1F90      Masq    1      2          3\n\
            \x20 -> 0A000102:1F90      Masq    1      2          3\n\
            TCP  [fd00:0000:0000:0000:0000:0000:0000:0001]:0050 rr\n\
            \x20 -> [fd00:0000:0000:0000:0000:0000:0000:0002]:1F90      Masq    1      5          6\n\
            FWM  0000002A rr\n  -> 0A000103:0051      Masq    7      8          9\n";
        let told: Vec<_> = backends(text)
            .into_iter()
            .map(|(b, sums)| (b.local.address, b.local.port, b.local.mark, b.remote.0, b.remote.1, sums))
            .collect();
        let line = |words: [&str; 5], sums| {
            let [a, b, c, d, e] = words.map(str::to_owned);
            (a, b, c, d, e, sums)
        };
        assert_eq!(
            told,
            [
                line(["", "0", "0000002A", "10.0.1.3", "81"], [7, 8, 9]),
                line(["10.0.0.1", "80", "", "10.0.1.2", "8080"], [2, 4, 6]),
                line(["fd00::1", "80", "", "fd00::2", "8080"], [1, 5, 6]),
            ]
        );
    }
}
