use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::any;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::cli::ExitStatus;
use crate::web::host_token::HostToken;

const TOKEN: &str = "0123456789abcdef";

/// Makes a folder with this configuration and the host's token.
fn host(config: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ferryd.toml");
    std::fs::write(&path, format!("{config}\n[api]\ntoken_file = 'api-token'\n")).unwrap();
    HostToken::load_or_create(&dir.path().join("api-token"), None).unwrap();
    (dir, path)
}

fn find(
    url: Option<&str>,
    plaintext: bool,
    token: Option<&str>,
    config: &Path,
) -> Result<String, CommandError> {
    let url = url.map(|url| url.parse().unwrap());
    daemon_address::find(url.as_ref(), plaintext, token, Some(config))
        .map(|(place, _)| place.url().to_string())
}

#[test]
fn the_daemon_is_the_one_that_is_named_or_else_that_of_this_host() {
    let (_dir, config) = host("");
    let remote = "https://ferryd.example.com/api";
    for (url, plaintext, token, found) in [
        (None, false, None, "http://127.0.0.1:8420/"),
        (None, false, Some(TOKEN), "http://127.0.0.1:8420/"),
        (Some("http://localhost:1"), false, None, "http://localhost:1/"),
        (Some(remote), false, Some(TOKEN), remote),
        (Some("http://10.0.0.7:8420"), true, Some(TOKEN), "http://10.0.0.7:8420/"),
    ] {
        assert_eq!(find(url, plaintext, token, &config).unwrap(), found);
    }
    for (url, token, exit, words) in [
        (
            remote,
            None,
            ExitStatus::Configuration,
            "needs a token in FERRYD_TOKEN: that of this host is sent to no other",
        ),
        (remote, Some("short"), ExitStatus::Configuration, "has to be 16 to 512 characters"),
        (
            "http://10.0.0.7:8420",
            Some(TOKEN),
            ExitStatus::Usage,
            "is plain HTTP to another machine",
        ),
    ] {
        let error = find(Some(url), false, token, &config).unwrap_err();
        assert!(error.exit() == exit && error.to_string().contains(words), "{error}");
    }
}

#[test]
fn what_is_no_address_of_an_api_is_refused() {
    for text in
        ["ferryd.example.com", "ftp://a", "https://u:p@a", "https://a?b", "https://a#b", "http:"]
    {
        assert!(text.parse::<ApiUrl>().is_err(), "{text}");
    }
}

/// Runs a daemon that answers each request with the next of these answers, and with the last of
/// them from then on.
fn daemon(answers: &'static [(u16, Value)]) -> String {
    let requests = Arc::new(AtomicUsize::new(0));
    let answer = move || {
        let (status, body) =
            &answers[requests.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)];
        let media_type = if *status == 200 { "application/json" } else { MEDIA_TYPE };
        let answer =
            (StatusCode::from_u16(*status).unwrap(), [(CONTENT_TYPE, media_type)], Json(body));
        std::future::ready(answer.into_response())
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, axum::Router::new().fallback(any(answer))).await
        })
    });
    format!("http://{address}")
}

fn problem(kind: &str, status: u16, detail: &str) -> (u16, Value) {
    let body = json!({ "type": format!("urn:ferryd:problem:{kind}"), "title": "t", "status": status, "detail": detail,
        "faults": ["one", "two"], "records": 7 });
    (status, body)
}

fn ask(url: &str) -> Result<Value, ApiError> {
    let (_dir, config) = host("");
    let arguments = ApiArguments { url: Some(url.parse().unwrap()), allow_plaintext: false };
    ApiClient::open(&arguments, Some(&config))
        .unwrap()
        .send_request(&ApiRequest::get(["commands", "a/b"]).with("limit", Some(3)))
}

#[test]
fn a_request_is_repeated_while_the_daemon_cannot_answer_yet() {
    let answers = vec![
        problem("catching-up", 503, "wait"),
        problem("busy", 503, "wait"),
        (200, json!({"a": 1})),
    ];
    assert_eq!(ask(&daemon(answers.leak())).unwrap(), json!({"a": 1}));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_does_not_get_on_is_not_waited_for_for_ever() {
    let problem = |kind, records: u64| {
        let mut body = problem(kind, 503, "wait").1;
        body["records"] = records.into();
        Box::new(serde_json::from_value::<ProblemBody>(body).unwrap())
    };
    // The wait goes on for as long as the number of records grows.
    let mut waiting = TerminalWait::default();
    for records in 1..1_000 {
        waiting.pause(problem("catching-up", records)).await.unwrap();
    }
    for kind in ["catching-up", "busy"] {
        let (mut waiting, mut times) = (TerminalWait::default(), 0);
        let error = loop {
            match waiting.pause(problem(kind, 7)).await {
                Ok(()) => times += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.exit(), ExitStatus::Timeout);
        assert!((10..=1_000).contains(&times), "{kind}: {times}");
    }
}

#[test]
fn errors_say_in_words_what_is_wrong_and_end_with_the_code_that_goes_with_it() {
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    for (answer, exit, words) in [
        (None, ExitStatus::Unreachable, "no ferryd answers at http://127.0.0.1:"),
        (
            None,
            ExitStatus::Unreachable,
            "start one with `ferryd run`, or name another with --url; `ferryd dead-letters list --queues`",
        ),
        (
            Some(problem("unauthorized", 401, "x")),
            ExitStatus::Failed,
            "does not know the token in the file /",
        ),
        (
            Some(problem("forbidden", 403, "it has the role read")),
            ExitStatus::Failed,
            "it has the role read; one; two",
        ),
        (Some(problem("broker-away", 503, "away")), ExitStatus::Unreachable, "away"),
        (Some(problem("not-confirmed", 503, "late")), ExitStatus::Timeout, "late"),
        (Some(problem("of-tomorrow", 409, "new")), ExitStatus::Failed, "new"),
        (
            Some((502, json!("x"))),
            ExitStatus::Failed,
            "answered with status 502, and not as ferryd does",
        ),
    ] {
        let url = answer.map_or_else(|| nobody.clone(), |answer| daemon(vec![answer].leak()));
        let error = ask(&url).unwrap_err();
        assert!(error.exit() == exit && error.to_string().contains(words), "{error}");
    }
}

#[test]
fn what_stands_in_a_path_or_a_query_does_not_change_where_the_request_goes() {
    let (_dir, config) = host("");
    let arguments = ApiArguments {
        url: Some("http://127.0.0.1:1/api/".parse().unwrap()),
        allow_plaintext: false,
    };
    let client = ApiClient::open(&arguments, Some(&config)).unwrap();
    let request = ApiRequest::get(["commands", "a/refused/b", "?"])
        .with("reason", Some("a&b=ü"))
        .with("x", None::<u8>);
    let url = client.url(&request);
    assert_eq!(
        url.as_str(),
        "http://127.0.0.1:1/api/v1/commands/a%2Frefused%2Fb/%3F?reason=a%26b%3D%C3%BC"
    );
}
