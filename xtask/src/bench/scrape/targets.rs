//! Targets that cost little: pages that are made once, in which the digits of changing values are
//! written anew for each scrape. A thread for each connection.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;

/// Of the series of a real page so many percent change from scrape to scrape.
const CHANGING_PERCENT: usize = 39;
/// Digits before the point; two stand behind it.
const DIGITS: usize = 9;
const HEADERS_BYTES_MAX: usize = 16 << 10;

/// The targets, until this is dropped.
pub struct Targets {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    targets: Vec<Mutex<Target>>,
    served: AtomicU64,
    is_over: AtomicBool,
    begun: Instant,
}

struct Target {
    page: Vec<u8>,
    /// Where the digits of changing values begin, and the values.
    slots: Vec<(usize, u64)>,
    /// When it was asked.
    arrivals: Vec<Duration>,
}

/// How far scrapes were from their times.
pub struct Jitter {
    /// Sorted.
    pub late_ms: Vec<f64>,
    /// Times at which nobody asked.
    pub missed: u64,
}

impl Targets {
    /// Starts so many targets, each with so many series of a page in the text format.
    #[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
    pub fn start(text: &str, count: usize, series: usize) -> Result<Self> {
        let targets = (0..count).map(|number| Mutex::new(Target::new(text, number, series))).collect();
        let shared = Shared {
            targets,
            served: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            begun: Instant::now(),
        };
        let shared = Arc::new(shared);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), shared) = (stream, Arc::clone(&accepting)) else { continue };
                let serving = std::thread::Builder::new().stack_size(128 << 10);
                // Without a thread the connection ends, and the target counts as down.
                let _ = serving.spawn(move || serve(stream, &shared));
            }
        });
        Ok(Self { address, shared })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many scrapes were answered.
    pub fn served(&self) -> u64 {
        self.shared.served.load(Ordering::Relaxed)
    }

    /// How late each scrape was, against the earliest of its target's that fits the interval.
    pub fn jitter(&self, interval: Duration) -> Jitter {
        let mut jitter = Jitter { late_ms: Vec::new(), missed: 0 };
        let interval = interval.as_secs_f64();
        for target in &self.shared.targets {
            let times: Vec<f64> = lock(target).arrivals.iter().map(Duration::as_secs_f64).collect();
            let Some(first) = times.first() else { continue };
            let round = |time: f64| ((time - first) / interval).round();
            let places: Vec<f64> = times.iter().map(|time| time - round(*time) * interval).collect();
            let earliest = places.iter().copied().fold(f64::INFINITY, f64::min);
            jitter.late_ms.extend(places.iter().map(|place| (place - earliest) * 1000.0));
            let last = times.last().map_or(0.0, |time| round(*time)) as u64 + 1;
            jitter.missed += last.saturating_sub(times.len() as u64);
        }
        jitter.late_ms.sort_by(f64::total_cmp);
        jitter
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Target {
    fn new(text: &str, number: usize, series: usize) -> Self {
        let (mut page, mut slots) = (Vec::new(), Vec::new());
        let mut count = 0;
        for line in text.lines() {
            if count == series {
                break;
            }
            if line.starts_with('#') {
                page.extend_from_slice(line.as_bytes());
                page.push(b'\n');
                continue;
            }
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            page.extend_from_slice(name.as_bytes());
            page.push(b' ');
            if count * 61 % 100 < CHANGING_PERCENT {
                let first = 10_u64.pow(DIGITS as u32 + 1) + (number * 1_000_003 + count * 7_919) as u64;
                slots.push((page.len(), first));
                page.resize(page.len() + DIGITS, b'0');
                page.extend_from_slice(b".00");
            } else {
                page.extend_from_slice(value.as_bytes());
            }
            page.push(b'\n');
            count += 1;
        }
        Self { page, slots, arrivals: Vec::new() }
    }

    /// Lets time pass for the values.
    fn change(&mut self) {
        for (i, (at, value)) in self.slots.iter_mut().enumerate() {
            *value += 1 + (i as u64 * 37) % 4_001;
            let mut rest = *value;
            // The last digits stand behind the point.
            for place in (0..DIGITS + 3).rev().filter(|place| *place != DIGITS) {
                self.page[*at + place] = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
    }
}

/// Answers requests until the connection ends.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn serve(mut stream: TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let mut request = vec![0; HEADERS_BYTES_MAX];
    let mut length = 0;
    let mut answer = Vec::new();
    while !shared.is_over.load(Ordering::Relaxed) {
        match stream.read(&mut request[length..]) {
            Ok(0) | Err(_) => return,
            Ok(count) => length += count,
        }
        if !request[..length].ends_with(b"\r\n\r\n") {
            if length == request.len() {
                return;
            }
            continue;
        }
        let arrival = Instant::now().duration_since(shared.begun);
        let path = request[..length].split(|b| *b == b' ').nth(1).unwrap_or_default();
        let number =
            path.strip_prefix(b"/t/").and_then(|n| std::str::from_utf8(n).ok()?.parse::<usize>().ok());
        length = 0;
        let Some(target) = number.and_then(|n| shared.targets.get(n)) else { return };
        let mut target = lock(target);
        target.arrivals.push(arrival);
        target.change();
        answer.clear();
        answer.extend_from_slice(
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
                target.page.len()
            )
            .as_bytes(),
        );
        answer.extend_from_slice(&target.page);
        drop(target);
        if stream.write_all(&answer).is_err() {
            return;
        }
        shared.served.fetch_add(1, Ordering::Relaxed);
    }
}

fn lock(target: &Mutex<Target>) -> MutexGuard<'_, Target> {
    target.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_keep_their_length_and_values_grow() {
        let text = "# HELP a A.\n# TYPE a counter\na{x=\"1 2\"} 1\nb 2\nc 3\n";
        let mut target = Target::new(text, 3, 2);
        let before = String::from_utf8(target.page.clone()).expect("text");
        assert!(
            before.starts_with("# HELP a A.\n# TYPE a counter\na{x=\"1 2\"} 0") && !before.contains("\nc ")
        );
        target.change();
        let value = |page: &[u8]| -> f64 {
            let text = String::from_utf8_lossy(page).into_owned();
            text.lines().nth(2).and_then(|l| l.rsplit(' ').next()?.parse().ok()).expect("a value")
        };
        let first = value(&target.page);
        target.change();
        assert!(first > 1e8 && value(&target.page) > first && target.page.len() == before.len());
    }

    #[test]
    fn lateness_is_against_the_earliest() {
        let targets = Targets::start("a 1\n", 1, 1).expect("started");
        lock(&targets.shared.targets[0]).arrivals =
            [10.003, 15.0, 20.010, 30.001].map(Duration::from_secs_f64).to_vec();
        let jitter = targets.jitter(Duration::from_secs(5));
        let rounded: Vec<f64> = jitter.late_ms.iter().map(|ms| ms.round()).collect();
        assert_eq!((rounded, jitter.missed), (vec![0.0, 1.0, 3.0, 10.0], 1));
    }
}
