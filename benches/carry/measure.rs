//! The measurements beside other consumers.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::BenchError;
use crate::callgrind::{CountedDaemon, CountedInstructions};
use crate::client::{BenchClient, CommandShape};
use crate::contender::{CommandCarrier, configure, declare};
use crate::flame_graph::Recording;
use crate::process::{ChildProcess, cpu as cpu_of};
use crate::setup::BenchPlace;

/// The seconds at the start of a steady rate that are not counted, because connections are being
/// opened.
const WARM_UP: u32 = 2;

/// The number of commands that are published at once to a provider that only accepts them.
const WAITING_AT_ONCE: usize = 5_000;

/// The longest time in which ferryd reads a ledger of millions of commands.
const READING: Duration = Duration::from_mins(20);

/// The time after which a daemon that used little of it is at rest.
const REST: Duration = Duration::from_millis(500);

/// The result of draining a queue.
pub(crate) struct DrainResult {
    /// Commands per second, from the first event to the last.
    pub(crate) per_second: f64,
    /// Processor time of the contender for each command.
    pub(crate) cpu: Duration,
    /// Processor time of the broker for each command.
    pub(crate) broker_cpu: Duration,
    /// The most memory that the contender ever had resident, in bytes.
    pub(crate) memory: u64,
}

/// The result of carrying commands at a steady rate.
pub(crate) struct SteadyResult {
    /// The times from publish to event, ascending.
    pub(crate) latencies: Vec<Duration>,
    /// The most memory that the contender ever had resident, in bytes.
    pub(crate) memory: u64,
}

/// A running broker and sandbox with a core application.
pub(crate) struct BenchSetup {
    pub(crate) place: BenchPlace,
    pub(crate) client: BenchClient,
    published: u64,
}

impl BenchSetup {
    /// Declares the topology and connects.
    pub(crate) async fn new(place: BenchPlace) -> Result<Self, BenchError> {
        configure(&place, 1, 1)?;
        declare(&place)?;
        let client = BenchClient::connect(&place.amqp_uri).await?;
        Ok(Self { client, place, published: 0 })
    }

    /// Measures the rate at which a contender drains `count` commands of a shape.
    pub(crate) async fn drain(
        &mut self,
        contender: CommandCarrier,
        in_flight: u16,
        count: usize,
        shape: &CommandShape,
    ) -> Result<DrainResult, BenchError> {
        eprintln!("  {}: draining {count} commands, {in_flight} in flight", contender.name());
        let open = self.publish(count, shape).await?;
        configure(&self.place, in_flight, 1)?;
        let process = contender.start(&self.place, in_flight)?;
        self.drained_by(vec![process], open).await
    }

    /// Measures how processes that have been started carry the rest of these commands.
    pub(crate) async fn drained_by(
        &mut self,
        processes: Vec<ChildProcess>,
        mut open: HashSet<String>,
    ) -> Result<DrainResult, BenchError> {
        let own_cpu = || -> Result<Duration, BenchError> {
            processes.iter().try_fold(Duration::ZERO, |sum, process| Ok(sum + process.cpu()?))
        };
        open.remove(&self.client.completed().await?);
        let (begun, cpu, broker_cpu) = (Instant::now(), own_cpu()?, cpu_of(self.place.broker)?);
        let counted = u32::try_from(open.len())?;
        self.await_all(open).await?;
        let (took, cpu) = (begun.elapsed(), own_cpu()?.saturating_sub(cpu));
        let broker_cpu = cpu_of(self.place.broker)?.saturating_sub(broker_cpu);
        let peaks = processes.iter().map(ChildProcess::peak_memory);
        let memory = peaks.sum::<Result<u64, BenchError>>()?;
        processes.into_iter().try_for_each(ChildProcess::stop)?;
        let per_second = f64::from(counted) / took.as_secs_f64();
        let (cpu, broker_cpu) = (cpu / counted, broker_cpu / counted);
        Ok(DrainResult { per_second, cpu, broker_cpu, memory })
    }

    /// Measures the time from publish to event at `rate` commands of a shape a second.
    pub(crate) async fn latency(
        &mut self,
        contender: CommandCarrier,
        (rate, seconds): (u32, u32),
        shape: &CommandShape,
    ) -> Result<SteadyResult, BenchError> {
        eprintln!("  {}: {rate} commands a second for {seconds} s", contender.name());
        let process = self.started(contender, 64).await?;
        let ids = self.ids((rate * (seconds + WARM_UP)) as usize);
        let mut ticks = interval_at(Instant::now(), Duration::from_secs(1) / rate);
        // A late tick counts from its planned time: otherwise a stall would hide the commands it
        // held up.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut open = HashMap::new();
        let mut waiting = ids.iter();
        let mut latencies = Vec::new();
        while waiting.len() > 0 || !open.is_empty() {
            tokio::select! {
                due = ticks.tick(), if waiting.len() > 0 => {
                    let Some(id) = waiting.next() else { continue };
                    open.insert(id.clone(), due);
                    let confirm = self.client.publish(id, shape).await?;
                    tokio::spawn(confirm);
                }
                id = self.client.completed() => {
                    latencies.extend(open.remove(&id?).map(|due: Instant| (due, due.elapsed())));
                }
            }
        }
        let memory = process.peak_memory()?;
        process.stop()?;
        latencies.sort_by_key(|(due, _)| *due);
        let mut counted: Vec<_> =
            latencies.into_iter().skip((rate * WARM_UP) as usize).map(|(_, took)| took).collect();
        counted.sort();
        Ok(SteadyResult { latencies: counted, memory })
    }

    /// Measures the resident memory of a contender with no command waiting at its provider, and
    /// with these counts.
    pub(crate) async fn waiting(
        &mut self,
        contender: CommandCarrier,
        counts: &[usize],
    ) -> Result<Vec<u64>, BenchError> {
        let process = self.started(contender, 64).await?;
        let shape =
            CommandShape { sandbox: json!({ "accepted": true }), ..CommandShape::default() };
        let mut resident = vec![process.memory()?];
        let mut waiting = 0;
        for &count in counts {
            eprintln!("  {}: {count} commands waiting", contender.name());
            let mut open: HashSet<String> = HashSet::new();
            for ids in self.ids(count - waiting).chunks(WAITING_AT_ONCE) {
                self.client.publish_all(ids, &shape).await?;
                open.extend(ids.iter().cloned());
                while !open.is_empty() {
                    open.remove(&self.client.next_event("waiting").await?);
                }
            }
            waiting = count;
            resident.push(process.memory()?);
        }
        process.stop()?;
        Ok(resident)
    }

    /// Measures the time from the start of ferryd until it completes a command, which it does once it
    /// has read the whole ledger.
    pub(crate) async fn catch_up(&mut self, in_flight: u16) -> Result<Duration, BenchError> {
        configure(&self.place, in_flight, 1)?;
        self.publish(1, &CommandShape::default()).await?;
        let begun = Instant::now();
        let process = CommandCarrier::Ferryd.start(&self.place, in_flight)?;
        self.client.completed_within(READING).await?;
        let took = begun.elapsed();
        process.stop()?;
        Ok(took)
    }

    /// Counts the instructions of ferryd while it carries `count` commands.
    pub(crate) async fn instructions(
        &mut self,
        in_flight: u16,
        count: usize,
    ) -> Result<CountedInstructions, BenchError> {
        eprintln!("  counting the instructions of {count} commands");
        configure(&self.place, in_flight, 1)?;
        let daemon = CountedDaemon::start(&self.place, in_flight)?;
        // Connections are opened, and caches filled, by commands that are not counted.
        self.carry(count / 4).await?;
        daemon.begin()?;
        self.carry(count).await?;
        // The last commands are acked and saved after their events.
        let mut used = daemon.process().cpu()?;
        loop {
            tokio::time::sleep(REST).await;
            let now = daemon.process().cpu()?;
            if now.saturating_sub(used) < REST / 10 {
                return daemon.finish();
            }
            used = now;
        }
    }

    /// Records where ferryd spends its time while it drains `count` commands.
    pub(crate) async fn flame_graph(
        &mut self,
        in_flight: u16,
        count: usize,
    ) -> Result<(), BenchError> {
        eprintln!("  recording ferryd while it drains {count} commands");
        let mut open = self.publish(count, &CommandShape::default()).await?;
        configure(&self.place, in_flight, 1)?;
        let process = CommandCarrier::Ferryd.start(&self.place, in_flight)?;
        open.remove(&self.client.completed().await?);
        let recording = Recording::start(&self.place, process.id())?;
        self.await_all(open).await?;
        recording.draw()?;
        process.stop()
    }

    /// Publishes commands of a shape, and returns their ids.
    pub(crate) async fn publish(
        &mut self,
        count: usize,
        shape: &CommandShape,
    ) -> Result<HashSet<String>, BenchError> {
        let ids = self.ids(count);
        self.client.publish_all(&ids, shape).await?;
        Ok(ids.into_iter().collect())
    }

    /// Publishes commands, and waits until all are carried.
    async fn carry(&mut self, count: usize) -> Result<(), BenchError> {
        let open = self.publish(count, &CommandShape::default()).await?;
        self.await_all(open).await
    }

    /// Waits until all these commands are carried.
    async fn await_all(&mut self, mut open: HashSet<String>) -> Result<(), BenchError> {
        while !open.is_empty() {
            open.remove(&self.client.completed().await?);
        }
        Ok(())
    }

    /// Starts a contender, and waits until it has completed its first command.
    async fn started(
        &mut self,
        contender: CommandCarrier,
        in_flight: u16,
    ) -> Result<ChildProcess, BenchError> {
        configure(&self.place, in_flight, 1)?;
        let process = contender.start(&self.place, in_flight)?;
        self.carry(1).await?;
        Ok(process)
    }

    /// Makes ids that were not used before.
    fn ids(&mut self, count: usize) -> Vec<String> {
        let from = self.published;
        self.published += count as u64;
        (from..self.published).map(|number| format!("bench.{number}.charge")).collect()
    }
}
