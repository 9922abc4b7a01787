//! Remote write as a whole, over real HTTP and a real disk.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::mpsc,
};

use vedette_config::prometheus::{self, Mode, Surroundings};
use vedette_http_client::ProxyEnvironment;
use vedette_model::{
    Batch, Labels, Origin, Payload, Row, Samples, SeriesDefinition, status::StatusBoard, telemetry::Telemetry,
};
use vedette_sys::{RealFs, SystemClock};
use vedette_wire::remote_write::{Item, Point, Request as Message};

use super::*;
use crate::{Parts, Remote, SpoolConfig};

/// Longer than any machine takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that answers as it is told, the last answer again and again.
struct Server {
    address: SocketAddr,
    /// Heads in small letters, and bodies.
    requests: mpsc::Receiver<(String, Vec<u8>)>,
}

impl Server {
    fn start(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::channel();
        std::thread::spawn(move || {
            for (i, stream) in listener.incoming().enumerate() {
                let answer = answers[i.min(answers.len() - 1)];
                let Some(request) = stream.ok().and_then(|stream| serve(stream, answer)) else { continue };
                if sender.send(request).is_err() {
                    return;
                }
            }
        });
        Self { address, requests }
    }

    fn next(&self) -> (String, Vec<u8>) {
        self.requests.recv_timeout(PATIENCE).unwrap()
    }
}

fn serve(mut stream: TcpStream, answer: &str) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
            let body = &bytes[end + 4..];
            if body.len() >= length {
                let body = body[..length].to_vec();
                let (status, rest) = answer.split_once("\r\n").unwrap_or((answer, "\r\n"));
                stream
                    .write_all(format!("HTTP/1.1 {status}\r\nConnection: close\r\n{rest}").as_bytes())
                    .ok()?;
                return Some((head, body));
            }
        }
        match stream.read(&mut piece).ok()? {
            0 => return None,
            n => bytes.extend_from_slice(&piece[..n]),
        }
    }
}

fn configuration(text: &str) -> prometheus::Config {
    let surroundings = Surroundings { fs: &RealFs, env: &|_| None };
    prometheus::parse(Path::new("/prometheus.yml"), text, Mode::Agent, surroundings).unwrap()
}

fn options() -> Options {
    Options {
        user_agent: "Vedette/test".into(),
        unix_socket: None,
        proxy_environment: ProxyEnvironment::default(),
        clock: Arc::new(SystemClock),
    }
}

fn parts() -> Parts {
    Parts {
        fs: Arc::new(RealFs),
        clock: Arc::new(SystemClock),
        status: StatusBoard::default(),
        telemetry: Telemetry::default(),
    }
}

fn batch(epoch: u64, seq: u64, value: f64) -> Batch {
    let labels = Labels::from_pairs([("__name__", "up"), ("job", "x")]);
    let origin = Origin { tenant: "t".into(), cluster: "c".into(), source: "s".into(), epoch };
    let samples = Samples {
        defined: vec![SeriesDefinition { series: 0, labels }],
        rows: vec![Row { time_ms: 1000, series: vec![0], values: vec![value], ..Row::default() }],
        ..Samples::default()
    };
    Batch { origin, seq, payload: Payload::Samples(samples) }
}

fn values(body: &[u8]) -> Vec<f64> {
    let message = snap::raw::Decoder::new().decompress_vec(body).unwrap();
    let mut values = Vec::new();
    for item in Message::new(&message) {
        let Item::Series(series) = item.unwrap() else { continue };
        for point in series.points() {
            if let Point::Sample { value, .. } = point.unwrap() {
                values.push(value);
            }
        }
    }
    values
}

#[test]
fn what_is_spooled_arrives_over_http_and_after_a_restart() {
    let server = Server::start(&[
        "415 Unsupported Media Type\r\nContent-Length: 0\r\n\r\n",
        "503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 4\r\n\r\nwait",
        "204 No Content",
        "400 Bad Request\r\nContent-Length: 3\r\n\r\nno!",
        "200 OK\r\nContent-Length: 0\r\n\r\n",
    ]);
    let config = configuration(&format!(
        "remote_write:\n- url: http://{}/write\n  name: far\n  protobuf_message: io.prometheus.write.v2.Request\n  \
         headers: {{X-Scope: team}}\n  basic_auth: {{username: me, password: secret}}\n  \
         metadata_config: {{send: false}}\n  \
         queue_config: {{batch_send_deadline: 5ms, min_backoff: 1ms, max_backoff: 5ms}}\n",
        server.address
    ));
    let folder = tempfile::tempdir().unwrap();
    let spool = SpoolConfig::new(folder.path().join("remote"));
    let writes = &config.remote_write;
    let parts = parts();
    let remote = Remote::open(spool.clone(), writes, parts.clone()).unwrap();
    remote.apply(writes, &Labels::empty(), &options()).unwrap();
    remote.sink().accept(&batch(1, 1, 1.5)).unwrap();

    let (head, _) = server.next();
    assert!(head.starts_with("post /write http/1.1"), "{head}");
    for line in [
        "content-type: application/x-protobuf;proto=io.prometheus.write.v2.request",
        "x-prometheus-remote-write-version: 2.0.0",
        "content-encoding: snappy",
        "user-agent: vedette/test",
        "x-scope: team",
        "authorization: basic bwu6c2vjcmv0",
    ] {
        assert!(head.contains(line), "{line:?} is not in {head}");
    }
    let (head, first) = server.next();
    assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
    assert!(head.contains("x-prometheus-remote-write-version: 0.1.0"), "{head}");
    let (head, second) = server.next();
    assert!(head.contains("retry-attempt: 1"), "{head}");
    assert_eq!((values(&first), &first), (vec![1.5], &second));

    // What is refused is given up, and what comes next is not held up.
    remote.sink().accept(&batch(1, 2, 2.5)).unwrap();
    assert_eq!(values(&server.next().1), [2.5]);
    remote.sink().accept(&batch(1, 3, 3.5)).unwrap();
    assert_eq!(values(&server.next().1), [3.5]);
    // Stopping writes the cursor. What comes afterwards waits on disk for the next start.
    remote.stop();
    remote.sink().accept(&batch(1, 4, 4.5)).unwrap();
    assert_eq!(remote.spool().waiting("far").0, 1);
    drop(remote);

    let again = Server::start(&["204 No Content"]);
    let config = configuration(&format!(
        "remote_write:\n- url: http://{}/write\n  name: far\n  queue_config: {{batch_send_deadline: 5ms}}\n",
        again.address
    ));
    let remote = Remote::open(spool, &config.remote_write, parts).unwrap();
    remote.apply(&config.remote_write, &Labels::empty(), &options()).unwrap();
    assert_eq!(values(&again.next().1), [4.5]);
}

#[test]
fn a_receiver_that_cannot_be_signed_for_is_refused_and_nothing_changes() {
    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::open(SpoolConfig::new(folder.path()), &[], parts()).unwrap();
    for (auth, words) in [
        ("sigv4: {region: here, role_arn: 'arn:a'}", "sigv4.role_arn is read but cannot be used; give keys"),
        ("azuread: {managed_identity: {client_id: a}}", "use azuread.oauth"),
        ("google_iam: {credentials_file: a}", "google_iam is read but cannot be used; send through a proxy"),
    ] {
        let config = configuration(&format!("remote_write:\n- url: http://127.0.0.1:1/\n  {auth}\n"));
        let error = remote.apply(&config.remote_write, &Labels::empty(), &options()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(Remote::check(&config.remote_write, &options()).is_err());
    }
    // Without a receiver nothing is kept.
    remote.sink().accept(&batch(1, 1, 1.0)).unwrap();
    assert_eq!(remote.spool().waiting("far").0, 0);
}
