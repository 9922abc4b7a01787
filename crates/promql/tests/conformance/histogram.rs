//! Native histograms in scripts: how they are written, and how they are derived from classic ones.

use std::{collections::BTreeMap, sync::Arc};

use vedette_model::{CUSTOM_BUCKETS_SCHEMA, HistogramCounts, Labels, NativeHistogram, ResetHint, Span};
use vedette_promql::Histogram;

use crate::script::{Loaded, Point, Result, number};

/// Reads `schema:1 sum:3 buckets:[1 2]`, and tells whether the counter reset hint is among it.
pub fn parse(text: &str) -> Result<(Histogram, bool)> {
    let mut told = false;
    let (mut count, mut zero_count) = (0.0, 0.0);
    let (mut positive, mut negative) = (Vec::new(), Vec::new());
    let (mut offset, mut negative_offset) = (0, 0);
    let mut native = NativeHistogram { sum: 0.0, ..NativeHistogram::stale() };
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once(':').ok_or("no colon in a histogram")?;
        let end = if after.starts_with('[') {
            after.find(']').ok_or("unfinished list")? + 1
        } else {
            after.find(char::is_whitespace).unwrap_or(after.len())
        };
        let value = &after[..end];
        let list =
            || value.trim_matches(['[', ']']).split_whitespace().map(number).collect::<Result<Vec<_>>>();
        match key {
            "schema" => native.schema = value.parse().map_err(|_| "bad schema")?,
            "sum" => native.sum = number(value)?,
            "count" => count = number(value)?,
            "z_bucket" => zero_count = number(value)?,
            "z_bucket_w" => native.zero_threshold = number(value)?,
            "custom_values" => native.custom_bounds = list()?,
            "buckets" => positive = list()?,
            "n_buckets" => negative = list()?,
            "offset" => offset = value.parse().map_err(|_| "bad offset")?,
            "n_offset" => negative_offset = value.parse().map_err(|_| "bad offset")?,
            "counter_reset_hint" => {
                told = true;
                native.reset_hint = match value {
                    "gauge" => ResetHint::Gauge,
                    "reset" => ResetHint::Reset,
                    "not_reset" => ResetHint::NotReset,
                    _ => ResetHint::Unknown,
                };
            }
            _ => return Err(format!("unknown field {key} of a histogram")),
        }
        rest = after[end..].trim_start();
    }
    let spans = |offset, counts: &[f64]| {
        let span = Span { offset, length: counts.len() as u32 };
        if counts.is_empty() { Vec::new() } else { vec![span] }
    };
    native.positive_spans = spans(offset, &positive);
    native.negative_spans = spans(negative_offset, &negative);
    native.counts = HistogramCounts::Float { count, zero_count, positive, negative };
    Ok((Histogram::from_native(&native).map_err(|e| e.to_string())?, told))
}

/// The histograms of custom bounds that classic histograms stand for.
pub fn from_classic(series: &[Loaded]) -> Vec<Loaded> {
    /// Buckets, count and sum at one time.
    #[derive(Default)]
    struct Parts {
        buckets: Vec<(f64, f64)>,
        count: Option<f64>,
        sum: f64,
    }
    let mut families: BTreeMap<Labels, Vec<Parts>> = BTreeMap::new();
    for suffix in ["_bucket", "_count", "_sum"] {
        for loaded in series {
            let Some(name) = loaded.labels.metric_name().strip_suffix(suffix) else { continue };
            let upper = loaded.labels.get("le").and_then(|le| number(le).ok());
            let labels = loaded.labels.drop(&["le"]).to_builder().set("__name__", name).build();
            if suffix == "_bucket" && upper.is_none()
                || suffix != "_bucket" && !families.contains_key(&labels)
            {
                continue;
            }
            let family = families.entry(labels).or_default();
            for (i, point) in loaded.points.iter().enumerate() {
                let Point::Value(value) = point else { continue };
                if family.len() <= i {
                    family.resize_with(i + 1, Parts::default);
                }
                match (suffix, upper) {
                    ("_count", _) => family[i].count = Some(*value),
                    ("_sum", _) => family[i].sum = *value,
                    (_, Some(upper)) => family[i].buckets.push((upper, *value)),
                    _ => {}
                }
            }
        }
    }
    let to_point = |parts: Parts| {
        let mut buckets = parts.buckets;
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets.dedup_by_key(|b| b.0);
        let Some(last) = buckets.last().copied() else { return Point::Gap };
        let count = parts.count.unwrap_or(last.1);
        if last.0 != f64::INFINITY {
            buckets.push((f64::INFINITY, count));
        }
        let mut before = 0.0;
        let counts: Vec<f64> = (buckets.iter())
            .map(|(_, cumulative)| {
                let own = cumulative - before;
                before = *cumulative;
                own
            })
            .collect();
        let native = NativeHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            sum: parts.sum,
            custom_bounds: buckets[..buckets.len() - 1].iter().map(|(upper, _)| *upper).collect(),
            positive_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
            counts: HistogramCounts::Float { count, zero_count: 0.0, positive: counts, negative: Vec::new() },
            ..NativeHistogram::stale()
        };
        let histogram = Histogram::from_native(&native).expect("bounds grow");
        Point::Histogram(Arc::new(histogram), false)
    };
    (families.into_iter())
        .map(|(labels, parts)| Loaded {
            labels,
            points: parts.into_iter().map(to_point).collect(),
            starts_ms: Vec::new(),
        })
        .collect()
}

/// Why two histograms differ, if they do.
pub fn differs(expected: &Histogram, hint_told: bool, got: &Histogram) -> Option<String> {
    let close =
        |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-6 * a.abs().max(b.abs());
    let populated = |h: &Histogram| h.buckets().filter(|b| b.count != 0.0).collect::<Vec<_>>();
    let (a, b) = (populated(expected), populated(got));
    let same_buckets = a.len() == b.len()
        && a.iter().zip(&b).all(|(a, b)| a.lower == b.lower && a.upper == b.upper && close(a.count, b.count));
    let same = expected.schema == got.schema
        && expected.zero_threshold == got.zero_threshold
        && expected.custom_bounds() == got.custom_bounds()
        && close(expected.count, got.count)
        && close(expected.sum, got.sum)
        && same_buckets
        && (!hint_told || expected.hint == got.hint);
    (!same).then(|| format!("expected {expected} {expected:?}, got {got} {got:?}"))
}
