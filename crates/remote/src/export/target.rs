//! What is configured of the sinks of exports. All of it is checked by whoever reads a configuration.

use std::{path::PathBuf, time::Duration};

use vedette_config::{ClientTls, HttpClient, SecretSource};

use super::encode::{Form, IndexPer, Shape, cadvisor::Dialect};

/// Where samples are exported to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkConfig {
    /// Elasticsearch and OpenSearch.
    Elasticsearch(Elasticsearch),
    /// InfluxDB.
    InfluxDb(InfluxDb),
    /// Kafka.
    Kafka(Kafka),
    /// Redis.
    Redis(Redis),
    /// A statsd server.
    Statsd(Statsd),
    /// Standard output of this process.
    Stdout,
    /// A file.
    File(FileSink),
}

/// Elasticsearch from version 7 on, and OpenSearch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elasticsearch {
    /// The server, without `_bulk`.
    pub url: String,
    /// How it is asked.
    pub client: HttpClient,
    /// The index, or the data stream.
    pub index: String,
    /// Whether the name of the index changes.
    pub per: IndexPer,
    /// Whether it is a data stream.
    pub is_stream: bool,
    /// Whether requests are compressed.
    pub gzip: bool,
}

/// InfluxDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InfluxDb {
    /// The server, without `/write`.
    pub url: String,
    /// How it is asked.
    pub client: HttpClient,
    /// Which version it is, and where points go.
    pub version: InfluxVersion,
    /// Whether requests are compressed.
    pub gzip: bool,
}

/// The versions of InfluxDB, which take points in different places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InfluxVersion {
    /// `/write`
    V1 {
        /// The database.
        database: String,
        /// The retention policy; the database's own where it is empty.
        retention_policy: String,
    },
    /// `/api/v2/write`
    V2 {
        /// The organization.
        org: String,
        /// The bucket.
        bucket: String,
    },
    /// `/api/v3/write_lp`
    V3 {
        /// The database.
        database: String,
    },
}

/// Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kafka {
    /// Brokers to begin with, each with its port.
    pub brokers: Vec<String>,
    /// The topic, which must be there.
    pub topic: String,
    /// How batches are compressed.
    pub compression: KafkaCompression,
    /// Encryption, if any.
    pub tls: Option<ClientTls>,
    /// Who one is.
    pub sasl: Option<Sasl>,
}

/// How batches for Kafka are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KafkaCompression {
    /// Not at all.
    None,
    /// By gzip.
    Gzip,
    /// By Snappy.
    #[default]
    Snappy,
    /// By Zstandard.
    Zstd,
}

/// Name and password for Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sasl {
    /// How they are told.
    pub mechanism: SaslMechanism,
    /// The name.
    pub username: String,
    /// The password.
    pub password: SecretSource,
}

/// How name and password are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// As they are.
    Plain,
    /// SCRAM-SHA-256
    ScramSha256,
    /// SCRAM-SHA-512
    ScramSha512,
}

/// Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// Host and port.
    pub address: String,
    /// The key of the list or stream.
    pub key: String,
    /// Whether it is a stream, and not a list.
    pub is_stream: bool,
    /// Beyond so many entries the oldest are removed; 0 removes none.
    pub length_max: u64,
    /// The number of the database.
    pub database: u32,
    /// The name, where the server has users.
    pub username: String,
    /// The password.
    pub password: Option<SecretSource>,
    /// Encryption, if any.
    pub tls: Option<ClientTls>,
}

/// A statsd server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statsd {
    /// Host and port.
    pub address: String,
    /// What is before every name.
    pub prefix: String,
    /// The longest packet.
    pub packet_bytes_max: usize,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSink {
    /// Where it is.
    pub path: PathBuf,
    /// It is put aside when it is longer.
    pub bytes_max: u64,
    /// How many that were put aside are kept.
    pub kept: u32,
}

impl SinkConfig {
    /// The word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Elasticsearch(_) => "elasticsearch",
            Self::InfluxDb(_) => "influxdb",
            Self::Kafka(_) => "kafka",
            Self::Redis(_) => "redis",
            Self::Statsd(_) => "statsd",
            Self::Stdout => "stdout",
            Self::File(_) => "file",
        }
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        match self {
            Self::Elasticsearch(Elasticsearch { url, .. }) | Self::InfluxDb(InfluxDb { url, .. }) => {
                without_password(url)
            }
            Self::Kafka(kafka) => format!("{} topic {}", kafka.brokers.join(","), kafka.topic),
            Self::Redis(redis) => format!("{} key {}", redis.address, redis.key),
            Self::Statsd(statsd) => statsd.address.clone(),
            Self::Stdout => "standard output".into(),
            Self::File(file) => file.path.display().to_string(),
        }
    }

    /// What it wants to be sent.
    pub(crate) fn form(&self, shape: Shape) -> Form {
        match self {
            Self::Elasticsearch(e) => {
                Form::Bulk { index: e.index.clone(), per: e.per, is_stream: e.is_stream }
            }
            Self::InfluxDb(_) => Form::Lines,
            Self::Kafka(_) => Form::Objects { lines: false, dialect: Dialect::Kafka },
            Self::Redis(_) => Form::Objects { lines: false, dialect: Dialect::Microseconds },
            Self::Statsd(statsd) => Form::Statsd { prefix: statsd.prefix.clone() },
            Self::Stdout | Self::File(_) if shape == Shape::Cadvisor => Form::Text,
            Self::Stdout | Self::File(_) => Form::Objects { lines: true, dialect: Dialect::Microseconds },
        }
    }
}

fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.split('/').next().unwrap_or(rest);
    match authority.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://{}", &rest[user.len() + 1..]),
        None => url.to_owned(),
    }
}

/// One export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Its name, which no other has: under it its cursor is kept.
    pub name: String,
    /// What is exported, and how often it is tried.
    pub plan: super::ExportPlan,
    /// Whose documents are written.
    pub shape: Shape,
    /// How long a delivery may take.
    pub timeout: Duration,
    /// Where to.
    pub sink: SinkConfig,
}
