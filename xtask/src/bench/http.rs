//! HTTP/1.1 on one connection that stays open.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};

const TIMEOUT: Duration = Duration::from_secs(120);

/// The connection ended before the answer began.
#[derive(Debug)]
struct NoAnswer;

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection ended without an answer")
    }
}

impl std::error::Error for NoAnswer {}

/// A connection, opened when it is needed.
pub struct Client {
    address: SocketAddr,
    timeout: Duration,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    /// A client of the server there.
    pub fn new(address: SocketAddr) -> Self {
        Self::with_timeout(address, TIMEOUT)
    }

    /// One that waits so long for what comes next.
    pub fn with_timeout(address: SocketAddr, timeout: Duration) -> Self {
        Self { address, timeout, stream: None }
    }

    /// Status and body of the answer to a GET.
    pub fn get(&mut self, target: &str) -> Result<(u16, String)> {
        self.send(&format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address), &[])
    }

    /// The status of the answer to a GET. Its body is handed on as it comes, without being kept.
    pub fn read(&mut self, target: &str, mut on_bytes: impl FnMut(&[u8])) -> Result<u16> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        self.ask(&request, &[], &mut Body::Pieces(&mut on_bytes, vec![0; PIECE_BYTES]))
    }

    /// Status and body of the answer to a POST.
    pub fn post(&mut self, target: &str, headers: &str, body: &[u8]) -> Result<(u16, String)> {
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: {}\r\n{headers}Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.send(&head, body)
    }

    fn send(&mut self, head: &str, body: &[u8]) -> Result<(u16, String)> {
        let mut whole = Vec::new();
        let status = self.ask(head, body, &mut Body::Whole(&mut whole))?;
        // Copied only where it has to be: the time that an answer takes is measured with this.
        let text = String::from_utf8(whole)
            .unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned());
        Ok((status, text))
    }

    fn ask(&mut self, head: &str, body: &[u8], into: &mut Body<'_>) -> Result<u16> {
        // The server may have ended a connection that was left open.
        let left_open = self.stream.is_some();
        match self.ask_once(head, body, into) {
            Err(error) if left_open && error.is::<NoAnswer>() => self.ask_once(head, body, into),
            result => result,
        }
    }

    fn ask_once(&mut self, head: &str, body: &[u8], into: &mut Body<'_>) -> Result<u16> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(self.timeout))?;
                BufReader::new(stream)
            }
        };
        stream.get_mut().write_all(head.as_bytes())?;
        // Who refuses a long body may answer before all of it has come.
        if let Err(error) = stream.get_mut().write_all(body)
            && !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
        {
            return Err(error.into());
        }
        let mut line = String::new();
        match stream.read_line(&mut line) {
            Ok(0) => bail!(NoAnswer),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => bail!(NoAnswer),
            read => read?,
        };
        let status: u16 = line.split(' ').nth(1).and_then(|s| s.parse().ok()).context("no status line")?;
        let (mut length, mut chunked, mut close) = (0, false, false);
        loop {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                bail!("the head of an answer is cut off");
            }
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse()?,
                "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
                "connection" => close = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        if chunked {
            loop {
                line.clear();
                stream.read_line(&mut line)?;
                length = usize::from_str_radix(line.trim(), 16)?;
                into.take(&mut stream, length)?;
                line.clear();
                stream.read_line(&mut line)?;
                if length == 0 {
                    break;
                }
            }
        } else {
            into.take(&mut stream, length)?;
        }
        if !close {
            self.stream = Some(stream);
        }
        Ok(status)
    }
}

/// Where the body of an answer goes.
enum Body<'a> {
    Whole(&'a mut Vec<u8>),
    /// Each piece as it comes, read into this.
    Pieces(&'a mut dyn FnMut(&[u8]), Vec<u8>),
}

/// Pieces of a body that is not kept.
const PIECE_BYTES: usize = 256 << 10;

impl Body<'_> {
    /// Reads so many bytes of the body.
    fn take(&mut self, stream: &mut impl Read, length: usize) -> Result<()> {
        match self {
            Self::Whole(body) => {
                let start = body.len();
                body.resize(start + length, 0);
                stream.read_exact(&mut body[start..])?;
            }
            Self::Pieces(on_bytes, piece) => {
                let mut rest = length;
                while rest > 0 {
                    let room = rest.min(piece.len());
                    let read = stream.read(&mut piece[..room])?;
                    if read == 0 {
                        bail!("the body of an answer is cut off");
                    }
                    on_bytes(&piece[..read]);
                    rest -= read;
                }
            }
        }
        Ok(())
    }
}

/// Percent-encodes a value for a query string.
pub fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
        out
    })
}
