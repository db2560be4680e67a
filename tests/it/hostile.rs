//! A provider whose every text is an attack on whoever reads it on a terminal: no command prints it as it came.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Child;

use clap::CommandFactory as _;
use ferryd::cli::Cli;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use unicode_general_category::{GeneralCategory, get_general_category};

use crate::callbacks::call;
use crate::harness::daemon::Daemon;
use crate::harness::wait::eventually;
use crate::rig::{Rig, SOON, and, word};
use crate::tls_server::{Authority, Stream, TlsServer, read_request, write};

/// A title, a cleared screen, a colour, a line that ferryd never said, and marks that reorder or hide what is shown.
const HOSTILE: &str =
    "x\u{1b}]0;title\u{7}\u{1b}[2J\u{1b}[41m\r\nFORGED\u{202e}\u{200b}\u{2066}\u{9b}\u{2028}\u{e0041}\u{7f}";

/// The part of it that a header can hold, and a body that is shown as text.
const HIDDEN: &str = "x\u{202e}\u{2028}\u{200b}\u{2066}\u{e0041}";

/// What shows that such a text was there.
const SHOWN: &str = r"\u{202e}";

/// The styles of ferryd and of its help.
const STYLES: [&str; 9] = [
    "\u{1b}[0m",
    "\u{1b}[1m",
    "\u{1b}[4m",
    "\u{1b}[31m",
    "\u{1b}[32m",
    "\u{1b}[33m",
    "\u{1b}[34m",
    "\u{1b}[90m",
    "\u{1b}[36m",
];

/// For people, and for programs.
const FORMS: [&str; 2] = ["people", "programs"];

/// A command line in both forms.
struct Case {
    leaf: &'static str,
    arguments: &'static [&'static str],
    /// The code that it ends with.
    code: i32,
    /// Whether a text of the provider or the publisher is in what it prints.
    shows: bool,
}

const fn case(leaf: &'static str, arguments: &'static [&'static str], code: i32, shows: bool) -> Case {
    Case { leaf, arguments, code, shows }
}

/// Every command, in an order in which each finds what it is about. `{form}` is one of [`FORMS`].
const CASES: [Case; 29] = [
    case("check", &[], 0, false),
    case("publish", PUBLISH, 0, true),
    case("exchanges", &["done-{form}"], 0, true),
    case("exchanges", &["replay-{form}"], 0, true),
    case("status", &["done-{form}"], 0, true),
    case("status", &["replay-{form}"], 0, true),
    case("commands", &[], 0, true),
    case("cancel", &["done-{form}"], 1, false),
    case("lookup", &["open-{form}", "--wait", "1m"], 5, true),
    case("ledger tail", &["--from", "first", "--count", "30"], 0, true),
    case("ledger verify", &[], 0, false),
    case("dead list", &[], 0, true),
    case("dead list", &["--queues"], 0, true),
    case("dead groups", &[], 0, true),
    case("dead show", &["replay-{form}"], 0, true),
    case("dead show", &["replay-{form}", "--message"], 0, true),
    case("dead replay", &["replay-{form}", "--canary"], 1, true),
    case(
        "dead resolve",
        &["resolve-{form}", "--failed", "--message", HOSTILE, "--by", HOSTILE, "--reason", HOSTILE],
        0,
        false,
    ),
    case("dead discard", &["discard-{form}", "--by", HOSTILE, "--reason", HOSTILE], 0, false),
    case("topology export", &[], 0, false),
    case("topology apply", &[], 0, false),
    case("provider list", &[], 0, false),
    case("provider show", &["acme"], 0, false),
    case("provider try", &["acme", "pay", "--payload", "@payload.json"], 0, true),
    case("provider test", &["providers/acme.toml"], 1, true),
    case("webhook verify", &["acme", "call.http"], 1, true),
    case("webhook sign", &["acme", "call.http"], 1, false),
    case("schema", &["event"], 0, false),
    case("completions", &["bash"], 0, false),
];

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

/// The commands that the test calls by themselves: they run on, or need the address or the end of the daemon.
const APART: [&str; 5] = ["run", "events", "sandbox", "webhook send", "ledger rebuild"];

const SECRET: &str = "whsec-acme-7";

fn provider_file(server: &TlsServer, authority: &Authority) -> String {
    let (port, ca, hostile) = (server.address.port(), authority.file().display(), json!(HOSTILE));
    // JSON leaves some of it as it is, which is no text in TOML.
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
async fn serve(mut stream: Stream) {
    while let Some(request) = read_request(&mut stream).await {
        let (status, state) = match request {
            asked if asked.starts_with("GET") => (409, "unclear"),
            told if told.contains("\"done-") => (200, "succeeded"),
            told if told.contains("\"open-") => (200, "processing"),
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

/// A command whose publisher writes like its provider.
fn pay(id: &str) -> Value {
    json!({
        "id": id, "type": "payment", "provider": "acme", "operation": "pay", "reference": HOSTILE,
        "payload": { "say": HOSTILE }, "metadata": { "note": HOSTILE },
    })
}

/// A ferryd that runs, its output and errors in files.
struct Running {
    child: Child,
    files: [PathBuf; 2],
}

impl Running {
    /// Starts a command as on a terminal with colours.
    fn start(rig: &Rig, form: &str, leaf: &str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| argument.replace("{form}", form));
        let mut all: Vec<_> = leaf.split(' ').map(str::to_owned).chain(arguments).collect();
        if form == "programs" && has_json(leaf) {
            all.push("--json".to_owned());
        }
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        let name = uuid::Uuid::new_v4();
        let files = ["out", "err"].map(|kind| rig.setup.path().join(format!("{name}.{kind}")));
        let [out, err] = files.each_ref().map(|path| File::create(path).unwrap());
        let mut command = rig.setup.command(&all);
        let child = command.env("CLICOLOR_FORCE", "1").stdout(out).stderr(err).spawn().unwrap();
        Self { child, files }
    }

    /// The output and errors so far.
    fn printed(&self) -> [String; 2] {
        self.files.each_ref().map(|path| fs::read_to_string(path).unwrap())
    }

    /// Waits until something is printed.
    async fn says(&self, text: &str) {
        let said = async || self.printed().iter().any(|printed| printed.contains(text)).then_some(());
        eventually(SOON, text, said).await;
    }

    fn interrupt(&self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGINT).unwrap();
    }

    /// Waits for its end; what is not as expected.
    async fn faults(mut self, form: &str, Case { leaf, arguments, code, shows }: &Case) -> Vec<String> {
        let status = eventually(SOON, leaf, async || self.child.try_wait().unwrap()).await;
        let [out, err] = self.printed();
        let json = if form == "programs" && has_json(leaf) { texts(&out) } else { Vec::new() };
        let for_people = if json.is_empty() { format!("{out}{err}") } else { err.clone() };
        let is_hostile = |text: &String| [HOSTILE, HIDDEN].iter().any(|hostile| text.contains(hostile));
        let faults = [
            (status.code() != Some(*code)).then(|| format!("ends with {status}")),
            harm(&out),
            harm(&err),
            ((json.iter().any(is_hostile) || for_people.contains(SHOWN)) != *shows)
                .then(|| "shows what it should not, or not what it should".to_owned()),
        ];
        let name = |fault| format!("ferryd {leaf} {arguments:?} for {form}: {fault}\n{out:?}\n{err:?}\n");
        faults.into_iter().flatten().map(name).collect()
    }
}

/// What a terminal would obey in a text, or show as another.
fn harm(text: &str) -> Option<String> {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
    let own = STYLES.iter().fold(text.to_owned(), |text, style| text.replace(style, ""));
    let acts = |c: &char| {
        *c != '\n' && matches!(get_general_category(*c), Control | Format | LineSeparator | ParagraphSeparator)
    };
    let forged = own.lines().find(|line| line.trim_start().starts_with("FORGED"));
    own.chars()
        .find(acts)
        .map(|c| format!("prints {c:?}"))
        .or_else(|| forged.map(|line| format!("prints the line {line}")))
}

/// Every text in JSON values that follow each other, names too.
fn texts(json: &str) -> Vec<String> {
    fn gather(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| gather(item, found)),
            Value::Object(entries) => {
                for (name, value) in entries {
                    found.push(name.clone());
                    gather(value, found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    for value in serde_json::Deserializer::from_str(json).into_iter::<Value>() {
        gather(&value.unwrap(), &mut found);
    }
    found
}

/// The commands that do something, by their words.
fn leaves() -> Vec<(String, clap::Command)> {
    fn gather(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
        let inner: Vec<_> = command.get_subcommands().filter(|inner| inner.get_name() != "help").collect();
        if inner.is_empty() {
            found.push((path.to_owned(), command.clone()));
        }
        for inner in inner {
            gather(inner, format!("{path} {}", inner.get_name()).trim_start(), found);
        }
    }
    let mut found = Vec::new();
    gather(&Cli::command(), "", &mut found);
    found
}

fn has_json(leaf: &str) -> bool {
    let leaves = leaves();
    let (_, command) = leaves.iter().find(|(path, _)| path == leaf).unwrap();
    command.get_arguments().any(|argument| argument.get_id() == "json")
}

#[test]
fn every_command_is_walked() {
    for (leaf, _) in leaves() {
        let walked = CASES.iter().any(|case| case.leaf == leaf) || APART.contains(&leaf.as_str());
        assert!(
            walked,
            "`ferryd {leaf}` is missing here: say how it is called, and whether it shows what others wrote"
        );
    }
}

/// What is not as expected in a daemon's log, in the form for people or for programs.
fn log_faults(daemon: &Daemon, form: &str) -> Option<String> {
    let log = daemon.log_text();
    let shown = log.contains(if form == "people" { SHOWN } else { "\\u202e" });
    let fault = harm(&log).or_else(|| (!shown).then(|| "tells nothing of the provider".to_owned()));
    fault.map(|fault| format!("ferryd run for {form}: {fault}\n{log:?}\n"))
}

/// Commands in every state that a command about them may find.
async fn seed(rig: &Rig) {
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

/// `ferryd events`, while commands end, one is contradicted, and the provider calls back.
async fn follow(rig: &Rig, daemon: &Daemon) -> Vec<String> {
    let id = |form: &str| format!("done-last-{form}");
    let following = FORMS.map(|form| {
        let arguments = ["--until-terminal", &id(form)];
        Running::start(rig, form, "events", &arguments)
    });
    for running in &following {
        running.says("following").await;
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
        faults.extend(running.faults(form, &case("events", &[], 0, true)).await);
    }
    faults
}

/// What needs the daemon's address, or runs on.
async fn walk_apart(rig: &Rig, daemon: &Daemon) -> Vec<String> {
    let mut faults = follow(rig, daemon).await;
    let line = daemon.wait_for_log(SOON, |line| line["message"] == "the endpoint for webhooks listens").await;
    let to = format!("http://{}", word(&line, "address"));
    for form in FORMS {
        let running = Running::start(rig, form, "webhook send", &["acme", "notice.json", "--to", &to]);
        faults.extend(running.faults(form, &case("webhook send", &[], 0, true)).await);
        let running = Running::start(rig, form, "sandbox", &["--bind", "127.0.0.1:0"]);
        running.says("https://localhost:").await;
        running.interrupt();
        faults.extend(running.faults(form, &case("sandbox", &[], 0, false)).await);
    }
    faults
}

#[tokio::test]
async fn no_command_and_no_log_shows_what_a_terminal_obeys_or_what_is_not_seen() {
    let authority = Authority::new();
    let server = TlsServer::start(authority.issue("localhost"), serve).await;
    let rig = Rig::with("", &[]).await.file("acme", &provider_file(&server, &authority));
    let rig = rig.env("FERRYD_WEBHOOKS__BIND", "127.0.0.1:0");
    let rig = rig.env("FERRYD_WEBHOOKS__PUBLIC_URL", "https://hooks.example.com").env("FERRYD_LOG", "debug");
    let folder = rig.setup.path();
    fs::write(folder.join("payload.json"), json!({ "say": HIDDEN }).to_string()).unwrap();
    fs::write(folder.join("notice.json"), json!({ "type": HOSTILE, "id": "n-2", "about": HOSTILE }).to_string())
        .unwrap();
    let call = format!("POST /webhooks/acme HTTP/1.1\r\nhost: a.example\r\nx-signature: {HIDDEN}\r\n\r\n{HOSTILE}");
    fs::write(folder.join("call.http"), call).unwrap();
    rig.declare().await;

    let first = rig.setup.start_for_people();
    rig.carry(&pay("done-first")).await;
    first.sigterm();
    assert!(first.wait(SOON).await.success());
    let mut faults: Vec<_> = log_faults(&first, "people").into_iter().collect();

    let daemon = rig.start().await;
    seed(&rig).await;
    for case in &CASES {
        for form in FORMS {
            faults.extend(Running::start(&rig, form, case.leaf, case.arguments).faults(form, case).await);
        }
    }
    faults.extend(walk_apart(&rig, &daemon).await);
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
    faults.extend(log_faults(&daemon, "programs"));
    for form in FORMS {
        let running = Running::start(&rig, form, "ledger rebuild", &[]);
        faults.extend(running.faults(form, &case("ledger rebuild", &[], 0, false)).await);
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
