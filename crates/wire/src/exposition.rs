//! Expositions: what a scrape of `/metrics` answers.
//!
//! [`Writer`] writes one in the Prometheus text format 0.0.4 or in OpenMetrics 1.0, as the `Accept`
//! header wants it. A caller tells family by family; a family is opened once and its samples follow
//! in a row.
//!
//! [`TextParser`] reads the text formats and [`ProtobufParser`] the binary one, in place: a sample is
//! the bytes that name its series and its value. Whoever knows the bytes from the scrape before
//! need not read them, which is most of the work. Whoever keeps the [`PageForm`] of the scrape before
//! compares the whole page at once.

mod escaping;
mod page;
mod protobuf;
mod protobuf_writer;
mod series;
mod start;
mod text;
mod value;

use vedette_model::MetricKind;

use crate::number::{push_seconds, push_shortest};

pub use escaping::Escaping;
pub use page::PageForm;
pub use protobuf::{
    Exemplars, Family, MetricMessage, Part, Point, Points, ProtobufEntry, ProtobufExemplar, ProtobufParser,
};
pub use protobuf_writer::{ProtobufWriter, classic_buckets, is_gauge_histogram};
pub use series::{ExemplarText, SeriesText, TextPair};
pub use text::{Dialect, Entry, ParseError, Sample, TextParser};

/// A form of exposition text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The form that an `Accept` header asks for; text where it asks for nothing we have.
    pub fn accepted(accept: &str) -> Self {
        let mut best = (Self::Text, 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let format = match parts.next() {
                Some("application/openmetrics-text") => Self::OpenMetrics,
                Some("text/plain" | "text/*" | "*/*") => Self::Text,
                _ => continue,
            };
            let mut quality = 1.0;
            let mut known_version = true;
            for part in parts {
                match part.split_once('=') {
                    Some(("q", value)) => quality = value.parse().unwrap_or(0.0),
                    Some(("version", version)) if format == Self::OpenMetrics => {
                        known_version = matches!(version, "1.0.0" | "0.0.1");
                    }
                    _ => {}
                }
            }
            if known_version && quality > best.1 {
                best = (format, quality);
            }
        }
        best.0
    }

    /// The `Content-Type` of the answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A format of answers that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFormat {
    /// Prometheus text, of any version.
    Text,
    /// OpenMetrics text, of any version.
    OpenMetrics,
    /// Messages of Protocol Buffers, each with its length before it.
    Protobuf,
}

impl BodyFormat {
    /// The format that a `Content-Type` names.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match media_type.as_str() {
            "text/plain" => Some(Self::Text),
            "application/openmetrics-text" => Some(Self::OpenMetrics),
            "application/vnd.google.protobuf" => Some(Self::Protobuf),
            _ => None,
        }
    }
}

/// Writes one exposition.
pub struct Writer {
    format: Format,
    out: Vec<u8>,
}

impl Writer {
    /// An empty exposition.
    pub fn new(format: Format) -> Self {
        Self { format, out: Vec::with_capacity(16 * 1024) }
    }

    /// The same with room for so many bytes.
    pub fn with_capacity(format: Format, bytes: usize) -> Self {
        Self { format, out: Vec::with_capacity(bytes) }
    }

    /// Opens a family. `name` is the family's sample name, with `_total` where a counter has it.
    pub fn family(&mut self, name: &str, kind: MetricKind, unit: &str, help: &str) {
        let (name, kind) = match self.format {
            Format::Text => (name, text_kind(kind)),
            Format::OpenMetrics => openmetrics_family(name, kind),
        };
        if !help.is_empty() {
            self.begin_comment("HELP", name);
            push_escaped(&mut self.out, help, self.format == Format::OpenMetrics);
            self.out.push(b'\n');
        }
        self.begin_comment("TYPE", name);
        self.out.extend_from_slice(kind.as_bytes());
        self.out.push(b'\n');
        if self.format == Format::OpenMetrics && !unit.is_empty() && name.ends_with(unit) {
            self.begin_comment("UNIT", name);
            self.out.extend_from_slice(unit.as_bytes());
            self.out.push(b'\n');
        }
    }

    /// Writes one sample of the family that was opened last.
    pub fn sample<'a>(
        &mut self,
        name: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        value: f64,
        time_ms: Option<i64>,
    ) {
        push_series(&mut self.out, name, labels);
        self.finish_row(value, time_ms);
    }

    /// Writes one sample of a series whose name and labels are text already, by [`push_series`].
    pub fn row(&mut self, series: &[u8], value: f64, time_ms: Option<i64>) {
        self.out.extend_from_slice(series);
        self.finish_row(value, time_ms);
    }

    fn finish_row(&mut self, value: f64, time_ms: Option<i64>) {
        self.out.push(b' ');
        push_shortest(&mut self.out, value);
        if let Some(time_ms) = time_ms {
            self.out.push(b' ');
            match self.format {
                Format::Text => self.out.extend_from_slice(itoa::Buffer::new().format(time_ms).as_bytes()),
                Format::OpenMetrics => push_seconds(&mut self.out, time_ms),
            }
        }
        self.out.push(b'\n');
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.out.len()
    }

    /// The finished text.
    pub fn finish(mut self) -> Vec<u8> {
        if self.format == Format::OpenMetrics {
            self.out.extend_from_slice(b"# EOF\n");
        }
        self.out
    }

    fn begin_comment(&mut self, word: &str, name: &str) {
        self.out.extend_from_slice(b"# ");
        self.out.extend_from_slice(word.as_bytes());
        self.out.push(b' ');
        if is_classic(name, true) {
            self.out.extend_from_slice(name.as_bytes());
        } else {
            push_quoted(&mut self.out, name);
        }
        self.out.push(b' ');
    }
}

/// Appends what names a series: its name and labels.
pub fn push_series<'a>(out: &mut Vec<u8>, name: &str, labels: impl IntoIterator<Item = (&'a str, &'a str)>) {
    let bare = is_classic(name, true);
    let mut open = false;
    if bare {
        out.extend_from_slice(name.as_bytes());
    } else {
        out.extend_from_slice(b"{");
        push_quoted(out, name);
        open = true;
    }
    for (label, text) in labels {
        out.push(if std::mem::replace(&mut open, true) { b',' } else { b'{' });
        if is_classic(label, false) {
            out.extend_from_slice(label.as_bytes());
        } else {
            push_quoted(out, label);
        }
        out.push(b'=');
        push_quoted(out, text);
    }
    if open {
        out.push(b'}');
    }
}

/// Text 0.0.4 knows fewer types.
fn text_kind(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Info | MetricKind::StateSet => "gauge",
        // Its parts are those of a histogram.
        MetricKind::GaugeHistogram => "histogram",
        MetricKind::Unknown => "untyped",
        known => known.as_str(),
    }
}

/// In OpenMetrics a family's name lacks the suffix that its samples have; what does not follow
/// that rule cannot keep its type.
fn openmetrics_family(name: &str, kind: MetricKind) -> (&str, &'static str) {
    match kind {
        MetricKind::Counter => name.strip_suffix("_total").map_or((name, "unknown"), |n| (n, "counter")),
        MetricKind::Info => name.strip_suffix("_info").map_or((name, "gauge"), |n| (n, "info")),
        known => (name, known.as_str()),
    }
}

fn is_classic(name: &str, colon: bool) -> bool {
    !name.is_empty()
        && name.bytes().enumerate().all(|(i, b)| {
            b.is_ascii_alphabetic() || b == b'_' || (colon && b == b':') || (i > 0 && b.is_ascii_digit())
        })
}

fn push_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    push_escaped(out, text, true);
    out.push(b'"');
}

fn push_escaped(out: &mut Vec<u8>, text: &str, quote: bool) {
    let mut rest = text.as_bytes();
    // Where a quote needs no escape, it is looked for in vain as a second backslash.
    let third = if quote { b'"' } else { b'\\' };
    while let Some(at) = memchr::memchr3(b'\\', b'\n', third, rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(match rest[at] {
            b'\n' => b"\\n",
            b'"' => b"\\\"",
            _ => b"\\\\",
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests;
