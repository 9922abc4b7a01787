//! Events: what the kernel or a runtime saw, once, at one time. Fields are named after
//! OpenTelemetry's semantic conventions where those have a word.

use std::{fmt, net::IpAddr, sync::Arc};

use crate::{Container, Host, Process, ProcessKey, Workload};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Unique in one store, growing in the order of arrival; 0 until the store has given it one.
    pub id: u64,
    /// Nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// The machine.
    pub host: Arc<Host>,
    /// The container, or `None` for a process of the host itself.
    pub container: Option<Arc<Container>>,
    /// The process that acted, where there is one.
    pub process: Option<Arc<Process>>,
    /// What happened.
    pub fact: Fact,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// The process began to run a program. Its standard streams at that moment, 0 to 2.
    Exec {
        /// What standard input, output and error lead to.
        streams: [StreamTarget; 3],
        /// The executable stands in a container's writable layer, not in its image.
        upper_layer: bool,
        /// The executable has no name in any file system (memfd or deleted).
        unlinked: bool,
    },
    /// The process made another.
    Fork {
        /// The new process.
        child: ProcessKey,
    },
    /// The process ended.
    Exit {
        /// Exit status, or the signal when `signal` says so.
        code: u32,
        /// Whether a signal ended it.
        signal: bool,
    },
    /// A connection was opened or accepted.
    Connection(Socket),
    /// A standard stream was made to lead to a socket.
    StreamRedirect {
        /// 0 input, 1 output, 2 error.
        stream: u8,
        /// What it leads to now.
        target: StreamTarget,
    },
    /// The process opened the master side of a pseudo-terminal: who reads and writes it, plays
    /// the user of everything that runs on its slave side.
    PtyOpen {
        /// Number of the slave below `/dev/pts`.
        number: u32,
    },
    /// The kernel killed a process of this container, or of the host, for want of memory.
    OomKill {
        /// How many since the last such event.
        count: u64,
    },
    /// A container was seen for the first time.
    ContainerStart,
    /// A container is gone.
    ContainerStop,
    /// A judgement; kept in the same store so that it stands on the same time line.
    Finding(Box<crate::Finding>),
    /// The sensor or a queue lost events.
    Loss {
        /// Where: `critical`, `bulk`, `channel`, …
        place: String,
        /// How many.
        count: u64,
    },
    /// A part of a Kubernetes cluster told of one of its objects.
    Kubernetes(Box<KubernetesEvent>),
    /// Somebody asked something of the API server of a Kubernetes cluster, and it was done.
    Audit(Box<ApiRequest>),
}

/// What a part of a Kubernetes cluster told of an object. Repeats are one event with a growing count there, and
/// one fact for each count that was seen here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KubernetesEvent {
    /// The cluster (`k8s.cluster.name`), by the name that the configuration gives it.
    pub cluster: String,
    /// What tells the event from others (`k8s.event.uid`).
    pub uid: String,
    /// `Normal` or `Warning`.
    pub kind: String,
    /// Why, in one word (`k8s.event.reason`).
    pub reason: String,
    /// What happened, for people.
    pub note: String,
    /// How often it has happened (`k8s.event.count`).
    pub count: u64,
    /// When it happened first, nanoseconds since the Unix epoch.
    pub first_ns: i64,
    /// Who tells, as `kubelet`.
    pub reporter: String,
    /// The object: its kind (`k8s.object.kind`).
    pub object_kind: String,
    /// Its name (`k8s.object.name`).
    pub object_name: String,
    /// Its namespace (`k8s.namespace.name`), or an empty string.
    pub namespace: String,
    /// Its uid, or an empty string.
    pub object_uid: String,
    /// What a pod belongs to, where that is known.
    pub workload: Workload,
}

/// What somebody asked of the API server of a Kubernetes cluster, as a record of its audit log tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiRequest {
    /// The cluster (`k8s.cluster.name`), by the name that the configuration gives it.
    pub cluster: String,
    /// What tells the request from others, as the API server names it.
    pub audit_id: String,
    /// What was asked for, as `create` or `patch`.
    pub verb: String,
    /// The answer (`http.response.status_code`).
    pub code: u16,
    /// In whose name it was done (`user.name`).
    pub user: String,
    /// Who asked, where that was somebody else who may impersonate the user; or an empty string.
    pub impersonator: String,
    /// The pod whose account the user is, as its token says; or an empty string.
    pub user_pod: String,
    /// Where the request came from (`client.address`).
    pub client: String,
    /// What the client calls itself (`user_agent.original`).
    pub user_agent: String,
    /// The group of the resource; empty for the core group.
    pub group: String,
    /// The resource, as `deployments`.
    pub resource: String,
    /// The namespace of the object (`k8s.namespace.name`), or an empty string.
    pub namespace: String,
    /// Its name, or an empty string where that is not told (`k8s.object.name`).
    pub name: String,
    /// Its uid, or an empty string.
    pub uid: String,
}

/// The kind of a fact, as searched for and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the words are those of `Fact`")]
pub enum EventKind {
    Exec,
    Fork,
    Exit,
    Connection,
    StreamRedirect,
    PtyOpen,
    OomKill,
    ContainerStart,
    ContainerStop,
    Finding,
    Loss,
    Kubernetes,
    Audit,
}

impl EventKind {
    /// All kinds, in the order in which they are offered to people.
    pub const ALL: [Self; 13] = [
        Self::Finding,
        Self::Exec,
        Self::Connection,
        Self::StreamRedirect,
        Self::PtyOpen,
        Self::Fork,
        Self::Exit,
        Self::OomKill,
        Self::ContainerStart,
        Self::ContainerStop,
        Self::Kubernetes,
        Self::Audit,
        Self::Loss,
    ];

    /// The word used in stores, searches, rules and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Fork => "fork",
            Self::Exit => "exit",
            Self::Connection => "connection",
            Self::StreamRedirect => "stream_redirect",
            Self::PtyOpen => "pty_open",
            Self::OomKill => "oom_kill",
            Self::ContainerStart => "container_start",
            Self::ContainerStop => "container_stop",
            Self::Finding => "finding",
            Self::Loss => "loss",
            Self::Kubernetes => "kubernetes",
            Self::Audit => "audit",
        }
    }

    /// The kind of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == word)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Fact {
    /// The kind of this fact.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Exec { .. } => EventKind::Exec,
            Self::Fork { .. } => EventKind::Fork,
            Self::Exit { .. } => EventKind::Exit,
            Self::Connection(_) => EventKind::Connection,
            Self::StreamRedirect { .. } => EventKind::StreamRedirect,
            Self::PtyOpen { .. } => EventKind::PtyOpen,
            Self::OomKill { .. } => EventKind::OomKill,
            Self::ContainerStart => EventKind::ContainerStart,
            Self::ContainerStop => EventKind::ContainerStop,
            Self::Finding(_) => EventKind::Finding,
            Self::Loss { .. } => EventKind::Loss,
            Self::Kubernetes(_) => EventKind::Kubernetes,
            Self::Audit(_) => EventKind::Audit,
        }
    }
}

/// A transport protocol (`network.transport`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the protocols' own names")]
pub enum Transport {
    Tcp,
    Udp,
}

/// Who began a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocketDirection {
    /// This machine's process did.
    Outbound,
    /// The peer did.
    Inbound,
    /// Not known: the sensor started later than the connection.
    Unknown,
}

/// A connected internet socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Socket {
    /// Protocol.
    pub transport: Transport,
    /// Who began.
    pub direction: SocketDirection,
    /// Own address (`network.local.address`).
    pub local: IpAddr,
    /// Own port (`network.local.port`).
    pub local_port: u16,
    /// The other's address (`network.peer.address`).
    pub peer: IpAddr,
    /// The other's port (`network.peer.port`).
    pub peer_port: u16,
}

/// Set in [`StreamTarget::Pipe::inode`] of a pipe that has a name in a file system. Small enough
/// for the number to stay exact in JSON.
pub const NAMED_PIPE_BIT: u64 = 1 << 52;

/// What a file descriptor leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum StreamTarget {
    /// Closed, or not one of the kinds below.
    #[default]
    Other,
    /// A regular file.
    File,
    /// A character device that is no terminal, such as `/dev/null`.
    Device,
    /// A pipe; both ends have the same inode.
    Pipe {
        /// Inode number; a named pipe's has [`NAMED_PIPE_BIT`] set, and its file system mixed in.
        inode: u64,
    },
    /// A pseudo-terminal's slave side.
    Pty {
        /// Its number below `/dev/pts`.
        number: u32,
    },
    /// A connected internet socket.
    Socket(Socket),
    /// A socket of another kind (unix, netlink), or one that is not connected.
    OtherSocket {
        /// Inode number; of a connected unix pair the smaller one, at both ends.
        inode: u64,
    },
}
