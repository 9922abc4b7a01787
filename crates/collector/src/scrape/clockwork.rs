//! Begins each scrape at its time. One thread with a runtime of its own, which only waits and reads
//! sockets, so that nothing delays a beginning.
//!
//! The times of targets go by a clock that never jumps; that of a sample is the machine's, or the
//! planned one where the two agree, so that samples lie evenly.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rustix::net::{SendFlags, send};
use tokio::sync::mpsc::UnboundedReceiver;
use vedette_scrape::{Schedule, TargetId};
use vedette_sys::{Clock, MonotonicTime};

use super::{
    failure::Failure,
    inbox::Inbox,
    lane::{Scraped, Work},
    metrics::Metrics,
    spec::{Ask, Live},
};

/// How far the time of a sample may be moved to the planned one.
const TOLERANCE_NS_MAX: u64 = 2_000_000;
/// A later beginning is counted.
const LATE_NS: u64 = 50_000_000;
/// The longest sleep.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// What changes.
#[derive(Debug)]
pub(crate) enum Command {
    /// A target is to be scraped.
    Add(Arc<Live>),
    /// A target is gone. Its series end unless it comes back soon.
    Remove(TargetId),
    /// A scrape that is under way cannot go on over the connection that was kept.
    Ask(Arc<Live>, Ask),
}

/// Target, time of its last samples, and when these are written.
type Ending = Reverse<(u64, TargetId, i64)>;

/// The state of the thread.
pub(crate) struct Clockwork {
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    lanes: Vec<Arc<Inbox>>,
    /// Begins of the two clocks.
    begun: MonotonicTime,
    begun_ns: u64,
    schedule: Schedule,
    live: HashMap<TargetId, Arc<Live>>,
    ending: BinaryHeap<Ending>,
    /// Those whose series are about to end, and the number of their ending.
    gone: HashMap<TargetId, (Arc<Live>, u64)>,
    missed_told: u64,
    /// How many were asked, and until when each of those that were asked over a kept connection may
    /// take. The first is always one of which no answer is known.
    asks: u64,
    deadlines: BTreeMap<(u64, u64), Arc<Live>>,
}

impl Clockwork {
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        lanes: Vec<Arc<Inbox>>,
        seed: u64,
    ) -> Self {
        let (begun, begun_ns) = (clock.monotonic(), u64::try_from(clock.unix_ns()).unwrap_or(0));
        Self {
            clock,
            metrics,
            lanes,
            begun,
            begun_ns,
            schedule: Schedule::new(seed),
            live: HashMap::new(),
            ending: BinaryHeap::new(),
            gone: HashMap::new(),
            missed_told: 0,
            asks: 0,
            deadlines: BTreeMap::new(),
        }
    }

    /// Works until nobody can give commands any more. What is under way then is given up, and no
    /// series ends: whoever scrapes next goes on with them.
    pub(crate) async fn run(mut self, mut commands: UnboundedReceiver<Command>) {
        loop {
            let now = self.now_ns();
            while let Some((id, due_ns)) = self.schedule.take_due(now) {
                self.begin(id, due_ns);
            }
            self.end_late(now);
            self.end_series(now);
            let missed = self.schedule.missed();
            self.metrics.skipped.add(missed - self.missed_told);
            self.missed_told = missed;
            let ending = self.ending.peek().map(|Reverse((at, ..))| *at);
            let deadline = self.deadlines.keys().next().map(|(at, _)| *at);
            let next = self.schedule.next_ns().into_iter().chain(ending).chain(deadline).min();
            let sleep =
                next.map_or(SLEEP_MAX, |next| Duration::from_nanos(next.saturating_sub(self.now_ns())));
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                () = tokio::time::sleep(sleep.min(SLEEP_MAX)) => {}
            }
            while let Ok(command) = commands.try_recv() {
                self.obey(command);
            }
        }
    }

    /// The time by the schedule's clock.
    fn now_ns(&self) -> u64 {
        let passed = self.clock.monotonic().since(self.begun);
        self.begun_ns.saturating_add(u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX))
    }

    fn obey(&mut self, command: Command) {
        let now = self.now_ns();
        match command {
            Command::Add(live) => {
                // It is back: its series go on.
                self.gone.remove(&live.id);
                self.schedule.insert(live.id, live.spec().target.interval, now);
                self.live.insert(live.id, live);
            }
            Command::Remove(id) => {
                let Some(live) = self.live.remove(&id) else { return };
                // The target may come back under another name. So its series end with the time at which
                // it would have been scraped next, but only after that time has come twice.
                let interval = live.spec().target.interval.as_nanos();
                let interval = u64::try_from(interval).unwrap_or(u64::MAX);
                let next = self.schedule.next_of(id).unwrap_or(now);
                self.schedule.remove(id);
                let at = next.saturating_add(interval).saturating_add(interval / 10);
                let time_ms = i64::try_from(next / 1_000_000).unwrap_or(i64::MAX);
                self.ending.push(Reverse((at, id, time_ms)));
                self.gone.insert(id, (live, at));
            }
            Command::Ask(live, ask) => self.ask_anew(live, ask),
        }
        self.metrics.targets.set(self.live.len() as f64);
    }

    fn begin(&mut self, id: TargetId, due_ns: u64) {
        let Some(live) = self.live.get(&id) else { return };
        if live.is_busy.swap(true, Ordering::Acquire) {
            self.metrics.skipped.inc();
            return;
        }
        let late = self.now_ns().saturating_sub(due_ns);
        if late > LATE_NS {
            self.metrics.late.inc();
        }
        let spec = live.spec();
        let timeout = spec.target.timeout;
        let begun_ns = self.clock.unix_ns();
        let begun = self.clock.monotonic();
        let interval = u64::try_from(spec.target.interval.as_nanos()).unwrap_or(u64::MAX);
        let planned = i64::try_from(due_ns).unwrap_or(i64::MAX);
        let time_ns = if begun_ns.abs_diff(planned) <= TOLERANCE_NS_MAX.min(interval / 100) {
            planned
        } else {
            begun_ns
        };
        let time_ms = time_ns.div_euclid(1_000_000);
        self.asks += 1;
        let ask = Ask { number: self.asks, spec, time_ms, begun, begun_ns };
        let live = Arc::clone(live);
        if let Some(error) = &ask.spec.pool_error {
            let failure = Failure::Pool(error.clone());
            self.lanes[live.lane].send(Work::Scraped(Scraped::new(live, &ask, Err(failure))));
        } else if let Some(ask) = ask_over_kept(&live, ask) {
            self.ask_anew(live, ask);
        } else {
            let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
            let now = self.now_ns();
            self.deadlines.insert((now.saturating_add(timeout), self.asks), live);
        }
    }

    /// Asks a target over a new connection.
    fn ask_anew(&self, live: Arc<Live>, ask: Ask) {
        let lane = Arc::clone(&self.lanes[live.lane]);
        let left = ask.spec.target.timeout.saturating_sub(self.clock.monotonic().since(ask.begun));
        tokio::spawn(async move {
            let (answer, connection) = ask.spec.fetcher.fetch(&live, &ask.spec, left).await;
            if let Some(stream) = connection.and_then(|stream| stream.into_std().ok()) {
                lane.send(Work::Connected { live: Arc::clone(&live), stream });
            }
            lane.send(Work::Scraped(Scraped::new(live, &ask, answer)));
        });
    }

    /// Ends the scrapes whose time is over.
    fn end_late(&mut self, now: u64) {
        while let Some(first) = self.deadlines.first_entry() {
            let (at, number) = *first.key();
            // Whoever holds the lock is reading an answer: nothing here waits for that, and the lane looks
            // again whether it is still open.
            let kept = first.get().kept.try_lock();
            let is_open = kept.is_none_or(|kept| kept.ask.as_ref().is_some_and(|ask| ask.number == number));
            if is_open && at > now {
                break;
            }
            let live = first.remove();
            if is_open {
                self.lanes[live.lane].send(Work::TimedOut { live, number });
            }
        }
    }

    /// Ends the series of targets that did not come back.
    fn end_series(&mut self, now: u64) {
        while let Some(Reverse((at, id, time_ms))) = self.ending.peek().copied()
            && at <= now
        {
            self.ending.pop();
            if self.gone.get(&id).is_some_and(|(_, number)| *number == at)
                && let Some((live, _)) = self.gone.remove(&id)
            {
                self.lanes[live.lane].send(Work::Ended { live, time_ms });
            }
        }
    }
}

/// Sends the request over the connection that is kept; its lane reads the answer. Gives the scrape back
/// where that cannot be.
fn ask_over_kept(live: &Live, ask: Ask) -> Option<Ask> {
    let mut kept = live.kept.lock();
    let Some(request) = &ask.spec.request else {
        // The job has come to ask in another way.
        kept.stream = None;
        return Some(ask);
    };
    let Some(stream) = &kept.stream else { return Some(ask) };
    // A request is small, so it goes as a whole or not at all.
    if send(stream, request, SendFlags::NOSIGNAL).is_ok_and(|sent| sent == request.len()) {
        kept.ask = Some(ask);
        return None;
    }
    kept.stream = None;
    Some(ask)
}
