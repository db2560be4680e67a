//! The processing of one webhook, from its delivery to its ack.
//!
//! ```text
//! delivery → read → notices → whose? → *finished* where it decides → publish and confirm → ack → *settled*
//! ```
//!
//! A call that was answered with 2xx stays in its queue until everything that follows from it is
//! confirmed. The call holds no command's message: the message of the command that it ends waits on
//! the ladder, and finds on its return that the command has ended. The ledger decides between a
//! webhook and every other answer, so a call that comes twice changes nothing the second time.
//!
//! A call can come before the ledger knows the command that it is about. Such a call waits on the
//! ladder as well, longer each time.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use tracing::{debug, error, info, warn};

use super::echoed_values::mask_echoes;
use super::log::mask_of_notices;
use super::messages::Effects;
use super::notice_match::find_mismatch;
use super::webhook_decision::WebhookDecision;
use super::webhook_handler::WebhookHandler;
use super::webhook_progress::{ITEMS, PUBLISHED, TRIED, WebhookProgress, read_progress};

use ferryd_broker::delivery_acks::HeldDelivery;
use ferryd_broker::error::BrokerError;
use ferryd_broker::message::{OutgoingMessage, put_text, short_string};
use ferryd_broker::webhook_message::{self, WebhookMessage, WebhookOrigin};
use ferryd_domain::command::EncodedIdentity;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::event::EventKind;
use ferryd_domain::ledger::call_match::CallMatch;
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::record::{CommandPrompt, NoticePrompt, RecordId};
use ferryd_domain::lifecycle::FailureKind;
use ferryd_domain::query::QueryPurpose;
use ferryd_domain::retry::Rung;
use ferryd_domain::webhook::{NoticeMeaning, WebhookNotice};
use ferryd_domain::webhook_event::{ReceivedData, ReceivedEvent};
use ferryd_domain::webhook_token::TokenClaims;
use ferryd_redact::Mask;
use ferryd_transport::amqp_consume::MESSAGE_ID;
/// The most indices in one message, so that its headers stay small.
const MOST_ITEMS: usize = 1000;
/// The number of waits, about eight seconds, after which a notice is published without its command.
const PUBLISHED_AFTER: usize = 3;
/// The number of waits, about two hours, after which a notice is dropped.
const MOST_WAITS: usize = 11;
/// The number of waits, about four minutes, after which a notice that only asks for a lookup is
/// dropped. The lookup is also made at its planned time, and anybody can make such calls where they
/// are unsigned.
const MOST_WAITS_TO_QUERY: usize = 7;

/// The number of waits that a call counts as having when the record of its command needs a later
/// version of ferryd. The call then comes back every five minutes, like the message of the command.
const FOREIGN_WAIT: usize = 8;

/// The messages, waits and replies that follow from a call.
#[derive(Default)]
struct WebhookEffects {
    messages: Vec<OutgoingMessage>,
    /// The notices that wait again, by the number of their waits then, and by whether they are
    /// published.
    again: BTreeMap<(usize, bool), Vec<usize>>,
    /// The decisions that these messages publish. The replies go with them.
    settled: Vec<(CommandId, RecordId)>,
    replies: Vec<OutgoingMessage>,
}

impl WebhookEffects {
    fn again(&mut self, item: usize, tried: usize, is_published: bool) {
        self.again.entry((tried, is_published)).or_default().push(item);
    }

    fn add(&mut self, id: &CommandId, effects: Effects) {
        self.messages.extend(effects.messages);
        self.replies.extend(effects.replies);
        self.settled.extend(effects.settles.map(|record| (id.clone(), record)));
    }
}

impl WebhookHandler {
    /// Processes a webhook. A call that can't be read, or that makes its reader panic, is
    /// dead-lettered.
    pub async fn take(&self, delivery: HeldDelivery) {
        let following = AssertUnwindSafe(self.follow(&delivery)).catch_unwind().await;
        let following = following.unwrap_or_else(|_| {
            error!(provider = %self.provider.name, "reading a webhook failed in ferryd itself; it is dead-lettered");
            Ok(self.dead_letter_webhook(&delivery))
        });
        // Where ferryd stops before it may publish, the call comes back.
        let Ok(WebhookEffects { messages, settled, replies, .. }) = following else { return };
        let effects = Effects { messages, replies, settles: None };
        if self.pipeline.publish(&effects).await.is_err() {
            return;
        }
        delivery.acker.ack().await;
        for (id, record) in settled {
            self.pipeline.ledger_gate.settle(&id, record);
        }
        for reply in &effects.replies {
            self.pipeline.broker.publish_once(reply).await;
        }
    }

    async fn follow(&self, delivery: &Delivery) -> Result<WebhookEffects, BrokerError> {
        let provider = &self.provider.name;
        let read = webhook_message::read_delivery(delivery)
            .map_err(|error| error.to_string())
            .and_then(|webhook| {
                self.read_notices(&webhook).map(|(notices, is_verified)| {
                    (WebhookMessage { is_verified, ..webhook }, notices)
                })
            });
        let (webhook, notices) = match read {
            Ok(read) => read,
            Err(reason) => {
                error!(%provider, reason, "a webhook is unreadable; it is dead-lettered");
                return Ok(self.dead_letter_webhook(delivery));
            }
        };
        let state = read_progress(delivery);
        let named = self.command_of_url(&webhook);
        let mut following = WebhookEffects::default();
        for (item, mut notice) in notices.into_iter().enumerate() {
            self.prove_command(&webhook, &mut notice, named.as_ref());
            if state.items.as_ref().is_none_or(|items| items.contains(&item)) {
                self.handle_notice(&webhook, item, notice, &state, &mut following).await?;
            }
        }
        // One message for all notices that wait alike: a batch may have thousands, and each message
        // holds the whole batch.
        for ((tried, is_published), items) in std::mem::take(&mut following.again) {
            following.messages.extend(
                items
                    .chunks(MOST_ITEMS)
                    .filter_map(|items| self.retry_later(&webhook, items, tried, is_published)),
            );
        }
        Ok(following)
    }

    /// Finds the command that the URL of a call names. A token that does not verify is ignored: the
    /// caller has been verified before.
    fn command_of_url(&self, webhook: &WebhookMessage) -> Option<TokenClaims> {
        let WebhookMessage { id, provider, account, received_at, call, .. } = webhook;
        match self.provider.links.as_ref()?.named_by(account, call, *received_at)? {
            Ok(named) => Some(named),
            Err(reason) => {
                warn!(%provider, webhook.id = %id, %reason, "a webhook names no command by its URL");
                None
            }
        }
    }

    /// Dead-letters a webhook.
    fn dead_letter_webhook(&self, delivery: &Delivery) -> WebhookEffects {
        WebhookEffects {
            messages: self.pipeline.messages.dead_letter_webhook(delivery).messages,
            ..WebhookEffects::default()
        }
    }

    /// Processes one notice.
    async fn handle_notice(
        &self,
        webhook: &WebhookMessage,
        item: usize,
        notice: WebhookNotice,
        state: &WebhookProgress,
        following: &mut WebhookEffects,
    ) -> Result<(), BrokerError> {
        let tried = state.tried;
        if let Some(identity) = self.find_command(webhook, &notice).await {
            let sharing = self.find_sharing_commands(webhook, &notice, &identity).await;
            let concerned: Vec<_> = std::iter::once(identity.clone()).chain(sharing).collect();
            let mask = self.mask_of_commands(webhook, &concerned);
            let shown = mask_echoes(&notice, &mask);
            if tried <= PUBLISHED_AFTER && !state.is_published {
                following.messages.extend(self.notice_event(
                    webhook,
                    item,
                    &shown,
                    Some(identity),
                    &mask,
                ));
            }
            for identity in concerned {
                let prompt =
                    (webhook.is_verified && !state.is_published).then(|| prompt_of(&shown, true));
                // A notice that causes a lookup is recorded with the lookup.
                if let Some(prompt) = prompt.filter(|_| notice.meaning != NoticeMeaning::Lookup) {
                    self.pipeline.note_prompt(&identity.id, prompt, false);
                }
                let notice = (item, &notice, &shown);
                self.follow_for(identity, webhook, notice, tried, following).await?;
            }
            return Ok(());
        }
        let names_one = notice.command.is_some() || notice.reference.is_some();
        let only_informs =
            matches!(notice.meaning, NoticeMeaning::Nothing | NoticeMeaning::Progress(_));
        let waits = match notice.meaning {
            _ if only_informs => PUBLISHED_AFTER,
            NoticeMeaning::Lookup => MOST_WAITS_TO_QUERY,
            _ => MOST_WAITS,
        };
        let goes_on = names_one && tried < waits;
        if tried == PUBLISHED_AFTER || (!goes_on && tried < PUBLISHED_AFTER) {
            following.messages.extend(self.notice_event(
                webhook,
                item,
                &notice,
                None,
                &mask_of_notices(&self.lanes, webhook),
            ));
        }
        if goes_on {
            debug!(provider = %webhook.provider, webhook.id = %webhook.id, tried, "no command is known for a webhook yet");
            following.again(item, tried + 1, tried >= PUBLISHED_AFTER);
        } else if !only_informs {
            let reference = notice.reference.as_deref().unwrap_or_default();
            info!(provider = %webhook.provider, webhook.id = %webhook.id, reference, "a webhook belongs to no command");
        }
        Ok(())
    }

    /// Processes one notice for a command that it is about. `shown` is the masked notice, which may
    /// be published.
    async fn follow_for(
        &self,
        identity: EncodedIdentity,
        webhook: &WebhookMessage,
        (item, notice, shown): (usize, &WebhookNotice, &WebhookNotice),
        tried: usize,
        following: &mut WebhookEffects,
    ) -> Result<(), BrokerError> {
        let (id, ledger) = (identity.id.clone(), &self.pipeline.ledger_gate.ledger);
        let mut state = ledger.command_state(&id);
        let mut about = about_of(webhook.origin, notice, state.as_deref());
        if about == CallMatch::Another {
            // Decided only once the index has read everything that is recorded about the command.
            ledger.wait_for_barrier().await?;
            state = ledger.command_state(&id);
            about = about_of(webhook.origin, notice, state.as_deref());
        }
        match notice_event_kind(&shown.meaning) {
            Some(_) if about == CallMatch::Unclear && tried < MOST_WAITS => {
                following.again(item, tried + 1, true);
            }
            Some(_) if about == CallMatch::Another => {
                following
                    .messages
                    .extend(self.pipeline.publish_other_content(identity, notice).await?);
            }
            Some(_) if about != CallMatch::Latest => {
                let reference = notice.reference.as_deref().unwrap_or_default();
                let command = id.as_str();
                warn!(
                    command.id = command,
                    reference,
                    "a webhook is about an earlier call of its command; it decides nothing"
                );
            }
            Some(_)
                if let Some(conflict) =
                    state.as_deref().and_then(|state| find_mismatch(state, notice)) =>
            {
                self.pipeline.record_conflict(&conflict).await?;
                following
                    .messages
                    .extend(self.pipeline.messages.conflict_messages(&conflict).messages);
            }
            Some(kind) => match self.pipeline.decide_by_notice(&id, kind).await? {
                WebhookDecision::Yes(effects) => following.add(&id, effects),
                WebhookDecision::NotYet => following.again(item, FOREIGN_WAIT, true),
                WebhookDecision::Overtaken if tried < MOST_WAITS => {
                    following.again(item, tried + 1, true);
                }
                // The command was never called in all that time.
                WebhookDecision::Overtaken => {
                    following
                        .messages
                        .extend(self.pipeline.publish_other_content(identity, notice).await?);
                }
            },
            None if notice.meaning == NoticeMeaning::Lookup => {
                let query_message = state.as_ref().and_then(|state| {
                    self.pipeline.early_query_message(state, Some(QueryPurpose::Lookup))
                });
                // The call may still be running: the provider can be queried once its outcome is
                // recorded.
                let may_come = state.is_some_and(|state| state.ending.is_none())
                    && tried < MOST_WAITS_TO_QUERY;
                if query_message.is_none() && may_come {
                    following.again(item, tried + 1, true);
                }
                // Anybody who knows the provider's id of the command can make unproven calls.
                let may_query =
                    |_: &OutgoingMessage| webhook.is_verified || self.unverified_lookups.take(&id);
                let query_message = query_message.filter(may_query);
                if query_message.is_some() || (webhook.is_verified && tried == 0) {
                    self.pipeline.note_prompt(
                        &id,
                        prompt_of(shown, webhook.is_verified),
                        query_message.is_some(),
                    );
                }
                following.messages.extend(query_message);
            }
            None => {}
        }
        Ok(())
    }

    /// Builds the event about a notice.
    fn notice_event(
        &self,
        webhook: &WebhookMessage,
        item: usize,
        notice: &WebhookNotice,
        command: Option<EncodedIdentity>,
        mask: &Mask,
    ) -> Option<OutgoingMessage> {
        let WebhookMessage { id, account, received_at, is_verified, .. } = webhook;
        let message_id = match webhook.origin {
            WebhookOrigin::Queue => webhook.call.header(MESSAGE_ID).map(str::to_owned),
            WebhookOrigin::Endpoint => None,
        };
        let data = ReceivedData {
            command,
            r#type: self.provider.kind.clone(),
            provider: self.provider.name.clone(),
            account: account.clone(),
            verified: *is_verified,
            event: notice.event.clone(),
            provider_reference: notice.reference.clone(),
            meaning: notice.meaning.as_str().to_owned(),
            result: match &notice.meaning {
                NoticeMeaning::Progress(result) => result.clone(),
                _ => None,
            },
            body: mask.value(notice.body.clone()),
        };
        let id = notice.id.clone().unwrap_or_else(|| {
            let id = message_id.unwrap_or_else(|| id.to_string());
            format!("{id}-{item}")
        });
        self.pipeline.messages.webhook_event(&ReceivedEvent::new(&id, *received_at, data))
    }

    /// Builds the message by which a call comes back later with the notices that wait.
    fn retry_later(
        &self,
        webhook: &WebhookMessage,
        items: &[usize],
        tried: usize,
        is_published: bool,
    ) -> Option<OutgoingMessage> {
        let names = &self.pipeline.names;
        let message = webhook_message::to_message(webhook, names).ok()?;
        let rung = Rung::all().nth(tried.saturating_sub(1)).unwrap_or(Rung::LONGEST);
        let mut headers = message.properties.headers().clone().unwrap_or_else(FieldTable::default);
        headers
            .insert(TRIED.into(), AMQPValue::LongLongInt(i64::try_from(tried).unwrap_or(i64::MAX)));
        headers.insert(PUBLISHED.into(), AMQPValue::Boolean(is_published));
        let items: Vec<String> = items.iter().map(ToString::to_string).collect();
        put_text(&mut headers, ITEMS, &items.join(","));
        let rung = self.pipeline.messages.rung_word(Some(&webhook.provider), rung);
        let key = format!("{rung}.{}.{}", webhook.provider, webhook.account);
        let (exchange, routing_key) = (short_string(names.retry()).ok()?, short_string(&key).ok()?);
        Some(OutgoingMessage {
            exchange,
            routing_key,
            properties: message.properties.with_headers(headers),
            ..message
        })
    }
}

/// Builds the record of a notice for the ledger.
fn prompt_of(shown: &WebhookNotice, verified: bool) -> CommandPrompt {
    let (id, event) = (shown.id.clone(), shown.event.clone());
    CommandPrompt::Notice(NoticePrompt {
        id,
        event,
        meaning: shown.meaning.as_str().to_owned(),
        verified,
    })
}

fn about_of(
    origin: WebhookOrigin,
    notice: &WebhookNotice,
    state: Option<&CommandState>,
) -> CallMatch {
    state.map_or(CallMatch::Latest, |state| match origin {
        WebhookOrigin::Endpoint => CallMatch::of(notice, state),
        WebhookOrigin::Queue => CallMatch::of_answer(notice, state),
    })
}

/// Returns what the notice reports about the command; `None` where it decides nothing.
fn notice_event_kind(meaning: &NoticeMeaning) -> Option<EventKind> {
    match meaning {
        NoticeMeaning::Completed(success) => Some(EventKind::Completed(success.clone())),
        NoticeMeaning::Declined(failure) => {
            Some(EventKind::Failed(FailureKind::Declined, failure.clone()))
        }
        NoticeMeaning::Failed(failure) => Some(EventKind::FailedThere(failure.clone())),
        NoticeMeaning::Progress(_) | NoticeMeaning::Lookup | NoticeMeaning::Nothing => None,
    }
}
