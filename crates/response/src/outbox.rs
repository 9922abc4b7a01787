//! Where notifications wait: in memory, and in a synced log that brings them back.
//!
//! Invariants: a notification that `accept` took is either pending, delivered or counted as
//! lost; after any end of the process the pending ones are pending again, in their order. The
//! log holds two kinds of records, `docs/formats/outbox.md` describes them.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    path::Path,
    sync::Arc,
};

use vedette_sys::{Flush, Fs, LogConfig, LogError, RecordLog, Recovery};

/// A notification for one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Names this notification for ever; sent along, so that a receiver can tell repeats.
    pub id: String,
    /// Name of the receiver.
    pub receiver: String,
    /// The message: one JSON object in one line.
    pub body: Arc<[u8]>,
}

/// What opening the outbox found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Notifications that wait.
    pub pending: usize,
    /// Notifications that were dropped because their receiver is configured no more.
    pub orphaned: usize,
    /// What the log found.
    pub log: Recovery,
}

/// Why notifications were not taken.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// Nobody of that name is configured.
    #[error("there is no receiver {0:?}")]
    UnknownReceiver(String),
    /// It is no JSON object in one line, or it is too large; trying again cannot help.
    #[error("notification {id}: {reason}")]
    Invalid {
        /// Which.
        id: String,
        /// What is wrong.
        reason: String,
    },
    /// They could not be written. None of them was taken; the same call may succeed later.
    #[error("cannot keep notifications")]
    Write(#[source] LogError),
}

const ACCEPTED: u8 = 1;
const DONE: u8 = 2;

/// Ids remembered after delivery, so that a repeat is not delivered again.
const DONE_IDS_MAX: usize = 10_000;

/// Longest id.
const ID_BYTES_MAX: usize = 256;

/// The log is rewritten when it is larger than this and mostly of what is done.
const COMPACT_BYTES_MIN: u64 = 8 << 20;

/// Notifications that are written again with one sync.
const REWRITTEN_AT_ONCE: usize = 64;

pub struct Outbox {
    log: RecordLog,
    queue_max: usize,
    message_bytes_max: usize,
    next: u64,
    /// By receiver.
    queues: BTreeMap<String, Queue>,
    done_ids: VecDeque<u64>,
    done_set: HashSet<u64>,
    live_bytes: u64,
}

#[derive(Default)]
struct Queue {
    pending: BTreeMap<u64, Pending>,
    ids: HashSet<u64>,
}

struct Pending {
    intent: Intent,
    segment: u64,
}

impl Outbox {
    pub fn open(
        fs: Arc<dyn Fs>,
        folder: &Path,
        receivers: &[String],
        queue_max: usize,
        message_bytes_max: usize,
    ) -> Result<(Self, Recovered), LogError> {
        let config = LogConfig {
            segment_bytes_max: 4 << 20,
            // Id, receiver and lengths come on top of the message.
            record_bytes_max: message_bytes_max + 1024,
            flush: Flush::Always,
        };
        let mut queues: BTreeMap<String, Queue> =
            receivers.iter().map(|name| (name.clone(), Queue::default())).collect();
        let mut next = 1;
        let mut orphans = HashSet::new();
        let mut unreadable = 0_u64;
        let mut done_ids = VecDeque::new();
        let (log, recovery) = RecordLog::open(fs, folder, config, &mut |segment, record| {
            match decode(record) {
                Some(Record::Accepted(seq, intent)) => {
                    next = next.max(seq.saturating_add(1));
                    match queues.get_mut(&intent.receiver) {
                        Some(queue) => queue.push(seq, intent, segment),
                        None => {
                            orphans.insert(seq);
                        }
                    }
                }
                Some(Record::Done(seq)) => {
                    next = next.max(seq.saturating_add(1));
                    orphans.remove(&seq);
                    if let Some(pending) = queues.values_mut().find_map(|queue| queue.remove(seq)) {
                        done_ids.push_back(key(&pending.intent.id, &pending.intent.receiver));
                    }
                }
                // A later release may know further kinds; their loss costs at most a repeat.
                None => unreadable += 1,
            }
        })?;
        if unreadable > 0 {
            tracing::warn!(records = unreadable, "records of the outbox could not be read");
        }
        let pending = queues.values().map(|queue| queue.pending.len()).sum();
        let live_bytes =
            queues.values().flat_map(|q| q.pending.values()).map(|p| p.intent.body.len() as u64 + 64).sum();
        let recovered = Recovered { pending, orphaned: orphans.len(), log: recovery };
        let mut outbox = Self {
            log,
            queue_max,
            message_bytes_max,
            next,
            queues,
            done_ids: VecDeque::new(),
            done_set: HashSet::new(),
            live_bytes,
        };
        for id in done_ids {
            outbox.remember(id);
        }
        // Whatever nobody waits for any more need not be read at the next start.
        outbox.trim()?;
        Ok((outbox, recovered))
    }

    /// Takes notifications, all or none. Returns for each receiver how many old ones were lost
    /// to make room. A repeat of a pending or delivered id is taken and not delivered again.
    pub fn accept(&mut self, intents: &[Intent]) -> Result<BTreeMap<String, u64>, OutboxError> {
        for intent in intents {
            self.check(intent)?;
        }
        let mut fresh = Vec::new();
        let mut ids = HashSet::new();
        for intent in intents {
            let id = key(&intent.id, &intent.receiver);
            let known = self.done_set.contains(&id) || self.queues[&intent.receiver].ids.contains(&id);
            if !known && ids.insert(id) {
                fresh.push((self.next + fresh.len() as u64, intent));
            }
        }
        if fresh.is_empty() {
            return Ok(BTreeMap::new());
        }
        let records: Vec<Vec<u8>> = fresh.iter().map(|(seq, intent)| encode_accepted(*seq, intent)).collect();
        let segment = self.log.append_all(records.iter().map(Vec::as_slice)).map_err(OutboxError::Write)?;
        self.next += fresh.len() as u64;
        for (seq, intent) in fresh {
            self.live_bytes += intent.body.len() as u64 + 64;
            let queue = self.queues.get_mut(&intent.receiver).expect("BUG: checked above");
            queue.push(seq, intent.clone(), segment);
        }
        Ok(self.drop_oldest())
    }

    /// The oldest pending notification of a receiver that `fits`.
    pub fn first_pending(&self, receiver: &str, fits: impl Fn(u64) -> bool) -> Option<(u64, Intent)> {
        let (seq, pending) = self.queues.get(receiver)?.pending.iter().find(|(seq, _)| fits(**seq))?;
        Some((*seq, pending.intent.clone()))
    }

    /// Whether a notification still waits; it may have been lost meanwhile.
    pub fn is_pending(&self, receiver: &str, seq: u64) -> bool {
        self.queues.get(receiver).is_some_and(|queue| queue.pending.contains_key(&seq))
    }

    pub fn pending_len(&self, receiver: &str) -> usize {
        self.queues.get(receiver).map_or(0, |queue| queue.pending.len())
    }

    /// Marks a notification as delivered. Even when that cannot be written, it is not delivered
    /// again by this process.
    pub fn done(&mut self, receiver: &str, seq: u64) -> Result<(), LogError> {
        let Some(pending) = self.queues.get_mut(receiver).and_then(|queue| queue.remove(seq)) else {
            return Ok(());
        };
        self.live_bytes = self.live_bytes.saturating_sub(pending.intent.body.len() as u64 + 64);
        self.remember(key(&pending.intent.id, receiver));
        self.log.append(&encode_done(seq))?;
        self.trim()
    }

    pub fn bytes(&self) -> u64 {
        self.log.bytes()
    }

    fn check(&self, intent: &Intent) -> Result<(), OutboxError> {
        let invalid = |reason: String| Err(OutboxError::Invalid { id: intent.id.clone(), reason });
        if !self.queues.contains_key(&intent.receiver) {
            return Err(OutboxError::UnknownReceiver(intent.receiver.clone()));
        }
        if intent.id.is_empty()
            || intent.id.len() > ID_BYTES_MAX
            || !intent.id.bytes().all(|b| b.is_ascii_graphic())
        {
            return invalid("its id is not 1 to 256 visible ASCII characters".to_owned());
        }
        if intent.body.len() > self.message_bytes_max {
            return invalid(format!(
                "it has {} bytes, more than the {} that are taken",
                intent.body.len(),
                self.message_bytes_max
            ));
        }
        let is_object = intent.body.first() == Some(&b'{') && !intent.body.contains(&b'\n');
        if !is_object || serde_json::from_slice::<serde::de::IgnoredAny>(&intent.body).is_err() {
            return invalid("it is not one JSON object in one line".to_owned());
        }
        Ok(())
    }

    fn drop_oldest(&mut self) -> BTreeMap<String, u64> {
        let mut lost = BTreeMap::new();
        let mut records = Vec::new();
        for (receiver, queue) in &mut self.queues {
            while queue.pending.len() > self.queue_max {
                let seq = *queue.pending.keys().next().expect("BUG: it is not empty");
                let pending = queue.remove(seq).expect("BUG: just found");
                self.live_bytes = self.live_bytes.saturating_sub(pending.intent.body.len() as u64 + 64);
                records.push(encode_done(seq));
                *lost.entry(receiver.clone()).or_default() += 1;
            }
        }
        if !records.is_empty()
            && let Err(error) = self.log.append_all(records.iter().map(<[u8; 9]>::as_slice))
        {
            tracing::warn!(%error, "cannot write that notifications were lost; they may come again after a restart");
        }
        lost
    }

    fn remember(&mut self, id: u64) {
        self.done_ids.push_back(id);
        self.done_set.insert(id);
        if self.done_ids.len() > DONE_IDS_MAX
            && let Some(oldest) = self.done_ids.pop_front()
        {
            self.done_set.remove(&oldest);
        }
    }

    /// Removes segments that hold nothing pending; rewrites the pending ones when they hold on
    /// to a long log.
    fn trim(&mut self) -> Result<(), LogError> {
        if self.log.bytes() < COMPACT_BYTES_MIN {
            return Ok(());
        }
        let oldest = self.queues.values().flat_map(|q| q.pending.values()).map(|p| p.segment).min();
        match oldest {
            None => {
                let segment = self.log.start_segment()?;
                self.log.remove_before(segment)
            }
            Some(_) if self.log.bytes() > 4 * self.live_bytes.max(COMPACT_BYTES_MIN / 4) => {
                let segment = self.log.start_segment()?;
                let mut all: Vec<(&u64, &mut Pending)> =
                    self.queues.values_mut().flat_map(|q| &mut q.pending).collect();
                for some in all.chunks_mut(REWRITTEN_AT_ONCE) {
                    let records: Vec<Vec<u8>> =
                        some.iter().map(|(seq, p)| encode_accepted(**seq, &p.intent)).collect();
                    let segment = self.log.append_all(records.iter().map(Vec::as_slice))?;
                    some.iter_mut().for_each(|(_, pending)| pending.segment = segment);
                }
                self.log.remove_before(segment)
            }
            Some(oldest) => self.log.remove_before(oldest),
        }
    }
}

impl Queue {
    fn push(&mut self, seq: u64, intent: Intent, segment: u64) {
        self.ids.insert(key(&intent.id, &intent.receiver));
        // A rewritten log may show a record twice: the later one counts.
        self.pending.insert(seq, Pending { intent, segment });
    }

    fn remove(&mut self, seq: u64) -> Option<Pending> {
        let pending = self.pending.remove(&seq)?;
        self.ids.remove(&key(&pending.intent.id, &pending.intent.receiver));
        Some(pending)
    }
}

/// Stands for id and receiver where only equality counts.
fn key(id: &str, receiver: &str) -> u64 {
    let mut hash = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(&(id, receiver), &mut hash);
    std::hash::Hasher::finish(&hash)
}

enum Record {
    Accepted(u64, Intent),
    Done(u64),
}

fn encode_accepted(seq: u64, intent: &Intent) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + intent.id.len() + intent.receiver.len() + intent.body.len());
    out.push(ACCEPTED);
    out.extend_from_slice(&seq.to_le_bytes());
    for part in [intent.id.as_bytes(), intent.receiver.as_bytes(), &intent.body] {
        let length = u32::try_from(part.len()).expect("BUG: checked before");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(part);
    }
    out
}

fn encode_done(seq: u64) -> [u8; 9] {
    let mut out = [DONE; 9];
    out[1..].copy_from_slice(&seq.to_le_bytes());
    out
}

fn decode(record: &[u8]) -> Option<Record> {
    let (kind, rest) = record.split_first()?;
    let (seq, mut rest) = rest.split_first_chunk::<8>()?;
    let seq = u64::from_le_bytes(*seq);
    match *kind {
        DONE if rest.is_empty() => Some(Record::Done(seq)),
        ACCEPTED => {
            let mut part = || {
                let (length, tail) = rest.split_first_chunk::<4>()?;
                let (part, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
                rest = tail;
                Some(part)
            };
            let id = String::from_utf8(part()?.to_vec()).ok()?;
            let receiver = String::from_utf8(part()?.to_vec()).ok()?;
            let body = Arc::from(part()?);
            rest.is_empty().then_some(Record::Accepted(seq, Intent { id, receiver, body }))
        }
        _ => None,
    }
}

#[cfg(test)]
pub(crate) fn decodes(record: &[u8]) -> bool {
    decode(record).is_some()
}
