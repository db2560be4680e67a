use super::*;

fn topology() -> Topology {
    let names = TopologyNames::new("ferry".parse().unwrap());
    let [stripe, payment]: [Name; 2] = ["stripe", "payment"].map(|name| name.parse().unwrap());
    let subscriber =
        SubscriberQueue { queue: "shop.events".to_owned(), bindings: vec!["payment.#".to_owned()] };
    Topology::new(&names, [&stripe], [(&payment, &stripe)], &[subscriber])
        .with_webhooks(&names, [&stripe])
}

#[test]
fn the_topology_is_the_documented_one() {
    insta::assert_json_snapshot!(topology().definitions("/"));
}

#[test]
fn everything_bound_exists_and_every_dead_letter_exchange_catches_what_it_cannot_route() {
    let topology = topology();
    let exchange = |name: &str| topology.exchanges.iter().find(|exchange| exchange.name == name);
    for binding in &topology.bindings {
        assert!(exchange(&binding.exchange).is_some(), "{binding:?}");
        assert!(topology.queues.iter().any(|queue| queue.name == binding.queue), "{binding:?}");
    }
    for queue in &topology.queues {
        let Some(QueueArgument::Text(target)) = queue.arguments.get("x-dead-letter-exchange")
        else {
            continue;
        };
        let target = exchange(target).unwrap();
        assert!(target.kind == ExchangeKind::Fanout || target.alternate.is_some(), "{queue:?}");
    }
}

#[test]
fn every_queue_is_a_quorum_queue_with_a_delivery_limit_or_a_stream_and_none_has_a_length() {
    for queue in topology().queues {
        let stream = queue.name == "ferry.ledger" || queue.name == "ferry.calls";
        let kind = if stream { "stream" } else { "quorum" };
        assert_eq!(
            queue.arguments["x-queue-type"],
            QueueArgument::Text(kind.to_owned()),
            "{}",
            queue.name
        );
        assert_eq!(queue.arguments.contains_key("x-delivery-limit"), !stream, "{}", queue.name);
        assert!(!queue.arguments.keys().any(|name| name.starts_with("x-max")), "{}", queue.name);
    }
}

#[test]
fn only_streams_have_a_policy_and_it_fits_nothing_but_their_name() {
    let definitions = topology().definitions("/");
    let patterns: Vec<_> = definitions["policies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|policy| &policy["pattern"])
        .collect();
    assert_eq!(patterns, ["^ferry\\.ledger$", "^ferry\\.calls$"]);
}

#[test]
fn the_policy_of_the_ledger_keeps_it_for_as_long_as_duplicates_are_detected() {
    let names = TopologyNames::new("ferry".parse().unwrap());
    for (hours, max_age) in [(24 * 60, "60D"), (24 * 90, "90D"), (73, "73h")] {
        let window = std::time::Duration::from_hours(hours);
        let topology = topology().with_duplicate_window(&names, window);
        let ages: Vec<_> = topology.policies.iter().map(|policy| policy.max_age.as_str()).collect();
        assert_eq!(ages, [max_age, "7D"]);
    }
}
