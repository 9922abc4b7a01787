//! The machine: clock, files, randomness and the record log, each real and simulated.
//!
//! Stores and judgement take these as arguments, so that a test can stop the clock, fill the
//! disk, tear a write or end the process at any write, and repeat it from a seed. This crate
//! knows no noun of `model`.

mod clock;
mod devices;
mod fs;
mod lock;
mod map;
mod memory;
mod random;
mod record_log;
mod sim_fs;

pub use clock::{Clock, Growth, ManualClock, MonotonicTime, SystemClock};
pub use devices::{
    ClockDiscipline, MapperTarget, clock_discipline, idle_io_priority, mapper_targets, nvme_health_log,
};
pub use fs::{File, Fs, Map, RealFs};
pub use lock::{FolderLock, LockError};
pub use memory::{give_back_free_memory, give_back_program_file, keep_little_free_memory};
pub use random::Random;
pub use record_log::{Flush, LogConfig, LogError, RecordLog, Recovery, SegmentReader, SegmentRecords};
pub use sim_fs::SimFs;
