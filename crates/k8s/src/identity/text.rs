//! Texts that many pods share, each kept once, and ids as bytes instead of their digits.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use hashbrown::HashMap;

/// A text that is kept once for all who hold it.
pub(super) type Text = u32;

/// All texts that somebody holds.
#[derive(Default)]
pub(super) struct Texts {
    known: HashMap<Arc<str>, Text>,
    slots: Vec<(Arc<str>, u32)>,
    free: Vec<Text>,
}

impl Texts {
    /// Takes a text up; whoever does, lets it go again.
    pub(super) fn hold(&mut self, text: &str) -> Text {
        if let Some(known) = self.known.get(text) {
            self.slots[*known as usize].1 += 1;
            return *known;
        }
        let shared: Arc<str> = text.into();
        let number = match self.free.pop() {
            Some(free) => {
                self.slots[free as usize] = (shared.clone(), 1);
                free
            }
            None => {
                self.slots.push((shared.clone(), 1));
                u32::try_from(self.slots.len() - 1).expect("BUG: pods are bounded, and so are their texts")
            }
        };
        self.known.insert(shared, number);
        number
    }

    /// Lets a text go.
    pub(super) fn release(&mut self, number: Text) {
        let slot = &mut self.slots[number as usize];
        slot.1 -= 1;
        if slot.1 == 0 {
            self.known.remove(&*slot.0);
            slot.0 = Arc::default();
            self.free.push(number);
        }
    }

    pub(super) fn get(&self, number: Text) -> &str {
        &self.slots[number as usize].0
    }

    /// The number of a text that somebody holds.
    pub(super) fn find(&self, text: &str) -> Option<Text> {
        self.known.get(text).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

/// The uid of a pod: the 32 digits of one, or the digest of anything else.
pub(crate) type Uid = [u8; 16];

/// The id of a container: its 64 digits, or the digest of anything else.
pub(super) type ContainerId = [u8; 32];

/// The uid of that text, whose digits may stand with or without lines between them.
pub(crate) fn uid(text: &str) -> Uid {
    let mut digits = text.bytes().filter(|byte| !matches!(byte, b'-' | b'_'));
    digest_or_digits(text, &mut digits)
}

/// The id of that text. Words before it, as `containerd://`, are left out.
pub(super) fn container_id(text: &str) -> ContainerId {
    let text = bare_id(text);
    digest_or_digits(text, &mut text.bytes())
}

/// A container's id without the name of its runtime before it.
pub(crate) fn bare_id(text: &str) -> &str {
    text.split_once("://").map_or(text, |(_, id)| id)
}

/// Whether the text is what [`uid_text`] makes of its bytes.
pub(super) fn is_plain_uid(text: &str) -> bool {
    uid_text(&uid(text)) == text
}

/// Whether the text is what [`container_text`] makes of its bytes.
pub(super) fn is_plain_container_id(text: &str) -> bool {
    container_text(&container_id(text)) == text
}

/// As an API server writes it.
pub(super) fn uid_text(uid: &Uid) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in uid.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        push_digits(&mut text, *byte);
    }
    text
}

/// As a runtime writes it.
pub(super) fn container_text(id: &ContainerId) -> String {
    let mut text = String::with_capacity(64);
    id.iter().for_each(|byte| push_digits(&mut text, *byte));
    text
}

fn push_digits(text: &mut String, byte: u8) {
    for digit in [byte >> 4, byte & 15] {
        text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
    }
}

fn digest_or_digits<const N: usize>(text: &str, digits: &mut dyn Iterator<Item = u8>) -> [u8; N] {
    let mut bytes = [0; N];
    let value = |digit: Option<u8>| {
        let digit = digit.filter(|digit| !digit.is_ascii_uppercase())?;
        char::from(digit).to_digit(16).map(|value| value as u8)
    };
    for byte in &mut bytes {
        match (value(digits.next()), value(digits.next())) {
            (Some(high), Some(low)) => *byte = high << 4 | low,
            _ => return digest(text),
        }
    }
    if digits.next().is_some() { digest(text) } else { bytes }
}

/// Not made to withstand those who want two texts to meet: uids and ids come from the cluster itself.
fn digest<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    for (part, place) in bytes.chunks_mut(8).enumerate() {
        let mut hasher = DefaultHasher::new();
        (part, text).hash(&mut hasher);
        place.copy_from_slice(&hasher.finish().to_le_bytes()[..place.len()]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_again_however_they_are_written() {
        let dashed = "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9fa";
        let in_cgroup = "0b1c2d3e_4f50_6172_8394_a5b6c7d8e9fa";
        assert_eq!(uid(dashed), uid(in_cgroup));
        assert_eq!(uid_text(&uid(dashed)), dashed);
        assert!(is_plain_uid(dashed) && !is_plain_uid(in_cgroup) && !is_plain_uid("pod-1"));
        assert_ne!(uid("pod-1"), uid("pod-2"));
        let id = "00ff".repeat(16);
        assert_eq!(container_id(&format!("containerd://{id}")), container_id(&id));
        assert_eq!(container_text(&container_id(&id)), id);
        assert!(is_plain_container_id(&id) && !is_plain_container_id("c1"));
        assert_ne!(container_id(&id.replace('f', "F")), container_id(&id), "digits are small");
        assert_ne!(container_id("c1"), container_id("c2"));
    }

    #[test]
    fn a_text_goes_with_the_last_who_holds_it() {
        let mut texts = Texts::default();
        let (a, b) = (texts.hold("a"), texts.hold("b"));
        assert_eq!((texts.hold("a"), texts.get(a), texts.find("b")), (a, "a", Some(b)));
        texts.release(a);
        assert_eq!(texts.find("a"), Some(a));
        texts.release(a);
        assert_eq!((texts.find("a"), texts.len()), (None, 1));
        assert_eq!((texts.hold("c"), texts.get(a), texts.get(b)), (a, "c", "b"));
    }
}
