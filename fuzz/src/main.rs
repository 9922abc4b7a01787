//! Coverage-guided fuzzing of every decoder of foreign bytes. `cargo xtask fuzz` builds and runs
//! it; `VEDETTE_FUZZ_TARGET` chooses the target, `list` prints them all.

#![no_main]

mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

static RUN: OnceLock<fn(&[u8])> = OnceLock::new();

fuzz_target!(
    init: {
        let wanted = std::env::var("VEDETTE_FUZZ_TARGET").unwrap_or_default();
        let Some(target) = targets::TARGETS.iter().find(|t| t.name == wanted) else {
            for target in targets::TARGETS {
                println!("{} {}", target.name, target.seeds.join(" "));
            }
            std::process::exit(if wanted == "list" { 0 } else { 3 })
        };
        let _ = RUN.set(target.run);
    },
    |data: &[u8]| {
        if let Some(run) = RUN.get() {
            run(data);
        }
    }
);
