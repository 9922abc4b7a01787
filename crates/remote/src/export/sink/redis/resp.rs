//! The protocol of Redis, version 2: commands, and as much of replies as is needed.
//!
//! Invariant: whatever the bytes are, reading them gives a reply, nothing yet, or an error.

use std::io;

/// Deeper ones are not sent by a server.
const DEPTH_MAX: u32 = 4;
/// Nor are longer lists, by what it is asked here.
const ELEMENTS_MAX: usize = 1 << 20;

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A word.
    Text(String),
    /// An error.
    Error(String),
    /// A number.
    Number(i64),
    /// Bytes, if there are any.
    Bulk(Option<Vec<u8>>),
    /// Several.
    Array(Vec<Reply>),
    /// An array that is not there: the transaction was not done.
    NoArray,
}

impl Reply {
    /// An error of the server as one of ours.
    pub fn ok(self) -> io::Result<Self> {
        match self {
            Self::Error(text) => Err(io::Error::other(text)),
            other => Ok(other),
        }
    }
}

/// Appends a command.
pub fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// The first reply and its length; `None` where more bytes are needed.
pub fn parse(bytes: &[u8]) -> io::Result<Option<(Reply, usize)>> {
    let mut rest = Cursor { bytes, at: 0 };
    Ok(rest.reply(0)?.map(|reply| (reply, rest.at)))
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn reply(&mut self, depth: u32) -> io::Result<Option<Reply>> {
        if depth > DEPTH_MAX {
            return Err(malformed("is nested too deep"));
        }
        let Some(line) = self.line() else { return Ok(None) };
        let (kind, text) = line.split_at_checked(1).ok_or_else(|| malformed("is empty"))?;
        let reply = match kind {
            "+" => Reply::Text(text.to_owned()),
            "-" => Reply::Error(text.to_owned()),
            ":" => Reply::Number(text.parse().map_err(|_| malformed("has no number"))?),
            "$" if text == "-1" => Reply::Bulk(None),
            "$" => {
                let length: usize = text.parse().map_err(|_| malformed("has no length"))?;
                let end = self.at.checked_add(length).and_then(|end| end.checked_add(2));
                let end = end.ok_or_else(|| malformed("is too long"))?;
                let Some(bulk) = self.bytes.get(self.at..end) else { return Ok(None) };
                self.at = end;
                Reply::Bulk(Some(bulk[..length].to_vec()))
            }
            "*" if text == "-1" => Reply::NoArray,
            "*" => {
                let count: usize = text.parse().map_err(|_| malformed("has no length"))?;
                if count > ELEMENTS_MAX {
                    return Err(malformed("has too many elements"));
                }
                let mut replies = Vec::new();
                for _ in 0..count {
                    match self.reply(depth + 1)? {
                        Some(reply) => replies.push(reply),
                        None => return Ok(None),
                    }
                }
                Reply::Array(replies)
            }
            _ => return Err(malformed("is of a kind that is not known")),
        };
        Ok(Some(reply))
    }

    fn line(&mut self) -> Option<String> {
        let rest = &self.bytes[self.at..];
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        self.at += end + 2;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the answer {what}; is this a Redis server?"))
}
