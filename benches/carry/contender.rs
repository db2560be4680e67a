//! The programs that are measured, and the way each is started.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use clap::ValueEnum;

use crate::BenchError;
use crate::process::ChildProcess;
use crate::setup::{BenchPlace, FERRYD};

/// The queue that all consume.
const QUEUE: &str = "ferry.commands.bench";
/// The queue that receives the events of all.
pub(crate) const EVENTS: &str = "bench.events";

const CONFIGURATION: &str = r##"
[[events.subscribers]]
queue = "bench.events"
bindings = ["#"]
"##;

/// The folder of the Node.js consumer.
const NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/node");

/// A program that carries the commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum CommandCarrier {
    /// The minimal consumer.
    Minimal,
    /// The Node.js consumer.
    Node,
    /// ferryd with its default settings; its log goes to a file.
    Ferryd,
    /// ferryd without the log of calls.
    FerrydUnlogged,
}

impl CommandCarrier {
    /// All contenders, in the order of their turns.
    pub(crate) const ALL: [Self; 4] =
        [Self::Minimal, Self::Node, Self::Ferryd, Self::FerrydUnlogged];

    /// Lists the contenders that can be run here.
    pub(crate) fn installed() -> Vec<Self> {
        let node = Path::new(NODE).join("node_modules/undici").is_dir();
        if !node {
            eprintln!("the Node.js consumer is not measured; `benches/node/install` installs it");
        }
        Self::ALL.into_iter().filter(|carrier| node || *carrier != Self::Node).collect()
    }

    /// Returns the name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Minimal => "minimal consumer",
            Self::Node => "Node.js consumer",
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
            Self::Minimal => consumer(&std::env::current_exe()?, &["minimal"], place, in_flight),
            Self::Node => consumer(Path::new("node"), &["consumer.mjs"], place, in_flight),
            Self::Ferryd | Self::FerrydUnlogged => daemon(wrapper, place),
        };
        if self == Self::FerrydUnlogged {
            command.env("FERRYD_LOG__CALLS", "false");
        }
        command.envs(variables.iter().copied());
        let log = File::create(place.dir.join("contender.log"))?;
        ChildProcess::spawn(command.stdout(Stdio::null()).stderr(log))
    }
}

/// Returns the name of a provider.
pub(crate) fn provider(number: usize) -> String {
    if number == 0 { "bench".to_owned() } else { format!("bench{number}") }
}

/// Declares the topology that [`configure`] has configured.
pub(crate) fn declare(place: &BenchPlace) -> Result<(), BenchError> {
    let mut command = Command::new(FERRYD);
    command.args(["topology", "apply", "--config"]).arg(place.dir.join("ferryd.toml"));
    let output = command.env("FERRYD_AMQP__URI", &place.amqp_uri).output()?;
    let failure = || String::from_utf8_lossy(&output.stderr).into_owned().into();
    if output.status.success() { Ok(()) } else { Err(failure()) }
}

/// Builds the command line of a consumer without features.
fn consumer(program: &Path, arguments: &[&str], place: &BenchPlace, in_flight: u16) -> Command {
    let mut command = ChildProcess::command(program);
    command.current_dir(NODE).args(arguments).arg("--prefetch").arg(in_flight.to_string());
    command.args(["--queue", QUEUE, "--amqp-uri", &place.amqp_uri, "--url", &place.url]);
    command.arg("--ca-file").arg(place.ca_file());
    command
}

fn daemon(wrapper: &[&str], place: &BenchPlace) -> Command {
    let mut command = ChildProcess::command(Path::new(wrapper.first().unwrap_or(&FERRYD)));
    command.args(wrapper.iter().skip(1)).args((!wrapper.is_empty()).then_some(FERRYD));
    command.args(["run", "--config"]).arg(place.dir.join("ferryd.toml"));
    command
        .env("FERRYD_AMQP__URI", &place.amqp_uri)
        .env("FERRYD_LEDGER__DIR", place.dir.join("state"))
        .env("FERRYD_API__BIND", "127.0.0.1:0");
    command
}

/// Writes ferryd's configuration for at most `in_flight` calls at the same time to all `providers`
/// together.
pub(crate) fn configure(
    place: &BenchPlace,
    in_flight: u16,
    providers: usize,
) -> Result<(), BenchError> {
    let folder = place.dir.join("providers");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    fs::write(place.dir.join("ferryd.toml"), CONFIGURATION)?;
    let in_flight = usize::from(in_flight).div_ceil(providers);
    for number in 0..providers {
        let name = provider(number);
        fs::write(folder.join(format!("{name}.toml")), provider_file(place, &name, in_flight))?;
    }
    Ok(())
}

fn provider_file(place: &BenchPlace, name: &str, in_flight: usize) -> String {
    let (url, ca_file) = (&place.url, place.ca_file());
    format!(
        r#"
name = "{name}"
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
note = "{{{{ payload.note }}}}"
sandbox = "{{{{ payload.sandbox }}}}"

[operations.charge.response]
reference = "{{{{ body.id }}}}"
result = {{ id = "{{{{ body.id }}}}", status = "{{{{ body.status }}}}" }}
success = "body.status == 'succeeded'"
accepted = "body.status == 'processing'"
"#,
        ca_file = ca_file.display(),
    )
}
