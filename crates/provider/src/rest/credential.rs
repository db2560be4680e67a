//! Checks and encoding of the credentials that a file names.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use ferryd_settings::findings::SettingsCursor;

/// Refuses a credential that is written literally into the file.
pub(super) fn refuse_written(place: &SettingsCursor<'_>) {
    place.refuse(
        "is the secret itself; write it under [secrets], and here such as `{{ secrets.api_key }}`",
    );
}

/// The header value of the scheme `Basic` (RFC 7617).
pub(super) fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}")))
}
