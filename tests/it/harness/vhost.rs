//! A virtual host per test, so that tests share a node and nothing else.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::node::{BrokerNode, NodeControl};

static CREATED: AtomicU32 = AtomicU32::new(0);

/// A virtual host, deleted with all its queues when dropped: hundreds of idle quorum queues would
/// slow the node.
pub(crate) struct TestVhost {
    name: String,
    port: u16,
    control: NodeControl,
}

impl TestVhost {
    pub(super) async fn create(control: NodeControl, port: u16) -> Self {
        let name = format!("test{}", CREATED.fetch_add(1, Ordering::Relaxed));
        control
            .eval(&format!(
                r#"ok = rabbit_vhost:add(<<"{name}">>, <<"ferry">>), ok = rabbit_auth_backend_internal:set_permissions(
                   <<"ferry">>, <<"{name}">>, <<".*">>, <<".*">>, <<".*">>, <<"ferry">>)"#
            ))
            .await;
        Self { name, port, control }
    }

    /// Returns the name of the virtual host.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the URI where clients connect.
    pub(crate) fn uri(&self) -> String {
        self.uri_at(SocketAddr::from(([127, 0, 0, 1], self.port)))
    }

    /// Returns the URI by way of another address: a proxy's.
    pub(crate) fn uri_at(&self, address: SocketAddr) -> String {
        format!("amqp://ferry:ferry@{address}/{}", self.name)
    }

    /// Returns the name of a user of this virtual host.
    pub(crate) fn user_name(&self, name: &str) -> String {
        format!("{name}-{}", self.name)
    }

    /// Adds a user with all permissions in this virtual host. Returns the user's URI.
    pub(crate) async fn user(&self, name: &str) -> String {
        let (vhost, user) = (&self.name, self.user_name(name));
        self.control
            .eval(&format!(
                r#"ok = rabbit_auth_backend_internal:add_user(<<"{user}">>, <<"{user}">>, <<"ferry">>),
                   ok = rabbit_auth_backend_internal:set_permissions(
                   <<"{user}">>, <<"{vhost}">>, <<".*">>, <<".*">>, <<".*">>, <<"ferry">>)"#
            ))
            .await;
        format!("amqp://{user}:{user}@{}/{vhost}", self.address())
    }

    /// Adds a user who may only publish commands, under routing keys that a pattern matches.
    /// Returns the user's URI.
    pub(crate) async fn publisher(&self, name: &str, keys: &str) -> String {
        let (vhost, user, uri) = (&self.name, self.user_name(name), self.user(name).await);
        self.control
            .eval(&format!(
                r#"ok = rabbit_auth_backend_internal:set_permissions(
                   <<"{user}">>, <<"{vhost}">>, <<"^$">>, <<"^ferry\.commands$">>, <<"^$">>, <<"ferry">>),
                   ok = rabbit_auth_backend_internal:set_topic_permissions(
                   <<"{user}">>, <<"{vhost}">>, <<"ferry.commands">>, <<"{keys}">>, <<"^$">>, <<"ferry">>)"#
            ))
            .await;
        uri
    }

    /// Allows or forbids a user of [`user`](Self::user) to read the ledger. Consumers that read it
    /// already go on.
    pub(crate) async fn let_read_ledger(&self, name: &str, may: bool) {
        let (vhost, user) = (&self.name, format!("{name}-{}", self.name));
        let read = if may { ".*" } else { r"^(?!ferry\.ledger$)" };
        self.control
            .eval(&format!(
                r#"ok = rabbit_auth_backend_internal:set_permissions(
                   <<"{user}">>, <<"{vhost}">>, <<".*">>, <<".*">>, <<"{read}">>, <<"ferry">>)"#
            ))
            .await;
    }

    /// Kills the process that leads a stream, and returns once the broker has another leader for
    /// it.
    pub(crate) async fn kill_stream_leader(&self, stream: &str) {
        let vhost = &self.name;
        self.control
            .eval(&format!(
                r#"Leader = fun() ->
                     {{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"{stream}">>)),
                     amqqueue:get_pid(Q)
                   end,
                   Old = Leader(), true = is_process_alive(Old), exit(Old, kill),
                   Wait = fun Wait(0) -> none;
                              Wait(N) -> case Leader() of Old -> timer:sleep(20), Wait(N - 1); New -> New end end,
                   true = is_process_alive(Wait(1000))"#
            ))
            .await;
    }

    /// Evaluates an Erlang expression in which `VHost` is the name of this virtual host.
    pub(crate) async fn eval(&self, expression: &str) -> String {
        self.control.eval(&format!(r#"VHost = <<"{}">>, {expression}"#, self.name)).await
    }

    /// Evaluates an Erlang expression in which `Q` is a queue and `Pid` its process or its server.
    pub(crate) async fn eval_queue(&self, queue: &str, expression: &str) -> String {
        let looked_up = format!(
            r#"{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(VHost, queue, <<"{queue}">>)),
               Pid = amqqueue:get_pid(Q), {expression}"#
        );
        self.eval(&looked_up).await
    }

    /// Lowers the delivery limit of a queue: a message is delivered once more than that.
    pub(crate) async fn limit_deliveries(&self, queue: &str, limit: u32) {
        let pattern = format!("^{}$", queue.replace('.', "[.]"));
        self.eval(&format!(
            r#"ok = rabbit_policy:set(VHost, <<"limit">>, <<"{pattern}">>, [{{<<"delivery-limit">>, {limit}}}], 1,
               <<"queues">>, <<"ferry">>)"#
        ))
        .await;
    }

    /// Returns the number of messages of a queue that consumers hold.
    pub(crate) async fn unacked(&self, queue: &str) -> u32 {
        let counted =
            self.eval_queue(queue, "rabbit_amqqueue:info(Q, [messages_unacknowledged])").await;
        let digits: String = counted.chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    }

    /// Makes the node confirm and drop further writes to a stream from the channels that have
    /// written to it. RabbitMQ 3.10 can do so by itself once the stream's leader has changed: it
    /// takes the writes for repeats.
    pub(crate) async fn drop_writes(&self, stream: &str) {
        let vhost = &self.name;
        self.control
            .eval(&format!(
                r#"{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"{stream}">>)),
                   Leader = amqqueue:get_pid(Q),
                   Message = <<0, 16#53, 16#75, 16#a0, 1, "x">>, % AMQP 1.0: data of one byte
                   Writers = osiris_writer:query_writers(Leader, fun maps:keys/1),
                   true = length(Writers) > 0,
                   [ok = osiris:write(Leader, Writer, 1 bsl 40, Message) || Writer <- Writers]"#
            ))
            .await;
    }

    /// Returns true where a node has a replica of a stream.
    pub(crate) async fn has_replica(&self, node: &BrokerNode, stream: &str) -> bool {
        let vhost = &self.name;
        let found = node
            .eval(&format!(
                r#"{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"{stream}">>)),
                   #{{name := Id}} = amqqueue:get_type_state(Q),
                   case catch rabbit_stream_coordinator:local_pid(Id) of {{ok, _}} -> true; _ -> false end"#
            ))
            .await;
        found.trim() == "true"
    }

    /// Returns the number of channels that are open in this virtual host.
    pub(crate) async fn channels(&self) -> usize {
        let vhost = &self.name;
        let open = format!(
            r#"length([1 || [{{vhost, V}}] <- rabbit_channel:info_all([vhost]), V =:= <<"{vhost}">>])"#
        );
        self.control.eval(&open).await.trim().parse().unwrap()
    }

    /// Returns the node's own address: the target of a proxy.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }
}

impl Drop for TestVhost {
    fn drop(&mut self) {
        self.control
            .eval_detached(&format!(r#"rabbit_vhost:delete(<<"{}">>, <<"ferry">>)"#, self.name));
    }
}
