//! Running one PromQL query: parsed and evaluated on a blocking thread when its turn comes, within
//! its budgets, out of the cache where that gives the same, and told of when it is over.

use std::{sync::Arc, time::Duration};

use vedette_model::Notes;
use vedette_promql::{
    Answered, Engine, EngineConfig, Expr, Limits, Observer, QueryError, QueryOutput, Stopwatch, Value,
};
use vedette_wire::{prometheus::QueryStats, vedette as wire};

use crate::{
    app::Shared,
    gate::{Client, Refused, Turn},
    queries::Took,
    quick::Key,
};

/// When to evaluate.
#[derive(Debug, Clone, Copy)]
pub enum Times {
    /// Once.
    At(i64),
    /// From, to, and the step between.
    Range(i64, i64, i64),
}

/// What a client asks for.
pub struct Asked {
    pub query: String,
    pub times: Times,
    /// How far back a sample may lie to count as current, if not as far as usual.
    pub lookback_ms: Option<i64>,
    /// How long it may take, if less than usual.
    pub timeout: Option<Duration>,
    /// Whether each node and step is watched; then all steps are evaluated.
    pub observed: bool,
    /// Whether the answer may be one that was kept.
    pub cached: bool,
    pub client: Client,
    pub path: &'static str,
}

/// An error that tells why there is no answer.
pub trait Reason {
    /// For people.
    fn reason(&self) -> &str;
}

/// An evaluated query.
pub struct Evaluated {
    pub expr: Expr,
    pub output: QueryOutput,
    /// What the answer lacks.
    pub notes: Vec<String>,
    pub stats: QueryStats,
    /// There if it was to be observed.
    pub observer: Option<Arc<Observer>>,
}

impl Times {
    /// First, last, step; a single time has the step 0.
    pub fn bounds(self) -> (i64, i64, i64) {
        match self {
            Self::At(time_ms) => (time_ms, time_ms, 0),
            Self::Range(start_ms, end_ms, step_ms) => (start_ms, end_ms, step_ms),
        }
    }

    /// The times themselves.
    pub fn all(self) -> impl Iterator<Item = i64> {
        let (start_ms, end_ms, step_ms) = self.bounds();
        let step = usize::try_from(step_ms.max(1)).unwrap_or(usize::MAX);
        (start_ms..=end_ms).step_by(step)
    }

    fn count(self) -> usize {
        let (start_ms, end_ms, step_ms) = self.bounds();
        let steps = end_ms.saturating_sub(start_ms) / step_ms.max(1);
        usize::try_from(steps).unwrap_or(usize::MAX).saturating_add(1)
    }
}

/// Takes the series of an answer one by one.
pub type Emit<'e> = &'e mut dyn FnMut(Answered<'_>) -> Result<(), QueryError>;

/// A query that is about to be evaluated.
pub struct Evaluation<'r> {
    shared: &'r Shared,
    asked: &'r Asked,
    turn: &'r Turn,
    took: &'r mut Took,
}

impl Evaluation<'_> {
    /// Evaluates it.
    pub fn whole(self) -> Result<Evaluated, QueryError> {
        evaluate(self.shared, self.asked, self.turn, self.took, None)
    }

    /// Evaluates it, and hands the series of a range on as they come; then they are not in the
    /// output. Of a query that is observed they are, as of any that is no range.
    pub fn each(self, emit: Emit<'_>) -> Result<Evaluated, QueryError> {
        evaluate(self.shared, self.asked, self.turn, self.took, Some(emit))
    }
}

/// Runs a query by `write`, which evaluates it and gives an answer and its size.
pub async fn run<T, E>(
    shared: Arc<Shared>,
    asked: Asked,
    write: impl Fn(&Turn, Evaluation<'_>) -> Result<(T, usize), E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Refused> + Reason + Send + 'static,
{
    let (client, timeout) = (asked.client.clone(), asked.timeout);
    let key = Key::new(&asked.query, asked.times);
    let inner = Arc::clone(&shared);
    let work = move |turn: &Turn| {
        let shared = &*inner;
        let (start_unix_ms, end_unix_ms, step_ms) = asked.times.bounds();
        let active = shared.queries.begin(
            &shared.app,
            wire::AskedQuery {
                query: asked.query.clone(),
                path: asked.path,
                start_unix_ms,
                end_unix_ms,
                step_ms,
                client: asked.client.to_string(),
                began_unix_ms: shared.app.clock.unix_ms(),
            },
        );
        let mut took = Took { queue: turn.waited, ..Took::default() };
        let evaluation = Evaluation { shared, asked: &asked, turn, took: &mut took };
        let written = write(turn, evaluation);
        took.memory_bytes = turn.memory.peak_bytes();
        match &written {
            Ok((_, bytes)) => took.answer_bytes = *bytes as u64,
            Err(error) => error.reason().clone_into(&mut took.error),
        }
        if !turn.is_given_up() {
            active.end(took);
        }
        written.map(|(answer, _)| answer)
    };
    shared.gate.run_query(&client, key, timeout, work).await?
}

fn evaluate(
    shared: &Shared,
    asked: &Asked,
    turn: &Turn,
    took: &mut Took,
    emit: Option<Emit<'_>>,
) -> Result<Evaluated, QueryError> {
    let app = &shared.app;
    let clock = Arc::clone(&app.clock);
    let stopwatch: Stopwatch = Arc::new(move || clock.monotonic().0);
    let begun_ns = stopwatch();
    let seconds_since =
        |then_ns: u64| Duration::from_nanos(stopwatch().saturating_sub(then_ns)).as_secs_f64();
    let expr = vedette_promql::parse(&asked.query)?;
    let engine = match asked.lookback_ms.filter(|ms| *ms > 0) {
        Some(lookback_ms) => &Engine::new(EngineConfig { lookback_ms, ..app.engine.config() }),
        None => app.engine.as_ref(),
    };
    let limits = Limits { samples_max: shared.config.query_samples_max, ..Limits::default() };
    // A query log tells how many samples queries looked at.
    let logged = app.query_log.as_ref().is_some_and(|log| log.wants_all());
    let observer = (asked.observed || logged).then(|| {
        Observer::new(&expr, asked.times.count().min(limits.steps_max as usize + 1), Arc::clone(&stopwatch))
    });
    let cancel = match &observer {
        Some(observer) => &turn.cancel.clone().with_observer(Arc::clone(observer)),
        None => &turn.cancel,
    };
    let prepared_ns = stopwatch();
    let notes = Arc::<Notes>::default();
    let noting = app.series.noting(&notes);
    let reader = noting.as_deref().unwrap_or(app.series.as_ref());
    let cache = shared.cache.as_ref().filter(|_| asked.cached && !asked.observed);
    let handed_on = |ended: vedette_promql::Ended| QueryOutput {
        value: Value::Matrix(Vec::new()),
        warnings: ended.warnings,
        infos: ended.infos,
        stats: ended.stats,
    };
    let emit = emit.filter(|_| observer.is_none());
    let output = match (asked.times, cache) {
        (Times::At(time_ms), _) => engine.instant(reader, &expr, time_ms, &limits, cancel),
        (Times::Range(start_ms, end_ms, step_ms), cache) if let Some(emit) = emit => {
            let times = (start_ms, end_ms, step_ms);
            match cache {
                Some(cache) => {
                    let answered = cache.range_into(engine, reader, &expr, times, (&limits, cancel), emit);
                    answered.map(|(ended, steps_reused)| {
                        took.steps_reused = steps_reused;
                        handed_on(ended)
                    })
                }
                None => engine.range_into(reader, &expr, times, &limits, cancel, emit).map(handed_on),
            }
        }
        (Times::Range(start_ms, end_ms, step_ms), Some(cache)) => {
            cache.range(engine, reader, &expr, (start_ms, end_ms, step_ms), &limits, cancel).map(|cached| {
                took.steps_reused = cached.steps_reused;
                cached.output
            })
        }
        (Times::Range(start_ms, end_ms, step_ms), None) => {
            engine.range(reader, &expr, (start_ms, end_ms, step_ms), &limits, cancel)
        }
    };
    let queue_seconds = turn.waited.as_secs_f64();
    let (sort_ns, find_ns) =
        observer.as_ref().map_or((0, 0), |o| (o.sort_nanoseconds(), o.prepare_nanoseconds()));
    let result_sort_seconds = Duration::from_nanos(sort_ns).as_secs_f64();
    let found_seconds = Duration::from_nanos(find_ns).as_secs_f64();
    let samples: Vec<u64> = observer.as_ref().map_or_else(Vec::new, |o| o.queryable_samples());
    let mut stats = QueryStats {
        eval_total_seconds: seconds_since(begun_ns),
        result_sort_seconds,
        preparation_seconds: Duration::from_nanos(prepared_ns - begun_ns).as_secs_f64() + found_seconds,
        inner_eval_seconds: (seconds_since(prepared_ns) - result_sort_seconds - found_seconds).max(0.0),
        queue_seconds,
        total_seconds: queue_seconds + seconds_since(begun_ns),
        samples: samples.iter().sum(),
        samples_by_step: Some(asked.times.all().zip(samples).collect()),
        peak_samples: 0,
    };
    if let Ok(output) = &output {
        stats.peak_samples = output.stats.samples_peak;
        (took.series_read, took.samples_read) = (output.stats.series_selected, output.stats.samples_read);
    }
    took.stats = QueryStats { samples_by_step: None, ..stats.clone() };
    let observer = observer.filter(|_| asked.observed);
    Ok(Evaluated { output: output?, notes: notes.all(), expr, stats, observer })
}
