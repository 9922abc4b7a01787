//! Text of the line protocol of InfluxDB and of statsd, without what would end a name or a line early.

/// Appends the name of a measurement.
pub fn measurement(out: &mut Vec<u8>, name: &str) {
    escaped(out, name, b", ");
}

/// Appends a comma and a tag. A tag without a value cannot be written, and is left out.
pub fn tag(out: &mut Vec<u8>, name: &str, value: &str) {
    if name.is_empty() || value.is_empty() {
        return;
    }
    out.push(b',');
    escaped(out, name, b",= ");
    // A tag of this name is refused.
    if name == "time" {
        out.push(b'_');
    }
    out.push(b'=');
    escaped(out, value, b",= ");
}

/// Appends text with a backslash before each of `special`. Line breaks cannot be written, nor can a
/// backslash that would take the next character with it: they become a space and an underscore.
fn escaped(out: &mut Vec<u8>, text: &str, special: &[u8]) {
    let bytes = text.as_bytes();
    for (i, byte) in bytes.iter().enumerate() {
        match byte {
            b'\\' if bytes.get(i + 1).is_none_or(|next| special.contains(next) || *next == b'\\') => {
                out.push(b'_');
            }
            byte if byte.is_ascii_control() => {
                // A control character may stand where a space has to be escaped.
                out.extend_from_slice(if special.contains(&b' ') { b"\\ " } else { b" " });
            }
            byte => {
                if special.contains(byte) {
                    out.push(b'\\');
                }
                out.push(*byte);
            }
        }
    }
}

/// Appends a part of a name for statsd: what separates there becomes an underscore.
pub fn statsd_text(out: &mut Vec<u8>, text: &str) {
    let plain = |byte: u8| match byte {
        b':' | b'|' | b'@' | b'#' | b',' => b'_',
        byte if byte.is_ascii_control() || byte == b' ' => b'_',
        byte => byte,
    };
    out.extend(text.bytes().map(plain));
}

/// Appends text in which nothing separates words or lines.
pub fn without_spaces(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().map(|byte| if byte.is_ascii_control() || byte == b' ' { b'_' } else { byte }));
}
