//! Usage in percentiles, as cAdvisor's summary has it: of the last minute from its samples, of hour and day
//! from those of the minutes in them.

use serde_json::{Value, json};
use vedette_model::{MinuteUsage, Percentiles, processor_rate};

use super::{documents::whole, rows::Rows, stamp_ms};

const MINUTE_MS: i64 = 60_000;
const HOUR_MINUTES: usize = 60;
const DAY_MINUTES: usize = 24 * HOUR_MINUTES;
/// Samples over so much of a minute are a whole one: the last before it may be missing.
const WHOLE_MINUTE_MS: i64 = 58_000;

/// One container's usage.
pub(super) fn summary(rows: &Rows, minutes: &[MinuteUsage], now_ms: i64) -> Value {
    // Thousandths of a processor.
    let counter = newest(rows.course("container_cpu_usage_seconds_total"));
    let mut cpu: Vec<f64> = counter.windows(2).filter_map(|pair| processor_rate(pair[0], pair[1])).collect();
    let course = newest(rows.course("container_memory_working_set_bytes"));
    let mut memory: Vec<f64> = course.iter().map(|(_, bytes)| *bytes).collect();
    let last = |values: &[f64]| whole(values.last().copied());
    let latest = json!({ "cpu": last(&cpu), "memory": last(&memory) });
    let complete = complete(counter).min(complete(course));
    let minute = usage(complete, Percentiles::of(&mut cpu), Percentiles::of(&mut memory));
    json!({
        "timestamp": stamp_ms(now_ms),
        "latest_usage": latest,
        "minute_usage": minute,
        "hour_usage": of_minutes(minutes, HOUR_MINUTES, now_ms),
        "day_usage": of_minutes(minutes, DAY_MINUTES, now_ms),
    })
}

/// The last minute of a course.
fn newest(course: &[(i64, f64)]) -> &[(i64, f64)] {
    let Some((last_ms, _)) = course.last() else { return course };
    let before = course.partition_point(|(time_ms, _)| *time_ms < last_ms - MINUTE_MS);
    &course[before..]
}

/// How much of a minute these samples cover, in percent.
fn complete(course: &[(i64, f64)]) -> i64 {
    let (Some((first_ms, _)), Some((last_ms, _))) = (course.first(), course.last()) else { return 0 };
    let covered_ms = last_ms - first_ms;
    if covered_ms >= WHOLE_MINUTE_MS { 100 } else { covered_ms * 100 / MINUTE_MS }
}

/// The usage of the last so many minutes, as far as they are known.
fn of_minutes(minutes: &[MinuteUsage], count: usize, now_ms: i64) -> Value {
    let length_ms = MINUTE_MS * i64::try_from(count).unwrap_or(i64::MAX / MINUTE_MS);
    // The minute that is under way is none yet.
    let begin_ms = now_ms - now_ms.rem_euclid(MINUTE_MS) - length_ms;
    let recent = minutes.iter().filter(|minute| minute.end_ms > begin_ms);
    let known = i64::try_from(recent.clone().count() * 100 / count).unwrap_or(100);
    let cpu = Percentiles::of_minutes(recent.clone().filter_map(|minute| minute.cpu.as_ref()));
    let memory = Percentiles::of_minutes(recent.filter_map(|minute| minute.memory.as_ref()));
    usage(known.min(100), cpu, memory)
}

fn usage(percent_complete: i64, cpu: Option<Percentiles>, memory: Option<Percentiles>) -> Value {
    json!({
        "percent_complete": percent_complete,
        "cpu": document(cpu),
        "memory": document(memory),
    })
}

fn document(all: Option<Percentiles>) -> Value {
    let of = |value: fn(Percentiles) -> f64| whole(all.map(value));
    json!({
        "present": all.is_some(),
        "mean": of(|all| all.mean),
        "max": of(|all| all.max),
        "fifty": of(|all| all.fifty),
        "ninety": of(|all| all.ninety),
        "ninetyfive": of(|all| all.ninety_five),
    })
}

#[cfg(test)]
mod tests {
    use vedette_model::Spread;

    use super::*;

    #[test]
    fn a_minute_is_as_complete_as_its_samples_reach_whatever_lies_between_them() {
        for (times, percent) in [
            (vec![], 0),
            (vec![7], 0),
            ((0..=60).collect(), 100),
            ((0..=58).collect(), 100),
            ((0..=57).collect(), 95),
            (vec![0, 30], 50),
            // What is told in turns.
            ((0..=6).map(|turn| turn * 10).collect(), 100),
            ((0..=12).map(|turn| turn * 10).collect(), 100),
        ] {
            let course: Vec<(i64, f64)> = times.iter().map(|second| (second * 1000, 0.0)).collect();
            assert_eq!(complete(newest(&course)), percent, "{times:?}");
        }
    }

    #[test]
    fn hour_and_day_are_made_of_the_minutes_in_them() {
        let spread = |value: i64| Some(Spread { mean: value as f64, max: 10.0 * value as f64, ninety: 2.0 });
        // Two hours, of which the last minute has ended half a minute ago.
        let minutes: Vec<MinuteUsage> =
            (1..=120).map(|n| MinuteUsage { end_ms: n * MINUTE_MS, cpu: spread(n), memory: None }).collect();
        let now_ms = 120 * MINUTE_MS + 30_000;
        let none = json!({ "present": false, "mean": 0, "max": 0, "fifty": 0, "ninety": 0, "ninetyfive": 0 });
        for (count, complete, mean) in [(60, 100, 91), (DAY_MINUTES, 8, 61), (1, 100, 120)] {
            let expected = json!({
                "percent_complete": complete,
                "cpu": { "present": true, "mean": mean, "max": 1200, "fifty": 2, "ninety": 2, "ninetyfive": 2 },
                "memory": none,
            });
            assert_eq!(of_minutes(&minutes, count, now_ms), expected, "{count}");
        }
        // What was told so long ago that it is none of them.
        let late_ms = now_ms + 60 * MINUTE_MS;
        assert_eq!(of_minutes(&minutes, 60, late_ms)["cpu"], none);
        assert_eq!(of_minutes(&minutes, 61, late_ms)["percent_complete"], 1);
        assert_eq!(of_minutes(&[], 60, now_ms)["cpu"], none);
    }
}
