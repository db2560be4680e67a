//! Reports which commands were published, where not all were, and how to continue without
//! publishing one twice.

use std::fmt::Write as _;
use std::path::Path;

use crate::operator::bulk::{BulkResult, MessageFate};
use crate::operator::publish::PreparedCommand;
use ferryd_domain::command_id::CommandId;

/// The most commands that a line names.
const MOST: usize = 20;

/// Commands, and the fate of each.
pub(super) struct PublishedCommands<'c> {
    pub(super) commands: &'c [PreparedCommand],
    pub(super) result: BulkResult,
    /// The file that the commands came from; `-` is the standard input.
    pub(super) file: Option<&'c Path>,
}

impl PublishedCommands<'_> {
    /// Lists the commands that a queue holds.
    pub(super) fn confirmed(&self) -> impl Iterator<Item = &PreparedCommand> {
        self.of(MessageFate::Confirmed)
    }

    fn of(&self, fate: MessageFate) -> impl Iterator<Item = &PreparedCommand> {
        let commands = self.commands.iter().zip(&self.result.fates);
        commands.filter(move |(_, found)| **found == fate).map(|(outgoing, _)| outgoing)
    }

    /// Describes the result, one line each; empty where all commands are published.
    pub(super) fn result_lines(&self) -> Vec<String> {
        let (confirmed, all) = (self.confirmed().count(), self.commands.len());
        if confirmed == all {
            return Vec::new();
        }
        let why = self
            .result
            .failure
            .as_ref()
            .map_or_else(|| "it was interrupted".to_owned(), ToString::to_string);
        let mut lines = vec![format!("{confirmed} of {all} commands were published, then: {why}")];
        let [refused, unclear] =
            [MessageFate::Refused, MessageFate::Unconfirmed].map(|fate| self.list_with_fate(fate));
        lines.extend(refused.map(|list| format!("the broker did not take {list}")));
        lines.extend(unclear.map(|list| format!("perhaps published, but not confirmed: {list}")));
        if self.file.is_some() {
            lines.push(self.advise_retry());
        }
        lines
    }

    /// Lists the commands with this fate, some of them where there are many; `None` where there are
    /// none.
    fn list_with_fate(&self, fate: MessageFate) -> Option<String> {
        let name = |outgoing: &PreparedCommand| match self.file {
            Some(_) => format!("`{}` (line {})", outgoing.command.id, outgoing.line),
            None => format!("`{}`", outgoing.command.id),
        };
        let count = self.of(fate).count();
        let mut list = self.of(fate).take(MOST).map(name).collect::<Vec<_>>().join(", ");
        if count > MOST {
            // Writing to a string does not fail.
            let _ = write!(list, " and {} more", count - MOST);
        }
        (count > 0).then_some(list)
    }

    /// Says how to continue. A command may be published again where its id makes it a duplicate.
    fn advise_retry(&self) -> String {
        if self.commands.iter().all(|outgoing| outgoing.has_own_id) {
            return "to go on, publish the same again: every command has an `id`, by which the ledger knows what was published, \
                    and does not do it twice"
                .to_owned();
        }
        let look = |id: &CommandId| {
            format!("look up the outcome of those first, such as with `ferryd status {id}`; ")
        };
        let unclear =
            self.of(MessageFate::Unconfirmed).next().map(|outgoing| look(&outgoing.command.id));
        let rest = self.of(MessageFate::Unpublished).next().map(|outgoing| outgoing.line);
        let rest = match (rest, self.file) {
            (Some(line), Some(path)) if path.as_os_str() != "-" => {
                format!(
                    "publish the rest with `tail -n +{line} {} | ferryd publish --file -`",
                    path.display()
                )
            }
            (Some(line), _) => format!("publish the rest, from line {line} on"),
            (None, _) => "all the others are published".to_owned(),
        };
        format!("to go on without doing anything twice: {}{rest}", unclear.unwrap_or_default())
    }
}

#[cfg(test)]
#[path = "publish_result_tests.rs"]
mod tests;
