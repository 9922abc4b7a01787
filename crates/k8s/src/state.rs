//! The state of the objects of a cluster as metrics: the families of kube-state-metrics, by the same names, labels
//! and values.
//!
//! A family is data: its name, what it means, and how an object tells its rows. Rows are written straight to the
//! page, from what a watch keeps anyway.

use std::fmt::Write as _;

use crate::objects::Object;

/// What a family counts as in an exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up.
    Counter,
    /// Stands for what its labels say.
    Info,
    /// One of several states is 1.
    StateSet,
}

/// A family of metrics of one kind of objects.
pub struct Family<O> {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// What it counts as.
    pub kind: Kind,
    /// Tells the rows of an object.
    pub rows: fn(&O, &mut Rows<'_>),
}

/// Objects whose state is told as metrics.
pub trait Stateful: Object {
    /// Its families, in the order of the page.
    const FAMILIES: &'static [Family<Self>];

    /// Writes the labels that all rows of an object begin with, as `namespace` and `deployment`.
    fn head(&self, head: &mut Head);
}

/// The labels that all rows of an object begin with, as they stand on the page.
#[derive(Debug, Default)]
pub struct Head(String);

impl Head {
    /// Adds a label.
    pub fn label(&mut self, name: &str, value: &str) -> &mut Self {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        push_label(&mut self.0, name, value);
        self
    }
}

/// Takes the rows of one family and one object.
pub struct Rows<'a> {
    page: &'a mut String,
    family: &'static str,
    head: &'a str,
}

impl Rows<'_> {
    /// Writes a row with further labels.
    pub fn row(&mut self, labels: &[(&str, &str)], value: f64) {
        let page = &mut *self.page;
        page.push_str(self.family);
        page.push('{');
        page.push_str(self.head);
        for (at, (name, value)) in labels.iter().enumerate() {
            if at > 0 || !self.head.is_empty() {
                page.push(',');
            }
            push_label(page, name, value);
        }
        page.push_str("} ");
        let _ = writeln!(page, "{value}");
    }
}

fn push_label(page: &mut String, name: &str, value: &str) {
    page.push_str(name);
    page.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => page.push_str("\\\\"),
            '"' => page.push_str("\\\""),
            '\n' => page.push_str("\\n"),
            c => page.push(c),
        }
    }
    page.push('"');
}
