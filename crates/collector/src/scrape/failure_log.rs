//! The file in which a job wants its failed scrapes logged: a line of JSON for each.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

/// Appends a line. The file is opened each time, so it may be moved away at any time.
pub(crate) fn note(path: &Path, time_ms: i64, job: &str, target: &str, error: &str) {
    let line = line(time_ms, job, target, error);
    // Where the file is a pipe that nobody reads, the line is lost, not the scrape.
    let no_waiting = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().append(true).create(true).custom_flags(no_waiting).open(path);
    if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
        tracing::warn!(path = %path.display(), %error, "cannot write to the log of failed scrapes");
    }
}

fn line(time_ms: i64, job: &str, target: &str, error: &str) -> String {
    let time = jiff::Timestamp::from_millisecond(time_ms).unwrap_or_default();
    let fields = [("level", "ERROR"), ("msg", error), ("job_name", job), ("target", target)];
    let mut line = format!("{{\"time\":\"{time:.3}\"");
    for (name, value) in fields {
        line.push_str(&format!(",\"{name}\":\""));
        for c in value.chars() {
            match c {
                '"' | '\\' => line.extend(['\\', c]),
                c if c < ' ' => line.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => line.push(c),
            }
        }
        line.push('"');
    }
    line.push_str("}\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("failures.log");
        for error in ["no\n\"way\"", "x"] {
            note(&path, 1_700_000_000_123, "j", "http://a/", error);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let first = r#"{"time":"2023-11-14T22:13:20.123Z","level":"ERROR","msg":"no\u000a\"way\"","job_name":"j","target":"http://a/"}"#;
        assert_eq!(text.lines().next(), Some(first));
        assert_eq!(text.lines().count(), 2);
        note(Path::new("/nowhere/at/all"), 0, "j", "t", "e");
    }
}
