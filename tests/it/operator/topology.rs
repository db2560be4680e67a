//! Exporting and declaring the topology.

use ferryd_broker::topology::{Topology, TopologyNames};
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;

use super::operator_bench::OperatorBench;

#[test]
fn what_a_node_imports_at_boot_holds_the_policies_of_the_topology_and_nothing_that_has_replicas() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/rabbitmq/definitions.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let topology =
        Topology::new(&TopologyNames::new("ferry".parse().unwrap()), [], [], &[]).definitions("/");
    assert_eq!(
        file["policies"], topology["policies"],
        "put those of `ferryd topology export` there"
    );
    // The first node of a cluster imports it alone: a queue or a stream would have one replica for
    // ever.
    let sections: Vec<_> = file.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(sections, ["users", "vhosts", "permissions", "policies"]);
}

#[tokio::test]
async fn what_is_applied_is_what_is_exported_and_differences_are_reported() {
    let bench = OperatorBench::bare().await;
    let exported = bench.ferryd(&["topology", "export"]).await.json();
    let mut classic = FieldTable::default();
    classic.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
    let declaring = bench.broker.channel().await;
    declaring
        .queue_declare("ferry.poison".into(), QueueDeclareOptions::durable(), classic)
        .await
        .unwrap();

    let applied = bench.ferryd(&["topology", "apply", "--json"]).await;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert_eq!(applied.json()["different"], serde_json::json!(["ferry.poison"]));
    for queue in exported["queues"].as_array().unwrap() {
        let name = queue["name"].as_str().unwrap();
        assert_eq!(bench.broker.depth(name).await, Some(0), "{name}");
    }
    let names: Vec<_> =
        exported["queues"].as_array().unwrap().iter().map(|queue| &queue["name"]).collect();
    assert!(
        names.contains(&&"ferry.commands.stripe".into())
            && names.contains(&&"ferry.dead.twilio".into())
    );
    assert_eq!(exported["queues"][0]["vhost"].as_str(), bench.vhost.uri().rsplit('/').next());
    let again = bench.ferryd(&["topology", "apply"]).await;
    assert!(again.out.contains("`ferry.poison` has other arguments"), "{again:?}");
}
