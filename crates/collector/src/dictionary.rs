//! The series dictionary of one origin: stamps the labels that all of its series share, keeps
//! what was defined so that it can be defined again, and the latest values for expositions.

mod history;

use std::collections::HashMap;

use vedette_model::{Labels, METRIC_NAME, MetricMetadata, Row, Samples, SeriesDefinition};
use vedette_wire::exposition::push_series;

use history::History;

/// What one origin has told so far.
#[derive(Debug, Default)]
pub struct Dictionary {
    stamp: Vec<(String, String)>,
    series: Vec<Option<Labels>>,
    metadata: Vec<MetricMetadata>,
    latest: Vec<(i64, f64)>,
    order: Order,
    history: Option<History>,
}

/// The order in which an exposition tells the series: by family, then by labels.
#[derive(Debug, Default)]
struct Order {
    places: Vec<Place>,
    /// The series at the places as expositions name them, one behind the other, and where each ends.
    texts: Vec<u8>,
    text_ends: Vec<u32>,
    /// Numbers that have come since the order was made, and such that stand for nothing or another series.
    come: Vec<u32>,
    gone: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    series: u32,
    /// How much of the metric's name is that of its family.
    family_bytes: u32,
    /// Where it stands among the metadata.
    metadata: Option<u32>,
}

/// The newest sample of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Newest<'a> {
    /// The name of its family.
    pub family: &'a str,
    /// What is known of the family.
    pub metadata: Option<&'a MetricMetadata>,
    /// Its labels.
    pub labels: &'a Labels,
    /// Its name and labels as an exposition has them, without those that all series share: a scrape adds them.
    pub text: &'a [u8],
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// Its value.
    pub value: f64,
}

/// The course of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// Its labels.
    pub labels: Labels,
    /// Times in milliseconds and values, the oldest first.
    pub samples: Vec<(i64, f64)>,
}

/// Series that somebody wants.
#[derive(Debug)]
pub struct Found<'a> {
    /// By number, the place of the series among them.
    places: Vec<Option<usize>>,
    /// Their labels.
    pub labels: Vec<&'a Labels>,
}

impl Dictionary {
    /// A dictionary whose series all get the labels of `stamp`, such as `job` and `instance`.
    pub fn new(stamp: &[(&str, &str)]) -> Self {
        let stamp = stamp.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Self { stamp, ..Self::default() }
    }

    /// One that keeps the rows of the last two minutes too, or of less where there are very many series.
    pub fn with_history(stamp: &[(&str, &str)]) -> Self {
        Self { history: Some(History::default()), ..Self::new(stamp) }
    }

    /// Stamps what is newly defined, and remembers definitions and values.
    pub fn note(&mut self, samples: &mut Samples) {
        if let Some(history) = &mut self.history {
            history.note(samples);
        }
        for definition in &mut samples.defined {
            let mut labels = definition.labels.to_builder();
            for (name, value) in &self.stamp {
                // What is told of another, as of a part of a cluster, says of whom by itself.
                if definition.labels.get(name).is_none() {
                    labels.set(name, value);
                }
            }
            definition.labels = labels.build();
            let place = definition.series as usize;
            if self.series.len() <= place {
                self.series.resize(place + 1, None);
                self.latest.resize(place + 1, (0, 0.0));
            }
            if self.series[place].replace(definition.labels.clone()).is_some() {
                self.order.gone.push(definition.series);
            }
            self.order.come.push(definition.series);
        }
        for row in &samples.rows {
            self.note_row(row);
        }
        for series in &samples.retired {
            if let Some(place) = self.series.get_mut(*series as usize) {
                *place = None;
                self.order.gone.push(*series);
            }
        }
        for family in &samples.metadata {
            match self.metadata.iter_mut().find(|m| m.family == family.family) {
                Some(known) => known.clone_from(family),
                None => {
                    self.metadata.push(family.clone());
                    // Series may turn out to be parts of it.
                    self.order.forget(self.series.len());
                }
            }
        }
        // Where nobody looks, what comes and goes is not to pile up.
        if self.order.come.len() + self.order.gone.len() > 2 * self.series.len() + 1024 {
            self.order.forget(self.series.len());
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

    /// The newest sample of every series that is not retired, by family and labels.
    pub fn newest(&mut self) -> impl Iterator<Item = Newest<'_>> {
        self.put_in_order();
        let Order { places, texts, text_ends, .. } = &self.order;
        let begins = std::iter::once(&0).chain(text_ends);
        places.iter().zip(begins.zip(text_ends)).filter_map(|(place, (begin, end))| {
            let text = &texts[*begin as usize..*end as usize];
            let labels = self.series[place.series as usize].as_ref()?;
            let (time_ms, value) = self.latest[place.series as usize];
            let metadata = place.metadata.map(|i| &self.metadata[i as usize]);
            Some(Newest { family: place.family(labels), metadata, labels, text, time_ms, value })
        })
    }

    /// Few come and go between two looks, and what stays is in order.
    fn put_in_order(&mut self) {
        let Self { stamp, series, metadata, order, .. } = self;
        let Order { places, come, gone, .. } = order;
        if come.is_empty() && gone.is_empty() {
            return;
        }
        if !gone.is_empty() {
            gone.sort_unstable();
            places.retain(|place| gone.binary_search(&place.series).is_err());
            gone.clear();
        }
        if !come.is_empty() {
            come.sort_unstable();
            come.dedup();
            let families: HashMap<&str, u32> =
                metadata.iter().zip(0..).map(|(m, i)| (m.family.as_str(), i)).collect();
            let new = come.drain(..).filter_map(|number| {
                let labels = series[number as usize].as_ref()?;
                Some(Place::of(number, labels.metric_name(), &families))
            });
            places.extend(new);
            let labels = |place: &Place| series[place.series as usize].as_ref();
            places.sort_by(|a, b| {
                let family = |place: &Place| labels(place).map(|labels| place.family(labels));
                family(a).cmp(&family(b)).then_with(|| labels(a).cmp(&labels(b)))
            });
        }
        order.write_texts(series, stamp);
    }

    /// The series that are wanted and not retired.
    pub fn find(&self, wanted: &dyn Fn(&Labels) -> bool) -> Found<'_> {
        let mut found = Found { places: vec![None; self.series.len()], labels: Vec::new() };
        for (place, labels) in found.places.iter_mut().zip(&self.series) {
            if let Some(labels) = labels.as_ref().filter(|labels| wanted(labels)) {
                *place = Some(found.labels.len());
                found.labels.push(labels);
            }
        }
        found
    }

    /// Tells the samples that are kept of these series: the place among them, time and value, the oldest first.
    pub fn tell(&self, found: &Found<'_>, each: impl FnMut(usize, i64, f64)) {
        if let Some(history) = &self.history {
            history.tell(&found.places, each);
        }
    }

    /// The courses of the series that are wanted and not retired; empty where none are kept.
    pub fn courses(&self, wanted: &dyn Fn(&Labels) -> bool) -> Vec<Course> {
        if self.history.is_none() {
            return Vec::new();
        }
        let found = self.find(wanted);
        let course = |labels: &&Labels| Course { labels: (*labels).clone(), samples: Vec::new() };
        let mut courses: Vec<Course> = found.labels.iter().map(course).collect();
        self.tell(&found, |course, time_ms, value| courses[course].samples.push((time_ms, value)));
        courses
    }

    /// Number of series that are not retired.
    pub fn series(&self) -> usize {
        self.series.iter().flatten().count()
    }
}

impl Order {
    fn write_texts(&mut self, series: &[Option<Labels>], stamp: &[(String, String)]) {
        self.texts.clear();
        self.text_ends.clear();
        let is_told = |name: &str| name != METRIC_NAME && !stamp.iter().any(|(shared, _)| shared == name);
        for place in &self.places {
            if let Some(labels) = &series[place.series as usize] {
                let told = labels.iter().filter(|(name, _)| is_told(name));
                push_series(&mut self.texts, labels.metric_name(), told);
            }
            self.text_ends.push(self.texts.len() as u32);
        }
        self.texts.shrink_to_fit();
    }

    /// Begins anew with all numbers below this one.
    fn forget(&mut self, numbers: usize) {
        self.places.clear();
        self.gone.clear();
        self.come.clear();
        self.come.extend(0..numbers as u32);
    }
}

impl Place {
    /// A series belongs to the family of its name, or without a histogram's or summary's suffix where only
    /// that is known.
    fn of(series: u32, name: &str, families: &HashMap<&str, u32>) -> Self {
        let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|suffix| name.strip_suffix(suffix));
        let known = std::iter::once(name).chain(parts).find(|family| families.contains_key(family));
        let family_bytes = known.unwrap_or(name).len() as u32;
        Self { series, family_bytes, metadata: known.and_then(|family| families.get(family).copied()) }
    }

    fn family<'l>(&self, labels: &'l Labels) -> &'l str {
        &labels.metric_name()[..self.family_bytes as usize]
    }
}

#[cfg(test)]
mod tests {
    use vedette_model::{MetricKind, stale_nan};

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
            rows: vec![Row { time_ms: 5, series: vec![0, 1], values: vec![1.0, 2.0], ..Row::default() }],
            ..Samples::default()
        };
        dictionary.note(&mut first);
        assert_eq!(first.defined[1].labels.to_string(), r#"b{job="node-exporter"}"#);
        let mut second = Samples {
            retired: vec![0],
            rows: vec![Row {
                time_ms: 6,
                series: vec![0, 1],
                values: vec![stale_nan(), 3.0],
                ..Row::default()
            }],
            ..Samples::default()
        };
        dictionary.note(&mut second);
        let mut again = Samples::default();
        dictionary.define_all(&mut again);
        assert_eq!(again.defined, [first.defined[1].clone()]);
        let latest: Vec<_> =
            dictionary.newest().map(|n| (n.labels.to_string(), n.time_ms, n.value)).collect();
        assert_eq!(latest, [(r#"b{job="node-exporter"}"#.to_owned(), 6, 3.0)]);
        assert_eq!(dictionary.series(), 1);
    }

    #[test]
    fn the_newest_come_by_family_and_labels_whatever_came_and_went() {
        let mut dictionary = Dictionary::new(&[]);
        let define = |series: u32, name: &str, id: &str| SeriesDefinition {
            series,
            labels: Labels::from_pairs([("__name__", name), ("id", id)]),
        };
        let family = |family: &str, kind| MetricMetadata {
            family: family.to_owned(),
            kind,
            unit: String::new(),
            help: String::new(),
        };
        let told = |dictionary: &mut Dictionary| {
            let line = |n: Newest<'_>| {
                let kind = n.metadata.map_or("-", |m| m.kind.as_str());
                format!("{} {kind} {}", n.family, n.labels)
            };
            dictionary.newest().map(line).collect::<Vec<_>>()
        };
        dictionary.note(&mut Samples {
            defined: vec![define(2, "wait_sum", ""), define(0, "load", "b"), define(1, "load", "a")],
            metadata: vec![family("load", MetricKind::Gauge)],
            ..Samples::default()
        });
        assert_eq!(
            told(&mut dictionary),
            ["load gauge load{id=\"a\"}", "load gauge load{id=\"b\"}", "wait_sum - wait_sum"]
        );
        // A family turns up, a number goes to another series, and another is retired.
        dictionary.note(&mut Samples {
            defined: vec![define(1, "wait_count", "c"), define(3, "cpu", "d")],
            metadata: vec![family("wait", MetricKind::Summary)],
            retired: vec![0],
            ..Samples::default()
        });
        assert_eq!(
            told(&mut dictionary),
            ["cpu - cpu{id=\"d\"}", "wait summary wait_count{id=\"c\"}", "wait summary wait_sum"]
        );
        dictionary.note(&mut Samples {
            defined: vec![define(0, "cpu", "a"), define(3, "cpu", "b")],
            ..Samples::default()
        });
        let now = told(&mut dictionary);
        assert_eq!(now[..2], ["cpu - cpu{id=\"a\"}", "cpu - cpu{id=\"b\"}"]);
        assert_eq!(now.len(), 4);
    }

    #[test]
    fn two_minutes_are_kept_and_a_number_that_goes_to_another_series_takes_nothing_along() {
        let mut dictionary = Dictionary::with_history(&[]);
        let labels = |name: &str| Labels::from_pairs([("__name__", name)]);
        let pass = |dictionary: &mut Dictionary, time_ms, defined: &[(u32, &str)], retired: &[u32]| {
            let defined = defined
                .iter()
                .map(|(series, name)| SeriesDefinition { series: *series, labels: labels(name) });
            dictionary.note(&mut Samples {
                defined: defined.collect(),
                retired: retired.to_vec(),
                rows: vec![Row {
                    time_ms,
                    series: vec![0, 1],
                    values: vec![time_ms as f64, 1.0],
                    ..Row::default()
                }],
                ..Samples::default()
            });
        };
        pass(&mut dictionary, 1000, &[(0, "a"), (1, "b")], &[]);
        (2..=150).for_each(|s| pass(&mut dictionary, s * 1000, &[], &[]));
        let of = |dictionary: &Dictionary, name: &str| {
            let courses = dictionary.courses(&|l| l.metric_name() == name);
            courses.into_iter().next().map(|course| course.samples)
        };
        let samples = of(&dictionary, "a").unwrap();
        assert_eq!(
            (samples.len(), samples[0], samples[119]),
            (120, (31_000, 31_000.0), (150_000, 150_000.0))
        );
        pass(&mut dictionary, 151_000, &[], &[0]);
        assert_eq!(of(&dictionary, "a"), None, "it is retired");
        pass(&mut dictionary, 152_000, &[(0, "c")], &[]);
        assert_eq!(of(&dictionary, "c"), Some(vec![(152_000, 152_000.0)]), "nothing of the one before");
        assert_eq!(of(&dictionary, "b").unwrap().len(), 120);
        assert_eq!(Dictionary::new(&[]).courses(&|_| true), []);
    }
}
