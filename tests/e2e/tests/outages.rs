//! What is scraped outlives outages: of the source that names the targets, of the server that is written
//! to, and of the disk on which samples wait.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vedette_e2e::{
    http, is_root, parts,
    peer::Peer,
    program::Vedette,
    skip,
    target::{answer, serve},
    wait_for,
};

const START: Duration = Duration::from_secs(60);
/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(180);

const OWN_CONFIG: &str = "prometheus_config: prometheus.yml\n";
const QUIET_CONFIG: &str = "prometheus_config: prometheus.yml\ncollect: {figures: off, sensor: off}\n";

/// A target whose series `n` counts its scrapes: what is lost leaves a gap. Others make an answer of some
/// kilobytes, so that a full disk is full with the next.
struct Counting {
    address: SocketAddr,
    scrapes: Arc<AtomicU64>,
}

impl Counting {
    fn start() -> Result<Self> {
        let scrapes = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&scrapes);
        let address = serve(move |_, stream: &mut TcpStream| {
            let n = count.fetch_add(1, Ordering::SeqCst) + 1;
            let mut body = format!("n {n}\n");
            for i in 0..1000_u64 {
                let noise = (n * 1000 + i).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                body.push_str(&format!("noise{{i=\"{i}\"}} {noise}\n"));
            }
            answer(stream, 200, "text/plain", body.as_bytes())
        })?;
        Ok(Self { address, scrapes })
    }

    fn scrapes(&self) -> u64 {
        self.scrapes.load(Ordering::SeqCst)
    }

    /// Waits until it was scraped so many times more.
    fn wait_scrapes(&self, more: u64) -> Result<()> {
        let end = self.scrapes() + more;
        wait_for("scrapes", SOON, || Ok((self.scrapes() >= end).then_some(())))
    }
}

/// Debian's Prometheus with the receiver of remote write, over the same store each time.
fn receiver(folder: &Path, address: SocketAddr) -> Result<Option<Peer>> {
    let binary = parts().join("usr/bin/prometheus");
    if !binary.is_file() {
        return Ok(None);
    }
    let mut peer = Peer::receiver(&binary, folder, address)?;
    peer.wait_ready("/-/ready", START)?;
    Ok(Some(peer))
}

/// Time and value of each sample of the only series of a name, up to a time.
fn samples(address: SocketAddr, name: &str, time: &str) -> Result<Vec<(String, String)>> {
    let path = format!("/api/v1/query?query={}&time={time}", http::escape(&format!("{name}[1h]")));
    let answer = http::get(address, &path)?.json()?;
    let series = answer["data"]["result"].as_array().with_context(|| answer.to_string())?;
    ensure!(series.len() <= 1, "{answer}");
    let values = series.first().and_then(|one| one["values"].as_array()).cloned().unwrap_or_default();
    let each = |pair: &Value| Some((pair[0].to_string(), pair[1].as_str()?.to_owned()));
    Ok(values.iter().filter_map(each).collect())
}

/// The newest time there may be.
#[expect(clippy::disallowed_methods, reason = "programs live by the clock of the machine")]
fn now() -> Result<String> {
    let passed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(format!("{:.3}", passed.as_secs_f64()))
}

fn config(target: SocketAddr, receiver: SocketAddr) -> String {
    format!(
        "global: {{scrape_interval: 1s}}\n\
         scrape_configs:\n- job_name: counting\n  static_configs: [{{targets: ['{target}']}}]\n\
         remote_write:\n- url: http://{receiver}/api/v1/write\n  name: far\n  \
         queue_config: {{batch_send_deadline: 100ms, max_backoff: 1s}}\n"
    )
}

#[test]
fn a_receiver_that_is_away_for_a_while_gets_what_was_scraped_meanwhile() -> Result<()> {
    let (folder, address) = (tempfile::tempdir()?, Peer::free_address()?);
    let Some(first) = receiver(folder.path(), address)? else {
        skip!("receiver that is away", "Debian's Prometheus is not unpacked");
    };
    let target = Counting::start()?;
    std::fs::write(folder.path().join("prometheus.yml"), config(target.address, address))?;
    let mut vedette = Vedette::start(folder.path(), Some(QUIET_CONFIG))?;
    vedette.wait_ready(START)?;
    let there = || samples(address, "n", &now()?);
    wait_for("the first samples at the receiver", SOON, || Ok((there()?.len() > 2).then_some(())))?;
    drop(first);
    target.wait_scrapes(5)?;
    let part = wait_for("the outage on the status page", SOON, || {
        let status = vedette.get("/api/vedette/v1/status")?;
        let parts = status["parts"].as_array().cloned().unwrap_or_default();
        Ok(parts.into_iter().find(|p| p["health"] != "ok" && p["name"].to_string().contains("far")))
    })?;
    ensure!(part["message"].to_string().contains("refused"), "{part}");

    let _again = receiver(folder.path(), address)?;
    target.wait_scrapes(2)?;
    let until = now()?;
    let own = samples(vedette.address, "n", &until)?;
    ensure!(own.len() > 8, "{own:?}");
    wait_for("the same samples at the receiver", SOON, || {
        let far = samples(address, "n", &until)?;
        ensure!(far == own, "there are {far:?}\nand here {own:?}");
        Ok(Some(()))
    })
}

#[test]
fn a_full_disk_of_the_spool_costs_no_sample() -> Result<()> {
    if !is_root() {
        skip!("full disk of the spool", "mounting a small file system needs root");
    }
    let (folder, address) = (tempfile::tempdir()?, Peer::free_address()?);
    let Some(_receiver) = receiver(folder.path(), address)? else {
        skip!("full disk of the spool", "Debian's Prometheus is not unpacked");
    };
    let data = folder.path().join("data");
    std::fs::create_dir(&data)?;
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(&data).status()?;
    ensure!(mounted.success(), "cannot mount a tmpfs");
    let result = full_spool(folder.path(), &data, address);
    let _ = Command::new("umount").arg("-l").arg(&data).status();
    result
}

fn full_spool(folder: &Path, data: &Path, receiver: SocketAddr) -> Result<()> {
    let target = Counting::start()?;
    std::fs::write(folder.join("prometheus.yml"), config(target.address, receiver))?;
    let mut agent = Vedette::start_as("agent", folder, OWN_CONFIG)?;
    agent.wait_ready(START)?;
    let there = || samples(receiver, "n", &now()?);
    wait_for("the first samples at the receiver", SOON, || Ok((there()?.len() > 2).then_some(())))?;
    let ballast = data.join("ballast");
    let _ = Command::new("dd")
        .args(["if=/dev/zero", "bs=1M"])
        .arg(format!("of={}", ballast.display()))
        .output()?;
    // The target is up, and says that its samples wait.
    wait_for("the full disk in the health of the target", SOON, || {
        let targets = agent.targets()?;
        let target = targets.first().context("no target")?;
        Ok((target["health"] == "up" && target["lastError"].to_string().contains("space")).then_some(()))
    })?;
    target.wait_scrapes(5)?;
    std::fs::remove_file(ballast)?;
    let newest = target.scrapes() + 3;
    let far = wait_for("all samples at the receiver", SOON, || {
        let far = there()?;
        let last: f64 = far.last().context("none")?.1.parse()?;
        Ok((last >= newest as f64).then_some(far))
    })?;
    // A busy machine may let a scrape fail, which is seen; nothing else is missing.
    let failed = samples(receiver, "up", &now()?)?.iter().filter(|(_, up)| up == "0").count();
    let first: usize = far[0].1.parse()?;
    let last: usize = far[far.len() - 1].1.parse()?;
    ensure!(first == 1, "{far:?}");
    ensure!(far.len() + failed >= last, "{failed} scrapes failed, there are {far:?}");
    Ok(())
}

#[test]
fn targets_stay_when_the_source_that_named_them_goes() -> Result<()> {
    const GOOD: usize = 0;
    const ANSWERS: [&str; 7] =
        ["good", "status 500", "no JSON", "no list of targets", "no answer", "silence", "no end"];
    let (folder, target) = (tempfile::tempdir()?, Counting::start()?);
    let chosen = Arc::new(AtomicUsize::new(GOOD));
    let (number, address) = (Arc::clone(&chosen), target.address);
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let list = serve(move |_, stream| {
        count.fetch_add(1, Ordering::SeqCst);
        let good = format!("[{{\"targets\": [\"{address}\"], \"labels\": {{\"from\": \"list\"}}}}]");
        match ANSWERS[number.load(Ordering::SeqCst)] {
            "good" => answer(stream, 200, "application/json", good.as_bytes()),
            "status 500" => answer(stream, 500, "application/json", b"[]"),
            "no JSON" => answer(stream, 200, "application/json", &good.as_bytes()[..9]),
            "no list of targets" => answer(stream, 200, "application/json", b"[{\"targets\": [1]}]"),
            "silence" => stream.read(&mut [0]).is_err(),
            "no end" => {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
                let mut is_open = stream.write_all(head.as_bytes()).is_ok();
                while is_open {
                    is_open = stream.write_all(&[b' '; 1 << 16]).is_ok();
                }
                false
            }
            _ => false,
        }
    })?;
    let file = folder.path().join("targets.json");
    std::fs::write(&file, format!("[{{\"targets\": [\"{address}\"]}}]"))?;
    let text = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n\
         - job_name: listed\n  http_sd_configs: [{{url: 'http://{list}/', refresh_interval: 1s}}]\n\
         - job_name: filed\n  file_sd_configs: [{{files: [targets.json], refresh_interval: 1s}}]\n"
    );
    std::fs::write(folder.path().join("prometheus.yml"), text)?;
    let mut vedette = Vedette::start(folder.path(), Some(QUIET_CONFIG))?;
    vedette.wait_ready(START)?;
    let is_up =
        |job: &str| -> Result<bool> { Ok(vedette.query(&format!("up{{job=\"{job}\"}} == 1"))?.len() == 1) };
    let is_failing = |job: &str, kind: &str| -> Result<bool> {
        let text = http::get(vedette.address, "/metrics")?.text();
        let line = format!("vedette_discovery_source_failing{{config=\"{job}\",kind=\"{kind}\"}} 1");
        Ok(text.lines().any(|have| have == line))
    };
    for job in ["listed", "filed"] {
        wait_for(job, SOON, || Ok(is_up(job)?.then_some(())))?;
    }
    // Both jobs scrape the same target.
    let stay = |job: &str, what: &str| -> Result<()> {
        let newest = target.scrapes() as f64 + 6.0;
        wait_for(&format!("more scrapes of {job} with {what}"), SOON, || {
            let rows = vedette.query(&format!("n{{job=\"{job}\"}}"))?;
            Ok(rows.first().is_some_and(|(_, n)| *n > newest).then_some(()))
        })
    };
    for (number, what) in ANSWERS.iter().enumerate().skip(1) {
        chosen.store(number, Ordering::SeqCst);
        wait_for(what, SOON, || Ok(is_failing("listed", "http")?.then_some(())))?;
        stay("listed", what)?;
        let part = vedette.part("discovery")?;
        ensure!(
            part["health"] == "degraded" && part.to_string().contains("last good targets are kept"),
            "{part}"
        );
        chosen.store(GOOD, Ordering::SeqCst);
        wait_for("the list again", SOON, || Ok((!is_failing("listed", "http")?).then_some(())))?;
    }
    // Half a file is written; then it is gone, by which people take targets away.
    std::fs::write(&file, "[{\"targets\": ")?;
    wait_for("half a file", SOON, || Ok(is_failing("filed", "file")?.then_some(())))?;
    stay("filed", "half a file")?;
    std::fs::remove_file(&file)?;
    wait_for("the end of the targets of a file that is gone", SOON, || {
        Ok(vedette.query("up{job=\"filed\"}")?.is_empty().then_some(()))
    })?;
    ensure!(is_up("listed")? && asked.load(Ordering::SeqCst) > 5);
    Ok(())
}
