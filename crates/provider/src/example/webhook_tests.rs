use crate::catalog;
use crate::example::{FileExample, FileExamples, test_catalog, test_file};
use crate::fixture::lines;

const FILE: &str = r#"
name = "shop"
type = "payment"
protocol = "rest"
base_url = "https://api.example.com"
secrets = { webhook = "${env:FERRYD_TEST_UNSET}" }

[operations.pay]
request = { method = "POST", path = "/pay" }

[webhook]
each = "{{ body.events | default([body]) }}"
event = "{{ body.type }}"
id = "{{ body.id }}"
reference = "{{ body.about }}"
command = "{{ headers['x-command'] }}"

[webhook.verify]
algorithm = "hmac_sha256"
keys = [{ secret = "{{ secrets.webhook }}" }]
key_encoding = "base64"
signature = { header = "X-Signature", encoding = "hex" }
signed = "{{ body }}"

[[webhook.on]]
when = "body.type == 'paid'"
as = "completed"
result = { amount = "{{ body.amount | decimal('EUR') }}", shop = "{{ query.shop }}" }

[[webhook.on]]
when = "body.type == 'failed'"
as = "declined"
code = "{{ body.code }}"
message = "{{ body.why }}"

[[webhook.examples]]
name = "a batch"
headers = { X-Command = "order-1" }
query = { shop = "a b" }
body = { events = [{ type = "paid", id = 1, about = "p1", amount = 700 }, { type = "failed", about = "p2", code = "51", why = "poor" }, { type = "seen" }] }

[[webhook.examples.expect]]
as = "completed"
event = "paid"
id = "1"
reference = "p1"
command = "order-1"
result = { amount = "7.00", shop = "a b" }

[[webhook.examples.expect]]
as = "declined"
reference = "p2"
code = "51"
message = "poor"

[[webhook.examples.expect]]
as = "nothing"

[[webhook.examples]]
headers = { content-type = "application/x-www-form-urlencoded" }
body = "type=failed&about=p3&code=7"
expect = [{ as = "declined", reference = "p3", code = "7" }]
"#;

fn tests(text: &str) -> Vec<FileExample> {
    test_file(text, "shop.toml").unwrap_or_else(|errors| panic!("{text}\n{}", lines(&errors))).tests
}

/// The differences of the examples of the file, with one text in it replaced.
fn places(from: &str, to: &str) -> String {
    assert!(FILE.contains(from), "{from}");
    let differences =
        tests(&FILE.replacen(from, to, 1)).into_iter().flat_map(|test| test.differences);
    differences.map(|difference| difference.at).collect::<Vec<_>>().join(" ")
}

#[test]
fn calls_are_read_without_signature_and_secret() {
    let tests = tests(FILE);
    let names: Vec<_> =
        tests.iter().map(|test| (test.operation.as_str(), test.example.as_str())).collect();
    assert_eq!(names, [("webhook", "a batch"), ("webhook", "example 2")]);
    assert!(tests.iter().all(|test| test.differences.is_empty()), "{tests:?}");
}

#[test]
fn what_differs_in_a_notice_is_named_by_its_place() {
    for (from, to, expected) in [
        ("event = \"paid\"\nid", "event = \"sold\"\nid", "expect[0].event"),
        ("id = \"1\"", "id = \"2\"", "expect[0].id"),
        ("reference = \"p1\"", "reference = \"p2\"", "expect[0].reference"),
        ("command = \"order-1\"", "command = \"order-2\"", "expect[0].command"),
        ("shop = \"a b\" }\n\n", "shop = \"c\" }\n\n", "expect[0].result.shop"),
        ("X-Command = \"order-1\"", "X-Command = \"no id\"", "expect[0].command"),
        ("amount = 700", "amount = \"x\"", "expect[0].result.amount expect[0].warnings[0]"),
        ("code = \"51\"\nmessage", "code = \"52\"\nmessage", "expect[1].code"),
        ("message = \"poor\"", "message = \"rich\"", "expect[1].message"),
        (
            "as = \"declined\"\nreference = \"p2\"",
            "as = \"completed\"\nreference = \"p2\"",
            "expect[1].as",
        ),
        ("[[webhook.examples.expect]]\nas = \"nothing\"", "", "expect[2]"),
        (", { type = \"seen\" }] }", "] }", "expect[2]"),
        ("events = [{ type = \"paid\"", "events = \"x\", rest = [{ type = \"paid\"", "expect"),
        ("expect = [{", "expect = [{ as = \"nothing\" }, {", "expect[0].as expect[1]"),
    ] {
        assert_eq!(places(from, to), expected, "{to}");
    }
}

#[test]
fn examples_of_calls_are_not_taken_over_from_the_catalog() {
    let text = "use = \"stripe\"\nsecrets = { api_key = \"x\", webhook = \"whsec_0123456789abcdef\" }\nwebhook = {}\n";
    assert_eq!(tests(text), Vec::new());
}

#[test]
fn a_file_whose_calls_are_verified_by_their_token_can_be_tested() {
    let text = r#"
name = "shop"
type = "payment"
protocol = "rest"
base_url = "https://api.example.com"
[operations.pay]
request = { method = "POST", path = "/pay" }
body = { notify = "{{ webhook_url }}" }
[webhook]
verify = "token"
on = [{ when = "query.done", as = "completed" }]
examples = [{ query = { done = "1" }, expect = [{ as = "completed" }] }]
"#;
    let tests = tests(text);
    assert_eq!((tests.len(), tests[0].differences.len()), (1, 0), "{tests:?}");
}

#[test]
fn every_webhook_of_the_catalog_that_reads_calls_has_examples_for_each_meaning_and_they_are_true() {
    for name in catalog::names() {
        let file: toml::Table = toml::from_str(catalog::source(name).unwrap()).unwrap();
        let Some(webhook) = file.get("webhook").and_then(toml::Value::as_table) else { continue };
        let list = |key: &str| {
            webhook.get(key).and_then(toml::Value::as_array).cloned().unwrap_or_default()
        };
        let FileExamples { tests, .. } =
            test_catalog(name).unwrap().unwrap_or_else(|errors| panic!("{}", lines(&errors)));
        let tests: Vec<_> = tests.into_iter().filter(|test| test.operation == "webhook").collect();
        assert!(!tests.is_empty(), "{name}: there is no [[webhook.examples]]");
        for FileExample { example, differences, .. } in tests {
            assert_eq!(differences, Vec::new(), "{name}: {example}");
        }
        let examples = list("examples");
        let expected = |word: &toml::Value| {
            let notices = examples.iter().flat_map(|example| example["expect"].as_array().unwrap());
            notices.filter(|notice| notice["as"] == *word).count()
        };
        for rule in list("on") {
            assert!(expected(&rule["as"]) > 0, "{name}: no example means {}", rule["as"]);
        }
        assert!(expected(&"nothing".into()) > 0, "{name}: no example means nothing");
    }
}
