use lapin::types::AMQPValue;
use proptest::prelude::*;

use super::*;

fn names() -> TopologyNames {
    TopologyNames::new("ferry".parse().unwrap())
}

fn webhook() -> WebhookMessage {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    WebhookMessage {
        id: Uuid::now_v7(),
        provider: "stripe".parse().unwrap(),
        account: "default".parse().unwrap(),
        received_at: "2026-12-01T08:00:00.123456789Z".parse().unwrap(),
        origin: WebhookOrigin::Endpoint,
        is_verified: true,
        call: RawWebhook {
            method: "POST".to_owned(),
            url: "https://hooks.example.com/webhooks/stripe?a=%2F+b&&c".parse().unwrap(),
            headers: vec![
                header("content-type", "application/json"),
                header("stripe-signature", "t=1,v1=ab"),
                header("x-twice", "one"),
                header("x-twice", "two"),
            ],
            body: Bytes::from_static(b"{\"id\":\xff\0 }"),
            certificate: None,
        },
    }
}

fn read(message: OutgoingMessage) -> Result<WebhookMessage, UnreadableWebhook> {
    read_webhook(&message.properties, message.body.into())
}

#[test]
fn a_webhook_is_a_persistent_message_for_its_provider_with_an_untouched_body() {
    let webhook = webhook();
    let message = to_message(&webhook, &names()).unwrap();
    assert_eq!(
        (message.exchange.as_str(), message.routing_key.as_str()),
        ("ferry.webhooks", "stripe.default")
    );
    assert_eq!(message.body, webhook.call.body);
    let properties = &message.properties;
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), webhook.id.to_string());
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/json");
    assert_eq!(*properties.timestamp(), Some(1_796_112_000));
    assert_eq!(read(message).unwrap(), webhook);
}

#[test]
fn passwords_stay_out_of_the_queue() {
    let mut webhook = webhook();
    for name in SECRET {
        webhook.call.headers.push((name.to_owned(), "hunter2".to_owned()));
    }
    let message = to_message(&webhook, &names()).unwrap();
    assert!(!format!("{:?}", message.properties).contains("hunter2"));
    assert_eq!(read(message).unwrap().call.headers.len(), 4);
}

#[test]
fn what_is_no_webhook_says_which_part_is_missing() {
    let empty = || OutgoingMessage {
        properties: BasicProperties::default(),
        ..to_message(&webhook(), &names()).unwrap()
    };
    assert_eq!(read(empty()), Err(UnreadableWebhook("message_id")));
    for name in [PROVIDER, ACCOUNT, RECEIVED_AT, URL, HEADERS] {
        let mut message = to_message(&webhook(), &names()).unwrap();
        let mut headers = message.properties.headers().clone().unwrap();
        put_text(&mut headers, name, "\"");
        message.properties = message.properties.with_headers(headers);
        assert_eq!(read(message), Err(UnreadableWebhook(name)));
    }
}

/// The own headers of a call stand in one header of ferryd's, so no caller can claim another way.
#[test]
fn only_ferryd_states_the_way_on_which_a_webhook_came() {
    let mut called = webhook();
    called.call.headers.push((ORIGIN.to_owned(), FROM_QUEUE.to_owned()));
    assert_eq!(read(to_message(&called, &names()).unwrap()).unwrap(), called);

    let queued = WebhookMessage { origin: WebhookOrigin::Queue, ..webhook() };
    assert_eq!(read(to_message(&queued, &names()).unwrap()).unwrap(), queued);

    let unverified = WebhookMessage { is_verified: false, ..queued.clone() };
    let read_with = |webhook: &WebhookMessage, origin: AMQPValue| {
        let mut message = to_message(webhook, &names()).unwrap();
        let mut headers = message.properties.headers().clone().unwrap();
        headers.insert(ORIGIN.into(), origin);
        message.properties = message.properties.with_headers(headers);
        read(message)
    };
    let unreadable = Err(UnreadableWebhook(ORIGIN));
    let text = |text: &str| AMQPValue::LongString(text.into());
    assert_eq!(read_with(&unverified, text(FROM_QUEUE)), unreadable);
    assert_eq!(read_with(&called, text("stream")), unreadable);
    assert_eq!(read_with(&called, AMQPValue::Boolean(true)), unreadable);
}

proptest! {
    #[test]
    fn a_webhook_survives_the_way_through_a_queue(
        [provider, account] in ["[a-z][a-z0-9_-]{0,62}", "[a-z][a-z0-9_-]{0,62}"],
        method in "GET|POST",
        target in "/[a-zA-Z0-9%&=+?/_.~-]{0,60}",
        headers in proptest::collection::vec(("[a-z-]{1,20}", "\\PC{0,40}"), 0..10),
        body in proptest::collection::vec(any::<u8>(), 0..200),
        nanoseconds in 0..4_000_000_000_000_000_000_i64,
    ) {
        let headers: Vec<_> = headers.into_iter().filter(|(name, _)| !SECRET.contains(&name.as_str())).collect();
        let url = format!("https://hooks.example.com{target}").parse().unwrap();
        let webhook = WebhookMessage {
            id: Uuid::now_v7(),
            provider: provider.parse().unwrap(),
            account: account.parse().unwrap(),
            received_at: Timestamp::from_nanosecond(nanoseconds.into()).unwrap(),
            origin: if nanoseconds % 3 == 0 { WebhookOrigin::Queue } else { WebhookOrigin::Endpoint },
            is_verified: nanoseconds % 2 == 0 || nanoseconds % 3 == 0,
            call: RawWebhook { method, url, headers, body: body.into(), certificate: None },
        };
        let message = to_message(&webhook, &names()).unwrap();
        prop_assert_eq!(read(message).unwrap(), webhook);
    }

    #[test]
    fn reading_any_header_values_never_panics(value in ".{0,40}", body in proptest::collection::vec(any::<u8>(), 0..20)) {
        let mut headers = FieldTable::default();
        for name in [PROVIDER, ACCOUNT, RECEIVED_AT, METHOD, URL, HEADERS] {
            put_text(&mut headers, name, &value);
        }
        let id = short_string(&Uuid::now_v7().to_string()).unwrap();
        let properties = BasicProperties::default().with_message_id(id).with_headers(headers);
        let _ = read_webhook(&properties, body.into());
    }
}
