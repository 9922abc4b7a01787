//! Reading Prometheus text (0.0.4 and 1.0.0) and OpenMetrics text (0.0.1 and 1.0.0) in place.
//!
//! A sample is the bytes that name its series, a value, and perhaps a time and an exemplar. Nothing
//! is allocated for it and its labels are not looked at: [`SeriesText`] reads them when the
//! receiver meets the bytes for the first time. Hence a fault within the labels is found there, and
//! every other one here. What is taken is what Prometheus takes.
//!
//! An answer mostly has the lines of the one before. [`TextParser::next_expecting`] is told the
//! bytes of the series that came next then; if they are there, their end need not be searched.

use memchr::{memchr, memchr_iter, memchr2};
use vedette_model::MetricKind;

use super::{
    series::{ExemplarText, SeriesText, check_labels, take_name, unescape},
    value,
};

/// Which text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Prometheus text.
    Text,
    /// OpenMetrics text.
    OpenMetrics,
}

/// What is wrong with an exposition, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong.
    pub reason: &'static str,
    /// The line, from 1.
    pub line: usize,
    /// The byte of the body, from 0.
    pub at: usize,
    /// What stands there, cut after some letters.
    pub near: String,
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {} near {:?}", self.line, self.reason, self.near)
    }
}

impl std::error::Error for ParseError {}

/// A fault before its line is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: &'static str,
    pub(super) at: usize,
}

impl Fault {
    pub(super) fn new(reason: &'static str, at: usize) -> Self {
        Self { reason, at }
    }

    /// The error in the body in which the fault was found.
    pub(super) fn in_body(self, body: &[u8]) -> ParseError {
        const NEAR_BYTES: usize = 40;
        let at = self.at.min(body.len());
        let rest = &body[at..];
        let end = memchr(b'\n', rest).unwrap_or(rest.len()).min(NEAR_BYTES);
        ParseError {
            reason: self.reason,
            line: memchr_iter(b'\n', &body[..at]).count() + 1,
            at: self.at,
            near: String::from_utf8_lossy(&rest[..end]).into_owned(),
        }
    }
}

/// One line of an exposition.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry<'a> {
    /// A sample.
    Sample(Sample<'a>),
    /// The type of a family.
    Type {
        /// The family.
        family: std::borrow::Cow<'a, str>,
        /// Its type.
        kind: MetricKind,
    },
    /// What a family is about.
    Help {
        /// The family.
        family: std::borrow::Cow<'a, str>,
        /// A sentence.
        help: std::borrow::Cow<'a, str>,
    },
    /// The unit of a family.
    Unit {
        /// The family.
        family: std::borrow::Cow<'a, str>,
        /// The unit; the family's name ends with it, or it is empty.
        unit: &'a str,
    },
}

/// A sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    /// What names the series.
    pub series: SeriesText<'a>,
    /// The value.
    pub value: f64,
    /// The time that the target tells, in milliseconds since the Unix epoch.
    pub time_ms: Option<i64>,
    /// An exemplar.
    pub exemplar: Option<ExemplarText<'a>>,
}

/// Reads an exposition line by line. After an error nothing more comes.
#[derive(Debug, Clone)]
pub struct TextParser<'a> {
    pub(super) body: &'a [u8],
    pub(super) at: usize,
    pub(super) dialect: Dialect,
    pub(super) kind: MetricKind,
    pub(super) start: super::start::Known,
    is_done: bool,
}

impl<'a> TextParser<'a> {
    /// Begins with a body, its compression undone.
    pub fn new(body: &'a [u8], dialect: Dialect) -> Self {
        Self {
            body,
            at: 0,
            dialect,
            kind: MetricKind::Unknown,
            start: super::start::Known::default(),
            is_done: false,
        }
    }

    /// The next line that says something; `None` at the end.
    #[expect(clippy::should_implement_trait, reason = "a cursor that is asked in several ways")]
    #[inline]
    pub fn next(&mut self) -> Option<Result<Entry<'a>, ParseError>> {
        self.next_expecting(b"")
    }

    /// Like [`TextParser::next`], for a caller who knows what named the series that came next in the
    /// answer before. It may be wrong, and must have been read from an answer in the same dialect.
    #[inline]
    pub fn next_expecting(&mut self, series: &[u8]) -> Option<Result<Entry<'a>, ParseError>> {
        if self.is_done {
            return None;
        }
        let entry = match self.expected(series) {
            Some(end) => self.sample(self.at, end).map(|sample| Some(Entry::Sample(sample))),
            None => self.entry(),
        };
        match entry {
            Ok(Some(entry)) => Some(Ok(entry)),
            Ok(None) => {
                self.is_done = true;
                None
            }
            Err(fault) => {
                self.is_done = true;
                Some(Err(fault.in_body(self.body)))
            }
        }
    }

    /// Where the expected series ends, if it is what comes next. Its own bytes tell where it ends,
    /// unless it has no labels and some follow after a blank.
    #[inline]
    fn expected(&self, series: &[u8]) -> Option<usize> {
        let rest = &self.body[self.at..];
        if series.is_empty() || !rest.starts_with(series) || rest.get(series.len()) != Some(&b' ') {
            return None;
        }
        if series.last() != Some(&b'}') && rest.get(series.len() + 1).is_none_or(|b| b" \t{".contains(b)) {
            return None;
        }
        Some(self.at + series.len())
    }

    fn entry(&mut self) -> Result<Option<Entry<'a>>, Fault> {
        loop {
            let Some(&byte) = self.body.get(self.at) else {
                return match self.dialect {
                    Dialect::Text => Ok(None),
                    Dialect::OpenMetrics => Err(Fault::new("the end '# EOF' is missing", self.at)),
                };
            };
            match (byte, self.dialect) {
                (b'#', Dialect::Text) => {
                    if let Some(entry) = self.text_comment()? {
                        return Ok(Some(entry));
                    }
                }
                (b'#', Dialect::OpenMetrics) => return self.openmetrics_comment(),
                (b'\n' | b' ' | b'\t', Dialect::Text) => self.at += 1,
                _ => {
                    let begin = self.at;
                    let end = self.series_end(begin)?;
                    return self.sample(begin, end).map(|sample| Some(Entry::Sample(sample)));
                }
            }
        }
    }

    /// Where the name and labels that begin at `begin` end.
    fn series_end(&self, begin: usize) -> Result<usize, Fault> {
        let rest = &self.body[begin..];
        let name = take_name(rest, true);
        if name == 0 && rest.first() != Some(&b'{') {
            return Err(Fault::new("a line begins with neither a metric name nor '{' nor '#'", begin));
        }
        let mut at = name;
        if self.dialect == Dialect::Text {
            at += blanks(&rest[at..]);
        }
        if rest.get(at) != Some(&b'{') {
            return Ok(begin + name);
        }
        let after = labels_end(rest, at + 1).map_err(|at| Fault::new("a '}' is missing", begin + at))?;
        Ok(begin + after)
    }

    /// The rest of a line whose series is known.
    #[inline]
    fn sample(&mut self, begin: usize, end: usize) -> Result<Sample<'a>, Fault> {
        let series =
            SeriesText { bytes: &self.body[begin..end], at: begin, dialect: self.dialect, kind: self.kind };
        self.at = end;
        let value = self.value("a value is missing")?;
        match self.dialect {
            Dialect::Text => {
                let time_ms = self.text_time()?;
                Ok(Sample { series, value, time_ms, exemplar: None })
            }
            Dialect::OpenMetrics => {
                let (time_ms, exemplar) = self.openmetrics_tail()?;
                Ok(Sample { series, value, time_ms, exemplar })
            }
        }
    }

    /// A number after a blank, up to the next one or the end of the line.
    #[inline]
    fn value(&mut self, missing: &'static str) -> Result<f64, Fault> {
        let rest = &self.body[self.at..];
        let before = match self.dialect {
            Dialect::Text => blanks(rest),
            Dialect::OpenMetrics if rest.first() == Some(&b' ') => 1,
            Dialect::OpenMetrics => return Err(Fault::new(missing, self.at)),
        };
        let length = word(&rest[before..], self.dialect);
        if length == 0 {
            return Err(Fault::new(missing, self.at));
        }
        let begin = self.at + before;
        let value =
            value::parse(&rest[before..before + length]).ok_or(Fault::new("this is no number", begin))?;
        self.at = begin + length;
        Ok(value)
    }

    /// Whole milliseconds, if there are any, and the end of the line.
    #[inline]
    fn text_time(&mut self) -> Result<Option<i64>, Fault> {
        if self.end_line() {
            return Ok(None);
        }
        let begin = self.at + blanks(&self.body[self.at..]);
        let rest = &self.body[begin..];
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        self.at = begin;
        if digits == 0 {
            return if self.end_line() {
                Ok(None)
            } else {
                Err(Fault::new("a time or the end of the line is missing", begin))
            };
        }
        let time = std::str::from_utf8(&rest[..digits]).ok().and_then(|text| text.parse().ok());
        let time = time.ok_or(Fault::new("the time is out of range", begin))?;
        self.at = begin + digits;
        self.at += blanks(&self.body[self.at..]);
        if !self.end_line() {
            return Err(Fault::new("something follows the time", self.at));
        }
        Ok(Some(time))
    }

    /// Steps over the end of the line, which the end of the body is as well.
    #[inline]
    fn end_line(&mut self) -> bool {
        match self.body.get(self.at) {
            Some(b'\n') => {
                self.at += 1;
                true
            }
            None => true,
            Some(_) => false,
        }
    }

    /// Seconds and an exemplar, each if it is there, and the end of the line.
    fn openmetrics_tail(&mut self) -> Result<(Option<i64>, Option<ExemplarText<'a>>), Fault> {
        const EXEMPLAR: &[u8] = b" # {";
        let mut time_ms = None;
        if !self.body[self.at..].starts_with(EXEMPLAR) && self.body.get(self.at) == Some(&b' ') {
            time_ms = Some(self.openmetrics_time()?);
        }
        let mut exemplar = None;
        if self.body[self.at..].starts_with(EXEMPLAR) {
            let begin = self.at + EXEMPLAR.len() - 1;
            let after = labels_end(self.body, begin + 1).map_err(|at| Fault::new("a '}' is missing", at))?;
            let labels = &self.body[begin..after];
            check_labels(labels, begin)?;
            self.at = after;
            let value = self.value("an exemplar has no value")?;
            let time_ms =
                if self.body.get(self.at) == Some(&b' ') { Some(self.openmetrics_time()?) } else { None };
            exemplar = Some(ExemplarText { labels, value, time_ms });
        }
        match self.body.get(self.at) {
            Some(b'\n') => self.at += 1,
            None => return Err(Fault::new("the end '# EOF' is missing", self.at)),
            Some(_) => return Err(Fault::new("something follows the sample", self.at)),
        }
        Ok((time_ms, exemplar))
    }

    fn openmetrics_time(&mut self) -> Result<i64, Fault> {
        let begin = self.at;
        let seconds = self.value("a time is missing")?;
        value::milliseconds(seconds).ok_or(Fault::new("this is no time", begin))
    }

    /// A comment up to the end of its line, and what it says of a family.
    fn text_comment(&mut self) -> Result<Option<Entry<'a>>, Fault> {
        let begin = self.at;
        let line_end = memchr(b'\n', &self.body[begin..]).map_or(self.body.len(), |i| begin + i);
        self.at = (line_end + 1).min(self.body.len());
        let line = &self.body[begin..line_end];
        let mut at = 1 + blanks(&line[1..]);
        let word = &line[at..];
        let is_help = word.starts_with(b"HELP");
        // Without blanks around the word it is a comment for people.
        if at == 1 || !(is_help || word.starts_with(b"TYPE")) || blanks(&word[4..]) == 0 {
            return Ok(None);
        }
        at += 4 + blanks(&word[4..]);
        let (family, rest) = family(line, at).map_err(|fault| Fault::new(fault.reason, begin + fault.at))?;
        // One blank separates the text; more of them belong to it.
        let text = rest.get(1..).unwrap_or_default();
        let text_at = line_end - text.len();
        if is_help {
            let help = utf8(text, text_at)?;
            return Ok(Some(Entry::Help { family, help: unescape(help, false) }));
        }
        let kind = match text {
            b"counter" => MetricKind::Counter,
            b"gauge" => MetricKind::Gauge,
            b"histogram" => MetricKind::Histogram,
            b"summary" => MetricKind::Summary,
            b"untyped" => MetricKind::Unknown,
            _ => return Err(Fault::new("this is no type of metrics", text_at)),
        };
        self.kind = kind;
        Ok(Some(Entry::Type { family, kind }))
    }

    /// What a comment says of a family, or the end.
    fn openmetrics_comment(&mut self) -> Result<Option<Entry<'a>>, Fault> {
        let begin = self.at;
        let rest = &self.body[begin..];
        if let Some(after) = rest.strip_prefix(b"# EOF") {
            let after = after.strip_prefix(b"\n").unwrap_or(after);
            self.at = self.body.len() - after.len();
            return if after.is_empty() {
                Ok(None)
            } else {
                Err(Fault::new("something follows '# EOF'", self.at))
            };
        }
        let words: [&[u8]; 3] = [b"# HELP ", b"# TYPE ", b"# UNIT "];
        let Some(which) = words.iter().position(|word| rest.starts_with(word)) else {
            return Err(Fault::new("a comment is none of HELP, TYPE, UNIT and EOF", begin));
        };
        let Some(length) = memchr(b'\n', rest) else {
            return Err(Fault::new("the end '# EOF' is missing", self.body.len()));
        };
        let line = &rest[..length];
        self.at = begin + length + 1;
        let (family, rest) = family(line, 7).map_err(|fault| Fault::new(fault.reason, begin + fault.at))?;
        let text_at = begin + length - rest.len();
        let Some(text) = rest.strip_prefix(b" ") else {
            return Err(Fault::new("a blank is missing after the name", text_at));
        };
        let text = utf8(text, text_at + 1)?;
        match which {
            0 => Ok(Some(Entry::Help { family, help: unescape(text, true) })),
            1 => {
                let kind = match text {
                    "counter" => MetricKind::Counter,
                    "gauge" => MetricKind::Gauge,
                    "histogram" => MetricKind::Histogram,
                    // A histogram that goes up and down has the same parts and no counter.
                    "gaugehistogram" => MetricKind::GaugeHistogram,
                    "summary" => MetricKind::Summary,
                    "info" => MetricKind::Info,
                    "stateset" => MetricKind::StateSet,
                    "unknown" => MetricKind::Unknown,
                    _ => return Err(Fault::new("this is no type of metrics", text_at + 1)),
                };
                self.kind = kind;
                Ok(Some(Entry::Type { family, kind }))
            }
            _ => {
                let is_suffix = family.strip_suffix(text).is_some_and(|f| f.ends_with('_'));
                if !text.is_empty() && !is_suffix {
                    return Err(Fault::new("the unit is not the end of the family's name", text_at + 1));
                }
                Ok(Some(Entry::Unit { family, unit: text }))
            }
        }
    }
}

/// The name of a family at `at`, in quotes or not, and what follows in the line.
fn family(line: &[u8], at: usize) -> Result<(std::borrow::Cow<'_, str>, &[u8]), Fault> {
    let rest = &line[at.min(line.len())..];
    if rest.first() == Some(&b'"') {
        let length = quoted_length(rest).ok_or(Fault::new("a quote is missing", at))?;
        let name = utf8(&rest[1..length - 1], at + 1)?;
        return Ok((unescape(name, true), &rest[length..]));
    }
    match take_name(rest, true) {
        0 => Err(Fault::new("a metric name is missing", at)),
        length => Ok((utf8(&rest[..length], at)?.into(), &rest[length..])),
    }
}

/// Bytes up to a blank or the end of the line.
#[inline]
pub(super) fn word(rest: &[u8], dialect: Dialect) -> usize {
    let is_text = dialect == Dialect::Text;
    rest.iter()
        .position(|&b| b == b'\n' || b == b' ' || (is_text && (b == b'\t' || b == b'{')))
        .unwrap_or(rest.len())
}

/// Blanks and tabs at the beginning.
#[inline]
pub(super) fn blanks(rest: &[u8]) -> usize {
    rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count()
}

/// What lies behind the '}' that ends labels, which begin at `at`; the place where it is missed if it
/// is not there.
fn labels_end(bytes: &[u8], mut at: usize) -> Result<usize, usize> {
    loop {
        let found = at + memchr2(b'"', b'}', &bytes[at..]).ok_or(at)?;
        if bytes[found] == b'}' {
            return Ok(found + 1);
        }
        at = found + quoted_length(&bytes[found..]).ok_or(found)?;
    }
}

/// Bytes of a text in quotes, these included.
#[inline]
pub(super) fn quoted_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        // A backslash takes the next letter with it, if it is one.
        if bytes.get(at + 1).is_none_or(|b| *b == b'\n') {
            return None;
        }
        at += 2;
    }
}

pub(super) fn utf8(bytes: &[u8], at: usize) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|e| Fault::new("this is not valid UTF-8", at + e.valid_up_to()))
}
