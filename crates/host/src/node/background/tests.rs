use std::{collections::BTreeMap, sync::mpsc};

use vedette_model::Samples;

use super::*;
use crate::series::{Family, SeriesNumbers, SeriesTable};

/// What a source shall give.
type Given = Result<Vec<(&'static str, f64)>, Failure>;

/// Gives what it is told to give; hangs while nothing comes.
struct Told {
    name: &'static str,
    values: mpsc::Receiver<Given>,
}

impl Source for Told {
    fn name(&self) -> &'static str {
        self.name
    }

    fn read(&mut self, sheet: &mut Sheet, _: &mut Buffer) -> Result<(), Failure> {
        let Ok(told) = self.values.recv() else { return Ok(()) };
        for (name, value) in told? {
            sheet.put(Family::gauge(name, ""), &[], value);
        }
        Ok(())
    }
}

fn told(name: &'static str) -> (mpsc::Sender<Given>, Box<dyn Source>) {
    let (tell, values) = mpsc::channel();
    (tell, Box::new(Told { name, values }))
}

/// What a pass tells, by name.
fn pass(
    background: &mut Background,
    table: &mut SeriesTable,
    names: &mut BTreeMap<u32, String>,
) -> BTreeMap<String, f64> {
    let mut samples = Samples::default();
    background.put(&mut table.pass(1, &mut samples));
    for definition in samples.defined {
        names.insert(definition.series, definition.labels.get("__name__").unwrap().to_owned());
    }
    let row = &samples.rows[0];
    row.series.iter().zip(&row.values).map(|(s, v)| (names[s].clone(), *v)).collect()
}

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn what_was_read_is_repeated_until_the_next_reading() {
    let (tell, source) = told("a");
    let mut background = Background::start(vec![source], LONG, LONG).unwrap();
    let (mut table, mut names) = (SeriesTable::new(SeriesNumbers::default()), BTreeMap::new());
    let mut read = |told| {
        tell.send(told).unwrap();
        background.ask();
        background.wait();
        let first = pass(&mut background, &mut table, &mut names);
        assert_eq!(first, pass(&mut background, &mut table, &mut names));
        (first, background.seats[0].failure().cloned())
    };
    let map = |pairs: &[(&str, f64)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect();
    assert_eq!(read(Ok(vec![("x", 1.0), ("y", 2.0)])), (map(&[("x", 1.0), ("y", 2.0)]), None));
    assert_eq!(read(Ok(vec![("y", 3.0)])), (map(&[("y", 3.0)]), None));
    let failure = Failure::at("/z")(Errno::IO);
    assert_eq!(read(Err(failure.clone())), (map(&[]), Some(failure)));
    assert_eq!(read(Ok(vec![("y", 4.0)])), (map(&[("y", 4.0)]), None));
}

#[test]
fn a_source_that_hangs_holds_up_neither_the_pass_nor_the_others() {
    let ((let_go, hangs), (tell, works)) = (told("hangs"), told("works"));
    let mut background =
        Background::start(vec![hangs, works], Duration::from_millis(5), Duration::ZERO).unwrap();
    let (mut table, mut names) = (SeriesTable::new(SeriesNumbers::default()), BTreeMap::new());
    for value in 0..20_000 {
        tell.send(Ok(vec![("x", f64::from(value))])).unwrap();
        background.ask();
        background.wait();
        if pass(&mut background, &mut table, &mut names).contains_key("x") {
            let failure = background.seats[0].failure().unwrap();
            assert_eq!(failure.errno, Errno::TIMEDOUT);
            drop(let_go);
            return;
        }
    }
    panic!("the other source was not read");
}
