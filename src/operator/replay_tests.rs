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
        let found = replay.provider(&dead(provider, key)).unwrap();
        assert_eq!(found.as_str(), expected, "{provider:?} {key:?}");
    }
    assert_eq!(Replay::default().provider(&dead(None, Some("payment.any.charge"))), None);
}
