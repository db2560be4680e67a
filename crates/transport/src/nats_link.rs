//! One connection to a provider's NATS server.
//!
//! The client would reconnect by itself, and then send what it was handed meanwhile. So its login
//! is refused after the first one: a connection that was lost stays lost, nothing is sent on
//! another one, and every message that awaits its acknowledgement is in doubt at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{AuthError, Client, ConnectError, ConnectOptions, Event, Request, ServerAddr};
use tokio::time::{Instant, timeout, timeout_at};

use super::nats_ack;
use super::nats_failure as failure;
use super::nats_message::NatsMessage;
use super::nats_setup::NatsTarget;
use ferryd_domain::message_call::MessageResult;
use ferryd_domain::outcome::Failure;

/// The interval of pings. A connection that was lost while idle is noticed after two of them: a
/// message published before that would be in doubt.
const PING: Duration = Duration::from_secs(10);

/// The most bytes of an error of the server that are kept.
const LONGEST_ERROR: usize = 400;

/// A connection on which messages are published.
pub(super) struct NatsLink {
    client: Client,
    retired: AtomicBool,
    /// The server's latest error, such as a missing permission: the server doesn't say which
    /// message it refused, so that message times out.
    said: Arc<Mutex<Option<String>>>,
}

impl NatsLink {
    /// Connects and logs in.
    pub(super) async fn open(target: &NatsTarget) -> Result<Self, Failure> {
        let (server, within) = (target.settings.server.as_str(), target.settings.connect_timeout);
        match timeout(within, connect(target)).await {
            Ok(Ok(link)) => Ok(link),
            Ok(Err(error)) => Err(failure::connect_failure(server, &error)),
            Err(_) => Err(failure::connect_timeout(server, within)),
        }
    }

    /// Returns true if messages may be published on this link.
    pub(super) fn is_usable(&self) -> bool {
        !self.retired.load(Ordering::Acquire) && self.client.connection_state() == State::Connected
    }

    /// Publishes a message and waits for the acknowledgement of its stream, until the deadline.
    /// `timeout` is the whole time of the call, for messages.
    pub(super) async fn publish(
        &self,
        message: NatsMessage,
        deadline: Instant,
        timeout: Duration,
    ) -> MessageResult {
        let NatsMessage { subject, headers, body } = message;
        if !self.client.server_info().headers {
            return failure::without_headers();
        }
        // The deadline limits the time, not the client.
        let request = Request::new().headers(headers).payload(body).timeout(None);
        match timeout_at(deadline, self.client.send_request(subject.clone(), request)).await {
            Ok(Ok(answer)) => nats_ack::read(&answer.payload),
            Ok(Err(error)) => {
                let result = failure::publish_failure(&subject, &error);
                if matches!(result, MessageResult::Incomplete(_)) {
                    self.retire();
                }
                result
            }
            Err(_) => {
                // A connection that may be dead carries no further message.
                self.retire();
                failure::unacknowledged(timeout, self.said().as_deref())
            }
        }
    }

    fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    fn said(&self) -> Option<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn connect(target: &NatsTarget) -> Result<NatsLink, ConnectError> {
    let connected = Arc::new(AtomicBool::new(false));
    let said = Arc::new(Mutex::new(None));
    let (again, login, heard) = (Arc::clone(&connected), target.auth(), Arc::clone(&said));
    let options = ConnectOptions::with_auth_callback(move |_| {
        let login = if again.load(Ordering::Acquire) {
            Err(AuthError::new("a lost connection is not opened again"))
        } else {
            Ok(login.clone())
        };
        async move { login }
    });
    let options = options
        .max_reconnects(1)
        .reconnect_delay_callback(|_| Duration::ZERO)
        .ignore_discovered_servers()
        .connection_timeout(target.settings.connect_timeout)
        .ping_interval(PING)
        .require_tls(target.is_tls())
        .name(client_name())
        .event_callback(move |event| {
            if let Event::ServerError(error) = event {
                let text: String = error.to_string().chars().take(LONGEST_ERROR).collect();
                *heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
            }
            async {}
        });
    let options = match &target.settings.ca_file {
        Some(path) => options.add_root_certificates(path.clone()),
        None => options,
    };
    let address = ServerAddr::from_url(target.settings.server.clone())?;
    let client = options.connect(address).await?;
    connected.store(true, Ordering::Release);
    Ok(NatsLink { client, retired: AtomicBool::new(false), said })
}

fn client_name() -> String {
    format!("ferryd@{}", gethostname::gethostname().to_string_lossy())
}
