//! `prometheus.yml` at work: read whole, handed to the parts that work by it, and read again by
//! SIGHUP, over HTTP and when it has changed.
//!
//! Invariant: all parts work by one and the same reading. A reading that cannot be used, or that one
//! part refuses, changes nothing, and is seen on the status page and in a metric.

mod parts;
#[cfg(test)]
mod tests;

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use vedette_alerting::Group;
use vedette_config::prometheus::{Config, Mode, Surroundings, expand_pattern, load};
use vedette_model::{
    status::{Health, Part, StatusBoard},
    telemetry::{Family, MetricSource, MetricVisitor, Telemetry},
};
use vedette_sys::{Clock, Fs};

use crate::judgement;

pub use parts::{
    OWN_JOBS, OwnJob, Pushed, RemoteReading, RemoteWriting, Rules, Scraping, Targets, check_clients,
};

/// How often files are looked at. One that was just written is taken up one look later.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// One reading of the file and of those that it names.
#[derive(Debug)]
pub struct Loaded {
    /// Who reads it.
    pub mode: Mode,
    /// What it says.
    pub config: Config,
    /// The rules of its rule files, with what `global` says of those that say nothing.
    pub groups: Vec<Group>,
}

/// A part that works by the file.
pub trait Follower: Send + Sync {
    /// Refuses a reading that it could not work by. All parts are asked before any of them changes.
    fn check(&self, loaded: &Loaded) -> Result<(), String> {
        let _ = loaded;
        Ok(())
    }

    /// Works by another reading from now on. What fails here although it passed the check, as a disk can,
    /// may leave it half changed: it is given the old reading again.
    fn apply(&self, loaded: &Loaded) -> Result<(), String>;
}

/// The file at work.
pub struct PrometheusFile {
    path: PathBuf,
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    status: StatusBoard,
    followers: Vec<Box<dyn Follower>>,
    state: Mutex<State>,
    outcome: Arc<Outcome>,
}

struct State {
    loaded: Loaded,
    /// The files of the last attempt, whatever came of it.
    seen: Stamps,
    /// Files that looked different at the last look.
    pending: Option<Stamps>,
}

/// What came of the last reading.
#[derive(Default)]
pub struct Outcome(Mutex<Last>);

/// What came of the last reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Last {
    /// Why it is not in force; empty where it is.
    pub error: String,
    /// When one was taken up last.
    pub success_unix_ns: i64,
}

/// What tells one state of all files from another.
type Stamps = Vec<(PathBuf, u64, u64, i64, i64)>;

/// Reads the file, the scrape jobs and the rules that it names.
pub fn read(path: &Path, fs: &dyn Fs, mode: Mode) -> Result<Loaded> {
    let env = |name: &str| std::env::var(name).ok();
    let config = load(path, mode, Surroundings { fs, env: &env })?;
    let mut groups = Vec::new();
    for file in config.rule_files.iter().flat_map(|pattern| expand_pattern(fs, pattern)) {
        // As in Prometheus, a file may come later; it is taken up then.
        if !fs.exists(&file) {
            tracing::warn!(file = %file.display(), "there is no such file of rules");
            continue;
        }
        for mut group in judgement::groups_of_file(&file)? {
            let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
            group.interval_ms.get_or_insert(ms(config.global.evaluation_interval));
            if group.query_offset_ms == 0 {
                group.query_offset_ms = ms(config.global.rule_query_offset);
            }
            groups.push(group);
        }
    }
    Ok(Loaded { mode, config, groups })
}

impl PrometheusFile {
    /// Hands the first reading to all followers, in their order.
    pub fn start(
        path: &Path,
        loaded: Loaded,
        followers: Vec<Box<dyn Follower>>,
        (fs, clock): (Arc<dyn Fs>, Arc<dyn Clock>),
        status: &StatusBoard,
        telemetry: &Telemetry,
    ) -> Result<Self> {
        let outcome = Arc::new(Outcome::default());
        telemetry.register(outcome.clone());
        for follower in &followers {
            let applied = follower.check(&loaded).and_then(|()| follower.apply(&loaded));
            applied
                .map_err(anyhow::Error::msg)
                .with_context(|| format!("{} cannot be used", path.display()))?;
        }
        let seen = stamps(path, &loaded.config, &*fs);
        let state = Mutex::new(State { loaded, seen, pending: None });
        let path = path.to_owned();
        let file = Self { path, fs, clock, status: status.clone(), followers, state, outcome };
        file.note(Ok(()));
        Ok(file)
    }

    /// Reads the files anew. What is refused changes nothing.
    pub fn reload(&self) -> Result<(), String> {
        let mut state = self.state.lock();
        self.reload_locked(&mut state)
    }

    /// Reads the files anew if they have changed and are not being written at this moment.
    pub fn reload_if_changed(&self) {
        let mut state = self.state.lock();
        let now = stamps(&self.path, &state.loaded.config, &*self.fs);
        if now == state.seen {
            state.pending = None;
        } else if state.pending.as_ref() == Some(&now) {
            // The error is told where all look for it.
            let _ = self.reload_locked(&mut state);
        } else {
            state.pending = Some(now);
        }
    }

    /// The configuration in force: all defaults, no secrets.
    pub fn to_yaml(&self) -> String {
        self.state.lock().loaded.config.to_yaml()
    }

    /// What came of the last reading.
    pub fn last(&self) -> Last {
        self.outcome.0.lock().clone()
    }

    /// Something of the configuration in force.
    pub fn with_config<T>(&self, take: impl FnOnce(&Config) -> T) -> T {
        take(&self.state.lock().loaded.config)
    }

    fn reload_locked(&self, state: &mut State) -> Result<(), String> {
        // Before reading: what is written meanwhile is seen at the next look.
        state.pending = None;
        state.seen = stamps(&self.path, &state.loaded.config, &*self.fs);
        let read = read(&self.path, &*self.fs, state.loaded.mode).map_err(|error| format!("{error:#}"));
        let outcome = read.and_then(|loaded| {
            self.apply(&loaded, &state.loaded)?;
            state.seen = stamps(&self.path, &loaded.config, &*self.fs);
            state.loaded = loaded;
            Ok(())
        });
        self.note(outcome.clone());
        outcome
    }

    /// Hands a reading to all followers, once none of them refuses it. Where one fails all the same, it
    /// and those before it get the old one back, the last first.
    fn apply(&self, new: &Loaded, old: &Loaded) -> Result<(), String> {
        self.followers.iter().try_for_each(|follower| follower.check(new))?;
        for (i, follower) in self.followers.iter().enumerate() {
            let Err(mut error) = follower.apply(new) else { continue };
            for changed in self.followers[..=i].iter().rev() {
                if let Err(again) = changed.apply(old) {
                    tracing::error!(error = again, "a part cannot go back to the configuration of before");
                    error += &format!("; and a part cannot go back to the configuration of before: {again}");
                }
            }
            return Err(error);
        }
        Ok(())
    }

    fn note(&self, outcome: Result<(), String>) {
        let file = self.path.display().to_string();
        let mut last = self.outcome.0.lock();
        let part = match outcome {
            Ok(()) => {
                tracing::info!(file, "the configuration is in force");
                *last = Last { error: String::new(), success_unix_ns: self.clock.unix_ns() };
                Part::ok()
            }
            Err(error) => {
                tracing::error!(file, error, "the configuration is refused; the one before stays in force");
                last.error.clone_from(&error);
                let message = format!("the changed configuration is refused, the one before stays: {error}");
                Part::new(Health::Degraded, message, "Correct the file; it is read again when it changes.")
            }
        };
        self.status.post("prometheus_config", part.fact("file", file));
    }
}

/// How all files look that a reading depends on, those that a pattern names now included.
fn stamps(path: &Path, config: &Config, fs: &dyn Fs) -> Stamps {
    let patterns = config.rule_files.iter().chain(&config.scrape_config_files);
    let files = patterns.flat_map(|pattern| expand_pattern(fs, pattern));
    std::iter::once(path.to_owned())
        .chain(files)
        .map(|path| match std::fs::metadata(&path) {
            Ok(data) => {
                let ns = |s: i64, rest: i64| s.saturating_mul(1_000_000_000).saturating_add(rest);
                let (written, changed) =
                    (ns(data.mtime(), data.mtime_nsec()), ns(data.ctime(), data.ctime_nsec()));
                (path, data.ino(), data.len(), written, changed)
            }
            Err(_) => (path, 0, 0, 0, 0),
        })
        .collect()
}

const SUCCESSFUL: Family = Family::gauge(
    "vedette_config_last_reload_successful",
    "Whether the last reading of prometheus.yml is in force.",
);
const SUCCESS_TIME: Family = Family::gauge(
    "vedette_config_last_reload_success_timestamp_seconds",
    "When a reading of prometheus.yml was taken up last.",
);
/// The names by which rules that people have know it.
const KNOWN_SUCCESSFUL: Family = Family::gauge(
    "prometheus_config_last_reload_successful",
    "Whether the last reading of prometheus.yml is in force.",
);
const KNOWN_SUCCESS_TIME: Family = Family::gauge(
    "prometheus_config_last_reload_success_timestamp_seconds",
    "When a reading of prometheus.yml was taken up last.",
);

impl MetricSource for Outcome {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        let last = self.0.lock().clone();
        let successful = f64::from(u8::from(last.error.is_empty()));
        let seconds = last.success_unix_ns as f64 / 1e9;
        for (family, value) in [
            (&SUCCESSFUL, successful),
            (&SUCCESS_TIME, seconds),
            (&KNOWN_SUCCESSFUL, successful),
            (&KNOWN_SUCCESS_TIME, seconds),
        ] {
            visitor.value(family, &[], value);
        }
    }
}
