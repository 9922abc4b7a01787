//! Tokens of OAuth 2.0: asked for with the client's credentials or a signed assertion (RFC 7523),
//! and kept as long as they are good.
//!
//! At most one request for a token is under way; all who need one wait for it.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use hyper::{
    Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{self, RsaKeyPair},
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use vedette_config::{HttpClient, OAuth2};
use vedette_sys::Clock;

use crate::{Client, Error, ErrorKind, Limits, Options, proxy::basic, source::Source};

/// A token is renewed this long before it ends.
const EARLY_MS: i64 = 10_000;
const ASSERTION_SECONDS: i64 = 600;
const ANSWER_BYTES_MAX: u64 = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where tokens come from, and the newest.
pub(crate) struct Tokens {
    config: OAuth2,
    client: Client,
    secret: Option<Source>,
    key: Option<Source>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// Whether name and password stand in the body, once it is known what the server likes.
    in_body: Option<bool>,
}

struct Token {
    header: HeaderValue,
    /// When it ends, in Unix milliseconds, where that is told.
    ends_ms: Option<i64>,
    /// The secret that it was given for: with another one a new token is due.
    secret: String,
}

impl Tokens {
    pub(crate) fn new(config: &OAuth2, http2: bool, options: &Options) -> Result<Self, Error> {
        let client = HttpClient {
            tls: config.tls.clone(),
            proxy: config.proxy.clone(),
            enable_http2: http2,
            ..HttpClient::default()
        };
        let source = |from| Source::new(from, options.clock.clone());
        Ok(Self {
            client: Client::new(&client, &Options { unix_socket: None, ..options.clone() })?,
            secret: config.client_secret.as_ref().map(source),
            key: config.assertion.as_ref().and_then(|a| a.key.as_ref()).map(source),
            config: config.clone(),
            clock: options.clock.clone(),
            state: Mutex::default(),
        })
    }

    /// The value of `Authorization`, asked for where there is none that is good.
    pub(crate) async fn header(&self) -> Result<HeaderValue, Error> {
        let source = if self.config.assertion.is_some() { &self.key } else { &self.secret };
        let secret = source.as_ref().map(Source::text).transpose()?.unwrap_or_default();
        let mut state = self.state.lock().await;
        let now = self.clock.unix_ms();
        if let Some(token) = &state.token
            && token.secret == secret
            && token.ends_ms.is_none_or(|ends| now < ends - EARLY_MS)
        {
            return Ok(token.header.clone());
        }
        let answer = self.ask(&mut state, &secret).await?;
        let (header, ends_ms) = token_of(&answer, self.clock.unix_ms())?;
        state.token = Some(Token { header: header.clone(), ends_ms, secret });
        Ok(header)
    }

    /// Forgets a token that a server has refused.
    pub(crate) async fn forget(&self, refused: &HeaderValue) {
        let mut state = self.state.lock().await;
        if state.token.as_ref().is_some_and(|token| token.header == refused) {
            state.token = None;
        }
    }

    async fn ask(&self, state: &mut State, secret: &str) -> Result<Bytes, Error> {
        if self.config.assertion.is_some() {
            let assertion = self.assertion(secret)?;
            let form = form(&[
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("assertion", &assertion),
            ]);
            return self.post(form, None).await;
        }
        // Servers want name and password in a header or in the body; which, one has to try.
        match state.in_body {
            Some(in_body) => self.ask_with_secret(secret, in_body).await,
            None => match self.ask_with_secret(secret, false).await {
                Ok(answer) => {
                    state.in_body = Some(false);
                    Ok(answer)
                }
                Err(error) if error.kind() == ErrorKind::Auth => {
                    // If that fails too, the first reason is the better one.
                    let answer = self.ask_with_secret(secret, true).await.map_err(|_| error)?;
                    state.in_body = Some(true);
                    Ok(answer)
                }
                Err(error) => Err(error),
            },
        }
    }

    async fn ask_with_secret(&self, secret: &str, in_body: bool) -> Result<Bytes, Error> {
        let scopes = self.config.scopes.join(" ");
        let mut pairs = vec![("grant_type", "client_credentials")];
        if !scopes.is_empty() {
            pairs.push(("scope", &scopes));
        }
        pairs.extend(self.config.endpoint_params.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        if in_body {
            pairs.push(("client_id", &self.config.client_id));
            if !secret.is_empty() {
                pairs.push(("client_secret", secret));
            }
            return self.post(form(&pairs), None).await;
        }
        let escaped = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        self.post(form(&pairs), basic(&escaped(&self.config.client_id), &escaped(secret))).await
    }

    async fn post(&self, form: String, authorization: Option<HeaderValue>) -> Result<Bytes, Error> {
        let cannot =
            |text: String| Error::new(ErrorKind::Auth, format!("oauth2: cannot fetch token: {text}"));
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.config.token_url.as_str())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Bytes::from(form))
            .map_err(|e| cannot(e.to_string()))?;
        if let Some(value) = authorization {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let limits = Limits { timeout: TIMEOUT, body_bytes_max: ANSWER_BYTES_MAX };
        // Boxed, as a client with tokens contains a client.
        let sent = Box::pin(self.client.send(request, limits)).await;
        let response = sent.map_err(|e| e.within("oauth2: cannot fetch token: "))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|e| e.within("oauth2: cannot fetch token: "))?;
        if status.is_success() {
            return Ok(body);
        }
        let said: String =
            String::from_utf8_lossy(&body).chars().filter(|c| !c.is_control()).take(200).collect();
        let text = format!("{}; response: {said}", status_text(status));
        Err(cannot(text))
    }

    fn assertion(&self, key: &str) -> Result<String, Error> {
        let refuse = |text: String| Error::new(ErrorKind::Config, format!("oauth2: {text}"));
        let config = self.config.assertion.as_ref().ok_or_else(|| refuse("no assertion".to_owned()))?;
        let name = self.key.as_ref().map(Source::name).unwrap_or_default();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|e| refuse(format!("there is no usable key in {name}: {e}")))?;
        let key = match &key {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return Err(refuse(format!("the key in {name} is none of RSA"))),
        };
        let key = key.map_err(|e| refuse(format!("the key in {name} is refused: {e}")))?;
        let algorithm: &'static dyn signature::RsaEncoding = match config.algorithm.as_str() {
            "RS384" => &signature::RSA_PKCS1_SHA384,
            "RS512" => &signature::RSA_PKCS1_SHA512,
            _ => &signature::RSA_PKCS1_SHA256,
        };
        let random = SystemRandom::new();
        let failed = |_| refuse("cannot sign the assertion".to_owned());
        let mut id = [0; 16];
        random.fill(&mut id).map_err(failed)?;
        let now = self.clock.unix_ms() / 1000;
        let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
        let mut claims = json!({
            "iss": or(&config.issuer, &self.config.client_id),
            "sub": self.config.client_id,
            "jti": URL_SAFE_NO_PAD.encode(id),
            "aud": or(&config.audience, self.config.token_url.as_str()),
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
        });
        if !self.config.scopes.is_empty() {
            claims["scope"] = Value::String(self.config.scopes.join(" "));
        }
        for (name, value) in &config.claims {
            claims[name.as_str()] = value.clone();
        }
        let mut head = json!({ "alg": config.algorithm, "typ": "JWT" });
        if !config.key_id.is_empty() {
            head["kid"] = Value::String(config.key_id.clone());
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&head), part(&claims));
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(algorithm, &random, signed.as_bytes(), &mut signature).map_err(failed)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// A status as Go's programs print it.
pub fn status_text(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default()).trim_end().to_owned()
}

fn form(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// The header and the end of a token. Some servers send the seconds as text.
fn token_of(answer: &[u8], now_ms: i64) -> Result<(HeaderValue, Option<i64>), Error> {
    let refuse = |text: &str| Error::new(ErrorKind::Auth, format!("oauth2: cannot fetch token: {text}"));
    let answer: Value = serde_json::from_slice(answer).map_err(|_| refuse("the answer is no JSON"))?;
    let token = answer["access_token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(refuse("server response missing access_token"));
    }
    let kind = match answer["token_type"].as_str().unwrap_or_default() {
        kind if kind.is_empty() || kind.eq_ignore_ascii_case("bearer") => "Bearer",
        kind if kind.eq_ignore_ascii_case("mac") => "MAC",
        kind if kind.eq_ignore_ascii_case("basic") => "Basic",
        kind => kind,
    };
    let mut header = HeaderValue::from_str(&format!("{kind} {token}"))
        .map_err(|_| refuse("the token has letters that no header can have"))?;
    header.set_sensitive(true);
    let seconds = &answer["expires_in"];
    let seconds = seconds.as_i64().or_else(|| seconds.as_f64().map(|s| s as i64));
    let seconds = seconds.or_else(|| answer["expires_in"].as_str().and_then(|text| text.parse().ok()));
    let ends_ms = seconds.filter(|s| *s > 0).map(|s| now_ms.saturating_add(s.saturating_mul(1000)));
    Ok((header, ends_ms))
}
