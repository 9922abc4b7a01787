//! Asks a target and reads its answer as it came, within its time and the limit of its size.

use std::{sync::Arc, time::Duration};

use tokio::net::TcpStream;
use vedette_config::{Auth, HttpClient, Proxy, prometheus::ScrapeJob};
use vedette_http_client::{Bytes, Client, ErrorKind, Limits, Method, Request, header, status_text};
use vedette_scrape::{Target, request_headers};

use super::{
    body::Body,
    budget::{Budget, Lease},
    failure::Failure,
    lane::Spare,
    metrics::Metrics,
    plain::{self, Answer, Asked},
    spec::{Live, Spec},
};

/// Connections of targets that are asked less often are not kept.
const KEPT_MAX: Duration = Duration::from_secs(300);

/// How the targets of a job are asked.
pub(crate) struct Fetcher {
    client: Client,
    /// Whether targets without encryption need nothing of the client.
    is_plain: bool,
    follows_redirects: bool,
    user_agent: String,
    body_bytes_max: u64,
    limit: &'static str,
    budget: Arc<Budget>,
    spare: Arc<Spare>,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("is_plain", &self.is_plain).finish_non_exhaustive()
    }
}

/// What all fetchers share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) user_agent: String,
    pub(crate) body_bytes_max: u64,
    pub(crate) budget: Arc<Budget>,
    pub(crate) spare: Arc<Spare>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Fetcher {
    pub(crate) fn new(job: &ScrapeJob, client: Client, shared: &Shared) -> Self {
        let HttpClient { auth, proxy, headers, follow_redirects, .. } = &job.client;
        let limit = job.limits.body_bytes;
        let (body_bytes_max, limit) = if limit == 0 {
            (shared.body_bytes_max, "limit of this server; set body_size_limit for the job to allow more")
        } else {
            (limit, "body_size_limit of the job (body size limit exceeded)")
        };
        Self {
            client,
            is_plain: *auth == Auth::None && *proxy == Proxy::default() && headers.is_empty(),
            follows_redirects: *follow_redirects,
            user_agent: shared.user_agent.clone(),
            body_bytes_max,
            limit,
            budget: Arc::clone(&shared.budget),
            spare: Arc::clone(&shared.spare),
            metrics: Arc::clone(&shared.metrics),
        }
    }

    /// Asks a target once, over a new connection or by the client of the job, within the time that is
    /// left. Gives the connection as well, where it can be kept.
    pub(crate) async fn fetch(
        &self,
        live: &Live,
        spec: &Spec,
        left: Duration,
    ) -> (Result<Body, Failure>, Option<TcpStream>) {
        // A redirect is followed within the same time.
        let fetched = tokio::time::timeout(left, self.fetch_patiently(live, spec, left)).await;
        fetched.unwrap_or_else(|_| (Err(late(spec)), None))
    }

    async fn fetch_patiently(
        &self,
        live: &Live,
        spec: &Spec,
        left: Duration,
    ) -> (Result<Body, Failure>, Option<TcpStream>) {
        if let Some(request) = &spec.request {
            match self.ask_plainly(live, spec, request).await {
                Err(failure) => return (Err(failure), None),
                Ok((asked, answer, connection)) => {
                    if let Some(result) = self.body(asked, answer) {
                        return (result, connection.filter(|_| spec.target.interval <= KEPT_MAX));
                    }
                }
            }
        }
        (self.ask_client(spec, left).await, None)
    }

    /// Room for the answer of a target.
    pub(crate) fn answer(&self, live: &Live) -> Answer {
        let mut bytes = self.spare.lock().pop().unwrap_or_default();
        let hint = live.status.lock().bytes;
        if hint > bytes.capacity() && hint < 1 << 20 {
            bytes.clear();
            bytes.reserve(hint + 1024);
        }
        Answer::new(bytes, self.budget.lease(self.limit))
    }

    /// The most bytes that a body may have.
    pub(crate) fn body_bytes_max(&self) -> u64 {
        self.body_bytes_max
    }

    /// What an answer without encryption says; nothing where it says to ask elsewhere.
    pub(crate) fn body(&self, asked: Asked, answer: Answer) -> Option<Result<Body, Failure>> {
        let Asked { head, start, .. } = asked;
        let is_redirect = matches!(head.status, 301 | 302 | 303 | 307 | 308);
        if head.status == 200 {
            let (bytes, lease) = answer.into_parts();
            let (content_type, encoding) = (head.content_type, head.encoding);
            return Some(Ok(Body { bytes, start, content_type, encoding, lease }));
        }
        if is_redirect && self.follows_redirects {
            return None;
        }
        let status = format!("{} {}", head.status, head.reason);
        Some(Err(Failure::Status(status.trim_end().to_owned())))
    }

    async fn ask_plainly(
        &self,
        live: &Live,
        spec: &Spec,
        request: &[u8],
    ) -> Result<(Asked, Answer, Option<TcpStream>), Failure> {
        let url = &spec.target.url;
        let host = url.host_str().unwrap_or_default();
        // An address of IPv6 stands in brackets in a URL only.
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        self.metrics.connections.inc();
        let mut stream = plain::open(host, url.port_or_known_default().unwrap_or(80)).await?;
        let mut answer = self.answer(live);
        let asked = plain::ask(&mut stream, request, &mut answer, self.body_bytes_max).await?;
        let is_kept = asked.is_kept;
        Ok((asked, answer, is_kept.then_some(stream)))
    }

    /// The request for a connection without encryption, where such a one does.
    pub(crate) fn request(&self, job: &ScrapeJob, target: &Target) -> Option<Box<[u8]>> {
        let url = &target.url;
        if !self.is_plain || url.scheme() != "http" || !url.username().is_empty() {
            return None;
        }
        let mut text = format!("GET {}", url.path());
        if let Some(query) = url.query() {
            text.push('?');
            text.push_str(query);
        }
        text.push_str(" HTTP/1.1\r\nHost: ");
        text.push_str(url.host_str().unwrap_or_default());
        if let Some(port) = url.port() {
            text.push_str(&format!(":{port}"));
        }
        text.push_str(&format!("\r\nUser-Agent: {}\r\n", self.user_agent));
        for (name, value) in request_headers(job, target.timeout) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        Some(text.into_bytes().into())
    }

    async fn ask_client(&self, spec: &Spec, left: Duration) -> Result<Body, Failure> {
        let mut bytes = self.spare.lock().pop().unwrap_or_default();
        bytes.clear();
        let mut lease: Lease = self.budget.lease(self.limit);
        let target = &spec.target;
        let failure = |e: vedette_http_client::Error| match e.kind() {
            ErrorKind::Timeout => late(spec),
            ErrorKind::BodyTooLarge => Failure::BodySize { max: self.body_bytes_max, limit: self.limit },
            _ => Failure::Http(e.to_string()),
        };
        let mut request = Request::builder().method(Method::GET).uri(target.url.as_str());
        for (name, value) in request_headers(&spec.job, target.timeout) {
            request = request.header(name, value);
        }
        let request = request.body(Bytes::new()).map_err(|e| Failure::Http(e.to_string()))?;
        let limits = Limits { timeout: left, body_bytes_max: self.body_bytes_max };
        let mut response = self.client.send(request, limits).await.map_err(failure)?;
        if response.status().as_u16() != 200 {
            return Err(Failure::Status(status_text(response.status())));
        }
        let text = |name| {
            let value = response.headers().get(name);
            value.map_or_else(String::new, |value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let content_type = text(header::CONTENT_TYPE);
        let encoding = text(header::CONTENT_ENCODING).trim().to_ascii_lowercase();
        while let Some(piece) = response.chunk().await.map_err(failure)? {
            lease.grow(bytes.len() + piece.len())?;
            bytes.extend_from_slice(&piece);
        }
        Ok(Body { bytes, start: 0, content_type, encoding, lease })
    }
}

/// The failure of a target that did not answer in time.
pub(crate) fn late(spec: &Spec) -> Failure {
    Failure::Timeout { timeout: spec.target.timeout, what: "context deadline exceeded" }
}
