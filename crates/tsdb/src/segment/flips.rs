//! Finds the one bit that flipped, where a checksum does not match.
//!
//! A CRC32 is linear: what a flipped bit does to it depends only on the distance of the bit from
//! the end, and differs for all bits of less than half a gigabyte. So the difference between the
//! checksum that should be and the one that is names the bit. Of damage to more bits about one in
//! four thousand million for each bit of the data looks like one flipped bit; whoever
//! restores must check by other means too.

/// What makes a checksum match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flip {
    /// This bit of the data, byte and bit, is to be flipped back.
    Data(usize, u8),
    /// The data are sound; a bit of the checksum itself flipped.
    Checksum,
}

/// The one flipped bit that explains why `bytes` do not have this checksum, if there is one.
pub fn find(bytes: &[u8], checksum: u32) -> Option<Flip> {
    let difference = crc32fast::hash(bytes) ^ checksum;
    match difference.count_ones() {
        0 => return None,
        1 => return Some(Flip::Checksum),
        _ => {}
    }
    // What each bit of the last byte does, then of the byte before it, and so on.
    let mut effects: [u32; 8] = std::array::from_fn(|bit| TABLE[1 << bit]);
    for at in (0..bytes.len()).rev() {
        if let Some(bit) = effects.iter().position(|e| *e == difference) {
            return Some(Flip::Data(at, bit as u8));
        }
        for effect in &mut effects {
            *effect = *effect >> 8 ^ TABLE[(*effect & 0xff) as usize];
        }
    }
    None
}

/// Flips a bit back, if one explains the checksum. Says whether the data are sound now.
pub fn restore(bytes: &mut [u8], checksum: u32, flipped: &mut u64) -> bool {
    if crc32fast::hash(bytes) == checksum {
        return true;
    }
    match find(bytes, checksum) {
        Some(Flip::Data(at, bit)) => bytes[at] ^= 1 << bit,
        Some(Flip::Checksum) => {}
        None => return false,
    }
    *flipped += 1;
    true
}

/// Checksums of single bytes, as CRC32 builds upon them.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_flipped_bit_is_found(
            bytes in proptest::collection::vec(any::<u8>(), 1..300), at in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let checksum = crc32fast::hash(&bytes);
            prop_assert_eq!(find(&bytes, checksum), None);
            let at = at.index(bytes.len());
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            prop_assert_eq!(find(&damaged, checksum), Some(Flip::Data(at, bit)));
            let mut flipped = 0;
            prop_assert!(restore(&mut damaged, checksum, &mut flipped));
            prop_assert_eq!((damaged, flipped), (bytes, 1));
        }

        #[test]
        fn more_damage_is_left_alone(mut bytes in proptest::collection::vec(any::<u8>(), 40..300)) {
            let checksum = crc32fast::hash(&bytes);
            bytes[3] ^= 0xa5;
            bytes[31] ^= 0x5a;
            let before = bytes.clone();
            prop_assert!(!restore(&mut bytes, checksum, &mut 0));
            prop_assert_eq!(bytes, before);
        }

        #[test]
        fn a_flipped_checksum_is_told_apart(bytes in proptest::collection::vec(any::<u8>(), 0..300), bit in 0u8..32) {
            prop_assert_eq!(find(&bytes, crc32fast::hash(&bytes) ^ 1 << bit), Some(Flip::Checksum));
        }
    }
}
