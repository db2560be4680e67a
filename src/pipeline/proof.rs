//! Finds the command that a notice is about, what proves it, and whether the notice states the
//! amount that was asked for.

use jiff::Timestamp;
use tracing::warn;

use super::callbacks::Callbacks;
use ferryd_broker::callback::Callback;
use ferryd_domain::callback::Notice;
use ferryd_domain::callback_token::Named;
use ferryd_domain::command::Identity;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::conflict::ConflictEvent;
use ferryd_domain::event::Trace;
use ferryd_domain::ledger::case::Case;
use ferryd_domain::lifecycle::State;
use ferryd_domain::name::Name;

impl Callbacks {
    /// Looks for a proof of the command that a notice names: the token beside its id, or that of
    /// the URL. A call that a token proves and that names another command is not about the token's
    /// command.
    pub(super) fn prove_command(&self, callback: &Callback, notice: &mut Notice, named: Option<&Named>) {
        let Callback { id, provider, account, received_at, .. } = callback;
        if let Some(named) = named.filter(|named| notice.command.as_ref().is_none_or(|id| *id == named.command)) {
            notice.command = Some(named.command.clone());
            notice.generation = Some(named.generation);
        }
        let beside = notice.command.as_ref().zip(notice.token.as_ref()).zip(self.provider.echo_tokens.as_ref());
        let Some(((command, token), tokens)) = beside else { return };
        match tokens.read(account, command, token, *received_at) {
            Ok(generation) => notice.generation = Some(generation),
            Err(reason) => {
                let command = command.as_str();
                warn!(%provider, callback = %id, command.id = command, %reason, "a webhook call does not prove its command");
            }
        }
    }

    /// Finds the command that a notice is about, if it belongs to this account: the secret of one
    /// account proves nothing about another's. Any customer of the same provider can have an id
    /// echoed, so an id counts only with its token, or where none was sent.
    pub(super) async fn whose(&self, account: &Name, notice: &Notice) -> Option<Identity> {
        let ledger = &self.pipeline.memory.ledger;
        let is_proven =
            |id: &&CommandId| notice.generation.is_some() || ledger.case(id).is_some_and(|case| case.is_known_by_id());
        let named = notice.command.as_ref().filter(is_proven).and_then(|id| self.own(account, id));
        // Where calls are unsigned, a token proves its own command and nothing about the command of
        // another reference.
        let is_by_token_alone = || {
            notice.generation.is_some() && self.provider.webhook(account).is_some_and(|webhook| !webhook.is_verifying())
        };
        if named.is_some() || is_by_token_alone() {
            return named;
        }
        match ledger.called(&self.provider.name, account, notice.reference.as_deref()?, |_| true).await {
            Ok(id) => self.own(account, &id?),
            Err(error) => {
                warn!(%error, "failed to read the ledger's index");
                None
            }
        }
    }

    /// Finds the other commands that wait for what a notice is about. Repeatable calls of several
    /// commands can lead to the same object, such as the tracker of one parcel: the notice is for
    /// each of these commands.
    pub(super) async fn sharing(&self, account: &Name, notice: &Notice, found: &Identity) -> Vec<Identity> {
        let is_repeatable = |identity: &Identity| {
            let operation = identity.operation.as_ref().and_then(|name| self.provider.operations.get(name));
            operation.is_some_and(|operation| operation.repeatable)
        };
        let Some(reference) = notice.reference.as_deref().filter(|_| is_repeatable(found)) else { return Vec::new() };
        let ledger = &self.pipeline.memory.ledger;
        // The latest notices are not in the index yet.
        ledger.flush().await;
        let ids = ledger.index().called(reference).unwrap_or_else(|error| {
            warn!(%error, "failed to read the ledger's index");
            Vec::new()
        });
        let waits = |id: &&CommandId| ledger.case(id).is_some_and(|case| case.state() == State::Waiting);
        let others = ids.iter().filter(|id| **id != found.id).filter(waits);
        others.filter_map(|id| self.own(account, id)).filter(is_repeatable).collect()
    }

    fn own(&self, account: &Name, id: &CommandId) -> Option<Identity> {
        let case = self.pipeline.memory.case(id)?;
        let opening = case.opening.as_ref().filter(|opening| opening.is_of(&self.provider.name, account))?;
        Some(opening.identity.clone())
    }
}

/// Describes the conflict of a notice that would complete its command with another amount than was
/// asked for.
pub(super) fn find_mismatch(case: &Case, notice: &Notice) -> Option<ConflictEvent> {
    let is_completed = case.ending.is_some() && case.state() == State::Completed;
    let failure = case.money.as_ref()?.mismatch(notice.amount.as_ref()?).filter(|_| !is_completed)?;
    let (identity, generation) = (case.opening.as_ref()?.identity.clone(), case.step.generation);
    Some(ConflictEvent::of_amount(identity, generation, &failure, Trace::default(), Timestamp::now()))
}
