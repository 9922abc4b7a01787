//! Time columns while a segment is written: each is written once, whoever comes with the same
//! times is told where it stands.

use std::collections::HashMap;

use crate::{
    bytes::{Cursor, put_varint},
    chunk::{Effort, Encoder, times},
};

/// Bytes of columns that are remembered. When there are more, later ones are not shared.
const REMEMBERED_BYTES_MAX: usize = 16 << 20;

/// The columns written so far.
#[derive(Debug, Default)]
pub struct Columns {
    by_hash: HashMap<u64, Vec<Column>>,
    bytes: Vec<u8>,
    times: Vec<i64>,
    /// By segment and place there the place in the file of columns that were copied.
    copied: HashMap<(u64, u64), u64>,
}

#[derive(Debug)]
struct Column {
    count: usize,
    /// Place in `Columns::bytes`.
    at: usize,
    /// Place in the file.
    offset: u64,
}

impl Columns {
    /// Place in the file of the column of these times; `buffer`, whose end is at `end` in the
    /// file, takes it if it is new.
    pub fn place(
        &mut self,
        times_ms: &[i64],
        effort: Effort,
        encoder: &mut Encoder,
        end: u64,
        buffer: &mut Vec<u8>,
    ) -> u64 {
        let Encoder { times, values, .. } = encoder;
        let candidates = self.by_hash.entry(hash(times_ms)).or_default();
        for known in candidates.iter().filter(|c| c.count == times_ms.len()) {
            self.times.clear();
            let mut cursor = Cursor::new(&self.bytes[known.at..]);
            let first = times_ms[0];
            times::decode_column(&mut cursor, first, known.count, times, &mut values.ints, &mut self.times);
            if self.times == times_ms {
                return known.offset;
            }
        }
        let at = self.bytes.len();
        times::encode_column(times_ms, effort, times, &mut values.ints, &mut self.bytes);
        put_varint(buffer, (self.bytes.len() - at) as u64);
        buffer.extend_from_slice(&self.bytes[at..]);
        if self.bytes.len() > REMEMBERED_BYTES_MAX {
            self.bytes.truncate(at);
        } else {
            candidates.push(Column { count: times_ms.len(), at, offset: end });
        }
        end
    }

    /// As [`Columns::place`], for the column at `offset` of another segment, whose bytes `read` gives.
    pub fn copy<'b, E>(
        &mut self,
        (segment, offset): (u64, u64),
        read: impl FnOnce() -> Result<&'b [u8], E>,
        end: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<u64, E> {
        if let Some(&known) = self.copied.get(&(segment, offset)) {
            return Ok(known);
        }
        let bytes = read()?;
        put_varint(buffer, bytes.len() as u64);
        buffer.extend_from_slice(bytes);
        self.copied.insert((segment, offset), end);
        Ok(end)
    }
}

/// Only finds candidates: what has the same hash is compared.
fn hash(times_ms: &[i64]) -> u64 {
    times_ms.windows(2).fold(times_ms.len() as u64, |h, w| {
        (h.rotate_left(5) ^ w[1].wrapping_sub(w[0]) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}
