//! Pages with families: made from the table, and recorded from real parts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use vedette_model::{Labels, METRIC_NAME};
use vedette_wire::exposition::{Dialect, Entry, TextParser};

use crate::{
    Score,
    table::{Family, Kind},
};

/// Pages of real parts, and of which they are.
const RECORDED: [(&str, &[&str]); 4] = [
    ("etcd-3.4.23.prom", &["etcd"]),
    ("etcd-3.6.13.prom", &["etcd"]),
    ("kube-scheduler-1.36.prom", &["scheduler", "all"]),
    ("kube-scheduler-1.36-resources.prom", &["scheduler", "all"]),
];

/// Families of the libraries that all parts are made with; the table leaves them out.
const OF_LIBRARIES: [&str; 3] = ["go_", "process_", "promhttp_"];

/// What a page tells of a family.
#[derive(Default)]
pub struct Told {
    pub kind: String,
    /// Names of labels, but for bounds and quantiles.
    pub labels: BTreeSet<String>,
    pub samples: Vec<(Labels, f64)>,
}

/// Reads a page as a scrape does.
pub fn read(page: &str) -> Result<BTreeMap<String, Told>, String> {
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    let mut parser = TextParser::new(page.as_bytes(), Dialect::Text);
    while let Some(entry) = parser.next() {
        match entry.map_err(|error| error.to_string())? {
            Entry::Type { family, kind } => {
                let new = Told { kind: kind.as_str().to_owned(), ..Told::default() };
                if told.insert(family.to_string(), new).is_some() {
                    return Err(format!("the type of {family} is there twice"));
                }
            }
            Entry::Sample(sample) => {
                let labels = sample.series.labels().map_err(|error| error.to_string())?;
                let name = labels.metric_name();
                let bases = ["", "_bucket", "_sum", "_count"].map(|ending| name.strip_suffix(ending));
                let base = bases.into_iter().flatten().find(|base| told.contains_key(*base));
                let base = base.ok_or(format!("{name} has no type"))?.to_owned();
                let family = told.get_mut(&base).ok_or("it was there")?;
                let is_own = |name: &&str| {
                    *name != METRIC_NAME
                        && !(*name == "le" && family.kind == "histogram")
                        && !(*name == "quantile" && family.kind == "summary")
                };
                let names: Vec<String> =
                    labels.iter().map(|(name, _)| name).filter(is_own).map(str::to_owned).collect();
                family.labels.extend(names);
                family.samples.push((labels, sample.value));
            }
            Entry::Help { .. } | Entry::Unit { .. } => {}
        }
    }
    Ok(told)
}

/// The value of a label on a page that is made: everything that must be escaped is in it.
const VALUE: &str = "a \"b\" \\ c\nü {d=\"e\"} 1";

/// A series: name, labels, value.
type Row<'f> = (String, Vec<(&'f str, &'f str)>, f64);

/// Series of a family, as its part writes them.
fn series(family: &Family) -> Vec<Row<'_>> {
    let name = &family.name;
    let labels: Vec<(&str, &str)> = family.labels.iter().map(|label| (label.as_str(), VALUE)).collect();
    let with = |label, value| labels.iter().copied().chain([(label, value)]).collect::<Vec<_>>();
    match family.kind {
        Kind::Counter | Kind::Gauge => vec![(name.clone(), labels, 1.5)],
        Kind::Histogram => vec![
            (format!("{name}_bucket"), with("le", "0.005"), 2.0),
            (format!("{name}_bucket"), with("le", "+Inf"), 3.0),
            (format!("{name}_sum"), labels.clone(), 0.25),
            (format!("{name}_count"), labels, 3.0),
        ],
        Kind::Summary => vec![
            (name.clone(), with("quantile", "0.99"), 2.0),
            (format!("{name}_sum"), labels.clone(), 0.25),
            (format!("{name}_count"), labels, 3.0),
        ],
    }
}

/// A page with one family.
fn page(family: &Family) -> String {
    let Family { name, kind, .. } = family;
    let mut text = format!("# HELP {name} [ALPHA] What it \\\\ means.\\n\n# TYPE {name} {}\n", kind.word());
    for (name, labels, value) in series(family) {
        let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let pairs: Vec<String> = labels.iter().map(|(n, v)| format!("{n}=\"{}\"", escaped(v))).collect();
        let _ = writeln!(text, "{name}{{{}}} {value}", pairs.join(","));
    }
    text
}

/// Each family of the table comes out of its page as it went in.
pub fn judge_read(table: &[Family], score: &mut Score) {
    for family in table {
        let result = read(&page(family)).and_then(|told| {
            let found = told.get(&family.name).ok_or("it is not read")?;
            agrees(family, found)?;
            if found.labels != family.labels {
                return Err(format!("the labels {:?} are read", found.labels));
            }
            let expected: Vec<(Labels, f64)> = series(family)
                .into_iter()
                .map(|(name, labels, value)| {
                    let name = [(METRIC_NAME, name.as_str())];
                    (Labels::from_pairs(name.into_iter().chain(labels)), value)
                })
                .collect();
            if found.samples == expected { Ok(()) } else { Err(format!("{:?} is read", found.samples)) }
        });
        score.note("read", &family.name, result);
    }
}

/// Whether what is told of a family is what the table says.
fn agrees(family: &Family, told: &Told) -> Result<(), String> {
    if told.kind != family.kind.word() {
        return Err(format!("it is a {} instead of a {}", told.kind, family.kind.word()));
    }
    let surplus: Vec<_> = told.labels.difference(&family.labels).collect();
    if surplus.is_empty() { Ok(()) } else { Err(format!("the labels {surplus:?} are too many")) }
}

/// Each family of the table that a real part tells is read as the table says, and all that is read is in the table.
pub fn judge_recorded(table: &[Family], folder: &Path, score: &mut Score) {
    let mut pages = Vec::new();
    for (file, components) in RECORDED {
        let Ok(text) = fs::read_to_string(folder.join(file)) else {
            score.skip("recorded", &format!("there is no {file}"));
            continue;
        };
        match read(&text) {
            Ok(told) => pages.push((file, components, told)),
            Err(error) => score.note("recorded", file, Err(error)),
        }
    }
    for family in table {
        let is_of =
            |components: &[&str]| family.components.iter().any(|own| components.contains(&own.as_str()));
        let own: Vec<_> = pages.iter().filter(|(_, components, _)| is_of(components)).collect();
        let told: Vec<_> =
            own.iter().filter_map(|(file, _, told)| Some((file, told.get(&family.name)?))).collect();
        let component = &family.components[0];
        let was_measured =
            family.note.strip_prefix("measured on ").map(|version| format!("{component}-{version}.prom"));
        let is_missing = was_measured.filter(|file| {
            own.iter().any(|(own, ..)| own == file) && !told.iter().any(|(own, _)| *own == file)
        });
        if let Some(file) = is_missing {
            score.note(
                "recorded",
                &family.name,
                Err(format!("it was measured, but {file} does not tell it")),
            );
        } else if own.is_empty() {
            score.skip("recorded", &format!("there is no recording of {component}"));
        } else if told.is_empty() {
            score.skip("recorded", &format!("the recorded {component} had no reason to tell it"));
        } else {
            let all = told.iter().try_for_each(|(file, told)| {
                agrees(family, told).map_err(|error| format!("{file}: {error}"))
            });
            score.note("recorded", &family.name, all);
        }
    }
    for (file, _, told) in &pages {
        let is_known = |name: &str| {
            table.iter().any(|family| family.name == name)
                || OF_LIBRARIES.iter().any(|prefix| name.starts_with(prefix))
        };
        for name in told.keys().filter(|name| !is_known(name)) {
            score.note("recorded", name, Err(format!("{file} tells it, but the table does not have it")));
        }
    }
}
