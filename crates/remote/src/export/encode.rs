//! How samples are written for a sink: in Vedette's shape or in that of cAdvisor's storage drivers.
//!
//! Invariant: the same samples give the same documents with the same ids, whenever they are written, so
//! that a sink can tell one that comes again.

pub mod cadvisor;
mod figures;
mod lines;

use std::sync::Arc;

use vedette_model::Labels;
use vedette_wire::{json, number};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::{
    batch::{Batch, Document, Place},
    series::{Described, SeriesTable},
};
use cadvisor::{Container, Dialect, Figure};

/// Whose documents are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// Our own: all labels and the names of the families.
    #[default]
    Vedette,
    /// Those of cAdvisor's storage drivers; only what they have a place for is exported.
    Cadvisor,
}

/// Whether the name of an index changes with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IndexPer {
    /// It does not.
    #[default]
    Never,
    /// `-2026.11.21` is behind it, the day of the samples.
    Day,
    /// `-2026.11` is behind it.
    Month,
}

/// The bytes that a sink wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// JSON objects.
    Objects {
        /// Whether a line break is behind each.
        lines: bool,
        /// Those of cAdvisor.
        dialect: Dialect,
    },
    /// The same with an action before each, as `_bulk` wants it.
    Bulk {
        /// The index or data stream.
        index: String,
        /// Whether its name changes.
        per: IndexPer,
        /// Whether it is a data stream.
        is_stream: bool,
    },
    /// The line protocol of InfluxDB, times in milliseconds.
    Lines,
    /// Gauges of statsd.
    Statsd {
        /// What is before every name.
        prefix: String,
    },
    /// Lines of names and values, in cAdvisor's shape; JSON lines else.
    Text,
}

/// Writes samples.
pub struct Encoder {
    shape: Shape,
    form: Form,
    machine: Arc<str>,
    /// Labels that every series gets, where it has none of the name.
    labels: Vec<(String, String)>,
}

/// Samples of one group at one time.
pub struct Run<'a> {
    /// Their time.
    pub time_ms: i64,
    /// Their place in the spool.
    pub place: Place,
    /// The group.
    pub group: u32,
    /// Numbers and values.
    pub points: &'a [(u32, f64)],
}

impl Encoder {
    /// An encoder for samples of this machine.
    pub fn new(shape: Shape, form: Form, machine: &str, labels: &[(String, String)]) -> Self {
        Self { shape, form, machine: machine.into(), labels: labels.to_vec() }
    }

    /// How a series is written; `None` where the shape has no place for it.
    pub fn describe(&self, labels: &Labels) -> Option<Described> {
        let mut described = Described {
            key: Vec::new(),
            group_head: Vec::new(),
            head: Vec::new(),
            tail: Vec::new(),
            figure: None,
            container: None,
        };
        if self.shape == Shape::Cadvisor {
            described.figure = Some(Figure::of(labels)?);
            described.key = cadvisor::identity(labels);
            described.head = labels.as_key().as_bytes().to_vec();
            described.container = Some(Container::new(&self.machine, labels));
            return Some(described);
        }
        let mut builder = labels.to_builder();
        for (name, value) in self.labels.iter().filter(|(name, _)| labels.get(name).is_none()) {
            builder.set(name, value);
        }
        let labels = builder.build();
        let name = labels.metric_name();
        let head = &mut described.head;
        match &self.form {
            Form::Objects { .. } | Form::Bulk { .. } | Form::Text => {
                json::push_text(head, name);
                head.push(b':');
                let rest = labels.without_name();
                described.key = rest.as_key().as_bytes().to_vec();
                let group = &mut described.group_head;
                group.extend_from_slice(b"\"machine\":");
                json::push_text(group, &self.machine);
                group.extend_from_slice(b",\"labels\":");
                json::push_labels(group, &rest);
                group.extend_from_slice(b",\"metrics\":{");
            }
            Form::Lines => {
                lines::measurement(head, name);
                lines::tag(head, "machine", &self.machine);
                for (name, value) in labels.without_name().iter().filter(|(name, _)| *name != "machine") {
                    lines::tag(head, name, value);
                }
                head.extend_from_slice(b" value=");
            }
            Form::Statsd { prefix } => {
                lines::statsd_text(head, prefix);
                if !prefix.is_empty() {
                    head.push(b'.');
                }
                lines::statsd_text(head, name);
                head.push(b':');
                let tail = &mut described.tail;
                tail.extend_from_slice(b"|g|#machine:");
                lines::statsd_text(tail, &self.machine);
                for (name, value) in labels.without_name().iter().filter(|(name, _)| *name != "machine") {
                    tail.push(b',');
                    lines::statsd_text(tail, name);
                    tail.push(b':');
                    lines::statsd_text(tail, value);
                }
                tail.push(b'\n');
            }
        }
        Some(described)
    }

    /// Writes samples of one group.
    pub fn encode(&self, out: &mut Batch, run: &Run<'_>, table: &mut SeriesTable) {
        match self.shape {
            Shape::Vedette => self.encode_vedette(out, run, table),
            Shape::Cadvisor => self.encode_cadvisor(out, run, table),
        }
    }

    fn encode_vedette(&self, out: &mut Batch, run: &Run<'_>, table: &mut SeriesTable) {
        match &self.form {
            Form::Objects { lines, .. } => self.object(out, run, table, None, *lines),
            Form::Text => self.object(out, run, table, None, true),
            Form::Bulk { index, per, .. } => self.object(out, run, table, Some((index, *per)), true),
            Form::Lines => {
                for (number, value) in run.points {
                    let series = table.series(*number);
                    out.bytes.extend_from_slice(&series.head);
                    number::push_plain(&mut out.bytes, *value);
                    out.bytes.push(b' ');
                    push_whole(&mut out.bytes, run.time_ms);
                    out.bytes.push(b'\n');
                    let id = self.id(series.hash, run.time_ms, std::iter::empty());
                    end(out, run, 1, id, series.hash);
                }
            }
            Form::Statsd { .. } => {
                for (number, value) in run.points {
                    let series = table.series(*number);
                    let values: &[f64] = if *value < 0.0 { &[0.0, *value] } else { &[*value] };
                    // A sign makes it a change; so it is set to 0 first.
                    for value in values {
                        out.bytes.extend_from_slice(&series.head);
                        number::push_plain(&mut out.bytes, *value);
                        out.bytes.extend_from_slice(&series.tail);
                    }
                    let id = self.id(series.hash, run.time_ms, std::iter::empty());
                    end(out, run, 1, id, series.hash);
                }
            }
        }
    }

    fn object(
        &self,
        out: &mut Batch,
        run: &Run<'_>,
        table: &mut SeriesTable,
        bulk: Option<(&String, IndexPer)>,
        is_line: bool,
    ) {
        let hash = table.group(run.group).hash;
        let id = self.id(hash, run.time_ms, run.points.iter().map(|(number, _)| table.series(*number).hash));
        let time = Time::of(run.time_ms);
        if let Some((index, per)) = bulk {
            action(&mut out.bytes, index, per, &time, id);
        }
        let bytes = &mut out.bytes;
        bytes.extend_from_slice(b"{\"@timestamp\":\"");
        bytes.extend_from_slice(time.text());
        bytes.extend_from_slice(b"\",");
        bytes.extend_from_slice(&table.group(run.group).head);
        for (i, (number, value)) in run.points.iter().enumerate() {
            if i > 0 {
                bytes.push(b',');
            }
            bytes.extend_from_slice(&table.series(*number).head);
            number::push_plain(bytes, *value);
        }
        bytes.extend_from_slice(if is_line { b"}}\n" } else { b"}}" });
        end(out, run, points_of(run), id, hash);
    }

    fn encode_cadvisor(&self, out: &mut Batch, run: &Run<'_>, table: &mut SeriesTable) {
        let group = table.group(run.group);
        let hash = group.hash;
        for (number, value) in run.points {
            let (group, series) = table.both(run.group, *number);
            if let (Some(container), Some(figure)) = (&mut group.container, &series.figure) {
                container.set(figure, *value);
            }
        }
        let hashes = run.points.iter().map(|(number, _)| table.series(*number).hash);
        let id = self.id(hash, run.time_ms, hashes);
        let group = table.group(run.group);
        let container = group.container.as_mut().expect("BUG: every group of this shape has a container");
        let time = Time::of(run.time_ms);
        let before = out.documents.len();
        match &self.form {
            Form::Objects { lines, dialect } => {
                container.document(&mut out.bytes, *dialect, run.time_ms, time.text());
                if *lines {
                    out.bytes.push(b'\n');
                }
                end(out, run, points_of(run), id, hash);
            }
            Form::Bulk { index, per, is_stream } => {
                action(&mut out.bytes, index, *per, &time, id);
                let dialect = if *is_stream { Dialect::DataStream } else { Dialect::Microseconds };
                container.document(&mut out.bytes, dialect, run.time_ms, time.text());
                out.bytes.push(b'\n');
                end(out, run, points_of(run), id, hash);
            }
            Form::Text => {
                container.text(&mut out.bytes, run.time_ms);
                end(out, run, points_of(run), id, hash);
            }
            Form::Lines => {
                let documents = &mut out.documents;
                let each = |bytes: &mut Vec<u8>| documents.push(document(bytes.len(), run, 0, id, hash));
                container.influx(&mut out.bytes, run.time_ms, each);
            }
            Form::Statsd { prefix } => {
                let documents = &mut out.documents;
                let each = |bytes: &mut Vec<u8>| documents.push(document(bytes.len(), run, 0, id, hash));
                container.statsd(&mut out.bytes, prefix, each);
            }
        }
        container.settle();
        if matches!(self.form, Form::Lines | Form::Statsd { .. }) {
            share(out, before, run, id, hash);
        }
    }

    /// Names a document: equal for equal series and times of one machine.
    fn id(&self, group: u64, time_ms: i64, series: impl Iterator<Item = u64>) -> u128 {
        let mut hash = Xxh3::new();
        hash.update(&xxh3_64(self.machine.as_bytes()).to_le_bytes());
        hash.update(&group.to_le_bytes());
        hash.update(&time_ms.to_le_bytes());
        for series in series {
            hash.update(&series.to_le_bytes());
        }
        hash.digest128()
    }
}

/// A container's samples are spread over its lines, so that all are counted. Where it has none, since
/// nothing of it goes into this form, an empty document carries them.
fn share(out: &mut Batch, before: usize, run: &Run<'_>, id: u128, hash: u64) {
    let mut left = points_of(run);
    let lines = out.documents.len() - before;
    if lines == 0 {
        end(out, run, left, id, hash);
        return;
    }
    for (i, document) in out.documents[before..].iter_mut().enumerate() {
        let rest = u32::try_from(lines - i).unwrap_or(u32::MAX);
        document.points = left.div_ceil(rest);
        left -= document.points;
    }
}

fn points_of(run: &Run<'_>) -> u32 {
    u32::try_from(run.points.len()).unwrap_or(u32::MAX)
}

/// Ends a document.
fn end(out: &mut Batch, run: &Run<'_>, points: u32, id: u128, key: u64) {
    out.documents.push(document(out.bytes.len(), run, points, id, key));
}

fn document(end: usize, run: &Run<'_>, points: u32, id: u128, key: u64) -> Document {
    Document { end, points, place: run.place, time_ms: run.time_ms, id, key }
}

/// The action before a document: it is made, and not changed where it is there.
fn action(out: &mut Vec<u8>, index: &str, per: IndexPer, time: &Time, id: u128) {
    out.extend_from_slice(b"{\"create\":{\"_index\":");
    let name = match per {
        IndexPer::Never => index.to_owned(),
        IndexPer::Day => format!("{index}-{}", time.date(10)),
        IndexPer::Month => format!("{index}-{}", time.date(7)),
    };
    json::push_text(out, &name);
    out.extend_from_slice(format!(",\"_id\":\"{id:032x}\"}}}}\n").as_bytes());
}

fn push_whole(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The text of a time.
struct Time(Vec<u8>);

impl Time {
    fn of(time_ms: i64) -> Self {
        let mut text = Vec::with_capacity(32);
        number::push_rfc3339(&mut text, time_ms.saturating_mul(1_000_000));
        Self(text)
    }

    fn text(&self) -> &[u8] {
        &self.0
    }

    /// Its beginning, with dots between the numbers.
    fn date(&self, length: usize) -> String {
        String::from_utf8_lossy(&self.0[..length.min(self.0.len())]).replace('-', ".")
    }
}
