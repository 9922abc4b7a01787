//! How matchers become a set of series: postings per label value, joined as Prometheus' rules
//! for absent labels demand (an absent label counts as the empty string).

use roaring::RoaringBitmap;
use vedette_model::Matcher;

/// An index from label values to series numbers. Empty values are never in it.
pub trait Postings {
    /// All series.
    fn all(&self) -> RoaringBitmap;

    /// Adds the series that have this value to `out`.
    fn with_value(&self, name: &str, value: &str, out: &mut RoaringBitmap);

    /// Adds the series that have a value of which `wanted` says yes to `out`.
    fn with_values(&self, name: &str, wanted: &dyn Fn(&str) -> bool, out: &mut RoaringBitmap);
}

/// The series that satisfy all matchers.
pub fn select(index: &impl Postings, matchers: &[Matcher]) -> RoaringBitmap {
    let mut selected: Option<RoaringBitmap> = None;
    // Matchers that need a value narrow the selection; do these first, so that the others, which
    // only take away, can stop as soon as nothing is left.
    for m in matchers.iter().filter(|m| !m.matches_empty()) {
        let mut found = RoaringBitmap::new();
        match m.exact_values() {
            Some(values) => values.iter().for_each(|v| index.with_value(&m.name, v, &mut found)),
            None => index.with_values(&m.name, &|v| m.matches(v), &mut found),
        }
        match &mut selected {
            Some(s) => *s &= found,
            None => selected = Some(found),
        }
        if selected.as_ref().is_some_and(RoaringBitmap::is_empty) {
            return RoaringBitmap::new();
        }
    }
    let mut selected = selected.unwrap_or_else(|| index.all());
    for m in matchers.iter().filter(|m| m.matches_empty()) {
        if selected.is_empty() {
            break;
        }
        let mut refused = RoaringBitmap::new();
        match m.refused_values() {
            Some(values) => values.iter().for_each(|v| index.with_value(&m.name, v, &mut refused)),
            None => index.with_values(&m.name, &|v| !m.matches(v), &mut refused),
        }
        selected -= refused;
    }
    selected
}
