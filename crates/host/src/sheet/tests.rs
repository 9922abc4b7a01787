use std::collections::BTreeMap;

use proptest::prelude::*;
use vedette_model::Samples;

use super::*;
use crate::series::{SeriesNumbers, SeriesTable};

const FAMILY: Family<'_> = Family::gauge("f", "A family.");

/// Writes one round down and gives what a receiver would hold after it.
fn round(
    sheet: &mut Sheet,
    table: &mut SeriesTable,
    known: &mut BTreeMap<u32, String>,
    names: &[(String, f64)],
) -> BTreeMap<String, f64> {
    sheet.begin();
    for (name, value) in names {
        sheet.put(FAMILY, &[("l", name)], *value);
    }
    let mut samples = Samples::default();
    let mut pass = table.pass(1, &mut samples);
    sheet.settle(&mut pass);
    for (series, value) in sheet.samples() {
        pass.put(series, value);
    }
    for definition in &samples.defined {
        let label = definition.labels.get("l").unwrap_or_default().to_owned();
        assert_eq!(known.insert(definition.series, label), None, "a number is given twice");
    }
    let row = &samples.rows[0];
    let told = row.series.iter().zip(&row.values).map(|(series, value)| (known[series].clone(), *value));
    let told: Vec<_> = told.collect();
    let out: BTreeMap<String, f64> = told.iter().cloned().collect();
    assert_eq!(out.len(), told.len(), "two samples of one series");
    for retired in &samples.retired {
        known.remove(retired).expect("a retired series was defined");
    }
    out
}

proptest! {
    /// The model: a round gives the first value of each name, and nothing else.
    #[test]
    fn a_round_gives_what_was_written_down(
        rounds in proptest::collection::vec(
            proptest::collection::vec(("[a-e]{0,2}", 0..5u8), 0..12),
            1..8,
        ),
    ) {
        let (mut sheet, mut table) = (Sheet::default(), SeriesTable::new(SeriesNumbers::default()));
        let mut known = BTreeMap::new();
        for names in rounds {
            let names: Vec<_> = names.into_iter().map(|(n, v)| (n, f64::from(v))).collect();
            let mut expected = BTreeMap::new();
            for (name, value) in &names {
                expected.entry(name.clone()).or_insert(*value);
            }
            prop_assert_eq!(round(&mut sheet, &mut table, &mut known, &names), expected);
            prop_assert_eq!(known.len(), sheet.entries.len());
        }
    }
}

#[test]
fn labels_do_not_run_together() {
    let mut sheet = Sheet::default();
    sheet.begin();
    sheet.put(FAMILY, &[("a", "b"), ("c", "d")], 1.0);
    sheet.put(FAMILY, &[("a", "bc"), ("", "d")], 2.0);
    sheet.put(FAMILY, &[("ab", ""), ("c", "d")], 3.0);
    assert_eq!(sheet.entries.len(), 3);
}

#[test]
fn a_flood_is_bounded_and_counted() {
    let mut sheet = Sheet::default();
    sheet.begin();
    for i in 0..SAMPLES_MAX + 7 {
        sheet.put(FAMILY, &[("l", &i.to_string())], 0.0);
    }
    assert_eq!((sheet.entries.len(), sheet.left_out()), (SAMPLES_MAX, 7));
    sheet.begin();
    assert_eq!(sheet.left_out(), 0);
}
