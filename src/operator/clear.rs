//! Taking dead letters out of their queues, each after what takes its place was confirmed.
//!
//! A job is cut off at its start: it looks at no more messages than there were, and at none that was given up later, so
//! that what fails again and comes back is not taken twice. It may be interrupted between two messages, and killed at any
//! moment; a message that was being moved when it was killed may then be in both places, and is told by its generation.

use std::time::Duration;

use jiff::Timestamp;
use lapin::message::Delivery;
use serde::Serialize;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::dead::Dead;
use super::sender::Sender;
use super::walk::Walk;
use super::{Operator, OperatorError};
use crate::amqp::message::Message;
use crate::ledger::command_filter::CommandFilter;

/// What takes the place of a dead letter.
pub trait Remedy: Send {
    /// The message to publish instead, or why there is none.
    fn instead(&mut self, dead: &Dead) -> impl Future<Output = Result<Verdict, OperatorError>> + Send;

    /// Called once what takes the place of a dead letter is confirmed, before that is removed: an end is settled by then.
    fn settle(&mut self, dead: &Dead) -> impl Future<Output = Result<(), OperatorError>> + Send;

    /// Called after a dead letter was removed; `Some` ends the job and says why.
    fn done(&mut self, dead: &Dead) -> impl Future<Output = Result<Option<String>, OperatorError>> + Send;
}

/// What becomes of a dead letter.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// This is published, then the dead letter removed.
    Publish(Box<Message>),
    /// It stays, for this reason.
    Refuse(String),
    /// It is removed and nothing takes its place, for this reason.
    Close(String),
    /// Its command has ended meanwhile, which may not have been published: this is, then it is removed.
    CloseWith(Box<Message>),
}

/// For how long a job holds messages before it gives them back and begins anew behind what it has removed. The broker
/// closes the channel of a consumer that holds a message for 30 minutes.
pub const LONGEST_HOLD: Duration = Duration::from_mins(10);

/// What to clear, and how.
pub struct Job {
    /// The queues, in this order.
    pub queues: Vec<String>,
    /// Which dead letters.
    pub filter: CommandFilter,
    /// When it started; later dead letters are left alone.
    pub start: Timestamp,
    /// The most dead letters a second.
    pub rate: Option<Rate>,
    /// Change nothing, only tell what would be done.
    pub dry_run: bool,
    /// For how long messages are held; [`LONGEST_HOLD`].
    pub longest_hold: Duration,
    /// Ends the job between two messages.
    pub stop: CancellationToken,
}

/// A number of messages a second, more than 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(f64);

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number: Option<f64> = text.trim_end_matches("/s").parse().ok();
        let rate = number.filter(|rate| (0.001..=1_000_000.0).contains(rate)).map(Self);
        rate.ok_or_else(|| "write a number of messages a second, such as `50` or `0.5/s`".to_owned())
    }
}

impl Rate {
    fn ticks(self) -> Interval {
        let mut ticks = interval(Duration::from_secs_f64(1.0 / self.0));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }
}

/// How far a job has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// How many dead letters were replaced and removed; in a dry run, how many would be.
    pub done: u64,
    /// How many were removed because their commands had ended meanwhile.
    pub closed: u64,
    /// How many were not meant by the filter.
    pub others: u64,
    /// How many were given up after the job's start.
    pub later: u64,
    /// Those that were meant and stay.
    pub refused: Vec<Refused>,
    /// Why the job ended before its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

impl Tally {
    /// The number of dead letters that were gone through.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.done + self.closed + self.others + self.later + self.refused.len() as u64
    }
}

/// A dead letter that stays although it was meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The command.
    pub id: String,
    /// The queue it lies in.
    pub queue: String,
    /// Why.
    pub reason: String,
}

/// What becomes of one dead letter.
enum Judged {
    /// It is not meant, or stays for a reason that is told.
    Stays,
    /// The dead letter is removed, once this is published.
    Closed(Option<Box<Message>>),
    /// This is published, then it is removed.
    Replaced(Box<Message>),
}

/// How a walk through a queue ended.
enum Round {
    Finished,
    /// There is more to do, but the broker should get back what is held.
    Again,
    Stopped,
}

impl Job {
    /// Does the job. `tally` is right at every moment, also after an error; `progress` is called after each message.
    ///
    /// # Errors
    /// [`OperatorError`]; what was not finished is in its queue.
    pub async fn run(
        &self,
        operator: &Operator,
        remedy: &mut impl Remedy,
        tally: &mut Tally,
        mut progress: impl FnMut(&Tally) + Send,
    ) -> Result<(), OperatorError> {
        let mut sender = Sender::open(operator).await?;
        let mut ticks = self.rate.map(Rate::ticks);
        for queue in &self.queues {
            let before = tally.clone();
            let mut budget = None;
            loop {
                let Some(mut walk) = Walk::begin(operator, queue).await? else { break };
                walk.shorten(*budget.get_or_insert(walk.left()));
                let done_before = tally.done + tally.closed;
                let mut work = Work { job: self, queue, sender: &mut sender, ticks: &mut ticks, tally: &mut *tally };
                let round = work.round(&mut walk, remedy, &mut progress).await;
                let ended = walk.end().await;
                match round? {
                    Round::Stopped => return ended,
                    Round::Finished => {
                        ended?;
                        break;
                    }
                    Round::Again => {
                        ended?;
                        // What was kept is met again at the head of the queue.
                        let removed = u32::try_from(tally.done + tally.closed - done_before).unwrap_or(u32::MAX);
                        budget = budget.map(|budget| budget.saturating_sub(removed));
                        *tally = Tally { done: tally.done, closed: tally.closed, ..before.clone() };
                    }
                }
            }
        }
        sender.close().await;
        Ok(())
    }
}

/// The job at one queue.
struct Work<'a> {
    job: &'a Job,
    queue: &'a str,
    sender: &'a mut Sender,
    ticks: &'a mut Option<Interval>,
    tally: &'a mut Tally,
}

impl Work<'_> {
    async fn round(
        &mut self,
        walk: &mut Walk,
        remedy: &mut impl Remedy,
        progress: &mut (impl FnMut(&Tally) + Send),
    ) -> Result<Round, OperatorError> {
        let done_before = self.tally.done + self.tally.closed;
        while let Some(delivery) = self.next(walk).await? {
            let dead = Dead::read(self.queue, &delivery);
            match self.judge(&dead, remedy).await? {
                Judged::Stays => {}
                Judged::Closed(message) => {
                    if let Some(message) = message {
                        self.sender.send(&message).await?;
                        remedy.settle(&dead).await?;
                    }
                    walk.remove(&delivery).await?;
                    self.tally.closed += 1;
                }
                Judged::Replaced(message) => {
                    if !self.in_time().await {
                        break;
                    }
                    self.sender.send(&message).await?;
                    remedy.settle(&dead).await?;
                    walk.remove(&delivery).await?;
                    self.tally.done += 1;
                    self.tally.stopped = self.unless_stopped(remedy.done(&dead)).await?;
                }
            }
            progress(self.tally);
            if self.tally.stopped.is_some() {
                return Ok(Round::Stopped);
            }
            // A round that removed nothing would only repeat itself.
            let removed = self.tally.done + self.tally.closed > done_before && !self.job.dry_run;
            if removed && walk.age() > self.job.longest_hold {
                return Ok(Round::Again);
            }
        }
        if self.job.stop.is_cancelled() {
            self.tally.stopped = Some("interrupted".to_owned());
            return Ok(Round::Stopped);
        }
        Ok(Round::Finished)
    }

    /// Taken up between two messages alone: a walk must not be dropped in the middle of a step.
    async fn next(&self, walk: &mut Walk) -> Result<Option<Delivery>, OperatorError> {
        if self.job.stop.is_cancelled() { Ok(None) } else { walk.next().await }
    }

    async fn unless_stopped(
        &self,
        done: impl Future<Output = Result<Option<String>, OperatorError>> + Send,
    ) -> Result<Option<String>, OperatorError> {
        tokio::select! {
            biased;
            () = self.job.stop.cancelled() => Ok(None),
            done = done => done,
        }
    }

    /// What is to become of a dead letter.
    async fn judge(&mut self, dead: &Dead, remedy: &mut impl Remedy) -> Result<Judged, OperatorError> {
        let Job { filter, start, dry_run, .. } = self.job;
        if !dead.is_meant_by(filter) {
            self.tally.others += 1;
        } else if dead.letter.as_ref().is_some_and(|letter| letter.dead_lettered_at > *start) {
            self.tally.later += 1;
        } else {
            match remedy.instead(dead).await? {
                Verdict::Publish(_) if *dry_run => self.tally.done += 1,
                Verdict::Publish(message) => return Ok(Judged::Replaced(message)),
                Verdict::Close(_) | Verdict::CloseWith(_) if *dry_run => self.tally.closed += 1,
                Verdict::Close(_) => return Ok(Judged::Closed(None)),
                Verdict::CloseWith(message) => return Ok(Judged::Closed(Some(message))),
                Verdict::Refuse(reason) => {
                    let id = dead.identity.id.to_string();
                    self.tally.refused.push(Refused { id, queue: self.queue.to_owned(), reason });
                }
            }
        }
        Ok(Judged::Stays)
    }

    /// Waits until the rate allows one more; false once the job is to stop.
    async fn in_time(&mut self) -> bool {
        let Some(ticks) = self.ticks.as_mut() else { return true };
        tokio::select! {
            biased;
            () = self.job.stop.cancelled() => false,
            _ = ticks.tick() => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_above_zero() {
        for (text, rate) in [("50", 50.0), ("0.5/s", 0.5), ("2/s", 2.0)] {
            assert_eq!(text.parse(), Ok(Rate(rate)), "{text}");
        }
        for text in ["0", "-1", "fast", "", "NaN", "inf", "0.0001"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
