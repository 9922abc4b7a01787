//! Kafka: messages of one document each, acknowledged by all replicas that are in step.
//!
//! Documents with the same key go to the same partition and stay in order there. A message bears the id
//! of its document in the header `id`: where an answer was lost on its way it is sent again, and
//! consumers can tell.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use rskafka::{
    BackoffConfig,
    client::{
        Client, ClientBuilder, Credentials, SaslConfig,
        error::{Error, ProtocolError},
        partition::{Compression, PartitionClient, UnknownTopicHandling},
    },
    record::Record,
};
use tokio::sync::Mutex;
use vedette_http_client::Encryption;
use vedette_sys::Clock;

use super::{Deliver, SinkError, again, secret};
use crate::export::{
    batch::{Batch, Delivery},
    target::{Kafka, KafkaCompression, SaslMechanism},
};

/// The way to a topic.
pub struct Sink(Arc<Inner>);

struct Inner {
    config: Kafka,
    encryption: Option<Encryption>,
    timeout: Duration,
    connection: Mutex<Option<Connection>>,
}

struct Connection {
    client: Client,
    /// Numbers of the topic's partitions.
    partitions: Vec<i32>,
    open: HashMap<i32, Arc<PartitionClient>>,
}

impl Sink {
    /// Nothing is connected yet.
    pub fn new(config: &Kafka, timeout: Duration, clock: &Arc<dyn Clock>) -> Result<Self, SinkError> {
        let encryption = config.tls.as_ref().map(|tls| Encryption::new(tls, clock)).transpose();
        let encryption = encryption.map_err(SinkError::Tls)?;
        let connection = Mutex::default();
        Ok(Self(Arc::new(Inner { config: config.clone(), encryption, timeout, connection })))
    }
}

impl Deliver for Sink {
    fn deliver(&self, batch: Arc<Batch>) -> BoxFuture<'static, Delivery> {
        let inner = self.0.clone();
        Box::pin(async move {
            let mut connection = inner.connection.lock().await;
            let delivered = tokio::time::timeout(inner.timeout, inner.deliver(&mut connection, &batch)).await;
            let delivery = delivered.unwrap_or_else(|_| again(format!("no answer in {:?}", inner.timeout)));
            if matches!(delivery, Delivery::Again { .. }) {
                *connection = None;
            }
            delivery
        })
    }
}

impl Inner {
    async fn deliver(&self, connection: &mut Option<Connection>, batch: &Batch) -> Delivery {
        let connection = match connection {
            Some(connection) => connection,
            None => match self.connect().await {
                Ok(made) => connection.insert(made),
                Err(message) => return again(message),
            },
        };
        let mut outcome = Parts::default();
        for (partition, documents) in by_partition(batch, &connection.partitions) {
            let records = documents.iter().map(|at| record(batch, *at)).collect();
            match self.produce(connection, partition, records).await {
                Ok(()) => outcome.is_some_taken = true,
                Err(error) => outcome.note(&error, documents),
            }
        }
        outcome.delivery(batch.documents.len())
    }

    async fn connect(&self) -> Result<Connection, String> {
        let config = &self.config;
        let mut builder = ClientBuilder::new(config.brokers.clone())
            .client_id("vedette")
            // Whoever waits here decides when to try again, and is told why before the time is over.
            .backoff_config(BackoffConfig { deadline: Some(self.timeout / 2), ..BackoffConfig::default() });
        if let Some(encryption) = &self.encryption {
            builder = builder.tls_config(encryption.current().map_err(|error| error.to_string())?);
        }
        if let Some(sasl) = &config.sasl {
            let password = secret(&sasl.password).map_err(|error| error.to_string())?;
            let credentials = Credentials::new(sasl.username.clone(), password);
            builder = builder.sasl_config(match sasl.mechanism {
                SaslMechanism::Plain => SaslConfig::Plain(credentials),
                SaslMechanism::ScramSha256 => SaslConfig::ScramSha256(credentials),
                SaslMechanism::ScramSha512 => SaslConfig::ScramSha512(credentials),
            });
        }
        let client = builder.build().await.map_err(|error| error.to_string())?;
        let topics = client.list_topics().await.map_err(|error| error.to_string())?;
        let topic = topics.into_iter().find(|topic| topic.name == config.topic);
        let topic = topic.ok_or_else(|| format!("there is no topic {:?}; make it", config.topic))?;
        let partitions: Vec<_> = topic.partitions.into_iter().collect();
        if partitions.is_empty() {
            return Err(format!("the topic {:?} has no partition", config.topic));
        }
        Ok(Connection { client, partitions, open: HashMap::new() })
    }

    async fn produce(
        &self,
        connection: &mut Connection,
        partition: i32,
        records: Vec<Record>,
    ) -> Result<(), Error> {
        let client = match connection.open.get(&partition) {
            Some(client) => client.clone(),
            None => {
                let topic = self.config.topic.clone();
                let handling = UnknownTopicHandling::Error;
                let opened = connection.client.partition_client(topic, partition, handling).await?;
                let opened = Arc::new(opened);
                connection.open.insert(partition, opened.clone());
                opened
            }
        };
        let compression = match self.config.compression {
            KafkaCompression::None => Compression::NoCompression,
            KafkaCompression::Gzip => Compression::Gzip,
            KafkaCompression::Snappy => Compression::Snappy,
            KafkaCompression::Zstd => Compression::Zstd,
        };
        client.produce(records, compression).await.map(drop)
    }
}

/// What became of the parts of a batch.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) is_some_taken: bool,
    pub(super) too_large: Vec<usize>,
    pub(super) later: Vec<usize>,
    pub(super) message: String,
}

impl Parts {
    pub(super) fn note(&mut self, error: &Error, documents: Vec<usize>) {
        let is_too_large = matches!(
            error,
            Error::ServerError {
                protocol_error: ProtocolError::MessageTooLarge | ProtocolError::RecordListTooLarge,
                ..
            }
        );
        if is_too_large { &mut self.too_large } else { &mut self.later }.extend(documents);
        self.message = error.to_string();
    }

    pub(super) fn delivery(self, documents: usize) -> Delivery {
        let Self { is_some_taken, mut too_large, mut later, message } = self;
        match (too_large.len(), later.len()) {
            (0, 0) => Delivery::Taken,
            (large, 0) if large == documents => Delivery::TooLarge { message },
            (0, _) if !is_some_taken => again(message),
            // Those that are too large come by themselves next time, and then less at once.
            _ => {
                too_large.append(&mut later);
                Delivery::Partly { refused: Vec::new(), again: too_large, message }
            }
        }
    }
}

/// Documents by the partition of their key.
pub(super) fn by_partition(batch: &Batch, partitions: &[i32]) -> BTreeMap<i32, Vec<usize>> {
    let mut parts: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for (at, document) in batch.documents.iter().enumerate() {
        let place = document.key % partitions.len() as u64;
        let partition = partitions[usize::try_from(place).unwrap_or(0)];
        parts.entry(partition).or_default().push(at);
    }
    parts
}

pub(super) fn record(batch: &Batch, at: usize) -> Record {
    let document = &batch.documents[at];
    let id = format!("{:032x}", document.id).into_bytes();
    Record {
        key: None,
        value: Some(batch.document(at).to_vec()),
        headers: BTreeMap::from([("id".to_owned(), id)]),
        timestamp: DateTime::<Utc>::from_timestamp_millis(document.time_ms).unwrap_or_default(),
    }
}
