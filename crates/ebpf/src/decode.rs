//! From the bytes of a ring to events. Takes any bytes without panic and without allocation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vedette_model::{NAMED_PIPE_BIT, ProcessKey, Socket, SocketDirection, StreamTarget, Transport};

use crate::{
    abi::{self, Plain, kind, stream_kind},
    event::{Args, Exec, Header, KernelEvent, KernelFact, until_zero},
};

/// Bytes that are no record: the programs and this reader are not of one release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("kernel record of kind {kind} and {bytes} bytes cannot be read")]
pub struct Malformed {
    /// First byte of the record, 0 if there is none.
    pub kind: u8,
    /// Its length.
    pub bytes: usize,
}

/// Decodes one record.
pub fn decode(bytes: &[u8]) -> Result<KernelEvent<'_>, Malformed> {
    let kind = bytes.first().copied().unwrap_or(0);
    let event = match kind {
        kind::EXEC => exec(bytes),
        kind::FORK => abi::EventFork::read(bytes).map(|(record, _)| {
            let child = ProcessKey { pid: record.child_pid, start_ns: record.child_start_ns };
            event(&record.header, KernelFact::Fork { child })
        }),
        kind::EXIT => abi::EventExit::read(bytes).map(|(record, _)| {
            let signal = record.status & 0x7f;
            let code = if signal == 0 { record.status >> 8 & 0xff } else { signal };
            event(&record.header, KernelFact::Exit { code, signal: signal != 0 })
        }),
        kind::CONNECTION => abi::EventConnection::read(bytes).and_then(|(record, _)| {
            Some(event(&record.header, KernelFact::Connection(socket(&record.socket)?)))
        }),
        kind::REDIRECT => abi::EventRedirect::read(bytes).and_then(|(record, _)| {
            let stream = u8::try_from(record.fd).ok().filter(|fd| *fd <= 2)?;
            Some(event(&record.header, KernelFact::Redirect { stream, target: target(&record.target) }))
        }),
        kind::PTY_OPEN => abi::EventPtyOpen::read(bytes)
            .map(|(record, _)| event(&record.header, KernelFact::PtyOpen { number: record.number })),
        _ => None,
    };
    event.ok_or(Malformed { kind, bytes: bytes.len() })
}

fn exec(bytes: &[u8]) -> Option<KernelEvent<'_>> {
    let (record, text) = abi::EventExec::read(bytes)?;
    let (filename, text) = text.split_at_checked(usize::from(record.filename_bytes))?;
    let args = text.get(..usize::from(record.args_bytes))?;
    let exec = Exec {
        filename: until_zero(filename),
        args: Args(args),
        args_truncated: record.flags & abi::EXEC_ARGS_CUT != 0,
        streams: record.streams.each_ref().map(target),
        executable_inode: record.executable_inode,
        upper_layer: record.flags & abi::EXEC_UPPER_LAYER != 0,
        unlinked: record.flags & abi::EXEC_UNLINKED != 0,
    };
    Some(event(&record.header, KernelFact::Exec(exec)))
}

fn event<'a>(header: &abi::EventHeader, fact: KernelFact<'a>) -> KernelEvent<'a> {
    let header = Header {
        process: ProcessKey { pid: header.pid, start_ns: header.start_ns },
        tid: header.tid,
        parent: ProcessKey { pid: header.parent_pid, start_ns: header.parent_start_ns },
        uid: header.uid,
        mount_ns: header.mount_ns,
        pid_ns: header.pid_ns,
        net_ns: header.net_ns,
        time_ns: header.time_ns,
        cgroup_id: header.cgroup_id,
        memory_cgroup_id: header.memory_cgroup_id,
        comm_bytes: header.comm,
    };
    KernelEvent { header, fact }
}

fn target(stream: &abi::Stream) -> StreamTarget {
    match stream.kind {
        stream_kind::FILE => StreamTarget::File,
        stream_kind::DEVICE => StreamTarget::Device,
        stream_kind::PTY => StreamTarget::Pty { number: stream.number },
        stream_kind::PIPE => StreamTarget::Pipe { inode: stream.inode & !NAMED_PIPE_BIT },
        stream_kind::NAMED_PIPE => StreamTarget::Pipe { inode: named_pipe(stream.number, stream.inode) },
        stream_kind::INET_SOCKET => {
            socket(stream).map_or(StreamTarget::OtherSocket { inode: stream.inode }, StreamTarget::Socket)
        }
        stream_kind::OTHER_SOCKET => StreamTarget::OtherSocket { inode: stream.inode },
        _ => StreamTarget::Other,
    }
}

/// One number for a named pipe, whose inode is unique in its own file system only.
fn named_pipe(device: u32, inode: u64) -> u64 {
    NAMED_PIPE_BIT | ((u64::from(device) << 32 ^ inode) & (NAMED_PIPE_BIT - 1))
}

/// `None` for protocols other than TCP and UDP.
fn socket(stream: &abi::Stream) -> Option<Socket> {
    const IPPROTO_TCP: u8 = 6;
    const IPPROTO_UDP: u8 = 17;
    let transport = match stream.protocol {
        // Multipath TCP has the number 262, whose low byte, all that is kept, is TCP's.
        IPPROTO_TCP => Transport::Tcp,
        IPPROTO_UDP => Transport::Udp,
        _ => return None,
    };
    let direction = match stream.direction {
        abi::DIRECTION_OUTBOUND => SocketDirection::Outbound,
        abi::DIRECTION_INBOUND => SocketDirection::Inbound,
        _ => SocketDirection::Unknown,
    };
    Some(Socket {
        transport,
        direction,
        local: address(stream.family, &stream.local)?,
        local_port: stream.local_port,
        peer: address(stream.family, &stream.peer)?,
        peer_port: stream.peer_port,
    })
}

/// An IPv4 address in IPv6 notation is the IPv4 address: one peer must not have two names.
fn address(family: u8, bytes: &[u8; 16]) -> Option<IpAddr> {
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    match family {
        AF_INET => Some(IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]))),
        AF_INET6 => Some(IpAddr::V6(Ipv6Addr::from(*bytes)).to_canonical()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
