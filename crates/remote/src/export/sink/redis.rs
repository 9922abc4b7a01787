//! Redis: documents are pushed to a list, as cAdvisor's driver did, or added to a stream.
//!
//! Documents and how far they reach are written in one transaction. After a lost answer or a restart the
//! place is read before anything is sent, so every document is there once.

pub(super) mod resp;

use std::{io, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::Mutex,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use vedette_http_client::Encryption;

use super::{Deliver, SinkError, Surroundings, again, secret};
use crate::export::{
    batch::{Batch, Delivery, Place},
    target::{Export, Redis},
};
use resp::Reply;

/// Documents of one command.
const COMMAND_DOCUMENTS_MAX: usize = 1000;
/// An answer to what is sent here is never longer.
const REPLY_BYTES_MAX: usize = 16 << 20;

/// The way to a server.
pub struct Sink(Arc<Inner>);

struct Inner {
    config: Redis,
    /// Where the place is kept, on the server.
    marker: String,
    encryption: Option<Encryption>,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    /// The place is known to be further than the documents: it must be set back to this.
    set_back: Option<Place>,
    place: Place,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

struct Connection {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
}

impl Sink {
    /// Nothing is connected yet.
    pub fn new(config: &Redis, export: &Export, around: &Surroundings<'_>) -> Result<Self, SinkError> {
        let encryption = config.tls.as_ref().map(|tls| Encryption::new(tls, around.clock)).transpose();
        let encryption = encryption.map_err(SinkError::Tls)?;
        // The braces keep both keys on one node of a cluster.
        let marker = format!("vedette:place:{{{}}}:{}:{}", config.key, around.machine, export.name);
        let state = Mutex::default();
        let timeout = export.timeout;
        Ok(Self(Arc::new(Inner { config: config.clone(), marker, encryption, timeout, state })))
    }
}

impl Deliver for Sink {
    fn deliver(&self, batch: Arc<Batch>) -> BoxFuture<'static, Delivery> {
        let inner = self.0.clone();
        Box::pin(async move {
            let mut state = inner.state.lock().await;
            let delivered = tokio::time::timeout(inner.timeout, inner.deliver(&mut state, &batch)).await;
            let error = match delivered {
                Ok(Ok(())) => return Delivery::Taken,
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer in {:?}", inner.timeout),
            };
            // What was sent may have been done; the place tells.
            state.connection = None;
            again(format!("{}: {error}", inner.config.address))
        })
    }
}

impl Inner {
    async fn deliver(&self, state: &mut State, batch: &Batch) -> io::Result<()> {
        if state.connection.is_none() {
            let mut connection = self.connect().await?;
            self.find_place(&mut connection, state).await?;
            state.connection = Some(connection);
        }
        let place = state.place;
        let rest: Vec<usize> =
            (0..batch.documents.len()).filter(|at| !batch.documents[*at].place.is_within(&place)).collect();
        let Some(last) = rest.last() else { return Ok(()) };
        let reached = batch.documents[*last].place;
        let mut commands = Vec::new();
        let count = self.transaction(&mut commands, batch, &rest, reached);
        let connection = state.connection.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        connection.send(&commands).await?;
        // MULTI, what is queued, EXEC.
        for _ in 0..=count {
            connection.reply().await?.ok()?;
        }
        let done = connection.reply().await?.ok()?;
        let Reply::Array(replies) = done else { return Err(io::Error::other("EXEC was not done")) };
        if let Some(error) = replies.into_iter().find_map(|reply| reply.ok().err()) {
            state.set_back = Some(place);
            return Err(error);
        }
        state.place = reached;
        Ok(())
    }

    async fn connect(&self) -> io::Result<Connection> {
        let config = &self.config;
        let tcp = TcpStream::connect(&config.address).await?;
        tcp.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &self.encryption {
            None => Box::new(tcp),
            Some(encryption) => {
                let host = config.address.rsplit_once(':').map_or(config.address.as_str(), |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let name = match encryption.server_name() {
                    "" => host,
                    name => name,
                };
                let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
                let tls = encryption.current().map_err(io::Error::other)?;
                Box::new(TlsConnector::from(tls).connect(name, tcp).await?)
            }
        };
        let mut connection = Connection { stream, received: Vec::new() };
        if let Some(password) = &config.password {
            let password = secret(password)?;
            let mut words: Vec<&[u8]> = vec![b"AUTH"];
            if !config.username.is_empty() {
                words.push(config.username.as_bytes());
            }
            words.push(password.as_bytes());
            connection.ask(&words).await?;
        }
        if config.database > 0 {
            connection.ask(&[b"SELECT", config.database.to_string().as_bytes()]).await?;
        }
        Ok(connection)
    }

    /// Learns how far the documents on the server reach.
    async fn find_place(&self, connection: &mut Connection, state: &mut State) -> io::Result<()> {
        let key = self.config.key.as_bytes();
        let wanted = if self.config.is_stream { "stream" } else { "list" };
        if let Reply::Text(kind) = connection.ask(&[b"TYPE", key]).await?
            && kind != "none"
            && kind != wanted
        {
            let text = format!("the key {:?} holds a {kind} and no {wanted}; name another", self.config.key);
            return Err(io::Error::other(text));
        }
        if let Some(place) = state.set_back {
            connection.ask(&[b"SET", self.marker.as_bytes(), show(place).as_bytes()]).await?;
            state.set_back = None;
            state.place = place;
            return Ok(());
        }
        state.place = match connection.ask(&[b"GET", self.marker.as_bytes()]).await? {
            Reply::Bulk(Some(text)) => read(&text).unwrap_or_default(),
            _ => Place::default(),
        };
        Ok(())
    }

    /// Appends the commands; gives how many there are between MULTI and EXEC.
    fn transaction(&self, out: &mut Vec<u8>, batch: &Batch, rest: &[usize], reached: Place) -> usize {
        let config = &self.config;
        let (key, length) = (config.key.as_bytes(), config.length_max.to_string());
        let mut count = 1;
        resp::command(out, &[b"MULTI"]);
        if config.is_stream {
            for at in rest {
                let mut words: Vec<&[u8]> = vec![b"XADD", key];
                if config.length_max > 0 {
                    words.extend([b"MAXLEN".as_slice(), b"~", length.as_bytes()]);
                }
                words.extend([b"*".as_slice(), b"document", batch.document(*at)]);
                resp::command(out, &words);
                count += 1;
            }
        } else {
            for some in rest.chunks(COMMAND_DOCUMENTS_MAX) {
                let mut words: Vec<&[u8]> = vec![b"LPUSH", key];
                words.extend(some.iter().map(|at| batch.document(*at)));
                resp::command(out, &words);
                count += 1;
            }
            if config.length_max > 0 {
                let last = (config.length_max - 1).to_string();
                resp::command(out, &[b"LTRIM", key, b"0", last.as_bytes()]);
                count += 1;
            }
        }
        resp::command(out, &[b"SET", self.marker.as_bytes(), show(reached).as_bytes()]);
        resp::command(out, &[b"EXEC"]);
        count
    }
}

impl Connection {
    async fn ask(&mut self, words: &[&[u8]]) -> io::Result<Reply> {
        let mut command = Vec::new();
        resp::command(&mut command, words);
        self.send(&command).await?;
        self.reply().await?.ok()
    }

    /// What is encrypted may wait for more before it goes; for nothing more comes before the reply.
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    async fn reply(&mut self) -> io::Result<Reply> {
        loop {
            if let Some((reply, bytes)) = resp::parse(&self.received)? {
                self.received.drain(..bytes);
                return Ok(reply);
            }
            if self.received.len() > REPLY_BYTES_MAX {
                return Err(io::Error::other("the answer is too long"));
            }
            let read = self.stream.read_buf(&mut self.received).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn show(place: Place) -> String {
    format!("{} {} {}", place.spooled_ms, place.seq, place.ordinal)
}

fn read(text: &[u8]) -> Option<Place> {
    let mut words = std::str::from_utf8(text).ok()?.split(' ');
    let spooled_ms = words.next()?.parse().ok()?;
    let (seq, ordinal) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Place { spooled_ms, seq, ordinal })
}
