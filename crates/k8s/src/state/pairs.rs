//! Labels and annotations of objects as labels of metrics: only those that are allowed by configuration, as their
//! values are whatever somebody wrote, and each of them makes series.

use std::collections::HashMap;

use super::Rows;
use crate::objects::Object;

/// Which labels and annotations of the objects of a kind are told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowed {
    /// Names of labels; `*` for all.
    pub labels: Vec<Box<str>>,
    /// Names of annotations; `*` for all.
    pub annotations: Vec<Box<str>>,
}

/// For [`super::Family::rows`]: the labels of an object.
pub fn labels<O: Object>(object: &O, rows: &mut Rows<'_>) {
    rows.labels(&object.meta().labels);
}

/// For [`super::Family::rows`]: the annotations of an object.
pub fn annotations<O: Object>(object: &O, rows: &mut Rows<'_>) {
    rows.annotations(&object.meta().annotations);
}

pub(super) fn is_allowed(allowed: &[Box<str>], name: &str) -> bool {
    allowed.iter().any(|known| **known == *name || **known == *"*")
}

/// Names that labels may have, with these in front. Those that come to the same are told apart by numbers, which are
/// those of kube-state-metrics: pairs come in the order of their names, and each takes the next number that makes a
/// name nobody has by then. A row with the same name twice would make the page one that cannot be read.
pub(super) fn names<'p>(prefix: &str, pairs: &[(&'p str, &'p str)]) -> Vec<String> {
    let mut made = Names::default();
    for (at, (name, _)) in pairs.iter().enumerate() {
        made.add(at, [prefix, &sanitized(name)].concat());
    }
    made.all
}

#[derive(Default)]
struct Names {
    all: Vec<String>,
    /// Where each name stands.
    used: HashMap<String, usize>,
    /// The last number of each that came more than once; nobody has it without a number any more.
    numbers: HashMap<String, usize>,
}

impl Names {
    fn add(&mut self, at: usize, plain: String) {
        let name = if self.numbers.contains_key(&plain) {
            self.numbered(&plain)
        } else if let Some(first) = self.used.remove(&plain) {
            let renamed = self.numbered(&plain);
            self.used.insert(renamed.clone(), first);
            self.all[first] = renamed;
            self.numbered(&plain)
        } else {
            plain
        };
        self.used.insert(name.clone(), at);
        self.all.push(name);
    }

    fn numbered(&mut self, plain: &str) -> String {
        let number = self.numbers.entry(plain.to_owned()).or_default();
        loop {
            *number += 1;
            let name = format!("{plain}_conflict{number}");
            if !self.used.contains_key(&name) {
                return name;
            }
        }
    }
}

/// A name that a label may have: in lower case, words apart, and nothing but letters, digits and `_`.
pub(super) fn sanitized(name: &str) -> String {
    let mut made = String::with_capacity(name.len());
    let mut is_low = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && is_low {
            made.push('_');
        }
        is_low = c.is_ascii_lowercase() || c.is_ascii_digit();
        made.push(if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' });
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_such_as_labels_may_have() {
        for (name, made) in [
            ("app.kubernetes.io/name", "app_kubernetes_io_name"),
            ("camelCaseX2Y", "camel_case_x2_y"),
            ("HTTPServer", "httpserver"),
            ("ä-1", "__1"),
        ] {
            assert_eq!(sanitized(name), made);
        }
        let pairs = [("a.b", ""), ("a/b", ""), ("c", "")];
        assert_eq!(names("label_", &pairs), ["label_a_b_conflict1", "label_a_b_conflict2", "label_c"]);
    }

    #[test]
    fn no_two_labels_of_a_row_have_one_name() {
        let named = |pairs: &[&str]| {
            let pairs: Vec<(&str, &str)> = pairs.iter().map(|name| (*name, "")).collect();
            let names = names("", &pairs);
            let different: std::collections::BTreeSet<_> = names.iter().collect();
            assert_eq!(different.len(), names.len(), "{names:?}");
            names
        };
        // One is called as the number would have it: before the others, and after them.
        assert_eq!(
            named(&["a-b", "a-b_conflict1", "a.b"]),
            ["a_b_conflict2", "a_b_conflict1", "a_b_conflict3"]
        );
        assert_eq!(
            named(&["a-b", "a.b", "a.b_conflict1"]),
            ["a_b_conflict1_conflict1", "a_b_conflict2", "a_b_conflict1_conflict2"]
        );
        assert_eq!(
            named(&["a-b", "a.b", "a/b", "aB"]),
            ["a_b_conflict1", "a_b_conflict2", "a_b_conflict3", "a_b_conflict4"]
        );
        // All names of three characters out of a few.
        let few = ["-", ".", "a", "_conflict1", "_conflict2"];
        let mut all: Vec<String> = Vec::new();
        for a in few {
            for b in few {
                all.extend(few.map(|c| [a, b, c].concat()));
            }
        }
        all.sort();
        named(&all.iter().map(String::as_str).collect::<Vec<_>>());
    }
}
