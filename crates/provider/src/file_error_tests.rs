//! Tests the error texts for the author of a wrong provider file.

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
    assert_eq!(provider.http.max_response_size, 1_048_576);
    assert_eq!(provider.max_in_flight, 64);
    assert!(provider.log.bodies);
    assert_eq!(provider.default_account().unwrap().secrets.len(), 1);
}

#[test]
fn every_wrong_file_is_refused_with_line_key_and_remedy() {
    let table = [
        ("name = \"shop\"", "name = \"My Shop\""),
        ("name = \"shop\"", "name = \"other\""),
        ("name = \"shop\"", "nmae = \"shop\""),
        ("protocol = \"rest\"", "protocol = \"soap\""),
        ("protocol = \"rest\"", "protocol = \"rest\"\nmax_response_size = \"4096\""),
        ("protocol = \"rest\"", "protocol = \"rest\"\nmax_response_size = 4096"),
        ("protocol = \"rest\"", "protocol = \"rest\"\nmax_bytes_in_flight = \"0B\""),
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
        ("encoding = \"json\"", "encoding = \"raw\""),
        ("encoding = \"json\"", "encoding = \"multipart\""),
        (
            "encoding = \"json\"",
            "headers = { Host = \"x\", Authorization = \"y\", idempotency-key = \"z\" }",
        ),
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
            "[operations.charge]\npoll = { interval = \"1d\", max_interval = \"2d\", done = \"body.ok\", request = { method = \"GET\", path = \"/{{ provider_referenze }}\" } }",
        ),
        (
            "[operations.charge]",
            "[operations.charge]\nlookup = { after = \"soon\", found = \"body.id ==\", not_found = \"boddy\", item = \"{{ body.id\", request = { method = \"GET\", path = \"/\" } }",
        ),
        ("payload.amount", "provider_reference"),
        ("[operations.charge]", "[operations.charge]\ntimeout = \"11m\""),
        ("[operations.charge]", "[operations.charge]\ntimeout = \"5s\""),
        (
            "[operations.charge]",
            "[operations.charge]\nclassify = [{ when = \"status = 402\", as = \"declined\" }]",
        ),
        (
            "[operations.charge]",
            "[operations.charge]\nclassify = [{ when = \"status == 402\", as = \"lookup\" }]",
        ),
        ("[operations.charge]", "[operations.charge]\nresponse = { waiting_for = \"nobody\" }"),
        ("[operations.charge]", "[operations.charge]\nretry = { schedule = [\"5s\", \"1d\"] }"),
        ("[operations.charge]", "[operations.charge]\npayload = { type = \"objekt\" }"),
        ("[operations.charge]", "max_in_flight = 0\n[operations.charge]"),
        ("[operations.charge]", "retry_group = \"Slow ones\"\n[operations.charge]"),
        ("[operations.charge]", "max_in_flight = 0\nname = \"again\"\n[operations.charge]"),
        ("[operations.charge]", "[operations.Charge]"),
    ];
    let mut text = String::new();
    for (from, to) in table {
        writeln!(text, "# {}\n{}", to.replace('\n', " | "), errors(from, to)).unwrap();
    }
    insta::assert_snapshot!(text);
}

const WEBHOOK: &str = r#"[webhook.verify]
algorithm = "hmac_sha256"
keys = [{ secret = "{{ secrets.token }}" }]
signature = { header = "X-Signature", field = "v1", encoding = "hex" }
timestamp = { header = "X-Signature", field = "t" }
signed = "{{ timestamp }}.{{ body }}"

[webhook.challenge]
method = "GET"
when = "query['challenge']"
reply = "{{ query['challenge'] }}"
"#;

#[test]
fn every_wrong_webhook_table_is_refused_with_line_key_and_remedy() {
    let good = GOOD.replace("literal-token", "literal-token-of-many-bytes");
    assert!(parse(&format!("{good}{WEBHOOK}")).is_ok());
    let table = [
        ("[webhook.verify]", "[webhook.verfy]"),
        ("[webhook.verify]", "[webhook]\nverify = \"nobody\"\n[elsewhere]"),
        ("[webhook.verify]", "[webhook]\nverify = 7\n[elsewhere]"),
        ("algorithm = \"hmac_sha256\"\n", ""),
        ("hmac_sha256", "hmac_sha512"),
        ("hmac_sha256", "ed25519"),
        ("algorithm = \"hmac_sha256\"\n", "scheme = \"adyen_payments\"\n"),
        ("algorithm = \"hmac_sha256\"", "algorithm = \"hmac_sha256\"\nkey_encoding = \"hex\""),
        ("algorithm = \"hmac_sha256\"", "algorithm = \"hmac_sha256\"\nkey_encoding = \"spki\""),
        ("keys = [{ secret = \"{{ secrets.token }}\" }]\n", ""),
        ("{{ secrets.token }}", "literal-hush"),
        ("{{ secrets.token }}", "{{ secrets.tokne }}"),
        ("{{ secrets.token }}", "{{ payload.token }}"),
        ("{{ secrets.token }}", "{{ none }}"),
        ("{{ secrets.token }}\"", "{{ secrets.token }}\", until = \"tomorrow\""),
        ("{{ secrets.token }}\"", "{{ secrets.token }}\", until = 2026-12-01T08:00:00"),
        (", encoding = \"hex\"", ""),
        ("encoding = \"hex\"", "encoding = \"hexadecimal\""),
        ("header = \"X-Signature\", field = \"v1\"", "header = \"X Signature\", field = \"v1\""),
        ("header = \"X-Signature\", field = \"v1\"", "field = \"v1\", version = \"v1\""),
        ("field = \"v1\"", "separator = \";\""),
        ("field = \"v1\"", "field = \"v1\", separator = \"; \""),
        ("field = \"t\"", "field = \"t\", unit = \"h\", tolerance = \"soon\""),
        ("timestamp = { header = \"X-Signature\", field = \"t\" }\n", ""),
        (", field = \"t\"", ""),
        ("{{ timestamp }}.", ""),
        (".{{ body }}", ""),
        ("{{ body }}", "{{ form }}"),
        ("{{ body }}", "{{ bdoy }}"),
        ("{{ body }}", "{{ body | lower }}"),
        ("{{ body }}", "{{ body"),
        ("{{ body }}\"", "{{ body }}\"\nunsigned_body = true\nbody_digest = { query = \"d\" }"),
        ("{{ body }}\"", "{{ body }}\"\nsigned_parts = [\"x\"]"),
        ("signed = \"{{ timestamp }}.{{ body }}\"", ""),
        ("method = \"GET\"", "method = \"PUT\""),
        ("when = \"query['challenge']\"", "when = \"payload.x\""),
        ("{{ query['challenge'] }}", "{{ secrets.word }}"),
        ("method = \"GET\"", "method = \"GET\"\ncontent_type = \"text/html\""),
        ("method = \"GET\"", "method = \"GET\"\ntoken = { given = \"x\" }"),
    ];
    let mut text = String::new();
    for (from, to) in table {
        assert!(WEBHOOK.contains(from), "{from}");
        let file = format!("{good}{}", WEBHOOK.replacen(from, to, 1));
        let faults = parse(&file).map(|_| ()).expect_err(to);
        writeln!(text, "# {}\n{}", to.replace('\n', " | "), lines(&faults)).unwrap();
    }
    assert!(
        !text.contains("literal-hush") || text.matches("literal-hush").count() == 1,
        "only the heading may show it"
    );
    insta::assert_snapshot!(text);
}

#[test]
fn a_webhook_secret_below_16_bytes_is_refused_unless_the_file_says_that_its_provider_makes_such() {
    let nothing = "";
    for (secret, more, size) in [
        ("fifteen-letters", nothing, Some(15)),
        ("sixteen--letters", nothing, None),
        ("0102030405060708090a0b0c0d0e0f", "key_encoding = \"hex\"", Some(15)),
        ("0102030405060708090a0b0c0d0e0f10", "key_encoding = \"hex\"", None),
        (
            "whsec_AQIDBAUGBwgJCgsMDQ4P",
            "key_encoding = \"base64\"\nkey_prefix = \"whsec_\"",
            Some(15),
        ),
        (
            "whsec_AQIDBAUGBwgJCgsMDQ4PEA",
            "key_encoding = \"base64\"\nkey_prefix = \"whsec_\"",
            None,
        ),
        ("prefix-and-word", "key_prefix = \"prefix-\"", Some(8)),
        ("hush", nothing, Some(4)),
        ("hush", "short_keys = true", None),
        ("fifteen-letters", "short_keys = false", Some(15)),
    ] {
        let good = GOOD.replace("literal-token", secret);
        let webhook = WEBHOOK.replace("[webhook.verify]", &format!("[webhook.verify]\n{more}"));
        let errors = parse(&format!("{good}{webhook}")).map(|_| ());
        let Some(size) = size else {
            assert!(errors.is_ok(), "{secret} {more}");
            continue;
        };
        let error = lines(&errors.unwrap_err());
        assert!(
            error.contains("webhook.verify.keys[0].secret: has ") && error.contains("short_keys"),
            "{error}"
        );
        assert!(error.contains(&format!("has {size} bytes")) && !error.contains(secret), "{error}");
    }
    // The second of two keys.
    let two = "keys = [{ secret = \"{{ secrets.token }}\" }, { secret = \"{{ secrets.old }}\", until = 2030-01-01 }]\n";
    let webhook = WEBHOOK.replace("keys = [{ secret = \"{{ secrets.token }}\" }]\n", two);
    let good =
        GOOD.replace("\"literal-token\"", "\"literal-token-of-many-bytes\", old = \"short\"");
    let error = lines(&parse(&format!("{good}{webhook}")).map(|_| ()).unwrap_err());
    assert!(error.contains("webhook.verify.keys[1].secret: has 5 bytes"), "{error}");
}

const READING: &str = r#"
[webhook]
verify = "none"
each = "{{ body.items }}"
event = "{{ body.type }}"
id = "{{ body.id }}"
command = "{{ body.command }}"
reference = "{{ body.about }}"
[[webhook.on]]
when = "body.type == 'paid'"
as = "completed"
result = { paid = "{{ body.amount }}" }
[[webhook.on]]
when = "body.type == 'failed'"
as = "declined"
code = "{{ body.code }}"
message = "{{ body.why }}"
"#;

#[test]
fn what_calls_mean_is_refused_with_line_key_and_remedy_where_it_can_t_be_read() {
    assert!(parse(&format!("{GOOD}{READING}")).is_ok());
    let neither =
        [("command = \"{{ body.command }}\"\n", ""), ("reference = \"{{ body.about }}\"\n", "")];
    let table: [&[(&str, &str)]; 20] = [
        &[("{{ body.items }}", "{{ body.items")],
        &[("{{ body.items }}", "{{ items }}")],
        &[("{{ body.items }}", "body.items")],
        &[("{{ body.items }}", "{{ body.a }}{{ body.b }}")],
        &[("{{ body.type }}", "{{ payload.type }}")],
        &[("{{ body.id }}", "{{ body.id | lowr }}")],
        &[("{{ body.command }}", "{{ command.id }}")],
        &[("{{ body.about }}", "{{ secrets.nobody }}")],
        &[("id = \"{{ body.id }}\"", "id = 7")],
        &[("event = ", "evnt = ")],
        &[("body.type == 'paid'", "body.type = 'paid'")],
        &[("body.type == 'paid'", "{{ body.type == 'paid' }}")],
        &[("when = \"body.type == 'paid'\"\n", "")],
        &[("as = \"completed\"\n", "")],
        &[("as = \"completed\"", "as = \"transient\"")],
        &[("{{ body.amount }}", "{{ body.amount | decimel('EUR') }}")],
        &[("{{ body.code }}", "{{ status }}")],
        &[("as = \"completed\"", "as = \"declined\"")],
        &[("as = \"declined\"", "as = \"nothing\"")],
        &neither,
    ];
    let mut text = String::new();
    for changes in table {
        let mut file = READING.to_owned();
        for (from, to) in changes {
            assert!(file.contains(from), "{from}");
            file = file.replacen(from, to, 1);
        }
        let headings: Vec<_> =
            changes.iter().map(|(from, to)| format!("{} -> {}", from.trim(), to.trim())).collect();
        let faults = parse(&format!("{GOOD}{file}")).map(|_| ()).expect_err(&headings.join(", "));
        writeln!(text, "# {}\n{}", headings.join(" | ").replace('\n', ""), lines(&faults)).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn an_empty_table_takes_the_catalogs_endpoint_and_needs_its_secret() {
    let stripe = |rest: &str| parse(&format!("use = \"stripe\"\n{rest}"));
    assert!(
        stripe("secrets = { api_key = \"k\" }").is_ok_and(|provider| !provider.is_called_back())
    );
    let whole = stripe(
        "secrets = { api_key = \"k\", webhook = \"whsec_0123456789abcdef\" }\nwebhook = {}\n",
    );
    assert!(whole.is_ok_and(|provider| provider.is_called_back()));
    let errors = stripe("secrets = { api_key = \"k\" }\nwebhook = {}\n").map(|_| ()).unwrap_err();
    let own = parse(&format!("{GOOD}\n[webhook]\n")).map(|_| ()).unwrap_err();
    insta::assert_snapshot!(lines(&errors) + &lines(&own));
}

#[test]
fn all_faults_of_a_file_are_reported_at_once() {
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
    let text = errors(
        "{ token = \"literal-token\" }",
        "{ token = \"literal-token\", \"bad name\" = \"hush-hush\" }",
    );
    assert!(!text.contains("hush") && !text.contains("literal-token"), "{text}");
}
