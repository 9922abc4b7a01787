//! Appending of native histograms, which are samples like others but told whole in the log.

use crate::{Appended, Error, HistogramSample, Store};

impl Store {
    /// Stores histograms, as [`Store::append`] does floats; a series may have both. Those of one
    /// series come in order of time, or are taken as late ones.
    pub fn append_histograms(&self, samples: &[HistogramSample<'_>]) -> Result<Appended, Error> {
        for sample in samples {
            sample.histogram.validate().map_err(|e| Error::Invalid { reason: e.to_string() })?;
        }
        let mut appended = Appended::default();
        let now = self.clock.unix_ms();
        let place = |sample: &HistogramSample<'_>| (sample.reference, sample.time_ms);
        let of_shards = self.spread_each(samples.iter(), place, now, &mut appended);
        let shards = self.head.shards();
        let result = shards.iter().zip(of_shards).filter(|(_, of_shard)| !of_shard.is_empty()).try_for_each(
            |(shard, of_shard)| {
                let newest_ms = of_shard.iter().map(|s| s.time_ms).max().unwrap_or(i64::MIN);
                self.claim_and_store(shard, now, newest_ms, |samples, claiming| {
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
