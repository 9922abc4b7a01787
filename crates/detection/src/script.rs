//! Event scripts: what happened, written as YAML, for the examples in rule files and for tests.
//!
//! One map a line; `pid` names the process, `ppid` its parent at first mention, and the script
//! remembers programs, names and containers, so that a line says only what is new:
//!
//! ```yaml
//! - {pid: 10, ppid: 1, container: web, exec: /bin/sh, args: [sh, -i], streams: [pipe 5, pty 0, file]}
//! - {pid: 10, connection: "tcp 10.0.0.2:4000 -> 10.0.0.1:4444"}
//! - {pid: 10, redirect: 0, to: "tcp 10.0.0.2:4000 -> 10.0.0.1:4444"}
//! - {pid: 10, pty_open: 3}
//! - {pid: 10, fork: 11}
//! - {pid: 10, exit: 0}
//! ```
//!
//! Streams are `other`, `file`, `device`, `pipe N`, `fifo N` (named), `pty N`, `socket N` (no
//! internet socket), or a connection: `->` outbound, `<-` inbound, `--` not known. `at` is the time
//! in seconds; without it a line is a millisecond later than the one before.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use serde::Deserialize;
use vedette_model::{
    Ancestor, Container, Event, Fact, Host, NAMED_PIPE_BIT, Process, ProcessKey, Socket, SocketDirection,
    StreamTarget, Transport,
};

/// What is wrong with a script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ScriptError {
    /// Line of the script, from 1, or 0 where it is not known.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// A script.
#[derive(Debug, Clone)]
pub struct Script {
    events: Vec<Event>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    pid: u32,
    at: Option<f64>,
    ppid: Option<u32>,
    name: Option<String>,
    uid: Option<u32>,
    container: Option<String>,
    exec: Option<String>,
    args: Option<Vec<String>>,
    streams: Option<[String; 3]>,
    #[serde(default)]
    upper_layer: bool,
    #[serde(default)]
    unlinked: bool,
    fork: Option<u32>,
    exit: Option<u32>,
    #[serde(default)]
    signal: bool,
    connection: Option<String>,
    redirect: Option<u8>,
    to: Option<String>,
    pty_open: Option<u32>,
}

struct Known {
    process: Process,
    container: Option<Arc<Container>>,
}

/// A script's first moment, in nanoseconds since the Unix epoch.
const BEGIN_NS: i64 = 1_700_000_000_000_000_000;
const ANCESTORS_MAX: usize = 32;

impl Script {
    /// Reads a script.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        let lines: Vec<serde_saphyr::Spanned<Line>> =
            serde_saphyr::from_str(text).map_err(|e| ScriptError {
                line: e.location().map_or(0, |l| usize::try_from(l.line()).unwrap_or(0)),
                what: first_line(&e.without_snippet().to_string()),
            })?;
        let mut teller = Teller {
            host: Arc::new(Host { name: "host".into(), id: String::new(), boot_id: String::new() }),
            known: BTreeMap::new(),
            time_ns: BEGIN_NS,
        };
        let mut events = Vec::new();
        for spanned in lines {
            let at = usize::try_from(spanned.referenced.line()).unwrap_or(0);
            let event = teller.tell(&spanned.value).map_err(|what| ScriptError { line: at, what })?;
            events.push(event);
        }
        Ok(Self { events })
    }

    /// The events in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }
}

/// What a YAML error says, without the place, which is told apart.
pub fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.split(" at line ").next().unwrap_or(line).to_owned()
}

struct Teller {
    host: Arc<Host>,
    known: BTreeMap<u32, Known>,
    time_ns: i64,
}

impl Teller {
    fn tell(&mut self, line: &Line) -> Result<Event, String> {
        self.time_ns = match line.at {
            #[expect(clippy::cast_possible_truncation, reason = "seconds of a script")]
            Some(at) if (0.0..1e9).contains(&at) => BEGIN_NS + (at * 1e9) as i64,
            Some(at) => return Err(format!("the time {at} is not between 0 and 1e9")),
            None => self.time_ns + 1_000_000,
        };
        self.know(line);
        let fact = fact(line, |pid| self.key(pid))?;
        let known = self.known.get_mut(&line.pid).expect("BUG: the process was just made known");
        if let Some(executable) = &line.exec {
            known.process.executable.clone_from(executable);
            let base = executable.rsplit('/').next().unwrap_or_default();
            known.process.name = line.name.clone().unwrap_or_else(|| base.chars().take(15).collect());
            known.process.args = line.args.clone().unwrap_or_else(|| vec![base.to_owned()]);
        }
        let event = Event {
            id: 0,
            time_ns: self.time_ns,
            host: Arc::clone(&self.host),
            container: known.container.clone(),
            process: Some(Arc::new(known.process.clone())),
            fact,
        };
        if line.exit.is_some() {
            self.known.remove(&line.pid);
        }
        Ok(event)
    }

    /// Learns what the line says of its process.
    fn know(&mut self, line: &Line) {
        if !self.known.contains_key(&line.pid) {
            let key = self.key(line.pid);
            let parent = line.ppid.and_then(|p| self.known.get(&p));
            let process = Process {
                key,
                name: parent.map_or_else(String::new, |p| p.process.name.clone()),
                executable: parent.map_or_else(String::new, |p| p.process.executable.clone()),
                args: parent.map_or_else(Vec::new, |p| p.process.args.clone()),
                ancestors: self.ancestors(line.ppid),
                ..Process::default()
            };
            let container = parent.and_then(|p| p.container.clone());
            self.known.insert(line.pid, Known { process, container });
        }
        let known = self.known.get_mut(&line.pid).expect("BUG: the process was just made known");
        if let Some(name) = &line.name {
            known.process.name.clone_from(name);
        }
        if let Some(uid) = line.uid {
            known.process.uid = uid;
        }
        if let Some(name) = &line.container {
            let container =
                Container { id: format!("id-of-{name}"), name: name.clone(), ..Container::default() };
            known.container = Some(Arc::new(container));
        }
    }

    /// A process that is named again after its end is another one.
    fn key(&self, pid: u32) -> ProcessKey {
        let start_ns = u64::try_from(self.time_ns - BEGIN_NS).unwrap_or(0);
        self.known.get(&pid).map_or(ProcessKey { pid, start_ns }, |k| k.process.key)
    }

    fn ancestors(&self, ppid: Option<u32>) -> Arc<[Ancestor]> {
        let Some(ppid) = ppid else { return Arc::default() };
        let Some(parent) = self.known.get(&ppid) else {
            let key = ProcessKey { pid: ppid, start_ns: 0 };
            return Arc::from([Ancestor { key, name: String::new(), executable: String::new() }]);
        };
        let own = Ancestor {
            key: parent.process.key,
            name: parent.process.name.clone(),
            executable: parent.process.executable.clone(),
        };
        std::iter::once(own).chain(parent.process.ancestors.iter().cloned()).take(ANCESTORS_MAX).collect()
    }
}

fn fact(line: &Line, key: impl Fn(u32) -> ProcessKey) -> Result<Fact, String> {
    let said = [
        line.exec.is_some(),
        line.fork.is_some(),
        line.exit.is_some(),
        line.connection.is_some(),
        line.redirect.is_some(),
        line.pty_open.is_some(),
    ];
    if said.iter().filter(|s| **s).count() != 1 {
        return Err("a line says exactly one of exec, fork, exit, connection, redirect, pty_open".to_owned());
    }
    if line.exec.is_some() {
        let mut streams = <[StreamTarget; 3]>::default();
        for (slot, text) in streams.iter_mut().zip(line.streams.iter().flatten()) {
            *slot = stream(text)?;
        }
        return Ok(Fact::Exec { streams, upper_layer: line.upper_layer, unlinked: line.unlinked });
    }
    if let Some(pid) = line.fork {
        return Ok(Fact::Fork { child: key(pid) });
    }
    if let Some(code) = line.exit {
        return Ok(Fact::Exit { code, signal: line.signal });
    }
    if let Some(text) = &line.connection {
        return match stream(text)? {
            StreamTarget::Socket(socket) => Ok(Fact::Connection(socket)),
            _ => Err(format!("{text:?} is no connection: write `tcp OWN:PORT -> PEER:PORT`")),
        };
    }
    if let Some(stream_number) = line.redirect {
        let to = line.to.as_ref().ok_or("a redirect says `to` what")?;
        return Ok(Fact::StreamRedirect { stream: stream_number, target: stream(to)? });
    }
    Ok(Fact::PtyOpen { number: line.pty_open.unwrap_or(0) })
}

fn stream(text: &str) -> Result<StreamTarget, String> {
    let wrong = || {
        format!(
            "{text:?} is no stream: write other, file, device, `pipe N`, `fifo N`, `pty N`, `socket N`, or a \
             connection such as `tcp 10.0.0.2:4000 -> 10.0.0.1:80`"
        )
    };
    let words: Vec<&str> = text.split(' ').collect();
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    Ok(match words[..] {
        ["other"] => StreamTarget::Other,
        ["file"] => StreamTarget::File,
        ["device"] => StreamTarget::Device,
        ["pipe", n] => StreamTarget::Pipe { inode: number(n)? },
        ["fifo", n] => StreamTarget::Pipe { inode: number(n)? | NAMED_PIPE_BIT },
        ["socket", n] => StreamTarget::OtherSocket { inode: number(n)? },
        ["pty", n] => StreamTarget::Pty { number: n.parse().map_err(|_| wrong())? },
        [transport @ ("tcp" | "udp"), local, arrow @ ("->" | "<-" | "--"), peer] => {
            let local: SocketAddr = local.parse().map_err(|_| wrong())?;
            let peer: SocketAddr = peer.parse().map_err(|_| wrong())?;
            StreamTarget::Socket(Socket {
                transport: if transport == "tcp" { Transport::Tcp } else { Transport::Udp },
                direction: match arrow {
                    "->" => SocketDirection::Outbound,
                    "<-" => SocketDirection::Inbound,
                    _ => SocketDirection::Unknown,
                },
                local: local.ip(),
                local_port: local.port(),
                peer: peer.ip(),
                peer_port: peer.port(),
            })
        }
        _ => return Err(wrong()),
    })
}
