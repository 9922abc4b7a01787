//! The machine: clock, files, randomness and the record log, each real and simulated.
//!
//! Stores and judgement take these as arguments, so that a test can stop the clock, fill the
//! disk, tear a write or end the process at any write, and repeat it from a seed. This crate
//! knows no noun of `model`.

mod clock;
mod fs;

pub use clock::{Clock, ManualClock, MonotonicTime, SystemClock};
pub use fs::{File, Fs, RealFs};
