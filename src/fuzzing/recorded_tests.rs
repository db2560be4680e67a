//! Messages and records of every version since 0.2, as that version wrote them: this one reads
//! them.
//!
//! `tests/recorded/<version>` is written once, by
//! `cargo test --features failpoints --lib -- --ignored this_version_is_recorded`, when a version
//! is released. Its files are never changed or written anew: a file that can't be read any more
//! stands for messages and records that wait at a user's broker.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::table;
use ferryd_broker::headers::MessageState;
use ferryd_broker::webhook_message::read_webhook;
use ferryd_domain::command::{Command, CommandEnvelope};
use ferryd_domain::dead_letter::{DeadLetter, DeadLetterOrigin};
use ferryd_domain::ledger::record::LedgerLine;
use ferryd_domain::ledger::record_examples::lines;
use ferryd_domain::lifecycle::FailureKind;
use ferryd_domain::outcome::Failure;
use ferryd_ledger::batch::{self, RecordBatch};
use ferryd_ledger::compression::decompress_body;

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded")
}

/// The files of one kind of every recorded version: their paths, for messages, and their bytes.
fn files(kind: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for version in fs::read_dir(recorded()).unwrap() {
        for file in fs::read_dir(version.unwrap().path().join(kind)).unwrap() {
            let path = file.unwrap().path();
            files.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    assert!(!files.is_empty(), "nothing of {kind} is recorded");
    files
}

/// Returns whether everything that was written is there, with the same value; there may be more.
fn holds(now: &Value, then: &Value) -> bool {
    match (now, then) {
        (Value::Object(now), Value::Object(then)) => {
            then.iter().all(|(key, value)| now.get(key).is_some_and(|now| holds(now, value)))
        }
        _ => now == then,
    }
}

#[test]
fn records_of_earlier_versions_are_read_whole() {
    let mut kinds = BTreeSet::new();
    for (path, bytes) in files("records") {
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let again = match LedgerLine::decode(line) {
                Ok(LedgerLine::Record(record)) => record.encode(),
                Ok(LedgerLine::Job(record)) => record.encode(),
                Ok(LedgerLine::Marker) => line.to_vec(),
                other => panic!("{path}: {other:?}: {}", line.escape_ascii()),
            };
            let (now, then): (Value, Value) =
                (serde_json::from_slice(&again).unwrap(), serde_json::from_slice(line).unwrap());
            assert!(holds(&now, &then), "{path}: {now} lacks something of {then}");
            kinds.insert(then["kind"].as_str().unwrap().to_owned());
        }
    }
    let written: BTreeSet<_> = lines()
        .iter()
        .map(|line| {
            serde_json::from_slice::<Value>(line).unwrap()["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    assert!(kinds.is_subset(&written) || written.is_subset(&kinds), "{kinds:?} {written:?}");
}

#[test]
fn headers_of_earlier_versions_are_read_whole() {
    for (path, bytes) in files("headers") {
        let (properties, _) = table::read(&bytes);
        let table = properties.headers().as_ref().unwrap();
        let state = MessageState::read(Some(table)).unwrap_or_else(|| panic!("{path} is not read"));
        let kind = ferryd_broker::headers::ContinuationKind::Retry;
        let written: BTreeSet<_> = state.headers(kind).into_keys().collect();
        for name in table.inner().keys() {
            assert!(written.contains(name.as_str()), "{path}: `{name}` is not understood");
        }
    }
}

#[test]
fn webhooks_in_queues_of_earlier_versions_are_read() {
    for (path, bytes) in files("webhooks") {
        let (properties, body) = table::read(&bytes);
        let read = read_webhook(&properties, Bytes::copy_from_slice(body));
        assert!(read.is_ok_and(|read| read.call.body == body), "{path}");
    }
}

#[test]
fn dead_letters_of_earlier_versions_are_read_whole() {
    for (path, bytes) in files("dead_letters") {
        let then: Value = serde_json::from_slice(&bytes).unwrap();
        let letter: DeadLetter =
            serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{path}: {error}"));
        let now = serde_json::to_value(letter).unwrap();
        assert!(holds(&now, &then), "{path}: {now} lacks something of {then}");
    }
}

#[test]
fn batches_of_earlier_versions_are_unpacked() {
    for (path, bytes) in files("batches") {
        let (properties, body) = table::read(&bytes);
        let source =
            batch::BatchSource::of(&properties).unwrap_or_else(|| panic!("{path} names no writer"));
        assert_eq!(source.first, 41, "{path}");
        let body = decompress_body(&properties, body).unwrap();
        for line in batch::lines(&body) {
            assert!(
                !matches!(LedgerLine::decode(line), Err(_) | Ok(LedgerLine::Foreign { .. })),
                "{path}: {}",
                line.escape_ascii()
            );
        }
    }
}

/// Writes what this version writes. Refuses to do so where that was done.
#[test]
#[ignore = "once for each version"]
fn this_version_is_recorded() {
    let version = concat!(env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));
    let folder = recorded().join(version);
    assert!(!folder.exists(), "{version} is recorded, and that is never changed");
    let corpus = |target: &str, name: &str| {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target).join(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let mut written: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    written.insert("records/all.jsonl".to_owned(), lines().join(&b'\n'));
    for name in ["least", "retry", "poll", "lookup"] {
        written.insert(format!("headers/{name}"), corpus("headers", name));
    }
    for name in ["call", "urls"] {
        written.insert(format!("webhooks/{name}"), corpus("webhook_message", name));
    }
    let batch = RecordBatch { first: 41, last: 54, body: lines().join(&b'\n') };
    let message = batch.into_message("s".into(), Uuid::from_u128(7), Timestamp::UNIX_EPOCH);
    let head =
        format!("message_id:h{}\nferry-first:i41\ncontent_encoding:hlz4\n\n", Uuid::from_u128(7));
    written.insert("batches/packed".to_owned(), [head.as_bytes(), &message.body].concat());
    let letter = serde_json::to_vec(&dead_letter(&corpus("headers", "lookup"))).unwrap();
    written.insert("dead_letters/unresolved.json".to_owned(), letter);
    for (name, bytes) in written {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// A dead letter with everything that it can have.
fn dead_letter(headers: &[u8]) -> DeadLetter {
    let (properties, _) = table::read(headers);
    let state = MessageState::read(properties.headers().as_ref()).unwrap();
    let body = br#"{"id":"order-1","type":"payment","provider":"stripe","operation":"charge","reference":"r-1","metadata":{"tenant":"eu-1"}}"#;
    let identity = Command::decode(body, CommandEnvelope::default())
        .unwrap()
        .identity(&"stripe".parse().unwrap());
    let at = Timestamp::from_second(1_800_000_000).unwrap();
    let routing_key = Some("payment.stripe.charge".to_owned());
    let place = DeadLetterOrigin {
        routing_key,
        host: "ferry-1".to_owned(),
        version: "0.2.0".to_owned(),
        at,
    };
    let failure = Failure { http_status: Some(504), ..Failure::new("timeout", "no answer") };
    let letter =
        DeadLetter::new(&identity, FailureKind::Unresolved, failure, &state.progress, place);
    DeadLetter { key_retention_s: Some(86_400), expires_at: Some(at), ..letter }
}
