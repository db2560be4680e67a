use proptest::prelude::*;

use super::*;

fn read_all(text: &str) -> Result<Vec<PreparedCommand>, Vec<InvalidCommandText>> {
    let names = TopologyNames::new("ferry".parse().unwrap());
    let mut count = 0;
    let new_id = || {
        count += 1;
        format!("new-{count}")
    };
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let (commands, faults) = read(&names, Some("ferryd"), text.as_bytes(), now, new_id);
    if faults.is_empty() { Ok(commands) } else { Err(faults) }
}

#[test]
fn commands_are_read_one_after_the_other_whatever_their_layout() {
    let text = "{\"id\":\"a\",\"type\":\"payment\",\"provider\":\"stripe\",\"operation\":\"charge\"}\n\
                {\n  \"type\": \"notification\",\n  \"operation\": \"send_sms\", \"payload\": {\"n\": 1.10}\n}\n\n";
    let commands = read_all(text).unwrap();
    let routed: Vec<_> = commands
        .iter()
        .map(|outgoing| (outgoing.command.id.as_str(), outgoing.message.routing_key.as_str()))
        .collect();
    assert_eq!(routed, [("a", "payment.stripe.charge"), ("new-2", "notification.any.send_sms")]);
    let places: Vec<_> =
        commands.iter().map(|outgoing| (outgoing.line, outgoing.has_own_id)).collect();
    assert_eq!(places, [(1, true), (2, false)]);
    let second = &commands[1].message;
    assert_eq!(second.properties.message_id().as_ref().unwrap().as_str(), "new-2");
    assert_eq!(second.properties.timestamp(), &Some(1_800_000_000));
    assert_eq!(second.properties.user_id().as_ref().unwrap().as_str(), "ferryd");
    let body = String::from_utf8(second.body.clone()).unwrap();
    assert!(text.contains(&body) && body.contains("1.10"), "{body}");
}

#[test]
fn a_line_that_is_no_command_is_reported_with_its_number() {
    let good = r#"{"type":"payment","operation":"charge"}"#;
    for (text, error) in [
        (
            format!("{good}\n\n{good}\n{{]"),
            "4: is not JSON: key must be a string at line 4 column 2",
        ),
        (
            format!("{good}\n{{\"type\":\"payment\"}}"),
            "2: missing field `operation` (invalid_field)",
        ),
        (
            format!("\n{good} 1"),
            "2: the body is a number, not an object with the fields of a command",
        ),
    ] {
        let faults = read_all(&text).unwrap_err();
        let fault = format!("{}: {}", faults[0].line(), faults[0]);
        assert!(fault.starts_with(error), "{text}: {fault}");
    }
    let three = read_all(&format!("1\n{good}\n2\n{{\n]")).unwrap_err();
    assert_eq!(
        three.iter().map(InvalidCommandText::line).collect::<Vec<_>>(),
        [1, 3, 4],
        "all that is wrong is reported"
    );
    assert_eq!(read_all(" \n").unwrap(), []);
}

#[test]
fn ends_are_awaited_whichever_provider_a_route_chooses() {
    let commands = read_all(r#"{"type":"payment","operation":"charge"}"#).unwrap();
    assert_eq!(binding(&commands[0].command), "payment.*.charge.*");
}

proptest! {
    #[test]
    fn reading_never_panics(text in "[\\[\\]{}\":,a-z0-9 \n]{0,60}") {
        let _ = read_all(&text);
    }
}
