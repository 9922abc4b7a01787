//! Events as bytes, for the write-ahead log and for segments: `docs/formats/event-wal.md`.
//!
//! A batch begins with its hosts, containers and processes, each once; its events refer to
//! them by number. Batches stand for themselves, so that any of them can be lost alone.
//! Decoding takes any bytes: it answers `Damaged` and never allocates more than their number
//! explains.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use vedette_model::{
    Ancestor, ApiRequest, Container, Event, Fact, Finding, FindingState, Host, KubernetesEvent, Labels,
    Process, ProcessKey, Severity, Socket, SocketDirection, StreamTarget, Transport, Workload,
};

const VERSION: u8 = 2;
/// Without pod uid and workload of containers.
const VERSION_1: u8 = 1;

/// The bytes are not a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damaged;

type Decoded<T> = Result<T, Damaged>;

/// Encodes batches and keeps its memory between them.
#[derive(Default)]
pub(crate) struct Encoder {
    hosts: Table,
    containers: Table,
    processes: Table,
}

/// Numbers for shared values, by address: the events of a batch keep them alive meanwhile.
#[derive(Default)]
struct Table {
    numbers: HashMap<usize, u64>,
    bytes: Vec<u8>,
}

impl Table {
    fn clear(&mut self) {
        self.numbers.clear();
        self.bytes.clear();
    }

    fn number<T>(&mut self, value: &Arc<T>, put: impl FnOnce(&mut Vec<u8>, &T)) -> u64 {
        let next = self.numbers.len() as u64;
        let number = *self.numbers.entry(Arc::as_ptr(value).addr()).or_insert(next);
        if number == next {
            put(&mut self.bytes, value);
        }
        number
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_u64(out, self.numbers.len() as u64);
        out.extend_from_slice(&self.bytes);
    }
}

impl Encoder {
    /// Appends `events` as one batch to `out`.
    pub(crate) fn encode<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>, out: &mut Vec<u8>) {
        for table in [&mut self.hosts, &mut self.containers, &mut self.processes] {
            table.clear();
        }
        let mut body = Vec::new();
        let mut count = 0;
        for event in events {
            put_u64(&mut body, event.id);
            put_i64(&mut body, event.time_ns);
            put_u64(&mut body, self.hosts.number(&event.host, put_host));
            let container = event.container.as_ref().map(|c| self.containers.number(c, put_container));
            put_u64(&mut body, container.map_or(0, |n| n + 1));
            let process = event.process.as_ref().map(|p| self.processes.number(p, put_process));
            put_u64(&mut body, process.map_or(0, |n| n + 1));
            put_fact(&mut body, &event.fact);
            count += 1;
        }
        out.push(VERSION);
        for table in [&self.hosts, &self.containers, &self.processes] {
            table.write(out);
        }
        put_u64(out, count);
        out.extend_from_slice(&body);
    }
}

fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u64(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_texts(out: &mut Vec<u8>, texts: &[String]) {
    put_u64(out, texts.len() as u64);
    for text in texts {
        put_text(out, text);
    }
}

fn put_key(out: &mut Vec<u8>, key: ProcessKey) {
    put_u64(out, u64::from(key.pid));
    put_u64(out, key.start_ns);
}

fn put_host(out: &mut Vec<u8>, host: &Host) {
    for text in [&host.name, &host.id, &host.boot_id] {
        put_text(out, text);
    }
}

fn put_container(out: &mut Vec<u8>, c: &Container) {
    for text in [&c.id, &c.name, &c.image, &c.pod, &c.namespace, &c.cgroup, &c.runtime] {
        put_text(out, text);
    }
    for text in [&c.pod_uid, &c.workload.kind, &c.workload.name] {
        put_text(out, text);
    }
}

fn put_process(out: &mut Vec<u8>, process: &Process) {
    put_key(out, process.key);
    put_text(out, &process.name);
    put_text(out, &process.executable);
    put_texts(out, &process.args);
    out.push(u8::from(process.args_truncated));
    put_u64(out, u64::from(process.uid));
    put_u64(out, process.ancestors.len() as u64);
    for ancestor in process.ancestors.iter() {
        put_key(out, ancestor.key);
        put_text(out, &ancestor.name);
        put_text(out, &ancestor.executable);
    }
}

fn put_address(out: &mut Vec<u8>, address: IpAddr, port: u16) {
    match address {
        IpAddr::V4(a) => {
            out.push(4);
            out.extend_from_slice(&a.octets());
        }
        IpAddr::V6(a) => {
            out.push(6);
            out.extend_from_slice(&a.octets());
        }
    }
    out.extend_from_slice(&port.to_le_bytes());
}

fn put_socket(out: &mut Vec<u8>, socket: &Socket) {
    out.push(match socket.transport {
        Transport::Tcp => 0,
        Transport::Udp => 1,
    });
    out.push(match socket.direction {
        SocketDirection::Outbound => 0,
        SocketDirection::Inbound => 1,
        SocketDirection::Unknown => 2,
    });
    put_address(out, socket.local, socket.local_port);
    put_address(out, socket.peer, socket.peer_port);
}

fn put_target(out: &mut Vec<u8>, target: &StreamTarget) {
    match target {
        StreamTarget::Other => out.push(0),
        StreamTarget::File => out.push(1),
        StreamTarget::Device => out.push(2),
        StreamTarget::Pipe { inode } => {
            out.push(3);
            put_u64(out, *inode);
        }
        StreamTarget::Pty { number } => {
            out.push(4);
            put_u64(out, u64::from(*number));
        }
        StreamTarget::Socket(socket) => {
            out.push(5);
            put_socket(out, socket);
        }
        StreamTarget::OtherSocket { inode } => {
            out.push(6);
            put_u64(out, *inode);
        }
    }
}

fn put_fact(out: &mut Vec<u8>, fact: &Fact) {
    match fact {
        Fact::Exec { streams, upper_layer, unlinked } => {
            out.push(0);
            for target in streams {
                put_target(out, target);
            }
            out.push(u8::from(*upper_layer) | u8::from(*unlinked) << 1);
        }
        Fact::Fork { child } => {
            out.push(1);
            put_key(out, *child);
        }
        Fact::Exit { code, signal } => {
            out.push(2);
            put_u64(out, u64::from(*code));
            out.push(u8::from(*signal));
        }
        Fact::Connection(socket) => {
            out.push(3);
            put_socket(out, socket);
        }
        Fact::StreamRedirect { stream, target } => {
            out.push(4);
            out.push(*stream);
            put_target(out, target);
        }
        Fact::PtyOpen { number } => {
            out.push(5);
            put_u64(out, u64::from(*number));
        }
        Fact::OomKill { count } => {
            out.push(6);
            put_u64(out, *count);
        }
        Fact::ContainerStart => out.push(7),
        Fact::ContainerStop => out.push(8),
        Fact::Finding(finding) => {
            out.push(9);
            put_finding(out, finding);
        }
        Fact::Loss { place, count } => {
            out.push(10);
            put_text(out, place);
            put_u64(out, *count);
        }
        Fact::Kubernetes(event) => {
            out.push(11);
            put_kubernetes(out, event);
        }
        Fact::Audit(asked) => {
            out.push(12);
            put_audit(out, asked);
        }
    }
}

fn put_audit(out: &mut Vec<u8>, asked: &ApiRequest) {
    put_u64(out, u64::from(asked.code));
    let who = [&asked.user, &asked.impersonator, &asked.user_pod, &asked.client, &asked.user_agent];
    let what = [&asked.verb, &asked.group, &asked.resource, &asked.namespace, &asked.name, &asked.uid];
    for text in [&asked.cluster, &asked.audit_id].into_iter().chain(who).chain(what) {
        put_text(out, text);
    }
}

fn put_kubernetes(out: &mut Vec<u8>, event: &KubernetesEvent) {
    for text in [&event.cluster, &event.uid, &event.kind, &event.reason, &event.note, &event.reporter] {
        put_text(out, text);
    }
    put_u64(out, event.count);
    put_i64(out, event.first_ns);
    let workload = &event.workload;
    let object = [&event.object_kind, &event.object_name, &event.namespace, &event.object_uid];
    for text in object.into_iter().chain([&workload.kind, &workload.name]) {
        put_text(out, text);
    }
}

fn put_finding(out: &mut Vec<u8>, finding: &Finding) {
    out.extend_from_slice(&finding.fingerprint.to_le_bytes());
    out.push(match finding.severity {
        Severity::Info => 0,
        Severity::Warning => 1,
        Severity::Critical => 2,
    });
    out.push(match finding.state {
        FindingState::Firing => 0,
        FindingState::Resolved => 1,
    });
    for text in [&finding.rule, &finding.title, &finding.description] {
        put_text(out, text);
    }
    put_u64(out, finding.labels.len() as u64);
    for (name, value) in &finding.labels {
        put_text(out, name);
        put_text(out, value);
    }
    put_i64(out, finding.first_ns);
    put_i64(out, finding.last_ns);
    put_u64(out, finding.count);
    put_texts(out, &finding.ancestry);
    put_texts(out, &finding.evidence);
    put_u64(out, finding.event_ids.len() as u64);
    for id in &finding.event_ids {
        put_u64(out, *id);
    }
}

/// Decodes batches; hosts and containers that are equal share their memory.
#[derive(Default)]
pub(crate) struct Decoder {
    hosts: HashSet<Arc<Host>>,
    containers: HashSet<Arc<Container>>,
}

/// Names that one decoder shares; beyond that it starts over.
const SHARED_MAX: usize = 4_096;

fn share<T: Eq + std::hash::Hash>(known: &mut HashSet<Arc<T>>, value: T) -> Arc<T> {
    if let Some(shared) = known.get(&value) {
        return shared.clone();
    }
    if known.len() >= SHARED_MAX {
        known.clear();
    }
    let shared = Arc::new(value);
    known.insert(shared.clone());
    shared
}

impl Decoder {
    /// Hands the events of a batch to `each`.
    pub(crate) fn decode(&mut self, bytes: &[u8], mut each: impl FnMut(Event)) -> Decoded<()> {
        let mut input = Input(bytes);
        let version = input.u8()?;
        if !(VERSION_1..=VERSION).contains(&version) {
            return Err(Damaged);
        }
        let hosts = input.list(|input| Ok(share(&mut self.hosts, input.host()?)))?;
        let containers = input.list(|input| Ok(share(&mut self.containers, input.container(version)?)))?;
        let processes = input.list(|input| Ok(Arc::new(input.process()?)))?;
        let events = input.list(|input| {
            Ok(Event {
                id: input.u64()?,
                time_ns: input.i64()?,
                host: nth(&hosts, input.u64()?)?,
                container: optional(&containers, input.u64()?)?,
                process: optional(&processes, input.u64()?)?,
                fact: input.fact()?,
            })
        })?;
        if !input.0.is_empty() {
            return Err(Damaged);
        }
        events.into_iter().for_each(&mut each);
        Ok(())
    }

    /// Decodes a batch of one event.
    pub(crate) fn decode_one(&mut self, bytes: &[u8]) -> Decoded<Event> {
        let mut found = None;
        let mut count = 0;
        self.decode(bytes, |event| {
            found = Some(event);
            count += 1;
        })?;
        found.filter(|_| count == 1).ok_or(Damaged)
    }
}

fn nth<T>(list: &[Arc<T>], number: u64) -> Decoded<Arc<T>> {
    usize::try_from(number).ok().and_then(|n| list.get(n)).cloned().ok_or(Damaged)
}

fn optional<T>(list: &[Arc<T>], number: u64) -> Decoded<Option<Arc<T>>> {
    if number == 0 { Ok(None) } else { nth(list, number - 1).map(Some) }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Decoded<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| Damaged)
    }

    fn u8(&mut self) -> Decoded<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn bool(&mut self) -> Decoded<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Damaged),
        }
    }

    fn u64(&mut self) -> Decoded<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(Damaged);
            }
            value |= part << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damaged)
    }

    fn u32(&mut self) -> Decoded<u32> {
        self.u64()?.try_into().map_err(|_| Damaged)
    }

    fn i64(&mut self) -> Decoded<i64> {
        let value = self.u64()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    fn text(&mut self) -> Decoded<String> {
        let length = self.u64()?.try_into().map_err(|_| Damaged)?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Damaged)
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Decoded<T>) -> Decoded<Vec<T>> {
        let count = usize::try_from(self.u64()?).map_err(|_| Damaged)?;
        // Each item takes a byte at least, so a larger count is a lie; and the items may be
        // far larger in memory than here, so memory is taken as they come.
        if count > self.0.len() {
            return Err(Damaged);
        }
        let mut list = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            list.push(item(self)?);
        }
        Ok(list)
    }

    fn key(&mut self) -> Decoded<ProcessKey> {
        Ok(ProcessKey { pid: self.u32()?, start_ns: self.u64()? })
    }

    fn host(&mut self) -> Decoded<Host> {
        Ok(Host { name: self.text()?, id: self.text()?, boot_id: self.text()? })
    }

    fn container(&mut self, version: u8) -> Decoded<Container> {
        let container = Container {
            id: self.text()?,
            name: self.text()?,
            image: self.text()?,
            pod: self.text()?,
            namespace: self.text()?,
            cgroup: self.text()?,
            runtime: self.text()?,
            ..Container::default()
        };
        if version == VERSION_1 {
            return Ok(container);
        }
        let pod_uid = self.text()?;
        let workload = Workload { kind: self.text()?, name: self.text()? };
        Ok(Container { pod_uid, workload, ..container })
    }

    fn process(&mut self) -> Decoded<Process> {
        Ok(Process {
            key: self.key()?,
            name: self.text()?,
            executable: self.text()?,
            args: self.list(Self::text)?,
            args_truncated: self.bool()?,
            uid: self.u32()?,
            ancestors: self.list(Self::ancestor)?.into(),
        })
    }

    fn ancestor(&mut self) -> Decoded<Ancestor> {
        Ok(Ancestor { key: self.key()?, name: self.text()?, executable: self.text()? })
    }

    fn address(&mut self) -> Decoded<(IpAddr, u16)> {
        let address = match self.u8()? {
            4 => IpAddr::from(self.array::<4>()?),
            6 => IpAddr::from(self.array::<16>()?),
            _ => return Err(Damaged),
        };
        Ok((address, u16::from_le_bytes(self.array()?)))
    }

    fn socket(&mut self) -> Decoded<Socket> {
        let transport = match self.u8()? {
            0 => Transport::Tcp,
            1 => Transport::Udp,
            _ => return Err(Damaged),
        };
        let direction = match self.u8()? {
            0 => SocketDirection::Outbound,
            1 => SocketDirection::Inbound,
            2 => SocketDirection::Unknown,
            _ => return Err(Damaged),
        };
        let (local, local_port) = self.address()?;
        let (peer, peer_port) = self.address()?;
        Ok(Socket { transport, direction, local, local_port, peer, peer_port })
    }

    fn target(&mut self) -> Decoded<StreamTarget> {
        Ok(match self.u8()? {
            0 => StreamTarget::Other,
            1 => StreamTarget::File,
            2 => StreamTarget::Device,
            3 => StreamTarget::Pipe { inode: self.u64()? },
            4 => StreamTarget::Pty { number: self.u32()? },
            5 => StreamTarget::Socket(self.socket()?),
            6 => StreamTarget::OtherSocket { inode: self.u64()? },
            _ => return Err(Damaged),
        })
    }

    fn fact(&mut self) -> Decoded<Fact> {
        Ok(match self.u8()? {
            0 => {
                let streams = [self.target()?, self.target()?, self.target()?];
                let flags = self.u8()?;
                Fact::Exec { streams, upper_layer: flags & 1 != 0, unlinked: flags & 2 != 0 }
            }
            1 => Fact::Fork { child: self.key()? },
            2 => Fact::Exit { code: self.u32()?, signal: self.bool()? },
            3 => Fact::Connection(self.socket()?),
            4 => Fact::StreamRedirect { stream: self.u8()?, target: self.target()? },
            5 => Fact::PtyOpen { number: self.u32()? },
            6 => Fact::OomKill { count: self.u64()? },
            7 => Fact::ContainerStart,
            8 => Fact::ContainerStop,
            9 => Fact::Finding(Box::new(self.finding()?)),
            10 => Fact::Loss { place: self.text()?, count: self.u64()? },
            11 => Fact::Kubernetes(Box::new(self.kubernetes()?)),
            12 => Fact::Audit(Box::new(self.audit()?)),
            _ => return Err(Damaged),
        })
    }

    fn kubernetes(&mut self) -> Decoded<KubernetesEvent> {
        Ok(KubernetesEvent {
            cluster: self.text()?,
            uid: self.text()?,
            kind: self.text()?,
            reason: self.text()?,
            note: self.text()?,
            reporter: self.text()?,
            count: self.u64()?,
            first_ns: self.i64()?,
            object_kind: self.text()?,
            object_name: self.text()?,
            namespace: self.text()?,
            object_uid: self.text()?,
            workload: Workload { kind: self.text()?, name: self.text()? },
        })
    }

    fn audit(&mut self) -> Decoded<ApiRequest> {
        Ok(ApiRequest {
            code: self.u64()?.try_into().map_err(|_| Damaged)?,
            cluster: self.text()?,
            audit_id: self.text()?,
            user: self.text()?,
            impersonator: self.text()?,
            user_pod: self.text()?,
            client: self.text()?,
            user_agent: self.text()?,
            verb: self.text()?,
            group: self.text()?,
            resource: self.text()?,
            namespace: self.text()?,
            name: self.text()?,
            uid: self.text()?,
        })
    }

    fn finding(&mut self) -> Decoded<Finding> {
        let fingerprint = u64::from_le_bytes(self.array()?);
        let severity = match self.u8()? {
            0 => Severity::Info,
            1 => Severity::Warning,
            2 => Severity::Critical,
            _ => return Err(Damaged),
        };
        let state = match self.u8()? {
            0 => FindingState::Firing,
            1 => FindingState::Resolved,
            _ => return Err(Damaged),
        };
        Ok(Finding {
            fingerprint,
            severity,
            state,
            rule: self.text()?,
            title: self.text()?,
            description: self.text()?,
            labels: Labels::from_pairs(self.list(|input| Ok((input.text()?, input.text()?)))?),
            first_ns: self.i64()?,
            last_ns: self.i64()?,
            count: self.u64()?,
            ancestry: self.list(Self::text)?,
            evidence: self.list(Self::text)?,
            event_ids: self.list(Self::u64)?,
        })
    }
}
