//! How a server is reached over HTTP: who one is, whom one trusts, by which way.
//!
//! The keys stand among those of whatever has a client: scrape jobs, discovery, remote write.

use std::path::PathBuf;

use url::Url;

use crate::{
    Secret, SecretSource,
    fields::{Fields, Result},
    shown::Shown,
};

/// A client of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpClient {
    /// Who one is.
    pub auth: Auth,
    /// Encryption.
    pub tls: ClientTls,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
    /// Whether HTTP/2 may be spoken.
    pub enable_http2: bool,
    /// By which proxy.
    pub proxy: Proxy,
    /// Headers that every request has.
    pub headers: Vec<Header>,
}

impl Default for HttpClient {
    fn default() -> Self {
        Self {
            auth: Auth::None,
            tls: ClientTls::default(),
            follow_redirects: true,
            enable_http2: true,
            proxy: Proxy::default(),
            headers: Vec::new(),
        }
    }
}

/// Who one is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Auth {
    /// Nobody in particular.
    #[default]
    None,
    /// A name and a password.
    Basic {
        /// The name.
        username: SecretSource,
        /// The password; none is an empty one.
        password: Option<SecretSource>,
    },
    /// The header `Authorization`.
    Authorization {
        /// Its first word, `Bearer` for tokens.
        scheme: String,
        /// The rest.
        credentials: Option<SecretSource>,
    },
    /// A token that another server gives.
    OAuth2(Box<OAuth2>),
    /// A signature of AWS, version 4, of each request.
    SigV4(Box<SigV4>),
}

/// How requests are signed for AWS. What is empty is taken from where AWS' own programs take it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SigV4 {
    /// For which region.
    pub region: String,
    /// The name of the key.
    pub access_key: String,
    /// The key.
    pub secret_key: Option<Secret>,
    /// Which keys of the file that the tools of AWS share.
    pub profile: String,
    /// For which service.
    pub service_name: String,
}

/// How a token is asked for, with the grant of client credentials or a signed assertion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth2 {
    /// The client's name.
    pub client_id: String,
    /// Its password.
    pub client_secret: Option<SecretSource>,
    /// A key that signs an assertion instead of a password, and how.
    pub assertion: Option<Assertion>,
    /// What the token is to be good for.
    pub scopes: Vec<String>,
    /// Where it is asked for.
    pub token_url: Url,
    /// Further parameters.
    pub endpoint_params: Vec<(String, String)>,
    /// Encryption.
    pub tls: ClientTls,
    /// By which proxy.
    pub proxy: Proxy,
}

/// A signed assertion in place of a password (RFC 7523).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    /// The name of the key.
    pub key_id: String,
    /// The key.
    pub key: Option<SecretSource>,
    /// `RS256`, `RS384` or `RS512`.
    pub algorithm: String,
    /// Who issues it; the client where it is empty.
    pub issuer: String,
    /// Whom it is for.
    pub audience: String,
    /// Further claims.
    pub claims: Vec<(String, serde_json::Value)>,
}

/// A certificate or key: text, or a file that is read again when it changes.
pub type Pem = SecretSource;

/// Encryption, seen from the client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTls {
    /// Whom one trusts; the machine's own list where there is none.
    pub ca: Option<Pem>,
    /// Certificate and key by which the server knows the client.
    pub identity: Option<(Pem, Pem)>,
    /// The name that the server's certificate must have; that of the URL where it is empty.
    pub server_name: String,
    /// Whether any certificate will do.
    pub insecure_skip_verify: bool,
    /// The oldest version that is spoken.
    pub min_version: Option<TlsVersion>,
    /// The newest.
    pub max_version: Option<TlsVersion>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.0
    Tls10,
    /// 1.1
    Tls11,
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

const TLS_VERSIONS: [(&str, TlsVersion); 4] = [
    ("TLS10", TlsVersion::Tls10),
    ("TLS11", TlsVersion::Tls11),
    ("TLS12", TlsVersion::Tls12),
    ("TLS13", TlsVersion::Tls13),
];

/// A proxy. Printing it shows no password.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Proxy {
    /// Its address.
    pub url: Option<Url>,
    /// Hosts that are reached without it, separated by commas.
    pub no_proxy: String,
    /// Whether the environment names it.
    pub from_environment: bool,
    /// Headers of the request to open a tunnel.
    pub connect_headers: Vec<(String, Vec<Secret>)>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { url, no_proxy, from_environment, connect_headers } = self;
        f.debug_struct("Proxy")
            .field("url", &url.as_ref().map(without_password))
            .field("no_proxy", no_proxy)
            .field("from_environment", from_environment)
            .field("connect_headers", connect_headers)
            .finish()
    }
}

/// A URL as it may be shown: whoever it names shows no password.
pub fn without_password(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() {
        // Only URLs without a host cannot have one.
        let _ = url.set_password(Some("***"));
    }
    url.into()
}

/// A header that every request has, once for each value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Values that are shown.
    pub values: Vec<String>,
    /// Values that are not.
    pub secrets: Vec<Secret>,
    /// Values in files.
    pub files: Vec<PathBuf>,
}

/// Headers that the client itself sets; others must not.
const RESERVED_HEADERS: [&str; 18] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-prometheus-scrape-timeout-seconds",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
];

/// Why a header may not be set, if so.
pub(crate) fn reserved_header(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    RESERVED_HEADERS.contains(&lower.as_str()).then(|| format!("{lower} is a reserved header; remove it"))
}

impl HttpClient {
    /// Reads the keys of a client.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self> {
        Self::read_with(fields, true)
    }

    /// Reads the keys of a client that speaks HTTP/2 by default or not.
    pub(crate) fn read_with(fields: &mut Fields<'_>, http2: bool) -> Result<Self> {
        Ok(Self {
            auth: auth(fields)?,
            tls: fields.section("tls_config", "tls_config", ClientTls::read)?.unwrap_or_default(),
            follow_redirects: fields.flag("follow_redirects", true)?,
            enable_http2: fields.flag("enable_http2", http2)?,
            proxy: Proxy::read(fields)?,
            headers: headers(fields)?,
        })
    }
}

fn auth(fields: &mut Fields<'_>) -> Result<Auth> {
    fields.at_most_one(&["bearer_token", "bearer_token_file"])?;
    for (one, others) in [
        ("authorization", &["basic_auth", "oauth2"][..]),
        ("authorization", &["bearer_token", "bearer_token_file"]),
        ("basic_auth", &["oauth2", "bearer_token", "bearer_token_file"]),
        ("oauth2", &["bearer_token", "bearer_token_file"]),
    ] {
        if fields.has(one) && others.iter().any(|other| fields.has(other)) {
            let all = ["basic_auth", "authorization", "oauth2", "bearer_token", "bearer_token_file"];
            let reason = format!("only one of {} may be given", crate::fields::and_list(&all));
            return Err(fields.refuse(one, reason));
        }
    }
    let basic = fields.section("basic_auth", "basic_auth", |inner| {
        let username = source(inner, ["username", "username_file", "username_ref"], false)?;
        let password = source(inner, ["password", "password_file", "password_ref"], true)?;
        let username = username.unwrap_or(SecretSource::Inline(Secret::default()));
        Ok(Auth::Basic { username, password })
    })?;
    let authorization = fields.section("authorization", "authorization", |inner| {
        let scheme = inner.text_or("type", "Bearer")?.trim().to_owned();
        let scheme = if scheme.is_empty() { "Bearer".to_owned() } else { scheme };
        if scheme.eq_ignore_ascii_case("basic") {
            return Err(inner.refuse("type", "the type cannot be \"basic\"; use basic_auth instead"));
        }
        let credentials = source(inner, ["credentials", "credentials_file", "credentials_ref"], true)?;
        Ok(Auth::Authorization { scheme, credentials })
    })?;
    let oauth2 = fields.section("oauth2", "oauth2", oauth2)?.map(|o| Auth::OAuth2(Box::new(o)));
    let bearer = source(fields, ["bearer_token", "bearer_token_file", ""], true)?
        .map(|token| Auth::Authorization { scheme: "Bearer".to_owned(), credentials: Some(token) });
    Ok(basic.or(authorization).or(oauth2).or(bearer).unwrap_or_default())
}

/// A text here, in a file, or (which is refused) in a store of secrets.
fn source(fields: &mut Fields<'_>, keys: [&str; 3], hide: bool) -> Result<Option<SecretSource>> {
    let [inline, file, reference] = keys;
    fields.at_most_one(&keys)?;
    if !reference.is_empty() && fields.has(reference) {
        let reason = format!("there is no store of secrets to refer to; use {inline} or {file}");
        return Err(fields.refuse(reference, reason));
    }
    let text = if hide { fields.secret(inline)? } else { fields.text(inline)?.map(Secret::new) };
    Ok(match text {
        Some(text) => Some(SecretSource::Inline(text)),
        None => fields.path(file)?.map(SecretSource::File),
    })
}

fn oauth2(fields: &mut Fields<'_>) -> Result<OAuth2> {
    const BY_SECRET: &str = "client_credentials";
    const BY_ASSERTION: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    let client_id = fields.text_or("client_id", "")?;
    if client_id.is_empty() {
        return Err(fields.refuse("client_id", "client_id is missing or empty; it is required"));
    }
    let client_secret = source(fields, ["client_secret", "client_secret_file", "client_secret_ref"], true)?;
    let key_id = fields.text_or("client_certificate_key_id", "")?;
    let key = source(
        fields,
        ["client_certificate_key", "client_certificate_key_file", "client_certificate_key_ref"],
        true,
    )?;
    let grant = fields.text_or("grant_type", "")?;
    let algorithm = fields.text_or("signature_algorithm", "")?;
    if !["", "RS256", "RS384", "RS512"].contains(&algorithm.as_str()) {
        let reason = format!("{algorithm:?} is none of RS256, RS384 and RS512");
        return Err(fields.refuse("signature_algorithm", reason));
    }
    if !["", BY_SECRET, BY_ASSERTION].contains(&grant.as_str()) {
        let reason = format!("{grant:?} is neither {BY_SECRET} nor {BY_ASSERTION}");
        return Err(fields.refuse("grant_type", reason));
    }
    let assertion = Assertion {
        key_id,
        key,
        algorithm: if algorithm.is_empty() { "RS256".to_owned() } else { algorithm },
        issuer: fields.text_or("iss", "")?,
        audience: fields.text_or("audience", "")?,
        claims: fields.json_map("claims")?,
    };
    let scopes = fields.texts("scopes")?;
    let token_url = http_url(fields, "token_url")?;
    Ok(OAuth2 {
        client_id,
        client_secret,
        assertion: (grant == BY_ASSERTION).then_some(assertion),
        scopes,
        token_url,
        endpoint_params: fields.text_map("endpoint_params")?,
        tls: fields.section("tls_config", "tls_config", ClientTls::read)?.unwrap_or_default(),
        proxy: Proxy::read(fields)?,
    })
}

impl ClientTls {
    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self> {
        let ca = source(fields, ["ca", "ca_file", "ca_ref"], false)?;
        let certificate = source(fields, ["cert", "cert_file", "cert_ref"], false)?;
        let key = source(fields, ["key", "key_file", "key_ref"], true)?;
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                let reason = "there is a certificate without a key; add key or key_file";
                return Err(fields.refuse("cert_file", reason));
            }
            (None, Some(_)) => {
                let reason = "there is a key without a certificate; add cert or cert_file";
                return Err(fields.refuse("key_file", reason));
            }
        };
        Ok(Self {
            ca,
            identity,
            server_name: fields.text_or("server_name", "")?,
            insecure_skip_verify: fields.flag("insecure_skip_verify", false)?,
            min_version: TlsVersion::read(fields, "min_version")?,
            max_version: TlsVersion::read(fields, "max_version")?,
        })
    }
}

impl TlsVersion {
    /// Reads a version.
    pub(crate) fn read(fields: &mut Fields<'_>, key: &str) -> Result<Option<Self>> {
        let Some(text) = fields.text(key)? else { return Ok(None) };
        match TLS_VERSIONS.iter().find(|(name, _)| *name == text) {
            Some((_, version)) => Ok(Some(*version)),
            None => Err(fields.refuse(key, format!("{text:?} is none of TLS10, TLS11, TLS12 and TLS13"))),
        }
    }
}

impl Proxy {
    fn read(fields: &mut Fields<'_>) -> Result<Self> {
        let url = if fields.text_is_empty("proxy_url") { None } else { Some(url(fields, "proxy_url")?) };
        let no_proxy = fields.text_or("no_proxy", "")?;
        let from_environment = fields.switch("proxy_from_environment", false)?;
        let connect_headers = connect_headers(fields)?;
        let wrong = if from_environment && url.is_some() {
            Some(("proxy_url", "proxy_from_environment names the proxy already; remove one of the two"))
        } else if from_environment && !no_proxy.is_empty() {
            Some(("no_proxy", "no_proxy has no meaning with proxy_from_environment; remove one of the two"))
        } else if !no_proxy.is_empty() && url.is_none() {
            Some(("no_proxy", "no_proxy has no meaning without proxy_url; add that"))
        } else if !connect_headers.is_empty() && !from_environment && url.is_none() {
            let reason = "proxy_connect_header needs proxy_url or proxy_from_environment; add one";
            Some(("proxy_connect_header", reason))
        } else {
            None
        };
        match wrong {
            Some((key, reason)) => Err(fields.refuse(key, reason)),
            None => Ok(Self { url, no_proxy, from_environment, connect_headers }),
        }
    }
}

fn connect_headers(fields: &mut Fields<'_>) -> Result<Vec<(String, Vec<Secret>)>> {
    const KEY: &str = "proxy_connect_header";
    let Some(node) = fields.node(KEY) else { return Ok(Vec::new()) };
    let mut inner = Fields::of(fields.source(), &fields.path_of(KEY), node)?;
    let mut headers = Vec::new();
    for name in inner.keys() {
        let secrets = inner.secrets(&name)?;
        headers.push((name, secrets));
    }
    fields.show(KEY, inner.finish(KEY)?);
    Ok(headers)
}

fn headers(fields: &mut Fields<'_>) -> Result<Vec<Header>> {
    fields.section_map("http_headers", "a header", |name, inner| {
        if let Some(reason) = reserved_header(name) {
            return Err(inner.refuse("", reason));
        }
        Ok(Header {
            name: name.to_owned(),
            values: inner.texts("values")?,
            secrets: inner.secrets("secrets")?,
            files: inner.paths("files")?,
        })
    })
}

/// A required URL with the scheme `http` or `https` and a host.
pub(crate) fn http_url(fields: &mut Fields<'_>, key: &str) -> Result<Url> {
    let parsed = url(fields, key)?;
    check_http(fields, key, &parsed)?;
    Ok(parsed)
}

pub(crate) fn check_http(fields: &Fields<'_>, key: &str, url: &Url) -> Result<()> {
    if !matches!(url.scheme(), "http" | "https") {
        let reason = format!("the URL scheme is {:?}; it must be 'http' or 'https'", url.scheme());
        return Err(fields.refuse(key, reason));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(fields.refuse(key, "the host is missing in the URL"));
    }
    Ok(())
}

/// A required URL of any scheme. Its password is not shown.
pub(crate) fn url(fields: &mut Fields<'_>, key: &str) -> Result<Url> {
    let Some(node) = fields.node(key) else {
        return Err(fields.refuse(key, format!("the {key} is missing or empty; it is required")));
    };
    let text = fields.text_of(key, node)?;
    if text.is_empty() {
        return Err(fields.refuse(key, format!("the {key} is missing or empty; it is required")));
    }
    // What is wrong is told without the text, which may hold a password.
    let parsed = Url::parse(text).map_err(|error| match error {
        url::ParseError::RelativeUrlWithoutBase => fields.refuse(
            key,
            "the URL scheme is missing; it must be 'http' or 'https', as in http://host:9090/path",
        ),
        other => fields.refuse(key, format!("this is an invalid URL: {other}")),
    })?;
    let mut shown = text.to_owned();
    if parsed.password().is_some() {
        let mut redacted = parsed.clone();
        // It has a host, or it had no password.
        let _ = redacted.set_password(Some("xxxxx"));
        shown = redacted.to_string();
    }
    fields.show(key, Shown::Text(shown));
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        let proxy = Proxy {
            url: Url::parse("http://me:SECRET@proxy.example:3128").ok(),
            connect_headers: vec![("Proxy-Authorization".into(), vec![Secret::new("SECRET")])],
            ..Proxy::default()
        };
        let shown = format!("{proxy:?}");
        assert!(shown.contains("http://me:***@proxy.example:3128/") && !shown.contains("SECRET"), "{shown}");
        let plain = Url::parse("https://h:1/x?y").expect("a URL");
        assert_eq!(without_password(&plain), "https://h:1/x?y");
    }
}
