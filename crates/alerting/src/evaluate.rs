//! Asking a rule's question of the series. A fault in the evaluator ends the one evaluation, not
//! the judgement of all other rules.

use std::panic::{AssertUnwindSafe, catch_unwind};

use vedette_model::{Labels, MetricReader};
use vedette_promql::{Cancel, Engine, Expr, Limits, Value};

/// A query's answer, series by series; a scalar is one without labels.
pub(crate) type Vector = Vec<(Labels, f64)>;

/// The query engine over series, at whatever time.
pub(crate) struct Evaluator<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) limits: Limits,
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

impl Evaluator<'_> {
    pub(crate) fn ask(
        &self,
        reader: &dyn MetricReader,
        expr: &Expr,
        time_ms: i64,
    ) -> Result<Vector, EvaluationError> {
        // Sound to go on after: the engine keeps no state and the reader is only read.
        let answer = catch_unwind(AssertUnwindSafe(|| {
            self.engine.instant(reader, expr, time_ms, &self.limits, &Cancel::new())
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
        Value::Vector(samples) => Ok(samples.into_iter().map(|s| (s.labels, s.value)).collect()),
        Value::Scalar { value, .. } => Ok(vec![(Labels::empty(), value)]),
        Value::String { .. } | Value::Matrix(_) => {
            Err("rule result is not a vector or scalar".to_owned().into())
        }
    }
}
