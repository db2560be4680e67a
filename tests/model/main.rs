//! The ledger's protocol, checked over all interleavings of several instances, crashes and copies.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail like tests"
)]

mod faults;
mod holder;
mod ledger;
mod moves;
mod query;
mod refusal;
mod rulings;
mod search;
mod setup;
mod transitions;
mod unroutable;
mod world;

use search::{SearchOutcome, check};
use setup::{CLAIM, FEW, KEY, PlantedMistake, QUERIED, WorldSetup};

/// Checks that all properties hold in a world, and prints its size.
fn holds(name: &str, setup: &WorldSetup) {
    let SearchOutcome { states, depth, cases, seconds, broken } = check(setup);
    println!("{name}: {states} states, {depth} deep, {cases} cases, {seconds:.1} s");
    for (property, steps) in &broken {
        println!("broken: {property}\n{}", steps.join("\n"));
    }
    assert!(broken.is_empty(), "{name}: {:?}", broken[0].0);
}

#[test]
fn one_message_survives_two_faults() {
    for setup in [KEY, CLAIM] {
        holds("one fault", &setup);
        holds("two faults", &WorldSetup { attempts: 1, faults: 2, answers: FEW, ..setup });
    }
}

#[test]
fn copies_of_a_message_make_one_command() {
    for setup in [KEY, CLAIM] {
        holds(
            "two copies, one fault",
            &WorldSetup { copies: 2, attempts: 1, answers: FEW, ..setup.clone() },
        );
        holds(
            "three copies",
            &WorldSetup { copies: 3, attempts: 1, faults: 0, answers: FEW, ..setup.clone() },
        );
        holds("three instances", &WorldSetup { instances: 3, copies: 2, faults: 0, ..setup });
    }
}

#[test]
fn another_command_under_the_same_id_changes_nothing() {
    for setup in [KEY, CLAIM] {
        holds("another content", &WorldSetup { others: 1, attempts: 1, answers: FEW, ..setup });
    }
}

#[test]
fn a_message_that_is_refused_claims_nothing_and_ends_nothing() {
    for setup in [KEY, CLAIM] {
        let refusing = WorldSetup { refused: 1, attempts: 1, answers: FEW, ..setup };
        holds("refused, one fault", &refusing);
        holds("refused twice", &WorldSetup { refused: 2, faults: 0, ..refusing.clone() });
        holds("refused, two copies", &WorldSetup { copies: 2, faults: 0, ..refusing.clone() });
        holds("refused, another content", &WorldSetup { others: 1, faults: 0, ..refusing.clone() });
        holds("refused, a cancel", &WorldSetup { cancels: 1, faults: 0, ..refusing.clone() });
        holds("refused, an operator", &WorldSetup { jobs: 1, faults: 0, ..refusing });
    }
}

#[test]
fn a_cancelled_command_is_not_called() {
    for setup in [KEY, CLAIM] {
        holds("cancel", &WorldSetup { cancels: 1, attempts: 1, answers: FEW, ..setup.clone() });
        holds("two cancels", &WorldSetup { cancels: 2, faults: 0, ..setup });
    }
}

#[test]
fn the_first_definite_answer_wins() {
    for setup in [KEY, CLAIM] {
        holds("webhook", &WorldSetup { webhooks: 1, attempts: 1, ..setup.clone() });
        holds("two webhooks", &WorldSetup { webhooks: 2, faults: 0, contradicts: true, ..setup });
    }
}

#[test]
fn an_expired_command_is_not_taken_for_one_that_was_never_called() {
    for setup in [KEY, CLAIM] {
        holds("expiry", &WorldSetup { expires: true, answers: FEW, ..setup.clone() });
        holds(
            "expiry of a copy",
            &WorldSetup { expires: true, copies: 2, faults: 0, answers: FEW, ..setup },
        );
    }
}

#[test]
fn two_replays_start_one_generation() {
    for setup in [KEY, CLAIM] {
        holds("replay", &WorldSetup { attempts: 1, jobs: 1, answers: FEW, ..setup.clone() });
        holds(
            "two jobs",
            &WorldSetup { attempts: 1, jobs: 2, faults: 0, copies: 2, answers: FEW, ..setup },
        );
    }
}

#[test]
fn what_a_person_says_is_published_even_where_that_person_is_interrupted_and_never_says_it_again() {
    for setup in [KEY, CLAIM] {
        holds(
            "a person is interrupted",
            &WorldSetup { attempts: 1, jobs: 2, answers: FEW, ..setup },
        );
    }
}

#[test]
fn a_cancelled_command_that_comes_too_late_is_not_called() {
    for setup in [KEY, CLAIM] {
        holds(
            "cancelled for good",
            &WorldSetup { cancels: 1, late: true, attempts: 1, answers: FEW, ..setup.clone() },
        );
        let copies = WorldSetup {
            cancels: 1,
            late: true,
            copies: 2,
            attempts: 1,
            faults: 0,
            answers: FEW,
            ..setup
        };
        holds("cancelled for good, two copies", &copies);
    }
}

#[test]
fn what_the_ledger_has_lost_is_unknown() {
    for setup in [KEY, CLAIM] {
        holds("lost", &WorldSetup { lost: true, waits: 1, cancels: 1, faults: 0, ..setup });
    }
}

#[test]
fn a_claim_that_is_taken_over_too_early_costs_certainty_and_nothing_else() {
    let mistake = Some(PlantedMistake::TakesOverEarly);
    holds("early", &WorldSetup { mistake, copies: 2, attempts: 1, answers: FEW, ..CLAIM });
    holds("early, with an operator", &WorldSetup { mistake, attempts: 1, jobs: 1, ..CLAIM });
}

#[test]
fn queries_of_the_provider_end_every_doubt_and_make_none() {
    for setup in [KEY, CLAIM] {
        let querying = WorldSetup { queries: true, answers: QUERIED, ..setup };
        holds("queried, one fault", &querying);
        holds(
            "queried, two copies",
            &WorldSetup { copies: 2, attempts: 1, faults: 0, ..querying.clone() },
        );
        holds("queried, a webhook", &WorldSetup { webhooks: 1, attempts: 1, ..querying.clone() });
        holds("queried, a cancel", &WorldSetup { cancels: 1, attempts: 1, ..querying.clone() });
        holds(
            "queried, an operator",
            &WorldSetup { jobs: 1, attempts: 1, faults: 0, ..querying.clone() },
        );
        holds("queried, expiry", &WorldSetup { expires: true, faults: 0, ..querying.clone() });
        holds(
            "queried, three instances",
            &WorldSetup { instances: 3, copies: 2, attempts: 1, faults: 0, ..querying },
        );
    }
}

#[test]
fn what_is_unroutable_poisoned_or_refused_ends_like_anything_else() {
    for setup in [KEY, CLAIM] {
        let with_unroutable = WorldSetup { unroutable: 1, answers: FEW, ..setup };
        holds("unroutable, one fault", &with_unroutable);
        holds(
            "unroutable, two copies",
            &WorldSetup { copies: 2, attempts: 1, faults: 0, ..with_unroutable.clone() },
        );
        holds(
            "two unroutable, two copies",
            &WorldSetup {
                unroutable: 2,
                copies: 2,
                attempts: 1,
                faults: 0,
                ..with_unroutable.clone()
            },
        );
        holds(
            "unroutable, a webhook",
            &WorldSetup { webhooks: 1, faults: 0, ..with_unroutable.clone() },
        );
        holds(
            "unroutable, a cancel",
            &WorldSetup { cancels: 1, faults: 0, ..with_unroutable.clone() },
        );
        holds(
            "unroutable, another content",
            &WorldSetup { others: 1, attempts: 1, faults: 0, ..with_unroutable.clone() },
        );
        holds(
            "unroutable, an operator",
            &WorldSetup {
                unroutable: 2,
                jobs: 1,
                faults: 0,
                attempts: 1,
                ..with_unroutable.clone()
            },
        );
        holds(
            "unroutable, lost",
            &WorldSetup {
                lost: true,
                waits: 1,
                faults: 0,
                expires: true,
                ..with_unroutable.clone()
            },
        );
        holds(
            "unroutable, queried",
            &WorldSetup { queries: true, faults: 0, answers: QUERIED, ..with_unroutable },
        );
    }
}

#[test]
fn what_is_erased_is_not_called_again() {
    for setup in [KEY, CLAIM] {
        let erasing = WorldSetup { erasures: 1, attempts: 1, answers: FEW, ..setup };
        holds("erased, one fault", &erasing);
        holds("erased, two copies", &WorldSetup { copies: 2, faults: 0, ..erasing.clone() });
        holds("erased, another content", &WorldSetup { others: 1, faults: 0, ..erasing.clone() });
        holds(
            "erased, a webhook",
            &WorldSetup { webhooks: 1, faults: 0, contradicts: true, ..erasing.clone() },
        );
        holds(
            "erased, a cancel",
            &WorldSetup { cancels: 1, late: true, faults: 0, ..erasing.clone() },
        );
        holds("erased, an operator", &WorldSetup { jobs: 1, faults: 0, ..erasing.clone() });
        holds("erased, unroutable", &WorldSetup { unroutable: 1, faults: 0, ..erasing });
    }
}

/// Returns the properties that do not hold in a world.
fn breaks(setup: &WorldSetup) -> Vec<&'static str> {
    check(setup).broken.into_iter().map(|(property, _)| property).collect()
}

#[test]
fn every_mistake_that_is_put_in_is_found() {
    let with = |mistake, setup: WorldSetup| WorldSetup { mistake: Some(mistake), ..setup };
    let mistakes = [
        with(
            PlantedMistake::CallsUnread,
            WorldSetup { copies: 2, attempts: 1, faults: 0, answers: FEW, ..CLAIM },
        ),
        with(PlantedMistake::AcksFirst, WorldSetup { attempts: 1, answers: FEW, ..KEY }),
        with(PlantedMistake::ForgetsPublished, WorldSetup { webhooks: 1, ..KEY }),
        with(PlantedMistake::CallsAfterUnknown, WorldSetup { attempts: 1, answers: FEW, ..CLAIM }),
        with(
            PlantedMistake::DropsReplayed,
            WorldSetup { attempts: 1, jobs: 2, answers: FEW, ..KEY },
        ),
        with(
            PlantedMistake::AcceptsNotFoundTooEarly,
            WorldSetup { queries: true, attempts: 1, answers: QUERIED, ..KEY },
        ),
        with(
            PlantedMistake::NobodyRecovers,
            WorldSetup { attempts: 1, cancels: 1, answers: FEW, ..CLAIM },
        ),
        with(
            PlantedMistake::TakesPoisonForFresh,
            WorldSetup { unroutable: 1, faults: 0, answers: FEW, ..KEY },
        ),
        with(
            PlantedMistake::TakesPoisonForFresh,
            WorldSetup { unroutable: 1, faults: 0, queries: true, answers: QUERIED, ..CLAIM },
        ),
        with(
            PlantedMistake::RecoversCancelsAlone,
            WorldSetup { attempts: 1, jobs: 2, answers: FEW, ..CLAIM },
        ),
        with(
            PlantedMistake::RefusalClaims,
            WorldSetup { refused: 1, attempts: 1, faults: 0, answers: FEW, ..KEY },
        ),
        with(
            PlantedMistake::RefusalEndsKnown,
            WorldSetup { refused: 1, attempts: 1, faults: 0, answers: FEW, ..CLAIM },
        ),
        with(
            PlantedMistake::ErasesAll,
            WorldSetup { copies: 2, attempts: 1, faults: 0, erasures: 1, answers: FEW, ..CLAIM },
        ),
    ];
    for setup in &mistakes {
        let broken = breaks(setup);
        println!("{:?}: {broken:?}", setup.mistake);
        assert!(!broken.is_empty(), "{:?}", setup.mistake);
    }
}
