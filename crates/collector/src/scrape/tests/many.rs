//! Ten thousand targets on a clock of the test: scrapes spread over the interval, and do not drift however
//! late the thread wakes.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use tokio::sync::mpsc::unbounded_channel;
use vedette_http_client::Client;
use vedette_model::{ADDRESS_LABEL, Labels};
use vedette_scrape::{Target, TargetId};
use vedette_sys::{Clock, ManualClock, Random};

use super::{job, options};
use crate::scrape::{
    budget::Budget,
    clockwork::{Clockwork, Command},
    fetch::{Fetcher, Shared},
    inbox::Inbox,
    lane::{Spare, Work},
    metrics::Metrics,
    spec::{Live, Spec},
};

const TARGETS: usize = 10_000;
const INTERVAL_MS: i64 = 15_000;
const ROUNDS: i64 = 8;
const START_MS: i64 = 1_700_000_000_000;
/// How late the thread wakes at most.
const LATE_MS_MAX: i64 = 30;

fn targets(clock: &ManualClock, metrics: &Arc<Metrics>) -> Vec<Arc<Live>> {
    let job = Arc::new(job("scrape_interval: 15s"));
    let client = Client::new(&job.client, &options(Arc::new(clock.clone()))).unwrap();
    let shared = Shared {
        user_agent: "test".into(),
        body_bytes_max: 1,
        budget: Budget::new(1),
        spare: Arc::new(Spare::default()),
        metrics: metrics.clone(),
    };
    let fetcher = Arc::new(Fetcher::new(&job, client, &shared));
    let live = |number: usize| {
        let address = format!("10.0.{}.{}:9100", number / 250, number % 250);
        let found = Labels::from_pairs([(ADDRESS_LABEL, address.as_str())]);
        let target = Arc::new(Target::new(&job, &found).unwrap().unwrap());
        let id = target.id;
        // Nobody is asked: a pool in trouble begins scrapes as any other does.
        let pool_error = Some("of the test".to_owned());
        let (job, fetcher) = (job.clone(), fetcher.clone());
        Arc::new(Live::new(id, number % 2, Arc::new(Spec::new(job, target, fetcher, pool_error))))
    };
    (0..TARGETS).map(live).collect()
}

#[tokio::test]
async fn ten_thousand_targets_are_spread_and_do_not_drift() {
    let clock = ManualClock::at(START_MS * 1_000_000);
    let metrics = Arc::new(Metrics::default());
    let all = targets(&clock, &metrics);
    let (first, first_works) = Inbox::silent();
    let (second, second_works) = Inbox::silent();
    let clockwork = Clockwork::new(Arc::new(clock.clone()), metrics.clone(), vec![first, second], 7);
    let (commands, received) = unbounded_channel();
    for live in &all {
        commands.send(Command::Add(live.clone())).unwrap();
    }
    let running = tokio::spawn(clockwork.run(received));
    let nobody = all[0].id.in_job("nobody");
    let mut random = Random::new(1);
    let mut begun: HashMap<TargetId, Vec<i64>> = HashMap::new();
    let mut most_at_once = 0;
    while clock.unix_ms() < START_MS + ROUNDS * INTERVAL_MS {
        let late_ms = 1 + random.below(LATE_MS_MAX as u64);
        clock.advance(std::time::Duration::from_millis(late_ms));
        // A command wakes the thread, as its time on the machine's clock would.
        commands.send(Command::Remove(nobody)).unwrap();
        tokio::task::yield_now().await;
        let mut at_once = 0;
        for work in first_works.try_iter().chain(second_works.try_iter()) {
            let Work::Scraped(scraped) = work else { panic!("nothing ends") };
            scraped.live.is_busy.store(false, Ordering::Release);
            begun.entry(scraped.live.id).or_default().push(scraped.time_ms);
            at_once += 1;
        }
        most_at_once = most_at_once.max(at_once);
    }
    drop(commands);
    running.await.unwrap();
    assert_eq!((begun.len(), metrics.skipped.get(), metrics.late.get()), (TARGETS, 0, 0));

    let mut in_part = [0_u32; 100];
    for times in begun.values() {
        assert!(times.len() as i64 >= ROUNDS - 1, "{times:?}");
        // The earliest begin is the nearest to the planned place; none is further from it than the thread
        // was late, in the last round as in the first.
        let place = times.iter().map(|time| time.rem_euclid(INTERVAL_MS)).min().unwrap();
        let late = times.iter().map(|time| (time - place).rem_euclid(INTERVAL_MS));
        assert!(late.max().unwrap() <= LATE_MS_MAX || place < LATE_MS_MAX, "{times:?}");
        let steps = times.windows(2).map(|two| two[1] - two[0]);
        assert!(steps.clone().all(|step| (step - INTERVAL_MS).abs() <= LATE_MS_MAX), "{times:?}");
        in_part[usize::try_from(place * 100 / INTERVAL_MS).unwrap()] += 1;
    }
    // A hundred in each hundredth of the interval.
    assert!(in_part.iter().all(|count| (50..=160).contains(count)), "{in_part:?}");
    // No more begin together than come in the time by which the thread was late, twice over.
    let mean = TARGETS as i64 * LATE_MS_MAX / INTERVAL_MS;
    assert!(most_at_once <= 3 * mean, "{most_at_once} began at once, {mean} are due on average");
}
