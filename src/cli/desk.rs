//! What the commands that talk to the broker begin with.

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

/// The most messages that were refused under an id of which a command tells.
const MAX_REFUSED: u32 = 20;

/// The configuration, where it leads to, and something to run on.
pub(super) struct Desk {
    pub(super) config: Config,
    pub(super) operator: Operator,
    /// Two threads: a reader that does not read must not keep heartbeats from being sent.
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

    /// Where the ledger's index is, and for how long it remembers.
    pub(super) fn ledger(&self) -> Result<Place, CommandError> {
        Ok(Place { dir: self.config.ledger_folder()?, retention: self.config.ledger.duplicate_window })
    }

    /// The ledger, known up to now. Tells a person at a terminal how far it is, where that takes a while.
    pub(super) async fn register(&self) -> Result<Register, CommandError> {
        let place = self.ledger()?;
        let mut progress = Progress::new("messages of the ledger read", None);
        Ok(Register::open(&self.operator, &place, |read| progress.tell_of(read.done, read.total)).await?)
    }

    /// Finds the dead letter of a command in the ledger, and those of messages that were refused under its id, some of them where
    /// there are many.
    pub(super) fn find_dead_letters(&self, id: &CommandId) -> Result<Vec<DeadLetter>, CommandError> {
        self.runtime.block_on(async {
            let register = self.register().await?;
            let letters = dead_letters(&register, id).await;
            register.close().await;
            Ok(letters?)
        })
    }

    /// The names of the configured providers.
    pub(super) fn providers(&self) -> Result<Vec<Name>, CommandError> {
        Ok(provider_names(&self.config.providers.dir)?)
    }

    /// The queues of dead letters: those of the configured providers, and with the ledger open those of all others that it
    /// knows dead letters of. Only those that can hold some of `provider`, if that is given.
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

    /// The same where the ledger is not open, and is asked.
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

/// The dead letters of a command and of what was refused under its id.
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
