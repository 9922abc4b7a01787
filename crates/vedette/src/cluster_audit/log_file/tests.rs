use std::{
    fs::{self, OpenOptions},
    io::Write as _,
};

use super::*;

struct Rig {
    folder: tempfile::TempDir,
    log: LogFile,
}

impl Rig {
    fn new(since: Option<Duration>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = LogFile::new(folder.path().join("audit.log"), since);
        Self { folder, log }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).expect("opened");
        file.write_all(text.as_bytes()).expect("written");
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("renamed");
    }

    /// All lines that are there.
    fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while self.log.read(|line| lines.push(String::from_utf8_lossy(line).into_owned())).expect("read") {}
        lines
    }
}

#[test]
fn lines_come_when_they_are_whole() {
    let mut rig = Rig::new(None);
    assert_eq!(rig.log.read(|_| {}).expect_err("not there").kind(), io::ErrorKind::NotFound);
    rig.append("audit.log", "a\n\n b \nc");
    assert_eq!(rig.lines(), ["a", "b"]);
    rig.append("audit.log", "d");
    assert_eq!(rig.lines(), [""; 0]);
    rig.append("audit.log", "e\nf\n");
    assert_eq!(rig.lines(), ["cde", "f"]);
}

/// Some writers go on with the old file for a while.
#[test]
fn a_file_that_is_moved_away_is_read_to_its_end() {
    let mut rig = Rig::new(None);
    rig.append("audit.log", "a\n");
    assert_eq!(rig.lines(), ["a"]);
    rig.append("audit.log", "b\n");
    rig.rename("audit.log", "audit-2026-11-22T10-00-00.000.log");
    assert_eq!(rig.lines(), ["b"]);
    rig.append("audit-2026-11-22T10-00-00.000.log", "c\nthe end is missing");
    rig.append("audit.log", "d\n");
    assert_eq!(rig.lines(), ["c", "the end is missing", "d"]);
    rig.append("audit.log", "e\n");
    assert_eq!(rig.lines(), ["e"]);
}

#[test]
fn a_file_that_is_cut_is_read_anew() {
    let mut rig = Rig::new(None);
    rig.append("audit.log", "a\nb\nhalf");
    assert_eq!(rig.lines(), ["a", "b"]);
    fs::write(rig.path("audit.log"), "c\n").expect("written");
    assert_eq!(rig.lines(), ["c"]);
}

#[test]
fn what_was_rotated_before_the_start_is_read_where_it_is_new() {
    let mut rig = Rig::new(None);
    let at = |second: u64| UNIX_EPOCH + Duration::from_secs(second);
    for (name, second) in [
        ("audit-2026-11-22T11-00-00.000.log", 3_000),
        ("audit-2026-11-22T10-00-00.000.log", 2_000),
        ("audit-2026-11-22T09-00-00.000.log", 999),
        ("audit.log.1", 4_000),
        ("audit.log.2.gz", 4_000),
        ("audit.logs", 4_000),
        ("other-2026.log", 4_000),
        ("audit2.log", 4_000),
    ] {
        rig.append(name, &format!("{name}\n"));
        let file = File::options().append(true).open(rig.path(name)).expect("opened");
        file.set_modified(at(second)).expect("a time");
    }
    fs::create_dir(rig.path("audit-folder.log")).expect("made");
    rig.append("audit.log", "now\n");
    assert_eq!(rig.lines(), ["now"], "without a time only what is there");
    rig.log = LogFile::new(rig.path("audit.log"), Some(Duration::from_secs(1_000)));
    let expected =
        ["audit-2026-11-22T10-00-00.000.log", "audit-2026-11-22T11-00-00.000.log", "audit.log.1", "now"];
    assert_eq!(rig.lines(), expected);
}

#[test]
fn lines_that_are_too_long_are_counted_and_left_out() {
    let mut rig = Rig::new(None);
    let long = "x".repeat(RECORD_BYTES_MAX);
    rig.append("audit.log", &format!("a\n{long}{long}\nb\n{}\n{long}", &long[1..]));
    let lengths: Vec<usize> = rig.lines().iter().map(String::len).collect();
    assert_eq!((lengths, rig.log.take_too_long()), (vec![1, 1, RECORD_BYTES_MAX - 1], 1));
    rig.append("audit.log", "\nc\n");
    assert_eq!((rig.lines(), rig.log.take_too_long()), (vec!["c".to_owned()], 1));
    assert_eq!(rig.log.take_too_long(), 0);
}

#[test]
fn what_is_no_file_is_refused() {
    let rig = Rig::new(None);
    fs::create_dir(rig.path("audit.log")).expect("made");
    let mut log = LogFile::new(rig.path("audit.log"), None);
    assert!(log.read(|_| {}).expect_err("a folder").to_string().contains("no regular file"));
}
