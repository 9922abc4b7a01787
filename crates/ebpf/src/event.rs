//! What the kernel told, decoded: plain values, with text borrowed from the ring.

use vedette_model::{ProcessKey, Socket, StreamTarget};

/// One thing that the kernel saw.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelEvent<'a> {
    /// Who did it.
    pub header: Header,
    /// What happened.
    pub fact: KernelFact<'a>,
}

/// Who did it, seen from the host's namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The process (thread group).
    pub process: ProcessKey,
    /// The thread.
    pub tid: u32,
    /// The process' parent at that moment.
    pub parent: ProcessKey,
    /// Real user id.
    pub uid: u32,
    /// Mount namespace.
    pub mount_ns: u32,
    /// Pid namespace of children.
    pub pid_ns: u32,
    /// Network namespace.
    pub net_ns: u32,
    /// When, in nanoseconds since boot, suspension included.
    pub time_ns: u64,
    /// Id of the cgroup in the v2 hierarchy: the inode of its folder. Every process has one; on a
    /// machine that runs its containers in v1 hierarchies it is the root's for all of them.
    pub cgroup_id: u64,
    /// Id of the cgroup in the v1 memory hierarchy, 0 where memory is not a v1 controller.
    pub memory_cgroup_id: u64,
    /// Command name, filled up with zero bytes; see [`Header::comm`].
    pub comm_bytes: [u8; 16],
}

impl Header {
    /// Command name.
    pub fn comm(&self) -> &[u8] {
        until_zero(&self.comm_bytes)
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum KernelFact<'a> {
    /// The process runs another program.
    Exec(Exec<'a>),
    /// The process made another.
    Fork {
        /// The new process.
        child: ProcessKey,
    },
    /// The process' last thread ended.
    Exit {
        /// Exit status, or the signal when `signal` says so.
        code: u32,
        /// Whether a signal ended it.
        signal: bool,
    },
    /// A connection was opened (it stands now) or accepted.
    Connection(Socket),
    /// A standard stream was made to lead to a connected internet socket.
    Redirect {
        /// 0 input, 1 output, 2 error.
        stream: u8,
        /// What it leads to now.
        target: StreamTarget,
    },
    /// The process opened the master side of a pseudo-terminal.
    PtyOpen {
        /// The slave's number.
        number: u32,
    },
}

/// A program begins to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Exec<'a> {
    /// The path as it was given to the kernel: may be relative, a script's, or cut at 255 bytes.
    pub filename: &'a [u8],
    /// Arguments, the first included.
    pub args: Args<'a>,
    /// Whether `args` lacks a part.
    pub args_truncated: bool,
    /// Standard streams as the program finds them.
    pub streams: [StreamTarget; 3],
    /// Inode of the executable.
    pub executable_inode: u64,
    /// The executable stands in an overlay file system's writable layer.
    pub upper_layer: bool,
    /// The executable has no name in any file system.
    pub unlinked: bool,
}

/// Arguments, each ended by a zero byte in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args<'a>(pub(crate) &'a [u8]);

impl<'a> Args<'a> {
    /// The arguments in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let text = self.0.strip_suffix(&[0]).unwrap_or(self.0);
        let none = self.0.is_empty();
        text.split(|b| *b == 0).filter(move |_| !none)
    }
}

pub(crate) fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or(bytes)
}
