//! The page: all families, each with what it means and its rows, handed on in pieces while it is written.

use super::{FamilyWords, Kind};

/// How a page is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Prometheus' text format, 0.0.4.
    #[default]
    Text,
    /// OpenMetrics, 1.0.
    OpenMetrics,
}

/// Whoever reads the page wants no more of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// Pieces are handed on when they are so long; large enough that handing on costs nothing.
const PIECE_BYTES: usize = 128 << 10;

/// A page that is written piece by piece.
pub struct Page<'a> {
    text: String,
    format: Format,
    take: &'a mut dyn FnMut(&mut String) -> Result<(), Gone>,
}

impl<'a> Page<'a> {
    /// An empty page. `take` is given pieces of whole lines, which it may leave or take away.
    pub fn new(format: Format, take: &'a mut dyn FnMut(&mut String) -> Result<(), Gone>) -> Self {
        Self { text: String::new(), format, take }
    }

    /// Names a family; its rows follow, if it has any.
    pub(super) fn family(&mut self, words: &FamilyWords<'_>) {
        let FamilyWords { name, help, kind } = words;
        let (name, kind) = match (kind, self.format) {
            (Kind::Counter, Format::OpenMetrics) => (name.strip_suffix("_total").unwrap_or(name), "counter"),
            (Kind::Counter, Format::Text) => (*name, "counter"),
            (Kind::Gauge | Kind::Info | Kind::StateSet, _) => (*name, "gauge"),
        };
        for part in ["# HELP ", name, " "] {
            self.text.push_str(part);
        }
        push_help(&mut self.text, help, self.format);
        for part in ["\n# TYPE ", name, " ", kind, "\n"] {
            self.text.push_str(part);
        }
    }

    /// Where rows are written.
    pub(super) fn text(&mut self) -> &mut String {
        &mut self.text
    }

    pub(super) fn flush_if_full(&mut self) -> Result<(), Gone> {
        if self.text.len() < PIECE_BYTES { Ok(()) } else { self.flush() }
    }

    /// Ends the page.
    pub(super) fn finish(mut self) -> Result<(), Gone> {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        if self.text.is_empty() { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), Gone> {
        (self.take)(&mut self.text)?;
        self.text.clear();
        Ok(())
    }
}

/// Only in OpenMetrics quotation marks are escaped here.
fn push_help(page: &mut String, help: &str, format: Format) {
    for c in help.chars() {
        match c {
            '\\' => page.push_str("\\\\"),
            '\n' => page.push_str("\\n"),
            '"' if format == Format::OpenMetrics => page.push_str("\\\""),
            other => page.push(other),
        }
    }
}
