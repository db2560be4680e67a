//! Tests the routes and commands that each token may use.

use axum::http::{Method, StatusCode};
use serde_json::json;

use super::commands::CommandServiceState;
use super::operation::RouteAccess;
use super::route::ApiRoute;
use super::test_client::{
    COMMAND, ERASER, HOST, NEIGHBOUR, OPERATOR, READER, STRANGER, TestApi, bearer, path_of,
    request, scope_of,
};
use crate::config::TokenRole;

#[tokio::test]
async fn who_has_which_token_may_use_which_route() {
    let api = TestApi::new();
    let refused = [
        None,
        Some("Bearer wrong"),
        Some("Bearer "),
        Some("Basic b3BlcmF0b3I6eA=="),
        Some(OPERATOR),
    ];
    for route in ApiRoute::ALL {
        let send = async |authorization: Option<&str>| {
            let headers: Vec<_> =
                authorization.map(|value| ("authorization", value)).into_iter().collect();
            api.send(request(route.method(), &path_of(route), &headers, "")).await
        };
        let open = route.required_access() == RouteAccess::Nothing;
        let mut bodies = Vec::new();
        for authorization in refused {
            let answer = send(authorization).await;
            assert_eq!(
                answer.status == StatusCode::UNAUTHORIZED,
                !open,
                "{route:?} {authorization:?}"
            );
            if !open {
                assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"ferryd\""));
                assert_eq!(answer.problem(), (401, "unauthorized"));
                bodies.push(answer.body);
            }
        }
        bodies.dedup();
        assert!(bodies.len() <= 1, "a wrong token is distinguished from a missing one: {bodies:?}");
        let reading = send(Some(&bearer(READER))).await;
        let reads =
            !matches!(route.required_access(), RouteAccess::Token(role) if role != TokenRole::Read);
        assert_eq!(reading.status == StatusCode::FORBIDDEN, !reads, "{route:?}");
        let operating = send(Some(&bearer(OPERATOR))).await;
        let operates = route.required_access() != RouteAccess::Token(TokenRole::Erase);
        assert_eq!(
            ![401, 403].contains(&operating.status.as_u16()),
            operates,
            "{route:?} {}",
            operating.status
        );
        let erasing = send(Some(&bearer(ERASER))).await;
        let erases = reads || !operates;
        assert_eq!(
            ![401, 403].contains(&erasing.status.as_u16()),
            erases,
            "{route:?} {}",
            erasing.status
        );
    }
    assert_eq!(api.fake.published(), 0);
}

#[tokio::test]
async fn the_token_of_the_host_may_operate_wherever_the_request_is_meant_for() {
    let api = TestApi::new();
    let authorization = bearer(HOST);
    for host in ["localhost:8420", "ferryd.example"] {
        let headers = [("host", host), ("authorization", authorization.as_str())];
        let cancel = api.send(request(Method::DELETE, "/v1/commands/order-1", &headers, "")).await;
        assert_eq!(cancel.status.as_u16(), 200, "{host}");
        // A request from this machine has no access without a token.
        let anybody = api.send(request(Method::GET, "/v1/commands", &headers[..1], "")).await;
        assert_eq!(anybody.problem(), (401, "unauthorized"), "{host}");
    }
    assert_eq!(api.fake.cancelled.lock().unwrap()[0].1.by, "api:host");
}

#[tokio::test]
async fn a_token_is_good_for_the_commands_in_its_scope_and_others_do_not_exist_for_it() {
    let api = TestApi::new();
    assert_eq!(api.post(COMMAND, &[]).await.status, StatusCode::ACCEPTED);
    let json = ("content-type", "application/json");
    let ask = async |token: &str, route: ApiRoute, path: &str| {
        let authorization = bearer(token);
        let headers = [("authorization", authorization.as_str()), json];
        api.send(request(route.method(), path, &headers, COMMAND)).await
    };
    for (token, is_in_scope) in [(STRANGER, false), (NEIGHBOUR, true)] {
        for route in ApiRoute::ALL {
            let path = path_of(route);
            let answer = ask(token, route, &path).await;
            match route {
                ApiRoute::Livez | ApiRoute::Readyz | ApiRoute::OpenApi => {
                    assert!(answer.status.is_success(), "{route:?}");
                }
                ApiRoute::Submit if is_in_scope => assert_eq!(answer.status, StatusCode::ACCEPTED),
                ApiRoute::Submit | ApiRoute::Erase | ApiRoute::Erasures => {
                    assert_eq!(answer.problem(), (403, "forbidden"), "{route:?}");
                }
                ApiRoute::Command | ApiRoute::Cancel | ApiRoute::Exchanges if is_in_scope => {
                    assert_eq!(answer.status, StatusCode::OK, "{route:?}");
                }
                ApiRoute::Lookup if is_in_scope => {
                    assert_eq!(answer.problem(), (409, "nothing-to-ask"));
                }
                ApiRoute::Command
                | ApiRoute::Cancel
                | ApiRoute::Exchanges
                | ApiRoute::Lookup
                | ApiRoute::DeadLetter => {
                    assert_eq!(answer.problem(), (404, "unknown-command"), "{route:?}");
                    let unheard = ask(token, route, &path.replace("order-1", "order-2")).await;
                    let same = unheard.body.to_string().replace("order-2", "order-1");
                    assert_eq!(answer.body.to_string(), same, "{route:?}");
                }
                // Tested in `tests/it/operator/jobs.rs`: the fake has no jobs.
                ApiRoute::Jobs => assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR),
                ApiRoute::StartJob
                | ApiRoute::Job
                | ApiRoute::PauseJob
                | ApiRoute::ResumeJob
                | ApiRoute::StopJob => {
                    assert_eq!(answer.problem(), (400, "invalid-request"), "{route:?}");
                }
                ApiRoute::Commands | ApiRoute::DeadLetters | ApiRoute::Groups => {
                    let filter = api.fake.filters.lock().unwrap().pop().unwrap();
                    assert_eq!(filter.scope, scope_of(token), "{route:?}");
                }
            }
        }
    }
    assert_eq!(api.fake.published(), 2);
    let cancelled = || {
        api.fake
            .cancelled
            .lock()
            .unwrap()
            .iter()
            .map(|(_, person)| person.by.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(cancelled(), ["api:neighbour"]);
    // A command that is still to come could be outside of the scope.
    for (token, status) in [(NEIGHBOUR, 404), (STRANGER, 404), (OPERATOR, 200)] {
        let answer = ask(token, ApiRoute::Cancel, "/v1/commands/to-come").await;
        assert_eq!(answer.status.as_u16(), status, "{token}");
    }
    assert_eq!(cancelled(), ["api:neighbour", "api:shop"]);
    // During an outage no command is reported as unknown, whether outside of the scope or not
    // recorded.
    api.fake.stand(CommandServiceState::BrokerAway);
    for (token, path, problem) in [
        (STRANGER, "/v1/commands/order-1", (503, "broker-away")),
        (STRANGER, "/v1/commands/to-come", (503, "broker-away")),
        (NEIGHBOUR, "/v1/commands/to-come", (503, "broker-away")),
    ] {
        assert_eq!(ask(token, ApiRoute::Command, path).await.problem(), problem, "{token} {path}");
    }
    assert_eq!(
        ask(NEIGHBOUR, ApiRoute::Command, "/v1/commands/order-1").await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn the_status_of_an_id_lists_the_messages_refused_under_it_within_the_scope_of_the_token() {
    let api = TestApi::new();
    let refused = api.fake.refuse(COMMAND);
    let expected = json!([{
        "id": refused, "at": "1970-01-01T00:00:00Z", "code": "unknown_account", "message": "there is no account `mars`",
    }]);
    for (token, path, expected) in [
        (OPERATOR, "/v1/commands/order-1", Some(&expected)),
        (READER, "/v1/commands/order-1", Some(&expected)),
        (NEIGHBOUR, "/v1/commands/order-1", Some(&expected)),
        (STRANGER, "/v1/commands/order-1", None),
        (OPERATOR, "/v1/commands/order-10", None),
        (OPERATOR, "/v1/commands/order", None),
    ] {
        let answer =
            api.send(request(Method::GET, path, &[("authorization", &bearer(token))], "")).await;
        assert_eq!(answer.problem(), (404, "unknown-command"), "{token} {path}");
        assert_eq!(answer.body.get("refused"), expected, "{token} {path}");
        let detail = answer.body["detail"].as_str().unwrap();
        assert_eq!(detail.contains("refused"), expected.is_some(), "{detail}");
    }
    let path = format!("/v1/commands/{}", refused.as_str().replace('/', "%2F"));
    assert_eq!(api.get(&path).await.body["code"], "unknown_account");
}
