//! What a redirect asks for next, and whom secrets may follow.

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    body::Incoming,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION, TRANSFER_ENCODING},
};

use crate::{Error, ErrorKind};

const REDIRECTS_MAX: usize = 10;

/// A request as it was before it was sent.
pub(crate) struct Before {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Before {
    pub(crate) fn of(request: &Request<Bytes>) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            body: request.body().clone(),
        }
    }

    /// The request that an answer asks for, if it does. `hops` is how many there were.
    pub(crate) fn next(
        self,
        response: &Response<Incoming>,
        hops: usize,
    ) -> Result<Option<Request<Bytes>>, Error> {
        let keeps_method = match response.status() {
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => false,
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
            _ => return Ok(None),
        };
        let Some(location) = response.headers().get(LOCATION) else { return Ok(None) };
        if hops >= REDIRECTS_MAX {
            return Err(Error::new(ErrorKind::Protocol, format!("stopped after {REDIRECTS_MAX} redirects")));
        }
        let invalid = || {
            let text = "failed to parse Location header of a redirect: it is no URL of http or https";
            Error::new(ErrorKind::Protocol, text)
        };
        let base = url::Url::parse(&self.uri.to_string()).map_err(|_| invalid())?;
        let mut url = location.to_str().ok().and_then(|to| base.join(to).ok()).ok_or_else(invalid)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid());
        }
        url.set_fragment(None);
        let mut request = Request::new(self.body);
        *request.uri_mut() = url.as_str().parse().map_err(|_| invalid())?;
        *request.headers_mut() = self.headers;
        request.headers_mut().remove(HOST);
        *request.method_mut() = self.method.clone();
        if !keeps_method && !matches!(self.method, Method::GET | Method::HEAD) {
            *request.method_mut() = Method::GET;
            *request.body_mut() = Bytes::new();
            for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, TRANSFER_ENCODING] {
                request.headers_mut().remove(name);
            }
        }
        Ok(Some(request))
    }
}

/// Whether secrets for one server may be sent to another: the same host or one below it, and not from
/// an encrypted connection to an open one.
pub(crate) fn keeps_secrets(first: &Uri, next: &Uri) -> bool {
    let host = |uri: &Uri| uri.host().unwrap_or_default().to_ascii_lowercase();
    let (from, to) = (host(first), host(next));
    let is_below = || to.strip_suffix(from.as_str()).is_some_and(|before| before.ends_with('.'));
    let is_open = first.scheme_str() == Some("https") && next.scheme_str() != Some("https");
    !is_open && (from == to || is_below())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_with_their_server() {
        for (first, next, keeps) in [
            ("http://a/", "http://A:81/x", true),
            ("http://a.b/", "http://x.a.b/", true),
            ("http://a.b/", "http://xa.b/", false),
            ("http://a.b/", "http://b/", false),
            ("http://a/", "https://a/", true),
            ("https://a/", "http://a/", false),
        ] {
            let uri = |text: &str| text.parse::<Uri>().expect("a URI");
            assert_eq!(keeps_secrets(&uri(first), &uri(next)), keeps, "{first} {next}");
        }
    }
}
