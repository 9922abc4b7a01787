//! Targets that hang, lie and flood, before the real server: each says in its health what it does, the
//! others go on, and memory stays bounded.

use std::{
    collections::BTreeMap,
    io::Write,
    net::TcpStream,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vedette_e2e::{
    program::Vedette,
    target::{answer, serve},
    wait_for,
};

const START: Duration = Duration::from_secs(60);
/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(120);

const CONFIG: &str = "prometheus_config: prometheus.yml\ncollect: {figures: off, sensor: off}\n";

/// Answers at their own limits may take this at most besides what the program takes anyhow.
const MEMORY_KIB_MAX: u64 = (512 + 256) << 10;

/// Targets that send more than all answers together may have.
const UNLIMITED: usize = 4;

/// Path, health, and what the health says.
const TARGETS: &[(&str, &str, &str)] = &[
    ("hangs", "down", "did not answer within 1s"),
    ("hangs-within", "down", "did not answer within 1s"),
    ("drips-head", "down", "did not answer within 1s"),
    ("drips-body", "down", "did not answer within 1s"),
    ("promises-more", "down", "after 4 of 100 bytes"),
    ("sends-more", "down", "cannot be read"),
    ("promises-gigabyte", "down", "more than 1048576 bytes"),
    ("sends-gigabyte", "down", "more than 1048576 bytes"),
    ("sends-gigabyte-until-close", "down", "more than 1048576 bytes"),
    ("endless-head", "down", "the head of the answer has more than"),
    ("endless-head-line", "down", "the head of the answer has more than"),
    ("endless-chunk-size", "down", "chunks of the answer are broken"),
    ("broken-chunks", "down", "chunks of the answer are broken"),
    ("redirects-for-ever", "down", "redirect"),
    ("two-lengths", "down", "two different lengths"),
    ("no-utf8", "down", "UTF-8"),
    ("no-utf8-compressed", "down", "gzip compression of the answer is broken"),
    ("no-http", "down", "not HTTP"),
    ("no-metrics", "down", "text/html"),
    ("closes", "down", "closed before an answer"),
    ("half-a-line", "down", "line 2"),
    ("duplicates", "up", "in the answer before"),
    ("goes-back", "up", "before those of earlier samples"),
    ("of-the-future", "up", "in the future"),
];

/// What a target does; whether the connection stays.
fn act(path: &str, stream: &mut TcpStream, clock_ms: &AtomicI64) -> bool {
    let ok = |stream: &mut TcpStream, headers: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{headers}\r\n");
        stream.write_all(&[head.as_bytes(), body].concat()).is_ok()
    };
    let text = |stream: &mut TcpStream, body: &[u8]| answer(stream, 200, "text/plain", body);
    // Until the client has enough of it.
    let hang = |stream: &mut TcpStream| std::io::Read::read(stream, &mut [0]).is_err();
    let drip = |stream: &mut TcpStream, bytes: &[u8]| {
        (0..).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            stream.write_all(bytes).is_err()
        });
        false
    };
    let flood = |stream: &mut TcpStream, piece: &[u8]| {
        for _ in 0..(1 << 30) / piece.len() {
            if stream.write_all(piece).is_err() {
                break;
            }
        }
        false
    };
    let lines = vec![b'\n'; 1 << 16];
    match path.trim_start_matches('/').split('?').next().unwrap_or_default() {
        "hangs" => hang(stream),
        "hangs-within" => ok(stream, "Content-Length: 100\r\n", b"a 1\n") && hang(stream),
        "drips-head" => stream.write_all(b"HTTP/1.1 200 OK\r\nX: ").is_ok() && drip(stream, b"x"),
        "drips-body" => ok(stream, "", b"a 1\n") && drip(stream, b"#"),
        "promises-more" => {
            ok(stream, "Content-Length: 100\r\n", b"a 1\n");
            false
        }
        "sends-more" => ok(stream, "Content-Length: 3\r\n", b"ab\n1\n"),
        "promises-gigabyte" => ok(stream, "Content-Length: 1073741824\r\n", b"a 1\n") && hang(stream),
        "sends-gigabyte" => {
            let chunk = [b"10000\r\n", lines.as_slice(), b"\r\n"].concat();
            ok(stream, "Transfer-Encoding: chunked\r\n", b"") && flood(stream, &chunk)
        }
        "sends-gigabyte-until-close" => ok(stream, "", b"") && flood(stream, &lines),
        "endless-head" => {
            let header = [b"X-A: ", [b'y'; 1000].as_slice(), b"\r\n"].concat();
            stream.write_all(b"HTTP/1.1 200 OK\r\n").is_ok() && flood(stream, &header)
        }
        "endless-head-line" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nX-A: ").is_ok() && flood(stream, &[b'y'; 1 << 16])
        }
        "endless-chunk-size" => {
            ok(stream, "Transfer-Encoding: chunked\r\n", b"1;") && flood(stream, &[b'x'; 1 << 16])
        }
        "broken-chunks" => ok(stream, "Transfer-Encoding: chunked\r\n", b"-4\r\na 1\n\r\n0\r\n\r\n"),
        "redirects-for-ever" => {
            let head = "HTTP/1.1 302 Found\r\nLocation: /redirects-for-ever\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(head.as_bytes()).is_ok()
        }
        "two-lengths" => ok(stream, "Content-Length: 4\r\nContent-Length: 5\r\n", b"a 1\n"),
        "no-utf8" => text(stream, b"a{b=\"\xff\"} 1\n"),
        "no-utf8-compressed" => ok(stream, "Content-Encoding: gzip\r\nContent-Length: 4\r\n", b"\xff\n\n\n"),
        "no-http" => stream.write_all(b"SSH-2.0-OpenSSH\r\n").is_ok() && hang(stream),
        "no-metrics" => answer(stream, 200, "text/html", b"<html>"),
        "closes" => false,
        "half-a-line" => text(stream, b"a 1\nb"),
        "duplicates" => text(stream, b"a{x=\"y\"} 1\na{x=\"y\"} 2\n"),
        // Each answer tells of a time before that of the one before.
        "goes-back" => {
            let time_ms = clock_ms.fetch_sub(10, Ordering::SeqCst);
            text(stream, format!("a 1 {time_ms}\n").as_bytes())
        }
        "of-the-future" => {
            let time_ms = clock_ms.load(Ordering::SeqCst) + 3_600_000;
            text(stream, format!("a 1 {time_ms}\n").as_bytes())
        }
        "sound" => text(stream, b"sound 1\n"),
        other => answer(stream, 404, "text/plain", other.as_bytes()),
    }
}

/// Health and last error of each target by its path.
fn healths(vedette: &Vedette) -> Result<BTreeMap<String, (String, String)>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let targets = vedette.targets()?;
    let of = |t: &Value| (text(&t["labels"]["instance"]), (text(&t["health"]), text(&t["lastError"])));
    Ok(targets.iter().map(of).collect())
}

/// The most memory that the program had, in KiB.
fn memory_kib_max(vedette: &Vedette) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", vedette.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the program lives by the clock of the machine")]
fn each_says_what_it_does_and_the_others_go_on() -> Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
    let clock_ms = AtomicI64::new(i64::try_from(now)?);
    let address = serve(move |path, stream| act(path, stream, &clock_ms))?;
    let target = |path: &str| {
        format!("{{targets: ['{address}'], labels: {{__metrics_path__: '/{path}', instance: '{path}'}}}}")
    };
    let again = |number: usize| {
        format!(
            "{{targets: ['{address}'], labels: {{__metrics_path__: /sends-gigabyte, __param_n: '{number}', \
             instance: 'unlimited-{number}'}}}}"
        )
    };
    let hostile: Vec<String> = TARGETS.iter().map(|(path, ..)| target(path)).collect();
    // The last job has no limit but those of the server, and time to reach them: for one answer, and for
    // all of them together.
    let unlimited: Vec<String> = (0..UNLIMITED).map(again).collect();
    let text = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n\
         - job_name: hostile\n  body_size_limit: 1MB\n  static_configs: [{}]\n\
         - job_name: sound\n  static_configs: [{}]\n\
         - job_name: unlimited\n  scrape_interval: 10s\n  scrape_timeout: 10s\n  static_configs: [{}]\n",
        hostile.join(", "),
        target("sound"),
        unlimited.join(", "),
    );
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("prometheus.yml"), text)?;
    let mut vedette = Vedette::start(folder.path(), Some(CONFIG))?;
    vedette.wait_ready(START)?;
    for (path, health, words) in TARGETS {
        wait_for(&format!("{path} to say {words:?}"), SOON, || {
            let healths = healths(&vedette)?;
            let (is, says) = healths.get(*path).context("no such target")?;
            ensure!(is == *health && says.contains(words), "it is {is} and says {says:?}");
            Ok(Some(()))
        })?;
        // What failed is in the store as well.
        let up = vedette.query(&format!("up{{instance=\"{path}\"}}"))?;
        let expected = if *health == "up" { 1.0 } else { 0.0 };
        ensure!(up.len() == 1 && (up[0].1 - expected).abs() < 1e-9, "up of {path} is {up:?}");
    }
    wait_for("the limits of the server", SOON, || {
        let healths = healths(&vedette)?;
        let says = (0..UNLIMITED).filter_map(|number| Some(&healths.get(&format!("unlimited-{number}"))?.1));
        let is_bounded = |says: &&String| {
            says.contains("more than 268435456 bytes, which is the limit of this server")
                || says.contains("all memory for answers is in use")
        };
        ensure!(says.clone().filter(is_bounded).count() == UNLIMITED, "{:?}", says.collect::<Vec<_>>());
        Ok(Some(()))
    })?;
    // Of a sample that came twice the first counts.
    let first = vedette.query("a{instance=\"duplicates\"}")?;
    ensure!(first.len() == 1 && (first[0].1 - 1.0).abs() < 1e-9, "{first:?}");
    // The sound one was never kept waiting, and goes on.
    let sound = |expr: &str| -> Result<f64> {
        let rows = vedette.query(&expr.replace("UP", "up{instance=\"sound\"}[1h]"))?;
        Ok(rows.first().context("the sound target has no samples")?.1)
    };
    let before = sound("count_over_time(UP)")?;
    wait_for("more scrapes of the sound target", SOON, || {
        Ok((sound("count_over_time(UP)")? > before + 1.0).then_some(()))
    })?;
    ensure!(sound("min_over_time(UP)")? > 0.5, "the sound target was down");
    let most = memory_kib_max(&vedette)?;
    ensure!(most < MEMORY_KIB_MAX, "it took {most} KiB");
    println!("the most memory it took: {} MiB", most >> 10);
    Ok(())
}
