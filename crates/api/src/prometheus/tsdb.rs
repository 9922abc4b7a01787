//! `/api/v1/status/tsdb` and `/api/v1/status/tsdb/blocks`: what the metric store holds.

use vedette_model::TimeRange;
use vedette_wire::{
    json::{Object, push_array},
    prometheus::{self as wire, ErrorType},
};

use super::{Failure, give, status::blocking};
use crate::{request::Call, routes::Handled};

/// Lines of each list where nothing is said.
const LINES: usize = 10;
const LINES_MAX: usize = 10_000;

/// Which labels make the store grow.
pub fn head(call: Call) -> Handled {
    Box::pin(async move { give(blocking(call, head_body).await) })
}

/// What is sealed.
pub fn blocks(call: Call) -> Handled {
    let blocks = |call: &Call| {
        let segments = call.shared.app.storage.segment_figures();
        Ok(wire::answer(|out| {
            let mut object = Object::begin(out);
            push_array(object.member("blocks"), &segments, |out, segment| {
                let mut object = Object::begin(out);
                object.text("ulid", &format!("{:016x}", segment.id));
                integer(&mut object, "minTime", segment.range.start_ms);
                // In Prometheus the end of a block is not part of it.
                integer(&mut object, "maxTime", segment.range.end_ms.saturating_add(1));
                let mut stats = Object::begin(object.member("stats"));
                for (name, number) in
                    [("numSamples", segment.samples), ("numSeries", segment.series), ("size", segment.bytes)]
                {
                    integer(&mut stats, name, number);
                }
                stats.end();
                let mut compaction = Object::begin(object.member("compaction"));
                integer(&mut compaction, "level", 1);
                compaction.end();
                integer(&mut object, "version", 1);
                object.end();
            });
            object.end();
        }))
    };
    Box::pin(async move { give(blocking(call, blocks).await) })
}

fn head_body(call: &Call) -> Result<Vec<u8>, Failure> {
    let bad = |text: String| (ErrorType::BadData, text);
    let limit = match call.params.given("limit") {
        None => LINES,
        Some(text) => {
            let limit = text.parse::<i64>().ok().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
            limit.ok_or_else(|| bad("limit must be a positive number".to_owned()))?
        }
    };
    if limit > LINES_MAX {
        return Err(bad(format!("limit must not exceed {LINES_MAX}")));
    }
    let figures = call.shared.app.storage.head_figures(limit);
    // What Prometheus shows of an empty head.
    let range = figures.range.unwrap_or(TimeRange { start_ms: i64::MAX, end_ms: i64::MIN });
    Ok(wire::answer(|out| {
        let mut object = Object::begin(out);
        let mut head = Object::begin(object.member("headStats"));
        for (name, number) in [
            ("numSeries", figures.series),
            ("numLabelPairs", figures.label_pairs),
            ("chunkCount", figures.chunks),
        ] {
            integer(&mut head, name, number);
        }
        integer(&mut head, "minTime", range.start_ms);
        integer(&mut head, "maxTime", range.end_ms);
        head.end();
        for (name, lines) in [
            ("seriesCountByMetricName", &figures.series_by_metric),
            ("labelValueCountByLabelName", &figures.values_by_name),
            ("memoryInBytesByLabelName", &figures.bytes_by_name),
            ("seriesCountByLabelValuePair", &figures.series_by_pair),
        ] {
            push_array(object.member(name), lines, |out, (name, count)| {
                let mut object = Object::begin(out);
                object.text("name", name);
                integer(&mut object, "value", *count);
                object.end();
            });
        }
        object.end();
    }))
}

#[expect(clippy::needless_pass_by_value, reason = "numbers are handed over as they are")]
fn integer(object: &mut Object<'_>, name: &str, value: impl ToString) {
    object.member(name).extend_from_slice(value.to_string().as_bytes());
}
