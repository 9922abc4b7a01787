//! What is known by name of things that a file lists in the same order time after time: devices,
//! fields, interfaces.
//!
//! The next name asked for is nearly always the one after the last, so finding it costs one
//! comparison; what a whole pass did not name is gone.

/// More names than any sane machine has in one file; what is beyond is left out.
const ENTRIES_MAX: usize = 8_192;
/// Longer names are left out.
const KEY_BYTES_MAX: usize = 512;

#[derive(Debug)]
pub(crate) struct Keyed<T> {
    entries: Vec<Entry<T>>,
    cursor: usize,
    pass: u64,
}

#[derive(Debug)]
struct Entry<T> {
    key: Box<[u8]>,
    pass: u64,
    value: T,
}

impl<T> Default for Keyed<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), cursor: 0, pass: 0 }
    }
}

impl<T> Keyed<T> {
    /// Begins a pass.
    pub(crate) fn begin(&mut self) {
        self.pass += 1;
        self.cursor = 0;
    }

    /// What is known of `key`, made if it is new. `None` for a name that this pass has had
    /// already, or one too many.
    pub(crate) fn entry(&mut self, key: &[u8], make: impl FnOnce(&str) -> T) -> Option<&mut T> {
        let index = match self.position(key) {
            Some(index) => index,
            None if self.entries.len() >= ENTRIES_MAX || key.len() > KEY_BYTES_MAX => return None,
            None => {
                let value = make(&String::from_utf8_lossy(key));
                let index = self.cursor.min(self.entries.len());
                self.entries.insert(index, Entry { key: key.into(), pass: 0, value });
                index
            }
        };
        self.cursor = index + 1;
        let entry = &mut self.entries[index];
        if entry.pass == self.pass {
            return None;
        }
        entry.pass = self.pass;
        Some(&mut entry.value)
    }

    /// As [`Keyed::entry`], for files that tell of one thing in several lines.
    pub(crate) fn entry_again(&mut self, key: &[u8], make: impl FnOnce(&str) -> T) -> Option<&mut T> {
        let last = self.cursor.saturating_sub(1);
        let found = if self.is(last, key) { Some(last) } else { self.position(key) };
        match found {
            Some(index) if self.entries[index].pass == self.pass => {
                self.cursor = index + 1;
                Some(&mut self.entries[index].value)
            }
            _ => self.entry(key, make),
        }
    }

    /// Ends a pass: hands out what was not named in it.
    pub(crate) fn end(&mut self, mut gone: impl FnMut(T)) {
        let pass = self.pass;
        if self.entries.iter().all(|e| e.pass == pass) {
            return;
        }
        for entry in self.entries.extract_if(.., |e| e.pass != pass) {
            gone(entry.value);
        }
    }

    /// All that is known.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&[u8], &mut T)> {
        self.entries.iter_mut().map(|e| (&*e.key, &mut e.value))
    }

    fn position(&self, key: &[u8]) -> Option<usize> {
        let next = Some(self.cursor).filter(|i| self.is(*i, key));
        next.or_else(|| self.entries.iter().position(|e| *e.key == *key))
    }

    fn is(&self, index: usize, key: &[u8]) -> bool {
        self.entries.get(index).is_some_and(|e| *e.key == *key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_order_and_the_unnamed_are_gone() {
        let mut keyed = Keyed::default();
        let pass = |keyed: &mut Keyed<String>, names: &[&str]| {
            keyed.begin();
            let found: Vec<bool> =
                names.iter().map(|n| keyed.entry(n.as_bytes(), str::to_owned).is_some()).collect();
            let mut gone = Vec::new();
            keyed.end(|value| gone.push(value));
            (found, gone)
        };
        assert_eq!(pass(&mut keyed, &["a", "b", "c"]), (vec![true; 3], vec![]));
        assert_eq!(pass(&mut keyed, &["c", "a", "b"]), (vec![true; 3], vec![]));
        assert_eq!(
            pass(&mut keyed, &["a", "a", "d"]),
            (vec![true, false, true], vec!["b".into(), "c".into()])
        );
        assert_eq!(keyed.entries.len(), 2);
        assert_eq!(pass(&mut keyed, &[]).1.len(), 2);
    }

    #[test]
    fn a_flood_of_names_is_bounded() {
        let mut keyed = Keyed::default();
        keyed.begin();
        for i in 0..ENTRIES_MAX + 10 {
            keyed.entry(i.to_string().as_bytes(), |_| ());
        }
        assert_eq!(keyed.entries.len(), ENTRIES_MAX);
        assert!(keyed.entry(&[b'x'; KEY_BYTES_MAX + 1], |_| ()).is_none());
    }
}
