//! `vedette tsdb analyze`: what fills the store, and which labels make it grow.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Result;
use serde_json::{Value, json};
use vedette_model::{ChunkSummary, Labels, SampleBuffer, TimeRange};
use vedette_tsdb::{
    Account, Tsdb,
    prometheus::{Progress, Selected},
};

use super::{progress::Line, text};
use crate::{cli::Output, print};

/// Series that begin later than this after the first sample of the store, or end earlier than
/// this before its last one, are churn.
const CHURN_MS: i64 = 10 * 60_000;

const DAY_MS: i64 = 24 * 3_600_000;

/// Prints the figures; `limit` lines each.
pub fn print(store: &Tsdb, limit: usize, output: Output) -> Result<()> {
    let value = gather(store)?.to_json(limit);
    if output != Output::Table {
        return print::value(&value, output);
    }
    let number = |key: &str| value[key].as_u64().unwrap_or(0);
    let time = |value: &Value| print::time(value.as_i64().unwrap_or(0));
    println!("Time: {} to {}", time(&value["startMs"]), time(&value["endMs"]));
    println!("Series: {}", number("series"));
    println!("Samples: {}, of which {} native histograms", number("samples"), number("histogramSamples"));
    println!("Segments: {}, {} bytes", number("segments"), number("segmentBytes"));
    println!("Log: {} bytes", number("logBytes"));
    println!("Label names: {}", number("labelNames"));
    println!("Label pairs: {}", number("labelPairs"));
    for rollup in rows(&value["rollups"]) {
        println!(
            "Rollups of {} s: {} files, {} rows, {} bytes",
            rollup["stepSeconds"], rollup["files"], rollup["rows"], rollup["bytes"]
        );
    }
    println!("\nBytes of segments by encoding (bytes, share, bytes a sample):");
    for part in rows(&value["encodings"]) {
        let bytes = part["bytes"].as_u64().unwrap_or(0);
        let share = bytes as f64 * 100.0 / number("segmentBytes").max(1) as f64;
        let samples = part["samples"].as_u64().filter(|&n| n > 0);
        let each = samples.map_or("-".to_owned(), |n| format!("{:.3}", bytes as f64 / n as f64));
        println!("{bytes} {share:.1}% {each} {}", part["name"].as_str().unwrap_or_default());
    }
    for (title, key) in LISTS {
        println!("\n{title}:");
        for row in rows(&value[key]) {
            println!("{} {}", row["count"], row["name"].as_str().unwrap_or_default());
        }
    }
    println!("\nSeries by day (there, begun, ended):");
    for day in rows(&value["days"]) {
        println!(
            "{} {} {} {}",
            day["day"].as_str().unwrap_or_default(),
            day["series"],
            day["begun"],
            day["ended"]
        );
    }
    println!("\nSegments (from, to, series, appeared, disappeared, samples, bytes):");
    for segment in rows(&value["segmentList"]) {
        println!(
            "{} {} {} {} {} {} {}",
            time(&segment["startMs"]),
            time(&segment["endMs"]),
            segment["series"],
            count_or_dash(&segment["appeared"]),
            count_or_dash(&segment["disappeared"]),
            segment["samples"],
            segment["bytes"]
        );
    }
    Ok(())
}

fn rows(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn count_or_dash(value: &Value) -> String {
    value.as_u64().map_or("-".to_owned(), |n| n.to_string())
}

const LISTS: [(&str, &str); 8] = [
    ("Metric names with the most series", "metricsBySeries"),
    ("Metric names with the most samples", "metricsBySamples"),
    ("Label names with the most values", "namesByValues"),
    ("Label names with the most series", "namesBySeries"),
    ("Label names with the longest values in all", "namesByValueBytes"),
    ("Label pairs with the most series", "pairsBySeries"),
    ("Label pairs most involved in churning", "pairsByChurn"),
    ("Label names most involved in churning", "namesByChurn"),
];

#[derive(Default)]
struct Name {
    values: HashSet<String>,
    value_bytes: u64,
    series: u64,
    churn: u64,
}

#[derive(Default)]
struct Pair {
    series: u64,
    churn: u64,
}

#[derive(Default)]
struct Day {
    series: u64,
    begun: u64,
    ended: u64,
}

struct Figures {
    range: TimeRange,
    series: u64,
    samples: u64,
    histogram_samples: u64,
    segments: u64,
    segment_bytes: u64,
    log_bytes: u64,
    account: Account,
    metrics: HashMap<String, (u64, u64)>,
    names: BTreeMap<String, Name>,
    pairs: HashMap<(String, String), Pair>,
    days: BTreeMap<i64, Day>,
}

fn gather(store: &Tsdb) -> Result<Figures> {
    let stats = store.stats();
    let range = TimeRange { start_ms: stats.first_ms.unwrap_or(0), end_ms: stats.last_ms.unwrap_or(0) };
    let mut figures = Figures {
        range,
        series: 0,
        samples: 0,
        histogram_samples: 0,
        segments: stats.segments,
        segment_bytes: stats.segment_bytes,
        log_bytes: stats.wal_bytes,
        account: store.account()?,
        metrics: HashMap::new(),
        names: BTreeMap::new(),
        pairs: HashMap::new(),
        days: BTreeMap::new(),
    };
    let selected = Selected::find(store, &[], range)?;
    let mut line = Line::new("analyzing");
    let mut reader = SeriesReader::default();
    for series in 0..selected.len() {
        let Some(seen) = reader.read(&selected, series, range)? else { continue };
        figures.add(&selected.labels(series), &seen);
        line.show(Progress { fraction: series as f64 / selected.len() as f64, samples: figures.samples });
    }
    line.end();
    Ok(figures)
}

/// What is known of one series.
struct Seen {
    range: TimeRange,
    samples: u64,
    histograms: u64,
}

#[derive(Default)]
struct SeriesReader {
    summaries: Vec<ChunkSummary>,
    samples: SampleBuffer,
}

impl SeriesReader {
    /// From summaries where they tell enough, else from the samples.
    fn read(&mut self, selected: &Selected, series: usize, range: TimeRange) -> Result<Option<Seen>> {
        self.summaries.clear();
        selected.summaries(series, range, &mut self.summaries);
        let mut seen: Option<Seen> = None;
        let mut next_ms = range.start_ms;
        for summary in std::mem::take(&mut self.summaries) {
            if summary.special {
                self.count(selected, series, summary.range, &mut seen)?;
            } else {
                add(&mut seen, summary.range, summary.count, 0);
            }
            next_ms = next_ms.max(summary.range.end_ms.saturating_add(1));
        }
        // What is not sealed yet has no summaries.
        if next_ms <= range.end_ms {
            self.count(selected, series, TimeRange { start_ms: next_ms, ..range }, &mut seen)?;
        }
        Ok(seen)
    }

    fn count(
        &mut self,
        selected: &Selected,
        series: usize,
        range: TimeRange,
        seen: &mut Option<Seen>,
    ) -> Result<()> {
        self.samples.clear();
        selected.read(series, range, &mut self.samples)?;
        if let (Some(&start_ms), Some(&end_ms)) =
            (self.samples.times_ms.first(), self.samples.times_ms.last())
        {
            let (samples, histograms) = (self.samples.len() as u64, self.samples.histograms.len() as u64);
            add(seen, TimeRange { start_ms, end_ms }, samples, histograms);
        }
        Ok(())
    }
}

fn add(seen: &mut Option<Seen>, range: TimeRange, samples: u64, histograms: u64) {
    let seen = seen.get_or_insert(Seen { range, samples: 0, histograms: 0 });
    seen.range.start_ms = seen.range.start_ms.min(range.start_ms);
    seen.range.end_ms = seen.range.end_ms.max(range.end_ms);
    seen.samples += samples;
    seen.histograms += histograms;
}

impl Figures {
    fn add(&mut self, labels: &Labels, seen: &Seen) {
        self.series += 1;
        self.samples += seen.samples;
        self.histogram_samples += seen.histograms;
        let begun = seen.range.start_ms > self.range.start_ms.saturating_add(CHURN_MS);
        let ended = seen.range.end_ms < self.range.end_ms.saturating_sub(CHURN_MS);
        let churn = u64::from(begun || ended);
        let metric = self.metrics.entry(labels.metric_name().to_owned()).or_default();
        metric.0 += 1;
        metric.1 += seen.samples;
        for (name, value) in labels {
            let entry = self.names.entry(name.to_owned()).or_default();
            entry.series += 1;
            entry.churn += churn;
            if !entry.values.contains(value) {
                entry.values.insert(value.to_owned());
                entry.value_bytes += value.len() as u64;
            }
            let pair = self.pairs.entry((name.to_owned(), value.to_owned())).or_default();
            pair.series += 1;
            pair.churn += churn;
        }
        let (first, last) = (seen.range.start_ms.div_euclid(DAY_MS), seen.range.end_ms.div_euclid(DAY_MS));
        for day in first..=last {
            self.days.entry(day).or_default().series += 1;
        }
        if begun {
            self.days.entry(first).or_default().begun += 1;
        }
        if ended {
            self.days.entry(last).or_default().ended += 1;
        }
    }

    fn to_json(&self, limit: usize) -> Value {
        let names =
            |count: fn(&Name) -> u64| top(self.names.iter().map(|(n, f)| (count(f), n.clone())), limit);
        let pairs = |count: fn(&Pair) -> u64| {
            top(self.pairs.iter().map(|((n, v), f)| (count(f), format!("{n}={v}"))), limit)
        };
        let day = |(day, f): (&i64, &Day)| {
            let text = print::time(day * DAY_MS);
            let text = text.split(' ').next().unwrap_or_default().to_owned();
            json!({"day": text, "series": f.series, "begun": f.begun, "ended": f.ended})
        };
        let encoding = |p: &vedette_tsdb::PartAccount| json!({"name": p.name, "pieces": p.pieces, "samples": p.samples, "bytes": p.bytes});
        let segment = |s: &vedette_tsdb::SegmentAccount| {
            json!({
                "startMs": s.range.start_ms,
                "endMs": s.range.end_ms,
                "series": s.series,
                "appeared": s.churn.map(|c| c.appeared),
                "disappeared": s.churn.map(|c| c.disappeared),
                "samples": s.samples,
                "bytes": s.bytes,
            })
        };
        let rollup = |r: &vedette_tsdb::RollupAccount| json!({"stepSeconds": r.step_ms / 1000, "files": r.files, "rows": r.rows, "bytes": r.bytes});
        json!({
            "encodings": self.account.parts.iter().map(encoding).collect::<Vec<_>>(),
            "segmentList": self.account.segments.iter().map(segment).collect::<Vec<_>>(),
            "rollups": self.account.rollups.iter().map(rollup).collect::<Vec<_>>(),
            "startMs": self.range.start_ms,
            "endMs": self.range.end_ms,
            "series": self.series,
            "samples": self.samples,
            "histogramSamples": self.histogram_samples,
            "segments": self.segments,
            "segmentBytes": self.segment_bytes,
            "logBytes": self.log_bytes,
            "labelNames": self.names.len(),
            "labelPairs": self.pairs.len(),
            "metricsBySeries": top(self.metrics.iter().map(|(n, f)| (f.0, n.clone())), limit),
            "metricsBySamples": top(self.metrics.iter().map(|(n, f)| (f.1, n.clone())), limit),
            "namesByValues": names(|n| n.values.len() as u64),
            "namesBySeries": names(|n| n.series),
            "namesByValueBytes": names(|n| n.value_bytes),
            "namesByChurn": names(|n| n.churn),
            "pairsBySeries": pairs(|p| p.series),
            "pairsByChurn": pairs(|p| p.churn),
            "days": self.days.iter().map(day).collect::<Vec<_>>(),
        })
    }
}

/// The largest, those of equal size by name; what counts nothing is left out.
fn top(all: impl Iterator<Item = (u64, String)>, limit: usize) -> Vec<Value> {
    let mut all: Vec<(u64, String)> = all.filter(|(count, _)| *count > 0).collect();
    all.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    all.truncate(limit);
    all.into_iter().map(|(count, name)| json!({"count": count, "name": text::plain(&name)})).collect()
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use vedette_sys::{Clock, ManualClock, RealFs};
    use vedette_tsdb::{Config, RefRow};

    use super::*;

    #[test]
    fn figures_add_up() {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(1_700_006_400_000 * 1_000_000);
        let store =
            Tsdb::open(Config::new(folder.path()), Arc::new(RealFs), Arc::new(clock.clone())).unwrap().0;
        for i in 0..200 {
            clock.advance(Duration::from_secs(15));
            for (metric, job, ends) in [("up", "a", 200), ("up", "b", 40), ("load", "a", 200)] {
                let labels = Labels::from_pairs([("__name__", metric), ("job", job)]);
                if i < ends {
                    let refs = [store.series(&labels).unwrap()];
                    let values = [if metric == "up" { 1.0 } else { f64::from(i * i) }];
                    store.append(&[RefRow::new(clock.unix_ms(), &refs, &values)]).unwrap();
                }
            }
            store.maintain();
        }
        let value = gather(&store).unwrap().to_json(10);
        let stats = store.stats();
        let sum = |list: &str, key: &str| rows(&value[list]).filter_map(|r| r[key].as_u64()).sum::<u64>();
        assert_eq!(value["samples"], 440);
        assert_eq!(value["metricsBySeries"][0], json!({"count": 2, "name": "up"}));
        assert_eq!(value["pairsByChurn"][0], json!({"count": 1, "name": "__name__=up"}));
        assert_eq!(sum("encodings", "bytes"), stats.segment_bytes);
        assert_eq!(sum("encodings", "samples"), stats.segment_samples);
        assert_eq!(sum("segmentList", "bytes"), stats.segment_bytes);
        assert_eq!(sum("segmentList", "disappeared"), 1, "{}", value["segmentList"]);
        assert!(rows(&value["encodings"]).any(|e| e["name"] == "constant"));
        for output in [Output::Table, Output::Json] {
            print(&store, 3, output).unwrap();
        }
    }
}
