use jiff::Timestamp;

use super::*;
use crate::operator::OperatorError;
use crate::operator::publish::read;
use ferryd_broker::topology::TopologyNames;

fn commands(with_ids: bool) -> Vec<PreparedCommand> {
    let id = |number: usize| {
        if with_ids { format!("\"id\":\"order-{number}\",") } else { String::new() }
    };
    let lines = (1..=4)
        .map(|number| format!("{{{}\"type\":\"payment\",\"operation\":\"charge\"}}\n", id(number)));
    let names = TopologyNames::new("ferry".parse().unwrap());
    let mut count = 0;
    let new_id = || {
        count += 1;
        format!("new-{count}")
    };
    read(&names, None, lines.collect::<String>().as_bytes(), Timestamp::UNIX_EPOCH, new_id).0
}

fn report_lines(
    commands: &[PreparedCommand],
    fates: [MessageFate; 4],
    is_failed: bool,
) -> Vec<String> {
    let refused = || OperatorError::SubscriptionLost;
    let result = BulkResult { fates: fates.to_vec(), failure: is_failed.then(refused) };
    PublishedCommands { commands, result, file: Some("orders.jsonl".as_ref()) }.result_lines()
}

#[test]
fn unpublished_commands_are_reported_with_how_to_go_on_without_doing_anything_twice() {
    use MessageFate::{Confirmed, Refused, Unconfirmed, Unpublished};
    let (with_ids, without) = (commands(true), commands(false));
    assert_eq!(report_lines(&with_ids, [Confirmed; 4], false), [""; 0]);

    let lines = report_lines(&with_ids, [Confirmed, Unconfirmed, Unpublished, Unpublished], true);
    assert!(
        lines[0].starts_with("1 of 4 commands were published, then: lost the subscription"),
        "{lines:?}"
    );
    assert_eq!(lines[1], "perhaps published, but not confirmed: `order-2` (line 2)");
    assert!(
        lines[2].starts_with("to go on, publish the same again: every command has an `id`"),
        "{lines:?}"
    );

    // Without ids, commands that are published again would be new ones.
    let go_on = "to go on without doing anything twice: ";
    let rest = "publish the rest with `tail -n +3 orders.jsonl | ferryd publish --file -`";
    let lines = report_lines(&without, [Confirmed, Unconfirmed, Unpublished, Unpublished], false);
    assert_eq!(lines[0], "1 of 4 commands were published, then: it was interrupted");
    let look = "look up the outcome of those first, such as with `ferryd status new-2`; ";
    assert_eq!(lines[2], format!("{go_on}{look}{rest}"));
    let lines = report_lines(&without, [Confirmed, Confirmed, Unpublished, Unpublished], false);
    assert_eq!(lines[1..], [format!("{go_on}{rest}")]);
    let lines = report_lines(&without, [Confirmed, Refused, Confirmed, Confirmed], true);
    assert_eq!(lines[1], "the broker did not take `new-2` (line 2)");
    assert_eq!(lines[2], format!("{go_on}all the others are published"));
}
