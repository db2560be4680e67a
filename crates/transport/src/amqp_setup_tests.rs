use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;

fn settings(server: &str) -> AmqpLinkSettings {
    AmqpLinkSettings {
        server: server.parse().unwrap(),
        username: "shop".to_owned(),
        password: "hunter2".to_owned().into(),
        ca_file: None,
        client_cert: None,
        connect_timeout: Duration::from_secs(5),
        max_in_flight: 8,
    }
}

fn refusal(settings: &AmqpLinkSettings) -> String {
    BrokerTarget::new(settings).err().unwrap().to_string()
}

#[test]
fn an_address_leads_to_its_virtual_host_with_the_credentials_of_the_settings() {
    for (server, host, port, vhost) in [
        ("amqps://mq.example.com/%2f", "mq.example.com", 5671, "/"),
        ("amqps://10.0.0.1:5673/shop", "10.0.0.1", 5673, "shop"),
        ("amqp://127.0.0.1:5672/a%2fb", "127.0.0.1", 5672, "a/b"),
        ("amqp://localhost", "localhost", 5672, "/"),
    ] {
        let target = BrokerTarget::new(&settings(server)).ok().unwrap();
        let AMQPUri { authority, vhost: named, .. } = &target.uri;
        assert_eq!((authority.host.as_str(), authority.port, named.as_str()), (host, port, vhost));
        assert_eq!(authority.userinfo.username, "shop");
        assert_eq!(authority.userinfo.password, "hunter2");
        assert_eq!(target.tls.is_some(), server.starts_with("amqps"), "{server}");
        assert_eq!(target.address, server);
    }
}

#[test]
fn an_address_that_the_client_would_misread_or_that_others_could_read_is_refused() {
    for (server, reason) in [
        ("amqp://mq.example.com/%2f", "would send without TLS to another host"),
        ("amqp://10.0.0.1/%2f", "would send without TLS to another host"),
        ("https://mq.example.com/", "has another scheme than amqps"),
        ("amqps://[::1]/%2f", "has no host name or IPv4 address"),
        ("amqps:///%2f", "has no host name or IPv4 address"),
        ("amqps://mq.example.com/", "names the empty virtual host"),
        ("amqps://shop:hunter3@mq.example.com/%2f", "holds credentials"),
    ] {
        let text = refusal(&settings(server));
        assert!(text.contains(reason) && text.contains("write amqps://"), "{server}: {text}");
        assert!(!text.contains("hunter"), "{text}");
    }
}

#[test]
fn a_tls_file_that_cannot_be_used_is_named_with_its_key_and_never_quoted() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(["a".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    let other = KeyPair::generate().unwrap().serialize_pem();
    let absent = folder.path().join("absent.pem");
    let (good, own) = (file("good.pem", &certificate), file("own.key", &key.serialize_pem()));
    let (words, cut) =
        (file("words.pem", "s3cret"), file("cut.pem", "-----BEGIN PRIVATE KEY-----\ns3cret"));
    let with = |ca: Option<&PathBuf>, client: Option<(&PathBuf, &PathBuf)>| AmqpLinkSettings {
        ca_file: ca.cloned(),
        client_cert: client.map(|(cert, key)| (cert.clone(), key.clone())),
        ..settings("amqps://mq.example.com/%2f")
    };
    for (settings, expected) in [
        (with(Some(&absent), None), "ca_file /absent.pem cannot be read"),
        (
            with(Some(&words), None),
            "ca_file /words.pem holds no usable PEM (it has no certificate)",
        ),
        (with(None, Some((&words, &own))), "client_cert_file /words.pem holds no usable PEM"),
        (with(None, Some((&good, &absent))), "client_key_file /absent.pem cannot be read"),
        (with(None, Some((&good, &words))), "client_key_file /words.pem holds no usable PEM"),
        (
            with(None, Some((&good, &cut))),
            "client_key_file /cut.pem holds no usable PEM (a block has no end)",
        ),
        (with(None, Some((&good, &file("other.key", &other)))), "client_key_file /other.key"),
    ] {
        let text = refusal(&settings).replace(folder.path().to_str().unwrap(), "");
        assert!(text.starts_with(expected), "{text} instead of {expected}");
        assert!(!text.contains("s3cret"), "{text}");
    }
    assert!(BrokerTarget::new(&with(Some(&good), Some((&good, &own)))).is_ok());
}

#[test]
fn no_settings_show_a_password() {
    assert!(!format!("{:?}", settings("amqp://localhost/%2f")).contains("hunter2"));
}
