//! Names of blocks: ULIDs, which sort by the time they were made.

use vedette_sys::Random;

/// Crockford's base 32.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A name that is not there yet: 48 bits of time, 80 random ones.
pub fn new(unix_ms: i64, random: &mut Random) -> String {
    let time = (unix_ms.max(0) as u128) << 80;
    let noise = u128::from(random.next_u64()) << 64 | u128::from(random.next_u64());
    let number = time | noise & ((1 << 80) - 1);
    (0..26).map(|i| char::from(DIGITS[(number >> (5 * (25 - i))) as usize & 31])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_time() {
        let mut random = Random::new(1);
        // The time of the example in the specification.
        assert!(new(1_469_918_176_385, &mut random).starts_with("01ARYZ6S41"));
        let names: Vec<String> = (0..50).map(|i| new(i * 1_000_000_007, &mut random)).collect();
        assert!(names.is_sorted());
        assert!(names.iter().all(|n| n.len() == 26));
        assert_ne!(new(5, &mut random), new(5, &mut random));
    }
}
