//! `web.yml`: encryption, users and headers of the web server, as Prometheus' programs read it.

use std::time::Duration;

use crate::{
    Pem, Secret, SecretSource, TlsVersion,
    fields::{Fields, Result, Source},
    shown::Shown,
    yaml::{self, Value},
};

use std::path::{Path, PathBuf};

/// A whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Encryption; none where it is not given.
    pub tls: Option<ServerTls>,
    /// Whether HTTP/2 is spoken; only with encryption.
    pub http2: bool,
    /// Headers of every answer.
    pub headers: Vec<(String, String)>,
    /// Names and bcrypt hashes of passwords; none means that nobody is asked.
    pub users: Vec<(String, Secret)>,
    /// How many requests are answered, if that is bounded.
    pub rate_limit: Option<RateLimit>,
    shown: Shown,
}

/// Encryption, seen from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The certificate.
    pub certificate: Pem,
    /// Its key.
    pub key: Pem,
    /// Whose certificates of clients are trusted.
    pub client_ca: Option<Pem>,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
    /// Names of which a client's certificate must have one; any where it is empty.
    pub client_allowed_sans: Vec<String>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// The newest.
    pub max_version: TlsVersion,
    /// Ciphers of TLS 1.2 by their names in RFCs; the usual ones where it is empty.
    pub cipher_suites: Vec<String>,
    /// Curves, the best first; the usual ones where it is empty.
    pub curve_preferences: Vec<String>,
}

/// Whether clients show a certificate, and whether it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// They are asked.
    Request,
    /// They must.
    RequireAny,
    /// They need not, but a wrong one is refused.
    VerifyIfGiven,
    /// They must, and a wrong one is refused.
    RequireAndVerify,
}

/// How many requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests at once.
    pub burst: u64,
    /// Time after which one more is answered.
    pub interval: Duration,
}

const CIPHERS: [&str; 13] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

const CURVES: [&str; 5] = ["CurveP256", "CurveP384", "CurveP521", "X25519", "X25519MLKEM768"];

/// The headers that can be set, and for some the values that they can have.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

impl Config {
    /// The configuration as it is shown: all defaults, no secrets.
    pub fn to_yaml(&self) -> String {
        self.shown.to_yaml()
    }
}

/// Reads the text of the file at `path`, which gives errors their name and paths their folder.
pub fn parse(path: &Path, text: &str) -> Result<Config> {
    let name = path.display().to_string();
    let node = yaml::read(&name, text)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut fields = Fields::of(Source { file: &name, folder }, "", &node)?;
    let tls = fields.section("tls_server_config", "tls_server_config", tls)?.flatten();
    let (http2, headers) = fields.section_or_default("http_server_config", "http_server_config", |f| {
        let http2 = f.flag("http2", true)?;
        Ok((http2, headers(f)?))
    })?;
    let users = users(&mut fields)?;
    let rate_limit = fields
        .section("rate_limit", "rate_limit", |f| {
            let limit =
                RateLimit { burst: f.count("burst", 0)?, interval: f.duration("interval", Duration::ZERO)? };
            Ok((!limit.interval.is_zero()).then_some(limit))
        })?
        .flatten();
    let shown = fields.finish("web.yml")?;
    Ok(Config { tls, http2, headers, users, rate_limit, shown })
}

fn tls(fields: &mut Fields<'_>) -> Result<Option<ServerTls>> {
    let certificate = pem(fields, "cert", "cert_file", false)?;
    let key = pem(fields, "key", "key_file", true)?;
    let client_ca = pem(fields, "client_ca", "client_ca_file", false)?;
    let client_auth = match fields.text_or("client_auth_type", "")?.as_str() {
        "" | "NoClientCert" => ClientAuth::None,
        "RequestClientCert" => ClientAuth::Request,
        "RequireAnyClientCert" | "RequireClientCert" => ClientAuth::RequireAny,
        "VerifyClientCertIfGiven" => ClientAuth::VerifyIfGiven,
        "RequireAndVerifyClientCert" => ClientAuth::RequireAndVerify,
        other => {
            let reason = format!(
                "unknown client_auth_type {other:?}; use one of NoClientCert, RequestClientCert, \
                 RequireAnyClientCert, VerifyClientCertIfGiven and RequireAndVerifyClientCert"
            );
            return Err(fields.refuse("client_auth_type", reason));
        }
    };
    let client_allowed_sans = fields.texts("client_allowed_sans")?;
    let min_version = TlsVersion::read(fields, "min_version")?.unwrap_or(TlsVersion::Tls12);
    let max_version = TlsVersion::read(fields, "max_version")?.unwrap_or(TlsVersion::Tls13);
    if min_version > max_version {
        return Err(fields.refuse("min_version", "min_version is newer than max_version"));
    }
    let cipher_suites = known_words(fields, "cipher_suites", "cipher", &CIPHERS)?;
    let curve_preferences = known_words(fields, "curve_preferences", "curve", &CURVES)?;
    fields.flag("prefer_server_cipher_suites", true)?;
    if certificate.is_none() && key.is_none() && client_ca.is_none() && client_auth == ClientAuth::None {
        return Ok(None);
    }
    let Some(certificate) = certificate else {
        return Err(fields.refuse("cert_file", "there is no certificate; add cert or cert_file"));
    };
    let Some(key) = key else {
        return Err(fields.refuse("key_file", "there is no key; add key or key_file"));
    };
    if client_ca.is_some() && client_auth == ClientAuth::None {
        let reason = "client_ca has no meaning unless client_auth_type asks clients for a certificate";
        return Err(fields.refuse("client_auth_type", reason));
    }
    Ok(Some(ServerTls {
        certificate,
        key,
        client_ca,
        client_auth,
        client_allowed_sans,
        min_version,
        max_version,
        cipher_suites,
        curve_preferences,
    }))
}

fn pem(fields: &mut Fields<'_>, inline: &str, file: &str, hide: bool) -> Result<Option<Pem>> {
    fields.at_most_one(&[inline, file])?;
    let text = if hide { fields.secret(inline)? } else { fields.text(inline)?.map(Secret::new) };
    let path: Option<PathBuf> = fields.path(file)?;
    Ok(text
        .filter(|text| !text.expose().is_empty())
        .map(SecretSource::Inline)
        .or(path.map(SecretSource::File)))
}

fn known_words(fields: &mut Fields<'_>, key: &str, what: &str, known: &[&str]) -> Result<Vec<String>> {
    let words = fields.texts(key)?;
    match words.iter().find(|word| !known.contains(&word.as_str())) {
        Some(word) => {
            Err(fields.refuse(key, format!("unknown {what} {word:?}; known are {}", known.join(", "))))
        }
        None => Ok(words),
    }
}

fn headers(fields: &mut Fields<'_>) -> Result<Vec<(String, String)>> {
    let headers = fields.text_map("headers")?;
    for (name, value) in &headers {
        let Some((_, values)) = HEADERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) else {
            let known = HEADERS.map(|(name, _)| name).join(", ");
            return Err(fields.refuse("headers", format!("the header {name:?} cannot be set; {known} can")));
        };
        if !values.is_empty() && !values.contains(&value.to_ascii_lowercase().as_str()) {
            let reason = format!("{value:?} is no value of {name}; use {}", values.join(" or "));
            return Err(fields.refuse("headers", reason));
        }
    }
    Ok(headers)
}

fn users(fields: &mut Fields<'_>) -> Result<Vec<(String, Secret)>> {
    const KEY: &str = "basic_auth_users";
    let Some(node) = fields.node(KEY) else { return Ok(Vec::new()) };
    let mut inner = Fields::of(fields.source(), &fields.path_of(KEY), node)?;
    let mut users = Vec::new();
    for name in inner.keys() {
        let hash = inner.secret(&name)?.unwrap_or_default();
        if !is_bcrypt(hash.expose()) {
            let reason = "the password is no bcrypt hash; make one with `htpasswd -nBC 10 \"\"`";
            return Err(inner.refuse(&name, reason));
        }
        users.push((name, hash));
    }
    if let Value::Map(_) = node.value {
        fields.show(KEY, inner.finish(KEY)?);
    }
    Ok(users)
}

/// `$2y$10$` and 53 letters.
fn is_bcrypt(hash: &str) -> bool {
    let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|version| hash.strip_prefix(version));
    let Some((cost, rest)) = rest.and_then(|rest| rest.split_once('$')) else { return false };
    cost.len() == 2
        && cost.parse().is_ok_and(|cost: u8| (4..=31).contains(&cost))
        && rest.len() == 53
        && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

    fn read(text: &str) -> std::result::Result<Config, String> {
        parse(Path::new("/etc/web.yml"), text).map_err(|e| e.to_string())
    }

    #[test]
    fn a_whole_file_is_read_and_shown_without_secrets() {
        let text = format!(
            "tls_server_config:\n  cert_file: c.pem\n  key_file: /k.pem\n  client_ca_file: ca.pem\n  \
             client_auth_type: RequireAndVerifyClientCert\n  min_version: TLS13\n  \
             curve_preferences: [X25519]\nhttp_server_config:\n  http2: false\n  headers:\n    \
             X-Frame-Options: DENY\nbasic_auth_users:\n  alice: {HASH}\nrate_limit: {{burst: 3, interval: 1s}}\n"
        );
        let config = read(&text).expect("sound");
        let tls = config.tls.as_ref().expect("encryption");
        assert_eq!(tls.certificate, SecretSource::File("/etc/c.pem".into()));
        assert_eq!(tls.key, SecretSource::File("/k.pem".into()));
        assert_eq!((tls.client_auth, tls.min_version), (ClientAuth::RequireAndVerify, TlsVersion::Tls13));
        assert_eq!(config.users[0].1.expose(), HASH);
        assert_eq!(config.rate_limit, Some(RateLimit { burst: 3, interval: Duration::from_secs(1) }));
        assert!(!config.http2);
        let shown = config.to_yaml();
        assert!(shown.contains("alice: <secret>") && !shown.contains(HASH), "{shown}");
    }

    #[test]
    fn an_empty_file_asks_for_nothing() {
        let config = read("").expect("sound");
        assert_eq!((config.tls, config.users, config.http2), (None, Vec::new(), true));
        assert_eq!(read("tls_server_config: {min_version: TLS12}").expect("sound").tls, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, words) in [
            ("tls_server_config:\n  cert_file: x", &["web.yml:2", "key"][..]),
            ("tls_server_config:\n  key_file: x", &["cert"]),
            ("tls_server_config: {cert: a, cert_file: b}", &["cert_file", "only one"]),
            ("tls_server_config: {cert: a, key: b, client_ca: c}", &["client_auth_type"]),
            ("tls_server_config: {client_auth_type: Maybe}", &["Maybe", "NoClientCert"]),
            ("tls_server_config: {min_version: TLS14}", &["TLS14"]),
            ("tls_server_config: {min_version: TLS13, max_version: TLS12}", &["min_version"]),
            ("tls_server_config: {cipher_suites: [X]}", &["cipher", "X"]),
            ("tls_server_config: {curve_preferences: [X]}", &["curve"]),
            ("http_server_config:\n  headers:\n    X-Powered-By: a", &["X-Powered-By", "web.yml:2"]),
            ("http_server_config: {headers: {X-Frame-Options: maybe}}", &["deny"]),
            ("basic_auth_users:\n  bob: secret", &["web.yml:2", "bcrypt", "bob"]),
            ("basic_auth_user: {}", &["basic_auth_user"]),
        ] {
            let error = read(text).expect_err(text);
            for word in words {
                assert!(error.contains(word), "{error} lacks {word}");
            }
            assert!(!error.contains("secret;"), "{error}");
        }
    }
}
