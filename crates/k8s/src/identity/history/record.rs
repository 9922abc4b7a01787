//! The bytes of a record of the history: `docs/formats/pod-history.md`.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::identity::{owner::Named, text};

const POD: u8 = 1;
const KNOWN: u8 = 2;
const FORGOTTEN: u8 = 3;
const COMPACTED: u8 = 4;

/// An id whose bytes its digits tell, and one that is any other text.
const DIGITS: u8 = 0;
const TEXT: u8 = 1;

/// A record.
#[expect(clippy::large_enum_variant, reason = "nearly all are pods, and few are held at a time")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::identity) enum HistoryRecord<'a> {
    /// A pod as it is from here on.
    Pod(PodRecord<'a>),
    /// At this time all pods were there that are not gone by the records before.
    Known(i64),
    /// The pod of that uid is forgotten.
    Forgotten(Cow<'a, str>),
    /// All that counts stands in segments from this one on.
    Compacted(u64),
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::identity) struct PodRecord<'a> {
    pub uid: Cow<'a, str>,
    /// By which cgroups name it, where that is another.
    pub alias: Option<text::Uid>,
    pub namespace: &'a str,
    pub name: &'a str,
    pub node: &'a str,
    pub service_account: &'a str,
    pub owner: Option<Named<'a>>,
    /// Who made the owner.
    pub above: Option<Named<'a>>,
    pub since_ms: i64,
    pub gone: Option<Gone>,
    /// From when and until when each was the pod's.
    pub addresses: Vec<(IpAddr, i64, i64)>,
    /// Id, name and image.
    pub containers: Vec<(Cow<'a, str>, &'a str, &'a str)>,
}

/// That a pod went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::identity) struct Gone {
    pub at_ms: i64,
    /// Nobody saw it.
    pub unseen: bool,
}

impl HistoryRecord<'_> {
    /// Its bytes; nothing where a text or a list is too long for them.
    pub(in crate::identity) fn encode(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match self {
            Self::Pod(pod) => {
                out.push(POD);
                pod.encode(&mut out)?;
            }
            Self::Known(at_ms) => {
                out.push(KNOWN);
                out.extend_from_slice(&at_ms.to_le_bytes());
            }
            Self::Forgotten(uid) => {
                out.push(FORGOTTEN);
                push_uid(&mut out, uid)?;
            }
            Self::Compacted(segment) => {
                out.push(COMPACTED);
                out.extend_from_slice(&segment.to_le_bytes());
            }
        }
        Some(out)
    }
}

impl<'a> HistoryRecord<'a> {
    /// Nothing if it is no record, or one of a kind that a later release may know.
    pub(in crate::identity) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut input = Input(bytes);
        let record = match input.byte()? {
            POD => Self::Pod(PodRecord::decode(&mut input)?),
            KNOWN => Self::Known(input.time()?),
            FORGOTTEN => Self::Forgotten(input.uid()?),
            COMPACTED => Self::Compacted(u64::from_le_bytes(*input.array()?)),
            _ => return None,
        };
        input.0.is_empty().then_some(record)
    }
}

impl<'a> PodRecord<'a> {
    fn encode(&self, out: &mut Vec<u8>) -> Option<()> {
        push_uid(out, &self.uid)?;
        out.push(u8::from(self.alias.is_some()));
        out.extend(self.alias.iter().flatten());
        for text in [self.namespace, self.name, self.node, self.service_account] {
            push_text(out, text)?;
        }
        let named = [self.owner, self.above];
        out.push(named.iter().take_while(|named| named.is_some()).count() as u8);
        for (kind, name) in named.into_iter().map_while(|named| named) {
            push_text(out, kind)?;
            push_text(out, name)?;
        }
        out.extend_from_slice(&self.since_ms.to_le_bytes());
        out.push(self.gone.map_or(0, |gone| 1 + u8::from(gone.unseen)));
        if let Some(gone) = self.gone {
            out.extend_from_slice(&gone.at_ms.to_le_bytes());
        }
        out.push(u8::try_from(self.addresses.len()).ok()?);
        for (address, from_ms, until_ms) in &self.addresses {
            match address {
                IpAddr::V4(four) => {
                    out.push(4);
                    out.extend_from_slice(&four.octets());
                }
                IpAddr::V6(six) => {
                    out.push(6);
                    out.extend_from_slice(&six.octets());
                }
            }
            out.extend_from_slice(&from_ms.to_le_bytes());
            out.extend_from_slice(&until_ms.to_le_bytes());
        }
        out.push(u8::try_from(self.containers.len()).ok()?);
        for (id, name, image) in &self.containers {
            if text::is_plain_container_id(id) {
                out.push(DIGITS);
                out.extend_from_slice(&text::container_id(id));
            } else {
                out.push(TEXT);
                push_text(out, id)?;
            }
            push_text(out, name)?;
            push_text(out, image)?;
        }
        Some(())
    }

    fn decode(input: &mut Input<'a>) -> Option<Self> {
        let uid = input.uid()?;
        let alias = match input.byte()? {
            0 => None,
            1 => Some(*input.array()?),
            _ => return None,
        };
        let [namespace, name, node, service_account] =
            [input.text()?, input.text()?, input.text()?, input.text()?];
        let names = input.byte()?;
        if names > 2 {
            return None;
        }
        let mut named = || Some((input.text()?, input.text()?));
        let owner = if names > 0 { Some(named()?) } else { None };
        let above = if names > 1 { Some(named()?) } else { None };
        let since_ms = input.time()?;
        let gone = match input.byte()? {
            0 => None,
            seen @ 1..=2 => Some(Gone { unseen: seen == 2, at_ms: input.time()? }),
            _ => return None,
        };
        let count = input.byte()?;
        let addresses = (0..count).map(|_| input.address()).collect::<Option<_>>()?;
        let count = input.byte()?;
        let containers = (0..count)
            .map(|_| Some((input.container_id()?, input.text()?, input.text()?)))
            .collect::<Option<_>>()?;
        Some(Self {
            uid,
            alias,
            namespace,
            name,
            node,
            service_account,
            owner,
            above,
            since_ms,
            gone,
            addresses,
            containers,
        })
    }
}

fn push_uid(out: &mut Vec<u8>, uid: &str) -> Option<()> {
    if text::is_plain_uid(uid) {
        out.push(DIGITS);
        out.extend_from_slice(&text::uid(uid));
        return Some(());
    }
    out.push(TEXT);
    push_text(out, uid)
}

fn push_text(out: &mut Vec<u8>, text: &str) -> Option<()> {
    out.extend_from_slice(&u16::try_from(text.len()).ok()?.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    Some(())
}

/// What is left to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(array)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| *byte)
    }

    fn time(&mut self) -> Option<i64> {
        self.array().map(|bytes| i64::from_le_bytes(*bytes))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::from(u16::from_le_bytes(*self.array()?));
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn uid(&mut self) -> Option<Cow<'a, str>> {
        match self.byte()? {
            DIGITS => Some(text::uid_text(self.array()?).into()),
            TEXT => self.text().map(Cow::Borrowed),
            _ => None,
        }
    }

    fn container_id(&mut self) -> Option<Cow<'a, str>> {
        match self.byte()? {
            DIGITS => Some(text::container_text(self.array()?).into()),
            TEXT => self.text().map(Cow::Borrowed),
            _ => None,
        }
    }

    fn address(&mut self) -> Option<(IpAddr, i64, i64)> {
        let address = match self.byte()? {
            4 => Ipv4Addr::from(*self.array::<4>()?).into(),
            6 => Ipv6Addr::from(*self.array::<16>()?).into(),
            _ => return None,
        };
        Some((address, self.time()?, self.time()?))
    }
}
