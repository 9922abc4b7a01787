//! The sections `remote_write` and `remote_read`.

use std::time::Duration;

use url::Url;
use vedette_model::{NameScheme, RelabelRule};

use crate::{
    Auth, ClientTls, HttpClient, OAuth2, Proxy, SecretSource, SigV4,
    fields::{Fields, Result, and_list},
    http_client::{reserved_header, url},
    relabel,
};

/// Where samples are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteWrite {
    /// The receiver.
    pub url: Url,
    /// Its name on the status page, unique; empty where none was given.
    pub name: String,
    /// How long a request may take.
    pub remote_timeout: Duration,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// Rules for series on their way.
    pub relabel: Vec<RelabelRule>,
    /// Whether exemplars are sent.
    pub send_exemplars: bool,
    /// Whether native histograms are sent.
    pub send_native_histograms: bool,
    /// Whether all addresses of the host are used in turn.
    pub round_robin_dns: bool,
    /// Which version is spoken.
    pub message: WriteMessage,
    /// How the receiver is reached.
    pub client: HttpClient,
    /// A signature that a cloud asks for.
    pub cloud_auth: Option<CloudAuth>,
    /// How requests are made up.
    pub queue: Queue,
    /// How metadata is sent with version 1.0.
    pub metadata: Metadata,
}

/// A version of remote write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMessage {
    /// 1.0
    V1,
    /// 2.0
    V2,
}

/// Ways to prove who one is to a cloud that are read and checked, and that nobody goes. Others are part of
/// how a server is reached ([`HttpClient::auth`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloudAuth {
    /// Amazon's, with a role to be taken on.
    SigV4Role,
    /// Microsoft's, but for the one by a client's secret.
    AzureAd,
    /// Google's.
    GoogleIam,
}

/// How requests are made up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Samples that wait in each shard.
    pub capacity: u64,
    /// The most shards.
    pub max_shards: u64,
    /// The fewest.
    pub min_shards: u64,
    /// Samples of one request.
    pub max_samples_per_send: u64,
    /// How long samples wait for others.
    pub batch_send_deadline: Duration,
    /// The first wait before a retry.
    pub min_backoff: Duration,
    /// The longest.
    pub max_backoff: Duration,
    /// Whether an answer 429 is tried again.
    pub retry_on_rate_limit: bool,
    /// Samples older than this are not sent; zero for no limit.
    pub sample_age_limit: Duration,
}

/// How metadata is sent with version 1.0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Whether.
    pub send: bool,
    /// How often.
    pub send_interval: Duration,
    /// Families of one request.
    pub max_samples_per_send: u64,
}

/// Where samples are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRead {
    /// The source.
    pub url: Url,
    /// Its name on the status page, unique; empty where none was given.
    pub name: String,
    /// How long a request may take.
    pub remote_timeout: Duration,
    /// Bytes of one frame of a streamed answer.
    pub chunked_read_limit_bytes: u64,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// Whether it is asked for times that the own store has, too.
    pub read_recent: bool,
    /// Only queries with these matchers ask it.
    pub required_matchers: Vec<(String, String)>,
    /// Whether external labels are made matchers, and taken from what comes back.
    pub filter_external_labels: bool,
    /// How the source is reached.
    pub client: HttpClient,
}

pub(super) fn writes(fields: &mut Fields<'_>, scheme: NameScheme) -> Result<Vec<RemoteWrite>> {
    let mut names = Vec::new();
    fields.list("remote_write", "a remote write config section", |f| {
        let write = write(f, scheme)?;
        unique(f, "remote write", &write.name, &mut names)?;
        Ok(write)
    })
}

pub(super) fn reads(fields: &mut Fields<'_>) -> Result<Vec<RemoteRead>> {
    let mut names = Vec::new();
    fields.list("remote_read", "a remote read config section", |f| {
        let read = read(f)?;
        unique(f, "remote read", &read.name, &mut names)?;
        Ok(read)
    })
}

fn unique(fields: &Fields<'_>, what: &str, name: &str, names: &mut Vec<String>) -> Result<()> {
    if !name.is_empty() && names.iter().any(|n| n == name) {
        let reason = format!("found multiple {what} configs with the job name {name:?}; names must differ");
        return Err(fields.refuse("name", reason));
    }
    names.push(name.to_owned());
    Ok(())
}

fn write(fields: &mut Fields<'_>, scheme: NameScheme) -> Result<RemoteWrite> {
    if fields.text_is_empty("url") {
        return Err(fields.refuse("url", "the url for remote_write is empty; it is required"));
    }
    // Empty rules are told of before a strange URL is.
    let known = "a relabeling rule in the remote write config";
    let relabel = relabel::rules(fields, "write_relabel_configs", known, scheme)?;
    let message = match fields
        .word(
            "protobuf_message",
            "prometheus.WriteRequest",
            &["prometheus.WriteRequest", "io.prometheus.write.v2.Request"],
        )?
        .as_str()
    {
        "prometheus.WriteRequest" => WriteMessage::V1,
        _ => WriteMessage::V2,
    };
    let mut client = HttpClient::read_with(fields, false)?;
    let cloud_auth = cloud_auth(fields, &["sigv4", "azuread", "google_iam"], &mut client)?;
    Ok(RemoteWrite {
        url: url(fields, "url")?,
        name: fields.text_or("name", "")?,
        remote_timeout: fields.duration("remote_timeout", Duration::from_secs(30))?,
        headers: headers(fields)?,
        relabel,
        send_exemplars: fields.switch("send_exemplars", false)?,
        send_native_histograms: fields.switch("send_native_histograms", false)?,
        round_robin_dns: fields.switch("round_robin_dns", false)?,
        message,
        client,
        cloud_auth,
        queue: fields.section_or_default("queue_config", "queue_config", Queue::read)?,
        metadata: fields.section_or_default("metadata_config", "metadata_config", |f| {
            Ok(Metadata {
                send: f.flag("send", true)?,
                send_interval: f.duration("send_interval", Duration::from_secs(60))?,
                max_samples_per_send: f.count("max_samples_per_send", 2000)?,
            })
        })?,
    })
}

fn read(fields: &mut Fields<'_>) -> Result<RemoteRead> {
    if fields.text_is_empty("url") {
        return Err(fields.refuse("url", "the url for remote_read is empty; it is required"));
    }
    Ok(RemoteRead {
        url: url(fields, "url")?,
        name: fields.text_or("name", "")?,
        remote_timeout: fields.duration("remote_timeout", Duration::from_secs(60))?,
        chunked_read_limit_bytes: fields.count("chunked_read_limit", 50_000_000)?,
        headers: headers(fields)?,
        read_recent: fields.switch("read_recent", false)?,
        required_matchers: fields.label_map("required_matchers", NameScheme::Utf8)?,
        filter_external_labels: fields.switch("filter_external_labels", true)?,
        client: HttpClient::read(fields)?,
    })
}

fn headers(fields: &mut Fields<'_>) -> Result<Vec<(String, String)>> {
    let headers = fields.text_map("headers")?;
    for (name, _) in &headers {
        if name.eq_ignore_ascii_case("authorization") {
            let reason = "the authorization header must be changed by the keys basic_auth, authorization, \
                          oauth2, sigv4, azuread or google_iam";
            return Err(fields.refuse("headers", reason));
        }
        if let Some(reason) = reserved_header(name) {
            return Err(fields.refuse("headers", reason));
        }
    }
    Ok(headers)
}

impl Queue {
    fn read(fields: &mut Fields<'_>) -> Result<Self> {
        let mut positive = |key: &str, default: u64| {
            let given = fields.integer(key, i64::try_from(default).unwrap_or(i64::MAX))?;
            let reason = format!("the remote write queue {key} must be positive");
            u64::try_from(given).ok().filter(|n| *n > 0).ok_or_else(|| fields.refuse(key, reason))
        };
        let queue = Self {
            max_shards: positive("max_shards", 50)?,
            min_shards: positive("min_shards", 1)?,
            max_samples_per_send: positive("max_samples_per_send", 2000)?,
            capacity: positive("capacity", 10_000)?,
            batch_send_deadline: fields.duration("batch_send_deadline", Duration::from_secs(5))?,
            min_backoff: fields.duration("min_backoff", Duration::from_millis(30))?,
            max_backoff: fields.duration("max_backoff", Duration::from_secs(5))?,
            retry_on_rate_limit: fields.switch("retry_on_http_429", false)?,
            sample_age_limit: fields.duration("sample_age_limit", Duration::ZERO)?,
        };
        if queue.min_shards > queue.max_shards {
            let reason = "the remote write queue min_shards must not be greater than max_shards";
            return Err(fields.refuse("min_shards", reason));
        }
        if queue.max_backoff < queue.min_backoff {
            let reason = "the remote write queue max_backoff must not be less than min_backoff";
            return Err(fields.refuse("max_backoff", reason));
        }
        Ok(queue)
    }
}

/// Reads how one proves who one is to a cloud, of which at most one way may be given, and no other
/// identity. What a client can do is put into it, the rest is told.
pub(super) fn cloud_auth(
    fields: &mut Fields<'_>,
    keys: &[&str],
    client: &mut HttpClient,
) -> Result<Option<CloudAuth>> {
    let given: Vec<&str> = keys.iter().copied().filter(|key| fields.has(key)).collect();
    let others = ["basic_auth", "authorization", "oauth2"];
    if given.len() > 1 || (!given.is_empty() && others.iter().any(|key| fields.has(key))) {
        let all: Vec<&str> = others.iter().chain(keys).copied().collect();
        return Err(fields.refuse(given[0], format!("only one of {} may be given", and_list(&all))));
    }
    match given.first().copied() {
        Some(key @ "sigv4") => match fields.section(key, key, sigv4)?.flatten() {
            Some(sigv4) => {
                client.auth = Auth::SigV4(Box::new(sigv4));
                Ok(None)
            }
            None => Ok(Some(CloudAuth::SigV4Role)),
        },
        Some(key @ "azuread") => match fields.section(key, key, azure_ad)?.flatten() {
            Some(oauth2) => {
                client.auth = Auth::OAuth2(Box::new(oauth2));
                Ok(None)
            }
            None => Ok(Some(CloudAuth::AzureAd)),
        },
        Some(key) => {
            fields.section(key, key, |f| f.path("credentials_file")).map(|_| Some(CloudAuth::GoogleIam))
        }
        None => Ok(None),
    }
}

/// `None` where a role is to be taken on.
fn sigv4(fields: &mut Fields<'_>) -> Result<Option<SigV4>> {
    if fields.text_is_empty("access_key") != fields.text_is_empty("secret_key") {
        return Err(fields.refuse("access_key", "access_key and secret_key go together; add the other"));
    }
    if !fields.text_is_empty("external_id") && fields.text_is_empty("role_arn") {
        return Err(fields.refuse("external_id", "external_id has no meaning without role_arn"));
    }
    let sigv4 = SigV4 {
        region: fields.text_or("region", "")?,
        access_key: fields.text_or("access_key", "")?,
        secret_key: fields.secret("secret_key")?.filter(|key| !key.expose().is_empty()),
        profile: fields.text_or("profile", "")?,
        service_name: fields.text_or("service_name", "")?,
    };
    fields.text_or("external_id", "")?;
    fields.switch("use_fips_sts_endpoint", false)?;
    Ok(fields.text_or("role_arn", "")?.is_empty().then_some(sigv4))
}

/// How a token is asked for by a client's secret; `None` where another way is given.
fn azure_ad(fields: &mut Fields<'_>) -> Result<Option<OAuth2>> {
    const METHODS: [&str; 5] = ["managed_identity", "workload_identity", "oauth", "certificate", "sdk"];
    const CLOUDS: [&str; 3] = ["AzurePublic", "AzureChina", "AzureGovernment"];
    let cloud = fields.word("cloud", CLOUDS[0], &CLOUDS)?;
    let (login, domain) = match cloud.as_str() {
        "AzureChina" => ("https://login.chinacloudapi.cn", "monitor.azure.cn"),
        "AzureGovernment" => ("https://login.microsoftonline.us", "monitor.azure.us"),
        _ => ("https://login.microsoftonline.com", "monitor.azure.com"),
    };
    // The name of the resource ends with a slash of its own.
    let scope = fields.text_or("scope", "")?;
    let scope = if scope.is_empty() { format!("https://{domain}//.default") } else { scope };
    if !fields.at_most_one(&METHODS)? {
        return Err(fields.refuse("", format!("one of {} is required", and_list(&METHODS))));
    }
    fields.section("managed_identity", "managed_identity", |f| f.text_or("client_id", "").map(drop))?;
    fields.section("workload_identity", "workload_identity", |f| {
        f.require(&["client_id", "tenant_id"])?;
        f.text_or("client_id", "")?;
        f.text_or("tenant_id", "")?;
        f.path("token_file_path").map(drop)
    })?;
    let oauth = fields.section("oauth", "oauth", |f| {
        f.require(&["client_id", "client_secret", "tenant_id"])?;
        let tenant = f.text_or("tenant_id", "")?;
        let token_url = format!("{login}/{tenant}/oauth2/v2.0/token");
        Ok(OAuth2 {
            client_id: f.text_or("client_id", "")?,
            client_secret: f.secret("client_secret")?.map(SecretSource::Inline),
            assertion: None,
            scopes: vec![scope.clone()],
            token_url: token_url.parse().map_err(|_| f.refuse("tenant_id", "it cannot stand in a URL"))?,
            endpoint_params: Vec::new(),
            tls: ClientTls::default(),
            proxy: Proxy::default(),
        })
    })?;
    fields.section("certificate", "certificate", |f| {
        f.require(&["client_id", "tenant_id", "certificate_path"])?;
        f.text_or("client_id", "")?;
        f.text_or("tenant_id", "")?;
        f.path("certificate_path")?;
        f.path("certificate_key_path")?;
        f.secret("certificate_password")?;
        f.switch("send_certificate_chain", false).map(drop)
    })?;
    fields.section("sdk", "sdk", |f| f.text_or("tenant_id", "").map(drop))?;
    Ok(oauth)
}
