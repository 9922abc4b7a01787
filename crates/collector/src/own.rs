//! Vedette's own metrics as samples, so that its rules can judge Vedette itself.

use std::collections::{HashMap, hash_map::Entry};

use vedette_model::{
    Labels, METRIC_NAME, MetricMetadata, Row, Samples, SeriesDefinition,
    telemetry::{Family, MetricVisitor, Telemetry},
};

/// Numbers the own series; a known one costs a look-up and no allocation.
#[derive(Default)]
pub struct OwnMetrics {
    /// The number of each, and the last pass that told it.
    numbers: HashMap<u64, (u32, u64)>,
    /// Numbers whose series have ended.
    free: Vec<u32>,
    passes: u64,
    families: Vec<&'static str>,
}

impl OwnMetrics {
    /// Reads all own metrics into `samples`.
    pub fn collect(&mut self, telemetry: &Telemetry, time_ms: i64, samples: &mut Samples) {
        // An empty row is one of an earlier pass, whose memory is used again.
        let spare = samples.rows.pop_if(|row| row.series.is_empty()).unwrap_or_default();
        let row = Row { time_ms, ..spare };
        let mut pass = Pass { own: self, samples, row };
        pass.own.passes += 1;
        telemetry.visit(&mut pass);
        let row = pass.row;
        let is_fewer = row.series.len() < self.numbers.len();
        samples.rows.push(row);
        if is_fewer {
            // What is not told any more ends, or it would seem to be so for minutes.
            let passes = self.passes;
            self.numbers.retain(|_, (number, told)| {
                if *told != passes {
                    samples.retired.push(*number);
                    self.free.push(*number);
                }
                *told == passes
            });
        }
    }
}

struct Pass<'a> {
    own: &'a mut OwnMetrics,
    samples: &'a mut Samples,
    row: Row,
}

impl MetricVisitor for Pass<'_> {
    fn value(&mut self, family: &Family, labels: &[(&str, &str)], value: f64) {
        let OwnMetrics { numbers, free, passes, .. } = &mut *self.own;
        // All numbers that were ever given are in use or free.
        let next = u32::try_from(numbers.len() + free.len()).unwrap_or(u32::MAX);
        let (is_new, number) = match numbers.entry(hash(family.name, labels)) {
            Entry::Occupied(mut known) => {
                known.get_mut().1 = *passes;
                (false, known.get().0)
            }
            Entry::Vacant(new) => (true, new.insert((free.pop().unwrap_or(next), *passes)).0),
        };
        if is_new {
            let name = [(METRIC_NAME, family.name)];
            let labels = Labels::from_pairs(name.iter().chain(labels).copied());
            self.samples.defined.push(SeriesDefinition { series: number, labels });
            if !self.own.families.contains(&family.name) {
                self.own.families.push(family.name);
                self.samples.metadata.push(MetricMetadata {
                    family: family.name.to_owned(),
                    kind: family.kind,
                    unit: String::new(),
                    help: family.help.to_owned(),
                });
            }
        }
        self.row.series.push(number);
        self.row.values.push(value);
    }
}

fn hash(name: &str, labels: &[(&str, &str)]) -> u64 {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
    BuildHasherDefault::<DefaultHasher>::new().hash_one((name, labels))
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use vedette_model::{MetricKind, telemetry::MetricSource};

    use super::*;

    struct Two;

    const FAMILY: Family = Family { name: "vedette_test_total", kind: MetricKind::Counter, help: "A test." };

    impl MetricSource for Two {
        fn visit(&self, visitor: &mut dyn MetricVisitor) {
            visitor.value(&FAMILY, &[("reason", "a")], 1.0);
            visitor.value(&FAMILY, &[("reason", "b")], 2.0);
        }
    }

    /// Tells its series or does not.
    struct AtTimes(AtomicBool);

    impl MetricSource for AtTimes {
        fn visit(&self, visitor: &mut dyn MetricVisitor) {
            if self.0.load(Ordering::Relaxed) {
                visitor.value(&FAMILY, &[("reason", "c")], 3.0);
            }
        }
    }

    #[test]
    fn what_is_not_told_any_more_ends_and_may_come_again() {
        let (telemetry, at_times) = (Telemetry::default(), Arc::new(AtTimes(AtomicBool::new(true))));
        telemetry.register(Arc::new(Two));
        telemetry.register(at_times.clone());
        let mut own = OwnMetrics::default();
        let mut pass = |is_told| {
            at_times.0.store(is_told, Ordering::Relaxed);
            let mut samples = Samples::default();
            own.collect(&telemetry, 1, &mut samples);
            let defined: Vec<u32> = samples.defined.iter().map(|definition| definition.series).collect();
            (samples.rows[0].series.clone(), defined, samples.retired)
        };
        assert_eq!(pass(true), (vec![0, 1, 2], vec![0, 1, 2], vec![]));
        assert_eq!(pass(false), (vec![0, 1], vec![], vec![2]));
        assert_eq!(pass(false), (vec![0, 1], vec![], vec![]));
        assert_eq!(pass(true), (vec![0, 1, 2], vec![2], vec![]));
    }

    #[test]
    fn series_are_defined_once() {
        let telemetry = Telemetry::default();
        telemetry.register(Arc::new(Two));
        let mut own = OwnMetrics::default();
        let (mut first, mut second) = (Samples::default(), Samples::default());
        own.collect(&telemetry, 1, &mut first);
        own.collect(&telemetry, 2, &mut second);
        assert_eq!(first.defined.len(), 2);
        assert_eq!(first.metadata.len(), 1);
        assert!(second.defined.is_empty() && second.metadata.is_empty());
        assert_eq!(
            second.rows,
            [Row { time_ms: 2, series: vec![0, 1], values: vec![1.0, 2.0], ..Row::default() }]
        );
    }
}
