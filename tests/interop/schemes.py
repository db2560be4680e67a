"""How each provider's own library signs and checks a call. Everything about ferryd is in interop.py."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import unicodedata
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Callable, Optional
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from Adyen.util import generate_notification_sig, generate_payload_sig, is_valid_hmac_notification, is_valid_hmac_payload
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from easypost.util import validate_webhook
from mercadopago.webhook import WebhookSignatureValidator
from sendgrid.helpers.eventwebhook import EventWebhook
from slack_sdk.signature import SignatureVerifier
from square.utils.webhooks_helper import verify_signature
from standardwebhooks.webhooks import Webhook
from stripe import WebhookSignature
from svix.webhooks import Webhook as SvixWebhook
from twilio.request_validator import RequestValidator

URL = "https://hooks.example.com/in?foo=1&bar=a%20b"
JSON = '{"id":"evt_1","object":"event","note":"Größe 42 ✓","line":"a\\nb"}\n'


@dataclass(frozen=True)
class Call:
    """A webhook."""

    body: str = JSON
    headers: dict = field(default_factory=dict)
    url: str = URL

    def with_headers(self, **headers):
        """The call with headers more; `_` stands for `-`."""
        return replace(self, headers=self.headers | {name.replace("_", "-"): value for name, value in headers.items()})


@dataclass
class Scheme:
    """A provider: its description in ferryd, a secret of it and another one, and what its library says."""

    name: str
    secret: str
    other: str
    sign: Callable[[str, Call, int], Call]
    check: Callable[[str, Call], bool]
    fragment: Optional[str] = None
    drafts: tuple = (Call(),)
    timed: bool = False
    signs_body: bool = True
    private_key: Optional[str] = None


class Node:
    """The libraries for Node.js, in a process of their own."""

    def __init__(self):
        self.process = subprocess.Popen(
            ["node", os.environ["NODE_LIBRARIES"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, question, **values):
        self.process.stdin.write(json.dumps({"ask": question} | values) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["answer"]

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)


def digest(secret, content, name="sha256"):
    return hmac.new(secret.encode(), content.encode(), name).digest()


def b64(data):
    return base64.b64encode(data).decode()


def moment(at):
    return datetime.fromtimestamp(at, tz=timezone.utc)


# --- in Python -------------------------------------------------------------------------------------------------------


def stripe_sign(secret, call, at):
    return call.with_headers(stripe_signature=WebhookSignature.generate_signature_header(call.body, secret, at))


def stripe_check(secret, call):
    return WebhookSignature.verify_header(call.body, call.headers["stripe-signature"], secret, tolerance=300)


def slack_sign(secret, call, at):
    signature = SignatureVerifier(secret).generate_signature(timestamp=str(at), body=call.body)
    return call.with_headers(x_slack_request_timestamp=str(at), x_slack_signature=signature)


def slack_check(secret, call):
    return SignatureVerifier(secret).is_valid_request(call.body, call.headers)


def standard_sign(secret, call, at):
    signature = Webhook(secret).sign("msg_1", moment(at), call.body)
    return call.with_headers(webhook_id="msg_1", webhook_timestamp=str(at), webhook_signature=signature)


def standard_check(secret, call):
    Webhook(secret).verify(call.body, call.headers)
    return True


def svix_sign(secret, call, at):
    signature = SvixWebhook(secret).sign("msg_1", moment(at), call.body)
    return call.with_headers(svix_id="msg_1", svix_timestamp=str(at), svix_signature=signature)


def svix_check(secret, call):
    SvixWebhook(secret).verify(call.body, call.headers)
    return True


def is_form(call):
    return call.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")


def parameters(call):
    """What Twilio's libraries want: each name with its value, or the body itself where it is no form."""
    return parse_qs(call.body, keep_blank_values=True) if is_form(call) else None


class Several(dict):
    """Parameters of which some have several values, as web frameworks hand them to Twilio's library."""

    def getall(self, name):
        return self[name]


def twilio_sign(secret, call, at):
    if is_form(call) or not call.body:
        signature = RequestValidator(secret).compute_signature(call.url, Several(parameters(call) or {}))
    else:
        body_digest = hashlib.sha256(call.body.encode()).hexdigest()
        call = replace(call, url=f"{call.url}&bodySHA256={body_digest}")
        signature = RequestValidator(secret).compute_signature(call.url, {})
    return call.with_headers(x_twilio_signature=signature)


def twilio_check(secret, call):
    given = Several(parameters(call)) if is_form(call) else call.body
    if not is_form(call) and "bodySHA256" not in call.url:
        given = Several()
    return RequestValidator(secret).validate(call.url, given, call.headers["x-twilio-signature"])


def easypost_sign(secret, call, at):
    signature = digest(unicodedata.normalize("NFKD", secret), call.body).hex()
    return call.with_headers(x_hmac_signature=f"hmac-sha256-hex={signature}")


def easypost_check(secret, call):
    validate_webhook(call.body.encode(), {"X-Hmac-Signature": call.headers["x-hmac-signature"]}, secret)
    return True


def square_sign(secret, call, at):
    return call.with_headers(x_square_hmacsha256_signature=b64(digest(secret, call.url + call.body)))


def square_check(secret, call):
    return verify_signature(
        request_body=call.body,
        signature_header=call.headers["x-square-hmacsha256-signature"],
        signature_key=secret,
        notification_url=call.url,
    )


def mercado_pago_sign(secret, call, at):
    manifest = f"id:{dict(parse_qsl(urlsplit(call.url).query))['data.id']};request-id:r-1;ts:{at};"
    return call.with_headers(x_request_id="r-1", x_signature=f"ts={at},v1={digest(secret, manifest).hex()}")


def mercado_pago_check(secret, call):
    data_id = dict(parse_qsl(urlsplit(call.url).query)).get("data.id")
    WebhookSignatureValidator.validate(call.headers["x-signature"], call.headers.get("x-request-id"), data_id, secret)
    return True


def adyen_platform_sign(secret, call, at):
    return call.with_headers(hmacsignature=generate_payload_sig(call.body.encode(), secret).decode())


def adyen_platform_check(secret, call):
    return is_valid_hmac_payload(call.headers["hmacsignature"], secret, call.body.encode())


def adyen_batch():
    item = {
        "pspReference": "7914073381342284",
        "merchantAccountCode": "Größe",
        "merchantReference": "order:7",
        "amount": {"value": 1130, "currency": "EUR"},
        "eventCode": "REFUND",
        "success": "true",
    }
    items = [item, item | {"pspReference": "2", "originalReference": "1"}]
    return json.dumps({"live": "false", "notificationItems": [{"NotificationRequestItem": item} for item in items]})


def adyen_payments_sign(secret, call, at):
    batch = json.loads(call.body)
    for entry in batch["notificationItems"]:
        item = entry["NotificationRequestItem"]
        item["additionalData"] = {"hmacSignature": generate_notification_sig(item, secret).decode()}
    return replace(call, body=json.dumps(batch))


def adyen_payments_check(secret, call):
    items = [entry["NotificationRequestItem"] for entry in json.loads(call.body)["notificationItems"]]
    return all(is_valid_hmac_notification(item, secret) for item in items)


def key_pair(private):
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    spki = private.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem, b64(spki)


def sendgrid():
    private, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    (pem, public), (_, other_public) = key_pair(private), key_pair(other)

    def sign(secret, call, at):
        key = private if secret == public else other
        signature = b64(key.sign(f"{at}{call.body}".encode(), ec.ECDSA(hashes.SHA256())))
        return call.with_headers(
            x_twilio_email_event_webhook_timestamp=str(at), x_twilio_email_event_webhook_signature=signature
        )

    def check(secret, call):
        given = [call.headers[f"x-twilio-email-event-webhook-{name}"] for name in ("signature", "timestamp")]
        return EventWebhook(secret).verify_signature(call.body, *given)

    return Scheme("sendgrid", public, other_public, sign, check, "sendgrid", timed=True, private_key=pem)


def ed25519_scheme():
    """No library has the asymmetric signatures of Standard Webhooks, so these are checked with a cryptographic one."""
    private, other = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    pem, _ = key_pair(private)

    def raw(key):
        return "whpk_" + b64(key.public_key().public_bytes_raw())

    keys = {raw(key): key for key in (private, other)}

    def sign(secret, call, at):
        signature = b64(keys[secret].sign(f"msg_1.{at}.{call.body}".encode()))
        return call.with_headers(webhook_id="msg_1", webhook_timestamp=str(at), webhook_signature=f"v1a,{signature}")

    def check(secret, call):
        identity, stamp, signature = (call.headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
        version, _, signature = signature.partition(",")
        content = f"{identity}.{stamp}.{call.body}".encode()
        keys[secret].public_key().verify(base64.b64decode(signature), content)
        return version == "v1a"

    fragment = "standard-ed25519"
    return Scheme("standard-ed25519", raw(private), raw(other), sign, check, fragment, timed=True, private_key=pem)


# --- in Node.js ------------------------------------------------------------------------------------------------------


def of_node(node):
    """The schemes whose libraries are for Node.js."""

    def check(name):
        return lambda secret, call: node.ask(
            f"{name}.verify", secret=secret, body=call.body, headers=call.headers, url=call.url, parameters=parameters(call)
        )

    def github_sign(secret, call, at):
        return call.with_headers(x_hub_signature_256=node.ask("github.sign", secret=secret, body=call.body))

    def shopify_sign(secret, call, at):
        return call.with_headers(x_shopify_hmac_sha256=b64(digest(secret, call.body)))

    def node_stripe_sign(secret, call, at):
        return call.with_headers(stripe_signature=node.ask("stripe.sign", secret=secret, at=at, body=call.body))

    def node_standard_sign(secret, call, at):
        signature = node.ask("standard.sign", secret=secret, id="msg_1", at=at, body=call.body)
        return call.with_headers(webhook_id="msg_1", webhook_timestamp=str(at), webhook_signature=signature)

    def node_twilio_sign(secret, call, at):
        signature = node.ask("twilio.sign", secret=secret, url=call.url, parameters=parameters(call))
        return call.with_headers(x_twilio_signature=signature)

    topic = {
        "x-shopify-topic": "orders/create",
        "x-shopify-shop-domain": "shop.example.com",
        "x-shopify-api-version": "2026-10",
        "x-shopify-webhook-id": "w-1",
    }
    return [
        Scheme("github", "It's a Secret that is long", "another-one-that-is-long", github_sign, check("github"), "github"),
        Scheme("shopify", "hush-hush-hush-hush", "another-one-that-is-long", shopify_sign, check("shopify"), "shopify", (Call(headers=topic),)),
        Scheme("stripe (node)", "whsec_0123456789abcdef", "whsec_fedcba9876543210", node_stripe_sign, check("stripe"), timed=True),
        Scheme(
            "standard (node)", SECRETS[0], SECRETS[1], node_standard_sign, check("standard"), "standard", timed=True
        ),
        Scheme("twilio (node)", "12345678901234567890123456789012", "54321" * 5, node_twilio_sign, check("twilio"), drafts=FORMS[:2]),
    ]


SECRETS = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]
ADYEN = ["44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056", "11" * 32]
FORM = {"content-type": "application/x-www-form-urlencoded"}
FORMS = (
    Call(urlencode({"To": "+4912345", "Body": "Größe & 42 = ✓\r\n", "Empty": "", "a": "2"}), FORM),
    Call(urlencode([("b", "2"), ("b", "1"), ("b", "2"), ("a", "x y")]), FORM, URL.replace("example.com", "example.com:443")),
    Call(JSON, {"content-type": "application/json"}),
    Call(""),
)


def schemes(node):
    """Every scheme with a library to hold ferryd against."""
    payment = Call(url=URL + "&data.id=123456")
    return [
        Scheme("stripe", "whsec_0123456789abcdef", "whsec_fedcba9876543210", stripe_sign, stripe_check, timed=True),
        Scheme("twilio", "12345678901234567890123456789012", "54321" * 5, twilio_sign, twilio_check, drafts=FORMS),
        Scheme("easypost", "sécret ﬁ of many bytes", "secret of many bytes", easypost_sign, easypost_check),
        Scheme("slack", "8f742231b10e8888", "another-one-that-is-long", slack_sign, slack_check, "slack", timed=True),
        Scheme("standard", *SECRETS, standard_sign, standard_check, "standard", timed=True),
        Scheme("svix", *SECRETS, svix_sign, svix_check, "svix", timed=True),
        Scheme("square", "asdf1234asdf1234", "another-one-that-is-long", square_sign, square_check, "square"),
        Scheme(
            "mercado-pago", "hush-hush-hush-hush", "another-one-that-is-long", mercado_pago_sign, mercado_pago_check, "mercado-pago", (payment,),
            timed=True, signs_body=False,
        ),  # fmt: skip
        Scheme("adyen-platform", *ADYEN, adyen_platform_sign, adyen_platform_check, "adyen-platform"),
        Scheme(
            "adyen-payments", *ADYEN, adyen_payments_sign, adyen_payments_check, "adyen-payments",
            (Call(adyen_batch()),),
        ),  # fmt: skip
        sendgrid(),
        ed25519_scheme(),
        *of_node(node),
    ]
