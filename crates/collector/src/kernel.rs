//! Runs the kernel sensor, if it can run, and hands its events on.

use std::{sync::Arc, time::Duration};

use vedette_ebpf::Sensor;
use vedette_host::ContainerIndex;
use vedette_model::{
    Event, Fact, Payload,
    status::{Health, Part},
};
use vedette_sys::Growth;

use crate::{
    Config, Surroundings, machine::LocalMachine, metrics::Metrics, proc_reader::ProcReader,
    process::ProcessTable, sender::Sender, stamp::Stamper, stop::Stop,
};

/// How long one wait for the kernel lasts at most; also how late bulk events may be.
const POLL: Duration = Duration::from_millis(200);
/// While events wait for their container, look again this soon.
const POLL_WAITING: Duration = Duration::from_millis(20);
/// Events in one batch.
const BATCH_EVENTS_MAX: usize = 4_096;
/// Between two accounts on the status board and of losses.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);
/// How long a loss stands on the status board after it has ended.
const LOSS_SHOWN: Duration = Duration::from_secs(300);

/// The thread's state.
pub struct Kernel {
    config: Config,
    surroundings: Surroundings,
    containers: ContainerIndex,
    metrics: Arc<Metrics>,
}

impl Kernel {
    /// Prepares; nothing is loaded yet.
    pub fn new(
        config: &Config,
        surroundings: Surroundings,
        containers: ContainerIndex,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { config: config.clone(), surroundings, containers, metrics }
    }

    /// Loads the sensor and delivers until told to stop.
    pub fn run(self, stop: &Stop) {
        let status = &self.surroundings.status;
        let Some(config) = &self.config.sensor else {
            status.post("sensor", Part::new(Health::Off, "switched off", "Set collect.sensor to auto."));
            return;
        };
        let sensor = match Sensor::start(config) {
            Ok(sensor) => sensor,
            Err(error) => {
                let reason = with_cause(&error);
                tracing::warn!(reason, "the kernel sensor is off");
                status.post("sensor", Part::new(Health::Off, reason, error.remedy()));
                return;
            }
        };
        self.surroundings.telemetry.register(sensor.metrics());
        self.metrics.sensor_up.set(1.0);
        if let Err(error) = self.deliver(sensor, stop) {
            let reason = with_cause(&error);
            tracing::error!(reason, "the kernel sensor stopped");
            status.post("sensor", Part::new(Health::Failed, reason, error.remedy()));
        }
        self.metrics.sensor_up.set(0.0);
    }

    fn deliver(&self, mut sensor: Sensor, stop: &Stop) -> Result<(), vedette_ebpf::Error> {
        let clock = &self.surroundings.clock;
        let proc_root = &self.config.host.proc_root;
        let mut processes =
            ProcessTable::new(Box::new(ProcReader::new(proc_root)), self.config.processes_max);
        processes.scan(ProcReader::new(proc_root).pids().into_iter());
        let machine = LocalMachine::new(self.containers.clone(), proc_root.clone());
        let mut stamper = Stamper::new(self.surroundings.host.clone(), Box::new(machine), processes);
        let mut sender = Sender::new(
            self.surroundings.sink.clone(),
            self.surroundings.origin("kernel"),
            self.config.waiting_events_max,
        );
        let mut events: Vec<Event> = Vec::new();
        let mut lost_before = 0;
        let mut growth = Growth::default();
        let mut status_due = clock.monotonic();
        let mut poll = POLL;
        while !stop.is_set() {
            let boot_ns = self.boot_unix_ns();
            // The wait for a container begins when the record is taken, not when the poll began.
            sensor.poll(poll, &mut |record| stamper.take(&record, boot_ns, clock.monotonic()))?;
            let waiting = !stamper.ready(clock.monotonic(), &mut events);
            poll = if waiting { POLL_WAITING } else { POLL };
            if clock.monotonic() >= status_due {
                status_due = vedette_sys::MonotonicTime(clock.monotonic().0 + nanos(STATUS_INTERVAL));
                let lost = self.account(&sensor, &stamper, &sender, &mut growth);
                if lost > lost_before {
                    events.push(self.loss(lost - lost_before));
                    lost_before = lost;
                }
            }
            self.hand_on(&mut events, &mut sender);
        }
        // What still waits for its container goes on as it is.
        stamper.ready(vedette_sys::MonotonicTime(u64::MAX), &mut events);
        self.hand_on(&mut events, &mut sender);
        Ok(())
    }

    fn hand_on(&self, events: &mut Vec<Event>, sender: &mut Sender) {
        if events.is_empty() {
            sender.retry(None, &self.metrics.events);
        }
        while !events.is_empty() {
            let rest = events.split_off(events.len().min(BATCH_EVENTS_MAX));
            let batch = std::mem::replace(events, rest);
            sender.send(Payload::Events(batch), None, &self.metrics.events);
        }
    }

    /// The kernel's clock for events counts from boot, suspension included.
    fn boot_unix_ns(&self) -> i64 {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        self.surroundings.clock.unix_ns() - (boot.tv_sec * 1_000_000_000 + boot.tv_nsec)
    }

    fn loss(&self, count: u64) -> Event {
        Event {
            id: 0,
            time_ns: self.surroundings.clock.unix_ns(),
            host: self.surroundings.host.clone(),
            container: None,
            process: None,
            fact: Fact::Loss { place: "kernel ring".into(), count },
        }
    }

    fn account(&self, sensor: &Sensor, stamper: &Stamper, sender: &Sender, growth: &mut Growth) -> u64 {
        let losses = sensor.losses();
        let seen: u64 = losses.classes.iter().map(|c| c.seen).sum();
        #[expect(clippy::cast_precision_loss, reason = "the table is bounded")]
        self.metrics.processes.set(stamper.processes() as f64);
        let losing = growth.is_recent(losses.total(), self.surroundings.clock.monotonic(), LOSS_SHOWN);
        let part = match (losing, sender.refusal()) {
            (_, Some(reason)) => Part::new(
                Health::Degraded,
                format!("the event store does not take events: {reason}"),
                "Events wait in memory up to a bound; see eventdb.",
            ),
            (false, None) => Part::ok(),
            (true, None) => Part::new(
                Health::Degraded,
                format!("{} of {seen} kernel events were lost since the start", losses.total()),
                "The machine made events faster than they could be read; findings around that time may be incomplete.",
            ),
        };
        let mut part = part.fact("events", seen).fact("processes", stamper.processes());
        for class in losses.classes {
            part = part.fact(class.class, format!("{} seen, {} lost", class.seen, class.dropped));
        }
        self.surroundings.status.post("sensor", part);
        losses.total()
    }
}

fn with_cause(error: &vedette_ebpf::Error) -> String {
    let cause = std::error::Error::source(error).map(|c| format!(": {c}")).unwrap_or_default();
    format!("{error}{cause}")
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
