use super::*;

fn settings(server: &str) -> NatsLinkSettings {
    NatsLinkSettings {
        server: server.parse().unwrap(),
        login: NatsLogin::User {
            username: "shop".to_owned(),
            password: "hunter2".to_owned().into(),
        },
        ca_file: None,
        connect_timeout: Duration::from_secs(1),
        max_in_flight: 1,
    }
}

#[test]
fn only_this_machine_is_reached_without_tls() {
    for (server, is_tls) in [
        ("tls://nats.example.com", true),
        ("tls://127.0.0.1:4222", true),
        ("nats://127.0.0.1:4222", false),
        ("nats://localhost", false),
    ] {
        assert_eq!(NatsTarget::new(settings(server)).ok().unwrap().is_tls(), is_tls, "{server}");
    }
    for (server, reason) in [
        ("nats://nats.example.com", "would send without TLS to another host"),
        ("nats://10.0.0.1", "would send without TLS to another host"),
        ("wss://nats.example.com", "has another scheme than tls"),
        ("tls:///", "has no host"),
        ("tls://shop:hunter3@nats.example.com", "holds credentials"),
    ] {
        let text = NatsTarget::new(settings(server)).err().unwrap().to_string();
        assert!(text.contains(reason) && !text.contains("hunter"), "{server}: {text}");
    }
}

#[test]
fn no_settings_show_a_password_and_an_absent_ca_file_is_named() {
    assert!(!format!("{:?}", settings("nats://localhost")).contains("hunter2"));
    let settings =
        NatsLinkSettings { ca_file: Some("/absent.pem".into()), ..settings("tls://localhost") };
    let text = NatsTarget::new(settings).err().unwrap().to_string();
    assert!(text.starts_with("ca_file /absent.pem cannot be read"), "{text}");
}
