//! Signatures of AWS, version 4: each request is signed for a region and a service, with its time, its
//! host and its body.
//!
//! Keys stand in the configuration, in the environment or in the file that the tools of AWS share; the
//! file is read again when it changes.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{
    Request,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue},
};
use ring::{digest, hmac};
use vedette_config::{SecretSource, SigV4};
use vedette_sys::Clock;

use crate::{Error, ErrorKind, header_value, source::Source};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
/// Amazon's service for Prometheus.
const SERVICE: &str = "aps";

/// Signs requests.
pub(crate) struct Signer {
    region: String,
    service: String,
    keys: Keys,
    clock: Arc<dyn Clock>,
}

enum Keys {
    Given(Credentials),
    File { file: Source, profile: String },
}

/// Who signs.
#[derive(Clone, PartialEq, Eq)]
struct Credentials {
    access_key: String,
    secret_key: String,
    /// Of those that are good for some time only.
    token: Option<String>,
}

impl Signer {
    /// Finds the keys where AWS' own programs do, but for what only machines of AWS have.
    pub fn new(
        config: &SigV4,
        env: &dyn Fn(&str) -> Option<String>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let refuse = |text: &str| Error::new(ErrorKind::Config, format!("sigv4: {text}"));
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let region =
            given(&config.region).or_else(|| env("AWS_REGION")).or_else(|| env("AWS_DEFAULT_REGION"));
        let region = region.ok_or_else(|| refuse("no region is given; set region, or AWS_REGION"))?;
        let of_environment = || {
            Some(Credentials {
                access_key: env("AWS_ACCESS_KEY_ID")?,
                secret_key: env("AWS_SECRET_ACCESS_KEY")?,
                token: env("AWS_SESSION_TOKEN"),
            })
        };
        let keys = if let Some(secret) = &config.secret_key {
            let (access_key, secret_key) = (config.access_key.clone(), secret.expose().to_owned());
            Keys::Given(Credentials { access_key, secret_key, token: None })
        } else if let Some(credentials) = of_environment().filter(|_| config.profile.is_empty()) {
            Keys::Given(credentials)
        } else {
            let named = env("AWS_SHARED_CREDENTIALS_FILE");
            let path = named.or_else(|| env("HOME").map(|home| format!("{home}/.aws/credentials")));
            let path = path.filter(|path| std::path::Path::new(path).exists()).ok_or_else(|| {
                refuse(
                    "there are no keys; give access_key and secret_key, AWS_ACCESS_KEY_ID and \
                     AWS_SECRET_ACCESS_KEY, or a shared credentials file. Roles of machines and containers \
                     are not asked for keys: send through a proxy that signs requests",
                )
            })?;
            let profile = given(&config.profile).or_else(|| env("AWS_PROFILE"));
            let file = Source::new(&SecretSource::File(path.into()), clock.clone());
            Keys::File { file, profile: profile.unwrap_or_else(|| "default".to_owned()) }
        };
        let service = given(&config.service_name).unwrap_or_else(|| SERVICE.to_owned());
        let signer = Self { region, service, keys, clock: clock.clone() };
        signer.credentials().map(|_| signer)
    }

    /// Signs a request, with its body; nothing of what is signed may change afterwards.
    pub fn sign(&self, request: &mut Request<Bytes>) -> Result<(), Error> {
        let credentials = self.credentials()?;
        let time = time_text(self.clock.unix_ms().div_euclid(1000));
        let headers = request.headers_mut();
        headers.insert(DATE, header_value("X-Amz-Date", &time)?);
        headers.remove(TOKEN);
        if let Some(token) = &credentials.token {
            let mut token = header_value("X-Amz-Security-Token", token)?;
            token.set_sensitive(true);
            headers.insert(TOKEN, token);
        }
        let mut value = self.authorization(request, &credentials, &time)?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
        Ok(())
    }

    fn credentials(&self) -> Result<Credentials, Error> {
        match &self.keys {
            Keys::Given(credentials) => Ok(credentials.clone()),
            Keys::File { file, profile } => of_profile(&file.text()?, profile).ok_or_else(|| {
                let text = format!("sigv4: {} has no keys of the profile {profile:?}", file.name());
                Error::new(ErrorKind::Config, text)
            }),
        }
    }

    fn authorization(
        &self,
        request: &Request<Bytes>,
        credentials: &Credentials,
        time: &str,
    ) -> Result<HeaderValue, Error> {
        let (canonical, names) = canonical(request);
        let date = &time[..8];
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let signed = format!("{ALGORITHM}\n{time}\n{scope}\n{}", hash(canonical.as_bytes()));
        let key = signing_key(&credentials.secret_key, date, &self.region, &self.service);
        let signature = hex(hmac::sign(&key, signed.as_bytes()).as_ref());
        let access_key = &credentials.access_key;
        header_value(
            "Authorization",
            &format!(
                "{ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
            ),
        )
    }
}

/// The request in the form that is signed, and the names of the headers that are.
fn canonical(request: &Request<Bytes>) -> (String, String) {
    let uri = request.uri();
    // The path stands in the URL as it is sent, and is encoded once more.
    let path: String = match uri.path() {
        "" => "/".to_owned(),
        path => path.split('/').map(encode).collect::<Vec<_>>().join("/"),
    };
    let decoded = url::form_urlencoded::parse(uri.query().unwrap_or("").as_bytes());
    let mut pairs: Vec<_> = decoded.map(|(name, value)| (encode(&name), encode(&value))).collect();
    pairs.sort_unstable();
    let query: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut headers = vec![("host".to_owned(), host(uri))];
    for name in request.headers().keys() {
        if *name == CONTENT_TYPE || name.as_str().starts_with("x-amz-") {
            let values = request.headers().get_all(name).iter();
            let values: Vec<_> =
                values.map(|value| squeeze(&String::from_utf8_lossy(value.as_bytes()))).collect();
            headers.push((name.as_str().to_owned(), values.join(",")));
        }
    }
    headers.sort_unstable();
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let (method, query, body) = (request.method(), query.join("&"), hash(request.body()));
    (format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{body}"), names)
}

/// The header `Host` as the client sends it: without the port that the scheme has anyway.
fn host(uri: &hyper::Uri) -> String {
    let host = uri.host().unwrap_or_default();
    match (uri.port_u16(), uri.scheme_str()) {
        (None, _) | (Some(80), Some("http")) | (Some(443), Some("https")) => host.to_owned(),
        (Some(port), _) => format!("{host}:{port}"),
    }
}

/// Without white space at its ends, and with single spaces.
fn squeeze(text: &str) -> String {
    text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Everything but letters, digits and `-_.~` by its code.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

fn signing_key(secret_key: &str, date: &str, region: &str, service: &str) -> hmac::Key {
    let key = |bytes: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
    let first = key(format!("AWS4{secret_key}").as_bytes());
    [date, region, service, "aws4_request"]
        .iter()
        .fold(first, |last, part| key(hmac::sign(&last, part.as_bytes()).as_ref()))
}

fn hash(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A time as `20150830T123600Z`.
fn time_text(unix_seconds: i64) -> String {
    let (days, second) = (unix_seconds.div_euclid(86_400), unix_seconds.rem_euclid(86_400));
    // Years begin in March here, so that the day that some have more is their last.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// The keys of a profile in the file that the tools of AWS share.
fn of_profile(text: &str, profile: &str) -> Option<Credentials> {
    let (mut is_wanted, mut access_key, mut secret_key, mut token) = (false, None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_wanted = name.trim() == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_wanted) {
            let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match name.trim() {
                "aws_access_key_id" => access_key = value,
                "aws_secret_access_key" => secret_key = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(Credentials { access_key: access_key?, secret_key: secret_key?, token })
}

#[cfg(test)]
mod tests;
