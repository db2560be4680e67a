use std::time::Duration;

use lapin::BasicProperties;

use super::*;
use crate::amqp::connection::AmqpSettings;
use crate::amqp::topology::Names;
use crate::domain::command::{Command, Envelope};
use crate::domain::dead_letter::{DeadLetter, Place};
use crate::domain::event::sequence;
use crate::domain::lifecycle::State;
use crate::domain::progress::Progress;

fn discard() -> LastWord {
    let amqp = AmqpSettings {
        nodes: "amqp://127.0.0.1".parse::<lapin::uri::AMQPUri>().unwrap().into(),
        user: None,
        ca_file: None,
        client_cert: None,
        connect_timeout: Duration::from_secs(1),
        publish_timeout: Duration::from_secs(1),
        max_unconfirmed: 1,
    };
    let operator = Operator { amqp, names: Names::new("ferry".parse().unwrap()) };
    let decision = Decision { by: "ann".to_owned(), reason: "cancelled".to_owned() };
    LastWord::new(&operator, None, decision, Statement::Discarded)
}

fn dead(generation: u32, attempt: u32) -> Dead {
    let body = br#"{"id":"order-1","type":"payment","provider":"stripe","operation":"charge"}"#;
    let identity = Command::decode(body, Envelope::default()).unwrap().identity(&"stripe".parse().unwrap());
    let progress = Progress { attempt, ..Progress::of_generation(generation, Timestamp::UNIX_EPOCH) };
    let place = Place { routing_key: None, host: "h".to_owned(), version: "v".to_owned(), at: Timestamp::UNIX_EPOCH };
    let failure = Failure::new("timeout", "no answer");
    let letter = DeadLetter::new(identity.clone(), Kind::Unavailable, failure, &progress, place);
    let properties = BasicProperties::default();
    Dead {
        queue: "ferry.dead.stripe".to_owned(),
        letter: Some(letter),
        identity,
        properties,
        body: body.to_vec(),
        refused: None,
    }
}

#[test]
fn the_event_of_a_discard_comes_after_the_failure_and_before_any_replay() {
    for (generation, attempt) in [(0, 0), (0, 8), (3, 1)] {
        let event = discard().event(&dead(generation, attempt), attempt + 1, Timestamp::UNIX_EPOCH);
        assert!(event.data.sequence > sequence(generation, attempt, State::Failed));
        assert!(event.data.sequence < sequence(generation + 1, 1, State::Pending));
        assert_eq!(event.id, format!("order-1/{generation}/{}/failed", attempt + 1));
        assert!(event.data.r#final);
    }
}

#[test]
fn what_has_no_record_is_discarded_by_what_the_message_shows() {
    let dead = Dead { letter: None, ..dead(0, 0) };
    assert_eq!(discard().event(&dead, 1, Timestamp::UNIX_EPOCH).routing_key(), "payment.stripe.charge.failed");
}
