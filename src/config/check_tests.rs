use super::super::tests::read;

#[test]
fn a_broker_on_another_host_without_tls_has_to_be_allowed() {
    let fault = "amqp.uri: leads to another host without TLS, so the password and every command can be read and changed on the \
                 way: write amqps://, or `amqp.allow_plaintext = true`";
    for (text, variables, is_refused) in [
        ("", &[][..], false),
        ("[amqp]\nuri = 'amqp://u:hunter2@localhost/%2f'", &[], false),
        ("[amqp]\nuri = 'amqps://u:hunter2@broker/%2f'", &[], false),
        ("[amqp]\nuri = 'amqp://u:hunter2@broker/%2f'", &[], true),
        ("[amqp]\nuri = 'amqp://u:hunter2@10.0.0.1/%2f'\nallow_plaintext = false", &[], true),
        ("[amqp]\nuri = 'amqp://u:hunter2@broker/%2f'\nallow_plaintext = true", &[], false),
        ("", &[("FERRYD_AMQP__URI", "amqp://u:hunter2@broker/%2f")], true),
        (
            "[amqp]\nallow_plaintext = true",
            &[("FERRYD_AMQP__URI", "amqp://u:hunter2@broker/%2f")],
            false,
        ),
        (
            "[amqp]\nuri = 'amqp://u:hunter2@broker/%2f'",
            &[("FERRYD_AMQP__ALLOW_PLAINTEXT", "true")],
            false,
        ),
    ] {
        let found = read(text, variables).map_or_else(|error| error.lines(), |_| Vec::new());
        assert_eq!(found.iter().any(|line| line.contains(fault)), is_refused, "{text}: {found:?}");
        assert_eq!(found.len(), usize::from(is_refused), "{text}: {found:?}");
        assert!(!found.concat().contains("hunter2"), "{found:?}");
    }
}
