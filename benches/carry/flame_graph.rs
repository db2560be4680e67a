//! A flame graph of ferryd: perf samples the stacks, and inferno draws them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::BenchError;
use crate::setup::BenchPlace;

/// The path of the drawing.
const DRAWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/flame.svg");
/// The directory into which `benches/tools inferno` installs inferno.
const INFERNO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/inferno/bin");
/// The samples a second, beside the pace of anything that happens every hundredth of a second.
const FREQUENCY: &str = "199";
/// The way in which stacks are read: the most bytes of a stack that perf copies. Tasks need them.
const STACKS: &str = "dwarf,65528";

/// perf, while it samples a process.
pub(crate) struct Recording {
    perf: Child,
    samples: PathBuf,
}

impl Recording {
    /// Starts to sample a process. The clock is one that virtual machines have too.
    pub(crate) fn start(place: &BenchPlace, pid: u32) -> Result<Self, BenchError> {
        let samples = place.dir.join("perf.data");
        let perf = Command::new("perf")
            .args(["record", "--quiet", "-e", "cpu-clock", "-F", FREQUENCY])
            .args(["--call-graph", STACKS, "-p", &pid.to_string(), "-o"])
            .arg(&samples)
            .spawn()?;
        Ok(Self { perf, samples })
    }

    /// Ends the sampling, and draws the flame graph.
    pub(crate) fn draw(mut self) -> Result<(), BenchError> {
        kill(Pid::from_raw(i32::try_from(self.perf.id())?), Signal::SIGINT)?;
        self.perf.wait()?;
        let step = |name: &str| self.samples.with_extension(name);
        let (stacks, folded) = (step("stacks"), step("folded"));
        // Looking up inlined functions would take hours.
        run(
            Command::new("perf").args(["script", "--no-inline", "-i"]).arg(&self.samples),
            &stacks,
        )?;
        run(Command::new(inferno("inferno-collapse-perf")).arg(&stacks), &folded)?;
        let mut drawing = Command::new(inferno("inferno-flamegraph"));
        run(drawing.args(["--title", "ferryd, draining"]).arg(&folded), Path::new(DRAWN))?;
        println!("wrote {DRAWN}");
        Ok(())
    }
}

fn inferno(program: &str) -> PathBuf {
    Path::new(INFERNO).join(program)
}

/// Runs a program with its output in a file.
fn run(command: &mut Command, output: &Path) -> Result<(), BenchError> {
    let status = command.stdout(File::create(output)?).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}
