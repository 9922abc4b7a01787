//! `cargo xtask fuzz promql-diff`: random queries over random series, answered by Prometheus and
//! by Vedette; answers that differ are made as small as they go and shown.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail};
use vedette_sys::Random;

use super::{
    answer::{Aspect, Difference, Order, Strictness, compare},
    explained::{Case, explain},
    grammar::Node,
    pair::{Connection, Pair, Reference, When, seconds},
    query::{self, Scope},
    world::{self, World},
};
use crate::run::target;

/// Queries over the same series; then come others.
const QUERIES_PER_WORLD: u64 = 2_500;
/// As many as there are processors on the machine for which the time is planned.
const CONNECTIONS: u64 = 2;
/// How often Prometheus is asked again where it differs: some of its answers depend on chance, and not
/// every one comes half of the time.
const ASKED_AGAIN: usize = 60;

/// How often a difference is asked again while it is made smaller.
const SHRINK_ASKS_MAX: u32 = 400;
/// More different findings in one respect than this nobody reads at once.
const FINDINGS_MAX: usize = 20;
/// Numbers that were summed in another order are the same to so many digits.
const TOLERANCE: f64 = 1e-9;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many queries; each is asked for one time and for a range.
    pub queries: u64,
    /// How long at most.
    pub limit: Option<Duration>,
    pub seed: u64,
    /// Only this query of the seed.
    pub only: Option<u64>,
    /// Leave out native histograms.
    pub floats: bool,
}

/// A difference, made small.
struct Finding {
    number: u64,
    query: String,
    shrunk: String,
    when: When,
    difference: Difference,
}

/// The same for differences that probably have one cause.
fn looks(difference: &Difference, query: &str) -> String {
    let Difference { aspect, theirs, ours } = difference;
    if says_enough(*aspect) {
        return format!("{aspect:?} {} {}", skeleton(theirs), skeleton(ours));
    }
    let query = if *aspect == Aspect::Tree { query.to_owned() } else { skeleton(query) };
    format!("{aspect:?} {query}")
}

/// Whether the texts alone say what differs.
fn says_enough(aspect: Aspect) -> bool {
    matches!(aspect, Aspect::Outcome | Aspect::ErrorType | Aspect::ErrorText | Aspect::Annotations)
}

/// What was seen.
#[derive(Default)]
struct Tally {
    questions: u64,
    refused: u64,
    empty: u64,
    unsteady: u64,
    /// Differences that came when there were enough findings.
    unshrunk: u64,
    explained: BTreeMap<&'static str, u64>,
    /// By what makes them look alike; how many there were of each.
    findings: BTreeMap<String, (Finding, u64)>,
}

/// Asks and compares; fails if there is a difference without a reason.
#[expect(clippy::disallowed_methods, reason = "the time that a developer gives is real")]
pub fn diff(options: &Options, vedette: &Path) -> Result<()> {
    let reference = Reference::find()?;
    let options = Options { floats: options.floats || reference.is_old(), ..options.clone() };
    let begun = std::time::Instant::now();
    let tally = Mutex::new(Tally::default());
    let (first, last) = options.only.map_or((0, options.queries), |n| (n, n + 1));
    let mut number = first;
    println!("promql-diff: seed {}", options.seed);
    while number < last {
        let world_number = number / QUERIES_PER_WORLD;
        let end = last.min((world_number + 1) * QUERIES_PER_WORLD);
        let world = World::new(options.seed.wrapping_add(world_number), !options.floats);
        let (series, samples) = world.size();
        println!("queries {number} to {end}: {series} series, {samples} samples");
        let pair = Pair::start(&reference, vedette, &target().join("peers/promql-diff"))?;
        world.send(&pair)?;
        let next = AtomicU64::new(number);
        let stop = AtomicBool::new(false);
        let work = || -> Result<()> {
            let mut asker = Asker { connection: pair.connection(), tally: &tally };
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let late = options.limit.is_some_and(|limit| begun.elapsed() > limit);
                if number >= end || late || stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                if let Err(error) = asker.query(number, &options) {
                    stop.store(true, Ordering::Relaxed);
                    return Err(error.context(format!("seed {} query {number}", options.seed)));
                }
            }
        };
        std::thread::scope(|scope| -> Result<()> {
            let workers: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|w| w.join().expect("BUG: a worker does not panic"))
        })?;
        number = end;
        if options.limit.is_some_and(|limit| begun.elapsed() > limit) {
            break;
        }
    }
    let tally = tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    tally.report(options.seed, begun.elapsed())
}

fn locked(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Tally {
    fn is_full(&self, aspect: Aspect) -> bool {
        self.findings.values().filter(|(f, _)| f.difference.aspect == aspect).count() >= FINDINGS_MAX
    }

    /// Whether such a difference is known, or there are too many already; counts it if so.
    fn has_seen(&mut self, difference: &Difference) -> bool {
        if says_enough(difference.aspect)
            && let Some((_, count)) = self.findings.get_mut(&looks(difference, ""))
        {
            *count += 1;
            return true;
        }
        let full = self.is_full(difference.aspect);
        self.unshrunk += u64::from(full);
        full
    }

    fn report(self, seed: u64, time: Duration) -> Result<()> {
        for (i, (finding, count)) in self.findings.values().enumerate() {
            println!(
                "\n#{} {:?}, {count} times; seed {seed} query {}",
                i + 1,
                finding.difference.aspect,
                finding.number
            );
            println!("  found:      {}", finding.query);
            println!("  shrunk:     {}", finding.shrunk);
            println!("  asked:      {}", describe(finding.when));
            println!("  Prometheus: {:.600}", finding.difference.theirs);
            println!("  Vedette:    {:.600}", finding.difference.ours);
        }
        println!();
        for (reason, count) in &self.explained {
            println!("explained {count} times: {reason}");
        }
        println!(
            "{} questions in {:.0} s, of which Prometheus refused {} and answered {} with nothing; it contradicted itself {} times",
            self.questions,
            time.as_secs_f64(),
            self.refused,
            self.empty,
            self.unsteady
        );
        let differences = self.unshrunk + self.findings.values().map(|f| f.1).sum::<u64>();
        println!("{} passed, {differences} failed, 0 skipped", self.questions - differences);
        if differences > 0 {
            bail!("{differences} answers differ from those of Prometheus, of {} kinds", self.findings.len());
        }
        Ok(())
    }
}

fn describe(when: When) -> String {
    let since = |ms: i64| format!("{}s", seconds(ms - world::FIRST_MS));
    match when {
        When::Formatted => "format_query".to_owned(),
        When::Parsed => "parse_query".to_owned(),
        When::At { time_ms } => format!("at {} (time={})", since(time_ms), seconds(time_ms)),
        When::Range { start_ms, end_ms, step_ms } => format!(
            "from {} to {} step {}s (start={}&end={})",
            since(start_ms),
            since(end_ms),
            seconds(step_ms),
            seconds(start_ms),
            seconds(end_ms)
        ),
    }
}

/// Asks with connections of its own.
struct Asker<'a> {
    connection: Connection,
    tally: &'a Mutex<Tally>,
}

impl Asker<'_> {
    fn query(&mut self, number: u64, options: &Options) -> Result<()> {
        let mut random = Random::new(options.seed.rotate_left(32) ^ number);
        let query = query::query(&mut random, Scope { histograms: !options.floats });
        let (at, range) = times(&mut random);
        for when in [at, range, When::Formatted, When::Parsed] {
            locked(self.tally).questions += 1;
            let Some(difference) = self.differs(&query, when, true)? else { continue };
            if locked(self.tally).has_seen(&difference) {
                continue;
            }
            let finding = self.shrink(number, query.clone(), when, difference)?;
            let key = looks(&finding.difference, &finding.shrunk);
            locked(self.tally).findings.entry(key).or_insert((finding, 0)).1 += 1;
        }
        Ok(())
    }

    /// The difference between the answers, if there is one without a reason.
    fn differs(&mut self, query: &Node, when: When, counts: bool) -> Result<Option<Difference>> {
        let text = query.to_string();
        let order = if matches!(when, When::At { .. }) { query::order(query) } else { Order::Any };
        let strictness = Strictness { tolerance: TOLERANCE, texts: true, order };
        let theirs = self.connection.ask_theirs(&text, when)?;
        let ours = self.connection.ask_ours(&text, when)?;
        if counts {
            let mut tally = locked(self.tally);
            tally.refused += u64::from(theirs["status"] != "success");
            tally.empty += u64::from(theirs["data"]["result"].as_array().is_some_and(Vec::is_empty));
        }
        let Err(difference) = compare(&theirs, &ours, strictness) else { return Ok(None) };
        let case = Case { query: &text, theirs: &theirs, ours: &ours, difference: &difference };
        if let Some(reason) = explain(&case) {
            if counts {
                *locked(self.tally).explained.entry(reason).or_default() += 1;
            }
            return Ok(None);
        }
        // Where chance decides, Prometheus gives another answer another time.
        for _ in 0..ASKED_AGAIN {
            let again = self.connection.ask_theirs(&text, when)?;
            if compare(&again, &ours, strictness).is_ok() || compare(&again, &theirs, strictness).is_err() {
                if counts {
                    locked(self.tally).unsteady += 1;
                }
                return Ok(None);
            }
        }
        Ok(Some(difference))
    }

    /// Takes things away as long as the answers differ in the same respect.
    fn shrink(&mut self, number: u64, query: Node, when: When, difference: Difference) -> Result<Finding> {
        let found = query.to_string();
        let (mut query, mut when, mut difference) = (query, when, difference);
        let mut asks = 0;
        'smaller: loop {
            let candidates = earlier(when)
                .into_iter()
                .map(|when| (query.clone(), when))
                .chain(query.smaller().into_iter().map(|query| (query, when)));
            for (smaller, when_smaller) in candidates {
                asks += 1;
                if asks > SHRINK_ASKS_MAX {
                    break 'smaller;
                }
                if let Some(found) = self.differs(&smaller, when_smaller, false)?
                    && alike(found.aspect, difference.aspect)
                {
                    (query, when, difference) = (smaller, when_smaller, found);
                    continue 'smaller;
                }
            }
            break;
        }
        Ok(Finding { number, query: found, shrunk: query.to_string(), when, difference })
    }
}

/// Whether one difference may have become the other by taking things away.
fn alike(one: Aspect, other: Aspect) -> bool {
    let values = |aspect| matches!(aspect, Aspect::Labels | Aspect::Times | Aspect::Values);
    one == other || values(one) && values(other)
}

/// Ranges inside a range.
fn earlier(when: When) -> Vec<When> {
    let When::Range { start_ms, end_ms, step_ms } = when else { return Vec::new() };
    let steps = (end_ms - start_ms) / step_ms;
    if steps == 0 {
        return if end_ms > start_ms {
            vec![When::Range { start_ms, end_ms: start_ms, step_ms }]
        } else {
            Vec::new()
        };
    }
    let middle_ms = start_ms + steps / 2 * step_ms;
    vec![
        When::Range { start_ms, end_ms: middle_ms, step_ms },
        When::Range { start_ms: middle_ms + step_ms, end_ms, step_ms },
    ]
}

/// A query without its numbers and matchers.
fn skeleton(query: &str) -> String {
    let (mut out, mut depth) = (String::new(), 0_u32);
    for c in query.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            '0'..='9' | '.' => {}
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

/// One time and one range: mostly among the samples, on the grid on which they lie.
fn times(random: &mut Random) -> (When, When) {
    let at = |random: &mut Random| -> i64 {
        if random.one_in(40) {
            let far = [0, 1, -60_000, 4_102_444_800_000, world::FIRST_MS - 86_400_000, 1_709_164_800_000];
            return far[random.below(far.len() as u64) as usize];
        }
        let grid = [15_000, 15_000, 5_000, 1_000, 1][random.below(5) as usize];
        let offset = random.below((world::SPAN_MS + 600_000) as u64) as i64 - 120_000;
        world::FIRST_MS + offset / grid * grid
    };
    let time_ms = at(random);
    let start_ms = at(random);
    let step_ms =
        [15_000, 15_000, 30_000, 60_000, 60_000, 7_000, 120_000, 1_000, 2_500][random.below(9) as usize];
    let end_ms = start_ms + step_ms * random.below(40) as i64 + random.below(2) as i64 * 700;
    (When::At { time_ms }, When::Range { start_ms, end_ms, step_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_halved_until_one_step_is_left() {
        let mut ranges = vec![When::Range { start_ms: 0, end_ms: 1_050, step_ms: 100 }];
        let mut single = Vec::new();
        while let Some(when) = ranges.pop() {
            let inner = earlier(when);
            if inner.is_empty() {
                let When::Range { start_ms, end_ms, .. } = when else { panic!("a range") };
                assert_eq!(start_ms, end_ms);
                single.push(start_ms);
            }
            ranges.extend(inner);
        }
        single.sort_unstable();
        assert_eq!(single, (0..=10).map(|i| i * 100).collect::<Vec<_>>());
    }

    #[test]
    fn queries_that_differ_in_numbers_look_alike() {
        assert_eq!(skeleton("sum(rate(a{x=\"1\"}[5m])) * 2.5"), skeleton("sum(rate(a[10m])) * 3"));
    }
}
