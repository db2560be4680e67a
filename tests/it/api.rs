//! Tests the HTTP API of a running daemon: a command's whole way, and the answers while the broker
//! is away.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::api_client::TestClient;
use crate::harness::tcp_proxy::TcpProxy;
use crate::harness::wait::eventually;
use crate::rig::{SOON, TestRig, and, charge, send, word};

#[tokio::test]
async fn a_command_goes_its_whole_way_by_the_api() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    client.wait_ready().await;
    let command = charge("order-1", json!({"latency": "300ms"}));
    let answer = client.with("prefer", "wait=30").post(&command).await;
    assert_eq!(
        (answer.status, word(&answer.body, "data.state")),
        (200, "completed"),
        "{}",
        answer.body
    );
    assert_eq!(answer.headers["preference-applied"], "wait=30");
    assert_eq!(answer.body["id"], rig.terminal("order-1").await["id"]);

    let story = client.get(&answer.headers["location"]).await.body;
    let reasons: Vec<_> =
        story["timeline"].as_array().unwrap().iter().map(|step| word(step, "reason")).collect();
    assert_eq!(
        (word(&story, "state"), reasons[..2].to_vec()),
        ("completed", vec!["submitted", "started"]),
        "{story:#}"
    );
    let again = client.post(&command).await;
    assert_eq!((again.status, &again.body), (200, &answer.body));
    let other = client.post(&and(command.clone(), json!({"payload": {"amount": 1}}))).await;
    assert_eq!(
        (other.status, word(&other.body, "type")),
        (409, "urn:ferryd:problem:other-content")
    );

    let calls = client.get("/v1/commands/order-1/calls").await;
    assert_eq!((calls.status, &calls.body["complete"]), (200, &json!(true)), "{}", calls.body);

    // A command from the queue is recorded as well, and a command that comes both ways is one.
    let queued = charge("order-2", json!({}));
    rig.carry(&queued).await;
    assert_eq!(client.post(&queued).await.status, 200);
    let page = client.get("/v1/commands?provider=acme&state=completed&limit=1").await.body;
    assert_eq!(page["commands"][0]["id"], "order-2", "{page}");
    let next =
        client.get(&format!("/v1/commands?limit=1&cursor={}", word(&page, "next"))).await.body;
    assert_eq!(
        (&next["commands"][0]["id"], &next["next"]),
        (&json!("order-1"), &Value::Null),
        "{next}"
    );
    assert_eq!((rig.calls("order-1").calls, rig.calls("order-2").calls), (1, 1));
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_trace_context_larger_than_the_standard_has_it_is_left_out_of_a_command() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await.with("prefer", "wait=30");
    client.wait_ready().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (id, parent, bytes, kept) in [
        ("standard", parent.to_owned(), 512, (true, true)),
        ("huge", parent.to_owned(), 130_000, (true, false)),
        ("no-parent", "x".repeat(100_000), 512, (false, false)),
    ] {
        let client = client.with("traceparent", &parent).with("tracestate", &"x".repeat(bytes));
        let answer = client.post(&charge(id, json!({}))).await;
        assert_eq!(
            (answer.status, word(&answer.body, "data.state")),
            (200, "completed"),
            "{}",
            answer.body
        );
        let event = rig.terminal(id).await;
        assert_eq!(
            (event["traceparent"].is_string(), event["tracestate"].is_string()),
            kept,
            "{id}"
        );
    }
    assert_eq!(daemon.logs(|line| line["message"] == "connected").len(), 1);
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn dead_letters_are_listed_and_counted() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await.with("prefer", "wait=30");
    client.wait_ready().await;
    for id in ["a", "b"] {
        let answer = client.post(&send(id, json!({"status": 404}))).await;
        assert_eq!(
            (answer.status, word(&answer.body, "data.error.kind")),
            (200, "rejected"),
            "{}",
            answer.body
        );
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
    let counts: Vec<_> =
        groups["groups"].as_array().unwrap().iter().map(|group| &group["count"]).collect();
    assert_eq!(counts, [&json!(2), &json!(1)], "{groups}");
}

#[tokio::test]
async fn half_sent_heads_do_not_silence_the_api() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
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
    let rig = TestRig::new("").await;
    let proxy = TcpProxy::to(rig.vhost.address());
    let uri = rig.vhost.uri_at(proxy.address());
    let rig = rig.env("FERRYD_AMQP__URI", &uri);
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
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
        eventually(SOON, "not ready", async || {
            (client.get("/readyz").await.status == 503).then_some(())
        })
        .await;
    }
    proxy.resume();
    client.wait_ready().await;
    for id in ["silent", "gone"] {
        let answer = client.with("prefer", "wait=30").post(&charge(id, json!({}))).await;
        assert_eq!(
            (answer.status, word(&answer.body, "data.state")),
            (200, "completed"),
            "{}",
            answer.body
        );
        assert_eq!(rig.calls(id).acted, 1);
    }
}

#[tokio::test]
async fn while_the_ledger_cannot_be_read_nothing_is_called_and_readiness_fails() {
    let rig = TestRig::new("").await;
    let user = rig.vhost.user("blind").await;
    let proxy = TcpProxy::to(rig.vhost.address());
    let uri = user.replace(&rig.vhost.address().to_string(), &proxy.address().to_string());
    let rig = rig.env("FERRYD_AMQP__URI", &uri);
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    client.wait_ready().await;
    rig.vhost.let_read_ledger("blind", false).await;
    proxy.cut().await;
    let said = |text: &'static str| move |line: &Value| word(line, "message").starts_with(text);
    daemon.wait_for_log(SOON, said("failed to read a stream")).await;
    // The start of the call is recorded, and never read back: whether the call may be made remains
    // open.
    rig.publish(&send("taken", json!({}))).await;
    daemon.wait_for_log(SOON, said("ledger is lagging; consumption paused")).await;
    let answer = client.get("/readyz").await;
    assert_eq!(
        (answer.status, word(&answer.body, "type")),
        (503, "urn:ferryd:problem:not-confirmed")
    );
    assert_eq!(client.get("/livez").await.status, 200);
    // The queue still counts its consumer, which is cancelled but holds the deliveries that it
    // took.
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
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    client.wait_ready().await;
    let soon = Timestamp::now() + SignedDuration::from_secs(4);
    let command =
        and(send("early", json!({"latency": "1s"})), json!({"not_before": soon.to_string()}));
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
async fn of_two_commands_with_one_id_at_two_instances_one_is_carried_out() {
    let rig = TestRig::new("").await;
    let daemons = [rig.start().await, rig.start().await];
    let clients = [TestClient::of(&daemons[0]).await, TestClient::of(&daemons[1]).await];
    for client in &clients {
        client.wait_ready().await;
    }
    for round in 0..20 {
        let id = format!("race-{round}");
        let command = |amount| {
            and(send(&id, json!({})), json!({"payload": {"amount": amount, "sandbox": {}}}))
        };
        let (one, other) = (command(1), command(2));
        let (first, second) = tokio::join!(clients[0].post(&one), clients[1].post(&other));
        let (loser, refused, taken) =
            if first.status == 409 { (&first, &one, &other) } else { (&second, &other, &one) };
        assert_eq!(
            [first.status, second.status].iter().filter(|status| **status == 409).count(),
            1,
            "{}",
            loser.body
        );
        // Both instances give both clients the same answer.
        for client in &clients {
            assert_eq!(client.post(refused).await.status, 409);
            assert_eq!(client.with("prefer", "wait=30").post(taken).await.status, 200);
            assert_eq!(client.get(&format!("/v1/commands/{id}")).await.body["state"], "completed");
        }
        assert_eq!(rig.calls(&id).calls, 1);
    }
    // A command that was submitted again before it was taken up has a copy, which waited for the
    // end.
    rig.await_empty_ladder().await;
    let [first, second] = daemons;
    first.sigterm();
    assert!(first.wait(SOON).await.success());
    rig.finish(&second).await;
}

#[tokio::test]
async fn a_command_that_was_answered_with_202_ends_though_ferryd_is_killed() {
    let rig = TestRig::new("").await;
    let mut answered = Vec::new();
    for round in 0..4 {
        let daemon = rig.start().await;
        let client = TestClient::of(&daemon).await;
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
    let client = TestClient::of(&daemon).await;
    client.wait_ready().await;
    let unanswered = answered.iter().filter(|(_, taken)| !taken).count();
    assert!((1..answered.len()).contains(&unanswered), "{unanswered}");
    for (command, taken) in &answered {
        // A client without an answer asks again.
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
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    client.wait_ready().await;
    let soon = Timestamp::now() + SignedDuration::from_secs(3);
    let command = and(charge("order-1", json!({})), json!({"not_before": soon.to_string()}));
    let waiting = client.with("prefer", "wait=60");
    let posted = tokio::spawn(async move { waiting.post(&command).await.status });
    eventually(SOON, "it is known", async || {
        (client.get("/v1/commands/order-1").await.status == 200).then_some(())
    })
    .await;
    daemon.sigterm();
    assert_eq!(timeout(SOON, posted).await.unwrap().unwrap(), 202);
    assert!(daemon.wait(SOON).await.success());
    let daemon = rig.start().await;
    assert_eq!(word(&rig.terminal("order-1").await, "data.state"), "completed");
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_call_is_listed_as_soon_as_its_command_has_ended() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    client.wait_ready().await;
    for number in 0..10 {
        let id = format!("order-{number}");
        assert_eq!(client.with("prefer", "wait=30").post(&send(&id, json!({}))).await.status, 200);
        let listed = client.get(&format!("/v1/commands/{id}/calls")).await.body;
        let calls = listed["calls"].as_array().map(Vec::len);
        assert_eq!((calls, &listed["complete"]), (Some(1), &json!(true)), "{listed}");
    }
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_taken_port_ends_the_daemon_before_it_connects() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let rig = TestRig::new("").await.env("FERRYD_API__BIND", &address);
    let daemon = rig.setup.start();
    assert_eq!(daemon.wait(SOON).await.code(), Some(3));
    let log = daemon.log_text();
    assert!(
        log.contains(&address) && log.contains("`api.bind`") && !log.contains("connected"),
        "{log}"
    );
}
