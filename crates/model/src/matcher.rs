//! Label matchers: `=`, `!=`, `=~`, `!~`. Regular expressions are fully anchored and follow
//! RE2's syntax, as in Prometheus.

use std::{fmt, sync::Arc};

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// The operator as written in a selector.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// A matcher whose pattern cannot be used.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("invalid regular expression {pattern:?}: {reason}")]
pub struct MatcherError {
    /// The pattern as given.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

/// One condition on one label. An absent label counts as the empty string.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// The label.
    pub name: String,
    /// The comparison.
    pub op: MatchOp,
    /// The value or pattern as written.
    pub value: String,
    pattern: Option<Pattern>,
}

impl Matcher {
    /// Makes a matcher and compiles its pattern.
    pub fn new(op: MatchOp, name: impl Into<String>, value: impl Into<String>) -> Result<Self, MatcherError> {
        let value = value.into();
        let pattern = match op {
            MatchOp::Regex | MatchOp::NotRegex => Some(Pattern::new(&value)?),
            MatchOp::Equal | MatchOp::NotEqual => None,
        };
        Ok(Self { name: name.into(), op, value, pattern })
    }

    /// `name="value"`; cannot fail.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), pattern: None }
    }

    /// Whether a label value (empty when the label is absent) satisfies the matcher.
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.pattern) {
            (MatchOp::Equal, _) => self.value == value,
            (MatchOp::NotEqual, _) => self.value != value,
            (MatchOp::Regex, Some(p)) => p.matches(value),
            (MatchOp::NotRegex, Some(p)) => !p.matches(value),
            (_, None) => unreachable!("BUG: a regular-expression matcher without pattern"),
        }
    }

    /// Whether a series without the label satisfies the matcher.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    /// The finite set of values that alone can match, when the matcher is `=` or a plain
    /// alternation such as `a|b|c`; `None` otherwise.
    pub fn exact_values(&self) -> Option<&[String]> {
        match (self.op, &self.pattern) {
            (MatchOp::Equal, _) => Some(std::slice::from_ref(&self.value)),
            (MatchOp::Regex, Some(p)) => p.literals(),
            _ => None,
        }
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.op == other.op && self.value == other.value
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op.as_str(), self.value)
    }
}

/// A fully anchored regular expression in RE2's syntax.
#[derive(Debug, Clone)]
pub struct Pattern(Arc<Compiled>);

#[derive(Debug)]
enum Compiled {
    /// A plain alternation of literals, sorted.
    Literals(Vec<String>),
    /// `.*`, which takes line breaks too.
    Anything,
    /// `.+`
    AnythingButEmpty,
    Regex(regex::Regex),
}

/// Memory that one compiled pattern may take; a larger one is refused.
const PATTERN_BYTES_MAX: usize = 4 << 20;

impl Pattern {
    /// Compiles a pattern.
    pub fn new(pattern: &str) -> Result<Self, MatcherError> {
        let compiled = match pattern {
            ".*" => Compiled::Anything,
            ".+" => Compiled::AnythingButEmpty,
            p => match plain_alternatives(p) {
                Some(literals) => Compiled::Literals(literals),
                None => Compiled::Regex(compile_anchored(p)?),
            },
        };
        Ok(Self(Arc::new(compiled)))
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        match &*self.0 {
            Compiled::Literals(values) => values.binary_search_by(|v| v.as_str().cmp(text)).is_ok(),
            Compiled::Anything => true,
            Compiled::AnythingButEmpty => !text.is_empty(),
            Compiled::Regex(r) => r.is_match(text),
        }
    }

    fn literals(&self) -> Option<&[String]> {
        match &*self.0 {
            Compiled::Literals(values) => Some(values),
            _ => None,
        }
    }
}

/// `a|b|c` without any special character, as sorted literals.
fn plain_alternatives(pattern: &str) -> Option<Vec<String>> {
    if pattern.chars().any(|c| c != '|' && regex_syntax::is_meta_character(c)) {
        return None;
    }
    let mut values: Vec<String> = pattern.split('|').map(str::to_owned).collect();
    values.sort_unstable();
    values.dedup();
    Some(values)
}

/// Compiles a fully anchored pattern in RE2's syntax, for those who need its groups. As in
/// Prometheus the `s` flag is on (`.` takes line breaks too).
pub fn compile_anchored(pattern: &str) -> Result<regex::Regex, MatcherError> {
    let error = |reason: String| MatcherError { pattern: pattern.to_owned(), reason };
    let translated = translate(pattern);
    regex::RegexBuilder::new(&format!("^(?s:{translated})$")).size_limit(PATTERN_BYTES_MAX).build().map_err(
        |e| error(e.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()),
    )
}

/// Turns RE2's syntax into that of the `regex` crate where they differ: `\Q…\E` quotes
/// literally, `\d`, `\s`, `\w` and their opposites mean ASCII, `\C` is refused by both.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        if c != '\\' {
            match c {
                '[' if in_class && !rest.starts_with("[:") => out.push('\\'),
                '[' => in_class = true,
                ']' => in_class = false,
                '&' | '~' | '-' if in_class && rest[1..].starts_with(c) => out.push('\\'),
                _ => {}
            }
            // A class such as [[:alpha:]] is copied whole, so its inner `]` does not end the outer class.
            if in_class
                && rest.starts_with("[:")
                && let Some(end) = rest.find(":]")
            {
                out.push_str(&rest[..end + 2]);
                rest = &rest[end + 2..];
                continue;
            }
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let Some(escaped) = rest[1..].chars().next() else {
            out.push('\\');
            break;
        };
        rest = &rest[1 + escaped.len_utf8()..];
        match escaped {
            'Q' => {
                let (quoted, tail) = rest.split_once("\\E").unwrap_or((rest, ""));
                out.push_str(&regex_syntax::escape(quoted));
                rest = tail;
            }
            'E' => {}
            'd' | 'D' => out.push_str(ascii_class(in_class, "0-9", escaped)),
            's' | 'S' => out.push_str(ascii_class(in_class, "\\t\\n\\f\\r ", escaped)),
            'w' | 'W' => out.push_str(ascii_class(in_class, "0-9A-Za-z_", escaped)),
            'b' | 'B' if !in_class => out.push_str(if escaped == 'b' { "(?-u:\\b)" } else { "\\B" }),
            other => {
                out.push('\\');
                out.push(other);
            }
        }
    }
    out
}

fn ascii_class(in_class: bool, set: &'static str, escaped: char) -> &'static str {
    match (escaped, in_class, set) {
        ('d', true, s) | ('w', true, s) | ('s', true, s) => s,
        ('d', ..) => "[0-9]",
        ('D', ..) => "[^0-9]",
        ('s', ..) => "[\\t\\n\\f\\r ]",
        ('S', ..) => "[^\\t\\n\\f\\r ]",
        ('w', ..) => "[0-9A-Za-z_]",
        _ => "[^0-9A-Za-z_]",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_anchored_and_follow_re2() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a|bc", "bc", true),
            ("a|bc", "abc", false),
            ("a|", "", true),
            (".*", "x\ny", true),
            ("x.y", "x\ny", true),
            (".+", "", false),
            ("", "", true),
            ("a.c", "abc", true),
            (r"\Qa.c\E.*", "a.cd", true),
            (r"\Qa.c\E.*", "abcd", false),
            (r"\d+", "12", true),
            (r"\d+", "١٢", false),
            (r"[\d.]+", "1.2", true),
            (r"[^\W]+", "ab_1", true),
            (r"[[:alpha:]]+\S", "ab!", true),
            (r"[a[b]+", "a[b", true),
            ("(?i)AbC", "aBc", true),
        ] {
            let p = Pattern::new(pattern).expect(pattern);
            assert_eq!(p.matches(text), expected, "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn a_bad_pattern_names_itself() {
        let error = Matcher::new(MatchOp::Regex, "a", "x(").expect_err("refused");
        assert_eq!(error.pattern, "x(");
        assert!(error.reason.contains("unclosed group"), "{error}");
    }

    #[test]
    fn exact_values_are_those_of_plain_alternations() {
        let m = |op, v: &str| Matcher::new(op, "l", v).expect("valid");
        assert_eq!(m(MatchOp::Regex, "b|a").exact_values(), Some(&["a".to_owned(), "b".to_owned()][..]));
        assert_eq!(m(MatchOp::Regex, "a.*").exact_values(), None);
        assert_eq!(m(MatchOp::NotRegex, "a|b").exact_values(), None);
        assert!(m(MatchOp::NotEqual, "x").matches_empty());
    }
}
