//! The records' layout, as `bpf/abi/event.h` states it. Invariant: both sides assert the same
//! sizes at compile time, no type has padding, and every bit pattern of every field is valid.

/// Kinds of records.
pub mod kind {
    pub const EXEC: u8 = 1;
    pub const FORK: u8 = 2;
    pub const EXIT: u8 = 3;
    pub const CONNECTION: u8 = 4;
    pub const REDIRECT: u8 = 5;
    pub const PTY_OPEN: u8 = 6;
}

/// Kinds of streams.
pub mod stream_kind {
    pub const FILE: u8 = 1;
    pub const DEVICE: u8 = 2;
    pub const PTY: u8 = 3;
    pub const PIPE: u8 = 4;
    pub const NAMED_PIPE: u8 = 5;
    pub const INET_SOCKET: u8 = 6;
    pub const OTHER_SOCKET: u8 = 7;
}

pub const DIRECTION_OUTBOUND: u8 = 1;
pub const DIRECTION_INBOUND: u8 = 2;

pub const EXEC_UPPER_LAYER: u32 = 1;
pub const EXEC_UNLINKED: u32 = 2;
pub const EXEC_ARGS_CUT: u32 = 4;

/// Names of the counted classes, in the order of `enum event_class`.
pub const CLASSES: [&str; 7] = ["exec", "fork", "exit", "connect", "accept", "redirect", "pty_open"];

/// Entries of one table of system calls.
pub const SYSCALLS_MAX: usize = 512;

/// What a system call's exit is looked at for.
pub mod interest {
    pub const DUP: u8 = 1;
    pub const FCNTL: u8 = 2;
    pub const ACCEPT: u8 = 3;
    pub const CONNECT: u8 = 4;
    pub const OPEN: u8 = 5;
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct EventHeader {
    pub kind: u8,
    pub reserved: [u8; 3],
    pub tid: u32,
    pub pid: u32,
    pub parent_pid: u32,
    pub uid: u32,
    pub mount_ns: u32,
    pub pid_ns: u32,
    pub net_ns: u32,
    pub time_ns: u64,
    pub cgroup_id: u64,
    pub memory_cgroup_id: u64,
    pub start_ns: u64,
    pub parent_start_ns: u64,
    pub comm: [u8; 16],
}
const _: () = assert!(size_of::<EventHeader>() == 88);

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Stream {
    pub kind: u8,
    pub protocol: u8,
    pub direction: u8,
    pub family: u8,
    pub number: u32,
    pub inode: u64,
    pub local: [u8; 16],
    pub peer: [u8; 16],
    pub local_port: u16,
    pub peer_port: u16,
    pub reserved: u32,
}
const _: () = assert!(size_of::<Stream>() == 56);

#[derive(Clone, Copy)]
#[repr(C)]
pub struct EventExec {
    pub header: EventHeader,
    pub streams: [Stream; 3],
    pub executable_inode: u64,
    pub flags: u32,
    pub filename_bytes: u16,
    pub args_bytes: u16,
}
const _: () = assert!(size_of::<EventExec>() == 272);

#[derive(Clone, Copy)]
#[repr(C)]
pub struct EventFork {
    pub header: EventHeader,
    pub child_start_ns: u64,
    pub child_pid: u32,
    pub reserved: u32,
}
const _: () = assert!(size_of::<EventFork>() == 104);

#[derive(Clone, Copy)]
#[repr(C)]
pub struct EventExit {
    pub header: EventHeader,
    pub status: u32,
    pub reserved: u32,
}
const _: () = assert!(size_of::<EventExit>() == 96);

#[derive(Clone, Copy)]
#[repr(C)]
pub struct EventConnection {
    pub header: EventHeader,
    pub socket: Stream,
}
const _: () = assert!(size_of::<EventConnection>() == 144);

#[derive(Clone, Copy)]
#[repr(C)]
pub struct EventRedirect {
    pub header: EventHeader,
    pub target: Stream,
    pub fd: u32,
    pub reserved: u32,
}
const _: () = assert!(size_of::<EventRedirect>() == 152);

#[derive(Clone, Copy)]
#[repr(C)]
pub struct EventPtyOpen {
    pub header: EventHeader,
    pub number: u32,
    pub reserved: u32,
}
const _: () = assert!(size_of::<EventPtyOpen>() == 96);

/// One class' counters on one CPU.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct ClassCount {
    pub seen: u64,
    pub dropped: u64,
}
const _: () = assert!(size_of::<ClassCount>() == 16);

#[expect(unsafe_code, reason = "aya copies map values byte by byte")]
// SAFETY: two integers without padding; every bit pattern is a value.
unsafe impl aya::Pod for ClassCount {}

/// A record type that may be read from any bytes of its length.
///
/// # Safety
/// The type is `repr(C)`, has no padding, and every bit pattern is a value of it.
#[expect(unsafe_code, reason = "the promise that read() relies on")]
pub unsafe trait Plain: Copy {
    /// The record at the start of `bytes` and the bytes behind it, or `None` if they are too few.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (record, rest) = bytes.split_at_checked(size_of::<Self>())?;
        // SAFETY: `record` holds exactly size_of::<Self>() initialised bytes, the implementor
        // promises that any of them make a value, and the read does not ask for alignment.
        Some((unsafe { record.as_ptr().cast::<Self>().read_unaligned() }, rest))
    }
}

macro_rules! plain {
    ($($record:ty),*) => {$(
        #[expect(unsafe_code, reason = "integers and arrays of them only, see Plain")]
        // SAFETY: repr(C), integers only; the size asserts above leave no room for padding.
        unsafe impl Plain for $record {}
    )*};
}
plain!(EventHeader, EventExec, EventFork, EventExit, EventConnection, EventRedirect, EventPtyOpen);
