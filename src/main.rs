//! The program ferryd: reads the command line, runs the subcommand, and ends with an exit code that
//! scripts can rely on.

use std::process::ExitCode;

use ferryd::cli::output::{complain, complain_of_panic};
use ferryd::cli::usage::read_command_line;
use ferryd::cli::{Exit, Output};
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
    let mut out = Output::stdout();
    match cli.run(&mut out).and_then(|()| Ok(out.flush()?)) {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            // One line for each fault.
            error.lines().iter().for_each(|line| complain(line));
            error.exit().into()
        }
    }
}
