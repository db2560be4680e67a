//! Reading the body of a request: JSON, not too large, and not too slow.

use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use super::problem::{Kind, Problem};
use crate::domain::command::MAX_BODY;

/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads the body of a request.
///
/// Only JSON is taken, by its media type: a web page can't make a browser send that to another host without asking first.
pub(super) async fn json(request: Request) -> Result<Bytes, Problem> {
    if !is_json(request.headers()) {
        let detail = "send the command as JSON, with `Content-Type: application/json`";
        return Err(Problem::new(Kind::UnsupportedMediaType, detail));
    }
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    tokio::time::timeout(PATIENCE, read(request)).await.unwrap_or_else(|_| {
        let detail = format!("send the body within {} s", PATIENCE.as_secs());
        Err(hang_up(Problem::new(Kind::RequestTimeout, detail)))
    })
}

async fn read(request: Request) -> Result<Bytes, Problem> {
    let mut chunks = request.into_body().into_data_stream();
    let mut body = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| hang_up(Problem::new(Kind::InvalidRequest, "the body ends before its end")))?;
        if body.len() + chunk.len() > MAX_BODY {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn too_large() -> Problem {
    hang_up(Problem::new(Kind::TooLarge, format!("a command has at most {MAX_BODY} bytes")))
}

/// What is left of the body is not read.
fn hang_up(problem: Problem) -> Problem {
    problem.with_header(CONNECTION, HeaderValue::from_static("close"))
}
