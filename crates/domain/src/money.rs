//! Amounts of money that are compared: the amount of a command, and the amount that its provider
//! states as done.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::outcome::Failure;

/// The code of a failure where the provider's amount differs from the command's.
pub const AMOUNT_MISMATCH: &str = "amount_mismatch";

/// An amount of money, in the unit in which a provider file states it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MoneyAmount {
    /// The amount, a decimal number.
    pub amount: String,
    /// The currency of the amount, where one is stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

/// The amount that a provider states as done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatedAmount {
    /// The amount and its currency.
    pub money: MoneyAmount,
    /// True where the amount may be less than the command's.
    pub partial: bool,
}

impl MoneyAmount {
    /// Compares the amount that a provider states with this one of the command, and returns the
    /// difference as a failure. Of a partial amount only the currency has to be the same.
    #[must_use]
    pub fn mismatch(&self, stated: &StatedAmount) -> Option<Failure> {
        let StatedAmount { money, partial } = stated;
        let same_amount = *partial || plain_decimal(&self.amount) == plain_decimal(&money.amount);
        let same_currency = self
            .currency
            .as_ref()
            .zip(money.currency.as_ref())
            .is_none_or(|(one, other)| one.eq_ignore_ascii_case(other));
        let text = || {
            format!(
                "the command requests {self}, and the provider reports {money}; look it up at the provider"
            )
        };
        (!same_amount || !same_currency).then(|| Failure::new(AMOUNT_MISMATCH, text()))
    }
}

impl fmt::Display for MoneyAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.currency {
            Some(currency) => write!(f, "{} {}", self.amount, currency.to_uppercase()),
            None => f.write_str(&self.amount),
        }
    }
}

/// Removes the zeros of a decimal number that have no value: `010.50` becomes `10.5`.
fn plain_decimal(number: &str) -> &str {
    let number = number.trim();
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    };
    let whole = number.trim_start_matches('0');
    if whole.is_empty() { "0" } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> MoneyAmount {
        let (amount, currency) = text.split_once(' ').unwrap_or((text, ""));
        let currency = Some(currency.to_owned()).filter(|currency| !currency.is_empty());
        MoneyAmount { amount: amount.to_owned(), currency }
    }

    #[test]
    fn a_stated_amount_agrees_with_the_requested_one_by_value_and_currency() {
        for (requested, stated, partial, agrees) in [
            ("1099 eur", "1099 EUR", false, true),
            ("1099 eur", "1099 USD", false, false),
            ("1099 eur", "1098 EUR", false, false),
            ("1099 eur", "10990 EUR", false, false),
            ("1099 eur", "500 EUR", true, true),
            ("1099 eur", "500 USD", true, false),
            ("1099 eur", "1099", false, true),
            ("1099", "1099 EUR", false, true),
            ("10.50", "10.5", false, true),
            ("1200.00 HUF", "1200 huf", false, true),
            ("0.00", "0", false, true),
            ("100", "1", false, false),
            ("0.10", "0.1", false, true),
            ("10", "0.10", false, false),
        ] {
            let stated = StatedAmount { money: money(stated), partial };
            assert_eq!(
                money(requested).mismatch(&stated).is_none(),
                agrees,
                "{requested} {stated:?}"
            );
        }
        let stated = StatedAmount { money: money("1 USD"), partial: false };
        let failure = money("1099 eur").mismatch(&stated).unwrap();
        assert_eq!(failure.code.as_deref(), Some(AMOUNT_MISMATCH));
        assert!(
            failure
                .message
                .starts_with("the command requests 1099 EUR, and the provider reports 1 USD")
        );
    }
}
