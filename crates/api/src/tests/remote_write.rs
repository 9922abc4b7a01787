//! Remote write over TCP, down to the store and back by a query.

use std::{net::SocketAddr, sync::Arc};

use vedette_wire::remote_write::Encoder;

use super::{NOW_MS, http, http::Reply, start, start_with, test_app, test_config};
use crate::{Config, Protocol, RemoteWriter, RemoteWritten, Server};

const TYPE: &str = "Content-Type: application/x-protobuf\r\n";
const SNAPPY: &str = "Content-Encoding: snappy\r\n";

fn body(name: &str, samples: &[(i64, f64)]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.begin_series([("__name__", name), ("job", "push")]);
    for (time_ms, value) in samples {
        encoder.sample(NOW_MS + time_ms, *value);
    }
    encoder.end_series();
    snap::raw::Encoder::new().compress_vec(encoder.message()).expect("compresses")
}

async fn send(address: SocketAddr, headers: &str, body: &[u8]) -> Reply {
    let mut request = format!(
        "POST /api/v1/write HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    http::raw(address, &request).await.expect("an answer")
}

async fn value(address: SocketAddr, query: &str) -> String {
    http::get(address, &format!("/api/v1/query?query={query}")).await.body
}

#[tokio::test]
async fn what_is_sent_can_be_queried() {
    let running = start().await;
    let reply =
        send(running.address, &format!("{TYPE}{SNAPPY}"), &body("pushed", &[(-5, 1.5), (0, 2.5)])).await;
    assert_eq!((reply.status, reply.body.as_str()), (204, ""));
    assert!(reply.header("content-length").is_none_or(|l| l == "0"), "{}", reply.head);
    let answer = value(running.address, "pushed").await;
    assert!(answer.contains(r#""job":"push"},"value":[1700000000,"2.5"]"#), "{answer}");
    // Headers that say nothing, or more than needed.
    for (name, headers) in [
        ("bare", String::new()),
        ("named", format!("Content-Type: application/x-protobuf; proto=prometheus.WriteRequest\r\n{SNAPPY}")),
        ("versioned", format!("{TYPE}{SNAPPY}X-Prometheus-Remote-Write-Version: 0.1.0\r\n")),
    ] {
        let reply = send(running.address, &headers, &body(name, &[(0, 1.0)])).await;
        assert_eq!(reply.status, 204, "{name}: {}", reply.body);
        assert!(value(running.address, name).await.contains(r#""1"]"#), "{name}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_body_in_many_pieces_is_put_together() {
    let running = start().await;
    let body = body("pieces", &(-3000..0).map(|n| (n, f64::from(n as i32))).collect::<Vec<_>>());
    let mut request = format!(
        "POST /api/v1/write HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{TYPE}{SNAPPY}Transfer-Encoding: chunked\r\n\r\n",
        running.address
    )
    .into_bytes();
    for piece in body.chunks(1000) {
        request.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        request.extend(piece);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    let reply = http::raw(running.address, &request).await.expect("an answer");
    assert_eq!(reply.status, 204, "{}", reply.body);
    let answer = value(running.address, "count_over_time(pieces%5B10s%5D)").await;
    assert!(answer.contains(r#""3000"]"#), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_told_as_prometheus_tells_it() {
    let running = start().await;
    let good = format!("{TYPE}{SNAPPY}");
    assert_eq!(send(running.address, &good, &body("a", &[(0, 1.0)])).await.status, 204);
    let broken = snap::raw::Encoder::new().compress_vec(&[0x0a, 9]).expect("compresses");
    let large = [0xff, 0xff, 0xff, 0xff, 0x0f];
    for (headers, body, status, words) in [
        (good.as_str(), body("a", &[(0, 2.0)]), 400, "1 of 1 samples were not stored: 1 out of order"),
        (&good, body("", &[(0, 1.0)]), 400, "no label __name__"),
        (&good, b"garbage".to_vec(), 400, "Snappy"),
        (&good, broken, 400, "at byte 2"),
        (&good, large.to_vec(), 413, "send fewer samples"),
        ("Content-Encoding: gzip\r\n", Vec::new(), 415, "Content-Encoding gzip is not understood"),
        ("Content-Type: text/plain\r\n", Vec::new(), 415, "prometheus.WriteRequest (remote write 1.0)"),
        (
            "Content-Type: application/x-protobuf;proto=io.prometheus.write.v3.Request\r\n",
            Vec::new(),
            415,
            "write.v3.Request is not understood",
        ),
        ("Content-Type: application/x-www-form-urlencoded\r\n", b"a=b".to_vec(), 415, "not understood"),
        ("Origin: http://example.org\r\n", Vec::new(), 403, "another origin"),
    ] {
        let reply = send(running.address, headers, &body).await;
        assert_eq!(reply.status, status, "{headers}{}", reply.body);
        assert!(reply.body.contains(words), "{headers}{}", reply.body);
    }
    let reply = http::get(running.address, "/api/v1/write").await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("OPTIONS, POST")));
    running.stop().await;
}

#[tokio::test]
async fn bodies_have_limits_alone_and_together() {
    let limits = Config { write_bytes_max: 2000, writes_bytes_max: 2500, ..test_config() };
    let running = start_with(limits).await;
    let reply = send(running.address, SNAPPY, &[0; 2001]).await;
    assert_eq!(reply.status, 413, "{}", reply.body);
    let endless = format!(
        "POST /api/v1/write HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n7d1\r\n{}\r\n",
        running.address,
        "x".repeat(2001)
    );
    let reply = http::raw(running.address, endless.as_bytes()).await.expect("an answer");
    assert_eq!(reply.status, 413, "{}", reply.body);
    // One sender that has announced 2,000 bytes and sends none of them.
    let head =
        format!("POST /api/v1/write HTTP/1.1\r\nHost: {}\r\nContent-Length: 2000\r\n\r\n", running.address);
    let mut waiting = tokio::net::TcpStream::connect(running.address).await.expect("connects");
    tokio::io::AsyncWriteExt::write_all(&mut waiting, head.as_bytes()).await.expect("sends");
    let refused = async {
        loop {
            let reply = send(running.address, SNAPPY, &[0; 1000]).await;
            if reply.status == 503 {
                break reply;
            }
            tokio::task::yield_now().await;
        }
    };
    let reply = tokio::time::timeout(http::PATIENCE, refused).await.expect("room runs out");
    assert_eq!(reply.header("retry-after"), Some("1"));
    drop(waiting);
    let room = async { while send(running.address, SNAPPY, &[0; 1000]).await.status == 503 {} };
    tokio::time::timeout(http::PATIENCE, room).await.expect("room comes back");
    running.stop().await;
}

/// A store that cannot store now.
struct Full;

impl RemoteWriter for Full {
    fn write(&self, _: &Protocol, _: &[u8]) -> RemoteWritten {
        RemoteWritten::Retry("the disk is full".to_owned())
    }
}

#[tokio::test]
async fn a_full_disk_makes_senders_wait() {
    let (mut app, _folder) = test_app();
    app.writer = Arc::new(Full);
    let server = Server::bind(test_config(), app).expect("binds");
    let address = server.address();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(server.run(async { drop(stopped.await) }));
    let reply = send(address, SNAPPY, &body("a", &[(0, 1.0)])).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    assert!(reply.body.contains("the disk is full"), "{}", reply.body);
    drop(stop);
    server.await.expect("no panic").expect("runs");
}
