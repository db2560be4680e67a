//! A filter of the ids that an index holds: most commands are new, and a new one is not looked up on
//! the disk.
//!
//! The filter is a split block Bloom filter: it has every id of the index, and a few others in vain.
//! The filter is in memory only, and is filled from the index with the first save after a start;
//! until then every id may be in the index. Its size is bounded. Beyond that, more look-ups are in
//! vain.

use std::hash::BuildHasher as _;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rusqlite::Connection;

use crate::seeded_hash::SeededHash;
use ferryd_domain::command_id::CommandId;

/// The smallest and the largest number of blocks: 1 MiB and 32 MiB.
const BLOCKS: [usize; 2] = [1 << 15, 1 << 20];
/// The number of ids for one block, up to which one look-up in thirty is in vain.
const IDS_OF_BLOCK: usize = 32;
/// One odd number for each word of a block (Apache Parquet, "Bloom filter").
const SALTS: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// The bits of the ids that share a block.
type FilterBlock = [u32; 8];

/// A filter of the ids that an index holds; none before it is filled.
#[derive(Default)]
pub(super) struct IdFilter(RwLock<Option<FilledFilter>>);

struct FilledFilter {
    hasher: SeededHash,
    blocks: Vec<FilterBlock>,
    /// The number of ids that were added.
    added: usize,
}

impl IdFilter {
    /// Returns false if the index certainly does not have an id.
    pub fn may_contain(&self, id: &CommandId) -> bool {
        self.read().as_ref().is_none_or(|filter| filter.contains(id.as_str()))
    }

    /// Adds the ids of commands, before they are in the index, and returns for each if the index may
    /// have had it before.
    pub fn add<'a>(&self, ids: impl Iterator<Item = &'a CommandId>) -> Vec<bool> {
        let mut filter = self.write();
        ids.map(|id| filter.as_mut().is_none_or(|filter| filter.add(id.as_str()))).collect()
    }

    /// Returns true if the filter has to be filled: it never was, or it has grown full.
    pub fn is_due(&self) -> bool {
        self.read().as_ref().is_none_or(FilledFilter::is_full)
    }

    /// Fills the filter from an index to which nothing is added meanwhile.
    pub fn fill(&self, conn: &Connection) -> rusqlite::Result<()> {
        let count = "SELECT coalesce(sum(count), 0) FROM facets";
        let count: i64 = conn.query_row(count, (), |row| row.get(0))?;
        let mut filter = FilledFilter::with_room(usize::try_from(count).unwrap_or(0));
        let mut all = conn.prepare("SELECT id FROM commands")?;
        let mut rows = all.query(())?;
        while let Some(row) = rows.next()? {
            filter.add(row.get_ref(0)?.as_str()?);
        }
        *self.write() = Some(filter);
        Ok(())
    }

    /// Empties the filter, because the index is another one.
    pub fn clear(&self) {
        *self.write() = None;
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<FilledFilter>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<FilledFilter>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FilledFilter {
    /// Creates an empty filter with room for twice this many ids.
    fn with_room(ids: usize) -> Self {
        let [least, most] = BLOCKS;
        let blocks = (2 * ids / IDS_OF_BLOCK).clamp(least, most);
        Self { hasher: SeededHash::default(), blocks: vec![[0; 8]; blocks], added: 0 }
    }

    fn is_full(&self) -> bool {
        self.blocks.len() < BLOCKS[1] && self.added > self.blocks.len() * IDS_OF_BLOCK
    }

    fn contains(&self, id: &str) -> bool {
        let (block, bits) = self.place(id);
        self.blocks
            .get(block)
            .is_some_and(|words| words.iter().zip(bits).all(|(word, bit)| word & bit != 0))
    }

    /// Adds an id, and returns true if it may have been there before.
    fn add(&mut self, id: &str) -> bool {
        let (block, bits) = self.place(id);
        let Some(words) = self.blocks.get_mut(block) else { return true };
        let mut was_there = true;
        for (word, bit) in words.iter_mut().zip(bits) {
            was_there &= *word & bit != 0;
            *word |= bit;
        }
        self.added += usize::from(!was_there);
        was_there
    }

    /// Returns the block of an id, and its bit in each word of it.
    fn place(&self, id: &str) -> (usize, FilterBlock) {
        let hash = self.hasher.hash_one(id);
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0);
        let (high, low) = (half(hash >> 32), half(hash));
        let block = (u64::from(high) * self.blocks.len() as u64) >> 32;
        (usize::try_from(block).unwrap_or(0), SALTS.map(|salt| 1 << (low.wrapping_mul(salt) >> 27)))
    }
}

#[cfg(test)]
#[path = "id_filter_tests.rs"]
mod tests;
