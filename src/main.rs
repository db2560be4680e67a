//! The program ferryd: reads the command line, runs the subcommand, and ends with an exit code that
//! scripts can rely on.

use std::process::ExitCode;

use ferryd::cli::output::{complain_of_panic, print_error};
use ferryd::cli::usage::read_command_line;
use ferryd::cli::{ExitStatus, TerminalOutput};
use tikv_jemallocator::Jemalloc;

/// The allocator of the process. ferryd allocates thousands of short-lived buffers of all sizes on
/// several threads, which takes a fifth of its time with the system's allocator (see
/// `docs/BENCHMARKS.md`).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(complain_of_panic));
    let cli = match read_command_line(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let mut out = TerminalOutput::stdout();
    match cli.run(&mut out).and_then(|()| Ok(out.flush()?)) {
        Ok(()) => ExitStatus::Done.into(),
        Err(error) => {
            // One line for each fault.
            error.lines().iter().for_each(|line| print_error(line));
            error.exit().into()
        }
    }
}
