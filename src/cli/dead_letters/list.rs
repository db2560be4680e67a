//! `ferryd dead-letters list`.

use std::path::Path;

use clap::Args;
use jiff::Timestamp;

use super::super::api_client::{ApiArguments, ApiClient, ApiRequest};
use super::super::context::CliContext;
use super::super::error::CommandError;
use super::super::format::format_age;
use super::super::output::{TerminalOutput, TextTable};
use crate::operator::queued_dead_letter::ListedDeadLetter;
use crate::operator::scan::visit_dead_letters;
use crate::web::query::PageQuery;
use crate::web::responses::CommandPage;
use ferryd_ledger::command_filter::{CommandFilter, WantedKind};
use ferryd_ledger::index::MAX_PAGE;

pub(super) const EXAMPLES: &str = "\
Examples:
  ferryd dead-letters list
  ferryd dead-letters list --provider stripe --kind unavailable --newer-than 2h
  ferryd dead-letters list --json | jq -r '.[].command.id'

The oldest first, as the ledger knows them. With --queues the queues themselves are read, and no
daemon has to run; every message stays there, in its place. While that list is made, a job running at the
same time does not find what the list holds, and the list not what the job holds. The queues also hold what
is older than the ledger or can't be read. Of providers that are not configured any more, those are read that
this host's index knows, and the one of --provider.";

/// The arguments.
#[derive(Debug, Args)]
pub struct ListDeadLetters {
    #[command(flatten)]
    filter: CommandFilter,
    #[command(flatten)]
    api: ApiArguments,
    /// Read the queues at the broker; needs no daemon
    #[arg(long, conflicts_with_all = ["url", "allow_plaintext"])]
    queues: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The filter, where it means what the ledger knows.
pub(super) fn recorded(filter: &CommandFilter) -> Result<&CommandFilter, CommandError> {
    if filter.kind == Some(WantedKind::Unreadable) {
        Err(CommandError::OnlyInQueues)
    } else {
        Ok(filter)
    }
}

impl ListDeadLetters {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let by_queues = self.queues || self.filter.kind == Some(WantedKind::Unreadable);
        let found = if by_queues {
            self.in_queues(&CliContext::open(config)?)?
        } else {
            self.in_ledger(config)?
        };
        if self.json {
            return Ok(out.json(&found)?);
        }
        if found.is_empty() {
            return Ok(out.line("no dead letters")?);
        }
        let now = Timestamp::now();
        let mut table = TextTable::new([
            "AGE",
            "ID",
            "OPERATION",
            "KIND",
            "CODE",
            "AT",
            "REFERENCE",
            "MESSAGE",
        ]);
        for listed in &found {
            table.row(cells(listed, now));
        }
        out.table(&table)?;
        out.print_blank_line()?;
        Ok(out.line(format!("{} in all", found.len()))?)
    }

    fn in_queues(&self, context: &CliContext) -> Result<Vec<ListedDeadLetter>, CommandError> {
        let filter = &self.filter;
        let mut found = Vec::new();
        context.runtime.block_on(async {
            let queues = context.dead_queues(filter.provider.as_ref()).await?;
            visit_dead_letters(&context.operator, &queues, filter, |dead| {
                found.push(ListedDeadLetter::from(&dead));
            })
            .await?;
            Ok(found)
        })
    }

    /// Lists the dead letters in the ledger, the oldest first.
    fn in_ledger(&self, config: Option<&Path>) -> Result<Vec<ListedDeadLetter>, CommandError> {
        let filter = recorded(&self.filter)?;
        let client = ApiClient::open(&self.api, config)?;
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let request = ApiRequest::get(["dead-letters"]).with_fields(filter);
            let page: CommandPage = client
                .send_request(&request.with_fields(&PageQuery { limit: MAX_PAGE, cursor }))?;
            found.extend(page.commands.into_iter().map(ListedDeadLetter::from));
            cursor = page.next;
            if cursor.is_none() {
                found.reverse();
                return Ok(found);
            }
        }
    }
}

fn cells(listed: &ListedDeadLetter, now: Timestamp) -> [String; 8] {
    let ListedDeadLetter {
        command,
        kind,
        code,
        message,
        generation,
        attempt,
        dead_lettered_at,
        ..
    } = listed;
    let word = |name: &Option<_>| name.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
    let step = match (generation, attempt) {
        (Some(0), Some(attempt)) => format!("#{attempt}"),
        (Some(generation), Some(attempt)) => format!("g{generation}#{attempt}"),
        _ => "?".to_owned(),
    };
    [
        dead_lettered_at.map_or_else(|| "?".to_owned(), |at| format_age(at, now)),
        command.id.to_string(),
        format!("{}.{}", word(&command.provider), word(&command.operation)),
        (*kind).to_owned(),
        code.clone().unwrap_or_default(),
        step,
        command.reference.clone().unwrap_or_default(),
        message.as_deref().unwrap_or_default().chars().take(100).collect(),
    ]
}
