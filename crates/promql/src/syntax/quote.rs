//! Quoted text as Go writes and reads it: what strings in queries and in messages look like.

use std::fmt::Write;

/// Writes `bytes` in double quotes. Bytes that are no UTF-8 become `\x` escapes.
pub fn quote_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_escaped(&mut out, c);
        }
        for b in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{b:02x}");
        }
    }
    out.push('"');
    out
}

/// Writes `text` in double quotes.
pub fn quote(text: &str) -> String {
    quote_bytes(text.as_bytes())
}

/// Writes a character in single quotes, as in `unexpected character: '$'`.
pub fn quote_char(c: char) -> String {
    match c {
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        c => {
            let mut out = String::from("'");
            push_escaped(&mut out, c);
            out.push('\'');
            out
        }
    }
}

fn push_escaped(out: &mut String, c: char) {
    let _ = match c {
        '"' => write!(out, "\\\""),
        '\\' => write!(out, "\\\\"),
        '\n' => write!(out, "\\n"),
        '\r' => write!(out, "\\r"),
        '\t' => write!(out, "\\t"),
        '\u{7}' => write!(out, "\\a"),
        '\u{8}' => write!(out, "\\b"),
        '\u{b}' => write!(out, "\\v"),
        '\u{c}' => write!(out, "\\f"),
        c if (c as u32) < 0x20 || c as u32 == 0x7f => write!(out, "\\x{:02x}", c as u32),
        c if c.is_control() => write!(out, "\\u{:04x}", c as u32),
        c => write!(out, "{c}"),
    };
}

/// Reads the quoted text with which `text` begins, and gives the bytes and the length of what was
/// read. `Err` says what is wrong.
pub fn unquote(text: &str) -> Result<(Vec<u8>, usize), String> {
    let mut chars = text.chars();
    let Some(mark) = chars.next() else { return Err("invalid syntax".to_owned()) };
    let mut rest = chars.as_str();
    if mark == '`' {
        let (inner, _) = rest.split_once(mark).ok_or("unterminated raw string")?;
        // Go drops carriage returns from raw strings in its own source, but not here.
        return Ok((inner.as_bytes().to_vec(), inner.len() + 2));
    }
    let mut out = Vec::new();
    loop {
        // All that stands for itself is taken at once.
        let plain = rest.find([mark, '\\', '\n']).ok_or("unterminated quoted string")?;
        out.extend_from_slice(&rest.as_bytes()[..plain]);
        let special = rest.as_bytes()[plain];
        rest = &rest[plain + 1..];
        match special {
            b'\n' => return Err("unterminated quoted string".to_owned()),
            b'\\' => unescape(&mut rest, mark, &mut out)?,
            _ => return Ok((out, text.len() - rest.len())),
        }
    }
}

/// Reads what follows a backslash.
fn unescape(rest: &mut &str, mark: char, out: &mut Vec<u8>) -> Result<(), String> {
    let Some(escape) = rest.chars().next() else {
        return Err("escape sequence not terminated".to_owned());
    };
    *rest = &rest[escape.len_utf8()..];
    match escape {
        'a' => out.push(7),
        'b' => out.push(8),
        'f' => out.push(12),
        'n' => out.push(b'\n'),
        'r' => out.push(b'\r'),
        't' => out.push(b'\t'),
        'v' => out.push(11),
        '\\' => out.push(b'\\'),
        c if c == mark => out.push(c as u8),
        'x' => out.push(digits(rest, 2, 16)?.try_into().unwrap_or(0)),
        '0'..='7' => {
            let value = escape.to_digit(8).unwrap_or(0) * 64 + digits(rest, 2, 8)?;
            out.push(u8::try_from(value).map_err(|_| "escape sequence is an invalid Unicode code point")?);
        }
        'u' | 'U' => {
            let value = digits(rest, if escape == 'u' { 4 } else { 8 }, 16)?;
            let c = char::from_u32(value).ok_or("escape sequence is an invalid Unicode code point")?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        c => return Err(format!("unknown escape sequence {}", unicode(c))),
    }
    Ok(())
}

fn digits(rest: &mut &str, count: usize, radix: u32) -> Result<u32, String> {
    let mut value = 0;
    for _ in 0..count {
        let Some(c) = rest.chars().next() else { return Err("escape sequence not terminated".to_owned()) };
        let digit = c
            .to_digit(radix)
            .ok_or_else(|| format!("illegal character {} in escape sequence", unicode(c)))?;
        value = value * radix + digit;
        *rest = &rest[c.len_utf8()..];
    }
    Ok(value)
}

/// A character with its code, as in `U+0071 'q'`; without the character if it cannot be seen.
fn unicode(c: char) -> String {
    if c.is_control() { format!("U+{:04X}", c as u32) } else { format!("U+{:04X} '{c}'", c as u32) }
}
