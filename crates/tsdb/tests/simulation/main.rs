//! A machine that fails at every single write: killed, without power, with a failing, a full or a
//! lying disk. What was acknowledged comes back, what was not may.
//!
//! `VEDETTE_SIM_SEEDS` multiplies the number of seeds for a longer run; `cargo xtask sim` runs as
//! many as you like, optimized.

#![expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod engine;
mod regressions;

use std::sync::atomic::{AtomicU64, Ordering};

use engine::{Case, Fault, glance, places, run};

fn factor() -> u64 {
    std::env::var("VEDETTE_SIM_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(1)
}

/// Runs cases on all processors, and tells all that failed.
fn run_all(cases: &[Case]) {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let failed: Vec<String> = std::thread::scope(|scope| {
        let work = || {
            let mut failed = Vec::new();
            while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                if let Err(error) = run(*case) {
                    failed.push(format!("cargo xtask sim {case}\n  {error}"));
                }
            }
            failed
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    let shown = &failed[..failed.len().min(20)];
    assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), cases.len(), shown.join("\n"));
}

/// All places of a fault in the workloads of some seeds.
fn everywhere(fault: Fault, seeds: u64) {
    let cases: Vec<Case> = (0..seeds * factor())
        .flat_map(|seed| (1..=places(seed, fault).unwrap()).map(move |place| Case { seed, fault, place }))
        .collect();
    eprintln!("{} cases of {}", cases.len(), fault.name());
    run_all(&cases);
}

#[test]
fn a_crash_at_any_write_loses_nothing_acknowledged_or_synced() {
    everywhere(Fault::Crash, 8);
}

#[test]
fn an_error_at_any_write_is_told_and_overcome() {
    everywhere(Fault::Error, 6);
}

#[test]
fn an_error_at_any_read_is_told_and_overcome() {
    everywhere(Fault::Read, 6);
}

#[test]
fn a_full_disk_refuses_samples_and_heals_by_itself() {
    everywhere(Fault::Full, 6);
}

#[test]
fn flipped_bits_are_found_out() {
    everywhere(Fault::Flip, 8);
}

#[test]
fn lying_syncs_lose_samples_and_invent_none() {
    everywhere(Fault::Lie, 6);
}

#[test]
fn whatever_happens_to_any_of_many_seeds() {
    let cases: Vec<Case> = (0..1_500 * factor()).map(|n| glance(1_000 + n)).collect();
    run_all(&cases);
}
