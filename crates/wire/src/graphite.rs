//! Graphite's plaintext protocol: `path;tag=value 1.5 1700000000`, a sample a line.

/// Longest line.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// A sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Line<'a> {
    /// The name of the metric.
    pub path: &'a str,
    /// Names and values of tags.
    pub tags: Vec<(&'a str, &'a str)>,
    /// The value.
    pub value: f64,
    /// Milliseconds since the Unix epoch; `None` for now.
    pub time_ms: Option<i64>,
}

impl<'a> Line<'a> {
    /// Reads a line without its end; `None` where it is empty, or an error that says what is wrong.
    pub fn read(line: &'a str) -> Result<Option<Self>, &'static str> {
        if line.len() > LINE_BYTES_MAX {
            return Err("it is too long");
        }
        let mut words = line.split_ascii_whitespace();
        let Some(name) = words.next() else { return Ok(None) };
        let value =
            words.next().ok_or("it has no value")?.parse().map_err(|_| "its value is not a number")?;
        let time_ms = match words.next() {
            None | Some("-1" | "N") => None,
            Some(text) => {
                let seconds: f64 = text.parse().map_err(|_| "its time is not a number")?;
                // A time beyond what can be told is refused by the store.
                Some((seconds * 1000.0).round() as i64)
            }
        };
        if words.next().is_some() {
            return Err("something stands behind its time");
        }
        let mut parts = name.split(';');
        let path = parts.next().unwrap_or_default();
        if path.is_empty() {
            return Err("it has no name");
        }
        let tags = parts
            .map(|tag| {
                tag.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("a tag has no name or value")
            })
            .collect::<Result<_, _>>()?;
        Ok(Some(Self { path, tags, value, time_ms }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_read() {
        for (line, expected) in [
            ("a.b 1.5 1700000000", ("a.b", vec![], 1.5, Some(1_700_000_000_000))),
            ("a.b -2e3 1700000000.25\r", ("a.b", vec![], -2000.0, Some(1_700_000_000_250))),
            (" a;x=1;y=  4\t-1", ("a", vec![("x", "1"), ("y", "")], 4.0, None)),
            ("a 4", ("a", vec![], 4.0, None)),
            ("a 4 N", ("a", vec![], 4.0, None)),
        ] {
            let (path, tags, value, time_ms) = expected;
            assert_eq!(Line::read(line), Ok(Some(Line { path, tags, value, time_ms })), "{line:?}");
        }
        assert_eq!(Line::read("  \r"), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (line, reason) in [
            ("a", "no value"),
            ("a x", "not a number"),
            ("a 1 x", "time is not a number"),
            ("a 1 2 3", "behind its time"),
            (";x=1 1 2", "no name"),
            ("a;x 1 2", "a tag"),
            ("a;=1 1 2", "a tag"),
        ] {
            let told = Line::read(line).unwrap_err();
            assert!(told.contains(reason), "{line}: {told}");
        }
        assert!(Line::read(&"x".repeat(LINE_BYTES_MAX + 1)).is_err());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(line in "\\PC{0,40}") {
            let _ = Line::read(&line);
        }
    }
}
