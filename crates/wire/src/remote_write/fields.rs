//! Protocol Buffers' wire format: fields one after the other, each with its number and its kind.

use super::DecodeError;

/// A place in a message. Copying it is how one looks ahead.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    /// The whole message, so that places in errors are places in it.
    message: &'a [u8],
    at: usize,
    end: usize,
}

/// The value of a field.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// Numbers of variable length, signed and unsigned, and enumerations.
    Varint(u64),
    /// `double`.
    Fixed64(u64),
    /// Text, messages and packed numbers.
    Bytes(Cursor<'a>),
    /// A kind that no field of ours has.
    Other,
}

impl Value<'_> {
    /// The value as a floating-point number.
    pub fn as_f64(self) -> Option<f64> {
        match self {
            Self::Fixed64(bits) => Some(f64::from_bits(bits)),
            _ => None,
        }
    }
}

impl<'a> Cursor<'a> {
    pub fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0, end: message.len() }
    }

    /// The part of a message that stands in `range`, which must lie in it.
    pub fn within(message: &'a [u8], range: std::ops::Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= message.len(), "BUG: a range beyond its message");
        Self { message, at: range.start, end: range.end }
    }

    /// What stands behind the tag that comes next.
    pub fn after_tag(mut self) -> Result<Self, DecodeError> {
        self.varint().map(|_| self)
    }

    pub fn is_at_end(self) -> bool {
        self.at == self.end
    }

    /// What lies before it, in bytes.
    pub fn position(self) -> usize {
        self.at
    }

    /// All bytes from here to the end.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        &self.message[self.at..self.end]
    }

    /// The part from here to `other`, which lies behind.
    pub fn until(self, other: Self) -> Self {
        Self { end: other.at.max(self.at), ..self }
    }

    /// The last `bytes` bytes, which must be there, and what is before them.
    pub fn split_before_last(self, bytes: usize) -> (Self, Self) {
        let middle = self.end - bytes;
        (Self { end: middle, ..self }, Self { at: middle, ..self })
    }

    pub fn error(self, reason: &'static str) -> DecodeError {
        DecodeError { reason, at: self.at }
    }

    /// If a field with this tag (of one byte, of the kind with a length) comes next, its content.
    #[inline]
    pub fn take_if(&mut self, tag: u8) -> Result<Option<Self>, DecodeError> {
        if self.at == self.end || self.message[self.at] != tag {
            return Ok(None);
        }
        self.at += 1;
        self.take_block().map(Some)
    }

    /// The next field: its number and value. Must not be called at the end.
    pub fn field(&mut self) -> Result<(u64, Value<'a>), DecodeError> {
        let begin = *self;
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number > 0x1fff_ffff {
            return Err(begin.error("a field has no valid number"));
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => Value::Bytes(self.take_block()?),
            5 => {
                self.array::<4>()?;
                Value::Other
            }
            _ => return Err(begin.error("a field has a kind that is not known")),
        };
        Ok((number, value))
    }

    #[inline]
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        if self.at < self.end {
            let byte = self.message[self.at];
            if byte < 0x80 {
                self.at += 1;
                return Ok(u64::from(byte));
            }
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let bytes = self.bytes();
        let mut value = 0_u64;
        for (i, &byte) in bytes.iter().take(10).enumerate() {
            // The tenth byte has room for one bit.
            if i == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.at += i + 1;
                return Ok(value);
            }
        }
        let short = bytes.len() < 10;
        Err(self.error(if short { "a number is cut off" } else { "a number is too long" }))
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.bytes().first_chunk::<N>() {
            Some(array) => {
                self.at += N;
                Ok(*array)
            }
            None => Err(self.error("a number is cut off")),
        }
    }

    /// What follows its own length.
    #[inline]
    pub fn take_block(&mut self) -> Result<Self, DecodeError> {
        let length = self.varint()?;
        self.take(length)
    }

    /// The next `length` bytes.
    #[inline]
    pub fn take(&mut self, length: u64) -> Result<Self, DecodeError> {
        if length > (self.end - self.at) as u64 {
            return Err(self.error("a field is longer than what holds it"));
        }
        let block = Self { end: self.at + length as usize, ..*self };
        self.at = block.end;
        Ok(block)
    }
}

/// Numbers that stand for small negative ones too.
pub fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The reverse of [`unzigzag`].
pub fn zigzag(value: i64) -> u64 {
    (value << 1) as u64 ^ (value >> 63) as u64
}
