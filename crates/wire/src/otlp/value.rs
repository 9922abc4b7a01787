//! Values of attributes, and the text that a label has of one.

use std::borrow::Cow;

use super::Attribute;
use crate::json::push_text_for_html;

/// A value of an attribute.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Value<'a> {
    /// None.
    #[default]
    Empty,
    /// A text.
    Text(Cow<'a, str>),
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// Several values.
    List(Vec<Value<'a>>),
    /// Several attributes.
    Map(Vec<Attribute<'a>>),
}

impl Value<'_> {
    /// The value as text, as OpenTelemetry's own libraries write it: lists and maps as JSON, bytes in
    /// base 64.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Empty => Cow::Borrowed(""),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Self::Integer(value) => Cow::Owned(value.to_string()),
            Self::Float(value) => Cow::Owned(float(*value)),
            Self::Bytes(bytes) => Cow::Owned(base64(bytes)),
            Self::List(_) | Self::Map(_) => {
                let mut out = Vec::new();
                self.push_json(&mut out);
                Cow::Owned(String::from_utf8(out).expect("BUG: JSON of texts is text"))
            }
        }
    }

    fn push_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Empty => out.extend_from_slice(b"null"),
            Self::Text(text) => push_text_for_html(out, text),
            // JSON has no such numbers.
            Self::Float(value) if !value.is_finite() => push_text_for_html(out, &float(*value)),
            Self::Bool(_) | Self::Integer(_) | Self::Float(_) => {
                out.extend_from_slice(self.text().as_bytes());
            }
            Self::Bytes(bytes) => push_text_for_html(out, &base64(bytes)),
            Self::List(values) => {
                out.push(b'[');
                for (i, value) in values.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    value.push_json(out);
                }
                out.push(b']');
            }
            Self::Map(attributes) => {
                let mut sorted: Vec<_> = attributes.iter().collect();
                sorted.sort_by(|a, b| a.key.cmp(&b.key));
                out.push(b'{');
                for (i, attribute) in sorted.into_iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    push_text_for_html(out, &attribute.key);
                    out.push(b':');
                    attribute.value.push_json(out);
                }
                out.push(b'}');
            }
        }
    }
}

/// As JSON of JavaScript has it: an exponent below 1e-6 and from 1e21 on.
fn float(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        }
        .to_owned();
    }
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        return if text.contains("e-") { text } else { text.replace('e', "e+") };
    }
    value.to_string()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= three.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

/// The bytes that a text in base 64 stands for, of either alphabet, with or without its end.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for four in text.as_bytes().chunks(4) {
        let mut word = 0_u32;
        for &digit in four {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => return None,
            };
            word = word << 6 | u32::from(value);
        }
        if four.len() == 1 {
            return None;
        }
        word <<= 6 * (4 - four.len());
        out.extend_from_slice(&word.to_be_bytes()[1..four.len()]);
    }
    Some(out)
}

/// The bytes that hexadecimal digits stand for.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
