//! What PromQL queries may take, checked.

use std::{path::PathBuf, time::Duration};

use super::{Error, MemoryLimit, Query, bytes, duration, memory_limit};

/// Checked settings of queries; see [`Query`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuerySettings {
    /// See [`Query`].
    pub timeout: Duration,
    /// See [`Query`].
    pub concurrency: usize,
    /// See [`Query`].
    pub concurrency_per_client: usize,
    /// See [`Query`].
    pub threads: usize,
    /// See [`Query`].
    pub waiting: usize,
    /// See [`Query`].
    pub waiting_per_client: usize,
    /// See [`Query`].
    pub samples: u64,
    /// In bytes.
    pub memory: u64,
    /// Of all queries together.
    pub total_memory: MemoryLimit,
    /// In bytes.
    pub answer_size: usize,
    /// See [`Query`].
    pub lookback: Duration,
    /// In bytes; 0 keeps no answers.
    pub cache: usize,
    /// See [`Query`].
    pub slow: Duration,
    /// See [`Query`].
    pub log_file: Option<PathBuf>,
}

pub(super) fn settings(place: &str, written: Query) -> Result<QuerySettings, Error> {
    let at = |key: &str| format!("{place}.{key}");
    let count = |key: &str, written: Option<usize>, default: usize| match written {
        Some(0) => Err(Error::Value { place: at(key), reason: "is 0; at least 1 is needed".into() }),
        other => Ok(other.unwrap_or(default)),
    };
    let size = |key: &str, written: Option<&str>, default: &str| {
        let size = bytes(&at(key), written.unwrap_or(default))?;
        let too_large = || Error::Value { place: at(key), reason: format!("{size} bytes are too many") };
        usize::try_from(size).map_err(|_| too_large())
    };
    let concurrency = count("max_concurrency", written.max_concurrency, 20)?;
    let waiting = count("max_waiting", written.max_waiting, 1000)?;
    Ok(QuerySettings {
        timeout: duration(&at("timeout"), written.timeout.as_deref(), "2m")?,
        concurrency,
        concurrency_per_client: count(
            "max_concurrency_per_client",
            written.max_concurrency_per_client,
            (concurrency * 3 / 4).max(1),
        )?,
        threads: threads(at("threads"), written.threads)?,
        waiting,
        waiting_per_client: count(
            "max_waiting_per_client",
            written.max_waiting_per_client,
            (waiting / 4).max(1),
        )?,
        samples: written.max_samples.unwrap_or(50_000_000),
        memory: bytes(&at("memory"), written.memory.as_deref().unwrap_or("512MiB"))?,
        total_memory: memory_limit(&at("total_memory"), written.total_memory.as_deref().unwrap_or("25%"))?,
        answer_size: size("max_answer_size", written.max_answer_size.as_deref(), "256MiB")?,
        lookback: duration(&at("lookback_delta"), written.lookback_delta.as_deref(), "5m")?,
        cache: match written.cache.as_deref() {
            Some("off") => 0,
            other => size("cache", other, "64MiB")?,
        },
        slow: duration(&at("slow"), written.slow.as_deref(), "5s")?,
        log_file: written.log_file,
    })
}

/// Nothing gets faster by more.
const THREADS_MAX: usize = 64;

fn threads(place: String, written: Option<usize>) -> Result<usize, Error> {
    match written {
        Some(count) if count > THREADS_MAX => {
            Err(Error::Value { place, reason: format!("is {count}; at most {THREADS_MAX} are of use") })
        }
        Some(count) => Ok(count),
        None => {
            let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            Ok((processors - 1).min(THREADS_MAX))
        }
    }
}
