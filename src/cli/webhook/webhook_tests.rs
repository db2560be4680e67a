use std::path::Path;

use clap::Parser as _;
use jiff::Timestamp;

use super::captured;
use crate::cli::{CliArguments, CommandError, ExitStatus, fixture};

const NOW: &str = "2026-12-01T08:00:00Z";
const CALL: &[u8] =
    b"POST /stripe?a=1 HTTP/1.1\r\nHost: hooks.example.com\r\nContent-Type: application/json\r\n\r\n{\"id\":\"evt_1\"}";

/// Makes a folder with a configuration and a provider file.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("providers")).unwrap();
    let providers = folder.path().join("providers");
    write("ferryd.toml", &format!("[providers]\ndir = {providers:?}\n"));
    let stripe = "use = \"stripe\"\nsecrets = { api_key = \"sk\", webhook = \"whsec_hush_hush_hush_hush\" }\n";
    write("providers/stripe.toml", &format!("{stripe}webhook = {{}}\n"));
    write("providers/deaf.toml", &format!("{stripe}name = \"deaf\"\n"));
    std::fs::write(folder.path().join("call.http"), CALL).unwrap();
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> (Result<(), CommandError>, String) {
    let config = folder.join("ferryd.toml");
    let mut result = Ok(());
    let printed = fixture::printed(|out| {
        let line = ["ferryd", "--config", config.to_str().unwrap(), "webhook"];
        result = CliArguments::try_parse_from(line.iter().chain(arguments)).unwrap().run(out);
    });
    (result, printed)
}

#[test]
fn a_call_that_is_signed_is_verified_and_an_altered_one_refused() {
    let folder = folder();
    let (call, signed) = (folder.path().join("call.http"), folder.path().join("signed.http"));
    let (call, signed) = (call.to_str().unwrap(), signed.to_str().unwrap());
    let (result, printed) = run(folder.path(), &["sign", "stripe", call, "--at", NOW]);
    result.unwrap();
    let (result, _) =
        run(folder.path(), &["sign", "stripe", call, "--at", NOW, "--output", signed]);
    result.unwrap();
    assert_eq!(std::fs::read_to_string(signed).unwrap(), printed);

    let (result, good) = run(folder.path(), &["verify", "stripe", signed, "--at", NOW]);
    result.unwrap();
    // An editor has appended a line break.
    std::fs::write(signed, format!("{printed}\n")).unwrap();
    let (result, longer) = run(folder.path(), &["verify", "stripe", signed, "--at", NOW]);
    result.unwrap();
    std::fs::write(signed, printed.replace("evt_1", "evt_2")).unwrap();
    let (result, forged) = run(folder.path(), &["verify", "stripe", signed, "--at", NOW]);
    assert_eq!(result.unwrap_err().exit(), ExitStatus::Failed);
    insta::assert_snapshot!(format!("{good}\n---\n{longer}\n---\n{forged}"));

    let (result, json) = run(folder.path(), &["verify", "stripe", signed, "--at", NOW, "--json"]);
    assert_eq!(result.unwrap_err().exit(), ExitStatus::Failed);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&report["verified"], &report["reason"]), (&false.into(), &"forged".into()));
    assert!(
        report["steps"].as_array().unwrap().iter().any(|step| step["result"] == "failed"),
        "{json}"
    );
    assert!(!json.contains("hush") && !forged.contains("hush"));
}

#[test]
fn missing_endpoints_providers_and_files_are_reported() {
    let folder = folder();
    let call = folder.path().join("call.http");
    for (arguments, words) in [
        (["verify", "deaf", call.to_str().unwrap()], "provider `deaf` has no endpoint"),
        (["verify", "nobody", call.to_str().unwrap()], "there is no provider `nobody`"),
        (["verify", "stripe", "/nowhere/call.http"], "/nowhere/call.http: failed to read"),
    ] {
        let error = run(folder.path(), &arguments).0.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn nothing_is_sent_where_there_is_no_endpoint_or_nobody_listens() {
    let folder = folder();
    let body = folder.path().join("body.json");
    std::fs::write(&body, "{\"id\":\"evt_1\",\"type\":\"payment_intent.succeeded\"}").unwrap();
    let body = body.to_str().unwrap();
    let error = run(folder.path(), &["send", "stripe", body]).0.unwrap_err();
    assert!(
        error.to_string().contains("write `webhooks.public_url` into the configuration"),
        "{error}"
    );

    // A port that was free a moment ago.
    let bind = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = folder.path().join("ferryd.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let webhooks =
        format!("[webhooks]\npublic_url = 'https://hooks.example.com'\nbind = '{bind}'\n");
    std::fs::write(&config, text + &webhooks).unwrap();
    for (arguments, words) in [
        (
            vec!["send", "stripe", body],
            "is `ferryd run` up with this configuration? --to names another address",
        ),
        (vec!["send", "stripe", "/nowhere"], "/nowhere: failed to read"),
        (vec!["send", "stripe", body, "--ca", "/nowhere"], "ca_file /nowhere cannot be read"),
        (
            vec!["send", "stripe", body, "--header", "Host: x"],
            "header `host` is set by ferryd itself",
        ),
        (vec!["send", "deaf", body], "provider `deaf` has no endpoint"),
    ] {
        let error = run(folder.path(), &arguments).0.unwrap_err();
        assert_eq!(error.exit(), ExitStatus::Failed);
        assert!(error.to_string().contains(words), "{error}");
    }
    let line = ["ferryd", "webhook", "send", "stripe", body, "--to", "http://hooks.example.com"];
    assert!(CliArguments::try_parse_from(line).unwrap_err().to_string().contains("is not https"));
}

#[test]
fn a_file_is_read_byte_for_byte() {
    let url = "https://hooks.example.com/x".parse().unwrap();
    let table: [(&[u8], &[u8]); 6] = [
        (CALL, b"{\"id\":\"evt_1\"}"),
        (b"POST /x\nA: b\n\n\xff\r\n\x00\n\n", b"\xff\r\n\x00\n\n"),
        (b"POST /x HTTP/1.1\n\n", b""),
        (b"GET https://a.example/x?y HTTP/1.1", b""),
        (b"POST /x\ncontent-length: 2\n\nab\n", b"ab"),
        (b"POST /x\nContent-Length: 9\n\nab", b"ab"),
    ];
    for (file, body) in table {
        let captured = captured::parse(file, Some(&url)).unwrap();
        assert_eq!(&captured.call.body[..], body, "{file:?}");
    }
    let captured = captured::parse(CALL, None).unwrap();
    assert_eq!(captured.call.url.as_str(), "https://hooks.example.com/stripe?a=1");
    assert_eq!(captured.call.header("content-type"), Some("application/json"));
    for (file, words) in [
        (&b""[..], "request line"),
        (b"{\"id\":1}", "request line"),
        (b"POST /x\n\n", "--url"),
        (b"POST /x\nHost: a\n{}", "no header"),
        (b"POST x\n\n", "no URL"),
    ] {
        let problem = captured::parse(file, None).map(|captured| captured.call.url).unwrap_err();
        assert!(problem.contains(words), "{problem}");
    }
    assert!(NOW.parse::<Timestamp>().is_ok());
}
