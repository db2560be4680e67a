//! Looking at dead letters, which stay as they were.

use super::queue_cursor::QueueCursor;
use super::queued_dead_letter::{LetterId, QueuedDeadLetter};
use super::{OperatorContext, OperatorError};
use ferryd_domain::command_id::CommandId;
use ferryd_ledger::command_filter::CommandFilter;

/// Shows every dead letter that `filter` means to `visit`, queue by queue, oldest first. Queues
/// that do not exist are passed over.
///
/// # Errors
/// [`OperatorError`]; the dead letters are in their queues all the same.
pub async fn visit_dead_letters(
    operator: &OperatorContext,
    queues: &[String],
    filter: &CommandFilter,
    mut visit: impl FnMut(QueuedDeadLetter),
) -> Result<(), OperatorError> {
    for queue in queues {
        let Some(mut walk) = QueueCursor::begin(operator, queue).await? else { continue };
        while let Some(delivery) = walk.next().await? {
            let dead = QueuedDeadLetter::read(queue, &delivery);
            if dead.is_meant_by(filter) {
                visit(dead);
            }
        }
        walk.end().await?;
    }
    Ok(())
}

/// Finds the dead letters of these commands, and looks no further than to the last of them.
///
/// # Errors
/// [`OperatorError`]; the dead letters are in their queues all the same.
pub async fn find_letters(
    operator: &OperatorContext,
    queues: &[String],
    ids: &[CommandId],
) -> Result<Vec<QueuedDeadLetter>, OperatorError> {
    let mut found: Vec<QueuedDeadLetter> = Vec::new();
    for queue in queues {
        let Some(mut walk) = QueueCursor::begin(operator, queue).await? else { continue };
        while found.len() < ids.len()
            && let Some(delivery) = walk.next().await?
        {
            if LetterId::is_anothers(&delivery, |id| ids.iter().any(|wanted| wanted.as_str() == id))
            {
                continue;
            }
            let dead = QueuedDeadLetter::read(queue, &delivery);
            let is_new = found.iter().all(|letter| letter.identity.id != dead.identity.id);
            if is_new && ids.contains(&dead.identity.id) {
                found.push(dead);
            }
        }
        walk.end().await?;
    }
    Ok(found)
}

/// Finds the messages of a command's dead letter, and of what was refused under its id.
///
/// # Errors
/// [`OperatorError`]; the dead letters are in their queues all the same.
pub async fn find_messages(
    operator: &OperatorContext,
    queues: &[String],
    id: &CommandId,
) -> Result<Vec<QueuedDeadLetter>, OperatorError> {
    let mut found = Vec::new();
    let is_meant =
        |dead: &QueuedDeadLetter| dead.identity.id == *id || dead.identity.id.published_id() == *id;
    visit_dead_letters(operator, queues, &CommandFilter::default(), |dead| {
        found.extend(Some(dead).filter(is_meant));
    })
    .await?;
    Ok(found)
}
