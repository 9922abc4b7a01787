//! Writes JSON into a byte buffer without building it first.
//!
//! Two ways to write text exist because Prometheus has two: label sets leave `<`, `>` and `&` as
//! they are, everything else escapes them. Both give valid JSON.

use vedette_model::Labels;

/// Appends `text` in quotes, escaping only what JSON demands.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    push_escaped(out, text, false);
}

/// Appends `text` in quotes, escaping also what could end a script element in a page.
pub fn push_text_for_html(out: &mut Vec<u8>, text: &str) {
    push_escaped(out, text, true);
}

/// Appends a label set as an object.
pub fn push_labels(out: &mut Vec<u8>, labels: &Labels) {
    out.push(b'{');
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push_text(out, name);
        out.push(b':');
        push_text(out, value);
    }
    out.push(b'}');
}

/// Appends the elements of `items`, with commas between, in square brackets.
pub fn push_array<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut push: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push(out, item);
    }
    out.push(b']');
}

/// Writes the members of one object; [`Object::end`] closes it.
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    /// Opens an object.
    pub fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Goes on with an object of whose members one is written, and that was not closed.
    pub fn resume(out: &'a mut Vec<u8>) -> Self {
        Self { out, first: false }
    }

    /// Writes a member's name; what is appended to the returned buffer is its value.
    pub fn member(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        push_text(self.out, name);
        self.out.push(b':');
        self.out
    }

    /// Writes a member that is text.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        push_text_for_html(self.member(name), value);
        self
    }

    /// Writes a member that is a number in JSON's own form.
    pub fn number(&mut self, name: &str, value: f64) -> &mut Self {
        // JSON knows neither NaN nor infinity.
        crate::number::push_value(self.member(name), if value.is_finite() { value } else { 0.0 });
        self
    }

    /// Writes a member that is a label set.
    pub fn labels(&mut self, name: &str, labels: &Labels) -> &mut Self {
        push_labels(self.member(name), labels);
        self
    }

    /// Closes the object.
    pub fn end(self) {
        self.out.push(b'}');
    }
}

fn push_escaped(out: &mut Vec<u8>, text: &str, for_html: bool) {
    out.push(b'"');
    let bytes = text.as_bytes();
    // Most texts have nothing to escape, and seeing that without a branch for each byte is quick.
    let mut plain = true;
    for &byte in bytes {
        plain &= byte >= 0x20 && byte != b'"' && byte != b'\\';
    }
    if plain && !for_html {
        out.extend_from_slice(bytes);
        out.push(b'"');
        return;
    }
    let mut done = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        let escaped: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => b"",
            b'<' | b'>' | b'&' if for_html => b"",
            // U+2028 and U+2029 end a line in JavaScript: E2 80 A8 and E2 80 A9.
            0xE2 if for_html && matches!(bytes[i..], [_, 0x80, 0xA8 | 0xA9, ..]) => {
                out.extend_from_slice(&bytes[done..i]);
                out.extend_from_slice(if bytes[i + 2] == 0xA8 { b"\\u2028" } else { b"\\u2029" });
                done = i + 3;
                continue;
            }
            _ => continue,
        };
        out.extend_from_slice(&bytes[done..i]);
        done = i + 1;
        if escaped.is_empty() {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.extend_from_slice(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]);
        } else {
            out.extend_from_slice(escaped);
        }
    }
    out.extend_from_slice(&bytes[done..]);
    out.push(b'"');
}
