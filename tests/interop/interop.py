"""Holds ferryd against the providers' own libraries, both ways. Started by tests/interop/run."""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlsplit

import paypal
from schemes import Call, Node, schemes

ROOT = Path(__file__).resolve().parents[2]
HOUR = 3600
BASE = """name = "NAME"
type = "payment"
protocol = "rest"
base_url = "https://api.example.com"
secrets = { webhook = "${env:SECRET}", webhook_old = "old-one-of-many-bytes", verify_token = "word" }

[operations.act]
request = { method = "GET", path = "/" }

"""
CATALOG = """use = "NAME"
secrets = { api_key = "k", account_sid = "AC1", webhook = "${env:SECRET}", auth_token = "${env:SECRET}" }
webhook = {}
"""


class Ferryd:
    """ferryd with the provider file of one scheme."""

    def __init__(self, folder, scheme):
        self.folder = Path(folder)
        self.provider = scheme.name.split(" ")[0]
        self.scheme = scheme
        (self.folder / "providers").mkdir()
        text = BASE + fragment(scheme.fragment) if scheme.fragment else CATALOG
        if scheme.name == "standard-ed25519":
            text = re.sub(r'"whpk_[^"]+"', '"{{ secrets.webhook }}"', text)
        (self.folder / "providers" / "one.toml").write_text(text.replace("NAME", self.provider))
        (self.folder / "ferryd.toml").write_text(f'[providers]\ndir = "{self.folder}/providers"\n')

    def run(self, secret, command, call, at, *more):
        path = self.folder / "call.http"
        target = urlsplit(call.url)
        lines = [f"POST {target.path}?{target.query} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in call.headers.items()]
        path.write_bytes("\r\n".join(lines + ["", call.body]).encode())
        moment = datetime.fromtimestamp(at, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = [os.environ["FERRYD"], "--config", self.folder / "ferryd.toml", "webhook", command, self.provider, path]
        environment = {"PATH": os.environ["PATH"], "SECRET": secret}
        options = ["--url", call.url, "--at", moment, *more]
        return subprocess.run([*line, *options], capture_output=True, env=environment, check=False)

    def reason(self, secret, call, at):
        """Why ferryd does not verify a call; None where it does."""
        done = self.run(secret, "verify", call, at, "--json")
        assert done.returncode in (0, 1) and done.stdout, done.stderr.decode()
        report = json.loads(done.stdout)
        assert report["verified"] == (done.returncode == 0), report
        return report["reason"]

    def sign(self, secret, call, at):
        """A call that ferryd signs."""
        more = []
        if self.scheme.private_key:
            (self.folder / "key.pem").write_text(self.scheme.private_key)
            more = ["--private-key", self.folder / "key.pem"]
        signed = self.folder / "signed.http"
        done = self.run(secret, "sign", call, at, "--output", signed, *more)
        assert done.returncode == 0, done.stderr.decode()
        head, _, body = signed.read_bytes().partition(b"\r\n\r\n")
        request, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        # They belong to the file, and would cut what is made longer later.
        del headers["host"], headers["content-length"]
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(call.url))
        return Call(body.decode(), headers, origin + request.split(" ")[1])


def fragment(name):
    """A table of docs/WEBHOOKS.md."""
    document = (ROOT / "docs" / "WEBHOOKS.md").read_text()
    return re.search(rf"```toml webhook {name}\n(.*?)```", document, re.DOTALL).group(1)


def agrees(scheme, secret, call):
    """Whether the library verifies a call; an exception is its no."""
    try:
        # Some of them answer nothing where all is well.
        return scheme.check(secret, call) is not False
    except Exception:  # noqa: BLE001
        return False


def alterations(scheme, call):
    """The call in ways that nobody may verify: what was done, and whether the library checks it as well."""
    if scheme.signs_body:
        letter = next((letter for letter in "71e" if letter in call.body), "")
        other = call.body.replace(letter, "2", 1) if letter else call.body + "x"
        # What Twilio's libraries make of a body that their caller did not parse is not checked.
        yield "another body", replace(call, body=other), bool(call.body)
    drafted = {name for draft in scheme.drafts for name in draft.headers}
    for name, value in call.headers.items():
        if name in drafted:
            continue
        middle = len(value) // 2
        other = "1" if value[middle] != "1" else "2"
        yield f"another {name}", call.with_headers(**{name: value[:middle] + other + value[middle + 1 :]}), True
        without = {key: text for key, text in call.headers.items() if key != name}
        yield f"without {name}", replace(call, headers=without), name != "x-request-id"
    if "x-twilio-signature" in call.headers or "x-square-hmacsha256-signature" in call.headers:
        yield "another URL", replace(call, url=call.url.replace("foo=1", "foo=2")), True


class Tally:
    """What was checked, and what was not answered as it should be."""

    def __init__(self):
        self.checked, self.wrong = 0, []

    def expect(self, truth, what):
        self.checked += 1
        if not truth:
            self.wrong.append(what)


def hold(scheme, ferryd, now, tally):
    """Holds ferryd against one library: calls that it signs, and calls that ferryd signs."""
    for number, draft in enumerate(scheme.drafts, 1):
        theirs = scheme.sign(scheme.secret, draft, now)
        ours = ferryd.sign(scheme.secret, draft, now)
        for signer, call in (("the library", theirs), ("ferryd", ours)):
            what = f"{scheme.name}, call {number}, signed by {signer}"
            reason = ferryd.reason(scheme.secret, call, now)
            tally.expect(reason is None, f"{what}: ferryd says {reason}")
            tally.expect(agrees(scheme, scheme.secret, call), f"{what}: the library refuses it")
            tally.expect(ferryd.reason(scheme.other, call, now) == "forged", f"{what}: another secret is taken")
            tally.expect(not agrees(scheme, scheme.other, call), f"{what}: the library takes another secret")
            for change, altered, checks in alterations(scheme, call):
                reason = ferryd.reason(scheme.secret, altered, now)
                tally.expect(reason is not None, f"{what}: ferryd takes {change}")
                tally.expect(not checks or not agrees(scheme, scheme.secret, altered), f"{what}: the library takes {change}")
        if scheme.timed:
            hold_times(scheme, ferryd, draft, now, tally)


def hold_times(scheme, ferryd, draft, now, tally):
    """Old calls and those from the future."""
    for offset in (-HOUR, HOUR):
        call = scheme.sign(scheme.secret, draft, now + offset)
        what = f"{scheme.name}, signed {offset} s from now"
        tally.expect(ferryd.reason(scheme.secret, call, now) == "stale", f"{what}: ferryd takes it")
        tally.expect(ferryd.reason(scheme.secret, call, now + offset) is None, f"{what}: ferryd refuses it then")


def hold_port(ferryd, now, tally):
    """Twilio signs the URL with or without the port that its scheme implies."""
    scheme = ferryd.scheme
    draft = scheme.drafts[0]
    with_port = draft.url.replace("example.com", "example.com:443")
    signed = replace(scheme.sign(scheme.secret, replace(draft, url=with_port), now), url=draft.url)
    tally.expect(ferryd.reason(scheme.secret, signed, now) is None, "twilio: a signature over the port is refused")


def main():
    started, tally = time.monotonic(), Tally()
    with contextlib.closing(Node()) as node:
        for scheme in schemes(node):
            before = len(tally.wrong)
            with tempfile.TemporaryDirectory() as folder:
                ferryd = Ferryd(folder, scheme)
                now = int(time.time())
                hold(scheme, ferryd, now, tally)
                if scheme.name == "twilio":
                    hold_port(ferryd, now, tally)
            print(f"{'ok' if len(tally.wrong) == before else 'WRONG':6}{scheme.name}")
    before = len(tally.wrong)
    with tempfile.TemporaryDirectory() as folder:
        paypal.hold(Path(folder), tally)
    print(f"{'ok' if len(tally.wrong) == before else 'WRONG':6}paypal")
    for what in tally.wrong:
        print(f"  {what}", file=sys.stderr)
    print(f"{tally.checked} answers, {len(tally.wrong)} wrong, {time.monotonic() - started:.0f} s")
    return 1 if tally.wrong or not tally.checked else 0


if __name__ == "__main__":
    sys.exit(main())
