//! Evaluation, series by series.

use vedette_model::MetricReader;

use crate::{Cancel, EngineConfig, Limits, QueryError, QueryOutput, ast::Expr};

/// When to evaluate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query {
    pub start_ms: i64,
    pub end_ms: i64,
    pub step_ms: i64,
    pub config: EngineConfig,
}

pub(crate) fn instant(
    _reader: &dyn MetricReader,
    expr: &Expr,
    _query: Query,
    _limits: &Limits,
    _cancel: &Cancel,
) -> Result<QueryOutput, QueryError> {
    Err(QueryError::Unsupported { what: expr.to_string() })
}

pub(crate) fn range(
    _reader: &dyn MetricReader,
    expr: &Expr,
    _query: Query,
    _limits: &Limits,
    _cancel: &Cancel,
) -> Result<QueryOutput, QueryError> {
    Err(QueryError::Unsupported { what: expr.to_string() })
}
