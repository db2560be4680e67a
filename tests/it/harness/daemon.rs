//! Runs ferryd as a process, with a configuration of the test's own.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

use super::wait::eventually;

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A folder with a configuration. Any number of daemons may run from it, one after another or side
/// by side.
pub(crate) struct DaemonFolder {
    dir: TempDir,
    environment: Vec<(String, String)>,
}

impl DaemonFolder {
    /// Writes a configuration file with the text `config`; the environment gives the broker's URI.
    pub(crate) fn new(amqp_uri: &str, config: &str) -> Self {
        let setup = Self { dir: tempfile::tempdir().unwrap(), environment: Vec::new() };
        setup
            .file("ferryd.toml", config)
            .env("FERRYD_AMQP__URI", amqp_uri)
            .env("FERRYD_LEDGER__DIR", "state")
            .env("FERRYD_LEDGER__CLAIM_MARGIN", "1s")
            .env("FERRYD_API__BIND", "127.0.0.1:0")
    }

    /// Adds a provider file.
    pub(crate) fn provider(self, name: &str, text: &str) -> Self {
        self.file(&format!("providers/{name}.toml"), text)
    }

    /// Adds any file, such as a CA's certificate, by its path within the folder.
    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// Adds a variable to the daemon's environment, which otherwise has only the `PATH` of the
    /// test.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns the folder.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Builds a command line of ferryd on this configuration: `ferryd --config … ARGUMENTS`.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.prepare(Command::new(env!("CARGO_BIN_EXE_ferryd")), arguments)
    }

    /// Starts `ferryd run` without waiting for anything.
    pub(crate) fn start(&self) -> RunningDaemon {
        RunningDaemon::spawn(self.run())
    }

    fn run(&self) -> Command {
        // The daemon must not outlive a test process that is killed; `setpriv` becomes ferryd, so
        // the pid is ferryd's.
        let mut wrapper = Command::new("setpriv");
        wrapper.args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_ferryd")]);
        self.prepare(wrapper, &["run"])
    }

    /// Starts `ferryd run` so that it dies or panics at a failpoint, such as `decoded=kill:3`.
    #[cfg(feature = "failpoints")]
    pub(crate) fn start_armed(&self, failpoint: &str) -> RunningDaemon {
        let mut run = self.run();
        run.env("FERRYD_FAILPOINT", failpoint);
        RunningDaemon::spawn(run)
    }

    /// Starts `ferryd run` with the log that people read on a terminal.
    pub(crate) fn start_for_people(&self) -> RunningDaemon {
        let mut run = self.run();
        run.env("FERRYD_LOG__FORMAT", "human");
        RunningDaemon::spawn(run)
    }

    /// Starts `ferryd run` with a log that nobody reads, until [`RunningDaemon::read_log`].
    pub(crate) fn start_unread(&self) -> RunningDaemon {
        RunningDaemon::spawn_unread(self.run())
    }

    /// Starts `ferryd run` and waits until all its consumers are attached.
    pub(crate) async fn start_ready(&self) -> RunningDaemon {
        let daemon = self.start();
        daemon.wait_ready().await;
        daemon
    }

    fn prepare(&self, mut command: Command, arguments: &[&str]) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.args(arguments).arg("--config").arg(self.dir.path().join("ferryd.toml"));
        command.env_clear().env("PATH", path).env("FERRYD_LOG__FORMAT", "json");
        command
            .envs(self.environment.iter().cloned())
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }
}

/// The lines of a log, each as text and as JSON; null where it is not JSON.
type LogLines = Arc<watch::Sender<Vec<(String, Value)>>>;

/// A running ferryd. Dropping kills it; its log is printed when the test has failed.
pub(crate) struct RunningDaemon {
    child: Mutex<Child>,
    pid: Pid,
    log: LogLines,
    unread: Mutex<Option<ChildStderr>>,
}

impl RunningDaemon {
    fn spawn(command: Command) -> Self {
        let daemon = Self::spawn_unread(command);
        daemon.read_log();
        daemon
    }

    fn spawn_unread(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let log = LogLines::default();
        collect(child.stdout.take().unwrap(), &log);
        let unread = Mutex::new(child.stderr.take());
        Self { child: Mutex::new(child), pid, log, unread }
    }

    /// Reads the log from now on, and the lines that are still in its pipe.
    pub(crate) fn read_log(&self) {
        if let Some(unread) = self.unread.lock().unwrap().take() {
            collect(unread, &self.log);
        }
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits until all consumers are attached for the first time.
    pub(crate) async fn wait_ready(&self) {
        self.wait_for_log(READY_WITHIN, |line| line["message"] == "ready").await;
    }

    /// Waits for a line of the log that matches, one from the past too.
    pub(crate) async fn wait_for_log(
        &self,
        deadline: Duration,
        matches: impl Fn(&Value) -> bool,
    ) -> Value {
        self.wait_for_logs(1, deadline, matches).await.swap_remove(0)
    }

    /// Waits until at least `count` lines of the log match, and returns them.
    ///
    /// # Panics
    /// Where there are fewer within `deadline`.
    pub(crate) async fn wait_for_logs(
        &self,
        count: usize,
        deadline: Duration,
        matches: impl Fn(&Value) -> bool,
    ) -> Vec<Value> {
        let mut log = self.log.subscribe();
        let found =
            timeout(deadline, log.wait_for(|lines| matching(lines, &matches).count() >= count))
                .await;
        assert!(found.is_ok(), "fewer than {count} such lines in the log within {deadline:?}");
        drop(found);
        self.logs(matches)
    }

    /// Returns the lines of the log so far that match.
    pub(crate) fn logs(&self, matches: impl Fn(&Value) -> bool) -> Vec<Value> {
        matching(&self.log.borrow(), &matches).cloned().collect()
    }

    /// Returns the whole text of the log.
    pub(crate) fn log_text(&self) -> String {
        self.log.borrow().iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// Asks the daemon to end.
    pub(crate) fn sigterm(&self) {
        kill(self.pid, Signal::SIGTERM).unwrap();
    }

    /// Kills the daemon at once, and returns when it is gone.
    pub(crate) fn kill9(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Returns the exit status, where the daemon has ended.
    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    /// Waits until the daemon has ended by itself.
    pub(crate) async fn wait(&self, deadline: Duration) -> ExitStatus {
        eventually(deadline, "ferryd ends", async || self.exit_status()).await
    }
}

impl Drop for RunningDaemon {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            eprintln!("--- log of ferryd, pid {}\n{}", self.pid, self.log_text());
        }
    }
}

/// Selects the lines that match.
fn matching<'a>(
    lines: &'a [(String, Value)],
    matches: &impl Fn(&Value) -> bool,
) -> impl Iterator<Item = &'a Value> {
    lines.iter().map(|(_, json)| json).filter(|json| matches(json))
}

fn collect(output: impl Read + Send + 'static, log: &LogLines) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let json = serde_json::from_str(&line).unwrap_or_default();
            log.send_modify(|lines| lines.push((line, json)));
        }
    });
}
