//! Messages in the queues of webhooks: a message that is read is written the same, without
//! passwords.

use bytes::Bytes;

use super::table;
use ferryd_broker::names::TopologyNames;
use ferryd_broker::webhook_message::{read_webhook, to_message};

/// Headers of a call that are never kept.
const SECRET: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

pub(super) fn check(bytes: &[u8]) {
    let (properties, body) = table::read(bytes);
    let Ok(read) = read_webhook(&properties, Bytes::copy_from_slice(body)) else { return };
    assert_eq!(read.call.body, body, "a body is untouched");
    let names = TopologyNames::new("ferry".parse().unwrap());
    let message = to_message(&read, &names).unwrap();
    assert_eq!(message.routing_key.as_str(), format!("{}.{}", read.provider, read.account));

    let again = read_webhook(&message.properties, message.body.into());
    let mut kept = read;
    kept.call.headers.retain(|(name, _)| !SECRET.contains(&name.as_str()));
    assert_eq!(again, Ok(kept), "what is read is written the same");
}
