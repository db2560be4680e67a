//! ferryd, the program: reads the command line, does what it says, and ends with a code that scripts can rely on.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use ferryd::cli::{Cli, CommandError, Exit, Output};
use tikv_jemallocator::Jemalloc;

/// Thousands of short-lived buffers of all sizes, on several threads: the system's allocator takes a fifth of ferryd's time
/// for them (see `docs/BENCHMARKS.md`).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let mut out = Output::stdout();
    let result = Cli::parse().run(&mut out).and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            complain(&error);
            error.exit().into()
        }
    }
}

/// Tells a person what is wrong, one line for each fault.
fn complain(error: &CommandError) {
    let mut stderr = std::io::stderr().lock();
    for line in error.lines() {
        // There is nowhere left to say that nothing can be said.
        let _ = writeln!(stderr, "ferryd: {line}");
    }
}
