//! Appends synthetic events, seals them, and measures appends, size and searches.
//!
//! `cargo run --release -p vedette-eventdb --example search_time -- 1000000`

use std::sync::Arc;

use vedette_eventdb::{Config, Error, EventDb, Search};
use vedette_model::{
    Ancestor, Container, Event, EventKind, Fact, Host, Process, ProcessKey, Socket, SocketDirection,
    StreamTarget, Transport,
};
use vedette_sys::{Clock, Random, RealFs, SystemClock};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u64 = std::env::args().nth(1).map_or(Ok(100_000), |n| n.parse())?;
    let folder = tempfile::tempdir()?;
    let clock = SystemClock;
    let timed = |what: &str, work: &mut dyn FnMut() -> Result<String, Error>| {
        let start = clock.monotonic();
        let told = work()?;
        println!("{what:<44} {:>9.1} ms  {told}", clock.monotonic().since(start).as_secs_f64() * 1e3);
        Ok::<_, Error>(())
    };
    let open = || EventDb::open(Config::new(folder.path()), Arc::new(RealFs), Arc::new(SystemClock));
    let (db, _) = open()?;
    let mut machine = Machine::new(clock.unix_ns());
    timed("append and seal, batches of 100", &mut || {
        for _ in 0..count.div_ceil(100) {
            let mut batch: Vec<_> = (0..100).map(|_| machine.event()).collect();
            db.append(&mut batch)?;
            if db.stats().events_in_memory >= 32_768 {
                db.maintain();
            }
        }
        db.seal_now()?;
        Ok(format!("{:?}", db.stats()))
    })?;
    drop(db);
    let mut reopened = None;
    timed("open", &mut || {
        reopened = Some(open()?.0);
        Ok(String::new())
    })?;
    let Some(db) = reopened else { return Ok(()) };
    let all = Search::default();
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let searches = [
        ("newest 100", all.clone()),
        ("newest 100 connections", Search { kinds: vec![EventKind::Connection], ..all.clone() }),
        ("newest 100 of a container", Search { container: Some("web-3".into()), ..all.clone() }),
        ("a word that is everywhere", Search { text: words(&["bash"]), ..all.clone() }),
        ("a word that is nowhere", Search { text: words(&["nowhere-to-be-found"]), ..all.clone() }),
        ("two rare words", Search { text: words(&["10.0.77.7", "curl"]), ..all.clone() }),
        ("a container that is nowhere", Search { container: Some("no-such".into()), ..all.clone() }),
        ("one process", Search { process: Some(machine.process(count / 2).key), ..all.clone() }),
        ("findings (there are none)", Search { kinds: vec![EventKind::Finding], ..all }),
    ];
    for (what, search) in searches {
        timed(what, &mut || {
            let found = db.search(&search)?;
            Ok(format!("{} found, {} rows looked at", found.events.len(), found.scanned))
        })?;
    }
    Ok(())
}

/// A machine on which shells run short programs in eight containers.
struct Machine {
    random: Random,
    host: Arc<Host>,
    containers: Vec<Arc<Container>>,
    start_ns: i64,
    next: u64,
    current: Option<Arc<Process>>,
}

impl Machine {
    fn new(start_ns: i64) -> Self {
        let container = |n: u32| {
            Arc::new(Container {
                id: format!("{n:08x}").repeat(8),
                name: format!("web-{n}"),
                image: "docker.io/library/nginx:1.27".to_owned(),
                pod: format!("web-{n}-7d4f"),
                namespace: "shop".to_owned(),
                cgroup: format!("/kubepods/pod{n}/{n}"),
                runtime: "containerd".to_owned(),
                ..Container::default()
            })
        };
        Self {
            random: Random::new(1),
            host: Arc::new(Host { name: "node-1".into(), id: "0123".into(), boot_id: "4567".into() }),
            containers: (0..8).map(container).collect(),
            start_ns,
            next: 0,
            current: None,
        }
    }

    fn process(&self, number: u64) -> Process {
        let name = ["bash", "curl", "python3", "grep", "sh"][(number % 5) as usize];
        let pid = (number / 4 % 30_000) as u32;
        let ancestor = |n: u32| Ancestor {
            key: ProcessKey { pid: n, start_ns: u64::from(n) * 1_000_003 },
            name: "containerd-shim".to_owned(),
            executable: "/usr/bin/containerd-shim-runc-v2".to_owned(),
        };
        Process {
            key: ProcessKey { pid, start_ns: number / 4 * 7_000_001 },
            name: name.to_owned(),
            executable: format!("/usr/bin/{name}"),
            args: vec![
                name.to_owned(),
                "-c".to_owned(),
                format!("/opt/job --id {number} --shard {}", number % 64),
            ],
            args_truncated: false,
            uid: 1000,
            ancestors: (1..4).map(ancestor).collect(),
        }
    }

    /// Each process gives a fork, an exec, a connection and an exit.
    fn event(&mut self) -> Event {
        let number = self.next;
        self.next += 1;
        if number.is_multiple_of(4) {
            self.current = Some(Arc::new(self.process(number)));
        }
        let fact = match number % 4 {
            0 => Fact::Fork { child: ProcessKey { pid: (number / 4 % 30_000) as u32, start_ns: number } },
            1 => Fact::Exec {
                streams: [StreamTarget::Device, StreamTarget::Pipe { inode: number }, StreamTarget::File],
                upper_layer: false,
                unlinked: false,
            },
            2 => Fact::Connection(Socket {
                transport: Transport::Tcp,
                direction: SocketDirection::Outbound,
                local: [10, 1, 1, 1].into(),
                local_port: 30_000 + (number % 30_000) as u16,
                peer: [10, 0, self.random.below(256) as u8, self.random.below(256) as u8].into(),
                peer_port: 443,
            }),
            _ => Fact::Exit { code: 0, signal: false },
        };
        Event {
            id: 0,
            time_ns: self.start_ns + number as i64 * 1_000_000,
            host: self.host.clone(),
            container: Some(self.containers[(number / 4 % 8) as usize].clone()),
            process: self.current.clone(),
            fact,
        }
    }
}
