//! Reads this machine and its containers a number of times, and tells what a pass costs.
//!
//! `cargo run --release --example pass_cost -- PASSES INTERVAL_MS [SOCKET] [--series PREFIX]`
//! prints the processor time of each reader's pass, containers found and series; with `--series`
//! also the last pass' samples whose series begin with the prefix.

use std::{collections::HashMap, sync::Arc, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use vedette_host::{Config, ContainerReader, NodeReader};
use vedette_model::Samples;
use vedette_sys::{Clock, SystemClock};

fn cpu_us() -> f64 {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    t.tv_sec as f64 * 1e6 + t.tv_nsec as f64 / 1e3
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let shown = args.iter().position(|a| a == "--series").map(|i| args.drain(i..).nth(1).unwrap_or_default());
    let passes: u32 = args.first().map_or(Ok(10), |a| a.parse())?;
    let interval = Duration::from_millis(args.get(1).map_or(Ok(1000), |a| a.parse())?);
    let mut config = Config::default();
    config.runtime_sockets.extend(args.get(2).map(Into::into));
    vedette_host::raise_open_file_limit();
    let clock = Arc::new(SystemClock);
    let mut node = NodeReader::new(&config, clock.clone())?;
    let mut containers = ContainerReader::new(&config, clock.clone())?;
    let (mut samples, mut changes) = (Samples::default(), Vec::new());
    let mut labels = HashMap::new();
    let (mut node_us, mut container_us) = (Vec::new(), Vec::new());
    for _ in 0..passes {
        let time_ms = clock.unix_ms();
        samples.rows.iter_mut().for_each(|row| row.series.clear());
        let begin = cpu_us();
        node.collect(time_ms, &mut samples);
        let middle = cpu_us();
        containers.collect(time_ms, &mut samples, &mut changes);
        node_us.push(middle - begin);
        container_us.push(cpu_us() - middle);
        labels.extend(samples.defined.drain(..).map(|d| (d.series, d.labels)));
        samples.retired.clear();
        samples.metadata.clear();
        changes.drain(..).for_each(|change| println!("{change:?}"));
        std::thread::sleep(interval);
    }
    if let Some(prefix) = shown {
        for row in &samples.rows {
            let mut lines: Vec<String> =
                row.series.iter().zip(&row.values).map(|(s, v)| format!("{} {v}", labels[s])).collect();
            lines.retain(|l| l.starts_with(&prefix));
            lines.sort_unstable();
            lines.iter().for_each(|l| println!("{l}"));
        }
    }
    for report in containers.reports().into_iter().chain([node.report()]) {
        println!(
            "{}: {} {} {:?}",
            report.part,
            report.state.health.as_str(),
            report.state.message,
            report.state.facts
        );
    }
    for (name, mut us) in [("node", node_us), ("container", container_us)] {
        us.sort_by(f64::total_cmp);
        println!(
            "{name}: median {:.0} us, largest {:.0} us of CPU a pass",
            us[us.len() / 2],
            us[us.len() - 1]
        );
    }
    println!(
        "{} containers, {} samples a pass",
        containers.index().all().len(),
        samples.rows.iter().map(|r| r.series.len()).sum::<usize>()
    );
    Ok(())
}
