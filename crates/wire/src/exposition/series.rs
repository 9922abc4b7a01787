//! The name and labels of a sample, as they stand in a text.

use std::borrow::Cow;

use vedette_model::{Labels, METRIC_NAME, MetricKind};

use super::{
    text::{Dialect, Fault, ParseError, blanks, quoted_length, utf8},
    value,
};

/// What names a series in a text. With the same bytes, [`SeriesText::kind`] and dialect come the
/// same labels; other bytes may stand for them as well.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesText<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) dialect: Dialect,
    pub(super) kind: MetricKind,
}

/// Name and value of a label, copied only where something in them was escaped.
pub type TextPair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// An exemplar. Its labels are sound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExemplarText<'a> {
    pub(super) labels: &'a [u8],
    /// The observed value.
    pub value: f64,
    /// When it was observed, in milliseconds since the Unix epoch.
    pub time_ms: Option<i64>,
}

impl<'a> SeriesText<'a> {
    /// The bytes as they stand in the body.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Where they begin in the body.
    pub fn position(self) -> usize {
        self.at
    }

    /// The type of the family that was opened last. Bounds and quantiles are written in one form
    /// where it has them.
    pub fn kind(self) -> MetricKind {
        self.kind
    }

    /// The labels, the metric name among them.
    pub fn labels(self) -> Result<Labels, ParseError> {
        let mut pairs = self.pairs()?;
        pairs.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        if let Some(twice) = pairs.windows(2).find(|w| w[0].0 == w[1].0) {
            let at = if twice[0].0 == METRIC_NAME { 0 } else { self.find(&twice[0].0) };
            return Err(self.error(Fault::new("a label is there twice", at)));
        }
        let there = pairs.iter().filter(|(_, value)| !value.is_empty());
        Ok(Labels::from_sorted(there.map(|(name, value)| (name.as_ref(), value.as_ref()))))
    }

    /// Names and values in the order of the text, the metric name as a label as well.
    pub fn pairs(self) -> Result<Vec<TextPair<'a>>, ParseError> {
        let mut pairs = Vec::with_capacity(16);
        let bound = bound_label(self.kind);
        let each = |name: &'a str, value: &'a str| {
            let (name, value) = (unescape(name, true), unescape(value, true));
            let value = if Some(name.as_ref()) == bound { canonical(value) } else { value };
            pairs.push((name, value));
        };
        read(self.bytes, self.dialect, true, each).map_err(|fault| self.error(fault))?;
        Ok(pairs)
    }

    fn find(self, name: &str) -> usize {
        memchr::memmem::find(self.bytes, name.as_bytes()).unwrap_or(0)
    }

    /// The line is counted within these bytes, the place in the whole body.
    fn error(self, fault: Fault) -> ParseError {
        let mut error = fault.in_body(self.bytes);
        error.at += self.at;
        error
    }
}

impl ExemplarText<'_> {
    /// The labels as they stand in the body, with their braces. Equal bytes are equal labels.
    pub fn label_bytes(&self) -> &[u8] {
        self.labels
    }

    /// The labels.
    pub fn labels(self) -> Labels {
        let mut pairs = Vec::new();
        let each = |name: &str, value: &str| {
            pairs.push((unescape(name, true).into_owned(), unescape(value, true).into_owned()));
        };
        read(self.labels, Dialect::OpenMetrics, false, each)
            .expect("BUG: the labels of an exemplar were checked");
        Labels::from_pairs(pairs)
    }
}

/// Finds what is wrong with labels in braces, which begin at `at` of the body.
pub(super) fn check_labels(labels: &[u8], at: usize) -> Result<(), Fault> {
    read(labels, Dialect::OpenMetrics, false, |_, _| {})
        .map_err(|fault| Fault::new(fault.reason, at + fault.at))
}

/// The label that holds a number.
pub(super) fn bound_label(kind: MetricKind) -> Option<&'static str> {
    match kind {
        MetricKind::Histogram => Some("le"),
        MetricKind::Summary => Some("quantile"),
        _ => None,
    }
}

/// A number in one form, whatever it was written like.
fn canonical(value: Cow<'_, str>) -> Cow<'_, str> {
    // Between digits Go takes underscores here, though not in samples.
    let is_inner = |w: &[u8]| w[1] != b'_' || (w[0].is_ascii_digit() && w[2].is_ascii_digit());
    let separated = value.contains('_') && value.as_bytes().windows(3).all(is_inner);
    let number = if separated && !value.starts_with('_') && !value.ends_with('_') {
        value::parse(value.replace('_', "").as_bytes())
    } else {
        value::parse(value.as_bytes())
    };
    let Some(number) = number else { return value };
    let mut out = Vec::with_capacity(8);
    value::push_canonical(&mut out, number);
    if out == value.as_bytes() {
        return value;
    }
    Cow::Owned(String::from_utf8(out).expect("BUG: numbers are written in ASCII"))
}

/// Reads a name and labels in braces, either of which may be missing, up to the end of `bytes`. Names
/// and values come as they are written between the quotes.
pub(super) fn read<'a>(
    bytes: &'a [u8],
    dialect: Dialect,
    named: bool,
    mut each: impl FnMut(&'a str, &'a str),
) -> Result<(), Fault> {
    let skip = |at: usize| if dialect == Dialect::Text { at + blanks(&bytes[at..]) } else { at };
    let fault = |reason, at| Err(Fault::new(reason, at));
    let name_length = take_name(bytes, true);
    let mut has_name = name_length > 0;
    if has_name {
        each(METRIC_NAME, utf8(&bytes[..name_length], 0)?);
    }
    let mut at = skip(name_length);
    if at == bytes.len() && has_name {
        return Ok(());
    }
    if bytes.get(at) != Some(&b'{') {
        return fault("a '{' is missing", at);
    }
    at = skip(at + 1);
    loop {
        if bytes.get(at) == Some(&b'}') {
            return match (has_name || !named, at + 1 == bytes.len()) {
                (true, true) => Ok(()),
                (false, _) => fault("the metric name is missing", at),
                (_, false) => fault("something follows the labels", at + 1),
            };
        }
        let begin = at;
        let is_quoted = bytes.get(at) == Some(&b'"');
        let name = if is_quoted { quoted(bytes, &mut at)? } else { bare(bytes, &mut at)? };
        at = skip(at);
        if is_quoted && matches!(bytes.get(at), Some(b',' | b'}')) {
            if has_name || !named {
                return fault("a label has no value, and the metric name is there already", begin);
            }
            if name.is_empty() {
                return fault("the metric name is empty", begin);
            }
            has_name = true;
            each(METRIC_NAME, name);
            if bytes[at] == b',' {
                at = skip(at + 1);
            }
            continue;
        }
        if name.is_empty() {
            return fault("a label name is empty", begin);
        }
        if bytes.get(at) != Some(&b'=') {
            return fault("a '=' is missing after the label name", at);
        }
        at = skip(at + 1);
        if bytes.get(at) != Some(&b'"') {
            return fault("a label value in quotes is missing", at);
        }
        let value_at = at;
        let value = quoted(bytes, &mut at)?;
        if dialect == Dialect::OpenMetrics && value.contains('\n') {
            return fault("a label value has a line break", value_at);
        }
        each(name, value);
        at = skip(at);
        match bytes.get(at) {
            Some(b',') => at = skip(at + 1),
            Some(b'}') => {}
            // Prometheus' text can do without commas.
            Some(_) if dialect == Dialect::Text => {}
            _ => return fault("a ',' or '}' is missing after the label value", at),
        }
    }
}

fn quoted<'a>(bytes: &'a [u8], at: &mut usize) -> Result<&'a str, Fault> {
    let length = quoted_length(&bytes[*at..]).ok_or(Fault::new("a quote is missing", *at))?;
    let text = utf8(&bytes[*at + 1..*at + length - 1], *at + 1)?;
    *at += length;
    Ok(text)
}

fn bare<'a>(bytes: &'a [u8], at: &mut usize) -> Result<&'a str, Fault> {
    match take_name(&bytes[*at..], false) {
        0 => Err(Fault::new("a label name is missing", *at)),
        length => {
            let text = utf8(&bytes[*at..*at + length], *at)?;
            *at += length;
            Ok(text)
        }
    }
}

/// Bytes of the name of old at the beginning, with colons for metrics.
#[inline]
pub(super) fn take_name(bytes: &[u8], colon: bool) -> usize {
    if bytes.first().is_none_or(u8::is_ascii_digit) {
        return 0;
    }
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || (colon && *b == b':');
    bytes.iter().position(|b| !is_name(b)).unwrap_or(bytes.len())
}

/// Undoes `\\` and `\n`, and `\"` where quotes are escaped; any other backslash stays.
pub(super) fn unescape(text: &str, quotes: bool) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let plain = match after.bytes().next() {
            Some(b'\\') => '\\',
            Some(b'n') => '\n',
            Some(b'"') if quotes => '"',
            _ => {
                out.push('\\');
                rest = after;
                continue;
            }
        };
        out.push(plain);
        rest = &after[1..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}
