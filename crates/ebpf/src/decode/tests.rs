use std::net::IpAddr;

use proptest::prelude::*;
use vedette_model::{NAMED_PIPE_BIT, SocketDirection, StreamTarget, Transport};

use super::{Malformed, decode};
use crate::{abi, event::KernelFact};

/// A record with every header field different from the others.
fn header(kind: u8) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0];
    for n in 1..=7_u32 {
        bytes.extend((n * 100).to_ne_bytes());
    }
    for n in 1..=5_u64 {
        bytes.extend((n * 1_000_000).to_ne_bytes());
    }
    bytes.extend(b"bash\0junk-behind");
    assert_eq!(bytes.len(), size_of::<abi::EventHeader>());
    bytes
}

#[derive(Clone, Copy)]
struct Address {
    family: u8,
    local: [u8; 16],
    peer: [u8; 16],
}

fn v4(local: [u8; 4], peer: [u8; 4]) -> Address {
    let wide = |a: [u8; 4]| std::array::from_fn(|i| if i < 4 { a[i] } else { 0 });
    Address { family: 2, local: wide(local), peer: wide(peer) }
}

fn stream(kind: u8, number: u32, inode: u64, at: Address, protocol: u8, direction: u8) -> Vec<u8> {
    let mut bytes = vec![kind, protocol, direction, at.family];
    bytes.extend(number.to_ne_bytes());
    bytes.extend(inode.to_ne_bytes());
    bytes.extend(at.local);
    bytes.extend(at.peer);
    bytes.extend(40_000_u16.to_ne_bytes());
    bytes.extend(4441_u16.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes
}

fn plain(kind: u8, number: u32, inode: u64) -> Vec<u8> {
    stream(kind, number, inode, v4([0; 4], [0; 4]), 0, 0)
}

fn exec(streams: &[Vec<u8>; 3], flags: u32, filename: &[u8], args: &[u8]) -> Vec<u8> {
    let mut bytes = header(abi::kind::EXEC);
    bytes.extend(streams.concat());
    bytes.extend(77_u64.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(u16::try_from(filename.len()).unwrap().to_ne_bytes());
    bytes.extend(u16::try_from(args.len()).unwrap().to_ne_bytes());
    bytes.extend(filename);
    bytes.extend(args);
    bytes
}

#[test]
fn every_header_field_is_read_from_its_place() {
    let mut bytes = header(abi::kind::EXIT);
    bytes.extend((3_u32 << 8).to_ne_bytes());
    bytes.extend([0; 4]);
    let event = decode(&bytes).unwrap();
    let h = event.header;
    assert_eq!((h.tid, h.process.pid, h.parent.pid, h.uid), (100, 200, 300, 400));
    assert_eq!((h.mount_ns, h.pid_ns, h.net_ns), (500, 600, 700));
    assert_eq!((h.time_ns, h.cgroup_id, h.memory_cgroup_id), (1_000_000, 2_000_000, 3_000_000));
    assert_eq!((h.process.start_ns, h.parent.start_ns), (4_000_000, 5_000_000));
    assert_eq!(h.comm(), b"bash");
    assert_eq!(event.fact, KernelFact::Exit { code: 3, signal: false });
}

#[test]
fn a_signal_is_told_from_a_status() {
    let mut bytes = header(abi::kind::EXIT);
    bytes.extend((9_u32 | 0x80).to_ne_bytes());
    bytes.extend([0; 4]);
    assert_eq!(decode(&bytes).unwrap().fact, KernelFact::Exit { code: 9, signal: true });
}

#[test]
fn an_exec_gives_text_streams_and_flags() {
    let socket = stream(6, 0, 5, v4([10, 0, 0, 2], [10, 0, 0, 1]), 6, 1);
    let bytes = exec(&[socket, plain(5, 8, 9), plain(3, 4, 0)], 0b111, b"/bin/sh\0", b"sh\0\0-c\0\0");
    let KernelFact::Exec(exec) = decode(&bytes).unwrap().fact else { panic!("not an exec") };
    assert_eq!(exec.filename, b"/bin/sh");
    assert_eq!(exec.args.iter().collect::<Vec<_>>(), [&b"sh"[..], b"", b"-c", b""]);
    assert!(exec.upper_layer && exec.unlinked && exec.args_truncated);
    assert_eq!(exec.executable_inode, 77);
    let StreamTarget::Socket(socket) = &exec.streams[0] else { panic!("not a socket") };
    assert_eq!(socket.transport, Transport::Tcp);
    assert_eq!(socket.direction, SocketDirection::Outbound);
    assert_eq!((socket.local, socket.local_port), ("10.0.0.2".parse().unwrap(), 40_000));
    assert_eq!((socket.peer, socket.peer_port), ("10.0.0.1".parse().unwrap(), 4441));
    let StreamTarget::Pipe { inode } = exec.streams[1] else { panic!("not a pipe") };
    assert!(inode & NAMED_PIPE_BIT != 0 && inode != NAMED_PIPE_BIT);
    assert_eq!(exec.streams[2], StreamTarget::Pty { number: 4 });
}

#[test]
fn no_arguments_are_none_and_not_one_empty() {
    let bytes = exec(&[plain(0, 0, 0), plain(1, 0, 0), plain(2, 0, 0)], 0, b"x\0", b"");
    let KernelFact::Exec(exec) = decode(&bytes).unwrap().fact else { panic!("not an exec") };
    assert_eq!(exec.args.iter().count(), 0);
    assert_eq!(exec.streams, [StreamTarget::Other, StreamTarget::File, StreamTarget::Device]);
}

#[test]
fn an_address_has_one_name_in_both_families() {
    let mut mapped = [0; 16];
    mapped[10..12].fill(0xff);
    mapped[12..].copy_from_slice(&[10, 0, 0, 1]);
    let at = Address { family: 10, local: [0xfe; 16], peer: mapped };
    let mut bytes = header(abi::kind::CONNECTION);
    bytes.extend(stream(6, 0, 0, at, 17, 2));
    let KernelFact::Connection(socket) = decode(&bytes).unwrap().fact else { panic!("no connection") };
    assert_eq!(socket.peer, "10.0.0.1".parse::<IpAddr>().unwrap());
    assert!(socket.local.is_ipv6());
    assert_eq!((socket.transport, socket.direction), (Transport::Udp, SocketDirection::Inbound));
}

#[test]
fn what_is_no_record_is_named() {
    assert_eq!(decode(&[]), Err(Malformed { kind: 0, bytes: 0 }));
    assert_eq!(decode(&[9; 400]), Err(Malformed { kind: 9, bytes: 400 }));
    let mut lying = exec(&[plain(0, 0, 0), plain(0, 0, 0), plain(0, 0, 0)], 0, b"/bin/sh\0", b"sh\0");
    lying.truncate(lying.len() - 1);
    assert!(decode(&lying).is_err());
    let mut redirect = header(abi::kind::REDIRECT);
    redirect.extend(plain(4, 0, 1));
    redirect.extend(3_u32.to_ne_bytes());
    redirect.extend([0; 4]);
    assert!(decode(&redirect).is_err(), "only 0 to 2 are standard streams");
}

proptest! {
    #[test]
    fn any_bytes_are_taken_without_panic(kind in 0_u8..9, mut bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        if let Some(first) = bytes.first_mut() {
            *first = kind;
        }
        if let Ok(event) = decode(&bytes)
            && let KernelFact::Exec(exec) = event.fact
        {
            let text: usize = exec.args.iter().map(|a| a.len() + 1).sum();
            prop_assert!(text <= bytes.len());
        }
    }
}
