use super::*;
use crate::webhook::fixture::call;

fn place(within: ValueSelector) -> HeaderSelector {
    HeaderSelector { header: "x-signature".to_owned(), value: within }
}

#[test]
fn a_value_is_found_whole_in_a_field_or_by_its_version() {
    let field = |name: &str, separator| ValueSelector::Field(name.to_owned(), separator);
    let version = |name: &str| ValueSelector::Version(name.to_owned());
    let table = [
        (ValueSelector::Whole, " a=b ", vec!["a=b"]),
        (ValueSelector::Whole, "  ", vec![]),
        (field("v1", ','), "t=1, v1=a==,v1 = b,v10=c,v1=,V1=d", vec!["a==", "b"]),
        (field("h1", ';'), "ts=1;h1=a,b", vec!["a,b"]),
        (field("v1", ','), "v1", vec![]),
        (version("v1"), "v1,a= v1a,b  v1,c v1 ,d", vec!["a=", "c"]),
        (version("v1"), "a", vec![]),
    ];
    for (within, header, expected) in table {
        let call = call("https://a.example/", &[("X-Signature", header)], b"");
        assert_eq!(place(within).values(&call), expected, "{header}");
    }
    assert!(place(ValueSelector::Whole).values(&call("https://a.example/", &[], b"")).is_empty());
}

#[test]
fn a_time_is_read_in_its_unit_and_nothing_else_is() {
    let read = |unit, text: &str| {
        let tolerance = Duration::from_mins(5);
        let place = TimestampSelector { place: place(ValueSelector::Whole), unit, tolerance };
        place.parsed(text).map(Timestamp::as_millisecond)
    };
    let table = [
        (UnitFile::S, "1700000000", Some(1_700_000_000_000)),
        (UnitFile::Ms, "1700000000123", Some(1_700_000_000_123)),
        (UnitFile::Auto, "1700000000", Some(1_700_000_000_000)),
        (UnitFile::Auto, "1700000000123", Some(1_700_000_000_123)),
        (UnitFile::S, "1700000000123", None),
        (UnitFile::S, "99999999999999999999", None),
        (UnitFile::S, "-1", None),
        (UnitFile::S, "+1", None),
        (UnitFile::S, "1.5", None),
        (UnitFile::S, "1e9", None),
        (UnitFile::S, "", None),
    ];
    for (unit, text, expected) in table {
        assert_eq!(read(unit, text), expected, "{unit:?} {text}");
    }
}

#[test]
fn of_very_many_signatures_only_the_first_are_looked_at() {
    let signatures = SignatureSelector {
        place: place(ValueSelector::Field("v1".to_owned(), ',')),
        prefix: String::new(),
        encoding: SignatureEncoding::Hex,
    };
    let header = vec!["v1=00"; 10_000].join(",");
    let call = call("https://a.example/", &[("X-Signature", &header)], b"");
    assert_eq!(
        signatures.read(&call, &mut VerificationTrace::silent()).map(|found| found.len()),
        Ok(MOST_SIGNATURES)
    );
}
