//! The table: one family a line.

use std::collections::BTreeSet;

/// A family of a part of Kubernetes.
pub struct Family {
    /// Parts that have it; `all` for those that every part has.
    pub components: Vec<String>,
    /// Its name; that of a histogram without the endings of its series.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// The labels that it may have.
    pub labels: BTreeSet<String>,
    /// Who uses it: `alert`, `rule`, `dash`, or the name of a set of rules.
    pub used_by: String,
    /// Where it was seen, or when it is there.
    pub note: String,
}

/// The types that the table knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

impl Kind {
    /// The word for it on a page.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }

    /// Endings of the names of its series.
    pub fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Counter | Self::Gauge => &[""],
            Self::Histogram => &["_bucket", "_sum", "_count"],
            Self::Summary => &["", "_sum", "_count"],
        }
    }
}

const HEAD: &str = "component\tname\ttype\tlabels\tstability\tused_by_kubernetes_mixin\tnote";

/// Reads the table.
pub fn read(text: &str) -> Result<Vec<Family>, String> {
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return Err("the table begins with other columns".into());
    }
    lines.enumerate().map(|(at, line)| family(line).ok_or(format!("line {}: {line:?}", at + 2))).collect()
}

fn family(line: &str) -> Option<Family> {
    let columns: Vec<&str> = line.split('\t').collect();
    let &[components, name, kind, labels, _stability, used_by, note] = &columns[..] else { return None };
    let kinds = [Kind::Counter, Kind::Gauge, Kind::Histogram, Kind::Summary];
    Some(Family {
        components: components.split(',').map(str::to_owned).collect(),
        name: name.to_owned(),
        kind: kinds.into_iter().find(|known| known.word() == kind)?,
        labels: labels.split(',').filter(|label| !label.is_empty()).map(str::to_owned).collect(),
        used_by: used_by.to_owned(),
        note: note.to_owned(),
    })
}

/// The family that a series of this name is of.
pub fn of_series<'t>(table: &'t [Family], name: &str) -> Option<&'t Family> {
    let has = |family: &&Family| {
        let ending = name.strip_prefix(family.name.as_str());
        ending.is_some_and(|ending| family.kind.endings().contains(&ending))
    };
    table.iter().find(has)
}
