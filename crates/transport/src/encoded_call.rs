//! Writes a call as JSON, once: the line of the stream of calls and the line of the log hold the
//! same bytes of its request and response.

use std::ops::Range;

use super::call_log::{HttpCall, MaskedReply, MaskedRequest, ReplyFault};
use ferryd_domain::json_writer::JsonWriter;
use ferryd_redact::escape::push_json_text;
use ferryd_redact::{MaskedHeaders, cut_note};

/// The size of most lines, in bytes.
const USUAL_SIZE: usize = 2048;

/// A call as a line of the stream, and the places in it of what the log repeats.
pub struct EncodedCall<'c> {
    call: &'c HttpCall<'c>,
    line: String,
    texts: EncodedTexts,
}

/// The places of the masked texts in the line, each with its quotes or braces.
#[derive(Default)]
struct EncodedTexts {
    url: Range<usize>,
    request_headers: Range<usize>,
    request_body: Option<Range<usize>>,
    response_headers: Option<Range<usize>>,
    response_body: Option<Range<usize>>,
    error_code: Option<Range<usize>>,
    error: Option<Range<usize>>,
}

impl<'c> EncodedCall<'c> {
    /// Encodes a masked call.
    #[must_use]
    pub fn new(call: &'c HttpCall<'c>) -> Self {
        let mut line = String::with_capacity(USUAL_SIZE);
        let texts = CallWriter { json: JsonWriter::new(&mut line) }.call(call);
        Self { call, line, texts }
    }

    /// Returns the line of the stream, its line break included.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Appends the fields of the log's line, each after a comma. Headers and bodies are texts there;
    /// headers are cut to `cap` bytes, as bodies are.
    pub fn push_log_fields(&self, line: &mut String, cap: usize) {
        let Self { call, texts, .. } = self;
        let writer = &mut CallWriter { json: JsonWriter::new(line) };
        writer.json.raw(",\"message\":\"call\"");
        writer.text(",\"command.id\":", call.command.as_str());
        writer.text(",\"provider\":", call.provider.as_str());
        writer.text(",\"operation\":", call.operation.as_str());
        writer.json.number(",\"generation\":", call.generation);
        writer.json.number(",\"attempt\":", call.attempt);
        writer.text(",\"http.request.method\":", call.request.method.as_str());
        self.copy(writer, ",\"url.full\":", &texts.url);
        self.headers(writer, ",\"request.headers\":", &texts.request_headers, cap);
        if let Some(body) = &texts.request_body {
            self.body(writer, ",\"request.body\":", body, call.request.body_cut);
        }
        writer.text(",\"sent\":", call.sent.as_str());
        if let Some(response) = &call.response {
            writer.json.number(",\"http.response.status_code\":", response.status);
            if let Some(headers) = &texts.response_headers {
                self.headers(writer, ",\"response.headers\":", headers, cap);
            }
            if let Some(body) = &texts.response_body {
                self.body(writer, ",\"response.body\":", body, response.body_cut);
            }
        }
        writer.json.number(",\"duration_ms\":", call.duration_ms);
        if let Some(code) = &texts.error_code {
            self.copy(writer, ",\"error.type\":", code);
        }
        if let Some(message) = &texts.error {
            self.copy(writer, ",\"error.message\":", message);
        }
    }

    fn copy(&self, writer: &mut CallWriter<'_>, name: &str, place: &Range<usize>) {
        writer.json.raw(name);
        writer.json.raw(&self.line[place.clone()]);
    }

    /// Copies a body, and says within its quotes how many bytes were cut.
    fn body(&self, writer: &mut CallWriter<'_>, name: &str, place: &Range<usize>, cut: usize) {
        self.copy(writer, name, place);
        if cut > 0 {
            writer.json.buffer().pop();
            writer.json.raw(&cut_note(cut));
            writer.json.raw("\"");
        }
    }

    /// Writes headers as a text.
    fn headers(&self, writer: &mut CallWriter<'_>, name: &str, place: &Range<usize>, cap: usize) {
        let headers = &self.line[place.clone()];
        let end = headers.floor_char_boundary(cap);
        writer.text(name, &headers[..end]);
        if end < headers.len() {
            writer.json.buffer().pop();
            writer.json.raw(&cut_note(headers.len() - end));
            writer.json.raw("\"");
        }
    }
}

/// Writes calls as JSON, with the escapes of the log in its texts.
struct CallWriter<'l> {
    json: JsonWriter<'l>,
}

impl CallWriter<'_> {
    /// Writes a call as serde would, and returns the places of its texts.
    fn call(&mut self, call: &HttpCall<'_>) -> EncodedTexts {
        let mut texts = EncodedTexts::default();
        self.json.time("{\"at\":", call.at);
        self.text(",\"command\":", call.command.as_str());
        self.text(",\"provider\":", call.provider.as_str());
        self.text(",\"operation\":", call.operation.as_str());
        self.json.number(",\"generation\":", call.generation);
        self.json.number(",\"attempt\":", call.attempt);
        self.text(",\"host\":", &call.host);
        self.request(&call.request, &mut texts);
        self.text(",\"sent\":", call.sent.as_str());
        if let Some(response) = &call.response {
            self.response(response, &mut texts);
        }
        self.json.number(",\"duration_ms\":", call.duration_ms);
        if let Some(fault) = &call.error {
            self.fault(fault, &mut texts);
        }
        self.json.raw("}\n");
        texts
    }

    fn request(&mut self, request: &MaskedRequest<'_>, texts: &mut EncodedTexts) {
        self.text(",\"request\":{\"method\":", request.method.as_str());
        texts.url = self.text(",\"url\":", &request.url);
        texts.request_headers = self.headers(",\"headers\":", &request.headers);
        texts.request_body = request.body.as_deref().map(|body| self.text(",\"body\":", body));
        self.cut(request.body_cut);
        self.json.raw("}");
    }

    fn response(&mut self, response: &MaskedReply<'_>, texts: &mut EncodedTexts) {
        self.json.number(",\"response\":{\"status\":", response.status);
        texts.response_headers =
            response.headers.as_ref().map(|headers| self.headers(",\"headers\":", headers));
        texts.response_body = response.body.as_deref().map(|body| self.text(",\"body\":", body));
        self.cut(response.body_cut);
        self.json.raw("}");
    }

    fn fault(&mut self, fault: &ReplyFault<'_>, texts: &mut EncodedTexts) {
        self.json.raw(",\"error\":{");
        texts.error_code = fault.code.as_deref().map(|code| {
            let code = self.text("\"code\":", code);
            self.json.raw(",");
            code
        });
        texts.error = Some(self.text("\"message\":", &fault.message));
        self.json.raw("}");
    }

    fn cut(&mut self, bytes: usize) {
        if bytes > 0 {
            self.json.number(",\"body_cut\":", u64::try_from(bytes).unwrap_or(u64::MAX));
        }
    }

    fn headers(&mut self, name: &str, headers: &MaskedHeaders<'_>) -> Range<usize> {
        self.json.raw(name);
        let start = self.json.buffer().len();
        self.json.raw("{");
        for (index, (name, value)) in headers.iter().enumerate() {
            self.text(if index > 0 { "," } else { "" }, name);
            self.text(":", value);
        }
        self.json.raw("}");
        start..self.json.buffer().len()
    }

    /// Writes a text in quotes, and returns its place.
    fn text(&mut self, name: &str, text: &str) -> Range<usize> {
        self.json.raw(name);
        let line = self.json.buffer();
        let start = line.len();
        push_json_text(line, text);
        start..line.len()
    }
}

#[cfg(test)]
#[path = "encoded_call_tests.rs"]
mod tests;
