//! Reads the answers of some of the targets, one after the other, and hands their samples on.
//!
//! A lane is a thread of its own, so neither a huge answer nor a slow disk makes a scrape begin late.
//! A target always has the same lane: its series are known there, and its batches come in order.

use std::{
    collections::HashMap,
    net::TcpStream,
    sync::{Arc, atomic::Ordering},
};

use vedette_config::prometheus::{ScrapeJob, ScrapeProtocol};
use vedette_model::{Row, SeriesDefinition, TargetHealth, stale_nan};
use vedette_scrape::{SeriesCache, TargetId, report_labels};
use vedette_sys::{Clock, MonotonicTime};
use vedette_wire::exposition::{BodyFormat, Dialect};

use super::{
    Features, StartTimes,
    body::{Body, shrink},
    draft::Draft,
    failure::Failure,
    failure_log,
    families::{Descriptions, Families},
    metrics::Metrics,
    numbers::{DROPPED, Numbers},
    outbox::{Outbox, Sent},
    page::{Forms, Page},
    reading::{Counts, Histories, Reading},
    spec::{Ask, Live, Spec},
};

/// What a lane is given to do.
#[derive(Debug)]
pub(crate) enum Work {
    /// A target was asked.
    Scraped(Scraped),
    /// A target was asked over this connection, which can be kept.
    Connected { live: Arc<Live>, stream: TcpStream },
    /// The time of a scrape is over, if it is still under way.
    TimedOut { live: Arc<Live>, number: u64 },
    /// A target is gone; its series end at this time.
    Ended { live: Arc<Live>, time_ms: i64 },
}

/// What came of asking a target.
#[derive(Debug)]
pub(crate) struct Scraped {
    pub(crate) live: Arc<Live>,
    /// The time of its samples.
    pub(crate) time_ms: i64,
    pub(crate) begun: MonotonicTime,
    pub(crate) begun_ns: i64,
    pub(crate) answer: Result<Body, Failure>,
}

impl Scraped {
    pub(crate) fn new(live: Arc<Live>, ask: &Ask, answer: Result<Body, Failure>) -> Self {
        let Ask { time_ms, begun, begun_ns, .. } = *ask;
        Self { live, time_ms, begun, begun_ns, answer }
    }
}

/// The series that each scrape has about itself.
const REPORT: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];
const EXTRA_REPORT: [&str; 3] = ["scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"];

/// What is known of a target.
#[derive(Default)]
struct Followed {
    /// By which the series were made; others are made where it changes.
    job: Option<Arc<ScrapeJob>>,
    target: Option<Arc<vedette_scrape::Target>>,
    cache: SeriesCache<u32>,
    page: Page,
    families: Families,
    /// Numbers of the series about the scrape itself.
    report: Vec<u32>,
    before_ms: i64,
}

/// A lane's state.
pub(crate) struct Lane {
    pub(crate) outbox: Outbox,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) features: Features,
    pub(crate) body_bytes_max: u64,
    series_max: u32,
    followed: HashMap<TargetId, Followed>,
    numbers: Numbers,
    histories: Histories,
    descriptions: Descriptions,
    forms: Forms,
    draft: Draft,
    buffer: Vec<u8>,
    key: Vec<u8>,
    gone: Vec<u32>,
    series_told: usize,
    /// Buffers of answers, to be filled again.
    spare: Arc<Spare>,
}

/// Buffers of answers that were read.
pub(crate) type Spare = parking_lot::Mutex<Vec<Vec<u8>>>;

/// Buffers that are kept, and their size.
const SPARE_MAX: usize = 32;
const SPARE_BYTES_MAX: usize = 1 << 20;

impl Lane {
    pub(crate) fn new(
        outbox: Outbox,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        config: &super::Config,
        spare: Arc<Spare>,
    ) -> Self {
        Self {
            outbox,
            clock,
            metrics,
            features: config.features,
            body_bytes_max: config.body_bytes_max,
            series_max: config.lane_series_max,
            followed: HashMap::new(),
            numbers: Numbers::new(config.lane_series_max),
            histories: Histories::default(),
            descriptions: Descriptions::default(),
            forms: Forms::default(),
            draft: Draft::default(),
            buffer: Vec::new(),
            key: Vec::new(),
            gone: Vec::new(),
            series_told: 0,
            spare,
        }
    }

    /// Whether the page of a target is compared as a whole.
    #[cfg(test)]
    pub(crate) fn knows_page(&self, id: TargetId) -> bool {
        self.followed.get(&id).is_some_and(|followed| matches!(followed.page, Page::Known(_)))
    }

    /// Sends again what waits.
    pub(crate) fn retry(&mut self) {
        if matches!(self.outbox.retry(), Sent::UnknownSeries) {
            self.define_anew();
        }
    }

    /// Does one piece of work.
    pub(crate) fn take(&mut self, work: Work) {
        match work {
            Work::Scraped(scraped) => {
                let live = Arc::clone(&scraped.live);
                self.scraped(scraped);
                live.is_busy.store(false, Ordering::Release);
            }
            Work::Ended { live, time_ms } => self.ended(live.id, time_ms),
            // Connections are the business of others.
            Work::Connected { .. } | Work::TimedOut { .. } => {}
        }
        let series = self.numbers.used();
        if series != self.series_told {
            self.metrics.series.add(series as f64 - self.series_told as f64);
            self.series_told = series;
        }
    }

    fn scraped(&mut self, scraped: Scraped) {
        let Scraped { live, time_ms, begun, begun_ns, mut answer } = scraped;
        let spec = live.spec();
        let mut outcome = self.store(&live, &spec, time_ms, begun, &mut answer);
        if outcome.is_unknown {
            self.define_anew();
            let failure = outcome.failure.take();
            outcome = self.store(&live, &spec, time_ms, begun, &mut answer);
            outcome.failure = failure.or(outcome.failure);
        }
        let bytes = outcome.bytes;
        if let Ok(body) = answer
            && body.bytes.capacity() <= SPARE_BYTES_MAX
        {
            let mut spare = self.spare.lock();
            if spare.len() < SPARE_MAX {
                spare.push(body.bytes);
            }
        }
        shrink(&mut self.buffer);
        self.tell(&live, &spec, outcome, begun, begun_ns, bytes);
    }

    /// Reads an answer and hands its samples on.
    fn store(
        &mut self,
        live: &Arc<Live>,
        spec: &Arc<Spec>,
        time_ms: i64,
        begun: MonotonicTime,
        answer: &mut Result<Body, Failure>,
    ) -> Outcome {
        let Self { followed, numbers, histories, descriptions, forms, draft, buffer, key, gone, .. } = self;
        let followed = followed.entry(live.id).or_default();
        let is_same = |known: &Followed| {
            known.job.as_ref().is_some_and(|job| Arc::ptr_eq(job, &spec.job))
                && known.target.as_ref().is_some_and(|target| target.labels == spec.target.labels)
        };
        draft.clear();
        if !is_same(followed) {
            let old = std::mem::take(followed);
            old.cache.values().chain(old.report).for_each(|number| numbers.release(number));
            (followed.job, followed.target) = (Some(spec.job.clone()), Some(spec.target.clone()));
        }
        gone.clear();
        followed.cache.begin();
        let limit = spec.job.limits.body_bytes;
        let max = if limit == 0 { self.body_bytes_max } else { limit };
        let mut bytes = 0;
        let mut counts = Counts::default();
        // Whether nothing but values has changed.
        let mut is_same_page = false;
        let result = match answer {
            Err(failure) => Err(std::mem::replace(failure, Failure::Http(String::new()))),
            Ok(body) => format(&spec.job, &body.content_type).and_then(|format| {
                let plain = body.plain(max, buffer)?;
                bytes = plain.len();
                let dialect = dialect(format).filter(|_| has_plain_samples(spec, self.features));
                let same = dialect.and_then(|dialect| followed.page.read(plain, dialect, draft));
                if let Some(same) = same {
                    (counts, is_same_page) = (same, true);
                    return Ok(());
                }
                let mut reading = Reading {
                    spec,
                    features: self.features,
                    cache: &mut followed.cache,
                    families: &mut followed.families,
                    descriptions,
                    numbers,
                    histories,
                    draft,
                    time_ms,
                    before_ms: followed.before_ms,
                    counts,
                    key,
                };
                let result = reading.read(format, plain);
                counts = reading.counts;
                result?;
                followed.cache.end(|number| gone.push(number), |number| numbers.release(number));
                match dialect {
                    Some(dialect) => followed.page.learn(plain, dialect, &followed.cache, forms),
                    None => followed.page.forget(),
                }
                Ok(())
            }),
        };
        let is_failed = result.is_err();
        if is_failed {
            draft.take_back();
            followed.cache.fail(|number| gone.push(number), |number| numbers.release(number));
            followed.page.forget();
        } else {
            if is_same_page {
                followed.cache.end_same(|number| numbers.release(number));
            }
            followed.before_ms = time_ms;
        }
        let is_too_large = matches!(result, Err(Failure::BodySize { .. }));
        if is_failed {
            counts.added = 0;
            counts.stored = 0;
        }
        if followed.report.is_empty() {
            let extra = if spec.job.extra_scrape_metrics { &EXTRA_REPORT[..] } else { &[] };
            for metric in REPORT.iter().chain(extra) {
                let Some(series) = numbers.take() else { break };
                let labels = report_labels(&spec.target, metric);
                draft.samples.defined.push(SeriesDefinition { series, labels });
                followed.report.push(series);
            }
        }
        let duration = self.clock.monotonic().since(begun);
        let values = [
            if is_failed { 0.0 } else { 1.0 },
            duration.as_secs_f64(),
            counts.scraped as f64,
            counts.kept as f64,
            counts.added as f64,
            spec.target.timeout.as_secs_f64(),
            spec.job.limits.samples as f64,
            if is_too_large { -1.0 } else { bytes as f64 },
        ];
        for (number, value) in followed.report.iter().zip(values) {
            draft.push(*number, value, 0);
        }
        draft.finish(time_ms);
        push_markers(draft, gone, time_ms);
        let mut has_new_families = false;
        if !is_failed && !is_same_page {
            for family in followed.families.changed() {
                draft.samples.metadata.push(vedette_model::MetricMetadata::clone(family));
                has_new_families = true;
            }
        }
        if has_new_families {
            live.families.lock().clear();
            live.families.lock().extend(followed.families.all().iter().cloned());
        }
        draft.samples.released.extend_from_slice(numbers.released());
        let mut outcome = Outcome { counts, bytes, failure: result.err(), is_unknown: false, refusal: None };
        match self.outbox.send(std::mem::take(&mut draft.samples)) {
            Sent::Taken(samples) => draft.reuse(samples),
            Sent::Waits => outcome.refusal = self.outbox.refusal().map(str::to_owned),
            Sent::UnknownSeries => outcome.is_unknown = true,
            Sent::Refused(reason) => outcome.refusal = Some(reason),
        }
        self.numbers.end_batch();
        outcome
    }

    /// Ends the series of a target that is gone.
    fn ended(&mut self, id: TargetId, time_ms: i64) {
        let Some(mut followed) = self.followed.remove(&id) else { return };
        let Self { numbers, draft, gone, .. } = self;
        draft.clear();
        gone.clear();
        followed.cache.begin();
        followed.cache.fail(|number| gone.push(number), |_| {});
        gone.extend_from_slice(&followed.report);
        push_markers(draft, gone, time_ms);
        followed.cache.values().chain(followed.report).for_each(|number| numbers.release(number));
        draft.samples.released.extend_from_slice(numbers.released());
        match self.outbox.send(std::mem::take(&mut draft.samples)) {
            Sent::Taken(samples) => draft.reuse(samples),
            Sent::UnknownSeries => return self.define_anew(),
            Sent::Waits | Sent::Refused(_) => {}
        }
        self.numbers.end_batch();
    }

    /// Forgets all series, so that each is defined again when it comes.
    fn define_anew(&mut self) {
        self.metrics.redefinitions.inc();
        self.outbox.begin_epoch();
        self.followed.clear();
        self.numbers = Numbers::new(self.series_max);
        self.histories = Histories::default();
    }

    /// Tells how the target is.
    fn tell(
        &self,
        live: &Live,
        spec: &Spec,
        outcome: Outcome,
        begun: MonotonicTime,
        begun_ns: i64,
        bytes: usize,
    ) {
        let Outcome { counts, failure, refusal, is_unknown, .. } = outcome;
        let m = &self.metrics;
        m.samples.add(counts.scraped);
        m.bytes.add(bytes as u64);
        m.repeated.add(counts.repeated);
        m.future.add(counts.future);
        m.inconsistent.add(counts.inconsistent);
        if is_unknown {
            m.dropped_samples.add(counts.stored);
        }
        let error = match &failure {
            Some(failure) => failure.to_string(),
            None => remarks(&counts, refusal),
        };
        if failure.is_some() {
            m.failed.inc();
            tracing::debug!(job = spec.job.name, url = %spec.target.url, error, "a scrape failed");
            if let Some(path) = &spec.job.scrape_failure_log_file {
                let time_ms = begun_ns.div_euclid(1_000_000);
                failure_log::note(path, time_ms, &spec.job.name, spec.target.url.as_str(), &error);
            }
        } else {
            m.succeeded.inc();
        }
        let mut status = live.status.lock();
        status.health = if failure.is_some() { TargetHealth::Down } else { TargetHealth::Up };
        status.error = error;
        status.scraped_ns = begun_ns;
        status.duration = self.clock.monotonic().since(begun);
        if bytes > 0 {
            status.bytes = bytes;
        }
    }
}

/// What came of reading an answer.
struct Outcome {
    counts: Counts,
    bytes: usize,
    failure: Option<Failure>,
    is_unknown: bool,
    /// What the sink says.
    refusal: Option<String>,
}

/// Ends series with the newest of their samples, but for those that went on elsewhere.
fn push_markers(draft: &mut Draft, gone: &[u32], time_ms: i64) {
    let series: Vec<u32> = gone.iter().copied().filter(|number| *number != DROPPED).collect();
    if !series.is_empty() {
        let values = vec![stale_nan(); series.len()];
        draft.samples.rows.push(Row { time_ms, series, values, starts_ms: Vec::new(), newest_only: true });
    }
}

/// The format of an answer, by its type or by what the job says of targets that do not tell it.
fn format(job: &ScrapeJob, content_type: &str) -> Result<BodyFormat, Failure> {
    let fallback = job.fallback_scrape_protocol.map(|protocol| match protocol {
        ScrapeProtocol::PrometheusProto => BodyFormat::Protobuf,
        ScrapeProtocol::PrometheusText004 | ScrapeProtocol::PrometheusText100 => BodyFormat::Text,
        ScrapeProtocol::OpenMetricsText001 | ScrapeProtocol::OpenMetricsText100 => BodyFormat::OpenMetrics,
    });
    BodyFormat::of_content_type(content_type).or(fallback).ok_or_else(|| {
        if content_type.is_empty() {
            return Failure::NoContentType;
        }
        Failure::ContentType(content_type.chars().take(100).collect())
    })
}

/// The dialect of text.
fn dialect(format: BodyFormat) -> Option<Dialect> {
    match format {
        BodyFormat::Text => Some(Dialect::Text),
        BodyFormat::OpenMetrics => Some(Dialect::OpenMetrics),
        BodyFormat::Protobuf => None,
    }
}

/// Whether nothing is made of samples but samples: neither histograms of several, nor starts of counting.
fn has_plain_samples(spec: &Spec, features: Features) -> bool {
    features.start_times == StartTimes::Ignored && !spec.target.convert_classic_histograms_to_nhcb
}

/// What is to be said of a scrape that succeeded.
fn remarks(counts: &Counts, refusal: Option<String>) -> String {
    let mut remarks = Vec::new();
    for (count, what) in [
        (counts.repeated, "of series that were in the answer before are left out"),
        (counts.regressing, "have times before those of earlier samples"),
        (counts.future, "are left out, as their times are more than 10 minutes in the future"),
    ] {
        if count > 0 {
            remarks.push(format!("{count} samples {what}"));
        }
    }
    if counts.inconsistent > 0 {
        remarks.push(format!(
            "{} histograms are left out, as their parts contradict each other",
            counts.inconsistent
        ));
    }
    remarks.extend(refusal.map(|reason| format!("samples are not stored yet: {reason}")));
    remarks.join("; ")
}
