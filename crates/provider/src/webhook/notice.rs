//! Reads the notices of a verified call: their commands, and their meaning.
//!
//! A call may contain many notices; `each` yields them. They are read all or none: a notice that
//! can't be read keeps the whole call from being acknowledged as handled.

use minijinja::Value;
use serde_json::Value as Json;

use super::challenge::{body, scope};
use super::notice_meaning::NoticeMeaningName;
use crate::rest::amount::AmountTemplate;
use crate::rest::expression::{Condition, ExpressionScope};
use crate::rest::text::TextTemplate;
use crate::rest::tree::{LeafErrorPolicy, TreeKey, TreeTemplate};
use ferryd_domain::command_id::{CommandId, PublishedCommandId};
use ferryd_domain::key::IdempotencyKey;
use ferryd_domain::outcome::{Failure, Success};
use ferryd_domain::webhook::{NoticeMeaning, RawWebhook, WebhookNotice};

/// The most notices of one call.
const MOST: usize = 10_000;

/// The most bytes of an id or a name.
const LONGEST: usize = 512;

/// The compiled expressions by which calls are read.
#[derive(Debug, Default)]
pub(super) struct NoticeReader {
    /// The list of notices; `None` where a call is one notice.
    pub(super) each: Option<TextTemplate>,
    /// The name of the event.
    pub(super) event: Option<TextTemplate>,
    /// The provider's id for the notice.
    pub(super) id: Option<TextTemplate>,
    /// The text that names the command.
    pub(super) command: Option<TextTemplate>,
    /// The form of that text.
    pub(super) naming: CommandNaming,
    /// The token beside the command's id.
    pub(super) token: Option<TextTemplate>,
    /// The provider's own id for the object of the notice.
    pub(super) reference: Option<TextTemplate>,
    /// The rules for the meaning of notices; the first that matches decides.
    pub(super) rules: Vec<NoticeRule>,
}

/// The form of the text by which a notice names its command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum CommandNaming {
    /// The command's id.
    #[default]
    Id,
    /// The command's id, or the id of its message where the command was replayed.
    IdOrMessageId,
    /// The id of the command's message.
    MessageId,
}

impl CommandNaming {
    /// Reads the command, and the generation of its calls where the text names one.
    fn read(self, text: &str) -> Option<(CommandId, Option<u32>)> {
        let (id, generation) = match self {
            Self::Id => (text, None),
            Self::IdOrMessageId | Self::MessageId => IdempotencyKey::read_generation(text)
                .map(|(id, generation)| (id, Some(generation)))?,
        };
        // An id alone is that of the first message, or of a command whichever its message.
        let generation = generation.filter(|number| *number > 0 || self == Self::MessageId);
        Some((id.parse::<PublishedCommandId>().ok()?.into(), generation))
    }
}

/// A rule for the meaning of notices.
#[derive(Debug)]
pub(super) struct NoticeRule {
    /// The condition under which the rule matches.
    pub(super) when: Condition,
    /// The meaning of a notice that matches.
    pub(super) means: NoticeMeaningName,
    /// The `result` of the event.
    pub(super) result: Option<TreeTemplate>,
    /// The amount that the notice reports.
    pub(super) amount: Option<AmountTemplate>,
    /// The provider's code.
    pub(super) code: Option<TextTemplate>,
    /// The message for people.
    pub(super) message: Option<TextTemplate>,
}

impl NoticeReader {
    /// Returns true if calls name commands by ids without a proof.
    pub(super) fn names_without_proof(&self) -> bool {
        self.command.is_some() && self.token.is_none()
    }

    /// Returns true if a call's content can end a command.
    pub(super) fn decides(&self) -> bool {
        self.rules.iter().any(|rule| rule.means.is_decisive())
    }

    /// Reads the notices of a call.
    ///
    /// # Errors
    /// A description of the unreadable part, for people.
    pub(super) fn notices(
        &self,
        call: &RawWebhook,
        secrets: Value,
    ) -> Result<Vec<WebhookNotice>, String> {
        let body = body(call);
        let scope = scope(call, body.as_ref(), secrets);
        let Some(each) = &self.each else {
            let text = || Json::String(String::from_utf8_lossy(&call.body).into_owned());
            return Ok(vec![self.notice(&scope, body.clone().unwrap_or_else(text))]);
        };
        let items = match each.json(&scope).map_err(|error| format!("webhook.each: {error}"))? {
            Some(Json::Array(items)) if items.len() <= MOST => items,
            Some(Json::Array(items)) => {
                return Err(format!("webhook.each: {} notices are too many", items.len()));
            }
            _ => return Err("webhook.each: is no list".to_owned()),
        };
        let notice =
            |item: Json| self.notice(&scope.with([("body", (&item).into())]), item.clone());
        Ok(items.into_iter().map(notice).collect())
    }

    fn notice(&self, scope: &ExpressionScope<'_>, body: Json) -> WebhookNotice {
        let rule = self.rules.iter().find(|rule| rule.when.holds(scope));
        let reference = short(self.reference.as_ref(), scope);
        let named = short(self.command.as_ref(), scope).and_then(|text| self.naming.read(&text));
        let (command, generation) = named.map_or((None, None), |(id, of)| (Some(id), of));
        WebhookNotice {
            event: short(self.event.as_ref(), scope),
            id: short(self.id.as_ref(), scope),
            command,
            token: short(self.token.as_ref(), scope),
            generation,
            meaning: rule
                .map_or(NoticeMeaning::Nothing, |rule| rule.meaning(scope, reference.as_deref())),
            reference,
            amount: rule.and_then(|rule| rule.amount.as_ref()?.stated(scope)),
            body,
        }
    }
}

impl NoticeRule {
    fn meaning(&self, scope: &ExpressionScope<'_>, reference: Option<&str>) -> NoticeMeaning {
        match self.means {
            NoticeMeaningName::Nothing => NoticeMeaning::Nothing,
            NoticeMeaningName::Lookup => NoticeMeaning::Lookup,
            NoticeMeaningName::Progress => {
                NoticeMeaning::Progress(self.mapped(scope, &mut Vec::new()))
            }
            NoticeMeaningName::Declined => NoticeMeaning::Declined(self.failure(scope, reference)),
            NoticeMeaningName::Failed => NoticeMeaning::Failed(self.failure(scope, reference)),
            NoticeMeaningName::Completed => {
                let mut warnings = Vec::new();
                let result = self.mapped(scope, &mut warnings);
                let provider_reference = reference.map(str::to_owned);
                NoticeMeaning::Completed(Success {
                    result,
                    provider_reference,
                    warnings,
                    http_status: None,
                })
            }
        }
    }

    fn mapped(&self, scope: &ExpressionScope<'_>, warnings: &mut Vec<String>) -> Option<Json> {
        self.result
            .as_ref()?
            .json(scope, TreeKey::Root("result"), &mut LeafErrorPolicy::Note(warnings))
            .ok()
            .flatten()
    }

    fn failure(&self, scope: &ExpressionScope<'_>, reference: Option<&str>) -> Failure {
        let message = short(self.message.as_ref(), scope);
        Failure {
            code: short(self.code.as_ref(), scope),
            message: message.unwrap_or_else(|| "the provider says that it has failed".to_owned()),
            provider_reference: reference.map(str::to_owned),
            ..Failure::default()
        }
    }
}

/// Evaluates a text that must be present and not too long.
fn short(text: Option<&TextTemplate>, scope: &ExpressionScope<'_>) -> Option<String> {
    text?.string(scope).ok().flatten().filter(|text| !text.is_empty() && text.len() <= LONGEST)
}

#[cfg(test)]
#[path = "notice_tests.rs"]
mod tests;
