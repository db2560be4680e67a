//! The measurements as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use crate::contender::CommandCarrier;
use crate::measure::{DrainResult, SteadyResult};

/// The percentiles that are shown, in hundredths.
const PERCENTILES: [(&str, usize); 4] = [("p50", 50), ("p90", 90), ("p99", 99), ("max", 100)];

/// Values of one kind by contender, one for each round.
type RoundValues = BTreeMap<CommandCarrier, Vec<f64>>;

/// All measurements: a title, then a unit, then values.
#[derive(Default)]
pub(crate) struct BenchReport(BTreeMap<String, Vec<(&'static str, RoundValues)>>);

impl BenchReport {
    /// Adds a drained queue under a title.
    pub(crate) fn drained(
        &mut self,
        title: &str,
        contender: CommandCarrier,
        drained: &DrainResult,
    ) {
        self.note(title, "commands/s", contender, drained.per_second);
        self.note(title, "cpu µs each", contender, drained.cpu.as_secs_f64() * 1e6);
        self.note(title, "broker µs each", contender, drained.broker_cpu.as_secs_f64() * 1e6);
        self.note(title, "memory MiB", contender, mebibytes(drained.memory));
    }

    /// Adds latencies at a steady rate under a title.
    pub(crate) fn answered(
        &mut self,
        title: &str,
        contender: CommandCarrier,
        SteadyResult { latencies, memory }: &SteadyResult,
    ) {
        for (name, hundredths) in PERCENTILES {
            let at = (latencies.len() * hundredths).div_ceil(100).saturating_sub(1);
            let millis = latencies.get(at).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3);
            self.note(title, name, contender, millis);
        }
        self.note(title, "memory MiB", contender, mebibytes(*memory));
    }

    /// Adds the memory with no command waiting, and with these counts.
    pub(crate) fn waited(
        &mut self,
        contender: CommandCarrier,
        counts: &[&'static str],
        resident: &[u64],
    ) {
        let title = "4. resident memory with commands that wait for their provider, MiB";
        for (count, &bytes) in ["none"].iter().chain(counts).zip(resident) {
            self.note(title, count, contender, mebibytes(bytes));
        }
    }

    fn note(&mut self, title: &str, unit: &'static str, contender: CommandCarrier, value: f64) {
        let columns = self.0.entry(title.to_owned()).or_default();
        let at = columns.iter().position(|(known, _)| *known == unit).unwrap_or_else(|| {
            columns.push((unit, RoundValues::new()));
            columns.len() - 1
        });
        columns[at].1.entry(contender).or_default().push(value);
    }

    /// Returns all values, by title, unit and contender.
    pub(crate) fn json(&self) -> Value {
        let column = |(unit, rounds): &(&str, RoundValues)| {
            let values = rounds.iter().map(|(contender, values)| {
                let shown = json!({ "rounds": values, "median": median(values), "ratio": ratio(rounds, *contender) });
                (contender.name().to_owned(), shown)
            });
            ((*unit).to_owned(), Value::Object(values.collect()))
        };
        let titled = self
            .0
            .iter()
            .map(|(title, columns)| (title.clone(), columns.iter().map(column).collect()));
        Value::Object(titled.collect())
    }
}

impl fmt::Display for BenchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, columns) in &self.0 {
            writeln!(f, "\n{title}")?;
            write!(f, "{:30}", "")?;
            columns.iter().try_for_each(|(unit, _)| write!(f, "{unit:>16}{:>8}", "ratio"))?;
            writeln!(f)?;
            for contender in CommandCarrier::ALL
                .into_iter()
                .filter(|one| columns.iter().any(|(_, rounds)| rounds.contains_key(one)))
            {
                write!(f, "{:30}", contender.name())?;
                for (_, rounds) in columns {
                    let value = rounds.get(&contender).map_or(f64::NAN, |values| median(values));
                    write!(f, "{value:>16.1}{:>8.2}", ratio(rounds, contender))?;
                }
                writeln!(f)?;
            }
        }
        writeln!(
            f,
            "\nmiddle values of all rounds; `ratio` is to the minimal consumer, the middle one within a round"
        )
    }
}

/// Returns the ratio to the minimal consumer within each round, where other load on the machine
/// affects both.
fn ratio(rounds: &RoundValues, contender: CommandCarrier) -> f64 {
    let of = |contender| rounds.get(&contender).map(Vec::as_slice).unwrap_or_default();
    let ratios: Vec<f64> = of(contender)
        .iter()
        .zip(of(CommandCarrier::Minimal))
        .map(|(own, base)| own / base)
        .collect();
    median(&ratios)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Converts bytes to MiB.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
