//! Rules about settings that their types do not hold.

use std::time::Duration;

use super::rule::{ConfigFault, SECOND, rule, within};
use super::{AmqpConfig, AmqpUri, Config, EventsConfig, RetryConfig, SubscriberConfig};
use ferryd_domain::command::MAX_BODY;
use ferryd_domain::lifecycle::LifecycleState;
use ferryd_domain::name::Name;
use ferryd_domain::retry::Rung;
use ferryd_settings::units;

/// The second words of the names of ferryd's own queues. `events` is free for subscribers' queues.
const OWN_QUEUES: [&str; 9] = [
    "commands",
    "retry",
    "redeliver",
    "dead",
    "poison",
    "unroutable",
    "webhooks",
    "ledger",
    "calls",
];

/// Lists every rule that the configuration breaks.
pub(super) fn find_faults(config: &Config) -> Vec<ConfigFault> {
    let mut broken = amqp(&config.amqp);
    broken.extend(providers(config));
    broken.extend(retry(&config.retry));
    broken.extend(events(&config.events, &config.prefix));
    broken.extend(ledger(config));
    broken.extend(config.api.find_faults());
    broken.extend(config.webhooks.find_faults());
    broken
}

/// The least time that a command is kept after its last attempt.
const REMEMBERED: Duration = Duration::from_hours(48);

fn ledger(config: &Config) -> Vec<ConfigFault> {
    let slack = SECOND..=Duration::from_mins(10);
    let mut broken: Vec<_> =
        within("ledger.claim_margin", config.ledger.claim_margin, slack).into_iter().collect();
    let least = config.retry.give_up_after.saturating_add(REMEMBERED);
    let kept = [
        ("ledger.duplicate_window", Some(config.ledger.duplicate_window)),
        ("ledger.retention", config.ledger.retention),
    ];
    for (key, _) in kept.into_iter().filter(|(_, kept)| kept.is_some_and(|kept| kept < least)) {
        let least = units::format_duration(least);
        broken.push(rule(
            key,
            format!("write at least {least}: two days more than retry.give_up_after"),
        ));
    }
    if config.ledger.retention.is_some_and(|retention| retention > config.ledger.duplicate_window) {
        let message = "is longer than ledger.duplicate_window, after which nothing is kept: raise that too, or write less";
        broken.push(rule("ledger.retention", message));
    }
    broken
}

fn amqp(amqp: &AmqpConfig) -> Vec<ConfigFault> {
    let mut broken = addresses(amqp);
    if amqp.heartbeat.subsec_nanos() != 0
        || !(SECOND..=Duration::from_hours(1)).contains(&amqp.heartbeat)
    {
        broken.push(rule("amqp.heartbeat", "write whole seconds from 1s to 1h"));
    }
    for (key, timeout) in [
        ("amqp.connect_timeout", amqp.connect_timeout),
        ("amqp.publish_timeout", amqp.publish_timeout),
    ] {
        broken.extend(within(key, timeout, Duration::from_millis(100)..=Duration::from_mins(10)));
    }
    broken.extend(user(amqp));
    broken.extend(management(amqp));
    broken.extend(certificates(amqp));
    broken
}

/// Lists the rules that single addresses break, or that they break together.
fn addresses(amqp: &AmqpConfig) -> Vec<ConfigFault> {
    let (mut broken, first) = (Vec::new(), amqp.first_address());
    for (place, uri) in amqp.addresses().iter().enumerate() {
        let key = amqp.key_of_address(place);
        if uri.is_exposed() && !amqp.allow_plaintext {
            let message = "leads to another host without TLS, so the password and every command can be read and changed on the way: \
                           write amqps://, or `amqp.allow_plaintext = true` where everybody on the network path may do that";
            broken.push(rule(&key, message));
        }
        if uri.parts().vhost != first.parts().vhost {
            let [here, there] = [uri, first].map(|uri| &uri.parts().vhost);
            let message = format!(
                "names the virtual host `{here}`, and amqp.uris[0] `{there}`: all addresses lead to one cluster, so write the same"
            );
            broken.push(rule(&key, message));
        }
        if login_text(uri) != login_text(first) {
            let [here, there] = [uri, first].map(login_text);
            let message =
                format!("logs in {here}, and amqp.uris[0] {there}: write the same user everywhere");
            broken.push(rule(&key, message));
        }
    }
    broken
}

/// Refuses a management URL without a user where the user comes from a client certificate, which
/// the management API does not read.
fn management(amqp: &AmqpConfig) -> Option<ConfigFault> {
    let has_user = amqp.management_url.as_ref()?.expose().contains('@');
    let message = format!(
        "needs a user: {} logs in by the client certificate, so write https://user:password@host:15671",
        amqp.key_of_address(0)
    );
    (amqp.first_address().is_external() && !has_user).then(|| rule("amqp.management_url", message))
}

/// Describes the login of an address in words.
fn login_text(uri: &AmqpUri) -> String {
    if uri.is_external() {
        "by the client certificate".to_owned()
    } else {
        format!("as `{}`", uri.user())
    }
}

fn user(amqp: &AmqpConfig) -> Option<ConfigFault> {
    let user = amqp.user.as_deref()?;
    if !(1..=255).contains(&user.len()) {
        return Some(rule("amqp.user", "write the name of an AMQP user, 1 to 255 bytes"));
    }
    let (of_uri, key) = (amqp.first_address().user(), amqp.key_of_address(0));
    let differs = !amqp.first_address().is_external() && user != of_uri;
    differs.then(|| {
        rule(
            "amqp.user",
            format!(
                "{key} logs in as `{of_uri}`: leave this out, it is for auth_mechanism=external"
            ),
        )
    })
}

fn certificates(amqp: &AmqpConfig) -> Vec<ConfigFault> {
    let mut broken = Vec::new();
    let files = [
        ("amqp.ca_file", &amqp.ca_file),
        ("amqp.client_cert_file", &amqp.client_cert_file),
        ("amqp.client_key_file", &amqp.client_key_file),
    ];
    let (is_tls, first) = (amqp.addresses().iter().any(AmqpUri::is_tls), amqp.key_of_address(0));
    for (key, _) in files.iter().filter(|(_, file)| file.is_some() && !is_tls) {
        broken.push(rule(
            key,
            format!("has no effect without TLS: write amqps:// in {first}, or leave this out"),
        ));
    }
    match (&amqp.client_cert_file, &amqp.client_key_file) {
        (Some(_), None) => broken.push(rule("amqp.client_cert_file", "needs amqp.client_key_file too")),
        (None, Some(_)) => broken.push(rule("amqp.client_key_file", "needs amqp.client_cert_file too")),
        (None, None) if amqp.first_address().is_external() => broken.push(rule(
            &first,
            "asks for auth_mechanism=external, which needs amqp.client_cert_file and amqp.client_key_file",
        )),
        _ => {}
    }
    broken
}

fn providers(config: &Config) -> Option<ConfigFault> {
    let is_too_small = config.providers.max_bytes_in_flight < MAX_BODY;
    let message =
        || format!("write at least {}, the largest command", units::format_size(MAX_BODY));
    is_too_small.then(|| rule("providers.max_bytes_in_flight", message()))
}

fn retry(retry: &RetryConfig) -> Vec<ConfigFault> {
    let rungs = Rung::SHORTEST.duration()..=Rung::LONGEST.duration();
    let mut broken: Vec<_> = retry
        .schedule
        .iter()
        .filter_map(|&delay| within("retry.schedule", delay, rungs.clone()))
        .collect();
    if retry.give_up_after < SECOND {
        broken.push(rule("retry.give_up_after", "write at least 1s"));
    }
    broken
}

fn events(events: &EventsConfig, prefix: &Name) -> Vec<ConfigFault> {
    let missing = [LifecycleState::Completed, LifecycleState::Failed]
        .into_iter()
        .filter(|state| !events.states.contains(state));
    let mut broken: Vec<_> = missing
        .map(|state| {
            rule(
                "events.states",
                format!("add `{}`: the end of a command is always published", state.as_str()),
            )
        })
        .collect();
    for (index, subscriber) in events.subscribers.iter().enumerate() {
        let key = format!("events.subscribers[{index}]");
        broken.extend(check_subscribers(&key, subscriber, prefix));
        if events.subscribers[..index].iter().any(|earlier| earlier.queue == subscriber.queue) {
            broken.push((
                format!("{key}.queue"),
                "is there twice: write all its bindings in one entry".to_owned(),
            ));
        }
    }
    broken
}

fn check_subscribers(
    key: &str,
    SubscriberConfig { queue, bindings }: &SubscriberConfig,
    prefix: &Name,
) -> Vec<ConfigFault> {
    let mut broken = Vec::new();
    if !(1..=255).contains(&queue.len()) || queue.starts_with("amq.") {
        let message = "write a queue name of 1 to 255 bytes that does not begin with `amq.`";
        broken.push((format!("{key}.queue"), message.to_owned()));
    }
    let second = queue
        .strip_prefix(prefix.as_str())
        .and_then(|rest| rest.strip_prefix('.')?.split('.').next());
    if second.is_some_and(|word| OWN_QUEUES.contains(&word)) {
        let message =
            format!("is a queue of ferryd's own: write another name, such as {prefix}.events.shop");
        broken.push((format!("{key}.queue"), message));
    }
    if bindings.is_empty() || bindings.iter().any(|binding| !(1..=255).contains(&binding.len())) {
        let message = "write at least one binding key of 1 to 255 bytes, such as \"payment.#\"";
        broken.push((format!("{key}.bindings"), message.to_owned()));
    }
    broken
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
