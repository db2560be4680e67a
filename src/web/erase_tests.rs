//! Tests erasing by the API, and the recorded names of the people for whom callers act.

use axum::http::{Method, StatusCode};
use serde_json::json;

use super::test_client::{
    COMMAND, ERASER, HOST, OPERATOR, STRANGE_ERASER, TestApi, bearer, request,
};

#[tokio::test]
async fn the_role_erase_has_the_contents_of_ended_commands_erased_and_says_why() {
    let api = TestApi::new();
    let authorization = bearer(ERASER);
    let headers = [("authorization", authorization.as_str())];
    let erase = async |path: &str| api.send(request(Method::POST, path, &headers, "")).await;
    let path = "/v1/commands/order-1/erase?reason=request+4711";
    assert_eq!(erase(path).await.problem(), (404, "unknown-command"));
    assert_eq!(api.post(COMMAND, &[]).await.status, StatusCode::ACCEPTED);
    assert_eq!(erase("/v1/commands/order-1/erase").await.problem(), (400, "invalid-request"));
    let kept = erase(path).await;
    assert_eq!(kept.problem(), (409, "not-erasable"));
    assert!(kept.body["detail"].as_str().unwrap().contains("it has not ended"), "{}", kept.body);
    api.fake.complete(COMMAND);
    let unpublished = erase(path).await;
    assert_eq!(unpublished.problem(), (409, "not-erasable"));
    api.fake.settle("order-1");
    for already_erased in [false, true] {
        let erased = erase(path).await;
        assert_eq!(erased.status, StatusCode::OK, "{}", erased.body);
        assert_eq!(
            erased.body,
            serde_json::json!({ "id": "order-1", "already_erased": already_erased })
        );
    }
    let story = api.get("/v1/commands/order-1").await;
    let removal = &story.body["removal"];
    assert!(
        removal.to_string().contains("api:privacy") && removal.to_string().contains("request 4711"),
        "{removal}"
    );
    // The token with the role `erase` reads commands, and can do nothing else with them.
    let cancel = api.send(request(Method::DELETE, "/v1/commands/order-1", &headers, "")).await;
    assert_eq!(cancel.problem(), (403, "forbidden"));
    assert!(cancel.header("www-authenticate").unwrap().contains("scope=\"operate\""));
}

#[tokio::test]
async fn many_commands_are_erased_at_once_for_the_person_who_is_named_and_a_dry_run_changes_nothing()
 {
    let api = TestApi::new();
    let erase = async |token: &str, query: &str| {
        let authorization = bearer(token);
        let headers = [("authorization", authorization.as_str())];
        api.send(request(Method::POST, &format!("/v1/erasures?{query}"), &headers, "")).await
    };
    for wrong in [
        "ids=order-1",
        "reason=r",
        "reason=r&ids=order-1&reference=x",
        "reason=r&ids=order-1&all=true",
    ] {
        assert_eq!(erase(ERASER, wrong).await.problem(), (400, "invalid-request"), "{wrong}");
    }
    assert_eq!(api.post(COMMAND, &[]).await.status, StatusCode::ACCEPTED);
    api.fake.complete(COMMAND);
    api.fake.settle("order-1");
    let unknown = "the ledger knows no such command";
    for token in [HOST, OPERATOR] {
        let refused = erase(token, "ids=order-1&by=ann&reason=r").await;
        assert_eq!(refused.problem(), (403, "forbidden"));
        assert!(refused.header("www-authenticate").unwrap().contains("scope=\"erase\""));
    }
    for (dry_run, outcome) in [(true, "erased"), (false, "erased"), (true, "already_erased")] {
        let answer =
            erase(ERASER, &format!("ids=nobody,order-1&by=ann&reason=r&dry_run={dry_run}")).await;
        let expected = json!({ "dry_run": dry_run, "commands": [
            { "id": "nobody", "state": null, "outcome": "kept", "reason": unknown },
            { "id": "order-1", "state": "completed", "outcome": outcome },
        ]});
        assert_eq!((answer.status, &answer.body), (StatusCode::OK, &expected));
    }
    let story = api.get("/v1/commands/order-1").await;
    assert_eq!(
        story.body["removal"]["erased"]["actor"],
        json!({ "by": "ann via api:privacy", "reason": "r" })
    );
    erase(ERASER, "reference=order%201&reason=r").await;
    let filters = api.fake.filters.lock().unwrap();
    assert_eq!(filters.last().unwrap().reference.as_deref(), Some("order 1"));
}

#[tokio::test]
async fn by_an_id_what_was_refused_under_it_is_meant_and_named_within_the_scope_of_the_token_alone()
{
    let api = TestApi::new();
    let refused = api.fake.refuse(COMMAND);
    for (token, named) in [(ERASER, refused.as_str()), (STRANGE_ERASER, "order-1")] {
        let authorization = bearer(token);
        let headers = [("authorization", authorization.as_str())];
        let path = "/v1/erasures?ids=order-1&reason=r&dry_run=true";
        let answer = api.send(request(Method::POST, path, &headers, "")).await;
        let ids: Vec<_> = answer.body["commands"]
            .as_array()
            .unwrap()
            .iter()
            .map(|command| &command["id"])
            .collect();
        assert_eq!(ids, [named], "{token}");
    }
}

#[tokio::test]
async fn a_cancel_names_the_person_and_the_token() {
    let api = TestApi::new();
    for (query, by) in [("by=ann&reason=r", "ann via api:shop"), ("", "api:shop")] {
        api.ask(Method::DELETE, &format!("/v1/commands/order-1?{query}"), &[], "").await;
        assert_eq!(api.fake.cancelled.lock().unwrap().pop().unwrap().1.by, by);
    }
}
