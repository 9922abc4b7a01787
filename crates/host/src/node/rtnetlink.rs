//! Lists that the kernel gives of its network, by rtnetlink: no file tells of them, or none of all.

use std::collections::BTreeMap;

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink::SocketAddrNetlink, recv,
        sendto, socket_with,
    },
};

const GET_LINK: u16 = 18;
const DONE: u16 = 3;
const ERROR: u16 = 2;
/// A request that is answered by a list (`NLM_F_REQUEST | NLM_F_DUMP`).
const DUMP: u16 = 0x301;
/// Bytes before the attributes: of a message, and of a link within it.
const MESSAGE_BYTES: usize = 16;
const LINK_BYTES: usize = 16;
const LINK_NAME: u16 = 3;
/// Room for what any request names; it is left empty, which is everything.
const BODY_BYTES: usize = 20;
/// An answer of the kernel never is longer.
const ANSWER_BYTES: usize = 64 << 10;
/// More answers than any machine needs: a kernel that goes on is not listened to.
const ANSWERS_MAX: usize = 4096;

/// Names of all interfaces by their numbers.
pub(super) fn links() -> Result<BTreeMap<u32, String>, Errno> {
    let mut links = BTreeMap::new();
    dump(GET_LINK, |message| links.extend(link(message)))?;
    Ok(links)
}

/// Asks for a list; `take` gets each message of it without its header.
pub(super) fn dump(kind: u16, mut take: impl FnMut(&[u8])) -> Result<(), Errno> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    const REQUEST_BYTES: u32 = (MESSAGE_BYTES + BODY_BYTES) as u32;
    let mut request = [0; REQUEST_BYTES as usize];
    request[..4].copy_from_slice(&REQUEST_BYTES.to_ne_bytes());
    request[4..6].copy_from_slice(&kind.to_ne_bytes());
    request[6..8].copy_from_slice(&DUMP.to_ne_bytes());
    sendto(&socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = vec![0; ANSWER_BYTES];
    for _ in 0..ANSWERS_MAX {
        let (length, _) = recv(&socket, &mut *answer, RecvFlags::empty())?;
        for (kind, message) in messages(&answer[..length.min(ANSWER_BYTES)]) {
            match kind {
                DONE => return Ok(()),
                ERROR => return Err(Errno::IO),
                _ => take(message),
            }
        }
    }
    Err(Errno::OVERFLOW)
}

/// Messages of an answer: their type, and what follows their header.
fn messages(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind) = (word32(rest, 0)? as usize, word16(rest, 4)?);
        let message = rest.get(MESSAGE_BYTES..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, message))
    })
}

/// Attributes: their type, and what they hold.
pub(super) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind) = (usize::from(word16(rest, 0)?), word16(rest, 2)?);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        // The highest bits only tell that there are attributes within.
        Some((kind & 0x3fff, value))
    })
}

pub(super) fn word16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|b| *b == 0).next().unwrap_or_default()).into_owned()
}

/// Number and name of an interface.
fn link(message: &[u8]) -> Option<(u32, String)> {
    let name = attributes(message.get(LINK_BYTES..)?).find(|(kind, _)| *kind == LINK_NAME)?;
    Some((word32(message, 4)?, text(name.1)))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::node) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
        out.extend_from_slice(&kind.to_ne_bytes());
        out.extend_from_slice(value);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    proptest! {
        #[test]
        fn garbage_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for (_, message) in messages(&bytes) {
                let _ = link(message);
            }
            let _ = link(&bytes);
        }
    }
}
