//! Parameters of a form as Twilio signs them: sorted by name, each name followed by its value.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::percent_decode;

use ferryd_domain::webhook::RawWebhook;

/// The media type of forms.
const FORM: &str = "application/x-www-form-urlencoded";

/// Returns true if a call says that its body is a form.
pub(super) fn is_form(call: &RawWebhook) -> bool {
    let media_type = call.header("content-type").and_then(|value| value.split(';').next());
    media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(FORM))
}

/// Concatenates every name and value of a form, decoded, in the order of names; of one name, each
/// distinct value once, sorted.
///
/// The bytes are exact: parts that are not UTF-8 stay unchanged.
pub(super) fn sorted(body: &[u8]) -> Vec<u8> {
    let mut parameters: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let mut halves = pair.splitn(2, |byte| *byte == b'=').map(decoded);
        let name = halves.next().unwrap_or_default();
        parameters.entry(name).or_default().insert(halves.next().unwrap_or_default());
    }
    let mut signed = Vec::with_capacity(body.len());
    for (name, values) in parameters {
        for value in values {
            signed.extend_from_slice(&name);
            signed.extend_from_slice(&value);
        }
    }
    signed
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> =
        text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_values_follow_and_repeats_are_dropped() {
        let table: [(&[u8], &[u8]); 8] = [
            (b"b=2&a=1", b"a1b2"),
            (b"To=%2B18005551212&Body=a+b", b"Bodya bTo+18005551212"),
            (b"a=2&a=1&a=2", b"a1a2"),
            (b"a", b"a"),
            (b"a=b=c", b"ab=c"),
            (b"&&", b""),
            (b"x=%FF%fe", b"x\xff\xfe"),
            (b"x=\xc3(%", b"x\xc3(%"),
        ];
        for (body, expected) in table {
            assert_eq!(sorted(body), expected, "{body:?}");
        }
    }
}
