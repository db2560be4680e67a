use secrecy::SecretString;
use serde_json::json;

use super::*;
use crate::UnmaskedValue;
use ferryd_domain::outcome::{Failure, Success};

fn mask() -> Mask {
    let mask = Mask::new(
        &[SecretString::from("sk_live_93"), SecretString::from("test")],
        &["pin".to_owned()],
    );
    mask.with_values(&["109900".to_owned(), "Jane Roe".to_owned()])
}

fn webhook_url(token: &str) -> String {
    format!("https://hooks.example/webhooks/acme?ferry={token}&a=1")
}

#[test]
fn a_program_gets_everything_but_what_is_known_to_be_secret() {
    let token = "A-_9".repeat(13);
    for (value, expected) in [
        (json!({"id": "4242424242424242"}), json!({"id": "4242424242424242"})),
        (json!({"id": 4_242_424_242_424_242_u64}), json!({"id": 4_242_424_242_424_242_u64})),
        (json!({"id": "pay_4242424242424242"}), json!({"id": "pay_4242424242424242"})),
        (json!({"tracking": "4242 4242 4242 4242"}), json!({"tracking": "4242 4242 4242 4242"})),
        (
            json!({"note": "card 4242 4242 4242 4242 is blocked"}),
            json!({"note": "card *** is blocked"}),
        ),
        (
            json!({"client_secret": "pi_1_secret_2", "pin": "12"}),
            json!({"client_secret": "pi_1_secret_2", "pin": "12"}),
        ),
        (json!({"key": "cs_test_1", "word": "test"}), json!({"key": "cs_test_1", "word": "test"})),
        (
            json!({"deep": [{"key": "sk_live_93"}], "sk_live_93": 1}),
            json!({"deep": [{"key": "***"}], "***": 1}),
        ),
        (json!({"back": webhook_url(&token)}), json!({"back": webhook_url("***")})),
        (
            json!({"query": {"ferry": token, "a": "1"}}),
            json!({"query": {"ferry": "***", "a": "1"}}),
        ),
        (
            json!({"to": "Jane Roe, 7", "amount": 1_099_001, "debt": 109_900}),
            json!({"to": "***, 7", "amount": 1_099_001, "debt": "***"}),
        ),
        (json!([null, true, 1.5, "x"]), json!([null, true, 1.5, "x"])),
    ] {
        assert_eq!(mask().data(value.clone()), expected, "{value}");
    }
}

#[test]
fn details_hide_the_fields_that_the_provider_file_names_and_keep_ids() {
    let details =
        json!({"pin": 12, "charge": "4242424242424242", "sent": "{\"pin\":\"12\",\"a\":1}"});
    let expected =
        json!({"pin": "***", "charge": "4242424242424242", "sent": "{\"pin\":\"***\",\"a\":1}"});
    assert_eq!(mask().details(details), expected);
}

#[test]
fn a_value_for_people_is_masked_in_its_place_like_a_logged_body() {
    for value in [
        json!({"pin": {"x": 1}, "n": 4_242_424_242_424_242_u64, "s": ["4242424242424242", "test", true]}),
        json!({"key sk_live_93": "Basic c2tfbGl2ZV85Mw==", "json": "{\"pin\":1}", "who": "Jane Roe"}),
    ] {
        let logged =
            mask().body(Some("application/json"), value.to_string().as_bytes()).to_string();
        assert_eq!(mask().value(value).to_string(), logged);
    }
}

#[test]
fn a_reference_is_kept_as_it_is_or_left_out_and_never_changed() {
    let masked = |reference: &str| {
        let success =
            Success { provider_reference: Some(reference.to_owned()), ..Success::default() };
        let Success { provider_reference, warnings, .. } =
            UnmaskedValue::new(success).masked(&mask());
        let failure =
            Failure { provider_reference: Some(reference.to_owned()), ..Failure::default() };
        assert_eq!(
            UnmaskedValue::new(failure).masked(&mask()).provider_reference,
            provider_reference
        );
        assert_eq!(warnings.len(), usize::from(provider_reference.is_none()), "{warnings:?}");
        provider_reference
    };
    for kept in ["4242424242424242", "cs_test_1", "Jane Roe", "ref 4242 4242 4242 4242 is it"] {
        assert_eq!(masked(kept).as_deref(), Some(kept));
    }
    for left_out in
        ["sk_live_93", "a-sk_live_93-b", "c2tfbGl2ZV85Mw==", &webhook_url(&"A-_9".repeat(13))]
    {
        assert_eq!(masked(left_out), None, "{left_out}");
    }
}

#[test]
fn texts_are_cut_after_they_were_masked() {
    for before in 480..520 {
        let message = format!("{} sk_live_93 and more {}", "x".repeat(before), "y".repeat(100));
        let failure = Failure { code: Some(message.clone()), message, ..Failure::default() };
        let Failure { code, message, .. } = UnmaskedValue::new(failure).masked(&mask());
        for text in [&code.unwrap(), &message] {
            assert_eq!(text.chars().count(), 512);
            assert!(!text.contains("sk"), "{text}");
        }
    }
}
