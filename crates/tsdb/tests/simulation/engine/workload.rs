//! Random work on a store, the same for the same seed, with notes of what the store said to it.

use std::path::PathBuf;

use vedette_model::{MetricKind, MetricMetadata, MetricReader, stale_nan};
use vedette_sys::Random;
use vedette_tsdb::{Error, Flush, RefRow, SeriesRef, Tsdb};

use super::{
    machine::{self, Machine, SERIES},
    model::{Certain, Found, Model, Told},
};

/// Pauses longer than the one after maintenance that failed.
const SETTLE_MS: u64 = 11_000;

/// Attempts to open a store on a disk that fails now and then.
const OPENS_MAX: usize = 20;

/// Works on the store of a machine.
pub struct Driver {
    pub machine: Machine,
    /// Not there while it is closed, or cannot be opened.
    pub store: Option<Tsdb>,
    pub model: Model,
    /// Whether operations may fail.
    pub faults: bool,
    /// Whether several in a row may: then what failed may not be put in order at once.
    pub bursts: bool,
    /// Whether the log was damaged, so that records may build on others that are lost.
    pub damaged: bool,
    random: Random,
    sync_failures: u64,
    /// Series that the log brought, however many may be begun.
    series_found: u64,
    /// What was told before is synced this long after: a sync failed, or the store was opened.
    sync_restarts_ms: i64,
    last_row: (i64, Vec<(usize, f64)>),
}

impl Driver {
    pub fn new(machine: Machine, seed: u64) -> Self {
        Self {
            sync_restarts_ms: machine.now_ms(),
            machine,
            store: None,
            model: Model::default(),
            faults: false,
            bursts: false,
            damaged: false,
            random: Random::new(seed),
            sync_failures: 0,
            series_found: 0,
            last_row: (0, Vec::new()),
        }
    }

    /// Opens the store and does so many steps, or those until the machine crashes.
    pub fn run(&mut self, steps: u64) -> Result<(), String> {
        if self.store.is_none() {
            self.open()?;
        }
        for _ in 0..steps {
            if self.machine.fs.crashed() {
                return Ok(());
            }
            self.step()?;
        }
        Ok(())
    }

    /// Opens the store; not finding it sound is an error unless operations may fail.
    fn open(&mut self) -> Result<(), String> {
        for _ in 0..OPENS_MAX {
            match self.machine.open() {
                Ok((store, recovery)) => {
                    let whole = recovery.dropped_records == 0;
                    let sound = whole && (self.bursts || recovery.notes.is_empty());
                    if !sound && !self.damaged {
                        return Err(format!("opened with {recovery:?}"));
                    }
                    let metadata = store.metadata(None, 0);
                    self.model.check_metadata(&metadata, !self.damaged)?;
                    self.model.settle_metadata(&metadata);
                    self.adopt(store);
                    return Ok(());
                }
                Err(_) if self.machine.fs.crashed() => return Ok(()),
                Err(_) if self.faults => {}
                Err(error) => return Err(format!("does not open: {error:?}")),
            }
        }
        Err("does not open any more".to_owned())
    }

    /// Goes on with a store that was just opened, and takes for true what it holds.
    pub fn take_for_true(&mut self, store: Tsdb, found: &Found) {
        // What is missing because of damage may lie in a file that a loss of power brings back.
        let oldest_ms = if self.damaged { i64::MAX } else { self.oldest_ms() };
        let now_ms = self.machine.now_ms();
        self.model.rebase(found, &store.metadata(None, 0), oldest_ms, now_ms);
        self.adopt(store);
    }

    fn adopt(&mut self, store: Tsdb) {
        self.sync_failures = store.metrics().sync_failures.get();
        self.sync_restarts_ms = self.machine.now_ms();
        self.series_found = store.stats().head_series;
        self.store = Some(store);
    }

    fn step(&mut self) -> Result<(), String> {
        let Some(store) = &self.store else { return Ok(()) };
        match self.random.below(32) {
            0..12 => self.row(),
            12..20 => self.maintain(),
            20..22 => self.late(),
            22 => self.again(),
            23 => self.conflict(),
            24 => self.rows(),
            25 => self.end_series(),
            26 => {
                let family = format!("family_{}", self.random.below(3));
                let help = self.random.below(9).to_string();
                let told = MetricMetadata { family, kind: MetricKind::Gauge, unit: String::new(), help };
                store.put_metadata(std::slice::from_ref(&told));
                self.model.tell_metadata(told);
                Ok(())
            }
            27 => match store.merge_all() {
                Err(error) if !self.may_fail() => Err(format!("cannot merge: {error:?}")),
                _ => Ok(()),
            },
            28 => self.close(),
            29 => {
                self.store = None;
                self.machine.config.shards = 1 + self.random.below(3) as usize;
                self.open()
            }
            30 => (0..3).try_for_each(|_| {
                self.machine.tick_ms(2_500);
                self.maintain()
            }),
            _ => self.check(),
        }
    }

    fn may_fail(&self) -> bool {
        self.faults || self.machine.fs.crashed()
    }

    /// Holds all the store has against the model.
    pub fn check(&self) -> Result<(), String> {
        let Some(store) = self.store.as_ref().filter(|_| !self.machine.fs.crashed()) else { return Ok(()) };
        let answer = machine::read(store)?;
        if let Some((_, error)) = answer.damaged.first() {
            return Err(error.clone());
        }
        let (series, max) = (store.stats().head_series, self.machine.config.series_max as u64);
        if series > self.series_found.max(max) {
            return Err(format!("{series} series, at most {max} may be begun"));
        }
        self.model.check(&answer.found, Certain::Acknowledged, self.oldest_ms())
    }

    /// Samples up to this time may be gone because they are old.
    pub fn oldest_ms(&self) -> i64 {
        self.machine.now_ms() - self.machine.config.retention_ms
    }

    fn row(&mut self) -> Result<(), String> {
        self.machine.tick_ms(400 + self.random.below(2_000));
        let time = self.machine.now_ms();
        let row = self.some_series();
        self.last_row = (time, row.clone());
        self.append(&[(time, row)], true)?;
        if self.random.one_in(2) { self.maintain() } else { Ok(()) }
    }

    fn some_series(&mut self) -> Vec<(usize, f64)> {
        let first = self.random.below(4) as usize;
        let count = 1 + self.random.below((SERIES - first) as u64) as usize;
        (first..first + count)
            .map(|n| match self.random.below(8) {
                0 => (n, self.random.unit()),
                1 => (n, (self.random.below(1000) as f64) / 100.0),
                2 => (n, -0.0),
                _ => (n, self.random.below(9) as f64),
            })
            .collect()
    }

    /// A sample of the past, mostly one that is not there.
    fn late(&mut self) -> Result<(), String> {
        let back = 300 + self.random.below(25_000) as i64;
        let sample = (self.random.below(SERIES as u64) as usize, self.random.below(50) as f64);
        self.append(&[(self.machine.now_ms() - back, vec![sample])], false)
    }

    /// What came last once more: it is there already.
    fn again(&mut self) -> Result<(), String> {
        let (time, row) = self.last_row.clone();
        row.into_iter().try_for_each(|sample| self.append(&[(time, vec![sample])], false))
    }

    /// Another value at the time of the last one.
    fn conflict(&mut self) -> Result<(), String> {
        let n = self.random.below(SERIES as u64) as usize;
        let Some((time, bits)) = self.model.last(n) else { return Ok(()) };
        self.append(&[(time, vec![(n, f64::from_bits(bits) + 1.5)])], false)
    }

    /// Several rows at once, as one remote write brings them.
    fn rows(&mut self) -> Result<(), String> {
        let rows: Vec<_> = (0..3)
            .map(|_| {
                self.machine.tick_ms(500);
                (self.machine.now_ms(), self.some_series())
            })
            .collect();
        self.append(&rows, true)
    }

    fn end_series(&mut self) -> Result<(), String> {
        self.machine.tick_ms(700);
        let row = (0..SERIES).filter(|_| self.random.one_in(2)).map(|n| (n, stale_nan())).collect();
        self.append(&[(self.machine.now_ms(), row)], true)
    }

    /// Appends rows; `new` ones are later than all before.
    fn append(&mut self, rows: &[(i64, Vec<(usize, f64)>)], new: bool) -> Result<(), String> {
        let Some(store) = &self.store else { return Ok(()) };
        let mut known = Vec::new();
        for (time, row) in rows {
            let mut refs: Vec<SeriesRef> = Vec::new();
            let mut samples = Vec::new();
            for &(n, value) in row {
                match store.series(&machine::labels(n)) {
                    Ok(reference) => {
                        refs.push(reference);
                        samples.push((n, value));
                    }
                    Err(Error::SeriesLimit { .. }) if self.machine.config.series_max < SERIES => {}
                    Err(error) => return Err(format!("no series: {error:?}")),
                }
            }
            known.push((*time, refs, samples));
        }
        let values: Vec<Vec<f64>> = known.iter().map(|k| k.2.iter().map(|s| s.1).collect()).collect();
        let given: Vec<_> = known
            .iter()
            .zip(&values)
            .map(|((time, refs, _), values)| RefRow::new(*time, refs, values))
            .collect();
        let count: u64 = given.iter().map(|row| row.refs.len() as u64).sum();
        let told = match store.append(&given) {
            Ok(appended) => {
                let stored = appended.taken + appended.duplicate;
                if !appended.unknown.is_empty() || (new && appended.taken != count) {
                    return Err(format!("{count} new samples at {:?}: {appended:?}", rows[0].0));
                }
                match stored {
                    0 => return Ok(()),
                    stored if stored < count => Told::Nothing,
                    _ if self.machine.config.flush == Flush::Always => Told::Synced,
                    _ => Told::Acknowledged,
                }
            }
            Err(Error::Append(_)) if self.may_fail() => Told::Nothing,
            Err(error) => return Err(format!("cannot append: {error:?}")),
        };
        let now = self.machine.now_ms();
        for (time, _, samples) in known {
            for (n, value) in samples {
                self.model.tell((n, time), value.to_bits(), told, now);
            }
        }
        Ok(())
    }

    fn maintain(&mut self) -> Result<(), String> {
        let Some(store) = &self.store else { return Ok(()) };
        store.maintain();
        if self.machine.fs.crashed() {
            return Ok(());
        }
        let now = self.machine.now_ms();
        let failures = store.metrics().sync_failures.get();
        if failures > self.sync_failures {
            self.sync_failures = failures;
            self.sync_restarts_ms = now;
        }
        if !self.faults || !store.stats().append_fails {
            self.model.settle_metadata(&store.metadata(None, 0));
        }
        if let Flush::Interval(interval) = self.machine.config.flush {
            let interval = interval.as_millis() as i64;
            if self.sync_restarts_ms + interval <= now {
                self.model.synced_until(now - interval);
            }
        }
        Ok(())
    }

    /// Syncs, as before an orderly end.
    fn close(&mut self) -> Result<(), String> {
        let Some(store) = &self.store else { return Ok(()) };
        match store.close() {
            Ok(()) => {
                if self.machine.config.flush != Flush::Always {
                    self.model.synced_until(i64::MAX);
                }
                Ok(())
            }
            Err(_) if self.may_fail() => Ok(()),
            Err(error) => Err(format!("cannot close: {error:?}")),
        }
    }

    /// Works on until what failed was tried again. Then nothing is wrong any more.
    pub fn settle(&mut self) -> Result<(), String> {
        self.faults = false;
        if self.store.is_none() {
            self.open()?;
        }
        for _ in 0..3 {
            self.machine.tick_ms(SETTLE_MS);
            let row = self.some_series();
            self.append(&[(self.machine.now_ms(), row)], true)?;
            self.maintain()?;
        }
        self.check()?;
        let Some(store) = &self.store else { return Ok(()) };
        let stats = store.stats();
        let lasting: Vec<_> = stats.problems.iter().filter(|p| !p.contains(".damaged")).collect();
        if !lasting.is_empty() || stats.append_fails {
            return Err(format!("trouble stays when its cause is gone: {lasting:?}"));
        }
        let is_left = |path: &PathBuf| path.extension().is_none_or(|e| e != "damaged");
        let folder = self.machine.config.folder.join("segments");
        let files = self.machine.fs.files();
        let files: Vec<_> = files.iter().filter(|f| f.starts_with(&folder) && is_left(f)).collect();
        if files.len() as u64 != stats.segments {
            return Err(format!("{} segments are in use, these are there: {files:?}", stats.segments));
        }
        self.model.check_metadata(&store.metadata(None, 0), true)
    }
}
