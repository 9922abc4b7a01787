//! The samples of one series in the head, as bytes.
//!
//! For each sample a tag: in its low four bits the code of the value ([`crate::wal::values`]),
//! told by the value before, in its high four bits that of the time; then what the code of the
//! time asks for, then what that of the value asks for. A sample one step after the one before
//! and with its value is a tag of 0, followed by the number of such samples in a row (1 to 255).
//! The first sample of a stream has its whole time, and is told by 0.

use crate::wal::values::{self, Coded};

/// As far from the sample before as that from the one before it.
const STEP_SAME: u8 = 0;
/// The distance differs from the one before by 1, 2, 4 bytes.
const STEP_8: u8 = 1;
const STEP_16: u8 = 2;
const STEP_32: u8 = 3;
/// The whole time.
const TIME: u8 = 4;

/// The longest item: tag, whole time, whole value.
const ITEM_BYTES: usize = 17;

/// One encoded sample.
#[derive(Debug, Clone, Copy)]
pub struct Item {
    length: u8,
    bytes: [u8; ITEM_BYTES],
}

/// What the next sample of a stream is told by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {
    pub time_ms: i64,
    pub step_ms: u32,
    pub bits: u64,
}

impl State {
    /// The state after a sample of this time.
    fn advanced(self, time_ms: i64, bits: u64) -> Self {
        // Times grow, so 0 means that there is no step to be had.
        let step_ms = u32::try_from(time_ms.wrapping_sub(self.time_ms)).unwrap_or(0);
        Self { time_ms, step_ms, bits }
    }
}

impl Item {
    /// Tells a sample that is the first of its stream; `value` is told by 0.
    pub fn first(time_ms: i64, value: Coded) -> Self {
        Self::new(TIME, time_ms as u64, 8, value)
    }

    /// Tells a sample by the one before, whose bits `value` is told by. Gives the step too.
    pub fn next(before_ms: i64, step_ms: u32, time_ms: i64, value: Coded) -> (Self, u32) {
        let distance = time_ms.wrapping_sub(before_ms);
        let Ok(step) = u32::try_from(distance) else {
            return (Self::new(TIME, time_ms as u64, 8, value), 0);
        };
        let change = distance - i64::from(step_ms);
        let item = if change == 0 {
            Self::new(STEP_SAME, 0, 0, value)
        } else if change == i64::from(change as i8) {
            Self::new(STEP_8, change as u64, 1, value)
        } else if change == i64::from(change as i16) {
            Self::new(STEP_16, change as u64, 2, value)
        } else if change == i64::from(change as i32) {
            Self::new(STEP_32, change as u64, 4, value)
        } else {
            Self::new(TIME, time_ms as u64, 8, value)
        };
        (item, step)
    }

    fn new(time_code: u8, time: u64, time_bytes: usize, value: Coded) -> Self {
        let mut bytes = [0; ITEM_BYTES];
        bytes[0] = time_code << 4 | value.code;
        bytes[1..9].copy_from_slice(&time.to_le_bytes());
        bytes[1 + time_bytes..9 + time_bytes].copy_from_slice(&value.payload.to_le_bytes());
        Self { length: (1 + time_bytes + value.bytes()) as u8, bytes }
    }

    /// Whether the sample continues the run before it, if there is one.
    pub fn is_run(&self) -> bool {
        self.bytes[0] == 0
    }

    /// Its bytes, and how many of them count; for a run there follows the number of samples.
    pub fn bytes(&self) -> (&[u8; ITEM_BYTES], usize) {
        (&self.bytes, usize::from(self.length))
    }
}

/// Hands on the samples of a stream, as time and bits, until `each` says no. Gives the state
/// after the last one handed on, `None` when there was none.
#[inline]
pub fn decode(bytes: &[u8], mut each: impl FnMut(i64, u64) -> bool) -> Option<State> {
    let mut state = None;
    let mut at = 0;
    while at < bytes.len() {
        let before = state.unwrap_or(State { time_ms: 0, step_ms: 0, bits: 0 });
        let tag = bytes[at];
        at += 1;
        if tag == 0 {
            let mut run = before;
            for _ in 0..bytes[at] {
                run = run.advanced(run.time_ms.wrapping_add(i64::from(run.step_ms)), run.bits);
                state = Some(run);
                if !each(run.time_ms, run.bits) {
                    return state;
                }
            }
            at += 1;
            continue;
        }
        let mut take = |n: usize| {
            let value = read(bytes, at, n);
            at += n;
            value
        };
        let step = |change: i64| before.time_ms.wrapping_add(i64::from(before.step_ms)).wrapping_add(change);
        let time_ms = match tag >> 4 {
            STEP_SAME => step(0),
            STEP_8 => step(i64::from(take(1) as i8)),
            STEP_16 => step(i64::from(take(2) as i16)),
            STEP_32 => step(i64::from(take(4) as i32)),
            _ => take(8) as i64,
        };
        let code = tag & 15;
        let payload = take(values::payload_bytes(code));
        let bits = values::decode(before.bits, Coded { code, payload });
        let mut next = before.advanced(time_ms, bits);
        if state.is_none() {
            next.step_ms = 0;
        }
        state = Some(next);
        if !each(time_ms, bits) {
            break;
        }
    }
    state
}

/// Time of the first sample of a stream, of which `bytes` are at least nine bytes.
pub fn first_ms(bytes: &[u8]) -> i64 {
    read(bytes, 1, 8) as i64
}

/// An unsigned number of up to eight bytes.
#[inline]
fn read(bytes: &[u8], at: usize, n: usize) -> u64 {
    if let Some(eight) = bytes.get(at..at + 8) {
        let value = u64::from_le_bytes(std::array::from_fn(|i| eight[i]));
        return if n == 8 { value } else { value & ((1 << (8 * n)) - 1) };
    }
    bytes[at..at + n].iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}
