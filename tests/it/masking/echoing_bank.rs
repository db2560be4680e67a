//! A provider that echoes its whole request, in every spelling and wherever an answer or a
//! webhook has room for it.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferryd_domain::webhook_token::PARAMETER;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::signed_webhooks::SECRET as WEBHOOK_SECRET;
use crate::tls_server::{CertificateAuthority, ServerStream, TlsServer, read_request, write};

/// The password of the accounts, with characters that each spelling writes in its own way.
pub(super) const PASSWORD: &str = r#"Pa5"w/+rd=&%7x9:Kq<Zt>2"#;

/// The access token that the provider grants.
pub(super) const ACCESS_TOKEN: &str = "A21AAL/fresh+token==93-Qz_7";

/// The providers, each with another way of authorisation.
pub(super) const PROVIDERS: [(&str, &str); 3] = [
    ("basic", r#"{ scheme = "basic", username = "shop", password = "{{ secrets.password }}" }"#),
    ("bearer", r#"{ scheme = "bearer", token = "{{ secrets.password }}" }"#),
    (
        "oauth",
        r#"{ scheme = "oauth2", grant = "client_credentials", token_url = "/token", client_id = "shop", client_secret = "{{ secrets.password }}" }"#,
    ),
];

/// A provider that grants no access token.
pub(super) const REFUSING: (&str, &str) = (
    "refusing",
    r#"{ scheme = "oauth2", grant = "client_credentials", token_url = "/refused", client_id = "shop", client_secret = "{{ secrets.password }}" }"#,
);

/// Returns the credentials that two of them encode.
pub(super) fn credentials() -> [String; 2] {
    let form: String = form_urlencoded::byte_serialize(PASSWORD.as_bytes()).collect();
    [PASSWORD, &form].map(|password| STANDARD.encode(format!("shop:{password}")))
}

const FILE: &str = r#"
name = "NAME"
type = "payment"
protocol = "rest"
base_url = "https://localhost:PORT"
ca_file = "CA"
auth = AUTH
secrets = { password = PASSWORD, webhook = "WEBHOOK" }
connect_timeout = "5s"
timeout = "20s"

[operations.pay]
request = { method = "POST", path = "/pay", query = { key = "{{ secrets.password }}" }, headers = { X-Key = "{{ secrets.password }}" } }
retry = { schedule = ["1h"], jitter = false }
[operations.pay.body]
id = "{{ command.id }}"
notify = "{{ webhook_url }}"
proof = "{{ command_token }}"
key = "{{ secrets.password }}"
iban = "{{ payload.iban }}"
[operations.pay.payload]
type = "object"
properties = { iban = { type = "string", x-sensitive = true } }
[operations.pay.response]
reference = "{{ body.reference }}"
result = { whole = "{{ body }}", text = "{{ text }}", header = "{{ headers['x-echo'] }}", bad = "{{ body.code | int }}" }
warnings = ["{{ body.echo.raw }}", "{{ body.echo.basic }}"]
success = "status == 200"
accepted = "status == 202"
error = { code = "{{ body.code }}", message = "{{ body.echo.basic }} {{ text }}", details = "{{ body }}" }

[[classify]]
when = "status == 402"
as = "declined"
code = "{{ body.code }}"

[webhook]
event = "{{ body.type }}"
id = "{{ body.id }}"
command = "{{ body.body.id }}"
token = "{{ body.proof }}"
reference = "{{ body.reference }}"
[webhook.verify]
algorithm = "hmac_sha256"
keys = [{ secret = "{{ secrets.webhook }}" }]
signature = { header = "x-signature", encoding = "hex" }
signed = "{{ body }}"
[[webhook.on]]
when = "body.type == 'completed'"
as = "completed"
result = { whole = "{{ body }}", text = "{{ text }}" }
[[webhook.on]]
when = "body.type == 'declined'"
as = "declined"
code = "{{ body.code }}"
message = "{{ body.echo.basic }} {{ text }}"
[[webhook.on]]
when = "body.type == 'progress'"
as = "progress"
result = { whole = "{{ body }}", text = "{{ text }}" }
"#;

/// A request as the provider received it.
#[derive(Clone)]
pub(super) struct SeenRequest {
    raw: String,
    body: Value,
}

/// The provider. Dropping ends it.
pub(super) struct EchoingBank {
    server: TlsServer,
    authority: CertificateAuthority,
    seen: Arc<Mutex<Vec<SeenRequest>>>,
}

impl EchoingBank {
    /// Starts the provider.
    pub(super) async fn start() -> Self {
        let (authority, seen) = (CertificateAuthority::new(), Arc::default());
        let requests = Arc::clone(&seen);
        let serve = move |stream| serve(stream, Arc::clone(&requests));
        let server = TlsServer::start(authority.issue("localhost"), serve).await;
        Self { server, authority, seen }
    }

    /// Returns the file of one of the [`PROVIDERS`].
    pub(super) fn provider_file(&self, name: &str, auth: &str) -> String {
        let (port, ca) =
            (self.server.address.port().to_string(), self.authority.file().display().to_string());
        let password = Value::from(PASSWORD).to_string();
        let words = [
            ("NAME", name),
            ("PORT", &port),
            ("CA", &ca),
            ("AUTH", auth),
            ("WEBHOOK", WEBHOOK_SECRET),
        ];
        // Last, because its value can contain any of the others.
        words
            .iter()
            .fold(FILE.to_owned(), |text, (from, to)| text.replace(from, to))
            .replace("PASSWORD", &password)
    }

    /// Returns the request that was made for a command.
    pub(super) fn request_of(&self, id: &str) -> SeenRequest {
        let seen = self.seen.lock().unwrap();
        let found = seen.iter().rev().find(|request| request.body["id"] == id);
        found.unwrap_or_else(|| panic!("no request for {id}")).clone()
    }
}

impl SeenRequest {
    /// Returns the token in the webhook URL of the request.
    pub(super) fn webhook_token(&self) -> String {
        let url = self.body["notify"].as_str().unwrap();
        url.split_once(&format!("?{PARAMETER}=")).unwrap().1.to_owned()
    }

    /// Returns the token beside the command's id.
    pub(super) fn command_token(&self) -> String {
        self.body["proof"].as_str().unwrap().to_owned()
    }

    /// Builds the body of a webhook about a command.
    pub(super) fn notice(&self, id: &str, kind: &str) -> Value {
        let mut notice = self.echo();
        notice["id"] = json!(id);
        notice["type"] = json!(kind);
        notice["proof"] = json!(self.command_token());
        notice
    }

    /// Returns the whole request, in every spelling.
    fn echo(&self) -> Value {
        let echo = echo_of(&self.raw);
        let authorization = echo["headers"]["authorization"].as_str().unwrap().to_owned();
        json!({
            "reference": format!("for {authorization}"), "code": format!("bad {authorization}"),
            "echo": echo, "body": self.body, authorization.clone(): authorization,
        })
    }
}

/// Writes a request in every spelling.
fn echo_of(raw: &str) -> Value {
    let headers = raw.lines().filter_map(|line| line.split_once(": "));
    let headers: Map<_, _> = headers.map(|(name, value)| (name.to_owned(), json!(value))).collect();
    json!({
        "url": raw.split(' ').nth(1).unwrap(), "headers": headers, "raw": raw,
        "basic": format!("Authorization: Basic {}", STANDARD.encode(format!("shop:{PASSWORD}"))),
        "percent": utf8_percent_encode(raw, NON_ALPHANUMERIC).to_string(),
        "base64": STANDARD.encode(raw), "hex": hex::encode(raw), "json": json!(raw).to_string(),
        // Each word by itself, because a match in a base64 text masks all of that text.
        "words": raw.split([' ', '"', '&', '\r', '\n']).map(|word| STANDARD.encode(word)).collect::<Vec<_>>(),
    })
}

async fn serve(mut stream: ServerStream, seen: Arc<Mutex<Vec<SeenRequest>>>) {
    while let Some(raw) = read_request(&mut stream).await {
        let answer = if raw.starts_with("POST /token ") {
            let token =
                json!({"access_token": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 3600});
            answer(200, "none", &token)
        } else if raw.starts_with("POST /refused ") {
            let echo = echo_of(&raw);
            let text = format!("{} {echo}", echo["headers"]["authorization"]);
            answer(401, "none", &json!({"error": text, "error_description": text, "echo": echo}))
        } else {
            let body: Value = serde_json::from_str(raw.split_once("\r\n\r\n").unwrap().1).unwrap();
            let request = SeenRequest { raw, body };
            seen.lock().unwrap().push(request.clone());
            let echo = request.echo();
            let header = echo["echo"]["headers"]["authorization"].as_str().unwrap();
            answer(status(request.body["id"].as_str().unwrap()), header, &echo)
        };
        if !write(&mut stream, &answer).await {
            return;
        }
    }
}

/// Returns the status with which a command is answered, by the beginning of its id.
fn status(id: &str) -> u16 {
    match id.split('-').next().unwrap() {
        "declined" => 402,
        "waiting" => 202,
        "rejected" => 404,
        "retried" => 429,
        "unknown" => 500,
        _ => 200,
    }
}

fn answer(status: u16, header: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nx-echo: {header}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
