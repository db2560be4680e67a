"""The processes of a run: a private RabbitMQ node, the emulators, and ferryd between them."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from documents import ROOT

PATIENCE = 60
LOCALSTRIPE = """
import logging, sys
from aiohttp import web
from localstripe import resources, server
logging.basicConfig(level=logging.INFO)
# It writes its store to a file that all share, and listens everywhere.
type(resources.store).dump_to_disk = lambda self: None
web.run_app(server.app, host="127.0.0.1", port=int(sys.argv[1]))
"""
STATEFUL = """
const { createExpressApp } = require("stripe-stateful-mock");
createExpressApp().listen(Number(process.argv[1]), "127.0.0.1");
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(what, truth, patience=PATIENCE):
    """Waits until something is true, and returns it."""
    until = time.monotonic() + patience
    while not (found := truth()):
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not there after {patience} s")
        time.sleep(0.02)
    return found


class Stage:
    """Starts processes in a folder, and stops them."""

    def __init__(self, folder):
        self.folder, self.processes = Path(folder), {}
        self.libraries = Path(os.environ["EMULATORS"])
        self.ferryd = os.environ["FERRYD"]
        self.environment = {**os.environ, "NO_COLOR": "1", "FERRYD_CONFIG": str(self.folder / "ferryd.toml")}

    def start(self, name, line, **more):
        log = open(self.folder / f"{name}.log", "wb")  # noqa: SIM115
        process = subprocess.Popen(
            [str(part) for part in line], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env=self.environment, start_new_session=True, **more,
        )  # fmt: skip
        self.processes[name] = process
        return process

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def await_port(self, name, port):
        def answers():
            assert self.processes[name].poll() is None, f"{name} ended:\n{self.log(name)}"
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                return False
            return True

        wait_for(f"{name} on port {port}", answers)

    def await_log(self, name, text):
        def there():
            assert self.processes[name].poll() is None or text in self.log(name), f"{name} ended:\n{self.log(name)}"
            return text in self.log(name)

        wait_for(f"`{text}` in the log of {name}", there)

    def node(self, *arguments):
        done = subprocess.run(
            [ROOT / "rabbitmq/node", *arguments, "--dir", self.folder / "rabbitmq"], capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()

    def start_emulators(self, documents):
        """Starts all emulators, one Prism for each document; returns their ports by name."""
        ports = {name: free_port() for name in (*documents, "localstripe", "stateful", "oauth2")}
        modules = self.libraries / "node/node_modules"
        for name, document in documents.items():
            path = self.folder / f"{name}.json"
            path.write_text(json.dumps(document))
            line = [modules / ".bin/prism", "mock", "--errors", "--cors", "false", "-p", ports[name], path]
            # What Prism makes of a pattern is a text that does not match it, unless it is configured to choose one.
            line += ["--dynamic", "--seed", "ferryd"] if name == "twilio" else []
            self.start(name, line)
        self.start("localstripe", [self.libraries / "python/bin/python", "-c", LOCALSTRIPE, ports["localstripe"]])
        self.start("stateful", ["node", "-e", STATEFUL, ports["stateful"]], cwd=self.libraries / "node")
        self.start("oauth2", [modules / ".bin/oauth2-mock-server", "-a", "127.0.0.1", "-p", ports["oauth2"]])
        return ports

    def start_node(self):
        thread = threading.Thread(target=self.node, args=("start",))
        thread.start()
        return thread

    def start_ferryd(self):
        lines = (self.folder / "rabbitmq/env").read_text().splitlines()
        uri = next(line.split("=", 1)[1].strip("'\"") for line in lines if "FERRYD_AMQP__URI=" in line)
        self.environment["FERRYD_AMQP__URI"] = uri
        self.start("ferryd", [self.ferryd, "run"])
        self.await_log("ferryd", "ready")
        self.start("events", [self.ferryd, "events", "--json"])

    def webhooks(self):
        line = next(line for line in self.log("ferryd").splitlines() if "the endpoint for webhooks listens" in line)
        return "http://" + line.rsplit("address=", 1)[1].strip()

    def events(self):
        lines = [line for line in self.log("events").splitlines() if line.startswith("{")]
        return [json.loads(line) for line in lines if line.endswith("}")]

    def publish(self, commands):
        text = "\n".join(json.dumps(command) for command in commands)
        done = subprocess.run(
            [self.ferryd, "publish", "--file", "-"], input=text.encode(), capture_output=True, env=self.environment, check=False
        )
        assert done.returncode == 0, done.stderr.decode()

    def await_event(self, command, states, what="", patience=30):
        """Waits for an event of a command in one of some states; fails where it ended as something else."""
        def found():
            of = [event["data"] for event in self.events() if event.get("subject") == command]
            of = [data for data in of if "state" in data]
            known = next((data for data in of if data["state"] in states), None)
            ended = [data for data in of if data["state"] in ("completed", "failed")]
            assert known or not ended, f"{command} ended as {ended[0]}, not as {'/'.join(states)} {what}"
            return known

        return wait_for(f"{command}: an event {'/'.join(states)} {what}", found, patience)

    def close(self):
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        if (self.folder / "rabbitmq").exists():
            self.node("stop")
