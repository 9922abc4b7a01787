//! How names that are not of the classic form are written for those who know only that form: the
//! parameter `escaping` of `Accept` and `Content-Type`.

use std::{borrow::Cow, fmt::Write};

use super::is_classic;

/// A way to write names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escaping {
    /// As they are.
    AllowUtf8,
    /// Each character that is not allowed becomes an underscore.
    Underscores,
    /// The same, but dots and underscores stay known.
    Dots,
    /// Each character that is not allowed becomes its number, after `U__`.
    Values,
}

impl Escaping {
    /// The way of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        match name {
            "allow-utf-8" => Some(Self::AllowUtf8),
            "underscores" => Some(Self::Underscores),
            "dots" => Some(Self::Dots),
            "values" => Some(Self::Values),
            _ => None,
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }

    /// A name of a metric or a label; classic ones stay as they are.
    pub fn escape(self, name: &str) -> Cow<'_, str> {
        if self == Self::AllowUtf8 || name.is_empty() || is_classic(name, true) {
            return Cow::Borrowed(name);
        }
        let mut out = String::with_capacity(name.len() + 8);
        if self == Self::Values {
            out.push_str("U__");
        }
        for (i, c) in name.char_indices() {
            let is_allowed = c.is_ascii_alphabetic() || c == '_' || c == ':' || (i > 0 && c.is_ascii_digit());
            match (self, c) {
                (Self::Dots | Self::Values, '_') => out.push_str("__"),
                (Self::Dots, '.') => out.push_str("_dot_"),
                _ if is_allowed => out.push(c),
                (Self::Dots, _) => out.push_str("__"),
                // Writing to a text cannot fail.
                (Self::Values, _) => drop(write!(out, "_{:x}_", u32::from(c))),
                _ => out.push('_'),
            }
        }
        Cow::Owned(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_prometheus_writes_them() {
        for (name, underscores, dots, values) in [
            ("up:sum_1", "up:sum_1", "up:sum_1", "up:sum_1"),
            ("http.status_code", "http_status_code", "http_dot_status__code", "U__http_2e_status__code"),
            ("1a", "_a", "__a", "U___31_a"),
            ("é a", "__a", "____a", "U___e9__20_a"),
            ("", "", "", ""),
        ] {
            let escaped = [Escaping::Underscores, Escaping::Dots, Escaping::Values].map(|e| e.escape(name));
            assert_eq!(escaped, [underscores, dots, values], "{name}");
            assert_eq!(Escaping::AllowUtf8.escape(name), name);
        }
        for scheme in [Escaping::AllowUtf8, Escaping::Underscores, Escaping::Dots, Escaping::Values] {
            assert_eq!(Escaping::of_name(scheme.as_str()), Some(scheme));
        }
    }
}
