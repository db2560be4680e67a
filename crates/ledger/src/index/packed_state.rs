//! The states of commands in memory: whole while more records are expected, and then packed into
//! what the index saves, which takes a tenth of the memory.

use std::sync::Arc;

use super::body::{read_body, write_body};
use super::error::IndexError;
use super::facet::{CommandFacet, SharedFacets};
use super::state_columns::StateColumns;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::command_state::CommandState;

/// The size of a scratch buffer that is kept, in bytes: hardly any body is larger.
const KEPT_SCRATCH: usize = 16 << 10;

/// The memory that a packed state takes beside its body, in bytes, with its place in a map.
const OVERHEAD: usize = 256;

/// The state of a command in memory.
#[derive(Debug, Clone)]
pub enum CachedState {
    /// A state that further records are likely to change.
    Whole(Arc<CommandState>),
    /// A state that hardly any record follows.
    Packed(Arc<PackedState>),
}

/// The state of a command in the form that the index saves.
#[derive(Debug)]
pub struct PackedState {
    pub(super) facet: Arc<CommandFacet<'static>>,
    pub(super) columns: StateColumns,
    pub(super) body: Box<[u8]>,
}

/// Packs the states of commands.
#[derive(Default)]
pub(crate) struct StatePacker {
    facets: SharedFacets,
    scratch: Vec<u8>,
}

impl CachedState {
    /// Returns the whole state of the command with this id.
    ///
    /// # Errors
    /// [`IndexError::Damaged`]: the packed state can't be read.
    pub fn whole(&self, id: &CommandId) -> Result<Arc<CommandState>, IndexError> {
        match self {
            Self::Whole(state) => Ok(Arc::clone(state)),
            Self::Packed(packed) => packed.unpack(id).map(Arc::new),
        }
    }

    /// Writes the body of the command with this id to the end of `bytes`.
    pub(super) fn put_body(&self, id: &CommandId, bytes: &mut Vec<u8>) {
        match self {
            Self::Whole(state) => write_body(id, state, bytes),
            Self::Packed(packed) => bytes.extend_from_slice(&packed.body),
        }
    }
}

impl From<Arc<CommandState>> for CachedState {
    fn from(state: Arc<CommandState>) -> Self {
        Self::Whole(state)
    }
}

impl From<CommandState> for CachedState {
    fn from(state: CommandState) -> Self {
        Self::Whole(Arc::new(state))
    }
}

impl PackedState {
    /// Returns the state of the command, whose id is `id`.
    ///
    /// # Errors
    /// [`IndexError::Damaged`]: the state can't be read.
    pub fn unpack(&self, id: &CommandId) -> Result<CommandState, IndexError> {
        read_body(id, &self.body)
    }

    /// Cuts the last byte off, so that the state can't be read.
    #[cfg(test)]
    pub(crate) fn cut(self) -> Self {
        let body = self.body.split_last().map(|(_, rest)| rest.into()).unwrap_or_default();
        Self { body, ..self }
    }

    /// Returns the memory that the state takes, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.body.len() + OVERHEAD
    }
}

impl StatePacker {
    /// Packs the state of the command with this id.
    pub fn pack(&mut self, id: &CommandId, state: &CommandState) -> PackedState {
        self.scratch.clear();
        write_body(id, state, &mut self.scratch);
        let packed = PackedState {
            facet: self.facets.share(CommandFacet::of(state)),
            columns: StateColumns::of(state),
            body: self.scratch.as_slice().into(),
        };
        self.scratch.shrink_to(KEPT_SCRATCH);
        packed
    }
}
