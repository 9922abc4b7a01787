//! Asking a rule's question of the series. A fault in the evaluator ends the one evaluation, not
//! the judgement of all other rules.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use vedette_model::{Labels, MetricReader, NativeHistogram};
use vedette_promql::{Cancel, Engine, Expr, Histogram, Limits, MemoryBudget, MemoryPool, Sample, Value};

use crate::{config::Config, tick::Stopwatch};

/// A query's answer, series by series; a scalar is one without labels.
pub(crate) type Vector = Vec<(Labels, Given)>;

/// What a series has at one time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Given {
    /// The value; 0, as in Prometheus, of a histogram.
    pub(crate) value: f64,
    pub(crate) histogram: Option<Arc<NativeHistogram>>,
}

impl Given {
    /// The value as templates write it: a histogram as text.
    pub(crate) fn to_template(&self) -> vedette_gotemplate::Value {
        match self.histogram.as_deref().map(Histogram::from_native) {
            Some(Ok(histogram)) => histogram.to_string().into(),
            _ => self.value.into(),
        }
    }
}

impl From<f64> for Given {
    fn from(value: f64) -> Self {
        Self { value, histogram: None }
    }
}

impl From<&Sample> for Given {
    fn from(sample: &Sample) -> Self {
        match &sample.histogram {
            None => sample.value.into(),
            Some(histogram) => Self { value: 0.0, histogram: Some(Arc::new(histogram.to_native())) },
        }
    }
}

/// The query engine over series, at whatever time.
pub(crate) struct Evaluator<'a> {
    engine: &'a Engine,
    limits: Limits,
    memory_bytes_max: u64,
    timeout_ns: u64,
    stopwatch: Stopwatch,
}

/// Why a query has no usable answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EvaluationError {
    pub(crate) message: String,
    /// The evaluator itself is at fault.
    pub(crate) panicked: bool,
}

impl From<String> for EvaluationError {
    fn from(message: String) -> Self {
        Self { message, panicked: false }
    }
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(engine: &'a Engine, config: &Config, stopwatch: &Stopwatch) -> Self {
        Self {
            engine,
            limits: config.query_limits,
            memory_bytes_max: config.query_memory_bytes_max,
            timeout_ns: config.query_timeout_ms.unsigned_abs().saturating_mul(1_000_000),
            stopwatch: stopwatch.clone(),
        }
    }

    /// What ends an evaluation that takes too long or too much: the rules after it wait for it.
    fn cancel(&self) -> Cancel {
        let deadline_ns = (self.stopwatch)().saturating_add(self.timeout_ns);
        let stopwatch = self.stopwatch.clone();
        let memory = MemoryBudget::new(self.memory_bytes_max, &MemoryPool::new(u64::MAX));
        Cancel::with_deadline(move || stopwatch() > deadline_ns).with_memory(memory)
    }

    pub(crate) fn ask(
        &self,
        reader: &dyn MetricReader,
        expr: &Expr,
        time_ms: i64,
    ) -> Result<Vector, EvaluationError> {
        // Sound to go on after: the engine keeps no state and the reader is only read.
        let answer = catch_unwind(AssertUnwindSafe(|| {
            self.engine.instant(reader, expr, time_ms, &self.limits, &self.cancel())
        }));
        match answer {
            Ok(Ok(output)) => vector(output.value),
            Ok(Err(error)) => Err(error.to_string().into()),
            Err(_) => {
                let message = "BUG: the evaluation of this query panicked; please report the query".into();
                Err(EvaluationError { message, panicked: true })
            }
        }
    }
}

fn vector(value: Value) -> Result<Vector, EvaluationError> {
    match value {
        Value::Vector(samples) => {
            Ok(samples.into_iter().map(|s| (s.labels.clone(), Given::from(&s))).collect())
        }
        Value::Scalar { value, .. } => Ok(vec![(Labels::empty(), value.into())]),
        Value::String { .. } | Value::Matrix(_) => {
            Err("rule result is not a vector or scalar".to_owned().into())
        }
    }
}
