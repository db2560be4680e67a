//! Tests `ferryd check --connect`: credentials against real HTTPS servers, by the one request that
//! the provider file has for it.

use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Barrier;

use crate::harness::daemon::DaemonFolder;
use crate::harness::node::BrokerNode;
use crate::tls_server::{
    CertificateAuthority, ServerStream, TlsServer, read_request, reset, write,
};

/// The first line of every request to a server.
type SeenRequestLines = Arc<Mutex<Vec<String>>>;

const TOKEN: &str = "access-token-5521";

fn answer(status: u16, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// Serves a provider whose answer depends on the text of the key.
async fn serve(mut stream: ServerStream, seen: SeenRequestLines) {
    while let Some(request) = read_request(&mut stream).await {
        seen.lock().unwrap().push(request.lines().next().unwrap().to_owned());
        let credentials = request
            .lines()
            .find_map(|line| line.strip_prefix("authorization: "))
            .unwrap_or_default();
        let quoted =
            json!({"code": "bad_key", "text": format!("who is {credentials}?")}).to_string();
        let answered = match credentials.strip_prefix("Bearer ").unwrap_or(credentials) {
            _ if request.starts_with("POST /token ")
                && request.contains("client_secret=good-client-77") =>
            {
                answer(200, &format!(r#"{{"access_token":"{TOKEN}","token_type":"Bearer"}}"#))
            }
            _ if request.starts_with("POST /token ") => answer(
                401,
                r#"{"error":"invalid_client","error_description":"wrong-client-77 is nobody"}"#,
            ),
            "good-key-77" | TOKEN => answer(200, "{}"),
            "weak-key-77" => answer(403, &quoted),
            "busy-key-77" => answer(503, &quoted),
            "lost-key-77" => return reset(stream),
            _ => answer(401, &quoted),
        };
        if !write(&mut stream, &answered).await {
            return;
        }
    }
}

fn file(name: &str, port: u16, authority: &CertificateAuthority, more: &str) -> String {
    format!(
        "name = \"{name}\"\ntype = \"notification\"\nprotocol = \"rest\"\nbase_url = \"https://localhost:{port}\"\nca_file = \"{}\"\n\
         connect_timeout = \"500ms\"\ntimeout = \"1s\"\n\
         response = {{ error = {{ code = \"{{{{ body.code }}}}\", message = \"{{{{ body.text }}}}\" }} }}\n{more}\n\
         [operations.send]\nrequest = {{ method = \"POST\", path = \"/send\" }}\n",
        authority.file().display()
    )
}

const KEY: &str = "auth = { scheme = \"bearer\", token = \"{{ secrets.key }}\" }";
const CLIENT: &str = "auth = { scheme = \"oauth2\", grant = \"client_credentials\", token_url = \"/token\", client_id = \"me\", \
                      client_secret = \"{{ secrets.key }}\", client_auth = \"body\" }";
const VERIFICATION: &str = "verification = { request = { method = \"GET\", path = \"/me\" } }";

async fn connect(setup: &DaemonFolder, arguments: &[&str]) -> Output {
    let mut command = setup.command(&[&["check", "--connect"], arguments].concat());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn report(setup: &DaemonFolder) -> (Output, Value) {
    let output = connect(setup, &["--json"]).await;
    let report = serde_json::from_slice(&output.stdout).unwrap();
    (output, report)
}

/// Returns the result of each account, by provider and name.
fn results(report: &Value) -> Vec<(String, String)> {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let tried = report["credentials"].as_array().unwrap().iter();
    tried
        .map(|one| {
            (format!("{}/{}", word(&one["provider"]), word(&one["account"])), word(&one["result"]))
        })
        .collect()
}

/// Writes accounts of a provider, one for each key.
fn accounts(mut setup: DaemonFolder, provider: &str, keys: &[(&str, &str)]) -> DaemonFolder {
    for (account, key) in keys {
        setup = setup.file(
            &format!("providers/{provider}/{account}.toml"),
            &format!("secrets = {{ key = \"{key}\" }}"),
        );
    }
    setup
}

fn assert_shows_no_secret(output: &Output) {
    for shown in [&output.stdout, &output.stderr] {
        let shown = std::str::from_utf8(shown).unwrap();
        for secret in ["-key-77", "-client-77", TOKEN] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
    }
}

#[tokio::test]
async fn the_credentials_of_every_account_are_tried_and_nothing_else_is_called() {
    let (authority, seen) = (CertificateAuthority::new(), SeenRequestLines::default());
    let kept = Arc::clone(&seen);
    let server = TlsServer::start(authority.issue("localhost"), move |stream| {
        serve(stream, Arc::clone(&kept))
    })
    .await;
    let port = server.address.port();
    let vhost = BrokerNode::shared().await.vhost().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let setup = DaemonFolder::new(&vhost.uri(), "")
        .provider(
            "keyed",
            &file(
                "keyed",
                port,
                &authority,
                &format!("accounts_dir = \"keyed\"\n{KEY}\n{VERIFICATION}"),
            ),
        )
        .provider(
            "tokens",
            &file(
                "tokens",
                port,
                &authority,
                &format!("accounts_dir = \"tokens\"\n{CLIENT}\n{VERIFICATION}"),
            ),
        )
        .provider(
            "untried",
            &file(
                "untried",
                port,
                &authority,
                &format!("secrets = {{ key = \"good-key-77\" }}\n{KEY}"),
            ),
        );
    let setup =
        accounts(setup, "tokens", &[("default", "good-client-77"), ("wrong", "wrong-client-77")]);
    let keys = [
        ("default", "good-key-77"),
        ("busy", "busy-key-77"),
        ("lost", "lost-key-77"),
        ("weak", "weak-key-77"),
        ("wrong", "wrong-key-77"),
    ];
    let setup = accounts(setup, "keyed", &keys);
    let away = format!("secrets = {{ key = \"good-key-77\" }}\n{KEY}\n{VERIFICATION}");
    let hanging = silent.local_addr().unwrap().port();
    let setup = setup.provider("silent", &file("silent", hanging, &authority, &away));

    let (output, report) = report(&setup).await;
    assert_eq!(output.status.code(), Some(3), "{report:#}");
    assert_eq!(report["ok"], false);
    let expected = [
        ("keyed/busy", "unclear"),
        ("keyed/default", "accepted"),
        ("keyed/lost", "unreachable"),
        ("keyed/weak", "refused"),
        ("keyed/wrong", "refused"),
        ("silent/default", "unreachable"),
        ("tokens/default", "accepted"),
        ("tokens/wrong", "refused"),
        ("untried/default", "not_tried"),
    ];
    let expected = expected.map(|(account, result)| (account.to_owned(), result.to_owned()));
    assert_eq!(results(&report), expected, "{report:#}");
    let faults: Vec<_> =
        report["faults"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let starts = [
        "provider keyed: the credentials of account `weak` are refused (status 403, bad_key: who is ",
        "provider keyed: the credentials of account `wrong` are refused (status 401, bad_key: who is ",
        "provider tokens: the credentials of account `wrong` are refused (status 401, token_refused: the token endpoint",
    ];
    assert_eq!(faults.len(), starts.len(), "{faults:?}");
    for (fault, start) in faults.iter().zip(starts) {
        assert!(fault.starts_with(start), "{fault}\n{start}");
    }
    assert_shows_no_secret(&output);
    let mut requests = std::mem::take(&mut *seen.lock().unwrap());
    requests.sort();
    let all = [vec!["GET /me HTTP/1.1"; 6], vec!["POST /token HTTP/1.1"; 2]].concat();
    assert_eq!(requests, all, "one for each account, and one for each token");

    let output = connect(&setup, &[]).await;
    let printed = std::str::from_utf8(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{printed}");
    for (provider, account, text) in [
        ("keyed", "default", "accepted"),
        ("keyed", "busy", "unclear, the answer says nothing about them (status 503, bad_key: "),
        ("keyed", "weak", "refused (status 403, "),
        ("silent", "default", "unreachable ("),
        ("untried", "default", "not tried, the provider file has no `verification`"),
    ] {
        let line = printed.lines().find(|line| {
            line.starts_with(&format!("{provider} ")) && line.contains(&format!(" {account} "))
        });
        assert!(line.is_some_and(|line| line.contains(text)), "{provider} {account}: {printed}");
    }
    assert_shows_no_secret(&output);
}

#[tokio::test]
async fn what_is_accepted_is_well_and_what_is_not_reached_has_a_code_of_its_own() {
    let (authority, seen) = (CertificateAuthority::new(), SeenRequestLines::default());
    let server = TlsServer::start(authority.issue("localhost"), move |stream| {
        serve(stream, Arc::clone(&seen))
    })
    .await;
    let vhost = BrokerNode::shared().await.vhost().await;
    let keyed = |key: &str| {
        let more = format!("secrets = {{ key = \"{key}\" }}\n{KEY}\n{VERIFICATION}");
        file("acme", server.address.port(), &authority, &more)
    };
    let setup = DaemonFolder::new(&vhost.uri(), "").provider("acme", &keyed("good-key-77"));
    let output = connect(&setup, &[]).await;
    let printed = std::str::from_utf8(&output.stdout).unwrap();
    assert!(output.status.success() && printed.contains("all is well"), "{printed}");
    for key in ["lost-key-77", "busy-key-77"] {
        let setup = DaemonFolder::new(&vhost.uri(), "").provider("acme", &keyed(key));
        let (output, report) = report(&setup).await;
        assert_eq!((output.status.code(), &report["ok"]), (Some(4), &json!(true)), "{report:#}");
    }
}

#[tokio::test]
async fn an_authority_that_is_over_is_a_fault_although_what_it_issued_is_still_taken() {
    let authority = CertificateAuthority::expired();
    let server = TlsServer::start(authority.issue("localhost"), |_| async {}).await;
    let text = file("acme", server.address.port(), &authority, "");
    let setup = DaemonFolder::new("amqp://guest:guest@127.0.0.1:1/%2f", "").provider("acme", &text);
    let (output, report) = report(&setup).await;
    assert_eq!(output.status.code(), Some(3), "{report:#}");
    let fault = report["faults"][0].as_str().unwrap();
    assert!(
        fault.starts_with("provider acme: ca_file = ")
            && fault.contains("expired on 2021-01-01T00:00:00Z"),
        "{fault}"
    );
    // TLS ignores the dates of the authorities it trusts.
    let reached =
        report["reached"].as_array().unwrap().iter().find(|reached| reached["what"] == "acme");
    assert_eq!(reached.unwrap()["error"], Value::Null, "{report:#}");
}

#[tokio::test]
async fn many_accounts_are_tried_at_the_same_time_and_not_all_at_once() {
    let (authority, gate) = (CertificateAuthority::new(), Arc::new(Barrier::new(8)));
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let peak = Arc::clone(&most);
    let serve = move |mut stream: ServerStream| {
        let (gate, open, peak) = (Arc::clone(&gate), Arc::clone(&open), Arc::clone(&peak));
        async move {
            if read_request(&mut stream).await.is_some() {
                peak.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // No request is answered before eight have come.
                gate.wait().await;
                open.fetch_sub(1, Ordering::SeqCst);
                write(&mut stream, &answer(200, "{}")).await;
            }
        }
    };
    let server = TlsServer::start(authority.issue("localhost"), serve).await;
    let vhost = BrokerNode::shared().await.vhost().await;
    let more = format!("accounts_dir = \"acme\"\n{KEY}\n{VERIFICATION}");
    let text = file("acme", server.address.port(), &authority, &more)
        .replace("timeout = \"1s\"", "timeout = \"60s\"");
    let names: Vec<_> = (0..24).map(|n| format!("shop{n}")).collect();
    let keys: Vec<_> = names.iter().map(|name| (name.as_str(), "good-key-77")).collect();
    let setup =
        accounts(DaemonFolder::new(&vhost.uri(), "").provider("acme", &text), "acme", &keys);
    let (_, report) = tokio::time::timeout(Duration::from_secs(50), report(&setup)).await.unwrap();
    let tried = results(&report);
    assert!(tried.len() == 24 && tried.iter().all(|(_, result)| result == "accepted"), "{tried:?}");
    assert_eq!(most.load(Ordering::SeqCst), 8);
}
