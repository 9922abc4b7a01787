//! Listening, and the life of connections.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    App, Config, ConfigError,
    app::Shared,
    connection::Patient,
    routes,
    web::{Door, Web, WebSource},
};

/// Why the server cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The settings of encryption and users cannot be used.
    #[error("the settings of the web server cannot be used: {0}")]
    Web(String),
    /// Somebody else listens there.
    #[error(
        "cannot listen on {address}: the port is in use, perhaps by another Vedette or by Prometheus; \
         stop that one (ss -ltnp 'sport = :{port}' names it) or choose another port, for example \
         --listen {ip}:{other}",
        port = address.port(), ip = address.ip(), other = address.port().saturating_add(1)
    )]
    PortInUse {
        /// Where.
        address: SocketAddr,
    },
    /// The machine refused.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// A server that has its port and does not answer yet.
pub struct Server {
    listener: std::net::TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    /// Checks everything that [`Server::bind`] would refuse without looking at the machine.
    pub fn check(mut config: Config, web: Option<Arc<dyn WebSource>>) -> Result<(), Error> {
        let settings = web.map(|web| web.read()).transpose().map_err(Error::Web)?;
        let door = settings.as_ref().map_or_else(|| Ok(Door::open()), Door::new).map_err(Error::Web)?;
        config.authenticated = door.authenticates();
        Ok(config.validate()?)
    }

    /// Checks the configuration and takes the port.
    pub fn bind(mut config: Config, app: App) -> Result<Self, Error> {
        let web = Web::new(
            app.web.clone(),
            config.listen.ip().is_loopback(),
            app.status.clone(),
            app.clock.clone(),
        );
        let web = web.map_err(Error::Web)?;
        config.authenticated = web.current().authenticates();
        config.validate()?;
        let address = config.listen;
        let listen = || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = listen().map_err(|source: io::Error| {
            if source.kind() == io::ErrorKind::AddrInUse {
                Error::PortInUse { address }
            } else {
                Error::Listen { address, source }
            }
        })?;
        Ok(Self { listener, address, shared: Arc::new(Shared::new(app, config, web)) })
    }

    /// Whether connections are encrypted.
    pub fn encrypts(&self) -> bool {
        self.shared.web.current().tls().is_some()
    }

    /// Where it listens, with the port that the machine chose if it was asked to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is done; requests that run then get some time to finish.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let listener = TcpListener::from_std(self.listener)
            .map_err(|source| Error::Listen { address: self.address, source })?;
        let slots = Arc::new(Semaphore::new(self.shared.config.connections_max));
        let mut connections = JoinSet::new();
        tokio::pin!(stop);
        loop {
            // The slot comes first: who gets none waits in the kernel's queue, and costs us nothing.
            let accepted = async {
                let slot = slots.clone().acquire_owned().await.expect("BUG: the semaphore is never closed");
                (listener.accept().await, slot)
            };
            tokio::select! {
                () = &mut stop => break,
                (accepted, slot) = accepted => match accepted {
                    Ok((stream, peer)) => {
                        connections.spawn(serve(self.shared.clone(), stream, peer.ip(), slot));
                    }
                    Err(error) => pause_after(&error).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        self.shared.stopping.send_replace(true);
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.shared.config.shutdown_timeout, all).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "requests did not finish in time and are cut off"
            );
        }
        connections.shutdown().await;
        Ok(())
    }
}

/// A client that gave up before it was accepted is no reason to wait; want of file descriptors is.
async fn pause_after(error: &io::Error) {
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
}

async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: IpAddr, _slot: OwnedSemaphorePermit) {
    let _open = shared.metrics.connections.enter();
    // Answers are written whole, so waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    let door = shared.web.door().await;
    let Some(tls) = door.tls() else {
        let stream = Patient::new(stream, shared.config.write_timeout);
        return converse(shared, door, stream, peer, false).await;
    };
    let handshake = tokio::time::timeout(shared.config.header_timeout, encrypt(tls, &shared.config, stream));
    match handshake.await {
        Ok(Ok(stream)) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(&b"h2"[..]);
            converse(shared, door, stream, peer, http2).await;
        }
        outcome => {
            shared.metrics.handshakes_failed.inc();
            if let Ok(Err(error)) = outcome {
                tracing::debug!(%error, "connection could not be encrypted");
            }
        }
    }
}

/// The first byte of a TLS connection: a record of the handshake.
const HANDSHAKE: u8 = 22;

const NOT_ENCRYPTED: &[u8] = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
    This server speaks HTTPS: write https:// in the address.\n";

async fn encrypt(
    acceptor: &TlsAcceptor,
    config: &Config,
    mut stream: TcpStream,
) -> io::Result<TlsStream<Patient>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
        let _ = stream.write_all(NOT_ENCRYPTED).await;
        let _ = stream.shutdown().await;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the client does not speak TLS"));
    }
    acceptor.accept(Patient::new(stream, config.write_timeout)).await
}

/// Requests of one connection, for knowing when it is idle.
#[derive(Default)]
struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

async fn converse<S>(shared: Arc<Shared>, door: Arc<Door>, stream: S, peer: IpAddr, http2: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::new(Activity::default());
    let service = {
        let (shared, activity) = (shared.clone(), activity.clone());
        service_fn(move |request| {
            let (shared, door, activity) = (shared.clone(), door.clone(), activity.clone());
            async move {
                activity.begun.fetch_add(1, Ordering::Relaxed);
                let answer = routes::answer(shared, door, peer, request).await;
                activity.ended.fetch_add(1, Ordering::Relaxed);
                Ok::<_, Infallible>(answer)
            }
        })
    };
    let config = &shared.config;
    let stream = TokioIo::new(stream);
    let result = if http2 {
        let header_bytes = u32::try_from(config.header_bytes_max).unwrap_or(u32::MAX);
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(header_bytes)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .keep_alive_interval(config.header_timeout)
            .keep_alive_timeout(config.write_timeout)
            .serve_connection(stream, service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            result = connection.as_mut() => result,
            // HTTP/2 has no deadline for the next request of its own.
            () = idle_or_stopping(&shared, &activity) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(config.header_timeout)
            .max_buf_size(config.header_bytes_max)
            .serve_connection(stream, service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            result = connection.as_mut() => result,
            () = stopping(&shared) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = result {
        shared.metrics.connections_cut.inc();
        tracing::debug!(%error, "connection ended early");
    }
}

/// Requests that one HTTP/2 connection may have at a time.
const STREAMS_MAX: u32 = 100;
/// What waits for the client of one stream.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

async fn stopping(shared: &Shared) {
    let mut stopping = shared.stopping.subscribe();
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Done when the server stops, or no request came or was under way for too long.
async fn idle_or_stopping(shared: &Shared, activity: &Activity) {
    let idle = async {
        let mut seen = None;
        loop {
            tokio::time::sleep(shared.config.header_timeout).await;
            let (begun, ended) =
                (activity.begun.load(Ordering::Relaxed), activity.ended.load(Ordering::Relaxed));
            if begun == ended && seen == Some(begun) {
                return;
            }
            seen = Some(begun);
        }
    };
    tokio::select! {
        () = idle => {}
        () = stopping(shared) => {}
    }
}
