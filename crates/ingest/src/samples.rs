//! Samples: from the sender's numbers to the store's, without an allocation for a known sample.

use std::collections::HashSet;

use vedette_model::{Rejected, Row, Samples, is_stale, stale_nan};
use vedette_tsdb::{Appended, ExemplarSample, HistogramSample, RefRow, SeriesRef, Tsdb};

use crate::{
    Config,
    dictionary::{self, Dictionary, Slot},
    ingest::retry,
    metrics::{Metrics, Reason},
    origin::Sender,
};

/// How often series that the store has just retired are looked for again.
const ATTEMPTS_MAX: usize = 3;

/// Memory kept between batches of one sender.
#[derive(Default)]
pub(crate) struct Scratch {
    refs: Vec<SeriesRef>,
    values: Vec<f64>,
    /// As long as `refs`, or as the samples of all rows up to the last that has some.
    starts_ms: Vec<i64>,
    /// The sender's numbers, one for each of `refs`.
    numbers: Vec<u32>,
    rows: Vec<ScratchRow>,
}

/// A row of the batch: its range in the lists.
#[derive(Clone)]
struct ScratchRow {
    time_ms: i64,
    range: std::ops::Range<usize>,
    newest_only: bool,
}

impl Scratch {
    fn clear(&mut self) {
        self.refs.clear();
        self.values.clear();
        self.starts_ms.clear();
        self.numbers.clear();
        self.rows.clear();
    }

    fn rows(&self) -> impl Iterator<Item = RefRow<'_>> {
        self.rows.iter().filter(|row| !row.range.is_empty()).map(|row| {
            let range = row.range.clone();
            let starts_ms = self.starts_ms.get(range.clone()).unwrap_or_default();
            let whole = RefRow::new(row.time_ms, &self.refs[range.clone()], &self.values[range]);
            RefRow { newest_only: row.newest_only, ..whole.with_starts(starts_ms) }
        })
    }

    /// Keeps the samples for which `renewed` gives the store's number now.
    fn retain<E>(
        &mut self,
        mut renewed: impl FnMut(usize, &Self) -> Result<Option<SeriesRef>, E>,
    ) -> Result<(), E> {
        let mut kept = Self::default();
        for row in &self.rows {
            let start = kept.refs.len();
            for at in row.range.clone() {
                let Some(reference) = renewed(at, self)? else { continue };
                kept.refs.push(reference);
                kept.values.push(self.values[at]);
                kept.starts_ms.push(self.starts_ms.get(at).copied().unwrap_or(0));
                kept.numbers.push(self.numbers[at]);
            }
            if kept.refs.len() > start {
                kept.rows.push(ScratchRow { range: start..kept.refs.len(), ..row.clone() });
            }
        }
        *self = kept;
        Ok(())
    }
}

pub(crate) struct Door<'a> {
    pub config: &'a Config,
    pub tsdb: &'a Tsdb,
    pub metrics: &'a Metrics,
    pub now_ms: i64,
}

impl Door<'_> {
    /// Stores the samples of one batch. On an error the sender's dictionary is as before.
    pub(crate) fn accept(&self, sender: &mut Sender, samples: &Samples) -> Result<(), Rejected> {
        let result = self.accept_undone(sender, samples);
        match result {
            Ok(()) => sender.series.commit(),
            Err(_) => sender.series.roll_back(),
        }
        result
    }

    fn accept_undone(&self, sender: &mut Sender, samples: &Samples) -> Result<(), Rejected> {
        self.define(&mut sender.series, samples)?;
        let dropped = self.gather(sender, samples)?;
        let markers = self.markers(&mut sender.series, samples);
        let appended = self.append(sender, samples, &markers)?;
        let histograms = self.append_histograms(&mut sender.series, samples)?;
        self.append_exemplars(&mut sender.series, samples)?;
        release(&mut sender.series, samples);

        self.tsdb.put_metadata(&samples.metadata);
        let m = self.metrics;
        for (reason, count) in dropped {
            m.rejected_samples(reason).add(count);
        }
        for appended in appended.iter().chain(&histograms) {
            m.samples.add(appended.taken);
            m.duplicate_samples.add(appended.duplicate);
            m.rejected_samples(Reason::OutOfOrder).add(appended.out_of_order + appended.conflicting);
            m.rejected_samples(Reason::TooOld).add(appended.too_old);
            m.rejected_samples(Reason::Future).add(appended.future);
        }
        Ok(())
    }

    /// Gives the numbers defined by the batch their series.
    fn define(&self, series: &mut Dictionary, samples: &Samples) -> Result<(), Rejected> {
        for definition in &samples.defined {
            if definition.series >= self.config.series_max {
                return Err(Rejected::Invalid(format!(
                    "series number {} is not below {}",
                    definition.series, self.config.series_max
                )));
            }
            // A sender that was asked to define all again mostly repeats what is known.
            if let Slot::Known { labels, .. } = series.get(definition.series)
                && *labels == definition.labels
            {
                continue;
            }
            let slot = dictionary::resolve(self.tsdb, self.config, &definition.labels, self.now_ms);
            series.set(definition.series, slot.map_err(|e| retry(&e))?);
        }
        Ok(())
    }

    /// Translates the rows into `scratch`; gives how many samples were left out, and why.
    fn gather(&self, sender: &mut Sender, samples: &Samples) -> Result<[(Reason, u64); 2], Rejected> {
        let Sender { series, scratch, .. } = sender;
        scratch.clear();
        let (mut refused, mut no_room) = (0, 0);
        for row in &samples.rows {
            let Row { time_ms, series: numbers, values, starts_ms, newest_only } = row;
            if numbers.len() != values.len() {
                return Err(Rejected::Invalid(format!(
                    "a row of {} series has {} values",
                    numbers.len(),
                    values.len()
                )));
            }
            if !starts_ms.is_empty() && starts_ms.len() != values.len() {
                return Err(Rejected::Invalid(format!(
                    "a row of {} series has {} start timestamps",
                    numbers.len(),
                    starts_ms.len()
                )));
            }
            let start = scratch.refs.len();
            if !starts_ms.is_empty() {
                scratch.starts_ms.resize(start, 0);
            }
            for (i, (number, value)) in numbers.iter().zip(values).enumerate() {
                let reference = match series.get(*number) {
                    Slot::Known { reference, .. } => *reference,
                    Slot::Free => return Err(Rejected::UnknownSeries(*number)),
                    Slot::Refused => {
                        refused += 1;
                        continue;
                    }
                    Slot::NoRoom { .. } => match self.try_room(series, *number)? {
                        Some(reference) => reference,
                        None => {
                            no_room += 1;
                            continue;
                        }
                    },
                };
                scratch.refs.push(reference);
                scratch.values.push(*value);
                scratch.numbers.push(*number);
                if let Some(start_ms) = starts_ms.get(i) {
                    scratch.starts_ms.push(*start_ms);
                }
            }
            let range = start..scratch.refs.len();
            scratch.rows.push(ScratchRow { time_ms: *time_ms, range, newest_only: *newest_only });
        }
        Ok([(Reason::Labels, refused), (Reason::SeriesLimit, no_room)])
    }

    /// The store's number for a series, or `None` where its sample is left out, which is counted.
    fn reference(&self, series: &mut Dictionary, number: u32) -> Result<Option<SeriesRef>, Rejected> {
        let reason = match series.get(number) {
            Slot::Known { reference, .. } => return Ok(Some(*reference)),
            Slot::Free => return Err(Rejected::UnknownSeries(number)),
            Slot::Refused => Reason::Labels,
            Slot::NoRoom { .. } => match self.try_room(series, number)? {
                Some(reference) => return Ok(Some(reference)),
                None => Reason::SeriesLimit,
            },
        };
        self.metrics.rejected_samples(reason).inc();
        Ok(None)
    }

    /// Finds a series anew that the store has retired meanwhile because it was silent. `None` where
    /// there is no room for it, which is counted.
    fn renew(
        &self,
        series: &mut Dictionary,
        number: u32,
        old: SeriesRef,
    ) -> Result<Option<SeriesRef>, Rejected> {
        let labels = match series.get(number) {
            // Found for an earlier sample.
            Slot::Known { reference, .. } if *reference != old => return Ok(Some(*reference)),
            Slot::Known { labels, .. } => labels.clone(),
            _ => return Ok(None),
        };
        match self.tsdb.series(&labels) {
            Ok(reference) => {
                series.renew(number, reference);
                Ok(Some(reference))
            }
            Err(vedette_tsdb::Error::SeriesLimit { .. }) => {
                self.metrics.rejected_samples(Reason::SeriesLimit).inc();
                Ok(None)
            }
            Err(error) => Err(refuse(&error)),
        }
    }

    /// Appends the samples that are native histograms, after the others; then those again whose
    /// series the store had retired.
    fn append_histograms(
        &self,
        series: &mut Dictionary,
        samples: &Samples,
    ) -> Result<Vec<Appended>, Rejected> {
        let mut left = Vec::with_capacity(samples.histograms.len());
        for sample in &samples.histograms {
            left.extend(self.reference(series, sample.series)?.map(|reference| (reference, sample)));
        }
        let mut all = Vec::new();
        for _ in 0..ATTEMPTS_MAX {
            if left.is_empty() {
                return Ok(all);
            }
            let list: Vec<_> = left
                .iter()
                .map(|(reference, sample)| HistogramSample {
                    reference: *reference,
                    time_ms: sample.time_ms,
                    start_ms: sample.start_ms,
                    histogram: &sample.histogram,
                })
                .collect();
            let mut appended = self.tsdb.append_histograms(&list).map_err(|e| refuse(&e))?;
            let retired: HashSet<_> = appended.unknown.drain(..).collect();
            all.push(appended);
            let mut again = Vec::new();
            for (old, sample) in left {
                if retired.contains(&old) && !sample.histogram.is_stale() {
                    again.extend(self.renew(series, sample.series, old)?.map(|new| (new, sample)));
                }
            }
            left = again;
        }
        if left.is_empty() { Ok(all) } else { Err(retired_too_fast()) }
    }

    /// Appends exemplars; then those again whose series the store had retired. No batch is refused
    /// for the sake of one that the store does not take: these are counted.
    fn append_exemplars(&self, series: &mut Dictionary, samples: &Samples) -> Result<(), Rejected> {
        let mut left = Vec::with_capacity(samples.exemplars.len());
        for sample in &samples.exemplars {
            match series.get(sample.series) {
                Slot::Known { reference, .. } => left.push((*reference, sample)),
                Slot::Free => return Err(Rejected::UnknownSeries(sample.series)),
                Slot::Refused | Slot::NoRoom { .. } => self.metrics.rejected_exemplars.inc(),
            }
        }
        for _ in 0..ATTEMPTS_MAX {
            if left.is_empty() {
                return Ok(());
            }
            let list: Vec<_> = left
                .iter()
                .map(|(reference, s)| ExemplarSample { reference: *reference, exemplar: &s.exemplar })
                .collect();
            let appended = self.tsdb.append_exemplars(&list).map_err(|e| refuse(&e))?;
            let Appended { taken, out_of_order, conflicting, too_old, future, limited, .. } = appended;
            self.metrics.exemplars.add(taken);
            let refused = out_of_order + conflicting + too_old + future + limited;
            self.metrics.rejected_exemplars.add(refused);
            let retired: HashSet<_> = appended.unknown.into_iter().collect();
            let mut again = Vec::new();
            for (old, sample) in left {
                if retired.contains(&old) {
                    again.extend(self.renew(series, sample.series, old)?.map(|new| (new, sample)));
                }
            }
            left = again;
        }
        if left.is_empty() { Ok(()) } else { Err(retired_too_fast()) }
    }

    /// Tries a series for which there was no room, when it is time to.
    fn try_room(&self, series: &mut Dictionary, number: u32) -> Result<Option<SeriesRef>, Rejected> {
        let Slot::NoRoom { labels, retry_at_ms } = series.get(number) else { return Ok(None) };
        if self.now_ms < *retry_at_ms {
            return Ok(None);
        }
        let labels = labels.clone();
        let slot =
            dictionary::resolve(self.tsdb, self.config, &labels, self.now_ms).map_err(|e| retry(&e))?;
        let reference = match &slot {
            Slot::Known { reference, .. } => Some(*reference),
            _ => None,
        };
        series.set(number, slot);
        Ok(reference)
    }

    /// The series that end with this batch. Their numbers become free, unless the batch has
    /// given them to other series: then the one before ends.
    fn markers(&self, series: &mut Dictionary, samples: &Samples) -> Vec<SeriesRef> {
        let mut markers = Vec::with_capacity(samples.retired.len());
        for number in &samples.retired {
            let earlier = match series.before(*number) {
                Some(Slot::Known { reference, .. }) => Some(*reference),
                _ => None,
            };
            let ended = earlier.or(match series.get(*number) {
                Slot::Known { reference, .. } => Some(*reference),
                _ => None,
            });
            markers.extend(ended);
            if earlier.is_none() && *series.get(*number) != Slot::Free {
                series.set(*number, Slot::Free);
            }
        }
        markers
    }

    /// Appends all rows and the markers; then those samples again whose series the store had retired.
    fn append(
        &self,
        sender: &mut Sender,
        samples: &Samples,
        markers: &[SeriesRef],
    ) -> Result<Vec<Appended>, Rejected> {
        let Sender { series, scratch, .. } = sender;
        let stale = vec![stale_nan(); markers.len()];
        let mut all = Vec::new();
        for attempt in 0..=ATTEMPTS_MAX {
            let mut rows: Vec<_> = scratch.rows().collect();
            if attempt == 0 && !markers.is_empty() {
                let time_ms = samples.rows.last().map_or(self.now_ms, |row| row.time_ms);
                rows.push(RefRow::new(time_ms, markers, &stale));
            }
            if rows.is_empty() {
                return Ok(all);
            }
            if attempt == ATTEMPTS_MAX {
                return Err(retired_too_fast());
            }
            let mut appended = self.tsdb.append(&rows).map_err(|e| refuse(&e))?;
            let unknown = std::mem::take(&mut appended.unknown);
            all.push(appended);
            if attempt == 0 {
                self.metrics.stale_markers.add(markers.len() as u64);
            }
            if unknown.is_empty() {
                return Ok(all);
            }
            let retired: HashSet<_> = unknown.into_iter().collect();
            scratch.retain(|at, scratch| {
                let old = scratch.refs[at];
                // A series that the store has retired already needs no marker.
                if !retired.contains(&old) || is_stale(scratch.values[at]) {
                    return Ok(None);
                }
                self.renew(series, scratch.numbers[at], old)
            })?;
        }
        Ok(all)
    }
}

/// Makes the released numbers free, but for those that the batch has given to other series.
fn release(series: &mut Dictionary, samples: &Samples) {
    if samples.released.is_empty() {
        return;
    }
    let defined: HashSet<_> = samples.defined.iter().map(|definition| definition.series).collect();
    for number in samples.released.iter().filter(|number| !defined.contains(number)) {
        if *series.get(*number) != Slot::Free {
            series.set(*number, Slot::Free);
        }
    }
}

fn retired_too_fast() -> Rejected {
    Rejected::Retry("the store retires series faster than they are found".to_owned())
}

fn refuse(error: &vedette_tsdb::Error) -> Rejected {
    match error {
        vedette_tsdb::Error::Invalid { reason } => Rejected::Invalid(reason.clone()),
        other => retry(other),
    }
}
