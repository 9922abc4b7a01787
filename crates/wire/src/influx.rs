//! InfluxDB's line protocol: `measurement,tag=value field=1,other=2i 1700000000000000000`.
//!
//! Lines are read one by one, in place where nothing is escaped. A line that is none costs nothing but
//! itself.

use std::borrow::Cow;

/// Longest line.
pub const LINE_BYTES_MAX: usize = 256 << 10;

/// Lines; iterates over those that hold something.
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

/// Some values of one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Line<'a> {
    /// What was measured; may be empty.
    pub measurement: Cow<'a, str>,
    /// Names and values.
    pub tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Names and values.
    pub fields: Vec<(Cow<'a, str>, FieldValue<'a>)>,
    /// The time, in units that the line does not tell.
    pub time: Option<i64>,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue<'a> {
    /// A number; yes and no are 1 and 0.
    Number(f64),
    /// A text.
    Text(Cow<'a, str>),
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineError {
    /// Which line, from 1.
    pub line: usize,
    /// What.
    pub reason: &'static str,
}

impl std::fmt::Display for LineError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for LineError {}

impl<'a> Lines<'a> {
    /// The lines of a text.
    pub fn new(text: &'a str) -> Self {
        Self { rest: text, number: 0 }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<Line<'a>, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            self.number += 1;
            let number = self.number;
            let end = line_end(self.rest);
            let (line, rest) = self.rest.split_at(end);
            self.rest = rest.strip_prefix('\n').unwrap_or(rest);
            self.number += line.matches('\n').count();
            let line = line.strip_suffix('\r').unwrap_or(line).trim_start_matches(' ');
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let read = if line.len() > LINE_BYTES_MAX { Err("it is too long") } else { read_line(line) };
            return Some(read.map_err(|reason| LineError { line: number, reason }));
        }
        None
    }
}

/// Where a line ends: a text in quotes, which only the value of a field can be, may hold line ends.
fn line_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    if bytes.first() == Some(&b'#') {
        return memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    }
    let (mut at, mut in_text, mut in_fields) = (0, false, false);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if bytes.get(at + 1).is_some_and(|b| *b != b'\n') => at += 1,
            b' ' => in_fields = true,
            b'"' if in_fields && (in_text || bytes[at - 1] == b'=') => in_text = !in_text,
            b'\n' if !in_text => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

fn read_line(line: &str) -> Result<Line<'_>, &'static str> {
    let (series, rest) = split_at_plain(line, b' ').ok_or("it has no fields")?;
    let (measurement, mut tag_text) = match split_at_plain(series, b',') {
        Some((measurement, tags)) => (measurement, Some(tags)),
        None => (series, None),
    };
    let mut tags = Vec::new();
    while let Some(text) = tag_text {
        let (tag, next) = match split_at_plain(text, b',') {
            Some((tag, next)) => (tag, Some(next)),
            None => (text, None),
        };
        tag_text = next;
        let (name, value) = split_at_plain(tag, b'=').ok_or("a tag has no value")?;
        if name.is_empty() {
            return Err("a tag has no name");
        }
        tags.push((plain(name), plain(value)));
    }
    let mut rest = rest.trim_start_matches(' ');
    let mut fields = Vec::new();
    loop {
        let (name, after) = split_at_plain(rest, b'=').ok_or("a field has no value")?;
        if name.is_empty() {
            return Err("a field has no name");
        }
        let (value, after) = read_value(after)?;
        fields.push((plain(name), value));
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => {
                rest = after;
                break;
            }
        }
    }
    let time = match rest.trim_matches(' ') {
        "" => None,
        text => Some(text.parse().map_err(|_| "its time is not a whole number")?),
    };
    Ok(Line { measurement: plain(measurement), tags, fields, time })
}

/// The value at the beginning, and what stands behind it.
fn read_value(text: &str) -> Result<(FieldValue<'_>, &str), &'static str> {
    if let Some(inner) = text.strip_prefix('"') {
        let bytes = inner.as_bytes();
        let mut at = 0;
        while at < bytes.len() && bytes[at] != b'"' {
            at += 1 + usize::from(bytes[at] == b'\\');
        }
        let value = inner.get(..at).ok_or("a text has no end")?;
        let rest = inner.get(at + 1..).ok_or("a text has no end")?;
        if !matches!(rest.bytes().next(), None | Some(b',' | b' ')) {
            return Err("something stands behind a text");
        }
        let value = if value.contains('\\') {
            Cow::Owned(value.replace("\\\"", "\"").replace("\\\\", "\\"))
        } else {
            Cow::Borrowed(value)
        };
        return Ok((FieldValue::Text(value), rest));
    }
    let end = text.bytes().position(|b| matches!(b, b',' | b' ')).unwrap_or(text.len());
    let (value, rest) = text.split_at(end);
    let number = match value {
        "t" | "T" | "true" | "True" | "TRUE" => 1.0,
        "f" | "F" | "false" | "False" | "FALSE" => 0.0,
        // Whole numbers, signed or not, end with a letter.
        _ => {
            let digits = value.strip_suffix(['i', 'u']).unwrap_or(value);
            if !digits.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
                return Err("the value of a field is neither a number nor a text in quotes");
            }
            digits.parse().map_err(|_| "the value of a field is neither a number nor a text in quotes")?
        }
    };
    Ok((FieldValue::Number(number), rest))
}

/// What stands before and behind the first such character that is not escaped.
fn split_at_plain(text: &str, wanted: u8) -> Option<(&str, &str)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'\\' {
            at += 2;
            continue;
        }
        if bytes[at] == wanted {
            return Some((&text[..at], &text[at + 1..]));
        }
        at += 1;
    }
    None
}

/// A name without backslashes before what needs them.
fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek() {
            Some(next @ (',' | '=' | ' ')) if c == '\\' => {
                out.push(*next);
                chars.next();
            }
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A line as text that can be compared.
    fn read(text: &str) -> Vec<String> {
        Lines::new(text)
            .map(|line| match line {
                Err(error) => error.to_string(),
                Ok(Line { measurement, tags, fields, time }) => {
                    let fields = fields.iter().map(|(name, value)| match value {
                        FieldValue::Number(n) => format!("{name}={n}"),
                        FieldValue::Text(t) => format!("{name}={t:?}"),
                    });
                    format!("{measurement} {tags:?} {} {time:?}", fields.collect::<Vec<_>>().join(" "))
                }
            })
            .collect()
    }

    #[test]
    fn lines_are_read() {
        let text = "# a comment, not \"open\n\
            cpu,host=a\\ b,dc=x usage=1.5,count=-3i,big=18446744073709551615u,up=t,down=False 1700000000\r\n\
            \n  mem free=1e3\n\
            \"m\\,e\\=s\",t\\=ag=v\\,al f\\ 1=\"a \\\"b\\\" \\\\ c, d=1\nnext\",g=.5 \n\
            ,x=y f=1 -5\nlast f=1";
        assert_eq!(
            read(text),
            [
                r#"cpu [("host", "a b"), ("dc", "x")] usage=1.5 count=-3 big=18446744073709552000 up=1 down=0 Some(1700000000)"#,
                r#"mem [] free=1000 None"#,
                r#""m,e=s" [("t=ag", "v,al")] f 1="a \"b\" \\ c, d=1\nnext" g=0.5 None"#,
                r#" [("x", "y")] f=1 Some(-5)"#,
                "last [] f=1 None",
            ]
        );
    }

    #[test]
    fn a_line_that_is_none_costs_only_itself() {
        for (line, reason) in [
            ("cpu", "no fields"),
            ("cpu,host f=1", "a tag has no value"),
            ("cpu,=x f=1", "a tag has no name"),
            ("cpu f", "a field has no value"),
            ("cpu =1", "a field has no name"),
            ("cpu f=", "neither a number"),
            ("cpu f=nan", "neither a number"),
            ("cpu f=\"x", "a text has no end"),
            ("cpu f=\"x\\", "a text has no end"),
            ("cpu f=\"x\"y", "behind a text"),
            ("cpu f=1 x", "not a whole number"),
            ("cpu f=1 1 2", "not a whole number"),
            ("cpu f=1,", "a field has no value"),
        ] {
            let told = read(&format!("\n{line}"));
            assert!(
                told.len() == 1 && told[0].starts_with("line 2: ") && told[0].contains(reason),
                "{line}: {told:?}"
            );
            if !line.contains('"') {
                assert_eq!(
                    read(&format!("{line}\nok f=1")).last().map(String::as_str),
                    Some("ok [] f=1 None")
                );
            }
        }
        let long = format!("cpu f=\"{}\"", "x".repeat(LINE_BYTES_MAX));
        assert_eq!(read(&long), ["line 1: it is too long"]);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "[a\\\\,= \"\n\r#1.iut-]{0,40}") {
            prop_assert!(read(&text).len() <= text.len());
        }

        #[test]
        fn names_of_any_letters_come_back(names in prop::collection::vec("[a-z ,=é]{1,6}", 3)) {
            let escaped: Vec<String> = names
                .iter()
                .map(|n| n.replace(',', "\\,").replace('=', "\\=").replace(' ', "\\ "))
                .collect();
            let line = format!("m{},{}={} {}=1 7", escaped[0], escaped[1], escaped[2], escaped[0]);
            let line = Lines::new(&line).next().unwrap().unwrap();
            prop_assert_eq!(&line.measurement[1..], &names[0]);
            prop_assert_eq!(&line.tags[0], &(names[1].as_str().into(), names[2].as_str().into()));
            prop_assert_eq!(&line.fields[0].0, &names[0]);
        }
    }
}
