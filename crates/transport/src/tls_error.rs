//! Describes TLS errors for people: with dates instead of seconds since 1970, and without links to
//! a library's documentation.

use std::error::Error;
use std::io;

use jiff::Timestamp;
use rustls::CertificateError;
use rustls::pki_types::UnixTime;

/// Describes one cause of a failed connection.
#[must_use]
pub fn describe_cause(cause: &(dyn Error + 'static)) -> String {
    let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let tls = cause.downcast_ref().or_else(|| inner?.downcast_ref());
    if let Some(text) = tls.and_then(describe_validity) {
        return text;
    }
    let text = cause.to_string();
    if text.contains("close_notify") {
        return "the other side closed the connection without the `close_notify` of TLS".to_owned();
    }
    text
}

/// Describes the peer's certificate if it has expired or is not valid yet; `None` for any other
/// error.
fn describe_validity(error: &rustls::Error) -> Option<String> {
    let rustls::Error::InvalidCertificate(fault) = error else { return None };
    match fault {
        CertificateError::ExpiredContext { not_after, .. } => {
            Some(format!("invalid peer certificate: it expired on {}", date(*not_after)))
        }
        CertificateError::NotValidYetContext { not_before, .. } => Some(format!(
            "invalid peer certificate: it is not valid before {}; is the clock right?",
            date(*not_before)
        )),
        _ => None,
    }
}

fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_validity_of_a_certificate_is_given_in_dates() {
        let at = |second| UnixTime::since_unix_epoch(Duration::from_secs(second));
        let (time, second) = (at(1_796_000_000), at(1_795_996_800));
        let expired =
            rustls::Error::from(CertificateError::ExpiredContext { time, not_after: second });
        let early = rustls::Error::from(CertificateError::NotValidYetContext {
            time: second,
            not_before: time,
        });
        for (error, date) in
            [(expired, "expired on 2026-11-30T00:00:00Z"), (early, "before 2026-11-30T00:53:20Z")]
        {
            for cause in
                [Box::<dyn Error>::from(error.clone()), Box::from(io::Error::other(error.clone()))]
            {
                let text = describe_cause(cause.as_ref());
                assert!(text.contains(date) && !text.contains("179"), "{text}");
            }
        }
    }

    #[test]
    fn a_connection_that_is_cut_is_described_without_the_address_of_a_librarys_documentation() {
        let text = "peer closed connection without sending TLS close_notify: https://docs.rs/rustls/latest/rustls/manual/";
        let text = describe_cause(&io::Error::new(io::ErrorKind::UnexpectedEof, text));
        assert!(text.contains("close_notify") && !text.contains("docs.rs"), "{text}");
    }
}
