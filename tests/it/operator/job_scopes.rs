//! Tests which tokens start, see and stop a job.

use std::collections::BTreeSet;

use ferryd_domain::lifecycle::FailureKind;
use serde_json::{Value, json};

use super::job_bench::{DEAD, end, publish_dead_commands, publish_dead_letters, reason, start};
use super::operator_bench::{letter_of, numbered};
use crate::api_client::TestClient;
use crate::rig::{SandboxFile, TestRig};

#[tokio::test]
async fn a_token_with_a_scope_starts_and_sees_jobs_within_it() {
    let config = r#"
[[api.tokens]]
name = "narrow"
token = "narrow-token-0123456789abcdef0123456789"
role = "operate"
operate = { providers = ["bank"] }
read = { providers = ["bank"] }
"#;
    let rig = TestRig::with(
        config,
        &[("acme", SandboxFile::default()), ("bank", SandboxFile::default())],
    )
    .await;
    let daemon = rig.start().await;
    let host = TestClient::of(&daemon).await;
    let narrow = TestClient::without_token(&daemon).await;
    let narrow = narrow.with("authorization", "Bearer narrow-token-0123456789abcdef0123456789");
    publish_dead_commands(&rig, &numbered("order", 3), &json!({})).await;
    publish_dead_letters(
        &rig,
        &[letter_of("within", "payment", "bank", "charge", FailureKind::Unavailable)],
        &json!({}),
    )
    .await;
    let order = json!({ "action": "discard", "all": true, "reason": "test" });
    let path = start(&narrow, &order).await;
    let job = end(&narrow, &path).await;
    assert_eq!(
        (reason(&job), &job["done"]),
        ("finished", &json!(1)),
        "nothing of another provider: {job}"
    );
    assert_eq!(rig.terminal("within").await["data"]["error"]["kind"], "discarded");
    rig.broker.await_depth(DEAD, 3).await;
    assert_eq!(job["spec"]["actor"]["by"], "api:narrow");
    let other = start(&host, &order).await;
    end(&host, &other).await;
    assert_eq!(narrow.get(&other).await.status, 404);
    assert_eq!(narrow.ask("POST", &format!("{other}/stop"), "").await.status, 404);
    let listed = |body: &Value| {
        let jobs = body["jobs"].as_array().unwrap().iter();
        jobs.map(|job| format!("/v1/jobs/{}", job["id"].as_str().unwrap())).collect::<BTreeSet<_>>()
    };
    assert_eq!(listed(&narrow.get("/v1/jobs").await.body), [path.clone()].into());
    let first = host.get("/v1/jobs?limit=1").await.body;
    let next = host.get(&format!("/v1/jobs?cursor={}", first["next"].as_str().unwrap())).await.body;
    assert_eq!(
        (listed(&first), listed(&next), &next["next"]),
        ([other].into(), [path].into(), &Value::Null)
    );
}

#[tokio::test]
async fn whoever_may_operate_what_a_job_covers_sees_it_and_nobody_else_but_who_may_see_that() {
    let token = |name: &str, role: &str, operate: &str, read: &str| {
        format!(
            "[[api.tokens]]\nname = '{name}'\ntoken = '{name}-token-0123456789abcdef'\nrole = '{role}'\n\
             operate = {{ providers = ['{operate}'] }}\nread = {{ providers = ['{read}'] }}\n"
        )
    };
    let config = [
        token("split", "operate", "bank", "acme"),
        token("other", "operate", "acme", "acme"),
    ]
    .concat()
        + "[[api.tokens]]\nname = 'graph'\ntoken = 'graph-token-0123456789abcdef'\nrole = 'read'\n\
           read = { providers = ['bank'] }\n";
    let rig = TestRig::with(
        &config,
        &[("acme", SandboxFile::default()), ("bank", SandboxFile::default())],
    )
    .await;
    let daemon = rig.start().await;
    let (bare, host) = (TestClient::without_token(&daemon).await, TestClient::of(&daemon).await);
    let [split, other, graph] = ["split", "other", "graph"]
        .map(|name| bare.with("authorization", &format!("Bearer {name}-token-0123456789abcdef")));
    split.wait_ready().await;
    let order = |filter: Value| json!({ "action": "discard", "filter": filter, "reason": "test", "rate": 0.01 });
    let all = json!({ "action": "discard", "all": true, "reason": "test" });
    let of_split = start(&split, &all).await;
    let of_bank = start(&host, &order(json!({ "provider": "bank" }))).await;
    let of_everything = start(&host, &order(json!({ "operation": "charge" }))).await;
    for (path, seen) in [(&of_split, true), (&of_bank, true), (&of_everything, false)] {
        for (client, sees) in [(&split, seen), (&other, false), (&graph, seen), (&host, true)] {
            assert_eq!(client.get(path).await.status, if sees { 200 } else { 404 }, "{path}");
            let listed = client
                .get("/v1/jobs")
                .await
                .body
                .to_string()
                .contains(path.rsplit('/').next().unwrap());
            assert_eq!(listed, sees, "{path}");
        }
        let stop = async |client: &TestClient| {
            client.ask("POST", &format!("{path}/stop"), "").await.status
        };
        assert_eq!((stop(&other).await, stop(&graph).await), (404, 403), "{path}");
        assert_eq!(stop(&split).await, if seen { 200 } else { 404 }, "{path}");
    }
}
