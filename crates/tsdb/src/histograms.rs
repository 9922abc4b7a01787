//! Appending of native histograms, which are samples like others but told whole in the log.

use crate::{Appended, Error, HistogramSample, Tsdb};

impl Tsdb {
    /// Stores histograms, as [`Tsdb::append`] does floats; a series may have both. Those of one
    /// series come in order of time, or are taken as late ones.
    pub fn append_histograms(&self, samples: &[HistogramSample<'_>]) -> Result<Appended, Error> {
        for sample in samples {
            sample.histogram.validate().map_err(|e| Error::Invalid { reason: e.to_string() })?;
        }
        let mut appended = Appended::default();
        let now = self.clock.unix_ms();
        let newest = now.saturating_add(self.config.future_ms_max);
        let oldest = now.saturating_sub(self.config.retention_ms);
        let shards = self.head.shards();
        let mut of_shards = vec![Vec::new(); shards.len()];
        for sample in samples {
            match of_shards.get_mut(sample.reference.shard()) {
                _ if sample.time_ms > newest => appended.future += 1,
                _ if sample.time_ms < oldest => appended.too_old += 1,
                Some(of_shard) => of_shard.push(sample),
                None => appended.unknown.push(sample.reference),
            }
        }
        let result = shards.iter().zip(of_shards).filter(|(_, of_shard)| !of_shard.is_empty()).try_for_each(
            |(shard, of_shard)| {
                self.claim_and_store(shard, now, |samples, claiming| {
                    for sample in of_shard {
                        claiming.set_time(sample.time_ms);
                        let (whole, claims) = (&mut *claiming.whole, &mut *claiming.claims);
                        if samples.claim_histogram(sample, &claiming.rules, whole, claims, &mut appended) {
                            claiming.note(sample.time_ms);
                        }
                    }
                })
            },
        );
        self.end_append(result, appended)
    }
}
