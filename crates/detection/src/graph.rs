//! Who is connected with whom: processes, their standard streams, the pipes and pseudo-terminals
//! between them, and the connections that they opened.
//!
//! Invariant: the number of processes is bounded, every index names only processes that are held,
//! and what was given up for want of room is counted. A process that ended is kept for a while,
//! because events of its neighbours may still be on their way.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use vedette_model::{Container, Process, ProcessKey, Socket, SocketDirection, StreamTarget};

/// Outbound connections remembered of one process; the newest stay.
const CONNECTIONS_MAX: usize = 16;
/// Holders remembered of one pipe, users of one pseudo-terminal.
const HOLDERS_MAX: usize = 64;
/// How long an ended process is kept.
const ENDED_KEPT_NS: i64 = 30_000_000_000;
/// How far up connections are looked for that a process may have inherited.
const LINEAGE_MAX: usize = 8;

/// Something that has two ends and the same number at both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    Pipe(u64),
    /// Two sockets joined with each other.
    Pair(u64),
}

/// A pseudo-terminal: its number counts within one container (or the host).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Terminal {
    scope: u64,
    number: u32,
}

/// A process.
pub struct Node {
    pub process: Arc<Process>,
    pub container: Option<Arc<Container>>,
    pub streams: [StreamTarget; 3],
    /// Outbound connections, oldest first.
    pub connections: VecDeque<Socket>,
    /// Its present program was seen to start, so nothing that its parent held is its own.
    pub exec_seen: bool,
    /// It started another program that uses one of its own streams, as interpreters of commands do.
    pub ran_command: bool,
    /// Finding that this process is part of.
    pub finding: Option<u64>,
    terminals_opened: Vec<Terminal>,
    ended: bool,
    /// Seen since the eviction's hand last came by.
    touched: bool,
}

/// The graph.
pub struct Graph {
    nodes: HashMap<ProcessKey, Node>,
    holders: HashMap<Channel, Vec<(ProcessKey, u8)>>,
    users: HashMap<Terminal, Vec<ProcessKey>>,
    masters: HashMap<Terminal, ProcessKey>,
    /// The hand of the clock: least recently seen first, roughly.
    order: VecDeque<ProcessKey>,
    ended: VecDeque<(i64, ProcessKey)>,
    processes_max: usize,
    pub evicted: u64,
}

impl Graph {
    pub fn new(processes_max: usize) -> Self {
        Self {
            nodes: HashMap::new(),
            holders: HashMap::new(),
            users: HashMap::new(),
            masters: HashMap::new(),
            order: VecDeque::new(),
            ended: VecDeque::new(),
            processes_max: processes_max.max(16),
            evicted: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn get(&self, key: ProcessKey) -> Option<&Node> {
        self.nodes.get(&key)
    }

    pub fn is_alive(&self, key: ProcessKey) -> bool {
        self.nodes.get(&key).is_some_and(|n| !n.ended)
    }

    pub fn set_finding(&mut self, key: ProcessKey, finding: u64) {
        if let Some(node) = self.nodes.get_mut(&key) {
            node.finding = Some(finding);
        }
    }

    /// The process runs another program.
    pub fn exec(
        &mut self,
        process: &Arc<Process>,
        container: Option<&Arc<Container>>,
        streams: &[StreamTarget; 3],
    ) {
        let key = process.key;
        self.node(process, container);
        self.unlink_streams(key);
        let node = self.nodes.get_mut(&key).expect("BUG: the node was just made");
        // A runtime's first process moves into its container between two programs.
        node.container = container.cloned();
        node.streams = Default::default();
        self.set_streams(key, streams.clone());
        let node = self.nodes.get_mut(&key).expect("BUG: the node was just made");
        node.process = Arc::clone(process);
        node.exec_seen = true;
        node.ran_command = false;
        node.finding = None;
        // Sockets are closed on exec as a rule; those on a standard stream come with `streams`.
        node.connections.clear();
        if let Some(parent) = process.ancestors.first().map(|a| a.key)
            && let Some(parent) = self.nodes.get_mut(&parent)
        {
            parent.ran_command |= (0..2).any(|i| leads_on(&streams[i]) && streams[i] == parent.streams[i]);
        }
    }

    /// A standard stream leads elsewhere.
    pub fn redirect(
        &mut self,
        process: &Arc<Process>,
        container: Option<&Arc<Container>>,
        stream: u8,
        target: &StreamTarget,
    ) {
        let mut streams = self.node(process, container).streams.clone();
        if let Some(slot) = streams.get_mut(usize::from(stream)) {
            target.clone_into(slot);
        }
        self.set_streams(process.key, streams);
    }

    /// The process opened a connection.
    pub fn connect(&mut self, process: &Arc<Process>, container: Option<&Arc<Container>>, socket: &Socket) {
        let node = self.node(process, container);
        if node.connections.len() == CONNECTIONS_MAX {
            node.connections.pop_front();
        }
        node.connections.push_back(socket.clone());
    }

    /// The process opened the master side of a pseudo-terminal.
    pub fn open_terminal(&mut self, process: &Arc<Process>, container: Option<&Arc<Container>>, number: u32) {
        let terminal = Terminal { scope: scope(container), number };
        let node = self.node(process, container);
        if node.terminals_opened.len() == HOLDERS_MAX {
            let oldest = node.terminals_opened.remove(0);
            self.masters.remove(&oldest);
        }
        let node = self.nodes.get_mut(&process.key).expect("BUG: the node was just made");
        node.terminals_opened.push(terminal);
        if let Some(before) = self.masters.insert(terminal, process.key)
            && before != process.key
            && let Some(before) = self.nodes.get_mut(&before)
        {
            // The number is used again: the terminal of before is gone.
            before.terminals_opened.retain(|t| *t != terminal);
        }
    }

    /// The process ended.
    pub fn end(&mut self, key: ProcessKey, time_ns: i64) {
        if let Some(node) = self.nodes.get_mut(&key)
            && !node.ended
        {
            node.ended = true;
            self.ended.push_back((time_ns, key));
        }
    }

    /// Forgets processes that ended long before `now_ns`.
    pub fn forget_ended(&mut self, now_ns: i64) {
        while let Some((time_ns, key)) = self.ended.front().copied()
            && now_ns.saturating_sub(time_ns) > ENDED_KEPT_NS
        {
            self.ended.pop_front();
            self.remove(key);
        }
    }

    /// Who has an end of the channel on a standard stream, and on which.
    pub fn holders(&self, channel: Channel) -> &[(ProcessKey, u8)] {
        self.holders.get(&channel).map_or(&[], Vec::as_slice)
    }

    /// Who opened the master side of the pseudo-terminal that `node` has on a stream.
    pub fn master(&self, node: &Node, number: u32) -> Option<ProcessKey> {
        self.masters.get(&Terminal { scope: scope(node.container.as_ref()), number }).copied()
    }

    /// The outbound connections that the process may use: its own, and its parents' as long as
    /// no program was started in between.
    pub fn connections(&self, key: ProcessKey) -> impl Iterator<Item = &Socket> {
        let mut next = self.nodes.get(&key);
        let lineage = std::iter::from_fn(move || {
            let node = next?;
            next = if node.exec_seen { None } else { self.parent(node) };
            Some(node)
        });
        lineage.take(LINEAGE_MAX).flat_map(|n| n.connections.iter())
    }

    /// Whether the socket's owner or one of its parents is known to have opened it.
    pub fn is_outbound(&self, key: ProcessKey, socket: &Socket) -> bool {
        match socket.direction {
            SocketDirection::Outbound => true,
            SocketDirection::Inbound => false,
            SocketDirection::Unknown => {
                let mut next = self.nodes.get(&key);
                for _ in 0..LINEAGE_MAX {
                    let Some(node) = next else { return false };
                    if node.connections.iter().any(|c| same_connection(c, socket)) {
                        return true;
                    }
                    next = self.parent(node);
                }
                false
            }
        }
    }

    /// Processes within `hops` of `key` over pipes and pseudo-terminals, itself first.
    pub fn neighbours(&self, key: ProcessKey, hops: usize, max: usize) -> Vec<ProcessKey> {
        let mut found = vec![key];
        let mut ring = 0..1;
        for _ in 0..hops {
            for i in ring.clone() {
                let Some(node) = self.nodes.get(&found[i]) else { continue };
                let piped =
                    node.streams.iter().filter_map(channel).flat_map(|c| self.holders(c)).map(|h| h.0);
                let users = node.terminals_opened.iter().filter_map(|t| self.users.get(t)).flatten().copied();
                for other in piped.chain(users) {
                    if found.len() < max && !found.contains(&other) {
                        found.push(other);
                    }
                }
            }
            ring = ring.end..found.len();
        }
        found
    }

    pub fn parent(&self, node: &Node) -> Option<&Node> {
        self.nodes.get(&node.process.ancestors.first()?.key)
    }

    /// Whether `ancestor` is among the parents of the process.
    pub fn descends_from(&self, node: &Node, ancestor: ProcessKey) -> bool {
        node.process.ancestors.iter().any(|a| a.key == ancestor)
    }

    /// The node of a process, made if need be; a process of which no start was seen has what its
    /// parent had when it was made.
    fn node(&mut self, process: &Arc<Process>, container: Option<&Arc<Container>>) -> &mut Node {
        let key = process.key;
        if !self.nodes.contains_key(&key) {
            self.make_room();
            let parent = process.ancestors.first().and_then(|a| self.nodes.get(&a.key));
            let streams = parent.map(|p| p.streams.clone()).unwrap_or_default();
            let node = Node {
                process: Arc::clone(process),
                container: container.cloned(),
                streams: Default::default(),
                connections: VecDeque::new(),
                exec_seen: false,
                ran_command: false,
                finding: None,
                terminals_opened: Vec::new(),
                ended: false,
                touched: false,
            };
            self.nodes.insert(key, node);
            self.order.push_back(key);
            self.set_streams(key, streams);
        }
        let node = self.nodes.get_mut(&key).expect("BUG: the node was just made");
        node.touched = true;
        node
    }

    fn set_streams(&mut self, key: ProcessKey, streams: [StreamTarget; 3]) {
        self.unlink_streams(key);
        let Some(node) = self.nodes.get_mut(&key) else { return };
        for (fd, target) in (0_u8..).zip(&streams) {
            if let Some(channel) = channel(target) {
                let holders = self.holders.entry(channel).or_default();
                if holders.len() < HOLDERS_MAX {
                    holders.push((key, fd));
                }
            }
            if let StreamTarget::Pty { number } = target {
                let terminal = Terminal { scope: scope(node.container.as_ref()), number: *number };
                let users = self.users.entry(terminal).or_default();
                if users.len() < HOLDERS_MAX && !users.contains(&key) {
                    users.push(key);
                }
            }
        }
        node.streams = streams;
    }

    fn unlink_streams(&mut self, key: ProcessKey) {
        let Some(node) = self.nodes.get(&key) else { return };
        for target in &node.streams {
            if let Some(channel) = channel(target)
                && let Some(holders) = self.holders.get_mut(&channel)
            {
                holders.retain(|(holder, _)| *holder != key);
                if holders.is_empty() {
                    self.holders.remove(&channel);
                }
            }
            if let StreamTarget::Pty { number } = target {
                let terminal = Terminal { scope: scope(node.container.as_ref()), number: *number };
                if let Some(users) = self.users.get_mut(&terminal) {
                    users.retain(|user| *user != key);
                    if users.is_empty() {
                        self.users.remove(&terminal);
                    }
                }
            }
        }
    }

    /// Second chance: a process seen since the hand last came by is passed over once.
    fn make_room(&mut self) {
        while self.nodes.len() >= self.processes_max {
            let Some(key) = self.order.pop_front() else { return };
            let Some(node) = self.nodes.get_mut(&key) else { continue };
            if node.touched && !node.ended {
                node.touched = false;
                self.order.push_back(key);
                continue;
            }
            self.evicted += u64::from(!node.ended);
            self.remove(key);
        }
        // Ended processes leave their place in the queue behind.
        if self.order.len() > 2 * self.processes_max {
            let nodes = &self.nodes;
            self.order.retain(|key| nodes.contains_key(key));
        }
    }

    fn remove(&mut self, key: ProcessKey) {
        self.unlink_streams(key);
        let Some(node) = self.nodes.remove(&key) else { return };
        for terminal in node.terminals_opened {
            if self.masters.get(&terminal) == Some(&key) {
                self.masters.remove(&terminal);
            }
        }
    }
}

/// The channel that a stream leads to, if it does.
pub fn channel(target: &StreamTarget) -> Option<Channel> {
    match target {
        StreamTarget::Pipe { inode } => Some(Channel::Pipe(*inode)),
        StreamTarget::OtherSocket { inode } => Some(Channel::Pair(*inode)),
        _ => None,
    }
}

/// Whether both are the same connection; who began it may be known of one only.
pub fn same_connection(a: &Socket, b: &Socket) -> bool {
    a.transport == b.transport
        && (a.local, a.local_port) == (b.local, b.local_port)
        && (a.peer, a.peer_port) == (b.peer, b.peer_port)
}

/// Whether somebody may stand behind the stream.
pub fn leads_on(target: &StreamTarget) -> bool {
    !matches!(target, StreamTarget::Other | StreamTarget::File | StreamTarget::Device)
}

pub fn scope(container: Option<&Arc<Container>>) -> u64 {
    container.map_or(0, |c| {
        let mut hasher = DefaultHasher::new();
        c.id.hash(&mut hasher);
        c.cgroup.hash(&mut hasher);
        hasher.finish()
    })
}
