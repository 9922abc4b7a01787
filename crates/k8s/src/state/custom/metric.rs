//! How rows are made of an object: one metric at a time, each by its type.

use serde_json::Value;

use super::{
    CustomFamily, CustomMetric,
    labels::{LabelPaths, Labels},
    lost::{Loss, Lost},
    number::number,
    path::Path,
    rows::{ObjectRows, RowWriter},
};

/// A metric by its type, and what its rows are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Metric {
    /// Where it stands; of a list, and of an object where that is said below, each element makes a row.
    pub(super) path: Path,
    /// Labels whose values stand below that, or below the element.
    pub(super) labels: LabelPaths,
    pub(super) shape: Shape,
}

/// What a type has of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// The number at `value`. Each field of an object makes a row; `key` is the label that tells its name.
    Gauge { value: Path, key: Option<Box<str>>, nil_is_zero: bool },
    /// A row for each of these states, 1 for the text at `value`; `label` tells the state.
    StateSet { value: Path, label: Box<str>, states: Box<[Box<str>]> },
    /// Always 1. With a `key` each field of an object makes a row, and that label tells its name.
    Info { key: Option<Box<str>> },
}

/// The rows of an object. `who` names it where something is told of it.
pub(super) fn rows(families: &[CustomFamily], object: &Value, who: &str, lost: &Lost) -> ObjectRows {
    let mut writer = RowWriter::new(lost);
    for (at, family) in families.iter().enumerate() {
        for metric in &family.metrics {
            let mut base = Labels::default();
            metric.labels.add(object, &mut base, lost);
            for (name, value) in &metric.common {
                base.add(name, value, lost);
            }
            Telling { metric, base, writer: &mut writer, family, at, who }.all(object);
        }
        writer.end(at);
    }
    writer.finish()
}

/// One metric of one object.
struct Telling<'t, 'a> {
    metric: &'t CustomMetric,
    base: Labels,
    writer: &'t mut RowWriter<'a>,
    family: &'t CustomFamily,
    /// The place of the family.
    at: usize,
    who: &'t str,
}

impl Telling<'_, '_> {
    fn all(&mut self, object: &Value) {
        let metric = self.metric;
        let found = metric.each.path.get(object);
        match (&metric.each.shape, found) {
            (Shape::Gauge { nil_is_zero, .. }, None) => match nil_is_zero {
                true => self.tell(&Value::Null, None, 0.0),
                false => self.missed("nothing is there"),
            },
            // The value may be one of its own fields; then it is of one thing, not of many.
            (Shape::Gauge { value, .. }, Some(found @ Value::Object(_)))
                if !value.is_empty() && value.get(found).is_some() =>
            {
                self.one(found);
            }
            (Shape::Gauge { value, key, .. }, Some(Value::Object(fields))) => {
                for (name, element) in fields {
                    self.gauge(element, value, key.as_deref().map(|key| (key, name.as_str())));
                }
            }
            (Shape::Info { key: Some(key) }, Some(Value::Object(fields))) => {
                for (name, element) in fields {
                    self.tell(element, Some((key, name)), 1.0);
                }
            }
            // What is not there has no state, and nothing is to be known of it.
            (Shape::StateSet { .. } | Shape::Info { .. }, None) => {}
            (_, Some(Value::Array(elements))) => elements.iter().for_each(|element| self.one(element)),
            (_, Some(value)) => self.one(value),
        }
    }

    /// The row, or rows, of what is no more than one value.
    fn one(&mut self, value: &Value) {
        let metric = self.metric;
        match &metric.each.shape {
            Shape::Gauge { value: path, .. } => self.gauge(value, path, None),
            Shape::Info { .. } => self.tell(value, None, 1.0),
            Shape::StateSet { value: path, label, states } => match path.get(value) {
                None => {}
                Some(Value::String(state)) => {
                    let mut below = Labels::default();
                    metric.each.labels.add(value, &mut below, self.writer.lost());
                    for known in states {
                        self.write(Some((label, known)), &below, f64::from(**known == **state));
                    }
                }
                Some(_) => self.missed("it is no text"),
            },
        }
    }

    fn gauge(&mut self, value: &Value, path: &Path, key: Option<(&str, &str)>) {
        let Shape::Gauge { nil_is_zero, .. } = self.metric.each.shape else { return };
        match path.get(value) {
            None if nil_is_zero => self.tell(value, key, 0.0),
            None => self.missed("nothing is there"),
            Some(found) => match number(found) {
                Some(number) => self.tell(value, key, number),
                None => self.missed("it stands for no number"),
            },
        }
    }

    /// Writes a row with the labels that stand below a value.
    fn tell(&mut self, value: &Value, label: Option<(&str, &str)>, number: f64) {
        let mut below = Labels::default();
        if self.writer.has_room() {
            self.metric.each.labels.add(value, &mut below, self.writer.lost());
        }
        self.write(label, &below, number);
    }

    /// Writes a row: its own label wins over those below its value, and these over those of the object.
    fn write(&mut self, label: Option<(&str, &str)>, below: &Labels, number: f64) {
        let lost = self.writer.lost();
        if !self.writer.has_room() {
            lost.add(Loss::Rows);
            return;
        }
        let mut labels = Labels::default();
        if let Some((name, value)) = label {
            labels.add(name, value, lost);
        }
        labels.add_all(below, lost);
        labels.add_all(&self.base, lost);
        self.writer.row(&labels, number);
    }

    /// Counts a value that cannot be told. The first of a family is told to people, too.
    fn missed(&mut self, why: &str) {
        if !self.writer.lost().miss(self.at) {
            return;
        }
        let (family, path, object) = (&*self.family.name, self.metric.each.path.to_string(), self.who);
        if self.metric.warns {
            tracing::warn!(family, path, object, why, "a custom resource has no value for a metric");
        } else {
            tracing::debug!(family, path, object, why, "a custom resource has no value for a metric");
        }
    }
}
