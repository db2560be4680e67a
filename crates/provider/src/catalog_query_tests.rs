//! Tests the polls and lookups of the catalog's providers: the requests, and the meaning of their
//! answers.

use std::time::Duration;

use serde_json::{Value, json};

use super::catalog_tests::provider;
use super::fixture::{command, reply};
use super::{CallContext, Provider, catalog};
use ferryd_domain::http_call::CallResult;
use ferryd_domain::outcome::{LookupOutcome, PollOutcome};
use ferryd_domain::query::QueryPurpose;
use ferryd_redact::Mask;

/// A query of the catalog's about the payload's command, and the meaning of an answer to it.
fn ask(
    provider: &Provider,
    operation: &str,
    payload: &Value,
    purpose: QueryPurpose,
    answer: &Value,
) -> (String, String) {
    let command = command(operation, payload);
    let call = CallContext {
        command: &command,
        key: None,
        generation: 0,
        attempt: 1,
        provider_reference: Some("ref_1"),
        webhook_url: None,
        command_token: "T",
        in_doubt: false,
    };
    let request = provider.default_account().unwrap().adapter.build_query(&call, purpose).unwrap();
    let answer = CallResult::Reply(reply(200, answer));
    let meaning = match purpose {
        QueryPurpose::Poll => {
            match provider
                .default_account()
                .unwrap()
                .adapter
                .interpret_poll(&call, &answer)
                .masked(&Mask::default())
            {
                PollOutcome::Completed(_) => "completed",
                PollOutcome::Declined(_) => "declined",
                PollOutcome::Still(_) => "still",
            }
        }
        QueryPurpose::Lookup => {
            match provider
                .default_account()
                .unwrap()
                .adapter
                .interpret_lookup(&call, &answer)
                .masked(&Mask::default())
            {
                LookupOutcome::Found(outcome) => outcome.outcome_name().as_str(),
                LookupOutcome::Absent(_) => "not_found",
                LookupOutcome::Unclear(_) => "unclear",
            }
        }
    };
    (format!("{} {}", request.method.as_str(), request.url), meaning.to_owned())
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of variants")]
fn the_catalogs_queries_about_accepted_and_doubtful_commands_are_read() {
    use QueryPurpose::{Lookup, Poll};
    const INTENT: &str = "GET https://api.stripe.com/v1/payment_intents/ref_1";
    const SEARCH: &str = "GET https://api.stripe.com/v1/payment_intents/search?query=metadata%5B%27ferry_token%27%5D%3A%27T%27&limit=2";
    const REFUND: &str = "GET https://api.stripe.com/v1/refunds/ref_1";
    const ORDER: &str = "GET https://api-m.paypal.com/v2/checkout/orders/ref_1";
    const TRACKER: &str = "GET https://api.easypost.com/v2/trackers/ref_1";
    const TRACKERS: &str =
        "GET https://api.easypost.com/v2/trackers?tracking_code=9400&page_size=1";
    const SHIPMENT: &str = "GET https://api.easypost.com/v2/shipments/shp_1";
    let confirmed = json!({"amount": 1099, "currency": "eur", "confirm": true});
    let alone = json!({"amount": 1099, "currency": "eur", "confirm": true, "off_session": true});
    let failed = |code: &str| json!({"id": "pi_1", "status": "requires_payment_method", "last_payment_error": {"code": code}});
    let refund = json!({"payment_intent": "pi_1"});
    let order = json!({"amount": 1099, "currency": "EUR"});
    let track = json!({"tracking_code": "9400"});
    let paid = |status: &str| json!({"id": "5O1", "status": "COMPLETED", "purchase_units": [{"payments": {"captures": [{"status": status}]}}]});
    let buy = json!({"shipment_id": "shp_1", "rate_id": "rate_1"});
    let one = |status: &str| json!({"data": [{"id": "pi_1", "status": status, "metadata": {"ferry_token": "T"}}]});
    let bought = |rate: &str| json!({"id": "shp_1", "postage_label": {"label_url": "https://x"}, "selected_rate": {"id": rate}});
    let table = [
        (
            "charge",
            Poll,
            &confirmed,
            json!({"id": "pi_1", "status": "succeeded"}),
            INTENT,
            "completed",
        ),
        (
            "charge",
            Poll,
            &confirmed,
            json!({"id": "pi_1", "status": "processing"}),
            INTENT,
            "still",
        ),
        (
            "charge",
            Poll,
            &confirmed,
            json!({"id": "pi_1", "status": "requires_action"}),
            INTENT,
            "still",
        ),
        (
            "charge",
            Poll,
            &confirmed,
            json!({"id": "pi_1", "status": "requires_payment_method"}),
            INTENT,
            "declined",
        ),
        (
            "charge",
            Poll,
            &confirmed,
            json!({"id": "pi_1", "status": "canceled"}),
            INTENT,
            "declined",
        ),
        (
            "charge",
            Poll,
            &confirmed,
            failed("payment_intent_authentication_failure"),
            INTENT,
            "still",
        ),
        (
            "charge",
            Poll,
            &alone,
            failed("payment_intent_authentication_failure"),
            INTENT,
            "declined",
        ),
        (
            "charge",
            Poll,
            &confirmed,
            failed("payment_intent_payment_attempt_failed"),
            INTENT,
            "declined",
        ),
        ("charge", Lookup, &confirmed, one("succeeded"), SEARCH, "completed"),
        ("charge", Lookup, &confirmed, one("processing"), SEARCH, "waiting"),
        ("charge", Lookup, &confirmed, one("canceled"), SEARCH, "declined"),
        ("charge", Lookup, &confirmed, json!({"data": []}), SEARCH, "unclear"),
        (
            "charge",
            Lookup,
            &confirmed,
            json!({"data": [{"id": "pi_1"}, {"id": "pi_2"}]}),
            SEARCH,
            "unclear",
        ),
        (
            "refund",
            Poll,
            &refund,
            json!({"id": "re_1", "status": "succeeded"}),
            REFUND,
            "completed",
        ),
        ("refund", Poll, &refund, json!({"id": "re_1", "status": "pending"}), REFUND, "still"),
        ("refund", Poll, &refund, json!({"id": "re_1", "status": "failed"}), REFUND, "declined"),
        ("track", Poll, &track, json!({"id": "trk_1", "status": "in_transit"}), TRACKER, "still"),
        (
            "track",
            Poll,
            &track,
            json!({"id": "trk_1", "status": "delivered"}),
            TRACKER,
            "completed",
        ),
        ("track", Poll, &track, json!({"id": "trk_1", "status": "failure"}), TRACKER, "declined"),
        (
            "track",
            Lookup,
            &track,
            json!({"trackers": [{"id": "trk_1", "status": "unknown"}]}),
            TRACKERS,
            "waiting",
        ),
        ("track", Lookup, &track, json!({"trackers": []}), TRACKERS, "unclear"),
        ("create_order", Poll, &order, paid("PENDING"), ORDER, "still"),
        ("create_order", Poll, &order, paid("COMPLETED"), ORDER, "completed"),
        ("create_order", Poll, &order, paid("DECLINED"), ORDER, "declined"),
        ("buy", Lookup, &buy, bought("rate_1"), SHIPMENT, "completed"),
        ("buy", Lookup, &buy, bought("rate_2"), SHIPMENT, "unclear"),
        ("buy", Lookup, &buy, json!({"id": "shp_1", "postage_label": null}), SHIPMENT, "unclear"),
    ];
    for (operation, purpose, payload, answer, url, meaning) in table {
        let provider = provider(match operation {
            "buy" | "track" => "easypost",
            "create_order" => "paypal",
            _ => "stripe",
        });
        let (request, read) = ask(&provider, operation, payload, purpose, &answer);
        assert_eq!(
            (request.as_str(), read.as_str()),
            (url, meaning),
            "{operation} {purpose:?} {answer}"
        );
    }
}

#[test]
fn a_payment_is_found_by_its_token_alone_where_one_was_sent() {
    const BY_ID: &str = "metadata['ferryd_command_id']:'c1'";
    const BY_TOKEN: &str = "metadata['ferry_token']:'T'";
    let stripe = provider("stripe");
    let command = command("charge", &json!({"amount": 1099, "currency": "eur", "confirm": true}));
    let found = |token: Value| json!({"data": [{"id": "pi_1", "status": "succeeded", "metadata": {"ferryd_command_id": "c1", "ferry_token": token}}]});
    for (token, answer, query, is_found) in [
        ("T", found(json!("T")), BY_TOKEN, true),
        ("T", found(json!("U")), BY_TOKEN, false),
        ("T", found(json!(null)), BY_TOKEN, false),
        // No token was sent, so anybody who knows the id could have made the payment.
        ("", found(json!("")), BY_ID, false),
        ("", found(json!(null)), BY_ID, false),
    ] {
        let call = CallContext {
            command: &command,
            key: None,
            generation: 0,
            attempt: 1,
            provider_reference: None,
            webhook_url: None,
            command_token: token,
            in_doubt: false,
        };
        let adapter = &stripe.default_account().unwrap().adapter;
        let request = adapter.build_query(&call, QueryPurpose::Lookup).unwrap();
        let (_, request) = request.url.query_pairs().find(|(name, _)| name == "query").unwrap();
        assert_eq!(request, query, "{token:?}");
        let looked_up = adapter
            .interpret_lookup(&call, &CallResult::Reply(reply(200, &answer)))
            .masked(&Mask::default());
        assert_eq!(matches!(looked_up, LookupOutcome::Found(_)), is_found, "{token:?} {answer}");
    }
}

#[test]
fn the_catalog_promises_only_what_the_providers_document_about_queries() {
    let days = |days: u64| Duration::from_hours(24 * days);
    let table = [
        // provider, operation, deadline in days, whether it is polled, whether it is looked up
        ("stripe", "charge", 21, true, true),
        ("stripe", "refund", 50, true, true),
        ("stripe", "cancel", 7, false, false),
        ("stripe", "retrieve", 7, false, false),
        ("twilio", "send_sms", 7, false, false),
        ("twilio", "fetch", 7, false, false),
        ("easypost", "create_shipment", 7, false, false),
        ("easypost", "buy", 7, false, true),
        ("easypost", "track", 45, true, true),
        ("paypal", "create_order", 10, true, false),
        ("paypal", "capture", 10, true, true),
        ("adyen", "charge", 14, false, false),
        ("adyen", "refund", 14, false, false),
        ("sendgrid", "send_mail", 7, false, false),
        ("slack", "post_message", 7, false, false),
    ];
    for (name, operation, deadline, polled, looked_up) in table {
        let operation = &provider(name).operations[&operation.parse().unwrap()];
        assert_eq!(
            (operation.deadline, operation.poll.is_some()),
            (days(deadline), polled),
            "{name}"
        );
        assert_eq!(operation.lookup.is_some(), looked_up, "{name}");
        assert!(
            operation.lookup.is_none_or(|lookup| !lookup.proves_absence),
            "{name}: none of them proves absence"
        );
    }
    let of_catalog: usize = catalog::names().map(|name| provider(name).operations.len()).sum();
    assert_eq!(of_catalog, table.len(), "every operation is in the table");
}

#[test]
fn a_payment_that_stripe_cancels_is_named_by_its_command() {
    let table = [
        ("cancel", json!({"payment_intent": "pi_1"}), Some("pi_1")),
        ("retrieve", json!({"payment_intent": "pi_1"}), None),
    ];
    for (operation, payload, expected) in table {
        let (provider, command) = (provider("stripe"), command(operation, &payload));
        let call = CallContext {
            command: &command,
            key: None,
            generation: 0,
            attempt: 1,
            provider_reference: None,
            webhook_url: None,
            command_token: "",
            in_doubt: false,
        };
        let affected = provider.default_account().unwrap().adapter.affected_reference(&call);
        assert_eq!(affected.as_deref(), expected, "{operation}");
    }
}

#[test]
fn a_refund_that_stripe_has_paid_already_is_somebody_elses_unless_an_earlier_call_may_have_made_it()
{
    let (stripe, command) =
        (provider("stripe"), command("refund", &json!({"payment_intent": "pi_1"})));
    let adapter = &stripe.default_account().unwrap().adapter;
    let call = |in_doubt| CallContext {
        command: &command,
        key: None,
        generation: 0,
        attempt: 2,
        provider_reference: None,
        webhook_url: None,
        command_token: "T",
        in_doubt,
    };
    let refused =
        CallResult::Reply(reply(400, &json!({"error": {"code": "charge_already_refunded"}})));
    for (in_doubt, expected) in [(false, "declined"), (true, "lookup")] {
        let outcome = adapter.interpret_reply(&call(in_doubt), &refused).masked(&Mask::default());
        assert_eq!(outcome.outcome_name().as_str(), expected, "{in_doubt}");
    }

    let request = adapter.build_query(&call(true), QueryPurpose::Lookup).unwrap();
    assert_eq!(
        request.url.as_str(),
        "https://api.stripe.com/v1/refunds?payment_intent=pi_1&limit=100"
    );
    let refund = |token: Value| json!({"id": "re_1", "status": "succeeded", "metadata": {"ferry_token": token}});
    for (refunds, is_found) in [
        (json!([refund(json!("U")), refund(json!("T"))]), true),
        (json!([refund(json!("U")), {"id": "re_2", "status": "succeeded", "metadata": {}}]), false),
        (json!([]), false),
    ] {
        let answer = CallResult::Reply(reply(200, &json!({ "data": refunds })));
        let looked_up = adapter.interpret_lookup(&call(true), &answer).masked(&Mask::default());
        assert_eq!(matches!(looked_up, LookupOutcome::Found(_)), is_found, "{refunds}");
    }
}
