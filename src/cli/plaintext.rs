//! Finds connections that cross a network without TLS, for the warnings of `ferryd check`.

use crate::config::Config;

/// Describes each connection that the configuration lets cross a network without TLS.
pub(super) fn describe_plaintext(config: &Config) -> Vec<String> {
    let Config { amqp, api, webhooks, .. } = config;
    let exposed = amqp.addresses().iter().filter(|uri| uri.is_exposed());
    let hosts: Vec<_> = exposed.map(|uri| format!("`{}`", uri.parts().authority.host)).collect();
    let broker = format!(
        "amqp.allow_plaintext: the broker at {} is reached without TLS: the password and every command can be read and \
         changed on the way",
        hosts.join(", ")
    );
    let api_text = format!(
        "api.allow_plaintext: the API speaks plain HTTP at {}: tokens and payloads can be read and changed on the way",
        api.bind
    );
    let endpoint = format!(
        "webhooks.trusted_proxies: calls come in plain HTTP to {}: let nobody but the proxies reach it, over a network that is \
         yours alone",
        webhooks.bind
    );
    let warnings = [
        (!hosts.is_empty(), broker),
        (api.is_exposed(), api_text),
        (webhooks.is_exposed(), endpoint),
    ];
    warnings.into_iter().filter_map(|(is_exposed, warning)| is_exposed.then_some(warning)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::EnvironmentVariables;

    #[test]
    fn what_is_allowed_to_cross_a_network_without_tls_is_warned_of() {
        let token = "[[api.tokens]]\nname = 'a'\nrole = 'read'\ntoken = '0123456789abcdef'";
        for (text, start) in [
            (String::new(), None),
            ("[amqp]\nuri = 'amqps://broker/%2f'".to_owned(), None),
            ("[amqp]\nallow_plaintext = true".to_owned(), None),
            (
                "[amqp]\nuri = 'amqp://u:hunter2@broker/%2f'\nallow_plaintext = true".to_owned(),
                Some("amqp.allow_plaintext: the broker at `broker` is reached without TLS"),
            ),
            (
                format!("[api]\nbind = '0.0.0.0:80'\nallow_plaintext = true\n{token}"),
                Some("api.allow_plaintext: the API speaks plain HTTP at 0.0.0.0:80"),
            ),
            (
                "[webhooks]\npublic_url = 'https://a.example'\nbind = '10.0.0.1:80'\ntrusted_proxies = ['10.0.0.2']"
                    .to_owned(),
                Some("webhooks.trusted_proxies: calls come in plain HTTP to 10.0.0.1:80"),
            ),
        ] {
            let config =
                Config::from_parts(Some((Path::new("ferryd.toml"), &text)), &EnvironmentVariables::new()).unwrap();
            let warnings = describe_plaintext(&config);
            assert_eq!(warnings.len(), usize::from(start.is_some()), "{text}: {warnings:?}");
            assert!(warnings.iter().zip(start).all(|(warning, start)| warning.starts_with(start)), "{warnings:?}");
            assert!(!warnings.concat().contains("hunter2"), "{warnings:?}");
        }
    }
}
