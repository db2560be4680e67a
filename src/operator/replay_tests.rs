use lapin::BasicProperties;
use serde_json::json;

use super::*;
use crate::domain::command::{Envelope, Identity};
use crate::domain::dead_letter::Place;
use crate::domain::lifecycle::Kind;
use crate::domain::outcome::Failure;
use crate::domain::progress::Progress;

fn dead(provider: Option<&str>, routing_key: Option<&str>) -> Dead {
    let body = json!({ "id": "order-1", "type": "payment", "operation": "charge" });
    let mut identity = Identity::glean(&body, b"", Envelope::default());
    identity.provider = provider.map(|name| name.parse().unwrap());
    let place = Place {
        routing_key: routing_key.map(str::to_owned),
        host: "h".to_owned(),
        version: "v".to_owned(),
        at: Timestamp::UNIX_EPOCH,
    };
    let progress = Progress::fresh(Timestamp::UNIX_EPOCH);
    let failure = Failure::new("no_route", "no route");
    let letter = DeadLetter::new(identity.clone(), Kind::Invalid, failure, &progress, place);
    let body = body.to_string().into_bytes();
    let properties = BasicProperties::default();
    Dead { queue: "ferry.dead.other".to_owned(), letter: Some(letter), identity, properties, body, refused: None }
}

#[test]
fn a_replay_goes_to_the_provider_that_was_called_or_meant_or_that_a_route_names() {
    let routes = HashMap::from([("payment".parse().unwrap(), "adyen".parse().unwrap())]);
    let replay = Replay { routes, ..Replay::default() };
    for (provider, key, expected) in [
        (Some("stripe"), Some("payment.any.charge"), "stripe"),
        (None, Some("payment.twilio.charge"), "twilio"),
        (None, Some("payment.any.charge"), "adyen"),
        (None, Some("5s.stripe"), "adyen"),
        (None, None, "adyen"),
        (Some("any"), None, "adyen"),
    ] {
        let found = replay.provider(&dead(provider, key), &command("any")).unwrap();
        assert_eq!(found.as_str(), expected, "{provider:?} {key:?}");
    }
    assert_eq!(Replay::default().provider(&dead(None, Some("payment.any.charge")), &command("any")), None);
}

#[test]
fn a_command_that_was_never_checked_is_replayed_where_its_route_leads_by_now() {
    let routes = HashMap::from([("payment".parse().unwrap(), "adyen".parse().unwrap())]);
    let replay = Replay { routes, ..Replay::default() };
    for (unchecked, unknown, named, expected) in [
        (true, false, "any", Some("adyen")),
        (false, false, "any", Some("stripe")),
        (true, false, "stripe", Some("stripe")),
        // It may have acted there, and must act nowhere else.
        (true, true, "any", Some("stripe")),
    ] {
        let mut dead = dead(Some("stripe"), Some("payment.any.charge"));
        let letter = dead.letter.as_mut().unwrap();
        (letter.unchecked, letter.unknown, letter.publisher) = (unchecked, unknown, Some("shop".to_owned()));
        let found = replay.provider(&dead, &command(named));
        assert_eq!(found.as_ref().map(Name::as_str), expected, "{unchecked} {unknown} {named}");
        let letter = dead.letter.as_ref().unwrap();
        let Ok((travel, _)) = replay.travel(&dead, letter, Timestamp::UNIX_EPOCH) else { continue };
        assert_eq!((travel.unchecked, travel.publisher.as_deref()), (unchecked, Some("shop")));
    }
}

fn command(provider: &str) -> Command {
    let body = json!({ "id": "order-1", "type": "payment", "operation": "charge", "provider": provider });
    Command::decode(body.to_string().as_bytes(), Envelope::default()).unwrap()
}
