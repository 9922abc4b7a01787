//! The series of all senders, numbered once for the spool.
//!
//! A sender's number leads to the spool's number by one look-up. Whether a series was defined in the
//! segment that is written now is one comparison, so a known sample costs no look at its labels.

use std::{collections::HashMap, sync::Arc};

use vedette_model::{Labels, Origin};

/// More numbers than this are refused, as intake does.
pub(crate) const SERIES_MAX: u32 = 50_000_000;

/// A number that stands for nothing.
const NONE: u32 = u32::MAX;
/// A number that stands for a series that nobody wants.
const UNWANTED: u32 = u32::MAX - 1;

/// Whether some receiver wants a series.
pub type Wanted = dyn Fn(&Labels) -> bool + Send + Sync;

/// Series by the spool's numbers, and the numbers of each sender.
#[derive(Default)]
pub struct Dictionary {
    series: Vec<Series>,
    free: Vec<u32>,
    by_labels: HashMap<Labels, u32>,
    senders: HashMap<SenderKey, Sender>,
    /// Numbers that the batch that is taken now has defined, and what they led to before.
    replaced: Vec<(u32, u32)>,
    /// All series are wanted where it is absent.
    wanted: Option<Arc<Wanted>>,
}

/// Tenant, cluster and source.
pub type SenderKey = (String, String, String);

struct Series {
    labels: Labels,
    /// The segment in which it was defined last; 0 for none.
    segment: u64,
    /// The latest time of a sample of it.
    last_ms: i64,
    /// Senders' numbers that lead here.
    users: u32,
}

/// What is known of one sender.
#[derive(Default)]
pub struct Sender {
    epoch: u64,
    /// The batch taken last.
    pub last_seq: Option<u64>,
    /// The spool's numbers by the sender's.
    numbers: Vec<u32>,
}

impl Dictionary {
    /// A dictionary of series that are wanted; the others cost a number for their sender and nothing
    /// else.
    pub fn of(wanted: Option<Arc<Wanted>>) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Key of a sender, with a fresh state if it has started anew.
    pub fn enter(&mut self, origin: &Origin) -> SenderKey {
        let key = (origin.tenant.clone(), origin.cluster.clone(), origin.source.clone());
        let sender = self.senders.entry(key.clone()).or_default();
        if sender.epoch != origin.epoch {
            let old = std::mem::replace(sender, Sender { epoch: origin.epoch, ..Sender::default() });
            for number in old.numbers {
                self.release(number);
            }
        }
        key
    }

    pub fn sender(&mut self, key: &SenderKey) -> &mut Sender {
        self.senders.get_mut(key).expect("BUG: the sender has entered")
    }

    /// Gives a sender's number its series, until `roll_back` or for good with `commit`. `false` where
    /// the number is out of bounds.
    pub fn define(&mut self, key: &SenderKey, number: u32, labels: &Labels) -> bool {
        if number >= SERIES_MAX {
            return false;
        }
        let known = match self.by_labels.get(labels) {
            Some(known) => *known,
            None if self.wanted.as_ref().is_some_and(|wanted| !wanted(labels)) => UNWANTED,
            None => self.insert(labels.clone()),
        };
        self.hold(known);
        let numbers = &mut self.sender(key).numbers;
        let at = number as usize;
        if at >= numbers.len() {
            numbers.resize(at + 1, NONE);
        }
        let old = std::mem::replace(&mut numbers[at], known);
        self.replaced.push((number, old));
        true
    }

    /// What a number stood for before the batch that is taken now defined it anew, else what it
    /// stands for.
    pub fn before(&self, key: &SenderKey, number: u32) -> Option<u32> {
        let replaced = self.replaced.iter().find(|(replaced, old)| *replaced == number && *old != NONE);
        replaced.map(|(_, old)| *old).or_else(|| self.find(key, number))
    }

    /// The batch was taken: numbers in `ended` that it did not define anew lead nowhere any more.
    pub fn commit(&mut self, key: &SenderKey, ended: impl Iterator<Item = u32>) {
        for number in ended {
            if self.replaced.iter().any(|(replaced, _)| *replaced == number) {
                continue;
            }
            if let Some(slot) = self.sender(key).numbers.get_mut(number as usize) {
                let old = std::mem::replace(slot, NONE);
                self.release(old);
            }
        }
        for (_, old) in std::mem::take(&mut self.replaced) {
            self.release(old);
        }
    }

    /// The batch was not taken: all is as before.
    pub fn roll_back(&mut self, key: &SenderKey) {
        while let Some((number, old)) = self.replaced.pop() {
            let slot = &mut self.sender(key).numbers[number as usize];
            let new = std::mem::replace(slot, old);
            self.release(new);
        }
    }

    /// The spool's number for a sender's.
    #[inline]
    pub fn find(&self, key: &SenderKey, number: u32) -> Option<u32> {
        self.numbers(key).get(number as usize).copied().filter(|found| *found != NONE)
    }

    /// The spool's numbers of a sender, by its own; `u32::MAX` for none.
    pub fn numbers(&self, key: &SenderKey) -> &[u32] {
        self.senders.get(key).map_or(&[], |sender| &sender.numbers)
    }

    /// The latest time of a sample of the series.
    pub fn last_ms(&self, number: u32) -> i64 {
        self.series[number as usize].last_ms
    }

    /// Notes a sample. Whether the series was not defined in this segment yet; from now on it was.
    #[inline]
    pub fn enters_segment(&mut self, number: u32, segment: u64, time_ms: i64) -> bool {
        let series = &mut self.series[number as usize];
        series.last_ms = series.last_ms.max(time_ms);
        let enters = series.segment != segment;
        series.segment = segment;
        enters
    }

    /// The definition was not written after all.
    pub fn leaves_segment(&mut self, number: u32) {
        self.series[number as usize].segment = 0;
    }

    pub fn labels(&self, number: u32) -> &Labels {
        &self.series[number as usize].labels
    }

    /// Series that some sender uses.
    pub fn len(&self) -> usize {
        self.by_labels.len()
    }

    fn insert(&mut self, labels: Labels) -> u32 {
        let series = Series { labels: labels.clone(), segment: 0, last_ms: i64::MIN, users: 0 };
        let number = match self.free.pop() {
            Some(number) => {
                self.series[number as usize] = series;
                number
            }
            None => {
                self.series.push(series);
                u32::try_from(self.series.len() - 1).expect("BUG: series are fewer than numbers")
            }
        };
        self.by_labels.insert(labels, number);
        number
    }

    fn hold(&mut self, number: u32) {
        if number == UNWANTED {
            return;
        }
        self.series[number as usize].users += 1;
    }

    fn release(&mut self, number: u32) {
        if number >= UNWANTED {
            return;
        }
        let series = &mut self.series[number as usize];
        series.users -= 1;
        if series.users == 0 {
            self.by_labels.remove(&series.labels);
            series.labels = Labels::empty();
            self.free.push(number);
        }
    }
}

/// Whether a number stands for a series that is spooled, and not for one that nobody wants.
#[inline]
pub fn is_wanted(number: u32) -> bool {
    number != UNWANTED
}

/// Whether a look-up in [`Dictionary::numbers`] found something.
#[inline]
pub fn is_known(number: u32) -> bool {
    number != NONE
}
