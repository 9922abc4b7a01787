//! `/proc/pressure`: how long tasks waited for want of processor, memory, input/output.

use super::{Collector, Failure, Tools};
use crate::{
    Config,
    file::{FileBudget, KeptFile},
    parse,
    series::{Family, LazySeries, Pass},
};

/// File, what some tasks waited, what all of them did. The kernel knows no full pressure of the
/// processor for the whole machine, and no partial one of interrupts.
const FILES: [(&str, Option<Family<'_>>, Option<Family<'_>>); 4] = [
    (
        "cpu",
        Some(Family::counter(
            "node_pressure_cpu_waiting_seconds_total",
            "Total time in seconds that processes have waited for CPU time",
        )),
        None,
    ),
    (
        "io",
        Some(Family::counter(
            "node_pressure_io_waiting_seconds_total",
            "Total time in seconds that processes have waited due to IO congestion",
        )),
        Some(Family::counter(
            "node_pressure_io_stalled_seconds_total",
            "Total time in seconds no process could make progress due to IO congestion",
        )),
    ),
    (
        "memory",
        Some(Family::counter(
            "node_pressure_memory_waiting_seconds_total",
            "Total time in seconds that processes have waited for memory",
        )),
        Some(Family::counter(
            "node_pressure_memory_stalled_seconds_total",
            "Total time in seconds no process could make progress due to memory congestion",
        )),
    ),
    (
        "irq",
        None,
        Some(Family::counter(
            "node_pressure_irq_stalled_seconds_total",
            "Total time in seconds no process could make progress due to IRQ congestion",
        )),
    ),
];

pub(super) struct PressureStall {
    files: [KeptFile; FILES.len()],
    some: [LazySeries; FILES.len()],
    full: [LazySeries; FILES.len()],
}

impl PressureStall {
    pub(super) fn new(config: &Config, budget: &FileBudget) -> Self {
        let folder = config.proc_root.join("pressure");
        Self {
            files: FILES.map(|(name, ..)| KeptFile::new(folder.join(name), budget)),
            some: Default::default(),
            full: Default::default(),
        }
    }
}

impl Collector for PressureStall {
    fn name(&self) -> &'static str {
        "pressure"
    }

    fn collect(&mut self, pass: &mut Pass<'_>, tools: &mut Tools<'_>) -> Result<(), Failure> {
        let mut found = false;
        for (i, (_, some, full)) in FILES.iter().enumerate() {
            let Ok(text) = self.files[i].read(tools.buffer) else { continue };
            found = true;
            let totals = parse::pressure(text);
            if let (Some(family), Some(value)) = (some, totals.some) {
                self.some[i].put(pass, *family, &[], value);
            }
            if let (Some(family), Some(value)) = (full, totals.full) {
                self.full[i].put(pass, *family, &[], value);
            }
        }
        if found { Ok(()) } else { Err(Failure::at("/proc/pressure")(rustix::io::Errno::NOENT)) }
    }
}
