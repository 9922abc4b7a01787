//! The door into the stores, as those find it who push samples over HTTP.

use std::sync::Arc;

use vedette_api::{Counts, InfluxPrecision, Protocol, RemoteWriter, RemoteWritten};
use vedette_ingest::{Receiver, WriteError, Written};

/// The door, for the server.
pub struct PushDoor(pub Arc<Receiver>);

impl RemoteWriter for PushDoor {
    fn write(&self, protocol: &Protocol, body: &[u8]) -> RemoteWritten {
        told(match protocol {
            Protocol::RemoteWrite => self.0.remote_write(body),
            Protocol::RemoteWriteV2 => self.0.remote_write_v2(body),
            Protocol::OtlpProtobuf => self.0.otlp(body, false),
            Protocol::OtlpJson => self.0.otlp(body, true),
            Protocol::InfluxLines { precision, database } => {
                self.0.influx_lines(body, nanoseconds(*precision), database)
            }
        })
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
