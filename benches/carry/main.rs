//! Measures the speed and the cost of ferryd beside a *minimal consumer*: the least code that
//! carries a command.
//!
//! The bench measures the rate at which a full queue is drained, the latency of one command at a
//! steady rate, the memory for calls in flight, and the memory for commands that wait for their
//! provider. ferryd and the minimal consumer take turns in one run, on one RabbitMQ node and one
//! sandbox, so that other load on the machine affects both. Only the ratios are valid on another
//! machine.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the result goes to stdout, progress to stderr"
)]

mod callgrind;
mod client;
mod contender;
mod instructions;
mod measure;
mod minimal;
mod process;
mod report;
mod setup;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::contender::CommandCarrier;
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
    /// A smoke run: 1,000 commands, 2 seconds, 200 calls in flight, one round
    #[arg(long)]
    quick: bool,
    /// The number of measurements; the middle value counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure only these
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<MeasuredQuestion>,
    /// Count the instructions of a command, and compare them with `benches/instructions.toml`
    #[arg(long)]
    instructions: bool,
    /// Write the counted instructions to `benches/instructions.toml`
    #[arg(long, requires = "instructions")]
    accept: bool,
    /// List the costliest functions too
    #[arg(long, requires = "instructions")]
    profile: bool,
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
    prefetches: &'static [u16],
    rate: u32,
    seconds: u32,
    in_flight: u16,
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
                prefetches: &[64],
                rate: 200,
                seconds: 2,
                in_flight: 200,
                waiting,
            };
        }
        let rounds = arguments.rounds;
        let waiting: (&[usize], &[&str]) =
            (&[25_000, 50_000, 100_000], &["25,000", "50,000", "100,000"]);
        Self {
            rounds,
            drained: 20_000,
            prefetches: &[64, 256],
            rate: 200,
            seconds: 20,
            in_flight: 4_000,
            waiting,
        }
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
    let is_selected = |question| arguments.only.is_empty() || arguments.only.contains(&question);
    eprintln!("starting a RabbitMQ node and a sandbox");
    let mut bench = BenchSetup::new(BenchPlace::start()?).await?;
    if arguments.instructions {
        return instructions::hold(&mut bench, arguments.accept, arguments.profile).await;
    }
    let mut report = BenchReport::default();
    for round in 1..=sizes.rounds {
        eprintln!("round {round} of {}", sizes.rounds);
        for &prefetch in sizes.prefetches.iter().filter(|_| is_selected(MeasuredQuestion::Drain)) {
            for contender in CommandCarrier::ALL {
                report.drained(
                    contender,
                    prefetch,
                    &bench.drain(contender, prefetch, sizes.drained).await?,
                );
            }
        }
        for contender in
            CommandCarrier::ALL.into_iter().filter(|_| is_selected(MeasuredQuestion::Latency))
        {
            report.answered(contender, &bench.latency(contender, sizes.rate, sizes.seconds).await?);
        }
        for contender in
            CommandCarrier::ALL.into_iter().filter(|_| is_selected(MeasuredQuestion::Memory))
        {
            report.held(contender, &bench.memory(contender, sizes.in_flight).await?);
        }
        // The messages of waiting commands stay with the broker.
        if is_selected(MeasuredQuestion::Waiting) {
            let (counts, shown) = sizes.waiting;
            report.waited(
                CommandCarrier::Ferryd,
                shown,
                &bench.waiting(CommandCarrier::Ferryd, counts).await?,
            );
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report.json())?);
    } else {
        print!("{report}");
    }
    Ok(())
}
