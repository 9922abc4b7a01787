//! The faults, and what must hold after each.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use vedette_model::MetricReader;
use vedette_sys::{Fs, Random};
use vedette_tsdb::{Error, Recovery, RefRow, Tsdb};

use super::{
    machine::{self, Answer, Machine},
    model::{Certain, Model},
    workload::Driver,
};

/// Steps of a workload, and those after something happened.
const STEPS: u64 = 26;
const STEPS_AFTER: u64 = 5;

/// Places of faults that are not at a certain operation.
const FULL_PLACES: u64 = 32;
const FLIP_PLACES: u64 = 24;
const LIE_PLACES: u64 = 24;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed, or the power lost, at a changing operation; often once more while
    /// the store is opened again.
    Crash,
    /// A changing operation fails, and perhaps those that follow.
    Error,
    /// A reading operation fails.
    Read,
    /// The disk is full from some number of bytes on, for a while.
    Full,
    /// Bits of a file are flipped while the store is closed.
    Flip,
    /// Syncs do nothing, or fail and cannot be made up for, and the power is lost.
    Lie,
}

/// All of them.
pub const FAULTS: [Fault; 6] =
    [Fault::Crash, Fault::Error, Fault::Read, Fault::Full, Fault::Flip, Fault::Lie];

impl Fault {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Error => "error",
            Self::Read => "read",
            Self::Full => "full",
            Self::Flip => "flip",
            Self::Lie => "lie",
        }
    }
}

/// One run of the simulation.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub seed: u64,
    pub fault: Fault,
    /// From 1 on.
    pub place: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--seed {} --fault {} --crash {}", self.seed, self.fault.name(), self.place)
    }
}

/// One case for each seed, to look at many.
#[allow(dead_code, reason = "for the test; the command looks at all cases of a seed")]
pub fn glance(seed: u64) -> Case {
    let mut random = Random::new(seed ^ 0x91a);
    let fault = FAULTS[random.below(FAULTS.len() as u64) as usize];
    let place = match fault {
        Fault::Crash | Fault::Error => 1 + random.below(200),
        Fault::Read => 1 + random.below(60),
        Fault::Full => 1 + random.below(FULL_PLACES),
        Fault::Flip => 1 + random.below(FLIP_PLACES),
        Fault::Lie => 1 + random.below(LIE_PLACES),
    };
    Case { seed, fault, place }
}

/// How many places a fault has in the workload of a seed.
pub fn places(seed: u64, fault: Fault) -> Result<u64, String> {
    let counted = |count: fn(&Machine) -> u64| {
        guarded(|| {
            let mut driver = Driver::new(Machine::new(seed), seed);
            driver.run(STEPS)?;
            Ok(count(&driver.machine))
        })
    };
    match fault {
        Fault::Crash | Fault::Error => counted(|machine| machine.fs.operations()),
        Fault::Read => counted(|machine| machine.fs.reads()),
        Fault::Full => Ok(FULL_PLACES),
        Fault::Flip => Ok(FLIP_PLACES),
        Fault::Lie => Ok(LIE_PLACES),
    }
}

/// Runs a case and says what does not hold.
pub fn run(case: Case) -> Result<(), String> {
    let Case { seed, fault, place } = case;
    guarded(|| match fault {
        Fault::Crash => crash(seed, place),
        Fault::Error => error(seed, place),
        Fault::Read => read_error(seed, place),
        Fault::Full => full(seed, place),
        Fault::Flip => flip(seed, place),
        Fault::Lie => lie(seed, place),
    })
}

/// A panic is a finding too.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(format!(
            "panic: {}",
            text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("of unknown cause")
        ))
    })
}

/// How a machine comes to be started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Kill,
    PowerLoss,
}

impl Ending {
    fn happen(self, machine: &Machine) {
        match self {
            Self::Kill => machine.fs.restart(),
            Self::PowerLoss => machine.fs.power_loss(),
        }
    }
}

fn crash(seed: u64, place: u64) -> Result<(), String> {
    let mut driver = Driver::new(Machine::new(seed), seed);
    driver.machine.fs.crash_at(place);
    driver.run(STEPS)?;
    let Driver { machine, model, .. } = driver;
    for (ending, turn) in [(Ending::Kill, 0), (Ending::PowerLoss, 1), (Ending::PowerLoss, 2)] {
        let chance = seed.wrapping_mul(1_000_003).wrapping_add(place * 3 + turn);
        let after = |error| format!("after {ending:?} {turn}: {error}");
        start_again(machine.fork(chance), model.clone(), ending, chance).map_err(after)?;
    }
    Ok(())
}

/// Starts a machine again, which may crash once more while the store opens, and sees that all is
/// there and goes on.
fn start_again(mut machine: Machine, model: Model, ending: Ending, seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    ending.happen(&machine);
    let mut certain = match ending {
        Ending::Kill => Certain::Acknowledged,
        Ending::PowerLoss => Certain::Synced,
    };
    if random.one_in(3) {
        machine.config.shards = 1 + random.below(3) as usize;
    }
    if random.one_in(2) {
        let again = if random.one_in(2) { Ending::Kill } else { Ending::PowerLoss };
        machine.fs.crash_at(machine.fs.operations() + 1 + random.below(8));
        drop(machine.open());
        again.happen(&machine);
        if again == Ending::PowerLoss {
            certain = Certain::Synced;
        }
    }
    let (store, recovery) = machine.open().map_err(|e| format!("does not open: {e:?}"))?;
    check_recovery(&recovery, certain)?;
    let answer = read_whole(&store)?;
    let mut driver = Driver::new(machine, seed);
    driver.model = model;
    driver.model.check(&answer.found, certain, driver.oldest_ms())?;
    driver.model.check_metadata(&store.metadata(None, 0), certain == Certain::Acknowledged)?;
    driver.take_for_true(store, &answer.found);
    go_on(driver, random)
}

/// Works on, and ends once more.
fn go_on(mut driver: Driver, mut random: Random) -> Result<(), String> {
    let went_on = |error| format!("going on: {error}");
    driver.run(STEPS_AFTER).map_err(went_on)?;
    let certain = match random.below(3) {
        0 => {
            driver.settle().map_err(went_on)?;
            Certain::Acknowledged
        }
        1 => {
            driver.check().map_err(went_on)?;
            Certain::Acknowledged
        }
        _ => Certain::Synced,
    };
    driver.store = None;
    if certain == Certain::Synced {
        driver.machine.fs.power_loss();
    } else {
        driver.machine.fs.restart();
    }
    let (store, recovery) = driver.machine.open().map_err(|e| format!("does not open again: {e:?}"))?;
    check_recovery(&recovery, if driver.damaged { Certain::Nothing } else { certain })?;
    let found = read_whole(&store)?.found;
    let again = |error| format!("opened again ({certain:?}): {error}");
    driver.model.check(&found, certain, driver.oldest_ms()).map_err(again)
}

/// A crash damages nothing but the unsynced end of a log.
fn check_recovery(recovery: &Recovery, certain: Certain) -> Result<(), String> {
    let sound = match certain {
        Certain::Acknowledged => recovery.notes.is_empty() && recovery.dropped_records == 0,
        Certain::Synced => recovery.notes.iter().all(|note| !note.contains(".segment")),
        Certain::Nothing => true,
    };
    if sound { Ok(()) } else { Err(format!("opened with {recovery:?}")) }
}

fn read_whole(store: &Tsdb) -> Result<Answer, String> {
    let answer = machine::read(store)?;
    match answer.damaged.first() {
        Some((_, error)) => Err(error.clone()),
        None => Ok(answer),
    }
}

fn error(seed: u64, place: u64) -> Result<(), String> {
    let mut random = Random::new(seed.wrapping_add(place << 32));
    let mut driver = Driver::new(Machine::new(seed), seed);
    driver.faults = true;
    let count = if random.one_in(2) { 1 } else { 1 + random.below(6) };
    driver.bursts = count > 1;
    (place..place + count).for_each(|operation| driver.machine.fs.fail_at(operation));
    driver.run(STEPS)?;
    driver.machine.fs.heal();
    after_faults(driver, random)
}

fn read_error(seed: u64, place: u64) -> Result<(), String> {
    let mut random = Random::new(seed.wrapping_add(place << 32));
    let mut driver = Driver::new(Machine::new(seed), seed);
    driver.faults = true;
    let count = 1 + random.below(2);
    (place..place + count).for_each(|operation| driver.machine.fs.fail_read_at(operation));
    driver.run(STEPS)?;
    driver.machine.fs.heal();
    after_faults(driver, random)
}

/// The faults are over: nothing is lost, and nothing stays wrong.
fn after_faults(mut driver: Driver, mut random: Random) -> Result<(), String> {
    driver.check()?;
    if random.one_in(2) {
        driver.settle()?;
    }
    driver.store = None;
    let ending = if random.one_in(2) { Ending::Kill } else { Ending::PowerLoss };
    let Driver { machine, model, bursts, .. } = driver;
    ending.happen(&machine);
    let (store, recovery) = machine.open().map_err(|e| format!("does not open: {e:?}"))?;
    if ending == Ending::Kill && !bursts {
        check_recovery(&recovery, Certain::Acknowledged)?;
    }
    let certain = if ending == Ending::Kill { Certain::Acknowledged } else { Certain::Synced };
    let found = read_whole(&store)?.found;
    let mut driver = Driver::new(machine, random.next_u64());
    driver.damaged = bursts;
    let opened = |error| format!("opened after the faults and {ending:?}: {error}");
    model.check(&found, certain, driver.oldest_ms()).map_err(opened)?;
    driver.model = model;
    driver.take_for_true(store, &found);
    go_on(driver, random)
}

fn full(seed: u64, place: u64) -> Result<(), String> {
    let mut random = Random::new(seed.wrapping_add(place << 32));
    let mut driver = Driver::new(Machine::new(seed), seed);
    driver.faults = true;
    // A whole workload takes some 20 KB.
    driver.machine.fs.set_capacity(Some(place * 300 + random.below(300)));
    driver.run(STEPS)?;
    driver.check()?;
    driver.machine.fs.set_capacity(None);
    after_faults(driver, random)
}

fn flip(seed: u64, place: u64) -> Result<(), String> {
    let mut random = Random::new(seed.wrapping_add(place << 32));
    let mut driver = Driver::new(Machine::new(seed), seed);
    driver.run(10 + random.below(STEPS))?;
    let Driver { machine, model, .. } = driver;
    machine.fs.restart();
    let files: Vec<_> =
        machine.fs.files().into_iter().filter(|f| machine.fs.read(f).is_ok_and(|d| !d.is_empty())).collect();
    if files.is_empty() {
        return Ok(());
    }
    let victim = &files[random.below(files.len() as u64) as usize];
    // Worse than a damaged file is none: what is found then must be found at least.
    let without = machine.fork(seed);
    without.fs.remove(victim).map_err(|e| e.to_string())?;
    let lower = without.open().map_err(|e| format!("does not open without {}: {e:?}", victim.display()))?;
    let lower = read_whole(&lower.0)?.found;
    let length = machine.fs.read(victim).map_err(|e| e.to_string())?.len();
    for _ in 0..1 + random.below(3) {
        let offset = random.below(length as u64) as usize;
        machine.fs.flip_bit(victim, offset, random.below(8) as u8).map_err(|e| e.to_string())?;
    }
    let (store, recovery) = machine.open().map_err(|e| format!("does not open: {e:?}"))?;
    let told = !recovery.notes.is_empty() || recovery.wal.dropped_bytes > 0 || recovery.dropped_records > 0;
    let answer = machine::read(&store)?;
    let mut driver = Driver::new(machine, seed);
    driver.model = model;
    let oldest = driver.oldest_ms();
    // Of two values of one sample that which came first may be lost.
    driver.model.check_values(&answer.found, Certain::Nothing, oldest)?;
    let is_damaged = |n: usize| answer.damaged.iter().any(|(damaged, _)| *damaged == n);
    let missing = driver.model.missing(&answer.found, Certain::Acknowledged, oldest);
    for key in missing.iter().filter(|key| !is_damaged(key.0)) {
        if !told {
            return Err(format!("{key:?} is missing, and nobody said so; {} was damaged", victim.display()));
        }
        if lower.contains_key(key) {
            return Err(format!("{key:?} is missing, though it did not lie in {}", victim.display()));
        }
    }
    driver.damaged = true;
    if answer.damaged.is_empty() {
        driver.take_for_true(store, &answer.found);
        return go_on(driver, random);
    }
    // Damage that reads found does not keep the store from going on.
    for _ in 0..8 {
        driver.machine.tick_ms(1_500);
        let reference = match store.series(&machine::labels(0)) {
            Ok(reference) => reference,
            Err(Error::SeriesLimit { .. }) => {
                store.maintain();
                continue;
            }
            Err(error) => return Err(error.to_string()),
        };
        let now = driver.machine.now_ms();
        let appended = store.append(&[RefRow::new(now, &[reference], &[1.0])]).map_err(|e| e.to_string())?;
        if appended.taken != 1 {
            return Err(format!("a sample after damage was not taken: {appended:?}"));
        }
        store.maintain();
    }
    if store.stats().problems.is_empty() {
        return Err("damage that reads found is not told on the status page".to_owned());
    }
    Ok(())
}

fn lie(seed: u64, place: u64) -> Result<(), String> {
    let mut random = Random::new(seed.wrapping_add(place << 32));
    let mut driver = Driver::new(Machine::new(seed), seed);
    if random.one_in(2) {
        driver.machine.fs.lie_one_in(Some(1 + random.below(4)));
    } else {
        // One that fails may be as bad: kernels take for written what they could not write.
        driver.faults = true;
        driver.bursts = true;
        driver.machine.fs.forget_unsynced();
        (0..20).for_each(|_| driver.machine.fs.fail_at(1 + random.below(200)));
    }
    driver.machine.fs.crash_at(1 + random.below(200));
    driver.run(STEPS)?;
    let Driver { machine, model, .. } = driver;
    machine.fs.lie_one_in(None);
    machine.fs.power_loss();
    let (store, recovery) = machine.open().map_err(|e| format!("does not open: {e:?}"))?;
    let answer = machine::read(&store)?;
    model.check_values(&answer.found, Certain::Nothing, i64::MIN)?;
    if !answer.damaged.is_empty() {
        // A page of a segment got lost; that is told whenever it is read.
        return Ok(());
    }
    let mut driver = Driver::new(machine, seed);
    driver.model = model;
    driver.damaged = true;
    driver.take_for_true(store, &answer.found);
    let told = |error| format!("opened with {recovery:?}: {error}");
    go_on(driver, random).map_err(told)
}
