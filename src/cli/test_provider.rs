//! `ferryd provider test`: tests a provider file against its examples, without its secrets and with
//! nothing sent.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::error::CommandError;
use super::exit_status::ExitStatus;
use super::output::{TerminalOutput, TextTable};
use crate::config::Config;
use ferryd_provider::example::{self, ExampleDifference, FileExample, FileExamples};
use ferryd_provider::{catalog, registry};

pub(super) const EXAMPLES: &str = "\
Examples:
  ferryd provider test providers/shop.toml
  ferryd provider test stripe
  ferryd provider test ./shop.toml --json | jq -r '.examples[] | select(.ok | not) | .example'

The file's own examples, of operations and of webhooks, are held against it; those of the catalog are
not taken over by `use`, and are tested by the name of a catalog provider that is not configured. Nothing is
sent, and no secret is read: each has its own name as its value, so calls are read and not verified. Ends with
1 where an example is not true, or where there is none.";

/// The arguments of `ferryd provider test`.
#[derive(Debug, Args)]
pub struct TestFile {
    /// A provider file (a path with `/` or `.toml`), or the name of a provider
    #[arg(value_name = "FILE|NAME")]
    subject: String,
    /// Print JSON: `ok`, `provider`, `examples` with `operation` (or `webhook`), `example`, `ok`,
    /// `differences`
    #[arg(long)]
    json: bool,
}

/// The findings, as JSON.
#[derive(Debug, Serialize)]
struct ExampleReport {
    ok: bool,
    provider: String,
    examples: Vec<TestedExample>,
}

/// The finding about one example.
#[derive(Debug, Serialize)]
struct TestedExample {
    operation: String,
    example: String,
    ok: bool,
    differences: Vec<ExampleDifference>,
}

impl TestFile {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let report = ExampleReport::of(tests(&self.subject, config)?);
        if report.examples.is_empty() {
            return Err(CommandError::Refused(format!(
                "provider `{}` has no examples; write some as [[operations.X.examples]] or [[webhook.examples]], see docs/PROVIDERS.md",
                report.provider
            )));
        }
        if self.json {
            out.json(&report)?;
        } else {
            report.print(out)?;
        }
        if report.ok { Ok(()) } else { Err(CommandError::Reported(ExitStatus::Failed)) }
    }
}

/// Reads the tests of a file, of a configured provider, or of one in the catalog.
fn tests(subject: &str, config: Option<&Path>) -> Result<FileExamples, CommandError> {
    let is_path = subject.contains('/')
        || Path::new(subject).extension().is_some_and(|extension| extension == "toml");
    if is_path {
        return of_file(Path::new(subject));
    }
    let files = configured(config)?;
    for path in &files {
        let text = read(path)?;
        // A file that is not TOML, or has another name, is not the one that was named.
        if name_in(&text).as_deref() == Some(subject) {
            return of_file(path);
        }
    }
    if let Some(tests) = example::test_catalog(subject) {
        return Ok(tests?);
    }
    let configured = files.iter().filter_map(|path| name_in(&read(path).ok()?));
    let known: Vec<_> = configured.chain(catalog::names().map(str::to_owned)).collect();
    Err(CommandError::Refused(format!(
        "there is no provider `{subject}`: there are {}",
        known.join(", ")
    )))
}

/// Lists the configured provider files. Without such a folder only the catalog is searched.
fn configured(config: Option<&Path>) -> Result<Vec<PathBuf>, CommandError> {
    let config = Config::load(config)?;
    if !config.providers.dir.is_dir() {
        return Ok(Vec::new());
    }
    registry::files(&config.providers.dir).map_err(|fault| CommandError::from(vec![fault]))
}

/// Reads the name of the provider that a file describes: its own, or that of the catalog's.
fn name_in(text: &str) -> Option<String> {
    let file: toml::Table = toml::from_str(text).ok()?;
    file.get("name").or_else(|| file.get("use"))?.as_str().map(str::to_owned)
}

fn of_file(path: &Path) -> Result<FileExamples, CommandError> {
    Ok(example::test_file(&read(path)?, &path.display().to_string())?)
}

fn read(path: &Path) -> Result<String, CommandError> {
    std::fs::read_to_string(path)
        .map_err(|source| CommandError::Input { path: path.to_owned(), source })
}

impl ExampleReport {
    fn of(tests: FileExamples) -> Self {
        let tested = |FileExample { operation, example, differences }| {
            let ok = differences.is_empty();
            TestedExample { operation, example, ok, differences }
        };
        let examples: Vec<_> = tests.tests.into_iter().map(tested).collect();
        Self {
            ok: examples.iter().all(|tested| tested.ok),
            provider: tests.provider.to_string(),
            examples,
        }
    }

    fn print(&self, out: &mut TerminalOutput) -> Result<(), CommandError> {
        out.heading(&self.provider)?;
        let mut table = TextTable::new(["OPERATION", "EXAMPLE", "RESULT"]);
        for TestedExample { operation, example, ok, .. } in &self.examples {
            table.row([operation.as_str(), example, if *ok { "ok" } else { "FAILED" }]);
        }
        out.table(&table)?;
        for tested in self.examples.iter().filter(|tested| !tested.ok) {
            tested.print(out)?;
        }
        let failed = self.examples.iter().filter(|tested| !tested.ok).count();
        let all = self.examples.len();
        out.print_blank_line()?;
        Ok(out.line(if failed == 0 {
            format!("all {all} hold")
        } else {
            format!("{failed} of {all} failed")
        })?)
    }
}

impl TestedExample {
    fn print(&self, out: &mut TerminalOutput) -> Result<(), CommandError> {
        out.print_blank_line()?;
        out.line(format!("{}, {}", self.operation, self.example))?;
        for ExampleDifference { at, expected, got } in &self.differences {
            out.line(format!("  {at}"))?;
            out.line(format!("    expected  {}", one_line_value(expected)))?;
            out.line(format!("    got       {}", one_line_value(got)))?;
        }
        Ok(())
    }
}

/// Formats a value on one line.
fn one_line_value(value: &Value) -> String {
    if value.is_null() { "nothing".to_owned() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture;

    const FILE: &str = r#"
name = "shop"
type = "payment"
protocol = "rest"
base_url = "https://api.example.com"
secrets = { key = "${env:FERRYD_TEST_UNSET}" }
[operations.pay]
request = { method = "POST", path = "/pay" }
body = { amount = "{{ payload.amount }}" }
[[operations.pay.examples]]
name = "one that holds"
payload = { amount = 7 }
request = { body = { amount = 7 } }
[[operations.pay.examples]]
payload = { amount = 7 }
request = { path = "/paid", body = { amount = 8, note = "x" } }
reply = { status = 402 }
outcome = { as = "declined" }
[webhook]
verify = "none"
event = "{{ body.type }}"
[[webhook.examples]]
name = "a call"
body = { type = "paid" }
expect = [{ as = "completed", event = "paid" }, { as = "nothing" }]
"#;

    fn run(arguments: &[&str]) -> (Result<(), CommandError>, String) {
        let [subject, rest @ ..] = arguments else { panic!("no subject") };
        let mut result = Ok(());
        let printed = fixture::printed(|out| {
            let command = TestFile { subject: (*subject).to_owned(), json: rest == ["--json"] };
            result = command.run(None, out);
        });
        (result, printed)
    }

    #[test]
    fn differences_are_shown_to_people_and_to_programs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.toml");
        std::fs::write(&path, FILE).unwrap();
        let path = path.to_str().unwrap();
        let (result, printed) = run(&[path]);
        assert_eq!(result.unwrap_err().exit(), ExitStatus::Failed);
        insta::assert_snapshot!(printed);
        let (result, printed) = run(&[path, "--json"]);
        assert_eq!(result.unwrap_err().exit(), ExitStatus::Failed);
        let report: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!((&report["ok"], &report["examples"][0]["ok"]), (&false.into(), &true.into()));
        assert_eq!(report["examples"][1]["differences"][0]["at"], "request.path");
    }

    #[test]
    fn providers_of_the_catalog_can_be_tested_by_name() {
        let (result, printed) = run(&["paypal"]);
        result.unwrap();
        assert!(printed.ends_with("hold\n"), "{printed}");
        let (result, _) = run(&["papyal"]);
        assert!(result.unwrap_err().to_string().contains("paypal"));
    }

    #[test]
    fn a_file_without_examples_is_no_success() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.toml");
        std::fs::write(&path, FILE.split("[[operations").next().unwrap()).unwrap();
        let (result, _) = run(&[path.to_str().unwrap()]);
        let error = result.unwrap_err();
        assert!(
            error.exit() == ExitStatus::Failed && error.to_string().contains("has no examples"),
            "{error}"
        );
    }
}
