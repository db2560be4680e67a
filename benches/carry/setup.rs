//! The surroundings of a run: a folder, a RabbitMQ node and a sandbox of its own.

use std::fs;
use std::io::BufReader;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::BenchError;
use crate::process::ChildProcess;

/// The program that is measured, of the same build.
pub(crate) const FERRYD: &str = env!("CARGO_BIN_EXE_ferryd");

const NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rabbitmq/node");

/// Waits for the end of the bench, then stops the node and removes the folder.
///
/// The bench holds the other end of a pipe: the kernel closes it at any end of the bench, also by
/// Ctrl-C or `kill -9`.
const KEEPER: &str = r#"cat >/dev/null; "$0" stop --dir "$1/node"; rm -rf "$1""#;

/// The broker and the sandbox that all contenders use.
pub(crate) struct BenchPlace {
    /// The folder; removed at the end.
    pub(crate) dir: PathBuf,
    /// The URI of the broker.
    pub(crate) amqp_uri: String,
    /// The process id of the broker.
    pub(crate) broker: u32,
    /// The URL of the sandbox.
    pub(crate) url: String,
    _sandbox: ChildProcess,
    keeper: Child,
}

impl BenchPlace {
    /// Starts node and sandbox.
    pub(crate) fn start() -> Result<Self, BenchError> {
        let dir = tempfile::Builder::new().prefix("ferryd-bench-").tempdir()?.keep();
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, NODE])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Ctrl-C in a terminal goes to the whole process group: the keeper must outlive it.
            .process_group(0)
            .spawn()?;
        let (sandbox, url) = sandbox(&dir)?;
        let mut place =
            Self { dir, amqp_uri: String::new(), broker: 0, url, _sandbox: sandbox, keeper };
        place.amqp_uri = place.start_node()?;
        let pid = fs::read_to_string(place.dir.join("node/node.pid"))?;
        place.broker = pid.split_whitespace().next().ok_or("the node has no pid")?.parse()?;
        Ok(place)
    }

    /// Returns the path of the authority that signed the sandbox's certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.dir.join("sandbox/ca.pem")
    }

    fn start_node(&self) -> Result<String, BenchError> {
        let mut command = Command::new(NODE);
        let output = command
            .args(["start", "--memory-limit", "4GB", "--dir"])
            .arg(self.dir.join("node"))
            .output()?;
        let printed = String::from_utf8(output.stdout)?;
        let uri = printed.lines().last().filter(|_| output.status.success());
        Ok(uri.ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())?.to_owned())
    }
}

impl Drop for BenchPlace {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn sandbox(dir: &Path) -> Result<(ChildProcess, String), BenchError> {
    let mut command = ChildProcess::command(Path::new(FERRYD));
    command.args(["sandbox", "--json", "--bind", "127.0.0.1:0", "--dir"]).arg(dir.join("sandbox"));
    let log = fs::File::create(dir.join("sandbox.log"))?;
    let mut process = ChildProcess::spawn(command.stdout(Stdio::piped()).stderr(log))?;
    let stdout = process.child().stdout.take().ok_or("the sandbox has no output")?;
    // The process runs on after these lines: reading to the end would never return.
    let mut lines =
        serde_json::Deserializer::from_reader(BufReader::new(stdout)).into_iter::<Value>();
    let ready = lines.next().ok_or("the sandbox ended at once; is `setpriv` missing?")??;
    let url = ready["url"].as_str().ok_or("the sandbox does not say where it listens")?.to_owned();
    Ok((process, url))
}
