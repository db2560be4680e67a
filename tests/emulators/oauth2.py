"""A file that builds on PayPal's, with tokens of oauth2-mock-server: ferryd requests them, the emulator verifies their signature, and ferryd renews them."""

import base64
import hashlib
import json
from http.client import HTTPConnection
from urllib.parse import parse_qsl

CLIENT, SECRET = "client:1", "secret +1"
# DigestInfo of SHA-256, as PKCS #1 signatures have it.
PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")


def from_base64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Provider:
    """Tokens from the emulator, and orders for those who have one."""

    def __init__(self, port):
        self.port, self.tokens, self.orders, self.wrong, self.revoked, self.listed = port, [], [], [], set(), 0

    def ask(self, method, path, body=None, headers=None):
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, dict(response.getheaders()), answer

    def answer(self, call):
        if call.path == "/v1/oauth2/token":
            return self.grant(call)
        token = call.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens or token in self.revoked or not self.is_signed(token):
            return 401, {"content-type": "application/json"}, b'{"error":"invalid_token"}'
        if (call.method, call.path) == ("GET", "/v1/notifications/webhooks"):
            self.listed += 1
            return 200, {"content-type": "application/json"}, b'{"webhooks":[]}'
        self.orders.append(token)
        order = {"id": f"5O{len(self.orders)}", "status": "CREATED", "links": [{"rel": "approve", "href": "https://b.test"}]}
        return 201, {"content-type": "application/json"}, json.dumps(order).encode()

    def grant(self, call):
        """Has the emulator grant a token to the client that PayPal would grant one."""
        expected = base64.b64encode(b"client%3A1:secret+%2B1").decode()
        if call.headers.get("authorization") != f"Basic {expected}":
            self.wrong.append(f"the client is {call.headers.get('authorization')}")
        if dict(parse_qsl(call.body.decode())) != {"grant_type": "client_credentials"}:
            self.wrong.append(f"the token request is {call.body}")
        headers = {"content-type": call.headers.get("content-type", "")}
        status, headers, answer = self.ask("POST", "/token", call.body, headers)
        if status == 200:
            self.tokens.append(json.loads(answer)["access_token"])
        return status, {"content-type": headers.get("Content-Type", "application/json")}, answer

    def is_signed(self, token):
        """Returns whether the emulator signed a token (RS256), by the keys that it publishes."""
        signed, _, signature = token.rpartition(".")
        header = json.loads(from_base64(signed.split(".")[0]))
        keys = json.loads(self.ask("GET", "/jwks")[2])["keys"]
        key = next(key for key in keys if key["kid"] == header["kid"])
        modulus = int.from_bytes(from_base64(key["n"]))
        exponent = int.from_bytes(from_base64(key["e"]))
        length = (modulus.bit_length() + 7) // 8
        opened = pow(int.from_bytes(from_base64(signature)), exponent, modulus).to_bytes(length)
        digest = PREFIX + hashlib.sha256(signed.encode()).digest()
        return opened == b"\x00\x01" + b"\xff" * (length - len(digest) - 3) + b"\x00" + digest


def hold(stage, bank, tally):
    def order(number):
        command = f"oauth2.{number}"
        stage.publish([{
            "id": command, "type": "payment", "provider": "paypal", "operation": "create_order",
            "payload": {"amount": 1099, "currency": "eur"},
        }])  # fmt: skip
        end = stage.await_event(command, ("completed", "failed", "pending"))
        tally.expect(end["state"] == "completed", f"paypal: {end}")
        tally.expect(end.get("provider_reference") == f"5O{number}", f"paypal: {end}")

    order(1)
    order(2)
    tally.expect(len(bank.tokens) == 1, f"paypal: {len(bank.tokens)} tokens for two orders")
    bank.revoked.add(bank.tokens[0])
    order(3)
    tally.expect(len(bank.tokens) == 2 and bank.orders[2] == bank.tokens[1], "paypal: no new token for one that is refused")
    tally.expect(not bank.wrong, f"paypal: {bank.wrong}")
