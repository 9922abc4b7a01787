//! Facts about this machine and its containers, read from /proc, /sys, the cgroup tree and the
//! container runtimes.
//!
//! [`NodeReader`] gives the series that node_exporter gives, [`ContainerReader`] those of
//! cAdvisor: same names, types, labels and units, so that rules and dashboards written for them
//! work unchanged. Files are kept open and read again into one buffer; a pass over a machine
//! that did not change allocates nothing. What the kernel or a runtime says is foreign: it is
//! bounded, and what cannot be understood is left out.

mod config;
mod container;
mod error;
mod file;
mod identity;
mod keyed;
mod machine_facts;
mod metrics;
mod node;
mod parse;
mod processes;
mod report;
mod runtime;
mod series;
mod sheet;

pub use config::{Collectors, Config};
pub use container::{ContainerChange, ContainerIndex, ContainerReader};
pub use error::Error;
pub use file::raise_open_file_limit;
pub use identity::Identity;
pub use machine_facts::machine_facts;
pub use node::NodeReader;
pub use processes::processes;
pub use report::Report;
pub use series::SeriesNumbers;
