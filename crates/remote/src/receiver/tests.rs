//! Sender and spool against a receiver that answers as it is told, on a clock and a disk of our own.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use vedette_model::{
    Batch, ExemplarSample, HistogramSample, Labels, MetricKind, MetricMetadata, NativeHistogram, Origin,
    Payload, RelabelAction, Row, Samples, SeriesDefinition, Sink, is_stale,
};
use vedette_sys::{Clock, ManualClock, SimFs};
use vedette_wire::remote_write::{Item, Point as Told, Request as Message};

use super::*;
use crate::spool::{Losses, SpoolConfig, SpoolReader};

const START_NS: i64 = 1_700_000_000_000_000_000;
const KEY: &str = "central";

fn target() -> Target {
    Target {
        key: KEY.into(),
        name: KEY.into(),
        url: "http://central/".into(),
        external_labels: Labels::empty(),
        relabel: Vec::new(),
        send_exemplars: true,
        send_native_histograms: true,
        message: WriteMessage::V1,
        queue: Queue {
            capacity: 500,
            max_shards: 8,
            min_shards: 1,
            max_samples_per_send: 100,
            batch_send_deadline: Duration::from_secs(5),
            min_backoff: Duration::from_millis(30),
            max_backoff: Duration::from_secs(5),
            retry_on_rate_limit: false,
            sample_age_limit: Duration::ZERO,
        },
        metadata: Metadata { send: true, send_interval: Duration::from_secs(60), max_samples_per_send: 2 },
    }
}

/// What a receiver was sent and took, by series; values by their bits.
type Taken = BTreeMap<String, Vec<(i64, u64)>>;

/// A whole: sender, spool, disk, and what the receiver got.
struct World {
    fs: SimFs,
    clock: ManualClock,
    config: SpoolConfig,
    target: Arc<Target>,
    metrics: Arc<ReceiverMetrics>,
    spool: Arc<Spool>,
    reader: SpoolReader,
    receiver: Receiver,
    random: Random,
    taken: Taken,
    metadata: BTreeMap<String, MetricKind>,
    starts: Vec<i64>,
    exemplars: usize,
    /// Requests under way, with the time of their answer.
    under_way: Vec<(u64, Attempt)>,
    latency: Duration,
    most_under_way: usize,
    most_in_memory: usize,
}

impl World {
    fn new(seed: u64, target: Target) -> Self {
        let config = SpoolConfig { bytes_max: 64 << 20, ..SpoolConfig::new("/spool") };
        Self::with(seed, target, config)
    }

    fn with(seed: u64, target: Target, config: SpoolConfig) -> Self {
        let fs = SimFs::new(seed);
        let clock = ManualClock::at(START_NS);
        let target = Arc::new(target);
        let (metrics, spool, reader, receiver) = open(&fs, &clock, &config, &target);
        Self {
            fs,
            clock,
            config,
            target,
            metrics,
            spool,
            reader,
            receiver,
            random: Random::new(seed),
            taken: Taken::new(),
            metadata: BTreeMap::new(),
            starts: Vec::new(),
            exemplars: 0,
            under_way: Vec::new(),
            latency: Duration::from_millis(20),
            most_under_way: 0,
            most_in_memory: 0,
        }
    }

    /// The process ends, and another one begins on the same disk.
    fn restart(&mut self) {
        assert_eq!(self.metrics.lost(), 0);
        self.fs.restart();
        let (metrics, spool, reader, receiver) = open(&self.fs, &self.clock, &self.config, &self.target);
        (self.metrics, self.spool, self.reader, self.receiver) = (metrics, spool, reader, receiver);
        self.under_way.clear();
    }

    /// Lets time pass; `answer` is the receiver.
    fn run(&mut self, time: Duration, answer: &mut dyn FnMut(&mut Random, &Attempt) -> Outcome) {
        let end = later(self.clock.monotonic(), time);
        loop {
            let now = self.clock.monotonic();
            while let Some(at) = self.under_way.iter().position(|(due, _)| *due <= now.0) {
                let (_, attempt) = self.under_way.swap_remove(at);
                let outcome = answer(&mut self.random, &attempt);
                if let Outcome::Answer(Answer { status: 200, .. }) = outcome {
                    self.note(&attempt);
                }
                self.receiver.answered(attempt.id, outcome, now);
            }
            self.pump();
            let next =
                self.under_way.iter().map(|(due, _)| *due).chain(self.receiver.deadline().map(|d| d.0)).min();
            let next = next.unwrap_or(u64::MAX).max(now.0 + 1);
            if next > end.0 {
                self.clock.advance(end.since(now));
                return;
            }
            self.clock.advance(Duration::from_nanos(next - now.0));
        }
    }

    /// What a sender does between two waits.
    fn pump(&mut self) {
        let (now, now_ms) = (self.clock.monotonic(), self.clock.unix_ms());
        while self.receiver.has_room() {
            let Ok(Some(record)) = self.reader.read() else { break };
            self.receiver.take(&record, now, now_ms);
        }
        while let Some(attempt) = self.receiver.poll(now, now_ms) {
            let latency = u64::try_from(self.latency.as_nanos()).unwrap();
            self.under_way.push((now.0 + self.random.below(latency.max(1)) + 1, attempt));
        }
        self.most_under_way = self.most_under_way.max(self.under_way.len());
        self.most_in_memory = self.most_in_memory.max(self.receiver.points_in_memory());
        // A disk that fails now costs repeats.
        let _ = self.spool.acknowledge(KEY, self.receiver.acknowledged());
    }

    /// Reads a request as a receiver does.
    fn note(&mut self, attempt: &Attempt) {
        let body = snap::raw::Decoder::new().decompress_vec(&attempt.body).unwrap();
        if attempt.message == WriteMessage::V2 {
            return self.note_v2(&body);
        }
        for item in Message::new(&body) {
            match item.unwrap() {
                Item::Metadata(told) => {
                    self.metadata.insert(told.family, told.kind);
                }
                Item::Series(series) => {
                    let labels: Vec<_> = series.labels().map(Result::unwrap).collect();
                    let key = shown(labels.into_iter());
                    for point in series.points() {
                        match point.unwrap() {
                            Told::Sample { time_ms, value } => self.note_value(&key, time_ms, value),
                            Told::Histogram(h) => {
                                let (time_ms, histogram) = h.decode().unwrap();
                                self.note_value(&key, time_ms, histogram.unwrap().sum);
                            }
                            Told::Exemplar(_) => self.exemplars += 1,
                        }
                    }
                }
            }
        }
    }

    fn note_value(&mut self, key: &str, time_ms: i64, value: f64) {
        self.taken.entry(key.to_owned()).or_default().push((time_ms, value.to_bits()));
    }

    fn note_v2(&mut self, body: &[u8]) {
        let request = fields(body);
        let symbols: Vec<&str> = request
            .iter()
            .filter(|(n, ..)| *n == 4)
            .map(|(_, _, bytes)| std::str::from_utf8(bytes).unwrap())
            .collect();
        assert_eq!(symbols[0], "");
        assert_eq!(symbols.len(), symbols.iter().collect::<std::collections::HashSet<_>>().len());
        for (_, _, series) in request.iter().filter(|(n, ..)| *n == 5) {
            let parts = fields(series);
            let refs = varints(parts[0].2);
            let text = |i: u64| symbols[usize::try_from(i).unwrap()];
            let key = shown(refs.chunks(2).map(|pair| (text(pair[0]), text(pair[1]))));
            for (number, _, bytes) in &parts[1..] {
                let inner = fields(bytes);
                let varint = |wanted| inner.iter().find(|(n, ..)| *n == wanted).map_or(0, |(_, v, _)| *v);
                match number {
                    2 => {
                        self.note_value(&key, varint(2) as i64, f64::from_bits(varint(1)));
                        self.starts.push(varint(3) as i64);
                    }
                    3 => {
                        self.note_value(&key, varint(15) as i64, f64::from_bits(varint(3)));
                        self.starts.push(varint(17) as i64);
                    }
                    4 => self.exemplars += 1,
                    5 => {
                        let kind = if varint(1) == 1 { MetricKind::Counter } else { MetricKind::Unknown };
                        self.metadata.insert(text(varint(3)).to_owned(), kind);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Fields of a message: number, number as a value, bytes.
fn fields(mut rest: &[u8]) -> Vec<(u64, u64, &[u8])> {
    let mut all = Vec::new();
    while !rest.is_empty() {
        let tag = varint(&mut rest);
        let (value, bytes) = match tag & 7 {
            0 => (varint(&mut rest), &rest[..0]),
            1 => {
                let (eight, after) = rest.split_first_chunk().unwrap();
                rest = after;
                (u64::from_le_bytes(*eight), &rest[..0])
            }
            _ => {
                let length = usize::try_from(varint(&mut rest)).unwrap();
                let (bytes, after) = rest.split_at(length);
                rest = after;
                (0, bytes)
            }
        };
        all.push((tag >> 3, value, bytes));
    }
    all
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for i in 0.. {
        let byte = rest[0];
        *rest = &rest[1..];
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn varints(mut bytes: &[u8]) -> Vec<u64> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        all.push(varint(&mut bytes));
    }
    all
}

fn shown<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    labels.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

fn open(
    fs: &SimFs,
    clock: &ManualClock,
    config: &SpoolConfig,
    target: &Arc<Target>,
) -> (Arc<ReceiverMetrics>, Arc<Spool>, SpoolReader, Receiver) {
    let metrics = Arc::new(ReceiverMetrics::default());
    let losses: Arc<Losses> = metrics.losses.clone();
    let fs = Arc::new(fs.clone());
    let (spool, _) =
        Spool::open(config.clone(), fs, Arc::new(clock.clone()), &[(KEY.to_owned(), losses)]).unwrap();
    let reader = spool.reader(KEY);
    let receiver =
        Receiver::new(target.clone(), metrics.clone(), spool.clone(), Random::new(5), clock.monotonic());
    (metrics, spool, reader, receiver)
}

/// Scrapes: batches of one sender, and what they say in all.
struct Scrapes {
    origin: Origin,
    seq: u64,
    series: u32,
    defined: bool,
    said: Taken,
    points: u64,
}

impl Scrapes {
    fn new(series: u32, epoch: u64) -> Self {
        let origin = Origin { tenant: "default".into(), cluster: "c".into(), source: "scrape".into(), epoch };
        Self { origin, seq: 0, series, defined: false, said: Taken::new(), points: 0 }
    }

    fn labels(n: u32) -> Labels {
        Labels::from_pairs([("__name__", "metric_total"), ("n", &n.to_string())])
    }

    /// One scrape; whether the spool took it.
    fn scrape(&mut self, world: &World) -> bool {
        let time_ms = world.clock.unix_ms();
        let defined = (0..self.series)
            .filter(|_| !self.defined)
            .map(|series| SeriesDefinition { series, labels: Self::labels(series) })
            .collect();
        let series: Vec<u32> = (0..self.series).collect();
        let values: Vec<f64> = series.iter().map(|n| f64::from(*n) + time_ms as f64).collect();
        let row = Row { time_ms, series, values: values.clone(), ..Row::default() };
        let samples = Samples { defined, rows: vec![row], ..Samples::default() };
        if world.spool.accept(&self.batch(samples)).is_err() {
            return false;
        }
        self.defined = true;
        self.seq += 1;
        for (n, value) in (0..self.series).zip(values) {
            let key = shown(Self::labels(n).iter());
            self.said.entry(key).or_default().push((time_ms, value.to_bits()));
            self.points += 1;
        }
        true
    }

    fn batch(&self, samples: Samples) -> Batch {
        Batch { origin: self.origin.clone(), seq: self.seq + 1, payload: Payload::Samples(samples) }
    }
}

fn ok() -> Outcome {
    Outcome::Answer(Answer { status: 200, ..Answer::default() })
}

fn status(status: u16, text: &str) -> Outcome {
    Outcome::Answer(Answer { status, text: text.into(), ..Answer::default() })
}

const SECONDS_15: Duration = Duration::from_secs(15);

#[test]
fn an_outage_of_ten_minutes_loses_nothing_and_keeps_the_order() {
    let mut world = World::new(1, target());
    let mut scrapes = Scrapes::new(300, 1);
    for _ in 0..8 {
        assert!(scrapes.scrape(&world));
        world.run(SECONDS_15, &mut |_, _| ok());
    }
    assert_eq!(world.spool.waiting(KEY), (0, Duration::ZERO));
    for i in 0..40 {
        assert!(scrapes.scrape(&world));
        world.run(SECONDS_15, &mut |random, _| match random.below(3) {
            0 => Outcome::Unreachable("connection refused".into()),
            1 => status(503, "starting"),
            _ => Outcome::Answer(Answer {
                status: 500,
                retry_after: Some(Duration::from_secs(20)),
                ..Answer::default()
            }),
        });
        assert!(world.receiver.trouble().is_some_and(|t| !t.is_loss));
        let (waiting, lag) = world.spool.waiting(KEY);
        assert_eq!((waiting, lag), (300 * (i + 1), SECONDS_15 * u32::try_from(i + 1).unwrap()));
    }
    // While the receiver is away one request at once asks for it.
    assert_eq!(world.receiver.limit, 1);
    world.most_under_way = 0;
    for _ in 0..8 {
        assert!(scrapes.scrape(&world));
        world.run(SECONDS_15, &mut |_, _| ok());
    }
    assert_eq!(world.taken, scrapes.said);
    assert_eq!(world.spool.waiting(KEY), (0, Duration::ZERO));
    assert!(world.receiver.trouble().is_none());
    assert_eq!(world.metrics.lost(), 0);
    assert_eq!(world.metrics.samples.get(), scrapes.points);
    assert!(world.most_under_way > 1, "what has waited is sent by several requests at once");
    let bound = (500 + 100) * 8 + 2 * 300;
    assert!(world.most_in_memory <= bound, "{} points in memory", world.most_in_memory);
    // All of it was sent, so nothing old is kept on disk.
    world.spool.maintain().unwrap();
    assert!(world.fs.used_bytes() < 400_000, "{}", world.fs.used_bytes());
}

#[test]
fn what_the_bounds_drop_is_counted_and_the_rest_arrives_in_order() {
    for (bytes_max, age_max) in [(40_000, 4 * 3600), (64 << 20, 240)] {
        let age_max = Duration::from_secs(age_max);
        let config = SpoolConfig { bytes_max, age_max, ..SpoolConfig::new("/spool") };
        let mut world = World::with(2, target(), config);
        let mut scrapes = Scrapes::new(300, 1);
        for _ in 0..40 {
            assert!(scrapes.scrape(&world));
            world.run(SECONDS_15, &mut |_, _| Outcome::Unreachable("no route".into()));
            world.spool.maintain().unwrap();
            assert!(world.fs.used_bytes() <= bytes_max + 30_000, "{}", world.fs.used_bytes());
        }
        world.run(SECONDS_15 * 4, &mut |_, _| ok());
        let losses = &world.metrics.losses;
        let lost = if bytes_max == 40_000 { losses.bytes.get() } else { losses.age.get() };
        assert!(lost > 0);
        assert_eq!(world.metrics.lost(), lost);
        assert_eq!(world.metrics.samples.get() + lost, scrapes.points);
        for (series, said) in &scrapes.said {
            let taken = &world.taken[series];
            assert!(is_part(taken, said), "{series}: another order");
            assert_eq!(said.last(), taken.last());
        }
    }
}

#[test]
fn a_full_disk_refuses_what_is_new_and_costs_nothing_that_was_taken() {
    let mut world = World::new(10, target());
    let mut scrapes = Scrapes::new(300, 1);
    for _ in 0..4 {
        assert!(scrapes.scrape(&world));
        world.run(SECONDS_15, &mut |_, _| Outcome::Unreachable("away".into()));
    }
    let waiting = world.spool.waiting(KEY).0;
    // The disk has room for half a record.
    world.fs.set_capacity(Some(world.fs.used_bytes() + 500));
    for _ in 0..4 {
        assert!(!scrapes.scrape(&world), "there was no room");
        world.run(SECONDS_15, &mut |_, _| Outcome::Unreachable("away".into()));
        let _ = world.spool.maintain();
    }
    assert_eq!(world.spool.waiting(KEY).0, waiting, "what was refused does not wait");
    // What was taken is sent although nothing can be noted, and the next scrape is taken with room.
    world.run(SECONDS_15, &mut |_, _| ok());
    assert_eq!(world.metrics.samples.get(), waiting);
    world.fs.set_capacity(None);
    for _ in 0..4 {
        assert!(scrapes.scrape(&world));
        world.run(SECONDS_15, &mut |_, _| ok());
    }
    assert_eq!(world.taken.len(), scrapes.said.len());
    for (series, said) in &scrapes.said {
        assert_eq!(firsts(&world.taken[series]), *said, "{series}");
    }
    assert_eq!((world.metrics.lost(), world.spool.waiting(KEY).0), (0, 0));
    // Nor does a kill before there is room change anything.
    world.fs.set_capacity(Some(world.fs.used_bytes() + 500));
    assert!(!scrapes.scrape(&world));
    world.restart();
    world.fs.set_capacity(None);
    let mut scrapes = Scrapes::new(300, 2);
    world.taken.clear();
    assert!(scrapes.scrape(&world));
    world.run(SECONDS_15, &mut |_, _| ok());
    assert_eq!(world.taken, scrapes.said);
}

#[test]
fn a_number_that_no_spool_gives_takes_no_memory() {
    let labels = Labels::from_pairs([("__name__", "up")]);
    let mut writer = crate::spool::record::Writer::default();
    writer.begin();
    writer.define(u32::MAX - 7, &labels);
    writer.define(3, &labels);
    let record = writer.finish(1, 0, &mut snap::raw::Encoder::new()).1.to_vec();
    let mut body = Vec::new();
    crate::spool::record::body(&record, &mut snap::raw::Decoder::new(), &mut body).unwrap();
    let mut table = SeriesTable::new(Labels::empty(), Vec::new(), 1, 7);
    for entry in crate::spool::record::Entries::new(&body) {
        let Entry::Definition { number, bytes, labels } = entry.unwrap() else { panic!("a definition") };
        table.define(number, bytes, labels);
    }
    assert_eq!(table.find(u32::MAX - 7), Found::Unknown);
    assert!(matches!(table.find(3), Found::Series(_)));
}

/// Whether all of `part` is in `whole`, in the same order.
fn is_part(part: &[(i64, u64)], whole: &[(i64, u64)]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|wanted| whole.any(|found| found == wanted))
}

/// Repeats left out, as a receiver leaves them out.
fn firsts(taken: &[(i64, u64)]) -> Vec<(i64, u64)> {
    let mut seen = HashMap::new();
    taken.iter().filter(|point| seen.insert(**point, ()).is_none()).copied().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever the receiver answers and whenever the process is killed: what the spool took arrives,
    /// in order, or is counted.
    #[test]
    fn nothing_that_was_taken_is_lost(seed in any::<u64>(), v2 in any::<bool>()) {
        survives(seed, v2);
    }
}

fn survives(seed: u64, v2: bool) {
    let message = if v2 { WriteMessage::V2 } else { WriteMessage::V1 };
    let mut world = World::new(seed, Target { message, ..target() });
    let mut random = Random::new(seed);
    let mut epoch = 1;
    let mut said = Taken::new();
    let mut scrapes = Scrapes::new(1 + u32::try_from(random.below(150)).unwrap(), epoch);
    for _ in 0..20 {
        match random.below(6) {
            0 => {
                // The disk fails once, or the machine kills the process.
                let at = world.fs.operations() + random.below(6);
                if random.one_in(2) { world.fs.fail_at(at) } else { world.fs.crash_at(at) }
            }
            1 => {
                for (series, points) in std::mem::take(&mut scrapes.said) {
                    said.entry(series).or_default().extend(points);
                }
                epoch += 1;
                scrapes = Scrapes::new(1 + u32::try_from(random.below(150)).unwrap(), epoch);
                world.restart();
            }
            _ => {}
        }
        scrapes.scrape(&world);
        let away = random.one_in(3);
        world.run(SECONDS_15, &mut |random, attempt| match random.below(8) {
            _ if away => Outcome::Unreachable("away".into()),
            0 => status(500, "oops"),
            1 => Outcome::Unreachable("reset".into()),
            2 if attempt.message == WriteMessage::V2 => status(415, "no"),
            3 if attempt.body.len() > 500 => status(413, "too much"),
            _ => Outcome::Answer(Answer {
                status: 200,
                written: Some(Written { samples: u64::MAX, histograms: u64::MAX, exemplars: u64::MAX }),
                ..Answer::default()
            }),
        });
        if world.fs.crashed() {
            for (series, points) in std::mem::take(&mut scrapes.said) {
                said.entry(series).or_default().extend(points);
            }
            epoch += 1;
            scrapes = Scrapes::new(1 + u32::try_from(random.below(150)).unwrap(), epoch);
            world.restart();
        }
    }
    world.fs.heal();
    let all = Written { samples: u64::MAX, histograms: u64::MAX, exemplars: u64::MAX };
    world.run(SECONDS_15 * 20, &mut |_, _| {
        Outcome::Answer(Answer { status: 200, written: Some(all), ..Answer::default() })
    });
    for (series, points) in scrapes.said {
        said.entry(series).or_default().extend(points);
    }
    assert_eq!(world.metrics.lost(), 0);
    assert_eq!(world.spool.waiting(KEY).0, 0);
    for (series, points) in &said {
        let taken = firsts(world.taken.get(series).map_or(&[], Vec::as_slice));
        // A batch that was written and not acknowledged, as the process was killed then, may be there.
        assert!(is_part(points, &taken), "{series}: {points:?} is not in {taken:?}");
    }
}

fn one_scrape(
    mut world: World,
    answer: &mut dyn FnMut(&mut Random, &Attempt) -> Outcome,
) -> (World, Scrapes) {
    let mut scrapes = Scrapes::new(250, 1);
    assert!(scrapes.scrape(&world));
    world.run(SECONDS_15 * 2, answer);
    (world, scrapes)
}

#[test]
fn a_receiver_without_2_0_gets_the_same_samples_by_1_0() {
    let v2 = Target { message: WriteMessage::V2, ..target() };
    for silent in [false, true] {
        let mut asked = 0;
        let (world, scrapes) = one_scrape(World::new(3, v2.clone()), &mut |_, attempt| {
            asked += 1;
            match attempt.message {
                WriteMessage::V2 if silent => status(204, ""),
                WriteMessage::V2 => status(415, "unsupported proto message"),
                WriteMessage::V1 => ok(),
            }
        });
        assert_eq!(world.taken, scrapes.said);
        assert_eq!((world.receiver.message(), world.metrics.lost()), (WriteMessage::V1, 0));
        assert!(world.receiver.fallback().is_some());
        assert!(asked > 3);
    }
}

#[test]
fn what_is_refused_is_given_up_and_counted_with_the_receivers_words() {
    let (world, _) = one_scrape(World::new(4, target()), &mut |_, _| status(400, "out of bounds\n"));
    assert_eq!(world.metrics.refused.get(), 250);
    assert_eq!(world.spool.waiting(KEY).0, 0);
    let trouble = world.receiver.trouble().unwrap();
    assert!(trouble.is_loss);
    assert_eq!(trouble.message, "status 400: out of bounds");

    // A receiver of 2.0 tells what it has stored all the same.
    let v2 = Target { message: WriteMessage::V2, ..target() };
    let (world, _) = one_scrape(World::new(4, v2), &mut |_, _| {
        let written = Some(Written { samples: 30, ..Written::default() });
        Outcome::Answer(Answer { status: 400, written, ..Answer::default() })
    });
    assert_eq!((world.metrics.refused.get(), world.metrics.samples.get()), (250 - 3 * 30, 90));
}

#[test]
fn too_many_requests_are_tried_again_only_where_that_is_wanted() {
    let (world, _) = one_scrape(World::new(5, target()), &mut |_, _| status(429, "slow down"));
    assert_eq!((world.metrics.rate_limited.get(), world.metrics.samples.get()), (250, 0));
    let mut patient = target();
    patient.queue.retry_on_rate_limit = true;
    let mut answers = 0;
    let mut asked_at = Vec::new();
    let mut world = World::new(5, patient);
    let clock = world.clock.clone();
    let mut scrapes = Scrapes::new(50, 1);
    scrapes.scrape(&world);
    world.run(SECONDS_15 * 4, &mut |_, _| {
        answers += 1;
        asked_at.push(clock.monotonic());
        let retry_after = Some(Duration::from_secs(20));
        if answers > 1 {
            ok()
        } else {
            Outcome::Answer(Answer { status: 429, retry_after, ..Answer::default() })
        }
    });
    assert_eq!((world.metrics.lost(), world.metrics.samples.get()), (0, 50));
    assert!(asked_at[1].since(asked_at[0]) >= Duration::from_secs(20), "the receiver's wish holds");
}

#[test]
fn requests_that_are_too_large_become_smaller() {
    let (world, scrapes) = one_scrape(World::new(6, target()), &mut |_, attempt| {
        if attempt.body.len() > 700 { status(413, "too large") } else { ok() }
    });
    assert_eq!(world.taken, scrapes.said);
    assert_eq!(world.metrics.lost(), 0);
    assert!(world.receiver.points_max < 100);
}

#[test]
fn samples_beyond_the_age_limit_are_not_sent() {
    let mut limited = target();
    limited.queue.sample_age_limit = Duration::from_secs(60);
    let mut world = World::new(7, limited);
    let mut scrapes = Scrapes::new(250, 1);
    for _ in 0..8 {
        scrapes.scrape(&world);
        world.run(SECONDS_15, &mut |_, _| Outcome::Unreachable("away".into()));
    }
    world.run(SECONDS_15, &mut |_, _| ok());
    let (taken, too_old) = (world.metrics.samples.get(), world.metrics.too_old.get());
    assert_eq!(taken + too_old, scrapes.points);
    assert!(taken >= 250 && too_old >= 4 * 250, "{taken} taken, {too_old} too old");
    assert_eq!(world.spool.waiting(KEY).0, 0);
}

fn rule(source: &str, regex: &str, action: RelabelAction) -> RelabelRule {
    let config = vedette_model::RelabelConfig {
        source_labels: vec![source.into()],
        regex: Some(regex.into()),
        action,
        ..vedette_model::RelabelConfig::default()
    };
    RelabelRule::new(config, vedette_model::NameScheme::Utf8).unwrap()
}

#[test]
fn everything_of_a_series_travels_with_its_labels() {
    for message in [WriteMessage::V1, WriteMessage::V2] {
        let target = Target {
            message,
            external_labels: Labels::from_pairs([("cluster", "east"), ("n", "never")]),
            relabel: vec![rule("n", "drop.*", RelabelAction::Drop)],
            ..target()
        };
        let mut world = World::new(8, target);
        let scrapes = Scrapes::new(0, 1);
        let time_ms = world.clock.unix_ms();
        let labels = |n: &str| Labels::from_pairs([("__name__", "metric_total"), ("n", n)]);
        let define = |series, n| SeriesDefinition { series, labels: labels(n) };
        let exemplar = Exemplar { labels: Labels::from_pairs([("trace_id", "abc")]), value: 1.0, time_ms };
        let samples = Samples {
            defined: vec![define(0, "a"), define(1, "b"), define(2, "dropped")],
            rows: vec![Row {
                time_ms,
                series: vec![2, 0],
                values: vec![7.0, 1.5],
                starts_ms: vec![0, time_ms - 1000],
                ..Row::default()
            }],
            histograms: vec![HistogramSample {
                time_ms,
                series: 1,
                start_ms: time_ms - 2000,
                histogram: Arc::new(NativeHistogram { sum: 4.0, ..NativeHistogram::stale() }),
            }],
            exemplars: vec![ExemplarSample { series: 0, exemplar }],
            metadata: vec![MetricMetadata {
                family: "metric".into(),
                kind: MetricKind::Counter,
                unit: String::new(),
                help: "Help.".into(),
            }],
            ..Samples::default()
        };
        world.spool.accept(&scrapes.batch(samples)).unwrap();
        let all = Written { samples: u64::MAX, histograms: u64::MAX, exemplars: u64::MAX };
        let mut good = |_: &mut Random, _: &Attempt| {
            Outcome::Answer(Answer { status: 200, written: Some(all), ..Answer::default() })
        };
        world.run(SECONDS_15 * 5, &mut good);
        // Its end, while the number goes to another series at once.
        let time_ms = world.clock.unix_ms();
        let ended = Samples {
            defined: vec![define(0, "c")],
            retired: vec![0],
            rows: vec![Row { time_ms, series: vec![0], values: vec![9.0], ..Row::default() }],
            ..Samples::default()
        };
        world.spool.accept(&Batch { seq: 2, ..scrapes.batch(ended) }).unwrap();
        world.run(SECONDS_15, &mut good);
        let key = |n: &str| format!("__name__=metric_total,cluster=east,n={n}");
        assert_eq!(world.taken.keys().cloned().collect::<Vec<_>>(), [key("a"), key("b"), key("c")]);
        let a = &world.taken[&key("a")];
        assert_eq!((a[0].1, is_stale(f64::from_bits(a[1].1))), (1.5_f64.to_bits(), true));
        assert_eq!(world.taken[&key("b")][0].1, 4.0_f64.to_bits());
        assert_eq!((world.exemplars, world.metrics.relabelled.get()), (1, 1));
        if message == WriteMessage::V1 {
            assert_eq!(world.metadata.get("metric"), Some(&MetricKind::Counter));
        } else {
            assert_eq!(world.metadata.get("Help."), Some(&MetricKind::Counter));
            assert!(world.starts.contains(&(START_NS / 1_000_000 - 1000)));
            assert!(world.starts.contains(&(START_NS / 1_000_000 - 2000)));
        }
        assert_eq!(world.metrics.lost(), 0);
    }
}

#[test]
fn series_that_come_and_go_do_not_fill_the_memory() {
    let mut world = World::new(9, target());
    let scrapes = Scrapes::new(0, 1);
    for round in 0..60_u32 {
        let time_ms = world.clock.unix_ms();
        let label = |n: u32| Labels::from_pairs([("__name__", format!("m{}", round * 200 + n))]);
        let samples = Samples {
            defined: (0..200).map(|n| SeriesDefinition { series: n, labels: label(n) }).collect(),
            rows: vec![Row { time_ms, series: (0..200).collect(), values: vec![1.0; 200], ..Row::default() }],
            retired: if round == 0 { Vec::new() } else { (0..200).collect() },
            ..Samples::default()
        };
        world.spool.accept(&Batch { seq: u64::from(round) + 1, ..scrapes.batch(samples) }).unwrap();
        world.run(SECONDS_15, &mut |_, _| ok());
    }
    assert_eq!(world.metrics.lost(), 0);
    assert_eq!(world.taken.len(), 60 * 200);
    // Every series but those of the last round got its value and its marker.
    assert_eq!(world.taken.values().filter(|points| points.len() == 2).count(), 59 * 200);
    assert!(world.receiver.series.symbols.len() < 10_000, "{}", world.receiver.series.symbols.len());
}
