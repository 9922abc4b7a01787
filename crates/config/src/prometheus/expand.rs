//! Variables of the environment in texts, as Go's `os.Expand` finds them.

/// Puts the values of variables in place of `$name` and `${name}`; `$$` is a dollar, and a
/// variable that is not set is empty.
pub(super) fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if after.is_empty() {
            out.push('$');
            return out;
        }
        let (name, length) = variable(after);
        match name {
            Some("$") => out.push('$'),
            Some(name) => out.push_str(&env(name).unwrap_or_default()),
            // A dollar that begins no name stays; broken braces go.
            None if length == 0 => out.push('$'),
            None => {}
        }
        rest = &after[length..];
    }
    out.push_str(rest);
    out
}

/// The name behind a dollar, and the bytes that it takes.
fn variable(text: &str) -> (Option<&str>, usize) {
    let special = |c: char| "*#$@!?-".contains(c) || c.is_ascii_digit();
    if let Some(inner) = text.strip_prefix('{') {
        return match inner.find('}') {
            Some(0) => (None, 2),
            Some(end) => (Some(&inner[..end]), end + 2),
            None => (None, 1),
        };
    }
    if text.starts_with(special) {
        return (Some(&text[..1]), 1);
    }
    match text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len()) {
        0 => (None, 0),
        end => (Some(&text[..end]), end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced() {
        let env = |name: &str| (name == "TEST").then(|| "value".to_owned());
        for (text, expected) in [
            ("plain", "plain"),
            ("${TEST}", "value"),
            ("foo${TEST}bar", "foovaluebar"),
            ("$TEST-x", "value-x"),
            ("$TESTX.", "."),
            ("foo$${TEST}", "foo${TEST}"),
            ("foo$$bar", "foo$bar"),
            ("$1x", "x"),
            ("a$ b", "a$ b"),
            ("a$", "a$"),
            ("${}x", "x"),
            ("${x", "x"),
            ("${$}", "$"),
        ] {
            assert_eq!(expand(text, &env), expected, "{text}");
        }
    }
}
