//! The door into the stores, as those find it who push samples and audit records over HTTP.

use std::sync::Arc;

use vedette_api::{Counts, InfluxPrecision, Protocol, RemoteWriter, RemoteWritten};
use vedette_ingest::{Receiver, WriteError, Written};

use crate::cluster_audit::{AuditDesks, WebhookError};

/// The door, for the server.
pub struct PushDoor {
    /// Takes samples.
    pub samples: Arc<Receiver>,
    /// Takes audit records.
    pub audit: AuditDesks,
}

impl RemoteWriter for PushDoor {
    fn write(&self, protocol: &Protocol, body: &[u8]) -> RemoteWritten {
        told(match protocol {
            Protocol::RemoteWrite => self.samples.remote_write(body),
            Protocol::RemoteWriteV2 => self.samples.remote_write_v2(body),
            Protocol::OtlpProtobuf => self.samples.otlp(body, false),
            Protocol::OtlpJson => self.samples.otlp(body, true),
            Protocol::InfluxLines { precision, database } => {
                self.samples.influx_lines(body, nanoseconds(*precision), database)
            }
            Protocol::Audit { cluster } => return audited(self.audit.webhook(cluster, body)),
        })
    }
}

fn audited(taken: Result<(), WebhookError>) -> RemoteWritten {
    match taken {
        Ok(()) => RemoteWritten::Stored(Counts::default()),
        Err(WebhookError::Refused(text)) => RemoteWritten::Refused(Counts::default(), text),
        Err(WebhookError::Retry(text)) => RemoteWritten::Retry(text),
    }
}

fn nanoseconds(precision: InfluxPrecision) -> Option<i64> {
    match precision {
        InfluxPrecision::Guess => None,
        InfluxPrecision::Nanoseconds(each) => Some(each),
    }
}

fn told(written: Result<Written, WriteError>) -> RemoteWritten {
    match written {
        Ok(written) => {
            let counts = Counts {
                samples: written.samples - written.histograms,
                histograms: written.histograms,
                exemplars: written.exemplars,
                refused_samples: written.refused_samples,
            };
            match written.refused {
                None => RemoteWritten::Stored(counts),
                Some(text) => RemoteWritten::Refused(counts, text),
            }
        }
        Err(WriteError::Malformed(text)) => RemoteWritten::Refused(Counts::default(), text),
        Err(WriteError::TooLarge(text)) => RemoteWritten::TooLarge(text),
        Err(WriteError::Retry(text)) => RemoteWritten::Retry(text),
    }
}
