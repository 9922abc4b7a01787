//! Targets over real connections: sound ones, and those that hang, lie and flood.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use vedette_model::{
    ADDRESS_LABEL, Host, Labels, TargetGroup, TargetHealth, TargetReader, TargetState, status::StatusBoard,
    telemetry::Telemetry,
};
use vedette_sys::SystemClock;

use super::{Store, job, options};
use crate::{
    Surroundings,
    scrape::{Config, Scraper},
};

/// A target that answers each request by a function of its path and its number on the connection. What the
/// function writes is the answer; whether it gives true says if the connection stays.
struct Server {
    address: String,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn start(answer: impl Fn(&str, usize, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (answer, connections) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        let count = connections.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                count.fetch_add(1, Ordering::SeqCst);
                let answer = answer.clone();
                std::thread::spawn(move || {
                    let mut number = 0;
                    while let Some(path) = request(&mut stream) {
                        if !answer(&path, number, &mut stream) {
                            return;
                        }
                        number += 1;
                    }
                });
            }
        });
        Self { address, connections }
    }
}

/// The path of the next request.
fn request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()?.split(' ').nth(1).map(str::to_owned)
}

fn ok(stream: &mut TcpStream, headers: &str, body: &[u8]) -> bool {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).is_ok()
}

struct Rig {
    scraper: Scraper,
    store: Arc<Store>,
}

impl Rig {
    fn new(config: &Config) -> Self {
        let store = Arc::new(Store::default());
        let surroundings = Surroundings {
            sink: store.clone(),
            clock: Arc::new(SystemClock),
            status: StatusBoard::default(),
            telemetry: Telemetry::default(),
            host: Arc::new(Host { name: "h".into(), id: String::new(), boot_id: String::new() }),
        };
        let scraper = Scraper::start(config, &surroundings, options(Arc::new(SystemClock))).unwrap();
        Self { scraper, store }
    }

    fn follow(&self, address: &str) {
        let targets = vec![Labels::from_pairs([(ADDRESS_LABEL, address)])];
        let group = TargetGroup { source: "s".into(), targets, labels: Labels::empty() };
        self.scraper.set_groups("test", 0, &[group]);
    }

    /// Waits until the only target is as wanted, in steps of what comes to the store.
    fn wait(&self, wanted: impl Fn(&TargetState) -> bool) -> TargetState {
        let mut last = None;
        for _ in 0..400 {
            let states = self.scraper.pools(Some("test"));
            last = states.into_iter().flat_map(|pool| pool.targets).next();
            if let Some(target) = last.as_ref().filter(|target| wanted(target)) {
                return target.clone();
            }
            let mut state = self.store.state.lock();
            self.store.changed.wait_for(&mut state, Duration::from_millis(100));
        }
        panic!("it is not as wanted: {last:?}");
    }
}

const FAST: &str = "scrape_interval: 200ms\nscrape_timeout: 200ms";

#[test]
fn a_sound_target_is_scraped_over_one_connection() {
    let server = Server::start(|path, number, stream| {
        assert_eq!(path, "/metrics");
        let body = format!("a {number}\n");
        if number % 2 == 0 {
            ok(stream, &format!("Content-Length: {}\r\n", body.len()), body.as_bytes())
        } else {
            let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
            ok(stream, "Transfer-Encoding: chunked\r\n", chunks.as_bytes())
        }
    });
    let rig = Rig::new(&Config::default());
    rig.scraper.set_jobs(vec![job(FAST)]).unwrap();
    rig.follow(&server.address);
    let name = format!("a{{instance=\"{}\", job=\"test\"}}", server.address);
    let target = rig.wait(|_| rig.store.series(&name).len() >= 4);
    assert_eq!((target.health, target.last_error.as_str()), (TargetHealth::Up, ""));
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    let values: Vec<_> = rig.store.series(&name).into_iter().map(|(_, v)| v).collect();
    assert_eq!(values[..4], ["0", "1", "2", "3"]);
    // The same job and a changed one go on with the target; without the job it ends.
    rig.scraper.set_jobs(vec![job(FAST)]).unwrap();
    rig.scraper.set_jobs(vec![job(&format!("{FAST}\nsample_limit: 5"))]).unwrap();
    let before = rig.store.series(&name).len();
    rig.wait(|_| rig.store.series(&name).len() > before + 1);
    assert!(rig.store.series(&name).iter().all(|(_, value)| value != "stale"));
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    rig.follow("127.0.0.1:1");
    rig.wait(|_| rig.store.series(&name).last().is_some_and(|(_, value)| value == "stale"));
    // When all ends nothing ends.
    rig.follow(&server.address);
    let before = rig.store.series(&name).len();
    rig.wait(|_| rig.store.series(&name).len() > before);
    rig.scraper.stop();
    assert!(rig.store.series(&name).last().is_some_and(|(_, value)| value != "stale"));
    assert_eq!(rig.scraper.pool_names(), ["test"]);
}

#[test]
fn a_kept_connection_that_was_closed_is_opened_again_unseen() {
    let server = Server::start(|_, _, stream| {
        ok(stream, "Content-Length: 4\r\n", b"a 1\n");
        false
    });
    let rig = Rig::new(&Config::default());
    rig.scraper.set_jobs(vec![job(FAST)]).unwrap();
    rig.follow(&server.address);
    let name = format!("up{{instance=\"{}\", job=\"test\"}}", server.address);
    let is_up = |(_, value): &(i64, String)| value == "1";
    rig.wait(|target| {
        // On a busy machine a scrape may take too long, but none finds its connection closed.
        let error = &target.last_error;
        assert!(error.is_empty() || error.contains("did not answer within"), "{error}");
        rig.store.series(&name).iter().filter(|sample| is_up(sample)).count() >= 3
    });
}

/// Sixteen megabytes of nothing.
static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    bomb.write_all(&vec![b'\n'; 16 << 20]).unwrap();
    bomb.finish().unwrap()
});

#[test]
fn what_a_hostile_target_does_stands_in_its_health() {
    type Answer = fn(&mut TcpStream) -> bool;
    let cases: [(&str, Answer, &str); 15] = [
        ("hangs", |stream| stream.read(&mut [0]).is_ok(), "did not answer within 200ms"),
        (
            "hangs within the body",
            |stream| ok(stream, "Content-Length: 100\r\n", b"a 1\n") && stream.read(&mut [0]).is_ok(),
            "did not answer within 200ms",
        ),
        (
            "says more than it sends",
            |stream| {
                ok(stream, "Content-Length: 100\r\n", b"a 1\n");
                false
            },
            "after 4 of 100 bytes",
        ),
        (
            "says less than it sends",
            |stream| ok(stream, "Content-Length: 3\r\n", b"ab\n1\n"),
            "cannot be read",
        ),
        (
            "says that a gigabyte comes",
            |stream| ok(stream, "Content-Length: 1073741824\r\n", b"a 1\n"),
            "more than 1048576 bytes",
        ),
        (
            "sends a gigabyte in chunks",
            |stream| {
                let chunk = [b"10000\r\n".to_vec(), vec![b'\n'; 0x10000], b"\r\n".to_vec()].concat();
                ok(stream, "Transfer-Encoding: chunked\r\n", b"")
                    && (0..16_384).all(|_| stream.write_all(&chunk).is_ok())
            },
            "more than 1048576 bytes",
        ),
        (
            "sends a gigabyte until it closes",
            |stream| ok(stream, "", b"") && (0..16_384).all(|_| stream.write_all(&[b'\n'; 0x10000]).is_ok()),
            "more than 1048576 bytes",
        ),
        (
            "sends a bomb",
            |stream| {
                let bomb = &*BOMB;
                ok(stream, &format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", bomb.len()), bomb)
            },
            "more than 1048576 bytes",
        ),
        ("sends invalid UTF-8", |stream| ok(stream, "Content-Length: 11\r\n", b"a{b=\"\xff\"} 1\n"), "UTF-8"),
        ("speaks no HTTP", |stream| stream.write_all(b"SSH-2.0-OpenSSH\r\n").is_ok(), "not HTTP"),
        (
            "sends an endless head",
            |stream| {
                stream.write_all(b"HTTP/1.1 200 OK\r\n").is_ok()
                    && (0..4096).all(|i| {
                        stream.write_all(format!("X-{i}: {}\r\n", "y".repeat(1000)).as_bytes()).is_ok()
                    })
            },
            "the head of the answer has more than",
        ),
        (
            "has nothing",
            |stream| stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").is_ok(),
            "server returned HTTP status 404 Not Found",
        ),
        (
            "answers before it answers",
            |stream| (0..1 << 16).all(|_| stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_ok()),
            "answers came before the answer",
        ),
        (CLOSES, |_| false, "closed before an answer"),
        (
            "sends what is broken",
            |stream| ok(stream, "Content-Encoding: gzip\r\nContent-Length: 4\r\n", b"a 1\n"),
            "gzip compression of the answer is broken",
        ),
    ];
    let config = Config { body_bytes_max: 1 << 20, ..Config::default() };
    assert!(BOMB.len() < 1 << 20);
    // Over its first connection, and over one that was kept after a sound answer.
    for ((what, answer, word), is_kept) in cases.into_iter().flat_map(|case| [(case, false), (case, true)]) {
        if is_kept && what == CLOSES {
            // Then it is asked anew.
            continue;
        }
        let server = Server::start(move |_, number, stream| {
            if is_kept && number == 0 {
                ok(stream, "Content-Length: 4\r\n", b"a 1\n")
            } else {
                answer(stream)
            }
        });
        let rig = Rig::new(&config);
        rig.scraper.set_jobs(vec![job(FAST)]).unwrap();
        rig.follow(&server.address);
        // On a busy machine a scrape may take too long for other reasons.
        let target = rig.wait(|target| target.last_error.contains(word));
        assert_eq!(target.health, TargetHealth::Down, "{what}");
        let up = format!("up{{instance=\"{}\", job=\"test\"}}", server.address);
        assert!(rig.store.series(&up).iter().any(|(_, value)| value == "0"), "{what}");
        rig.scraper.stop();
    }
    let rig = Rig::new(&config);
    rig.scraper.set_jobs(vec![job(&format!("{FAST}\ntarget_limit: 1"))]).unwrap();
    let targets =
        ["127.0.0.1:1", "127.0.0.1:2"].map(|address| Labels::from_pairs([(ADDRESS_LABEL, address)]));
    let group = TargetGroup { source: "s".into(), targets: targets.to_vec(), labels: Labels::empty() };
    rig.scraper.set_groups("test", 0, std::slice::from_ref(&group));
    rig.wait(|target| target.last_error.contains("target_limit"));
    // Nobody listens there.
    rig.scraper.set_jobs(vec![job(FAST)]).unwrap();
    rig.scraper.set_groups("test", 0, &[group]);
    rig.wait(|target| target.last_error.contains("connection refused"));
}

const CLOSES: &str = "closes at once";

/// A body that comes as a whole is judged like one that comes in pieces.
#[test]
fn chunks_that_come_at_once_have_the_limit_of_all_bodies() {
    let server = Server::start(|_, _, stream| {
        let body = "a 1\nb 2\nc 3\nd 4\n";
        let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        ok(stream, "Transfer-Encoding: chunked\r\n", chunks.as_bytes())
    });
    let rig = Rig::new(&Config::default());
    rig.scraper.set_jobs(vec![job(&format!("{FAST}\nbody_size_limit: 10B"))]).unwrap();
    rig.follow(&server.address);
    rig.wait(|target| target.last_error.contains("body_size_limit"));
}

#[test]
fn redirects_are_followed_unless_the_job_says_otherwise() {
    let server = Server::start(|path, _, stream| {
        if path == "/metrics" {
            let head = "HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n";
            return stream.write_all(head.as_bytes()).is_ok();
        }
        ok(stream, "Content-Length: 4\r\n", b"a 1\n")
    });
    let rig = Rig::new(&Config::default());
    rig.scraper.set_jobs(vec![job(FAST)]).unwrap();
    rig.follow(&server.address);
    assert_eq!(rig.wait(|target| target.health != TargetHealth::Unknown).health, TargetHealth::Up);
    rig.scraper.set_jobs(vec![job(&format!("{FAST}\nfollow_redirects: false"))]).unwrap();
    let target = rig.wait(|target| target.health == TargetHealth::Down);
    assert!(target.last_error.contains("302"), "{}", target.last_error);
}
