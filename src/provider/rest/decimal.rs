//! The filter `decimal`: minor units of a currency as exact decimal text.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

/// Currencies without minor units (ISO 4217, list one).
const NONE: [&str; 17] = [
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF",
    "XPF",
];

/// Currencies with a thousandth.
const THREE: [&str; 7] = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];

/// Currencies with a ten-thousandth.
const FOUR: [&str; 2] = ["CLF", "UYW"];

/// Currencies with a hundredth: every other code of list one that has minor units at all.
const TWO: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD \
    CDF CHE CHF CHW CNY COP COU CRC CUC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD \
    HNL HRK HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR \
    MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP \
    SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR \
    ZMW ZWG ZWL";

/// How many digits a currency has after the point; `None` for a code that ISO 4217 does not have.
fn exponent(currency: &str) -> Option<usize> {
    let code = currency.to_ascii_uppercase();
    let listed = |codes: &[&str]| codes.contains(&code.as_str());
    match code.as_str() {
        _ if listed(&NONE) => Some(0),
        _ if listed(&THREE) => Some(3),
        _ if listed(&FOUR) => Some(4),
        _ if TWO.split(' ').any(|known| known == code) => Some(2),
        _ => None,
    }
}

/// `1099 | decimal('EUR')` is `10.99`.
///
/// # Errors
/// Where the amount is no integer or the currency is not in ISO 4217. The amount is not quoted: it may be confidential.
#[expect(clippy::needless_pass_by_value, reason = "the engine hands arguments over by value")]
pub(super) fn decimal(amount: Value, currency: Value) -> Result<String, Error> {
    let refuse = |text: String| Error::new(ErrorKind::InvalidOperation, text);
    let integer = (amount.kind() == ValueKind::Number && amount.is_integer()).then(|| i128::try_from(amount).ok());
    let amount = integer.flatten().ok_or_else(|| refuse("`decimal` takes an integer of minor units".to_owned()))?;
    let code = currency.as_str().unwrap_or_default();
    let digits = exponent(code).ok_or_else(|| {
        refuse(format!("`{}` is not a currency of ISO 4217", code.chars().take(8).collect::<String>()))
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
        for amount in [Value::from(1.5), Value::from(1.0), Value::from("1"), Value::from(true), Value::UNDEFINED] {
            assert_eq!(decimal(amount, Value::from("EUR")).ok(), None);
        }
        assert_eq!(decimal(Value::from(1), Value::UNDEFINED).ok(), None);
    }

    #[test]
    fn no_currency_is_in_two_lists() {
        let mut all: Vec<&str> = NONE.into_iter().chain(THREE).chain(FOUR).chain(TWO.split(' ')).collect();
        assert!(all.iter().all(|code| code.len() == 3), "{all:?}");
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
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
