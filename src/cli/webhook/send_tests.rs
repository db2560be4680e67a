use super::*;

#[test]
fn the_address_of_the_daemon_follows_from_its_configuration() {
    let public = address("https://hooks.example.com/ferry").unwrap();
    let found = |bind: &str, tls: bool| {
        let tls_cert_file = tls.then(|| "cert.pem".into());
        let settings = WebhooksConfig {
            bind: bind.parse().unwrap(),
            tls_cert_file,
            ..WebhooksConfig::default()
        };
        default_address(&settings, &public)
            .map_or_else(|error| error.to_string(), |url| url.to_string())
    };
    for (bind, tls, address) in [
        ("127.0.0.1:8421", false, "http://127.0.0.1:8421"),
        ("[::1]:8421", false, "http://[::1]:8421"),
        ("0.0.0.0:443", true, "https://hooks.example.com/ferry"),
        (
            "127.0.0.1:0",
            false,
            "`webhooks.bind` leaves the port open; write --to with the one in the log",
        ),
        ("0.0.0.0:8421", false, "http://127.0.0.1:8421"),
        (
            "10.0.0.7:8421",
            false,
            "webhooks.bind = \"10.0.0.7:8421\" can't be called without TLS; write --to",
        ),
    ] {
        assert_eq!(found(bind, tls), address, "{bind}");
    }
}

#[test]
fn a_signed_call_is_sent_to_the_path_behind_the_address_of_the_daemon() {
    let public = address("https://hooks.example.com/ferry").unwrap();
    let url = public.called("/webhooks/twilio?a=1&bodySHA256=00").unwrap();
    let headers = vec![("x-twilio-signature".to_owned(), "AA==".to_owned())];
    let call = RawWebhook {
        method: "POST".to_owned(),
        url,
        headers: headers.clone(),
        body: "{}".into(),
        certificate: None,
    };
    let to = address("http://127.0.0.1:8421/").unwrap();
    let request = request(&call, &public, &to).unwrap();
    assert_eq!(request.url.as_str(), "http://127.0.0.1:8421/webhooks/twilio?a=1&bodySHA256=00");
    assert_eq!((request.headers, &request.body[..]), (headers, &b"{}"[..]));
}

#[test]
fn every_status_is_explained_and_only_success_is_taken() {
    for (status, words) in [
        (200, "taken"),
        (302, "sent elsewhere"),
        (401, "verification failed"),
        (404, "no such endpoint"),
        (413, "refused as it is"),
        (429, "calls again"),
        (503, "calls again"),
    ] {
        assert!(meaning(status).contains(words), "{status}");
    }
}

#[test]
fn headers_have_a_name_and_a_value() {
    assert_eq!(
        header("X-GitHub-Event: push:x"),
        Ok(("x-github-event".to_owned(), "push:x".to_owned()))
    );
    assert!(header("push").is_err());
}
