//! The programs that are measured, and the way each is started.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use crate::BenchError;
use crate::process::ChildProcess;
use crate::setup::{BenchPlace, FERRYD};

/// The queue both consume.
pub(crate) const QUEUE: &str = "ferry.commands.bench";
/// The queue that receives the events of both.
pub(crate) const EVENTS: &str = "bench.events";

const CONFIGURATION: &str = r##"
[[events.subscribers]]
queue = "bench.events"
bindings = ["#"]
"##;

/// A program that carries the commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CommandCarrier {
    /// The minimal consumer.
    Minimal,
    /// ferryd with its default settings; its log goes to a file.
    Ferryd,
    /// ferryd without the log of calls.
    FerrydUnlogged,
}

impl CommandCarrier {
    /// All contenders, in the order of their turns.
    pub(crate) const ALL: [Self; 3] = [Self::Minimal, Self::Ferryd, Self::FerrydUnlogged];

    /// Returns the name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Minimal => "minimal consumer",
            Self::Ferryd => "ferryd",
            Self::FerrydUnlogged => "ferryd, log.calls = false",
        }
    }

    /// Starts the program with at most `in_flight` calls at the same time.
    pub(crate) fn start(
        self,
        place: &BenchPlace,
        in_flight: u16,
    ) -> Result<ChildProcess, BenchError> {
        self.start_under(&[], place, in_flight, &[])
    }

    /// Starts the program by another one, such as valgrind, with more variables in its environment.
    pub(crate) fn start_under(
        self,
        wrapper: &[&str],
        place: &BenchPlace,
        in_flight: u16,
        variables: &[(&str, &str)],
    ) -> Result<ChildProcess, BenchError> {
        let mut command = match self {
            Self::Minimal => minimal(place, in_flight)?,
            Self::Ferryd | Self::FerrydUnlogged => daemon(wrapper, place, in_flight)?,
        };
        command.envs(variables.iter().copied());
        if self == Self::FerrydUnlogged {
            command.env("FERRYD_LOG__CALLS", "false");
        }
        let log = File::create(place.dir.join("contender.log"))?;
        ChildProcess::spawn(command.stdout(Stdio::null()).stderr(log))
    }
}

/// Declares the topology, with the queue for events.
pub(crate) fn declare(place: &BenchPlace) -> Result<(), BenchError> {
    configure(place, 64)?;
    let mut command = Command::new(FERRYD);
    command.args(["topology", "apply", "--config"]).arg(place.dir.join("ferryd.toml"));
    let output = command.env("FERRYD_AMQP__URI", &place.amqp_uri).output()?;
    let failure = || String::from_utf8_lossy(&output.stderr).into_owned().into();
    if output.status.success() { Ok(()) } else { Err(failure()) }
}

fn minimal(place: &BenchPlace, in_flight: u16) -> Result<Command, BenchError> {
    let program = std::env::current_exe()?;
    let mut command =
        ChildProcess::command(program.to_str().ok_or("the path of this program is not UTF-8")?);
    command.args(["minimal", "--queue", QUEUE, "--amqp-uri", &place.amqp_uri, "--url", &place.url]);
    command.arg("--prefetch").arg(in_flight.to_string()).arg("--ca-file").arg(place.ca_file());
    Ok(command)
}

fn daemon(wrapper: &[&str], place: &BenchPlace, in_flight: u16) -> Result<Command, BenchError> {
    configure(place, in_flight)?;
    let mut command = ChildProcess::command(wrapper.first().unwrap_or(&FERRYD));
    command.args(wrapper.iter().skip(1)).args((!wrapper.is_empty()).then_some(FERRYD));
    command.args(["run", "--config"]).arg(place.dir.join("ferryd.toml"));
    command
        .env("FERRYD_AMQP__URI", &place.amqp_uri)
        .env("FERRYD_LEDGER__DIR", place.dir.join("state"));
    command.env("FERRYD_API__BIND", "127.0.0.1:0");
    Ok(command)
}

fn configure(place: &BenchPlace, in_flight: u16) -> Result<(), BenchError> {
    let (url, ca_file) = (&place.url, place.ca_file());
    let provider = format!(
        r#"
name = "bench"
type = "payment"
protocol = "rest"
base_url = "{url}"
ca_file = "{ca_file}"
max_in_flight = {in_flight}
auth = {{ scheme = "bearer", token = "{{{{ secrets.api_key }}}}" }}

[secrets]
api_key = "sk_bench_51H8x2KZvq0"

[operations.charge]
request = {{ method = "POST", path = "/v1/charges", encoding = "json" }}
idempotency = {{ header = "Idempotency-Key", retention = "24h" }}
timeout = "5m"

[operations.charge.body]
amount = "{{{{ payload.amount }}}}"
currency = "{{{{ payload.currency }}}}"
customer = "{{{{ payload.customer }}}}"
description = "{{{{ payload.description }}}}"
sandbox = "{{{{ payload.sandbox }}}}"

[operations.charge.response]
reference = "{{{{ body.id }}}}"
result = {{ id = "{{{{ body.id }}}}", status = "{{{{ body.status }}}}" }}
success = "body.status == 'succeeded'"
accepted = "body.status == 'processing'"
"#,
        ca_file = ca_file.display(),
    );
    fs::create_dir_all(place.dir.join("providers"))?;
    fs::write(place.dir.join("ferryd.toml"), CONFIGURATION)?;
    Ok(fs::write(place.dir.join("providers/bench.toml"), provider)?)
}
