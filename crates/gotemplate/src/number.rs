//! Go's literals: numbers, characters and quoted strings.

use crate::ast::Number;

/// Reads a number literal; `None` if it is none. Imaginary numbers are no part of any data that
/// templates get here, and are not read.
pub(crate) fn parse(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let float_form = is_float_form(digits);
    let mut int = if float_form { None } else { parse_int(digits, negative) };
    let float = if float_form {
        parse_float(digits).map(|f| if negative { -f } else { f })
    } else {
        int.map(|i| i as f64)
    };
    if float_form
        && let Some(f) = float
        && f.fract() == 0.0
        && f.abs() < 9.0e18
    {
        // A whole float may stand where an integer is asked for.
        int = Some(f as i64);
    }
    (int.is_some() || float.is_some()).then(|| Number { int, float, text: text.to_owned() })
}

/// Whether the literal as written is a float.
pub(crate) fn is_float_form(digits: &str) -> bool {
    let digits = digits.trim_start_matches(['+', '-']);
    if digits.get(..2).is_some_and(|p| p.eq_ignore_ascii_case("0x")) {
        return digits.contains(['.', 'p', 'P']);
    }
    digits.contains(['.', 'e', 'E'])
}

fn parse_int(digits: &str, negative: bool) -> Option<i64> {
    let lower = digits.to_ascii_lowercase();
    let (base, body, prefixed) = if let Some(b) = lower.strip_prefix("0x") {
        (16, b, true)
    } else if let Some(b) = lower.strip_prefix("0b") {
        (2, b, true)
    } else if let Some(b) = lower.strip_prefix("0o") {
        (8, b, true)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..], true)
    } else {
        (10, lower.as_str(), false)
    };
    let plain = without_underscores(body, prefixed)?;
    if plain.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from_str_radix(&plain, base).ok()?;
    i64::try_from(if negative { -value } else { value }).ok()
}

/// Removes digit separators; `None` where Go does not allow one.
fn without_underscores(body: &str, leading: bool) -> Option<String> {
    if !body.contains('_') {
        return Some(body.to_owned());
    }
    let misplaced = body.ends_with('_') || body.contains("__") || (body.starts_with('_') && !leading);
    (!misplaced).then(|| body.replace('_', ""))
}

fn parse_float(digits: &str) -> Option<f64> {
    let lower = digits.to_ascii_lowercase();
    if let Some(body) = lower.strip_prefix("0x") {
        return parse_hex_float(&without_underscores(body, true)?);
    }
    let plain = without_underscores(&lower, false)?;
    if !plain.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-')) {
        return None;
    }
    plain.parse().ok().filter(|f: &f64| f.is_finite())
}

fn parse_hex_float(body: &str) -> Option<f64> {
    let (mantissa, exponent) = body.split_once('p')?;
    let exponent: i32 = exponent.parse().ok().filter(|e: &i32| e.abs() < 5000)?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0.0f64;
    for c in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(c.to_digit(16)?);
    }
    let shift = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    Some(value * 2f64.powi(exponent - shift)).filter(|f| f.is_finite())
}

/// The character of a literal such as `'a'` or `'\n'`.
pub(crate) fn unquote_char(literal: &str) -> Option<char> {
    let body = literal.strip_prefix('\'')?.strip_suffix('\'')?;
    let text = unescape(body, '\'')?;
    let mut chars = text.chars();
    let c = chars.next()?;
    chars.next().is_none().then_some(c)
}

/// The text of a literal in double quotes or backquotes.
pub(crate) fn unquote(literal: &str) -> Option<String> {
    if let Some(body) = literal.strip_prefix('`') {
        return Some(body.strip_suffix('`')?.replace('\r', ""));
    }
    unescape(literal.strip_prefix('"')?.strip_suffix('"')?, '"')
}

/// Resolves escapes. Bytes that make no UTF-8 become the replacement character.
fn unescape(body: &str, quote: char) -> Option<String> {
    let mut out: Vec<u8> = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            if c == quote || c == '\n' {
                return None;
            }
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = rest.chars().next()?;
        rest = &rest[escape.len_utf8()..];
        let mut digits = |count: usize, base: u32| {
            let part = rest.get(..count)?;
            let valid = part.chars().all(|c| c.is_digit(base));
            rest = &rest[count..];
            if valid { u32::from_str_radix(part, base).ok() } else { None }
        };
        match escape {
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(11),
            '\\' => out.push(b'\\'),
            'x' => out.push(u8::try_from(digits(2, 16)?).ok()?),
            'u' | 'U' => {
                let c = char::from_u32(digits(if escape == 'u' { 4 } else { 8 }, 16)?)?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            '0'..='7' => {
                let first = escape.to_digit(8)?;
                out.push(u8::try_from(first * 64 + digits(2, 8)?).ok()?);
            }
            c if c == quote => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}
