//! Collects what is to be told about a query, each thing once.

use std::{cell::RefCell, collections::BTreeMap};

use crate::{
    output::{Annotation, AnnotationKind},
    span::Span,
    syntax::number::format_general,
};

/// More different annotations than this are dropped: nobody reads them, and hostile labels could
/// make any number of them.
pub const ANNOTATIONS_MAX: usize = 100;

/// What is told in addition, gathered over all places where a thing happened.
#[derive(Debug, Clone, Copy)]
pub enum Detail {
    None,
    /// How often.
    Occurrences(u64),
    Monotonicity(Monotonicity),
}

/// Where classic histograms had to be made to grow.
#[derive(Debug, Clone, Copy)]
pub struct Monotonicity {
    pub bucket_min: f64,
    pub bucket_max: f64,
    pub difference_max: f64,
    pub samples: u64,
    pub first_ms: i64,
    pub last_ms: i64,
}

impl Detail {
    fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Occurrences(n), Self::Occurrences(more)) => *n += more,
            (Self::Monotonicity(own), Self::Monotonicity(other)) => {
                own.bucket_min = own.bucket_min.min(other.bucket_min);
                own.bucket_max = own.bucket_max.max(other.bucket_max);
                own.difference_max = own.difference_max.max(other.difference_max);
                own.samples += other.samples;
                own.first_ms = own.first_ms.min(other.first_ms);
                own.last_ms = own.last_ms.max(other.last_ms);
            }
            _ => {}
        }
    }

    fn text(self) -> String {
        match self {
            Self::None | Self::Occurrences(1) => String::new(),
            Self::Occurrences(n) => format!(" ({n} occurrences)"),
            Self::Monotonicity(m) => format!(
                ", from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
                format_general(m.bucket_min),
                format_general(m.bucket_max),
                two_digits(m.difference_max),
                m.samples,
                utc(m.first_ms),
                utc(m.last_ms)
            ),
        }
    }
}

/// A number with two significant digits.
fn two_digits(value: f64) -> String {
    let rounded: f64 = format!("{value:.1e}").parse().unwrap_or(value);
    let exponent = if rounded == 0.0 { 0.0 } else { rounded.abs().log10().floor() };
    if rounded.is_finite() && exponent >= 2.0 {
        let digits = format!("{:.1}", rounded / 10f64.powf(exponent));
        return format!("{}e+{exponent:02}", digits.trim_end_matches('0').trim_end_matches('.'));
    }
    format_general(rounded)
}

/// `2026-03-01T12:00:00Z`
fn utc(ms: i64) -> String {
    let seconds = ms / 1000;
    let (year, month, day) = super::calendar::civil(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Annotations by kind and message; of equal ones the place is told that came last, of those with
/// details that came first.
#[derive(Debug, Default)]
pub struct Annotations(RefCell<BTreeMap<(AnnotationKind, String), (Span, Detail)>>);

impl Annotations {
    pub fn warn(&self, span: Span, message: String) {
        self.add(AnnotationKind::Warning, span, message, Detail::None);
    }

    pub fn info(&self, span: Span, message: String) {
        self.add(AnnotationKind::Info, span, message, Detail::None);
    }

    pub fn add(&self, kind: AnnotationKind, span: Span, message: String, detail: Detail) {
        let mut all = self.0.borrow_mut();
        let full = all.len() >= ANNOTATIONS_MAX;
        match all.entry((kind, message)) {
            std::collections::btree_map::Entry::Occupied(mut known) => {
                let (place, known_detail) = known.get_mut();
                if matches!(detail, Detail::None) {
                    *place = span;
                }
                known_detail.merge(detail);
            }
            std::collections::btree_map::Entry::Vacant(new) if !full => _ = new.insert((span, detail)),
            std::collections::btree_map::Entry::Vacant(_) => {}
        }
    }

    /// What was collected until now; it is collected anew.
    pub fn take(&self) -> Self {
        self.replace(Self::default())
    }

    /// Puts another collection in the place of this one, which it gives.
    pub fn replace(&self, other: Self) -> Self {
        Self(RefCell::new(self.0.replace(other.0.into_inner())))
    }

    /// Adds what was collected elsewhere, later.
    pub fn absorb(&self, later: Self) {
        for ((kind, message), (span, detail)) in later.0.into_inner() {
            self.add(kind, span, message, detail);
        }
    }

    /// Warnings and infos.
    pub fn finish(self) -> (Vec<Annotation>, Vec<Annotation>) {
        self.0
            .into_inner()
            .into_iter()
            .map(|((kind, message), (span, detail))| Annotation {
                kind,
                message: message + &detail.text(),
                span,
            })
            .partition(|a| a.kind == AnnotationKind::Warning)
    }
}
