//! The processing of one webhook call, from its delivery to its ack.
//!
//! ```text
//! delivery → read → notices → whose? → *finished* where it decides → publish and confirm → ack → *settled*
//! ```
//!
//! A call that was answered with 2xx stays in its queue until everything that follows from it is
//! confirmed. The call holds no command's message: the message of the command that it ends waits on
//! the ladder, and finds on its return that the command has ended. The ledger decides between a
//! webhook call and every other answer, so a call that comes twice changes nothing the second time.
//!
//! A call can come before the ledger knows the command that it is about. Such a call waits on the
//! ladder as well, longer each time.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use tracing::{debug, error, info, warn};

use super::acks::ack;
use super::callback_decision::Decided;
use super::callbacks::Callbacks;
use super::echoed_values::mask_echoes;
use super::log::mask_of_notices;
use super::outbox::Effects;
use super::proof::find_mismatch;

use ferryd_broker::callback::{self, Callback};
use ferryd_broker::error::BrokerError;
use ferryd_broker::message::{Message, number, put_text, short, text};
use ferryd_domain::callback::{Meaning, Notice};
use ferryd_domain::callback_token::Named;
use ferryd_domain::command::Identity;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::event::Happening;
use ferryd_domain::inquiry::Purpose;
use ferryd_domain::ledger::about::About;
use ferryd_domain::ledger::case::Case;
use ferryd_domain::ledger::record::{NoticePrompt, Prompt, RecordId};
use ferryd_domain::lifecycle::Kind;
use ferryd_domain::received::{ReceivedData, ReceivedEvent};
use ferryd_domain::retry::Rung;
use ferryd_redact::Mask;

/// The header with the number of times that a call has waited for its command to become known.
const TRIED: &str = "ferry-tried";
/// The header with the indices of the call's notices that wait.
const ITEMS: &str = "ferry-items";
/// The most indices in one message, so that its headers stay small.
const MOST_ITEMS: usize = 1000;
/// The header that is true once events about these notices are published.
const TOLD: &str = "ferry-told";
/// The number of waits, about eight seconds, after which a notice is published without its command.
const TOLD_AFTER: usize = 3;
/// The number of waits, about two hours, after which a notice is dropped.
const MOST_WAITS: usize = 11;
/// The number of waits, about four minutes, after which a notice that only asks for a lookup is
/// dropped. The lookup is also made at its planned time, and anybody can make such calls where they
/// are unsigned.
const MOST_WAITS_TO_ASK: usize = 7;

/// The number of waits that a call counts as having when the record of its command needs a later
/// version of ferryd. The call then comes back every five minutes, like the message of the command.
const FOREIGN_WAIT: usize = 8;

/// The state of a webhook call, as its headers say.
#[derive(Debug, Clone, Default)]
struct Travel {
    tried: usize,
    told: bool,
    /// The indices of the notices that are left; `None` for all of them.
    items: Option<BTreeSet<usize>>,
}

/// The messages, waits and replies that follow from a call.
#[derive(Default)]
struct Following {
    messages: Vec<Message>,
    /// The notices that wait again, by the number of their waits then, and by whether they are
    /// published.
    again: BTreeMap<(usize, bool), Vec<usize>>,
    /// The decisions that these messages publish. The replies go with them.
    settled: Vec<(CommandId, RecordId)>,
    replies: Vec<Message>,
}

impl Following {
    fn again(&mut self, item: usize, tried: usize, told: bool) {
        self.again.entry((tried, told)).or_default().push(item);
    }

    fn add(&mut self, id: &CommandId, effects: Effects) {
        self.messages.extend(effects.messages);
        self.replies.extend(effects.replies);
        self.settled.extend(effects.settles.map(|record| (id.clone(), record)));
    }
}

impl Callbacks {
    /// Processes a webhook call. A call that can't be read, or that makes its reader panic, is
    /// dead-lettered.
    pub async fn take(&self, delivery: Delivery) {
        let following = AssertUnwindSafe(self.follow(&delivery)).catch_unwind().await;
        let following = following.unwrap_or_else(|_| {
            error!(provider = %self.provider.name, "reading a webhook call failed in ferryd itself; it is put aside");
            Ok(self.aside(&delivery))
        });
        // Where ferryd stops before it may publish, the call comes back.
        let Ok(Following { messages, settled, replies, .. }) = following else { return };
        let effects = Effects { messages, replies, settles: None };
        if self.pipeline.publish(&effects).await.is_err() {
            return;
        }
        ack([delivery.acker]).await;
        for (id, record) in settled {
            self.pipeline.memory.settle(&id, record);
        }
        for reply in &effects.replies {
            self.pipeline.broker.publish_once(reply).await;
        }
    }

    async fn follow(&self, delivery: &Delivery) -> Result<Following, BrokerError> {
        let provider = &self.provider.name;
        let read = callback::from_delivery(delivery).map_err(|error| error.to_string()).and_then(|callback| {
            self.notices(&callback).map(|(notices, is_verified)| (Callback { is_verified, ..callback }, notices))
        });
        let (callback, notices) = match read {
            Ok(read) => read,
            Err(reason) => {
                error!(%provider, reason, "a webhook call can't be read; it is put aside");
                return Ok(self.aside(delivery));
            }
        };
        let travel = travel(delivery);
        let named = self.named(&callback);
        let mut following = Following::default();
        for (item, mut notice) in notices.into_iter().enumerate() {
            self.prove_command(&callback, &mut notice, named.as_ref());
            if travel.items.as_ref().is_none_or(|items| items.contains(&item)) {
                self.heed(&callback, item, notice, &travel, &mut following).await?;
            }
        }
        // One message for all notices that wait alike: a batch may have thousands, and each message
        // holds the whole batch.
        for ((tried, told), items) in std::mem::take(&mut following.again) {
            following
                .messages
                .extend(items.chunks(MOST_ITEMS).filter_map(|items| self.again(&callback, items, tried, told)));
        }
        Ok(following)
    }

    /// Finds the command that the URL of a call names. A token that does not verify is ignored: the
    /// caller has been verified before.
    fn named(&self, callback: &Callback) -> Option<Named> {
        let Callback { id, provider, account, received_at, call, .. } = callback;
        match self.provider.links.as_ref()?.named_by(account, call, *received_at)? {
            Ok(named) => Some(named),
            Err(reason) => {
                warn!(%provider, callback = %id, %reason, "a webhook call names no command by its URL");
                None
            }
        }
    }

    /// Dead-letters a webhook call.
    fn aside(&self, delivery: &Delivery) -> Following {
        Following { messages: self.pipeline.outbox.put_aside(delivery).messages, ..Following::default() }
    }

    /// Processes one notice.
    async fn heed(
        &self,
        callback: &Callback,
        item: usize,
        notice: Notice,
        travel: &Travel,
        following: &mut Following,
    ) -> Result<(), BrokerError> {
        let tried = travel.tried;
        if let Some(identity) = self.whose(&callback.account, &notice).await {
            let sharing = self.sharing(&callback.account, &notice, &identity).await;
            let concerned: Vec<_> = std::iter::once(identity.clone()).chain(sharing).collect();
            let mask = self.mask_of_commands(callback, &concerned);
            let shown = mask_echoes(&notice, &mask);
            if tried <= TOLD_AFTER && !travel.told {
                following.messages.extend(self.told(callback, item, &shown, Some(identity), &mask));
            }
            for identity in concerned {
                let prompt = (callback.is_verified && !travel.told).then(|| prompt_of(&shown, true));
                // A notice that causes a lookup is recorded with the lookup.
                if let Some(prompt) = prompt.filter(|_| notice.meaning != Meaning::Lookup) {
                    self.pipeline.note_prompt(&identity.id, prompt, false);
                }
                let notice = (item, &notice, &shown);
                self.follow_for(identity, callback, notice, tried, following).await?;
            }
            return Ok(());
        }
        let names_one = notice.command.is_some() || notice.reference.is_some();
        let tells = matches!(notice.meaning, Meaning::Nothing | Meaning::Progress(_));
        let waits = match notice.meaning {
            _ if tells => TOLD_AFTER,
            Meaning::Lookup => MOST_WAITS_TO_ASK,
            _ => MOST_WAITS,
        };
        let goes_on = names_one && tried < waits;
        if tried == TOLD_AFTER || (!goes_on && tried < TOLD_AFTER) {
            following.messages.extend(self.told(
                callback,
                item,
                &notice,
                None,
                &mask_of_notices(&self.lanes, callback),
            ));
        }
        if goes_on {
            debug!(provider = %callback.provider, callback = %callback.id, tried, "no command is known for a webhook call yet");
            following.again(item, tried + 1, tried >= TOLD_AFTER);
        } else if !tells {
            let reference = notice.reference.as_deref().unwrap_or_default();
            info!(provider = %callback.provider, callback = %callback.id, reference, "a webhook call belongs to no command");
        }
        Ok(())
    }

    /// Processes one notice for a command that it is about. `shown` is the masked notice, which may
    /// be published.
    async fn follow_for(
        &self,
        identity: Identity,
        callback: &Callback,
        (item, notice, shown): (usize, &Notice, &Notice),
        tried: usize,
        following: &mut Following,
    ) -> Result<(), BrokerError> {
        let (id, ledger) = (identity.id.clone(), &self.pipeline.memory.ledger);
        let mut case = ledger.case(&id);
        let mut about = about_of(notice, case.as_deref());
        if about == About::Another {
            // Decided only once the index has read everything that is recorded about the command.
            ledger.barrier().await?;
            case = ledger.case(&id);
            about = about_of(notice, case.as_deref());
        }
        match happening(&shown.meaning) {
            Some(_) if about == About::Unclear && tried < MOST_WAITS => {
                following.again(item, tried + 1, true);
            }
            Some(_) if about == About::Another => {
                following.messages.extend(self.pipeline.tell_another(identity, notice).await?);
            }
            Some(_) if about != About::Latest => {
                let reference = notice.reference.as_deref().unwrap_or_default();
                let command = id.as_str();
                warn!(
                    command.id = command,
                    reference, "a webhook call is about an earlier call of its command; it decides nothing"
                );
            }
            Some(_) if let Some(conflict) = case.as_deref().and_then(|case| find_mismatch(case, notice)) => {
                self.pipeline.record_conflict(&conflict).await?;
                following.messages.extend(self.pipeline.outbox.contradicted(&conflict).messages);
            }
            Some(happening) => match self.pipeline.decide(&id, happening).await? {
                Decided::Yes(effects) => following.add(&id, effects),
                Decided::NotYet => following.again(item, FOREIGN_WAIT, true),
                Decided::Overtaken if tried < MOST_WAITS => following.again(item, tried + 1, true),
                // The command was never called in all that time.
                Decided::Overtaken => {
                    following.messages.extend(self.pipeline.tell_another(identity, notice).await?);
                }
            },
            None if notice.meaning == Meaning::Lookup => {
                let question = case.as_ref().and_then(|case| self.pipeline.asked_now(case, Some(Purpose::Lookup)));
                // The call may still be running: the provider can be asked once its outcome is
                // recorded.
                let may_come = case.is_some_and(|case| case.ending.is_none()) && tried < MOST_WAITS_TO_ASK;
                if question.is_none() && may_come {
                    following.again(item, tried + 1, true);
                }
                // Anybody who knows the provider's id of the command can make unproven calls.
                let may_ask = |_: &Message| callback.is_verified || self.unverified_lookups.take(&id);
                let question = question.filter(may_ask);
                if question.is_some() || (callback.is_verified && tried == 0) {
                    self.pipeline.note_prompt(&id, prompt_of(shown, callback.is_verified), question.is_some());
                }
                following.messages.extend(question);
            }
            None => {}
        }
        Ok(())
    }

    /// Builds the event about a notice.
    fn told(
        &self,
        callback: &Callback,
        item: usize,
        notice: &Notice,
        command: Option<Identity>,
        mask: &Mask,
    ) -> Option<Message> {
        let Callback { id, account, received_at, is_verified, .. } = callback;
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
                Meaning::Progress(result) => result.clone(),
                _ => None,
            },
            body: mask.value(notice.body.clone()),
        };
        let id = notice.id.clone().unwrap_or_else(|| format!("{id}-{item}"));
        self.pipeline.outbox.received(&ReceivedEvent::new(&id, *received_at, data))
    }

    /// Builds the message by which a call comes back later with the notices that wait.
    fn again(&self, callback: &Callback, items: &[usize], tried: usize, told: bool) -> Option<Message> {
        let names = &self.pipeline.names;
        let message = callback::to_message(callback, names).ok()?;
        let rung = Rung::all().nth(tried.saturating_sub(1)).unwrap_or(Rung::LONGEST);
        let mut headers = message.properties.headers().clone().unwrap_or_else(FieldTable::default);
        headers.insert(TRIED.into(), AMQPValue::LongLongInt(i64::try_from(tried).unwrap_or(i64::MAX)));
        headers.insert(TOLD.into(), AMQPValue::Boolean(told));
        let items: Vec<String> = items.iter().map(ToString::to_string).collect();
        put_text(&mut headers, ITEMS, &items.join(","));
        let rung = self.pipeline.outbox.rung_word(Some(&callback.provider), rung);
        let key = format!("{rung}.{}.{}", callback.provider, callback.account);
        let (exchange, routing_key) = (short(&names.retry()).ok()?, short(&key).ok()?);
        Some(Message { exchange, routing_key, properties: message.properties.with_headers(headers), ..message })
    }
}

/// Builds the record of a notice for the ledger.
fn prompt_of(shown: &Notice, verified: bool) -> Prompt {
    let (id, event) = (shown.id.clone(), shown.event.clone());
    Prompt::Notice(NoticePrompt { id, event, meaning: shown.meaning.as_str().to_owned(), verified })
}

fn about_of(notice: &Notice, case: Option<&Case>) -> About {
    case.map_or(About::Latest, |case| About::of(notice, case))
}

/// Returns what the notice reports about the command; `None` where it decides nothing.
fn happening(meaning: &Meaning) -> Option<Happening> {
    match meaning {
        Meaning::Completed(success) => Some(Happening::Completed(success.clone())),
        Meaning::Declined(failure) => Some(Happening::Failed(Kind::Declined, failure.clone())),
        Meaning::Failed(failure) => Some(Happening::FailedThere(failure.clone())),
        Meaning::Progress(_) | Meaning::Lookup | Meaning::Nothing => None,
    }
}

fn travel(delivery: &Delivery) -> Travel {
    let headers = delivery.properties.headers().as_ref();
    let tried = number(headers, TRIED).and_then(|number| usize::try_from(number).ok()).unwrap_or_default();
    let told = headers.and_then(|headers| headers.inner().get(TOLD)) == Some(&AMQPValue::Boolean(true));
    let items = text(headers, ITEMS).map(|items| items.split(',').filter_map(|item| item.parse().ok()).collect());
    // The previous version wrote a single index.
    let single = || number(headers, "ferry-item").and_then(|item| usize::try_from(item).ok()).map(|item| [item].into());
    let items = items.or_else(single);
    Travel { tried, told, items }
}
