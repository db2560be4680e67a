"""Holds ferryd against PayPal's own library for Python, which verifies calls without asking PayPal.

Nobody but PayPal can sign a call of PayPal's, so the calls are recorded ones, each at its time and with its certificate. The library
is not maintained any more: its last step uses a function that pyOpenSSL has dropped, which is given back here. It fetches
certificates, and checks them at this moment; here it gets the recorded one, and the time of the call.
"""

import contextlib
import io
import json
import os
import subprocess
from datetime import datetime
from pathlib import Path

import paypalrestsdk
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from OpenSSL import crypto
from paypalrestsdk.notifications import WebhookEvent

RECORDED = Path(__file__).resolve().parents[2] / "crates/provider/src/webhook/paypal"
ROOT = Path(paypalrestsdk.__file__).parent / "data" / "DigiCertHighAssuranceEVRootCA.crt.pem"
URL = "https://hooks.example.com/webhooks/paypal"
CALLS = [
    ("recorded_2015", "4JH86294D6297924G", "2015-05-18T15:45:14Z"),
    ("recorded_2025", "WEBHOOK_ID", "2025-11-28T10:00:25Z"),
]
PROVIDER = """use = "paypal"
secrets = { client_id = "c", client_secret = "s", webhook_id = "ID" }
webhook = {}
"""


def verify_signature(certificate, signature, data, algorithm):
    """What `OpenSSL.crypto.verify` did."""
    assert algorithm == "sha256WithRSAEncryption", algorithm
    certificate.to_cryptography().public_key().verify(signature, data, PKCS1v15(), SHA256())


STORE = WebhookEvent._get_certificate_store
crypto.verify = verify_signature
crypto.X509.has_expired = lambda _: False  # The store has the time of the call.


class Recorded:
    """A call that PayPal made."""

    def __init__(self, name, webhook_id, at):
        self.webhook_id, self.at = webhook_id, at
        self.certificate = RECORDED / f"{name}.pem"
        head, _, body = (RECORDED / f"{name}.http").read_bytes().partition(b"\r\n\r\n")
        self.request, *lines = head.decode().split("\r\n")
        self.headers, self.body = dict(line.split(": ", 1) for line in lines), body.decode()

    def altered(self):
        """The call in ways that nobody may verify: what was done, the webhook's id, headers and body."""
        yield "another webhook id", self.webhook_id[::-1], self.headers, self.body
        for at in range(0, len(self.body), 311):
            other = "1" if self.body[at] != "1" else "2"
            yield f"another character {at}", self.webhook_id, self.headers, self.body[:at] + other + self.body[at + 1 :]
        yield "a longer body", self.webhook_id, self.headers, self.body + " "
        for name in ("paypal-transmission-id", "paypal-transmission-time", "paypal-transmission-sig", "paypal-auth-algo"):
            value = self.headers[name]
            # Not the last sign: of Base64 it holds bits that say nothing.
            other = value[:-8] + ("1" if value[-8] != "1" else "2") + value[-7:]
            yield f"another {name}", self.webhook_id, self.headers | {name: other}, self.body

    def library_verifies(self, webhook_id, headers, body):
        """Whether PayPal's library verifies a call that is like this one."""
        certificate = crypto.load_certificate(crypto.FILETYPE_PEM, self.certificate.read_bytes())
        store = STORE()
        store.set_time(datetime.fromisoformat(self.at))
        WebhookEvent._get_certificate_store = classmethod(lambda _: store)
        WebhookEvent._get_cert = staticmethod(lambda _: certificate)
        signed = [headers[f"paypal-{name}"] for name in ("cert-url", "transmission-sig", "auth-algo")]
        named = [headers[f"paypal-{name}"] for name in ("transmission-id", "transmission-time")]
        # It prints why it refuses one.
        with contextlib.redirect_stdout(io.StringIO()):
            return bool(WebhookEvent.verify(*named, webhook_id, body, *signed))

    def ferryd_reason(self, folder, webhook_id, headers, body):
        """Why ferryd does not verify it; None where it does."""
        (folder / "providers").mkdir(exist_ok=True)
        (folder / "providers" / "paypal.toml").write_text(PROVIDER.replace("= \"ID\"", f"= \"{webhook_id}\""))
        (folder / "ferryd.toml").write_text(f'[providers]\ndir = "{folder}/providers"\n')
        head = "\r\n".join([self.request, *(f"{name}: {value}" for name, value in headers.items()), "", ""])
        (folder / "call.http").write_bytes((head + body).encode())
        line = [os.environ["FERRYD"], "--config", folder / "ferryd.toml", "webhook", "verify", "paypal"]
        line += [folder / "call.http", "--url", URL, "--at", self.at, "--certificate", self.certificate, "--json"]
        environment = {"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(ROOT)}
        done = subprocess.run(line, capture_output=True, env=environment, check=False)
        assert done.returncode in (0, 1) and done.stdout, done.stderr.decode()
        return json.loads(done.stdout)["reason"]


def hold(folder, tally):
    """Holds ferryd against the library: both verify what PayPal sent, and neither what is altered."""
    for recorded in CALLS:
        call, name = Recorded(*recorded), recorded[0]
        reason = call.ferryd_reason(folder, call.webhook_id, call.headers, call.body)
        tally.expect(reason is None, f"paypal, {name}: ferryd says {reason}")
        verifies = call.library_verifies(call.webhook_id, call.headers, call.body)
        tally.expect(verifies, f"paypal, {name}: the library refuses it")
        for change, *altered in call.altered():
            reason = call.ferryd_reason(folder, *altered)
            tally.expect(reason is not None, f"paypal, {name}: ferryd takes {change}")
            tally.expect(not call.library_verifies(*altered), f"paypal, {name}: the library takes {change}")
