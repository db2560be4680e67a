//! ferryd under valgrind's tool callgrind, which counts the instructions that it executes.
//!
//! valgrind runs one thread at a time, some 50 times slower than the processor, and presents a
//! processor of its own: the count hardly depends on the machine, nor on what else it does.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::BenchError;
use crate::contender::CommandCarrier;
use crate::process::ChildProcess;
use crate::setup::BenchPlace;

/// The function that saves to the index.
const INDEX: &str = "ferryd_ledger::index::LedgerIndex::save_with_pauses";
/// The function that opens a connection to the provider, which is closed when it was idle for four
/// seconds.
const CONNECT: &str = "reqwest::connect::with_timeout::{{closure}}";

/// Lets libc copy large blocks in steps of 32 bytes. `rep movsb`, which it would use, is fast on a
/// processor, and callgrind counts each byte.
const TUNABLES: &str =
    "glibc.cpu.x86_rep_movsb_threshold=1073741824:glibc.cpu.x86_rep_stosb_threshold=1073741824";

/// A daemon under callgrind, which counts nothing before it is switched on.
pub(crate) struct CountedDaemon {
    process: ChildProcess,
    dump: PathBuf,
}

/// The instructions of one measurement.
pub(crate) struct CountedInstructions {
    /// The instructions of everything but saving to the index and connecting to the provider.
    pub(crate) carrying: u64,
    /// The instructions of saving to the index.
    pub(crate) index: u64,
    /// The functions that take most, as `callgrind_annotate` lists them.
    pub(crate) costliest: Vec<String>,
}

impl CountedDaemon {
    /// Starts ferryd with one worker thread.
    pub(crate) fn start(place: &BenchPlace, in_flight: u16) -> Result<Self, BenchError> {
        let dump = place.dir.join("callgrind.out");
        let file = format!("--callgrind-out-file={}", dump.display());
        let valgrind =
            ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--fair-sched=yes", &file];
        let process = CommandCarrier::Ferryd.start_under(
            &valgrind,
            place,
            in_flight,
            &[("TOKIO_WORKER_THREADS", "1"), ("GLIBC_TUNABLES", TUNABLES)],
        )?;
        Ok(Self { process, dump })
    }

    /// Returns the process.
    pub(crate) fn process(&self) -> &ChildProcess {
        &self.process
    }

    /// Begins to count.
    pub(crate) fn begin(&self) -> Result<(), BenchError> {
        self.control(&["--instr=on"])
    }

    /// Reads the count since [`begin`](Self::begin), and ends the process.
    pub(crate) fn finish(self) -> Result<CountedInstructions, BenchError> {
        self.control(&["--dump"])?;
        // callgrind numbers its dumps.
        let dump = self.dump.with_added_extension("1");
        let functions = annotate(&dump, &["--threshold=100", "--inclusive=yes"])?;
        let index = inclusive(&functions, INDEX).ok_or_else(|| {
            format!("the profile has no function {INDEX}: give callgrind.rs its name of today")
        })?;
        let connecting = inclusive(&functions, CONNECT).unwrap_or_default();
        let own = annotate(&dump, &["--threshold=99"])?;
        let costliest = lines_of(&own).map(|(cost, name)| format!("{cost:>14}  {}", short(name)));
        Ok(CountedInstructions {
            carrying: total(&functions)?.saturating_sub(index + connecting),
            index,
            costliest: costliest.collect(),
        })
    }

    fn control(&self, arguments: &[&str]) -> Result<(), BenchError> {
        let pid = self.process.id().to_string();
        run(Command::new("callgrind_control").args(arguments).arg(pid)).map(drop)
    }
}

fn annotate(dump: &Path, arguments: &[&str]) -> Result<String, BenchError> {
    run(Command::new("callgrind_annotate").args(arguments).arg("--auto=no").arg(dump))
}

fn run(command: &mut Command) -> Result<String, BenchError> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// Lists costs and names of functions in the output of `callgrind_annotate`:
/// `1,234 ( 5.67%)  /path/file.rs:function [/path/of/object]`.
fn lines_of(annotated: &str) -> impl Iterator<Item = (u64, &str)> {
    annotated.lines().filter_map(|line| {
        let (cost, rest) = line.split_once('(')?;
        let (_, name) = rest.split_once("%)")?;
        Some((cost.trim().replace(',', "").parse().ok()?, name.trim()))
    })
}

fn total(annotated: &str) -> Result<u64, BenchError> {
    let total = lines_of(annotated).find(|(_, name)| name.ends_with("PROGRAM TOTALS"));
    Ok(total.ok_or("callgrind_annotate prints no total")?.0)
}

/// Returns the instructions of a function with those that it calls.
fn inclusive(annotated: &str, function: &str) -> Option<u64> {
    let of_it = lines_of(annotated).filter(|(_, name)| is_function(name, function));
    of_it.map(|(cost, _)| cost).max()
}

/// Returns true for a line of this function, whatever its file and object.
fn is_function(line: &str, function: &str) -> bool {
    let name = line.split(" [").next().unwrap_or_default();
    name.ends_with(function) && name.trim_end_matches(function).ends_with(':')
}

/// Leaves out the object and the folders that all sources share.
fn short(line: &str) -> &str {
    let name = line.split(" [").next().unwrap_or_default();
    ["/library/", "/index.crates.io-", concat!(env!("CARGO_MANIFEST_DIR"), "/")]
        .iter()
        .find_map(|folder| name.split_once(folder))
        .map_or(name, |(_, rest)| rest)
}
