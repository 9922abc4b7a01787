//! Interned label text: each name and value is kept once, however many series use it, and
//! forgotten with the last of them.

use std::{collections::HashMap, sync::Arc};

/// Number of an interned text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Symbol(u32);

#[derive(Debug)]
struct Entry {
    text: Arc<str>,
    uses: u32,
}

/// The texts in use.
#[derive(Debug, Default)]
pub struct Symbols {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    numbers: HashMap<Arc<str>, u32>,
    bytes: usize,
}

impl Symbols {
    /// The number of a text if it is in use.
    pub fn find(&self, text: &str) -> Option<Symbol> {
        self.numbers.get(text).map(|&n| Symbol(n))
    }

    /// Counts one more use of a text.
    pub fn take(&mut self, text: &str) -> Symbol {
        if let Some(&number) = self.numbers.get(text) {
            if let Some(entry) = &mut self.entries[number as usize] {
                entry.uses += 1;
            }
            return Symbol(number);
        }
        let text: Arc<str> = Arc::from(text);
        self.bytes += text.len();
        let entry = Some(Entry { text: Arc::clone(&text), uses: 1 });
        let number = if let Some(number) = self.free.pop() {
            self.entries[number as usize] = entry;
            number
        } else {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).expect("BUG: series limits keep symbols below 2^32")
        };
        self.numbers.insert(text, number);
        Symbol(number)
    }

    /// Counts one use less.
    pub fn release(&mut self, symbol: Symbol) {
        let slot = &mut self.entries[symbol.0 as usize];
        let entry = slot.as_mut().expect("BUG: a symbol released that is not in use");
        entry.uses -= 1;
        if entry.uses == 0 {
            self.bytes -= entry.text.len();
            self.numbers.remove(&entry.text);
            *slot = None;
            self.free.push(symbol.0);
        }
    }

    /// The text of a symbol in use.
    pub fn text(&self, symbol: Symbol) -> &str {
        &self.entries[symbol.0 as usize].as_ref().expect("BUG: a symbol read that is not in use").text
    }

    /// About how much memory the texts take.
    pub fn heap_bytes(&self) -> usize {
        // Text, its reference counts, the entry and the place in the map.
        self.bytes + self.numbers.len() * (16 + size_of::<Option<Entry>>() + 40)
    }
}
