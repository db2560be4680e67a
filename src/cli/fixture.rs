//! Providers and an output, for the tests of subcommands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::output::TerminalOutput;
use crate::captured_text::CapturedText;
use ferryd_domain::credentials::CredentialCheck;
use ferryd_domain::http_call::{CallResult, HttpRequest};
use ferryd_domain::message_call::MessageResult;
use ferryd_domain::money::MoneyAmount;
use ferryd_domain::name::Name;
use ferryd_domain::outbound_request::OutboundRequest;
use ferryd_domain::outcome::{Failure, LookupOutcome, Outcome, PollOutcome};
use ferryd_domain::query::{LookupPolicy, PollPolicy, QueryPurpose};
use ferryd_domain::retry::RetryPolicy;
use ferryd_domain::token::{AccessToken, TokenUnavailable};
use ferryd_provider::fake_webhook;
use ferryd_provider::{
    Account, Adapter, CallContext, HttpSettings, IdempotencyPolicy, LogSettings, Operation,
    PayloadSchema, Provider, ProviderLink,
};
use ferryd_redact::UnmaskedValue;

/// An adapter that these tests never call.
struct NeverCalled;

impl Adapter for NeverCalled {
    fn build_request(
        &self,
        _: &CallContext<'_>,
    ) -> Result<OutboundRequest, UnmaskedValue<Failure>> {
        unreachable!("nothing is called")
    }

    fn requested_amount(&self, _: &CallContext<'_>) -> Option<MoneyAmount> {
        unreachable!("nothing is called")
    }

    fn interpret_reply(&self, _: &CallContext<'_>, _: &CallResult) -> UnmaskedValue<Outcome> {
        unreachable!("nothing is called")
    }

    fn interpret_receipt(&self, _: &CallContext<'_>, _: &MessageResult) -> UnmaskedValue<Outcome> {
        unreachable!("nothing is called")
    }

    fn build_query(
        &self,
        _: &CallContext<'_>,
        _: QueryPurpose,
    ) -> Result<HttpRequest, UnmaskedValue<Failure>> {
        unreachable!("nothing is called")
    }

    fn interpret_poll(&self, _: &CallContext<'_>, _: &CallResult) -> UnmaskedValue<PollOutcome> {
        unreachable!("nothing is called")
    }

    fn interpret_lookup(
        &self,
        _: &CallContext<'_>,
        _: &CallResult,
    ) -> UnmaskedValue<LookupOutcome> {
        unreachable!("nothing is called")
    }

    fn affected_reference(&self, _: &CallContext<'_>) -> Option<String> {
        unreachable!("nothing is called")
    }

    fn build_token_request(&self, _: Duration) -> Option<HttpRequest> {
        unreachable!("nothing is called")
    }

    fn read_token(&self, _: &CallResult) -> Result<AccessToken, UnmaskedValue<TokenUnavailable>> {
        unreachable!("nothing is called")
    }

    fn verification_request(&self) -> Option<Result<HttpRequest, UnmaskedValue<Failure>>> {
        unreachable!("nothing is called")
    }

    fn interpret_credential_check(&self, _: &CallResult) -> UnmaskedValue<CredentialCheck> {
        unreachable!("nothing is called")
    }
}

/// Makes a provider that moves money: `charge` with a key and queries, `payout` and `tip` without,
/// `tip` with a short timeout.
pub(super) fn payments() -> Provider {
    let short = RetryPolicy { schedule: vec![Duration::from_secs(5); 3], ..RetryPolicy::default() };
    let cut = RetryPolicy {
        give_up_after: Duration::from_mins(10),
        jitter: false,
        ..RetryPolicy::default()
    };
    let charge = Operation {
        deadline: Duration::from_hours(21 * 24),
        poll: Some(PollPolicy {
            interval: Duration::from_secs(30),
            max_interval: Duration::from_hours(2),
        }),
        lookup: Some(LookupPolicy {
            after: Duration::from_secs(90),
            proves_absence: false,
            needs_reference: false,
        }),
        ..operation(true, RetryPolicy::default())
    };
    let operations =
        [("charge", charge), ("payout", operation(false, short)), ("tip", operation(false, cut))];
    provider("stripe", "payment", operations)
}

/// Makes a provider that sends messages without a key.
pub(super) fn messages() -> Provider {
    let once = RetryPolicy { schedule: Vec::new(), ..RetryPolicy::default() };
    provider("twilio", "notification", [("send_sms", operation(false, once))])
}

/// Adds an endpoint that verifies some calls to a provider.
pub(super) fn called_back(provider: Provider) -> Provider {
    fake_webhook::given(provider)
}

fn operation(key: bool, retry: RetryPolicy) -> Operation {
    let idempotency =
        key.then_some(IdempotencyPolicy { retention: Duration::from_hours(24), max_length: None });
    Operation {
        idempotency,
        timeout: Duration::from_secs(30),
        retry,
        deadline: Duration::from_hours(7 * 24),
        poll: None,
        lookup: None,
        payload: PayloadSchema::any(),
        repeatable: false,
    }
}

fn provider<const N: usize>(
    name: &str,
    kind: &str,
    operations: [(&str, Operation); N],
) -> Provider {
    let name_of = |text: &str| text.parse::<Name>().unwrap();
    let account = Account {
        name: Name::default_account(),
        adapter: Arc::new(NeverCalled),
        webhook: None,
        inbound: None,
        publishers: None,
        base_url: "https://api.example.com".parse().unwrap(),
        link: ProviderLink::Https,
        secrets: vec!["sk_live_hunter2".into()],
    };
    let operations: BTreeMap<_, _> =
        operations.map(|(name, operation)| (name_of(name), operation)).into();
    Provider {
        name: name_of(name),
        kind: name_of(kind),
        accounts: [(Name::default_account(), Arc::new(account))].into(),
        links: None,
        echo_tokens: None,
        names_command_token: false,
        operations,
        http: HttpSettings {
            ca_file: None,
            connect_timeout: Duration::from_secs(10),
            max_response_size: 1 << 20,
        },
        max_in_flight: 64,
        max_bytes_in_flight: 64 << 20,
        retry_group: None,
        log: LogSettings { bodies: true, mask: vec!["cvc".to_owned()] },
        accounts_dir: None,
        verification: None,
    }
}

/// Returns the output, without colours.
pub(super) fn printed(print: impl FnOnce(&mut TerminalOutput)) -> String {
    let buffer = CapturedText::default();
    print(&mut TerminalOutput::plain(buffer.clone()));
    buffer.text()
}
