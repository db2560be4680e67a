//! Compiles the expressions by which calls are read.

use std::collections::BTreeSet;

use super::file::{NoticeRuleFile, TrustFile, WebhookFile};
use super::notice::{CommandNaming, NoticeReader, NoticeRule};
use super::notice_meaning::NoticeMeaningName;
use super::token::WebhookUrlContext;
use crate::rest::amount::{AmountSource, AmountTemplate};
use crate::rest::expression::{Condition, KnownVariables};
use crate::rest::text::TextTemplate;
use crate::rest::tree::TreeTemplate;
use ferryd_settings::findings::SettingsCursor;

/// Compiles the reading of calls. Faulty parts are reported at `place` and left out.
pub(super) fn reading(
    file: &WebhookFile,
    secrets: &BTreeSet<String>,
    called: WebhookUrlContext<'_>,
    place: &SettingsCursor<'_>,
) -> NoticeReader {
    let known = KnownVariables::in_webhook(secrets);
    if !file.on.is_empty()
        && file.command.is_none()
        && file.reference.is_none()
        && !called.is_requested
    {
        let text = "stands without `command` or `reference`, so nothing says which command a notice is about; write one, or \
                    put `{{ webhook_url }}` into the requests";
        place.key("on").refuse(text);
    }
    if file.token.is_some() && file.command.is_none() {
        place
            .key("token")
            .refuse("proves the id beside it; write `command` as well, or leave it out");
    }
    let source = NoticeSource {
        each: file.each.as_ref(),
        event: file.event.as_ref(),
        id: file.id.as_ref(),
        command: file.command.as_ref(),
        reference: file.reference.as_ref(),
        trust: file.trust,
        on: &file.on,
    };
    let token = file.token.as_ref();
    let token =
        token.and_then(|token| place.key("token").check(TextTemplate::compile(token, &known)));
    NoticeReader { token, ..compile_reader(source, &known, place) }
}

/// The keys by which notices are read, as a table of a file states them.
#[derive(Clone, Copy)]
pub(super) struct NoticeSource<'f> {
    pub(super) each: Option<&'f String>,
    pub(super) event: Option<&'f String>,
    pub(super) id: Option<&'f String>,
    pub(super) command: Option<&'f String>,
    pub(super) reference: Option<&'f String>,
    pub(super) trust: TrustFile,
    pub(super) on: &'f [NoticeRuleFile],
}

/// Compiles a reader without a token. Faulty parts are reported at `place` and left out.
pub(super) fn compile_reader(
    source: NoticeSource<'_>,
    known: &KnownVariables<'_>,
    place: &SettingsCursor<'_>,
) -> NoticeReader {
    let text = |key: &str, source: Option<&String>| {
        place.key(key).check(TextTemplate::compile(source?, known))
    };
    let each = text("each", source.each);
    if each.as_ref().is_some_and(|each| !matches!(each, TextTemplate::Expression(_))) {
        place.key("each").refuse(
            "yields a text; write one expression that yields a list, such as `{{ body.items }}`",
        );
    }
    let rule = |(number, on)| rule(on, source.trust, known, &place.key("on").item(number));
    NoticeReader {
        each,
        event: text("event", source.event),
        id: text("id", source.id),
        command: text("command", source.command),
        naming: CommandNaming::default(),
        token: None,
        reference: text("reference", source.reference),
        rules: source.on.iter().enumerate().filter_map(rule).collect(),
    }
}

fn rule(
    file: &NoticeRuleFile,
    trust: TrustFile,
    known: &KnownVariables<'_>,
    place: &SettingsCursor<'_>,
) -> Option<NoticeRule> {
    let text = |key: &str, source: Option<&String>| {
        place.key(key).check(TextTemplate::compile(source?, known))
    };
    let means = file.r#as;
    if trust == TrustFile::Lookup && means.is_decisive() {
        let text = "decides, and `trust` says that a webhook alone is not trusted for that; write `as = \"lookup\"`";
        place.key("as").refuse(text);
    }
    let of_results = (
        &[NoticeMeaningName::Completed, NoticeMeaningName::Progress],
        "`completed` and `progress`",
    );
    let of_failures =
        (&[NoticeMeaningName::Declined, NoticeMeaningName::Failed], "`declined` and `failed`");
    let of_completed =
        (&[NoticeMeaningName::Completed, NoticeMeaningName::Completed], "`completed`");
    let surplus = [
        ("amount", file.amount.is_some(), of_completed),
        ("currency", file.currency.is_some(), of_completed),
        ("partial", file.partial.is_some(), of_completed),
        ("result", file.result.is_some(), of_results),
        ("code", file.code.is_some(), of_failures),
        ("message", file.message.is_some(), of_failures),
    ];
    for (key, _, (_, words)) in
        surplus.iter().filter(|(_, written, (of, _))| *written && !of.contains(&means))
    {
        place.key(key).refuse(format!("belongs to {words} alone, and would be lost; leave it out"));
    }
    let when = place.key("when").check(Condition::compile(&file.when, known));
    let result = file
        .result
        .as_ref()
        .and_then(|tree| TreeTemplate::compile(tree, known, &place.key("result")));
    let (code, message) =
        (text("code", file.code.as_ref()), text("message", file.message.as_ref()));
    let source = AmountSource {
        amount: file.amount.as_ref(),
        currency: file.currency.as_ref(),
        partial: file.partial.as_ref(),
    };
    let amount = AmountTemplate::compile(source, known, place);
    Some(NoticeRule { when: when?, means, result, amount, code, message })
}
