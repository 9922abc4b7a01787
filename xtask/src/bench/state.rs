//! `cargo xtask bench state`: what it takes to tell the state of a large cluster.
//!
//! The program itself watches an API server of the tests and does with the cluster what it does without further
//! wishes, but for storing the page, which the bench of the store tells of. The page is asked for over HTTP, and
//! objects are changed while it is. There is no peer here: the goals are figures.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::json;
use vedette_test_apiserver::{ApiServer, made};

use super::{Bench, http::Client, process::Process};
use crate::run::target;

const CONFIG: &str = "collect: {figures: off, sensor: off}\n\
    kubernetes: [{name: c, kubeconfig_file: kubeconfig, state_metrics: {interval: off}}]\n";
const PAGE: &str = "/metrics/kube-state";

/// How long the program may take to know all objects, and to show a change.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);

/// How much is measured.
struct Shape {
    pods: usize,
    /// Between the last object that came and the look at what is resident then.
    rest: Duration,
    pages: usize,
    changes: usize,
}

/// What was measured.
#[derive(Debug, Default)]
struct Measured {
    rows: usize,
    page_bytes: usize,
    /// From the question to the last byte, sorted.
    page_ms: Vec<f64>,
    /// Of the program, for a page.
    page_cpu_ms: f64,
    start_peak_mb: f64,
    steady_mb: f64,
    peak_mb: f64,
    /// From the change at the API server to the end of a page that shows it, sorted.
    change_ms: Vec<f64>,
}

/// `cargo xtask bench state`.
pub fn run(args: &Bench, vedette: &Path) -> Result<()> {
    let shape = if args.small {
        Shape { pods: 200, rest: Duration::from_millis(200), pages: 3, changes: 5 }
    } else {
        Shape { pods: 10_000, rest: Duration::from_secs(10), pages: 50, changes: 100 }
    };
    let server = ApiServer::start();
    for number in 0..shape.pods / made::PODS_A_NODE {
        server.put("/api/v1/nodes", made::node(number));
    }
    for number in 0..shape.pods {
        server.put("/api/v1/pods", made::pod(number, 0));
    }
    let folder = target().join("bench/state");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let mut program = Program::start(vedette, &folder, &server)?;
    let measured = program.measure(&shape, &server)?;
    println!("{} pods on {} nodes\n", shape.pods, shape.pods / made::PODS_A_NODE);
    println!("{}", table(&measured, args.small));
    Ok(())
}

/// The program under test.
struct Program {
    process: Process,
    client: Client,
}

impl Program {
    fn start(vedette: &Path, folder: &Path, server: &ApiServer) -> Result<Self> {
        let kubeconfig = json!({"current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": server.url()}}],
            "users": [{"name": "u", "user": {}}]});
        std::fs::write(folder.join("kubeconfig"), kubeconfig.to_string())?;
        std::fs::write(folder.join("vedette.yml"), CONFIG)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut command = Command::new(vedette);
        command.args(["up", "--listen", &address.to_string(), "--config"]).arg(folder.join("vedette.yml"));
        command.arg("--data-dir").arg(folder.join("data"));
        let process = Process::start(&mut command, &folder.join("vedette.log"))?;
        Ok(Self { process, client: Client::new(address) })
    }

    fn measure(&mut self, shape: &Shape, server: &ApiServer) -> Result<Measured> {
        self.wait_whole(shape)?;
        std::thread::sleep(shape.rest);
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let mut measured = Measured {
            start_peak_mb: mb(self.process.peak()?),
            steady_mb: mb(self.process.resident()?),
            ..Measured::default()
        };
        let (status, page) = self.client.get(PAGE)?;
        ensure!(status == 200, "{PAGE}: {status} {page}");
        measured.rows = page.lines().filter(|line| !line.starts_with('#')).count();
        ensure!(measured.rows > shape.pods * 35, "only {} rows are told", measured.rows);
        measured.page_bytes = page.len();
        drop(page);

        let cpu = self.process.cpu()?;
        for _ in 0..shape.pages {
            let (taken, bytes) = self.page(None)?;
            ensure!(taken.shows, "BUG: all pages show nothing in particular");
            ensure!(bytes == measured.page_bytes, "a page of {bytes} bytes, of the same objects");
            measured.page_ms.push(taken.ms);
        }
        measured.page_cpu_ms = (self.process.cpu()? - cpu).as_secs_f64() * 1e3 / shape.pages as f64;
        for change in 1..=shape.changes {
            // Pods all over the page.
            let pod = change * 7919 % shape.pods;
            measured.change_ms.push(self.change(server, pod, change)?);
        }
        measured.peak_mb = mb(self.process.peak()?);
        measured.page_ms.sort_by(f64::total_cmp);
        measured.change_ms.sort_by(f64::total_cmp);
        Ok(measured)
    }

    /// Waits until all objects are known.
    #[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
    fn wait_whole(&mut self, shape: &Shape) -> Result<()> {
        let begun = Instant::now();
        let told = |resource: &str, count: usize| {
            format!("vedette_k8s_watch_objects{{cluster=\"c\",resource=\"{resource}\"}} {count}\n")
        };
        let wanted = [told("pods", shape.pods), told("nodes", shape.pods / made::PODS_A_NODE)];
        loop {
            ensure!(!self.process.has_ended()?, "it ended; see vedette.log");
            if let Ok((200, own)) = self.client.get("/metrics")
                && wanted.iter().all(|row| own.contains(row.as_str()))
            {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "it does not know all objects after {PATIENCE:?}");
            std::thread::sleep(LOOK);
        }
    }

    /// Reads a page, and looks for a row in it. Gives its length, too.
    #[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
    fn page(&mut self, row: Option<&str>) -> Result<(Taken, usize)> {
        let mut look = Look::new(row.unwrap_or_default());
        let begun = Instant::now();
        let status = self.client.read(PAGE, |piece| look.take(piece))?;
        let taken = Taken { ms: begun.elapsed().as_secs_f64() * 1e3, shows: look.has_found };
        ensure!(status == 200, "{PAGE}: {status}");
        Ok((taken, look.bytes))
    }

    /// Lets a container start again, and asks for pages until one says so. Gives how many ms that took.
    #[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
    fn change(&mut self, server: &ApiServer, pod: usize, restarts: usize) -> Result<f64> {
        let row = format!(
            "\nkube_pod_container_status_restarts_total{{namespace=\"{}\",pod=\"{}\",uid=\"{}\",container=\"app\"}} {restarts}\n",
            made::namespace(pod),
            made::name(pod),
            made::uid(pod)
        );
        let object = made::pod(pod, restarts);
        let begun = Instant::now();
        server.put("/api/v1/pods", object);
        while !self.page(Some(&row))?.0.shows {
            ensure!(begun.elapsed() < PATIENCE, "no page has {row:?} after {PATIENCE:?}");
        }
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    }
}

/// A page that was read.
struct Taken {
    ms: f64,
    shows: bool,
}

/// Looks for a row in what comes piece by piece, wherever it is cut.
struct Look<'a> {
    row: &'a [u8],
    /// The end of what has come, shorter than the row.
    end: Vec<u8>,
    has_found: bool,
    bytes: usize,
}

impl<'a> Look<'a> {
    fn new(row: &'a str) -> Self {
        Self { row: row.as_bytes(), end: Vec::new(), has_found: row.is_empty(), bytes: 0 }
    }

    fn take(&mut self, piece: &[u8]) {
        self.bytes += piece.len();
        if self.has_found {
            return;
        }
        let overlap = self.row.len() - 1;
        self.end.extend_from_slice(&piece[..piece.len().min(overlap)]);
        self.has_found = finds(&self.end, self.row) || finds(piece, self.row);
        if piece.len() >= overlap {
            self.end.clear();
            self.end.extend_from_slice(&piece[piece.len() - overlap..]);
        } else {
            self.end.drain(..self.end.len().saturating_sub(overlap));
        }
    }
}

fn finds(bytes: &[u8], row: &[u8]) -> bool {
    memchr::memmem::find(bytes, row).is_some()
}

/// The value below which so many of 100 are; 0 of none.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted
        .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// One row a figure. A goal is judged on the load of the whole bench only.
fn table(measured: &Measured, is_small: bool) -> String {
    let mut out = String::from("| | Vedette | goal |\n|---|---:|---:|\n");
    let mut row = |name: &str, value: f64, digits: usize, goal: Option<f64>| {
        let goal = goal.map_or(String::new(), |goal| {
            let mark = match value <= goal {
                _ if is_small => "",
                true => " ✓",
                false => " ✗",
            };
            format!("≤ {goal}{mark}")
        });
        out.push_str(&format!("| {name} | {value:.digits$} | {goal} |\n"));
    };
    row("rows of the page", measured.rows as f64, 0, None);
    row("its bytes, MB", measured.page_bytes as f64 / 1e6, 1, None);
    row("the page, ms, median", percentile(&measured.page_ms, 50), 1, Some(100.0));
    row("the page, ms, p99", percentile(&measured.page_ms, 99), 1, None);
    row("its CPU, ms", measured.page_cpu_ms, 1, None);
    row("resident, all objects known, MB", measured.steady_mb, 1, Some(150.0));
    row("peak until then ÷ resident", measured.start_peak_mb / measured.steady_mb, 2, Some(1.3));
    row("peak with pages, MB", measured.peak_mb, 1, Some(150.0));
    row("change → row, ms, median", percentile(&measured.change_ms, 50), 1, None);
    row("change → row, ms, p99", percentile(&measured.change_ms, 99), 1, Some(1000.0));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_wherever_it_is_cut() {
        let page = "# TYPE a\na{b=\"c\"} 1\na{b=\"d\"} 12\nb 1\n";
        for (row, is_there) in
            [("\na{b=\"d\"} 12\n", true), ("\na{b=\"d\"} 1\n", false), ("\nb 1\n", true), ("", true)]
        {
            for length in 1..=page.len() {
                let mut look = Look::new(row);
                page.as_bytes().chunks(length).for_each(|piece| look.take(piece));
                assert_eq!((look.has_found, look.bytes), (is_there, page.len()), "{row:?} by {length}");
            }
        }
    }

    #[test]
    fn figures_are_held_against_their_goals() {
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(
            (percentile(&sorted, 50), percentile(&sorted, 99), percentile(&[], 50)),
            (51.0, 100.0, 0.0)
        );
        let measured = Measured { page_ms: vec![99.0], steady_mb: 200.0, ..Measured::default() };
        let lines = table(&measured, false);
        assert!(lines.contains("| the page, ms, median | 99.0 | ≤ 100 ✓ |\n"), "{lines}");
        assert!(lines.contains("| resident, all objects known, MB | 200.0 | ≤ 150 ✗ |\n"), "{lines}");
        assert!(!table(&measured, true).contains('✗'), "a small load has no verdict");
    }
}
