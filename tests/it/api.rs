//! The HTTP API of a running daemon: a command's whole way by it, and what it says while the broker is away.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::harness::daemon::Daemon;
use crate::harness::tcp_proxy::TcpProxy;
use crate::harness::wait::eventually;
use crate::rig::{File, Rig, SOON, and, charge, command, send, word};

/// Somebody who speaks HTTP.
pub(crate) struct Client {
    address: SocketAddr,
    headers: String,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: HashMap<String, String>,
    pub(crate) body: Value,
}

impl Client {
    /// Somebody on the daemon's host, who reads its token.
    pub(crate) async fn of(daemon: &Daemon) -> Self {
        let line = daemon.wait_for_log(SOON, |line| line["message"] == "the token of this host is in a file").await;
        let token = std::fs::read_to_string(word(&line, "file")).unwrap();
        Self::without_token(daemon).await.with("authorization", &format!("Bearer {}", token.trim()))
    }

    /// Somebody who has no token.
    async fn without_token(daemon: &Daemon) -> Self {
        let line = daemon.wait_for_log(SOON, |line| line["message"] == "the API listens").await;
        Self { address: word(&line, "address").parse().unwrap(), headers: String::new() }
    }

    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        Self { address: self.address, headers: format!("{}{name}: {value}\r\n", self.headers) }
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        self.try_ask(method, path, body).await.unwrap()
    }

    /// `None` where the connection ends before the answer does.
    async fn try_ask(&self, method: &str, path: &str, body: &str) -> Option<Answer> {
        let mut tcp = TcpStream::connect(self.address).await.ok()?;
        let Self { address, headers } = self;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n{headers}\r\n{body}"
        );
        tcp.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        timeout(SOON, tcp.read_to_string(&mut answer)).await.unwrap().ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let body = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
        Some(Answer { status, headers: lines.filter_map(header).collect(), body })
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }

    pub(crate) async fn post(&self, command: &Value) -> Answer {
        self.ask("POST", "/v1/commands", &command.to_string()).await
    }

    pub(crate) async fn wait_ready(&self) {
        eventually(SOON, "ferryd is ready", async || (self.get("/readyz").await.status == 200).then_some(())).await;
    }
}

#[tokio::test]
async fn a_command_goes_its_whole_way_by_the_api() {
    let rig = Rig::new("").await;
    let daemon = rig.start().await;
    let client = Client::of(&daemon).await;
    client.wait_ready().await;
    let command = charge("order-1", json!({"latency": "300ms"}));
    let answer = client.with("prefer", "wait=30").post(&command).await;
    assert_eq!((answer.status, word(&answer.body, "data.state")), (200, "completed"), "{}", answer.body);
    assert_eq!(answer.headers["preference-applied"], "wait=30");
    assert_eq!(answer.body["id"], rig.terminal("order-1").await["id"]);

    let story = client.get(&answer.headers["location"]).await.body;
    let reasons: Vec<_> = story["timeline"].as_array().unwrap().iter().map(|step| word(step, "reason")).collect();
    assert_eq!(
        (word(&story, "state"), reasons[..2].to_vec()),
        ("completed", vec!["submitted", "started"]),
        "{story:#}"
    );
    let again = client.post(&command).await;
    assert_eq!((again.status, &again.body), (200, &answer.body));
    let other = client.post(&and(command.clone(), json!({"payload": {"amount": 1}}))).await;
    assert_eq!((other.status, word(&other.body, "type")), (409, "urn:ferryd:problem:other-content"));

    let exchanges = client.get("/v1/commands/order-1/exchanges").await;
    assert_eq!((exchanges.status, &exchanges.body["complete"]), (200, &json!(true)), "{}", exchanges.body);

    // A command from the queue is known all the same, and one by both ways is one.
    let queued = charge("order-2", json!({}));
    rig.carry(&queued).await;
    assert_eq!(client.post(&queued).await.status, 200);
    let page = client.get("/v1/commands?provider=acme&state=completed&limit=1").await.body;
    assert_eq!(page["commands"][0]["id"], "order-2", "{page}");
    let next = client.get(&format!("/v1/commands?limit=1&cursor={}", word(&page, "next"))).await.body;
    assert_eq!((&next["commands"][0]["id"], &next["next"]), (&json!("order-1"), &Value::Null), "{next}");
    assert_eq!((rig.calls("order-1").calls, rig.calls("order-2").calls), (1, 1));
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_trace_context_larger_than_the_standard_has_it_is_left_out_of_a_command() {
    let rig = Rig::new("").await;
    let daemon = rig.start().await;
    let client = Client::of(&daemon).await.with("prefer", "wait=30");
    client.wait_ready().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (id, parent, bytes, kept) in [
        ("standard", parent.to_owned(), 512, (true, true)),
        ("huge", parent.to_owned(), 130_000, (true, false)),
        ("no-parent", "x".repeat(100_000), 512, (false, false)),
    ] {
        let client = client.with("traceparent", &parent).with("tracestate", &"x".repeat(bytes));
        let answer = client.post(&charge(id, json!({}))).await;
        assert_eq!((answer.status, word(&answer.body, "data.state")), (200, "completed"), "{}", answer.body);
        let event = rig.terminal(id).await;
        assert_eq!((event["traceparent"].is_string(), event["tracestate"].is_string()), kept, "{id}");
    }
    assert_eq!(daemon.logs(|line| line["message"] == "connected").len(), 1);
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn dead_letters_are_listed_and_counted() {
    let rig = Rig::new("").await;
    let daemon = rig.start().await;
    let client = Client::of(&daemon).await.with("prefer", "wait=30");
    client.wait_ready().await;
    for id in ["a", "b"] {
        let answer = client.post(&send(id, json!({"status": 404}))).await;
        assert_eq!((answer.status, word(&answer.body, "data.error.kind")), (200, "rejected"), "{}", answer.body);
    }
    client.post(&send("c", json!({"decline": "blocked"}))).await;
    let listed = async |path: &str| {
        let dead = client.get(path).await.body;
        let ids = dead["commands"].as_array().unwrap().iter().map(|row| word(row, "id").to_owned());
        (ids.collect::<Vec<_>>(), word(&dead["commands"][0], "code").to_owned())
    };
    let (all, code) = listed("/v1/dead-letters").await;
    assert_eq!(all, ["c", "b", "a"]);
    assert_eq!(listed(&format!("/v1/dead-letters?code={code}")).await.0, ["c"], "{code}");
    let groups = client.get("/v1/dead-letters/groups?operation=send").await.body;
    let counts: Vec<_> = groups["groups"].as_array().unwrap().iter().map(|group| &group["count"]).collect();
    assert_eq!(counts, [&json!(2), &json!(1)], "{groups}");
}

#[tokio::test]
async fn a_command_is_cancelled_by_the_api_with_the_name_of_the_token() {
    let token = "shop-0123456789abcdef";
    let tokens = format!("[[api.tokens]]\nname = 'shop'\nrole = 'operate'\ntoken = '{token}'\n");
    let rig = Rig::new(&tokens).await.env("FERRYD_LOG", "debug");
    let daemon = rig.start().await;
    let anybody = Client::without_token(&daemon).await;
    anybody.wait_ready().await;
    let client = anybody.with("authorization", &format!("Bearer {token}"));
    let soon = Timestamp::now() + SignedDuration::from_secs(4);
    let command = and(send("early", json!({})), json!({"not_before": soon.to_string()}));
    assert_eq!(anybody.post(&command).await.status, 401);
    assert_eq!(client.post(&command).await.status, 202);
    let cancelled = client.ask("DELETE", "/v1/commands/early?reason=order%20withdrawn", "").await;
    assert_eq!((cancelled.status, word(&cancelled.body, "outcome")), (200, "cancelled"), "{}", cancelled.body);
    let event = rig.terminal("early").await;
    assert_eq!(word(&event, "data.error.message"), "cancelled by api:shop: order withdrawn");
    // Who handed it in is on record, for the API, for `status`, and for `ledger tail`.
    let story = client.get("/v1/commands/early").await.body;
    let first = &story["timeline"][0];
    assert_eq!((word(first, "reason"), word(first, "detail")), ("submitted", "by api:shop"), "{story:#}");
    let printed = |arguments: &[&str]| {
        let output = rig.setup.command(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let status = printed(&["status", "early"]);
    assert!(status.contains("submitted") && status.contains("by api:shop"), "{status}");
    let records = printed(&["ledger", "tail", "--from", "first", "--command", "early", "--count", "1"]);
    assert!(records.contains("submitted by api:shop"), "{records}");
    assert_eq!(client.ask("DELETE", "/v1/commands/later", "").await.status, 202);
    for (list, expected) in [("", "early"), ("?state=pending", ""), ("?cancel_requested=true", "later")] {
        let listed = client.get(&format!("/v1/commands{list}")).await.body;
        let ids: Vec<_> = listed["commands"].as_array().unwrap().iter().map(|row| word(row, "id")).collect();
        assert_eq!(ids.concat(), expected, "{list}: {listed}");
    }
    let late = client.with("prefer", "wait=30").post(&send("later", json!({}))).await;
    assert_eq!((late.status, word(&late.body, "data.error.kind")), (200, "cancelled"), "{}", late.body);
    client.with("prefer", "wait=30").post(&send("done", json!({}))).await;
    let late = client.ask("DELETE", "/v1/commands/done", "").await;
    assert_eq!((late.status, word(&late.body, "reason")), (409, "completed"), "{}", late.body);
    let log = daemon.log_text();
    let answered = daemon.logs(|line| line["message"] == "answered" && line["token"] == "shop");
    assert!(answered.len() >= 4, "{answered:?}");
    assert!(!log.contains(token) && !log.contains("withdrawn\"}"), "a secret is in the log");
}

#[tokio::test]
async fn the_first_start_makes_a_token_and_the_command_line_of_the_host_reads_it() {
    let rig = Rig::new("").await;
    let token = |rig: &Rig| rig.setup.command(&["token", "--header"]).output().unwrap();
    assert_eq!(token(&rig).status.code(), Some(3), "there is none yet");
    let daemon = rig.start().await;
    let anybody = Client::without_token(&daemon).await;
    anybody.wait_ready().await;
    assert_eq!(anybody.get("/livez").await.status, 200);
    for (method, path) in [("POST", "/v1/commands"), ("GET", "/v1/commands"), ("GET", "/openapi.json")] {
        assert_eq!(anybody.ask(method, path, "").await.status, 401, "{method} {path}");
    }
    let told = daemon.wait_for_log(SOON, |line| line["message"] == "refused requests to the API").await;
    assert_eq!((word(&told, "reason"), word(&told, "client")), ("it has no token", "127.0.0.1"), "{told}");
    let header = String::from_utf8(token(&rig).stdout).unwrap();
    let (name, value) = header.trim().split_once(": ").unwrap();
    let client = anybody.with(name, value);
    assert_eq!(client.post(&charge("order-1", json!({}))).await.status, 202);
    assert_eq!(word(&rig.terminal("order-1").await, "data.state"), "completed");
    let file = rig.setup.path().join("state/api-token");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!daemon.log_text().contains(value.split_once(' ').unwrap().1), "the token is in the log");
    // The next start, and another instance beside it, use the same.
    let other = rig.start().await;
    let there = Client::without_token(&other).await.with(name, value);
    there.wait_ready().await;
    assert_eq!(there.get("/v1/commands/order-1").await.status, 200);
}

#[tokio::test]
async fn a_token_is_good_for_the_commands_in_its_scope() {
    let config = "[routes]\npayment = 'brave'\n[[api.tokens]]\nname = 'shop'\nrole = 'operate'\n\
                  token = 'shop-0123456789abcdef'\nread = { providers = ['acme'] }\n\
                  operate = { accounts = ['acme/default'] }\n";
    let rig = Rig::with(config, &[("acme", File::default()), ("brave", File::default())]).await;
    let daemon = rig.start().await;
    let host = Client::of(&daemon).await.with("prefer", "wait=30");
    host.wait_ready().await;
    let shop = Client::without_token(&daemon).await.with("authorization", "Bearer shop-0123456789abcdef");
    assert_eq!(host.post(&command("brave", "charge", "hidden", json!({}))).await.status, 200);
    assert_eq!(shop.with("prefer", "wait=30").post(&charge("mine", json!({}))).await.status, 200);
    // Where a command names no provider, its route says whose it is.
    for (id, provider) in [("foreign", "brave"), ("routed", "any")] {
        let answer = shop.post(&command(provider, "charge", id, json!({}))).await;
        assert_eq!((answer.status, word(&answer.body, "type")), (403, "urn:ferryd:problem:forbidden"), "{id}");
        assert_eq!(host.get(&format!("/v1/commands/{id}")).await.status, 404);
        assert_eq!(rig.calls(id).calls, 0);
    }
    for (method, path) in [("GET", ""), ("GET", "/exchanges"), ("DELETE", "")] {
        for id in ["hidden", "unheard-of"] {
            let answer = shop.ask(method, &format!("/v1/commands/{id}{path}"), "").await;
            assert_eq!((answer.status, word(&answer.body, "type")), (404, "urn:ferryd:problem:unknown-command"));
        }
    }
    for (client, expected) in [(&shop, "mine"), (&host, "mine hidden")] {
        let listed = client.get("/v1/commands").await.body;
        let ids: Vec<_> = listed["commands"].as_array().unwrap().iter().map(|row| word(row, "id")).collect();
        assert_eq!(ids.join(" "), expected, "{listed}");
    }
    let log = daemon.logs(|line| line["message"] == "refused requests to the API" && line["token"] == "shop");
    assert!(!log.is_empty());
}

#[tokio::test]
async fn a_token_file_that_others_can_read_ends_the_daemon_before_it_connects_or_listens() {
    let rig = Rig::new("").await;
    let file = rig.setup.path().join("state/api-token");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let daemon = rig.setup.start();
    assert_eq!(daemon.wait(SOON).await.code(), Some(3));
    let log = daemon.log_text();
    assert!(log.contains(&format!("the token file {}", file.display())) && log.contains("mode 0644"), "{log}");
    assert!(!log.contains("listens") && !log.contains("connected") && !log.contains("0123456789"), "{log}");
}

#[tokio::test]
async fn half_sent_heads_do_not_silence_the_api() {
    let rig = Rig::new("").await;
    let daemon = rig.start().await;
    let client = Client::of(&daemon).await;
    client.wait_ready().await;
    let mut hoarded = Vec::new();
    for _ in 0..520 {
        let mut tcp = TcpStream::connect(client.address).await.unwrap();
        let _ = tcp.write_all(b"GET /livez HTTP/1.1\r\nhost: lo").await;
        hoarded.push(tcp);
    }
    let began = Instant::now();
    assert_eq!(client.get("/livez").await.status, 200);
    assert_eq!(client.get("/v1/commands").await.status, 200);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn while_the_broker_is_away_the_api_says_so_at_once_and_lives() {
    let rig = Rig::new("").await;
    let proxy = TcpProxy::to(rig.vhost.address()).await;
    let uri = rig.vhost.uri_at(proxy.address());
    let rig = rig.env("FERRYD_AMQP__URI", &uri);
    let daemon = rig.start().await;
    let client = Client::of(&daemon).await;
    client.wait_ready().await;
    let known = client.with("prefer", "wait=30").post(&charge("known", json!({}))).await;
    assert_eq!(known.status, 200);
    // A broker that is silent, then one that is gone.
    proxy.pause();
    for id in ["silent", "gone"] {
        let began = Instant::now();
        let answer = client.with("prefer", "wait=60").post(&charge(id, json!({}))).await;
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(answer.headers.contains_key("retry-after"));
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(client.get("/livez").await.status, 200);
        assert_eq!(client.get("/v1/commands/known").await.body["state"], "completed");
        proxy.refuse().await;
        eventually(SOON, "not ready", async || (client.get("/readyz").await.status == 503).then_some(())).await;
    }
    proxy.resume().await;
    client.wait_ready().await;
    for id in ["silent", "gone"] {
        let answer = client.with("prefer", "wait=30").post(&charge(id, json!({}))).await;
        assert_eq!((answer.status, word(&answer.body, "data.state")), (200, "completed"), "{}", answer.body);
        assert_eq!(rig.calls(id).acted, 1);
    }
}

#[tokio::test]
async fn while_the_ledger_cannot_be_read_nothing_is_called_and_readiness_fails() {
    let rig = Rig::new("").await;
    let user = rig.vhost.user("blind").await;
    let proxy = TcpProxy::to(rig.vhost.address()).await;
    let uri = user.replace(&rig.vhost.address().to_string(), &proxy.address().to_string());
    let rig = rig.env("FERRYD_AMQP__URI", &uri);
    let daemon = rig.start().await;
    let client = Client::of(&daemon).await;
    client.wait_ready().await;
    rig.vhost.let_read_ledger("blind", false).await;
    proxy.cut().await;
    let said = |text: &'static str| move |line: &Value| word(line, "message").starts_with(text);
    daemon.wait_for_log(SOON, said("failed to read a stream")).await;
    // Its start is put down, and never read back: nobody knows whether it may be called.
    rig.publish(&send("taken", json!({}))).await;
    daemon.wait_for_log(SOON, said("the ledger does not get on; no commands are taken")).await;
    let answer = client.get("/readyz").await;
    assert_eq!((answer.status, word(&answer.body, "type")), (503, "urn:ferryd:problem:not-confirmed"));
    assert_eq!(client.get("/livez").await.status, 200);
    // The queue goes on counting its consumer, which is cancelled but still holds what was taken.
    rig.publish(&send("left", json!({}))).await;
    rig.broker.await_depth("ferry.commands.acme", 1).await;
    assert_eq!((rig.calls("taken").calls, rig.calls("left").calls), (0, 0));

    rig.vhost.let_read_ledger("blind", true).await;
    for id in ["taken", "left"] {
        assert_eq!(word(&rig.terminal(id).await, "data.state"), "completed");
        assert_eq!(rig.calls(id).calls, 1);
    }
    client.wait_ready().await;
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_command_that_was_taken_up_is_not_published_again() {
    let rig = Rig::new("").await;
    let daemon = rig.start().await;
    let client = Client::of(&daemon).await;
    client.wait_ready().await;
    let soon = Timestamp::now() + SignedDuration::from_secs(4);
    let command = and(send("early", json!({"latency": "1s"})), json!({"not_before": soon.to_string()}));
    assert_eq!(client.post(&command).await.status, 202);
    rig.broker.await_depth("ferry.retry.2s", 1).await;
    for _ in 0..3 {
        assert_eq!(client.post(&command).await.status, 202);
    }
    assert_eq!(rig.broker.depth("ferry.retry.2s").await, Some(1));
    eventually(SOON, "the call runs", async || (rig.calls("early").calls == 1).then_some(())).await;
    assert_eq!(client.with("prefer", "wait=30").post(&command).await.status, 200);
    rig.finish(&daemon).await;
    assert_eq!(rig.calls("early").calls, 1);
}

#[tokio::test]
async fn of_two_commands_with_one_id_at_two_instances_one_is_carried() {
    let rig = Rig::new("").await;
    let daemons = [rig.start().await, rig.start().await];
    let clients = [Client::of(&daemons[0]).await, Client::of(&daemons[1]).await];
    for client in &clients {
        client.wait_ready().await;
    }
    for round in 0..20 {
        let id = format!("race-{round}");
        let command = |amount| and(send(&id, json!({})), json!({"payload": {"amount": amount, "sandbox": {}}}));
        let (one, other) = (command(1), command(2));
        let (first, second) = tokio::join!(clients[0].post(&one), clients[1].post(&other));
        let (loser, refused, taken) =
            if first.status == 409 { (&first, &one, &other) } else { (&second, &other, &one) };
        assert_eq!([first.status, second.status].iter().filter(|status| **status == 409).count(), 1, "{}", loser.body);
        // Either instance tells both of them the same.
        for client in &clients {
            assert_eq!(client.post(refused).await.status, 409);
            assert_eq!(client.with("prefer", "wait=30").post(taken).await.status, 200);
            assert_eq!(client.get(&format!("/v1/commands/{id}")).await.body["state"], "completed");
        }
        assert_eq!(rig.calls(&id).calls, 1);
    }
    let [first, second] = daemons;
    first.sigterm();
    assert!(first.wait(SOON).await.success());
    rig.finish(&second).await;
}

#[tokio::test]
async fn a_command_that_was_answered_with_202_ends_though_ferryd_is_killed() {
    let rig = Rig::new("").await;
    let mut answered = Vec::new();
    for round in 0..4 {
        let daemon = rig.start().await;
        let client = Client::of(&daemon).await;
        client.wait_ready().await;
        let count = AtomicUsize::new(0);
        let posts = (0..200).map(|number| {
            let command = charge(&format!("order-{round}-{number}"), json!({}));
            async {
                let answer = client.try_ask("POST", "/v1/commands", &command.to_string()).await;
                // In the middle of the others.
                if count.fetch_add(1, Ordering::SeqCst) == 40 * round {
                    daemon.kill9();
                }
                (command, answer.is_some_and(|answer| answer.status < 300))
            }
        });
        answered.extend(futures_util::future::join_all(posts).await);
    }
    let daemon = rig.start().await;
    let client = Client::of(&daemon).await;
    client.wait_ready().await;
    let unanswered = answered.iter().filter(|(_, taken)| !taken).count();
    assert!((1..answered.len()).contains(&unanswered), "{unanswered}");
    for (command, taken) in &answered {
        // Who got no answer asks again.
        if !taken {
            assert!(client.post(command).await.status < 300, "{command}");
        }
        let id = word(command, "id");
        assert_eq!(word(&rig.terminal(id).await, "data.state"), "completed");
        assert_eq!(rig.calls(id).acted, 1, "{id}");
    }
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn stopping_ends_requests_that_wait_and_loses_none_that_was_taken() {
    let rig = Rig::new("").await;
    let daemon = rig.start().await;
    let client = Client::of(&daemon).await;
    client.wait_ready().await;
    let soon = Timestamp::now() + SignedDuration::from_secs(3);
    let command = and(charge("order-1", json!({})), json!({"not_before": soon.to_string()}));
    let waiting = client.with("prefer", "wait=60");
    let asked = tokio::spawn(async move { waiting.post(&command).await.status });
    eventually(SOON, "it is known", async || (client.get("/v1/commands/order-1").await.status == 200).then_some(()))
        .await;
    daemon.sigterm();
    assert_eq!(timeout(SOON, asked).await.unwrap().unwrap(), 202);
    assert!(daemon.wait(SOON).await.success());
    let daemon = rig.start().await;
    assert_eq!(word(&rig.terminal("order-1").await, "data.state"), "completed");
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_taken_port_ends_the_daemon_before_it_connects() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let rig = Rig::new("").await.env("FERRYD_API__BIND", &address);
    let daemon = rig.setup.start();
    assert_eq!(daemon.wait(SOON).await.code(), Some(3));
    let log = daemon.log_text();
    assert!(log.contains(&address) && log.contains("`api.bind`") && !log.contains("connected"), "{log}");
}

#[tokio::test]
async fn without_the_ledger_commands_are_published_and_nothing_is_known_of_them() {
    let rig = Rig::new("").await.env("FERRYD_LEDGER__ENABLED", "false");
    let daemon = rig.start().await;
    let client = Client::of(&daemon).await;
    client.wait_ready().await;
    let answer = client.with("prefer", "wait=30").post(&charge("order-1", json!({}))).await;
    assert_eq!((answer.status, answer.headers.get("preference-applied")), (202, None));
    assert_eq!(word(&rig.terminal("order-1").await, "data.state"), "completed");
    let story = client.get("/v1/commands/order-1").await;
    assert_eq!((story.status, word(&story.body, "type")), (501, "urn:ferryd:problem:no-ledger"));
    rig.finish(&daemon).await;
}
