//! Looking at dead letters, which stay as they were.

use super::dead::Dead;
use super::walk::{Walk, depth};
use super::{Operator, OperatorError};
use crate::amqp::connection::say_goodbye;
use crate::amqp::error::BrokerError;
use crate::amqp::message::short;
use crate::ledger::command_filter::CommandFilter;

/// Shows every dead letter that `filter` means to `visit`, queue by queue, oldest first. Queues that do not exist are
/// passed over.
///
/// # Errors
/// [`OperatorError`]; the dead letters are in their queues all the same.
pub async fn scan(
    operator: &Operator,
    queues: &[String],
    filter: &CommandFilter,
    mut visit: impl FnMut(Dead),
) -> Result<(), OperatorError> {
    for queue in queues {
        let Some(mut walk) = Walk::begin(operator, queue).await? else { continue };
        while let Some(delivery) = walk.next().await? {
            let dead = Dead::read(queue, &delivery);
            if dead.is_meant_by(filter) {
                visit(dead);
            }
        }
        walk.end().await?;
    }
    Ok(())
}

/// How many messages the queues hold together that nobody has taken; those that do not exist hold none.
///
/// # Errors
/// [`OperatorError`].
pub async fn depths(operator: &Operator, queues: &[String]) -> Result<u64, OperatorError> {
    let connection = operator.amqp.connect("operator-depths").await?;
    let mut sum = 0;
    for queue in queues {
        // The broker closes a channel that asks for what is not there.
        let channel = connection.create_channel().await.map_err(BrokerError::during("open a channel"))?;
        sum += u64::from(depth(&channel, &short(queue)?).await?.unwrap_or(0));
    }
    say_goodbye(&connection).await;
    Ok(sum)
}
