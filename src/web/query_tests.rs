use serde_json::json;

use super::super::query_string::write_query;
use super::*;
use ferryd_domain::lifecycle::LifecycleState;

type ReadQuery = (CommandFilter, PageQuery, CommandListQuery);

fn read(text: &str) -> Result<ReadQuery, ApiProblem> {
    let mut query = QueryParameters::read(Some(text))?;
    let query_parts = (query.filter()?, query.take()?, query.take()?);
    query.finish()?;
    Ok(query_parts)
}

#[test]
fn every_filter_is_read_and_written() {
    let query_parts = read(
        "ids=a,b&provider=stripe&account=default&type=payment&operation=charge&reference=order%201&state=failed&kind=declined\
         &code=card%2Fx&http_status=402&generation=1&older_than=2026-11-24T00:00:00Z&newer_than=2026-01-31T12:00:00Z\
         &dead=true&cancel_requested=true&conflicts=true&limit=7&cursor=1f.0a1b2c3d.order-1",
    );
    let filter = CommandFilter {
        ids: ["a", "b"].map(|id| id.parse().unwrap()).into(),
        r#type: Some("payment".parse().unwrap()),
        provider: Some("stripe".parse().unwrap()),
        account: Some("default".parse().unwrap()),
        operation: Some("charge".parse().unwrap()),
        reference: Some("order 1".to_owned()),
        state: Some(LifecycleState::Failed),
        kind: Some(ferryd_domain::lifecycle::FailureKind::Declined.into()),
        code: Some("card/x".to_owned()),
        http_status: Some(402),
        generation: Some(1),
        older_than: Some("2026-11-24T00:00:00Z".parse().unwrap()),
        newer_than: Some("2026-01-31T12:00:00Z".parse().unwrap()),
        conflicts: true,
        ..CommandFilter::default()
    };
    let page = PageQuery { limit: 7, cursor: "1f.0a1b2c3d.order-1".parse().ok() };
    let list = CommandListQuery { dead: true, cancel_requested: true };
    let query_parts = query_parts.unwrap();
    assert_eq!(query_parts, (filter, page, list));
    let written =
        [write_query(&query_parts.0), write_query(&query_parts.1), write_query(&query_parts.2)]
            .map(Result::unwrap)
            .join("&");
    assert_eq!(read(&written).unwrap(), query_parts, "{written}");
    assert_eq!(read("").unwrap(), ReadQuery::default());
    assert_eq!(write_query(&CommandFilter::default()).unwrap(), "");
    assert!(write_query(&json!("text")).is_err());
}

#[test]
fn what_can_not_be_read_is_named_with_what_it_means() {
    for (text, name, words) in [
        ("provider=Stripe", "provider", "use a lower-case letter"),
        ("state=done", "state", "Only those in this state: pending"),
        ("kind=sad", "kind", "known are declined"),
        ("kind=unreadable", "kind", "`ferryd dead-letters list --queues --kind unreadable`"),
        ("ids=a,no%20id", "ids", "no id"),
        ("http_status=many", "http_status", "no number"),
        ("older_than=yesterday", "older_than", "as 36h"),
        ("dead=yes", "dead", "neither `true` nor `false`"),
        ("conflicts=yes", "conflicts", "neither `true` nor `false`"),
        ("limit=0", "limit", "from 1 to 1000"),
        ("limit=1001", "limit", "from 1 to 1000"),
        ("limit=x", "limit", "from 1 to 1000"),
        ("cursor=x", "cursor", "the page before"),
        ("provder=stripe", "provder", "/openapi.json"),
        ("state=failed&state=completed", "state", "write it once"),
    ] {
        let problem = read(text).unwrap_err();
        assert_eq!(problem.kind, ProblemKind::InvalidRequest, "{text}");
        let problem = format!("{problem:?}");
        assert!(
            problem.contains(&format!("`{name}`")) && problem.contains(words),
            "{text}: {problem}"
        );
    }
}
