//! `count_values`. There are as many answers as values, and most of them have few samples, so that
//! only what was seen is held, and an answer's series is made when its turn comes.

use std::collections::HashMap;

use vedette_model::{Labels, METRIC_NAME};

use super::{
    Evaluator, Result, Sink,
    aggregate::group_labels,
    column::{Grid, NONE, Row, is_some},
    string,
};
use crate::{
    QueryError,
    ast::{Aggregate, ExprKind},
    syntax::{number::format_plain, quote::quote_bytes},
};

/// So many are gathered before those that are the same are counted together.
const GATHERED: usize = 1 << 16;

/// How often a value was seen in a group at one evaluation.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// The bits of a float, or the place of a histogram's text.
    value: u64,
    group: u32,
    step: u32,
    is_histogram: bool,
    count: u32,
}

impl Seen {
    fn key(&self) -> (u32, bool, u64, u32) {
        (self.group, self.is_histogram, self.value, self.step)
    }

    fn is_of(&self, other: &Self) -> bool {
        (self.group, self.is_histogram, self.value) == (other.group, other.is_histogram, other.value)
    }
}

/// All that was seen.
struct Gathered {
    seen: Vec<Seen>,
    /// How many there may be before they are counted together.
    fill: usize,
}

impl Gathered {
    /// Counts together what is the same, and sorts by group, value and evaluation.
    fn count(&mut self) {
        self.seen.sort_unstable_by_key(Seen::key);
        self.seen.dedup_by(|next, kept| {
            let same = next.key() == kept.key();
            kept.count += if same { next.count } else { 0 };
            same
        });
    }
}

impl Evaluator<'_> {
    pub fn count_values(&self, aggregate: &Aggregate, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let parameter = aggregate.parameter.as_ref().expect("BUG: the parser demands the parameter");
        let label = string(parameter)?;
        if let ExprKind::String(text) = &parameter.unwrap_parens().kind
            && (label.is_empty() || text.raw.is_some())
        {
            let message = format!("invalid label name {}", quote_bytes(text.as_bytes()));
            return Err(QueryError::Execution(message));
        }
        let mut groups: HashMap<Labels, u32> = HashMap::new();
        let mut texts: Vec<String> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut gathered = Gathered { seen: Vec::new(), fill: GATHERED };
        let mut held = 0;
        self.vector(&aggregate.expr, grid, &mut |mut row| {
            let next = groups.len() as u32;
            let group = *groups.entry(group_labels(aggregate, &row.labels)).or_insert(next);
            let histograms = row.take_histograms();
            for (step, histogram) in histograms.iter() {
                let text = histogram.to_string();
                let value = match places.get(&text) {
                    Some(place) => *place,
                    None => {
                        self.hold(text.len() / 4)?;
                        texts.push(text.clone());
                        places.insert(text, texts.len() - 1);
                        texts.len() - 1
                    }
                } as u64;
                let (step, is_histogram, count) = (step as u32, true, 1);
                gathered.seen.push(Seen { value, group, step, is_histogram, count });
            }
            self.release(histograms.cells());
            let floats = row.values.iter().enumerate().filter(|(_, v)| is_some(**v));
            gathered.seen.extend(floats.map(|(step, v)| {
                let (step, is_histogram, count) = (step as u32, false, 1);
                Seen { value: v.to_bits(), group, step, is_histogram, count }
            }));
            self.recycle(row.values);
            if gathered.seen.len() >= gathered.fill {
                gathered.count();
                gathered.fill = gathered.fill.max(2 * gathered.seen.len());
            }
            // Each takes as much as three samples.
            let cells = 3 * gathered.seen.len();
            if cells > held {
                self.hold(cells - held)?;
                held = cells;
            }
            Ok(())
        })?;
        drop(places);
        gathered.count();
        let seen = gathered.seen;

        // The grouping sees the new label, too.
        let is_removed =
            aggregate.without && (label == METRIC_NAME || aggregate.grouping.iter().any(|n| n == label));
        let mut own = vec![Labels::empty(); groups.len()];
        groups.into_iter().for_each(|(labels, group)| own[group as usize] = labels);
        let mut answers: Vec<(Labels, &[Seen])> = Vec::new();
        let mut answers_bytes = 0;
        for same in seen.chunk_by(Seen::is_of) {
            let Some(Seen { value, group, is_histogram, .. }) = same.first().copied() else { continue };
            let own = &own[group as usize];
            let labels = match is_histogram {
                _ if is_removed => own.clone(),
                true => with_label(own, label, &texts[value as usize]),
                false => with_label(own, label, &format_plain(f64::from_bits(value))),
            };
            let bytes = (labels.heap_bytes() + size_of::<(Labels, &[Seen])>()) as u64;
            self.cancel.hold_bytes(bytes)?;
            answers_bytes += bytes;
            answers.push((labels, same));
        }
        answers.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        if self.is_order_wanted(aggregate, answers.len().saturating_mul(grid.count)).is_some() {
            self.promise(aggregate);
        }
        // What is counted has no name of its own; one that is grouped by stays.
        for same in answers.chunk_by(|a, b| a.0 == b.0) {
            let mut values = self.column(grid.count, NONE)?;
            for seen in same.iter().flat_map(|(_, seen)| *seen) {
                let value = &mut values[seen.step as usize];
                *value = if is_some(*value) { *value } else { 0.0 } + f64::from(seen.count);
            }
            sink(Row::floats(same[0].0.clone(), false, values))?;
        }
        self.cancel.release_bytes(answers_bytes);
        self.release(held);
        Ok(())
    }
}

/// A label set with one label more, or with another value of it.
fn with_label(labels: &Labels, name: &str, value: &str) -> Labels {
    let before = labels.iter().take_while(|(n, _)| *n < name);
    let after = labels.iter().skip_while(|(n, _)| *n <= name);
    Labels::from_sorted(before.chain([(name, value)]).chain(after))
}
