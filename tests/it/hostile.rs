//! Tests a provider whose every text attacks a reader on a terminal: no command prints it
//! unescaped.

pub(crate) mod terminal;

use std::fs;

use serde_json::{Value, json};

use self::terminal::{
    HIDDEN, HOSTILE, RunningCommand, SHOWN, TerminalCase, case, find_harm, list_commands,
};
use crate::harness::daemon::RunningDaemon;
use crate::rig::{SOON, TestRig, and, word};
use crate::signed_webhooks::{SECRET, call};
use crate::tls_server::{CertificateAuthority, ServerStream, TlsServer, read_request, write};

/// The forms of output: for people, and for programs.
const FORMS: [&str; 2] = ["people", "programs"];

/// Every command, in an order in which each finds its subject. `{form}` is one of [`FORMS`].
const CASES: [TerminalCase; 38] = [
    case("check", &[], 0, false),
    case("publish", PUBLISH, 0, true),
    case("calls", &["done-{form}"], 0, true),
    case("calls", &["replay-{form}"], 0, true),
    case("status", &["done-{form}"], 0, true),
    case("status", &["replay-{form}"], 0, true),
    case("commands", &[], 0, true),
    case("cancel", &["done-{form}"], 1, false),
    case("lookup", &["open-{form}", "--wait", "1m"], 5, true),
    case("ledger tail", &["--from", "first", "--count", "30"], 0, true),
    case("ledger verify", &[], 0, false),
    case("dead-letters list", &[], 0, true),
    case("dead-letters list", &["--queues"], 0, true),
    case("dead-letters groups", &[], 0, true),
    case("dead-letters show", &["replay-{form}"], 0, true),
    case("dead-letters show", &["replay-{form}", "--message"], 0, true),
    case("dead-letters show", &["replay-{form}", "--queues"], 0, true),
    case("dead-letters replay", &["replay-{form}", "--canary"], 1, true),
    case(
        "dead-letters resolve",
        &["resolve-{form}", "--failed", "--message", HOSTILE, "--by", HOSTILE, "--reason", HOSTILE],
        0,
        true,
    ),
    case(
        "dead-letters discard",
        &["discard-{form}", "--by", HOSTILE, "--reason", HOSTILE],
        0,
        true,
    ),
    case("jobs list", &[], 0, true),
    case("jobs show", &[NO_JOB], 1, false),
    case("jobs follow", &[NO_JOB], 1, false),
    case("jobs pause", &[NO_JOB], 1, false),
    case("jobs resume", &[NO_JOB], 1, false),
    case("jobs stop", &[NO_JOB], 1, false),
    case("erase", &["--id", "discard-{form}", "--by", HOSTILE, "--reason", HOSTILE], 0, false),
    case("topology export", &[], 0, false),
    case("topology apply", &[], 0, false),
    case("provider list", &[], 0, false),
    case("provider show", &["acme"], 0, false),
    case("provider render", &["acme", "pay", "--payload", "@payload.json"], 0, true),
    case("provider test", &["providers/acme.toml"], 1, true),
    case("webhook verify", &["acme", "call.http"], 1, true),
    case("webhook sign", &["acme", "call.http"], 1, false),
    case("token", &[], 0, false),
    case("schema", &["event"], 0, false),
    case("completions", &["bash"], 0, false),
];

/// An id that no job has.
const NO_JOB: &str = "0199b0f2-6f0c-7c31-8d0a-2f6f3a9e1c55";

const PUBLISH: &[&str] = &[
    "--type",
    "payment",
    "--provider",
    "acme",
    "--operation",
    "pay",
    "--id",
    "done-published-{form}",
    "--reference",
    HOSTILE,
    "--wait",
];

/// The configured tokens, one of which may erase: the token of the host may not.
const TOKENS: &str =
    "[[api.tokens]]\nname = 'privacy'\nrole = 'erase'\ntoken = 'privacy-0123456789abcdef'\n";

/// The commands that the test runs separately: they run on, or need the address or the end of the
/// daemon.
const APART: [&str; 5] = ["run", "events", "sandbox", "webhook send", "ledger rebuild"];

fn provider_file(server: &TlsServer, authority: &CertificateAuthority) -> String {
    let (port, ca, hostile) = (server.address.port(), authority.file().display(), json!(HOSTILE));
    // JSON leaves some characters unescaped that TOML does not allow.
    let hostile = hostile.to_string().replace('\u{7f}', "\\u007f");
    format!(
        r#"
name = "acme"
type = "payment"
protocol = "rest"
base_url = "https://localhost:{port}"
ca_file = "{ca}"
secrets = {{ webhook = "{SECRET}" }}
[operations.pay]
request = {{ method = "POST", path = "/pay" }}
idempotency = {{ header = "Idempotency-Key", retention = "24h" }}
retry = {{ schedule = ["1s"], jitter = false }}
body = {{ id = "{{{{ command.id }}}}", say = "{{{{ payload.say }}}}" }}
deadline = "1h"
[operations.pay.response]
reference = "{{{{ body.id }}}}"
result = {{ note = "{{{{ body.note }}}}" }}
success = "body.status == 'succeeded'"
accepted = "body.status == 'processing'"
error = {{ code = "{{{{ body.error.code }}}}", details = {{ note = "{{{{ body.note }}}}" }} }}
[operations.pay.lookup]
request = {{ method = "GET", path = "/pay/{{{{ command.id }}}}" }}
after = "1s"
found = "body.status == 'succeeded'"
[[operations.pay.examples]]
name = {hostile}
payload = {{ say = {hostile} }}
request = {{ body = {{ say = "nothing" }} }}
[webhook]
event = "{{{{ body.type }}}}"
id = "{{{{ body.id }}}}"
reference = "{{{{ body.about }}}}"
[webhook.verify]
algorithm = "hmac_sha256"
keys = [{{ secret = "{{{{ secrets.webhook }}}}" }}]
signature = {{ header = "x-signature", encoding = "hex" }}
signed = "{{{{ body }}}}"
"#
    )
}

/// Answers as the command's id says, with attacks in every text.
async fn serve(mut stream: ServerStream) {
    while let Some(request) = read_request(&mut stream).await {
        let (status, state) = match request {
            request if request.starts_with("GET") => (409, "unclear"),
            request if request.contains("\"done-") => (200, "succeeded"),
            request if request.contains("\"open-") => (200, "processing"),
            _ => (422, "failed"),
        };
        let id = format!("{HOSTILE}{}", uuid::Uuid::new_v4());
        let body = json!({
            "id": id, "status": state, "note": HOSTILE, HOSTILE: HOSTILE, "error": { "code": HOSTILE, "message": HOSTILE },
        });
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nx-note: {HIDDEN}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if !write(&mut stream, &(head + &body)).await {
            return;
        }
    }
}

/// Builds a command whose publisher is as hostile as the provider.
fn pay(id: &str) -> Value {
    json!({
        "id": id, "type": "payment", "provider": "acme", "operation": "pay", "reference": HOSTILE,
        "payload": { "say": HOSTILE }, "metadata": { "note": HOSTILE },
    })
}

#[test]
fn every_command_is_walked() {
    for (leaf, _) in list_commands() {
        let walked = CASES.iter().any(|case| case.leaf == leaf) || APART.contains(&leaf.as_str());
        assert!(
            walked,
            "`ferryd {leaf}` is missing here: say how it is called, and whether it shows what others wrote"
        );
    }
}

/// Finds the first fault in a daemon's log, in the form for people or for programs.
fn find_log_fault(daemon: &RunningDaemon, form: &str) -> Option<String> {
    let log = daemon.log_text();
    let shown = log.contains(if form == "people" { SHOWN } else { "\\u202e" });
    let fault =
        find_harm(&log).or_else(|| (!shown).then(|| "shows nothing of the provider".to_owned()));
    fault.map(|fault| format!("ferryd run for {form}: {fault}\n{log:?}\n"))
}

/// Publishes commands that end in every state about which a command line may ask.
async fn seed_commands(rig: &TestRig) {
    for form in FORMS {
        for word in ["done", "open", "replay", "resolve", "discard"] {
            rig.publish(&pay(&format!("{word}-{form}"))).await;
        }
        for word in ["done", "replay", "resolve", "discard"] {
            rig.terminal(&format!("{word}-{form}")).await;
        }
        rig.events.state(&format!("open-{form}"), "waiting", SOON).await;
    }
}

/// Runs `ferryd events` while commands end, one is contradicted, and the provider calls back.
async fn follow_events(rig: &TestRig, daemon: &RunningDaemon) -> Vec<String> {
    let id = |form: &str| format!("done-last-{form}");
    let following = FORMS.map(|form| {
        let arguments = ["--until-terminal", &id(form)];
        RunningCommand::start(rig, form, "events", &arguments)
    });
    for running in &following {
        running.wait_for_text("following").await;
    }
    let notice = json!({ "type": HOSTILE, "id": HOSTILE, "about": HOSTILE });
    assert_eq!(call(daemon, &notice).await, Some(200));
    rig.publish(&and(pay("done-people"), json!({ "payload": { "say": "else" } }))).await;
    rig.events.first(SOON, |event| event["type"] == "ferry.command.conflict").await;
    for form in FORMS {
        rig.publish(&pay(&id(form))).await;
    }
    let mut faults = Vec::new();
    for (form, running) in FORMS.into_iter().zip(following) {
        faults.extend(running.collect_faults(form, &case("events", &[], 0, true)).await);
    }
    faults
}

/// Runs the commands that need the daemon's address, or run on.
async fn walk_apart(rig: &TestRig, daemon: &RunningDaemon) -> Vec<String> {
    let mut faults = follow_events(rig, daemon).await;
    let line = daemon
        .wait_for_log(SOON, |line| line["message"] == "the endpoint for webhooks listens")
        .await;
    let to = format!("http://{}", word(&line, "address"));
    for form in FORMS {
        let running =
            RunningCommand::start(rig, form, "webhook send", &["acme", "notice.json", "--to", &to]);
        faults.extend(running.collect_faults(form, &case("webhook send", &[], 0, true)).await);
        let running = RunningCommand::start(rig, form, "sandbox", &["--bind", "127.0.0.1:0"]);
        running.wait_for_text("https://localhost:").await;
        running.interrupt();
        faults.extend(running.collect_faults(form, &case("sandbox", &[], 0, false)).await);
    }
    faults
}

#[tokio::test]
async fn no_command_and_no_log_shows_what_a_terminal_obeys_or_what_is_not_seen() {
    let authority = CertificateAuthority::new();
    let server = TlsServer::start(authority.issue("localhost"), serve).await;
    let rig = TestRig::with(TOKENS, &[]).await.file("acme", &provider_file(&server, &authority));
    let rig = rig.env("FERRYD_WEBHOOKS__BIND", "127.0.0.1:0");
    let rig = rig
        .env("FERRYD_WEBHOOKS__PUBLIC_URL", "https://hooks.example.com")
        .env("FERRYD_LOG", "debug");
    let folder = rig.setup.path();
    fs::write(folder.join("payload.json"), json!({ "say": HIDDEN }).to_string()).unwrap();
    fs::write(
        folder.join("notice.json"),
        json!({ "type": HOSTILE, "id": "n-2", "about": HOSTILE }).to_string(),
    )
    .unwrap();
    let call = format!(
        "POST /webhooks/acme HTTP/1.1\r\nhost: a.example\r\nx-signature: {HIDDEN}\r\n\r\n{HOSTILE}"
    );
    fs::write(folder.join("call.http"), call).unwrap();
    rig.declare().await;

    let first = rig.setup.start_for_people();
    rig.carry(&pay("done-first")).await;
    first.sigterm();
    assert!(first.wait(SOON).await.success());
    let mut faults: Vec<_> = find_log_fault(&first, "people").into_iter().collect();

    let daemon = rig.start().await;
    seed_commands(&rig).await;
    for case in &CASES {
        for form in FORMS {
            faults.extend(
                RunningCommand::start(&rig, form, case.leaf, case.arguments)
                    .collect_faults(form, case)
                    .await,
            );
        }
    }
    faults.extend(walk_apart(&rig, &daemon).await);
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
    faults.extend(find_log_fault(&daemon, "programs"));
    for form in FORMS {
        let running = RunningCommand::start(&rig, form, "ledger rebuild", &[]);
        faults.extend(running.collect_faults(form, &case("ledger rebuild", &[], 0, false)).await);
    }
    assert!(
        faults.is_empty(),
        "{}",
        faults.join(
            "
"
        )
    );
}
