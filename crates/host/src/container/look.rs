//! When something of a container's processes is looked at again.

use std::time::Duration;

use vedette_sys::MonotonicTime;

/// By then it is looked at again whatever happened: others may have moved a process into the container.
const AGAIN: Duration = Duration::from_secs(60);

/// The last look: what a container that has used no processor since has done is known.
#[derive(Debug, Default)]
pub(super) struct Look {
    cpu: Option<u64>,
    at: Option<MonotonicTime>,
}

impl Look {
    /// Whether to look again; then that is taken for done. `cpu` is the processor time that was used, if it is known.
    pub(super) fn is_due(&mut self, cpu: Option<u64>, now: MonotonicTime) -> bool {
        let is_known = cpu.is_some() && self.cpu == cpu;
        let is_due = !is_known || self.at.is_none_or(|at| now.since(at) >= AGAIN);
        if is_due {
            (self.cpu, self.at) = (cpu, Some(now));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use vedette_sys::{Clock as _, ManualClock};

    use super::*;

    #[test]
    fn it_is_due_when_the_container_ran_and_once_a_minute() {
        let clock = ManualClock::at(0);
        let mut look = Look::default();
        let due: Vec<bool> = [Some(1), Some(1), Some(2), Some(2), None, None, Some(2), Some(2)]
            .into_iter()
            .map(|cpu| {
                clock.advance(Duration::from_secs(10));
                look.is_due(cpu, clock.monotonic())
            })
            .collect();
        assert_eq!(due, [true, false, true, false, true, true, true, false]);
        clock.advance(Duration::from_secs(49));
        assert!(!look.is_due(Some(2), clock.monotonic()));
        clock.advance(Duration::from_secs(1));
        assert!(look.is_due(Some(2), clock.monotonic()));
    }
}
