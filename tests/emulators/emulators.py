"""Runs the catalog's operations through RabbitMQ, ferryd and emulators of the providers. Started by tests/emulators/run."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import closing
from functools import partial
from urllib.parse import parse_qsl

import oauth2
import stateful
from documents import for_prism, official, read_catalog, sources
from front import Front, server_context
from payloads import PAYLOADS
from stage import Stage, wait_for

ACCOUNT = "AC" + "0" * 32
SECRETS = {
    "stripe": {"api_key": "sk_test_123", "webhook": stateful.SECRET},
    "twilio": {"account_sid": ACCOUNT, "auth_token": "b5a9c2e8d7f6041322d0c9b8a7f6e5d4"},
    "sendgrid": {"api_key": "SG.key"},
    "slack": {"bot_token": "xoxb-1"},
    "paypal": {"client_id": oauth2.CLIENT, "client_secret": oauth2.SECRET},
}
CONFIGURATION = """
[providers]
dir = "providers"
[retry]
schedule = ["1s", "1s"]
jitter = false
[events]
states = ["pending", "processing", "waiting", "completed", "failed"]
[ledger]
dir = "state"
[api]
bind = "127.0.0.1:0"
[webhooks]
public_url = "https://hooks.example.com"
signing_keys = ["0123456789abcdef0123456789abcdef"]
bind = "127.0.0.1:0"
[log]
format = "human"
"""
# Examples of requests that a provider refuses, and Prism too.
REFUSED = {("sendgrid", "send_mail", "a wrong address"): "from,email"}
# What the outcomes of examples are as states of commands.
STATES = {"completed": ("completed",), "waiting": ("waiting",), "transient": ("pending",), "unknown": ("pending", "failed")}


class Tally:
    """What was held against each other, and what was wrong."""

    def __init__(self):
        self.held, self.wrong = 0, []

    def expect(self, truth, what):
        self.held += 1
        if not truth:
            self.wrong.append(what)

    def add(self, other):
        self.held += other.held
        self.wrong += other.wrong


def make_certificates(folder):
    """An authority, and a certificate of localhost."""
    (folder / "openssl.cnf").write_text(
        "[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n"
        "[leaf]\nbasicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost\n"
    )
    def request(name, extensions, *more):
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key"]
        line = ["openssl", "req", "-x509", "-config", "openssl.cnf", "-days", "2", "-subj", f"/CN={name}", *key]
        line += ["-extensions", extensions, "-out", f"{name}.pem", *more]
        subprocess.run(line, cwd=folder, check=True, capture_output=True)

    request("ca", "ca")
    request("leaf", "leaf", "-CA", "ca.pem", "-CAkey", "ca.key")


def write_provider(folder, name, url, use=None, more=""):
    use = use or name
    base = url + {"slack": "/api"}.get(use, "")
    secrets = "\n".join(f'{key} = "{value}"' for key, value in SECRETS[use].items())
    text = f'use = "{use}"\nname = "{name}"\nbase_url = "{base}"\nca_file = "../ca.pem"\n{more}\n[secrets]\n{secrets}\n'
    (folder / "providers" / f"{name}.toml").write_text(text)


def hold_example(stage, front, tally, provider, operation, number, example):
    """Carries an example of the catalog: Prism takes its request, its reply is the answer, its outcome that of the command."""
    name = f"{provider}: {operation}: {example.get('name', 'its example')}"
    outcome, reply = example["outcome"], example["reply"]
    command = f"example.{provider}.{operation}.{number}"
    catalog = read_catalog(provider)["operations"][operation]
    before = len(front.calls)
    front.ready(catalog["request"]["method"], reply)
    if outcome["as"] == "waiting":
        # What its poll is answered.
        paid = {"status": "succeeded", "amount_received": example["payload"].get("amount"), "last_payment_error": None}
        front.ready("GET", {"status": 200, "body": {**reply["body"], **paid}})
    stage.publish([{
        "id": command, "type": read_catalog(provider)["type"], "provider": provider, "operation": operation,
        "payload": example["payload"], "reference": example.get("command", {}).get("reference", "r"),
    }])  # fmt: skip
    first = stage.await_event(command, STATES.get(outcome["as"], ("failed",)), str([c.violations for c in front.calls[before:]]))
    violations = [violation for call in front.calls[before:] for violation in call.violations]
    where = REFUSED.get((provider, operation, example.get("name")))
    if where:
        found = [",".join(violation["location"][2:]) for violation in violations]
        tally.expect(where in found, f"{name}: Prism should refuse {where}, and found {found}")
        front.replies.clear()
        return
    tally.expect(not violations, f"{name}: the official document has: {violations}")
    error = first.get("error") or {}
    if outcome["as"] not in STATES:
        tally.expect(error.get("kind") == outcome["as"], f"{name}: {error} is not {outcome['as']}")
    for key in ("code", "message"):
        tally.expect(key not in outcome or error.get(key) == outcome[key], f"{name}: {key} of {error} is not {outcome.get(key)}")
    for ours, key in (("reference", "provider_reference"), ("result", "result"), ("waiting_for", "waiting_for")):
        tally.expect(ours not in outcome or first.get(key) == outcome[ours], f"{name}: {first.get(key)} is not {outcome.get(ours)}")
    if outcome["as"] == "waiting":
        last = stage.await_event(command, ("completed", "failed"), "after a poll")
        tally.expect(last["state"] == "completed", f"{name}: a poll ended it as {last}")
    elif "pending" in first["state"]:
        stage.await_event(command, ("completed", "failed"), "after another attempt")
    front.replies.clear()


def hold_examples(stage, front, tally, provider):
    for operation, table in read_catalog(provider)["operations"].items():
        for number, example in enumerate(table["examples"], 1):
            if "reply" in example:
                hold_example(stage, front, tally, provider, operation, number, example)


def hold_payloads(stage, front, tally, provider):
    """Carries payloads with every field to Prism, whose own answer has the form that the document says."""
    seen = {}
    for number, (of, operation, payload) in enumerate(PAYLOADS, 1):
        if of != provider:
            continue
        seen.setdefault(operation, set()).update(payload)
        command = f"payload.{provider}.{number}"
        before = len(front.calls)
        stage.publish([{
            "id": command, "type": read_catalog(provider)["type"], "provider": provider, "operation": operation,
            "payload": payload,
        }])  # fmt: skip
        end = stage.await_event(command, ("completed", "waiting", "failed", "pending"))
        # Charges before it may be made again meanwhile.
        request = read_catalog(provider)["operations"][operation]["request"]
        path = re.compile(re.sub(r"\\{\\{.*?\\}\\}", "[^/]+", re.escape(request["path"])) + r"(\?|$)")
        calls = [call for call in front.calls[before:] if call.method == request["method"] and path.search(call.path)]
        violations = [violation for call in calls for violation in call.violations]
        tally.expect(len(calls) >= 1, f"{provider}: {operation}: payload {number} was not sent: {end}")
        tally.expect(not violations, f"{provider}: {operation}: payload {number}: the official document has: {violations}")
        if calls and not violations:
            hold_reading(tally, f"{provider}: {operation}: payload {number}", (provider, operation, payload), end, calls[0])
    for operation, table in read_catalog(provider)["operations"].items():
        missing = set(table["payload"]["properties"]) - seen.get(operation, set())
        tally.expect(not missing, f"{provider}: {operation}: no payload has {sorted(missing)}")


def hold_reading(tally, name, sent, end, call):
    """Holds what ferryd read against the answer that Prism made of the document's schema."""
    provider, operation, payload = sent
    if provider == "sendgrid":
        tally.expect(call.status == 202 and end["state"] == "completed", f"{name}: {call.status} {end}")
        return
    body, error = call.json(), end.get("error") or {}
    reference = f"{body['channel']}:{body['ts']}" if provider == "slack" else body.get("sid", body.get("id"))
    tally.expect(end.get("provider_reference") in (reference, None), f"{name}: {end} is not about {reference}")
    if operation == "charge":
        # Prism says that 0 of the currency `string` were asked for, and that the payment was cancelled.
        expected = "declined" if payload.get("confirm") else "amount_mismatch"
        tally.expect(expected in (error.get("kind"), error.get("code")), f"{name}: {end} is not {expected}")
    if operation in ("retrieve", "fetch", "post_message"):
        tally.expect(end["state"] == "completed", f"{name}: {end}")


def hold_lookup(stage, front, tally):
    """What is lost until its key can't be used any more is looked up: Prism takes the searches, too."""
    lost = [
        ("charge", {"amount": 1, "currency": "eur"}, "/v1/payment_intents", "/v1/payment_intents/search"),
        ("refund", {"payment_intent": "pi_1", "amount": 1}, "/v1/refunds", "/v1/refunds"),
    ]
    for operation, payload, path, search in lost:
        front.ready("POST", {"status": 500}, path)
        stage.publish([{
            "id": f"lookup.{operation}", "type": "payment", "provider": "stripe-lost", "operation": operation,
            "payload": payload,
        }])  # fmt: skip
        made = wait_for(f"the {operation} of stripe-lost", partial(front.find_call, path))
        form = dict(parse_qsl(made.body.decode()))
        paid = {"id": f"{operation}_7", "status": "succeeded", "amount": 1, "amount_received": 1, "currency": "eur"}
        paid["metadata"] = {"ferry_token": form["metadata[ferry_token]"]}
        front.ready("GET", {"status": 200, "body": {"object": "list", "data": [paid]}}, search)
    # The first lookup comes half a minute after the call.
    for operation, _, path, search in lost:
        end = stage.await_event(f"lookup.{operation}", ("completed",), patience=60)
        calls = [(call.method, call.path.split("?")[0]) for call in front.calls if call.path.startswith(path)]
        tally.expect(calls == [("POST", path), ("GET", search)], f"stripe-lost: {operation}: {calls}")
        tally.expect(end["provider_reference"] == f"{operation}_7", f"stripe-lost: {end}")
    violations = [call.violations for call in front.calls if call.violations]
    tally.expect(not violations, f"stripe-lost: the official document has: {violations}")


def hold_refusals(stage, front, tally):
    """What is wrong is refused by Prism, and the command ends as rejected: nothing here says yes to everything."""
    before = len(front.calls)
    stage.publish([{
        "id": "refusal.1", "type": "payment", "provider": "stripe-wrong", "operation": "charge",
        "payload": {"amount": 1, "currency": "eur", "metadata": {"a": "b"}},
    }])  # fmt: skip
    end = stage.await_event("refusal.1", ("failed",))
    found = str([call.violations for call in front.calls[before:]])
    tally.expect("colour" in found and "capture_method" in found, f"stripe-wrong: Prism found {found}")
    tally.expect(end["error"]["kind"] == "rejected", f"stripe-wrong: {end}")


def try_credentials(stage):
    """What `ferryd check --connect` says of each provider's credentials, and the code it ends with."""
    done = subprocess.run(
        [stage.ferryd, "check", "--connect", "--json"], capture_output=True, env=stage.environment, check=False
    )
    report = json.loads(done.stdout)
    return {tried["provider"]: tried for tried in report["credentials"]}, done.returncode


def hold_verification(stage, fronts, bank, names, tally):
    """Tries credentials by the requests of the catalog: Prism takes each of them, and refusals are read as such."""
    before = {name: len(fronts[name].calls) for name in names}
    listed, tokens = bank.listed, len(bank.tokens)
    # What Prism makes of the document's schema is any of the states of an account.
    fronts["twilio"].ready("GET", {"status": 200, "body": {"status": "active"}})
    tried, _ = try_credentials(stage)
    for name in (*names, "paypal"):
        tally.expect(tried[name]["result"] == "accepted", f"{name}: verification: {tried[name]}")
    tally.expect((bank.listed, len(bank.tokens)) == (listed + 1, tokens + 1), "paypal: verification: not one token, one list")
    for name in names:
        request = read_catalog(name)["verification"]["request"]
        path = re.compile(re.escape(request["path"]).replace(re.escape("{{ secrets.account_sid }}"), ACCOUNT))
        calls = fronts[name].calls[before[name] :]
        violations = [violation for call in calls for violation in call.violations]
        tally.expect(calls, f"{name}: verification: nothing was sent")
        tally.expect(not violations, f"{name}: verification: the official document has: {violations}")
        tally.expect(all(path.search(call.path) and call.method == request["method"] for call in calls), f"{name}: {calls}")
    refusals = {
        "stripe-lost": {"status": 401, "body": {"error": {"message": "Invalid API Key provided: sk_test_123"}}},
        "twilio": {"status": 401, "body": {"code": 20003, "message": "Authenticate"}},
        "sendgrid": {"status": 401, "body": {"errors": [{"field": None, "message": "authorization required"}]}},
        "slack": {"status": 200, "body": {"ok": False, "error": "invalid_auth"}},
    }
    for name, reply in refusals.items():
        fronts[name].ready("GET", reply)
    tried, code = try_credentials(stage)
    tally.expect(code == 3, f"refused credentials end `check` with {code}")
    for name in refusals:
        tally.expect(tried[name]["result"] == "refused", f"{name}: verification: {tried[name]}")
    tally.expect("sk_test_123" not in str(tried), f"a secret is shown: {tried['stripe-lost']}")


def write_providers(folder, ports, documents):
    """Provider files of the catalog, each with a front before its emulator; returns the fronts, and the provider with tokens."""
    make_certificates(folder)
    context = server_context(folder)
    fronts = {name: Front(context, ports[name], document) for name, document in documents.items()}
    for name in documents:
        operations = read_catalog(name)["operations"]
        polled = [operation for operation, table in operations.items() if "poll" in table]
        poll = "".join(f'[operations.{operation}.poll]\ninterval = "1s"\n' for operation in polled)
        write_provider(folder, name, fronts[name].url, more=poll)
    wrong = '[operations.charge.body]\ncolour = "blue"\ncapture_method = "never"\n'
    write_provider(folder, "stripe-wrong", fronts["stripe"].url, use="stripe", more=wrong)
    lost = "".join(
        f'operations.{operation}.idempotency = {{ header = "Idempotency-Key", retention = "1s", max_length = 255 }}\n'
        f'operations.{operation}.lookup.after = "1s"\n'
        for operation in ("charge", "refund")
    )
    fronts["stripe-lost"] = Front(context, ports["stripe"], documents["stripe"])
    write_provider(folder, "stripe-lost", fronts["stripe-lost"].url, use="stripe", more=lost)
    fronts["localstripe"], fronts["stateful"] = (Front(context, ports[name]) for name in ("localstripe", "stateful"))
    write_provider(folder, "stripe-local", fronts["localstripe"].url, use="stripe", more="webhook = {}\n")
    write_provider(folder, "stripe-stateful", fronts["stateful"].url, use="stripe")
    bank = oauth2.Provider(ports["oauth2"])
    write_provider(folder, "paypal", Front(context, ports["oauth2"], answer=bank.answer).url)
    return fronts, bank


def run(stage, tally, started):
    folder = stage.folder
    (folder / "providers").mkdir()
    (folder / "ferryd.toml").write_text(CONFIGURATION)
    node = stage.start_node()
    packaged = [name for name, source in sources().items() if "package" in source]
    documents = {name: for_prism(official(name, stage.libraries / "documents/package")) for name in packaged}
    ports = stage.start_emulators(documents)
    fronts, bank = write_providers(folder, ports, documents)
    node.join()
    for name, port in ports.items():
        stage.await_port(name, port)
    stage.start_ferryd()
    print(f"{time.monotonic() - started:3.0f} s  RabbitMQ, {len(ports)} emulators and ferryd run", flush=True)

    def carry(provider, tally):
        hold_examples(stage, fronts[provider], tally, provider)
        hold_payloads(stage, fronts[provider], tally, provider)

    jobs = [(f"{name}, by its document", carry, (name,)) for name in packaged]
    jobs.append(("localstripe", stateful.hold_localstripe, (stage, ports["localstripe"], fronts["localstripe"])))
    jobs.append(("stripe-stateful-mock", stateful.hold_stateful, (stage, ports["stateful"], fronts["stateful"])))
    jobs.append(("lookups of stripe", hold_lookup, (stage, fronts["stripe-lost"])))
    jobs.append(("oauth2-mock-server", oauth2.hold, (stage, bank)))
    run_all(jobs, tally, started)
    run_all([("what Prism refuses", hold_refusals, (stage, fronts["stripe"]))], tally, started)
    run_all([("credentials", hold_verification, (stage, fronts, bank, packaged))], tally, started)


def run_all(jobs, tally, started):
    def one(name, job, arguments):
        mine = Tally()
        try:
            job(*arguments, mine)
        except Exception:  # noqa: BLE001
            mine.expect(False, f"{name}: {traceback.format_exc()}")
        tally.add(mine)
        print(f"{time.monotonic() - started:3.0f} s  {'WRONG' if mine.wrong else 'ok   '}  {name}: {mine.held} held", flush=True)

    threads = [threading.Thread(target=one, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main():
    started, tally = time.monotonic(), Tally()
    with tempfile.TemporaryDirectory(prefix="ferryd-emulators-") as folder, closing(Stage(folder)) as stage:
        try:
            run(stage, tally, started)
        finally:
            if kept := os.environ.get("KEEP_LOGS"):
                os.makedirs(kept, exist_ok=True)
                for log in stage.folder.glob("*.log"):
                    shutil.copy(log, kept)
    for what in tally.wrong:
        print(f"  {what}", file=sys.stderr)
    print(f"{tally.held} held, {len(tally.wrong)} wrong, {time.monotonic() - started:.0f} s")
    return 1 if tally.wrong or not tally.held else 0


if __name__ == "__main__":
    sys.exit(main())
