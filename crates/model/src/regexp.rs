//! Regular expressions in RE2's syntax, as Prometheus uses them: they match whole texts, and a dot
//! takes line breaks too.
//!
//! Reading an expression is cheap and bounded. Most need no automaton: a set of texts, or texts
//! with gaps. The automaton of the others is built when it is first needed, and its size is
//! bounded by what the expression may cost. Matching takes time linear in the text.

mod class;
mod parser;
mod recent;
mod shape;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use regex_automata::{Anchored, Input, meta::Regex, nfa::thompson::WhichCaptures, util::captures::Captures};
use regex_syntax::hir::{Hir, Look};

use parser::Fault;
use recent::Recent;
use shape::Shape;

/// An expression that cannot be used. Its text is that of Go's package.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("error parsing regexp: {reason}")]
pub struct RegexpError {
    /// The expression as given.
    pub expression: String,
    /// What is wrong with it, and with which part of it.
    pub reason: String,
}

impl RegexpError {
    fn new(expression: &str, fault: &Fault) -> Self {
        Self { expression: expression.to_owned(), reason: format!("{}: `{}`", fault.what, fault.part) }
    }
}

/// A regular expression that matches whole texts. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Regexp(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    program: Program,
    matches_empty: bool,
    prefix: String,
    cost: usize,
}

#[derive(Debug)]
enum Program {
    Simple(Shape),
    /// Simple for ASCII text in lower case.
    Caseless(Shape, Automaton),
    Automaton(Automaton),
}

/// What even the simplest expression costs.
const SIMPLE_COST: usize = 32;

/// What even the smallest automaton costs.
const AUTOMATON_COST: usize = 256;

impl Regexp {
    /// Reads an expression.
    pub fn new(expression: &str) -> Result<Self, RegexpError> {
        static KNOWN: Recent<Regexp> = Recent::new();
        KNOWN.get(expression, Self::read)
    }

    fn read(expression: &str) -> Result<Self, RegexpError> {
        let refused = |fault: Fault| RegexpError::new(expression, &fault);
        let parsed = parser::parse(expression, false).map_err(refused)?;
        let properties = parsed.hir.properties();
        let (length_min, looks) = (properties.minimum_len(), properties.look_set());
        let prefix = shape::prefix(&parsed.hir);
        let (program, cost) = if let Some(shape) = Shape::of(&parsed.hir, false) {
            (Program::Simple(shape), SIMPLE_COST)
        } else {
            // What Prometheus puts around the expression makes it a level deeper.
            if parsed.height >= parser::HEIGHT_MAX {
                parser::parse(&anchored(expression), false).map_err(refused)?;
            }
            let caseless = Shape::of(&parsed.hir, true);
            let automaton = Automaton::new(parsed.hir);
            let program = match caseless {
                Some(shape) => Program::Caseless(shape, automaton),
                None => Program::Automaton(automaton),
            };
            (program, AUTOMATON_COST + parsed.cost)
        };
        let mut compiled = Compiled { program, matches_empty: length_min == Some(0), prefix, cost };
        // The empty text begins and ends, but has no word.
        if compiled.matches_empty && looks.contains_word() {
            compiled.matches_empty = compiled.matches("");
        }
        Ok(Self(Arc::new(compiled)))
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        if text.is_empty() { self.0.matches_empty } else { self.0.matches(text) }
    }

    /// Whether the empty text matches.
    pub fn matches_empty(&self) -> bool {
        self.0.matches_empty
    }

    /// The texts that alone match, sorted, if they are few: those of `a|b|c` and of `x[12]`.
    pub fn values(&self) -> Option<&[String]> {
        match &self.0.program {
            Program::Simple(Shape { values, globs }) if globs.is_empty() => Some(values),
            _ => None,
        }
    }

    /// Text with which all that matches begins; may be empty.
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// What it costs to use the expression, about the states of its automaton; little without one.
    pub fn cost(&self) -> usize {
        self.0.cost
    }
}

impl Compiled {
    fn matches(&self, text: &str) -> bool {
        match &self.program {
            Program::Simple(shape) => shape.matches(text),
            Program::Caseless(shape, _) if text.is_ascii() => in_lower_case(text, |text| shape.matches(text)),
            Program::Caseless(_, automaton) | Program::Automaton(automaton) => {
                text.starts_with(&self.prefix) && automaton.matches(text)
            }
        }
    }
}

/// Gives `text`, which is ASCII, in lower case; values of usual length need no allocation.
fn in_lower_case<T>(text: &str, look: impl FnOnce(&str) -> T) -> T {
    let mut buffer = [0; 128];
    let Some(buffer) = buffer.get_mut(..text.len()) else { return look(&text.to_ascii_lowercase()) };
    buffer.copy_from_slice(text.as_bytes());
    buffer.make_ascii_lowercase();
    look(std::str::from_utf8(buffer).expect("BUG: ASCII is UTF-8"))
}

/// An automaton that is built when it is first needed.
#[derive(Debug)]
struct Automaton {
    hir: Hir,
    built: OnceLock<Regex>,
}

impl Automaton {
    fn new(hir: Hir) -> Self {
        Self { hir, built: OnceLock::new() }
    }

    fn matches(&self, text: &str) -> bool {
        let regex = self.built.get_or_init(|| {
            let whole = [Hir::look(Look::Start), self.hir.clone(), Hir::look(Look::End)];
            build(&Hir::concat(whole.into()), WhichCaptures::None)
        });
        regex.is_match(Input::new(text).anchored(Anchored::Yes))
    }
}

/// Builds an automaton. It has no limit of its own: what it takes is bounded by the cost that an
/// expression may have.
fn build(hir: &Hir, captures: WhichCaptures) -> Regex {
    let config = Regex::config().nfa_size_limit(None).dfa(false).which_captures(captures);
    let built = Regex::builder().configure(config).build_from_hir(hir);
    built.unwrap_or_else(|error| panic!("BUG: an expression within its bounds has no automaton: {error}"))
}

/// What Prometheus compiles for an expression. It is text that is pasted: `a)(b` is one here.
fn anchored(expression: &str) -> String {
    format!("^(?s:{expression})$")
}

/// A regular expression that matches whole texts and tells what its groups took. Cloning shares it.
#[derive(Debug, Clone)]
pub struct GroupRegexp(Arc<Grouped>);

#[derive(Debug)]
struct Grouped {
    regex: Regex,
    groups: Vec<Option<String>>,
}

impl GroupRegexp {
    /// Reads an expression and builds its automaton.
    pub fn new(expression: &str) -> Result<Self, RegexpError> {
        static KNOWN: Recent<GroupRegexp> = Recent::new();
        KNOWN.get(expression, Self::read)
    }

    fn read(expression: &str) -> Result<Self, RegexpError> {
        let parsed = parser::parse(&anchored(expression), true)
            .map_err(|fault| RegexpError::new(expression, &fault))?;
        let regex = build(&parsed.hir, WhichCaptures::All);
        Ok(Self(Arc::new(Grouped { regex, groups: parsed.groups })))
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        self.0.regex.is_match(Input::new(text).anchored(Anchored::Yes))
    }

    /// Writes `template` with what the groups took of `text`, if the whole of it matches: `$1`,
    /// `${1}`, `$name`, `${name}`, and `$$` for a dollar sign. A name is as long as can be; a group
    /// that took nothing, or is not there, is empty; other dollar signs stay.
    pub fn expand(&self, text: &str, template: &str) -> Option<String> {
        let mut captures = self.0.regex.create_captures();
        self.0.regex.captures(Input::new(text).anchored(Anchored::Yes), &mut captures);
        if !captures.is_match() {
            return None;
        }
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some((name, after)) = reference(after) {
                out.push_str(self.group(&captures, name).map_or("", |span| &text[span]));
                rest = after;
            } else {
                out.push('$');
                rest = after;
            }
        }
        out.push_str(rest);
        Some(out)
    }

    /// What the group of that number or name took.
    fn group(&self, captures: &Captures, name: &str) -> Option<std::ops::Range<usize>> {
        let number = name.bytes().all(|b| b.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
        let span = if number {
            name.parse().ok().and_then(|number: usize| captures.get_group(number))
        } else {
            let named = self.0.groups.iter().enumerate().filter(|(_, n)| n.as_deref() == Some(name));
            named.filter_map(|(number, _)| captures.get_group(number)).next()
        };
        span.map(|span| span.range())
    }
}

/// Splits `name` or `{name}` off a template, of which the dollar sign was taken.
pub(crate) fn reference(text: &str) -> Option<(&str, &str)> {
    let bare = text.strip_prefix('{');
    let inner = bare.unwrap_or(text);
    let end = inner.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, after) = inner.split_at(end);
    let after = if bare.is_some() { after.strip_prefix('}')? } else { after };
    (!name.is_empty()).then_some((name, after))
}
