//! Measures the speed and the cost of ferryd beside a *minimal consumer*: the least code that
//! carries a command.
//!
//! The bench measures the rate at which a full queue is drained, the latency of one command at a
//! steady rate, the memory for calls in flight, and the memory for commands that wait for their
//! provider. ferryd, the minimal consumer and a Node.js consumer take turns in one run, on one
//! RabbitMQ node and one sandbox, so that other load on the machine affects all. Only the ratios are
//! valid on another machine.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the result goes to stdout, progress to stderr"
)]

mod callgrind;
mod client;
mod contender;
mod flame_graph;
mod growth;
mod history;
mod instructions;
mod measure;
mod minimal;
mod process;
mod report;
mod setup;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::client::CommandShape;
use crate::contender::CommandCarrier;
use crate::growth::{GrowthQuestion, GrowthReport};
use crate::measure::BenchSetup;
use crate::report::BenchReport;
use crate::setup::BenchPlace;

/// Any error. The bench does not distinguish them.
type BenchError = Box<dyn std::error::Error + Send + Sync>;

/// Measures ferryd beside a minimal consumer. Needs rabbitmq-server (`rabbitmq/node install`).
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
struct BenchArguments {
    #[command(subcommand)]
    role: Option<ProcessRole>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// A smoke run: 1,000 commands, 2 seconds, 200 slow calls, one round
    #[arg(long)]
    quick: bool,
    /// The number of measurements; the middle value counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure only these
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<MeasuredQuestion>,
    /// Measure only these contenders
    #[arg(long, value_enum, value_delimiter = ',')]
    contenders: Vec<CommandCarrier>,
    /// Count the instructions of a command, and compare them with `benches/instructions.toml`
    #[arg(long)]
    instructions: bool,
    /// Write the counted instructions to `benches/instructions.toml`
    #[arg(long, requires = "instructions")]
    accept: bool,
    /// Write a flame graph of ferryd to target/flame.svg; with --instructions, list the costliest
    /// functions
    #[arg(long)]
    profile: bool,
    /// Measure how the cost of ferryd grows with these
    #[arg(long, value_enum, value_delimiter = ',')]
    growth: Vec<GrowthQuestion>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum ProcessRole {
    /// Run as the minimal consumer
    #[command(hide = true)]
    Minimal(minimal::MinimalSettings),
}

/// The number of drained queues that a flame graph has samples of.
const SAMPLED_ROUNDS: usize = 3;

/// The measured quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MeasuredQuestion {
    /// Commands per second from a full queue
    Drain,
    /// Time from publish to event at a steady rate
    Latency,
    /// Memory with many calls in flight
    Memory,
    /// Memory with many commands waiting
    Waiting,
}

/// The sizes of the measurements.
struct LoadSizes {
    rounds: u32,
    drained: usize,
    in_flight: &'static [u16],
    rate: u32,
    seconds: u32,
    /// The number of slow calls in flight.
    slow: u16,
    /// The numbers of waiting commands, and the same numbers for people.
    waiting: (&'static [usize], &'static [&'static str]),
}

impl LoadSizes {
    fn of(arguments: &BenchArguments) -> Self {
        if arguments.quick {
            let waiting: (&[usize], &[&str]) = (&[1_000], &["1,000"]);
            return Self {
                rounds: 1,
                drained: 1_000,
                in_flight: &[64],
                rate: 200,
                seconds: 2,
                slow: 200,
                waiting,
            };
        }
        let rounds = arguments.rounds;
        let waiting: (&[usize], &[&str]) =
            (&[25_000, 50_000, 100_000], &["25,000", "50,000", "100,000"]);
        Self {
            rounds,
            drained: 20_000,
            in_flight: &[64, 256],
            rate: 500,
            seconds: 20,
            slow: 4_000,
            waiting,
        }
    }
}

impl LoadSizes {
    /// Returns the most calls in flight of all measurements of draining.
    fn most_in_flight(&self) -> u16 {
        self.in_flight.iter().copied().max().unwrap_or(64)
    }
}

fn main() -> ExitCode {
    let Err(error) = run(&BenchArguments::parse()) else { return ExitCode::SUCCESS };
    eprintln!("{error}");
    ExitCode::FAILURE
}

fn run(arguments: &BenchArguments) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match &arguments.role {
        Some(ProcessRole::Minimal(settings)) => runtime.block_on(minimal::run(settings)),
        None => runtime.block_on(measure_all(arguments)),
    }
}

async fn measure_all(arguments: &BenchArguments) -> Result<(), BenchError> {
    let sizes = LoadSizes::of(arguments);
    eprintln!("starting a RabbitMQ node and a sandbox");
    let mut bench = BenchSetup::new(BenchPlace::start()?).await?;
    if arguments.instructions {
        return instructions::hold(&mut bench, arguments.accept, arguments.profile).await;
    }
    if arguments.profile {
        return bench.flame_graph(sizes.most_in_flight(), sizes.drained * SAMPLED_ROUNDS).await;
    }
    if !arguments.growth.is_empty() {
        let mut growth = GrowthReport::default();
        for &question in &arguments.growth {
            growth.measure(&mut bench, question, sizes.drained, arguments.quick).await?;
        }
        return print_result(arguments, &growth, &growth.json());
    }
    let mut report = BenchReport::default();
    let mut contenders = CommandCarrier::installed();
    if !arguments.contenders.is_empty() {
        contenders.retain(|contender| arguments.contenders.contains(contender));
    }
    for round in 1..=sizes.rounds {
        eprintln!("round {round} of {}", sizes.rounds);
        measure_round(&mut bench, &mut report, &contenders, &sizes, &arguments.only).await?;
    }
    print_result(arguments, &report, &report.json())
}

/// Lets all contenders take their turns once.
async fn measure_round(
    bench: &mut BenchSetup,
    report: &mut BenchReport,
    contenders: &[CommandCarrier],
    sizes: &LoadSizes,
    only: &[MeasuredQuestion],
) -> Result<(), BenchError> {
    let asked = |question| only.is_empty() || only.contains(&question);
    for &in_flight in sizes.in_flight.iter().filter(|_| asked(MeasuredQuestion::Drain)) {
        let (title, shape) =
            (format!("1. draining, {in_flight:>3} in flight"), CommandShape::default());
        for &one in contenders {
            report.drained(&title, one, &bench.drain(one, in_flight, sizes.drained, &shape).await?);
        }
    }
    if asked(MeasuredQuestion::Latency) {
        let (title, steady) = (
            format!("2. from publish to event, ms, {} a second", sizes.rate),
            (sizes.rate, sizes.seconds),
        );
        let shape = CommandShape::answered_after("5ms");
        for &one in contenders {
            report.answered(&title, one, &bench.latency(one, steady, &shape).await?);
        }
    }
    if asked(MeasuredQuestion::Memory) {
        let (title, shape) = (
            format!("3. draining, {} in flight, calls of 200 ms", sizes.slow),
            CommandShape::answered_after("200ms"),
        );
        for &one in contenders {
            report.drained(
                &title,
                one,
                &bench.drain(one, sizes.slow, sizes.drained, &shape).await?,
            );
        }
    }
    // The messages of waiting commands stay with the broker.
    if asked(MeasuredQuestion::Waiting) {
        let (counts, shown) = sizes.waiting;
        let resident = bench.waiting(CommandCarrier::Ferryd, counts).await?;
        report.waited(CommandCarrier::Ferryd, shown, &resident);
    }
    Ok(())
}

fn print_result(
    arguments: &BenchArguments,
    shown: &impl std::fmt::Display,
    json: &serde_json::Value,
) -> Result<(), BenchError> {
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(json)?);
    } else {
        print!("{shown}");
    }
    Ok(())
}
