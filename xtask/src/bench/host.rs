//! `cargo xtask bench host`: what it costs to read a machine and its containers every second.
//!
//! The agent itself runs over containers that are made for it (control groups in which a process sleeps),
//! beside Debian's node exporter, which runs at the same time and is asked as often. cAdvisor's figures
//! are not measured here but those that were published for as many containers.

mod containers;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{Bench, http::Client, process::Process};
use crate::{debian, run::target};
use containers::Containers;

/// cAdvisor 0.56 with 100 containers that idle, read every second: a scrape of 3,549 series.
const CADVISOR: Measured = Measured {
    cpu_percent: 5.6,
    resident_mb: 49.5,
    scrape_ms: 55.0,
    scrape_cpu_ms: f64::NAN,
    series: 3549.0,
};

/// Figures of the agent are gathered, and exported to a sink for which there are none.
const CONFIG: &str = "collect: {sensor: off}\n\
     export: {sinks: [{name: none, match: ['{__name__=\"none\"}'], file: {path: none.jsonl}}]}\n";

const READY_LIMIT: Duration = Duration::from_secs(60);
/// The goal for a page is set for so many series, which is what cAdvisor tells of 100 containers.
const PAGE_SERIES: f64 = 3500.0;
/// How long series may stay after their container has ended.
const ENDED_LIMIT: Duration = Duration::from_secs(30);

/// How much is measured.
struct Shape {
    containers: usize,
    warm: Duration,
    time: Duration,
    scrapes: u32,
}

/// What a program took.
#[derive(Debug, Clone, Copy)]
struct Measured {
    /// Without being asked.
    cpu_percent: f64,
    resident_mb: f64,
    /// The median answer, and what it took of the processor on average.
    scrape_ms: f64,
    scrape_cpu_ms: f64,
    series: f64,
}

/// `cargo xtask bench host`. Gives why it cannot run here, if so.
pub fn run(args: &Bench, vedette: &Path) -> Result<Option<String>> {
    let shape = shape(args);
    let Some(mut made) = Containers::make(shape.containers)? else {
        return Ok(Some(
            "no control groups can be made here: that needs root and a tree that is writable".into(),
        ));
    };
    let folder = target().join("bench/host");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let agent = Running::agent(vedette, &folder)?;
    let exporter = match debian::package("prometheus-node-exporter") {
        Ok(root) => Some(Running::node_exporter(&root, &folder)?),
        Err(error) => {
            println!("Debian's node exporter cannot be had here: {error:#}");
            None
        }
    };
    std::thread::sleep(shape.warm);
    let begun = agent.account()?;
    let exporter_begun = exporter.as_ref().map(Running::account).transpose()?;
    std::thread::sleep(shape.time);
    let idle = agent.since(&begun)?;
    let exporter_idle = exporter.as_ref().zip(exporter_begun).map(|(e, b)| e.since(&b)).transpose()?;
    let quiet = agent.memory()?;
    println!(
        "{} containers, read every second for {:?}: {:.2} % of a core, {:.0} reads of files a second; {quiet}",
        shape.containers, shape.time, idle.cpu_percent, idle.reads_a_second,
    );
    let containers = agent.scrapes("/metrics/cadvisor", shape.scrapes, idle.cpu_percent)?;
    ensure!(
        containers.series >= shape.containers as f64 * 20.0,
        "only {} series of {} containers are told",
        containers.series,
        shape.containers
    );
    let node = agent.scrapes("/metrics/node", shape.scrapes, idle.cpu_percent)?;
    println!("after the scrapes: {}", agent.memory()?);
    let resident_mb = [quiet.resident_mb, agent.memory()?.resident_mb];
    let page = agent.smaller_page(&mut made, shape.containers, &containers, shape.scrapes)?;
    let peer = exporter
        .as_ref()
        .zip(exporter_idle)
        .map(|(e, idle)| e.scrapes("/metrics", shape.scrapes, idle.cpu_percent))
        .transpose()?;
    let told = Told { containers, node, page, resident_mb, peer };
    println!("\n{}", table(&told, args.small));
    Ok(None)
}

fn shape(args: &Bench) -> Shape {
    let seconds = Duration::from_secs;
    if args.small {
        Shape { containers: 3, warm: seconds(3), time: seconds(2), scrapes: 5 }
    } else {
        Shape { containers: 100, warm: seconds(30), time: seconds(60), scrapes: 200 }
    }
}

/// What the table tells.
struct Told {
    containers: Measured,
    node: Measured,
    /// A page of [`PAGE_SERIES`], where there are enough containers for one.
    page: Option<Measured>,
    /// Before anything was asked, and after.
    resident_mb: [f64; 2],
    peer: Option<Measured>,
}

/// Where resident memory comes from.
struct Memory {
    resident_mb: f64,
    anonymous_mb: f64,
    file_mb: f64,
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { resident_mb, anonymous_mb, file_mb } = self;
        write!(
            f,
            "{resident_mb:.1} MB resident, of which {anonymous_mb:.1} MB the program's own and {file_mb:.1} MB its file"
        )
    }
}

/// A program that runs and is asked.
struct Running {
    process: Process,
    address: SocketAddr,
}

/// What the kernel counted of a process, and when.
struct Account {
    at: Instant,
    cpu: Duration,
    reads: u64,
}

/// What a process took between two accounts.
struct Idle {
    cpu_percent: f64,
    reads_a_second: f64,
}

impl Running {
    fn agent(vedette: &Path, folder: &Path) -> Result<Self> {
        std::fs::write(folder.join("vedette.yml"), CONFIG)?;
        let address = free_address()?;
        let mut command = Command::new(vedette);
        command.args(["agent", "--listen", &address.to_string(), "--config"]).arg(folder.join("vedette.yml"));
        command.arg("--data-dir").arg(folder.join("data"));
        Self::start(&mut command, &folder.join("vedette.log"), address, "/-/ready")
    }

    fn node_exporter(root: &Path, folder: &Path) -> Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(root.join("usr/bin/prometheus-node-exporter"));
        command.arg(format!("--web.listen-address={address}"));
        Self::start(&mut command, &folder.join("node_exporter.log"), address, "/")
    }

    #[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
    fn start(command: &mut Command, log: &Path, address: SocketAddr, path: &str) -> Result<Self> {
        let mut process = Process::start(command, log)?;
        let begun = Instant::now();
        while !Client::new(address).get(path).is_ok_and(|(status, _)| status == 200) {
            ensure!(!process.has_ended()?, "it ended; see {}", log.display());
            ensure!(
                begun.elapsed() < READY_LIMIT,
                "it is not ready after {READY_LIMIT:?}; see {}",
                log.display()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { process, address })
    }

    #[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
    fn account(&self) -> Result<Account> {
        Ok(Account { at: Instant::now(), cpu: self.process.cpu()?, reads: self.process.reads()? })
    }

    fn since(&self, begun: &Account) -> Result<Idle> {
        let now = self.account()?;
        let seconds = now.at.duration_since(begun.at).as_secs_f64();
        Ok(Idle {
            cpu_percent: (now.cpu - begun.cpu).as_secs_f64() / seconds * 100.0,
            reads_a_second: (now.reads - begun.reads) as f64 / seconds,
        })
    }

    fn memory(&self) -> Result<Memory> {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        Ok(Memory {
            resident_mb: mb(self.process.resident()?),
            anonymous_mb: mb(self.process.anonymous()?),
            file_mb: mb(self.process.file()?),
        })
    }

    /// Ends containers until a page has as many series as the goal for it is set for, and asks for that one.
    #[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
    fn smaller_page(
        &self,
        made: &mut Containers,
        count: usize,
        whole: &Measured,
        times: u32,
    ) -> Result<Option<Measured>> {
        let wanted = PAGE_SERIES / whole.series * count as f64;
        if wanted > count as f64 {
            return Ok(None);
        }
        made.keep(wanted.round() as usize);
        let begun = Instant::now();
        while self.scrapes("/metrics/cadvisor", 1, 0.0)?.series > PAGE_SERIES * 1.05 {
            ensure!(begun.elapsed() < ENDED_LIMIT, "series of ended containers stay for {ENDED_LIMIT:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
        self.scrapes("/metrics/cadvisor", times, whole.cpu_percent).map(Some)
    }

    /// Asks for a page, each time for as long as the answer takes.
    #[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
    fn scrapes(&self, path: &str, times: u32, idle_percent: f64) -> Result<Measured> {
        let mut client = Client::new(self.address);
        let mut taken_ms = Vec::new();
        let (begun, mut series) = (self.account()?, 0);
        for _ in 0..times {
            let asked = Instant::now();
            let (status, body) = client.get(path)?;
            taken_ms.push(asked.elapsed().as_secs_f64() * 1e3);
            ensure!(status == 200, "{path}: {status} {body}");
            series = body.lines().filter(|line| !line.starts_with('#')).count();
        }
        let now = self.account()?;
        let idle = now.at.duration_since(begun.at).mul_f64(idle_percent / 100.0);
        taken_ms.sort_by(f64::total_cmp);
        Ok(Measured {
            cpu_percent: idle_percent,
            resident_mb: self.process.resident()? as f64 / 1e6,
            scrape_ms: taken_ms[taken_ms.len() / 2],
            scrape_cpu_ms: (now.cpu - begun.cpu).saturating_sub(idle).as_secs_f64() * 1e3 / f64::from(times),
            series: series as f64,
        })
    }
}

fn free_address() -> Result<SocketAddr> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// One row a figure. A goal is judged by what the design asks for, on the load of the whole bench.
fn table(told: &Told, is_small: bool) -> String {
    let mut out = String::from("| | other | Vedette | ÷ other | goal |\n|---|---:|---:|---:|---:|\n");
    let mut row = |name: &str, other: Option<f64>, own: Option<f64>, goal: Option<f64>| {
        let Some(own) = own else { return };
        let other = other.filter(|o| !o.is_nan());
        let ratio = other.filter(|o| *o > 0.0).map_or("-".to_owned(), |o| format!("{:.2}", own / o));
        let other = other.map_or("-".to_owned(), |o| format!("{o:.2}"));
        let goal = goal.map_or(String::new(), |goal| {
            let mark = match own <= goal {
                _ if is_small => "",
                true => " ✓",
                false => " ✗",
            };
            format!("≤ {goal}{mark}")
        });
        out.push_str(&format!("| {name} | {other} | {own:.2} | {ratio} | {goal} |\n"));
    };
    let Told { containers, node, page, resident_mb: [quiet_mb, asked_mb], peer } = told;
    let cadvisor = |figure: fn(&Measured) -> f64| Some(figure(&CADVISOR));
    let page = |figure: fn(&Measured) -> f64| page.as_ref().map(figure);
    let peer = |figure: fn(&Measured) -> f64| peer.as_ref().map(figure);
    let published = "cAdvisor as published";
    row(
        &format!("collection, % of a core; {published}"),
        cadvisor(|m| m.cpu_percent),
        Some(containers.cpu_percent),
        Some(0.5),
    );
    row(&format!("resident, MB; {published}"), cadvisor(|m| m.resident_mb), Some(*quiet_mb), Some(25.0));
    row(
        &format!("resident after scrapes, MB; {published}"),
        cadvisor(|m| m.resident_mb),
        Some(*asked_mb),
        Some(25.0),
    );
    row(
        &format!("a page of about {PAGE_SERIES} series, ms; {published}"),
        cadvisor(|m| m.scrape_ms),
        page(|m| m.scrape_ms),
        Some(5.0),
    );
    row(&format!("its series; {published}"), cadvisor(|m| m.series), page(|m| m.series), None);
    row("its CPU, ms", None, page(|m| m.scrape_cpu_ms), None);
    row("a page of all containers, ms", None, Some(containers.scrape_ms), None);
    row("its series", None, Some(containers.series), None);
    row("its CPU, ms", None, Some(containers.scrape_cpu_ms), None);
    row(
        "a page of the machine, CPU ms; node_exporter",
        peer(|m| m.scrape_cpu_ms),
        Some(node.scrape_cpu_ms),
        Some(2.0),
    );
    row("a page of the machine, ms; node_exporter", peer(|m| m.scrape_ms), Some(node.scrape_ms), None);
    row("its series; node_exporter", peer(|m| m.series), Some(node.series), None);
    row("resident after scrapes, MB; node_exporter", peer(|m| m.resident_mb), Some(*asked_mb), None);
    out
}
