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

/// Names that labels may have, with these in front. Those that come to the same are told apart by numbers.
pub(super) fn names<'p>(prefix: &str, pairs: &[(&'p str, &'p str)]) -> Vec<String> {
    let plain: Vec<String> = pairs.iter().map(|(name, _)| [prefix, &sanitized(name)].concat()).collect();
    let mut numbers: HashMap<&str, (usize, usize)> = HashMap::new();
    for name in &plain {
        numbers.entry(name).or_default().0 += 1;
    }
    let mut made = Vec::with_capacity(plain.len());
    for name in &plain {
        let (all, seen) = numbers.entry(name).or_default();
        *seen += 1;
        made.push(if *all == 1 { name.clone() } else { format!("{name}_conflict{seen}") });
    }
    made
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
}
