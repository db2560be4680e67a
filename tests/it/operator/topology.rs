//! Exporting and declaring the topology.

use ferryd::amqp::topology::{Names, Topology};
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;

use super::bench::Bench;

#[test]
fn the_definitions_of_the_node_are_the_topology_without_providers() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/rabbitmq/definitions.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let topology = Topology::new(&Names::new("ferry".parse().unwrap()), [], [], &[]).definitions("/");
    for section in ["exchanges", "queues", "bindings", "policies"] {
        assert_eq!(file[section], topology[section], "put the output of `ferryd topology export` there");
    }
}

#[tokio::test]
async fn what_is_applied_is_what_is_exported_and_what_differs_is_told() {
    let bench = Bench::bare().await;
    let exported = bench.ferryd(&["topology", "export"]).await.json();
    let mut classic = FieldTable::default();
    classic.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
    let declaring = bench.broker.channel().await;
    declaring.queue_declare("ferry.poison".into(), QueueDeclareOptions::durable(), classic).await.unwrap();

    let applied = bench.ferryd(&["topology", "apply", "--json"]).await;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert_eq!(applied.json()["different"], serde_json::json!(["ferry.poison"]));
    for queue in exported["queues"].as_array().unwrap() {
        let name = queue["name"].as_str().unwrap();
        assert_eq!(bench.broker.depth(name).await, Some(0), "{name}");
    }
    let names: Vec<_> = exported["queues"].as_array().unwrap().iter().map(|queue| &queue["name"]).collect();
    assert!(names.contains(&&"ferry.commands.stripe".into()) && names.contains(&&"ferry.dead.twilio".into()));
    assert_eq!(exported["queues"][0]["vhost"].as_str(), bench.vhost.uri().rsplit('/').next());
    let again = bench.ferryd(&["topology", "apply"]).await;
    assert!(again.out.contains("`ferry.poison` has other arguments"), "{again:?}");
}
