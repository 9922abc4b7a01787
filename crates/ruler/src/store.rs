//! The alert state on disk: a log in which each record is the whole state and the last counts.

use std::{path::Path, sync::Arc};

use vedette_sys::{Flush, Fs, LogConfig, LogError, RecordLog, Recovery};

/// From this size on the log begins anew with the newest state.
const LOG_BYTES_MAX: u64 = 4 << 20;

pub(crate) struct StateLog {
    log: RecordLog,
    /// Size at which the log begins anew: it grows with the state.
    compact_at_bytes: u64,
}

impl StateLog {
    /// Opens the log and gives the last state in it.
    pub(crate) fn open(
        fs: Arc<dyn Fs>,
        folder: &Path,
    ) -> Result<(Self, Option<Vec<u8>>, Recovery), LogError> {
        let mut last = None;
        let config = LogConfig {
            segment_bytes_max: LOG_BYTES_MAX * 16,
            record_bytes_max: 256 << 20,
            flush: Flush::Always,
        };
        let (log, recovery) =
            RecordLog::open(fs, folder, config, &mut |_, record| last = Some(record.to_vec()))?;
        Ok((Self { log, compact_at_bytes: LOG_BYTES_MAX }, last, recovery))
    }

    /// Writes the state; when this returns it survives a loss of power.
    pub(crate) fn save(&mut self, state: &[u8]) -> Result<(), LogError> {
        if self.log.bytes() < self.compact_at_bytes {
            self.log.append(state)?;
            return Ok(());
        }
        self.log.start_segment()?;
        let segment = self.log.append(state)?;
        // The states before are removed only when the new one is safe.
        self.log.remove_before(segment)?;
        self.compact_at_bytes = LOG_BYTES_MAX.max(state.len() as u64 * 8);
        Ok(())
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.log.bytes()
    }
}
