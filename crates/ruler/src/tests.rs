//! Turns of the ruler on a simulated clock and disk, and the detection stage.

use std::{path::Path, sync::Arc, time::Duration};

use parking_lot::Mutex;
use vedette_alerting::{Alerting, Intent, Outcome, OutcomeSink, Outlet, Receiver, load};
use vedette_model::{
    Batch, Event, Fact, Finding, FindingState, Host, Labels, Origin, Payload, Rejected, Samples, Severity,
    Sink,
    status::{Health, StatusBoard},
};
use vedette_promql::{Engine, memory::MemoryReader};
use vedette_sys::{Fs, ManualClock, RealFs, SimFs};

use crate::{Config, Detect, DetectionStage, Parts, Ruler, RulerHandle, ruler::prepare, worker::Worker};

const RULES: &str = "
groups:
- name: g
  interval: 1s
  rules:
  - {record: 'up:twice', expr: up * 2}
  - {alert: Down, expr: up == 0}
";

const START_NS: i64 = 1_700_000_000_000_000_000;

/// A store that remembers, and can refuse.
#[derive(Default)]
struct Store {
    batches: Mutex<Vec<Batch>>,
    answer: Mutex<Option<Rejected>>,
}

impl Sink for Store {
    fn accept(&self, batch: &Batch) -> Result<(), Rejected> {
        let answer = self.answer.lock().clone();
        if let Some(answer) = answer {
            // Knows series again as soon as all are defined.
            if matches!(answer, Rejected::UnknownSeries(_)) {
                *self.answer.lock() = None;
            }
            return Err(answer);
        }
        self.batches.lock().push(batch.clone());
        Ok(())
    }
}

impl Store {
    fn samples(&self) -> Vec<Samples> {
        let batches = self.batches.lock();
        let samples = batches.iter().filter_map(|b| match &b.payload {
            Payload::Samples(s) => Some(s.clone()),
            Payload::Events(_) => None,
        });
        samples.collect()
    }
}

#[derive(Default)]
struct Hook {
    taken: Mutex<Vec<Intent>>,
    full: Mutex<bool>,
}

impl Outlet for Hook {
    fn offer(&self, intent: &Intent) -> bool {
        if *self.full.lock() {
            return false;
        }
        self.taken.lock().push(intent.clone());
        true
    }
}

struct World {
    clock: ManualClock,
    store: Arc<Store>,
    hook: Arc<Hook>,
    status: StatusBoard,
    fs: Arc<dyn Fs>,
    up: f64,
}

impl World {
    fn new(fs: Arc<dyn Fs>) -> Self {
        let (store, hook) = (Arc::default(), Arc::default());
        Self { clock: ManualClock::at(START_NS), store, hook, status: StatusBoard::default(), fs, up: 0.0 }
    }

    fn alerting() -> Alerting {
        let config =
            vedette_alerting::Config { receivers: vec![Receiver::all("hook")], ..Default::default() };
        Alerting::new(config, load("r", RULES).unwrap(), Arc::new(|| 0)).unwrap()
    }

    fn parts(&self) -> Parts {
        let mut reader = MemoryReader::new();
        for i in 0..600 {
            reader.push(&[("__name__", "up"), ("job", "a")], START_NS / 1_000_000 + i * 1000, self.up);
        }
        Parts {
            reader: Arc::new(reader),
            engine: Engine::default(),
            sink: self.store.clone(),
            outlet: self.hook.clone(),
            fs: self.fs.clone(),
            clock: Arc::new(self.clock.clone()),
            status: self.status.clone(),
        }
    }

    fn start(&self) -> (RulerHandle, Worker) {
        prepare(&config(Path::new("/state")), Self::alerting(), self.parts()).unwrap()
    }

    fn turns(&self, handle: &RulerHandle, worker: &mut Worker, count: u32) {
        for _ in 0..count {
            self.clock.advance(Duration::from_secs(1));
            worker.turn(handle.take_inbox());
        }
    }

    fn heard(&self) -> Vec<u64> {
        self.hook.taken.lock().iter().map(|i| i.id).collect()
    }
}

fn config(folder: &Path) -> Config {
    let origin = Origin { tenant: "default".into(), cluster: "h".into(), source: "ruler".into(), epoch: 0 };
    Config::new(folder, origin)
}

fn sim() -> SimFs {
    SimFs::new(1)
}

#[test]
fn messages_stay_until_delivered_over_restarts() {
    let world = World::new(Arc::new(sim()));
    let (handle, mut worker) = world.start();
    world.turns(&handle, &mut worker, 10);
    assert_eq!(world.heard(), [1]);
    // The process ends before the receiver answered.
    drop(worker);
    let (handle, mut worker) = world.start();
    world.turns(&handle, &mut worker, 2);
    assert_eq!(world.heard(), [1, 1], "handed on again");
    handle.report(1, Outcome::Delivered);
    world.turns(&handle, &mut worker, 2);
    drop(worker);
    let (handle, mut worker) = world.start();
    world.turns(&handle, &mut worker, 120);
    assert_eq!(world.heard(), [1, 1], "delivered once is enough");
    assert_eq!(handle.view().outstanding_intents, 0);
    assert_eq!(handle.metrics().intents_created.get(), 0);
}

#[test]
fn nothing_is_handed_on_before_the_state_is_on_disk() {
    let fs = sim();
    let world = World::new(Arc::new(fs.clone()));
    let (handle, mut worker) = world.start();
    fs.set_capacity(Some(0));
    world.turns(&handle, &mut worker, 20);
    assert!(world.heard().is_empty());
    assert!(handle.metrics().save_failures.get() > 0);
    let part = world.status.get("ruler").unwrap();
    assert_eq!(part.health, Health::Failed);
    assert!(part.message.contains("cannot be saved"), "{}", part.message);
    fs.set_capacity(None);
    world.turns(&handle, &mut worker, 2);
    assert_eq!(world.heard(), [1]);
    assert_eq!(world.status.get("ruler").unwrap().health, Health::Ok);
}

#[test]
fn a_full_outlet_is_asked_again() {
    let world = World::new(Arc::new(sim()));
    let (handle, mut worker) = world.start();
    *world.hook.full.lock() = true;
    world.turns(&handle, &mut worker, 10);
    assert!(world.heard().is_empty());
    *world.hook.full.lock() = false;
    world.turns(&handle, &mut worker, 1);
    assert_eq!(world.heard(), [1]);
}

#[test]
fn samples_are_sent_again_until_taken() {
    let world = World::new(Arc::new(sim()));
    let (handle, mut worker) = world.start();
    world.turns(&handle, &mut worker, 3);
    let before = world.store.samples().len();
    *world.store.answer.lock() = Some(Rejected::Retry("full".into()));
    world.turns(&handle, &mut worker, 3);
    assert_eq!(world.store.samples().len(), before);
    assert_eq!(world.status.get("ruler").unwrap().health, Health::Degraded);
    *world.store.answer.lock() = None;
    world.turns(&handle, &mut worker, 1);
    let samples = world.store.samples();
    let rows: usize = samples[before..].iter().map(|s| s.rows.len()).sum();
    assert_eq!(rows, 4, "one row for each second, none lost");
    let seqs: Vec<u64> = world.store.batches.lock().iter().map(|b| b.seq).collect();
    assert!(seqs.is_sorted_by(|a, b| a < b));
    // Known series are not defined again, but a receiver that started anew gets all of them.
    assert!(samples.last().unwrap().defined.is_empty());
    *world.store.answer.lock() = Some(Rejected::UnknownSeries(0));
    world.turns(&handle, &mut worker, 1);
    assert_eq!(world.store.samples().last().unwrap().defined.len(), 3);
}

#[test]
fn damage_is_told_and_survived() {
    let fs = sim();
    let world = World::new(Arc::new(fs.clone()));
    let (handle, mut worker) = world.start();
    world.turns(&handle, &mut worker, 10);
    worker.log.save(b"\x01garbage").unwrap();
    drop(worker);
    let (handle, mut worker) = world.start();
    assert_eq!(world.status.get("ruler.state").unwrap().health, Health::Degraded);
    world.turns(&handle, &mut worker, 10);
    assert_eq!(world.heard(), [1, 1]);
    worker.log.save(b"\xff").unwrap();
    drop(worker);
    let result = prepare(&config(Path::new("/state")), World::alerting(), world.parts());
    assert!(matches!(result, Err(crate::Error::Newer { .. })));
}

#[test]
fn the_state_does_not_grow_for_ever() {
    let world = World::new(Arc::new(sim()));
    let (_, mut worker) = world.start();
    let state = vec![7; 100_000];
    for _ in 0..200 {
        worker.log.save(&state).unwrap();
    }
    assert!(worker.log.bytes() < 6 << 20, "{}", worker.log.bytes());
}

fn event(fact: Fact) -> Event {
    let host = Arc::new(Host { name: "h".into(), id: String::new(), boot_id: String::new() });
    Event { id: 0, time_ns: START_NS, host, container: None, process: None, fact }
}

fn finding() -> Finding {
    let labels = Labels::from_pairs([("alertname", "shell"), ("severity", "critical")]);
    Finding {
        fingerprint: labels.stable_hash(),
        rule: "shell".into(),
        severity: Severity::Critical,
        title: "t".into(),
        description: "d".into(),
        labels,
        first_ns: START_NS,
        last_ns: START_NS,
        count: 1,
        state: FindingState::Firing,
        ancestry: Vec::new(),
        evidence: Vec::new(),
        event_ids: Vec::new(),
    }
}

fn events(seq: u64, facts: Vec<Fact>) -> Batch {
    let origin = config(Path::new("/")).origin;
    Batch { origin, seq, payload: Payload::Events(facts.into_iter().map(event).collect()) }
}

/// Finds in every container that starts, and has a fault.
struct Shells;

impl Detect for Shells {
    fn observe(&mut self, event: &Event, findings: &mut Vec<Finding>) {
        match event.fact {
            Fact::ContainerStart => findings.push(finding()),
            Fact::ContainerStop => panic!("a fault of the detector"),
            _ => {}
        }
    }

    fn expire(&mut self, now_ns: i64, findings: &mut Vec<Finding>) {
        findings.push(Finding { state: FindingState::Resolved, last_ns: now_ns, ..finding() });
    }
}

#[test]
fn findings_join_their_events_and_are_told_of() {
    let world = World { up: 1.0, ..World::new(Arc::new(sim())) };
    let (handle, mut worker) = world.start();
    let host = Arc::new(Host { name: "h".into(), id: String::new(), boot_id: String::new() });
    let origin = Origin { source: "detection".into(), ..config(Path::new("/")).origin };
    let stage = DetectionStage::new(Box::new(Shells), world.store.clone(), handle.clone(), origin, host);
    // The store is full: the sender sends the same batch again, and it is judged once.
    let batch = events(1, vec![Fact::PtyOpen { number: 1 }, Fact::ContainerStart, Fact::ContainerStop]);
    *world.store.answer.lock() = Some(Rejected::Retry("full".into()));
    assert!(stage.accept(&batch).is_err());
    *world.store.answer.lock() = None;
    stage.accept(&batch).unwrap();
    stage.accept(&events(2, vec![Fact::PtyOpen { number: 1 }])).unwrap();
    let kinds: Vec<Vec<&str>> = world
        .store
        .batches
        .lock()
        .iter()
        .map(|b| match &b.payload {
            Payload::Events(events) => events.iter().map(|e| e.fact.kind().as_str()).collect(),
            Payload::Samples(_) => Vec::new(),
        })
        .collect();
    assert_eq!(kinds, [vec!["pty_open", "container_start", "container_stop", "finding"], vec!["pty_open"]]);
    assert_eq!(handle.metrics().detection_panics.get(), 1);
    world.turns(&handle, &mut worker, 10);
    assert_eq!(handle.view().findings.len(), 1);
    assert_eq!(handle.view().findings[0].count, 1);
    handle.report(1, Outcome::Delivered);
    assert_eq!(world.hook.taken.lock()[0].notification.common_labels.get("alertname"), Some("shell"));
    stage.expire(START_NS + 20_000_000_000).unwrap();
    assert_eq!(world.store.batches.lock().iter().filter(|b| b.origin.source == "detection").count(), 1);
    world.turns(&handle, &mut worker, 100);
    assert_eq!(world.hook.taken.lock()[1].notification.status.as_str(), "resolved");
}

#[test]
fn a_batch_that_takes_the_number_of_one_given_up_is_itself() {
    let world = World::new(Arc::new(sim()));
    let (handle, _worker) = world.start();
    let host = Arc::new(Host { name: "h".into(), id: String::new(), boot_id: String::new() });
    let origin = Origin { source: "detection".into(), ..config(Path::new("/")).origin };
    let stage = DetectionStage::new(Box::new(Shells), world.store.clone(), handle.clone(), origin, host);
    *world.store.answer.lock() = Some(Rejected::Retry("full".into()));
    for fact in [Fact::PtyOpen { number: 1 }, Fact::ContainerStart] {
        assert!(stage.accept(&events(1, vec![fact])).is_err());
    }
    for second in 1..=3 {
        assert!(stage.expire(START_NS + second * 1_000_000_000).is_err());
    }
    *world.store.answer.lock() = None;
    stage.accept(&events(1, vec![Fact::PtyOpen { number: 2 }])).unwrap();
    stage.expire(START_NS + 4_000_000_000).unwrap();
    let stored: Vec<(String, u64, Vec<Fact>)> = world
        .store
        .batches
        .lock()
        .iter()
        .map(|b| match &b.payload {
            Payload::Events(e) => {
                (b.origin.source.clone(), b.seq, e.iter().map(|e| e.fact.clone()).collect())
            }
            Payload::Samples(_) => panic!("no samples were sent"),
        })
        .collect();
    assert_eq!(stored[0], ("ruler".to_owned(), 1, vec![Fact::PtyOpen { number: 2 }]));
    assert_eq!(
        (stored[1].0.as_str(), stored[1].1, stored[1].2.len()),
        ("detection", 1, 4),
        "no number is left out"
    );
    assert_eq!(handle.metrics().detection_events.get(), 3, "each was judged once");
}

/// A batch of one of several senders.
fn sent_by(source: &str, seq: u64, facts: Vec<Fact>) -> Batch {
    let batch = events(seq, facts);
    Batch { origin: Origin { source: source.into(), ..batch.origin }, ..batch }
}

#[test]
fn each_of_several_senders_is_judged_once_however_often_the_store_refuses() {
    let world = World::new(Arc::new(sim()));
    let (handle, _worker) = world.start();
    let host = Arc::new(Host { name: "h".into(), id: String::new(), boot_id: String::new() });
    let origin = Origin { source: "detection".into(), ..config(Path::new("/")).origin };
    let stage = DetectionStage::new(Box::new(Shells), world.store.clone(), handle.clone(), origin, host);
    *world.store.answer.lock() = Some(Rejected::Retry("full".into()));
    let senders = ["sensor", "cluster/a", "cluster/b"];
    for _ in 0..4 {
        for source in senders {
            assert!(stage.accept(&sent_by(source, 1, vec![Fact::ContainerStart])).is_err());
        }
    }
    assert_eq!(handle.metrics().detection_events.get(), 3, "each was judged once");
    // One gives its batch up; what it sends by the same number is judged, and the others wait on.
    assert!(stage.accept(&sent_by("sensor", 1, vec![Fact::PtyOpen { number: 1 }])).is_err());
    *world.store.answer.lock() = None;
    stage.accept(&sent_by("sensor", 1, vec![Fact::PtyOpen { number: 1 }])).unwrap();
    for source in &senders[1..] {
        stage.accept(&sent_by(source, 1, vec![Fact::ContainerStart])).unwrap();
        stage.accept(&sent_by(source, 2, vec![Fact::PtyOpen { number: 1 }])).unwrap();
    }
    assert_eq!(handle.metrics().detection_events.get(), 6);
    let batches = world.store.batches.lock();
    let lengths = batches.iter().map(|batch| match &batch.payload {
        Payload::Events(events) => events.len(),
        Payload::Samples(_) => 0,
    });
    assert_eq!(lengths.collect::<Vec<_>>(), [1, 2, 1, 2, 1], "findings stay with their events");
}

#[test]
fn batches_that_wait_are_bounded_and_the_oldest_goes_first() {
    let world = World::new(Arc::new(sim()));
    let (handle, _worker) = world.start();
    let host = Arc::new(Host { name: "h".into(), id: String::new(), boot_id: String::new() });
    let origin = Origin { source: "detection".into(), ..config(Path::new("/")).origin };
    let stage = DetectionStage::new(Box::new(Shells), world.store.clone(), handle.clone(), origin, host);
    *world.store.answer.lock() = Some(Rejected::Retry("full".into()));
    // By number: of 300 senders the last 256 are known. By events: of three large batches the last two.
    for (senders, size, kept) in [(300_u64, 1_usize, 256_u64), (3, 20_000, 2)] {
        let batch =
            |sender: u64| sent_by(&format!("{size}/{sender}"), 1, vec![Fact::PtyOpen { number: 1 }; size]);
        let judged = || handle.metrics().detection_events.get() / size as u64;
        (0..senders).for_each(|sender| assert!(stage.accept(&batch(sender)).is_err()));
        let before = judged();
        (senders - kept..senders).for_each(|sender| assert!(stage.accept(&batch(sender)).is_err()));
        assert_eq!(judged(), before, "what is kept is not judged again");
        assert!(stage.accept(&batch(0)).is_err());
        assert_eq!(judged(), before + 1, "what was forgotten is");
    }
}

#[test]
fn findings_beyond_the_bound_are_counted() {
    let world = World::new(Arc::new(sim()));
    let config = Config { findings_waiting_max: 2, ..config(Path::new("/state")) };
    let (handle, _worker) = prepare(&config, World::alerting(), world.parts()).unwrap();
    for _ in 0..5 {
        handle.observe_finding(finding());
    }
    assert_eq!(handle.metrics().findings_dropped.get(), 3);
}

#[test]
fn the_thread_starts_and_stops() {
    let folder = std::env::temp_dir().join(format!("vedette-ruler-{}", std::process::id()));
    let world = World::new(Arc::new(RealFs));
    let mut ruler = Ruler::start(&config(&folder), World::alerting(), world.parts()).unwrap();
    ruler.handle().observe_finding(finding());
    // The last turn takes what is in the inbox.
    ruler.stop();
    assert_eq!(ruler.handle().view().findings.len(), 1);
    std::fs::remove_dir_all(folder).unwrap();
}
