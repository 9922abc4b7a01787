//! Joins series that have the same labels.

use std::collections::HashMap;

use vedette_model::Labels;

use super::{
    DESCRIPTIVE, Result,
    column::{Row, is_some},
};
use crate::{QueryError, output::Series};

/// Takes names away that are to be dropped, and joins series that then have the same labels.
pub fn merge(rows: Vec<Row>) -> Result<Vec<Row>> {
    let renamed = rows.into_iter().map(|mut row| {
        if row.drop_name {
            row.labels = row.labels.drop(&DESCRIPTIVE);
            row.drop_name = false;
        }
        row
    });
    join(renamed.collect())
}

/// Joins series that have the same labels; two samples of one series at one time are an error.
pub fn join(rows: Vec<Row>) -> Result<Vec<Row>> {
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(rows.len());
    let mut out: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        let next = out.len();
        let place = *places.entry(row.labels.clone()).or_insert(next);
        if place == next {
            out.push(row);
            continue;
        }
        let earlier = &mut out[place];
        earlier.drop_name |= row.drop_name;
        for (a, b) in earlier.values.iter_mut().zip(row.values).filter(|(_, b)| is_some(*b)) {
            if is_some(*a) {
                return Err(same_labels());
            }
            *a = b;
        }
        earlier.histograms.merge(row.histograms);
    }
    Ok(out)
}

/// Joins neighbours that have the same labels, of series sorted by them; two samples of one series
/// at one time are an error.
pub fn join_sorted(series: Vec<Series>) -> Result<Vec<Series>> {
    if series.windows(2).all(|pair| pair[0].labels != pair[1].labels) {
        return Ok(series);
    }
    let mut out: Vec<Series> = Vec::with_capacity(series.len());
    for next in series {
        match out.last_mut() {
            Some(last) if last.labels == next.labels => {
                last.points.extend(next.points);
                last.points.sort_by_key(|p| p.time_ms);
                last.histograms.extend(next.histograms);
                last.histograms.sort_by_key(|(time_ms, _)| *time_ms);
                let floats = last.points.windows(2).any(|p| p[0].time_ms == p[1].time_ms);
                let histograms = last.histograms.windows(2).any(|h| h[0].0 == h[1].0);
                let at = |time_ms: i64| last.points.binary_search_by_key(&time_ms, |p| p.time_ms).is_ok();
                if floats || histograms || last.histograms.iter().any(|(time_ms, _)| at(*time_ms)) {
                    return Err(same_labels());
                }
            }
            _ => out.push(next),
        }
    }
    Ok(out)
}

fn same_labels() -> QueryError {
    QueryError::Execution("vector cannot contain metrics with the same labelset".to_owned())
}
