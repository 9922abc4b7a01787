//! `/proc/net/{snmp,netstat,snmp6,sockstat,sockstat6}`: counters of the network protocols and
//! numbers of sockets.

use super::{Collector, Failure, Tools};
use crate::{
    Config,
    file::{FileBudget, KeptFile},
    keyed::Keyed,
    parse,
    series::{Family, Pass, Series},
};

pub(super) struct NetStat {
    /// Files in which a line of names is followed by one of numbers.
    paired: [(KeptFile, Keyed<Protocol>); 2],
    snmp6: KeptFile,
    fields6: Keyed<Option<Series>>,
}

/// A protocol's line of names as it was last, and the series of those columns that are reported.
#[derive(Default)]
struct Protocol {
    heading: Vec<u8>,
    columns: Vec<(usize, Series)>,
}

impl NetStat {
    pub(super) fn new(config: &Config, budget: &FileBudget) -> Self {
        let file = |name: &str| KeptFile::new(config.proc_root.join("net").join(name), budget);
        Self {
            paired: ["netstat", "snmp"].map(|name| (file(name), Keyed::default())),
            snmp6: file("snmp6"),
            fields6: Keyed::default(),
        }
    }
}

/// Whether node_exporter reports the counter by default.
fn is_reported(protocol: &str, name: &str) -> bool {
    if matches!(name, "InErrors" | "InErrs") {
        return true;
    }
    match protocol {
        "Ip" => name == "Forwarding",
        "Ip6" | "IpExt" => matches!(name, "InOctets" | "OutOctets"),
        "Icmp" | "Icmp6" => matches!(name, "InMsgs" | "OutMsgs"),
        "TcpExt" => {
            name.starts_with("Listen")
                || name.starts_with("Syncookies")
                || matches!(name, "TCPSynRetrans" | "TCPTimeouts" | "TCPOFOQueue" | "TCPRcvQDrop")
        }
        "Tcp" => matches!(
            name,
            "ActiveOpens" | "InSegs" | "OutSegs" | "OutRsts" | "PassiveOpens" | "RetransSegs" | "CurrEstab"
        ),
        "Udp" | "Udp6" => {
            matches!(name, "InDatagrams" | "OutDatagrams" | "NoPorts" | "RcvbufErrors" | "SndbufErrors")
        }
        _ => false,
    }
}

fn define(pass: &mut Pass<'_>, protocol: &str, name: &str) -> Option<Series> {
    is_reported(protocol, name).then(|| {
        let help = format!("Statistic {protocol}{name}.");
        pass.define(Family::untyped(&format!("node_netstat_{protocol}_{name}"), &help), &[])
    })
}

impl Protocol {
    /// Defines the series of a line of names.
    fn learn(&mut self, heading: &[u8], protocol: &[u8], pass: &mut Pass<'_>) {
        self.columns.drain(..).for_each(|(_, s)| pass.retire(s));
        self.heading = heading.to_vec();
        let protocol = String::from_utf8_lossy(protocol);
        let mut seen: Vec<&[u8]> = Vec::new();
        for (column, name) in parse::words(heading).enumerate() {
            if !seen.contains(&name)
                && let Some(series) = define(pass, &protocol, &String::from_utf8_lossy(name))
            {
                seen.push(name);
                self.columns.push((column, series));
            }
        }
    }

    fn put(&self, numbers: &[u8], pass: &mut Pass<'_>) {
        let mut columns = self.columns.iter().peekable();
        for (i, word) in parse::words(numbers).enumerate() {
            if let Some((_, series)) = columns.next_if(|(column, _)| *column == i)
                && let Some(n) = parse::signed(word)
            {
                pass.put(*series, parse::signed_value(n));
            }
        }
    }
}

impl Collector for NetStat {
    fn name(&self) -> &'static str {
        "netstat"
    }

    fn collect(&mut self, pass: &mut Pass<'_>, tools: &mut Tools<'_>) -> Result<(), Failure> {
        for (file, protocols) in &mut self.paired {
            let text = file.read(tools.buffer).map_err(Failure::at("/proc/net/{netstat,snmp}"))?;
            protocols.begin();
            let mut lines = parse::lines(text);
            while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
                let Some((protocol, heading)) = parse::split_once(names, b':') else { continue };
                let Some((_, numbers)) = parse::split_once(numbers, b':').filter(|(p, _)| *p == protocol)
                else {
                    continue;
                };
                let Some(known) = protocols.entry(protocol, |_| Protocol::default()) else { continue };
                if known.heading != heading {
                    known.learn(heading, protocol, pass);
                }
                known.put(numbers, pass);
            }
            protocols.end(|gone| gone.columns.into_iter().for_each(|(_, s)| pass.retire(s)));
        }
        // Without version 6 of the protocol there is no such file.
        let text = self.snmp6.read(tools.buffer).unwrap_or_default();
        self.fields6.begin();
        for line in parse::lines(text) {
            let mut words = parse::words(line);
            let (Some(key), Some(n)) = (words.next(), words.next().and_then(parse::unsigned)) else {
                continue;
            };
            // `Udp6InErrors`: the protocol's name ends in 6, the counter's name follows.
            let define = |key: &str| {
                let (protocol, name) = key.split_at(key.find('6')? + 1);
                define(pass, protocol, name)
            };
            if let Some(Some(series)) = self.fields6.entry(key, define) {
                pass.put(*series, parse::value(n));
            }
        }
        self.fields6.end(|gone| gone.into_iter().for_each(|s| pass.retire(s)));
        Ok(())
    }
}

pub(super) struct SockStat {
    files: [KeptFile; 2],
    protocols: Keyed<Keyed<Sockets>>,
    page_bytes: f64,
}

struct Sockets {
    count: Series,
    /// Memory is told in pages; it is reported in bytes as well.
    bytes: Option<Series>,
}

impl SockStat {
    pub(super) fn new(config: &Config, budget: &FileBudget) -> Self {
        let file = |name: &str| KeptFile::new(config.proc_root.join("net").join(name), budget);
        Self {
            files: ["sockstat", "sockstat6"].map(file),
            protocols: Keyed::default(),
            page_bytes: parse::value(rustix::param::page_size() as u64),
        }
    }
}

fn define_sockets(pass: &mut Pass<'_>, protocol: &str, state: &str) -> Sockets {
    let mut define = |state: &str| {
        let name = format!("node_sockstat_{protocol}_{state}");
        let help = match (protocol, state) {
            ("sockets", "used") => "Number of IPv4 sockets in use.".to_owned(),
            _ => format!("Number of {protocol} sockets in state {state}."),
        };
        pass.define(Family::gauge(&name, &help), &[])
    };
    Sockets { count: define(state), bytes: (state == "mem").then(|| define("mem_bytes")) }
}

impl Collector for SockStat {
    fn name(&self) -> &'static str {
        "sockstat"
    }

    fn collect(&mut self, pass: &mut Pass<'_>, tools: &mut Tools<'_>) -> Result<(), Failure> {
        self.protocols.begin();
        let mut found = false;
        for file in &mut self.files {
            let Ok(text) = file.read(tools.buffer) else { continue };
            found = true;
            for line in parse::lines(text) {
                let Some((protocol, rest)) = parse::split_once(line, b':') else { continue };
                let Some(states) = self.protocols.entry(protocol, |_| Keyed::default()) else { continue };
                states.begin();
                let mut words = parse::words(rest);
                while let (Some(state), Some(n)) = (words.next(), words.next()) {
                    let Some(n) = parse::signed(n).map(parse::signed_value) else { continue };
                    let define =
                        |state: &str| define_sockets(pass, &String::from_utf8_lossy(protocol), state);
                    if let Some(sockets) = states.entry(state, define) {
                        pass.put(sockets.count, n);
                        if let Some(bytes) = sockets.bytes {
                            pass.put(bytes, n * self.page_bytes);
                        }
                    }
                }
                states.end(|sockets| sockets.retire(pass));
            }
        }
        self.protocols.end(|mut states| {
            states.begin();
            states.end(|sockets| sockets.retire(pass));
        });
        if found { Ok(()) } else { Err(Failure::at("/proc/net/sockstat")(rustix::io::Errno::NOENT)) }
    }
}

impl Sockets {
    fn retire(self, pass: &mut Pass<'_>) {
        pass.retire(self.count);
        self.bytes.into_iter().for_each(|s| pass.retire(s));
    }
}
