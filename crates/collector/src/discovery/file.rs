//! Lists of targets in files. Files are looked at often and read when one of them has changed, and in
//! any case every refresh interval.

use std::{os::unix::fs::MetadataExt as _, path::PathBuf, sync::Arc, time::Duration};

use tokio::time::sleep;
use vedette_config::{discovery::FileDiscovery, prometheus::expand_pattern};
use vedette_scrape::discovery::FileTargets;
use vedette_sys::{Clock, Fs, MonotonicTime};

use super::{DiscoveryParts, Reporter};

/// How often files are looked at. What was written is seen after this at the latest.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

pub(super) struct FileSource {
    config: FileDiscovery,
    targets: FileTargets,
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
}

/// Which files there are, and when each was written.
type Seen = Vec<(PathBuf, u64, u64, i64, i64)>;

impl FileSource {
    pub(super) fn new(config: &FileDiscovery, parts: &DiscoveryParts) -> Self {
        Self {
            targets: FileTargets::new(config.clone()),
            config: config.clone(),
            fs: parts.fs.clone(),
            clock: parts.clock.clone(),
        }
    }

    pub(super) async fn run(mut self, reporter: Reporter) {
        let mut last: Option<(Seen, MonotonicTime)> = None;
        let look = LOOK_INTERVAL.min(self.config.refresh_interval);
        loop {
            // Files may lie on a disk that does not answer.
            let looked = tokio::task::spawn_blocking(move || {
                let now = self.clock.monotonic();
                let seen = self.look();
                let is_due = last.as_ref().is_none_or(|(before, at)| {
                    *before != seen || now.since(*at) >= self.config.refresh_interval
                });
                let outcome = is_due.then(|| self.targets.refresh(&*self.fs));
                let last = if is_due { Some((seen, now)) } else { last };
                (self, last, outcome)
            });
            let Ok((source, newest, outcome)) = looked.await else { return };
            (self, last) = (source, newest);
            if let Some(outcome) = outcome
                && !reporter.tell(Some(self.targets.groups()), outcome)
            {
                return;
            }
            sleep(look).await;
        }
    }

    fn look(&self) -> Seen {
        let paths = self.config.files.iter().flat_map(|pattern| expand_pattern(&*self.fs, pattern));
        paths
            .map(|path| match std::fs::metadata(&path) {
                Ok(data) => {
                    let ns = data.mtime().saturating_mul(1_000_000_000).saturating_add(data.mtime_nsec());
                    (path, data.ino(), data.len(), ns, data.ctime_nsec())
                }
                Err(_) => (path, 0, 0, 0, 0),
            })
            .collect()
    }
}
