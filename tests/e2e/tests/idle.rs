//! What watching costs: CPU and memory of the whole program with many containers at a 1 s
//! interval. As a test it runs small and judges nothing but that it can be measured; as a bench
//! (`cargo xtask bench idle`) it runs with 100 containers and prints the figures.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use vedette_e2e::{
    containers::{Containerd, unavailable},
    program::Vedette,
    skip, wait_for,
};

#[test]
fn the_cost_of_watching() -> Result<()> {
    if let Some(reason) = unavailable() {
        skip!("idle", "{reason}");
    }
    let bench = std::env::var_os("VEDETTE_BENCH").is_some();
    let (containers, seconds) = if bench { (100, 120) } else { (3, 3) };
    let folder = tempfile::tempdir()?;
    let mut containerd = Containerd::start(&folder.path().join("containerd"))?;
    for number in 0..containers {
        containerd.run(&format!("idle{number}"), &[], "while :; do sleep 60; done")?;
    }
    let config = format!("collect: {{runtime_sockets: [{}]}}\n", containerd.socket().display());
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(Duration::from_secs(30))?;
    let expected = f64::from(containers);
    wait_for("all containers", Duration::from_secs(120), || {
        Ok(vedette
            .query("count(container_memory_working_set_bytes{name=~\"idle.*\"})")?
            .first()
            .is_some_and(|r| r.1 >= expected)
            .then_some(()))
    })?;
    // The start itself (finding containers, loading programs) is not what idling costs.
    std::thread::sleep(Duration::from_secs(if bench { 20 } else { 1 }));
    let (before, begun) = (cpu_ticks(vedette.pid())?, uptime()?);
    std::thread::sleep(Duration::from_secs(seconds));
    let (after, ended) = (cpu_ticks(vedette.pid())?, uptime()?);
    let percent = (after - before) / (ended - begun);
    let memory = resident_mb(vedette.pid())?;
    let series = vedette.query("vedette_tsdb_head_series")?.first().map_or(0.0, |r| r.1);
    let sensor = vedette.sensor()?.map_or_else(|reason| format!("off: {reason}"), |()| "on".to_owned());
    println!(
        "containers {containers}, series {series}, sensor {sensor}: {percent:.2} % of a core, {memory:.0} MB resident over {seconds} s"
    );
    ensure!(memory > 1.0);
    Ok(())
}

/// User and system time in ticks of 10 ms: fields 14 and 15 of /proc/PID/stat.
fn cpu_ticks(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let rest = stat.rsplit_once(')').context("a stat line")?.1;
    let fields: Vec<f64> =
        rest.split_whitespace().skip(11).take(2).map(|f| f.parse().unwrap_or(0.0)).collect();
    Ok(fields.iter().sum())
}

fn uptime() -> Result<f64> {
    Ok(fs::read_to_string("/proc/uptime")?.split(' ').next().context("uptime")?.parse()?)
}

fn resident_mb(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).context("VmRSS")?;
    let kib: f64 = line.split_whitespace().nth(1).context("a figure")?.parse()?;
    Ok(kib / 1000.0 * 1.024)
}
