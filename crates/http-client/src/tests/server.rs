//! A server that answers by a function, and certificates for it.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
};
use tokio_rustls::TlsAcceptor;

use crate::Bytes;

/// A request as it came.
pub struct Asked {
    pub head: Request<()>,
    pub body: String,
}

impl Asked {
    /// The values of a header.
    pub fn header(&self, name: &str) -> String {
        let values = self.head.headers().get_all(name).iter();
        values.map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned()).collect::<Vec<_>>().join(",")
    }
}

pub type Answer = Response<Full<Bytes>>;
type Handler = Arc<dyn Fn(Asked) -> Answer + Send + Sync>;

/// A running server; it ends with the runtime of the test.
pub struct Server {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
}

impl Server {
    pub async fn plain(handler: impl Fn(Asked) -> Answer + Send + Sync + 'static) -> Self {
        Self::start(None, Arc::new(handler)).await
    }

    pub async fn tls(
        config: ServerConfig,
        handler: impl Fn(Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(config), Arc::new(handler)).await
    }

    /// On a socket in the file system.
    pub fn unix(path: &std::path::Path, handler: impl Fn(Asked) -> Answer + Send + Sync + 'static) {
        let listener = UnixListener::bind(path).expect("a socket");
        let handler: Handler = Arc::new(handler);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, false, handler.clone()));
            }
        });
    }

    async fn start(config: Option<ServerConfig>, handler: Handler) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let acceptor = config.map(|config| TlsAcceptor::from(Arc::new(config)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (acceptor, handler) = (acceptor.clone(), handler.clone());
                tokio::spawn(async move {
                    let Some(acceptor) = acceptor else { return serve(stream, false, handler).await };
                    let Ok(tls) = acceptor.accept(stream).await else { return };
                    let is_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
                    serve(tls, is_http2, handler).await;
                });
            }
        });
        Self { address, connections }
    }

    pub fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://{}{path}", self.address)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    is_http2: bool,
    handler: Handler,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let handler = handler.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let body = String::from_utf8_lossy(&body).into_owned();
            Ok::<_, Infallible>(handler(Asked { head: Request::from_parts(parts, ()), body }))
        }
    });
    let io = TokioIo::new(stream);
    // That a client goes away is no matter here.
    if is_http2 {
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(io, service)
            .await;
    } else {
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
    }
}

pub fn text(body: impl Into<String>) -> Answer {
    Response::new(Full::new(Bytes::from(body.into())))
}

pub fn status(code: u16, body: &str) -> Answer {
    let mut answer = text(body);
    *answer.status_mut() = hyper::StatusCode::from_u16(code).expect("a status");
    answer
}

/// An authority with what it has signed.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key in PEM.
pub struct Identity {
    pub cert: String,
    pub key: String,
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key")
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, key()).expect("signed") }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn sign(&self, names: &[&str]) -> Identity {
        self.sign_until(names, 4096)
    }

    /// What is valid from the year 2000 to the first day of this one.
    pub fn sign_until(&self, names: &[&str], year: i32) -> Identity {
        let key = key();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(year, 1, 1));
        let cert = params.signed_by(&key, &self.issuer).expect("signed");
        Identity { cert: cert.pem(), key: key.serialize_pem() }
    }
}

/// What `openssl req -x509` makes: an authority that is used as the server's own certificate.
pub fn self_signed(name: &str) -> Identity {
    let key = key();
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let cert = params.self_signed(&key).expect("signed");
    Identity { cert: cert.pem(), key: key.serialize_pem() }
}

/// The server's side; clients must show a certificate of `clients` where it is given.
pub fn server_config(identity: &Identity, clients: Option<&Authority>, protocols: &[&str]) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.issuer.der().clone()).expect("a root");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
        None => builder.with_no_client_auth(),
    };
    let chain = CertificateDer::pem_slice_iter(identity.cert.as_bytes()).map(|c| c.expect("PEM")).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("PEM");
    let mut config = builder.with_single_cert(chain, key).expect("fits");
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    config
}
