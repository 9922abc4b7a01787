//! Prints what the kernel tells for some seconds, one line each, in the form that the event
//! scripts of `content/detections` use. `record [SECONDS] [--count]`: with `--count` only counts.

use std::time::Duration;

use vedette_ebpf::{Config, KernelEvent, KernelFact, Sensor};
use vedette_model::{Socket, SocketDirection, StreamTarget, Transport};
use vedette_sys::{Clock, SystemClock};

fn main() {
    let mut args = std::env::args().skip(1);
    let seconds = args.next().and_then(|s| s.parse().ok()).unwrap_or(5);
    let count_only = args.next().as_deref() == Some("--count");
    let clock = SystemClock;
    let begin = clock.monotonic();
    let mut sensor = match Sensor::start(&Config::default()) {
        Ok(sensor) => sensor,
        Err(error) => {
            eprintln!("{error}\n{}", error.remedy());
            std::process::exit(2);
        }
    };
    eprintln!("attached after {:?}; {}", clock.monotonic().since(begin), memory());
    let mut first_ns = 0;
    let mut events = 0_u64;
    while clock.monotonic().since(begin) < Duration::from_secs(seconds) {
        let polled = sensor.poll(Duration::from_millis(100), &mut |event| {
            events += 1;
            if first_ns == 0 {
                first_ns = event.header.time_ns;
            }
            if !count_only {
                println!("{}", line(&event, first_ns));
            }
        });
        if let Err(error) = polled {
            eprintln!("{error}");
            break;
        }
    }
    eprintln!("{events} events; {}; {}", memory(), cpu());
    for class in sensor.losses().classes {
        eprintln!("{:10} {:8} seen {:8} dropped {}", class.class, class.ring, class.seen, class.dropped);
    }
}

fn line(event: &KernelEvent<'_>, first_ns: u64) -> String {
    let header = &event.header;
    let at = header.time_ns.saturating_sub(first_ns) as f64 / 1e9;
    let who = format!(
        "pid: {}, ppid: {}, name: {:?}, cgroup: {}, v1: {}",
        header.process.pid,
        header.parent.pid,
        String::from_utf8_lossy(header.comm()),
        header.cgroup_id,
        header.memory_cgroup_id,
    );
    let what = match &event.fact {
        KernelFact::Exec(exec) => {
            let args: Vec<_> = exec.args.iter().map(String::from_utf8_lossy).collect();
            let streams = exec.streams.iter().map(target).collect::<Vec<_>>().join(", ");
            let mut text = format!("exec: {:?}", String::from_utf8_lossy(exec.filename));
            text += &format!(", args: {args:?}, streams: [{streams}]");
            text += if exec.upper_layer { ", upper_layer: true" } else { "" };
            text += if exec.unlinked { ", unlinked: true" } else { "" };
            text
        }
        KernelFact::Fork { child } => format!("fork: {}", child.pid),
        KernelFact::Exit { code, signal } => format!("exit: {code}, signal: {signal}"),
        KernelFact::Connection(s) => format!("connection: {}", socket(s)),
        KernelFact::Redirect { stream, target: to } => format!("redirect: {stream}, to: {}", target(to)),
        KernelFact::PtyOpen { number } => format!("pty_open: {number}"),
    };
    format!("- {{at: {at:.3}, {what}, {who}}}")
}

fn target(target: &StreamTarget) -> String {
    match target {
        StreamTarget::Other => "other".to_owned(),
        StreamTarget::File => "file".to_owned(),
        StreamTarget::Device => "device".to_owned(),
        StreamTarget::Pipe { inode } => format!("pipe {inode}"),
        StreamTarget::Pty { number } => format!("pty {number}"),
        StreamTarget::OtherSocket { inode } => format!("socket {inode}"),
        StreamTarget::Socket(s) => socket(s),
    }
}

fn socket(s: &Socket) -> String {
    let transport = match s.transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    let arrow = match s.direction {
        SocketDirection::Outbound => "->",
        SocketDirection::Inbound => "<-",
        SocketDirection::Unknown => "--",
    };
    let place = |ip, port| std::net::SocketAddr::new(ip, port);
    format!("{transport} {} {arrow} {}", place(s.local, s.local_port), place(s.peer, s.peer_port))
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let fields = status
        .lines()
        .filter(|l| l.starts_with("VmRSS") || l.starts_with("VmHWM") || l.starts_with("RssAnon"));
    fields.map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
}

fn cpu() -> String {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let ns: f64 = stat.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0);
    format!("main thread ran {:.1} ms in all", ns / 1e6)
}
