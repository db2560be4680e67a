//! Looking at dead letters, which stay as they were.

use jiff::Timestamp;

use super::dead::{Dead, Filter};
use super::walk::Walk;
use super::{Operator, OperatorError};

/// Shows every dead letter that `filter` means to `visit`, queue by queue, oldest first. Queues that do not exist are
/// passed over.
///
/// # Errors
/// [`OperatorError`]; the dead letters are in their queues all the same.
pub async fn scan(
    operator: &Operator,
    queues: &[String],
    filter: &Filter,
    mut visit: impl FnMut(Dead),
) -> Result<(), OperatorError> {
    let now = Timestamp::now();
    for queue in queues {
        let Some(mut walk) = Walk::begin(operator, queue).await? else { continue };
        while let Some(delivery) = walk.next().await? {
            let dead = Dead::read(queue, &delivery);
            if filter.matches(&dead, now) {
                visit(dead);
            }
        }
        walk.end().await?;
    }
    Ok(())
}
