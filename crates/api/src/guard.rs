//! What every request passes before a handler sees it, and every answer on its way out.
//!
//! A server that asks nobody who they are trusts everyone on this machine, so the danger is a page in
//! a browser here that was sent by somebody else. Such a page can name this server by a host name of
//! its own (DNS rebinding) or send it forms blindly; both are refused. Where users are asked, any host
//! name is taken, as a page of a name of its own has no password for it; forms of other pages are
//! refused there too. Reading across origins fails by itself, unless [`cors`] allows it; pages that the
//! operator names may also ask by POST, and nothing more.

use std::net::IpAddr;

use hyper::{
    HeaderMap, StatusCode, Version,
    header::{self, HeaderName, HeaderValue},
    http::request::Parts,
};

use crate::{
    answer::{Answer, own_error},
    cors::{self, Origins},
    metrics::Metrics,
};

/// Only what comes from this server; styles may also stand in the page, because the editor and
/// the charts write theirs while they run. Nothing may put the pages into a frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'";

/// Refuses a request that was not made for this server, or by a page of another one.
pub fn check(head: &Parts, authenticated: bool, origins: &Origins, metrics: &Metrics) -> Option<Answer> {
    let Parts { method, uri, version, headers, .. } = head;
    let host = uri.authority().map(|a| a.as_str()).or_else(|| headers.get(header::HOST)?.to_str().ok());
    match host {
        Some(host) if authenticated || is_loopback_name(host) => {}
        // Browsers always name the host, HTTP/1.0 programs need not.
        None if *version == Version::HTTP_10 && !headers.contains_key(header::HOST) => {}
        _ => {
            metrics.refused_host.inc();
            return Some(own_error(
                StatusCode::MISDIRECTED_REQUEST,
                "the request names a host that this server does not answer for",
                "Use http://127.0.0.1 or http://localhost with this server's port.",
            ));
        }
    }
    let is_named = || headers.get(header::ORIGIN).is_some_and(|origin| origins.name(origin));
    if method.is_safe() || (cors::only_asks(method, uri.path()) && is_named()) {
        return None;
    }
    let foreign_site = headers
        .get("sec-fetch-site")
        .is_some_and(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"));
    let foreign_origin = headers.get(header::ORIGIN).is_some_and(|origin| {
        let authority =
            origin.to_str().ok().and_then(|o| o.split_once("://")).map(|(_, authority)| authority);
        authority.is_none() || authority != host
    });
    if foreign_site || foreign_origin {
        metrics.refused_origin.inc();
        return Some(own_error(
            StatusCode::FORBIDDEN,
            "a page of another origin sent this request",
            "Send it from Vedette's own pages, or from a program that is no browser.",
        ));
    }
    None
}

/// Adds the headers that every answer carries.
pub fn harden(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Whether `host`, with or without port, is a name of this machine's loopback device.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, tail)) if tail.is_empty() || is_port(tail) => address,
            _ => return false,
        },
        None => match host.find(':') {
            Some(colon) if is_port(&host[colon..]) => &host[..colon],
            Some(_) => return false,
            None => host,
        },
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() && (ip.is_ipv6() == host.starts_with('[')))
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|digits| digits.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_ours() {
        for (host, ours) in [
            ("localhost", true),
            ("LocalHost:9090", true),
            ("127.0.0.1", true),
            ("127.0.0.1:1", true),
            ("127.8.9.1:65535", true),
            ("[::1]", true),
            ("[::1]:9090", true),
            ("::1", false),
            ("", false),
            (":9090", false),
            ("localhost:", false),
            ("localhost:x", false),
            ("localhost:99999", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("evil.example:9090", false),
            ("192.168.0.1", false),
            ("0.0.0.0", false),
            ("[::1].evil.example", false),
            ("[127.0.0.1]", false),
            ("[::1", false),
            ("user@localhost", false),
        ] {
            assert_eq!(is_loopback_name(host), ours, "{host:?}");
        }
    }
}
