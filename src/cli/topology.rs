//! `ferryd topology`: prints or declares the exchanges, queues and bindings that ferryd works with.

use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::json;

use super::context::CliContext;
use super::error::CommandError;
use super::output::TerminalOutput;
use super::replicas::{find_replicas, print_replicas};
use crate::operator::OperatorError;
use crate::operator::queues::{calling_back, retry_groups};
use crate::operator::replicas::ReplicaReport;
use ferryd_broker::connection::say_goodbye;
use ferryd_broker::declare::{DeclareResult, declare};
use ferryd_broker::topology::{self, SubscriberQueue};

const EXPORT_EXAMPLES: &str = "\
Examples:
  ferryd topology export > ferryd-definitions.json
  ferryd topology export --vhost / | jq '.queues[].name'

The form is that of RabbitMQ's definitions: `rabbitmqctl import_definitions` reads it.";

const APPLY_EXAMPLES: &str = "\
Examples:
  ferryd topology apply
  ferryd topology apply --json | jq '.different'

`ferryd run` does the same at its start. What exists with other arguments is left as it is and listed.
With `amqp.management_url` it also lists the queues and streams of a cluster that have fewer replicas
than there are nodes, because they were declared while some were missing, and prints the commands that
add replicas. So apply when all nodes are up.";

/// The exchanges, queues and bindings that ferryd works with.
#[derive(Debug, Subcommand)]
pub enum TopologyCommand {
    /// Print them as RabbitMQ definitions, without connecting
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(TopologyExportArguments),
    /// Declare on the broker what is not there yet
    #[command(after_help = APPLY_EXAMPLES)]
    Apply(TopologyApplyArguments),
}

/// The arguments of `ferryd topology export`.
#[derive(Debug, Args)]
pub struct TopologyExportArguments {
    /// The virtual host to write; without it, that of `amqp.uri`
    #[arg(long)]
    vhost: Option<String>,
}

/// The arguments of `ferryd topology apply`.
#[derive(Debug, Args)]
pub struct TopologyApplyArguments {
    /// Print JSON: `exchanges`, `queues`, `bindings` (how many), `different` (names), `replicas`
    #[arg(long)]
    json: bool,
}

impl TopologyCommand {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let context = CliContext::open(config)?;
        let topology = configured_topology(&context)?;
        match self {
            Self::Export(TopologyExportArguments { vhost }) => {
                let vhost =
                    vhost.unwrap_or_else(|| context.operator.amqp.nodes.first().vhost.clone());
                Ok(out.json(&topology.definitions(&vhost))?)
            }
            Self::Apply(TopologyApplyArguments { json }) => {
                let declared = context.runtime.block_on(apply(&context, &topology))?;
                let found = context.runtime.block_on(find_replicas(&context, &topology));
                print(
                    &topology,
                    &declared,
                    found.as_ref().ok().and_then(Option::as_ref),
                    json,
                    out,
                )?;
                let replicas = found?;
                if json { Ok(()) } else { print_replicas(replicas.as_ref(), out) }
            }
        }
    }
}

fn configured_topology(context: &CliContext) -> Result<topology::Topology, CommandError> {
    let providers = context.providers()?;
    let subscribers = context.config.events.subscribers.iter();
    let subscribers: Vec<_> = subscribers
        .map(|subscriber| SubscriberQueue {
            queue: subscriber.queue.clone(),
            bindings: subscriber.bindings.clone(),
        })
        .collect();
    let names = &context.operator.names;
    let topology = topology::Topology::new(names, &providers, &context.config.routes, &subscribers);
    let topology = topology.with_duplicate_window(names, context.config.ledger.duplicate_window);
    let dir = &context.config.providers.dir;
    Ok(topology
        .with_webhooks(names, &calling_back(dir)?)
        .with_retry_groups(names, &retry_groups(dir)?))
}

async fn apply(
    context: &CliContext,
    topology: &topology::Topology,
) -> Result<DeclareResult, OperatorError> {
    let connection = context.operator.amqp.connect("topology").await?;
    let declared = declare(&connection, topology).await?;
    say_goodbye(&connection).await;
    Ok(declared)
}

fn print(
    topology: &topology::Topology,
    declared: &DeclareResult,
    replicas: Option<&ReplicaReport>,
    json: bool,
    out: &mut TerminalOutput,
) -> Result<(), CommandError> {
    let (exchanges, queues, bindings) =
        (topology.exchanges.len(), topology.queues.len(), topology.bindings.len());
    let different = &declared.different;
    if json {
        let report = json!({
            "exchanges": exchanges, "queues": queues, "bindings": bindings, "different": different, "replicas": replicas,
        });
        return Ok(out.json(&report)?);
    }
    out.line(format!("{exchanges} exchanges, {queues} queues and {bindings} bindings are there"))?;
    for name in different {
        out.line(format!(
            "`{name}` has other arguments than ferryd would give it, and was left as it is"
        ))?;
    }
    Ok(())
}
