//! Rows as they stand on a page.

use super::{Allowed, pairs};
use crate::objects::Pairs;

/// The labels that all rows of an object begin with, as they stand on the page.
#[derive(Debug, Default)]
pub struct Head {
    text: String,
    /// Where that of the object under way begins; those before it belong to others.
    begin: usize,
}

impl Head {
    /// Adds a label.
    pub fn label(&mut self, name: &str, value: &str) -> &mut Self {
        if self.text.len() > self.begin {
            self.text.push(',');
        }
        push_label(&mut self.text, name, value);
        self
    }

    /// The head of the next object begins. Gives the place where the last one ends.
    pub(super) fn next(&mut self) -> usize {
        self.begin = self.text.len();
        self.begin
    }

    /// All heads, one after another.
    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// Takes the rows of one family and one object.
pub struct Rows<'a> {
    pub(super) page: &'a mut String,
    pub(super) family: &'static str,
    pub(super) head: &'a str,
    pub(super) allowed: &'a Allowed,
}

impl Rows<'_> {
    /// Writes a row with further labels.
    pub fn row(&mut self, labels: &[(&str, &str)], value: f64) {
        self.begin(labels);
        self.end(value);
    }

    /// Writes a row for each of these states, 1 for the one that holds: `name` is the label that tells the state.
    pub fn states(&mut self, name: &str, states: &[&str], holds: impl Fn(&str) -> bool) {
        self.either(&[], name, states.iter().map(|state| (*state, holds(state))));
    }

    /// Writes rows that differ in nothing but their last label, 1 for those that hold. What they share is put
    /// together once: a third of all rows of a cluster are such.
    pub(super) fn either<'s>(
        &mut self,
        labels: &[(&str, &str)],
        name: &str,
        states: impl Iterator<Item = (&'s str, bool)>,
    ) {
        let begin = self.page.len();
        self.begin(labels);
        if !self.head.is_empty() || !labels.is_empty() {
            self.page.push(',');
        }
        self.page.push_str(name);
        self.page.push_str("=\"");
        let (shared, mut is_first) = (begin..self.page.len(), true);
        for (state, holds) in states {
            if !is_first {
                self.page.extend_from_within(shared.clone());
            }
            is_first = false;
            push_escaped(self.page, state);
            self.page.push_str(if holds { "\"} 1\n" } else { "\"} 0\n" });
        }
        if is_first {
            self.page.truncate(begin);
        }
    }

    /// Writes a row with those labels of the object that are allowed, each as `label_` and its name.
    pub fn labels(&mut self, labels: &Pairs) {
        self.pairs("label_", labels, &self.allowed.labels);
    }

    /// Writes a row with those annotations of the object that are allowed, each as `annotation_` and its name.
    pub fn annotations(&mut self, annotations: &Pairs) {
        self.pairs("annotation_", annotations, &self.allowed.annotations);
    }

    /// No row where nothing is allowed.
    fn pairs(&mut self, prefix: &str, pairs: &Pairs, allowed: &[Box<str>]) {
        if !allowed.is_empty() {
            let chosen = pairs.iter().filter(|(name, _)| pairs::is_allowed(allowed, name));
            self.named(prefix, chosen);
        }
    }

    /// Writes a row with labels whose names an object chose: each is made a name that a label may have.
    pub fn named<'p>(&mut self, prefix: &str, pairs: impl Iterator<Item = (&'p str, &'p str)>) {
        let pairs: Vec<(&str, &str)> = pairs.collect();
        let names = pairs::names(prefix, &pairs);
        let labels: Vec<(&str, &str)> =
            names.iter().zip(&pairs).map(|(name, (_, value))| (name.as_str(), *value)).collect();
        self.row(&labels, 1.0);
    }

    fn begin(&mut self, labels: &[(&str, &str)]) {
        self.page.push_str(self.family);
        self.page.push('{');
        self.page.push_str(self.head);
        let mut is_first = self.head.is_empty();
        for (name, value) in labels {
            if !is_first {
                self.page.push(',');
            }
            is_first = false;
            push_label(self.page, name, value);
        }
    }

    fn end(&mut self, value: f64) {
        // Most values are one of these.
        if value == 0.0 {
            self.page.push_str("} 0\n");
        } else if value == 1.0 {
            self.page.push_str("} 1\n");
        } else {
            self.page.push_str("} ");
            push_value(self.page, value);
            self.page.push('\n');
        }
    }
}

/// Beyond it not every whole number is one of `f64`.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

pub(super) fn push_value(page: &mut String, value: f64) {
    if value.fract() == 0.0 && value.abs() <= WHOLE_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and small enough")]
        let whole = value as i64;
        page.push_str(itoa::Buffer::new().format(whole));
    } else if value.is_finite() {
        page.push_str(zmij::Buffer::new().format(value));
    } else if value.is_nan() {
        page.push_str("NaN");
    } else {
        page.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    }
}

pub(super) fn push_label(page: &mut String, name: &str, value: &str) {
    page.push_str(name);
    page.push_str("=\"");
    push_escaped(page, value);
    page.push('"');
}

/// Hardly any text has something to escape.
fn push_escaped(page: &mut String, value: &str) {
    let mut rest = value;
    while let Some(at) = memchr::memchr3(b'\\', b'"', b'\n', rest.as_bytes()) {
        page.push_str(&rest[..at]);
        page.push_str(match rest.as_bytes()[at] {
            b'\\' => "\\\\",
            b'"' => "\\\"",
            _ => "\\n",
        });
        rest = &rest[at + 1..];
    }
    page.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_they_are() {
        let mut page = String::new();
        for value in [0.0, 1.0, -3.0, 0.1, 1_637_000_000.5, 1e21, f64::NAN, f64::INFINITY, -f64::INFINITY] {
            push_value(&mut page, value);
            page.push(' ');
        }
        let back: Vec<f64> = page.split_whitespace().map(|text| text.parse().expect("a number")).collect();
        assert_eq!(&back[..6], [0.0, 1.0, -3.0, 0.1, 1_637_000_000.5, 1e21]);
        assert!(page.starts_with("0 1 -3 0.1 1637000000.5 ") && page.ends_with(" NaN +Inf -Inf "), "{page}");
    }

    /// The rows of one object that is told by this head.
    fn rows(head: &str, tell: impl Fn(&mut Rows<'_>)) -> String {
        let mut page = String::from("# before\n");
        tell(&mut Rows { page: &mut page, family: "f", head, allowed: &Allowed::default() });
        page
    }

    #[test]
    fn rows_that_share_all_but_the_last_label_are_whole_rows() {
        let states = [("x\"y", false), ("z", true)];
        for (head, labels, begin) in [
            ("", &[][..], "f{"),
            (r#"a="1""#, &[], r#"f{a="1","#),
            ("", &[("b", "2")], r#"f{b="2","#),
            (r#"a="1""#, &[("b", "2")], r#"f{a="1",b="2","#),
        ] {
            let page = rows(head, |rows| rows.either(labels, "s", states.into_iter()));
            let expected = format!("# before\n{begin}s=\"x\\\"y\"}} 0\n{begin}s=\"z\"}} 1\n");
            assert_eq!(page, expected);
            assert_eq!(rows(head, |rows| rows.either(labels, "s", [].into_iter())), "# before\n");
        }
    }

    #[test]
    fn rows_end_in_their_value() {
        for (value, told) in
            [(0.0, "0"), (-0.0, "0"), (1.0, "1"), (2.0, "2"), (0.5, "0.5"), (f64::NAN, "NaN")]
        {
            assert_eq!(
                rows("", |rows| rows.row(&[("a", "b")], value)),
                format!("# before\nf{{a=\"b\"}} {told}\n")
            );
        }
    }

    #[test]
    fn labels_are_escaped() {
        let mut page = String::new();
        push_label(&mut page, "a", "x\"y\\z\nü");
        assert_eq!(page, r#"a="x\"y\\z\nü""#);
    }
}
