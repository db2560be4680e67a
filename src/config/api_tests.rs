//! The section `[api]`: its tokens, their scopes, and the file of the host's own.

use std::path::Path;

use super::tests::{environment, read};
use super::{ApiToken, Config};

#[test]
fn the_tokens_of_the_api_may_stand_elsewhere_and_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("graph"), "graph-0123456789ab\n").unwrap();
    let text = r#"
[api]
bind = "0.0.0.0:8420"
allow_plaintext = true
[[api.tokens]]
name = "shop"
role = "operate"
token = "${env:SHOP_TOKEN}"
[[api.tokens]]
name = "graph"
role = "read"
token = "${file:graph}"
"#;
    let path = dir.path().join("ferryd.toml");
    let variables = environment(&[("SHOP_TOKEN", "shop+0123456789/ab=")]);
    let config = Config::from_parts(Some((&path, text)), &variables).unwrap();
    let tokens: Vec<_> =
        config.api.tokens.iter().map(|token| (token.name.as_str(), token.token.expose())).collect();
    assert_eq!(tokens, [("shop", "shop+0123456789/ab="), ("graph", "graph-0123456789ab")]);
    let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
    assert!(shown.contains("[secret]") && !shown.contains("0123456789"), "{shown}");
}

#[test]
fn tokens_of_the_api_can_not_be_guessed_and_have_names_of_their_own() {
    let token = |name: &str, token: &str| {
        format!("[[api.tokens]]\nname = '{name}'\nrole = 'read'\ntoken = '{token}'\n")
    };
    let good = "0123456789abcdef";
    for (text, fault) in [
        (String::new(), None),
        // The token of the host is needed wherever a request comes from.
        ("[api]\nbind = '0.0.0.0:8420'\nallow_plaintext = true".to_owned(), None),
        (
            "[api]\nbind = '0.0.0.0:8420'".to_owned(),
            Some("api.bind = \"0.0.0.0:8420\": can be reached from other machines in"),
        ),
        ("[api]\nbind = '192.168.0.7:80'".to_owned(), Some("api.allow_plaintext = true")),
        (
            "[api]\nbind = '[::]:80'\nallow_plaintext = false".to_owned(),
            Some("api.allow_plaintext = true"),
        ),
        ("[api]\nbind = '0.0.0.0:8420'\nenabled = false".to_owned(), None),
        ("[api]\ntoken_group = ' '".to_owned(), Some("api.token_group = \" \": is empty")),
        ("[api]\ntrusted_proxies = ['10.0.0.1/8']".to_owned(), Some("api.trusted_proxies[0]")),
        (
            token("host", good),
            Some("api.tokens[0].name: is the name of the token in api.token_file"),
        ),
        ("[api]\nbind = '[::1]:80'".to_owned(), None),
        ("[api]\nbind = '127.3.2.1:0'".to_owned(), None),
        ("[api]\nbind = 'localhost:80'".to_owned(), Some("write an IP address and a port")),
        (
            format!("[api]\nbind = '0.0.0.0:8420'\nallow_plaintext = true\n{}", token("a", good)),
            None,
        ),
        (token("a", "hunter2"), Some("api.tokens[0].token: has to be 16 to 512 characters")),
        (token("a", "hunter2 hunter2 hunter2"), Some("api.tokens[0].token")),
        (token("a", &"x".repeat(513)), Some("api.tokens[0].token")),
        (token("A", good), Some("api.tokens[0].name")),
        (
            token("a", good).replace("read", "write"),
            Some(
                "api.tokens[0].role: `write` is not known; write one of `read`, `operate`, `erase`",
            ),
        ),
        (token("a", good) + &token("a", "fedcba9876543210"), Some("api.tokens[1].name")),
        (
            token("a", good) + &token("b", good),
            Some("api.tokens[1].token: is the token of another"),
        ),
        (
            token("a", "${env:NONE}"),
            Some("api.tokens[0].token: the environment variable NONE is not set"),
        ),
        (token("a", good).replace("token =", "tokn ="), Some("api.tokens[0].tokn")),
    ] {
        let found = read(&text, &[]).map_or_else(|error| error.lines(), |_| Vec::new());
        assert_eq!(found.is_empty(), fault.is_none(), "{text}: {found:?}");
        assert!(
            fault.is_none_or(|fault| found.iter().any(|line| line.contains(fault))),
            "{text}: {found:?}"
        );
        assert!(!found.concat().contains("hunter2") && !found.concat().contains(good), "{found:?}");
    }
    let config =
        read("", &[("FERRYD_API__BIND", "127.0.0.1:0"), ("FERRYD_API__ENABLED", "false")]).unwrap();
    assert_eq!((config.api.bind.port(), config.api.enabled), (0, false));
}

#[test]
fn the_token_of_the_host_is_beside_the_index_unless_another_file_is_named() {
    for (text, expected) in [
        ("[ledger]\ndir = 'state'", "/etc/ferryd/state/api-token"),
        ("[ledger]\ndir = '/srv'", "/srv/api-token"),
        ("[ledger]\ndir = 'state'\n[api]\ntoken_file = 'token'", "/etc/ferryd/token"),
        ("[api]\ntoken_file = '/run/ferryd/token'", "/run/ferryd/token"),
    ] {
        let config = read(text, &[]).unwrap();
        assert_eq!(config.host_token_file().unwrap(), Path::new(expected), "{text}");
    }
}

#[test]
fn scopes_of_tokens_are_for_reading_and_operating_apart() {
    let token =
        |rest: &str| format!("[[api.tokens]]\nname = 'a'\ntoken = '0123456789abcdef'\n{rest}");
    let both = token(
        "role = 'operate'\nread = {}\noperate = { types = ['payment'], accounts = ['stripe/eu'] }",
    );
    let config = read(&both, &[]).unwrap();
    let ApiToken { read: reading, operate, .. } = &config.api.tokens[0];
    assert!(reading.as_ref().unwrap().is_unlimited());
    let operate = operate.as_ref().unwrap();
    assert!(
        operate.admits_names(Some("payment"), Some("stripe"), Some("eu"))
            && operate.providers.is_none()
    );
    for (rest, fault) in [
        ("role = 'read'\nread = { providers = ['stripe'] }", None),
        ("role = 'read'\noperate = {}", Some("api.tokens[0].operate: has no effect")),
        ("role = 'operate'\npublisher = 'warehouse'", None),
        ("role = 'read'\npublisher = 'warehouse'", Some("api.tokens[0].publisher: has no effect")),
        ("role = 'operate'\nread = {}", Some("api.tokens[0]: needs the key `operate` too")),
        ("role = 'operate'\noperate = {}", Some("api.tokens[0]: needs the key `read` too")),
        (
            "role = 'read'\nread = { types = [] }",
            Some("api.tokens[0].read.types: is empty, which allows nothing"),
        ),
        (
            "role = 'read'\nread = { accounts = ['stripe'] }",
            Some("api.tokens[0].read.accounts[0]: is no account"),
        ),
        (
            "role = 'read'\nread = { colour = ['red'] }",
            Some("api.tokens[0].read.colour: unknown key"),
        ),
    ] {
        let found = read(&token(rest), &[]).map_or_else(|error| error.lines(), |_| Vec::new());
        assert_eq!(found.len(), usize::from(fault.is_some()), "{rest}: {found:?}");
        assert!(fault.is_none_or(|fault| found[0].contains(fault)), "{rest}: {found:?}");
    }
}
