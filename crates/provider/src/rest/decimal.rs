//! The filter `decimal`: minor units of a currency as exact decimal text.

use iso_currency::Currency;
use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

/// The Netherlands Antillean guilder, which ISO 4217 withdrew in 2025 and providers still accept,
/// with its digits after the decimal point.
const WITHDRAWN: (&str, usize) = ("ANG", 2);

/// The number of a currency's digits after the decimal point; `None` for a code that ISO 4217 does
/// not have, or lists without minor units.
fn exponent(currency: &str) -> Option<usize> {
    let code = currency.to_ascii_uppercase();
    if code == WITHDRAWN.0 {
        return Some(WITHDRAWN.1);
    }
    Currency::from_code(&code)?.exponent().map(usize::from)
}

/// Converts minor units to decimal text: `1099 | decimal('EUR')` is `10.99`.
///
/// # Errors
/// The amount is no integer, or the currency is not in ISO 4217. The error does not quote the
/// amount, which may be confidential.
#[expect(clippy::needless_pass_by_value, reason = "the engine hands arguments over by value")]
pub(super) fn decimal(amount: Value, currency: Value) -> Result<String, Error> {
    let refuse = |text: String| Error::new(ErrorKind::InvalidOperation, text);
    let integer = (amount.kind() == ValueKind::Number && amount.is_integer())
        .then(|| i128::try_from(amount).ok());
    let amount = integer
        .flatten()
        .ok_or_else(|| refuse("`decimal` takes an integer of minor units".to_owned()))?;
    let code = currency.as_str().unwrap_or_default();
    let digits = exponent(code).ok_or_else(|| {
        refuse(format!(
            "`{}` is not a currency of ISO 4217",
            code.chars().take(8).collect::<String>()
        ))
    })?;
    Ok(text(amount, digits))
}

fn text(amount: i128, digits: usize) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    let minor = format!("{:0>width$}", amount.unsigned_abs(), width = digits + 1);
    let (whole, fraction) = minor.split_at(minor.len() - digits);
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn eval(amount: impl Into<Value>, currency: &str) -> Option<String> {
        decimal(amount.into(), Value::from(currency)).ok()
    }

    #[test]
    fn minor_units_become_exact_decimal_text() {
        let table = [
            (1099, "EUR", "10.99"),
            (1099, "eur", "10.99"),
            (5, "USD", "0.05"),
            (0, "USD", "0.00"),
            (-5, "USD", "-0.05"),
            (-1099, "EUR", "-10.99"),
            (1099, "JPY", "1099"),
            (-1, "krw", "-1"),
            (1099, "KWD", "1.099"),
            (7, "TND", "0.007"),
            (12_345, "CLF", "1.2345"),
            (i64::MAX, "EUR", "92233720368547758.07"),
        ];
        for (amount, currency, expected) in table {
            assert_eq!(eval(amount, currency).as_deref(), Some(expected), "{amount} {currency}");
        }
        assert_eq!(eval(u64::MAX, "EUR").as_deref(), Some("184467440737095516.15"));
    }

    #[test]
    fn what_is_no_integer_or_no_currency_is_refused() {
        for currency in ["", "E", "EURO", "XYZ", "E U", "ÄÖÜ", "€"] {
            assert_eq!(eval(1, currency), None, "{currency}");
        }
        for amount in [
            Value::from(1.5),
            Value::from(1.0),
            Value::from("1"),
            Value::from(true),
            Value::UNDEFINED,
        ] {
            assert_eq!(decimal(amount, Value::from("EUR")).ok(), None);
        }
        assert_eq!(decimal(Value::from(1), Value::UNDEFINED).ok(), None);
    }

    #[test]
    fn digits_are_those_of_iso_4217_and_what_it_withdrew_is_still_known() {
        for (codes, digits) in [
            ("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF", Some(0)),
            ("EUR USD GBP HUF IDR MGA MRU TWD XCG ZWG ANG HRK SLL", Some(2)),
            ("BHD IQD JOD KWD LYD OMR TND", Some(3)),
            ("CLF UYW", Some(4)),
            ("XAU XDR XTS XXX", None),
        ] {
            for code in codes.split(' ') {
                assert_eq!(exponent(code), digits, "{code}");
            }
        }
    }

    proptest! {
        #[test]
        fn dropping_the_point_gives_the_amount_back(amount: i64) {
            for currency in ["JPY", "EUR", "KWD", "CLF"] {
                let text = eval(amount, currency).unwrap().replace('.', "");
                prop_assert_eq!(text.parse::<i64>().unwrap(), amount);
            }
        }
    }
}
