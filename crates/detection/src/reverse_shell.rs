//! Reverse shell, found by facts: somebody at the far end of a connection that *this* machine
//! opened reads a process' output and writes its input.
//!
//! The streams are traced over at most three hops: a pipe (or socket pair) to whoever holds its
//! other end on a standard stream; a pseudo-terminal to whoever opened its master side; from there
//! to the outbound connections of that process. A process is a shell when input and output arrive
//! at *the same* connection, because only then the peer sees the answers to what it types.
//! That one demand keeps apart what looks alike:
//!
//! - `curl … | sh` has input only; `dump | ssh host`, `| nc log 514` output only;
//! - `mysql a | awk … | mysql b`, `kubectl get | python3 | kubectl apply`: two connections;
//! - sshd, inetd, socket activation, FastCGI: the peer began, so the connection is not outbound;
//! - `git` and `rsync` over ssh, ProxyCommand: the other end of the pipes is no standard stream,
//!   and the client's own streams are the user's terminal;
//! - a terminal emulator, tmux, script, sshd open masters, but no connection; what may do both by
//!   right (sudo with LDAP, an editor) is listed by path as a trusted relay, and counts as such
//!   only if its executable lies in no container's writable layer.
//!
//! *Which program* it is does not matter where the streams are the connection itself: hardly
//! anything but a shell is started that way, so a copied or renamed bash, `nc -e` and a script
//! that calls dup2 are found alike. Over pipes and pseudo-terminals a program must also be an
//! interpreter: a known one, or one that was seen to start another program on its own streams
//! (which a renamed shell does with the first command it is given).
//!
//! Known limits: relays that hold the shell's pipes elsewhere than on standard streams (Python's
//! `Popen(stdin=PIPE, stdout=PIPE)`, socat without `pty`) are indistinguishable, by these facts,
//! from any server that runs a helper, and are not judged; UDP counts only where it is the stream
//! itself, because every name lookup opens such a connection.

use std::collections::BTreeMap;

use vedette_model::{NAMED_PIPE_BIT, ProcessKey, Socket, StreamTarget, Transport};

use crate::graph::{Channel, Graph, Node, channel, leads_on, same_connection};

/// Pipes and pseudo-terminals between a process and the connection.
const HOPS_MAX: usize = 3;
/// Processes looked at again because of one event.
const NEIGHBOURS_MAX: usize = 64;
/// Connections that one stream may turn out to lead to.
const ENDS_MAX: usize = 64;

/// What may be set in the rule.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// File names of programs that run commands; a trailing version number is ignored.
    pub interpreters: Vec<String>,
    /// Paths of programs that may open terminals and connections without being a relay.
    #[serde(default)]
    pub trusted_relays: Vec<String>,
}

/// A process whose input and output lead to one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shell {
    pub process: ProcessKey,
    pub socket: Socket,
    /// Nothing stands between the process and the connection.
    pub direct: bool,
    pub evidence: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Input,
    Output,
}

/// A connection at which a stream arrives.
#[derive(Clone)]
struct End {
    socket: Socket,
    hops: usize,
    /// The process that owns it.
    carrier: ProcessKey,
    /// How it is reached.
    path: String,
}

/// Judges all processes that `changed` may have made a shell of: itself and those behind its
/// pipes and pseudo-terminals. The order in which facts arrive therefore does not matter.
pub fn judge_around(graph: &Graph, parameters: &Parameters, changed: ProcessKey) -> Vec<Shell> {
    let mut around = graph.neighbours(changed, HOPS_MAX, NEIGHBOURS_MAX);
    // A first command makes its parent an interpreter.
    if let Some(parent) = graph.get(changed).and_then(|n| graph.parent(n))
        && !around.contains(&parent.process.key)
    {
        around.push(parent.process.key);
    }
    around.into_iter().filter_map(|key| judge(graph, parameters, key)).collect()
}

fn judge(graph: &Graph, parameters: &Parameters, key: ProcessKey) -> Option<Shell> {
    let node = graph.get(key)?;
    let [input, output, error] = &node.streams;
    if !leads_on(input) || !(leads_on(output) || leads_on(error)) {
        return None;
    }
    let mut tracer = Tracer { graph, parameters, origin: key, ends: Vec::new(), visited: Vec::new() };
    let mut outputs = tracer.trace(node, output, Side::Output);
    if error != output {
        outputs.extend(tracer.trace(node, error, Side::Output));
    }
    if outputs.is_empty() {
        return None;
    }
    let mut inputs = tracer.trace(node, input, Side::Input);
    if inputs.is_empty() {
        inputs = through_named_pipe(graph, node, &outputs);
    }
    let interpreter = node.ran_command || is_interpreter(node, parameters);
    let (input, output) = closest_pair(&inputs, &outputs, interpreter)?;
    let direct = input.hops == 0 && output.hops == 0;
    if !direct && (!interpreter || is_wrapper_of(graph, node, output) || is_wrapper_of(graph, node, input)) {
        return None;
    }
    let evidence = vec![
        format!("{} runs {}", name(node), command(node)),
        format!("its input {}", input.path),
        format!("its output {}", output.path),
    ];
    Some(Shell { process: key, socket: output.socket.clone(), direct, evidence })
}

/// The pair of ends with the fewest hops that is one connection. Two connections to different
/// ports of one peer count as well when they are an interpreter's own streams. (To the same port
/// they may be a daemon's that had closed its streams before it connected twice.)
fn closest_pair<'a>(inputs: &'a [End], outputs: &'a [End], interpreter: bool) -> Option<(&'a End, &'a End)> {
    let pairs = inputs.iter().flat_map(|i| outputs.iter().map(move |o| (i, o)));
    pairs
        .filter(|(i, o)| {
            let (a, b) = (&i.socket, &o.socket);
            let direct = i.hops == 0 && o.hops == 0;
            let split = direct && interpreter && a.peer == b.peer && a.peer_port != b.peer_port;
            same_connection(a, b) || split
        })
        .min_by_key(|(i, o)| i.hops + o.hops)
}

/// `cat fifo | sh | nc host port > fifo`: that `cat` reads the named pipe is no standard stream and
/// so not among the facts. It is taken to do so when the carrier of the output writes into a named
/// pipe that nobody else is known to read, and belongs to the same pipeline as the process that
/// feeds the input and has no other input of note.
fn through_named_pipe(graph: &Graph, node: &Node, outputs: &[End]) -> Vec<End> {
    let Some(input) = channel(&node.streams[0]) else { return Vec::new() };
    let feeder = graph.holders(input).iter().find_map(|(key, fd)| {
        let feeder = graph.get(*key)?;
        (*fd > 0 && *key != node.process.key && !leads_to_channel(&feeder.streams[0])).then_some(feeder)
    });
    let Some(feeder) = feeder else { return Vec::new() };
    let Some(pipeline) = feeder.process.ancestors.first().map(|a| a.key) else { return Vec::new() };
    let closes_the_ring = |end: &&End| {
        let Some(carrier) = graph.get(end.carrier) else { return false };
        let Some(pipe @ Channel::Pipe(inode)) = channel(&carrier.streams[1]) else { return false };
        inode & NAMED_PIPE_BIT != 0
            && graph.descends_from(carrier, pipeline)
            && graph.holders(pipe).iter().all(|(_, fd)| *fd != 0)
    };
    let path = |end: &End| {
        let carrier = graph.get(end.carrier).map(name).unwrap_or_default();
        format!(
            "comes through {} from a named pipe that {carrier} writes to, which opened {}",
            name(feeder),
            peer(&end.socket)
        )
    };
    let ends = outputs.iter().filter(closes_the_ring);
    ends.map(|end| End { hops: end.hops + 2, path: path(end), ..end.clone() }).collect()
}

fn leads_to_channel(target: &StreamTarget) -> bool {
    channel(target).is_some() || matches!(target, StreamTarget::Socket(_))
}

/// `timeout`, `env` and their like hand their streams on to the process that owns the connection.
fn is_wrapper_of(graph: &Graph, node: &Node, end: &End) -> bool {
    graph
        .get(end.carrier)
        .is_some_and(|c| graph.descends_from(c, node.process.key) && c.streams[..2] == node.streams[..2])
}

fn is_interpreter(node: &Node, parameters: &Parameters) -> bool {
    let process = &node.process;
    let path = if process.executable.is_empty() { &process.name } else { &process.executable };
    let mut base = file_name(path);
    if base == "busybox" {
        // Its links are named after the program that they stand for: `sh -i`, not `busybox sh -i`.
        let mut words = process.args.iter().map(|a| file_name(a)).skip_while(|word| *word == "busybox");
        base = words.next().unwrap_or(base);
    }
    let plain = base.trim_start_matches('-').trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    parameters.interpreters.iter().any(|known| known == base || known == plain)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

struct Tracer<'a> {
    graph: &'a Graph,
    parameters: &'a Parameters,
    origin: ProcessKey,
    ends: Vec<End>,
    visited: Vec<ProcessKey>,
}

impl Tracer<'_> {
    fn trace(&mut self, node: &Node, target: &StreamTarget, side: Side) -> Vec<End> {
        self.visited = vec![self.origin];
        self.step(node, target, side, 0, "");
        std::mem::take(&mut self.ends)
    }

    fn step(&mut self, node: &Node, target: &StreamTarget, side: Side, hops: usize, path: &str) {
        let key = node.process.key;
        match target {
            StreamTarget::Socket(socket) if self.graph.is_outbound(key, socket) => {
                let path = if hops == 0 {
                    format!("is {}", peer(socket))
                } else {
                    format!("{path}, whose own stream is {}", peer(socket))
                };
                self.push(End { socket: socket.clone(), hops, carrier: key, path });
            }
            StreamTarget::Pipe { .. } | StreamTarget::OtherSocket { .. } if hops < HOPS_MAX => {
                let Some(channel) = channel(target) else { return };
                for (other, fd) in self.graph.holders(channel) {
                    let across = match (channel, side) {
                        (Channel::Pair(_), _) => true,
                        (Channel::Pipe(_), Side::Input) => *fd > 0,
                        (Channel::Pipe(_), Side::Output) => *fd == 0,
                    };
                    if across {
                        let word = if side == Side::Input {
                            "comes through a pipe from"
                        } else {
                            "goes through a pipe to"
                        };
                        self.cross(*other, side, hops + 1, path, word);
                    }
                }
            }
            StreamTarget::Pty { number } if hops < HOPS_MAX => {
                let Some(master) = self.graph.master(node, *number) else { return };
                let Some(relay) = self.graph.get(master) else { return };
                // Who runs on the terminal itself has passed the master side on, as container
                // runtimes do.
                let own = relay.streams.iter().any(|t| t == target);
                if !own && !self.is_trusted(relay) {
                    let word = format!("is the terminal pts/{number}, whose master side opened");
                    self.cross(master, side, hops + 1, path, &word);
                }
            }
            _ => {}
        }
    }

    fn cross(&mut self, other: ProcessKey, side: Side, hops: usize, path: &str, word: &str) {
        if self.visited.contains(&other) {
            return;
        }
        self.visited.push(other);
        let Some(node) = self.graph.get(other) else { return };
        let path = if path.is_empty() {
            format!("{word} {}", name(node))
        } else {
            format!("{path}, whose own stream {word} {}", name(node))
        };
        for socket in self.graph.connections(other).filter(|s| s.transport == Transport::Tcp) {
            let path = format!("{path}, which opened {}", peer(socket));
            self.push(End { socket: socket.clone(), hops, carrier: other, path });
        }
        let onward = if side == Side::Input { 0 } else { 1 };
        self.step(node, &node.streams[onward], side, hops, &path);
    }

    fn push(&mut self, end: End) {
        if self.ends.len() < ENDS_MAX {
            self.ends.push(end);
        }
    }

    fn is_trusted(&self, node: &Node) -> bool {
        let path = &node.process.executable;
        node.container.is_none() && self.parameters.trusted_relays.iter().any(|known| known == path)
    }
}

/// `name(pid)`.
pub fn name(node: &Node) -> String {
    format!("{}({})", node.process.name, node.process.key.pid)
}

fn command(node: &Node) -> String {
    const CHARS_MAX: usize = 200;
    let line = node.process.command_line();
    if line.is_empty() { node.process.executable.clone() } else { line.chars().take(CHARS_MAX).collect() }
}

fn peer(socket: &Socket) -> String {
    let transport = match socket.transport {
        Transport::Tcp => "TCP",
        Transport::Udp => "UDP",
    };
    format!("the outbound {transport} connection to {}", address(socket))
}

/// `address:port` of the peer.
pub fn address(socket: &Socket) -> String {
    std::net::SocketAddr::new(socket.peer, socket.peer_port).to_string()
}

/// Which finding each connection belongs to, so that all processes of one shell share one.
#[derive(Default)]
pub struct Sessions {
    by_connection: BTreeMap<(u64, [u8; 36]), u64>,
}

impl Sessions {
    pub fn finding(&self, scope: u64, socket: &Socket) -> Option<u64> {
        self.by_connection.get(&(scope, connection_key(socket))).copied()
    }

    pub fn set(&mut self, scope: u64, socket: &Socket, finding: u64) {
        self.by_connection.insert((scope, connection_key(socket)), finding);
    }

    /// Forgets what belongs to findings that are over.
    pub fn retain(&mut self, lasts: impl Fn(u64) -> bool) {
        self.by_connection.retain(|_, finding| lasts(*finding));
    }
}

fn connection_key(socket: &Socket) -> [u8; 36] {
    let wide = |address: std::net::IpAddr| match address {
        std::net::IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
        std::net::IpAddr::V6(a) => a.octets(),
    };
    let mut key = [0; 36];
    key[..16].copy_from_slice(&wide(socket.local));
    key[16..32].copy_from_slice(&wide(socket.peer));
    key[32..34].copy_from_slice(&socket.local_port.to_be_bytes());
    key[34..].copy_from_slice(&socket.peer_port.to_be_bytes());
    key
}
