//! `vedette tsdb dump`

use std::io::{self, BufWriter, Write};

use anyhow::{Context, Result};
use vedette_model::{Matcher, SampleBuffer, TimeRange};
use vedette_tsdb::{Tsdb, prometheus::Selected};

use super::text;

/// Milliseconds of a series in memory at once.
const SLICE_MS: i64 = 24 * 3_600_000;

/// Prints one line a sample: labels, value, milliseconds.
pub fn print(store: &Tsdb, matchers: &[Vec<Matcher>], range: TimeRange) -> Result<()> {
    if range.start_ms > range.end_ms {
        return Ok(());
    }
    let selected = Selected::find(store, matchers, range)?;
    let mut out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    match write_all(&selected, range, &mut out) {
        // Whoever reads has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        result => result,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

fn write_all(selected: &Selected, range: TimeRange, out: &mut impl Write) -> Result<()> {
    let mut samples = SampleBuffer::default();
    for series in 0..selected.len() {
        let labels = text::labels(&selected.labels(series));
        let mut start_ms = range.start_ms;
        loop {
            let end_ms = start_ms.saturating_add(SLICE_MS - 1).min(range.end_ms);
            samples.clear();
            selected
                .read(series, TimeRange { start_ms, end_ms }, &mut samples)
                .with_context(|| format!("cannot read {labels}"))?;
            for i in 0..samples.len() {
                let value = match samples.histogram(i) {
                    Some(histogram) => text::histogram(histogram),
                    None => text::float(samples.values[i]),
                };
                writeln!(out, "{labels} {value} {}", samples.times_ms[i])?;
            }
            if end_ms >= range.end_ms {
                break;
            }
            start_ms = end_ms + 1;
        }
    }
    out.flush()?;
    Ok(())
}
