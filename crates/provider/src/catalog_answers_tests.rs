//! Tests how answers of the catalog's providers are read.

use serde_json::{Value, json};

use super::catalog_tests::provider;
use super::fixture::{interpret, reply};
use ferryd_domain::outcome::{Outcome, WaitingFor};

#[test]
fn the_answers_of_stripe_are_read() {
    let stripe = provider("stripe");
    let confirmed = json!({"amount": 1099, "currency": "eur", "confirm": true});
    let charge = |payload: &Value, status: u16, body: Value| {
        interpret(&stripe, "charge", payload, reply(status, &body))
    };
    let Outcome::Completed(success) =
        charge(&confirmed, 200, json!({"id": "pi_1", "status": "succeeded", "amount": 1099}))
    else {
        panic!("not completed")
    };
    assert_eq!(success.provider_reference.as_deref(), Some("pi_1"));
    assert_eq!(success.result, Some(json!({"id": "pi_1", "status": "succeeded", "amount": 1099})));
    assert_eq!(success.warnings, Vec::<String>::new());

    let waiting = charge(&confirmed, 200, json!({"id": "pi_1", "status": "requires_action"}));
    assert!(matches!(waiting, Outcome::Waiting(_, WaitingFor::Customer)), "{waiting:?}");
    let waiting = charge(&confirmed, 200, json!({"id": "pi_1", "status": "processing"}));
    assert!(matches!(waiting, Outcome::Waiting(_, WaitingFor::Provider)), "{waiting:?}");

    let declined = json!({"error": {"type": "card_error", "code": "card_declined", "message": "Your card was declined."}});
    let Outcome::Declined(failure) = charge(&confirmed, 402, declined) else {
        panic!("not declined")
    };
    assert_eq!(failure.code.as_deref(), Some("card_declined"));
    assert_eq!(failure.message, "Your card was declined.");
    assert_eq!(failure.http_status, Some(402));

    let unconfirmed = json!({"amount": 1099, "currency": "eur"});
    let table = [
        (
            &unconfirmed,
            200,
            json!({"id": "pi_1", "status": "requires_payment_method"}),
            "completed",
        ),
        (&confirmed, 200, json!({"id": "pi_1", "status": "requires_payment_method"}), "declined"),
        (&confirmed, 200, json!({"id": "pi_1", "status": "something_new"}), "unknown"),
        (&confirmed, 200, json!("<html>"), "unknown"),
        (&confirmed, 409, json!({"error": {"code": "idempotency_key_in_use"}}), "transient"),
        (&confirmed, 429, json!({}), "transient"),
        (&confirmed, 500, json!({}), "unknown"),
        (&confirmed, 400, json!({"error": {"message": "No such customer"}}), "rejected"),
        (&confirmed, 401, json!({}), "rejected"),
    ];
    for (payload, status, body, expected) in table {
        assert_eq!(
            charge(payload, status, body.clone()).outcome_name().as_str(),
            expected,
            "{status} {body}"
        );
    }
}

#[test]
fn the_answers_of_twilio_and_easypost_are_read() {
    let sms = json!({"to": "+49", "from": "+1", "body": "x"});
    let shipment = json!({"to_address": {}, "from_address": {}, "parcel": {}});
    let buy = json!({"shipment_id": "shp_1", "rate_id": "rate_1"});
    let table = [
        (
            "twilio",
            "send_sms",
            &sms,
            201,
            json!({"sid": "SM1", "status": "queued"}),
            "completed",
            None,
        ),
        (
            "twilio",
            "send_sms",
            &sms,
            400,
            json!({"code": 21211, "message": "Invalid 'To'"}),
            "declined",
            Some("21211"),
        ),
        (
            "twilio",
            "send_sms",
            &sms,
            400,
            json!({"code": 21611, "message": "queue"}),
            "transient",
            Some("21611"),
        ),
        (
            "twilio",
            "send_sms",
            &sms,
            400,
            json!({"code": 21604, "message": "no To"}),
            "rejected",
            Some("21604"),
        ),
        ("twilio", "send_sms", &sms, 503, json!({}), "unknown", Some("http_503")),
        (
            "easypost",
            "create_shipment",
            &shipment,
            201,
            json!({"id": "shp_1", "rates": [{"id": "r", "x": 1}]}),
            "completed",
            None,
        ),
        (
            "easypost",
            "create_shipment",
            &shipment,
            422,
            json!({"error": {"code": "ADDRESS.VERIFY.FAILURE"}}),
            "declined",
            Some("ADDRESS.VERIFY.FAILURE"),
        ),
        (
            "easypost",
            "buy",
            &buy,
            200,
            json!({"id": "shp_1", "postage_label": {"label_url": "https://x"}}),
            "completed",
            None,
        ),
        ("easypost", "buy", &buy, 200, json!({"id": "shp_1"}), "unknown", Some("http_200")),
    ];
    for (name, operation, payload, status, body, expected, code) in table {
        let outcome = interpret(&provider(name), operation, payload, reply(status, &body));
        assert_eq!(outcome.outcome_name().as_str(), expected, "{name} {operation} {status} {body}");
        assert_eq!(
            outcome.failure().and_then(|failure| failure.code.as_deref()),
            code,
            "{name} {operation} {body}"
        );
        if let Outcome::Completed(success) = outcome {
            assert_eq!(success.warnings, Vec::<String>::new(), "{name} {operation}");
        }
    }
}
