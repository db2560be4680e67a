//! The set-up of subcommands that talk to the broker.

use std::path::Path;

use tokio::runtime::{Builder, Runtime};

use super::error::CommandError;
use super::progress::Progress;
use crate::amqp::connection::AmqpSettings;
use crate::amqp::topology::Names;
use crate::config::Config;
use crate::domain::command_id::CommandId;
use crate::domain::dead_letter::DeadLetter;
use crate::domain::name::Name;
use crate::operator::queues::{all_dead_queues, dead_queues, provider_names};
use crate::operator::register::{Place, Register};
use crate::operator::{Operator, OperatorError};

/// The most messages refused under an id that a subcommand lists.
const MAX_REFUSED: u32 = 20;

/// The configuration, the connection settings, and an async runtime.
pub(super) struct Desk {
    pub(super) config: Config,
    pub(super) operator: Operator,
    /// The runtime, with two threads: a blocked output must not stop heartbeats.
    pub(super) runtime: Runtime,
}

impl Desk {
    pub(super) fn open(path: Option<&Path>) -> Result<Self, CommandError> {
        let config = Config::load(path)?;
        let names = Names::new(config.prefix.clone());
        let operator = Operator { amqp: AmqpSettings::from(&config.amqp), names };
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Ok(Self { config, operator, runtime: runtime.map_err(CommandError::Runtime)? })
    }

    /// Returns the folder of the ledger's index, and the time for which it keeps commands.
    pub(super) fn ledger(&self) -> Result<Place, CommandError> {
        Ok(Place { dir: self.config.ledger_folder()?, retention: self.config.ledger.duplicate_window })
    }

    /// Opens the ledger, brought up to date. At a terminal, prints the progress where that takes a
    /// while.
    pub(super) async fn register(&self) -> Result<Register, CommandError> {
        let place = self.ledger()?;
        let mut progress = Progress::new("messages of the ledger read", None);
        Ok(Register::open(&self.operator, &place, |read| progress.tell_of(read.done, read.total)).await?)
    }

    /// Finds the recorded dead letter of a command, and those of messages refused under its id,
    /// some of them where there are many.
    pub(super) fn find_dead_letters(&self, id: &CommandId) -> Result<Vec<DeadLetter>, CommandError> {
        self.runtime.block_on(async {
            let register = self.register().await?;
            let letters = dead_letters(&register, id).await;
            register.close().await;
            Ok(letters?)
        })
    }

    /// Lists the names of the configured providers.
    pub(super) fn providers(&self) -> Result<Vec<Name>, CommandError> {
        Ok(provider_names(&self.config.providers.dir)?)
    }

    /// Lists the queues of dead letters: those of the configured providers, and with the ledger
    /// open those of all other providers with recorded dead letters. With `provider`, only the
    /// queues that can hold its dead letters.
    pub(super) async fn dead_queues(
        &self,
        provider: Option<&Name>,
        register: Option<&Register>,
    ) -> Result<Vec<String>, CommandError> {
        if provider.is_some() {
            return Ok(dead_queues(&self.operator.names, &[], provider));
        }
        let known = match register {
            Some(register) => register.index().await.dead_providers().map_err(OperatorError::from)?,
            None => Vec::new(),
        };
        Ok(all_dead_queues(&self.operator, &self.providers()?, known).await?)
    }

    /// Lists the queues of dead letters by opening the ledger first.
    pub(super) async fn find_dead_queues(&self, provider: Option<&Name>) -> Result<Vec<String>, CommandError> {
        if provider.is_some() {
            return self.dead_queues(provider, None).await;
        }
        let register = self.register().await?;
        let queues = self.dead_queues(None, Some(&register)).await;
        register.close().await;
        queues
    }
}

/// Finds the dead letters of a command and of the messages refused under its id.
async fn dead_letters(register: &Register, id: &CommandId) -> Result<Vec<DeadLetter>, OperatorError> {
    let refused = if id.is_refused() { Vec::new() } else { register.index().await.refused_under(id, MAX_REFUSED)? };
    let mut letters = Vec::new();
    for id in std::iter::once(id).chain(&refused) {
        let case = register.case(id)?;
        let ending = case.as_deref().and_then(|case| case.ending.as_ref()).filter(|ending| ending.is_dead());
        letters.extend(ending.and_then(|ending| ending.letter.as_deref().cloned()));
    }
    Ok(letters)
}
