//! The growth of ferryd's cost with daemons on one node, providers, commands on record, and the size
//! of payloads.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::BenchError;
use crate::client::CommandShape;
use crate::contender::{CommandCarrier, configure, declare};
use crate::history::RecordedHistory;
use crate::measure::{BenchSetup, DrainResult};
use crate::report::mebibytes;

/// The calls in flight, of all daemons and providers together.
const IN_FLIGHT: u16 = 256;

/// The quantity that grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GrowthQuestion {
    /// 1, 2 and 4 daemons on one node
    Daemons,
    /// 1, 10, 100 and 1,000 providers that share the calls in flight
    Providers,
    /// 10,000, 1 and 10 million commands on record (a quarter of an hour, 8 GB of disk)
    Records,
    /// Payloads of 1, 16 and 256 KiB
    Payloads,
}

/// One line of the result.
struct GrowthLine {
    case: String,
    drained: DrainResult,
    /// The bytes of the folder of the index.
    index: u64,
    /// The time that ferryd took to read what was written while it was away.
    reading: Duration,
}

/// The commands on record whose records are copied for more.
const CARRIED: usize = 10_000;

/// The result, for people and machines.
#[derive(Default)]
pub(crate) struct GrowthReport(Vec<GrowthLine>);

impl GrowthReport {
    /// Measures one question with this number of commands for each line.
    pub(crate) async fn measure(
        &mut self,
        bench: &mut BenchSetup,
        question: GrowthQuestion,
        count: usize,
        quick: bool,
    ) -> Result<(), BenchError> {
        match question {
            GrowthQuestion::Daemons => {
                for daemons in [1, 2, 4] {
                    self.drain(bench, format!("daemons: {daemons}"), daemons, count, &usual())
                        .await?;
                }
            }
            GrowthQuestion::Providers => {
                for providers in if quick { vec![1, 10] } else { vec![1, 10, 100, 1_000] } {
                    configure(&bench.place, IN_FLIGHT, providers)?;
                    declare(&bench.place)?;
                    let shape = CommandShape { more_providers: providers - 1, ..usual() };
                    self.drain(bench, format!("providers: {providers}"), 1, count, &shape).await?;
                }
            }
            GrowthQuestion::Records => self.records(bench, count, quick).await?,
            GrowthQuestion::Payloads => {
                for kibibytes in [1, 16, 256] {
                    let shape = CommandShape { padding: kibibytes << 10, ..usual() };
                    let count = count / kibibytes.max(16) * 16;
                    self.drain(bench, format!("payload of {kibibytes} KiB"), 1, count, &shape)
                        .await?;
                }
            }
        }
        Ok(())
    }

    /// Measures how the cost grows with the commands on record.
    async fn records(
        &mut self,
        bench: &mut BenchSetup,
        count: usize,
        quick: bool,
    ) -> Result<(), BenchError> {
        let (carried, most) = if quick {
            (2_000, vec![2_000, 10_000])
        } else {
            (CARRIED, vec![CARRIED, 1_000_000, 10_000_000])
        };
        bench.drain(CommandCarrier::Ferryd, IN_FLIGHT, carried, &usual()).await?;
        let history = RecordedHistory::read(&bench.place.amqp_uri).await?;
        let mut recorded = carried;
        for records in most {
            eprintln!("  writing the records of {} commands", records - recorded);
            while recorded < records {
                history.write_copy(recorded).await?;
                recorded += carried;
            }
            let reading = bench.catch_up(IN_FLIGHT).await?;
            self.drain(bench, format!("records: {records}"), 1, count, &usual()).await?;
            if let Some(line) = self.0.last_mut() {
                line.reading = reading;
            }
        }
        Ok(())
    }

    async fn drain(
        &mut self,
        bench: &mut BenchSetup,
        case: String,
        daemons: u16,
        count: usize,
        shape: &CommandShape,
    ) -> Result<(), BenchError> {
        eprintln!("  {case}: draining {count} commands, {IN_FLIGHT} in flight");
        let open = bench.publish(count, shape).await?;
        configure(&bench.place, IN_FLIGHT / daemons, shape.more_providers + 1)?;
        let start = |number: u16| {
            let state = folder(bench, number);
            let variables = [("FERRYD_LEDGER__DIR", state.as_str())];
            CommandCarrier::Ferryd.start_under(&[], &bench.place, IN_FLIGHT / daemons, &variables)
        };
        let processes = (0..daemons).map(start).collect::<Result<Vec<_>, BenchError>>()?;
        let drained = bench.drained_by(processes, open).await?;
        let index = size(Path::new(&folder(bench, 0)))?;
        self.0.push(GrowthLine { case, drained, index, reading: Duration::ZERO });
        Ok(())
    }

    /// Returns all values.
    pub(crate) fn json(&self) -> Value {
        self.0.iter().map(GrowthLine::json).collect()
    }
}

/// Returns the folder of a daemon's index. The first one is that of all other measurements.
fn folder(bench: &BenchSetup, daemon: u16) -> String {
    let name = if daemon == 0 { "state".to_owned() } else { format!("state-{daemon}") };
    bench.place.dir.join(name).display().to_string()
}

fn usual() -> CommandShape {
    CommandShape::default()
}

fn size(folder: &Path) -> Result<u64, BenchError> {
    fs::read_dir(folder)?.try_fold(0, |sum, entry| Ok(sum + entry?.metadata()?.len()))
}

impl GrowthLine {
    fn values(&self) -> [(&'static str, f64); 6] {
        let DrainResult { per_second, cpu, broker_cpu, memory } = &self.drained;
        [
            ("commands/s", *per_second),
            ("cpu µs each", cpu.as_secs_f64() * 1e6),
            ("broker µs each", broker_cpu.as_secs_f64() * 1e6),
            ("memory MiB", mebibytes(*memory)),
            ("index MiB", mebibytes(self.index)),
            ("reading s", self.reading.as_secs_f64()),
        ]
    }

    fn json(&self) -> Value {
        let values = self.values().map(|(unit, value)| (unit.to_owned(), json!(value)));
        json!({ "case": self.case, "values": Value::Object(values.into_iter().collect()) })
    }
}

impl fmt::Display for GrowthReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.0.first() else { return Ok(()) };
        write!(f, "\n{:24}", "ferryd, draining")?;
        first.values().iter().try_for_each(|(unit, _)| write!(f, "{unit:>16}"))?;
        writeln!(f)?;
        for line in &self.0 {
            write!(f, "{:24}", line.case)?;
            line.values().iter().try_for_each(|(_, value)| write!(f, "{value:>16.1}"))?;
            writeln!(f)?;
        }
        Ok(())
    }
}
