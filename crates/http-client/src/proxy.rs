//! Which requests go by which proxy.
//!
//! The meaning of `no_proxy` is that of Go's programs: names with all below them, `.name` for only
//! what is below, addresses, networks in CIDR form, each perhaps with a port, and `*` for all.

use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{Uri, header::HeaderValue};
use url::Url;
use vedette_config::Proxy;

use crate::{Error, ErrorKind};

/// The proxies that the environment of the process names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyEnvironment {
    /// For `http://`.
    pub http: Option<String>,
    /// For `https://`.
    pub https: Option<String>,
    /// Hosts that are reached without.
    pub no_proxy: String,
}

impl ProxyEnvironment {
    /// Reads `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, also in small letters.
    pub fn read(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| {
            let set = |name: &str| env(name).filter(|value| !value.is_empty());
            set(name).or_else(|| set(&name.to_ascii_lowercase()))
        };
        Self {
            http: either("HTTP_PROXY"),
            https: either("HTTPS_PROXY"),
            no_proxy: either("NO_PROXY").unwrap_or_default(),
        }
    }
}

/// The rules of one client.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    http: Option<Server>,
    https: Option<Server>,
    exceptions: Vec<Exception>,
    /// Whether the machine itself is always reached without.
    spares_loopback: bool,
}

/// A proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) scheme: ProxyScheme,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Name and password.
    pub(crate) user: Option<(String, String)>,
}

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyScheme {
    Http,
    Https,
    Socks5,
}

#[derive(Debug, PartialEq, Eq)]
enum Exception {
    All,
    /// An address or a network with the length of its prefix, perhaps one port.
    Network(IpAddr, u8, Option<u16>),
    /// A name; whether it is itself meant beside what is below it, perhaps one port.
    Name(String, bool, Option<u16>),
}

impl Proxies {
    pub(crate) fn new(config: &Proxy, environment: &ProxyEnvironment) -> Result<Self, Error> {
        if config.from_environment {
            let server = |text: &Option<String>| text.as_deref().map(Server::parse).transpose();
            return Ok(Self {
                http: server(&environment.http)?,
                https: server(&environment.https)?,
                exceptions: exceptions(&environment.no_proxy),
                spares_loopback: true,
            });
        }
        let server = config.url.as_ref().map(Server::of).transpose()?;
        Ok(Self {
            http: server.clone(),
            https: server,
            exceptions: exceptions(&config.no_proxy),
            // As in Prometheus: a proxy alone takes all.
            spares_loopback: !config.no_proxy.is_empty(),
        })
    }

    /// The proxy for a request.
    pub(crate) fn choose(&self, uri: &Uri) -> Option<&Server> {
        let is_https = uri.scheme_str() == Some("https");
        let server = if is_https { self.https.as_ref() } else { self.http.as_ref() }?;
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        let host = host.to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let address: Option<IpAddr> = host.parse().ok();
        if self.spares_loopback && (host == "localhost" || address.is_some_and(|ip| ip.is_loopback())) {
            return None;
        }
        let is_exempt = self.exceptions.iter().any(|exception| exception.fits(&host, address, port));
        (!is_exempt).then_some(server)
    }
}

impl Server {
    fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |reason: String| Error::new(ErrorKind::Config, format!("invalid proxy: {reason}"));
        let parsed = match Url::parse(text) {
            Ok(url) if url.has_host() => Ok(url),
            // The environment may name host and port only.
            _ => Url::parse(&format!("http://{text}")),
        };
        Self::of(&parsed.map_err(|e| refuse(e.to_string()))?)
    }

    fn of(url: &Url) -> Result<Self, Error> {
        let refuse = |reason: String| Error::new(ErrorKind::Config, format!("invalid proxy: {reason}"));
        let (scheme, port) = match url.scheme() {
            "http" => (ProxyScheme::Http, 80),
            "https" => (ProxyScheme::Https, 443),
            "socks5" | "socks5h" => (ProxyScheme::Socks5, 1080),
            other => {
                return Err(refuse(format!(
                    "the scheme {other:?} is none of http, https, socks5 and socks5h"
                )));
            }
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| refuse("it has no host".to_owned()))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let plain = |text: &str| decode_percent(text);
        let user = (!url.username().is_empty())
            .then(|| (plain(url.username()), plain(url.password().unwrap_or_default())));
        Ok(Self { scheme, host, port: url.port().unwrap_or(port), user })
    }

    /// The header by which the proxy knows us.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        let (name, password) = self.user.as_ref()?;
        basic(name, password)
    }
}

/// The value of `Authorization` for a name and a password. Base64 fits into a header.
pub(crate) fn basic(name: &str, password: &str) -> Option<HeaderValue> {
    let text = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Text of a URL's part as it is meant.
pub(crate) fn decode_percent(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

fn exceptions(text: &str) -> Vec<Exception> {
    text.split(',').map(|part| part.trim().to_ascii_lowercase()).filter_map(|part| exception(&part)).collect()
}

fn exception(part: &str) -> Option<Exception> {
    if part.is_empty() {
        return None;
    }
    if part == "*" {
        return Some(Exception::All);
    }
    if let Some((address, bits)) = part.split_once('/')
        && let (Ok(address), Ok(bits)) = (address.parse::<IpAddr>(), bits.parse::<u8>())
    {
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        return (bits <= bits_max).then_some(Exception::Network(address, bits, None));
    }
    let (host, port) = host_and_port(part);
    if let Ok(address) = host.parse::<IpAddr>() {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        return Some(Exception::Network(address, bits, port));
    }
    let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
    Some(match host.strip_prefix('.') {
        Some("") => return None,
        Some(below) => Exception::Name(below.to_owned(), false, port),
        None => Exception::Name(host.to_owned(), true, port),
    })
}

fn host_and_port(part: &str) -> (&str, Option<u16>) {
    if let Some((host, rest)) = part.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match part.rsplit_once(':') {
        // Several colons without brackets are an IPv6 address.
        Some((host, port)) if !host.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (part, None),
        },
        _ => (part, None),
    }
}

impl Exception {
    fn fits(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Network(network, bits, only) => {
                only.is_none_or(|only| only == port)
                    && address.is_some_and(|ip| is_within(ip, *network, *bits))
            }
            Self::Name(name, with_itself, only) => {
                only.is_none_or(|only| only == port)
                    && host.strip_suffix(name.as_str()).is_some_and(|before| {
                        if before.is_empty() { *with_itself } else { before.ends_with('.') }
                    })
            }
        }
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let (a, b, width) = match (address.to_canonical(), network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    bits == 0 || (a ^ b) >> (width - u32::from(bits)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(url: &str, no_proxy: &str) -> Proxies {
        let url = Some(Url::parse(url).expect("a URL"));
        let config = Proxy { url, no_proxy: no_proxy.into(), ..Proxy::default() };
        Proxies::new(&config, &ProxyEnvironment::default()).expect("sound")
    }

    fn is_proxied(proxies: &Proxies, uri: &str) -> bool {
        proxies.choose(&uri.parse().expect("a URI")).is_some()
    }

    #[test]
    fn exceptions_mean_what_they_mean_in_go() {
        let rules =
            "example.com, .below.org, 10.0.0.0/8, 192.168.1.7, fd00::/16, host:81, [::2]:82, *.star.net,,";
        let rules = proxies("http://p:3128", rules);
        for (uri, proxied) in [
            ("http://example.com/", false),
            ("https://a.example.com:9090/x", false),
            ("http://EXAMPLE.com./", false),
            ("http://notexample.com/", true),
            ("http://below.org/", true),
            ("http://a.below.org/", false),
            ("http://10.255.0.1/", false),
            ("http://11.0.0.1/", true),
            ("http://192.168.1.7:1/", false),
            ("http://192.168.1.8/", true),
            ("http://[fd00::5]/", false),
            ("http://[fe00::5]/", true),
            ("http://host:81/", false),
            ("http://host/", true),
            ("http://[::2]:82/", false),
            ("http://[::2]/", true),
            ("http://x.star.net/", false),
            ("http://localhost/", false),
            ("http://127.8.8.8/", false),
            ("http://[::1]/", false),
        ] {
            assert_eq!(is_proxied(&rules, uri), proxied, "{uri}");
        }
        assert!(!is_proxied(&proxies("http://p", "*"), "http://any/"));
        // Without exceptions there are none, not even the machine itself.
        assert!(is_proxied(&proxies("http://p", ""), "http://localhost/"));
    }

    #[test]
    fn the_environment_names_a_proxy_for_each_scheme() {
        let env = |name: &str| match name {
            "HTTP_PROXY" => Some("u%40x:p@one:1".to_owned()),
            "https_proxy" => Some("socks5://two".to_owned()),
            "no_proxy" => Some("three".to_owned()),
            _ => None,
        };
        let environment = ProxyEnvironment::read(&env);
        let config = Proxy { from_environment: true, ..Proxy::default() };
        let proxies = Proxies::new(&config, &environment).expect("sound");
        let one = proxies.choose(&"http://a/".parse().expect("a URI")).expect("proxied");
        assert_eq!((one.host.as_str(), one.port, one.scheme), ("one", 1, ProxyScheme::Http));
        assert_eq!(one.user, Some(("u@x".to_owned(), "p".to_owned())));
        let two = proxies.choose(&"https://a/".parse().expect("a URI")).expect("proxied");
        assert_eq!((two.host.as_str(), two.port, two.scheme), ("two", 1080, ProxyScheme::Socks5));
        assert!(!is_proxied(&proxies, "http://three/") && !is_proxied(&proxies, "http://localhost/"));
        let nothing = Proxies::new(&config, &ProxyEnvironment::default()).expect("sound");
        assert!(!is_proxied(&nothing, "http://a/"));
        let wrong = ProxyEnvironment { http: Some("ftp://x".into()), ..ProxyEnvironment::default() };
        assert!(Proxies::new(&config, &wrong).expect_err("ftp").to_string().contains("socks5"));
    }
}
