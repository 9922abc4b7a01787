//! Facts from the kernel: loads the sensor programs, reads their rings, decodes the records.
//!
//! The programs are C (`bpf/programs`), compiled ahead and embedded, so neither a compiler nor
//! kernel headers are needed where Vedette runs. What a record means for the machine's identity
//! (container, ancestry) is the collector's business; nothing here looks into `/proc`.

mod abi;
mod decode;
mod error;
mod event;
mod metrics;
mod sensor;
mod syscalls;

pub use decode::{Malformed, decode};
pub use error::Error;
pub use event::{Args, Exec, Header, KernelEvent, KernelFact};
pub use metrics::SensorMetrics;
pub use sensor::{ClassLoss, Config, Losses, Sensor};
