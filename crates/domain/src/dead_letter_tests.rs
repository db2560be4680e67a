use super::*;
use crate::command::{Command, CommandEnvelope};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn letter(kind: FailureKind) -> DeadLetter {
    let body = br#"{"id":"order-1","type":"payment","provider":"stripe","operation":"charge"}"#;
    let identity = Command::decode(body, CommandEnvelope::default())
        .unwrap()
        .identity(&"stripe".parse().unwrap());
    let mut progress = GenerationProgress::first_generation(at(0));
    progress.key = Some(IdempotencyKey::from_header("order-1"));
    progress.first_sent = Some(at(0));
    progress.digest = Some("d".to_owned());
    let place = DeadLetterOrigin {
        routing_key: None,
        host: "h".to_owned(),
        version: "v".to_owned(),
        at: at(10),
    };
    let letter = DeadLetter::new(&identity, kind, Failure::new("c", "m"), &progress, place);
    DeadLetter { key_retention_s: Some(24 * 3600), ..letter }
}

#[test]
fn a_replay_keeps_the_key_only_while_the_outcome_is_unknown() {
    let certain =
        letter(FailureKind::Unavailable).replay(at(20), ReplayOptions::default()).unwrap();
    assert_eq!(
        (certain.generation, certain.attempt, certain.unknown, certain.first_sent),
        (1, 1, false, None)
    );
    assert_eq!(certain.key.unwrap().as_str(), "order-1~1");

    let unknown = letter(FailureKind::Unresolved).replay(at(20), ReplayOptions::default()).unwrap();
    assert_eq!(unknown.key.unwrap().as_str(), "order-1");
    assert_eq!(
        (unknown.unknown, unknown.first_sent, unknown.digest.as_deref()),
        (true, Some(at(0)), Some("d"))
    );
}

#[test]
fn what_may_have_acted_is_sent_under_a_new_key_only_by_a_persons_decision() {
    let past_retention = at(23 * 3600 + 1);
    let no_key = DeadLetter { key: None, key_retention_s: None, ..letter(FailureKind::Unresolved) };
    for (letter, now) in [(letter(FailureKind::Unresolved), past_retention), (no_key, at(20))] {
        assert_eq!(letter.replay(now, ReplayOptions::default()), Err(ReplayRefusal::MayHaveActed));
        let forced =
            letter.replay(now, ReplayOptions { force_new_key: true, extend_to: None }).unwrap();
        assert_eq!((forced.key.unwrap().as_str(), forced.unknown), ("order-1~1", false));
    }
}

#[test]
fn an_expired_command_needs_more_time() {
    let expired = DeadLetter { expires_at: Some(at(15)), ..letter(FailureKind::Expired) };
    assert_eq!(expired.replay(at(20), ReplayOptions::default()), Err(ReplayRefusal::Expired));
    let extended = ReplayOptions { extend_to: Some(at(100)), ..ReplayOptions::default() };
    assert!(expired.replay(at(20), extended).is_ok());
}

#[test]
fn what_is_no_command_cannot_be_replayed() {
    let mut letter = letter(FailureKind::Invalid);
    letter.command = letter.command.with_changes(|command| command.operation = None);
    assert_eq!(letter.replay(at(20), ReplayOptions::default()), Err(ReplayRefusal::NotACommand));
}

#[test]
fn a_record_always_fits_a_header() {
    let identity = letter(FailureKind::Invalid).command.with_changes(|identity| {
        identity.reference = Some("r".repeat(100_000));
        identity.metadata.insert("m".repeat(100_000), "v".to_owned());
    });
    let place = DeadLetterOrigin {
        routing_key: None,
        host: "h".to_owned(),
        version: "v".to_owned(),
        at: at(10),
    };
    let failure = Failure::new(&"c".repeat(100_000), "m".repeat(100_000));
    let letter = DeadLetter::new(
        &identity,
        FailureKind::Invalid,
        failure,
        &GenerationProgress::first_generation(at(0)),
        place,
    );
    assert!(serde_json::to_string(&letter).unwrap().len() < 32 * 1024);
}

#[test]
fn a_record_survives_its_header() {
    let letter = letter(FailureKind::Rejected);
    let json = serde_json::to_string(&letter).unwrap();
    assert_eq!(serde_json::from_str::<DeadLetter>(&json).unwrap(), letter);
}
