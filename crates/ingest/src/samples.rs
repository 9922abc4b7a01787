//! Samples: from the sender's numbers to the store's, without an allocation for a known sample.

use vedette_model::{Rejected, Row, Samples, stale_nan};
use vedette_tsdb::{Appended, RefRow, SeriesRef, Tsdb};

use crate::{
    Config,
    dictionary::{self, Dictionary, Slot},
    ingest::retry,
    metrics::{Metrics, Reason},
    origin::Sender,
};

/// Memory kept between batches of one sender.
#[derive(Default)]
pub(crate) struct Scratch {
    refs: Vec<SeriesRef>,
    values: Vec<f64>,
    /// For each row: its time, and its range in `refs` and `values`.
    rows: Vec<(i64, std::ops::Range<usize>)>,
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
        let appended = self.append(&sender.scratch, samples, &markers)?;
        let again = self.append_retired(sender, &appended)?;

        self.tsdb.put_metadata(&samples.metadata);
        let m = self.metrics;
        for (reason, count) in dropped {
            m.rejected_samples(reason).add(count);
        }
        for appended in std::iter::once(&appended).chain(&again) {
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
        scratch.refs.clear();
        scratch.values.clear();
        scratch.rows.clear();
        let (mut refused, mut no_room) = (0, 0);
        for row in &samples.rows {
            let Row { time_ms, series: numbers, values } = row;
            if numbers.len() != values.len() {
                return Err(Rejected::Invalid(format!(
                    "a row of {} series has {} values",
                    numbers.len(),
                    values.len()
                )));
            }
            let start = scratch.refs.len();
            for (number, value) in numbers.iter().zip(values) {
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
            }
            scratch.rows.push((*time_ms, start..scratch.refs.len()));
        }
        Ok([(Reason::Labels, refused), (Reason::SeriesLimit, no_room)])
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

    fn append(
        &self,
        scratch: &Scratch,
        samples: &Samples,
        markers: &[SeriesRef],
    ) -> Result<Appended, Rejected> {
        let mut rows: Vec<_> = scratch
            .rows
            .iter()
            .map(|(time_ms, range)| {
                RefRow::new(*time_ms, &scratch.refs[range.clone()], &scratch.values[range.clone()])
            })
            .collect();
        let stale = vec![stale_nan(); markers.len()];
        if !markers.is_empty() {
            let time_ms = samples.rows.last().map_or(self.now_ms, |row| row.time_ms);
            rows.push(RefRow::new(time_ms, markers, &stale));
        }
        if rows.is_empty() {
            return Ok(Appended::default());
        }
        let mut appended = self.tsdb.append(&rows).map_err(|e| refuse(&e))?;
        self.metrics.stale_markers.add(markers.len() as u64);
        // A series that the store has retired already needs no marker.
        appended.unknown.retain(|unknown| scratch.refs.contains(unknown));
        Ok(appended)
    }

    /// Finds series anew that the store has retired meanwhile because they were silent, and
    /// appends their samples.
    fn append_retired(&self, sender: &mut Sender, appended: &Appended) -> Result<Vec<Appended>, Rejected> {
        let mut again = Vec::new();
        for old in &appended.unknown {
            let Some((number, labels)) = sender.series.find(*old) else { continue };
            let reference = match self.tsdb.series(&labels) {
                Ok(reference) => reference,
                Err(vedette_tsdb::Error::SeriesLimit { .. }) => {
                    let lost = sender.scratch.refs.iter().filter(|r| *r == old).count() as u64;
                    self.metrics.rejected_samples(Reason::SeriesLimit).add(lost);
                    continue;
                }
                Err(error) => return Err(refuse(&error)),
            };
            sender.series.renew(number, reference);
            let Scratch { refs, values, rows } = &sender.scratch;
            for (time_ms, range) in rows {
                for at in range.clone().filter(|at| refs[*at] == *old) {
                    let refs = [reference];
                    let row = RefRow::new(*time_ms, &refs, &values[at..=at]);
                    again.push(self.tsdb.append(&[row]).map_err(|e| refuse(&e))?);
                }
            }
        }
        Ok(again)
    }
}

fn refuse(error: &vedette_tsdb::Error) -> Rejected {
    match error {
        vedette_tsdb::Error::Invalid { reason } => Rejected::Invalid(reason.clone()),
        other => retry(other),
    }
}
