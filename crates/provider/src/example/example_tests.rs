use super::*;

const FILE: &str = r#"
name = "shop"
type = "payment"
protocol = "rest"
base_url = "https://api.example.com/v1"
ca_file = "no such file.pem"
auth = { scheme = "header", name = "X-Key", value = "{{ secrets.api_key }}" }
secrets = { api_key = "${env:FERRYD_TEST_UNSET}" }

[operations.pay]
request = { method = "POST", path = "/pay", query = { n = ["{{ payload.amount }}", "b"] }, encoding = "form" }
idempotency = { header = "Idempotency-Key", retention = "24h" }
body = { amount = "{{ payload.amount }}", card = { token = "{{ payload.token }}" }, list = ["a", "b"], note = "{{ command.reference }}" }
payload = { type = "object", required = ["amount"] }

[operations.pay.response]
reference = "{{ body.id }}"
result = { id = "{{ body.id }}", name = "{{ body.name | upper }}" }
success = "body.id"
accepted = "status == 202"
error = { code = "{{ body.code }}" }

[[operations.pay.classify]]
when = "status == 402"
as = "declined"

[[operations.pay.examples]]
name = "a payment"
payload = { amount = 7, token = "t" }
command = { id = "order-1", reference = "r1" }

[operations.pay.examples.request]
method = "POST"
path = "/v1/pay"
query = { "n[0]" = "7", "n[1]" = "b" }
headers = { X-Key = "api_key", idempotency-key = "order-1" }
body = { amount = 7, card = { token = "t" }, list = ["a", "b"], note = "r1" }

[operations.pay.examples.reply]
status = 200
body = { id = "p1", name = "x" }

[operations.pay.examples.outcome]
as = "completed"
reference = "p1"
result = { id = "p1", name = "X" }

[[operations.pay.examples]]
payload = { amount = 7 }
reply = { status = 402, body = '{"code": "poor"}' }
outcome = { as = "declined", code = "poor", message = "Payment Required" }

[[operations.pay.examples]]
payload = { amount = 7 }
reply = { status = 202, body = { id = "p1", name = "x" } }
outcome = { as = "waiting", waiting_for = "provider", reference = "p1" }
"#;

/// The differences of the examples of the file, with one text in it replaced.
fn places(from: &str, to: &str) -> Vec<String> {
    assert!(FILE.contains(from), "{from}");
    let tests = test_file(&FILE.replacen(from, to, 1), "shop.toml")
        .unwrap_or_else(|faults| panic!("{}", faults[0]));
    assert_eq!((tests.provider.as_str(), tests.tests.len()), ("shop", 3));
    tests
        .tests
        .into_iter()
        .flat_map(|test| test.differences)
        .map(|difference| difference.at)
        .collect()
}

#[test]
fn a_file_that_does_what_its_examples_say_differs_nowhere() {
    assert_eq!(places("name", "name"), Vec::<String>::new());
}

#[test]
fn what_differs_is_named_by_its_place() {
    let table = [
        ("method = \"POST\"\n", "method = \"PUT\"\n", "request.method"),
        ("path = \"/v1/pay\"", "path = \"/pay\"", "request.path"),
        ("\"n[1]\" = \"b\"", "\"n[1]\" = \"c\"", "request.query.n[1]"),
        ("X-Key = \"api_key\"", "X-Key = \"k\"", "request.headers.X-Key"),
        ("note = \"r1\"", "more = \"r1\"", "request.body.more request.body.note"),
        (
            "list = [\"a\", \"b\"], note = \"r1\"",
            "list = [\"b\"], note = \"r1\"",
            "request.body.list[0] request.body.list[1]",
        ),
        ("as = \"completed\"", "as = \"waiting\"", "outcome.as"),
        ("reference = \"p1\"\nresult", "reference = \"p2\"\nresult", "outcome.reference"),
        ("name = \"X\"", "name = \"x\"", "outcome.result.name"),
        (
            "body = { id = \"p1\", name = \"x\" }\n\n",
            "body = { id = \"p1\" }\n\n",
            "outcome.result.name outcome.warnings[0]",
        ),
        ("code = \"poor\"", "code = \"rich\"", "outcome.code"),
        ("waiting_for = \"provider\"", "waiting_for = \"customer\"", "outcome.waiting_for"),
        (
            "payload = { amount = 7, token = \"t\" }",
            "payload = { token = \"t\" }",
            "payload request.query.n[0] request.query.n[1] request.body.amount",
        ),
        (
            "outcome = { as = \"waiting\", waiting_for = \"provider\", reference = \"p1\" }",
            "",
            "outcome",
        ),
        ("id = \"order-1\", ", "id = \"no id\", ", "command"),
    ];
    for (from, to, expected) in table {
        assert_eq!(places(from, to).join(" "), expected, "{to}");
    }
}

#[test]
fn every_operation_of_the_catalog_has_examples_with_request_and_answer_and_they_are_true() {
    for name in catalog::names() {
        let FileExamples { provider, tests } =
            test_catalog(name).unwrap().unwrap_or_else(|faults| panic!("{}", faults[0]));
        assert_eq!(provider.as_str(), name);
        for FileExample { operation, example, differences } in tests {
            assert_eq!(differences, Vec::new(), "{name} {operation}: {example}");
        }
        let file: toml::Table = toml::from_str(catalog::source(name).unwrap()).unwrap();
        for (operation, table) in file["operations"].as_table().unwrap() {
            let examples =
                table.get("examples").and_then(toml::Value::as_array).cloned().unwrap_or_default();
            for part in ["request", "reply"] {
                assert!(
                    examples.iter().any(|example| example.get(part).is_some()),
                    "{name} {operation} {part}"
                );
            }
        }
    }
}

#[test]
fn examples_of_the_catalog_are_not_taken_over() {
    let text = "use = \"stripe\"\nsecrets = { api_key = \"x\" }\n[operations.charge.request]\npath = \"/v2/other\"\n";
    assert_eq!(test_file(text, "stripe.toml").unwrap().tests, Vec::new());
}
