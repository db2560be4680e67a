//! A text that must stay hidden, searched for in every spelling.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use percent_encoding::percent_decode_str;

/// The number of bytes at the beginning or the end of a hidden text that count as having shown it.
const SHOWN: usize = 14;

/// A text that must stay hidden.
pub(super) struct HiddenText {
    /// The subject of the text, for people who read of a fault.
    name: String,
    /// The spellings that must not be seen; backslashes are left out.
    literals: Vec<String>,
    /// Parts of the base64 forms, and the hexadecimal digits in lower case.
    encoded: Vec<String>,
}

impl HiddenText {
    /// Makes a secret or token, which is not to be seen in any spelling.
    pub(super) fn secret(name: &str, text: &str) -> Self {
        let parts = [&text[..SHOWN], &text[text.len() - SHOWN..]];
        let base64 = parts.iter().flat_map(|part| (0..3).map(|before| base64_inside(part, before)));
        let hex = parts.iter().map(hex::encode);
        let encoded = base64.chain(hex).collect();
        Self {
            name: name.to_owned(),
            literals: parts.map(|part| part.replace('\\', "")).to_vec(),
            encoded,
        }
    }

    /// Makes a sensitive value, which may be seen where it was encoded.
    pub(super) fn value(name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), literals: vec![text.to_owned()], encoded: Vec::new() }
    }

    /// Finds the text in an exit, and names the place.
    pub(super) fn find_in(&self, exit: &TextExit) -> Option<String> {
        let by_literal = exit.readings.iter().flat_map(|reading| {
            self.literals
                .iter()
                .filter_map(move |literal| Some((reading, reading.find(literal.as_str())?)))
        });
        let by_code = exit.codes.iter().flat_map(|reading| {
            self.encoded
                .iter()
                .filter_map(move |code| Some((reading, reading.find(code.as_str())?)))
        });
        let (reading, at) = by_literal.chain(by_code).next()?;
        let around: String = reading[reading.floor_char_boundary(at.saturating_sub(120))..]
            .chars()
            .take(240)
            .collect();
        Some(format!("{} shows {} in …{around}…", exit.name, self.name))
    }
}

/// Returns the characters of a text's base64 form that do not depend on its neighbours, where
/// `before` bytes stand before it.
fn base64_inside(text: &str, before: usize) -> String {
    let all = [&b"\0\0\0"[..before], text.as_bytes()].concat();
    let whole = all.len() * 8 / 6;
    STANDARD_NO_PAD.encode(&all)[(before * 8).div_ceil(6)..whole].to_owned()
}

/// An output of ferryd, decoded in every way that a reader may try.
pub(super) struct TextExit {
    name: String,
    readings: Vec<String>,
    codes: Vec<String>,
}

impl TextExit {
    pub(super) fn new(name: impl Into<String>, text: &str) -> Self {
        let plain = text.replace('\\', "");
        let decoded = percent_decode_str(&plain).decode_utf8_lossy().into_owned();
        let form = decoded.replace('+', " ");
        let codes = vec![plain.replace('-', "+").replace('_', "/"), plain.to_lowercase()];
        Self { name: name.into(), readings: vec![plain, decoded, form], codes }
    }
}

#[test]
fn a_hidden_text_is_found_in_every_spelling_of_a_whole_and_of_its_begin_or_end() {
    let text = r#"Pa5"w/+rd=&%7x9:Kq<Zt>2"#;
    let hidden = HiddenText::secret("it", text);
    let percent = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let url_safe = base64::engine::general_purpose::URL_SAFE;
    let json = |text: &str| serde_json::Value::from(text).to_string();
    let mut shown =
        vec![text.to_owned(), percent(text), json(text), json(&json(text)), json(&percent(text))];
    shown.extend([
        text[..SHOWN].to_owned(),
        text[text.len() - SHOWN..].to_owned(),
        hex::encode_upper(text),
    ]);
    shown.extend(
        ["", "a", "ab", "abc"]
            .map(|before| STANDARD_NO_PAD.encode(format!("{before}{text}, and more"))),
    );
    shown.extend(["a:", ":"].map(|before| url_safe.encode(format!("{before}{text}"))));
    for shown in shown {
        let exit = TextExit::new("a log", &format!("so {shown}, it says"));
        assert!(
            hidden.find_in(&exit).is_some_and(|fault| fault.starts_with("a log shows it in …")),
            "{shown}"
        );
    }
    assert!(
        hidden.find_in(&TextExit::new("a log", "Authorization: Basic *** Pa5\"w *** 2")).is_none()
    );
}
