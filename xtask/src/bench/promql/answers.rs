//! Answers, and whether two mean the same.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context, Result};
use serde::{Deserialize, Deserializer, de};

/// Values that differ by less than this, relatively, are equal: sums in another order do.
const TOLERANCE: f64 = 1e-9;

/// As is what is left of terms that cancel: less than this times the largest value of the series.
const ROUNDING: f64 = 1e-14;

/// The series of an answer by their labels.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer(BTreeMap<Labels, Vec<Point>>);

type Labels = BTreeMap<String, String>;

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
struct Point(f64, Value);

#[derive(Debug, Clone, Copy, PartialEq)]
struct Value(f64);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = f64;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number in quotes")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<f64, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text).map(Self)
    }
}

#[derive(Deserialize)]
struct Whole {
    data: Data,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Row>),
    Matrix(Vec<Row>),
    Scalar(Point),
}

#[derive(Deserialize)]
struct Row {
    metric: Labels,
    #[serde(default)]
    value: Option<Point>,
    #[serde(default)]
    values: Vec<Point>,
}

impl Answer {
    pub fn parse(body: &str) -> Result<Self> {
        let whole: Whole = serde_json::from_str(body).context("an answer that cannot be read")?;
        Ok(Self(match whole.data {
            Data::Scalar(point) => BTreeMap::from([(Labels::new(), vec![point])]),
            Data::Vector(rows) | Data::Matrix(rows) => rows
                .into_iter()
                .map(|row| (row.metric, row.value.map_or(row.values, |value| vec![value])))
                .collect(),
        }))
    }

    /// The first difference, in words.
    pub fn difference(&self, expected: &Self) -> Option<String> {
        for (labels, points) in &expected.0 {
            let Some(got) = self.0.get(labels) else { return Some(format!("{labels:?} is missing")) };
            if got.len() != points.len() {
                return Some(format!("{labels:?} has {} values instead of {}", got.len(), points.len()));
            }
            let left = ROUNDING * largest(points.iter().map(|point| point.1.0));
            for (got, expected) in got.iter().zip(points) {
                let same = alike(got.1.0, expected.1.0) || (got.1.0 - expected.1.0).abs() <= left;
                if got.0 != expected.0 || !same {
                    return Some(format!(
                        "{labels:?} is {} at {} instead of {} at {}",
                        got.1.0, got.0, expected.1.0, expected.0
                    ));
                }
            }
        }
        let more = self.0.keys().find(|labels| !expected.0.contains_key(*labels));
        more.map(|labels| format!("{labels:?} is too much"))
    }
}

impl Answer {
    /// As [`Answer::difference`] where an expression takes some series of equal ones, and it is not
    /// told which: the values of each time are compared, whatever their labels.
    pub fn difference_of_values(&self, expected: &Self) -> Option<String> {
        let (mine, theirs) = (self.by_time(), expected.by_time());
        if let Some(time) = mine
            .keys()
            .chain(theirs.keys())
            .find(|t| mine.get(t).map(Vec::len) != theirs.get(t).map(Vec::len))
        {
            return Some(format!("another number of values at {time} ms"));
        }
        let pairs = mine.iter().flat_map(|(time, values)| {
            values.iter().zip(&theirs[time]).map(move |(got, expected)| (time, got, expected))
        });
        let mut different = pairs.filter(|(_, got, expected)| !alike(**got, **expected));
        different.next().map(|(time, got, expected)| format!("{got} instead of {expected} at {time} ms"))
    }

    /// The values of each millisecond, in order.
    fn by_time(&self) -> BTreeMap<i64, Vec<f64>> {
        let mut all = BTreeMap::<i64, Vec<f64>>::new();
        for Point(seconds, Value(value)) in self.0.values().flatten() {
            all.entry((seconds * 1e3).round() as i64).or_default().push(*value);
        }
        all.values_mut().for_each(|values| values.sort_by(f64::total_cmp));
        all
    }
}

/// The largest finite magnitude.
fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.map(f64::abs).filter(|value| value.is_finite()).fold(0.0, f64::max)
}

fn alike(a: f64, b: f64) -> bool {
    let difference = (a - b).abs();
    a == b
        || (a.is_nan() && b.is_nan())
        || (difference.is_finite() && difference <= TOLERANCE * a.abs().max(b.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(value: &str) -> Answer {
        let body = format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{"a":"1"}},"value":[5.5,"{value}"]}}]}}}}"#
        );
        Answer::parse(&body).expect("an answer")
    }

    #[test]
    fn answers_differ_by_labels_times_and_values() {
        let one = answer("1");
        assert_eq!(one.difference(&answer("1.0000000000001")), None);
        assert_eq!(answer("NaN").difference(&answer("NaN")), None);
        assert!(one.difference(&answer("1.00001")).is_some());
        assert!(one.difference(&Answer::default()).is_some_and(|d| d.contains("too much")));
        assert!(Answer::default().difference(&one).is_some_and(|d| d.contains("missing")));
        let other = Answer(one.0.values().map(|v| (Labels::new(), v.clone())).collect());
        assert!(other.difference(&one).is_some());
        assert_eq!(other.difference_of_values(&one), None);
        assert!(answer("2").difference_of_values(&one).is_some());
        assert!(Answer::default().difference_of_values(&one).is_some());
        let matrix = r#"{"data":{"resultType":"matrix","result":[{"metric":{"a":"1"},"values":[[5.5,"1"],[6,"+Inf"]]}]}}"#;
        let matrix = Answer::parse(matrix).expect("an answer");
        assert!(matrix.difference(&one).is_some_and(|d| d.contains("2 values")));
    }

    #[test]
    fn terms_that_cancel_leave_what_their_order_leaves() {
        let answer = |left: &str| {
            let body = format!(
                r#"{{"data":{{"resultType":"matrix","result":[{{"metric":{{}},"values":[[5,"0.01"],[6,"{left}"]]}}]}}}}"#
            );
            Answer::parse(&body).expect("an answer")
        };
        assert_eq!(answer("-7.6e-19").difference(&answer("-1.7e-18")), None);
        assert!(answer("1e-12").difference(&answer("0")).is_some());
        assert!(answer("+Inf").difference(&answer("0")).is_some());
    }
}
