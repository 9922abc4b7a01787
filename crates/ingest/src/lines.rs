//! Lines of InfluxDB and Graphite become samples, as VictoriaMetrics makes them of these: the field
//! `usage` of the measurement `cpu` is the metric `cpu_usage`, tags are labels, and a path of Graphite
//! is the name of its metric as it is.

use vedette_model::{LabelsBuilder, METRIC_NAME};
use vedette_wire::{
    graphite,
    influx::{FieldValue, Lines},
};

use crate::{
    intake::{Passage, Scratch, WriteError, Written},
    labelled::Labelled,
};

/// The label of the database or bucket.
const DATABASE: &str = "db";

/// Takes lines of InfluxDB. Times are counts of so many nanoseconds; `None` guesses by their size.
pub(crate) fn take_influx(
    passage: &mut Passage<'_>,
    scratch: &mut Scratch,
    body: &[u8],
    nanoseconds: Option<i64>,
    database: &str,
) -> Result<Written, WriteError> {
    let text = std::str::from_utf8(body)
        .map_err(|e| WriteError::Malformed(format!("the body is not valid UTF-8: {e}")))?;
    let now_ms = passage.stores.now_ms;
    let mut series = Labelled::new(passage, scratch);
    for line in Lines::new(text) {
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                series.passage.outcome.find_fault(&error);
                continue;
            }
        };
        let time_ms = match line.time {
            None | Some(0) => now_ms,
            Some(time) => match nanoseconds {
                Some(each) => (i128::from(time) * i128::from(each) / 1_000_000) as i64,
                None => guess_ms(time),
            },
        };
        let mut labels = LabelsBuilder::new();
        if !database.is_empty() {
            labels.set(DATABASE, database);
        }
        for (name, value) in &line.tags {
            labels.set(name, value);
        }
        for (field, value) in &line.fields {
            let value = match value {
                FieldValue::Number(value) => *value,
                // Some agents put numbers in quotes; other texts are no samples.
                FieldValue::Text(text) => match text.parse() {
                    Ok(value) => value,
                    Err(_) => {
                        series.passage.stores.metrics.text_fields.inc();
                        continue;
                    }
                },
            };
            if line.measurement.is_empty() {
                labels.set(METRIC_NAME, field);
            } else {
                labels.set(METRIC_NAME, &format!("{}_{field}", line.measurement));
            }
            let Some(number) = series.series(&labels) else { break };
            series.scratch.push_sample(number, time_ms, value, 0);
        }
    }
    series.store()
}

/// Nobody measures in the years in which a count of seconds would be one of milliseconds.
fn guess_ms(time: i64) -> i64 {
    match time.unsigned_abs() {
        100_000_000_000_000_000.. => time / 1_000_000,
        100_000_000_000_000.. => time / 1_000,
        100_000_000_000.. => time,
        _ => time * 1_000,
    }
}

/// Takes lines of Graphite.
pub(crate) fn take_graphite(
    passage: &mut Passage<'_>,
    scratch: &mut Scratch,
    body: &[u8],
) -> Result<Written, WriteError> {
    let now_ms = passage.stores.now_ms;
    let mut series = Labelled::new(passage, scratch);
    for (number, bytes) in body.split(|byte| *byte == b'\n').enumerate() {
        let read =
            std::str::from_utf8(bytes).map_err(|_| "it is not valid UTF-8").and_then(graphite::Line::read);
        let line = match read {
            Ok(Some(line)) => line,
            Ok(None) => continue,
            Err(reason) => {
                let error = format!("line {}: {reason}", number + 1);
                series.passage.outcome.find_fault(&error);
                continue;
            }
        };
        let mut labels = LabelsBuilder::new();
        for (name, value) in &line.tags {
            labels.set(name, value);
        }
        labels.set(METRIC_NAME, line.path);
        let Some(found) = series.series(&labels) else { break };
        series.scratch.push_sample(found, line.time_ms.unwrap_or(now_ms), line.value, 0);
    }
    series.store()
}

#[cfg(test)]
mod tests;
