use super::*;

fn node(name: &str, running: bool) -> ClusterNode {
    ClusterNode { name: format!("rabbit@{name}"), running }
}

fn cluster(names: &[&str]) -> Vec<ClusterNode> {
    names.iter().map(|name| node(name, true)).collect()
}

fn queue(name: &str, kind: &str, members: &[&str]) -> ListedQueue {
    let members = members.iter().map(|name| format!("rabbit@{name}")).collect();
    ListedQueue { name: name.to_owned(), r#type: kind.to_owned(), members: Some(members) }
}

fn report(nodes: &[ClusterNode], queues: &[ListedQueue]) -> ReplicaReport {
    ReplicaReport::new("/", queues.iter().map(|queue| queue.name.as_str()), nodes, queues)
}

#[test]
fn what_was_declared_by_the_first_node_alone_grows_by_the_printed_commands() {
    let queues = [
        queue("ferry.poison", "quorum", &["a"]),
        queue("ferry.commands.acme", "quorum", &["a", "c"]),
        queue("ferry.unroutable", "quorum", &["a", "b", "c"]),
        queue("ferry.ledger", "stream", &["a"]),
    ];
    let report = report(&cluster(&["a", "b", "c"]), &queues);
    let replicas: Vec<_> =
        report.lacking.iter().map(|queue| (queue.name.as_str(), queue.replicas)).collect();
    assert_eq!(replicas, [("ferry.commands.acme", 2), ("ferry.ledger", 1), ("ferry.poison", 1)]);
    assert_eq!(
        report.commands,
        [
            r"rabbitmq-queues grow rabbit@b all --vhost-pattern '^(/)$' --queue-pattern '^(ferry\.commands\.acme|ferry\.poison)$'",
            "rabbitmq-streams add_replica --vhost / ferry.ledger rabbit@b",
            r"rabbitmq-queues grow rabbit@c all --vhost-pattern '^(/)$' --queue-pattern '^(ferry\.poison)$'",
            "rabbitmq-streams add_replica --vhost / ferry.ledger rabbit@c",
        ]
    );
}

#[test]
fn three_replicas_are_enough_for_a_queue_and_a_stream_is_read_at_every_node() {
    let queues = [queue("q", "quorum", &["a", "b", "c"]), queue("s", "stream", &["a", "b", "c"])];
    let report = report(&cluster(&["a", "b", "c", "d", "e"]), &queues);
    assert_eq!(report.lacking.len(), 1);
    assert_eq!(
        (report.lacking[0].kind, report.lacking[0].lacking_at.len()),
        (ReplicatedKind::Stream, 2)
    );
    for (nodes, members) in [(&["a"][..], &["a"][..]), (&["a", "b"], &["a", "b"])] {
        let queues = [queue("q", "quorum", members), queue("s", "stream", members)];
        assert_eq!(self::report(&cluster(nodes), &queues).lacking, []);
    }
}

#[test]
fn a_node_that_does_not_run_is_given_no_replica_and_is_named() {
    let nodes = [node("a", true), node("b", true), node("c", false)];
    let report = report(&nodes, &[queue("q", "quorum", &["a", "b"]), queue("r", "quorum", &["a"])]);
    assert_eq!(report.down, ["rabbit@c"]);
    let lacking: Vec<_> = report.lacking.iter().map(|queue| queue.lacking_at.join(" ")).collect();
    assert_eq!(lacking, ["", "rabbit@b"]);
}

#[test]
fn what_is_not_listed_or_says_nothing_yet_is_unknown_and_what_has_no_replicas_is_left_out() {
    let mut silent = queue("new", "stream", &[]);
    silent.members = None;
    let queues = [silent, queue("old", "classic", &["a"])];
    let report =
        ReplicaReport::new("/", ["new", "old", "gone"], &cluster(&["a", "b", "c"]), &queues);
    assert_eq!(
        (report.unknown, report.lacking),
        (vec!["gone".to_owned(), "new".to_owned()], vec![])
    );
}

#[test]
fn a_shell_takes_every_name_as_one_word_and_the_broker_as_that_name_alone() {
    let queues = [queue("it's $(x) a+b", "quorum", &["a"]), queue("s 1", "stream", &["a"])];
    let names = queues.iter().map(|queue| queue.name.as_str());
    let report = ReplicaReport::new("a b|c", names, &cluster(&["a", "b;c"]), &queues);
    assert_eq!(
        report.commands,
        [
            r"rabbitmq-queues grow 'rabbit@b;c' all --vhost-pattern '^(a b\|c)$' --queue-pattern '^(it'\''s \$\(x\) a\+b)$'",
            "rabbitmq-streams add_replica --vhost 'a b|c' 's 1' 'rabbit@b;c'",
        ]
    );
}
