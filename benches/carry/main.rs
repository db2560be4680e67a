//! Measures the speed and the cost of ferryd beside a *minimal consumer*: the least code that
//! carries a command.
//!
//! The bench measures the rate at which a full queue is drained, the latency of one command at a
//! steady rate, the memory for calls in flight, and the memory for commands that wait for their
//! provider. ferryd and the minimal consumer take turns in one run, on one RabbitMQ node and one
//! sandbox, so that other load on the machine affects both. Only the ratios are valid on another
//! machine.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the result goes to stdout, progress to stderr")]

mod client;
mod contender;
mod measure;
mod minimal;
mod place;
mod process;
mod report;

use clap::{Parser, Subcommand, ValueEnum};

use crate::contender::Contender;
use crate::measure::Bench;
use crate::place::Place;
use crate::report::Report;

/// Any error. The bench does not distinguish them.
type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Measures ferryd beside a minimal consumer. Needs rabbitmq-server (`rabbitmq/node install`).
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
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
    only: Vec<Question>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Run as the minimal consumer
    #[command(hide = true)]
    Minimal(minimal::Settings),
}

/// The measured quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Question {
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
struct Sizes {
    rounds: u32,
    drained: usize,
    prefetches: &'static [u16],
    rate: u32,
    seconds: u32,
    in_flight: u16,
    /// The numbers of waiting commands, and the same numbers for people.
    waiting: (&'static [usize], &'static [&'static str]),
}

impl Sizes {
    fn of(arguments: &Arguments) -> Self {
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
        let waiting: (&[usize], &[&str]) = (&[25_000, 50_000, 100_000], &["25,000", "50,000", "100,000"]);
        Self { rounds, drained: 20_000, prefetches: &[64, 256], rate: 200, seconds: 20, in_flight: 4_000, waiting }
    }
}

fn main() -> Result<(), Fault> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match &arguments.role {
        Some(Role::Minimal(settings)) => runtime.block_on(minimal::run(settings)),
        None => runtime.block_on(measure_all(&arguments)),
    }
}

async fn measure_all(arguments: &Arguments) -> Result<(), Fault> {
    let sizes = Sizes::of(arguments);
    let asked = |question| arguments.only.is_empty() || arguments.only.contains(&question);
    eprintln!("starting a RabbitMQ node and a sandbox");
    let mut bench = Bench::new(Place::start()?).await?;
    let mut report = Report::default();
    for round in 1..=sizes.rounds {
        eprintln!("round {round} of {}", sizes.rounds);
        for &prefetch in sizes.prefetches.iter().filter(|_| asked(Question::Drain)) {
            for contender in Contender::ALL {
                report.drained(contender, prefetch, &bench.drain(contender, prefetch, sizes.drained).await?);
            }
        }
        for contender in Contender::ALL.into_iter().filter(|_| asked(Question::Latency)) {
            report.answered(contender, &bench.latency(contender, sizes.rate, sizes.seconds).await?);
        }
        for contender in Contender::ALL.into_iter().filter(|_| asked(Question::Memory)) {
            report.held(contender, &bench.memory(contender, sizes.in_flight).await?);
        }
        // The messages of waiting commands stay with the broker.
        if asked(Question::Waiting) {
            let (counts, shown) = sizes.waiting;
            report.waited(Contender::Ferryd, shown, &bench.waiting(Contender::Ferryd, counts).await?);
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report.json())?);
    } else {
        print!("{report}");
    }
    Ok(())
}
