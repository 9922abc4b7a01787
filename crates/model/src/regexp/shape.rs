//! Finds expressions that need no automaton: those that match one of some texts, and those made
//! of such texts and gaps of any length, as in `a.*|.+b`.

use memchr::memmem::Finder;
use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind, Look};

/// A part of a simple expression.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// At least so many characters, whatever they are.
    Gap(u32),
    /// The beginning of the text.
    Start,
    /// The end of the text.
    End,
}

/// A multiplied alternation may have so many alternatives, and so many bytes and pieces: their
/// number grows with each factor.
const PRODUCT_MAX: usize = 256;
const PRODUCT_BYTES_MAX: usize = 1 << 16;

/// More patterns with gaps are left to an automaton, which tries all of them at once.
const GLOBS_MAX: usize = 32;

/// An expression without automaton.
#[derive(Debug)]
pub(super) struct Shape {
    /// Texts that match, sorted.
    pub values: Vec<String>,
    /// Patterns of which one must match otherwise.
    pub globs: Vec<Glob>,
}

/// Text that begins, contains and ends with given texts.
#[derive(Debug)]
pub(super) struct Glob {
    prefix: String,
    middle: Vec<(u32, Finder<'static>)>,
    last_gap: u32,
    suffix: String,
}

impl Shape {
    /// The shape of `hir`, if it is simple. With `caseless` letters of either case are the same,
    /// and the shape is that of the text in lower case: it holds for ASCII text only.
    pub fn of(hir: &Hir, caseless: bool) -> Option<Self> {
        let mut shape = Self { values: Vec::new(), globs: Vec::new() };
        for sequence in sequences(hir, caseless)? {
            shape.add(&sequence)?;
        }
        shape.values.sort_unstable();
        shape.values.dedup();
        Some(shape)
    }

    fn add(&mut self, sequence: &[Piece]) -> Option<()> {
        let end = sequence.iter().rposition(|p| *p != Piece::End).map_or(0, |i| i + 1);
        let mut glob = Glob { prefix: String::new(), middle: Vec::new(), last_gap: 0, suffix: String::new() };
        // The least length of the gap before this place, if there is one.
        let mut gap: Option<u32> = None;
        let mut text = String::new();
        let mut begun = false;
        for piece in &sequence[..end] {
            match piece {
                Piece::Start if !begun => continue,
                Piece::Start | Piece::End => return None,
                Piece::Text(t) => text.push_str(t),
                Piece::Gap(min) => {
                    if !text.is_empty() || gap.is_none() {
                        match gap.take() {
                            None => glob.prefix = std::mem::take(&mut text),
                            Some(before) => {
                                let finder = Finder::new(&text).into_owned();
                                glob.middle.push((before, finder));
                                text.clear();
                            }
                        }
                    }
                    gap = Some(gap.unwrap_or(0).saturating_add(*min));
                }
            }
            begun = true;
        }
        match gap {
            None => self.values.push(text),
            Some(_) if self.globs.len() == GLOBS_MAX => return None,
            Some(gap) => {
                glob.last_gap = gap;
                glob.suffix = text;
                self.globs.push(glob);
            }
        }
        Some(())
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        self.values.binary_search_by(|v| v.as_str().cmp(text)).is_ok()
            || self.globs.iter().any(|g| g.matches(text))
    }
}

impl Glob {
    fn matches(&self, text: &str) -> bool {
        self.rest(text).is_some()
    }

    /// What the last gap takes. Each text between gaps is taken where it first occurs: what is
    /// left for the others is longest then.
    fn rest<'t>(&self, text: &'t str) -> Option<&'t str> {
        let mut rest = text.strip_prefix(self.prefix.as_str())?.strip_suffix(self.suffix.as_str())?;
        for (gap, needle) in &self.middle {
            rest = skip(rest, *gap)?;
            let found = needle.find(rest.as_bytes())?;
            // Both are UTF-8, so what follows begins with a character.
            rest = rest.get(found + needle.needle().len()..)?;
        }
        skip(rest, self.last_gap)
    }
}

/// `text` without so many characters at its beginning.
fn skip(text: &str, chars: u32) -> Option<&str> {
    let mut rest = text.chars();
    for _ in 0..chars {
        rest.next()?;
    }
    Some(rest.as_str())
}

/// The alternatives of which `hir` is made, if there are few and all are simple.
fn sequences(hir: &Hir, caseless: bool) -> Option<Vec<Vec<Piece>>> {
    let one = |piece| Some(vec![vec![piece]]);
    match hir.kind() {
        HirKind::Empty => Some(vec![Vec::new()]),
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            if caseless && text.bytes().any(|b| b.is_ascii_alphabetic()) {
                return None;
            }
            one(Piece::Text(text.to_owned()))
        }
        HirKind::Look(Look::Start) => one(Piece::Start),
        HirKind::Look(Look::End) => one(Piece::End),
        HirKind::Look(_) => None,
        HirKind::Class(Class::Unicode(class)) if caseless => one(Piece::Text(caseless_letter(class)?.into())),
        HirKind::Class(Class::Unicode(class)) => {
            let chars = class.iter().map(|r| r.len()).sum::<usize>();
            if chars > PRODUCT_MAX {
                return None;
            }
            let all = class.iter().flat_map(|r| r.start()..=r.end());
            Some(all.map(|c| vec![Piece::Text(c.into())]).collect())
        }
        HirKind::Class(Class::Bytes(_)) => None,
        HirKind::Repetition(r) => match (r.min, r.max) {
            (min, None) if is_any(&r.sub) => one(Piece::Gap(min)),
            (0, Some(1)) => {
                let mut all = vec![Vec::new()];
                all.extend(sequences(&r.sub, caseless)?);
                Some(all)
            }
            (min, Some(max)) if min == max && max as usize <= PRODUCT_MAX => {
                let factor = sequences(&r.sub, caseless)?;
                let mut product = vec![Vec::new()];
                for _ in 0..max {
                    product = multiply(product, &factor)?;
                }
                Some(product)
            }
            _ => None,
        },
        HirKind::Capture(capture) => sequences(&capture.sub, caseless),
        HirKind::Concat(parts) => {
            let mut product = vec![Vec::new()];
            for part in parts {
                product = multiply(product, &sequences(part, caseless)?)?;
            }
            Some(product)
        }
        HirKind::Alternation(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(sequences(part, caseless)?);
                if all.len() > PRODUCT_MAX.max(parts.len()) {
                    return None;
                }
            }
            Some(all)
        }
    }
}

/// Each of `left` with each of `right` after it, if these are not too many.
fn multiply(mut left: Vec<Vec<Piece>>, right: &[Vec<Piece>]) -> Option<Vec<Vec<Piece>>> {
    if let [only] = right
        && let [alone] = left.as_mut_slice()
    {
        alone.extend_from_slice(only);
        return Some(left);
    }
    let size = |all: &[Vec<Piece>]| all.iter().flatten().map(Piece::bytes).sum::<usize>();
    let bytes =
        size(&left).saturating_mul(right.len()).saturating_add(size(right).saturating_mul(left.len()));
    let product = left.len().saturating_mul(right.len());
    if bytes > PRODUCT_BYTES_MAX || (product > PRODUCT_MAX && left.len() > 1 && right.len() > 1) {
        return None;
    }
    let pairs = left.iter().flat_map(|l| right.iter().map(move |r| [l.as_slice(), r].concat()));
    Some(pairs.collect())
}

impl Piece {
    /// About the memory it takes.
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => 8 + text.len(),
            _ => 8,
        }
    }
}

fn is_any(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Class(Class::Unicode(c)) => {
            matches!(c.ranges(), [r] if r.start() == '\0' && r.end() == char::MAX)
        }
        HirKind::Capture(capture) => is_any(&capture.sub),
        _ => false,
    }
}

/// The small letter, if the class has it and the capital one and no other of ASCII.
fn caseless_letter(class: &ClassUnicode) -> Option<char> {
    let mut ascii = class.iter().flat_map(|r| r.start()..=r.end()).take(4).filter(char::is_ascii);
    let (capital, small) = (ascii.next()?, ascii.next()?);
    let pair =
        capital.is_ascii_uppercase() && small == capital.to_ascii_lowercase() && ascii.next().is_none();
    // Of the others only those may belong to it that are the letter in another form.
    let others = class.iter().flat_map(|r| r.start()..=r.end()).take(4).count() <= 3;
    (pair && others).then_some(small)
}

/// Text with which each match begins.
pub(super) fn prefix(hir: &Hir) -> String {
    fn grow(hir: &Hir, out: &mut String) -> bool {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(Look::Start) => true,
            HirKind::Literal(literal) => std::str::from_utf8(&literal.0).is_ok_and(|text| {
                out.push_str(text);
                true
            }),
            HirKind::Capture(capture) => grow(&capture.sub, out),
            HirKind::Concat(parts) => parts.iter().all(|part| grow(part, out)),
            HirKind::Repetition(r) if r.min > 0 => {
                grow(&r.sub, out);
                false
            }
            HirKind::Alternation(parts) => {
                let mut prefixes = parts.iter().map(prefix);
                let mut common = prefixes.next().unwrap_or_default();
                for other in prefixes {
                    let same = common.chars().zip(other.chars()).take_while(|(a, b)| a == b);
                    common.truncate(same.map(|(c, _)| c.len_utf8()).sum());
                }
                out.push_str(&common);
                false
            }
            _ => false,
        }
    }
    let mut out = String::new();
    grow(hir, &mut out);
    out
}
