//! What end-to-end tests stand on: the real program, a real container runtime, a real browser,
//! and a small HTTP client and server. Nothing here knows the program's crates: a test sees what
//! a person or another program sees.
//!
//! A test that cannot run on a machine says so by [`skip!`]; the lane counts and names it.

#![expect(clippy::disallowed_methods, reason = "end-to-end tests wait in real time, with deadlines")]

pub mod containers;
pub mod control_plane;
pub mod docker;
pub mod guest;
pub mod http;
pub mod peer;
pub mod program;
pub mod target;
pub mod webhook;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Says that a test cannot run here and ends it.
#[macro_export]
macro_rules! skip {
    ($name:expr, $($reason:tt)*) => {{
        println!("SKIPPED {}: {}", $name, format!($($reason)*));
        return Ok(());
    }};
}

/// The program under test, as the lane built it.
pub fn binary() -> PathBuf {
    std::env::var_os("VEDETTE_BINARY").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release/vedette")),
        PathBuf::from,
    )
}

/// Root of the tree of unpacked Debian packages.
pub fn parts() -> PathBuf {
    std::env::var_os("VEDETTE_PARTS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/peers/debian")),
        PathBuf::from,
    )
}

/// Whether this process is root.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

/// Tries until `probe` gives something, or fails after `limit` with the last error.
pub fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        let last = match probe() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => String::new(),
            Err(error) => format!(": {error:#}"),
        };
        if Instant::now() > end {
            bail!("waited {limit:?} for {what} in vain{last}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
