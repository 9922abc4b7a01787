//! Loads the programs, attaches them, and hands out what their rings hold.
//!
//! The programs run for as long as the [`Sensor`] lives; the kernel removes them when it is
//! dropped or the process ends, however it ends.

use std::{
    fs,
    os::{
        fd::{AsRawFd, RawFd},
        unix::fs::MetadataExt,
    },
    path::Path,
    sync::Arc,
    time::Duration,
};

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader,
    maps::{Map, MapData, MapError, PerCpuArray, RingBuf},
    programs::{BtfTracePoint, ProgramError},
};

use crate::{
    abi::{CLASSES, ClassCount, EventHeader, SYSCALLS_MAX},
    decode::decode,
    error::Error,
    event::KernelEvent,
    metrics::SensorMetrics,
    syscalls::interest_table,
};

#[cfg(target_arch = "x86_64")]
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../bpf/programs/sensor.x86_64.bpf.o");
#[cfg(target_arch = "aarch64")]
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../bpf/programs/sensor.arm64.bpf.o");
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static OBJECT: &[u8] = &[];

/// Program and the tracepoint that it hangs on.
const PROGRAMS: [(&str, &str); 5] = [
    ("on_exec", "sched_process_exec"),
    ("on_fork", "sched_process_fork"),
    ("on_exit", "sched_process_exit"),
    ("on_socket_state", "inet_sock_set_state"),
    ("on_syscall_exit", "sys_exit"),
];

/// Events that one call of [`Sensor::poll`] delivers at most, so that a flood cannot keep the
/// caller from its other work.
const EVENTS_PER_POLL_MAX: usize = 65_536;

/// How the sensor works. The defaults suit machines from one to some hundred CPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Size of the ring for execs, redirects, outbound connections and pseudo-terminals; rounded
    /// up to a power of two.
    pub critical_ring_bytes: u32,
    /// Size of the ring for forks, exits, accepted connections and connected datagram sockets;
    /// rounded up likewise.
    pub bulk_ring_bytes: u32,
    /// After the first event of a burst, wait this long for more before delivering, so that a busy
    /// machine costs few wake-ups. The delay adds to the time from event to finding.
    pub gather: Duration,
    /// Leave out what this process itself connects, accepts and redirects.
    pub skip_own: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            critical_ring_bytes: 2 << 20,
            bulk_ring_bytes: 2 << 20,
            gather: Duration::from_millis(20),
            skip_own: true,
        }
    }
}

impl Config {
    const RING_BYTES: std::ops::RangeInclusive<u32> = 64 << 10..=1 << 30;

    fn ring_bytes(wanted: u32) -> u32 {
        wanted.clamp(*Self::RING_BYTES.start(), *Self::RING_BYTES.end()).next_power_of_two()
    }
}

/// What was seen and lost, by class, since the sensor started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Losses {
    /// One entry for each class.
    pub classes: [ClassLoss; CLASSES.len()],
    /// Records that could not be decoded.
    pub malformed: u64,
}

impl Losses {
    /// All that was lost.
    pub fn total(&self) -> u64 {
        self.malformed + self.classes.iter().map(|c| c.dropped).sum::<u64>()
    }
}

/// What was seen and lost of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClassLoss {
    /// `exec`, `fork`, `exit`, `connect`, `accept`, `redirect` or `pty_open`.
    pub class: &'static str,
    /// Which ring it goes to: `critical` or `bulk`. (Of `connect`, datagram sockets go to `bulk`.)
    pub ring: &'static str,
    /// Seen by the programs.
    pub seen: u64,
    /// Of these, dropped because the ring was full.
    pub dropped: u64,
}

/// The running sensor.
pub struct Sensor {
    critical: RingBuf<MapData>,
    bulk: RingBuf<MapData>,
    counts: PerCpuArray<MapData, ClassCount>,
    gather: Duration,
    metrics: Arc<SensorMetrics>,
    /// Holds the programs and their links.
    _programs: Ebpf,
}

impl Sensor {
    /// Loads and attaches all programs.
    pub fn start(config: &Config) -> Result<Self, Error> {
        if OBJECT.is_empty() {
            return Err(Error::UnsupportedArchitecture);
        }
        check_kernel()?;
        let (ebpf, maps) = load(config)?;
        // The kernel's type information takes tens of megabytes while it is read, and none afterwards.
        vedette_sys::give_back_free_memory();
        let [critical, bulk, counts] = maps;
        let opened = |what: &str, cause: MapError| Error::Load {
            doing: format!("opening the map {what}"),
            cause: Box::new(cause),
        };
        Ok(Self {
            critical: RingBuf::try_from(critical).map_err(|e| opened("critical", e))?,
            bulk: RingBuf::try_from(bulk).map_err(|e| opened("bulk", e))?,
            counts: PerCpuArray::try_from(counts).map_err(|e| opened("counts", e))?,
            gather: config.gather,
            metrics: Arc::default(),
            _programs: ebpf,
        })
    }

    /// Waits until something critical happened or `timeout` passed, then delivers all that the
    /// rings hold, in order of time as far as both are filled. Returns how many events that were.
    pub fn poll(&mut self, timeout: Duration, each: &mut dyn FnMut(KernelEvent<'_>)) -> Result<usize, Error> {
        if wait_readable(self.critical.as_raw_fd(), timeout).map_err(Error::Wait)? && !self.gather.is_zero() {
            std::thread::sleep(self.gather);
        }
        let mut delivered = 0;
        let metrics = &self.metrics;
        let mut deliver = |event: Result<KernelEvent<'_>, _>| match event {
            Ok(event) => each(event),
            Err(malformed) => {
                metrics.malformed.inc();
                tracing::debug!(%malformed, "record left out");
            }
        };
        let (mut critical_ns, mut bulk_ns) = (peek_time(&mut self.critical), peek_time(&mut self.bulk));
        while delivered < EVENTS_PER_POLL_MAX {
            let (ring, next_ns) = match (critical_ns, bulk_ns) {
                (None, None) => break,
                (Some(critical), bulk) if bulk.is_none_or(|bulk| critical <= bulk) => {
                    (&mut self.critical, &mut critical_ns)
                }
                _ => (&mut self.bulk, &mut bulk_ns),
            };
            if let Some(record) = ring.next() {
                deliver(decode(&record));
            }
            *next_ns = peek_time(ring);
            delivered += 1;
        }
        Ok(delivered)
    }

    /// What was seen and lost since the start; also refreshes [`Sensor::metrics`].
    pub fn losses(&self) -> Losses {
        const CRITICAL: [&str; 4] = ["exec", "connect", "redirect", "pty_open"];
        let mut classes = [ClassLoss::default(); CLASSES.len()];
        for (index, (class, name)) in classes.iter_mut().zip(CLASSES).enumerate() {
            class.class = name;
            class.ring = if CRITICAL.contains(&name) { "critical" } else { "bulk" };
            let Ok(per_cpu) = self.counts.get(&u32::try_from(index).unwrap_or(0), 0) else { continue };
            for count in per_cpu.iter() {
                class.seen += count.seen;
                class.dropped += count.dropped;
            }
        }
        let losses = Losses { classes, malformed: self.metrics.malformed.get() };
        self.metrics.set(&losses);
        losses
    }

    /// The sensor's own metrics, as of the last call of [`Sensor::losses`].
    pub fn metrics(&self) -> Arc<SensorMetrics> {
        Arc::clone(&self.metrics)
    }
}

/// The time of the ring's oldest record, which stays there.
fn peek_time(ring: &mut RingBuf<MapData>) -> Option<u64> {
    let record = ring.next()?;
    let time_ns = time_of(&record);
    // Dropping it would hand its room back to the kernel.
    std::mem::forget(record);
    Some(time_ns)
}

/// The time in a record's header, 0 if it is too short to have one.
fn time_of(record: &[u8]) -> u64 {
    const TIME_AT: usize = std::mem::offset_of!(EventHeader, time_ns);
    record.get(TIME_AT..TIME_AT + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

fn load(config: &Config) -> Result<(Ebpf, [Map; 3]), Error> {
    let btf = Btf::from_sys_fs().map_err(|cause| Error::NoBtf { cause: Box::new(cause) })?;
    let interest: [u8; 2 * SYSCALLS_MAX] = interest_table();
    let (device, inode, pid) = if config.skip_own { own_pid() } else { (0, 0, 0) };
    let mut ebpf = EbpfLoader::new()
        .btf(Some(&btf))
        .allow_unsupported_maps()
        .map_max_entries("critical", Config::ring_bytes(config.critical_ring_bytes))
        .map_max_entries("bulk", Config::ring_bytes(config.bulk_ring_bytes))
        .override_global("interest", &interest[..], true)
        .override_global("self_pid_ns_device", &device, true)
        .override_global("self_pid_ns_inode", &inode, true)
        .override_global("self_pid", &pid, true)
        .load(OBJECT)
        .map_err(load_error)?;
    for (name, tracepoint) in PROGRAMS {
        attach(&mut ebpf, name, tracepoint, &btf).map_err(|cause| program_error(name, cause))?;
    }
    let maps = ["critical", "bulk", "counts"]
        .map(|name| ebpf.take_map(name).expect("BUG: the embedded object has these maps"));
    Ok((ebpf, maps))
}

fn attach(ebpf: &mut Ebpf, name: &str, tracepoint: &str, btf: &Btf) -> Result<(), ProgramError> {
    let program: &mut BtfTracePoint =
        ebpf.program_mut(name).expect("BUG: the embedded object has these programs").try_into()?;
    program.load(tracepoint, btf)?;
    program.attach()?;
    Ok(())
}

fn check_kernel() -> Result<(), Error> {
    let found = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = found.split(['.', '-', '\n']).map_while(|n| n.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) < (5, 8) => {
            Err(Error::KernelTooOld { found: found.trim().to_owned() })
        }
        _ => Ok(()),
    }
}

/// This process as its own pid namespace knows it: device and inode of the namespace, number in it.
fn own_pid() -> (u64, u64, u32) {
    let Ok(namespace) = fs::metadata("/proc/self/ns/pid") else { return (0, 0, 0) };
    let device = namespace.dev();
    // The kernel's inner form of a device number, not that of stat(2).
    let device = u64::from(libc::major(device)) << 20 | u64::from(libc::minor(device));
    (device, namespace.ino(), std::process::id())
}

fn load_error(cause: EbpfError) -> Error {
    match cause {
        EbpfError::MapError(MapError::CreateError { name, io_error }) => {
            refusal(format!("creating the map {name}"), io_error)
        }
        cause => Error::Load { doing: "preparing the programs".to_owned(), cause: Box::new(cause) },
    }
}

fn program_error(program: &'static str, cause: ProgramError) -> Error {
    match cause {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = tail(&verifier_log.to_string());
            // The verifier explains itself; a refusal for want of rights comes without a word.
            if is_permission(&io_error) && log.is_empty() {
                return refusal(format!("loading the program {program}"), io_error);
            }
            Error::Refused { program, log, cause: Box::new(io_error) }
        }
        ProgramError::SyscallError(e) => refusal(format!("attaching the program {program}"), e.io_error),
        cause => Error::Load { doing: format!("attaching the program {program}"), cause: Box::new(cause) },
    }
}

fn refusal(doing: String, cause: std::io::Error) -> Error {
    if !is_permission(&cause) {
        return Error::Load { doing, cause: Box::new(cause) };
    }
    let lockdown = Path::new("/sys/kernel/security/lockdown");
    if fs::read_to_string(lockdown).is_ok_and(|modes| modes.contains("[confidentiality]")) {
        return Error::Lockdown;
    }
    Error::NoPermission { doing }
}

fn is_permission(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
}

/// The end of the verifier's log, where the reason stands.
fn tail(log: &str) -> String {
    const LINES: usize = 6;
    let lines: Vec<&str> = log.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("; ")
}

/// Whether `fd` became readable within `timeout`.
fn wait_readable(fd: RawFd, timeout: Duration) -> Result<bool, std::io::Error> {
    let mut wanted = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    #[expect(unsafe_code, reason = "poll is a C function")]
    // SAFETY: `wanted` is one valid pollfd, alive and exclusively ours during the call.
    let ready = unsafe { libc::poll(&raw mut wanted, 1, timeout_ms) };
    if ready >= 0 {
        return Ok(ready > 0);
    }
    let error = std::io::Error::last_os_error();
    if error.kind() == std::io::ErrorKind::Interrupted { Ok(false) } else { Err(error) }
}
