//! The processes of this machine or of one container, read when somebody asks.

use std::{collections::HashMap, fs, path::Path};

use vedette_model::ProcessFigures;

use crate::{
    Config,
    file::{Buffer, read_once, read_short, read_text},
    parse,
};

/// More processes than this are not listed.
const PROCESSES_MAX: usize = 10_000;
/// Users whose names are known.
const USERS_MAX: usize = 10_000;
/// Open files of one process that are counted.
const FILES_MAX: usize = 65_536;

/// The processes of a cgroup and of those in it; of the whole machine for `/`.
pub fn processes(config: &Config, cgroup: &str, now_seconds: f64) -> Vec<ProcessFigures> {
    let mut buffer = Buffer::new();
    let stat = read_once(&config.proc_root.join("stat"), &mut buffer).unwrap_or_default();
    let boot = parse::fields(stat).find(|(key, _)| *key == b"btime").map_or(0, |(_, n)| n);
    let memory = read_once(&config.proc_root.join("meminfo"), &mut buffer).unwrap_or_default();
    let memory = parse::lines(memory).find_map(|line| line.strip_prefix(b"MemTotal:"));
    let memory_kib = memory.and_then(|rest| parse::words(rest).next().and_then(parse::unsigned)).unwrap_or(0);
    let machine = Machine {
        boot_seconds: parse::value(boot),
        now_seconds,
        memory_bytes: parse::value(memory_kib) * 1024.0,
        page_bytes: rustix::param::page_size() as u64,
        users: users(&config.root),
    };
    let entries = fs::read_dir(&config.proc_root).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut found: Vec<ProcessFigures> = pids
        .filter_map(|pid| {
            let folder = config.proc_root.join(pid.to_string());
            let text = read_short(&folder.join("cgroup"), &mut buffer).ok()?;
            let path = parse::cgroup_path(text).unwrap_or("/").to_owned();
            is_within(&path, cgroup).then(|| machine.figures(&folder, pid, path, &mut buffer)).flatten()
        })
        .take(PROCESSES_MAX)
        .collect();
    found.sort_unstable_by_key(|process| process.pid);
    found
}

/// What all processes are measured by.
struct Machine {
    boot_seconds: f64,
    now_seconds: f64,
    memory_bytes: f64,
    page_bytes: u64,
    users: HashMap<u32, String>,
}

impl Machine {
    fn figures(
        &self,
        folder: &Path,
        pid: u32,
        cgroup: String,
        buffer: &mut Buffer,
    ) -> Option<ProcessFigures> {
        use std::os::unix::fs::MetadataExt;
        let uid = fs::metadata(folder).ok()?.uid();
        let text = read_short(&folder.join("stat"), buffer).ok()?;
        let open = text.iter().position(|&b| b == b'(')?;
        let close = text.iter().rposition(|&b| b == b')')?;
        let command = String::from_utf8_lossy(text.get(open + 1..close)?).into_owned();
        // What follows the bracket begins with field 3.
        let fields: Vec<&[u8]> = parse::words(parse::trim(text.get(close + 1..)?)).collect();
        let number = |field: usize| fields.get(field - 3).and_then(|word| parse::unsigned(word)).unwrap_or(0);
        let state = char::from(*fields.first()?.first()?);
        let resident_bytes = number(24).saturating_mul(self.page_bytes);
        let start_seconds = self.boot_seconds + parse::ticks(number(22));
        let cpu_seconds = parse::ticks(number(14).saturating_add(number(15)));
        let life = (self.now_seconds - start_seconds).max(0.01);
        let share =
            if self.memory_bytes > 0.0 { parse::value(resident_bytes) / self.memory_bytes } else { 0.0 };
        let open_files = fs::read_dir(folder.join("fd")).map_or(0, |files| files.take(FILES_MAX).count());
        Some(ProcessFigures {
            user: self.users.get(&uid).cloned().unwrap_or_else(|| uid.to_string()),
            pid,
            parent_pid: u32::try_from(number(4)).unwrap_or(0),
            start_seconds,
            cpu_seconds,
            cpu_percent: 100.0 * cpu_seconds / life,
            memory_percent: 100.0 * share,
            resident_bytes,
            virtual_bytes: number(23),
            state,
            cgroup,
            command,
            open_files: open_files as u64,
            processor: number(39),
        })
    }
}

/// Whether a cgroup is the one that was asked for or lies in it.
fn is_within(path: &str, asked: &str) -> bool {
    let asked = asked.trim_end_matches('/');
    path.strip_prefix(asked).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Names of users by number.
fn users(root: &Path) -> HashMap<u32, String> {
    let text = read_text(&root.join("etc/passwd")).unwrap_or_default();
    let user = |line: &str| {
        let mut parts = line.split(':');
        let name = parts.next()?.to_owned();
        Some((parts.nth(1)?.parse().ok()?, name))
    };
    text.lines().filter_map(user).take(USERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_a_cgroup_and_below_are_told_and_no_others() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: String, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/stat".into(), "btime 1000\n");
        write("proc/meminfo".into(), "MemTotal: 8192 kB\n");
        write("proc/none/stat".into(), "");
        for (pid, cgroup) in [(1, "/"), (7, "/c/1"), (8, "/c/1/inner"), (9, "/c/10")] {
            write(format!("proc/{pid}/cgroup"), &format!("0::{cgroup}\n"));
            let zeros = ["0"; 14].join(" ");
            // utime 200, stime 100, start 500, virtual 4096, resident 10 pages, last on processor 3.
            write(
                format!("proc/{pid}/stat"),
                &format!("{pid} (a ) b) S 5 0 0 0 0 0 0 0 0 0 200 100 0 0 0 0 1 0 500 4096 10 {zeros} 3 0\n"),
            );
        }
        let config =
            Config { proc_root: root.path().join("proc"), root: root.path().to_owned(), ..Config::default() };
        let pids =
            |cgroup: &str| processes(&config, cgroup, 1011.0).iter().map(|p| p.pid).collect::<Vec<_>>();
        assert_eq!(pids("/c/1"), [7, 8], "what only begins alike is another");
        assert_eq!(pids("/"), [1, 7, 8, 9]);
        assert_eq!(pids("/nothing"), [] as [u32; 0]);
        let process = &processes(&config, "/c/1", 1011.0)[0];
        assert_eq!((process.command.as_str(), process.parent_pid, process.state), ("a ) b", 5, 'S'));
        assert_eq!((process.cpu_seconds, process.cpu_percent, process.processor), (3.0, 50.0, 3));
        assert_eq!(
            (process.virtual_bytes, process.resident_bytes),
            (4096, 10 * rustix::param::page_size() as u64)
        );
    }
}
