//! Clients that mean no good, or are broken.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use vedette_model::Finding;
use vedette_sys::Random;
use vedette_wire::prometheus::RuleGroup;

use super::{Running, http, start, start_with, test_config};
use crate::{Config, Error, Judgement, Server};

pub(super) async fn metric(running: &Running, line: &str) -> bool {
    http::get(running.address, "/metrics").await.body.lines().any(|l| l == line)
}

/// Asks until it is so; a server on which it never is fails the test by its patience.
pub(super) async fn until(running: &Running, line: &str) {
    let wait = async {
        while !metric(running, line).await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(http::PATIENCE, wait).await.unwrap_or_else(|_| panic!("never {line}"));
}

#[test]
fn only_loopback_is_listened_on() {
    for (listen, fits) in [
        ("127.0.0.1:0", true),
        ("[::1]:0", true),
        ("0.0.0.0:9090", false),
        ("[::]:9090", false),
        ("192.168.1.1:80", false),
    ] {
        let config = Config { listen: listen.parse().expect("an address"), ..Config::default() };
        match config.validate() {
            Ok(()) => assert!(fits, "{listen}"),
            Err(error) => {
                assert!(!fits, "{listen}: {error}");
                assert!(error.to_string().contains("authentication"), "{error}");
            }
        }
    }
    for config in [
        Config { queries_max: 0, ..Config::default() },
        Config { header_bytes_max: 1, ..Config::default() },
        Config { write_timeout: Duration::ZERO, ..Config::default() },
    ] {
        assert!(config.validate().is_err(), "{config:?}");
    }
}

#[tokio::test]
async fn a_port_in_use_names_the_remedy() {
    let running = start().await;
    let (app, _folder) = super::test_app();
    let config = Config { listen: running.address, ..Config::default() };
    let Err(error @ Error::PortInUse { .. }) = Server::bind(config, app) else { panic!("it was bound") };
    let text = error.to_string();
    assert!(text.contains("in use") && text.contains("--listen 127.0.0.1:"), "{text}");
    running.stop().await;
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused() {
    let running = start().await;
    let port = running.address.port();
    for (request, status) in [
        (format!("GET /api/v1/labels HTTP/1.1\r\nHost: evil.example:{port}\r\n"), 421),
        ("GET /api/v1/labels HTTP/1.1\r\n".to_owned(), 421),
        ("GET http://evil.example/api/v1/labels HTTP/1.1\r\nHost: localhost\r\n".to_owned(), 421),
        ("GET /api/v1/labels HTTP/1.0\r\n".to_owned(), 200),
        (format!("GET /api/v1/labels HTTP/1.1\r\nHost: localhost:{port}\r\n"), 200),
        (format!("POST /api/v1/labels HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 0\r\n"), 200),
        (
            format!(
                "POST /api/v1/labels HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 0\r\nOrigin: http://localhost:{port}\r\n"
            ),
            200,
        ),
        (
            format!(
                "POST /api/v1/labels HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 0\r\nOrigin: http://evil.example\r\n"
            ),
            403,
        ),
        (
            format!(
                "POST /api/v1/labels HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 0\r\nOrigin: null\r\n"
            ),
            403,
        ),
        (
            format!(
                "POST /api/v1/labels HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 0\r\nOrigin: http://localhost:1\r\n"
            ),
            403,
        ),
        (
            format!(
                "POST /api/v1/labels HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 0\r\nSec-Fetch-Site: cross-site\r\n"
            ),
            403,
        ),
        (
            format!(
                "OPTIONS /api/v1/labels HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: http://evil.example\r\n"
            ),
            // As Prometheus answers it, but without a word that lets pages of others read anything.
            204,
        ),
    ] {
        let reply =
            http::raw(running.address, format!("{request}Connection: close\r\n\r\n").as_bytes()).await;
        assert_eq!(reply.expect("an answer").status, status, "{request}");
    }
    running.stop().await;
}

#[tokio::test]
async fn slow_and_endless_requests_are_ended() {
    let short = Duration::from_millis(50);
    let running = start_with(Config {
        header_timeout: short,
        body_timeout: short,
        header_bytes_max: 8192,
        body_bytes_max: 1024,
        ..test_config()
    })
    .await;
    // Half a head, and nothing more.
    assert!(http::raw(running.address, b"GET / HTTP/1.1\r\nHost: loc").await.is_none_or(|r| r.status == 408));
    // Nothing at all.
    assert!(http::raw(running.address, b"").await.is_none_or(|r| r.status == 408));
    // A head that does not end.
    let endless = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(100_000));
    assert_eq!(http::raw(running.address, endless.as_bytes()).await.map_or(431, |r| r.status), 431);
    let form = "POST /api/v1/labels HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    // Half a body.
    let reply =
        http::raw(running.address, format!("{form}Content-Length: 100\r\n\r\nmatch").as_bytes()).await;
    assert_eq!(reply.expect("an answer").status, 408);
    // Too large a body, said and unsaid.
    let body = "x".repeat(2000);
    let reply =
        http::raw(running.address, format!("{form}Content-Length: 2000\r\n\r\n{body}").as_bytes()).await;
    assert_eq!(reply.expect("an answer").status, 413);
    let chunked = format!("{form}Transfer-Encoding: chunked\r\n\r\n7d0\r\n{body}\r\n0\r\n\r\n");
    assert_eq!(http::raw(running.address, chunked.as_bytes()).await.expect("an answer").status, 413);
    assert!(metric(&running, "vedette_api_requests_refused_total{reason=\"size\"} 2").await);
    running.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off() {
    let running = start_with(Config { write_timeout: Duration::from_millis(50), ..test_config() }).await;
    let mut stream = TcpStream::connect(running.address).await.expect("connects");
    // Requests without end whose answers nobody reads fill the buffers between us.
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    let flood = async { while stream.write_all(&request).await.is_ok() {} };
    tokio::time::timeout(http::PATIENCE, flood).await.expect("the server ends it");
    until(&running, "vedette_api_connections_cut_total 1").await;
    running.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let running = start_with(Config { connections_max: 2, ..test_config() }).await;
    let first = TcpStream::connect(running.address).await.expect("connects");
    let second = TcpStream::connect(running.address).await.expect("connects");
    let mut third = TcpStream::connect(running.address).await.expect("the kernel takes it");
    third
        .write_all(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .expect("sends");
    let mut answer = String::new();
    let early = tokio::time::timeout(Duration::from_millis(50), third.read_to_string(&mut answer)).await;
    assert!(early.is_err(), "it was served although both places were taken: {answer}");
    drop((first, second));
    let late = tokio::time::timeout(http::PATIENCE, third.read_to_string(&mut answer)).await;
    assert!(late.is_ok() && answer.starts_with("HTTP/1.1 200"), "{answer}");
    running.stop().await;
}

/// Takes minutes unless it is stopped: the test store takes its time for these series.
const HEAVY: &str = "/api/v1/query?query=sum(slow)";

#[tokio::test]
async fn a_query_ends_at_its_deadline() {
    let running = start().await;
    let reply = http::get(running.address, &format!("{HEAVY}&timeout=50ms")).await;
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (
            503,
            r#"{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}"#
        )
    );
    until(&running, "vedette_api_queries_running 0").await;
    running.stop().await;
}

#[tokio::test]
async fn a_query_ends_when_its_client_leaves() {
    let running = start().await;
    let mut stream = TcpStream::connect(running.address).await.expect("connects");
    let request = format!("GET {HEAVY} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sends");
    until(&running, "vedette_api_queries_running 1").await;
    drop(stream);
    until(&running, "vedette_api_queries_running 0").await;
    assert!(metric(&running, "vedette_api_queries_unfinished_total{reason=\"canceled\"} 1").await);
    running.stop().await;
}

#[tokio::test]
async fn queries_wait_for_their_turn_and_no_longer() {
    let running = start_with(Config { queries_max: 1, queries_waiting_max: 1, ..test_config() }).await;
    let heavy = || {
        let address = running.address;
        tokio::spawn(
            async move { http::raw(address, format!("GET {HEAVY} HTTP/1.0\r\n\r\n").as_bytes()).await },
        )
    };
    let first = heavy();
    until(&running, "vedette_api_queries_running 1").await;
    let overdue = http::get(running.address, "/api/v1/query?query=1&timeout=50ms").await;
    assert!(overdue.body.contains("query timed out in query queue"), "{}", overdue.body);
    let second = heavy();
    until(&running, "vedette_api_queries_waiting 1").await;
    let third = http::get(running.address, "/api/v1/query?query=1").await;
    assert_eq!((third.status, third.body.contains(r#""errorType":"unavailable""#)), (503, true));
    second.abort();
    until(&running, "vedette_api_queries_waiting 0").await;
    // Its turn comes as soon as the first is gone.
    let next = http::get(running.address, "/api/v1/query?query=1");
    first.abort();
    assert_eq!(next.await.status, 200);
    until(&running, "vedette_api_queries_running 0").await;
    running.stop().await;
}

/// Answers for its findings when it is told to.
struct Busy(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);

impl Judgement for Busy {
    fn rule_groups(&self) -> Vec<RuleGroup> {
        Vec::new()
    }

    fn findings(&self) -> Vec<Finding> {
        let _ = self.0.lock().expect("not poisoned").recv();
        Vec::new()
    }
}

#[tokio::test]
async fn judgement_that_is_busy_holds_up_nobody_else() {
    let (go, told) = std::sync::mpsc::channel();
    let (mut app, folder) = super::test_app();
    app.judgement = std::sync::Arc::new(Busy(told.into()));
    let running = super::start_app(test_config(), app, folder).await;
    let address = running.address;
    let findings = tokio::spawn(async move { http::get(address, "/api/vedette/v1/findings").await });
    until(&running, "vedette_api_queries_running 1").await;
    assert_eq!(http::get(address, "/-/healthy").await.status, 200);
    go.send(()).expect("it waits for it");
    assert_eq!(findings.await.expect("no panic").body, r#"{"findings":[]}"#);
    running.stop().await;
}

#[tokio::test]
async fn garbage_never_harms() {
    let running = start().await;
    let mut random = Random::new(7);
    let seeds: [&[u8]; 3] = [
        b"GET /api/v1/query?query=up%7Ba%3D%22%22%7D&time=1&timeout=1s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"POST /api/v1/series HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 12\r\n\r\nmatch[]=up&&",
        b"GET /api/vedette/v1/events?text=a&process=1:2&from=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ];
    for _ in 0..300 {
        let mut bytes = seeds[usize::try_from(random.below(3)).expect("small")].to_vec();
        for _ in 0..=random.below(6) {
            let place = usize::try_from(random.below(bytes.len() as u64)).expect("small");
            bytes[place] = u8::try_from(random.below(256)).expect("a byte");
        }
        let mut stream = TcpStream::connect(running.address).await.expect("connects");
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(http::PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "no end of {:?}", String::from_utf8_lossy(&bytes));
        assert!(!answer.starts_with(b"HTTP/1.1 500"), "{:?}", String::from_utf8_lossy(&bytes));
    }
    assert_eq!(http::get(running.address, "/-/healthy").await.status, 200);
    running.stop().await;
}
