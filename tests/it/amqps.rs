//! Tests the broker over TLS: its authority is checked, and the client's certificate is its login.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::broker::TestBroker;
use crate::harness::daemon::DaemonFolder;
use crate::harness::node::BrokerNode;
use crate::rig::{SOON, word};

/// An authority with its files.
pub(crate) struct BrokerAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

impl BrokerAuthority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir }
    }

    /// Writes a certificate and its key for a host, or a user by common name.
    pub(crate) fn issue(&self, name: &str) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    pub(crate) fn text(&self, file: &str) -> String {
        self.path(file).to_str().unwrap().to_owned()
    }
}

fn setup(node: &BrokerNode, ca: &str, client: Option<(&str, &str)>) -> DaemonFolder {
    let (login, mechanism) =
        if client.is_some() { ("", "?auth_mechanism=external") } else { ("ferry:ferry@", "") };
    let uri = format!("amqps://{login}localhost:{}/%2f{mechanism}", node.port("amqps"));
    let setup = DaemonFolder::new(&uri, "").env("FERRYD_AMQP__CA_FILE", ca).provider(
        "acme",
        "name = \"acme\"\ntype = \"payment\"\nprotocol = \"rest\"\nbase_url = \"https://localhost:1\"\n
         [operations.send]\nrequest = { method = \"POST\", path = \"/\" }",
    );
    match client {
        Some((cert, key)) => setup
            .env("FERRYD_AMQP__CLIENT_CERT_FILE", cert)
            .env("FERRYD_AMQP__CLIENT_KEY_FILE", key),
        None => setup,
    }
}

fn refused(line: &Value) -> bool {
    line["message"] == "failed to connect to the broker; trying again"
}

#[tokio::test]
async fn a_broker_is_reached_over_tls_with_a_client_certificate_and_by_no_other_way() {
    let (ours, other) = (BrokerAuthority::new("ours"), BrokerAuthority::new("other"));
    for name in ["localhost", "ferry", "stranger"] {
        ours.issue(name);
    }
    let [ca, cert, key] = ["ca.pem", "localhost.pem", "localhost.key"].map(|file| ours.text(file));
    let node =
        BrokerNode::private_with(&["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key]).await;
    let [client, client_key, stranger, stranger_key] =
        ["ferry.pem", "ferry.key", "stranger.pem", "stranger.key"].map(|file| ours.text(file));

    let trusting = setup(&node, &ca, Some((&client, &client_key)));
    let daemon = trusting.start_ready().await;
    let broker = TestBroker::connect(&node.uri()).await;
    let events = broker.events().await;
    let command =
        json!({"id": "wrong", "type": "payment", "provider": "acme", "operation": "none"});
    broker.publish_command(&command).await;
    assert_eq!(word(&events.terminal("wrong", SOON).await, "data.error.code"), "unknown_operation");
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
    for (user, text) in [
        ("ferry", "reached"),
        ("stranger", "user_id property set to 'stranger' but authenticated user was 'ferry'"),
    ] {
        let named = setup(&node, &ca, Some((&client, &client_key))).env("FERRYD_AMQP__USER", user);
        let mut check = named.command(&["check", "--connect"]);
        let checked = tokio::task::spawn_blocking(move || check.output().unwrap()).await.unwrap();
        let printed = String::from_utf8(checked.stdout).unwrap();
        let tried = printed.lines().rfind(|line| line.starts_with("broker "));
        assert!(tried.is_some_and(|line| line.contains(text)), "{printed}");
    }

    let cases = [
        (other.text("ca.pem"), Some((client.as_str(), client_key.as_str())), "UnknownIssuer"),
        (ca.clone(), None, "CertificateRequired"),
        (ca.clone(), Some((stranger.as_str(), stranger_key.as_str())), "ACCESS"),
    ];
    for (ca, client, reason) in cases {
        let setup = setup(&node, &ca, client);
        let daemon = setup.start();
        // The broker's reset may overtake its alert; one of the next attempts receives the alert.
        let says = |line: &Value| {
            refused(line) && line["error"].as_str().is_some_and(|error| error.contains(reason))
        };
        let line = daemon.wait_for_log(Duration::from_secs(30), says).await;
        assert!(word(&line, "error").contains("amqps://localhost:"), "{line:#}");
        daemon.wait_for_logs(3, Duration::from_secs(30), refused).await;
        assert!(daemon.exit_status().is_none(), "it goes on trying");
        daemon.sigterm();
        assert!(daemon.wait(SOON).await.success());
    }
}
