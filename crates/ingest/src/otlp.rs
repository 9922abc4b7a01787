//! Metrics of OpenTelemetry become series, as Prometheus makes them of these.
//!
//! Each point becomes one series or several; the attributes of its resource name the target (`job`,
//! `instance`) and stand in `target_info`, unless the configuration promotes them to labels. What
//! cannot be translated is refused and told, the rest is stored.

mod delta;
mod histograms;
mod names;

use std::{borrow::Cow, sync::Arc};

use vedette_config::prometheus::Otlp;
use vedette_model::{
    Exemplar, LabelsBuilder, METRIC_NAME, MetricKind, MetricMetadata, NativeHistogram, ResetHint, stale_nan,
};
use vedette_wire::{
    otlp::{
        self, Attribute, Common, Data, Metric, NumberPoint, Request, ResourceMetrics, ScopeMetrics,
        Temporality,
    },
    remote_write::push_labels,
};

use self::delta::Adding;
pub(crate) use self::delta::Totals;
use self::names::{NamedKind, Namer};
use crate::{
    intake::{Histogram, Passage, Scratch, WriteError, Written},
    labelled::Labelled,
    metrics::Reason,
};

/// How metrics of OpenTelemetry are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpSettings {
    /// The section `otlp` of Prometheus' configuration.
    pub translation: Otlp,
    /// What becomes of points that count since the point before.
    pub delta: DeltaHandling,
    /// Whether series have type and unit as labels.
    pub type_and_unit_labels: bool,
    /// How far queries look back: samples of `target_info` are at most half of it apart.
    pub lookback_ms: i64,
}

impl Default for OtlpSettings {
    fn default() -> Self {
        Self {
            translation: Otlp::default(),
            delta: DeltaHandling::Refused,
            type_and_unit_labels: false,
            lookback_ms: 300_000,
        }
    }
}

/// What becomes of points that count since the point before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeltaHandling {
    /// They are refused, as Prometheus does unless it is told otherwise.
    Refused,
    /// They are stored as they are (Prometheus' feature `otlp-native-delta-ingestion`).
    Stored,
    /// They are added up (Prometheus' feature `otlp-deltatocumulative`).
    Converted,
}

/// Labels of metadata, and of what identifies a target.
const JOB: &str = "job";
const INSTANCE: &str = "instance";
const SERVICE_NAME: &str = "service.name";
const SERVICE_NAMESPACE: &str = "service.namespace";
const SERVICE_INSTANCE: &str = "service.instance.id";
const TARGET_INFO: &str = "target_info";
const IDENTIFYING: [&str; 3] = [SERVICE_NAMESPACE, SERVICE_NAME, SERVICE_INSTANCE];

/// Characters of an exemplar's labels, as OpenMetrics allows them.
const EXEMPLAR_CHARS_MAX: usize = 128;
/// Samples of `target_info` for one resource of one request.
const INFO_SAMPLES_MAX: i64 = 1_000;

/// Takes a request.
pub(crate) fn take(
    passage: &mut Passage<'_>,
    scratch: &mut Scratch,
    request: &Request<'_>,
    settings: &OtlpSettings,
    totals: &Totals,
) -> Result<Written, WriteError> {
    let mut translator = Translator {
        request: Labelled::new(passage, scratch),
        settings,
        namer: Namer::new(&settings.translation),
        totals: (settings.delta == DeltaHandling::Converted).then(|| totals.begin()),
        labels: LabelsBuilder::new(),
    };
    for resource in &request.resources {
        translator.resource(resource);
    }
    let Translator { request, totals, .. } = translator;
    let written = request.store()?;
    totals.into_iter().for_each(Adding::keep);
    Ok(written)
}

/// Makes series of a request.
struct Translator<'a, 'p> {
    request: Labelled<'a, 'p>,
    settings: &'a OtlpSettings,
    namer: Namer,
    /// Where points that count since the one before are added up.
    totals: Option<Adding<'a>>,
    /// Labels of the point that is translated.
    labels: LabelsBuilder,
}

/// What the points of a resource and a scope share.
#[derive(Default)]
struct Shared {
    /// From attributes of the resource; a point's own go before them.
    promoted: Vec<(String, String)>,
    job: Option<String>,
    instance: Option<String>,
    /// From the scope; they go before those of a point.
    scope: Vec<(String, String)>,
}

/// What the points of a metric share.
struct Family<'a> {
    name: String,
    shared: &'a Shared,
    kind: MetricKind,
    unit: String,
    temporality: Temporality,
}

/// A point of one of the kinds that become a histogram.
struct Times {
    time_ms: i64,
    start_ms: i64,
}

impl Times {
    fn of(common: &Common<'_>) -> Self {
        Self { time_ms: (common.time_ns / 1_000_000) as i64, start_ms: (common.start_ns / 1_000_000) as i64 }
    }
}

/// The text of an attribute.
fn find<'a>(attributes: &'a [Attribute<'_>], key: &str) -> Option<Cow<'a, str>> {
    attributes.iter().find(|a| a.key == key).map(|a| a.value.text())
}

impl Translator<'_, '_> {
    fn resource(&mut self, resource: &ResourceMetrics<'_>) {
        let attributes = &resource.attributes;
        let mut shared = Shared {
            job: find(attributes, SERVICE_NAME).map(|name| match find(attributes, SERVICE_NAMESPACE) {
                Some(namespace) => format!("{namespace}/{name}"),
                None => name.into_owned(),
            }),
            instance: find(attributes, SERVICE_INSTANCE).map(Cow::into_owned),
            ..Shared::default()
        };
        let promotion = &self.settings.translation;
        for attribute in attributes {
            let is_named = |names: &[String]| names.iter().any(|name| *name == attribute.key);
            let is_promoted = if promotion.promote_all_resource_attributes {
                !is_named(&promotion.ignore_resource_attributes)
            } else {
                is_named(&promotion.promote_resource_attributes)
            };
            if is_promoted {
                match self.namer.label(&attribute.key) {
                    Ok(name) => {
                        shared.promoted.push((name.into_owned(), attribute.value.text().into_owned()));
                    }
                    Err(error) => self.request.passage.outcome.find_fault(&error),
                }
            }
        }
        let mut span: Option<(u64, u64)> = None;
        for scope in &resource.scopes {
            shared.scope = self.scope_labels(scope);
            for metric in &scope.metrics {
                for time_ns in times_ns(&metric.data) {
                    let (first, last) = span.unwrap_or((time_ns, time_ns));
                    span = Some((first.min(time_ns), last.max(time_ns)));
                }
                self.metric(metric, &shared);
            }
        }
        if let Some((first_ns, last_ns)) = span {
            shared.scope.clear();
            self.target_info(resource, &shared, first_ns, last_ns);
        }
    }

    fn scope_labels(&mut self, scope: &ScopeMetrics<'_>) -> Vec<(String, String)> {
        if !self.settings.translation.promote_scope_metadata || scope.name.is_empty() {
            return Vec::new();
        }
        let mut labels = Vec::new();
        for attribute in &scope.attributes {
            match self.namer.label(&format!("otel_scope_{}", attribute.key)) {
                Ok(name) => labels.push((name.into_owned(), attribute.value.text().into_owned())),
                Err(error) => self.request.passage.outcome.find_fault(&error),
            }
        }
        for (name, value) in
            [("name", &scope.name), ("version", &scope.version), ("schema_url", &scope.schema_url)]
        {
            labels.push((format!("otel_scope_{name}"), value.clone().into_owned()));
        }
        labels
    }

    fn metric(&mut self, metric: &Metric<'_>, shared: &Shared) {
        let count = times_ns(&metric.data).count() as u64;
        if count == 0 {
            let error = format!("the metric {:?} has no points", metric.name);
            return self.request.passage.outcome.find_fault(&error);
        }
        let (named, kind, temporality) = kinds(&metric.data);
        let refusal = match (temporality, self.settings.delta) {
            (Some(Temporality::Unspecified), _) => Some("does not say since when its points count"),
            (Some(Temporality::Delta), DeltaHandling::Refused) => Some(
                "counts since the point before, which is not taken; have it count since the start \
                 (OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative)",
            ),
            _ => None,
        };
        let name = match refusal {
            Some(reason) => Err(format!("the metric {:?} {reason}", metric.name)),
            None => self.namer.metric(&metric.name, &metric.unit, named),
        };
        let name = match name {
            Ok(name) => name,
            Err(error) => {
                return self.request.passage.outcome.refuse_for(Reason::Untranslatable, count, &error);
            }
        };
        let is_raw_delta =
            temporality == Some(Temporality::Delta) && self.settings.delta == DeltaHandling::Stored;
        let family = Family {
            name,
            shared,
            kind: if is_raw_delta { MetricKind::Unknown } else { kind },
            unit: names::unit(&metric.unit),
            temporality: temporality.unwrap_or(Temporality::Cumulative),
        };
        self.tell(&family, &metric.description);
        self.points(&metric.data, &family);
    }

    /// Tells the store what is known of a family, unless it knows.
    fn tell(&mut self, family: &Family<'_>, help: &str) {
        let mut hash = Vec::with_capacity(64);
        for text in [family.name.as_str(), &family.unit, help] {
            hash.extend_from_slice(&self.request.passage.cache.hash(text.as_bytes()).to_le_bytes());
        }
        hash.push(family.kind as u8);
        let Labelled { passage, scratch, .. } = &mut self.request;
        if !passage.is_told(scratch, passage.cache.hash(&hash) as u64) {
            self.request.scratch.metadata.push(MetricMetadata {
                family: family.name.clone(),
                kind: family.kind,
                unit: family.unit.clone(),
                help: help.to_owned(),
            });
        }
    }

    fn points(&mut self, data: &Data<'_>, family: &Family<'_>) {
        match data {
            Data::None => {}
            Data::Gauge(points) => {
                for point in points {
                    self.number(point, family, false);
                }
            }
            Data::Sum { points, .. } => {
                for point in points {
                    self.number(point, family, true);
                }
            }
            Data::Histogram { points, .. } => {
                for point in points {
                    self.explicit(point, family);
                }
            }
            Data::ExponentialHistogram { points, .. } => {
                for point in points {
                    let hint = self.hint(family);
                    let made = histograms::exponential(point, hint);
                    self.native(&point.common, family, made, &point.exemplars);
                }
            }
            Data::Summary(points) => {
                for point in points {
                    if self.label_point(&point.common, family) {
                        self.summary(point, family);
                    }
                }
            }
        }
    }

    fn hint(&self, family: &Family<'_>) -> ResetHint {
        let is_raw = family.temporality == Temporality::Delta && self.settings.delta == DeltaHandling::Stored;
        if is_raw { ResetHint::Gauge } else { ResetHint::Unknown }
    }

    /// Whether there are totals that the points are added to.
    fn converts(&self, family: &Family<'_>) -> bool {
        family.temporality == Temporality::Delta && self.totals.is_some()
    }

    fn number(&mut self, point: &NumberPoint<'_>, family: &Family<'_>, has_exemplars: bool) {
        if !self.label_point(&point.common, family) {
            return;
        }
        let mut times = Times::of(&point.common);
        let Some(series) = self.series(&family.name, None) else { return };
        let mut value = if point.common.has_no_value() { stale_nan() } else { point.value };
        if self.converts(family) && !point.common.has_no_value() {
            let (key, now_ms) = (self.series_hash(series), self.request.passage.stores.now_ms);
            let Some(totals) = &mut self.totals else { return };
            match totals.add(key, &times_of(&times), now_ms, value) {
                Ok((start_ms, total)) => (times.start_ms, value) = (start_ms, total),
                Err(error) => {
                    return self.request.passage.outcome.refuse_for(Reason::Untranslatable, 1, &error);
                }
            }
        }
        self.request.scratch.push_sample(series, times.time_ms, value, times.start_ms);
        if has_exemplars {
            for exemplar in &point.exemplars {
                self.request.scratch.exemplars.push((series, self.exemplar(exemplar)));
            }
        }
    }

    fn explicit(&mut self, point: &otlp::HistogramPoint<'_>, family: &Family<'_>) {
        if self.settings.translation.convert_histograms_to_nhcb {
            let made = histograms::custom(point, self.hint(family));
            return self.native(&point.common, family, made, &point.exemplars);
        }
        if !self.label_point(&point.common, family) {
            return;
        }
        if self.converts(family) && !point.common.has_no_value() {
            let times = Times::of(&point.common);
            let key = self.key_of_labels(&family.name);
            let now_ms = self.request.passage.stores.now_ms;
            let Some(totals) = &mut self.totals else { return };
            let made = histograms::custom(point, ResetHint::Unknown)
                .and_then(|delta| totals.add_histogram(key, &times_of(&times), now_ms, delta));
            return match made {
                Ok((start_ms, total)) => {
                    let mut point = point.clone();
                    delta::put_total(&mut point, &total, start_ms);
                    self.classic(&point, family);
                }
                Err(error) => self.request.passage.outcome.refuse_for(Reason::Untranslatable, 1, &error),
            };
        }
        self.classic(point, family);
    }

    /// The series of a classic histogram.
    fn classic(&mut self, point: &otlp::HistogramPoint<'_>, family: &Family<'_>) {
        let times = Times::of(&point.common);
        let is_stale = point.common.has_no_value();
        let value = |value: f64| if is_stale { stale_nan() } else { value };
        if let Some(sum) = point.sum {
            self.sample(&format!("{}_sum", family.name), None, &times, value(sum));
        }
        self.sample(&format!("{}_count", family.name), None, &times, value(point.count as f64));
        let bucket = format!("{}_bucket", family.name);
        let mut exemplars: Vec<_> = point.exemplars.iter().collect();
        exemplars.sort_by(|a, b| a.value.total_cmp(&b.value));
        let mut exemplars = exemplars.into_iter().peekable();
        let mut sum = 0_u64;
        let bounds = point.bounds.iter().zip(&point.buckets);
        for (bound, count) in bounds.map(|(b, c)| (*b, Some(*c))).chain([(f64::INFINITY, None)]) {
            sum = sum.saturating_add(count.unwrap_or(0));
            let all = count.map_or(point.count, |_| sum);
            let Some(series) = self.sample(&bucket, Some(("le", &number(bound))), &times, value(all as f64))
            else {
                continue;
            };
            while let Some(exemplar) = exemplars.next_if(|e| e.value <= bound || bound == f64::INFINITY) {
                self.request.scratch.exemplars.push((series, self.exemplar(exemplar)));
            }
        }
        self.labels.remove("le");
    }

    fn summary(&mut self, point: &otlp::SummaryPoint<'_>, family: &Family<'_>) {
        let times = Times::of(&point.common);
        let is_stale = point.common.has_no_value();
        let value = |value: f64| if is_stale { stale_nan() } else { value };
        self.sample(&format!("{}_sum", family.name), None, &times, value(point.sum));
        self.sample(&format!("{}_count", family.name), None, &times, value(point.count as f64));
        for (quantile, found) in &point.quantiles {
            self.sample(&family.name, Some(("quantile", &number(*quantile))), &times, value(*found));
        }
        self.labels.remove("quantile");
    }

    fn native(
        &mut self,
        common: &Common<'_>,
        family: &Family<'_>,
        made: Result<NativeHistogram, String>,
        exemplars: &[otlp::Exemplar<'_>],
    ) {
        if !self.label_point(common, family) {
            return;
        }
        let mut times = Times::of(common);
        let Some(series) = self.series(&family.name, None) else { return };
        let made = match (made, self.converts(family)) {
            (Ok(delta), true) if !delta.is_stale() => {
                let (key, now_ms) = (self.series_hash(series), self.request.passage.stores.now_ms);
                let Some(totals) = &mut self.totals else { return };
                totals.add_histogram(key, &times_of(&times), now_ms, delta).map(|(start_ms, total)| {
                    times.start_ms = start_ms;
                    total
                })
            }
            (made, _) => made,
        };
        let made = made.and_then(|h| h.validate().map(|()| h).map_err(|e| e.to_string()));
        match made {
            Ok(histogram) => {
                let Times { time_ms, start_ms } = times;
                let histogram = Arc::new(histogram);
                self.request.scratch.histograms.push(Histogram { series, time_ms, start_ms, histogram });
                for exemplar in exemplars {
                    self.request.scratch.exemplars.push((series, self.exemplar(exemplar)));
                }
            }
            Err(error) => self.request.passage.outcome.refuse_for(Reason::Histogram, 1, &error),
        }
    }

    /// The series that tells what is known of the resource, for the time of its points.
    fn target_info(&mut self, resource: &ResourceMetrics<'_>, shared: &Shared, first_ns: u64, last_ns: u64) {
        let attributes = &resource.attributes;
        let is_identifying = |a: &Attribute<'_>| IDENTIFYING.contains(&a.key.as_ref());
        if attributes.iter().all(is_identifying) {
            return;
        }
        let keeps = self.settings.translation.keep_identifying_resource_attributes;
        let told: Vec<_> = attributes.iter().filter(|a| keeps || !is_identifying(a)).collect();
        self.labels = LabelsBuilder::new();
        if let Err(error) = self.label_attributes(told.into_iter()) {
            return self.request.passage.outcome.find_fault(&error);
        }
        self.label_target(shared);
        if self.labels.get(JOB).is_none() && self.labels.get(INSTANCE).is_none() {
            return;
        }
        let Some(series) = self.series(TARGET_INFO, None) else { return };
        let [first_ms, last_ms] = [first_ns, last_ns].map(|ns| (ns / 1_000_000) as i64);
        let span_ms = last_ms - first_ms;
        let step_ms = (self.settings.lookback_ms / 2).max(1).max(span_ms / INFO_SAMPLES_MAX);
        let mut time_ms = first_ms;
        while time_ms < last_ms {
            self.request.scratch.push_sample(series, time_ms, 1.0, 0);
            time_ms += step_ms;
        }
        self.request.scratch.push_sample(series, last_ms, 1.0, 0);
        let hash = self.request.passage.cache.hash(TARGET_INFO.as_bytes()) as u64;
        if !self.request.passage.is_told(self.request.scratch, hash) {
            self.request.scratch.metadata.push(MetricMetadata {
                family: TARGET_INFO.to_owned(),
                kind: MetricKind::Gauge,
                unit: String::new(),
                help: "Target metadata".to_owned(),
            });
        }
    }

    /// Puts the labels of a point together, but for its name. False where it is refused.
    fn label_point(&mut self, common: &Common<'_>, family: &Family<'_>) -> bool {
        self.labels = LabelsBuilder::new();
        if let Err(error) = self.label_attributes(common.attributes.iter()) {
            self.request.passage.outcome.refuse_for(Reason::Untranslatable, 1, &error);
            return false;
        }
        for (name, value) in &family.shared.promoted {
            if self.labels.get(name).is_none() {
                self.labels.set(name, value);
            }
        }
        self.label_target(family.shared);
        for (name, value) in &family.shared.scope {
            self.labels.set(name, value);
        }
        if self.settings.type_and_unit_labels {
            if family.kind != MetricKind::Unknown {
                self.labels.set("__type__", family.kind.as_str());
            }
            if !family.unit.is_empty() {
                self.labels.set("__unit__", &family.unit);
            }
        }
        true
    }

    /// Attributes as labels. Those that share a classic name share it: their values, in order of the
    /// attributes' names, with semicolons between.
    fn label_attributes<'a>(
        &mut self,
        attributes: impl Iterator<Item = &'a Attribute<'a>>,
    ) -> Result<(), String> {
        let mut sorted: Vec<_> = attributes.filter(|a| a.key != METRIC_NAME).collect();
        if !self.namer.is_utf8 {
            sorted.sort_by(|a, b| a.key.cmp(&b.key));
        }
        for attribute in sorted {
            let value = attribute.value.text();
            if self.namer.is_utf8 {
                self.labels.set(&attribute.key, &value);
                continue;
            }
            let name = self.namer.label(&attribute.key)?;
            let joined = self.labels.get(&name).map(|before| format!("{before};{value}"));
            self.labels.set(&name, joined.as_deref().unwrap_or(&value));
        }
        Ok(())
    }

    fn label_target(&mut self, shared: &Shared) {
        for (name, value) in [(JOB, &shared.job), (INSTANCE, &shared.instance)] {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                self.labels.set(name, value);
            }
        }
    }

    /// A sample of a series that is named by the labels of the point, a name and perhaps one more label.
    fn sample(&mut self, name: &str, label: Option<(&str, &str)>, times: &Times, value: f64) -> Option<u32> {
        let series = self.series(name, label)?;
        self.request.scratch.push_sample(series, times.time_ms, value, times.start_ms);
        Some(series)
    }

    fn series(&mut self, name: &str, label: Option<(&str, &str)>) -> Option<u32> {
        self.labels.set(METRIC_NAME, name);
        if let Some((name, value)) = label {
            self.labels.set(name, value);
        }
        self.request.series(&self.labels)
    }

    fn series_hash(&self, series: u32) -> u128 {
        self.request.passage.cache.hash(self.request.label_bytes(series))
    }

    /// The same of a metric that is several series.
    fn key_of_labels(&mut self, name: &str) -> u128 {
        self.labels.set(METRIC_NAME, name);
        let mut bytes = Vec::new();
        push_labels(&mut bytes, &mut Vec::new(), self.labels.iter());
        self.request.passage.cache.hash(&bytes)
    }

    fn exemplar(&self, exemplar: &otlp::Exemplar<'_>) -> Exemplar {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let mut labels = LabelsBuilder::new();
        let mut chars = 0;
        for (name, id) in [("trace_id", &exemplar.trace_id), ("span_id", &exemplar.span_id)] {
            if id.iter().any(|byte| *byte != 0) {
                let id = hex(id);
                chars += name.len() + id.len();
                labels.set(name, &id);
            }
        }
        let texts: Vec<_> = exemplar.attributes.iter().map(|a| (a.key.as_ref(), a.value.text())).collect();
        chars += texts.iter().map(|(n, v)| n.chars().count() + v.chars().count()).sum::<usize>();
        if chars <= EXEMPLAR_CHARS_MAX {
            for (name, value) in texts {
                labels.set(name, &value);
            }
        }
        let time_ms = (exemplar.time_ns / 1_000_000) as i64;
        Exemplar { labels: labels.build(), value: exemplar.value, time_ms }
    }
}

fn times_of(times: &Times) -> delta::Span {
    delta::Span { start_ms: times.start_ms, time_ms: times.time_ms }
}

/// The times of all points.
fn times_ns<'a>(data: &'a Data<'_>) -> Box<dyn Iterator<Item = u64> + 'a> {
    match data {
        Data::None => Box::new(std::iter::empty()),
        Data::Gauge(points) | Data::Sum { points, .. } => Box::new(points.iter().map(|p| p.common.time_ns)),
        Data::Histogram { points, .. } => Box::new(points.iter().map(|p| p.common.time_ns)),
        Data::ExponentialHistogram { points, .. } => Box::new(points.iter().map(|p| p.common.time_ns)),
        Data::Summary(points) => Box::new(points.iter().map(|p| p.common.time_ns)),
    }
}

/// What decides about suffixes, the type, and since when points count, where that is a question.
fn kinds(data: &Data<'_>) -> (NamedKind, MetricKind, Option<Temporality>) {
    match data {
        Data::None => (NamedKind::Other, MetricKind::Unknown, None),
        Data::Gauge(_) => (NamedKind::Gauge, MetricKind::Gauge, None),
        Data::Sum { temporality, is_monotonic: true, .. } => {
            (NamedKind::Counter, MetricKind::Counter, Some(*temporality))
        }
        Data::Sum { temporality, .. } => (NamedKind::Other, MetricKind::Gauge, Some(*temporality)),
        Data::Histogram { temporality, .. } | Data::ExponentialHistogram { temporality, .. } => {
            (NamedKind::Other, MetricKind::Histogram, Some(*temporality))
        }
        Data::Summary(_) => (NamedKind::Other, MetricKind::Summary, None),
    }
}

/// A bound as a label has it: all digits, no exponent.
fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests;
