//! Tests what the link to a NATS server says about a message.

use std::net::SocketAddr;
use std::time::Duration;

use ferryd_domain::message_call::{MessageAddress, MessageRequest, MessageResult};
use ferryd_provider::NatsLogin;
use ferryd_transport::nats::{NatsLinkSettings, NatsPublisher};
use serde_json::{Value, json};

use super::provider_broker::{PATIENT, code, in_doubt, not_sent};
use crate::amqps::BrokerAuthority;
use crate::harness::nats_server::{LIMITED, NatsServer, USER};
use crate::harness::tcp_proxy::TcpProxy;

const STREAM: &str = "ORDERS";

fn settings(address: SocketAddr) -> NatsLinkSettings {
    NatsLinkSettings {
        server: format!("nats://{address}").parse().unwrap(),
        login: NatsLogin::User { username: USER.to_owned(), password: USER.to_owned().into() },
        ca_file: None,
        connect_timeout: Duration::from_secs(2),
        max_in_flight: 8,
    }
}

fn publisher(address: SocketAddr) -> NatsPublisher {
    NatsPublisher::new(settings(address)).unwrap()
}

fn message(id: &str) -> MessageRequest {
    MessageRequest {
        server: "tls://localhost".parse().unwrap(),
        address: MessageAddress::Nats { subject: "orders.new".to_owned() },
        message_id: id.to_owned(),
        content_type: Some("application/json"),
        headers: Vec::new(),
        body: format!(r#"{{"id":"{id}"}}"#).into_bytes().into(),
        timeout: PATIENT,
    }
}

#[tokio::test]
async fn a_repeat_is_acknowledged_and_stored_once() {
    let server = NatsServer::start().await;
    server.stream(STREAM, "orders.>", &Value::Null).await;
    let publisher = publisher(server.address());
    for id in ["a", "a", "b"] {
        assert_eq!(publisher.publish(&message(id)).await, MessageResult::Acknowledged);
    }
    assert_eq!(server.ids(STREAM).await, ["a", "b"]);
    assert_eq!(publisher.probe().await, Ok(()));
}

#[tokio::test]
async fn a_message_that_the_server_or_its_stream_refuses_is_certainly_not_stored() {
    let server = NatsServer::start_with("max_payload: 1000").await;
    let publisher = publisher(server.address());
    let failure = not_sent(publisher.publish(&message("a")).await);
    assert_eq!(code(&failure), "no_stream", "{failure:?}");
    server
        .stream(STREAM, "orders.>", &json!({"max_msgs": 1, "discard": "new", "max_msg_size": 500}))
        .await;
    let sized = |id, size| MessageRequest { body: vec![b'x'; size].into(), ..message(id) };
    for (message, expected) in [(sized("b", 2000), "too_large"), (sized("c", 600), "refused")] {
        let failure = not_sent(publisher.publish(&message).await);
        assert_eq!(code(&failure), expected, "{failure:?}");
    }
    assert_eq!(publisher.publish(&message("d")).await, MessageResult::Acknowledged);
    let failure = not_sent(publisher.publish(&message("e")).await);
    assert_eq!(code(&failure), "refused", "{failure:?}");
    assert_eq!(server.ids(STREAM).await, ["d"]);
}

#[tokio::test]
async fn a_stream_that_acknowledges_nothing_leaves_its_message_in_doubt() {
    let server = NatsServer::start().await;
    server.stream(STREAM, "orders.>", &json!({"no_ack": true})).await;
    let brief = MessageRequest { timeout: Duration::from_secs(1), ..message("a") };
    let failure = in_doubt(publisher(server.address()).publish(&brief).await);
    assert_eq!(code(&failure), "timeout", "{failure:?}");
}

/// The server names the missing permission, and not the message that it refused.
#[tokio::test]
async fn a_message_without_permission_is_in_doubt_and_the_servers_words_are_shown() {
    let server = NatsServer::start().await;
    server.stream(STREAM, "orders.>", &Value::Null).await;
    let (username, password) = (LIMITED.to_owned(), LIMITED.to_owned().into());
    let login = NatsLogin::User { username, password };
    let publisher =
        NatsPublisher::new(NatsLinkSettings { login, ..settings(server.address()) }).unwrap();
    let brief = MessageRequest { timeout: Duration::from_secs(1), ..message("a") };
    let failure = in_doubt(publisher.publish(&brief).await);
    assert_eq!(code(&failure), "timeout", "{failure:?}");
    assert!(failure.message.to_lowercase().contains("permissions violation"), "{failure:?}");
    assert_eq!(server.ids(STREAM).await, Vec::<String>::new());
}

/// The client would open a lost connection again, and send what it was handed meanwhile.
#[tokio::test]
async fn nothing_is_sent_after_its_connection_was_lost() {
    let server = NatsServer::start().await;
    server.stream(STREAM, "orders.>", &Value::Null).await;
    let way = TcpProxy::to(server.address());
    let publisher = publisher(way.address());
    assert_eq!(publisher.publish(&message("before")).await, MessageResult::Acknowledged);
    way.pause();
    // More than the socket takes: most of them wait in the client.
    let large = |id: &str| MessageRequest { body: vec![b'x'; 900_000].into(), ..message(id) };
    let ids: Vec<_> = (0..8).map(|number| format!("lost-{number}")).collect();
    let lost = ids.iter().map(async |id| publisher.publish(&large(id)).await);
    let (results, ()) = tokio::join!(futures_util::future::join_all(lost), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        way.refuse().await;
        let failure = not_sent(publisher.publish(&message("refused")).await);
        assert_eq!(code(&failure), "connect_failed", "{failure:?}");
        way.resume();
    });
    for result in results {
        let failure = in_doubt(result);
        assert_eq!(code(&failure), "connection_lost", "{failure:?}");
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(publisher.publish(&message("after")).await, MessageResult::Acknowledged);
    assert_eq!(server.ids(STREAM).await, ["before", "after"]);
}

#[tokio::test]
async fn a_message_that_is_stalled_is_in_doubt_and_the_next_goes_another_way() {
    let server = NatsServer::start().await;
    server.stream(STREAM, "orders.>", &Value::Null).await;
    let way = TcpProxy::to(server.address());
    let publisher = publisher(way.address());
    assert_eq!(publisher.publish(&message("before")).await, MessageResult::Acknowledged);
    way.pause();
    let brief = MessageRequest { timeout: Duration::from_millis(500), ..message("stalled") };
    let failure = in_doubt(publisher.publish(&brief).await);
    assert_eq!(code(&failure), "timeout", "{failure:?}");
    let failure = not_sent(publisher.publish(&message("behind")).await);
    assert_eq!(code(&failure), "connect_timeout", "{failure:?}");
    way.resume();
    assert_eq!(publisher.publish(&message("after")).await, MessageResult::Acknowledged);
    let ids = server.ids(STREAM).await;
    assert!(!ids.contains(&"behind".to_owned()), "{ids:?}");
}

#[tokio::test]
async fn a_server_is_sent_nothing_unless_a_trusted_authority_vouches_for_its_name() {
    let (ours, other) = (BrokerAuthority::new("ours"), BrokerAuthority::new("other"));
    ours.issue("localhost");
    let tls = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\" }}",
        ours.text("localhost.pem"),
        ours.text("localhost.key")
    );
    let server = NatsServer::start_trusted_with(&tls, &ours.path("ca.pem")).await;
    server.stream(STREAM, "orders.>", &Value::Null).await;
    let over = |host: &str, ca: Option<&BrokerAuthority>| {
        NatsPublisher::new(NatsLinkSettings {
            server: format!("tls://{host}:{}", server.address().port()).parse().unwrap(),
            ca_file: ca.map(|authority| authority.path("ca.pem")),
            ..settings(server.address())
        })
        .unwrap()
    };
    let trusting = over("localhost", Some(&ours));
    assert_eq!(trusting.publish(&message("over-tls")).await, MessageResult::Acknowledged);
    for (host, ca) in [("localhost", Some(&other)), ("localhost", None), ("127.0.0.1", Some(&ours))]
    {
        let failure = not_sent(over(host, ca).publish(&message("refused")).await);
        assert_eq!(code(&failure), "tls", "{failure:?}");
    }
    assert_eq!(server.ids(STREAM).await, ["over-tls"]);
    let plain = NatsServer::start().await;
    let unencrypted = NatsPublisher::new(NatsLinkSettings {
        server: format!("tls://localhost:{}", plain.address().port()).parse().unwrap(),
        ca_file: Some(ours.path("ca.pem")),
        ..settings(plain.address())
    });
    let failure = not_sent(unencrypted.unwrap().publish(&message("refused")).await);
    assert!(["tls", "connect_failed"].contains(&code(&failure)), "{failure:?}");
}
