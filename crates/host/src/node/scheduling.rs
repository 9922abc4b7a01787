//! What the kernel tells of running tasks: time on and off processors, interrupts, processes,
//! control groups.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{Failure, background::Source};
use crate::{
    Config,
    file::{Buffer, FileBudget, KeptFile, names, read_number, read_once},
    parse,
    series::Family,
    sheet::Sheet,
};

/// Numbers of a processor's line from the seventh on, and how many of a unit make one.
const RUN_QUEUE: [(Family<'_>, f64); 3] = [
    (
        Family::counter(
            "node_schedstat_running_seconds_total",
            "Number of seconds CPU spent running a process.",
        ),
        1e9,
    ),
    (
        Family::counter(
            "node_schedstat_waiting_seconds_total",
            "Number of seconds spent by processing waiting for this CPU.",
        ),
        1e9,
    ),
    (Family::counter("node_schedstat_timeslices_total", "Number of timeslices executed by CPU."), 1.0),
];

/// `/proc/schedstat`: time that tasks ran, and waited to run, on each processor.
pub(super) struct SchedStat(KeptFile);

impl SchedStat {
    pub(super) fn new(config: &Config, budget: &FileBudget) -> Self {
        Self(KeptFile::new(config.proc_root.join("schedstat"), budget))
    }
}

impl Source for SchedStat {
    fn name(&self) -> &'static str {
        "schedstat"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let text = self.0.read(buffer).map_err(Failure::at("/proc/schedstat"))?;
        for line in parse::lines(text) {
            let Some(line) = line.strip_prefix(b"cpu") else { continue };
            let mut words = parse::words(line);
            let cpu = words.next().and_then(|cpu| std::str::from_utf8(cpu).ok());
            let Some(cpu) = cpu else { continue };
            for (word, (family, units)) in words.skip(6).zip(RUN_QUEUE) {
                if let Some(n) = parse::unsigned(word) {
                    sheet.put(family, &[("cpu", cpu)], parse::value(n) / units);
                }
            }
        }
        Ok(())
    }
}

/// Tasks that slept without an answer for longer than the kernel finds right.
pub(super) struct HungTasks(PathBuf);

impl HungTasks {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.proc_root.join("sys/kernel/hung_task_detect_count"))
    }
}

impl Source for HungTasks {
    fn name(&self) -> &'static str {
        "kernel_hung"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let text = read_once(&self.0, buffer).map_err(Failure::at(&self.0))?;
        if let Some(n) = parse::number(text) {
            sheet.put(
                Family::counter(
                    "node_kernel_hung_tasks_total",
                    "Total number of tasks that have been detected as hung since the system booted.",
                ),
                &[],
                n,
            );
        }
        Ok(())
    }
}

/// `/proc/cgroups`: control groups of version 1 by subsystem.
pub(super) struct ControlGroups(PathBuf);

impl ControlGroups {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.proc_root.join("cgroups"))
    }
}

impl Source for ControlGroups {
    fn name(&self) -> &'static str {
        "cgroups"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let text = read_once(&self.0, buffer).map_err(Failure::at(&self.0))?;
        for line in parse::lines(text).filter(|line| !line.starts_with(b"#")) {
            let mut words = parse::words(line);
            let Some(name) = words.next() else { continue };
            let name = String::from_utf8_lossy(name);
            for (word, family) in words.skip(1).zip([
                Family::gauge("node_cgroups_cgroups", "Current cgroup number of the subsystem."),
                Family::gauge("node_cgroups_enabled", "Current cgroup number of the subsystem."),
            ]) {
                if let Some(n) = parse::number(word) {
                    sheet.put(family, &[("subsys_name", &name)], n);
                }
            }
        }
        Ok(())
    }
}

const INTERRUPTS: Family<'_> = Family::counter("node_interrupts_total", "Interrupt details.");

/// `/proc/interrupts`: interrupts by source and processor.
pub(super) struct Interrupts(PathBuf);

impl Interrupts {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.proc_root.join("interrupts"))
    }
}

impl Source for Interrupts {
    fn name(&self) -> &'static str {
        "interrupts"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let text = read_once(&self.0, buffer).map_err(Failure::at(&self.0))?;
        let mut lines = parse::lines(text);
        let cpus = lines.next().map_or(0, |heading| parse::words(heading).count());
        for line in lines {
            let Some((name, rest)) = parse::split_once(line, b':') else { continue };
            let name = String::from_utf8_lossy(parse::trim(name)).into_owned();
            let words: Vec<&[u8]> = parse::words(rest).collect();
            // Counts of errors have but one number: they belong to no processor.
            let Some((counts, rest)) = words.split_at_checked(cpus) else { continue };
            let text = |words: &[&[u8]]| String::from_utf8_lossy(&words.join(&b' ')).into_owned();
            // The kernel's own are explained, those of devices name their controller first.
            let (info, devices) = match rest.split_first() {
                Some((controller, devices)) if parse::unsigned(name.as_bytes()).is_some() => {
                    (text(&[controller]), text(devices))
                }
                _ => (text(rest), String::new()),
            };
            for (cpu, count) in counts.iter().enumerate() {
                if let Some(n) = parse::unsigned(count) {
                    let cpu = cpu.to_string();
                    let labels =
                        [("cpu", cpu.as_str()), ("type", &name), ("info", &info), ("devices", &devices)];
                    sheet.put(INTERRUPTS, &labels, parse::value(n));
                }
            }
        }
        Ok(())
    }
}

/// `/proc/softirqs`: deferred work by kind and processor.
pub(super) struct SoftInterrupts(PathBuf);

impl SoftInterrupts {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.proc_root.join("softirqs"))
    }
}

impl Source for SoftInterrupts {
    fn name(&self) -> &'static str {
        "softirqs"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let text = read_once(&self.0, buffer).map_err(Failure::at(&self.0))?;
        for line in parse::lines(text) {
            let Some((kind, counts)) = parse::split_once(line, b':') else { continue };
            let kind = String::from_utf8_lossy(parse::trim(kind));
            for (cpu, word) in parse::words(counts).enumerate() {
                if let Some(n) = parse::unsigned(word) {
                    let labels = [("cpu", &*cpu.to_string()), ("type", &kind)];
                    sheet.put(
                        Family::counter("node_softirqs_functions_total", "Softirq counts per CPU."),
                        &labels,
                        parse::value(n),
                    );
                }
            }
        }
        Ok(())
    }
}

/// How many processes and threads there are, and in what state.
pub(super) struct Processes {
    proc: PathBuf,
}

impl Processes {
    pub(super) fn new(config: &Config) -> Self {
        Self { proc: config.proc_root.clone() }
    }
}

impl Source for Processes {
    fn name(&self) -> &'static str {
        "processes"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let (mut pids, mut threads) = (0u64, 0u64);
        let mut states = [0u64; 256];
        for name in names(&self.proc).map_err(Failure::at(&self.proc))? {
            if !name.bytes().all(|b| b.is_ascii_digit()) {
                continue;
            }
            let folder = self.proc.join(&name);
            // Gone meanwhile.
            let Some((state, count)) =
                read_once(&folder.join("stat"), buffer).ok().and_then(state_and_threads)
            else {
                continue;
            };
            pids += 1;
            threads += count;
            states[usize::from(state)] += 1;
        }
        sheet.put(
            Family::gauge("node_processes_threads", "Allocated threads in system"),
            &[],
            parse::value(threads),
        );
        sheet.put(Family::gauge("node_processes_pids", "Number of PIDs"), &[], parse::value(pids));
        for (state, count) in (0..=u8::MAX).zip(states).filter(|(_, count)| *count > 0) {
            let state = char::from(state).to_string();
            sheet.put(
                Family::gauge("node_processes_state", "Number of processes in each state."),
                &[("state", &state)],
                parse::value(count),
            );
        }
        for (file, family) in [
            ("pid_max", Family::gauge("node_processes_max_processes", "Number of max PIDs limit")),
            ("threads-max", Family::gauge("node_processes_max_threads", "Limit of threads in the system")),
        ] {
            let path = self.proc.join("sys/kernel").join(file);
            let n = read_number(&path, buffer).ok_or(Errno::NOENT).map_err(Failure::at(path))?;
            sheet.put(family, &[], n);
        }
        Ok(())
    }
}

/// State and number of threads out of `/proc/<pid>/stat`. Its name may hold blanks and brackets.
fn state_and_threads(text: &[u8]) -> Option<(u8, u64)> {
    let bracket = text.iter().rposition(|&b| b == b')')?;
    let mut words = parse::words(text.get(bracket + 1..)?);
    let state = *words.next()?.first().filter(|state| state.is_ascii_graphic())?;
    Some((state, words.nth(16).and_then(parse::unsigned)?))
}

/// Settings of the kernel that the configuration names.
pub(super) struct Sysctl {
    proc: PathBuf,
    numbers: Vec<Setting>,
    texts: Vec<Setting>,
}

struct Setting {
    name: String,
    file: PathBuf,
    /// Names of its numbers, if it has several.
    fields: Vec<String>,
}

impl Sysctl {
    pub(super) fn new(config: &Config) -> Self {
        let setting = |text: &String| {
            let (name, fields) = text.split_once(':').unwrap_or((text, ""));
            // As sysctl(8) has it, a slash in a name's part is written as a dot and the other way round.
            let path: String = name
                .chars()
                .map(|c| {
                    if c == '.' {
                        '/'
                    } else if c == '/' {
                        '.'
                    } else {
                        c
                    }
                })
                .collect();
            Setting {
                name: name.to_owned(),
                file: config.proc_root.join("sys").join(path.trim_start_matches('/')),
                fields: fields.split(',').filter(|f| !f.is_empty()).map(str::to_owned).collect(),
            }
        };
        Self {
            proc: config.proc_root.join("sys"),
            numbers: config.collectors.sysctl.iter().map(setting).collect(),
            texts: config.collectors.sysctl_info.iter().map(setting).collect(),
        }
    }
}

impl Sysctl {
    /// Reads a setting, but nothing beside them whatever its name is.
    fn read_setting<'b>(&self, file: &Path, buffer: &'b mut Buffer) -> Result<&'b [u8], Failure> {
        let inside = file.starts_with(&self.proc) && !file.components().any(|c| c.as_os_str() == "..");
        let text = if inside { read_once(file, buffer) } else { Err(Errno::INVAL) };
        text.map_err(Failure::at(file))
    }
}

/// A name as a metric's name may have it.
fn metric_name(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

impl Source for Sysctl {
    fn name(&self) -> &'static str {
        "sysctl"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        for Setting { name, file, fields } in &self.numbers {
            let text = self.read_setting(file, buffer)?;
            let words: Vec<f64> = parse::words(parse::trim(text)).filter_map(parse::number).collect();
            let metric = format!("node_sysctl_{}", metric_name(name));
            if !fields.is_empty() {
                for (i, (field, n)) in fields.iter().zip(&words).enumerate() {
                    let metric = format!("{metric}_{}", metric_name(field));
                    sheet.put(Family::untyped(&metric, &format!("sysctl {name}, field {i}")), &[], *n);
                }
                continue;
            }
            let help = format!("sysctl {name}");
            for (i, n) in words.iter().enumerate() {
                let index = i.to_string();
                let labels = [("index", index.as_str())];
                let labels = if words.len() > 1 { &labels[..] } else { &[] };
                sheet.put(Family::untyped(&metric, &help), labels, *n);
            }
        }
        for Setting { name, file, .. } in &self.texts {
            let text = self.read_setting(file, buffer)?;
            for (i, word) in parse::words(parse::trim(text)).enumerate() {
                let (index, word) = (i.to_string(), String::from_utf8_lossy(word));
                let labels = [("name", name.as_str()), ("value", &word), ("index", &index)];
                sheet.put(Family::gauge("node_sysctl_info", "sysctl info"), &labels, 1.0);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_settings_lead_nowhere_else() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("sys/kernel")).unwrap();
        std::fs::write(root.path().join("sys/kernel/a"), "1\n").unwrap();
        std::fs::write(root.path().join("secret"), "2\n").unwrap();
        let mut config = Config { proc_root: root.path().to_owned(), ..Config::default() };
        for (name, readable) in [("kernel.a", true), ("//.secret", false), ("kernel.//.//.secret", false)] {
            config.collectors.sysctl_info = vec![name.to_owned()];
            let mut sheet = Sheet::default();
            sheet.begin();
            let result = Sysctl::new(&config).read(&mut sheet, &mut Buffer::new());
            assert_eq!(result.is_ok(), readable, "{name}");
        }
    }

    #[test]
    fn the_state_of_a_process_is_found_behind_any_name() {
        let line = b"7 (a) b) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 42 0";
        assert_eq!(state_and_threads(line), Some((b'R', 42)));
        assert_eq!(state_and_threads(b"7 (a) R 1"), None);
        assert_eq!(state_and_threads(b""), None);
    }
}
