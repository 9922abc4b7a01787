//! The series dictionary of one origin: stamps the labels that all of its series share, keeps
//! what was defined so that it can be defined again, and the latest values for expositions.

use vedette_model::{Labels, MetricMetadata, Row, Samples, SeriesDefinition};

/// What one origin has told so far.
#[derive(Debug, Default)]
pub struct Dictionary {
    stamp: Vec<(String, String)>,
    series: Vec<Option<Labels>>,
    metadata: Vec<MetricMetadata>,
    latest: Vec<(i64, f64)>,
}

impl Dictionary {
    /// A dictionary whose series all get the labels of `stamp`, such as `job` and `instance`.
    pub fn new(stamp: &[(&str, &str)]) -> Self {
        let stamp = stamp.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Self { stamp, ..Self::default() }
    }

    /// Stamps what is newly defined, and remembers definitions and values.
    pub fn note(&mut self, samples: &mut Samples) {
        for definition in &mut samples.defined {
            let mut labels = definition.labels.to_builder();
            for (name, value) in &self.stamp {
                labels.set(name, value);
            }
            definition.labels = labels.build();
            let place = definition.series as usize;
            if self.series.len() <= place {
                self.series.resize(place + 1, None);
                self.latest.resize(place + 1, (0, 0.0));
            }
            self.series[place] = Some(definition.labels.clone());
        }
        for row in &samples.rows {
            self.note_row(row);
        }
        for series in &samples.retired {
            if let Some(place) = self.series.get_mut(*series as usize) {
                *place = None;
            }
        }
        for family in &samples.metadata {
            match self.metadata.iter_mut().find(|m| m.family == family.family) {
                Some(known) => known.clone_from(family),
                None => self.metadata.push(family.clone()),
            }
        }
    }

    fn note_row(&mut self, row: &Row) {
        for (series, value) in row.series.iter().zip(&row.values) {
            if let Some(latest) = self.latest.get_mut(*series as usize) {
                *latest = (row.time_ms, *value);
            }
        }
    }

    /// Everything defined and not retired, for a receiver that knows nothing.
    pub fn define_all(&self, samples: &mut Samples) {
        samples.defined = self
            .series
            .iter()
            .zip(0u32..)
            .filter_map(|(labels, series)| Some(SeriesDefinition { series, labels: labels.clone()? }))
            .collect();
        samples.metadata.clone_from(&self.metadata);
    }

    /// The latest value of every series that is not retired, with its time.
    pub fn latest(&self) -> impl Iterator<Item = (&Labels, i64, f64)> {
        let known = self.series.iter().zip(&self.latest);
        known.filter_map(|(labels, (time, value))| Some((labels.as_ref()?, *time, *value)))
    }

    /// What is known of the families.
    pub fn metadata(&self) -> &[MetricMetadata] {
        &self.metadata
    }

    /// Number of series that are not retired.
    pub fn series(&self) -> usize {
        self.series.iter().flatten().count()
    }
}

#[cfg(test)]
mod tests {
    use vedette_model::stale_nan;

    use super::*;

    #[test]
    fn stamps_once_and_defines_all_again() {
        let mut dictionary = Dictionary::new(&[("job", "node-exporter")]);
        let define = |series, name: &str| SeriesDefinition {
            series,
            labels: Labels::from_pairs([("__name__", name)]),
        };
        let mut first = Samples {
            defined: vec![define(0, "a"), define(1, "b")],
            rows: vec![Row { time_ms: 5, series: vec![0, 1], values: vec![1.0, 2.0] }],
            ..Samples::default()
        };
        dictionary.note(&mut first);
        assert_eq!(first.defined[1].labels.to_string(), r#"b{job="node-exporter"}"#);
        let mut second = Samples {
            retired: vec![0],
            rows: vec![Row { time_ms: 6, series: vec![0, 1], values: vec![stale_nan(), 3.0] }],
            ..Samples::default()
        };
        dictionary.note(&mut second);
        let mut again = Samples::default();
        dictionary.define_all(&mut again);
        assert_eq!(again.defined, [first.defined[1].clone()]);
        let latest: Vec<_> = dictionary.latest().map(|(l, t, v)| (l.to_string(), t, v)).collect();
        assert_eq!(latest, [(r#"b{job="node-exporter"}"#.to_owned(), 6, 3.0)]);
        assert_eq!(dictionary.series(), 1);
    }
}
