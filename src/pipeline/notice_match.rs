//! Finds the command that a notice is about, what proves it, and whether the notice states the
//! amount that was requested.

use jiff::Timestamp;
use tracing::warn;

use super::webhook_handler::WebhookHandler;
use ferryd_broker::webhook_message::{WebhookMessage, WebhookOrigin};
use ferryd_domain::command::EncodedIdentity;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::conflict::ConflictEvent;
use ferryd_domain::event::TraceContext;
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::lifecycle::LifecycleState;
use ferryd_domain::name::Name;
use ferryd_domain::webhook::WebhookNotice;
use ferryd_domain::webhook_token::TokenClaims;

impl WebhookHandler {
    /// Looks for a proof of the command that a notice names: the token beside its id, or that of
    /// the URL. A call that a token proves and that names another command is not about the token's
    /// command.
    pub(super) fn prove_command(
        &self,
        webhook: &WebhookMessage,
        notice: &mut WebhookNotice,
        named: Option<&TokenClaims>,
    ) {
        let WebhookMessage { id, provider, account, received_at, origin, .. } = webhook;
        // Only the provider may write to its queue.
        if *origin == WebhookOrigin::Queue {
            return;
        }
        if let Some(named) =
            named.filter(|named| notice.command.as_ref().is_none_or(|id| *id == named.command))
        {
            notice.command = Some(named.command.clone());
            notice.generation = Some(named.generation);
        }
        let beside = notice
            .command
            .as_ref()
            .zip(notice.token.as_ref())
            .zip(self.provider.echo_tokens.as_ref());
        let Some(((command, token), tokens)) = beside else { return };
        match tokens.read(account, command, token, *received_at) {
            Ok(generation) => notice.generation = Some(generation),
            Err(reason) => {
                let command = command.as_str();
                warn!(%provider, webhook.id = %id, command.id = command, %reason, "a webhook does not prove its command");
            }
        }
    }

    /// Finds the command that a notice is about, if it belongs to this account: the secret of one
    /// account proves nothing about another's. Any customer of the same provider can have an id
    /// echoed, so an id in a call to the endpoint counts only with its token.
    pub(super) async fn find_command(
        &self,
        WebhookMessage { account, origin, .. }: &WebhookMessage,
        notice: &WebhookNotice,
    ) -> Option<EncodedIdentity> {
        let ledger = &self.pipeline.ledger_gate.ledger;
        let is_of_queue = *origin == WebhookOrigin::Queue;
        let named = notice
            .command
            .as_ref()
            .filter(|_| is_of_queue || notice.generation.is_some())
            .and_then(|id| self.find_own_command(account, id));
        // Where calls are unsigned, a token proves its own command and nothing about the command of
        // another reference.
        let is_by_token_alone = || {
            !is_of_queue
                && notice.generation.is_some()
                && self.provider.webhook(account).is_some_and(|webhook| !webhook.is_verifying())
        };
        // The command that a message names may not be known yet, and others can have the reference
        // in common with it.
        let is_named_by_queue = is_of_queue && notice.command.is_some();
        if named.is_some() || is_named_by_queue || is_by_token_alone() {
            return named;
        }
        match ledger
            .find_by_reference(&self.provider.name, account, notice.reference.as_deref()?, |_| true)
            .await
        {
            Ok(id) => self.find_own_command(account, &id?),
            Err(error) => {
                warn!(%error, "failed to read the ledger's index");
                None
            }
        }
    }

    /// Finds the other commands that wait for what a notice is about. Repeatable calls of several
    /// commands can lead to the same object, such as the tracker of one parcel: the notice is for
    /// each of these commands. A message of the provider's queue that names a command is for that
    /// one alone.
    pub(super) async fn find_sharing_commands(
        &self,
        WebhookMessage { account, origin, .. }: &WebhookMessage,
        notice: &WebhookNotice,
        found: &EncodedIdentity,
    ) -> Vec<EncodedIdentity> {
        let is_repeatable = |identity: &EncodedIdentity| {
            let operation =
                identity.operation.as_ref().and_then(|name| self.provider.operations.get(name));
            operation.is_some_and(|operation| operation.repeatable)
        };
        if *origin == WebhookOrigin::Queue && notice.command.is_some() {
            return Vec::new();
        }
        let Some(reference) = notice.reference.as_deref().filter(|_| is_repeatable(found)) else {
            return Vec::new();
        };
        let ledger = &self.pipeline.ledger_gate.ledger;
        // The latest notices are not in the index yet.
        ledger.flush().await;
        let ids = ledger.index().find_by_reference(reference).unwrap_or_else(|error| {
            warn!(%error, "failed to read the ledger's index");
            Vec::new()
        });
        let waits = |id: &&CommandId| {
            ledger.command_state(id).is_some_and(|state| state.state() == LifecycleState::Waiting)
        };
        let others = ids.iter().filter(|id| **id != found.id).filter(waits);
        others.filter_map(|id| self.find_own_command(account, id)).filter(is_repeatable).collect()
    }

    fn find_own_command(&self, account: &Name, id: &CommandId) -> Option<EncodedIdentity> {
        let state = self.pipeline.ledger_gate.command_state(id)?;
        let identity = state
            .identity
            .as_ref()
            .filter(|identity| identity.is_of(&self.provider.name, account))?;
        Some(identity.command.clone())
    }
}

/// Describes the conflict of a notice that would complete its command with another amount than was
/// requested.
pub(super) fn find_mismatch(state: &CommandState, notice: &WebhookNotice) -> Option<ConflictEvent> {
    let is_completed = state.ending.is_some() && state.state() == LifecycleState::Completed;
    let failure =
        state.money.as_ref()?.mismatch(notice.amount.as_ref()?).filter(|_| !is_completed)?;
    let (identity, generation) = (state.identity.as_ref()?.command.clone(), state.step.generation);
    Some(ConflictEvent::of_amount(
        identity,
        generation,
        &failure,
        TraceContext::default(),
        Timestamp::now(),
    ))
}
