//! A set of series numbers that is as small as its content: most pairs of labels have a few
//! series only, some have nearly all.

use roaring::RoaringBitmap;

/// A set that has become larger than this is a bitmap from then on.
const FEW_MAX: usize = 32;

/// A set of numbers.
#[derive(Debug)]
pub enum Numbers {
    One(u32),
    /// In order.
    Few(Vec<u32>),
    Many(Box<RoaringBitmap>),
}

impl Default for Numbers {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Numbers {
    pub fn insert(&mut self, number: u32) {
        match self {
            Self::One(one) if *one == number => {}
            Self::One(one) => *self = Self::Few(vec![number.min(*one), number.max(*one)]),
            Self::Few(few) if few.is_empty() => *self = Self::One(number),
            Self::Few(few) => {
                if let Err(at) = few.binary_search(&number) {
                    few.insert(at, number);
                }
                if few.len() > FEW_MAX {
                    *self = Self::Many(Box::new(few.iter().copied().collect()));
                }
            }
            Self::Many(many) => {
                many.insert(number);
            }
        }
    }

    /// Adds numbers that are in order.
    pub fn insert_sorted(&mut self, numbers: &[u32]) {
        if !self.is_empty() {
            return numbers.iter().for_each(|&number| self.insert(number));
        }
        *self = match numbers {
            &[one] => Self::One(one),
            few if few.len() <= FEW_MAX => Self::Few(few.to_vec()),
            many => {
                let mut set = RoaringBitmap::new();
                let _ = set.append(many.iter().copied());
                Self::Many(Box::new(set))
            }
        };
    }

    pub fn remove(&mut self, number: u32) {
        match self {
            Self::One(one) => {
                if *one == number {
                    *self = Self::default();
                }
            }
            Self::Few(few) => {
                if let Ok(at) = few.binary_search(&number) {
                    few.remove(at);
                }
            }
            Self::Many(many) => {
                many.remove(number);
                if many.is_empty() {
                    *self = Self::default();
                }
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Few(few) if few.is_empty())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len() as usize,
        }
    }

    /// Adds all numbers to `out`.
    pub fn add_to(&self, out: &mut RoaringBitmap) {
        match self {
            Self::One(one) => {
                out.insert(*one);
            }
            Self::Few(few) => out.extend(few.iter().copied()),
            Self::Many(many) => *out |= &**many,
        }
    }

    /// Shows the set as a bitmap.
    pub fn with_set<R>(&self, each: impl FnOnce(&RoaringBitmap) -> R) -> R {
        match self {
            Self::Many(many) => each(many),
            _ => {
                let mut set = RoaringBitmap::new();
                self.add_to(&mut set);
                each(&set)
            }
        }
    }

    /// About how much memory the set takes beside itself.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::One(_) => 0,
            Self::Few(few) => few.capacity() * 4,
            Self::Many(many) => {
                let containers = many.max().map_or(0, |max| (max as usize >> 16) + 1);
                24 + containers * 32 + (many.len() as usize * 3).min(containers * 8192)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_a_set(changes in proptest::collection::vec((any::<bool>(), 0u32..60), 0..300)) {
            let (mut numbers, mut model) = (Numbers::default(), BTreeSet::new());
            for (add, number) in changes {
                if add {
                    numbers.insert(number);
                    model.insert(number);
                } else {
                    numbers.remove(number);
                    model.remove(&number);
                }
                prop_assert_eq!(numbers.len(), model.len());
                prop_assert_eq!(numbers.is_empty(), model.is_empty());
                let found: Vec<u32> = numbers.with_set(|set| set.iter().collect());
                prop_assert_eq!(found, model.iter().copied().collect::<Vec<_>>());
            }
        }
    }
}
