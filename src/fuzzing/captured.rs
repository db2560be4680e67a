//! Webhooks in files: a call that is read is part of the file, and is read the same when it is
//! written again.

use url::Url;

use crate::cli::webhook::captured::parse;
use ferryd_domain::webhook::RawWebhook;

pub(super) fn check(bytes: &[u8]) {
    let given: Option<Url> = "https://hooks.example.com/x?a=1".parse().ok();
    for url in [None, given.as_ref()] {
        let Ok(captured) = parse(bytes, url) else { continue };
        let call = captured.call;
        assert!(
            !call.method.is_empty() && call.method.bytes().all(|byte| byte.is_ascii_uppercase())
        );
        let headers = || call.headers.iter();
        assert!(headers().all(|(name, value)| name.trim() == name && value.trim() == value));
        assert!(headers().all(|(name, _)| !name.bytes().any(|byte| byte.is_ascii_uppercase())));
        assert!(url.is_none_or(|url| *url == call.url), "a given URL is the one that was called");
        let within =
            call.body.is_empty() || bytes.windows(call.body.len()).any(|part| part == call.body);
        assert!(within, "a body is as it stands in the file");

        let again = parse(&written(&call), Some(&call.url));
        assert_eq!(
            again.ok().map(|captured| captured.call),
            Some(call),
            "it is read the same when it is written anew"
        );
    }
}

/// Writes a call as a file.
pub(super) fn written(call: &RawWebhook) -> Vec<u8> {
    let mut text =
        format!("{} {} HTTP/1.1\r\n", call.method, call.url.as_str().replace(' ', "%20"));
    for (name, value) in &call.headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    [text.as_bytes(), b"\r\n", &call.body].concat()
}
