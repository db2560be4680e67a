//! Refuses keys of a provider file that mean nothing for its protocol.

use super::file::{AuthFile, MessageFile, OperationFile, ProviderFile, ProviderProtocol};
use ferryd_settings::findings::SettingsCursor;

/// Refuses every key that means nothing for the protocol of the file. Without that, a file could
/// promise a lookup that is never made.
pub(super) fn refuse_foreign_keys(file: &ProviderFile, root: &SettingsCursor<'_>) {
    match file.spoken() {
        ProviderProtocol::Rest => {
            for (name, operation) in &file.operations {
                if operation.message.is_some() {
                    root.key("operations").key(name).key("message").refuse(
                        r#"is for brokers; write `request`, or protocol = "amqp" or "nats""#,
                    );
                }
            }
        }
        protocol @ (ProviderProtocol::Amqp | ProviderProtocol::Nats) => {
            refuse_auth(file.auth.as_ref(), protocol, &root.key("auth"));
            refuse_http(file, root);
            for (name, operation) in &file.operations {
                let place = root.key("operations").key(name);
                refuse_http_of_operation(operation, &place);
                if let Some(message) = &operation.message {
                    refuse_foreign_address(message, protocol, &place.key("message"));
                }
            }
        }
    }
}

fn refuse_auth(auth: Option<&AuthFile>, protocol: ProviderProtocol, place: &SettingsCursor<'_>) {
    match (auth, protocol) {
        (Some(AuthFile::Basic { .. }), _)
        | (Some(AuthFile::Bearer { .. }), ProviderProtocol::Nats) => {}
        (Some(_), ProviderProtocol::Nats) => place.key("scheme").refuse(
            "is not spoken by a NATS server; write `basic` with the `username` and `password` of \
             its user, or `bearer` with its `token`",
        ),
        (Some(_), _) => place.key("scheme").refuse(
            "is not spoken by a broker; write `basic` with the `username` and `password` of its user",
        ),
        (None, _) => place.refuse(
            r#"is missing; write auth = { scheme = "basic", username = "…", password = "{{ secrets.… }}" }"#,
        ),
    }
}

fn refuse_foreign_address(
    message: &MessageFile,
    protocol: ProviderProtocol,
    place: &SettingsCursor<'_>,
) {
    let is_nats = protocol == ProviderProtocol::Nats;
    for (key, stated, is_foreign, reason) in [
        ("exchange", message.exchange.is_some(), is_nats, "is for AMQP; write `subject`"),
        ("routing_key", message.routing_key.is_some(), is_nats, "is for AMQP; write `subject`"),
        ("subject", message.subject.is_some(), !is_nats, "is for NATS; write `routing_key`"),
    ] {
        if stated && is_foreign {
            place.key(key).refuse(reason);
        }
    }
}

fn refuse_http(file: &ProviderFile, root: &SettingsCursor<'_>) {
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
