//! Tests the meaning of webhooks of the catalog's providers, with bodies in the form that
//! their documentation gives.

use serde_json::{Value, json};

use super::fixture::{lines, parse};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::webhook::{NoticeMeaning, RawWebhook, WebhookNotice};
use ferryd_redact::Mask;

/// The one notice of a call to a catalog provider's endpoint.
fn notice(provider: &str, content_type: &str, body: &str) -> WebhookNotice {
    let mut notices = notices(provider, content_type, body);
    assert_eq!(notices.len(), 1);
    notices.remove(0)
}

fn notices(provider: &str, content_type: &str, body: &str) -> Vec<WebhookNotice> {
    let key = match provider {
        "adyen" => "000102030405060708090a0b0c0d0e0f",
        "sendgrid" => {
            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEOw376KBx+UmQ767YVql4K3Mt84Lb7yR1+bcsso7iMlKEQN+6Nh1ZjuQUJUGSfwmPqyFQ4mx/nQ6ZvmOgKc1kdQ=="
        }
        _ => "whsec_0123456789abcdef",
    };
    let secrets = format!(
        "{{ api_key = \"k\", account_sid = \"AC1\", auth_token = \"0123456789abcdef0123456789abcdef\", merchant_account = \"m\", bot_token = \"b\", \
         client_id = \"c\", client_secret = \"s\", webhook = {key:?} }}"
    );
    let file = format!("use = {provider:?}\nsecrets = {secrets}\nwebhook = {{}}\n");
    let provider = parse(&file).unwrap_or_else(|errors| panic!("{}", lines(&errors)));
    let call = RawWebhook {
        method: "POST".to_owned(),
        url: "https://hooks.example.com/webhooks/x".parse().unwrap(),
        headers: vec![("content-type".to_owned(), content_type.to_owned())],
        body: body.to_owned().into(),
        certificate: None,
    };
    provider
        .default_account()
        .unwrap()
        .webhook
        .as_ref()
        .unwrap()
        .read_notices(&call)
        .masked(&Mask::default())
        .unwrap()
}

/// The event, id, command, reference and meaning of a notice.
fn contents(notice: &WebhookNotice) -> [Option<&str>; 5] {
    let WebhookNotice { event, id, command, reference, meaning, .. } = notice;
    let command = command.as_ref().map(CommandId::as_str);
    [event.as_deref(), id.as_deref(), command, reference.as_deref(), Some(meaning.as_str())]
}

/// An event of Stripe about an object.
fn stripe(kind: &str, object: &Value) -> WebhookNotice {
    let event = json!({
        "id": "evt_1", "object": "event", "api_version": "2026-10-28.endive", "created": 1_796_112_000, "livemode": false,
        "pending_webhooks": 1, "request": {"id": null, "idempotency_key": null}, "type": kind, "data": {"object": object}
    });
    notice("stripe", "application/json; charset=utf-8", &event.to_string())
}

fn intent(status: &str) -> Value {
    json!({
        "id": "pi_1", "object": "payment_intent", "status": status, "amount": 1099, "amount_received": 1099,
        "currency": "eur", "last_payment_error": null, "metadata": {"ferryd_command_id": "shop.order-1", "order": "7"}
    })
}

fn refund(status: &str, reason: &Value) -> Value {
    json!({
        "id": "re_1", "object": "refund", "status": status, "amount": 500, "currency": "eur", "charge": "ch_1",
        "payment_intent": "pi_1", "failure_reason": reason, "metadata": {"ferryd_command_id": "shop.order-1"}
    })
}

#[test]
fn payments_of_stripe_end_charges_by_success_alone() {
    for (kind, status, meaning) in [
        ("payment_intent.succeeded", "succeeded", "completed"),
        ("payment_intent.amount_capturable_updated", "requires_capture", "completed"),
        ("payment_intent.amount_capturable_updated", "canceled", "nothing"),
        ("payment_intent.processing", "processing", "progress"),
        ("payment_intent.requires_action", "requires_action", "progress"),
        ("payment_intent.partially_funded", "requires_action", "nothing"),
        ("payment_intent.payment_failed", "requires_payment_method", "progress"),
        ("payment_intent.canceled", "canceled", "nothing"),
        ("payment_intent.created", "requires_confirmation", "nothing"),
    ] {
        let notice = stripe(kind, &intent(status));
        let expected =
            [Some(kind), Some("evt_1"), Some("shop.order-1"), Some("pi_1"), Some(meaning)];
        assert_eq!(contents(&notice), expected);
    }
    let NoticeMeaning::Completed(success) =
        stripe("payment_intent.succeeded", &intent("succeeded")).meaning
    else {
        panic!("not completed")
    };
    let result = json!({"id": "pi_1", "status": "succeeded", "amount": 1099, "amount_received": 1099, "currency": "eur"});
    assert_eq!(
        (success.result, success.provider_reference.as_deref()),
        (Some(result), Some("pi_1"))
    );
    assert_eq!(success.warnings, Vec::<String>::new());
}

#[test]
fn the_token_beside_the_id_is_read_where_ferryd_wrote_both() {
    let token = |notice: WebhookNotice| notice.token;
    let with = |mut object: Value| {
        object["metadata"]["ferry_token"] = json!("T");
        object
    };
    let proven = Some("T".to_owned());
    assert_eq!(token(stripe("payment_intent.succeeded", &with(intent("succeeded")))), proven);
    let charge =
        json!({"id": "ch_1", "object": "charge", "payment_intent": "pi_1", "metadata": {}});
    assert_eq!(token(stripe("charge.succeeded", &with(charge))), proven);
    // The refund's metadata belong to the caller.
    assert_eq!(token(stripe("refund.updated", &with(refund("succeeded", &json!(null))))), None);
    assert_eq!(token(stripe("payment_intent.succeeded", &intent("succeeded"))), None);
    let metadata = json!({"additionalData": {"metadata.ferry_token": "T"}});
    assert_eq!(token(adyen("AUTHORISATION", "true", &metadata)), proven);
    assert_eq!(token(adyen("AUTHORISATION", "true", &json!({}))), None);
    assert_eq!(token(adyen("REFUND", "true", &metadata)), None);
    let mail = json!([{"event": "bounce", "sg_event_id": "e", "command_id": "shop.order-1", "ferry_token": "T"}]);
    assert_eq!(token(notice("sendgrid", "application/json", &mail.to_string())), proven);
}

#[test]
fn refunds_of_stripe_end_by_their_own_reference_whatever_their_metadata_say() {
    for (kind, status, reason, meaning, code) in [
        ("refund.created", "pending", json!(null), "nothing", None),
        ("refund.updated", "pending", json!(null), "nothing", None),
        ("refund.updated", "requires_action", json!(null), "nothing", None),
        ("refund.updated", "succeeded", json!(null), "completed", None),
        ("charge.refund.updated", "succeeded", json!(null), "completed", None),
        (
            "charge.refund.updated",
            "failed",
            json!("lost_or_stolen_card"),
            "declined",
            Some("lost_or_stolen_card"),
        ),
        ("refund.failed", "failed", json!("declined"), "declined", Some("declined")),
        ("refund.updated", "canceled", json!(null), "declined", Some("canceled")),
    ] {
        let notice = stripe(kind, &refund(status, &reason));
        assert_eq!(
            contents(&notice),
            [Some(kind), Some("evt_1"), None, Some("re_1"), Some(meaning)],
            "{status}"
        );
        if let NoticeMeaning::Declined(failure) = &notice.meaning {
            assert_eq!(failure.code.as_deref(), code, "{kind} {status}");
        }
    }
    let NoticeMeaning::Completed(success) =
        stripe("refund.updated", &refund("succeeded", &json!(null))).meaning
    else {
        panic!("not completed")
    };
    let result = json!({"id": "re_1", "status": "succeeded", "amount": 500, "currency": "eur"});
    assert_eq!((success.result, success.warnings), (Some(result), Vec::new()));
}

#[test]
fn other_events_of_stripe_belong_to_their_payment_and_decide_nothing() {
    let metadata = json!({"ferryd_command_id": "shop.order-1"});
    let charge =
        json!({"id": "ch_1", "object": "charge", "payment_intent": "pi_1", "metadata": metadata});
    let bare = json!({"id": "ch_2", "object": "charge", "payment_intent": null, "metadata": {}});
    let dispute = json!({"id": "du_1", "object": "dispute", "charge": "ch_1", "payment_intent": "pi_1", "metadata": {}});
    let payout =
        json!({"id": "po_1", "object": "payout", "status": "failed", "metadata": metadata});
    for (kind, object, command, reference) in [
        ("charge.succeeded", charge.clone(), Some("shop.order-1"), Some("pi_1")),
        ("charge.refunded", charge, Some("shop.order-1"), Some("pi_1")),
        ("charge.failed", bare, None, Some("ch_2")),
        ("charge.dispute.created", dispute, None, Some("pi_1")),
        ("payout.failed", payout, None, Some("po_1")),
        ("balance.available", json!({"object": "balance"}), None, None),
    ] {
        let notice = stripe(kind, &object);
        assert_eq!(
            contents(&notice),
            [Some(kind), Some("evt_1"), command, reference, Some("nothing")]
        );
    }
    // A thin event has no object.
    let thin = json!({"id": "evt_2", "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered"});
    let notice = notice("stripe", "application/json", &thin.to_string());
    let expected = [
        Some("v1.billing.meter.error_report_triggered"),
        Some("evt_2"),
        None,
        None,
        Some("nothing"),
    ];
    assert_eq!(contents(&notice), expected);
}

#[test]
fn the_status_of_a_message_of_twilio_is_published_and_decides_nothing() {
    const FORM: &str = "application/x-www-form-urlencoded; charset=UTF-8";
    let account = "AccountSid=AC1&ApiVersion=2010-04-01&From=%2B15017122661&To=%2B15558675310";
    for status in ["queued", "sent", "delivered", "undelivered", "failed", "read"] {
        let error = if status == "undelivered" { "&ErrorCode=30003" } else { "" };
        let body = format!(
            "SmsSid=SM1&SmsStatus={status}&MessageStatus={status}&MessageSid=SM1{error}&{account}"
        );
        let notice = notice("twilio", FORM, &body);
        let id = format!("SM1-{status}");
        assert_eq!(
            contents(&notice),
            [Some(status), Some(id.as_str()), None, Some("SM1"), Some("nothing")]
        );
        assert_eq!(notice.body["To"], "+15558675310");
    }
    let incoming = format!("MessageSid=SM2&SmsStatus=received&Body=STOP&{account}");
    let expected = [Some("received"), Some("SM2-received"), None, Some("SM2"), Some("nothing")];
    assert_eq!(contents(&notice("twilio", FORM, &incoming)), expected);
    let of_a_call = format!("CallSid=CA1&CallStatus=completed&{account}");
    assert_eq!(
        contents(&notice("twilio", FORM, &of_a_call)),
        [None, None, None, None, Some("nothing")]
    );
}

#[test]
fn trackers_of_easypost_end_what_only_follows_a_parcel_and_decide_nothing_of_a_shipment() {
    let tracker = |status: &str, shipment: Value| json!({"id": "trk_1", "object": "Tracker", "status": status, "shipment_id": shipment});
    for (kind, result, reference, meaning) in [
        ("tracker.updated", tracker("delivered", json!("shp_1")), Some("shp_1"), "nothing"),
        ("tracker.updated", tracker("return_to_sender", json!("shp_1")), Some("shp_1"), "nothing"),
        ("tracker.created", tracker("unknown", json!(null)), Some("trk_1"), "progress"),
        ("tracker.updated", tracker("delivered", json!(null)), Some("trk_1"), "completed"),
        ("tracker.updated", tracker("failure", json!(null)), Some("trk_1"), "declined"),
        ("tracker.deleted", tracker("delivered", json!(null)), Some("trk_1"), "nothing"),
        (
            "refund.successful",
            json!({"id": "rfnd_1", "object": "Refund", "shipment_id": "shp_1"}),
            Some("shp_1"),
            "nothing",
        ),
        ("batch.updated", json!({"id": "batch_1", "object": "Batch"}), Some("batch_1"), "nothing"),
        ("payment.failed", json!(null), None, "nothing"),
    ] {
        let event = json!({
            "id": "evt_1", "object": "Event", "mode": "test", "description": kind, "previous_attributes": {},
            "pending_urls": [], "completed_urls": [], "status": "pending", "result": result
        });
        let notice = notice("easypost", "application/json", &event.to_string());
        assert_eq!(contents(&notice), [Some(kind), Some("evt_1"), None, reference, Some(meaning)]);
    }
}

/// An item of a payment notification of Adyen; `fields` override the usual ones.
fn adyen(code: &str, success: &str, fields: &Value) -> WebhookNotice {
    let mut item = json!({
        "pspReference": "993", "merchantAccountCode": "m", "merchantReference": "shop.order-1",
        "amount": {"value": 1099, "currency": "EUR"}, "eventCode": code, "success": success, "reason": "so it is"
    });
    item.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let body = json!({"live": "false", "notificationItems": [{"NotificationRequestItem": item}]});
    notice("adyen", "application/json", &body.to_string())
}

#[test]
fn payments_and_refunds_of_adyen_end_by_their_own_event_and_its_success() {
    let of_payment = json!({"originalReference": "881"});
    for (code, success, fields, command, reference, meaning) in [
        ("AUTHORISATION", "true", json!({}), Some("shop.order-1"), "993", "completed"),
        ("AUTHORISATION", "false", json!({}), Some("shop.order-1"), "993", "declined"),
        ("AUTHORISATION", "", json!({}), Some("shop.order-1"), "993", "nothing"),
        (
            "AUTHORISATION",
            "true",
            json!({"merchantReference": "an order, no id"}),
            None,
            "993",
            "completed",
        ),
        ("REFUND", "true", of_payment.clone(), None, "993", "completed"),
        ("REFUND", "false", of_payment.clone(), None, "993", "declined"),
        ("REFUND_FAILED", "true", of_payment.clone(), None, "993", "declined"),
        ("REFUNDED_REVERSED", "true", of_payment.clone(), None, "993", "nothing"),
        ("CAPTURE", "true", of_payment.clone(), None, "881", "nothing"),
        ("CAPTURE_FAILED", "true", of_payment.clone(), None, "881", "nothing"),
        ("CANCELLATION", "true", of_payment.clone(), None, "881", "nothing"),
        ("CANCEL_OR_REFUND", "true", of_payment.clone(), None, "881", "nothing"),
        ("CHARGEBACK", "true", of_payment, None, "881", "nothing"),
        ("OFFER_CLOSED", "true", json!({}), Some("shop.order-1"), "993", "nothing"),
    ] {
        let id = format!("993-{code}-{success}");
        let notice = adyen(code, success, &fields);
        assert_eq!(
            contents(&notice),
            [Some(code), Some(id.as_str()), command, Some(reference), Some(meaning)],
            "{fields}"
        );
        if let NoticeMeaning::Completed(success) = &notice.meaning {
            assert_eq!(success.warnings, Vec::<String>::new(), "{code}");
        }
        if let NoticeMeaning::Declined(failure) = &notice.meaning {
            assert_eq!(
                (failure.code.as_deref(), failure.message.as_str()),
                (Some(code), "so it is")
            );
        }
    }
}

#[test]
fn what_adyen_does_not_sign_decides_nothing() {
    let unsigned = json!({
        "reason": "REFUND", "paymentMethod": "visa", "operations": ["CANCEL", "REFUND"], "eventDate": "2026-11-01T00:00:00Z",
        "additionalData": {"eventCode": "REFUND", "success": "false", "merchantReference": "shop.order-2", "pspReference": "1"}
    });
    let events = ["AUTHORISATION", "REFUND", "REFUND_FAILED", "CAPTURE"];
    for (code, success) in
        events.iter().flat_map(|code| [(code, "true"), (code, "false"), (code, "")])
    {
        assert_eq!(
            contents(&adyen(code, success, &unsigned)),
            contents(&adyen(code, success, &json!({}))),
            "{code} {success}"
        );
    }
}

#[test]
fn calls_of_paypal_have_captures_looked_up_and_decide_nothing() {
    let capture = json!({"id": "3C1", "status": "COMPLETED", "custom_id": "shop.order-1"});
    let order = |payments: Value| json!({"id": "5O1", "status": "COMPLETED", "purchase_units": [{"payments": payments}]});
    for (kind, resource, reference, meaning) in [
        ("PAYMENT.CAPTURE.COMPLETED", capture.clone(), "3C1", "lookup"),
        ("PAYMENT.CAPTURE.DECLINED", capture.clone(), "3C1", "lookup"),
        ("PAYMENT.CAPTURE.DENIED", capture.clone(), "3C1", "lookup"),
        ("PAYMENT.CAPTURE.PENDING", capture, "3C1", "nothing"),
        ("CHECKOUT.ORDER.COMPLETED", order(json!({"captures": [{"id": "3C1"}]})), "3C1", "lookup"),
        ("CHECKOUT.ORDER.COMPLETED", order(json!({})), "5O1", "lookup"),
        ("CHECKOUT.ORDER.APPROVED", order(json!({"captures": [{"id": "3C1"}]})), "5O1", "nothing"),
        ("PAYMENT.CAPTURE.REFUNDED", json!({"id": "1R1"}), "1R1", "nothing"),
        ("CUSTOMER.DISPUTE.CREATED", json!({"id": "PP-D-1"}), "PP-D-1", "nothing"),
    ] {
        let event = json!({"id": "WH-1", "event_type": kind, "resource": resource});
        let notice = notice("paypal", "application/json", &event.to_string());
        assert_eq!(
            contents(&notice),
            [Some(kind), Some("WH-1"), None, Some(reference), Some(meaning)]
        );
    }
}

#[test]
fn events_of_a_mail_belong_to_the_command_that_sent_it_and_decide_nothing() {
    let event = |kind: &str, more: Value| {
        let mut event = json!({"email": "b@x.test", "timestamp": 1, "event": kind, "sg_event_id": format!("e-{kind}")});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let sent = json!({"sg_message_id": "m1.recvd-5f-1-2.0", "command_id": "shop.order-1"});
    let table = [
        ("processed", sent.clone(), Some("shop.order-1"), Some("m1")),
        ("bounce", sent, Some("shop.order-1"), Some("m1")),
        ("bounce", json!({"command_id": "shop.order-1"}), Some("shop.order-1"), None),
        ("spamreport", json!({"sg_message_id": "m1.recvd-5f-1-2.0"}), None, Some("m1")),
    ];
    let batch: Vec<Value> =
        table.iter().map(|(kind, more, ..)| event(kind, more.clone())).collect();
    let notices = notices("sendgrid", "application/json", &json!(batch).to_string());
    assert_eq!(notices.len(), table.len());
    for (notice, (kind, _, command, reference)) in notices.iter().zip(table) {
        let id = format!("e-{kind}");
        assert_eq!(
            contents(notice),
            [Some(kind), Some(id.as_str()), command, reference, Some("nothing")]
        );
    }
}

#[test]
fn what_is_said_about_a_message_of_slack_belongs_to_it_and_decides_nothing() {
    let item = json!({"type": "message", "channel": "C1", "ts": "1.1"});
    for (event, reference) in [
        (json!({"type": "message", "channel": "C1", "ts": "1.1"}), Some("C1:1.1")),
        (
            json!({"type": "message", "channel": "C1", "ts": "2.2", "thread_ts": "1.1"}),
            Some("C1:1.1"),
        ),
        (json!({"type": "app_mention", "channel": "C1", "ts": "2.2"}), Some("C1:2.2")),
        (json!({"type": "reaction_added", "item": item}), Some("C1:1.1")),
        (json!({"type": "reaction_added", "item": {"type": "file", "file": "F1"}}), None),
        (json!({"type": "team_join", "user": {"id": "U1"}}), None),
    ] {
        let call = json!({"type": "event_callback", "event_id": "Ev1", "event": event});
        let notice = notice("slack", "application/json", &call.to_string());
        let kind = event["type"].as_str();
        assert_eq!(
            contents(&notice),
            [kind, Some("Ev1"), None, reference, Some("nothing")],
            "{event}"
        );
    }
}
