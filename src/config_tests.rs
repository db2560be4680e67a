use std::path::Path;

use super::*;
use ferryd_domain::lifecycle::LifecycleState;
use proptest::prelude::*;
use std::time::Duration;

const PATH: &str = "/etc/ferryd/ferryd.toml";

pub(super) fn environment(variables: &[(&str, &str)]) -> EnvironmentVariables {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_parts(Some((Path::new(PATH), text)), &environment(variables))
}

fn faults(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    read(text, variables).expect_err("a fault").lines()
}

#[test]
fn without_a_file_the_defaults_hold() {
    let config = Config::from_parts(None, &EnvironmentVariables::new()).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.amqp.uri.expose(), "amqp://guest:guest@127.0.0.1:5672/%2f");
    assert_eq!(RetryPolicy::from(&config.retry), RetryPolicy::default());
}

#[test]
fn switching_the_ledger_off_is_refused_with_what_to_do_first() {
    let message = "ledger.enabled: is no key any more: the ledger is always on; remove it";
    assert_eq!(faults("[ledger]\nenabled = false", &[]), [format!("{PATH}:2: {message}")]);
    let found = faults("", &[("FERRYD_LEDGER__ENABLED", "true")]);
    assert_eq!(found, [format!("environment variable FERRYD_LEDGER__ENABLED: {message}")]);
}

#[test]
fn the_environment_comes_before_the_file_and_the_file_before_the_defaults() {
    let text = "prefix = 'shop'\n[amqp]\nheartbeat = '20s'\n[retry]\nschedule = ['1s', '1m']\n[routes]\npayment = 'stripe'";
    let variables = [
        ("FERRYD_AMQP__HEARTBEAT", "30s"),
        ("FERRYD_AMQP__MAX_UNCONFIRMED", "7"),
        ("FERRYD_RETRY__SCHEDULE", "2s, 5m"),
        ("FERRYD_RETRY__JITTER", "false"),
        ("FERRYD_EVENTS__STATES", "completed,failed"),
        ("FERRYD_ROUTES__SHIPPING", "easypost"),
        ("FERRYD_PROVIDERS__DIR", ""),
        ("FERRYD_LOG__FILTER", "warn"),
        ("FERRYD_LOG", "debug"),
    ];
    let config = read(text, &variables).unwrap();
    assert_eq!(config.prefix.as_str(), "shop");
    assert_eq!(config.amqp.heartbeat, Duration::from_secs(30));
    assert_eq!(config.amqp.max_unconfirmed, 7);
    assert_eq!(config.amqp.connect_timeout, Duration::from_secs(10));
    assert_eq!(config.retry.schedule, [2, 300].map(Duration::from_secs));
    assert!(!config.retry.jitter);
    assert_eq!(config.events.states, [LifecycleState::Completed, LifecycleState::Failed]);
    let routes: Vec<_> =
        config.routes.iter().map(|(kind, name)| (kind.as_str(), name.as_str())).collect();
    assert_eq!(routes, [("payment", "stripe"), ("shipping", "easypost")]);
    assert_eq!(config.providers.dir, Path::new("/etc/ferryd/providers"));
    assert_eq!(config.log.filter.as_str(), "debug");
}

#[test]
fn paths_of_the_file_start_at_its_folder_and_those_of_the_environment_at_the_working_directory() {
    let text = "[amqp]\nuri = 'amqps://host'\nca_file = 'ca.pem'\nclient_cert_file = '/abs/cert.pem'\nclient_key_file = 'k.pem'";
    let config = read(text, &[("FERRYD_AMQP__CLIENT_KEY_FILE", "key.pem")]).unwrap();
    assert_eq!(config.amqp.ca_file.as_deref(), Some(Path::new("/etc/ferryd/ca.pem")));
    assert_eq!(config.amqp.client_cert_file.as_deref(), Some(Path::new("/abs/cert.pem")));
    assert_eq!(config.amqp.client_key_file.as_deref(), Some(Path::new("key.pem")));
}

#[test]
fn the_index_of_the_ledger_is_kept_where_services_and_people_keep_their_state() {
    let folder = |text: &str, variables: &[(&str, &str)]| {
        let config = read(text, variables).unwrap();
        config.ledger.folder(&environment(variables)).display().to_string()
    };
    let home = ("HOME", "/home/ann");
    for (text, variables, expected) in [
        ("", vec![], "/var/lib/ferryd"),
        ("", vec![home], "/home/ann/.local/state/ferryd"),
        ("", vec![home, ("XDG_STATE_HOME", "/state")], "/state/ferryd"),
        (
            "",
            vec![home, ("STATE_DIRECTORY", "/var/lib/private/ferryd:/other")],
            "/var/lib/private/ferryd",
        ),
        ("[ledger]\ndir = 'index'", vec![home], "/etc/ferryd/index"),
        ("[ledger]\ndir = 'index'", vec![("FERRYD_LEDGER__DIR", "here")], "here"),
    ] {
        assert_eq!(folder(text, &variables), expected);
    }
}

#[test]
fn the_password_of_the_broker_may_stand_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("password"), "p@ss\n").unwrap();
    let text = "[amqp]\nuri = 'amqps://ferry:${file:password}@host/${env:VHOST}'";
    let path = dir.path().join("ferryd.toml");
    let config =
        Config::from_parts(Some((&path, text)), &environment(&[("VHOST", "shop")])).unwrap();
    assert_eq!(config.amqp.uri.expose(), "amqps://ferry:p%40ss@host/shop");
    assert!(!format!("{config:?}").contains("p%40ss"));
}

#[test]
fn every_fault_of_a_file_is_reported_at_once() {
    let text = r#"prefix = "Shop"
colour = "red"

[amqp]
uri = "amqp://ferry:hunter2@[::1]:5672/%2f"
heartbeat = "ten"
max_unconfirmed = 70000
heartbeet = "5s"
pasword = "hunter2"

[providers]
max_in_flight = 0
max_bytes_in_flight = "64 megs"

[retry]
schedule = ["5s", "soon"]
jitter = "perhaps"

[routes]
Payment = "stripe"
shipping = "Easy Post"

[events]
states = ["waiting", "done"]
subscribers = [{ queue = "shop" }]

[shutdown]
grace_period = 30

[log]
format = "xml"
filter = "info,ferryd=loud"
"#;
    let faults = faults(text, &[]);
    assert!(!faults.concat().contains("hunter2"));
    insta::assert_snapshot!(faults.join("\n"));
}

#[test]
fn rules_between_settings_are_checked() {
    let text = r##"
[amqp]
ca_file = "ca.pem"
client_cert_file = "cert.pem"
heartbeat = "1500ms"
connect_timeout = "0s"
[providers]
max_bytes_in_flight = "4KiB"
[retry]
schedule = ["5s", "13h", "10ms"]
give_up_after = "0s"
[ledger]
retention = "1d"
claim_margin = "1ms"
[events]
states = ["waiting"]
subscribers = [
  { queue = "shop", bindings = ["payment.#"] },
  { queue = "shop", bindings = [] },
  { queue = "ferry.retry.5s", bindings = ["#"] },
  { queue = "ferry.events.shop", bindings = ["#"] },
  { queue = "amq.shop", bindings = ["#"] },
]
"##;
    insta::assert_snapshot!(faults(text, &[]).join("\n"));
}

#[test]
fn faults_of_the_environment_name_the_variable() {
    let variables = [
        ("FERRYD_AMQP__URI", "http://ferry:hunter2@host"),
        ("FERRYD_AMQP__PORT", "5672"),
        ("FERRYD_AMQP_HEARTBEAT", "5s"),
        ("FERRYD_LOG", "info,=loud"),
        ("FERRYD_RETRY__SCHEDULE", "5s,,1m"),
        ("FERRYD_SHUTDOWN__GRACE_PERIOD", "soon"),
        ("FERRYD_COLOUR__OF", "red"),
        ("FERRYD_A B__C", "red"),
        // Set by container platforms for a service named `ferryd`.
        ("FERRYD_SERVICE_HOST", "10.0.0.1"),
        ("FERRYD_PORT", "tcp://10.0.0.1:80"),
    ];
    let faults = faults("[amqp]\nport = 1", &variables);
    assert!(!faults.concat().contains("hunter2"));
    insta::assert_snapshot!(faults.join("\n"));
}

#[test]
fn a_secret_in_the_wrong_place_is_not_quoted() {
    for text in [
        "amqp = 'amqp://u:hunter2@h'",
        "uri = 'amqp://u:hunter2@h'",
        "[amqp]\nuri = ['hunter2']",
        "[amqp.uri]\nx='hunter2'",
    ] {
        let faults = faults(text, &[]).concat();
        assert!(!faults.contains("hunter2"), "{faults}");
        assert!(faults.contains("ferryd.toml:"), "{faults}");
    }
}

#[test]
fn a_missing_secret_is_named() {
    let faults = faults("[amqp]\nuri = '${env:NO_SUCH}'", &[]);
    assert_eq!(
        faults,
        [format!(
            "{PATH}:2: amqp.uri: the environment variable NO_SUCH is not set; set it, or write `${{file:/run/secrets/…}}`"
        )]
    );
}

#[test]
fn invalid_toml_is_reported_with_its_line() {
    let faults = faults("prefix = 'a'\n[amqp]\nuri = hunter2\n", &[]);
    assert_eq!(faults.len(), 1);
    assert!(faults[0].starts_with(&format!("{PATH}:3: not TOML: ")), "{}", faults[0]);
    assert!(!faults[0].contains("hunter2"), "{}", faults[0]);
}

#[test]
fn the_file_is_the_one_given_else_the_one_in_the_environment() {
    let variables = environment(&[("FERRYD_CONFIG", "/env.toml")]);
    assert_eq!(
        Config::find(Some(Path::new("/given.toml")), &variables),
        Some("/given.toml".into())
    );
    assert_eq!(Config::find(None, &variables), Some("/env.toml".into()));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::load(Some(Path::new("/no/such/ferryd.toml"))).unwrap_err();
    assert!(error.to_string().starts_with("/no/such/ferryd.toml: cannot be read: "), "{error}");
}

#[test]
fn provider_files_get_their_defaults() {
    let config = read("[providers]\nmax_in_flight = 9\nmax_bytes_in_flight = '2MiB'", &[]).unwrap();
    let defaults = config.provider_defaults();
    assert_eq!((defaults.max_in_flight, defaults.max_bytes_in_flight), (9, 2 << 20));
    assert_eq!(defaults.retry, RetryPolicy::default());
}

proptest! {
    #[test]
    fn reading_never_panics(
        keys in proptest::collection::vec(("(FERRYD_)?[A-Z_.0-9\\[\\]-]{0,20}", ".{0,20}"), 0..4),
        text in "(\\[?\\[?(amqp|events|retry|prefix|subscribers|uri|schedule|routes)\\]{0,2}( = (1|true|\\[\\]|'x'|'5s'|\\{\\}))?\n){0,5}",
    ) {
        let environment = keys.into_iter().collect();
        if let Err(error) = Config::from_parts(Some((Path::new(PATH), &text)), &environment) {
            prop_assert!(!error.lines().is_empty());
        }
    }
}

const EXAMPLE: &str = include_str!("../deploy/ferryd.example.toml");

#[test]
fn the_example_says_what_the_defaults_are() {
    let config = Config::from_parts(
        Some((Path::new("ferryd.example.toml"), EXAMPLE)),
        &EnvironmentVariables::new(),
    )
    .unwrap();
    assert_eq!(config, Config::default());
}

#[test]
fn the_example_has_every_key_and_no_other() {
    let mut known = Vec::new();
    for (section, value) in serde_json::to_value(Config::default()).unwrap().as_object().unwrap() {
        let keys = value.as_object().into_iter().flat_map(serde_json::Map::keys);
        known.extend(keys.map(|key| format!("{section}.{key}")));
    }
    known.extend(["prefix".to_owned(), "routes.payment".to_owned()]);
    let mut found = keys_of(EXAMPLE);
    known.sort();
    found.sort();
    assert_eq!(found, known);
}

/// Lists the keys of an example, those that are commented out too.
fn keys_of(text: &str) -> Vec<String> {
    let (mut section, mut keys) = (String::new(), Vec::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = format!("{name}.");
        }
        let setting = line.strip_prefix("# ").unwrap_or(line).split_once(" = ");
        let is_word =
            |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        keys.extend(
            setting.filter(|(key, _)| is_word(key)).map(|(key, _)| format!("{section}{key}")),
        );
    }
    keys
}

#[test]
fn the_keys_of_webhook_urls_may_stand_elsewhere_and_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (new, old) = ("0123456789abcdef0123456789abcdef", "0123456789ABCDEF0123456789ABCDEF");
    std::fs::write(dir.path().join("old"), format!("{old}\n")).unwrap();
    let text = "[webhooks]\npublic_url = 'https://hooks.example.com'\nsigning_keys = ['${env:NEW}', '${file:old}']";
    let path = dir.path().join("ferryd.toml");
    let in_file = Config::from_parts(Some((&path, text)), &environment(&[("NEW", new)])).unwrap();
    let list = format!("{new}, ${{file:{}}}", dir.path().join("old").display());
    let url = ("FERRYD_WEBHOOKS__PUBLIC_URL", "https://hooks.example.com");
    let in_environment = read("", &[url, ("FERRYD_WEBHOOKS__SIGNING_KEYS", &list)]).unwrap();
    for config in [in_file, in_environment] {
        let keys: Vec<_> = config.webhooks.signing_keys.iter().map(SecretText::expose).collect();
        assert_eq!(keys, [new, old]);
        let shown = format!(
            "{config:?} {} {:?}",
            serde_json::to_string(&config).unwrap(),
            config.provider_defaults()
        );
        assert!(
            shown.contains("[secret]") && !shown.to_lowercase().contains("0123456789"),
            "{shown}"
        );
        let links = config.provider_defaults().links.unwrap();
        let settings = (links.public_url.as_deref(), links.keys.len(), links.lifetime);
        assert_eq!(
            settings,
            (Some("https://hooks.example.com"), 2, config.ledger.duplicate_window)
        );
    }
    let only_url = read("[webhooks]\npublic_url = 'https://hooks.example.com'", &[]).unwrap();
    assert!(only_url.provider_defaults().links.is_none());
    let only_keys = read("", &[("FERRYD_WEBHOOKS__SIGNING_KEYS", new)]).unwrap();
    assert_eq!(
        only_keys.provider_defaults().links.unwrap().public_url,
        None,
        "they are good for command tokens"
    );
}
