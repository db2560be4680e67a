use proptest::prelude::*;

use super::*;

fn read_all(text: &str) -> Result<Vec<Outgoing>, NoCommand> {
    let names = Names::new("ferry".parse().unwrap());
    let mut count = 0;
    let new_id = || {
        count += 1;
        format!("new-{count}")
    };
    read(&names, Some("ferryd"), text.as_bytes(), Timestamp::from_second(1_800_000_000).unwrap(), new_id)
}

#[test]
fn commands_are_read_one_after_the_other_whatever_their_layout() {
    let text = "{\"id\":\"a\",\"type\":\"payment\",\"provider\":\"stripe\",\"operation\":\"charge\"}\n\
                {\n  \"type\": \"notification\",\n  \"operation\": \"send_sms\", \"payload\": {\"n\": 1.10}\n}\n\n";
    let commands = read_all(text).unwrap();
    let told: Vec<_> =
        commands.iter().map(|outgoing| (outgoing.command.id.as_str(), outgoing.message.routing_key.as_str())).collect();
    assert_eq!(told, [("a", "payment.stripe.charge"), ("new-2", "notification.any.send_sms")]);
    let second = &commands[1].message;
    assert_eq!(second.properties.message_id().as_ref().unwrap().as_str(), "new-2");
    assert_eq!(second.properties.timestamp(), &Some(1_800_000_000));
    assert_eq!(second.properties.user_id().as_ref().unwrap().as_str(), "ferryd");
    let body = String::from_utf8(second.body.clone()).unwrap();
    assert!(text.contains(&body) && body.contains("1.10"), "{body}");
}

#[test]
fn what_is_no_command_is_told_with_its_line() {
    let good = r#"{"type":"payment","operation":"charge"}"#;
    for (text, error) in [
        (format!("{good}\n\n{good}\n{{]"), "line 4: is not JSON: key must be a string at line 4 column 2"),
        (format!("{good}\n{{\"type\":\"payment\"}}"), "line 2: missing field `operation` (invalid_field)"),
        (format!("\n{good} 1"), "line 2: the body is a number, not an object with the fields of a command"),
    ] {
        let told = read_all(&text).unwrap_err().to_string();
        assert!(told.starts_with(error), "{text}: {told}");
    }
    assert_eq!(read_all(" \n").unwrap(), []);
}

#[test]
fn ends_are_awaited_whichever_provider_a_route_chooses() {
    let commands = read_all(r#"{"type":"payment","operation":"charge"}"#).unwrap();
    assert_eq!(bindings(&commands[0].command), ["payment.*.charge.completed", "payment.*.charge.failed"]);
}

proptest! {
    #[test]
    fn reading_never_panics(text in "[\\[\\]{}\":,a-z0-9 \n]{0,60}") {
        let _ = read_all(&text);
    }
}
