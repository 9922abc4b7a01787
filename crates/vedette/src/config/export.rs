//! The section `export`: where samples are exported to.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use vedette_config::{Auth, ClientTls, Header, HttpClient, Secret, SecretSource};
use vedette_remote::{
    BatchLimits, Elasticsearch, Export as Exported, ExportConfig, ExportPlan, FileSink, IndexPer, InfluxDb,
    InfluxVersion, Kafka, KafkaCompression, Redis, Sasl, SaslMechanism, Shape, SinkConfig, SpoolConfig,
    Statsd,
};

use super::{Error, bytes, duration};

/// Samples on their way to where others keep theirs, in our own shape or in that of cAdvisor's storage drivers.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Export {
    /// Bytes on disk that may wait for all sinks together; beyond it the oldest are dropped, and counted. Default
    /// `2GiB`.
    pub spool_size: Option<String>,
    /// How long samples may wait. Default `4h`.
    pub spool_age: Option<String>,
    /// The name of this machine in what is exported. Default: its host name.
    pub machine: Option<String>,
    /// Labels that all series get in our own shape, where they have none of the name.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Where to; several at once.
    pub sinks: Vec<ExportSink>,
}

/// One sink: a name and exactly one of the kinds.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportSink {
    /// The name on the status page and in metrics. Samples that wait are kept under it.
    pub name: String,
    /// Which series, as selectors of PromQL of which one must fit. Default `['{__name__=~"container_.+"}']`.
    pub r#match: Option<Vec<String>>,
    /// `vedette` has all labels and the names of the families; `cadvisor` the documents, points and lines of its
    /// storage drivers, and leaves out what they have no place for. Default `vedette`.
    pub shape: Option<String>,
    /// Of each series at most one sample in so long. Default: all are exported.
    pub interval: Option<String>,
    /// What is sent at once.
    pub batch: ExportBatch,
    /// How long a delivery may take. Default `30s`.
    pub timeout: Option<String>,
    /// The shortest wait after a failure; it doubles from one to the next. Default `500ms`.
    pub min_backoff: Option<String>,
    /// The longest wait after a failure, unless the sink asks for more by `Retry-After`. Default `1m`.
    pub max_backoff: Option<String>,
    /// Elasticsearch 7 to 9 and OpenSearch.
    pub elasticsearch: Option<ExportElasticsearch>,
    /// InfluxDB 1, 2 and 3.
    pub influxdb: Option<ExportInfluxDb>,
    /// Kafka.
    pub kafka: Option<ExportKafka>,
    /// Redis.
    pub redis: Option<ExportRedis>,
    /// A statsd server.
    pub statsd: Option<ExportStatsd>,
    /// Standard output of this process: `{}`.
    pub stdout: Option<ExportStdout>,
    /// A file.
    pub file: Option<ExportFile>,
}

/// What is sent at once: as much as waits when a bound is reached.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportBatch {
    /// Samples. Default 10,000.
    pub samples: Option<u64>,
    /// Bytes of documents. Default `1MiB`.
    pub size: Option<String>,
    /// How long a sample waits for others. Default `5s`.
    pub age: Option<String>,
}

/// Elasticsearch 7 to 9 and OpenSearch, by `_bulk`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportElasticsearch {
    /// The server, for example `https://search.example.com:9200`.
    pub url: String,
    /// The index or data stream. Default `vedette`, with the shape `cadvisor` `cadvisor`.
    pub index: Option<String>,
    /// `day` puts `-2026.11.21` behind the name of the index, `month` `-2026.11`, by the time of the samples; `never`
    /// nothing. Default `never`.
    pub index_per: Option<String>,
    /// Whether it is a data stream; its template must be there. Default false.
    pub data_stream: bool,
    /// `gzip` or `none`. Default `gzip`.
    pub compression: Option<String>,
    /// Who one is; a token is sent as `ApiKey`.
    pub auth: ExportAuth,
    /// Encryption.
    pub tls: ExportTls,
    /// Further headers of every request.
    pub headers: std::collections::BTreeMap<String, String>,
}

/// InfluxDB 1, 2 and 3, by its line protocol.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportInfluxDb {
    /// The server, for example `http://localhost:8086`.
    pub url: String,
    /// `1`, `2` or `3`. Default 1.
    pub version: Option<u32>,
    /// The database, with versions 1 and 3. It must be there. Default `vedette`, with the shape `cadvisor` `cadvisor`.
    pub database: Option<String>,
    /// The retention policy, with version 1. Default: the database's own.
    pub retention_policy: Option<String>,
    /// The organization, with version 2.
    pub org: Option<String>,
    /// The bucket, with version 2.
    pub bucket: Option<String>,
    /// `gzip` or `none`. Default `gzip`.
    pub compression: Option<String>,
    /// Who one is; a token is sent as `Token`, with version 3 as `Bearer`.
    pub auth: ExportAuth,
    /// Encryption.
    pub tls: ExportTls,
    /// Further headers of every request.
    pub headers: std::collections::BTreeMap<String, String>,
}

/// Kafka: a message for each document.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportKafka {
    /// Brokers to begin with, for example `[kafka-1:9092, kafka-2:9092]`.
    pub brokers: Vec<String>,
    /// The topic, which must be there. Default `vedette`, with the shape `cadvisor` `stats`.
    pub topic: Option<String>,
    /// `none`, `gzip`, `snappy` or `zstd`. Default `snappy`.
    pub compression: Option<String>,
    /// Encryption; absent means none, `{}` trusts whom this machine trusts.
    pub tls: Option<ExportTls>,
    /// Who one is.
    pub sasl: Option<ExportSasl>,
}

/// Name and password for Kafka.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportSasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`. Default `SCRAM-SHA-512`.
    pub mechanism: Option<String>,
    /// The name.
    pub username: String,
    /// The password.
    pub password: Option<String>,
    /// A file with the password, relative to this file; read again with every connection.
    pub password_file: Option<PathBuf>,
}

/// Redis: an element of a list or stream for each document.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportRedis {
    /// Host and port, for example `localhost:6379`.
    pub address: String,
    /// The key. Default `vedette`, with the shape `cadvisor` `cadvisor`.
    pub key: Option<String>,
    /// `list` pushes to the left of a list, `stream` adds to a stream under the field `document`. Default `list`.
    pub kind: Option<String>,
    /// Beyond so many entries the oldest are removed. Default 0: none are.
    pub max_length: u64,
    /// The number of the database. Default 0.
    pub database: u32,
    /// The name, where the server has users.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// A file with the password, relative to this file; read again with every connection.
    pub password_file: Option<PathBuf>,
    /// Encryption; absent means none, `{}` trusts whom this machine trusts.
    pub tls: Option<ExportTls>,
}

/// A statsd server, over UDP: nothing tells whether a packet arrived.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportStatsd {
    /// Host and port, for example `localhost:8125`.
    pub address: String,
    /// What is before every name, with a dot behind. Default `vedette`, with the shape `cadvisor` `cadvisor`.
    pub prefix: Option<String>,
    /// Bytes of a packet at most. Default 1432.
    pub packet_size: Option<usize>,
}

/// Standard output: JSON lines, or with the shape `cadvisor` its lines of text.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportStdout {}

/// A file: JSON lines, or with the shape `cadvisor` its lines of text.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportFile {
    /// Its path, relative to the data folder.
    pub path: PathBuf,
    /// It is put aside under its name with `.1` when it would become longer. Default `100MiB`.
    pub rotate_size: Option<String>,
    /// How many that were put aside are kept. Default 5.
    pub keep: Option<u32>,
}

/// Who one is: a name with a password, or a token.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportAuth {
    /// The name.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// A file with the password, relative to this file; read again when it changes.
    pub password_file: Option<PathBuf>,
    /// The token.
    pub token: Option<String>,
    /// A file with the token, relative to this file; read again when it changes.
    pub token_file: Option<PathBuf>,
    /// What is before the token in the header `Authorization`, where it is not what the kind of sink wants.
    pub scheme: Option<String>,
}

/// Encryption.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportTls {
    /// Certificates of whom one trusts, relative to this file. Default: those that this machine trusts.
    pub ca_file: Option<PathBuf>,
    /// The certificate by which the server knows one.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// The name that the server's certificate must have. Default: that of the address.
    pub server_name: Option<String>,
    /// Whether any certificate will do. Default false.
    pub insecure_skip_verify: bool,
}

/// What is exported where nobody says.
const MATCH: &str = "{__name__=~\"container_.+\"}";
/// A batch is held in memory.
const BATCH_BYTES_MAX: u64 = 64 << 20;

/// Where a section stands and what its paths are relative to.
struct At<'a> {
    place: String,
    folder: &'a Path,
    data: &'a Path,
}

impl At<'_> {
    fn refuse(&self, key: &str, reason: impl Into<String>) -> Error {
        Error::Value { place: self.key(key), reason: reason.into() }
    }

    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.place)
    }
}

/// Checks the section; `None` where nothing is exported.
pub(super) fn settings(
    name: &str,
    folder: &Path,
    data: &Path,
    written: Export,
) -> Result<Option<ExportConfig>, Error> {
    let place = format!("{name}: export");
    let spool = SpoolConfig {
        owner: "exports",
        folder: data.join("export"),
        bytes_max: bytes(&format!("{place}.spool_size"), written.spool_size.as_deref().unwrap_or("2GiB"))?,
        age_max: duration(&format!("{place}.spool_age"), written.spool_age.as_deref(), "4h")?,
    };
    let mut exports: Vec<Exported> = Vec::new();
    for sink in written.sinks {
        let at = At { place: format!("{place}.sinks[{:?}]", sink.name), folder, data };
        let usable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if sink.name.is_empty() || !sink.name.chars().all(usable) {
            return Err(at.refuse("name", "a name has letters, digits, dot, dash and underscore only"));
        }
        if exports.iter().any(|known| known.name == sink.name) {
            return Err(at.refuse("name", "the name is used twice; names must differ"));
        }
        exports.push(export(&at, sink)?);
    }
    if exports.is_empty() {
        return Ok(None);
    }
    let machine = written.machine.unwrap_or_default();
    let labels = written.labels.into_iter().collect();
    Ok(Some(ExportConfig { spool, machine, labels, exports }))
}

fn export(at: &At<'_>, written: ExportSink) -> Result<Exported, Error> {
    let shape = word(
        at,
        "shape",
        written.shape.as_deref(),
        &[("vedette", Shape::Vedette), ("cadvisor", Shape::Cadvisor)],
    )?;
    let mut selectors = Vec::new();
    for selector in written.r#match.unwrap_or_else(|| vec![MATCH.to_owned()]) {
        let read = vedette_promql::parse_selector(&selector).map_err(|error| {
            at.refuse("match", format!("{selector:?} is no selector ({error}); write for example {MATCH}"))
        })?;
        selectors.push(read);
    }
    if selectors.is_empty() {
        return Err(at.refuse("match", format!("nothing would be exported; write for example ['{MATCH}']")));
    }
    let time = |key: &str, text: Option<&str>, default: &str| duration(&at.key(key), text, default);
    let interval = written.interval.as_deref();
    let plan = ExportPlan {
        selectors,
        interval: interval.map_or(Ok(Duration::ZERO), |text| time("interval", Some(text), ""))?,
        batch: batch(at, &written.batch)?,
        backoff_min: time("min_backoff", written.min_backoff.as_deref(), "500ms")?,
        backoff_max: time("max_backoff", written.max_backoff.as_deref(), "1m")?,
    };
    if plan.backoff_max < plan.backoff_min {
        return Err(at.refuse("max_backoff", "it is below min_backoff; raise it"));
    }
    let mut sinks = Vec::new();
    if let Some(written) = written.elasticsearch {
        sinks.push(elasticsearch(&at.below("elasticsearch"), written, shape)?);
    }
    if let Some(written) = written.influxdb {
        sinks.push(influxdb(&at.below("influxdb"), written, shape)?);
    }
    if let Some(written) = written.kafka {
        sinks.push(kafka(&at.below("kafka"), written, shape)?);
    }
    if let Some(written) = written.redis {
        sinks.push(redis(&at.below("redis"), written, shape)?);
    }
    if let Some(written) = written.statsd {
        sinks.push(statsd(&at.below("statsd"), written, shape)?);
    }
    if written.stdout.is_some() {
        sinks.push(SinkConfig::Stdout);
    }
    if let Some(written) = written.file {
        sinks.push(file(&at.below("file"), &written)?);
    }
    let count = sinks.len();
    let sink = sinks.pop().filter(|_| count == 1);
    let kinds = "give exactly one of elasticsearch, influxdb, kafka, redis, statsd, stdout and file";
    let sink = sink.ok_or_else(|| Error::Value { place: at.place.clone(), reason: kinds.to_owned() })?;
    let timeout = time("timeout", written.timeout.as_deref(), "30s")?;
    Ok(Exported { name: written.name, plan, shape, timeout, sink })
}

impl<'a> At<'a> {
    fn below(&self, key: &str) -> At<'a> {
        At { place: self.key(key), folder: self.folder, data: self.data }
    }
}

fn batch(at: &At<'_>, written: &ExportBatch) -> Result<BatchLimits, Error> {
    let at = at.below("batch");
    let defaults = BatchLimits::default();
    let samples = written.samples.unwrap_or(defaults.samples);
    if samples == 0 {
        return Err(at.refuse("samples", "a batch has at least one sample"));
    }
    let size = bytes(&at.key("size"), written.size.as_deref().unwrap_or("1MiB"))?;
    if size > BATCH_BYTES_MAX {
        return Err(at.refuse("size", "a batch is held in memory; the most are 64MiB"));
    }
    let age = duration(&at.key("age"), written.age.as_deref(), "5s")?;
    Ok(BatchLimits { samples, bytes: usize::try_from(size).unwrap_or(usize::MAX), age })
}

/// One of a few words; the first is the default.
fn word<T: Copy>(at: &At<'_>, key: &str, text: Option<&str>, words: &[(&str, T)]) -> Result<T, Error> {
    let text = text.unwrap_or(words[0].0);
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        at.refuse(key, format!("{text:?} is none of {}", known.join(", ")))
    })
}

/// What a sink calls the samples of this program where nobody says.
fn default_name(shape: Shape) -> String {
    match shape {
        Shape::Vedette => "vedette",
        Shape::Cadvisor => "cadvisor",
    }
    .to_owned()
}

const COMPRESSIONS: [(&str, bool); 2] = [("gzip", true), ("none", false)];

fn elasticsearch(at: &At<'_>, written: ExportElasticsearch, shape: Shape) -> Result<SinkConfig, Error> {
    let index = written.index.unwrap_or_else(|| default_name(shape));
    let usable = |c: char| !c.is_uppercase() && !c.is_whitespace() && !"\\/*?\"<>|,#:".contains(c);
    if index.is_empty() || index.starts_with(['-', '_', '+']) || !index.chars().all(usable) {
        let reason = format!("{index:?} cannot be the name of an index; write for example metrics-vedette");
        return Err(at.refuse("index", reason));
    }
    let periods = [("never", IndexPer::Never), ("day", IndexPer::Day), ("month", IndexPer::Month)];
    let per = word(at, "index_per", written.index_per.as_deref(), &periods)?;
    if written.data_stream && per != IndexPer::Never {
        return Err(at.refuse("index_per", "a data stream begins new indices by itself; leave it out"));
    }
    Ok(SinkConfig::Elasticsearch(Elasticsearch {
        url: url(at, &written.url, "http://localhost:9200")?,
        client: client(at, written.auth, written.tls, written.headers, "ApiKey")?,
        index,
        per,
        is_stream: written.data_stream,
        gzip: word(at, "compression", written.compression.as_deref(), &COMPRESSIONS)?,
    }))
}

fn influxdb(at: &At<'_>, written: ExportInfluxDb, shape: Shape) -> Result<SinkConfig, Error> {
    let (mut database, mut policy) = (written.database, written.retention_policy);
    let (mut org, mut bucket) = (written.org, written.bucket);
    let name = |database: Option<String>| database.unwrap_or_else(|| default_name(shape));
    let number = written.version.unwrap_or(1);
    let version = match number {
        1 => InfluxVersion::V1 {
            database: name(database.take()),
            retention_policy: policy.take().unwrap_or_default(),
        },
        2 => {
            let needed = |key: &str, value: Option<String>| {
                value.filter(|v| !v.is_empty()).ok_or_else(|| at.refuse(key, "version 2 wants it; name it"))
            };
            InfluxVersion::V2 { org: needed("org", org.take())?, bucket: needed("bucket", bucket.take())? }
        }
        3 => InfluxVersion::V3 { database: name(database.take()) },
        other => return Err(at.refuse("version", format!("{other} is none of 1, 2, 3"))),
    };
    for (key, left) in
        [("database", database), ("retention_policy", policy), ("org", org), ("bucket", bucket)]
    {
        if left.is_some() {
            return Err(at.refuse(key, format!("version {number} does not know it; leave it out")));
        }
    }
    let scheme = if number == 3 { "Bearer" } else { "Token" };
    Ok(SinkConfig::InfluxDb(InfluxDb {
        url: url(at, &written.url, "http://localhost:8086")?,
        client: client(at, written.auth, written.tls, written.headers, scheme)?,
        version,
        gzip: word(at, "compression", written.compression.as_deref(), &COMPRESSIONS)?,
    }))
}

fn kafka(at: &At<'_>, written: ExportKafka, shape: Shape) -> Result<SinkConfig, Error> {
    if written.brokers.is_empty() {
        return Err(at.refuse("brokers", "name at least one, for example [localhost:9092]"));
    }
    for broker in &written.brokers {
        check_address(at, "brokers", broker, 9092)?;
    }
    let default = if shape == Shape::Cadvisor { "stats" } else { "vedette" };
    let topic = written.topic.unwrap_or_else(|| default.to_owned());
    let usable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if topic.is_empty() || topic.len() > 249 || !topic.chars().all(usable) {
        return Err(at.refuse("topic", format!("{topic:?} cannot be the name of a topic")));
    }
    let compressions = [
        ("snappy", KafkaCompression::Snappy),
        ("none", KafkaCompression::None),
        ("gzip", KafkaCompression::Gzip),
        ("zstd", KafkaCompression::Zstd),
    ];
    let tls = written.tls.map(|tls| client_tls(&at.below("tls"), tls)).transpose()?;
    if tls.as_ref().is_some_and(|tls| !tls.server_name.is_empty()) {
        let reason = "every broker is known by its own name; leave it out";
        return Err(at.below("tls").refuse("server_name", reason));
    }
    let mechanisms = [
        ("SCRAM-SHA-512", SaslMechanism::ScramSha512),
        ("SCRAM-SHA-256", SaslMechanism::ScramSha256),
        ("PLAIN", SaslMechanism::Plain),
    ];
    let sasl = |written: ExportSasl| {
        let at = at.below("sasl");
        if written.username.is_empty() {
            return Err(at.refuse("username", "name who one is"));
        }
        let password = secret(&at, "password", written.password, written.password_file)?;
        Ok(Sasl {
            mechanism: word(&at, "mechanism", written.mechanism.as_deref(), &mechanisms)?,
            username: written.username,
            password: password.ok_or_else(|| at.refuse("password", "give it, or password_file"))?,
        })
    };
    Ok(SinkConfig::Kafka(Kafka {
        brokers: written.brokers,
        topic,
        compression: word(at, "compression", written.compression.as_deref(), &compressions)?,
        tls,
        sasl: written.sasl.map(sasl).transpose()?,
    }))
}

fn redis(at: &At<'_>, written: ExportRedis, shape: Shape) -> Result<SinkConfig, Error> {
    check_address(at, "address", &written.address, 6379)?;
    let username = written.username.unwrap_or_default();
    let password = secret(at, "password", written.password, written.password_file)?;
    if password.is_none() && !username.is_empty() {
        return Err(at.refuse("password", "a name without one is of no use; give it, or password_file"));
    }
    let key = written.key.unwrap_or_else(|| default_name(shape));
    if key.is_empty() {
        return Err(at.refuse("key", "name it"));
    }
    Ok(SinkConfig::Redis(Redis {
        address: written.address,
        key,
        is_stream: word(at, "kind", written.kind.as_deref(), &[("list", false), ("stream", true)])?,
        length_max: written.max_length,
        database: written.database,
        username,
        password,
        tls: written.tls.map(|tls| client_tls(&at.below("tls"), tls)).transpose()?,
    }))
}

fn statsd(at: &At<'_>, written: ExportStatsd, shape: Shape) -> Result<SinkConfig, Error> {
    check_address(at, "address", &written.address, 8125)?;
    let packet_bytes_max = written.packet_size.unwrap_or(1432);
    if !(64..=65_507).contains(&packet_bytes_max) {
        return Err(at.refuse("packet_size", "a packet has 64 to 65507 bytes"));
    }
    let prefix = written.prefix.unwrap_or_else(|| default_name(shape));
    Ok(SinkConfig::Statsd(Statsd { address: written.address, prefix, packet_bytes_max }))
}

fn file(at: &At<'_>, written: &ExportFile) -> Result<SinkConfig, Error> {
    if written.path.as_os_str().is_empty() {
        return Err(at.refuse("path", "name the file"));
    }
    Ok(SinkConfig::File(FileSink {
        path: at.data.join(&written.path),
        bytes_max: bytes(&at.key("rotate_size"), written.rotate_size.as_deref().unwrap_or("100MiB"))?,
        kept: written.keep.unwrap_or(5),
    }))
}

/// Checks that there is a host and a port.
fn check_address(at: &At<'_>, key: &str, text: &str, port: u16) -> Result<(), Error> {
    let named = text.rsplit_once(':').filter(|(host, port)| {
        !host.is_empty() && !host.contains([':', '/', ' ']) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if named.is_some() || text.parse::<SocketAddr>().is_ok() {
        return Ok(());
    }
    Err(at.refuse(key, format!("{text:?} is no host with a port; write for example localhost:{port}")))
}

fn url(at: &At<'_>, text: &str, example: &str) -> Result<String, Error> {
    let refuse =
        || at.refuse("url", format!("{text:?} is no address of a server; write for example {example}"));
    let url: url::Url = text.parse().map_err(|_| refuse())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(refuse());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(at.refuse("url", "it has more than a scheme, a host and a path; leave that out"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(at.refuse("url", "a name and a password belong into `auth`"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn secret(
    at: &At<'_>,
    key: &str,
    text: Option<String>,
    file: Option<PathBuf>,
) -> Result<Option<SecretSource>, Error> {
    match (text, file) {
        (Some(_), Some(_)) => Err(at.refuse(key, format!("give it or {key}_file, and not both"))),
        (Some(text), None) => Ok(Some(SecretSource::Inline(Secret::new(text)))),
        (None, Some(file)) => Ok(Some(SecretSource::File(at.folder.join(file)))),
        (None, None) => Ok(None),
    }
}

fn client(
    at: &At<'_>,
    auth: ExportAuth,
    tls: ExportTls,
    headers: std::collections::BTreeMap<String, String>,
    scheme: &str,
) -> Result<HttpClient, Error> {
    let within = at.below("auth");
    let password = secret(&within, "password", auth.password, auth.password_file)?;
    let token = secret(&within, "token", auth.token, auth.token_file)?;
    let auth = match (auth.username, password, token) {
        (None, None, None) => Auth::None,
        (Some(username), password, None) => {
            Auth::Basic { username: SecretSource::Inline(Secret::new(username)), password }
        }
        (None, None, Some(token)) => {
            let scheme = auth.scheme.unwrap_or_else(|| scheme.to_owned());
            Auth::Authorization { scheme, credentials: Some(token) }
        }
        (None, Some(_), None) => {
            return Err(within.refuse("username", "a password belongs to a name; give it"));
        }
        (_, _, Some(_)) => return Err(within.refuse("token", "give a token or a name, and not both")),
    };
    let header = |(name, value): (String, String)| Header {
        name,
        values: vec![value],
        secrets: Vec::new(),
        files: Vec::new(),
    };
    Ok(HttpClient {
        auth,
        tls: client_tls(&at.below("tls"), tls)?,
        headers: headers.into_iter().map(header).collect(),
        ..HttpClient::default()
    })
}

fn client_tls(at: &At<'_>, written: ExportTls) -> Result<ClientTls, Error> {
    let file = |path: PathBuf| SecretSource::File(at.folder.join(path));
    let identity = match (written.cert_file, written.key_file) {
        (Some(cert), Some(key)) => Some((file(cert), file(key))),
        (None, None) => None,
        (Some(_), None) => return Err(at.refuse("key_file", "a certificate needs its key; name it")),
        (None, Some(_)) => return Err(at.refuse("cert_file", "a key needs its certificate; name it")),
    };
    Ok(ClientTls {
        ca: written.ca_file.map(file),
        identity,
        server_name: written.server_name.unwrap_or_default(),
        insecure_skip_verify: written.insecure_skip_verify,
        ..ClientTls::default()
    })
}

#[cfg(test)]
mod tests;
