//! Reads a regular expression in RE2's syntax into the terms of `regex-syntax`.
//!
//! The loop keeps its own stack, so that no text can exhaust the thread's; what an expression
//! may cost is bounded while it is read. A mistake is told in the words of Go's package, which
//! are those that users of Prometheus know.

use regex_syntax::hir::{Capture, Class, ClassUnicode, Dot, Hir, Look, Repetition};

use super::class::{self, Escape};

/// What an expression may cost, about the states of its automaton: more than a query's longest
/// list of alternatives.
pub(super) const COST_MAX: usize = 1_200_000;

/// What all parts together may take while an expression is read.
const SPENT_MAX: usize = 2_000_000;

/// What a part takes while it is read, in addition.
const PART_COST: usize = 8;

/// What it takes to look up a Unicode class.
const LOOKUP_COST: usize = 128;

/// Nodes on the way from the root to a leaf.
pub(super) const HEIGHT_MAX: u32 = 1000;

/// How often anything may be repeated, also by repetitions of repetitions.
const REPEAT_MAX: u32 = 1000;

/// What is wrong with an expression: a sentence, and the part that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub what: &'static str,
    pub part: String,
}

pub(super) type Parse<T> = Result<T, Fault>;

pub(super) fn fault<T>(what: &'static str, part: &str) -> Parse<T> {
    Err(Fault { what, part: part.to_owned() })
}

/// An expression that was read.
#[derive(Debug)]
pub(super) struct Parsed {
    pub hir: Hir,
    /// About the states of its automaton.
    pub cost: usize,
    /// Nodes on the way from the root to the farthest leaf.
    pub height: u32,
    /// Names of the groups; the first is that of the whole.
    pub groups: Vec<Option<String>>,
}

/// Reads `expression`. Without `captures` the groups only group.
pub(super) fn parse(expression: &str, captures: bool) -> Parse<Parsed> {
    let parser = Parser {
        whole: expression,
        rest: expression,
        captures,
        flags: Flags { fold: false, lines: false, dot_newline: true, lazy: false },
        group: Group::default(),
        open: Vec::new(),
        groups: vec![None],
        spent: 0,
        after_names: expression.rfind(":]").map_or(expression.len(), |end| expression.len() - end - 2),
    };
    parser.run()
}

#[derive(Debug, Clone, Copy)]
struct Flags {
    /// `i`
    fold: bool,
    /// `m`
    lines: bool,
    /// `s`
    dot_newline: bool,
    /// `U`
    lazy: bool,
}

/// A part that was read, with what must be known of it to judge what it is part of.
struct Item {
    hir: Hir,
    cost: usize,
    height: u32,
    /// How often its innermost part is repeated.
    repeats: u32,
}

/// What has been read since the last open parenthesis.
#[derive(Default)]
struct Group {
    alternatives: Vec<Item>,
    sequence: Vec<Item>,
    /// Literal text at the end of `sequence`.
    literal: String,
}

struct Open {
    outer: Group,
    flags: Flags,
    /// Number of the group, if it captures.
    capture: Option<u32>,
}

struct Parser<'e> {
    whole: &'e str,
    rest: &'e str,
    captures: bool,
    flags: Flags,
    group: Group,
    open: Vec<Open>,
    groups: Vec<Option<String>>,
    /// Cost of all that was read, before repetition.
    spent: usize,
    /// How many bytes are left behind the last `:]`, which ends a class's name.
    after_names: usize,
}

impl<'e> Parser<'e> {
    fn run(mut self) -> Parse<Parsed> {
        // The repetition before this place, with all that follows it.
        let mut repetition = "";
        while let Some(c) = self.rest.chars().next() {
            let before = self.rest;
            let mut repeats = false;
            match c {
                '(' if before.starts_with("(?") => self.flags_or_name()?,
                '(' => {
                    self.rest = &before[1..];
                    let number = self.new_group(None);
                    self.open_group(Some(number))?;
                }
                ')' => self.close_group()?,
                '|' => {
                    self.rest = &before[1..];
                    let sequence = self.group.take_sequence();
                    self.group.alternatives.push(sequence);
                    self.spend(PART_COST)?;
                }
                '^' => self.push_look(if self.flags.lines { Look::StartLF } else { Look::Start }, 1)?,
                '$' => self.push_look(if self.flags.lines { Look::EndLF } else { Look::End }, 1)?,
                '.' => {
                    self.rest = &before[1..];
                    let dot = if self.flags.dot_newline { Dot::AnyChar } else { Dot::AnyCharExceptLF };
                    self.push(Hir::dot(dot), 12)?;
                }
                '[' => self.class()?,
                '*' | '+' | '?' => {
                    self.rest = &before[1..];
                    let (min, max) = match c {
                        '*' => (0, None),
                        '+' => (1, None),
                        _ => (0, Some(1)),
                    };
                    self.repeat(min, max, false, before, repetition)?;
                    repeats = true;
                }
                '{' => match counts(before) {
                    None => self.take_literal(c)?,
                    Some((counts, after)) => {
                        self.rest = after;
                        let Some((min, max)) = counts else {
                            return fault("invalid repeat count", cut(before, after));
                        };
                        self.repeat(min, max, true, before, repetition)?;
                        repeats = true;
                    }
                },
                '\\' => self.escape()?,
                _ => self.take_literal(c)?,
            }
            repetition = if repeats { before } else { "" };
        }
        if !self.open.is_empty() {
            return fault("missing closing )", self.whole);
        }
        let all = std::mem::take(&mut self.group).finish();
        self.judge(&all)?;
        Ok(Parsed { hir: all.hir, cost: all.cost, height: all.height, groups: self.groups })
    }

    fn take_literal(&mut self, c: char) -> Parse<()> {
        self.rest = &self.rest[c.len_utf8()..];
        self.literal(c)
    }

    fn literal(&mut self, c: char) -> Parse<()> {
        if self.flags.fold
            && let Some(class) = class::folded(c)
        {
            return self.push_class(class);
        }
        self.group.literal.push(c);
        self.spend(c.len_utf8())
    }

    fn push_class(&mut self, class: ClassUnicode) -> Parse<()> {
        let cost = class::cost(&class);
        self.push(Hir::class(Class::Unicode(class)), cost)
    }

    fn push_look(&mut self, look: Look, bytes: usize) -> Parse<()> {
        self.rest = &self.rest[bytes..];
        self.push(Hir::look(look), 1)
    }

    fn push(&mut self, hir: Hir, cost: usize) -> Parse<()> {
        self.group.flush();
        self.group.sequence.push(Item { hir, cost, height: 1, repeats: 1 });
        self.spend(cost + PART_COST)
    }

    fn spend(&mut self, cost: usize) -> Parse<()> {
        self.spent += cost;
        if self.spent > SPENT_MAX { fault("expression too large", self.whole) } else { Ok(()) }
    }

    fn judge(&self, item: &Item) -> Parse<()> {
        if item.height > HEIGHT_MAX {
            return fault("expression nests too deeply", self.whole);
        }
        if item.cost > COST_MAX {
            return fault("expression too large", self.whole);
        }
        Ok(())
    }

    fn new_group(&mut self, name: Option<String>) -> u32 {
        self.groups.push(name);
        u32::try_from(self.groups.len() - 1).unwrap_or(u32::MAX)
    }

    fn open_group(&mut self, capture: Option<u32>) -> Parse<()> {
        let outer = std::mem::take(&mut self.group);
        self.open.push(Open { outer, flags: self.flags, capture });
        self.spend(PART_COST)
    }

    fn close_group(&mut self) -> Parse<()> {
        let Some(Open { outer, flags, capture }) = self.open.pop() else {
            return fault("unexpected )", self.whole);
        };
        self.rest = &self.rest[1..];
        let mut inner = std::mem::replace(&mut self.group, outer).finish();
        self.flags = flags;
        if let Some(index) = capture {
            inner.height += 1;
            inner.cost += 2;
            if self.captures {
                // Names may occur twice, so they are kept apart.
                inner.hir = Hir::capture(Capture { index, name: None, sub: Box::new(inner.hir) });
            }
        }
        self.judge(&inner)?;
        self.group.flush();
        self.group.sequence.push(inner);
        // An empty group takes memory, too.
        self.spend(PART_COST)
    }

    /// Repeats what was read last. `before` begins with the repetition, `previous` with the one
    /// that ended right there, if one did.
    fn repeat(
        &mut self,
        min: u32,
        max: Option<u32>,
        counted: bool,
        before: &'e str,
        previous: &str,
    ) -> Parse<()> {
        let mut lazy = self.flags.lazy;
        if let Some(after) = self.rest.strip_prefix('?') {
            self.rest = after;
            lazy = !lazy;
        }
        if !previous.is_empty() {
            return fault("invalid nested repetition operator", cut(previous, self.rest));
        }
        let Some(item) = self.group.pop() else {
            return fault("missing argument to repetition operator", cut(before, self.rest));
        };
        let times = max.unwrap_or(min);
        let repeats = if counted && times > 0 { item.repeats.saturating_mul(times) } else { item.repeats };
        if repeats > REPEAT_MAX && times >= 2 {
            return fault("invalid repeat count", cut(before, self.rest));
        }
        let copies = max.unwrap_or(min + 1).max(1) as usize;
        let repeated = Item {
            cost: item.cost.saturating_add(1).saturating_mul(copies),
            height: item.height + 1,
            repeats: if counted && times == 0 { 1 } else { repeats },
            hir: Hir::repetition(Repetition { min, max, greedy: !lazy, sub: Box::new(item.hir) }),
        };
        self.judge(&repeated)?;
        self.group.sequence.push(repeated);
        self.spend(PART_COST)
    }

    /// `(?i)`, `(?i:`, `(?P<name>` and `(?<name>`.
    fn flags_or_name(&mut self) -> Parse<()> {
        let start = self.rest;
        let named = start.strip_prefix("(?P<").or_else(|| start.strip_prefix("(?<"));
        if let Some(named) = named.filter(|n| !n.is_empty()) {
            let Some((name, after)) = named.split_once('>') else {
                return fault("invalid named capture", start);
            };
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return fault("invalid named capture", cut(start, after));
            }
            self.rest = after;
            let number = self.new_group(Some(name.to_owned()));
            return self.open_group(Some(number));
        }
        let mut flags = self.flags;
        let mut on = true;
        let mut any = false;
        let mut rest = start[2..].chars();
        while let Some(c) = rest.next() {
            match c {
                'i' => flags.fold = on,
                'm' => flags.lines = on,
                's' => flags.dot_newline = on,
                'U' => flags.lazy = on,
                '-' if on => {
                    on = false;
                    any = false;
                    continue;
                }
                ':' | ')' if on || any => {
                    self.rest = rest.as_str();
                    if c == ':' {
                        self.open_group(None)?;
                    }
                    self.flags = flags;
                    return self.spend(1);
                }
                _ => break,
            }
            any = true;
        }
        fault("invalid or unsupported Perl syntax", cut(start, rest.as_str()))
    }

    fn escape(&mut self) -> Parse<()> {
        let start = self.rest;
        match start[1..].chars().next() {
            Some('A') => self.push_look(Look::Start, 2),
            Some('z') => self.push_look(Look::End, 2),
            Some('b') => self.push_look(Look::WordAscii, 2),
            Some('B') => self.push_look(Look::WordAsciiNegate, 2),
            Some('Q') => {
                let (quoted, after) = start[2..].split_once("\\E").unwrap_or((&start[2..], ""));
                self.rest = after;
                quoted.chars().try_for_each(|c| self.literal(c))
            }
            _ => {
                if start.starts_with("\\p") || start.starts_with("\\P") {
                    self.spend(LOOKUP_COST)?;
                }
                let (escape, after) = class::escape(start)?;
                self.rest = after;
                match escape {
                    Escape::Char(Some(c)) => self.literal(c),
                    // A surrogate, which no text contains.
                    Escape::Char(None) => self.push(Hir::fail(), 1),
                    Escape::Class(group) => self.push_class(group.class(self.flags.fold)),
                }
            }
        }
    }

    fn class(&mut self) -> Parse<()> {
        let (class, after) = class::bracketed(self.rest, self.flags.fold, self.after_names)?;
        self.rest = after;
        self.push_class(class)
    }
}

impl Group {
    /// Moves the literal text to the other items.
    fn flush(&mut self) {
        if !self.literal.is_empty() {
            let item = literal_item(&self.literal);
            self.sequence.push(item);
            self.literal.clear();
        }
    }

    /// Takes what a repetition repeats: the last item, or the last character of literal text.
    fn pop(&mut self) -> Option<Item> {
        match self.literal.pop() {
            None => self.sequence.pop(),
            Some(last) => {
                self.flush();
                Some(literal_item(last.encode_utf8(&mut [0; 4])))
            }
        }
    }

    fn take_sequence(&mut self) -> Item {
        self.flush();
        combine(std::mem::take(&mut self.sequence), Hir::concat)
    }

    fn finish(mut self) -> Item {
        let last = self.take_sequence();
        self.alternatives.push(last);
        combine(self.alternatives, Hir::alternation)
    }
}

fn literal_item(text: &str) -> Item {
    Item { hir: Hir::literal(text.as_bytes()), cost: text.len(), height: 1, repeats: 1 }
}

/// Several items as one; one item stays as it is.
fn combine(items: Vec<Item>, make: fn(Vec<Hir>) -> Hir) -> Item {
    let several = u32::from(items.len() > 1);
    let mut all = Item { hir: Hir::empty(), cost: 1, height: 1, repeats: 1 };
    let mut parts = Vec::with_capacity(items.len());
    for item in items {
        all.cost = all.cost.saturating_add(item.cost);
        all.height = all.height.max(item.height + several);
        all.repeats = all.repeats.max(item.repeats);
        parts.push(item.hir);
    }
    all.hir = make(parts);
    all
}

/// What `text` has before `after`, which is its end.
pub(super) fn cut<'t>(text: &'t str, after: &str) -> &'t str {
    &text[..text.len() - after.len()]
}

/// Reads `{2}`, `{2,}` or `{2,3}`, and what follows it; anything else is literal text. The counts
/// are missing when they are out of bounds.
#[expect(clippy::type_complexity, reason = "counts that may be missing, and the text after them")]
fn counts(text: &str) -> Option<(Option<(u32, Option<u32>)>, &str)> {
    let (min, rest) = count(text.strip_prefix('{')?)?;
    let (max, rest) = match rest.strip_prefix(',') {
        None => (Some(min), rest),
        Some(rest) if rest.starts_with('}') => (None, rest),
        Some(rest) => {
            let (max, rest) = count(rest)?;
            (Some(max), rest)
        }
    };
    let after = rest.strip_prefix('}')?;
    let sound = min <= REPEAT_MAX && max.is_none_or(|max| min <= max && max <= REPEAT_MAX);
    Some((sound.then_some((min, max)), after))
}

/// Reads a number without leading zeros.
fn count(text: &str) -> Option<(u32, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || (digits > 1 && text.starts_with('0')) {
        return None;
    }
    Some((text[..digits].parse().unwrap_or(u32::MAX), &text[digits..]))
}
