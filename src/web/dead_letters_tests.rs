//! Tests what the API shows of dead letters to each token, and how a lookup of one is requested.

use axum::http::{Method, StatusCode};
use lapin::BasicProperties;
use serde_json::json;

use super::commands::CommandServiceState;
use super::test_client::{
    COMMAND, NEIGHBOUR, OPERATOR, READER, STRANGER, TestApi, bearer, request,
};
use crate::operator::queued_dead_letter::QueuedDeadLetter;

/// Returns the message of the dead letter `order-1`, in its queue.
fn message(api: &TestApi) -> QueuedDeadLetter {
    let record = api.fake.record_of("order-1");
    let properties = BasicProperties::default().with_message_id("order-1".into());
    let identity = record.command.clone();
    let (queue, body) = ("ferry.dead.stripe".to_owned(), COMMAND.as_bytes().to_vec());
    QueuedDeadLetter { queue, letter: Some(record), identity, properties, body, refused: None }
}

fn api_with_dead_letter() -> TestApi {
    let api = TestApi::new();
    api.fake.give_up(COMMAND);
    let dead = message(&api);
    api.fake.dead.lock().unwrap().push(dead);
    api
}

#[tokio::test]
async fn a_dead_letter_is_shown_as_recorded_and_its_message_to_operators() {
    let api = api_with_dead_letter();
    let get = async |token: &str, path: &str| {
        api.send(request(Method::GET, path, &[("authorization", &bearer(token))], "")).await
    };
    let (short, whole) = ("/v1/dead-letters/order-1", "/v1/dead-letters/order-1?message=true");
    for token in [READER, OPERATOR, NEIGHBOUR] {
        let shown = get(token, short).await;
        assert_eq!(shown.status, StatusCode::OK, "{token} {}", shown.body);
        let record = serde_json::to_value(api.fake.record_of("order-1")).unwrap();
        assert_eq!(
            shown.body,
            json!({ "dead_letters": [{ "queue": "ferry.dead.stripe", "record": record }] })
        );
    }
    for token in [OPERATOR, NEIGHBOUR] {
        let shown = get(token, whole).await;
        let message = &shown.body["dead_letters"][0]["message"];
        let body: serde_json::Value = serde_json::from_str(COMMAND).unwrap();
        assert_eq!(
            *message,
            json!({ "properties": { "message_id": "order-1" }, "body": body }),
            "{token}"
        );
    }
    let refused = get(READER, whole).await;
    assert_eq!(refused.problem(), (403, "forbidden"));
    assert!(refused.header("www-authenticate").unwrap().contains("scope=\"operate\""));
    for path in [short, whole] {
        assert_eq!(get(STRANGER, path).await.problem(), (404, "unknown-command"), "{path}");
    }
    api.fake.stand(CommandServiceState::BrokerAway);
    assert_eq!(get(READER, short).await.status, StatusCode::OK);
    assert_eq!(get(OPERATOR, whole).await.problem(), (503, "broker-away"));
}

#[tokio::test]
async fn what_was_refused_under_an_id_is_shown_with_its_dead_letter() {
    let api = TestApi::new();
    let refused = api.fake.give_up_refused(COMMAND);
    let shown = api.get("/v1/dead-letters/order-1").await;
    assert_eq!(
        shown.body["dead_letters"][0]["record"]["command"]["id"],
        json!(refused),
        "{}",
        shown.body
    );
    let own = api.get(&format!("/v1/dead-letters/{}", refused.as_str().replace('/', "%2F"))).await;
    assert_eq!(own.body, shown.body);
}

#[tokio::test]
async fn a_dead_letter_is_looked_up_for_the_holder_of_the_token() {
    let api = api_with_dead_letter();
    let answer = api.ask(Method::POST, "/v1/commands/order-1/lookup", &[], "").await;
    let receipt = json!({ "id": "order-1", "location": "/v1/commands/order-1" });
    assert_eq!((answer.status, answer.body), (StatusCode::ACCEPTED, receipt));
    let looked_up = api.fake.looked_up.lock().unwrap().clone();
    assert_eq!(looked_up, [("order-1".parse().unwrap(), "api:shop".to_owned())]);
}

#[tokio::test]
async fn there_is_nothing_to_ask_about_a_command_that_was_not_sent() {
    let api = TestApi::new();
    api.post(COMMAND, &[]).await;
    let answer = api.ask(Method::POST, "/v1/commands/order-1/lookup", &[], "").await;
    assert_eq!(answer.problem(), (409, "nothing-to-ask"));
    assert_eq!(answer.body["detail"], json!("`order-1` is not looked up: it waits for nothing"));
    assert!(api.fake.looked_up.lock().unwrap().is_empty());
}
