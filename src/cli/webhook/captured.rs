//! A webhook in a file: request line, headers, an empty line, and the body byte for byte.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use url::Url;

use crate::cli::error::CommandError;
use ferryd_domain::webhook::RawWebhook;

/// A captured call.
#[derive(Debug)]
pub(crate) struct CapturedWebhook {
    /// The webhook.
    pub(crate) call: RawWebhook,
    /// Notes about the reading of the file that its author may not expect.
    pub(crate) notes: Vec<String>,
}

/// Reads a call from a file, or from the standard input where the file is `-`.
pub(super) fn read(path: &Path, url: Option<&Url>) -> Result<CapturedWebhook, CommandError> {
    let bytes = bytes(path)?;
    parse(&bytes, url)
        .map_err(|problem| CommandError::Refused(format!("{}: {problem}", path.display())))
}

/// The bytes of a file, or of the standard input where the file is `-`.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, CommandError> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    bytes.map_err(|source| CommandError::Input { path: PathBuf::from(path), source })
}

/// Parses a call. `url` is the one that the provider called, where the file does not say it.
pub(crate) fn parse(bytes: &[u8], url: Option<&Url>) -> Result<CapturedWebhook, String> {
    let (head, body) = split_head(bytes);
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let (method, target) = request_line(lines.next().unwrap_or_default())?;
    let headers = lines.map(header).collect::<Result<Vec<_>, _>>()?;
    let mut notes = Vec::new();
    let body = truncate_body(body, &headers, &mut notes);
    let host = headers.iter().find(|(name, _)| name == "host").map(|(_, value)| value.as_str());
    let url = match url {
        Some(url) => url.clone(),
        None => called_url(&target, host)?,
    };
    Ok(CapturedWebhook {
        call: RawWebhook { method, url, headers, body: body.to_vec().into(), certificate: None },
        notes,
    })
}

/// Splits head and body at the first empty line.
fn split_head(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut start = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let end = start + line.len();
        if matches!(line, b"\n" | b"\r\n") && start > 0 {
            return (&bytes[..start], &bytes[end..]);
        }
        start = end;
    }
    (bytes, &[])
}

fn request_line(line: &str) -> Result<(String, String), String> {
    let mut words = line.split_whitespace();
    let method = words.next().filter(|word| word.bytes().all(|byte| byte.is_ascii_uppercase()));
    match (method, words.next()) {
        (Some(method), Some(target)) => Ok((method.to_owned(), target.to_owned())),
        _ => Err(
            "does not begin with a request line; write one such as `POST /hooks/stripe HTTP/1.1`"
                .to_owned(),
        ),
    }
}

fn header(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| {
        format!("`{line}` is no header; write `Name: value`, and an empty line before the body")
    })?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

/// Cuts the body to the length that the call states: editors like to append a line break.
fn truncate_body<'b>(
    body: &'b [u8],
    headers: &[(String, String)],
    notes: &mut Vec<String>,
) -> &'b [u8] {
    let length = headers.iter().find(|(name, _)| name == "content-length").map(|(_, value)| value);
    let Some(length) = length.and_then(|value| value.parse::<usize>().ok()) else { return body };
    if body.len() < length {
        notes.push(format!("the file has {} bytes of a body of {length}", body.len()));
    } else if body.len() > length {
        notes.push(format!(
            "only the first {length} bytes of the body are taken, the file has {}",
            body.len()
        ));
    }
    body.get(..length).unwrap_or(body)
}

/// Builds the URL that was called.
fn called_url(target: &str, host: Option<&str>) -> Result<Url, String> {
    let text = match (target.starts_with('/'), host) {
        (false, _) => target.to_owned(),
        (true, Some(host)) => format!("https://{host}{target}"),
        (true, None) => {
            return Err(
                "does not say which host was called; write a header `Host`, or --url".to_owned()
            );
        }
    };
    text.parse().map_err(|error| format!("`{text}` is no URL ({error}); write --url"))
}
