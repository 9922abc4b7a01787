//! Bytes for saved state: little-endian numbers, and texts and lists with their length before
//! them. Reading never trusts a length: it is bounded by the bytes that are there.

use vedette_model::Labels;

#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.u64(value.cast_unsigned());
    }

    pub(crate) fn f64(&mut self, value: f64) {
        self.u64(value.to_bits());
    }

    pub(crate) fn text(&mut self, value: &str) {
        self.u64(value.len() as u64);
        self.0.extend_from_slice(value.as_bytes());
    }

    pub(crate) fn option(&mut self, value: Option<i64>) {
        self.byte(u8::from(value.is_some()));
        self.i64(value.unwrap_or(0));
    }

    pub(crate) fn labels(&mut self, labels: &Labels) {
        self.u64(labels.len() as u64);
        for (name, value) in labels {
            self.text(name);
            self.text(value);
        }
    }

    pub(crate) fn list<T>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        mut each: impl FnMut(&mut Self, T),
    ) {
        self.u64(items.len() as u64);
        for item in items {
            each(self, item);
        }
    }
}

/// Every method gives `None` when the bytes are not what was written.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        Some(self.u64()?.cast_signed())
    }

    pub(crate) fn f64(&mut self) -> Option<f64> {
        Some(f64::from_bits(self.u64()?))
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.u64()?).ok()?;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }

    pub(crate) fn option(&mut self) -> Option<Option<i64>> {
        let there = self.byte()? != 0;
        let value = self.i64()?;
        Some(there.then_some(value))
    }

    pub(crate) fn labels(&mut self) -> Option<Labels> {
        let pairs = self.list(|r| Some((r.text()?, r.text()?)))?;
        Some(Labels::from_pairs(pairs))
    }

    pub(crate) fn list<T>(&mut self, mut each: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::try_from(self.u64()?).ok()?;
        // Every item takes at least one byte.
        let mut items = Vec::with_capacity(count.min(self.0.len()).min(1024));
        for _ in 0..count {
            items.push(each(self)?);
        }
        Some(items)
    }
}
