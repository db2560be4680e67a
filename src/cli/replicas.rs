//! Reports replicas for `ferryd topology apply`.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::context::CliContext;
use super::error::CommandError;
use super::output::TerminalOutput;
use crate::operator::OperatorError;
use crate::operator::management::{ManagementApi, ManagementError};
use crate::operator::replicas::{ReplicaReport, ReplicatedKind};
use ferryd_broker::topology::Topology;

/// The longest time until the management API shows what was declared just now: the broker updates
/// it every 5 s.
const UPDATE_DELAY: Duration = Duration::from_secs(15);
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Finds queues and streams with too few replicas; `None` where no management API is configured.
pub(super) async fn find_replicas(
    context: &CliContext,
    topology: &Topology,
) -> Result<Option<ReplicaReport>, CommandError> {
    let Some(api) = management_api(context).transpose().map_err(OperatorError::from)? else {
        return Ok(None);
    };
    let vhost = &context.operator.amqp.nodes.first().vhost;
    let end = Instant::now() + UPDATE_DELAY;
    loop {
        let report = ask(&api, vhost, topology).await.map_err(OperatorError::from)?;
        if report.unknown.is_empty() || Instant::now() >= end {
            return Ok(Some(report));
        }
        sleep(ASK_EVERY).await;
    }
}

async fn ask(
    api: &ManagementApi,
    vhost: &str,
    topology: &Topology,
) -> Result<ReplicaReport, ManagementError> {
    let (nodes, queues) = (api.nodes().await?, api.queues(vhost).await?);
    Ok(ReplicaReport::new(
        vhost,
        topology.queues.iter().map(|queue| queue.name.as_str()),
        &nodes,
        &queues,
    ))
}

fn management_api(context: &CliContext) -> Option<Result<ManagementApi, ManagementError>> {
    let amqp = &context.config.amqp;
    let login = &amqp.first_address().parts().authority.userinfo;
    let url = amqp.management_url.as_ref()?;
    Some(ManagementApi::new(url.expose(), (&login.username, &login.password), amqp.ca_file.clone()))
}

/// Prints the queues and streams with too few replicas, and the commands that add some.
pub(super) fn print_replicas(
    report: Option<&ReplicaReport>,
    out: &mut TerminalOutput,
) -> Result<(), CommandError> {
    let Some(ReplicaReport { nodes, down, lacking, unknown, commands }) = report else {
        out.line(
            "the number of replicas was not checked: amqp.management_url is not set (in a cluster, `rabbitmq-queues quorum_status NAME` \
             and `rabbitmq-streams stream_status NAME` show it)",
        )?;
        return Ok(());
    };
    for name in down {
        out.line(format!("node `{name}` does not run: apply again when it does"))?;
    }
    if !unknown.is_empty() {
        out.line(format!(
            "the management API does not report the replicas of {}: apply again, or see `rabbitmq-streams stream_status NAME`",
            named_queue(unknown)
        ))?;
    }
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for queue in lacking {
        groups.entry((queue.kind, queue.replicas)).or_default().push(&queue.name);
    }
    for ((kind, replicas), names) in &groups {
        let kind = match (kind, names.len()) {
            (ReplicatedKind::Quorum, 1) => "queue",
            (ReplicatedKind::Quorum, _) => "queues",
            (ReplicatedKind::Stream, 1) => "stream",
            (ReplicatedKind::Stream, _) => "streams",
        };
        out.line(format!(
            "{kind} with {replicas} of {} replicas: {}",
            nodes.len(),
            named_queue(names)
        ))?;
    }
    if lacking.is_empty() && unknown.is_empty() {
        out.line(format!("every queue and stream has its replicas, on {} nodes", nodes.len()))?;
    }
    if !commands.is_empty() {
        out.line("to add what is lacking, on a node of the broker:")?;
    }
    for command in commands {
        out.line(format!("  {command}"))?;
    }
    Ok(())
}

fn named_queue(names: &[impl AsRef<str>]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture;
    use crate::operator::management::{ClusterNode, ListedQueue};

    fn printed(queues: &[(&str, &str, &[&str])], running: [bool; 3]) -> String {
        let nodes = ["a", "b", "c"].iter().zip(running);
        let nodes: Vec<_> = nodes
            .map(|(name, running)| ClusterNode { name: format!("rabbit@{name}"), running })
            .collect();
        let names = queues.iter().map(|(name, _, _)| *name).chain(["ferry.new"]);
        let listed = |(name, kind, members): &(&str, &str, &[&str])| ListedQueue {
            name: (*name).to_owned(),
            r#type: (*kind).to_owned(),
            members: Some(members.iter().map(|name| format!("rabbit@{name}")).collect()),
        };
        let listed: Vec<_> = queues.iter().map(listed).collect();
        let report = ReplicaReport::new(
            "/",
            names.take(queues.len() + usize::from(!running[2])),
            &nodes,
            &listed,
        );
        fixture::printed(|out| print_replicas(Some(&report), out).unwrap())
    }

    #[test]
    fn what_lacks_replicas_is_named_with_the_commands_that_add_them() {
        let queues: [(&str, &str, &[&str]); 4] = [
            ("ferry.unroutable", "quorum", &["a"]),
            ("ferry.poison", "quorum", &["a"]),
            ("ferry.dead.acme", "quorum", &["a", "b"]),
            ("ferry.ledger", "stream", &["a"]),
        ];
        insta::assert_snapshot!(printed(&queues, [true, true, false]));
    }

    #[test]
    fn where_nothing_is_lacking_or_the_number_is_unknown_the_report_says_so() {
        let all = printed(&[("ferry.unroutable", "quorum", &["a", "b", "c"])], [true; 3]);
        assert_eq!(all, "every queue and stream has its replicas, on 3 nodes\n");
        let none = fixture::printed(|out| print_replicas(None, out).unwrap());
        assert!(
            none.starts_with(
                "the number of replicas was not checked: amqp.management_url is not set"
            ),
            "{none}"
        );
    }
}
