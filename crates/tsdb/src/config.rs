//! Settings of the store.

use std::{path::PathBuf, time::Duration};

pub use vedette_sys::Flush;

use crate::{Error, RetentionRule, head::SHARDS_MAX, retention::RULES_MAX};

/// Rows that stand for the samples of a step, and how long they are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollup {
    /// Length of a step: whole seconds.
    pub step_ms: i64,
    /// Rows older than this are removed.
    pub retention_ms: i64,
}

/// Lengths of steps that are kept beside each other.
const ROLLUPS_MAX: usize = 8;

/// Settings of the store; [`Config::new`] gives working defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Folder of the store; made if it is not there. One process at a time may use it: the
    /// owner of the data folder holds its lock.
    pub folder: PathBuf,
    /// When acknowledged samples are made to survive a loss of power too. They survive the end
    /// of the process in any case.
    pub flush: Flush,
    /// Samples older than this are removed. Default 15 days.
    pub retention_ms: i64,
    /// Series whose samples are removed earlier or later; the first rule that fits a series counts.
    pub retention_rules: Vec<RetentionRule>,
    /// The store removes its oldest samples when it is larger than this; 0 means no limit.
    pub retention_bytes: u64,
    /// Samples in the head are sealed in stretches of this length. Default 10 minutes.
    pub segment_span_ms: i64,
    /// Lengths up to which segments are merged, shortest first. Default 2 hours and 1 day.
    pub compaction_spans_ms: Vec<i64>,
    /// Rollups of samples that are older than the longest of these lengths; with none of either
    /// there are no rollups. Of `retention_bytes` they take a quarter at most. Default 5 minutes,
    /// kept for 90 days, and 1 hour, kept for 2 years.
    pub rollups: Vec<Rollup>,
    /// Series that may take samples at the same time; further ones are refused. Default 1,000,000.
    pub series_max: usize,
    /// Memory that series, their index and samples not sealed yet may take; beyond it further
    /// series are refused, while those that are there go on. 0 means no limit, the default: only
    /// the owner knows what else the machine does.
    pub head_bytes_max: u64,
    /// Series of one metric name; further ones are refused. 0 means no limit, the default.
    pub metric_series_max: usize,
    /// Series of one target, with the same `job` and `instance`; further ones are refused. 0
    /// means no limit, the default.
    pub target_series_max: usize,
    /// Series of one tenant, with the same value of `tenant_label`; further ones are refused. 0 means
    /// no limit, the default.
    pub tenant_series_max: usize,
    /// The label that names the tenant. Default `tenant`.
    pub tenant_label: String,
    /// Bytes of one label set. Default 64 KiB.
    pub labels_bytes_max: usize,
    /// Metric families of which metadata is kept. Default 100,000.
    pub metadata_max: usize,
    /// Exemplars that wait for being sealed at the same time; further ones are refused. Default
    /// 100,000.
    pub exemplars_max: usize,
    /// How far samples may lie in the future. Default 10 minutes.
    pub future_ms_max: i64,
    /// How far a sample may lie behind the newest one of the store when its series has later
    /// ones already. 0 means that such samples are refused. Default 1 hour.
    pub out_of_order_ms: i64,
    /// Parts of the head that are written side by side. Another number than in the run before
    /// does no harm. Default as many as there are processors, at most 8.
    pub shards: usize,
}

impl Config {
    /// The defaults, for a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            flush: Flush::Interval(Duration::from_secs(1)),
            retention_ms: 15 * 24 * 3_600_000,
            retention_rules: Vec::new(),
            retention_bytes: 0,
            segment_span_ms: 600_000,
            compaction_spans_ms: vec![2 * 3_600_000, 24 * 3_600_000],
            rollups: vec![
                Rollup { step_ms: 300_000, retention_ms: 90 * 24 * 3_600_000 },
                Rollup { step_ms: 3_600_000, retention_ms: 730 * 24 * 3_600_000 },
            ],
            series_max: 1_000_000,
            head_bytes_max: 0,
            metric_series_max: 0,
            target_series_max: 0,
            tenant_series_max: 0,
            tenant_label: "tenant".to_owned(),
            labels_bytes_max: 64 << 10,
            metadata_max: 100_000,
            exemplars_max: 100_000,
            future_ms_max: 600_000,
            out_of_order_ms: 3_600_000,
            shards: std::thread::available_parallelism().map_or(1, |n| n.get().min(8)),
        }
    }

    /// Checks the settings against each other.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |reason: String| Err(Error::Config { reason });
        if self.segment_span_ms < 1000 {
            return refuse(format!("segment span is {} ms; give at least 1 s", self.segment_span_ms));
        }
        if self.retention_ms < self.segment_span_ms {
            return refuse(format!(
                "retention of {} ms is shorter than the segment span of {} ms",
                self.retention_ms, self.segment_span_ms
            ));
        }
        if self.retention_rules.len() > RULES_MAX {
            return refuse(format!(
                "{} retention rules; give at most {RULES_MAX}",
                self.retention_rules.len()
            ));
        }
        for RetentionRule { matchers, retention_ms } in &self.retention_rules {
            if matchers.is_empty() {
                return refuse("a retention rule names no series; give a selector".to_owned());
            }
            if *retention_ms < self.segment_span_ms {
                return refuse(format!(
                    "a retention rule of {retention_ms} ms is shorter than the segment span of {} ms",
                    self.segment_span_ms
                ));
            }
        }
        let mut shorter = self.segment_span_ms;
        for &span in &self.compaction_spans_ms {
            if span <= shorter || span % shorter != 0 {
                return refuse(format!("compaction span {span} ms is no multiple of {shorter} ms"));
            }
            shorter = span;
        }
        for (i, rollup) in self.rollups.iter().enumerate() {
            let step = rollup.step_ms;
            if !(1000..=1000 * i64::from(u32::MAX)).contains(&step) || step % 1000 != 0 {
                return refuse(format!("a rollup has steps of {step} ms; give whole seconds"));
            }
            if rollup.retention_ms < step {
                return refuse(format!(
                    "the rollup of {step} ms is kept for {} ms, which is less than a step",
                    rollup.retention_ms
                ));
            }
            if self.rollups[..i].iter().any(|other| other.step_ms == step) {
                return refuse(format!(
                    "there are two rollups of {step} ms; give one retention for each step"
                ));
            }
        }
        if self.rollups.len() > ROLLUPS_MAX {
            return refuse(format!("{} rollups; give at most {ROLLUPS_MAX}", self.rollups.len()));
        }
        if self.series_max == 0 || self.series_max > 1 << 30 {
            return refuse(format!("series limit is {}; give 1 to 1,073,741,824", self.series_max));
        }
        if !(1..=SHARDS_MAX).contains(&self.shards) {
            return refuse(format!("{} shards; give 1 to {SHARDS_MAX}", self.shards));
        }
        if self.labels_bytes_max > 16 << 20 || self.future_ms_max < 0 || self.out_of_order_ms < 0 {
            return refuse("a limit is out of range".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_contradictions_are_named() {
        let good = Config::new("data");
        good.validate().unwrap();
        for (bad, word) in [
            (Config { segment_span_ms: 0, ..good.clone() }, "segment span"),
            (Config { retention_ms: 10, ..good.clone() }, "retention"),
            (Config { compaction_spans_ms: vec![700_000], ..good.clone() }, "compaction"),
            (Config { compaction_spans_ms: vec![1_200_000, 600_000], ..good.clone() }, "compaction"),
            (
                Config {
                    retention_rules: vec![RetentionRule { matchers: Vec::new(), retention_ms: 1 << 40 }],
                    ..good.clone()
                },
                "names no series",
            ),
            (
                Config {
                    retention_rules: vec![RetentionRule {
                        matchers: vec![vedette_model::Matcher::equal("a", "b")],
                        retention_ms: 1000,
                    }],
                    ..good.clone()
                },
                "retention rule of 1000 ms",
            ),
            (
                Config { rollups: vec![Rollup { step_ms: 1500, retention_ms: 9000 }], ..good.clone() },
                "rollup",
            ),
            (Config { rollups: vec![Rollup { step_ms: 5000, retention_ms: 10 }], ..good.clone() }, "kept"),
            (Config { rollups: vec![good.rollups[0]; 2], ..good.clone() }, "two rollups"),
            (Config { series_max: 0, ..good.clone() }, "series"),
            (Config { shards: 0, ..good.clone() }, "shards"),
            (Config { out_of_order_ms: -1, ..good.clone() }, "out of range"),
        ] {
            let error = bad.validate().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
