//! The texts that the author of a wrong file reads.

use std::fmt::Write as _;

use super::fixture::{lines, parse};

const GOOD: &str = r#"name = "shop"
type = "payment"
protocol = "rest"
base_url = "https://api.example.com"
auth = { scheme = "bearer", token = "{{ secrets.token }}" }
secrets = { token = "literal-token" }

[operations.charge]
request = { method = "POST", path = "/v1/charges", encoding = "json" }
idempotency = { header = "Idempotency-Key", retention = "24h" }
body = { amount = "{{ payload.amount }}" }
"#;

/// The errors of the good file with one text in it replaced.
fn errors(text: &str, replacement: &str) -> String {
    assert!(GOOD.contains(text), "{text}");
    lines(&parse(&GOOD.replacen(text, replacement, 1)).map(|_| ()).unwrap_err())
}

#[test]
fn the_good_file_is_taken() {
    let provider = parse(GOOD).map_err(|errors| lines(&errors)).unwrap();
    assert_eq!((provider.name.as_str(), provider.kind.as_str()), ("shop", "payment"));
    assert_eq!(provider.http.connect_timeout.as_secs(), 10);
    assert_eq!(provider.http.response_cap, 1_048_576);
    assert_eq!(provider.max_in_flight, 64);
    assert!(provider.log.bodies);
    assert_eq!(provider.secrets.len(), 1);
}

#[test]
fn every_wrong_file_is_refused_with_line_key_and_remedy() {
    let table = [
        ("name = \"shop\"", "name = \"My Shop\""),
        ("name = \"shop\"", "name = \"other\""),
        ("name = \"shop\"", "nmae = \"shop\""),
        ("protocol = \"rest\"", "protocol = \"soap\""),
        ("protocol = \"rest\"\n", ""),
        ("https://api.example.com", "http://api.example.com"),
        ("https://api.example.com", "https://u:p@api.example.com"),
        ("https://api.example.com", "https://{{ payload.host }}"),
        ("literal-token", "${env:FERRYD_TEST_UNSET}"),
        ("literal-token", "${file:/nowhere/token}"),
        ("{ token = \"literal-token\" }", "{ tokn = \"literal-token\" }"),
        ("scheme = \"bearer\"", "scheme = \"bearre\""),
        ("scheme = \"bearer\", ", ""),
        ("method = \"POST\"", "metod = \"POST\""),
        ("method = \"POST\"", "method = \"post\""),
        ("method = \"POST\"", "method = \"GET\""),
        ("\"/v1/charges\"", "\"v1/charges\""),
        ("\"/v1/charges\"", "\"/v1/{{ payload.id\""),
        ("\"/v1/charges\"", "7"),
        ("encoding = \"json\"", "encoding = \"multipart\""),
        ("encoding = \"json\"", "headers = { Host = \"x\", Authorization = \"y\", idempotency-key = \"z\" }"),
        (", retention = \"24h\"", ""),
        ("retention = \"24h\"", "retention = \"one day\""),
        ("retention = \"24h\"", "retention = \"24h\", max_length = 20"),
        ("header = \"Idempotency-Key\"", "header = \"Idempotency-Key\", field = \"key\""),
        ("payload.amount", "payload.amount | decimel('EUR')"),
        ("payload.amount", "payment.amount"),
        ("payload.amount", "body.amount"),
        ("{{ payload.amount }}", "{% if payload.amount %}"),
        ("[operations.charge]", "[operations.charge]\nlookup = { after = \"90s\" }"),
        ("[operations.charge]", "[operations.charge]\ndeadline = \"0s\""),
        ("[operations.charge]", "[operations.charge]\npoll = { interval = \"5s\" }"),
        (
            "[operations.charge]",
            "[operations.charge]\npoll = { interval = \"1d\", longest = \"2d\", done = \"body.ok\", request = { method = \"GET\", path = \"/{{ provider_referenze }}\" } }",
        ),
        (
            "[operations.charge]",
            "[operations.charge]\nlookup = { after = \"soon\", found = \"body.id ==\", absent = \"boddy\", item = \"{{ body.id\", request = { method = \"GET\", path = \"/\" } }",
        ),
        ("payload.amount", "provider_reference"),
        ("[operations.charge]", "[operations.charge]\ntimeout = \"11m\""),
        ("[operations.charge]", "[operations.charge]\ntimeout = \"5s\""),
        ("[operations.charge]", "[operations.charge]\nclassify = [{ when = \"status = 402\", as = \"declined\" }]"),
        ("[operations.charge]", "[operations.charge]\nclassify = [{ when = \"status == 402\", as = \"lookup\" }]"),
        ("[operations.charge]", "[operations.charge]\nresponse = { waiting_for = \"nobody\" }"),
        ("[operations.charge]", "[operations.charge]\nretry = { schedule = [\"5s\", \"1d\"] }"),
        ("[operations.charge]", "[operations.charge]\npayload = { type = \"objekt\" }"),
        ("[operations.charge]", "max_in_flight = 0\n[operations.charge]"),
        ("[operations.charge]", "max_in_flight = 0\nname = \"again\"\n[operations.charge]"),
        ("[operations.charge]", "[operations.Charge]"),
    ];
    let mut text = String::new();
    for (from, to) in table {
        writeln!(text, "# {}\n{}", to.replace('\n', " | "), errors(from, to)).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn all_faults_of_a_file_are_told_at_once() {
    let text = GOOD
        .replace("https://", "http://")
        .replace("\"POST\"", "5")
        .replace("payload.amount", "payloud.amount")
        .replace("24h", "soon")
        .replace("name = \"shop\"", "name = \"shop\"\nsurprise = 1");
    insta::assert_snapshot!(lines(&parse(&text).map(|_| ()).unwrap_err()));
}

#[test]
fn over_a_catalog_file_each_fault_is_placed_where_the_key_stands() {
    let text = "use = \"stripe\"\nsecrets = { key = \"x-literal\" }\n[operations.charge]\ntimeout = \"1h\"\n\
                [operations.charge.body]\namount = \"{{ payload.amuont | decimal }}\"\ntax = \"{{ payroll.tax }}\"\n";
    insta::assert_snapshot!(lines(&parse(text).map(|_| ()).unwrap_err()));
    insta::assert_snapshot!(lines(&parse("use = \"strpe\"").map(|_| ()).unwrap_err()));
}

#[test]
fn no_error_shows_a_secret() {
    let text = errors("{ token = \"literal-token\" }", "{ token = \"literal-token\", \"bad name\" = \"hush-hush\" }");
    assert!(!text.contains("hush") && !text.contains("literal-token"), "{text}");
}
