//! Tests the link to a provider's broker over TLS: a broker that does not prove its name is sent
//! nothing.

use std::path::{Path, PathBuf};

use ferryd_transport::amqp::{AmqpLinkSettings, AmqpPublisher};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;

use super::provider_broker::{ProviderBroker, code, message, not_sent};
use crate::amqps::BrokerAuthority;
use crate::harness::node::BrokerNode;
use crate::tls_server::{CertificateAuthority, TlsServer};
use ferryd_domain::message_call::MessageResult;

#[tokio::test]
async fn a_broker_is_sent_messages_over_tls_if_a_trusted_authority_vouches_for_its_name() {
    let provider = ProviderBroker::new().await;
    let (ours, other) = (CertificateAuthority::new(), CertificateAuthority::new());
    let target = provider.vhost.address();
    let relay = move |mut stream| async move {
        let mut broker = TcpStream::connect(target).await.unwrap();
        let _ = copy_bidirectional(&mut stream, &mut broker).await;
    };
    let right = TlsServer::start(ours.issue("localhost"), relay).await;
    let wrong = TlsServer::start(ours.issue("mq.example.com"), relay).await;
    let expired = TlsServer::start(ours.issue_expired("localhost"), relay).await;
    let publisher = |server: &TlsServer, ca: Option<&Path>| {
        let address =
            format!("amqps://localhost:{}/{}", server.address.port(), provider.vhost.name());
        let ca_file = ca.map(PathBuf::from);
        let settings = provider.settings();
        let settings = AmqpLinkSettings { server: address.parse().unwrap(), ca_file, ..settings };
        AmqpPublisher::new(&settings).unwrap()
    };

    let trusting = publisher(&right, Some(ours.file()));
    assert_eq!(trusting.publish(&message("over-tls")).await, MessageResult::Acknowledged);
    assert_eq!(trusting.probe().await, Ok(()));
    for (server, ca, text) in [
        (&right, Some(other.file()), "UnknownIssuer"),
        (&right, None, "invalid peer certificate"),
        (&wrong, Some(ours.file()), "certificate not valid for name \"localhost\""),
        (&expired, Some(ours.file()), "it expired on 2021-01-01"),
    ] {
        let failure = not_sent(publisher(server, ca).publish(&message("refused")).await);
        assert_eq!(code(&failure), "tls", "{failure:?}");
        assert!(failure.message.contains(text), "{failure:?}");
    }
    assert_eq!(provider.ids().await, ["over-tls"]);
}

#[tokio::test]
async fn a_broker_that_asks_for_a_certificate_is_shown_that_of_the_settings() {
    let ours = BrokerAuthority::new("ours");
    ours.issue("localhost");
    ours.issue("ferry");
    let [ca, cert, key] = ["ca.pem", "localhost.pem", "localhost.key"].map(|file| ours.text(file));
    let node =
        BrokerNode::private_with(&["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key]).await;
    let provider = ProviderBroker::on(&node).await;
    let server = format!("amqps://localhost:{}/{}", node.port("amqps"), provider.vhost.name());
    let settings = AmqpLinkSettings {
        server: server.parse().unwrap(),
        ca_file: Some(ours.path("ca.pem")),
        client_cert: Some((ours.path("ferry.pem"), ours.path("ferry.key"))),
        ..provider.settings()
    };
    let publisher = AmqpPublisher::new(&settings).unwrap();
    assert_eq!(publisher.publish(&message("known")).await, MessageResult::Acknowledged);
    let publisher =
        AmqpPublisher::new(&AmqpLinkSettings { client_cert: None, ..settings }).unwrap();
    let failure = not_sent(publisher.publish(&message("stranger")).await);
    // The broker's reset may overtake its alert.
    assert!(["tls", "connect_failed"].contains(&code(&failure)), "{failure:?}");
    assert_eq!(provider.ids().await, ["known"]);
}
