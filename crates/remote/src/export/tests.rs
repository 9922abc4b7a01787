//! Exporter and spool against a sink that answers as it is told, on a clock and a disk of our own.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use vedette_model::{
    Matcher, Origin, Payload, Row, Samples, SeriesDefinition, stale_nan, telemetry::MetricVisitor,
};
use vedette_sys::{Clock, ManualClock, SimFs};

use super::{
    batch::{Batch as Documents, Delivery},
    encode::{Form, cadvisor::Dialect},
    *,
};
use crate::{sender::Queue, spool::SpoolReader};

mod shapes;

const START_NS: i64 = 1_700_000_000_000_000_000;
const KEY: &str = "there";

fn plan() -> ExportPlan {
    ExportPlan {
        selectors: vec![vec![
            Matcher::new(vedette_model::MatchOp::Regex, "__name__", "container_.+").expect("a pattern"),
        ]],
        interval: Duration::ZERO,
        batch: BatchLimits { samples: 20, bytes: 4096, age: Duration::from_secs(5) },
        backoff_min: Duration::from_millis(100),
        backoff_max: Duration::from_secs(5),
    }
}

fn objects() -> Encoder {
    let form = Form::Objects { lines: true, dialect: Dialect::Microseconds };
    Encoder::new(Shape::Vedette, form, "m1", &[])
}

/// Series, time and value of what a sink has.
type Kept = BTreeMap<(String, String), f64>;

/// Spool, exporter, disk, and what the sink has.
struct World {
    fs: SimFs,
    clock: ManualClock,
    spool: Arc<Spool>,
    plan: ExportPlan,
    metrics: Arc<ExportMetrics>,
    reader: SpoolReader,
    exporter: Exporter,
    random: Random,
    /// What the sink has, by the ids of documents: one that comes again is not there twice.
    ids: BTreeSet<u128>,
    kept: Kept,
    batch: u64,
    most_memory: f64,
}

impl World {
    fn new(seed: u64, plan: ExportPlan) -> Self {
        let fs = SimFs::new(seed);
        let clock = ManualClock::at(START_NS);
        let metrics = Arc::<ExportMetrics>::default();
        let (spool, reader, exporter) = Self::open(&fs, &clock, &plan, &metrics);
        Self {
            fs,
            clock,
            spool,
            plan,
            metrics,
            reader,
            exporter,
            random: Random::new(seed),
            ids: BTreeSet::new(),
            kept: Kept::new(),
            batch: 0,
            most_memory: 0.0,
        }
    }

    fn open(
        fs: &SimFs,
        clock: &ManualClock,
        plan: &ExportPlan,
        metrics: &Arc<ExportMetrics>,
    ) -> (Arc<Spool>, SpoolReader, Exporter) {
        let config = SpoolConfig { owner: "exports", bytes_max: 64 << 20, ..SpoolConfig::new("/spool") };
        let of = plan.clone();
        let wanted = Arc::new(move |labels: &Labels| of.selects(labels));
        let keys = [(KEY.to_owned(), metrics.losses.clone())];
        let (spool, _) =
            Spool::open_for(config, Arc::new(fs.clone()), Arc::new(clock.clone()), &keys, Some(wanted))
                .expect("opens");
        let random = Random::new(7);
        let exporter =
            Exporter::new(KEY.into(), plan.clone(), objects(), metrics.clone(), random, clock.monotonic());
        let reader = spool.reader(KEY);
        (spool, reader, exporter)
    }

    /// The process is killed and starts anew.
    fn restart(&mut self) {
        (self.spool, self.reader, self.exporter) =
            Self::open(&self.fs, &self.clock, &self.plan, &self.metrics);
    }

    /// Hands samples to the spool: name, container and value of each.
    fn put(&mut self, samples: &[(&str, &str, f64)]) {
        self.batch += 1;
        // Every batch defines its series again, under a number that may have stood for another.
        let define = |(at, (name, id, _)): (usize, &(&str, &str, f64))| SeriesDefinition {
            series: u32::try_from(at).expect("few"),
            labels: Labels::from_pairs([("__name__", *name), ("id", *id)]),
        };
        let row = Row {
            time_ms: self.clock.unix_ms(),
            series: (0..u32::try_from(samples.len()).expect("few")).collect(),
            values: samples.iter().map(|(.., value)| *value).collect(),
            ..Row::default()
        };
        let origin = Origin { tenant: "t".into(), cluster: "c".into(), source: "s".into(), epoch: 1 };
        let samples = Samples {
            defined: samples.iter().enumerate().map(define).collect(),
            rows: vec![row],
            ..Samples::default()
        };
        let batch = Batch { origin, seq: self.batch, payload: Payload::Samples(samples) };
        self.spool.accept(&batch).expect("taken");
    }

    /// Takes in what is in a document.
    fn keep(&mut self, documents: &Documents, at: usize) {
        assert!(documents.documents[at].points > 0);
        if !self.ids.insert(documents.documents[at].id) {
            return;
        }
        let text = std::str::from_utf8(documents.document(at)).expect("text");
        let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
        let id = value["labels"]["id"].as_str().expect("an id");
        let time = value["@timestamp"].as_str().expect("a time");
        for (name, value) in value["metrics"].as_object().expect("metrics") {
            let key = (format!("{name} {id}"), time.to_owned());
            let before = self.kept.insert(key, value.as_f64().expect("a number"));
            assert!(before.is_none(), "{name} {id} {time} came twice, under two ids");
        }
    }

    fn keep_all(&mut self, documents: &Documents) {
        for at in 0..documents.documents.len() {
            self.keep(documents, at);
        }
    }

    fn fill(&mut self) {
        while self.exporter.has_room() {
            let (now, now_ms) = (self.clock.monotonic(), self.clock.unix_ms());
            match self.reader.read().expect("readable") {
                Some(record) => self.exporter.take(&record, now, now_ms),
                None => break,
            }
        }
    }

    /// One attempt, answered as chance wants; with `calm` all is taken.
    fn step(&mut self, calm: bool) -> bool {
        self.fill();
        let now = self.clock.monotonic();
        let Some((id, batch)) = self.exporter.poll(now, self.clock.unix_ms()) else { return false };
        let limits = &self.plan.batch;
        let largest = (0..batch.documents.len()).map(|at| batch.document(at).len()).max().unwrap_or(0);
        assert!(batch.bytes.len() < limits.bytes + largest, "a batch holds one document too much at most");
        self.most_memory = self.most_memory.max(self.metrics.memory.get());
        let count = batch.documents.len();
        let delivery = match if calm { 0 } else { self.random.below(6) } {
            0 => {
                self.keep_all(&batch);
                Delivery::Taken
            }
            // The answer is lost on its way.
            1 => {
                self.keep_all(&batch);
                Delivery::Again { after: None, message: "lost".into() }
            }
            2 => Delivery::Again { after: Some(Duration::from_secs(2)), message: "busy".into() },
            3 => Delivery::TooLarge { message: "large".into() },
            _ => {
                let again: Vec<usize> = (0..count).filter(|_| self.random.one_in(3)).collect();
                for at in (0..count).filter(|at| !again.contains(at)) {
                    self.keep(&batch, at);
                }
                Delivery::Partly { refused: Vec::new(), again, message: "some".into() }
            }
        };
        // A batch of one that is too large is given up, which this sink does not want.
        let delivery = match delivery {
            Delivery::TooLarge { message } if count == 1 => Delivery::Again { after: None, message },
            other => other,
        };
        self.exporter.answered(id, delivery, now);
        let acknowledged = self.exporter.acknowledged();
        self.spool.acknowledge(KEY, acknowledged).expect("writes");
        true
    }

    /// Lets time pass until nothing waits.
    fn drain(&mut self, calm: bool) {
        for _ in 0..10_000 {
            while self.step(calm) {}
            if self.spool.waiting(KEY).0 == 0 {
                return;
            }
            self.clock.advance(Duration::from_secs(1));
        }
        panic!("{} samples wait for ever", self.spool.waiting(KEY).0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the sink answers and whenever the process is killed, every selected sample is there once.
    #[test]
    fn every_sample_is_there_once(seed in 0_u64..u64::MAX, rounds in 1_usize..30, containers in 1_usize..12) {
        let mut world = World::new(seed, plan());
        let mut expected = Kept::new();
        let names = ["container_a", "container_b", "node_c", "container_d"];
        let ids: Vec<String> = (0..containers).map(|n| format!("/c{n}")).collect();
        for round in 0..rounds {
            let mut samples = Vec::new();
            let time = vedette_wire::number::rfc3339(world.clock.unix_ns());
            for (at, id) in ids.iter().enumerate() {
                for name in names.iter().filter(|_| !world.random.one_in(4)).copied().collect::<Vec<_>>() {
                    let value = (round * 100 + at) as f64 + 0.25;
                    samples.push((name, id.as_str(), value));
                    if name != "node_c" {
                        expected.insert((format!("{name} {id}"), time.clone()), value);
                    }
                }
            }
            world.put(&samples);
            for _ in 0..world.random.below(3) {
                world.step(false);
            }
            if world.random.one_in(8) {
                world.restart();
            }
            world.clock.advance(Duration::from_millis(500));
        }
        world.drain(false);
        prop_assert_eq!(&world.kept, &expected);
        prop_assert_eq!(world.metrics.lost(), 0);
        // 12 containers of 3 samples are one record; two batches and it are in memory, at most.
        prop_assert!(world.most_memory < 64_000.0, "{} bytes in memory", world.most_memory);
    }
}

#[test]
fn what_is_refused_is_counted_and_passed_over() {
    let mut world = World::new(1, plan());
    world.put(&[("container_a", "/x", 1.0), ("container_b", "/x", 2.0), ("container_a", "/y", 3.0)]);
    world.clock.advance(Duration::from_secs(6));
    world.fill();
    let now = world.clock.monotonic();
    // It has waited for others only since it was read.
    assert!(world.exporter.poll(now, 0).is_none());
    world.clock.advance(Duration::from_secs(6));
    let now = world.clock.monotonic();
    let (id, batch) = world.exporter.poll(now, 0).expect("it is due");
    assert_eq!((batch.documents.len(), batch.points()), (2, 3));
    let message = String::from("mapping");
    world.exporter.answered(id, Delivery::Partly { refused: vec![0], again: vec![], message }, now);
    assert_eq!((world.metrics.refused.get(), world.metrics.samples.get(), world.metrics.lost()), (2, 1, 2));
    let mut view = View::default();
    world.exporter.show(&mut view);
    assert_eq!(view.trouble, Some(("mapping".into(), true)));
    let acknowledged = world.exporter.acknowledged();
    world.spool.acknowledge(KEY, acknowledged).expect("writes");
    assert_eq!(world.spool.waiting(KEY).0, 0);
}

#[test]
fn a_document_that_a_sink_calls_both_refused_and_late_is_given_up_once() {
    let mut world = World::new(1, plan());
    world.put(&[("container_a", "/x", 1.0), ("container_b", "/x", 2.0), ("container_a", "/y", 3.0)]);
    world.fill();
    world.clock.advance(Duration::from_secs(6));
    let (id, batch) = world.exporter.poll(world.clock.monotonic(), 0).expect("it is due");
    assert_eq!((batch.documents.len(), batch.points()), (2, 3));
    // There are no more than two.
    let odd =
        Delivery::Partly { refused: vec![9, 0, 0], again: vec![1, 0, 9, 1], message: String::from("odd") };
    world.exporter.answered(id, odd, world.clock.monotonic());
    assert_eq!((world.metrics.refused.get(), world.metrics.samples.get()), (2, 0));
    world.clock.advance(Duration::from_secs(60));
    let (id, rest) = world.exporter.poll(world.clock.monotonic(), 0).expect("the other one");
    assert_eq!((rest.documents.len(), rest.document(0)), (1, batch.document(1)));
    world.exporter.answered(id, Delivery::Taken, world.clock.monotonic());
    assert_eq!((world.metrics.refused.get(), world.metrics.samples.get()), (2, 1));
}

#[test]
fn a_document_that_is_too_large_by_itself_is_given_up_and_the_others_are_not() {
    let mut world = World::new(1, plan());
    world.put(&[("container_a", "/x", 1.0), ("container_a", "/y", 2.0), ("container_a", "/z", 3.0)]);
    world.fill();
    world.clock.advance(Duration::from_secs(6));
    let mut attempts = 0;
    while let Some((id, batch)) = world.exporter.poll(world.clock.monotonic(), 0) {
        attempts += 1;
        let is_large =
            (0..batch.documents.len()).any(|at| batch.document(at).windows(2).any(|two| two == b"/y"));
        let message = String::from("large");
        let delivery = if is_large { Delivery::TooLarge { message } } else { Delivery::Taken };
        world.exporter.answered(id, delivery, world.clock.monotonic());
    }
    assert_eq!((world.metrics.samples.get(), world.metrics.refused.get()), (2, 1));
    assert!(attempts <= 5, "{attempts}");
}

#[test]
fn a_sink_that_fails_is_left_alone_for_longer_and_longer_or_as_it_asks() {
    let mut world = World::new(3, plan());
    world.put(&[("container_a", "/x", 1.0)]);
    world.fill();
    world.clock.advance(Duration::from_secs(6));
    let mut waits = Vec::new();
    for _ in 0..10 {
        let now = world.clock.monotonic();
        let (id, _) = world.exporter.poll(now, 0).expect("it is due");
        world.exporter.answered(id, Delivery::Again { after: None, message: "down".into() }, now);
        assert!(world.exporter.poll(now, 0).is_none());
        let until = world.exporter.deadline().expect("it waits");
        waits.push(until.since(now));
        world.clock.advance(until.since(now));
    }
    assert!(waits[0] <= Duration::from_millis(100), "{waits:?}");
    assert!(waits[9] >= Duration::from_millis(2500) && waits[9] <= Duration::from_secs(5), "{waits:?}");
    let now = world.clock.monotonic();
    let (id, _) = world.exporter.poll(now, 0).expect("it is due");
    let after = Some(Duration::from_secs(30));
    world.exporter.answered(id, Delivery::Again { after, message: "busy".into() }, now);
    assert_eq!(world.exporter.deadline().expect("it waits").since(now), Duration::from_secs(30));
    assert_eq!(world.metrics.retried.get(), 11);
}

#[test]
fn of_an_interval_one_sample_is_exported() {
    let mut world = World::new(1, ExportPlan { interval: Duration::from_secs(10), ..plan() });
    for second in 0..25 {
        world.put(&[("container_a", "/x", f64::from(second))]);
        world.clock.advance(Duration::from_secs(1));
    }
    world.drain(true);
    let values: Vec<f64> = world.kept.values().copied().collect();
    assert_eq!(values, [0.0, 10.0, 20.0]);
    assert_eq!((world.metrics.thinned.get(), world.metrics.lost()), (22, 0));
}

#[test]
fn what_no_sink_takes_is_left_out() {
    let mut world = World::new(1, plan());
    world.put(&[
        ("container_a", "/x", f64::NAN),
        ("container_b", "/x", f64::INFINITY),
        ("container_c", "/x", stale_nan()),
        ("container_d", "/x", 4.0),
    ]);
    world.drain(true);
    assert_eq!(world.kept.into_values().collect::<Vec<_>>(), [4.0]);
    assert_eq!(world.metrics.not_finite.get(), 2);
}

#[test]
fn the_spool_takes_only_what_is_selected_and_knows_its_numbers() {
    let mut world = World::new(1, plan());
    world.put(&[("node_a", "/x", 1.0), ("container_a", "/x", 2.0), ("node_b", "/x", 3.0)]);
    assert_eq!(world.spool.taken(), 1);
    world.put(&[("node_a", "/x", 1.0)]);
    assert_eq!(world.spool.taken(), 1);
    world.drain(true);
    assert_eq!(world.kept.into_values().collect::<Vec<_>>(), [2.0]);
}

/// Names and values that were told.
#[derive(Default)]
struct Told(Vec<(String, f64)>);

impl MetricVisitor for Told {
    fn value(&mut self, family: &vedette_model::telemetry::Family, _: &[(&str, &str)], value: f64) {
        self.0.push((family.name.to_owned(), value));
    }
}

#[test]
fn all_is_shown_in_the_metrics() {
    use vedette_model::telemetry::MetricSource as _;
    let mut world = World::new(1, plan());
    world.put(&[("container_a", "/x", 1.0), ("container_b", "/x", 2.0)]);
    let exports = vec![(KEY.to_owned(), "file", world.metrics.clone())];
    let all = AllExports { spool: world.spool.clone(), lost: Default::default(), exports };
    let read = |name: &str| {
        let mut told = Told::default();
        all.visit(&mut told);
        let found = told.0.into_iter().filter(|(n, _)| n == name).map(|(_, value)| value);
        found.sum::<f64>()
    };
    assert_eq!(read("vedette_export_samples_pending"), 2.0);
    world.drain(true);
    assert_eq!(read("vedette_export_samples_pending"), 0.0);
    assert_eq!(read("vedette_export_samples_total"), 2.0);
    assert_eq!(read("vedette_export_documents_total"), 1.0);
    assert!(read("vedette_export_spool_size_bytes_max") > 0.0);
}
