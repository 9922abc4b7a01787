//! Reads single processes from /proc.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use crate::process::{ProcRecord, ProcSource, TICK_NS};

/// Bytes of arguments kept for one process.
const ARGS_BYTES_MAX: usize = 4096;
/// The user stands in the first lines of a status.
const STATUS_BYTES_MAX: usize = 4096;

/// /proc, or a tree like it.
pub struct ProcReader {
    root: PathBuf,
}

impl ProcReader {
    /// Reads below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Ids of all processes, sorted.
    pub fn pids(&self) -> Vec<u32> {
        let Ok(entries) = fs::read_dir(&self.root) else { return Vec::new() };
        let mut pids: Vec<u32> = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect();
        pids.sort_unstable();
        pids
    }

    /// The path of a process' cgroup in the v2 hierarchy, else in that of the memory controller.
    pub fn cgroup(&self, pid: u32) -> Option<String> {
        let text = fs::read_to_string(self.root.join(pid.to_string()).join("cgroup")).ok()?;
        cgroup_path(&text)
    }
}

impl ProcSource for ProcReader {
    fn read(&self, pid: u32) -> Option<ProcRecord> {
        let folder = self.root.join(pid.to_string());
        let stat = fs::read(folder.join("stat")).ok()?;
        let mut record = parse_stat(&stat)?;
        record.executable =
            fs::read_link(folder.join("exe")).map(|p| p.to_string_lossy().into_owned()).unwrap_or_default();
        let arguments = read_start(&folder.join("cmdline"), ARGS_BYTES_MAX + 1);
        record.args_truncated = arguments.len() > ARGS_BYTES_MAX;
        record.args = parse_args(&arguments);
        // The folder's owner is the effective user, and root for a process that must not be dumped.
        record.uid = real_uid(&read_start(&folder.join("status"), STATUS_BYTES_MAX)).unwrap_or_default();
        Some(record)
    }
}

/// The first bytes of a file, as far as they can be read. A process chooses how long its
/// arguments are, up to megabytes.
fn read_start(path: &Path, bytes_max: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(path) {
        // What was read before an error counts: the process may have ended meanwhile.
        let _ = file.take(bytes_max as u64).read_to_end(&mut bytes);
    }
    bytes
}

/// The first number of the line `Uid:` is the real one. See proc_pid_status(5).
fn real_uid(status: &[u8]) -> Option<u32> {
    let line = status.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

/// `pid (name) state ppid … starttime …`: the name may hold spaces and parentheses, so the last
/// closing one ends it. See proc_pid_stat(5).
fn parse_stat(stat: &[u8]) -> Option<ProcRecord> {
    let open = stat.iter().position(|b| *b == b'(')?;
    let close = stat.iter().rposition(|b| *b == b')')?;
    let name = String::from_utf8_lossy(stat.get(open + 1..close)?).into_owned();
    let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let parent_pid = fields.nth(1)?.parse().ok()?;
    let start_ticks: u64 = fields.nth(17)?.parse().ok()?;
    Some(ProcRecord {
        start_ns: start_ticks.checked_mul(TICK_NS)?,
        parent_pid,
        name,
        ..ProcRecord::default()
    })
}

fn parse_args(bytes: &[u8]) -> Vec<String> {
    let bytes = &bytes[..bytes.len().min(ARGS_BYTES_MAX)];
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|b| *b == 0).map(|a| String::from_utf8_lossy(a).into_owned()).collect()
}

fn cgroup_path(text: &str) -> Option<String> {
    let path = |wanted: &str| {
        text.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            controllers.split(',').any(|c| c == wanted).then(|| path.to_owned())
        })
    };
    match path("") {
        Some(unified) if unified != "/" => Some(unified),
        unified => path("memory").or(unified),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_a_name_with_parentheses() {
        let line = b"42 (a) b (c)) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 1234 1000 20 0\n";
        let record = parse_stat(line).expect("valid");
        assert_eq!(
            (record.name.as_str(), record.parent_pid, record.start_ns),
            ("a) b (c)", 7, 12_340_000_000)
        );
    }

    #[test]
    fn reads_arguments_and_cgroups() {
        assert_eq!(parse_args(b"sh\0-c\0echo a\0"), ["sh", "-c", "echo a"]);
        assert!(parse_args(b"").is_empty());
        assert_eq!(cgroup_path("5:memory:/default/c1\n0::/\n").as_deref(), Some("/default/c1"));
        assert_eq!(cgroup_path("5:memory:/x\n0::/default/c1\n").as_deref(), Some("/default/c1"));
        assert_eq!(cgroup_path("3:cpu,cpuacct:/x\n0::/\n").as_deref(), Some("/"));
        assert_eq!(cgroup_path("").as_deref(), None);
    }

    #[test]
    fn reads_the_real_user() {
        let status = b"Name:\tsu\nUmask:\t0022\nUid:\t1000\t0\t0\t0\nGid:\t1\t2\t3\t4\n";
        assert_eq!(real_uid(status), Some(1000));
        assert_eq!(real_uid(b"Uid:\tx\n"), None);
        assert_eq!(real_uid(b""), None);
    }

    #[test]
    fn long_arguments_are_cut_and_said_to_be() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("42");
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("stat"), "42 (sh) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 7\n")
            .expect("written");
        let read = |arguments: &str| {
            fs::write(folder.join("cmdline"), arguments).expect("written");
            let record = ProcReader::new(root.path()).read(42).expect("valid");
            (record.args.iter().map(String::len).sum::<usize>(), record.args_truncated)
        };
        assert_eq!(read("sh\0-c\0"), (4, false));
        assert_eq!(read(&"x".repeat(ARGS_BYTES_MAX)), (ARGS_BYTES_MAX, false));
        assert_eq!(read(&"x".repeat(ARGS_BYTES_MAX + 1)), (ARGS_BYTES_MAX, true));
    }

    #[test]
    fn finds_itself() {
        let reader = ProcReader::new("/proc");
        let record = reader.read(std::process::id()).expect("this process");
        assert!(record.executable.contains("collector"), "{record:?}");
        assert!(reader.pids().contains(&std::process::id()));
    }

    proptest! {
        #[test]
        fn garbage_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_stat(&bytes);
            let _ = parse_args(&bytes);
            let _ = real_uid(&bytes);
            let _ = cgroup_path(&String::from_utf8_lossy(&bytes));
        }
    }
}
