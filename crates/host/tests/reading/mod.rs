//! One pass of the node reader, as an exposition would show it.

use std::{collections::BTreeMap, sync::Arc};

use vedette_host::{Config, NodeReader, Report};
use vedette_model::{Labels, Samples};
use vedette_sys::SystemClock;

/// A family's type and help.
pub type Family = (String, String);

/// What a pass told.
pub struct Reading {
    pub families: BTreeMap<String, Family>,
    pub samples: Vec<(Labels, f64)>,
    pub report: Report,
}

/// Reads twice, as a first pass may come before a thread that serves it has begun.
pub fn read(config: &Config) -> Result<Reading, vedette_host::Error> {
    let mut reader = NodeReader::new(config, Arc::new(SystemClock))?;
    let (mut families, mut labels, mut last) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for pass in 1..=2 {
        let mut samples = Samples::default();
        reader.collect(pass * 1000, &mut samples);
        for family in samples.metadata {
            families.insert(family.family, (family.kind.as_str().to_owned(), family.help));
        }
        labels.extend(samples.defined.into_iter().map(|d| (d.series, d.labels)));
        let rows = samples.rows.iter().flat_map(|row| row.series.iter().zip(&row.values));
        last = rows.map(|(series, value)| (labels[series].clone(), *value)).collect();
    }
    Ok(Reading { families, samples: last, report: reader.report() })
}
