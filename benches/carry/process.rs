//! Processes that end with the bench, and their use of time and memory.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::BenchError;

/// The unit of processor times in `/proc`: hundredths of a second, whatever the kernel's own clock
/// rate is.
const TICK: Duration = Duration::from_millis(10);

/// A child process; killed when dropped.
pub(crate) struct ChildProcess(Child);

impl ChildProcess {
    /// Builds a command line of a process that the kernel kills with the bench: `setpriv` becomes
    /// the program.
    pub(crate) fn command(program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        command
    }

    /// Starts a command line made by [`ChildProcess::command`].
    pub(crate) fn spawn(command: &mut Command) -> Result<Self, BenchError> {
        Ok(Self(command.spawn()?))
    }

    /// Returns the process id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Returns the child, to read its output so far.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Returns the processor time used so far.
    pub(crate) fn cpu(&self) -> Result<Duration, BenchError> {
        cpu(self.0.id())
    }

    /// Returns the peak of the resident memory, in bytes.
    pub(crate) fn peak_memory(&self) -> Result<u64, BenchError> {
        self.status("VmHWM:")
    }

    /// Returns the resident memory, in bytes.
    pub(crate) fn memory(&self) -> Result<u64, BenchError> {
        self.status("VmRSS:")
    }

    fn status(&self, name: &str) -> Result<u64, BenchError> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)).ok_or("the process is gone")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// Asks the process to end, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<(), BenchError> {
        kill(Pid::from_raw(i32::try_from(self.0.id())?), Signal::SIGTERM)?;
        self.0.wait()?;
        Ok(())
    }
}

/// Returns the processor time that a process has used so far.
pub(crate) fn cpu(pid: u32) -> Result<Duration, BenchError> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the name in parentheses; user and system time are the 14th and 15th.
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| -> Result<u32, BenchError> {
        Ok(fields.get(at).ok_or("no such field")?.parse()?)
    };
    Ok(TICK * (ticks(11)? + ticks(12)?))
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // Both fail for a process that has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
