//! From the body of an answer to samples of the target's series.
//!
//! What is known from the scrape before costs no allocation: the bytes that name the series give its
//! number. What is wrong with a body or beyond a limit fails the scrape as a whole, as Prometheus does.

use std::sync::Arc;

use vedette_model::{
    Exemplar, ExemplarSample, HistogramSample, Labels, MetricKind, NativeHistogram, SeriesDefinition,
};
use vedette_scrape::{SeriesCache, sample_labels};
use vedette_wire::exposition::{
    BodyFormat, Dialect, Entry, MetricMessage, Part as MessagePart, ProtobufEntry, ProtobufExemplar,
    ProtobufParser, Sample, TextParser,
};

use super::{
    Features, StartTimes,
    classic::{self, Classic, Whole},
    draft::Draft,
    failure::Failure,
    families::{Descriptions, Families, Told},
    numbers::{DROPPED, Numbers},
    resolution,
    spec::Spec,
};

/// Samples further in the future are left out.
const FUTURE_MS_MAX: i64 = 10 * 60_000;

/// What was counted in one scrape.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Samples in the answer.
    pub(crate) scraped: u64,
    /// Those that no rule drops.
    pub(crate) kept: u64,
    /// Those that were handed on.
    pub(crate) stored: u64,
    /// Series that are new, or back.
    pub(crate) added: u64,
    /// Samples of a series that was in the answer before.
    pub(crate) repeated: u64,
    /// Samples with a time before that of the sample before.
    pub(crate) regressing: u64,
    /// Samples too far in the future.
    pub(crate) future: u64,
    /// Classic histograms that contradict themselves.
    pub(crate) inconsistent: u64,
}

/// What a lane knows of its series, by their numbers, where that is needed at all.
#[derive(Debug, Default)]
pub(crate) struct Histories {
    /// The last time that the target told of a series, and since when it counts.
    times_ms: Vec<i64>,
    starts_ms: Vec<i64>,
    /// A hash of its last exemplar.
    exemplars: std::collections::HashMap<u32, u64>,
}

impl Histories {
    /// Forgets a series.
    pub(crate) fn forget(&mut self, number: u32) {
        for list in [&mut self.times_ms, &mut self.starts_ms] {
            if let Some(value) = list.get_mut(number as usize) {
                *value = 0;
            }
        }
        if !self.exemplars.is_empty() {
            self.exemplars.remove(&number);
        }
    }

    /// Puts a value in place of the one before, which is 0 at first.
    fn replace(list: &mut Vec<i64>, number: u32, value: i64) -> i64 {
        let at = number as usize;
        if list.len() <= at {
            list.resize(at + 1, 0);
        }
        std::mem::replace(&mut list[at], value)
    }
}

/// One scrape being read.
pub(crate) struct Reading<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) features: Features,
    pub(crate) cache: &'a mut SeriesCache<u32>,
    pub(crate) families: &'a mut Families,
    pub(crate) descriptions: &'a mut Descriptions,
    pub(crate) numbers: &'a mut Numbers,
    pub(crate) histories: &'a mut Histories,
    pub(crate) draft: &'a mut Draft,
    /// The time of the scrape.
    pub(crate) time_ms: i64,
    /// The time of the one before, or 0.
    pub(crate) before_ms: i64,
    pub(crate) counts: Counts,
    pub(crate) key: &'a mut Vec<u8>,
}

impl Reading<'_> {
    /// Reads the body. After an error nothing that was read counts.
    pub(crate) fn read(&mut self, format: BodyFormat, body: &[u8]) -> Result<(), Failure> {
        self.families.begin();
        match format {
            BodyFormat::Text => self.read_text(body, Dialect::Text)?,
            BodyFormat::OpenMetrics => self.read_text(body, Dialect::OpenMetrics)?,
            BodyFormat::Protobuf => self.read_protobuf(body)?,
        }
        let max = self.spec.job.limits.samples;
        if max > 0 && self.counts.stored > max {
            return Err(Failure::Samples { found: self.counts.stored, max });
        }
        Ok(())
    }

    fn read_text(&mut self, body: &[u8], dialect: Dialect) -> Result<(), Failure> {
        let mut parser = TextParser::new(body, dialect);
        let converts = self.spec.target.convert_classic_histograms_to_nhcb;
        let mut classic = Classic::default();
        // Prometheus reads start times of a body from its first converted histogram on, and leaves out the
        // series that tell them.
        let mut has_converted = false;
        while let Some(entry) = parser.next_expecting(self.cache.expected()) {
            match entry.map_err(Failure::Text)? {
                Entry::Sample(sample) => {
                    let start_ms = match self.features.start_times {
                        StartTimes::Ignored if has_converted && sample.is_start() => continue,
                        StartTimes::Ignored => 0,
                        _ if sample.is_start() && dialect == Dialect::OpenMetrics => continue,
                        _ => parser.start_ms(&sample).unwrap_or(0),
                    };
                    if converts && sample.series.kind() == MetricKind::Histogram {
                        has_converted = dialect == Dialect::OpenMetrics;
                        self.classic_text(&mut classic, &sample, start_ms)?;
                    } else {
                        self.text_sample(&sample, start_ms)?;
                    }
                }
                Entry::Type { family, kind } => {
                    self.end_classic(&mut classic)?;
                    self.families.tell(&family, Told::Kind(kind), self.descriptions);
                }
                Entry::Help { family, help } => {
                    self.families.tell(&family, Told::Help(&help), self.descriptions);
                }
                Entry::Unit { family, unit } => {
                    self.families.tell(&family, Told::Unit(unit), self.descriptions);
                }
            }
        }
        self.end_classic(&mut classic)
    }

    #[inline]
    fn text_sample(&mut self, sample: &Sample<'_>, start_ms: i64) -> Result<(), Failure> {
        let series = sample.series;
        let told_ms = sample.time_ms.filter(|_| self.spec.job.honor_timestamps);
        let number = self.series(series.bytes(), series.kind(), told_ms, |reading| {
            // Names that are there twice are found here.
            series.labels().map_err(Failure::Text)?;
            let mut pairs = series.pairs().map_err(Failure::Text)?;
            if reading.features.type_and_unit_labels {
                let (kind, unit) = (series.kind(), reading.families.unit().to_owned());
                pairs.extend(type_and_unit(kind, unit).map(|(n, v)| (n.into(), v.into())));
            }
            Ok(pairs)
        })?;
        let Some(number) = number else { return Ok(()) };
        self.float(number, sample.value, told_ms, start_ms);
        if let Some(exemplar) = &sample.exemplar {
            let hash = exemplar_hash(exemplar.label_bytes(), exemplar.value, exemplar.time_ms);
            if self.is_new_exemplar(number, hash) {
                let time_ms = exemplar.time_ms.unwrap_or(told_ms.unwrap_or(self.time_ms));
                let exemplar = Exemplar { labels: exemplar.labels(), value: exemplar.value, time_ms };
                self.draft.samples.exemplars.push(ExemplarSample { series: number, exemplar });
            }
        }
        Ok(())
    }

    fn classic_text(
        &mut self,
        classic: &mut Classic,
        sample: &Sample<'_>,
        start_ms: i64,
    ) -> Result<(), Failure> {
        let pairs = sample.series.pairs().map_err(Failure::Text)?;
        let mut pairs: classic::Pairs =
            pairs.into_iter().map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
        let Some(part) = classic::part(&mut pairs) else { return self.text_sample(sample, start_ms) };
        if let Some(whole) = classic.take(pairs, part, sample.value, sample.time_ms, start_ms) {
            self.converted(whole)?;
        }
        if let Some(exemplar) = &sample.exemplar
            && let Some(time_ms) = exemplar.time_ms
        {
            classic.exemplar(Exemplar { labels: exemplar.labels(), value: exemplar.value, time_ms });
        }
        if self.spec.target.always_scrape_classic_histograms {
            self.text_sample(sample, start_ms)
        } else {
            Ok(())
        }
    }

    fn end_classic(&mut self, classic: &mut Classic) -> Result<(), Failure> {
        classic.end().map_or(Ok(()), |whole| self.converted(whole))
    }

    fn converted(&mut self, whole: Whole) -> Result<(), Failure> {
        let Whole { key, pairs, time_ms, start_ms, exemplars, histogram } = whole;
        let Some(histogram) = histogram else {
            self.counts.inconsistent += 1;
            return Ok(());
        };
        let told_ms = time_ms.filter(|_| self.spec.job.honor_timestamps);
        let number = self.series(&key, MetricKind::Histogram, told_ms, |_| Ok(pairs))?;
        let Some(number) = number else { return Ok(()) };
        self.histogram(number, histogram, told_ms, start_ms)?;
        self.exemplars(number, exemplars);
        Ok(())
    }

    fn read_protobuf(&mut self, body: &[u8]) -> Result<(), Failure> {
        let mut family = None;
        for entry in ProtobufParser::new(body) {
            match entry.map_err(Failure::Message)? {
                ProtobufEntry::Family(next) => {
                    self.families.tell(next.name, Told::Kind(next.kind), self.descriptions);
                    self.families.tell(next.name, Told::Help(next.help), self.descriptions);
                    self.families.tell(next.name, Told::Unit(next.unit), self.descriptions);
                    family = Some(next);
                }
                ProtobufEntry::Metric(metric) => {
                    let Some(family) = family else { continue };
                    self.metric(family.name, family.kind, &metric)?;
                }
            }
        }
        Ok(())
    }

    fn metric(&mut self, family: &str, kind: MetricKind, metric: &MetricMessage<'_>) -> Result<(), Failure> {
        let target = &self.spec.target;
        let told_ms = metric.time_ms.filter(|_| self.spec.job.honor_timestamps);
        let start_ms = match self.features.start_times {
            StartTimes::Ignored => 0,
            _ => metric.start_ms().map_err(Failure::Message)?.unwrap_or(0),
        };
        let always_classic = target.always_scrape_classic_histograms;
        let is_native = target.scrape_native_histograms && metric.is_native().map_err(Failure::Message)?;
        if is_native {
            let histogram = metric.native().map_err(Failure::Message)?.map_err(Failure::Histogram)?;
            histogram.validate().map_err(Failure::Histogram)?;
            let number = self.message_series(family, kind, metric, None, told_ms)?;
            if let Some(number) = number {
                self.histogram(number, histogram, told_ms, start_ms)?;
                let mut exemplars = Vec::new();
                for exemplar in metric.native_exemplars() {
                    exemplars.extend(message_exemplar(&exemplar.map_err(Failure::Message)?, None)?);
                }
                self.exemplars(number, exemplars);
            }
            if !always_classic {
                return Ok(());
            }
        } else if target.convert_classic_histograms_to_nhcb && kind == MetricKind::Histogram {
            self.convert_message(family, metric, start_ms)?;
            if !always_classic {
                return Ok(());
            }
        }
        for point in metric.points() {
            let point = point.map_err(Failure::Message)?;
            let number = self.message_series(family, kind, metric, Some(point.part), told_ms)?;
            let Some(number) = number else { continue };
            self.float(number, point.value, told_ms, start_ms);
            if let Some(exemplar) = &point.exemplar {
                let default_ms = told_ms.unwrap_or(self.time_ms);
                let exemplar = message_exemplar(exemplar, Some(default_ms))?;
                self.exemplars(number, exemplar.into_iter().collect());
            }
        }
        Ok(())
    }

    fn convert_message(
        &mut self,
        family: &str,
        metric: &MetricMessage<'_>,
        start_ms: i64,
    ) -> Result<(), Failure> {
        let mut classic = Classic::default();
        for point in metric.points() {
            let point = point.map_err(Failure::Message)?;
            let mut pairs = metric.pairs(family, point.part).map_err(Failure::Message)?;
            let Some(part) = classic::part(&mut pairs) else { continue };
            classic.take(pairs, part, point.value, metric.time_ms, start_ms);
            if let Some(exemplar) = &point.exemplar
                && let Some(exemplar) = message_exemplar(exemplar, None)?
            {
                classic.exemplar(exemplar);
            }
        }
        self.end_classic(&mut classic)
    }

    /// The number of a series of a metric; of the native histogram where no part is given.
    fn message_series(
        &mut self,
        family: &str,
        kind: MetricKind,
        metric: &MetricMessage<'_>,
        part: Option<MessagePart>,
        told_ms: Option<i64>,
    ) -> Result<Option<u32>, Failure> {
        let mut key = std::mem::take(self.key);
        key.clear();
        key.extend_from_slice(family.as_bytes());
        let (tag, bound) = match part {
            None => (0, 0.0),
            Some(MessagePart::Value) => (1, 0.0),
            Some(MessagePart::Count) => (2, 0.0),
            Some(MessagePart::Sum) => (3, 0.0),
            Some(MessagePart::Bucket(bound)) => (4, bound),
            Some(MessagePart::Quantile(quantile)) => (5, quantile),
        };
        key.extend_from_slice(&[0xff, tag]);
        key.extend_from_slice(&bound.to_bits().to_le_bytes());
        key.extend_from_slice(metric.label_bytes());
        let number = self.series(&key, kind, told_ms, |reading| {
            let part = part.unwrap_or(MessagePart::Value);
            let mut pairs = metric.pairs(family, part).map_err(Failure::Message)?;
            let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
                return Err(Failure::LabelTwice { name: twice[0].to_owned(), family: family.to_owned() });
            }
            if reading.features.type_and_unit_labels {
                pairs.extend(type_and_unit(kind, reading.families.unit().to_owned()));
            }
            Ok(pairs)
        });
        *self.key = key;
        number
    }

    /// The number of the series that these bytes name, or `None` where its sample is not stored.
    #[inline]
    fn series<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        bytes: &[u8],
        kind: MetricKind,
        told_ms: Option<i64>,
        pairs: impl FnOnce(&Self) -> Result<Vec<(N, V)>, Failure>,
    ) -> Result<Option<u32>, Failure> {
        self.counts.scraped += 1;
        let ends = told_ms.is_none() || self.spec.job.track_timestamps_staleness;
        let Some(number) = self.cache.get(bytes, kind, ends) else {
            let pairs = pairs(self)?;
            return self.new_series(bytes, kind, ends, &pairs);
        };
        if number == DROPPED {
            return Ok(None);
        }
        self.counts.kept += 1;
        if self.cache.is_repeated() && told_ms.is_none() {
            self.counts.repeated += 1;
            return Ok(None);
        }
        self.counts.added += u64::from(self.cache.is_back());
        self.counts.stored += 1;
        Ok(Some(number))
    }

    fn new_series<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        bytes: &[u8],
        kind: MetricKind,
        ends: bool,
        pairs: &[(N, V)],
    ) -> Result<Option<u32>, Failure> {
        let labels = sample_labels(&self.spec.job, &self.spec.target, pairs).map_err(Failure::Series)?;
        let Some(labels) = labels else {
            self.cache.insert(bytes, kind, DROPPED, ends);
            return Ok(None);
        };
        self.counts.kept += 1;
        self.counts.stored += 1;
        let max = self.spec.job.limits.samples;
        if max > 0 && self.counts.stored > max {
            // The scrape fails; what comes is only counted.
            return Ok(None);
        }
        let Some(number) = self.numbers.take() else { return Err(Failure::Numbers) };
        self.histories.forget(number);
        self.cache.insert(bytes, kind, number, ends);
        self.draft.samples.defined.push(SeriesDefinition { series: number, labels });
        self.counts.added += 1;
        Ok(Some(number))
    }

    #[inline]
    fn float(&mut self, number: u32, value: f64, told_ms: Option<i64>, start_ms: i64) {
        if let Some(time_ms) = told_ms
            && !self.takes_time(number, time_ms)
        {
            return;
        }
        let start_ms = if start_ms == 0 { 0 } else { self.start(number, told_ms, start_ms, None) };
        match told_ms {
            None => self.draft.push(number, value, start_ms),
            Some(time_ms) => self.draft.push_timed(time_ms, number, value, start_ms),
        }
    }

    fn histogram(
        &mut self,
        number: u32,
        mut histogram: NativeHistogram,
        told_ms: Option<i64>,
        start_ms: i64,
    ) -> Result<(), Failure> {
        if let Some(time_ms) = told_ms
            && !self.takes_time(number, time_ms)
        {
            return Ok(());
        }
        let job = &self.spec.job;
        if job.native_histogram_min_bucket_factor > 0.0 {
            resolution::reduce(
                &mut histogram,
                resolution::schema_max(job.native_histogram_min_bucket_factor),
            );
        }
        let max = usize::try_from(job.native_histogram_bucket_limit).unwrap_or(usize::MAX);
        if max > 0 && !resolution::fit(&mut histogram, max) {
            return Err(Failure::Buckets { found: resolution::buckets(&histogram), max });
        }
        let start_ms =
            if start_ms == 0 { 0 } else { self.start(number, told_ms, start_ms, Some(&histogram)) };
        self.draft.samples.histograms.push(HistogramSample {
            time_ms: told_ms.unwrap_or(self.time_ms),
            series: number,
            start_ms,
            histogram: Arc::new(histogram),
        });
        Ok(())
    }

    /// Whether a time that the target tells can be taken; notes it.
    fn takes_time(&mut self, number: u32, time_ms: i64) -> bool {
        if time_ms > self.time_ms.saturating_add(FUTURE_MS_MAX) {
            self.counts.future += 1;
            return false;
        }
        let before = Histories::replace(&mut self.histories.times_ms, number, time_ms);
        // The store may take it still.
        self.counts.regressing += u64::from(time_ms < before);
        true
    }

    /// What is stored as start timestamp. Where zero samples are wanted instead, puts one at the start
    /// of counting, once for each start that lies after the scrape before.
    #[cold]
    fn start(
        &mut self,
        number: u32,
        told_ms: Option<i64>,
        start_ms: i64,
        histogram: Option<&NativeHistogram>,
    ) -> i64 {
        if start_ms >= told_ms.unwrap_or(self.time_ms) {
            return 0;
        }
        if self.features.start_times == StartTimes::Stored {
            return start_ms;
        }
        let before = Histories::replace(&mut self.histories.starts_ms, number, start_ms);
        if before != start_ms && start_ms > self.before_ms {
            self.draft.push_zero(start_ms, number, histogram);
        }
        0
    }

    fn is_new_exemplar(&mut self, number: u32, hash: u64) -> bool {
        self.histories.exemplars.insert(number, hash) != Some(hash)
    }

    /// Takes exemplars of one series. In order of time, as the store wants them.
    fn exemplars(&mut self, number: u32, mut exemplars: Vec<Exemplar>) {
        exemplars.sort_by_key(|e| e.time_ms);
        let Some(last) = exemplars.last() else { return };
        let hash = exemplar_hash(last.labels.as_key().as_bytes(), last.value, Some(last.time_ms));
        if self.is_new_exemplar(number, hash) {
            let all = exemplars.into_iter().map(|exemplar| ExemplarSample { series: number, exemplar });
            self.draft.samples.exemplars.extend(all);
        }
    }
}

fn exemplar_hash(labels: &[u8], value: f64, time_ms: Option<i64>) -> u64 {
    let time = time_ms.unwrap_or(0) as u64;
    xxhash_rust::xxh3::xxh3_64_with_seed(labels, value.to_bits().rotate_left(17) ^ time)
}

/// Without a time it is taken only if there is a default.
fn message_exemplar(
    exemplar: &ProtobufExemplar<'_>,
    default_ms: Option<i64>,
) -> Result<Option<Exemplar>, Failure> {
    let Some(time_ms) = exemplar.time_ms.or(default_ms) else { return Ok(None) };
    let pairs = exemplar.labels().collect::<Result<Vec<_>, _>>().map_err(Failure::Message)?;
    Ok(Some(Exemplar { labels: Labels::from_pairs(pairs), value: exemplar.value, time_ms }))
}

/// Type and unit as labels, where they are told.
fn type_and_unit(kind: MetricKind, unit: String) -> impl Iterator<Item = (String, String)> {
    let kind = (kind != MetricKind::Unknown).then(|| ("__type__".to_owned(), kind.as_str().to_owned()));
    kind.into_iter().chain((!unit.is_empty()).then(|| ("__unit__".to_owned(), unit)))
}
