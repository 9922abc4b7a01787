//! From a URL to a connection: look the name up, dial, pass the proxy, encrypt.

use std::{
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::{
    Uri,
    header::{HeaderMap, HeaderValue},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::{TcpStream, UnixStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::{
    Error, ErrorKind,
    error::io_text,
    proxy::{Proxies, ProxyScheme},
    stream::{Conn, Stream, Uses},
    tunnel,
};

/// A connection is given up after this, whatever the deadline of the request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// After this the next address of a name is tried beside the one that does not answer.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(300);
/// Names with more addresses than this are not tried further.
const ADDRESSES_MAX: usize = 16;

/// Makes connections for hyper's pool.
#[derive(Clone)]
pub(crate) struct Connector(pub(crate) Arc<Ways>);

/// What all connections of a pool share.
pub(crate) struct Ways {
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// The name that certificates must have, where it is not that of the URL.
    pub(crate) server_name: String,
    pub(crate) proxies: Arc<Proxies>,
    /// Headers of the request for a tunnel.
    pub(crate) tunnel_headers: HeaderMap,
    pub(crate) user_agent: HeaderValue,
    /// A socket that is connected to instead of any address.
    pub(crate) unix_socket: Option<PathBuf>,
}

impl Service<Uri> for Connector {
    type Response = Conn;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Conn, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let ways = self.0.clone();
        Box::pin(async move { ways.connect(&uri).await })
    }
}

impl Ways {
    async fn connect(&self, uri: &Uri) -> Result<Conn, Error> {
        let is_https = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let mut is_proxied = false;
        let mut stream = if let Some(path) = &self.unix_socket {
            let opened = UnixStream::connect(path).await;
            Stream::Unix(opened.map_err(|error| {
                let text = format!("dial unix {}: {}", path.display(), io_text(&error));
                Error::new(ErrorKind::Connect, text)
            })?)
        } else if let Some(proxy) = self.proxies.choose(uri) {
            let dialled = dial(&proxy.host, proxy.port).await;
            let mut stream = dialled.map_err(|e| e.within("proxyconnect tcp: "))?;
            if proxy.scheme == ProxyScheme::Https {
                let encrypted = self.encrypt(stream, &proxy.host, false).await;
                stream = encrypted.map_err(|e| e.within("proxyconnect tcp: "))?;
            }
            match proxy.scheme {
                ProxyScheme::Socks5 => tunnel::socks5(&mut stream, proxy, host, port).await?,
                _ if is_https => tunnel::open(&mut stream, proxy, host, port, self).await?,
                _ => is_proxied = true,
            }
            stream
        } else {
            dial(host, port).await?
        };
        if is_https {
            stream = self.encrypt(stream, host, true).await?;
        }
        Ok(Conn { io: TokioIo::new(stream), is_proxied, uses: Uses::default() })
    }

    /// `is_target` tells the server from a proxy, which never speaks HTTP/2 to us.
    async fn encrypt(&self, stream: Stream, host: &str, is_target: bool) -> Result<Stream, Error> {
        let Some(config) = &self.tls else {
            return Err(Error::new(ErrorKind::Tls, "tls: there is no configuration of TLS"));
        };
        let name = if self.server_name.is_empty() { host } else { &self.server_name };
        let server_name = ServerName::try_from(name.to_owned())
            .map_err(|_| Error::new(ErrorKind::Tls, format!("tls: {name:?} is no name of a server")))?;
        let config = if is_target || config.alpn_protocols.is_empty() {
            config.clone()
        } else {
            let mut plain = ClientConfig::clone(config);
            plain.alpn_protocols.clear();
            Arc::new(plain)
        };
        let handshake = TlsConnector::from(config).connect(server_name, stream);
        match timeout(HANDSHAKE_TIMEOUT, Box::pin(handshake)).await {
            Ok(Ok(tls)) => Ok(Stream::Tls(Box::new(tls))),
            Ok(Err(error)) => {
                let inner = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
                Err(inner.map_or_else(
                    || Error::new(ErrorKind::Tls, io_text(&error)),
                    |inner| Error::tls(inner, name),
                ))
            }
            Err(_) => Err(Error::new(ErrorKind::Tls, "net/http: TLS handshake timeout")),
        }
    }
}

/// Connects to the first address that answers; each has a head start over the next.
async fn dial(host: &str, port: u16) -> Result<Stream, Error> {
    let addresses: Vec<SocketAddr> = match host.parse() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => look_up(host, port).await?,
    };
    let mut tries = JoinSet::new();
    let mut first_error = None;
    for address in addresses {
        tries.spawn(async move {
            let dialled = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
            let reason = match dialled {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => io_text(&error),
                Err(_) => "i/o timeout".to_owned(),
            };
            Err(Error::new(ErrorKind::Connect, format!("dial tcp {address}: {reason}")))
        });
        if let Ok(Some(done)) = timeout(NEXT_ADDRESS_AFTER, tries.join_next()).await
            && let Some(stream) = taken(done, &mut first_error)
        {
            return Ok(ready(stream));
        }
    }
    while let Some(done) = tries.join_next().await {
        if let Some(stream) = taken(done, &mut first_error) {
            return Ok(ready(stream));
        }
    }
    let none = || Error::new(ErrorKind::Connect, format!("dial tcp: lookup {host}: no such host"));
    Err(first_error.unwrap_or_else(none))
}

/// The connection, if it is one; the first error is kept.
fn taken(
    done: Result<Result<TcpStream, Error>, tokio::task::JoinError>,
    first_error: &mut Option<Error>,
) -> Option<TcpStream> {
    match done {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            first_error.get_or_insert(error);
            None
        }
        // The runtime ends.
        Err(_) => None,
    }
}

fn ready(stream: TcpStream) -> Stream {
    // Requests are written whole; where it cannot be set, they are only slower.
    let _ = stream.set_nodelay(true);
    Stream::Tcp(stream)
}

async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let found = tokio::net::lookup_host((host, port)).await;
    found.map(|addresses| addresses.take(ADDRESSES_MAX).collect()).map_err(|error| {
        let said = error.to_string();
        let reason = if said.contains("Temporary failure") {
            "temporary failure in name resolution".to_owned()
        } else if said.contains("not known") || said.contains("No address") {
            "no such host".to_owned()
        } else {
            said
        };
        Error::new(ErrorKind::Connect, format!("dial tcp: lookup {host}: {reason}"))
    })
}
