//! Questions and answers as name servers speak them (RFC 1035, 2782, 3596, 6891).
//!
//! An answer comes from anybody: lengths and the places that compressed names point to are checked,
//! and a name always points backwards, so reading ends.

use std::net::{Ipv4Addr, Ipv6Addr};

use vedette_config::discovery::DnsRecord;
use vedette_scrape::discovery::DnsAnswer;

/// What we take by UDP, as servers are told.
pub const UDP_BYTES_MAX: u16 = 4096;
const CLASS_INTERNET: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_OPTIONS: u16 = 41;
const NAME_BYTES_MAX: usize = 255;

/// What a server says of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The records, maybe none.
    Known(Vec<DnsAnswer>),
    /// There is no such name.
    NoSuchName,
    /// The answer does not fit; it is to be asked for by TCP.
    Truncated,
    /// The server cannot or will not answer.
    Refused(u8),
}

/// The number of a kind of record.
pub fn record_type(record: DnsRecord) -> u16 {
    match record {
        DnsRecord::A => 1,
        DnsRecord::Ns => 2,
        DnsRecord::Mx => 15,
        DnsRecord::Aaaa => 28,
        DnsRecord::Srv => 33,
    }
}

/// A question for the records of a name; `None` where the name is none.
pub fn question(id: u16, name: &str, record: DnsRecord) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(64);
    message.extend_from_slice(&id.to_be_bytes());
    // Recursion is desired; one question, no answers, and one record of options.
    message.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    let start = message.len();
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        message.push(length);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    if message.len() - start > NAME_BYTES_MAX {
        return None;
    }
    message.extend_from_slice(&record_type(record).to_be_bytes());
    message.extend_from_slice(&CLASS_INTERNET.to_be_bytes());
    // The options belong to the root, which has no letters.
    message.push(0);
    message.extend_from_slice(&TYPE_OPTIONS.to_be_bytes());
    message.extend_from_slice(&UDP_BYTES_MAX.to_be_bytes());
    message.extend_from_slice(&[0; 6]);
    Some(message)
}

/// Reads an answer to a question; `None` where it is broken or answers something else.
pub fn reply(message: &[u8], question: &[u8], record: DnsRecord) -> Option<Reply> {
    let header = message.get(..12)?;
    let is_response = header[2] & 0x80 != 0;
    if header[..2] != question[..2] || !is_response {
        return None;
    }
    let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let mut reader = Reader { message, at: 12 };
    // Servers repeat the question; who does not may still say why.
    match (header[3] & 0x0f, count(4)) {
        (0, 1) => {
            let (asked, kind) = (reader.name()?, reader.u16()?);
            let mut own = Reader { message: question, at: 12 };
            if !asked.eq_ignore_ascii_case(&own.name()?) || kind != record_type(record) {
                return None;
            }
            reader.u16()?;
        }
        (3, _) => return Some(Reply::NoSuchName),
        (0, _) => return None,
        (code, _) => return Some(Reply::Refused(code)),
    }
    if header[2] & 0x02 != 0 {
        return Some(Reply::Truncated);
    }
    let mut answers = Vec::new();
    for _ in 0..count(6) {
        reader.name()?;
        let (kind, class) = (reader.u16()?, reader.u16()?);
        reader.take(4)?;
        let length = usize::from(reader.u16()?);
        let end = reader.at.checked_add(length).filter(|end| *end <= message.len())?;
        if kind == record_type(record) && class == CLASS_INTERNET {
            answers.push(reader.record(record, length)?);
        } else if kind == TYPE_CNAME {
            // The records of the other name follow in the same answer.
        }
        reader.at = end;
    }
    Some(Reply::Known(answers))
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let bytes = self.message.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }

    fn record(&mut self, record: DnsRecord, length: usize) -> Option<DnsAnswer> {
        Some(match record {
            DnsRecord::A => {
                let octets: [u8; 4] = self.take(length)?.try_into().ok()?;
                DnsAnswer::Address(Ipv4Addr::from(octets).into())
            }
            DnsRecord::Aaaa => {
                let octets: [u8; 16] = self.take(length)?.try_into().ok()?;
                DnsAnswer::Address(Ipv6Addr::from(octets).into())
            }
            DnsRecord::Srv => {
                self.take(4)?;
                let port = self.u16()?;
                DnsAnswer::Srv { host: self.name()?, port }
            }
            DnsRecord::Mx => {
                self.take(2)?;
                DnsAnswer::Mx(self.name()?)
            }
            DnsRecord::Ns => DnsAnswer::Ns(self.name()?),
        })
    }

    /// A name with a dot behind each part. Letters that could be taken for others are written as the
    /// zone files write them.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut behind = None;
        let mut bytes = 0;
        loop {
            let start = self.at;
            let length = self.take(1)?[0];
            match length {
                0 => break,
                1..=63 => {
                    bytes += usize::from(length) + 1;
                    if bytes > NAME_BYTES_MAX {
                        return None;
                    }
                    for byte in self.take(usize::from(length))? {
                        match byte {
                            b'.' | b'\\' => name.extend(['\\', char::from(*byte)]),
                            b'!'..=b'~' => name.push(char::from(*byte)),
                            other => name.push_str(&format!("\\{other:03}")),
                        }
                    }
                    name.push('.');
                }
                0xc0.. => {
                    let low = self.take(1)?[0];
                    let to = usize::from(length & 0x3f) << 8 | usize::from(low);
                    // Always backwards, so there is no ring.
                    if to >= start {
                        return None;
                    }
                    behind.get_or_insert(self.at);
                    self.at = to;
                    bytes += 1;
                    if bytes > NAME_BYTES_MAX {
                        return None;
                    }
                }
                _ => return None,
            }
        }
        if let Some(at) = behind {
            self.at = at;
        }
        if name.is_empty() {
            name.push('.');
        }
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer to a question with these records: type, and data whose names are as given.
    fn answer(question: &[u8], code: u8, records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = question[..2].to_vec();
        message.extend_from_slice(&[0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
        let end = question.len() - 11;
        message.extend_from_slice(&question[12..end]);
        for (kind, data) in records {
            message.extend_from_slice(&[0xc0, 12]);
            message.extend_from_slice(&kind.to_be_bytes());
            message.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            message.extend_from_slice(&(data.len() as u16).to_be_bytes());
            message.extend_from_slice(data);
        }
        message
    }

    fn known(record: DnsRecord, records: &[(u16, &[u8])]) -> Vec<DnsAnswer> {
        let asked = question(7, "a.example", record).expect("a name");
        match reply(&answer(&asked, 0, records), &asked, record) {
            Some(Reply::Known(answers)) => answers,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn records_of_all_kinds_are_read() {
        use DnsRecord as R;
        let v4 = known(R::A, &[(5, b"\x01b\xc0\x0e"), (1, &[10, 0, 0, 1]), (1, &[10, 0, 0, 2])]);
        let address = |text: &str| DnsAnswer::Address(text.parse().expect("an address"));
        assert_eq!(v4, [address("10.0.0.1"), address("10.0.0.2")]);
        let v6 = known(R::Aaaa, &[(28, &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])]);
        assert_eq!(v6, [address("fd00::1")]);
        let service = known(R::Srv, &[(33, b"\0\x01\0\x02\x1f\x90\x01n\xc0\x0e")]);
        assert_eq!(service, [DnsAnswer::Srv { host: "n.example.".into(), port: 8080 }]);
        assert_eq!(known(R::Mx, &[(15, b"\0\x0a\xc0\x0c")]), [DnsAnswer::Mx("a.example.".into())]);
        assert_eq!(known(R::Ns, &[(2, b"\x02n.\x01\xff\0")]), [DnsAnswer::Ns("n\\..\\255.".into())]);
        assert_eq!(known(R::A, &[]), []);
    }

    #[test]
    fn what_is_no_answer_is_told_apart() {
        let asked = question(7, "a.example", DnsRecord::A).expect("a name");
        let good = answer(&asked, 0, &[(1, &[10, 0, 0, 1])]);
        let read = |message: &[u8]| reply(message, &asked, DnsRecord::A);
        assert_eq!(read(&answer(&asked, 3, &[])), Some(Reply::NoSuchName));
        assert_eq!(read(&answer(&asked, 2, &[])), Some(Reply::Refused(2)));
        let mut truncated = good.clone();
        truncated[2] |= 2;
        assert_eq!(read(&truncated), Some(Reply::Truncated));
        let mut other = good.clone();
        other[1] ^= 1;
        assert_eq!(read(&other), None, "another number");
        let other = question(7, "b.example", DnsRecord::A).expect("a name");
        assert_eq!(reply(&good, &other, DnsRecord::A), None, "another name");
        assert_eq!(read(&asked), None, "a question");
        assert_eq!(read(&good[..good.len() - 1]), None, "cut off");
        // A name that points to itself.
        let mut ring = answer(&asked, 0, &[(1, &[10, 0, 0, 1])]);
        let at = ring.len() - 16;
        ring[at] = 0xc0;
        ring[at + 1] = at as u8;
        assert_eq!(read(&ring), None);
        for name in ["", "a..b", &"x".repeat(64), &"x.".repeat(130)] {
            assert_eq!(question(1, name, DnsRecord::A), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
            with_header in any::<bool>(),
        ) {
            let asked = question(7, "a.example", DnsRecord::Srv).expect("a name");
            if with_header {
                let mut message = answer(&asked, 0, &[]);
                message[7] = 3;
                message.append(&mut bytes);
                bytes = message;
            }
            let _ = reply(&bytes, &asked, DnsRecord::Srv);
        }
    }
}
