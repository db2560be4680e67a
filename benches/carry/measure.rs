//! The four measurements.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::BenchError;
use crate::callgrind::{CountedDaemon, CountedInstructions};
use crate::client::BenchClient;
use crate::contender::{CommandCarrier, declare};
use crate::process::{ChildProcess, cpu as cpu_of};
use crate::setup::BenchPlace;

/// The seconds at the start of a steady rate that are not counted, because connections are being
/// opened.
const WARM_UP: u32 = 2;

/// The number of calls that are begun at once: 4,000 handshakes together would run into timeouts.
const WAVE: usize = 250;

/// The number of commands that are published at once to a provider that only accepts them.
const WAITING_AT_ONCE: usize = 5_000;

/// The time after which a daemon that used little of it is at rest.
const REST: Duration = Duration::from_millis(500);

/// The longest time for a wave of calls to reach the provider.
const REACHED_WITHIN: Duration = Duration::from_mins(1);

/// The result of draining a queue.
pub(crate) struct DrainResult {
    /// Commands per second, from the first event to the last.
    pub(crate) per_second: f64,
    /// Processor time of the contender for each command.
    pub(crate) cpu: Duration,
    /// Processor time of the broker for each command.
    pub(crate) broker_cpu: Duration,
}

/// The memory for calls in flight.
pub(crate) struct HeldCalls {
    /// The most memory ever resident, in bytes.
    pub(crate) peak: u64,
    /// The resident memory with no call in flight, in bytes.
    pub(crate) idle: u64,
}

/// A running broker and sandbox with a core application.
pub(crate) struct BenchSetup {
    place: BenchPlace,
    client: BenchClient,
    calls: reqwest::Client,
    published: u64,
}

impl BenchSetup {
    /// Declares the topology and connects.
    pub(crate) async fn new(place: BenchPlace) -> Result<Self, BenchError> {
        declare(&place)?;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = reqwest::Certificate::from_pem_bundle(&std::fs::read(place.ca_file())?)?;
        let calls = reqwest::Client::builder().tls_certs_only(ca).build()?;
        Ok(Self {
            client: BenchClient::connect(&place.amqp_uri).await?,
            place,
            calls,
            published: 0,
        })
    }

    /// Measures the rate at which a contender drains `count` commands.
    pub(crate) async fn drain(
        &mut self,
        contender: CommandCarrier,
        prefetch: u16,
        count: usize,
    ) -> Result<DrainResult, BenchError> {
        eprintln!("  {}: draining {count} commands, prefetch {prefetch}", contender.name());
        let ids = self.ids(count);
        self.client.publish_all(&ids, &Value::Null).await?;
        let process = contender.start(&self.place, prefetch)?;
        let mut open: HashSet<String> = ids.into_iter().collect();
        open.remove(&self.client.completed().await?);
        let (begun, cpu, broker_cpu) = (Instant::now(), process.cpu()?, cpu_of(self.place.broker)?);
        let counted = u32::try_from(open.len())?;
        while !open.is_empty() {
            open.remove(&self.client.completed().await?);
        }
        let (took, cpu) = (begun.elapsed(), process.cpu()?.saturating_sub(cpu));
        let broker_cpu = cpu_of(self.place.broker)?.saturating_sub(broker_cpu);
        process.stop()?;
        let per_second = f64::from(counted) / took.as_secs_f64();
        Ok(DrainResult { per_second, cpu: cpu / counted, broker_cpu: broker_cpu / counted })
    }

    /// Measures the time from publish to event at `rate` commands a second. The times are sorted
    /// ascending.
    pub(crate) async fn latency(
        &mut self,
        contender: CommandCarrier,
        rate: u32,
        seconds: u32,
    ) -> Result<Vec<Duration>, BenchError> {
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
                    let confirm = self.client.publish(id, &Value::Null).await?;
                    tokio::spawn(confirm);
                }
                id = self.client.completed() => {
                    latencies.extend(open.remove(&id?).map(|due: Instant| (due, due.elapsed())));
                }
            }
        }
        process.stop()?;
        latencies.sort_by_key(|(due, _)| *due);
        let mut counted: Vec<_> =
            latencies.into_iter().skip((rate * WARM_UP) as usize).map(|(_, took)| took).collect();
        counted.sort();
        Ok(counted)
    }

    /// Measures the memory of a contender with `in_flight` calls that the provider does not answer.
    pub(crate) async fn memory(
        &mut self,
        contender: CommandCarrier,
        in_flight: u16,
    ) -> Result<HeldCalls, BenchError> {
        eprintln!("  {}: {in_flight} calls in flight", contender.name());
        let process = self.started(contender, in_flight).await?;
        let idle = process.peak_memory()?;
        let ids = self.ids(in_flight.into());
        let mut reached = 0;
        for wave in ids.chunks(WAVE) {
            reached += wave.len() as u64;
            self.client.publish_all(wave, &json!({ "hang": "before_answer" })).await?;
            timeout(REACHED_WITHIN, self.hanging(|hanging| hanging >= reached)).await??;
        }
        let held = HeldCalls { peak: process.peak_memory()?, idle };
        drop(process);
        // The lost connection returns the deliveries in flight to the queue, and the provider
        // notices too.
        timeout(REACHED_WITHIN, self.hanging(|hanging| hanging == 0)).await??;
        self.client.purge().await?;
        Ok(held)
    }

    /// Measures the resident memory of a contender with no command waiting at its provider, and
    /// with these counts.
    pub(crate) async fn waiting(
        &mut self,
        contender: CommandCarrier,
        counts: &[usize],
    ) -> Result<Vec<u64>, BenchError> {
        let process = self.started(contender, 64).await?;
        let mut resident = vec![process.memory()?];
        let mut waiting = 0;
        for &count in counts {
            eprintln!("  {}: {count} commands waiting", contender.name());
            let mut open: HashSet<String> = HashSet::new();
            for ids in self.ids(count - waiting).chunks(WAITING_AT_ONCE) {
                self.client.publish_all(ids, &json!({ "accepted": true })).await?;
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

    /// Counts the instructions of ferryd while it carries `count` commands.
    pub(crate) async fn instructions(
        &mut self,
        in_flight: u16,
        count: usize,
    ) -> Result<CountedInstructions, BenchError> {
        eprintln!("  counting the instructions of {count} commands");
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

    /// Publishes commands, and waits until all are carried.
    async fn carry(&mut self, count: usize) -> Result<(), BenchError> {
        let ids = self.ids(count);
        self.client.publish_all(&ids, &Value::Null).await?;
        let mut open: HashSet<String> = ids.into_iter().collect();
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
        let process = contender.start(&self.place, in_flight)?;
        let first = self.ids(1);
        self.client.publish_all(&first, &Value::Null).await?;
        while self.client.completed().await? != first[0] {}
        Ok(process)
    }

    /// Waits until the number of calls that hang at the provider is as wanted.
    async fn hanging(&self, wanted: impl Fn(u64) -> bool) -> Result<(), BenchError> {
        loop {
            let answer = self.calls.get(format!("{}/sandbox/calls", self.place.url)).send().await?;
            let counted: Value = serde_json::from_slice(&answer.bytes().await?)?;
            if wanted(counted["concurrent"].as_u64().unwrap_or_default()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Makes ids that were not used before.
    fn ids(&mut self, count: usize) -> Vec<String> {
        let from = self.published;
        self.published += count as u64;
        (from..self.published).map(|number| format!("bench.{number}.charge")).collect()
    }
}
