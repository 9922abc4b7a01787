//! Measures the store under a load shaped like node_exporter's pages: what a sample costs to
//! take, to keep and to read.
//!
//! `cargo run --release -p vedette-tsdb --example ingest -- [SERIES [SECONDS [INTERVAL [HISTOGRAMS]]]]`
//! prints one figure a line, last those of a store of so many series of native histograms. Series are 61 % constant; the others are counters of whole numbers,
//! counters of hundredths, gauges of memory pages, gauges with two decimals, and a few true
//! floats. Times are those of the processor, as the machine may be busy otherwise.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fmt,
    path::Path,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use rustix::time::{ClockId, Timespec, clock_gettime};
use vedette_model::{
    Hints, HistogramCounts, Labels, Matcher, MetricReader, NativeHistogram, SampleBuffer, Select, Span,
    TimeRange,
};
use vedette_sys::{Clock, ManualClock, MonotonicTime, Random, RealFs, SystemClock};
use vedette_tsdb::{Config, HistogramSample, RefRow, SeriesRef, Tsdb};

/// Series of one scrape target, which come in one row.
const TARGET_SERIES: usize = 500;

const START_MS: i64 = 1_700_006_400_000;

/// Counts the bytes that are allocated.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(
    unsafe_code,
    reason = "an allocator cannot be written otherwise; this one hands all on to the system's"
)]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATED.fetch_add(size, Ordering::Relaxed);
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>());
    let mut next = |default| match arguments.next() {
        Some(Ok(number)) => number,
        None => default,
        Some(Err(_)) => {
            eprintln!("usage: ingest [SERIES [SECONDS [INTERVAL [HISTOGRAMS]]]]");
            std::process::exit(3)
        }
    };
    let (series, seconds, interval, histograms) = (next(50_000), next(3600), next(15), next(2000));
    let folder = std::env::temp_dir().join(format!("vedette-ingest-{}", std::process::id()));
    let report = measure(&folder, series, seconds, interval).and_then(|report| {
        std::fs::remove_dir_all(&folder)?;
        Ok((report, measure_histograms(&folder, histograms, seconds, interval)?))
    });
    let _ = std::fs::remove_dir_all(&folder);
    match report {
        Ok((floats, histograms)) => println!("{floats}\n{histograms}"),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1)
        }
    }
}

#[derive(Debug, Default)]
struct Report {
    series: usize,
    samples: u64,
    append_ns: u64,
    maintain_ns: u64,
    maintain_ns_max: u64,
    wal_bytes_per_sample: f64,
    /// Before anything was sealed.
    head_bytes_per_series: f64,
    counted_bytes_per_series: f64,
    peak_bytes_per_series: f64,
    define_ns: u64,
    resident_kib: u64,
    segments: u64,
    bytes_per_sample: f64,
    reopen_ns: u64,
    reopen_wall_ns: u64,
    reopened_samples: u64,
    select_ns: u64,
    read_ns: u64,
    read_samples: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = |total: u64, count: u64| total as f64 / count.max(1) as f64;
        writeln!(f, "series                       {}", self.series)?;
        writeln!(f, "samples                      {}", self.samples)?;
        writeln!(f, "new series, ns               {:.0}", per(self.define_ns, self.series as u64))?;
        writeln!(f, "append, ns/sample            {:.1}", per(self.append_ns, self.samples))?;
        writeln!(f, "maintenance, ns/sample       {:.1}", per(self.maintain_ns, self.samples))?;
        writeln!(f, "longest maintenance, ms      {:.1}", self.maintain_ns_max as f64 / 1e6)?;
        writeln!(f, "log, bytes/sample            {:.2}", self.wal_bytes_per_sample)?;
        writeln!(f, "head as it says, bytes/series {:.0}", self.head_bytes_per_series)?;
        writeln!(f, "head as counted, bytes/series {:.0}", self.counted_bytes_per_series)?;
        writeln!(f, "all at most, bytes/series    {:.0}", self.peak_bytes_per_series)?;
        writeln!(f, "resident, KiB                {}", self.resident_kib)?;
        writeln!(f, "segments                     {}", self.segments)?;
        writeln!(f, "segments, bytes/sample       {:.3}", self.bytes_per_sample)?;
        writeln!(f, "reopen, ms                   {:.1}", self.reopen_wall_ns as f64 / 1e6)?;
        writeln!(f, "  of processors, ms          {:.1}", self.reopen_ns as f64 / 1e6)?;
        writeln!(f, "  samples                    {}", self.reopened_samples)?;
        writeln!(f, "  replayed, ns/sample        {:.1}", per(self.reopen_ns, self.reopened_samples))?;
        writeln!(f, "select all series, ms        {:.1}", self.select_ns as f64 / 1e6)?;
        write!(f, "read, ns/sample              {:.1}", per(self.read_ns, self.read_samples))
    }
}

fn measure(
    folder: &Path,
    series: usize,
    seconds: usize,
    interval: usize,
) -> Result<Report, Box<dyn std::error::Error>> {
    let timer = SystemClock;
    let wall = |start: MonotonicTime| u64::try_from(timer.monotonic().since(start).as_nanos()).unwrap_or(0);
    let since = |start: u64| processor_ns().saturating_sub(start);
    let clock = ManualClock::at(START_MS * 1_000_000);
    let mut random = Random::new(7);
    let mut report = Report { series, ..Report::default() };
    let mut sources: Vec<Source> = (0..series).map(|n| Source::new(n, &mut random)).collect();
    let mut values = vec![0.0; series];
    let mut refs: Vec<SeriesRef> = Vec::with_capacity(series);
    let before = ALLOCATED.load(Ordering::Relaxed);
    let counted = || (ALLOCATED.load(Ordering::Relaxed) - before) as f64 / series as f64;
    let open = || Tsdb::open(Config::new(folder), Arc::new(RealFs), Arc::new(clock.clone()));
    let (store, _) = open()?;
    for n in 0..series {
        let labels = labels(n);
        let start = timer.monotonic();
        refs.push(store.series(&labels)?);
        report.define_ns += wall(start);
    }
    let mut wal_samples = 0u64;
    for _ in 0..seconds / interval {
        clock.advance(Duration::from_secs(interval as u64));
        for (value, source) in values.iter_mut().zip(&mut sources) {
            *value = source.next(&mut random);
        }
        let time_ms = clock.unix_ms();
        let start = processor_ns();
        for (refs, values) in refs.chunks(TARGET_SERIES).zip(values.chunks(TARGET_SERIES)) {
            report.samples += store.append(&[RefRow::new(time_ms, refs, values)])?.taken;
        }
        report.append_ns += since(start);
        wal_samples += series as u64;
        if store.metrics().seals.get() == 0 {
            let stats = store.stats();
            report.wal_bytes_per_sample = stats.wal_bytes as f64 / wal_samples as f64;
            report.head_bytes_per_series = stats.head_bytes as f64 / series as f64;
            report.counted_bytes_per_series = counted();
        }
        let start = processor_ns();
        store.maintain();
        let took = since(start);
        report.maintain_ns += took;
        report.maintain_ns_max = report.maintain_ns_max.max(took);
        report.peak_bytes_per_series = report.peak_bytes_per_series.max(counted());
    }
    let stats = store.stats();
    report.segments = stats.segments;
    report.bytes_per_sample = stats.segment_bytes as f64 / stats.segment_samples.max(1) as f64;
    report.resident_kib = resident_kib();
    let start = processor_ns();
    let range = TimeRange { start_ms: START_MS, end_ms: clock.unix_ms() };
    let hints = Hints::default();
    let set = store.select(&Select { matchers: vec![], range, hints: hints.clone(), series_max: 0 })?;
    report.select_ns = since(start);
    let job = Matcher::equal("instance", "host-0");
    let set_of_one = store.select(&Select { matchers: vec![job], range, hints, series_max: 0 })?;
    let mut buffer = SampleBuffer::default();
    let start = processor_ns();
    for i in 0..set_of_one.len() {
        buffer.clear();
        set_of_one.read(i, range, &mut buffer)?;
        report.read_samples += buffer.len() as u64;
    }
    report.read_ns = since(start);
    if set.len() != series || report.read_samples != (seconds / interval * series.min(TARGET_SERIES)) as u64 {
        return Err(format!("read {} series, {} samples", set.len(), report.read_samples).into());
    }
    drop((set, set_of_one, store));
    // The best of three, as others use the machine too.
    report.reopen_wall_ns = u64::MAX;
    for _ in 0..3 {
        let (start, start_wall) = (all_processors_ns(), timer.monotonic());
        let (_store, recovery) = open()?;
        let (took, took_wall) = (all_processors_ns().saturating_sub(start), wall(start_wall));
        if took_wall < report.reopen_wall_ns {
            (report.reopen_ns, report.reopen_wall_ns) = (took, took_wall);
        }
        report.reopened_samples = recovery.samples;
    }
    Ok(report)
}

/// Buckets of a histogram, of which observations fall into the middle ones.
const BUCKETS: usize = 60;

/// What histograms cost: 60 buckets, twelve observations between two samples, about one in forty
/// of them with a bucket that is new.
fn measure_histograms(
    folder: &Path,
    series: usize,
    seconds: usize,
    interval: usize,
) -> Result<String, Box<dyn std::error::Error>> {
    let clock = ManualClock::at(START_MS * 1_000_000);
    let mut random = Random::new(7);
    let before = ALLOCATED.load(Ordering::Relaxed);
    let open = || Tsdb::open(Config::new(folder), Arc::new(RealFs), Arc::new(clock.clone()));
    let (store, _) = open()?;
    let refs = (0..series).map(|n| store.series(&labels(n))).collect::<Result<Vec<_>, _>>()?;
    let mut counts: Vec<Vec<u64>> = (0..series).map(|_| vec![1000; BUCKETS]).collect();
    let (mut samples, mut append_ns, mut head) = (0, 0, (0, 0, 0, 0));
    let mut histograms: Vec<Arc<NativeHistogram>> = Vec::new();
    for _ in 0..seconds / interval {
        clock.advance(Duration::from_secs(interval as u64));
        let time_ms = clock.unix_ms();
        // The caller's own histograms are not counted in.
        histograms.clear();
        if store.metrics().seals.get() == 0 {
            let counted = ALLOCATED.load(Ordering::Relaxed) - before - counts.len() * BUCKETS * 8;
            let stats = store.stats();
            head = (samples, stats.head_bytes, counted, stats.wal_bytes);
        }
        for counts in &mut counts {
            for _ in 0..12 {
                let bucket = (random.below(10) + random.below(10) + random.below(10)) as usize;
                counts[bucket + 15] += 1;
            }
            if random.one_in(40) {
                counts.push(1);
            }
            histograms.push(Arc::new(NativeHistogram {
                sum: random.unit() + samples as f64,
                positive_spans: vec![Span { offset: 3, length: counts.len() as u32 }],
                counts: HistogramCounts::Integer {
                    count: counts.iter().sum(),
                    zero_count: 0,
                    positive: counts.clone(),
                    negative: Vec::new(),
                },
                ..NativeHistogram::stale()
            }));
        }
        for (refs, histograms) in refs.chunks(100).zip(histograms.chunks(100)) {
            let with_refs = refs.iter().zip(histograms);
            let batch: Vec<_> = with_refs
                .map(|(&reference, histogram)| HistogramSample { reference, time_ms, start_ms: 0, histogram })
                .collect();
            let start = processor_ns();
            samples += store.append_histograms(&batch)?.taken;
            append_ns += processor_ns().saturating_sub(start);
        }
        store.maintain();
    }
    let (head_samples, head_bytes, counted, wal_bytes) = head;
    let start = processor_ns();
    let range = TimeRange { start_ms: START_MS, end_ms: clock.unix_ms() };
    let set = store.select(&Select { matchers: vec![], range, hints: Hints::default(), series_max: 0 })?;
    let (mut read, mut buffer) = (0, SampleBuffer::default());
    for i in 0..set.len() {
        buffer.clear();
        set.read(i, range, &mut buffer)?;
        read += buffer.histograms.len() as u64;
    }
    let read_ns = processor_ns().saturating_sub(start);
    if read != samples {
        return Err(format!("read {read} of {samples} histograms").into());
    }
    let per = |total: u64, count: u64| total as f64 / count.max(1) as f64;
    drop((set, store, histograms));
    let start = all_processors_ns();
    let recovery = open()?.1;
    let reopen_ns = all_processors_ns().saturating_sub(start);
    Ok(format!(
        "histograms, series           {series}\n\
         samples                      {samples}\n\
         append, ns/histogram         {:.0}\n\
         log, bytes/histogram         {:.1}\n\
         in the head, a series        {:.1}\n\
         head as it says, bytes/series {:.0}\n\
         head as counted, bytes/series {:.0}\n\
         replayed, ns/histogram       {:.0}\n\
         read, ns/histogram           {:.0}",
        per(append_ns, samples),
        per(wal_bytes, head_samples),
        per(head_samples, series as u64),
        per(head_bytes, series as u64),
        per(counted as u64, series as u64),
        per(reopen_ns, recovery.samples),
        per(read_ns, read),
    ))
}

fn labels(n: usize) -> Labels {
    let (target, metric) = (n / TARGET_SERIES, n % TARGET_SERIES);
    Labels::from_pairs([
        ("__name__", format!("node_metric_{}_total", metric / 8)),
        ("device", format!("device-{}", metric % 8)),
        ("instance", format!("host-{target}")),
        ("job", "node-exporter".to_owned()),
        ("mode", ["idle", "user", "system"][metric % 3].to_owned()),
    ])
}

enum Source {
    Constant(f64),
    Counter { value: u64, rate: u64 },
    Seconds { hundredths: u64, rate: u64 },
    Pages(u64),
    Load(i64),
    Float,
}

impl Source {
    fn new(n: usize, random: &mut Random) -> Self {
        match n * 61 % 100 {
            0..61 => Self::Constant(random.below(1 << 30) as f64),
            61..78 => Self::Counter { value: random.below(1 << 40), rate: 1 + random.below(100_000) },
            78..88 => Self::Seconds { hundredths: random.below(1 << 30), rate: 1 + random.below(100) },
            88..94 => Self::Pages(random.below(1 << 22)),
            94..98 => Self::Load(random.below(400) as i64),
            _ => Self::Float,
        }
    }

    fn next(&mut self, random: &mut Random) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Counter { value, rate } => {
                *value += random.below(*rate);
                *value as f64
            }
            Self::Seconds { hundredths, rate } => {
                *hundredths += random.below(*rate);
                *hundredths as f64 / 100.0
            }
            Self::Pages(pages) => {
                *pages = (*pages + random.below(64)).saturating_sub(32);
                (*pages * 4096) as f64
            }
            Self::Load(hundredths) => {
                *hundredths = (*hundredths + random.below(11) as i64 - 5).max(0);
                *hundredths as f64 / 100.0
            }
            Self::Float => random.unit(),
        }
    }
}

/// Time that this thread has had a processor for.
fn processor_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

/// Time that all threads have had processors for.
fn all_processors_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime))
}

fn nanoseconds(time: Timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Resident memory of this process; 0 where the system does not tell.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_run_reads_back_what_it_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let report = measure(folder.path(), 60, 2000, 1).unwrap();
        assert_eq!(report.samples, 60 * 2000);
        assert!(report.segments >= 2, "{report:?}");
        assert!(report.bytes_per_sample > 0.0 && report.bytes_per_sample < 3.0, "{report:?}");
        assert!(report.wal_bytes_per_sample < 4.0, "{report:?}");
        let folder = tempfile::tempdir().unwrap();
        let report = measure_histograms(folder.path(), 20, 2000, 50).unwrap();
        assert!(report.contains("samples                      800"), "{report}");
    }
}
