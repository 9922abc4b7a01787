//! Answers of HTTP/1.1 over a connection without encryption, for targets that need no more.
//!
//! Most targets are such. The answer is read straight into the buffer that is parsed afterwards, and an
//! idle connection takes no memory beside its socket. What a target sends is not trusted: heads and
//! bodies are bounded, and whatever does not fit the protocol ends the connection.

use std::io;

use memchr::memmem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{budget::Lease, failure::Failure};

/// Bytes of the head of an answer.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Answers before the answer, as `100 Continue`, of which no sound server sends many.
const INTERIM_MAX: u8 = 8;
const HEADERS_MAX: usize = 128;
/// Room that is made for reading where nothing better is known.
const READ_BYTES: usize = 32 << 10;
/// Bytes of a line that tells the size of a chunk.
const CHUNK_LINE_BYTES_MAX: usize = 4 << 10;

/// The head of an answer, as far as it is of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) content_type: String,
    pub(crate) encoding: String,
    length: Length,
    is_kept: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Bytes(u64),
    Chunks,
    UntilClose,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) head: Head,
    /// Where the body begins in the buffer.
    pub(crate) start: usize,
    /// Whether the connection can be used again.
    pub(crate) is_kept: bool,
}

/// Connects to an address, trying all that the name stands for.
pub(crate) async fn open(host: &str, port: u16) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|e| Failure::Http(format!("cannot connect to {host}:{port}: {}", io_text(&e))))?;
    // Requests are one write each.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Sends a request over a connection that was just opened, and reads the answer.
pub(crate) async fn ask(
    stream: &mut TcpStream,
    request: &[u8],
    answer: &mut Answer,
    max: u64,
) -> Result<Asked, Failure> {
    stream.write_all(request).await.map_err(|e| lost(&e))?;
    loop {
        if let Some(asked) = answer.advance(max)? {
            return Ok(asked);
        }
        if stream.read_buf(answer.room()).await.map_err(|e| lost(&e))? == 0 {
            return answer.ended();
        }
    }
}

/// The failure of a connection.
pub(crate) fn lost(error: &io::Error) -> Failure {
    Failure::Http(format!("the connection failed: {}", io_text(error)))
}

/// An answer that is arriving. Whoever reads it puts what comes behind [`Answer::room`].
#[derive(Debug)]
pub(crate) struct Answer {
    bytes: Vec<u8>,
    lease: Lease,
    state: State,
}

#[derive(Debug)]
enum State {
    /// So many answers before the answer have come.
    Head(u8),
    /// Of the answer with this head, whose body begins there.
    Body(Head, usize, Arriving),
}

#[derive(Debug)]
enum Arriving {
    /// Up to this place.
    Bytes(usize),
    Chunks(Chunks),
    UntilClose,
}

impl Answer {
    /// Nothing has come yet. The buffer is used for what comes.
    pub(crate) fn new(mut bytes: Vec<u8>, lease: Lease) -> Self {
        bytes.clear();
        Self { bytes, lease, state: State::Head(0) }
    }

    /// What has come, its head included.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Lease) {
        (self.bytes, self.lease)
    }

    /// Whether nothing has come.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && matches!(self.state, State::Head(_))
    }

    /// Where to put what comes. Room was made for it.
    pub(crate) fn room(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Looks at what has come. Gives the answer if it is whole; bodies of other statuses than 200 are not
    /// waited for. Otherwise there is room for more.
    pub(crate) fn advance(&mut self, max: u64) -> Result<Option<Asked>, Failure> {
        let Self { bytes, lease, state } = self;
        if let State::Head(before) = state {
            loop {
                match parse_head(bytes)? {
                    // An answer before the answer.
                    Some((head, end)) if (100..200).contains(&head.status) => {
                        *before += 1;
                        if *before > INTERIM_MAX {
                            let text = format!("more than {INTERIM_MAX} answers came before the answer");
                            return Err(Failure::Http(text));
                        }
                        bytes.drain(..end);
                    }
                    Some((head, start)) if head.status != 200 => {
                        return Ok(Some(Asked { head, start, is_kept: false }));
                    }
                    Some((head, start)) => {
                        let arriving = match head.length {
                            Length::Bytes(length) if length > max => return Err(lease.too_large(max)),
                            Length::Bytes(length) => Arriving::Bytes(
                                start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)),
                            ),
                            Length::Chunks => {
                                Arriving::Chunks(Chunks { end: start, at: start, state: ChunkState::Size })
                            }
                            Length::UntilClose => Arriving::UntilClose,
                        };
                        *state = State::Body(head, start, arriving);
                        break;
                    }
                    None if bytes.len() > HEAD_BYTES_MAX => {
                        return Err(Failure::Http(format!(
                            "the head of the answer has more than {HEAD_BYTES_MAX} bytes"
                        )));
                    }
                    None => return make_room(bytes, READ_BYTES, lease).map(|()| None),
                }
            }
        }
        let State::Body(head, start, arriving) = state else { return Ok(None) };
        let start = *start;
        let (is_whole, end, room) = match arriving {
            Arriving::Bytes(end) if bytes.len() >= *end => (true, *end, 0),
            // The length may be a lie, so room is made for what comes.
            // A byte more, so that what stands behind it is seen.
            Arriving::Bytes(end) => {
                let missing = (*end - bytes.len()).saturating_add(1);
                (false, bytes.len(), missing.min(READ_BYTES.max(bytes.len())))
            }
            Arriving::Chunks(chunks) => {
                let is_whole = chunks.join(bytes)?;
                if (chunks.end - start) as u64 > max {
                    return Err(lease.too_large(max));
                }
                if is_whole {
                    // Whatever stands behind the chunks is removed with them.
                    let nothing_behind = chunks.at == bytes.len();
                    bytes.truncate(chunks.end);
                    head.is_kept &= nothing_behind;
                    (true, chunks.end, 0)
                } else {
                    (false, chunks.end, READ_BYTES)
                }
            }
            Arriving::UntilClose if (bytes.len() - start) as u64 > max => return Err(lease.too_large(max)),
            Arriving::UntilClose => (false, bytes.len(), READ_BYTES),
        };
        if !is_whole {
            return make_room(bytes, room, lease).map(|()| None);
        }
        let is_kept = head.is_kept && bytes.len() == end;
        bytes.truncate(end);
        let State::Body(head, ..) = std::mem::replace(state, State::Head(0)) else { return Ok(None) };
        Ok(Some(Asked { head, start, is_kept }))
    }

    /// The connection has ended: the answer, if that is how it ends.
    pub(crate) fn ended(&mut self) -> Result<Asked, Failure> {
        let text = match &self.state {
            State::Body(head, start, Arriving::UntilClose) => {
                return Ok(Asked { head: head.clone(), start: *start, is_kept: false });
            }
            State::Head(_) => return Err(lost(&io::ErrorKind::UnexpectedEof.into())),
            State::Body(_, start, Arriving::Bytes(end)) => {
                let (got, length) = (self.bytes.len() - start, end - start);
                format!("the connection ended after {got} of {length} bytes (Content-Length)")
            }
            State::Body(_, start, Arriving::Chunks(chunks)) => {
                format!("the connection ended within the body, after {} bytes", chunks.end - start)
            }
        };
        Err(Failure::Http(text))
    }
}

fn make_room(bytes: &mut Vec<u8>, room: usize, lease: &mut Lease) -> Result<(), Failure> {
    if bytes.capacity() - bytes.len() < room {
        lease.grow(bytes.len() + room)?;
        bytes.reserve(room);
    }
    Ok(())
}

/// The text of a failed call without its number.
fn io_text(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return "it was closed before an answer came (EOF)".to_owned();
    }
    let text = error.to_string().to_lowercase();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// The head of an answer and where it ends, if it is there.
fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Failure> {
    // Only heads that are there as a whole are parsed.
    if memmem::find(&bytes[..bytes.len().min(HEAD_BYTES_MAX + 4)], b"\r\n\r\n").is_none()
        && memmem::find(&bytes[..bytes.len().min(HEAD_BYTES_MAX + 4)], b"\n\n").is_none()
    {
        let looks_like = bytes.len() < 5 || bytes.starts_with(b"HTTP/");
        return if looks_like { Ok(None) } else { Err(Failure::Http("the answer is not HTTP".into())) };
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let status = response.parse(bytes).map_err(|e| Failure::Http(format!("the answer is not HTTP: {e}")))?;
    let httparse::Status::Complete(end) = status else { return Ok(None) };
    let is_newer = response.version == Some(1);
    let mut head = Head {
        status: response.code.unwrap_or(0),
        // Nobody is told of success.
        reason: response.reason.filter(|_| response.code != Some(200)).unwrap_or_default().to_owned(),
        content_type: String::new(),
        encoding: String::new(),
        length: Length::UntilClose,
        is_kept: is_newer,
    };
    let mut length = None;
    for header in response.headers.iter() {
        let text = || String::from_utf8_lossy(header.value).trim().to_owned();
        let name = header.name;
        if name.eq_ignore_ascii_case("content-type") {
            head.content_type = text();
        } else if name.eq_ignore_ascii_case("content-encoding") {
            head.encoding = text().to_ascii_lowercase();
        } else if name.eq_ignore_ascii_case("content-length") {
            let told: u64 =
                text().parse().map_err(|_| Failure::Http(format!("Content-Length is {:?}", text())))?;
            if length.is_some_and(|before| before != told) {
                return Err(Failure::Http("the answer tells two different lengths".into()));
            }
            length = Some(told);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if !text().eq_ignore_ascii_case("chunked") {
                return Err(Failure::Http(format!("the transfer encoding {:?} is not known", text())));
            }
            head.length = Length::Chunks;
        } else if name.eq_ignore_ascii_case("connection") {
            let text = text().to_ascii_lowercase();
            let mut words = text.split(',').map(str::trim);
            head.is_kept =
                if is_newer { !words.any(|w| w == "close") } else { words.any(|w| w == "keep-alive") };
        }
    }
    if let (Length::UntilClose, Some(length)) = (head.length, length) {
        head.length = Length::Bytes(length);
    }
    Ok(Some((head, end)))
}

/// A body in chunks, being joined.
#[derive(Debug)]
struct Chunks {
    /// End of what is joined.
    end: usize,
    /// What is to be looked at next.
    at: usize,
    state: ChunkState,
}

#[derive(Debug, Clone, Copy)]
enum ChunkState {
    /// The size comes.
    Size,
    /// So many bytes come.
    Data(u64),
    /// The end of the line behind a chunk comes.
    DataEnd,
    /// Headers behind the last chunk come.
    Trailers,
}

impl Chunks {
    /// Goes as far as there are bytes; whether the body is whole. Where it is not, what was looked at is
    /// removed from the buffer.
    fn join(&mut self, body: &mut Vec<u8>) -> Result<bool, Failure> {
        let wrong = |what: &str| Failure::Http(format!("the chunks of the answer are broken: {what}"));
        loop {
            match self.state {
                ChunkState::Data(left) => {
                    let count = usize::try_from(left).unwrap_or(usize::MAX).min(body.len() - self.at);
                    body.copy_within(self.at..self.at + count, self.end);
                    self.end += count;
                    self.at += count;
                    self.state = match left - count as u64 {
                        0 => ChunkState::DataEnd,
                        left => ChunkState::Data(left),
                    };
                    if self.at == body.len() {
                        break;
                    }
                }
                ChunkState::Size | ChunkState::DataEnd | ChunkState::Trailers => {
                    let rest = &body[self.at..];
                    let Some(length) = memchr::memchr(b'\n', &rest[..rest.len().min(CHUNK_LINE_BYTES_MAX)])
                    else {
                        if rest.len() >= CHUNK_LINE_BYTES_MAX {
                            return Err(wrong("a line has no end"));
                        }
                        break;
                    };
                    let line = rest[..length].strip_suffix(b"\r").unwrap_or(&rest[..length]);
                    self.at += length + 1;
                    self.state = match self.state {
                        ChunkState::Size => {
                            match chunk_size(line).ok_or_else(|| wrong("a size is missing"))? {
                                0 => ChunkState::Trailers,
                                size => ChunkState::Data(size),
                            }
                        }
                        ChunkState::DataEnd if line.is_empty() => ChunkState::Size,
                        ChunkState::DataEnd => return Err(wrong("something follows the data of a chunk")),
                        _ if line.is_empty() => return Ok(true),
                        other => other,
                    };
                }
            }
        }
        // So that what comes is joined without being moved, mostly.
        let rest = body.len() - self.at;
        body.copy_within(self.at.., self.end);
        body.truncate(self.end + rest);
        self.at = self.end;
        Ok(false)
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|b| matches!(b, b';' | b' ' | b'\t')).next()?;
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok().filter(|d| !d.starts_with('+'))?, 16).ok()
}

#[cfg(any(test, fuzzing))]
pub mod fuzzing;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn heads_are_read() {
        let head = |text: &str| parse_head(text.as_bytes());
        let (plain, end) =
            head("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-length: 3\r\n\r\nabc")
                .unwrap()
                .unwrap();
        assert_eq!((plain.status, plain.content_type.as_str(), end), (200, "text/plain", 64));
        assert_eq!((plain.length, plain.is_kept), (Length::Bytes(3), true));
        let (old, _) = head("HTTP/1.0 404 Not Found\r\nContent-Encoding: GZIP\r\n\r\n").unwrap().unwrap();
        assert_eq!((old.status, old.encoding.as_str(), old.length), (404, "gzip", Length::UntilClose));
        assert!(!old.is_kept);
        let (closed, _) =
            head("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n")
                .unwrap()
                .unwrap();
        assert_eq!((closed.length, closed.is_kept), (Length::Chunks, false));
        assert_eq!(head("HTTP/1.1 200 OK\r\nContent-Le").unwrap(), None);
        for wrong in [
            "SSH-2.0-x\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 abc\r\n\r\n",
        ] {
            assert!(head(wrong).is_err(), "{wrong}");
        }
    }

    /// Feeds bytes in pieces, as a connection does.
    fn joined(start: &[u8], bytes: &[u8], pieces: &[usize]) -> Option<Vec<u8>> {
        let mut body = start.to_vec();
        let mut chunks = Chunks { end: body.len(), at: body.len(), state: ChunkState::Size };
        let mut rest = bytes;
        for piece in pieces.iter().copied().chain([bytes.len()]) {
            let (now, later) = rest.split_at(piece.clamp(0, rest.len()));
            body.extend_from_slice(now);
            rest = later;
            if chunks.join(&mut body).ok()? {
                body.truncate(chunks.end);
                return Some(body.split_off(start.len()));
            }
        }
        None
    }

    proptest! {
        #[test]
        fn chunks_are_joined(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..8),
            pieces in proptest::collection::vec(1..20_usize, 0..60),
        ) {
            let mut bytes = Vec::new();
            for part in &parts {
                bytes.extend_from_slice(format!("{:X};x=y\r\n", part.len()).as_bytes());
                bytes.extend_from_slice(part);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\nTrailer: x\r\n\r\n");
            prop_assert_eq!(joined(b"head", &bytes, &pieces), Some(parts.concat()));
        }

        #[test]
        fn garbage_does_no_harm(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            pieces in proptest::collection::vec(1..20_usize, 0..20),
        ) {
            joined(b"", &bytes, &pieces);
            let _ = parse_head(&bytes);
        }
    }

    #[test]
    fn broken_chunks_are_refused() {
        for wrong in ["x\r\n", "3\r\nabcd\r\n", "ffffffffffffffffff\r\n", "+3\r\nabc\r\n"] {
            assert_eq!(joined(b"", wrong.as_bytes(), &[]), None, "{wrong}");
        }
    }
}
