//! Masks the notices of webhooks.

use super::mask::Mask;
use super::unmasked::MaskableValue;
use ferryd_domain::money::{MoneyAmount, StatedAmount};
use ferryd_domain::webhook::{NoticeMeaning, WebhookNotice};

impl MaskableValue for WebhookNotice {
    /// The token stays unmasked: it proves the command, and is never published. In the body only
    /// secrets and tokens are masked, because the command's references are searched for in it; the
    /// body is masked once more where it is published.
    fn masked(self, mask: &Mask) -> Self {
        let mask = &mask.with_tokens(self.token.as_deref().as_slice());
        let text = |text: Option<String>| text.map(|text| mask.masked_data(text).into_string());
        Self {
            event: text(self.event),
            id: text(self.id),
            reference: mask.reference(self.reference),
            meaning: self.meaning.masked(mask),
            amount: self.amount.masked(mask),
            body: mask.data(self.body),
            ..self
        }
    }
}

impl MaskableValue for NoticeMeaning {
    fn masked(self, mask: &Mask) -> Self {
        match self {
            Self::Completed(success) => Self::Completed(success.masked(mask)),
            Self::Declined(failure) => Self::Declined(failure.masked(mask)),
            Self::Failed(failure) => Self::Failed(failure.masked(mask)),
            Self::Progress(result) => Self::Progress(result.map(|result| mask.data(result))),
            Self::Lookup | Self::Nothing => self,
        }
    }
}

impl MaskableValue for StatedAmount {
    fn masked(self, mask: &Mask) -> Self {
        let MoneyAmount { amount, currency } = self.money;
        let text = |text: String| mask.masked_data(text).into_string();
        Self { money: MoneyAmount { amount: text(amount), currency: currency.map(text) }, ..self }
    }
}
