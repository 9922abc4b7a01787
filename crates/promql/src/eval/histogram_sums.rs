//! `sum` and `avg` of native histograms, beside the sums of floats: for each group and time at most
//! one of the two may be there.

use std::{collections::BTreeMap, sync::Arc};

use vedette_model::ResetHint;

use super::{
    column::{HISTOGRAM, Histograms, NONE},
    notes::{Note, Notes, Operation},
};
use crate::{
    Histogram,
    ast::AggregateOp,
    histogram::{HistogramMean, HistogramSum},
};

/// The sums of one group, by evaluation.
#[derive(Default)]
pub struct GroupSums(BTreeMap<usize, State>);

struct State {
    total: Total,
    reset: bool,
    not_reset: bool,
    incompatible: bool,
}

enum Total {
    /// A float came first: there will be no answer.
    None,
    Sum(HistogramSum),
    Mean(HistogramMean),
}

impl State {
    fn new(op: AggregateOp, first: &Histogram, after_float: bool) -> Self {
        let total = match op {
            _ if after_float => Total::None,
            AggregateOp::Avg => Total::Mean(HistogramMean::of(first)),
            _ => Total::Sum(HistogramSum::of(first)),
        };
        let mut state = Self { total, reset: false, not_reset: false, incompatible: false };
        state.see(first.hint);
        state
    }

    fn see(&mut self, hint: ResetHint) {
        self.reset |= hint == ResetHint::Reset;
        self.not_reset |= hint == ResetHint::NotReset;
    }

    fn add(&mut self, histogram: &Histogram, notes: &Notes<'_>) {
        if self.incompatible {
            return;
        }
        self.see(histogram.hint);
        let merged = match &mut self.total {
            Total::None => return,
            Total::Sum(sum) => sum.add(histogram),
            Total::Mean(mean) => mean.add(histogram),
        };
        match merged {
            Ok(merged) => notes.reconciled(merged, Operation::Aggregation),
            Err(_) => {
                self.incompatible = true;
                notes.tell(Note::MixedSchemas(notes.name));
            }
        }
    }
}

impl GroupSums {
    /// Adds the histograms of one series; `is_float` tells where the group already has a float.
    pub fn add(
        &mut self,
        op: AggregateOp,
        histograms: &Histograms,
        is_float: impl Fn(usize) -> bool,
        notes: &Notes<'_>,
    ) {
        for (step, histogram) in histograms.iter() {
            match self.0.entry(step) {
                std::collections::btree_map::Entry::Occupied(mut state) => {
                    state.get_mut().add(histogram, notes);
                }
                std::collections::btree_map::Entry::Vacant(new) => {
                    new.insert(State::new(op, histogram, is_float(step)));
                }
            }
        }
    }

    /// Puts the sums into a column that holds the sums of floats.
    pub fn finish(
        self,
        values: &mut [f64],
        is_float: impl Fn(usize) -> bool,
        notes: &Notes<'_>,
    ) -> Histograms {
        let mut histograms = Histograms::default();
        for (step, state) in self.0 {
            values[step] = NONE;
            if state.incompatible {
                continue;
            }
            if is_float(step) {
                notes.tell(Note::MixedTypesInAggregation);
                continue;
            }
            let mut total = match state.total {
                Total::None => continue,
                Total::Sum(sum) => sum.get(),
                Total::Mean(mean) => mean.get(),
            };
            if state.reset && state.not_reset {
                notes.tell(Note::Collision(Operation::Aggregation));
            }
            total.compact();
            values[step] = HISTOGRAM;
            histograms.push(step, Arc::new(total));
        }
        histograms
    }
}
