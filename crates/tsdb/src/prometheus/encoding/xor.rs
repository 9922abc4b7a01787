//! Floats: chunks of XOR (encoding 1) and XOR2 (encoding 4).

use vedette_model::{SampleBuffer, stale_nan};

use super::{
    bits::{BitReader, BitWriter},
    starts::StartReader,
};

/// The widest run of leading zeros that five bits can tell.
const LEADING_MAX: u32 = 31;

/// One float after another of one column, as XOR with the one before.
#[derive(Debug, Clone, Copy, Default)]
pub struct XorState {
    bits: u64,
    /// Leading and trailing zeros of the bits that were written last.
    window: Option<(u32, u32)>,
}

impl XorState {
    pub fn new(first: f64) -> Self {
        Self { bits: first.to_bits(), window: None }
    }

    pub fn value(self) -> f64 {
        f64::from_bits(self.bits)
    }

    pub fn write(&mut self, value: f64, out: &mut BitWriter) {
        let xor = value.to_bits() ^ self.bits;
        self.bits = value.to_bits();
        if xor == 0 {
            return out.put(0, 1);
        }
        let (leading, trailing) = (xor.leading_zeros().min(LEADING_MAX), xor.trailing_zeros());
        match self.window {
            Some((l, t)) if leading >= l && trailing >= t => {
                out.put(0b10, 2);
                out.put(xor >> t, 64 - l - t);
            }
            _ => {
                let length = 64 - leading - trailing;
                out.put(0b11, 2);
                out.put(u64::from(leading), 5);
                // 64 does not fit six bits and is written as 0, which cannot occur.
                out.put(u64::from(length & 63), 6);
                out.put(xor >> trailing, length);
                self.window = Some((leading, trailing));
            }
        }
    }

    pub fn read(&mut self, bits: &mut BitReader<'_>) -> Option<f64> {
        if bits.bit()? {
            if bits.bit()? {
                self.read_new_window(bits)?;
            } else {
                self.read_in_window(bits)?;
            }
        }
        Some(self.value())
    }

    fn read_in_window(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        let (leading, trailing) = self.window?;
        self.bits ^= bits.get(64 - leading - trailing)? << trailing;
        Some(())
    }

    fn read_new_window(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        let leading = bits.get(5)? as u32;
        let length = match bits.get(6)? as u32 {
            0 => 64,
            length => length,
        };
        self.window = Some((leading, 64u32.checked_sub(leading + length)?));
        self.read_in_window(bits)
    }
}

/// One chunk of at least one float, in order of time.
pub fn encode(samples: &SampleBuffer, range: std::ops::Range<usize>) -> Vec<u8> {
    let (times, values) = (&samples.times_ms[range.clone()], &samples.values[range]);
    let mut out = BitWriter::default();
    out.put(times.len() as u64, 16);
    let (mut before, mut delta) = (0i64, 0i64);
    let mut xor = XorState::default();
    for (i, (&time, &value)) in times.iter().zip(values).enumerate() {
        let step = time.wrapping_sub(before);
        match i {
            0 => {
                out.put_varint(time);
                out.put_f64(value);
                xor = XorState::new(value);
            }
            1 => {
                out.put_uvarint(step as u64);
                xor.write(value, &mut out);
            }
            _ => {
                out.put_varbit_time(step.wrapping_sub(delta));
                xor.write(value, &mut out);
            }
        }
        (before, delta) = (time, step);
    }
    out.finish()
}

/// Appends the samples of an XOR chunk.
pub fn decode(data: &[u8], out: &mut SampleBuffer) -> Option<()> {
    let mut bits = BitReader::new(data);
    let count = bits.get(16)?;
    let (mut time, mut delta) = (0i64, 0i64);
    let mut xor = XorState::default();
    for i in 0..count {
        match i {
            0 => {
                time = bits.varint()?;
                xor = XorState::new(bits.f64()?);
            }
            1 => {
                delta = bits.uvarint()? as i64;
                time = time.wrapping_add(delta);
                xor.read(&mut bits)?;
            }
            _ => {
                delta = delta.wrapping_add(bits.varbit_time()?);
                time = time.wrapping_add(delta);
                xor.read(&mut bits)?;
            }
        }
        out.push(time, xor.value());
    }
    Some(())
}

/// Appends the samples of an XOR2 chunk, which may know since when each sample counts.
pub fn decode_xor2(data: &[u8], out: &mut SampleBuffer) -> Option<()> {
    let mut bits = BitReader::new(data);
    let count = bits.get(16)?;
    let mut starts = StartReader::new(bits.get(8)? as u8);
    let (mut time, mut delta) = (0i64, 0i64);
    let mut xor = XorState::default();
    for i in 0..count {
        let value = match i {
            0 => {
                time = bits.varint()?;
                xor = XorState::new(bits.f64()?);
                xor.value()
            }
            1 => {
                delta = bits.uvarint()? as i64;
                read_xor2(&mut xor, &mut bits)?
            }
            _ => {
                let (change, value) = read_joint(&mut xor, &mut bits)?;
                delta = delta.wrapping_add(change);
                value
            }
        };
        if i > 0 {
            time = time.wrapping_add(delta);
        }
        out.push(time, value);
        out.set_last_start(starts.next(i as usize, time, &mut bits)?);
    }
    Some(())
}

/// How the time moved and the value, which share a prefix.
fn read_joint(xor: &mut XorState, bits: &mut BitReader<'_>) -> Option<(i64, f64)> {
    Some(match bits.ones(5)? {
        0 => (0, xor.value()),
        1 => {
            if bits.bit()? {
                xor.read_new_window(bits)?;
            } else {
                xor.read_in_window(bits)?;
            }
            (0, xor.value())
        }
        2 => (signed(bits.get(13)?, 13), read_xor2(xor, bits)?),
        3 => (signed(bits.get(20)?, 20), read_xor2(xor, bits)?),
        4 => (bits.get(64)? as i64, read_xor2(xor, bits)?),
        _ => (0, stale_nan()),
    })
}

/// A value; the staleness marker leaves what the next one is compared with as it was.
fn read_xor2(xor: &mut XorState, bits: &mut BitReader<'_>) -> Option<f64> {
    match bits.ones(3)? {
        0 => {}
        1 => xor.read_in_window(bits)?,
        2 => xor.read_new_window(bits)?,
        _ => return Some(stale_nan()),
    }
    Some(xor.value())
}

fn signed(value: u64, bits: u32) -> i64 {
    (value << (64 - bits)) as i64 >> (64 - bits)
}
