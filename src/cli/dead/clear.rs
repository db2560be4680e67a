//! `ferryd dead replay` and `ferryd dead discard`.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args};
use jiff::Timestamp;

use super::super::desk::Desk;
use super::super::error::CommandError;
use super::super::exit::Exit;
use super::super::interrupt;
use super::super::output::{Output, Table};
use super::super::person::user;
use super::super::progress::Progress;
use crate::domain::command_id::CommandId;
use crate::ledger::command_filter::CommandFilter;
use crate::operator::clear::{Job, LONGEST_HOLD, Rate, Remedy, Tally};
use crate::operator::register::Register;
use crate::operator::scan::depths;
use crate::operator::statement::{LastWord, Statement};
use crate::operator::{Decision, OperatorError, replay};
use crate::settings::units::parse_duration;

pub(super) const REPLAY_EXAMPLES: &str = "\
Examples:
  ferryd dead replay shop.order-1001.charge
  ferryd dead replay --provider stripe --kind unavailable --canary --rate 20
  ferryd dead replay --all --dry-run
  ferryd dead replay --provider twilio --kind expired --extend 1h
  ferryd dead replay shop.order-7.payout --force-new-key --by ann --reason 'not at the bank, ticket 4711'

A replay starts the command's next generation. It looks only at what was given up before it
started. Each dead letter is removed after its replay was confirmed by the broker: interrupted or
killed, it loses nothing. Ctrl-C, SIGTERM or SIGHUP ends it between two messages, a second Ctrl-C or
SIGTERM at once.
A call that may have acted is repeated only under its old key, while the provider remembers it.

Ends with 1 where some were refused, the first one failed again, or it was interrupted.";

pub(super) const DISCARD_EXAMPLES: &str = "\
Examples:
  ferryd dead discard shop.order-1001.charge --reason 'order was cancelled'
  ferryd dead discard --provider twilio --older-than 7d --reason 'too late to send' --by ann
  ferryd dead discard --all --reason 'test data' --dry-run

Each command ends with a final `failed` event of kind `discarded` that tells who and why; then
its dead letter is removed. Interrupted or killed, it loses nothing.";

pub(super) const RESOLVE_EXAMPLES: &str = "\
Examples:
  ferryd dead resolve shop.order-1001.charge --completed --reference pi_3Q9 --reason 'seen in the dashboard'
  ferryd dead resolve shop.order-7.payout --failed --code not_executed --by ann --reason 'the bank says so, ticket 4711'

For a command of which nobody but a person can find out what became of it. It ends as `completed`,
or as `failed` of kind `declined`, both final; its publisher is told, and its dead letter removed.
The ledger notes who said so and why. Interrupted or killed, it loses nothing: say it again.";

/// The arguments of `replay`.
#[derive(Debug, Args)]
#[command(group = which())]
pub struct Replay {
    #[command(flatten)]
    filter: CommandFilter,
    #[command(flatten)]
    how: How,
    /// Send one first, wait for its end, and go on only where it completed or the provider accepted it
    #[arg(long)]
    canary: bool,
    /// How long to wait for the end of the first
    #[arg(long, requires = "canary", value_parser = parse_duration, default_value = "2m")]
    canary_timeout: Duration,
    /// Give commands that have expired so much more time from now
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    extend: Option<Duration>,
    /// Send again under a new key even what may have acted: it may be done twice
    #[arg(long, requires_all = ["by", "reason"])]
    force_new_key: bool,
    /// Who decided to force a new key
    #[arg(long, value_name = "NAME", requires = "force_new_key", value_parser = NonEmptyStringValueParser::new())]
    by: Option<String>,
    /// Why a new key is right
    #[arg(long, value_name = "TEXT", requires = "force_new_key", value_parser = NonEmptyStringValueParser::new())]
    reason: Option<String>,
}

/// The arguments of `discard`.
#[derive(Debug, Args)]
#[command(group = which())]
pub struct Discard {
    #[command(flatten)]
    filter: CommandFilter,
    #[command(flatten)]
    how: How,
    /// Who decided it
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true, value_parser = NonEmptyStringValueParser::new())]
    by: String,
    /// Why
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    reason: String,
}

/// The arguments of `resolve`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("end").args(["completed", "failed"]).required(true))]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Resolve {
    /// The command
    #[arg(value_name = "ID")]
    id: CommandId,
    /// The provider did it
    #[arg(long)]
    completed: bool,
    /// The provider's own id for what it did
    #[arg(long, value_name = "TEXT", requires = "completed")]
    reference: Option<String>,
    /// The result for subscribers, as JSON
    #[arg(long, value_name = "JSON", requires = "completed", value_parser = json_value)]
    result: Option<serde_json::Value>,
    /// The provider did not do it, and will not: the command ends as declined
    #[arg(long)]
    failed: bool,
    /// A word for why [default: resolved]
    #[arg(long, value_name = "TEXT", requires = "failed")]
    code: Option<String>,
    /// Why, for people
    #[arg(long, value_name = "TEXT", requires = "failed")]
    message: Option<String>,
    /// Who says so
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true, value_parser = NonEmptyStringValueParser::new())]
    by: String,
    /// How that is known
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    reason: String,
    /// Change nothing, only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print JSON: `done`, `closed`, `others`, `later`, `refused`, `stopped`
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct How {
    /// All there are, also of providers that are not configured any more, as far as the ledger knows of them
    #[arg(long)]
    all: bool,
    /// At most so many a second
    #[arg(long, value_name = "N")]
    rate: Option<Rate>,
    /// Change nothing, only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print JSON: `done`, `closed`, `others`, `later`, `refused`, `stopped`
    #[arg(long)]
    json: bool,
}

/// Something must say which dead letters: nobody replays everything by accident.
fn which() -> ArgGroup {
    // Every dead letter has failed.
    let arguments = CommandFilter::ARGUMENTS.into_iter().filter(|name| *name != "state");
    ArgGroup::new("meant").arg("all").args(arguments).multiple(true).required(true)
}

impl Replay {
    pub(super) fn run(self, desk: &Desk, out: &mut Output) -> Result<(), CommandError> {
        let Self { filter, how, canary, canary_timeout, extend, force_new_key, by, reason } = self;
        let decision = by.zip(reason).map(|(by, reason)| Decision { by, reason });
        let replay = replay::Replay {
            extend,
            force_new_key: decision.filter(|_| force_new_key),
            canary: (canary && !how.dry_run).then_some(canary_timeout),
            by: user(),
            routes: desk.config.routes.clone().into_iter().collect(),
        };
        desk.runtime.block_on(async {
            let register = how.register(desk).await?;
            let queues = how.queues(&filter, desk, register.as_ref()).await?;
            let mut replaying = replay.begin(&desk.operator, register).await?;
            let done = how.clear(filter, queues, "replayed", desk, &mut replaying, out).await;
            replaying.close().await;
            done
        })
    }
}

impl Discard {
    pub(super) fn run(self, desk: &Desk, out: &mut Output) -> Result<(), CommandError> {
        let Self { filter, how, by, reason } = self;
        how.end(filter, "discarded", desk, Decision { by, reason }, Statement::Discarded, out)
    }
}

impl Resolve {
    pub(super) fn run(self, desk: &Desk, out: &mut Output) -> Result<(), CommandError> {
        let Self { id, completed, reference, result, failed: _, code, message, by, reason, dry_run, json } = self;
        let statement = if completed {
            Statement::Completed { reference, result }
        } else {
            Statement::Failed { code: code.unwrap_or_else(|| "resolved".to_owned()), message }
        };
        let filter = CommandFilter { ids: vec![id], ..CommandFilter::default() };
        let how = How { all: false, rate: None, dry_run, json };
        how.end(filter, "resolved", desk, Decision { by, reason }, statement, out)
    }
}

/// A result given by hand.
fn json_value(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))
}

impl How {
    /// The ledger, where something is to be put down.
    async fn register(&self, desk: &Desk) -> Result<Option<Register>, CommandError> {
        Ok(if self.dry_run { None } else { Some(desk.register().await?) })
    }

    /// The queues that are gone through.
    async fn queues(
        &self,
        filter: &CommandFilter,
        desk: &Desk,
        register: Option<&Register>,
    ) -> Result<Vec<String>, CommandError> {
        match (filter.provider.as_ref(), register) {
            // What would be done is told of the same queues.
            (provider, None) => desk.find_dead_queues(provider).await,
            (provider, register) => desk.dead_queues(provider, register).await,
        }
    }

    /// Ends the commands of dead letters by a person's word.
    fn end(
        self,
        filter: CommandFilter,
        word: &'static str,
        desk: &Desk,
        decision: Decision,
        statement: Statement,
        out: &mut Output,
    ) -> Result<(), CommandError> {
        desk.runtime.block_on(async {
            let register = self.register(desk).await?;
            let queues = self.queues(&filter, desk, register.as_ref()).await?;
            let mut last_word = LastWord::new(&desk.operator, register, decision, statement);
            let done = self.clear(filter, queues, word, desk, &mut last_word, out).await;
            last_word.close().await;
            done
        })
    }

    async fn clear(
        self,
        filter: CommandFilter,
        queues: Vec<String>,
        word: &'static str,
        desk: &Desk,
        remedy: &mut impl Remedy,
        out: &mut Output,
    ) -> Result<(), CommandError> {
        let named = !filter.ids.is_empty();
        let job = Job {
            queues,
            filter,
            start: Timestamp::now(),
            rate: self.rate,
            dry_run: self.dry_run,
            longest_hold: LONGEST_HOLD,
            stop: interrupt::token().map_err(CommandError::Runtime)?,
        };
        let (mut tally, mut progress) = (Tally::default(), Progress::new("dead letters gone through", None));
        let total = if progress.is_shown() { Some(depths(&desk.operator, &job.queues).await?) } else { None };
        let result = job.run(&desk.operator, remedy, &mut tally, |tally| progress.tell_of(tally.passed(), total)).await;
        drop(progress);
        if self.json {
            out.json(&tally)?;
        } else {
            print(&tally, word, self.dry_run, out)?;
        }
        let nothing = named && tally.done + tally.closed == 0 && tally.refused.is_empty();
        verdict(result, nothing, &tally)
    }
}

fn verdict(result: Result<(), OperatorError>, nothing: bool, tally: &Tally) -> Result<(), CommandError> {
    result?;
    let well = tally.refused.is_empty() && tally.stopped.is_none() && !nothing;
    if well { Ok(()) } else { Err(CommandError::Told(Exit::Failed)) }
}

fn print(tally: &Tally, word: &str, dry_run: bool, out: &mut Output) -> Result<(), CommandError> {
    let Tally { done, closed, others, later, refused, stopped } = tally;
    let would = if dry_run { "would be " } else { "" };
    out.line(format!(
        "{done} {would}{word}, {} refused, {others} not meant, {later} newer than this job",
        refused.len()
    ))?;
    if *closed > 0 {
        out.line(format!("{closed} {would}removed: their commands have ended meanwhile"))?;
    }
    if !refused.is_empty() {
        out.gap()?;
        let mut table = Table::new(["REFUSED", "QUEUE", "WHY"]);
        for refused in refused {
            table.row([&refused.id, &refused.queue, &refused.reason]);
        }
        out.table(&table)?;
    }
    if let Some(stopped) = stopped {
        out.line(format!("stopped: {stopped}"))?;
    }
    Ok(())
}
