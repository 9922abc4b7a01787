//! `vedette tsdb analyze`: what fills the store, and which labels make it grow.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Result;
use serde_json::{Value, json};
use vedette_model::{ChunkSummary, Labels, SampleBuffer, TimeRange};
use vedette_tsdb::{
    Tsdb,
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
    let figures = gather(store)?;
    let value = figures.to_json(limit);
    if output != Output::Table {
        return print::value(&value, output);
    }
    let number = |key: &str| value[key].as_u64().unwrap_or(0);
    println!("Time: {} to {}", print::time(figures.range.start_ms), print::time(figures.range.end_ms));
    println!("Series: {}", number("series"));
    println!("Samples: {}, of which {} native histograms", number("samples"), number("histogramSamples"));
    println!("Segments: {}, {} bytes", number("segments"), number("segmentBytes"));
    println!("Log: {} bytes", number("logBytes"));
    println!("Label names: {}", number("labelNames"));
    println!("Label pairs: {}", number("labelPairs"));
    for (title, key) in LISTS {
        println!("\n{title}:");
        for row in value[key].as_array().into_iter().flatten() {
            println!("{} {}", row["count"], row["name"].as_str().unwrap_or_default());
        }
    }
    println!("\nSeries by day (there, begun, ended):");
    for day in value["days"].as_array().into_iter().flatten() {
        println!(
            "{} {} {} {}",
            day["day"].as_str().unwrap_or_default(),
            day["series"],
            day["begun"],
            day["ended"]
        );
    }
    Ok(())
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
        json!({
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
