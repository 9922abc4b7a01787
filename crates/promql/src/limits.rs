//! What a query may take, and how it is stopped.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use vedette_model::ReadError;

use crate::{Threads, budget::MemoryBudget, observe::Observer, span::ParseErrors};

/// What a query may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Samples held in memory at once; each takes 8 to 16 bytes.
    pub samples_max: u64,
    /// Evaluations of a range query.
    pub steps_max: u64,
    /// Series of one selector; 0 means no limit.
    pub series_max: usize,
}

impl Default for Limits {
    /// Prometheus' limits.
    fn default() -> Self {
        Self { samples_max: 50_000_000, steps_max: 11_000, series_max: 0 }
    }
}

/// Stops a query from outside: by [`Cancel::cancel`], or when the query is overdue. Cloning shares it.
#[derive(Clone, Default)]
pub struct Cancel {
    stopped: Arc<AtomicBool>,
    overdue: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
    memory: Option<Arc<MemoryBudget>>,
    observer: Option<Arc<Observer>>,
    threads: Option<Arc<Threads>>,
}

impl Cancel {
    /// Never overdue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Overdue as soon as `overdue` says so; it is asked every few thousand samples and must be cheap.
    pub fn with_deadline(overdue: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { overdue: Some(Arc::new(overdue)), ..Self::default() }
    }

    /// The same, for a query that holds its memory out of a budget. Without one there is no limit.
    #[must_use]
    pub fn with_memory(self, budget: Arc<MemoryBudget>) -> Self {
        Self { memory: Some(budget), ..self }
    }

    /// The same, for a query that may have threads beside its own if it takes long. `overdue` is then
    /// asked by them too.
    #[must_use]
    pub fn with_threads(self, threads: Arc<Threads>) -> Self {
        Self { threads: Some(threads), ..self }
    }

    /// The threads that the query may have.
    pub(crate) fn threads(&self) -> Option<&Threads> {
        self.threads.as_deref()
    }

    /// The same, for a query that is watched.
    #[must_use]
    pub fn with_observer(self, observer: Arc<Observer>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Who watches the query.
    pub(crate) fn observer(&self) -> Option<&Observer> {
        self.observer.as_deref()
    }

    /// Counts bytes that the query holds from now on. On an error they must not be.
    pub fn hold_bytes(&self, bytes: u64) -> Result<(), QueryError> {
        self.memory.as_ref().map_or(Ok(()), |memory| memory.hold(bytes))
    }

    /// Counts bytes that the query does not hold any longer.
    pub fn release_bytes(&self, bytes: u64) {
        if let Some(memory) = &self.memory {
            memory.release(bytes);
        }
    }

    /// Stops the queries that hold this.
    pub fn cancel(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether to go on.
    pub fn check(&self) -> Result<(), QueryError> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(QueryError::Canceled);
        }
        match &self.overdue {
            Some(overdue) if overdue() => Err(QueryError::Timeout),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancel").field("stopped", &self.stopped).finish_non_exhaustive()
    }
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The text is no valid query.
    #[error(transparent)]
    Parse(#[from] ParseErrors),
    /// The parameters of the request do not make sense.
    #[error("{0}")]
    Invalid(String),
    /// The query cannot be evaluated over this data.
    #[error("{0}")]
    Execution(String),
    /// The query needs something that is not evaluated yet.
    #[error("{what} cannot be evaluated yet")]
    Unsupported {
        /// What.
        what: String,
    },
    /// More samples than allowed.
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// More memory than one query may have.
    #[error("the query needs more than the {} MiB of memory that one query may have; narrow its selectors or its range", bytes_max >> 20)]
    TooMuchMemory {
        /// The limit.
        bytes_max: u64,
    },
    /// The memory of all queries is in use.
    #[error("the queries that run have all the memory that queries may have; ask again later")]
    MemoryExhausted,
    /// It took too long.
    #[error("query timed out in expression evaluation")]
    Timeout,
    /// It was stopped.
    #[error("query was canceled in expression evaluation")]
    Canceled,
    /// The store cannot be read.
    #[error("cannot read the series: {0}")]
    Storage(#[from] ReadError),
}

impl QueryError {
    /// Prometheus' `errorType` for this error.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Parse(_) | Self::Invalid(_) => "bad_data",
            Self::Execution(_)
            | Self::Unsupported { .. }
            | Self::TooManySamples
            | Self::TooMuchMemory { .. } => "execution",
            Self::MemoryExhausted => "unavailable",
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
            Self::Storage(_) => "internal",
        }
    }
}
