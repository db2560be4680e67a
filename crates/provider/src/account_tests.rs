//! Tests the accounts of a provider, and the faults of account files.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use secrecy::ExposeSecret;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::example::test_file;
use crate::fixture::{self, lines};
use crate::{CallContext, Provider};
use ferryd_domain::http_call::HttpRequest;
use ferryd_domain::webhook::{RawWebhook, VerificationError};

/// A provider whose calls and webhook need a secret of each account, and whose address needs a
/// value.
const SHOP: &str = r#"
name = "shop"
type = "payment"
protocol = "rest"
base_url = "https://{{ account.region }}.example.com"
auth = { scheme = "bearer", token = "{{ secrets.token }}" }
accounts_dir = "accounts"
secrets = { agent = "shared-agent" }
account = { region = "eu" }
[operations.act]
request = { method = "POST", path = "/{{ account.name }}", headers = { X-Agent = "{{ secrets.agent }}" } }
[webhook.verify]
algorithm = "hmac_sha256"
keys = [{ secret = "{{ secrets.hook }}" }]
signature = { header = "X-Signature", encoding = "hex" }
signed = "{{ body }}"
"#;

const DEFAULT: &str = "[secrets]\ntoken = \"token-default\"\nhook = \"hook-default-0123456789\"\n";
const US: &str = "[secrets]\ntoken = \"token-us\"\nhook = \"hook-us-0123456789\"\nagent = \"agent-us\"\n[account]\nregion = \"us\"\n";

fn read(provider: &str, accounts: &[(&str, &str)]) -> (TempDir, Result<Provider, Vec<Diagnostic>>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("accounts")).unwrap();
    for (name, text) in accounts {
        std::fs::write(folder.path().join("accounts").join(name), text).unwrap();
    }
    let file = folder.path().join("shop.toml").display().to_string();
    let provider = Provider::parse(provider, &file, &fixture::defaults());
    (folder, provider)
}

fn shop() -> Provider {
    let (_folder, provider) =
        read(SHOP, &[("default.toml", DEFAULT), ("us.toml", US), ("notes.txt", "nothing")]);
    provider.unwrap_or_else(|errors| panic!("{}", lines(&errors)))
}

fn account<'p>(provider: &'p Provider, name: &str) -> &'p Account {
    &provider.accounts[&name.parse::<Name>().unwrap()]
}

fn request(account: &Account) -> HttpRequest {
    let mut command = fixture::command("act", &json!({}));
    command.account = account.name.clone();
    let call = CallContext {
        command: &command,
        key: None,
        generation: 0,
        attempt: 1,
        provider_reference: None,
        webhook_url: None,
        command_token: "",
        in_doubt: false,
    };
    account.adapter.build_request(&call).unwrap().into_http().unwrap()
}

#[test]
fn each_file_is_an_account_over_what_the_provider_file_states_for_all() {
    let provider = shop();
    let names: Vec<_> = provider.accounts.keys().map(Name::as_str).collect();
    assert_eq!(names, ["default", "us"]);
    for (name, url, token, agent) in [
        ("default", "https://eu.example.com/default", "Bearer token-default", "shared-agent"),
        ("us", "https://us.example.com/us", "Bearer token-us", "agent-us"),
    ] {
        let request = request(account(&provider, name));
        let header = |name: &str| {
            request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
        };
        assert_eq!(request.url.as_str(), url);
        assert_eq!(
            (header("authorization"), header("x-agent")),
            (Some(token), Some(agent)),
            "{name}"
        );
    }
    let mut masked: Vec<_> =
        account(&provider, "us").secrets.iter().map(ExposeSecret::expose_secret).collect();
    masked.sort_unstable();
    assert_eq!(masked, ["agent-us", "hook-us-0123456789", "token-us"]);
}

#[test]
fn what_one_account_signs_another_does_not_verify() {
    let (provider, now) = (shop(), jiff::Timestamp::UNIX_EPOCH);
    let call = RawWebhook {
        method: "POST".to_owned(),
        url: "https://hooks.example.com/webhooks/shop/us".parse().unwrap(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: "{}".into(),
        certificate: None,
    };
    let [default, us] =
        ["default", "us"].map(|name| account(&provider, name).webhook.clone().unwrap());
    let signed = us.sign(&call, now, None).unwrap();
    assert_eq!(us.verify(&signed, now), Ok(()));
    assert_eq!(default.verify(&signed, now), Err(VerificationError::Forged));
}

#[test]
fn encoded_credentials_are_secrets_of_their_account_too() {
    let bearer = r#"{ scheme = "bearer", token = "{{ secrets.token }}" }"#;
    let basic = r#"{ scheme = "basic", username = "{{ account.region }}", password = "{{ secrets.token }}" }"#;
    let grant = r#"{ scheme = "oauth2", grant = "client_credentials", token_url = "/token", client_id = "id", client_secret = "{{ secrets.token }}" }"#;
    let secret_us = US.replace("token-us", "token/us");
    for (auth, credentials) in
        [(bearer, None), (basic, Some("us:token/us")), (grant, Some("id:token%2Fus"))]
    {
        let (_folder, provider) = read(
            &SHOP.replace(bearer, auth),
            &[("default.toml", DEFAULT), ("us.toml", &secret_us)],
        );
        let provider = provider.unwrap_or_else(|errors| panic!("{}", lines(&errors)));
        let secrets = &account(&provider, "us").secrets;
        let encoded = credentials.map(|credentials| BASE64_STANDARD.encode(credentials));
        assert_eq!(secrets.len(), 3 + usize::from(encoded.is_some()), "{auth}");
        assert!(
            encoded.is_none_or(|encoded| secrets
                .iter()
                .any(|secret| secret.expose_secret() == encoded)),
            "{auth}"
        );
    }
}

#[test]
fn without_a_folder_of_accounts_the_file_itself_is_the_only_one() {
    let alone = SHOP
        .replace("accounts_dir = \"accounts\"\n", "")
        .replace("{ agent", "{ token = \"t-1\", hook = \"hook-of-the-file-itself\", agent");
    let (_folder, provider) = read(&alone, &[("us.toml", US)]);
    let provider = provider.unwrap_or_else(|errors| panic!("{}", lines(&errors)));
    assert_eq!(provider.accounts.len(), 1);
    let request = request(provider.default_account().unwrap());
    assert_eq!(request.url.as_str(), "https://eu.example.com/default");
}

#[test]
fn the_files_in_the_document_are_taken() {
    let document =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/PROVIDERS.md"))
            .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files =
        document.split("```toml file\n").skip(1).map(|block| block.split("```").next().unwrap());
    for (number, file) in files.enumerate() {
        let name = file.lines().next().unwrap().trim_start_matches("# ").split(':').next().unwrap();
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(
            path,
            file.replace("${file:", "literal-").replace('}', if number == 0 { "}" } else { "" }),
        )
        .unwrap();
    }
    let file = folder.path().join("providers/stripe.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let provider = Provider::parse(&text, &file.display().to_string(), &fixture::defaults());
    let provider = provider.unwrap_or_else(|errors| panic!("{}", lines(&errors)));
    assert!(provider.webhook(&"eu".parse().unwrap()).is_some());
    let tests = test_file(&text, &file.display().to_string())
        .unwrap_or_else(|errors| panic!("{}", lines(&errors)));
    assert_eq!(tests.provider.as_str(), "stripe");
}

#[test]
fn commands_have_to_name_an_account_where_there_is_no_default() {
    let (_folder, provider) = read(SHOP, &[("us.toml", US)]);
    assert!(
        provider.is_ok_and(
            |provider| provider.default_account().is_none() && provider.accounts.len() == 1
        )
    );
}

#[test]
fn every_fault_of_account_files_is_said_with_file_line_and_key() {
    let at = |text: &str| text.to_owned();
    for (files, faults) in [
        (vec![], vec!["shop.toml:7: accounts_dir: there is no account in"]),
        (
            vec![("Us.toml", US)],
            vec!["accounts/Us.toml: the file's name is the account's, and `Us` is not a name"],
        ),
        (vec![("us.toml", "[secrets\n")], vec!["accounts/us.toml:1: not TOML"]),
        (
            vec![("default.toml", DEFAULT), ("us.toml", "[secrets]\ntoken = \"t\"\n")],
            vec!["accounts/us.toml:1: secrets: `hook` is missing, which another account states"],
        ),
        (
            vec![
                ("default.toml", DEFAULT),
                ("us.toml", &format!("base_url = \"https://evil.example\"\n{US}")),
            ],
            vec![
                "accounts/us.toml:1: base_url: unknown key; write one of `secrets`, `account`, `publishers`",
            ],
        ),
        (
            vec![("us.toml", &format!("{US}name = \"x\"\n"))],
            vec!["accounts/us.toml:7: account.name: is the account's own name already"],
        ),
        (
            vec![("us.toml", &US.replace("token-us", "${env:FERRYD_NO_SUCH_VARIABLE}"))],
            vec![
                "accounts/us.toml:2: secrets.token: the environment variable FERRYD_NO_SUCH_VARIABLE is not set",
            ],
        ),
        (
            vec![("us.toml", &US.replace("\"us\"", "\"u s\""))],
            vec!["shop.toml:5: base_url: is not an address"],
        ),
    ] {
        let files: Vec<(&str, &str)> =
            files.iter().map(|(name, text)| (*name, at(text).leak() as &str)).collect();
        let (folder, provider) = read(SHOP, &files);
        let Err(errors) = provider else { panic!("{files:?} is taken") };
        let found: Vec<_> = errors
            .iter()
            .map(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
            .collect();
        assert_eq!(found.len(), faults.len(), "{found:#?}");
        assert!(
            found.iter().zip(&faults).all(|(found, fault)| found.starts_with(fault)),
            "{found:#?} {faults:#?}"
        );
    }
}

/// The publishers of an account, as `ferryd provider show` prints them.
fn publishers(provider: &Provider, name: &str) -> Option<Vec<String>> {
    account(provider, name)
        .publishers
        .as_ref()
        .map(|list| list.iter().map(ToString::to_string).collect())
}

#[test]
fn an_account_states_its_publishers_or_has_those_of_the_provider_file_or_takes_all() {
    let all = SHOP.replace("secrets = {", "publishers = [\"shop\"]\nsecrets = {");
    let own = format!(
        "publishers = [{{ user = \"warehouse\", ids = [\"wh-\", \"stock.\"] }}, \"desk\"]\n{US}"
    );
    let listed =
        |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
    for (file, us, expected) in [
        (SHOP, US, [None, None]),
        (SHOP, own.as_str(), [None, listed(&["warehouse (ids wh-…, stock.…)", "desk"])]),
        (all.as_str(), US, [listed(&["shop"]), listed(&["shop"])]),
        (
            all.as_str(),
            own.as_str(),
            [listed(&["shop"]), listed(&["warehouse (ids wh-…, stock.…)", "desk"])],
        ),
    ] {
        let (_folder, provider) = read(file, &[("default.toml", DEFAULT), ("us.toml", us)]);
        let provider = provider.unwrap_or_else(|errors| panic!("{}", lines(&errors)));
        assert_eq!(["default", "us"].map(|name| publishers(&provider, name)), expected, "{us}");
    }
    let alone = "use = \"stripe\"\nsecrets = { api_key = \"sk\" }\npublishers = [\"shop\"]\n";
    let provider = fixture::parse(alone).unwrap_or_else(|errors| panic!("{}", lines(&errors)));
    assert_eq!(publishers(&provider, "default"), listed(&["shop"]));
}

#[test]
fn publishers_that_nobody_can_mean_are_refused_with_file_line_and_key() {
    let (provider, account) = ("shop.toml:9", "accounts/us.toml:1");
    for (text, fault) in [
        ("[]", "publishers: is empty, so nobody could publish; name a user, or leave it out"),
        ("\"shop\"", "publishers: is text; write a list in brackets"),
        ("[7]", "publishers[0]: is a number; write text in quotes or a table"),
        ("[\"\"]", "publishers[0]: is no name of an AMQP user; write 1 to 255 bytes"),
        (
            "[\"a\", { user = \"a\", ids = [\"x\"] }]",
            "publishers[1]: `a` is there twice; write all of its `ids` in one",
        ),
        ("[{ ids = [\"x\"] }]", "publishers[0].user: is missing; write it"),
        ("[{ user = \"a\", id = [\"x\"] }]", "publishers[0].id: unknown key; did you mean `ids`"),
        (
            "[{ user = \"a\", ids = [] }]",
            "publishers[0].ids: is empty, so the user could use no id; write how its ids",
        ),
        (
            "[{ user = \"a\", ids = [\"\"] }]",
            "publishers[0].ids[0]: no id begins so; write 1 to 128 of",
        ),
        (
            "[{ user = \"a\", ids = [\"x\", \"wh/\"] }]",
            "publishers[0].ids[1]: no id begins so; write 1 to 128 of",
        ),
        (
            "[{ user = \"a\", ids = [\"x/refused/00000000000000000000000000000000\"] }]",
            "publishers[0].ids[0]: no id begins so; write 1 to 128 of",
        ),
    ] {
        let key = format!("publishers = {text}\n");
        let file = SHOP.replace("account = {", &format!("{key}account = {{"));
        for (file, us, place) in
            [(SHOP, format!("{key}{US}"), account), (file.as_str(), US.to_owned(), provider)]
        {
            let (folder, provider) = read(file, &[("default.toml", DEFAULT), ("us.toml", &us)]);
            let Err(errors) = provider else { panic!("{text} is taken") };
            let found = lines(&errors).replace(&format!("{}/", folder.path().display()), "");
            assert!(
                found.starts_with(&format!("{place}: {fault}")) && errors.len() == 1,
                "{found}"
            );
        }
    }
}

#[test]
fn what_is_wrong_with_the_provider_file_is_said_once_for_all_accounts() {
    let wrong = SHOP
        .replace("{{ secrets.token }}", "{{ secrets.tokem }}")
        .replace("account.region", "account.regoin");
    let (_folder, provider) = read(&wrong, &[("default.toml", DEFAULT), ("us.toml", US)]);
    let found: Vec<_> = provider.err().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0].contains("`account.regoin` is not there; did you mean `region`"),
        "{found:#?}"
    );
    assert!(found[1].contains("`secrets.tokem` is not there; did you mean `token`"), "{found:#?}");
}

/// Each account would get some of the other's answers, and match none of them.
#[test]
fn two_accounts_do_not_consume_one_queue() {
    let file = |queue: &str| {
        format!(
            r#"
name = "shop"
type = "shipping"
protocol = "amqp"
base_url = "amqps://broker.example.com/orders"
auth = {{ scheme = "basic", username = "shop", password = "{{{{ secrets.token }}}}" }}
accounts_dir = "accounts"
[operations.act]
message = {{ routing_key = "orders" }}
[inbound]
queue = "{queue}"
trusted = true
"#
        )
    };
    let secrets = "[secrets]\ntoken = \"t-0123456789\"\n";
    let accounts = [("default.toml", secrets), ("us.toml", secrets)];
    let (_folder, refused) = read(&file("answers"), &accounts);
    let refused = lines(&refused.map(|_| ()).unwrap_err());
    assert!(refused.contains(":11: inbound.queue: is the queue of several accounts"), "{refused}");
    let (_folder, taken) = read(&file("answers.{{ account.name }}"), &accounts);
    let taken = taken.unwrap_or_else(|errors| panic!("{}", lines(&errors)));
    assert_eq!(taken.inbound(&"us".parse().unwrap()).unwrap().queue, "answers.us");
}
