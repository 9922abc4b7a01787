//! Answers of Prometheus' HTTP API, byte by byte as Prometheus writes them.
//!
//! Results are appended series by series to one buffer, so that an answer is never held twice.

use vedette_model::{Labels, MetricMetadata};

use crate::{
    json::{Object, push_array, push_labels, push_text, push_text_for_html},
    number::{push_exponent, push_plain, push_rfc3339, push_seconds, push_seconds_short, push_value},
};

/// What went wrong, in Prometheus' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorType {
    /// The request is wrong.
    BadData,
    /// The query cannot be evaluated.
    Execution,
    /// The query took too long, or waited too long.
    Timeout,
    /// The client left, or the server stops.
    Canceled,
    /// The server failed.
    Internal,
    /// It does not serve this now.
    Unavailable,
    /// There is no such thing.
    NotFound,
}

impl ErrorType {
    /// The word in the answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::NotFound => "not_found",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        match self {
            Self::BadData => 400,
            Self::Execution => 422,
            Self::Timeout | Self::Unavailable => 503,
            Self::Canceled => 499,
            Self::Internal => 500,
            Self::NotFound => 404,
        }
    }
}

/// The body of an error.
pub fn error(kind: ErrorType, message: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + message.len());
    let mut object = Object::begin(&mut out);
    object.text("status", "error").text("errorType", kind.as_str()).text("error", message);
    object.end();
    out
}

/// Appends a whole answer: `data` appends its data; the notes follow where there are any.
pub fn success(out: &mut Vec<u8>, warnings: &[String], infos: &[String], data: impl FnOnce(&mut Vec<u8>)) {
    let mut object = Object::begin(out);
    object.text("status", "success");
    data(object.member("data"));
    for (name, notes) in [("warnings", warnings), ("infos", infos)] {
        if !notes.is_empty() {
            push_array(object.member(name), notes, |out, note| push_text_for_html(out, note));
        }
    }
    object.end();
}

/// The answer that gives `data` without notes.
pub fn answer(data: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    success(&mut out, &[], &[], data);
    out
}

/// Appends the data of a query's answer; `result` appends the result.
pub fn query_data(out: &mut Vec<u8>, result_type: &str, result: impl FnOnce(&mut Vec<u8>)) {
    let mut object = Object::begin(out);
    object.text("resultType", result_type);
    result(object.member("result"));
    object.end();
}

/// Appends what comes before the first series of a query's answer; a comma stands between series.
pub fn begin_matrix(out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"status":"success","data":{"resultType":"matrix","result":["#);
}

/// Appends what comes after the last series of an answer that [`begin_matrix`] began.
pub fn end_matrix(out: &mut Vec<u8>, warnings: &[String], infos: &[String]) {
    out.extend_from_slice(b"]}");
    for (name, notes) in [("warnings", warnings), ("infos", infos)] {
        if !notes.is_empty() {
            out.push(b',');
            push_text(out, name);
            out.push(b':');
            push_array(out, notes, |out, note| push_text_for_html(out, note));
        }
    }
    out.push(b'}');
}

/// What a query took, as `stats` shows it. Times are in seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueryStats {
    /// Evaluation and sorting.
    pub eval_total_seconds: f64,
    /// Sorting the answer.
    pub result_sort_seconds: f64,
    /// Finding series.
    pub preparation_seconds: f64,
    /// Evaluation.
    pub inner_eval_seconds: f64,
    /// Waiting for the query's turn.
    pub queue_seconds: f64,
    /// Everything.
    pub total_seconds: f64,
    /// Samples that each step looked at, with the step's time; only `stats=all` shows them.
    pub samples_by_step: Option<Vec<(i64, u64)>>,
    /// Samples that all steps looked at.
    pub samples: u64,
    /// The most samples that were held at once.
    pub peak_samples: u64,
}

/// Appends the data of a query's answer with what the query took.
pub fn query_data_with_stats(
    out: &mut Vec<u8>,
    result_type: &str,
    result: impl FnOnce(&mut Vec<u8>),
    stats: &QueryStats,
) {
    let mut object = Object::begin(out);
    object.text("resultType", result_type);
    result(object.member("result"));
    query_stats(object.member("stats"), stats);
    object.end();
}

/// Appends what a query took.
pub fn query_stats(out: &mut Vec<u8>, stats: &QueryStats) {
    let mut object = Object::begin(out);
    let mut timings = Object::begin(object.member("timings"));
    timings.number("evalTotalTime", stats.eval_total_seconds);
    timings.number("resultSortTime", stats.result_sort_seconds);
    timings.number("queryPreparationTime", stats.preparation_seconds);
    timings.number("innerEvalTime", stats.inner_eval_seconds);
    timings.number("execQueueTime", stats.queue_seconds);
    timings.number("execTotalTime", stats.total_seconds);
    timings.end();
    let mut samples = Object::begin(object.member("samples"));
    if let Some(steps) = &stats.samples_by_step {
        push_array(samples.member("totalQueryableSamplesPerStep"), steps, |out, (time_ms, count)| {
            out.push(b'[');
            push_seconds_short(out, *time_ms);
            out.push(b',');
            out.extend_from_slice(itoa::Buffer::new().format(*count).as_bytes());
            out.push(b']');
        });
    }
    for (name, count) in [("totalQueryableSamples", stats.samples), ("peakSamples", stats.peak_samples)] {
        samples.member(name).extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    }
    samples.end();
    object.end();
}

/// Appends one element of an instant vector.
pub fn vector_element(out: &mut Vec<u8>, labels: &Labels, time_ms: i64, value: f64) {
    let mut object = Object::begin(out);
    object.labels("metric", labels);
    point(object.member("value"), time_ms, value);
    object.end();
}

/// Appends one series of a matrix.
pub fn matrix_series(out: &mut Vec<u8>, labels: &Labels, points: impl IntoIterator<Item = (i64, f64)>) {
    matrix_series_with(&mut PointTimes::default(), out, labels, points);
}

/// Times as they stand in points: the series of a matrix have the same ones, most often.
#[derive(Debug, Default)]
pub struct PointTimes {
    /// Time, and end of its text in `texts`.
    times: Vec<(i64, u32)>,
    texts: Vec<u8>,
}

/// Times that are remembered: those of the longest range.
const POINT_TIMES_MAX: usize = 12_000;

impl PointTimes {
    /// Appends all of a point that comes before its value; the point is the one at `place` or
    /// behind it. Gives where the next is to be looked for.
    fn push(&mut self, out: &mut Vec<u8>, place: usize, time_ms: i64) -> usize {
        let is_here = self.times.get(place).is_some_and(|(time, _)| *time == time_ms);
        let skipped =
            if is_here { 0 } else { self.times[place..].partition_point(|(time, _)| *time < time_ms) };
        let place = place + skipped;
        if self.times.get(place).is_some_and(|(time, _)| *time == time_ms) {
            let start = if place == 0 { 0 } else { self.times[place - 1].1 };
            out.extend_from_slice(&self.texts[start as usize..self.times[place].1 as usize]);
            return place + 1;
        }
        let start = out.len();
        out.push(b'[');
        push_seconds(out, time_ms);
        out.extend_from_slice(b",\"");
        if place == self.times.len() && place < POINT_TIMES_MAX {
            self.texts.extend_from_slice(&out[start..]);
            self.times.push((time_ms, self.texts.len() as u32));
            return place + 1;
        }
        place
    }
}

/// As [`matrix_series`], for one series after the other.
pub fn matrix_series_with(
    times: &mut PointTimes,
    out: &mut Vec<u8>,
    labels: &Labels,
    points: impl IntoIterator<Item = (i64, f64)>,
) {
    matrix_series_by(times, out, labels, points, push_value);
}

/// As [`matrix_series_with`], with values that `write` knows to write.
pub fn matrix_series_by<V>(
    times: &mut PointTimes,
    out: &mut Vec<u8>,
    labels: &Labels,
    points: impl IntoIterator<Item = (i64, V)>,
    write: impl Fn(&mut Vec<u8>, V),
) {
    let mut object = Object::begin(out);
    object.labels("metric", labels);
    let mut place = 0;
    push_array(object.member("values"), points, |out, (time_ms, value)| {
        place = times.push(out, place, time_ms);
        write(out, value);
        out.extend_from_slice(b"\"]");
    });
    object.end();
}

/// A bucket of a native histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HistogramBucket {
    /// Which bounds belong to it: 0 the upper, 1 the lower, 2 none, 3 both.
    pub boundary_rule: u8,
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Observations.
    pub count: f64,
}

/// Appends one element of an instant vector that is a native histogram; `buckets` are the populated
/// ones, lowest first.
pub fn vector_histogram(
    out: &mut Vec<u8>,
    labels: &Labels,
    time_ms: i64,
    (count, sum): (f64, f64),
    buckets: impl IntoIterator<Item = HistogramBucket>,
) {
    let mut object = Object::begin(out);
    object.labels("metric", labels);
    histogram_point(object.member("histogram"), time_ms, (count, sum), buckets);
    object.end();
}

/// Appends one series of a matrix of which some samples are native histograms; each of these is
/// appended by `push`, which calls [`histogram_point`].
pub fn mixed_matrix_series<H>(
    out: &mut Vec<u8>,
    labels: &Labels,
    points: impl ExactSizeIterator<Item = (i64, f64)>,
    histograms: impl IntoIterator<Item = H>,
    push: impl FnMut(&mut Vec<u8>, H),
) {
    let mut object = Object::begin(out);
    object.labels("metric", labels);
    if points.len() > 0 {
        push_array(object.member("values"), points, |out, (time_ms, value)| point(out, time_ms, value));
    }
    push_array(object.member("histograms"), histograms, push);
    object.end();
}

/// Appends a native histogram at a time.
pub fn histogram_point(
    out: &mut Vec<u8>,
    time_ms: i64,
    (count, sum): (f64, f64),
    buckets: impl IntoIterator<Item = HistogramBucket>,
) {
    let quoted = |out: &mut Vec<u8>, value: f64| {
        out.push(b'"');
        push_value(out, value);
        out.push(b'"');
    };
    out.push(b'[');
    push_seconds(out, time_ms);
    out.push(b',');
    let mut object = Object::begin(out);
    quoted(object.member("count"), count);
    quoted(object.member("sum"), sum);
    let mut buckets = buckets.into_iter().peekable();
    if buckets.peek().is_some() {
        push_array(object.member("buckets"), buckets, |out, bucket| {
            out.extend_from_slice(&[b'[', b'0' + bucket.boundary_rule.min(3)]);
            for value in [bucket.lower, bucket.upper, bucket.count] {
                out.push(b',');
                quoted(out, value);
            }
            out.push(b']');
        });
    }
    object.end();
    out.push(b']');
}

/// Appends a scalar.
pub fn scalar(out: &mut Vec<u8>, time_ms: i64, value: f64) {
    out.push(b'[');
    push_seconds_short(out, time_ms);
    out.extend_from_slice(b",\"");
    push_plain(out, value);
    out.extend_from_slice(b"\"]");
}

/// Appends a string result.
pub fn string(out: &mut Vec<u8>, time_ms: i64, text: &str) {
    out.push(b'[');
    push_seconds_short(out, time_ms);
    out.push(b',');
    push_text_for_html(out, text);
    out.push(b']');
}

/// Appends names or values.
pub fn texts(out: &mut Vec<u8>, texts: &[impl AsRef<str>]) {
    push_array(out, texts, |out, text| push_text_for_html(out, text.as_ref()));
}

/// Appends label sets.
pub fn label_sets(out: &mut Vec<u8>, sets: &[Labels]) {
    push_array(out, sets, push_labels);
}

/// Appends metadata: an object with a list for each family. `metadata` is sorted by family; at
/// most `per_family` entries of one family are written.
pub fn metadata(out: &mut Vec<u8>, metadata: &[MetricMetadata], per_family: usize) {
    let mut object = Object::begin(out);
    for family in metadata.chunk_by(|a, b| a.family == b.family) {
        push_array(object.member(&family[0].family), family.iter().take(per_family), |out, entry| {
            let mut object = Object::begin(out);
            object.text("type", entry.kind.as_str()).text("help", &entry.help).text("unit", &entry.unit);
            object.end();
        });
    }
    object.end();
}

/// A rule group as `/api/v1/rules` shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleGroup {
    /// Its name, unique in its file.
    pub name: String,
    /// The file, or another name of where it comes from.
    pub file: String,
    /// The rules in their order.
    pub rules: Vec<Rule>,
    /// Seconds between evaluations.
    pub interval_seconds: f64,
    /// Most alerts or series that a rule may give; 0 means no limit.
    pub limit: u64,
    /// How long the last evaluation took.
    pub evaluation_seconds: f64,
    /// When it was last evaluated, or `None` before the first time.
    pub last_evaluation_ns: Option<i64>,
}

/// A rule as `/api/v1/rules` shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The alert's or the recorded series' name.
    pub name: String,
    /// The expression in canonical form.
    pub query: String,
    /// Labels that it adds.
    pub labels: Labels,
    /// State of the last evaluation.
    pub health: RuleHealth,
    /// Why the last evaluation failed, or an empty string.
    pub last_error: String,
    /// How long the last evaluation took.
    pub evaluation_seconds: f64,
    /// When it was last evaluated, or `None` before the first time.
    pub last_evaluation_ns: Option<i64>,
    /// What only alerting rules have.
    pub alerting: Option<AlertingRule>,
}

/// What only alerting rules have.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertingRule {
    /// Highest state of its alerts.
    pub state: AlertState,
    /// `for`, in seconds.
    pub hold_seconds: f64,
    /// `keep_firing_for`, in seconds.
    pub keep_firing_seconds: f64,
    /// Annotations, as templates.
    pub annotations: Labels,
    /// Its alerts.
    pub alerts: Vec<Alert>,
}

/// How a rule's last evaluation went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the API's own words")]
pub enum RuleHealth {
    Unknown,
    Ok,
    Err,
}

impl RuleHealth {
    /// The word in the answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Err => "err",
        }
    }
}

/// Where an alert is in its life; the order is that of importance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the API's own words")]
pub enum AlertState {
    Inactive,
    Pending,
    Firing,
}

impl AlertState {
    /// The word in the answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// An active alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Labels, `alertname` included.
    pub labels: Labels,
    /// Annotations, filled in.
    pub annotations: Labels,
    /// State.
    pub state: AlertState,
    /// Since when the condition holds.
    pub active_ns: Option<i64>,
    /// Since when only `keep_firing_for` keeps it.
    pub keep_firing_since_ns: Option<i64>,
    /// The value of the expression.
    pub value: f64,
}

/// Go's zero time, which Prometheus shows for "never".
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Appends the data of `/api/v1/rules`.
pub fn rule_groups<'a>(out: &mut Vec<u8>, groups: impl IntoIterator<Item = &'a RuleGroup>) {
    let mut object = Object::begin(out);
    push_array(object.member("groups"), groups, rule_group);
    object.end();
}

/// Appends the data of `/api/v1/alerts`.
pub fn alerts<'a>(out: &mut Vec<u8>, alerts: impl IntoIterator<Item = &'a Alert>) {
    let mut object = Object::begin(out);
    push_array(object.member("alerts"), alerts, alert);
    object.end();
}

fn rule_group(out: &mut Vec<u8>, group: &RuleGroup) {
    let mut object = Object::begin(out);
    object.text("name", &group.name).text("file", &group.file);
    push_array(object.member("rules"), &group.rules, rule);
    object.number("interval", group.interval_seconds);
    object.member("limit").extend_from_slice(itoa::Buffer::new().format(group.limit).as_bytes());
    object.number("evaluationTime", group.evaluation_seconds);
    time(object.member("lastEvaluation"), group.last_evaluation_ns);
    object.end();
}

fn rule(out: &mut Vec<u8>, rule: &Rule) {
    let mut object = Object::begin(out);
    if let Some(alerting) = &rule.alerting {
        object.text("state", alerting.state.as_str()).text("name", &rule.name).text("query", &rule.query);
        object.number("duration", alerting.hold_seconds);
        object.number("keepFiringFor", alerting.keep_firing_seconds);
        object.labels("labels", &rule.labels).labels("annotations", &alerting.annotations);
        push_array(object.member("alerts"), &alerting.alerts, alert);
    } else {
        object.text("name", &rule.name).text("query", &rule.query);
        if !rule.labels.is_empty() {
            object.labels("labels", &rule.labels);
        }
    }
    object.text("health", rule.health.as_str());
    if !rule.last_error.is_empty() {
        object.text("lastError", &rule.last_error);
    }
    object.number("evaluationTime", rule.evaluation_seconds);
    time(object.member("lastEvaluation"), rule.last_evaluation_ns);
    object.text("type", if rule.alerting.is_some() { "alerting" } else { "recording" });
    object.end();
}

fn alert(out: &mut Vec<u8>, alert: &Alert) {
    let mut object = Object::begin(out);
    object.labels("labels", &alert.labels).labels("annotations", &alert.annotations);
    object.text("state", alert.state.as_str());
    for (name, at) in [("activeAt", alert.active_ns), ("keepFiringSince", alert.keep_firing_since_ns)] {
        if at.is_some() {
            time(object.member(name), at);
        }
    }
    let out = object.member("value");
    out.push(b'"');
    push_exponent(out, alert.value);
    out.push(b'"');
    object.end();
}

fn time(out: &mut Vec<u8>, at_ns: Option<i64>) {
    out.push(b'"');
    match at_ns {
        Some(at_ns) => push_rfc3339(out, at_ns),
        None => out.extend_from_slice(NEVER.as_bytes()),
    }
    out.push(b'"');
}

fn point(out: &mut Vec<u8>, time_ms: i64, value: f64) {
    out.push(b'[');
    push_seconds(out, time_ms);
    out.extend_from_slice(b",\"");
    push_value(out, value);
    out.extend_from_slice(b"\"]");
}
