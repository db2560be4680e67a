//! Tests calls from the providers' documentation, and calls that their own libraries signed.

use super::fixture::{at, call, endpoint};
use ferryd_domain::webhook::{RawWebhook, VerificationError};

const URL: &str = "https://example.com/webhook";
const ADYEN_KEY: &str = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056";
const SENDGRID_KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// A call, the endpoint and secret that verify it, and the time.
struct WebhookVector {
    provider: &'static str,
    secret: &'static str,
    at: i64,
    call: RawWebhook,
}

fn vector(
    provider: &'static str,
    secret: &'static str,
    at: i64,
    call: RawWebhook,
) -> WebhookVector {
    WebhookVector { provider, secret, at, call }
}

/// <https://www.twilio.com/docs/usage/security>, and the signature of its Python library for a JSON
/// body.
fn twilio() -> Vec<WebhookVector> {
    let form = b"Digits=1234&To=%2B18005551212&From=%2B14158675309&Caller=%2B14158675309&CallSid=CA1234567890ABCDE";
    let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
    let json = b"{\"property\": \"value\", \"boolean\": true}";
    let digest = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
    let signed = |signature| [FORM, ("X-Twilio-Signature", signature)];
    vec![
        vector("twilio", "12345", 0, call(url, &signed("RSOYDt4T1cUTdK1PDd93/VVr8B8="), form)),
        // The library signed the URL with its port.
        vector("twilio", "12345", 0, call(url, &signed("kvajT1Ptam85bY51eRf/AJRuM3w="), form)),
        vector(
            "twilio",
            "12345",
            0,
            call(
                &format!("https://mycompany.com/myapp.php?bodySHA256={digest}"),
                &[
                    ("X-Twilio-Signature", "y77kIzt2vzLz71DgmJGsen2scGs="),
                    ("Content-Type", "application/json"),
                ],
                json,
            ),
        ),
    ]
}

/// <https://docs.slack.dev/authentication/verifying-requests-from-slack>
fn slack() -> WebhookVector {
    let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V\
        &channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=\
        &response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
        &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    let headers =
        [FORM, ("X-Slack-Request-Timestamp", "1531420618"), ("X-Slack-Signature", signature)];
    vector("slack", "8f742231b10e8888abcd99yyyzzz85a5", 1_531_420_618, call(URL, &headers, body))
}

/// <https://github.com/standard-webhooks/standard-webhooks>, and the same under Svix's own names.
fn standard(provider: &'static str, prefix: &str, signatures: &str) -> WebhookVector {
    let names = ["id", "timestamp", "signature"].map(|name| format!("{prefix}-{name}"));
    let values = ["msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", signatures];
    let headers: Vec<_> = names.iter().map(String::as_str).zip(values).collect();
    let call = call(URL, &headers, b"{\"test\": 2432232314}");
    vector(provider, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 1_614_265_330, call)
}

/// <https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures>
fn adyen() -> Vec<WebhookVector> {
    let item = "{\"NotificationRequestItem\":{\"pspReference\":\"7914073381342284\",\"merchantAccountCode\":\"TestMerchant\",\
        \"merchantReference\":\"TestPayment-1407325143704\",\"amount\":{\"value\":1130,\"currency\":\"EUR\"},\
        \"eventCode\":\"AUTHORISATION\",\"success\":\"true\",\
        \"additionalData\":{\"hmacSignature\":\"coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0=\"}}}";
    let batch = format!("{{\"live\":\"false\",\"notificationItems\":[{item},{item}]}}");
    let body = b"{\"type\":\"balancePlatform.accountHolder.created\"}";
    let header = [("HmacSignature", "VS9UBuuLlvIa/EUWFcATyXQOV4Myf4jqvgMKXg+qUqk=")];
    vec![
        vector("adyen-payments", ADYEN_KEY, 0, call(URL, &[], batch.as_bytes())),
        vector("adyen-platform", ADYEN_KEY, 0, call(URL, &header, body)),
    ]
}

/// The vector of `SendGrid`'s libraries; the body ends in a line break.
fn sendgrid() -> WebhookVector {
    let body = b"[{\"email\":\"hello@world.com\",\"event\":\"dropped\",\"reason\":\"Bounced Address\",\
        \"sg_event_id\":\"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA\",\
        \"sg_message_id\":\"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0\",\
        \"smtp-id\":\"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>\",\"timestamp\":1600112492}]\r\n";
    let signature = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=";
    let headers = [
        ("X-Twilio-Email-Event-Webhook-Timestamp", "1600112502"),
        ("X-Twilio-Email-Event-Webhook-Signature", signature),
    ];
    vector("sendgrid", SENDGRID_KEY, 1_600_112_502, call(URL, &headers, body))
}

/// Mercado Pago's manifest with all its parts, in milliseconds, and with one left out, in seconds.
fn mercado_pago() -> Vec<WebhookVector> {
    let whole =
        "ts=1742505638683,v1=15732a6b94605d0d7d874cceeaa6ff344d887e7014e7e891422c766884db39f8";
    let without =
        "ts=1742505638,v1=a9c450f252c01b888bf4fc082b21f19aed9d6c8490df4038aef222671239210c";
    let id = ("x-request-id", "bb56a2f1-6aae-46ac-982e-9dcd3581d08e");
    let url = |id: &str| format!("{URL}?data.id={id}&type=payment");
    vec![
        vector(
            "mercado-pago",
            "mp-secret",
            1_742_505_638,
            call(&url("123456"), &[("x-signature", whole), id], b"{}"),
        ),
        vector(
            "mercado-pago",
            "mp-secret",
            1_742_505_638,
            call(&url("ORD01JQ"), &[("x-signature", without)], b"{}"),
        ),
    ]
}

fn vectors() -> Vec<WebhookVector> {
    let hi = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    let github = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let easypost =
        "hmac-sha256-hex=28915fac733ae0797b9d9b23dfeb0a967cdfd62c9ce26f7486c574d396826622";
    let stripe = |header: &str| {
        let body = b"{\"id\":\"evt_1\",\"object\":\"event\"}";
        vector(
            "stripe",
            "whsec_test_secret",
            1_700_000_000,
            call(URL, &[("Stripe-Signature", header)], body),
        )
    };
    let first = "t=1700000000,v1=0c8670ed117751cc551a20e35839447075c42800ea3cf3e8a2fbda99cd1e6edd";
    let several = format!(
        "t=1700000000,v0=00,v1={},v1=zz,{}",
        "0".repeat(64),
        &first["t=1700000000,".len()..]
    );
    let mut vectors = vec![
        stripe(first),
        // A signature of another version, one by another secret and an unreadable one stand beside
        // the right one.
        stripe(&several),
        slack(),
        standard("standard", "webhook", hi),
        standard("standard", "webhook", &format!("v1a,AAAA v1,{} {hi}", "A".repeat(43))),
        standard("svix", "svix", hi),
        // <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>
        vector(
            "github",
            "It's a Secret to Everybody",
            0,
            call(URL, &[("X-Hub-Signature-256", github)], b"Hello, World!"),
        ),
        vector(
            "meta",
            "It's a Secret to Everybody",
            0,
            call(URL, &[("X-Hub-Signature-256", github)], b"Hello, World!"),
        ),
        vector(
            "easypost",
            "sécret",
            0,
            call(URL, &[("X-Hmac-Signature", easypost)], b"{\"description\":\"batch.created\"}"),
        ),
        vector(
            "shopify",
            "hush",
            0,
            call(
                URL,
                &[("X-Shopify-Hmac-Sha256", "VnKUjZsLuN5iZWjn5EntcBVCF9kMN43LglzCE1/GSeY=")],
                b"{\"id\":1}",
            ),
        ),
        vector(
            "square",
            "asdf1234",
            0,
            call(
                URL,
                &[(
                    "x-square-hmacsha256-signature",
                    "2kRE5qRU2tR+tBGlDwMEw2avJ7QM4ikPYD/PJ3bd9Og=",
                )],
                b"{\"hello\":\"world\"}",
            ),
        ),
        sendgrid(),
    ];
    vectors.extend(twilio());
    vectors.extend(adyen());
    vectors.extend(mercado_pago());
    vectors
}

#[test]
fn calls_of_the_providers_are_verified() {
    for WebhookVector { provider, secret, at: time, call } in vectors() {
        let endpoint = endpoint(provider, secret);
        let steps = endpoint.explain_verification(&call, at(time));
        assert_eq!(endpoint.verify(&call, at(time)), Ok(()), "{provider}: {steps:#?}");
    }
}

#[test]
fn another_accounts_secret_is_not_verified() {
    for WebhookVector { provider, secret, at: time, call } in vectors() {
        let other = match provider {
            "sendgrid" => "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqTxd43gyp8IOEto2LdIfjRQrIbsd4SXZkLW6jDutdhXSJCWHw8REntlo7aNDthvj+y7GjUuFDb/R1NGe1OPzpA==".to_owned(),
            _ if provider.starts_with("adyen") => secret.replace('4', "5"),
            "standard" | "svix" => secret.replace('M', "N"),
            _ => format!("{secret}x"),
        };
        assert_eq!(
            endpoint(provider, &other).verify(&call, at(time)),
            Err(VerificationError::Forged),
            "{provider}"
        );
    }
}

#[test]
fn an_old_call_and_one_from_the_future_are_stale() {
    for WebhookVector { provider, secret, at: time, call } in
        vectors().into_iter().filter(|vector| vector.at > 0)
    {
        let endpoint = endpoint(provider, secret);
        for (offset, expected) in [
            (-301, Err(VerificationError::Stale)),
            (-299, Ok(())),
            (299, Ok(())),
            (302, Err(VerificationError::Stale)),
            (1_000_000_000, Err(VerificationError::Stale)),
        ] {
            assert_eq!(endpoint.verify(&call, at(time + offset)), expected, "{provider} {offset}");
        }
    }
}
