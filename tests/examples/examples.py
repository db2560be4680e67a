"""Holds the examples to what they promise. Started by tests/examples/run."""

import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pika
from relay import Relay

ROOT = Path(__file__).resolve().parents[2]
LINES = {
    "python": [ROOT / "target/examples/python/bin/python", "-B", ROOT / "examples/python/shop.py"],
    "node": ["node", ROOT / "target/examples/node/shop.mjs"],
    "java": ["java", "-cp", f"{ROOT}/examples/java/lib/*", ROOT / "examples/java/Shop.java"],
    "php": ["php", ROOT / "examples/php/shop.php"],
}
# What they end with at SIGTERM: a JVM says so by its status.
STOPPED = {"java": 128 + 15}
QUEUE = "shop.payments"
PATIENCE = 30


class Process:
    """A running example, whose lines are collected as they come."""

    def __init__(self, line, environment):
        self.lines = []
        self.process = subprocess.Popen(
            [str(word) for word in line], env=environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def count(self, text):
        return sum(text in line for line in self.lines)

    def expect(self, text, times=1):
        """Waits until lines with a text have been printed so many times."""
        until = time.monotonic() + PATIENCE
        while self.count(text) < times:
            assert time.monotonic() < until and self.process.poll() is None, f"no `{text}` × {times} in {self.shown()}"
            time.sleep(0.02)

    def ends(self, code):
        self.process.wait(PATIENCE)
        self.reader.join()
        assert self.process.returncode == code, f"ended with {self.process.returncode}, not {code}: {self.shown()}"

    def shown(self):
        return "\n  ".join(["", *self.lines])


class Stage:
    """A broker, a provider and ferryd, as `make up` starts them, and a relay before the broker."""

    def __init__(self, folder):
        self.folder = folder
        subprocess.run([ROOT / "demo/stage", "up", folder], check=True, stdout=subprocess.DEVNULL)
        lines = (folder / "rabbitmq/env").read_text().splitlines()
        self.uri = next(line.split("=", 1)[1].strip("'\"") for line in lines if "FERRYD_AMQP__URI=" in line)
        self.relay = Relay(urlsplit(self.uri).port)
        self.relayed = self.uri.replace(f":{urlsplit(self.uri).port}", f":{self.relay.port}")
        self.sandbox = json.loads((folder / "sandbox.log").read_text())["url"]
        # Nobody answers heartbeats between its uses.
        self.channel = pika.BlockingConnection(pika.URLParameters(f"{self.uri}?heartbeat=0")).channel()
        self.channel.confirm_delivery()

    def charges(self, command):
        """How often the provider was called to carry out a command."""
        context = ssl.create_default_context(cafile=self.folder / "sandbox/ca.pem")
        with urllib.request.urlopen(f"{self.sandbox}/sandbox/calls", context=context) as answer:
            return json.load(answer)["keys"][command]["calls"]


class Example:
    """One example, its subscriber and the commands it publishes."""

    def __init__(self, stage, language):
        self.stage, self.language = stage, language
        self.database = stage.folder / f"{language}.db"
        self.subscriber = self.start(["subscribe"], stage.relayed)
        self.subscriber.expect(f"subscribed: {QUEUE}")

    def start(self, words, uri=None, **more):
        environment = {**os.environ, "AMQP_URI": uri or self.stage.uri, "SHOP_DB": str(self.database), **more}
        return Process([*LINES[self.language], *words], environment)

    def order(self, name):
        return f"{self.language}-{name}"

    def charge(self, name, amount=1099, uri=None, sandbox=None, **more):
        payload = [json.dumps({"sandbox": sandbox})] if sandbox else []
        return self.start(["charge", self.order(name), str(amount), "eur", *payload], uri, **more)

    def charged(self, *arguments, **more):
        process = self.charge(*arguments, **more)
        process.ends(0)
        assert process.count(": confirmed") == 1, process.shown()
        return process

    def sees(self, line, times=1):
        self.subscriber.expect(f"{self.language}-{line}", times)

    def event(self, name, state):
        return f"shop.{self.order(name)}.charge/0/1/{state}"

    def drops(self, what, event):
        self.subscriber.expect(f"{what} dropped: {event}")


def carries_commands_to_their_ends(example):
    example.charged("paid")
    example.sees("paid: paid (sb_")
    example.charged("declined", sandbox={"decline": True})
    example.sees("declined: not paid: declined: ")
    example.charged("slow", sandbox={"accepted": True, "finish_after": "1s"})
    example.sees("slow: waiting for the provider")
    example.sees("slow: paid (sb_")
    example.charged("invalid", amount=0)
    example.sees("invalid: undecided: invalid: ")


def drops_copies_and_late_events(example):
    example.charged("twice")
    example.sees("twice: paid (sb_")
    example.charged("twice")
    example.drops("duplicate", example.event("twice", "completed"))
    charges = example.stage.charges(f"shop.{example.order('twice')}.charge")
    assert charges == 1, f"the provider was called {charges} times"
    late = {
        "specversion": "1.0", "id": example.event("twice", "waiting"), "source": "/ferryd/acme-pay",
        "type": "ferry.command.waiting", "subject": f"shop.{example.order('twice')}.charge",
        "data": {
            "command": {"id": f"shop.{example.order('twice')}.charge", "reference": example.order("twice")},
            "state": "waiting", "generation": 0, "attempt": 1, "sequence": 10, "final": False,
        },
    }  # fmt: skip
    example.stage.channel.basic_publish("ferry.events", "payment.acme-pay.charge.waiting", json.dumps(late).encode())
    example.drops("late event", late["id"])
    assert example.subscriber.count("twice: ") == 1, example.subscriber.shown()


def publishes_again_when_the_confirm_is_lost(example):
    command = f"shop.{example.order('unsure')}.charge"
    example.stage.relay.lose_ack_of(f'"{command}"')
    process = example.charged("unsure", uri=example.stage.relayed)
    assert process.count("publishing again") == 1 and example.stage.relay.lost.is_set(), process.shown()
    example.sees("unsure: paid (sb_")
    example.drops("duplicate", example.event("unsure", "completed"))
    charges = example.stage.charges(command)
    assert charges == 1, f"the provider was called {charges} times"


def works_once_when_its_ack_is_lost(example):
    event = example.event("unacked", "completed")
    example.stage.relay.lose_ack_of(f'"{event}"')
    example.charged("unacked")
    example.sees("unacked: paid (sb_")
    example.subscriber.expect("subscribing again")
    example.subscriber.expect(f"subscribed: {QUEUE}", 2)
    example.drops("duplicate", event)
    assert example.stage.relay.lost.is_set()
    assert example.subscriber.count("unacked: ") == 1, example.subscriber.shown()


def says_when_a_command_reaches_no_queue(example):
    example.stage.channel.exchange_declare("unbound.commands", "topic", durable=True)
    for prefix, problem in (("unbound", "returned"), ("missing", "no exchange 'missing.commands'")):
        process = example.charge("lost", FERRY_PREFIX=prefix)
        process.ends(1)
        assert process.count(problem) == 1 and process.count("confirmed") == 0, process.shown()


def publishes_again_what_the_broker_refuses(example):
    channel = example.stage.channel
    channel.exchange_declare("full.commands", "topic", durable=True)
    arguments = {"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "reject-publish"}
    channel.queue_declare("full", durable=True, arguments=arguments)
    channel.queue_bind("full", "full.commands", "#")
    # A quorum queue refuses from the moment at which it knows that it is full.
    for _ in range(100):
        try:
            channel.basic_publish("full.commands", "x", b"{}")
        except pika.exceptions.NackError:
            break
    process = example.charge("refused", FERRY_PREFIX="full")
    process.expect("refused it; publishing again")
    channel.queue_purge("full")
    process.ends(0)
    assert process.count(": confirmed") == 1, process.shown()
    channel.queue_delete("full")


def hold(stage, language):
    example = Example(stage, language)
    try:
        for case in (
            carries_commands_to_their_ends,
            drops_copies_and_late_events,
            publishes_again_when_the_confirm_is_lost,
            works_once_when_its_ack_is_lost,
            says_when_a_command_reaches_no_queue,
            publishes_again_what_the_broker_refuses,
        ):
            begun = time.monotonic()
            case(example)
            print(f"{language}: {case.__name__.replace('_', ' ')} ({time.monotonic() - begun:.1f} s)", flush=True)
        example.subscriber.process.terminate()
        example.subscriber.ends(STOPPED.get(language, 0))
        assert example.subscriber.lines[-1] == "stopped", example.subscriber.shown()
    finally:
        example.subscriber.process.kill()
        stage.channel.queue_delete(QUEUE)


def main(languages):
    folder = Path(tempfile.mkdtemp(prefix="ferryd-examples-"))
    try:
        stage = Stage(folder)
        for language in languages:
            hold(stage, language)
    finally:
        subprocess.run([ROOT / "demo/stage", "down", folder], check=False)
        shutil.rmtree(folder)
    print(f"{len(languages) * 6} passed, 0 failed")


main(sys.argv[1:])
