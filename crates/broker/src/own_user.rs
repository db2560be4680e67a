//! Checks that the broker knows ferryd by the user that the configuration names.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Connection, ErrorKind};

use super::connection::AmqpSettings;
use super::error::BrokerError;
use super::message::set_user;

/// The reply code for a missing right of the user (AMQP 0-9-1, `access-refused`).
const ACCESS_REFUSED: u16 = 403;
/// The name of a queue that does not exist, so that the message is dropped.
const NOWHERE: &str = "ferryd.check.nowhere";

impl AmqpSettings {
    /// Publishes a message to a missing queue as the user that the configuration names. A user that
    /// may not publish there proves nothing.
    ///
    /// # Errors
    /// [`BrokerError`]: the broker knows the connection by another user, and names it; or it is
    /// lost.
    pub async fn check_user(&self, connection: &Connection) -> Result<(), BrokerError> {
        let Some(user) = &self.user else { return Ok(()) };
        match tokio::time::timeout(self.publish_timeout, publish_as(connection, user)).await {
            Ok(Err(error)) if is_access_refused(&error) => Ok(()),
            Ok(published) => published.map_err(BrokerError::while_doing(format!(
                "publish as the AMQP user `{user}` (amqp.user)"
            ))),
            Err(_) => Err(BrokerError::Timeout {
                action: "publish".to_owned(),
                after: self.publish_timeout,
            }),
        }
    }
}

async fn publish_as(connection: &Connection, user: &str) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    // The configuration limits the length of the user.
    let properties = set_user(BasicProperties::default(), Some(user)).unwrap_or_default();
    let options = BasicPublishOptions::default();
    channel
        .basic_publish("".into(), NOWHERE.into(), options, b"", properties)
        .await?
        .await
        .map(drop)
}

fn is_access_refused(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if error.get_id() == ACCESS_REFUSED)
}
