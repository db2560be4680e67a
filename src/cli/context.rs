//! The set-up of subcommands that talk to the broker.

use std::path::Path;

use tokio::runtime::{Builder, Runtime};

use super::error::CommandError;
use crate::config::Config;
use crate::operator::OperatorContext;
use crate::operator::index_owner::IndexPlace;
use crate::operator::queues::{all_dead_queues, dead_queues, provider_names};
use ferryd_broker::connection::AmqpSettings;
use ferryd_broker::topology::TopologyNames;
use ferryd_domain::name::Name;
use ferryd_ledger::index::LedgerIndex;

/// The configuration, the connection settings, and an async runtime.
pub(super) struct CliContext {
    pub(super) config: Config,
    pub(super) operator: OperatorContext,
    /// The runtime, with two threads: a blocked output must not stop heartbeats.
    pub(super) runtime: Runtime,
}

impl CliContext {
    pub(super) fn open(path: Option<&Path>) -> Result<Self, CommandError> {
        let config = Config::load(path)?;
        let names = TopologyNames::new(config.prefix.clone());
        let operator = OperatorContext { amqp: AmqpSettings::from(&config.amqp), names };
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Ok(Self { config, operator, runtime: runtime.map_err(CommandError::Runtime)? })
    }

    /// Returns the folder of the ledger's index, and the time for which it keeps commands.
    pub(super) fn ledger(&self) -> Result<IndexPlace, CommandError> {
        Ok(IndexPlace {
            dir: self.config.ledger_folder()?,
            retention: self.config.ledger.duplicate_window,
        })
    }

    /// Lists the names of the configured providers.
    pub(super) fn providers(&self) -> Result<Vec<Name>, CommandError> {
        Ok(provider_names(&self.config.providers.dir)?)
    }

    /// The queues of dead letters: those of the configured providers, and of those others that this
    /// host's index knows dead letters of. Only those that can hold some of `provider`, if that is
    /// given.
    pub(super) async fn dead_queues(
        &self,
        provider: Option<&Name>,
    ) -> Result<Vec<String>, CommandError> {
        if provider.is_some() {
            return Ok(dead_queues(&self.operator.names, &[], provider));
        }
        Ok(all_dead_queues(&self.operator, &self.providers()?, self.recorded_providers()?).await?)
    }

    /// The providers of the dead letters that this host's index knows, where there is an index.
    fn recorded_providers(&self) -> Result<Vec<Name>, CommandError> {
        let key = self.operator.names.ledger_key(&self.operator.amqp.first_address());
        let index = LedgerIndex::open_read_only(&self.ledger()?.dir, &key);
        // Whoever looks into the queues may have no index, or one that can't be read.
        Ok(index.and_then(|index| index.dead_providers()).unwrap_or_default())
    }
}
