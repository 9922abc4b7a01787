//! Coverage-guided fuzzing of every decoder of foreign bytes. `cargo xtask fuzz` builds and runs
//! it; `VEDETTE_FUZZ_TARGET` chooses the target, `list` prints them all. With
//! `VEDETTE_FUZZ_SEEDS` the target writes inputs to begin with into that folder, and ends.

#![no_main]

mod cluster;
mod kubernetes;
mod receive;
mod scrape;
mod store;
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
        if let Some(folder) = std::env::var_os("VEDETTE_FUZZ_SEEDS") {
            for (number, seed) in (target.made)().iter().enumerate() {
                let path = std::path::Path::new(&folder).join(format!("made-{number}"));
                if let Err(error) = std::fs::write(&path, seed) {
                    eprintln!("cannot write {}: {error}", path.display());
                    std::process::exit(1);
                }
            }
            std::process::exit(0);
        }
        let _ = RUN.set(target.run);
    },
    |data: &[u8]| {
        if let Some(run) = RUN.get() {
            run(data);
        }
    }
);
