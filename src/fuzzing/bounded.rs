//! Runs every target on its seeds and on mutations of them.
//!
//! An input at which a target fails is printed as bytes. Put it into `fuzz/corpus/<target>/`, and
//! every later run tries it. `UPDATE_SEEDS=1 cargo test --lib fuzzing::` rewrites the seeds that
//! are made from the code.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use uuid::Uuid;

use super::mutation::MutationGenerator;
use super::*;
use ferryd_domain::ledger::record_examples::lines;
use ferryd_ledger::batch::RecordBatch;
use ferryd_provider::catalog;

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// Reads the seeds of a target, by name.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(folder(target)).unwrap().map(|entry| entry.unwrap().path());
    let mut seeds: Vec<_> = files
        .map(|path| {
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap())
        })
        .collect();
    seeds.sort();
    seeds
}

fn run(target: FuzzTarget) {
    let seeds: Vec<_> = seeds(target.name).into_iter().map(|(_, bytes)| bytes).collect();
    let mut mutation = MutationGenerator::of(target.name);
    let mutations = std::iter::from_fn(|| Some(mutation.next(&seeds))).take(target.cases);
    for input in seeds.iter().cloned().chain(mutations) {
        let held = catch_unwind(AssertUnwindSafe(|| (target.check)(&input)));
        assert!(held.is_ok(), "{} does not hold for b\"{}\"", target.name, input.escape_ascii());
    }
}

macro_rules! bounded {
    ($($name:ident => $target:ident),*) => { $(
        #[test]
        fn $name() {
            run($target);
        }
    )* };
}

bounded! {
    commands_are_read_as_they_were_written => COMMAND,
    webhook_calls_that_are_verified_were_signed => WEBHOOK,
    webhooks_are_read_as_they_were_written => WEBHOOK_MESSAGE,
    provider_files_name_every_fault_and_call_their_own_host => PROVIDER_FILE,
    retry_after_is_read_as_it_says_and_is_bounded => RETRY_AFTER,
    records_are_read_as_they_were_written_and_come_to_the_same => RECORD,
    batches_are_unpacked_as_they_were_packed => BATCH,
    headers_of_ferryd_are_read_as_they_were_written => HEADERS,
    captured_calls_are_read_the_same_again => CAPTURED
}

#[test]
fn every_target_can_be_fuzzed() {
    let targets = [
        COMMAND,
        WEBHOOK,
        WEBHOOK_MESSAGE,
        PROVIDER_FILE,
        RETRY_AFTER,
        RECORD,
        BATCH,
        HEADERS,
        CAPTURED,
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for FuzzTarget { name, .. } in targets {
        let text = fs::read_to_string(root.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(text.contains(&format!("fuzzing::{}.check", name.to_uppercase())), "{name}");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}

/// Makes seeds from the code: target, name, bytes.
fn made() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut made = Vec::new();
    for scheme in &*webhook::SCHEMES {
        for (number, call) in scheme.signed.iter().enumerate() {
            let bytes =
                [format!("{} 0\n", scheme.name).as_bytes(), &captured::written(call)].concat();
            made.push(("webhook", format!("signed-{}-{number}", scheme.name), bytes));
        }
    }
    for (number, line) in lines().into_iter().enumerate() {
        made.push(("record", format!("line-{number}"), line));
    }
    made.push(("record", "all".to_owned(), lines().join(&b'\n')));
    for name in catalog::names() {
        made.push((
            "provider_file",
            format!("catalog-{name}"),
            catalog::source(name).unwrap().as_bytes().to_vec(),
        ));
    }
    let batch = RecordBatch { first: 41, last: 54, body: lines().join(&b'\n') };
    let message = batch.into_message("s".into(), Uuid::from_u128(7), Timestamp::UNIX_EPOCH);
    let head =
        format!("message_id:h{}\nferry-first:i41\ncontent_encoding:hlz4\n\n", Uuid::from_u128(7));
    made.push(("batch", "packed".to_owned(), [head.as_bytes(), &message.body].concat()));
    made
}

#[test]
fn seeds_that_are_made_from_the_code_are_there_and_signed_ones_are_verified() {
    let made = made();
    if std::env::var_os("UPDATE_SEEDS").is_some() {
        for (target, name, bytes) in &made {
            fs::create_dir_all(folder(target)).unwrap();
            fs::write(folder(target).join(name), bytes).unwrap();
        }
    }
    for (target, name, _) in &made {
        assert!(
            folder(target).join(name).exists(),
            "{target}/{name}: UPDATE_SEEDS=1 cargo test --lib fuzzing::"
        );
    }
    for (name, bytes) in seeds("webhook").iter().filter(|(name, _)| name.starts_with("signed-")) {
        let (scheme, seconds, call) = webhook::read(bytes).unwrap();
        assert_eq!(scheme.endpoint.verify(&call, webhook::at(seconds)), Ok(()), "{name}");
    }
}
