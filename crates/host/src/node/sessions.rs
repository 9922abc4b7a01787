//! Sessions of people at this machine, as systemd's logind writes them down.
//!
//! node_exporter asks logind over its bus; the files below `/run/systemd` say the same. What a file
//! says that is not known counts as `other`.

use std::{collections::BTreeMap, path::PathBuf};

use super::{Failure, background::Source};
use crate::{
    Config,
    file::{Buffer, names, read_once},
    parse,
    series::Family,
    sheet::Sheet,
};

const SESSIONS: Family<'_> =
    Family::gauge("node_logind_sessions", "Number of sessions registered in logind.");
const OTHER: &str = "other";
const TYPES: [&str; 7] = [OTHER, "unspecified", "tty", "x11", "wayland", "mir", "web"];
const CLASSES: [&str; 5] = [OTHER, "user", "greeter", "lock-screen", "background"];

/// `/run/systemd/sessions` and `seats`.
pub(super) struct Sessions {
    folder: PathBuf,
}

impl Sessions {
    pub(super) fn new(config: &Config) -> Self {
        Self { folder: config.root.join("run/systemd") }
    }
}

impl Source for Sessions {
    fn name(&self) -> &'static str {
        "logind"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let folder = self.folder.join("sessions");
        let files = names(&folder).map_err(Failure::at(&folder))?;
        let mut counts = BTreeMap::<(String, bool, &str, &str), u64>::new();
        // Beside a session's file lies the pipe by which its end is told.
        for file in files.iter().filter(|name| !name.contains('.')) {
            // One that ended in the meantime has none.
            let Ok(text) = read_once(&folder.join(file), buffer) else { continue };
            let text = String::from_utf8_lossy(text);
            let value = |key: &str| {
                let mut lines = text.lines().filter_map(|line| line.split_once('='));
                lines.find(|(name, _)| *name == key).map_or("", |(_, value)| value)
            };
            let key = (
                value("SEAT").to_owned(),
                value("REMOTE") == "1",
                known(&TYPES, value("TYPE")),
                known(&CLASSES, value("CLASS")),
            );
            *counts.entry(key).or_default() += 1;
        }
        let mut seats = names(&self.folder.join("seats")).unwrap_or_default();
        seats.retain(|name| !name.contains('.'));
        seats.push(String::new());
        seats.extend(counts.keys().map(|(seat, ..)| seat.clone()));
        seats.sort_unstable();
        seats.dedup();
        for seat in &seats {
            for (remote, remote_text) in [(false, "false"), (true, "true")] {
                for session_type in TYPES {
                    for class in CLASSES {
                        let count = counts.get(&(seat.clone(), remote, session_type, class));
                        let labels = [
                            ("seat", seat.as_str()),
                            ("remote", remote_text),
                            ("type", session_type),
                            ("class", class),
                        ];
                        sheet.put(SESSIONS, &labels, parse::value(count.copied().unwrap_or(0)));
                    }
                }
            }
        }
        Ok(())
    }
}

fn known(list: &[&'static str], text: &str) -> &'static str {
    list.iter().find(|known| **known == text).copied().unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::node::tests::told;

    #[test]
    fn sessions_are_counted_by_what_they_are() {
        let root = tempfile::tempdir().unwrap();
        let config = Config { root: root.path().to_owned(), ..Config::default() };
        assert!(told(&mut Sessions::new(&config)).unwrap_err().is_absent());
        let folder = root.path().join("run/systemd");
        fs::create_dir_all(folder.join("sessions")).unwrap();
        fs::create_dir_all(folder.join("seats")).unwrap();
        fs::write(folder.join("seats/seat0"), "").unwrap();
        for (name, text) in [
            ("1", "UID=0\nREMOTE=1\nTYPE=tty\nCLASS=user\n"),
            ("c2", "REMOTE=1\nTYPE=tty\nCLASS=user\nSEAT=\n"),
            ("3", "SEAT=seat0\nREMOTE=0\nTYPE=wayland\nCLASS=greeter\n"),
            ("4", "SEAT=seat0\nTYPE=hologram\nCLASS=user-early"),
            ("1.ref", "not a session"),
        ] {
            fs::write(folder.join("sessions").join(name), text).unwrap();
        }
        let samples = told(&mut Sessions::new(&config)).unwrap();
        assert_eq!(samples.len(), 2 * 2 * TYPES.len() * CLASSES.len());
        assert_eq!(samples.values().sum::<f64>(), 4.0);
        for (labels, count) in [
            ("class=\"user\", remote=\"true\", seat=\"\", type=\"tty\"", 2.0),
            ("class=\"greeter\", remote=\"false\", seat=\"seat0\", type=\"wayland\"", 1.0),
            ("class=\"other\", remote=\"false\", seat=\"seat0\", type=\"other\"", 1.0),
        ] {
            let series = format!("node_logind_sessions{{{labels}}}").replace(" seat=\"\",", "");
            assert_eq!(samples.get(&series), Some(&count), "{series} in {samples:#?}");
        }
    }
}
