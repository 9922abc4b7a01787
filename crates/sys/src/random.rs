//! Random numbers for jitter, salts and simulation. Not for secrets.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A small generator (xoshiro256**) that gives the same numbers for the same seed.
#[derive(Debug, Clone)]
pub struct Random([u64; 4]);

impl Random {
    /// A generator for `seed`; near seeds give unrelated numbers.
    pub fn new(seed: u64) -> Self {
        // splitmix64 spreads the seed, so that the state is never all zero.
        let mut x = seed;
        Self(std::array::from_fn(|_| {
            x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }))
    }

    /// A generator that differs at every call, seeded by the operating system.
    pub fn from_system() -> Self {
        // The standard library keys its hash maps with the system's randomness; the hash of
        // nothing under such a key is a seed that needs no file and cannot fail.
        Self::new(RandomState::new().build_hasher().finish())
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product: its bias is below bound/2^64, too small to matter here.
        let product = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(product >> 64).expect("BUG: the high half of a product has 64 bits")
    }

    /// A number from 0 to 1, 1 excluded.
    pub fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
        let numerator = (self.next_u64() >> 11) as f64;
        numerator / (1_u64 << 53) as f64
    }

    /// True once in `n` times on average.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_for_a_seed_and_covers_the_range() {
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        let mut seen = [0_u32; 10];
        for _ in 0..10_000 {
            let n = a.below(10);
            assert_eq!(n, b.below(10));
            seen[n as usize] += 1;
            assert!((0.0..1.0).contains(&a.unit()));
            b.unit();
        }
        assert!(seen.iter().all(|n| (800..1200).contains(n)), "{seen:?}");
        assert_ne!(Random::new(1).next_u64(), Random::new(2).next_u64());
        assert_ne!(Random::from_system().next_u64(), Random::from_system().next_u64());
        assert_eq!(Random::new(1).below(0), 0);
    }
}
