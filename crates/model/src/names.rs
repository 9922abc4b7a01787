//! Which label and metric names are taken: any text, or only the letters of old.

/// A scheme by which names are checked. Whatever the scheme, a name is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NameScheme {
    /// Any text in UTF-8.
    #[default]
    Utf8,
    /// ASCII letters, digits and underscores, not beginning with a digit; metric names may have
    /// colons too.
    Legacy,
}

impl NameScheme {
    /// The scheme's name in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "utf8",
            Self::Legacy => "legacy",
        }
    }

    /// Whether a label can be called so.
    pub fn takes_label(self, name: &str) -> bool {
        match self {
            Self::Utf8 => !name.is_empty(),
            Self::Legacy => is_legacy(name, false),
        }
    }

    /// Whether a metric can be called so.
    pub fn takes_metric(self, name: &str) -> bool {
        match self {
            Self::Utf8 => !name.is_empty(),
            Self::Legacy => is_legacy(name, true),
        }
    }
}

fn is_legacy(name: &str, colon: bool) -> bool {
    !name.is_empty()
        && name.bytes().enumerate().all(|(i, b)| {
            b.is_ascii_alphabetic() || b == b'_' || (colon && b == b':') || (i > 0 && b.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_by_the_scheme() {
        for (name, legacy_label, legacy_metric, utf8) in [
            ("job", true, true, true),
            ("_a9", true, true, true),
            ("a:b", false, true, true),
            ("9a", false, false, true),
            ("http.status", false, false, true),
            ("測試", false, false, true),
            ("", false, false, false),
        ] {
            assert_eq!(NameScheme::Legacy.takes_label(name), legacy_label, "{name}");
            assert_eq!(NameScheme::Legacy.takes_metric(name), legacy_metric, "{name}");
            assert_eq!(NameScheme::Utf8.takes_label(name), utf8, "{name}");
            assert_eq!(NameScheme::Utf8.takes_metric(name), utf8, "{name}");
        }
    }
}
