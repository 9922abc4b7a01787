//! The page: all families, each with what it means and its rows, handed on in pieces while it is written.
//!
//! A page is a row of parts, and each part is written without the others. So several threads write it, each the
//! next part that nobody has, into a buffer of its own; one of them hands on what they have written, in order.
//! They run ahead of whoever reads by a few pieces, so that a page is never there as a whole.

mod desk;

use std::{ops::Range, sync::Arc, thread};

use self::desk::{Desk, EndOnDrop, Turn};
use super::{FamilyWords, Kind, Snapshot};

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

/// Takes pieces of a page, each of whole lines; what is left in the buffer is thrown away.
pub type Take<'a> = dyn FnMut(&mut String) -> Result<(), Gone> + 'a;

/// Objects whose rows of one family are written at a time: a piece of at most some hundred KiB, which stays in
/// the memory beside the processor until it is handed on.
const STRETCH: usize = 256;
/// Objects for which it is worth the while to start one more thread.
const HELPED: usize = 1024;
/// The words of a family that has no rows here take about as long as this many objects.
const WORDS: usize = 16;
/// Threads that help with a large page; whoever reads it needs a processor, too.
const HELPERS_MAX: usize = 3;

/// A part of a page: the words of a family, or rows of it.
pub(super) enum Part {
    /// Names the family; its rows follow, if it has any.
    Words(FamilyWords),
    /// The rows of these objects of those that were taken.
    Rows { taken: Arc<Vec<Box<dyn Snapshot>>>, of: usize, family: usize, objects: Range<usize> },
    /// Ends the page.
    End,
}

impl Part {
    fn write(&self, format: Format, text: &mut String) {
        match self {
            Self::Words(words) => words.write(format, text),
            Self::Rows { taken, of, family, objects } => taken[*of].write(*family, objects.clone(), text),
            Self::End if format == Format::OpenMetrics => text.push_str("# EOF\n"),
            Self::End => {}
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Words(_) | Self::End => WORDS,
            Self::Rows { objects, .. } => objects.len(),
        }
    }
}

impl FamilyWords {
    fn write(&self, format: Format, text: &mut String) {
        let Self { name, help, kind } = self;
        let (name, kind) = match (kind, format) {
            (Kind::Counter, Format::OpenMetrics) => (name.strip_suffix("_total").unwrap_or(name), "counter"),
            (Kind::Counter, Format::Text) => (&**name, "counter"),
            (Kind::Gauge | Kind::Info | Kind::StateSet, _) => (&**name, "gauge"),
        };
        for part in ["# HELP ", name, " "] {
            text.push_str(part);
        }
        push_help(text, help, format);
        for part in ["\n# TYPE ", name, " ", kind, "\n"] {
            text.push_str(part);
        }
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

/// The parts of a kind: each family with the rows of all objects that were taken.
pub(super) fn parts(
    families: Vec<FamilyWords>,
    taken: Vec<Box<dyn Snapshot>>,
) -> impl Iterator<Item = Part> + Send {
    let taken = Arc::new(taken);
    families.into_iter().enumerate().flat_map(move |(family, words)| {
        let taken = taken.clone();
        let rows = (0..taken.len()).flat_map(move |of| rows(taken.clone(), of, family));
        std::iter::once(Part::Words(words)).chain(rows)
    })
}

/// The rows of a family of one of those that were taken.
pub(super) fn rows(
    taken: Arc<Vec<Box<dyn Snapshot>>>,
    of: usize,
    family: usize,
) -> impl Iterator<Item = Part> + Send {
    let count = taken[of].objects();
    (0..count).step_by(STRETCH).map(move |begin| Part::Rows {
        taken: taken.clone(),
        of,
        family,
        objects: begin..count.min(begin + STRETCH),
    })
}

/// How many threads help to write rows of so many objects.
pub(super) fn helpers(objects: usize) -> usize {
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (objects / HELPED).min(processors - 1).min(HELPERS_MAX)
}

/// Writes the page that these parts make, with so many threads beside this one. `take` is given its pieces.
///
/// # Errors
/// `take` wants no more.
pub(super) fn write(
    parts: impl Iterator<Item = Part> + Send,
    format: Format,
    helpers: usize,
    take: &mut Take<'_>,
) -> Result<(), Gone> {
    let desk = &Desk::new(parts.chain([Part::End]), helpers + 1);
    thread::scope(|scope| {
        let _end = EndOnDrop(desk);
        for _ in 0..helpers {
            let help = move || {
                let _end = EndOnDrop(desk);
                while let Some(job) = desk.help() {
                    desk.write(job, format);
                }
            };
            // Without it the others do its part.
            let _ = thread::Builder::new().name("state page".to_owned()).spawn_scoped(scope, help);
        }
        loop {
            match desk.turn() {
                Turn::HandOn(mut text) => {
                    // Objects may have no rows of a family.
                    if !text.is_empty() {
                        take(&mut text)?;
                    }
                    desk.give_back(text);
                }
                Turn::Write(job) => desk.write(job, format),
                Turn::End => return Ok(()),
            }
        }
    })
}

#[cfg(test)]
mod tests;
