//! Tests what the link to a provider's broker reports of a message: whatever the broker has certainly
//! not taken is not sent, and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use ferryd_domain::message_call::{MessageRequest, MessageResult};
use ferryd_transport::amqp::{AmqpLinkSettings, AmqpPublisher};
use futures_util::future::join_all;
use lapin::types::AMQPValue;

use super::provider_broker::{
    EXCHANGE, ProviderBroker, QUEUE, code, in_doubt, message, not_sent, to,
};
use crate::harness::node::BrokerNode;
use crate::harness::queue_trouble::QueueTrouble;

#[tokio::test]
async fn an_acknowledged_message_is_in_the_queue_with_its_id_headers_and_type() {
    let provider = ProviderBroker::new().await;
    let publisher = provider.publisher();
    assert_eq!(provider.links().await, 0, "it connects to nothing before the first message");
    assert_eq!(publisher.publish(&message("c-1")).await, MessageResult::Acknowledged);
    let large = MessageRequest {
        address: to("", QUEUE),
        content_type: None,
        headers: Vec::new(),
        body: vec![7; 300_000].into(),
        ..message("c-2")
    };
    assert_eq!(publisher.publish(&large).await, MessageResult::Acknowledged);
    assert_eq!(provider.links().await, 1);

    let [first, second] = provider.broker.peek(QUEUE).await.try_into().unwrap();
    assert_eq!((first.exchange.as_str(), first.routing_key.as_str()), (EXCHANGE, "order.paid"));
    assert_eq!(first.body, br#"{"id":"c-1"}"#);
    let properties = &first.properties;
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "c-1");
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/json");
    assert_eq!(properties.delivery_mode(), &Some(2), "it survives a restart of the broker");
    let tenant = properties.headers().as_ref().unwrap().inner().get("tenant");
    assert_eq!(tenant, Some(&AMQPValue::LongString("acme".into())));
    assert_eq!(second.body, vec![7; 300_000]);
    assert_eq!(second.properties.content_type(), &None);
}

/// Returns a publisher whose user may write to the queue, but not to the exchange.
async fn restricted(provider: &ProviderBroker) -> AmqpPublisher {
    provider.vhost.user("restricted").await;
    let user = provider.vhost.user_name("restricted");
    let permissions = format!(
        r#"ok = rabbit_auth_backend_internal:set_permissions(
           <<"{user}">>, VHost, <<"^$">>, <<"^{QUEUE}$">>, <<"^$">>, <<"ferry">>)"#
    );
    provider.vhost.eval(&permissions).await;
    let settings =
        AmqpLinkSettings { username: user.clone(), password: user.into(), ..provider.settings() };
    AmqpPublisher::new(&settings).unwrap()
}

#[tokio::test]
async fn what_the_broker_has_certainly_not_taken_is_not_sent_and_harms_no_other_message() {
    let provider = ProviderBroker::new().await;
    let (publisher, restricted) = (provider.publisher(), restricted(&provider).await);
    let sent_to =
        |exchange, key| MessageRequest { address: to(exchange, key), ..message("refused") };
    let with = |name: &str, value: String| MessageRequest {
        headers: vec![(name.to_owned(), value)],
        ..message("refused")
    };
    let long = "x".repeat(40_000);
    let cases = [
        (
            &publisher,
            sent_to(EXCHANGE, "refund"),
            "unroutable",
            "exchange `shop` has no queue for the routing key `refund`",
        ),
        (&publisher, sent_to("", "nowhere"), "unroutable", "the broker has no queue `nowhere`"),
        (&publisher, sent_to("absent", "x"), "no_exchange", "no exchange 'absent'"),
        (&restricted, message("refused"), "access_refused", "access to exchange 'shop'"),
        (&publisher, with("CC", "other".to_owned()), "refused", "CC"),
        (&publisher, with("h", long.clone()), "too_large", "move data into the body"),
        (&publisher, sent_to(EXCHANGE, &long[..256]), "too_large", "routing key"),
    ];
    for (round, (link, refused, expected, text)) in cases.iter().enumerate() {
        // At the same time, other messages on the same connection go well.
        let taken = [0, 1, 2].map(|place| message(&format!("taken-{round}-{place}")));
        let (result, others) = tokio::join!(
            link.publish(refused),
            join_all(taken.iter().map(|taken| publisher.publish(taken)))
        );
        let failure = not_sent(result);
        assert_eq!(code(&failure), *expected, "{failure:?}");
        assert!(failure.message.contains(text), "{failure:?}");
        assert!(others.iter().all(|other| *other == MessageResult::Acknowledged), "{others:?}");
    }
    let ids = provider.ids().await;
    assert_eq!(ids.len(), 3 * cases.len());
    assert!(ids.iter().all(|id| id.starts_with("taken")), "{ids:?}");
    assert_eq!(provider.links().await, 2, "no refusal costs a connection");
}

#[tokio::test]
async fn a_message_larger_than_the_broker_takes_is_not_sent() {
    let node = BrokerNode::private().await;
    node.limit_message_size(1_000).await;
    let provider = ProviderBroker::on(&node).await;
    let publisher = provider.publisher();
    let large = MessageRequest { body: vec![7; 1_001].into(), ..message("large") };
    let failure = not_sent(publisher.publish(&large).await);
    assert_eq!(code(&failure), "refused", "{failure:?}");
    assert_eq!(publisher.publish(&message("small")).await, MessageResult::Acknowledged);
    assert_eq!(provider.ids().await, ["small"]);
}

#[tokio::test]
async fn a_broker_that_cannot_be_reached_is_sent_nothing() {
    let provider = ProviderBroker::new().await;
    let settings = provider.settings();
    let at = |server: &str| server.parse().unwrap();
    let server = settings.server.as_str();
    let named = |name: &str| at(&server.replace(provider.vhost.name(), name));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hidden = format!("hidden-{}", provider.vhost.name());
    BrokerNode::shared()
        .await
        .eval(&format!(r#"ok = rabbit_vhost:add(<<"{hidden}">>, <<"ferry">>)"#))
        .await;
    for (settings, expected, text) in [
        (
            AmqpLinkSettings { password: "wrong-s3cret".to_owned().into(), ..settings.clone() },
            "login_refused",
            "ACCESS_REFUSED",
        ),
        (
            AmqpLinkSettings { username: "stranger".to_owned(), ..settings.clone() },
            "login_refused",
            "ACCESS_REFUSED",
        ),
        (
            AmqpLinkSettings { server: named("absent"), ..settings.clone() },
            "vhost_refused",
            "vhost absent not found",
        ),
        (
            AmqpLinkSettings { server: named(&hidden), ..settings.clone() },
            "vhost_refused",
            "access to vhost",
        ),
        (
            AmqpLinkSettings { server: at(&format!("amqp://{nobody}/x")), ..settings.clone() },
            "connect_failed",
            "refused",
        ),
        (
            AmqpLinkSettings { server: at("amqps://nowhere.invalid/x"), ..settings.clone() },
            "connect_failed",
            "nowhere.invalid",
        ),
    ] {
        let publisher = AmqpPublisher::new(&settings).unwrap();
        let failure = not_sent(publisher.publish(&message("refused")).await);
        assert_eq!(code(&failure), expected, "{failure:?}");
        assert!(failure.message.contains(text), "{failure:?}");
        let probed = publisher.probe().await.unwrap_err();
        assert_eq!(probed.code, failure.code, "a check finds the same");
        assert!(!format!("{failure:?}{probed:?}{publisher:?}").contains("s3cret"));
    }
    assert_eq!(provider.publisher().probe().await, Ok(()));
    assert_eq!(provider.ids().await, Vec::<String>::new());
    BrokerNode::shared()
        .await
        .eval(&format!(r#"rabbit_vhost:delete(<<"{hidden}">>, <<"ferry">>)"#))
        .await;
}

#[tokio::test]
async fn many_messages_at_once_share_the_channels_and_are_all_acknowledged() {
    let provider = ProviderBroker::new().await;
    let publisher = provider.publisher();
    let channels_before = provider.vhost.channels().await;
    let ids: Vec<_> = (0..64).map(|number| format!("c-{number}")).collect();
    let results = join_all(ids.iter().map(async |id| publisher.publish(&message(id)).await)).await;
    assert!(results.iter().all(|result| *result == MessageResult::Acknowledged), "{results:?}");
    assert_eq!(provider.links().await, 1);
    let opened = provider.vhost.channels().await - channels_before;
    assert!((2..=8).contains(&opened), "{opened} channels");
    let distinct: BTreeSet<_> = provider.ids().await.into_iter().collect();
    assert_eq!(distinct, ids.into_iter().collect());
    assert_eq!(provider.broker.depth(QUEUE).await, Some(64), "none is there twice");
}

#[tokio::test]
async fn a_message_that_a_full_queue_refuses_is_in_doubt_until_the_queue_has_room() {
    let provider = ProviderBroker::new().await;
    let publisher = provider.publisher();
    QueueTrouble::Refuses.begin(&provider.vhost, &provider.broker, QUEUE).await;
    for id in ["a", "b"] {
        let failure = in_doubt(publisher.publish(&message(id)).await);
        assert_eq!(code(&failure), "nack", "{failure:?}");
    }
    QueueTrouble::Refuses.end(&provider.vhost, QUEUE).await;
    provider.broker.purge(QUEUE).await;
    let taken = async || {
        (publisher.publish(&message("c")).await == MessageResult::Acknowledged).then_some(())
    };
    crate::harness::wait::eventually(Duration::from_secs(20), "the queue takes messages", taken)
        .await;
    assert_eq!(provider.links().await, 1);
}
