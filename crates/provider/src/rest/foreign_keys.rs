//! Refuses keys of a provider file that mean nothing for its protocol.

use super::file::{AuthFile, OperationFile, ProviderFile, ProviderProtocol};
use ferryd_settings::findings::SettingsCursor;

/// Refuses every key that means nothing for the protocol of the file. Without that, a file could
/// promise a lookup that is never made.
pub(super) fn refuse_foreign_keys(file: &ProviderFile, root: &SettingsCursor<'_>) {
    match file.spoken() {
        ProviderProtocol::Rest => {
            for (name, operation) in &file.operations {
                if operation.message.is_some() {
                    root.key("operations")
                        .key(name)
                        .key("message")
                        .refuse(r#"is for brokers; write `request`, or protocol = "amqp""#);
                }
            }
        }
        ProviderProtocol::Amqp => {
            refuse_http(file, root);
            for (name, operation) in &file.operations {
                refuse_http_of_operation(operation, &root.key("operations").key(name));
            }
        }
    }
}

fn refuse_http(file: &ProviderFile, root: &SettingsCursor<'_>) {
    match &file.auth {
        Some(AuthFile::Basic { .. }) => {}
        Some(_) => root.key("auth").key("scheme").refuse(
            "is not spoken by a broker; write `basic` with the `username` and `password` of its user",
        ),
        None => root.key("auth").refuse(
            r#"is missing; write auth = { scheme = "basic", username = "…", password = "{{ secrets.… }}" }"#,
        ),
    }
    let no_answer = "is about an answer, and a broker only acknowledges; leave it out";
    for (key, stated) in [
        ("max_response_size", file.max_response_size.is_some()),
        ("response", file.response.is_some()),
        ("classify", !file.classify.is_empty()),
        ("verification", file.verification.is_some()),
    ] {
        if stated {
            root.key(key).refuse(no_answer);
        }
    }
}

fn refuse_http_of_operation(operation: &OperationFile, place: &SettingsCursor<'_>) {
    let no_query = "is a request, and a broker answers none; leave it out: a webhook, a person or \
                    the deadline ends what waits";
    let no_answer = "is about an answer, and a broker only acknowledges; leave it out";
    for (key, stated, reason) in [
        ("request", operation.request.is_some(), "is for HTTP; write `message`"),
        (
            "idempotency",
            operation.idempotency.is_some(),
            "is for HTTP: a message always carries its id; write `message.deduplicates` where the \
             receiver drops repeats",
        ),
        ("poll", operation.poll.is_some(), no_query),
        ("lookup", operation.lookup.is_some(), no_query),
        ("affects", operation.affects.is_some(), no_query),
        ("classify", !operation.classify.is_empty(), no_answer),
    ] {
        if stated {
            place.key(key).refuse(reason);
        }
    }
}
