//! Tells a thread to end, also while it waits.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// A flag that can be waited on.
#[derive(Default)]
pub struct Stop {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Raises the flag.
    pub fn set(&self) {
        *self.set.lock() = true;
        self.changed.notify_all();
    }

    /// Whether the flag is raised.
    pub fn is_set(&self) -> bool {
        *self.set.lock()
    }

    /// Waits for the flag at most this long; says whether it is raised.
    pub fn wait(&self, limit: Duration) -> bool {
        let mut set = self.set.lock();
        if !*set {
            self.changed.wait_for(&mut set, limit);
        }
        *set
    }
}
