//! `ferryd cancel`: a command that was not sent yet is not carried out.

use std::path::Path;

use clap::Args;

use super::desk::Desk;
use super::error::CommandError;
use super::exit::Exit;
use super::output::Output;
use super::person;
use crate::domain::command_id::{CommandId, PublishedCommandId};
use crate::operator::control::say;
use crate::pipeline::cancel::Cancellation;
use crate::pipeline::control::{Heard, Word};

const EXAMPLES: &str = "\
Examples:
  ferryd cancel shop.order-1001.charge --reason 'order withdrawn'
  ferryd cancel shop.order-1001.charge --json | jq -r .outcome

A running ferryd decides, by the order of the ledger: a command of which no call was made ends as
`failed`, kind `cancelled`, for good. One that is not known yet is noted, and cancelled when it comes.

Ends with 1 where it is too late, or no ferryd listens, and then nothing has changed; with 5 where none
answered within 10 s, and then it may be cancelled all the same.";

/// The arguments.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Cancel {
    /// The command's id
    #[arg(value_name = "ID")]
    id: PublishedCommandId,
    /// Who wishes it [default: $USER, or the user who runs this]
    #[arg(long, value_name = "NAME", value_parser = person::text)]
    by: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", value_parser = person::text)]
    reason: Option<String>,
    /// Print JSON: `id`, `outcome` (cancelled, noted, `too_late`), `reason`
    #[arg(long)]
    json: bool,
}

impl Cancel {
    pub(super) fn run(self, config: Option<&Path>, out: &mut Output) -> Result<(), CommandError> {
        let desk = Desk::open(config)?;
        let Self { id, by, reason, json } = self;
        let id = CommandId::from(id);
        let word = Word::Cancel { id: id.clone(), by: by.unwrap_or_else(person::user), reason };
        let heard = desk.runtime.block_on(say(&desk.operator, &word))?;
        if json {
            out.json(&heard)?;
        }
        match (verdict(&id, &heard), json) {
            (Err(_), true) => Err(CommandError::Told(Exit::Failed)),
            (Err(why), false) => Err(CommandError::Refused(why)),
            (Ok(line), false) => Ok(out.line(line)?),
            (Ok(_), true) => Ok(()),
        }
    }
}

fn verdict(id: &CommandId, heard: &Heard) -> Result<String, String> {
    match heard {
        Heard::Cancel { cancellation, .. } => match cancellation {
            Cancellation::Cancelled => Ok(format!("{id} is cancelled")),
            Cancellation::Noted => Ok(format!("{id} is not known yet; it will be cancelled when it comes")),
            Cancellation::TooLate { reason } => Err(format!("it is too late to cancel `{id}`: {reason}")),
        },
        Heard::Lookup { .. } => Err("ferryd answered another question".to_owned()),
        Heard::Refused { error } => Err(format!("ferryd did not understand: {error}; is it an older version?")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ledger::ruling::TooLate;
    use crate::pipeline::inquire::LookupWish;

    #[test]
    fn an_answer_is_told_in_a_sentence_and_too_late_is_a_failure() {
        let id: CommandId = "order-1".parse().unwrap();
        let heard = |cancellation| Heard::Cancel { id: id.clone(), cancellation };
        assert_eq!(verdict(&id, &heard(Cancellation::Cancelled)), Ok("order-1 is cancelled".to_owned()));
        assert!(verdict(&id, &heard(Cancellation::Noted)).is_ok());
        let late = verdict(&id, &heard(Cancellation::TooLate { reason: TooLate::Accepted }));
        assert_eq!(late, Err("it is too late to cancel `order-1`: its provider has accepted it".to_owned()));
        assert!(verdict(&id, &Heard::Refused { error: "x".to_owned() }).is_err());
    }

    #[test]
    fn answers_are_read_as_they_are_sent() {
        for heard in [
            Heard::Cancel {
                id: "a".parse().unwrap(),
                cancellation: Cancellation::TooLate { reason: TooLate::InFlight },
            },
            Heard::Cancel { id: "a".parse().unwrap(), cancellation: Cancellation::Noted },
            Heard::Lookup { id: "a".parse().unwrap(), lookup: LookupWish::Asked },
            Heard::Lookup { id: "a".parse().unwrap(), lookup: LookupWish::NotWaiting },
            Heard::Refused { error: "no word".to_owned() },
        ] {
            let json = serde_json::to_string(&heard).unwrap();
            assert_eq!(serde_json::from_str::<Heard>(&json).unwrap(), heard, "{json}");
        }
    }
}
