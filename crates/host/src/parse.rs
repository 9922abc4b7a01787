//! Reads numbers and words out of the kernel's text files, byte by byte, without copying.
//!
//! Nothing here panics or allocates, whatever the bytes are; what is no number is `None`.

/// Lines, without their ends; the last may lack one.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&b| b == b'\n').filter(|l| !l.is_empty())
}

/// Words between spaces and tabs.
pub(crate) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    line.split(|&b| b == b' ' || b == b'\t').filter(|w| !w.is_empty())
}

/// Lines of a name, one blank and a whole number. Other lines are skipped.
pub(crate) fn fields(text: &[u8]) -> impl Iterator<Item = (&[u8], u64)> {
    lines(text).filter_map(|line| {
        let (key, value) = split_once(line, b' ')?;
        Some((key, unsigned(value)?))
    })
}

/// The number after `key` in such lines. Looks at the beginnings of lines only, which is all that is
/// wanted where one of many is.
pub(crate) fn field(text: &[u8], key: &[u8]) -> Option<u64> {
    lines(text).find_map(|line| unsigned(line.strip_prefix(key)?.strip_prefix(b" ")?))
}

/// What stands before and after the first `byte`.
pub(crate) fn split_once(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&b| b == byte)?;
    Some((&text[..at], &text[at + 1..]))
}

/// `text` without blanks and line ends around it.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// A whole number, blanks around it allowed. One beyond 64 bits is `None`.
pub(crate) fn unsigned(text: &[u8]) -> Option<u64> {
    let text = trim(text);
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |n, b| {
        let digit = b.wrapping_sub(b'0');
        (digit <= 9).then_some(())?;
        n.checked_mul(10)?.checked_add(digit.into())
    })
}

/// A whole number that may be negative.
pub(crate) fn signed(text: &[u8]) -> Option<i64> {
    let text = trim(text);
    match text.strip_prefix(b"-") {
        Some(digits) if digits.first().is_some_and(u8::is_ascii_digit) => {
            0i64.checked_sub_unsigned(unsigned(digits)?)
        }
        Some(_) => None,
        None => i64::try_from(unsigned(text)?).ok(),
    }
}

/// A whole number in decimal, or in hexadecimal after `0x`.
pub(crate) fn integer(text: &[u8]) -> Option<i64> {
    let text = trim(text);
    match text.strip_prefix(b"0x") {
        Some(hex) => i64::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok(),
        None => signed(text),
    }
}

/// A decimal number as the kernel writes it: digits, perhaps a point and further digits.
pub(crate) fn decimal(text: &[u8]) -> Option<f64> {
    let text = trim(text);
    let plain = !text.is_empty() && text.iter().all(|b| b.is_ascii_digit() || *b == b'.' || *b == b'-');
    std::str::from_utf8(text).ok().filter(|_| plain)?.parse().ok()
}

/// A whole number in hexadecimal, with or without `0x`.
pub(crate) fn hexadecimal(text: &[u8]) -> Option<u64> {
    let text = trim(text);
    let digits = text.strip_prefix(b"0x").unwrap_or(text);
    let plain = digits.iter().all(u8::is_ascii_hexdigit);
    u64::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| plain)?, 16).ok()
}

/// A number of any of the kinds above, as a sample's value. Without `0x` it is decimal.
pub(crate) fn number(text: &[u8]) -> Option<f64> {
    let text = trim(text);
    if text.starts_with(b"0x") {
        return hexadecimal(text).map(value);
    }
    unsigned(text).map(value).or_else(|| signed(text).map(signed_value)).or_else(|| decimal(text))
}

/// A number as a sample's value. Beyond 2^53 the nearest number that a sample can hold.
#[expect(clippy::cast_precision_loss, reason = "samples are floating point")]
pub(crate) fn value(n: u64) -> f64 {
    n as f64
}

/// As [`value`], for numbers that may be negative.
#[expect(clippy::cast_precision_loss, reason = "samples are floating point")]
pub(crate) fn signed_value(n: i64) -> f64 {
    n as f64
}

/// Totals of a pressure file, in seconds: what some tasks waited, and what all of them did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Pressure {
    pub(crate) some: Option<f64>,
    pub(crate) full: Option<f64>,
}

/// Reads a file of /proc/pressure or a cgroup's `*.pressure`.
pub(crate) fn pressure(text: &[u8]) -> Pressure {
    let mut out = Pressure::default();
    for line in lines(text) {
        let mut words = words(line);
        let kind = words.next();
        let total = words.find_map(|w| unsigned(w.strip_prefix(b"total=")?)).map(micros);
        match kind {
            Some(b"some") => out.some = total,
            Some(b"full") => out.full = total,
            _ => {}
        }
    }
    out
}

/// Microseconds in seconds.
pub(crate) fn micros(n: u64) -> f64 {
    value(n) / 1e6
}

/// Nanoseconds in seconds.
pub(crate) fn nanos(n: u64) -> f64 {
    value(n) / 1e9
}

/// Clock ticks in seconds. The kernel's interface to user space counts 100 of them a second,
/// whatever the kernel itself does.
pub(crate) fn ticks(n: u64) -> f64 {
    value(n) / 100.0
}

/// An interface's line of `net/dev`: its name and up to 16 counters. The headings are no such line.
pub(crate) fn net_device(line: &[u8]) -> Option<(&[u8], [u64; 16])> {
    let colon = line.iter().rposition(|&b| b == b':')?;
    let (name, numbers) = (trim(&line[..colon]), &line[colon + 1..]);
    if name.is_empty() || name.contains(&b'|') {
        return None;
    }
    let mut counters = [0; 16];
    let mut found = words(numbers).map(unsigned);
    for counter in &mut counters {
        *counter = found.next()??;
    }
    Some((name, counters))
}

/// The path of a process' cgroup out of `/proc/<pid>/cgroup`: that of version 2 if it is not the
/// root, else the first of version 1 that is not, else the root.
pub(crate) fn cgroup_path(text: &[u8]) -> Option<&str> {
    let mut paths = lines(text).filter_map(|line| {
        let (hierarchy, rest) = split_once(line, b':')?;
        let (_, path) = split_once(rest, b':')?;
        Some((unsigned(hierarchy)?, std::str::from_utf8(path).ok()?))
    });
    let mut best: Option<(u64, &str)> = None;
    for (hierarchy, path) in &mut paths {
        let better = match best {
            None => true,
            Some((_, "/")) => path != "/",
            Some(_) => hierarchy == 0 && path != "/",
        };
        if better {
            best = Some((hierarchy, path));
        }
    }
    best.map(|(_, path)| path).filter(|p| p.starts_with('/'))
}

/// When a process began, in clock ticks since boot, out of `/proc/<pid>/stat`. Its name may hold
/// blanks and brackets, so counting starts behind the last bracket.
pub(crate) fn process_start_ticks(text: &[u8]) -> Option<u64> {
    let bracket = text.iter().rposition(|&b| b == b')')?;
    // The start is field 22, and what follows the bracket begins with field 3.
    words(text.get(bracket + 1..)?).nth(19).and_then(unsigned)
}

/// Path with the octal escapes of mountinfo (`\040` for a blank) undone.
pub(crate) fn unescape_mount(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if first == b'\\' => {
                Some((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'))
            }
            _ => None,
        };
        out.push(octal.unwrap_or(first));
        rest = if octal.is_some() { &tail[3..] } else { tail };
    }
    out
}

#[cfg(test)]
mod tests;
