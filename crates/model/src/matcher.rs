//! Label matchers: `=`, `!=`, `=~`, `!~`. Regular expressions are fully anchored and follow
//! RE2's syntax, as in Prometheus.

use std::fmt;

use crate::regexp::{Regexp, RegexpError};

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

/// One condition on one label. An absent label counts as the empty string.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// The label.
    pub name: String,
    /// The comparison.
    pub op: MatchOp,
    /// The value or pattern as written.
    pub value: String,
    pattern: Option<Regexp>,
}

impl Matcher {
    /// Makes a matcher and compiles its pattern.
    pub fn new(op: MatchOp, name: impl Into<String>, value: impl Into<String>) -> Result<Self, RegexpError> {
        let value = value.into();
        let pattern = match op {
            MatchOp::Regex | MatchOp::NotRegex => Some(Regexp::new(&value)?),
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

    /// The finite set of values that alone can match, sorted, when the matcher is `=` or names
    /// them, as `a|b|c` and `x[12]` do; `None` otherwise.
    pub fn exact_values(&self) -> Option<&[String]> {
        match (self.op, &self.pattern) {
            (MatchOp::Equal, _) => Some(std::slice::from_ref(&self.value)),
            (MatchOp::Regex, Some(p)) => p.values(),
            _ => None,
        }
    }

    /// The finite set of values that alone do not match, sorted, when the matcher is the opposite
    /// of one that has [`Self::exact_values`].
    pub fn refused_values(&self) -> Option<&[String]> {
        match (self.op, &self.pattern) {
            (MatchOp::NotEqual, _) => Some(std::slice::from_ref(&self.value)),
            (MatchOp::NotRegex, Some(p)) => p.values(),
            _ => None,
        }
    }

    /// Text with which every value that matches begins; empty when nothing is known.
    pub fn required_prefix(&self) -> &str {
        match (self.op, &self.pattern) {
            (MatchOp::Equal, _) => &self.value,
            (MatchOp::Regex, Some(p)) => p.prefix(),
            _ => "",
        }
    }

    /// What the matcher's regular expression costs, about the states of its automaton; 0 if it has
    /// no expression. Whoever takes many matchers from outside bounds the sum.
    pub fn cost(&self) -> usize {
        self.pattern.as_ref().map_or(0, Regexp::cost)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(op: MatchOp, value: &str) -> Matcher {
        Matcher::new(op, "l", value).expect("valid")
    }

    #[test]
    fn a_bad_pattern_names_itself() {
        let error = Matcher::new(MatchOp::Regex, "a", "x(").expect_err("refused");
        assert_eq!(error.expression, "x(");
        assert_eq!(error.to_string(), "error parsing regexp: missing closing ): `x(`");
    }

    #[test]
    fn values_that_decide_are_told() {
        let exact = |op, v| matcher(op, v).exact_values().map(<[String]>::to_vec);
        let refused = |op, v| matcher(op, v).refused_values().map(<[String]>::to_vec);
        assert_eq!(exact(MatchOp::Regex, "b|a"), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(exact(MatchOp::Regex, "x(1|2)?"), Some(["x", "x1", "x2"].map(str::to_owned).to_vec()));
        assert_eq!(exact(MatchOp::Equal, "b|a"), Some(vec!["b|a".to_owned()]));
        assert_eq!(exact(MatchOp::Regex, "a.*"), None);
        assert_eq!(exact(MatchOp::NotRegex, "a|b"), None);
        assert_eq!(refused(MatchOp::NotRegex, "b|a"), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(refused(MatchOp::NotEqual, "x"), Some(vec!["x".to_owned()]));
        assert_eq!(refused(MatchOp::Equal, "x"), None);
        assert_eq!(matcher(MatchOp::Regex, "ab(c|cd).*").required_prefix(), "abc");
        assert_eq!(matcher(MatchOp::Equal, "ab").required_prefix(), "ab");
        assert_eq!(matcher(MatchOp::NotRegex, "ab.*").required_prefix(), "");
        assert!(matcher(MatchOp::NotEqual, "x").matches_empty());
        assert!(!matcher(MatchOp::NotRegex, "x?").matches_empty());
    }
}
