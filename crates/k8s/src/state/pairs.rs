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

/// Makes names of labels. Two that come to the same are told apart by numbers.
#[derive(Default)]
pub(super) struct Names(HashMap<String, usize>);

impl Names {
    pub(super) fn name(&mut self, prefix: &str, name: &str) -> String {
        let made = [prefix, &sanitized(name)].concat();
        let seen = self.0.entry(made.clone()).or_default();
        *seen += 1;
        if *seen == 1 { made } else { format!("{made}_conflict{seen}") }
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
