//! Amounts of money in provider files: the amount that a command asks for, and the amount that an
//! answer or a webhook reports.

use super::expression::{Condition, ExpressionScope, KnownVariables};
use super::text::TextTemplate;
use ferryd_domain::money::{MoneyAmount, StatedAmount};
use ferryd_settings::findings::SettingsCursor;

/// The expressions that yield an amount, compiled.
#[derive(Debug)]
pub(crate) struct AmountTemplate {
    amount: TextTemplate,
    currency: Option<TextTemplate>,
    partial: Option<Condition>,
}

/// The texts of a file about an amount.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AmountSource<'f> {
    /// The amount.
    pub(crate) amount: Option<&'f String>,
    /// The amount's currency.
    pub(crate) currency: Option<&'f String>,
    /// The condition under which an amount other than the requested one is intended.
    pub(crate) partial: Option<&'f String>,
}

impl AmountTemplate {
    /// Compiles the amount of a table; faults are reported at `place`.
    pub(crate) fn compile(
        source: AmountSource<'_>,
        known: &KnownVariables<'_>,
        place: &SettingsCursor<'_>,
    ) -> Option<Self> {
        let AmountSource { amount, currency, partial } = source;
        for (key, _) in
            [("currency", currency), ("partial", partial)].iter().filter(|(_, text)| text.is_some())
        {
            if amount.is_none() {
                place
                    .key(key)
                    .refuse("stands without `amount`; write that as well, or leave it out");
            }
        }
        let text = |key: &str, source: Option<&String>| {
            place.key(key).check(TextTemplate::compile(source?, known))
        };
        let currency = text("currency", currency);
        let partial = partial
            .and_then(|source| place.key("partial").check(Condition::compile(source, known)));
        Some(Self { amount: text("amount", amount)?, currency, partial })
    }

    /// The amount, if it has a value.
    pub(crate) fn money(&self, scope: &ExpressionScope<'_>) -> Option<MoneyAmount> {
        let value =
            |text: &TextTemplate| text.string(scope).ok().flatten().filter(|text| !text.is_empty());
        Some(MoneyAmount {
            amount: value(&self.amount)?,
            currency: self.currency.as_ref().and_then(value),
        })
    }

    /// The amount, and whether an amount other than the requested one is intended.
    pub(crate) fn stated(&self, scope: &ExpressionScope<'_>) -> Option<StatedAmount> {
        let partial = self.partial.as_ref().is_some_and(|partial| partial.holds(scope));
        self.money(scope).map(|money| StatedAmount { money, partial })
    }
}
