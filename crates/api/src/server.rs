//! Listening, and the life of connections.

use std::{convert::Infallible, future::Future, io, net::SocketAddr, sync::Arc};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

use crate::{App, Config, ConfigError, app::Shared, connection::Patient, routes};

/// Why the server cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
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
    /// Checks the configuration and takes the port.
    pub fn bind(config: Config, app: App) -> Result<Self, Error> {
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
        Ok(Self { listener, address, shared: Arc::new(Shared::new(app, config)) })
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
                    Ok((stream, _)) => {
                        connections.spawn(serve(self.shared.clone(), stream, slot));
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

async fn serve(shared: Arc<Shared>, stream: TcpStream, _slot: OwnedSemaphorePermit) {
    let _open = shared.metrics.connections.enter();
    // Answers are written whole, so waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    let config = &shared.config;
    let mut stopping = shared.stopping.subscribe();
    let service = service_fn(|request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(routes::answer(shared, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_buf_size(config.header_bytes_max)
        .serve_connection(TokioIo::new(Patient::new(stream, config.write_timeout)), service);
    tokio::pin!(connection);
    let stopped = async {
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stopped => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        shared.metrics.connections_cut.inc();
        tracing::debug!(%error, "connection ended early");
    }
}
