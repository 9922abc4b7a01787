//! A pass in which nothing happens takes no memory: neither for the files it reads nor, when it is
//! given the rows of the last pass, for its samples.

#![expect(clippy::unwrap_used, reason = "a test whose files cannot be made has failed")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    path::Path,
    sync::Arc,
};

use vedette_host::{Config, ContainerReader, NodeReader};
use vedette_model::Samples;
use vedette_sys::SystemClock;

/// What the machine's own row costs beside, at its turn: its processors are looked through.
const MACHINE_ALLOCATIONS_MAX: u64 = 600;
/// Allocations that the turn of one container may take: names of the files that hold its limits
/// and tell of its first process.
const TURN_ALLOCATIONS_MAX: u64 = 48;
/// Allocations that a pass over the machine may take: one for each collector, which names the
/// place of what this kernel does not have.
const NODE_ALLOCATIONS_MAX: u64 = 15;
const CONTAINERS: usize = 30;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread asks of it.
struct Counting;

fn count() {
    // Gone while a thread ends, when nobody counts.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
}

#[expect(unsafe_code, reason = "an allocator can be written in no other way")]
// SAFETY: every call is passed on unchanged to the system's allocator; counting touches a cell of
// the thread only, which needs no memory of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`; `place` came from `System`.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`; `place` came from `System`.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(of: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    of();
    ALLOCATIONS.get() - before
}

/// What a caller does to hand the rows in again.
fn clear(samples: &mut Samples) {
    for row in &mut samples.rows {
        row.series.clear();
        row.values.clear();
    }
    samples.defined.clear();
    samples.retired.clear();
    samples.metadata.clear();
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn machine(root: &Path) -> Config {
    write(&root.join("proc/stat"), "btime 1000\n");
    write(&root.join("proc/meminfo"), "MemTotal: 1000 kB\n");
    write(&root.join("proc/1/ns/net"), "");
    write(&root.join("cgroup/cgroup.controllers"), "");
    for number in 0..CONTAINERS {
        let process = root.join(format!("proc/{}", 100 + number));
        write(&process.join("stat"), &format!("1 (sh) S {} 1000 0\n", ["0"; 18].join(" ")));
        write(&process.join("ns/net"), "");
        write(&process.join("net/dev"), "eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n");
        for (file, text) in [
            ("cgroup.procs", format!("{}\n", 100 + number).as_str()),
            ("cpu.stat", "usage_usec 15\nuser_usec 10\nsystem_usec 5\nnr_periods 4\nnr_throttled 2\n"),
            ("cpu.pressure", "some avg10=0 total=3\nfull avg10=0 total=1\n"),
            ("cpu.max", "20000 100000\n"),
            ("memory.current", "1000\n"),
            ("memory.stat", "anon 300\nfile 600\ninactive_file 400\npgfault 7\n"),
            ("memory.events", "high 1\nmax 2\noom_kill 0\n"),
            ("memory.max", "max\n"),
            ("pids.current", "5\n"),
            ("io.stat", "999:7 rbytes=4096 wbytes=8192 rios=1 wios=2\n"),
        ] {
            write(&root.join(format!("cgroup/{number:064x}/{file}")), text);
        }
    }
    Config {
        proc_root: root.join("proc"),
        cgroup_root: root.join("cgroup"),
        runtime_sockets: Vec::new(),
        ..Config::default()
    }
}

#[test]
fn a_steady_pass_over_containers_allocates_in_turns_only() {
    let root = tempfile::tempdir().unwrap();
    let config = machine(root.path());
    let mut reader = ContainerReader::new(&config, Arc::new(SystemClock)).unwrap();
    let (mut samples, mut changes) = (Samples::default(), Vec::new());
    // The first passes define the series, and make the rows as large as they become.
    for second in 0..20 {
        clear(&mut samples);
        reader.collect(second * 1000, &mut samples, &mut changes);
    }
    assert_eq!(changes.len(), CONTAINERS, "each was found: {changes:?}");
    let mut steady_passes = 0;
    // Half a second apart, every other pass is nobody's turn.
    for pass in 0..40 {
        clear(&mut samples);
        let taken = allocations(|| reader.collect(20_000 + pass * 500, &mut samples, &mut changes));
        assert!(samples.rows[0].series.len() >= CONTAINERS * 10);
        let turn = samples.rows.iter().skip(1).any(|row| !row.series.is_empty());
        if turn {
            let max = TURN_ALLOCATIONS_MAX * CONTAINERS as u64 / 10 + MACHINE_ALLOCATIONS_MAX;
            assert!(taken <= max, "{taken} allocations in the turn of a tenth of the containers");
        } else {
            steady_passes += 1;
            assert_eq!(taken, 0, "allocations in a pass without a turn");
        }
    }
    assert!(steady_passes >= 19, "{steady_passes} passes were nobody's turn");
}

#[test]
fn a_steady_pass_over_this_machine_allocates_little() {
    let config = Config { reconcile_interval_ms: u64::MAX, ..Config::default() };
    let mut reader = NodeReader::new(&config, Arc::new(SystemClock)).unwrap();
    let mut samples = Samples::default();
    let mut taken = Vec::new();
    for pass in 0..12 {
        clear(&mut samples);
        taken.push(allocations(|| reader.collect(pass * 1000, &mut samples)));
    }
    // What happens on the machine meanwhile may define a series; most passes see nothing of it.
    taken.sort_unstable();
    assert!(taken[0] <= NODE_ALLOCATIONS_MAX, "allocations of the passes: {taken:?}");
}
