//! Vedette's own metrics as samples, so that its rules can judge Vedette itself.

use std::collections::HashMap;

use vedette_model::{
    Labels, METRIC_NAME, MetricMetadata, Row, Samples, SeriesDefinition,
    telemetry::{Family, MetricVisitor, Telemetry},
};

/// Numbers the own series; a known one costs a look-up and no allocation.
#[derive(Default)]
pub struct OwnMetrics {
    numbers: HashMap<u64, u32>,
    families: Vec<&'static str>,
}

impl OwnMetrics {
    /// Reads all own metrics into `samples`.
    pub fn collect(&mut self, telemetry: &Telemetry, time_ms: i64, samples: &mut Samples) {
        // An empty row is one of an earlier pass, whose memory is used again.
        let spare = samples.rows.pop_if(|row| row.series.is_empty()).unwrap_or_default();
        let row = Row { time_ms, ..spare };
        let mut pass = Pass { own: self, samples, row };
        telemetry.visit(&mut pass);
        let row = pass.row;
        samples.rows.push(row);
    }
}

struct Pass<'a> {
    own: &'a mut OwnMetrics,
    samples: &'a mut Samples,
    row: Row,
}

impl MetricVisitor for Pass<'_> {
    fn value(&mut self, family: &Family, labels: &[(&str, &str)], value: f64) {
        let next = u32::try_from(self.own.numbers.len()).unwrap_or(u32::MAX);
        let number = *self.own.numbers.entry(hash(family.name, labels)).or_insert(next);
        if number == next {
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
    use std::sync::Arc;

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
