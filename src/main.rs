//! ferryd, the program: reads the command line, does what it says, and ends with a code that scripts can rely on.

use std::process::ExitCode;

use ferryd::cli::output::{complain, complain_of_panic};
use ferryd::cli::usage::read_command_line;
use ferryd::cli::{Exit, Output};
use tikv_jemallocator::Jemalloc;

/// Thousands of short-lived buffers of all sizes, on several threads: the system's allocator takes a fifth of ferryd's time
/// for them (see `docs/BENCHMARKS.md`).
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
