//! When counting began: OpenMetrics tells it by a sample whose name ends with `_created`, which
//! mostly comes after those that it is about.

use vedette_model::{METRIC_NAME, MetricKind};

use super::{
    series::{bound_label, read},
    text::{Dialect, Entry, Sample, TextParser},
};

const CREATED: &str = "_created";

/// What was found last: samples of one metric come in a row and share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Family and labels but for the bound.
    metric: Vec<u8>,
    start_ms: Option<i64>,
    wanted: Vec<u8>,
}

impl Sample<'_> {
    /// Whether the sample tells when another one began, and has no meaning of its own.
    pub fn is_start(&self) -> bool {
        has_start(self.series.kind()) && is_created(self.series.bytes())
    }
}

fn has_start(kind: MetricKind) -> bool {
    matches!(kind, MetricKind::Counter | MetricKind::Summary | MetricKind::Histogram)
}

/// Whether the metric name, in quotes or not, ends with `_created`.
fn is_created(series: &[u8]) -> bool {
    let name = super::series::take_name(series, true);
    if name > 0 {
        return series[..name].ends_with(CREATED.as_bytes());
    }
    let mut found = false;
    let each = |name: &str, value: &str| found |= name == METRIC_NAME && value.ends_with(CREATED);
    read(series, Dialect::OpenMetrics, true, each).is_ok() && found
}

impl TextParser<'_> {
    /// When counting of the sample that came last began, in milliseconds since the Unix epoch, if the
    /// answer tells it. Looks ahead over the samples of the same metric, once for all of them.
    pub fn start_ms(&mut self, sample: &Sample<'_>) -> Option<i64> {
        if self.dialect != Dialect::OpenMetrics || !has_start(self.kind) {
            return None;
        }
        let mut wanted = std::mem::take(&mut self.start.wanted);
        if !metric_of(sample, &mut wanted) {
            self.start.wanted = wanted;
            return None;
        }
        if wanted != self.start.metric || wanted.is_empty() {
            self.start.start_ms = self.look_ahead(&wanted);
            std::mem::swap(&mut self.start.metric, &mut wanted);
        }
        self.start.wanted = wanted;
        self.start.start_ms
    }

    fn look_ahead(&self, wanted: &[u8]) -> Option<i64> {
        let mut ahead = self.clone();
        let mut metric = Vec::new();
        while let Some(Ok(Entry::Sample(sample))) = ahead.next() {
            // The next metric begins: this one has no start.
            if !metric_of(&sample, &mut metric) || metric != wanted {
                return None;
            }
            if sample.is_start() {
                return super::value::milliseconds(sample.value);
            }
        }
        None
    }
}

/// Writes the family and the labels of a sample, but for its bound, to `out`. False where the labels
/// are broken.
fn metric_of(sample: &Sample<'_>, out: &mut Vec<u8>) -> bool {
    const SEPARATOR: u8 = 0xff;
    const SUFFIXES: [&str; 5] = ["_total", "_bucket", "_count", "_sum", CREATED];
    out.clear();
    let bound = bound_label(sample.series.kind());
    let each = |name: &str, value: &str| {
        if Some(name) == bound {
            return;
        }
        let value = match name {
            METRIC_NAME => SUFFIXES.iter().find_map(|s| value.strip_suffix(s)).unwrap_or(value),
            _ => value,
        };
        for part in [name, value] {
            out.extend_from_slice(part.as_bytes());
            out.push(SEPARATOR);
        }
    };
    read(sample.series.bytes(), Dialect::OpenMetrics, true, each).is_ok()
}
