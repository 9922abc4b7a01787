//! The door for those who push: requests of foreign protocols, which know no numbering of series.
//!
//! What it takes is kept in the metric store, or, where there is none, by those to whom it is sent on.

use std::sync::Arc;

use parking_lot::RwLock;
use vedette_model::{
    Sink,
    telemetry::{MetricSource, MetricVisitor},
};
use vedette_sys::Clock;
use vedette_tsdb::Tsdb;
use vedette_wire::otlp::Request;

use crate::{
    Config,
    intake::{Intake, Stores, WriteError, Written},
    keeper::{Keeper, Passing, Store},
    lines,
    metrics::{self, Metrics, Sizes},
    onward::Onward,
    otlp::{self, OtlpSettings},
    remote_write,
};

/// Takes what is pushed. Shared as `Arc<Receiver>`; several threads may call it.
pub struct Receiver {
    config: Config,
    clock: Arc<dyn Clock>,
    keeper: Box<dyn Keeper>,
    onward: Arc<Onward>,
    intake: Intake,
    otlp: RwLock<Arc<OtlpSettings>>,
    otlp_totals: otlp::Totals,
    metrics: Arc<Metrics>,
}

impl Receiver {
    /// A door to which no store belongs: what it takes is only sent on, and acknowledged once all of
    /// those who get it have it.
    pub fn without_store(config: Config, clock: Arc<dyn Clock>) -> Self {
        let onward = Arc::new(Onward::new(clock.clone()));
        let keeper = Box::new(Passing::new(onward.clone()));
        Self::new(config, clock, keeper, onward, Arc::default())
    }

    pub(crate) fn of_store(
        config: Config,
        tsdb: Arc<Tsdb>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let onward = Arc::new(Onward::new(clock.clone()));
        let keeper = Box::new(Store { tsdb, onward: onward.clone() });
        Self::new(config, clock, keeper, onward, metrics)
    }

    fn new(
        config: Config,
        clock: Arc<dyn Clock>,
        keeper: Box<dyn Keeper>,
        onward: Arc<Onward>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let intake = Intake::new(config.known_series_max);
        Self {
            config,
            clock,
            keeper,
            onward,
            intake,
            otlp: RwLock::default(),
            otlp_totals: otlp::Totals::default(),
            metrics,
        }
    }

    /// Sends what is pushed on to a sink as well, in the place of the one of that name, or no more.
    /// Costs nothing where there is none. What a sink cannot take is counted; it does not hold up the
    /// store.
    pub fn send_on(&self, name: &str, sink: Option<Arc<dyn Sink>>) {
        let is_new = sink.is_some();
        self.onward.set_sink(name, sink);
        if is_new {
            // Metadata is told once, and the new one has heard nothing of it.
            self.intake.forget_told();
        }
    }

    /// Takes the body of a remote-write request: a `prometheus.WriteRequest` in Snappy's block
    /// format. What this tells as stored is in the write-ahead log.
    pub fn remote_write(&self, body: &[u8]) -> Result<Written, WriteError> {
        self.intake
            .pass(self.stores(), body.len(), |passage, scratch| remote_write::take(passage, scratch, body))
    }

    /// The same of remote write 2.0: an `io.prometheus.write.v2.Request`.
    pub fn remote_write_v2(&self, body: &[u8]) -> Result<Written, WriteError> {
        self.intake.pass(self.stores(), body.len(), |passage, scratch| {
            remote_write::v2::take(passage, scratch, body)
        })
    }

    /// The same of OpenTelemetry: an `ExportMetricsServiceRequest`, as Protocol Buffers or as JSON.
    pub fn otlp(&self, body: &[u8], is_json: bool) -> Result<Written, WriteError> {
        let settings = self.otlp.read().clone();
        self.intake.pass(self.stores(), body.len(), |passage, scratch| {
            let request = if is_json { Request::from_json(body) } else { Request::from_protobuf(body) };
            let request = request.map_err(|e| WriteError::Malformed(e.to_string()))?;
            otlp::take(passage, scratch, &request, &settings, &self.otlp_totals)
        })
    }

    /// The same of InfluxDB: lines whose times are counts of so many nanoseconds, or guessed by their
    /// size. The database becomes a label, unless it is empty.
    pub fn influx_lines(
        &self,
        body: &[u8],
        nanoseconds: Option<i64>,
        database: &str,
    ) -> Result<Written, WriteError> {
        self.intake.pass(self.stores(), body.len(), |passage, scratch| {
            lines::take_influx(passage, scratch, body, nanoseconds, database)
        })
    }

    /// The same of Graphite's plaintext protocol.
    pub fn graphite_lines(&self, body: &[u8]) -> Result<Written, WriteError> {
        self.intake
            .pass(self.stores(), body.len(), |passage, scratch| lines::take_graphite(passage, scratch, body))
    }

    /// Sets how metrics of OpenTelemetry are taken from now on.
    pub fn set_otlp(&self, settings: OtlpSettings) {
        *self.otlp.write() = Arc::new(settings);
    }

    /// What is kept in memory, with so many senders of batches.
    pub(crate) fn sizes(&self, origins: usize) -> Sizes {
        Sizes {
            origins,
            known_series: self.intake.known_series(),
            known_series_bytes: self.intake.known_series_bytes(),
            lost_onward: self.onward.lost.get(),
        }
    }

    fn stores(&self) -> Stores<'_> {
        let Self { config, keeper, metrics, .. } = self;
        Stores { config, keeper: &**keeper, metrics, now_ms: self.clock.unix_ms() }
    }
}

impl MetricSource for Receiver {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        metrics::visit(&self.metrics, &self.sizes(0), visitor);
    }
}
