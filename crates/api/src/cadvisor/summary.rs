//! Usage in percentiles, as cAdvisor's summary has it. The last minute is taken; hour and day,
//! which cAdvisor derives from minutes that it remembers, say that they are not complete.

use serde_json::{Value, json};

use super::{
    documents::{milliseconds, whole},
    rows::Rows,
    stamp_ms,
};

/// Samples of a whole minute.
const MINUTE_SAMPLES: usize = 60;
const MINUTE_MS: i64 = 60_000;

/// One container's usage.
pub(super) fn summary(rows: &Rows, now_ms: i64) -> Value {
    // Thousandths of a processor.
    let cpu = rates(newest(rows.course("container_cpu_usage_seconds_total"), MINUTE_SAMPLES + 1));
    let memory = newest(rows.course("container_memory_working_set_bytes"), MINUTE_SAMPLES);
    let memory: Vec<f64> = memory.iter().map(|(_, bytes)| *bytes).collect();
    let last = |values: &[f64]| whole(values.last().copied());
    let complete = cpu.len().min(memory.len()) * 100 / MINUTE_SAMPLES;
    let usage = |present: bool| {
        let none: &[f64] = &[];
        json!({
            "percent_complete": if present { complete.min(100) } else { 0 },
            "cpu": percentiles(if present { &cpu } else { none }),
            "memory": percentiles(if present { &memory } else { none }),
        })
    };
    json!({
        "timestamp": stamp_ms(now_ms),
        "latest_usage": { "cpu": last(&cpu), "memory": last(&memory) },
        "minute_usage": usage(true),
        "hour_usage": usage(false),
        "day_usage": usage(false),
    })
}

/// The last minute of a course, and no more than so many samples.
fn newest(course: &[(i64, f64)], count: usize) -> &[(i64, f64)] {
    let Some((last_ms, _)) = course.last() else { return course };
    let before = course.partition_point(|(time_ms, _)| *time_ms < last_ms - MINUTE_MS);
    &course[before.max(course.len().saturating_sub(count))..]
}

fn rates(course: &[(i64, f64)]) -> Vec<f64> {
    let rate = |pair: &[(i64, f64)]| {
        let [(before_ms, before), (now_ms, now)] = pair else { return None };
        let seconds = milliseconds(now_ms - before_ms) / 1000.0;
        (seconds > 0.0).then_some((now - before).max(0.0) * 1000.0 / seconds)
    };
    course.windows(2).filter_map(rate).collect()
}

fn percentiles(values: &[f64]) -> Value {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    // The value below which that part of them lies.
    let at = |percent: usize| {
        let place = (sorted.len() * percent).div_ceil(100).max(1) - 1;
        whole(sorted.get(place).copied())
    };
    let mean = sorted.iter().sum::<f64>() / milliseconds(i64::try_from(sorted.len().max(1)).unwrap_or(1));
    json!({
        "present": !sorted.is_empty(),
        "mean": whole(Some(mean)),
        "max": at(100),
        "fifty": at(50),
        "ninety": at(90),
        "ninetyfive": at(95),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let expected = json!({
            "present": true, "mean": 51, "max": 100, "fifty": 50, "ninety": 90, "ninetyfive": 95,
        });
        assert_eq!(percentiles(&values), expected);
        assert_eq!(percentiles(&[7.0])["fifty"], 7);
        assert_eq!(percentiles(&[])["present"], false);
        assert_eq!(rates(&[(0, 0.0), (1000, 0.5), (3000, 0.5), (3000, 9.0), (4000, 0.0)]), [500.0, 0.0, 0.0]);
    }
}
