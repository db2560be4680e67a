//! Reads nodes and replicas from RabbitMQ's management API; AMQP does not report them.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use url::Url;

use ferryd_domain::http_call::{CallResult, HttpMethod, HttpReply, HttpRequest};
use ferryd_provider::HttpSettings;
use ferryd_transport::http::HttpClient;

/// The largest answer that is read: some 200 bytes for each queue of the virtual host.
const RESPONSE_CAP: usize = 16 << 20;

/// The most time for one answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Failure of a request to the management API.
#[derive(Debug, thiserror::Error)]
#[error("amqp.management_url: {address}: {message}")]
pub struct ManagementError {
    /// The address, without user or password.
    pub address: String,
    /// The fault, and the remedy.
    pub message: String,
}

/// The management API of a broker.
pub struct ManagementApi {
    http: HttpClient,
    base: Url,
    user: String,
    password: String,
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterNode {
    /// The node's name, such as `rabbit@node1`.
    pub name: String,
    /// Returns whether it runs now.
    pub running: bool,
}

/// A queue or stream, as far as its replicas go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedQueue {
    /// The queue's name.
    pub name: String,
    /// `quorum`, `stream` or `classic`.
    pub r#type: String,
    /// The nodes that have a replica. Absent where the queue has none, for some seconds after its
    /// declaration, and where the broker reports the state before the leader changed.
    pub members: Option<Vec<String>>,
}

/// An object in which a key can stand twice: RabbitMQ 3.10 writes what is so now, and behind it
/// what a node once counted.
struct ListedObject(Vec<(String, Value)>);

impl ListedObject {
    fn all(&self, key: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value)
    }

    fn text(&self, key: &str) -> String {
        self.all(key).next().and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

/// Reads the entries of an object, in their order.
struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = ListedObject;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ListedObject, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(ListedObject(entries))
    }
}

impl<'de> Deserialize<'de> for ListedObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

impl From<&ListedObject> for ClusterNode {
    fn from(object: &ListedObject) -> Self {
        Self {
            name: object.text("name"),
            running: object.all("running").any(|running| *running == Value::Bool(true)),
        }
    }
}

impl From<&ListedObject> for ListedQueue {
    fn from(object: &ListedObject) -> Self {
        let r#type = object.text("type");
        // Of a stream, what the node counted that led it before is never corrected; it stands
        // behind the one that leads it now.
        let mut leaders = object.all("node");
        let leader = leaders.next();
        let is_outdated = r#type == "stream" && leaders.any(|other| Some(other) != leader);
        let members =
            object.all("members").next().and_then(Value::as_array).filter(|_| !is_outdated);
        let named = |members: &Vec<Value>| {
            members.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self { name: object.text("name"), members: members.map(named), r#type }
    }
}

impl ManagementApi {
    /// The management API at an address. Nothing is connected to.
    ///
    /// # Errors
    /// [`ManagementError`]: the address or the CA file can't be used.
    pub fn new(
        address: &str,
        (user, password): (&str, &str),
        ca_file: Option<PathBuf>,
    ) -> Result<Self, ManagementError> {
        let unusable =
            |message: String| ManagementError { address: "the address".to_owned(), message };
        let mut base = Url::parse(address).map_err(|error| unusable(error.to_string()))?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        // Its own user comes before that of AMQP, which may have no password.
        let login = match (base.username(), base.password()) {
            ("", _) => (user.to_owned(), password.to_owned()),
            (user, password) => (decoded(user), decoded(password.unwrap_or_default())),
        };
        base.set_password(None).and_then(|()| base.set_username("")).ok();
        let settings = HttpSettings {
            ca_file,
            connect_timeout: Duration::from_secs(10),
            max_response_size: RESPONSE_CAP,
        };
        let http = HttpClient::new(&settings).map_err(|error| unusable(error.to_string()))?;
        Ok(Self { http, base, user: login.0, password: login.1 })
    }

    /// Lists the nodes of the cluster, also those that do not run.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn nodes(&self) -> Result<Vec<ClusterNode>, ManagementError> {
        Ok(self.get("nodes", "name,running").await?.iter().map(ClusterNode::from).collect())
    }

    /// Lists the queues and streams of a virtual host.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn queues(&self, vhost: &str) -> Result<Vec<ListedQueue>, ManagementError> {
        let path = format!("queues/{}", utf8_percent_encode(vhost, NON_ALPHANUMERIC));
        Ok(self.get(&path, "name,type,members,node").await?.iter().map(ListedQueue::from).collect())
    }

    async fn get(&self, path: &str, columns: &str) -> Result<Vec<ListedObject>, ManagementError> {
        let failed = |message: String| ManagementError { address: self.base.to_string(), message };
        let address =
            format!("{}/api/{path}?columns={columns}", self.base.as_str().trim_end_matches('/'));
        let login = STANDARD.encode(format!("{}:{}", self.user, self.password));
        let request = HttpRequest {
            method: HttpMethod::Get,
            url: Url::parse(&address).map_err(|error| failed(error.to_string()))?,
            headers: vec![("authorization".to_owned(), format!("Basic {login}"))],
            input_headers: Vec::new(),
            body: Bytes::new(),
            timeout: TIMEOUT,
        };
        match self.http.send(&request).await {
            CallResult::Reply(HttpReply { status: 200, body, .. }) => serde_json::from_slice(&body)
                .map_err(|error| {
                    failed(format!("GET /api/{path} is not answered as RabbitMQ does: {error}"))
                }),
            CallResult::Reply(HttpReply { status: 401 | 403, .. }) => Err(failed(format!(
                "refuses the user `{}`: its password must be right, and it needs the tag `monitoring` (rabbitmqctl set_user_tags)",
                self.user
            ))),
            CallResult::Reply(HttpReply { status, .. }) => {
                Err(failed(format!("GET /api/{path} is answered with {status}")))
            }
            CallResult::NotSent(failure) | CallResult::Incomplete(failure) => {
                Err(failed(failure.message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<ListedObject> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn answers_are_read_as_rabbitmq_writes_them_with_a_key_twice_outdated_or_not_yet() {
        let queues = read(
            r#"[{"members":["a@h","b@h"],"name":"q","type":"quorum","node":"a@h","members":["a@h"]},
                {"members":["a@h","b@h"],"name":"led-by-b","node":"b@h","node":"a@h","type":"stream"},
                {"members":["a@h"],"name":"led-by-a","node":"a@h","node":"a@h","type":"stream"},
                {"name":"new","type":"stream"}]"#,
        );
        let count = |queue| ListedQueue::from(queue).members.map(|nodes| nodes.len());
        assert_eq!(queues.iter().map(count).collect::<Vec<_>>(), [Some(2), None, Some(1), None]);
        let nodes = read(
            r#"[{"name":"a@h","type":"disc","running":true},{"name":"b@h","running":false},{"name":"c@h"}]"#,
        );
        let running: Vec<_> = nodes.iter().map(|node| ClusterNode::from(node).running).collect();
        assert_eq!(running, [true, false, false]);
    }

    #[test]
    fn a_user_in_the_address_comes_before_that_of_amqp_and_neither_is_shown() {
        let login = |address: &str| {
            let api = ManagementApi::new(address, ("ferry", "pw"), None).unwrap();
            (api.user, api.password, api.base.to_string())
        };
        let there = "http://127.0.0.1:15672/".to_owned();
        assert_eq!(
            login("http://127.0.0.1:15672"),
            ("ferry".to_owned(), "pw".to_owned(), there.clone())
        );
        let own = login("http://mon%40itor:p%2Fw@127.0.0.1:15672");
        assert_eq!(own, ("mon@itor".to_owned(), "p/w".to_owned(), there));
    }
}
