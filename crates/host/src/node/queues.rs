//! Queueing disciplines of network interfaces, asked of the kernel by rtnetlink: no file tells of
//! them.

use super::{
    Failure,
    background::Source,
    rtnetlink::{attributes, dump, links, text, word32},
};
use crate::{file::Buffer, parse, series::Family, sheet::Sheet};

const GET_QDISC: u16 = 38;
/// Bytes of a discipline before its attributes.
const QDISC_BYTES: usize = 20;
const QDISC_KIND: u16 = 1;
const QDISC_STATISTICS: u16 = 7;
const BASIC: u16 = 1;
const QUEUE: u16 = 3;
/// The discipline that hangs at the interface itself; others hang below it.
const ROOT: u32 = u32::MAX;

/// Figures of a discipline.
#[derive(Debug, Clone, Default, PartialEq)]
struct Discipline {
    interface: u32,
    kind: String,
    bytes: u64,
    packets: u32,
    queue: u32,
    backlog: u32,
    drops: u32,
    requeues: u32,
    overlimits: u32,
}

/// All interfaces' disciplines at the root.
pub(super) struct QueueDisciplines;

impl Source for QueueDisciplines {
    fn name(&self) -> &'static str {
        "qdisc"
    }

    fn read(&mut self, sheet: &mut Sheet, _: &mut Buffer) -> Result<(), Failure> {
        let links = links().map_err(Failure::at("rtnetlink"))?;
        let mut disciplines = Vec::new();
        dump(GET_QDISC, |message| disciplines.extend(discipline(message)))
            .map_err(Failure::at("rtnetlink"))?;
        for found in disciplines {
            let Some(device) = links.get(&found.interface) else { continue };
            let labels = [("device", device.as_str()), ("kind", &found.kind)];
            for (family, n) in [
                (Family::counter("node_qdisc_bytes_total", "Number of bytes sent."), found.bytes),
                (
                    Family::counter("node_qdisc_packets_total", "Number of packets sent."),
                    found.packets.into(),
                ),
                (Family::counter("node_qdisc_drops_total", "Number of packets dropped."), found.drops.into()),
                (
                    Family::counter(
                        "node_qdisc_requeues_total",
                        "Number of packets dequeued, not transmitted, and requeued.",
                    ),
                    found.requeues.into(),
                ),
                (
                    Family::counter("node_qdisc_overlimits_total", "Number of overlimit packets."),
                    found.overlimits.into(),
                ),
                (
                    Family::gauge(
                        "node_qdisc_current_queue_length",
                        "Number of packets currently in queue to be sent.",
                    ),
                    found.queue.into(),
                ),
                (
                    Family::gauge("node_qdisc_backlog", "Number of bytes currently in queue to be sent."),
                    found.backlog.into(),
                ),
            ] {
                sheet.put(family, &labels, parse::value(n));
            }
        }
        Ok(())
    }
}

/// A discipline at the root of an interface.
fn discipline(message: &[u8]) -> Option<Discipline> {
    (word32(message, 12)? == ROOT).then_some(())?;
    let mut out = Discipline { interface: word32(message, 4)?, ..Discipline::default() };
    for (kind, value) in attributes(message.get(QDISC_BYTES..)?) {
        match kind {
            QDISC_KIND => out.kind = text(value),
            QDISC_STATISTICS => {
                for (kind, value) in attributes(value) {
                    let word = |i: usize| word32(value, i * 4).unwrap_or(0);
                    match kind {
                        BASIC => {
                            out.bytes = value.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
                            out.packets = word(2);
                        }
                        QUEUE => {
                            [out.queue, out.backlog, out.drops] = [word(0), word(1), word(2)];
                            [out.requeues, out.overlimits] = [word(3), word(4)];
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::node::rtnetlink::tests::attribute;

    #[test]
    fn a_discipline_is_read_out_of_its_message() {
        let words = |list: &[u32]| list.iter().flat_map(|w| w.to_ne_bytes()).collect::<Vec<u8>>();
        let mut message = vec![0; QDISC_BYTES];
        message[4..8].copy_from_slice(&3u32.to_ne_bytes());
        message[12..16].copy_from_slice(&ROOT.to_ne_bytes());
        message.extend(attribute(QDISC_KIND, b"fq\0"));
        let mut basic = 12_345u64.to_ne_bytes().to_vec();
        basic.extend(words(&[67]));
        let statistics = [attribute(BASIC, &basic), attribute(QUEUE, &words(&[1, 2, 3, 4, 5]))].concat();
        message.extend(attribute(QDISC_STATISTICS | 0x8000, &statistics));
        let expected = Discipline {
            interface: 3,
            kind: "fq".into(),
            bytes: 12_345,
            packets: 67,
            queue: 1,
            backlog: 2,
            drops: 3,
            requeues: 4,
            overlimits: 5,
        };
        assert_eq!(discipline(&message), Some(expected));
        message[12] = 0;
        assert_eq!(discipline(&message), None, "one below the root");
    }

    #[test]
    fn this_kernel_answers() {
        assert!(links().unwrap().values().any(|name| name == "lo"));
        dump(GET_QDISC, |_| ()).unwrap();
    }

    proptest! {
        #[test]
        fn garbage_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = discipline(&bytes);
        }
    }
}
