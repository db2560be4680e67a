//! Classifies errors of the HTTP client by one question: may the provider have seen the request?
//!
//! Only errors that certainly came before the first byte of the request become
//! [`CallResult::NotSent`]; errors in doubt become [`CallResult::Incomplete`]. The client repeats a
//! request by itself in one case only: when its pooled connection was closed before anything was
//! written.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::Duration;

use super::tls_error::describe_cause;
use ferryd_domain::http_call::CallResult;
use ferryd_domain::outcome::Failure;

/// A request that can't be sent at all, whatever the network does.
pub(super) fn unsendable_failure(why: impl Into<String>) -> CallResult {
    CallResult::NotSent(Failure::new("request", why))
}

/// No complete response came within the total timeout; the request may have been sent.
pub(super) fn timed_out(timeout: Duration) -> CallResult {
    let timeout = humantime::format_duration(timeout);
    CallResult::Incomplete(Failure::new("timeout", format!("no complete answer within {timeout}")))
}

/// The body of the response exceeds the size limit.
pub(super) fn too_large(status: u16, cap: usize) -> CallResult {
    failure_during_answer(
        status,
        "too_large",
        format!("the body of the answer is larger than {cap} bytes (`max_response_size`)"),
    )
}

/// Classifies an error before a response began.
pub(super) fn failure_before_answer(error: &reqwest::Error) -> CallResult {
    if error.is_builder() {
        return unsendable_failure(describe(error));
    }
    if error.is_connect() {
        return CallResult::NotSent(Failure::new(connect_code(error), describe(error)));
    }
    let code = match code_after_sending(error) {
        "truncated" => "closed",
        code => code,
    };
    CallResult::Incomplete(Failure::new(code, describe(error)))
}

/// Classifies an error within the body of a response.
pub(super) fn within_body(status: u16, error: &reqwest::Error) -> CallResult {
    failure_during_answer(status, code_after_sending(error), describe(error))
}

fn failure_during_answer(status: u16, code: &str, message: String) -> CallResult {
    CallResult::Incomplete(Failure { http_status: Some(status), ..Failure::new(code, message) })
}

fn connect_code(error: &reqwest::Error) -> &'static str {
    let in_tls = |cause: &(dyn Error + 'static)| {
        cause.is::<rustls::Error>()
            || io_kind(cause).is_some_and(|kind| kind == ErrorKind::UnexpectedEof)
    };
    if error.is_dns() {
        "dns"
    } else if error.is_timeout() {
        "connect_timeout"
    } else if causes(error).any(in_tls) {
        "tls"
    } else {
        "connect"
    }
}

fn code_after_sending(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timeout"
    } else {
        causes(error).find_map(code_of_cause).unwrap_or("connection")
    }
}

fn code_of_cause(cause: &(dyn Error + 'static)) -> Option<&'static str> {
    if cause.is::<rustls::Error>() {
        return Some("tls");
    }
    match cause.downcast_ref::<hyper::Error>() {
        Some(error) if error.is_parse() => return Some("protocol"),
        Some(error) if error.is_incomplete_message() => return Some("truncated"),
        _ => {}
    }
    match io_kind(cause)? {
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            Some("reset")
        }
        ErrorKind::UnexpectedEof => Some("truncated"),
        ErrorKind::InvalidData | ErrorKind::InvalidInput => Some("protocol"),
        _ => None,
    }
}

fn io_kind(cause: &(dyn Error + 'static)) -> Option<ErrorKind> {
    // An error that only wraps another one is classified by the inner one.
    cause.downcast_ref::<io::Error>().filter(|error| !wraps_typed(error)).map(io::Error::kind)
}

fn wraps_typed(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>() || inner.is::<hyper::Error>())
}

/// The error and its causes, outermost first. Unlike `source()` the chain includes the error inside
/// an [`io::Error`].
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    })
}

/// Describes the causes. The client's own wrappers are left out: they add nothing, and name the
/// URL, which may hold a secret.
fn describe(error: &reqwest::Error) -> String {
    let mut parts: Vec<String> = causes(error)
        .filter(|cause| {
            !cause.is::<reqwest::Error>() && !cause.is::<hyper_util::client::legacy::Error>()
        })
        .map(describe_cause)
        .collect();
    parts.dedup();
    if parts.is_empty() { "the request could not be sent".to_owned() } else { parts.join(": ") }
}
