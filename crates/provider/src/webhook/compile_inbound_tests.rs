//! Tests the answers of providers that are reached by messages.

use std::fmt::Write as _;

use crate::Provider;
use crate::fixture::{lines, parse};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::name::Name;
use ferryd_domain::webhook::{NoticeMeaning, RawWebhook, WebhookNotice};
use ferryd_redact::Mask;

const FILE: &str = r#"
name = "warehouse"
type = "shipping"
protocol = "amqp"
base_url = "amqps://broker.example.com/orders"
auth = { scheme = "basic", username = "ferryd", password = "{{ secrets.password }}" }
secrets = { password = "pw_secret_1" }
account = { region = "eu" }

[operations.dispatch]
message = { routing_key = "dispatch" }

[inbound]
queue = "answers.{{ account.region }}"
trusted = true
event = "{{ headers.type }}"

[[inbound.on]]
when = "body.status == 'done'"
as = "completed"
"#;

/// The table with the command in the body.
const BY_BODY: (&str, &str) = ("event = ", "command = \"{{ body.command }}\"\nevent = ");

fn provider(text: &str) -> Provider {
    parse(text).unwrap_or_else(|errors| panic!("{}", lines(&errors)))
}

fn read(file: &str, headers: &[(&str, &str)], body: &'static str) -> Vec<WebhookNotice> {
    let provider = provider(file);
    let message = RawWebhook {
        method: "MESSAGE".to_owned(),
        url: "amqps://broker.example.com/orders?queue=answers.eu".parse().unwrap(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        body: body.into(),
        certificate: None,
    };
    let inbound = provider.inbound(&Name::default_account()).unwrap();
    inbound.read_notices(&message).masked(&Mask::default()).unwrap()
}

fn named(notice: &WebhookNotice) -> (Option<&str>, Option<u32>) {
    (notice.command.as_ref().map(CommandId::as_str), notice.generation)
}

#[test]
fn a_queue_is_no_endpoint_and_has_the_accounts_values_in_its_name() {
    let provider = provider(FILE);
    let account = Name::default_account();
    assert_eq!(provider.inbound(&account).unwrap().queue, "answers.eu");
    assert!(provider.called_webhook(&account).is_none() && !provider.has_endpoint());
    assert!(provider.is_called_back());
}

#[test]
fn an_answer_names_its_command_and_call_by_the_correlation_id() {
    for (id, expected) in [
        ("c1", (Some("c1"), Some(0))),
        ("c1~2", (Some("c1"), Some(2))),
        ("c1~0", (None, None)),
        ("c1~02", (None, None)),
        ("c1~x", (None, None)),
        ("", (None, None)),
    ] {
        let headers = [("correlation-id", id), ("type", "order.done")];
        let notices = read(FILE, &headers, r#"{"status":"done","command":"c9"}"#);
        assert_eq!(named(&notices[0]), expected, "{id}");
        assert!(matches!(notices[0].meaning, NoticeMeaning::Completed(_)));
        assert_eq!(notices[0].event.as_deref(), Some("order.done"));
    }
}

/// An id in the body says nothing about the call, unless it is that of a replay's message.
#[test]
fn an_answer_may_name_its_command_elsewhere() {
    let file = FILE.replacen(BY_BODY.0, BY_BODY.1, 1);
    let headers = [("correlation-id", "other")];
    assert_eq!(named(&read(&file, &headers, r#"{"command":"c1"}"#)[0]), (Some("c1"), None));
    assert_eq!(named(&read(&file, &headers, r#"{"command":"c1~1"}"#)[0]), (Some("c1"), Some(1)));
    assert_eq!(named(&read(&file, &headers, "{}")[0]), (None, None));
    let file = FILE.replacen("event = ", "reference = \"{{ body.order }}\"\nevent = ", 1);
    let notices = read(&file, &headers, r#"{"order":"order-7"}"#);
    assert_eq!(
        (named(&notices[0]), notices[0].reference.as_deref()),
        ((None, None), Some("order-7"))
    );
}

#[test]
fn every_wrong_table_is_refused_with_line_key_and_remedy() {
    let table = [
        ("trusted = true", ""),
        ("trusted = true", "trusted = false"),
        ("queue = \"answers.{{ account.region }}\"", ""),
        ("answers.{{ account.region }}", ""),
        ("{{ account.region }}", "{{ body.region }}"),
        ("as = \"completed\"", "as = \"lookup\""),
        ("as = \"completed\"", "as = \"completed\"\ncode = \"x\""),
        ("event = ", "verify = \"none\"\nevent = "),
        ("event = ", "each = \"items\"\nevent = "),
        ("body.status == 'done'", "payload.status == 'done'"),
        (
            "protocol = \"amqp\"\nbase_url = \"amqps://broker.example.com/orders\"",
            "protocol = \"rest\"\nbase_url = \"https://api.example.com\"",
        ),
    ];
    let mut text = String::new();
    for (good, bad) in table {
        assert!(FILE.contains(good), "{good}");
        let file = FILE.replacen(good, bad, 1).replace(
            "message = { routing_key = \"dispatch\" }",
            if bad.contains("rest") {
                "request = { method = \"POST\", path = \"/\" }"
            } else {
                "message = { routing_key = \"dispatch\" }"
            },
        );
        let errors = lines(&parse(&file).map(|_| ()).unwrap_err());
        writeln!(text, "{good} -> {bad}\n{errors}").unwrap();
    }
    insta::assert_snapshot!(text);
}
