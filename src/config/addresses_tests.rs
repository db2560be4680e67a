//! The addresses of a broker of several nodes.

use std::path::Path;

use super::Config;
use super::tests::{environment, read};

const THREE: &str = "[amqp]\nuris = ['amqps://ferry:pw@one/shop', 'amqps://ferry:pw@two/shop', 'amqps://ferry:pw@three/shop']";

fn faults(text: &str, variables: &[(&str, &str)]) -> String {
    read(text, variables).expect_err("a fault").lines().join("\n")
}

fn hosts(config: &Config) -> Vec<&str> {
    config.amqp.addresses().iter().map(|uri| uri.parts().authority.host.as_str()).collect()
}

#[test]
fn several_addresses_stand_in_the_place_of_one() {
    assert_eq!(hosts(&Config::default()), ["127.0.0.1"]);
    assert_eq!(hosts(&read("[amqp]\nuri = 'amqps://one/%2f'", &[]).unwrap()), ["one"]);
    let config = read(THREE, &[]).unwrap();
    assert_eq!(hosts(&config), ["one", "two", "three"]);
    assert_eq!(
        (config.amqp.own_user(), config.amqp.first_address().parts().vhost.as_str()),
        (Some("ferry"), "shop")
    );
    let from_environment =
        read("", &[("FERRYD_AMQP__URIS", "amqps://a:b@one/%2f, amqps://a:c@two/%2f")]).unwrap();
    assert_eq!(hosts(&from_environment), ["one", "two"]);
}

#[test]
fn the_passwords_of_all_addresses_may_stand_elsewhere_and_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("password"), "hunter2\n").unwrap();
    let text = "[amqp]\nuris = ['amqps://ferry:${file:password}@one/%2f', 'amqps://ferry:${env:PW}@two/%2f']";
    let path = dir.path().join("ferryd.toml");
    let config =
        Config::from_parts(Some((&path, text)), &environment(&[("PW", "hunter2")])).unwrap();
    assert!(config.amqp.addresses().iter().all(|uri| uri.expose().contains(":hunter2@")));
    assert!(!format!("{config:?} {}", serde_json::to_string(&config).unwrap()).contains("hunter2"));
    let missing =
        Config::from_parts(Some((&path, text)), &environment(&[])).unwrap_err().to_string();
    assert!(
        missing.contains(":2: amqp.uris[1]: the environment variable PW is not set; set it"),
        "{missing}"
    );
    for text in [
        "[amqp]\nuris = 'hunter2'",
        "[amqp]\nuris = ['amqps://u:hunter2@[::1]/']",
        "[amqp]\nuris = [['hunter2']]",
    ] {
        let faults = faults(text, &[]);
        assert!(faults.contains("amqp.uris") && !faults.contains("hunter2"), "{faults}");
    }
}

#[test]
fn addresses_that_are_not_of_one_cluster_are_refused_each_by_its_key() {
    let at = |number: usize| format!("/etc/ferryd/ferryd.toml:2: amqp.uris[{number}]: ");
    let table = [
        (
            "[amqp]\nuris = ['amqps://ferry@one/a', 'amqps://ferry@two/b']",
            at(1) + "names the virtual host `b`, and amqp.uris[0] `a`: all addresses lead to one cluster, so write the same",
        ),
        (
            "[amqp]\nuris = ['amqps://ferry@one/a', 'amqps://ferry@two/a', 'amqps://shop@three/a']",
            at(2) + "logs in as `shop`, and amqp.uris[0] as `ferry`: write the same user everywhere",
        ),
        (
            "[amqp]\nuris = ['amqps://ferry@one/a', 'amqps://two/a?auth_mechanism=external']",
            at(1) + "logs in by the client certificate, and amqp.uris[0] as `ferry`: write the same user everywhere",
        ),
        (
            "[amqp]\nuris = ['amqp://127.0.0.1/a', 'amqp://two/a']",
            at(1)
                + "leads to another host without TLS, so the password and every command can be read and changed on the way: write \
                   amqps://, or `amqp.allow_plaintext = true` where everybody on the network path may do that",
        ),
        (
            "[amqp]\nuris = ['amqps://one/a', 'http://two/a']",
            at(1) + "has the scheme `http`: write `amqp` or, with TLS, `amqps`",
        ),
        ("[amqp]\nuris = []", "/etc/ferryd/ferryd.toml:2: amqp.uris: has no address: write one for each node of the cluster, or leave it out".to_owned()),
        (
            "[amqp]\nuris = ['amqp://localhost/a']\nuser = 'shop'",
            "/etc/ferryd/ferryd.toml:3: amqp.user = \"shop\": amqp.uris[0] logs in as `guest`: leave this out, it is for \
             auth_mechanism=external"
                .to_owned(),
        ),
    ];
    for (text, expected) in table {
        assert_eq!(faults(text, &[]), expected, "{text}");
    }
}

#[test]
fn one_address_and_several_are_refused_by_both_their_keys_and_places() {
    let text = "[amqp]\nuri = 'amqps://one/a'\nuris = ['amqps://one/a', 'amqps://two/a']";
    let expected = "/etc/ferryd/ferryd.toml:3: amqp.uris: is set beside amqp.uri (/etc/ferryd/ferryd.toml:2): leave one of them out";
    assert_eq!(faults(text, &[]), expected);
    let expected = "environment variable FERRYD_AMQP__URIS: amqp.uris: is set beside amqp.uri (/etc/ferryd/ferryd.toml:2): leave one of them out";
    assert_eq!(
        faults("[amqp]\nuri = 'amqps://one/a'", &[("FERRYD_AMQP__URIS", "amqps://one/a")]),
        expected
    );
}

#[test]
fn the_first_address_stands_for_the_cluster_as_the_only_one_did() {
    use ferryd_broker::connection::AmqpSettings;
    let [one, three] = ["[amqp]\nuri = 'amqps://ferry:pw@one/shop'", THREE].map(|text| {
        AmqpSettings::from(
            &Config::from_parts(Some((Path::new("x"), text)), &environment(&[])).unwrap().amqp,
        )
    });
    assert_eq!(one.first_address(), "amqps://one:5671/shop");
    assert_eq!(three.first_address(), one.first_address());
    assert_eq!(
        three.address(),
        "amqps://one:5671/shop, amqps://two:5671/shop, amqps://three:5671/shop"
    );
    let nodes: Vec<_> = three.each_node().map(|node| node.address()).collect();
    assert_eq!(
        nodes,
        ["amqps://one:5671/shop", "amqps://two:5671/shop", "amqps://three:5671/shop"]
    );
}

#[test]
fn the_management_api_has_a_user_where_the_broker_takes_a_certificate_and_its_password_is_not_shown()
 {
    let files = "client_cert_file = 'c.pem'\nclient_key_file = 'k.pem'";
    let text = |url: &str| {
        format!(
            "[amqp]\nuri = 'amqps://one/%2f?auth_mechanism=external'\n{files}\nmanagement_url = '{url}'"
        )
    };
    let refused = faults(&text("https://one:15671"), &[]);
    let expected = "amqp.management_url: needs a user: amqp.uri logs in by the client certificate, so write https://user:password@host:15671";
    assert_eq!(refused, format!("/etc/ferryd/ferryd.toml:5: {expected}"));
    let config = read(&text("https://monitor:${env:PW}@one:15671"), &[("PW", "hunter2")]).unwrap();
    assert_eq!(
        config.amqp.management_url.as_ref().unwrap().expose(),
        "https://monitor:hunter2@one:15671"
    );
    assert!(!format!("{config:?}").contains("hunter2"));
    let refused = faults("[amqp]\nmanagement_url = 'http://u:hunter2@one:15672'", &[]);
    assert!(
        refused.contains(":2: amqp.management_url: is not https") && !refused.contains("hunter2"),
        "{refused}"
    );
}
