//! A place for the state of a command.

use std::sync::Arc;

use super::command_state::CommandState;

/// A place for the state of one command, which is empty while no record about the command counts.
pub trait StateSlot {
    /// Returns the state.
    fn state(&self) -> Option<&CommandState>;

    /// Returns the state, to be changed.
    fn state_mut(&mut self) -> Option<&mut CommandState>;

    /// Returns the state, to be changed; `make` makes the state of an empty place.
    fn get_or_insert_state(&mut self, make: impl FnOnce() -> CommandState) -> &mut CommandState;
}

impl StateSlot for Option<CommandState> {
    fn state(&self) -> Option<&CommandState> {
        self.as_ref()
    }

    fn state_mut(&mut self) -> Option<&mut CommandState> {
        self.as_mut()
    }

    fn get_or_insert_state(&mut self, make: impl FnOnce() -> CommandState) -> &mut CommandState {
        self.get_or_insert_with(make)
    }
}

/// A state that others read stays as it is for them.
impl StateSlot for Option<Arc<CommandState>> {
    fn state(&self) -> Option<&CommandState> {
        self.as_deref()
    }

    fn state_mut(&mut self) -> Option<&mut CommandState> {
        self.as_mut().map(Arc::make_mut)
    }

    fn get_or_insert_state(&mut self, make: impl FnOnce() -> CommandState) -> &mut CommandState {
        Arc::make_mut(self.get_or_insert_with(|| Arc::new(make())))
    }
}
