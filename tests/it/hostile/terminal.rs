//! Runs commands as on a terminal with colours, and finds what a terminal would obey in their
//! output.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Child;

use clap::CommandFactory as _;
use ferryd::cli::CliArguments;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use unicode_general_category::{GeneralCategory, get_general_category};

use crate::harness::wait::eventually;
use crate::rig::{SOON, TestRig};

/// A hostile text: it sets the title, clears the screen, sets a colour, forges a line of ferryd's,
/// and reorders or hides characters.
pub(crate) const HOSTILE: &str = "x\u{1b}]0;title\u{7}\u{1b}[2J\u{1b}[41m\r\nFORGED\u{202e}\u{200b}\u{2066}\u{9b}\u{2028}\u{e0041}\u{7f}";

/// The part of [`HOSTILE`] that a header can hold, and a body that is shown as text.
pub(crate) const HIDDEN: &str = "x\u{202e}\u{2028}\u{200b}\u{2066}\u{e0041}";

/// The escaped form, which proves that such a text was printed.
pub(crate) const SHOWN: &str = r"\u{202e}";

/// The styles of ferryd and of its help.
const STYLES: [&str; 9] = [
    "\u{1b}[0m",
    "\u{1b}[1m",
    "\u{1b}[4m",
    "\u{1b}[31m",
    "\u{1b}[32m",
    "\u{1b}[33m",
    "\u{1b}[34m",
    "\u{1b}[90m",
    "\u{1b}[36m",
];

/// A command line in both forms.
pub(crate) struct TerminalCase {
    /// The words of the command.
    pub(crate) leaf: &'static str,
    /// The arguments after those words.
    pub(crate) arguments: &'static [&'static str],
    /// The expected exit code.
    code: i32,
    /// True where the output contains a text of the provider or the publisher.
    shows: bool,
}

/// Makes a case.
pub(crate) const fn case(
    leaf: &'static str,
    arguments: &'static [&'static str],
    code: i32,
    shows: bool,
) -> TerminalCase {
    TerminalCase { leaf, arguments, code, shows }
}

/// A running ferryd, with its output and errors in files.
pub(crate) struct RunningCommand {
    child: Child,
    files: [PathBuf; 2],
}

impl RunningCommand {
    /// Starts a command as on a terminal with colours.
    pub(crate) fn start(rig: &TestRig, form: &str, leaf: &str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| argument.replace("{form}", form));
        let mut all: Vec<_> = leaf.split(' ').map(str::to_owned).chain(arguments).collect();
        if form == "programs" && has_json(leaf) {
            all.push("--json".to_owned());
        }
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        let name = uuid::Uuid::new_v4();
        let files = ["out", "err"].map(|kind| rig.setup.path().join(format!("{name}.{kind}")));
        let [out, err] = files.each_ref().map(|path| File::create(path).unwrap());
        let mut command = rig.setup.command(&all);
        if leaf == "erase" {
            command.env("FERRYD_TOKEN", "privacy-0123456789abcdef");
        }
        let child = command.env("CLICOLOR_FORCE", "1").stdout(out).stderr(err).spawn().unwrap();
        Self { child, files }
    }

    /// Returns the output and errors so far.
    pub(crate) fn printed(&self) -> [String; 2] {
        self.files.each_ref().map(|path| fs::read_to_string(path).unwrap())
    }

    /// Waits until a text is printed.
    pub(crate) async fn wait_for_text(&self, text: &str) {
        let said =
            async || self.printed().iter().any(|printed| printed.contains(text)).then_some(());
        eventually(SOON, text, said).await;
    }

    /// Sends SIGINT.
    pub(crate) fn interrupt(&self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGINT).unwrap();
    }

    /// Waits for the end of the command, and returns its output and errors.
    pub(crate) async fn wait_for_end(mut self, leaf: &str) -> [String; 2] {
        eventually(SOON, leaf, async || self.child.try_wait().unwrap()).await;
        self.printed()
    }

    /// Waits for the end of the command, and collects the deviations from the expected result.
    pub(crate) async fn collect_faults(
        mut self,
        form: &str,
        TerminalCase { leaf, arguments, code, shows }: &TerminalCase,
    ) -> Vec<String> {
        let status = eventually(SOON, leaf, async || self.child.try_wait().unwrap()).await;
        let [out, err] = self.printed();
        let json =
            if form == "programs" && has_json(leaf) { collect_texts(&out) } else { Vec::new() };
        let for_people = if json.is_empty() { format!("{out}{err}") } else { err.clone() };
        let is_hostile =
            |text: &String| [HOSTILE, HIDDEN].iter().any(|hostile| text.contains(hostile));
        let faults = [
            (status.code() != Some(*code)).then(|| format!("ends with {status}")),
            find_harm(&out),
            find_harm(&err),
            ((json.iter().any(is_hostile) || for_people.contains(SHOWN)) != *shows)
                .then(|| "shows what it should not, or not what it should".to_owned()),
        ];
        let name =
            |fault| format!("ferryd {leaf} {arguments:?} for {form}: {fault}\n{out:?}\n{err:?}\n");
        faults.into_iter().flatten().map(name).collect()
    }
}

/// Finds a character in a text that a terminal would obey or misrepresent.
pub(crate) fn find_harm(text: &str) -> Option<String> {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
    let own = STYLES.iter().fold(text.to_owned(), |text, style| text.replace(style, ""));
    let acts = |c: &char| {
        *c != '\n'
            && matches!(
                get_general_category(*c),
                Control | Format | LineSeparator | ParagraphSeparator
            )
    };
    let forged = own.lines().find(|line| line.trim_start().starts_with("FORGED"));
    own.chars()
        .find(acts)
        .map(|c| format!("prints {c:?}"))
        .or_else(|| forged.map(|line| format!("prints the line {line}")))
}

/// Collects every text in successive JSON values, names too.
fn collect_texts(json: &str) -> Vec<String> {
    fn gather(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| gather(item, found)),
            Value::Object(entries) => {
                for (name, value) in entries {
                    found.push(name.clone());
                    gather(value, found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    for value in serde_json::Deserializer::from_str(json).into_iter::<Value>() {
        gather(&value.unwrap(), &mut found);
    }
    found
}

/// Lists the leaf commands, by their words.
pub(crate) fn list_commands() -> Vec<(String, clap::Command)> {
    fn gather(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
        let inner: Vec<_> =
            command.get_subcommands().filter(|inner| inner.get_name() != "help").collect();
        if inner.is_empty() {
            found.push((path.to_owned(), command.clone()));
        }
        for inner in inner {
            gather(inner, format!("{path} {}", inner.get_name()).trim_start(), found);
        }
    }
    let mut found = Vec::new();
    gather(&CliArguments::command(), "", &mut found);
    found
}

fn has_json(leaf: &str) -> bool {
    let leaves = list_commands();
    let (_, command) = leaves.iter().find(|(path, _)| path == leaf).unwrap();
    command.get_arguments().any(|argument| argument.get_id() == "json")
}
