//! Reads the body of a request within limits of size and time; for the API, JSON alone.

use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use super::problem::{ApiProblem, ProblemKind};
use ferryd_domain::command::MAX_BODY;

/// The longest time that a body may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads the body of a request.
///
/// Only the media type of JSON is accepted: a web page can't make a browser send that to another
/// host without a preflight request.
pub(super) async fn json(request: Request) -> Result<Bytes, ApiProblem> {
    if is_encoded(request.headers()) {
        let detail = "send the command as it is, without a `Content-Encoding`";
        return Err(ApiProblem::new(ProblemKind::UnsupportedMediaType, detail));
    }
    if !is_json(request.headers()) {
        let detail = "send the command as JSON, with `Content-Type: application/json`";
        return Err(ApiProblem::new(ProblemKind::UnsupportedMediaType, detail));
    }
    read_whole_body(request, MAX_BODY, PATIENCE).await.map_err(|unread| match unread {
        BodyError::TooLarge => hang_up(ApiProblem::new(
            ProblemKind::TooLarge,
            format!("a command has at most {MAX_BODY} bytes"),
        )),
        BodyError::Late => {
            let detail = format!("send the body within {} s", PATIENCE.as_secs());
            hang_up(ApiProblem::new(ProblemKind::RequestTimeout, detail))
        }
        BodyError::Broken => {
            hang_up(ApiProblem::new(ProblemKind::InvalidRequest, "the body ends before its end"))
        }
    })
}

/// The reason why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyError {
    /// The body is larger than allowed.
    TooLarge,
    /// The body did not come in time.
    Late,
    /// The body ended early.
    Broken,
}

/// Reads a body of at most `most` bytes, within this time. A body with a larger `Content-Length` is
/// not read at all.
pub(super) async fn read_whole_body(
    request: Request,
    most: usize,
    patience: Duration,
) -> Result<Bytes, BodyError> {
    let length = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > most as u64) {
        return Err(BodyError::TooLarge);
    }
    tokio::time::timeout(patience, read(request, most)).await.unwrap_or(Err(BodyError::Late))
}

async fn read(request: Request, most: usize) -> Result<Bytes, BodyError> {
    let mut chunks = request.into_body().into_data_stream();
    let mut body = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| BodyError::Broken)?;
        if body.len() + chunk.len() > most {
            return Err(BodyError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Returns true where a body is compressed, or encoded otherwise.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type =
        headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Closes the connection after the answer, because the rest of the body is not read.
pub(super) fn hang_up(problem: ApiProblem) -> ApiProblem {
    problem.with_header(CONNECTION, HeaderValue::from_static("close"))
}
