//! Compares the instructions that a command costs with those in `benches/instructions.toml`.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::BenchError;
use crate::callgrind::CountedInstructions;
use crate::measure::BenchSetup;

/// The number of commands whose instructions are counted.
const COUNTED: usize = 2_000;
/// The calls in flight meanwhile.
const IN_FLIGHT: u16 = 64;
/// The part by which a command may cost more than the file says, before the comparison fails.
const TOLERANCE: f64 = 0.05;
/// The number of functions that a profile lists.
const LISTED: usize = 40;

/// The accepted cost, as the file holds it.
#[derive(Debug, Deserialize)]
struct AcceptedCost {
    /// The compiler, as `rustc --version` names it.
    compiler: String,
    /// The instructions of carrying a command.
    instructions: u64,
    /// The instructions of saving a command to the index.
    index: u64,
}

/// Measures, and compares with the file or writes it.
pub(crate) async fn hold(
    bench: &mut BenchSetup,
    accept: bool,
    profile: bool,
) -> Result<(), BenchError> {
    let counted = bench.instructions(IN_FLIGHT, COUNTED).await?;
    if profile {
        println!("instructions of {COUNTED} commands by function, without those it calls");
        counted.costliest.iter().take(LISTED + 1).for_each(|line| println!("{line}"));
    }
    let (cost, compiler) = (of_one(&counted), compiler()?);
    if accept {
        return write(&cost, &compiler);
    }
    let accepted: AcceptedCost = toml::from_str(&fs::read_to_string(file())?)?;
    println!(
        "a command: {} instructions, {} accepted; saving it to the index: {}, {} accepted",
        cost.0, accepted.instructions, cost.1, accepted.index
    );
    if accepted.compiler != compiler {
        println!(
            "not compared: the accepted figures are of {}, this is {compiler}",
            accepted.compiler
        );
        return Ok(());
    }
    compare(cost.0, accepted.instructions)
}

/// Returns the instructions of one command: of carrying it, and of saving it to the index.
fn of_one(counted: &CountedInstructions) -> (u64, u64) {
    (counted.carrying / COUNTED as u64, counted.index / COUNTED as u64)
}

/// Fails where a command costs more than is tolerated. Where it costs so much less that a later
/// increase would go unnoticed, says so: the cost varies with the batches that form, so a machine
/// may count less for the same program.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 instructions")]
fn compare(cost: u64, accepted: u64) -> Result<(), BenchError> {
    let change = cost as f64 / accepted as f64 - 1.0;
    println!("change: {:+.1} %, tolerated: {:+.0} %", change * 100.0, TOLERANCE * 100.0);
    if change > TOLERANCE {
        return Err(MORE.into());
    }
    if change < -TOLERANCE {
        println!("{LESS}");
    }
    Ok(())
}

const MORE: &str = "\
a command costs more instructions than benches/instructions.toml accepts.
`make instructions PROFILE=1` lists the costliest functions; run it on the commit before, too, and compare.
If the cost is worth it, `make instructions UPDATE=1` accepts it: commit the file with the change, and say why.";
const LESS: &str = "\
a command costs fewer instructions than benches/instructions.toml accepts: `make instructions UPDATE=1` holds the gain.
Commit the file with the change.";

fn file() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.toml").into()
}

fn write((instructions, index): &(u64, u64), compiler: &str) -> Result<(), BenchError> {
    let mut text = String::from(
        "# The instructions of one command, from delivery to ack, counted by `make instructions`.\n\
         # UPDATE=1 writes this file.\n",
    );
    writeln!(text, "compiler = \"{compiler}\"")?;
    writeln!(text, "instructions = {instructions}")?;
    writeln!(text, "# Not compared: a slower machine saves more often to the index.")?;
    writeln!(text, "index = {index}")?;
    fs::write(file(), text)?;
    println!("wrote benches/instructions.toml: {instructions} instructions, index {index}");
    Ok(())
}

fn compiler() -> Result<String, BenchError> {
    let output = Command::new("rustc").arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
