//! Requests over HTTP as a client of `prometheus.yml` makes them: authorization, encryption, proxy,
//! headers, redirects and HTTP/2 as [`vedette_config::HttpClient`] says.
//!
//! Secrets and certificates in files are looked at with every request, so a change needs no reload.
//! Every request has a deadline and every body a limit. What fails is told in the words that users of
//! Prometheus know, without passwords. What is asked, and what becomes of the answer, is the business
//! of others; so is compression.

mod certificate;
mod connect;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod oauth2;
mod proxy;
mod redirect;
mod response;
mod sigv4;
mod source;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod tunnel;

use std::{
    error::Error as _,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use connect::{Connector, Ways};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT},
};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};
use vedette_config::{Auth, ClientTls, HttpClient};
use vedette_sys::Clock;

use crate::{
    oauth2::Tokens,
    proxy::{Proxies, ProxyScheme, basic},
    sigv4::Signer,
    source::Source,
    stream::Uses,
    tls::Tls,
};

pub use bytes::Bytes;
pub use certificate::{Certificate, CertificateRole};
pub use error::{CertificateTrouble, Error, ErrorKind};
pub use hyper::{HeaderMap, Method, Request, StatusCode, Uri, Version, header};
pub use oauth2::status_text;
pub use proxy::ProxyEnvironment;
pub use response::Response;

/// Connections that nobody has used for this long are closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// A connection of HTTP/2 that is silent for this long is asked whether it lives.
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// What a client is given beside its configuration.
#[derive(Clone)]
pub struct Options {
    /// The name that requests bear.
    pub user_agent: String,
    /// A socket that is connected to whatever the URL says, as for a Docker daemon.
    pub unix_socket: Option<PathBuf>,
    /// The proxies of the environment, for clients that shall use them.
    pub proxy_environment: ProxyEnvironment,
    /// Time, for tokens and files.
    pub clock: Arc<dyn Clock>,
}

/// Encryption for protocols other than HTTP, by the same configuration.
pub struct Encryption(Tls);

impl Encryption {
    /// Certificates that cannot be used are an error now; they are read again when their files change.
    pub fn new(config: &ClientTls, clock: &Arc<dyn Clock>) -> Result<Self, Error> {
        let tls = Tls::new(config, false, clock);
        tls.current()?;
        Ok(Self(tls))
    }

    /// What rustls is told now. It names no protocol, as that would be one of HTTP.
    pub fn current(&self) -> Result<Arc<ClientConfig>, Error> {
        let mut config = ClientConfig::clone(&*self.0.current()?);
        config.alpn_protocols.clear();
        Ok(Arc::new(config))
    }

    /// The name that certificates must have, where it is not that of the server; else empty.
    pub fn server_name(&self) -> &str {
        self.0.server_name()
    }
}

/// What a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the first attempt to connect to the last byte of the body.
    pub timeout: Duration,
    /// A longer body is an error.
    pub body_bytes_max: u64,
}

/// A client with its own connections, which are kept between requests. Clones share them.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

type Pool = legacy::Client<Connector, Full<Bytes>>;

struct Inner {
    authorization: Authorization,
    headers: Vec<(HeaderName, Vec<Source>)>,
    user_agent: HeaderValue,
    follow_redirects: bool,
    proxies: Arc<Proxies>,
    tunnel_headers: HeaderMap,
    unix_socket: Option<PathBuf>,
    tls: Tls,
    pool: Mutex<Option<CurrentPool>>,
}

/// Connections, and the trust that they were made by.
struct CurrentPool {
    tls: Option<Arc<ClientConfig>>,
    pool: Pool,
}

enum Authorization {
    None,
    Basic { username: Source, password: Option<Source> },
    Words { scheme: String, credentials: Option<Source> },
    OAuth2(Box<Tokens>),
    SigV4(Box<Signer>),
}

impl Client {
    /// Makes a client. Certificates that cannot be used are an error now; secrets are read later.
    pub fn new(config: &HttpClient, options: &Options) -> Result<Self, Error> {
        let source = |from| Source::new(from, options.clock.clone());
        let authorization = match &config.auth {
            Auth::None => Authorization::None,
            Auth::Basic { username, password } => {
                Authorization::Basic { username: source(username), password: password.as_ref().map(source) }
            }
            Auth::Authorization { scheme, credentials } => {
                Authorization::Words { scheme: scheme.clone(), credentials: credentials.as_ref().map(source) }
            }
            Auth::OAuth2(oauth2) => {
                Authorization::OAuth2(Box::new(Tokens::new(oauth2, config.enable_http2, options)?))
            }
            Auth::SigV4(sigv4) => {
                let env = |name: &str| std::env::var(name).ok();
                Authorization::SigV4(Box::new(Signer::new(sigv4, &env, &options.clock)?))
            }
        };
        let tls = Tls::new(&config.tls, config.enable_http2, &options.clock);
        if tls.is_configured() {
            tls.current()?;
        }
        let proxies = Proxies::new(&config.proxy, &options.proxy_environment)?;
        Ok(Self(Arc::new(Inner {
            authorization,
            headers: headers(config, options)?,
            user_agent: header_value("User-Agent", &options.user_agent)?,
            follow_redirects: config.follow_redirects,
            proxies: Arc::new(proxies),
            tunnel_headers: tunnel_headers(config)?,
            unix_socket: options.unix_socket.clone(),
            tls,
            pool: Mutex::new(None),
        })))
    }

    /// Sends a request and waits for the head of its answer. A status of any kind is an answer.
    pub async fn send(&self, request: Request<Bytes>, limits: Limits) -> Result<Response, Error> {
        // Far in the future where it is not bounded.
        let deadline = Instant::now() + limits.timeout.min(Duration::from_secs(86_400 * 365));
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let sent = timeout_at(deadline, self.follow(request)).await;
        match sent.unwrap_or_else(|_| Err(deadline_error())) {
            Ok(response) => Ok(Response::new(response, deadline, limits.body_bytes_max)),
            Err(error) => Err(error.within(&format!("{} {:?}: ", verb(&method), shown(&uri)))),
        }
    }

    /// The certificates that are in use between us and the server of this URL: what it showed last, also where
    /// it was refused, what we show, and whom a list of our own trusts. Nothing is asked of the server; what
    /// it shows is known from the first connection on, unless an encrypted proxy stands before it.
    pub fn certificates(&self, uri: &Uri) -> Vec<Certificate> {
        let inner = &self.0;
        if uri.scheme_str() != Some("https") {
            return Vec::new();
        }
        let mut all = inner.tls.certificates();
        // What was shown last may be that of the proxy.
        if inner.proxies.choose(uri).is_some_and(|proxy| proxy.scheme == ProxyScheme::Https) {
            all.retain(|one| matches!(one.role, CertificateRole::Client | CertificateRole::Authority));
        }
        all
    }

    async fn follow(&self, mut request: Request<Bytes>) -> Result<hyper::Response<Incoming>, Error> {
        let first = request.uri().clone();
        let mut hops = 0;
        loop {
            let before = redirect::Before::of(&request);
            let is_trusted = hops == 0 || redirect::keeps_secrets(&first, request.uri());
            let response = self.once(request, is_trusted).await?;
            if !self.0.follow_redirects {
                return Ok(response);
            }
            match before.next(&response, hops)? {
                Some(next) => request = next,
                None => return Ok(response),
            }
            hops += 1;
        }
    }

    /// One request and its answer; the client's secrets go along if the server is trusted with them.
    async fn once(
        &self,
        mut request: Request<Bytes>,
        is_trusted: bool,
    ) -> Result<hyper::Response<Incoming>, Error> {
        let inner = &self.0;
        inner.take_user_of_url(&mut request, is_trusted)?;
        if is_trusted {
            inner.add_secrets(request.headers_mut()).await?;
        } else {
            request.headers_mut().remove(AUTHORIZATION);
        }
        if !request.headers().contains_key(USER_AGENT) {
            request.headers_mut().insert(USER_AGENT, inner.user_agent.clone());
        }
        if let (true, Authorization::SigV4(signer)) = (is_trusted, &inner.authorization) {
            signer.sign(&mut request)?;
        }
        if request.uri().scheme_str() == Some("http")
            && let Some(proxy) = inner.proxies.choose(request.uri())
            && proxy.scheme != ProxyScheme::Socks5
            && let Some(value) = proxy.authorization()
        {
            request.headers_mut().insert(PROXY_AUTHORIZATION, value);
        }
        let pool = inner.pool(request.uri())?;
        let is_repeatable = matches!(*request.method(), Method::GET | Method::HEAD);
        let again = is_repeatable.then(|| copy(&request));
        let token = match &inner.authorization {
            Authorization::OAuth2(_) => request.headers().get(AUTHORIZATION).cloned(),
            _ => None,
        };
        let sent = match (pool.request(request.map(Full::new)).await, again) {
            // A server may close a connection that waits for work just when work is sent.
            (Err(error), Some(again)) if was_closed_idle(&error) => pool.request(again.map(Full::new)).await,
            (sent, _) => sent,
        };
        let response = sent.map_err(|e| transport_error(&e))?;
        if let Some(uses) = response.extensions().get::<Uses>() {
            uses.0.fetch_add(1, Ordering::Relaxed);
        }
        if let (StatusCode::UNAUTHORIZED, Some(token), Authorization::OAuth2(tokens)) =
            (response.status(), token, &inner.authorization)
        {
            tokens.forget(&token).await;
        }
        Ok(response)
    }
}

impl Inner {
    /// The connections of now. Where a certificate has changed, they are made anew.
    fn pool(&self, uri: &Uri) -> Result<Pool, Error> {
        let needs_tls = uri.scheme_str() == Some("https")
            || self.proxies.choose(uri).is_some_and(|proxy| proxy.scheme == ProxyScheme::Https);
        let tls = if needs_tls { Some(self.tls.current()?) } else { None };
        let mut current = self.pool.lock();
        if let Some(current) = &*current {
            let is_same = match (&tls, &current.tls) {
                (Some(new), Some(old)) => Arc::ptr_eq(new, old),
                (None, _) => true,
                (Some(_), None) => false,
            };
            if is_same {
                return Ok(current.pool.clone());
            }
        }
        let ways = Ways {
            tls: tls.clone(),
            server_name: self.tls.server_name().to_owned(),
            proxies: self.proxies.clone(),
            tunnel_headers: self.tunnel_headers.clone(),
            user_agent: self.user_agent.clone(),
            unix_socket: self.unix_socket.clone(),
        };
        let pool = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .build(Connector(Arc::new(ways)));
        *current = Some(CurrentPool { tls, pool: pool.clone() });
        Ok(pool)
    }

    /// Name and password that stand in the URL are sent in a header, and not in the URL.
    fn take_user_of_url(&self, request: &mut Request<Bytes>, is_trusted: bool) -> Result<(), Error> {
        let Some(authority) = request.uri().authority() else {
            return Err(Error::new(ErrorKind::Config, "unsupported protocol scheme \"\""));
        };
        let Some((user, host)) = authority.as_str().rsplit_once('@') else { return Ok(()) };
        let (name, password) = user.split_once(':').unwrap_or((user, ""));
        let value = basic(&proxy::decode_percent(name), &proxy::decode_percent(password));
        let mut parts = request.uri().clone().into_parts();
        let invalid = |_| Error::new(ErrorKind::Config, "the host of the URL is invalid");
        parts.authority = Some(host.parse().map_err(invalid)?);
        let uri = Uri::from_parts(parts);
        *request.uri_mut() = uri.map_err(|_| Error::new(ErrorKind::Config, "the URL is invalid"))?;
        if let Some(value) = value.filter(|_| is_trusted && !request.headers().contains_key(AUTHORIZATION)) {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(())
    }

    async fn add_secrets(&self, headers: &mut HeaderMap) -> Result<(), Error> {
        for (name, sources) in &self.headers {
            for source in sources {
                headers.append(name, header_value(name.as_str(), &source.text()?)?);
            }
        }
        let value = match &self.authorization {
            // A signature is made when all else is there.
            Authorization::None | Authorization::SigV4(_) => None,
            Authorization::Basic { username, password } => {
                let password = password.as_ref().map(Source::text).transpose()?.unwrap_or_default();
                basic(&username.text()?, &password)
            }
            Authorization::Words { scheme, credentials } => {
                let credentials = credentials.as_ref().map(Source::text).transpose()?.unwrap_or_default();
                let mut value = header_value("Authorization", &format!("{scheme} {credentials}"))?;
                value.set_sensitive(true);
                Some(value)
            }
            Authorization::OAuth2(tokens) => Some(tokens.header().await?),
        };
        if let Some(value) = value {
            headers.insert(AUTHORIZATION, value);
        }
        Ok(())
    }
}

fn headers(config: &HttpClient, options: &Options) -> Result<Vec<(HeaderName, Vec<Source>)>, Error> {
    use vedette_config::{Secret, SecretSource};
    let mut headers = Vec::new();
    for header in &config.headers {
        let name = header_name(&header.name)?;
        let plain = header.values.iter().map(|value| SecretSource::Inline(Secret::new(value)));
        let secret = header.secrets.iter().map(|secret| SecretSource::Inline(secret.clone()));
        let files = header.files.iter().map(|path| SecretSource::File(path.clone()));
        let all = plain.chain(secret).chain(files).map(|from| Source::new(&from, options.clock.clone()));
        headers.push((name, all.collect()));
    }
    Ok(headers)
}

fn tunnel_headers(config: &HttpClient) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, secrets) in &config.proxy.connect_headers {
        for secret in secrets {
            headers.append(header_name(name)?, header_value(name, secret.expose())?);
        }
    }
    Ok(headers)
}

fn header_name(name: &str) -> Result<HeaderName, Error> {
    name.parse().map_err(|_| Error::new(ErrorKind::Config, format!("{name:?} is no name of a header")))
}

fn header_value(name: &str, value: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(value).map_err(|_| {
        let text = format!("net/http: invalid header field value for {name:?}: it has control characters");
        Error::new(ErrorKind::Config, text)
    })
}

fn copy(request: &Request<Bytes>) -> Request<Bytes> {
    let mut copy = Request::new(request.body().clone());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy.headers_mut().remove(HOST);
    copy
}

/// Whether a connection that had carried requests before ended before the answer began.
fn was_closed_idle(error: &legacy::Error) -> bool {
    let mut extensions = hyper::http::Extensions::new();
    if let Some(connected) = error.connect_info() {
        connected.get_extras(&mut extensions);
    }
    let had_uses = extensions.get::<Uses>().is_some_and(|uses| uses.0.load(Ordering::Relaxed) > 0);
    had_uses && hyper_cause(error).is_some_and(|e| e.is_incomplete_message() || e.is_closed() || is_reset(e))
}

fn is_reset(error: &hyper::Error) -> bool {
    let inner = error.source().and_then(|e| e.downcast_ref::<std::io::Error>());
    inner.is_some_and(|e| {
        matches!(e.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe)
    })
}

fn hyper_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a hyper::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

pub(crate) fn deadline_error() -> Error {
    Error::new(ErrorKind::Timeout, "context deadline exceeded")
}

/// What hyper says, from the innermost cause that says most.
pub(crate) fn transport_error(error: &(dyn std::error::Error + 'static)) -> Error {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(own) = error.downcast_ref::<Error>() {
            return own.clone();
        }
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            // The cause of an I/O error may be one of encryption.
            if let Some(tls) = io.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
                return Error::tls(tls, "");
            }
            return Error::new(ErrorKind::Protocol, error::io_text(io));
        }
        next = error.source();
    }
    match hyper_cause(error) {
        Some(e) if e.is_incomplete_message() => Error::new(ErrorKind::Protocol, "EOF"),
        Some(e) if e.is_parse() => {
            Error::new(ErrorKind::Protocol, format!("net/http: malformed HTTP response: {e}"))
        }
        Some(e) => {
            let cause = e.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            Error::new(ErrorKind::Protocol, format!("{e}{cause}"))
        }
        None => Error::new(ErrorKind::Protocol, error.to_string()),
    }
}

/// `Get` and `Post`, as Go's programs print methods.
fn verb(method: &Method) -> String {
    let (first, rest) = method.as_str().split_at(1);
    format!("{first}{}", rest.to_ascii_lowercase())
}

/// A URL without its password.
fn shown(uri: &Uri) -> String {
    let text = uri.to_string();
    let Some(authority) = uri.authority().map(hyper::http::uri::Authority::as_str) else { return text };
    match authority.rsplit_once('@') {
        Some((user, host)) if user.contains(':') => {
            let name = user.split(':').next().unwrap_or_default();
            text.replacen(authority, &format!("{name}:***@{host}"), 1)
        }
        _ => text,
    }
}
