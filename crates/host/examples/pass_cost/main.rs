//! Reads this machine and its containers a number of times, and tells what a pass costs.
//!
//! `cargo run --release --example pass_cost -- PASSES INTERVAL_MS [SOCKET] [--series PREFIX] [--made N]`
//! prints the processor time of each reader's pass, containers found and series; with `--series`
//! also the latest samples of the series that begin with the prefix. With `--made`, or with nothing
//! at all, as many containers (100) are made for it, and the whole process is measured beside: its
//! processor time, its memory, and how soon containers that come and go are known.

mod made;

use std::{collections::HashMap, io::Write, sync::Arc, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use vedette_host::{Config, ContainerReader, NodeReader};
use vedette_model::Samples;
use vedette_sys::{Clock, SystemClock};

fn cpu_us() -> f64 {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    t.tv_sec as f64 * 1e6 + t.tv_nsec as f64 / 1e3
}

/// Passes before the whole process is measured.
const WARM_PASSES: u32 = 5;

/// Processor time of this process in microseconds.
fn process_us() -> f64 {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    t.tv_sec as f64 * 1e6 + t.tv_nsec as f64 / 1e3
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("?").trim().to_owned()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    vedette_host::raise_open_file_limit();
    run(std::env::args().skip(1).collect(), Config::default(), &mut std::io::stdout().lock())
}

fn run(
    mut args: Vec<String>,
    mut config: Config,
    out: &mut dyn Write,
) -> Result<(), Box<dyn std::error::Error>> {
    let shown = args.iter().position(|a| a == "--series").map(|i| args.drain(i..).nth(1).unwrap_or_default());
    let made = args.iter().position(|a| a == "--made").map(|i| args.drain(i..).nth(1).unwrap_or_default());
    let made = if args.is_empty() && shown.is_none() { Some(made.unwrap_or("100".into())) } else { made };
    let made = made.map(|count| count.parse()).transpose()?;
    let made = made.and_then(|count| made::Made::new(&config.cgroup_root, count));
    let passes: u32 = args.first().map_or(Ok(if made.is_some() { 30 } else { 10 }), |a| a.parse())?;
    let interval = Duration::from_millis(args.get(1).map_or(Ok(1000), |a| a.parse())?);
    config.runtime_sockets.extend(args.get(2).map(Into::into));
    let clock = Arc::new(SystemClock);
    let mut node = NodeReader::new(&config, clock.clone())?;
    let mut containers = ContainerReader::new(&config, clock.clone())?;
    let (mut samples, mut changes) = (Samples::default(), Vec::new());
    let (mut labels, mut latest, mut samples_count) = (HashMap::new(), HashMap::new(), 0);
    let (mut node_us, mut container_us) = (Vec::new(), Vec::new());
    let mut begun = None;
    for pass in 0..passes {
        let time_ms = clock.unix_ms();
        if pass == WARM_PASSES {
            begun = Some((clock.monotonic(), process_us()));
        }
        samples.rows.iter_mut().for_each(|row| row.series.clear());
        samples.rows.iter_mut().for_each(|row| row.values.clear());
        let begin = cpu_us();
        node.collect(time_ms, &mut samples);
        let middle = cpu_us();
        containers.collect(time_ms, &mut samples, &mut changes);
        node_us.push(middle - begin);
        container_us.push(cpu_us() - middle);
        labels.extend(samples.defined.drain(..).map(|d| (d.series, d.labels)));
        samples.retired.clear();
        samples.metadata.clear();
        for change in changes.drain(..) {
            writeln!(out, "{change:?}")?;
        }
        samples_count += samples.rows.iter().map(|r| r.series.len()).sum::<usize>();
        for row in &samples.rows {
            latest.extend(row.series.iter().copied().zip(row.values.iter().copied()));
        }
        if pass + 1 < passes {
            std::thread::sleep(interval);
        }
    }
    if let Some((begin, before_us)) = begun {
        let seconds = clock.monotonic().since(begin).as_secs_f64();
        writeln!(
            out,
            "whole process, all its threads: {:.2} % of a core, {} of memory",
            (process_us() - before_us) / seconds / 1e4,
            resident()
        )?;
    }
    if let Some(mut made) = made {
        made.time(&mut containers, out)?;
    }
    if let Some(prefix) = shown {
        let mut lines: Vec<String> = latest.iter().map(|(s, v)| format!("{} {v}", labels[s])).collect();
        lines.retain(|l| l.starts_with(&prefix));
        lines.sort_unstable();
        for line in lines {
            writeln!(out, "{line}")?;
        }
    }
    for report in containers.reports().into_iter().chain([node.report()]) {
        writeln!(
            out,
            "{}: {} {} {:?}",
            report.part,
            report.state.health.as_str(),
            report.state.message,
            report.state.facts
        )?;
    }
    for (name, mut us) in [("node", node_us), ("container", container_us)] {
        us.sort_by(f64::total_cmp);
        writeln!(
            out,
            "{name}: median {:.0} us, largest {:.0} us of CPU a pass",
            us.get(us.len() / 2).copied().unwrap_or_default(),
            us.last().copied().unwrap_or_default()
        )?;
    }
    writeln!(
        out,
        "{} containers, {} series, {} samples a pass",
        containers.index().all().len(),
        latest.len(),
        samples_count / (passes as usize).max(1)
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_made_of_two_files_is_told_of() {
        let root = tempfile::tempdir().unwrap();
        let container = root.path().join(format!("{:064x}", 7));
        std::fs::create_dir_all(&container).unwrap();
        std::fs::write(root.path().join("cgroup.controllers"), "").unwrap();
        std::fs::write(container.join("cpu.stat"), "usage_usec 1500000\n").unwrap();
        std::fs::write(container.join("pids.current"), "3\n").unwrap();
        let config =
            Config { cgroup_root: root.path().to_owned(), runtime_sockets: Vec::new(), ..Config::default() };
        let mut out = Vec::new();
        let args = ["3", "0", "--series", "container_"].map(str::to_owned);
        run(args.into(), config, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        let value = |name: &str| out.lines().find(|l| l.starts_with(name))?.rsplit(' ').next();
        assert_eq!(value("container_cpu_usage_seconds_total{"), Some("1.5"), "{out}");
        assert_eq!(value("container_threads{"), Some("3"), "{out}");
        assert!(out.contains("\n1 containers, "), "{out}");
        assert!(run(vec!["many".into()], Config::default(), &mut Vec::new()).is_err());
    }
}
