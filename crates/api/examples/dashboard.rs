//! Measures what a dashboard costs that moves along with the clock, with kept answers and without:
//! `cargo run --release -p vedette-api --example dashboard [REFRESHES]`. Prints for each query the CPU
//! time of one refresh either way, and their ratio.

use std::{sync::Arc, time::Duration};

use vedette_model::Labels;
use vedette_promql::{Cancel, Engine, Limits, RangeCache, parse};
use vedette_sys::{ManualClock, SimFs};
use vedette_tsdb::{RefRow, Tsdb};

const START_MS: i64 = 1_700_000_000_000;
const SERIES: usize = 500;
const SCRAPE_MS: i64 = 15_000;

const QUERIES: &[&str] = &[
    "sum(rate(requests_total[5m]))",
    "sum by (job) (rate(requests_total[1m]))",
    "topk(5, sum by (pod) (rate(requests_total[5m])))",
    "sum by (job) (rate(requests_total{code=\"500\"}[5m])) / sum by (job) (rate(requests_total[5m]))",
    "avg by (job) (temperature)",
    "quantile(0.9, max_over_time(temperature[10m]))",
];

/// CPU time of this process so far, in seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").expect("Linux tells it");
    let ns: f64 = stat.split(' ').next().and_then(|ns| ns.parse().ok()).expect("a number");
    ns / 1e9
}

fn main() {
    let refreshes: u32 = std::env::args().nth(1).map_or(20, |n| n.parse().expect("a number of refreshes"));
    let clock = Arc::new(ManualClock::at(START_MS * 1_000_000));
    let mut config = vedette_tsdb::Config::new("store");
    config.shards = 1;
    let (store, _) = Tsdb::open(config, Arc::new(SimFs::new(1)), clock.clone()).expect("opens");
    let refs: Vec<_> = (0..SERIES)
        .flat_map(|n| {
            let (job, pod, code) = (format!("j{}", n % 8), format!("p{}", n % 120), ["200", "500"][n % 2]);
            ["requests_total", "temperature"].map(|name| {
                let n = n.to_string();
                Labels::from_pairs([
                    ("__name__", name),
                    ("job", &job),
                    ("pod", &pod),
                    ("code", code),
                    ("n", &n),
                ])
            })
        })
        .map(|labels| store.series(&labels).expect("a series"))
        .collect();
    let mut now_ms = START_MS;
    let mut scrape = || {
        clock.advance(Duration::from_millis(SCRAPE_MS.unsigned_abs()));
        now_ms += SCRAPE_MS;
        let values: Vec<f64> =
            (0..refs.len()).map(|i| ((now_ms - START_MS) / 1000 * (i as i64 % 7 + 1)) as f64).collect();
        store.append(&[RefRow::new(now_ms, &refs, &values)]).expect("appends");
        if (now_ms - START_MS) % 60_000 == 0 {
            store.maintain();
        }
        now_ms
    };
    for _ in 0..6 * 240 {
        scrape();
    }
    let (engine, limits, cancel) = (Engine::default(), Limits::default(), Cancel::new());
    println!("{SERIES} series of each name, 6 h by 30 s, {refreshes} refreshes\n");
    println!("{:>10} {:>10} {:>7}  query", "off", "on", "ratio");
    let (mut off_all, mut on_all) = (0.0, 0.0);
    for query in QUERIES {
        let expr = parse(query).expect("parses");
        let cache = RangeCache::new(64 << 20, vedette_wire::number::push_value);
        let (mut off, mut on) = (0.0, 0.0);
        for refresh in 0..=refreshes {
            scrape();
            let end_ms = scrape() / 30_000 * 30_000;
            let times = (end_ms - 6 * 3_600_000, end_ms, 30_000);
            let begun = cpu_seconds();
            let plain = engine.range(&store, &expr, times, &limits, &cancel).expect("evaluates");
            let between = cpu_seconds();
            let cached = cache.range(&engine, &store, &expr, times, &limits, &cancel).expect("evaluates");
            let ended = cpu_seconds();
            assert!(plain.value == cached.output.value, "{query}");
            // The first one fills the cache.
            if refresh > 0 {
                off += between - begun;
                on += ended - between;
            }
        }
        let per = 1000.0 / f64::from(refreshes);
        println!("{:>7.2} ms {:>7.2} ms {:>6.1}x  {query}", off * per, on * per, off / on);
        (off_all, on_all) = (off_all + off, on_all + on);
    }
    println!("\nall together {:.1}x", off_all / on_all);
}
